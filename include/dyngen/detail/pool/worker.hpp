// SPDX-License-Identifier: MIT
#pragma once
// What a pool knows of one worker: its deque of queued work, and what it has picked so far. The search for work uses both
// (work_search.hpp); the hooks of a worker's thread are in pool_threads.hpp.
//
// A stretch is the time from one task, or one wait, to the next. Its number is odd while code of a task may run. The
// monitor reads the numbers (monitor.hpp).

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/pool/work_deque.hpp>

#include <cstdint>

namespace dyngen::detail {

class work_search;

struct worker : worker_hooks {
  explicit worker(work_search& p) noexcept : pool(p) {}

  /// A new stretch begins, and with it a new time slice. By the worker.
  // relaxed, all: the monitor compares numbers, and a mark for the wrong stretch does no harm.
    void begin_stretch() noexcept {
      stretch.store(stretch.load(relaxed) + 1, relaxed);
      if (slice_over.load(relaxed) != 0) slice_over.store(0, relaxed);
    }
    void end_stretch() noexcept { stretch.store(stretch.load(relaxed) + 1, relaxed); }

  work_search& pool;
  worker* next = nullptr;            ///< in the list of all workers, which only grows [C2]
  bool is_spare_for_ends = false;    ///< only ends tasks, and is not counted among the pool's threads; set before it runs
  work_deque deque;                  ///< the worker pushes and pops, any thread steals
  atomic<std::uint32_t> stretch{0};  ///< written by the worker, read by the monitor
  atomic<std::uint32_t> slice_over{0};  ///< written by the monitor, and cleared by the worker

  /// Only the worker's own thread touches it.
  struct own_state {
    std::uint32_t picks = 0;           ///< of tasks
    std::uint32_t children = 0;        ///< that ran in the place of their parent; see [F]
    bool injected_is_next = false;     ///< a task left the worker for what the injected queue holds
    bool starts_child = false;         ///< makes a task of an offered child, whose parent has not ended
    bool reports = false;              ///< calls the hook
    worker* last_looked_at = nullptr;  ///< of the others
  } own;

  /// Only the monitor's thread touches it.
  struct seen_by_monitor {
    std::uint32_t stretch = 0;
    deadline since{};
  } seen;

 protected:
  ~worker() = default;
};

}  // namespace dyngen::detail
