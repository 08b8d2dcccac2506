// SPDX-License-Identifier: MIT
#pragma once
// One submit, from a callable, its arguments and its options to the handles. It finds the kind of the task from what
// the callable returns and what the options ask for, builds the record, and starts the task. The calling thread hands
// the task to its executor; it runs none of the task's code, except under inline_executor.

#include <dyngen/detail/coroutine/result_kinds.hpp>
#include <dyngen/detail/results/fixed_task.hpp>
#include <dyngen/detail/results/sequence_task.hpp>
#include <dyngen/detail/results/stream_access.hpp>
#include <dyngen/detail/submit/arguments.hpp>
#include <dyngen/detail/submit/bodies.hpp>
#include <dyngen/detail/submit/record.hpp>
#include <dyngen/detail/submit/requested_options.hpp>
#include <dyngen/detail/value/ref_access.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace dyngen {

template <class T>
class ref_list;

namespace detail {

template <class F>
inline constexpr bool may_be_null = std::is_pointer_v<F> || std::is_member_pointer_v<F>;
template <class F>
void reject_null([[maybe_unused]] const F& f) {
  if constexpr (may_be_null<F>) {
    if (f == nullptr)
      throw std::invalid_argument("dyngen: submit: the callable is a null pointer; nothing was submitted");
  }
}

template <class A>
inline constexpr bool may_be_empty = is_ref<A> || is_consumed<A>;
template <class A>
void reject_empty([[maybe_unused]] const A& a) {
  if constexpr (is_ref<A>) {
    if (!a.valid()) throw_empty("ref argument of submit");
  } else if constexpr (is_consumed<A>) {
    if (!a.handle.valid()) throw_empty("ref given to consume");
  }
}

/// Holds an object that submit makes and then moves into the task. If the destructor of the moved-from object throws,
/// the exception is reported, because the task is submitted by then.
template <class T>
class moved_from_guard {
 public:
  template <class Make>
  moved_from_guard(task_host& host, Make make) : host_(host), value_(make()) {}
  moved_from_guard(const moved_from_guard&) = delete;
  moved_from_guard& operator=(const moved_from_guard&) = delete;
  ~moved_from_guard() {
    std::exception_ptr thrown;
    try {
      value_.~T();
    } catch (...) {
      thrown = std::current_exception();
    }
    if (thrown) host_.report(std::move(thrown), "submit");
  }
  T& operator*() noexcept { return value_; }

 private:
  task_host& host_;
  union {
    T value_;
  };
};
template <class Make>
moved_from_guard(task_host&, Make) -> moved_from_guard<std::invoke_result_t<Make>>;

/// The result of a submit that does not compile, so that the compiler prints one sentence about it and no further
/// errors.
struct [[maybe_unused]] nothing_submitted {};

template <class... Os>
class submission {
  using ask = requested_options<Os...>;

 public:
  submission(task_host& host, const std::tuple<Os...>& os) : host_(host), options_(os) {}

