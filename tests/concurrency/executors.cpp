// SPDX-License-Identifier: MIT
// Behaviour that is the same on every executor, of the library or of a user: what tasks return, and how.
// executors_running.cpp tests what running tasks may do there.

#include "../catch.hpp"
#include "executor_fixtures.hpp"

#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace test_executors {

namespace {

using support::count_to;

dg::generator<int> fails_after(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
  throw support::boom("after the values");
}

void plain_functions(const dg::executor_target& run) {
  dg::ref<int> value = run.submit([](int a, int b) { return a * b; }, 6, 7);
  CHECK(value.get() == 42);
  dg::ref<std::string> text = run.submit([](const int& v) { return std::to_string(v); }, value);
  CHECK(text.get() == "42");
  dg::ref<void> nothing = run.submit([] {});
  CHECK_NOTHROW(nothing.get());
  for (int i = 0; i < 500; ++i) value = run.submit([](int v) { return v + 1; }, value);
  CHECK(value.get() == 542);
  value.completion().get();
  CHECK_FALSE(value.cancel());
}

void failures(const dg::executor_target& run) {
  dg::ref<int> failed = run.submit([]() -> int { throw support::boom("one"); });
  dg::ref<int> behind = run.submit([](int v) { return v; }, failed);
  CHECK(support::message_of([&] { failed.get(); }) == "one");
  CHECK(support::message_of([&] { behind.get(); }) == "one");
  CHECK(behind.error() == failed.error());
}

void fixed_returns(const dg::executor_target& run) {
  auto exact = run.options(dg::num_returns<3>{}).submit(count_to, 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(exact[i].get() == static_cast<int>(i));
  auto at_run_time = run.options(dg::num_returns{200}).submit(count_to, 200);
  REQUIRE(at_run_time.size() == 200);
  CHECK(at_run_time[199].get() == 199);
  auto fewer = run.options(dg::num_returns<3>{}).submit(count_to, 1);
  CHECK(fewer[0].get() == 0);
  CHECK_THROWS_AS(fewer[1].get(), dg::arity_error);
  CHECK_THROWS_AS(fewer[2].get(), dg::arity_error);
  auto [number, text] = run.submit([]() -> dg::tuple_generator<int, std::string> {
    co_yield 1;
    co_yield "two";
  });
  CHECK(number.get() == 1);
  CHECK(text.get() == "two");
}

void dynamic_returns(const dg::executor_target& run) {
  for (int n : {0, 1, 63, 64, 65, 3000}) {
    dg::ref_list<int> list = run.options(dg::dynamic).submit(count_to, n).get();
    REQUIRE(list.size() == static_cast<std::size_t>(n));
    int expected = 0;
    bool right = true;
    for (const int& value : list.values()) right = right && value == expected++;
    CHECK(right);
    CHECK(expected == n);
  }
  dg::ref_list<int> failed = run.options(dg::dynamic).submit(fails_after, 2).get();
  REQUIRE(failed.size() == 3);
  CHECK(failed[1].get() == 1);
  CHECK_THROWS_AS(failed[2].get(), support::boom);
}

void streams_in_order(const dg::executor_target& run) {
  for (int room : {1, 2, 16, 17, 64}) {
    for (int n : {0, 1, 64, 500}) {
      INFO("room " << room << ", values " << n);
      auto stream = run.options(dg::backpressure{room}).submit(count_to, n);
      int expected = 0;
      while (auto value = stream.next_value())
        if (*value == expected) ++expected;
      CHECK(expected == n);
      CHECK(stream.finished());
      CHECK(stream.completion().ready());
    }
  }
  auto failing = run.submit(fails_after, 2);
  CHECK(failing.next_value() == std::optional<int>(0));
  CHECK(failing.next_value() == std::optional<int>(1));
  CHECK_THROWS_AS(failing.next_value(), support::boom);
  CHECK_FALSE(failing.next_value().has_value());
}

void bounded_producers(const dg::executor_target& run) {
  for (int room : {1, 16, 64}) {
    std::atomic<int> begun{0};
    auto stream = run.options(dg::backpressure{room}).submit([&]() -> dg::generator<int> {
      for (int i = 0; i < 300; ++i) {
        ++begun;
        co_yield i;
      }
    });
    bool bounded = true;
    int taken = 0;
    while (stream.next()) {
      ++taken;
      bounded = bounded && begun <= taken + room;
    }
    CHECK(taken == 300);
    CHECK(bounded);
  }
}

void dropped_streams(const dg::executor_target& run) {
  auto make = [](int n) -> dg::generator<support::tracked> {
    support::tracked local(-1);
    for (int i = 0; i < n; ++i) co_yield i;
  };
  std::vector<dg::ref<void>> completions;
  for (int round = 0; round < 60; ++round) {
    auto stream = run.options(dg::backpressure{1 + round % 20}).submit(make, 100);
    for (int i = 0; i < round % 7; ++i) (void)stream.next();
    completions.push_back(stream.completion());
    if (round % 3 == 0) stream.detach();
    if (round % 3 == 1) stream.cancel();
  }
  for (auto& completion : completions) completion.wait();
  for (std::size_t i = 0; i < completions.size(); i += 3) CHECK_FALSE(completions[i].failed());
}

void waiting_for_several(const dg::executor_target& run) {
  std::vector<dg::ref<int>> refs;
  for (int i = 0; i < 20; ++i) refs.push_back(run.submit([i] { return i; }));
  CHECK(dg::wait(refs, 20).ready == refs);
  auto a = run.submit([] { return 1; });
  auto b = run.submit(count_to, 1);
  CHECK(dg::wait_any(a, b) < 2);
  auto both = dg::get(refs[4], refs[5]);
  CHECK(both == std::tuple<int, int>(4, 5));
}

void submitting_inside(const dg::executor_target& run) {
  dg::ref<dg::ref<int>> outer = run.submit([run] { return run.submit([] { return 9; }); });
  CHECK(outer.get().get() == 9);
}

void streams_of_streams(const dg::executor_target& run) {
  auto stream = run.options(dg::backpressure{2}).submit(count_to, 200);
  for (int i = 0; i < 4; ++i)
    stream = run.options(dg::backpressure{2})
                 .submit(
                     [](dg::ref_stream<int> in) -> dg::generator<int> {
                       while (auto value = in.next_value()) co_yield *value + 1;
                     },
                     std::move(stream));
  int expected = 4;
  while (auto value = stream.next_value())
    if (*value == expected) ++expected;
  CHECK(expected == 204);
}

void awaiting(const dg::executor_target& run) {
  dg::promise<int> outside;
  struct body {
    static dg::task<int> twice(int n) { co_return 2 * n; }
    static dg::task<long> sum(dg::ref_stream<int> in, dg::ref<int> late) {
      long total = 0;
      while (auto v = co_await in.async_value()) total += co_await twice(*v);
      auto [a, b] = co_await dg::when_all(twice(3), dg::put(4));
      co_await dg::this_task::yield();
      co_return total + a + b + co_await late;
    }
  };
  auto r =
      run.submit(&body::sum, run.options(dg::backpressure{3}).submit(count_to, 100), dg::unresolved(outside.get_ref()));
  outside.set_value(1000);
  CHECK(r.get() == 9900 + 6 + 4 + 1000);
  auto any =
      run.submit([](dg::ref<int> never,
                    dg::ref<int> there) -> dg::task<std::size_t> { co_return co_await dg::when_any(never, there); },
                 dg::unresolved(dg::promise<int>().get_ref()), dg::unresolved(dg::put(1)));
  CHECK(any.get() < 2);
}

void retries(const dg::executor_target& run) {
  auto with = run.options(dg::max_retries{2}, dg::backpressure{2});
  std::atomic<int> steps{0};
  auto body = [&steps](int n) -> dg::generator<int> {
    for (int i = 0; i < n; ++i) {
      if (i == 3 && dg::this_task::attempt() < 3) throw support::boom("again");
      ++steps;
      co_yield i;
    }
  };
  std::vector<int> seen;
  for (int v : with.submit(body, 6).values()) seen.push_back(v);
  CHECK(seen == std::vector<int>{0, 1, 2, 3, 4, 5});
  CHECK(steps == 3 + 3 + 6);
}

void budgets(const dg::executor_target& run) {
  dg::budget units(10);
  std::stop_source source;
  auto with = run.options(dg::backpressure_by(units, [](int) { return 4; }), dg::stop_on(source.get_token()));
  auto a = with.submit(count_to, 50);
  auto b = with.submit(count_to, 50);
  long sum = 0;
  for (int v : a.values()) sum += v;
  CHECK(sum == 1225);
  source.request_stop();
  CHECK_THROWS_AS(
      [&] {
        while (b.next_value()) {
        }
      }(),
      dg::cancelled_error);
  b = {};
  CHECK(units.used() == 0);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("plain functions and their dependents", "[executor][S-WAIT-1]", fixtures::all) {
  support::watchdog dog("plain functions");
  TestType fixture;
  plain_functions(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("failures reach refs and dependents", "[executor][S-ERR-1][S-ERR-8]", fixtures::all) {
  support::watchdog dog("failures");
  TestType fixture;
  failures(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("fixed numbers of returns", "[executor][S-ARITY-1][S-ARITY-3]", fixtures::all) {
  support::watchdog dog("fixed returns");
  TestType fixture;
  fixed_returns(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("dynamic numbers of returns", "[executor][S-ARITY-8][S-ERR-3]", fixtures::all) {
  support::watchdog dog("dynamic returns");
  TestType fixture;
  dynamic_returns(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("streams in order, to their end, with every limit", "[executor][S-STREAM-1][S-STREAM-4]",
                        fixtures::all) {
  support::watchdog dog("streams");
  TestType fixture;
  streams_in_order(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("no producer runs further ahead than its limit", "[executor][S-STREAM-4]", fixtures::all) {
  support::watchdog dog("bounds");
  TestType fixture;
  bounded_producers(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("dropped, detached and cancelled streams leak nothing",
                        "[executor][S-STREAM-6][S-MEM-4]", fixtures::all) {
  support::watchdog dog("dropped streams");
  support::tracked::reset();
  {
    TestType fixture;
    dropped_streams(dg::on(fixture.executor));
  }
  CHECK(support::tracked::live == 0);
}

TEMPLATE_LIST_TEST_CASE("waiting for several tasks", "[executor][S-WAIT-3][S-WAIT-8]", fixtures::all) {
  support::watchdog dog("waiting for several");
  TestType fixture;
  waiting_for_several(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("a task may submit to its own executor", "[executor][S-WAIT-5]", fixtures::all) {
  support::watchdog dog("submitting inside");
  TestType fixture;
  submitting_inside(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("streams that read streams, all of it on one executor that does not block",
                        "[executor][S-STREAM-7]", fixtures::pools) {
  support::watchdog dog("streams of streams");
  TestType fixture;
  streams_of_streams(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("coroutines that await tasks, refs, promises and streams", "[executor][S-AWAIT-1][S-WAIT-6]",
                        fixtures::all) {
  support::watchdog dog("awaiting on executors");
  TestType fixture;
  awaiting(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("failed attempts and their retries", "[executor][S-RETRY-1][S-RETRY-2]", fixtures::all) {
  support::watchdog dog("retries on executors");
  TestType fixture;
  retries(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("budgets and tokens", "[executor][S-AWAIT-4][S-CANCEL-2]", fixtures::all) {
  support::watchdog dog("budgets on executors");
  TestType fixture;
  budgets(dg::on(fixture.executor));
}

}  // namespace test_executors
