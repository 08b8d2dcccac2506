// SPDX-License-Identifier: MIT
// Actors: S-ACTOR, S-DETAIL-7, L-12, and the other rules as far as they apply to methods.

#include "../catch.hpp"
#include "probes.hpp"

#include <array>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace test_actors {

using namespace std::chrono_literals;
using support::boom;
using support::later;

namespace {

/// Detects two threads inside at once.
class alone {
 public:
  explicit alone(std::atomic<int>& inside) : inside_(inside) {
    if (++inside_ != 1) overlapped = true;
  }
  alone(const alone&) = delete;
  alone& operator=(const alone&) = delete;
  ~alone() { --inside_; }
  static inline std::atomic<bool> overlapped{false};

 private:
  std::atomic<int>& inside_;
};

struct account {
  static inline std::atomic<int> alive{0};
  std::string log;
  int value = 0;
  std::atomic<int> inside{0};

  account() { ++alive; }
  explicit account(int start) : value(start) {
    if (start < 0) throw boom("below zero");
    ++alive;
  }
  account(const std::string& text, const int& added) : log(text), value(added) { ++alive; }
  ~account() { --alive; }

  int add(int n) {
    alone here(inside);
    return value += n;
  }
  int get() const { return value; }
  void note(const std::string& text) { log += text; }
  std::string text() const { return log; }
  void fails() { throw boom("method"); }
  std::pair<int, std::string> both() { return {value, log}; }
  std::vector<int> some(int n) { return std::vector<int>(static_cast<std::size_t>(n), value); }
  dg::generator<int> count(int n) {
    for (int i = 0; i < n; ++i) {
      alone here(inside);
      co_yield ++value;
    }
  }
  dg::tuple_generator<int, std::string> two() {
    co_yield value;
    co_yield log;
  }
  dg::task<int> awaits(dg::ref<int> r) {
    log += "<";
    value += co_await r;
    log += ">";
    co_return value;
  }
};

std::string nested_message(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const dg::actor_died& died) {
    try {
      std::rethrow_if_nested(died);
    } catch (const std::exception& inner) {
      return inner.what();
    }
    return "nothing nested";
  } catch (...) {
  }
  return "not actor_died";
}

}  // namespace

TEST_CASE("methods of all kinds are submitted like other tasks", "[actor][S-ACTOR]") {
  support::watchdog dog("kinds of methods");
  for (int threads : {1, 2}) {
    std::vector<int> seen;
    dg::thread_pool pool(threads);
    dg::actor<account> a = pool.make_actor<account>("log", dg::put(5));
    CHECK(a.valid());
    CHECK(a.submit(&account::get).get() == 5);
    dg::ref<void> nothing = a.submit(&account::note, " more");
    nothing.get();
    CHECK(a.submit(&account::text).get() == "log more");
    CHECK(a.submit(&account::add, dg::put(2)).get() == 7);
    CHECK(support::message_of([&] { a.submit(&account::fails).get(); }) == "method");
    auto [x, y] = a.options(dg::num_returns<2>{}).submit(&account::both);
    CHECK(x.get() == 7);
    CHECK(y.get() == "log more");
    CHECK(a.options(dg::dynamic).submit(&account::some, 3).get().size() == 3);
    CHECK(a.submit(&account::some, 4).get().size() == 4);
    auto fixed = a.options(dg::num_returns<3>{}, dg::name{"three"}).submit(&account::count, 3);
    CHECK(dg::get(fixed) == std::vector<int>{8, 9, 10});
    for (int v : a.submit(&account::count, 2).values()) seen.push_back(v);
    CHECK(seen == std::vector<int>{11, 12});
    auto [n, text] = a.submit(&account::two);
    CHECK(n.get() == 12);
    CHECK(text.get() == "log more");
    CHECK(a.submit(&account::awaits, dg::unresolved(dg::put(8))).get() == 20);
    // Callables that take the actor, with what they capture.
    auto owned = std::make_unique<int>(3);
    CHECK(a.submit([owned = std::move(owned)](account& self, int f) { return self.value * f + *owned; }, 2).get() == 43);
    CHECK(a.submit([](auto& self) { return self.value; }).get() == 20);
    std::vector<int> lambda;
    for (int v : a.submit([k = 2](account& self) -> dg::generator<int> {
           for (int i = 0; i < k; ++i) co_yield self.value + i;
         }).values())
      lambda.push_back(v);
    CHECK(lambda == std::vector<int>{20, 21});
    auto kept = a.options(dg::name{"kept"});
    CHECK(kept.submit(&account::add, 1).get() == 21);
    CHECK(kept.submit(&account::add, 1).get() == 22);
  }
  CHECK(account::alive == 0);
}

