// SPDX-License-Identifier: MIT
#pragma once
// The operands of one when_all. Each is a part: a ref to wait for, or a task, which is a child of the awaiting coroutine.
// The parts are in a tuple, or, for a range of operands, in a vector; the functions here treat both alike.

#include <dyngen/detail/await/children.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/coroutine/awaiting.hpp>
#include <dyngen/detail/coroutine/frame.hpp>
#include <dyngen/detail/coroutine/result_kinds.hpp>
#include <dyngen/detail/coroutine/sink.hpp>
#include <dyngen/detail/submit/submission.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/task_host.hpp>
#include <dyngen/detail/value/ref_access.hpp>
#include <dyngen/detail/value/slot_operations.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace dyngen::detail {

/// Defined in task.hpp.
template <class R>
class awaited_outcome;

/// One operand of when_all: a ref; or a task<R>, which runs as part of its parent, or becomes a task of its own and
/// then is a ref.
template <class A>
class part;

template <class T, bool Moves>
class ref_part {
 public:
  template <class R>
  explicit ref_part(R&& r) : ref_(std::forward<R>(r)) {
    if (!ref_.valid()) throw_empty("ref given to when_all");
  }
  static constexpr bool is_child = false;
  const auto* waits_for() const noexcept { return &ref_; }
  slot* running() const noexcept { return nullptr; }
  bool may_have_failed() const noexcept { return true; }
  std::exception_ptr failure() const { return ref_.error(); }
  void note_seen() const { (void)ref_.failed(); }
  decltype(auto) result() {
    if constexpr (std::is_void_v<T>)
      return std::monostate();
    else if constexpr (Moves)
      return std::move(ref_).get();
    else
      return std::as_const(ref_).get();
  }

 private:
  ref<T> ref_;
};
template <class T>
class part<ref<T>> : public ref_part<T, true> {
  using ref_part<T, true>::ref_part;
};
template <class T>
class part<const ref<T>&> : public ref_part<T, false> {
  using ref_part<T, false>::ref_part;
};
template <class T>
class part<ref<T>&> : public ref_part<T, false> {
  using ref_part<T, false>::ref_part;
};
template <class T>
class part<const ref<T>> : public ref_part<T, true> {
  using ref_part<T, true>::ref_part;
};

template <class R>
class part<task<R>> final : public child {
 public:
  static constexpr bool is_child = true;
  explicit part(task<R>&& t) noexcept : child(awaiting<task<R>>::frame_of(std::move(t)), outcome_) {}
  part(part&& other) noexcept : child(std::move(other.coroutine), outcome_) {}  // only before the child runs
  part& operator=(part&&) = delete;
  DYNGEN_ALWAYS_INLINE ~part() = default;

  const ref<R>* waits_for() const noexcept { return ref_.valid() ? &ref_ : nullptr; }
  void give_up() noexcept {
    if (!this->take_back(context().queue) && is_running()) ref_.cancel();
  }
  slot* running() const noexcept { return is_running() ? access::slot_of(ref_) : nullptr; }
  bool may_have_failed() const noexcept { return this->is_gone() || outcome_.thrown != nullptr; }
  std::exception_ptr failure() const { return ref_.valid() ? ref_.error() : outcome_.thrown; }
  void note_seen() {
    outcome_.thrown = nullptr;
    if (ref_.valid()) (void)ref_.failed();
  }
  void report_unseen(sink_base& driver) noexcept {
    if (outcome_.thrown && !is_silent(outcome_.thrown)) note_destruction(std::move(outcome_.thrown), &driver);
  }
  not_void<R> result() {
    if constexpr (std::is_void_v<R>)
      return {};
    else
      return ref_.valid() ? std::move(ref_).get() : outcome_.take();
  }

 private:
  bool is_running() const noexcept { return ref_.valid() && !ref_.ready(); }
  void become_task(task_host& host) noexcept override {
    struct body {
      task<R> coroutine;
      task<R> operator()() { return std::move(coroutine); }
    };
    body b{awaiting<task<R>>::of_frame(std::move(coroutine))};
    try {
      ref_ = detail::submit_to(host, std::tuple<>(), std::move(b));
    } catch (...) {
      coroutine = awaiting<task<R>>::frame_of(std::move(b.coroutine));  // it is in no task; its parent destroys it
      outcome_.thrown = std::current_exception();
    }
  }

  awaited_outcome<R> outcome_;
  ref<R> ref_;
};

