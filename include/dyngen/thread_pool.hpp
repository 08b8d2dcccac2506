// SPDX-License-Identifier: MIT
#pragma once
// thread_pool: runs tasks on a fixed number of workers, which steal tasks from each other. Idle workers sleep. The code
// of a task runs on a worker, or on a thread that waits for that very task.

#include <dyngen/actor.hpp>
#include <dyngen/detail/base/integer.hpp>
#include <dyngen/detail/inspect/pool_dump.hpp>
#include <dyngen/detail/pool/pool_core.hpp>
#include <dyngen/executor.hpp>
#include <dyngen/options.hpp>
#include <dyngen/shutdown_mode.hpp>
#include <dyngen/stats.hpp>
#include <dyngen/submit.hpp>

#include <concepts>
#include <cstdint>
#include <exception>
#include <iosfwd>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

namespace dyngen {

class trace;

/// A number of threads from 1 to 4096, converted from any integer type.
class thread_count {
 public:
  /// The number of threads that the hardware runs at once: at least 1, at most 4096.
  thread_count() noexcept : value_((std::max)(1u, std::thread::hardware_concurrency())) {
    if (value_ > 4096) value_ = 4096;
  }
  /// `n` threads. Throws std::invalid_argument unless `n` is from 1 to 4096.
  template <std::integral Integer>
  thread_count(Integer n)
      : value_(static_cast<std::uint32_t>(
            detail::checked_integer(n, 1, 4096, "thread_pool: ", " threads; give a number from 1 to 4096"))) {}
  /// Returns the number, from 1 to 4096.
  std::uint32_t value() const noexcept { return value_; }

 private:
  std::uint32_t value_;
};

/// Holds a callable `void(std::exception_ptr, std::string_view task)`, or none.
class unhandled_error_hook {
 public:
  unhandled_error_hook() = default;
  /// Stores `f`, copied or moved; copies of the hook share it. Throws what that copy or move throws, and
  /// std::bad_alloc.
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, unhandled_error_hook> &&
             std::is_invocable_v<std::decay_t<F>&, std::exception_ptr, std::string_view>)
  unhandled_error_hook(F&& f) : hook_(std::make_shared<holder<std::decay_t<F>>>(std::forward<F>(f))) {}

  /// For the library.
  const std::shared_ptr<detail::error_hook>& get() const noexcept { return hook_; }

 private:
  template <class F>
  struct holder final : detail::error_hook {
    template <class G>
    explicit holder(G&& g) : f(std::forward<G>(g)) {}
    void operator()(std::exception_ptr e, std::string_view task) override { f(std::move(e), task); }
    F f;
  };
  std::shared_ptr<detail::error_hook> hook_;
};

/// The options of a thread_pool. Copyable.
struct thread_pool_options {
  /// The number of workers. Default: the number of threads that the hardware runs at once.
  thread_count threads{};
  /// The name of the pool, shown in messages and in thread names.
  std::string name{};
  /// Whether a thread that waits for a queued task may run the task itself. If false, only workers run tasks.
  bool waiters_help = true;
  /// The number of spare threads that the pool may start to replace workers that block in waits. Beyond this number the
  /// pool starts one more only when otherwise every thread would be blocked. The library does not see a task that waits
  /// for a flag or a latch as blocked: if such a task depends on other tasks, add a thread for it here or in `threads`.
  std::uint32_t max_spare_threads = 64;
  /// Called once with each failure of a task that no handle holds, or whose last holder is destroyed before any holder
  /// has seen it. The second argument is the name or number of the task that threw. Holders are refs, list items,
  /// completion() refs and dependent tasks. A failure is seen when a function throws or returns the exception, or when
  /// failed() returns true; waiting and describing do not count. Not called for cancelled_error, broken_promise and
  /// actor_died, nor for a failure that a destroyed stream had not delivered.
  ///
  /// If no handle holds the failure when the task ends, the thread that ends the task calls the hook before the task's
  /// completion is ready. If the last holder is destroyed later, a worker calls it, never the thread that destroys the
  /// handle. Several threads may call it at once. It may use the pool. If it throws, both errors are written to stderr.
  /// ~thread_pool returns only after all calls that are due by then. Later failures, and all failures of a pool without
  /// a hook, are written to stderr as one line each.
  unhandled_error_hook on_unhandled_error{};
  /// Where the pool's threads record what they run; null disables tracing. Several pools may share one trace. The class
  /// is in <dyngen/trace.hpp>.
  dyngen::trace* trace = nullptr;
};

