// SPDX-License-Identifier: MIT
#pragma once
// Failures that no handle holds any more and that a worker will report: an intrusive list of the tasks' shared states,
// so that adding one allocates nothing. Any thread adds, any worker takes all.
//
// [Q1] add() publishes what the shared state holds; take_all() acquires it.

#include <dyngen/detail/value/shared_state.hpp>

namespace dyngen::detail {

class lost_failures {
 public:
  /// Adds a reference to `lost`, and links it. Lock-free.
  void add(shared_state& lost) noexcept {
    lost.add_references(1);
    shared_state* first = first_.load(relaxed);  // relaxed: verified by the exchange
    do {
      lost.link(first);
      // seq_cst: the caller then reads whether a worker sleeps; a worker that will sleep announces it, then reads this
      // list.
    } while (!first_.compare_exchange_weak(first, &lost, seq_cst, relaxed));  // [Q1]
  }
  bool maybe_nonempty() const noexcept { return first_.load(seq_cst) != nullptr; }

  /// Takes all, with their references, and returns the oldest; null if there is none. after() returns the next one.
  shared_state* take_all() noexcept {
    shared_state* rest = first_.exchange(nullptr, acquire);  // [Q1]
    shared_state* in_order = nullptr;
    while (rest != nullptr) {
      shared_state* const next = rest->unlink();
      rest->link(in_order);
      in_order = rest;
      rest = next;
    }
    return in_order;
  }
  static shared_state* after(shared_state& taken) noexcept { return taken.unlink(); }

 private:
  static_assert(atomic<shared_state*>::is_always_lock_free);
  atomic<shared_state*> first_{nullptr};
};

}  // namespace dyngen::detail