/// The part for an operand of type `A&&`. It holds a ref by value; its type tells whether an lvalue or an rvalue was
/// given.
template <class A>
using part_of = part<std::conditional_t<std::is_lvalue_reference_v<A>, A, std::remove_reference_t<A>>>;

template <class A>
concept awaitable_in_all =
    any_ref<A> || (is_task<std::remove_cvref_t<A>> && !std::is_lvalue_reference_v<A> && !std::is_const_v<A>);

template <class Part>
bool is_unready(const Part& p) {
  const auto* r = p.waits_for();
  return r != nullptr && !r->ready();
}

/// The parts that are not ready, as points to wait for. Both arrays have a place for each of them.
template <class Points, class Owners>
class unready_parts {
 public:
  unready_parts() = default;
  explicit unready_parts(std::size_t most) : points_(most), owners_(most) {}

  template <class Part>
  void look_at(const Part& p) {
    const auto* r = p.waits_for();
    if (r == nullptr || r->ready()) return;
    slot& s = *access::slot_of(*r);
    points_[count_] = point_of(s);
    owners_[count_] = slot_group::of(s).owner;
    own_host_ = own_host_ && is_at_home(owners_[count_]);
    ++count_;
  }
  /// Begins to wait for all of them. Returns false if there is nothing to wait for.
  bool begin(suspension& wait) {
    if (count_ == 0) return false;
    const auto all = static_cast<std::int64_t>(count_);
    refuse_self_waits(owners_.data(), count_, all, wait.task());
    return wait.begin(points_.data(), count_, all, own_host_);
  }

 private:
  Points points_;
  Owners owners_;
  std::size_t count_ = 0;
  bool own_host_ = true;
};

/// Calls `f` with each of the parts.
template <class... Parts, class F>
DYNGEN_ALWAYS_INLINE inline void for_each_part(std::tuple<Parts...>& parts, F f) {
  std::apply([&f](auto&... p) { (f(p), ...); }, parts);
}
template <class Part, class F>
void for_each_part(std::vector<Part>& parts, F f) {
  for (Part& p : parts) f(p);
}
/// Calls `f` with each of the children among the parts.
template <class Parts, class F>
DYNGEN_ALWAYS_INLINE inline void for_each_child(Parts& parts, F f) {
  for_each_part(parts, [&f](auto& p) {
    if constexpr (std::remove_reference_t<decltype(p)>::is_child) f(p);
  });
}

/// How many of the parts of a tuple, or of each element of a vector, are children.
template <class Parts>
inline constexpr std::size_t children_among = 0;
template <class... Parts>
inline constexpr std::size_t children_among<std::tuple<Parts...>> = (std::size_t{Parts::is_child} + ...);
template <class Part>
inline constexpr std::size_t children_among<std::vector<Part>> = Part::is_child;
template <class... Parts>
std::size_t children_in(const std::tuple<Parts...>&) noexcept {
  return children_among<std::tuple<Parts...>>;
}
template <class Part>
std::size_t children_in(const std::vector<Part>& parts) noexcept {
  return Part::is_child ? parts.size() : 0;
}
template <class Parts>
inline constexpr bool has_refs = false;
template <class... Parts>
inline constexpr bool has_refs<std::tuple<Parts...>> = !(Parts::is_child && ...);

/// Returns an unready_parts with enough places for the parts.
template <class... Parts>
auto places_for_unready(std::tuple<Parts...>&) {
  return unready_parts<std::array<wait_point, sizeof...(Parts)>, std::array<shared_state*, sizeof...(Parts)>>();
}
template <class Part>
auto places_for_unready(std::vector<Part>& parts) {
  // Fewer places are needed if some parts become ready now.
  const auto most = static_cast<std::size_t>(std::ranges::count_if(parts, is_unready<Part>));
  return unready_parts<std::vector<wait_point>, std::vector<shared_state*>>(most);
}

/// Returns what the co_await of the parts gives.
template <class... Parts>
auto results_of(std::tuple<Parts...>& parts) {
  return std::apply([](auto&... p) { return std::tuple<decltype(p.result())...>(p.result()...); }, parts);
}
template <class Part>
auto results_of(std::vector<Part>& parts) {
  std::vector<std::remove_cvref_t<decltype(std::declval<Part&>().result())>> results;
  results.reserve(parts.size());
  for (Part& p : parts) results.push_back(p.result());
  return results;
}

}  // namespace dyngen::detail
