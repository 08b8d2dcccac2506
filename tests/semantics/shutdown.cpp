// SPDX-License-Identifier: MIT
// shutdown(): which tasks it cancels, and what a submit during or after it does.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

namespace test_shutdown {

using namespace std::chrono_literals;
using support::count_to;
using support::is_cancelled;
using support::is_stopped;

TEST_CASE("shutdown(cancel) cancels waiting and suspended tasks, and waits for running ones", "[stop][S-STOP-2]") {
  support::watchdog dog("shutdown(cancel)");
  dg::manual_executor manual;
  dg::ref<int> outside = dg::on(manual).submit([] { return 1; });
  support::gate running, let_go;
  std::atomic<bool> run_ended{false}, seen_ended{false};
  std::atomic<int> produced{0}, queued_ran{0};
  dg::thread_pool pool(1);

  auto stream = pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
    for (;;) {
      ++produced;
      co_yield 1;
    }
  });
  REQUIRE(support::eventually([&] { return produced == 1; }));
  dg::ref<int> runs = pool.submit([&] {
    running.open();
    let_go.pass();
    run_ended = true;
    return 9;
  });
  running.pass();
  dg::ref<int> waits = pool.submit([](int value) { return value; }, outside);
  std::vector<dg::ref<int>> queued;
  for (int i = 0; i < 100; ++i)
    queued.push_back(pool.submit([&, i] {
      ++queued_ran;
      return i;
    }));

  std::thread closer([&] {
    pool.shutdown(dg::shutdown_mode::cancel);
    seen_ended = run_ended.load();
  });
  REQUIRE(support::eventually([&] { return is_stopped(pool); }));
  CHECK_FALSE(run_ended);
  let_go.open();
  closer.join();

  CHECK(seen_ended);
  CHECK(runs.get() == 9);
  REQUIRE(waits.ready());
  CHECK(is_cancelled(waits.error()));
  REQUIRE(stream.completion().ready());
  CHECK(is_cancelled(stream.completion().error()));
  CHECK(produced == 1);
  int cancelled = 0;
  for (auto& each : queued) {
    REQUIRE(each.ready());
    cancelled += is_cancelled(each.error()) ? 1 : 0;
  }
  CHECK(cancelled + queued_ran == 100);
  CHECK(cancelled > 0);
}

TEST_CASE("shutdown(cancel) ends tasks that would run for ever", "[stop][S-STOP-2][S-CANCEL-6]") {
  support::watchdog dog("shutdown of endless tasks");
  std::atomic<int> attempts{0}, yields{0}, values{0}, awaited{0};
  dg::thread_pool pool(2);
  auto retried = pool.options(dg::max_retries{2'000'000'000}).submit([&]() -> int {
    ++attempts;
    throw support::boom();
  });
  auto yielding = pool.submit([&]() -> dg::task<int> {
    for (;; ++yields) co_await dg::this_task::yield();
  });
  auto detached = pool.submit([&]() -> dg::generator<int> {
    for (;; ++values) co_yield 1;
  });
  auto detached_end = detached.completion();
  std::move(detached).detach();
  auto awaiting = pool.submit([&](dg::thread_pool* own) -> dg::task<int> {
    for (;; ++awaited) co_await own->submit([] {});
  }, &pool);
  while (attempts == 0 || yields == 0 || values == 0 || awaited == 0) std::this_thread::yield();
  pool.shutdown(dg::shutdown_mode::cancel);
  CHECK(retried.failed());
  CHECK(is_cancelled(yielding.error()));
  CHECK(is_cancelled(detached_end.error()));
  CHECK(is_cancelled(awaiting.error()));
}

TEST_CASE("shutdown(cancel) ends coroutines whose awaits never suspend", "[stop][S-STOP-2][S-CANCEL-7]") {
  support::watchdog dog("shutdown of awaits that are always ready");
  static std::atomic<int> rounds{0};
  using loop = dg::task<int> (*)(dg::thread_pool&);
  auto tick = []() -> dg::task<int> { co_return 1; };
  static auto child = tick;
  const loop loops[] = {
      [](dg::thread_pool&) -> dg::task<int> { for (;; ++rounds) co_await child(); },
      [](dg::thread_pool&) -> dg::task<int> { for (;; ++rounds) co_await dg::when_all(child(), child()); },
      [](dg::thread_pool&) -> dg::task<int> {
        const dg::ref<int> there = dg::put(1);
        for (;; ++rounds) co_await there;
      },
      [](dg::thread_pool& pool) -> dg::task<int> {
        auto stream = pool.submit([]() -> dg::generator<int> {
          for (;;) co_yield 1;
        });
        for (;; ++rounds) co_await stream.async_value();
      },
  };
  for (const loop each : loops) {
    dg::thread_pool_options o;
    o.threads = 1;
    o.waiters_help = false;
    dg::thread_pool pool(std::move(o));
    rounds = 0;
    const dg::ref<int> endless = pool.submit(each, std::ref(pool));
    while (rounds < 1000) std::this_thread::yield();
    pool.shutdown(dg::shutdown_mode::cancel);
    CHECK(is_cancelled(endless.error()));
  }
}

