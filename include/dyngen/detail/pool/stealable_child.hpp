// SPDX-License-Identifier: MIT
#pragma once
// A child that another worker may steal: a coroutine that its parent task runs itself, unless another worker makes it a
// task first. The parent offers it in its worker's deque, which holds links of children beside links of tasks. Other
// workers seldom steal a child, and making a task costs many times what a small child does; so only a stolen child
// becomes a task.
//
//   open ──take_back(): parent──▶ taken_back                a link that is left in the deque is stale
//     │
//     └──leave(): thief──▶ leaving ─────────────────▶ gone  the child is a task, or could not become one
//                             │                        ▲
//                             └─take_back()─▶ awaited ─┘    the parent sleeps meanwhile
//
// The thread that moves the state from `open` owns the child. The thief is the worker that pops or steals the link.
// The parent sleeps only while the thief submits the task, and a submit does not block.
// [O2] `gone` (release, acquire): the parent sees what the thief has made of the child.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/memory.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/base/work_item.hpp>

#include <cstdint>
#include <new>

namespace dyngen::detail {

class task_host;

/// The child, stored in its parent.
class child_coroutine {
 public:
  /// Makes the child a task of `host`. An exception on the way becomes the child's failure. Called by the thread that
  /// owns the child.
  virtual void become_task(task_host& host) noexcept = 0;

 protected:
  child_coroutine() = default;
  child_coroutine(const child_coroutine&) = default;
  ~child_coroutine() = default;
};

/// Lives until its parent has dropped it and its link has been popped.
class stealable_child : public work_item {
 public:
  /// Throws std::bad_alloc.
  static stealable_child* create(child_coroutine& child, task_host& host) {
    return ::new (allocate(memory_kind::record, sizeof(stealable_child))) stealable_child(child, host);
  }
  stealable_child(const stealable_child&) = delete;
  stealable_child& operator=(const stealable_child&) = delete;

  /// Returns the pointer that a deque holds: tagged, to tell it from a task.
  work_item* link() noexcept { return reinterpret_cast<work_item*>(reinterpret_cast<std::uintptr_t>(this) | tag); }
  /// Returns the child if `link` is that of one; null if it is a task.
  static stealable_child* of(work_item* link) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(link);
    return (address & tag) != 0 ? reinterpret_cast<stealable_child*>(address & ~tag) : nullptr;
  }

  task_host& host() const noexcept { return host_; }

  /// Called by the parent: takes the child back. Returns false if the child has become a task, or failed to become one.
  bool take_back() noexcept {
    // acquire: [O2] if the exchange fails.
    std::uint32_t was = open;
    if (state_.compare_exchange_strong(was, taken_back, acquire, acquire)) return true;
    while (was != gone) {
      // acquire: [O2].
      if (was == awaited || state_.compare_exchange_strong(was, awaited, acquire, acquire)) {
        sleep_on(state_, awaited);
        was = state_.load(acquire);  // [O2]
      }
    }
    return false;
  }
  /// Called by the worker that popped the link: makes the child a task if its parent has not taken it back. Returns
  /// whether it did.
  bool leave() noexcept {
    // relaxed: popping the link has made visible what the parent wrote before it offered the child.
    std::uint32_t was = open;
    if (!state_.compare_exchange_strong(was, leaving, relaxed, relaxed)) return false;
    child_.become_task(host_);
    // [O2] After this the parent may destroy the child, but this object stays.
    if (state_.exchange(gone, release) == awaited) wake_all(state_);
    return true;
  }

  void drop_references(std::uint32_t n) noexcept {
    // acq_rel, and acquire: the thread that drops the last reference comes after all that the other thread did.
    if (references_.load(acquire) != n && references_.fetch_sub(n, acq_rel) != n) return;
    this->~stealable_child();
    deallocate(memory_kind::record, this, sizeof(stealable_child));
  }

 private:
  static constexpr std::uintptr_t tag = 1;
  static constexpr std::uint32_t open = 0, taken_back = 1, leaving = 2, awaited = 3, gone = 4;

  stealable_child(child_coroutine& child, task_host& host) noexcept : child_(child), host_(host) {}
  ~stealable_child() = default;

  child_coroutine& child_;
  task_host& host_;
  atomic<std::uint32_t> state_{open};
  atomic<std::uint32_t> references_{2};  ///< of the link, and of the parent
};

}  // namespace dyngen::detail
