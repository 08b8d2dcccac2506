// SPDX-License-Identifier: MIT
// Streams that are moved into other tasks or pools, and streams with several consumers.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <cstddef>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_passing_streams {

using support::count_to;
using support::holds;
using support::rest_of;
using support::throw_after;

namespace {

dg::generator<int> plus_one(dg::ref_stream<int> in) {
  while (std::optional<int> value = in.next_value()) co_yield *value + 1;
}

dg::generator<int> plus_one_by_values(dg::ref_stream<int> in) {
  for (int value : in.values()) co_yield value + 1;
}

}  // namespace

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
  auto stream = pool.submit(throw_after, 3);
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
  for (auto& completion : completions) CHECK(holds<dg::cancelled_error>(completion));
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

}  // namespace test_passing_streams
