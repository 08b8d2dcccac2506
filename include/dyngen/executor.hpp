// SPDX-License-Identifier: MIT
#pragma once
// The concept `executor`, the `work` objects that an executor receives, and two executors besides thread_pool:
// inline_executor runs a task on the thread that makes it ready; manual_executor, for tests, runs tasks when the test
// calls run_one() or run_all().

#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/detail/task/deferred_tasks.hpp>
#include <dyngen/detail/task/inline_queue.hpp>
#include <dyngen/detail/task/run_loop.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

namespace dyngen {

/// One step of a task that is ready to run: a move-only handle of one pointer. An executor calls it once, at any time,
/// on any thread. If it is destroyed without having been called, the destructor cancels its task on the destroying
/// thread, so that all refs of the task become ready.
class work {
 public:
  /// For the library. Takes over one reference to `task`.
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

  /// Returns false if the work was called or moved from.
  explicit operator bool() const noexcept { return task_ != nullptr; }

  /// Runs the task on the calling thread until it ends, suspends, or lets other tasks run. Call it at most once.
  void operator()() noexcept { std::exchange(task_, nullptr)->run_popped(); }

  /// For the library. Gives up the reference to the task.
  detail::task_record& release() noexcept { return *std::exchange(task_, nullptr); }

 private:
  detail::task_record* task_;
};

static_assert(sizeof(work) == sizeof(void*));

/// A class with a member `void execute(work) noexcept`, which arranges that the work is called once, at any time, on
/// any thread, or else destroyed. The requirements on an executor, and what it may rely on:
///
///  - Any thread may call execute(), several at once, also inside a work that runs or is being destroyed. The library
///    holds no lock during the call.
///  - A work runs one step of its task: until the task ends, suspends, or lets other tasks run. Calling it throws
///    nothing. It runs user code and may call execute() again. So the executor may hold no lock while it calls or
///    destroys a work.
///  - Two works belong to different tasks, or one is created after the other has run. Works may run in parallel, and in
///    any order.
///  - execute() may call the work before it returns. The library calls execute() for several tasks that become ready
///    together only after it has made all of them ready, so such a work may wait for any of them. The library hands
///    these works over one by one. If one of them waits inside execute(), its thread hands over the others meanwhile.
///  - An executor that cannot accept a work, or is closed, destroys it: the task then ends with cancelled_error.
///  - The executor must exist until all refs of its tasks are ready, and the actors made on it have ended.
///  - A thread that waits for a task of the executor does not run the task. A task that blocks in get() or wait()
///    blocks its thread; co_await blocks none. Only thread_pool replaces blocked threads.
template <class E>
concept executor = requires(E& e, work w) {
  { e.execute(std::move(w)) } noexcept;
};

namespace detail {

/// The host behind every inline_executor. Its only state is the queue of each thread (inline_queue).
class inline_host final : public task_host {
 public:
  static inline_host& instance() noexcept {
    static constinit inline_host host;
    return host;
  }
  void push(task_record& task, bool) noexcept override { inline_queue::run_in_turn(task); }
  /// A waiting thread runs only tasks that are queued behind an inline task of this very thread.
  bool helps() const noexcept override { return context().runs_inline; }
};

/// The host behind a manual_executor. Reference-counted, because task records may outlive the executor.
class manual_host final : public counted_host<manual_host> {
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

 private:
  mutable mutex mutex_;
  work_list queue_;
  bool closed_ = false;
};

}  // namespace detail

/// Runs each task on the thread that makes it ready: the thread that submits it, that stores its last dependency, or
/// that cancels it. A task that becomes ready while another one runs inline on that thread runs after the other, so
/// that a chain of tasks does not recurse. Thread-safe.
class inline_executor {
 public:
  inline_executor() = default;
  inline_executor(const inline_executor&) = delete;
  inline_executor& operator=(const inline_executor&) = delete;

  /// Runs the work on the calling thread: at once, or after the inline task that this thread already runs.
  void execute(work w) noexcept { detail::inline_host::instance().push(w.release(), false); }

  /// For on(executor).
  detail::task_host& task_host_of() noexcept { return detail::inline_host::instance(); }
};

/// Queues its tasks, in the order in which they become ready, until run_one() or run_all() runs them on the calling
/// thread. Tests use it to fix the order of events. Thread-safe. Its destructor cancels the queued tasks; tasks that
/// would be queued later are cancelled too.
class manual_executor {
 public:
  /// Constructs an executor with an empty queue. Throws std::bad_alloc.
  manual_executor() : host_(*new detail::manual_host, detail::adopt_reference{}) {}
  manual_executor(const manual_executor&) = delete;
  manual_executor& operator=(const manual_executor&) = delete;
  ~manual_executor() { host_->close(); }

  /// Queues the work. During the executor's destruction it destroys the work instead, which cancels its task.
  void execute(work w) noexcept { host_->push(w.release(), false); }

  /// Runs the oldest queued step on the calling thread. Returns false if the queue is empty.
  bool run_one() noexcept {
    detail::task_record* task = host_->pop();
    if (task != nullptr) task->run_popped();
    return task != nullptr;
  }

  /// Runs queued steps on the calling thread until the queue is empty, including steps that are queued meanwhile.
  /// Returns the number of steps that ran.
  std::size_t run_all() noexcept {
    std::size_t n = 0;
    while (run_one()) ++n;
    return n;
  }

  /// Returns whether the queue is empty.
  bool empty() const noexcept { return host_->empty(); }

  /// For on(executor).
  detail::task_host& task_host_of() noexcept { return *host_; }

 private:
  const detail::intrusive_ptr<detail::manual_host> host_;
};

static_assert(executor<inline_executor> && executor<manual_executor>);

}  // namespace dyngen

namespace dyngen::detail {

/// Makes a user's executor a host of tasks. Reference-counted: it exists as long as one of its tasks.
template <class E>
class executor_adapter final : public counted_host<executor_adapter<E>> {
 public:
  explicit executor_adapter(E& e) noexcept : executor_(e) {}
  // execute() may run the work at once, so it is not called in the middle of a publication.
  void push(task_record& task, bool) noexcept override {
    if (!deferred_tasks::defer(task)) executor_.execute(work(task));
  }

 private:
  E& executor_;
};

}  // namespace dyngen::detail
