// SPDX-License-Identifier: MIT
#pragma once
// Spinning for a short time before a thread sleeps.

#include <dyngen/detail/base/atomic.hpp>

#include <thread>

namespace dyngen::detail {

/// Polls `ready()` with growing pauses for about as long as it takes to fall asleep and to be woken (about 10 us).
/// Returns true as soon as ready() does; false if the time has passed, and then the caller must sleep. Use it only if a
/// running thread is about to make `ready()` true: each poll takes the cache line away from that thread, and the pauses
/// leave it there.
///
/// No other loop in the library waits for another thread without sleeping, except that of a failed when_all for which
/// there is no memory to register a wait. (A compare-exchange is repeated only if another thread's has succeeded.) So a
/// thread that the system has suspended costs the other threads no processor time, and a waiting thread of higher
/// real-time priority does not keep it from running.
template <class Ready>
bool spin_until(Ready ready) noexcept {
  // No function-local static with a guard: a child process after fork() would wait for a thread that is initializing
  // it.
  static constinit atomic<int> most{-1};
  int longest = most.load(relaxed);  // relaxed, here and in the store: all threads compute the same number
  if (longest < 0) most.store(longest = std::thread::hardware_concurrency() > 1 ? 512 : 0, relaxed);
  for (int pauses = 64; pauses <= longest; pauses *= 2) {
    for (int i = 0; i < pauses; ++i) {
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      __asm__ volatile("yield");
#endif
    }
    if (ready()) return true;
  }
  return false;
}

}  // namespace dyngen::detail
