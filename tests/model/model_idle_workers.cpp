// SPDX-License-Identifier: MIT
// Threads that run, search, sleep and block, around a real queue. The thread that runs the last task stops the pool: a
// thread left asleep beside a queued task, or a task waiting for one that no thread runs, is a deadlock.

#include "model.hpp"

#include <dyngen/detail/pool/injection_queue.hpp>
#include <dyngen/detail/pool/idle_workers.hpp>

using namespace dyngen;
using detail::park_result;

namespace {

struct item : detail::work_item {
  int number = 0;
};

/// A pool of the simplest kind: one queue, and tasks that are calls of `Model::run(number)`.
template <class Model, unsigned Threads, unsigned Width, unsigned Tasks>
struct pool : rl::test_suite<Model, Threads> {
  detail::injection_queue queue;
  detail::idle_workers idle_workers{Width};
  item items[Tasks];
  detail::atomic<unsigned> done{0};
  detail::atomic<unsigned> awake{0};  // threads that run a task and are not blocked
  unsigned most_awake = 0;
  unsigned woken = 0;

  bool look() { return queue.maybe_nonempty(); }
  /// For a thread that has announced that it will sleep.
  bool look_to_sleep() { return queue.can_pop(); }

  void notify() { woken += idle_workers.notify(); }

  void push(unsigned number) {
    items[number].number = static_cast<int>(number);
    queue.push(&items[number]);
    notify();
  }

  void count_awake() {
    const unsigned now = awake.fetch_add(1, detail::relaxed) + 1;
    if (now > most_awake) most_awake = now;
  }

  /// A task of a worker waits for `flag` to be set by another task.
  void block_on(detail::atomic<std::uint32_t>& flag) {
    awake.fetch_sub(1, detail::relaxed);
    idle_workers.leave();
    if (look()) notify();
    sleep_until_set(flag);
    idle_workers.enter();
    count_awake();
  }

  static void sleep_until_set(detail::atomic<std::uint32_t>& flag) {
    while (flag.load(detail::acquire) == 0) detail::sleep_on(flag, 0);
  }

  static void set(detail::atomic<std::uint32_t>& flag) {
    flag.store(1, detail::release);
    detail::wake_all(flag);
  }

  detail::work_item* try_pop() {
    return queue.try_pop([this] { notify(); }).item;
  }

  void run(detail::work_item* work) {
    count_awake();
    static_cast<Model*>(this)->run(static_cast<unsigned>(static_cast<item*>(work)->number));
    awake.fetch_sub(1, detail::relaxed);
    if (done.fetch_add(1, detail::acq_rel) + 1 == Tasks) idle_workers.stop();
  }

  /// A running thread pops an item, and begins to search if the queue is empty.
  park_result next_task() {
    for (;;) {
      if (idle_workers.oversubscribed()) return idle_workers.park_surplus([this] { return look_to_sleep(); });
      detail::work_item* const next = try_pop();
      if (next == nullptr) break;
      run(next);
    }
    idle_workers.resume_searching();
    return park_result::search;
  }

  void work(park_result next = park_result::search) {
    for (unsigned in_vain = 0; next == park_result::search;) {
      if (detail::work_item* const found = try_pop()) {
        if (idle_workers.found_work() && look()) notify();
        run(found);
        next = next_task();
        in_vain = 0;
      } else {
        // A thread that is kept up, or woken, finds something, or another one has found that meanwhile, or has begun a
        // push: it does not go round in place of sleeping while another thread is in the middle of something.
        MODEL_CHECK(++in_vain <= 2 + 2 * Tasks);
        next = idle_workers.park([this] { return look_to_sleep(); });
      }
    }
  }

  void worker() { work(); }  // before() called its start_searching(), as the thread that starts a worker does

  void spare() {
    if (idle_workers.start_parked([this] { return look_to_sleep(); }) == park_result::search) work();
  }

