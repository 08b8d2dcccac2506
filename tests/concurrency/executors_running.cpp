// SPDX-License-Identifier: MIT
// What running tasks may do on every executor: await and resume there, be cancelled in every state, be retried, share
// budgets, ask about themselves, be actors; and how they end when their executor discards its work.

#include "../catch.hpp"
#include "../semantics/probes.hpp"
#include "executor_fixtures.hpp"

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace test_executors_running {

using namespace std::chrono_literals;
using support::awaits;
using support::boom;
using support::count_to;
using support::holds;
using support::later;

namespace {

dg::task<int> adds_one(dg::ref<int> r) { co_return 1 + co_await r; }

void long_chains(const dg::executor_target& run) {
  later first;
  dg::ref<int> last = first.ref;
  for (int i = 0; i < 20'000; ++i) last = run.submit(adds_one, dg::unresolved(last));
  first.promise.set_value(0);
  CHECK(last.get() == 20'000);
  // Each task submits the next one.
  struct body {
    static dg::task<int> down(dg::executor_target run, int n) {
      if (n == 0) co_return 0;
      co_return 1 + co_await run.submit(down, run, n - 1);
    }
  };
  CHECK(run.submit(body::down, run, 5000).get() == 5000);
  // Streams that read streams by co_await.
  auto stream = run.options(dg::backpressure{2}).submit(count_to, 200);
  for (int i = 0; i < 8; ++i) {
    stream = run.options(dg::backpressure{2})
                 .submit(
                     [](dg::ref_stream<int> in) -> dg::generator<int> {
                       while (auto v = co_await in.async_value()) co_yield *v + 1;
                     },
                     std::move(stream));
  }
  int expected = 8;
  while (auto v = stream.next_value())
    if (*v == expected) ++expected;
  CHECK(expected == 208);
}

void all_and_any(const dg::executor_target& run) {
  struct body {
    static dg::task<int> square(int n) {
      co_await dg::this_task::yield();
      if (n < 0) throw boom(std::to_string(n));
      co_return n* n;
    }
    static dg::task<long> sum_of_squares(int n) {
      std::vector<dg::task<int>> parts;
      for (int i = 0; i < n; ++i) parts.push_back(square(i));
      long sum = 0;
      for (int v : co_await dg::when_all(std::move(parts))) sum += v;
      co_return sum;
    }
    static dg::task<int> fails() {
      auto [a, b, c] = co_await dg::when_all(square(1), square(-2), square(-3));
      co_return a + b + c;
    }
    static dg::task<long> takes_from_any(std::vector<dg::ref_stream<int>> streams) {
      long sum = 0;
      for (;;) {
        const std::size_t i = co_await dg::when_any(streams);
        const std::optional<int> v = co_await streams[i].async_value();
        if (!v) co_return sum;  // an ended stream counts only when all have ended
        sum += *v;
      }
    }
  };
  CHECK(run.submit(body::sum_of_squares, 100).get() == 328'350);
  CHECK(support::message_of([&] { run.submit(body::fails).get(); }) == "-2");
  std::vector<dg::ref_stream<int>> streams;
  for (int i = 1; i <= 4; ++i) streams.push_back(run.options(dg::backpressure{i}).submit(count_to, 50));
  CHECK(run.submit(body::takes_from_any, std::move(streams)).get() == 4 * 1225);
}

void goes_on(const dg::executor_target& run, bool at_once) {
  for (int round = 0; round < 50; ++round) {
    later value;
    auto r = run.submit(
        [](dg::ref<int> in) -> dg::task<std::thread::id> {
          co_await in;
          co_return std::this_thread::get_id();
        },
        dg::unresolved(value.ref));
    value.promise.set_value(1);
    REQUIRE(r.wait_for(60s));  // a timed wait runs no task here
    CHECK((r.get() == std::this_thread::get_id()) == at_once);
  }
}

void cancelling(const dg::executor_target& run) {
  later never;
  std::atomic<int> alive{0};
  for (int round = 0; round < 20; ++round) {
    auto waiting = run.submit([](int v) { return v; }, never.ref);
    auto after = run.options(dg::after(never.ref)).submit([] { return 1; });
    auto awaiting = run.submit(
        [&](dg::ref<int> r) -> dg::task<int> {
          const support::witness here(alive);
          co_return co_await r;
        },
        dg::unresolved(never.ref));
    auto nested = run.submit(
        [&](dg::ref<int> r) -> dg::task<int> {
          const support::witness here(alive);
          co_return co_await awaits(r);
        },
        dg::unresolved(never.ref));
    auto both = run.submit(
        [&](dg::ref<int> r) -> dg::task<int> {
          const support::witness here(alive);
          auto [a, b] = co_await dg::when_all(awaits(r), awaits(r));
          co_return a + b;
        },
        dg::unresolved(never.ref));
    auto full = run.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
      const support::witness here(alive);
      for (int i = 0;; ++i) co_yield i;
    });
    auto dropped = run.options(dg::backpressure{1})
                       .submit(
                           [&](dg::ref<int> r) -> dg::generator<int> {
                             const support::witness here(alive);
                             co_yield 1;
                             co_yield co_await r;
                           },
                           dg::unresolved(never.ref));
    auto dependent = run.submit([](int v) { return v; }, awaiting);
    if (round % 2 == 0) {
      CHECK(full.next_value() == 0);
      CHECK(dropped.next_value() == 1);
    }
    auto dropped_end = dropped.completion();
    dropped = {};
    CHECK(waiting.cancel());
    CHECK(dg::cancel(after));
    CHECK(awaiting.cancel());
    CHECK(nested.cancel());
    CHECK(both.cancel());
    CHECK(full.cancel());
    CHECK(holds<dg::cancelled_error>(waiting));
    CHECK(holds<dg::cancelled_error>(after));
    CHECK(holds<dg::cancelled_error>(awaiting));
    CHECK(holds<dg::cancelled_error>(dependent));
    CHECK(holds<dg::cancelled_error>(nested));
    CHECK(holds<dg::cancelled_error>(both));
    CHECK(holds<dg::cancelled_error>(full.completion()));
    CHECK(holds<dg::cancelled_error>(dropped_end));
    CHECK_FALSE(waiting.cancel());
    CHECK_FALSE(full.cancel());
    CHECK(alive == 0);
  }
  // The children of a cancelled when_all are cancelled too, but perhaps not yet ended.
  never.promise.set_value(1);
}

void cancel_races(const dg::executor_target& run) {
  for (int round = 0; round < 300; ++round) {
    later value;
    auto r = run.submit(awaits, dg::unresolved(value.ref));
    auto s = run.options(dg::backpressure{1}).submit(count_to, 3);
    std::thread other([&] {
      r.cancel();
      s.cancel();
    });
    value.promise.set_value(round);
    int n = 0;
    bool cancelled = false;
    while (auto item = s.next()) {
      if (item->failed())
        cancelled = true;
      else
        REQUIRE(item->get() == n++);
    }
    REQUIRE((cancelled || n == 3));
    const std::exception_ptr e = r.error();
    if (e)
      REQUIRE(holds<dg::cancelled_error>(r));
    else
      REQUIRE(r.get() == round);
    other.join();
  }
}

void attempts(const dg::executor_target& run) {
  std::atomic<int> steps{0};
  auto values = [&steps](int n) -> dg::generator<int> {
    for (int i = 0; i < n; ++i) {
      if (i == 2 && dg::this_task::attempt() <= 3) throw boom("again");
      ++steps;
      co_yield i;
    }
  };
  auto task = [&steps](int n) -> dg::task<int> {
    ++steps;
    co_await dg::this_task::yield();
    if (dg::this_task::attempt() <= 3) throw boom("again");
    co_return n;
  };
  auto function = [&steps](int n) {
    ++steps;
    if (dg::this_task::attempt() <= 3) throw boom("again");
    return n;
  };
  const std::vector<int> expected{0, 1, 2, 3};
  CHECK(run.options(dg::max_retries{3}).submit(function, 7).get() == 7);
  CHECK(run.options(dg::max_retries{3}).submit(task, 8).get() == 8);
  CHECK(steps == 4 + 4);
  steps = 0;
  std::vector<int> seen;
  for (int v : run.options(dg::max_retries{3}, dg::backpressure{1}).submit(values, 4).values()) seen.push_back(v);
  CHECK(seen == expected);
  CHECK(run.options(dg::max_retries{3}, dg::dynamic).submit(values, 4).get().size() == 4);
  auto refs = run.options(dg::max_retries{3}, dg::num_returns<4>{}).submit(values, 4);
  for (int i = 0; i < 4; ++i) CHECK(refs[static_cast<std::size_t>(i)].get() == i);
  refs[0].completion().get();
  CHECK(steps == 3 * (3 * 2 + 4));
  auto used_up = run.options(dg::max_retries{1}).submit(values, 4);
  CHECK(used_up.next_value() == 0);
  CHECK(used_up.next_value() == 1);
  CHECK_THROWS_AS(used_up.next_value(), boom);
  auto shrinks = run.options(dg::max_retries{1}).submit([]() -> dg::generator<int> {
    co_yield 1;
    if (dg::this_task::attempt() == 2) co_return;
    co_yield 2;
    throw boom();
  });
  shrinks.next();
  shrinks.next();
  CHECK_THROWS_AS(shrinks.next_value(), dg::nondeterministic_error);
}

void about_itself(const dg::executor_target& run) {
  auto r =
      run.options(dg::name{"self"}).submit([]() -> dg::task<std::tuple<std::uint64_t, std::string, std::uint64_t>> {
        co_await dg::this_task::yield();
        co_return std::tuple(dg::this_task::id(), dg::this_task::name(), dg::this_task::attempt());
      });
  CHECK(r.get() == std::tuple(r.id().task, std::string("self"), std::uint64_t{1}));
  // A plain function that polls its token, and one with a stop callback.
  std::stop_source source;
  std::atomic<int> inside{0};
  const auto with = run.options(dg::stop_on(source.get_token()));
  std::thread stopper([&] {
    while (inside != 1) std::this_thread::yield();
    source.request_stop();
  });
  auto looks = with.submit([&] {
    ++inside;
    const std::stop_token token = dg::this_task::get_stop_token();
    while (!dg::this_task::stop_requested()) std::this_thread::yield();
    return token.stop_requested() ? 1 : 2;
  });
  looks.wait();
  stopper.join();
  const int said = looks.error() ? 0 : looks.get();
  // The flag comes first, the token a moment later; a cancelled function may still return its value.
  CHECK((said == 1 || said == 2));
  CHECK(holds<dg::cancelled_error>(with.submit([] { return 1; })));
}

struct account {
  static inline std::atomic<int> alive{0};
  std::atomic<int> inside{0};
  int value = 0;
  explicit account(int start) : value(start) {
    if (start < 0) throw boom("below zero");
    ++alive;
  }
  account(const account&) = delete;
  account& operator=(const account&) = delete;
  ~account() { --alive; }
  int add(int n) {
    const bool alone = ++inside == 1;
    value += n;
    --inside;
    if (!alone) throw std::logic_error("two inside");
    return value;
  }
  dg::generator<int> count(int n) {
    for (int i = 0; i < n; ++i) {
      const int v = add(1);
      co_yield v;
    }
  }
  dg::task<int> add_later(dg::ref<int> r) {
    const int n = co_await r;
    co_return add(n);
  }
};

void actors(const dg::executor_target& run) {
  later later_value;
  {
    auto a = run.make_actor<account>(10);
    std::vector<dg::ref<int>> calls;
    for (int i = 1; i <= 500; ++i) calls.push_back(a.submit(&account::add, 1));
    for (int i = 1; i <= 500; ++i) REQUIRE(calls[static_cast<std::size_t>(i - 1)].get() == 10 + i);
    auto streamed = a.options(dg::backpressure{1}).submit(&account::count, 1'000'000);
    CHECK(streamed.next_value() == 511);
    auto behind = a.submit(&account::add, 0);
    streamed = {};
    CHECK(behind.get() >= 511);
    auto waits = a.submit(&account::add_later, dg::unresolved(later_value.ref));
    auto after = a.submit(&account::add, 0);
    CHECK_FALSE(after.wait_for(1ms));
    later_value.promise.set_value(1000);
    CHECK(waits.get() == after.get());
    CHECK(a.options(dg::dynamic).submit(&account::count, 3).get().size() == 3);
    auto itself = a.submit([a](account&) { return a.submit(&account::add, 1).get(); });
    CHECK(support::message_of([&] { itself.get(); }).find("own actor") != std::string::npos);
    auto two = run.options(dg::max_concurrency{2}, dg::name{"two"}).make_actor<account>(0);
    later first, second;
    auto one = two.submit(&account::add_later, dg::unresolved(first.ref));
    auto other = two.submit(&account::add_later, dg::unresolved(second.ref));
    second.promise.set_value(5);
    CHECK(other.get() == 5);
    first.promise.set_value(6);
    CHECK(one.get() == 11);
    two.kill();
    CHECK(holds<dg::actor_died>(two.submit(&account::add, 1)));
    auto poor = run.make_actor<account>(-1);
    CHECK(holds<dg::actor_died>(poor.submit(&account::add, 1)));
  }
  CHECK(support::eventually([] { return account::alive == 0; }));
}

void many_callers(const dg::executor_target& run) {
  auto a = run.make_actor<account>(0);
  auto call = [a](int n) -> dg::task<int> {
    int last = 0;
    for (int i = 0; i < n; ++i) last = co_await a.submit(&account::add, 1);
    co_return last;
  };
  std::vector<dg::ref<int>> callers;
  for (int i = 0; i < 10; ++i) callers.push_back(run.submit(call, 50));
  int highest = 0;
  for (auto& r : callers) highest = std::max(highest, r.get());
  CHECK(highest == 500);
}

/// Forwards work, until it gives up and discards it.
template <class Executor>
class gives_up {
 public:
  explicit gives_up(Executor& e) : executor_(e) {}
  void execute(dg::work w) noexcept {
    if (gave_up_) return;  // it is destroyed here
    ++under_way_;
    dg::on(executor_).submit([this, w = std::move(w)]() mutable {
      w();
      --under_way_;
    });
  }
  void give_up() { gave_up_ = true; }
  /// Whether all its work has run as far as it can.
  bool is_idle() const { return under_way_ == 0; }

 private:
  Executor& executor_;
  std::atomic<bool> gave_up_{false};
  std::atomic<int> under_way_{0};
};

template <class Executor>
void giving_up(Executor& base) {
  gives_up<Executor> executor(base);
  const auto run = dg::on(executor);
  later value;
  std::atomic<int> alive{0};
  auto parked = run.options(dg::backpressure{1}).submit([&alive]() -> dg::generator<support::tracked> {
    const support::witness here(alive);
    for (int i = 0;; ++i) co_yield i;
  });
  CHECK(parked.next_value()->value == 0);
  auto awaiting = run.submit(
      [&alive](dg::ref<int> r) -> dg::task<int> {
        const support::witness here(alive);
        co_return co_await r;
      },
      dg::unresolved(value.ref));
  auto waiting = run.submit([w = support::witness(alive)](int v) { return v; }, value.ref);
  auto retried = run.options(dg::max_retries{5})
                     .submit(
                         [](dg::ref<int> r) -> dg::task<int> {
                           co_await r;
                           throw boom();
                         },
                         dg::unresolved(value.ref));
  auto all = run.submit(
      [](dg::ref<int> r) -> dg::task<int> {
        auto [a, b] = co_await dg::when_all(awaits(r), awaits(r));
        co_return a + b;
      },
      dg::unresolved(value.ref));
  auto dependent = run.submit([](int v) { return v; }, waiting);
  auto beside = run.submit([] { return 3; });
  CHECK(beside.get() == 3);
  CHECK(support::eventually([&] { return executor.is_idle(); }));
  CHECK(alive == 3);

  executor.give_up();
  value.promise.set_value(1);
  auto late = run.submit([w = support::witness(alive)] { return 1; });
  auto late_stream = run.submit(count_to, 3);
  auto late_list = run.options(dg::dynamic).submit(count_to, 3);
  auto late_refs = run.options(dg::num_returns<2>{}).submit(count_to, 2);
  for (const auto& r : {awaiting, waiting, retried, all, dependent, late, late_refs[0], late_refs[1]})
    CHECK(holds<dg::cancelled_error>(r));
  CHECK(holds<dg::cancelled_error>(late_list));
  CHECK(holds<dg::cancelled_error>(*late_stream.next()));
  CHECK_FALSE(late_stream.next().has_value());
  // The yielded values are still there; no more are made.
  CHECK(parked.next_value()->value == 1);
  CHECK(holds<dg::cancelled_error>(parked.completion()));
  CHECK(alive == 0);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("long chains of tasks and streams that await each other", "[executor][await][S-STREAM-7]",
                        fixtures::all) {
  support::watchdog dog("chains on executors");
  TestType fixture;
  long_chains(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("all of many tasks, any of several streams", "[executor][await][S-AWAIT-1]", fixtures::all) {
  support::watchdog dog("all and any on executors");
  TestType fixture;
  all_and_any(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("a coroutine resumes on its executor, whichever thread stores what it awaits",
                        "[executor][await][S-WAIT-6]", fixtures::all) {
  support::watchdog dog("going on on executors");
  TestType fixture;
  goes_on(dg::on(fixture.executor), std::is_same_v<TestType, fixtures::at_once>);
}

TEMPLATE_LIST_TEST_CASE("tasks are cancelled in every state",
                        "[executor][cancel][S-CANCEL-1][S-CANCEL-2][S-CANCEL-5][S-CANCEL-7]", fixtures::all) {
  support::watchdog dog("cancelling on executors");
  TestType fixture;
  cancelling(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("of a cancel and a wake-up, or an end, that race exactly one takes effect",
                        "[executor][cancel][S-CANCEL-4]", fixtures::all) {
  support::watchdog dog("cancel races on executors");
  TestType fixture;
  cancel_races(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("retries run exactly the expected number of steps",
                        "[executor][retry][S-RETRY-1][S-RETRY-3][S-RETRY-4]", fixtures::all) {
  support::watchdog dog("attempts on executors");
  TestType fixture;
  attempts(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("tasks ask about themselves, and see requests to stop", "[executor][this_task][S-CANCEL-3]",
                        fixtures::all) {
  support::watchdog dog("this_task on executors");
  TestType fixture;
  about_itself(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("actors live on any executor", "[executor][actor][S-ACTOR-1][S-ACTOR-3][S-ACTOR-4][S-ACTOR-5]",
                        fixtures::all) {
  support::watchdog dog("actors on executors");
  TestType fixture;
  actors(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("one method at a time, on any executor", "[executor][actor][S-ACTOR-2]", fixtures::all) {
  support::watchdog dog("many callers on executors");
  TestType fixture;
  many_callers(dg::on(fixture.executor));
}

TEMPLATE_LIST_TEST_CASE("an executor that gives up leaves no ref pending", "[executor][stop][S-STOP-5]", fixtures::all) {
  support::watchdog dog("executors that give up");
  support::tracked::reset();
  {
    TestType fixture;
    giving_up(fixture.executor);
  }
  CHECK(support::tracked::live == 0);
}

}  // namespace test_executors_running
