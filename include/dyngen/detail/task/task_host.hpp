// SPDX-License-Identifier: MIT
#pragma once
// An executor as a task sees it: it queues the task, counts it, can find it when everything is shut down, and records
// it. Implemented by the pool, by actors, which wrap another host, and by the adapter behind on().

#include <dyngen/detail/task/recorder.hpp>
#include <dyngen/detail/task/task_snapshot.hpp>
#include <dyngen/detail/value/shared_state.hpp>

#include <cstdint>
#include <exception>
#include <string_view>
#include <utility>

namespace dyngen::detail {

class task_record;
class stealable_child;
struct kept_entry;

inline constexpr std::uint64_t no_limit = ~std::uint64_t{0};

/// How a task ended, for statistics.
enum class task_outcome { completed, failed, cancelled };

/// The result of asking whether a task may still start.
enum class admission { granted, as_cancelled, refused };

/// An executor as a task sees it. Only admit() may throw.
class task_host {
 public:
  /// Identifies the pool of its tasks.
  virtual const void* pool_id() const noexcept { return this; }
  /// The host that queues its tasks when they may run. An actor wraps another host.
  virtual task_host& runs_on() noexcept { return *this; }
  /// Counts a task that is about to be constructed. Throws pool_stopped if no thread would run it any more.
  virtual admission admit() { return admission::granted; }
  /// Undoes admit(): the task could not be constructed.
  virtual void retract() noexcept {}
  /// admit() for a caller that can fail the task where it is submitted: counts the task in any case, and returns
  /// `refused` instead of throwing.
  virtual admission admit_late() noexcept { return admission::granted; }
  /// The backpressure, in values, of a stream without an option for it.
  virtual std::uint64_t default_backpressure() const noexcept { return 64; }
  /// The actor, if the host is one: see shared_state::actor_id().
  virtual const void* actor_id() const noexcept { return nullptr; }
  virtual bool one_method_at_a_time() const noexcept { return false; }
  /// Called when the thread that ran a task has just parked it or queued it again.
  virtual void left() noexcept {}
  /// Called when a task was cancelled that waits for its turn.
  virtual void cancelled_while_waiting_for_turn(task_record&) noexcept {}
  /// Queues the task's link and takes over one reference. `behind`: behind everything that is queued.
  virtual void push(task_record& task, bool behind) noexcept = 0;
  /// The host of tasks that one of its tasks starts and awaits; null if they must run inside that task.
  virtual task_host* for_children() noexcept { return this; }
  /// Offers a child of the task that runs on this thread to other threads, which may make a task of it; its host() is
  /// this host. Returns false if there are no such threads or no place.
  virtual bool offer(stealable_child&) noexcept { return false; }
  /// Withdraws an offer, by the same task, on any thread. Returns true if the child belongs to the caller again.
  virtual bool take_back(stealable_child&) noexcept { return false; }
  /// Asked each time before a task that runs on this thread continues with one of its children. True: let other tasks
  /// run first.
  virtual bool wants_others_to_run() noexcept { return false; }
  /// True if a thread that waits for a queued task of this host may run it.
  virtual bool helps() const noexcept { return false; }
  /// Called when a waiting thread has claimed a queued task, whose link stays in the queue.
  virtual void link_left_behind() noexcept {}
  /// True if other work is queued, for which a long-running task should make way.
  virtual bool has_pending_work() const noexcept { return false; }
  /// Called before a task suspends for a dependency or for credits: a closing host must be able to find it.
  virtual void about_to_suspend(task_record&) noexcept {}
  /// Called once after each about_to_suspend(), when it is decided whether the task suspends.
  virtual void suspension_decided() noexcept {}
  /// Called when the task's thread has parked it: left() followed by suspension_decided(), in this order. A closing
  /// pool must not count an actor call as suspended while the call still has the actor's turn.
  virtual void parks() noexcept { suspension_decided(); }
  /// Called before a waiting or parked task leaves that state.
  virtual void wakes() noexcept {}
  /// Called when the code of one of its tasks blocks its thread in `wait`, and, with null, when it continues.
  virtual void task_blocks(running_task& entry, const thread_wait* wait) noexcept { entry.wait = wait; }
  /// True if a stream may be kept for its reader, which then resumes it for each value.
  virtual bool keeps_streams() const noexcept { return false; }
  /// Called by a stream's reader that has kept the stream, or owes it credits, and found it unlisted. If no value is
  /// consumed for some time, the host returns the credits and queues the stream.
  virtual void is_kept(kept_entry&) noexcept {}
  /// Called when the task of such a stream has ended.
  virtual void stream_ended(kept_entry&) noexcept {}
  /// Called when a queued task (not queued at its actor) was cancelled: it must end soon even if no thread becomes
  /// free.
  virtual void queued_cancelled(task_record&) noexcept {}
  /// Called by a thread that only ends the task: claims it if it is queued and any thread may run it.
  virtual bool claim_to_end(task_record& task) noexcept;
  /// Queues a task again, in its former queue, after claim_to_end().
  virtual void push_back(task_record& task) noexcept { push(task, true); }
  /// True if all tasks that have not ended are being cancelled.
  virtual bool cancelling() const noexcept { return false; }
  /// True if another attempt may follow one that has failed.
  virtual bool allows_retries() const noexcept { return true; }
  virtual void count_retry() noexcept {}
  virtual void count_values(std::uint64_t /*stored*/, std::uint64_t /*gone*/) noexcept {}
  /// Called before a task publishes its end. `stored`: number of values that count_values() has not counted.
  virtual void count_end(task_outcome, std::uint64_t /*stored*/) noexcept {}
  /// Called when everything about the task is published.
  virtual void ended(task_record&) noexcept {}
  virtual void add_host_reference() noexcept {}
  virtual void drop_host_reference() noexcept {}
  /// add_record() is called when a record is constructed, drop_record() when it is destroyed: the host must exist as
  /// long. drop_record() gets what add_record() returned, and how many values were destroyed with the record.
  virtual std::uint8_t add_record() noexcept {
    add_host_reference();
    return 0;
  }
  virtual void drop_record(std::uint8_t /*given*/, std::uint64_t values) noexcept {
    if (values != 0) count_values(0, values);
    drop_host_reference();
  }
  /// Reports an exception to the hook on this thread.
  virtual void report(std::exception_ptr e, std::string_view task) noexcept { print_unhandled(e, task); }
  /// Called when the failure of `task`, which has ended, has no carrier any more. It must be reported, but not on this
  /// thread, which may be in the middle of any user code. The caller keeps the task alive meanwhile.
  virtual void report_later(task_record& task) noexcept;
  /// Records what only the host knows of one of its tasks: for which calls it waits at its actor, or in which wait its
  /// thread is blocked.
  virtual void observe(task_record&, task_snapshot&) noexcept {}

  /// The recorder of its tasks; null if they are not traced.
  recorder* trace() const noexcept { return trace_; }

 protected:
  constexpr explicit task_host(recorder* trace = nullptr) noexcept : trace_(trace) {}
  ~task_host() = default;
  recorder* const trace_;
};

}  // namespace dyngen::detail
