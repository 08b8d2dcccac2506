// SPDX-License-Identifier: MIT
// Cancelling a task that is queued, waits, runs or has ended, by a ref, by the free function, by dropping a stream.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <cstddef>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace test_cancelling {

using namespace std::chrono_literals;
using support::count_to;
using support::destruction_probe;
using support::is_cancelled;

TEST_CASE("a queued task that is cancelled never runs", "[cancel][S-CANCEL-1]") {
  support::watchdog dog("cancel in the queue");
  dg::manual_executor manual;
  std::atomic<int> ran{0};
  dg::ref<int> plain = dg::on(manual).submit([&] { return ++ran; });
  dg::ref<int> by_function = dg::on(manual).submit([&] { return ++ran; });
  auto fixed = dg::on(manual).options(dg::num_returns<2>{}).submit([&]() -> dg::generator<int> {
    ++ran;
    co_yield 1;
    co_yield 2;
  });
  auto stream = dg::on(manual).submit([&]() -> dg::generator<int> {
    ++ran;
    co_yield 1;
  });
  CHECK(plain.cancel());
  CHECK(dg::cancel(by_function));
  CHECK(fixed[1].cancel());
  CHECK(stream.cancel());
  manual.run_all();

  CHECK(ran == 0);
  REQUIRE(plain.ready());
  CHECK(is_cancelled(plain.error()));
  CHECK(is_cancelled(plain.completion().error()));
  CHECK_THROWS_AS(by_function.get(), dg::cancelled_error);
  for (auto& each : fixed) {
    REQUIRE(each.ready());
    CHECK(is_cancelled(each.error()));
  }
  auto item = stream.next();
  REQUIRE(item.has_value());
  CHECK(is_cancelled(item->error()));
  CHECK_FALSE(stream.next().has_value());
  CHECK(stream.finished());
}

TEST_CASE("on a pool a queued task that is cancelled never runs", "[cancel][S-CANCEL-1]") {
  support::watchdog dog("cancel in a pool's queue");
  support::gate busy;
  std::atomic<int> ran{0};
  dg::thread_pool pool(1);
  dg::ref<void> keeps = pool.submit([&] { busy.pass(); });
  std::vector<dg::ref<void>> refs;
  // A task earlier in the queue is still cancelled when the worker reaches it; its neighbours run.
  for (int i = 0; i < 100; ++i) refs.push_back(pool.submit([&] { ++ran; }));
  for (std::size_t i = 0; i < refs.size(); i += 2) CHECK(refs[i].cancel());
  busy.open();
  for (std::size_t i = 0; i < refs.size(); ++i) {
    refs[i].wait();
    CHECK(is_cancelled(refs[i].error()) == (i % 2 == 0));
  }
  keeps.get();
  CHECK(ran == 50);
}

TEST_CASE("a task that waits for its arguments is cancelled before they are ready", "[cancel][S-CANCEL-1]") {
  support::watchdog dog("cancel while waiting for arguments");
  dg::manual_executor never, manual;
  support::tracked::reset();
  std::atomic<int> ran{0};
  dg::ref<int> outside = dg::on(never).submit([] { return 1; });
  dg::ref<int> waits = dg::on(manual).submit(
      [&ran, kept = support::tracked(1)](int value) { return ran += value + kept.value; }, outside);
  dg::ref<int> after = dg::on(manual).options(dg::after(outside)).submit([&ran] { return ++ran; });
  CHECK(waits.cancel());
  CHECK(after.cancel());
  manual.run_all();
  REQUIRE(waits.wait_for(10s));
  REQUIRE(after.wait_for(10s));
  CHECK(is_cancelled(waits.error()));
  CHECK(is_cancelled(after.error()));
  CHECK(support::tracked::live == 0);

  never.run_all();
  manual.run_all();
  CHECK(outside.get() == 1);
  CHECK(ran == 0);
  CHECK(is_cancelled(waits.error()));
}

TEST_CASE("on a pool a waiting task is cancelled without its arguments", "[cancel][S-CANCEL-1]") {
  support::watchdog dog("cancel while waiting on a pool");
  dg::manual_executor never;
  dg::thread_pool pool(1);
  dg::ref<int> outside = dg::on(never).submit([] { return 1; });
  dg::ref<int> waits = pool.submit([](int value) { return value; }, outside);
  CHECK(waits.cancel());
  CHECK_THROWS_AS(waits.get(), dg::cancelled_error);
}

