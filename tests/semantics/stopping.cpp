// SPDX-License-Identifier: MIT
// What the end of a pool does to its tasks: which of them still run, which are cancelled, and what outlives the pool.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_stopping {

using support::count_to;
using support::is_cancelled;
using support::is_stopped;

namespace {

void submit_tree(dg::thread_pool* pool, std::atomic<int>* ran, int depth) {
  ++*ran;
  if (depth == 0) return;
  for (int i = 0; i < 2; ++i) pool->submit(submit_tree, pool, ran, depth - 1);
}

/// Keeps its work for ever, or discards it.
struct discarding_executor {
  void execute(dg::work unwanted) noexcept { dg::work gone = std::move(unwanted); }
};

}  // namespace

TEST_CASE("the destructor runs everything that is queued", "[stop][S-STOP-1]") {
  support::watchdog dog("destructor drains");
  for (std::size_t threads : {1u, 4u}) {
    std::atomic<int> ran{0};
    {
      dg::thread_pool pool(threads);
      for (int i = 0; i < 2000; ++i) pool.submit([&] { ++ran; });
    }
    CHECK(ran == 2000);
  }
}

TEST_CASE("the destructor runs chains of dependents to their end", "[stop][S-STOP-1]") {
  support::watchdog dog("destructor drains chains");
  dg::ref<int> last;
  {
    dg::thread_pool pool(2);
    last = pool.submit([] { return 0; });
    for (int i = 0; i < 5000; ++i) last = pool.submit([](int value) { return value + 1; }, last);
  }
  REQUIRE(last.ready());
  CHECK(last.get() == 5000);
}

TEST_CASE("tasks may submit while the pool drains", "[stop][S-STOP-1][L-11]") {
  support::watchdog dog("submitting while draining");
  for (std::size_t threads : {1u, 3u}) {
    std::atomic<int> ran{0};
    {
      dg::thread_pool pool(threads);
      pool.submit(submit_tree, &pool, &ran, 10);
    }
    CHECK(ran == 2047);
  }
}

TEST_CASE("a task may submit another one after the destructor has begun", "[stop][S-STOP-1][L-11]") {
  support::watchdog dog("submit after the destructor has begun");
  std::atomic<bool> refused{false}, late_ran{false};
  dg::ref<int> inner;
  support::gate started;
  auto pool = std::make_unique<dg::thread_pool>(1);
  dg::thread_pool* raw = pool.get();
  std::atomic<bool> closing{false};
  dg::ref<void> outer = raw->submit([&, raw] {
    started.open();
    while (!closing) std::this_thread::yield();
    try {
      inner = raw->submit([&] {
        late_ran = true;
        return 5;
      });
    } catch (...) {
      refused = true;
    }
  });
  started.pass();
  std::thread destroyer([&] {
    closing = true;
    pool.reset();
  });
  destroyer.join();
  CHECK_FALSE(refused);
  CHECK(late_ran);
  CHECK(inner.get() == 5);
}

TEST_CASE("the destructor runs streams that fit their buffer to the end", "[stop][S-STOP-1]") {
  support::watchdog dog("destructor finishes streams");
  std::optional<dg::ref_stream<int>> stream;
  std::optional<dg::ref_stream<int>> unbounded;
  {
    dg::thread_pool pool(1);
    stream = pool.options(dg::backpressure{8}).submit(count_to, 7);
    unbounded = pool.options(dg::unbounded).submit(count_to, 5000);
  }
  for (int i = 0; i < 7; ++i) CHECK(stream->next_value() == std::optional<int>(i));
  CHECK_FALSE(stream->next().has_value());
  int seen = 0;
  for (int value : unbounded->values()) seen += value >= 0 ? 1 : 0;
  CHECK(seen == 5000);
}

