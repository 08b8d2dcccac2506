// SPDX-License-Identifier: MIT
#pragma once
// What a coroutine of this library can co_await, besides a task: a ref, all or any of several handles, the next item of
// a stream. The coroutine suspends, and its own executor resumes it; it blocks no thread meanwhile. A coroutine that is
// iterated in place, without a task, blocks its thread instead.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/detail/pool/stealable_child.hpp>
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
  static constexpr bool is_task = false;
  const auto* waits_for() const noexcept { return &ref_; }
  void give_up() const noexcept {}
  bool runs_elsewhere() const noexcept { return false; }
  slot* running() const noexcept { return nullptr; }
  std::exception_ptr failure() const { return ref_.error(); }
  void note_seen() const { (void)ref_.failed(); }
  void report_unseen(sink_base&) const noexcept {}
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

/// A task<R> given to when_all, a child of the awaiting coroutine, its parent. The parent runs the child's coroutine as
/// part of its own task, unless the child becomes a task of its own: on a pool, when another worker steals it; on
/// another executor, at once.
class child : public child_coroutine {
 public:
  /// Lets other threads run the child: offers it to the workers of `host`, or, if `host` takes no offer, makes it a
  /// task of `host`. Throws std::bad_alloc.
  void leave_to(task_host& host) {
    offered_ = stealable_child::create(*this, host);
    if (host.offer(*offered_)) return;
    std::exchange(offered_, nullptr)->drop_references(2);
    is_elsewhere_ = true;
    submit(host);
  }
  /// Must the parent run the child? Withdraws the offer: no other thread can steal the child any more.
  bool stays_here() noexcept {
    if (offered_ != nullptr)
      is_elsewhere_ = !offered_->host().take_back(*std::exchange(offered_, nullptr));
    return !is_elsewhere_;
  }
  void become_task(task_host& host) noexcept final {
    try {
      submit(host);
    } catch (...) {
      threw(std::current_exception());
    }
  }

  /// Called by the parent, to run the child: gives up the child's coroutine.
  virtual frame_owner coroutine() noexcept = 0;
  /// Called by the parent, to run the child: where the outcome of the coroutine goes, except its exception in the end.
  virtual coroutine_outcome& outcome() noexcept = 0;
  void threw(std::exception_ptr e) noexcept { thrown_ = std::move(e); }
  /// Called when the when_all ends: reports the child's exception unless the when_all has passed it on.
  void report_unseen(sink_base& driver) noexcept {
    if (thrown_ && !seen_ && !is_silent(thrown_)) note_destruction(std::move(thrown_), &driver);
  }

 protected:
  child() = default;
  child(const child&) = default;  // only before the child runs
  ~child() = default;
  virtual void submit(task_host& host) = 0;

  std::exception_ptr thrown_;
  bool seen_ = false;  ///< the when_all threw this exception, or that of another part

 private:
  stealable_child* offered_ = nullptr;
  bool is_elsewhere_ = false;
};

/// `co_await in_place{child}` runs the child's coroutine as part of the awaiting one.
struct in_place {
  child& which;
};

class in_place_awaiter {
 public:
  in_place_awaiter(frame_promise& outer, child& c) noexcept : child_(c), coroutine_(outer, c.coroutine()) {}
  bool await_ready() noexcept {
    has_run_ = coroutine_.has_frame();
    return !has_run_ || coroutine_.runs_to_its_end(child_.outcome());
  }
  void await_suspend(std::coroutine_handle<>) noexcept { coroutine_.stop(child_.outcome()); }
  void await_resume() noexcept {
    if (has_run_) return child_.threw(std::exchange(child_.outcome().thrown, nullptr));
    try {
      throw_awaited_already();
    } catch (...) {
      child_.threw(std::current_exception());
    }
  }

 private:
  child& child_;
  nested_coroutine coroutine_;
  bool has_run_ = false;
};

template <>
struct awaiting<in_place> {
  static in_place_awaiter make(frame_promise& p, in_place what) noexcept { return in_place_awaiter(p, what.which); }
};

template <class R>
class part<task<R>> final : public child {
 public:
  static constexpr bool is_task = true;
  explicit part(task<R>&& t) noexcept : task_(std::move(t)) {}
  part(part&& other) noexcept : task_(std::move(other.task_)) {}  // only before the child runs
  part& operator=(part&&) = delete;
  ~part() { give_up(); }  // if the parent was destroyed

