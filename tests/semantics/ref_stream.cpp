// SPDX-License-Identifier: MIT
// ref_stream: every member, and empty streams.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <chrono>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace test_ref_stream {

using namespace std::chrono_literals;
using support::count_to;
using support::eventually;
using support::holds;
using support::message_of;
using support::occurrences;
using support::tracked;
using support::tracked_to;
using support::witness;

namespace {

using stream_of_ints = dg::ref_stream<int>;

}  // namespace

static_assert(std::ranges::input_range<stream_of_ints>);
static_assert(!std::ranges::forward_range<stream_of_ints>);
static_assert(std::is_same_v<std::ranges::range_reference_t<stream_of_ints>, dg::ref<int>&&>);
static_assert(!std::is_copy_constructible_v<stream_of_ints> && !std::is_copy_assignable_v<stream_of_ints>);
static_assert(std::is_nothrow_move_constructible_v<stream_of_ints>);
static_assert(std::is_nothrow_move_assignable_v<stream_of_ints>);
static_assert(std::is_default_constructible_v<stream_of_ints>);
static_assert(std::is_same_v<decltype(std::declval<stream_of_ints&>().next()), std::optional<dg::ref<int>>>);
static_assert(std::is_same_v<decltype(std::declval<stream_of_ints&>().next_value()), std::optional<int>>);
static_assert(std::is_same_v<decltype(std::declval<stream_of_ints&>().try_next()), std::optional<dg::ref<int>>>);
static_assert(std::is_same_v<decltype(std::declval<stream_of_ints&>().next_for(1s)), std::optional<dg::ref<int>>>);
static_assert(std::ranges::input_range<decltype(std::declval<stream_of_ints&>().values())>);
static_assert(
    std::is_same_v<std::ranges::range_reference_t<decltype(std::declval<stream_of_ints&>().values())>, int&&>);
static_assert(std::is_same_v<std::ranges::range_reference_t<decltype(std::declval<stream_of_ints>().values())>, int&&>);

TEST_CASE("an empty stream handle throws empty_ref", "[handles][ref_stream][S-DETAIL-5]") {
  dg::ref_stream<int> stream;
  CHECK_FALSE(stream.valid());
  CHECK_THROWS_AS(stream.next(), dg::empty_ref);
  CHECK_THROWS_AS(stream.next_value(), dg::empty_ref);
  CHECK_THROWS_AS(stream.try_next(), dg::empty_ref);
  CHECK_THROWS_AS(stream.next_for(1ms), dg::empty_ref);
  CHECK_THROWS_AS(stream.finished(), dg::empty_ref);
  CHECK_THROWS_AS(stream.completion(), dg::empty_ref);
  CHECK_THROWS_AS(stream.cancel(), dg::empty_ref);
  CHECK_THROWS_AS(stream.begin(), dg::empty_ref);
}

TEST_CASE("a stream that was moved from is empty", "[handles][ref_stream][S-DETAIL-5]") {
  dg::inline_executor here;
  auto a = dg::on(here).submit(count_to, 2);
  auto b = std::move(a);
  CHECK_FALSE(a.valid());  // NOLINT: tests the moved-from object
  CHECK(b.valid());
  CHECK_THROWS_AS(a.next(), dg::empty_ref);
  CHECK(b.next_value() == std::optional<int>(0));
  a = std::move(b);
  CHECK(a.next_value() == std::optional<int>(1));
  CHECK_FALSE(a.next_value().has_value());
}

TEST_CASE("next, next_value, try_next and next_for hand over each value once", "[handles][ref_stream]") {
  support::watchdog dog("handles: ways to take");
  dg::thread_pool pool(2);
  auto stream = pool.submit(count_to, 8);
  for (int i = 0; i < 8;) {
    CHECK(stream.next().value().get() == i++);
    CHECK(stream.next_value() == std::optional<int>(i++));
    CHECK(stream.next_for(1h).value().get() == i++);
    std::optional<dg::ref<int>> polled;
    REQUIRE(eventually([&] { return (polled = stream.try_next()).has_value(); }));
    CHECK(polled->get() == i++);
  }
  CHECK_FALSE(stream.next_for(1h).has_value());
  CHECK_FALSE(stream.next().has_value());
}

TEST_CASE("try_next and finished tell 'not yet' from 'no more'", "[handles][ref_stream]") {
  dg::manual_executor later;
  auto stream = dg::on(later).options(dg::name{"tardy"}).submit(count_to, 1);
  CHECK_FALSE(stream.try_next().has_value());
  CHECK_FALSE(stream.finished());
  CHECK_THROWS_AS(stream.next_for(1ms), dg::timeout_error);
  CHECK(occurrences(message_of([&] { stream.next_for(0ms); }), "tardy") >= 1u);
  later.run_all();
  CHECK_FALSE(stream.finished());
  CHECK(stream.try_next().has_value());
  CHECK_FALSE(stream.try_next().has_value());
  CHECK(stream.finished());
  CHECK(stream.completion().ready());
  CHECK_FALSE(stream.next_for(1ms).has_value());
}

