// SPDX-License-Identifier: MIT
// Streams as their reader sees them: order, end, timeouts, how far a producer runs ahead, dropping, detaching,
// and streams that move between tasks and threads.

#include "../catch.hpp"
#include "../support.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_streams {

namespace {

using support::count_to;
using namespace std::chrono_literals;

/// The progress of a producer: yields begun, and yields that have returned.
struct progress {
  std::atomic<int> begun{0}, passed{0};
  std::atomic<bool> ended{false};
};

dg::generator<int> watched(progress* seen, int n) {
  for (int i = 0; i < n; ++i) {
    ++seen->begun;
    co_yield i;
    ++seen->passed;
  }
  seen->ended = true;
}

dg::generator<int> fails_after(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
  throw support::boom("after the values");
}

dg::generator<support::tracked> tracked_values(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}

dg::generator<int> plus_one(dg::ref_stream<int> in) {
  while (std::optional<int> value = in.next_value()) co_yield *value + 1;
}

dg::generator<int> plus_one_by_values(dg::ref_stream<int> in) {
  for (int value : in.values()) co_yield value + 1;
}

/// `wait_any_for`, with an empty result for a timeout.
template <class... Things>
std::optional<std::size_t> any_within(std::chrono::milliseconds limit, Things&... things) {
  try {
    auto index = dg::wait_any_for(limit, things...);
    if constexpr (requires { index.has_value(); }) {
      if (!index.has_value()) return std::nullopt;
      return static_cast<std::size_t>(*index);
    } else {
      if (static_cast<std::size_t>(index) >= sizeof...(Things)) return std::nullopt;
      return static_cast<std::size_t>(index);
    }
  } catch (const dg::timeout_error&) {
    return std::nullopt;
  }
}

template <class Stream>
std::vector<int> rest_of(Stream& stream) {
  std::vector<int> all;
  while (auto item = stream.next()) all.push_back(item->get());
  return all;
}

std::vector<int> first_integers(int n) {
  std::vector<int> all;
  for (int i = 0; i < n; ++i) all.push_back(i);
  return all;
}

bool holds_cancelled(const dg::ref<void>& completion) {
  try {
    completion.get();
  } catch (const dg::cancelled_error&) {
    return true;
  } catch (...) {
  }
  return false;
}

}  // namespace

TEST_CASE("a stream hands over every value once, in the order of the yields", "[stream][S-STREAM-1]") {
  support::watchdog dog("order of a stream");
  for (std::size_t threads : {1u, 2u, 4u}) {
    dg::thread_pool pool(threads);
    for (int n : {0, 1, 2, 63, 64, 65, 1000, 10000}) {
      auto by_next = pool.submit(count_to, n);
      CHECK(rest_of(by_next) == first_integers(n));

      std::vector<int> by_range;
      for (dg::ref<int> value : pool.submit(count_to, n)) by_range.push_back(value.get());
      CHECK(by_range == first_integers(n));

      std::vector<int> by_values;
      for (int value : pool.submit(count_to, n).values()) by_values.push_back(value);
      CHECK(by_values == first_integers(n));

      auto by_value = pool.submit(count_to, n);
      std::vector<int> taken;
      while (std::optional<int> value = by_value.next_value()) taken.push_back(*value);
      CHECK(taken == first_integers(n));
    }
  }
}

TEST_CASE("refs taken from a stream keep their values while later values are read", "[stream][S-STREAM-1]") {
  support::watchdog dog("refs kept from a stream");
  dg::thread_pool pool(2);
  std::vector<dg::ref<int>> kept;
  for (dg::ref<int> value : pool.options(dg::backpressure{2}).submit(count_to, 3000)) kept.push_back(value);
  REQUIRE(kept.size() == 3000);
  bool right = true;
  for (std::size_t i = 0; i < kept.size(); ++i) right = right && kept[i].get() == static_cast<int>(i);
  CHECK(right);
}

