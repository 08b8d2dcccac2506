// SPDX-License-Identifier: MIT
// Orders of events that break naive designs of streams, each provoked on purpose.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_schedules_of_streams {

using namespace std::chrono_literals;
using support::count_to;

namespace {

/// Long enough for a stream of cheap values to be measured as cheap.
constexpr int long_enough = 5000;

/// A stream of `long_enough` + `more` integers of which the first `long_enough` have been taken by blocking reads.
dg::ref_stream<int> well_read(dg::thread_pool& pool, int more, int room) {
  auto stream = pool.options(dg::backpressure{room}).submit(count_to, long_enough + more);
  for (int i = 0; i < long_enough; ++i)
    if (stream.next_value() != std::optional<int>(i)) return {};
  return stream;
}

/// Throws from its destructor, as a local of a coroutine may do.
struct throws_at_exit {
  std::atomic<int>* gone;
  explicit throws_at_exit(std::atomic<int>* g) : gone(g) {}
  throws_at_exit(const throws_at_exit&) = delete;
  throws_at_exit& operator=(const throws_at_exit&) = delete;
  ~throws_at_exit() noexcept(false) {
    ++*gone;
    throw support::boom("local");
  }
};

}  // namespace

TEST_CASE("a stream that was read fast still runs ahead for a consumer that only polls", "[stream][L-1]") {
  support::watchdog dog("polling after pulling");
  for (bool helping : {true, false}) {
    for (int room : {1, 64}) {
      dg::thread_pool pool({.threads = 1, .waiters_help = helping});
      auto stream = well_read(pool, 500, room);
      REQUIRE(stream.valid());
      int expected = long_enough;
      const bool all = support::eventually([&] {
        while (auto item = stream.try_next()) expected += item->get() == expected ? 1 : 0;
        return stream.finished();
      });
      CHECK(all);
      CHECK(expected == long_enough + 500);
    }
  }
}

TEST_CASE("a stream that was read fast still runs ahead for finished alone", "[stream][L-1]") {
  support::watchdog dog("finished after pulling");
  dg::thread_pool pool(1);
  auto stream = well_read(pool, 0, 64);
  REQUIRE(stream.valid());
  CHECK(support::eventually([&] { return stream.finished(); }));
}

TEST_CASE("a stream that was read fast still runs ahead for timed waits", "[stream][L-1]") {
  support::watchdog dog("timed waits after pulling");
  dg::thread_pool pool(1);
  auto stream = well_read(pool, 300, 64);
  REQUIRE(stream.valid());
  int expected = long_enough;
  while (auto item = stream.next_for(20s)) expected += item->get() == expected ? 1 : 0;
  CHECK(expected == long_enough + 300);
}

TEST_CASE("a stream that was read fast still runs ahead for wait_any", "[stream][wait_any][L-1]") {
  support::watchdog dog("wait_any after pulling");
  dg::thread_pool pool(1);
  dg::manual_executor never_run;
  dg::ref<int> never = dg::on(never_run).submit([] { return 0; });
  auto stream = well_read(pool, 300, 64);
  REQUIRE(stream.valid());
  for (int i = 0; i < 300; ++i) {
    REQUIRE(dg::wait_any(never, stream) == 1);
    auto item = stream.try_next();
    REQUIRE(item.has_value());
    REQUIRE(item->get() == long_enough + i);
  }
}

TEST_CASE("a stream that was read fast still completes for a thread that waits for its completion", "[stream][L-1]") {
  support::watchdog dog("completion after pulling");
  for (bool helping : {true, false}) {
    dg::thread_pool pool({.threads = 1, .waiters_help = helping});
    auto stream = well_read(pool, 10, 64);
    REQUIRE(stream.valid());
    stream.completion().get();
    int rest = 0;
    while (stream.next_value()) ++rest;
    CHECK(rest == 10);
  }
}

TEST_CASE("a stream that was read fast still runs to its end when detached", "[stream][L-1]") {
  support::watchdog dog("detach after pulling");
  dg::thread_pool pool(1);
  auto stream = well_read(pool, 3000, 64);
  REQUIRE(stream.valid());
  dg::ref<void> completion = stream.completion();
  stream.detach();
  CHECK(completion.wait_for(30s));
  CHECK_FALSE(completion.failed());
}

TEST_CASE("a stream that was read fast does not delay the end of its pool", "[stream][L-1][L-11]") {
  support::watchdog dog("closing after pulling");
  for (int more : {0, 20, 2000}) {
    std::optional<dg::ref_stream<int>> stream;
    {
      dg::thread_pool pool(1);
      stream = well_read(pool, more, 64);
      REQUIRE(stream->valid());
    }
    REQUIRE(stream->completion().ready());
    int rest = 0;
    bool cancelled = false;
    try {
      while (stream->next_value()) ++rest;
    } catch (const dg::cancelled_error&) {
      cancelled = true;
    }
    CHECK(cancelled == (more > 64));
    CHECK(rest >= (more < 64 ? more : 1));
  }
}

