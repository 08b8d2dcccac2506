// SPDX-License-Identifier: MIT
// A worker's own deque against two thieves, so small that every cell is used again and the deque is full now and then:
// every item is taken once, whole, or removed by the thread that created it; and no thread goes to sleep beside an item.

#include "model.hpp"

#include <dyngen/detail/pool/work_deque.hpp>

using namespace dyngen;
using detail::pop_status;

namespace {

struct item : detail::work_item {
  model::shared<int> payload;  // written before a push, read after a pop
  int taken = 0;
};

/// Notes that `work` was taken; its payload must be what the owner wrote.
int take(detail::work_item* work, item* items) {
  item* const taken = static_cast<item*>(work);
  const int index = static_cast<int>(taken - items);
  MODEL_CHECK(taken->payload.get() == 10 + index);
  ++taken->taken;
  return index;
}

/// The owner pushes all items, and pops one after every `PopEvery`th push and whenever the deque is full; or, if it looks
/// at old work, takes the oldest item as a thief does.
template <std::size_t Capacity, int Items, int PopEvery, unsigned Thieves, bool OwnerTakesOldest = false>
struct every_item_once
  : rl::test_suite<every_item_once<Capacity, Items, PopEvery, Thieves, OwnerTakesOldest>, 1 + Thieves> {
  detail::basic_work_deque<Capacity> deque;
  item items[Items];

  void pop() {
    if (detail::work_item* const last = deque.pop()) take(last, items);
  }

  void take_one() {
    if (!OwnerTakesOldest) return pop();
    const detail::popped oldest = deque.steal();
    if (oldest.item == nullptr) return;
    const int number = take(oldest.item, items);
    MODEL_CHECK(number > oldest_taken);
    oldest_taken = number;
  }
  int oldest_taken = -1;

  void own() {
    for (int i = 0; i != Items; ++i) {
      items[i].payload.set(10 + i);
      if (!deque.push(&items[i])) {
        MODEL_CHECK(i >= static_cast<int>(Capacity));
        pop();
        MODEL_CHECK(deque.push(&items[i]));  // one is gone, and only the owner pushes
      }
      if (i % PopEvery == PopEvery - 1) take_one();
    }
  }

  void thread(unsigned index) {
    if (index == 0) return own();
    for (int tries = 0, newest = -1; tries != 2; ++tries) {
      const detail::popped stolen = deque.steal();
      MODEL_CHECK((stolen.item != nullptr) == (stolen.status == pop_status::item));
      if (stolen.item == nullptr) continue;
      const int number = take(stolen.item, items);
      MODEL_CHECK(number > newest);  // oldest first
      newest = number;
    }
  }

  void after() {
    for (int last = Items; detail::work_item* const next = deque.pop();) {
      const int number = take(next, items);
      MODEL_CHECK(number < last);  // last in, first out
      last = number;
    }
    MODEL_CHECK(!deque.maybe_nonempty() && deque.size_hint() == 0);
    MODEL_CHECK(deque.steal().status == pop_status::empty);
    for (item& each : items) MODEL_CHECK(each.taken == 1);
  }
};

/// The owner pushes removable items between others, and pops. The creator of the removable items is another thread, as a
/// coroutine is that has moved to another worker. It removes each of them that no thread has taken, and uses the memory
/// again at once; the item that it removes first is then pushed once more, from the same memory.
template <std::size_t Capacity, int Items, unsigned Thieves>
struct removed_or_taken : rl::test_suite<removed_or_taken<Capacity, Items, Thieves>, 2 + Thieves> {
  using deque_type = detail::basic_work_deque<Capacity>;
  static constexpr int removable_items = (Items + 1) / 2;
  deque_type deque;
  item items[Items];
  detail::atomic<typename deque_type::cell_type*> cells[removable_items] = {};
  detail::atomic<bool> is_removed{false};  // the first one
  bool removed[removable_items] = {};

  static bool is_removable(int i) { return i % 2 == 0; }
  detail::work_item* pointer(int i) {
    const auto address = reinterpret_cast<std::uintptr_t>(&items[i]);
    return reinterpret_cast<detail::work_item*>(is_removable(i) ? address + 1 : address);
  }
  void take_pointer(detail::work_item* pointer) {
    const auto address = reinterpret_cast<std::uintptr_t>(pointer);
    take(reinterpret_cast<item*>(address & ~std::uintptr_t{1}), items);
  }
  void push(int i) {
    items[i].payload.set(10 + i);
    typename deque_type::cell_type* cell = deque.place(pointer(i));
    if (cell == nullptr) {
      if (detail::work_item* const last = deque.pop()) take_pointer(last);
      cell = deque.place(pointer(i));
    }
    // Without a place: a thief that has taken an item's index is about to take the item itself.
    if (cell == nullptr) return take_pointer(pointer(i));
    if (is_removable(i)) cells[i / 2].store(cell, detail::release);
  }
  void own() {
    for (int i = 0; i != Items; ++i) push(i);
    if (detail::work_item* const last = deque.pop()) take_pointer(last);
    if (!is_removed.load(detail::acquire)) return;
    push(0);
    --items[0].taken;
  }
  void create() {
    for (int i = 0; i != removable_items; ++i) {
      auto* const cell = cells[i].load(detail::acquire);
      if (cell == nullptr || !deque_type::remove(*cell, pointer(2 * i))) continue;
      items[2 * i].payload.set(-1);
      removed[i] = true;
      ++items[2 * i].taken;
      if (i == 0) is_removed.store(true, detail::release);
    }
  }
  void thread(unsigned index) {
    if (index == 0) return own();
    if (index == 1) return create();
    for (int tries = 0; tries != 2; ++tries)
      if (const detail::popped stolen = deque.steal(); stolen.item != nullptr) take_pointer(stolen.item);
  }
  void after() {
    while (detail::work_item* const next = deque.pop()) take_pointer(next);
    MODEL_CHECK(!deque.maybe_nonempty() && !deque.has_removable());
    for (item& each : items) MODEL_CHECK(each.taken == 1);
  }
};

/// The owner pops one removable item by pop_if(), as a parent does that runs on its own worker, against thieves.
struct popped_by_its_creator : rl::test_suite<popped_by_its_creator, 3> {
  detail::basic_work_deque<2> deque;
  item items[2];
  bool mine[2] = {};

