// SPDX-License-Identifier: MIT
#pragma once
// task<R>: a coroutine with one result, which may co_await. Submitted, it is a task of its own, whose ref becomes ready
// when it has ended. Awaited in another coroutine, it runs there at once, on that thread and as part of that task.

#include <dyngen/detail/coroutine/awaiting.hpp>
#include <dyngen/detail/coroutine/result_kinds.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <new>
#include <type_traits>
#include <utility>

namespace dyngen {

template <class R>
class task;

namespace detail {

template <class Bound, class Coroutine>
class coroutine_body;

/// The outcome of a task<R>. Destroys the result, unless it was committed; reports what its destructor throws.
template <class R>
struct task_outcome_of : coroutine_outcome {
  task_outcome_of() = default;
  task_outcome_of(const task_outcome_of&) = delete;
  task_outcome_of& operator=(const task_outcome_of&) = delete;
  DYNGEN_ALWAYS_INLINE ~task_outcome_of() {
    if constexpr (!std::is_trivially_destructible_v<R>) clear();
  }

  R& result() noexcept { return *std::launder(static_cast<R*>(place)); }
  void clear() noexcept {
    std::exception_ptr raised;
    try {
      if (std::exchange(has_result, false)) result().~R();
    } catch (...) {
      raised = std::current_exception();
    }
    report_destruction(std::move(raised), driver);
  }
};
template <>
struct task_outcome_of<void> : coroutine_outcome {};

/// An outcome with the storage of the result, in the frame of the coroutine that awaits the task.
template <class R>
class awaited_outcome : public task_outcome_of<R> {
 public:
  awaited_outcome() noexcept { begin(); }
  awaited_outcome& begin() noexcept {
    this->place = storage_.place();
    return *this;
  }
  R take() { return std::move(this->result()); }

 private:
  frame_storage<R> storage_;
};
template <>
class awaited_outcome<void> : public task_outcome_of<void> {
 public:
  awaited_outcome& begin() noexcept { return *this; }
  void take() const noexcept {}
};

/// The promise of a task<R>. The result goes where the outcome says: into the frame of the coroutine that awaits the
/// task, or, if the task was submitted, directly into the return buffer.
template <class R>
class task_promise : public coroutine_promise {
 public:
  using sink_type = sink_base;
  using outcome_type = task_outcome_of<R>;

  /// `co_return x;` constructs the result, once. An exception of that construction leaves the co_return statement.
  template <class U = R>
    requires std::convertible_to<U&&, R>
  void return_value(U&& value) {
    if (this->destruction != nullptr) return;
    auto& to = static_cast<outcome_type&>(*this->outcome);
    // A local's destructor may throw after a co_return, and the body may catch that and return again.
    if (to.has_result) [[unlikely]]
      to.clear();
    construct<R>(to.place, std::forward<U>(value));
    to.has_result = true;
  }
};

template <>
class task_promise<void> : public coroutine_promise {
 public:
  using sink_type = sink_base;
  using outcome_type = task_outcome_of<void>;
  void return_void() const noexcept {}
};

}  // namespace detail

/// A coroutine with one result of type R, or none if R is void. It starts when it is awaited, once, as an rvalue, as in
/// `R x = co_await compute(…);`. To run it as a task of its own, submit the function that returns it. `co_return x`
/// stores the result; an exception that leaves the coroutine is rethrown by the co_await, or stored in the ref.
/// Move-only. Its destructor destroys the coroutine in its current state. Two threads must not use one task object at
/// once.
///
/// The coroutine stores its parameters by the language's rules: an object passed by reference must exist until the
/// coroutine has ended. This holds for arguments of submit(), and for `co_await f(local)`.
template <class R>
class [[nodiscard("a task does nothing until it is awaited; to run it by itself, submit the function that returns it")]] task {
  static_assert(std::is_void_v<R> || (std::is_object_v<R> && std::is_same_v<R, std::remove_cv_t<R>> && !std::is_array_v<R>),
                "dyngen: task<R> needs R to be void or an object type, neither const nor a reference nor an array");
  static_assert(std::is_void_v<R> || std::is_move_constructible_v<R>,
                "dyngen: task<R> needs a movable R; return std::unique_ptr<R>");
  static_assert(detail::check_values<R>());

 public:
  using value_type = R;

  class promise_type : public detail::task_promise<R> {
   public:
    task get_return_object() noexcept {
      this->self = std::coroutine_handle<promise_type>::from_promise(*this);
      return task(*this);
    }
    template <class U>
    std::suspend_never yield_value(U&&) {
      static_assert(!std::is_same_v<U, U>, "dyngen: a task<R> has one result, by co_return; to co_yield values, return generator<T>");
      return {};
    }
  };

  task(const task&) = delete;  // move-only: write std::move(task)
  task& operator=(const task&) = delete;
  task(task&&) noexcept = default;
  task& operator=(task&&) noexcept = default;
  DYNGEN_ALWAYS_INLINE ~task() {
    if (frame_.get() != nullptr) frame_.destroy(frame_.get()->driver_if_begun());
  }

 private:
  template <class, class>
  friend class detail::coroutine_body;
  friend struct detail::awaiting<task>;

  explicit task(promise_type& promise) noexcept : frame_(promise) {}
  explicit task(detail::frame_owner&& frame) noexcept : frame_(std::move(frame)) {}
  bool can_start() const noexcept { return frame_.get() != nullptr; }

  detail::frame_owner frame_;
};

namespace detail {

template <class R>
class task_awaiter {
 public:
  task_awaiter(frame_promise& outer, frame_owner&& inner) noexcept : coroutine_(outer, std::move(inner)) {}

  bool await_ready() {
    if (!coroutine_.has_frame()) throw_awaited_already();
    return coroutine_.runs_to_its_end(outcome_);
  }
  void await_suspend(std::coroutine_handle<>) noexcept { coroutine_.stop(outcome_); }
  DYNGEN_ALWAYS_INLINE ~task_awaiter() = default;
  R await_resume() {
    outcome_.rethrow();
    return outcome_.take();
  }

 private:
  awaited_outcome<R> outcome_;
  nested_coroutine coroutine_;
};

template <class R>
struct awaiting<task<R>> {
  static task_awaiter<R> make(frame_promise& p, task<R>&& t) noexcept { return task_awaiter<R>(p, frame_of(std::move(t))); }
  static frame_owner frame_of(task<R>&& t) noexcept { return std::move(t.frame_); }
  static task<R> of_frame(frame_owner&& frame) noexcept { return task<R>(std::move(frame)); }
};

}  // namespace detail

}  // namespace dyngen

template <class R, class... Parameters>
struct std::coroutine_traits<dyngen::task<R>, Parameters...> {
  static_assert(dyngen::detail::check_parameters<Parameters...>());
  using promise_type = typename dyngen::task<R>::promise_type;
};
