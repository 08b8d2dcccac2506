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
// A removable item is one that its creator may remove again, on any thread and from the middle of the deque: its pointer
// has the lowest bit set. Two steps take such an item. The first is to take its index, as above; the second is to empty
// its cell by a compare-exchange. remove() is the second step alone. So the thread that empties the cell has the item,
// and no other thread accesses it: the memory of an item that was removed may be used again at once. An index whose
// cell is empty is skipped.
//
// [V7] The exchange that empties a cell decides whether a thief or remove() gets the item. As an acquire it pairs with
//      the store of the item. As a release it lets a thread that sees the cell empty see what the thief did before
//      (before_claim()).
// [V8] A thief has taken an index, and its item is still in the cell. The owner must not use the cell again before the
//      thief has emptied it; otherwise the thief would take its item for a removed one. push() is refused then.
//
// Dekker pairs, seq_cst on all four operations of each:
//   [V1] The owner pops index i: it sets bottom_ = i, then reads top_.
//      | A thief steals index i: it reads (or moves) top_, then reads bottom_.
//   [V2] The owner pushes: it moves bottom_, then reads whether a thread sleeps.
//      | A thread announces that it will sleep, then reads bottom_ in maybe_nonempty().

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/compiler.hpp>
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

  using cell_type = atomic<work_item*>;
  static bool is_removable(const work_item* item) noexcept { return (reinterpret_cast<std::uintptr_t>(item) & 1) != 0; }
  /// Removes a removable item from the cell that place() has returned. Returns false if a thread has taken the item.
  static bool remove(cell_type& cell, work_item* item) noexcept {
    // [V7] acq_rel. relaxed on failure: the caller reads nothing through the cell.
    return cell.compare_exchange_strong(item, nullptr, acq_rel, relaxed);
  }
  /// What pop() and steal() call when they are about to take a removable item, and when remove() was faster.
  struct no_claims {
    void before_claim() const noexcept {}
    void claim_failed() const noexcept {}
  };

  /// Owner only. Returns false, and does nothing, when the deque is full.
  bool push(work_item* item) noexcept { return place(item) != nullptr; }
  /// push(), which returns the item's cell, or null when the deque is full.
  DYNGEN_ALWAYS_INLINE cell_type* place(work_item* item) noexcept {
    // [V3] relaxed: the owner reads its own store.
    const std::int64_t bottom = bottom_.load(relaxed);
    // [V4] acquire: pairs with the compare-exchange of the thief that freed the cell, which read the cell before.
    const std::int64_t top = top_.load(acquire);
    if (bottom - top >= static_cast<std::int64_t>(Capacity)) return nullptr;
    cell_type& at = cell(bottom);
    // [V8] relaxed: only the owner writes an item into a cell, so it sees one that is there.
    if (is_removable(at.load(relaxed))) return nullptr;
    // [V5] The store of `bottom_` publishes it. [V7] release: a late thief may take an item that was removed, and was then
    // pushed once more, from the same memory and into the same cell.
    at.store(item, release);
    // [V2] seq_cst. [V5] As a release it publishes the cell and the item: pairs with steal().
    bottom_.store(bottom + 1, seq_cst);
    return &at;
  }

  /// Owner only. Pops the newest item; null if there is none.
  template <class Claims = no_claims>
  work_item* pop(const Claims& claims = {}) noexcept {
    while (cell_type* const at = take_newest()) {
      // [V3] relaxed: the owner wrote the cell. If remove() has emptied it, it is empty in the exchange, too.
      work_item* item = at->load(relaxed);
      if (is_removable(item) && !claim(*at, item, claims)) continue;
      if (item != nullptr) return item;
    }
    return nullptr;
  }

  /// Owner only. Pops the newest item if it is `item`, a removable one, and the caller is the only thread that may
  /// remove it. Returns whether it did.
  DYNGEN_ALWAYS_INLINE bool pop_if(const work_item* item) noexcept {
    // [V3] relaxed, both: the owner's own stores.
    cell_type& at = cell(bottom_.load(relaxed) - 1);
    if (at.load(relaxed) != item || take_newest() == nullptr) return false;
    // relaxed: the index is the owner's now, and no other thread may remove the item.
    at.store(nullptr, relaxed);
    return true;
  }

  /// Any thread, also the owner. Returns the oldest item; `busy` if another thread took it at this moment.
  template <class Claims = no_claims>
  popped steal(const Claims& claims = {}) noexcept {
    for (;;) {
      // [V1] seq_cst on all three. Also on this load: if it read another thief's move of `top_` without being ordered
      //      after that move, the next load would not be ordered after the owner's store, and item `bottom - 1` could
      //      be taken twice.
      std::int64_t top = top_.load(seq_cst);
      // [V5] As an acquire it sees the cells and items below `bottom`: pairs with place().
      const std::int64_t bottom = bottom_.load(seq_cst);
      if (top >= bottom) return {nullptr, pop_status::empty};
      // [V5] relaxed: place() has published it. If the owner has reused the cell, `top_` has moved and the claim fails.
      cell_type& at = cell(top);
      work_item* const item = at.load(relaxed);
      // [V4] As a release it pairs with the acquire in place(). relaxed on failure: nothing is read through the value.
      if (!top_.compare_exchange_strong(top, top + 1, seq_cst, relaxed)) return {nullptr, pop_status::busy};
      if (is_removable(item) && !claim(at, item, claims)) continue;
      if (item != nullptr) return {item, pop_status::item};
    }
  }

  /// Has a removable item been pushed that is neither taken nor removed? From any thread.
  bool has_removable() const noexcept {
    for (const cell_type& each : cells_)
      if (is_removable(each.load(acquire))) return true;  // [V7]
    return false;
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
  /// Owner only: takes the newest index. Returns its cell; null if there is none.
  DYNGEN_ALWAYS_INLINE cell_type* take_newest() noexcept {
    // [V3] relaxed: the owner's own store. relaxed for top_: it never passes bottom_, and a stale, lower value only
    //      leads to the slow path.
    const std::int64_t bottom = bottom_.load(relaxed) - 1;
    if (top_.load(relaxed) > bottom) return nullptr;
    // [V1] claims index `bottom`, then checks for thieves that have come that far.
    bottom_.store(bottom, seq_cst);
    std::int64_t top = top_.load(seq_cst);
    if (top < bottom) return &cell(bottom);
    // Index `top` is the last one. It belongs to the thread that moves `top_`, the owner or a thief.
    // relaxed: it only decides between the owner and a thief, and nothing is read through it.
    const bool mine = top == bottom && top_.compare_exchange_strong(top, top + 1, relaxed, relaxed);
    // [V6] relaxed: the deque is empty and `top_` has this very value, so it lets no thief claim an item.
    bottom_.store(bottom + 1, relaxed);
    return mine ? &cell(bottom) : nullptr;
  }

  template <class Claims>
  static bool claim(cell_type& at, work_item* item, const Claims& claims) noexcept {
    claims.before_claim();
    if (remove(at, item)) return true;  // [V7]
    claims.claim_failed();
    return false;
  }

  cell_type& cell(std::int64_t index) noexcept {
    return cells_[static_cast<std::size_t>(index) & (Capacity - 1)];
  }

  alignas(cache_line) atomic<std::int64_t> top_{0};  // moved by thieves, and by the owner for the last item
  alignas(cache_line) atomic<std::int64_t> bottom_{0};  // written by the owner only
  std::array<cell_type, Capacity> cells_{};
};

using work_deque = basic_work_deque<>;

}  // namespace dyngen::detail
