// SPDX-License-Identifier: MIT
// describe(): the state of one task as text.

#include "../catch.hpp"
#include "probes.hpp"
#include "task_texts.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_describe {

using support::awaited;
using support::awaits;
using support::boom;
using support::count_to;
using support::counter;
using support::described;
using support::dumped;
using support::in_any_order;
using support::later;

namespace {

std::string number_of(std::uint64_t id) { return "#" + std::to_string(id); }

dg::generator<int> then_waits(int n, dg::ref<int> r) {
  for (int i = 0; i < n; ++i) co_yield i;
  co_yield co_await r;
}

struct pulling_forced {
  dg::detail::pulling before = dg::detail::pulling_mode.exchange(dg::detail::pulling::whenever_possible);
  ~pulling_forced() { dg::detail::pulling_mode = before; }
};

}  // namespace

TEST_CASE("describe shows number, name, state and attempt of a task from its submit to its end", "[describe]") {
  support::watchdog dog("describe: a life");
  dg::manual_executor manual;
  later x, y;
  auto r = dg::on(manual).options(dg::name{"sum"}).submit([](int a, int b) { return a + b; }, x.ref, y.ref);
  const std::uint64_t id = r.id().task;
  CHECK(dg::describe(r).find("task " + number_of(id) + " 'sum', attempt 1: waiting for promise #") == 0);
  CHECK(dg::describe(r) == "task " + number_of(id) + " 'sum', attempt 1: waiting for promise " +
                               number_of(x.ref.id().task) + ", promise " + number_of(y.ref.id().task));
  x.promise.set_value(1);
  CHECK(dg::describe(r) ==
        "task " + number_of(id) + " 'sum', attempt 1: waiting for promise " + number_of(y.ref.id().task));
  y.promise.set_value(2);
  CHECK(described(r) == "task # 'sum', attempt 1: queued");
  manual.run_all();
  CHECK(described(r) == "task # 'sum', attempt 1: completed");

  std::string inside;
  dg::ref<int> self;
  self = dg::on(manual).submit([&] {
    inside = described(self);
    return 1;
  });
  CHECK(described(self) == "task #, attempt 1: queued");
  manual.run_all();
  CHECK(inside == "task #, attempt 1: running");
  CHECK(described(self.completion()) == "task #, attempt 1: completed");
}

TEST_CASE("describe shows how a task has ended", "[describe]") {
  support::watchdog dog("describe: ends");
  dg::manual_executor manual;
  const auto run = dg::on(manual);
  auto failed = run.submit([]() -> int { throw boom("a\nb\x01"); });
  auto strange = run.submit([]() -> int { throw 1; });
  auto cancelled = run.submit([] { return 1; });
  auto dependent = run.submit([](int n) { return n; }, cancelled);
  cancelled.cancel();
  CHECK(described(cancelled) == "task #, attempt 1: queued, asked to stop");
  manual.run_all();
  CHECK(described(failed) == "task #, attempt 1: failed: a\\nb\\x01");
  CHECK(described(strange) == "task #, attempt 1: failed: an exception that is not a std::exception");
  CHECK(described(cancelled) == "task #, attempt 1: cancelled");
  // A task that failed because another one was cancelled was not cancelled itself.
  CHECK(described(dependent).find("task #, attempt 1: failed: dyngen: task # was cancelled") == 0);
}

TEST_CASE("describe counts attempts", "[describe][S-RETRY-1]") {
  support::watchdog dog("describe: attempts");
  dg::manual_executor manual;
  std::vector<std::string> seen;
  dg::ref<int> r;
  r = dg::on(manual).options(dg::max_retries{2}, dg::name{"again"}).submit([&]() -> int {
    seen.push_back(described(r));
    throw boom();
  });
  manual.run_all();
  CHECK(seen == std::vector<std::string>{"task # 'again', attempt 1: running", "task # 'again', attempt 2: running",
                                         "task # 'again', attempt 3: running"});
  CHECK(described(r) == "task # 'again', attempt 3: failed: boom");
}

