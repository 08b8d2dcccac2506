// SPDX-License-Identifier: MIT
// Orders of events that break naive designs of pools, each provoked on purpose.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_schedules_of_pools {

using namespace std::chrono_literals;
using support::count_to;

namespace {

/// Long enough for a stream of cheap values to be measured as cheap.
constexpr int long_enough = 5000;

}  // namespace

TEST_CASE("while a worker blocks in get, the task that releases it runs", "[pool][L-2]") {
  support::watchdog dog("releasing a blocked worker");
  for (bool helping : {true, false}) {
    dg::thread_pool pool({.threads = 1, .waiters_help = helping});
    for (int round = 0; round < 300; ++round) {
      dg::manual_executor manual;
      dg::ref<int> outside = dg::on(manual).submit([] { return 1; });
      std::atomic<bool> inside{false};
      dg::ref<int> blocked = pool.submit(
          [&](dg::ref<int> other) {
            inside = true;
            return other.get() + 1;
          },
          dg::unresolved(outside));
      if (round % 3 != 0)
        while (!inside) std::this_thread::yield();
      dg::ref<void> releases = pool.submit([&] { manual.run_all(); });
      // No thread waits in a way that would help: only the pool can run it.
      REQUIRE(support::eventually([&] { return blocked.ready() && releases.ready(); }));
      REQUIRE(blocked.get() == 2);
    }
  }
}

TEST_CASE("after a blocked task resumes, its pool soon runs no more tasks at once than before", "[pool][L-2]") {
  support::watchdog dog("too many at once");
  dg::promise<int> given;
  std::atomic<int> inside{0}, too_many{0};
  std::atomic<bool> over{false};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::ref<void> blocks = pool.submit(
      [&over](dg::ref<int> r) {
        (void)r.get();
        over = true;
      },
      dg::unresolved(given.get_ref()));
  std::vector<dg::ref<void>> others;
  for (int i = 0; i < 300; ++i)
    others.push_back(pool.submit([&, i] {
      const bool settled = over;  // a thread that ends a task yields first
      if (++inside != 1 && settled) ++too_many;
      if (i == 5) given.set_value(1);
      for (int k = 0; k < 50; ++k) std::this_thread::yield();  // time for another thread to start a task
      --inside;
    }));
  for (auto& each : others) each.get();
  blocks.get();
  CHECK(too_many == 0);
}

TEST_CASE("more tasks may block than there are spare threads", "[pool][L-2]") {
  support::watchdog dog("many blocked workers");
  for (int spares : {0, 1, 64}) {
    dg::manual_executor manual;
    dg::thread_pool_options options{.threads = 2};
    options.max_spare_threads = decltype(options.max_spare_threads)(spares);
    dg::thread_pool pool(options);
    std::vector<dg::ref<int>> outside, blocked;
    for (int i = 0; i < 100; ++i) {
      outside.push_back(dg::on(manual).submit([i] { return i; }));
      blocked.push_back(pool.submit([](dg::ref<int> other) { return other.get(); }, dg::unresolved(outside.back())));
    }
    dg::ref<void> releases = pool.submit([&] { manual.run_all(); });
    REQUIRE(support::eventually([&] { return releases.ready(); }));
    bool right = true;
    for (int i = 0; i < 100; ++i) right = right && blocked[static_cast<std::size_t>(i)].get() == i;
    CHECK(right);
  }
}

TEST_CASE("tasks of two pools may wait for each other's tasks", "[pool][L-2]") {
  support::watchdog dog("pools that wait for each other");
  dg::thread_pool left(1), right(1);
  struct game {
    static int bounce(dg::thread_pool* here, dg::thread_pool* there, int depth) {
      if (depth == 0) return 0;
      return there->submit(bounce, there, here, depth - 1).get() + 1;
    }
  };
  CHECK(left.submit(game::bounce, &left, &right, 60).get() == 60);
}

TEST_CASE("tasks that their waiters have run do not stay in the queue", "[pool][L-3]") {
  support::watchdog dog("claimed entries");
  std::atomic<int> ran{0};
  {
    support::gate busy;
    std::atomic<bool> inside{false};
    dg::thread_pool pool(1);
    dg::ref<void> keeps = pool.submit([&] {
      inside = true;
      busy.pass();
    });
    while (!inside) std::this_thread::yield();
    bool right = true;
    const long before = support::pieces_alive();
    for (int i = 0; i < 50000; ++i)
      right = right && pool.submit([&ran, i] {
                             ++ran;
                             return i;
                           }).get() == i;
    CHECK(right);
    CHECK(support::pieces_alive() - before < 5000);
    busy.open();
    keeps.get();
    CHECK(pool.submit([] { return 8; }).get() == 8);
  }
  CHECK(ran == 50000);
}

