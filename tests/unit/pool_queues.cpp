// SPDX-License-Identifier: MIT
// A pool whose injection queue is in the middle of a push: a thread has begun one and does not continue, as if it had
// been preempted.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstdint>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace dyngen::detail {

/// Makes the two halves of a push, which the pool does as a whole.
struct inside_of_pool {
  explicit inside_of_pool(thread_pool& pool) : core(static_cast<pool_core&>(pool.task_host_of())) {}

  void begin_push(task_record& task) {
    item = &task;
    before = core.injected_.begin_push(item);
  }
  void complete_push() {
    core.injected_.complete_push(before, item);
    core.notify_workers_of_injected();
  }
  /// To be called after a push, as every push by another thread does.
  void notify() { core.idle_workers_.notify(); }
  /// Do so many workers sleep for good? Then none has parked again after some time.
  bool all_sleep() { return sleep(core.width()); }
  bool sleep(std::uint32_t workers) {
    const auto parked = [this, workers] { return core.idle_workers_.parked() == workers; };
    if (!support::eventually(parked)) return false;
    const std::uint64_t parks = core.stats().parks;
    for (int i = 0; i < 20; ++i) std::this_thread::yield();
    return core.stats().parks == parks && parked();
  }

  pool_core& core;
  work_item* item = nullptr;
  work_item* before = nullptr;
};

}  // namespace dyngen::detail

namespace {

/// An executor that keeps one work until the test wants it.
struct keeper {
  void execute(dg::work w) noexcept { kept.emplace(std::move(w)); }
  dg::detail::task_record& take() { return std::exchange(kept, std::nullopt)->release(); }
  std::optional<dg::work> kept;
};

}  // namespace

TEST_CASE("workers sleep while a push is half done, and its second half wakes one", "[pool][L-17]") {
  support::watchdog dog("a half done push");
  for (const int threads : {1, 3}) {
    dg::thread_pool pool(threads);
    dg::detail::inside_of_pool inside(pool);
    keeper later;
    dg::ref<int> first = dg::on(later).submit([] { return 1; });
    inside.begin_push(later.take());
    CHECK(inside.all_sleep());
    // Other threads push after it, and wake workers in vain.
    dg::ref<int> second = pool.submit([] { return 2; });
    for (int i = 0; i < 10; ++i) inside.notify();
    CHECK(inside.all_sleep());
    CHECK_FALSE(first.ready());
    inside.complete_push();
    CHECK(first.get() == 1);
    CHECK(second.get() == 2);
    CHECK(inside.all_sleep());
  }
}

TEST_CASE("a push that is half done does not keep the threads of a pool that ends", "[pool][L-11][L-17]") {
  support::watchdog dog("the end of a pool beside a half done push");
  keeper later;
  dg::ref<int> result = dg::on(later).submit([] { return 1; });
  std::optional<dg::thread_pool> pool(std::in_place, 2);
  dg::detail::inside_of_pool inside(*pool);
  dg::detail::pool_core& core = inside.core;
  core.add_host_reference();  // as the thread that pushes a task of the pool has one
  inside.begin_push(later.take());
  pool.reset();
  inside.complete_push();
  CHECK_FALSE(result.ready());
  core.drop_host_reference();
  REQUIRE(result.ready());
  CHECK_THROWS_AS(result.get(), dg::cancelled_error);
}

TEST_CASE("a when_all that is refused sleeps until its tasks elsewhere have ended", "[pool][when_all][L-17]") {
  support::watchdog dog("a refused when_all and a task elsewhere");
  support::gate known, runs, goes_on;
  std::optional<dg::ref<int>> own;
  struct body {
    static dg::task<int> holds_its_worker(support::gate* runs, support::gate* goes_on) {
      runs->open();
      goes_on->pass();  // a wait that the library does not see
      co_return 1;
    }
    static dg::task<int> waits_for(support::gate* runs) {
      runs->pass();
      co_return 2;
    }
    static dg::task<int> all(std::optional<dg::ref<int>>* own, support::gate* known, support::gate* runs, support::gate* goes_on) {
      known->pass();
      auto first = holds_its_worker(runs, goes_on);
      auto second = waits_for(runs);
      co_await dg::when_all(std::move(first), std::move(second), **own);  // its own ref: refused
      co_return 0;
    }
  };
  dg::thread_pool pool({.threads = 2, .waiters_help = false});
  dg::detail::inside_of_pool inside(pool);
  own.emplace(pool.submit(body::all, &own, &known, &runs, &goes_on));
  known.open();
  runs.pass();  // on one worker, while the other one runs the rest
  CHECK(inside.sleep(1));
  CHECK_FALSE(own->ready());
  goes_on.open();
  CHECK_THROWS_AS(own->get(), dg::error);
}

TEST_CASE("a stream dropped by another thread than the one that last took from it leaves only its record",
          "[stream][S-MEM-4]") {
  support::watchdog dog("dropped elsewhere");
  using support::tracked;
  using dg::detail::memory_counter;
  using dg::detail::memory_kind;
  struct body {
    static dg::generator<tracked> endless(tracked argument) {
      const tracked local = argument;
      for (;;) co_yield local;
    }
  };
  tracked::reset();
  const long records = memory_counter::live(memory_kind::record);
  const long frames = memory_counter::live(memory_kind::frame);
  dg::thread_pool pool(1);
  for (int round = 0; round < 3; ++round) {
    dg::ref_stream<tracked> stream = pool.options(dg::backpressure{4}).submit(body::endless, tracked(1));
    CHECK(stream.next()->get().value == 1);
    std::thread([&stream] { stream = {}; }).join();
    CHECK(support::eventually([&] { return tracked::live == 0 && memory_counter::live(memory_kind::frame) == frames; }));
    CHECK(support::eventually([&] { return memory_counter::live(memory_kind::record) <= records + 1; }));
  }
  pool.submit([] {}).wait();
  CHECK(support::eventually([&] { return memory_counter::live(memory_kind::record) == records; }));
}
