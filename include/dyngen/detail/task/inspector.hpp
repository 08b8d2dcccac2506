// SPDX-License-Identifier: MIT
#pragma once
// How one thread looks at tasks that others run, without stopping them: describe() and dump(). A thread that runs a
// task pays for it a look at one word that hardly ever changes.
//
// There is one observer at a time: it holds the mutex. It names what it is about to read in `watched_`, reads it, and
// names the next thing. It watches
//   - a task, to read the inside of one that waits or is parked: the arguments that are not there yet, what its
//     coroutine awaits. A thread that gets to run such a task changes its state word first, and gives way before it
//     touches these [O1];
//   - the context of a thread, to read what that thread runs: `shown`, a list of the tasks on its stack. The thread
//     takes each out of the list when it leaves it, and gives way before the entry and the task may go [O2]. Giving way
//     is waiting until the observer does not watch this very thing any more. All other threads run on: an observer that
//     loses its processor while it looks holds up one thread at most, the one that is about to run the very task it
//     watches, or that leaves a task while its own list is watched, for as long as the observer has no processor. While
//     it watches it runs no code of the user, allocates nothing, takes no mutex, and goes through what one task waits
//     for, or what one stack has, once; for a thread it also passes the heavy fence. A thread adds itself to the list
//     of those that are known without waiting. It waits for the mutex, and so for an observer, when it ends.
//
// [O1] The observer writes `watched_` (seq_cst), then reads the state word (seq_cst); a thread that claims the task
//      writes the word (seq_cst), then looks at `watched_` (seq_cst).
// [O2] The observer writes `watched_` (seq_cst), passes the heavy fence, then reads `shown` (seq_cst); a thread writes
//      `shown` on the light side, then looks at `watched_` (seq_cst).
// [O3] A thread that gives way counts itself in `waiting_`, then looks at `watched_` again; the observer changes
//      `watched_` and `round_`, then looks at `waiting_` (seq_cst, all of them). So a thread that sleeps is woken.
// [O4] A thread publishes its context in `known_` (release); the observer finds it there (acquire). Only a thread that
//      has the mutex takes contexts out.

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/base/atomic.hpp>
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

  // --- for threads that run tasks ---

  /// Waits until no observer reads what was to be seen of `thing` before: a task, or the context of this thread.
  [[gnu::always_inline]] void wait_for_inspector(const void* thing) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(thing);
    if (watched_.load(seq_cst) == address) [[unlikely]]  // [O1][O2]
      wait(address);
  }
  /// The task of `entry` runs on this thread from now on.
  static void show(thread_context& here, running_task& entry) noexcept {
    // relaxed: only this thread writes it. [O2] release: who finds the entry sees it, and its task, whole.
    entry.shown_before = here.shown.load(relaxed);
    here.shown.store(&entry, release);
  }
  /// It has been left; once this has returned, it may go.
  void hide(thread_context& here, const running_task& entry) noexcept {
    asymmetric_store(here.shown, entry.shown_before);  // [O2]
    wait_for_inspector(&here);
  }
  /// Observers know this thread from now on: called before it runs the first task of a pool, which it does as a worker,
  /// or for a wait. Returns whether they did not before.
  [[gnu::noinline]] bool register_thread(thread_context& here) noexcept {
    if (here.helping != stranger) return false;
    here.helping = 0;
    add(here);
    struct farewell {
      inspector* from;
      ~farewell() { from->forget(context()); }
    };
    static thread_local farewell at_end{this};
    (void)at_end;
    return true;
  }
  void add(thread_context& here) noexcept {
    // relaxed: verified by the exchange. [O4] release: publishes the context whole.
    here.next_known = known_.load(relaxed);
    while (!known_.compare_exchange_weak(here.next_known, &here, release, relaxed)) {
    }
  }
  /// When it ends.
  void forget(thread_context& here) noexcept {
    std::lock_guard lock(mutex_);
    thread_context* first = &here;
    // [O4] acquire: it may be another thread's now, added meanwhile.
    if (known_.compare_exchange_strong(first, here.next_known, acq_rel, acquire)) return;
    while (first != nullptr && first->next_known != &here) first = first->next_known;
    if (first != nullptr) first->next_known = here.next_known;
  }

  /// In the child process, whose only thread is the one that called fork(). Another one may have been an observer.
  void after_fork() noexcept {
    thread_context& here = context();
    ::new (&mutex_) mutex;
    watched_.store(0, seq_cst);
    waiting_.store(0, seq_cst);
    here.next_known = nullptr;
    known_.store(here.helping != stranger ? &here : nullptr, seq_cst);
  }

  // --- for observers ---

  /// As long as it lives, the calling thread is the one that may look.
  class look {
   public:
    explicit look(inspector& all) noexcept : all_(all), lock_(all.mutex_) {}
    look(const look&) = delete;
    look& operator=(const look&) = delete;

    /// Calls read() while `thing` is watched, for what stands at the top.
    template <class Read>
    void at(const void* thing, Read read) noexcept {
      all_.watched_.store(reinterpret_cast<std::uintptr_t>(thing), seq_cst);  // [O1][O2]
      read();
      // What was read comes before what a thread does that sees the change: seq_cst is a release too.
      all_.watched_.store(0, seq_cst);   // [O3]
      all_.round_.fetch_add(1, seq_cst);      // [O3]
      if (all_.waiting_.load(seq_cst) != 0) [[unlikely]]  // [O3]
        wake_all(all_.round_);
    }
    /// Calls visit(entry, inner) for each task that a known thread runs, and the one inside it on its stack, or null:
    /// while that thread is watched.
    template <class Visit>
    void for_each_running(Visit visit) noexcept {
      for (const thread_context* t = all_.known_.load(acquire); t != nullptr; t = t->next_known) {  // [O4]
        if (t->shown.load(relaxed) == nullptr) continue;  // relaxed: a glance; it has run nothing a moment ago
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
  [[gnu::noinline]] void wait(std::uintptr_t thing) noexcept {
    waiting_.fetch_add(1, seq_cst);  // [O3]
    for (;;) {
      const std::uint32_t round = round_.load(seq_cst);
      if (watched_.load(seq_cst) != thing) break;  // [O3]
      sleep_on(round_, round);
    }
    // relaxed: an observer that does not see it yet wakes no thread, in vain.
    waiting_.fetch_sub(1, relaxed);
  }

  atomic<std::uintptr_t> watched_{0};  ///< its address
  atomic<std::uint32_t> round_{0};    ///< changes each time something is watched no more
  atomic<std::uint32_t> waiting_{0};  ///< threads that give way
  mutex mutex_;
  atomic<thread_context*> known_{nullptr};  ///< the first of all known threads
};

/// Those of all tasks of the process.
[[gnu::always_inline]] inline inspector& global_inspector() noexcept { return process_wide<inspector>(); }

}  // namespace dyngen::detail
