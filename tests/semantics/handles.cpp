// SPDX-License-Identifier: MIT
// ref, ref_list, ref_stream and the free functions that take them: every member, empty handles,
// identity, and whether a value is moved out, copied or refused.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <regex>
#include <sstream>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace test_handles {

using namespace std::chrono_literals;
using support::boom;
using support::count_to;
using support::eventually;
using support::gate;
using support::holds;
using support::message_of;
using support::move_only;
using support::occurrences;
using support::tracked;
using support::tracked_to;
using support::witness;

namespace {

template <class T>
std::string printed(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

/// Copyable, but must be copied only on request.
struct precious {
  int value = 0;
};

using list_of_ints = dg::ref_list<int>;
using stream_of_ints = dg::ref_stream<int>;

}  // namespace
}  // namespace test_handles

template <>
inline constexpr bool dyngen::enable_copy<test_handles::precious> = false;

namespace test_handles {

static_assert(sizeof(dg::ref<int>) <= 16);
static_assert(sizeof(dg::ref<void>) <= 16);
static_assert(std::is_copy_constructible_v<dg::ref<int>> && std::is_copy_assignable_v<dg::ref<int>>);
static_assert(std::is_nothrow_move_constructible_v<dg::ref<int>> && std::is_nothrow_move_assignable_v<dg::ref<int>>);
static_assert(std::is_copy_constructible_v<dg::ref<move_only>>);
static_assert(std::equality_comparable<dg::ref<int>>);
static_assert(std::is_same_v<decltype(std::declval<const dg::ref<int>&>().get()), const int&>);
static_assert(std::is_same_v<decltype(std::declval<dg::ref<int>&>().get()), const int&>);
static_assert(std::is_same_v<decltype(std::declval<dg::ref<int>>().get()), int>);
static_assert(std::is_same_v<decltype(std::declval<dg::ref<int>>().take()), int>);
static_assert(std::is_same_v<decltype(std::declval<dg::ref<int>&>().get_for(1s)), const int&>);
static_assert(std::is_same_v<decltype(std::declval<dg::ref<int>>().get_for(1s)), int>);
static_assert(std::is_void_v<decltype(std::declval<const dg::ref<void>&>().get())>);
static_assert(std::is_same_v<decltype(std::declval<const dg::ref<int>&>().error()), std::exception_ptr>);
static_assert(std::is_same_v<decltype(std::declval<const dg::ref<int>&>().completion()), dg::ref<void>>);
static_assert(std::is_same_v<decltype(std::declval<dg::ref<int>&>().cancel()), bool>);

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

static_assert(std::ranges::input_range<stream_of_ints>);
static_assert(!std::ranges::forward_range<stream_of_ints>);
static_assert(std::is_same_v<std::ranges::range_reference_t<stream_of_ints>, dg::ref<int>&&>);
static_assert(!std::is_copy_constructible_v<stream_of_ints> && !std::is_copy_assignable_v<stream_of_ints>);
static_assert(std::is_nothrow_move_constructible_v<stream_of_ints>);
static_assert(std::is_nothrow_move_assignable_v<stream_of_ints>);
static_assert(std::is_default_constructible_v<stream_of_ints>);
static_assert(std::is_same_v<decltype(std::declval<stream_of_ints&>().next()), std::optional<dg::ref<int>>>);
static_assert(std::is_same_v<decltype(std::declval<stream_of_ints&>().next_value()), std::optional<int>>);
static_assert(std::is_same_v<decltype(std::declval<stream_of_ints&>().try_next()), std::optional<dg::ref<int>>>);
static_assert(std::is_same_v<decltype(std::declval<stream_of_ints&>().next_for(1s)), std::optional<dg::ref<int>>>);
static_assert(std::ranges::input_range<decltype(std::declval<stream_of_ints&>().values())>);
static_assert(
    std::is_same_v<std::ranges::range_reference_t<decltype(std::declval<stream_of_ints&>().values())>, int&&>);
static_assert(std::is_same_v<std::ranges::range_reference_t<decltype(std::declval<stream_of_ints>().values())>, int&&>);

static_assert(dg::enable_copy<int> && dg::enable_copy<std::string> && dg::enable_copy<std::vector<int>>);
static_assert(dg::enable_copy<std::pair<int, std::string>> && dg::enable_copy<std::tuple<int, std::string>>);
static_assert(dg::enable_copy<std::optional<int>>);
static_assert(!dg::enable_copy<move_only> && !dg::enable_copy<std::unique_ptr<int>>);
static_assert(!dg::enable_copy<std::vector<std::unique_ptr<int>>>);
static_assert(!dg::enable_copy<std::vector<std::vector<move_only>>>);
static_assert(!dg::enable_copy<std::pair<int, move_only>> && !dg::enable_copy<std::tuple<move_only, int>>);
static_assert(!dg::enable_copy<std::optional<move_only>>);
static_assert(!dg::enable_copy<precious> && !dg::enable_copy<std::vector<precious>>);

// -------------------------------------------------------------------------------------------- ref

TEST_CASE("a default-constructed ref is empty, and every use of it throws empty_ref", "[handles][ref]") {
  dg::ref<int> r;
  CHECK_FALSE(r.valid());
  CHECK_THROWS_AS(r.ready(), dg::empty_ref);
  CHECK_THROWS_AS(r.failed(), dg::empty_ref);
  CHECK_THROWS_AS(r.wait(), dg::empty_ref);
  CHECK_THROWS_AS(r.wait_for(1ms), dg::empty_ref);
  CHECK_THROWS_AS(r.wait_until(std::chrono::steady_clock::now()), dg::empty_ref);
  CHECK_THROWS_AS(r.get(), dg::empty_ref);
  CHECK_THROWS_AS(std::move(r).get(), dg::empty_ref);
  CHECK_THROWS_AS(std::move(r).take(), dg::empty_ref);
  CHECK_THROWS_AS(r.get_for(1ms), dg::empty_ref);
  CHECK_THROWS_AS(r.error(), dg::empty_ref);
  CHECK_THROWS_AS(r.completion(), dg::empty_ref);
  CHECK_THROWS_AS(r.cancel(), dg::empty_ref);
  CHECK_THROWS_AS(r.id(), dg::empty_ref);
  dg::ref<void> v;
  CHECK_FALSE(v.valid());
  CHECK_THROWS_AS(v.get(), dg::empty_ref);
  CHECK_THROWS_AS(v.wait(), dg::empty_ref);
}

TEST_CASE("a ref that was moved from, or assigned from an empty one, is empty", "[handles][ref]") {
  auto a = dg::put(1);
  auto b = std::move(a);
  CHECK(b.valid());
  CHECK_FALSE(a.valid());  // NOLINT: tests the moved-from object
  auto c = b;
  CHECK(b.valid());
  CHECK(c.valid());
  b = dg::ref<int>();
  CHECK_FALSE(b.valid());
  CHECK(c.get() == 1);
  auto& self = c;
  c = self;
  CHECK(c.get() == 1);
}

TEST_CASE("ready, failed and the waits of a ref", "[handles][ref]") {
  dg::manual_executor later;
  auto good = dg::on(later).submit([] { return 3; });
  auto bad = dg::on(later).submit([]() -> int { throw boom(); });
  CHECK_FALSE(good.ready());
  CHECK_FALSE(good.failed());
  CHECK_FALSE(good.wait_for(1ms));
  CHECK_FALSE(good.wait_for(0ms));
  CHECK_FALSE(good.wait_for(-1s));
  CHECK_FALSE(good.wait_until(std::chrono::steady_clock::now() + 1ms));
  CHECK_FALSE(good.wait_until(std::chrono::system_clock::now()));
  later.run_all();
  CHECK(good.ready());
  CHECK_FALSE(good.failed());
  CHECK(bad.ready());
  CHECK(bad.failed());
  CHECK(good.wait_for(0ms));
  CHECK(good.wait_for(1h));
  CHECK(bad.wait_until(std::chrono::steady_clock::now() - 1h));
  CHECK_NOTHROW(bad.wait());
  CHECK(good.error() == nullptr);
  CHECK(bad.error() != nullptr);
}

TEST_CASE("wait blocks until the value is there", "[handles][ref]") {
  support::watchdog dog("handles: wait");
  gate open;
  std::atomic<int> seen{0};
  dg::thread_pool pool(1);
  auto r = pool.submit([&] {
    open.pass();
    return 5;
  });
  std::thread reader([&] {
    r.wait();
    seen = r.get();
  });
  open.open();
  reader.join();
  CHECK(seen.load() == 5);
}

TEST_CASE("get gives the same object each time, by reference", "[handles][ref]") {
  tracked::reset();
  auto r = dg::put(tracked(4));
  const tracked& a = r.get();
  const tracked& b = r.get();
  auto other = r;
  CHECK(&a == &b);
  CHECK(&other.get() == &a);
  CHECK(tracked::copies.load() == 0);
  r = {};
  CHECK(a.value == 4);  // valid as long as a holder lives
}

TEST_CASE("get of an rvalue moves out of the only ref", "[handles][ref][S-DETAIL-3]") {
  tracked::reset();
  auto r = dg::put(tracked(4));
  tracked::moves = 0;
  const tracked v = std::move(r).get();
  CHECK(v.value == 4);
  CHECK(tracked::copies.load() == 0);
  CHECK_FALSE(r.valid());
  CHECK(tracked::live.load() == 1);
}

TEST_CASE("get of an rvalue copies where other refs exist", "[handles][ref][S-DETAIL-3]") {
  tracked::reset();
  auto r = dg::put(tracked(4));
  auto other = r;
  const tracked v = std::move(r).get();
  CHECK(v.value == 4);
  CHECK(tracked::copies.load() == 1);
  CHECK_FALSE(r.valid());
  CHECK(other.get().value == 4);
  const tracked w = std::move(other).get();  // the only one now
  CHECK(w.value == 4);
  CHECK(tracked::copies.load() == 1);
}

TEST_CASE("a value that cannot be copied and has two refs gives shared_value, and stays",
          "[handles][ref][S-DETAIL-3]") {
  auto r = dg::put(move_only(6));
  auto other = r;
  CHECK_THROWS_AS(std::move(r).get(), dg::shared_value);
  REQUIRE(r.valid());
  CHECK(r.get().value == 6);
  CHECK_THROWS_AS(std::move(r).take(), dg::shared_value);
  REQUIRE(r.valid());
  CHECK_THROWS_AS(std::move(r).get_for(1s), dg::shared_value);
  REQUIRE(r.valid());
  other = {};
  const move_only v = std::move(r).get();
  CHECK(v.value == 6);
  CHECK_FALSE(r.valid());
}

TEST_CASE("take moves or throws, and never copies", "[handles][ref][S-DETAIL-3]") {
  tracked::reset();
  auto r = dg::put(tracked(8));
  auto other = r;
  CHECK_THROWS_AS(std::move(r).take(), dg::shared_value);
  REQUIRE(r.valid());
  other = {};
  const tracked v = std::move(r).take();
  CHECK(v.value == 8);
  CHECK(tracked::copies.load() == 0);
  CHECK_FALSE(r.valid());
}

TEST_CASE("enable_copy decides for a type that could be copied", "[handles][ref]") {
  auto r = dg::put(precious{3});
  auto other = r;
  CHECK_THROWS_AS(std::move(r).get(), dg::shared_value);
  CHECK(r.get().value == 3);
  auto vector = dg::put(std::vector<precious>(2));
  auto also = vector;
  CHECK_THROWS_AS(std::move(vector).get(), dg::shared_value);
  auto pointers = dg::put(std::vector<std::unique_ptr<int>>(2));
  auto too = pointers;
  CHECK_THROWS_AS(std::move(pointers).get(), dg::shared_value);
  too = {};
  CHECK(std::move(pointers).get().size() == 2u);
}

TEST_CASE("a list counts as a holder of its values", "[handles][ref][ref_list][L-15]") {
  tracked::reset();
  dg::inline_executor here;
  auto outer = dg::on(here).options(dg::dynamic).submit(tracked_to, 2);
  dg::ref<tracked> r = outer.get()[0];
  CHECK_THROWS_AS(std::move(r).take(), dg::shared_value);
  const tracked copy = std::move(r).get();
  CHECK(copy.value == 0);
  CHECK(tracked::copies.load() == 1);
  dg::ref<tracked> last = outer.get()[1];
  outer = {};
  CHECK(std::move(last).take().value == 1);
  CHECK(tracked::copies.load() == 1);
}

TEST_CASE("a ref taken from a stream is the only holder of its value", "[handles][ref][ref_stream]") {
  dg::inline_executor here;
  auto f = []() -> dg::generator<move_only> {
    co_yield 1;
    co_yield 2;
  };
  auto stream = dg::on(here).submit(f);
  auto first = stream.next();
  REQUIRE(first.has_value());
  CHECK(std::move(*first).take().value == 1);
  int sum = 0;
  for (dg::ref<move_only> r : stream) sum += std::move(r).take().value;
  CHECK(sum == 2);
}

TEST_CASE("get_for throws timeout_error that names the task, and leaves the ref as it was", "[handles][ref]") {
  dg::manual_executor later;
  auto r = dg::on(later).options(dg::name{"slow one"}).submit([] { return std::string("value"); });
  CHECK_THROWS_AS(r.get_for(1ms), dg::timeout_error);
  CHECK_THROWS_AS(r.get_for(0ms), dg::timeout_error);
  CHECK_THROWS_AS(std::move(r).get_for(1ms), dg::timeout_error);
  REQUIRE(r.valid());
  CHECK(occurrences(message_of([&] { r.get_for(1ms); }), "slow one") >= 1u);
  later.run_all();
  CHECK(r.get_for(0ms) == "value");
  CHECK(std::move(r).get_for(1s) == "value");
  CHECK_FALSE(r.valid());
}

TEST_CASE("a ref<void> is ready, fails and is waited for like any other", "[handles][ref]") {
  dg::inline_executor here;
  auto good = dg::on(here).submit([] {});
  static_assert(std::is_same_v<decltype(good), dg::ref<void>>);
  CHECK_NOTHROW(good.get());
  CHECK(good.ready());
  auto bad = dg::on(here).submit([] { throw boom(); });
  CHECK_THROWS_AS(bad.get(), boom);
  CHECK(bad.failed());
  CHECK_NOTHROW(good.get_for(1s));
  CHECK(good.error() == nullptr);
}

TEST_CASE("refs are equal when they are the same value's", "[handles][ref]") {
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns<3>{}).submit(count_to, 3);
  const auto copy = refs[0];
  CHECK(copy == refs[0]);
  CHECK(copy.id() == refs[0].id());
  CHECK(refs[0] != refs[1]);
  CHECK(refs[1] != refs[2]);
  CHECK(dg::put(1) != dg::put(1));
  auto outer = dg::on(here).options(dg::dynamic).submit(count_to, 3);
  CHECK(outer.get()[1] == outer.get()[1]);
  CHECK(outer.get()[1] != outer.get()[2]);
}

