// SPDX-License-Identifier: MIT
// How a pool ends: which tasks still run, which are cancelled, and which errors are reported.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_stopping {

namespace {

using support::count_to;
using support::is_cancelled;
using namespace std::chrono_literals;

dg::generator<int> count_without_end() {
  for (int i = 0;; ++i) co_yield i;
}

bool is_stopped(dg::thread_pool& pool) {
  try {
    pool.submit([] {});
    return false;
  } catch (const dg::pool_stopped&) {
    return true;
  }
}

void submit_tree(dg::thread_pool* pool, std::atomic<int>* ran, int depth) {
  ++*ran;
  if (depth == 0) return;
  for (int i = 0; i < 2; ++i) pool->submit(submit_tree, pool, ran, depth - 1);
}

/// Opens a gate when its thread ends.
thread_local struct gate_opener {
  support::gate* opens = nullptr;
  ~gate_opener() {
    if (opens != nullptr) opens->open();
  }
} at_end_of_thread;

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

TEST_CASE("shutdown(cancel) cancels waiting and suspended tasks, and waits for running ones", "[stop][S-STOP-2]") {
  support::watchdog dog("shutdown(cancel)");
  dg::manual_executor manual;
  dg::ref<int> outside = dg::on(manual).submit([] { return 1; });
  support::gate running, let_go;
  std::atomic<bool> run_ended{false}, seen_ended{false};
  std::atomic<int> produced{0}, queued_ran{0};
  dg::thread_pool pool(1);

  auto stream = pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
    for (;;) {
      ++produced;
      co_yield 1;
    }
  });
  REQUIRE(support::eventually([&] { return produced == 1; }));
  dg::ref<int> runs = pool.submit([&] {
    running.open();
    let_go.pass();
    run_ended = true;
    return 9;
  });
  running.pass();
  dg::ref<int> waits = pool.submit([](int value) { return value; }, outside);
  std::vector<dg::ref<int>> queued;
  for (int i = 0; i < 100; ++i)
    queued.push_back(pool.submit([&, i] {
      ++queued_ran;
      return i;
    }));

  std::thread closer([&] {
    pool.shutdown(dg::shutdown_mode::cancel);
    seen_ended = run_ended.load();
  });
  REQUIRE(support::eventually([&] { return is_stopped(pool); }));
  CHECK_FALSE(run_ended);
  let_go.open();
  closer.join();

  CHECK(seen_ended);
  CHECK(runs.get() == 9);
  REQUIRE(waits.ready());
  CHECK(is_cancelled(waits.error()));
  REQUIRE(stream.completion().ready());
  CHECK(is_cancelled(stream.completion().error()));
  CHECK(produced == 1);
  int cancelled = 0;
  for (auto& each : queued) {
    REQUIRE(each.ready());
    cancelled += is_cancelled(each.error()) ? 1 : 0;
  }
  CHECK(cancelled + queued_ran == 100);
  CHECK(cancelled > 0);
}

TEST_CASE("shutdown(cancel) ends tasks that would run for ever", "[stop][S-STOP-2][S-CANCEL-6]") {
  support::watchdog dog("shutdown of endless tasks");
  std::atomic<int> attempts{0}, yields{0}, values{0}, awaited{0};
  dg::thread_pool pool(2);
  auto retried = pool.options(dg::max_retries{2'000'000'000}).submit([&]() -> int {
    ++attempts;
    throw support::boom();
  });
  auto yielding = pool.submit([&]() -> dg::task<int> {
    for (;; ++yields) co_await dg::this_task::yield();
  });
  auto detached = pool.submit([&]() -> dg::generator<int> {
    for (;; ++values) co_yield 1;
  });
  auto detached_end = detached.completion();
  std::move(detached).detach();
  auto awaiting = pool.submit([&](dg::thread_pool* own) -> dg::task<int> {
    for (;; ++awaited) co_await own->submit([] {});
  }, &pool);
  while (attempts == 0 || yields == 0 || values == 0 || awaited == 0) std::this_thread::yield();
  pool.shutdown(dg::shutdown_mode::cancel);
  CHECK(retried.failed());
  CHECK(is_cancelled(yielding.error()));
  CHECK(is_cancelled(detached_end.error()));
  CHECK(is_cancelled(awaiting.error()));
}

