// SPDX-License-Identifier: MIT
#pragma once
// Classifies the type that a callable returns: a coroutine object, a tuple, a sequence. The coroutine types themselves
// are public and are defined in generator.hpp and task.hpp.

#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#ifdef __cpp_lib_generator
#  include <generator>
#endif

namespace dyngen {

template <class T>
class generator;
template <class... Ts>
class tuple_generator;
template <class R>
class task;

namespace detail {

template <class T>
inline constexpr bool is_generator = false;
template <class T>
inline constexpr bool is_generator<generator<T>> = true;

template <class R>
inline constexpr bool is_task = false;
template <class R>
inline constexpr bool is_task<task<R>> = true;

/// What when_all returns (all_of.hpp). A callable that returns it runs as the task that it converts to.
template <class Parts>
class all_of;
template <class R>
inline constexpr bool is_all_of = false;
template <class Parts>
inline constexpr bool is_all_of<all_of<Parts>> = true;
template <class R>
struct as_coroutine {
  using type = R;
};
template <class Parts>
struct as_coroutine<all_of<Parts>> {
  using type = task<typename all_of<Parts>::value_type>;
};

template <class R>
inline constexpr bool is_tuple_generator = false;
template <class... Ts>
inline constexpr bool is_tuple_generator<tuple_generator<Ts...>> = true;

template <class R>
inline constexpr bool is_plain_tuple = false;
template <class... Ts>
inline constexpr bool is_plain_tuple<std::tuple<Ts...>> = true;
template <class A, class B>
inline constexpr bool is_plain_tuple<std::pair<A, B>> = true;

template <class R>
inline constexpr bool is_lazy_sequence = is_generator<R>;
#ifdef __cpp_lib_generator
template <class... Ts>
inline constexpr bool is_lazy_sequence<std::generator<Ts...>> = true;
#endif

/// Whether elements may be moved out of a range: it is an rvalue, and not a view of the elements of another object.
template <class Range>
inline constexpr bool owns_elements = !std::is_lvalue_reference_v<Range> && !std::ranges::view<std::remove_cvref_t<Range>>;

/// The type of `co_yield elements_of(range)`: an rvalue if the range owns its elements, else what `*it` returns.
template <class Range>
using element_of = std::conditional_t<owns_elements<Range> && std::is_lvalue_reference_v<std::ranges::range_reference_t<Range>>,
                                      std::remove_reference_t<std::ranges::range_reference_t<Range>>&&,
                                      std::ranges::range_reference_t<Range>>;

}  // namespace detail

}  // namespace dyngen
