// SPDX-License-Identifier: MIT
// Producers that drop or detach their own stream while its reader runs them: L-24.

#include "../catch.hpp"
#include "../support.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace test_self_drops {

namespace {

using text_stream = dg::ref_stream<std::string>;

/// Drops the stream `where`, or detaches it, before number `at`, in the code that the reader runs on its own stack.
dg::generator<std::string> drops_itself(text_stream& where, int at, bool detaches, const bool& reading, int count) {
  bool done = false;
  for (int i = 0; i < count; ++i) {
    if (!done && i >= at && reading) {
      done = true;
      if (detaches)
        where.detach();
      else
        where = text_stream();
    }
    co_yield std::string(40, static_cast<char>('a' + i % 26));
  }
}

}  // namespace

TEST_CASE("a producer that an executor runs at once may drop its stream inside any member",
          "[stream][executor][L-24]") {
  support::watchdog dog("a stream dropped inside its own member");
  const bool detaches = GENERATE(false, true);
  const int member = GENERATE(0, 1, 2, 3, 4, 5);
  const int room = member == 4 ? 64 : 1;
  dg::inline_executor at_once;
  text_stream s;
  const bool reading = true;
  auto bound = dg::on(at_once).options(dg::backpressure{room});
  // The stream object exists before the code that drops it runs: that code runs when a value is taken, below.
  text_stream made = bound.submit(drops_itself, std::ref(s), room, detaches, std::cref(reading), 200);
  s = std::move(made);
  const std::string first(40, 'a');
  switch (member) {
    case 0: CHECK(s.next_value() == first); break;
    case 1:
      for (std::string&& each : s.values()) {
        CHECK(each == first);
        break;
      }
      break;
    case 2: CHECK(s.next()->get() == first); break;
    case 3: CHECK(s.try_next()->get() == first); break;
    case 4:
      for (int i = 0; i < 10; ++i) (void)s.next_value();
      (void)s.finished();
      break;
    default:
      for (dg::ref<std::string>&& each : s) {
        CHECK(each.get() == first);
        break;
      }
  }
  SUCCEED();
}

namespace {

struct shared_stream {
  text_stream s;
  std::atomic<std::thread::id> reader{};
};
/// Drops or detaches the stream where the thread that runs this code is inside the reader's co_await.
dg::generator<std::string> drops_shared(std::shared_ptr<shared_stream> b, int at, bool detaches) {
  bool done = false;
  for (int i = 0; i < 100'000; ++i) {
    if (!done && i >= at && b->reader.load() == std::this_thread::get_id()) {
      done = true;
      if (detaches)
        b->s.detach();
      else
        b->s = text_stream();
    }
    co_yield std::string(40, 'x');
  }
}
template <bool Value>
dg::task<int> reads_shared(std::shared_ptr<shared_stream> b) {
  int n = 0;
  while (b->s.valid()) {
    bool more = false;
    b->reader = std::this_thread::get_id();
    if constexpr (Value) {
      const std::optional<std::string> next = co_await b->s.async_value();
      more = next.has_value();
    } else {
      const std::optional<dg::ref<std::string>> next = co_await b->s.async_next();
      more = next.has_value();
    }
    b->reader = std::thread::id();
    if (!more) break;
    ++n;
  }
  co_return n;
}

}  // namespace

TEST_CASE("a producer drops its stream from the stack of the coroutine that reads it", "[stream][await][L-24]") {
  support::watchdog dog("a stream dropped inside co_await");
  const bool detaches = GENERATE(false, true);
  const bool values = GENERATE(false, true);
  const int at = GENERATE(0, 3, 3000);
  // One worker, so that the producer runs on the reader's stack or not beside it.
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  for (int round = 0; round < 5; ++round) {
    const auto started = pool.submit([&] {
      auto b = std::make_shared<shared_stream>();
      b->s = pool.submit(drops_shared, b, at, detaches);
      return values ? pool.submit(reads_shared<true>, b) : pool.submit(reads_shared<false>, b);
    });
    CHECK(started.get().get() <= 100'000);
  }
}

}  // namespace test_self_drops
