// SPDX-License-Identifier: MIT
// Pools that are destroyed while threads wait on their refs, read their streams or help them, and by their own tasks.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_destroying_pools {

using namespace std::chrono_literals;
using support::count_to;
using support::is_cancelled;
using support::is_stopped;

namespace {

dg::generator<int> count_without_end() {
  for (int i = 0;; ++i) co_yield i;
}

/// Opens a gate when its thread ends.
thread_local struct gate_opener {
  support::gate* opens = nullptr;
  ~gate_opener() {
    if (opens != nullptr) opens->open();
  }
} at_end_of_thread;

}  // namespace

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

}  // namespace test_destroying_pools
