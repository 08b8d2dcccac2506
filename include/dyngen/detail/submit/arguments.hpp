// SPDX-License-Identifier: MIT
#pragma once
// A callable and its arguments, stored in the task until it ends. An argument is stored decayed. If its parameter's
// type is known and is a reference to another type, the argument is stored as that type, so that the reference does not
// dangle (`const std::string&` from "text"). Arguments are passed as rvalues, or as const lvalues if the call may be
// repeated (max_retries). Refs are dependencies: the callable gets their values.

#include <dyngen/detail/base/manual_lifetime.hpp>
#include <dyngen/detail/submit/retry.hpp>
#include <dyngen/detail/submit/signature.hpp>
#include <dyngen/detail/value/ref_access.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <functional>  // std::invoke
#include <tuple>
#include <type_traits>
#include <utility>

namespace dyngen {

template <class T>
struct unresolved_ref;
template <class T>
struct consumed_ref;

namespace detail {

// --- how one argument is stored, waited for and passed ---

/// Stored as a T, passed as T&&.
template <class T>
class plain_argument {
 public:
  static constexpr bool passed = true;
  static constexpr std::size_t dependencies = 0;
  template <class A>
  explicit plain_argument(A&& a) : value_(std::forward<A>(a)) {}
  T&& pass() noexcept { return std::move(value_); }
  const T& pass_again() const noexcept { return value_; }

 private:
  T value_;
};

/// A dependency that is passed as const U&.
template <class U>
class resolved_argument {
 public:
  static constexpr bool passed = !std::is_void_v<U>;
  static constexpr std::size_t dependencies = 1;
  explicit resolved_argument(ref<U> r) noexcept : ref_(std::move(r)) {}
  slot& dependency() const noexcept { return *access::slot_of(ref_); }
  decltype(auto) pass() const { return ref_.get(); }
  decltype(auto) pass_again() const { return ref_.get(); }

 private:
  ref<U> ref_;
};

/// A dependency, passed as U&&.
template <class U>
class consumed_argument {
 public:
  static constexpr bool passed = true;
  static constexpr std::size_t dependencies = 1;
  explicit consumed_argument(consumed_ref<U> c) noexcept : ref_(std::move(c.handle)) {}
  slot& dependency() const noexcept { return *access::slot_of(ref_); }
  U&& pass() {
    return std::move(value_.make([this] { return std::move(ref_).get(); }));
  }
  const U& pass_again() {
    if (!value_.has_value()) pass();
    return *value_;
  }

 private:
  ref<U> ref_;
  manual_lifetime<U> value_;
};

/// A dependency that is passed as a P, constructed from its value when the task begins. Otherwise a parameter that is a
/// reference to P would bind to a temporary, which is destroyed when the callable, if a coroutine, first suspends.
template <class Dependency, class P>
class converted_argument {
 public:
  static constexpr bool passed = true;
  static constexpr std::size_t dependencies = 1;
  template <class A>
  explicit converted_argument(A&& a) : dependency_(std::forward<A>(a)) {}
  slot& dependency() const noexcept { return dependency_.dependency(); }
  P&& pass() {
    return std::move(value_.make([this]() -> P { return dependency_.pass(); }));
  }
  const P& pass_again() {
    if (!value_.has_value()) pass();
    return *value_;
  }

