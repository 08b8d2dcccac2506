// SPDX-License-Identifier: MIT
// when_all: every kind of operand, what it returns, and what it throws and when. S-AWAIT-1, and what L-4 asks of it.

#include "../catch.hpp"
#include "probes.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <numeric>
#include <ranges>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace test_when_all {

using namespace std::chrono_literals;
using support::awaits;
using support::boom;
using support::count_to;
using support::gives;
using support::gives_slowly;
using support::holds;
using support::later;
using support::message_in;
using support::nothing;
using support::run_on_pool;
using support::throws_boom;

namespace {

dg::task<std::unique_ptr<int>> owns(int i) { co_return std::make_unique<int>(i); }

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
  CHECK(run_on_pool(body));
  CHECK(run_on_pool(body, 1));
  // One ref twice, a single operand, and a nested when_all.
  auto nested = []() -> dg::task<int> {
    const dg::ref<int> r = dg::put(2);
    auto [a, b] = co_await dg::when_all(r, r);
    auto [c] = co_await dg::when_all(gives(10));
    auto [d, e] = co_await dg::when_all(dg::when_all(gives(100), r), dg::when_all(gives(1000)));
    co_return a + b + c + std::get<0>(d) + std::get<1>(d) + std::get<0>(e);
  };
  CHECK(run_on_pool(nested) == 2 + 2 + 10 + 100 + 2 + 1000);
}

TEST_CASE("what when_all returns can be kept, given to another function, and returned as a task", "[when_all][S-AWAIT-1]") {
  support::watchdog dog("kept when_all");
  const auto two = [] { return dg::when_all(gives(1), gives(2)); };
  const auto as_task = [&]() -> dg::task<std::tuple<int, int>> { return two(); };
  const auto awaits_both = [&]() -> dg::task<int> {
    auto kept = two();
    auto moved = std::move(kept);
    const auto [a, b] = co_await std::move(moved);
    const auto [c, d] = co_await as_task();
    co_return a + b + c + d;
  };
  CHECK(run_on_pool(awaits_both) == 6);
  // A callable that returns it is a task of the results.
  dg::thread_pool p(1);
  dg::ref<std::tuple<int, int>> both = p.submit(two);
  CHECK(both.get() == std::tuple(1, 2));
  // It is awaited once.
  const auto twice = [&]() -> dg::task<int> {
    auto kept = two();
    (void)co_await std::move(kept);
    try {
      (void)co_await std::move(kept);
    } catch (const dg::error& e) {
      co_return std::string(e.what()).find("when_all that has been awaited already") != std::string::npos ? 1 : 2;
    }
    co_return 3;
  };
  CHECK(run_on_pool(twice) == 1);
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
  CHECK(run_on_pool(body) == std::vector<int>{3, 6, 45, 45, 45, 0});
  CHECK(run_on_pool(body, 1) == std::vector<int>{3, 6, 45, 45, 45, 0});
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
  CHECK(run_on_pool(others) == 3 + 4 + 4);
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
      auto [a, b, c, d] = co_await dg::when_all(waits(slow.ref), throws_boom("second"), waits(slower.ref),
                                                throws_boom("in place"));
      co_return a + b + c + d;
    });
    CHECK(support::eventually([&] { return alive == 2; }));
    CHECK_FALSE(r.wait_for(5ms));
    slow.promise.set_exception(std::make_exception_ptr(boom("first")));
    CHECK(support::eventually([&] { return alive == 1; }));
    CHECK_FALSE(r.wait_for(5ms));
    slower.promise.set_value(1);
    CHECK(message_in(r) == "first");
    CHECK(alive == 0);
    auto refs_only = pool.submit(
        [](std::vector<dg::ref<int>> refs) -> dg::task<int> {
          co_return static_cast<int>((co_await dg::when_all(refs)).size());
        },
        std::vector{dg::put(1), pool.submit(throws_boom, "a"), pool.submit(throws_boom, "b")});
    CHECK(message_in(refs_only) == "a");
    auto only_last = pool.submit([]() -> dg::task<int> {
      auto [a, b] = co_await dg::when_all(gives(1), throws_boom("in place"));
      co_return a + b;
    });
    CHECK(message_in(only_last) == "in place");
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

TEST_CASE("when_all waits for all, then rethrows the first failure in argument order", "[await][S-AWAIT-1]") {
  support::watchdog dog("when_all");
  std::atomic<int> ended{0};
  dg::thread_pool pool(2);
  auto mixed = [](dg::ref<int> r) -> dg::task<int> {
    auto [a, b, c, d] = co_await dg::when_all(r, gives(20), nothing(), dg::put(300));
    static_assert(std::is_same_v<decltype(a), const int&> && std::is_same_v<decltype(c), std::monostate>);
    co_return a + b + d;
  };
  CHECK(pool.submit(mixed, dg::unresolved(dg::put(1))).get() == 321);

  auto slow = [](std::atomic<int>* n) -> dg::task<int> {
    for (int i = 0; i < 100; ++i) co_await dg::this_task::yield();
    ++*n;
    co_return 1;
  };
  auto failing = [&]() -> dg::task<int> {
    co_await dg::when_all(slow(&ended), throws_boom("second"), throws_boom("third"), slow(&ended));
    co_return 0;
  };
  CHECK(support::message_of([&] { pool.submit(failing).get(); }) == "second");
  CHECK(ended == 2);

  auto range = [](int n) -> dg::task<int> {
    std::vector<dg::task<int>> tasks;
    for (int i = 0; i < n; ++i) tasks.push_back(gives(i));
    std::vector<int> values = co_await dg::when_all(std::move(tasks));
    std::vector<dg::ref<int>> refs{dg::put(1), dg::put(2)};
    std::vector<int> copies = co_await dg::when_all(refs);
    std::vector<dg::ref<std::unique_ptr<int>>> owned;
    owned.push_back(dg::put(std::make_unique<int>(3)));
    auto moved = co_await dg::when_all(std::move(owned));
    co_return std::accumulate(values.begin(), values.end(), 0) + copies[1] + *moved[0];
  };
  CHECK(pool.submit(range, 100).get() == 4950 + 5);
  CHECK(pool.submit(range, 0).get() == 5);
}

}  // namespace test_when_all
