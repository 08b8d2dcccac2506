// SPDX-License-Identifier: MIT
#pragma once
// Tasks that are run, or ended, by the very thread that makes them ready: those of inline_executor, those that an
// executor has thrown away, and calls of an actor that nobody is left to run. Each thread has one list of them, which
// the outermost call empties: a chain of any length takes constant stack. While waiters are fired nothing of it is run,
// since code of the user may wait for what any of them waits for.

#include <dyngen/detail/task_record.hpp>

namespace dyngen::detail {

class inline_queue {
 public:
  /// Runs the task, whose link is handed over, when those before it have been run.
  static void run_in_turn(task_record& task) noexcept {
    thread_context& here = context();
    here.inline_tasks.push(task);
    if (here.run_inline != nullptr) return;
    if (here.firing != 0)
      here.after_firing = &run_all;
    else
      run_all();
  }

 private:
  static bool run_next() noexcept {
    work_item* const next = context().inline_tasks.pop();
    if (next != nullptr) static_cast<task_record*>(next)->run_popped();
    return next != nullptr;
  }
  static void run_all() noexcept {
    context().run_inline = &run_next;
    while (run_next()) {
    }
    context().run_inline = nullptr;
  }
};

inline void task_record::abandon_popped() noexcept {
  if (state_.drop_link()) return drop_references(1);
  state_.set(state_word::unrunnable);
  inline_queue::run_in_turn(*this);
}

}  // namespace dyngen::detail
