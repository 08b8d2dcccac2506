// SPDX-License-Identifier: MIT
// Stop tokens: the token that stops a task from outside (stop_on), and the task's own (this_task::get_stop_token):
// S-CANCEL.

#include "../catch.hpp"
#include "probes.hpp"

#include <atomic>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace test_tokens {

using support::boom;

TEST_CASE("an outside token cancels a task in every state",
          "[cancel][stop_on][S-CANCEL-1][S-CANCEL-2]") {
  support::watchdog dog("stop_on");
  std::stop_source source;
  dg::promise<int> never;
  dg::manual_executor manual;
  auto options = dg::options(dg::stop_on(source.get_token()));
  auto with = dg::on(manual).options(options);
  bool ran = false;
  auto queued = with.submit([&] { ran = true; });
  auto waiting = with.submit([&](int) { ran = true; }, never.get_ref());
  auto suspended = with.submit([](dg::ref<int> r) -> dg::task<int> { co_return co_await r; }, dg::unresolved(never.get_ref()));
  auto full = dg::on(manual).options(options, dg::backpressure{1}).submit([]() -> dg::generator<int> {
    for (int i = 0;; ++i) co_yield i;
  });
  auto ended = dg::on(manual).options(dg::stop_on(source.get_token())).submit([] { return 1; });
  manual.run_one();  // queued
  CHECK(ran);
  ran = false;
  manual.run_all();
  auto late = with.submit([&] { ran = true; });
  CHECK(source.request_stop());
  CHECK_FALSE(late.ready());  // the thread that requests a stop runs nothing
  manual.run_all();
  CHECK(ended.get() == 1);
  CHECK(support::holds<dg::cancelled_error>(late));
  CHECK(support::holds<dg::cancelled_error>(waiting));
  CHECK(support::holds<dg::cancelled_error>(suspended));
  CHECK(full.next_value() == 0);
  CHECK_THROWS_AS(full.next_value(), dg::cancelled_error);
  CHECK_FALSE(ran);
  // A token whose stop is already requested.
  auto never_run = with.submit([&] { ran = true; });
  manual.run_all();
  CHECK(support::holds<dg::cancelled_error>(never_run));
  CHECK_FALSE(ran);
}

TEST_CASE("an outside token that fires while tasks are submitted and run reaches each of them",
          "[cancel][stop_on][S-CANCEL-4]") {
  support::watchdog dog("stop_on races");
  dg::thread_pool pool(2);
  for (int round = 0; round < 1000; ++round) {
    std::stop_source source;
    auto with = pool.options(dg::stop_on(source.get_token()));
    dg::promise<void> later;
    std::thread stopper([&] { source.request_stop(); });
    std::vector<dg::ref<int>> refs;
    for (int i = 0; i < 3; ++i) {
      refs.push_back(with.submit([] { return 1; }));
      refs.push_back(with.submit([](dg::ref<void> r) -> dg::task<int> {
        co_await r;
        co_return 1;
      }, dg::unresolved(later.get_ref())));
      refs.push_back(pool.options(dg::stop_on(source.get_token()), dg::after(later.get_ref())).submit([] { return 1; }));
    }
    stopper.join();
    for (std::size_t i = 0; i < refs.size(); ++i) {
      INFO("task " << i);
      refs[i].wait();
      if (refs[i].failed()) REQUIRE(support::holds<dg::cancelled_error>(refs[i]));
      else REQUIRE(i % 3 == 0);  // the other tasks can only be cancelled
    }
    later.set_value();
  }
}

TEST_CASE("a task's own token reports a request to stop", "[cancel][this_task][S-CANCEL-3]") {
  support::watchdog dog("get_stop_token");
  CHECK_THROWS_AS(dg::this_task::get_stop_token(), dg::error);
  CHECK_THROWS_AS(dg::this_task::attempt(), dg::error);
  std::vector<std::stop_token> tokens;
  dg::thread_pool pool(2);
  // A task may wait for the request: the canceller runs its callback.
  auto r = pool.submit([] {
    std::atomic<bool> told{false};
    std::stop_callback on_stop(dg::this_task::get_stop_token(), [&] {
      told = true;
      told.notify_all();
    });
    told.wait(false);
    return dg::this_task::stop_requested();
  });
  CHECK(r.cancel());
  if (!r.error()) CHECK(r.get());  // cancelled before it began, or asked to stop while it ran
  // All attempts have the same token.
  auto again = pool.options(dg::max_retries{2}).submit([&tokens] {
    tokens.push_back(dg::this_task::get_stop_token());
    if (dg::this_task::attempt() < 3) throw boom();
  });
  again.get();
  REQUIRE(tokens.size() == 3);
  CHECK(tokens[0] == tokens[2]);
  CHECK_FALSE(tokens[0].stop_requested());
}

TEST_CASE("a token that is requested while the task is being cancelled sees the request to stop",
          "[cancel][this_task][S-CANCEL-3]") {
  support::watchdog dog("token against cancel");
  dg::thread_pool pool(2);
  for (int round = 0; round < 2000; ++round) {
    std::atomic<bool> inside{false};
    auto r = pool.submit([&] {
      inside = true;
      const std::stop_token token = dg::this_task::get_stop_token();
      while (!token.stop_requested()) std::this_thread::yield();
      return 1;
    });
    if (round % 2 == 0)
      while (!inside) std::this_thread::yield();
    REQUIRE(r.cancel());
    r.wait();
  }
}

TEST_CASE("shutting down by cancel reaches plain functions that poll their tokens", "[stop][S-STOP-2][S-CANCEL-3]") {
  support::watchdog dog("shutdown and tokens");
  std::atomic<int> inside{0};
  dg::thread_pool pool(2);
  auto by_token = pool.submit([&] {
    const std::stop_token token = dg::this_task::get_stop_token();
    ++inside;
    while (!token.stop_requested()) std::this_thread::yield();
    return 1;
  });
  auto by_asking = pool.submit([&] {
    ++inside;
    while (!dg::this_task::stop_requested()) std::this_thread::yield();
    return 2;
  });
  while (inside != 2) std::this_thread::yield();
  pool.shutdown(dg::shutdown_mode::cancel);
  CHECK(by_token.get() == 1);
  CHECK(by_asking.get() == 2);
}

}  // namespace test_tokens