  template <class F, class... Args>
  auto operator()(F&& f, Args&&... args) const {
    using callable = std::decay_t<F>;
    static_assert(!is_generator<callable> && !is_tuple_generator<callable> && !is_task<callable> && !is_all_of<callable>,
                  "dyngen: submit was given a coroutine object in place of a callable; write submit(split, array, 10), "
                  "not submit(split(array, 10))");
    if constexpr (is_generator<callable> || is_tuple_generator<callable> || is_task<callable> || is_all_of<callable>) {
      return nothing_submitted();
    } else {
      using stored = typename stored_arguments<callable, std::index_sequence_for<Args...>, Args...>::type;
      using result = call_result<callable, stored, ask::retries>;
      static_assert(!ask::max_concurrency, "dyngen: max_concurrency is for make_actor; a task has no methods; remove the option");
      static_assert(ask::retries || !ask::retry_if, "dyngen: retry_if does nothing by itself; add max_retries{n}");
      static_assert(!ask::retries || std::is_copy_constructible_v<callable>,
                    "dyngen: with max_retries each attempt has its own copy of the callable, and this one cannot be "
                    "copied; keep its move-only members in a std::shared_ptr, or remove max_retries");
      static_assert(result::is_invocable || !ask::retries,
                    "dyngen: with max_retries a task's arguments are passed as const lvalues, again for each attempt; f cannot "
                    "be called with these; let f take them by value or by const reference");
      constexpr bool builds_actor = [] {
        if constexpr (is_actor_call<callable>)
          return callable::call_kind == actor_call::kind::builder;
        else
          return false;
      }();
      static_assert(result::is_invocable || !builds_actor,
                    "dyngen: make_actor<A>(args...): A cannot be constructed from these arguments; they are passed as rvalues, "
                    "a ref<U> as const U&");
      static_assert(result::is_invocable || ask::retries || builds_actor,
                    "dyngen: submit(f, args...): f cannot be called with these arguments; they are passed as rvalues, a "
                    "ref<U> as const U& (to pass a reference, use std::ref; to pass a ref itself, unresolved(r))");
      using R = typename result::type;
      static_assert(!std::is_reference_v<R>,
                    "dyngen: a task cannot return a reference; return a value, or std::reference_wrapper");
      constexpr bool movable_in = std::is_constructible_v<callable, F> && all_stored<stored, Args...>();
      static_assert(std::is_constructible_v<callable, F>,
                    "dyngen: the callable cannot be copied into the task; write submit(std::move(f), args...)");
      static_assert(all_stored<stored, Args...>(),
                    "dyngen: an argument cannot be copied into the task; write std::move(argument), or "
                    "std::ref(argument) if it outlives the task");
      if constexpr (!result::is_invocable || std::is_reference_v<R> || !movable_in ||
                    (ask::retries && !std::is_copy_constructible_v<callable>)) {
        return nothing_submitted();
      } else {
        if constexpr (may_be_null<std::remove_cvref_t<F>>) detail::reject_null(f);
        if constexpr ((may_be_empty<std::decay_t<Args>> || ...)) (detail::reject_empty(args), ...);
        return classify<typename as_coroutine<std::remove_cv_t<R>>::type, callable, stored>(std::forward<F>(f), std::forward<Args>(args)...);
      }
    }
  }

 private:
  template <class Stored, class... Args>
  static constexpr bool all_stored() {
    return []<class... S>(std::type_identity<std::tuple<S...>>) {
      return (can_be_stored<S, Args> && ...);
    }(std::type_identity<Stored>());
  }

  template <class R, class Callable, class Stored, class... CallArgs>
  auto classify(CallArgs&&... call) const {
    using bound = bound_call<Callable, Stored, decltype(terms_from(options_))>;
    constexpr bool sequence = is_lazy_sequence<R> || (ask::returns && std::ranges::input_range<R>);
    if constexpr (is_tuple_generator<R>) {
      return tuple_generated<R, bound>(static_cast<R*>(nullptr), std::forward<CallArgs>(call)...);
    } else if constexpr (!sequence && is_plain_tuple<R> && ask::returns) {
      return plain_tuple<R, bound>(static_cast<R*>(nullptr), std::forward<CallArgs>(call)...);
    } else if constexpr (sequence) {
      return sequence_of<R, bound>(std::forward<CallArgs>(call)...);
    } else {
      static_assert(!ask::returns,
                    "dyngen: num_returns, dynamic and streaming need a task that produces several values: a generator, a "
                    "range or container, or (for num_returns) a tuple; remove the option for a plain function");
      static_assert(!ask::bounded && !ask::unbounded, "dyngen: backpressure, backpressure_by and unbounded are for streams; this task returns one value");
      static_assert(!ask::all_or_nothing, "dyngen: all_or_nothing is for num_returns and dynamic; this task returns one value");
      if constexpr (is_task<R>)
        return single<typename R::value_type, bound, coroutine_body<bound, R>>(std::forward<CallArgs>(call)...);
      else
        return single<R, bound, function_body<bound, R>>(std::forward<CallArgs>(call)...);
    }
  }

  template <class R>
  struct one_value {
    using type = single_task<R>;
  };

