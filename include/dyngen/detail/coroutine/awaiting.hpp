// SPDX-License-Identifier: MIT
#pragma once
// How a coroutine waits without a thread. An awaiter registers one wait with all it waits for, tells the loop that
// drives the task to come back, and the task parks until the wait is satisfied or the task cancelled. What wakes it
// only queues it again: the coroutine goes on where its executor runs it, never inside the call that stored a value.
//
// A coroutine that awaits another one runs it in its own place: both belong to one task. It calls the other one
// directly. If that one suspends, the call returns, and the awaiting coroutine links itself and suspends as well; later
// the loop resumes the innermost one, and, at its end, the coroutine linked to it. When 64 direct calls are nested on a
// thread, the next coroutine runs in the loop at once, so that a chain of any length takes constant stack.

#include <dyngen/detail/coroutine/frame.hpp>
#include <dyngen/detail/coroutine/sink.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

/// Specialised, with a static function `make(promise, A&&)` that gives the awaiter, for all that can be awaited.
template <class A>
struct awaiting;

template <class A>
concept library_awaitable = requires(frame_promise& p, A&& a) { awaiting<std::remove_cvref_t<A>>::make(p, std::forward<A>(a)); };

/// The end of a coroutine. One that frees its frame does not suspend: the coroutine that awaits it goes on when the
/// direct call returns, or in the loop. Any other one tells the loop that it has ended: publishing is done there, with
/// the frame gone.
class final_awaiter {
 public:
  explicit final_awaiter(frame_promise& promise) noexcept : promise_(promise) {}
  DYNGEN_ALWAYS_INLINE bool await_ready() const noexcept {
    if (promise_.destruction != nullptr || !promise_.outcome->frees_frame) [[unlikely]]
      return false;
    promise_.outcome->ended = true;
    if (promise_.outer != nullptr) [[unlikely]]
      return_to(*promise_.outer);
    return true;
  }
  void await_suspend(std::coroutine_handle<>) const noexcept {
    if (promise_.being_destroyed()) return;
    if (promise_.outer != nullptr)
      hop_to(*promise_.outer);
    else
      promise_.driver()->why = step::ended;
  }
  void await_resume() const noexcept {}

 private:
  void hop_to(frame_promise& outer) const noexcept {
    promise_.driver()->leaf = outer.self;
    promise_.driver()->why = step::hop;
  }
  DYNGEN_NOINLINE void return_to(frame_promise& outer) const noexcept {
    hop_to(outer);
    if (promise_.outcome->is_child) promise_.driver()->leaf = nullptr;  // the loop goes on with the other children
    outer.inner = nullptr;
    (void)promise_.owner->release();
    context().freed_frame = nullptr;
  }

  frame_promise& promise_;
};

/// What all coroutines of the library share: how they start, end, and what they may await.
struct coroutine_promise : frame_promise {
  std::suspend_always initial_suspend() const noexcept { return {}; }
  final_awaiter final_suspend() noexcept { return final_awaiter(*this); }

  template <class Awaitable>
  auto await_transform(Awaitable&& a) {
    static_assert(library_awaitable<Awaitable>,
                  "dyngen: this cannot be awaited here: co_await takes refs, std::move(task), when_all, when_any, "
                  "async_next, async_value and this_task::yield(); bridge anything else by a promise<T>");
    if constexpr (library_awaitable<Awaitable>)
      return awaiting<std::remove_cvref_t<Awaitable>>::make(*this, std::forward<Awaitable>(a));
    else
      return std::suspend_never();
  }
};

[[noreturn]] inline void throw_awaited_already() {
  throw error("dyngen: co_await of a task<R> that was moved from, or has been awaited already; "
              "await each task<R> once");
}

/// How many direct calls a thread nests; further coroutines run in the loop.
inline constexpr unsigned most_direct_calls = 64;

/// May `outer` go on, and call another coroutine directly?
DYNGEN_ALWAYS_INLINE inline bool may_call(const frame_promise& outer, const sink_base& driver, const thread_context& here) noexcept {
  return outer.destruction == nullptr && !driver.cancelled() && !driver.time_is_up() && here.direct_calls < most_direct_calls;
}