 private:
  Dependency dependency_;
  manual_lifetime<P> value_;
};

template <class T>
inline constexpr bool is_consumed = false;
template <class T>
inline constexpr bool is_consumed<consumed_ref<T>> = true;
template <class T>
inline constexpr bool is_unresolved = false;
template <class T>
inline constexpr bool is_unresolved<unresolved_ref<T>> = true;

/// Returns an argument as the callable gets it; with `Again`, so that a later attempt can get it again.
template <bool Again, class Argument>
decltype(auto) pass(Argument& argument) {
  if constexpr (Again)
    return argument.pass_again();
  else
    return argument.pass();
}

/// Whether an argument of type A is passed to the callable. A task only waits for a ref<void>.
template <class A>
inline constexpr bool is_passed = !std::is_same_v<std::decay_t<A>, ref<void>>;

template <class T>
inline constexpr bool is_reference_wrapper = false;
template <class T>
inline constexpr bool is_reference_wrapper<std::reference_wrapper<T>> = true;

template <class P>
inline constexpr bool binds_to_temporary =
    std::is_rvalue_reference_v<P> || (std::is_lvalue_reference_v<P> && std::is_const_v<std::remove_reference_t<P>>);

/// Whether a reference parameter P would bind to a temporary that is converted from the argument, of type T.
template <class P, class T>
inline constexpr bool needs_conversion =
    binds_to_temporary<P> && !std::is_same_v<std::remove_cvref_t<P>, T> && !std::is_base_of_v<std::remove_cvref_t<P>, T> &&
    !std::is_abstract_v<std::remove_cvref_t<P>>;
template <class P, class T>
inline constexpr bool needs_conversion<P, std::reference_wrapper<T>> = needs_conversion<P, std::remove_cv_t<T>>;

/// The storage for a dependency whose value is passed as `Passed`.
template <class Dependency, class Passed, class P>
constexpr auto dependency_storage_for() {
  using parameter = std::remove_cvref_t<P>;
  if constexpr (std::is_reference_v<Passed>) {
    if constexpr (needs_conversion<P, std::remove_cvref_t<Passed>> && std::is_convertible_v<Passed, parameter>)
      return std::type_identity<converted_argument<Dependency, parameter>>{};
    else
      return std::type_identity<Dependency>{};
  } else {
    return std::type_identity<Dependency>{};
  }
}

/// The storage for an argument of type A that is meant for a parameter of type P (void if unknown).
template <class A, class P>
constexpr auto storage_for() {
  using type = std::decay_t<A>;
  using parameter = std::remove_cvref_t<P>;
  if constexpr (is_consumed<type>) {
    using value = typename decltype(type::handle)::value_type;
    return dependency_storage_for<consumed_argument<value>, value&&, P>();
  } else if constexpr (is_unresolved<type>) {
    return std::type_identity<plain_argument<decltype(type::handle)>>{};
  } else if constexpr (is_ref<type>) {
    using value = typename type::value_type;
    if constexpr (std::is_same_v<parameter, type>)
      return std::type_identity<plain_argument<type>>{};
    else
      return dependency_storage_for<resolved_argument<value>, std::add_lvalue_reference_t<const value>, P>();
  } else if constexpr (needs_conversion<P, type> && std::is_constructible_v<parameter, A>) {
    return std::type_identity<plain_argument<parameter>>{};
  } else {
    return std::type_identity<plain_argument<type>>{};
  }
}

/// Whether `Storage` can be constructed from an argument of type A.
template <class Storage, class A>
inline constexpr bool can_be_stored = true;
template <class T, class A>
inline constexpr bool can_be_stored<plain_argument<T>, A> =
    is_unresolved<std::decay_t<A>> || std::is_constructible_v<T, A>;

template <class A>
decltype(auto) unwrap_unresolved(A&& a) {
  if constexpr (is_unresolved<std::decay_t<A>>)
    return std::forward<A>(a).handle;
  else
    return std::forward<A>(a);
}

/// Returns for each argument the index of its parameter. The index of an argument that is not passed is not used.
template <class... Args, std::size_t... At>
constexpr std::array<std::size_t, sizeof...(Args)> parameter_positions(std::index_sequence<At...>) {
  constexpr std::array<bool, sizeof...(Args)> passed{is_passed<Args>...};
  std::array<std::size_t, sizeof...(Args)> result{};
  std::size_t next = 0;
  for (std::size_t i = 0; i < sizeof...(Args); ++i) {
    result[i] = next;
    if (passed[i]) ++next;
  }
  return result;
}

/// The type of parameter `At`, void if it is not known.
template <class Signature, std::size_t At>
constexpr auto parameter_type() {
  if constexpr (!Signature::known)
    return std::type_identity<void>{};
  else if constexpr (At < Signature::count)
    return std::type_identity<std::tuple_element_t<At, typename Signature::types>>{};
  else
    return std::type_identity<void>{};
}

/// The tuple of the types as which stored arguments are passed.
template <class Stored, bool Again>
struct passed_types;
template <class... Stored, bool Again>
struct passed_types<std::tuple<Stored...>, Again> {
  template <class S>
  static auto one() {
    if constexpr (S::passed)
      return std::type_identity<std::tuple<decltype(pass<Again>(std::declval<S&>()))>>{};
    else
      return std::type_identity<std::tuple<>>{};
  }
  template <class... Tuples>
  static auto joined(std::type_identity<Tuples>...) {
    return std::type_identity<decltype(std::tuple_cat(std::declval<Tuples>()...))>{};
  }
  using type = typename decltype(joined(one<Stored>()...))::type;
};

/// The parameters of F in a call with arguments of the types Args, as far as they are known.
template <class F, class... Args>
constexpr auto signature_in_call() {
  if constexpr (signature<F>::known || sizeof...(Args) == 0)
    return signature<F>{};
  else
    return call_signature<F, typename passed_types<std::tuple<typename decltype(storage_for<Args, void>())::type...>, false>::type>{};
}

template <class F, class Indices, class... Args>
struct stored_arguments;
template <class F, std::size_t... At, class... Args>
struct stored_arguments<F, std::index_sequence<At...>, Args...> {
  static constexpr auto positions = [] {
    if constexpr (sizeof...(Args) == 0)
      return std::array<std::size_t, 1>{};
    else
      return parameter_positions<Args...>(std::index_sequence<At...>{});
  }();
  using parameters = decltype(signature_in_call<F, Args...>());
  using type = std::tuple<typename decltype(storage_for<
      Args, typename decltype(parameter_type<parameters, positions[At]>())::type>())::type...>;
};

/// Whether F is a call of an actor. Then F::call_kind is its kind.
template <class F>
inline constexpr bool is_actor_call = false;

/// The options that are stored with a call: refs that the task only waits for (after), retries (max_retries), a stop
/// token (stop_on).
template <class After, class Retry, class Stop>
struct call_terms {
  using after_type = After;
  using retry_type = Retry;
  using stop_type = Stop;
  After after;
  [[no_unique_address]] Retry retry;
  [[no_unique_address]] Stop stop;
};

/// A callable with its stored arguments and its terms.
template <class F, class Stored, class Terms>
class bound_call;

template <class F, class... Stored, class... Afters, class Retry, class Stop>
class bound_call<F, std::tuple<Stored...>, call_terms<std::tuple<Afters...>, Retry, Stop>> {
 public:
  using callable_type = F;
  static constexpr std::size_t dependencies = (Stored::dependencies + ... + 0) + sizeof...(Afters);
  static constexpr bool retries = Retry::enabled;
  static constexpr bool stops = Stop::enabled;
  /// Whether it is a call of an actor.
  static constexpr bool is_call = is_actor_call<F>;

