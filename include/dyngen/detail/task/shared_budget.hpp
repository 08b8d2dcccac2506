// SPDX-License-Identifier: MIT
#pragma once
// What several streams share when they are bounded together: an amount in use, its limit, and the streams that wait for
// some of it to come back, in the order in which they began to. A mutex guards all of it; it is held for a few
// instructions, and never while user code runs.
//
// A value is charged when it is built, before it is stored. One that does not fit waits in its place, and its producer
// with it; unless no value of its stream waits to be taken: then it may pass whatever the budget says. So streams that
// share a budget can be drained in any order, also when one of them is made from another.

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
  /// Grants in turn, until one does not fit. Called without the mutex.
  void serve() noexcept;

  const std::uint64_t limit_;
  mutable mutex mutex_;
  std::uint64_t used_ = 0;
  budget_share* first_ = nullptr;  ///< of those that wait
  budget_share* last_ = nullptr;
};

/// One stream's part: what its values that wait to be taken have cost, in their order.
class budget_share {
 public:
  /// Throws std::bad_alloc.
  explicit budget_share(std::shared_ptr<budget_state> budget) : budget_(std::move(budget)) {}
  budget_share(const budget_share&) = delete;
  budget_share& operator=(const budget_share&) = delete;
  virtual ~budget_share() = default;

  void belongs_to(task_record& task) noexcept { task_ = &task; }

  /// A value is built. False if it has to wait: then waits() says for how long. Throws std::bad_alloc.
  bool charge(std::uint64_t cost) {
    // One that is dearer than the limit passes alone, however dear.
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

  /// Any thread.
  void observe(task_snapshot& o) const noexcept {
    o.budget_used = budget_->used();
    o.budget_limit = budget_->limit();
  }

  /// Does the producer still wait for its value to fit?
  bool waits() const noexcept { return waiting_.load(seq_cst); }  // [T2]

  /// The first value was taken.
  void taken() noexcept {
    const publication all;  // as serve()
    {
      std::lock_guard lock(budget_->mutex_);
      if (closed_) return;
      budget_->used_ -= costs_.front();
      costs_.pop_front();
    }
    grant_if_alone();
    budget_->serve();
  }

  /// The value that was charged last is not stored after all.
  void take_back() noexcept {
    {
      std::lock_guard lock(budget_->mutex_);
      if (closed_) return;
      if (queued_)
        dequeue();
      else
        budget_->used_ -= costs_.back();
      costs_.pop_back();
      waiting_.store(false, relaxed);  // relaxed: by the producer, who alone looks at it
    }
    budget_->serve();
  }

  /// The consumer is gone: nothing counts any more.
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
      waiting_.store(false, relaxed);  // relaxed: what abandon() does next wakes the producer
    }
    budget_->serve();
  }

 private:
  friend class budget_state;

  void enqueue() noexcept {
    queued_ = true;
    waiting_.store(true, relaxed);  // relaxed: by the producer; grants are given under the mutex
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
  /// Under the mutex. The task is to be woken by wake(), without it.
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
  std::deque<std::uint64_t> costs_;  ///< the last one is not charged yet while it is queued
  budget_share* previous_ = nullptr;
  budget_share* next_ = nullptr;
  bool queued_ = false;
  bool closed_ = false;
  atomic<bool> waiting_{false};
};

inline void budget_state::serve() noexcept {
  const publication all;  // no producer runs before all that may go on are on their way
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

/// The share of a stream of T, which knows what a value costs.
template <class T>
class stream_budget : public budget_share {
 public:
  using cost_function = std::uint64_t (*)(stream_budget&, const T&);
  stream_budget(std::shared_ptr<budget_state> budget, cost_function cost)
      : budget_share(std::move(budget)), cost_(cost) {}
  /// Calls the user's code.
  std::uint64_t cost_of(const T& value) { return cost_(*this, value); }

 private:
  const cost_function cost_;  // no virtual function: g++ 12 warns where it sees that nothing overrides it
};

}  // namespace dyngen::detail
