// SPDX-License-Identifier: MIT
// Tasks as text: describe() for one task, dump() for all tasks of a pool, and stats().

#include "../catch.hpp"
#include "probes.hpp"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace test_seeing {

namespace {

using namespace std::chrono_literals;
using support::awaits;
using support::boom;
using support::count_to;
using support::eventually;
using support::later;

/// The text with `#` in place of the number of each task.
std::string plain(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    result += text[i];
    if (text[i] == '#')
      while (i + 1 < text.size() && std::isdigit(static_cast<unsigned char>(text[i + 1]))) ++i;
  }
  return result;
}

template <class Handle>
std::string told(const Handle& handle) {
  return plain(dg::describe(handle));
}

std::string dumped(const dg::thread_pool& pool) {
  std::ostringstream os;
  pool.dump(os);
  return plain(os.str());
}

/// The text with its lines sorted: a dump lists tasks in the order in which they began to run or to wait.
std::string in_any_order(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream is(text);
  for (std::string line; std::getline(is, line);) lines.push_back(line);
  std::sort(lines.begin(), lines.end());
  std::string sorted;
  for (const std::string& line : lines) sorted += line + "\n";
  return sorted;
}

/// Waits until `look()` gives this text. Returns the last text.
template <class Look>
std::string awaited(Look look, const std::string& expected) {
  std::string last;
  eventually([&] { return (last = look()) == expected; });
  return last;
}

std::string number_of(std::uint64_t id) { return "#" + std::to_string(id); }

dg::generator<int> then_waits(int n, dg::ref<int> r) {
  for (int i = 0; i < n; ++i) co_yield i;
  co_yield co_await r;
}

struct pulling_forced {
  dg::detail::pulling before = dg::detail::pulling_mode.exchange(dg::detail::pulling::whenever_possible);
  ~pulling_forced() { dg::detail::pulling_mode = before; }
};

struct counter {
  counter() = default;
  explicit counter(int) {}
  int get() const { return 1; }
  int add(int n) const { return n; }
  int waits(support::gate* started, support::gate* go) const {
    started->open();
    go->pass();
    return 2;
  }
  dg::generator<int> walk(int n) const { return count_to(n); }
  dg::task<int> awaits_it(dg::ref<int> r) const { return awaits(std::move(r)); }
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
  CHECK(told(r) == "task # 'sum', attempt 1: queued");
  manual.run_all();
  CHECK(told(r) == "task # 'sum', attempt 1: completed");

  std::string inside;
  dg::ref<int> self;
  self = dg::on(manual).submit([&] {
    inside = told(self);
    return 1;
  });
  CHECK(told(self) == "task #, attempt 1: queued");
  manual.run_all();
  CHECK(inside == "task #, attempt 1: running");
  CHECK(told(self.completion()) == "task #, attempt 1: completed");
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
  CHECK(told(cancelled) == "task #, attempt 1: queued, asked to stop");
  manual.run_all();
  CHECK(told(failed) == "task #, attempt 1: failed: a\\nb\\x01");
  CHECK(told(strange) == "task #, attempt 1: failed: an exception that is not a std::exception");
  CHECK(told(cancelled) == "task #, attempt 1: cancelled");
  // A task that failed because another one was cancelled was not cancelled itself.
  CHECK(told(dependent).find("task #, attempt 1: failed: dyngen: task # was cancelled") == 0);
}