/// A pool of workers that run tasks. Thread-safe: any thread may call any member, also a task of the pool itself.
class thread_pool {
 public:
  /// Constructs a pool with as many workers as the hardware runs threads at once. Throws std::system_error if a thread
  /// cannot be started, and std::bad_alloc.
  thread_pool() : thread_pool(thread_pool_options{}) {}
  /// Constructs a pool with `threads` workers. Throws std::invalid_argument unless `threads` is from 1 to 4096,
  /// std::system_error if a thread cannot be started, and std::bad_alloc.
  template <std::integral Integer>
  explicit thread_pool(Integer threads) : thread_pool(with_threads(threads)) {}
  /// Constructs a pool with the options `o`. Throws std::system_error if a thread cannot be started, and
  /// std::bad_alloc.
  explicit thread_pool(thread_pool_options o)
      : core_(detail::pool_core::create({o.threads.value(), o.max_spare_threads, o.waiters_help, std::move(o.name),
                                         o.on_unhandled_error.get(), detail::recorder_of(o.trace)})) {}
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  /// Runs all tasks that can still run, including those that tasks of the pool submit meanwhile. Then cancels the tasks
  /// that still wait for something that no task of this pool can provide. Returns when all tasks have ended. The
  /// destructor cannot know what a running task will provide: while a task waits for another one by a flag or a latch,
  /// which the library does not see, it does not cancel that other task. `shutdown(shutdown_mode::cancel)` does so in
  /// any case. Called on a task of the pool itself, the destructor returns without waiting.
  ~thread_pool() { core_->end(); }

  /// Submits the call f(args...) as a task with default options. Returns at once: a ref<R> for a function that returns
  /// R or task<R>, a ref_stream<T> for a generator<T>, a tuple of refs for a tuple_generator. The callable and the
  /// arguments are stored in the task, decayed. A ref argument is a dependency: the task starts when the ref is ready.
  /// Throws what copying or moving the callable and the arguments throws, std::bad_alloc, pool_stopped after
  /// shutdown(), std::invalid_argument for a null callable, empty_ref for an empty ref; then nothing was submitted.
  template <class F, class... Args>
  auto submit(F&& f, Args&&... args) {
    return detail::submit_to(*core_, std::tuple<>(), std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Returns an actor<A> at once; a worker constructs its object as A(args...), after the ref arguments are ready.
  /// Throws what copying or moving the arguments throws, std::bad_alloc, pool_stopped after shutdown(), empty_ref for
  /// an empty ref; then there is no actor. If the constructor throws, the actor is dead: its calls return refs that
  /// hold actor_died.
  template <class A, class... Args>
  auto make_actor(Args&&... args) {
    return detail::actor_maker<A>::make(*core_, std::tuple<>(), std::forward<Args>(args)...);
  }

  /// Returns an object with submit() and make_actor() that use the options `os`. It may be stored, copied and reused
  /// while the pool exists. Throws what copying or moving the options throws.
  template <class... Os>
  auto options(Os&&... os) {
    return detail::make_bound(target{core_}, detail::make_pack(std::forward<Os>(os)...));
  }

  /// Returns the number of workers given to the constructor.
  std::size_t threads() const noexcept { return core_->width(); }

  /// Returns a snapshot of the pool's counters.
  pool_stats stats() const noexcept { return core_->stats(); }

  /// Writes all unfinished tasks to `os`, one line each in the wording of describe(), with what each waits for. Tasks
  /// that are queued and have never waited are only counted. Any thread may call this at any time. The pool does not
  /// stop meanwhile, so each line describes a moment during the call. The wording may change between versions. Throws
  /// std::bad_alloc, and what `os` throws.
  template <class Traits>
  void dump(std::basic_ostream<char, Traits>& os) const {
    const std::string text = detail::pool_dump(*core_).text();
    os.write(text.data(), static_cast<std::streamsize>(text.size()));
  }

  /// Makes submits from outside the pool throw pool_stopped from now on, and blocks until all tasks have ended: see
  /// shutdown_mode for how. Called on a task of the pool itself, it returns without waiting.
  void shutdown(shutdown_mode mode) {
    const auto to = mode == shutdown_mode::cancel ? detail::closing::cancelling : detail::closing::draining;
    if (core_->runs_own_task())
      core_->announce(to);
    else
      core_->close(to, false);
  }

  /// Queues a step of a task of this pool or of another executor. The concept `executor` requires this member.
  void execute(work w) noexcept { static_cast<detail::task_host*>(core_)->push(w.release(), false); }

  /// For on(pool).
  detail::task_host& task_host_of() noexcept { return *core_; }

 private:
  struct target {
    detail::pool_core* core;
    detail::task_host& host() const noexcept { return *core; }
  };

  template <class Integer>
  static thread_pool_options with_threads(Integer n) {
    thread_pool_options o;
    o.threads = thread_count(n);
    return o;
  }

  detail::pool_core* core_;
};

static_assert(executor<thread_pool>);

}  // namespace dyngen
