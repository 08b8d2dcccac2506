// SPDX-License-Identifier: MIT
// Cancelled tasks end although no worker becomes free: S-CANCEL-9.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace test_ending_cancelled {

using namespace std::chrono_literals;
using support::busy_workers;

TEST_CASE("refs of cancelled tasks are ready although no worker becomes free", "[cancel][S-CANCEL-9][L-29]") {
  support::watchdog dog("cancelled while all workers are busy");
  const bool helps = GENERATE(false, true);
  const int workers = GENERATE(1, 2);
  dg::thread_pool pool({.threads = workers, .waiters_help = helps});
  dg::promise<int> never;
  support::gate destroyed;
  std::vector<dg::ref<int>> refs;
  dg::ref_stream<int> stream;
  auto yields = []() -> dg::generator<int> { co_yield 1; };
  auto awaits = [&never]() -> dg::task<int> { co_return co_await never.get_ref(); };
  dg::ref<int> suspended = pool.submit(awaits);
  pool.submit([] {}).get();  // it is suspended now, or soon
  const busy_workers busy(pool, workers);
  for (int i = 0; i < 100; ++i) refs.push_back(pool.submit([i] { return i; }));
  refs.push_back(pool.submit([](int x) { return x; }, never.get_ref()));
  struct opens_when_gone {
    explicit opens_when_gone(support::gate& g) : gate(&g, [](support::gate* o) { o->open(); }) {}
    std::shared_ptr<support::gate> gate;
  };
  refs.push_back(pool.submit([held = opens_when_gone(destroyed)] { return 1; }));
  refs.push_back(suspended);
  stream = pool.submit(yields);
  for (const auto& each : refs) CHECK(each.cancel());
  CHECK(stream.cancel());
  const auto result = dg::wait(refs, refs.size(), 20s);
  CHECK(result.ready.size() == refs.size());
  for (const auto& each : refs) CHECK(support::is_cancelled(each.error()));
  destroyed.pass();
  CHECK(support::is_cancelled(stream.next_for(20s)->error()));
}

TEST_CASE("a task whose argument fails ends although no worker becomes free", "[cancel][S-CANCEL-9][S-ERR-8]") {
  support::watchdog dog("doomed while all workers are busy");
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::promise<int> fails;
  const busy_workers busy(pool, 1);
  auto r = pool.submit([](int x) { return x; }, fails.get_ref());
  auto after = pool.submit([](int x) { return x; }, r);
  fails.set_exception(std::make_exception_ptr(support::boom()));
  CHECK(after.wait_for(20s));
  CHECK_THROWS_AS(after.get(), support::boom);
}

TEST_CASE("all queued tasks end when a pool cancels them, although its workers are busy",
          "[cancel][S-CANCEL-9][S-STOP-2]") {
  support::watchdog dog("shutdown(cancel) while all workers are busy");
  dg::thread_pool pool({.threads = 2, .waiters_help = false});
  std::vector<dg::ref<int>> refs;
  std::jthread closer;
  {
    const busy_workers busy(pool, 2);
    for (int i = 0; i < 100; ++i) refs.push_back(pool.submit([i] { return i; }));
    closer = std::jthread([&] { pool.shutdown(dg::shutdown_mode::cancel); });
    CHECK(dg::wait(refs, refs.size(), 20s).ready.size() == refs.size());
  }
  closer.join();
}

TEST_CASE("calls of an actor end when they are cancelled, although no worker becomes free", "[actor][S-CANCEL-9]") {
  support::watchdog dog("cancelled calls");
  struct counter {
    int add(int n) { return total += n; }
    int total = 0;
  };
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::promise<int> never, fails;
  auto a = pool.make_actor<counter>();
  CHECK(a.submit(&counter::add, 1).get() == 1);
  const busy_workers busy(pool, 1);
  auto has_the_turn = a.submit(&counter::add, 1);  // handed to the pool, and queued there
  auto waits_for_it = a.submit(&counter::add, 1);
  auto waits_for_argument = a.submit(&counter::add, never.get_ref());
  auto doomed = a.submit(&counter::add, fails.get_ref());
  for (const auto* each : {&waits_for_argument, &waits_for_it}) {
    CHECK(each->cancel());
    CHECK(each->wait_for(20s));
    CHECK(support::is_cancelled(each->error()));
  }
  fails.set_exception(std::make_exception_ptr(support::boom()));
  CHECK(doomed.wait_for(20s));
  CHECK_THROWS_AS(doomed.get(), support::boom);
  CHECK(has_the_turn.cancel());
  CHECK(has_the_turn.wait_for(20s));
  CHECK(support::is_cancelled(has_the_turn.error()));
}

