// SPDX-License-Identifier: MIT
#pragma once
// The awaiters of a ref and of the next item of a stream. An awaiter suspends the coroutine if the value is not ready,
// the task is cancelled or its time slice is over. In a coroutine that is iterated in place, outside a task, it blocks
// the thread instead.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/detail/coroutine/awaiting.hpp>
#include <dyngen/detail/results/sequence_task.hpp>
#include <dyngen/detail/results/stream_access.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/value/ref_access.hpp>

#include <coroutine>
#include <utility>

namespace dyngen::detail {

/// Defined in ref_stream.hpp.
template <class T, bool Value>
struct stream_item;

/// Awaits a ref. With `Ref` = `const ref<T>&` the co_await gives `const T&`; with `ref<T>&&` it gives T, and leaves the
/// ref as `get() &&` does.
template <class Ref>
class ref_awaiter {
 public:
  ref_awaiter(frame_promise& p, Ref r) noexcept : suspension_(p), ref_(std::forward<Ref>(r)) {}

  bool await_ready() {
    if (suspension_.must_stop()) return false;
    if (!ref_.valid()) throw_empty("ref");
    slot& s = *access::slot_of(ref_);
    return (slot_ready(s) || !suspension_.begin(s)) && suspension_.goes_on();
  }
  void await_suspend(std::coroutine_handle<>) noexcept { suspension_.suspend(); }
  decltype(auto) await_resume() {
    suspension_.end();
    return std::forward<Ref>(ref_).get();
  }

 private:
  suspension suspension_;
  Ref ref_;
};

template <class T>
struct awaiting<ref<T>> {
  static ref_awaiter<const ref<T>&> make(frame_promise& p, const ref<T>& r) noexcept { return {p, r}; }
  static ref_awaiter<ref<T>&&> make(frame_promise& p, ref<T>&& r) noexcept { return {p, std::move(r)}; }
};

/// Awaits the next item of a stream, or the next value if `Value`.
template <class T, bool Value>
class stream_awaiter {
 public:
  stream_awaiter(frame_promise& p, ref_stream<T>& s) noexcept : suspension_(p), stream_(s) {}

  bool await_ready() {
    if (suspension_.is_destroyed()) return false;
    task_ = &stream_access::task_of(stream_);
    // While the host cancels all tasks, the coroutine may still read here, but not for long: the host queues the kept
    // streams then, and arrives() sees that the coroutine must stop.
    if (suspension_.task() != nullptr && suspension_.task()->cancelled()) return false;
    if (!task_->has_value()) {
      const auto made = suspension_.task() != nullptr ? task_->make_next(true) : made_here::nothing;
      if (made == made_here::value && !suspension_.time_is_up()) return true;
      hold(made);
      if (made != made_here::value && !arrives(made)) return false;
    } else if (suspension_.must_stop()) {
      return false;
    }
    if (suspension_.goes_on()) return true;
    hold(made_here::nothing);  // while the coroutine is suspended, the stream may be destroyed
    return false;
  }
  void await_suspend(std::coroutine_handle<>) noexcept { suspension_.suspend(); }
  // Does not use the stream: the producer's code may have destroyed it.
  auto await_resume() {
    suspension_.end();
    if constexpr (Value)
      return stream_access::value_or_end(*task_);
    else
      return stream_access::item_or_end(*task_);
  }

 private:
  using made_here = typename sequence_task<T>::made_here;

  void hold(made_here made) noexcept { stream_access::hold(kept_, *task_, made); }
  /// Returns false if the coroutine must suspend until the next item is ready, or stop.
  DYNGEN_NOINLINE bool arrives(made_here made) {
    sequence_task<T>& t = *task_;
    for (;;) {
      if (suspension_.must_stop()) return false;
      if (t.has_value() || t.completed() || t.is_left()) return true;
      if (made != made_here::something) break;
      made = t.make_next(true);
      if (made == made_here::value) return true;
      hold(made);
    }
    refuse_self_wait(t, suspension_.task());
    t.return_credits(true);
    if ((suspension_.task() == nullptr || !suspension_.task()->host().has_pending_work()) && t.item_comes_soon()) return true;
    const wait_point point = t.next_item();
    return !suspension_.begin(&point, 1, 1, suspension_.task() != nullptr && t.pool_id() == suspension_.task()->pool_id());
  }

  suspension suspension_;
  ref_stream<T>& stream_;
  sequence_task<T>* task_ = nullptr;
  intrusive_ptr<sequence_task<T>> kept_;
};

template <class T, bool Value>
struct awaiting<stream_item<T, Value>> {
  static stream_awaiter<T, Value> make(frame_promise& p, stream_item<T, Value> item) noexcept {
    return stream_awaiter<T, Value>(p, *item.stream);
  }
};

}  // namespace dyngen::detail
