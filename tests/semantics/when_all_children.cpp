// SPDX-License-Identifier: MIT
// The children of a when_all: which thread runs each of them and when, and what a cancelled parent does to them.
// S-AWAIT-1, and what L-2 and L-17 ask of it.

#include "../catch.hpp"
#include "probes.hpp"

#include <atomic>
#include <cstdint>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_when_all_children {

using namespace std::chrono_literals;
using support::gives;
using support::gives_slowly;
using support::holds;
using support::later;

namespace {

/// A pool whose tasks run on its workers only.
dg::thread_pool_options workers_only(int threads) {
  dg::thread_pool_options o;
  o.threads = threads;
  o.waiters_help = false;
  return o;
}

}  // namespace

TEST_CASE("the tasks of a when_all run side by side on the threads of their pool", "[when_all][S-AWAIT-1][L-17]") {
  support::watchdog dog("when_all on several threads");
  std::latch two_here(2);
  dg::thread_pool pool({.threads = 3, .waiters_help = false});
  for (int round = 0; round < 50; ++round) {
    std::latch all_here(3);
    const auto meets = [&all_here](int i) -> dg::task<int> {
      all_here.arrive_and_wait();  // each blocks a thread
      co_return i;
    };
    auto tuple = pool.submit([&]() -> dg::task<int> {
      auto [a, b, c] = co_await dg::when_all(meets(1), meets(2), meets(3));
      co_return a + b + c;
    });
    REQUIRE(tuple.get() == 6);
  }
  // A submitted generator spawns them as a task does.
  const auto meets = [&two_here]() -> dg::task<int> {
    two_here.arrive_and_wait();
    co_return 1;
  };
  auto stream = pool.submit([&]() -> dg::generator<int> {
    auto [a, b] = co_await dg::when_all(meets(), meets());
    co_yield a + b;
  });
  CHECK(stream.next_value() == 2);
}

TEST_CASE("children that no worker steals run in their parent's place, and are no tasks", "[when_all][S-AWAIT-1]") {
  support::watchdog dog("children in place");
  dg::thread_pool pool(workers_only(1));
  std::vector<int> order;
  auto child = [](std::vector<int>& seen, int i) -> dg::task<std::uint64_t> {
    seen.push_back(i);
    co_return dg::this_task::id();
  };
  auto parent = [&]() -> dg::task<bool> {
    const std::uint64_t mine = dg::this_task::id();
    auto [a, b, c] = co_await dg::when_all(child(order, 0), child(order, 1), child(order, 2));
    std::vector<dg::task<std::uint64_t>> more;
    for (int i = 3; i < 6; ++i) more.push_back(child(order, i));
    bool same = a == mine && b == mine && c == mine;
    for (const std::uint64_t id : co_await dg::when_all(std::move(more))) same = same && id == mine;
    co_return same;
  };
  CHECK(pool.submit(parent).get());
  CHECK(order == std::vector<int>{2, 1, 0, 5, 4, 3});
  CHECK(pool.stats().submitted == 1);
  CHECK(pool.stats().completed == 1);
}

TEST_CASE("a stolen child is a task of its own", "[when_all][S-AWAIT-1]") {
  support::watchdog dog("children elsewhere");
  dg::thread_pool pool(workers_only(2));
  std::latch begun(1);
  auto first = [](std::latch& l) -> dg::task<std::uint64_t> {
    l.count_down();
    co_return dg::this_task::id();
  };
  auto last = [](std::latch& l) -> dg::task<std::uint64_t> {
    l.wait();  // blocks the parent's worker, unseen by the library
    co_return dg::this_task::id();
  };
  auto parent = [&]() -> dg::task<bool> {
    const std::uint64_t mine = dg::this_task::id();
    auto [a, b] = co_await dg::when_all(first(begun), last(begun));
    co_return a != mine && b == mine;
  };
  CHECK(pool.submit(parent).get());
  CHECK(pool.stats().submitted == 2);
}

