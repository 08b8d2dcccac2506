// SPDX-License-Identifier: MIT
#pragma once
// The threads of a pool: workers, of which those beyond `width` are spares for workers that block, and service threads
// (monitor.hpp). What the thread of a worker does, and how it sleeps. A layer of pool_core.

#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/pool/shutdown.hpp>
#include <dyngen/detail/task/inspector.hpp>

#include <cstdint>
#include <cstdio>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#if defined(__linux__)
#  include <pthread.h>
#endif

namespace dyngen::detail {

/// The layer with the threads.
class pool_threads : public pool_shutdown {
 protected:
  /// A worker with the hooks that its thread calls in waits (thread_context.hpp).
  struct worker_with_hooks final : worker {
    explicit worker_with_hooks(pool_threads& p) noexcept : worker(p, p, p.idle_workers_) {}
    pool_threads& threads() const noexcept { return static_cast<pool_threads&>(pool); }

    bool begin_blocking() noexcept override {
      if (is_spare_for_ends) return false;  // it ends tasks while it waits: the wait may be for one of them
      const bool replaced = threads().begin_blocking();
      if (replaced) end_stretch();
      return replaced;
    }
    void end_blocking() noexcept override {
      begin_stretch();
      threads().idle_workers_.enter();
      threads().blocked_.fetch_sub(1, seq_cst);
    }
    bool only_ends_tasks() const noexcept override { return is_spare_for_ends; }
    bool run_one() noexcept override {
      // The ender. In a pool that cancels everything it also ends queued tasks that were not noted.
      if (is_spare_for_ends) {
        if (threads().ending_.end_one_overdue()) return true;
        if (!threads().cancelling()) return false;
      }
      task_record* task = threads().find_work(*this);
      if (task == nullptr) return threads().run_reports(*this);
      task->run_popped();
      return_all_credits();
      return true;
    }
  };

  explicit pool_threads(pool_settings s) : pool_shutdown(std::move(s)) {}
  ~pool_threads() {
    for (worker* w = workers_.load(relaxed); w != nullptr;) {  // relaxed: no other thread is left
      worker* next = w->next;
      delete static_cast<worker_with_hooks*>(w);
      w = next;
    }
  }

  // --- starting and stopping ---

  /// Adds a worker and starts its thread, which searches for work at once or, if `spare`, begins asleep. Throws
  /// std::system_error or std::bad_alloc.
  void start_thread(bool spare) {
    std::lock_guard lock(threads_mutex_);
    start_thread_locked(spare);
  }

  worker_with_hooks* add_worker_locked() {
    auto* fresh = new worker_with_hooks(*this);
    // relaxed: guarded by the mutex. [C2] release: readers of the list see a complete worker. ~pool_threads deletes it.
    fresh->next = workers_.load(relaxed);
    workers_.store(fresh, release);
    return fresh;
  }
  worker_with_hooks* add_worker() {
    std::lock_guard lock(threads_mutex_);
    return add_worker_locked();
  }
  void start_thread_locked(bool spare) {
    if (!detached_.load(seq_cst)) threads_.started.reserve(threads_.started.size() + 1);
    if (threads_.without_thread == nullptr) threads_.without_thread = add_worker_locked();
    worker_with_hooks* const w = threads_.without_thread;
    add_host_reference();
    if (!spare) idle_workers_.start_searching();
    thread started;
    try {
      started = thread([this, w, spare, number = thread_count_.load(seq_cst)] { work(*w, spare, number); });
    } catch (...) {
      drop_host_reference();
      throw;
    }
    threads_.without_thread = nullptr;
    thread_count_.fetch_add(1, seq_cst);
    if (detached_.load(seq_cst))
      started.detach();
    else
      threads_.started.push_back(std::move(started));
  }

