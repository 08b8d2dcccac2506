// SPDX-License-Identifier: MIT
#pragma once
// How a thread waits for things to be published: for one, for k of several, with or without a deadline. A wait
// registers one waiter for each wait point. The waiters share one allocation, which exists as long as a list refers to
// it. To leave a wait, the thread claims the waiters that have not fired. While a worker of a pool blocks, the pool
// lets another thread run in the worker's place.
//
// [N1] The thread that fires the last waiter decrements `needed_`, after what it has published; the thread that waits
//      reads `needed_`, and then sees what was published.

#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/task/task_snapshot.hpp>
#include <dyngen/detail/value/slot_operations.hpp>
#include <dyngen/error.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>

namespace dyngen::detail {

/// The time `d` from now; `never` if that is out of range, and now if `d` is not positive.
template <class Rep, class Period>
deadline deadline_after(const std::chrono::duration<Rep, Period>& d) noexcept {
  const deadline now = time_now();
  if (!(d > std::chrono::duration<Rep, Period>::zero())) return now;
  // The comparison uses floating point: a duration of years in a coarse unit would overflow the clock's unit.
  if (std::chrono::duration<double>(d) >= std::chrono::duration<double>(never - now)) return never;
  return now + std::chrono::ceil<deadline::duration>(d);
}

/// The deadline for a time point of any clock; `never` if that is out of range.
template <class Clock, class Duration>
deadline deadline_at(const std::chrono::time_point<Clock, Duration>& at) noexcept {
  using seconds = std::chrono::duration<double>;
  const auto now = Clock::now();
  // Far from now the exact difference might overflow, and an error of a second does not matter.
  const seconds about = seconds(at.time_since_epoch()) - seconds(now.time_since_epoch());
  if (!(about < std::chrono::years(10) && about > -std::chrono::years(10))) return deadline_after(about);
  return deadline_after(at - now);
}

/// The wait point of slot `s`: the slot itself, or the end of its task if the slot becomes ready only then.
inline wait_point point_of(slot& s) noexcept {
  // relaxed: the flag and the index never change.
  const std::uint64_t word = s.word.load(relaxed);
  slot_group& g = slot_group::of(s, slot::index_of(word));
  if ((word & slot::at_end) != 0) return g.owner->end_point();
  return {&g.waiters, &slot_group::published, &g, slot::index_of(word), nullptr, g.owner};
}

/// The number of the value up to which a helping thread must run the task of `s`; the maximum if it is the task's end.
inline std::uint64_t wanted_number(slot& s) noexcept {
  // relaxed: as in point_of().
  const std::uint64_t word = s.word.load(relaxed);
  const std::uint32_t index = slot::index_of(word);
  slot_group& g = slot_group::of(s, index);
  const bool end = (word & slot::at_end) != 0 || &s == &g.owner->end_slot();
  return end ? ~std::uint64_t{0} : g.number_of(index);
}

[[noreturn]] inline void throw_self_wait(shared_state& task) {
  throw error("dyngen: a task cannot wait for itself: task " + task.label() +
              " waits for a value that only it could still produce; its code is on this thread's stack; "
              "wait for the value in another task, by co_await");
}

/// Deadlock check. Returns the task that would make a wait for `task` on this thread endless: `task` itself if its code
/// is on this stack, or the method of the same actor whose code is on this stack. Returns null if the wait may succeed.
/// `awaiting` is the task of the coroutine that waits and suspends; null if the thread blocks.
inline shared_state* holds_up(shared_state& task, const shared_state* awaiting) noexcept {
  if (&task == awaiting || (awaiting == nullptr && runs_on_this_stack(task))) return task.completed() ? nullptr : &task;
  const void* const turn = task.actor_id();
  if (turn == nullptr || task.completed()) return nullptr;
  for (const running_task* t = context().tasks; t != nullptr; t = t->outer)
    if (t->task->actor_id() == turn &&
        (awaiting == nullptr || t->task != awaiting || t->task->one_method_at_a_time()))
      return t->task;
  return nullptr;
}

/// Throws `error` if a wait for `task` on this thread would never end.
inline void refuse_self_wait(shared_state& task, const shared_state* awaiting = nullptr) {
  shared_state* const holder = holds_up(task, awaiting);
  if (holder == nullptr) return;
  if (holder == &task) throw_self_wait(task);
  throw error("dyngen: a method cannot wait for another call of its own actor: task " + holder->label() +
              " waits for task " + task.label() + ", which runs only when the actor's turn is free; call the method "
              "directly, or give the ref away");
}

/// Throws `error` if a wait on this thread for `needed` of the `count` tasks would never end, because it could succeed
/// for fewer of them.
inline void refuse_self_waits(shared_state* const* tasks, std::size_t count, std::int64_t needed, const shared_state* awaiting = nullptr) {
  if (context().tasks == nullptr) return;
  auto possible = static_cast<std::int64_t>(count);
  for (std::size_t i = 0; i < count; ++i)
    if (holds_up(*tasks[i], awaiting) != nullptr && --possible < needed) refuse_self_wait(*tasks[i], awaiting);
}

/// A wait for `needed` of several wait points, by a thread that sleeps or by a task that suspends.
class thread_wait {
 public:
  /// Registers with all `count` points. When the wait is satisfied, wakes `task`, or the thread in sleep(). Throws
  /// std::bad_alloc.
  static thread_wait* start(const wait_point* points, std::size_t count, std::int64_t needed, shared_state* task = nullptr) {
    void* memory = allocate(memory_kind::waiter, bytes(count));
    auto* self = ::new (memory) thread_wait(count, needed, task);
    for (std::size_t i = 0; i < count; ++i) {
      node* n = ::new (self->nodes() + i) node(*self, points[i]);
      // relaxed: no other thread has the node before it is in the list.
      self->references_.fetch_add(1, relaxed);
      if (!points[i].add(*n)) continue;
      // relaxed: only this thread waits for it.
      self->needed_.fetch_sub(1, relaxed);
      if (task != nullptr) task->drop_references();  // [W4]
    }
    return self;
  }

