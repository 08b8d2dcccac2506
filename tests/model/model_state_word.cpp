// SPDX-License-Identifier: MIT
// The life of a task: threads pop it, help it, cancel it, purge the queue and return credits. One of them runs it at a
// time, its link is in the queue at most once, it is never queued without a link in the queue, and the reference of the
// queue is dropped with the link.

#include "model.hpp"

#include <dyngen/detail/task/state_word.hpp>

using namespace dyngen;
using detail::phase;
using detail::state_word;
using next = state_word::next;

namespace {

/// A task that stores `Values` values, one in each run, and the queue that its link may be in. Each caller does what
/// task_record does, and no more.
template <class Model, unsigned Threads, unsigned Values>
struct task : rl::test_suite<Model, Threads> {
  state_word state;
  detail::atomic<bool> link{false};            // the queue: relaxed, so that only the state word orders anything
  detail::atomic<unsigned> references{0};      // the link's in the queue, and that of a thread that has popped one
  detail::atomic<unsigned> room{Values};       // values that may be stored
  detail::atomic<bool> ended{false};
  model::shared<unsigned> made;                // touched by the thread that runs it
  bool was_cancelled = false;

  void before() { made.set(0); }

  void push() {
    references.fetch_add(1, detail::relaxed);
    MODEL_CHECK(!link.exchange(true, detail::relaxed));  // never twice
  }
  void make_ready() {
    if (state.make_ready() == next::push) push();
  }
  bool take_link() { return link.exchange(false, detail::relaxed); }
  void drop_reference() { MODEL_CHECK(references.fetch_sub(1, detail::relaxed) != 0); }

  /// What run_popped() does.
  bool pop() {
    if (!take_link()) return false;
    if (state.pop()) run(false);
    drop_reference();
    return true;
  }
  /// What help() does.
  bool help(bool consumer) {
    if (!state.claim_queued() && !(consumer && state.claim_parked())) return false;
    run(true);
    return true;
  }
  /// What a queue does that discards ended tasks.
  void purge() {
    if (!take_link()) return;
    if (state.drop_link())
      drop_reference();
    else
      MODEL_CHECK(!link.exchange(true, detail::relaxed));
  }
  void cancel() {
    state.set(state_word::cancelled);
    make_ready();
  }

  void run(bool helper) {
    for (;;) {
      const unsigned now = made.get();
      if ((state.load() & state_word::cancelled) != 0 || now == Values) {
        was_cancelled = (state.end() & state_word::cancelled) != 0;
        ended.store(true, detail::relaxed);
        return;
      }
      if (now >= room.load(detail::seq_cst)) {
        if (!state.park(state_word::attention)) continue;
        if (room.load(detail::seq_cst) <= now) return;
        if (!state.claim_parked()) return;
        continue;
      }
      made.set(now + 1);
      if (!helper) continue;
      // The awaited value is stored.
      if (state.requeue() == next::push) push();
      return;
    }
  }

  /// Pops until the task has ended and no link is left: a task that is queued in no queue is never run again.
  void pop_until_ended() {
    for (int idle = 0;;) {
      const bool over = ended.load(detail::relaxed);
      if (pop()) continue;
      if (over) return;
      model::yield();
    }
  }

  void after() {
    while (pop()) {
    }
    MODEL_CHECK(state_word::phase_of(state.load()) == phase::ended);
    MODEL_CHECK((state.load() & state_word::in_queue) == 0);
    MODEL_CHECK(references.load() == 0);
    MODEL_CHECK(was_cancelled || made.get() == Values);
  }
};

/// The worker pops; a waiter helps, and leaves it after each value; a third thread cancels, or purges the queue.
enum class third { cancels, tidies_up, helps_too };

template <third What, unsigned Values>
struct queued : task<queued<What, Values>, 3, Values> {
  using base = task<queued, 3, Values>;
  void before() {
    base::before();
    this->make_ready();
  }
  void thread(unsigned index) {
    if (index == 0) return this->pop_until_ended();
    if (index == 1) {
      this->help(true);
      this->help(true);
      return;
    }
    if (What == third::cancels) return this->cancel();
    if (What == third::helps_too) return (void)this->help(true);
    this->purge();
    this->purge();
  }
};

/// The task parks for capacity, which another thread adds bit by bit: it adds credits, then reads the word, as
/// return_credits() does.
template <third What>
struct parked : task<parked<What>, 3, 2> {
  using base = task<parked, 3, 2>;
  void before() {
    base::before();
    this->room.store(0, detail::relaxed);
    this->make_ready();
  }
  void thread(unsigned index) {
    if (index == 0) return this->pop_until_ended();
    if (index == 1) {
      for (unsigned i = 1; i <= 2; ++i) {
        this->room.store(i, detail::seq_cst);
        if (What == third::tidies_up || state_word::phase_of(this->state.load()) == phase::parked) this->make_ready();
        if (What == third::helps_too) this->help(true);
      }
      return;
    }
    if (What == third::cancels) return this->cancel();
    this->purge();
    if (What == third::helps_too) this->help(false);
  }
};

/// Kept for its reader, which claims it for one value after the other; other threads queue it, and a worker pops it then.
/// One thread at a time runs it; once it was queued, or has a flag that forbids keeping it, it ends without the reader.
template <unsigned Others, std::uint32_t Flag = state_word::eager>
struct kept : task<kept<Others, Flag>, 2 + Others, 3> {
  using base = task<kept, 2 + Others, 3>;

