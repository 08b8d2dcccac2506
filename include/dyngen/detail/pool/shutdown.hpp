// SPDX-License-Identifier: MIT
#pragma once
// How a pool closes, and how it knows that all is over. It is a layer of pool_core.
//
//   open ──close(drain)───▶ draining ──────────▶ stopped     submits from outside throw in all but open; tasks of the
//     │                        │                              pool may go on submitting until none is left
//     └────close(cancel)──▶ cancelling ──────────────┘
//
//
// is in a list.
//
//
// [C3] the injected queue and thread_count_: a push links its task, then looks whether any worker is left; a worker takes
//      itself off the count, then looks into the queue once more (seq_cst, all four). A task may have been helped to its
//
// that runs: it may be computing what others wait for, and nothing tells the two apart.
//  - So while one is there, a pool that ends cancels nothing that waits for the outside: the task that runs may hold the
// [C4] A reader lists its stream, then looks whether the pool closes; the closer closes, then looks through the list
//      (seq_cst and the list's mutex). A stream that is kept afterwards is unlisted, so its reader comes here again.
#include <dyngen/detail/pool/ending_tasks.hpp>
#include <dyngen/detail/pool/idle_workers.hpp>
#include <dyngen/detail/pool/injection_queue.hpp>
#include <dyngen/detail/pool/lost_failures.hpp>
#include <dyngen/detail/pool/pool_counters.hpp>
#include <dyngen/detail/pool/pool_list.hpp>
#include <dyngen/detail/pool/pool_settings.hpp>
//
//    no thread is left for what is queued. With a limit on threads there is no cure for that: whatever thread was added would
//    be one beyond the limit. The default, 64, leaves room; a smaller one must count the tasks that may wait unseen.
// [F]  No queued task waits for ever behind others. A worker takes the newest task of its own deque, which may never run
//      dry: a task may push itself again until an older one has run, and a worker may block for as long as this one finds
//      work. So of 61 picks one takes the oldest injected task, one the oldest task of another worker, each of them in
//      turn, and one the oldest of the worker's own deque, also if it is the only worker. All three are first in, first
//      out at that end, so each pick brings every task behind it one nearer. Only picks of tasks are counted for it: were
//      children that run in the place of their parent counted too, 60 of them for each task would skip two of the looks
//      for ever. They have a count of their own, by which their parent makes room for injected work.

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/pool/suspended_tasks.hpp>
#include <dyngen/detail/pool/work_search.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/inline_queue.hpp>
#include <dyngen/detail/task/kept_streams.hpp>

#include <cstdint>
#include <utility>

namespace dyngen::detail {

class pool_shutdown : public work_search {
 public:
  /// Refuses submits from outside and waits until every task has ended. `mode` draining: everything runs; if
  /// `give_up_on_outside`, what only the outside could wake is cancelled. Not from a task of this pool.
  void close(closing mode, bool give_up_on_outside) noexcept {
    if (is_inherited()) return;
    announce_closing(mode);
    return_all_credits();
    while (has_run_put_off(context())) {
    }
    worker_hooks* const role = context().role;
    const bool replaced = role != nullptr && role->begin_blocking();
    for (;;) {
      const std::uint32_t settled = progress_.load(seq_cst);
      if (check_quiescence(give_up_on_outside)) break;
      sleep_on(progress_, settled);
    }
    if (replaced) role->end_blocking();
  }

  /// The first half of close(), without waiting.
  void announce(closing mode) noexcept {
    if (is_inherited()) return;
    announce_closing(mode);
    if (mode == closing::cancelling) check_quiescence(false);
  }

  /// Is this the child process of the one that made it?
  bool is_inherited() const noexcept { return closing_.load(seq_cst) == closing::inherited; }

  // --- what tasks tell a pool that may be closing ---

  // Traced, no stream is kept: a slice for each of its values would drown all others.
  bool keeps_streams() const noexcept override { return trace_ == nullptr && closing_.load(seq_cst) == closing::open; }
  void stream_ended(kept_entry& stream) noexcept override { kept_.remove(stream); }
  void is_kept(kept_entry& stream) noexcept override {
    kept_.add(stream);
    if (closing_.load(seq_cst) != closing::open)  // [C4]
      kept_.release_all();
    else
      monitor_bell_.ring();  // [D1]
  }
  bool cancelling() const noexcept final {
    // relaxed: a late look only lets a task run on for a while.
    return closing_.load(relaxed) == closing::cancelling;
  }

