// SPDX-License-Identifier: MIT
// The rules S-ARITY-1, 2, 3, 6, 8 and 9: how many values a task yields, how many its caller asked for, and what happens
// where too few are yielded.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <array>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace test_arity {

using support::arity;
using support::arity_of;
using support::captured_stderr;
using support::count_to;
using support::error_log;
using support::eventually;
using support::first;
using support::gate;
using support::holds;
using support::message_of;
using support::occurrences;
using support::progress;
using support::reporting_to;
using support::values_of;
using support::watched;
using support::witness;

namespace {

dg::generator<int> nothing() { co_return; }

dg::generator<int> nested(int n) { co_yield dg::elements_of(count_to(n)); }

}  // namespace

// ---------------------------------------------------------------------------------------------- 1

TEST_CASE("N yielded values fill N refs in yield order", "[arity][S-ARITY-1]") {
  support::watchdog dog("arity: N values fill N refs");
  dg::thread_pool pool(2);
  auto three = pool.options(dg::num_returns<3>{}).submit(count_to, 3);
  CHECK(values_of(three) == first(3));
  for (int n : {0, 1, 2, 3, 63, 64, 65, 1000}) {
    auto refs = pool.options(dg::num_returns{n}).submit(count_to, n);
    REQUIRE(refs.size() == static_cast<std::size_t>(n));
    CHECK(values_of(refs) == first(n));
    for (const auto& r : refs) CHECK_FALSE(r.failed());
  }
}

TEST_CASE("the refs' values and the outcome of the task are in order when exactly N are yielded",
          "[arity][S-ARITY-1]") {
  support::watchdog dog("arity: exactly N");
  error_log log;
  progress p;
  dg::thread_pool pool(reporting_to(log));
  auto refs = pool.options(dg::num_returns<4>{}).submit(watched, &p, 4);
  refs[0].completion().get();
  CHECK(p.ended.load());
  CHECK(p.passed.load() == 4);
  CHECK(p.frames->load() == 0);
  CHECK(values_of(refs) == first(4));
  CHECK(log.count() == 0u);
}

TEST_CASE("refs may be read in any order", "[arity][S-ARITY-1]") {
  support::watchdog dog("arity: any order");
  dg::thread_pool pool(1);
  auto refs = pool.options(dg::num_returns<5>{}).submit(count_to, 5);
  for (std::size_t i = 5; i-- > 0;) CHECK(refs[i].get() == static_cast<int>(i));
}

TEST_CASE("values yielded through a nested generator count like the outer generator's own", "[arity][S-ARITY-1]") {
  support::watchdog dog("arity: nested");
  dg::thread_pool pool(2);
  auto refs = pool.options(dg::num_returns<3>{}).submit(nested, 3);
  CHECK(values_of(refs) == first(3));
  refs[0].completion().get();
}

TEST_CASE("the values of a task on any executor fill its refs in yield order", "[arity][S-ARITY-1]") {
  dg::inline_executor here;
  auto now = dg::on(here).options(dg::num_returns<3>{}).submit(count_to, 3);
  for (const auto& r : now) REQUIRE(r.ready());
  CHECK(values_of(now) == first(3));

  dg::manual_executor later;
  auto refs = dg::on(later).options(dg::num_returns<3>{}).submit(count_to, 3);
  for (const auto& r : refs) REQUIRE_FALSE(r.ready());
  later.run_all();
  for (const auto& r : refs) REQUIRE(r.ready());
  CHECK(values_of(refs) == first(3));
}

TEST_CASE("a tuple generator fills one ref of each type", "[arity][S-ARITY-1]") {
  dg::inline_executor here;
  auto f = []() -> dg::tuple_generator<int, std::string, std::unique_ptr<int>> {
    co_yield 7;
    co_yield "seven";
    auto last = std::make_unique<int>(77);
    co_yield std::move(last);
  };
  auto [a, b, c] = dg::on(here).submit(f);
  static_assert(std::is_same_v<decltype(a), dg::ref<int>>);
  static_assert(std::is_same_v<decltype(b), dg::ref<std::string>>);
  static_assert(std::is_same_v<decltype(c), dg::ref<std::unique_ptr<int>>>);
  CHECK(a.get() == 7);
  CHECK(b.get() == "seven");
  CHECK(*c.get() == 77);
}

