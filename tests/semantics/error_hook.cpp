// SPDX-License-Identifier: MIT
// The rules S-ERR-5 and S-ERR-9: which exceptions go to the hook on_unhandled_error, when and on which thread it is
// called, and what it may do.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <atomic>
#include <string>
#include <thread>

namespace test_error_hook {

using support::boom;
using support::captured_stderr;
using support::count_to;
using support::error_log;
using support::eventually;
using support::fail;
using support::gate;
using support::holds;
using support::occurrences;
using support::reporting_to;
using support::throw_after;

// ---------------------------------------------------------------------------------------------- 5

TEST_CASE("an exception after the N-th value is stored in completion() and goes to the hook", "[errors][S-ERR-5]") {
  support::watchdog dog("errors: after the last value");
  for (int n : {1, 2, 64}) {
    error_log log;
    dg::thread_pool pool(reporting_to(log));
    auto refs = pool.options(dg::num_returns{n}, dg::name{"last words"}).submit(throw_after, n);
    auto end = refs[0].completion();
    CHECK(holds<boom>(end));
    for (int i = 0; i < n; ++i) CHECK(refs[static_cast<std::size_t>(i)].get() == i);
    REQUIRE(log.count() == 1u);
    CHECK(log.at(0).task == "last words");
    CHECK(log.at(0).error == end.error());
  }
}

TEST_CASE("an exception under num_returns<0> goes to the hook", "[errors][S-ERR-5]") {
  support::watchdog dog("errors: no ref at all");
  error_log log;
  {
    dg::thread_pool pool(reporting_to(log));
    [[maybe_unused]] auto refs = pool.options(dg::num_returns<0>{}).submit(throw_after, 0);
  }
  CHECK(log.count_of<boom>() == 1u);
}

TEST_CASE("without a hook, such an exception is one line on stderr that names the task", "[errors][S-ERR-5]") {
  support::watchdog dog("errors: on stderr");
  captured_stderr file;
  int value = -1;
  {
    dg::thread_pool pool(2);
    auto refs = pool.options(dg::num_returns<1>{}, dg::name{"posthumous"}).submit(throw_after, 1);
    refs[0].completion().wait();
    value = refs[0].get();
  }
  const std::string text = file.finish();
  CHECK(value == 0);
  CHECK(occurrences(text, "\n") == 1u);
  CHECK(occurrences(text, "posthumous") >= 1u);
  CHECK(occurrences(text, "after 1") == 1u);
}

// ---------------------------------------------------------------------------------------------- 9

TEST_CASE("an exception without a handle goes to the hook", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: dropped refs");
  error_log log;
  std::atomic<int> ran{0};
  {
    gate start;
    dg::thread_pool pool(reporting_to(log, 1));
    auto blocker = pool.submit([&] { start.pass(); });
    auto work = [&]() -> int {
      ++ran;
      throw boom("unheard");
    };
    auto several = [&]() -> dg::generator<int> {
      ++ran;
      co_yield 1;
      throw boom("unheard too");
    };
    pool.options(dg::name{"lonely"}).submit(work);
    { [[maybe_unused]] auto refs = pool.options(dg::num_returns<2>{}, dg::name{"crowd"}).submit(several); }
    start.open();
  }
  CHECK(ran.load() == 2);  // dropping its refs does not cancel a task
  REQUIRE(log.count() == 2u);
  CHECK(log.count_of<boom>() == 2u);
  const std::string tasks = log.at(0).task + " " + log.at(1).task;
  CHECK((tasks == "lonely crowd" || tasks == "crowd lonely"));
}

TEST_CASE("an exception whose last handle is dropped unread goes to the hook", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: held refs");
  error_log log;
  {
    dg::thread_pool pool(reporting_to(log));
    auto r = pool.submit(fail, "held");
    r.wait();
    CHECK(log.count() == 0u);
  }
  CHECK(log.count() == 1u);
}

TEST_CASE("the cancellation of a task without handles is not reported", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: cancelled and dropped");
  error_log log;
  {
    gate start;
    std::atomic<int> ran{0};
    dg::thread_pool pool(reporting_to(log, 1));
    auto blocker = pool.submit([&] { start.pass(); });
    {
      auto r = pool.submit([&] { ++ran; });
      CHECK(r.cancel());
      auto refs = pool.options(dg::num_returns<2>{}).submit(count_to, 2);
      CHECK(refs[0].cancel());
      [[maybe_unused]] auto stream = pool.submit(count_to, 100'000);
    }
    start.open();
    blocker.get();
    pool.submit([] {}).get();
    CHECK(ran.load() == 0);
  }
  CHECK(log.count() == 0u);
}

TEST_CASE("a task without handles that fails with the cancellation of another task is not reported",
          "[errors][S-ERR-9][S-CANCEL-5]") {
  support::watchdog dog("errors: cancelled dependency");
  error_log log;
  {
    dg::thread_pool pool(reporting_to(log, 1));
    dg::manual_executor manual;
    auto cancelled = dg::on(manual).submit([] { return 1; });
    static_cast<void>(pool.submit([](int) {}, cancelled));
    static_cast<void>(pool.options(dg::after(cancelled)).submit([] {}));
    static_cast<void>(pool.options(dg::num_returns<2>{}).submit(count_to, cancelled));
    static_cast<void>(pool.submit([r = cancelled]() -> dg::task<void> { co_await r; }));
    CHECK(cancelled.cancel());
    manual.run_all();
    CHECK(holds<dg::cancelled_error>(cancelled));
  }
  CHECK(log.count() == 0u);
}

TEST_CASE("the hook returns before completion() is ready", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: hook before completion");
  gate leave;
  std::atomic<bool> inside{false};
  dg::thread_pool_options options;
  options.threads = 2;
  options.on_unhandled_error = [&](std::exception_ptr, std::string_view) {
    inside = true;
    leave.pass();
  };
  dg::thread_pool pool(options);
  auto refs = pool.options(dg::num_returns<1>{}).submit(throw_after, 1);
  auto end = refs[0].completion();
  REQUIRE(eventually([&] { return inside.load(); }));
  CHECK_FALSE(end.ready());
  CHECK(refs[0].get() == 0);
  leave.open();
  CHECK(holds<boom>(end));
}

TEST_CASE("the hook runs on the thread that ends the task", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: thread of the hook");
  error_log log;
  std::thread::id ran_on;
  {
    dg::thread_pool pool(reporting_to(log));
    auto f = [&]() -> dg::generator<int> {
      co_yield 0;
      ran_on = std::this_thread::get_id();
      throw boom();
    };
    auto refs = pool.options(dg::num_returns<1>{}).submit(f);
    refs[0].completion().wait();
  }
  REQUIRE(log.count() == 1u);
  CHECK(log.at(0).thread == ran_on);
}

TEST_CASE("a hook may use the pool that calls it", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: hook that submits");
  std::atomic<int> more{0};
  std::atomic<dg::thread_pool*> self{nullptr};
  dg::thread_pool_options options;
  options.threads = 1;
  options.on_unhandled_error = [&](std::exception_ptr, std::string_view) {
    self.load()->submit([&] { ++more; }).get();
  };
  dg::thread_pool pool(options);
  self = &pool;
  auto refs = pool.options(dg::num_returns<1>{}).submit(throw_after, 1);
  refs[0].completion().wait();
  CHECK(more.load() == 1);
}

TEST_CASE("a hook that throws: both errors are on stderr and the program goes on", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: throwing hook");
  captured_stderr file;
  int after = 0;
  bool held = false;
  {
    dg::thread_pool_options options;
    options.threads = 2;
    options.on_unhandled_error = [](std::exception_ptr, std::string_view) { throw boom("the hook's own"); };
    dg::thread_pool pool(options);
    auto refs = pool.options(dg::num_returns<1>{}).submit(throw_after, 1);
    held = holds<boom>(refs[0].completion());
    after = pool.submit([] { return 5; }).get();
  }
  const std::string text = file.finish();
  CHECK(held);
  CHECK(after == 5);
  CHECK(occurrences(text, "the hook's own") == 1u);
  CHECK(occurrences(text, "after 1") == 1u);
}

TEST_CASE("dropping the refs of a plain or static task does not cancel it", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: dropping does not cancel");
  std::atomic<int> plain{0}, fixed{0};
  {
    dg::manual_executor later;
    dg::on(later).submit([&] { ++plain; });
    auto f = [&]() -> dg::generator<int> {
      for (int i = 0; i < 3; ++i) {
        co_yield i;
        ++fixed;
      }
    };
    { [[maybe_unused]] auto refs = dg::on(later).options(dg::num_returns<3>{}).submit(f); }
    later.run_all();
  }
  CHECK(plain.load() == 1);
  CHECK(fixed.load() == 3);
}

}  // namespace test_error_hook
