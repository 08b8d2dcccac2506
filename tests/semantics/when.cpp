// SPDX-License-Identifier: MIT
// when_all, when_any, async_next and async_value in corner cases: every kind of operand, what they return, what they
// throw and when, which thread runs which task, and that nothing leaks. S-AWAIT-1, and what L-4, L-8, L-17 ask of them.

#include "../catch.hpp"
#include "probes.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <list>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace test_when {

using namespace std::chrono_literals;
using support::awaits;
using support::boom;
using support::count_to;
using support::holds;
using support::later;

namespace {

dg::task<int> gives(int i) { co_return i; }
dg::task<int> gives_slowly(int i, int yields) {
  for (int k = 0; k < yields; ++k) co_await dg::this_task::yield();
  co_return i;
}
dg::task<int> fails(std::string what) {
  throw boom(what);
  co_return 0;
}
dg::task<void> nothing() { co_return; }
dg::task<std::unique_ptr<int>> owns(int i) { co_return std::make_unique<int>(i); }

/// A pool whose tasks run on its workers only.
dg::thread_pool_options workers_only(int threads) {
  dg::thread_pool_options o;
  o.threads = threads;
  o.waiters_help = false;
  return o;
}

/// Runs a coroutine on a pool of its own, and returns its result.
template <class F>
auto run(F f, int threads = 2) {
  dg::thread_pool pool(threads);
  return pool.submit(std::move(f)).get();
}

std::string said(const dg::ref<int>& r) {
  return support::message_of([&] { r.get(); });
}

}  // namespace

TEST_CASE("when_all gives each operand's result in its place, by its value category", "[when_all][S-AWAIT-1]") {
  support::watchdog dog("results of when_all");
  auto body = []() -> dg::task<bool> {
    const dg::ref<std::string> kept = dg::put(std::string("kept"));
    dg::ref<std::string> lvalue = kept;
    dg::ref<std::unique_ptr<int>> owned = dg::put(std::make_unique<int>(3));
    const dg::ref<void> event = dg::put(1).completion();
    auto all = co_await dg::when_all(gives_slowly(1, 50), kept, lvalue, std::move(owned), nothing(), event, owns(4),
                                     dg::put(5), gives(6));
    static_assert(
        std::is_same_v<decltype(all), std::tuple<int, const std::string&, const std::string&, std::unique_ptr<int>,
                                                 std::monostate, std::monostate, std::unique_ptr<int>, int, int>>);
    const bool same = &std::get<1>(all) == &kept.get() && &std::get<2>(all) == &kept.get();
    co_return same&& std::get<0>(all) == 1 && *std::get<3>(all) == 3 && *std::get<6>(all) == 4 &&
        std::get<7>(all) == 5 && std::get<8>(all) == 6;
  };
  CHECK(run(body));
  CHECK(run(body, 1));
  // One ref twice, a single operand, and a nested when_all.
  auto nested = []() -> dg::task<int> {
    const dg::ref<int> r = dg::put(2);
    auto [a, b] = co_await dg::when_all(r, r);
    auto [c] = co_await dg::when_all(gives(10));
    auto [d, e] = co_await dg::when_all(dg::when_all(gives(100), r), dg::when_all(gives(1000)));
    co_return a + b + c + std::get<0>(d) + std::get<1>(d) + std::get<0>(e);
  };
  CHECK(run(nested) == 2 + 2 + 10 + 100 + 2 + 1000);
}