TEST_CASE("shutdown(cancel) ends coroutines whose awaits never suspend", "[stop][S-STOP-2][S-CANCEL-7]") {
  support::watchdog dog("shutdown of awaits that are always ready");
  static std::atomic<int> rounds{0};
  using loop = dg::task<int> (*)(dg::thread_pool&);
  auto tick = []() -> dg::task<int> { co_return 1; };
  static auto child = tick;
  const loop loops[] = {
      [](dg::thread_pool&) -> dg::task<int> { for (;; ++rounds) co_await child(); },
      [](dg::thread_pool&) -> dg::task<int> { for (;; ++rounds) co_await dg::when_all(child(), child()); },
      [](dg::thread_pool&) -> dg::task<int> {
        const dg::ref<int> there = dg::put(1);
        for (;; ++rounds) co_await there;
      },
      [](dg::thread_pool& pool) -> dg::task<int> {
        auto stream = pool.submit([]() -> dg::generator<int> {
          for (;;) co_yield 1;
        });
        for (;; ++rounds) co_await stream.async_value();
      },
  };
  for (const loop each : loops) {
    dg::thread_pool_options o;
    o.threads = 1;
    o.waiters_help = false;
    dg::thread_pool pool(std::move(o));
    rounds = 0;
    const dg::ref<int> endless = pool.submit(each, std::ref(pool));
    while (rounds < 1000) std::this_thread::yield();
    pool.shutdown(dg::shutdown_mode::cancel);
    CHECK(is_cancelled(endless.error()));
  }
}

TEST_CASE("a task that submits while its pool is cancelled gets refs that hold cancelled_error",
          "[stop][S-STOP-2][L-11]") {
  support::watchdog dog("submit under shutdown(cancel)");
  support::gate running;
  std::atomic<bool> closing{false}, threw{false};
  dg::thread_pool pool(1);
  dg::ref<int> child;
  dg::ref<void> runs = pool.submit([&] {
    running.open();
    while (!closing) std::this_thread::yield();
    try {
      child = pool.submit([] { return 1; });
    } catch (...) {
      threw = true;
    }
  });
  running.pass();
  std::thread closer([&] { pool.shutdown(dg::shutdown_mode::cancel); });
  REQUIRE(support::eventually([&] { return is_stopped(pool); }));
  closing = true;
  closer.join();
  runs.get();
  CHECK_FALSE(threw);
  REQUIRE(child.valid());
  CHECK(is_cancelled(child.error()));
}

TEST_CASE("a task that begins to wait after its pool was told to cancel is cancelled, though no thread waits for it",
          "[stop][S-STOP-2][L-11]") {
  support::watchdog dog("waits after the cancel");
  dg::thread_pool pool(2);
  support::gate begun, told;
  dg::promise<int> never;
  struct body {
    static dg::task<int> waits_later(support::gate& begun, support::gate& told, dg::ref<int> r) {
      begun.open();
      told.pass();
      co_return co_await r;
    }
  };
  const dg::ref<int> waits = pool.submit(body::waits_later, std::ref(begun), std::ref(told), dg::unresolved(never.get_ref()));
  begun.pass();
  pool.submit([&] { pool.shutdown(dg::shutdown_mode::cancel); }).get();
  told.open();
  CHECK(waits.wait_for(30s));
  CHECK(is_cancelled(waits.error()));
}

