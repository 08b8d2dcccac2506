// SPDX-License-Identifier: MIT
// Coroutines that wait without a thread, for promises fulfilled by others, for several of them, for a stream's next
// item; the same promises waited for by threads, some of which give up, and by tasks that are submitted with them. In
// whatever order the threads fulfil, cancel, park and give up: no waiter sleeps for ever, the thread that wakes a task
// runs none of it, and nothing leaks.

#include "executors.hpp"

using namespace dyngen;
using model::movable;

namespace {

/// One task awaits a promise, and parks; two other threads fulfil it and perhaps cancel the task. If it is never
/// fulfilled, the cancel alone must wake the task [S-CANCEL-7].
enum class wakes { value, value_or_cancel, cancel };

task<int> await_one(model::shared<int>& steps, ref<movable> r) {
  steps.set(1);
  const movable& got = co_await r;
  steps.set(steps.get() + 1);
  co_return got.number();
}

template <wakes How, unsigned Workers>
struct awaits_a_promise : model::tasks_model<awaits_a_promise<How, Workers>, Workers, How == wakes::value ? 2 : 3> {
  model::shared<int> steps;  // in the task's code
  std::optional<promise<movable>> given;
  std::optional<ref<int>> result[2];

  void begin() {
    steps.set(0);
    given.emplace();
    result[0].emplace(this->on_workers().submit(await_one, std::ref(steps), given->get_ref()));
    result[1].emplace(*result[0]);
  }
  void other(unsigned number) {
    if (number == 0) {
      if (How != wakes::cancel) given->set_value(movable(10));
      return;
    }
    const ref<int> mine = *std::exchange(result[number - 1], std::nullopt);
    if (number == 2) mine.cancel();
    mine.wait();
    if (mine.failed())
      MODEL_CHECK(How != wakes::value && model::was_cancelled(mine));
    else
      MODEL_CHECK(How != wakes::cancel && mine.get() == 10 && steps.get() == 2);
  }
  void end() {
    given.reset();
    for (auto& each : result) each.reset();
  }
};

/// A task awaits both or any of two promises, and is cancelled while it is registered at one of them.
task<int> await_all(ref<movable> a, ref<movable> b) {
  auto [x, y] = co_await when_all(a, b);
  co_return x.number() + y.number();
}
task<int> await_any(ref<movable> a, ref<movable> b) {
  std::array<ref<movable>, 2> both{a, b};
  const std::size_t first = co_await when_any(both);
  MODEL_CHECK(both[first].ready());
  co_return both[first].get().number();
}

template <bool All, bool Cancelled>
struct awaits_two : model::tasks_model<awaits_two<All, Cancelled>, 1, 3> {
  std::optional<promise<movable>> given[2];
  std::optional<ref<int>> result;

  void begin() {
    for (auto& each : given) each.emplace();
    result.emplace(
        this->on_workers().submit(All ? await_all : await_any, given[0]->get_ref(), given[1]->get_ref()));
  }
  void other(unsigned number) {
    if (number != 2) return given[number]->set_value(movable(10 + static_cast<int>(number)));
    const ref<int> mine = std::move(*result);
    if (Cancelled) mine.cancel();
    mine.wait();
    if (mine.failed())
      MODEL_CHECK(Cancelled && model::was_cancelled(mine));
    else
      MODEL_CHECK(All ? mine.get() == 21 : mine.get() == 10 || mine.get() == 11);
  }
  void end() {
    for (auto& each : given) each.reset();
    result.reset();
  }
};

/// A coroutine reads the stream of another one, each on a worker of its own; the reader may be cancelled, which drops the
/// stream [L-7].
generator<movable> count_two() {
  for (int i = 0; i != 2; ++i) co_yield movable(10 + i);
}
task<int> add_up(ref_stream<movable> all) {
  int sum = 0;
  for (;;) {
    const std::optional<ref<movable>> next = co_await all.async_next();
    if (!next) co_return sum;
    sum += next->get().number();
  }
}

template <bool Cancelled>
struct reads_a_stream : model::tasks_model<reads_a_stream<Cancelled>, 2, 1> {
  std::optional<ref<int>> result;

  void begin() {
    result.emplace(this->on_workers().submit(add_up, this->on_workers().options(backpressure{1}).submit(count_two)));
  }
  void other(unsigned) {
    const ref<int> mine = std::move(*result);
    if (Cancelled) mine.cancel();
    mine.wait();
    MODEL_CHECK(mine.failed() ? Cancelled && model::was_cancelled(mine) : mine.get() == 21);
  }
  void end() { result.reset(); }
};

/// A task yields to other tasks, while it is cancelled.
struct lets_others_run : model::tasks_model<lets_others_run, 2, 1> {
  model::shared<int> steps;
  std::optional<ref<int>> result;

