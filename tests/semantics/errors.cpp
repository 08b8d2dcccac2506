// SPDX-License-Identifier: MIT
// The rules S-ERR-1 to S-ERR-4, S-ERR-6 and S-ERR-8: which ref holds an exception. S-ERR-7 and S-ERR-10 are in
// throwing_types.cpp.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_errors {

using support::boom;
using support::count_to;
using support::error_log;
using support::eventually;
using support::fail;
using support::gate;
using support::holds;
using support::message_of;
using support::reporting_to;
using support::throw_after;
using support::tracked;

namespace {

/// The address of the exception object that `r` throws, null if it throws no boom.
template <class Ref>
const void* thrown_by(const Ref& r) {
  try {
    static_cast<void>(r.get());
  } catch (const boom& b) {
    return &b;
  } catch (...) {
  }
  return nullptr;
}

}  // namespace

// ---------------------------------------------------------------------------------------------- 1

TEST_CASE("get throws the very object that the task threw, every time", "[errors][S-ERR-1]") {
  support::watchdog dog("errors: same object");
  dg::thread_pool pool(2);
  auto r = pool.submit(fail, "it broke");
  const void* first = thrown_by(r);
  REQUIRE(first != nullptr);
  CHECK(thrown_by(r) == first);
  const dg::ref<int> copy = r;
  CHECK(thrown_by(copy) == first);
  CHECK(message_of([&] { r.get(); }) == "it broke");
  CHECK(r.failed());
  CHECK(r.ready());
}

TEST_CASE("the stored exception_ptr is the one of the throw", "[errors][S-ERR-1]") {
  support::watchdog dog("errors: same pointer");
  std::exception_ptr seen;
  dg::thread_pool pool(2);
  auto f = [&]() -> int {
    try {
      throw boom("seen");
    } catch (...) {
      seen = std::current_exception();
      throw;
    }
  };
  auto r = pool.submit(f);
  r.wait();
  CHECK(r.error() == seen);
  CHECK(pool.submit([] { return 1; }).error() == nullptr);
}

TEST_CASE("an exception of any type is kept", "[errors][S-ERR-1]") {
  dg::inline_executor here;
  auto number = dg::on(here).submit([]() -> int { throw 42; });
  CHECK_THROWS_AS(number.get(), int);
  auto text = dg::on(here).submit([]() { throw std::string("no exception type"); });
  CHECK_THROWS_AS(text.get(), std::string);
  auto derived = dg::on(here).submit([]() -> std::string { throw boom(); });
  CHECK_THROWS_AS(derived.get(), std::runtime_error);
}

TEST_CASE("get of an rvalue and get_for throw the stored exception too", "[errors][S-ERR-1]") {
  dg::inline_executor here;
  auto r = dg::on(here).submit(fail, "rvalue");
  CHECK_THROWS_AS(r.get_for(std::chrono::seconds(1)), boom);
  auto copy = r;
  CHECK_THROWS_AS(std::move(copy).get(), boom);
  CHECK_THROWS_AS(std::move(r).take(), boom);
}

// ---------------------------------------------------------------------------------------------- 2

TEST_CASE("static: the values before the throw are readable, later refs hold the exception", "[errors][S-ERR-2]") {
  support::watchdog dog("errors: static");
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  for (int n : {1, 2, 5, 65}) {
    for (int k : {0, 1, n - 1}) {
      if (k >= n) continue;
      auto refs = pool.options(dg::num_returns{n}).submit(throw_after, k);
      const void* object = thrown_by(refs.back());
      REQUIRE(object != nullptr);
      for (int i = 0; i < n; ++i) {
        const auto& r = refs[static_cast<std::size_t>(i)];
        if (i < k) {
          REQUIRE(r.get() == i);
        } else {
          REQUIRE(thrown_by(r) == object);
        }
      }
    }
  }
  CHECK(log.count() == 0u);
}

TEST_CASE("a tuple generator's throw fails the refs of what it had not yielded", "[errors][S-ERR-2]") {
  dg::inline_executor here;
  auto f = []() -> dg::tuple_generator<int, std::string, int> {
    co_yield 1;
    throw boom();
  };
  auto [a, b, c] = dg::on(here).submit(f);
  CHECK(a.get() == 1);
  CHECK(holds<boom>(b));
  CHECK(holds<boom>(c));
}

