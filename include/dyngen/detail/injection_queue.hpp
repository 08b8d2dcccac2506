// SPDX-License-Identifier: MIT
#pragma once
// An unbounded first-in first-out queue of work items: any thread may push, any thread may pop.
// A push is two atomic operations and never waits. Poppers exclude each other by a lock that is only ever tried, so
// none waits either: it is told `busy`. After Vyukov's intrusive multi-producer queue, except that the stub is in the
// list only when nothing else is; `newest_` alone therefore says whether anything was pushed and not yet popped.
//
//   empty                 newest_ -> stub,            oldest_ -> stub
//     push A: exchange    newest_ -> A,               oldest_ -> stub      half linked: stub does not lead to A yet
//     push A: link        newest_ -> A,               oldest_ -> stub -> A
//     push B              newest_ -> B,               oldest_ -> stub -> A -> B
//   pop A: walk           newest_ -> B,               oldest_ -> B
//   pop B: put stub back  newest_ -> stub,            oldest_ -> stub      one compare-exchange: fails if C was pushed
//
// Dekker pair [I1]: push (newest_ changes), then the pusher looks whether anybody sleeps
//                 | a thread says that it will sleep, then looks at newest_ in maybe_nonempty().

#include <dyngen/detail/atomic.hpp>
#include <dyngen/detail/work_item.hpp>

#include <cstddef>

namespace dyngen::detail {

class injection_queue {
public:
  injection_queue() = default;
  injection_queue(const injection_queue&) = delete;
  injection_queue& operator=(const injection_queue&) = delete;

  /// Appends an item that is in no queue. From any thread; the item may be popped, run and gone before this returns.
  void push(work_item* item) noexcept {
    // [I2] relaxed: nobody else knows the item before the exchange below publishes it.
    item->next_in_queue.store(nullptr, relaxed);
    // [I1] seq_cst, see above. [I3] As an acquire it orders `before`'s null link before the link written next.
    work_item* const before = newest_.exchange(item, seq_cst);
    // [I4] publishes the item and all that the pusher wrote before: pairs with the acquire loads in take().
    before->next_in_queue.store(item, release);
  }

  /// Takes the oldest item. `busy` if another thread pops, or if the oldest push is only half done.
  popped try_pop() noexcept {
    if (seems_empty()) return {nullptr, pop_status::empty};
    if (!try_lock()) return {nullptr, pop_status::busy};
    const popped result = take();
    unlock();
    return result;
  }

  /// Takes up to `most` items, oldest first, and returns how many. Zero says nothing about why.
  std::size_t try_pop_batch(work_item** out, std::size_t most) noexcept {
    if (seems_empty() || !try_lock()) return 0;
    std::size_t count = 0;
    while (count != most) {
      const popped next = take();
      if (next.status != pop_status::item) break;
      out[count++] = next.item;
    }
    unlock();
    return count;
  }

  /// Whether anything is pushed, perhaps half, and not popped: what a thread looks at after it has said that it will
  /// sleep. May say yes for nothing; says no only if every push before this look, in the one order of seq_cst
  /// operations, has been popped.
  bool maybe_nonempty() const noexcept { return newest_.load(seq_cst) != &stub_; }

private:
  struct stub_item : work_item {};

  bool seems_empty() const noexcept {
    // [I5] relaxed: only saves the lock. A push missed here is seen by maybe_nonempty() before anybody sleeps.
    return newest_.load(relaxed) == &stub_;
  }

  bool try_lock() noexcept {
    // [I6] acquire: pairs with unlock(); the next popper sees `oldest_` and the stub as the last one left them.
    // The load before it is relaxed: it only keeps the line shared while somebody else holds the lock.
    return !popping_.load(relaxed) && !popping_.exchange(true, acquire);
  }

  // [I6] release: pairs with try_lock().
  void unlock() noexcept { popping_.store(false, release); }

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
  atomic<bool> popping_{false};                            // the lock
};

}  // namespace dyngen::detail
