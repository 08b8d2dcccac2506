// SPDX-License-Identifier: MIT
// Unseen failures: what keeps a failure, what counts as seen, and when, where and under which name an unseen failure is
// reported.

#include "../catch.hpp"
#include "probes.hpp"
#include "small_stack.hpp"

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_unseen {

namespace {

using namespace std::chrono_literals;

struct disk_full : std::runtime_error {
  disk_full() : std::runtime_error("disk full") {}
};

int fails() { throw disk_full(); }

dg::generator<int> one_then_fails() {
  co_yield 1;
  throw disk_full();
}
dg::task<int> coroutine_fails() {
  throw disk_full();
  co_return 1;
}

/// Runs `use(pool)`, destroys the pool, and returns what was reported to its hook.
template <class Use>
std::size_t reports_of(Use use, int threads = 2) {
  support::error_log log;
  {
    dg::thread_pool pool(support::reporting_to(log, threads));
    use(pool);
  }
  for (std::size_t i = 0; i < log.count(); ++i)
    CHECK(support::message_of([&] { std::rethrow_exception(log.at(i).error); }) == "disk full");
  return log.count();
}

/// A ref on a task that has ended with a failure.
template <class T>
dg::ref<T> ended(dg::ref<T> r) {
  r.wait();
  return r;
}

}  // namespace

TEST_CASE("a failure whose handles are dropped is reported, whether they are dropped before or after it",
          "[unseen][S-ERR-9]") {
  support::watchdog dog("handles dropped before and after the failure");
  for (const bool early : {true, false}) {
    CAPTURE(early);
    const auto each_kind = [&](auto submit) {
      support::gate go;
      const std::size_t reports = reports_of(
          [&](dg::thread_pool& pool) {
            auto handle = submit(pool, go);
            if (!early) go.open();
            if (!early) pool.shutdown(dg::shutdown_mode::drain);
            { auto dropped = std::move(handle); }
            go.open();
          });
      CHECK(reports == 1);
    };
    each_kind([](dg::thread_pool& pool, support::gate& go) { return pool.submit([&go] { go.pass(), fails(); }); });
    each_kind([](dg::thread_pool& pool, support::gate& go) { return pool.submit([&go] { return go.pass(), fails(); }); });
    each_kind([](dg::thread_pool& pool, support::gate& go) {
      return pool.submit([&go] {
        go.pass();
        return coroutine_fails();
      });
    });
    each_kind([](dg::thread_pool& pool, support::gate& go) {
      return pool.options(dg::num_returns<3>{}).submit([&go] {
        go.pass();
        return one_then_fails();
      });
    });
    each_kind([](dg::thread_pool& pool, support::gate& go) {
      return pool.options(dg::num_returns{3}, dg::all_or_nothing).submit([&go] {
        go.pass();
        return one_then_fails();
      });
    });
    each_kind([](dg::thread_pool& pool, support::gate& go) {
      return pool.options(dg::dynamic).submit([&go] {
        go.pass();
        return one_then_fails();
      });
    });
    each_kind([](dg::thread_pool& pool, support::gate& go) {
      return pool.options(dg::dynamic, dg::all_or_nothing).submit([&go] {
        go.pass();
        return one_then_fails();
      });
    });
    each_kind([](dg::thread_pool& pool, support::gate& go) {
      return pool.options(dg::num_returns<2>{}).submit([&go]() -> std::pair<int, std::string> {
        go.pass();
        throw disk_full();
      });
    });
  }
}

TEST_CASE("each of many failures that go unseen at once is reported once", "[unseen][S-ERR-9]") {
  support::watchdog dog("a thousand failures");
  std::mutex mutex;
  std::multiset<std::string> names;
  {
    dg::thread_pool pool({.threads = 2, .on_unhandled_error = [&](std::exception_ptr, std::string_view task) {
                            std::lock_guard lock(mutex);
                            names.insert(std::string(task));
                          }});
    for (int i = 0; i < 1000; ++i) {
      const dg::ref<int> dropped = pool.options(dg::name{std::to_string(i)}).submit(fails);
      if (i % 3 == 0) dropped.wait_for(1ms);
      if (i % 5 == 0) (void)dropped.completion();
    }
  }
  CHECK(names.size() == 1000);
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == 1000);
}

