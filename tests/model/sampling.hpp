// SPDX-License-Identifier: MIT
#pragma once
// The scheduler of the random runs. Every second schedule switches threads at random at each step; the others switch away
// from a thread that could go on at no more than three moments, chosen at random: the same faults as an exhaustive search
// of few preemptions finds, in models that are too large for it. Relacy's own random scheduler has so short a period that
// with two threads it repeats itself after 131072 schedules.

#include <dyngen/detail/base/atomic.hpp>

#include <cstdint>
#include <istream>
#include <ostream>

namespace dyngen::model {

template <rl::thread_id_t Threads>
class sampling_scheduler : public rl::scheduler<sampling_scheduler<Threads>, rl::scheduler_thread_info, Threads> {
  using base = rl::scheduler<sampling_scheduler, rl::scheduler_thread_info, Threads>;

 public:
  struct task_t {};

  sampling_scheduler(rl::test_params& params, typename base::shared_context_t& context, rl::thread_id_t dynamic_threads)
      : base(params, context, dynamic_threads) {}

  rl::thread_id_t iteration_begin_impl() {
    random_ = this->iter_ * 0x9e3779b97f4a7c15;
    if (steps_ > longest_) longest_ = steps_;
    steps_ = 0;
    few_ = this->iter_ % 2 == 0;
    for (std::uint64_t& each : preempted_at_) each = few_ ? below(longest_ + 1) : 0;
    return this->running_threads[below(this->running_threads_count)];
  }
  bool iteration_end_impl() const { return this->iter_ >= this->params_.iteration_count; }
  rl::iteration_t iteration_count_impl() const { return this->params_.iteration_count; }

  rl::thread_id_t schedule_impl(rl::unpark_reason& reason, unsigned yields) {
    ++steps_;
    const unsigned running = this->running_threads_count;
    if (const unsigned timed = this->timed_thread_count_; timed != 0 && (running == 0 || below(8) == 0)) {
      reason = rl::unpark_reason_timeout;
      return awake(this->timed_threads_[below(timed)]->index_);
    }
    if (const unsigned sleeping = this->spurious_thread_count_; sleeping != 0 && running != 0 && below(16) == 0) {
      reason = rl::unpark_reason_spurious;
      return awake(this->spurious_threads_[below(sleeping)]->index_);
    }
    RL_VERIFY(running != 0);
    reason = rl::unpark_reason_normal;
    const bool runs_on = few_ && this->thread_->state_ == rl::thread_state_running && yields == 0 && !preempted();
    if (runs_on) return this->thread_->index_;
    const rl::thread_id_t next = this->running_threads[below(running)];
    // A thread that waits for another one in a loop, or is preempted, yields.
    if (few_ && next == this->thread_->index_) return this->running_threads[below(running)];
    return next;
  }

  unsigned rand_impl(unsigned limit, rl::sched_type) { return below(limit); }

  // So that a failed schedule can be run again: its number determines all but the lengths of the earlier ones.
  void get_state_impl(std::ostream& to) const { to << longest_ << ' '; }
  void set_state_impl(std::istream& from) { from >> longest_; }
  void on_thread_block(rl::thread_id_t, bool) {}

 private:
  unsigned below(std::uint64_t limit) {
    // splitmix64 by Steele, Lea and Flood (2014)
    std::uint64_t z = random_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return static_cast<unsigned>(((z ^ (z >> 31)) >> 32) * limit >> 32);
  }
  bool preempted() const {
    for (const std::uint64_t at : preempted_at_)
      if (at == steps_) return true;
    return false;
  }
  rl::thread_id_t awake(rl::thread_id_t thread) {
    this->unpark_thread(thread);
    return thread;
  }

  std::uint64_t random_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t longest_ = 0;
  std::uint64_t preempted_at_[3] = {};
  bool few_ = false;
};

}  // namespace dyngen::model
