// SPDX-License-Identifier: MIT
// Tasks that were asked to stop and then return or throw: which values they keep, and which exception their refs hold.

#include "../catch.hpp"
#include "../support.hpp"
#include "failures.hpp"
#include "probes.hpp"

#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace test_stop_requests {

using support::disk_full;

namespace {

/// The text of `error`: "disk full", "cancelled", "cancelled[disk full]", …, from the outer to the nested exception.
std::string layers(std::exception_ptr error) {
  if (!error) return "nothing";
  try {
    std::rethrow_exception(error);
  } catch (const dg::cancelled_error& e) {
    try {
      std::rethrow_if_nested(e);
    } catch (...) {
      return "cancelled[" + layers(std::current_exception()) + "]";
    }
    return "cancelled";
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "?";
  }
}

/// Opens `running`, waits until it may continue, and throws.
struct thrower {
  support::gate& running;
  support::gate& go;
  void operator()() const {
    running.open();
    go.pass();
    throw disk_full();
  }
};

dg::task<int> throws_inside(thrower t) {
  t();
  co_return 1;
}
dg::task<int> awaits_one_that_throws(thrower t) { co_return co_await throws_inside(t); }

dg::generator<int> yields_then_throws(thrower t) {
  co_yield 1;
  t();
  co_yield 2;
}

class broken_actor {
 public:
  int plain(thrower t) {
    t();
    return 1;
  }
  dg::task<int> coroutine(thrower t) {
    t();
    co_return 1;
  }
  dg::generator<int> values(thrower t) {
    co_yield 1;
    t();
  }
};

/// Submits by `submit(thrower)`, and cancels by `cancel(handle)` while the task runs and before it throws. Returns the
/// error of its completion.
template <class Submit, class Cancel>
std::string thrown_after_cancel(Submit submit, Cancel cancel) {
  support::gate running, go;
  auto handle = submit(thrower{running, go});
  running.pass();
  const dg::ref<void> end = cancel(handle);
  go.open();
  return layers(end.error());
}

}  // namespace

TEST_CASE("an exception that leaves a task after the request to stop is nested in cancelled_error",
          "[cancel][S-CANCEL-6][S-ERR-9]") {
  support::watchdog dog("exceptions after a cancel");
  std::atomic<int> reported{0};
  dg::thread_pool pool({.threads = 2, .waiters_help = false,
                        .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
  const auto by_handle = [](auto& handle) {
    CHECK(handle.cancel());
    return handle.completion();
  };
  const std::string expected = "cancelled[disk full]";
  const auto plain = [](thrower t) {
    t();
    return 1;
  };
  CHECK(thrown_after_cancel([&](thrower t) { return pool.submit(plain, t); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return pool.submit([t] { t(); }); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return pool.submit(awaits_one_that_throws, t); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return pool.submit(yields_then_throws, t); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return pool.options(dg::dynamic).submit(yields_then_throws, t); }, by_handle) ==
        expected);
  CHECK(thrown_after_cancel([&](thrower t) { return pool.options(dg::max_retries{9}).submit(plain, t); }, by_handle) ==
        expected);
  const auto first_of_array = [](auto& refs) {
    CHECK(refs[0].cancel());
    CHECK(refs[1].completion() == refs[0].completion());
    return refs[0].completion();
  };
  CHECK(thrown_after_cancel([&](thrower t) { return pool.options(dg::num_returns<2>{}).submit(yields_then_throws, t); },
                            first_of_array) == expected);
  CHECK(thrown_after_cancel(
            [&](thrower t) {
              return pool.options(dg::num_returns<2>{}).submit([t] {
                t();
                return std::pair(1, 2);
              });
            },
            [](auto& refs) {
              CHECK(std::get<0>(refs).cancel());
              return std::get<0>(refs).completion();
            }) == expected);
  const dg::actor<broken_actor> actor = pool.make_actor<broken_actor>();
  CHECK(thrown_after_cancel([&](thrower t) { return actor.submit(&broken_actor::plain, t); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return actor.submit(&broken_actor::coroutine, t); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return actor.submit(&broken_actor::values, t); }, by_handle) == expected);
  // A stream that is dropped, and a stop token.
  const auto by_dropping = [](auto& stream) {
    dg::ref<void> end = stream.completion();
    { auto dropped = std::move(stream); }
    return end;
  };
  CHECK(thrown_after_cancel([&](thrower t) { return pool.submit(yields_then_throws, t); }, by_dropping) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return actor.submit(&broken_actor::values, t); }, by_dropping) == expected);
  std::stop_source source;
  CHECK(thrown_after_cancel([&](thrower t) { return pool.options(dg::stop_on(source.get_token())).submit(plain, t); },
                            [&](auto& ref) {
                              source.request_stop();
                              return ref.completion();
                            }) == expected);
  CHECK(reported == 0);
  const dg::pool_stats stats = pool.stats();
  CHECK(stats.failed == 0);
  CHECK(stats.cancelled == 14);
}