// ---------------------------------------------------------------------------------------------- 2

TEST_CASE("a ref is ready as soon as its value is yielded", "[arity][S-ARITY-2]") {
  support::watchdog dog("arity: ready as soon as yielded");
  gate between;
  std::atomic<bool> first_stored{false};
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<int> {
    co_yield 10;
    first_stored = true;
    between.pass();
    co_yield 20;
  };
  auto refs = pool.options(dg::num_returns<2>{}).submit(f);
  CHECK(refs[0].get() == 10);
  REQUIRE(eventually([&] { return first_stored.load(); }));
  CHECK(refs[0].ready());
  CHECK_FALSE(refs[1].ready());
  CHECK_FALSE(refs[0].completion().ready());
  between.open();
  CHECK(refs[1].get() == 20);
}

TEST_CASE("a task that depends on ref i runs while its producer still runs", "[arity][S-ARITY-2]") {
  support::watchdog dog("arity: dependent beside its producer");
  gate dependent_ran;
  dg::thread_pool pool(2);
  // The producer does not continue before the dependent of its first value has run.
  auto f = [&]() -> dg::generator<int> {
    co_yield 1;
    dependent_ran.pass();
    co_yield 2;
  };
  auto refs = pool.options(dg::num_returns<2>{}).submit(f);
  auto dependent = pool.submit(
      [&](int v) {
        dependent_ran.open();
        return v + 100;
      },
      refs[0]);
  REQUIRE(eventually([&] { return dependent.ready(); }));
  CHECK(dependent.get() == 101);
  CHECK(refs[1].get() == 2);
}

TEST_CASE("each ref in turn is ready while the next is not", "[arity][S-ARITY-2]") {
  support::watchdog dog("arity: one by one");
  dg::thread_pool pool(1);
  constexpr std::size_t n = 5;
  std::array<gate, n> doors;
  auto f = [&]() -> dg::generator<int> {
    for (std::size_t i = 0; i < n; ++i) {
      doors[i].pass();
      co_yield static_cast<int>(i);
    }
  };
  auto refs = pool.options(dg::num_returns<n>{}).submit(f);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i; j < n; ++j) REQUIRE_FALSE(refs[j].ready());
    doors[i].open();
    REQUIRE(eventually([&] { return refs[i].ready(); }));
  }
  CHECK(values_of(refs) == first(static_cast<int>(n)));
}

// ---------------------------------------------------------------------------------------------- 3

TEST_CASE("too few values: the given ones stay, the missing ones hold arity_error", "[arity][S-ARITY-3]") {
  support::watchdog dog("arity: too few");
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  for (int n : {1, 2, 5, 64, 130}) {
    for (int k : {0, 1, n / 2, n - 1}) {
      if (k >= n) continue;
      auto refs = pool.options(dg::num_returns{n}).submit(count_to, k);
      for (int i = 0; i < k; ++i) REQUIRE(refs[static_cast<std::size_t>(i)].get() == i);
      for (int i = k; i < n; ++i) REQUIRE(arity_of(refs[static_cast<std::size_t>(i)]) == arity{n, k});
      CHECK(arity_of(refs[0].completion()) == arity{n, k});
    }
  }
  CHECK(log.count() == 0u);  // every error has a ref that carries it
}

TEST_CASE("too few values under an arity in the type", "[arity][S-ARITY-3]") {
  support::watchdog dog("arity: too few, static");
  dg::thread_pool pool(2);
  auto refs = pool.options(dg::num_returns<3>{}).submit(count_to, 2);
  CHECK(refs[0].get() == 0);
  CHECK(refs[1].get() == 1);
  CHECK(arity_of(refs[2]) == arity{3, 2});
  CHECK(refs[2].failed());
  CHECK_FALSE(refs[1].failed());
}