TEST_CASE("a plain function that throws under num_returns fails all of its refs", "[errors][S-ERR-2]") {
  dg::inline_executor here;
  auto f = []() -> std::vector<int> { throw boom(); };
  auto refs = dg::on(here).options(dg::num_returns<2>{}).submit(f);
  CHECK(holds<boom>(refs[0]));
  CHECK(thrown_by(refs[0]) == thrown_by(refs[1]));
  auto g = []() -> std::pair<int, std::string> { throw boom(); };
  auto [a, b] = dg::on(here).options(dg::num_returns<2>{}).submit(g);
  CHECK(holds<boom>(a));
  CHECK(holds<boom>(b));
}

// ---------------------------------------------------------------------------------------------- 3

TEST_CASE("dynamic: one more ref holds the exception, and the outer one is fine", "[errors][S-ERR-3]") {
  support::watchdog dog("errors: dynamic");
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  for (int k : {0, 1, 2, 63, 64, 65, 1000}) {
    auto outer = pool.options(dg::dynamic).submit(throw_after, k);
    const auto& list = outer.get();
    CHECK_FALSE(outer.failed());
    REQUIRE(list.size() == static_cast<std::size_t>(k) + 1);
    for (int i = 0; i < k; ++i) REQUIRE(list[static_cast<std::size_t>(i)].get() == i);
    CHECK(list[static_cast<std::size_t>(k)].failed());
    CHECK(message_of([&] { list[static_cast<std::size_t>(k)].get(); }) == "after " + std::to_string(k));
    CHECK(holds<boom>(outer.completion()));
  }
  CHECK(log.count() == 0u);
}

TEST_CASE("dynamic: a function that throws gives a list of that one ref", "[errors][S-ERR-3]") {
  dg::inline_executor here;
  auto f = []() -> std::vector<int> { throw boom("no container"); };
  auto outer = dg::on(here).options(dg::dynamic).submit(f);
  REQUIRE(outer.get().size() == 1u);
  CHECK(holds<boom>(outer.get()[0]));
}

// ---------------------------------------------------------------------------------------------- 4

TEST_CASE("streaming: the exception is the next item, after it the end, again and again", "[errors][S-ERR-4]") {
  support::watchdog dog("errors: streaming, next");
  dg::thread_pool pool(2);
  for (int k : {0, 1, 63, 64, 65, 300}) {
    auto stream = pool.submit(throw_after, k);
    for (int i = 0; i < k; ++i) {
      auto r = stream.next();
      REQUIRE(r.has_value());
      REQUIRE(r->get() == i);
    }
    CHECK_FALSE(stream.finished());
    auto last = stream.next();
    REQUIRE(last.has_value());
    CHECK(holds<boom>(*last));
    for (int again = 0; again < 3; ++again) CHECK_FALSE(stream.next().has_value());
    CHECK_FALSE(stream.next_value().has_value());
    CHECK_FALSE(stream.try_next().has_value());
    CHECK(stream.finished());
  }
}

TEST_CASE("streaming: next_value throws the exception once, then is at the end", "[errors][S-ERR-4]") {
  support::watchdog dog("errors: streaming, next_value");
  dg::thread_pool pool(2);
  auto stream = pool.submit(throw_after, 2);
  CHECK(stream.next_value() == std::optional<int>(0));
  CHECK(stream.next_value() == std::optional<int>(1));
  CHECK_THROWS_AS(stream.next_value(), boom);
  CHECK_FALSE(stream.next_value().has_value());
  CHECK_FALSE(stream.next().has_value());
  CHECK(stream.finished());
}

TEST_CASE("streaming: values() throws at that point and then is at its end", "[errors][S-ERR-4]") {
  support::watchdog dog("errors: streaming, values");
  dg::thread_pool pool(2);
  for (int k : {0, 1, 64, 300}) {
    auto stream = pool.submit(throw_after, k);
    int seen = 0;
    std::string text;
    try {
      for (int&& v : stream.values()) {
        REQUIRE(v == seen);
        ++seen;
      }
    } catch (const boom& b) {
      text = b.what();
    }
    CHECK(seen == k);
    CHECK(text == "after " + std::to_string(k));
    CHECK(stream.finished());
    int more = 0;
    for (int&& v : stream.values()) more += 1 + v;
    CHECK(more == 0);
  }
}