TEST_CASE("describe counts attempts", "[describe][S-RETRY-1]") {
  support::watchdog dog("describe: attempts");
  dg::manual_executor manual;
  std::vector<std::string> seen;
  dg::ref<int> r;
  r = dg::on(manual).options(dg::max_retries{2}, dg::name{"again"}).submit([&]() -> int {
    seen.push_back(told(r));
    throw boom();
  });
  manual.run_all();
  CHECK(seen == std::vector<std::string>{"task # 'again', attempt 1: running", "task # 'again', attempt 2: running",
                                         "task # 'again', attempt 3: running"});
  CHECK(told(r) == "task # 'again', attempt 3: failed: boom");
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
  CHECK(told(first) == "task # 'pair', attempt 1: awaiting promise #; value 0 is there");
  CHECK(told(second) == "task # 'pair', attempt 1: awaiting promise #; value 1 is not there yet");
  CHECK(told(one) == "task #, attempt 1: awaiting value 1 of task # 'pair'");
  CHECK(told(both) == "task #, attempt 1: awaiting promise #, value 1 of task # 'pair'");
  // when_any begins with another operand each time.
  const std::string some = told(any);
  CHECK((some == "task #, attempt 1: awaiting 1 of promise #, the next value of task # 'walk'" ||
         some == "task #, attempt 1: awaiting 1 of the next value of task # 'walk', promise #"));
  x.promise.set_value(1);
  CHECK(told(first) == "task # 'pair', attempt 1: queued; value 0 is there");
  manual.run_all();
  CHECK(told(second) == "task # 'pair', attempt 1: completed; value 1 is there");
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
  CHECK(told(r) == "task #, attempt 1: awaiting " + eight + " and 3 others");
  for (later& l : all) l.promise.set_value(1);
  manual.run_all();
  CHECK(r.get() == 11);
}

TEST_CASE("describe shows that a stream is full, and its budget", "[describe][S-STREAM-4][S-AWAIT-4]") {
  support::watchdog dog("describe: full streams");
  dg::manual_executor manual;
  const auto run = dg::on(manual);
  auto stream = run.options(dg::backpressure{3}, dg::name{"walk"}).submit(count_to, 10);
  CHECK(told(stream) == "task # 'walk', attempt 1: queued");
  manual.run_all();
  CHECK(told(stream) == "task # 'walk', attempt 1: suspended by backpressure, 3 values wait to be consumed");
  CHECK(stream.next_value() == 0);
  CHECK(told(stream) == "task # 'walk', attempt 1: queued; 2 values wait to be consumed");

  dg::budget bytes(10);
  auto charged = run.options(dg::backpressure_by(bytes, [](int) { return 6; })).submit(count_to, 3);
  manual.run_all();
  CHECK(told(charged) ==
        "task #, attempt 1: suspended by backpressure, its budget is used up (6 of 10); 1 value waits to be consumed");
  CHECK(charged.next_value() == 0);
  manual.run_all();
  CHECK(charged.next_value() == 1);
  manual.run_all();
  CHECK(told(charged) == "task #, attempt 1: completed; 1 value waits to be consumed");

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
      if (i == 2) inside = told(*seen.load());
      co_yield i;
    }
  });
  seen = &stream;
  for (int i = 0; i < 3; ++i) CHECK(stream.next_value() == i);
  CHECK(inside == "task #, attempt 1: running");
  CHECK(told(stream) == "task #, attempt 1: suspended until its consumer asks for a value");
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
  CHECK(awaited([&] { return told(one); }, one_text) == one_text);
  const std::string some_text = "task #, attempt 1: running, blocked until it has 2 of promise #, promise #, promise #";
  CHECK(awaited([&] { return told(some); }, some_text) == some_text);
  some.cancel();
  CHECK(told(some) == some_text + ", asked to stop");
  x.promise.set_value(1);
  y.promise.set_value(1);
  CHECK(some.get() == 2);
  CHECK(one.get() == 1);
  CHECK(told(some) == "task #, attempt 1: completed");
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
  CHECK(told(outer) == "task #, attempt 1: running, waits while its thread runs task # 'inner'");
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
  CHECK(told(list) == "task # 'listed', attempt 1: queued");
  manual.run_all();
  CHECK(told(list) == "task # 'listed', attempt 1: completed");
  CHECK(told(list.get()) == "task # 'listed', attempt 1: completed; 3 values");
  CHECK(told(list.get()[1]) == "task # 'listed', attempt 1: completed; value 1 is there");
  auto failed = run.options(dg::dynamic).submit([]() -> dg::generator<int> {
    co_yield 1;
    throw boom("after one");
  });
  manual.run_all();
  CHECK(told(failed.get()) == "task #, attempt 1: failed: after one; 2 values");

  CHECK(told(dg::put(1)) == "value #: ready");
  later kept, broken;
  CHECK(told(kept.ref) == "promise #: not fulfilled");
  kept.promise.set_value(1);
  CHECK(told(kept.ref) == "promise #: ready");
  broken.promise.set_exception(std::make_exception_ptr(boom("given up")));
  CHECK(told(broken.ref) == "promise #: failed: given up");
  dg::promise<void> event;
  auto happens = event.get_ref();
  CHECK(told(happens) == "promise #: not fulfilled");

  const auto [word, number] = run.submit([]() -> dg::tuple_generator<std::string, int> {
    co_yield std::string("x");
    co_yield 1;
  });
  CHECK(told(number) == "task #, attempt 1: queued; value 1 is not there yet");
  manual.run_all();
  CHECK(told(word) == "task #, attempt 1: completed; value 0 is there");

  CHECK_THROWS_AS(dg::describe(dg::ref<int>()), dg::empty_ref);
  CHECK_THROWS_AS(dg::describe(dg::ref<void>()), dg::empty_ref);
  CHECK_THROWS_AS(dg::describe(dg::ref_list<int>()), dg::empty_ref);
  CHECK_THROWS_AS(dg::describe(dg::ref_stream<int>()), dg::empty_ref);
}