  /// At the end every thread is counted as searching, and no token is under way.
  void check_end(unsigned pool_threads) {
    MODEL_CHECK(done.load() == Tasks && !look());
    MODEL_CHECK(idle_workers.parked() == 0 && idle_workers.searching() == pool_threads && idle_workers.active() == pool_threads);
  }
};

/// Outside threads push to a pool of more threads than tasks, or fewer: never are more threads awake than the pool is
/// wide, and there are no more wake-ups than pushes.
template <unsigned Workers, unsigned Width, unsigned Pushers, unsigned Each>
struct no_lost_wake_up
  : pool<no_lost_wake_up<Workers, Width, Pushers, Each>, Workers + Pushers, Width, Pushers * Each> {
  void before() {
    for (unsigned i = 0; i != Workers && i != Width; ++i) this->idle_workers.start_searching();
  }
  void run(unsigned) {}
  using pool<no_lost_wake_up, Workers + Pushers, Width, Pushers * Each>::run;

  void thread(unsigned index) {
    if (index < Workers) return index < Width ? this->worker() : this->spare();
    for (unsigned i = 0; i != Each; ++i) this->push((index - Workers) * Each + i);
  }
  void after() {
    this->check_end(Workers);
    MODEL_CHECK(this->most_awake <= Width);
  }
};

/// Two tasks meet at a barrier, each on a worker of its own: both must run at once. One thread pushes both, or two
/// threads one each, or the first task the second.
enum class pushed { by_one, by_two, by_task };

template <pushed How, unsigned Spares>
struct no_lost_parallelism : pool<no_lost_parallelism<How, Spares>, 4 + Spares, 2, 2> {
  using base = pool<no_lost_parallelism, 4 + Spares, 2, 2>;
  using base::run;
  detail::atomic<std::uint32_t> arrived[2];

  void before() {
    this->idle_workers.start_searching();
    this->idle_workers.start_searching();
  }
  void run(unsigned number) {
    if (How == pushed::by_task && number == 0) this->push(1);
    base::set(arrived[number]);
    base::sleep_until_set(arrived[1 - number]);
  }
  void thread(unsigned index) {
    if (index < 2) return this->worker();
    if (index == 2) this->push(0);
    if (index == (How == pushed::by_one ? 2 : How == pushed::by_two ? 3 : 99)) this->push(1);
    if (index >= 4) this->spare();
  }
  void after() {
    this->check_end(2 + Spares);
    MODEL_CHECK(this->most_awake <= 2);
  }
};

/// Width 1, one worker, one spare. Task 0 blocks until task 1, pushed from outside at any moment, has run; a third
/// task keeps both busy, so that one of them finds the pool oversubscribed.
template <unsigned Tasks, unsigned Pushers>
struct the_only_worker_blocks : pool<the_only_worker_blocks<Tasks, Pushers>, 2 + Pushers, 1, Tasks> {
  using base = pool<the_only_worker_blocks, 2 + Pushers, 1, Tasks>;
  using base::run;
  detail::atomic<std::uint32_t> released;

  void before() { this->idle_workers.start_searching(); }
  void run(unsigned number) {
    if (number == 0) this->block_on(released);
    if (number == 1) base::set(released);
  }
  void thread(unsigned index) {
    if (index == 0) return this->worker();
    if (index == 1) return this->spare();
    for (unsigned i = index - 2; i < Tasks; i += Pushers) this->push(i);
  }
  void after() {
    this->check_end(2);
    MODEL_CHECK(this->most_awake <= 2);
  }
};

/// Width 1 and two running threads, each of which finds the pool oversubscribed: if both park, one is woken again.
struct both_are_surplus : pool<both_are_surplus, 3, 1, 1> {
  using base = pool<both_are_surplus, 3, 1, 1>;
  using base::run;

  void before() {
    idle_workers.enter();
    idle_workers.enter();
  }
  void run(unsigned) {}
  void thread(unsigned index) {
    if (index == 2) return push(0);
    work(next_task());
  }
  void after() { check_end(2); }
};

/// stop() is called at any moment, also between a claim and its token: every thread leaves, and the counts are right.
template <unsigned Sleepers>
struct stopped_at_any_moment : rl::test_suite<stopped_at_any_moment<Sleepers>, Sleepers + 2> {
  detail::idle_workers idle_workers{Sleepers};
  model::shared<int> last_word;

