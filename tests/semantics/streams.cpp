// SPDX-License-Identifier: MIT
// Streams as their reader sees them: the order of the values, the end, errors, timeouts, values(), and waits for
// several streams.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_streams {

using namespace std::chrono_literals;
using support::count_to;
using support::rest_of;
using support::throw_after;
using support::tracked_to;

TEST_CASE("a stream hands over every value once, in the order of the yields", "[stream][S-STREAM-1]") {
  support::watchdog dog("order of a stream");
  for (std::size_t threads : {1u, 2u, 4u}) {
    dg::thread_pool pool(threads);
    for (int n : {0, 1, 2, 63, 64, 65, 1000, 10000}) {
      auto by_next = pool.submit(count_to, n);
      CHECK(rest_of(by_next) == support::first(n));

      std::vector<int> by_range;
      for (dg::ref<int> value : pool.submit(count_to, n)) by_range.push_back(value.get());
      CHECK(by_range == support::first(n));

      std::vector<int> by_values;
      for (int value : pool.submit(count_to, n).values()) by_values.push_back(value);
      CHECK(by_values == support::first(n));

      auto by_value = pool.submit(count_to, n);
      std::vector<int> taken;
      while (std::optional<int> value = by_value.next_value()) taken.push_back(*value);
      CHECK(taken == support::first(n));
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
  CHECK_THROWS_AS(dg::wait_any_for(0ms, stream), dg::timeout_error);

  for (int expected = 0; expected < 2; ++expected) {
    manual.run_all();
    CHECK_FALSE(stream.finished());
    CHECK(dg::wait_any_for(0ms, stream) == 0u);
    auto item = stream.try_next();
    REQUIRE(item.has_value());
    CHECK(item->get() == expected);

    // The value is taken, and the producer has not run since: no value is stored, and the end is not known yet.
    CHECK_FALSE(stream.try_next().has_value());
    CHECK_FALSE(stream.finished());
    CHECK_THROWS_AS(dg::wait_any_for(0ms, stream), dg::timeout_error);
  }

  manual.run_all();
  CHECK_FALSE(stream.try_next().has_value());
  CHECK(stream.finished());
  CHECK(dg::wait_any_for(0ms, stream) == 0u);
  CHECK_FALSE(stream.next().has_value());
}

TEST_CASE("a stream whose error is not taken is ready and not finished", "[stream][S-STREAM-2][S-ERR-4]") {
  support::watchdog dog("untaken error");
  dg::manual_executor manual;
  auto stream = dg::on(manual).submit(throw_after, 1);
  manual.run_all();

  REQUIRE(stream.try_next().has_value());
  CHECK_FALSE(stream.finished());
  CHECK(dg::wait_any_for(0ms, stream) == 0u);
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
  CHECK_THROWS_AS(dg::wait_any_for(0ms, ended, open), dg::timeout_error);
  CHECK_THROWS_AS(dg::wait_any_for(0ms, open, ended), dg::timeout_error);

  auto pending = dg::on(manual).submit([] { return 1; });
  CHECK_THROWS_AS(dg::wait_any_for(0ms, ended, pending), dg::timeout_error);

  manual.run_all();
  for (int i = 0; i < 4; ++i) {
    CHECK(dg::wait_any(ended, open) == 1);
    CHECK(dg::wait_any(open, ended) == 0);
    CHECK(dg::wait_any(ended, pending) == 1);
  }

  CHECK(rest_of(open).size() == 1);
  CHECK(open.finished());
  CHECK(dg::wait_any(ended, open) < 2);
  CHECK_NOTHROW(dg::wait_any_for(0ms, ended, open));
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
  for (support::tracked&& value : pool.submit(tracked_to, 1000).values()) sum += value.value;
  CHECK(sum == 499500);
  CHECK(support::tracked::copies == 0);

  auto stream = pool.submit(tracked_to, 1000);
  auto owning = std::move(stream).values();
  sum = 0;
  for (support::tracked&& value : owning) {
    sum += value.value;
    if (value.value == 500) break;
  }
  CHECK(sum == 500 * 501 / 2);
}

TEST_CASE("values() throws the stored exception at its position, then is at its end", "[stream][values][S-ERR-4]") {
  support::watchdog dog("values and errors");
  std::vector<int> seen;
  dg::thread_pool pool(1);
  auto stream = pool.submit(throw_after, 3);
  std::string message = support::message_of([&] {
    for (int value : stream.values()) seen.push_back(value);
  });
  CHECK(message == "after 3");
  CHECK(seen == support::first(3));
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
    CHECK(all == support::first(3000));
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
  CHECK(from_a == support::first(300));
  CHECK(from_b == support::first(500));
}

TEST_CASE("wait_any takes streams and refs side by side", "[stream][wait_any]") {
  support::watchdog dog("streams beside refs");
  dg::manual_executor one, two;
  auto stream = dg::on(one).submit(count_to, 1);
  dg::ref<int> value = dg::on(two).submit([] { return 5; });
  CHECK_THROWS_AS(dg::wait_any_for(1ms, stream, value), dg::timeout_error);
  two.run_all();
  CHECK(dg::wait_any(stream, value) == 1);
  CHECK(dg::wait_any(value, stream) == 0);
  CHECK(value.get() == 5);
}

TEST_CASE("the value under a values() iterator is taken: next() gives the one after it",
          "[stream][values][S-STREAM-1]") {
  support::watchdog dog("next within values()");
  support::tracked::reset();
  {
    std::vector<int> seen;
    dg::thread_pool pool(1);
    // Enough values for blocks of every size, and for the iterator's value to be sometimes the last of its block.
    auto stream = pool.options(dg::unbounded).submit(tracked_to, 1000);
    for (support::tracked&& value : stream.values()) {
      for (int i = 0; i < static_cast<int>(seen.size()) % 7; ++i)
        if (auto next = stream.next_value()) seen.push_back(next->value);
      seen.push_back(value.value);
    }
    CHECK(seen.size() == 1000);
    std::sort(seen.begin(), seen.end());
    CHECK(seen == support::first(1000));
  }
  CHECK(support::tracked::live.load() == 0);
}

}  // namespace test_streams
