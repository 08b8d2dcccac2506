// SPDX-License-Identifier: MIT
#pragma once
// How one thread looks at tasks that others run, without stopping them: describe() and dump(). Whoever runs a task pays
// for it a look at one word that hardly ever changes.
//
// An observer holds the mutex, one at a time, and says that it is there. Then it reads
//   - the inside of a task that waits or is parked: the arguments that are not there yet, what its coroutine awaits.
//     Whoever gets to run such a task changes its state word first, and gives way to the observer before it touches
//     these [O1];
//   - what each thread runs, through `shown` in its context: a list of the tasks on its stack. Each is taken out of the
//     list when it is left, and only when the thread has then given way to the observer, the task may go [O2].
// Giving way is waiting for the mutex. An observer runs no code of the user, and waits for nobody but for mutexes that are
// held for a few instructions.
//
// [O1] The observer writes `present_` (seq_cst), then reads the state word (seq_cst); who claims the task writes the word
//      (seq_cst), then looks at `present_` (seq_cst).
// [O2] The observer writes `present_` (seq_cst), passes the heavy fence, then reads `shown` (seq_cst); a thread writes
//      `shown` on the light side, then looks at `present_` (seq_cst).

#include <dyngen/detail/atomic.hpp>
#include <dyngen/detail/context.hpp>
#include <dyngen/detail/process.hpp>

#include <cstdint>
#include <mutex>
#include <string_view>

namespace dyngen::detail {

class observers {
 public:
  static constexpr std::string_view name_in_process = "observers";

  observers() noexcept = default;
  observers(const observers&) = delete;
  observers& operator=(const observers&) = delete;

  // --- for who runs tasks ---

  /// Waits until nobody looks at what was to be seen before.
  [[gnu::always_inline]] void give_way() noexcept {
    if (present_.load(seq_cst) != 0) [[unlikely]]  // [O1][O2]
      wait();
  }
  /// The task of `entry` runs on this thread from now on.
  void show(thread_context& here, running_task& entry) noexcept {
    // relaxed: only this thread writes it. [O2] release: who finds the entry sees it, and its task, whole.
    entry.shown_before = here.shown.load(relaxed);
    here.shown.store(&entry, release);
  }
  /// It has been left; once this has returned, it may go.
  void hide(thread_context& here, const running_task& entry) noexcept {
    store_light(here.shown, entry.shown_before);  // [O2]
    give_way();
  }
  /// Observers know this thread from now on: called before it runs the first task of a pool, which it does as a worker, or
  /// for a wait. Returns whether they did not before.
  [[gnu::noinline]] bool meet(thread_context& here) noexcept {
    if (here.helping != stranger) return false;
    here.helping = 0;
    add(here);
    struct farewell {
      observers* from;
      ~farewell() { from->forget(context()); }
    };
    static thread_local farewell at_end{this};
    (void)at_end;
    return true;
  }
  void add(thread_context& here) noexcept {
    std::lock_guard lock(mutex_);
    here.next_known = known_;
    if (known_ != nullptr) known_->previous_known = &here;
    known_ = &here;
  }
  /// When it ends.
  void forget(thread_context& here) noexcept {
    std::lock_guard lock(mutex_);
    (here.previous_known != nullptr ? here.previous_known->next_known : known_) = here.next_known;
    if (here.next_known != nullptr) here.next_known->previous_known = here.previous_known;
  }

  // --- for who looks ---

  /// As long as it lives, the calling thread is the one that may look.
  class look {
   public:
    explicit look(observers& all) noexcept : all_(all), lock_(all.mutex_) { all_.present_.store(1, seq_cst); }  // [O1]
    look(const look&) = delete;
    look& operator=(const look&) = delete;
    // release: what it has read comes before what those do who were to wait for it.
    ~look() { all_.present_.store(0, release); }

    /// Calls visit(entry, inner) for each task that a known thread runs, and the one inside it on its stack, or null.
    template <class Visit>
    void for_each_running(Visit visit) {
      heavy_fence();  // [O2]
      for (const thread_context* t = all_.known_; t != nullptr; t = t->next_known) {
        const running_task* inner = nullptr;
        for (const running_task* e = t->shown.load(seq_cst); e != nullptr; e = e->shown_before) {  // [O2]
          visit(*e, inner);
          inner = e;
        }
      }
    }

   private:
    observers& all_;
    std::lock_guard<mutex> lock_;
  };

 private:
  [[gnu::noinline]] void wait() noexcept { std::lock_guard lock(mutex_); }

  atomic<std::uint32_t> present_{0};
  mutex mutex_;
  thread_context* known_ = nullptr;  ///< the first of all known threads
};

/// Those of all tasks of the process.
[[gnu::always_inline]] inline observers& everybody() noexcept { return process_wide<observers>(); }

}  // namespace dyngen::detail
