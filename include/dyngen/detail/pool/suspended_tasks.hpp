// SPDX-License-Identifier: MIT
#pragma once
// The tasks of a pool that may wait, in which a closing pool looks for those that do. Two lists:
//   - Tasks that wait for a dependency, for credits, in a co_await, or for their turn at an actor. A task is added
//     before it first waits, and stays in the list until it has ended; its state word tells whether it waits now. The
//     end of an actor is such a task, too (actor_call.hpp, kind `ender`).
//   - Tasks whose code blocks a thread, while it does.

#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/task_record.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace dyngen::detail {

class suspended_tasks {
 public:
  void add(task_record& task) noexcept {
    std::lock_guard lock(mutex_);
    if (task.listed) return;
    task.listed = true;
    task.links_when_suspended() = {nullptr, first_};
    if (first_ != nullptr) first_->links_when_suspended().previous = &task;
    first_ = &task;
  }
  void remove(task_record& task) noexcept {
    std::lock_guard lock(mutex_);
    task.listed = false;
    const auto [previous, next] = task.links_when_suspended();
    (previous != nullptr ? previous->links_when_suspended().next : first_) = next;
    if (next != nullptr) next->links_when_suspended().previous = previous;
  }

  /// Called by a thread on which a task's code is about to block in `wait`, or, if that is null, goes on after a wait.
  /// Excludes look(), by the mutex.
  void note_blocked(running_task& entry, const thread_wait* wait) noexcept {
    std::lock_guard lock(mutex_);
    const bool listed = std::exchange(entry.wait, wait) != nullptr;
    if (wait != nullptr && !listed) {
      entry.previous = nullptr;
      entry.next = blocked_;
      if (blocked_ != nullptr) blocked_->previous = &entry;
      blocked_ = &entry;
    } else if (wait == nullptr) {
      (entry.previous != nullptr ? entry.previous->next : blocked_) = entry.next;
      if (entry.next != nullptr) entry.next->previous = entry.previous;
    }
  }

  /// If code of `task` blocks a thread, without a time limit, notes in `o` what it waits for.
  void observe_blocked(const task_record& task, task_snapshot& o) noexcept {
    std::lock_guard lock(mutex_);
    for (const running_task* t = blocked_; t != nullptr; t = t->next)
      if (t->task == &task) {
        o.blocks = true;
        t->wait->observe(o);
        return;
      }
  }

  /// Sets `tasks` to the listed tasks that have not ended, the oldest first. Throws std::bad_alloc.
  void collect(std::vector<intrusive_ptr<shared_state>>& tasks) {
    for (std::size_t room = 64;; room *= 2) {
      tasks.clear();
      tasks.reserve(room);  // allocates, so not under the mutex
      std::lock_guard lock(mutex_);
      task_record* t = first_;
      for (; t != nullptr && tasks.size() != tasks.capacity(); t = t->links_when_suspended().next)
        if (state_word::phase_of(t->state().load()) != phase::ended) tasks.emplace_back(*t);
      if (t == nullptr) break;
    }
    std::reverse(tasks.begin(), tasks.end());
  }

  /// What look() has found.
  struct survey {
    std::uint64_t waiting = 0;     ///< how many tasks wait
    bool blocked = false;          ///< some of them block a thread
    bool idle_actors_only = true;  ///< all of them are ends of actors that have nothing to do
  };
  survey look() noexcept {
    survey all;
    std::lock_guard lock(mutex_);
    for (task_record* t = first_; t != nullptr; t = t->links_when_suspended().next) {
      if (!waits(*t) && !waits_to_end_its_actor(*t)) continue;
      ++all.waiting;
      if (!is_end_of_actor(*t)) all.idle_actors_only = false;
    }
    // A task on a blocked thread's stack waits as well, unless its wait is satisfied already.
    for (running_task* t = blocked_; t != nullptr; t = t->next) {
      if (t->wait->satisfied()) continue;
      ++all.waiting;
      all.blocked = true;
      all.idle_actors_only = false;
    }
    return all;
  }

  enum class which { outside, any, idle_actors, also_polling };

  /// Cancels one task that is not cancelled yet. `outside`: one that waits for something outside the pool. `any`: one
  /// that waits and is not the end of an actor. `idle_actors`: an end of an actor that waits. `also_polling`: one that
  /// waits, or runs and has a stop token. Returns false if there is none.
  bool cancel_one(which wanted) noexcept {
    intrusive_ptr<task_record> found;
    {
      std::lock_guard lock(mutex_);
      for (task_record* t = first_; t != nullptr && !found; t = t->links_when_suspended().next)
        if (is_among(*t, wanted)) found = intrusive_ptr(*t);
    }
    if (found) found->cancel();
    return static_cast<bool>(found);
  }

 private:
  static bool waits(task_record& t) noexcept {
    const std::uint32_t word = t.state().load();
    const phase now = state_word::phase_of(word);
    return (now == phase::waiting || now == phase::parked || (word & state_word::waiting_for_turn) != 0) &&
           (word & state_word::cancelled) == 0;
  }
  static bool is_end_of_actor(task_record& t) noexcept {
    const actor_call* const call = t.as_actor_call();
    return call != nullptr && call->is == actor_call::kind::ender;
  }
  static bool is_among(task_record& t, which wanted) noexcept {
    if (!waits(t)) return wanted == which::also_polling && polls_token(t);
    if (wanted == which::also_polling) return true;
    if (is_end_of_actor(t)) return wanted == which::idle_actors;
    return wanted == which::any || (wanted == which::outside && t.waits_for_outside());
  }
  /// The end of an actor, also a cancelled one, waits in the queue behind the actor's calls.
  static bool waits_to_end_its_actor(task_record& t) noexcept {
    return is_end_of_actor(t) && (t.state().load() & state_word::waiting_for_turn) != 0;
  }
  static bool polls_token(task_record& t) noexcept {
    const std::uint32_t word = t.state().load();
    return state_word::phase_of(word) == phase::running && (word & state_word::cancelled) == 0 && t.has_stop_token();
  }

  mutex mutex_;
  task_record* first_ = nullptr;
  running_task* blocked_ = nullptr;
};

}  // namespace dyngen::detail