  frame_owner coroutine() noexcept override { return awaiting<task<R>>::frame_of(std::move(task_)); }
  coroutine_outcome& outcome() noexcept override { return outcome_.begin(); }
  const ref<R>* waits_for() const noexcept { return ref_.valid() ? &ref_ : nullptr; }
  void give_up() noexcept {
    if (!stays_here() && runs_elsewhere()) ref_.cancel();
  }
  bool runs_elsewhere() const noexcept { return ref_.valid() && !ref_.ready(); }
  slot* running() const noexcept { return runs_elsewhere() ? access::slot_of(ref_) : nullptr; }
  std::exception_ptr failure() const { return ref_.valid() ? ref_.error() : thrown_; }
  void note_seen() {
    seen_ = true;
    if (ref_.valid()) (void)ref_.failed();
  }
  not_void<R> result() {
    if constexpr (std::is_void_v<R>)
      return {};
    else
      return ref_.valid() ? std::move(ref_).get() : outcome_.take();
  }

 private:
  void submit(task_host& host) override {
    struct body {
      task<R> coroutine;
      task<R> operator()() { return std::move(coroutine); }
    };
    body b{std::move(task_)};
    try {
      ref_ = detail::submit_to(host, std::tuple<>(), std::move(b));
    } catch (...) {
      task_ = std::move(b.coroutine);  // it was not moved into a task; its parent destroys it
      throw;
    }
  }

  task<R> task_;
  ref<R> ref_;
  awaited_outcome<R> outcome_;
};

/// The part for an operand of type `A&&`. It holds a ref by value; its type tells whether an lvalue or an rvalue was
/// given.
template <class A>
using part_of = part<std::conditional_t<std::is_lvalue_reference_v<A>, A, std::remove_reference_t<A>>>;

/// The type from which all_of() constructs a part in its frame: the task<R> for a child, else the part itself.
template <class Part>
struct origin {
  using type = Part;
};
template <class R>
struct origin<part<task<R>>> {
  using type = task<R>;
};

template <class A>
concept awaitable_in_all =
    any_ref<A> || (is_task<std::remove_cvref_t<A>> && !std::is_lvalue_reference_v<A> && !std::is_const_v<A>);

/// Returns the host that may run the children of a when_all in parallel with their parent. Null if there is none: then
/// the parent runs them one after the other.
inline task_host* host_of_children() noexcept {
  const running_task* here = context().tasks;
  return here == nullptr ? nullptr : static_cast<task_record*>(here->task)->host().for_children();
}

