// SPDX-License-Identifier: MIT
// A whole thread_pool with its threads, submitted to, waited for, shut down and destroyed from outside and by its own
// tasks. No submit is lost, every task that can still run runs, tasks that wait for something outside are cancelled, no
// thread sleeps for ever, and the last thread frees the pool.

#include "pool_model.hpp"

using namespace dyngen;
using model::pool_model;

namespace {

/// One thread submits a task and destroys the pool at once; another one waits for the result, and perhaps helps [L-10].
struct destroyed_under_a_waiter : pool_model<destroyed_under_a_waiter, 2, 1> {
  std::optional<ref<int>> value;

  void begin() {
    make_pool();
    value.emplace(pool->submit([] { return 7; }));
  }
  void other(unsigned index) {
    if (index == 0) {
      const ref<int> mine = pool->submit([] { return 8; });
      pool.reset();
      MODEL_CHECK(mine.ready() && mine.get() == 8);
    } else {
      MODEL_CHECK(value->get() == 7);
      value.reset();
    }
  }
};

/// The reader of a stream that is kept for it waits, unseen by the library, for the next effect of the stream's code,
/// and so perhaps does a task on a worker. The monitor makes another worker run the stream [L-1][L-22].
template <unsigned Width, bool Occupied>
struct reader_waits_unseen : pool_model<reader_waits_unseen<Width, Occupied>, Occupied ? 2 : 1, Width> {
  model::event passed;

  static generator<int> two(model::event& passed) {
    co_yield 0;
    passed.set();
    co_yield 1;
  }
  void begin() {
    detail::pulling_mode.store(detail::pulling::whenever_possible);
    this->make_pool(Width);
  }
  void other(unsigned index) {
    if (index == 1) {
      this->pool->submit([this] { passed.wait(); });
      return;
    }
    if (!Occupied) {  // one that ends before the monitor looks at it
      model::event of_another;
      ref_stream<int> before = this->pool->submit(two, std::ref(of_another));
      while (before.next()) {
      }
    }
    ref_stream<int> stream = this->pool->submit(two, std::ref(passed));
    MODEL_CHECK(stream.next()->get() == 0);
    passed.wait();
    MODEL_CHECK(stream.next()->get() == 1);
    MODEL_CHECK(!stream.next());
  }
};

/// The thread that fulfils a promise is about to queue the waiting task; meanwhile another thread has run that task to
/// its end as a helper, and destroyed the pool. Neither leaks [C3].
struct pushed_too_late : pool_model<pushed_too_late, 2, 1> {
  std::optional<promise<int>> given;
  std::optional<ref<int>> result;

  void begin() {
    make_pool();
    given.emplace();
    result.emplace(pool->submit([](int n) { return n; }, given->get_ref()));
  }
  void other(unsigned index) {
    if (index == 0) {
      given->set_value(7);
    } else {
      MODEL_CHECK(result->get() == 7);
      pool.reset();
    }
  }
  void end() {
    result.reset();
    given.reset();
  }
};

/// A submit from outside either throws or its ref becomes ready, while the pool is shut down [S-STOP-3]. No task runs
/// after the shutdown has returned. The task may wait for a promise that is never fulfilled.
template <shutdown_mode Mode, bool Depends>
struct shut_down_under_a_submit : pool_model<shut_down_under_a_submit<Mode, Depends>, 2, 1> {
  std::optional<promise<int>> never;
  detail::atomic<bool> is_over{false};

