// SPDX-License-Identifier: MIT
#pragma once
// Coroutine frames: where their memory comes from, and how they are destroyed.
//
// A task that another coroutine awaits frees its frame at its end; what is left of it is its outcome, which stands in
// the frame of the awaiting coroutine. All other frames are destroyed by their owner.
//
// A local whose destructor throws makes destroy() return with the frame alive (g++ 12, clang 14 and 19 alike): the
// coroutine is at its final suspend point, or at a co_yield that its body has reached. It is then destroyed again,
// until the frame is gone, and the exception is kept. A parameter whose destructor throws makes destroy() or resume()
// throw; g++ 12 then leaves the frame's memory, and the parameters that follow.
//
// Coroutines that run one inside another form a chain: the outermost has the driver, whose loop resumes the innermost.
// They are destroyed in one loop, the innermost first, as each may use what is in the frames around it.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/memory.hpp>
#include <dyngen/detail/base/thread_context.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

/// Stands beside a frame that is being destroyed; its promise points to it meanwhile.
struct frame_destruction {
  std::exception_ptr thrown;
  bool alive = false;  ///< the frame has suspended again instead of going away
};

struct frame_promise;
struct sink_base;

/// What a coroutine leaves behind. The code that runs the coroutine has it, outside the coroutine's frame.
struct coroutine_outcome {
  std::exception_ptr thrown;
  sink_base* driver = nullptr;  ///< of the coroutine
  void* place = nullptr;    ///< where to construct the result, if it has one
  bool has_result = false;  ///< the result is constructed
  bool frees_frame = false; ///< the coroutine frees its frame at its end
  bool is_child = false;    ///< the coroutine is one of the awaiting coroutine's `children` (sink.hpp)
  bool ended = false;       ///< set if it frees its frame

  void rethrow() {
    if (thrown) [[unlikely]]
      std::rethrow_exception(std::exchange(thrown, nullptr));
  }
};

/// Is a parameter of this type placed as it wants to be? A reference is, and so is a value if frames are aligned so. A
/// lambda is incomplete while its own operator() is looked at.
template <class Parameter>
constexpr bool is_placed_well() {
  if constexpr (std::is_object_v<Parameter> && requires { sizeof(Parameter); })
    return alignof(Parameter) <= frame_alignment;
  else
    return true;
}
template <class... Parameters>
constexpr bool check_parameters() {
  static_assert((is_placed_well<Parameters>() && ...),
                "dyngen: a parameter of this coroutine requires an alignment above 64 bytes, and compilers cannot "
                "align it so in a coroutine; pass it by reference, or as a std::unique_ptr");
  return true;
}
template <class T>
constexpr bool check_values() {
  if constexpr (std::is_object_v<T>)
    static_assert(alignof(T) <= frame_alignment,
                  "dyngen: values of this type require an alignment above 64 bytes, and compilers cannot align them so "
                  "in a coroutine; use a std::unique_ptr");
  return true;
}

/// Room for a T in a coroutine's frame, which compilers align no better than ordinary memory.
template <class T>
class frame_storage {
  static constexpr std::size_t ordinary = 16;
  static constexpr bool over_aligned = alignof(T) > ordinary;

 public:
  void* place() noexcept {
    if constexpr (!over_aligned) return bytes_;
    const auto at = reinterpret_cast<std::uintptr_t>(bytes_);
    return bytes_ + ((alignof(T) - at % alignof(T)) % alignof(T));
  }

 private:
  alignas(over_aligned ? ordinary : alignof(T)) std::byte bytes_[sizeof(T) + (over_aligned ? alignof(T) - ordinary : 0)];
};

/// Holds one coroutine: what generator, tuple_generator and task are made of.
class frame_owner {
 public:
  frame_owner() = default;
  explicit frame_owner(frame_promise& frame) noexcept : frame_(&frame) {}
  frame_owner(frame_owner&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  frame_owner& operator=(frame_owner&& other) noexcept {
    std::swap(frame_, other.frame_);
    return *this;
  }
  ~frame_owner() {
    if (frame_ != nullptr) destroy(nullptr);
  }

  frame_promise* get() const noexcept { return frame_; }
  frame_promise* release() noexcept { return std::exchange(frame_, nullptr); }
  void adopt(frame_promise& frame) noexcept { frame_ = &frame; }
  /// Destroys it, and what runs inside it. An exception that a local throws meanwhile goes to `report_to`.
  void destroy(sink_base* report_to) noexcept;

 private:
  frame_promise* frame_ = nullptr;
};

/// Base of all promises: counted frames, and nothing in them that wants more than ordinary alignment.
struct frame_promise {
  // Not inlined, both: g++ warns of a mismatch to the user when it sees into one of them only.
  DYNGEN_NOINLINE static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
  DYNGEN_NOINLINE static void operator delete(void* frame, std::size_t bytes) noexcept {
    deallocate_frame(frame, bytes);
  }

  frame_destruction* destruction = nullptr;
  std::coroutine_handle<> self;
  coroutine_outcome* outcome = nullptr;  ///< set before the first resume
  // Null while the coroutine runs in a direct call from the one that awaits it.
  frame_promise* outer = nullptr;   ///< the coroutine inside which this one runs
  frame_promise* inner = nullptr;   ///< the one that runs inside this one
  frame_owner* owner;               ///< the owner of this one, if `outer` is set

  /// Called before the first resume.
  void run_by(sink_base& by, coroutine_outcome& to) noexcept {
    to.driver = &by;
    outcome = &to;
  }
  /// What resumes the whole chain, once the coroutine has begun.
  sink_base* driver() const noexcept { return outcome->driver; }
  sink_base* driver_if_begun() const noexcept { return outcome != nullptr ? outcome->driver : nullptr; }
  void unhandled_exception() noexcept {
    if (destruction == nullptr) {
      outcome->thrown = std::current_exception();
    } else {
      destruction->thrown = std::current_exception();
      destruction->alive = true;
    }
  }

  /// For every suspension point: true while the frame is being destroyed, when nothing may be done but suspend.
  bool being_destroyed() noexcept {
    if (destruction == nullptr) return false;
    destruction->alive = true;
    return true;
  }
};

// clang 19 spills an over-aligned parameter whose address is not taken right behind the promise, aligned no better than
// its members, and then accesses it with aligned instructions. In front of the promise are 16 bytes.
static_assert(sizeof(void*) != 8 || (16 + sizeof(frame_promise)) % frame_alignment == 0);

/// Called after destroy() or resume() has thrown what a parameter's destructor threw; before the call, the context's
/// `freed_frame` was reset.
inline void free_if_left(thread_context& here, void* frame) noexcept {
  if (here.freed_frame != frame) free_frame(frame);
}

/// Destroys one frame for good. Returns an exception that one of its locals threw.
inline std::exception_ptr destroy_frame(frame_promise& promise) noexcept {
  frame_destruction watch;
  promise.destruction = &watch;
  const std::coroutine_handle<> frame = promise.self;
  thread_context& here = context();
  do {
    watch.alive = false;
    here.freed_frame = nullptr;
    try {
      frame.destroy();
    } catch (...) {
      watch.thrown = std::current_exception();  // by a parameter: the frame is gone
    }
  } while (watch.alive);
  if (watch.thrown) [[unlikely]]
    free_if_left(here, frame.address());
  return watch.thrown;
}

}  // namespace dyngen::detail
