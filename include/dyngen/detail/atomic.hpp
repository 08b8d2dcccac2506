// SPDX-License-Identifier: MIT
#pragma once
// The one place where the library names its atomics, its mutexes, its threads and the clock, and where a thread goes to
// sleep on an atomic. Everything else writes `detail::atomic<T>`, `sleep_on` and so on: a model checker puts a header of
// this name earlier on the include path, and so checks the very code that users run.

#include <atomic>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>

#if defined(__linux__)
#  include <linux/futex.h>
#  include <linux/membarrier.h>
#  include <sys/syscall.h>
#  include <time.h>
#  include <unistd.h>
#else
#  include <condition_variable>
#endif

namespace dyngen::detail {

template <class T>
using atomic = std::atomic<T>;

inline constexpr auto relaxed = std::memory_order_relaxed;
inline constexpr auto acquire = std::memory_order_acquire;
inline constexpr auto release = std::memory_order_release;
inline constexpr auto acq_rel = std::memory_order_acq_rel;
inline constexpr auto seq_cst = std::memory_order_seq_cst;

/// Distance that keeps two things written by different threads off each other's cache line, in bytes.
inline constexpr std::size_t cache_line = 64;

// --- Dekker pairs with a cheap side ---
//
// Two threads each write a word and then look at the other's; one of them must see the other. Ordinarily both write
// seq_cst, a locked operation. Where one side does so a million times a second and the other hardly ever, the rare side
// makes all running threads pass a fence (on Linux the system call membarrier; after Dice, Huang and Yang, Asymmetric
// Dekker Synchronization, 2001), and the frequent side pays for an ordinary store only.
//
// | pair              | light side, store_light() or load                       | heavy side, heavy_fence()                    |
// | [C1] closing      | counts a start or an end, looks whether the pool closes | closes the pool, then sums up the counts     |
// | [W1] of a stream  | publishes a value, looks whether anybody waits          | begins to wait, then looks for a value       |
// | [T3] pulling      | marks a stream as in use or not, looks for a revocation | revokes the hold, then looks whether in use  |
//
// Two light sides never face each other. Where the system call is refused, both sides write seq_cst. A stream of dear
// values turns [W1] round for good: its publisher writes seq_cst, and who waits need not fence (segmented_buffer.hpp).

#if defined(__linux__)

/// Set, once and for good, before the first heavy_fence() returns.
inline atomic<bool> light_sides_are_free{false};

inline bool decide_fences() noexcept {
  static const bool decided = [] {
    const bool registered = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    light_sides_are_free.store(registered, seq_cst);
    return registered;
  }();
  return decided;
}

/// Is a light side's store an ordinary one? Once it is, it stays so.
// relaxed: a store that does not see the switch yet is the dearer one.
inline bool light_stores_are_plain() noexcept { return light_sides_are_free.load(relaxed); }

/// Between a seq_cst store and looks at what light sides have stored.
inline void heavy_fence() noexcept {
  if (decide_fences()) syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

#else

inline bool decide_fences() noexcept { return false; }
constexpr bool light_stores_are_plain() noexcept { return false; }
inline void heavy_fence() noexcept {}

#endif

/// A store after which the caller looks, seq_cst, at what the heavy side wrote before its heavy_fence(). `Plain` is what
/// light_stores_are_plain() said, for who stores so often that he asks once for many.
template <bool Plain, class T>
[[gnu::always_inline]] inline void store_light_as(atomic<T>& word, T value) noexcept {
  if constexpr (Plain) {
    word.store(value, release);  // release: what else the heavy side sees with it
    std::atomic_signal_fence(seq_cst);  // the compiler keeps the order; the heavy side makes the processor keep it
  } else {
    word.store(value, seq_cst);
  }
}
template <class T>
[[gnu::always_inline]] inline void store_light(atomic<T>& word, T value) noexcept {
  if (light_stores_are_plain()) [[likely]]
    store_light_as<true>(word, value);
  else
    store_light_as<false>(word, value);
}

/// Looks whether `ready`, less and less often, for about as long as it takes to fall asleep and to be woken (10 us or so).
/// For who waits for what another thread is at work on. The pauses between the looks let it get some way ahead: each look
/// takes the cache line away from it.
template <class Ready>
bool spin_until(Ready ready) noexcept {
  static const int longest = std::thread::hardware_concurrency() > 1 ? 512 : 0;
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

using deadline = std::chrono::steady_clock::time_point;

/// The deadline of a wait that has none.
inline constexpr deadline never = (deadline::max)();

inline deadline time_now() noexcept { return std::chrono::steady_clock::now(); }

/// Guards what is cold: what a stream's values pass through has none.
using mutex = std::mutex;
using thread = std::thread;

#if defined(__linux__)

static_assert(sizeof(atomic<std::uint32_t>) == sizeof(std::uint32_t), "a futex is a plain 32-bit word");

/// Sleeps while `word` holds `expected`, at the longest until `until`; may return early for no reason.
inline void sleep_on(atomic<std::uint32_t>& word, std::uint32_t expected, deadline until = never) noexcept {
  timespec at{};
  if (until != never) {
    // steady_clock is CLOCK_MONOTONIC, the clock FUTEX_WAIT_BITSET measures absolute time with.
    const auto since = until.time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    if (seconds.count() < 0) return;
    at.tv_sec = static_cast<time_t>(seconds.count());
    at.tv_nsec = static_cast<long>(std::chrono::nanoseconds(since - seconds).count());
  }
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, until == never ? nullptr : &at, nullptr,
          FUTEX_BITSET_MATCH_ANY);
}

/// Wakes one thread that sleeps on `word`; costs a system call also when nobody does.
inline void wake_one(atomic<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
}

/// Wakes all threads that sleep on `word`.
inline void wake_all(atomic<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
}

#else

// No futex: sleepers share a few condition variables, chosen by the word's address.
struct sleeping_place {
  std::mutex mutex;
  std::condition_variable changed;
};

inline sleeping_place& place_of(const void* word) noexcept {
  static sleeping_place places[64];
  return places[(reinterpret_cast<std::uintptr_t>(word) >> 4) % 64];
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
