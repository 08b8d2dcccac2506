// SPDX-License-Identifier: MIT
#pragma once
// How a worker finds work, and how a push wakes a worker. Work is in the deques of all workers, in the injection queue
// for tasks from other threads, and in the list of failures to report. The lowest layer of pool_core.
//
// [C2] The list of workers only grows. A worker is complete when it is published (release); readers acquire it.
// [C3] The injection queue and thread_count_. A push links its task, then checks whether any worker is left. A worker
//      that leaves decrements thread_count_, then checks the queue once more. All four operations are seq_cst. A
//      waiting thread may run a task to its end, and the pool may end, before the pusher of that task links it. Without
//      this pair, the link would stay in the queue and keep the record and the pool alive for ever. A worker does not
//      stay because a push is half done: its pusher finds the count at zero and takes the link out itself.
// [F]  Every queued task is run after a finite number of other tasks. A worker usually picks the newest task of its own
//      deque. That deque may never become empty: a task may push itself again until an older task has run. And another
//      worker may block, with tasks in its deque, for as long as this worker finds work. Therefore, of 61 picks, one
//      takes the oldest task of the injection queue, one the oldest task of another worker (each of them in turn), and
//      one the oldest task of the worker's own deque, even if it is the only worker. Each such pick advances every
//      later task of that queue by one. Children that run inside their parent are no picks: the parent makes way when
//      its time slice is over (monitor.hpp). To requeue it after so many children was tried: each time all coroutines
//      around it suspended, and the children that it had offered became tasks.
// [C6] Children and the closer. A worker that takes the link of a child counts the child as pending, then empties the
//      link's cell (release). The closer sums the counts, finds no link in any cell (acquire), then sums again. So it
//      does not overlook a child that is no longer offered and not yet a task. It also looks again whether a task was
//      resumed meanwhile, since a parent that was may have taken its child back.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/pool/doorbell.hpp>
#include <dyngen/detail/pool/ending_tasks.hpp>
#include <dyngen/detail/pool/idle_workers.hpp>
#include <dyngen/detail/pool/injection_queue.hpp>
#include <dyngen/detail/pool/lost_failures.hpp>
#include <dyngen/detail/pool/pool_counters.hpp>
#include <dyngen/detail/pool/pool_list.hpp>
#include <dyngen/detail/pool/pool_settings.hpp>
#include <dyngen/detail/pool/stealable_child.hpp>
#include <dyngen/detail/pool/worker.hpp>
#include <dyngen/detail/task/run_loop.hpp>
#include <dyngen/detail/task/task_host.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace dyngen::detail {

/// The layer with the queues.
class work_search : public task_host, public listed_pool {
 public:
  void link_left_behind() noexcept override {
    // relaxed: a hint when to compact.
    if (links_left_.fetch_add(1, relaxed) + 1 >= purge_at_.load(relaxed)) compact_injection_queue();
  }

 protected:
  static constexpr std::uint32_t look_period = 61;  ///< [F]

  explicit work_search(pool_settings s) : task_host(s.trace.get()), settings_(std::move(s)), idle_workers_(settings_.width) {}
  ~work_search() = default;

  /// Returns the calling thread's worker if that is one of this pool, otherwise null.
  worker* own_worker() const noexcept {
    auto* w = static_cast<worker*>(context().role);
    return w != nullptr && &w->pool == this ? w : nullptr;
  }

  /// Counts a child whose link this thread is about to take, or a report, as alive until it is settled.
  void begin_pending() noexcept {
    const auto [shard, index, shared] = counters_.here();
    shard.pending.add_and_look(1, shared);  // [C5][C6]
  }
  void settle_pending() noexcept {
    const auto [shard, index, shared] = counters_.here();
    shard.settled.add_and_look(1, shared);  // [C1]
    if (closing_.load(seq_cst) != closing::open) notify_closer();
  }
  /// What the deques call when a thread takes the link of a child.
  struct child_claims {
    work_search& pool;
    void before_claim() const noexcept { pool.begin_pending(); }
    void claim_failed() const noexcept { pool.settle_pending(); }
  };
  /// Is a child offered whose link no thread has taken?
  bool children_are_offered() const noexcept {
    for (const worker* w = workers_.load(acquire); w != nullptr; w = w->next)  // [C2]
      if (w->deque.has_removable()) return true;  // [C6]
    return false;
  }

