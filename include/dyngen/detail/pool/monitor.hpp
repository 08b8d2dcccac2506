// SPDX-License-Identifier: MIT
#pragma once
// The monitor of a pool: a thread that acts while all workers run user code. The ender: a spare thread that only ends
// tasks. A layer of pool_core.
//
// The monitor runs no user code, takes no lock that is held while user code runs, and only marks and pushes:
//   - It queues the producer of a kept stream whose consumer does not ask for values (kept_streams.hpp).
//   - It ends the time slice of a worker that has run one task for `time_slice` while other work is queued, by setting
//     that worker's `slice_over`. The task then suspends at its next co_yield or co_await. The worker clears the mark
//     when it begins its next task. A mark that comes too late ends the slice of the wrong task: that task is queued
//     again once more than necessary.
//   - It hands a queued task that will only end (ending_tasks.hpp), and that no worker ends, to the ender.
// When no stream is kept, no task is noted for its end, and no work is queued, the monitor sleeps without a time limit.
// Its bell (doorbell.hpp, [D1]) is rung when a stream is kept, when a task is pushed that only ends, and when
// notify_worker() finds neither a sleeping nor a searching worker. Once awake, the monitor looks again every few
// milliseconds while work is queued.

#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/pool/pool_threads.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

namespace dyngen::detail {

/// The layer with the monitor and the ender.
class pool_monitor : public pool_threads {
 protected:
  explicit pool_monitor(pool_settings s) : pool_threads(std::move(s)) {}
  ~pool_monitor() = default;

  void start_monitor() {
    start_service([this] {
      name_thread("mon");
      run_monitor();
      leave_thread();
    });
  }

 private:
  /// How long code of a task may run without suspending while other work is queued.
  static constexpr std::chrono::milliseconds time_slice{10};
  /// How often the monitor looks while work is queued.
  static constexpr std::chrono::milliseconds between_looks{5};

  void run_monitor() noexcept {
    for (bool open = true; open;) {
      const deadline next = look_after_all(time_now());
      open = next != never ? monitor_bell_.doze(next) : monitor_bell_.sleep([this]() noexcept { return monitor_is_needed(); });
    }
  }
  /// Is there anything for look_after_all() to do?
  bool monitor_is_needed() const noexcept { return kept_.any() || ending_.any() || ending_.any_overdue() || work_may_be_left(); }

  /// Called by the monitor: does what is due. Returns when to call it again, or `never`.
  deadline look_after_all(deadline now) noexcept {
    deadline next = (std::min)(kept_.release_unused(now), ending_.sort(now));
    const bool work_is_left = work_may_be_left();
    if (ending_.any_overdue() || (cancelling() && work_is_left)) wake_ender();
    if (work_is_left) end_slices(now);
    if (work_is_left || ending_.any_overdue()) next = (std::min)(next, now + between_looks);
    return next;
  }
  /// Ends the time slice of each worker whose stretch is older than `time_slice`.
  void end_slices(deadline now) noexcept {
    for (worker* w = workers_.load(acquire); w != nullptr; w = w->next) {  // [C2]
      const std::uint32_t stretch = w->stretch.load(relaxed);              // relaxed: see begin_stretch()
      if (std::exchange(w->seen.stretch, stretch) != stretch)
        w->seen.since = now;
      else if (stretch % 2 != 0 && now - w->seen.since >= time_slice)
        w->slice_over.store(1, relaxed);  // relaxed: see begin_stretch()
    }
  }

  /// Called by the monitor: wakes the ender, or starts it when it is first needed. If it cannot be started, the
  /// monitor's next look tries again.
  void wake_ender() noexcept {
    if (ender_.runs) return ender_bell_.ring();
    try {
      if (ender_.worker == nullptr) ender_.worker = add_worker();
      ender_.worker->is_spare_for_ends = true;
      start_service([this] {
        name_thread("end");
        context().role = ender_.worker;
        global_inspector().register_thread(context());
        do {
          while (ender_.worker->run_one()) {
          }
          return_all_credits();
        } while (ender_bell_.sleep([this]() noexcept { return ending_.any_overdue() || (cancelling() && work_can_be_had()); }));
        leave_worker(*ender_.worker);
      });
      ender_.runs = true;
    } catch (...) {
    }
  }

  /// Only the monitor's thread uses these; the ender reads `worker`.
  struct ender {
    worker_with_hooks* worker = nullptr;  ///< in the list of workers, not counted in thread_count_
    bool runs = false;
  } ender_;
};

}  // namespace dyngen::detail
