// SPDX-License-Identifier: MIT
// max_retries: attempts, and which values of a failed attempt stay, are skipped or are compared. S-RETRY, S-DETAIL-8.

#include "../catch.hpp"
#include "probes.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace test_retrying {

using support::boom;

namespace {

std::atomic<int> steps{0};

/// Yields 0 … n-1, but the first `failures` attempts throw in place of yielding `at`.
dg::generator<support::tracked> flaky(int n, int at, int failures) {
  for (int i = 0; i < n; ++i) {
    if (i == at && dg::this_task::attempt() <= static_cast<unsigned>(failures)) throw boom("at " + std::to_string(i));
    ++steps;
    co_yield i;
  }
  if (at == n && dg::this_task::attempt() <= static_cast<unsigned>(failures)) throw boom("at the end");
}

std::vector<int> values_of(dg::ref_stream<support::tracked> stream) {
  std::vector<int> result;
  for (support::tracked&& v : std::move(stream).values()) result.push_back(v.value);
  return result;
}

const std::vector<int> five{0, 1, 2, 3, 4};

}  // namespace

TEST_CASE("three failures, then success, run exactly the expected steps", "[retry][S-RETRY-1][S-RETRY-2]") {
  support::watchdog dog("exact steps");
  for (int threads : {1, 2}) {
    for (int at = 0; at <= 5; ++at) {
      INFO("threads " << threads << ", fails at " << at);
      dg::thread_pool pool(threads);
      auto with = [&](auto... o) { return pool.options(dg::max_retries{3}, o...); };
      support::tracked::reset();
      steps = 0;
      CHECK(values_of(with().submit(flaky, 5, at, 3)) == five);
      CHECK(steps == 3 * at + 5);
      steps = 0;
      CHECK(values_of(with(dg::backpressure{1}).submit(flaky, 5, at, 3)) == five);
      CHECK(steps == 3 * at + 5);
      steps = 0;
      std::vector<int> listed;
      for (auto r : with(dg::dynamic).submit(flaky, 5, at, 3).get()) listed.push_back(r.get().value);
      CHECK(listed == five);
      CHECK(steps == 3 * at + 5);
      steps = 0;
      std::vector<int> fixed;
      for (auto& r : with(dg::num_returns<5>{}).submit(flaky, 5, at, 3)) fixed.push_back(r.get().value);
      CHECK(fixed == five);
      CHECK(support::eventually([&] { return steps == 3 * at + 5; }));
      steps = 0;
      fixed.clear();
      for (auto& r : with(dg::num_returns{5}, dg::all_or_nothing).submit(flaky, 5, at, 3)) fixed.push_back(r.get().value);
      CHECK(fixed == five);
      CHECK(steps == 3 * at + 5);
      pool.shutdown(dg::shutdown_mode::drain);
      CHECK(pool.stats().retried == 15);
      CHECK(pool.stats().completed == 5);
    }
    CHECK(support::tracked::live == 0);
  }
}

TEST_CASE("readers see the values of a failed attempt while the next one runs, each once", "[retry][S-RETRY-2]") {
  support::watchdog dog("retries are invisible");
  support::gate go;
  dg::thread_pool pool(1);
  auto body = [&go]() -> dg::generator<int> {
    if (dg::this_task::attempt() == 2) go.pass();
    co_yield 10;
    co_yield 20;
    if (dg::this_task::attempt() == 1) throw boom();
    co_yield 30;
  };
  auto refs = pool.options(dg::num_returns<3>{}, dg::max_retries{1}).submit(body);
  CHECK(refs[0].get() == 10);
  CHECK(refs[1].get() == 20);
  CHECK_FALSE(refs[2].ready());
  go.open();
  CHECK(refs[2].get() == 30);
  refs[2].completion().get();
}

