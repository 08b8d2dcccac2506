// SPDX-License-Identifier: MIT
#pragma once
// How a worker of a pool finds work, and how it learns that there is some: the deques of all workers, the queue for all
// other threads, and the reports that workers make. It is the lowest layer of pool_core.
//
//    promise, and fulfil it. If it waits itself for a task that waits for the outside, the end of the pool waits with it;
//    only the outside, or shutdown(cancel), ends that.
//  - A worker that blocks in a wait of the library is replaced, one that waits unseen is not. Beyond `max_spare_threads` a
//    spare is started only when every thread is blocked as far as the pool sees: it may itself come to wait unseen, and then
// [C2] the list of workers only grows: a worker is complete when it is published (release), and its readers acquire it.
// [C5] over_ and the counts: a thread that queues a report counts it, then looks whether the pool is over (seq_cst). The
//      thread that ends the pool says so (seq_cst), passes the heavy fence, then sums once more: a report that was queued
//      before is run before the workers go, and one of a worker's own before that worker goes. Any other thread prints a
//      later one itself.
//      A record may be what keeps the last ref on a failure, in the exception that it ended with. So what the pool itself
//      has of records is dropped where the hook can still be called: links, in queues or in hand, by workers; the notes of
//      ending_tasks.hpp by the thread that ends the pool, before it says that the pool is over.

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
#include <dyngen/detail/task/task_host.hpp>
#include <dyngen/detail/task/run_loop.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace dyngen::detail {

class work_search : public task_host, public listed_pool {
 public:
  void link_left_behind() noexcept override {
    // relaxed: only decides when to tidy up.
    if (links_left_.fetch_add(1, relaxed) + 1 >= purge_at_.load(relaxed)) compact_injection_queue();
  }

 protected:
  static constexpr std::uint32_t look_period = 61;  ///< [F]

  explicit work_search(pool_settings s) : task_host(s.trace.get()), settings_(std::move(s)), idle_workers_(settings_.width) {}
  ~work_search() = default;

  worker* own_worker() const noexcept {
    auto* w = static_cast<worker*>(context().role);
    return w != nullptr && &w->pool == this ? w : nullptr;
  }

  /// An offered child is its parent's again, or a task. Its parent is alive, and settles what it does by its next park or its
  /// end.
  void withdraw() noexcept {
    const auto [shard, index, shared] = counters_.here();
    shard.withdrawn.add_and_look(1, shared);  // [C1]
  }

  // --- waking ---

  /// Work may be left: wakes a worker, or, if none sleeps and none searches, the monitor.
  void notify_worker() noexcept {
    if (!idle_workers_.notify() && idle_workers_.searching() == 0) monitor_bell_.ring();  // [D1]
  }
  /// After pushes into the injected queue; or in place of a thread that was turned away from it.
  void notify_workers_of_injected() noexcept {
    notify_worker();
    if (thread_count_.load(seq_cst) == 0) drain_after_last_worker();  // [C3] also of those that were turned away
  }
  auto in_place_of_others() noexcept {
    return [this]() noexcept { notify_workers_of_injected(); };
  }

  void notify_closer() noexcept {
    progress_.fetch_add(1, seq_cst);
    wake_all(progress_);
    // Unattended, a worker looks whether all is over when it finds nothing to do: one must be awake for that.
    if (detached_.load(seq_cst)) notify_worker();
  }

  // --- finding work ---

  /// What was popped from a deque, if it is a task. A child that is still offered becomes one, in this worker's deque.
  task_record* popped_task(worker& w, work_item* item) noexcept {
    stealable_child* const child = stealable_child::of(item);
    if (child == nullptr) return static_cast<task_record*>(item);
    w.own.starts_child = true;
    const bool left = child->leave();
    w.own.starts_child = false;
    child->drop_references(1);
    if (left) {
      withdraw();  // it is counted as a task now
      if (closing_.load(seq_cst) != closing::open) notify_closer();  // it may have ended, and its parent have parked
    }
    return nullptr;
  }
  task_record* next_own(worker& w) noexcept {
    while (work_item* item = w.deque.pop())
      if (task_record* task = popped_task(w, item)) return task;
    return nullptr;
  }

