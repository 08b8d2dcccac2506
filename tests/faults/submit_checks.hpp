// SPDX-License-Identifier: MIT
#pragma once
// What the tests of submit share: a generator, and checks of the results of a task that may not have been submitted.

#include "injection.hpp"

#include <cstddef>
#include <optional>
#include <utility>

namespace faults {

/// Waits for the only ref of a task, which holds `number` or the failure; or checks that nothing was submitted.
template <class T>
void check_result(run& r, const target& t, const dg::ref<T>& result, int number) {
  if (!result.valid()) check_nothing_submitted(r, t);
  r.holds(result, number);
}

/// Takes all items of a stream: these count up from `next`, and the failure, if there is one, comes last. May be called
/// again after it has thrown: then no item was taken.
template <class V>
void take_all(run& r, target& t, dg::ref_stream<V>& stream, int& next) {
  bool failed = false;
  for (;;) {
    t.work();
    std::optional<dg::ref<V>> item = t.submitted() ? stream.next() : stream.try_next();
    if (!item) {
      if (t.submitted() || stream.finished()) return;
      continue;
    }
    if (failed) r.problem("an item after the exception");
    const auto number = r.outcome_of(*item);
    failed = !number;
    r.check(!failed || r.fired(), "an item failed, and nothing had");
    if (number && *number != next++) r.problem("a stream is out of order");
  }
}

/// Checks a stream of which no value was taken yet.
template <class V>
void take_whole(run& r, target& t, dg::ref_stream<V>& stream, int first) {
  if (!stream.valid()) return check_nothing_submitted(r, t);
  take_all(r, t, stream, first);
}

/// Checks the list of a `dynamic` task of `size` values.
template <class V>
void look_at_list(run& r, const target& t, const dg::ref<dg::ref_list<V>>& outer, int first, std::size_t size) {
  if (!outer.valid()) return check_nothing_submitted(r, t);
  outer.wait();
  if (outer.failed()) return r.arrived(outer.error());
  const dg::ref_list<V>& list = outer.get();
  bool failed = false;
  for (const dg::ref<V> item : list) {
    if (failed) r.problem("an item after the exception");
    const auto number = r.outcome_of(item);
    failed = !number;
    r.check(!failed || r.fired(), "an item failed, and nothing had");
    if (number && *number != first++) r.problem("a list is out of order");
  }
  if (!failed) r.check(list.size() == size, "a list without a failure is too short");
}

/// A generator of n values that count up from its first argument.
template <class V>
auto counting(run& r) {
  return [&r](V from, int n) -> dg::generator<V> {
    r.enter();
    for (int i = 0; i < n; ++i) {
      V next(from.look() + i);
      co_yield std::move(next);
    }
  };
}

}  // namespace faults