TEST_CASE("refs are hashed by identity", "[handles][ref]") {
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns{100}).submit(count_to, 100);
  std::unordered_set<dg::ref<int>> set(refs.begin(), refs.end());
  CHECK(set.size() == 100u);
  set.insert(refs.begin(), refs.end());
  CHECK(set.size() == 100u);
  CHECK(set.contains(refs[42]));
  CHECK_FALSE(set.contains(dg::put(42)));
  const auto copy = refs[7];
  CHECK(std::hash<dg::ref<int>>{}(copy) == std::hash<dg::ref<int>>{}(refs[7]));
}

TEST_CASE("a ref prints its task and its place", "[handles][ref]") {
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns<3>{}).submit(count_to, 3);
  const std::regex form(R"(ref\((\d+):(\d+)\))");
  std::string task;
  for (std::size_t i = 0; i < 3; ++i) {
    std::smatch parts;
    const std::string text = printed(refs[i]);
    REQUIRE(std::regex_match(text, parts, form));
    if (i == 0) task = parts[1];
    CHECK(parts[1] == task);
    CHECK(parts[2] == std::to_string(i));
  }
  auto other = dg::on(here).submit([] { return 1; });
  const std::string text = printed(other);
  std::smatch parts;
  REQUIRE(std::regex_match(text, parts, form));
  CHECK(parts[1] != task);
  CHECK(parts[2] == "0");
}

