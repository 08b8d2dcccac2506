// SPDX-License-Identifier: MIT
#pragma once
// What a running task may ask about itself, from any function that it calls, on whatever thread it runs at the moment.
// Outside any task they throw dyngen::error.

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
  if (here == nullptr) throw error("dyngen: this_task: the calling thread runs no task; ask only from code that a task calls");
  return static_cast<task_record&>(*here->task);
}

}  // namespace dyngen::detail

namespace dyngen::this_task {

/// Was this task asked to stop? A plain function is not interrupted: it polls this now and then.
inline bool stop_requested() { return detail::current_task().stop_requested(); }

/// Throws cancelled_error if this task was asked to stop: a short way to end it there.
inline void throw_if_stop_requested() {
  detail::task_record& task = detail::current_task();
  if (task.stop_requested()) throw cancelled_error("dyngen: task " + task.label() + " was asked to stop");
}

/// A token of which stop is requested when this task is asked to stop, for code that takes one. Callbacks registered
/// with it run on the thread that cancels. The same for all attempts. Throws std::bad_alloc.
inline std::stop_token get_stop_token() { return detail::current_task().stop_token(); }

/// 1 when its callable is called for the first time; under max_retries 2, 3, … after each failure.
inline std::uint64_t attempt() { return detail::current_task().attempt(); }

/// The name given by the option `name`, or an empty string.
inline std::string name() { return std::string(detail::current_task().name()); }

/// `co_await this_task::yield()`: lets other tasks run first.
inline detail::yield_to_others yield() {
  detail::current_task();
  return {};
}

/// The task's number, as in printed refs.
inline std::uint64_t id() { return detail::current_task().id(); }

}  // namespace dyngen::this_task