/// True if `s` is of the pool whose task runs on this thread.
inline bool is_at_home(const shared_state* s) noexcept {
  const running_task* here = context().tasks;
  return here != nullptr && here->task->pool_id() != nullptr && s->pool_id() == here->task->pool_id();
}

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
  /// Returns the operand of a co_await that waits for all of them.
  wait_for_points all() const noexcept {
    return {points_.data(), count_, static_cast<std::int64_t>(count_), own_host_, owners_.data()};
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

/// Returns the slot that one of the children that run as tasks of their own will publish at its end. Null if there is
/// no such child.
template <class Parts>
slot* one_that_runs_elsewhere(Parts& parts) noexcept {
  slot* end = nullptr;
  for_each_part(parts, [&end](auto& p) { end = end != nullptr ? end : p.running(); });
  return end;
}

/// The end of a child that runs as a task of its own, as a point to wait for.
class end_elsewhere {
 public:
  explicit end_elsewhere(slot& s) noexcept
      : point_(point_of(s)),
        owner_(slot_group::of(s).owner),
        own_host_(is_at_home(owner_)) {}
  /// Returns the operand of a co_await that waits for it. It is valid as long as this object.
  wait_for_points wait() const noexcept { return {&point_, 1, 1, own_host_, &owner_}; }

 private:
  const wait_point point_;
  shared_state* const owner_;
  const bool own_host_;
};

/// Registers the children of a when_all with the driver of its coroutine, which ends them if the parent is cancelled.
/// Stored in the frame of the when_all, after the parts.
template <class Parts>
class registered_children : child_tasks {
 public:
  registered_children(sink_base& driver, Parts& of) noexcept
      : child_tasks{driver.children, &of, [](void* all) noexcept {
                      for_each_part(*static_cast<Parts*>(all), [](auto& p) { p.give_up(); });
                    },
                    [](void* all) noexcept {
                      return one_that_runs_elsewhere(*static_cast<Parts*>(all));
                    }},
        driver_(driver) {
    driver.children = this;
  }
  registered_children(const registered_children&) = delete;
  registered_children& operator=(const registered_children&) = delete;
  ~registered_children() {
    driver_.children = outer;
    for_each_part(*static_cast<Parts*>(this->parts), [this](auto& p) { p.report_unseen(driver_); });
  }

 private:
  sink_base& driver_;
};

/// Returns the children among the parts.
template <class... Parts>
auto children_of(std::tuple<Parts...>& parts) noexcept {
  std::array<child*, (std::size_t{Parts::is_task} + ...)> children{};
  std::size_t count = 0;
  for_each_part(parts, [&](auto& p) {
    if constexpr (std::remove_reference_t<decltype(p)>::is_task) children[count++] = &p;
  });
  return children;
}
template <class Part>
auto children_of(std::vector<Part>& parts) noexcept {
  return std::span<Part>(parts);
}

template <class Parts>
inline constexpr bool has_children = false;
template <class... Parts>
inline constexpr bool has_children<std::tuple<Parts...>> = (Parts::is_task || ...);
template <class Part>
inline constexpr bool has_children<std::vector<Part>> = Part::is_task;

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

/// The order in which the parent runs the children that no other thread has stolen. With a host, the parent offers all
/// but the last, and runs them from the last to the first; a thief steals the first. Without one, the parent runs them
/// from the first to the last.
class childrens_turns {
 public:
  template <class Children>
  childrens_turns(task_host* host, Children& children) : host_(host), count_(children.size()) {
    if (host != nullptr)
      for (std::size_t i = 0; i + 1 < count_; ++i) get(children[i]).leave_to(*host);
  }
  /// Returns the next child that the parent must run; null if there is none.
  template <class Children>
  child* next(Children& children) noexcept {
    while (done_ != count_) {
      child& c = get(children[host_ != nullptr ? count_ - 1 - done_ : done_]);
      ++done_;
      if (c.stays_here()) return &c;
    }
    return nullptr;
  }

  /// Should other tasks run before the next child?
  bool are_interrupted() const noexcept { return host_ != nullptr && host_->wants_others_to_run(); }

 private:
  static child& get(child* c) noexcept { return *c; }
  static child& get(child& c) noexcept { return c; }

  task_host* const host_;
  const std::size_t count_;
  std::size_t done_ = 0;
};

/// Makes the parts in its frame of `origins`, a tuple or a vector, and waits for all of them.
template <class Parts, class Origins>
task<decltype(results_of(std::declval<Parts&>()))> all_of(Origins origins) {
  sink_base& driver = co_await own_driver();
  Parts parts(std::move(origins));
  const registered_children children(driver, parts);
  std::exception_ptr failure;
  try {
    if constexpr (has_children<Parts>) {
      auto tasks = children_of(parts);
      childrens_turns turns(host_of_children(), tasks);
      while (child* const next = turns.next(tasks)) {
        if (turns.are_interrupted()) co_await yield_to_others();
        co_await in_place{*next};
      }
    }
    bool ready = true;
    for_each_part(parts, [&ready](auto& p) { ready = ready && !is_unready(p); });
    if (!ready) {
      auto rest = places_for_unready(parts);
      for_each_part(parts, [&rest](auto& p) { rest.look_at(p); });
      co_await rest.all();
    }
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    // The children may use objects of the awaiting coroutine, so it waits until they have ended. If there is no memory
    // for a wait, it polls, and lets other tasks run in between.
    for_each_part(parts, [](auto& p) { p.give_up(); });
    bool may_wait = true;
    while (slot* const running = one_that_runs_elsewhere(parts)) {
      if (!may_wait) co_await yield_to_others();
      try {
        const end_elsewhere its_end(*running);
        if (may_wait) co_await its_end.wait();
      } catch (...) {
        may_wait = false;
      }
    }
  } else {
    for_each_part(parts, [&failure](auto& p) {
      if (!failure) failure = p.failure();
    });
  }
  if (failure) {
    for_each_part(parts, [](auto& p) { p.note_seen(); });
    std::rethrow_exception(failure);
  }
  co_return results_of(parts);
}

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
    static_assert((awaitable_in_all<As> && ...), DYNGEN_DETAIL_WHEN_ALL);
    if constexpr ((awaitable_in_all<As> && ...))
      return all_of<std::tuple<part_of<As>...>>(
          std::tuple<typename origin<part_of<As>>::type...>(typename origin<part_of<As>>::type(std::forward<As>(as))...));
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
      return all_of<std::vector<part_of<element>>>(std::move(parts));
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
