// SPDX-License-Identifier: MIT
// Orders of events that break naive designs of waiting, helping and reference counts, each provoked on purpose.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

namespace test_schedules_of_waits {

using namespace std::chrono_literals;
using support::count_to;

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

}  // namespace test_schedules_of_waits
