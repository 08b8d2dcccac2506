// SPDX-License-Identifier: MIT
#pragma once
// The engine of thread_pool: workers with a deque each, a queue for all other threads, seats that say which workers may be
// awake, spares for workers that block, a monitor, and the rules by which a pool closes. Tasks push and are run; everything
// else about them is theirs.
//
//   open ──close(drain)───▶ draining ──────────▶ stopped     submits from outside throw in all but open; tasks of the
//     │                        │                              pool may go on submitting until none is left
//     └────close(cancel)──▶ cancelling ──────────────┘
//
// Whether anything is alive, the counters say (pool_counters.hpp). What is alive but waits (for a dependency, for room)
// is in a list.
//
// The monitor is one more thread, for what no worker sees when all of them run code of the user's. It runs no such code
// itself, takes no lock that is held across it, and only marks and pushes:
//   - a stream that is kept for a reader which does not ask is queued (kept_streams.hpp);
//   - a worker that has run one task for `time_slice` while other work is queued is told so, by a word of its own. What it
//     runs then suspends at its next co_yield or co_await. The worker clears the word when it begins its next task; a mark
//     that comes too late ends the slice of the wrong task early, which costs that task one turn;
//   - a cancelled or doomed task that is queued, and that no worker ends, is handed to a spare thread (ending_tasks.hpp).
// It sleeps without a limit while there is none of this: no stream is kept, no task is noted for its end, and no work is
// queued without a worker that could come for it. Whatever changes that rings (doorbell.hpp, [D1]): is_kept(), a push of a
// task that only ends, and a notify() that finds neither a sleeping nor a searching worker. As long as work is queued it
// looks again every few milliseconds.
//
// A failure that goes unseen after its task has ended is reported by a worker: the record is put into a list, without an
// allocation, as the thread that dropped the last handle may be anywhere.
//
// [C1] closing_ and the counts: a submit counts itself, then looks whether the pool is open (seq_cst); the closer closes
//      (seq_cst), then sums. An end counts itself, then looks whether somebody closes. The closer has the heavy side.
// [C3] the injected queue and thread_count_: a push links its task, then looks whether any worker is left; a worker takes
//      itself off the count, then looks into the queue once more (seq_cst, all four). A task may have been helped to its
//      end, and the pool with it, while its pusher was about to link it: that link would keep record and pool for ever. No
//      worker stays for a push that is half done: its pusher finds the count at zero, and takes the link out itself.
// What the pool cannot see. A task that waits by other means than the library's (a flag, a latch, a mutex) counts as one
// that runs: it may be computing what others wait for, and nothing tells the two apart.
//  - So while one is there, a pool that ends cancels nothing that waits for the outside: the task that runs may hold the
//    promise, and fulfil it. If it waits itself for a task that waits for the outside, the end of the pool waits with it;
//    only the outside, or shutdown(cancel), ends that.
//  - A worker that blocks in a wait of the library is replaced, one that waits unseen is not. Beyond `max_spare_threads` a
//    spare is started only when every thread is blocked as far as the pool sees: it may itself come to wait unseen, and then
//    no thread is left for what is queued. With a limit on threads there is no cure for that: whatever thread was added would
//    be one beyond the limit. The default, 64, leaves room; a smaller one must count the tasks that may wait unseen.
// [F]  No queued task waits for ever behind others. A worker takes the newest task of its own deque, which may never run
//      dry: a task may push itself again until an older one has run, and a worker may block for as long as this one finds
//      work. So of 61 picks one takes the oldest injected task, one the oldest task of another worker, each of them in
//      turn, and one the oldest of the worker's own deque, also if it is the only worker. All three are first in, first
//      out at that end, so each pick brings every task behind it one nearer. Only picks of tasks are counted for it: were
//      children that run in the place of their parent counted too, 60 of them for each task would skip two of the looks
//      for ever. They have a count of their own, by which their parent makes room for injected work.

