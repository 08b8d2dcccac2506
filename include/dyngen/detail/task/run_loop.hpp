// SPDX-License-Identifier: MIT
#pragma once
// How a thread runs a task, until the task parks, is queued again, or ends: the members of task_record that only a
// running task needs.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/help_policy.hpp>
#include <dyngen/detail/task/inspector.hpp>
#include <dyngen/detail/task/recorder.hpp>
#include <dyngen/detail/task/state_word.hpp>
#include <dyngen/detail/task/task_host.hpp>
#include <dyngen/detail/task/task_record.hpp>
#include <dyngen/detail/task/task_snapshot.hpp>
#include <dyngen/detail/value/slot_operations.hpp>

#include <cstdint>
#include <exception>
#include <utility>

namespace dyngen::detail {

/// While it exists, the task's code is on this thread's stack.
class task_scope {
 public:
  explicit task_scope(task_record& task) noexcept : here_(context()), entry_(&task, here_.tasks) {
    here_.tasks = &entry_;
    destroying_ = std::exchange(here_.destroying, 0u);
    inspector::show(here_, entry_);
  }
  task_scope(const task_scope&) = delete;
  task_scope& operator=(const task_scope&) = delete;
  ~task_scope() {
    here_.tasks = entry_.outer;
    here_.destroying = destroying_;
    global_inspector().hide(here_, entry_);
    // A thread that is not a worker may run for long after this task without another wait, and would owe the credits.
    if (entry_.outer == nullptr) return_all_credits();
    // Ends the publication of the task's end, or of the end of its turn at an actor.
    publication::leave_all(here_);
  }

