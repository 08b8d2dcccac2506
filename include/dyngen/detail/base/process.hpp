// SPDX-License-Identifier: MIT
#pragma once
// What exists once in a process, or once in each thread of it, even if several objects of the process (the executable,
// shared objects, plugins) contain this library.
//
// An inline variable does not: an object has a copy of its own if the symbol is hidden, if it is a plugin of an executable
// that exports nothing (no -rdynamic), if it was opened with RTLD_LOCAL, or linked with -Bsymbolic. So no symbol is relied
// on. On ELF systems each object carries a note for each such thing: a record in a loaded segment that tells the type of
// the thing, and where the object keeps its pointer to it. The first use in an object walks the notes of all loaded
// objects. It takes the pointer that it finds in one of them; if there is none, it makes the thing and publishes it in the
// first of these objects. The object keeps the pointer, so only its first use is slow.
//
// [G1] A compare-exchange (release) on the word of the first object that has a note publishes the thing, and an acquire
//      load finds it. Two objects that search at the same time agree on the first one: the list of loaded objects grows at
//      its end only, and an object is not unloaded while one of its functions runs.
//
// A thing of the process stands in memory of malloc's, contains no pointer to code, and is neither freed nor destroyed:
// threads and static objects that outlive main() may use it, and so may the objects that stay when the one that made it is
// unloaded. What belongs to a thread stands in the thread-local storage of the object that used it first on that thread;
// the others find it by a pthread key. A thread-local destructor keeps that object loaded until the thread ends.
//
// In a child process after fork() only the thread that called it exists, and what it finds is as the others left it in that
// moment. A thing for which this matters has a member after_fork(), which makes it anew. It runs in the child before fork()
// returns, at least once, by a handler that the object takes with it when it is unloaded.
//
// Two objects share these things if they were compiled with the same version of this library and with the same C++
// standard library: the type in the note covers both. Objects that differ may not hand pools or handles to each other.
// Without ELF a thing exists once for each copy of its symbol, which has default visibility.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>

#if defined(__ELF__)
#  include <pthread.h>
#endif

namespace dyngen::detail {

inline constexpr std::array<int, 3> library_version{0, 1, 0};

/// A thing of the process or of a thread, as the notes call it: FNV-1a of all that must be the same in two objects.
struct shared_type {
  static constexpr std::uint32_t of(std::string_view name, std::size_t size) noexcept {
    std::uint32_t hash = 2166136261u;
    for (const char c : name) hash = add(hash, static_cast<unsigned char>(c));
    for (const int part : library_version) hash = add(hash, static_cast<std::size_t>(part));
#if defined(_GLIBCXX_USE_CXX11_ABI)
    hash = add(hash, 1 + _GLIBCXX_USE_CXX11_ABI);
#elif defined(_LIBCPP_ABI_VERSION)
    hash = add(hash, 10 + _LIBCPP_ABI_VERSION);
#endif
    return add(add(hash, size), sizeof(std::string));
  }

 private:
  static constexpr std::uint32_t add(std::uint32_t hash, std::size_t value) noexcept {
    return (hash ^ static_cast<std::uint32_t>(value)) * 16777619u;
  }
};

/// An object's pointer to the thing of one type.
using shared_word = std::atomic<void*>;

#if defined(__ELF__)

// What <link.h> declares, under other names: it would bring the macros of <elf.h> into every program.
struct loaded_segment {
  static constexpr std::uint32_t note = 4;

  std::uint32_t type;
#  if __SIZEOF_POINTER__ == 8
  std::uint32_t flags;
#  endif
  std::uintptr_t offset, address, physical_address, file_size, size;
#  if __SIZEOF_POINTER__ != 8
  std::uint32_t flags;
#  endif
  std::uintptr_t alignment;
};
struct loaded_object {
  std::uintptr_t base;
  const char* name;
  const loaded_segment* segments;
  std::uint16_t segment_count;
};
extern "C" int dyngen_iterate_objects(int (*visit)(loaded_object*, std::size_t, void*), void*) __asm__("dl_iterate_phdr");

/// The notes of this library in all loaded objects.
class shared_notes {
 public:
  static constexpr char owner[12] = "dyngen once";