TEST_CASE("when_all takes ranges of every kind", "[when_all][S-AWAIT-1]") {
  support::watchdog dog("ranges of when_all");
  auto body = []() -> dg::task<std::vector<int>> {
    std::vector<int> sums;
    const auto add = [&sums](const auto& values) {
      int sum = 0;
      for (const auto& v : values) sum += v;
      sums.push_back(sum);
    };
    const std::vector<dg::ref<int>> constant{dg::put(1), dg::put(2)};
    add(co_await dg::when_all(constant));
    std::array<dg::ref<int>, 3> array{dg::put(1), dg::put(2), dg::put(3)};
    add(co_await dg::when_all(array));
    std::list<dg::task<int>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(gives_slowly(i, 10 - i));
    add(co_await dg::when_all(std::move(tasks)));
    add(co_await dg::when_all(std::views::iota(0, 10) | std::views::transform([](int i) { return dg::put(i); })));
    add(co_await dg::when_all(std::views::iota(0, 10) | std::views::transform([](int i) { return gives(i); })));
    std::vector<dg::ref<int>> none;
    add(co_await dg::when_all(none));
    co_return sums;
  };
  CHECK(run(body) == std::vector<int>{3, 6, 45, 45, 45, 0});
  CHECK(run(body, 1) == std::vector<int>{3, 6, 45, 45, 45, 0});
  // Refs and tasks of void, lists, and move-only values.
  auto others = []() -> dg::task<int> {
    std::vector<dg::ref<void>> events(3, dg::put(1).completion());
    const std::vector<std::monostate> none = co_await dg::when_all(events);
    std::vector<dg::task<void>> tasks;
    for (int i = 0; i < 4; ++i) tasks.push_back(nothing());
    const std::vector<std::monostate> no_more = co_await dg::when_all(std::move(tasks));
    std::vector<dg::task<std::unique_ptr<int>>> owners;
    for (int i = 0; i < 5; ++i) owners.push_back(owns(i));
    const std::vector<std::unique_ptr<int>> owned = co_await dg::when_all(std::move(owners));
    co_return static_cast<int>(none.size() + no_more.size()) + *owned[4];
  };
  CHECK(run(others) == 3 + 4 + 4);
  dg::thread_pool pool(1);
  auto from_list = pool.submit(
      [](const dg::ref_list<int>& list) -> dg::task<int> {
        const std::vector<int> copies = co_await dg::when_all(list);
        co_return static_cast<int>(copies.size()) * 10 + copies[2];
      },
      pool.options(dg::dynamic).submit(count_to, 3));
  CHECK(from_list.get() == 32);
}

TEST_CASE("when_all waits for all, whatever fails first in time, and throws what fails first in order",
          "[when_all][S-AWAIT-1]") {
  support::watchdog dog("failures of when_all");
  for (int threads : {1, 2}) {
    std::atomic<int> alive{0};
    dg::thread_pool pool(threads);
    later slow, slower;
    auto waits = [&alive](dg::ref<int> r) -> dg::task<int> {
      const support::witness here(alive);
      co_return co_await r;
    };
    // The last operand runs in place, and fails at once; the first fails last.
    auto r = pool.submit([&]() -> dg::task<int> {
      auto [a, b, c, d] = co_await dg::when_all(waits(slow.ref), fails("second"), waits(slower.ref), fails("in place"));
      co_return a + b + c + d;
    });
    CHECK(support::eventually([&] { return alive == 2; }));
    CHECK_FALSE(r.wait_for(5ms));
    slow.promise.set_exception(std::make_exception_ptr(boom("first")));
    CHECK(support::eventually([&] { return alive == 1; }));
    CHECK_FALSE(r.wait_for(5ms));
    slower.promise.set_value(1);
    CHECK(said(r) == "first");
    CHECK(alive == 0);
    auto refs_only = pool.submit(
        [](std::vector<dg::ref<int>> refs) -> dg::task<int> {
          co_return static_cast<int>((co_await dg::when_all(refs)).size());
        },
        std::vector{dg::put(1), pool.submit(fails, "a"), pool.submit(fails, "b")});
    CHECK(said(refs_only) == "a");
    auto only_last = pool.submit([]() -> dg::task<int> {
      auto [a, b] = co_await dg::when_all(gives(1), fails("in place"));
      co_return a + b;
    });
    CHECK(said(only_last) == "in place");
    // A cancelled operand is a failure like others, and does not cancel the task that awaits it.
    later never;
    auto cancelled = pool.submit(awaits, dg::unresolved(never.ref));
    auto catches = pool.submit(
        [](dg::ref<int> in) -> dg::task<int> {
          int result = 0;
          try {
            co_await dg::when_all(in, gives(1));
          } catch (const dg::cancelled_error&) {
            result = 7;
          }
          co_await dg::this_task::yield();
          co_return result;
        },
        dg::unresolved(cancelled));
    CHECK(cancelled.cancel());
    CHECK(catches.get() == 7);
  }
}

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

