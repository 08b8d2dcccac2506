// SPDX-License-Identifier: MIT
// Which thread destroys the callable, the arguments and the frame of a cancelled task.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

namespace test_cancelling_thread {

using support::destruction_probe;
using support::is_cancelled;

TEST_CASE("dropping a stream runs no code of its task on the caller", "[cancel][S-CANCEL-8][L-13]") {
  support::watchdog dog("dropping under a mutex");
  dg::thread_pool pool(1);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> gone{0};
    std::atomic<bool> full{false};
    std::mutex mutex;
    std::thread::id where;
    std::optional<dg::ref_stream<int>> stream = pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
      destruction_probe local(&gone, &mutex, &where);
      full = true;
      co_yield 1;
      co_yield 2;
    });
    while (!full) std::this_thread::yield();
    dg::ref<void> completion = stream->completion();
    {
      // The local's destructor locks this mutex: run here, it would deadlock.
      std::lock_guard lock(mutex);
      stream.reset();
    }
    while (gone == 0) std::this_thread::yield();
    CHECK(where != std::this_thread::get_id());
    CHECK(support::eventually([&] { return completion.ready(); }));
    CHECK(is_cancelled(completion.error()));
  }
}

TEST_CASE("cancel runs no code of the task on the caller", "[cancel][S-CANCEL-8][L-13]") {
  support::watchdog dog("cancel under a mutex");
  dg::thread_pool pool(1);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> gone{0};
    std::atomic<bool> full{false};
    std::mutex mutex;
    std::thread::id where;
    auto stream = pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
      destruction_probe local(&gone, &mutex, &where);
      full = true;
      co_yield 1;
      co_yield 2;
    });
    while (!full) std::this_thread::yield();
    {
      std::lock_guard lock(mutex);
      stream.cancel();
    }
    while (gone == 0) std::this_thread::yield();
    CHECK(where != std::this_thread::get_id());
  }
}

TEST_CASE("whatever a task waits for, the thread that cancels it runs none of its destructors",
          "[cancel][S-CANCEL-8][L-13]") {
  support::watchdog dog("cancel of everything under a mutex");
  dg::thread_pool pool(1);
  dg::promise<int> never;
  const dg::ref<int> outside = never.get_ref();
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> gone{0};
    std::mutex mutex;
    std::stop_source source;
    support::gate busy;
    auto blocker = pool.submit([&] { busy.pass(); });
    const auto with = pool.options(dg::stop_on(source.get_token()));
    const auto local = [&] { return destruction_probe(&gone, &mutex); };
    auto waiting = pool.submit([w = local()](int) {}, outside);
    auto after = pool.options(dg::after(outside)).submit([w = local()] {});
    struct bodies {
      static dg::task<int> awaits(dg::ref<int> r, destruction_probe) { co_return co_await r; }
      static dg::task<int> any(dg::ref<int> r, destruction_probe) {
        co_return static_cast<int>(co_await dg::when_any(r));
      }
      static dg::task<int> all(dg::ref<int> r, destruction_probe) { co_return std::get<0>(co_await dg::when_all(r)); }
      static dg::generator<int> yields(dg::ref<int> r, destruction_probe) {
        co_yield 1;
        co_yield co_await r;
      }
    };
    auto awaiting = pool.submit(bodies::awaits, dg::unresolved(outside), local());
    auto any = pool.submit(bodies::any, dg::unresolved(outside), local());
    auto all = pool.submit(bodies::all, dg::unresolved(outside), local());
    auto stream = pool.submit(bodies::yields, dg::unresolved(outside), local());
    auto by_token = with.submit(bodies::awaits, dg::unresolved(outside), local());
    if (round % 2 == 0) {  // let them begin
      busy.open();
      CHECK(stream.next_value() == 1);
      blocker.get();
    }
    auto still_busy = pool.submit([&] { busy.pass(); });
    auto queued = pool.submit([w = local()] {});
    {
      std::lock_guard lock(mutex);
      waiting.cancel();
      after.cancel();
      awaiting.cancel();
      any.cancel();
      all.cancel();
      stream = {};
      queued.cancel();
      source.request_stop();
    }
    busy.open();
    CHECK(support::eventually([&] { return gone == 8; }));
    CHECK_THROWS_AS(awaiting.get(), dg::cancelled_error);
    CHECK_THROWS_AS(by_token.get(), dg::cancelled_error);
    // `queued` may have run already.
    still_busy.get();
  }
}

TEST_CASE("a suspended frame is destroyed on its executor, stored values at once", "[cancel][S-CANCEL-8][L-13]") {
  support::watchdog dog("threads that destroy");
  support::tracked::reset();
  dg::manual_executor manual;
  std::atomic<int> gone{0};
  std::optional<dg::ref_stream<support::tracked>> stream =
      dg::on(manual).options(dg::backpressure{5}).submit([&]() -> dg::generator<support::tracked> {
        destruction_probe local(&gone);
        for (int i = 0;; ++i) co_yield i;
      });
  manual.run_all();
  REQUIRE(support::tracked::live == 5);
  stream.reset();
  CHECK(support::tracked::live == 0);
  CHECK(gone == 0);
  manual.run_all();
  CHECK(gone == 1);
}

TEST_CASE("a suspended task whose executor is gone is ended by the thread that cancels or wakes it",
          "[cancel][L-13][S-STOP-5]") {
  support::watchdog dog("tasks without an executor");
  struct bodies {
    static dg::task<int> awaits(dg::ref<int> r, destruction_probe) { co_return co_await r; }
    static dg::generator<int> yields(dg::ref<int> r, destruction_probe) {
      co_yield 1;
      co_yield co_await r;
    }
  };
  dg::promise<int> later;
  std::atomic<int> gone{0};
  std::thread::id where;
  std::optional<dg::manual_executor> manual(std::in_place);
  const auto submit = [&] {
    return dg::on(*manual).submit(bodies::awaits, dg::unresolved(later.get_ref()),
                                  destruction_probe(&gone, nullptr, &where));
  };
  auto cancelled = submit();
  auto woken = submit();
  auto dropped = dg::on(*manual).submit(bodies::yields, dg::unresolved(later.get_ref()),
                                        destruction_probe(&gone, nullptr, &where));
  manual->run_all();
  manual.reset();
  CHECK_FALSE(cancelled.ready());  // it waits for something else
  CHECK(gone == 0);
  CHECK(cancelled.cancel());
  REQUIRE(cancelled.ready());
  CHECK(is_cancelled(cancelled.error()));
  CHECK(gone == 1);
  CHECK(where == std::this_thread::get_id());
  auto end = dropped.completion();
  dropped = {};
  REQUIRE(end.ready());
  CHECK(gone == 2);
  later.set_value(1);
  REQUIRE(woken.ready());
  CHECK(is_cancelled(woken.error()));
  CHECK(gone == 3);
}

}  // namespace test_cancelling_thread
