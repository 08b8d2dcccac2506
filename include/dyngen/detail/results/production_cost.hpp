// SPDX-License-Identifier: MIT
#pragma once
// An estimate of what the values of a stream cost to make, measured while it runs: less than handing a value from one core
// to another (cheap), or more (expensive). It belongs to the thread that runs the task; the stream's reader may call
// is_cheap() and is_expensive() at any time.
//
// A new stream counts as cheap until a measurement says otherwise, so its reader may make its values from the first one
// on. The reader looks at the clock after every value then, and less and less often.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/park.hpp>

#include <chrono>
#include <cstdint>
#include <utility>

namespace dyngen::detail {

/// For tests: whether readers make the values of streams themselves, without looking at the clock.
enum class pulling : std::uint32_t { by_cost, whenever_possible, not_at_all };
inline atomic<pulling> pulling_mode{pulling::by_cost};

class production_cost {
 public:
  /// Handing a value to another core costs from 20 ns, in batches, to some hundred.
  static constexpr std::chrono::nanoseconds cheap{150};
  /// Waking a thread to take it, or to make it, costs as much at least.
  static constexpr std::chrono::nanoseconds wake_up{5000};
  /// So many values that a worker has made are measured before anything is said.
  static constexpr std::uint64_t sample = 256;
  /// A reader that makes values which have proved cheap looks at the clock once for so many.
  static constexpr std::uint64_t between_looks = 64;

  /// Has the last sample cost less than `cheap` a value?
  bool is_cheap() const noexcept { return verdict_now() == verdict::cheap; }
  /// Has it cost more?
  bool is_expensive() const noexcept { return verdict_now() == verdict::expensive; }
  /// Not even by what its first values have cost so far.
  bool seems_cheap() const noexcept {
    const verdict now = verdict_now();
    return now == verdict::cheap || (now == verdict::none && !by_reader_ && clock_ < budget(values_) + wake_up);
  }

  void add(std::uint64_t values, std::chrono::nanoseconds took) noexcept {
    if (std::exchange(by_reader_, false)) begin_sample();
    values_ += values;
    clock_ += took;
    if (values_ < sample) return;
    judge(clock_ < budget(values_) ? verdict::cheap : verdict::expensive);
    begin_sample();
  }

  /// The reader begins to make values, of which `made` are there. Returns after how many more to call look().
  std::uint64_t begin_at_reader(std::uint64_t made) noexcept {
    first_ = values_ = made;
    clock_ = now();
    by_reader_ = true;
    expensive_ = false;
    return is_cheap() ? between_looks : 1;
  }
  /// By the reader: `made` values are there now. Returns after how many more to call it again. 0: making and reading them has
  /// cost more than `cheap` each, in two measurements in a row (one may be another thread's turn on this core), or before
  /// they had proved cheap. Then another core may as well make them, until a new sample says something else.
  std::uint64_t look(std::uint64_t made) noexcept {
    const bool proven = is_cheap();
    const std::uint64_t since_begin = made - first_;
    const std::chrono::nanoseconds before = std::exchange(clock_, now());
    const std::chrono::nanoseconds most = budget(made - std::exchange(values_, made)) + (proven ? cheap * 0 : wake_up);
    const bool was_expensive = std::exchange(expensive_, clock_ - before > most);
    if (expensive_ && (was_expensive || !proven)) {
      judge(verdict::expensive);
      return is_cheap() ? between_looks : 0;
    }
    if (!proven && since_begin >= 2 * between_looks) judge(verdict::cheap);
    return proven || since_begin >= 2 * between_looks ? between_looks : since_begin / 2 + 1;
  }

 private:
  enum class verdict : unsigned char { none, cheap, expensive };

  verdict verdict_now() const noexcept {
    // relaxed: set before there are threads.
    switch (pulling_mode.load(relaxed)) {
      case pulling::whenever_possible: return verdict::cheap;
      case pulling::not_at_all: return verdict::expensive;
      case pulling::by_cost: break;
    }
    // relaxed: a reader only decides whether to claim the task; it reads nothing on the strength of it.
    return verdict_.load(relaxed);
  }
  void judge(verdict v) noexcept { verdict_.store(v, relaxed); }  // relaxed: as above
  void begin_sample() noexcept {
    values_ = 0;
    clock_ = {};
  }
  static std::chrono::nanoseconds budget(std::uint64_t values) noexcept { return static_cast<std::int64_t>(values) * cheap; }
  static std::chrono::nanoseconds now() noexcept { return time_now().time_since_epoch(); }

  std::uint64_t values_ = 0;           ///< of the sample; while the reader makes them: made at the last look
  std::chrono::nanoseconds clock_{0};  ///< what they took; while the reader makes them: the time of that look
  std::uint64_t first_ = 0;            ///< made when the reader began
  atomic<verdict> verdict_{verdict::none};
  bool by_reader_ = false;
  bool expensive_ = false;             ///< the last look found it so
};

}  // namespace dyngen::detail
