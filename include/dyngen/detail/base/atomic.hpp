// SPDX-License-Identifier: MIT
#pragma once
// The one place where the library names its atomics, its mutexes, its threads and the clock, and where a thread goes to
// sleep on an atomic. Everything else writes `detail::atomic<T>`, `sleep_on` and so on: a model checker puts a header of
// this name earlier on the include path, and so checks the very code that users run.

#include <dyngen/detail/base/integer.hpp>
#include <dyngen/detail/base/process.hpp>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstddef>
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
// | pair              | light side, asymmetric_store() or load                       | heavy side, asymmetric_fence_heavy()                    |
// | [C1] closing      | counts a start or an end, looks whether the pool closes | closes the pool, then sums up the counts     |
// | [W1] of a stream  | publishes a value, looks whether a thread waits         | begins to wait, then looks for a value       |
// | [K4] of a reader  | counts a value as taken, looks whether to give room back | asks for the room, then looks at the count  |
//
// Two light sides never face each other. If the kernel refuses to register the process, both sides write seq_cst. It may
// also refuse later what it has registered: a seccomp filter is installed, or it has no memory. A light side has no way to
// learn that in time, so the heavy side makes up for it. It asks for the system-wide kind of membarrier; if that is refused
// too, it waits for 1 ms. The wait is a fence as far as stores do not stay in a store buffer, nor loads unfinished in a
// pipeline, for longer than that: both last less than some microseconds on a processor that runs, and an interrupt ends
// them (Morrison and Afek, Temporally Bounding TSO for Fence-Free Asymmetric Synchronization, 2015). Nothing is remembered
// of a refusal: as soon as the kernel has memory again, the fence is fast again. A stream of dear
// values turns [W1] round for good: its publisher writes seq_cst, and who waits need not fence (segmented_buffer.hpp).

#if defined(__linux__)

/// Has the kernel registered this process for membarrier? Decided once for all objects of the process.
struct fence_decision {
  static constexpr std::string_view name_in_process = "fence_decision";
  static constexpr std::uint32_t granted = 1, refused = 2;

  atomic<std::uint32_t> made{0};
};

/// Does this object know that it is granted?
inline constinit atomic<bool> membarrier_is_registered{false};

inline bool membarrier(int command) noexcept { return syscall(SYS_membarrier, command, 0, 0) == 0; }

inline bool register_membarrier() noexcept {
  atomic<std::uint32_t>& made = process_wide<fence_decision>().made;
  std::uint32_t decision = made.load(seq_cst);
  if (decision == 0) {
    const bool registered = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    const std::uint32_t mine = registered ? fence_decision::granted : fence_decision::refused;
    if (made.compare_exchange_strong(decision, mine, seq_cst)) decision = mine;
  }
  const bool granted = decision == fence_decision::granted;
  membarrier_is_registered.store(granted, seq_cst);
  return granted;
}

/// Is a light side's store an ordinary one? Once it is, it stays so.
// relaxed: a store that does not see the switch yet is the dearer one.
inline bool has_membarrier() noexcept { return membarrier_is_registered.load(relaxed); }

/// What asymmetric_fence_heavy() does if the kernel refuses a membarrier that it has granted: see above.
[[gnu::noinline]] inline void fence_without_membarrier() noexcept {
  // A forked child may have to register anew.
  if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return;
  if (membarrier(MEMBARRIER_CMD_GLOBAL)) return;
  const auto drained = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
  while (std::chrono::steady_clock::now() < drained) std::this_thread::sleep_until(drained);
}

/// Between a seq_cst store and looks at what light sides have stored.
inline void asymmetric_fence_heavy() noexcept {
  if (register_membarrier() && !membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) [[unlikely]]
    fence_without_membarrier();
}

#else

inline bool register_membarrier() noexcept { return false; }
constexpr bool has_membarrier() noexcept { return false; }
inline void asymmetric_fence_heavy() noexcept {}

#endif

/// A store after which the caller looks, seq_cst, at what the heavy side wrote before its asymmetric_fence_heavy(). `Plain` is what
/// has_membarrier() said, for who stores so often that he asks once for many.
template <bool Plain, class T>
[[gnu::always_inline]] inline void asymmetric_store_as(atomic<T>& word, T value) noexcept {
  if constexpr (Plain) {
    word.store(value, release);  // release: what else the heavy side sees with it
    std::atomic_signal_fence(seq_cst);  // the compiler keeps the order; the heavy side makes the processor keep it
  } else {
    word.store(value, seq_cst);
  }
}
template <class T>
[[gnu::always_inline]] inline void asymmetric_store(atomic<T>& word, T value) noexcept {
  if (has_membarrier()) [[likely]]
    asymmetric_store_as<true>(word, value);
  else
    asymmetric_store_as<false>(word, value);
}

/// Looks whether `ready`, less and less often, for about as long as it takes to fall asleep and to be woken (10 us or so);
/// after that the caller sleeps. There is no other loop in the library that waits for another thread and does not sleep, but
/// that of a failed when_all for which there is no memory left to wait with: a compare-exchange is only tried again if
/// another thread's has succeeded. So a thread that the system keeps from running
/// costs others no processor time, and a waiter of higher real-time priority does not keep it from running.
/// For who waits for what another thread is at work on. The pauses between the looks let it get some way ahead: each look
/// takes the cache line away from it.
template <class Ready>
bool spin_until(Ready ready) noexcept {
  // Not a static variable with a guard: a child process after fork() would wait for a thread that is initializing it.
  static constinit atomic<int> most{-1};
  int longest = most.load(relaxed);  // relaxed, here and below: all threads compute the same number
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

/// Starts a thread that no signal of the program is delivered to. Throws as std::thread does.
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
  const blocked_signals here;  // a new thread inherits them
#endif
  return std::thread(std::move(run));
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
    const std::chrono::nanoseconds rest = since - seconds;
    at.tv_sec = integer_as<decltype(at.tv_sec)>(seconds.count());
    at.tv_nsec = integer_as<decltype(at.tv_nsec)>(rest.count());
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
// These are never destroyed, as static pools may use them until the process has ended; all objects share them.
struct sleeping_place {
  std::mutex mutex;
  std::condition_variable changed;
};
struct sleeping_places {
  static constexpr std::string_view name_in_process = "sleeping_places";

  sleeping_place all[64];

  void after_fork() noexcept {  // other threads may have held the mutexes
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
