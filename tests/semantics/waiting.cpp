// SPDX-License-Identifier: MIT
// Dependencies and waiting: which waits occupy a thread, which thread runs which task, and what the waiting functions
// return.

#include "../catch.hpp"
#include "../support.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace test_waiting {

namespace {

using namespace std::chrono_literals;

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

/// Keeps the workers of a pool busy until it is released.
class blocker {
 public:
  explicit blocker(dg::thread_pool& pool) {
    for (std::size_t i = 0; i < pool.threads(); ++i)
      tasks_.push_back(pool.submit([this] {
        ++inside_;
        free_.pass();
      }));
    while (inside_ != static_cast<int>(tasks_.size())) std::this_thread::yield();
  }
  blocker(const blocker&) = delete;
  blocker& operator=(const blocker&) = delete;
  ~blocker() {
    release();
    for (auto& task : tasks_) task.wait();
  }
  void release() { free_.open(); }

 private:
  std::atomic<int> inside_{0};
  support::gate free_;
  std::vector<dg::ref<void>> tasks_;
};

template <class Wait>
std::optional<std::size_t> index_within(Wait wait, std::size_t count) {
  try {
    auto index = wait();
    if constexpr (requires { index.has_value(); }) {
      if (!index.has_value()) return std::nullopt;
      return static_cast<std::size_t>(*index);
    } else {
      if (static_cast<std::size_t>(index) >= count) return std::nullopt;
      return static_cast<std::size_t>(index);
    }
  } catch (const dg::timeout_error&) {
    return std::nullopt;
  }
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

TEST_CASE("wait returns the ready and the pending refs, each in input order", "[wait][S-WAIT-3]") {
  support::watchdog dog("wait");
  dg::manual_executor one, two;
  std::vector<dg::ref<int>> refs;
  for (int i = 0; i < 6; ++i) {
    dg::manual_executor& chosen = i % 2 == 0 ? one : two;
    refs.push_back(dg::on(chosen).submit([i] {
      if (i == 3) throw support::boom();
      return i;
    }));
  }
  two.run_all();

  auto result = dg::wait(refs, 3);
  CHECK(result.ready == std::vector<dg::ref<int>>{refs[1], refs[3], refs[5]});
  CHECK(result.pending == std::vector<dg::ref<int>>{refs[0], refs[2], refs[4]});
  CHECK(result.ready[1].failed());

  // Nothing was consumed.
  CHECK(refs.size() == 6);
  CHECK(refs[1].get() == 1);
  CHECK(refs[5].get() == 5);

  auto none = dg::wait(refs, 0);
  CHECK(none.ready.size() + none.pending.size() == 6);

  auto late = dg::wait(refs, 6, 1ms);
  CHECK(late.ready.size() == 3);
  CHECK(late.pending.size() == 3);

  one.run_all();
  auto all = dg::wait(refs, 6);
  CHECK(all.ready == refs);
  CHECK(all.pending.empty());
}

TEST_CASE("wait returns at most the requested number as ready, and the others as pending", "[wait][S-WAIT-3]") {
  support::watchdog dog("wait for some of those that are ready");
  dg::manual_executor manual;
  std::vector<dg::ref<int>> refs;
  for (int i = 0; i < 6; ++i) refs.push_back(i == 1 || i == 4 ? dg::on(manual).submit([i] { return i; }) : dg::put(i));
  for (const bool timed : {false, true}) {
    auto some = timed ? dg::wait(refs, 2, 1h) : dg::wait(refs, 2);
    CHECK(some.ready == std::vector<dg::ref<int>>{refs[0], refs[2]});
    CHECK(some.pending == std::vector<dg::ref<int>>{refs[1], refs[3], refs[4], refs[5]});
    auto none = timed ? dg::wait(refs, 0, 0s) : dg::wait(refs, 0);
    CHECK(none.ready.empty());
    CHECK(none.pending == refs);
  }
  auto all_there = dg::wait(refs, refs.size(), 0s);
  CHECK(all_there.ready == std::vector<dg::ref<int>>{refs[0], refs[2], refs[3], refs[5]});
  CHECK(all_there.pending == std::vector<dg::ref<int>>{refs[1], refs[4]});
  const std::vector<dg::ref<int>> twice{refs[1], refs[0], refs[0], refs[0]};
  auto two = dg::wait(twice, 2);
  CHECK(two.ready == std::vector<dg::ref<int>>{refs[0], refs[0]});
  CHECK(two.pending == std::vector<dg::ref<int>>{refs[1], refs[0]});
  manual.run_all();
}

TEST_CASE("a loop that uses the ready refs and continues with the pending ones loses none", "[wait][S-WAIT-3]") {
  support::watchdog dog("the loop over wait");
  dg::thread_pool pool(2);
  std::vector<dg::ref<int>> rest;
  for (int i = 0; i < 300; ++i) rest.push_back(pool.submit([i] { return i; }));
  std::vector<int> seen;
  for (std::size_t many = 1; !rest.empty(); many = many % 3 + 1) {
    auto [ready, pending] = dg::wait(std::move(rest), many < rest.size() ? many : 1);
    for (const dg::ref<int>& r : ready) seen.push_back(r.get());
    rest = std::move(pending);
  }
  std::sort(seen.begin(), seen.end());
  REQUIRE(seen.size() == 300);
  for (int i = 0; i < 300; ++i) REQUIRE(seen[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("wait moves the refs out of an rvalue container, unless it throws", "[wait][S-WAIT-3]") {
  std::vector<dg::ref<std::unique_ptr<int>>> refs;
  for (int i = 0; i < 3; ++i) refs.push_back(dg::put(std::make_unique<int>(i)));
  CHECK_THROWS_AS(dg::wait(std::move(refs), 4), std::invalid_argument);
  refs.emplace_back();
  CHECK_THROWS_AS(dg::wait(std::move(refs), 1), dg::empty_ref);
  refs.pop_back();
  REQUIRE(refs.size() == 3);
  for (const auto& r : refs) REQUIRE(r.valid());
  auto [ready, pending] = dg::wait(std::move(refs), 2);
  REQUIRE(ready.size() == 2);
  REQUIRE(pending.size() == 1);
  CHECK(*std::move(ready[0]).take() == 0);  // the only ref to its value
  CHECK(*std::move(pending[0]).take() == 2);

  std::vector<dg::ref<std::unique_ptr<int>>> kept;
  for (int i = 0; i < 3; ++i) kept.push_back(dg::put(std::make_unique<int>(i)));
  auto of_view = dg::wait(std::span(kept), 1);  // a view owns nothing
  for (const auto& r : kept) CHECK(r.valid());
  CHECK(of_view.ready.front() == kept[0]);
}

TEST_CASE("wait reads a range that computes its refs only once", "[wait][S-WAIT-3]") {
  support::watchdog dog("ranges that make their refs");
  dg::thread_pool pool(2);
  int made = 0;
  auto tasks = std::views::iota(0, 5) | std::views::transform([&](int i) { return ++made, pool.submit([i] { return i; }); });
  auto [ready, pending] = dg::wait(tasks, 5);
  CHECK(made == 5);
  REQUIRE(ready.size() == 5);
  for (int i = 0; i < 5; ++i) CHECK(ready[static_cast<std::size_t>(i)].get() == i);
  CHECK(dg::wait_any(tasks) < 5u);
  CHECK(made == 10);

  const auto refs = [&]() -> dg::generator<dg::ref<int>> {
    for (int i = 0; i < 3; ++i) {
      auto r = pool.submit([i] { return i; });
      co_yield std::move(r);
    }
  };
  auto generated = refs();
  CHECK(dg::wait(generated, 2).ready.size() == 2);
  auto any = refs();
  CHECK(dg::wait_any(any) < 3u);

  std::vector<dg::ref<int>> some{dg::put(1), dg::put(2), dg::put(3)};
  auto odd = some | std::views::filter([](const dg::ref<int>& r) { return r.get() % 2 == 1; });
  CHECK(dg::wait(odd, 2).ready == std::vector<dg::ref<int>>{some[0], some[2]});
  CHECK(dg::wait_any(odd) < 2u);
  std::list<dg::ref<int>> list(some.begin(), some.end());
  CHECK(dg::wait(list, 3).ready == some);
  CHECK(dg::wait_any(list) < 3u);
}

TEST_CASE("wait waits for one ref by default", "[wait][S-WAIT-3]") {
  support::watchdog dog("wait for one");
  dg::manual_executor manual;
  std::vector<dg::ref<int>> refs;
  for (int i = 0; i < 3; ++i) refs.push_back(dg::on(manual).submit([i] { return i; }));
  manual.run_one();
  auto result = dg::wait(refs);
  CHECK(result.ready.size() == 1);
  CHECK(result.ready.front() == refs[0]);
  CHECK(result.pending.size() == 2);
}

TEST_CASE("wait blocks until the requested number of refs is ready", "[wait][S-WAIT-3]") {
  support::watchdog dog("wait blocks");
  for (int round = 0; round < 50; ++round) {
    dg::manual_executor manual;
    std::vector<dg::ref<int>> refs;
    for (int i = 0; i < 8; ++i) refs.push_back(dg::on(manual).submit([i] { return i; }));
    std::atomic<bool> waiting{false}, returned{false};
    std::atomic<std::size_t> ready{0};
    std::thread waiter([&] {
      waiting = true;
      ready = dg::wait(refs, 5).ready.size();
      returned = true;
    });
    while (!waiting) std::this_thread::yield();
    for (int i = 0; i < 4; ++i) manual.run_one();
    CHECK_FALSE(returned);
    manual.run_one();
    waiter.join();
    CHECK(ready == 5);
    manual.run_all();
  }
}

TEST_CASE("a blocked get runs the queued task on the waiting thread", "[wait][S-WAIT-4][L-6]") {
  support::watchdog dog("helping");
  std::atomic<bool> other_ran{false};
  dg::thread_pool pool(1);
  blocker busy(pool);
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
    blocker busy(pool);
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
  blocker busy(pool);
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
    blocker busy(pool);
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
    CHECK_FALSE(index_within([&] { return dg::wait_any_for(2ms, task, stream); }, 2).has_value());
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
    blocker busy(pool);
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
    blocker busy(pool);
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

TEST_CASE("a wait for more refs than are given is refused", "[wait][S-WAIT-8]") {
  support::watchdog dog("too many asked for");
  dg::manual_executor manual;
  std::vector<dg::ref<int>> refs{dg::put(1), dg::put(2)};
  CHECK_THROWS_AS(dg::wait(refs, 3), std::invalid_argument);
  CHECK_THROWS_AS(dg::wait(refs, 3, 1ms), std::invalid_argument);
  CHECK_THROWS_AS(dg::wait(std::vector<dg::ref<int>>{}, 1), std::invalid_argument);
  CHECK(dg::wait(refs, 2).ready.size() == 2);
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
  for (int i = 0; i < 10; ++i) refs.push_back(pool.submit(add, i, 1));
  CHECK(dg::get(refs) == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  CHECK(refs[3].get() == 4);

  std::vector<dg::ref<std::unique_ptr<int>>> owners;
  for (int i = 0; i < 3; ++i) owners.push_back(pool.submit([i] { return std::make_unique<int>(i); }));
  std::vector<std::unique_ptr<int>> values = dg::get(std::move(owners));
  REQUIRE(values.size() == 3);
  CHECK(*values[2] == 2);
}

TEST_CASE("wait_any starts its scan at a rotating position, so that no operand starves", "[wait][wait_any]") {
  support::watchdog dog("wait_any rotates");
  auto a = dg::put(1);
  auto b = dg::put(2);
  auto c = dg::put(3);
  std::vector<int> hits(3);
  for (int i = 0; i < 300; ++i) ++hits[dg::wait_any(a, b, c)];
  for (int hit : hits) CHECK(hit >= 30);

  std::vector<dg::ref<int>> range{a, b, c};
  std::vector<int> range_hits(3);
  for (int i = 0; i < 300; ++i) ++range_hits[dg::wait_any(range)];
  for (int hit : range_hits) CHECK(hit >= 30);
}

TEST_CASE("wait_any checks few of many operands if a fixed share of them is ready", "[wait][wait_any][S-WAIT-3]") {
  support::watchdog dog("wait_any of many");
  dg::manual_executor never_run;
  const dg::ref<int> there = dg::put(1);
  const dg::ref<int> not_there = dg::on(never_run).submit([] { return 0; });
  constexpr int count = 100'000;
  for (const int share : {1, 2, 10}) {
    for (const bool at_the_end : {true, false}) {
      long looks = 0;
      const auto refs = std::views::iota(0, count) | std::views::transform([&](int i) -> const dg::ref<int>& {
                          ++looks;
                          const int from_there = at_the_end ? count - 1 - i : i;
                          return from_there < count / share ? there : not_there;
                        });
      constexpr int calls = 1000;
      for (int call = 0; call < calls; ++call) {
        const std::size_t found = dg::wait_any(refs);
        REQUIRE(found < static_cast<std::size_t>(count));
        REQUIRE(refs[static_cast<int>(found)].ready());
      }
      INFO("one of " << share << " is ready, " << (at_the_end ? "the last" : "the first"));
      CHECK(looks <= calls * (2 * share + 2));
    }
  }
  // None but one: found nevertheless, in each place.
  for (int place = 0; place < 200; place += 7) {
    std::vector<dg::ref<int>> refs(200, not_there);
    refs[static_cast<std::size_t>(place)] = there;
    REQUIRE(dg::wait_any(refs) == static_cast<std::size_t>(place));
    REQUIRE(dg::wait_any_for(1h, refs) == static_cast<std::size_t>(place));
  }
  // All: none is starved.
  const std::vector<dg::ref<int>> refs(100, there);
  std::vector<int> hits(100);
  for (int i = 0; i < 10'000; ++i) ++hits[dg::wait_any(refs)];
  for (int hit : hits) CHECK(hit >= 50);
  const std::vector<dg::ref<int>> none(200, not_there);
  CHECK_FALSE(index_within([&] { return dg::wait_any_for(1ms, none); }, 200).has_value());
  never_run.run_all();
}

TEST_CASE("wait_any and when_any refuse the empty handles that they scan", "[wait][wait_any]") {
  const dg::ref<int> there = dg::put(1);
  std::vector<dg::ref<int>> few(64, there);
  few[63] = dg::ref<int>();
  for (int i = 0; i < 70; ++i) CHECK_THROWS_AS(dg::wait_any(few), dg::empty_ref);
  std::vector<dg::ref<int>> many(1000);
  CHECK_THROWS_AS(dg::wait_any(many), dg::empty_ref);
  dg::inline_executor here;
  CHECK_THROWS_AS(dg::on(here).submit([&]() -> dg::task<std::size_t> { co_return co_await dg::when_any(few); }).get(), dg::empty_ref);
  std::vector<dg::ref<int>> nothing;
  CHECK_THROWS_AS(dg::on(here).submit([&]() -> dg::task<std::size_t> { co_return co_await dg::when_any(nothing); }).get(), std::invalid_argument);
}

TEST_CASE("when_any takes ranges of each kind", "[wait][await]") {
  support::watchdog dog("when_any of ranges");
  dg::thread_pool pool(2);
  const auto body = [&]() -> dg::task<int> {
    int found = 0;
    std::vector<dg::ref<int>> many(1000, dg::put(1));
    found += co_await dg::when_any(many) < 1000u;
    std::vector<dg::ref<int>> few(3, dg::put(1));
    found += co_await dg::when_any(std::move(few)) < 3u;
    auto made = std::views::iota(0, 3) | std::views::transform([&](int i) { return pool.submit([i] { return i; }); });
    found += co_await dg::when_any(made) < 3u;
    auto later = pool.submit([] { return 1; });
    std::vector<dg::ref<int>> one(200, later);
    found += co_await dg::when_any(one) < 200u;
    co_return found;
  };
  CHECK(pool.submit(body).get() == 4);
}

TEST_CASE("wait_any finds the one that is ready and consumes nothing", "[wait][wait_any]") {
  support::watchdog dog("wait_any");
  dg::manual_executor never_run;
  dg::thread_pool pool(2);
  dg::ref<int> never = dg::on(never_run).submit([] { return 0; });
  for (int round = 0; round < 500; ++round) {
    dg::ref<int> soon = pool.submit([round] { return round; });
    REQUIRE(dg::wait_any(never, soon) == 1);
    REQUIRE(soon.get() == round);
  }
  dg::ref<int> fails = pool.submit([]() -> int { throw support::boom(); });
  CHECK(dg::wait_any(fails, never) == 0);
  CHECK(fails.failed());
  CHECK_FALSE(index_within([&] { return dg::wait_any_for(1ms, never); }, 1).has_value());
  CHECK(index_within([&] { return dg::wait_any_for(1h, never, fails); }, 2) == std::optional<std::size_t>(1));
}

TEST_CASE("wait_any on a worker of a small pool does not keep the others from running", "[wait][wait_any][L-2]") {
  support::watchdog dog("wait_any on a worker");
  for (bool helping : {true, false}) {
    dg::thread_pool pool({.threads = 1, .waiters_help = helping});
    dg::ref<std::size_t> index = pool.submit([&pool] {
      dg::ref<int> a = pool.submit([] { return 1; });
      dg::ref<int> b = pool.submit([] { return 2; });
      return static_cast<std::size_t>(dg::wait_any(a, b));
    });
    CHECK(index.get() < 2);
  }
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
