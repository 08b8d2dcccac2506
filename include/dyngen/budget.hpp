// SPDX-License-Identifier: MIT
#pragma once
// budget, and the option backpressure_by(budget, cost): streams that are bounded together, in bytes or in any unit.

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

/// How much may wait to be taken, in all streams that are given the same budget together; the unit is yours. Copies share
/// it. It may go before its streams.
class budget {
 public:
  /// Throws std::invalid_argument if `limit` is 0, negative, or more than 2^48; std::bad_alloc.
  template <std::integral Integer>
  explicit budget(Integer limit) : state_(std::make_shared<detail::budget_state>(checked(limit))) {}

  /// What it was made with.
  std::uint64_t limit() const noexcept { return state_->limit(); }
  /// What waits to be taken at the moment has cost so much; a value dearer than the limit counts as one more than it.
  std::uint64_t used() const noexcept { return state_->used(); }

  /// For the library.
  const std::shared_ptr<detail::budget_state>& state() const noexcept { return state_; }

 private:
  template <class Integer>
  static std::uint64_t checked(Integer limit) {
    if (limit <= Integer{0} || static_cast<std::uint64_t>(limit) > (std::uint64_t{1} << 48))
      throw std::invalid_argument("dyngen: budget{" + std::to_string(limit) + "}: give a limit from 1 to 2^48");
    return static_cast<std::uint64_t>(limit);
  }

  std::shared_ptr<detail::budget_state> state_;
};

/// What backpressure_by(budget, cost) gives.
template <class Cost>
struct backpressure_by_option {
  /// A copy of the one that was given, which shares it.
  dyngen::budget budget;
  /// Copied into each stream.
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
  /// Of a stream: it suspends while the total cost of what waits to be taken, in all streams of that budget, leaves no room
  /// for its next value; but one value may always wait. `cost(value)` gives an integer that is not negative; it is called
  /// once for each value, by the thread that runs the task, and what it throws is the task's exception.
  template <class Cost>
  auto operator()(budget b, Cost cost) const {
    return backpressure_by_option<Cost>{std::move(b), std::move(cost)};
  }
};

}  // namespace detail

inline constexpr detail::backpressure_by_function backpressure_by{};

}  // namespace dyngen
