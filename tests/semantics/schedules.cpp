// SPDX-License-Identifier: MIT
// Orders of events that break naive designs, each provoked on purpose.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_schedules {

namespace {

using namespace std::chrono_literals;
using support::count_to;

/// Long enough for a stream of cheap values to be measured as cheap.
constexpr int long_enough = 5000;

/// A stream of `long_enough` + `more` integers of which the first `long_enough` have been taken by blocking reads.
dg::ref_stream<int> well_read(dg::thread_pool& pool, int more, int room) {
  auto stream = pool.options(dg::backpressure{room}).submit(count_to, long_enough + more);
  for (int i = 0; i < long_enough; ++i)
    if (stream.next_value() != std::optional<int>(i)) return {};
  return stream;
}

/// Throws from its destructor, as a local of a coroutine may do.
struct throws_at_exit {
  std::atomic<int>* gone;
  explicit throws_at_exit(std::atomic<int>* g) : gone(g) {}
  throws_at_exit(const throws_at_exit&) = delete;
  throws_at_exit& operator=(const throws_at_exit&) = delete;
  ~throws_at_exit() noexcept(false) {
    ++*gone;
    throw support::boom("local");
  }
};

}  // namespace

TEST_CASE("a stream that was read fast still runs ahead for a consumer that only polls", "[stream][L-1]") {
  support::watchdog dog("polling after pulling");
  for (bool helping : {true, false}) {
    for (int room : {1, 64}) {
      dg::thread_pool pool({.threads = 1, .waiters_help = helping});
      auto stream = well_read(pool, 500, room);
      REQUIRE(stream.valid());
      int expected = long_enough;
      const bool all = support::eventually([&] {
        while (auto item = stream.try_next()) expected += item->get() == expected ? 1 : 0;
        return stream.finished();
      });
      CHECK(all);
      CHECK(expected == long_enough + 500);
    }
  }
}

TEST_CASE("a stream that was read fast still runs ahead for finished alone", "[stream][L-1]") {
  support::watchdog dog("finished after pulling");
  dg::thread_pool pool(1);
  auto stream = well_read(pool, 0, 64);
  REQUIRE(stream.valid());
  CHECK(support::eventually([&] { return stream.finished(); }));
}

TEST_CASE("a stream that was read fast still runs ahead for timed waits", "[stream][L-1]") {
  support::watchdog dog("timed waits after pulling");
  dg::thread_pool pool(1);
  auto stream = well_read(pool, 300, 64);
  REQUIRE(stream.valid());
  int expected = long_enough;
  while (auto item = stream.next_for(20s)) expected += item->get() == expected ? 1 : 0;
  CHECK(expected == long_enough + 300);
}

TEST_CASE("a stream that was read fast still runs ahead for wait_any", "[stream][wait_any][L-1]") {
  support::watchdog dog("wait_any after pulling");
  dg::thread_pool pool(1);
  dg::manual_executor never_run;
  dg::ref<int> never = dg::on(never_run).submit([] { return 0; });
  auto stream = well_read(pool, 300, 64);
  REQUIRE(stream.valid());
  for (int i = 0; i < 300; ++i) {
    REQUIRE(dg::wait_any(never, stream) == 1);
    auto item = stream.try_next();
    REQUIRE(item.has_value());
    REQUIRE(item->get() == long_enough + i);
  }
}

TEST_CASE("a stream that was read fast still completes for a thread that waits for its completion", "[stream][L-1]") {
  support::watchdog dog("completion after pulling");
  for (bool helping : {true, false}) {
    dg::thread_pool pool({.threads = 1, .waiters_help = helping});
    auto stream = well_read(pool, 10, 64);
    REQUIRE(stream.valid());
    stream.completion().get();
    int rest = 0;
    while (stream.next_value()) ++rest;
    CHECK(rest == 10);
  }
}

TEST_CASE("a stream that was read fast still runs to its end when detached", "[stream][L-1]") {
  support::watchdog dog("detach after pulling");
  dg::thread_pool pool(1);
  auto stream = well_read(pool, 3000, 64);
  REQUIRE(stream.valid());
  dg::ref<void> completion = stream.completion();
  stream.detach();
  CHECK(completion.wait_for(30s));
  CHECK_FALSE(completion.failed());
}

