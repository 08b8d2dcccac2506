// SPDX-License-Identifier: MIT
#pragma once
// What runs tasks: the concept `executor`, the `work` it is handed, and two executors beside thread_pool:
// inline_executor runs a task where it becomes ready, manual_executor when its user says so, for tests.

#include <dyngen/detail/task/inline_queue.hpp>
#include <dyngen/detail/task/put_off.hpp>
#include <dyngen/detail/task/run_loop.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

namespace dyngen {

/// One step of a task, ready to run: a move-only handle of one pointer. Call it once, some time, somewhere. Destroyed
/// unrun, it cancels its task, on the destroying thread: no ref of it is left pending.
class work {
 public:
  /// Takes over one reference; for the library.
  explicit work(detail::task_record& task) noexcept : task_(&task) {}
  work(work&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
  work& operator=(work&& other) noexcept {
    work moved(std::move(other));
    std::swap(task_, moved.task_);
    return *this;
  }
  ~work() {
    if (task_ != nullptr) task_->abandon_popped();
  }

  /// False after it was run or moved from.
  explicit operator bool() const noexcept { return task_ != nullptr; }

  /// Runs the task, on this thread, until it has ended or cannot go on. To be called once.
  void operator()() noexcept { std::exchange(task_, nullptr)->run_popped(); }

  /// Gives up the pointer; for the library.
  detail::task_record& release() noexcept { return *std::exchange(task_, nullptr); }

 private:
  detail::task_record* task_;
};

static_assert(sizeof(work) == sizeof(void*));

/// Anything with a member `void execute(work) noexcept`, which sees to it that the work is called once, some time, on some
/// thread, or else destroyed. What the library asks of it, and what it may rely on:
///
///  - execute() is called by any thread, several at once, and also inside a work that runs or is being destroyed. It is
///    called without any lock of the library held.
///  - A work runs one step of its task: until it has ended, waits, or lets others run. Calling it throws nothing. It calls
///    the user's code, and execute() again, so no lock of the executor's may be held meanwhile; nor while one is destroyed.
///  - Works are of different tasks, or follow each other: they may be run in parallel, and in any order.
///  - It may call a work at once, inside execute(). The library calls execute() when all that has become ready together is
///    on its way, so such a work may wait for any of that; the works of one such moment are handed over one by one, and a
///    work that waits inside execute(), on the same thread, has the others handed over meanwhile.
///  - An executor that cannot take a work, or is closed, lets it go: its task then ends with cancelled_error.
///  - It must outlive its tasks: until all refs of them are ready, and actors made on it have ended.
///  - A thread that waits for one of its tasks does not run it, and a task of it that blocks in get() or wait() holds its
///    thread; co_await holds none. Only thread_pool puts other threads in the place of blocked ones.
template <class E>
concept executor = requires(E& e, work w) {
  { e.execute(std::move(w)) } noexcept;
};

namespace detail {

/// The host behind every inline_executor: it has no state but the list of each thread.
class inline_host final : public task_host {
 public:
  static inline_host& instance() noexcept {
    static constinit inline_host host;
    return host;
  }
  void push(task_record& task, bool) noexcept override { inline_queue::run_in_turn(task); }
  /// Only what may be queued behind an inline task of this very thread.
  bool helps() const noexcept override { return context().runs_inline; }
};

/// The host behind a manual_executor: counted, for records that outlive it.
class manual_host final : public task_host {
 public:
  void push(task_record& task, bool) noexcept override {
    {
      std::lock_guard lock(mutex_);
      if (!closed_) return queue_.push(task);
    }
    task.abandon_popped();
  }
  task_record* pop() noexcept {
    std::lock_guard lock(mutex_);
    return static_cast<task_record*>(queue_.pop());
  }
  bool empty() const noexcept {
    std::lock_guard lock(mutex_);
    return queue_.empty();
  }
  void close() noexcept {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    while (task_record* task = pop()) task->abandon_popped();
  }
  void add_host_reference() noexcept override {
    // relaxed: whoever adds one has it from somebody who keeps the host alive.
    references_.fetch_add(1, relaxed);
  }
  void drop_host_reference() noexcept override {
    // acq_rel: the last one comes after all that the others did.
    if (references_.fetch_sub(1, acq_rel) == 1) delete this;
  }

