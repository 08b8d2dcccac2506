// SPDX-License-Identifier: MIT
#pragma once
// What the values of a stream cost to make, measured while it runs: whether that is less than handing them from one core
// to another. Belongs to whoever runs the task; but its consumer may ask is_cheap() and is_dear() before he does.
//
// A new stream is given the benefit of the doubt: its consumer may pull it as long as nothing speaks against it. He looks
// at the clock after every value then, and less and less often.

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
  /// Handing a value to another core costs from 20 ns, in batches, to some hundred.
  static constexpr std::chrono::nanoseconds cheap{150};
  /// Waking a thread to take it, or to make it, costs as much at least.
  static constexpr std::chrono::nanoseconds wake_up{5000};
  /// So many values that were not pulled are looked at before anything is said.
  static constexpr std::uint64_t sample = 256;
  /// A consumer that pulls what has proved cheap looks at the clock once for so many values.
  static constexpr std::uint64_t between_looks = 64;

  /// Has the last sample cost less than `cheap` a value?
  bool is_cheap() const noexcept { return verdict_now() == verdict::cheap; }
  /// Has it cost more?
  bool is_dear() const noexcept { return verdict_now() == verdict::dear; }
  /// Not even by what its first values have cost so far.
  bool seems_cheap() const noexcept {
    const verdict now = verdict_now();
    return now == verdict::cheap || (now == verdict::none && !pulled_ && clock_ < budget(values_) + wake_up);
  }

  void add(std::uint64_t values, std::chrono::nanoseconds took) noexcept {
    if (std::exchange(pulled_, false)) begin_sample();
    values_ += values;
    clock_ += took;
    if (values_ < sample) return;
    judge(clock_ < budget(values_) ? verdict::cheap : verdict::dear);
    begin_sample();
  }

  /// A consumer begins to pull; he has taken so many.
  void begin_to_pull(std::uint64_t taken) noexcept {
    values_ = taken;
    clock_ = now();
    pulled_ = true;
    dear_ = false;
  }
  /// He has taken so many now, `pulled` of them since then: after how many more to look again. 0: making and taking them has
  /// cost more than `cheap` each, twice in a row (once may be another thread's turn on this core), or before they had
  /// proved cheap. Then another core may as well make them, until a new sample says something else.
  std::uint64_t look(std::uint64_t taken, std::uint64_t pulled) noexcept {
    const bool proven = is_cheap();
    const std::chrono::nanoseconds before = std::exchange(clock_, now());
    const std::chrono::nanoseconds most = budget(taken - std::exchange(values_, taken)) + (proven ? cheap * 0 : wake_up);
    const bool was_dear = std::exchange(dear_, clock_ - before > most);
    if (dear_ && (was_dear || !proven)) {
      judge(verdict::dear);
      return is_cheap() ? between_looks : 0;
    }
    if (!proven && pulled >= 2 * between_looks) judge(verdict::cheap);
    return proven || pulled >= 2 * between_looks ? between_looks : pulled / 2 + 1;
  }

 private:
  enum class verdict : unsigned char { none, cheap, dear };

  verdict verdict_now() const noexcept {
    // relaxed: set before there are threads.
    switch (pulling_mode.load(relaxed)) {
      case pulling::whenever_possible: return verdict::cheap;
      case pulling::not_at_all: return verdict::dear;
      case pulling::by_cost: break;
    }
    // relaxed: a consumer asks only whether to try and get hold of the task; nothing is read on the strength of it.
    return verdict_.load(relaxed);
  }
  void judge(verdict v) noexcept { verdict_.store(v, relaxed); }  // relaxed: as above
  void begin_sample() noexcept {
    values_ = 0;
    clock_ = {};
  }
  static std::chrono::nanoseconds budget(std::uint64_t values) noexcept { return static_cast<std::int64_t>(values) * cheap; }
  static std::chrono::nanoseconds now() noexcept { return time_now().time_since_epoch(); }

  std::uint64_t values_ = 0;           ///< of the sample; while it is pulled: taken at the last look
  std::chrono::nanoseconds clock_{0};  ///< what they took; while it is pulled: the time of that look
  atomic<verdict> verdict_{verdict::none};
  bool pulled_ = false;
  bool dear_ = false;                  ///< the last look found it so
};

}  // namespace dyngen::detail
