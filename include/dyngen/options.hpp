// SPDX-License-Identifier: MIT
#pragma once
// The options of submit: how many values a task returns and how, how far it may run ahead, what it waits for, what it
// is called. `options(o...)` packs some of them for reuse. What cannot be combined does not compile.

#include <dyngen/budget.hpp>
#include <dyngen/ref.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <exception>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace dyngen {

namespace detail {

/// A count from any integer type. Throws std::invalid_argument for negative ones and for more than 2^31.
template <std::integral Integer>
constexpr std::uint64_t checked_count(Integer n, const char* option) {
  const bool negative = std::is_signed_v<Integer> && n < Integer{0};
  if (negative || static_cast<std::uint64_t>(n) > (std::uint64_t{1} << 31))
    throw std::invalid_argument(std::string("dyngen: ") + option + "{" + std::to_string(n) + "}: give a number from 0 to 2^31");
  return static_cast<std::uint64_t>(n);
}

inline constexpr std::size_t at_run_time = (std::numeric_limits<std::size_t>::max)();

}  // namespace detail

/// The caller sets the number of values. `num_returns<N>{}` gives std::array<ref<T>, N> (a std::tuple of refs for
/// tuples, pairs and tuple_generators), `num_returns{n}` a std::vector<ref<T>>. The refs are there at once.
template <std::size_t N = detail::at_run_time>
struct num_returns {
  static_assert(N <= (std::size_t{1} << 31), "dyngen: num_returns<N>: at most 2^31 values");
};
/// The number is known at run time only.
template <>
struct num_returns<detail::at_run_time> {
  /// How many values.
  std::uint64_t count;
  /// Throws std::invalid_argument if `n` is negative or more than 2^31.
  template <std::integral Integer>
  explicit constexpr num_returns(Integer n) : count(detail::checked_count(n, "num_returns")) {}
};
/// `num_returns{n}`.
template <std::integral Integer>
num_returns(Integer) -> num_returns<detail::at_run_time>;

/// The type of the option `dynamic`.
struct dynamic_option {
  /// For the library.
  explicit dynamic_option() = default;
};
/// The type of the option `streaming`.
struct streaming_option {
  /// For the library.
  explicit streaming_option() = default;
};
/// The type of the option `unbounded`.
struct unbounded_option {
  /// For the library.
  explicit unbounded_option() = default;
};
/// The type of the option `all_or_nothing`.
struct all_or_nothing_option {
  /// For the library.
  explicit all_or_nothing_option() = default;
};

/// The task sets the number of values: submit gives ref<ref_list<T>>, ready when the task has ended.
inline constexpr dynamic_option dynamic{};
/// The task sets the number of values: submit gives ref_stream<T>. The default for generators.
inline constexpr streaming_option streaming{};
/// A stream's producer never waits for its consumer.
inline constexpr unbounded_option unbounded{};
/// No ref is ready before the task has ended well; any failure fails every ref.
inline constexpr all_or_nothing_option all_or_nothing{};

/// A stream's producer suspends while `n` values wait to be taken. Default 64.
struct backpressure {
  /// How many values.
  std::uint64_t limit;
  /// Throws std::invalid_argument if `n` is 0, negative or more than 2^31.
  template <std::integral Integer>
  explicit constexpr backpressure(Integer n) : limit(detail::checked_count(n, "backpressure")) {
    if (limit == 0)
      throw std::invalid_argument(
          "dyngen: backpressure{0}: a stream without room can store nothing; the smallest is backpressure{1}");
  }
};

/// How the task is called in errors, traces and statistics.
struct name {
  /// Any text.
  std::string text;
  /// An empty text is no name.
  explicit name(std::string t) : text(std::move(t)) {}
};

/// A task that throws is run again, at most `n` times: the callable is copied and called anew, with the same arguments as
/// const lvalues. Values stored before stay, and the new attempt's first ones are dropped: nobody sees a value twice.
struct max_retries {
  /// How many attempts after the first.
  std::uint64_t count;
  /// Throws std::invalid_argument if `n` is negative or more than 2^31.
  template <std::integral Integer>
  explicit constexpr max_retries(Integer n) : count(detail::checked_count(n, "max_retries")) {}
};