TEST_CASE("describe shows what a coroutine awaits", "[describe][S-AWAIT-1]") {
  support::watchdog dog("describe: awaiting");
  dg::manual_executor manual;
  const auto run = dg::on(manual);
  later x, y;
  auto [first, second] = run.options(dg::num_returns<2>{}, dg::name{"pair"}).submit(then_waits, 1, x.ref);
  auto one = run.submit(awaits, second);
  auto both = run.submit(
      [](dg::ref<int> a, dg::ref<int> b) -> dg::task<int> {
        const auto [p, q] = co_await dg::when_all(a, b);
        co_return p + q;
      },
      x.ref, second);
  auto stream = run.options(dg::name{"walk"}).submit(then_waits, 0, x.ref);
  auto any = run.submit(
      [](dg::ref<int> a, dg::ref_stream<int> s) -> dg::task<std::size_t> { co_return co_await dg::when_any(a, s); },
      y.ref, std::move(stream));
  manual.run_all();
  CHECK(described(first) == "task # 'pair', attempt 1: awaiting promise #; value 0 is there");
  CHECK(described(second) == "task # 'pair', attempt 1: awaiting promise #; value 1 is not there yet");
  CHECK(described(one) == "task #, attempt 1: awaiting value 1 of task # 'pair'");
  CHECK(described(both) == "task #, attempt 1: awaiting promise #, value 1 of task # 'pair'");
  // when_any begins with another operand each time.
  const std::string some = described(any);
  CHECK((some == "task #, attempt 1: awaiting 1 of promise #, the next value of task # 'walk'" ||
         some == "task #, attempt 1: awaiting 1 of the next value of task # 'walk', promise #"));
  x.promise.set_value(1);
  CHECK(described(first) == "task # 'pair', attempt 1: queued; value 0 is there");
  manual.run_all();
  CHECK(described(second) == "task # 'pair', attempt 1: completed; value 1 is there");
  CHECK(any.get() == 1);
}

TEST_CASE("describe names the first few of many that are awaited", "[describe]") {
  support::watchdog dog("describe: many");
  dg::manual_executor manual;
  std::vector<later> all(11);
  std::vector<dg::ref<int>> refs;
  for (later& l : all) refs.push_back(l.ref);
  auto r = dg::on(manual).submit(
      [](std::vector<dg::ref<int>> some) -> dg::task<std::size_t> {
        const std::vector<int> values = co_await dg::when_all(some);
        co_return values.size();
      },
      refs);
  manual.run_all();
  std::string eight = "promise #";
  for (int i = 1; i < 8; ++i) eight += ", promise #";
  CHECK(described(r) == "task #, attempt 1: awaiting " + eight + " and 3 others");
  for (later& l : all) l.promise.set_value(1);
  manual.run_all();
  CHECK(r.get() == 11);
}

TEST_CASE("describe shows that a stream is full, and its budget", "[describe][S-STREAM-4][S-AWAIT-4]") {
  support::watchdog dog("describe: full streams");
  dg::manual_executor manual;
  const auto run = dg::on(manual);
  auto stream = run.options(dg::backpressure{3}, dg::name{"walk"}).submit(count_to, 10);
  CHECK(described(stream) == "task # 'walk', attempt 1: queued");
  manual.run_all();
  CHECK(described(stream) == "task # 'walk', attempt 1: suspended by backpressure, 3 values wait to be consumed");
  CHECK(stream.next_value() == 0);
  CHECK(described(stream) == "task # 'walk', attempt 1: queued; 2 values wait to be consumed");

  dg::budget bytes(10);
  auto charged = run.options(dg::backpressure_by(bytes, [](int) { return 6; })).submit(count_to, 3);
  manual.run_all();
  CHECK(described(charged) ==
        "task #, attempt 1: suspended by backpressure, its budget is used up (6 of 10); 1 value waits to be consumed");
  CHECK(charged.next_value() == 0);
  manual.run_all();
  CHECK(charged.next_value() == 1);
  manual.run_all();
  CHECK(described(charged) == "task #, attempt 1: completed; 1 value waits to be consumed");

  const std::uint64_t id = stream.id();
  stream.cancel();
  manual.run_all();
  CHECK(dg::describe(stream) ==
        "task " + number_of(id) + " 'walk', attempt 1: cancelled; 3 values wait to be consumed");
}

TEST_CASE("describe shows that a stream's producer is run by its reader", "[describe][pulling]") {
  support::watchdog dog("describe: pulled");
  const pulling_forced mode;
  support::gate started, over;
  std::string inside;
  dg::thread_pool pool(1);
  auto busy = pool.submit([&] {
    started.open();
    over.pass();
  });
  started.pass();
  std::atomic<dg::ref_stream<int>*> seen{nullptr};
  auto stream = pool.submit([&]() -> dg::generator<int> {
    for (int i = 0;; ++i) {
      if (i == 2) inside = described(*seen.load());
      co_yield i;
    }
  });
  seen = &stream;
  for (int i = 0; i < 3; ++i) CHECK(stream.next_value() == i);
  CHECK(inside == "task #, attempt 1: running");
  CHECK(described(stream) == "task #, attempt 1: suspended until its consumer asks for a value");
  CHECK(in_any_order(dumped(pool)) == in_any_order("pool, 1 thread: 2 tasks that have not ended\n"
                                                   "  task #, attempt 1: running\n"
                                                   "  task #, attempt 1: suspended until its consumer asks for a value\n"));
  over.open();
  busy.get();
}

