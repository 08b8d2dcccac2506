// SPDX-License-Identifier: MIT
// When the attempts of a task end: retry_if, errors that are not retried, cancellation. S-RETRY-1, S-RETRY-3,
// S-RETRY-7, L-19.

#include "../catch.hpp"
#include "probes.hpp"

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_ending_retries {

using support::boom;

TEST_CASE("a failed task is not retried by default", "[retry][S-RETRY-1]") {
  support::watchdog dog("no retries");
  std::atomic<int> calls{0};
  dg::thread_pool pool(1);
  auto failing = [&]() -> int {
    ++calls;
    throw boom();
  };
  CHECK(support::holds<boom>(pool.submit(failing)));
  CHECK(calls == 1);
  CHECK(support::holds<boom>(pool.options(dg::max_retries{0}).submit(failing)));
  CHECK(calls == 2);
  CHECK(support::holds<boom>(pool.options(dg::max_retries{2}).submit(failing)));
  CHECK(calls == 5);
  CHECK(pool.stats().retried == 2);
  CHECK_THROWS_AS(dg::max_retries{-1}, std::invalid_argument);
}

TEST_CASE("retries that are used up leave the values so far, then the last exception", "[retry][S-RETRY-3]") {
  support::watchdog dog("used up");
  std::atomic<int> calls{0};
  std::vector<int> seen;
  dg::thread_pool pool(1);
  auto body = [&calls]() -> dg::generator<int> {
    const int call = ++calls;
    for (int i = 0; i < call; ++i) co_yield i;
    throw boom("call " + std::to_string(call));
  };
  auto stream = pool.options(dg::max_retries{2}).submit(body);
  CHECK(support::message_of([&] {
          while (auto v = stream.next_value()) seen.push_back(*v);
        }) == "call 3");
  CHECK(seen == std::vector<int>{0, 1, 2});
  calls = 0;
  auto refs = pool.options(dg::max_retries{1}, dg::num_returns<4>{}).submit(body);
  CHECK(refs[1].get() == 1);
  CHECK(support::message_of([&] { refs[2].get(); }) == "call 2");
  CHECK(support::message_of([&] { refs[3].get(); }) == "call 2");
  calls = 0;
  auto list = pool.options(dg::max_retries{1}, dg::dynamic).submit(body).get();
  CHECK(list.size() == 3);
  CHECK(support::message_of([&] { list[2].get(); }) == "call 2");
}

TEST_CASE("errors that the library detects are not retried", "[retry][S-RETRY-7]") {
  support::watchdog dog("not retried");
  support::error_log log;
  std::atomic<int> calls{0};
  dg::thread_pool pool({.threads = 1, .on_unhandled_error = log.hook()});
  auto three = [&calls]() -> dg::generator<int> {
    ++calls;
    for (int i = 0; i < 3; ++i) co_yield i;
  };
  auto few = pool.options(dg::max_retries{5}, dg::num_returns<4>{}).submit(three);
  CHECK(support::holds<dg::arity_error>(few[3]));
  auto many = pool.options(dg::max_retries{5}, dg::num_returns<2>{}).submit(three);
  CHECK(support::holds<dg::arity_error>(many[0].completion()));
  CHECK(calls == 2);
  calls = 0;
  auto unordered = [&calls]() -> dg::tuple_generator<int, std::string> {
    ++calls;
    co_yield "first";
  };
  auto [a, b] = pool.options(dg::max_retries{5}).submit(unordered);
  CHECK(support::holds<dg::type_order_error>(a));
  CHECK(calls == 1);
  dg::ref<int> failed = pool.submit([]() -> int { throw boom(); });
  auto dependent = pool.options(dg::max_retries{5}).submit(
      [&calls](int i) {
        ++calls;
        return i;
      },
      failed);
  CHECK(support::holds<boom>(dependent));
  CHECK(calls == 1);
  // An exception after the last value is thrown by the task, so it is retried.
  calls = 0;
  auto late = pool.options(dg::max_retries{1}, dg::num_returns<1>{}).submit([&calls]() -> dg::generator<int> {
    ++calls;
    co_yield 1;
    if (calls == 1) throw boom();
  });
  late[0].completion().get();
  CHECK(calls == 2);
}

TEST_CASE("retry_if is called after the failed attempt is destroyed", "[retry][S-RETRY-1][L-19]") {
  support::watchdog dog("retry_if");
  support::error_log log;
  std::atomic<int> alive{0}, asked{0}, calls{0};
  std::atomic<bool> clean{true};
  dg::thread_pool pool({.threads = 1, .on_unhandled_error = log.hook()});
  auto body = [&]() -> dg::generator<int> {
    support::witness here(alive);
    const int call = ++calls;
    co_yield 1;
    if (call < 3) throw boom("again");
    throw std::logic_error("never mind");
  };
  auto accept = [&](std::exception_ptr e) {
    ++asked;
    if (alive != 0) clean = false;
    return support::message_of([&] { std::rethrow_exception(e); }) == "again";
  };
  auto stream = pool.options(dg::max_retries{10}, dg::retry_if(accept)).submit(body);
  CHECK(stream.next_value() == 1);
  CHECK_THROWS_AS(stream.next_value(), std::logic_error);
  CHECK(asked == 3);
  CHECK(calls == 3);
  CHECK(clean);
  // The predicate throws: the task ends with its own exception, and the predicate's goes to the hook.
  calls = 0;
  auto r = pool.options(dg::max_retries{10}, dg::retry_if([](std::exception_ptr) -> bool { throw std::runtime_error("predicate"); }))
               .submit([&]() -> int {
                 ++calls;
                 throw boom();
               });
  CHECK(support::holds<boom>(r));
  CHECK(calls == 1);
  REQUIRE(log.count() == 1);
  CHECK(support::message_of([&] { std::rethrow_exception(log.at(0).error); }) == "predicate");
}

TEST_CASE("an exception from the destruction of an attempt is reported, and the next attempt runs",
          "[retry][S-ERR-5]") {
  support::watchdog dog("late exceptions of attempts");
  support::error_log log;
  dg::thread_pool pool({.threads = 1, .on_unhandled_error = log.hook()});
  // The destructor of the attempt's copy of the callable throws.
  struct callable {
    bool armed = false;
    callable() = default;
    callable(const callable&) : armed(true) {}
    callable(callable&& other) : armed(other.armed) { other.armed = false; }
    ~callable() noexcept(false) {
      if (std::exchange(armed, false) && dg::this_task::attempt() == 1) throw std::runtime_error("destructor");
    }
    int operator()() {
      if (dg::this_task::attempt() == 1) throw boom();
      return 5;
    }
  };
  auto r = pool.options(dg::max_retries{1}).submit(callable());
  CHECK(r.get() == 5);
  REQUIRE(log.count() == 1);
  CHECK(support::message_of([&] { std::rethrow_exception(log.at(0).error); }) == "destructor");
}

TEST_CASE("a cancelled task is not retried", "[retry][S-CANCEL-6][L-19]") {
  support::watchdog dog("cancelled in retry_if");
  dg::manual_executor manual;
  std::atomic<int> calls{0};
  dg::ref<int> r;
  r = dg::on(manual)
          .options(dg::max_retries{100}, dg::retry_if([&](std::exception_ptr) {
            if (calls == 2) CHECK(r.cancel());
            return true;
          }))
          .submit([&]() -> int {
            ++calls;
            throw boom();
          });
  manual.run_all();
  CHECK(calls == 2);
  CHECK(support::holds<dg::cancelled_error>(r));
  try {
    r.get();
  } catch (const dg::cancelled_error& e) {
    CHECK_THROWS_AS(std::rethrow_if_nested(e), boom);  // the exception of the last attempt
  }
  r = {};
}

TEST_CASE("a cancel that races with retries stops them", "[retry][S-CANCEL-6][L-19]") {
  support::watchdog dog("cancel against retries");
  dg::thread_pool pool(2);
  for (int round = 0; round < 300; ++round) {
    std::atomic<int> calls{0};
    auto stream = pool.options(dg::max_retries{2'000'000'000}).submit([&calls]() -> dg::generator<int> {
      ++calls;
      co_yield 1;
      throw boom();
    });
    const int wanted = round % 7;
    while (calls < wanted) std::this_thread::yield();
    stream.cancel();
    REQUIRE(stream.completion().error() != nullptr);
    const int ended_at = calls;
    std::this_thread::yield();
    REQUIRE(calls == ended_at);
  }
}

TEST_CASE("a task that only fails lets others run", "[retry][L-18]") {
  support::watchdog dog("endless retries");
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto failing = pool.options(dg::max_retries{2'000'000'000}).submit([]() -> int { throw boom(); });
  CHECK(pool.submit([] { return 3; }).get() == 3);
  failing.cancel();
  CHECK(failing.error() != nullptr);
}

TEST_CASE("arguments and dependencies live until the last attempt has ended", "[retry][S-MEM-7][S-RETRY-6]") {
  support::watchdog dog("arguments of attempts");
  support::tracked::reset();
  dg::manual_executor manual;
  auto r = dg::on(manual).options(dg::max_retries{2}).submit(
      [](const support::tracked& own, const support::tracked& shared, const std::string& text) {
        if (support::tracked::live < 2 || text != "kept") throw std::logic_error("an argument is gone");
        if (dg::this_task::attempt() < 3) throw boom();
        return own.value + shared.value;
      },
      support::tracked(1), dg::put(support::tracked(2)), "kept");
  CHECK(support::tracked::live == 2);
  manual.run_all();
  CHECK(r.get() == 3);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("retry_if is copied into each task, and keeps its own state there", "[retry][S-RETRY-1]") {
  support::watchdog dog("stateful predicates");
  std::atomic<int> calls{0};
  dg::thread_pool pool(1);
  const auto options = pool.options(dg::max_retries{10}, dg::retry_if([left = 2](std::exception_ptr) mutable { return left-- > 0; }));
  auto failing = [&calls] {
    ++calls;
    throw boom();
  };
  for (int i = 1; i <= 3; ++i) {
    CHECK(support::holds<boom>(options.submit(failing)));
    CHECK(calls == 3 * i);
  }
}

TEST_CASE("a cancel reaches an attempt that skips values, awaits, or waits because its stream is full",
          "[retry][S-CANCEL-6][S-CANCEL-7][L-19]") {
  support::watchdog dog("cancelled attempts");
  support::tracked::reset();
  dg::promise<int> never;
  {
    dg::manual_executor manual;
    struct body {
      static dg::generator<support::tracked> run(dg::ref<int> in, int where, std::atomic<int>* calls) {
        ++*calls;
        co_yield 0;
        if (dg::this_task::attempt() == 1) throw boom();
        if (where == 0) co_await in;
        for (int i = 1;; ++i) co_yield i;
      }
    };
    for (int where = 0; where < 2; ++where) {
      std::atomic<int> calls{0};
      auto stream = dg::on(manual).options(dg::max_retries{9}, dg::backpressure{3}).submit(body::run, dg::unresolved(never.get_ref()), where, &calls);
      manual.run_all();
      CHECK(calls == 2);
      CHECK(stream.cancel());
      manual.run_all();
      CHECK(calls == 2);
      CHECK(support::holds<dg::cancelled_error>(stream.completion()));
    }
    // Cancelled by its own code, while it skips the values that an earlier attempt has stored.
    dg::ref<int> own;
    std::atomic<int> calls{0};
    auto refs = dg::on(manual).options(dg::max_retries{9}, dg::num_returns<3>{}).submit([&]() -> dg::generator<int> {
      ++calls;
      co_yield 1;
      if (dg::this_task::attempt() == 2) own.cancel();
      co_yield 2;
      throw boom();
    });
    own = refs[0];
    manual.run_all();
    CHECK(calls == 2);
    CHECK(refs[1].get() == 2);
    CHECK(support::holds<dg::cancelled_error>(refs[2]));
    own = {};
  }
  CHECK(support::tracked::live == 0);
}

}  // namespace test_ending_retries
