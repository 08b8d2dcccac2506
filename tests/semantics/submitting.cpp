// SPDX-License-Identifier: MIT
// From a callable, its arguments and options to handles: what is stored, what is passed to the callable,
// how options combine, and how the elements of a result become values.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <array>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace test_submitting {

using support::boom;
using support::count_to;
using support::eventually;
using support::first;
using support::gate;
using support::holds;
using support::message_of;
using support::move_only;
using support::occurrences;
using support::tracked;
using support::values_of;
using support::witness;

namespace {

dg::generator<char> letters(const std::string& text) {
  for (char c : text) co_yield c;
}

dg::generator<char> letters_of_view(std::string_view text) {
  for (char c : text) co_yield c;
}

dg::generator<int> elements(const std::vector<int>& values) {
  for (int v : values) co_yield v;
}

int add_one(int v) { return v + 1; }

std::string shout(const std::string& text) { return text + "!"; }

struct account {
  int balance = 0;
  int plus(int amount) const { return balance + amount; }
  int deposit(int amount) { return balance += amount; }
  dg::generator<int> steps(int n) const {
    for (int i = 0; i < n; ++i) co_yield balance + i;
  }
};

struct doubler {
  int operator()(int v) const { return 2 * v; }
};

struct counter {
  int calls = 0;
  int operator()() { return ++calls; }
};

/// A binary tree's leaves from left to right, by recursion.
dg::generator<int> leaves(int from, int to) {
  if (to - from == 1) {
    co_yield from;
    co_return;
  }
  const int middle = from + (to - from) / 2;
  co_yield dg::elements_of(leaves(from, middle));
  co_yield dg::elements_of(leaves(middle, to));
}

}  // namespace

// ---------------------------------------------------------------------------------------- options

TEST_CASE("an option set can be stored and reused", "[submit][options]") {
  support::watchdog dog("submit: reuse of options");
  dg::thread_pool pool(2);
  const auto options = pool.options(dg::num_returns<2>{}, dg::name{"kept"});
  for (int i = 0; i < 5; ++i) CHECK(values_of(options.submit(count_to, 2)) == first(2));
  auto copy = options;
  auto refs = copy.submit(count_to, 1);
  CHECK(occurrences(message_of([&] { refs[1].get(); }), "kept") >= 1u);
}

TEST_CASE("an empty option set is the default", "[submit][options]") {
  support::watchdog dog("submit: no options");
  dg::thread_pool pool(1);
  auto r = pool.options().submit(add_one, 1);
  static_assert(std::is_same_v<decltype(r), dg::ref<int>>);
  CHECK(r.get() == 2);
  auto stream = pool.options().submit(count_to, 1);
  static_assert(std::is_same_v<decltype(stream), dg::ref_stream<int>>);
  CHECK(stream.next_value() == std::optional<int>(0));
}

TEST_CASE("option packs nest, with and without a pool", "[submit][options]") {
  support::watchdog dog("submit: nested packs");
  dg::thread_pool pool(2);
  const auto named = dg::options(dg::name{"inner pack"});
  const auto pack = dg::options(named, dg::num_returns<2>{});
  auto refs = pool.options(pack, dg::all_or_nothing).submit(count_to, 1);
  static_assert(std::is_same_v<decltype(refs), std::array<dg::ref<int>, 2>>);
  CHECK(holds<dg::arity_error>(refs[0]));  // all_or_nothing has its effect
  CHECK(occurrences(message_of([&] { refs[0].get(); }), "inner pack") >= 1u);
  dg::inline_executor here;
  CHECK(values_of(dg::on(here).options(pack).submit(count_to, 2)) == first(2));
  auto several = pool.options(dg::options(dg::options(dg::streaming), dg::backpressure{2})).submit(count_to, 3);
  CHECK(several.next_value() == std::optional<int>(0));
}

TEST_CASE("the order of options does not matter", "[submit][options]") {
  dg::inline_executor here;
  auto a = dg::on(here).options(dg::name{"n"}, dg::num_returns{1}).submit(count_to, 1);
  auto b = dg::on(here).options(dg::num_returns{1}, dg::name{"n"}).submit(count_to, 1);
  CHECK(a[0].get() == b[0].get());
}