  void begin() {
    never.emplace();
    this->make_pool();
  }
  void other(unsigned index) {
    if (index == 0) {
      this->pool->shutdown(Mode);
      is_over.store(true, detail::relaxed);
      return;
    }
    std::optional<ref<int>> mine;
    try {
      if (Depends)
        mine.emplace(this->pool->submit([](int n) { return n; }, never->get_ref()));
      else
        mine.emplace(this->pool->submit([this] {
          MODEL_CHECK(!is_over.load(detail::relaxed));
          return 7;
        }));
    } catch (const pool_stopped&) {
    }
    if (!mine) return;
    mine->wait();
    if (mine->failed())
      MODEL_CHECK(Mode == shutdown_mode::cancel && model::was_cancelled(*mine));
    else
      MODEL_CHECK(mine->get() == 7);
  }
  void end() { never.reset(); }
};

/// A task submits another one while the pool is shut down or destroyed: the new task runs, or is cancelled.
template <bool Cancelled>
struct submits_while_it_closes : pool_model<submits_while_it_closes<Cancelled>, 1, 1> {
  model::shared<int> ran;
  void other(unsigned) {
    ran.set(0);
    const ref<ref<int>> outer = this->pool->submit([this] {
      return this->pool->submit([this] {
        ran.set(1);
        return 7;
      });
    });
    if (Cancelled) this->pool->shutdown(shutdown_mode::cancel);
    this->pool.reset();
    MODEL_CHECK(outer.ready());
    if (outer.failed()) {
      MODEL_CHECK(Cancelled && model::was_cancelled(outer));
    } else {
      const ref<int>& inner = outer.get();
      MODEL_CHECK(inner.ready() && (inner.failed() ? Cancelled : inner.get() == 7 && ran.get() == 1));
    }
  }
};

/// A task of the pool destroys the pool: the destructor does not wait for that task, and all other tasks still run
/// [L-11]. Also where the thread that waits for the task runs it.
template <unsigned Width, bool WaitersHelp>
struct destroyed_by_its_own_task : pool_model<destroyed_by_its_own_task<Width, WaitersHelp>, 1, Width> {
  std::optional<ref<void>> first;
  std::optional<ref<int>> second;
  std::optional<ref<int>> never;
  std::optional<promise<int>> outside;

  void begin() {
    outside.emplace();
    this->make_pool(Width, WaitersHelp);
  }
  void other(unsigned) {
    // Tasks that wait for something outside are cancelled when all others have ended.
    never.emplace(this->pool->submit([](int n) { return n; }, outside->get_ref()));
    model::event submitted;
    first.emplace(this->pool->submit([this, &submitted] {
      submitted.wait();
      this->pool.reset();
    }));
    second.emplace(this->pool->submit([] { return 7; }));
    submitted.set();
    first->get();
    MODEL_CHECK(second->get() == 7);
    never->wait();
    MODEL_CHECK(model::was_cancelled(*never));
  }
  void end() { first.reset(), second.reset(), never.reset(), outside.reset(); }
};

/// A task waits for a promise while the pool is destroyed; the value is set at any moment, or never. The task waits as
/// a dependency, in a co_await, or by blocking its thread.
enum class waits { as_dependency, suspended, blocked };

task<int> await_it(ref<int> r) { co_return co_await r; }

template <waits How, bool Comes>
struct waits_for_outside : pool_model<waits_for_outside<How, Comes>, Comes ? 2 : 1, How == waits::blocked ? 2 : 1> {
  std::optional<promise<int>> outside;
  std::optional<ref<int>> result;

  void begin() {
    outside.emplace();
    this->make_pool();
    if (How == waits::as_dependency)
      result.emplace(this->pool->submit([](int n) { return n; }, outside->get_ref()));
    else if (How == waits::suspended)
      result.emplace(this->pool->submit(await_it, outside->get_ref()));
    else
      result.emplace(this->pool->submit([](ref<int> r) { return r.get(); }, unresolved(outside->get_ref())));
  }
  void other(unsigned index) {
    if (index == 1) return outside->set_value(7);
    this->pool.reset();
    MODEL_CHECK(result->ready());
    MODEL_CHECK(result->failed() ? model::was_cancelled(*result) : Comes && result->get() == 7);
  }
  void end() { outside.reset(), result.reset(); }
};

/// The pool is destroyed while one of its tasks fulfils the promise that another one waits for: the waiting task is not
/// cancelled as lost.
template <waits How>
struct fulfilled_from_inside : pool_model<fulfilled_from_inside<How>, 1, How == waits::blocked ? 3 : 2> {
  std::optional<promise<int>> given;
  std::optional<ref<int>> result;