TEST_CASE("an exception counts as seen once it was thrown or returned, or failed() was true", "[unseen][S-ERR-9]") {
  support::watchdog dog("what counts as seen");
  const auto seen_by = [](auto look) {
    return reports_of([&](dg::thread_pool& pool) {
      dg::ref<int> r = pool.submit(fails);
      r.wait();
      look(pool, r);
    });
  };
  CHECK(seen_by([](auto&, auto& r) { CHECK_THROWS_AS(r.get(), disk_full); }) == 0);
  CHECK(seen_by([](auto&, auto& r) { CHECK_THROWS_AS(std::move(r).get(), disk_full); }) == 0);
  CHECK(seen_by([](auto&, auto& r) { CHECK_THROWS_AS(std::move(r).take(), disk_full); }) == 0);
  CHECK(seen_by([](auto&, auto& r) { CHECK_THROWS_AS(r.get_for(1s), disk_full); }) == 0);
  CHECK(seen_by([](auto&, auto& r) { CHECK_THROWS_AS(dg::get(r), disk_full); }) == 0);
  CHECK(seen_by([](auto&, auto& r) { CHECK(r.error() != nullptr); }) == 0);
  CHECK(seen_by([](auto&, auto& r) { CHECK(r.failed()); }) == 0);
  CHECK(seen_by([](auto&, auto& r) { CHECK_THROWS_AS(r.completion().get(), disk_full); }) == 0);
  CHECK(seen_by([](auto&, auto& r) {
          const dg::ref<int> copy = r;
          r = {};
          CHECK(copy.failed());
        }) == 0);
  CHECK(seen_by([](auto& pool, auto& r) {
          pool.submit([](dg::ref<int> mine) -> dg::task<void> {
                try {
                  co_await mine;
                } catch (const disk_full&) {
                }
              },
              dg::unresolved(r)).get();
        }) == 0);
  // Waiting or describing does not count.
  CHECK(seen_by([](auto&, auto&) {}) == 1);
  CHECK(seen_by([](auto&, auto& r) {
          r.wait();
          CHECK(r.wait_for(1s));
          CHECK(r.ready());
          r.completion().wait();
        }) == 1);
  CHECK(seen_by([](auto&, auto& r) { CHECK(dg::wait_any(r) == 0); }) == 1);
  CHECK(seen_by([](auto&, auto& r) { CHECK(dg::wait_any_for(1s, r) == 0); }) == 1);
  CHECK(seen_by([](auto&, auto& r) { CHECK(dg::wait(std::array{r, r}, 2).ready.size() == 2); }) == 1);
  CHECK(seen_by([](auto& pool, auto& r) {
          CHECK_FALSE(dg::describe(r).empty());
          std::ostringstream text;
          pool.dump(text);
          text << r << r.id().task;
        }) == 1);
  CHECK(seen_by([](auto& pool, auto& r) {
          CHECK(pool.submit([](dg::ref<int> mine) -> dg::task<std::size_t> { co_return co_await dg::when_any(mine); },
                            dg::unresolved(r)).get() == 0);
        }) == 1);
  CHECK(seen_by([](auto&, auto& r) { CHECK_FALSE(r.cancel()); }) == 1);
}

TEST_CASE("polling a ref that is not ready does not count as seeing its failure", "[unseen][S-ERR-9]") {
  support::watchdog dog("failed() before the failure");
  CHECK(reports_of([](dg::thread_pool& pool) {
          support::gate go;
          const dg::ref<void> r = pool.submit([&go] { go.pass(), fails(); });
          CHECK_FALSE(r.failed());
          go.open();
          r.wait();
        }) == 1);
}

