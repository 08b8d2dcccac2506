// SPDX-License-Identifier: MIT
#pragma once
// The executor of an actor's calls: a task host in front of another one, its base. A call is a task like any other, but
// waits here for its turn; then the actor hands it on to its base.
//
//   enlist() ──▶ in calls_, in the order of submits ──its turn──▶ active_ ──▶ ended
//                                                                  │   ▲
//                                             suspends, or yields  │   │ its turn again
//                                                                  ▼   │
//                                                          in resumed_, once it is ready
//
// The call that has the turn is `active_`. A thread sets it when it hands the call on. The thread that runs the call
// clears it when it leaves the call: when the call has ended, suspended, or asked to be queued again. Then this thread
// picks the next call. While no call has the turn, a thread that makes a call ready picks. So no two threads are ever
// inside the actor. At most `limit_` calls have begun and not ended. If both a call that has begun and one that has not
// are ready, the two kinds alternate: otherwise a call that only yields would keep the others out.
//
// A thread that hands on several calls does so in one publication (thread_context.hpp): on an executor that runs work
// at once, none of the calls runs before all are handed on, nor before the thread has left the call that had the turn.
//
// A cancelled call that has begun ends when it has the turn. One that has not begun leaves the queue and ends at once,
// since that needs nothing of the actor. If no worker is free, the ender of the pool ends a cancelled call that was
// handed on (ending_tasks.hpp). If such a call must first wait for its children, it keeps the turn: its link is in the
// pool's queue, so it cannot give the turn up.
//
// Member functions during which other threads may drop their references to the actor hold one of their own.
//
// [M1] Waiting and cancelled. push() marks a call as waiting for its turn (seq_cst), then checks whether it is
//      cancelled. A thread that cancels sets that flag (seq_cst) and learns in the same operation whether the call
//      waits for its turn.

#include <dyngen/detail/actor/call_order.hpp>
#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/detail/base/memory.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/task/inline_queue.hpp>
#include <dyngen/detail/task/task_record.hpp>
#include <dyngen/error.hpp>

#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

namespace dyngen::detail {

class actor_executor : public counted_host<actor_executor>, private call_order {
 public:
  actor_executor(const actor_executor&) = delete;
  actor_executor& operator=(const actor_executor&) = delete;
  virtual ~actor_executor() { base_.drop_host_reference(); }

  /// Gives a submitted call, which is not started yet, its place in the order.
  void enlist(actor_call& t, task_record& task, admission how) noexcept {
    t.task = &task;
    const running_task* const here = context().tasks;
    t.submitter = here != nullptr ? here->task->id() << 1 : thread_identity() << 1 | 1;
    std::lock_guard lock(mutex_);
    const bool is_method = t.is == actor_call::kind::method;
    t.dead = is_method && (closed_ || how == admission::refused);
    t.inlined = t.dead || how == admission::refused;
    if (t.dead) task.state().set(state_word::cancelled);  // it does not wait for its arguments
    if (t.inlined || t.is == actor_call::kind::ender) return;
    enqueue(t);
    unready_.append(t);
  }

  /// Returns why the actor is dead; null while it is alive. `closed`: the call came when the actor was closed already.
  /// If the actor is dead because its constructor threw, sets `whose` to that failure's shared state, with a share
  /// (share_failure()).
  std::exception_ptr death(bool closed, shared_state*& whose) noexcept {
    std::lock_guard lock(mutex_);
    if (!death_ && closed) death_ = make_death("its pool has ended", nullptr);
    if (builder_failed_ && builder_ != nullptr) whose = &slot_group::of(*builder_).owner->share_failure();
    return death_;
  }

  /// Cancels the actor's construction and all its calls. Those that have not begun never run; running ones are asked to
  /// stop. Refuses later ones. May be called again, without effect.
  void kill() noexcept {
    const std::exception_ptr why = make_death("it was killed", nullptr);
    {
      std::lock_guard lock(mutex_);
      if (killed_.load(relaxed)) return;  // relaxed: written under the mutex
      if (!death_) death_ = why;
      closed_ = true;
      killed_.store(true, relaxed);  // relaxed: see allows_retries()
    }
    cancel_calls(false);
  }

  // --- as the task host of the actor's calls ---

