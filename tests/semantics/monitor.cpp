// SPDX-License-Identifier: MIT
// What a pool guarantees however busy its workers are, and whatever its users wait for unseen by the library: streams
// whose readers no longer ask for values make progress, and a long-running task yields to queued work.

#include "../catch.hpp"
#include "../support.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_monitor {

using namespace std::chrono_literals;
using support::eventually;

namespace {

using clock_type = std::chrono::steady_clock;

/// Writes number i to `made` before it yields it.
dg::generator<int> numbers(std::atomic<int>& made, int count) {
  for (int i = 0; i < count; ++i) {
    made = i;
    made.notify_all();
    co_yield i;
  }
}

/// Waits, unseen by the library, until number `at` was made.
void wait_until_made(const std::atomic<int>& made, int at) {
  for (int now = made; now < at; now = made) made.wait(now);
}

/// Yields 0 … count-1, and opens a gate before number `at`.
dg::generator<int> opens(support::gate& gate, int at, int count) {
  for (int i = 0; i < count; ++i) {
    if (i == at) gate.open();
    co_yield i;
  }
}

void busy_for(std::chrono::milliseconds time) {
  const auto end = clock_type::now() + time;
  while (clock_type::now() < end) {
  }
}

}  // namespace

// --- streams whose readers make the values ---

TEST_CASE("a taken value returns its credit, whichever thread made it and whatever interrupted the reader",
          "[stream][L-21][S-STREAM-4]") {
  support::watchdog dog("credits that were not returned");
  const int room = GENERATE(2, 8, 17, 64);
  const int interruption = GENERATE(0, 1, 2, 3);
  std::atomic<int> made{-1};
  dg::thread_pool pool(2);
  auto s = pool.options(dg::backpressure{room}).submit(numbers, std::ref(made), 1000);
  int taken = 0;
  auto take = [&](int count) {
    for (; count > 0; --count) CHECK(s.next_value() == taken++);
  };
  take(10);  // made by this thread
  if (interruption == 1 && s.try_next()) ++taken;
  if (interruption == 2) {
    (void)s.next_for(1h);
    ++taken;
  }
  if (interruption == 3) dg::wait_any(s);
  wait_until_made(made, room - 1);  // with a large capacity, a worker has filled most of it
  take(room - 1);
  wait_until_made(made, taken + 1);  // at least half of the capacity is free again
  SUCCEED();
}

TEST_CASE("threads that take turns at a stream each return the credits of the values that they took",
          "[stream][L-21][S-STREAM-8]") {
  support::watchdog dog("credits of a former reader");
  std::atomic<int> made{-1};
  dg::thread_pool pool(1);
  auto s = pool.options(dg::backpressure{32}).submit(numbers, std::ref(made), 400);
  for (int i = 0; i < 20; ++i) {
    std::jthread([&] {
      for (int k = 0; k < 20; ++k) {
        if (s.next_value() != i * 20 + k) made = 1'000'000;
      }
      dg::promise<int> here;
      here.set_value(1);
      here.get_ref().wait();
    }).join();
    CHECK(made < 400);
  }
  CHECK_FALSE(s.next_value());
}

TEST_CASE("a stream whose reader waits unseen makes progress, however busy the workers are", "[stream][L-22][L-1]") {
  support::watchdog dog("a stream whose reader waits unseen");
  const int workers = GENERATE(1, 2, 3);
  const bool coroutines = GENERATE(false, true);
  support::gate opened, over;
  {
    dg::thread_pool pool(workers);
    auto s = pool.submit(opens, std::ref(opened), 60, 1000);
    int taken = 0;
    for (; taken < 50; ++taken) CHECK(s.next_value() == taken);
    // Each worker polls, and never runs out of work.
    std::function<void()> again = [&] {
      if (!over.is_open()) pool.submit(again);
    };
    auto polls = [&over]() -> dg::task<void> {
      while (!over.is_open()) co_await dg::this_task::yield();
    };
    for (int i = 0; i < workers; ++i) {
      if (coroutines)
        (void)pool.submit(polls);
      else
        pool.submit(again);
    }
    opened.pass();
    while (s.next_value()) ++taken;
    CHECK(taken == 1000);
    over.open();
    pool.shutdown(dg::shutdown_mode::drain);
  }
}