TEST_CASE("names are shown in one line, whatever they contain", "[describe]") {
  support::watchdog dog("describe: names");
  dg::manual_executor manual;
  auto r = dg::on(manual).options(dg::name{"a\nb\x1b[0m\x7f 'c' \xc3\xa9"}).submit([] {});
  CHECK(told(r) == "task # 'a\\nb\\x1b[0m\\x7f 'c' \xc3\xa9', attempt 1: queued");
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
  CHECK(awaited([&] { return told(walk); }, full) == full);
  const std::string behind =
      "task # 'get', attempt 1: queued for its turn at actor 'counter', where "
      "task # 'walk' (suspended by backpressure, 2 values wait to be consumed) is in progress";
  CHECK(awaited([&] { return told(call); }, behind) == behind);
  CHECK(in_any_order(dumped(pool)) == in_any_order("pool, 2 threads: 3 tasks that have not ended\n"
                                                   "  actor # 'counter': ends when its last handle is gone\n"
                                                   "  " +
                                                   full + "\n  " + behind + "\n"));
  walk = {};
  CHECK(call.get() == 1);
  CHECK(told(call) == "task # 'get', attempt 1: completed");
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
    CHECK(told(second) == "task #, attempt 1: queued for its turn at its actor, which task # 'long' (running) has");
    go.open();
    CHECK(second.get() == 1);
  }
  SECTION("its constructor comes first") {
    auto a = pool.options(dg::name{"late"}).make_actor<counter>(x.ref);
    auto call = a.submit(&counter::get);
    const std::string text =
        "task #, attempt 1: queued for its turn at actor 'late', after constructor # 'late' (waiting for promise #)";
    CHECK(told(call) == text);
    x.promise.set_value(1);
    CHECK(call.get() == 1);
  }
  SECTION("an earlier call of the same submitter comes first") {
    auto a = pool.make_actor<counter>();
    a.submit(&counter::get).get();
    auto first = a.options(dg::name{"first"}).submit(&counter::add, x.ref);
    auto second = a.submit(&counter::get);
    CHECK(told(first) == "task # 'first', attempt 1: waiting for promise #");
    const std::string text =
        "task #, attempt 1: queued for its turn at its actor, after "
        "task # 'first' (waiting for promise #)";
    CHECK(awaited([&] { return told(second); }, text) == text);  // the call before them may be ending
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
    CHECK(awaited([&] { return told(third); }, text) == text);
    x.promise.set_value(1);
    CHECK(third.get() == 1);
    y.promise.set_value(1);
  }
}