TEST_CASE("calls run one at a time, in the order of their submits", "[actor][S-ACTOR-1][S-ACTOR-2]") {
  support::watchdog dog("order of calls");
  alone::overlapped = false;
  for (int threads : {1, 2, 4}) {
    dg::thread_pool pool(threads);
    auto a = pool.make_actor<account>();
    auto order = std::make_shared<std::vector<int>>();
    std::vector<dg::ref<int>> all;
    for (int i = 0; i < 2000; ++i) {
      all.push_back(a.submit(&account::add, 1));
      a.submit([order, i](account& self) {
        alone here(self.inside);
        order->push_back(i);
      });
    }
    for (int i = 0; i < 2000; ++i) REQUIRE(all[static_cast<std::size_t>(i)].get() == i + 1);
    pool.shutdown(dg::shutdown_mode::drain);
    std::vector<int> expected(2000);
    std::iota(expected.begin(), expected.end(), 0);
    CHECK(*order == expected);
  }
  CHECK_FALSE(alone::overlapped);
}

TEST_CASE("many threads and tasks call one actor, each in its own order", "[actor][S-ACTOR-1][S-ACTOR-2]") {
  support::watchdog dog("many callers");
  alone::overlapped = false;
  dg::thread_pool pool(3);
  auto a = pool.make_actor<account>();
  auto last = std::make_shared<std::array<int, 8>>();
  auto call = [&a, last](std::size_t caller) {
    for (int i = 1; i <= 500; ++i) {
      a.submit([last, caller, i](account& self) {
        alone here(self.inside);
        if ((*last)[caller] != i - 1) throw boom("out of order");
        (*last)[caller] = i;
        ++self.value;
      });
      if (i % 50 == 0) a.submit(&account::add, 0).get();
    }
  };
  std::vector<std::thread> threads;
  std::vector<dg::ref<void>> tasks;
  for (std::size_t caller = 0; caller < 4; ++caller) {
    threads.emplace_back(call, caller);
    tasks.push_back(pool.submit(call, caller + 4));
  }
  for (auto& t : threads) t.join();
  for (auto& t : tasks) t.get();
  CHECK(a.submit(&account::get).get() == 4000);
  CHECK(*last == std::array<int, 8>{500, 500, 500, 500, 500, 500, 500, 500});
  CHECK_FALSE(alone::overlapped);
}

TEST_CASE("a suspended method keeps its turn", "[actor][S-ACTOR-1]") {
  support::watchdog dog("a suspended method");
  dg::thread_pool pool(2);
  auto a = pool.make_actor<account>();
  later value;
  auto waits = a.submit(&account::awaits, dg::unresolved(value.ref));
  auto noted = a.submit(&account::note, "x");
  CHECK(pool.submit([] { return 1; }).get() == 1);
  CHECK_FALSE(noted.wait_for(20ms));
  value.promise.set_value(1);
  noted.get();
  CHECK(a.submit(&account::text).get() == "<>x");
  // Also a generator that waits because its stream is full.
  auto stream = a.options(dg::backpressure{1}).submit(&account::count, 3);
  CHECK(stream.next_value() == 2);
  auto behind = a.submit(&account::get);
  CHECK_FALSE(behind.wait_for(20ms));
  CHECK(stream.next_value() == 3);
  CHECK(stream.next_value() == 4);
  CHECK(behind.get() == 4);
}