/// Notes that `outer` has suspended while `inner`, which `owner` has, runs in its place.
inline void link_coroutines(frame_promise& outer, frame_promise& inner, frame_owner& owner) noexcept {
  inner.outer = &outer;
  inner.owner = &owner;
  outer.inner = &inner;
}

/// Runs a task's coroutine, which `owner` gives up, by a direct call. Returns true if it has ended, and freed its frame.
/// If it has suspended, links it, and returns false: `outer` suspends as well, and the loop knows what to do.
DYNGEN_ALWAYS_INLINE inline bool call_directly(frame_promise& outer, frame_owner& owner, coroutine_outcome& to,
                                               thread_context& here) noexcept {
  sink_base& driver = *outer.driver();
  frame_promise& inner = *owner.release();
  to.frees_frame = true;
  inner.run_by(driver, to);
  const std::coroutine_handle<> frame = inner.self;
  ++here.direct_calls;
  here.freed_frame = nullptr;
  try {
    frame.resume();
  } catch (...) {
    driver.frame_threw(frame, std::current_exception());
  }
  --here.direct_calls;
  if (to.ended) [[likely]]
    return true;
  owner.adopt(inner);
  link_coroutines(outer, inner, owner);
  return false;
}

/// Called when `outer` suspends: the loop goes on with another coroutine in its place.
inline void enter_from_loop(frame_promise& outer, frame_owner& owner, coroutine_outcome& to) noexcept {
  frame_promise& inner = *owner.get();
  inner.run_by(*outer.driver(), to);
  link_coroutines(outer, inner, owner);
  outer.driver()->leaf = inner.self;
  outer.driver()->why = step::hop;
}

/// Runs another coroutine in the place of the one that awaits it.
class nested_coroutine {
 public:
  nested_coroutine(frame_promise& outer, frame_owner&& inner) noexcept : outer_(outer), inner_(std::move(inner)) {}
  nested_coroutine(const nested_coroutine&) = delete;
  nested_coroutine& operator=(const nested_coroutine&) = delete;
  DYNGEN_ALWAYS_INLINE ~nested_coroutine() {
    if (inner_.get() == nullptr) return;
    leave();
    inner_.destroy(outer_.driver());
  }

  bool has_frame() const noexcept { return inner_.get() != nullptr; }

  /// Called before the coroutine suspends: the loop goes on with the inner one.
  void enter(coroutine_outcome& to) noexcept {
    if (!outer_.being_destroyed()) enter_from_loop(outer_, inner_, to);
  }
  void leave() noexcept {
    if (outer_.inner == inner_.get()) outer_.inner = nullptr;
  }

  // For a task, which frees its frame.

  /// Runs it in a direct call, if the coroutine may go on. Returns true if it has ended; if false, stop() follows.
  bool runs_to_its_end(coroutine_outcome& to) noexcept {
    thread_context& here = context();
    return may_call(outer_, *outer_.driver(), here) && call_directly(outer_, inner_, to, here);
  }
  /// Called before the coroutine suspends.
  void stop(coroutine_outcome& to) noexcept {
    if (outer_.being_destroyed() || outer_.inner != nullptr) return;  // it has suspended, and told the loop
    sink_base& driver = *outer_.driver();
    if (driver.cancelled()) {
      driver.leaf = outer_.self;
      driver.why = step::cancelled;
      return;
    }
    to.frees_frame = true;
    enter(to);
    if (driver.time_is_up() && driver.task != nullptr) driver.why = step::rescheduled;
  }

 private:
  frame_promise& outer_;
  frame_owner inner_;
};

/// What awaiters of stored things are made of.
class suspension {
 public:
  explicit suspension(frame_promise& promise) noexcept : promise_(promise) {}
  suspension(const suspension&) = delete;
  suspension& operator=(const suspension&) = delete;
  ~suspension() { end(); }

  /// Must the coroutine suspend before it looks at anything, since it is being destroyed or was cancelled?
  bool must_stop() const noexcept { return is_destroyed() || promise_.driver()->cancelled(); }
  bool is_destroyed() const noexcept { return promise_.destruction != nullptr; }
  /// The task whose coroutine this is; null when it is iterated in place.
  task_record* task() const noexcept { return promise_.driver()->task; }

