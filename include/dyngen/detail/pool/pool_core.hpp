// SPDX-License-Identifier: MIT
#pragma once
// The engine of thread_pool: workers with a deque each, an injection queue for all other threads, spares for workers
// that block, a monitor, and the protocol by which a pool closes. It pushes and runs tasks; the rest of a task's life
// is in detail/task/. Four layers, each the base class of the next:
//
//   work_search ──▶ pool_shutdown ──▶ pool_threads ──▶ pool_monitor ──▶ pool_core

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/pool/monitor.hpp>
#include <dyngen/stats.hpp>

#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace dyngen::detail {

class pool_core final : public counted_host<pool_core, pool_monitor> {
 public:
  /// Creates a pool and starts its threads. Throws std::system_error or std::bad_alloc; no thread is left then. end()
  /// ends the pool.
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

  bool helps() const noexcept override { return settings_.waiters_help; }
  bool has_pending_work() const noexcept override {
    worker* const w = own_worker();
    if (w == nullptr) return injected_.maybe_nonempty();
    return w->deque.maybe_nonempty() || injected_.maybe_nonempty() || another(*w).deque.maybe_nonempty();
  }

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

  // The pool object and each thread of the pool hold a reference to it. Records are counted in shards. A shard that
  // counts any record holds one reference to the pool, so threads that make and free records rarely write the same
  // word. While a thread makes a record, the pool is alive: the thread uses the pool object, or runs a task whose record
  // keeps the pool.
  std::uint8_t add_record() noexcept override {
    const auto [shard, index, shared] = counters_.here();
    // relaxed: as in counted_host::add_host_reference().
    if (shard.records.fetch_add(1, relaxed) == 0) add_host_reference();
    return index;
  }
  void drop_record(std::uint8_t index, std::uint64_t values) noexcept override {
    if (values != 0) {
      const auto [shard, mine, shared] = counters_.here();
      shard.values_gone.add(values, shared);
    }
    // acq_rel: as in counted_host::drop_host_reference().
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

  // A queued report counts as a live task.
  void report_later(task_record& task) noexcept override {
    begin_pending();  // [C5]
    if (!calls_hook() || is_inherited()) {  // [C5]
      task.report_lost();
      return report_done();
    }
    lost_.add(task);
    notify_worker();
  }

  // --- the end of a pool; statistics ---

  /// Ends the pool: closes it, joins its threads, and drops the pool object's reference. Called from one of the pool's
  /// own tasks or workers, only starts to close it; the workers do the rest.
  void end() noexcept {
    if (is_inherited()) return;  // a child process after fork() leaves everything as it is
    if (runs_own_task() || own_worker() != nullptr) {
      announce_closing(closing::draining);
      detached_.store(true, seq_cst);
      detach_threads();
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

  pool_stats stats() noexcept {
    pool_stats total = counters_.snapshot();
    const std::uint32_t threads = thread_count_.load(relaxed);  // relaxed: a statistic
    total.spare_threads = threads > settings_.width ? threads - settings_.width : 0;
    return total;
  }

  /// Is a task of this pool on the calling thread's stack, or does this thread call the pool's hook?
  bool runs_own_task() const noexcept {
    if (const worker* const w = own_worker(); w != nullptr && w->own.reports) return true;
    for (const running_task* t = context().tasks; t != nullptr; t = t->outer)
      if (t->task->pool_id() == static_cast<const task_host*>(this)) return true;
    return false;
  }

 private:
  friend class counted_host<pool_core, pool_monitor>;
  friend class pool_dump;
  friend struct inside_of_pool;  // of tests

  explicit pool_core(pool_settings s) : counted_host(std::move(s)) { process_wide<pool_list>().add(*this); }
  ~pool_core() {
    process_wide<pool_list>().remove(*this);
    // No thread is left to run tasks that a foreign executor queued late, and no push is half done.
    while (injected_.maybe_nonempty())
      if (popped p = injected_.try_pop(); p.item != nullptr) static_cast<task_record*>(p.item)->abandon_popped();
  }

  std::string name_in_brackets() const { return settings_.name.empty() ? std::string() : " ('" + settings_.name + "')"; }
  bool starts_child() const noexcept {
    const worker* const w = own_worker();
    return w != nullptr && w->own.starts_child;
  }
};

}  // namespace dyngen::detail
