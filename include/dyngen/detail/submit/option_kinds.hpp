// SPDX-License-Identifier: MIT
#pragma once
// Which option a type is, and which options exclude each other. The options themselves are public and are defined in
// options.hpp; this header only declares them.

#include <cstddef>
#include <limits>
#include <type_traits>

namespace dyngen {

template <std::size_t N>
struct num_returns;
struct dynamic_option;
struct streaming_option;
struct unbounded_option;
struct all_or_nothing_option;
struct backpressure;
template <class Cost>
struct backpressure_by_option;
struct name;
struct max_retries;
template <class Predicate>
struct retry_if;
struct stop_on;
struct max_concurrency;
template <class... Refs>
struct after_option;
template <class... Options>
class option_pack;

namespace detail {

/// N of a num_returns<N> whose number is known only at run time.
inline constexpr std::size_t at_run_time = (std::numeric_limits<std::size_t>::max)();

/// The kinds of options. A new option needs an entry here, a line below that maps its type to the entry, and in
/// check_options() the conditions of its use.
enum class option_kind : unsigned char {
  none, num_returns, dynamic, streaming, backpressure, backpressure_by, unbounded, all_or_nothing, name, max_retries,
  retry_if, stop_on, max_concurrency, after, pack
};

template <class O>
inline constexpr option_kind kind_of = option_kind::none;
template <std::size_t N>
inline constexpr option_kind kind_of<num_returns<N>> = option_kind::num_returns;
template <>
inline constexpr option_kind kind_of<dynamic_option> = option_kind::dynamic;
template <>
inline constexpr option_kind kind_of<streaming_option> = option_kind::streaming;
template <>
inline constexpr option_kind kind_of<backpressure> = option_kind::backpressure;
template <class Cost>
inline constexpr option_kind kind_of<backpressure_by_option<Cost>> = option_kind::backpressure_by;
template <>
inline constexpr option_kind kind_of<unbounded_option> = option_kind::unbounded;
template <>
inline constexpr option_kind kind_of<all_or_nothing_option> = option_kind::all_or_nothing;
template <>
inline constexpr option_kind kind_of<name> = option_kind::name;
template <>
inline constexpr option_kind kind_of<max_retries> = option_kind::max_retries;
template <class P>
inline constexpr option_kind kind_of<retry_if<P>> = option_kind::retry_if;
template <>
inline constexpr option_kind kind_of<stop_on> = option_kind::stop_on;
template <>
inline constexpr option_kind kind_of<max_concurrency> = option_kind::max_concurrency;
template <class... Refs>
inline constexpr option_kind kind_of<after_option<Refs...>> = option_kind::after;
template <class... Os>
inline constexpr option_kind kind_of<option_pack<Os...>> = option_kind::pack;

template <class O>
inline constexpr bool is_option = kind_of<O> != option_kind::none;
template <class O>
inline constexpr bool is_pack = kind_of<O> == option_kind::pack;

/// The index of the first option of kind `Kind` in Os; sizeof...(Os) if there is none.
template <option_kind Kind, class... Os>
inline constexpr std::size_t place_of = [] {
  constexpr option_kind kinds[] = {kind_of<Os>..., Kind};
  std::size_t place = 0;
  while (kinds[place] != Kind) ++place;
  return place;
}();
/// Whether there is an option of kind `Kind` in Os.
template <option_kind Kind, class... Os>
inline constexpr bool has_option = place_of<Kind, Os...> != sizeof...(Os);

/// Whether Os has at most one option of each kind.
template <class... Os>
constexpr bool are_all_different() {
  constexpr option_kind kinds[] = {kind_of<Os>..., option_kind::none};
  for (std::size_t i = 0; i < sizeof...(Os); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (kinds[i] == kinds[j] && kinds[i] != option_kind::none) return false;
  return true;
}

/// Checks that the options may be in one pack. Each violated condition is one error of the compiler.
template <class... Os>
constexpr void check_options() {
  using enum option_kind;
  constexpr bool is_bounded = has_option<backpressure, Os...> || has_option<unbounded, Os...> || has_option<backpressure_by, Os...>;
  static_assert(are_all_different<Os...>(), "dyngen: an option is given twice; give each option once (after takes several refs)");
  static_assert(has_option<num_returns, Os...> + has_option<dynamic, Os...> + has_option<streaming, Os...> <= 1,
                "dyngen: num_returns, dynamic and streaming exclude each other; give one of them");
  static_assert(has_option<backpressure, Os...> + has_option<unbounded, Os...> + has_option<backpressure_by, Os...> <= 1,
                "dyngen: backpressure, backpressure_by and unbounded exclude each other; give one of them");
  static_assert(!is_bounded || !(has_option<dynamic, Os...> || has_option<num_returns, Os...>),
                "dyngen: backpressure, backpressure_by and unbounded are for streams; remove them, or write streaming in place of "
                "num_returns or dynamic");
  static_assert(!has_option<all_or_nothing, Os...> || !has_option<streaming, Os...>,
                "dyngen: all_or_nothing is for num_returns and dynamic; a stream delivers each value when it is yielded");
}

}  // namespace detail

}  // namespace dyngen
