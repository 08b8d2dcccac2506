// SPDX-License-Identifier: MIT
#pragma once
// How a service thread of a pool (the monitor or the ender) sleeps, and how any thread wakes it. Ringing costs one load
// while the service thread is awake.
//
//          sleep(): nothing is wanted
//   awake ────────────────────────────▶ asleep
//     │   ◀────────────────────────────   │
//     │    ring(), or sleep() itself      │
//     └───────────▶ closed ◀──────────────┘   close(): for good
//
// [D1] No ring is lost. The caller of ring() writes the cause first, then ring() reads the state; sleep() writes
//      `asleep`, then checks whether anything is wanted. All four are seq_cst.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/park.hpp>

#include <cstdint>

namespace dyngen::detail {

class doorbell {
 public:
  doorbell() = default;
  doorbell(const doorbell&) = delete;
  doorbell& operator=(const doorbell&) = delete;

  /// Wakes the service thread if it is in sleep(). From any thread.
  void ring() noexcept {
    std::uint32_t was = asleep;
    // relaxed on failure: the service thread is awake, and calls `wanted` before it sleeps.
    if (state_.load(seq_cst) == asleep && state_.compare_exchange_strong(was, awake, seq_cst, relaxed))  // [D1]
      wake_one(state_);
  }
  /// Ends sleep() and doze() for good. From any thread.
  void close() noexcept {
    state_.store(closed, seq_cst);
    wake_all(state_);
  }

  /// Called by the service thread: sleeps until ring() or close(), unless `wanted()` returns true. Returns false once
  /// closed.
  template <class Wanted>
  bool sleep(Wanted wanted) noexcept {
    std::uint32_t was = awake;
    // relaxed on failure: it is closed.
    if (!state_.compare_exchange_strong(was, asleep, seq_cst, relaxed)) return false;  // [D1]
    if (wanted()) {
      was = asleep;
      // relaxed on failure: another thread rang or closed it.
      return state_.compare_exchange_strong(was, awake, seq_cst, relaxed) || was != closed;
    }
    while (state_.load(seq_cst) == asleep) sleep_on(state_, asleep);
    return state_.load(seq_cst) != closed;
  }
  /// Called by the service thread: sleeps until the given time or close(); ring() does not wake it. Returns false once
  /// closed.
  bool doze(deadline until) noexcept {
    while (state_.load(seq_cst) == awake && time_now() < until) sleep_on(state_, awake, until);
    return state_.load(seq_cst) != closed;
  }

 private:
  static constexpr std::uint32_t awake = 0, asleep = 1, closed = 2;

  atomic<std::uint32_t> state_{awake};
};

}  // namespace dyngen::detail
