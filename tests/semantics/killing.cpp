// SPDX-License-Identifier: MIT
// actor::kill(): which calls it cancels, asks to stop or lets finish, and the unusual places from which it may be
// called.

#include "../catch.hpp"
#include "probes.hpp"

#include <atomic>
#include <exception>
#include <optional>
#include <stop_token>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace test_killing {

using support::boom;
using support::holds;

namespace {

using namespace std::chrono_literals;

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

}  // namespace test_killing
