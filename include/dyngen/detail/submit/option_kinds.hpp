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

template <class O>
inline constexpr bool is_num_returns = false;
template <std::size_t N>
inline constexpr bool is_num_returns<num_returns<N>> = true;
template <class O>
inline constexpr bool is_after = false;
template <class... Refs>
inline constexpr bool is_after<after_option<Refs...>> = true;
template <class O>
inline constexpr bool is_pack = false;
template <class... Os>
inline constexpr bool is_pack<option_pack<Os...>> = true;

template <class O>
inline constexpr bool is_dynamic = std::is_same_v<O, dynamic_option>;
template <class O>
inline constexpr bool is_streaming = std::is_same_v<O, streaming_option>;
template <class O>
inline constexpr bool is_backpressure = std::is_same_v<O, backpressure>;
template <class O>
inline constexpr bool is_backpressure_by = false;
template <class Cost>
inline constexpr bool is_backpressure_by<backpressure_by_option<Cost>> = true;
template <class O>
inline constexpr bool is_unbounded = std::is_same_v<O, unbounded_option>;
template <class O>
inline constexpr bool is_all_or_nothing = std::is_same_v<O, all_or_nothing_option>;
template <class O>
inline constexpr bool is_name = std::is_same_v<O, name>;
template <class O>
inline constexpr bool is_max_retries = std::is_same_v<O, max_retries>;
template <class O>
inline constexpr bool is_retry_if = false;
template <class P>
inline constexpr bool is_retry_if<retry_if<P>> = true;
template <class O>
inline constexpr bool is_stop_on = std::is_same_v<O, stop_on>;
template <class O>
inline constexpr bool is_max_concurrency = std::is_same_v<O, max_concurrency>;

template <class O>
inline constexpr bool is_option = is_num_returns<O> || is_dynamic<O> || is_streaming<O> || is_backpressure<O> ||
                                  is_unbounded<O> || is_all_or_nothing<O> || is_name<O> || is_after<O> || is_pack<O> ||
                                  is_max_retries<O> || is_retry_if<O> || is_stop_on<O> || is_backpressure_by<O> ||
                                  is_max_concurrency<O>;

/// What an option pack may contain, each complaint in one sentence.
template <class... Os>
constexpr void check_options() {
  constexpr int returns = (is_num_returns<Os> || ... || false) + (is_dynamic<Os> || ... || false) +
                          (is_streaming<Os> || ... || false);
  constexpr int sequence = ((is_dynamic<Os> || is_num_returns<Os>) + ... + 0);
  static_assert((is_num_returns<Os> + ... + 0) <= 1 && (is_dynamic<Os> + ... + 0) <= 1 &&
                    (is_streaming<Os> + ... + 0) <= 1 && (is_backpressure<Os> + ... + 0) <= 1 &&
                    (is_unbounded<Os> + ... + 0) <= 1 && (is_all_or_nothing<Os> + ... + 0) <= 1 &&
                    (is_name<Os> + ... + 0) <= 1 && (is_after<Os> + ... + 0) <= 1 &&
                    (is_max_retries<Os> + ... + 0) <= 1 && (is_retry_if<Os> + ... + 0) <= 1 &&
                    (is_stop_on<Os> + ... + 0) <= 1 && (is_max_concurrency<Os> + ... + 0) <= 1 &&
                    (is_backpressure_by<Os> + ... + 0) <= 1,
                "dyngen: an option is given twice; give each option once (after takes several refs)");
  static_assert(returns <= 1, "dyngen: num_returns, dynamic and streaming exclude each other; give one of them");
  static_assert((is_backpressure<Os> || ... || false) + (is_unbounded<Os> || ... || false) +
                        (is_backpressure_by<Os> || ... || false) <= 1,
                "dyngen: backpressure, backpressure_by and unbounded exclude each other; give one of them");
  static_assert(((is_backpressure<Os> || is_unbounded<Os> || is_backpressure_by<Os>) + ... + 0) == 0 || sequence == 0,
                "dyngen: backpressure, backpressure_by and unbounded are for streams; take them away, or write streaming in place of "
                "num_returns or dynamic");
  static_assert((is_all_or_nothing<Os> + ... + 0) == 0 || (is_streaming<Os> + ... + 0) == 0,
                "dyngen: all_or_nothing is for num_returns and dynamic; a stream hands its values over as they come");
}

}  // namespace detail

}  // namespace dyngen