TEST_CASE("completion() is the same task's whichever of its refs is asked", "[handles][ref]") {
  support::watchdog dog("handles: completion");
  gate last;
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<int> {
    co_yield 1;
    co_yield 2;
    last.pass();
  };
  auto refs = pool.options(dg::num_returns<2>{}).submit(f);
  auto a = refs[0].completion();
  auto b = refs[1].completion();
  refs[1].wait();
  CHECK_FALSE(a.ready());
  CHECK_FALSE(b.ready());
  last.open();
  a.get();
  CHECK(b.ready());
}

TEST_CASE("a completion keeps no ref from being the only holder", "[handles][ref]") {
  dg::inline_executor here;
  auto r = dg::on(here).submit([] { return move_only(3); });
  auto end = r.completion();
  CHECK(std::move(r).take().value == 3);
  CHECK(end.ready());
}

TEST_CASE("cancel of a queued task: it never runs, its refs hold cancelled_error", "[handles][ref][S-CANCEL-1]") {
  dg::manual_executor later;
  int ran = 0;
  auto r = dg::on(later).options(dg::name{"called off"}).submit([&] { return ++ran; });
  auto refs = dg::on(later).options(dg::num_returns<2>{}).submit([&]() -> dg::generator<int> {
    ++ran;
    co_yield 1;
    co_yield 2;
  });
  CHECK(r.cancel());
  CHECK(refs[1].cancel());
  later.run_all();
  CHECK(ran == 0);
  CHECK(holds<dg::cancelled_error>(r));
  CHECK(holds<dg::cancelled_error>(refs[0]));
  CHECK(holds<dg::cancelled_error>(refs[1]));
  CHECK(occurrences(message_of([&] { r.get(); }), "called off") >= 1u);
  CHECK_FALSE(r.cancel());
}

