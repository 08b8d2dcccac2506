// SPDX-License-Identifier: MIT
#pragma once
// The objects with the member submit(): bound_options, returned by pool.options(...), and executor_target, returned by
// on(executor), which submits to any executor. The calling thread builds the task and passes it to the executor; it
// runs none of the task's code, except under inline_executor.

#include <dyngen/arguments.hpp>
#include <dyngen/detail/base/intrusive_ptr.hpp>
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

/// The result of pool.options(...) and on(executor).options(...): submits tasks to that pool or executor with these
/// options. May be stored and copied. Different threads may use it at once. The pool or executor must outlive its use.
template <class Target, class... Os>
class bound_options {
 public:
  /// For the library.
  bound_options(Target target, option_pack<Os...> pack) : target_(std::move(target)), pack_(std::move(pack)) {}

  /// Submits the call f(args...) as a task with these options. May be called any number of times. Returns refs with
  /// num_returns, a ref<ref_list<T>> with dynamic, a ref_stream<T> with streaming; without these options, what
  /// thread_pool::submit returns. Does not wait for the task; under inline_executor it may run the task first. Throws
  /// what copying or moving the callable and the arguments throws, std::bad_alloc, pool_stopped, std::invalid_argument
  /// for a null callable, empty_ref for an empty ref; then nothing was submitted.
  template <class F, class... Args>
  auto submit(F&& f, Args&&... args) const {
    return detail::submit_to(target_.host(), pack_.tuple(), std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Returns an actor<A> at once; its executor constructs the object as A(args...), after the ref arguments are ready.
  /// Takes the options name and max_concurrency only. Throws what copying or moving the arguments throws,
  /// std::bad_alloc, pool_stopped, empty_ref; then there is no actor.
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

/// The result of on(executor): submits tasks to the executor. May be stored and copied. Different threads may use it at
/// once. The executor must outlive its use, and the tasks.
class executor_target {
 public:
  /// For the library: write on(executor).
  explicit executor_target(detail::intrusive_ptr<detail::task_host> host) noexcept : host_(std::move(host)) {}
  /// Copies. There is no move, so a target that was moved from still works.
  executor_target(const executor_target&) = default;
  executor_target& operator=(const executor_target&) = default;  ///< Copies.

  /// Submits the call f(args...) as a task with default options. Returns a ref<R> for a function that returns R or
  /// task<R>, a ref_stream<T> for a generator<T>, a tuple of refs for a tuple_generator. Does not wait for the task;
  /// under inline_executor it may run the task first. Throws what copying or moving the callable and the arguments
  /// throws, std::bad_alloc, pool_stopped, std::invalid_argument for a null callable, empty_ref for an empty ref; then
  /// nothing was submitted.
  template <class F, class... Args>
  auto submit(F&& f, Args&&... args) const {
    return detail::submit_to(*host_, std::tuple<>(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// Returns an object with submit() and make_actor() that use the options `os`. It may be stored, copied and reused
  /// while the executor exists. Throws what copying or moving the options throws.
  template <class... Os>
  auto options(Os&&... os) const {
    return detail::make_bound(*this, detail::make_pack(std::forward<Os>(os)...));
  }
  /// Returns an actor<A> at once; the executor constructs its object as A(args...), after the ref arguments are ready.
  /// The executor must outlive the actor, which ends after its last call, once its last handle is destroyed. Throws
  /// what copying or moving the arguments throws, std::bad_alloc, pool_stopped, empty_ref; then there is no actor.
  template <class A, class... Args>
  auto make_actor(Args&&... args) const {
    return detail::actor_maker<A>::make(*host_, std::tuple<>(), std::forward<Args>(args)...);
  }

  /// For the library.
  detail::task_host& host() const noexcept { return *host_; }

 private:
  detail::intrusive_ptr<detail::task_host> host_;
};

namespace detail {
struct on_function {
  /// Returns an object that submits tasks to the executor `e`, which must outlive them. Throws std::bad_alloc.
  template <class E>
  executor_target operator()(E& e) const {
    static_assert(executor<E>,
                  "dyngen: on(e): e is not an executor; it needs a member void execute(dyngen::work) noexcept");
    if constexpr (!executor<E>)
      std::terminate();
    else if constexpr (requires { e.task_host_of(); })
      return executor_target(intrusive_ptr<task_host>(e.task_host_of()));
    else
      return executor_target(intrusive_ptr<task_host>(*new executor_adapter<E>(e), adopt_reference{}));
  }
  /// Does not compile: the executor must outlive its tasks, so it cannot be a temporary.
  template <class E>
  executor_target operator()(const E&&) const {
    static_assert(!sizeof(E),
                  "dyngen: on(e) takes an executor that outlives its tasks; give it a name, and write on(name)");
    std::terminate();
  }
};
}  // namespace detail

/// on(executor).submit(f, args...), on(executor).options(o...).submit(...): submits tasks to any executor.
inline constexpr detail::on_function on{};

}  // namespace dyngen
