// SPDX-License-Identifier: MIT
#pragma once
// The element of a queue of ready tasks: an intrusive link, so that scheduling neither allocates nor throws.
// task_record derives from it. An item is in at most one queue at a time; the thread that popped it may push it again.
// Also here: the result of popping, common to all queues, and work_list, a list without synchronization.

#include <dyngen/detail/base/atomic.hpp>

namespace dyngen::detail {

struct work_item {
  /// The item pushed after this one. Used only by the queue or list that contains the item.
  atomic<work_item*> next_in_queue{nullptr};

protected:
  work_item() = default;
  ~work_item() = default;
};

/// A first-in first-out list of items, linked through the items. Not thread-safe.
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
  item,   ///< an item was popped
  empty,  ///< the queue is empty
  busy,   ///< another thread is popping or pushing; the queue may have items
};

/// `item` is null unless `status` is `pop_status::item`.
struct popped {
  work_item* item;
  pop_status status;
};

}  // namespace dyngen::detail
