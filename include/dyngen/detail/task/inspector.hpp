// SPDX-License-Identifier: MIT
#pragma once
// How describe() and dump() read tasks that other threads run, without stopping them. A thread that runs a task pays
// for this by reading one word that hardly ever changes.
//
// There is one inspecting thread at a time: the one that has locked the mutex. It writes to `watched_` what it is about
// to read, reads it, and goes on to the next thing. It watches
//   - a task, to read what the task waits for while it does not run: the arguments that are not ready, or what its
//     coroutine awaits. A thread that is about to run the task first changes the task's state word, and gives way
//     before it touches that data [O1];
//   - the context of a thread, to read what that thread runs: `shown`, a list of the tasks on its stack. When the
//     thread leaves a task, it takes the entry out of the list, and gives way before entry and task may be destroyed
//     [O2].
//
// To give way is to wait until the inspecting thread no longer watches that task or context. Other threads run on. If
// the system suspends the inspecting thread while it reads, at most one thread is delayed: the one that is about to run
// the watched task, or the one that leaves a task while its own list is watched. While the inspecting thread watches
// something, it runs no user code, allocates nothing and locks no further mutex; it walks once through what one task
// waits for, or through one stack. To watch a thread it also executes the heavy fence.
//
// A thread adds itself to the list of known threads without waiting. When it ends, it locks the mutex to remove itself,
// and so may wait for an inspecting thread.
//
// [O1] The inspecting thread writes `watched_` (seq_cst), then reads the state word (seq_cst). A thread that claims the
//      task writes the word (seq_cst), then reads `watched_` (seq_cst).
// [O2] The inspecting thread writes `watched_` (seq_cst), executes the heavy fence, then reads `shown` (seq_cst). A
//      thread writes `shown` on the light side, then reads `watched_` (seq_cst).
// [O3] A thread that gives way increments `waiting_`, then reads `watched_` again. The inspecting thread changes
//      `watched_` and `round_`, then reads `waiting_` (all seq_cst). So a sleeping thread is woken.
// [O4] A thread publishes its context in `known_` (release); the inspecting thread finds it there (acquire). Only a
//      thread that has locked the mutex removes contexts.

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/base/process.hpp>
#include <dyngen/detail/base/thread_context.hpp>

#include <cstdint>
#include <mutex>
#include <new>
#include <string_view>

namespace dyngen::detail {

class inspector {
 public:
  static constexpr std::string_view name_in_process = "observers";

  inspector() noexcept = default;
  inspector(const inspector&) = delete;
  inspector& operator=(const inspector&) = delete;

  // --- called by threads that run tasks ---

  /// Gives way: returns when no inspecting thread reads `thing` as it was before the caller changed it. `thing` is a
  /// task or this thread's context.
  DYNGEN_ALWAYS_INLINE void wait_for_inspector(const void* thing) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(thing);
    if (watched_.load(seq_cst) == address) [[unlikely]]  // [O1][O2]
      wait(address);
  }
  /// Called when this thread begins to run the task of `entry`.
  static void show(thread_context& here, running_task& entry) noexcept {
    // relaxed: only this thread writes it. [O2] release: a thread that finds the entry sees all of it, and of its task.
    entry.shown_before = here.shown.load(relaxed);
    here.shown.store(&entry, release);
  }
  /// Called when this thread has left the task. After the return the entry may be destroyed.
  void hide(thread_context& here, const running_task& entry) noexcept {
    asymmetric_store(here.shown, entry.shown_before);  // [O2]
    wait_for_inspector(&here);
  }
  /// Makes this thread known to inspecting threads. A thread calls it before it runs the first task of a pool, as a
  /// worker or for a wait. Returns whether the thread was unknown before.
  DYNGEN_NOINLINE bool register_thread(thread_context& here) noexcept {
    if (here.helping != stranger) return false;
    here.helping = 0;
    add(here);
    struct unregister_at_exit {
      inspector* from;
      ~unregister_at_exit() { from->forget(context()); }
    };
    static thread_local unregister_at_exit at_end{this};
    (void)at_end;
    return true;
  }
  void add(thread_context& here) noexcept {
    // relaxed: verified by the exchange. [O4] release: publishes the whole context.
    here.next_known = known_.load(relaxed);
    while (!known_.compare_exchange_weak(here.next_known, &here, release, relaxed)) {
    }
  }
  /// Called when the thread ends.
  void forget(thread_context& here) noexcept {
    std::lock_guard lock(mutex_);
    thread_context* first = &here;
    // [O4] acquire: the first context may be another thread's by now.
    if (known_.compare_exchange_strong(first, here.next_known, acq_rel, acquire)) return;
    while (first != nullptr && first->next_known != &here) first = first->next_known;
    if (first != nullptr) first->next_known = here.next_known;
  }

