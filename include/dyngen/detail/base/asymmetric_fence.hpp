// SPDX-License-Identifier: MIT
#pragma once
// Asymmetric fence: a Dekker pair in which one side costs an ordinary store.
//
// In a Dekker pair two threads each write a word and then read the other's word; at least one of them must see the
// other's write. Ordinarily both write with seq_cst, which is a locked instruction. If one side runs a million times a
// second and the other side hardly ever, the rare side (heavy) executes a fence on all running threads, and the
// frequent side (light) executes an ordinary store. On Linux the fence is the system call membarrier. After Dice, Huang
// and Yang, Asymmetric Dekker Synchronization (2001).
//
// | pair                | light side: asymmetric_store()               | heavy side: asymmetric_fence_heavy()   |
// | [C1] closing a pool | counts a start or an end; reads whether the  | marks the pool as closing; then sums   |
// |                     | pool is closing                              | up the counts                          |
// | [W1] of a stream    | publishes a value; reads whether a thread    | registers a waiter; then reads whether |
// |                     | waits                                        | there is a value                       |
// | [K4] of a reader    | counts a value as consumed; reads whether it | asks for credits; then reads the count |
// |                     | must return credits                          |                                        |
//
// At least one side of each pair must be heavy: two light sides do not order each other. If the kernel refuses to
// register the process, both sides use seq_cst. A stream of expensive values reverses [W1] permanently: its producer
// stores with seq_cst, and a waiting thread needs no fence (segmented_buffer.hpp).
//
// The kernel may also refuse a membarrier after it has registered the process, because a seccomp filter was installed
// or memory ran out. The light side cannot learn of that in time, so the heavy side makes up for it: it asks for the
// system-wide membarrier, and if the kernel refuses that too, it waits for 1 ms. The wait acts as a fence because no
// store stays in a store buffer, and no load stays unfinished in a pipeline, for that long: on a running processor both
// last less than a few microseconds, and an interrupt ends them (Morrison and Afek, Temporally Bounding TSO for
// Fence-Free Asymmetric Synchronization, 2015). A refusal is not remembered: when the kernel has memory again, the
// fence is fast again.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/process.hpp>

#include <chrono>
#include <cstdint>
#include <string_view>
#include <thread>

#if defined(__linux__)
#  include <linux/membarrier.h>
#  include <sys/syscall.h>
#  include <unistd.h>
#endif

namespace dyngen::detail {

#if defined(__linux__)

/// Whether the kernel has registered this process for membarrier. Decided once per process, for all its loaded objects.
struct fence_decision {
  static constexpr std::string_view name_in_process = "fence_decision";
  static constexpr std::uint32_t granted = 1, refused = 2;

  atomic<std::uint32_t> made{0};
};

/// True once this object (executable or shared object) knows that the registration was granted.
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

/// True once membarrier is registered: from then on the light side may store with an ordinary store.
// relaxed: a stale false only selects the slower seq_cst store.
inline bool has_membarrier() noexcept { return membarrier_is_registered.load(relaxed); }

/// The heavy fence for the case that the kernel refuses a membarrier after it has registered the process (last
/// paragraph at the top).
DYNGEN_NOINLINE inline void fence_without_membarrier() noexcept {
  // A forked child may have to register anew.
  if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return;
  if (membarrier(MEMBARRIER_CMD_GLOBAL)) return;
  const auto drained = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
  while (std::chrono::steady_clock::now() < drained) std::this_thread::sleep_until(drained);
}

/// The heavy side's fence: called after its seq_cst store and before it reads what the light sides have stored.
inline void asymmetric_fence_heavy() noexcept {
  if (register_membarrier() && !membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) [[unlikely]]
    fence_without_membarrier();
}

#else

inline bool register_membarrier() noexcept { return false; }
constexpr bool has_membarrier() noexcept { return false; }
inline void asymmetric_fence_heavy() noexcept {}

#endif

/// The light side's store. After it the caller reads, with seq_cst, what the heavy side wrote before its
/// asymmetric_fence_heavy(). `Plain` is the result of has_membarrier(): hot loops read that once and pass it here.
template <bool Plain, class T>
DYNGEN_ALWAYS_INLINE inline void asymmetric_store_as(atomic<T>& word, T value) noexcept {
  if constexpr (Plain) {
    word.store(value, release);  // release: the heavy side also sees what was written before
    std::atomic_signal_fence(seq_cst);  // the compiler keeps the order; the heavy fence makes the processor keep it
  } else {
    word.store(value, seq_cst);
  }
}
/// asymmetric_store_as() for callers that store rarely: reads has_membarrier() itself.
template <class T>
DYNGEN_ALWAYS_INLINE inline void asymmetric_store(atomic<T>& word, T value) noexcept {
  if (has_membarrier()) [[likely]]
    asymmetric_store_as<true>(word, value);
  else
    asymmetric_store_as<false>(word, value);
}

}  // namespace dyngen::detail