TEST_CASE("streams of methods are unbounded by default", "[actor][S-STREAM-9]") {
  support::watchdog dog("unbounded methods");
  dg::thread_pool pool(1);
  auto a = pool.make_actor<account>();
  auto stream = a.submit(&account::count, 1000);
  CHECK(a.submit(&account::get).get() == 1000);  // not before the generator has ended
  long sum = 0;
  for (int v : stream.values()) sum += v;
  CHECK(sum == 500500);
}

TEST_CASE("a dropped stream of a method frees its actor", "[actor][S-ACTOR-5]") {
  support::watchdog dog("dropped method streams");
  for (int threads : {1, 2}) {
    dg::thread_pool pool(threads);
    auto a = pool.make_actor<account>();
    for (int round = 0; round < 200; ++round) {
      auto stream = a.options(dg::backpressure{1}).submit(&account::count, 1'000'000);
      if (round % 3 != 0) CHECK(stream.next_value().has_value());
      auto behind = a.submit(&account::get);
      stream = {};
      behind.get();
    }
  }
}

TEST_CASE("several methods may be in progress, and switch where one suspends", "[actor][S-ACTOR-2]") {
  support::watchdog dog("max_concurrency");
  alone::overlapped = false;
  CHECK_THROWS_AS(dg::max_concurrency{0}, std::invalid_argument);
  dg::thread_pool pool(2);
  auto a = pool.options(dg::max_concurrency{2}, dg::name{"pair"}).make_actor<account>();
  later first, second;
  auto one = a.submit(&account::awaits, dg::unresolved(first.ref));
  auto two = a.submit(&account::awaits, dg::unresolved(second.ref));
  auto three = a.submit(&account::note, "3");
  CHECK(pool.submit([] { return 1; }).get() == 1);
  CHECK_FALSE(three.wait_for(20ms));  // two are in progress
  second.promise.set_value(10);
  CHECK(two.get() == 10);
  three.get();
  first.promise.set_value(1);
  CHECK(one.get() == 11);
  CHECK(a.submit(&account::text).get() == "<<>3>");
  // No two threads were inside at once.
  struct switching {
    static dg::task<void> run(account& self, dg::thread_pool* pool, int n) {
      for (int i = 0; i < n; ++i) {
        {
          alone here(self.inside);
          ++self.value;
        }
        if (i % 3 == 0)
          co_await dg::this_task::yield();
        else
          co_await pool->submit([] {});
      }
    }
  };
  auto busy = pool.options(dg::max_concurrency{4}).make_actor<account>();
  std::vector<dg::ref<void>> all;
  for (int i = 0; i < 20; ++i) all.push_back(busy.submit(&switching::run, &pool, 100));
  for (auto& r : all) r.get();
  CHECK(busy.submit(&account::get).get() == 2000);
  CHECK_FALSE(alone::overlapped);
  // Under max_concurrency a coroutine may await another call of its own actor.
  auto nested = busy.submit([busy](account&) -> dg::task<int> { co_return co_await busy.submit(&account::get); });
  CHECK(nested.get() == 2000);
}

TEST_CASE("constructor and destructor run on a worker, before and after all calls", "[actor][S-ACTOR-3]") {
  support::watchdog dog("life of an actor");
  struct traced {
    std::vector<std::string>* log;
    std::vector<std::thread::id>* on;
    void say(const char* what) {
      log->push_back(what);
      on->push_back(std::this_thread::get_id());
    }
    traced(std::vector<std::string>* l, std::vector<std::thread::id>* o) : log(l), on(o) { say("made"); }
    ~traced() { say("gone"); }
    void call() { say("call"); }
  };
  std::vector<std::string> log;
  std::vector<std::thread::id> on;
  dg::thread_pool pool(1);
  {
    auto a = pool.make_actor<traced>(&log, &on);
    auto copy = a;
    CHECK(copy == a);
    for (int i = 0; i < 3; ++i) copy.submit(&traced::call);
  }
  pool.shutdown(dg::shutdown_mode::drain);
  CHECK(log == std::vector<std::string>{"made", "call", "call", "call", "gone"});
  for (auto id : on) CHECK(id != std::this_thread::get_id());
}