TEST_CASE("a generator run by its waiters and by workers in turn yields each value once", "[pool][L-3]") {
  support::watchdog dog("claimed and requeued");
  dg::thread_pool pool(1);
  for (int round = 0; round < 30; ++round) {
    support::gate busy;
    dg::ref<void> keeps = pool.submit([&] { busy.pass(); });
    std::vector<dg::ref_stream<int>> streams;
    for (int i = 0; i < 5; ++i) streams.push_back(pool.options(dg::backpressure{1 + i}).submit(count_to, 60));
    std::vector<int> expected(5);
    bool right = true;
    for (int step = 0; step < 60; ++step) {
      if (step == 20) busy.open();
      for (std::size_t i = 0; i < 5; ++i) right = right && streams[i].next_value() == std::optional<int>(expected[i]++);
    }
    for (auto& stream : streams) right = right && !stream.next();
    REQUIRE(right);
    keeps.get();
  }
}

TEST_CASE("two tasks submitted from outside run side by side on two threads", "[pool][L-17]") {
  support::watchdog dog("barrier of two tasks");
  dg::thread_pool pool({.threads = 2, .waiters_help = false});
  for (int round = 0; round < 3000; ++round) {
    std::atomic<int> arrived{0};
    auto meet = [&] {
      ++arrived;
      while (arrived != 2) std::this_thread::yield();
    };
    dg::ref<void> a = pool.submit(meet);
    dg::ref<void> b = pool.submit(meet);
    a.wait();
    b.wait();
    if (arrived != 2) FAIL("only " << arrived << " arrived");
  }
}

TEST_CASE("tasks submitted by a task run side by side", "[pool][L-17]") {
  support::watchdog dog("barrier of tasks from a worker");
  dg::thread_pool pool({.threads = 3, .waiters_help = false});
  for (int round = 0; round < 1000; ++round) {
    std::atomic<int> arrived{0};
    dg::ref<void> children[3];
    auto meet = [&] {
      ++arrived;
      while (arrived != 3) std::this_thread::yield();
    };
    dg::ref<void> parent = pool.submit([&] {
      for (auto& child : children) child = pool.submit(meet);
    });
    parent.get();
    for (auto& child : children) child.get();
    if (arrived != 3) FAIL("only " << arrived << " arrived");
  }
}

TEST_CASE("dependents released by one value run side by side", "[pool][L-17]") {
  support::watchdog dog("barrier of dependents");
  dg::thread_pool pool({.threads = 2, .waiters_help = false});
  for (int round = 0; round < 1000; ++round) {
    dg::manual_executor manual;
    dg::ref<int> source = dg::on(manual).submit([] { return 1; });
    std::atomic<int> arrived{0};
    auto meet = [&](int) {
      ++arrived;
      while (arrived != 2) std::this_thread::yield();
    };
    dg::ref<void> a = pool.submit(meet, source);
    dg::ref<void> b = pool.submit(meet, source);
    manual.run_all();
    a.wait();
    b.wait();
    if (arrived != 2) FAIL("only " << arrived << " arrived");
  }
}

TEST_CASE("tasks that submit their successor do not starve the rest", "[pool][L-18]") {
  support::watchdog dog("successors and the injection queue");
  std::atomic<bool> stop{false};
  std::atomic<int> hops{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  struct ping {
    dg::thread_pool* pool;
    std::atomic<bool>* stop;
    std::atomic<int>* hops;
    void operator()() const {
      ++*hops;
      if (!*stop) pool->submit(*this);
    }
  };
  pool.submit(ping{&pool, &stop, &hops});
  pool.submit(ping{&pool, &stop, &hops});
  REQUIRE(support::eventually([&] { return hops > 200; }));
  dg::ref<void> outsider = pool.submit([&] { stop = true; });
  CHECK(outsider.wait_for(30s));
  stop = true;
}

TEST_CASE("a generator that never suspends lets queued work run", "[pool][L-18]") {
  support::watchdog dog("an endless generator");
  std::atomic<bool> stop{false};
  std::atomic<long> steps{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto stream = pool.submit([&]() -> dg::generator<int> {
    while (!stop) {
      ++steps;
      co_yield 1;
    }
  });
  dg::ref<void> completion = stream.completion();
  stream.detach();
  REQUIRE(support::eventually([&] { return steps > 1000; }));
  dg::ref<void> outsider = pool.submit([&] { stop = true; });
  CHECK(outsider.wait_for(30s));
  stop = true;
  completion.wait();
}

TEST_CASE("a task that reads an endless stream lets queued work run", "[pool][L-18]") {
  support::watchdog dog("an endless stream read by a task");
  for (bool helping : {true, false}) {
    std::atomic<bool> stop{false};
    std::atomic<long> read{0};
    dg::thread_pool pool({.threads = 1, .waiters_help = helping});
    auto endless = pool.submit([&]() -> dg::generator<int> {
      for (int i = 0;; i = (i + 1) % 1000) co_yield i;
    });
    dg::ref<void> reader = pool.submit(
        [&](dg::ref_stream<int> in) {
          while (!stop) {
            (void)in.next_value();
            ++read;
          }
        },
        std::move(endless));
    REQUIRE(support::eventually([&] { return read > long_enough; }));
    dg::ref<void> outsider = pool.submit([&] { stop = true; });
    CHECK(outsider.wait_for(30s));
    stop = true;
    reader.wait();
  }
}

}  // namespace test_schedules_of_pools