  void begin() {
    given.emplace();
    this->make_pool(2, false);
    if (How == waits::suspended)
      result.emplace(this->pool->submit(await_it, given->get_ref()));
    else
      result.emplace(this->pool->submit([](ref<int> r) { return r.get(); }, unresolved(given->get_ref())));
    (void)this->pool->submit([this] { given->set_value(7); });
  }
  void other(unsigned) {
    this->pool.reset();
    MODEL_CHECK(result->ready() && !result->failed() && result->get() == 7);
  }
  void end() { given.reset(), result.reset(); }
};

/// The closing of a pool whose one task yields a stream and whose other task reads it.
struct read_from_inside : pool_model<read_from_inside, 1, 2> {
  std::optional<ref<int>> result;

  void begin() {
    make_pool(2, false);
    auto count = []() -> generator<int> {
      for (int i = 1; i != 3; ++i) co_yield i;
    };
    auto add_up = [](ref_stream<int> all) -> task<int> {
      int sum = 0;
      while (const std::optional<int> next = co_await all.async_value()) sum += *next;
      co_return sum;
    };
    result.emplace(pool->submit(add_up, pool->options(backpressure{1}).submit(count)));
  }
  void other(unsigned) {
    pool.reset();
    MODEL_CHECK(result->ready() && !result->failed() && result->get() == 3);
  }
  void end() { result.reset(); }
};

/// The task that fulfils the promise has just submitted the task that waits for it, which is the only other one.
struct submits_what_waits_for_it : pool_model<submits_what_waits_for_it, 1, 1> {
  std::optional<ref<int>> result;

  void other(unsigned) {
    (void)pool->submit([this] {
      promise<int> given;
      result.emplace(pool->submit([](int n) { return n; }, given.get_ref()));
      given.set_value(7);
    });
    pool.reset();
    MODEL_CHECK(result->ready() && !result->failed() && result->get() == 7);
  }
  void end() { result.reset(); }
};

/// One task shuts the pool down by cancel while another one begins to wait for a promise that is never fulfilled.
struct told_to_cancel_by_its_own_task : pool_model<told_to_cancel_by_its_own_task, 1, 2> {
  std::optional<promise<int>> never;
  std::optional<ref<int>> result;

  void begin() {
    never.emplace();
    make_pool(2, false);
    result.emplace(pool->submit(await_it, never->get_ref()));
    (void)pool->submit([this] { pool->shutdown(shutdown_mode::cancel); });
  }
  void other(unsigned) {
    result->wait();
    MODEL_CHECK(model::was_cancelled(*result));
  }
  void end() { never.reset(), result.reset(); }
};

/// A stream is full, and its consumer takes values while the pool is destroyed.
struct destroyed_under_a_stream : pool_model<destroyed_under_a_stream, 2, 1> {
  std::optional<ref_stream<int>> stream;

  void begin() {
    make_pool();
    auto count = []() -> generator<int> {
      for (int i = 0; i != 3; ++i) co_yield i;
    };
    stream.emplace(pool->options(backpressure{1}).submit(count));
  }
  void other(unsigned index) {
    if (index == 0) return pool.reset();
    int expected = 0;
    while (std::optional<ref<int>> next = stream->next()) {
      if (next->failed())
        MODEL_CHECK(model::was_cancelled(*next));
      else
        MODEL_CHECK(next->get() == expected++);
    }
    stream.reset();
  }
};

/// The only worker blocks in a task that waits for one submitted later, from outside: a spare thread runs the latter
/// [L-2]. If no spare can be started, the blocked thread does.
template <bool Spare>
struct the_only_worker_blocks : pool_model<the_only_worker_blocks<Spare>, 2, Spare ? 2 : 1> {
  std::optional<promise<int>> given;
  std::optional<ref<int>> result;

  void begin() {
    given.emplace();
    this->make_pool(1, false);
    result.emplace(this->pool->submit([](ref<int> r) { return r.get(); }, unresolved(given->get_ref())));
  }
  void other(unsigned index) {
    if (index == 0)
      (void)this->pool->submit([this] { given->set_value(7); });
    else
      MODEL_CHECK(result->get() == 7);
  }
  void end() { given.reset(), result.reset(); }
};

/// Workers call the hook. It is destroyed after them with the pool, or, if a task has destroyed the pool, with the last
/// record, on any thread.
struct hook_goes_last : pool_model<hook_goes_last, 2, 1> {
  struct hook {
    explicit hook(model::shared<int>& c) : calls(&c) {}
    hook(hook&& other) noexcept : calls(std::exchange(other.calls, nullptr)) {}
    ~hook() {
      if (calls != nullptr) calls->set(-1);
    }
    void operator()(std::exception_ptr, std::string_view) { calls->set(calls->get() + 1); }
    model::shared<int>* calls;
  };
  model::shared<int> calls;
  std::optional<ref<int>> values[2];