TEST_CASE("cancel of an ended task has no effect and says so", "[handles][ref][S-CANCEL-4]") {
  dg::inline_executor here;
  auto r = dg::on(here).submit([] { return 1; });
  CHECK_FALSE(r.cancel());
  CHECK_FALSE(dg::cancel(r));
  CHECK(r.get() == 1);
}

TEST_CASE("cancel of a running generator: stored values stay, later refs are cancelled", "[handles][ref][S-CANCEL-2]") {
  support::watchdog dog("handles: cancel a running generator");
  gate go_on;
  std::atomic<int> frames{0}, behind{0};
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<int> {
    const witness frame(frames);
    co_yield 1;
    go_on.pass();
    co_yield 2;
    ++behind;
    co_yield 3;
  };
  auto refs = pool.options(dg::num_returns<3>{}).submit(f);
  CHECK(refs[0].get() == 1);
  CHECK(dg::cancel(refs[2]));
  go_on.open();
  CHECK(holds<dg::cancelled_error>(refs[1]));
  CHECK(holds<dg::cancelled_error>(refs[2]));
  CHECK(refs[0].get() == 1);
  CHECK(holds<dg::cancelled_error>(refs[0].completion()));
  CHECK(behind.load() == 0);
  CHECK(frames.load() == 0);
}

