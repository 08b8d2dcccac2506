// SPDX-License-Identifier: MIT
#pragma once
// The memory of records, coroutine frames, blocks and waiters: allocate() and deallocate(), with a cache for each
// thread. They count the live pieces for tests. Any thread may deallocate what another thread allocated.
//
// Each thread caches two batches of free pieces of each size. Full and empty batches change hands in a depot, so memory
// that one thread allocates and another one deallocates goes back to the first without a lock for each piece. After
// Bonwick and Adams, Magazines and Vmem (2001).
//
// All objects of a process that contain this library share each thread's cache, its number, and the counts
// (process.hpp). Each object has its own depot; all pieces come from operator new, so they may move between objects. A
// thread never waits for a depot: if another thread has locked the mutex, it calls operator new or delete instead. In a
// child process after fork() that thread may not exist; such a depot is never used again.
//
// [H1] A thread publishes its new cache in the list of all caches (release); other threads find it there (acquire).
// [H2] A thread that ends makes its cache available (release); the thread that gets it next sees it whole (acquire).

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/memory_depot.hpp>
#include <dyngen/detail/base/process.hpp>
#include <dyngen/detail/base/thread_context.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>
#include <utility>

namespace dyngen::detail {

/// The use of a piece of memory.
enum class memory_kind : unsigned { record, frame, block, waiter };
inline constexpr unsigned memory_kinds = 4;

/// Whether deallocated memory is cached. Not under sanitizers, which must see each allocation and deallocation.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool keeps_memory_by_default = false;
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
inline constexpr bool keeps_memory_by_default = false;
#  else
inline constexpr bool keeps_memory_by_default = true;
#  endif
#else
inline constexpr bool keeps_memory_by_default = true;
#endif
inline atomic<bool> keeps_memory{keeps_memory_by_default};

/// Shared by all threads of the process.
struct memories {
  static constexpr std::string_view name_in_process = "memories";

  atomic<thread_memory*> all{nullptr};
  atomic<unsigned> next_number{0};
  atomic<long> elsewhere[memory_kinds]{};  ///< counts of threads without a thread_memory
  atomic<std::uint64_t> last_task{0}, last_thread{0}, last_trace{0};
};

/// A thread's cache and its part of the counts. It outlives the thread and then serves another one.
class thread_memory {
 public:
  /// From 0. No two threads that live at the same time have the same number.
  const unsigned number;
  /// The context's note of the coroutine frame that this thread deallocated last.
  void** freed_frame = nullptr;

  /// The cache of the calling thread. Null if there is no memory for one, or if the thread is ending.
  static thread_memory* here() noexcept {
    thread_memory* const mine = current_;
    return mine != &none_ ? mine : begin();
  }
  /// The cache of the calling thread, or one that has no pieces and takes none.
  static thread_memory& at_hand() noexcept { return *current_; }

  // Fast paths. The slow paths are separate functions, so that these inline to a few instructions for each frame and
  // record.

  /// Null if the cache has no such piece.
  void* take(std::size_t index) noexcept {
    free_piece*& first = shelves_[index].first;
    free_piece* const piece = first;
    free_piece* const next = piece->next;
    if (next == nullptr) [[unlikely]]
      return nullptr;
    first = next;
    return piece;
  }
  void* refill_and_take(std::size_t index) noexcept {
    shelf& s = shelves_[index];
    return s.first->next != nullptr || refill(s, index) ? take(index) : nullptr;
  }
  /// Returns false if the cache is full.
  bool give(void* memory, std::size_t index) noexcept {
    free_piece*& first = shelves_[index].first;
    const std::uint32_t room = first->room;
    if (room == 0) [[unlikely]]
      return false;
    auto* const piece = ::new (memory) free_piece;
    piece->next = first;
    piece->room = room - 1;
    first = piece;
    return true;
  }
  void put_aside_and_give(void* memory, std::size_t index) noexcept {
    if (give(memory, index)) return;
    put_aside(shelves_[index], index);
    (void)give(memory, index);
  }

