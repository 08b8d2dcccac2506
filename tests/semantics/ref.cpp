// SPDX-License-Identifier: MIT
// ref, put and get: every member, empty refs, identity, and whether a value is moved out, copied or refused.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <regex>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace test_ref {

using namespace std::chrono_literals;
using support::boom;
using support::count_to;
using support::gate;
using support::holds;
using support::message_of;
using support::move_only;
using support::occurrences;
using support::printed;
using support::tracked;
using support::tracked_to;
using support::witness;

namespace {

/// Copyable, but must be copied only on request.
struct precious {
  int value = 0;
};

}  // namespace
}  // namespace test_ref

template <>
inline constexpr bool dyngen::enable_copy<test_ref::precious> = false;

namespace test_ref {

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

static_assert(dg::enable_copy<int> && dg::enable_copy<std::string> && dg::enable_copy<std::vector<int>>);
static_assert(dg::enable_copy<std::pair<int, std::string>> && dg::enable_copy<std::tuple<int, std::string>>);
static_assert(dg::enable_copy<std::optional<int>>);
static_assert(!dg::enable_copy<move_only> && !dg::enable_copy<std::unique_ptr<int>>);
static_assert(!dg::enable_copy<std::vector<std::unique_ptr<int>>>);
static_assert(!dg::enable_copy<std::vector<std::vector<move_only>>>);
static_assert(!dg::enable_copy<std::pair<int, move_only>> && !dg::enable_copy<std::tuple<move_only, int>>);
static_assert(!dg::enable_copy<std::optional<move_only>>);
static_assert(!dg::enable_copy<precious> && !dg::enable_copy<std::vector<precious>>);

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
  CHECK(message_of([&] { (void)std::move(r).get(); }).find("this value (value #") != std::string::npos);
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

TEST_CASE("get of several waits for all and throws the first failure in argument order", "[wait][S-WAIT-8]") {
  support::watchdog dog("get of several");
  dg::manual_executor one, two, three;
  dg::ref<int> a = dg::on(one).submit([]() -> int { throw support::boom("a"); });
  dg::ref<int> b = dg::on(two).submit([]() -> int { throw support::boom("b"); });
  dg::ref<int> c = dg::on(three).submit([] { return 3; });

  std::atomic<bool> waiting{false}, returned{false}, all_ready{false}, first_thrown{false};
  std::thread waiter([&] {
    waiting = true;
    const std::string message = support::message_of([&] { (void)dg::get(a, b, c); });
    all_ready = a.ready() && b.ready() && c.ready();
    first_thrown = message == "a";
    returned = true;
  });
  while (!waiting) std::this_thread::yield();
  two.run_all();
  one.run_all();
  CHECK_FALSE(returned);
  three.run_all();
  waiter.join();
  CHECK(all_ready);
  CHECK(first_thrown);

  std::vector<dg::ref<int>> range{c, b, a};
  CHECK(support::message_of([&] { (void)dg::get(range); }) == "b");
}

TEST_CASE("get of several gives a tuple, get of a range a vector", "[wait][S-WAIT-8]") {
  support::watchdog dog("get of several values");
  dg::thread_pool pool(2);
  auto [number, text] = dg::get(pool.submit([] { return 1; }), pool.submit([] { return std::string("two"); }));
  CHECK(number == 1);
  CHECK(text == "two");

  std::vector<dg::ref<int>> refs;
  for (int i = 0; i < 10; ++i) refs.push_back(pool.submit([](int n) { return n + 1; }, i));
  CHECK(dg::get(refs) == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  CHECK(refs[3].get() == 4);

  std::vector<dg::ref<std::unique_ptr<int>>> owners;
  for (int i = 0; i < 3; ++i) owners.push_back(pool.submit([i] { return std::make_unique<int>(i); }));
  std::vector<std::unique_ptr<int>> values = dg::get(std::move(owners));
  REQUIRE(values.size() == 3);
  CHECK(*values[2] == 2);
}

}  // namespace test_ref