TEST_CASE("a reader on a worker waits unseen while other workers poll", "[stream][L-22][L-1]") {
  support::watchdog dog("a reader on a worker");
  support::gate opened;
  dg::thread_pool pool(2);
  auto s = pool.submit(opens, std::ref(opened), 60, 1000);
  auto reads = [&opened](dg::ref_stream<int> from) {
    int n = 0;
    for (; n < 50; ++n) from.next_value();
    opened.pass();
    while (from.next_value()) ++n;
    return n;
  };
  auto polls = [&opened]() -> dg::task<void> {
    while (!opened.is_open()) co_await dg::this_task::yield();
  };
  const dg::ref<int> read = pool.submit(reads, std::move(s));
  const dg::ref<void> polled = pool.submit(polls);
  while (!read.wait_for(1ms)) {
  }
  CHECK(read.get() == 1000);
  polled.get();
}

TEST_CASE("a stream that its reader no longer asks is released as soon in a wide pool as in a narrow one",
          "[stream][L-23]") {
  support::watchdog dog("a wide pool");
  support::gate opened;
  dg::thread_pool pool(256);
  auto s = pool.submit(opens, std::ref(opened), 60, 1000);
  for (int i = 0; i < 50; ++i) (void)s.next_value();
  const auto since = clock_type::now();
  opened.pass();
  CHECK(clock_type::now() - since < 1s);
}

TEST_CASE("many streams that are kept for their readers all make progress, and end with their pool",
          "[stream][L-22][S-MEM-4]") {
  support::watchdog dog("many kept streams");
  constexpr std::size_t streams = 300;
  const long before = support::pieces_alive();
  {
    std::atomic<int> opened{0};
    auto counts = [&opened]() -> dg::generator<int> {
      co_yield 0;
      co_yield 1;
      ++opened;
      opened.notify_all();
      co_yield 2;
    };
    dg::thread_pool pool(2);
    std::vector<dg::ref_stream<int>> all;
    for (std::size_t i = 0; i < streams; ++i) all.push_back(pool.submit(counts));
    for (auto& each : all) CHECK(each.next_value() == 0);
    for (auto& each : all) CHECK(each.next_value() == 1);
    for (int now = opened; now < static_cast<int>(streams); now = opened) opened.wait(now);
    for (std::size_t i = 0; i < streams; i += 2) CHECK(all[i].next_value() == 2);
  }
  CHECK(support::pieces_alive() == before);
}

// --- time slices ---

