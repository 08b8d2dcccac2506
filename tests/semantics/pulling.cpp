// SPDX-License-Identifier: MIT
// Pull mode: the consumer of a stream runs the producer for one value at a time. When it does so, and that only the
// speed differs.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"
#include "pull_fixtures.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_pulling {

using namespace std::chrono_literals;
using dg::detail::pulling;
using pull::busy_pool;
using pull::count;
using pull::patient_monitor;
using pull::progress;
using pull::pulled_stream;
using pull::pulling_as;
using support::boom;
using support::eventually;

TEST_CASE("a consumer in pull mode makes each value when it asks for it, and no other", "[pulling][S-STREAM-4]") {
  support::watchdog dog("pulled one by one");
  const patient_monitor patient;
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  SECTION("by values") {
    int i = 0;
    for (const int value : pool->submit(count, std::ref(p), 1000).values()) {
      CHECK(value == i++);
      CHECK(p.begun == i);
      CHECK(p.thread == std::this_thread::get_id());
      if (i == 10) pool.let_work();  // the worker is idle: the stream is kept
    }
    CHECK(i == 1000);
  }
  SECTION("by refs") {
    int i = 0;
    for (dg::ref<int> value : pool->submit(count, std::ref(p), 1000)) {
      CHECK(value.get() == i++);
      CHECK(p.begun == i);
      if (i == 10) pool.let_work();
    }
    CHECK(i == 1000);
  }
  SECTION("by a coroutine of the same pool") {
    dg::thread_pool one({.threads = 1, .waiters_help = false});  // the two take turns
    auto take = [&p](dg::ref_stream<int> s) -> dg::task<bool> {
      const auto start = std::chrono::steady_clock::now();
      bool in_order = true;
      long ran_ahead = 0;  // the producer has run without the consumer, which it may do before value 64
      for (int i = 0; i < 1000; ++i) {
        const std::optional<int> value = co_await s.async_value();
        in_order = in_order && value == i;
        if (i >= 64 && p.begun != i + 1) ++ran_ahead;
      }
      // At the end of a time slice of 10 ms the consumer makes way, and the producer runs ahead as far as it may.
      const long slices = (std::chrono::steady_clock::now() - start) / 10ms;
      co_return in_order && ran_ahead <= slices * 128 && !co_await s.async_value();
    };
    CHECK(one.submit(take, one.options(dg::backpressure{64}).submit(count, std::ref(p), 1000)).get());
  }
  CHECK(p.ended == 1);
  CHECK(eventually([&] { return p.alive == 0; }));
}

TEST_CASE("an exception of a pulled task comes after the values before it, and then the end", "[pulling][S-ERR-4]") {
  support::watchdog dog("thrown while pulled");
  const pulling_as mode(pulling::whenever_possible);
  busy_pool pool;
  auto fails = []() -> dg::generator<int> {
    for (int i = 0; i < 100; ++i) co_yield i;
    throw boom("at 100");
  };
  dg::ref_stream<int> s = pool->submit(fails);
  for (int i = 0; i < 100; ++i) CHECK(s.next_value() == i);
  CHECK(support::message_of([&] { s.next_value(); }) == "at 100");
  CHECK_FALSE(s.next());
  CHECK(s.finished());
}

TEST_CASE("a pulled task that asks for its own next value, drops its stream, or cancels it", "[pulling][L-7]") {
  support::watchdog dog("its own stream");
  const pulling_as mode(pulling::whenever_possible);
  std::atomic<int> alive{0};
  busy_pool pool;
  dg::ref_stream<int> s;
  std::string told;
  int from = 0;
  auto own = [&](int what) -> dg::generator<int> {
    const support::witness frame(alive);
    for (int i = 0;; ++i) {
      if (i == 80 && what == 0) told = support::message_of([&] { s.next_value(); });
      if (i == 80 && what == 1) s = {};
      if (i == 80 && what == 2) s.cancel();
      from = i;
      co_yield i;
    }
  };
  SECTION("a value") {
    s = pool->submit(own, 0);
    for (int i = 0; i < 100; ++i) CHECK(s.next_value() == i);
    CHECK(told.find("cannot wait for itself") != std::string::npos);
    s = {};
  }
  SECTION("dropped") {
    s = pool->submit(own, 1);
    for (int i = 0; i < 80; ++i) CHECK(s.next_value() == i);
    CHECK_FALSE(s.next_value());
    CHECK_FALSE(s.valid());
    CHECK(from == 80);
  }
  SECTION("dropped while its values are read") {
    s = pool->submit(own, 1);
    int i = 0;
    for (const int value : s.values()) CHECK(value == i++);
    CHECK(i == 80);
    CHECK(from == 80);
  }
  SECTION("cancelled: the operand is dropped") {
    s = pool->submit(own, 2);
    for (int i = 0; i < 80; ++i) CHECK(s.next_value() == i);
    CHECK_THROWS_AS(s.next_value(), dg::cancelled_error);
    CHECK(from == 80);
  }
  pool.let_work();
  CHECK(eventually([&] { return alive == 0; }));
}

