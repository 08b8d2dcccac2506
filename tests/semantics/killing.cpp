// SPDX-License-Identifier: MIT
// actor::kill(): which calls it cancels, asks to stop or lets finish, and the unusual places from which it may be
// called.

#include "../catch.hpp"
#include "actor_fixtures.hpp"
#include "probes.hpp"

#include <atomic>
#include <exception>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace test_killing {

using namespace std::chrono_literals;
using support::account;
using support::actor_is_dead;
using support::boom;
using support::holds;
using support::later;
using support::nested_message;
using support::recorder;

namespace {

/// Counts its constructed and its live instances.
struct subject {
  static inline std::atomic<int> built{0}, alive{0};
  subject() noexcept { ++built, ++alive; }
  explicit subject(int) noexcept : subject() {}
  subject(const subject&) = delete;
  ~subject() { --alive; }

  int one() { return 1; }
  dg::generator<long> endless() {
    for (long i = 0;; ++i) co_yield i;
  }
};

/// An argument that records the thread on which it is destroyed.
struct notes_thread {
  explicit notes_thread(std::thread::id& t) noexcept : to(&t) {}
  notes_thread(notes_thread&& o) noexcept : to(std::exchange(o.to, nullptr)) {}
  ~notes_thread() {
    if (to != nullptr) *to = std::this_thread::get_id();
  }
  std::thread::id* to;
};

/// All workers of a pool of one thread are busy until it is opened.
struct busy_pool {
  dg::thread_pool pool;
  support::gate busy, go;
  dg::ref<void> task;
  busy_pool() : pool(1) {
    task = pool.submit([this] {
      busy.open();
      go.pass();
    });
    busy.pass();
  }
  ~busy_pool() { go.open(); }
};

}  // namespace

TEST_CASE("kill ends a running generator method, and keeps its stored values", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill of an endless generator method");
  dg::thread_pool pool(2);
  auto a = pool.make_actor<subject>();
  auto values = a.submit(&subject::endless);
  auto end = values.completion();
  CHECK(values.next_value() == 0);
  a.kill();
  CHECK(end.wait_for(30s));
  CHECK(holds<dg::cancelled_error>(end));
  long next = 1;
  std::exception_ptr last;
  while (auto item = values.next()) {
    if (item->failed())
      last = item->error();
    else if (item->get() == next)
      ++next;
    else
      FAIL("a value was lost");
  }
  CHECK(last != nullptr);
  CHECK(support::eventually([] { return subject::alive == 0; }));
}

TEST_CASE("kill ends a method that awaits again and again", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill of a method that yields to others");
  struct polls {
    dg::task<int> forever(support::gate& begun) {
      begun.open();
      for (;;) co_await dg::this_task::yield();
    }
  };
  dg::thread_pool pool(2);
  support::gate begun;
  auto a = pool.make_actor<polls>();
  auto r = a.submit(&polls::forever, std::ref(begun));
  begun.pass();
  a.kill();
  CHECK(r.wait_for(30s));
  CHECK(holds<dg::cancelled_error>(r));
}

TEST_CASE("a plain method sees that its actor was killed, and keeps its result", "[actor][S-DETAIL-7][S-CANCEL-3]") {
  support::watchdog dog("kill of a plain method");
  struct plain {
    int polls(support::gate& begun) {
      begun.open();
      while (!dg::this_task::stop_requested()) std::this_thread::yield();
      return 7;
    }
    int waits_for_token(support::gate& begun) {
      support::gate asked;
      const std::stop_callback on_stop(dg::this_task::get_stop_token(), [&] { asked.open(); });
      begun.open();
      asked.pass();
      return 8;
    }
  };
  for (const bool by_token : {false, true}) {
    dg::thread_pool pool(1);
    support::gate begun;
    auto a = pool.make_actor<plain>();
    auto r = a.submit(by_token ? &plain::waits_for_token : &plain::polls, std::ref(begun));
    begun.pass();
    a.kill();
    CHECK(r.get() == (by_token ? 8 : 7));
  }
}