TEST_CASE("the destructor cancels tasks that wait for something outside", "[stop][S-STOP-1]") {
  support::watchdog dog("destructor cancels what waits outside");
  dg::manual_executor manual;
  std::atomic<bool> ran{false};
  dg::ref<int> outside = dg::on(manual).submit([] { return 1; });
  dg::ref<int> waiting, behind;
  dg::ref<dg::ref_list<int>> list;
  std::optional<dg::ref_stream<int>> stream;
  std::vector<dg::ref<int>> fixed;
  {
    dg::thread_pool pool(2);
    waiting = pool.submit(
        [&](int value) {
          ran = true;
          return value;
        },
        outside);
    behind = pool.submit([](int value) { return value; }, waiting);
    list = pool.options(dg::dynamic).submit(count_to, outside);
    stream = pool.submit(count_to, outside);
    fixed = pool.options(dg::num_returns{3}).submit(count_to, outside);
  }
  REQUIRE(waiting.ready());
  CHECK_FALSE(ran);
  CHECK(is_cancelled(waiting.error()));
  CHECK(is_cancelled(behind.error()));
  CHECK(is_cancelled(list.error()));
  for (auto& each : fixed) CHECK(is_cancelled(each.error()));
  CHECK(is_cancelled(stream->completion().error()));
  auto item = stream->next();
  REQUIRE(item.has_value());
  CHECK(is_cancelled(item->error()));
  CHECK_FALSE(stream->next().has_value());

  // Fulfilling the promises late changes nothing.
  manual.run_all();
  CHECK(outside.get() == 1);
  CHECK_FALSE(ran);
}

TEST_CASE("a full stream whose reader is stalled does not block the destructor", "[stop][S-STOP-1]") {
  support::watchdog dog("full stream held outside");
  std::atomic<int> begun{0};
  std::optional<dg::ref_stream<int>> stream;
  {
    dg::thread_pool pool(1);
    stream = pool.options(dg::backpressure{2}).submit([&]() -> dg::generator<int> {
      for (int i = 0; i < 100; ++i) {
        ++begun;
        co_yield i;
      }
    });
  }
  CHECK(begun == 2);
  // The stored values stay readable, then the cancellation, then the end.
  CHECK(stream->next_value() == std::optional<int>(0));
  CHECK(stream->next_value() == std::optional<int>(1));
  CHECK_THROWS_AS(stream->next_value(), dg::cancelled_error);
  CHECK_FALSE(stream->next_value().has_value());
  CHECK(stream->finished());
}

TEST_CASE("tasks that a cancelled task makes ready still run before the destructor returns",
          "[stop][S-STOP-1][S-DETAIL-10]") {
  support::watchdog dog("draining looks again");
  dg::manual_executor manual;
  dg::ref<int> outside = dg::on(manual).submit([] { return 1; });

  SECTION("a task that waits inside for the cancelled one") {
    std::atomic<bool> woke{false}, follow_up{false};
    {
      dg::thread_pool pool(1);
      dg::ref<int> waiting = pool.submit([](int value) { return value; }, outside);
      pool.submit(
          [&](dg::ref<int> other) {
            try {
              other.get();
            } catch (const dg::cancelled_error&) {
              woke = true;
            }
            pool.submit([&] { follow_up = true; });
          },
          dg::unresolved(waiting));
    }
    CHECK(woke);
    CHECK(follow_up);
  }
  SECTION("a task submitted by the frame of an unread stream") {
    std::atomic<bool> follow_up{false}, chained{false};
    std::optional<dg::ref_stream<int>> stream;
    struct submits_at_exit {
      dg::thread_pool* pool;
      std::atomic<bool>*first, *second;
      ~submits_at_exit() {
        dg::ref<int> one = pool->submit([flag = first] {
          *flag = true;
          return 1;
        });
        pool->submit([flag = second](int) { *flag = true; }, one);
      }
    };
    {
      dg::thread_pool pool(1);
      stream = pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
        submits_at_exit local{&pool, &follow_up, &chained};
        co_yield 1;
        co_yield 2;
      });
      (void)stream->next();
    }
    CHECK(follow_up);
    CHECK(chained);
  }
}