  /// Waits for `needed` of the points, which only tasks of the same host bring if `own_host`. False if they are there:
  /// in a coroutine of no task after having blocked this thread. Throws std::bad_alloc.
  bool begin(const wait_point* points, std::size_t count, std::int64_t needed, bool own_host) {
    if (task() == nullptr) {
      block(points, count, needed, never);
      return false;
    }
    return_all_credits();
    wait_ = thread_wait::start(points, count, needed, task());
    if (wait_->satisfied()) {
      end();
      return false;
    }
    task()->note_awaits_own_host(own_host);
    promise_.driver()->awaited = wait_;
    return true;
  }
  bool begin(slot& s) {
    shared_state& owner = *slot_group::of(s).owner;
    refuse_self_wait(owner, task());
    const wait_point point = point_of(s);
    return begin(&point, 1, 1, task() != nullptr && owner.pool_id() == task()->pool_id());
  }

  /// Is the task's time slice over, so that it makes way for others before it goes on?
  bool time_is_up() const noexcept { return promise_.driver()->time_is_up() && task() != nullptr; }
  /// What is awaited is there: false if the coroutine suspends all the same, as its time slice is over.
  bool goes_on() noexcept { return !(makes_way_ = time_is_up()); }

  /// For await_suspend.
  void suspend() noexcept {
    if (promise_.being_destroyed()) return;
    sink_base& driver = *promise_.driver();
    driver.leaf = promise_.self;
    if (wait_ != nullptr)
      driver.why = step::awaiting;
    else if (makes_way_)
      driver.why = step::rescheduled;
    else
      driver.why = step::cancelled;
  }

  void end() noexcept {
    if (wait_ == nullptr) return;
    task()->note_awaits_own_host(false);
    promise_.driver()->awaited = nullptr;
    std::exchange(wait_, nullptr)->leave();
  }

 private:
  frame_promise& promise_;
  thread_wait* wait_ = nullptr;
  bool makes_way_ = false;
};

/// `co_await wait_for_points{…}`: until `needed` of the points are ready. What it points to must live so long.
struct wait_for_points {
  const wait_point* points;
  std::size_t count;
  std::int64_t needed;
  bool own_host;
  shared_state* const* owners;  ///< of each point
};

class points_awaiter {
 public:
  points_awaiter(frame_promise& p, const wait_for_points& all) noexcept : suspension_(p), all_(all) {}

  bool await_ready() {
    if (suspension_.must_stop()) return false;
    if (all_.needed == 0) return suspension_.goes_on();
    refuse_self_waits(all_.owners, all_.count, all_.needed, suspension_.task());
    return !suspension_.begin(all_.points, all_.count, all_.needed, all_.own_host) && suspension_.goes_on();
  }
  void await_suspend(std::coroutine_handle<>) noexcept { suspension_.suspend(); }
  void await_resume() noexcept { suspension_.end(); }

 private:
  suspension suspension_;
  const wait_for_points all_;
};

template <>
struct awaiting<wait_for_points> {
  static points_awaiter make(frame_promise& p, const wait_for_points& all) noexcept { return points_awaiter(p, all); }
};

/// `co_await this_task::yield()`.
struct yield_to_others {};

class yield_awaiter {
 public:
  explicit yield_awaiter(frame_promise& p) noexcept : promise_(p) {}
  bool await_ready() const noexcept { return promise_.destruction == nullptr && promise_.driver()->task == nullptr; }
  void await_suspend(std::coroutine_handle<>) const noexcept {
    if (promise_.being_destroyed()) return;
    promise_.driver()->leaf = promise_.self;
    promise_.driver()->why = step::rescheduled;
  }
  void await_resume() const noexcept {}

 private:
  frame_promise& promise_;
};

template <>
struct awaiting<yield_to_others> {
  static yield_awaiter make(frame_promise& p, yield_to_others) noexcept { return yield_awaiter(p); }
};

}  // namespace dyngen::detail
