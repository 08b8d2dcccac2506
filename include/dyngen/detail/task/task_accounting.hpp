// SPDX-License-Identifier: MIT
#pragma once
// The second of the three interfaces of a host (task_host.hpp): which tasks are alive, which of them wait, and how they ended.
// By this a pool knows when it may end, and what its statistics say.

#include <dyngen/detail/task/task_scheduling.hpp>

#include <cstdint>

namespace dyngen::detail {

/// How a task ended, for statistics.
enum class task_outcome { completed, failed, cancelled };

/// The result of asking whether a task may still start.
enum class admission { granted, as_cancelled, refused };

/// Only admit() may throw.
class task_accounting : public task_scheduling {
 public:
  /// Counts a task that is about to be constructed. Throws pool_stopped if no thread would run it any more.
  virtual admission admit() { return admission::granted; }
  /// Undoes admit(): the task could not be constructed.
  virtual void retract() noexcept {}
  /// admit() for a caller that can fail the task where it is submitted: counts the task in any case, and returns
  /// `refused` instead of throwing.
  virtual admission admit_late() noexcept { return admission::granted; }
  /// Called when a task was cancelled that waits for its turn.
  virtual void cancelled_while_waiting_for_turn(task_record&) noexcept {}
  /// Called before a task suspends for a dependency or for credits: a closing host must be able to find it.
  virtual void about_to_suspend(task_record&) noexcept {}
  /// Called once after each about_to_suspend(), when it is decided whether the task suspends.
  virtual void suspension_decided() noexcept {}
  /// Called when the task's thread has parked it: left() followed by suspension_decided(), in this order. A closing
  /// pool must not count an actor call as suspended while the call still has the actor's turn.
  virtual void parks() noexcept { suspension_decided(); }
  /// Called before a waiting or parked task leaves that state.
  virtual void wakes() noexcept {}
  /// Called when a queued task (not queued at its actor) was cancelled: it must end soon even if no thread becomes
  /// free.
  virtual void queued_cancelled(task_record&) noexcept {}
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

 protected:
  ~task_accounting() = default;
};

}  // namespace dyngen::detail