TEST_CASE("kill stops running and suspended calls, with any limit of concurrency", "[actor][S-DETAIL-7][S-ACTOR-2]") {
  support::watchdog dog("kill of two methods in progress");
  struct pair {
    dg::generator<int> suspends() {
      for (int i = 0;; ++i) co_yield i;
    }
    void polls(support::gate& begun) {
      begun.open();
      while (!dg::this_task::stop_requested()) std::this_thread::yield();
    }
  };
  dg::thread_pool pool(2);
  support::gate begun;
  auto a = pool.options(dg::max_concurrency{2}).make_actor<pair>();
  auto suspended = a.options(dg::backpressure{1}).submit(&pair::suspends);
  CHECK(suspended.next_value() == 0);
  auto runs = a.submit(&pair::polls, std::ref(begun));
  begun.pass();
  a.kill();
  runs.get();
  CHECK(suspended.completion().wait_for(30s));
  CHECK(holds<dg::cancelled_error>(suspended.completion()));
}

TEST_CASE("kill cancels a construction that has not begun", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill before the construction");
  subject::built = 0;
  {
    busy_pool busy;
    auto queued = busy.pool.make_actor<subject>(1);
    queued.kill();
    dg::promise<int> argument;
    auto waits = busy.pool.make_actor<subject>(argument.get_ref());
    auto call = waits.submit(&subject::one);
    waits.kill();
    busy.go.open();
    CHECK(holds<dg::cancelled_error>(call));
    argument.set_value(1);
    auto last = busy.pool.make_actor<subject>(2);
    last.kill();  // perhaps while it is constructed
    CHECK(holds<dg::actor_died>(queued.submit(&subject::one)));
  }
  CHECK(subject::built <= 1);
  CHECK(subject::alive == 0);
}

TEST_CASE("a constructor in progress continues when its actor is killed, and its exception is not reported",
          "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill during the construction");
  for (const bool throws : {false, true}) {
    std::atomic<int> reported{0};
    std::atomic<bool> finished{false}, destroyed{false};
    support::gate inside, go;
    struct slow {
      slow(support::gate& in, support::gate& g, std::atomic<bool>& f, std::atomic<bool>& d, bool t) : gone(&d) {
        in.open();
        g.pass();
        f = true;
        if (t) throw boom();
      }
      ~slow() { *gone = true; }
      int one() { return 1; }
      std::atomic<bool>* gone;
    };
    {
      dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
      auto a = pool.make_actor<slow>(std::ref(inside), std::ref(go), std::ref(finished), std::ref(destroyed), throws);
      auto queued = a.submit(&slow::one);
      inside.pass();
      a.kill();
      CHECK_FALSE(destroyed);
      auto late = a.submit(&slow::one);
      CHECK(late.ready());  // although the constructor has not ended
      CHECK(holds<dg::actor_died>(late));
      go.open();
      CHECK(holds<dg::cancelled_error>(queued));
    }
    CHECK(finished);
    CHECK(destroyed != throws);
    CHECK(reported == 0);
  }
}

TEST_CASE("a call on a dead actor ends at once, whatever its arguments wait for", "[actor][S-DETAIL-7][S-CANCEL-9]") {
  support::watchdog dog("call on a dead actor");
  busy_pool busy;  // no worker is needed for it
  auto a = busy.pool.make_actor<subject>();
  a.kill();
  dg::promise<int> never;
  std::thread::id destroyed_on;
  auto call = a.submit([](subject&, int, const notes_thread&) { return 1; }, never.get_ref(), notes_thread(destroyed_on));
  CHECK(call.ready());
  CHECK(destroyed_on == std::this_thread::get_id());
  CHECK(holds<dg::actor_died>(call));
  auto values = a.submit(&subject::endless);
  CHECK_FALSE(values.finished());  // the error is its first item
  auto item = values.try_next();
  REQUIRE(item);
  CHECK(holds<dg::actor_died>(*item));
  CHECK(values.finished());
}

TEST_CASE("calls that wait for their arguments end when the constructor throws", "[actor][S-DETAIL-7][S-CANCEL-9]") {
  support::watchdog dog("calls of an actor whose constructor throws");
  struct fails {
    explicit fails(support::gate& go) {
      go.pass();
      throw boom();
    }
    int add(int n) { return n; }
  };
  dg::thread_pool pool(2);
  support::gate go;
  dg::promise<int> never;
  auto a = pool.make_actor<fails>(std::ref(go));
  auto unready = a.submit(&fails::add, never.get_ref());
  auto behind_it = a.submit(&fails::add, 1);
  go.open();
  CHECK(unready.wait_for(30s));
  CHECK(holds<dg::actor_died>(unready));
  CHECK(behind_it.wait_for(30s));
  CHECK(holds<dg::actor_died>(behind_it));
}

