// SPDX-License-Identifier: MIT
#pragma once
// Tasks that are run, or ended, by the very thread that makes them ready: those of inline_executor, those that an
// executor has thrown away, and calls of an actor that no worker is left to run. Each thread has one list of them, which
// the outermost call empties: a chain of any length takes constant stack. In a publication nothing of it is run.

#include <dyngen/detail/task/put_off.hpp>
#include <dyngen/detail/task/run_loop.hpp>

namespace dyngen::detail {

class inline_queue final : put_off_work {
 public:
  /// Runs the task, whose link is handed over, when those before it have been run.
  static void run_in_turn(task_record& task) noexcept {
    if (put_off_tasks::put_off(task)) return;
    thread_context& here = context();
    here.inline_tasks.push(task);
    if (here.runs_inline) return;
    inline_queue all(here);
    while (all.run_one()) {
    }
  }

 private:
  explicit inline_queue(thread_context& here) noexcept : put_off_work(here), here_(here) { here.runs_inline = true; }
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