TEST_CASE("a child that awaits another one lets it run on the only worker", "[when_all][S-AWAIT-1][S-WAIT-5]") {
  support::watchdog dog("children that wait for each other");
  // Whichever of the three children runs first, it waits for another one.
  auto waits = [](dg::ref<int> r, dg::promise<int>& p) -> dg::task<int> {
    const int n = co_await r + 1;
    p.set_value(n);
    co_return n;
  };
  auto begins = [](dg::promise<int>& p) -> dg::task<int> {
    p.set_value(1);
    co_return 1;
  };
  for (int threads : {1, 2}) {
    dg::thread_pool pool(workers_only(threads));
    for (int order = 0; order < 3; ++order) {
      auto parent = [&, order]() -> dg::task<int> {
        dg::promise<int> one, two, three;
        std::vector<dg::task<int>> children;
        for (int i = 0; i < 3; ++i) switch ((i + order) % 3) {
            case 0: children.push_back(begins(one)); break;
            case 1: children.push_back(waits(one.get_ref(), two)); break;
            case 2: children.push_back(waits(two.get_ref(), three)); break;
          }
        int sum = 0;
        for (int n : co_await dg::when_all(std::move(children))) sum += n;
        co_return sum;
      };
      CHECK(pool.submit(parent).get() == 1 + 2 + 3);
    }
  }
  // Also if the last child blocks its thread.
  for (int threads : {1, 2}) {
    dg::thread_pool pool(workers_only(threads));
    auto blocks = [](dg::ref<int> r) -> dg::task<int> { co_return r.get() + 1; };
    auto parent = [&]() -> dg::task<int> {
      dg::promise<int> one;
      auto [a, b] = co_await dg::when_all(begins(one), blocks(one.get_ref()));
      co_return a + b;
    };
    CHECK(pool.submit(parent).get() == 1 + 2);
  }
}

TEST_CASE("children that have not begun when their parent is cancelled never do", "[when_all][S-CANCEL-2]") {
  support::watchdog dog("cancelled before its children");
  dg::thread_pool pool(workers_only(1));
  std::latch begun(1), gate(1);
  std::atomic<int> ran{0};
  auto counts = [](std::atomic<int>& n, std::shared_ptr<int>) -> dg::task<int> { co_return ++n; };
  auto blocks = [&]() -> dg::task<int> {
    begun.count_down();
    gate.wait();
    co_return 0;
  };
  auto held = std::make_shared<int>(1);
  auto parent = [&]() -> dg::task<int> {
    auto [a, b, c] = co_await dg::when_all(counts(ran, held), counts(ran, held), blocks());
    co_return a + b + c;
  };
  const dg::ref<int> result = pool.submit(parent);
  begun.wait();
  result.cancel();
  gate.count_down();
  result.wait();
  CHECK(holds<dg::cancelled_error>(result));
  CHECK(ran == 0);
  CHECK(held.use_count() == 1);
  CHECK(pool.stats().submitted == 1);
}

TEST_CASE("more children than a worker can offer at once all run", "[when_all][S-AWAIT-1]") {
  support::watchdog dog("many children");
  for (int threads : {1, 2}) {
    dg::thread_pool pool(workers_only(threads));
    auto parent = [&]() -> dg::task<int> {
      std::vector<dg::task<int>> children;
      for (int i = 0; i < 1000; ++i) children.push_back(i % 2 == 0 ? gives(1) : gives_slowly(1, i % 7));
      int sum = 0;
      for (int n : co_await dg::when_all(std::move(children))) sum += n;
      co_return sum;
    };
    CHECK(pool.submit(parent).get() == 1000);
    pool.shutdown(dg::shutdown_mode::drain);
    CHECK(pool.stats().submitted == pool.stats().completed);
  }
}

TEST_CASE("children that run in their parent's place let other tasks run", "[when_all][L-2]") {
  support::watchdog dog("turns beside children");
  static std::atomic<int> rounds{0};
  static std::atomic<bool> over{false};
  auto endless = []() -> dg::task<void> {
    for (; !over; ++rounds) co_await dg::when_all(gives(1), gives(2));
  };
  for (int threads : {1, 2, 3}) {
    dg::thread_pool pool(workers_only(threads));
    over = false;
    rounds = 0;
    for (int i = 0; i < threads; ++i) (void)pool.submit(endless);
    while (rounds < 1000) std::this_thread::yield();
    for (int i = 0; i < 20; ++i) pool.submit([] {}).wait();  // queued by this thread
    auto nested = pool.submit([](dg::thread_pool* p) { return p->submit([] { return 7; }); }, &pool);
    CHECK(nested.get().get() == 7);  // and in a worker's deque
    over = true;
  }
}