TEST_CASE("a local whose destructor throws does not keep a dropped frame alive", "[stream][L-5][S-ERR-10]") {
  support::watchdog dog("throwing local, dropped stream");
  std::atomic<int> gone{0}, reported{0};
  support::tracked::reset();
  {
    std::atomic<bool> full{false};
    dg::thread_pool pool(
        {.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
    dg::ref<void> completion;
    {
      auto stream = pool.options(dg::backpressure{1}).submit([&, kept = support::tracked(1)]() -> dg::generator<int> {
        support::tracked outer(kept.value);
        throws_at_exit local(&gone);
        support::tracked inner(2);
        full = true;
        co_yield 1;
        co_yield 2;
      });
      completion = stream.completion();
      REQUIRE(support::eventually([&] { return full.load(); }));
    }
    completion.wait();
    CHECK(completion.failed());
    CHECK(gone == 1);
    CHECK(pool.submit([] { return 3; }).get() == 3);
  }
  CHECK(reported == 1);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("a local whose destructor throws at a surplus yield does not harm what was stored", "[arity][L-5]") {
  support::watchdog dog("throwing local, surplus yield");
  std::atomic<int> gone{0}, reported{0};
  dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
  auto refs = pool.options(dg::num_returns<1>{}).submit([&]() -> dg::generator<int> {
    throws_at_exit local(&gone);
    co_yield 1;
    co_yield 2;
  });
  refs[0].completion().wait();
  CHECK(gone == 1);
  CHECK(refs[0].get() == 1);
  CHECK(refs[0].completion().failed());
  CHECK(reported >= 1);
}

TEST_CASE("a body that catches its local's exception during its end stops at its next suspension", "[stream][L-5]") {
  support::watchdog dog("caught while destroyed");
  std::atomic<int> gone{0}, caught{0}, beyond{0};
  std::atomic<bool> full{false};
  dg::thread_pool pool({.threads = 1, .on_unhandled_error = [](std::exception_ptr, std::string_view) {}});
  dg::ref<void> completion;
  {
    auto stream = pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
      bool again = false;
      try {
        throws_at_exit local(&gone);
        full = true;
        co_yield 1;
        co_yield 2;
      } catch (const support::boom&) {
        ++caught;
        again = true;
      }
      if (again) co_yield 3;
      ++beyond;
    });
    completion = stream.completion();
    REQUIRE(support::eventually([&] { return full.load(); }));
  }
  CHECK(completion.wait_for(30s));
  CHECK(gone == 1);
  CHECK(beyond == 0);
}

TEST_CASE("a consumer that takes the last value meets a producer that parks", "[stream][L-8]") {
  support::watchdog dog("parking");
  for (std::size_t threads : {1u, 2u}) {
    for (int room : {1, 2, 17, 64}) {
      dg::thread_pool pool({.threads = threads, .waiters_help = false});
      for (int round = 0; round < 20; ++round) {
        auto stream = pool.options(dg::backpressure{room}).submit(count_to, 4 * room + round);
        int expected = 0;
        while (auto value = stream.next_value()) expected += *value == expected ? 1 : 0;
        REQUIRE(expected == 4 * room + round);
      }
    }
  }
}

TEST_CASE("a consumer that waits for code after the yield that fills the buffer returns its credits first",
          "[stream][L-8]") {
  support::watchdog dog("credits returned before a wait");
  for (bool helping : {true, false}) {
    for (int room : {1, 16, 17, 64}) {
      INFO("helping " << helping << ", room " << room);
      dg::thread_pool pool({.threads = 1, .waiters_help = helping});
      dg::manual_executor manual;
      dg::ref<int> behind = dg::on(manual).submit([] { return 3; });
      auto stream = pool.options(dg::backpressure{room}).submit([&, room]() -> dg::generator<int> {
        for (int i = 0; i < room; ++i) co_yield i;
        manual.run_all();
        co_yield room;
      });
      CHECK(stream.next_value() == std::optional<int>(0));
      // Less than half of a large capacity is free: only this wait returns the credits.
      CHECK(behind.get() == 3);
      for (int i = 1; i <= room; ++i) CHECK(stream.next_value() == std::optional<int>(i));
    }
  }
}

TEST_CASE("a task returns the credits of every stream that it has read before it waits", "[stream][L-8]") {
  support::watchdog dog("credits returned by a task");
  std::atomic<int> through{0};
  dg::thread_pool pool(1);
  dg::manual_executor manual;
  dg::ref<int> behind = dg::on(manual).submit([] { return 3; });
  auto make = [&]() -> dg::generator<int> {
    for (int i = 0; i < 64; ++i) co_yield i;
    if (++through == 2) manual.run_all();
    co_yield 64;
  };
  auto a = pool.submit(make);
  auto b = pool.submit(make);
  dg::ref<int> reader = pool.submit(
      [](dg::ref_stream<int> left, dg::ref_stream<int> right, dg::ref<int> other) {
        int sum = left.next_value().value_or(-1) + right.next_value().value_or(-1);
        sum += other.get();
        while (auto value = left.next_value()) sum += *value;
        while (auto value = right.next_value()) sum += *value;
        return sum;
      },
      std::move(a), std::move(b), dg::unresolved(behind));
  CHECK(reader.get() == 3 + 64 * 65);
}

TEST_CASE("a dropped stream destroys its frame away from the caller's locks", "[stream][L-13]") {
  support::watchdog dog("destructors that want a lock");
  std::atomic<int> gone{0};
  std::atomic<int> started{0};
  std::mutex mutex;
  dg::thread_pool pool(2);
  struct wants_lock {
    std::mutex* mutex;
    std::atomic<int>* gone;
    ~wants_lock() {
      std::lock_guard lock(*mutex);
      ++*gone;
    }
  };
  std::vector<dg::ref_stream<int>> streams;
  for (int i = 0; i < 50; ++i)
    streams.push_back(pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
      wants_lock local{&mutex, &gone};
      ++started;
      for (;;) co_yield 1;
    }));
  REQUIRE(support::eventually([&] { return started == 50; }));
  {
    std::lock_guard lock(mutex);
    streams.clear();
  }
  CHECK(support::eventually([&] { return gone == 50; }));
}

