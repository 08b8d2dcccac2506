// SPDX-License-Identifier: MIT
#pragma once
// The options of submit: how many values a task returns and how, how far it may run ahead, what it waits for, its name.
// `options(o...)` combines options for reuse. Combinations that exclude each other do not compile.

#include <dyngen/budget.hpp>
#include <dyngen/detail/base/integer.hpp>
#include <dyngen/detail/submit/option_kinds.hpp>
#include <dyngen/ref.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace dyngen {

namespace detail {

inline constexpr const char* from_zero = "}: give a number from 0 to 2^31";
inline constexpr const char* from_one = "}: give a number from 1 to 2^31";

template <std::integral Integer>
constexpr std::uint64_t checked_count(Integer n, const char* option, const char* advice = from_zero) {
  return checked_integer(n, 0, std::uint64_t{1} << 31, option, advice);
}

}  // namespace detail

/// Option of a task with several values, whose number the caller sets. With `num_returns<N>{}` submit returns
/// std::array<ref<T>, N> (a std::tuple of refs for tuples, pairs and tuple_generators), with `num_returns{n}` a
/// std::vector<ref<T>>. submit returns the refs before the task runs. If the task produces another number of values, it
/// fails with arity_error.
template <std::size_t N = detail::at_run_time>
struct num_returns {
  static_assert(N <= (std::size_t{1} << 31), "dyngen: num_returns<N>: at most 2^31 values");
};
/// num_returns for a number that is known only at run time.
template <>
struct num_returns<detail::at_run_time> {
  /// The number of values.
  std::uint64_t count;
  /// Sets the number of values to `n`. Throws std::invalid_argument if `n` is negative or more than 2^31.
  template <std::integral Integer>
  explicit constexpr num_returns(Integer n) : count(detail::checked_count(n, "num_returns{")) {}
};
/// `num_returns{n}` is a number known only at run time.
template <std::integral Integer>
num_returns(Integer) -> num_returns<detail::at_run_time>;

/// The type of the option `dynamic`.
struct dynamic_option {
  /// For the library: write `dynamic`.
  explicit dynamic_option() = default;
};
/// The type of the option `streaming`.
struct streaming_option {
  /// For the library: write `streaming`.
  explicit streaming_option() = default;
};
/// The type of the option `unbounded`.
struct unbounded_option {
  /// For the library: write `unbounded`.
  explicit unbounded_option() = default;
};
/// The type of the option `all_or_nothing`.
struct all_or_nothing_option {
  /// For the library: write `all_or_nothing`.
  explicit all_or_nothing_option() = default;
};

/// Option of a task that sets the number of its values itself: submit returns a ref<ref_list<T>>, ready when the task
/// has ended.
inline constexpr dynamic_option dynamic{};
/// Option of a task that sets the number of its values itself: submit returns a ref_stream<T>, which delivers each
/// value when it is yielded. The default for generators.
inline constexpr streaming_option streaming{};
/// Option of a stream: its producer never suspends to wait for its consumer, so the buffer may grow without limit.
inline constexpr unbounded_option unbounded{};
/// Option for num_returns and dynamic: no ref is ready before the task has ended. If the task fails, all its refs hold
/// the failure.
inline constexpr all_or_nothing_option all_or_nothing{};

/// Option of a stream: its producer suspends while the buffer holds `n` values that were not consumed. Default: 64.
struct backpressure {
  /// The capacity of the buffer, in values.
  std::uint64_t limit;
  /// Sets the capacity to `n` values. Throws std::invalid_argument if `n` is less than 1 or more than 2^31.
  template <std::integral Integer>
  explicit constexpr backpressure(Integer n) : limit(detail::checked_count(n, "backpressure{", detail::from_one)) {
    if (limit == 0)
      throw std::invalid_argument(
          "dyngen: backpressure{0}: the buffer would hold no value; the smallest is backpressure{1}");
  }
};

/// Option: the name of the task, or in make_actor of the actor, for error messages, traces, describe() and dump().
struct name {
  /// The name.
  std::string text;
  /// Sets the name to `t`. With an empty string the task has no name.
  explicit name(std::string t) : text(std::move(t)) {}
};

