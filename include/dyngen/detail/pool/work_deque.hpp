// SPDX-License-Identifier: MIT
#pragma once
// A worker's own queue: a bounded deque of work items. Its owner, one thread, pushes and pops at the bottom, last in
// first out. Any other thread steals at the top, oldest first. No operation waits, allocates or throws; a push into a
// full deque is refused. After Chase and Lev (2005), with the orders of Lê et al. (2013) on the operations instead of
// on fences.
//
//    top_ (thieves: upwards)                bottom_ (owner: both ways)
//      │                                      │
//      ▼                                      ▼
//     item, item, item, ... , item, item, (free), ...     the cell of index i is cells_[i % capacity]
//
// The items have the indices top_ <= i < bottom_. `top_` only grows: the thread that moves it from i to i + 1 takes
// item i. The owner may also call steal(), which takes its oldest item, as a thief does.
//
// Dekker pairs, seq_cst on all four operations of each:
//   [V1] The owner pops index i: it sets bottom_ = i, then reads top_.
//      | A thief steals index i: it reads (or moves) top_, then reads bottom_.
//   [V2] The owner pushes: it moves bottom_, then reads whether a thread sleeps.
//      | A thread announces that it will sleep, then reads bottom_ in maybe_nonempty().

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/work_item.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace dyngen::detail {

template <std::size_t Capacity = 256>
class basic_work_deque {
  static_assert(Capacity != 0 && (Capacity & (Capacity - 1)) == 0, "the capacity of a work deque is a power of two");

public:
  basic_work_deque() = default;
  basic_work_deque(const basic_work_deque&) = delete;
  basic_work_deque& operator=(const basic_work_deque&) = delete;

  static constexpr std::size_t capacity() noexcept { return Capacity; }

  /// Owner only. Returns false, and does nothing, when the deque is full.
  bool push(work_item* item) noexcept {
    // [V3] relaxed: the owner reads its own store.
    const std::int64_t bottom = bottom_.load(relaxed);
    // [V4] acquire: pairs with the compare-exchange of the thief that freed the cell, which read the cell before.
    const std::int64_t top = top_.load(acquire);
    if (bottom - top >= static_cast<std::int64_t>(Capacity)) return false;
    // [V5] relaxed: published by the store of `bottom_`.
    cell(bottom).store(item, relaxed);
    // [V2] seq_cst. [V5] As a release it publishes the cell and the item: pairs with steal().
    bottom_.store(bottom + 1, seq_cst);
    return true;
  }

  /// Owner only. Pops the newest item; null if there is none.
  work_item* pop() noexcept {
    // [V3] relaxed: the owner's own store. relaxed for top_: it never passes bottom_, and a stale, lower value only
    //      leads to the slow path.
    const std::int64_t bottom = bottom_.load(relaxed) - 1;
    if (top_.load(relaxed) > bottom) return nullptr;
    // [V1] claims index `bottom`, then checks for thieves that have come that far.
    bottom_.store(bottom, seq_cst);
    std::int64_t top = top_.load(seq_cst);
    if (top < bottom) return cell(bottom).load(relaxed);  // [V3] relaxed: the owner wrote the cell
    work_item* const last = top == bottom ? take_last(top) : nullptr;
    // [V6] relaxed: the deque is empty and `top_` has this very value, so it lets no thief claim an item.
    bottom_.store(bottom + 1, relaxed);
    return last;
  }

  /// Owner only. Pops the newest item if it is `item`. Returns whether it did.
  bool pop_if(const work_item* item) noexcept {
    // [V3] relaxed, both: the owner's own stores.
    return cell(bottom_.load(relaxed) - 1).load(relaxed) == item && pop() != nullptr;
  }

  /// Any thread, also the owner. Returns the oldest item; `busy` if another thread took it at this moment.
  popped steal() noexcept {
    // [V1] seq_cst on all three. Also on this load: if it read another thief's move of `top_` without being ordered
    //      after that move, the next load would not be ordered after the owner's store, and item `bottom - 1` could be
    //      taken twice.
    std::int64_t top = top_.load(seq_cst);
    // [V5] As an acquire it sees the cells and items below `bottom`: pairs with push().
    const std::int64_t bottom = bottom_.load(seq_cst);
    if (top >= bottom) return {nullptr, pop_status::empty};
    // [V5] relaxed: push() has published it. If the owner has reused the cell, `top_` has moved and the claim fails.
    work_item* const item = cell(top).load(relaxed);
    // [V4] As a release it pairs with the acquire in push(). relaxed on failure: nothing is read through the value.
    if (!top_.compare_exchange_strong(top, top + 1, seq_cst, relaxed)) return {nullptr, pop_status::busy};
    return {item, pop_status::item};
  }

  /// Is any item pushed and not taken? A thread calls this after it has announced that it will sleep. May return true
  /// for an empty deque. Returns false only if every push before this load, in the order of seq_cst operations, was
  /// taken.
  bool maybe_nonempty() const noexcept {
    const std::int64_t bottom = bottom_.load(seq_cst);  // [V2]
    // relaxed: `top_` passes an item only when the item is taken; a stale, lower value errs on the safe side.
    return top_.load(relaxed) < bottom;
  }

  /// Returns approximately how many items there are. For statistics.
  std::size_t size_hint() const noexcept {
    // relaxed, both: a hint.
    const std::int64_t size = bottom_.load(relaxed) - top_.load(relaxed);
    return size > 0 ? static_cast<std::size_t>(size) : 0;
  }

private:
  /// Owner only: index `top` is the last item. It belongs to the thread that moves `top_`, the owner or a thief.
  work_item* take_last(std::int64_t top) noexcept {
    // [V3] relaxed: the owner wrote the cell.
    work_item* const item = cell(top).load(relaxed);
    // relaxed: it only decides between the owner and a thief, and nothing is read through it.
    return top_.compare_exchange_strong(top, top + 1, relaxed, relaxed) ? item : nullptr;
  }

  atomic<work_item*>& cell(std::int64_t index) noexcept {
    return cells_[static_cast<std::size_t>(index) & (Capacity - 1)];
  }

  alignas(cache_line) atomic<std::int64_t> top_{0};  // moved by thieves, and by the owner for the last item
  alignas(cache_line) atomic<std::int64_t> bottom_{0};  // written by the owner only
  std::array<atomic<work_item*>, Capacity> cells_{};
};

using work_deque = basic_work_deque<>;

}  // namespace dyngen::detail