  void about_to_suspend(task_record& task) noexcept override {
    undecided_.fetch_add(1, seq_cst);
    suspended_.add(task);
  }
  void suspension_decided() noexcept override {
    undecided_.fetch_sub(1, seq_cst);
    const closing now = closing_.load(seq_cst);
    if (now == closing::open) return;
    // Whoever asked for the cancelling may not be there to see who goes to sleep after it.
    while (now == closing::cancelling && suspended_.cancel_one(suspended_tasks::whom::also_polling)) {
    }
    notify_closer();
  }
  void task_blocks(running_task& entry, const thread_wait* wait) noexcept override {
    suspended_.note_blocked(entry, wait);
    if (closing_.load(seq_cst) != closing::open) notify_closer();
  }
  void wakes() noexcept override { wakes_.fetch_add(1, seq_cst); }

  void observe(task_record& task, task_snapshot& o) noexcept override {
    const phase now = state_word::phase_of(o.word);
    if (now == phase::running && !o.helps) suspended_.observe_blocked(task, o);
  }

 protected:
  using totals = pool_counters::totals;

  explicit pool_shutdown(pool_settings s) : work_search(std::move(s)) {}
  ~pool_shutdown() = default;

  void announce_closing(closing mode) noexcept {
    closing now = closing_.load(seq_cst);
    while (now < mode && !closing_.compare_exchange_weak(now, mode, seq_cst)) {  // [C1]
    }
    asymmetric_fence_heavy();  // [C1]
  }

  totals count() const noexcept { return counters_.count(); }

  /// True when every task has ended. If all that live wait, and `cancel_stuck`, cancels those that wait for something
  /// outside; if none does, one of them; actors that nobody calls any more only when nothing else is left.
  bool check_quiescence(bool cancel_stuck) noexcept {
    using whom = suspended_tasks::whom;
    kept_.release_all();  // [C4]
    const std::uint64_t wakes = wakes_.load(seq_cst);
    const totals before = count();
    if (before.ended == before.started) return true;
    if (cancelling()) {
      while (suspended_.cancel_one(whom::also_polling)) {
      }
    } else if (suspended_tasks::survey all; everything_waits(before, wakes, all)) {
      bool any = false;
      if (all.idle_actors_only)
        while (suspended_.cancel_one(whom::idle_actors)) any = true;
      else if (cancel_stuck)
        while (suspended_.cancel_one(whom::outside)) any = true;
      if (cancel_stuck && !any && !all.blocked) suspended_.cancel_one(whom::any);
    }
    return false;
  }

  bool everything_waits(const totals& before, std::uint64_t wakes, suspended_tasks::survey& all) noexcept {
    all = suspended_.look();
    return all.waiting == before.started - before.ended && undecided_.load(seq_cst) == 0 &&
           wakes_.load(seq_cst) == wakes && count() == before;
  }

  // --- reports ---

  /// Reports the failures that were lost since. False if there are none.
  [[gnu::noinline]] bool run_reports(worker& w) noexcept {
    shared_state* next = lost_.take_all();
    if (next == nullptr) return false;
    const bool outer = std::exchange(w.own.reports, true);
    while (next != nullptr) {
      shared_state& lost = *std::exchange(next, lost_failures::after(*next));
      lost.report_lost();
      lost.drop_references(1);
      return_all_credits();
      report_done();
    }
    w.own.reports = outer;
    return true;
  }
  /// May this thread call the hook? Once the pool is over, only its workers may, which it waits for.
  bool calls_hook() const noexcept { return !over_.load(seq_cst) || own_worker() != nullptr; }  // [C5]
  void report_done() noexcept {
    withdraw();
    if (closing_.load(seq_cst) != closing::open) notify_closer();
  }
  /// Unattended: has everything ended, and is nothing to be reported by the hook any more?
  bool is_over() noexcept {
    do
      if (!check_quiescence(true)) return false;
    while (ending_.forget());    // [C5]
    over_.store(true, seq_cst);  // [C5]
    asymmetric_fence_heavy();               // [C5]
    return check_quiescence(true);
  }

  atomic<bool> over_{false};  ///< the pool has ended: see calls_hook()
  suspended_tasks suspended_;
  kept_streams kept_;

 private:
  atomic<std::uint64_t> wakes_{0};
  atomic<std::uint32_t> undecided_{0};
};

}  // namespace dyngen::detail