  void count(memory_kind kind, long change) noexcept {
    atomic<long>& c = counts_[static_cast<unsigned>(kind)];
    // relaxed: only this thread writes it; a thread that compares the sum with 0 has synchronised with this one.
    c.store(c.load(relaxed) + change, relaxed);
  }
  static void count_elsewhere(memory_kind kind, long change) noexcept {
    // relaxed: as in count(), but several threads write.
    process_wide<memories>().elsewhere[static_cast<unsigned>(kind)].fetch_add(change, relaxed);
  }
  static long live(memory_kind kind) noexcept {
    const auto k = static_cast<unsigned>(kind);
    // relaxed: as in count(). acquire: [H1] sees a whole thread_memory.
    const memories& common = process_wide<memories>();
    long sum = common.elsewhere[k].load(relaxed);
    for (const thread_memory* m = common.all.load(acquire); m != nullptr; m = m->next_) sum += m->counts_[k].load(relaxed);
    return sum;
  }

 private:
  /// The free pieces of one size. A piece that the cache takes from another thread may come with that thread's `end`.
  struct shelf {
    free_piece end{nullptr, nullptr, 0};  ///< `next_batch`: another full batch, or null
    free_piece* first = &end;
  };

  constexpr thread_memory() noexcept : number(~0u) {}  // only for none_
  explicit thread_memory(unsigned n) noexcept : number(n) {
    for (std::size_t i = 0; i < size_class::count; ++i) shelves_[i].end.room = size_class::batch(i);
  }

  bool refill(shelf& s, std::size_t index) noexcept {
    free_piece* const aside = std::exchange(s.end.next_batch, nullptr);
    free_piece* const batch = aside != nullptr ? aside : memory_depot::of(index).take();
    if (batch != nullptr) s.first = batch;
    return batch != nullptr;
  }
  void put_aside(shelf& s, std::size_t index) noexcept {
    if (s.end.next_batch != nullptr) memory_depot::of(index).put(s.end.next_batch, index);
    s.end.next_batch = std::exchange(s.first, &s.end);
  }

  DYNGEN_NOINLINE static thread_memory* begin() noexcept {
    thread_context& here = context();
    if (here.memory_over) return nullptr;
    const bool is_new = here.memory == nullptr;
    memories& common = process_wide<memories>();
    if (is_new) here.memory = reuse(common);
    if (here.memory == nullptr) here.memory = add(common);
    if (here.memory == nullptr) return nullptr;
    // When the thread ends, each object resets its pointer; the first object, whose destructor runs last, gives the
    // cache back.
    if (is_new) {
      static thread_local ending at_end;
      (void)at_end;
    } else {
      static thread_local forgetting at_end;
      (void)at_end;
    }
    here.memory->freed_frame = &here.freed_frame;
    // relaxed: a switch for tests, written before other threads exist.
    if (!leaving_ && keeps_memory.load(relaxed)) current_ = here.memory;
    return here.memory;
  }
  static thread_memory* reuse(memories& common) noexcept {
    for (thread_memory* m = common.all.load(acquire); m != nullptr; m = m->next_)  // [H1]
      // [H2] acquire: sees what the previous owner left in the cache. relaxed: only saves the exchange.
      if (!m->used_.load(relaxed) && !m->used_.exchange(true, acquire)) return m;
    return nullptr;
  }
  static thread_memory* add(memories& common) noexcept {
    // relaxed: only the number itself matters; it publishes nothing.
    auto* const fresh = new (std::nothrow) thread_memory(common.next_number.fetch_add(1, relaxed));
    if (fresh == nullptr) return nullptr;
    // relaxed: verified by the exchange. [H1] release: publishes the whole object.
    fresh->next_ = common.all.load(relaxed);
    while (!common.all.compare_exchange_weak(fresh->next_, fresh, release, relaxed)) {
    }
    return fresh;
  }