TEST_CASE("an actor's constructor waits for its arguments, and its calls for it", "[actor][S-ACTOR-3]") {
  support::watchdog dog("late constructor");
  dg::thread_pool pool(2);
  later start;
  auto a = pool.make_actor<account>(start.ref);
  auto r = a.submit(&account::add, 1);
  dg::ref<int> by_another;
  std::jthread([&] { by_another = a.submit(&account::add, 1); }).join();
  CHECK_FALSE(r.wait_for(20ms));
  CHECK_FALSE(by_another.ready());
  start.promise.set_value(41);
  CHECK(r.get() == 42);
  CHECK(by_another.get() == 43);
}

TEST_CASE("a constructor that throws fails every call", "[actor][S-ACTOR]") {
  support::watchdog dog("failed constructor");
  support::error_log log;
  {
    dg::thread_pool pool({.threads = 2, .on_unhandled_error = log.hook()});
    auto a = pool.options(dg::name{"poor"}).make_actor<account>(-1);
    auto early = a.submit(&account::get);
    auto stream = a.submit(&account::count, 3);
    CHECK(nested_message(early.error()) == "below zero");
    CHECK_THROWS_AS(stream.next_value(), dg::actor_died);
    auto late = a.options(dg::num_returns<2>{}).submit(&account::both);
    CHECK(nested_message(std::get<1>(late).error()) == "below zero");
    CHECK(support::message_of([&] { early.get(); }).find("'poor'") != std::string::npos);
    // So does an argument that failed.
    auto b = pool.make_actor<account>(pool.submit([]() -> int { throw boom("argument"); }));
    CHECK(nested_message(b.submit(&account::get).error()) == "argument");
    CHECK(log.count() == 0);
    // If no call holds the exception, it is reported to the hook.
    pool.make_actor<account>(-2);
  }
  REQUIRE(log.count() == 1);
  CHECK(support::message_of([&] { std::rethrow_exception(log.at(0).error); }) == "below zero");
  CHECK(account::alive == 0);
}

TEST_CASE("kill cancels waiting calls, lets the running method end, and refuses new calls", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill");
  support::gate inside, go;
  dg::thread_pool pool(2);
  auto a = pool.make_actor<account>();
  auto running = a.submit([&](account& self) {
    inside.open();
    go.pass();
    return self.value + 1;
  });
  later never;
  auto queued = a.submit(&account::get);
  auto waiting = a.submit(&account::add, never.ref);
  auto stream = a.submit(&account::count, 5);
  inside.pass();
  a.kill();
  CHECK(support::holds<dg::cancelled_error>(queued));
  CHECK(support::holds<dg::cancelled_error>(waiting));
  CHECK_THROWS_AS(stream.next_value(), dg::cancelled_error);
  auto refused = a.submit(&account::get);
  CHECK(nested_message(refused.error()) == "nothing nested");
  CHECK(account::alive == 1);
  go.open();
  CHECK(running.get() == 1);
  CHECK(support::eventually([] { return account::alive == 0; }));
  CHECK_THROWS_AS(a.submit(&account::get).get(), dg::actor_died);
  a.kill();  // again: nothing
  // A call whose method is suspended.
  auto b = pool.make_actor<account>();
  auto suspended = b.submit(&account::awaits, dg::unresolved(never.ref));
  auto full = pool.make_actor<account>();
  auto room = full.options(dg::backpressure{1}).submit(&account::count, 5);
  CHECK(room.next_value() == 1);
  b.kill();
  full.kill();
  CHECK(support::holds<dg::cancelled_error>(suspended));
  CHECK(support::eventually([] { return account::alive == 0; }));
}

