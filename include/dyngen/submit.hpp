// SPDX-License-Identifier: MIT
#pragma once
// From a callable, its arguments and options to handles: what a task is, by what it returns and how that is asked for.
// Also on(executor), which submits to any executor. The calling thread builds the task and hands it to its executor;
// it runs none of its code (but under inline_executor).

#include <dyngen/arguments.hpp>
#include <dyngen/detail/submit/submission.hpp>
#include <dyngen/executor.hpp>
#include <dyngen/generator.hpp>
#include <dyngen/options.hpp>
#include <dyngen/ref.hpp>
#include <dyngen/ref_list.hpp>
#include <dyngen/ref_stream.hpp>
#include <dyngen/task.hpp>

#include <exception>
#include <tuple>
#include <utility>

namespace dyngen::detail {

/// Defined in actor.hpp.
template <class A>
struct actor_maker;

/// What pool.options(...) gives: a pack bound to where it submits. Holds whatever keeps the host alive.
template <class Target, class... Os>
class bound_options {
 public:
  /// For the library.
  bound_options(Target target, option_pack<Os...> pack) : target_(std::move(target)), pack_(std::move(pack)) {}

  /// Submits f(args...) with these options. May be called any number of times. See the table in options.hpp for what it
  /// returns. Throws what copying or moving the callable and the arguments throws, std::bad_alloc, pool_stopped,
  /// std::invalid_argument for a null callable, empty_ref for an empty ref; then nothing was submitted.
  template <class F, class... Args>
  auto submit(F&& f, Args&&... args) const {
    return detail::submit_to(target_.host(), pack_.tuple(), std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Builds an actor, as thread_pool::make_actor; for the options name and max_concurrency.
  template <class A, class... Args>
  auto make_actor(Args&&... args) const {
    return actor_maker<A>::make(target_.host(), pack_.tuple(), std::forward<Args>(args)...);
  }

 private:
  Target target_;
  option_pack<Os...> pack_;
};

template <class Target, class... Os>
bound_options<Target, Os...> make_bound(Target target, option_pack<Os...> pack) {
  return bound_options<Target, Os...>(std::move(target), std::move(pack));
}

}  // namespace dyngen::detail

namespace dyngen {

/// What on(executor) gives: submits tasks to it. May be kept and copied while the executor lives.
class executor_target {
 public:
  /// For on().
  explicit executor_target(detail::host_ptr host) noexcept : host_(std::move(host)) {}

  /// As thread_pool::submit.
  template <class F, class... Args>
  auto submit(F&& f, Args&&... args) const {
    return detail::submit_to(host_.host(), std::tuple<>(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// As thread_pool::options.
  template <class... Os>
  auto options(Os&&... os) const {
    return detail::make_bound(host_, detail::make_pack(std::forward<Os>(os)...));
  }
  /// The actor must have ended before the executor goes: after its last call, once its last handle is gone.
  template <class A, class... Args>
  auto make_actor(Args&&... args) const {
    return detail::actor_maker<A>::make(host_.host(), std::tuple<>(), std::forward<Args>(args)...);
  }

 private:
  detail::host_ptr host_;
};

namespace detail {
struct on_function {
  /// Submits to any executor, which must outlive its tasks. Throws std::bad_alloc.
  template <class E>
  executor_target operator()(E& e) const {
    static_assert(executor<E>,
                  "dyngen: on(e): e is no executor; it needs a member void execute(dyngen::work) noexcept");
    if constexpr (!executor<E>)
      std::terminate();
    else if constexpr (requires { e.task_host_of(); })
      return executor_target(retained(e.task_host_of()));
    else
      return executor_target(host_ptr(*new executor_adapter<E>(e)));
  }
  /// Does not compile: the executor must outlive its tasks.
  template <class E>
  executor_target operator()(const E&&) const {
    static_assert(!sizeof(E),
                  "dyngen: on(e) takes an executor that outlives its tasks; give it a name, and write on(name)");
    std::terminate();
  }

 private:
  static host_ptr retained(task_host& host) noexcept {
    host.add_host_reference();
    return host_ptr(host);
  }
};
}  // namespace detail

/// on(executor).submit(f, args...), on(executor).options(o...).submit(...): tasks for any executor.
inline constexpr detail::on_function on{};

}  // namespace dyngen
