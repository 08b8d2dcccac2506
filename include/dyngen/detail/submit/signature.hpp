// SPDX-License-Identifier: MIT
#pragma once
// The parameter types of a callable, as far as they can be known at compile time.
//
// signature<F> knows them from F alone: for pointers to functions and to member functions, for classes with one
// operator() that is no template (ordinary, static, inherited, or with an explicit object parameter), and for the
// results of std::ref, std::mem_fn and std::bind_front on these.
//
// call_signature<F, Passed> also knows those of a single operator() template, for the argument types of one call. It
// finds out which parameters are deduced by trial calls in which one argument is in braces: nothing can be deduced from
// a braced argument, so the call compiles only if that parameter's type is not deduced.
//
// The parameters of an overloaded operator() are never known.

#include <concepts>
#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

struct unknown_parameters {
  static constexpr bool known = false;
};
template <class... P>
struct known_parameters {
  static constexpr bool known = true;
  static constexpr std::size_t count = sizeof...(P);
  using types = std::tuple<P...>;
};

/// The parameters of a function type; for `R(P..., ...)` only the declared ones.
template <class Function>
struct function_signature : unknown_parameters {};
#define DYNGEN_DETAIL_SIGNATURE(QUALIFIERS)                                        \
  template <class R, class... P>                                                   \
  struct function_signature<R(P...) QUALIFIERS> : known_parameters<P...> {};       \
  template <class R, class... P>                                                   \
  struct function_signature<R(P..., ...) QUALIFIERS> : known_parameters<P...> {};
#define DYNGEN_DETAIL_SIGNATURES(QUALIFIERS)                                                       \
  DYNGEN_DETAIL_SIGNATURE(QUALIFIERS) DYNGEN_DETAIL_SIGNATURE(QUALIFIERS noexcept)                 \
  DYNGEN_DETAIL_SIGNATURE(QUALIFIERS &) DYNGEN_DETAIL_SIGNATURE(QUALIFIERS & noexcept)             \
  DYNGEN_DETAIL_SIGNATURE(QUALIFIERS &&) DYNGEN_DETAIL_SIGNATURE(QUALIFIERS && noexcept)
DYNGEN_DETAIL_SIGNATURES()
DYNGEN_DETAIL_SIGNATURES(const)
DYNGEN_DETAIL_SIGNATURES(volatile)
DYNGEN_DETAIL_SIGNATURES(const volatile)
#undef DYNGEN_DETAIL_SIGNATURES
#undef DYNGEN_DETAIL_SIGNATURE

/// Stands for the object parameter of a member function. Nothing is assumed about how the object is passed.
struct any_object {};

/// The signature without its first `Count` parameters, which do not come from the call's arguments.
template <std::size_t Count, class Signature>
constexpr auto rest_of() {
  if constexpr (!Signature::known) {
    return unknown_parameters();
  } else if constexpr (Signature::count < Count) {
    return unknown_parameters();
  } else {
    return []<std::size_t... At>(std::index_sequence<At...>) {
      return known_parameters<std::tuple_element_t<Count + At, typename Signature::types>...>();
    }(std::make_index_sequence<Signature::count - Count>());
  }
}
template <class... P>
known_parameters<any_object, P...> with_object(std::tuple<P...>*);

/// Returns a P, also one that cannot be moved. Only for unevaluated expressions.
template <class P>
P prvalue();

/// Whether F's operator() is static: it can be called without an object.
template <class F, class Parameters>
inline constexpr bool is_static = false;
template <class F, class... P>
  requires requires { F::operator()(prvalue<P>()...); }
inline constexpr bool is_static<F, std::tuple<P...>> = true;
template <class F, class Parameters, class... T>
inline constexpr bool is_static_template = false;
template <class F, class... P, class... T>
  requires requires { F::template operator()<T...>(prvalue<P>()...); }
inline constexpr bool is_static_template<F, std::tuple<P...>, T...> = true;

/// The signature from the type of `&F::operator()`: a pointer to a member function; or a pointer to a function, which
/// is static or has an explicit object parameter.
template <class Pointer, class IsStatic>
struct operator_signature;
template <class Function, class Class, class IsStatic>
struct operator_signature<Function Class::*, IsStatic> : function_signature<Function> {};
template <class Function, class IsStatic>
struct operator_signature<Function*, IsStatic>
    : decltype(rest_of<IsStatic::template of<typename function_signature<Function>::types> ? 0 : 1,
                       function_signature<Function>>()) {};

template <class F>
struct signature : unknown_parameters {};
template <class Function>
  requires std::is_function_v<Function>
struct signature<Function*> : function_signature<Function> {};
template <class Function, class Class>
  requires std::is_function_v<Function>
struct signature<Function Class::*>
    : decltype(with_object(static_cast<typename function_signature<Function>::types*>(nullptr))) {};

template <class F>
struct static_operator {
  template <class Parameters>
  static constexpr bool of = is_static<F, Parameters>;
};
template <class F>
  requires(std::is_class_v<F> && requires { &F::operator(); })
struct signature<F> : operator_signature<decltype(&F::operator()), static_operator<F>> {};

template <class F>
struct signature<std::reference_wrapper<F>> : signature<std::decay_t<F>> {};