  void begin() {
    calls.set(0);
    thread_pool_options o;
    o.threads = 1;
    o.on_unhandled_error = hook(calls);
    pool.emplace(std::move(o));
    for (auto& each : values) each.emplace(pool->submit([] { return 7; }));
    (void)pool->submit([] { throw 1; });
    (void)pool->submit([this] { pool.reset(); });
  }
  void other(unsigned index) {
    MODEL_CHECK(values[index]->wait_for(std::chrono::hours(1)) || true);
    values[index].reset();
  }
  void last() {}
  void end() { MODEL_CHECK(calls.get() == -1); }
};

/// The last ref to a failure is dropped while the pool is destroyed, or before: in the latter case the destructor
/// returns after the report. The hook is not called after the end of the pool, and nothing leaks [C5].
template <bool Before>
struct failure_goes_unseen : pool_model<failure_goes_unseen<Before>, 2, 1> {
  model::shared<int> calls;
  model::event gone;
  std::optional<ref<int>> value;
  bool is_destroyed = false;

  void begin() {
    calls.set(0);
    thread_pool_options o;
    o.threads = 1;
    o.on_unhandled_error = [this](std::exception_ptr, std::string_view) {
      MODEL_CHECK(!is_destroyed);
      calls.set(calls.get() + 1);
    };
    this->pool.emplace(std::move(o));
    value.emplace(this->pool->submit([]() -> int { throw 1; }));
  }
  void other(unsigned index) {
    if (index == 0) {
      value->wait();
      value.reset();
      gone.set();
      return;
    }
    if (Before) gone.wait();
    this->pool.reset();
    MODEL_CHECK(Before ? calls.get() == 1 : calls.get() <= 1);
    is_destroyed = true;
  }
  void last() {}
};

/// A failure that no handle observes, in a pool that is destroyed by one of its tasks.
struct failure_goes_unattended : pool_model<failure_goes_unattended, 1, 1> {
  model::shared<int> calls;
  std::optional<ref<int>> value;

  void begin() {
    calls.set(0);
    thread_pool_options o;
    o.threads = 1;
    o.on_unhandled_error = [this](std::exception_ptr, std::string_view) { calls.set(calls.get() + 1); };
    pool.emplace(std::move(o));
    value.emplace(pool->submit([]() -> int { throw 1; }));
    (void)pool->submit([this] { pool.reset(); });
  }
  void other(unsigned) {
    value->wait();
    value.reset();
  }
  void last() {}
  void end() { MODEL_CHECK(calls.get() <= 1); }
};

/// A worker blocks and starts a spare thread, while another one searches for work.
struct one_of_two_blocks : pool_model<one_of_two_blocks, 1, 3> {
  std::optional<promise<int>> given;
  std::optional<ref<int>> result;

  void begin() {
    given.emplace();
    make_pool(2, false);
    result.emplace(pool->submit([](ref<int> r) { return r.get(); }, unresolved(given->get_ref())));
  }
  void other(unsigned) {
    (void)pool->submit([this] { given->set_value(7); });
    MODEL_CHECK(result->get() == 7);
  }
  void end() { given.reset(), result.reset(); }
};

/// Two tasks that wait for each other run at once on two workers, pushed by one thread [L-17]; perhaps after a task
/// that keeps a worker from searching.
template <bool Behind>
struct two_tasks_meet : pool_model<two_tasks_meet<Behind>, 1, 2> {
  model::event arrived[2];