TEST_CASE("all operands that failed are seen when get or when_all throws one of them", "[unseen][S-ERR-9][S-WAIT-8]") {
  support::watchdog dog("all operands are seen");
  CHECK(reports_of([](dg::thread_pool& pool) {
          const dg::ref<int> a = pool.submit(fails), b = pool.submit(fails), c = pool.submit([] { return 1; });
          CHECK_THROWS_AS(dg::get(c, a, b), disk_full);
        }) == 0);
  CHECK(reports_of([](dg::thread_pool& pool) {
          std::vector<dg::ref<int>> all;
          for (int i = 0; i < 5; ++i) all.push_back(pool.submit(fails));
          CHECK_THROWS_AS(dg::get(all), disk_full);
        }) == 0);
  CHECK(reports_of([](dg::thread_pool& pool) {
          pool.submit([](dg::thread_pool& p) -> dg::task<void> {
                const dg::ref<int> a = p.submit(fails), b = p.submit(fails);
                try {
                  co_await dg::when_all(a, b);
                } catch (const disk_full&) {
                }
              },
              std::ref(pool)).get();
        }) == 0);
  CHECK(reports_of([](dg::thread_pool& pool) {
          pool.submit([](dg::thread_pool& p) -> dg::task<void> {
                std::vector<dg::ref<int>> all;
                for (int i = 0; i < 5; ++i) all.push_back(p.submit(fails));
                try {
                  co_await dg::when_all(std::move(all));
                } catch (const disk_full&) {
                }
              },
              std::ref(pool)).get();
        }) == 0);
  for (int threads : {1, 2})  // children that run in their parent's place, and on other threads
    CHECK(reports_of(
              [](dg::thread_pool& pool) {
                for (int round = 0; round < 50; ++round)
                  pool.submit([]() -> dg::task<void> {
                        try {
                          co_await dg::when_all(coroutine_fails(), coroutine_fails(), coroutine_fails());
                        } catch (const disk_full&) {
                        }
                      }).get();
              },
              threads) == 0);
}

TEST_CASE("an exception of a child of when_all is reported if its parent ends before it gets the exception",
          "[unseen][when_all][S-ERR-9]") {
  support::watchdog dog("a child that threw, and a parent that was cancelled");
  for (int round = 0; round < 2; ++round) {
    support::error_log log;
    {
      dg::thread_pool pool(support::reporting_to(log, 1));
      dg::promise<int> never;
      std::atomic<bool> threw{false};
      const auto child_fails = [](std::atomic<bool>& t) -> dg::task<int> {
        t = true;
        throw disk_full();
        co_return 1;
      };
      const auto child_waits = [](dg::ref<int> r) -> dg::task<int> { co_return co_await r; };
      const auto parent = [&](dg::ref<int> r) -> dg::task<void> {
        auto first = child_fails(threw);
        auto second = child_waits(r);
        if (round == 0)
          co_await dg::when_all(std::move(first), std::move(second));
        else
          co_await dg::when_all(std::move(second), std::move(first));
      };
      const dg::ref<void> r = pool.submit(parent, dg::unresolved(never.get_ref()));
      while (!threw) std::this_thread::yield();
      // The exception has left the child, whether that was a task of its own or not, when only the suspended parent is
      // left.
      CHECK(support::eventually([&] {
        std::ostringstream all;
        pool.dump(all);
        return all.str().find("1 task that has not ended") != std::string::npos &&
               dg::describe(r).find("awaiting") != std::string::npos;
      }));
      CHECK(r.cancel());
      CHECK(support::holds<dg::cancelled_error>(r));
    }
    CHECK(log.count_of<disk_full>() == 1);
    CHECK(log.count() == 1);
  }
}

TEST_CASE("one failure is reported once, however many refs, lists and dependents hold it",
          "[unseen][S-ERR-9][S-ERR-8]") {
  support::watchdog dog("one report for each failure");
  support::error_log log;
  {
    dg::thread_pool pool(support::reporting_to(log));
    auto failing = pool.options(dg::name{"the one that threw"}).submit(fails);
    std::vector<dg::ref<int>> all{failing, failing, failing};
    for (int i = 0; i < 20; ++i)
      all.push_back(pool.options(dg::name{"dependent"}).submit([](int a, int b) { return a + b; }, all[all.size() - 1], all[all.size() - 2]));
    auto stream = pool.submit([](int) { return one_then_fails(); }, failing);
    auto list = pool.options(dg::dynamic).submit([](int) { return one_then_fails(); }, failing);
    auto refs = pool.options(dg::num_returns<2>{}).submit([](int) { return one_then_fails(); }, all.back());
    const dg::ref<void> end = refs[1].completion();
    failing = {};
    end.wait();
    CHECK(log.count() == 0);
  }
  REQUIRE(log.count() == 1);
  CHECK(log.at(0).task == "the one that threw");
}

