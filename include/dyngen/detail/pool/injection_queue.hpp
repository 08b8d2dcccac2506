// SPDX-License-Identifier: MIT
#pragma once
// An unbounded first-in first-out queue of work items. Any thread may push, any thread may pop.
// A push is two atomic operations and never waits. Poppers exclude each other by a lock. They only try to take it, so
// none of them waits either: a popper that fails gets `busy`. After Vyukov's intrusive multi-producer queue, except
// that the stub is put back only when the last item is popped. So `newest_` alone tells whether the queue is empty.
//
//   empty                 newest_ ──▶ stub,           oldest_ ──▶ stub
//     push A: exchange    newest_ ──▶ A,              oldest_ ──▶ stub     half linked: stub does not lead to A yet
//     push A: link        newest_ ──▶ A,              oldest_ ──▶ stub ──▶ A
//     push B              newest_ ──▶ B,              oldest_ ──▶ stub ──▶ A ──▶ B
//   pop A: walk           newest_ ──▶ B,              oldest_ ──▶ B
//   pop B: put stub back  newest_ ──▶ stub,           oldest_ ──▶ stub     one compare-exchange: fails if C was pushed
//
// A pusher that is preempted between its exchange and its link keeps its item, and all items pushed after it, from
// every popper until it goes on. So does a popper that is preempted while it holds the lock. No thread waits for either
// in a loop: a thread that finds nothing to pop sleeps, and the preempted thread wakes it when it goes on.
//   A thread that is about to sleep announces that in a word that every pusher reads after its push. Then it calls
//   can_pop(), which may return false for two reasons:
//   [I1] Nothing was pushed, or a push is half done. `newest_`, the links and the word with the announcement change by
//        seq_cst operations. So every push that was incomplete when can_pop() read its link reads that word after the
//        announcement.
//   [I8] Another thread holds the lock. `lock_` counts the threads that were turned away. The holder reads that count
//        in unlock() and, if it is not zero, does what a pusher does after a push. It sees their announcements: their
//        fetch_add is a release, its exchange an acquire. If the holder is in can_pop() itself, it checks again in
//        their place.
// Since no worker spins, one with a real-time priority does not keep a preempted pusher of lower priority from running.
// How long items stay out of reach depends on the system's scheduler, as with any lock.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/work_item.hpp>

#include <cstddef>
#include <cstdint>

namespace dyngen::detail {

class injection_queue {
  struct nothing {
    void operator()() const noexcept {}
  };

public:
  injection_queue() = default;
  injection_queue(const injection_queue&) = delete;
  injection_queue& operator=(const injection_queue&) = delete;

  /// Appends an item that is in no queue. From any thread. The item may be popped, run and destroyed before this
  /// returns.
  void push(work_item* item) noexcept {
    work_item* const before = begin_push(item);
    complete_push(before, item);
  }

  /// The two halves of push(). Tests call them to let other threads act in between.
  work_item* begin_push(work_item* item) noexcept {
    // [I2] relaxed: no other thread knows the item before the exchange below publishes it.
    item->next_in_queue.store(nullptr, relaxed);
    // [I1] seq_cst. [I3] As an acquire it orders the null in `before`'s link before the link that is written next.
    return newest_.exchange(item, seq_cst);
  }
  void complete_push(work_item* before, work_item* item) noexcept {
    // [I1] seq_cst. [I4] As a release it publishes the item and all that the pusher wrote before: pairs with the
    //      acquire loads in take().
    before->next_in_queue.store(item, seq_cst);
  }

  /// Pops the oldest item. Returns `busy` if another thread holds the lock, or if the oldest push is half done. Finally
  /// calls `turned_away()` if another thread was turned away meanwhile [I8].
  template <class TurnedAway = nothing>
  popped try_pop(TurnedAway turned_away = {}) noexcept {
    if (seems_empty()) return {nullptr, pop_status::empty};
    if (!try_lock()) return {nullptr, pop_status::busy};
    const popped result = take();
    if (unlock()) turned_away();
    return result;
  }

  /// Like try_pop(), except that if another thread holds the lock, this one counts as turned away: the holder then
  /// calls its own `turned_away()` [I8].
  template <class TurnedAway>
  popped pop_or_leave(TurnedAway turned_away) noexcept {
    if (!lock_or_tell()) return {nullptr, pop_status::busy};
    const popped result = take();
    if (unlock()) turned_away();
    return result;
  }