  // --- waking ---

  /// Call it when work may be left. Wakes a worker. If no worker sleeps and none searches, rings the monitor.
  void notify_worker() noexcept {
    if (!idle_workers_.notify() && idle_workers_.searching() == 0) monitor_bell_.ring();  // [D1]
  }
  /// Call it after a push into the injection queue, and in place of threads that this one has turned away.
  void notify_workers_of_injected() noexcept {
    notify_worker();
    if (thread_count_.load(seq_cst) == 0) drain_after_last_worker();  // [C3]
  }
  /// Returns the function that pops from the injection queue get as `turned_away`.
  auto in_place_of_others() noexcept {
    return [this]() noexcept { notify_workers_of_injected(); };
  }

  /// Wakes the closer, to check again. Call it when a task or report has ended, or a task has suspended.
  void notify_closer() noexcept {
    progress_.fetch_add(1, seq_cst);
    wake_all(progress_);
    // In a detached pool, a worker that finds no work checks whether the pool is over: one must be awake for that.
    if (detached_.load(seq_cst)) notify_worker();
  }

  // --- finding work ---

  /// `item` was popped from a deque. Returns it if it is a task. If it is a child, makes it a task in this worker's
  /// deque, and returns null.
  task_record* popped_task(worker& w, work_item* item) noexcept {
    stealable_child* const child = stealable_child::of(item);
    if (child == nullptr) return static_cast<task_record*>(item);
    w.own.starts_child = true;
    child->leave(*this);
    w.own.starts_child = false;
    settle_pending();  // it counts as a task now
    return nullptr;
  }
  /// Returns the newest task of the worker's own deque, or null.
  task_record* next_own(worker& w) noexcept {
    while (work_item* item = w.deque.pop(child_claims{*this}))
      if (task_record* task = popped_task(w, item)) return task;
    return nullptr;
  }

  /// May work be queued anywhere in the pool? From any thread.
  bool work_may_be_left() const noexcept {
    if (injected_.maybe_nonempty() || lost_.maybe_nonempty()) return true;
    for (const worker* w = workers_.load(acquire); w != nullptr; w = w->next)  // [C2]
      if (w->deque.maybe_nonempty()) return true;
    return false;
  }

  /// May work be left that can be taken now? Called by a worker after it has announced that it will sleep or leave.
  /// Returns false also if work is left but cannot be taken yet; the thread that makes it available then looks for
  /// sleepers (injection_queue.hpp).
  bool work_can_be_had() noexcept {
    if (injected_.can_pop() || lost_.maybe_nonempty()) return true;
    for (const worker* w = workers_.load(acquire); w != nullptr; w = w->next)  // [C2]
      if (w->deque.maybe_nonempty()) return true;
    return false;
  }

  /// Returns the next task for a running worker, or null.
  task_record* next_task(worker& w) noexcept {
    if (task_record* task = next_old_task(w)) return task;
    if (task_record* task = next_own(w)) return task;
    return take_injected(w);
  }

  /// At three of 61 picks, returns the oldest task of the injection queue, of another worker, or of the own deque [F].
  /// Otherwise, or if there is none, returns null.
  task_record* next_old_task(worker& w) noexcept {
    const std::uint32_t pick = ++w.own.picks % look_period;
    if (pick == 0) return static_cast<task_record*>(injected_.try_pop(in_place_of_others()).item);
    if (pick == look_period / 3) return steal_from(another(w), w);
    if (pick == look_period * 2 / 3) return task_of(w, w.deque.steal(child_claims{*this}));
    return nullptr;
  }

  /// Takes up to 16 tasks from the injection queue. Returns the oldest, and pushes the others into the worker's own
  /// deque. Returns null if there is none.
  task_record* take_injected(worker& w) noexcept {
    constexpr std::size_t batch = 16;
    static_assert(batch <= work_deque::capacity());
    work_item* items[batch];
    const std::size_t n = injected_.try_pop_batch(items, batch, in_place_of_others());
    if (n == 0) return nullptr;
    for (std::size_t i = n; i-- > 1;) w.deque.push(items[i]);  // they fit: the deque is empty
    if (n > 1) notify_worker();  // a worker that parked while they were in no queue did not see them
    return static_cast<task_record*>(items[0]);
  }