TEST_CASE("a failure seen through any of its holders is seen", "[unseen][S-ERR-9][S-ERR-8]") {
  support::watchdog dog("seen through a dependent");
  CHECK(reports_of([](dg::thread_pool& pool) {
          std::vector<dg::ref<int>> all{pool.submit(fails)};
          for (int i = 0; i < 20; ++i) all.push_back(pool.submit([](int n) { return n; }, all.back()));
          CHECK_THROWS_AS(all.back().get(), disk_full);
        }) == 0);
  CHECK(reports_of([](dg::thread_pool& pool) {  // only the dependent is left
          dg::ref<int> first = pool.submit(fails);
          dg::ref<int> second = pool.submit([](int n) { return n; }, std::move(first));
          CHECK(second.error() != nullptr);
        }) == 0);
  CHECK(reports_of([](dg::thread_pool& pool) {
          (void)pool.submit([](int n) { return n; }, pool.submit(fails));
        }) == 1);
  CHECK(reports_of([](dg::thread_pool& pool) {
          (void)pool.options(dg::after(pool.submit(fails))).submit([] {});
        }) == 1);
  // A cancelled dependent has an error of its own, and no longer holds that of its dependency.
  support::gate go;
  CHECK(reports_of([&](dg::thread_pool& pool) {
          dg::ref<int> failing = pool.submit([&go] { return go.pass(), fails(); });
          const dg::ref<int> dependent = pool.submit([](int n) { return n; }, std::move(failing));
          CHECK(dependent.cancel());
          go.open();
          CHECK(support::holds<dg::cancelled_error>(dependent));
        }) == 1);
}

TEST_CASE("refs to values do not keep a failure; a completion() does", "[unseen][S-ERR-9]") {
  support::watchdog dog("what holds a failure");
  support::error_log log;
  dg::thread_pool pool(support::reporting_to(log));
  std::array<dg::ref<int>, 2> refs = pool.options(dg::num_returns<2>{}).submit(one_then_fails);
  refs[1].wait();
  refs[0].completion().wait();
  CHECK(log.count() == 0);
  dg::ref<void> end = refs[1].completion();
  refs[1] = {};
  pool.submit([] {}).get();
  CHECK(log.count() == 0);
  end = {};
  while (log.count() == 0) std::this_thread::yield();
  CHECK(refs[0].get() == 1);
  // It has been reported: a completion that is created now shows it, and does not report it again.
  CHECK(refs[0].completion().error() != nullptr);
  refs[0].completion().wait();
  pool.shutdown(dg::shutdown_mode::drain);
  CHECK(log.count() == 1);
}

