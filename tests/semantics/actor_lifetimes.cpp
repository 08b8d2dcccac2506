// SPDX-License-Identifier: MIT
// Actors from their constructor to their destructor: arguments and exceptions of both, dropped handles, and the end of
// the pool. S-ACTOR-3, S-DETAIL-10, S-STOP-1.

#include "../catch.hpp"
#include "actor_fixtures.hpp"
#include "probes.hpp"

#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace test_actor_lifetimes {

using namespace std::chrono_literals;
using support::account;
using support::boom;
using support::later;
using support::nested_message;
using support::recorder;

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

TEST_CASE("a destructor that the end of a pool runs may still call the pool's actors",
          "[actor][S-STOP-1][S-DETAIL-10]") {
  support::watchdog dog("calls while draining");
  dg::ref<int> told;
  later never;
  {
    dg::thread_pool pool(2);
    auto a = pool.make_actor<recorder>();
    auto stuck = pool.submit([](dg::ref<int> r) -> dg::task<int> { co_return co_await r; }, dg::unresolved(never.ref));
    told = pool.submit(
        [](dg::actor<recorder> actor, dg::ref<int> r) -> dg::task<int> {
          bool cancelled = false;
          try {
            co_await r;
          } catch (const dg::cancelled_error&) {
            cancelled = true;
          }
          co_return cancelled ? co_await actor.submit(&recorder::add, 5) : 0;
        },
        a, dg::unresolved(stuck));
  }
  CHECK(told.get() == 5);
  CHECK(recorder::alive == 0);
}

TEST_CASE("an actor whose last handle is dropped ends after its queued calls, also if some of them wait",
          "[actor][S-ACTOR-3]") {
  support::watchdog dog("the last handle");
  recorder::overlapped = false;
  dg::thread_pool pool(2);
  later input;
  dg::ref<int> waits, suspended;
  {
    auto a = pool.make_actor<recorder>();
    waits = a.submit(&recorder::add, input.ref);
    suspended = a.submit(&recorder::awaits, dg::unresolved(input.ref), "", "");
  }
  CHECK(support::eventually([] { return recorder::alive == 1; }));
  CHECK_FALSE(suspended.wait_for(5ms));  // its calls follow
  input.promise.set_value(4);
  CHECK(waits.get() == 4);
  CHECK(suspended.get() == 4);
  CHECK(support::eventually([] { return recorder::alive == 0; }));
  // A suspended stream keeps it alive as any call does; options keep it alive as a handle does.
  std::optional<dg::ref_stream<int>> stream;
  {
    auto options = pool.make_actor<recorder>().options(dg::backpressure{1});
    stream = options.submit(&recorder::count, 3);
  }
  CHECK(stream->next_value() == 1);
  CHECK(recorder::alive == 1);
  CHECK(stream->next_value() == 2);
  CHECK(stream->next_value() == 3);
  CHECK_FALSE(stream->next_value().has_value());
  CHECK(support::eventually([] { return recorder::alive == 0; }));
}

TEST_CASE("ten thousand actors work at once, and keep each other alive in a chain", "[actor][S-ACTOR-3][L-14]") {
  support::watchdog dog("a chain of ten thousand actors", 120);
  struct link {
    static std::atomic<int>& alive() {
      static std::atomic<int> n{0};
      return n;
    }
    dg::actor<link> next;
    explicit link(dg::actor<link> to) : next(std::move(to)) { ++alive(); }
    ~link() { --alive(); }
    dg::task<int> length() {
      if (!next.valid()) co_return 1;
      co_return 1 + co_await next.submit(&link::length);
    }
  };
  for (int threads : {1, 2}) {
    dg::thread_pool pool(threads);
    dg::actor<link> first;
    for (int i = 0; i < 10'000; ++i) first = pool.make_actor<link>(std::move(first));
    CHECK(first.submit(&link::length).get() == 10'000);
    CHECK(link::alive() == 10'000);
    first = {};  // each drops the next
    CHECK(support::eventually([] { return link::alive() == 0; }, 60s));
  }
}

}  // namespace test_actor_lifetimes