 private:
  thread_context& here_;
  running_task entry_;
  unsigned destroying_;
};

inline void task_record::run_popped() noexcept {
  std::uint32_t given_up = 1;
  if (state_.pop()) given_up += run(no_limit).given_up;
  drop_references(given_up);
}

inline void task_record::end_queued() noexcept {
  if (!host_->claim_to_end(*this)) return;
  host_->link_left_behind();
  const run_result left = run(no_limit);
  if (left.given_up != 0) drop_references(left.given_up);
}

inline bool task_record::help(std::uint64_t wanted) noexcept {
  // A worker that only ran tasks for its own waits would never let the rest of its queue run. So when its time slice is
  // over, it blocks instead.
  thread_context& here = context();
  if (!host_->helps() || !may_help(here) || slice_is_over(here)) return false;
  return run_for_waiter(wanted) == has_run::yes;
}

inline task_record::has_run task_record::run_for_waiter(std::uint64_t wanted) noexcept {
  thread_context& here = context();
  if (state_.claim_queued()) {
    host_->link_left_behind();
  } else {
    // Parked for credits: only the stream's reader, which has returned credits, may resume it here.
    if (wanted == no_limit || state_word::phase_of(state_.load()) != phase::parked) return has_run::no;
    host_->wakes();
    if (!state_.claim_parked() || (awaits() && park_awaiting())) return has_run::no;
  }
  ++here.helping;
  const run_result left = run(wanted);
  --here.helping;
  if (left.given_up != 0) drop_references(left.given_up);
  return left.behind ? has_run::behind : has_run::yes;
}

inline task_record::run_result task_record::run(std::uint64_t wanted) noexcept {
  if (host_->trace() != nullptr) [[unlikely]]
    return run_traced(wanted);
  const task_scope scope(*this);
  return go_on(wanted, nullptr);
}

inline task_record::run_result task_record::run_traced(std::uint64_t wanted) noexcept {
  const task_scope scope(*this);
  recorder& log = *host_->trace();
  trace_event* const outer = log.begin(name(), id(), attempt());
  const run_result left = go_on(wanted, nullptr);
  log.end(outer);
  return left;
}

inline task_record::run_result task_record::go_on(std::uint64_t wanted, const step* made_already) noexcept {
  for (;;) {
    if (made_already != nullptr) {
      step last = *std::exchange(made_already, nullptr);
      if (last == step::rescheduled) return requeue_and_return(true);
      if (last != step::awaiting && !goes_on_after(last)) return finish(last);
    }
    global_inspector().wait_for_inspector(this);  // [O1]
    std::uint32_t word = state_.load();
    if ((word & state_word::unrunnable) != 0 || host_->cancelling())
      word = state_.set(state_word::cancelled) | state_word::cancelled;
    if ((word & state_word::cancelled) != 0) {
      if (!begun_) {
        shared_state* whose = nullptr;
        failure_ = refusal(whose);
        if (whose != nullptr) fail_with(*whose);
      }
      run_result left;
      return begun_ && waits_for_children(left) ? left : finish(failure_ ? step::ended : step::cancelled);
    }
    if (!begun_) {
      begun_ = true;
      shared_state* whose = nullptr;
      failure_ = failed_dependency(whose);
      if (failure_) {
        const bool cancelled = (state_.load() & state_word::cancelled) != 0;
        if (whose != nullptr) cancelled ? whose->drop_share() : fail_with(*whose);
        if (cancelled) failure_ = nullptr;  // the task ends with an error of its own
        return finish(cancelled ? step::cancelled : step::ended);
      }
    }
    if (awaits()) {
      if (park_awaiting()) return return_parked(trace_kind::awaits);
      continue;  // what it awaits is ready, or it was cancelled meanwhile
    }
    const std::uint64_t now = made();
    const std::uint64_t end = credit_limit();
    if (now > wanted) {
      wanted = no_limit;
      if (end > now) return return_after_help();
    }
    if (now >= end) {
      (void)uncounted(false);
      if (credits_come_soon(now)) continue;
      if (park(state_word::no_parking, [this, now]() noexcept { return credit_limit() > now; }))
        return return_parked(trace_kind::backpressure);
      continue;
    }
    std::uint64_t stop_at = (now / 64 + 1) * 64;
    if (stop_at > end) stop_at = end;
    if (wanted < stop_at) stop_at = wanted + 1;
    step last = resume(stop_at);
    if (last == step::rescheduled) return requeue_and_return(true);
    if (last == step::awaiting) continue;
    if (!goes_on_after(last)) return finish(last);
    if (slice_is_over(context())) return requeue_and_return(true);
  }
}

/// Called when `failure_` has left the task's code. Returns true if another attempt follows. Otherwise returns false,
/// and sets `last` to step::cancelled if the exception is a cancelled_error or the task was asked to stop before.
/// Setting the flag `thrown` decides the latter: a later cancel() comes too late.
DYNGEN_NOINLINE inline bool task_record::goes_on_after_exception(step& last) noexcept {
  const bool is_cancelled_error = is_cancellation(failure_);
  if (!is_cancelled_error && tries_again()) return true;
  const bool asked_to_stop = (state_.set(state_word::thrown) & state_word::cancelled) != 0;
  if (asked_to_stop || is_cancelled_error || host_->cancelling() || !host_->allows_retries()) last = step::cancelled;
  return false;
}

/// Parks the task. Returns true if it is parked, or another thread runs it already. Returns false, and this thread
/// continues the task, if what it parks for is ready after all, or if one of the flags `unless` is set.
template <class Ready>
bool task_record::park(std::uint32_t unless, Ready ready) noexcept {
  task_host& host = *host_;
  host.about_to_suspend(*this);
  bool parked = state_.park(unless);
  if (parked && ready()) {  // [T2]
    host.wakes();
    parked = !state_.claim_parked();
  }
  parked ? host.parks() : host.suspension_decided();
  return parked;
}

inline bool task_record::tries_again() noexcept {
  recorder* const log = host_->trace();
  const std::exception_ptr failed = log != nullptr ? failure_ : nullptr;
  if (!try_again()) return false;
  if (log != nullptr) log->begin_attempt(failed, attempt());
  return true;
}

inline bool task_record::awaits() noexcept {
  thread_wait* const wait = awaited();
  return wait != nullptr && !wait->satisfied();
}

inline bool task_record::park_in(thread_wait& wait, std::uint32_t unless) noexcept {
  (void)uncounted(false);
  wait.add_reference();  // once the task is parked, another thread may run it to its end before this thread reads the wait
  const bool parked = park(unless, [&wait]() noexcept { return wait.satisfied(); });
  wait.drop_reference();
  return parked;
}

/// For a cancelled task: waits until the tasks that its code has started have ended, because they may use objects in
/// its frames. Returns true if the task is suspended for that, or queued.
inline bool task_record::waits_for_children(run_result& left) noexcept {
  for (;;) {
    const childrens_end end = end_children();
    if (end.no_memory) left = requeue_and_return(true);  // it tries again each time it runs
    if (end.no_memory || end.wait == nullptr) return end.no_memory;
    if (host_->actor_id() != nullptr && (state_.load() & state_word::in_queue) != 0) {
      // A thread that only ends the call has claimed it by claim_to_end(): give the claim back. Such a thread claims
      // the call again later, until its children have ended.
      if (state_.hand_back() == state_word::next::push) {
        add_references(1);
        host_->push_back(*this);
      } else {
        note_queued();
      }
      return true;
    }
    if (park_in(*end.wait, 0)) return true;
  }
}

inline std::exception_ptr task_record::error_of(step last) noexcept {
  try {
    switch (last) {
      case step::paused:
      case step::awaiting:
      case step::rescheduled:
      case step::hop:
      case step::ended: return failure_ ? failure_ : check_arity();
      case step::too_many_values: return too_many_values_error();
      case step::too_few:
      case step::out_of_order: return failure_;
      case step::cancelled: return failure_ ? cancelled_error_around(failure_) : make_cancelled_error();
    }
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

/// Called before the end is published: reports a failure that no value's slot carries, or that no handle can reach.
DYNGEN_NOINLINE inline void task_record::report_if_unheld(unheld_failure what) noexcept {
  if (&thrower() != this) return;
  if (what == unheld_failure::is_reported_even_if_held) {
    (void)settle_failure();
    return report_lost();
  }
  // relaxed: the count includes the run. A thread that drops another holder at this moment settles the failure itself.
  const bool is_held = !only_end_carries_failure() || slot::holders_of(end_slot().word.load(relaxed)) > 1;
  if (!is_held && settle_failure()) report_lost();
}

inline task_record::run_result task_record::finish(step last) noexcept {
  failure_ = error_of(last);
  const std::exception_ptr late = close_body();  // destroys locals, callable and arguments before the end is visible
  const bool only_late = late && !failure_;
  if (only_late) failure_ = late;
  if (late && !only_late) report(late);
  ++context().publishing;  // until the task's scope ends
  const std::uint32_t flags = state_.end();
  bool is_silent = true;
  if (failure_) [[unlikely]] {
    // Nothing reports the failure of a stream whose handle was destroyed.
    const bool is_given_up = !only_late && (flags & (state_word::abandoned | state_word::detached)) == state_word::abandoned;
    is_silent = last == step::cancelled || is_given_up;
    begin_failure(is_silent);
  }
  const sealed found = seal(flags);
  const unheld_failure what = is_silent                       ? unheld_failure::is_silent
                              : found.has_carrier && !only_late ? unheld_failure::is_reported
                                                              : unheld_failure::is_reported_even_if_held;
  task_host& host = *host_;
  const task_outcome outcome = !failure_                 ? task_outcome::completed
                               : last == step::cancelled ? task_outcome::cancelled
                                                         : task_outcome::failed;
  if (host.trace() != nullptr) [[unlikely]]
    trace_end(outcome);
  host.count_end(outcome, uncounted(true));
  const std::uint32_t references = found.leaves_values ? destroy_left_values_and_publish(what) : publish_end_and_report(what);
  host.ended(*this);
  return {.given_up = references};
}

/// Destroys the values that the task's stream, or a failed all_or_nothing, leaves behind, then publishes the end. If a
/// destructor waits, the end is published first, because the destructor may wait for it.
DYNGEN_NOINLINE inline std::uint32_t task_record::destroy_left_values_and_publish(unheld_failure what) noexcept {
  class deferred_end final : public deferred_work {
   public:
    deferred_end(thread_context& here, task_record& task, unheld_failure what) noexcept
        : deferred_work(here), task_(task), what_(what) {}
    bool run_one() noexcept override {
      if (published_) return false;
      published_ = true;
      given_up = task_.publish_end_and_report(what_);
      return true;
    }
    std::uint32_t given_up = 0;

   private:
    task_record& task_;
    const unheld_failure what_;
    bool published_ = false;
  } end(context(), *this, what);
  destroy_left_values();
  (void)end.run_one();
  return end.given_up;
}

inline void task_record::observe(task_snapshot& o) noexcept {
  inspector::look looking(global_inspector());
  o.is_task = true;
  o.attempt = attempt();
  observe_stream(o);
  looking.at(this, [&]() noexcept {
    o.word = state_.load();  // [O1]
    const phase now = state_word::phase_of(o.word);
    if (now == phase::waiting) return observe_dependencies(o);
    if (now != phase::parked) return;
    if (const thread_wait* const wait = awaited()) {
      o.awaits = true;
      wait->observe(o);
    }
  });
  if (state_word::phase_of(o.word) == phase::running)
    looking.for_each_running([&](const running_task& entry, const running_task* inner) noexcept {
      if (entry.task != this || inner == nullptr) return;
      o.helps = true;
      o.add(*inner->task, wait_point::the_end);
    });
  host_->observe(*this, o);
}

}  // namespace dyngen::detail