TEST_CASE("a task that submits while its pool is cancelled gets refs that hold cancelled_error",
          "[stop][S-STOP-2][L-11]") {
  support::watchdog dog("submit under shutdown(cancel)");
  support::gate running;
  std::atomic<bool> closing{false}, threw{false};
  dg::thread_pool pool(1);
  dg::ref<int> child;
  dg::ref<void> runs = pool.submit([&] {
    running.open();
    while (!closing) std::this_thread::yield();
    try {
      child = pool.submit([] { return 1; });
    } catch (...) {
      threw = true;
    }
  });
  running.pass();
  std::thread closer([&] { pool.shutdown(dg::shutdown_mode::cancel); });
  REQUIRE(support::eventually([&] { return is_stopped(pool); }));
  closing = true;
  closer.join();
  runs.get();
  CHECK_FALSE(threw);
  REQUIRE(child.valid());
  CHECK(is_cancelled(child.error()));
}

TEST_CASE("a task that begins to wait after its pool was told to cancel is cancelled, though no thread waits for it",
          "[stop][S-STOP-2][L-11]") {
  support::watchdog dog("waits after the cancel");
  dg::thread_pool pool(2);
  support::gate begun, told;
  dg::promise<int> never;
  struct body {
    static dg::task<int> waits_later(support::gate& begun, support::gate& told, dg::ref<int> r) {
      begun.open();
      told.pass();
      co_return co_await r;
    }
  };
  const dg::ref<int> waits = pool.submit(body::waits_later, std::ref(begun), std::ref(told), dg::unresolved(never.get_ref()));
  begun.pass();
  pool.submit([&] { pool.shutdown(dg::shutdown_mode::cancel); }).get();
  told.open();
  CHECK(waits.wait_for(30s));
  CHECK(is_cancelled(waits.error()));
}

TEST_CASE("every form of submit after shutdown throws pool_stopped", "[stop][S-STOP-3]") {
  support::watchdog dog("submit after shutdown");
  for (auto mode : {dg::shutdown_mode::drain, dg::shutdown_mode::cancel}) {
    dg::thread_pool pool(2);
    dg::ref<int> before = pool.submit([] { return 1; });
    before.wait();
    pool.shutdown(mode);
    CHECK(before.get() == 1);
    support::tracked::reset();
    CHECK_THROWS_AS(pool.submit([kept = support::tracked(1)] { return kept.value; }), dg::pool_stopped);
    CHECK_THROWS_AS(pool.submit(count_to, 1), dg::pool_stopped);
    CHECK_THROWS_AS(pool.options(dg::num_returns<2>{}).submit(count_to, 2), dg::pool_stopped);
    CHECK_THROWS_AS(pool.options(dg::dynamic).submit(count_to, 2), dg::pool_stopped);
    CHECK(support::tracked::live == 0);
    pool.shutdown(mode);
    pool.shutdown(dg::shutdown_mode::cancel);
  }
}

TEST_CASE("each submit that races with a shutdown throws or its ref becomes ready", "[stop][S-STOP-3]") {
  support::watchdog dog("submit against shutdown");
  for (int round = 0; round < 60; ++round) {
    const auto mode = round % 2 == 0 ? dg::shutdown_mode::drain : dg::shutdown_mode::cancel;
    std::atomic<int> ran{0}, submitted{0};
    std::atomic<std::size_t> stopped{0};
    dg::thread_pool pool(2);
    constexpr std::size_t submitters = 3;
    std::vector<std::vector<dg::ref<int>>> refs(submitters);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < submitters; ++t)
      threads.emplace_back([&, t] {
        try {
          for (int i = 0;; ++i) {
            refs[t].push_back(pool.submit([&ran, i] {
              ++ran;
              return i;
            }));
            ++submitted;
          }
        } catch (const dg::pool_stopped&) {
          ++stopped;
        }
      });
    while (submitted < 20 * round) std::this_thread::yield();
    pool.shutdown(mode);
    for (auto& thread : threads) thread.join();
    REQUIRE(stopped == submitters);
    int values = 0, cancelled = 0, pending = 0, wrong = 0;
    for (auto& list : refs)
      for (std::size_t i = 0; i < list.size(); ++i) {
        if (!list[i].wait_for(20s))
          ++pending;
        else if (is_cancelled(list[i].error()))
          ++cancelled;
        else if (list[i].get() == static_cast<int>(i))
          ++values;
        else
          ++wrong;
      }
    REQUIRE(pending == 0);
    REQUIRE(wrong == 0);
    REQUIRE(values == ran);
    if (mode == dg::shutdown_mode::drain) REQUIRE(cancelled == 0);
  }
}

TEST_CASE("a pool may be shut down by one of its own tasks", "[stop][L-11]") {
  support::watchdog dog("shutdown from inside");
  for (auto mode : {dg::shutdown_mode::drain, dg::shutdown_mode::cancel}) {
    std::atomic<bool> returned{false};
    dg::thread_pool pool(1);
    dg::ref<void> closes = pool.submit([&] {
      pool.shutdown(mode);
      returned = true;
    });
    closes.get();
    CHECK(returned);
    CHECK_THROWS_AS(pool.submit([] {}), dg::pool_stopped);
  }
}

}  // namespace test_shutdown