TEST_CASE("a task that yields nothing fails every ref", "[arity][S-ARITY-3]") {
  support::watchdog dog("arity: nothing");
  dg::thread_pool pool(2);
  auto refs = pool.options(dg::num_returns<2>{}).submit(nothing);
  CHECK(arity_of(refs[0]) == arity{2, 0});
  CHECK(arity_of(refs[1]) == arity{2, 0});
}

TEST_CASE("an arity error names the task and both numbers", "[arity][S-ARITY-3]") {
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns<17>{}, dg::name{"short measure"}).submit(count_to, 13);
  const std::string text = message_of([&] { refs[16].get(); });
  CHECK(occurrences(text, "short measure") == 1u);
  CHECK(occurrences(text, "17") >= 1u);
  CHECK(occurrences(text, "13") >= 1u);
}

TEST_CASE("an arity error is an error of this library and a runtime error", "[arity][S-ARITY-3]") {
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns<1>{}).submit(nothing);
  CHECK_THROWS_AS(refs[0].get(), dg::error);
  CHECK_THROWS_AS(refs[0].get(), std::runtime_error);
}

TEST_CASE("a tuple generator that ends early fails the missing refs", "[arity][S-ARITY-3]") {
  dg::inline_executor here;
  auto f = []() -> dg::tuple_generator<int, std::string, double> { co_yield 1; };
  auto [a, b, c] = dg::on(here).submit(f);
  CHECK(a.get() == 1);
  CHECK(arity_of(b) == arity{3, 1});
  CHECK(arity_of(c) == arity{3, 1});
}

TEST_CASE("a value out of type order fails its ref and all later ones, and ends the task there", "[arity][S-ARITY-3]") {
  dg::inline_executor here;
  progress p;
  auto f = [&]() -> dg::tuple_generator<int, std::string, int> {
    const witness frame(*p.frames);
    co_yield 1;
    ++p.passed;
    co_yield 2;
    ++p.passed;
    co_yield 3;
    p.ended = true;
  };
  auto [a, b, c] = dg::on(here).options(dg::name{"crossed"}).submit(f);
  CHECK(a.get() == 1);
  CHECK(holds<dg::type_order_error>(b));
  CHECK(holds<dg::type_order_error>(c));
  CHECK(holds<dg::type_order_error>(a.completion()));
  CHECK(p.passed.load() == 1);
  CHECK_FALSE(p.ended.load());
  CHECK(p.frames->load() == 0);
  CHECK(occurrences(message_of([&, &b_ = b] { b_.get(); }), "crossed") >= 1u);
}

// ---------------------------------------------------------------------------------------------- 6

TEST_CASE("num_returns<1> gives an array of one ref, of the one value itself", "[arity][S-ARITY-6]") {
  dg::inline_executor here;
  auto one = []() -> dg::generator<std::vector<int>> {
    std::vector<int> v{1, 2, 3};
    co_yield std::move(v);
  };
  auto refs = dg::on(here).options(dg::num_returns<1>{}).submit(one);
  static_assert(std::is_same_v<decltype(refs), std::array<dg::ref<std::vector<int>>, 1>>);
  CHECK(refs[0].get() == std::vector<int>{1, 2, 3});
}

TEST_CASE("num_returns<0> runs the task and gives an empty array", "[arity][S-ARITY-6]") {
  support::watchdog dog("arity: none asked");
  error_log log;
  progress p;
  {
    dg::thread_pool pool(reporting_to(log));
    auto refs = pool.options(dg::num_returns<0>{}).submit(watched, &p, 0);
    static_assert(std::is_same_v<decltype(refs), std::array<dg::ref<int>, 0>>);
    auto also = pool.options(dg::num_returns{0}).submit(watched, &p, 0);
    CHECK(also.empty());
  }
  CHECK(p.ended.load());
  CHECK(p.frames->load() == 0);
  CHECK(log.count() == 0u);
}

