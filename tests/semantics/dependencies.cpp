// SPDX-License-Identifier: MIT
// Refs as arguments of tasks: which are awaited and passed as values, unresolved(), consume(), and refs inside of other
// arguments.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace test_dependencies {

using support::boom;
using support::count_to;
using support::first;
using support::holds;
using support::message_of;
using support::move_only;
using support::tracked;
using support::values_of;

namespace {

dg::generator<int> elements(const std::vector<int>& values) {
  for (int v : values) co_yield v;
}

int add_one(int v) { return v + 1; }

int ref_is_ready(dg::ref<int> r) { return r.ready() ? 1 : 0; }

int value_by_reference(const int& v) { return v * 10; }

struct overloaded {
  int operator()(int) const { return 1; }
  int operator()(const std::string&) const { return 2; }
};

struct sum_types {
  template <class... Ts>
  std::size_t operator()(Ts&&...) const {
    return sizeof...(Ts);
  }
};

}  // namespace

TEST_CASE("a ref argument is awaited and passed as const U&", "[submit][dependencies][S-WAIT-1]") {
  dg::manual_executor later;
  dg::inline_executor here;
  auto input = dg::on(later).submit([] { return 4; });
  int ran = 0;
  auto by_value = dg::on(here).submit(add_one, input);
  auto by_reference = dg::on(here).submit(value_by_reference, input);
  auto generic = dg::on(here).submit(
      [&](auto&& v) {
        ++ran;
        return std::is_same_v<decltype(v), const int&>;
      },
      input);
  CHECK_FALSE(by_value.ready());
  CHECK(ran == 0);
  later.run_all();
  CHECK(by_value.get() == 5);
  CHECK(by_reference.get() == 40);
  CHECK(generic.get());
  CHECK(input.get() == 4);
}

TEST_CASE("the value of a ref argument is the stored object, not a copy", "[submit][dependencies]") {
  tracked::reset();
  dg::inline_executor here;
  auto input = dg::put(tracked(1));
  tracked::moves = 0;
  auto address = dg::on(here).submit([](const tracked& t) { return &t; }, input);
  CHECK(address.get() == &input.get());
  CHECK(tracked::copies.load() == 0);
  CHECK(tracked::moves.load() == 0);
}

TEST_CASE("ref arguments mix with others in any place", "[submit][dependencies]") {
  support::watchdog dog("submit: mixed arguments");
  dg::thread_pool pool(2);
  auto a = pool.submit([] { return 1; });
  auto b = pool.submit([] { return std::string("b"); });
  auto r = pool.submit([](int x, const std::string& y, double z,
                          const std::string& t) { return y + t + std::to_string(x) + (z > 2 ? "!" : "?"); },
                       a, b, 2.5, "text");
  CHECK(r.get() == "btext1!");
  auto same = pool.submit([](int x, int y) { return x + y; }, a, a);
  CHECK(same.get() == 2);
}

TEST_CASE("a known signature that takes a ref gets the ref, at once", "[submit][dependencies]") {
  dg::manual_executor later;
  dg::inline_executor here;
  auto input = dg::on(later).submit([] { return 4; });
  auto r = dg::on(here).submit(ref_is_ready, input);
  REQUIRE(r.ready());
  CHECK(r.get() == 0);
  auto by_reference = dg::on(here).submit([](const dg::ref<int>& x) { return x.ready(); }, input);
  REQUIRE(by_reference.ready());
  CHECK_FALSE(by_reference.get());
  auto both = dg::on(here).submit([](dg::ref<int> x, int y) { return x.get() + y; }, input, input);
  CHECK_FALSE(both.ready());
  later.run_all();
  CHECK(both.get() == 8);
}

TEST_CASE("a generic or overloaded callable gets the value", "[submit][dependencies]") {
  dg::inline_executor here;
  CHECK(dg::on(here).submit(overloaded{}, dg::put(1)).get() == 1);
  CHECK(dg::on(here).submit(overloaded{}, dg::put(std::string("s"))).get() == 2);
  CHECK(dg::on(here).submit([](auto v) { return v + 1; }, dg::put(1)).get() == 2);
}

TEST_CASE("unresolved(r) passes the ref itself, also to a generic callable, without waiting",
          "[submit][dependencies]") {
  dg::manual_executor later;
  dg::inline_executor here;
  auto input = dg::on(later).submit([] { return 4; });
  auto r = dg::on(here).submit(
      [](auto&& x) {
        static_assert(std::is_same_v<std::remove_cvref_t<decltype(x)>, dg::ref<int>>);
        return x.ready();
      },
      dg::unresolved(input));
  REQUIRE(r.ready());
  CHECK_FALSE(r.get());
  CHECK(input.valid());
  later.run_all();
}

