// SPDX-License-Identifier: MIT
#pragma once
// What a queue of ready tasks holds: an intrusive link, so that scheduling neither allocates nor throws.
// A task record derives from it. An item is in at most one queue at a time; who has popped it may push it again.
// Also here: the answer of a try to take one, the same for every queue; and the queue of a single thread.

#include <dyngen/detail/base/atomic.hpp>

namespace dyngen::detail {

struct work_item {
  /// The item pushed after this one. Belongs to the injection queue that holds the item; otherwise unused.
  atomic<work_item*> next_in_queue{nullptr};

protected:
  work_item() = default;
  ~work_item() = default;
};

/// A first-in first-out list of items, through their own links. Not synchronised.
class work_list {
 public:
  void push(work_item& item) noexcept {
    // relaxed: the owner of the list orders its uses.
    item.next_in_queue.store(nullptr, relaxed);
    if (last_ == nullptr)
      first_ = &item;
    else
      last_->next_in_queue.store(&item, relaxed);
    last_ = &item;
  }
  work_item* pop() noexcept {
    work_item* const item = first_;
    if (item == nullptr) return nullptr;
    // relaxed: the owner of the list orders its uses.
    first_ = item->next_in_queue.load(relaxed);
    if (first_ == nullptr) last_ = nullptr;
    return item;
  }
  bool empty() const noexcept { return first_ == nullptr; }

 private:
  work_item* first_ = nullptr;
  work_item* last_ = nullptr;
};

enum class pop_status : unsigned char {
  item,   ///< one was taken
  empty,  ///< there was none
  busy,   ///< somebody else is taking or pushing one: busy is not empty
};

/// `item` is null unless `status` is `pop_status::item`.
struct popped {
  work_item* item;
  pop_status status;
};

}  // namespace dyngen::detail