TEST_CASE("every form of submit after shutdown throws pool_stopped", "[stop][S-STOP-3]") {
  support::watchdog dog("submit after shutdown");
  for (auto mode : {dg::shutdown_mode::drain, dg::shutdown_mode::cancel}) {
    dg::thread_pool pool(2);
    dg::ref<int> before = pool.submit([] { return 1; });
    before.wait();
    pool.shutdown(mode);
    CHECK(before.get() == 1);
    support::tracked::reset();
    CHECK_THROWS_AS(pool.submit([kept = support::tracked(1)] { return kept.value; }), dg::pool_stopped);
    CHECK_THROWS_AS(pool.submit(count_to, 1), dg::pool_stopped);
    CHECK_THROWS_AS(pool.options(dg::num_returns<2>{}).submit(count_to, 2), dg::pool_stopped);
    CHECK_THROWS_AS(pool.options(dg::dynamic).submit(count_to, 2), dg::pool_stopped);
    CHECK(support::tracked::live == 0);
    pool.shutdown(mode);
    pool.shutdown(dg::shutdown_mode::cancel);
  }
}

TEST_CASE("each submit that races with a shutdown throws or its ref becomes ready", "[stop][S-STOP-3]") {
  support::watchdog dog("submit against shutdown");
  for (int round = 0; round < 60; ++round) {
    const auto mode = round % 2 == 0 ? dg::shutdown_mode::drain : dg::shutdown_mode::cancel;
    std::atomic<int> ran{0}, submitted{0};
    std::atomic<std::size_t> stopped{0};
    dg::thread_pool pool(2);
    constexpr std::size_t submitters = 3;
    std::vector<std::vector<dg::ref<int>>> refs(submitters);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < submitters; ++t)
      threads.emplace_back([&, t] {
        try {
          for (int i = 0;; ++i) {
            refs[t].push_back(pool.submit([&ran, i] {
              ++ran;
              return i;
            }));
            ++submitted;
          }
        } catch (const dg::pool_stopped&) {
          ++stopped;
        }
      });
    while (submitted < 20 * round) std::this_thread::yield();
    pool.shutdown(mode);
    for (auto& thread : threads) thread.join();
    REQUIRE(stopped == submitters);
    int values = 0, cancelled = 0, pending = 0, wrong = 0;
    for (auto& list : refs)
      for (std::size_t i = 0; i < list.size(); ++i) {
        if (!list[i].wait_for(20s))
          ++pending;
        else if (is_cancelled(list[i].error()))
          ++cancelled;
        else if (list[i].get() == static_cast<int>(i))
          ++values;
        else
          ++wrong;
      }
    REQUIRE(pending == 0);
    REQUIRE(wrong == 0);
    REQUIRE(values == ran);
    if (mode == dg::shutdown_mode::drain) REQUIRE(cancelled == 0);
  }
}

TEST_CASE("a pool may be destroyed while threads wait on its refs", "[stop][S-STOP-4][L-10]") {
  support::watchdog dog("destroying a pool under waiting threads");
  for (int round = 0; round < 60; ++round) {
    dg::manual_executor manual;
    dg::ref<int> outside = dg::on(manual).submit([] { return 1; });
    auto pool = std::make_unique<dg::thread_pool>(2);
    dg::ref<int> value = pool->submit([](int v) { return v; }, outside);
    dg::ref<int> other = pool->submit([](int v) { return v; }, outside);
    auto stream = pool->submit(count_to, outside);
    auto running = pool->options(dg::backpressure{1}).submit(count_without_end);
    std::atomic<int> inside{0}, cancelled{0}, any{0}, wrong{0};
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
      ++inside;
      try {
        value.get();
        ++wrong;
      } catch (const dg::cancelled_error&) {
        ++cancelled;
      }
    });
    threads.emplace_back([&] {
      ++inside;
      auto item = stream.next();
      if (item && is_cancelled(item->error()) && !stream.next()) ++cancelled;
    });
    threads.emplace_back([&] {
      ++inside;
      const auto index = dg::wait_any(value, other);
      any = static_cast<int>(index) + 1;
    });
    threads.emplace_back([&] {
      ++inside;
      int expected = 0;
      try {
        while (auto item = running.next_value())
          if (*item != expected++) ++wrong;
        ++wrong;  // only a cancellation ends it
      } catch (const dg::cancelled_error&) {
        ++cancelled;
      }
    });
    while (inside != 4) std::this_thread::yield();
    if (round % 2 == 0)
      for (int i = 0; i < 100; ++i) std::this_thread::yield();
    // The reader above keeps returning credits, so that only this ends its stream soon.
    dg::ref<void> running_task = running.completion();
    std::thread destroyer([&] { pool.reset(); });
    running_task.cancel();
    destroyer.join();
    for (auto& thread : threads) thread.join();
    REQUIRE(wrong == 0);
    REQUIRE(cancelled == 3);
    REQUIRE(any > 0);
  }
}

