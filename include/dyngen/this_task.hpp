// SPDX-License-Identifier: MIT
#pragma once
// Functions by which a running task inspects itself. Any function that the task calls may use them, on whichever thread
// the task runs. Outside a task each throws dyngen::error.

#include <dyngen/detail/coroutine/awaiting.hpp>
#include <dyngen/detail/task/task_record.hpp>
#include <dyngen/error.hpp>

#include <cstdint>
#include <stop_token>
#include <string>

namespace dyngen::detail {

/// The innermost task whose code runs on this thread.
inline task_record& current_task() {
  const running_task* here = context().tasks;
  if (here == nullptr) throw error("dyngen: this_task: the calling thread runs no task; call this only from code that a task runs");
  return static_cast<task_record&>(*here->task);
}

}  // namespace dyngen::detail

namespace dyngen::this_task {

/// Returns whether this task was asked to stop (cancel(), stop_on, shutdown). A plain function is never interrupted, so
/// it should poll this. Throws error outside a task.
inline bool stop_requested() { return detail::current_task().stop_requested(); }

/// Throws cancelled_error if this task was asked to stop; if that leaves the task's code, the task ends as cancelled.
/// Throws error outside a task.
inline void throw_if_stop_requested() {
  detail::task_record& task = detail::current_task();
  if (task.stop_requested()) throw cancelled_error("dyngen: task " + task.label() + " was asked to stop");
}

/// Returns a token whose stop is requested when this task is asked to stop, for functions with a std::stop_token
/// parameter. Callbacks registered with it run on the thread that cancels the task. All attempts of the task share one
/// stop state. Throws std::bad_alloc, and error outside a task.
inline std::stop_token get_stop_token() { return detail::current_task().stop_token(); }

/// Returns the number of the current attempt: 1 for the first call of the callable; with max_retries 2, 3, … after
/// failures. Throws error outside a task.
inline std::uint64_t attempt() { return detail::current_task().attempt(); }

/// Returns the task's name (option `name`), or an empty string. Throws std::bad_alloc, and error outside a task.
inline std::string name() { return std::string(detail::current_task().name()); }

/// `co_await this_task::yield()` suspends the coroutine and queues its task again, so that other queued tasks run
/// first. Throws error outside a task.
inline detail::yield_to_others yield() {
  detail::current_task();
  return {};
}

/// Returns the task's number, unique in the program; a printed ref shows it. Throws error outside a task.
inline std::uint64_t id() { return detail::current_task().id(); }

}  // namespace dyngen::this_task
