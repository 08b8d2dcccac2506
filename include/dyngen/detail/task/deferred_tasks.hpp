// SPDX-License-Identifier: MIT
#pragma once
// Tasks that become ready in a publication and whose executor may run them at once. They are handed to the executor
// when the publication is over (thread_context.hpp), in the order in which they became ready. So none of their code
// runs while waiters are claimed and not yet fired. Such a task may wait for the result of a later one; every wait
// therefore first hands over the tasks that are left. Tasks that lose their last reference in a publication are freed
// after it, too, because that runs destructors of the user.

#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/task/task_record.hpp>

namespace dyngen::detail {

/// The tasks that one publication has deferred.
class deferred_tasks final : public deferred_work {
 public:
  /// In a publication: defers the task, takes over its link, and returns true. Otherwise returns false.
  static bool defer(task_record& task) noexcept {
    thread_context& here = context();
    if (here.publishing == 0) [[likely]]
      return false;
    here.to_hand_over.push(task);
    here.after_publishing = &hand_over;
    return true;
  }
  /// Frees the task, which has no references left, when the publication is over. Called in a publication.
  static void free_later(task_record& task) noexcept {
    thread_context& here = context();
    here.to_free.push(task);
    here.after_publishing = &hand_over;
  }

  bool run_one() noexcept override {
    if (work_item* const task = tasks_.pop()) {
      static_cast<task_record*>(task)->hand_over();
      return true;
    }
    work_item* const task = unreferenced_.pop();
    if (task != nullptr) static_cast<task_record*>(task)->free_unreferenced();
    return task != nullptr;
  }

 private:
  explicit deferred_tasks(thread_context& here) noexcept
      : deferred_work(here),
        tasks_(std::exchange(here.to_hand_over, work_list())),
        unreferenced_(std::exchange(here.to_free, work_list())) {
    here.after_publishing = nullptr;
  }

  static void hand_over(thread_context& here) noexcept {
    deferred_tasks all(here);
    while (all.run_one()) {
    }
  }

  work_list tasks_;
  work_list unreferenced_;
};

inline void task_record::drop_waiters_reference() noexcept {
  // acq_rel: the last drop comes after all that the others did.
  if (references_.fetch_sub(1, acq_rel) != 1) return;
  if (context().publishing != 0)
    deferred_tasks::free_later(*this);
  else
    free_unreferenced();
}

}  // namespace dyngen::detail
