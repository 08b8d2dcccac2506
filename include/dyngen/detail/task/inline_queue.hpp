// SPDX-License-Identifier: MIT
#pragma once
// Tasks that run or end on the thread that makes them ready: tasks of inline_executor, tasks that an executor has
// discarded, and calls of an actor for which no worker is left. Each thread has one list of such tasks. The outermost
// run_in_turn() empties it, so a chain of any length uses constant stack. None of them runs during a publication.

#include <dyngen/detail/task/deferred_tasks.hpp>
#include <dyngen/detail/task/run_loop.hpp>

namespace dyngen::detail {

class inline_queue final : deferred_work {
 public:
  /// Runs the task after those that are in the list already. Takes over the task's link.
  static void run_in_turn(task_record& task) noexcept {
    if (deferred_tasks::defer(task)) return;
    thread_context& here = context();
    here.inline_tasks.push(task);
    if (here.runs_inline) return;
    inline_queue all(here);
    while (all.run_one()) {
    }
  }

 private:
  explicit inline_queue(thread_context& here) noexcept : deferred_work(here), here_(here) { here.runs_inline = true; }
  ~inline_queue() { here_.runs_inline = false; }

  bool run_one() noexcept override {
    work_item* const task = here_.inline_tasks.pop();
    if (task != nullptr) static_cast<task_record*>(task)->run_popped();
    return task != nullptr;
  }

  thread_context& here_;
};

inline void task_record::hand_over() noexcept {
  if ((state_.load() & state_word::unrunnable) != 0) return inline_queue::run_in_turn(*this);
  host_->runs_on().push(*this, false);
}

inline void task_record::abandon_popped() noexcept {
  if (state_.drop_link()) return drop_references(1);
  state_.set(state_word::unrunnable);
  inline_queue::run_in_turn(*this);
}

}  // namespace dyngen::detail
