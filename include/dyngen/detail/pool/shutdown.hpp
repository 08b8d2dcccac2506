// SPDX-License-Identifier: MIT
#pragma once
// How a pool closes, and how it finds out that every task has ended. A layer of pool_core.
//
//   open ──close(draining)────▶ draining ──────────▶ stopped     in all states but open, a submit from outside throws;
//     │                            │                    ▲        tasks of the pool may submit until none is left
//     └────close(cancelling)──▶ cancelling ─────────────┘
//
// The closer is the thread in close(). The counters tell it whether a task is alive (pool_counters.hpp). A list holds
// the live tasks that may wait: for a dependency, for credits, in a co_await, or on a blocked thread
// (suspended_tasks.hpp). If all live tasks wait, only something outside the pool can resume one.
//
// What the pool cannot see. A task that waits by other means than the library's (a flag, a latch, a mutex) counts as
// running: the pool cannot tell it from one that computes what other tasks wait for.
//  - While such a task is there, a pool that drains cancels no task that waits for something outside: the task that
//    counts as running may hold the promise and fulfil it. But if it waits unseen for a task that waits for something
//    outside, the end of the pool waits for both. Then only the outside, or shutdown(cancel), ends the wait.
//  - A worker that blocks in a wait of the library is replaced; one that waits unseen is not. Beyond
//    `max_spare_threads`, a spare is started only when every thread is blocked as far as the pool sees. The spare may
//    itself come to wait unseen, and then no thread is left for what is queued. No limit on threads avoids that, since
//    any thread that would help is one beyond the limit. The default, 64, leaves a margin; a smaller limit must count
//    the tasks that may wait unseen.
//
// If a task has failed and ended, and no handle holds the failure any more, a worker reports it. The thread that drops
// the last handle only puts the record into a list (lost_failures.hpp), since it may be inside any code.
//
// [C1] closing_ and the counts. A submit counts its task, then reads closing_ (seq_cst). The thread that ends a task
//      counts the end, then reads closing_. The closer changes closing_ (seq_cst), executes the heavy fence, then sums
//      the counts.
// [C4] closing_ and the kept streams. A consumer lists its stream, then reads closing_. The closer changes closing_,
//      then goes through the list and unlists every stream (seq_cst, and the list's mutex). A consumer that keeps an
//      unlisted stream calls is_kept() again, and so reads closing_.
// [C5] over_ and the counts. A thread that queues a report counts it, then reads over_ (seq_cst). The thread that ends
//      the pool sets over_ (seq_cst), executes the heavy fence, then sums once more. So a report that was queued before
//      over_ was set is made before the workers leave; one that a worker queues, before that worker leaves. Any other
//      thread that has a report after that prints it itself.
//      A record may hold the last reference to another task's failure, inside the exception that it ended with. So the
//      pool drops its own references to records while the hook can still be called: the workers drop links, in queues
//      or popped; the thread that ends the pool drops the nodes of ending_tasks.hpp before it sets over_.

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/pool/suspended_tasks.hpp>
#include <dyngen/detail/pool/work_search.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/inline_queue.hpp>
#include <dyngen/detail/task/kept_streams.hpp>

#include <cstdint>
#include <utility>

namespace dyngen::detail {

/// The layer that closes the pool.
class pool_shutdown : public work_search {
 public:
  /// Refuses submits from outside the pool and waits until every task has ended. With `mode` draining, every task that
  /// can run is run; with `give_up_on_outside` as well, tasks that only something outside the pool could resume are
  /// cancelled. With `mode` cancelling, all tasks are cancelled. From any thread, but not from a task of this pool.
  void close(closing mode, bool give_up_on_outside) noexcept {
    if (is_inherited()) return;
    announce_closing(mode);
    return_all_credits();
    while (run_one_deferred(context())) {
    }
    worker_hooks* const role = context().role;
    const bool replaced = role != nullptr && role->begin_blocking();
    for (;;) {
      const std::uint32_t progress = progress_.load(seq_cst);
      if (check_quiescence(give_up_on_outside)) break;
      sleep_on(progress_, progress);
    }
    if (replaced) role->end_blocking();
  }

  /// Starts to close the pool and returns without waiting. From any thread.
  void announce(closing mode) noexcept {
    if (is_inherited()) return;
    announce_closing(mode);
    if (mode == closing::cancelling) check_quiescence(false);
  }

  /// Is this process a child, by fork(), of the one that made the pool?
  bool is_inherited() const noexcept { return closing_.load(seq_cst) == closing::inherited; }

  // --- what tasks tell a pool that may be closing ---

