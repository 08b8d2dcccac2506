// SPDX-License-Identifier: MIT
// Unseen failures: what keeps a failure, what counts as seen, and which failures are reported.

#include "../catch.hpp"
#include "failures.hpp"
#include "probes.hpp"

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_unseen {

using namespace std::chrono_literals;
using support::disk_full;
using support::fails;
using support::reports_of;

namespace {

dg::generator<int> one_then_fails() {
  co_yield 1;
  throw disk_full();
}
dg::task<int> coroutine_fails() {
  throw disk_full();
  co_return 1;
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
