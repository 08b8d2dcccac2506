// SPDX-License-Identifier: MIT
#pragma once
// A child that another worker may steal: a coroutine that its parent, a task, runs itself, unless another worker makes
// it a task first. The parent offers it: pushes a link of it into its worker's deque, which holds links of children
// beside links of tasks. Other workers seldom steal a child, and making a task costs many times what a small child does;
// so only a stolen child becomes a task. Child and link are in the parent's frame.
//
//                 offer(): parent            take_back(): parent
//        at home ────────────────▶ offered ──────────────────────▶ at home
//                                     │
//                                     └──leave(): worker──▶ leaving ──▶ gone    the child is a task, or could not become one
//
// The thread that empties the link's cell in the deque has the child (work_deque.hpp): the parent, on any thread, or the
// worker that pops or steals the link. So no link is left behind, and a parent that has its children back may end. If
// the child is leaving, its parent waits until it is gone; making a task does not block.
// [O2] `gone_` (release, acquire): the parent sees what the worker has made of the child.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/base/spin.hpp>
#include <dyngen/detail/base/work_item.hpp>
#include <dyngen/detail/pool/worker_queue.hpp>

#include <chrono>
#include <cstdint>
#include <utility>

namespace dyngen::detail {

class task_host;

class stealable_child {
 public:
  stealable_child(const stealable_child&) = delete;
  stealable_child& operator=(const stealable_child&) = delete;

  /// Returns the child whose link `item` is; null if it is a task.
  static stealable_child* of(work_item* item) noexcept {
    return work_deque::is_removable(item) ? reinterpret_cast<stealable_child*>(reinterpret_cast<std::uintptr_t>(item) - 1) : nullptr;
  }

  /// Called by the parent on the thread of a worker, with that worker's queue. Returns false if the queue is full.
  DYNGEN_ALWAYS_INLINE bool offer(worker_queue& queue) noexcept {
    cell_ = queue.deque.place(link());
    if (cell_ == nullptr) return false;
    queue.idle.notify();  // if no worker comes, the parent takes the child back
    return true;
  }
  /// Called by the parent: takes the child back if it is offered. Returns false if it is gone. `own`: the queue of the
  /// calling thread, or null.
  DYNGEN_ALWAYS_INLINE bool take_back(worker_queue* own) noexcept {
    if (cell_ == nullptr) return !is_gone_;
    if (own == nullptr || !own->deque.pop_if(link())) [[unlikely]]
      return remove_or_wait();
    cell_ = nullptr;
    return true;
  }
  /// Has it become a task, or failed to become one? Called by the parent.
  bool is_gone() const noexcept { return is_gone_; }
  /// Called by the parent, in place of offer(): makes the child a task of `host` at once.
  void leave_at_once(task_host& host) noexcept {
    is_gone_ = true;
    become_task(host);
  }

  /// Called by the worker that has taken the link: makes the child a task of `host`. After it the child may be destroyed.
  void leave(task_host& host) noexcept {
    become_task(host);
    gone_.store(true, release);  // [O2]
  }

 protected:
  stealable_child() = default;
  ~stealable_child() = default;

 private:
  /// Makes the child a task of `host`. An exception on the way becomes the child's failure.
  virtual void become_task(task_host& host) noexcept = 0;

  DYNGEN_NOINLINE bool remove_or_wait() noexcept {
    if (work_deque::remove(*std::exchange(cell_, nullptr), link())) return true;
    wait_until_gone();
    return false;
  }

  work_item* link() noexcept { return reinterpret_cast<work_item*>(reinterpret_cast<std::uintptr_t>(this) + 1); }

  // The worker cannot wake the parent: it may use nothing of the child any more. So the parent looks again and again.
  DYNGEN_NOINLINE void wait_until_gone() noexcept {
    is_gone_ = true;
    const auto gone = [this]() noexcept { return gone_.load(acquire); };  // [O2]
    if (gone() || spin_until(gone)) return;
    for (atomic<std::uint32_t> never_changed{0}; !gone();)
      sleep_on(never_changed, 0, time_now() + std::chrono::microseconds(50));
  }

  // Only the parent uses these two.
  work_deque::cell_type* cell_ = nullptr;  ///< where the link is, while the child is offered
  bool is_gone_ = false;
  atomic<bool> gone_{false};
};

}  // namespace dyngen::detail