  bool satisfied() const noexcept {
    // [N1] seq_cst: sees what the thread that fired the last waiter has published. Also one side of [T2]: a thread that
    //      has parked a task reads this; the firing thread writes it, then reads whether the task is parked.
    return needed_.load(seq_cst) <= 0;
  }

  /// Keeps the object alive beyond leave(), until drop_reference().
  void add_reference() noexcept {
    // relaxed: the caller has a reference, or another thread keeps one during this call.
    references_.fetch_add(1, relaxed);
  }
  void drop_reference() noexcept {
    // acq_rel: the last drop comes after all that the others did.
    if (references_.fetch_sub(1, acq_rel) != 1) return;
    const std::size_t size = bytes(count_);
    this->~thread_wait();
    deallocate(memory_kind::waiter, this, size);
  }

  /// Records what is not ready yet. The caller guarantees that the wait is not left during the call.
  void observe(task_snapshot& o) const noexcept {
    const node* const all = reinterpret_cast<const node*>(this + 1);
    for (std::size_t i = 0; i < count_; ++i)
      if (!all[i].is_claimed()) o.add(*all[i].from, all[i].what);
    // relaxed: the number may be outdated when it is shown.
    o.needed = needed_.load(relaxed);
  }

  /// Sleeps until the wait is satisfied or `until` has passed. May return early.
  void sleep(deadline until) noexcept {
    if (!satisfied()) sleep_on(signal_, 0, until);
  }

  /// Ends the wait: claims the waiters that have not fired, and drops the caller's reference.
  void leave() noexcept {
    std::uint32_t claimed = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      node& n = nodes()[i];
      if (!n.try_claim()) continue;
      n.list->note_left();
      ++claimed;
    }
    shared_state* const task = task_;
    drop_reference();
    if (task != nullptr && claimed != 0) task->drop_references(claimed);  // [W4]
  }

 private:
  struct node : waiter {
    node(thread_wait& w, const wait_point& point) noexcept
        : of(&w), list(point.list), from(point.owner), what(point.what()) {
      index = point.index;
      on_removed = [](waiter& self, bool fired) noexcept { static_cast<node&>(self).of->waiter_removed(fired); };
    }
    thread_wait* of;
    waiter_list* list;
    shared_state* from;
    std::int64_t what;
  };

  thread_wait(std::size_t count, std::int64_t needed, shared_state* task) noexcept
      : needed_(needed), count_(count), task_(task) {
    if (task_ != nullptr) task_->add_references(integer_as<std::uint32_t>(count));
  }