TEST_CASE("a dump has a line for each task that has not ended, and counts those that are queued", "[dump]") {
  support::watchdog dog("dump: all");
  later x, y;
  dg::ref<int> waits, blocked, one, awaiting;
  std::vector<dg::ref<int>> queued;
  support::gate started, go;
  support::gate inside_started, inside_go;
  std::string from_inside;
  dg::thread_pool other(1);
  dg::thread_pool pool({.threads = 2, .name = "io"});
  CHECK(dumped(pool) == "pool 'io', 2 threads: 0 tasks that have not ended\n");
  auto stream = pool.options(dg::backpressure{1}, dg::name{"stream"}).submit(count_to, 3);
  awaiting = pool.options(dg::name{"awaiting"}).submit(awaits, x.ref);
  waits = pool.options(dg::name{"waiting"}).submit([](int n) { return n; }, awaiting);
  auto elsewhere = other.options(dg::name{"elsewhere"}).submit(awaits, x.ref);
  const std::string at_rest =
      "pool 'io', 2 threads: 3 tasks that have not ended\n"
      "  task # 'stream', attempt 1: suspended by backpressure, 1 value waits to be consumed\n"
      "  task # 'awaiting', attempt 1: awaiting promise #\n"
      "  task # 'waiting', attempt 1: waiting for task # 'awaiting'\n";
  CHECK(awaited([&] { return in_any_order(dumped(pool)); }, in_any_order(at_rest)) == in_any_order(at_rest));

  // Two tasks occupy both workers, one of them dumps its own pool, and others are queued.
  blocked = pool.options(dg::name{"busy"}).submit([&] {
    started.open();
    go.pass();
    return 1;
  });
  started.pass();
  one = pool.options(dg::name{"dumps"}).submit([&] {
    inside_started.open();
    inside_go.pass();
    from_inside = dumped(pool);
    return 2;
  });
  inside_started.pass();
  for (int i = 0; i < 3; ++i) queued.push_back(pool.submit([] { return 3; }));
  const std::string busy = in_any_order(
      "pool 'io', 2 threads: 8 tasks that have not ended\n"
      "  task # 'busy', attempt 1: running\n"
      "  task # 'dumps', attempt 1: running\n" +
      at_rest.substr(at_rest.find('\n') + 1) + "  and 3 more, queued\n");
  CHECK(in_any_order(dumped(pool)) == busy);
  inside_go.open();
  one.get();
  CHECK(in_any_order(from_inside) == busy);
  go.open();
  dg::get(queued);
  blocked.get();
  x.promise.set_value(1);
  waits.get();
  stream = {};
  elsewhere.get();
  const std::string empty = "pool 'io', 2 threads: 0 tasks that have not ended\n";
  CHECK(awaited([&] { return dumped(pool); }, empty) == empty);
}

TEST_CASE("a dump names a task that is run by the thread that waits for it", "[dump][S-WAIT-4]") {
  support::watchdog dog("dump: helped");
  support::gate worker_started, over, started, go;
  dg::thread_pool pool(1);
  auto busy = pool.options(dg::name{"busy"}).submit([&] {
    worker_started.open();
    over.pass();
  });
  worker_started.pass();
  std::thread outside([&] {
    pool.options(dg::name{"helped"})
        .submit([&] {
          started.open();
          go.pass();
        })
        .get();
  });
  started.pass();
  const std::string text = dumped(pool);
  CHECK(text.find("pool, 1 thread: 2 tasks that have not ended\n") == 0);
  CHECK(text.find("  task # 'busy', attempt 1: running\n") != std::string::npos);
  CHECK(text.find("  task # 'helped', attempt 1: running\n") != std::string::npos);
  go.open();
  outside.join();
  over.open();
  busy.get();
}