  void before() {
    base::before();
    this->make_ready();
    MODEL_CHECK(this->take_link() && this->state.pop());  // the reader runs it
  }
  /// By the reader, which runs it.
  bool keep() {
    if (this->state.keep()) return true;
    if (this->state.requeue() == next::push) this->push();
    return false;
  }
  bool make_one() {
    if (!this->state.claim_kept()) return false;
    this->made.set(this->made.get() + 1);
    return keep();
  }
  void thread(unsigned index) {
    if (index == 0) return this->pop_until_ended();
    if (index != 1) {
      if (index == 2) return this->make_ready();  // what the monitor does if the task is kept at this moment
      this->state.set(Flag);
      return this->make_ready();
    }
    if (keep() && make_one() && make_one() && (this->state.load() & Flag) == 0) this->make_ready();
    this->drop_reference();
  }
};

/// Flags are never lost, whatever else happens to the word; a task with a requested stop does not stay parked.
struct detached_while_it_parks : task<detached_while_it_parks, 2, 1> {
  void before() {
    task::before();
    room.store(0, detail::relaxed);
    make_ready();
  }
  void thread(unsigned index) {
    if (index == 0) return pop_until_ended();
    room.store(1, detail::relaxed);  // only a thread that sees the flag looks at it
    state.set(state_word::detached);
    make_ready();
  }
};

/// What was written before the task became ready is seen by the thread that runs it; and by the thread that drops the
/// link of a task that has ended, which may then free it.
struct handed_over : rl::test_suite<handed_over, 3> {
  state_word state;
  detail::atomic<bool> link{false};
  model::shared<int> arguments;
  model::shared<int> result;
  detail::atomic<unsigned> ran{0};

  void run() {
    MODEL_CHECK(arguments.get() == 3);
    arguments.set(4);
    ran.fetch_add(1, detail::relaxed);
    result.set(5);
    (void)state.end();
  }
  void thread(unsigned index) {
    if (index == 0) {
      arguments.set(3);
      MODEL_CHECK(state.make_ready() == next::push);
      MODEL_CHECK(state.make_ready() == next::nothing);
      link.store(true, detail::relaxed);
      return;
    }
    if (index == 1) {
      while (!link.load(detail::relaxed)) model::yield();
      if (state.pop()) return run();
    } else if (state.claim_queued()) {
      return run();
    }
    if (state_word::phase_of(state.load()) == phase::ended) MODEL_CHECK(result.get() == 5);
  }
  void after() { MODEL_CHECK(ran.load() == 1 && state.load() == static_cast<std::uint32_t>(phase::ended)); }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<queued<third::cancels, 1>>("popped, helped, cancelled");
  run.random<queued<third::cancels, 2>>("popped, helped, cancelled");
  run.exhaustive<queued<third::tidies_up, 1>>("popped, helped, tidied up");
  run.random<queued<third::tidies_up, 2>>("popped, helped, tidied up");
  run.random<queued<third::helps_too, 2>>("popped, helped by two");
  run.exhaustive<parked<third::tidies_up>>("parked, made ready, tidied up");
  run.random<parked<third::tidies_up>>("parked, made ready, tidied up");
  run.exhaustive<parked<third::helps_too>>("parked, made ready, helped");
  run.random<parked<third::helps_too>>("parked, made ready, helped");
  run.random<parked<third::cancels>>("parked, made ready, cancelled");
  run.exhaustive<kept<1>>("kept for its reader");
  run.random<kept<1>>("kept for its reader");
  run.random<kept<2>>("kept for its reader, wanted by two");
  run.random<kept<2, state_word::cancelled>>("kept for its reader, cancelled");
  run.exhaustive<detached_while_it_parks>("detached while it parks", 3);
  run.exhaustive<handed_over>("handed over", 3);
  return run.finish();
}