TEST_CASE("an actor killed while a method runs cancels it when it suspends", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill before suspension");
  dg::thread_pool pool(1);
  for (int round = 0; round < 100; ++round) {
    auto a = pool.make_actor<account>();
    later never;
    auto suspends = a.submit(&account::awaits, dg::unresolved(never.ref));
    if (round % 2 == 0) std::this_thread::yield();
    a.kill();
    suspends.wait();
    const std::exception_ptr e = suspends.error();
    REQUIRE(e);
  }
  CHECK(support::eventually([] { return account::alive == 0; }));
}

TEST_CASE("an actor killed while a method runs lets it suspend, and cancels it then", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill, then suspension");
  struct waits_later {
    dg::task<int> method(support::gate& begun, support::gate& goes_on, dg::ref<int> r) {
      begun.open();
      goes_on.pass();
      co_return co_await r;
    }
  };
  dg::thread_pool pool(1);
  later never;
  support::gate begun, goes_on;
  auto a = pool.make_actor<waits_later>();
  auto suspends = a.submit(&waits_later::method, std::ref(begun), std::ref(goes_on), dg::unresolved(never.ref));
  begun.pass();
  a.kill();
  goes_on.open();
  CHECK(suspends.wait_for(30s));
  CHECK(support::holds<dg::cancelled_error>(suspends));
}

TEST_CASE("handles may outlive their pool", "[actor][S-DETAIL-7]") {
  support::watchdog dog("actors outlive pools");
  for (bool cancelled : {false, true}) {
    std::optional<dg::thread_pool> pool(std::in_place, 2);
    auto a = pool->make_actor<account>();
    auto value = a.submit(&account::add, 3);
    if (cancelled)
      pool->shutdown(dg::shutdown_mode::cancel);
    else
      pool->shutdown(dg::shutdown_mode::drain);  // idle actors do not delay it
    CHECK(account::alive == 0);
    if (!cancelled) CHECK(value.get() == 3);
    auto after = a.submit(&account::get);
    CHECK(nested_message(after.error()) == "nothing nested");
    CHECK_THROWS_AS(pool->make_actor<account>(), dg::pool_stopped);
    pool.reset();
    CHECK_THROWS_AS(a.submit(&account::count, 3).next_value(), dg::actor_died);
    auto refs = a.options(dg::num_returns<2>{}).submit(&account::both);
    CHECK_THROWS_AS(std::get<0>(refs).get(), dg::actor_died);
    a.kill();
  }
}

TEST_CASE("a pool that ends runs the calls that are queued behind a suspended method",
          "[actor][S-DETAIL-10][S-STOP-1]") {
  support::watchdog dog("draining actors");
  later never;
  dg::ref<int> suspended, behind;
  {
    dg::thread_pool pool(2);
    auto a = pool.make_actor<account>(5);
    suspended = a.submit(&account::awaits, dg::unresolved(never.ref));
    behind = a.submit(&account::add, 2);
  }
  CHECK(support::holds<dg::cancelled_error>(suspended));
  CHECK(behind.get() == 7);
  CHECK(account::alive == 0);
}

TEST_CASE("a pool that ends cancels one suspended method after the other", "[actor][S-DETAIL-10][S-STOP-1]") {
  support::watchdog dog("draining actors with several suspended methods");
  dg::ref_stream<int> first, second, third;
  dg::actor<account> a;
  {
    dg::thread_pool pool(2);
    a = pool.make_actor<account>();
    first = a.options(dg::backpressure{1}).submit(&account::count, 5);
    second = a.options(dg::backpressure{2}).submit(&account::count, 5);
    third = a.options(dg::backpressure{3}).submit(&account::count, 5);
  }
  CHECK(account::alive == 0);
  int values = 0;
  for (dg::ref_stream<int>* stream : {&first, &second, &third}) {
    while (auto item = stream->next()) {
      if (item->failed())
        CHECK(support::holds<dg::cancelled_error>(*item));
      else
        ++values;
    }
  }
  CHECK(values == 6);
}