TEST_CASE("shutdown(cancel) asks running tasks to stop: an exception of one is nested in cancelled_error",
          "[cancel][S-CANCEL-6][S-STOP-2]") {
  support::watchdog dog("an exception after shutdown(cancel)");
  std::atomic<int> reported{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false,
                        .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
  support::gate running;
  const dg::ref<void> r = pool.submit([&] {
    running.open();
    while (!dg::this_task::stop_requested()) std::this_thread::yield();
    throw disk_full();
  });
  running.pass();
  pool.shutdown(dg::shutdown_mode::cancel);
  CHECK(layers(r.error()) == "cancelled[disk full]");
}

TEST_CASE("a task that returns after a request to stop keeps its values", "[cancel][S-CANCEL-6]") {
  support::watchdog dog("values after a cancel");
  dg::manual_executor manual;
  dg::ref<int> r;
  r = dg::on(manual).submit([&] {
    CHECK(r.cancel());
    return 4;
  });
  manual.run_all();
  CHECK(r.get() == 4);
  r = {};
}

TEST_CASE("a cancel after the exception has left the task says that it is too late",
          "[cancel][S-CANCEL-4][S-CANCEL-6]") {
  support::watchdog dog("a cancel after the exception");
  dg::manual_executor manual;
  dg::ref<int> r;
  std::atomic<int> cancels{0};
  struct cancels_at_its_end {
    dg::ref<int>* r;
    std::atomic<int>* cancels;
    bool armed = true;
    cancels_at_its_end(dg::ref<int>* ref, std::atomic<int>* count) : r(ref), cancels(count) {}
    cancels_at_its_end(cancels_at_its_end&& other) noexcept
        : r(other.r), cancels(other.cancels), armed(std::exchange(other.armed, false)) {}
    ~cancels_at_its_end() {
      if (armed) *cancels += r->cancel() ? 1 : 100;
    }
  };
  // Its argument is destroyed after the exception has left the task, and before its end is ready.
  r = dg::on(manual).submit([](const cancels_at_its_end&) -> int { throw disk_full(); }, cancels_at_its_end(&r, &cancels));
  manual.run_all();
  CHECK(cancels == 100);
  CHECK(layers(r.error()) == "disk full");
  r = {};
}

TEST_CASE("an exception and a cancel that race end in one of the two, and cancel() says which",
          "[cancel][S-CANCEL-4][S-CANCEL-6]") {
  support::watchdog dog("a cancel against an exception");
  dg::thread_pool pool(2);
  for (int round = 0; round < 2000; ++round) {
    std::atomic<bool> running{false};
    const dg::ref<void> r = pool.submit([&] {
      running = true;
      throw disk_full();
    });
    if (round % 2 != 0)
      while (!running) std::this_thread::yield();
    const bool in_time = r.cancel();
    const std::string outcome = layers(r.error());
    if (in_time)
      REQUIRE((outcome == "cancelled" || outcome == "cancelled[disk full]"));
    else
      REQUIRE(outcome == "disk full");
  }
}

TEST_CASE("a cancelled_error that leaves a task cancels it, whatever made the task throw it",
          "[cancel][S-CANCEL-6][S-RETRY-7]") {
  support::watchdog dog("a task that cancels itself");
  std::atomic<int> reported{0}, attempts{0};
  dg::thread_pool pool({.threads = 2, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
  const dg::ref<void> r = pool.options(dg::max_retries{5}).submit([&] {
    ++attempts;
    throw dg::cancelled_error();
  });
  CHECK(layers(r.error()) == "cancelled");
  CHECK(attempts == 1);
  (void)pool.submit([] { throw dg::cancelled_error("of its own"); });
  const dg::ref<int> coroutine = pool.submit([]() -> dg::task<int> {
    throw dg::cancelled_error("of its own");
    co_return 1;
  });
  coroutine.wait();
  CHECK(support::message_of([&] { coroutine.get(); }) == "of its own");
  pool.shutdown(dg::shutdown_mode::drain);
  CHECK(reported == 0);
  CHECK(pool.stats().cancelled == 3);
  CHECK(pool.stats().failed == 0);
}

TEST_CASE("throw_if_stop_requested throws once the task is asked to stop; outside a task it throws error",
          "[cancel][this_task][S-CANCEL-6][S-AWAIT-2]") {
  support::watchdog dog("throw_if_stop_requested");
  CHECK_THROWS_AS(dg::this_task::throw_if_stop_requested(), dg::error);
  CHECK(support::message_of([] { dg::this_task::throw_if_stop_requested(); }).find("runs no task") != std::string::npos);
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  support::gate running;
  std::atomic<bool> came_by{false};
  const dg::ref<void> r = pool.options(dg::name{"poller"}).submit([&] {
    dg::this_task::throw_if_stop_requested();
    came_by = true;
    running.open();
    for (;;) dg::this_task::throw_if_stop_requested();
  });
  running.pass();
  CHECK(r.cancel());
  CHECK(layers(r.error()) == "cancelled");
  CHECK(support::message_of([&] { r.get(); }).find("'poller'") != std::string::npos);
  CHECK(came_by);
  // In a generator the earlier values stay.
  dg::ref_stream<int> stream = pool.submit([]() -> dg::generator<int> {
    co_yield 1;
    for (;;) dg::this_task::throw_if_stop_requested();
  });
  CHECK(stream.next()->get() == 1);
  CHECK(stream.cancel());
  CHECK_THROWS_AS(stream.next_value(), dg::cancelled_error);
}

}  // namespace test_stop_requests