  bool work_may_be_left() const noexcept {
    if (injected_.maybe_nonempty() || lost_.maybe_nonempty()) return true;
    for (const worker* w = workers_.load(acquire); w != nullptr; w = w->next)  // [C2]
      if (w->deque.maybe_nonempty()) return true;
    return false;
  }

  /// The same for a worker that has said that it will sleep, or leave: no also if the only work there is cannot be had yet,
  /// and another thread will look for sleepers when it can (injection_queue.hpp).
  bool work_can_be_had() noexcept {
    if (injected_.can_pop() || lost_.maybe_nonempty()) return true;
    for (const worker* w = workers_.load(acquire); w != nullptr; w = w->next)  // [C2]
      if (w->deque.maybe_nonempty()) return true;
    return false;
  }

  /// The next task for a worker that is running.
  task_record* next_task(worker& w) noexcept {
    if (task_record* task = next_old_task(w)) return task;
    if (task_record* task = next_own(w)) return task;
    return take_injected(w);
  }

  /// Now and then the oldest task of one of three places [F]; null otherwise.
  task_record* next_old_task(worker& w) noexcept {
    const std::uint32_t pick = std::exchange(w.own.injected_is_next, false) ? 0 : ++w.own.picks % look_period;
    if (pick == 0) return static_cast<task_record*>(injected_.try_pop(in_place_of_others()).item);
    if (pick == look_period / 3) return steal_from(another(w), w);
    if (pick == look_period * 2 / 3) return task_of(w, w.deque.steal());
    return nullptr;
  }

  /// Takes some of what was pushed from outside; all but the first go to the worker's own deque.
  task_record* take_injected(worker& w) noexcept {
    constexpr std::size_t batch = 16;
    static_assert(batch <= work_deque::capacity());
    work_item* items[batch];
    const std::size_t n = injected_.try_pop_batch(items, batch, in_place_of_others());
    if (n == 0) return nullptr;
    for (std::size_t i = n; i-- > 1;) w.deque.push(items[i]);  // they fit: it is empty
    if (n > 1) notify_worker();  // a thread that parked while they were in no queue did not see them
    return static_cast<task_record*>(items[0]);
  }

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

  /// One of the other workers, each in turn; itself, if there are no others.
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
    const popped p = victim.deque.steal();
    if (p.item == nullptr) return nullptr;
    const auto [shard, index, shared] = counters_.here();
    shard.steals.add(1, shared);
    return task_of(thief, p);
  }
  /// The task that `w` runs for what it took from the old end of a deque. A child becomes the newest of its own deque.
  task_record* task_of(worker& w, popped p) noexcept {
    if (p.item == nullptr) return nullptr;
    task_record* const task = popped_task(w, p.item);
    return task != nullptr ? task : next_own(w);
  }

  /// Takes links of tasks that are not queued any more out of the injected queue, when there may be more of them than
  /// of the others: a busy pool whose waiters help would keep them for ever.
  void compact_injection_queue() noexcept {
    constexpr std::size_t batch = 64;
    work_item* items[batch];
    std::uint64_t kept = 0;
    // relaxed, here and below: only decides when to tidy up.
    std::uint64_t left = 4 * purge_at_.load(relaxed);  // others push meanwhile: not for ever
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
    notify_workers_of_injected();  // for what was in no queue while a worker looked
  }

  /// By a pusher that found no worker left: what it pushed has ended already, unless a foreign executor came too late, and
  /// then the destructor sees to it. Whoever pushed holds a reference on what it pushed, so the pool outlives this.
  [[gnu::noinline]] void drain_after_last_worker() noexcept {
    (void)ending_.forget();
    work_list kept;
    for (bool again = true; again;) {
      again = false;
      const popped p = injected_.pop_or_leave([&again]() noexcept { again = true; });
      if (p.item == nullptr) continue;  // another thread drops them, or another pusher is about to
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

  atomic<worker*> workers_{nullptr};  ///< [C2] the list of all, newest first
  atomic<std::uint32_t> thread_count_{0};
  atomic<bool> detached_{false};        ///< the pool object is gone, and nobody waits for the end
  atomic<std::uint32_t> progress_{0};      ///< counts ends and naps while closing; the closer sleeps on it

 private:
  atomic<std::uint64_t> links_left_{0};  ///< by waiters, since the last purge
  atomic<std::uint64_t> purge_at_{1024};
};

}  // namespace dyngen::detail