TEST_CASE("kill may be called again, from inside, from a stop callback and from the destructor",
          "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill from anywhere");
  struct killer {
    std::optional<dg::actor<killer>> self;
    std::atomic<int>* gone = nullptr;
    explicit killer(std::atomic<int>* g) : gone(g) {}
    ~killer() {
      if (self) self->kill();
      ++*gone;
    }
    void keep(dg::actor<killer> a) { self = std::move(a); }
    int kills_itself() {
      self->kill();
      self->kill();
      return dg::this_task::stop_requested() ? 1 : 0;
    }
    dg::generator<int> kills_and_yields() {
      co_yield 1;
      self->kill();
      co_yield 2;
      co_yield 3;
    }
    int from_callback(support::gate& begun) {
      support::gate asked;
      const std::stop_callback on_stop(dg::this_task::get_stop_token(), [&] {
        self->kill();
        asked.open();
      });
      begun.open();
      asked.pass();
      return 2;
    }
  };
  std::atomic<int> gone{0};
  {
    dg::thread_pool pool(2);
    for (int how = 0; how < 3; ++how) {
      auto a = pool.make_actor<killer>(&gone);
      a.submit(&killer::keep, a).get();
      if (how == 0) {
        CHECK(a.submit(&killer::kills_itself).get() == 1);
      } else if (how == 1) {
        auto values = a.options(dg::num_returns<3>{}).submit(&killer::kills_and_yields);
        CHECK(values[0].get() == 1);
        CHECK(holds<dg::cancelled_error>(values[1]));
        CHECK(holds<dg::cancelled_error>(values[2]));
      } else {
        support::gate begun;
        auto r = a.submit(&killer::from_callback, std::ref(begun));
        begun.pass();
        a.kill();
        CHECK(r.get() == 2);
      }
      a.kill();
      CHECK(holds<dg::actor_died>(a.submit(&killer::kills_itself)));
    }
    CHECK(support::eventually([&] { return gone == 3; }));
  }
}

TEST_CASE("kill during the construction, by the constructor", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill by the constructor");
  struct suicidal;
  static std::atomic<dg::actor<suicidal>*> handle;
  static std::atomic<int> alive;
  struct suicidal {
    suicidal() {
      ++alive;
      while (handle == nullptr) std::this_thread::yield();
      handle.load()->kill();
    }
    ~suicidal() { --alive; }
    int one() { return 1; }
  };
  handle = nullptr;
  alive = 0;
  dg::thread_pool pool(2);
  auto a = pool.make_actor<suicidal>();
  auto queued = a.submit(&suicidal::one);
  handle = &a;
  CHECK(holds<dg::cancelled_error>(queued));
  CHECK(holds<dg::actor_died>(a.submit(&suicidal::one)));
  CHECK(support::eventually([] { return alive == 0; }));
}

TEST_CASE("several kills at once, beside calls, streams and the last handle", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kills at once");
  {
    dg::thread_pool pool(3);
    for (int round = 0; round < 200; ++round) {
      auto a = pool.options(dg::max_concurrency{round % 3 + 1}).make_actor<subject>();
      auto values = a.submit(&subject::endless);
      std::vector<std::thread> killers;
      for (int i = 0; i < 2; ++i) killers.emplace_back([a] { a.kill(); });
      auto call = a.submit(&subject::one);
      call.wait();
      for (auto& t : killers) t.join();
      values.completion().wait();
      CHECK(holds<dg::actor_died>(a.submit(&subject::one)));
    }
  }
  CHECK(subject::alive == 0);
}