/// With max_retries: only exceptions for which `predicate(std::exception_ptr)` is true lead to another attempt. It is
/// called by the thread that runs the task, when nothing is left of the failed attempt. If it throws, that exception goes
/// to on_unhandled_error, and the task is not run again.
template <class Predicate>
struct retry_if {
  static_assert(std::is_invocable_r_v<bool, Predicate&, const std::exception_ptr&>,
                "dyngen: retry_if takes a predicate that can be called with a std::exception_ptr and returns bool");
  /// Copied into each task.
  Predicate predicate;
  /// Throws what moving the predicate throws.
  explicit retry_if(Predicate p) : predicate(std::move(p)) {}
};

/// Cancels the task when stop is requested of a token from outside, as cancel() does; the thread that requests it runs
/// no code of the task.
struct stop_on {
  /// The token from outside.
  std::stop_token token;
  /// A token without a source does nothing.
  explicit stop_on(std::stop_token t) noexcept : token(std::move(t)) {}
};

/// Of make_actor: up to `n` methods of the actor may be in progress, switching only where one of them suspends.
struct max_concurrency {
  /// How many methods.
  std::uint64_t count;
  /// Throws std::invalid_argument if `n` is 0, negative or more than 2^31.
  template <std::integral Integer>
  explicit constexpr max_concurrency(Integer n) : count(detail::checked_count(n, "max_concurrency")) {
    if (count == 0) throw std::invalid_argument("dyngen: max_concurrency{0}: an actor that runs no method; the smallest is 1");
  }
};

/// What after(refs...) gives.
template <class... Refs>
struct after_option {
  /// Held by the task.
  std::tuple<Refs...> refs;
};

namespace detail {
struct after_function {
  /// The task starts only when all of `refs` are ready; their values are not passed. If one failed, so does the task.
  template <class... Refs>
  auto operator()(Refs&&... refs) const {
    static_assert((any_ref<Refs> && ...), "dyngen: after takes refs; to wait for a whole stream, give its completion()");
    if constexpr (!(any_ref<Refs> && ...))
      return after_option<>();
    else
      return after_option<std::remove_cvref_t<Refs>...>{std::tuple<std::remove_cvref_t<Refs>...>(std::forward<Refs>(refs)...)};
  }
};
}  // namespace detail

/// after(refs...): an option, see above.
inline constexpr detail::after_function after{};

template <class... Options>
class option_pack;

namespace detail {

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

/// Some options, to be given to a pool or inside another pack; may be kept, copied and reused.
template <class... Options>
class option_pack {
 public:
  /// For options(o...).
  explicit option_pack(std::tuple<Options...> options) : options_(std::move(options)) {
    detail::check_options<Options...>();
  }
  /// The options, valid as long as the pack.
  const std::tuple<Options...>& tuple() const& noexcept { return options_; }
  /// The same, to be moved from.
  std::tuple<Options...>&& tuple() && noexcept { return std::move(options_); }

 private:
  std::tuple<Options...> options_;
};

namespace detail {

template <class O>
auto as_tuple(O&& option) {
  using type = std::remove_cvref_t<O>;
  static_assert(is_option<type>,
                "dyngen: this is no option; options are num_returns, dynamic, streaming, backpressure{n}, "
                "backpressure_by(budget, cost), unbounded, "
                "all_or_nothing, max_retries{n}, retry_if(predicate), stop_on(token), max_concurrency{n}, after(refs...), name{\"...\"} and packs "
                "made by options(...)");
  if constexpr (!is_option<type>)
    return std::tuple<>();
  else if constexpr (is_pack<type>)
    return std::forward<O>(option).tuple();
  else
    return std::tuple<type>(std::forward<O>(option));
}

template <class... Os>
auto make_pack(Os&&... os) {
  return []<class... Flat>(std::tuple<Flat...>&& flat) { return option_pack<Flat...>(std::move(flat)); }(
      std::tuple_cat(as_tuple(std::forward<Os>(os))...));
}

struct options_function {
  /// A pack of options without a pool.
  template <class... Os>
  auto operator()(Os&&... os) const {
    return make_pack(std::forward<Os>(os)...);
  }
};

}  // namespace detail

/// options(o...): a pack of options, usable in pool.options(...) and inside other packs.
inline constexpr detail::options_function options{};

}  // namespace dyngen
