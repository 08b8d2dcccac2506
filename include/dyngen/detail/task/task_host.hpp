// SPDX-License-Identifier: MIT
#pragma once
// An executor as a task sees it: where it is queued, who counts it, who may look for it when everything ends, and where
// it is recorded. Implemented by the pool, by actors, which stand before a pool, and by what is behind on().

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

/// May a task still start here?
enum class admission { granted, as_cancelled, refused };

/// An executor as a task sees it. Every call is noexcept but admit().
class task_host {
 public:
  /// What tells tasks of one pool from others.
  virtual const void* pool_id() const noexcept { return this; }
  /// What queues its tasks when they may run: an actor stands before another host.
  virtual task_host& runs_on() noexcept { return *this; }
  /// Counts a task that is about to be built. Throws pool_stopped when there is none to run it any more.
  virtual admission admit() { return admission::granted; }
  /// The task could not be built after all.
  virtual void retract() noexcept {}
  /// As admit(), for who can fail the task where it is submitted: counts it all the same, and says `refused`.
  virtual admission admit_late() noexcept { return admission::granted; }
  /// How many values a stream of its tasks may be ahead if no option says it.
  virtual std::uint64_t default_backpressure() const noexcept { return 64; }
  /// Of an actor: see producer::turn().
  virtual const void* actor_id() const noexcept { return nullptr; }
  virtual bool one_method_at_a_time() const noexcept { return false; }
  /// The thread that ran a task has just left it parked, or queued again.
  virtual void left() noexcept {}
  /// A task that is held was cancelled.
  virtual void cancelled_while_waiting_for_turn(task_record&) noexcept {}
  /// Queues the task's link, and takes over one reference. `behind` puts it behind everything that is queued.
  virtual void push(task_record& task, bool behind) noexcept = 0;
  /// Where tasks go that one of its tasks starts to wait for them; null if they must run inside it.
  virtual task_host* for_children() noexcept { return this; }
  /// Shows a child of the task that runs on this thread to others who might make it a task: its host() is this one.
  /// False if there are none here, or no room.
  virtual bool offer(stealable_child&) noexcept { return false; }
  /// Ends that, by the same task, on any thread: true if the child is its own again.
  virtual bool take_back(stealable_child&) noexcept { return false; }
  /// Before a task that runs on this thread goes on with one of its children, again and again: is it time for other
  /// work?
  virtual bool wants_others_to_run() noexcept { return false; }
  /// May a thread that waits for a queued task of this host run it?
  virtual bool helps() const noexcept { return false; }
  /// A waiting thread has claimed a queued task, whose link stays in the queue.
  virtual void link_left_behind() noexcept {}
  /// Is there other work queued that a long-running task should make way for?
  virtual bool has_pending_work() const noexcept { return false; }
  /// The task is about to wait for a dependency or for room: closing must be able to find it.
  virtual void about_to_suspend(task_record&) noexcept {}
  /// Follows each about_to_suspend(), once it is settled whether the task waits or not.
  virtual void suspension_decided() noexcept {}
  /// The same and left(), of a task that its thread has parked. Who looks who waits must not see it wait before its
  /// turn has gone on.
  virtual void parks() noexcept { suspension_decided(); }
  /// A waiting or parked task is about to leave that state.
  virtual void wakes() noexcept {}
  /// The code of one of its tasks blocks its thread in `wait`, or, if that is null, goes on after it.
  virtual void task_blocks(running_task& entry, const thread_wait* wait) noexcept { entry.wait = wait; }
  /// May a stream be kept for its reader, which then resumes it for each value?
  virtual bool keeps_streams() const noexcept { return false; }
  /// The calling thread, its reader, has kept a stream, or owes it room, and found it unlisted: if nothing is taken
  /// from it for some time, its room is to be given back, and it is to run.
  virtual void is_kept(kept_entry&) noexcept {}
  /// The task of such a stream has ended.
  virtual void stream_ended(kept_entry&) noexcept {}
  /// A task that is queued, not at its actor, was cancelled: it is to end soon even if no thread becomes free.
  virtual void queued_cancelled(task_record&) noexcept {}
  /// By a thread that will only end the task: claims it, if it is queued and may be run on any thread.
  virtual bool claim_to_end(task_record& task) noexcept;
  /// A task that was claimed so is queued again, where it was.
  virtual void push_back(task_record& task) noexcept { push(task, true); }
  /// Is everything being cancelled that has not ended?
  virtual bool cancelling() const noexcept { return false; }
  /// May an attempt that failed be followed by another one?
  virtual bool allows_retries() const noexcept { return true; }
  virtual void count_retry() noexcept {}
  virtual void count_values(std::uint64_t /*stored*/, std::uint64_t /*gone*/) noexcept {}
  /// A task is about to publish its end. `stored`: values that count_values() was not told of.
  virtual void count_end(task_outcome, std::uint64_t /*stored*/) noexcept {}
  /// Everything about the task is published.
  virtual void ended(task_record&) noexcept {}
  virtual void add_host_reference() noexcept {}
  virtual void drop_host_reference() noexcept {}
  /// A record comes to life, and goes with so many values: the host must live so long. The second gets what the first
  /// gave.
  virtual std::uint8_t add_record() noexcept {
    add_host_reference();
    return 0;
  }
  virtual void drop_record(std::uint8_t /*given*/, std::uint64_t values) noexcept {
    if (values != 0) count_values(0, values);
    drop_host_reference();
  }
  /// On this thread.
  virtual void report(std::exception_ptr e, std::string_view task) noexcept { print_unhandled(e, task); }
  /// The failure of `task`, which has ended, is held by nothing any more: it is to be reported, but by no hook on this
  /// thread, which may be anywhere. The caller keeps the task alive meanwhile.
  virtual void report_later(task_record& task) noexcept;
  /// Notes what only the host knows of one of its tasks: who is before it, or what its thread is blocked in.
  virtual void observe(task_record&, task_snapshot&) noexcept {}

  /// Where to record what its tasks do; null: nowhere.
  recorder* trace() const noexcept { return trace_; }

 protected:
  constexpr explicit task_host(recorder* trace = nullptr) noexcept : trace_(trace) {}
  ~task_host() = default;
  recorder* const trace_;
};

}  // namespace dyngen::detail
