// SPDX-License-Identifier: MIT
#pragma once
// Queued tasks of a pool that will only end: cancelled, or with a dependency that failed. The next free worker ends them
// as it ends any task. When no worker is free for `patience`, the pool's monitor hands them to a spare thread, so that
// their refs become ready however long the workers are busy.
//
//            note()             sort(): the monitor, `patience` later      take_overdue()
//   (queued) ───────▶ fresh ─▶ waiting ─────────────────────────▶ overdue ───────────────▶ the spare thread
//                                 └── no longer queued: forgotten, by the spare thread if the reference is the last one
//
// When all tasks have ended, the thread that ends the pool forgets what is left.
//
// A node holds a reference on its task. It says nothing about the task's state: the spare thread claims the task in its
// state word, as a helping waiter does, and so does a worker that comes first.
//
// [E1] a node is published by note() and by sort() (release), and read by the thread that takes the list (acquire). Also
//      the pair [D1] of doorbell.hpp: noted (seq_cst), then the monitor is rung.

#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/task/run_loop.hpp>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <new>
#include <utility>

namespace dyngen::detail {

class ending_tasks {
 public:
  /// How long a worker has time to come.
  static constexpr std::chrono::milliseconds patience{10};

  ending_tasks() = default;
  ending_tasks(const ending_tasks&) = delete;
  ending_tasks& operator=(const ending_tasks&) = delete;

  /// The task is queued, or about to be, and will only end. From any thread. Without memory, the next free worker ends it.
  void note(task_record& task) noexcept {
    void* const memory = ::operator new(sizeof(node), std::nothrow);
    if (memory == nullptr) return;
    node* const n = ::new (memory) node{nullptr, &task, {}};
    task.add_references(1);
    push(fresh_, *n);
  }

  /// Does the monitor have to call sort()?
  bool any() const noexcept { return fresh_.load(seq_cst) != nullptr; }  // [D1]

  /// By the monitor. Returns when to call it again: `never` if there is nothing left.
  deadline sort(deadline now) noexcept {
    std::lock_guard lock(mutex_);
    node* fresh = fresh_.exchange(nullptr, acquire);  // [E1]
    for (node* reversed = reverse(fresh); reversed != nullptr;) {
      node* const n = reversed;
      reversed = n->next;
      n->next = nullptr;
      n->since = now;
      (last_ != nullptr ? last_->next : first_) = n;
      last_ = n;
    }
    while (first_ != nullptr && now - first_->since >= patience) {
      node* const n = first_;
      first_ = n->next;
      if (first_ == nullptr) last_ = nullptr;
      const std::uint32_t word = n->task->state().load();
      if (state_word::phase_of(word) == phase::queued && (word & state_word::waiting_for_turn) == 0)
        push(overdue_, *n);
      else if (n->task->drop_reference_unless_last())
        free_node(n);
      else
        push(overdue_, *n);  // the spare thread frees the record: the monitor runs no destructor of the user's
    }
    return first_ != nullptr ? first_->since + patience : never;
  }

  /// By a thread that knows that all tasks have ended: drops the nodes, and so, perhaps, the last references on records. False
  /// if there were none. What the spare thread has in hand stays there.
  bool forget() noexcept {
    node* sorted = nullptr;
    {
      std::lock_guard lock(mutex_);
      sorted = std::exchange(first_, nullptr);
      last_ = nullptr;
    }
    bool any = false;
    for (node* list : {sorted, fresh_.exchange(nullptr, seq_cst), overdue_.exchange(nullptr, seq_cst)}) {
      any = any || list != nullptr;
      while (list != nullptr) forget_one(*std::exchange(list, list->next));
    }
    return any;
  }

  bool any_overdue() const noexcept { return overdue_.load(seq_cst) != nullptr; }  // [D1]

  /// By the spare thread, also while a destructor that it runs waits: ends one that is overdue, if that is still queued. False
  /// if there is none.
  bool end_one_overdue() noexcept {
    if (taken_ == nullptr) taken_ = reverse(overdue_.exchange(nullptr, acquire));  // [E1]
    if (taken_ == nullptr) return false;
    node* const n = std::exchange(taken_, taken_->next);
    n->task->end_queued();
    forget_one(*n);
    return true;
  }

 private:
  struct node {
    node* next;
    task_record* task;
    deadline since;
  };

  static void free_node(node* n) noexcept { ::operator delete(static_cast<void*>(n), std::nothrow); }
  static void push(atomic<node*>& list, node& n) noexcept {
    // relaxed: verified by the exchange.
    n.next = list.load(relaxed);
    // [E1][D1] seq_cst; relaxed on failure: the value is only a guess for the next try.
    while (!list.compare_exchange_weak(n.next, &n, seq_cst, relaxed)) {
    }
  }
  static node* reverse(node* list) noexcept {
    node* reversed = nullptr;
    while (list != nullptr) {
      node* const next = list->next;
      list->next = reversed;
      reversed = list;
      list = next;
    }
    return reversed;
  }
  static void forget_one(node& n) noexcept {
    task_record* const task = n.task;
    free_node(&n);
    task->drop_references(1);
  }
  atomic<node*> fresh_{nullptr};
  atomic<node*> overdue_{nullptr};
  mutex mutex_;  ///< of the sorted nodes; no code of the user's runs under it
  node* first_ = nullptr;
  node* last_ = nullptr;
  // The spare thread's.
  node* taken_ = nullptr;
};

}  // namespace dyngen::detail
