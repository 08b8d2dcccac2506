// SPDX-License-Identifier: MIT
#pragma once
// The expected behaviour of an undisturbed task: which attempt stores which value, and how it ends. Also outcomes: the
// observed content of a handle.

#include "program.hpp"

#include <algorithm>
#include <cstdint>

namespace fuzz {

enum class tag : std::uint8_t {
  nothing,           ///< the operation had no handle
  value,             ///< its identity
  well,              ///< a task's end without an exception
  end,               ///< of a stream
  boom,              ///< thrown by task `data >> 8` in attempt `data & 255`
  arity,             ///< expected in the upper half, yielded in the lower
  order,
  cancelled,
  nondeterministic,
  shared,
  died,
  broken,
  stopped,
  timeout,
  empty,
  other_error,       ///< of the library
  unknown_error
};

struct outcome {
  tag what = tag::nothing;
  std::uint64_t data = 0;
  friend bool operator==(const outcome&, const outcome&) = default;
  bool is_error() const noexcept { return what >= tag::boom; }
};

constexpr outcome boom_of(index task, unsigned attempt) {
  return {tag::boom, std::uint64_t{task} << 8 | attempt};
}
constexpr outcome arity_of(std::uint64_t expected, std::uint64_t yielded) {
  return {tag::arity, expected << 32 | yielded};
}

/// An undisturbed run of a task's own script.
struct expected_run {
  unsigned runs = 0;                              ///< attempts made
  std::array<std::uint32_t, max_attempts> stored{};  ///< values stored after each attempt
  std::uint32_t total = 0;
  outcome end{tag::well, 0};

  /// Which attempt has stored value `at`.
  unsigned origin(std::uint32_t at) const noexcept {
    for (unsigned a = 0; a < runs; ++a)
      if (stored[a] > at) return a;
    return 0;
  }
};

/// How many values attempt `a` of a tuple_generator makes: it yields types in `order`, of which there are three in all.
inline outcome tuple_attempt(const task_plan& p, unsigned a, std::uint32_t& made) {
  made = 0;
  for (; made < p.attempts[a].length; ++made) {
    if (made == 3) return arity_of(3, 4);
    if (p.order[made] != made) return {tag::order, 0};
  }
  return {tag::well, 0};
}

inline expected_run expected_of(const task_plan& p, index self) {
  expected_run s;
  std::uint32_t stored = 0;
  const std::uint32_t limit = has_arity(p.what) ? p.count : 0xffffffff;
  const unsigned most = retries(p.what) ? p.max_retries : 0;
  for (unsigned a = 0;; ++a) {
    const attempt& run = p.attempts[a];
    // A function makes all it returns at once, or nothing.
    const bool at_once = is_container(p.what) || is_one(p.what) || p.what == form::tuple_plain;
    std::uint32_t made = is_one(p.what) ? 1 : run.length;
    outcome refused{tag::well, 0};
    if (is_tuple(p.what) && p.what != form::tuple_plain) refused = tuple_attempt(p, a, made);
    if (p.what == form::tuple_plain) made = p.count;
    if (at_once && run.throws) made = 0;
    // A value whose constructor would throw is counted as one too many before it is constructed.
    const bool surplus = made > limit || (made == limit && run.throws && run.in_construction);
    stored = std::max(stored, std::min(made, limit));
    s.stored[a] = stored;
    s.runs = a + 1;
    s.total = stored;
    if (refused.what != tag::well) return s.end = refused, s;
    if (surplus) return s.end = arity_of(limit, limit + 1), s;
    if (run.throws) {
      if (a < most && (p.accepted >> a & 1) != 0) continue;
      return s.end = boom_of(self, a), s;
    }
    if (made < stored) return s.end = {tag::nondeterministic, 0}, s;
    if (has_arity(p.what) && made < limit) s.end = arity_of(limit, made);
    return s;
  }
}

}  // namespace fuzz
