// SPDX-License-Identifier: MIT
// when_any, async_next and async_value: every kind of operand, what they return and throw, and that no waiter stays
// behind. S-AWAIT-1, and what L-4 and L-8 ask of them.

#include "../catch.hpp"
#include "probes.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_when_any {

using namespace std::chrono_literals;
using support::boom;
using support::count_to;
using support::gives;
using support::holds;
using support::later;
using support::message_in;
using support::throws_boom;
using support::run_on_pool;

TEST_CASE("when_any gives the index of an operand that is ready, failed or has its next item, and consumes nothing",
          "[when_any][S-AWAIT-1]") {
  support::watchdog dog("operands of when_any");
  dg::thread_pool pool(2);
  later never;
  dg::manual_executor idle;
  auto waiting = dg::on(idle).submit(count_to, 3);
  const auto any = [&](auto&... handles) {
    return run_on_pool([&]() -> dg::task<std::size_t> { co_return co_await dg::when_any(handles...); });
  };
  auto failed = pool.submit(throws_boom, "f");
  auto event = pool.submit([] {});
  CHECK(any(never.ref, failed) == 1);
  CHECK(any(never.ref, waiting, event) == 2);
  CHECK(message_in(failed) == "f");
  auto stream = pool.submit(count_to, 2);
  for (int i = 0; i < 3; ++i) CHECK(any(never.ref, stream) == 1);  // the same item each time
  CHECK(stream.next_value() == 0);
  CHECK(any(never.ref, stream) == 1);
  CHECK(stream.next_value() == 1);
  CHECK_FALSE(stream.next_value().has_value());
  // An ended stream counts only when all have ended.
  auto other = pool.submit(count_to, 0);
  CHECK(any(stream, other) < 2);
  CHECK(any(stream, event) == 1);
  auto r = pool.submit([&]() -> dg::task<std::size_t> { co_return co_await dg::when_any(stream, never.ref); });
  CHECK_FALSE(r.wait_for(5ms));
  never.promise.set_value(1);
  CHECK(r.get() == 1);
  // An untaken failure is an item.
  auto failing = pool.submit([]() -> dg::generator<int> {
    co_yield 1;
    throw boom();
  });
  CHECK(failing.next_value() == 1);
  later unset;
  CHECK(any(unset.ref, failing) == 1);
  CHECK_THROWS_AS(failing.next_value(), boom);
  // No task was cancelled.
  idle.run_all();
  CHECK(waiting.next_value() == 0);
  CHECK_FALSE(unset.ref.ready());
  CHECK_THROWS_AS(any(never.ref, other, *std::make_unique<dg::ref<int>>()), dg::empty_ref);
}

TEST_CASE("when_any takes ranges of refs and of streams", "[when_any][S-AWAIT-1]") {
  support::watchdog dog("ranges of when_any");
  dg::thread_pool pool(2);
  later never;
  auto refs = [](const std::vector<dg::ref<int>>& all) -> dg::task<std::size_t> {
    co_return co_await dg::when_any(all);
  };
  CHECK(pool.submit(refs, std::vector{never.ref, dg::put(1), never.ref}).get() == 1);
  auto array = [](std::array<dg::ref<int>, 2> all) -> dg::task<std::size_t> { co_return co_await dg::when_any(all); };
  CHECK(pool.submit(array, std::array{never.ref, dg::put(1)}).get() == 1);
  auto drained = pool.submit(
      [](std::vector<dg::ref_stream<int>> streams) -> dg::task<std::vector<int>> {
        std::vector<int> taken(streams.size(), 0);
        for (;;) {
          const std::size_t i = co_await dg::when_any(streams);
          const auto item = co_await streams[i].async_next();
          if (!item) co_return taken;
          if (item->get() != taken[i]++) co_return std::vector<int>();
        }
      },
      [&] {
        std::vector<dg::ref_stream<int>> streams;
        for (int i = 0; i < 10; ++i) streams.push_back(pool.options(dg::backpressure{1 + i}).submit(count_to, 20 * i));
        return streams;
      }());
  CHECK(drained.get() == std::vector<int>{0, 20, 40, 60, 80, 100, 120, 140, 160, 180});
}

