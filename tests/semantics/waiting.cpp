// SPDX-License-Identifier: MIT
// Dependencies and waiting: when a task starts, which waits occupy a thread, and which thread runs which task.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

namespace test_waiting {

using namespace std::chrono_literals;
using support::busy_workers;

namespace {

int add(int a, int b) { return a + b; }

int fibonacci(dg::thread_pool* pool, int n) {
  if (n < 2) return n;
  dg::ref<int> a = pool->submit(fibonacci, pool, n - 1);
  dg::ref<int> b = pool->submit(fibonacci, pool, n - 2);
  return a.get() + b.get();
}

int chain(dg::thread_pool* pool, int depth) {
  if (depth == 0) return 0;
  return pool->submit(chain, pool, depth - 1).get() + 1;
}

/// A chain in which every task waits for the last value of a generator.
dg::generator<int> generator_chain(dg::thread_pool* pool, int depth) {
  if (depth == 0) {
    co_yield 0;
    co_yield 0;
    co_return;
  }
  auto below = pool->options(dg::num_returns<2>{}).submit(generator_chain, pool, depth - 1);
  const int value = below[1].get() + 1;
  co_yield value;
  co_yield value;
}

int tree(dg::thread_pool* pool, int depth) {
  if (depth == 0) return 1;
  std::vector<dg::ref<int>> children;
  for (int i = 0; i < 4; ++i) children.push_back(pool->submit(tree, pool, depth - 1));
  int sum = 0;
  for (auto& child : children) sum += child.get();
  return sum;
}

}  // namespace

TEST_CASE("a task whose arguments are refs occupies no thread until they are ready", "[wait][S-WAIT-1]") {
  support::watchdog dog("dependencies occupy no thread");
  dg::manual_executor manual;
  std::atomic<int> ran{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::ref<int> source = dg::on(manual).submit([] { return 1; });
  std::vector<dg::ref<int>> dependents;
  for (int i = 0; i < 200; ++i)
    dependents.push_back(pool.submit(
        [&ran](const int& a, int b) {
          ++ran;
          return a + b;
        },
        source, i));
  CHECK(pool.submit([] { return 7; }).get() == 7);
  CHECK(ran == 0);
  for (auto& dependent : dependents) REQUIRE_FALSE(dependent.ready());

  manual.run_all();
  bool right = true;
  for (int i = 0; i < 200; ++i) right = right && dependents[static_cast<std::size_t>(i)].get() == 1 + i;
  CHECK(right);
  CHECK(ran == 200);
}

TEST_CASE("a task starts only when all of its dependencies are ready", "[wait][S-WAIT-1]") {
  support::watchdog dog("all dependencies");
  dg::manual_executor a, b;
  dg::inline_executor at_once;
  dg::ref<int> left = dg::on(a).submit([] { return 1; });
  dg::ref<int> right = dg::on(b).submit([] { return 2; });
  dg::ref<int> sum = dg::on(at_once).submit(add, left, right);
  CHECK_FALSE(sum.ready());
  b.run_all();
  CHECK_FALSE(sum.ready());
  a.run_all();
  REQUIRE(sum.ready());
  CHECK(sum.get() == 3);

  // One ref twice, and one that is ready from the start.
  dg::ref<int> twice = dg::on(at_once).submit(add, left, left);
  REQUIRE(twice.ready());
  CHECK(twice.get() == 2);
}

TEST_CASE("after delays a task and passes no value", "[wait][S-WAIT-1]") {
  support::watchdog dog("after");
  dg::manual_executor manual;
  dg::inline_executor at_once;
  dg::ref<int> first = dg::on(manual).submit([] { return 1; });
  dg::ref<void> second = dg::on(manual).submit([] {});
  dg::ref<int> last = dg::on(at_once).options(dg::after(first, second)).submit([] { return 3; });
  CHECK_FALSE(last.ready());
  manual.run_one();
  CHECK_FALSE(last.ready());
  manual.run_all();
  REQUIRE(last.ready());
  CHECK(last.get() == 3);
}

TEST_CASE("a ref<void> among the arguments delays a task and is not passed to the callable", "[wait][S-WAIT-1]") {
  support::watchdog dog("ref<void> argument");
  dg::manual_executor manual;
  dg::inline_executor at_once;
  dg::ref<void> done = dg::on(manual).submit([] {});
  dg::ref<int> sum = dg::on(at_once).submit(add, 1, done, 2);
  CHECK_FALSE(sum.ready());
  manual.run_all();
  CHECK(sum.get() == 3);
}

TEST_CASE("a dependent starts right after the yield it waits for, while the producer still runs",
          "[wait][S-WAIT-2][S-ARITY-2]") {
  support::watchdog dog("dependent of a running generator");
  dg::thread_pool pool(2);
  for (int round = 0; round < 100; ++round) {
    support::gate dependent_ran, dependents_submitted;
    auto [first, second] = pool.options(dg::num_returns<2>{}).submit([&]() -> dg::generator<int> {
      dependents_submitted.pass();
      co_yield 10;
      dependent_ran.pass();
      co_yield 20;
    });
    dg::ref<int> dependent = pool.submit(
        [&](const int& value) {
          dependent_ran.open();
          return value + 1;
        },
        first);
    CHECK_FALSE(first.ready());
    dependents_submitted.open();
    CHECK(second.get() == 20);
    CHECK(dependent.get() == 11);
  }
}

TEST_CASE("dependents of a yielded value are scheduled by the yield itself", "[wait][S-WAIT-2]") {
  support::watchdog dog("dependents inside a producer's run");
  dg::manual_executor manual;
  std::atomic<bool> second_yielded{false};
  auto refs = dg::on(manual).options(dg::num_returns<2>{}).submit([&]() -> dg::generator<int> {
    co_yield 1;
    second_yielded = true;
    co_yield 2;
  });
  dg::thread_pool pool(1);
  dg::ref<int> dependent = pool.submit([](const int& value) { return value * 10; }, refs[0]);
  CHECK_FALSE(dependent.ready());
  manual.run_all();
  CHECK(second_yielded);
  CHECK(dependent.get() == 10);
}

TEST_CASE("a blocked get runs the queued task on the waiting thread", "[wait][S-WAIT-4][L-6]") {
  support::watchdog dog("helping");
  std::atomic<bool> other_ran{false};
  dg::thread_pool pool(1);
  busy_workers busy(pool);
  dg::ref<void> other = pool.submit([&] { other_ran = true; });
  dg::ref<std::thread::id> where = pool.submit([] { return std::this_thread::get_id(); });
  CHECK(where.get() == std::this_thread::get_id());
  // Only the awaited task ran here.
  CHECK_FALSE(other_ran);
  CHECK_FALSE(other.ready());
  busy.release();
  other.get();
  CHECK(other_ran);
}

TEST_CASE("a helper leaves a generator when the awaited value is stored", "[wait][S-WAIT-4][L-6]") {
  support::watchdog dog("helping up to a value");
  std::atomic<int> steps{0};
  dg::thread_pool pool(1);
  dg::ref<int> first, second, third;
  {
    busy_workers busy(pool);
    auto refs = pool.options(dg::num_returns<3>{}).submit([&]() -> dg::generator<int> {
      ++steps;
      co_yield 1;
      ++steps;
      co_yield 2;
      ++steps;
      co_yield 3;
      ++steps;
    });
    first = refs[0];
    second = refs[1];
    third = refs[2];
    CHECK(first.get() == 1);
    CHECK(steps == 1);
    CHECK_FALSE(second.ready());
    CHECK(second.get() == 2);
    CHECK(steps == 2);
    CHECK_FALSE(third.ready());
  }
  // No consumer asks for the third value: the pool makes it without that.
  CHECK(support::eventually([&] { return steps == 4; }));
  CHECK(third.get() == 3);
}

TEST_CASE("a stream is read by helping while every worker is busy", "[wait][S-WAIT-4][L-3]") {
  support::watchdog dog("streams by helping");
  dg::thread_pool pool(1);
  busy_workers busy(pool);
  for (int room : {1, 3, 64}) {
    auto stream = pool.options(dg::backpressure{room}).submit([]() -> dg::generator<int> {
      for (int i = 0; i < 2000; ++i) co_yield i;
    });
    int expected = 0;
    while (auto item = stream.next()) {
      if (item->get() != expected) break;
      ++expected;
    }
    CHECK(expected == 2000);
  }
}

TEST_CASE("timed waits never run the task on the waiting thread", "[wait][S-WAIT-4]") {
  support::watchdog dog("timed waits do not help");
  std::atomic<bool> ran{false};
  dg::thread_pool pool(1);
  std::thread::id where;
  dg::ref<void> task;
  {
    busy_workers busy(pool);
    task = pool.submit([&] {
      where = std::this_thread::get_id();
      ran = true;
    });
    auto stream = pool.submit([&]() -> dg::generator<int> {
      ran = true;
      co_yield 1;
    });
    std::vector<dg::ref<void>> several{task};
    CHECK_FALSE(task.wait_for(2ms));
    CHECK_FALSE(task.wait_until(std::chrono::steady_clock::now() + 2ms));
    CHECK_THROWS_AS(task.get_for(2ms), dg::timeout_error);
    CHECK_THROWS_AS(stream.next_for(2ms), dg::timeout_error);
    CHECK(dg::wait(several, 1, 2ms).ready.empty());
    CHECK_THROWS_AS(dg::wait_any_for(2ms, task, stream), dg::timeout_error);
    CHECK_FALSE(stream.try_next().has_value());
    CHECK_FALSE(ran);
  }
  CHECK(task.wait_for(1h));
  CHECK(where != std::this_thread::get_id());
}

TEST_CASE("waits for any of several never run a task on the waiting thread", "[wait][S-WAIT-4]") {
  support::watchdog dog("wait_any does not help");
  dg::thread_pool pool(1);
  for (int round = 0; round < 20; ++round) {
    busy_workers busy(pool);
    dg::ref<std::thread::id> a = pool.submit([] { return std::this_thread::get_id(); });
    dg::ref<std::thread::id> b = pool.submit([] { return std::this_thread::get_id(); });
    std::atomic<bool> waiting{false};
    std::thread opener([&] {
      while (!waiting) std::this_thread::yield();
      busy.release();
    });
    waiting = true;
    (void)dg::wait_any(a, b);
    opener.join();
    CHECK(support::eventually([&] { return a.ready() && b.ready(); }));
    CHECK(a.get() != std::this_thread::get_id());
    CHECK(b.get() != std::this_thread::get_id());
  }
}

TEST_CASE("without waiters_help tasks run on workers only", "[wait][S-WAIT-4]") {
  support::watchdog dog("waiters_help off");
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  for (int round = 0; round < 20; ++round) {
    busy_workers busy(pool);
    dg::ref<std::thread::id> where = pool.submit([] { return std::this_thread::get_id(); });
    auto stream = pool.options(dg::backpressure{1}).submit([]() -> dg::generator<std::thread::id> {
      for (int i = 0; i < 10; ++i) {
        const std::thread::id here = std::this_thread::get_id();
        co_yield here;
      }
    });
    std::atomic<bool> waiting{false};
    std::thread opener([&] {
      while (!waiting) std::this_thread::yield();
      busy.release();
    });
    waiting = true;
    CHECK(where.get() != std::this_thread::get_id());
    int elsewhere = 0;
    for (std::thread::id id : stream.values()) elsewhere += id != std::this_thread::get_id() ? 1 : 0;
    CHECK(elsewhere == 10);
    opener.join();
  }
}

TEST_CASE("a task of a foreign executor is not run by the thread that waits for it", "[wait][S-WAIT-4][L-6]") {
  support::watchdog dog("foreign executors are not helped");
  dg::manual_executor manual;
  dg::ref<std::thread::id> where = dg::on(manual).submit([] { return std::this_thread::get_id(); });
  std::atomic<bool> waiting{false};
  std::thread::id other_id;
  std::thread other([&] {
    other_id = std::this_thread::get_id();
    while (!waiting) std::this_thread::yield();
    manual.run_all();
  });
  waiting = true;
  const std::thread::id ran_on = where.get();
  other.join();
  CHECK(ran_on == other_id);
}

TEST_CASE("get inside tasks is safe: fork and join", "[wait][S-WAIT-5]") {
  support::watchdog dog("fork and join");
  for (bool helping : {true, false})
    for (std::size_t threads : {1u, 2u}) {
      INFO("helping " << helping << ", threads " << threads);
      dg::thread_pool pool({.threads = threads, .waiters_help = helping});
      CHECK(pool.submit(fibonacci, &pool, helping ? 14 : 10).get() == (helping ? 377 : 55));
    }
}

TEST_CASE("get inside tasks is safe: a chain 1000 deep", "[wait][S-WAIT-5][L-2]") {
  support::watchdog dog("deep chain of get");
  for (std::size_t threads : {1u, 2u}) {
    dg::thread_pool pool(threads);
    CHECK(pool.submit(chain, &pool, 1000).get() == 1000);
    auto refs = pool.options(dg::num_returns<2>{}).submit(generator_chain, &pool, 500);
    CHECK(refs[1].get() == 500);
  }
}

TEST_CASE("get inside tasks is safe: a chain deeper than there are spare threads", "[wait][S-WAIT-5][L-2]") {
  support::watchdog dog("deep chain of get without helping");
  for (std::size_t threads : {1u, 2u}) {
    dg::thread_pool pool({.threads = threads, .waiters_help = false});
    CHECK(pool.submit(chain, &pool, 150).get() == 150);
  }
  dg::thread_pool no_spares({.threads = 1, .max_spare_threads = 0});
  CHECK(no_spares.submit(chain, &no_spares, 150).get() == 150);
  dg::thread_pool nothing({.threads = 1, .waiters_help = false, .max_spare_threads = 0});
  CHECK(nothing.submit(chain, &nothing, 50).get() == 50);
}

TEST_CASE("get inside tasks is safe: a tree", "[wait][S-WAIT-5]") {
  support::watchdog dog("tree of get");
  for (bool helping : {true, false})
    for (std::size_t threads : {1u, 2u}) {
      dg::thread_pool pool({.threads = threads, .waiters_help = helping});
      CHECK(pool.submit(tree, &pool, 4).get() == 256);
    }
}

TEST_CASE("get inside tasks is safe: a diamond", "[wait][S-WAIT-5]") {
  support::watchdog dog("diamond of get");
  for (bool helping : {true, false})
    for (std::size_t threads : {1u, 2u}) {
      dg::thread_pool pool({.threads = threads, .waiters_help = helping});
      for (int round = 0; round < 100; ++round) {
        dg::ref<int> top = pool.submit([] { return 1; });
        dg::ref<int> left = pool.submit([](dg::ref<int> t) { return t.get() + 1; }, dg::unresolved(top));
        dg::ref<int> right = pool.submit([](dg::ref<int> t) { return t.get() + 2; }, dg::unresolved(top));
        dg::ref<int> bottom = pool.submit([](dg::ref<int> l, dg::ref<int> r) { return l.get() + r.get(); },
                                          dg::unresolved(left), dg::unresolved(right));
        REQUIRE(bottom.get() == 5);
      }
    }
}

TEST_CASE("a task may wait for one submitted long before it, or for a promise that a later one fulfils",
          "[wait][S-WAIT-5]") {
  support::watchdog dog("waiting against the queue's order");
  dg::thread_pool pool(1);
  dg::manual_executor manual;
  std::vector<dg::ref<int>> forward;
  for (int i = 0; i < 50; ++i) {
    dg::ref<int> before = i == 0 ? dg::put(0) : forward.back();
    forward.push_back(pool.submit([](dg::ref<int> r) { return r.get() + 1; }, dg::unresolved(before)));
  }
  CHECK(forward.back().get() == 50);

  // The task that is submitted last fulfils the promise that the first one waits for.
  dg::ref<int> last = dg::on(manual).submit([] { return 0; });
  std::vector<dg::ref<int>> middle(20);
  for (std::size_t i = 0; i < 20; ++i) {
    dg::ref<int> below = i == 0 ? last : middle[i - 1];
    middle[i] = pool.submit([](dg::ref<int> r) { return r.get() + 1; }, dg::unresolved(below));
  }
  dg::ref<void> releases = pool.submit([&manual] { manual.run_all(); });
  CHECK(middle.back().get() == 20);
  releases.get();
}

TEST_CASE("a plain function's ref is ready only when the task has ended", "[wait][S-WAIT-7]") {
  support::watchdog dog("ready means ended");
  dg::thread_pool pool(2);
  support::tracked::reset();
  bool always = true;
  for (int round = 0; round < 2000; ++round) {
    dg::ref<int> result = pool.submit(
        [kept = support::tracked(1)](const support::tracked& argument) { return kept.value + argument.value; },
        support::tracked(2));
    if (round % 2 == 0)
      while (!result.ready()) std::this_thread::yield();
    else
      result.wait();
    always = always && support::tracked::live == 0 && !result.cancel() && result.completion().ready();
    if (!always) break;
  }
  CHECK(always);
}

TEST_CASE("a yielded value is ready before its task has ended", "[wait][S-WAIT-7]") {
  support::watchdog dog("yielded values are ready early");
  support::gate go_on;
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto refs = pool.options(dg::num_returns<1>{}).submit([&]() -> dg::generator<int> {
    co_yield 1;
    go_on.pass();
  });
  CHECK(refs[0].get() == 1);
  CHECK_FALSE(refs[0].completion().ready());
  go_on.open();
  refs[0].completion().get();
}

TEST_CASE("the timed waits of a ref return whether it is ready", "[wait][ref]") {
  support::watchdog dog("timed waits");
  dg::manual_executor manual;
  dg::ref<int> value = dg::on(manual).submit([] { return 4; });
  CHECK_FALSE(value.wait_for(0ms));
  CHECK_FALSE(value.wait_for(1ms));
  CHECK_FALSE(value.wait_until(std::chrono::steady_clock::now() - 1h));
  CHECK_FALSE(value.wait_until(std::chrono::system_clock::now() + 1ms));
  CHECK_THROWS_AS(value.get_for(1ms), dg::timeout_error);
  manual.run_all();
  CHECK(value.wait_for(0ms));
  CHECK(value.wait_until(std::chrono::steady_clock::now() - 1h));
  CHECK(value.get_for(0ms) == 4);
  CHECK(value.wait_for(std::chrono::hours::max()));
}

TEST_CASE("many threads may wait for one ref", "[wait][ref]") {
  support::watchdog dog("many waiters");
  for (int round = 0; round < 20; ++round) {
    dg::manual_executor manual;
    dg::ref<int> value = dg::on(manual).submit([] { return 4; });
    std::atomic<int> right{0}, waiting{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&, copy = value, i] {
        ++waiting;
        if (i % 2 == 0)
          right += copy.get() == 4 ? 1 : 0;
        else
          right += copy.wait_for(1h) ? 1 : 0;
      });
    if (round % 2 == 0)
      while (waiting != 8) std::this_thread::yield();
    manual.run_all();
    for (auto& thread : threads) thread.join();
    REQUIRE(right == 8);
  }
}

TEST_CASE("an inline task may wait for a task elsewhere that depends on one queued behind it",
          "[wait][inline][S-WAIT-5]") {
  support::watchdog dog("an inline task waits across executors");
  dg::thread_pool pool(2);
  dg::inline_executor here;
  auto outer = dg::on(here).submit([&] {
    auto behind = dg::on(here).submit([] { return 1; });
    auto elsewhere = pool.submit([](int x) { return x + 1; }, behind);
    return elsewhere.get() + 1;
  });
  CHECK(outer.get() == 3);
}

TEST_CASE("code run inline by a publisher may wait for a thread that the same value wakes", "[wait][L-4]") {
  support::watchdog dog("inline code in the middle of waking others");
  dg::inline_executor at_once;
  for (int round = 0; round < 20; ++round) {
    dg::manual_executor manual;
    std::atomic<bool> about_to_wait{false}, woke{false};
    const dg::ref<int> value = dg::on(manual).submit([] { return 1; });
    const dg::ref<int> dependent = dg::on(at_once).submit(
        [&](int v) {
          while (!woke) std::this_thread::yield();
          return v + 1;
        },
        value);
    std::thread reader([&] {
      about_to_wait = true;
      value.wait();
      woke = true;
    });
    while (!about_to_wait) std::this_thread::yield();
    for (int i = 0; i < 50; ++i) std::this_thread::yield();
    manual.run_all();
    reader.join();
    CHECK(dependent.get() == 2);
  }
}

}  // namespace test_waiting