  /// Its destructor runs when the thread ends, and makes the thread's cache available to others.
  struct ending {
    ~ending() {
      thread_context& here = context();
      here.memory_over = true;
      current_ = &none_;
      thread_memory& mine = *std::exchange(here.memory, nullptr);
      for (std::size_t i = 0; i < size_class::count; ++i) {
        shelf& s = mine.shelves_[i];
        if (s.end.next_batch != nullptr) memory_depot::of(i).put(std::exchange(s.end.next_batch, nullptr), i);
        memory_depot::release(std::exchange(s.first, &s.end), i);
      }
      mine.used_.store(false, release);  // [H2]
    }
  };

  struct forgetting {
    ~forgetting() {
      leaving_ = true;
      current_ = &none_;
    }
  };

  shelf shelves_[size_class::count];
  atomic<long> counts_[memory_kinds]{};
  atomic<bool> used_{true};
  thread_memory* next_ = nullptr;  ///< in the list of all caches, which only grows

  /// For threads without a cache: its shelves stay empty, as there is no room on them.
  static thread_memory none_;
  /// This object's copy of the context's pointer, or none_: also if deallocated memory is not cached.
  static thread_local constinit thread_memory* current_;
  /// Set when the thread ends: from then on use the context's pointer.
  static inline thread_local constinit bool leaving_ = false;
};
inline constinit thread_memory thread_memory::none_;
inline thread_local constinit thread_memory* thread_memory::current_ = &none_;

/// A new number for a task, from 1; never returned twice in the process. fresh_trace_number() has numbers of its own.
inline std::uint64_t fresh_number() noexcept {
  // relaxed, also in fresh_trace_number(): only the number itself matters.
  return process_wide<memories>().last_task.fetch_add(1, relaxed) + 1;
}
inline std::uint64_t fresh_trace_number() noexcept {
  return process_wide<memories>().last_trace.fetch_add(1, relaxed) + 1;
}

/// A number of the calling thread, from 1. It is never given to another thread, not even after this one has ended.
inline std::uint64_t thread_identity() noexcept {
  thread_context& here = context();
  if (here.identity == 0) here.identity = process_wide<memories>().last_thread.fetch_add(1, relaxed) + 1;
  return here.identity;
}

inline constexpr unsigned no_thread_number = ~0u;

/// Arrays with an entry for each thread have this many entries; threads with a higher number share one.
inline constexpr unsigned threads_apart = 40;

/// A small number of the calling thread, which another thread gets after this one has ended; no_thread_number if it has
/// none.
DYNGEN_NOINLINE inline unsigned thread_number() noexcept {
  const thread_memory* const mine = thread_memory::here();
  return mine != nullptr ? mine->number : no_thread_number;
}

/// Counts the live pieces of each kind.
class memory_counter {
 public:
  static long live(memory_kind kind) noexcept { return thread_memory::live(kind); }
  static void add(memory_kind kind, long change) noexcept {
    if (thread_memory* const mine = thread_memory::here())
      mine->count(kind, change);
    else
      thread_memory::count_elsewhere(kind, change);
  }
};

/// A piece from the depot or from operator new, for a thread whose cache has none. Throws std::bad_alloc.
inline void* piece_from_elsewhere(std::size_t index) {
  void* memory = nullptr;
  if (thread_memory* const mine = thread_memory::here()) memory = mine->refill_and_take(index);
  return memory != nullptr ? memory : size_class::make(index);
}

/// Slow path of allocate(): the cache has no such piece.
DYNGEN_NOINLINE inline void* allocate_slowly(memory_kind kind, std::size_t bytes, std::size_t alignment) {
  void* memory = nullptr;
  if (alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__)
    memory = ::operator new(bytes, std::align_val_t(alignment));
  else if (bytes <= size_class::largest)
    memory = piece_from_elsewhere(size_class::of(bytes));
  else
    memory = ::operator new(bytes);
  memory_counter::add(kind, 1);
  return memory;
}

/// Allocates `bytes` bytes aligned to `alignment`, counted as `kind`. Throws std::bad_alloc.
// allocate() and deallocate() are not inlined: a coroutine that calls them again after a suspension may be on another
// thread.
DYNGEN_NOINLINE inline void* allocate(memory_kind kind, std::size_t bytes,
                                        std::size_t alignment = alignof(std::max_align_t)) {
  if (bytes <= size_class::largest && alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) [[likely]] {
    thread_memory& mine = thread_memory::at_hand();
    if (void* const memory = mine.take(size_class::of(bytes))) [[likely]] {
      mine.count(kind, 1);
      return memory;
    }
  }
  return allocate_slowly(kind, bytes, alignment);
}

/// Takes a piece that does not fit into the thread's cache.
inline void give_elsewhere(void* memory, std::size_t index) noexcept {
  thread_memory* const mine = thread_memory::here();
  // relaxed: a switch for tests, written before other threads exist.
  if (mine != nullptr && keeps_memory.load(relaxed))
    mine->put_aside_and_give(memory, index);
  else
    size_class::deallocate(memory, index);
}

/// Slow path of deallocate(): the cache is full.
DYNGEN_NOINLINE inline void deallocate_slowly(memory_kind kind, void* memory, std::size_t bytes,
                                                std::size_t alignment) noexcept {
  memory_counter::add(kind, -1);
  if (alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return ::operator delete(memory, bytes, std::align_val_t(alignment));
  if (bytes > size_class::largest) return ::operator delete(memory, bytes);
  give_elsewhere(memory, size_class::of(bytes));
}

/// Deallocates what allocate() returned for the same kind, bytes and alignment.
DYNGEN_NOINLINE inline void deallocate(memory_kind kind, void* memory, std::size_t bytes,
                                         std::size_t alignment = alignof(std::max_align_t)) noexcept {
  if (bytes <= size_class::largest && alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) [[likely]] {
    thread_memory& mine = thread_memory::at_hand();
    if (mine.give(memory, size_class::of(bytes))) [[likely]]
      return mine.count(kind, -1);
  }
  deallocate_slowly(kind, memory, bytes, alignment);
}

// --- coroutine frames ---

DYNGEN_NOINLINE inline void* allocate_frame_slowly(std::size_t bytes) {
  void* const memory = bytes <= size_class::largest ? piece_from_elsewhere(size_class::of_frame(bytes))
                                                    : ::operator new(bytes, std::align_val_t(frame_alignment));
  memory_counter::add(memory_kind::frame, 1);
  return memory;
}

/// Allocates `bytes` bytes for a coroutine frame. Throws std::bad_alloc. Inlined, as deallocate_frame(), only into the
/// promise's operators, which are not inlined.
DYNGEN_ALWAYS_INLINE inline void* allocate_frame(std::size_t bytes) {
  if (bytes <= size_class::largest) [[likely]] {
    thread_memory& mine = thread_memory::at_hand();
    if (void* const memory = mine.take(size_class::of_frame(bytes))) [[likely]] {
      mine.count(memory_kind::frame, 1);
      return memory;
    }
  }
  return allocate_frame_slowly(bytes);
}

DYNGEN_NOINLINE inline void deallocate_frame_slowly(void* frame, std::size_t bytes) noexcept {
  memory_counter::add(memory_kind::frame, -1);
  context().freed_frame = frame;
  if (bytes > size_class::largest) return ::operator delete(frame, bytes, std::align_val_t(frame_alignment));
  give_elsewhere(frame, size_class::of_frame(bytes));
}

/// Deallocates what allocate_frame() returned for the same number of bytes.
DYNGEN_ALWAYS_INLINE inline void deallocate_frame(void* frame, std::size_t bytes) noexcept {
  if (bytes <= size_class::largest) [[likely]] {
    thread_memory& mine = thread_memory::at_hand();
    if (mine.give(frame, size_class::of_frame(bytes))) [[likely]] {
      *mine.freed_frame = frame;
      return mine.count(memory_kind::frame, -1);
    }
  }
  deallocate_frame_slowly(frame, bytes);
}

/// Deallocates a frame whose size is not known.
inline void free_frame(void* frame) noexcept {
  memory_counter::add(memory_kind::frame, -1);
  ::operator delete(frame, std::align_val_t(frame_alignment));
}

}  // namespace dyngen::detail