TEST_CASE("streaming: a range-for over refs meets the exception as an item", "[errors][S-ERR-4]") {
  support::watchdog dog("errors: streaming, range-for");
  dg::thread_pool pool(2);
  int good = 0, bad = 0;
  for (dg::ref<int> r : pool.submit(throw_after, 5)) {
    r.wait();
    if (r.failed()) {
      ++bad;
    } else {
      REQUIRE(bad == 0);
      ++good;
    }
  }
  CHECK(good == 5);
  CHECK(bad == 1);
}

TEST_CASE("streaming: a stored value is visible before the exception, to any thread that polls", "[errors][S-ERR-4]") {
  dg::manual_executor later;
  auto stream = dg::on(later).submit(throw_after, 1);
  CHECK_FALSE(stream.try_next().has_value());
  later.run_all();
  CHECK_FALSE(stream.finished());
  auto value = stream.try_next();
  REQUIRE(value.has_value());
  CHECK(value->get() == 0);
  CHECK_FALSE(stream.finished());
  auto error = stream.try_next();
  REQUIRE(error.has_value());
  CHECK(holds<boom>(*error));
  CHECK(stream.finished());
}

// ---------------------------------------------------------------------------------------------- 6

TEST_CASE("completion() holds the outcome of the whole task", "[errors][S-ERR-6]") {
  support::watchdog dog("errors: completion");
  dg::thread_pool pool(2);
  auto good = pool.submit([] { return 1; });
  CHECK_NOTHROW(good.completion().get());
  CHECK(good.completion().error() == nullptr);
  auto bad = pool.submit(fail, "whole");
  CHECK(holds<boom>(bad.completion()));
  CHECK(thrown_by(bad.completion()) == thrown_by(bad));

  auto refs = pool.options(dg::num_returns<2>{}).submit(throw_after, 1);
  CHECK(holds<boom>(refs[0].completion()));
  CHECK(holds<boom>(refs[1].completion()));
  CHECK(refs[0].get() == 0);

  auto list = pool.options(dg::dynamic).submit(throw_after, 1);
  CHECK(holds<boom>(list.completion()));
  CHECK(holds<boom>(list.get().completion()));
  CHECK(holds<boom>(list.get()[0].completion()));

  auto fine = pool.options(dg::dynamic).submit(count_to, 3);
  CHECK_NOTHROW(fine.get().completion().get());

  auto stream = pool.submit(throw_after, 1);
  auto end = stream.completion();
  CHECK(holds<boom>(end));
  auto other = pool.submit(count_to, 1);
  CHECK_NOTHROW(other.completion().get());
}

TEST_CASE("completion() is not ready while the task runs", "[errors][S-ERR-6]") {
  support::watchdog dog("errors: completion, not before the end");
  gate last;
  std::atomic<bool> yielded{false};
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<int> {
    co_yield 1;
    yielded = true;
    last.pass();
    throw boom();
  };
  auto stream = pool.submit(f);
  auto end = stream.completion();
  REQUIRE(eventually([&] { return yielded.load(); }));
  CHECK_FALSE(end.ready());
  last.open();
  CHECK(holds<boom>(end));
}

// ---------------------------------------------------------------------------------------------- 8

TEST_CASE("a failed dependency fails the whole chain with the same object, running nothing", "[errors][S-ERR-8]") {
  support::watchdog dog("errors: chain");
  error_log log;
  std::atomic<int> ran{0};
  dg::thread_pool pool(reporting_to(log));
  auto first = pool.submit(fail, "origin");
  auto step = [&](int v) {
    ++ran;
    return v + 1;
  };
  std::vector<dg::ref<int>> chain{first};
  for (int i = 0; i < 50; ++i) chain.push_back(pool.submit(step, chain.back()));
  const void* object = thrown_by(chain.back());
  REQUIRE(object != nullptr);
  for (const auto& r : chain) CHECK(thrown_by(r) == object);
  CHECK(ran.load() == 0);
  CHECK(holds<boom>(chain.back().completion()));
  CHECK(log.count() == 0u);
}

