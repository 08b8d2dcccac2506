// SPDX-License-Identifier: MIT
#pragma once
// What the values of a stream cost to make, measured while it runs: whether that is less than handing them from one core
// to another. Belongs to whoever runs the task; but its consumer may ask is_cheap() before he does.

#include <dyngen/detail/atomic.hpp>

#include <chrono>
#include <cstdint>
#include <utility>

namespace dyngen::detail {

/// For tests: whether consumers pull, without looking at the clock.
enum class pulling : std::uint32_t { by_cost, whenever_possible, not_at_all };
inline atomic<pulling> pulling_mode{pulling::by_cost};

class value_cost {
 public:
  /// Handing a value to another core costs from 20 ns, in batches, to some hundred; waking a sleeper thousands.
  static constexpr std::chrono::nanoseconds cheap{150};
  /// So many values are looked at before anything is said.
  static constexpr std::uint64_t sample = 1000;
  /// A consumer that pulls looks at the clock once for so many values.
  static constexpr std::uint32_t between_looks = 64;

  /// Has the last sample cost less than `cheap` a value?
  bool is_cheap() const noexcept {
    // relaxed: set before there are threads.
    const pulling mode = pulling_mode.load(relaxed);
    // relaxed: a consumer asks only whether to try and get hold of the task; nothing is read on the strength of it.
    return mode == pulling::by_cost ? is_cheap_.load(relaxed) : mode == pulling::whenever_possible;
  }

  void add(std::uint64_t values, std::chrono::nanoseconds took) noexcept {
    values_ += values;
    took_ += took;
    if (values_ < sample) return;
    is_cheap_.store(took_ < static_cast<std::int64_t>(values_) * cheap, relaxed);  // relaxed: as above
    values_ = 0;
    took_ = {};
  }

  /// A consumer begins to pull.
  void begin_to_pull() noexcept {
    looked_ = time_now();
    dear_ = false;
  }
  /// He has pulled `between_looks` more. False if making and taking them has cost more than `cheap` each, twice in a row
  /// (once may be another thread's turn on this core): then another core may as well make them, until a new sample says
  /// something else.
  bool is_still_cheap() noexcept {
    const deadline now = time_now();
    const bool was_dear = std::exchange(dear_, now - looked_ > static_cast<std::int64_t>(between_looks) * cheap);
    looked_ = now;
    if (!dear_ || !was_dear) return true;
    values_ = 0;
    took_ = {};
    dear_ = false;
    is_cheap_.store(false, relaxed);  // relaxed: as above
    return is_cheap();
  }

 private:
  std::uint64_t values_ = 0;
  std::chrono::nanoseconds took_{0};
  deadline looked_{};
  atomic<bool> is_cheap_{false};
  bool dear_ = false;
};

}  // namespace dyngen::detail
