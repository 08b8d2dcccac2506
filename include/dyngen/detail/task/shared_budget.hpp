// SPDX-License-Identifier: MIT
#pragma once
// A limit that several streams share: the amount in use, its maximum, and a queue of the streams that wait until a
// value fits. A mutex guards all of it. It is locked for a few instructions at a time, and never while user code runs.
//
// A value is charged when it is constructed, before it is published. A value that does not fit stays in its slot
// unpublished and suspends its producer. Progress rule: if its stream has no value that is stored and not consumed, the
// value is admitted even beyond the limit. So streams that share a budget can be consumed in any order, even if one of
// them is produced from another.

#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/task/task_record.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

namespace dyngen::detail {

class budget_share;

class budget_state {
 public:
  explicit budget_state(std::uint64_t limit) noexcept : limit_(limit) {}
  std::uint64_t limit() const noexcept { return limit_; }
  std::uint64_t used() const noexcept {
    std::lock_guard lock(mutex_);
    return used_;
  }

 private:
  friend class budget_share;

  bool fits(std::uint64_t cost) const noexcept { return used_ <= limit_ && cost <= limit_ - used_; }
  /// Admits waiting streams in order, until the next one does not fit. Called without the mutex.
  void admit_waiting() noexcept;

  const std::uint64_t limit_;
  mutable mutex mutex_;
  std::uint64_t used_ = 0;
  budget_share* first_ = nullptr;  ///< the queue of waiting streams
  budget_share* last_ = nullptr;
};

/// One stream's part of a budget: the costs of its values that are not consumed yet, in order.
class budget_share {
 public:
  /// Throws std::bad_alloc.
  explicit budget_share(std::shared_ptr<budget_state> budget) : budget_(std::move(budget)) {}
  budget_share(const budget_share&) = delete;
  budget_share& operator=(const budget_share&) = delete;
  virtual ~budget_share() = default;

  void belongs_to(task_record& task) noexcept { task_ = &task; }

  /// Charges a value that was constructed. Returns false if the value must wait, until waits() returns false. Throws
  /// std::bad_alloc.
  bool charge(std::uint64_t cost) {
    // A value that costs more than the limit is admitted only alone, whatever it costs.
    if (cost > budget_->limit_) cost = budget_->limit_ + 1;
    std::lock_guard lock(budget_->mutex_);
    if (closed_) return true;
    const bool alone = costs_.empty();
    costs_.push_back(cost);
    if (alone || (budget_->first_ == nullptr && budget_->fits(cost))) {
      budget_->used_ += cost;
      return true;
    }
    enqueue();
    return false;
  }

  /// Any thread may call it.
  void observe(task_snapshot& o) const noexcept {
    o.budget_used = budget_->used();
    o.budget_limit = budget_->limit();
  }

  /// True while the producer waits for its value to fit.
  bool waits() const noexcept { return waiting_.load(seq_cst); }  // [T2]

  /// Called when the reader has consumed its oldest value.
  void taken() noexcept {
    const publication all;  // no producer runs before all admitted ones are queued
    {
      std::lock_guard lock(budget_->mutex_);
      if (closed_) return;
      budget_->used_ -= costs_.front();
      costs_.pop_front();
    }
    grant_if_alone();
    budget_->admit_waiting();
  }

  /// Undoes the last charge(): its value will not be stored.
  void take_back() noexcept {
    {
      std::lock_guard lock(budget_->mutex_);
      if (closed_) return;
      if (queued_)
        dequeue();
      else
        budget_->used_ -= costs_.back();
      costs_.pop_back();
      waiting_.store(false, relaxed);  // relaxed: the producer writes it, and only the producer reads it
    }
    budget_->admit_waiting();
  }

  /// Called when the consumer is gone: from now on nothing is charged.
  void close() noexcept {
    {
      std::lock_guard lock(budget_->mutex_);
      if (std::exchange(closed_, true)) return;
      if (queued_) {
        dequeue();
        costs_.pop_back();
      }
      for (std::uint64_t cost : costs_) budget_->used_ -= cost;
      costs_.clear();
      waiting_.store(false, relaxed);  // relaxed: the caller then calls abandon(), which wakes the producer
    }
    budget_->admit_waiting();
  }

 private:
  friend class budget_state;

  void enqueue() noexcept {
    queued_ = true;
    waiting_.store(true, relaxed);  // relaxed: written by the producer; admission happens under the mutex
    previous_ = budget_->last_;
    next_ = nullptr;
    (previous_ == nullptr ? budget_->first_ : previous_->next_) = this;
    budget_->last_ = this;
  }
  void dequeue() noexcept {
    queued_ = false;
    (previous_ == nullptr ? budget_->first_ : previous_->next_) = next_;
    (next_ == nullptr ? budget_->last_ : next_->previous_) = previous_;
  }
  /// Admits the waiting value. Called under the mutex; the caller then calls wake() on the returned task without the
  /// mutex.
  task_record& grant() noexcept {
    dequeue();
    budget_->used_ += costs_.back();
    waiting_.store(false, seq_cst);  // [T2]
    task_->add_references(1);
    return *task_;
  }
  static void wake(task_record& task) noexcept {
    if (state_word::phase_of(task.state().load()) == phase::parked) task.make_ready();
    task.drop_waiters_reference();
  }
  void grant_if_alone() noexcept {
    task_record* task = nullptr;
    {
      std::lock_guard lock(budget_->mutex_);
      if (queued_ && costs_.size() == 1) task = &grant();
    }
    if (task != nullptr) wake(*task);
  }

  std::shared_ptr<budget_state> budget_;
  task_record* task_ = nullptr;
  std::deque<std::uint64_t> costs_;  ///< the last one is not charged while it waits
  budget_share* previous_ = nullptr;
  budget_share* next_ = nullptr;
  bool queued_ = false;
  bool closed_ = false;
  atomic<bool> waiting_{false};
};

inline void budget_state::admit_waiting() noexcept {
  const publication all;  // no producer runs before all admitted ones are queued
  for (;;) {
    task_record* task = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (first_ == nullptr || !fits(first_->costs_.back())) return;
      task = &first_->grant();
    }
    budget_share::wake(*task);
  }
}

/// The share of a stream of T, which computes the cost of a value.
template <class T>
class stream_budget : public budget_share {
 public:
  using cost_function = std::uint64_t (*)(stream_budget&, const T&);
  stream_budget(std::shared_ptr<budget_state> budget, cost_function cost)
      : budget_share(std::move(budget)), cost_(cost) {}
  /// Calls user code.
  std::uint64_t cost_of(const T& value) { return cost_(*this, value); }

 private:
  const cost_function cost_;  // not a virtual function: g++ 12 warns if it sees that nothing overrides it
};

}  // namespace dyngen::detail