TEST_CASE("a closing pool takes no task for lost while any of its tasks still runs", "[stop][S-STOP-1][L-11]") {
  support::watchdog dog("tasks taken for lost");
  struct ball {
    dg::promise<int> promise;
    dg::ref<int> ref = promise.get_ref();
  };
  constexpr int turns = 300;
  constexpr std::size_t sleepers = 500;
  for (int round = 0; round < 20; ++round) {
    // Two tasks wake each other in turns; the many waiting tasks between them make each scan of the closer long.
    std::vector<ball> there(turns), back(turns);
    ball last;
    std::vector<dg::ref<int>> others;
    dg::ref<void> first, second, submits;
    struct body {
      static dg::task<void> plays(std::vector<ball>& hits, std::vector<ball>& awaits, bool begins, ball* end) {
        for (std::size_t i = 0; i < awaits.size(); ++i) {
          if (begins) hits[i].promise.set_value(0);
          co_await awaits[i].ref;
          if (!begins) hits[i].promise.set_value(0);
        }
        if (end != nullptr) end->promise.set_value(7);
      }
    };
    {
      dg::thread_pool pool(2);
      second = pool.submit(body::plays, std::ref(back), std::ref(there), false, nullptr);
      for (std::size_t i = 0; i < sleepers; ++i) others.push_back(pool.submit([](int n) { return n; }, last.ref));
      first = pool.submit(body::plays, std::ref(there), std::ref(back), true, &last);
    }
    CHECK_FALSE(first.failed());
    CHECK_FALSE(second.failed());
    std::size_t right = 0;
    for (auto& each : others) right += !each.failed() && each.get() == 7;
    REQUIRE(right == sleepers);
  }
}