TEST_CASE("numbers in options may have any integer type", "[submit][options]") {
  dg::inline_executor here;
  const std::size_t size = 2;
  const short small = 2;
  const unsigned char byte = 2;
  const long long large = 2;
  CHECK(dg::on(here).options(dg::num_returns{size}).submit(count_to, 2).size() == 2u);
  CHECK(dg::on(here).options(dg::num_returns{small}).submit(count_to, 2).size() == 2u);
  CHECK(dg::on(here).options(dg::num_returns{byte}).submit(count_to, 2).size() == 2u);
  CHECK(dg::on(here).options(dg::num_returns{large}).submit(count_to, 2).size() == 2u);
  auto stream = dg::on(here).options(dg::backpressure{byte}).submit(count_to, 2);
  CHECK(stream.next_value() == std::optional<int>(0));
  auto other = dg::on(here).options(dg::backpressure{large}).submit(count_to, 2);
  CHECK(other.next_value() == std::optional<int>(0));
}

TEST_CASE("after(refs...) orders without passing values", "[submit][options][after]") {
  dg::manual_executor later;
  dg::inline_executor here;
  auto a = dg::on(later).submit([] { return 1; });
  auto b = dg::on(later).submit([] {});
  int ran = 0;
  auto r = dg::on(here).options(dg::after(a, b)).submit([&](auto... nothing) {
    static_assert(sizeof...(nothing) == 0);
    return ++ran;
  });
  CHECK(ran == 0);
  later.run_one();
  CHECK(ran == 0);
  CHECK_FALSE(r.ready());
  later.run_one();
  CHECK(ran == 1);
  CHECK(r.get() == 1);
}

TEST_CASE("after() may be stored in a pack and reused, and a failure in it fails the task",
          "[submit][options][after]") {
  dg::inline_executor here;
  const auto ready = dg::options(dg::after(dg::put(1)));
  CHECK(dg::on(here).options(ready).submit([] { return 1; }).get() == 1);
  CHECK(dg::on(here).options(ready).submit([] { return 2; }).get() == 2);
  auto bad = dg::on(here).submit([]() -> int { throw boom("earlier"); });
  int ran = 0;
  auto r = dg::on(here).options(dg::after(bad)).submit([&] { return ++ran; });
  CHECK(message_of([&] { r.get(); }) == "earlier");
  CHECK(ran == 0);
}

TEST_CASE("a name is shown in what the library throws for the task", "[submit][options][name]") {
  dg::manual_executor later;
  const std::string given = "a name that is long enough not to be stored in place";
  auto r = dg::on(later).options(dg::name{given}).submit([] { return 1; });
  CHECK(occurrences(message_of([&] { r.get_for(std::chrono::milliseconds(0)); }), given) == 1u);
}

// -------------------------------------------------------------------------------------- arguments

TEST_CASE("arguments are decayed into the task", "[submit][arguments]") {
  dg::manual_executor later;
  dg::ref<std::size_t> r;
  {
    std::vector<int> values{1, 2, 3};
    r = dg::on(later).submit([](const std::vector<int>& v) { return v.size(); }, values);
    values.clear();
  }
  later.run_all();
  CHECK(r.get() == 3u);
}

TEST_CASE("arguments are passed as rvalues", "[submit][arguments]") {
  tracked::reset();
  dg::inline_executor here;
  auto generic = dg::on(here).submit([](auto&& v) { return std::is_same_v<decltype(v), tracked&&>; }, tracked(1));
  CHECK(generic.get());
  tracked t(2);
  auto lvalue = dg::on(here).submit([](auto&& v) { return std::is_same_v<decltype(v), tracked&&>; }, t);
  CHECK(lvalue.get());
  CHECK(t.value == 2);
  CHECK(tracked::copies.load() == 1);
  auto taken = dg::on(here).submit([](tracked v) { return v.value; }, tracked(3));
  CHECK(taken.get() == 3);
  CHECK(tracked::copies.load() == 1);
}

TEST_CASE("a reference parameter of a generator stays valid for the whole run", "[submit][arguments]") {
  support::watchdog dog("submit: reference parameters");
  dg::manual_executor later;
  dg::ref_stream<int> stream;
  {
    const std::vector<int> values{4, 5, 6};
    stream = dg::on(later).options(dg::backpressure{1}).submit(elements, values);
  }
  std::vector<int> seen;
  for (int i = 0; i < 100 && !stream.finished(); ++i) {
    later.run_all();
    while (auto r = stream.try_next()) seen.push_back(r->get());
  }
  CHECK(seen == std::vector<int>{4, 5, 6});
}

TEST_CASE("a text for a const std::string& is converted when it is submitted", "[submit][arguments]") {
  dg::manual_executor later;
  char text[] = "text";
  auto list = dg::on(later).options(dg::dynamic).submit(letters, text);
  auto plain = dg::on(later).submit(shout, text);
  auto literal = dg::on(later).submit(shout, "literal");
  text[0] = 'X';
  later.run_all();
  CHECK(values_of(list.get()) == std::vector<char>{'t', 'e', 'x', 't'});
  CHECK(plain.get() == "text!");
  CHECK(literal.get() == "literal!");
}