// --------------------------------------------------------------------------------------- ref_list

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

// ------------------------------------------------------------------------------------- ref_stream

TEST_CASE("an empty stream handle throws empty_ref", "[handles][ref_stream][S-DETAIL-5]") {
  dg::ref_stream<int> stream;
  CHECK_FALSE(stream.valid());
  CHECK_THROWS_AS(stream.next(), dg::empty_ref);
  CHECK_THROWS_AS(stream.next_value(), dg::empty_ref);
  CHECK_THROWS_AS(stream.try_next(), dg::empty_ref);
  CHECK_THROWS_AS(stream.next_for(1ms), dg::empty_ref);
  CHECK_THROWS_AS(stream.finished(), dg::empty_ref);
  CHECK_THROWS_AS(stream.completion(), dg::empty_ref);
  CHECK_THROWS_AS(stream.cancel(), dg::empty_ref);
  CHECK_THROWS_AS(stream.begin(), dg::empty_ref);
}

TEST_CASE("a stream that was moved from is empty", "[handles][ref_stream][S-DETAIL-5]") {
  dg::inline_executor here;
  auto a = dg::on(here).submit(count_to, 2);
  auto b = std::move(a);
  CHECK_FALSE(a.valid());  // NOLINT: tests the moved-from object
  CHECK(b.valid());
  CHECK_THROWS_AS(a.next(), dg::empty_ref);
  CHECK(b.next_value() == std::optional<int>(0));
  a = std::move(b);
  CHECK(a.next_value() == std::optional<int>(1));
  CHECK_FALSE(a.next_value().has_value());
}

TEST_CASE("next, next_value, try_next and next_for hand over each value once", "[handles][ref_stream]") {
  support::watchdog dog("handles: ways to take");
  dg::thread_pool pool(2);
  auto stream = pool.submit(count_to, 8);
  for (int i = 0; i < 8;) {
    CHECK(stream.next().value().get() == i++);
    CHECK(stream.next_value() == std::optional<int>(i++));
    CHECK(stream.next_for(1h).value().get() == i++);
    std::optional<dg::ref<int>> polled;
    REQUIRE(eventually([&] { return (polled = stream.try_next()).has_value(); }));
    CHECK(polled->get() == i++);
  }
  CHECK_FALSE(stream.next_for(1h).has_value());
  CHECK_FALSE(stream.next().has_value());
}

TEST_CASE("try_next and finished tell 'not yet' from 'no more'", "[handles][ref_stream]") {
  dg::manual_executor later;
  auto stream = dg::on(later).options(dg::name{"tardy"}).submit(count_to, 1);
  CHECK_FALSE(stream.try_next().has_value());
  CHECK_FALSE(stream.finished());
  CHECK_THROWS_AS(stream.next_for(1ms), dg::timeout_error);
  CHECK(occurrences(message_of([&] { stream.next_for(0ms); }), "tardy") >= 1u);
  later.run_all();
  CHECK_FALSE(stream.finished());
  CHECK(stream.try_next().has_value());
  CHECK_FALSE(stream.try_next().has_value());
  CHECK(stream.finished());
  CHECK(stream.completion().ready());
  CHECK_FALSE(stream.next_for(1ms).has_value());
}

TEST_CASE("a stream is an input range of refs", "[handles][ref_stream]") {
  support::watchdog dog("handles: range of refs");
  dg::thread_pool pool(2);
  auto stream = pool.submit(count_to, 200);
  int sum = 0;
  for (auto&& r : stream) sum += r.get();
  CHECK(sum == 199 * 200 / 2);
  std::vector<dg::ref<int>> kept;
  for (dg::ref<int> r : pool.submit(count_to, 100)) kept.push_back(std::move(r));
  REQUIRE(kept.size() == 100u);
  for (int i = 0; i < 100; ++i) CHECK(kept[static_cast<std::size_t>(i)].get() == i);
}