TEST_CASE("a stream carries values that can only be moved", "[stream][S-STREAM-1]") {
  support::watchdog dog("move-only values");
  dg::thread_pool pool(2);
  auto make = [](int n) -> dg::generator<std::unique_ptr<int>> {
    for (int i = 0; i < n; ++i) {
      auto value = std::make_unique<int>(i);
      co_yield std::move(value);
    }
  };
  int expected = 0;
  auto first = pool.submit(make, 100);
  while (auto value = first.next_value()) {
    if (**value != expected) break;
    ++expected;
  }
  CHECK(expected == 100);

  expected = 0;
  for (dg::ref<std::unique_ptr<int>> item : pool.submit(make, 100)) {
    std::unique_ptr<int> value = std::move(item).get();
    if (*value != expected) break;
    ++expected;
  }
  CHECK(expected == 100);

  expected = 0;
  for (std::unique_ptr<int>&& item : pool.submit(make, 100).values()) {
    std::unique_ptr<int> value = std::move(item);
    if (*value != expected) break;
    ++expected;
  }
  CHECK(expected == 100);
}

TEST_CASE("at its end a stream stays empty", "[stream][S-STREAM-2]") {
  support::watchdog dog("end of a stream");
  dg::thread_pool pool(1);
  auto stream = pool.submit(count_to, 3);
  CHECK(rest_of(stream).size() == 3);
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(stream.next().has_value());
    CHECK_FALSE(stream.next_value().has_value());
    CHECK_FALSE(stream.try_next().has_value());
    CHECK_FALSE(stream.next_for(1h).has_value());
    CHECK(stream.finished());
    CHECK(dg::wait_any(stream) == 0);
    CHECK(stream.completion().ready());
  }
  int seen = 0;
  for (int value : stream.values()) seen += value + 1;
  CHECK(seen == 0);
}

TEST_CASE("try_next, finished and wait_any agree at every step of a stream", "[stream][S-STREAM-2]") {
  support::watchdog dog("agreement of try_next, finished and wait_any");
  dg::manual_executor manual;
  auto stream = dg::on(manual).options(dg::backpressure{1}).submit(count_to, 2);

  CHECK_FALSE(stream.try_next().has_value());
  CHECK_FALSE(stream.finished());
  CHECK_FALSE(any_within(0ms, stream).has_value());

  for (int expected = 0; expected < 2; ++expected) {
    manual.run_all();
    CHECK_FALSE(stream.finished());
    CHECK(any_within(0ms, stream) == std::optional<std::size_t>(0));
    auto item = stream.try_next();
    REQUIRE(item.has_value());
    CHECK(item->get() == expected);

    // The value is taken, and the producer has not run since: no value is stored, and the end is not known yet.
    CHECK_FALSE(stream.try_next().has_value());
    CHECK_FALSE(stream.finished());
    CHECK_FALSE(any_within(0ms, stream).has_value());
  }

  manual.run_all();
  CHECK_FALSE(stream.try_next().has_value());
  CHECK(stream.finished());
  CHECK(any_within(0ms, stream) == std::optional<std::size_t>(0));
  CHECK_FALSE(stream.next().has_value());
}

TEST_CASE("a stream whose error is not taken is ready and not finished", "[stream][S-STREAM-2][S-ERR-4]") {
  support::watchdog dog("untaken error");
  dg::manual_executor manual;
  auto stream = dg::on(manual).submit(fails_after, 1);
  manual.run_all();

  REQUIRE(stream.try_next().has_value());
  CHECK_FALSE(stream.finished());
  CHECK(any_within(0ms, stream) == std::optional<std::size_t>(0));
  auto failed = stream.next();
  REQUIRE(failed.has_value());
  CHECK(failed->failed());
  CHECK_THROWS_AS(failed->get(), support::boom);

  CHECK(stream.finished());
  CHECK_FALSE(stream.next().has_value());
  CHECK_FALSE(stream.next().has_value());
}