// [C5] over_ and the counts: a thread that queues a report counts it, then looks whether the pool is over (seq_cst). The
//      thread that ends the pool says so (seq_cst), passes the heavy fence, then sums once more: a report that was queued
//      before is run before the workers go, and one of a worker's own before that worker goes. Any other thread prints a
//      later one itself.
//      A record may be what keeps the last ref on a failure, in the exception that it ended with. So what the pool itself
//      has of records is dropped where the hook can still be called: links, in queues or in hand, by workers; the notes of
//      ending_tasks.hpp by the thread that ends the pool, before it says that the pool is over.

#include <dyngen/detail/base/asymmetric_fence.hpp>
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
#include <dyngen/detail/pool/suspended_tasks.hpp>
#include <dyngen/detail/pool/work_deque.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/inline_queue.hpp>
#include <dyngen/detail/task/kept_streams.hpp>
#include <dyngen/detail/task/run_loop.hpp>
#include <dyngen/stats.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#if defined(__linux__)
#  include <pthread.h>
#endif

namespace dyngen::detail {

class pool_core final : public task_host, public listed_pool {
 public:
  /// Starts the threads. Throws std::system_error or std::bad_alloc, and then none is left. `end()` ends it.
  static pool_core* create(pool_settings settings) {
    auto* core = new pool_core(std::move(settings));
    register_membarrier();
    try {
      for (std::uint32_t i = 0; i < core->settings_.width; ++i) core->start_thread(false);
      core->start_monitor();
    } catch (...) {
      core->stop_threads();
      core->drop_host_reference();
      throw;
    }
    return core;
  }

  std::uint32_t width() const noexcept { return settings_.width; }

  // --- as the host of tasks ---

  admission admit() override {
    const auto [shard, index, shared] = counters_.here();
    shard.started.add_and_look(1, shared);       // [C1]
    const closing now = closing_.load(seq_cst);  // [C1]
    if (now == closing::open) return admission::granted;
    if (now == closing::inherited) {
      retract();
      throw pool_stopped("dyngen: submit on a pool of the parent process" + name_in_brackets() +
                         ": after fork() it has no threads; make another one in the child");
    }
    if (!runs_own_task() && !starts_child()) {
      retract();
      throw pool_stopped("dyngen: submit on a pool that was shut down" +
                         name_in_brackets() + "; only its own tasks may still submit to it");
    }
    return now == closing::cancelling ? admission::as_cancelled : admission::granted;
  }
  admission admit_late() noexcept override {
    const auto [shard, index, shared] = counters_.here();
    shard.started.add_and_look(1, shared);       // [C1]
    const closing now = closing_.load(seq_cst);  // [C1]
    if (now == closing::open) return admission::granted;
    if (now == closing::inherited || !runs_own_task()) return admission::refused;
    return now == closing::cancelling ? admission::as_cancelled : admission::granted;
  }
  void retract() noexcept override {
    const auto [shard, index, shared] = counters_.here();
    shard.retracted.add(1, shared);
    shard.ended.add_and_look(1, shared);  // [C1]
    if (closing_.load(seq_cst) != closing::open) notify_closer();
  }

  void push(task_record& task, bool behind) noexcept override {
    const bool only_ends = (task.state().load() & state_word::only_ends) != 0;
    if (only_ends) [[unlikely]]
      ending_.note(task);
    worker* w = behind ? nullptr : own_worker();
    if (w == nullptr || w->is_spare_for_ends || !w->deque.push(&task)) injected_.push(&task);
    notify_worker();
    if (only_ends) [[unlikely]]
      monitor_bell_.ring();  // [D1]
    if (thread_count_.load(seq_cst) == 0) [[unlikely]]  // [C3]
      drain_after_last_worker();
  }
  void queued_cancelled(task_record& task) noexcept override {
    ending_.note(task);
    monitor_bell_.ring();                    // [D1]
    if (thread_count_.load(seq_cst) == 0) [[unlikely]]  // [C3]
      (void)ending_.forget();
  }

