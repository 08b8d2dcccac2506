// SPDX-License-Identifier: MIT
#pragma once
// An event count: counts the threads of a pool that are awake, and lets the others sleep. A thread is active while it
// runs tasks or searches for some, not while it sleeps or blocks in a task's wait. At most `width` threads should be
// active. This class knows no queues: a caller passes `work_may_be_left`, which reads every queue by seq_cst loads.
// An idle pool uses no CPU. A push wakes at most one thread, and none while another thread searches.
//
//                   resume_searching()                  park(): nothing found
//        running ─────────────────────▶ searching ──────────────────────────────▶ parked
//        active  ◀───────────────────── active    ◀────────────────────────────── asleep
//         │   ▲      found_work()           ▲        takes a token of notify(),       ▲
// leave() │   │ enter()                     │        or claims itself                 ├── start_parked()
//         ▼   │                             └── start_searching()                     └── park_surplus(), from running
//        blocked
//
// One word counts the active, the searching (which are active, too) and the parked threads. A thread in park() counts
// as parked until a notifier, or the thread itself, claims it. From then on it counts as searching, though it may still
// sleep; a notifier posts a token for it. A token is for no particular thread: any sleeper may take it, and the counts
// stay right.
//
// Dekker pairs [A1], seq_cst on all four operations of each; neither side has a fence:
//   a push changes its queue, then notify() reads the word
//     | park(), park_surplus(), start_parked() change the word, then read the queues  (no lost wake-up)
//     | found_work() changes the word, then the last searcher reads and notifies      (no lost parallelism)
//     | leave() changes the word, then its caller reads and notifies                  (no work without a thread)
// An earlier notify() may have skipped a wake-up because it saw a searcher, or `width` active threads. The thread that
// removes that reason (the last searcher stops, an active thread blocks) reads the queues again and notifies. Hence a
// thread that is about to sleep may ignore queued work while another thread searches, or while `width` threads are
// active.
//
// No thread spins here. A notifier that is preempted between its claim and its token keeps one sleeper asleep. That
// sleeper counts as a searcher meanwhile, so other notifiers wake no thread in its place. A preempted searcher has this
// effect as well. Threads that run tasks take the queued work at their next pick; if no thread runs tasks, the work
// waits for the preempted thread.
// A worker parks although work is queued if no thread can take that work yet. `work_may_be_left` returns false then,
// and the thread that makes the work available calls notify() afterwards (injection_queue.hpp, [I1] and [I8]).

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/park.hpp>

#include <cstdint>

namespace dyngen::detail {

/// Why park() has returned.
enum class park_result : unsigned char {
  search,   ///< there may be work
  stopping  ///< stop() was called; there may be work, too
};

class idle_workers {
public:
  /// `width`: how many threads should be active, at least 1. At most 2^20 - 1 threads may be counted at a time.
  explicit idle_workers(std::uint32_t width) noexcept : width_(width) {}
  idle_workers(const idle_workers&) = delete;
  idle_workers& operator=(const idle_workers&) = delete;

  /// Counts a new thread as active and searching. Called by that thread, or by the thread that starts it.
  void start_searching() noexcept {
    word_.fetch_add(one_active + one_searching, relaxed);  // [A2]
  }

  /// Called by a new thread, a spare: sleeps until notify() or stop() wakes it. Returns active and searching.
  template <class Look>
  park_result start_parked(Look work_may_be_left) noexcept {
    word_.fetch_add(one_parked, seq_cst);  // [A1]
    return sleep(work_may_be_left);
  }

  /// Call it after a push, or when work may be left. Wakes one thread if one sleeps, fewer than `width` are active, and
  /// none searches. Returns whether it did. From any thread.
  bool notify() noexcept {
    // [A1] This load is all that a push costs if no thread is parked.
    return parked_of(word_.load(seq_cst)) != 0 && wake_one_parked();
  }

  /// Called by a searcher that has taken an item: it counts as running. Returns true if it was the last searcher. Then,
  /// before it runs user code, it must check whether more work may be left, and call notify() if so.
  [[nodiscard("the last searcher must look for more work and notify")]] bool found_work() noexcept {
    return searching_of(word_.fetch_sub(one_searching, seq_cst)) == 1;  // [A1]
  }

  /// Called by a running thread that starts to search.
  void resume_searching() noexcept { word_.fetch_add(one_searching, relaxed); }  // [A2]

  /// Called by a searcher that has found nothing: sleeps until a token or stop() wakes it, unless `work_may_be_left()`
  /// returns true. Returns active and searching in any case. Calls `work_may_be_left` at most once.
  template <class Look>
  park_result park(Look work_may_be_left) noexcept {
    word_.fetch_add(one_parked - one_active - one_searching, seq_cst);  // [A1]
    return sleep(work_may_be_left);
  }

  /// Called by a running thread, between two tasks, because more than `width` are active: sleeps like park().
  template <class Look>
  park_result park_surplus(Look work_may_be_left) noexcept {
    word_.fetch_add(one_parked - one_active, seq_cst);  // [A1]
    return sleep(work_may_be_left);
  }

