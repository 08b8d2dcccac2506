// SPDX-License-Identifier: MIT
#pragma once
// What a generator's promise knows of the world: a place to construct the next value in, and whether it may go on
// after it. Behind it stands a return buffer of one of the two shapes, or the thread that iterates the generator.
// All of it belongs to the one thread that runs the coroutine at the moment.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/coroutine/frame.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/run_loop.hpp>
#include <dyngen/detail/task/shared_budget.hpp>
#include <dyngen/detail/value/fixed_buffer.hpp>
#include <dyngen/detail/value/segmented_buffer.hpp>

#include <concepts>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

/// A return buffer, as a task's producer sees it.
template <class B, class T>
concept return_buffer = requires(B& buffer, const B& constant) {
  { buffer.place() } -> std::same_as<void*>;
  { constant.made() } -> std::same_as<std::uint64_t>;
};

static_assert(return_buffer<fixed_buffer, int> && return_buffer<segmented_buffer<int>, int>);

/// The children that a coroutine awaits together, in the coroutine's frame. Some may run as tasks beside it, and may use
/// objects in its frame: so the coroutine, if it is cancelled, ends after them.
class child_tasks {
 public:
  /// Runs the coroutine's next step when the loop comes to it: sets what the loop resumes next, and why.
  virtual void advance() noexcept = 0;
  /// Asks the children that run as tasks to stop. Takes back those that are offered.
  virtual void give_up() noexcept = 0;
  /// Returns the slot that one of the children that run as tasks will publish at its end. Null if there is none.
  virtual slot* running() noexcept = 0;

  child_tasks* outer = nullptr;  ///< of the coroutine that awaits this one

 protected:
  ~child_tasks() = default;
};

struct sink_base {
  /// For a coroutine that is iterated in place.
  sink_base() noexcept : task(nullptr), flags(&no_flags_), host_cancels(&never_), host(nullptr) {}
  explicit sink_base(task_record& t) noexcept
      : task(&t), flags(&t.state().flags()), host_cancels(&t.host().cancelling_flag()), host(&t.host()) {}

  std::coroutine_handle<> leaf;         ///< what to resume: the innermost of nested coroutines; null: advance `children`
  task_record* const task;              ///< null when iterated in place
  const atomic<std::uint32_t>* const flags;    ///< of the task
  const atomic<bool>* const host_cancels;      ///< the host cancels all of its tasks
  const task_host* const host;                 ///< of the task
  atomic<std::uintptr_t>* window_limit = nullptr;  ///< of a stream or list (segmented_buffer.hpp)
  /// If not null, each value goes there, and the coroutine suspends after it; the code that resumed it does the rest.
  void* single_place = nullptr;
  thread_wait* awaited = nullptr;       ///< what the innermost one waits for
  child_tasks* children = nullptr;      ///< of the innermost coroutine that has some
  thread_wait* child_end = nullptr;     ///< cancelled, it waits for one of them
  std::uint64_t stop_at = 0;            ///< suspend when so many values are stored
  const atomic<std::uint32_t>* slice_over = &no_time_slice;  ///< of the thread that runs the coroutine
  std::uint64_t skipped = 0;            ///< values dropped because nobody will take them, or as an earlier attempt stored them
  std::uint64_t replay = 0;             ///< how many values of earlier attempts are still to be skipped
  step why = step::paused;              ///< the coroutine came back from resume()
  bool pending = false;                 ///< the value at place() waits for its budget
  std::exception_ptr destroyed_with;    ///< thrown by a local of a nested generator while it was destroyed

  /// Runs the coroutine until it has stored `stop_at` values, has ended, or was refused a value.
  step drive() {
    why = step::paused;
    resume_leaf();
    return go_on();
  }
  /// As drive(), after resume_leaf().
  step go_on() {
    while (why == step::hop) {  // a loop, not a transfer: nesting of any depth takes constant stack
      why = step::paused;
      resume_leaf();
    }
    return why;
  }

  void resume_leaf() noexcept {
    const std::coroutine_handle<> frame = leaf;
    if (!frame) [[unlikely]]
      return children->advance();
    try {
      frame.resume();
    } catch (...) {
      frame_threw(frame, std::current_exception());
    }
  }
  /// A coroutine that frees its frame has ended, and the destructor of a parameter threw.
  void frame_threw(std::coroutine_handle<> frame, std::exception_ptr thrown) noexcept;

  /// Is its time slice over, so that it suspends where it can?
  // relaxed: as slice_is_over().
  bool time_is_up() const noexcept { return slice_over->load(relaxed) != 0; }

  /// By a handle, or with all of its host.
  // relaxed, both: a late look is as good as the other thread having asked later.
  DYNGEN_ALWAYS_INLINE bool cancelled() const noexcept {
    return (flags->load(relaxed) & state_word::cancelled) != 0 || host_cancels->load(relaxed);
  }

