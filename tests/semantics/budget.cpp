// SPDX-License-Identifier: MIT
// Streams that share a budget: backpressure_by, S-AWAIT-4 and L-9.

#include "../catch.hpp"
#include "probes.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_budget {

using namespace std::chrono_literals;
using support::boom;

namespace {

struct progress {
  std::atomic<int> built{0};
};

dg::generator<support::tracked> numbers(progress* seen, int n) {
  for (int i = 0; i < n; ++i) {
    ++seen->built;
    co_yield i;
  }
}

auto each(int cost) {
  return [cost](const support::tracked&) { return cost; };
}

}  // namespace

TEST_CASE("a stream suspends when its next value does not fit", "[budget][L-9][S-AWAIT-4]") {
  support::watchdog dog("one stream, one budget");
  support::tracked::reset();
  {
    dg::manual_executor manual;
    dg::budget bytes(100);
    CHECK(bytes.limit() == 100);
    progress seen;
    auto stream = dg::on(manual).options(dg::backpressure_by(bytes, each(30))).submit(numbers, &seen, 10);
    manual.run_all();
    CHECK(bytes.used() == 90);
    CHECK(seen.built == 4);  // the fourth value is built, and waits
    CHECK(support::tracked::live == 4);
    for (int i = 0; i < 10; ++i) {
      auto r = stream.try_next();
      REQUIRE(r.has_value());
      CHECK(r->get().value == i);
      CHECK(bytes.used() <= 100);
      manual.run_all();
    }
    CHECK(bytes.used() == 0);
    CHECK(stream.finished());
    CHECK_FALSE(stream.completion().failed());
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("a value that costs more than the limit is stored alone", "[budget][L-9]") {
  support::watchdog dog("expensive values");
  dg::manual_executor manual;
  dg::budget bytes(10);
  progress seen;
  auto large = dg::on(manual).options(dg::backpressure_by(bytes, each(1'000'000))).submit(numbers, &seen, 3);
  manual.run_all();
  CHECK(seen.built == 2);
  CHECK(bytes.used() == 11);
  progress other;
  auto cheap = dg::on(manual).options(dg::backpressure_by(bytes, each(1))).submit(numbers, &other, 5);
  manual.run_all();
  CHECK(other.built == 2);  // its first value may be stored whatever the budget says
  CHECK(large.try_next()->get().value == 0);
  manual.run_all();
  CHECK(seen.built == 3);
  CHECK(large.try_next()->get().value == 1);
  CHECK(large.try_next() == std::nullopt);
  manual.run_all();
  CHECK(large.try_next()->get().value == 2);
  manual.run_all();
  CHECK(large.finished());
  for (int i = 0; i < 5; ++i) {
    CHECK(cheap.try_next()->get().value == i);
    manual.run_all();
  }
  CHECK(bytes.used() == 0);
}

TEST_CASE("streams of one budget are drained in any order", "[budget][L-9]") {
  support::watchdog dog("any order of draining");
  for (int threads : {1, 2}) {
    for (int order = 0; order < 3; ++order) {
      progress seen;
      dg::thread_pool pool(threads);
      dg::budget bytes(64);
      std::vector<dg::ref_stream<support::tracked>> streams;
      for (int s = 0; s < 6; ++s)
        streams.push_back(pool.options(dg::backpressure_by(bytes, each(s * 10 + 1))).submit(numbers, &seen, 200));
      if (order == 0)
        for (auto& s : streams)
          for (int i = 0; i < 200; ++i) REQUIRE(s.next_value()->value == i);
      else if (order == 1)
        for (std::size_t s = streams.size(); s-- > 0;)
          for (int i = 0; i < 200; ++i) REQUIRE(streams[s].next_value()->value == i);
      else
        for (int i = 0; i < 200; ++i)
          for (auto& s : streams) REQUIRE(s.next_value()->value == i);
      for (auto& s : streams) REQUIRE_FALSE(s.next_value().has_value());
      CHECK(bytes.used() == 0);
    }
  }
}

TEST_CASE("stages of one chain may share a budget", "[budget][L-9]") {
  support::watchdog dog("a chain with one budget");
  struct stage {
    static dg::generator<support::tracked> run(dg::ref_stream<support::tracked> in) {
      while (auto v = co_await in.async_value()) co_yield v->value + 1;
    }
  };
  for (int threads : {1, 2}) {
    progress seen;
    dg::thread_pool pool(threads);
    dg::budget bytes(3);
    auto stream = pool.options(dg::backpressure_by(bytes, each(2))).submit(numbers, &seen, 300);
    for (int s = 0; s < 10; ++s)
      stream = pool.options(dg::backpressure_by(bytes, each(2))).submit(stage::run, std::move(stream));
    int i = 0;
    for (support::tracked&& v : stream.values()) REQUIRE(v.value == i++ + 10);
    CHECK(i == 300);
    CHECK(bytes.used() == 0);
  }
}

TEST_CASE("at most the limit and one value for each stream are in flight", "[budget][L-9][S-MEM-3]") {
  support::watchdog dog("the bound of a budget");
  support::tracked::reset();
  progress seen;
  dg::thread_pool pool(2);
  constexpr int streams = 8, limit = 20;
  dg::budget slots(limit);
  std::vector<dg::ref_stream<support::tracked>> all;
  for (int s = 0; s < streams; ++s) all.push_back(pool.options(dg::backpressure_by(slots, each(1))).submit(numbers, &seen, 500));
  long peak = 0;
  for (int i = 0; i < 500; ++i)
    for (auto& s : all) {
      REQUIRE(s.next_value()->value == i);
      peak = std::max(peak, support::tracked::live.load());
      REQUIRE(slots.used() <= limit + streams);
    }
  CHECK(peak <= limit + 2 * streams + 1);  // values that wait for the budget are built in their places
}

TEST_CASE("freed units go to waiting producers in the order in which they began to wait", "[budget][S-AWAIT-4][L-9]") {
  support::watchdog dog("fair budgets");
  dg::manual_executor manual;
  dg::budget slots(4);
  std::array<progress, 4> seen;
  std::vector<dg::ref_stream<support::tracked>> all;
  for (auto& p : seen) all.push_back(dg::on(manual).options(dg::backpressure_by(slots, each(1))).submit(numbers, &p, 100));
  manual.run_all();
  // The first stream has all units; each other has the one value that is always allowed. All four wait with another
  // value.
  CHECK(seen[0].built == 5);
  for (int s = 1; s < 4; ++s) CHECK(seen[static_cast<std::size_t>(s)].built == 2);
  CHECK(slots.used() == 7);
  for (int i = 0; i < 3; ++i) CHECK(all[0].try_next().has_value());  // 4 in use: nothing is free yet
  manual.run_all();
  CHECK(seen[0].built == 5);
  CHECK(all[0].try_next().has_value());  // its last: it may be stored now, and leaves no unit for another value
  manual.run_all();
  CHECK(seen[0].built == 6);
  CHECK(slots.used() == 4);
  CHECK(all[1].try_next().has_value());  // likewise for the second
  CHECK(all[2].try_next().has_value());
  manual.run_all();
  CHECK(seen[1].built == 3);
  CHECK(seen[2].built == 3);
  CHECK(seen[3].built == 2);
  // One stream is dropped: its units go to the first in the queue, the fourth stream, before the others.
  all[0] = {};
  manual.run_all();
  CHECK(seen[3].built == 3);
  CHECK(seen[1].built == 3);
  CHECK(slots.used() == 4);
}

TEST_CASE("a budget gets back the units of values that were dropped, cancelled, detached, or failed", "[budget][L-9]") {
  support::watchdog dog("budgets get back");
  support::tracked::reset();
  {
    dg::manual_executor manual;
    dg::budget slots(3);
    const auto with = dg::on(manual).options(dg::backpressure_by(slots, each(1)));
    progress seen;
    {
      auto dropped = with.submit(numbers, &seen, 10);
      manual.run_all();
      CHECK(slots.used() == 3);
    }
    CHECK(slots.used() == 0);
    manual.run_all();
    CHECK(support::tracked::live == 0);

    auto cancelled = with.submit(numbers, &seen, 10);
    manual.run_all();
    cancelled.cancel();
    manual.run_all();
    CHECK(support::tracked::live == 3);  // the value that waited for the budget is destroyed
    CHECK(slots.used() == 3);            // the other values may still be taken
    CHECK(cancelled.try_next().has_value());
    CHECK(slots.used() == 2);
    cancelled = {};
    CHECK(slots.used() == 0);

    seen.built = 0;
    auto detached = with.submit(numbers, &seen, 10);
    manual.run_all();
    auto done = detached.completion();
    std::move(detached).detach();
    CHECK(slots.used() == 0);
    manual.run_all();
    CHECK(done.ready());
    CHECK(seen.built == 10);
    CHECK(slots.used() == 0);

    auto failing = with.submit([]() -> dg::generator<support::tracked> {
      co_yield 1;
      co_yield 2;
      throw boom();
    });
    manual.run_all();
    CHECK(slots.used() == 2);
    CHECK(failing.next_value()->value == 1);
    CHECK(failing.next_value()->value == 2);
    CHECK(slots.used() == 0);
    CHECK_THROWS_AS(failing.next_value(), boom);
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("a cost is computed once for each value, and an exception of it is the task's", "[budget][L-9]") {
  support::watchdog dog("costs");
  support::tracked::reset();
  {
    dg::manual_executor manual;
    dg::budget slots(2);
    progress seen;
    int asked = 0;
    auto counted = dg::on(manual)
                       .options(dg::backpressure_by(slots, [&asked](const support::tracked&) { return ++asked, 1u; }))
                       .submit(numbers, &seen, 6);
    manual.run_all();
    CHECK(asked == 3);
    while (counted.try_next()) manual.run_all();
    CHECK(asked == 6);
    auto throwing = dg::on(manual)
                        .options(dg::backpressure_by(slots, [](const support::tracked& v) -> int {
                          if (v.value == 1) throw boom("cost");
                          return 1;
                        }))
                        .submit(numbers, &seen, 6);
    manual.run_all();
    CHECK(throwing.next_value()->value == 0);
    CHECK(support::message_of([&] { throwing.next_value(); }) == "cost");
    auto negative = dg::on(manual).options(dg::backpressure_by(slots, each(-1))).submit(numbers, &seen, 6);
    manual.run_all();
    CHECK_THROWS_AS(negative.next_value(), std::invalid_argument);
    CHECK(slots.used() == 0);
    auto free = dg::on(manual).options(dg::backpressure_by(slots, each(0))).submit(numbers, &seen, 100);
    manual.run_all();
    CHECK(free.completion().ready());  // a value that costs nothing never waits
  }
  CHECK(support::tracked::live == 0);
  CHECK_THROWS_AS(dg::budget(0), std::invalid_argument);
  CHECK_THROWS_AS(dg::budget(-5), std::invalid_argument);
  CHECK_THROWS_AS(dg::budget(std::uint64_t{1} << 60), std::invalid_argument);
}

TEST_CASE("producers that wait for a budget resume in the order of their waiting, as values of others are destroyed",
          "[budget][L-9]") {
  std::atomic<int> large{0}, cheap{0};  // values begun
  dg::manual_executor manual;
  dg::budget units(10);
  auto costs = [](int v) { return v; };
  auto yields = [](int cost, std::atomic<int>* begun) -> dg::generator<int> {
    for (;;) {
      ++*begun;
      co_yield cost;
    }
  };
  auto first = dg::on(manual).options(dg::backpressure_by(units, costs)).submit(yields, 6, &large);
  manual.run_all();
  CHECK(large == 2);  // its second value waits
  auto second = dg::on(manual).options(dg::backpressure_by(units, costs)).submit(yields, 1, &cheap);
  manual.run_all();
  CHECK(cheap == 2);  // its second value would fit, and waits behind the first stream's
  CHECK(units.used() == 7);
  SECTION("a value is taken") {
    CHECK(first.try_next()->get() == 6);
    manual.run_all();
    CHECK(large == 3);
    CHECK(cheap >= 3);
  }
  SECTION("the waiting task is cancelled") {
    first.cancel();
    manual.run_all();
    CHECK(cheap == 5);
    CHECK(units.used() == 10);
  }
}

TEST_CASE("values that a retry skips cost nothing", "[budget][L-9][S-RETRY-2]") {
  support::watchdog dog("retries and budgets");
  dg::manual_executor manual;
  dg::budget slots(3);
  int asked = 0;
  auto stream = dg::on(manual)
                    .options(dg::max_retries{1}, dg::backpressure_by(slots, [&asked](int) { return ++asked, 1; }))
                    .submit([]() -> dg::generator<int> {
                      for (int i = 0; i < 5; ++i) {
                        if (i == 2 && dg::this_task::attempt() == 1) throw boom();
                        co_yield i;
                      }
                    });
  manual.run_all();
  CHECK(slots.used() == 3);
  CHECK(asked == 4);
  for (int i = 0; i < 5; ++i) {
    CHECK(stream.try_next()->get() == i);
    manual.run_all();
  }
  CHECK(asked == 5);
  CHECK(slots.used() == 0);
}

TEST_CASE("streams of one budget are read, dropped and cancelled by several threads", "[budget][L-9]") {
  support::watchdog dog("budgets under threads", 120);
  support::tracked::reset();
  dg::budget slots(10);
  {
    std::atomic<long> sum{0};
    progress seen;
    dg::thread_pool pool(3);
    std::vector<std::thread> readers;
    for (int t = 0; t < 3; ++t)
      readers.emplace_back([&, t] {
        for (int round = 0; round < 60; ++round) {
          auto a = pool.options(dg::backpressure_by(slots, each(1 + t))).submit(numbers, &seen, 100);
          auto b = pool.options(dg::backpressure_by(slots, each(4))).submit(numbers, &seen, 100);
          for (int i = 0; i < 100; ++i) {
            sum += a.next_value()->value;
            if (i < round) (void)b.next_value();
          }
          if (round % 3 == 0) b.cancel();
          if (round % 3 == 1) std::move(b).detach();
        }
      });
    for (auto& t : readers) t.join();
    CHECK(sum == 3L * 60 * 4950);
  }
  CHECK(slots.used() == 0);
  CHECK(support::tracked::live == 0);
}

}  // namespace test_budget
