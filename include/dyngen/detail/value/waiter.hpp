// SPDX-License-Identifier: MIT
#pragma once
// Waiters for something to be published, and the lists that contain them. Any number of threads register with a list,
// leave it, and sweep it at the same time. A sweep fires the waiters whose slots are published, and discards those that
// have left. The publisher sweeps, and so does a registering thread that finds its slot published [W4], or finds that
// many waiters have left. No thread waits for another one here, neither in a loop nor asleep; but see [W3].
//
//            add()                    sweep(), ready and claimed by the sweeper
//   (free) ─────────▶ armed, linked ────────────────────────────────────────────▶ fired
//                        │ try_claim() by its owner: timeout, cancel, another alternative
//                        ▼
//                  claimed, linked ── any later sweep(), or the end of the list ─▶ discarded
//
// Exactly one thread claims a waiter. The list has a reference on each linked waiter, so a thread that leaves does not
// unlink its waiter. `on_removed` drops that reference, once for each add(), whether the waiter is fired or discarded.
//
// [W1] No wake-up is lost. The publisher stores to the slot (seq_cst), then reads head_ (seq_cst). The registering
//      thread pushes to head_ (seq_cst), then reads the slot (seq_cst). At least one of the two sees the other's write.
//      The producer of a stream is the light side of this pair: a thread that waits for it executes the heavy fence
//      between its push and its read.
// [W2] A thread that sweeps and puts waiters back acts like a registering thread: it pushes them, then reads what they
//      wait for.
// [W3] Between the exchange that detaches the list and the push that puts the rest back, the sweeping thread runs no
//      user code, frees nothing and takes no lock: it reads slots and claims waiters. Waiters that have left are also
//      removed only after that push, because the last reference of one may destroy a task's record, and with it a
//      user's exception. If the system suspends the sweeping thread in this section, the detached waiters learn of
//      other publications only when that thread runs again. No wake-up is lost, because the thread then reads every
//      slot again [W2]; and no thread spins, because the waiting threads sleep. So the delay is the one that a mutex
//      held for these instructions could cause: the time for which the system keeps the sweeping thread from running.
//      To let other publishers claim detached waiters, the list would need nodes that outlive their owners, but most
//      nodes are on a stack or in a coroutine frame.
// [W4] A waiter that its owner has claimed may stay linked as long as the list exists. So it keeps nothing alive but its
//      own memory: the thread that claims a waiter takes over the waiter's reference to the waiting task. Otherwise two
//      records could keep each other: that of a task that ended with a failure, which it holds, and that of the task
//      that threw the failure, whose list has the waiter.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/thread_context.hpp>

#include <bit>
#include <cstdint>

namespace dyngen::detail {

/// A waiter for slot `index` of the group that owns the list.
struct waiter {
  waiter* next = nullptr;  ///< used only by the thread that has detached the waiter, or is about to push it
  /// Called once for each add(); `fired`: the caller has claimed the waiter. Drops the list's reference on it.
  void (*on_removed)(waiter& self, bool fired) noexcept = nullptr;
  atomic<std::uint32_t> claimed{0};
  std::uint32_t index = 0;

  /// Returns true for exactly one caller.
  bool try_claim() noexcept {
    // seq_cst: the claiming thread may have published something before (a cancel flag), and the waiter's owner reads it
    // after it has registered.
    return claimed.exchange(1, seq_cst) == 0;
  }

  bool is_claimed() const noexcept {
    // relaxed: it only lets a sweep discard the waiter; nothing that the claiming thread wrote is read.
    return claimed.load(relaxed) != 0;
  }
};

class waiter_list {
 public:
  waiter_list() = default;
  waiter_list(const waiter_list&) = delete;
  waiter_list& operator=(const waiter_list&) = delete;

  /// Discards the waiters that are still linked. No other thread may use the list any more.
  ~waiter_list() {
    // relaxed: this thread got exclusive access with the last reference on the owner.
    for (waiter* w = head_.load(relaxed); w != nullptr;) {
      waiter* next = w->next;
      w->on_removed(*w, false);
      w = next;
    }
  }

  /// Registers `w`. After that the caller must read whether the slot is published, and if so, claim `w` itself.
  /// `ready(index)` returns whether slot `index` is published (with seq_cst loads).
  template <class Ready>
  void add(waiter& w, Ready ready) noexcept {
    // relaxed: both counters only decide when to remove waiters that have left.
    const std::int32_t linked = linked_.fetch_add(1, relaxed) + 1;
    push(w, w);  // [W1]
    const std::int32_t left = left_.load(relaxed);
    if (left > purge_from && left > linked / 2) sweep(ready);
  }

  /// Must be called by a thread that has claimed a linked waiter without sweeping.
  void note_left() noexcept {
    // relaxed: as in add().
    left_.fetch_add(1, relaxed);
  }

  /// Returns whether a waiter is linked. Called after publishing.
  bool any() const noexcept { return head_.load(seq_cst) != nullptr; }  // [W1]
  /// Fires the waiters for slots that are published. Called after publishing.
  template <class Ready>
  void notify(Ready ready) noexcept {
    if (any()) [[unlikely]]
      sweep(ready);
  }

 private:
  static constexpr std::int32_t purge_from = 16;

  void push(waiter& first, waiter& last) noexcept {
    // relaxed: the exchange verifies the value.
    waiter* head = head_.load(relaxed);
    do {
      last.next = head;
      // relaxed on failure: the next exchange verifies the value.
    } while (!head_.compare_exchange_weak(head, &first, seq_cst, relaxed));
  }

  template <class Ready>
  DYNGEN_NOINLINE void sweep(Ready ready) noexcept {
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
      // relaxed: as in add().
      linked_.fetch_sub(removed, relaxed);
      left_.fetch_sub(discarded, relaxed);
      if (first == nullptr) break;
      push(*first, *last);  // [W2]
      bool again = false;
      for (; kept != 0 && !again; kept &= kept - 1) again = ready(static_cast<std::uint32_t>(std::countr_zero(kept)));
      if (!again) break;
    }
    fired.tell_removed(true);
    left.tell_removed(false);
  }

  /// Waiters that this sweep has claimed or found claimed [W3]. They are removed after the others are back in the list.
  class chain {
   public:
    void append(waiter& w) noexcept {
      w.next = nullptr;
      (last_ == nullptr ? first_ : last_->next) = &w;
      last_ = &w;
    }
    void tell_removed(bool fired) noexcept {
      while (first_ != nullptr) {
        waiter* w = first_;
        first_ = w->next;
        w->on_removed(*w, fired);
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