TEST_CASE("a view parameter looks into the string that the task keeps", "[submit][arguments]") {
  dg::manual_executor later;
  dg::ref<dg::ref_list<char>> list;
  {
    std::string text(100, 'a');
    list = dg::on(later).options(dg::dynamic).submit(letters_of_view, text);
    text.assign(100, 'b');
  }
  later.run_all();
  CHECK(list.get().size() == 100u);
  CHECK(list.get()[99].get() == 'a');
}

TEST_CASE("std::ref passes the object itself", "[submit][arguments]") {
  dg::inline_executor here;
  int value = 1;
  auto r = dg::on(here).submit([](int& v) { return ++v; }, std::ref(value));
  CHECK(r.get() == 2);
  CHECK(value == 2);
}

TEST_CASE("move-only arguments, callables and results", "[submit][arguments]") {
  support::watchdog dog("submit: move-only");
  dg::thread_pool pool(2);
  auto a = pool.submit([](std::unique_ptr<int> p) { return *p; }, std::make_unique<int>(3));
  CHECK(a.get() == 3);
  auto b = pool.submit([p = std::make_unique<int>(4)] { return *p; });
  CHECK(b.get() == 4);
  auto c = pool.submit([p = std::make_unique<int>(5)]() mutable { return std::move(p); });
  CHECK(*std::move(c).get() == 5);
  auto f = [p = std::make_unique<int>(6)](std::unique_ptr<int> q) -> dg::generator<std::unique_ptr<int>> {
    auto one = std::make_unique<int>(*p);
    co_yield std::move(one);
    co_yield std::move(q);
  };
  auto refs = pool.options(dg::num_returns<2>{}).submit(std::move(f), std::make_unique<int>(7));
  CHECK(*refs[0].get() == 6);
  CHECK(*std::move(refs[1]).take() == 7);
}

TEST_CASE("functions, member functions and function objects are callables", "[submit][callables]") {
  dg::inline_executor here;
  auto on_here = dg::on(here);
  CHECK(on_here.submit(add_one, 1).get() == 2);
  CHECK(on_here.submit(&add_one, 1).get() == 2);
  CHECK(on_here.submit(doubler{}, 4).get() == 8);
  CHECK(on_here.submit(counter{}).get() == 1);
  counter lvalue;
  CHECK(on_here.submit(lvalue).get() == 1);
  CHECK(lvalue.calls == 0);  // the task has its own copy
  const doubler constant;
  CHECK(on_here.submit(constant, 5).get() == 10);
  CHECK(on_here.submit(std::function<int(int)>(add_one), 6).get() == 7);
  CHECK(on_here.submit(&account::plus, account{10}, 5).get() == 15);
  account target{1};
  CHECK(on_here.submit(&account::deposit, &target, 2).get() == 3);
  CHECK(target.balance == 3);
  CHECK(on_here.submit(&account::deposit, std::ref(target), 2).get() == 5);
  CHECK(on_here.submit(&account::plus, std::make_shared<account>(account{20}), 1).get() == 21);
}

TEST_CASE("a member function that is a generator: its object lives with the task", "[submit][callables]") {
  dg::manual_executor later;
  dg::ref<dg::ref_list<int>> list;
  {
    account local{40};
    list = dg::on(later).options(dg::dynamic).submit(&account::steps, local, 3);
    local.balance = 0;
  }
  later.run_all();
  CHECK(values_of(list.get()) == std::vector<int>{40, 41, 42});
}

TEST_CASE("a member function takes its object from a ref", "[submit][callables][dependencies]") {
  dg::inline_executor here;
  auto object = dg::put(account{7});
  CHECK(dg::on(here).submit(&account::plus, object, 3).get() == 10);
  CHECK(dg::on(here).submit(&account::plus, object, dg::put(4)).get() == 11);
}

TEST_CASE("the captures of a lambda live as long as its task", "[submit][callables]") {
  dg::manual_executor later;
  std::atomic<int> captures{0};
  dg::ref<dg::ref_list<int>> list;
  {
    const std::vector<int> data{7, 8, 9};
    list = dg::on(later).options(dg::dynamic).submit([data, w = witness(captures)]() -> dg::generator<int> {
      for (int v : data) co_yield v;
    });
  }
  CHECK(captures.load() == 1);
  later.run_all();
  CHECK(captures.load() == 0);
  CHECK(values_of(list.get()) == std::vector<int>{7, 8, 9});
}

