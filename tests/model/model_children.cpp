// SPDX-License-Identifier: MIT
// The children of a when_all in a thread_pool: each runs once, in its parent's place or on the worker that steals it,
// also while the pool is destroyed or cancels its tasks.

#include "pool_model.hpp"

using namespace dyngen;
using model::pool_model;

namespace {

task<model::movable> makes(int number) { co_return model::movable(number); }
task<model::movable> gives(int number, promise<int>& to) {
  to.set_value(number);
  co_return model::movable(number);
}
task<model::movable> awaits(ref<int> other) { co_return model::movable(1 + co_await std::move(other)); }

task<int> sum_of_two() {
  auto [a, b] = co_await when_all(makes(10), makes(11));
  co_return a.number() + b.number();
}
/// The last child, which runs in its parent's place, waits for the first.
task<int> sum_of_two_that_meet() {
  promise<int> given;
  auto [a, b] = co_await when_all(gives(10, given), awaits(given.get_ref()));
  co_return a.number() + b.number();
}
task<int> sum_of_three() {
  promise<int> given;
  std::vector<task<model::movable>> children;
  children.push_back(gives(5, given));
  children.push_back(awaits(given.get_ref()));
  children.push_back(makes(10));
  int sum = 0;
  for (model::movable& each : co_await when_all(std::move(children))) sum += each.number();
  co_return sum;
}

enum class at_the_end { waits, destroys, cancels_all, cancels_it };

/// Each child runs once, in its parent's place or as a task of the worker that steals it, and its parent sees its
/// result. A pool that is destroyed does not take a child for a task that waits for something outside. When cancelled
/// at any moment, all of them end.
template <task<int> (*Parent)(), unsigned Width, at_the_end End>
struct children_of_a_task : pool_model<children_of_a_task<Parent, Width, End>, End == at_the_end::waits ? 1 : 2, Width> {
  std::optional<ref<int>> result;

  void begin() {
    this->make_pool(Width, false);
    result.emplace(this->pool->submit(Parent));
  }
  void other(unsigned index) {
    if (End == at_the_end::destroys && index == 1) return this->pool.reset();
    if (End == at_the_end::cancels_all && index == 1) return this->pool->shutdown(shutdown_mode::cancel);
    if (index == 1) return void(result->cancel());
    const ref<int> mine = *result;
    mine.wait();
    if (mine.failed())
      MODEL_CHECK(End > at_the_end::destroys && model::was_cancelled(mine));
    else
      MODEL_CHECK(mine.get() == 21);
  }
  void end() { result.reset(); }
};

/// Two children that each block their thread, unknown to the library, until the other one runs: no worker sleeps beside a
/// child that another one offers.
struct children_meet_outright : pool_model<children_meet_outright, 1, 2> {
  model::event arrived[2];

  static task<void> meets(model::event* arrived, int i) {
    arrived[i].set();
    arrived[1 - i].wait();
    co_return;
  }
  void begin() { make_pool(2, false); }
  void other(unsigned) {
    (void)pool->submit([this]() -> task<void> { co_await when_all(meets(arrived, 0), meets(arrived, 1)); });
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.random<children_of_a_task<sum_of_two, 2, at_the_end::waits>>("children", 20);
  run.random<children_of_a_task<sum_of_two, 2, at_the_end::destroys>>("children, at the end", 20);
  run.random<children_of_a_task<sum_of_two, 2, at_the_end::cancels_it>>("children of one that is cancelled", 20);
  run.random<children_of_a_task<sum_of_two_that_meet, 1, at_the_end::destroys>>("children that meet, one worker", 20);
  run.random<children_of_a_task<sum_of_two_that_meet, 2, at_the_end::destroys>>("children that meet, at the end", 20);
  run.random<children_of_a_task<sum_of_two_that_meet, 2, at_the_end::cancels_all>>("children that meet, all cancelled", 20);
  run.random<children_of_a_task<sum_of_three, 2, at_the_end::destroys>>("three children, at the end", 20);
  run.random<children_of_a_task<sum_of_three, 2, at_the_end::cancels_it>>("three children of one that is cancelled", 20);
  run.random<children_meet_outright>("children meet outright", 20);
  return run.finish();
}