TEST_CASE("one failed dependency among good ones is enough", "[errors][S-ERR-8]") {
  support::watchdog dog("errors: one among several");
  std::atomic<int> ran{0};
  dg::thread_pool pool(2);
  auto good = dg::put(1);
  auto bad = pool.submit(fail, "one of three");
  auto r = pool.submit([&](int, int, int) { ++ran; }, good, bad, good);
  CHECK(message_of([&] { r.get(); }) == "one of three");
  CHECK(ran.load() == 0);
}

TEST_CASE("a failed dependency fails every kind of task", "[errors][S-ERR-8][S-DETAIL-1]") {
  support::watchdog dog("errors: every kind of task");
  dg::thread_pool pool(2);
  auto bad = pool.submit(fail, "input");
  auto g = [](int n) -> dg::generator<int> {
    for (int i = 0; i < n; ++i) co_yield i;
  };
  auto fixed = pool.options(dg::num_returns<2>{}).submit(g, bad);
  CHECK(thrown_by(fixed[0]) == thrown_by(bad));
  CHECK(thrown_by(fixed[1]) == thrown_by(bad));
  auto outer = pool.options(dg::dynamic).submit(g, bad);
  CHECK(thrown_by(outer) == thrown_by(bad));
  auto stream = pool.submit(g, bad);
  auto item = stream.next();
  REQUIRE(item.has_value());
  CHECK(thrown_by(*item) == thrown_by(bad));
  CHECK_FALSE(stream.next().has_value());
  auto t = [](int) -> dg::tuple_generator<int, std::string> {
    co_yield 1;
    co_yield "one";
  };
  auto [a, b] = pool.submit(t, bad);
  CHECK(holds<boom>(a));
  CHECK(holds<boom>(b));
}

TEST_CASE("a dependency that failed long ago fails a new task", "[errors][S-ERR-8]") {
  dg::inline_executor here;
  auto bad = dg::on(here).submit(fail, "old");
  REQUIRE(bad.failed());
  int ran = 0;
  auto r = dg::on(here).submit([&](int) { ++ran; }, bad);
  CHECK(holds<boom>(r));
  CHECK(ran == 0);
}

TEST_CASE("the arguments of a task whose dependency failed are destroyed", "[errors][S-ERR-8][S-MEM-7]") {
  tracked::reset();
  dg::inline_executor here;
  auto bad = dg::on(here).submit(fail, "unused argument");
  auto r = dg::on(here).submit([](const tracked& t, int v) { return t.value + v; }, tracked(1), bad);
  CHECK(r.failed());
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("a later value that fails does not fail a task that depends on an earlier one", "[errors][S-ERR-8]") {
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns<2>{}).submit(throw_after, 1);
  auto good = dg::on(here).submit([](int v) { return v + 1; }, refs[0]);
  auto bad = dg::on(here).submit([](int v) { return v + 1; }, refs[1]);
  CHECK(good.get() == 1);
  CHECK(holds<boom>(bad));
}

// ---------------------------------------------------------------------------------------------- 9

TEST_CASE("a dependency that has failed ends the task only when all its arguments are registered", "[error][S-ERR-8]") {
  support::watchdog dog("failed beside pending dependencies");
  dg::manual_executor never, busy;
  std::atomic<bool> stop{false};
  std::thread runner([&] {
    while (!stop) busy.run_one();
  });
  dg::ref<int> bad = dg::on(busy).submit([]() -> int { throw boom(); });
  for (int round = 0; round < 2000; ++round) {
    auto a = dg::on(never).submit([] { return 1; });
    auto b = dg::on(never).submit([] { return 2; });
    auto r = dg::on(busy).submit([](int, int, int) { return 3; }, bad, std::move(a), std::move(b));
    CHECK(holds<boom>(r));
    never.run_all();
  }
  stop = true;
  runner.join();
}

}  // namespace test_errors