TEST_CASE("no operand starves among several that are always ready", "[when_any][S-AWAIT-1]") {
  support::watchdog dog("fairness of when_any");
  auto seen = run_on_pool([]() -> dg::task<std::vector<int>> {
    std::vector<dg::ref<int>> refs;
    for (int i = 0; i < 5; ++i) refs.push_back(dg::put(i));
    std::vector<int> count(5, 0);
    for (int i = 0; i < 1000; ++i) {
      const std::size_t first = co_await dg::when_any(refs);
      ++count[first];
    }
    co_return count;
  });
  for (int n : seen) CHECK(n > 0);
}

TEST_CASE("repeated waits for a ref that is never ready, beside ready ones, leave no waiter in its list",
          "[when_any][L-4]") {
  support::watchdog dog("many when_any beside one that never comes");
  dg::thread_pool pool(1);
  later never;
  const long before = dg::detail::memory_counter::live(dg::detail::memory_kind::waiter);
  auto r = pool.submit(
      [&pool](dg::ref<int> in) -> dg::task<long> {
        long most = 0;
        for (int i = 0; i < 20'000; ++i) {
          auto other = pool.submit(gives, i);
          co_await dg::when_any(in, other);
          most = std::max(most, dg::detail::memory_counter::live(dg::detail::memory_kind::waiter));
        }
        co_return most;
      },
      dg::unresolved(never.ref));
  CHECK(r.get() - before < 1000);
}

TEST_CASE("a task that awaits a stream's next item, alone or among others, returns its credits first",
          "[when_any][L-8]") {
  support::watchdog dog("credits returned by awaiting");
  dg::manual_executor manual;
  later never;
  for (int room : {1, 2, 20, 64}) {
    // The producer stops when its buffer is full; its reader has taken one value, so less than half of the limit is
    // free.
    auto reader = dg::on(manual).submit(
        [](dg::ref_stream<int> in, dg::ref<int> r) -> dg::task<int> {
          int sum = 0;
          for (int i = 0; i < 100; ++i) {
            const std::size_t first = i % 2 == 0 ? co_await dg::when_any(in) : co_await dg::when_any(r, in);
            const auto v = co_await in.async_value();
            if (first > 1 || !v || *v != i) co_return -1;
            ++sum;
          }
          co_return sum;
        },
        dg::on(manual).options(dg::backpressure{room}).submit(count_to, 1000), dg::unresolved(never.ref));
    manual.run_all();
    REQUIRE(reader.ready());
    CHECK(reader.get() == 100);
  }
}

TEST_CASE("async_next and async_value at the end, at a failure, and of a task that never starts",
          "[await][S-STREAM-2][S-ERR-4]") {
  support::watchdog dog("ends of awaited streams");
  struct body {
    static dg::task<std::string> items(dg::ref_stream<int> in) {
      std::string log;
      for (int i = 0; i < 5; ++i) {
        auto item = co_await in.async_next();
        if (!item)
          log += in.finished() ? '.' : '?';
        else
          log += item->failed() ? '!' : static_cast<char>('0' + item->get());
      }
      co_return log;
    }
    static dg::task<std::string> values(dg::ref_stream<int> in) {
      std::string log;
      for (int i = 0; i < 5; ++i) {
        std::optional<int> v;
        bool threw = false;
        try {
          v = co_await in.async_value();
        } catch (const std::exception&) {
          threw = true;
        }
        log += threw ? '!' : v ? static_cast<char>('0' + *v) : '.';
      }
      co_return log;
    }
  };
  support::error_log log;  // the dependency that fails has no handle
  dg::thread_pool pool(support::reporting_to(log));
  const auto make = [&pool](int kind) {
    dg::ref<int> failed = pool.submit(throws_boom, "dependency");
    switch (kind) {
      case 0:
        return pool.submit(count_to, 3);
      case 1:
        return pool.submit(count_to, 0);
      case 2:
        return pool.submit([]() -> dg::generator<int> {
          co_yield 0;
          co_yield 1;
          throw boom();
        });
      case 3:
        return pool.submit([]() -> dg::generator<int> {
          throw boom();
          co_yield 0;
        });
      case 4:
        return pool.submit(count_to, failed);
      default: {
        dg::promise<int> broken;
        return pool.submit(count_to, broken.get_ref());
      }
    }
  };
  const std::array<std::string, 6> expected{"012..", ".....", "01!..", "!....", "!....", "!...."};
  for (int kind = 0; kind < 6; ++kind) {
    INFO("kind " << kind);
    CHECK(pool.submit(body::items, make(kind)).get() == expected[static_cast<std::size_t>(kind)]);
    CHECK(pool.submit(body::values, make(kind)).get() == expected[static_cast<std::size_t>(kind)]);
  }
  CHECK(holds<dg::empty_ref>(pool.submit(body::items, dg::ref_stream<int>())));
}