/// Option: if the task throws, it runs again, at most `n` times. Each attempt calls a new copy of the callable, with
/// the same arguments as const lvalues. Values that earlier attempts have stored remain, and the new attempt's values
/// at their positions are discarded, so a reader sees each value once. An attempt with fewer values than were stored
/// fails with nondeterministic_error.
struct max_retries {
  /// The maximum number of attempts after the first.
  std::uint64_t count;
  /// Allows `n` further attempts. Throws std::invalid_argument if `n` is negative or more than 2^31.
  template <std::integral Integer>
  explicit constexpr max_retries(Integer n) : count(detail::checked_count(n, "max_retries{")) {}
};

/// Option that restricts max_retries: another attempt follows only if `predicate(std::exception_ptr)` returns true for
/// the exception. The thread that runs the task calls the predicate after the objects of the failed attempt are
/// destroyed. If the predicate throws, its exception goes to on_unhandled_error, and there is no further attempt.
template <class Predicate>
struct retry_if {
  static_assert(std::is_invocable_r_v<bool, Predicate&, const std::exception_ptr&>,
                "dyngen: retry_if takes a predicate that can be called with a std::exception_ptr and returns bool");
  /// Decides about another attempt. Copied into each task.
  Predicate predicate;
  /// Stores `p`. Throws what moving the predicate throws.
  explicit retry_if(Predicate p) : predicate(std::move(p)) {}
};

/// Option: the task is cancelled, as by cancel(), when stop is requested through a std::stop_token of the caller. The
/// thread that requests the stop runs no code of the task, except stop callbacks.
struct stop_on {
  /// The token that cancels the task.
  std::stop_token token;
  /// Stores the token `t`. A token without a stop state has no effect.
  explicit stop_on(std::stop_token t) noexcept : token(std::move(t)) {}
};

/// Option of make_actor: up to `n` methods of the actor may be in progress at once, that is, begun and not ended. Only
/// one of them runs at a time, until it ends or suspends. Default: 1.
struct max_concurrency {
  /// The maximum number of methods in progress.
  std::uint64_t count;
  /// Allows `n` methods in progress. Throws std::invalid_argument if `n` is less than 1 or more than 2^31.
  template <std::integral Integer>
  explicit constexpr max_concurrency(Integer n)
      : count(detail::checked_count(n, "max_concurrency{", detail::from_one)) {
    if (count == 0) throw std::invalid_argument("dyngen: max_concurrency{0}: the actor would run no method; the smallest is 1");
  }
};

/// The option returned by after(refs...).
template <class... Refs>
struct after_option {
  /// The refs that the task waits for; the task holds copies.
  std::tuple<Refs...> refs;
};

namespace detail {
struct after_function {
  /// Returns an option: the task starts only when all `refs` are ready. Their values are not passed to it. If one of
  /// them failed, the task does not run and fails with the same exception. submit throws empty_ref if a ref is empty.
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

/// after(refs...): an option by which the task starts only when all `refs` are ready, and fails if one of them failed.
inline constexpr detail::after_function after{};

/// A combination of options, for pool.options(...) or another options(...). May be stored, copied and reused.
template <class... Options>
class option_pack {
 public:
  /// For the library: write options(o...).
  explicit option_pack(std::tuple<Options...> options) : options_(std::move(options)) {
    detail::check_options<Options...>();
  }
  /// Returns the options; the reference is valid as long as the pack.
  const std::tuple<Options...>& tuple() const& noexcept { return options_; }
  /// Returns the options as an rvalue; the reference is valid as long as the pack.
  std::tuple<Options...>&& tuple() && noexcept { return std::move(options_); }

 private:
  std::tuple<Options...> options_;
};

namespace detail {

template <class O>
auto as_tuple(O&& option) {
  using type = std::remove_cvref_t<O>;
  static_assert(is_option<type>,
                "dyngen: this is not an option; options are num_returns, dynamic, streaming, backpressure{n}, "
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
  /// Returns a pack of the options `os`. Throws what copying or moving the options throws.
  template <class... Os>
  auto operator()(Os&&... os) const {
    return make_pack(std::forward<Os>(os)...);
  }
};

}  // namespace detail

/// options(o...): a pack of options for pool.options(...), actor.options(...) and other packs.
inline constexpr detail::options_function options{};

}  // namespace dyngen