TEST_CASE("a value may be taken, and dropped, between two attempts", "[retry][S-RETRY-2]") {
  support::watchdog dog("taken between attempts");
  dg::manual_executor manual;
  support::tracked::reset();
  {
    auto stream = dg::on(manual).options(dg::max_retries{5}, dg::backpressure{2}).submit([]() -> dg::generator<support::tracked> {
      for (int i = 0; i < 6; ++i) {
        co_yield i;
        if (i % 2 == 1 && dg::this_task::attempt() == static_cast<unsigned>(i / 2 + 1)) throw boom();
      }
    });
    for (int i = 0; i < 6; ++i) {
      manual.run_all();
      auto r = stream.try_next();
      REQUIRE(r.has_value());
      CHECK(r->get().value == i);
    }
    manual.run_all();
    CHECK(stream.finished());
    CHECK_FALSE(stream.completion().failed());
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("an attempt with fewer values than are stored ends in nondeterministic_error", "[retry][S-RETRY-4]") {
  support::watchdog dog("nondeterministic");
  std::atomic<int> calls{0};
  dg::thread_pool pool(2);
  auto body = [&calls]() -> dg::generator<int> {
    const bool first = ++calls == 1;
    co_yield 1;
    if (!first) co_return;
    co_yield 2;
    throw boom();
  };
  auto stream = pool.options(dg::max_retries{3}, dg::name{"dice"}).submit(body);
  CHECK(stream.next_value() == 1);
  CHECK(stream.next_value() == 2);
  const std::string said = support::message_of([&] { stream.next_value(); });
  CHECK(said.find("attempt 2 of task 'dice'") != std::string::npos);
  CHECK(support::holds<dg::nondeterministic_error>(stream.completion()));
  CHECK(calls == 2);  // this error is not retried
  calls = 0;
  auto refs = pool.options(dg::max_retries{3}, dg::num_returns<3>{}).submit(body);
  CHECK(refs[1].get() == 2);
  CHECK(support::holds<dg::nondeterministic_error>(refs[2]));
  CHECK(support::holds<dg::nondeterministic_error>(refs[0].completion()));
  calls = 0;
  auto list = pool.options(dg::max_retries{3}, dg::dynamic).submit(body).get();
  REQUIRE(list.size() == 3);
  CHECK(support::holds<dg::nondeterministic_error>(list[2]));
  // A plain function's container, asked for its elements.
  calls = 0;
  auto shrinking = [&calls]() -> std::vector<int> {
    if (++calls == 1) throw boom();
    return {1, 2};
  };
  auto two = pool.options(dg::max_retries{1}, dg::num_returns<2>{}).submit(shrinking);
  CHECK(two[0].get() + two[1].get() == 3);
}

TEST_CASE("a tuple is replayed position by position", "[retry][S-RETRY-5]") {
  support::watchdog dog("tuples");
  std::atomic<int> calls{0};
  dg::thread_pool pool(1);
  auto coroutine = [&calls]() -> dg::tuple_generator<int, std::string, support::tracked> {
    const int call = ++calls;
    co_yield call;
    if (call == 1) throw boom();
    co_yield "s" + std::to_string(call);
    if (call == 2) throw boom();
    co_yield support::tracked(call);
  };
  auto [a, b, c] = pool.options(dg::max_retries{2}).submit(coroutine);
  CHECK(a.get() == 1);
  CHECK(b.get() == "s2");
  CHECK(c.get().value == 3);
  calls = 0;
  auto made = [&calls]() -> std::pair<int, std::unique_ptr<int>> {
    if (++calls == 1) throw boom();
    return {calls.load(), std::make_unique<int>(7)};
  };
  auto [x, y] = pool.options(dg::max_retries{2}, dg::num_returns<2>{}).submit(made);
  CHECK(x.get() == 2);
  CHECK(*y.get() == 7);
}

TEST_CASE("each attempt has its own copy of the callable, and the same arguments as const lvalues",
          "[retry][S-RETRY-6]") {
  support::watchdog dog("copies of the callable");
  std::atomic<int> alive{0};
  dg::thread_pool pool(1);
  {
    std::atomic<int> most{0};
    dg::manual_executor later;  // not before the callable passed here is destroyed
    auto r = dg::on(later).options(dg::max_retries{2}).submit(
        [w = support::witness(alive), n = 0, &most, &alive](const std::string& text, int by_value) mutable -> dg::task<std::string> {
          if (alive > most) most = alive.load();
          ++n;
          if (dg::this_task::attempt() < 3) throw boom();
          co_return text + std::to_string(n + by_value);
        },
        "text", 4);
    later.run_all();
    CHECK(r.get() == "text5");  // n starts at 0 again
    CHECK(most == 2);           // the original and the attempt's own copy: none of an earlier attempt
  }
  CHECK(support::eventually([&] { return alive == 0; }));
  // Dependencies: the values are the same each time, also a consumed one.
  dg::ref<std::string> shared = dg::put(std::string("a"));
  auto joined = pool.options(dg::max_retries{1}).submit(
      [](const std::string& a, const std::unique_ptr<int>& b) {
        if (dg::this_task::attempt() == 1) throw boom();
        return a + std::to_string(*b);
      },
      shared, dg::consume(dg::put(std::make_unique<int>(3))));
  CHECK(joined.get() == "a3");
}

TEST_CASE("an attempt may yield more than an earlier one", "[retry][S-RETRY-7]") {
  support::watchdog dog("more values");
  std::vector<int> seen;
  dg::thread_pool pool(1);
  auto body = []() -> dg::generator<int> {
    const int n = static_cast<int>(dg::this_task::attempt()) * 2;
    for (int i = 0; i < n; ++i) co_yield i * 10 + n;
    if (n < 6) throw boom();
  };
  for (int v : pool.options(dg::max_retries{2}).submit(body).values()) seen.push_back(v);
  CHECK(seen == std::vector<int>{2, 12, 24, 34, 46, 56});  // the values of the attempt that stored them
  support::error_log log;
  dg::thread_pool noisy({.threads = 1, .on_unhandled_error = log.hook()});
  auto refs = noisy.options(dg::max_retries{2}, dg::num_returns<3>{}).submit(body);
  CHECK(refs[2].get() == 24);
  CHECK(support::holds<dg::arity_error>(refs[0].completion()));
}

TEST_CASE("an attempt that yields already stored values out of type order reports the position",
          "[retry][S-RETRY-2][S-ARITY-3]") {
  dg::inline_executor here;
  int attempts = 0;
  auto f = [&attempts]() -> dg::tuple_generator<int, std::string, int> {
    ++attempts;
    co_yield 1;
    if (attempts == 1) {
      co_yield "two";
      throw boom();
    }
    co_yield dg::emplace(2);
  };
  auto [a, b, c] = dg::on(here).options(dg::max_retries{3}).submit(f);
  CHECK(attempts == 2);
  CHECK(a.get() == 1);
  CHECK(b.get() == "two");
  CHECK(support::holds<dg::type_order_error>(c));
  CHECK(support::message_of([&, &c_ = c] { c_.get(); }).find("its position 1 ") != std::string::npos);
}

TEST_CASE("a detached stream is retried, and its values dropped", "[retry][S-STREAM-6]") {
  support::watchdog dog("detached retries");
  support::tracked::reset();
  dg::manual_executor manual;
  {
    steps = 0;
    auto stream = dg::on(manual).options(dg::max_retries{3}, dg::backpressure{2}).submit(flaky, 5, 3, 2);
    manual.run_one();
    auto done = stream.completion();
    std::move(stream).detach();
    manual.run_all();
    done.get();
    CHECK(steps == 3 + 3 + 5);
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("under all_or_nothing the staged values of a failed attempt stay for the attempt that succeeds",
          "[retry][S-DETAIL-8][S-RETRY-2]") {
  support::watchdog dog("staged values");
  support::tracked::reset();
  struct body {
    /// Yields ten times the attempt's number and more; the first two attempts fail at their third value.
    static dg::generator<support::tracked> run(int n, unsigned good_from) {
      const int base = 10 * static_cast<int>(dg::this_task::attempt());
      for (int i = 0; i < n; ++i) {
        if (i == 2 && dg::this_task::attempt() < good_from) throw boom("attempt " + std::to_string(base / 10));
        co_yield base + i;
        co_await dg::this_task::yield();
      }
    }
    static dg::generator<support::tracked> shrinks() {
      co_yield 1;
      if (dg::this_task::attempt() == 2) co_return;
      co_yield 2;
      throw boom();
    }
  };
  {
    dg::manual_executor manual;
    const auto fixed = dg::options(dg::num_returns<4>{}, dg::max_retries{2}, dg::all_or_nothing);
    auto refs = dg::on(manual).options(fixed).submit(body::run, 4, 3u);
    // No ref is ready before the task has ended, whatever is staged and however many attempts there were.
    while (manual.run_one())
      if (!manual.empty())
        for (auto& r : refs) CHECK_FALSE(r.ready());
    std::vector<int> values;
    for (auto& r : refs) values.push_back(r.get().value);
    CHECK(values == std::vector<int>{10, 11, 32, 33});
    auto dynamic = dg::on(manual).options(dg::dynamic, dg::max_retries{2}, dg::all_or_nothing).submit(body::run, 4, 3u);
    manual.run_all();
    values.clear();
    for (const auto& r : dynamic.get()) values.push_back(r.get().value);
    CHECK(values == std::vector<int>{10, 11, 32, 33});
    // No attempt is left: all refs fail with the last exception, and the staged values are destroyed.
    auto failed = dg::on(manual).options(fixed).submit(body::run, 4, 9u);
    auto failed_list = dg::on(manual).options(dg::dynamic, dg::max_retries{2}, dg::all_or_nothing).submit(body::run, 4, 9u);
    manual.run_all();
    for (auto& r : failed) CHECK(support::message_of([&] { r.get(); }) == "attempt 3");
    CHECK(support::message_of([&] { failed_list.get(); }) == "attempt 3");
    CHECK(support::tracked::live == 4 + 4);
    auto fewer = dg::on(manual).options(dg::num_returns<3>{}, dg::max_retries{2}, dg::all_or_nothing).submit(body::shrinks);
    manual.run_all();
    for (auto& r : fewer) CHECK(support::holds<dg::nondeterministic_error>(r));
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("values that a new attempt skips are made and dropped, and use no capacity", "[retry][S-RETRY-2][L-19]") {
  support::watchdog dog("skipped values");
  support::tracked::reset();
  {
    dg::manual_executor manual;
    struct body {
      static dg::task<int> awaited(int i) {
        co_await dg::this_task::yield();
        co_return i;
      }
      static dg::generator<support::tracked> inner(int from, int to) {
        for (int i = from; i < to; ++i) co_yield i;
      }
      /// Yields in every possible way, with waits in between; fails once at each of the first four values.
      static dg::generator<support::tracked> run(dg::ref<int> in, std::atomic<int>* made) {
        const auto fails_at = [](unsigned i) {
          if (dg::this_task::attempt() == i + 1) throw boom("at " + std::to_string(i));
        };
        fails_at(0);
        ++*made;
        co_yield co_await in;
        fails_at(1);
        ++*made;
        co_yield dg::emplace(co_await awaited(1));
        fails_at(2);
        *made += 2;
        co_yield dg::elements_of(inner(2, 4));
        fails_at(3);
        const std::vector<int> rest{4};
        ++*made;
        co_yield dg::elements_of(rest);
      }
    };
    std::atomic<int> made{0};
    dg::promise<int> zero;
    // The capacity is exactly the number of values: if a skipped value used some, there would be none for the last one.
    auto stream = dg::on(manual).options(dg::max_retries{4}, dg::backpressure{6}).submit(body::run, dg::unresolved(zero.get_ref()), &made);
    manual.run_all();
    zero.set_value(0);
    manual.run_all();
    CHECK(stream.completion().ready());
    CHECK(made == 0 + 1 + 2 + 4 + 5);
    CHECK(support::tracked::live == 5);
    std::vector<int> values;
    while (auto v = stream.next_value()) values.push_back(v->value);
    CHECK(values == std::vector<int>{0, 1, 2, 3, 4});
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("a task may be retried whatever it throws, and wherever", "[retry][S-RETRY-1][S-ERR-7]") {
  support::watchdog dog("kinds of failures");
  std::vector<int> seen;
  dg::thread_pool pool(1);
  const auto with = pool.options(dg::max_retries{3});
  // The construction of a stored value throws.
  struct fussy {
    int value;
    fussy(int v) : value(v) {
      if (v == 2 && dg::this_task::attempt() < 3) throw boom("fussy");
    }
  };
  auto values = with.submit([]() -> dg::generator<fussy> {
    for (int i = 0; i < 4; ++i) co_yield i;
  });
  while (auto v = values.next_value()) seen.push_back(v->value);
  CHECK(seen == std::vector<int>{0, 1, 2, 3});
  // The copy of the callable for an attempt throws.
  struct stubborn {
    std::shared_ptr<int> copies = std::make_shared<int>(0);
    stubborn() = default;
    stubborn(const stubborn& other) : copies(other.copies) {
      if (++*copies == 2 || *copies == 3) throw boom("copy");
    }
    int operator()() const { return static_cast<int>(dg::this_task::attempt()); }
  };
  const stubborn callable;
  CHECK(with.submit(callable).get() == 3);
  // The exception of a nested coroutine, of a child of when_all, and of an awaited ref.
  struct body {
    static dg::task<int> fails_twice() {
      co_await dg::this_task::yield();
      if (dg::this_task::attempt() < 3) throw boom("nested");
      co_return 1;
    }
    static dg::task<int> nested() { co_return 10 + co_await fails_twice(); }
    static dg::task<int> beside(int* calls) {
      if (++*calls < 3) throw boom("beside");
      co_return 2;
    }
    static dg::task<int> all(int* calls) {
      auto [a, b] = co_await dg::when_all(beside(calls), fails_twice());
      co_return a + b;
    }
    static dg::task<int> awaits(std::vector<dg::ref<int>> refs) { co_return co_await refs[dg::this_task::attempt() - 1]; }
  };
  CHECK(with.submit(body::nested).get() == 11);
  int calls = 0;
  CHECK(with.submit(body::all, &calls).get() == 3);
  std::vector<dg::ref<int>> refs{pool.submit([]() -> int { throw boom("awaited"); }), pool.submit([] { return 6; })};
  CHECK(with.submit(body::awaits, refs).get() == 6);
  // An exception of any type, also not derived from std::exception; retry_if gets the object itself.
  std::vector<int> thrown;
  auto numbers = pool.options(dg::max_retries{5}, dg::retry_if([&thrown](std::exception_ptr e) {
                                try {
                                  std::rethrow_exception(e);
                                } catch (int n) {
                                  thrown.push_back(n);
                                }
                                return true;
                              }))
                     .submit([]() -> int {
                       const int n = static_cast<int>(dg::this_task::attempt());
                       if (n < 4) throw n;
                       return n;
                     });
  CHECK(numbers.get() == 4);
  CHECK(thrown == std::vector<int>{1, 2, 3});
}

}  // namespace test_retrying
