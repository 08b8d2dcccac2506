// SPDX-License-Identifier: MIT
// Streams that leave pull mode: consumers that wait for something else, threads that drop, detach or cancel the stream,
// and pools that close.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"
#include "pull_fixtures.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_leaving_pull_mode {

using namespace std::chrono_literals;
using dg::detail::pulling;
using pull::ahead;
using pull::busy_pool;
using pull::count;
using pull::patient_monitor;
using pull::progress;
using pull::pulled_stream;
using pull::pulling_as;
using support::eventually;

TEST_CASE("a stream leaves pull mode and runs ahead whenever its consumer does anything but take a value",
          "[pulling][L-1]") {
  support::watchdog dog("other interest");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  dg::ref_stream<int> s = pulled_stream(pool, p, 10);
  pool.let_work();
  SECTION("a look") { CHECK_FALSE(s.try_next()); }
  SECTION("the end") { CHECK_FALSE(s.finished()); }
  SECTION("a wait with a time limit") { CHECK(s.next_for(60s)->get() == 10); }
  SECTION("any of several") { CHECK(dg::wait_any(s) == 0); }
  SECTION("any of several, with a time limit") { CHECK(dg::wait_any_for(60s, s) == 0); }
  SECTION("its completion") { CHECK_FALSE(s.completion().ready()); }
  SECTION("a value's completion") {
    std::optional<dg::ref<int>> value = s.next();
    CHECK(p.begun == 11);
    CHECK_FALSE(value->completion().ready());
  }
  CHECK(eventually([&] { return p.begun >= ahead(10); }));
  s.detach();
  CHECK(eventually([&] { return p.ended == 1; }));
}

TEST_CASE("a stream that was told to run ahead is not pulled afterwards", "[pulling][L-1]") {
  support::watchdog dog("told before");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  dg::ref_stream<int> s = pool->submit(count, std::ref(p), 1000);
  SECTION("by a look at its end") { CHECK_FALSE(s.completion().ready()); }
  SECTION("by a wait with a time limit") { CHECK_THROWS_AS(s.next_for(1ms), dg::timeout_error); }
  for (int i = 0; i < 10; ++i) CHECK(s.next_value() == i);
  pool.let_work();
  CHECK(eventually([&] { return p.begun >= 20; }));
}

TEST_CASE("a consumer that is asked to leave pull mode while it runs the producer does so before it returns",
          "[pulling][L-1][L-7]") {
  support::watchdog dog("told meanwhile");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  dg::ref_stream<int> s;
  auto wants_its_end = [&](int n) -> dg::generator<int> {
    for (int i = 0; i < n; ++i) {
      ++p.begun;
      if (i == 10) CHECK_FALSE(s.completion().ready());
      co_yield i;
    }
  };
  s = pool->submit(wants_its_end, 1000);
  for (int i = 0; i <= 10; ++i) CHECK(s.next_value() == i);
  CHECK(p.begun == 11);
  pool.let_work();
  CHECK(eventually([&] { return p.begun >= ahead(10); }));
}

TEST_CASE("before a consumer waits for anything else, the stream runs ahead", "[pulling][L-1][L-8]") {
  support::watchdog dog("other waits");
  const pulling_as mode(pulling::whenever_possible);
  busy_pool pool;
  dg::promise<int> behind;
  dg::ref<int> wanted = behind.get_ref();
  auto yields_then_fulfils = [&behind]() -> dg::generator<int> {
    for (int i = 0; i < 5; ++i) co_yield i;
    behind.set_value(7);
    co_yield 5;
  };
  dg::ref_stream<int> s = pool->submit(yields_then_fulfils);
  for (int i = 0; i < 5; ++i) CHECK(s.next_value() == i);
  CHECK_FALSE(wanted.ready());
  pool.let_work();
  SECTION("a thread") { CHECK(wanted.get() == 7); }
  SECTION("another thread, to which the stream was moved") {
    int got = 0;
    std::jthread([&, mine = std::move(s)] { got = wanted.get(); }).join();
    CHECK(got == 7);
  }
  SECTION("another thread, which has taken values from it too") {
    int got = 0;
    auto six = [&wanted](dg::ref_stream<int>& from) -> int { return *from.next_value() + wanted.get(); };
    auto yields_later = [&behind]() -> dg::generator<int> {
      for (int i = 0; i < 6; ++i) co_yield i;
      behind.set_value(7);
    };
    s = {};
    behind = {};
    wanted = behind.get_ref();
    dg::ref_stream<int> t = pool->submit(yields_later);
    for (int i = 0; i < 5; ++i) CHECK(t.next_value() == i);
    std::jthread([&] { got = six(t); }).join();
    CHECK(got == 12);
  }
  SECTION("a thread that ends") {
    dg::ref_stream<int> other;
    std::jthread([&] {
      other = pool->submit(yields_then_fulfils);
      (void)other.next_value();
    }).join();
    other = {};
    CHECK(wanted.get() == 7);
  }
}

