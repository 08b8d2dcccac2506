// SPDX-License-Identifier: MIT
// S-ARITY-7: plain functions that return a container, a tuple or a range as a list of values.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <array>
#include <list>
#include <memory>
#include <ranges>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace test_returned_lists {

using support::arity;
using support::arity_of;
using support::error_log;
using support::first;
using support::holds;
using support::move_only;
using support::reporting_to;
using support::tracked;
using support::values_of;

TEST_CASE("a plain function's container fills the refs by move", "[arity][S-ARITY-7]") {
  tracked::reset();
  dg::inline_executor here;
  {
    auto f = [] {
      std::vector<tracked> v;
      v.reserve(3);
      for (int i = 0; i < 3; ++i) v.emplace_back(i);
      return v;
    };
    auto refs = dg::on(here).options(dg::num_returns<3>{}).submit(f);
    static_assert(std::is_same_v<decltype(refs), std::array<dg::ref<tracked>, 3>>);
    for (std::size_t i = 0; i < 3; ++i) CHECK(refs[i].get().value == static_cast<int>(i));
    CHECK(tracked::copies.load() == 0);
    CHECK(tracked::live.load() == 3);
    auto list = dg::on(here).options(dg::dynamic).submit(f);
    CHECK(list.get().size() == 3u);
    CHECK(tracked::copies.load() == 0);
  }
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("a plain function's tuple, pair or array fills the refs by move", "[arity][S-ARITY-7]") {
  dg::inline_executor here;
  tracked::reset();
  auto tuple = [] { return std::tuple<tracked, std::unique_ptr<int>, int>(tracked(1), std::make_unique<int>(2), 3); };
  auto [a, b, c] = dg::on(here).options(dg::num_returns<3>{}).submit(tuple);
  static_assert(std::is_same_v<decltype(b), dg::ref<std::unique_ptr<int>>>);
  CHECK(a.get().value == 1);
  CHECK(*b.get() == 2);
  CHECK(c.get() == 3);
  CHECK(tracked::copies.load() == 0);

  auto pair = [] { return std::pair<tracked, std::string>(tracked(4), "five"); };
  auto [d, e] = dg::on(here).options(dg::num_returns<2>{}).submit(pair);
  CHECK(d.get().value == 4);
  CHECK(e.get() == "five");
  CHECK(tracked::copies.load() == 0);

  auto array = [] { return std::array<move_only, 2>{move_only(6), move_only(7)}; };
  auto refs = dg::on(here).options(dg::num_returns<2>{}).submit(array);
  static_assert(std::is_same_v<decltype(refs), std::array<dg::ref<move_only>, 2>>);
  CHECK(refs[0].get().value == 6);
  CHECK(refs[1].get().value == 7);
}

TEST_CASE("a container that is too short or too long gives the errors of such a generator", "[arity][S-ARITY-7]") {
  support::watchdog dog("arity: containers of the wrong length");
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  auto make = [](int n) { return first(n); };
  auto few = pool.options(dg::num_returns<3>{}).submit(make, 1);
  CHECK(few[0].get() == 0);
  CHECK(arity_of(few[1]) == arity{3, 1});
  CHECK(arity_of(few[2]) == arity{3, 1});
  CHECK(arity_of(few[0].completion()) == arity{3, 1});
  auto empty = pool.options(dg::num_returns{2}).submit(make, 0);
  CHECK(arity_of(empty[0]) == arity{2, 0});
  CHECK(log.count() == 0u);
  auto many = pool.options(dg::num_returns<2>{}).submit(make, 5);
  auto end = many[0].completion();
  end.wait();
  CHECK(values_of(many) == first(2));
  CHECK(arity_of(end).expected == 2);
  CHECK(arity_of(end).yielded > 2);
  CHECK(log.count_of<dg::arity_error>() == 1u);
  auto strict = pool.options(dg::num_returns<2>{}, dg::all_or_nothing).submit(make, 3);
  CHECK(holds<dg::arity_error>(strict[0]));
  CHECK(holds<dg::arity_error>(strict[1]));
}

TEST_CASE("a container, a view or a string without a returns option is one value", "[arity][S-ARITY-7]") {
  dg::inline_executor here;
  auto vector = dg::on(here).submit([] { return std::vector<int>{1, 2}; });
  static_assert(std::is_same_v<decltype(vector), dg::ref<std::vector<int>>>);
  CHECK(vector.get() == std::vector<int>{1, 2});
  auto text = dg::on(here).submit([] { return std::string("text"); });
  static_assert(std::is_same_v<decltype(text), dg::ref<std::string>>);
  CHECK(text.get() == "text");
  auto view = dg::on(here).submit([] { return std::views::iota(0, 3); });
  static_assert(std::is_same_v<decltype(view), dg::ref<decltype(std::views::iota(0, 3))>>);
  CHECK(view.get().size() == 3u);
  auto tuple = dg::on(here).submit([] { return std::tuple<int, std::string>(1, "one"); });
  static_assert(std::is_same_v<decltype(tuple), dg::ref<std::tuple<int, std::string>>>);
  CHECK(std::get<1>(tuple.get()) == "one");
}

TEST_CASE("a list that is no contiguous container gives the same errors, and its elements are moved too",
          "[arity][S-ARITY-7]") {
  dg::inline_executor here;
  auto f = [] {
    std::list<move_only> all;
    all.emplace_back(1);
    all.emplace_back(2);
    return all;
  };
  auto refs = dg::on(here).options(dg::num_returns{2}).submit(f);
  CHECK(refs[0].get().value == 1);
  CHECK(refs[1].get().value == 2);
}

}  // namespace test_returned_lists
