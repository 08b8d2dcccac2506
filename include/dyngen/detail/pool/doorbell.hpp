// SPDX-License-Identifier: MIT
#pragma once
// How one thread of a pool that serves the others sleeps, and how any thread wakes it: the pool's monitor, and the thread
// that ends cancelled tasks. Ringing costs one load while the thread is awake.
//
//            sleep(): nothing is wanted
//     awake ───────────────────────────▶ asleep
//       │  ◀─────────────────────────────── │
//       │     ring(), or sleep() itself     │
//       └─────────────▶ closed ◀────────────┘   close(): for good
//
// [D1] No ring is lost: ring() is called after its cause was written (seq_cst), and then looks at the state (seq_cst);
//      sleep() writes `asleep` (seq_cst), then looks whether anything is wanted (seq_cst).

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/park.hpp>

#include <cstdint>

namespace dyngen::detail {

class doorbell {
 public:
  doorbell() = default;
  doorbell(const doorbell&) = delete;
  doorbell& operator=(const doorbell&) = delete;

  /// Wakes the thread if it is in sleep(). From any thread.
  void ring() noexcept {
    std::uint32_t was = asleep;
    // relaxed on failure: the thread is awake, and looks before it sleeps.
    if (state_.load(seq_cst) == asleep && state_.compare_exchange_strong(was, awake, seq_cst, relaxed))  // [D1]
      wake_one(state_);
  }
  /// Ends sleep() and doze() for good. From any thread.
  void close() noexcept {
    state_.store(closed, seq_cst);
    wake_all(state_);
  }

  /// By the thread itself: sleeps until ring(), unless `wanted()` by now. Returns false once it is closed.
  template <class Wanted>
  bool sleep(Wanted wanted) noexcept {
    std::uint32_t was = awake;
    // relaxed on failure: it is closed.
    if (!state_.compare_exchange_strong(was, asleep, seq_cst, relaxed)) return false;  // [D1]
    if (wanted()) {
      was = asleep;
      // relaxed on failure: it was rung, or closed.
      return state_.compare_exchange_strong(was, awake, seq_cst, relaxed) || was != closed;
    }
    while (state_.load(seq_cst) == asleep) sleep_on(state_, asleep);
    return state_.load(seq_cst) != closed;
  }
  /// By the thread itself: sleeps until the given time, whether it is rung or not. Returns false once it is closed.
  bool doze(deadline until) noexcept {
    while (state_.load(seq_cst) == awake && time_now() < until) sleep_on(state_, awake, until);
    return state_.load(seq_cst) != closed;
  }

 private:
  static constexpr std::uint32_t awake = 0, asleep = 1, closed = 2;

  atomic<std::uint32_t> state_{awake};
};

}  // namespace dyngen::detail