TEST_CASE("items taken from lists and streams keep the failure", "[unseen][S-ERR-9][S-ERR-3][S-ERR-4]") {
  support::watchdog dog("items that hold a failure");
  CHECK(reports_of([](dg::thread_pool& pool) {
          const dg::ref_list<int> list = pool.options(dg::dynamic).submit(one_then_fails).get();
          CHECK(list.size() == 2);
          CHECK(list[0].get() == 1);
        }) == 1);
  CHECK(reports_of([](dg::thread_pool& pool) {
          const dg::ref<int> item = pool.options(dg::dynamic).submit(one_then_fails).get()[1];
          CHECK_THROWS_AS(item.get(), disk_full);
        }) == 0);
  CHECK(reports_of([](dg::thread_pool& pool) {
          const dg::ref_list<int> list = pool.options(dg::dynamic).submit(one_then_fails).get();
          CHECK_THROWS_AS(list.values()[1], disk_full);
        }) == 0);
  CHECK(reports_of([](dg::thread_pool& pool) {  // the ref is dropped unseen, although the stream was read to its end
          dg::ref_stream<int> stream = pool.submit(one_then_fails);
          while (stream.next()) {
          }
          CHECK(stream.finished());
        }) == 1);
  CHECK(reports_of([](dg::thread_pool& pool) {
          dg::ref_stream<int> stream = pool.submit(one_then_fails);
          (void)stream.next();
          const std::optional<dg::ref<int>> item = stream.next();
          { auto dropped = std::move(stream); }  // it does not drop the items that it has handed over
          item->wait();
        }) == 1);
  CHECK(reports_of([](dg::thread_pool& pool) {
          dg::ref_stream<int> stream = pool.submit(one_then_fails);
          CHECK(stream.next_value() == 1);
          CHECK_THROWS_AS(stream.next_value(), disk_full);
        }) == 0);
  CHECK(reports_of([](dg::thread_pool& pool) {
          dg::ref_stream<int> stream = pool.submit(one_then_fails);
          CHECK_THROWS_AS([&] {
            for (int value : stream.values()) CHECK(value == 1);
          }(), disk_full);
        }) == 0);
  CHECK(reports_of([](dg::thread_pool& pool) {
          for (dg::ref<int> r : pool.submit(one_then_fails)) r.wait();
        }) == 1);
}

TEST_CASE("a dropped stream drops its failure, whenever the task failed", "[unseen][S-ERR-9][S-STREAM-6]") {
  support::watchdog dog("dropped streams");
  for (int taken = 0; taken < 2; ++taken)
    for (const bool ended_before : {false, true})
      for (const bool with_completion : {false, true}) {
        CAPTURE(taken, ended_before, with_completion);
        support::gate go;
        CHECK(reports_of([&](dg::thread_pool& pool) {
                dg::ref_stream<int> stream = pool.submit([&go]() -> dg::generator<int> {
                  co_yield 1;
                  go.pass();
                  throw disk_full();
                });
                if (taken == 1) CHECK(stream.next_for(10s)->get() == 1);
                dg::ref<void> end;
                if (with_completion) end = stream.completion();
                if (ended_before) {
                  go.open();
                  stream.completion().wait();
                }
                { auto dropped = std::move(stream); }
                go.open();
              }) == 0);
      }
  // detach() lets the task run: its exception is not lost, thrown before or after.
  for (const bool ended_before : {false, true}) {
    CAPTURE(ended_before);
    CHECK(reports_of([&](dg::thread_pool& pool) {
            dg::ref_stream<int> stream = pool.submit(one_then_fails);
            if (ended_before) stream.completion().wait();
            stream.detach();
          }) == 1);
  }
}

TEST_CASE("a dropped stream that depends on a failure leaves the failure to its other holders", "[unseen][S-ERR-9]") {
  support::watchdog dog("a dropped stream that depends on a failure");
  for (const bool ended_before : {false, true}) {
    CAPTURE(ended_before);
    support::gate go;
    CHECK(reports_of([&](dg::thread_pool& pool) {
            dg::ref_stream<int> stream = pool.submit([](int) { return one_then_fails(); }, pool.submit([&go] { return go.pass(), fails(); }));
            if (ended_before) {
              go.open();
              stream.completion().wait();
            }
            { auto dropped = std::move(stream); }
            go.open();
          }) == 1);
  }
}

TEST_CASE("a failure that is in no ref of a value is reported at the end of the task, also with a completion()",
          "[unseen][S-ERR-9][S-ERR-5][S-ARITY-4]") {
  support::watchdog dog("failures without a ref");
  support::error_log log;
  dg::thread_pool pool(support::reporting_to(log));
  auto refs = pool.options(dg::num_returns<1>{}).submit(one_then_fails);
  const dg::ref<void> end = refs[0].completion();
  end.wait();
  CHECK(log.count() == 1);  // before the completion is ready
  auto surplus = pool.options(dg::num_returns<1>{}).submit([]() -> dg::generator<int> {
    co_yield 1;
    co_yield 2;
  });
  surplus[0].completion().wait();
  CHECK(log.count_of<dg::arity_error>() == 1);
  CHECK(end.error() != nullptr);
  pool.shutdown(dg::shutdown_mode::drain);
  CHECK(log.count() == 2);
}