// ---------------------------------------------------------------------------------------- results

TEST_CASE("a view's elements are made on the worker as the view gives them", "[submit][results]") {
  support::watchdog dog("submit: views");
  std::atomic<int> on_caller{0};
  std::vector<int> seen;
  dg::thread_pool pool(2);
  auto caller = std::this_thread::get_id();
  // waiting for the end without helping: nothing runs on this thread
  auto squares = [&](int n) {
    return std::views::iota(0, n) | std::views::transform([&](int i) {
             if (std::this_thread::get_id() == caller) ++on_caller;
             return i * i;
           });
  };
  auto list = pool.options(dg::dynamic).submit(squares, 5);
  REQUIRE(eventually([&] { return list.ready(); }));
  CHECK(on_caller.load() == 0);
  CHECK(values_of(list.get()) == std::vector<int>{0, 1, 4, 9, 16});
  CHECK(values_of(pool.options(dg::num_returns<3>{}).submit(squares, 3)) == std::vector<int>{0, 1, 4});
  auto stream = pool.options(dg::streaming, dg::backpressure{1}).submit(squares, 4);
  while (auto v = stream.next_value()) seen.push_back(*v);
  CHECK(seen == std::vector<int>{0, 1, 4, 9});
}

TEST_CASE("an endless view streams", "[submit][results]") {
  support::watchdog dog("submit: endless view");
  dg::thread_pool pool(1);
  auto stream = pool.options(dg::streaming).submit([] { return std::views::iota(0); });
  for (int i = 0; i < 300; ++i) REQUIRE(stream.next_value() == std::optional<int>(i));
}

TEST_CASE("a view that throws fails the ref of that element", "[submit][results][S-ERR-7]") {
  dg::inline_executor here;
  auto f = [] {
    return std::views::iota(0, 5) | std::views::transform([](int i) {
             if (i == 2) throw boom("element");
             return i;
           });
  };
  auto refs = dg::on(here).options(dg::num_returns<4>{}).submit(f);
  CHECK(refs[1].get() == 1);
  CHECK(holds<boom>(refs[2]));
  CHECK(holds<boom>(refs[3]));
  auto list = dg::on(here).options(dg::dynamic).submit(f);
  REQUIRE(list.get().size() == 3u);
  CHECK(holds<boom>(list.get()[2]));
}

TEST_CASE("any container's elements become values: strings, lists, maps", "[submit][results]") {
  dg::inline_executor here;
  auto text = dg::on(here).options(dg::dynamic).submit([] { return std::string("abc"); });
  CHECK(values_of(text.get()) == std::vector<char>{'a', 'b', 'c'});
  auto list = dg::on(here).options(dg::dynamic).submit([] { return std::list<int>{3, 4}; });
  CHECK(values_of(list.get()) == std::vector<int>{3, 4});
  auto map = dg::on(here).options(dg::dynamic).submit([] {
    return std::map<int, std::string>{{1, "one"}, {2, "two"}};
  });
  REQUIRE(map.get().size() == 2u);
  CHECK(map.get()[1].get().second == "two");
  auto flags = dg::on(here).options(dg::dynamic).submit([] { return std::vector<bool>{true, false}; });
  REQUIRE(flags.get().size() == 2u);
  CHECK(static_cast<bool>(flags.get()[0].get()));
  CHECK_FALSE(static_cast<bool>(flags.get()[1].get()));
}