  const void* pool_id() const noexcept override { return base_.pool_id(); }
  task_host& runs_on() noexcept override { return base_.runs_on(); }
  admission admit() override { return base_.admit_late(); }
  void retract() noexcept override { base_.retract(); }
  task_host* for_children() noexcept override { return nullptr; }
  std::uint64_t default_backpressure() const noexcept override { return no_limit; }
  const void* actor_id() const noexcept override { return this; }
  bool one_method_at_a_time() const noexcept override { return limit_ == 1; }
  bool has_pending_work() const noexcept override { return base_.has_pending_work(); }
  void about_to_suspend(task_record& task) noexcept override { base_.about_to_suspend(task); }
  void suspension_decided() noexcept override { base_.suspension_decided(); }
  void wakes() noexcept override { base_.wakes(); }
  void task_blocks(running_task& entry, const thread_wait* wait) noexcept override { base_.task_blocks(entry, wait); }
  // relaxed: a stale value is as if the actor had been killed later.
  bool allows_retries() const noexcept override { return !killed_.load(relaxed); }
  void count_end(task_outcome how, std::uint64_t stored) noexcept override { base_.count_end(how, stored); }
  void count_retry() noexcept override { base_.count_retry(); }
  void count_values(std::uint64_t stored, std::uint64_t gone) noexcept override { base_.count_values(stored, gone); }
  void report(std::exception_ptr e, std::string_view task) noexcept override { base_.report(std::move(e), task); }
  void report_later(task_record& task) noexcept override { base_.report_later(task); }
  void observe(task_record& task, task_snapshot& o) noexcept override {
    o.actor = name_;
    o.is_actor = task.as_actor_call()->is == actor_call::kind::ender;
    if ((o.word & state_word::waiting_for_turn) == 0) return base_.observe(task, o);
    std::lock_guard lock(mutex_);
    note_calls_before(*task.as_actor_call(), o);
  }

  void push(task_record& task, bool) noexcept override {
    const intrusive_ptr alive(*this);
    actor_call& t = *task.as_actor_call();
    if (t.inlined) return task.run_popped();
    const publication all;
    bool gone = false;
    bool waits_for_turn = false;
    task_record* next = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (t.begun) {
        resumed_.append(t);
      } else {
        t.ready = true;
        if (t.is == actor_call::kind::ender) {
          closed_ = true;
          enqueue(t);
        } else {
          unready_.remove(t);
        }
        if (first_to_look_at_ == nullptr || t.order < first_to_look_at_->order) first_to_look_at_ = &t;
      }
      next = grant_turn();
      if (next != &task) {
        base_.about_to_suspend(task);
        waits_for_turn = true;
        gone = (task.state().set(state_word::waiting_for_turn) & state_word::only_ends) != 0 && try_remove(t);  // [M1]
      }
    }
    if (gone) hand_on(task);
    if (next != nullptr) hand_on(*next);
    if (waits_for_turn) base_.suspension_decided();
  }

  void cancelled_while_waiting_for_turn(task_record& task) noexcept override {
    const intrusive_ptr alive(*this);
    {
      std::lock_guard lock(mutex_);
      if (!try_remove(*task.as_actor_call())) return;
    }
    hand_on(task);
  }
  void queued_cancelled(task_record& task) noexcept override {
    const intrusive_ptr alive(*this);
    {
      std::lock_guard lock(mutex_);
      if (!is_handed_on(task)) return;  // push() sees the flag
    }
    base_.queued_cancelled(task);
  }
  void is_kept(kept_entry& stream) noexcept override { base_.is_kept(stream); }
  void stream_ended(kept_entry& stream) noexcept override { base_.stream_ended(stream); }
  bool claim_to_end(task_record& task) noexcept override {
    // The call must have the turn or need none, and not be on its way back to this actor.
    std::lock_guard lock(mutex_);
    return is_handed_on(task) && task.state().claim_handed_on();
  }
  void push_back(task_record& task) noexcept override { base_.push(task, true); }
  void link_left_behind() noexcept override { base_.link_left_behind(); }

  void left() noexcept override {
    const intrusive_ptr alive(*this);
    ++context().publishing;  // the scope that ran the task decrements it when this thread has left the task
    task_record* next = nullptr;
    {
      std::lock_guard lock(mutex_);
      active_ = nullptr;
      next = grant_turn();
    }
    if (next != nullptr) hand_on(*next);
  }
  void parks() noexcept override {
    const intrusive_ptr alive(*this);
    left();
    base_.suspension_decided();
  }

