// SPDX-License-Identifier: MIT
// No queued task waits for ever behind a steady supply of others: wherever a worker prefers one source of work, an
// endless supply there must not keep it from the other sources. In each test a task polls by queueing its successor
// until another task, queued before, has run.

#include "../catch.hpp"
#include "../support.hpp"

#include <atomic>
#include <functional>
#include <thread>

namespace test_fairness {

namespace {

using namespace std::chrono_literals;

/// Queues itself again until `found` is set, and counts how often it ran.
struct poller {
  dg::thread_pool* pool;
  std::atomic<bool>* found;
  std::atomic<long>* polls;
  void operator()() const {
    ++*polls;
    if (!*found) pool->submit(*this);
  }
};

dg::task<void> child() { co_return; }
/// A coroutine that does what poller does, and runs so many children before it queues its successor.
dg::task<void> polls_with_children(dg::thread_pool* pool, std::atomic<bool>* found, std::atomic<long>* polls, int children) {
  ++*polls;
  for (int i = 0; i < children; ++i) co_await dg::when_all(child());
  if (!*found) pool->submit(polls_with_children, pool, found, polls, children);
}

/// One look at each old end for so many picks of tasks (detail/pool/work_search.hpp, [F]).
constexpr long period = 61;

/// Runs `start` on a worker of `pool`, and waits until `found` is set, up to a minute.
template <class Start>
bool comes_to_pass(dg::thread_pool& pool, std::atomic<bool>& found, Start start) {
  dg::ref<void> started = pool.submit(start);
  const bool came = support::eventually([&] { return found.load(); }, 30s);
  found = true;  // so that the pool ends also when the test fails
  started.wait();
  return came;
}

}  // namespace

TEST_CASE("a worker reaches the oldest task of its own deque", "[pool][L-18][L-26]") {
  support::watchdog dog("the oldest task of the own deque");
  for (const int older : {1, 5}) {
    std::atomic<bool> found{false};
    std::atomic<long> polls{0};
    std::atomic<int> left{older};
    dg::thread_pool pool({.threads = 1, .waiters_help = false});
    CHECK(comes_to_pass(pool, found, [&, older] {
      for (int i = 0; i < older; ++i)
        pool.submit([&] {
          if (--left == 0) found = true;
        });
      pool.submit(poller{&pool, &found, &polls});
    }));
    pool.shutdown(dg::shutdown_mode::drain);
    CHECK(polls <= period * (older + 1));
  }
}

TEST_CASE("a worker reaches the oldest task of its own deque when no other worker can steal it", "[pool][L-18][L-26]") {
  support::watchdog dog("the oldest task of the own deque, another worker busy");
  std::atomic<bool> found{false};
  std::atomic<long> polls{0};
  support::gate busy, over;
  dg::thread_pool pool({.threads = 2, .waiters_help = false});
  pool.submit([&] {
    busy.open();
    over.pass();  // a wait that the library does not see
  });
  busy.pass();
  CHECK(comes_to_pass(pool, found, [&] {
    pool.submit([&] { found = true; });
    pool.submit(poller{&pool, &found, &polls});
  }));
  over.open();
  pool.shutdown(dg::shutdown_mode::drain);
  CHECK(polls <= 2 * period);
}

TEST_CASE("children that run in their parent's place do not hide old tasks of the own deque", "[pool][L-18][L-26]") {
  support::watchdog dog("children and the own deque");
  for (const int children : {59, 60, 61, 122}) {
    std::atomic<bool> found{false};
    std::atomic<long> polls{0};
    dg::thread_pool pool({.threads = 1, .waiters_help = false});
    CHECK(comes_to_pass(pool, found, [&, children] {
      pool.submit([&] { found = true; });
      pool.submit(polls_with_children, &pool, &found, &polls, children);
    }));
    pool.shutdown(dg::shutdown_mode::drain);
    CHECK(polls <= 2 * period);
  }
}

TEST_CASE("children that run in their parent's place do not hide the tasks of a blocked worker", "[pool][L-18][L-26]") {
  support::watchdog dog("children and the deque of a blocked worker");
  for (const int children : {0, 59, 60, 61, 122}) {
    std::atomic<bool> found{false};
    std::atomic<long> polls{0};
    support::gate over;
    dg::thread_pool pool({.threads = 2, .waiters_help = false});
    // The poller first, so that the other worker can steal only its links, and keeps the tasks that it queues itself.
    dg::ref<void> started = pool.submit(polls_with_children, &pool, &found, &polls, children);
    REQUIRE(support::eventually([&] { return polls > 10; }));
    dg::ref<void> blocked = pool.submit([&] {
      const std::thread::id mine = std::this_thread::get_id();
      pool.submit([&found, mine] { found = std::this_thread::get_id() != mine || found; });
      over.pass();  // a wait that the library does not see
    });
    CHECK(support::eventually([&] { return found.load(); }, 30s));
    found = true;
    over.open();
    blocked.wait();
    started.wait();
  }
}

TEST_CASE("children that run in their parent's place do not hide injected tasks", "[pool][L-18]") {
  support::watchdog dog("children and the injection queue");
  for (const int children : {0, 1, 59, 60, 61, 122}) {
    std::atomic<bool> found{false};
    std::atomic<long> polls{0};
    dg::thread_pool pool({.threads = 1, .waiters_help = false});
    pool.submit(polls_with_children, &pool, &found, &polls, children);
    REQUIRE(support::eventually([&] { return polls > 100; }));
    pool.submit([&] { found = true; });
    CHECK(support::eventually([&] { return found.load(); }, 30s));
    found = true;
  }
}

TEST_CASE("an endless supply of injected tasks does not keep a worker from its own deque", "[pool][L-18]") {
  support::watchdog dog("the own deque and the injection queue");
  std::atomic<bool> found{false};
  std::atomic<long> polls{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  // Each yield goes to the injection queue; several tasks, so that it never runs dry.
  auto yields = [](std::atomic<bool>* f) -> dg::task<void> {
    while (!*f) co_await dg::this_task::yield();
  };
  for (int i = 0; i < 40; ++i) pool.submit(yields, &found);
  CHECK(comes_to_pass(pool, found, [&] {
    pool.submit(poller{&pool, &found, &polls});  // also a task that is preferred to it
    pool.submit([&] { found = true; });
    pool.submit(poller{&pool, &found, &polls});
  }));
}

TEST_CASE("an actor whose calls never end lets an older task of its worker run", "[actor][L-18][L-26]") {
  support::watchdog dog("an actor and the own deque");
  struct endless {
    std::atomic<bool>* found;
    dg::actor<endless>* self = nullptr;
    void call() {
      if (!*found) self->submit(&endless::call);
    }
  };
  std::atomic<bool> found{false};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::actor<endless> one = pool.make_actor<endless>(endless{&found}), other = pool.make_actor<endless>(endless{&found});
  one.submit([](endless& e, dg::actor<endless>* self) { e.self = self; }, &one).wait();
  other.submit([](endless& e, dg::actor<endless>* self) { e.self = self; }, &other).wait();
  CHECK(comes_to_pass(pool, found, [&] {
    pool.submit([&] { found = true; });
    one.submit(&endless::call);
    other.submit(&endless::call);
  }));
}

TEST_CASE("a blocked worker without a replacement reaches its oldest task", "[pool][L-2][L-18][L-26]") {
  support::watchdog dog("the oldest task, run by a blocked worker");
  std::atomic<bool> found{false};
  std::atomic<long> polls{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false, .max_spare_threads = 0});
  CHECK(comes_to_pass(pool, found, [&] {
    dg::ref<void> sets = pool.submit([&] { found = true; });
    pool.submit(poller{&pool, &found, &polls});
    sets.get();
  }));
}

TEST_CASE("tasks queued inline run in the order in which they became ready", "[executor][L-18]") {
  support::watchdog dog("inline order");
  std::atomic<bool> found{false};
  long polls = 0;
  dg::inline_executor here;
  std::function<void()> poll = [&] {
    ++polls;
    if (!found) dg::on(here).submit(std::ref(poll));
  };
  dg::on(here)
      .submit([&] {
        dg::on(here).submit(std::ref(poll));
        dg::on(here).submit([&] { found = true; });
      })
      .wait();
  CHECK(found);
  CHECK(polls == 2);
  dg::manual_executor later;
  found = false;
  polls = 0;
  std::function<void()> poll_later = [&] {
    ++polls;
    if (!found) dg::on(later).submit(std::ref(poll_later));
  };
  dg::on(later).submit(std::ref(poll_later));
  dg::on(later).submit([&] { found = true; });
  later.run_all();
  CHECK(found);
  CHECK(polls == 2);
}

}  // namespace test_fairness