TEST_CASE("elements are moved out of a container that is no view", "[submit][results]") {
  tracked::reset();
  dg::inline_executor here;
  auto f = [] {
    std::vector<tracked> v;
    v.reserve(4);
    for (int i = 0; i < 4; ++i) v.emplace_back(i);
    return v;
  };
  {
    auto stream = dg::on(here).options(dg::streaming, dg::unbounded).submit(f);
    int i = 0;
    for (tracked&& t : stream.values()) CHECK(t.value == i++);
    CHECK(i == 4);
  }
  CHECK(tracked::copies.load() == 0);
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("a plain function's tuple and pair under num_returns", "[submit][results]") {
  support::watchdog dog("submit: tuples");
  dg::thread_pool pool(2);
  auto tuple = [](int n) { return std::tuple<int, std::string, move_only>(n, std::to_string(n), move_only(n)); };
  auto [a, b, c] = pool.options(dg::num_returns<3>{}).submit(tuple, 7);
  CHECK(a.get() == 7);
  CHECK(b.get() == "7");
  CHECK(c.get().value == 7);
  auto [d, e] = pool.options(dg::num_returns<2>{}).submit([] { return std::pair<int, double>(1, 2.5); });
  CHECK(d.get() == 1);
  CHECK(e.get() == 2.5);
  auto one = pool.options(dg::num_returns<1>{}).submit([] { return std::tuple<int>(4); });
  CHECK(std::get<0>(one).get() == 4);
}

TEST_CASE("a tuple generator's values are ready one by one", "[submit][results][S-ARITY-2]") {
  support::watchdog dog("submit: tuple generator");
  gate between;
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::tuple_generator<int, std::string> {
    co_yield 1;
    between.pass();
    co_yield "one";
  };
  auto [a, b] = pool.submit(f);
  CHECK(a.get() == 1);
  CHECK_FALSE(b.ready());
  between.open();
  CHECK(b.get() == "one");
}

TEST_CASE("elements_of a range yields each of its elements", "[submit][results][elements_of]") {
  tracked::reset();
  dg::inline_executor here;
  auto f = []() -> dg::generator<tracked> {
    std::vector<tracked> values;
    values.reserve(3);
    for (int i = 0; i < 3; ++i) values.emplace_back(i);
    co_yield dg::elements_of(values);
    const std::vector<tracked> none;
    co_yield dg::elements_of(none);
    co_yield 3;
  };
  auto list = dg::on(here).options(dg::dynamic).submit(f);
  REQUIRE(list.get().size() == 4u);
  for (std::size_t i = 0; i < 4; ++i) CHECK(list.get()[i].get().value == static_cast<int>(i));
  CHECK(tracked::live.load() == 4);
}

TEST_CASE("elements_of converts elements, and takes views", "[submit][results][elements_of]") {
  dg::inline_executor here;
  auto f = []() -> dg::generator<std::string> {
    const std::array<const char*, 2> texts{"a", "b"};
    co_yield dg::elements_of(texts);
  };
  CHECK(values_of(dg::on(here).options(dg::dynamic).submit(f).get()) == std::vector<std::string>{"a", "b"});
  auto g = []() -> dg::generator<int> {
    auto numbers = std::views::iota(0, 100);
    co_yield dg::elements_of(numbers);
  };
  CHECK(values_of(dg::on(here).options(dg::dynamic).submit(g).get()) == first(100));
}

TEST_CASE("elements_of another generator, recursively", "[submit][results][elements_of]") {
  support::watchdog dog("submit: recursive generators");
  std::vector<int> seen;
  dg::thread_pool pool(2);
  CHECK(values_of(pool.options(dg::dynamic).submit(leaves, 0, 1000).get()) == first(1000));
  for (int&& v : pool.submit(leaves, 0, 1000).values()) seen.push_back(v);
  CHECK(seen == first(1000));
  seen.clear();
  for (int& v : leaves(0, 100)) seen.push_back(v);
  CHECK(seen == first(100));
}

TEST_CASE("the outer co_yield throws the exception of an inner generator", "[submit][results][elements_of]") {
  dg::inline_executor here;
  auto inner = []() -> dg::generator<int> {
    co_yield 1;
    throw boom();
  };
  auto f = [&]() -> dg::generator<int> {
    bool caught = false;
    try {
      co_yield dg::elements_of(inner());
    } catch (const boom&) {
      caught = true;
    }
    if (caught) co_yield 2;
  };
  CHECK(values_of(dg::on(here).options(dg::dynamic).submit(f).get()) == std::vector<int>{1, 2});
}

TEST_CASE("emplace builds a value in place", "[submit][results][emplace]") {
  struct point {
    int x, y;
    explicit point(int v) : x(v), y(v) {}
    point(int a, int b) : x(a), y(b) {}
    point(point&&) = default;
    point& operator=(point&&) = default;
  };
  dg::inline_executor here;
  auto f = []() -> dg::generator<point> {
    co_yield dg::emplace(1, 2);
    co_yield dg::emplace(3);
  };
  auto list = dg::on(here).options(dg::dynamic).submit(f);
  REQUIRE(list.get().size() == 2u);
  CHECK(list.get()[0].get().y == 2);
  CHECK(list.get()[1].get().y == 3);
  auto texts = []() -> dg::generator<std::string> {
    co_yield dg::emplace(3u, 'x');
    co_yield dg::emplace();
  };
  CHECK(values_of(dg::on(here).options(dg::dynamic).submit(texts).get()) == std::vector<std::string>{"xxx", ""});
}

}  // namespace test_submitting