TEST_CASE("a closing pool takes no task for lost that was just submitted, or whose wait has just ended",
          "[stop][S-STOP-1][L-11]") {
  support::watchdog dog("tasks taken for lost");
  SECTION("submitted by a running task, and waiting for it") {
    std::vector<dg::ref<int>> all;
    {
      dg::thread_pool pool(2);
      pool.submit([&] {
        for (int i = 0; i < 20'000; ++i) {
          dg::promise<int> p;
          all.push_back(pool.submit([](int n) { return n; }, p.get_ref()));
          p.set_value(i);
        }
      });
    }
    REQUIRE(all.size() == 20'000);
    for (int i = 0; i < 20'000; ++i) REQUIRE(all[static_cast<std::size_t>(i)].get() == i);
  }
  SECTION("blocked on a thread, and about to fulfil the promise that another task waits for") {
    for (int round = 0; round < 1000; ++round) {
      dg::promise<int> fulfilled;
      dg::ref<int> waits;
      support::gate closing;
      {
        dg::thread_pool pool(2);
        waits = pool.submit([](int n) { return n; }, fulfilled.get_ref());
        dg::ref<void> first = pool.submit([&closing] { closing.pass(); });
        pool.submit(
            [&fulfilled](dg::ref<void> r) {
              r.get();
              fulfilled.set_value(7);
            },
            dg::unresolved(first));
        closing.open();
      }
      REQUIRE(!waits.failed());
    }
  }
}

TEST_CASE("a drain also waits for tasks that only the outside can release", "[stop][shutdown]") {
  support::watchdog dog("shutdown(drain)");
  dg::manual_executor manual;
  std::atomic<bool> closing{false}, closed{false}, was_ready{false};
  dg::thread_pool pool(1);
  dg::ref<int> outside = dg::on(manual).submit([] { return 20; });
  dg::ref<int> dependent = pool.submit([](int value) { return value + 1; }, outside);
  std::thread closer([&] {
    closing = true;
    pool.shutdown(dg::shutdown_mode::drain);
    was_ready = dependent.ready();
    closed = true;
  });
  REQUIRE(support::eventually([&] { return closing && is_stopped(pool); }));
  CHECK_FALSE(closed);
  manual.run_all();
  closer.join();
  CHECK(was_ready);
  CHECK(dependent.get() == 21);
}

TEST_CASE("work destroyed unrun ends its task with cancelled_error", "[stop][S-STOP-5]") {
  support::watchdog dog("work destroyed unrun");
  support::tracked::reset();
  SECTION("by an executor that discards it") {
    discarding_executor discards;
    dg::ref<int> plain = dg::on(discards).submit([kept = support::tracked(1)] { return kept.value; });
    REQUIRE(plain.ready());
    CHECK(is_cancelled(plain.error()));
    CHECK(is_cancelled(plain.completion().error()));
    auto stream = dg::on(discards).submit(count_to, 3);
    auto item = stream.next();
    REQUIRE(item.has_value());
    CHECK(is_cancelled(item->error()));
    CHECK_FALSE(stream.next().has_value());
    auto fixed = dg::on(discards).options(dg::num_returns<2>{}).submit(count_to, 2);
    for (auto& each : fixed) CHECK(is_cancelled(each.error()));
    auto list = dg::on(discards).options(dg::dynamic).submit(count_to, 2);
    CHECK(is_cancelled(list.error()));
  }
  SECTION("by an executor that is destroyed") {
    dg::ref<int> plain, dependent;
    std::vector<dg::ref<int>> fixed;
    std::optional<dg::ref_stream<int>> parked;
    {
      dg::manual_executor manual;
      parked = dg::on(manual).options(dg::backpressure{1}).submit([]() -> dg::generator<int> {
        support::tracked local(3);
        for (int i = 0; i < 10; ++i) co_yield i;
      });
      manual.run_all();
      CHECK(parked->next_value() == std::optional<int>(0));
      plain = dg::on(manual).submit([kept = support::tracked(1)] { return kept.value; });
      dependent = dg::on(manual).submit([](int value) { return value; }, plain);
      fixed = dg::on(manual).options(dg::num_returns{2}).submit(count_to, 2);
    }
    CHECK(is_cancelled(plain.error()));
    CHECK(is_cancelled(dependent.error()));
    for (auto& each : fixed) CHECK(is_cancelled(each.error()));
    auto item = parked->next();
    REQUIRE(item.has_value());
    CHECK(is_cancelled(item->error()));
    CHECK_FALSE(parked->next().has_value());
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("handles outlive their pool", "[stop][S-STOP-1][S-MEM-5]") {
  support::watchdog dog("handles outlive the pool");
  support::tracked::reset();
  {
    dg::ref<support::tracked> value;
    dg::ref_list<support::tracked> list;
    dg::ref<void> completion;
    std::optional<dg::ref_stream<support::tracked>> stream;
    {
      dg::thread_pool pool(2);
      auto make = [](int n) -> dg::generator<support::tracked> {
        for (int i = 0; i < n; ++i) co_yield i;
      };
      value = pool.submit([] { return support::tracked(11); });
      list = pool.options(dg::dynamic).submit(make, 100).get();
      stream = pool.submit(make, 20);
      completion = pool.submit([] {}).completion();
    }
    CHECK(value.get().value == 11);
    CHECK(value.cancel() == false);
    REQUIRE(list.size() == 100);
    CHECK(list[99].get().value == 99);
    CHECK(list.at(0).get().value == 0);
    CHECK(completion.ready());
    int seen = 0;
    while (auto item = stream->next()) seen += item->get().value == seen ? 1 : 0;
    CHECK(seen == 20);
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("reusable option packs and refs of a dead pool can be dropped anywhere", "[stop][S-MEM-8]") {
  support::watchdog dog("dropping after the pool");
  support::tracked::reset();
  std::vector<dg::ref<support::tracked>> refs;
  {
    dg::thread_pool pool(1);
    auto named = pool.options(dg::name{"kept"});
    for (int i = 0; i < 100; ++i) refs.push_back(named.submit([i] { return support::tracked(i); }));
  }
  std::thread dropper([moved = std::move(refs)]() mutable { moved.clear(); });
  dropper.join();
  CHECK(support::tracked::live == 0);
}

TEST_CASE("pools are created and destroyed quickly", "[stop][S-STOP-1]") {
  support::watchdog dog("many short-lived pools");
  std::atomic<int> ran{0};
  for (int i = 0; i < 300; ++i) {
    dg::thread_pool pool(static_cast<std::size_t>(1 + i % 4));
    if (i % 3 != 0) pool.submit([&] { ++ran; });
  }
  CHECK(ran == 200);
}

}  // namespace test_stopping
