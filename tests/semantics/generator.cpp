// SPDX-License-Identifier: MIT
// Generators that are not submitted: ranges on the calling thread.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <ranges>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace test_generator {

using support::boom;
using support::count_to;
using support::message_of;
using support::tracked;
using support::witness;

static_assert(std::ranges::input_range<dg::generator<int>>);
static_assert(!std::is_copy_constructible_v<dg::generator<int>>);
static_assert(std::is_nothrow_move_constructible_v<dg::generator<int>>);
static_assert(std::is_same_v<std::ranges::range_reference_t<dg::generator<int>>, int&>);

TEST_CASE("a generator that is not submitted is a range on the calling thread", "[generator]") {
  std::vector<std::thread::id> threads;
  auto f = [&](int n) -> dg::generator<int> {
    for (int i = 0; i < n; ++i) {
      threads.push_back(std::this_thread::get_id());
      co_yield i;
    }
  };
  for (int n : {0, 1, 2, 1000}) {
    threads.clear();
    int expected = 0;
    for (int& v : f(n)) REQUIRE(v == expected++);
    CHECK(expected == n);
    CHECK(std::ranges::all_of(threads, [](auto id) { return id == std::this_thread::get_id(); }));
  }
}

TEST_CASE("as a range, nothing runs before begin and one value is made at a time", "[generator]") {
  int made = 0;
  auto f = [&]() -> dg::generator<int> {
    for (int i = 0; i < 3; ++i) {
      ++made;
      co_yield i;
    }
  };
  auto g = f();
  CHECK(made == 0);
  auto it = g.begin();
  CHECK(made == 1);
  CHECK(*it == 0);
  ++it;
  CHECK(made == 2);
  CHECK(*it == 1);
  ++it;
  ++it;
  CHECK(it == g.end());
  CHECK(made == 3);
}

TEST_CASE("as a range, a generator that is left early destroys its locals", "[generator]") {
  std::atomic<int> frames{0};
  tracked::reset();
  {
    auto f = [&]() -> dg::generator<tracked> {
      const witness frame(frames);
      for (int i = 0;; ++i) {
        tracked t(i);
        co_yield std::move(t);
      }
    };
    for (tracked& t : f()) {
      if (t.value == 3) break;
    }
    auto unused = f();
  }
  CHECK(frames.load() == 0);
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("as a range, a generator throws its exception out of the loop", "[generator]") {
  auto f = []() -> dg::generator<int> {
    co_yield 1;
    throw boom("in the loop");
  };
  int sum = 0;
  CHECK(message_of([&] {
          for (int& v : f()) sum += v;
        }) == "in the loop");
  CHECK(sum == 1);
  auto at_once = []() -> dg::generator<int> {
    throw boom("at once");
    co_return;
  };
  CHECK(message_of([&] {
          for (int& v : at_once()) sum += v;
        }) == "at once");
}

TEST_CASE("a generator's values may be changed and moved by its reader", "[generator]") {
  auto f = []() -> dg::generator<std::string> {
    co_yield "one";
    co_yield "two";
  };
  std::vector<std::string> taken;
  for (std::string& s : f()) {
    s += "!";
    taken.push_back(std::move(s));
  }
  CHECK(taken == std::vector<std::string>{"one!", "two!"});
}

TEST_CASE("a generator works with range algorithms and views", "[generator]") {
  CHECK(std::ranges::distance(count_to(10)) == 10);
  std::vector<int> even;
  auto g = count_to(10);
  for (int v : std::ranges::ref_view(g) | std::views::filter([](int i) { return i % 2 == 0; })) even.push_back(v);
  CHECK(even == std::vector<int>{0, 2, 4, 6, 8});
}

}  // namespace test_generator