TEST_CASE("consume(r) passes the value as an rvalue", "[submit][dependencies]") {
  tracked::reset();
  dg::inline_executor here;
  auto input = dg::put(move_only(5));
  auto r = dg::on(here).submit([](move_only v) { return v.value; }, dg::consume(std::move(input)));
  CHECK(r.get() == 5);
  CHECK_FALSE(input.valid());
  auto generic = dg::on(here).submit([](auto&& v) { return std::is_same_v<decltype(v), move_only&&>; },
                                     dg::consume(dg::put(move_only(6))));
  CHECK(generic.get());
  CHECK(tracked::copies.load() == 0);
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("consume of a shared value copies it if possible, and is an error otherwise", "[submit][dependencies]") {
  tracked::reset();
  dg::inline_executor here;
  auto input = dg::put(tracked(5));
  auto other = input;
  auto r = dg::on(here).submit([](tracked v) { return v.value; }, dg::consume(std::move(input)));
  CHECK(r.get() == 5);
  CHECK(other.get().value == 5);
  CHECK(tracked::copies.load() == 1);
  auto single = dg::put(move_only(6));
  auto also = single;
  int ran = 0;
  auto bad = dg::on(here).submit([&](move_only v) { return ran += v.value; }, dg::consume(std::move(single)));
  CHECK(holds<dg::shared_value>(bad));
  CHECK(ran == 0);
  CHECK(also.get().value == 6);
}

TEST_CASE("consume waits for its value like any dependency", "[submit][dependencies]") {
  dg::manual_executor later;
  dg::inline_executor here;
  auto input = dg::on(later).submit([] { return move_only(9); });
  auto r = dg::on(here).submit([](move_only v) { return v.value; }, dg::consume(std::move(input)));
  CHECK_FALSE(r.ready());
  later.run_all();
  CHECK(r.get() == 9);
}

TEST_CASE("a ref<void> argument is awaited and is not passed to the callable", "[submit][dependencies]") {
  dg::manual_executor later;
  dg::inline_executor here;
  auto done = dg::on(later).submit([] {});
  auto first_place = dg::on(here).submit(add_one, done, 1);
  auto last_place = dg::on(here).submit(add_one, 2, done);
  auto only = dg::on(here).submit([] { return 3; }, done);
  auto generic = dg::on(here).submit(sum_types{}, done, 1, done, dg::put(2));
  CHECK_FALSE(first_place.ready());
  CHECK_FALSE(only.ready());
  later.run_all();
  CHECK(first_place.get() == 2);
  CHECK(last_place.get() == 3);
  CHECK(only.get() == 3);
  CHECK(generic.get() == 2u);
}

TEST_CASE("refs inside containers are passed as they are", "[submit][dependencies]") {
  dg::manual_executor later;
  dg::inline_executor here;
  auto never = dg::on(later).submit([] { return 1; });
  std::vector<dg::ref<int>> refs{never, dg::put(2)};
  auto r =
      dg::on(here).submit([](const std::vector<dg::ref<int>>& v) { return !v[0].ready() && v[1].get() == 2; }, refs);
  REQUIRE(r.ready());
  CHECK(r.get());
  auto pair = dg::on(here).submit([](auto p) { return p.first.ready(); }, std::pair(never, 1));
  REQUIRE(pair.ready());
  CHECK_FALSE(pair.get());
  later.run_all();
}

TEST_CASE("lists and streams are passed as they are", "[submit][dependencies]") {
  support::watchdog dog("submit: lists and streams");
  dg::thread_pool pool(2);
  auto outer = pool.options(dg::dynamic).submit(count_to, 10);
  auto sum = [](const dg::ref_list<int>& list) {
    int total = 0;
    for (const int& v : list.values()) total += v;
    return total;
  };
  CHECK(pool.submit(sum, outer).get() == 45);        // the dynamic ref: awaited, its list is passed
  CHECK(pool.submit(sum, outer.get()).get() == 45);  // the list itself
  auto stream = pool.submit(count_to, 10);
  auto drained = pool.submit(
      [](dg::ref_stream<int> s) {
        int total = 0;
        for (int&& v : s.values()) total += v;
        return total;
      },
      std::move(stream));
  CHECK(drained.get() == 45);
}

TEST_CASE("a generator depends on a ref like any task", "[submit][dependencies]") {
  support::watchdog dog("submit: generator with a dependency");
  dg::thread_pool pool(1);
  auto n = pool.submit([] { return 5; });
  CHECK(values_of(pool.options(dg::num_returns<5>{}).submit(count_to, n)) == first(5));
  auto numbers = pool.submit([] { return std::vector<int>{3, 2, 1}; });
  auto list = pool.options(dg::dynamic).submit(elements, numbers);
  numbers = {};
  CHECK(values_of(list.get()) == std::vector<int>{3, 2, 1});
}

TEST_CASE("a chain of 100 000 dependent tasks runs at constant stack", "[submit][dependencies][S-WAIT-5][L-14]") {
  support::watchdog dog("submit: long chain", 120);
  constexpr int length = 100'000;
  SECTION("on a pool") {
    dg::thread_pool pool(2);
    dg::manual_executor later;
    auto last = dg::on(later).submit([] { return 0; });
    for (int i = 0; i < length; ++i) last = pool.submit(add_one, last);
    later.run_all();
    CHECK(last.get() == length);
  }
  SECTION("on an inline executor") {
    dg::inline_executor here;
    dg::manual_executor later;
    auto last = dg::on(later).submit([] { return 0; });
    for (int i = 0; i < length; ++i) last = dg::on(here).submit(add_one, last);
    later.run_all();
    CHECK(last.get() == length);
  }
  SECTION("whose first task fails") {
    dg::thread_pool pool(2);
    dg::manual_executor later;
    auto last = dg::on(later).submit([]() -> int { throw boom("start"); });
    for (int i = 0; i < length; ++i) last = pool.submit(add_one, last);
    later.run_all();
    CHECK(message_of([&] { last.get(); }) == "start");
  }
  SECTION("every ref held, the last one waited for first") {
    dg::thread_pool pool(1);
    std::vector<dg::ref<int>> chain{dg::put(0)};
    for (int i = 0; i < length; ++i) chain.push_back(pool.submit(add_one, chain.back()));
    CHECK(chain.back().get() == length);
    CHECK(chain[length / 2].get() == length / 2);
  }
}

}  // namespace test_dependencies
