// SPDX-License-Identifier: MIT
#pragma once
// The order in which the calls of an actor get their turn, and the mutex that guards it (actor_executor.hpp).
//
// A call that is submitted is appended to calls_. While it waits for something other than its turn (its arguments), it
// is also in unready_, and holds up the later calls of its submitter; calls of other submitters may pass it. From its
// first turn to its end it is in begun_. While it is ready to go on, it is also in resumed_.
// The end of the actor is a call, too. It is appended last, when no handle is left, and gets its turn when no other
// call is left.

#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/task/actor_call.hpp>
#include <dyngen/detail/task/task_record.hpp>

#include <cstdint>

namespace dyngen::detail {

/// An intrusive list of an actor's calls.
template <actor_call::links actor_call::*Links>
class call_list {
 public:
  void append(actor_call& t) noexcept {
    t.*Links = {last_, nullptr};
    (last_ == nullptr ? first_ : (last_->*Links).next) = &t;
    last_ = &t;
  }
  void remove(actor_call& t) noexcept {
    const auto [previous, next] = t.*Links;
    (previous == nullptr ? first_ : (previous->*Links).next) = next;
    (next == nullptr ? last_ : (next->*Links).previous) = previous;
  }
  actor_call* first() const noexcept { return first_; }

 private:
  actor_call* first_ = nullptr;
  actor_call* last_ = nullptr;
};

/// Every member is used under `mutex_`, except `limit_`, which is constant.
class call_order {
 protected:
  explicit call_order(std::uint64_t limit) noexcept : limit_(limit) {}
  ~call_order() = default;

  void enqueue(actor_call& t) noexcept {
    t.order = ++last_order_;
    calls_.append(t);
  }
  void dequeue(actor_call& t) noexcept {
    if (first_to_look_at_ == &t) first_to_look_at_ = t.queued.next;
    calls_.remove(t);
  }

  /// If the turn is free, gives it to the next call and returns that call's task; otherwise null.
  task_record* grant_turn() noexcept {
    if (active_ != nullptr) return nullptr;
    actor_call* const resumed = resumed_.first();
    actor_call* const begins = resumed == nullptr || resumed_last_ ? next_call() : nullptr;
    if (begins != nullptr) {
      dequeue(*begins);
      begins->begun = true;
      begun_.append(*begins);
      ++in_progress_;
    } else if (resumed != nullptr) {
      resumed_.remove(*resumed);
    } else {
      return nullptr;
    }
    resumed_last_ = begins == nullptr;
    active_ = (begins != nullptr ? begins : resumed)->task;
    return active_;
  }

  /// Returns the first call that may begin, or null. Does not examine again a call that could not begin, until that
  /// call or an earlier one becomes ready.
  actor_call* next_call() noexcept {
    if (in_progress_ >= limit_) return nullptr;
    for (; first_to_look_at_ != nullptr; first_to_look_at_ = first_to_look_at_->queued.next) {
      actor_call& t = *first_to_look_at_;
      if (t.is == actor_call::kind::ender) return t.queued.previous == nullptr && in_progress_ == 0 ? &t : nullptr;
      if (!built_ && t.is != actor_call::kind::builder) return nullptr;
      if (t.ready && !follows_unready(t)) return &t;
    }
    return nullptr;
  }
  bool follows_unready(const actor_call& t) const noexcept {
    for (const actor_call* u = unready_.first(); u != nullptr && u->order < t.order; u = u->others.next)
      if (u->submitter == t.submitter) return true;
    return false;
  }

  /// Notes in `o` why `t` does not have the turn, and which calls it waits for.
  void note_calls_before(const actor_call& t, task_snapshot& o) const noexcept {
    using before_it = task_snapshot::before_it;
    if (active_ == t.task) return;
    if (active_ != nullptr) {
      o.reason = before_it::has_the_turn;
      o.add(*active_, wait_point::the_end);
    } else if (!t.begun && in_progress_ >= limit_) {
      o.reason = before_it::is_in_progress;
      for (const actor_call* u = begun_.first(); u != nullptr; u = u->others.next) o.add(*u->task, wait_point::the_end);
    } else if (const actor_call* const first = t.begun ? nullptr : first_before(t)) {
      o.reason = before_it::comes_first;
      o.add(*first->task, wait_point::the_end);
    }
  }
  /// Returns the call that must begin before `t`, which is ready: the actor's constructor, or a call of its submitter.
  const actor_call* first_before(const actor_call& t) const noexcept {
    if (!built_) return calls_.first() != &t ? calls_.first() : nullptr;
    for (const actor_call* u = unready_.first(); u != nullptr && u->order < t.order; u = u->others.next)
      if (u->submitter == t.submitter) return u;
    return nullptr;
  }

  /// Removes a call from the order if it is ready, has not begun, and is not the end of the actor. Returns whether it
  /// did. A ready call holds up no other, so no other call can begin because of this.
  bool try_remove(actor_call& t) noexcept {
    if (t.begun || !t.ready || t.is == actor_call::kind::ender) return false;
    dequeue(t);
    t.ready = false;
    t.removed = true;
    return true;
  }
  /// Has the actor handed the call on, because the call has the turn or ends without one?
  bool is_handed_on(task_record& task) const noexcept { return active_ == &task || task.as_actor_call()->removed; }

  const std::uint64_t limit_;

  mutex mutex_;
  call_list<&actor_call::queued> calls_;    ///< not begun, in the order of submits
  call_list<&actor_call::queued> resumed_;  ///< begun, and ready to go on
  call_list<&actor_call::others> unready_;  ///< those of calls_ that also wait for something other than their turn
  call_list<&actor_call::others> begun_;    ///< begun, and not ended
  actor_call* first_to_look_at_ = nullptr;  ///< no call before it in calls_ may begin
  std::uint64_t last_order_ = 0;            ///< order of the newest call
  bool resumed_last_ = false;               ///< the last turn went to a call that had begun before
  task_record* active_ = nullptr;           ///< the task that has the turn
  std::uint64_t in_progress_ = 0;           ///< how many have begun and not ended
  bool built_ = false;                      ///< the construction has ended
};

}  // namespace dyngen::detail
