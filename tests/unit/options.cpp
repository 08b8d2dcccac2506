// SPDX-License-Identifier: MIT
// Counts from any integer type, and packs of options in packs.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace test_options {

namespace {

constexpr std::uint64_t most = std::uint64_t{1} << 31;

template <class I>
bool refused(I n) {
  try {
    (void)dg::detail::checked_count(n, "option{");
  } catch (const std::invalid_argument& e) {
    return std::string(e.what()).find("option{" + std::to_string(n) + "}") != std::string::npos;
  }
  return false;
}

template <class Pack, class... Expected>
constexpr bool is_pack_of = std::is_same_v<Pack, dg::option_pack<Expected...>>;

}  // namespace

TEMPLATE_TEST_CASE("a count is taken from any integer type", "[options]", signed char, unsigned char, short,
                   unsigned short, int, unsigned, long, unsigned long, long long, unsigned long long) {
  using limits = std::numeric_limits<TestType>;
  CHECK(dg::detail::checked_count(TestType{0}, "option") == 0);
  CHECK(dg::detail::checked_count(TestType{1}, "option") == 1);
  CHECK(dg::detail::checked_count(TestType{127}, "option") == 127);
  if constexpr (std::is_signed_v<TestType>) {
    CHECK(refused(TestType{-1}));
    CHECK(refused(limits::min()));
  }
  if constexpr (static_cast<std::uint64_t>(limits::max()) > most) {
    CHECK(dg::detail::checked_count(static_cast<TestType>(most), "option") == most);
    CHECK(refused(static_cast<TestType>(most + 1)));
    CHECK(refused(limits::max()));
  } else {
    CHECK(dg::detail::checked_count(limits::max(), "option") == static_cast<std::uint64_t>(limits::max()));
  }
}

TEST_CASE("counts are checked where an option is made, and named in the message", "[options]") {
  CHECK(dg::num_returns{0}.count == 0);
  CHECK(dg::num_returns{most}.count == most);
  CHECK(dg::num_returns{std::size_t{7}}.count == 7);
  CHECK_THROWS_AS(dg::num_returns{-1}, std::invalid_argument);
  CHECK_THROWS_AS(dg::num_returns{most + 1}, std::invalid_argument);
  CHECK_THROWS_AS(dg::num_returns{std::numeric_limits<std::size_t>::max()}, std::invalid_argument);
  CHECK(support::message_of([] { (void)dg::num_returns{-1}; }) == "dyngen: num_returns{-1}: give a number from 0 to 2^31");
  CHECK(dg::backpressure{1}.limit == 1);
  CHECK(dg::backpressure{most}.limit == most);
  CHECK_THROWS_AS(dg::backpressure{0}, std::invalid_argument);
  CHECK_THROWS_AS(dg::backpressure{-1}, std::invalid_argument);
  CHECK(support::message_of([] { (void)dg::backpressure{0u}; }).find("backpressure{0}") != std::string::npos);
  CHECK(support::message_of([] { (void)dg::backpressure{-5}; }) ==
        "dyngen: backpressure{-5}: give a number from 1 to 2^31");
  CHECK(support::message_of([] { (void)dg::max_concurrency{-1}; }) ==
        "dyngen: max_concurrency{-1}: give a number from 1 to 2^31");
  static_assert(dg::num_returns{3u}.count == 3);
  static_assert(std::is_same_v<decltype(dg::num_returns{3}), dg::num_returns<dg::detail::at_run_time>>);
  static_assert(!std::is_constructible_v<dg::backpressure, double>);
}

TEST_CASE("nested packs are flattened, in order", "[options]") {
  const auto inner = dg::options(dg::name{"inner"}, dg::all_or_nothing);
  const auto outer = dg::options(dg::dynamic, dg::options(inner), dg::options());
  static_assert(is_pack_of<std::remove_cvref_t<decltype(outer)>, dg::dynamic_option, dg::name, dg::all_or_nothing_option>);
  CHECK(std::get<1>(outer.tuple()).text == "inner");
  CHECK(std::get<0>(inner.tuple()).text == "inner");  // copied, not moved away

  auto moved = dg::options(dg::options(dg::name{"a name too long to stand in the string itself"}));
  const auto taken = dg::options(std::move(moved), dg::backpressure{3});
  CHECK(std::get<0>(taken.tuple()).text == "a name too long to stand in the string itself");
  CHECK(std::get<1>(taken.tuple()).limit == 3);
}

TEST_CASE("the types of a pack determine its options", "[options]") {
  using dg::detail::requested_options;
  using nothing = requested_options<>;
  static_assert(!nothing::returns && !nothing::fixed_n && !nothing::dynamic && !nothing::streaming && !nothing::bounded &&
                !nothing::unbounded && !nothing::all_or_nothing && nothing::n == dg::detail::at_run_time);
  using fixed = requested_options<dg::name, dg::num_returns<5>>;
  static_assert(fixed::returns && fixed::fixed_n && fixed::n == 5);
  using at_run_time = requested_options<dg::num_returns<dg::detail::at_run_time>>;
  static_assert(at_run_time::returns && at_run_time::fixed_n && at_run_time::n == dg::detail::at_run_time);
  static_assert(requested_options<dg::num_returns<0>>::n == 0);
  static_assert(requested_options<dg::dynamic_option>::returns && !requested_options<dg::backpressure>::returns && requested_options<dg::streaming_option>::returns);

  CHECK(dg::detail::backpressure_from(std::tuple<>(), 64) == 64);
  CHECK(dg::detail::backpressure_from(dg::options(dg::name{"n"}, dg::backpressure{7}).tuple(), 64) == 7);
  CHECK(dg::detail::backpressure_from(dg::options(dg::unbounded).tuple(), 64) == dg::detail::no_limit);
  CHECK(dg::detail::count_from(dg::options(dg::num_returns<5>{}).tuple()) == 5);
  CHECK(dg::detail::count_from(dg::options(dg::name{"n"}, dg::num_returns{6}).tuple()) == 6);
  CHECK(dg::detail::extras_from(dg::options(dg::dynamic).tuple()) == nullptr);
  CHECK(dg::detail::extras_from(dg::options(dg::dynamic, dg::name{"n"}).tuple())->name == "n");
  CHECK(std::tuple_size_v<decltype(dg::detail::after_from(dg::options(dg::after(dg::put(1), dg::put('a'))).tuple()))> == 2);
}

}  // namespace test_options