  /// Returns a task for a searching worker: its next one, or one that it steals from any other worker; null if it finds
  /// none.
  task_record* find_work(worker& w) noexcept {
    if (task_record* task = next_task(w)) return task;
    worker* const start = w.next != nullptr ? w.next : workers_.load(acquire);  // [C2]
    worker* victim = start;
    do {
      if (task_record* task = steal_from(*victim, w)) return task;
      victim = victim->next != nullptr ? victim->next : workers_.load(acquire);  // [C2]
    } while (victim != start);
    return nullptr;
  }

  /// Returns each of the other workers in turn; `w` itself if there is no other.
  worker& another(worker& w) const noexcept {
    worker*& at = w.own.last_looked_at;
    for (int i = 0; i < 2; ++i) {
      at = at != nullptr && at->next != nullptr ? at->next : workers_.load(acquire);  // [C2]
      if (at != &w) break;
    }
    return *at;
  }
  task_record* steal_from(worker& victim, worker& thief) noexcept {
    if (&victim == &thief) return nullptr;
    const popped p = victim.deque.steal(child_claims{*this});
    if (p.item == nullptr) return nullptr;
    const auto [shard, index, shared] = counters_.here();
    shard.steals.add(1, shared);
    return task_of(thief, p);
  }
  /// Returns the task to run for `p`, an item that `w` stole. A stolen child becomes the newest task of `w`'s deque.
  task_record* task_of(worker& w, popped p) noexcept {
    if (p.item == nullptr) return nullptr;
    task_record* const task = popped_task(w, p.item);
    return task != nullptr ? task : next_own(w);
  }

  /// Removes stale links from the injection queue. A waiting thread that runs a queued task leaves its link behind; in
  /// a busy pool such links would pile up. Called when they may outnumber the others.
  void compact_injection_queue() noexcept {
    constexpr std::size_t batch = 64;
    work_item* items[batch];
    std::uint64_t kept = 0;
    // relaxed, here and below: a hint when to compact.
    std::uint64_t left = 4 * purge_at_.load(relaxed);  // a bound on the work, since other threads go on pushing
    links_left_.store(0, relaxed);
    for (;;) {
      const std::size_t n = injected_.try_pop_batch(items, batch, in_place_of_others());
      for (std::size_t i = 0; i < n; ++i) {
        auto* task = static_cast<task_record*>(items[i]);
        if (task->drop_stale_link()) continue;
        injected_.push(task);
        ++kept;
      }
      if (n < batch || left < n) break;
      left -= n;
    }
    purge_at_.store((std::max)(std::uint64_t{1024}, kept), relaxed);
    notify_workers_of_injected();  // for a worker that looked while the tasks were in no queue
  }

  /// Called by a pusher that found no worker left. Takes stale links out of the injection queue. The task that was
  /// pushed has ended already, or came too late from a foreign executor; then ~pool_core ends it. The pusher holds a
  /// reference to the task, so the pool outlives this call.
  DYNGEN_NOINLINE void drain_after_last_worker() noexcept {
    (void)ending_.forget();
    work_list kept;
    for (bool again = true; again;) {
      again = false;
      const popped p = injected_.pop_or_leave([&again]() noexcept { again = true; });
      if (p.item == nullptr) continue;  // another thread drains the queue, or another pusher is about to
      again = true;
      auto* task = static_cast<task_record*>(p.item);
      if (!task->drop_stale_link()) kept.push(*task);
    }
    while (work_item* const item = kept.pop()) injected_.push(item);
  }

  const pool_settings settings_;
  idle_workers idle_workers_;
  injection_queue injected_;
  lost_failures lost_;
  ending_tasks ending_;
  doorbell monitor_bell_;
  pool_counters counters_;

  atomic<worker*> workers_{nullptr};       ///< [C2] newest first
  atomic<std::uint32_t> thread_count_{0};  ///< workers and spares whose threads run [C3]
  atomic<bool> detached_{false};           ///< the pool object is gone, and no thread waits for the end
  atomic<std::uint32_t> progress_{0};      ///< counts notify_closer(); the closer sleeps on it

 private:
  atomic<std::uint64_t> links_left_{0};   ///< links that became stale since the last compaction
  atomic<std::uint64_t> purge_at_{1024};  ///< compact when links_left_ reaches it
};

}  // namespace dyngen::detail
