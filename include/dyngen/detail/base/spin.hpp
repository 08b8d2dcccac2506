// SPDX-License-Identifier: MIT
#pragma once
// Spinning for a short time before a thread sleeps.

#include <dyngen/detail/base/atomic.hpp>

#include <thread>

namespace dyngen::detail {

/// Polls `ready()` with growing pauses for about as long as it takes to fall asleep and to be woken (about 10 us).
/// Returns true as soon as ready() does. Returns false when that time has passed; the caller must then sleep. Use it
/// only if a running thread is about to make `ready()` true. Each poll takes the cache line away from that thread; the
/// pauses let the thread keep it for longer and longer.
///
/// No other loop in the library waits for another thread without sleeping, with one exception: a failed when_all that
/// gets no memory to register a wait. (A compare-exchange loop repeats only if another thread's exchange succeeded.) So
/// threads that wait for a thread which the system has suspended use no processor time, and waiting threads of higher
/// real-time priority do not keep that thread from running.
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
