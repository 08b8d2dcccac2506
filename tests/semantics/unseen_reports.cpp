// SPDX-License-Identifier: MIT
// When, where and under which name an unseen failure is reported.

#include "../catch.hpp"
#include "failures.hpp"
#include "probes.hpp"
#include "small_stack.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_unseen_reports {

using support::disk_full;
using support::fails;
using support::reports_of;

namespace {

/// A ref on a task that has ended with a failure.
template <class T>
dg::ref<T> ended(dg::ref<T> r) {
  r.wait();
  return r;
}

}  // namespace

TEST_CASE("later the hook runs on a worker, never on the thread that drops the handle", "[unseen][S-ERR-9][L-13]") {
  support::watchdog dog("the hook's thread");
  std::mutex mutex;  // the hook's mutex, locked by the thread that drops the handle
  std::atomic<int> reported{0};
  std::thread::id where;
  dg::thread_pool pool({.threads = 1, .waiters_help = false, .on_unhandled_error = [&](std::exception_ptr, std::string_view) {
                          std::lock_guard lock(mutex);
                          where = std::this_thread::get_id();
                          ++reported;
                        }});
  std::thread::id worker;
  pool.submit([&] { worker = std::this_thread::get_id(); }).get();
  dg::ref<int> r = pool.submit(fails);
  r.wait();
  {
    std::lock_guard lock(mutex);
    r = {};
    CHECK(reported == 0);
  }
  while (reported == 0) std::this_thread::yield();
  std::lock_guard lock(mutex);
  CHECK(where == worker);
}

TEST_CASE("the pool's destructor returns after every report that was due before it", "[unseen][S-ERR-9][S-STOP-1]") {
  support::watchdog dog("reports before the end of the pool");
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> reported{0};
    {
      dg::thread_pool pool({.threads = 1 + round % 3, .on_unhandled_error = [&](std::exception_ptr, std::string_view) {
                              std::this_thread::yield();
                              ++reported;
                            }});
      std::vector<dg::ref<int>> all;
      for (int i = 0; i < 10; ++i) all.push_back(pool.submit(fails));
      for (auto& r : all) r.wait();
      all.clear();
    }
    REQUIRE(reported == 10);
  }
}

TEST_CASE("after the pool, and on executors without a hook, a failure is one line on stderr", "[unseen][S-ERR-9]") {
  support::watchdog dog("one line on stderr");
  std::atomic<int> reported{0};
  support::captured_stderr captured;
  dg::ref<int> outlives;
  {
    dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
    outlives = pool.options(dg::name{"outlives its pool"}).submit(fails);
    outlives.wait();
  }
  outlives = {};
  dg::manual_executor manual;
  {
    const dg::ref<int> r = dg::on(manual).options(dg::name{"by hand"}).submit(fails);
    manual.run_all();
    const dg::ref<int> dependent = dg::on(manual).options(dg::name{"dependent"}).submit([](int n) { return n; }, r);
    manual.run_all();
  }
  dg::inline_executor here;
  (void)dg::on(here).options(dg::name{"inline"}).submit(fails);
  {
    dg::thread_pool plain(1);
    ended(plain.options(dg::name{"no hook"}).submit(fails));
  }
  const std::string text = captured.finish();
  CHECK(reported == 0);
  for (const char* name : {"task outlives its pool:", "task by hand:", "task inline:", "task no hook:"}) {
    CAPTURE(name);
    CHECK(support::occurrences(text, name) == 1);
  }
  CHECK(support::occurrences(text, "\n") == 4);
  CHECK(support::occurrences(text, "disk full") == 4);
}

TEST_CASE("an unseen exception of a promise is one line on stderr", "[unseen][promise][S-ERR-9]") {
  support::watchdog dog("an exception of a promise");
  const auto printed = [](auto use) {
    support::captured_stderr captured;
    use();
    return support::occurrences(captured.finish(), "promise #");
  };
  const auto error = std::make_exception_ptr(disk_full());
  CHECK(printed([&] {
          dg::promise<int> p;
          const dg::ref<int> r = p.get_ref();
          p.set_exception(error);
        }) == 1);
  CHECK(printed([&] {
          dg::promise<void> p;
          (void)p.get_ref();
          p.set_exception(error);
        }) == 1);
  CHECK(printed([&] { dg::promise<int>().set_exception(error); }) == 1);
  CHECK(printed([&] { dg::promise<void>().set_exception(error); }) == 1);
  CHECK(printed([&] {
          dg::promise<int> p;
          const dg::ref<int> r = p.get_ref();
          p.set_exception(error);
          CHECK(r.failed());
        }) == 0);
  CHECK(printed([&] {
          dg::promise<void> p;
          const dg::ref<void> r = p.get_ref();
          p.set_exception(error);
          CHECK_THROWS_AS(r.get(), disk_full);
        }) == 0);
  CHECK(printed([&] { dg::promise<int>().get_ref().valid(); }) == 0);  // broken_promise
  CHECK(printed([&] {
          std::atomic<int> reported{0};
          {
            dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
            dg::promise<int> p;
            dg::ref<int> dependent = pool.submit([](int n) { return n; }, p.get_ref());
            p.set_exception(error);
            dependent.wait();
          }
          CHECK(reported == 0);
        }) == 1);
}