  // A task with one value, or none.
  template <class R, class Bound, class Body, class... CallArgs>
  ref<R> single(CallArgs&&... call) const {
    using base = typename std::conditional_t<std::is_void_v<R>, std::type_identity<void_task>, one_value<R>>::type;
    using rec = record<base, Bound, Body>;
    auto extras = extras_from(options_);
    auto terms_made = terms_from(options_);
    admit();
    const auto bind = [&] { return Bound(std::move(terms_made), std::forward<CallArgs>(call)...); };
    rec* r = rec::create(host_, rec::buffer_bytes(), bind, host_, rec::initial_references(1), std::move(extras));
    ref<R> handle = adopt<R>(static_cast<base&>(*r));
    r->start(how_);
    return handle;
  }

  template <class R, class Base>
  static ref<R> adopt(Base& r) {
    if constexpr (std::is_void_v<R>)
      return detail::completion_of(r);
    else
      return access::adopt<R>(r.buffer().value());
  }

  // A task with values of one type, from a generator or range.
  template <class R, class Bound, class... CallArgs>
  auto sequence_of(CallArgs&&... call) const {
    using T = std::ranges::range_value_t<R>;
    using body = coroutine_body<Bound, generator<T>>;
    constexpr bool copyable = is_generator<R> || std::convertible_to<element_of<R>, T>;
    static_assert(copyable, "dyngen: a task's values are the range's elements, and these cannot be copied out of a view; "
                            "return the container itself");
    if constexpr (!copyable) {
      return nothing_submitted();
    } else if constexpr (ask::fixed_n) {
      using rec = record<uniform_task<T>, Bound, body>;
      return fixed_sequence<T, rec>(std::forward<CallArgs>(call)...);
    } else {
      static_assert(ask::dynamic || ask::streaming || !ask::all_or_nothing,
                    "dyngen: all_or_nothing is for num_returns and dynamic; add one of them");
      using rec = record<sequence_task<T>, Bound, body>;
      auto extras = extras_from(options_);
      moved_from_guard terms_made(host_, terms());
      auto budget = budget_from<T>(options_);
      admit();
      const auto bind = [&] { return Bound(std::move(*terms_made), std::forward<CallArgs>(call)...); };
      rec* r = rec::create(host_, 0, bind, host_, std::move(extras),
                           ask::dynamic ? std::uint64_t{0} : backpressure_from(options_, host_.default_backpressure()),
                           ask::all_or_nothing, std::move(budget));
      if constexpr (ask::dynamic) {
        ref<ref_list<T>> handle = access::adopt<ref_list<T>>(r->outer());
        r->start(how_);
        return handle;
      } else {
        ref_stream<T> handle = stream_access::adopt<T>(*r);
        r->start(how_);
        return handle;
      }
    }
  }

  template <class T, class Record, class... CallArgs>
  auto fixed_sequence(CallArgs&&... call) const {
    constexpr staging staged = ask::all_or_nothing ? staging::all_or_nothing : staging::none;
    const std::uint64_t n = count_from(options_);
    if constexpr (ask::n == at_run_time) {
      std::vector<ref<T>> refs;
      refs.reserve(static_cast<std::size_t>(n));
      Record* r = fixed<Record>(fixed_shape::of<T>(n), staged, std::forward<CallArgs>(call)...);
      for (std::uint64_t i = 0; i < n; ++i) refs.push_back(access::adopt<T>(r->buffer().at(i)));
      start_kept(*r);
      return refs;
    } else {
      Record* r = fixed<Record>(fixed_shape::of<T>(n), staged, std::forward<CallArgs>(call)...);
      auto refs = [&]<std::size_t... Index>(std::index_sequence<Index...>) {
        return std::array<ref<T>, ask::n>{access::adopt<T>(r->buffer().at(Index))...};
      }(std::make_index_sequence<ask::n>());
      start_kept(*r);
      return refs;
    }
  }