TEST_CASE("calls of an actor that have begun end when they are cancelled, although no worker becomes free",
          "[actor][S-CANCEL-9]") {
  support::watchdog dog("cancelled calls that have begun");
  struct counter {
    std::atomic<int> inside{0};
    dg::task<int> add(dg::ref<int> n) {
      enter();
      const int got = co_await n;
      enter();
      co_return got;
    }
    dg::task<int> add_both(dg::ref<int> a, dg::ref<int> b) {
      const auto wait = [](dg::ref<int> r) -> dg::task<int> { co_return co_await r; };
      const auto [x, y] = co_await dg::when_all(wait(a), wait(b));
      enter();
      co_return x + y;
    }
    int nothing() {
      enter();
      return 0;
    }
    void enter() {
      CHECK(++inside == 1);
      --inside;
    }
  };
  for (const bool by_kill : {false, true}) {
    CAPTURE(by_kill);
    dg::thread_pool pool({.threads = 1, .waiters_help = false});
    dg::promise<int> never, comes, first, second;
    auto a = pool.options(dg::max_concurrency{8}).make_actor<counter>();
    const std::vector<dg::ref<int>> calls{a.submit(&counter::add, dg::unresolved(comes.get_ref())),
                                          a.submit(&counter::add, dg::unresolved(never.get_ref())),
                                          a.submit(&counter::add_both, dg::unresolved(first.get_ref()), dg::unresolved(second.get_ref()))};
    a.submit(&counter::nothing).wait();  // all have begun, and wait
    dg::ref<int> later;
    {
      const busy_workers busy(pool, 1);
      comes.set_value(1);  // that call now has the turn, and is queued in the pool
      if (by_kill)
        a.kill();
      else
        for (const dg::ref<int>& call : calls) CHECK(call.cancel());
      for (const dg::ref<int>& call : calls) {
        CHECK(call.wait_for(20s));
        CHECK(support::is_cancelled(call.error()));
      }
      later = a.submit(&counter::nothing);
      CHECK(later.wait_for(0s) == by_kill);
    }
    if (by_kill)
      CHECK_THROWS_AS(later.get(), dg::actor_died);
    else
      CHECK(later.get() == 0);
  }
}

TEST_CASE("a pool that has cancelled tasks waits for nothing when it is destroyed", "[cancel][S-CANCEL-9][S-STOP-1]") {
  support::watchdog dog("cancelled, then destroyed");
  const long before = support::pieces_alive();
  for (int round = 0; round < 50; ++round) {
    dg::thread_pool pool(1);
    std::vector<dg::ref<int>> refs;
    for (int i = 0; i < 20; ++i) refs.push_back(pool.submit([i] { return i; }));
    for (const auto& each : refs) each.cancel();
  }
  CHECK(support::pieces_alive() == before);
}

TEST_CASE("a task that a waiter has run, and that is suspended, ends when it is cancelled",
          "[cancel][S-CANCEL-9][L-3]") {
  support::watchdog dog("cancelled with a link left in the queue");
  dg::thread_pool pool(1);
  const busy_workers busy(pool, 1);
  dg::promise<int> never;
  support::gate begun;
  auto awaits = [&]() -> dg::task<int> {
    begun.open();
    co_return co_await never.get_ref();
  };
  const dg::ref<int> r = pool.submit(awaits);
  std::jthread helper([&] { r.wait(); });
  begun.pass();
  CHECK(r.cancel());
  CHECK(r.wait_for(20s));
  CHECK(support::is_cancelled(r.error()));
}

TEST_CASE("a destructor of a cancelled task may wait for another cancelled task", "[cancel][S-CANCEL-9][L-28]") {
  support::watchdog dog("cancelled tasks that wait for each other");
  const bool timed = GENERATE(false, true);
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  const busy_workers busy(pool, 1);
  struct waits {
    waits(dg::ref<int> r, bool t) : other(std::move(r)), timed_wait(t) {}
    waits(waits&& o) noexcept : other(std::move(o.other)), timed_wait(o.timed_wait) {}
    ~waits() {
      if (!other.valid()) return;
      if (timed_wait)
        (void)other.wait_for(20s);
      else
        other.wait();
    }
    dg::ref<int> other;
    bool timed_wait;
  };
  const dg::ref<int> second = pool.submit([] { return 2; });
  const dg::ref<int> first = pool.submit([held = waits(second, timed)] { return 1; });
  CHECK(first.cancel());
  CHECK(second.cancel());
  CHECK(first.wait_for(10s));
  CHECK(second.ready());
}

}  // namespace test_ending_cancelled