  // An offered child counts as something that is alive: a pool that closes must not take its parent for one that waits
  // for something outside.
  bool offer(stealable_child& child) noexcept override {
    worker* const w = own_worker();
    if (w == nullptr) return false;
    const auto [shard, index, shared] = counters_.here();
    shard.offered.add_and_look(1, shared);  // [C1]
    const bool there_is_room = w->deque.push(child.link());
    if (there_is_room)
      idle_workers_.notify();  // without a worker that could come, the parent takes it back
    else
      withdraw();
    return there_is_room;
  }
  bool take_back(stealable_child& child) noexcept override {
    worker* const w = own_worker();
    const bool popped = w != nullptr && w->deque.pop_if(child.link());
    const bool mine = popped || child.take_back();
    child.drop_references(popped ? 2 : 1);
    if (mine) withdraw();
    return mine;
  }
  bool wants_others_to_run() noexcept override {
    worker* const w = own_worker();
    if (w == nullptr) return false;
    if (slice_is_over(context())) return true;
    if (++w->children % look_period != 0 || !injected_.maybe_nonempty()) return false;
    w->injected_is_next = true;
    return true;
  }

  bool helps() const noexcept override { return settings_.waiters_help; }
  // Traced, no stream is kept: a slice for each of its values would drown all others.
  bool keeps_streams() const noexcept override { return trace_ == nullptr && closing_.load(seq_cst) == closing::open; }
  // [C4] A reader lists its stream, then looks whether the pool closes; the closer closes, then looks through the list
  //      (seq_cst and the list's mutex). A stream that is kept afterwards is unlisted, so its reader comes here again.
  void stream_ended(kept_entry& stream) noexcept override { kept_.remove(stream); }
  void is_kept(kept_entry& stream) noexcept override {
    kept_.add(stream);
    if (closing_.load(seq_cst) != closing::open)  // [C4]
      kept_.release_all();
    else
      monitor_bell_.ring();  // [D1]
  }
  void link_left_behind() noexcept override {
    // relaxed: only decides when to tidy up.
    if (links_left_.fetch_add(1, relaxed) + 1 >= purge_at_.load(relaxed)) compact_injection_queue();
  }
  bool has_pending_work() const noexcept override {
    worker* const w = own_worker();
    if (w == nullptr) return injected_.maybe_nonempty();
    return w->deque.maybe_nonempty() || injected_.maybe_nonempty() || another(*w).deque.maybe_nonempty();
  }
  bool cancelling() const noexcept override {
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

  void count_end(task_outcome how, std::uint64_t stored) noexcept override {
    const auto [shard, index, shared] = counters_.here();
    shard.outcomes[static_cast<unsigned>(how)].add(1, shared);
    if (stored != 0) shard.values_stored.add(stored, shared);
  }
  void count_retry() noexcept override {
    const auto [shard, index, shared] = counters_.here();
    shard.retried.add(1, shared);
  }
  void count_values(std::uint64_t stored, std::uint64_t gone) noexcept override {
    const auto [shard, index, shared] = counters_.here();
    if (stored != 0) shard.values_stored.add(stored, shared);
    if (gone != 0) shard.values_gone.add(gone, shared);
  }

  void ended(task_record& task) noexcept override {
    if (task.listed) suspended_.remove(task);
    const auto [shard, index, shared] = counters_.here();
    shard.ended.add_and_look(1, shared);  // [C1]
    if (closing_.load(seq_cst) != closing::open) notify_closer();
  }

  void add_host_reference() noexcept override {
    // relaxed: whoever retains it has it from somebody who keeps it alive.
    references_.fetch_add(1, relaxed);
  }
  void drop_host_reference() noexcept override {
    // acq_rel: the last one comes after all that the others did.
    if (references_.fetch_sub(1, acq_rel) == 1) delete this;
  }

  // Records are counted where they are made. A place with any holds one reference: so many threads that make and free
  // records seldom meet. Who makes one is kept alive by the pool, or by the record of the task that he runs.
  std::uint8_t add_record() noexcept override {
    const auto [shard, index, shared] = counters_.here();
    // relaxed: as add_host_reference().
    if (shard.records.fetch_add(1, relaxed) == 0) add_host_reference();
    return index;
  }
  void drop_record(std::uint8_t index, std::uint64_t values) noexcept override {
    if (values != 0) {
      const auto [shard, mine, shared] = counters_.here();
      shard.values_gone.add(values, shared);
    }
    // acq_rel: the last one comes after all that the others did.
    if (counters_.at(index).records.fetch_sub(1, acq_rel) == 1) drop_host_reference();
  }

  void report(std::exception_ptr e, std::string_view task) noexcept override {
    if (settings_.hook == nullptr || !calls_hook()) return print_unhandled(std::move(e), task);
    std::exception_ptr thrown;
    try {
      (*settings_.hook)(e, task);
    } catch (...) {
      thrown = std::current_exception();
    }
    if (!thrown) return;
    print_unhandled(std::move(e), task);
    print_unhandled(std::move(thrown), "on_unhandled_error");
  }

  // A report counts as something that is alive, as an offered child does.
  void report_later(task_record& task) noexcept override {
    const auto [shard, index, shared] = counters_.here();
    shard.offered.add_and_look(1, shared);  // [C5]
    if (!calls_hook() || is_inherited()) {  // [C5]
      task.report_lost();
      return report_done();
    }
    lost_.add(task);
    notify_worker();
  }

  void observe(task_record& task, task_snapshot& o) noexcept override {
    const phase now = state_word::phase_of(o.word);
    if (now == phase::running && !o.helps) suspended_.observe_blocked(task, o);
  }

  // --- as the engine of a pool ---

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

  /// Ends the pool: as close(), then its threads. From one of its own tasks it only announces it, and the workers see
  /// to the rest. Takes over the pool's reference.
  void end() noexcept {
    if (is_inherited()) return;  // all of it stays as it is
    if (runs_own_task() || own_worker() != nullptr) {
      announce_closing(closing::draining);
      detached_.store(true, seq_cst);
      {
        std::lock_guard lock(threads_mutex_);
        for (auto& t : threads_)
          if (t.joinable()) t.detach();
      }
      notify_closer();
      notify_worker();
    } else {
      do close(closing::draining, true);
      while (ending_.forget());        // [C5]
      over_.store(true, seq_cst);      // [C5]
      close(closing::draining, true);  // with the heavy fence
      stop_threads();
    }
    drop_host_reference();
  }

  /// Is this the child process of the one that made it?
  bool is_inherited() const noexcept { return closing_.load(seq_cst) == closing::inherited; }

  pool_stats stats() noexcept {
    pool_stats total = counters_.snapshot();
    const std::uint32_t threads = thread_count_.load(relaxed);  // relaxed: a statistic
    total.spare_threads = threads > settings_.width ? threads - settings_.width : 0;
    return total;
  }

  /// Is a task of this pool on the calling thread's stack, or its hook?
  bool runs_own_task() const noexcept {
    if (const worker* const w = own_worker(); w != nullptr && w->reports) return true;
    for (const running_task* t = context().tasks; t != nullptr; t = t->outer)
      if (t->task->pool_id() == static_cast<const task_host*>(this)) return true;
    return false;
  }

 private:
  struct worker final : worker_hooks {
    explicit worker(pool_core& p) noexcept : pool(p) {}
    bool begin_blocking() noexcept override {
      if (is_spare_for_ends) return false;  // it sits on none, and goes on ending tasks: its wait may be for one of them
      const bool replaced = pool.begin_blocking();
      if (replaced) end_stretch();
      return replaced;
    }
    void end_blocking() noexcept override {
      begin_stretch();
      pool.idle_workers_.enter();
      pool.blocked_.fetch_sub(1, seq_cst);
    }
    bool only_ends_tasks() const noexcept override { return is_spare_for_ends; }
    bool run_one() noexcept override {
      // A pool that cancels everything cancels all that is queued, whether it was noted or not.
      if (is_spare_for_ends) {
        if (pool.ending_.end_one_overdue()) return true;
        if (!pool.cancelling()) return false;
      }
      task_record* task = pool.find_work(*this);
      if (task == nullptr) return pool.run_reports(*this);
      task->run_popped();
      return_all_credits();
      return true;
    }

    /// A stretch is the time from one task, or one wait, to the next: its number is odd while code of a task may run.
    // relaxed, all: the monitor compares numbers, and a mark for the wrong stretch does no harm.
    void begin_stretch() noexcept {
      stretch.store(stretch.load(relaxed) + 1, relaxed);
      if (slice_over.load(relaxed) != 0) slice_over.store(0, relaxed);
    }
    void end_stretch() noexcept { stretch.store(stretch.load(relaxed) + 1, relaxed); }

    pool_core& pool;
    work_deque deque;
    atomic<std::uint32_t> stretch{0};
    atomic<std::uint32_t> slice_over{0};  ///< written by the monitor, and cleared by the worker
    std::uint32_t seen_stretch = 0;       ///< the monitor's
    deadline seen_since{};                ///< the monitor's
    bool is_spare_for_ends = false;       ///< only ends tasks, and is not counted among the pool's threads
    worker* next = nullptr;  ///< in the list of all workers, which only grows
    std::uint32_t picks = 0;           ///< of tasks
    std::uint32_t children = 0;        ///< that ran in the place of their parent; see [F]
    bool injected_is_next = false;     ///< a task left the worker for what the injected queue holds
    bool starts_child = false;  ///< makes a task of an offered child, whose parent has not ended
    bool reports = false;       ///< calls the hook
    worker* last_looked_at = nullptr;  ///< of the others
  };

  static constexpr std::uint32_t look_period = 61;  ///< [F]

  friend class pool_dump;
  friend struct inside_of_pool;  // of tests
  using totals = pool_counters::totals;

  explicit pool_core(pool_settings s) : task_host(s.trace.get()), settings_(std::move(s)), idle_workers_(settings_.width) {
    process_wide<pool_list>().add(*this);
  }
  ~pool_core() {
    process_wide<pool_list>().remove(*this);
    // No thread is left to run what a foreign executor may have queued here, and none is in the middle of a push.
    while (injected_.maybe_nonempty())
      if (popped p = injected_.try_pop(); p.item != nullptr) static_cast<task_record*>(p.item)->abandon_popped();
    for (worker* w = workers_.load(relaxed); w != nullptr;) {  // relaxed: nobody else is left
      worker* next = w->next;
      delete w;
      w = next;
    }
  }

  std::string name_in_brackets() const { return settings_.name.empty() ? std::string() : " ('" + settings_.name + "')"; }

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
  /// Reports the failures that were lost since. False if there are none.
  [[gnu::noinline]] bool run_reports(worker& w) noexcept {
    shared_state* next = lost_.take_all();
    if (next == nullptr) return false;
    const bool outer = std::exchange(w.reports, true);
    while (next != nullptr) {
      shared_state& lost = *std::exchange(next, lost_failures::after(*next));
      lost.report_lost();
      lost.drop_references(1);
      return_all_credits();
      report_done();
    }
    w.reports = outer;
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

  bool starts_child() const noexcept {
    const worker* const w = own_worker();
    return w != nullptr && w->starts_child;
  }

  // --- finding work ---

  /// What was popped from a deque, if it is a task. A child that is still offered becomes one, in this worker's deque.
  task_record* popped_task(worker& w, work_item* item) noexcept {
    stealable_child* const child = stealable_child::of(item);
    if (child == nullptr) return static_cast<task_record*>(item);
    w.starts_child = true;
    const bool left = child->leave();
    w.starts_child = false;
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
  /// After pushes into the injected queue; or in place of a thread that was turned away from it.
  void notify_workers_of_injected() noexcept {
    notify_worker();
    if (thread_count_.load(seq_cst) == 0) drain_after_last_worker();  // [C3] also of those that were turned away
  }
  auto in_place_of_others() noexcept {
    return [this]() noexcept { notify_workers_of_injected(); };
  }

  /// Work may be left: wakes a worker, or, if none sleeps and none searches, the monitor.
  void notify_worker() noexcept {
    if (!idle_workers_.notify() && idle_workers_.searching() == 0) monitor_bell_.ring();  // [D1]
  }

  /// The next task for a worker that is running.
  task_record* next_task(worker& w) noexcept {
    if (task_record* task = next_old_task(w)) return task;
    if (task_record* task = next_own(w)) return task;
    return take_injected(w);
  }

  /// Now and then the oldest task of one of three places [F]; null otherwise.
  task_record* next_old_task(worker& w) noexcept {
    const std::uint32_t pick = std::exchange(w.injected_is_next, false) ? 0 : ++w.picks % look_period;
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
    worker*& at = w.last_looked_at;
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

  // --- threads ---

  void start_thread(bool spare) {
    std::lock_guard lock(threads_mutex_);
    start_thread_locked(spare);
  }

  worker* add_worker_locked() {
    auto* fresh = new worker(*this);
    // The list only grows, under the mutex; the workers go with the core. [C2] release: its readers see a whole worker.
    fresh->next = workers_.load(relaxed);
    workers_.store(fresh, release);
    return fresh;
  }
  worker* add_worker() {
    std::lock_guard lock(threads_mutex_);
    return add_worker_locked();
  }
  void start_thread_locked(bool spare) {
    if (!detached_.load(seq_cst)) threads_.reserve(threads_.size() + 1);
    if (worker_without_thread_ == nullptr) worker_without_thread_ = add_worker_locked();
    worker* const w = worker_without_thread_;
    add_host_reference();
    if (!spare) idle_workers_.start_searching();
    thread started;
    try {
      started = thread([this, w, spare, number = thread_count_.load(seq_cst)] { work(*w, spare, number); });
    } catch (...) {
      drop_host_reference();
      throw;
    }
    worker_without_thread_ = nullptr;
    thread_count_.fetch_add(1, seq_cst);
    if (detached_.load(seq_cst))
      started.detach();
    else
      threads_.push_back(std::move(started));
  }

  void stop_all() noexcept {
    idle_workers_.stop();
    monitor_bell_.close();
    ender_bell_.close();
  }
  void stop_threads() noexcept {
    stop_all();
    // Again and again: a worker that still runs a task of another executor may block in it, and be replaced.
    for (;;) {
      std::vector<thread> threads;
      {
        std::lock_guard lock(threads_mutex_);
        threads.swap(threads_);
      }
      if (threads.empty()) break;
      for (thread& t : threads) t.join();
    }
    (void)ending_.forget();
  }

  void work(worker& w, bool spare, std::uint32_t number) noexcept {
    name_thread(number);
    context().role = &w;
    context().slice_over = &w.slice_over;
    global_inspector().register_thread(context());
    if (trace_ != nullptr) trace_->name_row(settings_.name, number);
    const auto look = [this]() noexcept { return work_can_be_had(); };
    // A spare may be all that is left awake of an unattended pool: it looks around first.
    bool stopping = spare && idle_workers_.start_parked([&]() noexcept { return look() || detached_.load(seq_cst); }) ==
                                 park_result::stopping;
    for (;;) {
      if (task_record* task = find_work(w)) {
        stop_searching();
        if (!run_tasks(w, task, stopping)) idle_workers_.resume_searching();
        continue;
      }
      if (lost_.maybe_nonempty()) {
        stop_searching();
        (void)run_reports(w);
        idle_workers_.resume_searching();
        continue;
      }
      if (stopping && !work_can_be_had()) {
        // Who blocks from now on starts a thread in place of this one; who has done so before has pushed what it waits for.
        thread_count_.fetch_sub(1, seq_cst);  // [C3]
        if (!work_can_be_had()) break;
        thread_count_.fetch_add(1, seq_cst);
      }
      const std::uint32_t settled = progress_.load(seq_cst);
      if (detached_.load(seq_cst) && is_over()) stop_all();
      const auto [shard, index, shared] = counters_.here();
      shard.parks.add(1, shared);
      if (trace_ != nullptr) trace_->note(trace_kind::parks);
      stopping = idle_workers_.park([&]() noexcept {
                   return work_can_be_had() || (detached_.load(seq_cst) && progress_.load(seq_cst) != settled);
                 }) == park_result::stopping;
    }
    leave_worker(w);
  }
  void leave_worker(worker& w) noexcept {
    do (void)ending_.forget();
    while (run_reports(w));  // [C5]
    leave_thread();
  }
  void leave_thread() noexcept {
    context().role = nullptr;
    context().slice_over = &no_time_slice;
    drop_host_reference();
  }

  /// The worker has found something to do. If it was the last one that searched, it wakes another one for what is left.
  void stop_searching() noexcept {
    if (idle_workers_.found_work() && work_may_be_left()) notify_worker();
  }

  /// Runs tasks until the worker's own queue and the injected one are empty. True if it slept meanwhile, for want of a
  /// seat, and is now searching.
  bool run_tasks(worker& w, task_record* task, bool& stopping) noexcept {
    do {
      w.begin_stretch();
      task->run_popped();
      w.end_stretch();
      if (lost_.maybe_nonempty()) [[unlikely]]
        (void)run_reports(w);
      if (idle_workers_.oversubscribed()) {
        stopping = idle_workers_.park_surplus([this]() noexcept { return work_can_be_had(); }) == park_result::stopping;
        return true;
      }
      task = next_task(w);
    } while (task != nullptr);
    return false;
  }

  void name_thread(std::uint32_t number) const noexcept {
    char text[8];
    std::snprintf(text, sizeof text, "%u", number % 10'000);
    name_thread(text);
  }
  void name_thread(const char* ending) const noexcept {
#if defined(__linux__)
    if (settings_.name.empty()) return;
    char text[16];  // as long as the system allows
    std::snprintf(text, sizeof text, "%.10s-%.4s", settings_.name.c_str(), ending);
    pthread_setname_np(pthread_self(), text);
#else
    (void)ending;
#endif
  }

  // --- the monitor, and the spare thread that ends tasks ---

  /// How long code of a task may run without suspending while other work is queued.
  static constexpr std::chrono::milliseconds time_slice{10};
  /// How often the monitor looks while work is queued.
  static constexpr std::chrono::milliseconds between_looks{5};

  /// Starts a thread that runs `run`, and that the pool joins or leaves alone as it does its workers.
  template <class F>
  void start_service(F run) {
    std::lock_guard lock(threads_mutex_);
    const bool unattended = detached_.load(seq_cst);
    if (!unattended) threads_.reserve(threads_.size() + 1);
    add_host_reference();
    thread started;
    try {
      started = start_service_thread(std::move(run));
    } catch (...) {
      drop_host_reference();
      throw;
    }
    if (unattended)
      started.detach();
    else
      threads_.push_back(std::move(started));
  }
  void start_monitor() {
    start_service([this] {
      name_thread("mon");
      run_monitor();
      leave_thread();
    });
  }
  void run_monitor() noexcept {
    for (bool open = true; open;) {
      const deadline next = look_after_all(time_now());
      open = next != never ? monitor_bell_.doze(next) : monitor_bell_.sleep([this]() noexcept { return monitor_is_needed(); });
    }
  }
  /// Is there anything for look_after_all()?
  bool monitor_is_needed() const noexcept { return kept_.any() || ending_.any() || ending_.any_overdue() || work_may_be_left(); }

  /// By the monitor: does what is due. Returns when it is to look again, `never` if there is no need.
  deadline look_after_all(deadline now) noexcept {
    deadline next = (std::min)(kept_.release_unused(now), ending_.sort(now));
    const bool work_is_left = work_may_be_left();
    if (ending_.any_overdue() || (cancelling() && work_is_left)) wake_ender();
    if (work_is_left) end_slices(now);
    if (work_is_left || ending_.any_overdue()) next = (std::min)(next, now + between_looks);
    return next;
  }
  void end_slices(deadline now) noexcept {
    for (worker* w = workers_.load(acquire); w != nullptr; w = w->next) {  // [C2]
      const std::uint32_t stretch = w->stretch.load(relaxed);              // relaxed: see begin_stretch()
      if (std::exchange(w->seen_stretch, stretch) != stretch)
        w->seen_since = now;
      else if (stretch % 2 != 0 && now - w->seen_since >= time_slice)
        w->slice_over.store(1, relaxed);  // relaxed: as above
    }
  }

  /// The thread that ends tasks which no worker comes for: started when first needed, by the monitor, which tries again at
  /// its next look where it cannot be.
  void wake_ender() noexcept {
    if (ender_runs_) return ender_bell_.ring();
    try {
      if (ender_ == nullptr) ender_ = add_worker();
      ender_->is_spare_for_ends = true;
      start_service([this] {
        name_thread("end");
        context().role = ender_;
        global_inspector().register_thread(context());
        do {
          while (ender_->run_one()) {
          }
          return_all_credits();
        } while (ender_bell_.sleep([this]() noexcept { return ending_.any_overdue() || (cancelling() && work_can_be_had()); }));
        leave_worker(*ender_);
      });
      ender_runs_ = true;
    } catch (...) {
    }
  }

  /// A worker is about to block. Makes sure that threads are left to fill the seats, then gives up its own.
  bool begin_blocking() noexcept {
    const std::uint32_t blocked = blocked_.fetch_add(1, seq_cst) + 1;
    if (thread_count_.load(seq_cst) < blocked + settings_.width && !start_spare()) {
      blocked_.fetch_sub(1, seq_cst);
      return false;
    }
    idle_workers_.leave();
    if (work_may_be_left() || detached_.load(seq_cst)) notify_worker();
    return true;
  }

  /// False only if no thread but blocked ones is left, and none can be had.
  bool start_spare() noexcept {
    std::lock_guard lock(threads_mutex_);
    const std::uint32_t threads = thread_count_.load(seq_cst);
    const std::uint32_t blocked = blocked_.load(seq_cst);
    const bool keeps_width = threads < blocked + settings_.width && threads < settings_.width + settings_.max_spare_threads;
    const bool last_one = threads <= blocked;
    if (!keeps_width && !last_one) return true;
    try {
      start_thread_locked(true);
      return true;
    } catch (...) {
      return !last_one;
    }
  }

  // --- closing ---

  void announce_closing(closing mode) noexcept {
    closing now = closing_.load(seq_cst);
    while (now < mode && !closing_.compare_exchange_weak(now, mode, seq_cst)) {  // [C1]
    }
    asymmetric_fence_heavy();  // [C1]
  }

  void notify_closer() noexcept {
    progress_.fetch_add(1, seq_cst);
    wake_all(progress_);
    // Unattended, a worker looks whether all is over when it finds nothing to do: one must be awake for that.
    if (detached_.load(seq_cst)) notify_worker();
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

  const pool_settings settings_;
  idle_workers idle_workers_;
  injection_queue injected_;
  lost_failures lost_;
  atomic<worker*> workers_{nullptr};  ///< [C2] the list of all, newest first

  atomic<std::uint32_t> references_{1};  ///< the pool, each thread, each record
  atomic<bool> over_{false};              ///< the pool has ended: see calls_hook()
  atomic<bool> detached_{false};        ///< the pool object is gone, and nobody waits for the end
  atomic<std::uint32_t> progress_{0};      ///< counts ends and naps while closing; the closer sleeps on it
  atomic<std::uint64_t> wakes_{0};
  atomic<std::uint32_t> undecided_{0};

  atomic<std::uint64_t> links_left_{0};  ///< by waiters, since the last purge
  atomic<std::uint64_t> purge_at_{1024};

  mutex threads_mutex_;
  std::vector<thread> threads_;
  worker* ender_ = nullptr;   ///< the monitor's, both; in the list of workers, but none
  bool ender_runs_ = false;
  worker* worker_without_thread_ = nullptr;  ///< in the list, for want of a thread; the mutex's, as threads_
  atomic<std::uint32_t> thread_count_{0};
  atomic<std::uint32_t> blocked_{0};

  suspended_tasks suspended_;
  kept_streams kept_;
  ending_tasks ending_;
  doorbell monitor_bell_;
  doorbell ender_bell_;
  pool_counters counters_;
};

}  // namespace dyngen::detail