TEST_CASE("describe shows where a producer blocks that its reader runs", "[describe][dump][pulling]") {
  support::watchdog dog("describe: blocked, pulled");
  const pulling_forced mode;
  support::gate started, over;
  dg::thread_pool pool(1);
  auto busy = pool.options(dg::name{"busy"}).submit([&] {
    started.open();
    over.pass();
  });
  started.pass();
  later x;
  auto stream = pool.options(dg::name{"walk"})
                    .submit(
                        [](dg::ref<int> r) -> dg::generator<int> {
                          for (int i = 0; i < 3; ++i) co_yield i;
                          const int last = r.get();
                          co_yield last;
                        },
                        dg::unresolved(x.ref));
  std::vector<int> read;
  std::thread reader([&] {
    for (const int value : stream.values()) read.push_back(value);
  });
  const std::string walk =
      "task # 'walk', attempt 1: running, blocked until it has promise #";
  const std::string all =
      "pool, 1 thread: 2 tasks that have not ended\n  task # 'busy', attempt 1: running\n  " + walk + "\n";
  CHECK(awaited([&] { return dumped(pool); }, all) == all);
  x.promise.set_value(7);
  reader.join();
  CHECK(read == std::vector<int>{0, 1, 2, 7});
  over.open();
  busy.get();
}

TEST_CASE("describe shows in which wait the code of a task blocks", "[describe][S-WAIT-5]") {
  support::watchdog dog("describe: blocked");
  dg::thread_pool pool(2);
  later x, y, z;
  auto one = pool.submit([r = x.ref] { return r.get(); });
  auto some =
      pool.submit([rs = std::vector<dg::ref<int>>{x.ref, y.ref, z.ref}] { return dg::wait(rs, 2).ready.size(); });
  const std::string one_text = "task #, attempt 1: running, blocked until it has promise #";
  CHECK(awaited([&] { return described(one); }, one_text) == one_text);
  const std::string some_text = "task #, attempt 1: running, blocked until it has 2 of promise #, promise #, promise #";
  CHECK(awaited([&] { return described(some); }, some_text) == some_text);
  some.cancel();
  CHECK(described(some) == some_text + ", asked to stop");
  x.promise.set_value(1);
  y.promise.set_value(1);
  CHECK(some.get() == 2);
  CHECK(one.get() == 1);
  CHECK(described(some) == "task #, attempt 1: completed");
}

TEST_CASE("describe shows the task that a thread runs while another task waits for it on that thread",
          "[describe][S-WAIT-4]") {
  support::watchdog dog("describe: helping");
  support::gate started, go;
  dg::thread_pool pool(1);
  auto outer = pool.submit([&] {
    auto inner = pool.options(dg::name{"inner"}).submit([&] {
      started.open();
      go.pass();
      return 1;
    });
    return inner.get();
  });
  started.pass();
  CHECK(described(outer) == "task #, attempt 1: running, waits while its thread runs task # 'inner'");
  const std::string text = dumped(pool);
  CHECK(text ==
        "pool, 1 thread: 2 tasks that have not ended\n"
        "  task # 'inner', attempt 1: running\n"
        "  task #, attempt 1: running, waits while its thread runs task # 'inner'\n");
  go.open();
  CHECK(outer.get() == 1);
}

TEST_CASE("describe takes every handle, and throws for an empty one", "[describe]") {
  support::watchdog dog("describe: handles");
  dg::manual_executor manual;
  const auto run = dg::on(manual);
  auto list = run.options(dg::dynamic, dg::name{"listed"}).submit(count_to, 3);
  CHECK(described(list) == "task # 'listed', attempt 1: queued");
  manual.run_all();
  CHECK(described(list) == "task # 'listed', attempt 1: completed");
  CHECK(described(list.get()) == "task # 'listed', attempt 1: completed; 3 values");
  CHECK(described(list.get()[1]) == "task # 'listed', attempt 1: completed; value 1 is there");
  auto failed = run.options(dg::dynamic).submit([]() -> dg::generator<int> {
    co_yield 1;
    throw boom("after one");
  });
  manual.run_all();
  CHECK(described(failed.get()) == "task #, attempt 1: failed: after one; 2 values");

  CHECK(described(dg::put(1)) == "value #: ready");
  later kept, broken;
  CHECK(described(kept.ref) == "promise #: not fulfilled");
  kept.promise.set_value(1);
  CHECK(described(kept.ref) == "promise #: ready");
  broken.promise.set_exception(std::make_exception_ptr(boom("given up")));
  CHECK(described(broken.ref) == "promise #: failed: given up");
  dg::promise<void> event;
  auto happens = event.get_ref();
  CHECK(described(happens) == "promise #: not fulfilled");

  const auto [word, number] = run.submit([]() -> dg::tuple_generator<std::string, int> {
    co_yield std::string("x");
    co_yield 1;
  });
  CHECK(described(number) == "task #, attempt 1: queued; value 1 is not there yet");
  manual.run_all();
  CHECK(described(word) == "task #, attempt 1: completed; value 0 is there");

  CHECK_THROWS_AS(dg::describe(dg::ref<int>()), dg::empty_ref);
  CHECK_THROWS_AS(dg::describe(dg::ref<void>()), dg::empty_ref);
  CHECK_THROWS_AS(dg::describe(dg::ref_list<int>()), dg::empty_ref);
  CHECK_THROWS_AS(dg::describe(dg::ref_stream<int>()), dg::empty_ref);
}

