// SPDX-License-Identifier: MIT
#pragma once
// thread_pool: a fixed number of workers that steal work from each other, and what is submitted to them. Idle workers
// sleep. A task's code runs on a worker, or on a thread that is blocked waiting for that very task.

#include <dyngen/actor.hpp>
#include <dyngen/detail/inspect/pool_dump.hpp>
#include <dyngen/detail/pool/pool_core.hpp>
#include <dyngen/executor.hpp>
#include <dyngen/options.hpp>
#include <dyngen/shutdown_mode.hpp>
#include <dyngen/stats.hpp>
#include <dyngen/submit.hpp>
#include <dyngen/trace.hpp>

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

/// How many threads: from any integer type; 0, negative ones and more than 4096 throw std::invalid_argument.
class thread_count {
 public:
  /// As many as the hardware runs at once, at least 1.
  thread_count() noexcept : value_((std::max)(1u, std::thread::hardware_concurrency())) {
    if (value_ > 4096) value_ = 4096;
  }
  /// So many; throws std::invalid_argument.
  template <std::integral Integer>
  thread_count(Integer n) : value_(static_cast<std::uint32_t>(n)) {
    if (n < Integer{1} || static_cast<std::uint64_t>(n) > 4096)
      throw std::invalid_argument("dyngen: thread_pool: " + std::to_string(n) + " threads; give a number from 1 to 4096");
  }
  /// From 1 to 4096.
  std::uint32_t value() const noexcept { return value_; }

 private:
  std::uint32_t value_;
};

/// Any callable `void(std::exception_ptr, std::string_view task)`, or nothing.
class unhandled_error_hook {
 public:
  unhandled_error_hook() = default;
  /// Keeps a copy of the callable, shared by copies of this. Throws what copying throws, and std::bad_alloc.
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

/// What a thread_pool can be told. Copyable.
struct thread_pool_options {
  /// Workers; by default as many as the hardware runs at once.
  thread_count threads{};
  /// Of the pool, in messages and thread names.
  std::string name{};
  /// May a thread that waits for a queued task run it itself? Off: only workers run tasks.
  bool waiters_help = true;
  /// How many threads may be started to keep the pool at its width while workers block in waits. Beyond them one more
  /// is started only when otherwise every thread would be blocked. A task that waits in a way that the library does not see
  /// (a flag, a latch) is not known to block: allow for as many more threads, here or in `threads`, as tasks may do so while
  /// they depend on others.
  std::uint32_t max_spare_threads = 64;
  /// Called once with each failure of a task that no handle carries, or whose last holder goes without having looked at it,
  /// and the name or number of the task that threw. Holders are refs, list items, completion() refs and dependents; what
  /// throws or returns the exception has looked, and failed() that says true; what waits or describes has not. Not called
  /// for cancelled_error, broken_promise and actor_died, and for what a dropped stream had not handed over. If nothing holds
  /// the failure when the task ends, it is called on the thread that ends the task, before its completion is ready; later,
  /// on a worker, never on the thread that dropped the handle. Several threads may call it at once. It may use the pool. If
  /// it throws, both errors are written to stderr. ~thread_pool returns after the calls that were due before; afterwards,
  /// and by default, a failure is one line on stderr.
  unhandled_error_hook on_unhandled_error{};
  /// Where to record what its threads do; null: nowhere, at no cost. Several pools may share one.
  dyngen::trace* trace = nullptr;
};

/// Runs tasks. Any thread may call any member, also a task of the pool itself.
class thread_pool {
 public:
  /// As many workers as the hardware runs at once. Throws std::system_error if a thread cannot be started.
  thread_pool() : thread_pool(thread_pool_options{}) {}
  /// `threads` workers, 1 to 4096; throws std::invalid_argument for any other number.
  template <std::integral Integer>
  explicit thread_pool(Integer threads) : thread_pool(with_threads(threads)) {}
  /// As told. Throws std::system_error if a thread cannot be started.
  explicit thread_pool(thread_pool_options o)
      : core_(detail::pool_core::create({o.threads.value(), o.max_spare_threads, o.waiters_help, std::move(o.name),
                                         o.on_unhandled_error.get(), o.trace != nullptr ? o.trace->log() : nullptr})) {}
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  /// Runs everything that can still run; tasks of the pool may go on submitting to it meanwhile. What then still waits
  /// for something no task of this pool can bring is cancelled. While a task runs, it may bring what others wait for: one
  /// that waits for another by a flag or a latch, unseen by the library, keeps that from being cancelled; `shutdown(cancel)`
  /// does it all the same. Destroyed from one of its own tasks it does not wait.
  ~thread_pool() { core_->end(); }

  /// Submits f(args...) with default options: a ref<R> for a plain function, a ref_stream<T> for a generator<T>, a
  /// tuple of refs for a tuple_generator. Arguments are decayed into the task; a ref argument is a dependency. Throws
  /// as bound_options::submit.
  template <class F, class... Args>
  auto submit(F&& f, Args&&... args) {
    return detail::submit_to(*core_, std::tuple<>(), std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Builds an A from the arguments (refs are waited for), on a worker, and gives a handle to it: see actor<A>. Throws as
  /// submit.
  template <class A, class... Args>
  auto make_actor(Args&&... args) {
    return detail::actor_maker<A>::make(*core_, std::tuple<>(), std::forward<Args>(args)...);
  }

  /// Options for submits; may be kept and reused while the pool lives.
  template <class... Os>
  auto options(Os&&... os) {
    return detail::make_bound(target{core_}, detail::make_pack(std::forward<Os>(os)...));
  }

  /// How many workers it was made with.
  std::size_t threads() const noexcept { return core_->width(); }

  /// A snapshot of its counters.
  pool_stats stats() const noexcept { return core_->stats(); }

  /// Writes all tasks that have not ended, with what each of them waits for, as text: one line each, as describe() says
  /// it, for whoever wants to know why something does not go on. Those that are only queued, and have never waited for
  /// anything, are counted. Any thread may ask, at any time; the pool is not stopped for it, so what is written was true a
  /// moment ago, line by line. The wording may change from version to version. Throws std::bad_alloc.
  template <class Traits>
  void dump(std::basic_ostream<char, Traits>& os) const {
    const std::string text = detail::pool_dump(*core_).text();
    os.write(text.data(), static_cast<std::streamsize>(text.size()));
  }

  /// Refuses submits from outside from now on (they throw pool_stopped), and waits until all tasks have ended. Called
  /// from one of its own tasks it does not wait.
  void shutdown(shutdown_mode mode) {
    const auto to = mode == shutdown_mode::cancel ? detail::closing::cancelling : detail::closing::draining;
    if (core_->runs_own_task())
      core_->announce(to);
    else
      core_->close(to, false);
  }

  /// Queues a step of a task, of this pool or of another executor.
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