// The result types of std::mem_fn and std::bind_front have no names. So a type is compared with what these would
// return.
template <template <class> class Wrapper, class Member>
  requires(std::is_member_function_pointer_v<Member> &&
           std::same_as<Wrapper<Member>, decltype(std::mem_fn(std::declval<Member>()))>)
struct signature<Wrapper<Member>> : signature<Member> {};

template <class T>
concept complete_movable = std::is_object_v<T> && requires { sizeof(T); } && std::is_move_constructible_v<T>;
template <class Wrapper>
inline constexpr bool is_bound_front = false;
template <template <class...> class Wrapper, class F, class... Bound>
  requires(complete_movable<F> && (complete_movable<Bound> && ...) &&
           std::same_as<Wrapper<F, Bound...>, decltype(std::bind_front(std::declval<F>(), std::declval<Bound>()...))>)
inline constexpr bool is_bound_front<Wrapper<F, Bound...>> = true;

template <template <class...> class Wrapper, class F, class... Bound>
  requires(is_bound_front<Wrapper<F, Bound...>> && signature<F>::known)
struct signature<Wrapper<F, Bound...>> : decltype(rest_of<sizeof...(Bound), signature<F>>()) {};

// --- one operator() template, in one call ---

template <class... T>
struct type_list {};

/// Whether the type of the parameter for At is not deduced, in a call with arguments of the types `Before..., At,
/// After...`.
template <class F, class Before, class At, class After>
inline constexpr bool is_fixed = false;
template <class F, class... B, class At, class... A>
  requires(requires(F&& f) { std::forward<F>(f)(std::declval<B>()..., {std::declval<At>()}, std::declval<A>()...); } ||
           requires(F&& f) { std::forward<F>(f)(std::declval<B>()..., {}, std::declval<A>()...); })
inline constexpr bool is_fixed<F, type_list<B...>, At, type_list<A...>> = true;

/// The argument types from which parameters are deduced, in order.
template <class F, class Before, class Deduced, class... Rest>
struct deduced_from {
  using type = Deduced;
};
template <class F, class... B, class... D, class At, class... A>
struct deduced_from<F, type_list<B...>, type_list<D...>, At, A...>
    : deduced_from<F, type_list<B..., At>,
                   std::conditional_t<is_fixed<F, type_list<B...>, At, type_list<A...>>, type_list<D...>, type_list<D..., At>>,
                   A...> {};

/// Whether F can be called with arguments of the types in `Passed` by an operator() template with the template
/// arguments T. Checked first: taking the address of a specialization that is not the called one could instantiate a
/// body that does not compile.
template <class F, class Passed, class... T>
inline constexpr bool calls_template = sizeof...(T) == 0;
template <class F, class... Q, class First, class... T>
  requires requires(F&& f) { std::forward<F>(f).template operator()<First, T...>(std::declval<Q>()...); }
inline constexpr bool calls_template<F, std::tuple<Q...>, First, T...> = true;
/// Whether F has exactly one such template.
template <class F, class Passed, class... T>
concept has_template = calls_template<F, Passed, T...> && requires { &F::template operator()<T...>; };

template <class F, class... T>
struct static_template {
  template <class Parameters>
  static constexpr bool of = is_static_template<F, Parameters, T...>;
};
template <class F, class... T>
using template_signature = operator_signature<decltype(&F::template operator()<T...>), static_template<F, T...>>;

/// Returns the signature of F's operator() template. Its template arguments are the types T from which parameters are
/// deduced, after F if an explicit object parameter is deduced.
template <class F, class Passed, class... T>
auto find_template(type_list<T...>) {
  if constexpr (has_template<F, Passed, std::remove_cvref_t<T>...>)
    return template_signature<F, std::remove_cvref_t<T>...>();
  else if constexpr (has_template<F, Passed, F, std::remove_cvref_t<T>...>)
    return template_signature<F, F, std::remove_cvref_t<T>...>();
  else
    return unknown_parameters();
}

template <class F, class... Q>
auto find_call_signature() {
  using deduced = typename deduced_from<F, type_list<>, type_list<>, Q...>::type;
  if constexpr (std::same_as<deduced, type_list<Q...>>)
    return unknown_parameters();
  else
    return find_template<F, std::tuple<Q...>>(deduced());
}

/// The signature of F in a call with arguments of the types `Passed`.
template <class F, class Passed>
struct call_signature : signature<F> {};
template <class F, class... Q>
  requires(std::is_class_v<F> && !signature<F>::known && sizeof...(Q) != 0)
struct call_signature<F, std::tuple<Q...>> : decltype(find_call_signature<F, Q...>()) {};

template <class F, class... Q>
  requires(!signature<F>::known && sizeof...(Q) != 0)
struct call_signature<std::reference_wrapper<F>, std::tuple<Q...>> : call_signature<std::remove_cv_t<F>, std::tuple<Q...>> {};

template <template <class...> class Wrapper, class F, class... Bound, class... Q>
  requires(is_bound_front<Wrapper<F, Bound...>> && !signature<F>::known && sizeof...(Q) != 0)
struct call_signature<Wrapper<F, Bound...>, std::tuple<Q...>>
    : decltype(rest_of<sizeof...(Bound), call_signature<F, std::tuple<Bound&&..., Q...>>>()) {};

}  // namespace dyngen::detail
