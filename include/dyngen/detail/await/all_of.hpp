// SPDX-License-Identifier: MIT
#pragma once
// What when_all returns. It holds the operands, and is itself in the frame of the coroutine that awaits it. It runs the
// children among the operands, waits until every operand is ready, and gives their results or the first failure.

#include <dyngen/detail/await/children.hpp>
#include <dyngen/detail/await/parts.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/coroutine/awaiting.hpp>
#include <dyngen/detail/coroutine/frame.hpp>
#include <dyngen/detail/coroutine/result_kinds.hpp>
#include <dyngen/detail/coroutine/sink.hpp>
#include <dyngen/detail/pool/worker_queue.hpp>
#include <dyngen/detail/value/slot.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

/// What when_all returns: the operands, which a coroutine of the library awaits by co_await, once. `Parts` is a tuple or
/// a vector of parts.
template <class Parts>
class [[nodiscard("when_all does nothing until it is awaited: co_await when_all(…)")]] all_of final : awaited_children {
 public:
  using value_type = decltype(results_of(std::declval<Parts&>()));

  template <class... As>
  explicit all_of(std::in_place_t, As&&... as) : parts_(std::forward<As>(as)...) {}
  /// Only before the co_await.
  all_of(all_of&& other) noexcept(std::is_nothrow_move_constructible_v<Parts>)
      : awaited_children(std::move(other)), parts_(std::move(other.parts_)) {}
  DYNGEN_ALWAYS_INLINE ~all_of() {
    if (this->is_enlisted()) [[unlikely]]
      end_early();
  }

  /// For a function that returns it as a task, which it becomes when it is awaited.
  operator task<value_type>() && { return await_as_task(std::move(*this)); }

  all_of& run_in(frame_promise& parent) {
    awaited_children::run_in(parent);
    return *this;
  }
  bool await_ready() {
    if constexpr (children_among<Parts> == 0) {
      return this->is_ready(0);
    } else {
      thread_context& here = context();
      if (child_count() != 0) {
        worker_queue* const queue = this->begin_on_worker(here);
        if (queue == nullptr || !this->offer_and_run(*queue, here, parts_)) [[unlikely]]
          return false;
        if (!has_refs<Parts> && this->all_ran_here()) [[likely]]
          return true;
      }
      return this->is_ready(child_count());
    }
  }
  void await_suspend() noexcept { this->suspend(child_count()); }
  DYNGEN_ALWAYS_INLINE value_type await_resume() {
    (void)this->leave_list();
    bool failed = this->has_pended();
    for_each_part(parts_, [&failed](auto& p) { failed = failed || p.may_have_failed(); });
    if (failed) [[unlikely]]
      throw_failure();
    return results_of(parts_);
  }

 private:
  static task<value_type> await_as_task(all_of all) { co_return co_await std::move(all); }

  std::size_t child_count() const noexcept { return children_in(parts_); }
  /// The parent is destroyed while it waits.
  DYNGEN_NOINLINE void end_early() noexcept {
    give_up();
    sink_base& driver = this->leave_list();
    for_each_child(parts_, [&driver](auto& c) { c.report_unseen(driver); });
  }
  /// Throws the first failure, if there is one.
  DYNGEN_NOINLINE void throw_failure() {
    std::exception_ptr failure = this->failure();
    for_each_part(parts_, [&failure](auto& p) {
      if (!failure) failure = p.failure();
    });
    if (!failure) return;
    for_each_part(parts_, [](auto& p) { p.note_seen(); });
    std::rethrow_exception(std::move(failure));
  }
  void give_up() noexcept override {
    for_each_child(parts_, [](auto& c) { c.give_up(); });
  }
  slot* running() noexcept override {
    slot* end = nullptr;
    for_each_part(parts_, [&end](auto& p) { end = end != nullptr ? end : p.running(); });
    return end;
  }
  child& nth(std::size_t index) noexcept override {
    child* found = nullptr;
    for_each_child(parts_, [&](auto& c) {
      if (index-- == 0) found = &c;
    });
    return *found;
  }
  bool begin_wait(suspension& wait) override {
    auto rest = places_for_unready(parts_);
    for_each_part(parts_, [&rest](auto& p) { rest.look_at(p); });
    return rest.begin(wait);
  }

  Parts parts_;
};

/// The awaiter of an all_of, which stays where it is.
template <class Parts>
class all_awaiter {
 public:
  explicit all_awaiter(all_of<Parts>& all) noexcept : all_(all) {}
  bool await_ready() { return all_.await_ready(); }
  void await_suspend(std::coroutine_handle<>) noexcept { all_.await_suspend(); }
  DYNGEN_ALWAYS_INLINE decltype(auto) await_resume() { return all_.await_resume(); }

 private:
  all_of<Parts>& all_;
};

template <class Parts>
struct awaiting<all_of<Parts>> {
  static all_awaiter<Parts> make(frame_promise& p, all_of<Parts>&& all) { return all_awaiter<Parts>(all.run_in(p)); }
};

/// An operand of when_all as one that has a part: another when_all becomes a task.
template <class A>
decltype(auto) operand(A&& a) {
  if constexpr (is_all_of<A>)
    return static_cast<task<typename A::value_type>>(std::move(a));
  else
    return std::forward<A>(a);
}
template <class A>
using operand_of = decltype(operand(std::declval<A>()));

}  // namespace dyngen::detail