  // A task whose values have different types.
  template <class R, class Bound, class... Ts, class... CallArgs>
  auto tuple_generated(tuple_generator<Ts...>*, CallArgs&&... call) const {
    static_assert(!ask::dynamic && !ask::streaming && !ask::bounded && !ask::unbounded,
                  "dyngen: a tuple_generator's values have different types and a fixed number; dynamic, streaming, "
                  "backpressure and unbounded do not apply; remove them");
    check_tuple_count<sizeof...(Ts)>();
    return tuple_refs<record<tuple_task<Ts...>, Bound, coroutine_body<Bound, R>>, Ts...>(std::forward<CallArgs>(call)...);
  }
  template <class R, class Bound, class... Ts, class... CallArgs>
  auto plain_tuple(std::tuple<Ts...>*, CallArgs&&... call) const {
    return plain_tuple_of<R, Bound, Ts...>(std::forward<CallArgs>(call)...);
  }
  template <class R, class Bound, class A, class B, class... CallArgs>
  auto plain_tuple(std::pair<A, B>*, CallArgs&&... call) const {
    return plain_tuple_of<R, Bound, A, B>(std::forward<CallArgs>(call)...);
  }
  template <class R, class Bound, class... Ts, class... CallArgs>
  auto plain_tuple_of(CallArgs&&... call) const {
    static_assert(ask::fixed_n, "dyngen: a tuple's or pair's values have different types; write num_returns<N>{} in place of dynamic or streaming");
    static_assert((std::is_object_v<Ts> && ...), "dyngen: a task cannot return references; return values");
    check_tuple_count<sizeof...(Ts)>();
    if constexpr ((std::is_object_v<Ts> && ...))
      return tuple_refs<record<tuple_task<Ts...>, Bound, tuple_body<Bound, R>>, Ts...>(std::forward<CallArgs>(call)...);
    else
      return nothing_submitted();
  }
  template <std::size_t Size>
  static void check_tuple_count() {
    static_assert(!ask::fixed_n || ask::n != at_run_time,
                  "dyngen: the number of a tuple's values is known at compile time; write num_returns<N>{}, not num_returns{n}");
    static_assert(!ask::fixed_n || ask::n == at_run_time || ask::n == Size,
                  "dyngen: num_returns<N>: N is not the number of elements of the tuple that the task returns; set N "
                  "to that number");
  }

  template <class Record, class... Ts, class... CallArgs>
  std::tuple<ref<Ts>...> tuple_refs(CallArgs&&... call) const {
    constexpr staging staged = ask::all_or_nothing ? staging::all_or_nothing : staging::none;
    Record* r = fixed<Record>(shape_of_tuple<Ts...>(), staged, std::forward<CallArgs>(call)...);
    auto refs = [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      return std::tuple<ref<Ts>...>(access::adopt<Ts>(r->buffer().at(Index))...);
    }(std::index_sequence_for<Ts...>());
    start_kept(*r);
    return refs;
  }

  // --- building ---

  void admit() const { how_ = host_.admit(); }

  /// Starts a task that may have no handle at all (num_returns of 0); a reference keeps its record alive meanwhile.
  template <class Record>
  void start_kept(Record& r) const noexcept {
    const intrusive_ptr alive(r);
    r.start(how_);
  }

  /// A class rather than a lambda, which would be a different type for each callable.
  struct terms_of_options {
    const std::tuple<Os...>& options;
    auto operator()() const { return terms_from(options); }
  };
  terms_of_options terms() const noexcept { return {options_}; }

  template <class Record, class... CallArgs>
  Record* fixed(fixed_shape shape, staging staged, CallArgs&&... call) const {
    auto extras = extras_from(options_);
    moved_from_guard terms_made(host_, terms());
    admit();
    const auto bind = [&] { return typename Record::bound_type(std::move(*terms_made), std::forward<CallArgs>(call)...); };
    return Record::create(host_, shape.bytes(), bind, host_, Record::initial_references(shape.count), std::move(extras), shape, staged);
  }

  task_host& host_;
  const std::tuple<Os...>& options_;
  mutable admission how_ = admission::granted;
};

template <class... Os, class F, class... Args>
auto submit_to(task_host& host, const std::tuple<Os...>& os, F&& f, Args&&... args) {
  return submission<Os...>(host, os)(std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace detail

}  // namespace dyngen
