// SPDX-License-Identifier: MIT
#pragma once
// What the options of one submit ask for. `requested_options` says at compile time which options are given. A function
// `..._from(options)` for each of them returns its value, or the default if the option is not given.

#include <dyngen/detail/submit/arguments.hpp>
#include <dyngen/detail/submit/option_kinds.hpp>
#include <dyngen/detail/submit/retry.hpp>
#include <dyngen/detail/task/shared_budget.hpp>
#include <dyngen/detail/task/task_record.hpp>
#include <dyngen/detail/value/ref_access.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>

namespace dyngen::detail {

/// Defined in budget.hpp.
template <class T, class Cost>
class costed_stream;

/// Which options are in a pack, as constants.
template <class... Os>
struct requested_options {
  static constexpr bool fixed_n = has_option<option_kind::num_returns, Os...>;
  static constexpr bool dynamic = has_option<option_kind::dynamic, Os...>;
  static constexpr bool streaming = has_option<option_kind::streaming, Os...>;
  static constexpr bool bounded = has_option<option_kind::backpressure, Os...> || has_option<option_kind::backpressure_by, Os...>;
  static constexpr bool budgeted = has_option<option_kind::backpressure_by, Os...>;
  static constexpr bool unbounded = has_option<option_kind::unbounded, Os...>;
  static constexpr bool all_or_nothing = has_option<option_kind::all_or_nothing, Os...>;
  static constexpr bool returns = fixed_n || dynamic || streaming;
  static constexpr bool retries = has_option<option_kind::max_retries, Os...>;
  static constexpr bool max_concurrency = has_option<option_kind::max_concurrency, Os...>;
  static constexpr bool retry_if = has_option<option_kind::retry_if, Os...>;

  template <class O>
  struct count_in : std::integral_constant<std::size_t, at_run_time> {};
  template <std::size_t N>
  struct count_in<num_returns<N>> : std::integral_constant<std::size_t, N> {};
  /// N of num_returns<N>; at_run_time if the number is not known at compile time.
  static constexpr std::size_t n = (std::min)({at_run_time, count_in<Os>::value...});
};

template <class... Os>
std::unique_ptr<task_extras> extras_from(const std::tuple<Os...>& os) {
  constexpr std::size_t i = place_of<option_kind::name, Os...>;
  if constexpr (i < sizeof...(Os))
    return std::make_unique<task_extras>(std::get<i>(os).text);
  else
    return nullptr;
}

template <class... Os>
std::uint64_t backpressure_from(const std::tuple<Os...>& os, std::uint64_t by_default) noexcept {
  constexpr std::size_t i = place_of<option_kind::backpressure, Os...>;
  if constexpr (has_option<option_kind::unbounded, Os...> || has_option<option_kind::backpressure_by, Os...>)
    return no_limit;
  else if constexpr (i < sizeof...(Os))
    return std::get<i>(os).limit;
  else
    return by_default;
}

template <class T, class... Os>
std::unique_ptr<stream_budget<T>> budget_from(const std::tuple<Os...>& os) {
  constexpr std::size_t i = place_of<option_kind::backpressure_by, Os...>;
  if constexpr (i < sizeof...(Os)) {
    const auto& option = std::get<i>(os);
    using cost = std::remove_cvref_t<decltype(option.cost)>;
    constexpr bool fits = requires(cost& c, const T& value) { requires std::integral<std::remove_cvref_t<decltype(c(value))>>; };
    static_assert(fits, "dyngen: backpressure_by(budget, cost): cost must be callable with a const T& of the stream, and "
                        "return an integer");
    if constexpr (fits) return std::make_unique<costed_stream<T, cost>>(option);
  }
  return nullptr;
}

template <class... Os>
std::uint64_t count_from(const std::tuple<Os...>& os) noexcept {
  constexpr std::size_t i = place_of<option_kind::num_returns, Os...>;
  if constexpr (requested_options<Os...>::n != at_run_time)
    return requested_options<Os...>::n;
  else
    return std::get<i>(os).count;
}

template <class... Os>
auto after_from(const std::tuple<Os...>& os) {
  constexpr std::size_t i = place_of<option_kind::after, Os...>;
  if constexpr (i < sizeof...(Os)) {
    std::apply([](const auto&... r) { ((r.valid() ? void() : throw_empty("ref given to after")), ...); }, std::get<i>(os).refs);
    return std::get<i>(os).refs;
  } else {
    return std::tuple<>();
  }
}

template <class... Os>
auto retry_from(const std::tuple<Os...>& os) {
  constexpr std::size_t i = place_of<option_kind::max_retries, Os...>;
  constexpr std::size_t predicate = place_of<option_kind::retry_if, Os...>;
  if constexpr (i == sizeof...(Os))
    return no_retry();
  else if constexpr (predicate == sizeof...(Os))
    return retry_policy<any_exception>{std::get<i>(os).count, {}};
  else
    return retry_policy<decltype(std::get<predicate>(os).predicate)>{std::get<i>(os).count, std::get<predicate>(os).predicate};
}

template <class... Os>
auto stop_from(const std::tuple<Os...>& os) {
  constexpr std::size_t i = place_of<option_kind::stop_on, Os...>;
  if constexpr (i < sizeof...(Os))
    return stop_link(std::get<i>(os).token);
  else
    return no_stop_link();
}

template <class... Os>
auto terms_from(const std::tuple<Os...>& os) {
  using terms = call_terms<decltype(after_from(os)), decltype(retry_from(os)), decltype(stop_from(os))>;
  return terms{after_from(os), retry_from(os), stop_from(os)};
}

}  // namespace dyngen::detail
