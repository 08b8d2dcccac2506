// SPDX-License-Identifier: MIT
// How observers look at tasks while other threads run them: an observer reads the inside of a task that is parked, or
// follows the list of what a thread runs, while the task is claimed, left, and freed. An observer reads nothing that
// another thread writes at the same time or has freed. Uses the real dyngen/detail/task/inspector.hpp, for which other
// models have a substitute.

#include "model.hpp"

#include <dyngen/detail/base/thread_context.hpp>

#if !defined(OBSERVER_UNDER_TEST)  // mutants.py has another one
#  define OBSERVER_UNDER_TEST "../../include/dyngen/detail/task/inspector.hpp"
#endif
#include OBSERVER_UNDER_TEST

#include <dyngen/detail/task/state_word.hpp>

using namespace dyngen;
using detail::phase;
using detail::running_task;
using detail::state_word;

namespace {

/// While an observer looks at a parked task, one of several threads claims it and changes what it awaits [O1].
template <unsigned Claimers>
struct parked : rl::test_suite<parked<Claimers>, 1 + Claimers> {
  detail::inspector all;
  state_word state;
  model::shared<unsigned> awaited;

  void before() {
    detail::model::fences_are_refused = rl::rand(2) == 0;
    state.begin_queued(0);
    MODEL_CHECK(state.pop());
    awaited.set(0);
    MODEL_CHECK(state.park(0));
  }
  void thread(unsigned index) {
    if (index != 0) {
      if (!state.claim_parked()) return;
      all.wait_for_inspector(&state);
      awaited.set(awaited.get() + 1);
      return (void)state.park(0);
    }
    for (int i = 0; i < 2; ++i) {
      detail::inspector::look looking(all);
      looking.at(&state, [this]() noexcept {
        if (state_word::phase_of(state.load()) == phase::parked) MODEL_CHECK(awaited.get() <= Claimers);
      });
    }
  }
  void after() { MODEL_CHECK(state_word::phase_of(state.load()) == phase::parked); }
};

/// Threads run tasks, one nested in the other, and free each one after it has run, while an observer looks at all
/// running tasks [O2].
template <unsigned Runners>
struct running : rl::test_suite<running<Runners>, 1 + Runners> {
  struct task {
    running_task entry{nullptr, nullptr};
    model::shared<unsigned> lives;  // set by the thread that runs the task, until the task is freed
  };
  detail::inspector all;
  detail::thread_context threads[Runners];
  task tasks[Runners][2];

  void before() { detail::model::fences_are_refused = rl::rand(2) == 0; }
  void thread(unsigned index) {
    if (index != 0) {
      detail::thread_context& here = threads[index - 1];
      all.add(here);
      run(here, tasks[index - 1], 0);
      return all.forget(here);
    }
    detail::inspector::look looking(all);
    looking.for_each_running([this](const running_task& entry, const running_task* inner) {
      task& seen = of(entry);
      MODEL_CHECK(seen.lives.get() == 1);
      if (inner != nullptr) MODEL_CHECK(of(*inner).lives.get() == 1 && &of(*inner) == &seen + 1);
    });
  }
  void run(detail::thread_context& here, task* some, unsigned depth) {
    some[depth].lives.set(1);
    all.show(here, some[depth].entry);
    if (depth == 0) run(here, some, 1);
    all.hide(here, some[depth].entry);
    some[depth].lives.set(2);
  }
  task& of(const running_task& entry) {
    for (auto& some : tasks)
      for (task& each : some)
        if (&each.entry == &entry) return each;
    MODEL_CHECK(false);
    return tasks[0][0];
  }
  void after() {}
};

/// An observer that has stopped in the middle of its look delays only a thread that needs the watched task: it
/// continues only when the other threads have run their tasks. One of them adds itself meanwhile.
struct stopped : rl::test_suite<stopped, 2> {
  detail::inspector all;
  detail::thread_context others;
  int watched = 0;
  int task = 0;
  running_task entry{nullptr, nullptr};
  detail::atomic<std::uint32_t> over{0};

  void before() { detail::model::fences_are_refused = rl::rand(2) == 0; }
  void thread(unsigned index) {
    if (index == 0) {
      detail::inspector::look looking(all);
      return looking.at(&watched, [this]() noexcept {
        while (over.load(detail::seq_cst) == 0) detail::sleep_on(over, 0);
      });
    }
    all.add(others);
    all.wait_for_inspector(&task);
    detail::inspector::show(others, entry);
    all.hide(others, entry);
    over.store(1, detail::seq_cst);
    detail::wake_all(over);
    all.forget(others);
  }
  void after() {}
};

/// Threads add and remove themselves while an observer walks their list.
struct known : rl::test_suite<known, 3> {
  detail::inspector all;
  detail::thread_context threads[2];
  void before() { detail::model::fences_are_refused = rl::rand(2) == 0; }
  void thread(unsigned index) {
    if (index == 0) {
      detail::inspector::look looking(all);
      return looking.for_each_running([](const running_task&, const running_task*) noexcept { MODEL_CHECK(false); });
    }
    for (int i = 0; i < 2; ++i) {
      all.add(threads[index - 1]);
      all.forget(threads[index - 1]);
    }
  }
  void after() {}
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<parked<1>>("one task, one claimer");
  run.exhaustive<parked<2>>("one task, two claimers");
  run.random<parked<2>>("one task, two claimers");
  run.exhaustive<stopped>("an observer that has stopped");
  run.exhaustive<known>("threads that come and go");
  run.random<known>("threads that come and go");
  run.exhaustive<running<1>>("one thread that runs tasks");
  run.random<running<2>>("two threads that run tasks");
  return run.finish();
}
