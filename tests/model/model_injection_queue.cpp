// SPDX-License-Identifier: MIT
// The queue that any thread pushes into: every item comes out once, whole, and in its pusher's order; and no thread
// goes to sleep beside an item.

#include "model.hpp"

#include <dyngen/detail/pool/injection_queue.hpp>

using namespace dyngen;
using detail::pop_status;

namespace {

struct item : detail::work_item {
  model::shared<int> payload;  // written before a push, read after a pop
  int taken = 0;
};

/// Notes that `work` was taken; its payload must be what its pusher wrote.
int take(detail::work_item* work, item* items) {
  item* const taken = static_cast<item*>(work);
  const int index = static_cast<int>(taken - items);
  MODEL_CHECK(taken->payload.get() == 10 + index);
  ++taken->taken;
  return index;
}

/// Two pushers, and two poppers that try a few times, singly or first in a batch. The rest is popped at the end.
template <unsigned Each, bool Batch>
struct every_item_once : rl::test_suite<every_item_once<Each, Batch>, 4> {
  detail::injection_queue queue;
  item items[2 * Each];

  void thread(unsigned index) {
    if (index < 2) {
      for (unsigned i = Each * index; i != Each * index + Each; ++i) {
        items[i].payload.set(static_cast<int>(10 + i));
        queue.push(&items[i]);
      }
      return;
    }
    if (Batch) {
      detail::work_item* out[3];
      const std::size_t count = queue.try_pop_batch(out, 3);
      for (std::size_t i = 0; i != count; ++i) take(out[i], items);
    }
    for (int tries = 0; tries != 2; ++tries) {
      const detail::popped next = queue.try_pop();
      MODEL_CHECK((next.item != nullptr) == (next.status == pop_status::item));
      if (next.item != nullptr) take(next.item, items);
    }
  }

  void after() {
    while (queue.maybe_nonempty()) {
      const detail::popped next = queue.try_pop();
      MODEL_CHECK(next.status == pop_status::item);  // all other threads have finished
      take(next.item, items);
    }
    MODEL_CHECK(queue.try_pop().status == pop_status::empty);
    for (item& each : items) MODEL_CHECK(each.taken == 1);
  }
};

/// One popper that waits for all: each pusher's items come in the order of their pushes.
struct first_in_first_out : rl::test_suite<first_in_first_out, 3> {
  detail::injection_queue queue;
  item items[4];

  void thread(unsigned index) {
    if (index < 2) {
      for (unsigned i = 2 * index; i != 2 * index + 2; ++i) {
        items[i].payload.set(static_cast<int>(10 + i));
        queue.push(&items[i]);
      }
      return;
    }
    int next_of[2] = {0, 2};
    for (int count = 0; count != 4;) {
      const detail::popped next = queue.try_pop();
      if (next.item == nullptr) {
        model::yield();
        continue;
      }
      const int number = take(next.item, items);
      MODEL_CHECK(number == next_of[number / 2]++);
      ++count;
    }
    MODEL_CHECK(!queue.maybe_nonempty());
  }
};

/// A thread pushes again the item that it has popped, as `yield()` does: the link is used again.
struct pushed_again : rl::test_suite<pushed_again, 3> {
  detail::injection_queue queue;
  item items[2];

  void thread(unsigned index) {
    if (index == 0) {
      for (int i = 0; i != 2; ++i) {
        items[i].payload.set(10 + i);
        queue.push(&items[i]);
      }
      return;
    }
    const detail::popped next = queue.try_pop();
    if (next.item == nullptr) return;
    const int number = take(next.item, items);
    items[number].payload.set(10 + number);
    queue.push(next.item);
  }

  void after() {
    for (item& each : items) each.taken = 0;
    for (int i = 0; i != 2; ++i) {
      const detail::popped next = queue.try_pop();
      MODEL_CHECK(next.item != nullptr);
      take(next.item, items);
    }
    MODEL_CHECK(!queue.maybe_nonempty());
    for (item& each : items) MODEL_CHECK(each.taken == 1);
  }
};

/// A thread pops what it can, announces that it will sleep, and looks again; a second thread pops meanwhile, and goes
/// on. If an item is left that can be popped, then the first thread has seen it, or another thread has seen the sleeper
/// afterwards: the pusher of the item, or the thread because of which the sleeper found nothing.
template <unsigned Pushers>
struct no_sleeper_beside_an_item : rl::test_suite<no_sleeper_beside_an_item<Pushers>, Pushers + 2> {
  detail::injection_queue queue;
  item items[2];
  detail::atomic<bool> sleeping{false};
  bool sleeper_seen[2] = {};
  bool sleeper_seen_by_popper = false;
  bool item_seen = false;

  void thread(unsigned index) {
    if (index < Pushers) {
      for (unsigned i = index; i < 2; i += Pushers) {
        items[i].payload.set(static_cast<int>(10 + i));
        queue.push(&items[i]);
        sleeper_seen[i] = sleeping.load(detail::seq_cst);
      }
      return;
    }
    if (index == Pushers) {
      const detail::popped next = queue.try_pop([this] { sleeper_seen_by_popper = sleeping.load(detail::seq_cst); });
      if (next.item != nullptr) take(next.item, items);
      return;
    }
    const detail::popped next = queue.try_pop();
    if (next.item != nullptr) take(next.item, items);
    sleeping.store(true, detail::seq_cst);
    item_seen = queue.can_pop();
  }

  void after() {
    for (int i = 0; i != 2; ++i)
      MODEL_CHECK(items[i].taken == 1 || item_seen || sleeper_seen_by_popper || sleeper_seen[0] || sleeper_seen[1]);
  }
};

/// Each of three threads leaves its item to the thread that has the lock: one of them pops it.
struct no_item_is_left_behind : rl::test_suite<no_item_is_left_behind, 3> {
  detail::injection_queue queue;
  item items[3];

  void thread(unsigned index) {
    items[index].payload.set(static_cast<int>(10 + index));
    queue.push(&items[index]);
    for (bool again = true; again;) {
      again = false;
      const detail::popped next = queue.pop_or_leave([&again] { again = true; });
      if (next.item == nullptr) continue;
      take(next.item, items);
      again = true;
    }
  }

  void after() {
    for (item& each : items) MODEL_CHECK(each.taken == 1);
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<every_item_once<1, false>>("every item comes out once");
  run.random<every_item_once<2, false>>("every item comes out once");
  run.random<every_item_once<2, true>>("every item of a batch comes out once");
  run.exhaustive<first_in_first_out>("first in, first out");
  run.random<first_in_first_out>("first in, first out");
  run.exhaustive<pushed_again>("a popped item is pushed again");
  run.random<pushed_again>("a popped item is pushed again");
  run.exhaustive<no_sleeper_beside_an_item<1>>("no thread sleeps beside an item");
  run.random<no_sleeper_beside_an_item<1>>("no thread sleeps beside an item");
  run.random<no_sleeper_beside_an_item<2>>("no thread sleeps beside an item of two pushers");
  run.exhaustive<no_item_is_left_behind>("no item is left behind");
  run.random<no_item_is_left_behind>("no item is left behind");
  return run.finish();
}