  /// Pops up to `max` items into `out`, oldest first, and returns how many; 0 also if it is busy. Finally calls
  /// `turned_away()` like try_pop().
  template <class TurnedAway = nothing>
  std::size_t try_pop_batch(work_item** out, std::size_t max, TurnedAway turned_away = {}) noexcept {
    if (seems_empty() || !try_lock()) return 0;
    std::size_t count = 0;
    while (count != max) {
      const popped next = take();
      if (next.status != pop_status::item) break;
      out[count++] = next.item;
    }
    if (unlock()) turned_away();
    return count;
  }

  /// Is any item pushed, at least half, and not popped? May return true for an empty queue. Returns false only if the
  /// item of every push before this load, in the order of seq_cst operations, has been popped.
  bool maybe_nonempty() const noexcept { return newest_.load(seq_cst) != &stub_; }

  /// Would try_pop() return an item? Called by a thread that has announced that it will sleep. If the result is false,
  /// the thread that makes it true looks for sleepers after that: a pusher, or the holder of the lock.
  bool can_pop() noexcept {
    if (!maybe_nonempty()) return false;  // [I1]
    while (lock_or_tell()) {
      const bool is_whole = oldest_is_linked();
      if (!unlock() || is_whole) return is_whole;  // [I8]
    }
    return false;
  }

private:
  struct stub_item : work_item {};

  bool seems_empty() const noexcept {
    // [I5] relaxed: only saves taking the lock. can_pop() sees a push missed here before the thread sleeps.
    return newest_.load(relaxed) == &stub_;
  }

  bool try_lock() noexcept {
    // relaxed load first: it keeps the cache line shared while another thread holds the lock.
    std::uint32_t free = 0;
    // [I6] acquire: pairs with unlock(); the popper sees `oldest_` and the stub as the last holder left them.
    // relaxed on failure: nothing is read through the value.
    return lock_.load(relaxed) == 0 && lock_.compare_exchange_strong(free, 1, acquire, relaxed);
  }
  /// Takes the lock, or, if another thread holds it, counts this thread as turned away.
  bool lock_or_tell() noexcept {
    // [I6] acquire, as in try_lock(). [I8] release: the holder sees what this thread has announced.
    return lock_.fetch_add(1, acq_rel) == 0;
  }
  /// Returns whether a thread was turned away meanwhile.
  bool unlock() noexcept {
    // [I6] release: pairs with try_lock(). [I8] acquire: pairs with lock_or_tell().
    return lock_.exchange(0, acq_rel) != 1;
  }

  /// Under the lock, of a queue that is not empty: would take() return an item?
  bool oldest_is_linked() const noexcept {
    const work_item* item = oldest_.load(relaxed);  // [I7]
    if (item == &stub_) {
      item = stub_.next_in_queue.load(seq_cst);  // [I1]; as acquire [I4]
      if (item == nullptr) return false;
    }
    return item->next_in_queue.load(seq_cst) != nullptr || newest_.load(seq_cst) == item;  // [I1]
  }

  /// Under the lock: pops the oldest item.
  popped take() noexcept {
    // [I7] relaxed, here and below: `oldest_` is only used under the lock.
    work_item* item = oldest_.load(relaxed);
    if (item == &stub_) {
      // [I4] acquire: sees the item that the link leads to.
      item = stub_.next_in_queue.load(acquire);
      if (item == nullptr) return {nullptr, seems_empty() ? pop_status::empty : pop_status::busy};
      oldest_.store(item, relaxed);
    }
    // [I4] acquire: sees the next item, which becomes the oldest.
    work_item* const next = item->next_in_queue.load(acquire);
    if (next != nullptr) {
      oldest_.store(next, relaxed);
      return {item, pop_status::item};
    }
    return take_last(item);
  }

  /// Under the lock: `item` is the oldest, and no link leads on from it.
  popped take_last(work_item* item) noexcept {
    // [I2] relaxed: the push whose exchange returns the stub comes after the release below.
    stub_.next_in_queue.store(nullptr, relaxed);
    work_item* newest = item;
    // [I3] release: pairs with the exchange of a push; the null above must not overwrite the link from the stub that
    //      the push writes. Not seq_cst: a thread that misses it only finds the queue "nonempty" once more. relaxed on
    //      failure: the push that came between is half linked, and nothing is read through the value.
    if (!newest_.compare_exchange_strong(newest, &stub_, release, relaxed)) return {nullptr, pop_status::busy};
    oldest_.store(&stub_, relaxed);
    return {item, pop_status::item};
  }

  stub_item stub_;
  alignas(cache_line) atomic<work_item*> newest_{&stub_};  // written by pushers
  alignas(cache_line) atomic<work_item*> oldest_{&stub_};  // read and written under the lock
  atomic<std::uint32_t> lock_{0};  // of poppers: 0 free, else 1 + threads turned away since it was taken
};

}  // namespace dyngen::detail