TEST_CASE("a pulled task that detaches its own stream continues and stores nothing", "[pulling][L-7][S-STREAM-6]") {
  support::watchdog dog("detaches itself");
  const pulling_as mode(pulling::whenever_possible);
  for (int last = 56; last != 72; ++last) {  // one of these values is the last of a block
    std::atomic<int> alive{0}, made{0};
    busy_pool pool;
    dg::ref_stream<support::tracked> s;
    s = pool->submit([&]() -> dg::generator<support::tracked> {
      const support::witness frame(alive);
      for (int i = 0; i < 200; ++i) {
        if (i == last) s.detach();
        ++made;
        co_yield support::tracked(i);
      }
    });
    const long before = support::tracked::live;
    int taken = 0;
    for (const support::tracked& value : s.values()) CHECK(value.value == taken++);
    CHECK(taken == last);
    pool.let_work();
    CHECK(eventually([&] { return alive == 0 && support::tracked::live == before; }));
    CHECK(made == 200);
  }
}

TEST_CASE("a pulled task that waits occupies no thread, and is pulled again", "[pulling][S-AWAIT]") {
  support::watchdog dog("awaits while pulled");
  const pulling_as mode(pulling::whenever_possible);
  busy_pool pool;
  std::vector<dg::promise<int>> promises(3);
  std::vector<dg::ref<int>> refs;
  for (dg::promise<int>& each : promises) refs.push_back(each.get_ref());
  auto awaits = [&]() -> dg::generator<int> {
    for (dg::ref<int>& each : refs) {
      for (int i = 0; i < 10; ++i) co_yield i;
      const int got = co_await std::move(each);
      co_yield got;
    }
  };
  dg::ref_stream<int> s = pool->options(dg::backpressure{1}).submit(awaits);
  pool.let_work();
  for (int k = 0; k < 3; ++k) {
    for (int i = 0; i < 10; ++i) CHECK(s.next_value() == i);
    CHECK_THROWS_AS(s.next_for(0s), dg::timeout_error);
    promises[static_cast<std::size_t>(k)].set_value(100 + k);
    CHECK(s.next_value() == 100 + k);
  }
  CHECK_FALSE(s.next_value());
}

TEST_CASE("two streams are drained in turns by one thread, and by threads that take turns",
          "[pulling][S-STREAM-5][S-STREAM-8]") {
  support::watchdog dog("in turns");
  const pulling_as mode(pulling::whenever_possible);
  progress left, right;
  busy_pool pool;
  dg::ref_stream<int> a = pulled_stream(pool, left, 5), b = pulled_stream(pool, right, 5);
  pool.let_work();
  for (int i = 5; i < 500; ++i) {
    CHECK(a.next_value() == i);
    CHECK(b.next_value() == i);
  }
  for (int i = 500; i < 510; i += 2) {
    std::optional<int> got;
    std::jthread([&] { got = a.next_value(); }).join();
    CHECK(got == i);
    CHECK(a.next_value().has_value() == true);
  }
}

TEST_CASE("blocks are recycled under a consumer that pulls, and every value is destroyed once",
          "[pulling][S-MEM-3][S-MEM-4]") {
  support::watchdog dog("memory while pulled");
  const pulling_as mode(pulling::whenever_possible);
  support::tracked::reset();
  const long blocks = dg::detail::memory_counter::live(dg::detail::memory_kind::block);
  {
    busy_pool pool;
    auto make = [](int n) -> dg::generator<support::tracked> {
      for (int i = 0; i < n; ++i) co_yield support::tracked(i);
    };
    dg::ref_stream<support::tracked> s = pool->submit(make, 10000);
    std::vector<dg::ref<support::tracked>> kept;
    long most = 0;
    for (int i = 0; i < 10000; ++i) {
      std::optional<dg::ref<support::tracked>> r = s.next();
      CHECK(r->get().value == i);
      if (i % 1000 == 0) kept.push_back(std::move(*r));
      most = std::max(most, support::tracked::live.load());
    }
    CHECK(most <= 12);
    CHECK(dg::detail::memory_counter::live(dg::detail::memory_kind::block) - blocks <= 14);
    CHECK_FALSE(s.next());
    CHECK(support::tracked::live == 10);
    CHECK(kept[3].get().value == 3000);
  }
  CHECK(support::tracked::live == 0);
  CHECK(eventually([&] { return dg::detail::memory_counter::live(dg::detail::memory_kind::block) == blocks; }));
}

