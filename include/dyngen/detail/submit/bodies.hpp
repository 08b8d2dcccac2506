// SPDX-License-Identifier: MIT
#pragma once
// The bodies of tasks: a body runs the bound call of its record and stores the values in the record's buffer. A plain
// function runs in one step. A coroutine runs in several: each call of resume() continues it until it suspends or ends.

#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/coroutine/result_kinds.hpp>
#include <dyngen/detail/coroutine/sink.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/task_record.hpp>
#include <dyngen/detail/value/fixed_buffer.hpp>
#include <dyngen/detail/value/shared_state.hpp>
#include <dyngen/error.hpp>

#include <cstdint>
#include <exception>
#include <new>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

/// A plain function with one result, or none.
template <class Bound, class R>
class function_body {
 public:
  template <class Task>
  step resume(Task& task, Bound& call, std::uint64_t) {
    if constexpr (std::is_void_v<R>) {
      call();
    } else {
      ::new (task.buffer().place()) R(call());
      task.buffer().template commit<R>();
    }
    return step::ended;
  }
  std::exception_ptr close() noexcept { return nullptr; }
};

/// A plain function that returns a tuple or pair: its elements are the values.
template <class Bound, class Tuple>
class tuple_body {
 public:
  template <class Task>
  step resume(Task& task, Bound& call, std::uint64_t) {
    Tuple values(call());
    std::uint64_t position = 0;
    std::apply([&](auto&... v) { (store(task.buffer(), v, position++), ...); }, values);
    return step::ended;
  }
  std::exception_ptr close() noexcept { return nullptr; }

 private:
  template <class V>
  static void store(fixed_buffer& buffer, V& value, std::uint64_t position) {
    if (position < buffer.made()) return;  // an earlier attempt has stored this value
    ::new (buffer.place()) V(std::move(value));
    buffer.commit<V>();
  }
};

/// A coroutine. `Coroutine` is the type of the coroutine object that runs: what the call returns, or a generator of the
/// elements of what it returns.
template <class Bound, class Coroutine>
class coroutine_body {
 public:
  template <class Task>
  step resume(Task& task, Bound& call, std::uint64_t stop_at) {
    if (!coroutine_) {
      task.note_started();
      coroutine_.emplace(make(call));
      if (!coroutine_->can_start()) return nothing_to_run(task);
      task.make_sink(sink_);
      promise& p = own_promise();
      sink_->leaf = p.self;
      p.run_by(*sink_, outcome_);
      sink_->replay = task.stored_before();
      if constexpr (has_result) outcome_.place = task.buffer().place();
    }
    sink_->stop_at = stop_at;
    sink_->slice_over = context().slice_over;
    if constexpr (requires { sink_->store_pending(); }) {
      if (sink_->store_pending()) return step::paused;
      sink_->open();
    }
    return after(task, sink_->drive());
  }

  template <class Task>
  step after(Task& task, step last) {
    if (last == step::ended) {
      if (outcome_.thrown) {
        task.note_thrown(outcome_.thrown);
      } else {
        if constexpr (has_result)
          if (std::exchange(outcome_.has_result, false))
            task.template commit<std::remove_reference_t<decltype(outcome_.result())>>();
        if (sink_->replay != 0) return step::too_few;
      }
    }
    return last;
  }

  thread_wait* awaited() const noexcept { return sink_ ? sink_->awaited : nullptr; }
  /// The number of values that earlier attempts have stored and this attempt has not yet repeated.
  std::uint64_t replay() const noexcept { return sink_ ? sink_->replay : 0; }
  childrens_end end_children() noexcept { return sink_ ? sink_->end_children() : childrens_end(); }

  std::exception_ptr close() noexcept {
    coroutine_.reset();
    if constexpr (has_result) outcome_.clear();
    outcome_.thrown = nullptr;
    std::exception_ptr thrown;
    if (sink_) thrown = std::move(sink_->destroyed_with);
    if constexpr (requires { sink_->drop_pending(); })
      if (sink_) sink_->drop_pending();
    sink_.reset();
    return thrown;
  }

 private:
  using promise = typename Coroutine::promise_type;
  using outcome = typename promise::outcome_type;
  static constexpr bool has_result = requires(outcome& o) { o.result(); };

  promise& own_promise() const noexcept { return static_cast<promise&>(*coroutine_->frame_.get()); }

  /// The callable returned a coroutine object that was moved from, or has ended. A sequence then has no values. A
  /// task<R> fails, since it has no result to give.
  static step nothing_to_run(shared_state& task) {
    if constexpr (!requires(promise& p) { p.sink(); })
      throw error("dyngen: the callable of task " + task.label() +
                  " returned a task<R> that was moved from, or has been awaited; return one that was not used before");
    return step::ended;
  }

  static Coroutine make(Bound& call) {
    using returned = std::remove_cvref_t<decltype(call())>;
    if constexpr (std::is_same_v<returned, Coroutine> || is_all_of<returned>)
      return call();
    else
      return promise::all_of(call());
  }

  std::optional<typename promise::sink_type> sink_;
  outcome outcome_;
  std::optional<Coroutine> coroutine_;
};

}  // namespace dyngen::detail
