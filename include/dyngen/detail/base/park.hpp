// SPDX-License-Identifier: MIT
#pragma once
// How threads start, sleep and wake: threads, mutexes and the clock under the library's names, and sleeping on a 32-bit
// word, by a futex or, on systems without futexes, by a table of condition variables.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/integer.hpp>
#include <dyngen/detail/base/process.hpp>

#include <chrono>
#include <climits>
#include <cstdint>
#include <mutex>
#include <new>
#include <string_view>
#include <thread>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#  include <pthread.h>
#  include <signal.h>
#endif
#if defined(__linux__)
#  include <linux/futex.h>
#  include <sys/syscall.h>
#  include <time.h>
#  include <unistd.h>
#else
#  include <condition_variable>
#endif

namespace dyngen::detail {

/// Starts a thread in which all signals are blocked, so that none is delivered to it. Throws std::system_error as
/// std::thread does.
template <class F>
std::thread start_service_thread(F run) {
#if defined(__unix__) || defined(__APPLE__)
  struct blocked_signals {
    blocked_signals() noexcept {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    blocked_signals(const blocked_signals&) = delete;
    blocked_signals& operator=(const blocked_signals&) = delete;
    ~blocked_signals() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
    sigset_t before;
  };
  const blocked_signals here;  // a new thread inherits the mask
#endif
  return std::thread(std::move(run));
}

using deadline = std::chrono::steady_clock::time_point;

/// The deadline of a wait without a time limit.
inline constexpr deadline never = (deadline::max)();

inline deadline time_now() noexcept { return std::chrono::steady_clock::now(); }

/// Only for cold paths: no value of a stream passes through a mutex.
using mutex = std::mutex;
using thread = std::thread;

#if defined(__linux__)

static_assert(sizeof(atomic<std::uint32_t>) == sizeof(std::uint32_t), "a futex is a plain 32-bit word");

/// Blocks the calling thread while `word` holds `expected`, until wake_one(), wake_all() or the time `until`. May
/// return spuriously.
inline void sleep_on(atomic<std::uint32_t>& word, std::uint32_t expected, deadline until = never) noexcept {
  timespec at{};
  if (until != never) {
    // steady_clock is CLOCK_MONOTONIC, by which FUTEX_WAIT_BITSET measures absolute time.
    const auto since = until.time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    if (seconds.count() < 0) return;
    const std::chrono::nanoseconds rest = since - seconds;
    at.tv_sec = integer_as<decltype(at.tv_sec)>(seconds.count());
    at.tv_nsec = integer_as<decltype(at.tv_nsec)>(rest.count());
  }
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, until == never ? nullptr : &at, nullptr,
          FUTEX_BITSET_MATCH_ANY);
}

/// Wakes one thread that sleeps on `word`. Costs a system call even if no thread sleeps.
inline void wake_one(atomic<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
}

/// Wakes all threads that sleep on `word`.
inline void wake_all(atomic<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
}

#else

// Without futexes: sleeping threads share 64 condition variables, chosen by the word's address. All loaded objects of
// the process share them. They are never destroyed, because static pools may use them until the process ends.
struct sleeping_place {
  std::mutex mutex;
  std::condition_variable changed;
};
struct sleeping_places {
  static constexpr std::string_view name_in_process = "sleeping_places";

  sleeping_place all[64];

  void after_fork() noexcept {  // threads that do not exist in the child may have held the mutexes
    for (sleeping_place& each : all) ::new (&each) sleeping_place;
  }
};

inline sleeping_place& place_of(const void* word) noexcept {
  return process_wide<sleeping_places>().all[(reinterpret_cast<std::uintptr_t>(word) >> 4) % 64];
}

inline void sleep_on(atomic<std::uint32_t>& word, std::uint32_t expected, deadline until = never) noexcept {
  sleeping_place& place = place_of(&word);
  std::unique_lock lock(place.mutex);
  if (word.load(seq_cst) != expected) return;
  if (until == never)
    place.changed.wait(lock);
  else
    place.changed.wait_until(lock, until);
}

inline void wake_all(atomic<std::uint32_t>& word) noexcept {
  sleeping_place& place = place_of(&word);
  { std::lock_guard lock(place.mutex); }
  place.changed.notify_all();
}

inline void wake_one(atomic<std::uint32_t>& word) noexcept { wake_all(word); }

#endif

}  // namespace dyngen::detail