TEST_CASE("a stream that was read fast does not delay the end of its pool", "[stream][L-1][L-11]") {
  support::watchdog dog("closing after pulling");
  for (int more : {0, 20, 2000}) {
    std::optional<dg::ref_stream<int>> stream;
    {
      dg::thread_pool pool(1);
      stream = well_read(pool, more, 64);
      REQUIRE(stream->valid());
    }
    REQUIRE(stream->completion().ready());
    int rest = 0;
    bool cancelled = false;
    try {
      while (stream->next_value()) ++rest;
    } catch (const dg::cancelled_error&) {
      cancelled = true;
    }
    CHECK(cancelled == (more > 64));
    CHECK(rest >= (more < 64 ? more : 1));
  }
}

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

TEST_CASE("wait_any sees a ref that becomes ready during its scan", "[wait][S-WAIT-3][L-4]") {
  support::watchdog dog("ready between two looks");
  dg::manual_executor manual;
  dg::ref<int> never = dg::on(manual).submit([] { return 6; });
  dg::thread_pool pool(1);
  bool right = true;
  for (int i = 0; i < 50'000; ++i) right = right && dg::wait_any(never, pool.submit([i] { return i; })) == 1;
  CHECK(right);
  manual.run_all();
}

TEST_CASE("waiters that have left in time are not accessed any more", "[wait][L-4]") {
  support::watchdog dog("waiters that leave");
  dg::manual_executor manual;
  dg::ref<int> never = dg::on(manual).submit([] { return 6; });
  std::atomic<bool> over{false};
  std::atomic<int> saw{0};
  dg::thread_pool pool(1);
  for (int i = 0; i < 3000; ++i) {
    (void)never.wait_for(1us);
    dg::ref<int> other = pool.submit([i] { return i; });
    REQUIRE(dg::wait_any(never, other) == 1);
    try {
      (void)dg::wait_any_for(1us, never, never);
    } catch (const dg::timeout_error&) {
    }
  }
  std::vector<std::thread> leaving;
  for (int t = 0; t < 4; ++t)
    leaving.emplace_back([&, copy = never] {
      while (!over)
        if (copy.wait_for(1us)) {
          ++saw;
          break;
        }
    });
  manual.run_all();
  CHECK(never.get() == 6);
  CHECK(support::eventually([&] { return saw == 4; }));
  over = true;
  for (auto& thread : leaving) thread.join();
}

TEST_CASE("cancelled or failed dependents are not kept by the refs that they waited for",
          "[wait][L-4][S-CANCEL-1]") {
  support::watchdog dog("dependents that leave");
  dg::thread_pool pool(1);
  dg::inline_executor here;
  dg::promise<int> never;
  const dg::ref<int> value = never.get_ref();
  const dg::ref<int> bad = dg::on(here).submit([]() -> int { throw support::boom(); });
  const long before = support::pieces_alive();
  SECTION("cancelled") {
    for (int i = 0; i < 20'000; ++i) {
      const dg::ref<void> depends = pool.submit([](int) {}, value);
      REQUIRE(depends.cancel());
      depends.wait();
    }
  }
  SECTION("failed, before the rest was registered") {
    for (int i = 0; i < 20'000; ++i) REQUIRE(dg::on(here).submit([](int, int) {}, bad, value).failed());
  }
  CHECK(support::eventually([&] { return support::pieces_alive() - before < 5000; }));
}

TEST_CASE("a publish that meets a leaving waiter is seen by the next wait", "[wait][L-4]") {
  support::watchdog dog("publishing against leaving");
  dg::thread_pool pool(1);
  for (int round = 0; round < 2000; ++round) {
    support::gate go;
    dg::ref<int> value = pool.submit([&go, round] {
      go.pass();
      return round;
    });
    std::thread opener;
    if (round % 10 == 0)
      opener = std::thread([&] { go.open(); });
    else
      go.open();
    while (!value.wait_for(std::chrono::microseconds(round % 5))) {
    }
    REQUIRE(value.get() == round);
    if (opener.joinable()) opener.join();
  }
}

TEST_CASE("a hundred thousand refs of one task may have a dependent each", "[wait][L-4]") {
  support::watchdog dog("many dependents of one task");
  constexpr int count = 100000;
  dg::manual_executor manual;
  dg::inline_executor at_once;
  auto refs = dg::on(manual).options(dg::num_returns{count}).submit(count_to, count);
  REQUIRE(refs.size() == count);
  std::vector<dg::ref<int>> dependents;
  for (std::size_t i = refs.size(); i-- > 0;)
    dependents.push_back(dg::on(at_once).submit([](int value) { return value + 1; }, refs[i]));
  manual.run_all();
  bool right = true;
  for (std::size_t i = 0; i < dependents.size(); ++i)
    right = right && dependents[i].ready() && dependents[i].get() == count - static_cast<int>(i);
  CHECK(right);
}

TEST_CASE("one ref may have a hundred thousand dependents", "[wait][L-4]") {
  support::watchdog dog("many dependents of one ref");
  dg::manual_executor manual;
  std::atomic<int> sum{0};
  dg::thread_pool pool(2);
  dg::ref<int> source = dg::on(manual).submit([] { return 1; });
  std::vector<dg::ref<void>> dependents;
  for (int i = 0; i < 100000; ++i) dependents.push_back(pool.submit([&](int value) { sum += value; }, source));
  manual.run_all();
  for (auto& each : dependents) each.wait();
  CHECK(sum == 100000);
}

TEST_CASE("a local whose destructor throws does not keep a dropped frame alive", "[stream][L-5][S-ERR-10]") {
  support::watchdog dog("throwing local, dropped stream");
  std::atomic<int> gone{0}, reported{0};
  support::tracked::reset();
  {
    std::atomic<bool> full{false};
    dg::thread_pool pool(
        {.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
    dg::ref<void> completion;
    {
      auto stream = pool.options(dg::backpressure{1}).submit([&, kept = support::tracked(1)]() -> dg::generator<int> {
        support::tracked outer(kept.value);
        throws_at_exit local(&gone);
        support::tracked inner(2);
        full = true;
        co_yield 1;
        co_yield 2;
      });
      completion = stream.completion();
      REQUIRE(support::eventually([&] { return full.load(); }));
    }
    completion.wait();
    CHECK(completion.failed());
    CHECK(gone == 1);
    CHECK(pool.submit([] { return 3; }).get() == 3);
  }
  CHECK(reported == 1);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("a local whose destructor throws at a surplus yield does not harm what was stored", "[arity][L-5]") {
  support::watchdog dog("throwing local, surplus yield");
  std::atomic<int> gone{0}, reported{0};
  dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
  auto refs = pool.options(dg::num_returns<1>{}).submit([&]() -> dg::generator<int> {
    throws_at_exit local(&gone);
    co_yield 1;
    co_yield 2;
  });
  refs[0].completion().wait();
  CHECK(gone == 1);
  CHECK(refs[0].get() == 1);
  CHECK(refs[0].completion().failed());
  CHECK(reported >= 1);
}

TEST_CASE("a body that catches its local's exception during its end stops at its next suspension", "[stream][L-5]") {
  support::watchdog dog("caught while destroyed");
  std::atomic<int> gone{0}, caught{0}, beyond{0};
  std::atomic<bool> full{false};
  dg::thread_pool pool({.threads = 1, .on_unhandled_error = [](std::exception_ptr, std::string_view) {}});
  dg::ref<void> completion;
  {
    auto stream = pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
      bool again = false;
      try {
        throws_at_exit local(&gone);
        full = true;
        co_yield 1;
        co_yield 2;
      } catch (const support::boom&) {
        ++caught;
        again = true;
      }
      if (again) co_yield 3;
      ++beyond;
    });
    completion = stream.completion();
    REQUIRE(support::eventually([&] { return full.load(); }));
  }
  CHECK(completion.wait_for(30s));
  CHECK(gone == 1);
  CHECK(beyond == 0);
}

TEST_CASE("a generator that its helper has left continues for a thread that waits for a later value", "[wait][L-6]") {
  support::watchdog dog("helper leaves, other waits");
  for (int round = 0; round < 50; ++round) {
    support::gate busy, go;
    std::atomic<bool> blocked{false}, started{false}, waiting{false};
    std::atomic<int> first{0}, second{0};
    dg::thread_pool pool(1);
    dg::ref<void> keeps = pool.submit([&] {
      blocked = true;
      busy.pass();
    });
    while (!blocked) std::this_thread::yield();
    auto refs = pool.options(dg::num_returns<2>{}).submit([&]() -> dg::generator<int> {
      started = true;
      go.pass();
      co_yield 1;
      co_yield 2;
    });
    std::thread helper([&] { first = refs[0].get(); });
    while (!started) std::this_thread::yield();
    std::thread other([&, later = refs[1]] {
      waiting = true;
      second = later.get();
    });
    while (!waiting) std::this_thread::yield();
    go.open();
    helper.join();
    busy.open();
    other.join();
    REQUIRE(first == 1);
    REQUIRE(second == 2);
    keeps.get();
  }
}

TEST_CASE("many threads may help and wait for the values of one generator", "[wait][L-6]") {
  support::watchdog dog("several helpers");
  for (std::size_t threads : {1u, 2u}) {
    dg::thread_pool pool(threads);
    for (int round = 0; round < 100; ++round) {
      auto refs = pool.options(dg::num_returns{4}).submit(count_to, 4);
      std::atomic<int> right{0};
      std::vector<std::thread> waiters;
      for (std::size_t i = 0; i < 4; ++i)
        waiters.emplace_back([&right, i, ref = refs[3 - i]] { right += ref.get() == static_cast<int>(3 - i) ? 1 : 0; });
      for (auto& waiter : waiters) waiter.join();
      REQUIRE(right == 4);
    }
  }
}

TEST_CASE("a consumer that takes the last value meets a producer that parks", "[stream][L-8]") {
  support::watchdog dog("parking");
  for (std::size_t threads : {1u, 2u}) {
    for (int room : {1, 2, 17, 64}) {
      dg::thread_pool pool({.threads = threads, .waiters_help = false});
      for (int round = 0; round < 20; ++round) {
        auto stream = pool.options(dg::backpressure{room}).submit(count_to, 4 * room + round);
        int expected = 0;
        while (auto value = stream.next_value()) expected += *value == expected ? 1 : 0;
        REQUIRE(expected == 4 * room + round);
      }
    }
  }
}

TEST_CASE("a consumer that waits for code after the yield that fills the buffer returns its credits first",
          "[stream][L-8]") {
  support::watchdog dog("credits returned before a wait");
  for (bool helping : {true, false}) {
    for (int room : {1, 16, 17, 64}) {
      INFO("helping " << helping << ", room " << room);
      dg::thread_pool pool({.threads = 1, .waiters_help = helping});
      dg::manual_executor manual;
      dg::ref<int> behind = dg::on(manual).submit([] { return 3; });
      auto stream = pool.options(dg::backpressure{room}).submit([&, room]() -> dg::generator<int> {
        for (int i = 0; i < room; ++i) co_yield i;
        manual.run_all();
        co_yield room;
      });
      CHECK(stream.next_value() == std::optional<int>(0));
      // Less than half of a large capacity is free: only this wait returns the credits.
      CHECK(behind.get() == 3);
      for (int i = 1; i <= room; ++i) CHECK(stream.next_value() == std::optional<int>(i));
    }
  }
}

TEST_CASE("a task returns the credits of every stream that it has read before it waits", "[stream][L-8]") {
  support::watchdog dog("credits returned by a task");
  std::atomic<int> through{0};
  dg::thread_pool pool(1);
  dg::manual_executor manual;
  dg::ref<int> behind = dg::on(manual).submit([] { return 3; });
  auto make = [&]() -> dg::generator<int> {
    for (int i = 0; i < 64; ++i) co_yield i;
    if (++through == 2) manual.run_all();
    co_yield 64;
  };
  auto a = pool.submit(make);
  auto b = pool.submit(make);
  dg::ref<int> reader = pool.submit(
      [](dg::ref_stream<int> left, dg::ref_stream<int> right, dg::ref<int> other) {
        int sum = left.next_value().value_or(-1) + right.next_value().value_or(-1);
        sum += other.get();
        while (auto value = left.next_value()) sum += *value;
        while (auto value = right.next_value()) sum += *value;
        return sum;
      },
      std::move(a), std::move(b), dg::unresolved(behind));
  CHECK(reader.get() == 3 + 64 * 65);
}

TEST_CASE("a dropped stream destroys its frame away from the caller's locks", "[stream][L-13]") {
  support::watchdog dog("destructors that want a lock");
  std::atomic<int> gone{0};
  std::atomic<int> started{0};
  std::mutex mutex;
  dg::thread_pool pool(2);
  struct wants_lock {
    std::mutex* mutex;
    std::atomic<int>* gone;
    ~wants_lock() {
      std::lock_guard lock(*mutex);
      ++*gone;
    }
  };
  std::vector<dg::ref_stream<int>> streams;
  for (int i = 0; i < 50; ++i)
    streams.push_back(pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
      wants_lock local{&mutex, &gone};
      ++started;
      for (;;) co_yield 1;
    }));
  REQUIRE(support::eventually([&] { return started == 50; }));
  {
    std::lock_guard lock(mutex);
    streams.clear();
  }
  CHECK(support::eventually([&] { return gone == 50; }));
}

TEST_CASE("only the last ref moves a value out", "[ref][L-15]") {
  support::watchdog dog("sole ownership");
  dg::thread_pool pool(2);
  int wrong = 0;
  auto make = []() -> dg::generator<support::move_only> {
    co_yield 5;
    co_yield 6;
  };
  for (int round = 0; round < 2000; ++round) {
    dg::ref_list<support::move_only> list = pool.options(dg::dynamic).submit(make).get();
    dg::ref<support::move_only> taken = list[0];
    std::atomic<bool> go{false};
    std::atomic<int> damaged{0};
    std::thread reader([&, copy = std::move(list)]() mutable {
      while (!go) {
      }
      for (int i = 0; i < round % 8; ++i) {
        dg::ref<support::move_only> again = copy[0];
        if (again.get().value != 5) ++damaged;
      }
      dg::ref<support::move_only> last = copy[0];
      copy = {};
      if (last.get().value != 5) ++damaged;
    });
    go = true;
    for (;;) {
      try {
        support::move_only value = std::move(taken).take();
        if (value.value != 5) ++wrong;
        break;
      } catch (const dg::shared_value&) {
      }
    }
    reader.join();
    wrong += damaged;
  }
  CHECK(wrong == 0);
}

TEST_CASE("of two threads that take the same value at most one moves it", "[ref][L-15]") {
  support::watchdog dog("two takers");
  support::tracked::reset();
  int wrong = 0;
  for (int round = 0; round < 1000; ++round) {
    auto first = dg::put(support::tracked(4));
    auto second = first;
    std::atomic<int> got{0};
    std::thread other([&] { got += std::move(second).get().value; });
    const int mine = std::move(first).get().value;
    other.join();
    if (mine + got != 8) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("values with refs survive the reuse of the blocks around them", "[stream][L-16]") {
  support::watchdog dog("block reuse");
  support::tracked::reset();
  {
    dg::thread_pool pool(2);
    auto make = [](int n) -> dg::generator<support::tracked> {
      for (int i = 0; i < n; ++i) co_yield i;
    };
    for (int stride : {1, 7, 64, 97}) {
      for (int room : {1, 64, 1000}) {
        auto stream = pool.options(dg::backpressure{room}).submit(make, 20000);
        std::vector<dg::ref<support::tracked>> held;
        int index = 0;
        while (auto item = stream.next()) {
          if (index % stride == 0) held.push_back(std::move(*item));
          ++index;
        }
        CHECK(index == 20000);
        bool right = true;
        for (std::size_t i = 0; i < held.size(); ++i)
          right = right && held[i].get().value == static_cast<int>(i) * stride;
        CHECK(right);
      }
    }
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("values dropped on another thread while the producer appends", "[stream][L-16]") {
  support::watchdog dog("drops on another thread");
  support::tracked::reset();
  {
    dg::thread_pool pool(2);
    auto make = [](int n) -> dg::generator<support::tracked> {
      for (int i = 0; i < n; ++i) co_yield i;
    };
    auto stream = pool.options(dg::backpressure{64}).submit(make, 30000);
    int wrong = 0, index = 0;
    while (index < 30000) {
      std::vector<dg::ref<support::tracked>> batch;
      while (batch.size() < 1000) {
        auto item = stream.next();
        if (!item || item->get().value != index++) ++wrong;
        if (!item) break;
        batch.push_back(std::move(*item));
      }
      std::thread dropper([moved = std::move(batch)]() mutable { moved.clear(); });
      for (int i = 0; i < 500; ++i) {
        auto value = stream.next_value();
        if (!value || value->value != index++) ++wrong;
      }
      dropper.join();
    }
    CHECK(wrong == 0);
    CHECK(index == 30000);
    CHECK_FALSE(stream.next().has_value());
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("dropping a stream at any moment of its task's run leaks nothing", "[stream][L-16][S-MEM-4]") {
  support::watchdog dog("drop at any moment");
  support::tracked::reset();
  {
    dg::thread_pool pool(2);
    auto make = [](int n) -> dg::generator<support::tracked> {
      support::tracked local(-5);
      for (int i = 0; i < n; ++i) co_yield i;
    };
    for (int round = 0; round < 1000; ++round) {
      std::vector<dg::ref<support::tracked>> kept;
      {
        auto stream = pool.options(dg::backpressure{1 + round % 70}).submit(make, 300);
        for (int i = 0; i < round % 90; ++i) kept.push_back(std::move(*stream.next()));
      }
      bool right = true;
      for (std::size_t i = 0; i < kept.size(); ++i) right = right && kept[i].get().value == static_cast<int>(i);
      REQUIRE(right);
    }
  }
  CHECK(support::tracked::live == 0);
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

}  // namespace test_schedules