  /// Cancelled: asks all children to stop.
  childrens_end end_children() noexcept {
    if (child_end != nullptr && !child_end->satisfied()) return {.wait = child_end};
    if (child_end != nullptr) std::exchange(child_end, nullptr)->leave();
    for (child_tasks* c = children; c != nullptr; c = c->outer) c->give_up();
    for (child_tasks* c = children; c != nullptr; c = c->outer) {
      slot* const end = c->running();
      if (end == nullptr) continue;
      const wait_point point = point_of(*end);
      try {
        child_end = thread_wait::start(&point, 1, 1, task);
      } catch (const std::bad_alloc&) {
      }
      if (child_end != nullptr) return {.wait = child_end};
      // Nobody would tell this task, and perhaps it is this very thread that keeps the child from being run.
      static_cast<task_record&>(*slot_group::of(*end).owner).end_queued();
      return {.no_memory = true};
    }
    return {};
  }

  /// A value is skipped. Whether to come back: now and then, so that an endless generator does not keep its worker.
  bool note_skipped() noexcept { return ++skipped % 64 == 0 || time_is_up(); }
  /// The same for one that an earlier attempt has stored.
  bool note_replayed() noexcept {
    if (--replay == 0) task->state().clear(state_word::replaying);
    return note_skipped();
  }

 private:
  static inline constinit atomic<std::uint32_t> no_flags_{0};
  static inline constinit atomic<bool> never_{false};
};

/// An exception that left a frame while it was destroyed goes to the task, if there is one.
DYNGEN_NOINLINE inline void note_destruction(std::exception_ptr thrown, sink_base* to) noexcept {
  if (to != nullptr && !to->destroyed_with)
    to->destroyed_with = std::move(thrown);
  else if (to != nullptr && to->task != nullptr)
    to->task->report(std::move(thrown));  // one more
  else
    print_unhandled(std::move(thrown), "(a coroutine that was not submitted)");
}
/// The same if there was one.
DYNGEN_ALWAYS_INLINE inline void report_destruction(std::exception_ptr&& thrown, sink_base* to) noexcept {
  if (thrown) [[unlikely]]
    note_destruction(std::move(thrown), to);
}

DYNGEN_NOINLINE inline void sink_base::frame_threw(std::coroutine_handle<> frame, std::exception_ptr thrown) noexcept {
  free_if_left(context(), frame.address());
  note_destruction(std::move(thrown), this);
}

DYNGEN_NOINLINE inline void frame_owner::destroy(sink_base* report_to) noexcept {
  frame_promise* const mine = std::exchange(frame_, nullptr);
  // A co_yield looks whether its frame is being destroyed only if it has no place for the value. The coroutine around
  // these frames may go on, and then needs its single place again.
  sink_base* const driver = mine->driver_if_begun();
  void* const single_place = driver != nullptr ? std::exchange(driver->single_place, nullptr) : nullptr;
  if (driver != nullptr && driver->window_limit != nullptr) driver->window_limit->store(0, seq_cst);
  frame_promise* innermost = mine;
  while (innermost->inner != nullptr) innermost = innermost->inner;
  for (frame_promise* next = innermost; next != nullptr;) {
    frame_promise* const outer = next == mine ? nullptr : next->outer;
    if (outer != nullptr) {
      next->owner->frame_ = nullptr;
      outer->inner = nullptr;
    }
    report_destruction(destroy_frame(*next), report_to);
    next = outer;
  }
  if (single_place != nullptr) driver->single_place = single_place;
}

/// Constructs a T at `place` from one value, without the warnings that its user has or has not asked for elsewhere.
template <class T, class U>
void construct(void* place, U&& value) {
  if constexpr (std::is_arithmetic_v<T>)
    ::new (place) T(static_cast<T>(std::forward<U>(value)));
  else
    ::new (place) T(std::forward<U>(value));
}

/// Room for a value that is built and dropped.
template <class T>
class scratch {
 public:
  void* place() noexcept { return bytes_; }
  void destroy(task_record& task) noexcept { destroy_reporting(*std::launder(reinterpret_cast<T*>(bytes_)), task); }

 private:
  alignas(T) std::byte bytes_[sizeof(T)];
};

/// What a co_yield should do before it constructs anything, if it may not simply go on.
enum class permission { construct, charge, replay, skip, suspend };

/// Where the values of a generator<T> go. As long as its window is open, a co_yield fills the next place in it;
/// everything else is done by ask(), place() and commit().
template <class T>
class sink : public sink_base {
 public:
  sink(fixed_buffer& b, task_record& t) noexcept : sink_base(t), fixed_(&b) {}
  sink(segmented_buffer<T>& b, task_record& t, stream_budget<T>* budget) noexcept
      : sink_base(t), window_(&b.window()), segmented_(&b), budget_(budget) {
    window_limit = &window_->limit;
  }
  /// For iteration in place, by drive_in_place().
  sink() = default;
  sink(const sink&) = delete;
  sink& operator=(const sink&) = delete;