TEST_CASE("names are shown in one line, whatever they contain", "[describe]") {
  support::watchdog dog("describe: names");
  dg::manual_executor manual;
  auto r = dg::on(manual).options(dg::name{"a\nb\x1b[0m\x7f 'c' \xc3\xa9"}).submit([] {});
  CHECK(described(r) == "task # 'a\\nb\\x1b[0m\\x7f 'c' \xc3\xa9', attempt 1: queued");
}

TEST_CASE("describe and dump name a call that waits behind a suspended generator method, and that method",
          "[describe][dump][S-ACTOR-4]") {
  support::watchdog dog("describe: actors");
  dg::thread_pool pool(2);
  auto a = pool.options(dg::name{"counter"}).make_actor<counter>();
  a.submit(&counter::get).get();
  auto walk = a.options(dg::backpressure{2}, dg::name{"walk"}).submit(&counter::walk, 10);
  auto call = a.options(dg::name{"get"}).submit(&counter::get);
  const std::string full = "task # 'walk', attempt 1: suspended by backpressure, 2 values wait to be consumed";
  CHECK(awaited([&] { return described(walk); }, full) == full);
  const std::string behind =
      "task # 'get', attempt 1: queued for its turn at actor 'counter', where "
      "task # 'walk' (suspended by backpressure, 2 values wait to be consumed) is in progress";
  CHECK(awaited([&] { return described(call); }, behind) == behind);
  CHECK(in_any_order(dumped(pool)) == in_any_order("pool, 2 threads: 3 tasks that have not ended\n"
                                                   "  actor # 'counter': ends when its last handle is gone\n"
                                                   "  " +
                                                   full + "\n  " + behind + "\n"));
  walk = {};
  CHECK(call.get() == 1);
  CHECK(described(call) == "task # 'get', attempt 1: completed");
}

TEST_CASE("describe shows why a call does not have its turn", "[describe][S-ACTOR-1]") {
  support::watchdog dog("describe: turns");
  dg::thread_pool pool(2);
  later x, y;

  SECTION("another call has it") {
    auto a = pool.make_actor<counter>();
    support::gate started, go;
    auto first = a.options(dg::name{"long"}).submit(&counter::waits, &started, &go);
    started.pass();
    auto second = a.submit(&counter::get);
    CHECK(described(second) == "task #, attempt 1: queued for its turn at its actor, which task # 'long' (running) has");
    go.open();
    CHECK(second.get() == 1);
  }
  SECTION("its constructor comes first") {
    auto a = pool.options(dg::name{"late"}).make_actor<counter>(x.ref);
    auto call = a.submit(&counter::get);
    const std::string text =
        "task #, attempt 1: queued for its turn at actor 'late', after constructor # 'late' (waiting for promise #)";
    CHECK(described(call) == text);
    x.promise.set_value(1);
    CHECK(call.get() == 1);
  }
  SECTION("an earlier call of the same submitter comes first") {
    auto a = pool.make_actor<counter>();
    a.submit(&counter::get).get();
    auto first = a.options(dg::name{"first"}).submit(&counter::add, x.ref);
    auto second = a.submit(&counter::get);
    CHECK(described(first) == "task # 'first', attempt 1: waiting for promise #");
    const std::string text =
        "task #, attempt 1: queued for its turn at its actor, after "
        "task # 'first' (waiting for promise #)";
    CHECK(awaited([&] { return described(second); }, text) == text);  // the call before them may be ending
    x.promise.set_value(1);
    CHECK(second.get() == 1);
  }
  SECTION("as many calls as allowed are in progress") {
    auto a = pool.options(dg::max_concurrency{2}).make_actor<counter>();
    auto first = a.options(dg::name{"first"}).submit(&counter::awaits_it, dg::unresolved(x.ref));
    auto second = a.options(dg::name{"second"}).submit(&counter::awaits_it, dg::unresolved(y.ref));
    auto third = a.submit(&counter::get);
    const std::string text =
        "task #, attempt 1: queued for its turn at its actor, where task # 'first' (awaiting promise #), "
        "task # 'second' (awaiting promise #) are in progress";
    CHECK(awaited([&] { return described(third); }, text) == text);
    x.promise.set_value(1);
    CHECK(third.get() == 1);
    y.promise.set_value(1);
  }
}

}  // namespace test_describe
