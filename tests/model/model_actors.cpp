// SPDX-License-Identifier: MIT
// An actor, its handles and its calls: two workers, threads that submit, cancel and kill. At most one thread is inside
// the object; the calls of one submitter run in their order; each turn is handed on exactly once, so that every call
// ends; the constructor runs once, before all calls, and the destructor once, after them.

#include "executors.hpp"

using namespace dyngen;

namespace {

/// All its members touch `inside`: two threads in it at once are a data race.
struct account {
  explicit account(model::shared<int>& i) : inside(&i) { inside->set(0); }
  account(const account&) = delete;
  ~account() { inside->set(-1); }

  int add(int n) {
    MODEL_CHECK(inside->get() >= 0);
    inside->set(inside->get() + n);
    return inside->get();
  }
  /// Runs until a stop is requested.
  int polls() {
    inside->set(1);
    while (!this_task::stop_requested()) model::yield();
    return 1;
  }
  /// A generator method: it keeps its turn while it is suspended between values.
  generator<int> add_twice(int n) {
    add(n);
    co_yield 1;
    add(n);
    co_yield 2;
  }

  /// Its frame, too, is destroyed only while the call has the turn.
  task<int> waits(ref<int> r) {
    struct leaves {
      ~leaves() { self->add(1); }
      account* self;
    } const on_leaving{this};
    add(1);
    co_return co_await r;
  }

  model::shared<int>* inside;
};

template <class Model, unsigned Workers, unsigned Others>
struct actor_model : model::tasks_model<Model, Workers, Others> {
  model::shared<int> inside;
  std::optional<actor<account>> handles[Others];

  void begin() {
    inside.set(-1);
    handles[0].emplace(this->on_workers().options().template make_actor<account>(std::ref(inside)));
    for (unsigned i = 1; i != Others; ++i) handles[i].emplace(*handles[0]);
  }
  actor<account> take_handle(unsigned number) { return *std::exchange(handles[number], std::nullopt); }
  void end() {
    for (auto& each : handles) each.reset();
    MODEL_CHECK(inside.get() == -1);
  }
};

/// Two submitters of two calls each. Both drop their handles at once: the actor ends after its last call.
template <unsigned Workers>
struct one_at_a_time : actor_model<one_at_a_time<Workers>, Workers, 2> {
  void other(unsigned number) {
    actor<account> mine = this->take_handle(number);
    const ref<int> first = mine.submit(&account::add, 1);
    const ref<int> second = mine.submit(&account::add, 1);
    mine = actor<account>();
    MODEL_CHECK(first.get() < second.get());
    MODEL_CHECK(second.get() <= 4);
  }
};

/// A call that waits for its argument delays the later calls of its submitter, and no call of another submitter.
struct waits_for_its_argument : actor_model<waits_for_its_argument, 1, 3> {
  std::optional<promise<int>> given;
  std::optional<ref<int>> argument;

  void begin() {
    given.emplace();
    argument.emplace(given->get_ref());
    actor_model::begin();
  }
  void other(unsigned number) {
    actor<account> mine = take_handle(number);
    if (number == 2) return given->set_value(1);
    if (number == 1) return (void)mine.submit(&account::add, 1).get();
    const ref<int> first = mine.submit(&account::add, *std::exchange(argument, std::nullopt));
    const ref<int> second = mine.submit(&account::add, 1);
    MODEL_CHECK(first.get() < second.get());
  }
  void end() {
    given.reset();
    actor_model::end();
  }
};

/// A call is cancelled while it waits for its turn, or has it.
struct cancelled_call : actor_model<cancelled_call, 1, 2> {
  void other(unsigned number) {
    actor<account> mine = take_handle(number);
    const ref<int> call = mine.submit(&account::add, 1);
    if (number == 1) {
      call.cancel();
      call.wait();
      MODEL_CHECK(call.failed() ? model::was_cancelled(call) : call.get() > 0);
    } else {
      MODEL_CHECK(call.get() > 0);
    }
  }
};

/// The actor is killed while calls are queued, waiting for their turn, or running: each call ends, run or not.
struct killed : actor_model<killed, 1, 2> {
  void other(unsigned number) {
    actor<account> mine = take_handle(number);
    if (number == 1) return mine.kill();
    const ref<int> first = mine.submit(&account::add, 1);
    const ref<int> second = mine.submit(&account::add, 1);
    mine = actor<account>();
    second.wait();
    first.wait();
    if (first.failed()) MODEL_CHECK(second.failed());
  }
};

/// The actor is killed while a method runs that ends only when a stop is requested.
struct killed_while_it_runs : actor_model<killed_while_it_runs, 1, 2> {
  void other(unsigned number) {
    const actor<account> mine = take_handle(number);
    if (number == 1) return mine.kill();
    mine.submit(&account::polls).wait();
  }
};

/// A call that has begun is cancelled, or continues, while another thread ends the tasks that are left to end, as the
/// spare thread of a pool does: it ends this call only once the call has its turn again.
struct ended_by_a_spare_thread : actor_model<ended_by_a_spare_thread, 1, 3> {
  std::optional<promise<int>> given;
  std::optional<ref<int>> call;

