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

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/manual_lifetime.hpp>
#include <dyngen/detail/coroutine/awaiting.hpp>
#include <dyngen/detail/coroutine/frame.hpp>
#include <dyngen/detail/coroutine/sink.hpp>
#include <dyngen/detail/pool/stealable_child.hpp>
#include <dyngen/detail/pool/worker_queue.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/task_host.hpp>
#include <dyngen/detail/value/slot.hpp>
#include <dyngen/error.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <tuple>
#include <utility>
#include <vector>

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

  void advance() noexcept final {
    pending& p = *pending_;
    p.wait.end();
    sink_base& driver = *parent_->driver();
    driver.leaf = nullptr;  // unless a step below says otherwise, the loop comes back here
    if (driver.cancelled()) return stop();
    if (p.at == stage::begins) begin(driver);
    if (p.at == stage::runs_children && !run_children(driver)) return;
    if (!all_are_ready()) return stop();
    driver.leaf = parent_->self;
    driver.why = step::hop;
  }

  /// For await_suspend(). `children`: how many there are.
  DYNGEN_NOINLINE void suspend(std::size_t children) noexcept {
    if (parent_->being_destroyed()) return;
    if (!pending_.has_value()) begin_to_pend(children);
    if (parent_->inner == nullptr) stop();  // else a child has suspended, and has told the loop
  }

 protected:
  awaited_children() = default;
  /// Only before await_ready().
  awaited_children(awaited_children&&) noexcept {}
  ~awaited_children() = default;

  virtual child& nth(std::size_t index) noexcept = 0;
  /// Begins to wait for all parts that are not ready. Returns false if there are none. Throws std::bad_alloc, and error
  /// if the parent would wait for itself.
  virtual bool begin_wait(suspension& wait) = 0;

  /// Throws error if it has been awaited already.
  void run_in(frame_promise& parent) {
    if (parent_ != nullptr) [[unlikely]]
      throw_awaited_twice();
    parent_ = &parent;
  }

  // --- for await_ready() ---

  /// If the parent may go on, and runs on a worker whose queue takes its children: returns that queue.
  DYNGEN_ALWAYS_INLINE worker_queue* begin_on_worker(thread_context& here) noexcept {
    if (parent_->destruction != nullptr) return nullptr;
    sink_base& driver = *parent_->driver();
    worker_queue* const queue = here.queue;
    const bool is_ours = queue != nullptr && driver.host == &queue->host;
    if (!is_ours || !may_go_on(driver) || here.direct_calls >= most_direct_calls) [[unlikely]]
      return nullptr;
    enlist(driver);
    return queue;
  }
  /// Offers all children but the last, then runs them. Returns false if the parent must suspend.
  template <class... Parts>
  DYNGEN_ALWAYS_INLINE bool offer_and_run(worker_queue& queue, thread_context& here, std::tuple<Parts...>& parts) noexcept {
    constexpr std::size_t all = (std::size_t{Parts::is_child} + ...);
    return offer_and_run_in<all>(queue, here, parts, std::index_sequence_for<Parts...>());
  }
  template <class Part>
  bool offer_and_run(worker_queue& queue, thread_context& here, std::vector<Part>& parts) noexcept {
    const std::size_t all = parts.size();
    for (std::size_t i = 0; i + 1 < all; ++i) offer(parts[i], queue);
    for (std::size_t later = 0; later != all; ++later)
      if (!run_before(later, all, parts[all - 1 - later], queue, here)) return false;
    return true;
  }
  /// Has none of the children become a task?
  bool all_ran_here() const noexcept { return !any_gone_; }

  /// Without children, or when all have had their turn: returns true if nothing is left to wait for. If false, suspend()
  /// follows.
  DYNGEN_NOINLINE bool is_ready(std::size_t children) noexcept {
    if (parent_->destruction != nullptr || parent_->driver()->cancelled()) return false;
    if (!is_enlisted_) enlist(*parent_->driver());
    (void)pends_after(children, children);
    return all_are_ready() && may_go_on(*parent_->driver());
  }

  // --- for await_resume() ---

  /// Why the wait could not begin; null if it did.
  std::exception_ptr failure() noexcept { return pending_.has_value() ? (*pending_).failure : nullptr; }
  bool has_pended() const noexcept { return pending_.has_value(); }
  bool is_enlisted() const noexcept { return is_enlisted_; }
  sink_base& leave_list() noexcept {
    sink_base& driver = *parent_->driver();
    is_enlisted_ = false;
    driver.children = outer;
    return driver;
  }

 private:
  enum class stage : unsigned char { begins, runs_children, waits, fails };

  [[noreturn]] DYNGEN_NOINLINE static void throw_awaited_twice() {
    throw error("dyngen: co_await of a when_all that has been awaited already; await each once, and call when_all again");
  }

  /// Exists once the parent has suspended, or has something to wait for.
  struct pending {
    pending(frame_promise& parent, std::size_t children) noexcept : wait(parent), count(children) {}
    suspension wait;
    std::exception_ptr failure;
    const std::size_t count;  ///< of the children
    std::size_t turns = 0;    ///< how many of them have had their turn
    stage at = stage::begins;
    bool from_last = false;
    bool polls = false;
  };

  template <std::size_t All, class Parts, std::size_t... I>
  DYNGEN_ALWAYS_INLINE bool offer_and_run_in(worker_queue& queue, thread_context& here, Parts& parts,
                                             std::index_sequence<I...>) noexcept {
    return offer_and_run_each<All>(queue, here, std::get<I>(parts)...);
  }
  template <std::size_t All>
  DYNGEN_ALWAYS_INLINE bool offer_and_run_each(worker_queue&, thread_context&) noexcept {
    return true;
  }
  template <std::size_t All, class First, class... Others>
  DYNGEN_ALWAYS_INLINE bool offer_and_run_each(worker_queue& queue, thread_context& here, First& first, Others&... others) noexcept {
    if constexpr (First::is_child) {
      constexpr std::size_t later = (std::size_t{Others::is_child} + ... + 0);
      if constexpr (later != 0) offer(first, queue);
      return offer_and_run_each<All>(queue, here, others...) && run_before(later, All, first, queue, here);
    } else {
      return offer_and_run_each<All>(queue, here, others...);
    }
  }
  DYNGEN_ALWAYS_INLINE static void offer(child& c, worker_queue& queue) noexcept {
    if (!c.offer(queue)) [[unlikely]]
      c.leave_at_once(queue.host);
  }
  /// Gives the child its turn that stands before `later` others, which have had theirs; `all` is the number of children.
  /// Returns false if the parent must suspend.
  DYNGEN_ALWAYS_INLINE bool run_before(std::size_t later, std::size_t all, child& c, worker_queue& queue,
                                       thread_context& here) noexcept {
    if (later != 0) {
      if (!may_go_on(*parent_->driver())) [[unlikely]]
        return pends_after(later, all);
      if (!c.take_back(&queue)) [[unlikely]] {
        any_gone_ = true;
        return true;
      }
    }
    return run(c, here) || pends_after(later + 1, all);
  }

  /// May the parent go on with the next child?
  DYNGEN_ALWAYS_INLINE static bool may_go_on(const sink_base& driver) noexcept {
    return !driver.cancelled() && (!driver.time_is_up() || driver.task == nullptr);
  }
  void enlist(sink_base& driver) noexcept {
    is_enlisted_ = true;
    outer = std::exchange(driver.children, this);
  }

  /// Runs a child directly. Returns false if it has suspended.
  DYNGEN_ALWAYS_INLINE bool run(child& c, thread_context& here) noexcept {
    if (c.coroutine.get() == nullptr) [[unlikely]]
      return c.fail_as_empty();
    if (call_directly(*parent_, c.coroutine, c.outcome, here)) [[likely]]
      return true;
    c.outcome.is_child = true;
    return false;
  }

  void begin_to_pend(std::size_t children) noexcept {
    if (!is_enlisted_) enlist(*parent_->driver());
    pending_.emplace(*parent_, children);
  }
  /// The last `turns` children have had their turn, on a worker. Returns false.
  DYNGEN_NOINLINE bool pends_after(std::size_t turns, std::size_t all) noexcept {
    if (!pending_.has_value()) begin_to_pend(all);
    pending& p = *pending_;
    p.at = stage::runs_children;
    p.from_last = true;
    p.turns = turns;
    return false;
  }

  void begin(sink_base& driver) noexcept {
    pending& p = *pending_;
    p.at = stage::runs_children;
    task_host* const host = driver.task != nullptr ? driver.task->host().for_children() : nullptr;
    p.from_last = host != nullptr;
    if (host == nullptr) return;
    worker_queue* const queue = context().queue;
    for (std::size_t i = 0; i + 1 < p.count; ++i) {
      if (queue != nullptr && &queue->host == host)
        offer(nth(i), *queue);
      else
        nth(i).leave_at_once(*host);
    }
  }

  /// Runs the children that have not had their turn. Returns false if the parent suspends.
  bool run_children(sink_base& driver) noexcept {
    pending& p = *pending_;
    thread_context& here = context();
    while (p.turns != p.count) {
      if (!may_go_on(driver)) {
        stop();
        return false;
      }
      child& c = nth(p.from_last ? p.count - 1 - p.turns : p.turns);
      ++p.turns;
      if (!c.take_back(here.queue)) continue;
      if (here.direct_calls < most_direct_calls) {
        if (!run(c, here)) return false;
      } else if (c.coroutine.get() != nullptr || !c.fail_as_empty()) {
        c.outcome.frees_frame = c.outcome.is_child = true;
        enter_from_loop(*parent_, c.coroutine, c.outcome);
        return false;
      }
    }
    return true;
  }

  /// All children have had their turn. Returns true if nothing is left to wait for.
  bool all_are_ready() noexcept {
    pending& p = *pending_;
    if (p.at != stage::fails) {
      p.at = stage::waits;
      try {
        return !begin_wait(p.wait);
      } catch (...) {
        p.failure = std::current_exception();
      }
      p.at = stage::fails;
      give_up();
    }
    return !waits_for_one_elsewhere();
  }
  /// Waits for one of the children that run elsewhere. Returns false if there is none.
  bool waits_for_one_elsewhere() noexcept {
    pending& p = *pending_;
    p.polls = false;
    while (slot* const end = running()) {
      const wait_point point = point_of(*end);
      try {
        if (p.wait.begin(&point, 1, 1, is_at_home(slot_group::of(*end).owner))) return true;
      } catch (...) {
        p.polls = true;
        return true;
      }
    }
    return false;
  }

  /// The parent suspends, and the loop is told why.
  void stop() noexcept {
    sink_base& driver = *parent_->driver();
    driver.leaf = nullptr;
    if (driver.awaited != nullptr)
      driver.why = step::awaiting;
    else if (driver.cancelled())
      driver.why = step::cancelled;
    else if ((*pending_).polls || !may_go_on(driver))
      driver.why = step::rescheduled;
    else
      driver.why = step::hop;
  }

  frame_promise* parent_ = nullptr;
  bool is_enlisted_ = false;  ///< in the driver's list
  bool any_gone_ = false;
  manual_lifetime<pending> pending_;
};

}  // namespace dyngen::detail