  /// Are more than `width` threads active? Then a running thread should call park_surplus() after its task.
  // relaxed: a hint; park_surplus() reads the queues.
  bool oversubscribed() const noexcept { return active_of(word_.load(relaxed)) > width_; }

  /// Called by a running thread that is about to block. It must then check whether work may be left, and call notify()
  /// if so.
  void leave() noexcept { word_.fetch_sub(one_active, seq_cst); }  // [A1]

  /// Called by a thread that blocked and runs again. More than `width` threads may be active then: oversubscribed().
  void enter() noexcept { word_.fetch_add(one_active, relaxed); }  // [A2]

  /// Wakes all sleepers. From now on park(), park_surplus() and start_parked() return `stopping` without sleeping;
  /// their caller sees what was written before stop(). Does not interrupt threads that run or block. May be called
  /// again.
  void stop() noexcept {
    // [A5] release: publishes what was written before. As a read-modify-write it continues the release sequences of the
    // threads that took tokens before.
    tokens_.fetch_or(stop_bit, release);
    wake_all(tokens_);
  }

  // relaxed: the counts at some recent moment.
  std::uint32_t parked() const noexcept { return parked_of(word_.load(relaxed)); }
  std::uint32_t active() const noexcept { return active_of(word_.load(relaxed)); }
  std::uint32_t searching() const noexcept { return searching_of(word_.load(relaxed)); }
  std::uint32_t width() const noexcept { return width_; }

private:
  static constexpr unsigned field_bits = 20;
  static constexpr std::uint64_t field_mask = (std::uint64_t{1} << field_bits) - 1;
  static constexpr std::uint64_t one_parked = 1;
  static constexpr std::uint64_t one_searching = one_parked << field_bits;
  static constexpr std::uint64_t one_active = one_searching << field_bits;
  static constexpr std::uint32_t stop_bit = std::uint32_t{1} << 31;  // in tokens_, above the count

  static std::uint32_t parked_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word & field_mask); }
  static std::uint32_t searching_of(std::uint64_t word) noexcept { return parked_of(word >> field_bits); }
  static std::uint32_t active_of(std::uint64_t word) noexcept { return parked_of(word >> 2 * field_bits); }

  /// Claims a parked thread, any one, if there is one and `wanted(word)` returns true. Returns whether it did.
  template <class Wanted>
  bool claim(Wanted wanted) noexcept {
    std::uint64_t word = word_.load(seq_cst);  // [A1]
    while (parked_of(word) != 0 && wanted(word)) {
      // [A2] relaxed, as is every change that makes a wake-up less likely: a thread that does not see the change yet
      //      tries to claim one sleeper too many, but then this exchange fails; a thread that sees it needs nothing
      //      that was written before. A failed exchange reads a newer word than the load above, and that load already
      //      came after the push.
      if (word_.compare_exchange_weak(word, word + one_active + one_searching - one_parked, relaxed, relaxed))
        return true;
    }
    return false;
  }

  DYNGEN_NOINLINE bool wake_one_parked() noexcept {
    if (!claim_a_parked_thread()) return false;
    // [A4] release: the thread that takes the token sees what was pushed before, so its search is not in vain.
    tokens_.fetch_add(1, release);
    wake_one(tokens_);
    return true;
  }

  bool claim_a_parked_thread() noexcept {
    return claim([this](std::uint64_t word) { return searching_of(word) == 0 && active_of(word) < width_; });
  }

  /// The calling thread counts as parked, or was claimed meanwhile. Returns when it counts as searching.
  template <class Look>
  park_result sleep(Look& work_may_be_left) noexcept {
    // [A5] acquire, here and below: a thread that sees the stop bit sees what was written before stop(), and the counts
    //      as left by the threads that took a token before.
    std::uint32_t tokens = tokens_.load(acquire);
    // If the claim fails because no thread is parked, another thread has claimed this one, and a token is on its way.
    if ((tokens & stop_bit) == 0 && work_may_be_left() && claim_a_parked_thread()) return park_result::search;
    for (;;) {
      if ((tokens & stop_bit) != 0) {
        // Claims itself before it takes a token: the token may be meant for a thread that counts as searching already.
        if (claim([](std::uint64_t) { return true; })) return park_result::stopping;
      }
      if ((tokens & ~stop_bit) == 0) {
        sleep_on(tokens_, tokens);
        tokens = tokens_.load(acquire);
        continue;
      }
      // [A4] acquire: sees what was pushed before the token was posted. [A5] As a release it lets a thread that finds
      //      the stop bit see that this thread's count stands for the thread whose token it took. acquire on failure,
      //      like the loads above.
      if (tokens_.compare_exchange_weak(tokens, tokens - 1, acq_rel, acquire))
        return (tokens & stop_bit) != 0 ? park_result::stopping : park_result::search;
    }
  }

  const std::uint32_t width_;
  alignas(cache_line) atomic<std::uint64_t> word_{0};  // active, searching, parked
  alignas(cache_line) atomic<std::uint32_t> tokens_{0};  // tokens for claimed sleepers; and the stop bit
};

}  // namespace dyngen::detail
