// SPDX-License-Identifier: MIT
// The list of waiters for the slots of a group: publishers, threads that register, threads that leave, and a list with
// so many leavers that the next thread to register sweeps it. No thread sleeps beside a published slot, each
// registration is removed once, and each waiter is claimed by one thread.

#include "records.hpp"

using namespace dyngen;
using detail::slot;
using detail::stage;

namespace {

/// The waiter of one thread, and what happened to it.
struct party : detail::waiter {
  party() {
    on_removed = [](detail::waiter& self, bool fired) noexcept { static_cast<party&>(self).removed_by_list(fired); };
  }

  void removed_by_list(bool fired) {
    ++removed;
    MODEL_CHECK(prepared.get() == static_cast<int>(index));  // as all that its owner wrote before it registered
    if (!fired) return;
    ++claims;
    MODEL_CHECK(seen->get() == 7);  // what fires it has happened before
    woken.store(1, detail::relaxed);
    detail::wake_all(woken);
  }

  model::shared<int>* seen = nullptr;
  model::shared<int> prepared;
  detail::atomic<std::uint32_t> woken{0};
  int added = 0;
  int removed = 0;
  int claims = 0;
};

/// `Slots` slots of one group with a publisher each, then `Waiting` threads. `Left` waiters have left before.
template <unsigned Slots, unsigned Waiting, unsigned Leaving, unsigned Left>
struct waiting : rl::test_suite<waiting<Slots, Waiting, Leaving, Left>, Slots + Waiting + Leaving> {
  model::fresh_start fresh;
  model::values<int>* shared_state;
  model::shared<int> stored[2];
  party parties[Waiting + Leaving];
  party gone[Left + 1];

  detail::slot_group& slot_group() { return shared_state->results(); }

  void before() {
    // Slots 1 and 2 of the group; no value is ever looked at.
    shared_state = model::values<int>::create(2, detail::staging::none);
    unsigned linked = Left;
    for (unsigned i = 0; i != Left; ++i) {
      gone[i].index = 1;
      add(gone[i]);
      leave(gone[i]);
    }
    for (unsigned i = 0; i != Left; ++i) linked -= gone[i].removed;
    MODEL_CHECK(linked <= 17);  // however many come and go
  }

  /// Returns true if the slot is published already.
  bool add(party& w) {
    w.seen = &stored[w.index - 1];
    w.prepared.set(static_cast<int>(w.index));
    ++w.added;
    const detail::wait_point point{&slot_group().waiters, &detail::slot_group::published, &slot_group(), w.index};
    if (!point.add(w)) return false;
    ++w.claims;
    return true;
  }
  void leave(party& w) {
    if (!w.try_claim()) return;
    ++w.claims;
    slot_group().waiters.note_left();
  }

  void publish(unsigned index) {
    stored[index - 1].set(7);
    (void)detail::publish(slot_group().slot_array()[index], stage::value);
    slot_group().waiters.notify(slot_group().ready());
  }

  void wait(party& w) {
    if (add(w)) {
      MODEL_CHECK(stored[w.index - 1].get() == 7);
      return;
    }
    while (w.woken.load(detail::relaxed) == 0) detail::sleep_on(w.woken, 0);
    MODEL_CHECK(w.claims == 1);
  }

  void thread(unsigned index) {
    if (index < Slots) return publish(index + 1);
    const unsigned number = index - Slots;
    party& w = parties[number];
    w.index = 1 + number % Slots;
    if (number < Waiting) return wait(w);
    add(w);
    leave(w);  // a time limit has passed
  }

  void after() {
    shared_state->drop_references(4);  // ends the list
    for (party& w : parties) MODEL_CHECK(w.added == 1 && w.removed == 1 && w.claims == 1);
    for (unsigned i = 0; i != Left; ++i) MODEL_CHECK(gone[i].removed == 1 && gone[i].claims == 1);
    model::check_all_gone();
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<waiting<1, 1, 1, 0>>("one waits, one leaves");
  run.exhaustive<waiting<2, 2, 0, 0>>("two slots, two waiters");
  run.random<waiting<2, 2, 1, 0>>("two slots, two waiters, one leaves");
  run.random<waiting<1, 3, 0, 0>>("three wait for one");
  run.exhaustive<waiting<1, 1, 0, 34>>("a list of leavers");
  run.random<waiting<2, 2, 0, 34>>("a list of leavers, two slots");
  return run.finish();
}
