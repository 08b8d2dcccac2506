// SPDX-License-Identifier: MIT
// A pool whose injection queue is in the middle of a push: a thread that has begun one and does not go on, as if the system
// had taken its processor away.

#include "../catch.hpp"
#include "../support.hpp"

#include <optional>
#include <thread>
#include <utility>

namespace dyngen::detail {

/// Makes the two halves of a push of which the pool has only the whole.
struct inside_of_pool {
  explicit inside_of_pool(thread_pool& pool) : core(static_cast<pool_core&>(pool.task_host_of())) {}

  void begin_push(task_record& task) {
    item = &task;
    before = core.injected_.begin_push(item);
  }
  void complete_push() {
    core.injected_.complete_push(before, item);
    core.somebody_may_pop();
  }
  /// As after any push of another thread.
  void notify() { core.seats_.notify(); }
  /// Are all workers asleep for good? Then none has parked once more after some time.
  bool all_sleep() {
    const auto parked = [this] { return core.seats_.parked() == core.width(); };
    if (!support::eventually(parked)) return false;
    const std::uint64_t parks = core.stats().parks;
    for (int i = 0; i < 300; ++i) std::this_thread::yield();
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
    // Others push behind it, and wake workers in vain.
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
  core.add_host_reference();  // as the pusher of a task of the pool has one
  inside.begin_push(later.take());
  pool.reset();
  inside.complete_push();
  CHECK_FALSE(result.ready());
  core.drop_host_reference();
  REQUIRE(result.ready());
  CHECK_THROWS_AS(result.get(), dg::cancelled_error);
}