  // In a traced pool no stream is kept: a slice for each value would drown all other events.
  bool keeps_streams() const noexcept override { return trace_ == nullptr && closing_.load(seq_cst) == closing::open; }
  void stream_ended(kept_entry& stream) noexcept override { kept_.remove(stream); }
  void is_kept(kept_entry& stream) noexcept override {
    kept_.add(stream);
    if (closing_.load(seq_cst) != closing::open)  // [C4]
      kept_.release_all();
    else
      monitor_bell_.ring();  // [D1]
  }
  void about_to_suspend(task_record& task) noexcept override {
    undecided_.fetch_add(1, seq_cst);
    suspended_.add(task);
  }
  void suspension_decided() noexcept override {
    undecided_.fetch_sub(1, seq_cst);
    const closing now = closing_.load(seq_cst);
    if (now == closing::open) return;
    // The thread that called announce() does not wait, so it does not see tasks that suspend after it has returned.
    while (now == closing::cancelling && suspended_.cancel_one(suspended_tasks::which::also_polling)) {
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

  explicit pool_shutdown(pool_settings s) : work_search(std::move(s)) { cancel_by(cancels_all_); }
  ~pool_shutdown() = default;

  void announce_closing(closing mode) noexcept {
    if (mode == closing::cancelling) cancels_all_.store(true, relaxed);  // relaxed: published by the exchange
    closing now = closing_.load(seq_cst);
    while (now < mode && !closing_.compare_exchange_weak(now, mode, seq_cst)) {  // [C1]
    }
    asymmetric_fence_heavy();  // [C1]
  }

  totals count() const noexcept { return counters_.count(); }

  /// Returns true when every task has ended. Otherwise, in a pool that cancels, cancels all tasks that wait or poll. In
  /// a pool that drains, if all live tasks wait:
  ///   - if only ends of actors are left, cancels these;
  ///   - else, if `cancel_stuck`, cancels the tasks that wait for something outside the pool;
  ///   - if it has cancelled none so far, no thread is blocked, and `cancel_stuck`, cancels one waiting task, any one.
  bool check_quiescence(bool cancel_stuck) noexcept {
    using which = suspended_tasks::which;
    kept_.release_all();  // [C4]
    const std::uint64_t wakes = wakes_.load(seq_cst);
    const totals before = count();
    if (before.ended == before.started) return true;
    if (cancelling()) {
      while (suspended_.cancel_one(which::also_polling)) {
      }
    } else if (suspended_tasks::survey all; everything_waits(before, wakes, all)) {
      bool any = false;
      if (all.idle_actors_only)
        while (suspended_.cancel_one(which::idle_actors)) any = true;
      else if (cancel_stuck)
        while (suspended_.cancel_one(which::outside)) any = true;
      if (cancel_stuck && !any && !all.blocked) suspended_.cancel_one(which::any);
    }
    return false;
  }

  /// Do all live tasks wait, and is no child offered? The counts are the same before and after the survey only if no
  /// task started or ended meanwhile; `wakes` is the same only if none was resumed. Sets `all` to the survey.
  bool everything_waits(const totals& before, std::uint64_t wakes, suspended_tasks::survey& all) noexcept {
    all = suspended_.look();
    // [C6] first: a parent that has taken its child back was resumed before, which the look at wakes_ then sees.
    return all.waiting == before.started - before.ended && !children_are_offered() && undecided_.load(seq_cst) == 0 &&
           wakes_.load(seq_cst) == wakes && count() == before;
  }

  // --- reports ---

  /// Called by a worker: reports the failures that are in the list. Returns false if there are none.
  DYNGEN_NOINLINE bool run_reports(worker& w) noexcept {
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
  /// May this thread call the hook? Once the pool is over, only its own workers may: the pool waits for them.
  bool calls_hook() const noexcept { return !over_.load(seq_cst) || own_worker() != nullptr; }  // [C5]
  void report_done() noexcept { settle_pending(); }
  /// In a detached pool: has every task ended, and is no failure left that the hook must report?
  bool is_over() noexcept {
    do
      if (!check_quiescence(true)) return false;
    while (ending_.forget());    // [C5]
    over_.store(true, seq_cst);  // [C5]
    asymmetric_fence_heavy();    // [C5]
    return check_quiescence(true);
  }

  atomic<bool> cancels_all_{false};  ///< closing_ is, or is about to become, cancelling
  atomic<bool> over_{false};         ///< see calls_hook() [C5]
  suspended_tasks suspended_;
  kept_streams kept_;

 private:
  atomic<std::uint64_t> wakes_{0};      ///< counts wakes(), so that a survey sees that a task was resumed meanwhile
  atomic<std::uint32_t> undecided_{0};  ///< tasks between about_to_suspend() and suspension_decided()
};

}  // namespace dyngen::detail
