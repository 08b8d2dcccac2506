// SPDX-License-Identifier: MIT
#pragma once
// Who waits for something to be published, and the lists they wait in. A list has any number of registering threads,
// any number of leavers, and any number of sweepers (the publisher, and whoever registers and finds many leavers).
// No thread waits for another one here, in a loop or asleep; but see [W3].
//
//            add()                    sweep(), ready and claimed by the sweeper
//   (free) ─────────▶ armed, linked ────────────────────────────────────────────▶ fired
//                        │ try_claim() by its owner: timeout, cancel, another alternative
//                        ▼
//                  claimed, linked ── any later sweep(), or the end of the list ─▶ discarded
//
// Exactly one party claims a waiter. A linked waiter is referenced by its list, so leaving never unlinks: fired or
// discarded, `settle` gives that reference up, once for each add().
//
// [W1] No wake-up is lost: the publisher stores (seq_cst), then looks at head_ (seq_cst); the registering thread
//      pushes on head_ (seq_cst), then looks whether it is published (seq_cst). One of the two sees the other. The
//      producer of a stream stores by the light side of it, and who waits for that passes the heavy fence between.
// [W2] A sweeper that puts waiters back does as a registering thread does: pushes, then looks at what they wait for.
// [W3] Between the exchange that detaches the list and the push that puts the rest back, a sweeper runs no code of the
//      user, frees nothing and takes no lock: it looks at slots and claims. Waiters that have left are settled after that
//      too, since the last reference of one may end a task's record, and with it an exception of the user. If the system
//      takes the sweeper's processor away meanwhile, then the waiters that it has detached get what others publish only
//      when it goes on: no wake-up is lost, since it looks at every slot again [W2], and no thread spins for it, since
//      they sleep. So what it can delay is what a mutex held for these instructions could, by no more than the system
//      keeps it from running. To let other publishers claim waiters that are detached would need a list whose nodes
//      outlive their owners; most of these are on a stack, or in a frame.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/thread_context.hpp>

#include <bit>
#include <cstdint>

namespace dyngen::detail {

/// One party that waits for slot `index` of the group whose list it is in.
struct waiter {
  waiter* next = nullptr;  ///< touched only by whoever has detached it, or is about to push it
  /// Called once per add(): `fired` tells whether the caller claimed it. Drops the list's reference on the waiter.
  void (*settle)(waiter& self, bool fired) noexcept = nullptr;
  atomic<std::uint32_t> claimed{0};
  std::uint32_t index = 0;

  /// True for exactly one caller.
  bool try_claim() noexcept {
    // seq_cst: what the claimer publishes before (a cancel flag) competes with what the waiter's owner looks at after
    // registering.
    return claimed.exchange(1, seq_cst) == 0;
  }

  bool is_claimed() const noexcept {
    // relaxed: only lets a sweeper discard the waiter; the claimer's effects are not looked at.
    return claimed.load(relaxed) != 0;
  }
};

class waiter_list {
 public:
  waiter_list() = default;
  waiter_list(const waiter_list&) = delete;
  waiter_list& operator=(const waiter_list&) = delete;

  /// Discards what is left. Nobody else may use the list any more.
  ~waiter_list() {
    // relaxed: exclusive access was handed over with the last reference on the owner.
    for (waiter* w = head_.load(relaxed); w != nullptr;) {
      waiter* next = w->next;
      w->settle(*w, false);
      w = next;
    }
  }

  /// Registers `w`. The caller then looks whether its slot is ready, and claims `w` itself if so.
  /// `ready(index)` tells whether slot `index` is published (with seq_cst loads).
  template <class Ready>
  void add(waiter& w, Ready ready) noexcept {
    // relaxed: both counters only decide when to tidy up.
    const std::int32_t linked = linked_.fetch_add(1, relaxed) + 1;
    push(w, w);  // [W1]
    const std::int32_t left = left_.load(relaxed);
    if (left > purge_from && left > linked / 2) sweep(ready);
  }

  /// To be called by whoever claimed a linked waiter without being its sweeper.
  void note_left() noexcept {
    // relaxed: see add().
    left_.fetch_add(1, relaxed);
  }

  /// Does anybody wait? To be asked after publishing.
  bool any() const noexcept { return head_.load(seq_cst) != nullptr; }  // [W1]
  /// To be called after publishing: fires those that wait for something published.
  template <class Ready>
  void notify(Ready ready) noexcept {
    if (any()) [[unlikely]]
      sweep(ready);
  }

 private:
  static constexpr std::int32_t purge_from = 16;

  void push(waiter& first, waiter& last) noexcept {
    // relaxed: the value is only a guess that the exchange below verifies.
    waiter* head = head_.load(relaxed);
    do {
      last.next = head;
      // relaxed on failure: as above.
    } while (!head_.compare_exchange_weak(head, &first, seq_cst, relaxed));
  }

  template <class Ready>
  [[gnu::noinline]] void sweep(Ready ready) noexcept {
    const publication all;
    chain fired;
    chain left;
    for (;;) {
      waiter* list = in_order_of_arrival(head_.exchange(nullptr, seq_cst));
      waiter* first = nullptr;
      waiter* last = nullptr;
      std::uint64_t kept = 0;
      std::int32_t removed = 0;
      std::int32_t discarded = 0;
      while (list != nullptr) {
        waiter* w = list;
        list = w->next;
        const bool is_ready = ready(w->index);
        if (is_ready && w->try_claim()) {
          ++removed;
          fired.append(*w);
        } else if (is_ready || w->is_claimed()) {
          ++removed;
          ++discarded;
          left.append(*w);
        } else {
          kept |= std::uint64_t{1} << w->index;
          w->next = first;  // newest first again
          first = w;
          if (last == nullptr) last = w;
        }
      }
      // relaxed: see add().
      linked_.fetch_sub(removed, relaxed);
      left_.fetch_sub(discarded, relaxed);
      if (first == nullptr) break;
      push(*first, *last);  // [W2]
      bool again = false;
      for (; kept != 0 && !again; kept &= kept - 1) again = ready(static_cast<std::uint32_t>(std::countr_zero(kept)));
      if (!again) break;
    }
    fired.settle(true);
    left.settle(false);
  }

  /// Waiters that this sweep has claimed, or found claimed [W3]. They are settled when those it keeps are back in the list.
  class chain {
   public:
    void append(waiter& w) noexcept {
      w.next = nullptr;
      (last_ == nullptr ? first_ : last_->next) = &w;
      last_ = &w;
    }
    void settle(bool fired) noexcept {
      while (first_ != nullptr) {
        waiter* w = first_;
        first_ = w->next;
        w->settle(*w, fired);
      }
    }

   private:
    waiter* first_ = nullptr;
    waiter* last_ = nullptr;
  };

  static waiter* in_order_of_arrival(waiter* list) noexcept {
    waiter* reversed = nullptr;
    while (list != nullptr) {
      waiter* next = list->next;
      list->next = reversed;
      reversed = list;
      list = next;
    }
    return reversed;
  }

  static_assert(atomic<waiter*>::is_always_lock_free && atomic<std::int32_t>::is_always_lock_free);

  atomic<waiter*> head_{nullptr};
  atomic<std::int32_t> linked_{0};
  atomic<std::int32_t> left_{0};
};

}  // namespace dyngen::detail