  void begin() { this->make_pool(2); }
  void other(unsigned) {
    if (Behind) (void)this->pool->submit([] {});
    for (int i = 0; i != 2; ++i)
      (void)this->pool->submit([this, i] {
        arrived[i].set();
        arrived[1 - i].wait();
      });
  }
};

/// A task that runs until a stop is requested, in a pool that cancels all tasks: it gets its token before or after
/// that.
struct polls_its_token : pool_model<polls_its_token, 1, 1> {
  void other(unsigned) {
    (void)pool->submit([] {
      const std::stop_token token = this_task::get_stop_token();
      while (!token.stop_requested()) model::yield();
    });
    pool->shutdown(shutdown_mode::cancel);
  }
};

/// An actor has queued calls and no handle, and its pool is destroyed.
struct destroyed_under_an_actor : pool_model<destroyed_under_an_actor, 2, 1> {
  struct counter {
    int add() { return ++n; }
    int n = 0;
  };
  std::optional<actor<counter>> handle;

  void begin() {
    make_pool();
    handle.emplace(pool->make_actor<counter>());
  }
  void other(unsigned index) {
    if (index == 0) return pool.reset();
    const ref<int> call = handle->submit(&counter::add);
    call.wait();
    MODEL_CHECK(call.failed() || call.get() == 1);
    handle.reset();
  }
  void end() { handle.reset(); }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.random<destroyed_under_a_waiter>("destroyed under a waiter", 30);
  run.random<pushed_too_late>("pushed too late", 30);
  run.random<reader_waits_unseen<1, false>>("a reader waits unseen", 50);
  run.random<reader_waits_unseen<2, false>>("a reader waits unseen, two workers", 50);
  run.random<reader_waits_unseen<2, true>>("a reader waits unseen beside a task that waits", 50);
  run.random<shut_down_under_a_submit<shutdown_mode::drain, false>>("shut down under a submit", 30);
  run.random<shut_down_under_a_submit<shutdown_mode::cancel, false>>("shut down under a submit, all cancelled", 30);
  run.random<shut_down_under_a_submit<shutdown_mode::cancel, true>>("shut down under a submit with a dependency", 30);
  run.random<submits_while_it_closes<false>>("submits while it is destroyed", 20);
  run.random<submits_while_it_closes<true>>("submits while all is cancelled", 20);
  run.random<destroyed_by_its_own_task<1, false>>("destroyed by its own task", 20);
  run.random<destroyed_by_its_own_task<2, false>>("destroyed by its own task, two workers", 20);
  run.random<destroyed_by_its_own_task<1, true>>("destroyed by its own task, which may be helped", 20);
  run.random<hook_goes_last>("the hook goes last", 20);
  (void)!std::freopen("/dev/null", "w", stderr);  // a failure that outlives its pool is printed here
  run.random<failure_goes_unseen<true>>("a failure goes unseen before the end", 20);
  run.random<failure_goes_unseen<false>>("a failure goes unseen at the end", 20);
  run.random<failure_goes_unattended>("a failure goes unseen as the pool is destroyed by its own task", 20);
  run.random<waits_for_outside<waits::as_dependency, true>>("a dependency comes, or the end", 20);
  run.random<waits_for_outside<waits::as_dependency, false>>("a dependency never comes", 10);
  run.random<waits_for_outside<waits::suspended, true>>("what is awaited comes, or the end", 20);
  run.random<waits_for_outside<waits::suspended, false>>("what is awaited never comes", 10);
  run.random<waits_for_outside<waits::blocked, true>>("what a thread waits for comes, or the end", 20);
  run.random<fulfilled_from_inside<waits::suspended>>("a task fulfils what is awaited, at the end", 20);
  run.random<fulfilled_from_inside<waits::blocked>>("a task fulfils what a thread waits for, at the end", 20);
  run.random<read_from_inside>("a task reads another's stream, at the end", 20);
  run.random<submits_what_waits_for_it>("a task submits what waits for it, at the end", 20);
  run.random<told_to_cancel_by_its_own_task>("told to cancel by its own task", 20);
  run.random<destroyed_under_a_stream>("destroyed under a stream", 20);
  run.random<the_only_worker_blocks<true>>("the only worker blocks", 20);
  run.random<the_only_worker_blocks<false>>("the only worker blocks, and there is no other", 20);
  run.random<one_of_two_blocks>("one of two workers blocks", 20);
  run.random<two_tasks_meet<false>>("two tasks meet", 20);
  run.random<two_tasks_meet<true>>("two tasks meet, behind another", 20);
  run.random<polls_its_token>("polls its token", 20);
  run.random<destroyed_under_an_actor>("destroyed under an actor", 20);
  return run.finish();
}