  void waiter_removed(bool fired) noexcept {
    shared_state* const task = task_;
    // [N1] seq_cst: as in satisfied().
    if (fired && needed_.fetch_sub(1, seq_cst) == 1) {
      if (task != nullptr) {
        task->wake();
      } else {
        // [N1] release: pairs with satisfied(). This wait stays alive until the reference below is dropped.
        signal_.store(1, release);
        wake_one(signal_);
      }
    }
    drop_reference();
    if (fired && task != nullptr) task->drop_waiters_reference();  // [W4]
  }

  static std::size_t bytes(std::size_t count) noexcept { return sizeof(thread_wait) + count * sizeof(node); }
  node* nodes() noexcept { return reinterpret_cast<node*>(this + 1); }

  atomic<std::int64_t> needed_;
  atomic<std::uint32_t> signal_{0};
  atomic<std::uint32_t> references_{1};
  std::size_t count_;
  shared_state* task_;
};

/// While it exists, the hosts of the tasks on this thread's stack know that the tasks' code is blocked in `wait`. No
/// effect if `wait` is null.
class blocked_tasks {
 public:
  explicit blocked_tasks(const thread_wait* wait) noexcept : wait_(wait) {
    if (wait_ != nullptr) tell(wait_);
  }
  blocked_tasks(const blocked_tasks&) = delete;
  blocked_tasks& operator=(const blocked_tasks&) = delete;
  ~blocked_tasks() {
    if (wait_ != nullptr) tell(nullptr);
  }

 private:
  // Waits nest: task A blocks, its thread then runs task B, and B blocks. A cannot continue before B, so both are
  // recorded as blocked in B's wait.
  void tell(const thread_wait* wait) noexcept {
    bool was_blocked = false;
    for (running_task* t = context().tasks; t != nullptr; t = t->outer) {
      if (wait != nullptr && t->wait != nullptr && outer_ == nullptr) {
        outer_ = t->wait;
        below_ = t;
      }
      was_blocked = was_blocked || t == below_;
      t->task->blocks(*t, wait != nullptr ? wait : was_blocked ? outer_ : nullptr);
    }
  }
  const thread_wait* wait_;
  const thread_wait* outer_ = nullptr;     ///< the wait of the tasks that were blocked before
  const running_task* below_ = nullptr;    ///< the innermost of those tasks
};

/// Blocks the calling thread until `needed` of the points are ready or `until` has passed. Returns whether they are
/// ready. Throws std::bad_alloc.
inline bool block(const wait_point* points, std::size_t count, std::int64_t needed, deadline until) {
  return_all_credits();
  thread_wait* wait = thread_wait::start(points, count, needed);
  worker_hooks* role = context().role;
  // A blocked thread does none of its deferred work, and this wait might depend on that work.
  thread_context& here = context();
  while (!wait->satisfied() && (until == never || time_now() < until) && run_one_deferred(here)) {
  }
  if (!wait->satisfied()) {
    const blocked_tasks noted(until == never ? wait : nullptr);
    const bool replaced = role == nullptr || role->begin_blocking();
    while (!wait->satisfied() && (until == never || time_now() < until)) {
      if (replaced) {
        wait->sleep(until);
      } else if ((until != never && !role->only_ends_tasks()) || !role->run_one()) {
        // No other thread runs in place of this one: look for work again soon.
        wait->sleep((std::min)(until, time_now() + std::chrono::milliseconds(1)));
      }
    }
    if (role != nullptr && replaced) role->end_blocking();
  }
  const bool satisfied = wait->satisfied();
  wait->leave();
  return satisfied;
}

/// Waits for one slot: runs the slot's task here if that is allowed, blocks otherwise. Returns whether the slot is
/// ready. Throws std::bad_alloc, and `error` if the wait would never end.
inline bool wait_for_slot(slot& s, deadline until) {
  shared_state& owner = *slot_group::of(s).owner;
  for (;;) {
    if (slot_ready(s)) return true;
    if (until == never) {
      thread_context& here = context();
      if (run_one_deferred(here)) continue;
      if (here.tasks != nullptr) refuse_self_wait(owner);
      return_all_credits();
      if (owner.help(wanted_number(s))) continue;
    }
    const wait_point point = point_of(s);
    return block(&point, 1, 1, until);
  }
}

}  // namespace dyngen::detail