TEST_CASE("a consumer that waits, unseen, for an effect of the stream that it pulls gets it", "[pulling][L-1]") {
  support::watchdog dog("pull mode that expires");
  const pulling_as mode(pulling::whenever_possible);
  support::gate passed;
  const auto opens_at_ten = [&passed]() -> dg::generator<int> {
    for (int i = 0; i != 20; ++i) {
      if (i == 10) passed.open();
      co_yield i;
    }
  };
  SECTION("workers that sleep already, or not yet") {
    dg::thread_pool pool(2);
    if (GENERATE(false, true)) std::this_thread::sleep_for(5ms);  // likely; the models show that every order works
    int i = 0;
    for (const int value : pool.submit(opens_at_ten).values()) {
      CHECK(value == i++);
      if (i == 5) passed.pass();
    }
    CHECK(i == 20);
  }
  SECTION("more streams than one") {
    dg::thread_pool pool(2);
    std::vector<dg::ref_stream<int>> all;
    for (int i = 0; i != 100; ++i) all.push_back(pool.submit(opens_at_ten));
    for (dg::ref_stream<int>& s : all) CHECK(s.next_value() == 0);
    passed.pass();
    CHECK(eventually([&] { return pool.stats().values_stored == 2000; }));
  }
  SECTION("the worker that would find it runs a task that waits, unseen, for the same effect") {
    dg::thread_pool pool(2);
    dg::ref_stream<int> s = pool.submit(opens_at_ten);
    CHECK(s.next_value() == 0);
    std::this_thread::sleep_for(2ms);  // until a worker sleeps, and watches
    const dg::ref<void> other = pool.submit([&passed] { passed.pass(); });
    passed.pass();
    other.wait();
  }
  SECTION("the only worker waits, seen, and a spare one sleeps") {
    dg::thread_pool pool(1);
    {
      dg::promise<int> makes_a_spare;
      const dg::ref<int> blocked = pool.submit([r = makes_a_spare.get_ref()] { return r.get(); });
      CHECK(eventually([&] { return pool.stats().spare_threads == 1; }));
      makes_a_spare.set_value(1);
      CHECK(blocked.get() == 1);
    }
    support::gate begun, goes_on;
    dg::promise<int> given;
    const dg::ref<int> blocks = pool.submit([&, r = given.get_ref()] {
      begun.open();
      goes_on.pass();
      return r.get();
    });
    begun.pass();
    std::this_thread::sleep_for(5ms);  // until the other worker is asleep
    dg::ref_stream<int> s = pool.submit(opens_at_ten);
    CHECK(s.next_value() == 0);
    goes_on.open();
    passed.pass();
    given.set_value(1);
    CHECK(blocks.get() == 1);
  }
}

TEST_CASE("a pulled stream is cancelled by another thread", "[pulling][S-CANCEL-2][L-13]") {
  support::watchdog dog("cancelled from elsewhere");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  dg::ref_stream<int> s = pulled_stream(pool, p, 10);
  std::optional<dg::ref<int>> value = s.next();
  pool.let_work();
  std::jthread([&] { CHECK_NOTHROW(value->cancel()); }).join();
  CHECK(eventually([&] { return p.alive == 0; }));
  CHECK(p.begun == 11);
  CHECK_THROWS_AS(s.next_value(), dg::cancelled_error);
  CHECK(s.finished());
  CHECK_FALSE(s.cancel());
}

TEST_CASE("a pulled stream is dropped", "[pulling][S-STREAM-6][L-13]") {
  support::watchdog dog("dropped");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  {
    dg::ref_stream<int> s = pulled_stream(pool, p, 10);
    s = {};
    CHECK(p.alive == 1);  // none of its code runs here
  }
  pool.let_work();
  CHECK(eventually([&] { return p.alive == 0; }));
  CHECK(p.begun == 10);
  CHECK(p.ended == 0);
}

TEST_CASE("a pulled stream is detached, and runs to its end", "[pulling][S-STREAM-6]") {
  support::watchdog dog("detached while pulled");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  dg::ref_stream<int> s = pulled_stream(pool, p, 3);
  s.detach();
  pool.let_work();
  CHECK(eventually([&] { return p.ended == 1; }));
  CHECK(p.begun == 1000);
}

