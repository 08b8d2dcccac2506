// SPDX-License-Identifier: MIT
#pragma once
// What the tests of handles and streams share: a stream that has ended, and the check of what is left in it.

#include "injection.hpp"

namespace faults {

/// Yields 0 … n-1, then throws.
template <class V>
dg::generator<V> count_and_throw(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
  throw support::boom();
}

/// A stream whose task has ended, and has stored `n` values.
template <class V>
dg::ref_stream<V> ended_stream(dg::generator<V> (*f)(int), int n) {
  dg::inline_executor here;
  return dg::on(here).options(dg::unbounded).submit(f, n);
}

/// Takes the remaining values of an ended stream: these count up from `next`.
template <class V>
void take_rest(run& r, dg::ref_stream<V>& stream, int next, int end) {
  while (auto item = stream.try_next()) {
    const auto number = r.outcome_of(*item);
    if (number && *number != next++) r.problem("a stream is out of order");
  }
  r.check(stream.finished(), "a stream that was read to its end has not finished");
  r.check(next == end, "values of a stream are lost");
}

}  // namespace faults