TEST_CASE("a hook that throws while a failure is reported from a destructor: both errors are on stderr",
          "[unseen][S-ERR-9]") {
  support::watchdog dog("a hook that throws");
  support::captured_stderr captured;
  {
    dg::thread_pool pool({.threads = 1, .on_unhandled_error = [](std::exception_ptr, std::string_view) {
                            throw std::runtime_error("the hook's own");
                          }});
    struct owner {
      dg::ref<int> r;
      ~owner() { r = {}; }
    };
    try {
      const owner o{ended(pool.options(dg::name{"lost"}).submit(fails))};
      throw 1;  // it is dropped during stack unwinding
    } catch (int) {
    }
    CHECK(pool.submit([] { return 3; }).get() == 3);
  }
  const std::string text = captured.finish();
  CHECK(support::occurrences(text, "task lost: disk full") == 1);
  CHECK(support::occurrences(text, "on_unhandled_error: the hook's own") == 1);
}

TEST_CASE("a hook may submit, wait, drop further failures, and end its pool", "[unseen][S-ERR-9]") {
  support::watchdog dog("a hook that uses its pool");
  {
    std::atomic<int> reported{0}, ran{0};
    dg::thread_pool* of_hook = nullptr;
    {
      dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view task) {
                              ++reported;
                              of_hook->submit([&] { ++ran; }).get();
                              if (task != "second") ended(of_hook->options(dg::name{"second"}).submit(fails));
                            }});
      of_hook = &pool;
      for (int i = 0; i < 10; ++i) ended(pool.submit(fails));
    }
    CHECK(reported == 20);
    CHECK(ran == 20);
  }
  {
    std::atomic<int> reported{0};
    dg::thread_pool* of_hook = nullptr;
    dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) {
                            of_hook->shutdown(dg::shutdown_mode::drain);
                            ++reported;
                          }});
    of_hook = &pool;
    ended(pool.submit(fails));
    while (reported == 0) std::this_thread::yield();
  }
  std::atomic<int> reported{0};
  auto* destroyed = new std::unique_ptr<dg::thread_pool>;
  *destroyed = std::make_unique<dg::thread_pool>(dg::thread_pool_options{
      .threads = 1, .on_unhandled_error = [&, destroyed](std::exception_ptr, std::string_view) {
        destroyed->reset();
        delete destroyed;
        ++reported;
      }});
  dg::ref<int> r = (*destroyed)->submit(fails);
  r.wait();
  r = {};
  while (reported == 0) std::this_thread::yield();
}

TEST_CASE("a failure that only the exception of another task keeps is reported before the pool is destroyed",
          "[unseen][S-ERR-9]") {
  support::watchdog dog("a failure held by a record that the pool keeps");
  struct holds_one {
    dg::ref<int> held;
  };
  for (int round = 0; round < 100; ++round) {
    CAPTURE(round);
    std::atomic<int> reported{0};
    support::gate gate;
    support::captured_stderr captured;
    {
      dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
      dg::ref<int> failing = ended(pool.submit(fails));
      const auto throws = [held = std::move(failing)]() -> int { throw holds_one{held}; };
      if (round % 2 == 0) {
        // The dependent only ends: the pool has recorded it, and its record keeps its exception.
        (void)ended(pool.submit([](int n) { return n; }, pool.submit(throws)));
      } else {
        // A waiter runs the task while the worker is busy, and its link stays in the pool's queue.
        (void)pool.submit([&gate] { gate.pass(); });
        (void)ended(pool.submit(throws));
        gate.open();
      }
    }
    CHECK(captured.finish() == "");
    CHECK(reported == 2);
  }
}

TEST_CASE("exceptions that hold refs to failures in a long chain are destroyed in constant stack",
          "[unseen][S-ERR-9][L-14]") {
  support::watchdog dog("a chain of exceptions");
  struct holds_one {
    dg::ref<int> held;
  };
  constexpr int length = support::million / 5;
  for (const bool on_pool : {false, true}) {
    std::atomic<int> reported{0};
    support::captured_stderr captured;  // of the executor without a hook
    {
      // Without helpers: the link of a helped task stays in its queue, and keeps the record, with its exception, until the
      // pool ends.
      dg::thread_pool pool({.threads = 1, .waiters_help = false,
                            .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
      dg::manual_executor manual;
      support::on_small_stack([&] {
        dg::ref<int> last;
        for (int i = 0; i < length; ++i) {
          const auto body = [held = std::move(last)]() -> int { throw holds_one{held}; };
          last = on_pool ? pool.submit(body) : dg::on(manual).submit(body);
          manual.run_all();
          last.wait();
        }
        last = {};
      });
    }
    const std::string text = captured.finish();
    CHECK((on_pool ? static_cast<std::size_t>(reported) : support::occurrences(text, "\n")) == length);
  }
}

TEST_CASE("a chain of dependents that ended with one failure is destroyed in constant stack",
          "[unseen][S-ERR-9][L-14]") {
  support::watchdog dog("a chain of dependents");
  CHECK(reports_of([](dg::thread_pool& pool) {
          support::on_small_stack([&] {
            dg::ref<int> last = pool.submit(fails);
            for (int i = 0; i < 100'000; ++i) last = pool.submit([](int n) { return n; }, std::move(last));
            last.wait();
            last = {};
          });
        }) == 1);
}

}  // namespace test_unseen_reports
