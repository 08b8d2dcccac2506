// SPDX-License-Identifier: MIT
// ref_list: every member, empty lists, and the refs and values that a list gives.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <iterator>
#include <ranges>
#include <regex>
#include <string>
#include <type_traits>
#include <utility>

namespace test_ref_list {

using support::boom;
using support::count_to;
using support::printed;
using support::tracked;
using support::tracked_to;

namespace {

using list_of_ints = dg::ref_list<int>;

}  // namespace

static_assert(std::ranges::random_access_range<list_of_ints>);
static_assert(std::ranges::random_access_range<const list_of_ints>);
static_assert(std::ranges::sized_range<const list_of_ints>);
static_assert(std::ranges::common_range<const list_of_ints>);
static_assert(std::is_same_v<std::ranges::range_value_t<list_of_ints>, dg::ref<int>>);
static_assert(std::is_same_v<decltype(std::declval<const list_of_ints&>()[0]), const dg::ref<int>>);
static_assert(std::is_same_v<decltype(std::declval<const list_of_ints&>().at(0)), const dg::ref<int>>);
static_assert(std::is_same_v<decltype(std::declval<const list_of_ints&>()[0].get()), const int&>);
static_assert(std::is_copy_constructible_v<list_of_ints> && std::is_copy_assignable_v<list_of_ints>);
static_assert(std::is_default_constructible_v<list_of_ints>);

TEST_CASE("an empty list handle throws empty_ref", "[handles][ref_list][S-DETAIL-5]") {
  dg::ref_list<int> list;
  CHECK_FALSE(list.valid());
  CHECK_THROWS_AS(list.size(), dg::empty_ref);
  CHECK_THROWS_AS(list.empty(), dg::empty_ref);
  CHECK_THROWS_AS(list[0], dg::empty_ref);
  CHECK_THROWS_AS(list.at(0), dg::empty_ref);
  CHECK_THROWS_AS(list.begin(), dg::empty_ref);
  CHECK_THROWS_AS(list.values(), dg::empty_ref);
  CHECK_THROWS_AS(list.completion(), dg::empty_ref);
}

TEST_CASE("a list is a random-access range of refs", "[handles][ref_list]") {
  dg::inline_executor here;
  for (int n : {0, 1, 63, 64, 65, 1000}) {
    const dg::ref_list<int> list = dg::on(here).options(dg::dynamic).submit(count_to, n).get();
    REQUIRE(list.valid());
    REQUIRE(list.size() == static_cast<std::size_t>(n));
    CHECK(list.end() - list.begin() == n);
    CHECK(std::ranges::distance(list) == n);
    CHECK((list.begin() == list.end()) == (n == 0));
    int i = 0;
    for (dg::ref<int> r : list) REQUIRE(r.get() == i++);
    for (const auto& r : list | std::views::reverse) REQUIRE(r.get() == --i);
    CHECK_THROWS_AS(list.at(static_cast<std::size_t>(n)), std::out_of_range);
    CHECK_THROWS_AS(list.at(static_cast<std::size_t>(-1)), std::out_of_range);
    if (n == 0) continue;
    CHECK(list.at(static_cast<std::size_t>(n) - 1).get() == n - 1);
    auto it = list.begin();
    CHECK(it[n - 1].get() == n - 1);
    it += n;
    CHECK(it == list.end());
    it -= 1;
    CHECK((*it).get() == n - 1);
    CHECK(it->get() == n - 1);
    CHECK(list.begin() < list.end());
    CHECK((*(list.begin() + n / 2)).get() == n / 2);
  }
}

TEST_CASE("references to the values of a list are valid as long as the list", "[handles][ref_list]") {
  tracked::reset();
  dg::inline_executor here;
  const dg::ref_list<tracked> list = dg::on(here).options(dg::dynamic).submit(tracked_to, 3).get();
  const tracked& a = list[2].get();
  const tracked& b = list.at(2).get();
  CHECK(&a == &b);
  CHECK(a.value == 2);
  CHECK(tracked::copies.load() == 0);
  CHECK(tracked::live.load() == 3);
}

TEST_CASE("values() of a list are its values by reference", "[handles][ref_list]") {
  tracked::reset();
  dg::inline_executor here;
  const dg::ref_list<tracked> list = dg::on(here).options(dg::dynamic).submit(tracked_to, 5).get();
  auto values = list.values();
  static_assert(std::ranges::random_access_range<decltype(values)>);
  static_assert(std::is_same_v<std::ranges::range_reference_t<decltype(values)>, const tracked&>);
  REQUIRE(values.size() == 5u);
  int i = 0;
  for (const tracked& t : list.values()) CHECK(t.value == i++);
  CHECK(i == 5);
  CHECK(&values[3] == &list[3].get());
  CHECK(tracked::copies.load() == 0);
}

TEST_CASE("values() of a list throws at the position of the exception", "[handles][ref_list][S-ERR-3]") {
  dg::inline_executor here;
  auto f = []() -> dg::generator<int> {
    co_yield 1;
    co_yield 2;
    throw boom();
  };
  const dg::ref_list<int> list = dg::on(here).options(dg::dynamic).submit(f).get();
  int sum = 0;
  bool thrown = false;
  try {
    for (const int& v : list.values()) sum += v;
  } catch (const boom&) {
    thrown = true;
  }
  CHECK(thrown);
  CHECK(sum == 3);
}

TEST_CASE("a list prints its task and its length", "[handles][ref_list]") {
  dg::inline_executor here;
  auto outer = dg::on(here).options(dg::dynamic).submit(count_to, 64);
  const std::string text = printed(outer.get());
  std::smatch parts;
  REQUIRE(std::regex_match(text, parts, std::regex(R"(ref_list\((\d+): 64 values\))")));
  std::smatch element;
  const std::string first = printed(outer.get()[3]);
  REQUIRE(std::regex_match(first, element, std::regex(R"(ref\((\d+):(\d+)\))")));
  CHECK(element[1] == parts[1]);
  CHECK(element[2] == "3");
}

TEST_CASE("a list's completion is its task's", "[handles][ref_list]") {
  dg::inline_executor here;
  const dg::ref_list<int> list = dg::on(here).options(dg::dynamic).submit(count_to, 2).get();
  CHECK(list.completion().ready());
  CHECK_NOTHROW(list.completion().get());
}

TEST_CASE("the ref of a list is value 0 of its task, before and after its end", "[ref][ref_list]") {
  dg::manual_executor manual;
  auto list = dg::on(manual).options(dg::dynamic).submit(count_to, 100);
  const auto before = list.id();
  CHECK(before.value == 0);
  manual.run_all();
  CHECK(list.id() == before);
  CHECK(list.get()[99].id().value == 99);
}

}  // namespace test_ref_list