  /// The thing that one of the objects has. If none has one: `fresh`, and now the first of them has it. Null if no object
  /// has a note.
  static void* find_or_publish(std::uint32_t type, void* fresh) noexcept {
    search look{type, nullptr, nullptr};
    dyngen_iterate_objects(&visit_object, &look);
    if (look.found != nullptr || look.first == nullptr) return look.found;
    // [G1] release: publishes it whole; acquire: another object has published one meanwhile.
    return look.first->compare_exchange_strong(look.found, fresh, std::memory_order_release, std::memory_order_acquire)
               ? fresh
               : look.found;
  }

 private:
  struct search {
    std::uint32_t type;
    shared_word* first;
    void* found;
  };
  struct header {
    std::uint32_t owner_size, content_size, type;
  };

  static int visit_object(loaded_object* object, std::size_t, void* data) noexcept {
    auto& look = *static_cast<search*>(data);
    for (std::uint16_t i = 0; i < object->segment_count && look.found == nullptr; ++i) {
      const loaded_segment& segment = object->segments[i];
      if (segment.type == loaded_segment::note)
        visit_segment(reinterpret_cast<const char*>(object->base + segment.address), segment.size,
                      segment.alignment == 8 ? 8 : 4, look);
    }
    return look.found != nullptr ? 1 : 0;
  }
  static void visit_segment(const char* at, std::size_t left, std::size_t alignment, search& look) noexcept {
    const auto aligned = [alignment](std::size_t n) noexcept { return (n + alignment - 1) / alignment * alignment; };
    while (left > sizeof(header) && look.found == nullptr) {
      header note;
      std::memcpy(&note, at, sizeof note);
      const std::size_t content = aligned(sizeof note + note.owner_size);
      const std::size_t end = aligned(content + note.content_size);
      if (content + note.content_size > left) return;
      if (note.type == look.type && note.owner_size == sizeof owner && note.content_size == sizeof(std::intptr_t) &&
          std::memcmp(at + sizeof note, owner, sizeof owner) == 0)
        visit_word(at + content, look);
      if (end >= left) return;
      at += end;
      left -= end;
    }
  }
  static void visit_word(const char* content, search& look) noexcept {
    std::intptr_t distance;
    std::memcpy(&distance, content, sizeof distance);
    auto* const word = reinterpret_cast<shared_word*>(reinterpret_cast<std::intptr_t>(content) + distance);
    look.found = word->load(std::memory_order_acquire);  // [G1]
    if (look.first == nullptr) look.first = word;
  }
};

#endif

/// The one T of the process. T has a static member `name_in_process`.
template <class T>
class process_wide_thing {
 public:
  static T& get() noexcept {
    void* const known = word_.load(std::memory_order_acquire);  // [G1]
    if (known != nullptr) [[likely]]
      return *static_cast<T*>(known);
    return find();
  }

 private:
  static_assert(alignof(T) <= alignof(std::max_align_t));

  [[gnu::noinline]] static T& find() noexcept {
    void* const memory = std::malloc(sizeof(T));
    T* const fresh = memory != nullptr ? ::new (memory) T() : without_memory();
    void* all = nullptr;
#if defined(__ELF__)
    leave_note();
    all = shared_notes::find_or_publish(shared_type::of(T::name_in_process, sizeof(T)), fresh);
#endif
    void* mine = nullptr;
    // [G1] as in find_or_publish(). Another thread may have been here before: then it has the same, or that one counts.
    if (word_.compare_exchange_strong(mine, all != nullptr ? all : fresh, std::memory_order_acq_rel, std::memory_order_acquire))
      mine = all != nullptr ? all : fresh;
    if (mine != memory) std::free(memory);
#if defined(__ELF__)
    if constexpr (requires(T& thing) { thing.after_fork(); })
      pthread_atfork(nullptr, nullptr, [] { get().after_fork(); });  // if there is no memory for it, without
#endif
    return *static_cast<T*>(mine);
  }