TEST_CASE("a when_all that is never awaited runs nothing, one that is dropped in the middle leaks nothing",
          "[when_all][S-MEM-4]") {
  support::watchdog dog("dropped when_all");
  support::tracked::reset();
  std::atomic<int> ran{0};
  const auto counts = [&ran](support::tracked) -> dg::task<int> {
    ++ran;
    co_return 1;
  };
  {
    auto unawaited = dg::when_all(counts(1), counts(2), dg::put(support::tracked(3)));
    (void)unawaited;
  }
  CHECK(ran == 0);
  CHECK(support::tracked::live == 0);
  dg::manual_executor manual;
  later never;
  {
    auto r = dg::on(manual).submit([&]() -> dg::task<int> {
      const auto waits = [](support::tracked t, dg::ref<int> in) -> dg::task<int> { co_return t.value + co_await in; };
      auto [a, b, c] = co_await dg::when_all(waits(1, never.ref), waits(2, never.ref), waits(3, never.ref));
      co_return a + b + c;
    });
    manual.run_all();
    CHECK(support::tracked::live > 0);
    CHECK(r.cancel());
    manual.run_all();
    CHECK(holds<dg::cancelled_error>(r));
    manual.run_all();
  }
  CHECK(support::tracked::live == 0);
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

TEST_CASE("a hundred thousand refs, and ten thousand tasks, are awaited together", "[when_all][L-4]") {
  support::watchdog dog("large when_all", 120);
  support::gate go;
  dg::thread_pool pool(2);
  auto blocker = pool.submit([&go] { go.pass(); });
  auto refs = pool.options(dg::num_returns{100'000}, dg::after(blocker)).submit(count_to, 100'000);
  auto sum = pool.submit(
      [](std::vector<dg::ref<int>> all) -> dg::task<std::int64_t> {
        std::int64_t total = 0;
        for (int v : co_await dg::when_all(all)) total += v;
        co_return total;
      },
      std::move(refs));
  auto fan = pool.submit([]() -> dg::task<std::int64_t> {
    std::vector<dg::task<int>> tasks;
    for (int i = 0; i < 10'000; ++i) tasks.push_back(gives_slowly(i, i % 3));
    std::int64_t total = 0;
    for (int v : co_await dg::when_all(std::move(tasks))) total += v;
    co_return total;
  });
  CHECK(fan.get() == 49'995'000);
  go.open();
  CHECK(sum.get() == 4'999'950'000);
}

TEST_CASE("a pool that shuts down by cancel ends tasks in when_all and when_any",
          "[when_all][when_any][S-STOP-2][S-CANCEL-7]") {
  support::watchdog dog("when_all and shutdown");
  for (int round = 0; round < 50; ++round) {
    later never;
    dg::thread_pool pool(2);
    auto all = pool.submit(
        [](dg::ref<int> r) -> dg::task<int> {
          auto [a, b] = co_await dg::when_all(awaits(r), awaits(r));
          co_return a + b;
        },
        dg::unresolved(never.ref));
    auto any = pool.submit(
        [](dg::ref<int> r, dg::ref_stream<int> s) -> dg::task<int> {
          while (auto v = co_await s.async_value()) static_cast<void>(v);
          co_return static_cast<int>(co_await dg::when_any(r));
        },
        dg::unresolved(never.ref), pool.submit(count_to, 100));
    for (int i = 0; i < round; ++i) std::this_thread::yield();
    pool.shutdown(dg::shutdown_mode::cancel);
    CHECK(holds<dg::cancelled_error>(all));
    CHECK(holds<dg::cancelled_error>(any));
  }
}

TEST_CASE("when_any gives the index of an operand that is ready, failed or has its next item, and consumes nothing",
          "[when_any][S-AWAIT-1]") {
  support::watchdog dog("operands of when_any");
  dg::thread_pool pool(2);
  later never;
  dg::manual_executor idle;
  auto waiting = dg::on(idle).submit(count_to, 3);
  const auto any = [&](auto&... handles) {
    return run([&]() -> dg::task<std::size_t> { co_return co_await dg::when_any(handles...); });
  };
  auto failed = pool.submit(fails, "f");
  auto event = pool.submit([] {});
  CHECK(any(never.ref, failed) == 1);
  CHECK(any(never.ref, waiting, event) == 2);
  CHECK(said(failed) == "f");
  auto stream = pool.submit(count_to, 2);
  for (int i = 0; i < 3; ++i) CHECK(any(never.ref, stream) == 1);  // the same item each time
  CHECK(stream.next_value() == 0);
  CHECK(any(never.ref, stream) == 1);
  CHECK(stream.next_value() == 1);
  CHECK_FALSE(stream.next_value().has_value());
  // An ended stream counts only when all have ended.
  auto other = pool.submit(count_to, 0);
  CHECK(any(stream, other) < 2);
  CHECK(any(stream, event) == 1);
  auto r = pool.submit([&]() -> dg::task<std::size_t> { co_return co_await dg::when_any(stream, never.ref); });
  CHECK_FALSE(r.wait_for(5ms));
  never.promise.set_value(1);
  CHECK(r.get() == 1);
  // An untaken failure is an item.
  auto failing = pool.submit([]() -> dg::generator<int> {
    co_yield 1;
    throw boom();
  });
  CHECK(failing.next_value() == 1);
  later unset;
  CHECK(any(unset.ref, failing) == 1);
  CHECK_THROWS_AS(failing.next_value(), boom);
  // No task was cancelled.
  idle.run_all();
  CHECK(waiting.next_value() == 0);
  CHECK_FALSE(unset.ref.ready());
  CHECK_THROWS_AS(any(never.ref, other, *std::make_unique<dg::ref<int>>()), dg::empty_ref);
}

TEST_CASE("when_any takes ranges of refs and of streams", "[when_any][S-AWAIT-1]") {
  support::watchdog dog("ranges of when_any");
  dg::thread_pool pool(2);
  later never;
  auto refs = [](const std::vector<dg::ref<int>>& all) -> dg::task<std::size_t> {
    co_return co_await dg::when_any(all);
  };
  CHECK(pool.submit(refs, std::vector{never.ref, dg::put(1), never.ref}).get() == 1);
  auto array = [](std::array<dg::ref<int>, 2> all) -> dg::task<std::size_t> { co_return co_await dg::when_any(all); };
  CHECK(pool.submit(array, std::array{never.ref, dg::put(1)}).get() == 1);
  auto drained = pool.submit(
      [](std::vector<dg::ref_stream<int>> streams) -> dg::task<std::vector<int>> {
        std::vector<int> taken(streams.size(), 0);
        for (;;) {
          const std::size_t i = co_await dg::when_any(streams);
          const auto item = co_await streams[i].async_next();
          if (!item) co_return taken;
          if (item->get() != taken[i]++) co_return std::vector<int>();
        }
      },
      [&] {
        std::vector<dg::ref_stream<int>> streams;
        for (int i = 0; i < 10; ++i) streams.push_back(pool.options(dg::backpressure{1 + i}).submit(count_to, 20 * i));
        return streams;
      }());
  CHECK(drained.get() == std::vector<int>{0, 20, 40, 60, 80, 100, 120, 140, 160, 180});
}

TEST_CASE("no operand starves among several that are always ready", "[when_any][S-AWAIT-1]") {
  support::watchdog dog("fairness of when_any");
  auto seen = run([]() -> dg::task<std::vector<int>> {
    std::vector<dg::ref<int>> refs;
    for (int i = 0; i < 5; ++i) refs.push_back(dg::put(i));
    std::vector<int> count(5, 0);
    for (int i = 0; i < 1000; ++i) {
      const std::size_t first = co_await dg::when_any(refs);
      ++count[first];
    }
    co_return count;
  });
  for (int n : seen) CHECK(n > 0);
}

TEST_CASE("repeated waits for a ref that is never ready, beside ready ones, leave no waiter in its list",
          "[when_any][L-4]") {
  support::watchdog dog("many when_any beside one that never comes");
  dg::thread_pool pool(1);
  later never;
  const long before = dg::detail::memory_counter::live(dg::detail::memory_kind::waiter);
  auto r = pool.submit(
      [&pool](dg::ref<int> in) -> dg::task<long> {
        long most = 0;
        for (int i = 0; i < 20'000; ++i) {
          auto other = pool.submit(gives, i);
          co_await dg::when_any(in, other);
          most = std::max(most, dg::detail::memory_counter::live(dg::detail::memory_kind::waiter));
        }
        co_return most;
      },
      dg::unresolved(never.ref));
  CHECK(r.get() - before < 1000);
}

TEST_CASE("a task that awaits a stream's next item, alone or among others, returns its credits first",
          "[when_any][L-8]") {
  support::watchdog dog("credits returned by awaiting");
  dg::manual_executor manual;
  later never;
  for (int room : {1, 2, 20, 64}) {
    // The producer stops when its buffer is full; its reader has taken one value, so less than half of the limit is
    // free.
    auto reader = dg::on(manual).submit(
        [](dg::ref_stream<int> in, dg::ref<int> r) -> dg::task<int> {
          int sum = 0;
          for (int i = 0; i < 100; ++i) {
            const std::size_t first = i % 2 == 0 ? co_await dg::when_any(in) : co_await dg::when_any(r, in);
            const auto v = co_await in.async_value();
            if (first > 1 || !v || *v != i) co_return -1;
            ++sum;
          }
          co_return sum;
        },
        dg::on(manual).options(dg::backpressure{room}).submit(count_to, 1000), dg::unresolved(never.ref));
    manual.run_all();
    REQUIRE(reader.ready());
    CHECK(reader.get() == 100);
  }
}

TEST_CASE("async_next and async_value at the end, at a failure, and of a task that never starts",
          "[await][S-STREAM-2][S-ERR-4]") {
  support::watchdog dog("ends of awaited streams");
  struct body {
    static dg::task<std::string> items(dg::ref_stream<int> in) {
      std::string log;
      for (int i = 0; i < 5; ++i) {
        auto item = co_await in.async_next();
        if (!item)
          log += in.finished() ? '.' : '?';
        else
          log += item->failed() ? '!' : static_cast<char>('0' + item->get());
      }
      co_return log;
    }
    static dg::task<std::string> values(dg::ref_stream<int> in) {
      std::string log;
      for (int i = 0; i < 5; ++i) {
        std::optional<int> v;
        bool threw = false;
        try {
          v = co_await in.async_value();
        } catch (const std::exception&) {
          threw = true;
        }
        log += threw ? '!' : v ? static_cast<char>('0' + *v) : '.';
      }
      co_return log;
    }
  };
  support::error_log log;  // the dependency that fails has no handle
  dg::thread_pool pool(support::reporting_to(log));
  const auto make = [&pool](int kind) {
    dg::ref<int> failed = pool.submit(fails, "dependency");
    switch (kind) {
      case 0:
        return pool.submit(count_to, 3);
      case 1:
        return pool.submit(count_to, 0);
      case 2:
        return pool.submit([]() -> dg::generator<int> {
          co_yield 0;
          co_yield 1;
          throw boom();
        });
      case 3:
        return pool.submit([]() -> dg::generator<int> {
          throw boom();
          co_yield 0;
        });
      case 4:
        return pool.submit(count_to, failed);
      default: {
        dg::promise<int> broken;
        return pool.submit(count_to, broken.get_ref());
      }
    }
  };
  const std::array<std::string, 6> expected{"012..", ".....", "01!..", "!....", "!....", "!...."};
  for (int kind = 0; kind < 6; ++kind) {
    INFO("kind " << kind);
    CHECK(pool.submit(body::items, make(kind)).get() == expected[static_cast<std::size_t>(kind)]);
    CHECK(pool.submit(body::values, make(kind)).get() == expected[static_cast<std::size_t>(kind)]);
  }
  CHECK(holds<dg::empty_ref>(pool.submit(body::items, dg::ref_stream<int>())));
}

TEST_CASE("tasks on two executors await each other's values, and each resumes on its own",
          "[await][S-WAIT-6][S-STREAM-7]") {
  support::watchdog dog("awaiting across executors");
  dg::thread_pool pool(2);
  dg::manual_executor manual;
  struct body {
    static dg::generator<int> adds(dg::ref_stream<int> in, std::thread::id* seen) {
      while (auto v = co_await in.async_value()) {
        const auto here = std::this_thread::get_id();
        if (seen != nullptr && *seen != std::thread::id() && *seen != here) throw boom("another thread");
        if (seen != nullptr) *seen = here;
        co_yield *v + 1;
      }
    }
  };
  std::thread::id mine;
  auto stream = pool.options(dg::backpressure{2}).submit(count_to, 200);
  for (int i = 0; i < 3; ++i) {
    stream = dg::on(manual).options(dg::backpressure{1}).submit(body::adds, std::move(stream), &mine);
    stream = pool.options(dg::backpressure{1}).submit(body::adds, std::move(stream), nullptr);
  }
  auto sum = pool.submit(
      [](dg::ref_stream<int> in) -> dg::task<long> {
        long total = 0;
        while (auto v = co_await in.async_value()) total += *v;
        co_return total;
      },
      std::move(stream));
  while (!sum.ready()) {
    manual.run_all();
    std::this_thread::yield();
  }
  CHECK(sum.get() == 199 * 100 + 6 * 200);
  CHECK(mine == std::this_thread::get_id());
}

TEST_CASE("two tasks take turns at one stream", "[await][S-STREAM-8]") {
  support::watchdog dog("turns at one stream");
  dg::thread_pool pool(2);
  auto stream = std::make_shared<dg::ref_stream<int>>(pool.options(dg::backpressure{3}).submit(count_to, 1000));
  struct body {
    static dg::task<int> takes(std::shared_ptr<dg::ref_stream<int>> from, int n, dg::ref<int> before) {
      int expected = co_await before;
      for (int i = 0; i < n; ++i) {
        const auto v = co_await from->async_value();
        if (!v || *v != expected++) throw boom("out of order");
      }
      co_return expected;
    }
  };
  dg::ref<int> at = dg::put(0);
  for (int turn = 0; turn < 100; ++turn) at = pool.submit(body::takes, stream, 10, dg::unresolved(at));
  CHECK(at.get() == 1000);
  CHECK_FALSE(stream->next().has_value());
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

}  // namespace test_when
