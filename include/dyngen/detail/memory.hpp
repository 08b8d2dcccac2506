// SPDX-License-Identifier: MIT
#pragma once
// Where records, coroutine frames and blocks come from: one pair of functions, which also counts what is alive, so
// that a test can say that nothing was left behind. Any thread may free what another one allocated.

#include <dyngen/detail/atomic.hpp>

#include <cstddef>
#include <new>

namespace dyngen::detail {

/// What a piece of memory is for.
enum class memory_kind : unsigned { record, frame, block, waiter };
inline constexpr unsigned memory_kinds = 4;

/// A number of this thread's own, from 0 in order of first use; picks a shard in counters that many threads write.
[[gnu::noinline]] inline unsigned thread_number() noexcept {
  static atomic<unsigned> next{0};
  // relaxed: only the number itself matters, it publishes nothing.
  thread_local const unsigned number = next.fetch_add(1, relaxed);
  return number;
}

inline constexpr unsigned shard_count = 16;

class memory_counter {
 public:
  static void add(memory_kind kind, long change) noexcept {
    // relaxed: a statistic; whoever compares it with 0 has joined or synchronised with the threads that changed it.
    shard().counts[static_cast<unsigned>(kind)].fetch_add(change, relaxed);
  }

  static long live(memory_kind kind) noexcept {
    long sum = 0;
    // relaxed: as above.
    for (auto& s : shards_) sum += s.counts[static_cast<unsigned>(kind)].load(relaxed);
    return sum;
  }

 private:
  struct alignas(cache_line) shard_type {
    atomic<long> counts[memory_kinds];  // zero
  };
  static shard_type& shard() noexcept { return shards_[thread_number() % shard_count]; }
  static inline shard_type shards_[shard_count];
};

/// `bytes` of memory aligned to `alignment`, counted under `kind`. Throws std::bad_alloc.
inline void* allocate(memory_kind kind, std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) {
  void* memory = alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__ ? ::operator new(bytes, std::align_val_t(alignment))
                                                               : ::operator new(bytes);
  memory_counter::add(kind, 1);
  return memory;
}

/// Gives back what allocate() returned for the same kind, bytes and alignment.
inline void deallocate(memory_kind kind, void* memory, std::size_t bytes,
                       std::size_t alignment = alignof(std::max_align_t)) noexcept {
  memory_counter::add(kind, -1);
  if (alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__)
    ::operator delete(memory, bytes, std::align_val_t(alignment));
  else
    ::operator delete(memory, bytes);
}

}  // namespace dyngen::detail
