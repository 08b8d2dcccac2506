// SPDX-License-Identifier: MIT
#pragma once
// The options of submit: how many values a task returns and how, how far it may run ahead, what it waits for, what it
// is called. `options(o...)` packs some of them for reuse. What cannot be combined does not compile.

#include <dyngen/budget.hpp>
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

/// A count from any integer type. Throws std::invalid_argument for negative ones and for more than 2^31.
template <std::integral Integer>
constexpr std::uint64_t checked_count(Integer n, const char* option) {
  const bool negative = std::is_signed_v<Integer> && n < Integer{0};
  if (negative || static_cast<std::uint64_t>(n) > (std::uint64_t{1} << 31))
    throw std::invalid_argument(std::string("dyngen: ") + option + "{" + std::to_string(n) + "}: give a number from 0 to 2^31");
  return static_cast<std::uint64_t>(n);
}

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