  detail::work_item* pointer(int i) {
    return reinterpret_cast<detail::work_item*>(reinterpret_cast<std::uintptr_t>(&items[i]) + 1);
  }
  void thread(unsigned index) {
    if (index != 0) {
      const detail::popped stolen = deque.steal();
      if (stolen.item != nullptr) take(reinterpret_cast<item*>(reinterpret_cast<std::uintptr_t>(stolen.item) - 1), items);
      return;
    }
    for (int i = 0; i != 2; ++i) {
      items[i].payload.set(10 + i);
      auto* const cell = deque.place(pointer(i));
      if (cell == nullptr) {
        ++items[i].taken;
        continue;
      }
      mine[i] = deque.pop_if(pointer(i)) || deque.remove(*cell, pointer(i));
      if (!mine[i]) continue;
      items[i].payload.set(-1);  // no thief accesses it any more
      ++items[i].taken;
    }
  }
  void after() {
    for (item& each : items) MODEL_CHECK(each.taken == 1);
    MODEL_CHECK(!deque.has_removable() && deque.pop() == nullptr);
  }
};

/// A thread steals what it can, announces that it will sleep, and looks again. If an item is left, then the thread has
/// seen it, or the owner has seen the sleeper after pushing the item.
struct no_sleeper_beside_an_item : rl::test_suite<no_sleeper_beside_an_item, 3> {
  detail::basic_work_deque<2> deque;
  item items[3];
  detail::atomic<bool> sleeping{false};
  bool sleeper_seen[3] = {};
  bool item_seen = false;

  void push(int i) {
    items[i].payload.set(10 + i);
    if (!deque.push(&items[i])) ++items[i].taken;
    sleeper_seen[i] = sleeping.load(detail::seq_cst);
  }

  void thread(unsigned index) {
    if (index == 0) {
      push(0);
      push(1);
      if (detail::work_item* const last = deque.pop()) take(last, items);
      push(2);
      return;
    }
    const detail::popped stolen = deque.steal();
    if (stolen.item != nullptr) take(stolen.item, items);
    if (index == 1) return;
    sleeping.store(true, detail::seq_cst);
    item_seen = deque.maybe_nonempty();
  }

  void after() {
    for (int i = 0; i != 3; ++i) MODEL_CHECK(items[i].taken == 1 || item_seen || sleeper_seen[i]);
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<every_item_once<2, 3, 2, 2>>("two thieves, cells used again", 3);
  run.random<every_item_once<2, 5, 2, 2>>("two thieves, cells used again");
  run.exhaustive<every_item_once<2, 2, 1, 2>>("two thieves at the last item");
  run.random<every_item_once<4, 4, 1, 2>>("two thieves at the last item");
  run.exhaustive<every_item_once<1, 3, 9, 1>>("a full deque of one cell", 4);
  run.random<every_item_once<2, 6, 9, 2>>("a full deque");
  run.exhaustive<every_item_once<2, 3, 2, 1, true>>("the owner takes the oldest item", 4);
  run.random<every_item_once<2, 5, 1, 2, true>>("the owner takes the oldest item");
  run.random<every_item_once<4, 6, 2, 2, true>>("the owner takes the oldest item");
  run.exhaustive<removed_or_taken<2, 3, 1>>("an item is removed or taken", 3);
  run.random<removed_or_taken<2, 3, 1>>("an item is removed or taken");
  run.random<removed_or_taken<1, 3, 2>>("an item is removed or taken, one cell");
  run.random<removed_or_taken<4, 5, 2>>("an item is removed or taken, two thieves");
  run.exhaustive<popped_by_its_creator>("an item is popped by its creator", 3);
  run.random<popped_by_its_creator>("an item is popped by its creator");
  run.exhaustive<no_sleeper_beside_an_item>("no thread sleeps beside an item", 3);
  run.random<no_sleeper_beside_an_item>("no thread sleeps beside an item");
  return run.finish();
}
