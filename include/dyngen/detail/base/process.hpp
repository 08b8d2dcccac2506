// SPDX-License-Identifier: MIT
#pragma once
// Things that exist once per process or once per thread, even if several loaded objects (the executable, shared
// objects, plugins) contain this library. Below, an "instance" is such a thing, and an "object" is a loaded object.
//
// An inline variable does not suffice: an object has its own copy if the symbol is hidden, if the object is a plugin of
// an executable that exports nothing (no -rdynamic), or if it was opened with RTLD_LOCAL or linked with -Bsymbolic. So
// this header does not rely on symbols. On ELF systems each object has a pointer to each instance, and a note for it: a
// record in a loaded segment with the type of the instance and the location of the pointer. The first use in an object
// walks the notes of all loaded objects. If one of their pointers is set, the object copies that pointer. If none is
// set, the object creates the instance and stores its address in the pointer of the first object that has a note. After
// that the object uses its own pointer, so only its first use is slow.
//
// [G1] A compare-exchange (release) on the pointer of the first object that has a note publishes the instance, and an
//      acquire load finds it. Two objects that search at the same time agree on the first object: the list of loaded
//      objects grows only at its end, and an object is not unloaded while one of its functions runs.
//
// An instance of the process is in memory from malloc, contains no pointer to code, and is neither freed nor destroyed,
// because two kinds of users may need it later: threads and static objects that outlive main(), and objects that stay
// loaded when the object that created it is unloaded. An instance of a thread is in the thread-local storage of the
// object that used it first on that thread; the other objects find it by a pthread key. A thread-local destructor keeps
// that object loaded until the thread ends.
//
// In a child process after fork() only the thread that called fork() exists, and it finds each instance as the other
// threads left it at that moment. A type for which this matters has a member after_fork(), which initializes the
// instance anew. It runs in the child before fork() returns, at least once; each object registers a handler, which is
// removed when the object is unloaded.
//
// Two objects share instances if they were compiled with the same version of this library and with the same C++
// standard library; the type in the note covers both. Objects that differ must not pass pools or handles to each other.
// Without ELF an instance exists once for each copy of its symbol, which has default visibility.

#include <dyngen/detail/base/compiler.hpp>

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

/// The type of an instance in the notes: an FNV-1a hash of everything that must be equal in two objects.
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

/// An object's pointer to an instance.
using shared_word = std::atomic<void*>;

#if defined(__ELF__)

// The declarations of <link.h> under other names: that header would bring the macros of <elf.h> into every program.
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

  /// Returns the instance to which one of the objects points. If none does, publishes `fresh` in the first object that
  /// has a note, and returns it. Returns null if no object has a note.
  static void* find_or_publish(std::uint32_t type, void* fresh) noexcept {
    search look{type, nullptr, nullptr};
    dyngen_iterate_objects(&visit_object, &look);
    if (look.found != nullptr || look.first == nullptr) return look.found;
    // [G1] release: publishes the whole instance; acquire: another object has published one in the meantime.
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

/// The only T of the process. T has a static member `name_in_process`.
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

  DYNGEN_NOINLINE static T& find() noexcept {
    void* const memory = std::malloc(sizeof(T));
    T* const fresh = memory != nullptr ? ::new (memory) T() : without_memory();
    void* all = nullptr;
#if defined(__ELF__)
    leave_note();
    all = shared_notes::find_or_publish(shared_type::of(T::name_in_process, sizeof(T)), fresh);
#endif
    void* mine = nullptr;
    // [G1] as in find_or_publish(). If word_ is set already, its instance counts: the one in `all`, or, without notes,
    // the one that another thread created.
    if (word_.compare_exchange_strong(mine, all != nullptr ? all : fresh, std::memory_order_acq_rel, std::memory_order_acquire))
      mine = all != nullptr ? all : fresh;
    if (mine != memory) std::free(memory);
#if defined(__ELF__)
    if constexpr (requires(T& thing) { thing.after_fork(); })
      pthread_atfork(nullptr, nullptr, [] { get().after_fork(); });  // if out of memory: no handler
#endif
    return *static_cast<T*>(mine);
  }

  DYNGEN_NOINLINE static T* without_memory() noexcept {
    static T spare;
    return &spare;
  }

#if defined(__ELF__)
  /// Puts the note for shared_notes into the object. Called only so that the linker keeps the note.
  DYNGEN_NOINLINE static void leave_note() noexcept {
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
  [[gnu::visibility("hidden")]] static inline constinit shared_word word_{nullptr};  // hidden: each object has one
#else
  [[gnu::visibility("default")]] static inline constinit shared_word word_{nullptr};
#endif
};

template <class T>
DYNGEN_ALWAYS_INLINE inline T& process_wide() noexcept {
  return process_wide_thing<T>::get();
}

/// The only T of the calling thread. T is constinit and trivially destructible, and has a static member
/// `name_in_process`.
template <class T>
class thread_wide_thing {
 public:
  // Not inlined: a coroutine may continue on another thread after a suspension, and the compiler must not reuse the
  // address from before.
  DYNGEN_NOINLINE static T& get() noexcept {
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

  DYNGEN_NOINLINE static T& find() noexcept {
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
    // relaxed: only the number itself matters.
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
  /// Keeps the object loaded until the thread ends: the runtime does not unload an object with a pending thread-local
  /// destructor.
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
DYNGEN_ALWAYS_INLINE inline T& thread_wide() noexcept {
  return thread_wide_thing<T>::get();
}

}  // namespace dyngen::detail