TEST_CASE("values that a range-for did not reach stay in the stream", "[handles][ref_stream]") {
  support::watchdog dog("handles: left early");
  dg::thread_pool pool(2);
  auto stream = pool.submit(count_to, 10);
  for (dg::ref<int> r : stream) {
    if (r.get() == 3) break;
  }
  CHECK(stream.next_value() == std::optional<int>(4));
}

TEST_CASE("values() of a stream gives the values themselves", "[handles][ref_stream]") {
  support::watchdog dog("handles: values");
  tracked::reset();
  {
    dg::thread_pool pool(2);
    auto stream = pool.submit(tracked_to, 300);
    int i = 0;
    for (tracked&& t : stream.values()) REQUIRE(t.value == i++);
    CHECK(i == 300);
    CHECK(stream.finished());
    i = 0;
    for (tracked&& t : pool.submit(tracked_to, 300).values()) {
      const tracked mine = std::move(t);
      REQUIRE(mine.value == i++);
    }
    CHECK(i == 300);
    CHECK(tracked::copies.load() == 0);
    int none = 0;
    for (tracked&& t : pool.submit(tracked_to, 0).values()) none += 1 + t.value;
    CHECK(none == 0);
  }
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("completion() of a stream is ready when its task has ended", "[handles][ref_stream]") {
  dg::manual_executor later;
  auto stream = dg::on(later).submit(count_to, 3);
  auto end = stream.completion();
  CHECK_FALSE(end.ready());
  later.run_all();
  CHECK(end.ready());
  CHECK_FALSE(stream.finished());  // three values wait to be consumed
}

TEST_CASE("cancel of a stream: what was stored is readable, then cancelled_error, then the end",
          "[handles][ref_stream][S-CANCEL-2]") {
  dg::manual_executor later;
  int behind = 0;
  auto f = [&]() -> dg::generator<int> {
    co_yield 1;
    co_yield 2;
    ++behind;
    co_yield 3;
  };
  auto stream = dg::on(later).options(dg::backpressure{2}).submit(f);
  later.run_all();
  CHECK(stream.cancel());
  later.run_all();
  CHECK(stream.next_value() == std::optional<int>(1));
  CHECK(stream.next_value() == std::optional<int>(2));
  CHECK_THROWS_AS(stream.next_value(), dg::cancelled_error);
  CHECK_FALSE(stream.next().has_value());
  CHECK(stream.finished());
  CHECK_FALSE(stream.cancel());
  CHECK(behind == 0);
}

TEST_CASE("detach drops the values and lets the task run to its end", "[handles][ref_stream][S-STREAM-6]") {
  tracked::reset();
  dg::manual_executor later;
  bool ended = false;
  auto f = [&]() -> dg::generator<tracked> {
    for (int i = 0; i < 500; ++i) co_yield i;
    ended = true;
  };
  auto stream = dg::on(later).options(dg::backpressure{2}).submit(f);
  auto end = stream.completion();
  later.run_all();
  CHECK_FALSE(ended);
  std::move(stream).detach();
  CHECK(tracked::live.load() == 0);
  later.run_all();
  CHECK(ended);
  CHECK_NOTHROW(end.get());
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("the destructor of a stream cancels its task and drops its stored values",
          "[handles][ref_stream][S-STREAM-6]") {
  tracked::reset();
  dg::manual_executor later;
  std::atomic<int> frames{0};
  int behind = 0;
  auto f = [&]() -> dg::generator<tracked> {
    const witness frame(frames);
    co_yield 1;
    co_yield 2;
    ++behind;
  };
  dg::ref<void> end;
  {
    auto stream = dg::on(later).options(dg::backpressure{2}).submit(f);
    end = stream.completion();
    later.run_all();
    CHECK(tracked::live.load() == 2);
  }
  CHECK(tracked::live.load() == 0);
  later.run_all();
  CHECK(behind == 0);
  CHECK(frames.load() == 0);
  CHECK(holds<dg::cancelled_error>(end));
}

// -------------------------------------------------------------------------------- free functions

TEST_CASE("put gives a ready ref", "[handles][put][S-DETAIL-4]") {
  auto r = dg::put(std::string("text"));
  static_assert(std::is_same_v<decltype(r), dg::ref<std::string>>);
  CHECK(r.ready());
  CHECK_FALSE(r.failed());
  CHECK(r.get() == "text");
  CHECK(r.completion().ready());
  CHECK_NOTHROW(r.completion().get());
  CHECK_FALSE(r.cancel());
  CHECK(r.error() == nullptr);
  CHECK(r.id() != dg::put(std::string("text")).id());
  const std::string lvalue = "kept";
  CHECK(dg::put(lvalue).get() == "kept");
  CHECK(lvalue == "kept");
}

TEST_CASE("put moves an rvalue and copies an lvalue, once", "[handles][put]") {
  tracked::reset();
  tracked t(3);
  auto moved = dg::put(std::move(t));
  CHECK(tracked::copies.load() == 0);
  const tracked u(4);
  auto copied = dg::put(u);
  CHECK(tracked::copies.load() == 1);
  CHECK(moved.get().value == 3);
  CHECK(copied.get().value == 4);
}

TEST_CASE("get of one ref is its value", "[handles][get]") {
  support::watchdog dog("handles: get of one");
  dg::thread_pool pool(1);
  auto r = pool.submit([] { return std::string("one"); });
  CHECK(dg::get(r) == "one");
  CHECK(r.valid());
  CHECK_THROWS_AS(dg::get(pool.submit([]() -> int { throw boom(); })), boom);
}

TEST_CASE("get of several refs is a tuple of their values", "[handles][get]") {
  support::watchdog dog("handles: get of several");
  dg::thread_pool pool(2);
  auto a = pool.submit([] { return 1; });
  auto b = pool.submit([] { return std::string("two"); });
  auto [x, y] = dg::get(a, b);
  CHECK(x == 1);
  CHECK(y == "two");
  CHECK(a.valid());
  CHECK(b.get() == "two");
  const move_only m = dg::get(dg::put(move_only(5)));
  CHECK(m.value == 5);
}

TEST_CASE("get of a range of refs is a vector; lvalues are copied, rvalues moved", "[handles][get]") {
  tracked::reset();
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns{5}).submit(tracked_to, 5);
  std::vector<tracked> copies = dg::get(refs);
  REQUIRE(copies.size() == 5u);
  CHECK(tracked::copies.load() == 5);
  for (int i = 0; i < 5; ++i) CHECK(copies[static_cast<std::size_t>(i)].value == i);
  for (const auto& r : refs) CHECK(r.valid());
  tracked::copies = 0;
  std::vector<tracked> moved = dg::get(std::move(refs));
  REQUIRE(moved.size() == 5u);
  CHECK(moved[4].value == 4);
  CHECK(tracked::copies.load() == 0);

  auto array = dg::on(here).options(dg::num_returns<2>{}).submit(count_to, 2);
  CHECK(dg::get(array) == std::vector<int>{0, 1});
  auto outer = dg::on(here).options(dg::dynamic).submit(count_to, 3);
  CHECK(dg::get(outer.get()) == std::vector<int>{0, 1, 2});
  CHECK(dg::get(std::vector<dg::ref<int>>()).empty());
}

TEST_CASE("get waits for all, then throws the first failure in argument order", "[handles][get][S-WAIT-8]") {
  support::watchdog dog("handles: get with failures");
  gate slow;
  std::atomic<bool> ended{false};
  dg::thread_pool pool(2);
  auto second = pool.submit([]() -> int { throw boom("second"); });
  second.wait();
  auto first = pool.submit([&]() -> int {
    slow.pass();
    throw boom("first");
  });
  auto third = pool.submit([&] {
    slow.pass();
    ended = true;
    return 3;
  });
  std::thread opener([&] { slow.open(); });
  const std::string text = message_of([&] { dg::get(first, second, third); });
  CHECK(text == "first");
  CHECK(ended.load());
  opener.join();
  std::vector<dg::ref<int>> refs{third, second, first};
  CHECK(message_of([&] { dg::get(refs); }) == "second");
}

TEST_CASE("wait gives the ready and the pending, each in input order", "[handles][wait][S-WAIT-3]") {
  dg::manual_executor later;
  std::vector<dg::ref<int>> refs;
  refs.push_back(dg::on(later).submit([] { return 0; }));
  refs.push_back(dg::put(1));
  refs.push_back(dg::on(later).submit([] { return 2; }));
  dg::inline_executor here;
  refs.push_back(dg::on(here).submit([]() -> int { throw boom(); }));
  {
    auto [ready, pending] = dg::wait(refs, 2);
    REQUIRE(ready.size() == 2u);
    REQUIRE(pending.size() == 2u);
    CHECK(ready[0] == refs[1]);
    CHECK(ready[1] == refs[3]);  // a failed one is ready
    CHECK(pending[0] == refs[0]);
    CHECK(pending[1] == refs[2]);
  }
  {
    auto result = dg::wait(refs, 4, 5ms);
    CHECK(result.ready.size() == 2u);
    CHECK(result.pending.size() == 2u);
  }
  for (const auto& r : refs) CHECK(r.valid());
  later.run_all();
  {
    auto [ready, pending] = dg::wait(refs, 4);
    CHECK(ready == refs);
    CHECK(pending.empty());
  }
}

TEST_CASE("wait for nothing returns at once, wait asks for one by default", "[handles][wait][S-WAIT-3]") {
  dg::manual_executor later;
  std::vector<dg::ref<int>> refs{dg::on(later).submit([] { return 0; }), dg::put(1)};
  auto by_default = dg::wait(refs);
  REQUIRE(by_default.ready.size() == 1u);
  CHECK(by_default.ready[0] == refs[1]);
  const std::vector<dg::ref<int>> none;
  auto nothing = dg::wait(none, 0);
  CHECK(nothing.ready.empty());
  CHECK(nothing.pending.empty());
}

TEST_CASE("each occurrence of a duplicate counts in wait", "[handles][wait][S-DETAIL-9]") {
  dg::manual_executor later;
  auto one = dg::put(1);
  auto never = dg::on(later).submit([] { return 0; });
  const std::vector<dg::ref<int>> refs{one, never, one};
  auto [ready, pending] = dg::wait(refs, 2);
  CHECK(ready.size() == 2u);
  CHECK(pending.size() == 1u);
}

TEST_CASE("wait blocks until as many as asked are ready", "[handles][wait][S-WAIT-3]") {
  support::watchdog dog("handles: wait for k");
  gate last;
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<int> {
    for (int i = 0; i < 3; ++i) co_yield i;
    last.pass();
    co_yield 3;
  };
  auto refs = pool.options(dg::num_returns{4}).submit(f);
  auto [ready, pending] = dg::wait(refs, 3);
  REQUIRE(ready.size() == 3u);
  REQUIRE(pending.size() == 1u);
  CHECK(pending[0] == refs[3]);
  last.open();
  refs[3].wait();
}

TEST_CASE("wait_any gives the index of one that is ready", "[handles][wait_any]") {
  support::watchdog dog("handles: wait_any");
  dg::manual_executor later;
  auto never = dg::on(later).submit([] { return 0; });
  auto here = dg::put(std::string("now"));
  CHECK(dg::wait_any(never, here) == 1u);
  CHECK(dg::wait_any(here, never) == 0u);
  CHECK(dg::wait_any_for(1h, never, here, never) == 1u);
  const std::vector<dg::ref<int>> refs{never, never, dg::put(3), never};
  CHECK(dg::wait_any(refs) == 2u);
  CHECK(here.valid());  // nothing is consumed
  CHECK(here.get() == "now");
}

TEST_CASE("wait_any takes streams: ready when the next value is there", "[handles][wait_any][S-STREAM-2]") {
  support::watchdog dog("handles: wait_any of streams");
  dg::manual_executor later;
  dg::inline_executor here;
  auto idle = dg::on(later).submit(count_to, 1);
  auto full = dg::on(here).submit(count_to, 1);
  auto empty = dg::on(here).submit(count_to, 0);
  auto never = dg::on(later).submit([] { return 0; });
  CHECK(dg::wait_any(idle, full) == 1u);
  CHECK(dg::wait_any(empty, full) == 1u);  // an ended one counts only when all have ended
  CHECK(dg::wait_any(empty) == 0u);
  CHECK(dg::wait_any(never, full) == 1u);
  CHECK(full.next_value() == std::optional<int>(0));
  const std::size_t ended = dg::wait_any(empty, full);
  CHECK(ended < 2u);
}

TEST_CASE("wait_any starves none of those that are ready", "[handles][wait_any]") {
  auto a = dg::put(1);
  auto b = dg::put(2);
  auto c = dg::put(3);
  std::array<int, 3> chosen{};
  for (int i = 0; i < 300; ++i) ++chosen[dg::wait_any(a, b, c)];
  for (int n : chosen) CHECK(n > 0);
}

TEST_CASE("the free functions are objects that argument-dependent lookup does not find", "[handles]") {
  static_assert(std::is_object_v<decltype(dg::put)>);
  static_assert(std::is_object_v<decltype(dg::get)>);
  static_assert(std::is_object_v<decltype(dg::wait)>);
  static_assert(std::is_object_v<decltype(dg::wait_any)>);
  static_assert(std::is_object_v<decltype(dg::wait_any_for)>);
  static_assert(std::is_object_v<decltype(dg::cancel)>);
  auto put = dg::put;
  CHECK(put(3).get() == 3);
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

}  // namespace test_handles