TEST_CASE("a pool may be destroyed while a thread reads one of its streams to the end", "[stop][S-STOP-4]") {
  support::watchdog dog("destroying a pool under a reader");
  for (int round = 0; round < 100; ++round) {
    auto pool = std::make_unique<dg::thread_pool>(1);
    auto stream = pool->options(dg::backpressure{2}).submit(count_to, 50);
    std::atomic<int> next{0}, wrong{0};
    std::atomic<bool> cancelled{false}, ended{false};
    std::thread reader([&] {
      try {
        while (auto item = stream.next_value())
          if (*item != next++) ++wrong;
        ended = true;
      } catch (const dg::cancelled_error&) {
        cancelled = true;
      }
    });
    while (next < round % 10) std::this_thread::yield();
    pool.reset();
    reader.join();
    REQUIRE(wrong == 0);
    REQUIRE((ended != cancelled));
    if (ended) REQUIRE(next == 50);
  }
}

TEST_CASE("a pool may be destroyed while a thread is on its way out of submit", "[stop][L-10]") {
  support::watchdog dog("destroying a pool under submit");
  for (int round = 0; round < 500; ++round) {
    auto pool = std::make_unique<dg::thread_pool>(1);
    std::atomic<bool> ran{false};
    std::thread submitter([&ran, raw = pool.get()] { raw->submit([&ran] { ran = true; }); });
    while (!ran) std::this_thread::yield();
    pool.reset();
    submitter.join();
  }
  SUCCEED("ended");
}

TEST_CASE("a pool may be destroyed while an outside thread helps it", "[stop][L-10]") {
  support::watchdog dog("destroying a pool under a helper");
  for (int round = 0; round < 200; ++round) {
    auto pool = std::make_unique<dg::thread_pool>(1);
    support::gate busy;
    std::atomic<bool> inside{false};
    dg::ref<void> keeps = pool->submit([&] { busy.pass(); });
    dg::ref<int> helped = pool->submit([&] {
      inside = true;
      return 3;
    });
    std::atomic<int> got{0};
    std::thread helper([&] { got = helped.get(); });
    if (round % 2 == 0)
      while (!inside) std::this_thread::yield();
    busy.open();
    pool.reset();
    helper.join();
    REQUIRE(got == 3);
    REQUIRE(keeps.ready());
  }
}

TEST_CASE("the last owner of a pool may be a task of that pool", "[stop][S-STOP-1][L-11]") {
  support::watchdog dog("pool destroyed by its own task");
  for (std::size_t threads : {1u, 2u}) {
    for (int round = 0; round < 50; ++round) {
      std::atomic<int> ran{0};
      std::vector<dg::ref<void>> refs;
      support::gate given_away;
      {
        auto pool = std::make_shared<dg::thread_pool>(threads);
        refs.push_back(pool->submit([&ran, &given_away, owner = pool]() mutable {
          given_away.pass();
          owner.reset();
          ++ran;
        }));
        for (int i = 0; i < 10; ++i) refs.push_back(pool->submit([&ran] { ++ran; }));
      }
      given_away.open();
      for (auto& each : refs) each.get();
      REQUIRE(ran == 11);
    }
  }
}

TEST_CASE("the last owner of a pool may be a task that a waiting thread runs", "[stop][S-STOP-1][L-11]") {
  support::watchdog dog("pool destroyed by a helped task");
  for (int round = 0; round < 100; ++round) {
    support::gate busy;
    std::atomic<bool> blocked{false}, after{false};
    dg::ref<int> helped;
    dg::ref<void> keeps, queued;
    {
      auto pool = std::make_shared<dg::thread_pool>(1);
      keeps = pool->submit([&] {
        blocked = true;
        busy.pass();
      });
      while (!blocked) std::this_thread::yield();
      helped = pool->submit([owner = pool]() mutable {
        owner.reset();
        return 1;
      });
      queued = pool->submit([&] { after = true; });
    }
    REQUIRE(helped.get() == 1);
    busy.open();
    keeps.get();
    queued.get();
    REQUIRE(after);
  }
}

