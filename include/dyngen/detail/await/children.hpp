// SPDX-License-Identifier: MIT
#pragma once
// How a coroutine, the parent, awaits several children together: the part of when_all that does not depend on types.
//
// On a worker the parent offers all children but the last to other workers, then runs the children from the last to the
// first, each unless a worker has stolen it; a thief steals the first. On an executor without workers all children but
// the last become tasks at once. Where the children may not run beside their parent, in a method of an actor and in a
// generator that is iterated in place, the parent runs them from the first to the last.
//
//     begins ──▶ runs_children ──▶ waits ──────────────────────────▶ the parent is resumed
//                                    │                                ▲
//                                    └─no memory, self-wait──▶ fails ─┘
//
//   runs_children  The parent calls a child directly. If that one suspends, the parent suspends as well, and the loop
//                  comes back to advance() when the child has ended.
//   waits          The parent's task parks until the children that became tasks have ended and the refs are ready.
//   fails          The wait could not begin. The children that run elsewhere are asked to stop, and the parent waits
//                  until they have ended, as they may use its objects. If there is no memory for a wait, it polls, and
//                  other tasks run in between.
//
// As long as no child suspends or is stolen, all of this happens inside await_ready(), and nothing is allocated.

#include <dyngen/detail/coroutine/awaiting.hpp>
#include <dyngen/detail/coroutine/frame.hpp>
#include <dyngen/detail/coroutine/sink.hpp>
#include <dyngen/detail/pool/stealable_child.hpp>
#include <dyngen/detail/pool/worker_queue.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/task_host.hpp>
#include <dyngen/detail/value/slot.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

namespace dyngen::detail {

/// True if `s` is of the pool whose task runs on this thread.
inline bool is_at_home(const shared_state* s) noexcept {
  const running_task* here = context().tasks;
  return here != nullptr && here->task->pool_id() != nullptr && s->pool_id() == here->task->pool_id();
}

/// A task<R> given to when_all. The parent runs its coroutine as part of its own task, unless the child becomes a task.
class child : public stealable_child {
 public:
  /// The task has no coroutine. Returns true: the child has ended.
  DYNGEN_NOINLINE bool fail_as_empty() noexcept {
    try {
      throw_awaited_already();
    } catch (...) {
      outcome.thrown = std::current_exception();
    }
    return true;
  }

  frame_owner coroutine;
  coroutine_outcome& outcome;  ///< of the coroutine, if the parent runs it

 protected:
  child(frame_owner&& frame, coroutine_outcome& to) noexcept : coroutine(std::move(frame)), outcome(to) {}
  ~child() = default;
};

class awaited_children : public child_tasks {
 public:
  awaited_children(const awaited_children&) = delete;
  awaited_children& operator=(const awaited_children&) = delete;
  awaited_children& operator=(awaited_children&&) = delete;

  void advance() noexcept final {
    wait_.end();
    sink_base& driver = wait_.driver();
    driver.leaf = nullptr;  // unless a step below says otherwise, the loop comes back here
    if (driver.cancelled()) return stop();
    if (stage_ == stage::begins) begin(driver);
    if (stage_ == stage::runs_children && !run_children(driver)) return;
    if (!all_are_ready()) return stop();
    driver.leaf = parent().self;
    driver.why = step::hop;
  }

  /// For await_suspend().
  void suspend() noexcept {
    if (parent().being_destroyed() || parent().inner != nullptr) return;  // a child has told the loop
    if (!is_enlisted_) enlist(wait_.driver());
    stop();
  }

 protected:
  explicit awaited_children(std::size_t count) noexcept : count_(count) {}
  /// Only before await_ready().
  awaited_children(awaited_children&& other) noexcept : awaited_children(other.count_) {}
  ~awaited_children() = default;

  virtual child& nth(std::size_t index) noexcept = 0;
  /// Begins to wait for all parts that are not ready. Returns false if there are none. Throws std::bad_alloc, and error
  /// if the parent would wait for itself.
  virtual bool begin_wait(suspension& wait) = 0;

  void set_count(std::size_t children) noexcept { count_ = children; }
  frame_promise& parent() const noexcept { return wait_.promise(); }
  void run_in(frame_promise& parent) noexcept { wait_.set_promise(parent); }

  /// await_ready(), for children: offers and runs them if the parent may go on, and runs on a worker whose queue takes
  /// them. `at(i)` is the i-th child. Returns true if all have ended in their parent's place; if false, see is_ready().
  template <class At>
  DYNGEN_ALWAYS_INLINE bool run_directly(At at, std::size_t count) noexcept {
    if (parent().destruction != nullptr) return false;
    thread_context& here = context();
    sink_base& driver = wait_.driver();
    worker_queue* const queue = here.queue;
    if (queue == nullptr || driver.host != &queue->host || !may_go_on(driver) || here.direct_calls >= most_direct_calls ||
        --queue->until_look == 0) [[unlikely]]
      return false;
    enlist(driver);
    from_last_ = true;
    for (std::size_t i = 0; i + 1 < count; ++i) offer(at(i), *queue);
    for (std::size_t turn = 0; turn != count; ++turn) {
      if (turn != 0 && !may_go_on(driver)) [[unlikely]]
        return suspends_after(turn);
      if (!run(at(count - 1 - turn), queue, here)) [[unlikely]]
        return suspends_after(turn + 1);
    }
    turns_ = count;
    stage_ = stage::waits;
    return !any_gone_;
  }
  DYNGEN_NOINLINE bool run_all_directly(child* const* children, std::size_t count) noexcept {
    return run_directly([children](std::size_t i) -> child& { return *children[i]; }, count);
  }
  /// After run_directly() has returned false, or without children: returns true if nothing is left to wait for. If
  /// false, suspend() follows.
  bool is_ready() noexcept {
    if (parent().destruction != nullptr || parent().inner != nullptr || turns_ != count_) return false;
    sink_base& driver = wait_.driver();
    if (!is_enlisted_) {
      if (driver.cancelled()) return false;
      enlist(driver);
    }
    return all_are_ready() && may_go_on(driver);
  }
  /// All children have had their turn. Returns true if nothing is left to wait for; if false, the parent suspends.
  DYNGEN_NOINLINE bool all_are_ready() noexcept {
    if (stage_ != stage::fails) {
      stage_ = stage::waits;
      try {
        return !begin_wait(wait_);
      } catch (...) {
        failure_ = std::current_exception();
      }
      stage_ = stage::fails;
      give_up();
    }
    return !waits_for_one_elsewhere();
  }
  const std::exception_ptr& failure() const noexcept { return failure_; }