  void thread(unsigned index) {
    if (index == 0) {
      idle_workers.notify();
    } else if (index == 1) {
      last_word.set(1);
      idle_workers.stop();
    } else {
      while (idle_workers.start_parked([] { return false; }) == park_result::search) {
        // Woken before the stop: returns, and is started again as a new thread.
        (void)idle_workers.found_work();
        idle_workers.leave();
      }
      MODEL_CHECK(last_word.get() == 1);
    }
  }
  void after() {
    MODEL_CHECK(idle_workers.parked() == 0 && idle_workers.searching() == Sleepers && idle_workers.active() == Sleepers);
  }
};

/// While a worker searches, or as many workers run as the pool is wide, a push wakes no thread, and a sleeper that was
/// woken sleeps again.
struct no_needless_wake_up : rl::test_suite<no_needless_wake_up, 2> {
  detail::idle_workers searched{2};
  detail::idle_workers full{1};

  void before() {
    searched.start_searching();  // on behalf of a thread that goes on searching
    full.start_searching();      // and of one that goes on running
    (void)full.found_work();
    full.enter();
    MODEL_CHECK(full.oversubscribed());
    full.leave();
  }
  void thread(unsigned index) {
    if (index == 0) {
      MODEL_CHECK(searched.start_parked([] { return true; }) == park_result::stopping);
      MODEL_CHECK(full.start_parked([] { return true; }) == park_result::stopping);
    } else {
      MODEL_CHECK(!searched.notify());
      searched.stop();
      MODEL_CHECK(!full.notify());
      MODEL_CHECK(!full.oversubscribed());
      full.stop();
    }
  }
};

/// The thread that a push wakes finds the item at its first try, through the plain look of try_pop(): the token
/// published the item.
struct woken_not_in_vain : rl::test_suite<woken_not_in_vain, 2> {
  detail::injection_queue queue;
  detail::idle_workers idle_workers{1};
  item only;

  void thread(unsigned index) {
    if (index == 0) {
      if (idle_workers.start_parked([] { return false; }) == park_result::search)
        MODEL_CHECK(queue.try_pop().item == &only);
    } else {
      while (idle_workers.parked() == 0) model::yield();
      queue.push(&only);
      MODEL_CHECK(idle_workers.notify());
    }
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<no_lost_wake_up<1, 1, 1, 2>>("no lost wake-up: width 1, one pusher of two");
  run.exhaustive<no_lost_wake_up<1, 1, 2, 1>>("no lost wake-up: width 1, two pushers");
  run.random<no_lost_wake_up<2, 1, 2, 2>>("no lost wake-up: width 1, a spare, two pushers of two", 50);
  run.random<no_lost_wake_up<2, 2, 1, 3>>("no lost wake-up: width 2, one pusher of three", 50);
  run.random<no_lost_wake_up<3, 2, 2, 1>>("no lost wake-up: width 2, a spare, two pushers", 50);
  run.random<no_lost_parallelism<pushed::by_one, 0>>("no lost parallelism: pushed by one thread");
  run.random<no_lost_parallelism<pushed::by_two, 0>>("no lost parallelism: pushed by two threads");
  run.random<no_lost_parallelism<pushed::by_task, 1>>("no lost parallelism: pushed by the task that waits", 50);
  run.exhaustive<the_only_worker_blocks<2, 1>>("the only worker blocks: one pusher", 1);
  run.random<the_only_worker_blocks<2, 1>>("the only worker blocks: one pusher", 50);
  run.random<the_only_worker_blocks<2, 2>>("the only worker blocks: two pushers", 50);
  run.random<the_only_worker_blocks<4, 2>>("the only worker blocks, then is one too many", 50);
  run.exhaustive<both_are_surplus>("both are surplus");
  run.exhaustive<stopped_at_any_moment<2>>("stopped at any moment");
  run.random<stopped_at_any_moment<3>>("stopped at any moment");
  run.exhaustive<no_needless_wake_up>("no thread is woken without need");
  run.exhaustive<woken_not_in_vain>("woken not in vain");
  return run.finish();
}
