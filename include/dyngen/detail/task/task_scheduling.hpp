// SPDX-License-Identifier: MIT
#pragma once
// The first of the three interfaces of a host (task_host.hpp): where a task is queued, and which threads may run it. A
// simple executor implements nothing else.

#include <dyngen/detail/base/thread_context.hpp>

#include <cstdint>

namespace dyngen::detail {

class task_host;
class task_record;
struct kept_entry;

class task_scheduling {
 public:
  /// Queues the task's link and takes over one reference. `behind`: the task comes after all work that is queued now.
  virtual void push(task_record& task, bool behind) noexcept = 0;
  /// Queues a task again, in its former queue, after claim_to_end().
  virtual void push_back(task_record& task) noexcept { push(task, true); }
  /// True if a thread that waits for a queued task of this host may run it.
  virtual bool helps() const noexcept { return false; }
  /// True if other work is queued, for which a long-running task should make way.
  virtual bool has_pending_work() const noexcept { return false; }
  /// The host for tasks that a task of this host starts and awaits; null if they must run inside that task.
  virtual task_host* for_children() noexcept;
  /// Called when a waiting thread has claimed a queued task, whose link stays in the queue.
  virtual void link_left_behind() noexcept {}
  /// Called by a thread that only ends the task: claims the task if it is queued and any thread may end it. Returns
  /// whether it did.
  virtual bool claim_to_end(task_record& task) noexcept;
  /// Called when the code of a task of this host blocks its thread in `wait`, and, with null, when the code continues.
  virtual void task_blocks(running_task& entry, const thread_wait* wait) noexcept { entry.wait = wait; }
  /// Identifies the pool of its tasks.
  virtual const void* pool_id() const noexcept { return this; }
  /// The host that queues the tasks when they may run: this one, or the base executor of an actor.
  virtual task_host& runs_on() noexcept;
  /// The actor, if the host is one: see shared_state::actor_id().
  virtual const void* actor_id() const noexcept { return nullptr; }
  /// True for an actor that begins a method only when the one before has ended.
  virtual bool one_method_at_a_time() const noexcept { return false; }
  /// Called when the thread that ran a task has just parked it or queued it again.
  virtual void left() noexcept {}
  /// True if a stream may be kept for its reader, which then resumes it for each value.
  virtual bool keeps_streams() const noexcept { return false; }
  /// Called by a stream's reader that has kept the stream, or owes it credits, and found it unlisted
  /// (kept_streams.hpp). If no value is consumed for some time, the host returns the credits and queues the stream.
  virtual void is_kept(kept_entry&) noexcept {}
  /// Called when the task of such a stream has ended.
  virtual void stream_ended(kept_entry&) noexcept {}
  /// The backpressure, in values, of a stream without an option for it.
  virtual std::uint64_t default_backpressure() const noexcept { return 64; }

 protected:
  ~task_scheduling() = default;
};

}  // namespace dyngen::detail