  template <class Terms, class G, class... Args>
  bound_call(Terms&& terms, G&& callable, Args&&... args)
      : callable_(std::forward<G>(callable)),
        after_(std::move(terms.after)),
        arguments_(unwrap_unresolved(std::forward<Args>(args))...),
        retry_(std::move(terms.retry)),
        stop_(std::move(terms.stop)) {}

  Retry& retry() noexcept { return retry_; }
  Stop& stop() noexcept { return stop_; }
  void end_attempt() { callable_.end_attempt(); }

  /// Calls the callable with its arguments. Once per attempt.
  decltype(auto) operator()() { return call_with(std::make_index_sequence<places.size() - 1>()); }

  template <class Visitor>
  void for_each_dependency(Visitor visit) {
    std::apply([&](auto&... a) { (visit_one(a, visit), ...); }, arguments_);
    std::apply([&](auto&... r) { (visit(*access::slot_of(r)), ...); }, after_);
  }

 private:
  template <class Argument, class Visitor>
  static void visit_one(Argument& a, Visitor& visit) {
    if constexpr (Argument::dependencies != 0) visit(a.dependency());
  }

  /// The indices of the arguments that are passed, and one more element, so that the array is never empty.
  static constexpr auto places = [] {
    std::array<std::size_t, (std::size_t{Stored::passed} + ... + 1)> result{};
    [[maybe_unused]] std::size_t next = 0;
    [[maybe_unused]] std::size_t at = 0;
    ((Stored::passed ? void(result[next++] = at++) : void(++at)), ...);
    return result;
  }();
  template <std::size_t... At>
  decltype(auto) call_with(std::index_sequence<At...>) {
    if constexpr (std::is_member_pointer_v<F>)
      return std::invoke(callable_.for_attempt(), detail::pass<retries>(std::get<places[At]>(arguments_))...);
    else
      return callable_.for_attempt()(detail::pass<retries>(std::get<places[At]>(arguments_))...);
  }

  kept_callable<F, retries> callable_;
  [[no_unique_address]] std::tuple<Afters...> after_;
  [[no_unique_address]] std::tuple<Stored...> arguments_;
  [[no_unique_address]] Retry retry_;
  [[no_unique_address]] Stop stop_;
};

/// The result type of std::invoke for stored arguments that are passed once, or (`Again`) several times.
template <class F, class Stored, bool Again = false>
struct call_result;
template <class F, class... Stored, bool Again>
struct call_result<F, std::tuple<Stored...>, Again> {
  template <class... P>
  static constexpr bool invocable(std::type_identity<std::tuple<P...>>) {
    return std::is_invocable_v<F, P...>;
  }
  template <class... P>
  static auto result(std::type_identity<std::tuple<P...>>) {
    if constexpr (std::is_invocable_v<F, P...>)
      return std::type_identity<std::invoke_result_t<F, P...>>{};
    else
      return std::type_identity<void>{};
  }
  using passed = std::type_identity<typename passed_types<std::tuple<Stored...>, Again>::type>;
  static constexpr bool is_invocable = invocable(passed{});
  using type = typename decltype(result(passed{}))::type;
};

}  // namespace detail

}  // namespace dyngen
