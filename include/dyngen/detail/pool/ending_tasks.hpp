// SPDX-License-Identifier: MIT
#pragma once
// Queued tasks of a pool that will only end: they are cancelled, or a dependency failed. The next free worker ends them
// as it ends any task. If no worker is free for `patience`, the monitor hands them to the ender, so that their refs
// become ready however long the workers are busy. The ender is a spare thread that only ends tasks (monitor.hpp).
//
//   note()            sort(): the monitor             sort(): `patience` later             end_one_overdue()
//   ───────▶ fresh ─────────────────────▶ waiting ─────────────────────────▶ overdue ─────────────────────▶ the ender
//                                            │
//                                            └─no longer queued─▶ forgotten; by the ender if the node holds the last
//                                                                 reference
//
// When all tasks have ended, the thread that ends the pool forgets the nodes that are left.
//
// A node holds a reference to its task. It says nothing about the task's state: the ender claims the task in its state
// word, unless a worker or a waiting thread that helps has done so before.
//
// [E1] note() and sort() publish a node (release); the thread that takes the list acquires it. They are also the cause
//      of a ring in [D1] of doorbell.hpp, hence seq_cst: the node is published, then the bell is rung.

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
  /// How long the ender leaves a task to the workers.
  static constexpr std::chrono::milliseconds patience{10};

  ending_tasks() = default;
  ending_tasks(const ending_tasks&) = delete;
  ending_tasks& operator=(const ending_tasks&) = delete;

  /// Notes a task that is queued, or about to be, and will only end. If there is no memory for the node, the task is
  /// left to the workers. From any thread.
  void note(task_record& task) noexcept {
    void* const memory = ::operator new(sizeof(node), std::nothrow);
    if (memory == nullptr) return;
    node* const n = ::new (memory) node{nullptr, &task, {}};
    task.add_references(1);
    push(fresh_, *n);
  }

  /// Does the monitor have to call sort()?
  bool any() const noexcept { return fresh_.load(seq_cst) != nullptr; }  // [D1]

  /// Called by the monitor. Returns when to call it again, or `never`.
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
        push(overdue_, *n);  // the ender frees the record: the monitor runs no destructors of the user's
    }
    return first_ != nullptr ? first_->since + patience : never;
  }

  /// Called by a thread that knows that all tasks have ended: frees the nodes, except those that the ender has taken,
  /// and so may drop the last references to records. Returns false if there were none.
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

  /// Called by the ender, also while a destructor that it runs waits: takes one overdue task, and ends it if it is
  /// still queued. Returns false if there was none.
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
  mutex mutex_;  ///< of the sorted nodes; no user code runs under it
  node* first_ = nullptr;
  node* last_ = nullptr;
  // Only the ender's thread uses it.
  node* taken_ = nullptr;
};

}  // namespace dyngen::detail