TEST_CASE("kill after the end of the pool", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill after the pool");
  dg::actor<subject> a;
  {
    dg::thread_pool pool(1);
    a = pool.make_actor<subject>();
    CHECK(a.submit(&subject::one).get() == 1);
  }
  CHECK(holds<dg::actor_died>(a.submit(&subject::one)));
  a.kill();
  a.kill();
  CHECK(holds<dg::actor_died>(a.submit(&subject::one)));
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

TEST_CASE("a call that gets its turn while its actor is being killed is cancelled like the others",
          "[actor][S-DETAIL-7]") {
  dg::inline_executor at_once;
  auto a = dg::on(at_once).make_actor<recorder>();
  later never;
  auto unready = a.submit(&recorder::add, never.ref);
  auto held_up = a.options(dg::num_returns<2>{}).submit(&recorder::count, 2);
  a.kill();  // it cancels the first one, whose end gives the turn to the second one before that is cancelled
  CHECK(support::holds<dg::cancelled_error>(unready));
  CHECK(support::holds<dg::cancelled_error>(held_up[0]));
  CHECK(actor_is_dead(a.submit(&recorder::text).error()));
}

TEST_CASE("kill ends queued, waiting and suspended calls, with any limit of concurrency", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill at every stage");
  for (int limit : {1, 2, 8}) {
    dg::thread_pool pool(2);
    later never;
    auto a = pool.options(dg::max_concurrency{limit}, dg::name{"target"}).make_actor<recorder>();
    std::vector<dg::ref<int>> calls;
    for (int i = 0; i < 4; ++i) calls.push_back(a.submit(&recorder::awaits, dg::unresolved(never.ref), "<", ">"));
    auto full = a.options(dg::backpressure{1}).submit(&recorder::count, 100);
    auto unready = a.submit(&recorder::add, never.ref);
    auto after = a.options(dg::after(never.ref)).submit(&recorder::note, "never");
    auto list = a.options(dg::dynamic).submit(&recorder::count, 3);
    auto fixed = a.options(dg::num_returns<2>{}).submit(&recorder::count, 2);
    a.kill();
    for (auto& c : calls) CHECK(support::holds<dg::cancelled_error>(c));
    CHECK(support::holds<dg::cancelled_error>(unready));
    CHECK(support::holds<dg::cancelled_error>(after));
    CHECK(list.error() != nullptr);
    CHECK(support::holds<dg::cancelled_error>(fixed[1]));
    while (auto item = full.next())
      if (item->failed()) CHECK(support::holds<dg::cancelled_error>(*item));
    CHECK(support::eventually([] { return recorder::alive == 0; }));
    auto late = a.submit(&recorder::text);
    CHECK(actor_is_dead(late.error()));
    CHECK(support::message_of([&] { late.get(); }).find("'target'") != std::string::npos);
    CHECK(actor_is_dead(a.options(dg::max_retries{3}).submit(&recorder::text).error()));
    CHECK(actor_is_dead(a.options(dg::dynamic).submit(&recorder::count, 3).error()));
  }
}

TEST_CASE("an actor may be killed before it is built, by itself, and by several at once", "[actor][S-DETAIL-7]") {
  support::watchdog dog("kill in corners");
  dg::thread_pool pool(2);
  {
    later input;
    struct takes {
      explicit takes(int) {}
      int one() { return 1; }
    };
    auto a = pool.make_actor<takes>(input.ref);
    auto call = a.submit(&takes::one);
    a.kill();
    CHECK(support::holds<dg::cancelled_error>(call));
    CHECK(actor_is_dead(a.submit(&takes::one).error()));
    input.promise.set_value(1);
  }
  {
    auto a = pool.make_actor<recorder>();
    auto kills = a.submit([a](recorder& self) {
      a.kill();
      return self.sum + 1;
    });
    CHECK(kills.get() == 1);  // it runs to its end
    CHECK(actor_is_dead(a.submit(&recorder::text).error()));
    CHECK(support::eventually([] { return recorder::alive == 0; }));
  }
  for (int round = 0; round < 100; ++round) {
    auto a = pool.make_actor<recorder>();
    std::vector<std::thread> killers;
    for (int i = 0; i < 3; ++i) killers.emplace_back([a] { a.kill(); });
    auto call = a.submit(&recorder::add, 1);
    call.wait();
    for (auto& t : killers) t.join();
    CHECK(actor_is_dead(a.submit(&recorder::add, 1).error()));
  }
  CHECK(support::eventually([] { return recorder::alive == 0; }));
}

TEST_CASE("an attempt that fails after its actor was killed is the last one", "[actor][S-DETAIL-7][L-19]") {
  support::watchdog dog("kill against retries");
  dg::thread_pool pool(2);
  for (int round = 0; round < 50; ++round) {
    auto a = pool.make_actor<recorder>();
    std::atomic<int> attempts{0};
    auto endless = a.options(dg::max_retries{2'000'000'000}).submit([&attempts](recorder&) {
      ++attempts;
      throw boom();
    });
    while (attempts < round % 3) std::this_thread::yield();
    a.kill();
    endless.wait();
    const int ended_at = attempts;
    CHECK(support::eventually([] { return recorder::alive == 0; }));
    CHECK(attempts == ended_at);
  }
}

}  // namespace test_killing