TEST_CASE("an ended stream counts in wait_any only when all given have ended", "[stream][S-STREAM-2]") {
  support::watchdog dog("ended streams in wait_any");
  dg::inline_executor at_once;
  dg::manual_executor manual;
  auto ended = dg::on(at_once).submit(count_to, 0);
  REQUIRE(ended.finished());

  auto open = dg::on(manual).submit(count_to, 1);
  CHECK_FALSE(any_within(0ms, ended, open).has_value());
  CHECK_FALSE(any_within(0ms, open, ended).has_value());

  auto pending = dg::on(manual).submit([] { return 1; });
  CHECK_FALSE(any_within(0ms, ended, pending).has_value());

  manual.run_all();
  for (int i = 0; i < 4; ++i) {
    CHECK(dg::wait_any(ended, open) == 1);
    CHECK(dg::wait_any(open, ended) == 0);
    CHECK(dg::wait_any(ended, pending) == 1);
  }

  CHECK(rest_of(open).size() == 1);
  CHECK(open.finished());
  CHECK(dg::wait_any(ended, open) < 2);
  CHECK(any_within(0ms, ended, open).has_value());
}

TEST_CASE("next_for gives up after its time, also while only the end is missing", "[stream][S-STREAM-3]") {
  support::watchdog dog("next_for");
  dg::manual_executor manual;
  auto stream = dg::on(manual).options(dg::backpressure{1}).submit(count_to, 1);

  CHECK_THROWS_AS(stream.next_for(1ms), dg::timeout_error);
  manual.run_all();
  auto item = stream.next_for(1h);
  REQUIRE(item.has_value());
  CHECK(item->get() == 0);

  // The last value is taken and the producer is suspended after it: the end is not known yet.
  CHECK_THROWS_AS(stream.next_for(1ms), dg::timeout_error);
  CHECK_THROWS_AS(stream.next_for(0ms), dg::timeout_error);
  manual.run_all();
  CHECK_FALSE(stream.next_for(1ms).has_value());
  CHECK_FALSE(stream.next_for(0ms).has_value());
}