  void begin() {
    steps.set(0);
    result.emplace(on_workers().submit(
        [](lets_others_run* m) -> task<int> {
          for (int i = 0; i != 2; ++i) {
            m->steps.set(m->steps.get() + 1);
            co_await this_task::yield();
          }
          co_return m->steps.get();
        },
        this));
  }
  void other(unsigned) {
    const ref<int> mine = std::move(*result);
    mine.cancel();
    mine.wait();
    MODEL_CHECK(mine.failed() ? model::was_cancelled(mine) : mine.get() == 2);
  }
  void end() { result.reset(); }
};

/// A promise is fulfilled, or goes unfulfilled; one thread waits, and moves the value out if it has the only
/// handle; another thread gives up at any moment, or asks only for the end.
enum class fulfilment { value, exception, broken };

template <fulfilment How>
struct promised : rl::test_suite<promised<How>, 3> {
  model::fresh_start fresh;
  std::optional<promise<movable>> given;
  std::optional<ref<movable>> refs[2];

  void before() {
    given.emplace();
    for (auto& each : refs) each.emplace(given->get_ref());
  }
  void thread(unsigned index) {
    if (index == 0) {
      if (How == fulfilment::value) given->set_value(movable(10));
      if (How == fulfilment::exception) given->set_exception(std::make_exception_ptr(0));
      given.reset();
      return;
    }
    ref<movable> mine = *std::exchange(refs[index - 1], std::nullopt);
    if (index == 2) {
      const ref<void> end = mine.completion();
      if (mine.wait_for(std::chrono::seconds(1))) MODEL_CHECK(end.ready());
      if (!end.ready()) return;
    } else {
      mine.wait();
    }
    MODEL_CHECK(mine.failed() == (How != fulfilment::value));
    if (!mine.failed()) MODEL_CHECK(std::move(mine).get().number() == 10);
  }
  void after() { model::check_all_gone(); }
};

/// Threads wait only for the end of a task.
struct promised_nothing : rl::test_suite<promised_nothing, 3> {
  model::fresh_start fresh;
  model::shared<int> written;
  std::optional<promise<void>> given;
  std::optional<ref<void>> refs[2];

  void before() {
    given.emplace();
    for (auto& each : refs) each.emplace(given->get_ref());
  }
  void thread(unsigned index) {
    if (index == 0) {
      written.set(1);
      given->set_value();
      given.reset();
      return;
    }
    const ref<void> mine = *std::exchange(refs[index - 1], std::nullopt);
    if (index == 1)
      mine.wait();
    else if (!mine.ready() && !mine.wait_for(std::chrono::seconds(1)))
      return;
    MODEL_CHECK(written.get() == 1);
  }
  void after() { model::check_all_gone(); }
};

/// A task is submitted with two promises as its arguments, just when they are fulfilled: it starts when both are.
struct depends : model::tasks_model<depends, 1, 3> {
  std::optional<promise<movable>> given[2];
  std::optional<ref<movable>> awaited[2];

  void begin() {
    for (int i = 0; i != 2; ++i) {
      given[i].emplace();
      awaited[i].emplace(given[i]->get_ref());
    }
  }
  void other(unsigned number) {
    if (number != 2) return given[number]->set_value(movable(10));
    auto add = [](const movable& a, const movable& b) { return a.number() + b.number(); };
    const ref<int> sum = on_workers().submit(add, std::move(*awaited[0]), std::move(*awaited[1]));
    for (auto& each : awaited) each.reset();
    sum.wait();
    MODEL_CHECK(sum.get() == 20);
  }
  void end() {
    MODEL_CHECK(executor->blocked == 0);
    for (auto& each : given) each.reset();
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<awaits_a_promise<wakes::value, 1>>("awaits a promise", 0);
  run.random<awaits_a_promise<wakes::value, 2>>("awaits a promise", 50);
  run.random<awaits_a_promise<wakes::value_or_cancel, 1>>("awaits a promise, and is cancelled", 50);
  run.random<awaits_a_promise<wakes::cancel, 2>>("awaits what never comes, and is cancelled", 50);
  run.random<awaits_two<true, false>>("awaits two", 30);
  run.random<awaits_two<true, true>>("awaits two, and is cancelled", 30);
  run.random<awaits_two<false, false>>("awaits any of two", 30);
  run.random<awaits_two<false, true>>("awaits any of two, and is cancelled", 30);
  run.random<reads_a_stream<false>>("reads a stream", 30);
  run.random<reads_a_stream<true>>("reads a stream, and is cancelled", 30);
  run.random<lets_others_run>("lets others run", 30);
  run.exhaustive<depends>("is submitted with what is being promised", 0);
  run.random<depends>("is submitted with what is being promised", 50);
  run.exhaustive<promised<fulfilment::value>>("promised", 0);
  run.random<promised<fulfilment::value>>("promised", 50);
  run.random<promised<fulfilment::exception>>("promised, and failed", 20);
  run.random<promised<fulfilment::broken>>("promised, and broken", 20);
  run.exhaustive<promised_nothing>("an end is promised", 0);
  run.random<promised_nothing>("an end is promised", 30);
  return run.finish();
}