  /// Called in a child process, whose only thread is the one that called fork(). Another thread may have been
  /// inspecting.
  void after_fork() noexcept {
    thread_context& here = context();
    ::new (&mutex_) mutex;
    watched_.store(0, seq_cst);
    waiting_.store(0, seq_cst);
    here.next_known = nullptr;
    known_.store(here.helping != stranger ? &here : nullptr, seq_cst);
  }

  // --- called by inspecting threads ---

  /// While it exists, the calling thread is the inspecting thread.
  class look {
   public:
    explicit look(inspector& all) noexcept : all_(all), lock_(all.mutex_) {}
    look(const look&) = delete;
    look& operator=(const look&) = delete;

    /// Calls read() while the inspecting thread watches `thing`.
    template <class Read>
    void at(const void* thing, Read read) noexcept {
      all_.watched_.store(reinterpret_cast<std::uintptr_t>(thing), seq_cst);  // [O1][O2]
      read();
      // The reads come before what another thread does after it has seen this change: seq_cst includes release.
      all_.watched_.store(0, seq_cst);   // [O3]
      all_.round_.fetch_add(1, seq_cst);      // [O3]
      if (all_.waiting_.load(seq_cst) != 0) [[unlikely]]  // [O3]
        wake_all(all_.round_);
    }
    /// Calls visit(entry, inner) for each task that a known thread runs, while that thread is watched. `inner` is the
    /// next inner task on its stack, or null.
    template <class Visit>
    void for_each_running(Visit visit) noexcept {
      for (const thread_context* t = all_.known_.load(acquire); t != nullptr; t = t->next_known) {  // [O4]
        if (t->shown.load(relaxed) == nullptr) continue;  // relaxed: a fast check; a moment ago the thread ran nothing
        at(t, [&]() noexcept {
          asymmetric_fence_heavy();  // [O2]
          const running_task* inner = nullptr;
          for (const running_task* e = t->shown.load(seq_cst); e != nullptr; e = e->shown_before) {  // [O2]
            visit(*e, inner);
            inner = e;
          }
        });
      }
    }

   private:
    inspector& all_;
    std::lock_guard<mutex> lock_;
  };

 private:
  DYNGEN_NOINLINE void wait(std::uintptr_t thing) noexcept {
    waiting_.fetch_add(1, seq_cst);  // [O3]
    for (;;) {
      const std::uint32_t round = round_.load(seq_cst);
      if (watched_.load(seq_cst) != thing) break;  // [O3]
      sleep_on(round_, round);
    }
    // relaxed: an inspecting thread that reads an old value makes a useless wake-up.
    waiting_.fetch_sub(1, relaxed);
  }

  atomic<std::uintptr_t> watched_{0};  ///< address of the watched thing, or 0
  atomic<std::uint32_t> round_{0};    ///< changes each time the watching of a thing ends
  atomic<std::uint32_t> waiting_{0};  ///< number of threads that give way
  mutex mutex_;
  atomic<thread_context*> known_{nullptr};  ///< the first of all known threads
};

/// The inspector of all tasks of the process.
DYNGEN_ALWAYS_INLINE inline inspector& global_inspector() noexcept { return process_wide<inspector>(); }

}  // namespace dyngen::detail