TEST_CASE("tasks on two executors await each other's values, and each resumes on its own",
          "[await][S-WAIT-6][S-STREAM-7]") {
  support::watchdog dog("awaiting across executors");
  dg::thread_pool pool(2);
  dg::manual_executor manual;
  struct body {
    static dg::generator<int> adds(dg::ref_stream<int> in, std::thread::id* seen) {
      while (auto v = co_await in.async_value()) {
        const auto here = std::this_thread::get_id();
        if (seen != nullptr && *seen != std::thread::id() && *seen != here) throw boom("another thread");
        if (seen != nullptr) *seen = here;
        co_yield *v + 1;
      }
    }
  };
  std::thread::id mine;
  auto stream = pool.options(dg::backpressure{2}).submit(count_to, 200);
  for (int i = 0; i < 3; ++i) {
    stream = dg::on(manual).options(dg::backpressure{1}).submit(body::adds, std::move(stream), &mine);
    stream = pool.options(dg::backpressure{1}).submit(body::adds, std::move(stream), nullptr);
  }
  auto sum = pool.submit(
      [](dg::ref_stream<int> in) -> dg::task<long> {
        long total = 0;
        while (auto v = co_await in.async_value()) total += *v;
        co_return total;
      },
      std::move(stream));
  while (!sum.ready()) {
    manual.run_all();
    std::this_thread::yield();
  }
  CHECK(sum.get() == 199 * 100 + 6 * 200);
  CHECK(mine == std::this_thread::get_id());
}

TEST_CASE("two tasks take turns at one stream", "[await][S-STREAM-8]") {
  support::watchdog dog("turns at one stream");
  dg::thread_pool pool(2);
  auto stream = std::make_shared<dg::ref_stream<int>>(pool.options(dg::backpressure{3}).submit(count_to, 1000));
  struct body {
    static dg::task<int> takes(std::shared_ptr<dg::ref_stream<int>> from, int n, dg::ref<int> before) {
      int expected = co_await before;
      for (int i = 0; i < n; ++i) {
        const auto v = co_await from->async_value();
        if (!v || *v != expected++) throw boom("out of order");
      }
      co_return expected;
    }
  };
  dg::ref<int> at = dg::put(0);
  for (int turn = 0; turn < 100; ++turn) at = pool.submit(body::takes, stream, 10, dg::unresolved(at));
  CHECK(at.get() == 1000);
  CHECK_FALSE(stream->next().has_value());
}

TEST_CASE("when_any gives the index of a ready operand, and consumes nothing", "[await][S-AWAIT-1]") {
  support::watchdog dog("when_any");
  dg::thread_pool pool(2);
  later never, value;
  dg::manual_executor manual;
  auto idle = dg::on(manual).submit(count_to, 3);
  auto stream = pool.submit(count_to, 3);
  auto body = [&]() -> dg::task<std::size_t> {
    const std::size_t first = co_await dg::when_any(never.ref, stream);
    const std::size_t second = co_await dg::when_any(never.ref, idle, value.ref);
    std::vector<dg::ref<int>> range{never.ref, never.ref, value.ref};
    co_return first * 100 + second * 10 + co_await dg::when_any(range);
  };
  auto r = pool.submit(body);
  value.promise.set_value(1);
  CHECK(r.get() == 122);
  CHECK(stream.next_value() == 0);
  CHECK_FALSE(never.ref.ready());
  auto none = [](std::vector<dg::ref<int>> refs) -> dg::task<std::size_t> { co_return co_await dg::when_any(refs); };
  CHECK(support::holds<std::invalid_argument>(pool.submit(none, std::vector<dg::ref<int>>())));
}

}  // namespace test_when_any
