// SPDX-License-Identifier: MIT
// How tasks are looked at while others run them: an observer reads the inside of a task that is parked, or follows the
// list of what a thread runs, while the task is claimed, left, and freed. Nothing is touched that somebody writes or has
// freed. The real dyngen/detail/observer.hpp, which other models have a substitute for.

#include "model.hpp"

#include <dyngen/detail/context.hpp>

#define constinit  // Relacy's mutex has no constant initialization; nobody here calls everybody()
#if !defined(OBSERVER_UNDER_TEST)  // mutants.py has another one
#  define OBSERVER_UNDER_TEST "../../include/dyngen/detail/observer.hpp"
#endif
#include OBSERVER_UNDER_TEST
#undef constinit

#include <dyngen/detail/state_word.hpp>

using namespace dyngen;
using detail::phase;
using detail::running_task;
using detail::state_word;

namespace {

/// A parked task is claimed by one of several, who change what it awaits, while it is looked at [O1].
template <unsigned Claimers>
struct parked : rl::test_suite<parked<Claimers>, 1 + Claimers> {
  detail::observers all;
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
      all.give_way();
      awaited.set(awaited.get() + 1);
      return (void)state.park(0);
    }
    for (int i = 0; i < 2; ++i) {
      detail::observers::look looking(all);
      if (state_word::phase_of(state.load()) == phase::parked) MODEL_CHECK(awaited.get() <= Claimers);
    }
  }
  void after() { MODEL_CHECK(state_word::phase_of(state.load()) == phase::parked); }
};

/// Threads run tasks, one inside the other, and free them once they have left them, while all that run are looked at [O2].
template <unsigned Runners>
struct running : rl::test_suite<running<Runners>, 1 + Runners> {
  struct task {
    running_task entry{nullptr, nullptr};
    model::shared<unsigned> lives;  // set by who runs it, until it is freed
  };
  detail::observers all;
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
    detail::observers::look looking(all);
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

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<parked<1>>("one task, one claimer");
  run.exhaustive<parked<2>>("one task, two claimers");
  run.random<parked<2>>("one task, two claimers");
  run.exhaustive<running<1>>("one thread that runs tasks");
  run.random<running<2>>("two threads that run tasks");
  return run.finish();
}
