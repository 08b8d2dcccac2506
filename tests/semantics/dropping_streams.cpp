// SPDX-License-Identifier: MIT
// Streams that are dropped or detached: their tasks, frames and stored values.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <optional>
#include <utility>

namespace test_dropping_streams {

using support::count_to;
using support::holds;
using support::progress;
using support::rest_of;
using support::tracked_to;
using support::watched;

TEST_CASE("dropping a stream ends its suspended task without resuming it", "[stream][S-STREAM-6]") {
  support::watchdog dog("dropping a parked stream");
  dg::manual_executor manual;
  progress seen;
  support::tracked::reset();
  std::optional<dg::ref_stream<int>> stream =
      dg::on(manual).options(dg::backpressure{2}).submit([&]() -> dg::generator<int> {
        support::tracked local(1);
        for (int i = 0; i < 10; ++i) {
          ++seen.begun;
          co_yield i;
          ++seen.passed;
        }
      });
  dg::ref<void> completion = stream->completion();
  manual.run_all();
  REQUIRE(seen.begun == 2);
  REQUIRE(seen.passed == 1);
  REQUIRE(support::tracked::live == 1);

  stream.reset();
  manual.run_all();
  CHECK(seen.begun == 2);
  CHECK(seen.passed == 1);
  CHECK(support::tracked::live == 0);
  REQUIRE(completion.ready());
  CHECK(holds<dg::cancelled_error>(completion));
}

TEST_CASE("a task whose stream is dropped before it has started never starts", "[stream][S-STREAM-6]") {
  support::watchdog dog("dropping a queued stream");
  dg::manual_executor manual;
  progress seen;
  dg::ref<void> completion;
  {
    auto stream = dg::on(manual).submit(watched, &seen, 5);
    completion = stream.completion();
  }
  manual.run_all();
  CHECK(seen.begun == 0);
  REQUIRE(completion.ready());
  CHECK(holds<dg::cancelled_error>(completion));
}

TEST_CASE("a running task whose stream is dropped ends at its next yield", "[stream][S-STREAM-6]") {
  support::watchdog dog("dropping a running stream");
  support::gate running, dropped;
  std::atomic<bool> step_after_drop{false}, passed_yield{false}, local_gone{false};
  dg::thread_pool pool(1);
  struct on_exit {
    std::atomic<bool>* flag;
    ~on_exit() { *flag = true; }
  };
  dg::ref<void> completion;
  {
    auto stream = pool.submit([&]() -> dg::generator<int> {
      on_exit local{&local_gone};
      co_yield 1;
      running.open();
      dropped.pass();
      step_after_drop = true;
      co_yield 2;
      passed_yield = true;
    });
    completion = stream.completion();
    running.pass();
  }
  CHECK_FALSE(completion.ready());
  dropped.open();
  completion.wait();
  CHECK(holds<dg::cancelled_error>(completion));
  CHECK(step_after_drop);
  CHECK_FALSE(passed_yield);
  CHECK(local_gone);
}

TEST_CASE("assigning to a stream drops the former stream", "[stream][S-STREAM-6]") {
  support::watchdog dog("assigning a stream");
  dg::manual_executor manual;
  progress first, second;
  auto stream = dg::on(manual).options(dg::backpressure{1}).submit(watched, &first, 3);
  dg::ref<void> completion = stream.completion();
  manual.run_all();
  stream = dg::on(manual).submit(watched, &second, 3);
  manual.run_all();
  CHECK(first.passed == 0);
  REQUIRE(completion.ready());
  CHECK(holds<dg::cancelled_error>(completion));
  CHECK(rest_of(stream) == support::first(3));
}

TEST_CASE("a detached stream drops its values and its task runs to the end", "[stream][S-STREAM-6]") {
  support::watchdog dog("detach");
  support::tracked::reset();
  SECTION("on a manual executor, full when it is detached") {
    dg::manual_executor manual;
    auto stream = dg::on(manual).options(dg::backpressure{2}).submit(tracked_to, 1000);
    dg::ref<void> completion = stream.completion();
    manual.run_all();
    REQUIRE(support::tracked::live == 2);
    stream.detach();
    CHECK(support::tracked::live == 0);
    manual.run_all();
    REQUIRE(completion.ready());
    CHECK_FALSE(completion.failed());
    CHECK(support::tracked::live == 0);
    CHECK(support::tracked::constructed >= 2);
  }
  SECTION("on a pool, while it runs") {
    dg::thread_pool pool(2);
    for (int round = 0; round < 100; ++round) {
      progress seen;
      auto stream = pool.options(dg::backpressure{1}).submit(watched, &seen, 200);
      dg::ref<void> completion = stream.completion();
      if (round % 2 == 0) (void)stream.next();
      stream.detach();
      completion.wait();
      REQUIRE_FALSE(completion.failed());
      REQUIRE(seen.ended);
      REQUIRE(seen.begun == 200);
    }
  }
}

TEST_CASE("detaching a stream does not start its task before the arguments are ready",
          "[stream][S-STREAM-6][S-WAIT-1]") {
  support::watchdog dog("detach before the start");
  dg::manual_executor manual;
  std::atomic<int> started{0};
  const auto numbers = [&started](const int& first) -> dg::generator<int> {
    ++started;
    co_yield first;
  };
  dg::promise<int> argument;
  dg::promise<void> before;
  auto given = dg::on(manual).submit(numbers, argument.get_ref());
  auto after = dg::on(manual).options(dg::after(before.get_ref())).submit(count_to, 3);
  dg::ref<void> given_end = given.completion(), after_end = after.completion();
  given.detach();
  after.detach();
  CHECK(manual.run_all() == 0);
  CHECK(started == 0);
  CHECK_FALSE(after_end.ready());
  argument.set_value(7);
  before.set_value();
  manual.run_all();
  CHECK(started == 1);
  REQUIRE(given_end.ready());
  CHECK_FALSE(given_end.failed());
  REQUIRE(after_end.ready());
  CHECK_FALSE(after_end.failed());
}

TEST_CASE("a ref taken before its stream is dropped keeps its value", "[stream][S-STREAM-6]") {
  support::watchdog dog("ref outlives stream");
  support::tracked::reset();
  {
    dg::thread_pool pool(1);
    dg::ref<support::tracked> kept;
    {
      auto stream = pool.submit(tracked_to, 1000);
      kept = *stream.next();
    }
    CHECK(kept.get().value == 0);
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("dropping an owning values() early cancels the task", "[stream][values][S-STREAM-6]") {
  support::watchdog dog("leaving owning values");
  dg::thread_pool pool(1);
  dg::ref<void> completion;
  {
    auto stream = pool.options(dg::backpressure{1}).submit(count_to, 1000000);
    completion = stream.completion();
    for (int value : std::move(stream).values())
      if (value == 2) break;
  }
  CHECK(holds<dg::cancelled_error>(completion));
}

TEST_CASE("a stream that ends with a full block may be dropped at that moment", "[stream][S-STREAM-6][S-MEM-4]") {
  support::watchdog dog("dropped at the end of a full block");
  dg::thread_pool pool(1);
  for (int round = 0; round < 1000; ++round) {
    auto stream = pool.options(dg::unbounded).submit(count_to, 8);
    int taken = 0;
    while (taken < 8)
      if (stream.try_next()) ++taken;
  }
  CHECK(support::eventually([&] { return dg::detail::memory_counter::live(dg::detail::memory_kind::block) == 0; }));
}

TEST_CASE("a stream dropped while values() is iterated ends there, and drops each value once",
          "[stream][values][L-7]") {
  support::watchdog dog("dropped within values()");
  support::tracked::reset();
  {
    dg::thread_pool pool(1);
    auto stream = pool.submit(tracked_to, 100'000);
    int seen = 0;
    for (support::tracked&& value : stream.values()) {
      CHECK(value.value == seen);
      if (++seen == 5) stream = dg::ref_stream<support::tracked>();
    }
    CHECK(seen == 5);
  }
  CHECK(support::tracked::live.load() == 0);
}

}  // namespace test_dropping_streams
