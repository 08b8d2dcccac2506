// SPDX-License-Identifier: MIT
#pragma once
// A worker's deque, as the tasks that run on the worker see it: they push their children there (stealable_child.hpp).

#include <dyngen/detail/pool/idle_workers.hpp>
#include <dyngen/detail/pool/work_deque.hpp>

#include <cstdint>

namespace dyngen::detail {

class task_host;

struct worker_queue {
  static constexpr std::uint32_t look_period = 61;  ///< see [F] in work_search.hpp

  worker_queue(task_host& pool, idle_workers& i) noexcept : host(pool), idle(i) {}

  task_host& host;  ///< the worker's pool
  idle_workers& idle;
  work_deque deque;  ///< the worker pushes and pops; any thread steals
  /// How many more times tasks that run on the worker start children before one of them makes way for others [F]. Only
  /// the worker's thread uses it.
  std::uint32_t until_look = look_period;
};

}  // namespace dyngen::detail
