// SPDX-License-Identifier: MIT
#pragma once
// A worker's deque, as the tasks that run on the worker see it: they push their children there (stealable_child.hpp).

#include <dyngen/detail/pool/idle_workers.hpp>
#include <dyngen/detail/pool/work_deque.hpp>

namespace dyngen::detail {

class task_host;

struct worker_queue {
  worker_queue(task_host& pool, idle_workers& i) noexcept : host(pool), idle(i) {}

  task_host& host;  ///< the worker's pool
  idle_workers& idle;
  work_deque deque;  ///< the worker pushes and pops; any thread steals
};

}  // namespace dyngen::detail
