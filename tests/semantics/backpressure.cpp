// SPDX-License-Identifier: MIT
// How far a producer runs ahead of the reader of its stream, and when its task completes.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <cstddef>
#include <thread>
#include <vector>

namespace test_backpressure {

using support::count_to;
using support::progress;
using support::rest_of;
using support::watched;

TEST_CASE("a producer is suspended in the yield that fills the buffer", "[stream][S-STREAM-4]") {
  support::watchdog dog("backpressure on a manual executor");
  for (int n : {1, 2, 16, 17, 64}) {
    INFO("backpressure " << n);
    dg::manual_executor manual;
    progress seen;
    auto stream = dg::on(manual).options(dg::backpressure{n}).submit(watched, &seen, 4 * n);

    manual.run_all();
    CHECK(seen.begun == n);
    CHECK(seen.passed == n - 1);
    manual.run_all();
    CHECK(seen.begun == n);

    // With a limit up to 16, each taken value lets one more be made; above, half of the limit has to be free.
    const int lot = n <= 16 ? 1 : (n + 1) / 2;
    int taken = 0;
    for (; taken < lot; ++taken) {
      auto item = stream.try_next();
      REQUIRE(item.has_value());
      CHECK(item->get() == taken);
    }
    manual.run_all();
    CHECK(seen.begun > n);
    CHECK(seen.begun <= n + taken);
    CHECK(seen.passed == seen.begun - 1);
    if (n <= 16) {
      CHECK(seen.begun == n + 1);
    }

    while (taken < 4 * n) {
      if (auto item = stream.try_next()) {
        if (item->get() != taken) break;
        ++taken;
      }
      manual.run_all();
      if (seen.begun > n + taken) break;
    }
    CHECK(taken == 4 * n);
    manual.run_all();
    CHECK(seen.ended);
    CHECK(stream.finished());
  }
}

TEST_CASE("an unbounded stream runs to its end unread", "[stream][S-STREAM-4]") {
  support::watchdog dog("unbounded");
  dg::manual_executor manual;
  progress seen;
  auto stream = dg::on(manual).options(dg::unbounded).submit(watched, &seen, 20000);
  manual.run_all();
  CHECK(seen.passed == 20000);
  CHECK(stream.completion().ready());
  CHECK(rest_of(stream) == support::first(20000));
}

TEST_CASE("by default 64 values may be stored", "[stream][S-STREAM-4]") {
  support::watchdog dog("default backpressure");
  dg::manual_executor manual;
  progress seen;
  auto stream = dg::on(manual).submit(watched, &seen, 1000);
  manual.run_all();
  CHECK(seen.begun == 64);
  CHECK(seen.passed == 63);
}

TEST_CASE("on a pool a producer never runs further ahead than its limit", "[stream][S-STREAM-4]") {
  support::watchdog dog("backpressure on a pool");
  for (std::size_t threads : {1u, 2u}) {
    dg::thread_pool pool(threads);
    for (int n : {1, 2, 16, 17, 64}) {
      INFO("threads " << threads << ", backpressure " << n);
      progress seen;
      const int total = 5 * n + 40;
      {
        auto stream = pool.options(dg::backpressure{n}).submit(watched, &seen, total);
        bool bounded = true;
        for (int taken = 0; taken < total; ++taken) {
          auto item = stream.next();
          if (!item || item->get() != taken) break;
          bounded = bounded && seen.begun <= taken + 1 + n;
        }
        CHECK(bounded);
        CHECK_FALSE(stream.next().has_value());
      }
      CHECK(seen.begun == total);
      CHECK(seen.ended);
    }
  }
}

TEST_CASE("a small buffer is refilled on a worker after every take", "[stream][S-STREAM-4]") {
  support::watchdog dog("small rooms are refilled");
  for (int n : {1, 2, 16}) {
    INFO("backpressure " << n);
    progress seen;
    dg::thread_pool pool(1);
    auto stream = pool.options(dg::backpressure{n}).submit(watched, &seen, 200);
    REQUIRE(support::eventually([&] { return seen.begun == n; }));
    for (int taken = 1; taken <= 50; ++taken) {
      auto item = stream.next();
      REQUIRE(item.has_value());
      REQUIRE(support::eventually([&] { return seen.begun == n + taken; }));
    }
  }
}

TEST_CASE("a large buffer is refilled at the latest when half of it is free", "[stream][S-STREAM-4]") {
  support::watchdog dog("large rooms are refilled");
  for (int n : {17, 64, 1000}) {
    INFO("backpressure " << n);
    progress seen;
    dg::thread_pool pool(1);
    auto stream = pool.options(dg::backpressure{n}).submit(watched, &seen, 3 * n);
    REQUIRE(support::eventually([&] { return seen.begun == n; }));
    for (int i = 0; i < (n + 1) / 2; ++i) REQUIRE(stream.next().has_value());
    CHECK(support::eventually([&] { return seen.begun > n; }));
  }
}

TEST_CASE("code after the yield that fills the buffer does not run before a value is taken", "[stream][S-STREAM-4]") {
  support::watchdog dog("code behind the filling yield");
  for (int n : {1, 3, 64}) {
    INFO("backpressure " << n);
    progress seen;
    dg::thread_pool pool({.threads = 1, .waiters_help = false});
    auto stream = pool.options(dg::backpressure{n}).submit(watched, &seen, n + 1);
    REQUIRE(support::eventually([&] { return seen.begun == n; }));
    // The only worker runs another task: the producer does not occupy it.
    for (int i = 0; i < 20; ++i) pool.submit([] {}).get();
    CHECK(seen.passed == n - 1);
    CHECK(rest_of(stream) == support::first(n + 1));
    CHECK(seen.passed == n + 1);
  }
}

TEST_CASE("full streams occupy no thread", "[stream][S-STREAM-4]") {
  support::watchdog dog("full streams occupy no thread");
  progress seen;
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  std::vector<dg::ref_stream<int>> streams;
  for (int i = 0; i < 100; ++i) streams.push_back(pool.options(dg::backpressure{1}).submit(watched, &seen, 3));
  REQUIRE(support::eventually([&] { return seen.begun == 100; }));
  CHECK(pool.submit([] { return 42; }).get() == 42);
  CHECK(seen.passed == 0);
  int sum = 0;
  for (auto& stream : streams)
    for (int value : stream.values()) sum += value;
  CHECK(sum == 300);
}

TEST_CASE("the value under a values iterator counts as taken", "[stream][S-STREAM-4]") {
  support::watchdog dog("values iterator and limit");
  dg::manual_executor manual;
  progress seen;
  auto stream = dg::on(manual).options(dg::backpressure{1}).submit(watched, &seen, 3);
  manual.run_all();
  REQUIRE(seen.begun == 1);

  auto values = stream.values();
  auto it = values.begin();
  manual.run_all();
  CHECK(seen.begun == 2);
  CHECK(*it == 0);
  ++it;
  CHECK(*it == 1);
  manual.run_all();
  CHECK(seen.begun == 3);
  CHECK(*it == 1);
}

TEST_CASE("a limit of 0 values is refused", "[stream][S-STREAM-4]") {
  support::watchdog dog("backpressure{0}");
  dg::thread_pool pool(1);
  CHECK_THROWS_AS(pool.options(dg::backpressure{0}).submit(count_to, 1), std::invalid_argument);
  CHECK_THROWS_AS(pool.options(dg::backpressure{-1}).submit(count_to, 1), std::invalid_argument);
  CHECK(pool.submit([] { return 1; }).get() == 1);
}

TEST_CASE("streams parked on one worker can be drained in either order", "[stream][S-STREAM-5]") {
  support::watchdog dog("either order");
  for (bool helping : {true, false}) {
    dg::thread_pool pool({.threads = 1, .waiters_help = helping});
    for (int n : {1, 2, 64}) {
      for (bool second_first : {false, true}) {
        auto a = pool.options(dg::backpressure{n}).submit(count_to, 300);
        auto b = pool.options(dg::backpressure{n}).submit(count_to, 400);
        if (second_first) {
          CHECK(rest_of(b) == support::first(400));
          CHECK(rest_of(a) == support::first(300));
        } else {
          CHECK(rest_of(a) == support::first(300));
          CHECK(rest_of(b) == support::first(400));
        }
      }
      auto a = pool.options(dg::backpressure{n}).submit(count_to, 300);
      auto b = pool.options(dg::backpressure{n}).submit(count_to, 300);
      int agree = 0;
      while (auto left = a.next_value()) {
        auto right = b.next_value();
        if (!right || *left != *right) break;
        ++agree;
      }
      CHECK(agree == 300);
    }
  }
}

TEST_CASE("a stream with more values than its limit completes only when its reader has taken enough",
          "[stream][S-STREAM-9]") {
  support::watchdog dog("completion of a full stream");
  dg::manual_executor manual;
  auto stream = dg::on(manual).options(dg::backpressure{3}).submit(count_to, 4);
  dg::ref<void> completion = stream.completion();
  manual.run_all();
  CHECK_FALSE(completion.ready());
  CHECK_FALSE(stream.completion().ready());
  for (int i = 0; i < 4; ++i) {
    REQUIRE(stream.try_next().has_value());
    manual.run_all();
  }
  CHECK(completion.ready());
  CHECK_FALSE(completion.failed());
  CHECK(stream.finished());
}

TEST_CASE("a stream that fits its buffer completes unread", "[stream][S-STREAM-9]") {
  support::watchdog dog("completion of a stream that fits");
  dg::thread_pool pool(1);
  auto fits = pool.options(dg::backpressure{5}).submit(count_to, 4);
  fits.completion().get();
  CHECK_FALSE(fits.finished());
  CHECK(rest_of(fits) == support::first(4));
  CHECK(fits.finished());

  auto unbounded = pool.options(dg::unbounded).submit(count_to, 5000);
  unbounded.completion().get();
  CHECK(rest_of(unbounded) == support::first(5000));
}

TEST_CASE("waiting for the completion of a stream does not take its values", "[stream][S-STREAM-9]") {
  support::watchdog dog("completion while another thread reads");
  std::atomic<bool> saw_end{false};
  dg::thread_pool pool(1);
  auto stream = pool.options(dg::backpressure{1}).submit(count_to, 200);
  dg::ref<void> completion = stream.completion();
  std::thread waiter([&, completion] {
    completion.wait();
    saw_end = true;
  });
  CHECK(rest_of(stream) == support::first(200));
  waiter.join();
  CHECK(saw_end);
}

}  // namespace test_backpressure