TEST_CASE("under num_returns<0> a yield is a surplus yield", "[arity][S-ARITY-6][S-ARITY-4]") {
  support::watchdog dog("arity: none asked, one given");
  error_log log;
  progress p;
  {
    dg::thread_pool pool(reporting_to(log));
    [[maybe_unused]] auto a = pool.options(dg::num_returns<0>{}).submit(watched, &p, 1);
    [[maybe_unused]] auto b = pool.options(dg::num_returns{0}).submit(watched, &p, 1);
  }
  CHECK(p.passed.load() == 0);
  CHECK_FALSE(p.ended.load());
  CHECK(p.frames->load() == 0);
  CHECK(log.count_of<dg::arity_error>() == 2u);
}

TEST_CASE("a run-time arity of one gives a vector of one ref", "[arity][S-ARITY-6]") {
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns{1}).submit(count_to, 1);
  static_assert(std::is_same_v<decltype(refs), std::vector<dg::ref<int>>>);
  REQUIRE(refs.size() == 1u);
  CHECK(refs[0].get() == 0);
}

// ---------------------------------------------------------------------------------------------- 8

TEST_CASE("dynamic: the task sets the number, 0 included", "[arity][S-ARITY-8]") {
  support::watchdog dog("arity: dynamic");
  dg::thread_pool pool(2);
  for (int n : {0, 1, 2, 63, 64, 65, 127, 128, 129, 5000}) {
    auto outer = pool.options(dg::dynamic).submit(count_to, n);
    static_assert(std::is_same_v<decltype(outer), dg::ref<dg::ref_list<int>>>);
    const auto& list = outer.get();
    REQUIRE(list.size() == static_cast<std::size_t>(n));
    CHECK(list.empty() == (n == 0));
    CHECK(values_of(list) == first(n));
    outer.completion().get();
  }
}

TEST_CASE("dynamic: the list is ready when the task has ended, not before", "[arity][S-ARITY-8]") {
  support::watchdog dog("arity: dynamic, not before the end");
  gate last;
  std::atomic<bool> yielded{false};
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<int> {
    co_yield 1;
    yielded = true;
    last.pass();
  };
  auto outer = pool.options(dg::dynamic).submit(f);
  REQUIRE(eventually([&] { return yielded.load(); }));
  CHECK_FALSE(outer.ready());
  last.open();
  CHECK(outer.get().size() == 1u);
}

TEST_CASE("streaming: any number, 0 included", "[arity][S-ARITY-8]") {
  support::watchdog dog("arity: streaming");
  dg::thread_pool pool(2);
  for (int n : {0, 1, 2, 63, 64, 65, 127, 128, 129, 5000}) {
    auto stream = pool.submit(count_to, n);
    static_assert(std::is_same_v<decltype(stream), dg::ref_stream<int>>);
    std::vector<int> seen;
    for (dg::ref<int> r : stream) seen.push_back(r.get());
    CHECK(seen == first(n));
    CHECK(stream.finished());
    CHECK_FALSE(stream.next().has_value());
  }
}

TEST_CASE("co_return ends a sequence early", "[arity][S-ARITY-8]") {
  support::watchdog dog("arity: co_return");
  dg::thread_pool pool(2);
  auto f = [](int n) -> dg::generator<int> {
    for (int i = 0;; ++i) {
      if (i == n) co_return;
      co_yield i;
    }
  };
  auto list = pool.options(dg::dynamic).submit(f, 3);
  CHECK(values_of(list.get()) == first(3));
  auto stream = pool.options(dg::streaming).submit(f, 2);
  CHECK(stream.next_value() == std::optional<int>(0));
  CHECK(stream.next_value() == std::optional<int>(1));
  CHECK_FALSE(stream.next_value().has_value());
  auto none = pool.submit(nothing);
  CHECK_FALSE(none.next().has_value());
  CHECK(none.finished());
}