TEST_CASE("the credit of the last pulled value is returned before the consumer waits", "[pulling][L-1][L-8]") {
  support::watchdog dog("pull mode that ends with a value");
  const pulling_as mode(pulling::whenever_possible);
  constexpr int room = 2, last = 40;
  struct stage {
    /// Reads another stream, which ends pull mode; fulfils the promise when its own stream is full again.
    static dg::generator<int> map(dg::ref_stream<int>& other, dg::promise<void>& full) {
      for (int i = 0; i < last + 20; ++i) {
        if (i == last) (void)other.next_value();
        co_yield i;
        if (i == last + room - 1) full.set_value();
      }
    }
    static dg::task<bool> read(dg::ref_stream<int> s, dg::ref<void> full) {
      bool right = true;
      for (int i = 0; i <= last; ++i) right = co_await s.async_value() == i && right;
      co_await full;
      co_return right;
    }
  };
  progress p;
  dg::inline_executor here;
  dg::ref_stream<int> other = dg::on(here).submit(count, std::ref(p), 30);
  dg::promise<void> full;
  dg::ref<void> filled = full.get_ref();
  dg::thread_pool pool(1);
  dg::ref_stream<int> s = pool.options(dg::backpressure{room}).submit(stage::map, std::ref(other), std::ref(full));
  SECTION("a coroutine") { CHECK(pool.submit(stage::read, std::move(s), dg::unresolved(filled)).get()); }
  SECTION("a thread") {
    int i = 0;
    for (const int value : s.values()) {
      CHECK(value == i++);
      if (value == last) break;
    }
    filled.get();
  }
}

TEST_CASE("a pool closes while a consumer pulls one of its streams", "[pulling][S-STOP-1][S-STOP-4][L-11]") {
  support::watchdog dog("closed while pulled");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  SECTION("the values that fit the buffer are made") {
    dg::ref_stream<int> s = pulled_stream(pool, p, 10, 20);
    pool.close();
    for (int i = 10; i < 20; ++i) CHECK(s.next_value() == i);
    CHECK_FALSE(s.next_value());
  }
  SECTION("a task that needs more than the buffer is cancelled") {
    dg::ref_stream<int> s = pulled_stream(pool, p, 10, 1000);
    pool.close();
    CHECK(p.begun == ahead(10));
    for (int i = 10; i < ahead(10); ++i) CHECK(s.next_value() == i);
    CHECK_THROWS_AS(s.next_value(), dg::cancelled_error);
  }
  SECTION("by another thread, and the thread that pulled it does not return") {
    dg::ref_stream<int> s = pulled_stream(pool, p, 10, 20);
    std::jthread([&] { pool.close(); }).join();
    CHECK(p.ended == 1);
    for (int i = 10; i < 20; ++i) CHECK(s.next_value() == i);
  }
  SECTION("all tasks are cancelled") {
    dg::ref_stream<int> s = pulled_stream(pool, p, 10, 1000);
    pool.let_work();
    pool->shutdown(dg::shutdown_mode::cancel);
    CHECK_THROWS_AS(s.next_value(), dg::cancelled_error);
  }
  CHECK(p.alive == 0);
}

TEST_CASE("a pulled task that closes its own pool makes the other streams leave pull mode, whatever it does next",
          "[pulling][S-STOP-1][L-11]") {
  support::watchdog dog("ends its pool while it is pulled");
  const patient_monitor patient;
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  dg::ref_stream<int> s, ends;
  support::gate started, over, parked;
  bool let_go = false;
  std::jthread other;
  {
    auto pool = std::make_shared<dg::thread_pool>(1);
    pool->submit([&] {
      started.open();
      over.pass();
    });
    started.pass();
    s = pool->submit(count, std::ref(p), 20);
    for (int i = 0; i < 10; ++i) CHECK(s.next_value() == i);
    support::gate held;
    ends = pool->submit([&, owner = pool]() mutable -> dg::generator<int> {
      for (int i = 0; i < 10; ++i) co_yield i;
      owner.reset();
      let_go = eventually([&] { return p.ended == 1; }, 10s);
    });
    other = std::jthread([&] {
      for (int i = 0; i < 10; ++i) (void)ends.next_value();
      held.open();
      parked.pass();
      (void)ends.next_value();
    });
    held.pass();
    const std::uint64_t parks = pool->stats().parks;
    over.open();
    CHECK(eventually([&] { return pool->stats().parks != parks; }));
  }
  CHECK(p.begun == 10);
  parked.open();
  other.join();
  CHECK(let_go);
  for (int i = 10; i < 20; ++i) CHECK(s.next_value() == i);
}

}  // namespace test_leaving_pull_mode