TEST_CASE("a queued task waits for no more than a time slice of a stream", "[stream][L-30][L-18]") {
  support::watchdog dog("a time slice");
  const bool cheap_at_first = GENERATE(false, true);
  const bool unbounded = GENERATE(false, true);
  std::atomic<int> made{0};
  std::atomic<bool> slow{!cheap_at_first};
  auto frames = [&]() -> dg::generator<int> {
    for (int i = 0;; ++i) {
      if (slow) busy_for(20ms);
      ++made;
      co_yield i;
    }
  };
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto s = unbounded ? pool.options(dg::unbounded).submit(frames) : pool.options(dg::backpressure{100'000}).submit(frames);
  CHECK(eventually([&] { return made > (cheap_at_first ? 2000 : 0); }));
  slow = true;
  const int before = made;
  pool.submit([] {}).get();
  CHECK(made - before < 20);
}

TEST_CASE("coroutines whose awaits are always ready yield to queued work", "[await][L-18][L-30]") {
  support::watchdog dog("awaits that are always ready");
  const int kind = GENERATE(0, 1, 2, 3);
  support::gate ran;
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto child = []() -> dg::task<int> { co_return 1; };
  auto numbers_for_ever = []() -> dg::generator<int> {
    for (int i = 0;; ++i) co_yield i;
  };
  auto loops = [&]() -> dg::task<void> {
    const dg::ref<int> one = dg::put(1);
    auto s = pool.submit(numbers_for_ever);
    while (!ran.is_open()) {
      if (kind == 0) (void)co_await one;
      if (kind == 1) (void)co_await child();
      if (kind == 2) (void)co_await dg::when_all(child(), child());
      if (kind == 3) (void)co_await s.async_value();
    }
  };
  auto looping = pool.submit(loops);
  auto opening = pool.submit([&] { ran.open(); });
  looping.get();
  opening.get();
  CHECK(ran.is_open());
}

TEST_CASE("tasks with num_returns, tuples and skipped values stop at the end of the time slice as well",
          "[arity][L-30]") {
  support::watchdog dog("slices without a stream");
  support::gate ran;
  std::atomic<int> steps{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto slow = [&]() -> dg::generator<int> {
    for (int i = 0; i < 300; ++i) {
      if (!ran.is_open()) {
        busy_for(20ms);
        ++steps;
      }
      co_yield i;
    }
  };
  const int kind = GENERATE(0, 1, 2);
  std::vector<dg::ref<int>> fixed;
  dg::ref<dg::ref_list<int>> list;
  if (kind == 0) fixed = pool.options(dg::num_returns{300}).submit(slow);
  if (kind == 1) list = pool.options(dg::dynamic).submit(slow);
  if (kind == 2) pool.submit(slow).detach();
  CHECK(eventually([&] { return steps > 0; }));
  const int before = steps;
  pool.submit([&] { ran.open(); }).get();
  CHECK(steps - before < 20);
  for (const auto& each : fixed) each.wait();
  if (list.valid()) CHECK(list.get().size() == 300);
}

// --- cancelled tasks end ---

TEST_CASE("an idle pool uses no processor time, whatever it did before", "[pool][L-22]") {
  support::watchdog dog("an idle pool");
  dg::thread_pool pool(2);
  std::atomic<int> made{-1};
  auto s = pool.submit(numbers, std::ref(made), 1000);
  for (int i = 0; i < 100; ++i) (void)s.next_value();
  pool.submit([] { return 1; }).cancel();
  wait_until_made(made, 150);  // the stream is full, and no stream is kept any more
  // The pool's service threads and its workers sleep without a time limit: the number of sleeps stays the same.
  CHECK(eventually([&] {
    const auto before = pool.stats().parks;
    busy_for(30ms);
    return pool.stats().parks == before;
  }));
}

TEST_CASE("a thread that reads on gets the credits that the reader before it owes", "[stream][L-21][L-8][S-STREAM-8]") {
  support::watchdog dog("credits owed by another thread");
  const bool moved = GENERATE(false, true);
  const int by_first = GENERATE(1, 22, 31);
  std::atomic<int> made{-1};
  support::gate first_has_read, over;
  dg::promise<int> reached;
  const dg::ref<int> is_reached = reached.get_ref();
  auto fulfils = [&](int at) -> dg::generator<int> {
    for (int i = 0; i < 1000; ++i) {
      made = i;
      if (i == at) reached.set_value(i);
      co_yield i;
    }
  };
  {
    dg::thread_pool pool({.threads = 1, .waiters_help = false});
    const int at = by_first + 64;  // after the value that fills the buffer when two more are taken
    auto s = pool.submit(fulfils, at);
    CHECK(eventually([&] { return made >= 63; }));
    std::optional<dg::ref_stream<int>> other;
    int wrong = 0;
    std::jthread first([&] {
      for (int i = 0; i < by_first; ++i) wrong += s.next_value() != i;
      if (moved) other.emplace(std::move(s));
      first_has_read.open();
      over.pass();  // unseen by the library: it returns no credits here
    });
    first_has_read.pass();
    dg::ref_stream<int>& mine = moved ? *other : s;
    CHECK(mine.next_value() == by_first);
    CHECK(is_reached.get() == at);  // a wait that the library sees
    over.open();
    first.join();
    CHECK(wrong == 0);
  }
}

}  // namespace test_monitor