TEST_CASE("a stream that proves cheap is pulled, one that proves expensive is not", "[pulling]") {
  support::watchdog dog("by cost");
  const pulling_as not_forced(pulling::by_cost);
  dg::detail::production_cost cost;
  constexpr std::uint64_t sample = dg::detail::production_cost::sample;
  CHECK_FALSE(cost.is_cheap());
  CHECK_FALSE(cost.is_expensive());
  cost.add(sample - 1, 1us);
  CHECK_FALSE(cost.is_cheap());  // too few to decide
  cost.add(1, 1us);
  CHECK(cost.is_cheap());
  cost.add(1000, 1ms);  // a microsecond for each
  CHECK_FALSE(cost.is_cheap());
  CHECK(cost.is_expensive());
  cost.add(1000, 100us);
  CHECK(cost.is_cheap());
}

TEST_CASE("a new stream is pulled unless its values prove expensive", "[pulling]") {
  support::watchdog dog("on trial");
  const pulling_as not_forced(pulling::by_cost);
  constexpr std::uint64_t pulled = 2 * dg::detail::production_cost::between_looks;
  SECTION("its first value decides whether it is tried") {
    dg::detail::production_cost cost, expensive;
    CHECK(cost.seems_cheap());
    cost.add(1, 2us);
    CHECK(cost.seems_cheap());
    CHECK_FALSE(cost.is_cheap());
    expensive.add(1, 20us);
    CHECK_FALSE(expensive.seems_cheap());
    CHECK_FALSE(expensive.is_expensive());
  }
  SECTION("one expensive value ends the trial") {
    dg::detail::production_cost cost;
    CHECK(cost.begin_at_reader(1) == 1);
    std::this_thread::sleep_for(1ms);
    CHECK(cost.look(2) == 0);
    CHECK(cost.is_expensive());
    CHECK_FALSE(cost.seems_cheap());
    cost.add(dg::detail::production_cost::sample, 1us);  // but later values may prove it cheap
    CHECK(cost.is_cheap());
  }
  SECTION("many cheap values prove it; then one look may find them expensive") {
    dg::detail::production_cost cost;
    CHECK(eventually([&] {  // this thread may be interrupted between the two
      (void)cost.begin_at_reader(1);
      return cost.look(1 + pulled) == dg::detail::production_cost::between_looks;
    }));
    CHECK(cost.is_cheap());
    std::this_thread::sleep_for(1ms);
    CHECK(cost.look(2 + pulled) != 0);
    std::this_thread::sleep_for(1ms);
    CHECK(cost.look(3 + pulled) == 0);
    CHECK(cost.is_expensive());
  }
  SECTION("the consumer makes the first of the expensive values, other threads the rest") {
    busy_pool pool;  // no other thread can make the first one
    std::atomic<int> by_consumer{0}, made{0};
    const std::thread::id consumer = std::this_thread::get_id();
    dg::ref_stream<int> s = pool->submit([&]() -> dg::generator<int> {
      for (int i = 0; i != 200; ++i) {
        const auto until = std::chrono::steady_clock::now() + 300us;
        while (std::chrono::steady_clock::now() < until) {
        }
        if (std::this_thread::get_id() == consumer) ++by_consumer;
        ++made;
        co_yield i;
      }
    });
    CHECK(s.next_value() == 0);
    pool.let_work();
    CHECK(eventually([&] { return made >= 64; }));  // its whole capacity
    CHECK(by_consumer == 1);
    for (int i = 1; i != 200; ++i) CHECK(s.next_value() == i);
    CHECK_FALSE(s.next_value());
  }
}

TEST_CASE("a consumer looks whether values are cheap while they are being made", "[pulling]") {
  support::watchdog dog("a look at the cost");
  const pulling_as not_forced(pulling::by_cost);
  dg::detail::production_cost cost;
  std::thread maker([&cost] { cost.add(dg::detail::production_cost::sample, 1us); });
  const bool seen = cost.is_cheap();  // before or after: unordered either way, for ThreadSanitizer to judge
  maker.join();
  CHECK((cost.is_cheap() || seen));
}

}  // namespace test_pulling