  [[gnu::noinline]] static T* without_memory() noexcept {
    static T spare;
    return &spare;
  }

#if defined(__ELF__)
  /// Is called, so that it is not left out. What it leaves in the object is for shared_notes.
  [[gnu::noinline]] static void leave_note() noexcept {
    asm volatile(
        ".pushsection .note.dyngen,\"a\",%%note\n\t"
        ".balign 4\n\t"
        ".long 12, %c2, %c1\n\t"
        ".asciz \"dyngen once\"\n\t"
#  if __SIZEOF_POINTER__ == 8
        ".quad %c0 - .\n\t"
#  else
        ".long %c0 - .\n\t"
#  endif
        ".popsection"
        :
        : "i"(&word_), "i"(static_cast<std::int32_t>(shared_type::of(T::name_in_process, sizeof(T)))),
          "i"(sizeof(std::intptr_t)));
  }
  [[gnu::visibility("hidden")]] static inline constinit shared_word word_{nullptr};  // hidden: one for each object
#else
  [[gnu::visibility("default")]] static inline constinit shared_word word_{nullptr};
#endif
};

template <class T>
[[gnu::always_inline]] inline T& process_wide() noexcept {
  return process_wide_thing<T>::get();
}

/// The one T of the calling thread. T is constinit and trivially destructible, and has a static member `name_in_process`.
template <class T>
class thread_wide_thing {
 public:
  // Not inlined: a coroutine that calls it again after a suspension may be on another thread.
  [[gnu::noinline]] static T& get() noexcept {
    if (known_ != nullptr) [[likely]]
      return *known_;
    return find();
  }

 private:
  static_assert(std::is_trivially_destructible_v<T>);

#if defined(__ELF__)
  struct place {
    static constexpr std::string_view name_in_process = T::name_in_process;
    std::atomic<std::uint64_t> key{0};  ///< 1 + the pthread key, once there is one
  };

  [[gnu::noinline]] static T& find() noexcept {
    known_ = &own_;
    pthread_key_t key{};
    if (!key_of_all(key)) return own_;
    if (void* const shared = pthread_getspecific(key))
      known_ = static_cast<T*>(shared);
    else if (pthread_setspecific(key, &own_) == 0)
      stay_loaded();
    return *known_;
  }
  static bool key_of_all(pthread_key_t& key) noexcept {
    std::atomic<std::uint64_t>& shared = process_wide<place>().key;
    // relaxed: the number stands for itself.
    std::uint64_t value = shared.load(std::memory_order_relaxed);
    if (value == 0) {
      if (pthread_key_create(&key, nullptr) != 0) return false;
      if (shared.compare_exchange_strong(value, std::uint64_t{1} + key, std::memory_order_relaxed,
                                         std::memory_order_relaxed))
        return true;
      pthread_key_delete(key);
    }
    key = static_cast<pthread_key_t>(value - 1);
    return true;
  }
  /// As long as a thread-local destructor of an object is to be called, the object stays.
  static void stay_loaded() noexcept {
    struct pin {
      ~pin() { asm volatile("" : : "r"(this) : "memory"); }
    };
    static thread_local pin at_end;
    (void)at_end;
  }
#else
  static T& find() noexcept { return *(known_ = &own_); }
#endif

  static inline thread_local constinit T* known_ = nullptr;
  static inline thread_local constinit T own_{};
};

template <class T>
[[gnu::always_inline]] inline T& thread_wide() noexcept {
  return thread_wide_thing<T>::get();
}

}  // namespace dyngen::detail