TEST_CASE("a container's elements under dynamic and streaming", "[arity][S-ARITY-8][S-ARITY-7]") {
  support::watchdog dog("arity: container, dynamic and streaming");
  dg::thread_pool pool(2);
  auto make = [](int n) { return first(n); };
  for (int n : {0, 1, 64, 200}) {
    auto list = pool.options(dg::dynamic).submit(make, n);
    CHECK(values_of(list.get()) == first(n));
    auto stream = pool.options(dg::streaming).submit(make, n);
    std::vector<int> seen;
    for (int&& v : stream.values()) seen.push_back(v);
    CHECK(seen == first(n));
  }
}

// ---------------------------------------------------------------------------------------------- 9

TEST_CASE("the type of the result shows the number of returns that was asked for", "[arity][S-ARITY-9]") {
  using pool = dg::thread_pool;
  auto gen = [](pool& p) { return p.options(dg::num_returns<3>{}).submit(count_to, 3); };
  auto run_time = [](pool& p) { return p.options(dg::num_returns{3}).submit(count_to, 3); };
  auto tuple = [](pool& p) {
    return p.options(dg::num_returns<2>{}).submit([]() -> dg::tuple_generator<int, double> {
      co_yield 1;
      co_yield 2.0;
    });
  };
  static_assert(std::is_same_v<std::invoke_result_t<decltype(gen), pool&>, std::array<dg::ref<int>, 3>>);
  static_assert(std::is_same_v<std::invoke_result_t<decltype(run_time), pool&>, std::vector<dg::ref<int>>>);
  static_assert(
      std::is_same_v<std::invoke_result_t<decltype(tuple), pool&>, std::tuple<dg::ref<int>, dg::ref<double>>>);
  support::watchdog dog("arity: types");
  pool p(2);
  auto [a, b] = tuple(p);
  CHECK(a.get() == 1);
  CHECK(b.get() == 2.0);
  CHECK(values_of(gen(p)) == first(3));
  CHECK(values_of(run_time(p)) == first(3));
}

TEST_CASE("an arity that only run time can know is checked at run time", "[arity][S-ARITY-9]") {
  dg::inline_executor here;
  captured_stderr quiet;
  for (int asked = 0; asked < 5; ++asked) {
    for (int given = 0; given < 5; ++given) {
      auto refs = dg::on(here).options(dg::num_returns{asked}).submit(count_to, given);
      REQUIRE(refs.size() == static_cast<std::size_t>(asked));
      for (int i = 0; i < asked; ++i) {
        const auto& r = refs[static_cast<std::size_t>(i)];
        if (i < given) {
          CHECK(r.get() == i);
        } else {
          CHECK(arity_of(r) == arity{asked, given});
        }
      }
      if (asked > 0 && given > asked) CHECK(arity_of(refs[0].completion()) == arity{asked, asked + 1});
    }
  }
}

TEST_CASE("a wait for a value that never comes ends with the task, whatever the number of the value",
          "[arity][S-ERR-7]") {
  struct body {
    static dg::generator<int> one() { co_yield 1; }
    static dg::task<bool> fails(dg::ref<int> r) {
      co_await dg::when_any(r);
      co_return r.failed();
    }
  };
  dg::manual_executor producer, consumer;
  auto refs = dg::on(producer).options(dg::num_returns{200}).submit(body::one);
  std::vector<dg::ref<bool>> waits;
  for (std::size_t i = 1; i < refs.size(); i += 30)  // in each of the buffer's groups of 64
    waits.push_back(dg::on(consumer).submit(body::fails, dg::unresolved(refs[i])));
  consumer.run_all();
  for (auto& w : waits) CHECK_FALSE(w.ready());
  producer.run_all();
  consumer.run_all();
  for (auto& w : waits) {
    REQUIRE(w.ready());
    CHECK(w.get());
  }
}

}  // namespace test_arity
