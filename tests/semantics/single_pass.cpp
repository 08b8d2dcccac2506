// SPDX-License-Identifier: MIT
// Single-pass ranges that are iterated again: generators in place, streams, values().

#include "../catch.hpp"
#include "../support.hpp"

#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <utility>
#include <vector>

namespace test_single_pass {

namespace {

dg::generator<int> one_to(int n) {
  for (int i = 1; i <= n; ++i) co_yield i;
}

dg::generator<support::move_only> objects(int n) {
  for (int i = 1; i <= n; ++i) co_yield support::move_only(i);
}

dg::generator<int> fails_after(int n) {
  for (int i = 1; i <= n; ++i) co_yield i;
  throw support::boom("after the values");
}

dg::generator<int> all_of(dg::generator<int>& inner, int before) {
  co_yield before;
  co_yield dg::elements_of(std::move(inner));
  co_yield before + 1;
}

template <class Range>
std::vector<int> read(Range&& range) {
  std::vector<int> values;
  for (auto&& v : range) values.push_back(static_cast<int>(v));
  return values;
}

using ints = std::vector<int>;

}  // namespace

TEST_CASE("a generator that has ended is an empty range when it is iterated again", "[generator][S-DETAIL-11]") {
  auto g = one_to(3);
  CHECK(read(g) == ints{1, 2, 3});
  CHECK(read(g) == ints{});
  CHECK(read(g) == ints{});
  CHECK(g.begin() == g.end());

  auto nothing = one_to(0);
  CHECK(read(nothing) == ints{});
  CHECK(read(nothing) == ints{});
}

TEST_CASE("begin() of a generator that has begun and has not ended throws", "[generator][S-DETAIL-11]") {
  const long live = support::tracked::live;
  {
    auto g = objects(3);
    auto it = g.begin();
    CHECK_THROWS_AS(g.begin(), dg::error);
    CHECK(it->value == 1);  // the iteration continues where it was
    ++it;
    CHECK_THROWS_AS(g.begin(), dg::error);
    CHECK(it->value == 2);
    ++it;
    CHECK(it->value == 3);
    ++it;
    CHECK(it == g.end());
    ++it;  // does nothing
    CHECK(it == g.end());
    CHECK(g.begin() == g.end());
  }
  CHECK(support::tracked::live == live);
}

TEST_CASE("begin() of a generator throws in the generator's own body", "[generator][S-DETAIL-11]") {
  std::optional<dg::generator<int>> g;
  const auto body = [&]() -> dg::generator<int> {
    co_yield 1;
    bool refused = false;
    try {
      (void)g->begin();
    } catch (const dg::error&) {
      refused = true;
    }
    co_yield refused ? 2 : -1;
  };
  g.emplace(body());
  CHECK(read(*g) == ints{1, 2});
  CHECK(read(*g) == ints{});
}

TEST_CASE("a generator whose body has thrown is an empty range when it is iterated again", "[generator][S-DETAIL-11]") {
  auto late = fails_after(2);
  ints seen;
  CHECK_THROWS_AS([&] { for (int v : late) seen.push_back(v); }(), support::boom);
  CHECK(seen == ints{1, 2});
  CHECK(read(late) == ints{});

  auto at_once = fails_after(0);
  CHECK_THROWS_AS(at_once.begin(), support::boom);
  CHECK(at_once.begin() == at_once.end());
}

TEST_CASE("moving a generator moves what its iterators refer to", "[generator][S-DETAIL-11]") {
  auto g = one_to(3);
  auto it = g.begin();
  auto moved = std::move(g);
  CHECK(*it == 1);
  CHECK(*++it == 2);
  CHECK_THROWS_AS(moved.begin(), dg::error);
  CHECK(read(g) == ints{});  // NOLINT(bugprone-use-after-move): moved from, it is empty
  CHECK(read(g) == ints{});
  g = std::move(moved);
  CHECK(*++it == 3);
  ++it;
  CHECK(it == g.end());
  CHECK(read(moved) == ints{});  // NOLINT(bugprone-use-after-move)
}

TEST_CASE("elements_of a generator that has ended, or whose iteration was abandoned, yields nothing",
          "[generator][S-DETAIL-11]") {
  auto ended = one_to(2);
  CHECK(read(ended) == ints{1, 2});
  CHECK(read(all_of(ended, 7)) == ints{7, 8});
  CHECK(read(ended) == ints{});

  auto fresh = one_to(2);
  CHECK(read(all_of(fresh, 7)) == ints{7, 1, 2, 8});
  CHECK(read(all_of(fresh, 7)) == ints{7, 8});
  CHECK(read(fresh) == ints{});

  auto failed = fails_after(0);
  CHECK_THROWS_AS(failed.begin(), support::boom);
  CHECK(read(all_of(failed, 7)) == ints{7, 8});
}

TEST_CASE("elements_of a generator that is being iterated throws out of the co_yield", "[generator][S-DETAIL-11]") {
  auto inner = one_to(3);
  auto it = inner.begin();
  auto outer = all_of(inner, 7);
  ints seen;
  CHECK_THROWS_AS([&] { for (int v : outer) seen.push_back(v); }(), dg::error);
  CHECK(seen == ints{7});
  CHECK(*++it == 2);  // no value was taken from it
  CHECK(*++it == 3);
}

TEST_CASE("a submitted generator that was iterated to its end yields nothing; one in mid-iteration fails",
          "[generator][S-DETAIL-11]") {
  support::watchdog dog("generators that were iterated before they were submitted");
  dg::thread_pool pool(2);
  auto ended = one_to(2);
  CHECK(read(ended) == ints{1, 2});
  auto none = pool.submit([&] { return std::move(ended); });
  CHECK_FALSE(none.next().has_value());

  auto begun = std::make_unique<dg::generator<int>>(one_to(3));
  auto it = begun->begin();
  CHECK(*it == 1);
  auto refused = pool.submit([&] { return std::move(*begun); });
  CHECK_THROWS_AS(refused.next_value(), dg::error);
  CHECK_FALSE(refused.next().has_value());

  auto list = pool.options(dg::dynamic).submit([] {
    auto g = one_to(2);
    (void)read(g);
    return g;
  });
  CHECK(list.get().empty());
  auto two = pool.options(dg::num_returns<2>{}).submit([] {
    auto g = one_to(2);
    (void)read(g);
    return g;
  });
  CHECK_THROWS_AS(two[0].get(), dg::error);  // too few values
}

TEST_CASE("a stream iterated again continues, and is empty at its end", "[stream][S-DETAIL-11]") {
  support::watchdog dog("streams that are iterated again");
  dg::thread_pool pool(2);
  auto s = pool.submit(one_to, 4);
  for (dg::ref<int>&& r : s) {
    CHECK(r.get() == 1);
    break;
  }
  CHECK(s.begin() != s.end());  // holds the second
  ints rest;
  for (dg::ref<int>&& r : s) rest.push_back(r.get());
  CHECK(rest == ints{3, 4});
  CHECK(s.begin() == s.end());
  CHECK(s.begin() == s.end());
  CHECK(read(s.values()) == ints{});
  auto it = s.begin();
  ++it;  // does nothing
  CHECK(it == s.end());
}

TEST_CASE("values() iterated again continues, and is empty at its end", "[stream][S-DETAIL-11]") {
  support::watchdog dog("values that are iterated again");
  const long live = support::tracked::live;
  {
    dg::thread_pool pool(2);
    auto s = pool.submit(objects, 5);
    auto values = s.values();
    {
      auto first = values.begin();
      auto second = values.begin();  // both hold a value
      CHECK((*first).value == 1);
      CHECK((*second).value == 2);
      ++first;
      CHECK((*first).value == 3);
      CHECK((*second).value == 2);
      ++second;
      CHECK((*second).value == 4);
    }
    ints rest;
    for (support::move_only&& v : s.values()) rest.push_back(v.value);
    CHECK(rest == ints{5});
    CHECK(values.begin() == values.end());
    auto it = values.begin();
    ++it;  // does nothing
    CHECK(it == values.end());

    auto failing = pool.submit(fails_after, 1);
    ints seen;
    CHECK_THROWS_AS([&] { for (int v : failing.values()) seen.push_back(v); }(), support::boom);
    CHECK(seen == ints{1});
    CHECK(read(failing.values()) == ints{});

    auto owning = pool.submit(one_to, 3).values();
    CHECK(*owning.begin() == 1);
    auto moved = std::move(owning);
    CHECK(read(moved) == ints{2, 3});
    CHECK(read(moved) == ints{});
    CHECK_THROWS_AS(owning.begin(), dg::empty_ref);  // NOLINT(bugprone-use-after-move)
  }
  CHECK(support::tracked::live == live);
}

TEST_CASE("views::take of values() takes one value more than it shows", "[stream][S-DETAIL-12]") {
  support::watchdog dog("take of values");
  dg::thread_pool pool(2);
  auto s = pool.submit(one_to, 6);
  CHECK(read(s.values() | std::views::take(2)) == ints{1, 2});
  CHECK(s.next_value() == 4);
  ints seen;  // what to write instead
  for (int v : s.values()) {
    seen.push_back(v);
    if (seen.size() == 1) break;
  }
  CHECK(seen == ints{5});
  CHECK(s.next_value() == 6);
}

}  // namespace test_single_pass