TEST_CASE("a pool that ends does not cancel a call whose turn is just given to it",
          "[actor][S-STOP-1][S-DETAIL-10][L-11]") {
  support::watchdog dog("a turn given as the pool ends");
  struct answers {
    int answer() { return 7; }
    dg::task<int> asks(dg::actor<answers>* self) {
      const dg::ref<int> r = self->submit(&answers::answer);  // has its turn when this one waits
      co_return co_await r;
    }
  };
  int failed = 0;
  for (int round = 0; round < 5000; ++round) {
    dg::actor<answers> a;
    dg::ref<int> r;
    {
      dg::thread_pool pool(static_cast<std::size_t>(1 + round % 2));
      a = pool.options(dg::max_concurrency{2}).make_actor<answers>();
      r = a.submit(&answers::asks, &a);
    }
    failed += r.failed() ? 1 : 0;
  }
  CHECK(failed == 0);
}

TEST_CASE("a method that waits for its own actor gets an error", "[actor][S-ACTOR-4][L-12]") {
  support::watchdog dog("self waits");
  dg::thread_pool pool(2);
  auto a = pool.make_actor<account>();
  const std::string expected = "a method cannot wait for another call of its own actor";
  auto says = [&](auto submit) { return support::message_of([&] { submit().get(); }).find(expected) != std::string::npos; };
  CHECK(says([&] { return a.submit([a](account&) { return a.submit(&account::get).get(); }); }));
  CHECK(says([&] { return a.submit([a](account&) -> dg::task<int> { co_return co_await a.submit(&account::get); }); }));
  CHECK(says([&] { return a.submit([a](account&) { return *a.submit(&account::count, 1).next_value(); }); }));
  CHECK(says([&] {
    return a.submit([a](account&) -> dg::task<int> {
      auto stream = a.submit(&account::count, 1);
      co_return *co_await stream.async_value();
    });
  }));
  CHECK(says([&] {
    return a.submit([a](account&) -> dg::task<int> { co_return std::get<0>(co_await dg::when_all(a.submit(&account::get))); });
  }));
  // Also if a task waits for the actor that the method runs while it waits for that task.
  dg::thread_pool single(1);
  auto b = single.make_actor<account>();
  CHECK(says([&] {
    return b.submit([b, &single](account&) { return single.submit([b] { return b.submit(&account::get).get(); }).get(); });
  }));
  // Results of ended calls may be read.
  auto done = a.submit(&account::get);
  done.wait();
  CHECK(a.submit([done](account&) { return done.get() + 1; }).get() == 1);
}

TEST_CASE("actors may call each other in a ring", "[actor][S-WAIT-5]") {
  support::watchdog dog("ring of actors");
  struct link {
    int number;
    dg::actor<link> next;
    explicit link(int n) : number(n) {}
    void set(dg::actor<link> to) { next = std::move(to); }
    void cut() { next = {}; }
    dg::task<int> pass(int hops) {
      if (hops == 0) co_return number;
      co_return co_await next.submit(&link::pass, hops - 1);
    }
    int block(int hops) { return hops == 0 ? number : next.submit(&link::block, hops - 1).get(); }
  };
  for (int threads : {1, 2}) {
    dg::thread_pool pool(threads);
    std::vector<dg::actor<link>> ring;
    for (int i = 0; i < 50; ++i) ring.push_back(pool.make_actor<link>(i));
    for (std::size_t i = 0; i < 50; ++i) ring[i].submit(&link::set, ring[(i + 1) % 50]);
    CHECK(ring[0].submit(&link::pass, 49).get() == 49);
    CHECK(ring[7].submit(&link::block, 20).get() == 27);
    // Handles in a ring would keep each other alive.
    for (auto& a : ring) a.submit(&link::cut);
  }
}