  void ended(task_record& task) noexcept override {
    const intrusive_ptr alive(*this);
    actor_call& t = *task.as_actor_call();
    std::exception_ptr why;
    bool failed = false;
    if (t.is == actor_call::kind::builder && task.failure()) {
      failed = !is_cancellation(task.failure());
      why = failed ? make_death("its constructor failed", task.failure()) : make_death("it was cancelled before it was built", nullptr);
    }
    task_record* next = nullptr;
    slot* kept = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (t.is == actor_call::kind::builder) {
        built_ = true;
        if (why) closed_ = true;
        if (!death_) death_ = why;
        builder_failed_ = failed && !killed_.load(relaxed);  // relaxed: written under the mutex
        if (!builder_failed_) kept = std::exchange(builder_, nullptr);
        if (failed && !builder_failed_) task.give_up();
      }
      if (t.begun) {
        begun_.remove(t);
        --in_progress_;
        active_ = nullptr;
      }
      next = grant_turn();
    }
    if (next != nullptr) hand_on(*next);
    if (failed) cancel_calls(true);
    base_.ended(task);
    if (kept != nullptr) drop<void>(*kept);
  }

 protected:
  /// Takes over a reference to the completion of the builder, the task that runs the actor's constructor. Drops the
  /// reference when the actor has been built; if the constructor throws, in drop_builder(). So the failure counts as
  /// lost only when the actor has ended and all calls that failed with it are gone.
  void keep_builder(slot& completion) noexcept {
    {
      std::lock_guard lock(mutex_);
      if (!built_ || builder_failed_) builder_ = &completion;
      if (builder_ != nullptr) return;
    }
    drop<void>(completion);
  }
  /// Called when the actor has ended: drops the reference to a builder that failed.
  void drop_builder() noexcept {
    slot* kept = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (builder_failed_) kept = std::exchange(builder_, nullptr);
    }
    if (kept != nullptr) drop<void>(*kept);
  }

  /// An actor in front of `base`. At most `limit` calls are in progress at a time.
  actor_executor(task_host& base, std::uint64_t limit, std::string name)
      : counted_host(base.trace()), call_order(limit), base_(base), name_(std::move(name)) {
    base_.add_host_reference();
    cancel_as(base);
  }

 private:
  void hand_on(task_record& task) noexcept {
    base_.wakes();
    task.state().clear(state_word::waiting_for_turn | state_word::has_run);
    // Every 16th time behind all other work: otherwise a busy actor would occupy its worker for ever.
    base_.push(task, streak_.fetch_add(1, relaxed) % 16 == 15);  // relaxed: only a count
  }

  std::exception_ptr make_death(const char* why, const std::exception_ptr& cause) const noexcept {
    try {
      const actor_died died("dyngen: the actor " + (name_.empty() ? std::string() : "'" + name_ + "' ") +
                            "is dead: " + why + "; this call does not run");
      if (!cause) return std::make_exception_ptr(died);
      try {
        std::rethrow_exception(cause);
      } catch (...) {
        std::throw_with_nested(died);
      }
    } catch (...) {
      return std::current_exception();
    }
  }

  /// Cancels the construction and every call, but not the end of the actor. Calls that have not begun come first, since
  /// stop callbacks of the others may wait for them. With `dead`, cancels only calls that have not begun; these fail
  /// with actor_died.
  void cancel_calls(bool dead) noexcept {
    const intrusive_ptr alive(*this);
    const publication all;
    for (;;) {
      intrusive_ptr<task_record> found;
      {
        std::lock_guard lock(mutex_);
        actor_call* t = calls_.first();
        while (t != nullptr && (t->cancelled_by_actor || t->is == actor_call::kind::ender)) t = t->queued.next;
        if (t != nullptr) {
          t->dead = dead;
        } else if (!dead) {
          // Each call that the actor has cancelled is moved behind the others.
          t = begun_.first();
          if (t != nullptr && t->is == actor_call::kind::ender) t = nullptr;  // then it is the only one
          if (t != nullptr && !t->cancelled_by_actor) {
            begun_.remove(*t);
            begun_.append(*t);
          }
        }
        if (t == nullptr || t->cancelled_by_actor) return;
        t->cancelled_by_actor = true;
        found = intrusive_ptr(*t->task);
      }
      found->cancel();
    }
  }

  task_host& base_;
  const std::string name_;
  atomic<std::uint32_t> streak_{0};
  atomic<bool> killed_{false};

  // Guarded by mutex_.
  bool closed_ = false;          ///< calls that come now are dead
  slot* builder_ = nullptr;      ///< the builder's completion, with a reference
  bool builder_failed_ = false;  ///< its constructor threw
  std::exception_ptr death_;
};

}  // namespace dyngen::detail
