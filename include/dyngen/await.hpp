// SPDX-License-Identifier: MIT
#pragma once
// What a coroutine of this library can co_await, besides a task: a ref, all or any of several handles, the next item of
// a stream. The coroutine suspends, and its own executor resumes it; it blocks no thread meanwhile. A coroutine that is
// iterated in place, without a task, blocks its thread instead.

#include <dyngen/detail/await/children.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/ref.hpp>
#include <dyngen/ref_stream.hpp>
#include <dyngen/submit.hpp>
#include <dyngen/task.hpp>
#include <dyngen/wait.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <ranges>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace dyngen {
namespace detail {

// --- one ref ---

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

// --- the next item of a stream ---

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

// --- all of several ---

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

  all_of& run_in(frame_promise& parent) noexcept {
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
  static all_awaiter<Parts> make(frame_promise& p, all_of<Parts>&& all) noexcept { return all_awaiter<Parts>(all.run_in(p)); }
};

template <class A>
inline constexpr bool is_all_of = false;
template <class Parts>
inline constexpr bool is_all_of<all_of<Parts>> = true;

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

#define DYNGEN_DETAIL_WHEN_ALL "dyngen: when_all takes refs and tasks, or a range of them; a range of tasks by std::move(range)"

struct when_all_function {
  /// `co_await when_all(a, b, …)` suspends the coroutine until all operands are ready. Returns a tuple of the results,
  /// or rethrows the first failure in argument order. The operands are refs and tasks. An lvalue ref gives `const T&`,
  /// valid as long as that ref; an rvalue ref gives T, as `get() &&`; a task, given as an rvalue, gives its result;
  /// void gives std::monostate.
  ///
  /// The tasks run in parallel on the executor of the awaiting task. On a pool, a free worker may take any of them
  /// except the last as a task of its own; the awaiting thread runs the others, from the last to the first, as part of
  /// its own task. All of them have ended when the co_await returns or throws, so they may refer to objects of the
  /// awaiting coroutine. If the awaiting task is cancelled, they are cancelled too, and it ends after them. In a method
  /// of an actor, and in a generator that is iterated in place, they run one after the other. Throws empty_ref for an
  /// empty ref, std::bad_alloc, and error if the awaiting task would wait for itself.
  template <class... As>
    requires(sizeof...(As) > 0)
  auto operator()(As&&... as) const {
    static_assert((awaitable_in_all<operand_of<As>> && ...), DYNGEN_DETAIL_WHEN_ALL);
    if constexpr ((awaitable_in_all<operand_of<As>> && ...))
      return all_of<std::tuple<part_of<operand_of<As>>...>>(std::in_place, operand(std::forward<As>(as))...);
    else
      return yield_to_others();
  }

  /// `co_await when_all(range)` suspends the coroutine until all refs or tasks of the range are ready. Returns a
  /// std::vector of the results, or rethrows the first failure in the order of the range. From an lvalue range the
  /// values are copied, and the refs remain; from `std::move(range)` both are moved. Tasks run in parallel and have
  /// ended when the co_await returns or throws. Throws empty_ref for an empty ref, std::bad_alloc, and error if the
  /// awaiting task would wait for itself.
  template <std::ranges::input_range Range>
    requires(!awaitable_in_all<Range>)
  auto operator()(Range&& range) const {
    using reference = std::ranges::range_reference_t<Range>;
    using element = std::conditional_t<owns_elements<Range> && std::is_lvalue_reference_v<reference>,
                                       std::remove_reference_t<reference>, reference>;
    static_assert(awaitable_in_all<element>, DYNGEN_DETAIL_WHEN_ALL);
    if constexpr (awaitable_in_all<element>) {
      std::vector<part_of<element>> parts;
      for (auto&& e : range) parts.emplace_back(static_cast<element&&>(e));
      return all_of<std::vector<part_of<element>>>(std::in_place, std::move(parts));
    } else {
      return yield_to_others();
    }
  }
};
#undef DYNGEN_DETAIL_WHEN_ALL

// --- any of several ---

inline task<std::size_t> any_of(std::vector<watched> handles) {
  if (handles.empty()) throw_nothing_to_wait_for("when_any");
  const std::size_t start = next_turn() % handles.size();
  std::vector<wait_point> points;
  std::vector<shared_state*> owners;
  for (;;) {
    const std::size_t found = look_in_turn(handles, start, points, owners);
    if (found != none_ready) co_return found;
    const bool own_host = std::ranges::all_of(owners, is_at_home);
    co_await wait_for_points{points.data(), points.size(), 1, own_host, owners.data()};
  }
}

/// Waits for any of a range that exists as long as the coroutine.
template <class Range>
task<std::size_t> any_in(Range& range) {
  const std::size_t count = count_of(range, "when_any");
  std::size_t found = look_first(range, count);
  if (found == none_ready) found = co_await any_of(watch_all(range, count));
  co_return found;
}
/// Waits for any of the handles, which it keeps.
template <class Handle>
task<std::size_t> any_held(std::vector<Handle> handles) {
  co_return co_await any_in(handles);
}

struct when_any_function {
  /// `co_await when_any(a, b, …)` or `co_await when_any(range)` suspends the coroutine until one of the refs and
  /// streams is ready. Returns its index. A ref is ready when it holds a value or an exception, a stream when its next
  /// item is ready; a stream at its end counts only if all given handles are streams at their end. Consumes nothing and
  /// cancels no task. The handles, and a range given as an lvalue, must exist until the co_await has ended. Throws
  /// std::invalid_argument if there are no handles, empty_ref, std::bad_alloc, and error if the awaiting task would
  /// wait for itself.
  template <class... Handles>
  task<std::size_t> operator()(Handles&&... handles) const {
    if constexpr ((any_handle<Handles> && ...)) {
      return any_of({watched::of(handles)...});
    } else if constexpr (sizeof...(Handles) == 1 && (any_handles<Handles> && ...)) {
      return of_range<Handles...>(handles...);
    } else {
      static_assert(sizeof...(Handles) == static_cast<std::size_t>(-1),
                    "dyngen: when_any takes refs and streams, or one range of them");
      return any_of({});
    }
  }

 private:
  template <class Given, class Range>
  static task<std::size_t> of_range(Range& range) {
    if constexpr (!read_again<Range>)
      return any_held(held<Range>(range));
    else if constexpr (std::is_lvalue_reference_v<Given>)
      return any_in(range);
    else
      return any_of(watch_all(range, count_of(range, "when_any")));
  }
};

}  // namespace detail

/// co_await when_all(ref_or_task…) or when_all(range): suspends until all are ready, and returns their results.
inline constexpr detail::when_all_function when_all{};
/// co_await when_any(ref_or_stream…) or when_any(range): suspends until one is ready, and returns its index.
inline constexpr detail::when_any_function when_any{};

}  // namespace dyngen
