// SPDX-License-Identifier: MIT
#pragma once
// budget, and the option backpressure_by(budget, cost): one limit for the buffers of several streams, in bytes or in
// any other unit.

#include <dyngen/detail/base/integer.hpp>
#include <dyngen/detail/task/shared_budget.hpp>

#include <concepts>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace dyngen {

/// Limits the total cost of the values that are buffered in all streams with this budget. The caller chooses the unit
/// of cost. Copies refer to the same limit. Thread-safe. The budget may be destroyed before its streams.
class budget {
 public:
  /// Makes a budget of `limit` units. Throws std::invalid_argument if `limit` is less than 1 or more than 2^48, and
  /// std::bad_alloc.
  template <std::integral Integer>
  explicit budget(Integer limit)
      : state_(std::make_shared<detail::budget_state>(
            detail::checked_integer(limit, 1, std::uint64_t{1} << 48, "budget{", "}: give a limit from 1 to 2^48"))) {}

  /// Returns the limit given to the constructor.
  std::uint64_t limit() const noexcept { return state_->limit(); }
  /// Returns the total cost of the values that are buffered now. A value that costs more than the limit counts as
  /// limit() + 1.
  std::uint64_t used() const noexcept { return state_->used(); }

  /// For the library.
  const std::shared_ptr<detail::budget_state>& state() const noexcept { return state_; }

 private:
  std::shared_ptr<detail::budget_state> state_;
};

/// The option returned by backpressure_by(budget, cost).
template <class Cost>
struct backpressure_by_option {
  /// A copy of the given budget, which shares its limit.
  dyngen::budget budget;
  /// Computes the cost of a value. Copied into each stream.
  Cost cost;
};

namespace detail {

template <class T, class Cost>
class costed_stream final : public stream_budget<T> {
 public:
  explicit costed_stream(const backpressure_by_option<Cost>& option)
      : stream_budget<T>(option.budget.state(), &ask), cost_(option.cost) {}

 private:
  static std::uint64_t ask(stream_budget<T>& self, const T& value) {
    const auto cost = static_cast<costed_stream&>(self).cost_(value);
    if constexpr (std::is_signed_v<decltype(cost)>)
      if (cost < 0)
        throw std::invalid_argument("dyngen: backpressure_by: the cost of a value is " + std::to_string(cost) + "; costs must not be negative");
    return static_cast<std::uint64_t>(cost);
  }

  Cost cost_;
};

struct backpressure_by_function {
  /// Returns an option of a stream: the producer suspends while the cost of its next value, added to the costs of the
  /// values buffered in all streams with this budget, exceeds the limit. A stream with no buffered value may always
  /// store one. `cost(const T&)` returns the cost as a non-negative integer. It is called once for each value, on the
  /// thread that runs the task; an exception from it, and the std::invalid_argument for a negative cost, fail the task.
  /// Throws what moving `cost` throws.
  template <class Cost>
  auto operator()(budget b, Cost cost) const {
    return backpressure_by_option<Cost>{std::move(b), std::move(cost)};
  }
};

}  // namespace detail

/// backpressure_by(budget, cost): an option that bounds a stream by a budget shared with other streams.
inline constexpr detail::backpressure_by_function backpressure_by{};

}  // namespace dyngen