TEST_CASE("cancellations, broken promises and dead actors are not reported", "[unseen][S-ERR-9]") {
  support::watchdog dog("what is not reported");
  struct thing {
    void method() {}
  };
  CHECK(reports_of([](dg::thread_pool& pool) {
          dg::ref<int> broken;
          {
            dg::promise<int> p;
            broken = p.get_ref();
          }
          const dg::ref<int> dependent = pool.submit([](int n) { return n; }, std::move(broken));
          dependent.wait();
          dg::promise<int> never;
          const dg::ref<int> waits = pool.submit([](int n) { return n; }, never.get_ref());
          const dg::ref<int> chained = pool.submit([](int n) { return n; }, waits);
          waits.cancel();
          chained.wait();
          const dg::actor<thing> a = pool.make_actor<thing>();
          a.kill();
          const dg::ref<void> dead = a.submit(&thing::method);
          (void)pool.options(dg::after(dead)).submit([] {});
          (void)pool.submit([](dg::ref<void> r) -> dg::task<void> { co_await r; }, dg::unresolved(dead));
        }) == 0);
}

TEST_CASE("exceptions of attempts that were retried are not reported; the last one is",
          "[unseen][S-ERR-9][S-RETRY-3]") {
  support::watchdog dog("unseen after retries");
  CHECK(reports_of([](dg::thread_pool& pool) { (void)pool.options(dg::max_retries{3}).submit(fails); }) == 1);
  CHECK(reports_of([](dg::thread_pool& pool) {
          (void)pool.options(dg::max_retries{3}).submit([] { return dg::this_task::attempt() < 3 ? fails() : 1; });
        }) == 0);
}

TEST_CASE("an exception of an actor's constructor is one failure of the task that constructs it",
          "[unseen][actor][S-ERR-9]") {
  support::watchdog dog("a constructor that throws");
  struct broken {
    broken() { throw disk_full(); }
    int method() { return 1; }
  };
  for (const bool look : {false, true})
    for (const bool handle_goes_first : {false, true}) {
      CAPTURE(look, handle_goes_first);
      support::error_log log;
      {
        dg::thread_pool pool(support::reporting_to(log));
        dg::actor<broken> a = pool.options(dg::name{"broken one"}).make_actor<broken>();
        std::vector<dg::ref<int>> calls;
        for (int i = 0; i < 5; ++i) calls.push_back(a.submit(&broken::method));
        for (auto& r : calls) r.wait();
        calls.push_back(a.submit(&broken::method));  // of a dead actor
        if (handle_goes_first) a = {};
        if (look) CHECK(support::holds<dg::actor_died>(calls.back()));
        calls.clear();
      }
      CHECK(log.count() == (look ? 0 : 1));
      CHECK(log.count_of<disk_full>() == (look ? 0 : 1));
      if (!look) CHECK(log.at(0).task == "broken one");
    }
  // Without a call.
  CHECK(reports_of([](dg::thread_pool& pool) { (void)pool.make_actor<broken>(); }) == 1);
}

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

TEST_CASE("a failure is reported or seen, not both, when one holder reads it while others are dropped",
          "[unseen][S-ERR-9]") {
  support::watchdog dog("looks against drops");
  std::atomic<int> reported{0}, looked{0};
  {
    dg::thread_pool pool({.threads = 2, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
    for (int round = 0; round < 2000; ++round) {
      dg::ref<int> r = pool.submit(fails);
      r.wait();
      const bool looks = round % 2 == 0;
      std::thread other([mine = r, looks, &looked] {
        if (looks && mine.error() != nullptr) ++looked;
      });
      r = {};
      other.join();
    }
  }
  CHECK(reported + looked == 2000);
}

}  // namespace test_unseen
