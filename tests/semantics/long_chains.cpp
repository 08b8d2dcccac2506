// SPDX-License-Identifier: MIT
// Chains of a million dependents, streams, values and nested generators end, fail, run and are dropped in constant
// stack (L-14).

#include "../catch.hpp"
#include "../support.hpp"
#include "small_stack.hpp"

#include <cstddef>
#include <optional>
#include <stop_token>
#include <utility>

namespace test_long_chains {

namespace {

using support::count_to;
using support::is_cancelled;
using support::million;
using support::on_small_stack;

/// A value that holds the ref of the value before it.
struct chain_link {
  support::tracked counted;
  dg::ref<chain_link> before;
};

dg::generator<int> yields_one_of(dg::ref_stream<int> in) {
  const int value = in.next_value().value_or(-1);
  for (;;) co_yield value;
}

dg::generator<int> holds(dg::ref_stream<int> in) {
  for (;;) co_yield in.valid() ? 1 : 0;
}

dg::generator<int> nested(int depth, support::tracked counted) {
  co_yield depth;
  if (depth > 0) {
    dg::generator<int> inner = nested(depth - 1, support::tracked(counted.value));
    co_yield dg::elements_of(std::move(inner));
  }
}

/// Submits a child that is linked to this task, which submits its own child, and so on; each awaits its child.
dg::task<int> linked(dg::manual_executor* manual, long further, dg::ref<int> never) {
  if (further == 0) co_return co_await never;
  const auto run = dg::on(*manual).options(dg::stop_on(dg::this_task::get_stop_token()));
  const dg::ref<int> child = run.submit(linked, manual, further - 1, dg::unresolved(never));
  co_return co_await child;
}

}  // namespace

TEST_CASE("a cancellation passes down a long chain of tasks linked by stop_on without recursion", "[cancel][L-14][S-CANCEL-8]") {
  support::watchdog dog("a cancellation through linked tasks", 120);
  dg::promise<int> never;
  dg::manual_executor manual;
  const dg::ref<int> first = dg::on(manual).submit(linked, &manual, long{million / 10}, dg::unresolved(never.get_ref()));
  std::size_t steps = 0;
  on_small_stack([&] {
    manual.run_all();
    first.cancel();
    steps = manual.run_all();
  });
  CHECK(steps > static_cast<std::size_t>(million / 10));
  CHECK(is_cancelled(first.error()));
}

TEST_CASE("a stop callback that requests stop sees the linked task cancelled", "[cancel][S-CANCEL-8]") {
  support::watchdog dog("a cancellation inside a cancellation");
  dg::inline_executor at_once;
  dg::manual_executor manual;
  std::stop_source outer, inner;
  dg::promise<int> never;
  const auto waits = [](dg::ref<int> r) -> dg::task<int> { co_return co_await r; };
  const dg::ref<int> other =
      dg::on(at_once).options(dg::stop_on(inner.get_token())).submit(waits, dg::unresolved(never.get_ref()));
  bool at_once_ready = false;
  auto body = [&](dg::ref<int> r) -> dg::task<int> {
    const std::stop_callback on_stop(dg::this_task::get_stop_token(), [&] {
      inner.request_stop();
      at_once_ready = other.ready();
    });
    co_return co_await r;
  };
  const dg::ref<int> task = dg::on(manual).options(dg::stop_on(outer.get_token())).submit(body, dg::unresolved(never.get_ref()));
  manual.run_all();
  REQUIRE_FALSE(other.ready());
  outer.request_stop();
  manual.run_all();
  CHECK(at_once_ready);
  CHECK(is_cancelled(other.error()));
  CHECK(is_cancelled(task.error()));
}

TEST_CASE("a task whose token is stopped already is cancelled when submit returns, also inside a cancellation",
          "[cancel][S-CANCEL-8][S-CANCEL-1]") {
  support::watchdog dog("a stopped token inside a cancellation");
  dg::inline_executor at_once;
  dg::manual_executor manual;
  std::stop_source outer, inner;
  inner.request_stop();
  dg::promise<int> never;
  std::optional<dg::ref<int>> made;
  bool ran = false;
  auto body = [&](dg::ref<int> r) -> dg::task<int> {
    const std::stop_callback on_stop(dg::this_task::get_stop_token(), [&] {
      made = dg::on(at_once).options(dg::stop_on(inner.get_token())).submit([&ran] {
        ran = true;
        return 1;
      });
    });
    co_return co_await r;
  };
  const dg::ref<int> task = dg::on(manual).options(dg::stop_on(outer.get_token())).submit(body, dg::unresolved(never.get_ref()));
  manual.run_all();
  outer.request_stop();
  manual.run_all();
  REQUIRE(made.has_value());
  CHECK(is_cancelled(made->error()));
  CHECK_FALSE(ran);
  CHECK(is_cancelled(task.error()));
}

TEST_CASE("dropping a chain of a million streams does not recurse", "[stream][L-14]") {
  support::watchdog dog("a million streams", 120);
  dg::manual_executor manual;
  dg::ref<void> first;
  {
    std::optional<dg::ref_stream<int>> stream = dg::on(manual).submit(count_to, 3);
    first = stream->completion();
    for (int i = 0; i < million; ++i)
      stream = dg::on(manual).options(dg::backpressure{1}).submit(holds, std::move(*stream));
    on_small_stack([&] {
      stream.reset();
      manual.run_all();
    });
  }
  CHECK(first.ready());
}

TEST_CASE("dropping a chain of started streams on an inline executor does not recurse", "[stream][L-14]") {
  support::watchdog dog("started streams", 120);
  dg::inline_executor at_once;
  std::atomic<int> gone{0};
  struct counts_exit {
    std::atomic<int>* gone;
    ~counts_exit() { ++*gone; }
  };
  on_small_stack([&] {
    std::optional<dg::ref_stream<int>> stream =
        dg::on(at_once).options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
          counts_exit local{&gone};
          for (;;) co_yield 5;
        });
    for (int i = 0; i < 200000; ++i)
      stream = dg::on(at_once).options(dg::backpressure{1}).submit(yields_one_of, std::move(*stream));
    if (stream->next_value() == std::optional<int>(5)) gone += 10;
    stream.reset();
  });
  CHECK(gone == 11);
}