TEST_CASE("values with refs survive the reuse of the blocks around them", "[stream][L-16]") {
  support::watchdog dog("block reuse");
  support::tracked::reset();
  {
    dg::thread_pool pool(2);
    auto make = [](int n) -> dg::generator<support::tracked> {
      for (int i = 0; i < n; ++i) co_yield i;
    };
    for (int stride : {1, 7, 64, 97}) {
      for (int room : {1, 64, 1000}) {
        auto stream = pool.options(dg::backpressure{room}).submit(make, 20000);
        std::vector<dg::ref<support::tracked>> held;
        int index = 0;
        while (auto item = stream.next()) {
          if (index % stride == 0) held.push_back(std::move(*item));
          ++index;
        }
        CHECK(index == 20000);
        bool right = true;
        for (std::size_t i = 0; i < held.size(); ++i)
          right = right && held[i].get().value == static_cast<int>(i) * stride;
        CHECK(right);
      }
    }
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("values dropped on another thread while the producer appends", "[stream][L-16]") {
  support::watchdog dog("drops on another thread");
  support::tracked::reset();
  {
    dg::thread_pool pool(2);
    auto make = [](int n) -> dg::generator<support::tracked> {
      for (int i = 0; i < n; ++i) co_yield i;
    };
    auto stream = pool.options(dg::backpressure{64}).submit(make, 30000);
    int wrong = 0, index = 0;
    while (index < 30000) {
      std::vector<dg::ref<support::tracked>> batch;
      while (batch.size() < 1000) {
        auto item = stream.next();
        if (!item || item->get().value != index++) ++wrong;
        if (!item) break;
        batch.push_back(std::move(*item));
      }
      std::thread dropper([moved = std::move(batch)]() mutable { moved.clear(); });
      for (int i = 0; i < 500; ++i) {
        auto value = stream.next_value();
        if (!value || value->value != index++) ++wrong;
      }
      dropper.join();
    }
    CHECK(wrong == 0);
    CHECK(index == 30000);
    CHECK_FALSE(stream.next().has_value());
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("dropping a stream at any moment of its task's run leaks nothing", "[stream][L-16][S-MEM-4]") {
  support::watchdog dog("drop at any moment");
  support::tracked::reset();
  {
    dg::thread_pool pool(2);
    auto make = [](int n) -> dg::generator<support::tracked> {
      support::tracked local(-5);
      for (int i = 0; i < n; ++i) co_yield i;
    };
    for (int round = 0; round < 1000; ++round) {
      std::vector<dg::ref<support::tracked>> kept;
      {
        auto stream = pool.options(dg::backpressure{1 + round % 70}).submit(make, 300);
        for (int i = 0; i < round % 90; ++i) kept.push_back(std::move(*stream.next()));
      }
      bool right = true;
      for (std::size_t i = 0; i < kept.size(); ++i) right = right && kept[i].get().value == static_cast<int>(i);
      REQUIRE(right);
    }
  }
  CHECK(support::tracked::live == 0);
}

}  // namespace test_schedules_of_streams