 private:
  mutable mutex mutex_;
  work_list queue_;
  bool closed_ = false;
  atomic<std::uint32_t> references_{1};
};

}  // namespace detail

/// Runs each task on the thread that makes it ready: in submit, where its last dependency is stored, or where it is
/// cancelled. A task that becomes ready while another one runs inline on the same thread runs after it, so that no chain
/// recurses.
class inline_executor {
 public:
  inline_executor() = default;
  inline_executor(const inline_executor&) = delete;
  inline_executor& operator=(const inline_executor&) = delete;

  /// Runs the work, now or behind what runs inline on this thread.
  void execute(work w) noexcept { detail::inline_host::instance().push(w.release(), false); }

  /// For on(executor).
  detail::task_host& task_host_of() noexcept { return detail::inline_host::instance(); }
};

/// Keeps its tasks until it is told to run them, in the order in which they became ready: a test's way to make an order
/// of events certain. Any thread may call any member. Destroying it cancels what is queued, and what would be later.
class manual_executor {
 public:
  /// Throws std::bad_alloc.
  manual_executor() : host_(new detail::manual_host) {}
  manual_executor(const manual_executor&) = delete;
  manual_executor& operator=(const manual_executor&) = delete;
  ~manual_executor() {
    host_->close();
    host_->drop_host_reference();
  }

  /// Queues the work. Once this executor is being destroyed, lets it go.
  void execute(work w) noexcept { host_->push(w.release(), false); }

  /// Runs the oldest queued step on this thread. False if there is none.
  bool run_one() noexcept {
    detail::task_record* task = host_->pop();
    if (task != nullptr) task->run_popped();
    return task != nullptr;
  }

  /// Runs until nothing is queued, also what becomes ready meanwhile; returns how many steps it ran.
  std::size_t run_all() noexcept {
    std::size_t n = 0;
    while (run_one()) ++n;
    return n;
  }

  /// Is nothing queued?
  bool empty() const noexcept { return host_->empty(); }

  /// For on(executor).
  detail::task_host& task_host_of() noexcept { return *host_; }

 private:
  detail::manual_host* host_;
};

static_assert(executor<inline_executor> && executor<manual_executor>);

}  // namespace dyngen

namespace dyngen::detail {

/// Any executor of the user's as a host of tasks. Counted: it lives as long as a task of it.
template <class E>
class executor_adapter final : public task_host {
 public:
  explicit executor_adapter(E& e) noexcept : executor_(e) {}
  // execute() may run the work at once: never in a publication.
  void push(task_record& task, bool) noexcept override {
    if (!put_off_tasks::put_off(task)) executor_.execute(work(task));
  }
  void add_host_reference() noexcept override {
    // relaxed: whoever retains it has it from somebody who keeps it alive.
    references_.fetch_add(1, relaxed);
  }
  void drop_host_reference() noexcept override {
    // acq_rel: the last one comes after all that the others did.
    if (references_.fetch_sub(1, acq_rel) == 1) delete this;
  }

 private:
  E& executor_;
  atomic<std::uint32_t> references_{1};
};

/// A counted pointer to a host.
class host_ptr {
 public:
  explicit host_ptr(task_host& host) noexcept : host_(&host) {}  // takes over one reference
  host_ptr(const host_ptr& other) noexcept : host_(other.host_) { host_->add_host_reference(); }
  host_ptr& operator=(host_ptr other) noexcept {
    std::swap(host_, other.host_);
    return *this;
  }
  ~host_ptr() { host_->drop_host_reference(); }
  task_host& host() const noexcept { return *host_; }

 private:
  task_host* host_;
};

}  // namespace dyngen::detail