  std::uint64_t made() const noexcept { return fixed_ != nullptr ? fixed_->made() : window_->made(); }

  /// Opens the window, up to `stop_at` values in all.
  void open() noexcept {
    if (fixed_ != nullptr) return;
    single_place = nullptr;
    window_->suspends = false;
    open_window();
  }
  /// Runs the coroutine to its next value, which goes to `place`, and is the caller's.
  step drive_in_place(T* place) {
    single_place = place;
    return drive();
  }
  /// From now on it is driven by drive_to() and drive_into_next_block(), until open() is called again. Both resume a
  /// coroutine that has yielded, so a generator, which does not free its frame.
  void begin_single_steps() noexcept {
    window_->suspends = true;
    window_->close();
    stop_at = 0;
    why = step::paused;  // and stays so while that is all that happens
  }
  /// Runs the coroutine until it has constructed its next value there. Then has_stored(), and the caller commits it.
  void drive_to(T* place) {
    single_place = place;
    leaf.resume();
  }
  bool has_stored() const noexcept { return why == step::paused; }
  /// Where there is no place left: runs it until it has stored its next value. False: go_on() says what it was instead.
  DYNGEN_NOINLINE bool drive_into_next_block() {
    const std::uint64_t before = window_->made();
    leave_single_place();
    leaf.resume();
    return has_stored() && window_->made() != before;
  }
  /// What it was that has happened, once its cause is gone.
  step after_single_step() {
    if (leave_single_place() && has_stored()) {
      // The value is there, but somebody asks for attention.
      if (!cancelled()) {
        window_->commit_unwatched();
      } else {
        why = step::cancelled;
        destroy_reporting(*window_->next, *task);
      }
    }
    return go_on();
  }

  /// May a co_yield go on without asking?
  bool is_open() const noexcept { return window_->is_open() && !time_is_up(); }
  T* next_place() const noexcept { return window_->next; }
  /// The value at next_place() is constructed. Returns whether to suspend.
  DYNGEN_ALWAYS_INLINE bool commit_next() noexcept {
    window_->commit();
    return !window_->goes_on() && suspends_after_value();
  }

  permission ask() noexcept {
    if ((flags->load(relaxed) & state_word::attention) != 0) return attend();  // relaxed: as above
    if (fixed_ != nullptr && fixed_->full()) {
      why = step::too_many_values;
      return permission::suspend;
    }
    return permission::construct;
  }

  void* place() { return fixed_ != nullptr ? fixed_->place() : segmented_->place(); }

  /// The value at place() is constructed. Returns whether to suspend.
  bool commit() noexcept {
    if (fixed_ != nullptr) {
      fixed_->template commit<T>();
      return fixed_->made() >= stop_at || time_is_up();
    }
    window_->commit();
    return suspends_after_value() || time_is_up();
  }

  /// The value at place() is constructed, and may have to wait there for its budget. Returns whether to suspend. Throws
  /// what the user's code throws that says what it costs; then the value is gone.
  bool charge() {
    T& value = *std::launder(static_cast<T*>(place()));
    bool fits = false;
    try {
      fits = budget_->charge(budget_->cost_of(value));
    } catch (...) {
      destroy_reporting(value, *task);
      throw;
    }
    if (fits) return commit();
    pending = true;
    return true;
  }
  /// Before the coroutine goes on: the value that waited for its budget is stored. Returns whether to suspend again.
  bool store_pending() noexcept { return std::exchange(pending, false) && commit(); }
  /// The same if it never will.
  void drop_pending() noexcept {
    if (!std::exchange(pending, false)) return;
    budget_->take_back();
    destroy_reporting(*std::launder(static_cast<T*>(segmented_->place())), *task);
  }

 private:
  bool leave_single_place() noexcept { return std::exchange(single_place, nullptr) != nullptr; }
  void open_window() noexcept {
    window_->open(stop_at - window_->made(), [this]() noexcept {
      return (flags->load(seq_cst) & state_word::attention) != 0;  // [A1]
    });
  }
  /// A value was published, and the window is closed, or is full: fires the waiter, and opens the window again if the
  /// coroutine goes on. Returns whether to suspend.
  DYNGEN_NOINLINE bool suspends_after_value() noexcept {
    window_->notify();
    if (window_->suspends || window_->made() >= stop_at) return true;
    open_window();
    return false;
  }
  permission attend() noexcept {
    if (cancelled()) {
      why = step::cancelled;
      return permission::suspend;
    }
    if (replay != 0) return permission::replay;
    if ((task->state().load() & state_word::detached) == 0) return permission::charge;
    return note_skipped() ? permission::suspend : permission::skip;  // nobody will take it
  }

  static inline constinit value_window<T> never_open_;  ///< and never written

  value_window<T>* window_ = &never_open_;  ///< of a segmented buffer
  segmented_buffer<T>* segmented_ = nullptr;
  fixed_buffer* fixed_ = nullptr;
  stream_budget<T>* budget_ = nullptr;
};

}  // namespace dyngen::detail