TEST_CASE("a next_for that timed out loses no value", "[stream][S-STREAM-3]") {
  support::watchdog dog("next_for loses nothing");
  support::gate first, second;
  dg::thread_pool pool(1);
  auto stream = pool.submit([&]() -> dg::generator<int> {
    first.pass();
    co_yield 1;
    second.pass();
    co_yield 2;
  });
  CHECK_THROWS_AS(stream.next_for(1ms), dg::timeout_error);
  first.open();
  CHECK(stream.next_for(1h)->get() == 1);
  CHECK_THROWS_AS(stream.next_for(1ms), dg::timeout_error);
  second.open();
  CHECK(stream.next_for(1h)->get() == 2);
  CHECK_FALSE(stream.next_for(1h).has_value());
}

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
  CHECK(rest_of(stream) == first_integers(20000));
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
    CHECK(rest_of(stream) == first_integers(n + 1));
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
          CHECK(rest_of(b) == first_integers(400));
          CHECK(rest_of(a) == first_integers(300));
        } else {
          CHECK(rest_of(a) == first_integers(300));
          CHECK(rest_of(b) == first_integers(400));
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

TEST_CASE("dropping a stream ends its suspended task without resuming it", "[stream][S-STREAM-6]") {
  support::watchdog dog("dropping a parked stream");
  dg::manual_executor manual;
  progress seen;
  support::tracked::reset();
  std::optional<dg::ref_stream<int>> stream =
      dg::on(manual).options(dg::backpressure{2}).submit([&]() -> dg::generator<int> {
        support::tracked local(1);
        for (int i = 0; i < 10; ++i) {
          ++seen.begun;
          co_yield i;
          ++seen.passed;
        }
      });
  dg::ref<void> completion = stream->completion();
  manual.run_all();
  REQUIRE(seen.begun == 2);
  REQUIRE(seen.passed == 1);
  REQUIRE(support::tracked::live == 1);

  stream.reset();
  manual.run_all();
  CHECK(seen.begun == 2);
  CHECK(seen.passed == 1);
  CHECK(support::tracked::live == 0);
  REQUIRE(completion.ready());
  CHECK(holds_cancelled(completion));
}

TEST_CASE("a task whose stream is dropped before it has started never starts", "[stream][S-STREAM-6]") {
  support::watchdog dog("dropping a queued stream");
  dg::manual_executor manual;
  progress seen;
  dg::ref<void> completion;
  {
    auto stream = dg::on(manual).submit(watched, &seen, 5);
    completion = stream.completion();
  }
  manual.run_all();
  CHECK(seen.begun == 0);
  REQUIRE(completion.ready());
  CHECK(holds_cancelled(completion));
}

TEST_CASE("a running task whose stream is dropped ends at its next yield", "[stream][S-STREAM-6]") {
  support::watchdog dog("dropping a running stream");
  support::gate running, dropped;
  std::atomic<bool> step_after_drop{false}, passed_yield{false}, local_gone{false};
  dg::thread_pool pool(1);
  struct on_exit {
    std::atomic<bool>* flag;
    ~on_exit() { *flag = true; }
  };
  dg::ref<void> completion;
  {
    auto stream = pool.submit([&]() -> dg::generator<int> {
      on_exit local{&local_gone};
      co_yield 1;
      running.open();
      dropped.pass();
      step_after_drop = true;
      co_yield 2;
      passed_yield = true;
    });
    completion = stream.completion();
    running.pass();
  }
  CHECK_FALSE(completion.ready());
  dropped.open();
  completion.wait();
  CHECK(holds_cancelled(completion));
  CHECK(step_after_drop);
  CHECK_FALSE(passed_yield);
  CHECK(local_gone);
}

TEST_CASE("assigning to a stream drops the former stream", "[stream][S-STREAM-6]") {
  support::watchdog dog("assigning a stream");
  dg::manual_executor manual;
  progress first, second;
  auto stream = dg::on(manual).options(dg::backpressure{1}).submit(watched, &first, 3);
  dg::ref<void> completion = stream.completion();
  manual.run_all();
  stream = dg::on(manual).submit(watched, &second, 3);
  manual.run_all();
  CHECK(first.passed == 0);
  REQUIRE(completion.ready());
  CHECK(holds_cancelled(completion));
  CHECK(rest_of(stream) == first_integers(3));
}

TEST_CASE("a detached stream drops its values and its task runs to the end", "[stream][S-STREAM-6]") {
  support::watchdog dog("detach");
  support::tracked::reset();
  SECTION("on a manual executor, full when it is detached") {
    dg::manual_executor manual;
    auto stream = dg::on(manual).options(dg::backpressure{2}).submit(tracked_values, 1000);
    dg::ref<void> completion = stream.completion();
    manual.run_all();
    REQUIRE(support::tracked::live == 2);
    stream.detach();
    CHECK(support::tracked::live == 0);
    manual.run_all();
    REQUIRE(completion.ready());
    CHECK_FALSE(completion.failed());
    CHECK(support::tracked::live == 0);
    CHECK(support::tracked::constructed >= 2);
  }
  SECTION("on a pool, while it runs") {
    dg::thread_pool pool(2);
    for (int round = 0; round < 100; ++round) {
      progress seen;
      auto stream = pool.options(dg::backpressure{1}).submit(watched, &seen, 200);
      dg::ref<void> completion = stream.completion();
      if (round % 2 == 0) (void)stream.next();
      stream.detach();
      completion.wait();
      REQUIRE_FALSE(completion.failed());
      REQUIRE(seen.ended);
      REQUIRE(seen.begun == 200);
    }
  }
}

TEST_CASE("detaching a stream does not start its task before the arguments are ready",
          "[stream][S-STREAM-6][S-WAIT-1]") {
  support::watchdog dog("detach before the start");
  dg::manual_executor manual;
  std::atomic<int> started{0};
  const auto numbers = [&started](const int& first) -> dg::generator<int> {
    ++started;
    co_yield first;
  };
  dg::promise<int> argument;
  dg::promise<void> before;
  auto given = dg::on(manual).submit(numbers, argument.get_ref());
  auto after = dg::on(manual).options(dg::after(before.get_ref())).submit(count_to, 3);
  dg::ref<void> given_end = given.completion(), after_end = after.completion();
  given.detach();
  after.detach();
  CHECK(manual.run_all() == 0);
  CHECK(started == 0);
  CHECK_FALSE(after_end.ready());
  argument.set_value(7);
  before.set_value();
  manual.run_all();
  CHECK(started == 1);
  REQUIRE(given_end.ready());
  CHECK_FALSE(given_end.failed());
  REQUIRE(after_end.ready());
  CHECK_FALSE(after_end.failed());
}

TEST_CASE("a ref taken before its stream is dropped keeps its value", "[stream][S-STREAM-6]") {
  support::watchdog dog("ref outlives stream");
  support::tracked::reset();
  {
    dg::thread_pool pool(1);
    dg::ref<support::tracked> kept;
    {
      auto stream = pool.submit(tracked_values, 1000);
      kept = *stream.next();
    }
    CHECK(kept.get().value == 0);
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("a stream can be moved into another task and read there", "[stream][S-STREAM-7]") {
  support::watchdog dog("stream moved into a task");
  for (std::size_t threads : {1u, 2u}) {
    dg::thread_pool pool(threads);
    auto source = pool.options(dg::backpressure{2}).submit(count_to, 500);
    REQUIRE(source.next_value() == std::optional<int>(0));
    dg::ref<long> sum = pool.submit(
        [](dg::ref_stream<int> in) {
          long total = 0;
          for (dg::ref<int> value : in) total += value.get();
          return total;
        },
        std::move(source));
    CHECK_FALSE(source.valid());
    CHECK(sum.get() == 499L * 500 / 2);
  }
}

TEST_CASE("a stream moved between pools is read across them", "[stream][S-STREAM-7]") {
  support::watchdog dog("stream across pools");
  dg::thread_pool left(1), right(1);
  auto doubled =
      right.options(dg::backpressure{1}).submit(plus_one, left.options(dg::backpressure{1}).submit(count_to, 300));
  int expected = 1;
  for (int value : doubled.values()) {
    if (value != expected) break;
    ++expected;
  }
  CHECK(expected == 301);
}

TEST_CASE("a chain of streams read by blocking works on one worker", "[stream][S-STREAM-7][S-WAIT-5]") {
  support::watchdog dog("chain of streams");
  for (bool helping : {true, false}) {
    for (int depth : {1, 2, 5, 30}) {
      for (int room : {1, 64}) {
        INFO("helping " << helping << ", depth " << depth << ", room " << room);
        dg::thread_pool pool({.threads = 1, .waiters_help = helping});
        auto stream = pool.options(dg::backpressure{room}).submit(count_to, 100);
        for (int i = 0; i < depth; ++i) {
          if (i % 2 == 0)
            stream = pool.options(dg::backpressure{room}).submit(plus_one, std::move(stream));
          else
            stream = pool.options(dg::backpressure{room}).submit(plus_one_by_values, std::move(stream));
        }
        std::vector<int> all = rest_of(stream);
        bool right = all.size() == 100;
        for (std::size_t i = 0; right && i < all.size(); ++i) right = all[i] == static_cast<int>(i) + depth;
        CHECK(right);
      }
    }
  }
}

TEST_CASE("an error propagates through a chain of streams", "[stream][S-STREAM-7][S-ERR-4]") {
  support::watchdog dog("error in a chain of streams");
  dg::thread_pool pool(1);
  auto stream = pool.submit(fails_after, 3);
  for (int i = 0; i < 3; ++i) stream = pool.submit(plus_one, std::move(stream));
  for (int i = 0; i < 3; ++i) CHECK(stream.next_value() == std::optional<int>(i + 3));
  CHECK_THROWS_AS(stream.next_value(), support::boom);
  CHECK_FALSE(stream.next_value().has_value());
}

TEST_CASE("dropping the end of a chain of streams ends all of it", "[stream][S-STREAM-7][S-STREAM-6]") {
  support::watchdog dog("dropping a chain of streams");
  dg::thread_pool pool(1);
  std::vector<dg::ref<void>> completions;
  {
    auto stream = pool.options(dg::backpressure{1}).submit(count_to, 1000000);
    completions.push_back(stream.completion());
    for (int i = 0; i < 10; ++i) {
      stream = pool.options(dg::backpressure{1}).submit(plus_one, std::move(stream));
      completions.push_back(stream.completion());
    }
    CHECK(stream.next_value() == std::optional<int>(10));
  }
  for (auto& completion : completions) CHECK(holds_cancelled(completion));
}

TEST_CASE("consumers on different threads may take turns", "[stream][S-STREAM-8]") {
  support::watchdog dog("consumers in turn");
  dg::thread_pool pool(2);
  for (int room : {1, 16, 64}) {
    auto stream = pool.options(dg::backpressure{room}).submit(count_to, 2000);
    std::atomic<int> expected{0}, wrong{0};
    for (int turn = 0; turn < 20; ++turn) {
      std::thread consumer([&, turn] {
        for (int i = 0; i < 100; ++i) {
          int got = -1;
          if (turn % 2 == 0) {
            auto item = stream.next();
            if (item) got = item->get();
          } else {
            auto item = stream.next_value();
            if (item) got = *item;
          }
          if (got != expected++) ++wrong;
        }
      });
      consumer.join();
    }
    CHECK(wrong == 0);
    CHECK(expected == 2000);
    CHECK_FALSE(stream.next().has_value());
  }
}

TEST_CASE("tasks and outside threads may take turns on one stream", "[stream][S-STREAM-8]") {
  support::watchdog dog("tasks and threads in turn");
  dg::thread_pool pool(1);
  auto stream = pool.options(dg::backpressure{1}).submit(count_to, 100);
  bool right = true;
  for (int i = 0; i < 100; i += 2) {
    right = right && stream.next_value() == std::optional<int>(i);
    auto inside = pool.submit([&stream] { return stream.next_value().value_or(-1); });
    right = right && inside.get() == i + 1;
  }
  CHECK(right);
  CHECK_FALSE(stream.next_value().has_value());
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
  CHECK(rest_of(fits) == first_integers(4));
  CHECK(fits.finished());

  auto unbounded = pool.options(dg::unbounded).submit(count_to, 5000);
  unbounded.completion().get();
  CHECK(rest_of(unbounded) == first_integers(5000));
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
  CHECK(rest_of(stream) == first_integers(200));
  waiter.join();
  CHECK(saw_end);
}

TEST_CASE("after an abandoned loop over values() the stream can be read further", "[stream][values]") {
  support::watchdog dog("leaving values");
  dg::thread_pool pool(1);
  auto stream = pool.submit(count_to, 10);
  for (int value : stream.values())
    if (value == 3) break;
  CHECK(stream.next_value() == std::optional<int>(4));
  for (int value : stream.values())
    if (value == 6) break;
  CHECK(stream.next()->get() == 7);
  std::vector<int> last;
  for (int value : stream.values()) last.push_back(value);
  CHECK(last == std::vector<int>{8, 9});
}

TEST_CASE("values() of a temporary stream owns the stream", "[stream][values]") {
  support::watchdog dog("owning values");
  dg::thread_pool pool(2);
  support::tracked::reset();
  long sum = 0;
  for (support::tracked&& value : pool.submit(tracked_values, 1000).values()) sum += value.value;
  CHECK(sum == 499500);
  CHECK(support::tracked::copies == 0);

  auto stream = pool.submit(tracked_values, 1000);
  auto owning = std::move(stream).values();
  sum = 0;
  for (support::tracked&& value : owning) {
    sum += value.value;
    if (value.value == 500) break;
  }
  CHECK(sum == 500 * 501 / 2);
}

TEST_CASE("dropping an owning values() early cancels the task", "[stream][values][S-STREAM-6]") {
  support::watchdog dog("leaving owning values");
  dg::thread_pool pool(1);
  dg::ref<void> completion;
  {
    auto stream = pool.options(dg::backpressure{1}).submit(count_to, 1000000);
    completion = stream.completion();
    for (int value : std::move(stream).values())
      if (value == 2) break;
  }
  CHECK(holds_cancelled(completion));
}

TEST_CASE("values() throws the stored exception at its position, then is at its end", "[stream][values][S-ERR-4]") {
  support::watchdog dog("values and errors");
  std::vector<int> seen;
  dg::thread_pool pool(1);
  auto stream = pool.submit(fails_after, 3);
  std::string message = support::message_of([&] {
    for (int value : stream.values()) seen.push_back(value);
  });
  CHECK(message == "after the values");
  CHECK(seen == first_integers(3));
  CHECK(stream.finished());
  seen.clear();
  for (int value : stream.values()) seen.push_back(value);
  CHECK(seen.empty());
  CHECK_FALSE(stream.next().has_value());
}

TEST_CASE("polling with try_next until finished sees every value", "[stream][S-STREAM-2][L-1]") {
  support::watchdog dog("polling");
  for (int room : {1, 17, 64}) {
    std::vector<int> all;
    dg::thread_pool pool({.threads = 1, .waiters_help = room != 17});
    auto stream = pool.options(dg::backpressure{room}).submit(count_to, 3000);
    while (!stream.finished()) {
      if (auto item = stream.try_next())
        all.push_back(item->get());
      else
        std::this_thread::yield();
    }
    CHECK(all == first_integers(3000));
  }
}

TEST_CASE("wait_any merges streams without losing or repeating a value", "[stream][wait_any][S-STREAM-2]") {
  support::watchdog dog("merging streams");
  dg::thread_pool pool(2);
  auto a = pool.options(dg::backpressure{1}).submit(count_to, 300);
  auto b = pool.options(dg::backpressure{7}).submit(count_to, 500);
  auto c = pool.submit(count_to, 0);
  std::vector<int> from_a, from_b;
  bool ends_agree = true;
  while (!(a.finished() && b.finished() && c.finished())) {
    const std::size_t index = dg::wait_any(a, b, c);
    auto item = index == 0 ? a.try_next() : index == 1 ? b.try_next() : c.try_next();
    if (!item) {
      // An ended stream counts only when all have ended.
      ends_agree = a.finished() && b.finished() && c.finished();
      break;
    }
    if (index == 2) break;
    (index == 0 ? from_a : from_b).push_back(item->get());
  }
  CHECK(ends_agree);
  CHECK(from_a == first_integers(300));
  CHECK(from_b == first_integers(500));
}

TEST_CASE("wait_any takes streams and refs side by side", "[stream][wait_any]") {
  support::watchdog dog("streams beside refs");
  dg::manual_executor one, two;
  auto stream = dg::on(one).submit(count_to, 1);
  dg::ref<int> value = dg::on(two).submit([] { return 5; });
  CHECK_FALSE(any_within(1ms, stream, value).has_value());
  two.run_all();
  CHECK(dg::wait_any(stream, value) == 1);
  CHECK(dg::wait_any(value, stream) == 0);
  CHECK(value.get() == 5);
}

TEST_CASE("a stream that ends with a full block may be dropped at that moment", "[stream][S-STREAM-6][S-MEM-4]") {
  support::watchdog dog("dropped at the end of a full block");
  dg::thread_pool pool(1);
  for (int round = 0; round < 1000; ++round) {
    auto stream = pool.options(dg::unbounded).submit(count_to, 8);
    int taken = 0;
    while (taken < 8)
      if (stream.try_next()) ++taken;
  }
  CHECK(support::eventually([&] { return dg::detail::memory_counter::live(dg::detail::memory_kind::block) == 0; }));
}

TEST_CASE("the value under a values() iterator is taken: next() gives the one after it",
          "[stream][values][S-STREAM-1]") {
  support::watchdog dog("next within values()");
  support::tracked::reset();
  {
    std::vector<int> seen;
    dg::thread_pool pool(1);
    // Enough values for blocks of every size, and for the iterator's value to be sometimes the last of its block.
    auto stream = pool.options(dg::unbounded).submit(tracked_values, 1000);
    for (support::tracked&& value : stream.values()) {
      for (int i = 0; i < static_cast<int>(seen.size()) % 7; ++i)
        if (auto next = stream.next_value()) seen.push_back(next->value);
      seen.push_back(value.value);
    }
    CHECK(seen.size() == 1000);
    std::sort(seen.begin(), seen.end());
    CHECK(seen == first_integers(1000));
  }
  CHECK(support::tracked::live.load() == 0);
}

TEST_CASE("a stream dropped while values() is iterated ends there, and drops each value once",
          "[stream][values][L-7]") {
  support::watchdog dog("dropped within values()");
  support::tracked::reset();
  {
    dg::thread_pool pool(1);
    auto stream = pool.submit(tracked_values, 100'000);
    int seen = 0;
    for (support::tracked&& value : stream.values()) {
      CHECK(value.value == seen);
      if (++seen == 5) stream = dg::ref_stream<support::tracked>();
    }
    CHECK(seen == 5);
  }
  CHECK(support::tracked::live.load() == 0);
}

}  // namespace test_streams
