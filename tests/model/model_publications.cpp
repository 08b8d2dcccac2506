// SPDX-License-Identifier: MIT
// An executor runs work inside execute(), while a publication fires waiters: that work waits for a thread and for a
// task which the same publication wakes. So no waiter may be claimed but not yet woken while user code runs.

#include "executors.hpp"

using namespace dyngen;

namespace {

struct at_once {
  void execute(work w) noexcept { w(); }
};

/// A value releases a task that runs at once, a task of the workers, and a thread. The first waits for both others.
struct three_wait_for_a_value : model::tasks_model<three_wait_for_a_value, 1, 2> {
  at_once mine;
  std::optional<promise<int>> value;
  std::optional<promise<void>> seen;
  std::optional<ref<int>> in, second;
  std::optional<ref<void>> was_seen;
  std::optional<ref<int>> first;

  void begin() {
    value.emplace();
    seen.emplace();
    in.emplace(value->get_ref());
    was_seen.emplace(seen->get_ref());
    first.emplace(on(mine).submit(
        [this](int x) {
          was_seen->wait();
          return x + second->get();
        },
        *in));
    second.emplace(on_workers().submit([](int x) { return x + 1; }, *in));
  }
  void other(unsigned number) {
    if (number == 0) return value->set_value(1);
    std::exchange(in, std::nullopt)->wait();
    seen->set_value();
  }
  void end() {
    MODEL_CHECK(first->get() == 3);
    first.reset();
    second.reset();
    was_seen.reset();
    value.reset();
    seen.reset();
  }
};

/// Two tasks that run at once, of which the first waits for the second, beside a thread that waits for the end of both.
struct two_run_at_once : model::tasks_model<two_run_at_once, 1, 2> {
  at_once mine;
  std::optional<promise<int>> value;
  std::optional<ref<int>> first, second;

  void begin() {
    value.emplace();
    const ref<int> in = value->get_ref();
    first.emplace(on(mine).submit([this](int x) { return x + second->get(); }, in));
    second.emplace(on(mine).submit([](int x) { return x + 1; }, in));
  }
  void other(unsigned number) {
    if (number == 0) return value->set_value(1);
    MODEL_CHECK(first->get() == 3);
  }
  void end() {
    first.reset();
    second.reset();
    value.reset();
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.random<three_wait_for_a_value>("three wait for a value", 20);
  run.random<two_run_at_once>("two run at once", 20);
  return run.finish();
}