  /// Starts a thread that runs `run`. The pool joins or detaches it as it does its workers.
  template <class F>
  void start_service(F run) {
    std::lock_guard lock(threads_mutex_);
    const bool unattended = detached_.load(seq_cst);
    if (!unattended) threads_.started.reserve(threads_.started.size() + 1);
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
      threads_.started.push_back(std::move(started));
  }

  /// Tells all threads to leave when no work is left.
  void stop_all() noexcept {
    idle_workers_.stop();
    monitor_bell_.close();
    ender_bell_.close();
  }
  /// Stops all threads and joins them.
  void stop_threads() noexcept {
    stop_all();
    // In a loop: a worker that still runs a task of another executor may block in it, which starts a spare.
    for (;;) {
      std::vector<thread> threads;
      {
        std::lock_guard lock(threads_mutex_);
        threads.swap(threads_.started);
      }
      if (threads.empty()) break;
      for (thread& t : threads) t.join();
    }
    (void)ending_.forget();
  }
  /// The pool is detached: no thread will join its threads.
  void detach_threads() noexcept {
    std::lock_guard lock(threads_mutex_);
    for (auto& t : threads_.started)
      if (t.joinable()) t.detach();
  }

  // --- the threads of workers ---

  /// Runs on the thread of a worker, from its start to its end.
  void work(worker& w, bool spare, std::uint32_t number) noexcept {
    name_thread(number);
    context().role = &w;
    context().queue = &w;
    context().slice_over = &w.slice_over;
    global_inspector().register_thread(context());
    if (trace_ != nullptr) trace_->name_row(settings_.name, number);
    const auto look = [this]() noexcept { return work_can_be_had(); };
    // A spare may be the only thread of a detached pool that is awake: it checks whether the pool is over, then sleeps.
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
        // A worker that blocks after this decrement starts a spare. One that blocked before it has already pushed what
        // it waits for, so the next check sees that.
        thread_count_.fetch_sub(1, seq_cst);  // [C3]
        if (!work_can_be_had()) break;
        thread_count_.fetch_add(1, seq_cst);
      }
      const std::uint32_t progress = progress_.load(seq_cst);
      if (detached_.load(seq_cst) && is_over()) stop_all();
      const auto [shard, index, shared] = counters_.here();
      shard.parks.add(1, shared);
      if (trace_ != nullptr) trace_->note(trace_kind::parks);
      stopping = idle_workers_.park([&]() noexcept {
                   return work_can_be_had() || (detached_.load(seq_cst) && progress_.load(seq_cst) != progress);
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
    context().queue = nullptr;
    context().slice_over = &no_time_slice;
    drop_host_reference();
  }

  /// Called by a worker that has found work. If it was the last searcher and work may be left, wakes another worker.
  void stop_searching() noexcept {
    if (idle_workers_.found_work() && work_may_be_left()) notify_worker();
  }

  /// Runs `task`, then others, until the worker's deque and the injection queue are empty: returns false. If more than
  /// `width` workers run, sleeps after a task and returns true; the worker is searching then.
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
    char text[16];  // the limit of the system
    std::snprintf(text, sizeof text, "%.10s-%.4s", settings_.name.c_str(), ending);
    pthread_setname_np(pthread_self(), text);
#else
    (void)ending;
#endif
  }

  // --- blocking ---

  /// Called by a worker that is about to block. Makes sure that `width` other threads can run, then counts this one as
  /// not active. Returns false if every thread is blocked and no spare could be started.
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

  /// Starts a spare if one is needed and max_spare_threads allows it, or if every thread is blocked. Returns false only
  /// if every thread is blocked and no spare could be started.
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

  doorbell ender_bell_;

 private:
  atomic<std::uint32_t> blocked_{0};  ///< workers that block in a wait
  mutex threads_mutex_;
  struct under_mutex {
    std::vector<thread> started;
    worker_with_hooks* without_thread = nullptr;  ///< in the list; its thread could not be started
  } threads_;  ///< guarded by threads_mutex_
};

}  // namespace dyngen::detail