TEST_CASE("dropping a value that holds a ref to a value, a million deep, does not recurse", "[ref][L-14]") {
  support::watchdog dog("a million links", 120);
  support::tracked::reset();
  dg::ref<chain_link> last = dg::put(chain_link{support::tracked(0), {}});
  for (int i = 1; i < million; ++i) {
    chain_link next{support::tracked(i), std::move(last)};
    last = dg::put(std::move(next));
  }
  CHECK(support::tracked::live == million);
  on_small_stack([&] { last = {}; });
  CHECK(support::tracked::live == 0);
}

TEST_CASE("a failure propagates through a million dependents without recursion", "[wait][L-14][S-ERR-8]") {
  support::watchdog dog("a failure through a million dependents", 120);
  dg::manual_executor manual;
  dg::inline_executor at_once;
  std::atomic<int> ran{0};
  dg::ref<int> last = dg::on(manual).submit([]() -> int { throw support::boom("first"); });
  for (int i = 0; i < million; ++i)
    last = dg::on(at_once).submit(
        [&ran](int value) {
          ++ran;
          return value;
        },
        last);
  CHECK_FALSE(last.ready());
  on_small_stack([&] { manual.run_all(); });
  REQUIRE(last.ready());
  CHECK(support::message_of([&] { last.get(); }) == "first");
  CHECK(ran == 0);
}

TEST_CASE("a cancellation propagates through a million dependents without recursion", "[cancel][L-14][S-CANCEL-5]") {
  support::watchdog dog("a cancellation through a million dependents", 120);
  dg::manual_executor manual;
  dg::ref<int> first = dg::on(manual).submit([] { return 1; });
  dg::ref<int> last = first;
  for (int i = 0; i < million; ++i) last = dg::on(manual).submit([](int value) { return value; }, last);
  on_small_stack([&] {
    first.cancel();
    manual.run_all();
  });
  REQUIRE(last.ready());
  CHECK(is_cancelled(last.error()));
}

TEST_CASE("a million dependents on an inline executor run without recursion", "[executor][L-14]") {
  support::watchdog dog("a million dependents inline", 120);
  dg::manual_executor manual;
  dg::inline_executor at_once;
  dg::ref<int> last = dg::on(manual).submit([] { return 0; });
  for (int i = 0; i < million; ++i) last = dg::on(at_once).submit([](int value) { return value + 1; }, last);
  on_small_stack([&] { manual.run_all(); });
  REQUIRE(last.ready());
  CHECK(last.get() == million);
}

TEST_CASE("tasks that submit their successor inline do not recurse", "[executor][L-14]") {
  support::watchdog dog("successors inline", 120);
  dg::inline_executor at_once;
  std::atomic<int> ran{0};
  struct repeat {
    dg::inline_executor* executor;
    std::atomic<int>* ran;
    void operator()(int left) const {
      ++*ran;
      if (left > 0) dg::on(*executor).submit(*this, left - 1);
    }
  };
  on_small_stack([&] { dg::on(at_once).submit(repeat{&at_once, &ran}, 200000); });
  CHECK(ran == 200001);
}

TEST_CASE("generators nested deeply are run and dropped without recursion", "[generator][L-14]") {
  support::watchdog dog("nested generators", 120);
  support::tracked::reset();
  constexpr int depth = 200000;
  int seen = 0;
  bool ordered = true;
  on_small_stack([&] {
    for (int& value : nested(depth, support::tracked(1))) {
      ordered = ordered && value == depth - seen;
      ++seen;
    }
  });
  CHECK(ordered);
  CHECK(seen == depth + 1);
  CHECK(support::tracked::live == 0);

  seen = 0;
  on_small_stack([&] {
    for (int& value : nested(depth, support::tracked(1))) {
      ++seen;
      if (value == 0) break;
    }
  });
  CHECK(seen == depth + 1);
  CHECK(support::tracked::live == 0);
}

}  // namespace test_long_chains