TEST_CASE("a call that waits for its arguments delays the later calls of its own submitter only",
          "[actor][S-DETAIL-7]") {
  support::watchdog dog("unready calls");
  dg::thread_pool pool(2);
  auto a = pool.make_actor<account>();
  later value;
  auto first = a.submit(&account::add, value.ref);
  auto second = a.submit(&account::note, "own");
  dg::ref<void> other;
  std::thread([&] { other = a.submit(&account::note, "other "); }).join();
  other.get();
  CHECK_FALSE(second.wait_for(20ms));
  value.promise.set_value(4);
  second.get();
  CHECK(first.get() == 4);
  CHECK(a.submit(&account::text).get() == "other own");
}

TEST_CASE("a queued call is cancelled at once, also behind a method that never ends", "[actor][S-CANCEL-1]") {
  support::watchdog dog("cancelled calls");
  dg::thread_pool pool(2);
  auto a = pool.make_actor<account>();
  later never;
  auto stuck = a.submit(&account::awaits, dg::unresolved(never.ref));
  std::vector<dg::ref<int>> queued;
  for (int i = 0; i < 100; ++i) queued.push_back(a.submit(&account::add, 1));
  auto unready = a.submit(&account::add, never.ref);
  for (std::size_t i = 0; i < 100; i += 2) REQUIRE(queued[i].cancel());
  for (std::size_t i = 0; i < 100; i += 2) REQUIRE(support::holds<dg::cancelled_error>(queued[i]));
  CHECK(unready.cancel());
  CHECK(support::holds<dg::cancelled_error>(unready));
  CHECK(stuck.cancel());
  CHECK(support::holds<dg::cancelled_error>(stuck));
  int expected = 0;
  for (std::size_t i = 1; i < 100; i += 2) REQUIRE(queued[i].get() == ++expected);
}

TEST_CASE("cancelling calls races with their turns", "[actor][S-CANCEL-4]") {
  support::watchdog dog("cancel against turn");
  dg::thread_pool pool(2);
  auto a = pool.make_actor<account>();
  int ran = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<dg::ref<int>> calls;
    for (int i = 0; i < 8; ++i) calls.push_back(a.submit(&account::add, 1));
    for (int i = 7; i >= 0; --i) calls[static_cast<std::size_t>(i)].cancel();
    for (auto& c : calls) {
      if (!c.error()) ++ran;
      else REQUIRE(support::holds<dg::cancelled_error>(c));
    }
  }
  CHECK(a.submit(&account::get).get() == ran);
}

