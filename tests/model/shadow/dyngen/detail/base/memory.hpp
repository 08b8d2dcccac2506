// SPDX-License-Identifier: MIT
#pragma once
// The names of dyngen/detail/base/memory.hpp in a model. Freed memory is poisoned, and not used again under the same
// schedule, so that a late access is found. Leaks are found by the atomics in memory that was not freed.

#include <dyngen/detail/base/atomic.hpp>

#include <cstdlib>
#include <cstring>

namespace dyngen::detail {

enum class memory_kind : unsigned { record, frame, block, waiter };
inline constexpr std::size_t frame_alignment = 64;  // of these there are none

/// One for each of Relacy's threads.
inline unsigned thread_number() noexcept { return rl::is_ctx() ? rl::thread_index() : 0; }
inline constexpr unsigned threads_apart = 3;
inline std::uint64_t thread_identity() noexcept { return thread_number(); }
inline std::uint64_t fresh_trace_number() noexcept { return 1; }

namespace model {

inline std::uint64_t last_number = 0;

/// All that was allocated under one schedule. Stored in memory from malloc, which Relacy does not track.
struct arena {
  struct piece {
    piece* before;
    std::size_t bytes;
    bool live;
    alignas(std::max_align_t) std::byte memory[1];
  };

  static inline piece* last = nullptr;
  static inline long live[4] = {};
  static inline void (*freed)(const std::byte* memory, std::size_t bytes) = nullptr;  ///< called before poisoning

  static void clear() {
    while (last != nullptr) std::free(std::exchange(last, last->before));
    for (long& count : live) count = 0;
    last_number = 0;
  }
};

}  // namespace model

struct memory_counter {
  static void add(memory_kind kind, long change) noexcept { model::arena::live[static_cast<unsigned>(kind)] += change; }
};

/// From 1 again in each schedule.
inline std::uint64_t fresh_number() noexcept { return ++model::last_number; }

inline void* allocate(memory_kind kind, std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) {
  RL_ASSERT(alignment <= alignof(std::max_align_t));
  using piece = model::arena::piece;
  auto* const fresh = static_cast<piece*>(std::calloc(1, offsetof(piece, memory) + bytes));
  fresh->before = std::exchange(model::arena::last, fresh);
  fresh->bytes = bytes;
  fresh->live = true;
  ++model::arena::live[static_cast<unsigned>(kind)];
  return fresh->memory;
}

inline void deallocate(memory_kind kind, void* memory, std::size_t bytes,
                       std::size_t alignment = alignof(std::max_align_t)) {
  using piece = model::arena::piece;
  auto* const old = reinterpret_cast<piece*>(static_cast<std::byte*>(memory) - offsetof(piece, memory));
  RL_ASSERT(old->live && old->bytes == bytes && alignment <= alignof(std::max_align_t));
  if (model::arena::freed != nullptr) model::arena::freed(old->memory, bytes);
  old->live = false;
  --model::arena::live[static_cast<unsigned>(kind)];
  model::life::end_all(old->memory, bytes);
  std::memset(old->memory, 0xdd, bytes);
}

inline void* allocate_frame(std::size_t bytes) { return allocate(memory_kind::frame, bytes); }
inline void deallocate_frame(void* frame, std::size_t bytes) {
  deallocate(memory_kind::frame, frame, bytes);
  context().freed_frame = frame;
}
inline void free_frame(void*) noexcept { memory_counter::add(memory_kind::frame, -1); }

}  // namespace dyngen::detail