  void begin() {
    actor_model::begin();
    given.emplace();
    call.emplace(handles[0]->submit(&account::waits, unresolved(given->get_ref())));
  }
  void other(unsigned number) {
    const actor<account> mine = take_handle(number);
    const ref<int> result = *call;
    if (number == 0) {
      given->set_value(1);
      result.cancel();
      result.wait();
      MODEL_CHECK(result.failed() ? model::was_cancelled(result) : result.get() == 1);
    } else if (number == 1) {
      MODEL_CHECK(mine.submit(&account::add, 1).get() > 0);
    } else {
      auto& task = static_cast<detail::task_record&>(*detail::slot_group::of(*detail::access::slot_of(result)).owner);
      while (!result.ready()) {
        if ((task.state().load() & detail::state_word::only_ends) != 0) task.end_queued();
        model::yield();
      }
    }
  }
  void end() {
    call.reset();
    given.reset();
    actor_model::end();
  }
};

/// A generator method yields into a full stream: it is suspended, keeps its turn, and resumes once a value is taken, or
/// ends when its stream is dropped; then the other calls run.
template <bool Dropped>
struct suspended_call : actor_model<suspended_call<Dropped>, 1, 2> {
  void other(unsigned number) {
    actor<account> mine = this->take_handle(number);
    if (number == 1) return (void)mine.submit(&account::add, 1).get();
    ref_stream<int> values = mine.options(backpressure{1}).submit(&account::add_twice, 1);
    MODEL_CHECK(values.next()->get() == 1);
    if (Dropped) return;
    MODEL_CHECK(values.next()->get() == 2);
    MODEL_CHECK(!values.next());
  }
};

/// With a capacity of two, the calls of two generators take turns.
struct two_at_a_time : model::tasks_model<two_at_a_time, 2, 2> {
  model::shared<int> inside;
  std::optional<actor<account>> handles[2];

  void begin() {
    handles[0].emplace(on_workers().options(max_concurrency{2}).make_actor<account>(std::ref(inside)));
    handles[1].emplace(*handles[0]);
  }
  void other(unsigned number) {
    const actor<account> mine = *std::exchange(handles[number], std::nullopt);
    ref_stream<int> values = mine.options(backpressure{1}).submit(&account::add_twice, 1);
    for (int i = 1; i != 3; ++i) MODEL_CHECK(values.next()->get() == i);
    MODEL_CHECK(!values.next());
  }
  void end() { MODEL_CHECK(inside.get() == -1); }
};

/// The constructor fails, and so do all calls.
struct never_built : model::tasks_model<never_built, 1, 2> {
  struct broken {
    broken() { throw 1; }
    int call() { return 1; }
  };
  std::optional<actor<broken>> handles[2];

  void begin() {
    handles[0].emplace(on_workers().options(name("broken")).make_actor<broken>());
    handles[1].emplace(*handles[0]);
  }
  void other(unsigned number) {
    const actor<broken> mine = *std::exchange(handles[number], std::nullopt);
    const ref<int> call = mine.submit(&broken::call);
    call.wait();
    MODEL_CHECK(call.failed());
  }
  void end() {
    for (auto& each : handles) each.reset();
  }
};

/// The constructor fails while a call waits for an argument that never comes.
struct never_built_nor_ready : model::tasks_model<never_built_nor_ready, 1, 2> {
  struct broken {
    broken() { throw 1; }
    int call(int) { return 1; }
  };
  std::optional<actor<broken>> handles[2];
  std::optional<promise<int>> never;
  std::optional<ref<int>> argument;

  void begin() {
    never.emplace();
    argument.emplace(never->get_ref());
    handles[0].emplace(on_workers().make_actor<broken>());
    handles[1].emplace(*handles[0]);
  }
  void other(unsigned number) {
    const actor<broken> mine = *std::exchange(handles[number], std::nullopt);
    if (number == 1) return;
    const ref<int> call = mine.submit(&broken::call, *std::exchange(argument, std::nullopt));
    call.wait();
    MODEL_CHECK(call.failed());
  }
  void end() {
    for (auto& each : handles) each.reset();
    never.reset();
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.random<one_at_a_time<1>>("one at a time", 20);
  run.random<one_at_a_time<2>>("one at a time, two workers", 30);
  run.random<waits_for_its_argument>("waits for its argument", 20);
  run.random<cancelled_call>("cancelled", 30);
  run.random<killed>("killed", 30);
  run.random<killed_while_it_runs>("killed while it runs", 20);
  run.random<ended_by_a_spare_thread>("ended by a spare thread", 20);
  run.random<suspended_call<false>>("suspended", 20);
  run.random<suspended_call<true>>("suspended, and dropped", 20);
  run.random<two_at_a_time>("two at a time", 20);
  run.random<never_built>("never built", 10);
  run.random<never_built_nor_ready>("never built, and an argument that never comes", 10);
  return run.finish();
}