TEST_CASE("a running generator is cancelled at its next yield", "[cancel][S-CANCEL-2]") {
  support::watchdog dog("cancel while running");
  support::gate running, cancelled;
  std::atomic<int> steps{0}, gone{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto refs = pool.options(dg::num_returns<3>{}).submit([&]() -> dg::generator<int> {
    destruction_probe local(&gone);
    co_yield 1;
    running.open();
    cancelled.pass();
    ++steps;
    co_yield 2;
    ++steps;
    co_yield 3;
    ++steps;
  });
  running.pass();
  CHECK(refs[2].cancel());
  CHECK(gone == 0);
  cancelled.open();
  refs[2].wait();
  refs[2].completion().wait();
  CHECK(steps == 1);
  CHECK(gone == 1);
  // What was stored before stays readable.
  CHECK(refs[0].get() == 1);
  CHECK(is_cancelled(refs[1].error()));
  CHECK(is_cancelled(refs[2].error()));
  CHECK(is_cancelled(refs[0].completion().error()));
}

TEST_CASE("a running coroutine is cancelled at its next co_await, whatever it awaits", "[cancel][await][S-CANCEL-2]") {
  support::watchdog dog("cancel before each kind of co_await");
  struct bodies {
    struct given {
      std::atomic<int>* steps;
      dg::ref<void>* own;
      dg::ref<int> ready;
      dg::ref_stream<int>* stream;
    };
    static dg::task<int> counts(std::atomic<int>* steps) {
      ++*steps;
      co_return 1;
    }
    static dg::task<void> lvalue(given g) {
      g.own->cancel();
      co_await g.ready;
      ++*g.steps;
    }
    static dg::task<void> rvalue(given g) {
      g.own->cancel();
      co_await std::move(g.ready);
      ++*g.steps;
    }
    static dg::task<void> task(given g) {
      g.own->cancel();
      *g.steps += co_await counts(g.steps);
    }
    static dg::task<void> all(given g) {
      g.own->cancel();
      co_await dg::when_all(g.ready, counts(g.steps));
      ++*g.steps;
    }
    static dg::task<void> any(given g) {
      g.own->cancel();
      co_await dg::when_any(g.ready);
      ++*g.steps;
    }
    static dg::task<void> value(given g) {
      g.own->cancel();
      co_await g.stream->async_value();
      ++*g.steps;
    }
    static dg::task<void> item(given g) {
      g.own->cancel();
      co_await g.stream->async_next();
      ++*g.steps;
    }
    static dg::task<void> yields(given g) {
      g.own->cancel();
      co_await dg::this_task::yield();
      ++*g.steps;
    }
    static dg::task<void> nested(given g) {
      co_await lvalue(g);
      ++*g.steps;
    }
    static dg::task<void> catches(given g) {
      try {
        co_await nested(g);
      } catch (...) {
        ++*g.steps;  // a cancelled frame is destroyed, nothing is thrown into it
      }
      ++*g.steps;
    }
  };
  for (auto body : {&bodies::lvalue, &bodies::rvalue, &bodies::task, &bodies::all, &bodies::any, &bodies::value, &bodies::item,
                    &bodies::yields, &bodies::nested, &bodies::catches}) {
    dg::manual_executor manual;
    auto stream = dg::on(manual).submit(count_to, 3);
    manual.run_all();
    std::atomic<int> steps{0};
    dg::ref<void> own;
    own = dg::on(manual).submit(body, bodies::given{&steps, &own, dg::put(1), &stream});
    manual.run_all();
    REQUIRE(own.ready());
    CHECK(is_cancelled(own.error()));
    CHECK(steps == 0);
    CHECK(stream.next_value() == 0);  // nothing was taken
  }
}

TEST_CASE("a cancelled stream keeps its stored values, then holds cancelled_error", "[cancel][S-CANCEL-2]") {
  support::watchdog dog("cancel a stream");
  dg::manual_executor manual;
  std::atomic<int> gone{0};
  auto stream = dg::on(manual).options(dg::backpressure{3}).submit([&]() -> dg::generator<int> {
    destruction_probe local(&gone);
    for (int i = 0;; ++i) co_yield i;
  });
  manual.run_all();
  CHECK(stream.next_value() == std::optional<int>(0));
  CHECK(stream.cancel());
  manual.run_all();
  CHECK(gone == 1);
  CHECK(stream.next_value() == std::optional<int>(1));
  CHECK(stream.next_value() == std::optional<int>(2));
  CHECK_FALSE(stream.finished());
  CHECK_THROWS_AS(stream.next_value(), dg::cancelled_error);
  CHECK_FALSE(stream.next_value().has_value());
  CHECK(stream.finished());
  CHECK_FALSE(stream.cancel());
}

TEST_CASE("all_or_nothing fails every ref of a cancelled task", "[cancel][S-CANCEL-2][S-ARITY-5]") {
  support::watchdog dog("cancel all_or_nothing");
  support::gate running, cancelled;
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto refs = pool.options(dg::num_returns<2>{}, dg::all_or_nothing).submit([&]() -> dg::generator<int> {
    co_yield 1;
    running.open();
    cancelled.pass();
    co_yield 2;
  });
  running.pass();
  CHECK_FALSE(refs[0].ready());
  CHECK(refs[0].cancel());
  cancelled.open();
  CHECK_THROWS_AS(refs[0].get(), dg::cancelled_error);
  CHECK_THROWS_AS(refs[1].get(), dg::cancelled_error);
}

TEST_CASE("a plain function is not interrupted", "[cancel][S-CANCEL-3]") {
  support::watchdog dog("cancel a plain function");
  support::gate running, cancelled;
  std::atomic<bool> ended{false};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::ref<int> value = pool.submit([&] {
    running.open();
    cancelled.pass();
    ended = true;
    return 4;
  });
  running.pass();
  CHECK(value.cancel());
  CHECK_FALSE(value.ready());
  cancelled.open();
  value.wait();
  CHECK(ended);
}

TEST_CASE("a plain function may ask whether it should stop", "[cancel][S-CANCEL-3]") {
  support::watchdog dog("polling the stop request");
  support::gate running;
  std::atomic<bool> asked_too_early{false};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::ref<void> loops = pool.submit([&] {
    asked_too_early = dg::this_task::stop_requested();
    running.open();
    while (!dg::this_task::stop_requested()) std::this_thread::yield();
  });
  running.pass();
  CHECK(loops.cancel());
  loops.wait();
  CHECK_FALSE(asked_too_early);
}

TEST_CASE("cancelling an ended task has no effect", "[cancel][S-CANCEL-4]") {
  support::watchdog dog("cancel after the end");
  dg::thread_pool pool(1);
  dg::ref<int> value = pool.submit([] { return 1; });
  value.wait();
  CHECK_FALSE(value.cancel());
  CHECK_FALSE(dg::cancel(value));
  CHECK(value.get() == 1);

  dg::ref<int> failed = pool.submit([]() -> int { throw support::boom(); });
  failed.wait();
  CHECK_FALSE(failed.cancel());
  CHECK_THROWS_AS(failed.get(), support::boom);

  dg::manual_executor manual;
  dg::ref<int> twice = dg::on(manual).submit([] { return 1; });
  CHECK(twice.cancel());
  manual.run_all();
  CHECK_FALSE(twice.cancel());
}

TEST_CASE("of a cancel and the end of a task that race exactly one takes effect", "[cancel][S-CANCEL-4]") {
  support::watchdog dog("cancel against the end");
  dg::thread_pool pool(2);
  int wrong = 0;
  for (int round = 0; round < 3000; ++round) {
    std::atomic<bool> ran{false};
    dg::ref<int> value = pool.submit([&] {
      ran = true;
      return round;
    });
    for (int i = 0; i < round % 50; ++i) (void)value.ready();
    const bool asked = value.cancel();
    value.wait();
    if (is_cancelled(value.error())) {
      if (!asked) ++wrong;
      if (!is_cancelled(value.completion().error())) ++wrong;
    } else if (value.failed() || value.get() != round || !ran) {
      ++wrong;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("cancelling a generator that ends at the same time leaves a prefix of its values and one outcome",
          "[cancel][S-CANCEL-4][S-CANCEL-2]") {
  support::watchdog dog("cancel against a generator's end");
  dg::thread_pool pool(2);
  int wrong = 0;
  for (int round = 0; round < 1500; ++round) {
    auto stream = pool.submit(count_to, 20);
    if (round % 3 == 0) (void)stream.completion().wait_for(std::chrono::microseconds(round % 40));
    const bool asked = stream.cancel();
    int expected = 0;
    bool cancelled = false;
    while (auto item = stream.next()) {
      if (is_cancelled(item->error())) {
        cancelled = true;
        continue;
      }
      if (cancelled || item->get() != expected++) ++wrong;
    }
    if (cancelled && !asked) ++wrong;
    if (!cancelled && expected != 20) ++wrong;
    if (is_cancelled(stream.completion().error()) != cancelled) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("several threads that cancel one task agree", "[cancel][S-CANCEL-4]") {
  support::watchdog dog("many cancellers");
  dg::thread_pool pool(1);
  for (int round = 0; round < 200; ++round) {
    dg::ref<int> value = pool.submit([] { return 1; });
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([copy = value]() mutable { copy.cancel(); });
    for (auto& thread : threads) thread.join();
    value.wait();
    const bool one_or_the_other = is_cancelled(value.error()) || (!value.failed() && value.get() == 1);
    REQUIRE(one_or_the_other);
  }
}

TEST_CASE("cancelling a task fails its dependents", "[cancel][S-CANCEL-5]") {
  support::watchdog dog("cancel and dependents");
  dg::manual_executor manual;
  std::atomic<int> ran{0};
  dg::thread_pool pool(1);
  dg::ref<int> source = dg::on(manual).submit([] { return 1; });
  std::vector<dg::ref<int>> chain{source};
  for (int i = 0; i < 20; ++i)
    chain.push_back(pool.submit(
        [&](int value) {
          ++ran;
          return value;
        },
        chain.back()));
  auto list = pool.options(dg::dynamic).submit(count_to, source);
  CHECK(source.cancel());
  manual.run_all();
  for (auto& each : chain) CHECK_THROWS_AS(each.get(), dg::cancelled_error);
  CHECK_THROWS_AS(list.get(), dg::cancelled_error);
  CHECK(ran == 0);
}

TEST_CASE("cancelling a dependent does not affect the task that it depends on", "[cancel][S-CANCEL-5]") {
  support::watchdog dog("cancel of a dependent");
  dg::manual_executor manual;
  dg::ref<int> source = dg::on(manual).submit([] { return 1; });
  dg::ref<int> cancelled = dg::on(manual).submit([](int value) { return value; }, source);
  dg::ref<int> other = dg::on(manual).submit([](int value) { return value + 1; }, source);
  CHECK(cancelled.cancel());
  manual.run_all();
  CHECK(source.get() == 1);
  CHECK(other.get() == 2);
  CHECK_THROWS_AS(cancelled.get(), dg::cancelled_error);
}

TEST_CASE("the callable of a cancelled task is destroyed before completion is ready", "[cancel][S-CANCEL-1][S-MEM-7]") {
  support::watchdog dog("callable of a cancelled task");
  dg::manual_executor manual;
  support::tracked::reset();
  dg::ref<int> value = dg::on(manual).submit(
      [kept = support::tracked(1)](const support::tracked& a) { return kept.value + a.value; }, support::tracked(2));
  dg::ref<void> completion = value.completion();
  CHECK(support::tracked::live == 2);
  CHECK(value.cancel());
  manual.run_all();
  REQUIRE(completion.ready());
  CHECK(support::tracked::live == 0);
}

TEST_CASE("cancelling a task does not affect tasks that it has submitted, unless its stop token links them",
          "[cancel][S-CANCEL-10]") {
  support::watchdog dog("children of a cancelled task");
  dg::thread_pool pool(2);
  support::gate submitted, over;
  dg::promise<int> given;
  std::optional<dg::ref<int>> linked, free;
  auto parent = [&] {
    free = pool.submit([](int n) { return n; }, given.get_ref());
    linked = pool.options(dg::stop_on(dg::this_task::get_stop_token())).submit([](int n) { return n; }, given.get_ref());
    submitted.open();
    over.pass();
  };
  const dg::ref<void> r = pool.submit(parent);
  submitted.pass();
  CHECK(r.cancel());
  CHECK_THROWS_AS(linked->get(), dg::cancelled_error);
  CHECK_FALSE(free->ready());
  given.set_value(7);
  CHECK(free->get() == 7);
  over.open();
  r.get();
}

}  // namespace test_cancelling