TEST_CASE("a pool may be shut down by one of its own tasks", "[stop][L-11]") {
  support::watchdog dog("shutdown from inside");
  for (auto mode : {dg::shutdown_mode::drain, dg::shutdown_mode::cancel}) {
    std::atomic<bool> returned{false};
    dg::thread_pool pool(1);
    dg::ref<void> closes = pool.submit([&] {
      pool.shutdown(mode);
      returned = true;
    });
    closes.get();
    CHECK(returned);
    CHECK_THROWS_AS(pool.submit([] {}), dg::pool_stopped);
  }
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

TEST_CASE("a pool destroyed by its only worker, which then waits for something outside, still ends",
          "[stop][L-11]") {
  support::watchdog dog("the last worker blocks after destroying its pool");
  dg::manual_executor outside;
  dg::ref<int> never = dg::on(outside).submit([] { return 1; });
  support::gate alone;
  dg::ref<bool> cancelled;
  {
    auto pool = std::make_shared<dg::thread_pool>(1);
    cancelled = pool->submit(
        [&alone, never](std::shared_ptr<dg::thread_pool> mine) {
          alone.pass();
          auto waits = mine->submit([](int) {}, never);
          mine.reset();
          try {
            waits.get();
          } catch (const dg::cancelled_error&) {
            return true;
          }
          return false;
        },
        pool);
  }
  alone.open();
  CHECK(cancelled.wait_for(10s));
  CHECK(cancelled.get());
}

TEST_CASE("a pool may be destroyed while a worker is blocked in another executor's task", "[stop][S-STOP-1][L-2]") {
  support::watchdog dog("a foreign task blocks while the pool closes");
  struct forwards {
    dg::thread_pool& pool;
    void execute(dg::work w) noexcept { pool.execute(std::move(w)); }
  };
  dg::manual_executor manual;
  dg::ref<int> value = dg::on(manual).submit([] { return 1; });
  dg::ref<int> r;
  support::gate started, goes;
  std::thread later;
  {
    dg::thread_pool pool(1);
    forwards e{pool};
    r = dg::on(e).submit([&, value] {
      started.open();
      while (!is_stopped(pool)) std::this_thread::yield();
      goes.open();
      return value.get();
    });
    started.pass();
    later = std::thread([&] {
      goes.pass();
      std::this_thread::sleep_for(50ms);  // so that it is usually blocked; the result is the same if it is not
      manual.run_all();
    });
  }
  later.join();
  CHECK(r.get() == 1);
}

TEST_CASE("tasks of another executor may block in a pool that ends, with no spare thread to be had", "[stop][L-2]") {
  support::watchdog dog("foreign tasks block while the pool closes");
  struct forwards {
    dg::thread_pool* pool = nullptr;
    void execute(dg::work w) noexcept { pool->execute(std::move(w)); }
  };
  struct nested {
    static int count(forwards& to, int deeper) {
      return deeper == 0 ? 0 : 1 + dg::on(to).submit(count, std::ref(to), deeper - 1).get();
    }
  };
  for (const std::uint32_t spares : {0u, 1u}) {
    forwards e;
    support::gate started, goes;
    std::optional<dg::thread_pool> pool;
    pool.emplace(dg::thread_pool_options{.threads = 2, .waiters_help = false, .max_spare_threads = spares});
    e.pool = &*pool;
    dg::ref<int> r = dg::on(e).submit([&] {
      started.open();
      goes.pass();
      return nested::count(e, 3);
    });
    started.pass();
    pool->submit([&goes] { at_end_of_thread.opens = &goes; }).get();  // by the other worker, which has left when it opens
    pool.reset();
    CHECK(r.get() == 3);
  }
}

}  // namespace test_stopping
