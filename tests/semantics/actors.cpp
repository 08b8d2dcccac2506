// SPDX-License-Identifier: MIT
// Actors: their methods as tasks, one call at a time, in the order of their submits. S-ACTOR, L-12, and the other rules
// as far as they apply to methods.

#include "../catch.hpp"
#include "actor_fixtures.hpp"
#include "probes.hpp"

#include <array>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace test_actors {

using namespace std::chrono_literals;
using support::boom;
using support::account;
using support::alone;
using support::later;

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

}  // namespace test_actors
