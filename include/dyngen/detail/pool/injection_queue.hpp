// SPDX-License-Identifier: MIT
#pragma once
// An unbounded first-in first-out queue of work items: any thread may push, any thread may pop.
// A push is two atomic operations and never waits. Poppers exclude each other by a lock that is only ever tried, so none
// waits either: it is told `busy`. After Vyukov's intrusive multi-producer queue, except that the stub is in the list only
// when nothing else is; `newest_` alone therefore says whether anything was pushed and not yet popped.
//
//   empty                 newest_ -> stub,            oldest_ -> stub
//     push A: exchange    newest_ -> A,               oldest_ -> stub      half linked: stub does not lead to A yet
//     push A: link        newest_ -> A,               oldest_ -> stub -> A
//     push B              newest_ -> B,               oldest_ -> stub -> A -> B
//   pop A: walk           newest_ -> B,               oldest_ -> B
//   pop B: put stub back  newest_ -> stub,            oldest_ -> stub      one compare-exchange: fails if C was pushed
//
// A pusher that loses its processor between its exchange and its link keeps its item, and all that are pushed after it,
// from every popper until it goes on; so does a popper that loses its processor while it holds the lock. No thread waits
// for either in a loop: a thread that finds nothing to pop sleeps, and the one that it would have waited for wakes it.
//   A thread that is about to sleep says so first, where a pusher looks after each push. Then it asks can_pop().
//   [I1] If the answer is no because nothing was pushed, or a push was half done: newest_ and the links change by seq_cst,
//        as does the word where the thread has said that it will sleep. So every push that was not yet complete when
//        can_pop() read its link looks for sleepers after that thread has said that it is one.
//   [I8] If the answer is no because another thread has the lock: `lock_` counts the threads that it has turned away, the
//        holder learns by its unlock() that there are some, and then does what a pusher does after a push. It sees what
//        they have said: their fetch_add releases it, its exchange acquires it. A holder that has only asked can_pop()
//        asks again in their place.
// Under a real-time priority too, therefore, a worker does not keep a pusher of lower priority from its processor. How long
// the items stay out of reach is up to the system's scheduler, as with any lock.

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

  /// Appends an item that is in no queue. From any thread; the item may be popped, run and gone before this returns.
  void push(work_item* item) noexcept {
    work_item* const before = begin_push(item);
    complete_push(before, item);
  }

  /// push() in two halves, for tests of what other threads do between them.
  work_item* begin_push(work_item* item) noexcept {
    // [I2] relaxed: no other thread knows the item before the exchange below publishes it.
    item->next_in_queue.store(nullptr, relaxed);
    // [I1] seq_cst, see above. [I3] As an acquire it orders `before`'s null link before the link written next.
    return newest_.exchange(item, seq_cst);
  }
  void complete_push(work_item* before, work_item* item) noexcept {
    // [I1] seq_cst, see above. [I4] As a release it publishes the item and all that the pusher wrote before: pairs with
    // the acquire loads in take().
    before->next_in_queue.store(item, seq_cst);
  }

  /// Takes the oldest item. `busy` if another thread has the lock, or if the oldest push is only half done. Calls
  /// `turned_away()` at the end if a thread that asked can_pop() was turned away meanwhile [I8].
  template <class TurnedAway = nothing>
  popped try_pop(TurnedAway turned_away = {}) noexcept {
    if (seems_empty()) return {nullptr, pop_status::empty};
    if (!try_lock()) return {nullptr, pop_status::busy};
    const popped result = take();
    if (unlock()) turned_away();
    return result;
  }

  /// The same for a thread that leaves it to the thread that has the lock, if there is one, to look once more [I8].
  template <class TurnedAway>
  popped pop_or_leave(TurnedAway turned_away) noexcept {
    if (!lock_or_tell()) return {nullptr, pop_status::busy};
    const popped result = take();
    if (unlock()) turned_away();
    return result;
  }

  /// Takes up to `max` items, oldest first, and returns how many. Zero says nothing about why. `turned_away` as above.
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

  /// Whether anything is pushed, perhaps half, and not popped. May say yes for nothing; says no only if every push before
  /// this look, in the one order of seq_cst operations, has been popped.
  bool maybe_nonempty() const noexcept { return newest_.load(seq_cst) != &stub_; }

  /// Would try_pop() give an item? A thread that has said that it will sleep asks this. If the answer is no, then whichever
  /// thread makes it yes looks for sleepers after that: a pusher, or the thread that has the lock.
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
    // [I5] relaxed: only saves the lock. A push missed here is seen by can_pop() before the thread sleeps.
    return newest_.load(relaxed) == &stub_;
  }

  bool try_lock() noexcept {
    // The load before it is relaxed: it only keeps the line shared while another thread has the lock.
    std::uint32_t free = 0;
    // [I6] acquire: pairs with unlock(); the next popper sees `oldest_` and the stub as the last one left them. On failure
    // nothing is read through the value: relaxed.
    return lock_.load(relaxed) == 0 && lock_.compare_exchange_strong(free, 1, acquire, relaxed);
  }
  /// The same, but if another thread has the lock it is told that this one came.
  bool lock_or_tell() noexcept {
    // [I6] acquire, as above. [I8] release: the holder sees what this thread has said before.
    return lock_.fetch_add(1, acq_rel) == 0;
  }
  /// Returns whether another thread has told that it came.
  bool unlock() noexcept {
    // [I6] release: pairs with try_lock(). [I8] acquire: pairs with lock_or_tell().
    return lock_.exchange(0, acq_rel) != 1;
  }

  /// Under the lock, of a queue that is not empty: as take(), but takes nothing.
  bool oldest_is_linked() const noexcept {
    const work_item* item = oldest_.load(relaxed);  // [I7]
    if (item == &stub_) {
      item = stub_.next_in_queue.load(seq_cst);  // [I1] as acquire [I4]
      if (item == nullptr) return false;
    }
    return item->next_in_queue.load(seq_cst) != nullptr || newest_.load(seq_cst) == item;  // [I1]
  }

  /// Under the lock.
  popped take() noexcept {
    // [I7] relaxed, here and below: `oldest_` is touched under the lock only.
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

  /// Under the lock; `item` is the oldest and no link leads on from it.
  popped take_last(work_item* item) noexcept {
    // [I2] relaxed: the exchange of the push that gets hold of the stub comes after the release below.
    stub_.next_in_queue.store(nullptr, relaxed);
    work_item* newest = item;
    // [I3] release: pairs with the exchange in push(), whose link to the stub must not be overwritten by the null
    // above. Not seq_cst: a look that misses it only says "nonempty" once more. On failure the push that came between
    // is half linked, and nothing is read through the value: relaxed.
    if (!newest_.compare_exchange_strong(newest, &stub_, release, relaxed)) return {nullptr, pop_status::busy};
    oldest_.store(&stub_, relaxed);
    return {item, pop_status::item};
  }

  stub_item stub_;
  alignas(cache_line) atomic<work_item*> newest_{&stub_};  // written by pushers
  alignas(cache_line) atomic<work_item*> oldest_{&stub_};  // read and written under the lock
  atomic<std::uint32_t> lock_{0};  // of poppers: 0 if free, else 1 and how many were turned away since it was taken
};

}  // namespace dyngen::detail
