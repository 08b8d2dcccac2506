// SPDX-License-Identifier: MIT
#pragma once
// The second of the three interfaces of a host (task_host.hpp): which tasks are alive, which of them wait, and how they
// ended. A pool uses this to know when it may end, and for its statistics.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/task/task_scheduling.hpp>

#include <cstdint>

namespace dyngen::detail {

/// How a task ended, for statistics.
enum class task_outcome { completed, failed, cancelled };

/// Whether a task may still start. as_cancelled: yes, but as a cancelled task.
enum class admission { granted, as_cancelled, refused };

/// Only admit() may throw.
class task_accounting : public task_scheduling {
 public:
  /// Counts a task that is about to be constructed. Throws pool_stopped if no thread would run it any more.
  virtual admission admit() { return admission::granted; }
  /// Undoes admit(): the task could not be constructed.
  virtual void retract() noexcept {}
  /// admit() for a caller that can let the task itself fail: counts the task in any case, and returns `refused` instead
  /// of throwing.
  virtual admission admit_late() noexcept { return admission::granted; }
  /// Called when a task that waits for its turn at an actor was cancelled.
  virtual void cancelled_while_waiting_for_turn(task_record&) noexcept {}
  /// Called before a task suspends for a dependency or for credits: a closing host must be able to find it.
  virtual void about_to_suspend(task_record&) noexcept {}
  /// Called once after each about_to_suspend(), when it is decided whether the task suspends.
  virtual void suspension_decided() noexcept {}
  /// Called when the thread that ran the task has parked it, in place of left() and suspension_decided(). An actor does
  /// both in this order: a closing pool must not count a call as suspended while the call still has the actor's turn.
  virtual void parks() noexcept { suspension_decided(); }
  /// Called before a waiting or parked task leaves that state.
  virtual void wakes() noexcept {}
  /// Called when a task that is queued, but not for its turn at an actor, was cancelled: it must end soon, even if no
  /// thread becomes free.
  virtual void queued_cancelled(task_record&) noexcept {}
  /// True if all tasks that have not ended are being cancelled.
  // relaxed: a stale false only lets a task run on for a while.
  bool cancelling() const noexcept { return cancels_->load(relaxed); }
  const atomic<bool>& cancelling_flag() const noexcept { return *cancels_; }
  /// True if another attempt may follow one that has failed.
  virtual bool allows_retries() const noexcept { return true; }
  virtual void count_retry() noexcept {}
  /// Counts values that were stored, and values that were destroyed.
  virtual void count_values(std::uint64_t /*stored*/, std::uint64_t /*gone*/) noexcept {}
  /// Called before a task publishes its end. `stored`: number of values that count_values() has not counted.
  virtual void count_end(task_outcome, std::uint64_t /*stored*/) noexcept {}
  /// Called when everything about the task is published.
  virtual void ended(task_record&) noexcept {}
  virtual void add_host_reference() noexcept {}
  virtual void drop_host_reference() noexcept {}
  /// add_record() is called when a record is constructed, drop_record() when it is destroyed: in between the host must
  /// exist. drop_record() gets what add_record() returned, and how many values were destroyed with the record.
  virtual std::uint8_t add_record() noexcept {
    add_host_reference();
    return 0;
  }
  virtual void drop_record(std::uint8_t /*given*/, std::uint64_t values) noexcept {
    if (values != 0) count_values(0, values);
    drop_host_reference();
  }

 protected:
  task_accounting() = default;
  ~task_accounting() = default;
  /// From now on cancelling() is what `flag` says. Called before the host has tasks.
  void cancel_by(const atomic<bool>& flag) noexcept { cancels_ = &flag; }
  void cancel_as(const task_accounting& other) noexcept { cancels_ = other.cancels_; }

 private:
  static inline constinit atomic<bool> never_{false};
  const atomic<bool>* cancels_ = &never_;
};

}  // namespace dyngen::detail