TEST_CASE("the dump of a closing pool says that it is closing", "[dump][S-STOP-2]") {
  support::watchdog dog("dump: closing");
  later x;
  dg::thread_pool pool(1);
  auto r = pool.options(dg::name{"last"}).submit(awaits, x.ref);
  const std::string open =
      "pool, 1 thread: 1 task that has not ended\n  task # 'last', attempt 1: awaiting promise #\n";
  CHECK(awaited([&] { return dumped(pool); }, open) == open);
  std::thread closes([&] { pool.shutdown(dg::shutdown_mode::drain); });
  const std::string draining =
      "pool, 1 thread, draining: 1 task that has not ended\n  task # 'last', attempt 1: awaiting promise #\n";
  CHECK(awaited([&] { return dumped(pool); }, draining) == draining);
  x.promise.set_value(1);
  closes.join();
  pool.shutdown(dg::shutdown_mode::cancel);
  CHECK(dumped(pool) == "pool, 1 thread, cancelling: 0 tasks that have not ended\n");
}

TEST_CASE("describe and dump keep nothing alive", "[describe][dump][S-MEM-4]") {
  support::watchdog dog("describe: memory");
  const long before = support::pieces_alive();
  {
    dg::thread_pool pool(1);
    later x;
    auto a = pool.make_actor<counter>();
    auto walk = a.options(dg::backpressure{1}).submit(&counter::walk, 5);
    auto call = a.submit(&counter::get);
    auto waiting = pool.submit([](int n) { return n; }, x.ref);
    auto awaiting = pool.submit(awaits, x.ref);
    auto blocked = pool.submit([r = x.ref] { return r.get(); });
    for (int i = 0; i < 10; ++i) {
      dumped(pool);
      told(walk), told(call), told(waiting), told(awaiting), told(blocked);
    }
    x.promise.set_value(1);
    dg::get(waiting, awaiting, blocked);
  }
  CHECK(support::pieces_alive() == before);
}

TEST_CASE("statistics are printed in one line, whose form is fixed", "[stats]") {
  support::watchdog dog("stats: text");
  const dg::pool_stats s{.submitted = 1,
                         .completed = 2,
                         .failed = 3,
                         .cancelled = 4,
                         .retried = 5,
                         .values_stored = 6,
                         .values_live = 7,
                         .values_peak = 8,
                         .steals = 9,
                         .parks = 10,
                         .spare_threads = 11};
  std::ostringstream os;
  os << s;
  CHECK(os.str() ==
        "submitted 1, completed 2, failed 3, cancelled 4, retried 5, values stored 6, live 7, peak 8, steals 9, "
        "parks 10, spare threads 11");
  std::wostringstream wide;
  wide << dg::pool_stats{};
  CHECK(wide.str() ==
        L"submitted 0, completed 0, failed 0, cancelled 0, retried 0, values stored 0, live 0, peak 0, "
        L"steals 0, parks 0, spare threads 0");
}

TEST_CASE("an observer that stops in the middle of its look delays no thread that needs other tasks", "[seeing]") {
  support::watchdog dog("workers beside an observer that has stopped");
  dg::thread_pool pool(1);
  std::atomic<int> ran{0};
  const int watched = 0;
  {
    dg::detail::inspector::look looking(dg::detail::global_inspector());
    looking.at(&watched, [&]() noexcept {
      // None of these may wait for the observer: tasks that begin and end, and a thread that replaces a blocked one.
      for (int i = 0; i < 100; ++i) (void)pool.submit([&ran] { ++ran; });
      dg::promise<void> gate;
      auto waits = pool.submit([&ran, r = gate.get_ref()] {
        r.wait();
        ++ran;
      });
      auto opens = pool.submit([&gate] { gate.set_value(); });
      while (!waits.ready() || ran != 101) std::this_thread::yield();
    });
  }
  CHECK(ran == 101);
}

}  // namespace test_seeing