TEST_CASE("methods are retried, in their turn", "[actor][S-RETRY-1]") {
  support::watchdog dog("retried methods");
  std::vector<int> seen;
  dg::thread_pool pool(2);
  auto a = pool.make_actor<account>();
  auto flaky = [](account& self, int n) -> dg::generator<int> {
    self.log += std::to_string(dg::this_task::attempt());
    for (int i = 0; i < n; ++i) {
      co_yield i;
      if (i == 1 && dg::this_task::attempt() < 3) throw boom();
    }
  };
  auto stream = a.options(dg::max_retries{2}).submit(flaky, 4);
  auto text = a.submit(&account::text);
  CHECK(text.get() == "123");
  for (int v : stream.values()) seen.push_back(v);
  CHECK(seen == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("the tasks of a when_all in a method follow each other", "[actor][S-DETAIL-7]") {
  support::watchdog dog("when_all in a method");
  alone::overlapped = false;
  dg::thread_pool pool(2);
  auto a = pool.make_actor<account>();
  auto both = a.submit([](account& self) -> dg::task<int> {
    auto part = [&self](int n) -> dg::task<int> {
      alone here(self.inside);
      co_return self.value += n;
    };
    auto [x, y, z] = co_await dg::when_all(part(1), part(10), part(100));
    co_return x * 1'000'000 + y * 1000 + z;
  });
  CHECK(both.get() == 1'011'111);
  CHECK_FALSE(alone::overlapped);
}

TEST_CASE("an actor may own another one, and a method may drop the last handle", "[actor][S-MEM-8]") {
  support::watchdog dog("actors that hold actors");
  struct owner {
    dg::actor<account> held;
    explicit owner(dg::actor<account> a) : held(std::move(a)) {}
    dg::task<int> asks(int n) { co_return co_await held.submit(&account::add, n); }
    int blocks(int n) { return held.submit(&account::add, n).get(); }
    void lets_go() { held = {}; }
  };
  for (int threads : {1, 2}) {
    dg::thread_pool pool(threads);
    auto o = pool.make_actor<owner>(pool.make_actor<account>(1));
    CHECK(o.submit(&owner::asks, 2).get() == 3);
    CHECK(o.submit(&owner::blocks, 3).get() == 6);
    o.submit(&owner::lets_go).get();
    CHECK(support::eventually([] { return account::alive == 0; }));
    // A method drops the last handle of its own actor.
    auto self = std::make_shared<dg::actor<account>>(pool.make_actor<account>());
    auto& handle = *self;
    handle.submit([self = std::move(self)](account& inner) mutable {
      inner.value = 1;
      *self = {};
    });
    CHECK(support::eventually([] { return account::alive == 0; }));
  }
}

TEST_CASE("ten thousand actors live at once", "[actor][S-ACTOR]") {
  support::watchdog dog("ten thousand actors", 120);
  {
    dg::thread_pool pool(2);
    std::vector<dg::actor<account>> all;
    for (int i = 0; i < 10'000; ++i) all.push_back(pool.make_actor<account>(i));
    std::vector<dg::ref<int>> refs;
    for (int round = 0; round < 3; ++round)
      for (auto& a : all) refs.push_back(a.submit(&account::add, 1));
    long sum = 0;
    for (auto& r : refs) sum += r.get();
    CHECK(sum == 3L * 9999 * 10'000 / 2 + 60'000);
    CHECK(account::alive == 10'000);
    for (std::size_t i = 0; i < all.size(); i += 2) all[i] = {};
    CHECK(support::eventually([] { return account::alive == 5000; }));
  }  // the others go with the pool
  CHECK(account::alive == 0);
}

TEST_CASE("an empty handle of an actor says so", "[actor]") {
  dg::actor<account> none;
  CHECK_FALSE(none.valid());
  CHECK_THROWS_AS(none.submit(&account::get), dg::empty_ref);
  CHECK_THROWS_AS(none.options(dg::name{"x"}), dg::empty_ref);
  CHECK_THROWS_AS(none.kill(), dg::empty_ref);
  dg::thread_pool pool(1);
  auto a = pool.make_actor<account>();
  int (account::*null)(int) = nullptr;
  CHECK_THROWS_AS(a.submit(null, 1), std::invalid_argument);
  auto b = std::move(a);
  CHECK_THROWS_AS(a.submit(&account::get), dg::empty_ref);
  CHECK(b.submit(&account::get).get() == 0);
}

TEST_CASE("an exception from the destructor of an actor is reported", "[actor][S-ERR-10]") {
  support::watchdog dog("throwing destructor");
  support::error_log log;
  struct thrower {
    ~thrower() noexcept(false) { throw boom("destructor"); }
    int one() { return 1; }
  };
  {
    dg::thread_pool pool({.threads = 1, .on_unhandled_error = log.hook()});
    auto a = pool.make_actor<thrower>();
    CHECK(a.submit(&thrower::one).get() == 1);
  }
  REQUIRE(log.count() == 1);
  CHECK(support::message_of([&] { std::rethrow_exception(log.at(0).error); }) == "destructor");
}

TEST_CASE("actors leak no memory", "[actor][S-MEM-4]") {
  support::watchdog dog("memory of actors");
  const long before = dg::detail::memory_counter::live(dg::detail::memory_kind::record);
  {
    dg::thread_pool pool(2);
    for (int i = 0; i < 100; ++i) {
      auto a = pool.make_actor<account>(i - 3);
      auto stream = a.options(dg::backpressure{2}).submit(&account::count, 10);
      a.submit(&account::add, 1);
      if (i % 2 == 0) a.kill();
    }
  }
  CHECK(dg::detail::memory_counter::live(dg::detail::memory_kind::record) == before);
  CHECK(account::alive == 0);
}

}  // namespace test_actors
