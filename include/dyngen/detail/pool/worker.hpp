// SPDX-License-Identifier: MIT
#pragma once
// What a pool knows of one worker. work_search.hpp uses it to find work; pool_threads.hpp implements the worker's
// hooks.
//
// A stretch is a period in which the worker runs a task without blocking. It begins when the task starts or a blocking
// wait ends, and ends when the task returns to the worker or blocks. Both add 1 to `stretch`, so it is odd during a
// stretch. The monitor compares it with the value it saw before, to find a task that has used up its time slice
// (monitor.hpp).

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/pool/worker_queue.hpp>

#include <cstdint>

namespace dyngen::detail {

class work_search;

struct worker : worker_hooks, worker_queue {
  worker(work_search& p, task_host& h, idle_workers& i) noexcept : worker_queue(h, i), pool(p) {}

  /// Called by the worker: begins a stretch, and with it a time slice.
  // relaxed, all, also in end_stretch(): the monitor only compares numbers, and ending the slice of the wrong stretch
  // does no harm.
  void begin_stretch() noexcept {
    stretch.store(stretch.load(relaxed) + 1, relaxed);
    if (slice_over.load(relaxed) != 0) slice_over.store(0, relaxed);
  }
  void end_stretch() noexcept { stretch.store(stretch.load(relaxed) + 1, relaxed); }

  work_search& pool;
  worker* next = nullptr;               ///< in the list of all workers [C2]
  bool is_spare_for_ends = false;       ///< only ends tasks; not in thread_count_; set before its thread starts
  atomic<std::uint32_t> stretch{0};     ///< written by the worker, read by the monitor
  atomic<std::uint32_t> slice_over{0};  ///< set by the monitor, cleared by the worker

  /// Only the worker's thread uses these.
  struct own_state {
    std::uint32_t picks = 0;           ///< tasks picked so far [F]
    bool starts_child = false;         ///< it is making a task of an offered child, whose parent has not ended
    bool reports = false;              ///< it is calling the user's hook
    worker* last_looked_at = nullptr;  ///< the worker that another() returned last
  } own;

  /// Only the monitor's thread uses these.
  struct seen_by_monitor {
    std::uint32_t stretch = 0;
    deadline since{};
  } seen;

 protected:
  ~worker() = default;
};

}  // namespace dyngen::detail