TEST_CASE("short-lived children do not disturb the counts", "[when_all][S-AWAIT-1]") {
  support::watchdog dog("counts beside children");
  dg::thread_pool pool(workers_only(1));
  std::atomic<bool> over{false};
  auto parent = [&]() -> dg::task<void> {
    while (!over) co_await dg::when_all(gives(1), gives(2), gives(3));
  };
  const dg::ref<void> r = pool.submit(parent);
  // Now and then a child becomes a task, when its parent has run for a long time. Tens of thousands do not.
  std::uint64_t last = 0;
  bool grows = true;
  for (int i = 0; i < 200'000; ++i) {
    const std::uint64_t now = pool.stats().submitted;
    grows = grows && last <= now && now < 10'000;
    last = now;
  }
  over = true;
  r.wait();
  CHECK(grows);
}

TEST_CASE("a cancelled coroutine ends after the children of its when_all, which may use its locals",
          "[when_all][S-CANCEL-2][S-CANCEL-7]") {
  support::watchdog dog("children outlive no parent");
  struct family {
    std::atomic<int> parents{0}, seen{-1};
    support::gate inside, go;
    later never;

    /// Runs, far from any suspension, when its parent is cancelled; then checks that the parent's local is still alive.
    static dg::task<int> child(family& f, const support::tracked& local) {
      f.inside.open();
      f.go.pass();
      f.seen = f.parents == 1 ? local.value : -2;
      co_return 1;
    }
    static dg::task<int> waits(family& f, const support::tracked& local) { co_return local.value + co_await f.never.ref; }
    static dg::task<int> tuple(family& f) {
      const support::witness here(f.parents);
      const support::tracked local(7);
      auto [a, b] = co_await dg::when_all(child(f, local), waits(f, local));
      co_return a + b;
    }
    static dg::task<int> range(family& f) {
      const support::witness here(f.parents);
      const support::tracked local(7);
      std::vector<dg::task<int>> tasks;
      tasks.push_back(waits(f, local));
      tasks.push_back(child(f, local));
      tasks.push_back(waits(f, local));
      co_return (co_await dg::when_all(std::move(tasks)))[0];
    }
    /// The child belongs to an outer coroutine, not to the one that waits.
    static dg::task<int> nested(family& f) {
      const support::witness here(f.parents);
      const support::tracked local(7);
      struct inner {
        static dg::task<int> run(family& g, const support::tracked& l) {
          auto [a, b] = co_await dg::when_all(waits(g, l), waits(g, l));
          co_return a + b;
        }
      };
      auto [a, b] = co_await dg::when_all(child(f, local), inner::run(f, local));
      co_return a + b;
    }
    /// Its when_all is running, not suspended, when it sees that it is cancelled.
    static dg::task<int> running(family& f) {
      const support::witness here(f.parents);
      const support::tracked local(7);
      struct inner {
        static dg::task<int> run(family& g) {
          for (;;) {
            if (g.inside.is_open()) co_await dg::this_task::yield();
          }
        }
      };
      auto [a, b] = co_await dg::when_all(child(f, local), inner::run(f));
      co_return a + b;
    }
    static dg::generator<int> values(family& f) {
      const support::witness here(f.parents);
      const support::tracked local(7);
      auto [a, b] = co_await dg::when_all(child(f, local), waits(f, local));
      co_yield a + b;
    }
  };
  support::tracked::reset();
  for (auto body : {&family::tuple, &family::range, &family::nested, &family::running}) {
    family f;
    dg::thread_pool pool({.threads = 2, .waiters_help = false});
    auto r = pool.submit(body, std::ref(f));
    f.inside.pass();
    CHECK(r.cancel());
    CHECK_FALSE(r.wait_for(10ms));
    CHECK(f.parents == 1);
    f.go.open();
    CHECK(holds<dg::cancelled_error>(r));
    CHECK(f.seen == 7);
    CHECK(f.parents == 0);
  }
  for (int how = 0; how < 3; ++how) {
    family f;
    dg::thread_pool pool({.threads = 2, .waiters_help = false});
    auto stream = pool.submit(&family::values, std::ref(f));
    const auto end = stream.completion();
    f.inside.pass();
    if (how == 0) stream = {};
    std::thread ends([&] {
      if (how == 1) pool.shutdown(dg::shutdown_mode::cancel);
    });
    if (how == 2) {
      stream.cancel();
      stream.cancel();  // a second cancel changes nothing
    }
    CHECK_FALSE(end.wait_for(10ms));
    f.go.open();
    ends.join();
    CHECK(holds<dg::cancelled_error>(end));
    CHECK(f.seen == 7);
    CHECK(f.parents == 0);
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("many parents with many children, cancelled at any moment, leak nothing",
          "[when_all][S-CANCEL-4][S-MEM-4]") {
  support::watchdog dog("families of tasks", 120);
  support::tracked::reset();
  std::atomic<int> ended{0}, cancelled{0};
  {
    dg::thread_pool pool(3);
    struct body {
      static dg::task<int> child(support::tracked own, int depth) {
        co_await dg::this_task::yield();
        if (depth == 0) co_return own.value;
        auto [a, b] = co_await dg::when_all(child(own.value, depth - 1), child(own.value, depth - 1));
        co_return a + b;
      }
    };
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t)
      threads.emplace_back([&, t] {
        for (int round = 0; round < 150; ++round) {
          auto r = pool.submit(body::child, support::tracked(1), 5);
          if ((round + t) % 3 != 0) {
            for (int i = 0; i < round % 40; ++i) std::this_thread::yield();
            r.cancel();
          }
          if (r.error())
            ++cancelled;
          else if (r.get() == 32)
            ++ended;
        }
      });
    for (auto& t : threads) t.join();
  }
  CHECK(ended + cancelled == 300);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("the tasks of a when_all are in progress at the same time", "[await][S-AWAIT-1]") {
  support::watchdog dog("when_all in parallel");
  dg::thread_pool pool(1);
  // Each waits for the other: run one after the other, they would never end.
  auto meet = []() -> dg::task<int> {
    dg::promise<int> left, right;
    auto side = [](dg::promise<int>& mine, dg::ref<int> other) -> dg::task<int> {
      mine.set_value(1);
      co_return co_await other;
    };
    auto [a, b] = co_await dg::when_all(side(left, right.get_ref()), side(right, left.get_ref()));
    co_return a + b;
  };
  CHECK(pool.submit(meet).get() == 2);
}

TEST_CASE("in a generator that is iterated in place the tasks of a when_all run one after the other",
          "[await][S-DETAIL-7]") {
  support::watchdog dog("when_all in place");
  struct body {
    static dg::generator<std::string> run(std::string& log) {
      auto part = [&log](char c) -> dg::task<char> {
        log += c;
        if (c == '!') throw support::boom();
        co_return c;
      };
      auto [a, b, c] = co_await dg::when_all(part('a'), dg::put(7), part('c'));
      co_yield std::string(1, a) + std::to_string(b) + c;
      co_await dg::when_all(part('!'), part('d'));
    }
  };
  std::string log;
  auto gen = body::run(log);
  auto at = gen.begin();
  CHECK(*at == "a7c");
  CHECK_THROWS_AS(++at, support::boom);
  CHECK(log == "ac!d");
}

TEST_CASE("cancelling a task that awaits a when_all cancels the children that it has started", "[await][S-CANCEL-5]") {
  support::watchdog dog("cancelled when_all");
  std::atomic<int> alive{0}, begun{0};
  later never;
  dg::thread_pool pool(2);
  auto part = [](std::atomic<int>* lives, std::atomic<int>* count, dg::ref<int> in) -> dg::task<int> {
    support::witness here(*lives);
    ++*count;
    co_return co_await in;
  };
  auto r = pool.submit([&]() -> dg::task<int> {
    co_await dg::when_all(part(&alive, &begun, never.ref), part(&alive, &begun, never.ref), part(&alive, &begun, never.ref));
    co_return 0;
  });
  REQUIRE(support::eventually([&] { return begun == 3; }));
  CHECK(r.cancel());
  CHECK(support::holds<dg::cancelled_error>(r));
  CHECK(support::eventually([&] { return alive == 0; }));
}

}  // namespace test_when_all_children