  bool is_enlisted() const noexcept { return is_enlisted_; }
  sink_base& leave_list() noexcept {
    sink_base& driver = wait_.driver();
    is_enlisted_ = false;
    driver.children = outer;
    return driver;
  }

 private:
  enum class stage : unsigned char { begins, runs_children, waits, fails };

  /// May the parent go on with the next child?
  DYNGEN_ALWAYS_INLINE static bool may_go_on(const sink_base& driver) noexcept {
    return !driver.cancelled() && (!driver.time_is_up() || driver.task == nullptr);
  }
  static void offer(child& c, worker_queue& queue) noexcept {
    if (!c.offer(queue)) [[unlikely]]
      c.leave_at_once(queue.host);
  }
  /// Gives a child its turn: runs it unless it is gone. Returns false if it has suspended.
  DYNGEN_ALWAYS_INLINE bool run(child& c, worker_queue* queue, thread_context& here) noexcept {
    if (!c.take_back(queue)) [[unlikely]] {
      any_gone_ = true;
      return true;
    }
    if (c.coroutine.get() == nullptr) [[unlikely]]
      return c.fail_as_empty();
    if (call_directly(parent(), c.coroutine, c.outcome, here)) [[likely]]
      return true;
    c.outcome.is_child = true;
    return false;
  }
  bool suspends_after(std::size_t turns) noexcept {
    stage_ = stage::runs_children;
    turns_ = turns;
    return false;
  }

  void enlist(sink_base& driver) noexcept {
    is_enlisted_ = true;
    outer = std::exchange(driver.children, this);
  }

  void begin(sink_base& driver) noexcept {
    stage_ = stage::runs_children;
    task_host* const host = driver.task != nullptr ? driver.task->host().for_children() : nullptr;
    from_last_ = host != nullptr;
    if (host == nullptr) return;
    worker_queue* const queue = context().queue;
    for (std::size_t i = 0; i + 1 < count_; ++i) {
      if (queue != nullptr && &queue->host == host)
        offer(nth(i), *queue);
      else
        nth(i).leave_at_once(*host);
    }
  }

  /// Runs the children that have not had their turn. Returns false if the parent suspends.
  bool run_children(sink_base& driver) noexcept {
    thread_context& here = context();
    while (turns_ != count_) {
      if (!may_go_on(driver)) {
        stop();
        return false;
      }
      child& c = nth(from_last_ ? count_ - 1 - turns_ : turns_);
      ++turns_;
      if (here.direct_calls < most_direct_calls) {
        if (!run(c, here.queue, here)) return false;
      } else if (c.take_back(here.queue) && (c.coroutine.get() != nullptr || !c.fail_as_empty())) {
        c.outcome.frees_frame = c.outcome.is_child = true;
        enter_from_loop(parent(), c.coroutine, c.outcome);
        return false;
      }
    }
    return true;
  }

  /// Waits for one of the children that run elsewhere. Returns false if there is none.
  bool waits_for_one_elsewhere() noexcept {
    polls_ = false;
    while (slot* const end = running()) {
      const wait_point point = point_of(*end);
      try {
        if (wait_.begin(&point, 1, 1, is_at_home(slot_group::of(*end).owner))) return true;
      } catch (...) {
        polls_ = true;
        return true;
      }
    }
    return false;
  }

  /// The parent suspends, and the loop is told why.
  void stop() noexcept {
    sink_base& driver = wait_.driver();
    driver.leaf = nullptr;
    const bool makes_way = others_come_first();
    if (driver.awaited != nullptr)
      driver.why = step::awaiting;
    else if (driver.cancelled())
      driver.why = step::cancelled;
    else if (makes_way || polls_ || !may_go_on(driver))
      driver.why = step::rescheduled;
    else
      driver.why = step::hop;
  }
  /// See [F] in work_search.hpp.
  bool others_come_first() const noexcept {
    thread_context& here = context();
    if (here.queue == nullptr || here.queue->until_look != 0) return false;
    here.queue->until_look = worker_queue::look_period;
    return wait_.driver().task != nullptr && here.role->wants_others_to_run();
  }

  suspension wait_;
  std::exception_ptr failure_;  ///< why the wait could not begin
  std::size_t count_;  ///< of the children
  std::size_t turns_ = 0;  ///< how many children have had their turn
  stage stage_ = stage::begins;
  bool from_last_ = false;
  bool is_enlisted_ = false;  ///< in the driver's list
  bool any_gone_ = false;
  bool polls_ = false;
};

}  // namespace dyngen::detail
