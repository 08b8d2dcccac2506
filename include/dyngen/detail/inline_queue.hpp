// SPDX-License-Identifier: MIT
#pragma once
// Tasks that are run, or ended, by the very thread that makes them ready: those of inline_executor, those that an
// executor has thrown away, and calls of an actor that nobody is left to run. Each thread has one list of them, which
// the outermost call empties: a chain of any length takes constant stack. While waiters are fired nothing of it is run,
// since code of the user may wait for what any of them waits for.

#include <dyngen/detail/task_record.hpp>

namespace dyngen::detail {

/// A first-in first-out list of queued tasks, through their own links. Not synchronised.
class work_list {
 public:
  void push(task_record& task) noexcept {
    // relaxed: whoever owns the list orders its uses.
    task.next_in_queue.store(nullptr, relaxed);
    if (last_ == nullptr)
      first_ = &task;
    else
      last_->next_in_queue.store(&task, relaxed);
    last_ = &task;
  }
  task_record* pop() noexcept {
    if (first_ == nullptr) return nullptr;
    auto* task = static_cast<task_record*>(first_);
    // relaxed: as above.
    first_ = first_->next_in_queue.load(relaxed);
    if (first_ == nullptr) last_ = nullptr;
    return task;
  }
  bool empty() const noexcept { return first_ == nullptr; }

 private:
  work_item* first_ = nullptr;
  work_item* last_ = nullptr;
};

class inline_queue {
 public:
  /// Runs the task, whose link is handed over, when those before it have been run.
  static void run_in_turn(task_record& task) noexcept {
    list().push(task);
    thread_context& here = context();
    if (here.run_inline != nullptr) return;
    if (here.firing != 0)
      here.after_firing = &run_all;
    else
      run_all();
  }

 private:
  [[gnu::noinline]] static work_list& list() noexcept {
    static thread_local constinit work_list here;
    return here;
  }
  static bool run_next() noexcept {
    task_record* next = list().pop();
    if (next != nullptr) next->run_popped();
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