TEST_CASE("a stream is an input range of refs", "[handles][ref_stream]") {
  support::watchdog dog("handles: range of refs");
  dg::thread_pool pool(2);
  auto stream = pool.submit(count_to, 200);
  int sum = 0;
  for (auto&& r : stream) sum += r.get();
  CHECK(sum == 199 * 200 / 2);
  std::vector<dg::ref<int>> kept;
  for (dg::ref<int> r : pool.submit(count_to, 100)) kept.push_back(std::move(r));
  REQUIRE(kept.size() == 100u);
  for (int i = 0; i < 100; ++i) CHECK(kept[static_cast<std::size_t>(i)].get() == i);
}

TEST_CASE("values that a range-for did not reach stay in the stream", "[handles][ref_stream]") {
  support::watchdog dog("handles: left early");
  dg::thread_pool pool(2);
  auto stream = pool.submit(count_to, 10);
  for (dg::ref<int> r : stream) {
    if (r.get() == 3) break;
  }
  CHECK(stream.next_value() == std::optional<int>(4));
}

TEST_CASE("values() of a stream gives the values themselves", "[handles][ref_stream]") {
  support::watchdog dog("handles: values");
  tracked::reset();
  {
    dg::thread_pool pool(2);
    auto stream = pool.submit(tracked_to, 300);
    int i = 0;
    for (tracked&& t : stream.values()) REQUIRE(t.value == i++);
    CHECK(i == 300);
    CHECK(stream.finished());
    i = 0;
    for (tracked&& t : pool.submit(tracked_to, 300).values()) {
      const tracked mine = std::move(t);
      REQUIRE(mine.value == i++);
    }
    CHECK(i == 300);
    CHECK(tracked::copies.load() == 0);
    int none = 0;
    for (tracked&& t : pool.submit(tracked_to, 0).values()) none += 1 + t.value;
    CHECK(none == 0);
  }
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("completion() of a stream is ready when its task has ended", "[handles][ref_stream]") {
  dg::manual_executor later;
  auto stream = dg::on(later).submit(count_to, 3);
  auto end = stream.completion();
  CHECK_FALSE(end.ready());
  later.run_all();
  CHECK(end.ready());
  CHECK_FALSE(stream.finished());  // three values wait to be consumed
}

TEST_CASE("cancel of a stream: what was stored is readable, then cancelled_error, then the end",
          "[handles][ref_stream][S-CANCEL-2]") {
  dg::manual_executor later;
  int behind = 0;
  auto f = [&]() -> dg::generator<int> {
    co_yield 1;
    co_yield 2;
    ++behind;
    co_yield 3;
  };
  auto stream = dg::on(later).options(dg::backpressure{2}).submit(f);
  later.run_all();
  CHECK(stream.cancel());
  later.run_all();
  CHECK(stream.next_value() == std::optional<int>(1));
  CHECK(stream.next_value() == std::optional<int>(2));
  CHECK_THROWS_AS(stream.next_value(), dg::cancelled_error);
  CHECK_FALSE(stream.next().has_value());
  CHECK(stream.finished());
  CHECK_FALSE(stream.cancel());
  CHECK(behind == 0);
}

TEST_CASE("detach drops the values and lets the task run to its end", "[handles][ref_stream][S-STREAM-6]") {
  tracked::reset();
  dg::manual_executor later;
  bool ended = false;
  auto f = [&]() -> dg::generator<tracked> {
    for (int i = 0; i < 500; ++i) co_yield i;
    ended = true;
  };
  auto stream = dg::on(later).options(dg::backpressure{2}).submit(f);
  auto end = stream.completion();
  later.run_all();
  CHECK_FALSE(ended);
  std::move(stream).detach();
  CHECK(tracked::live.load() == 0);
  later.run_all();
  CHECK(ended);
  CHECK_NOTHROW(end.get());
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("the destructor of a stream cancels its task and drops its stored values",
          "[handles][ref_stream][S-STREAM-6]") {
  tracked::reset();
  dg::manual_executor later;
  std::atomic<int> frames{0};
  int behind = 0;
  auto f = [&]() -> dg::generator<tracked> {
    const witness frame(frames);
    co_yield 1;
    co_yield 2;
    ++behind;
  };
  dg::ref<void> end;
  {
    auto stream = dg::on(later).options(dg::backpressure{2}).submit(f);
    end = stream.completion();
    later.run_all();
    CHECK(tracked::live.load() == 2);
  }
  CHECK(tracked::live.load() == 0);
  later.run_all();
  CHECK(behind == 0);
  CHECK(frames.load() == 0);
  CHECK(holds<dg::cancelled_error>(end));
}

}  // namespace test_ref_stream
