// SPDX-License-Identifier: MIT
#pragma once
// The lifecycle of a task: one atomic word, and a named function for each of its transitions. No other code changes the
// word. This class knows nothing of queues or coroutines, only which thread may do what next.
//
//            make_ready(), begin_queued()     pop(), claim_queued()          end()
//        waiting ───────────────▶ queued ─────────────────────────▶ running ──────▶ ended
//                                  ▲ ▲ ▲            requeue()         │ ▲ │ ▲
//                                  │ │ └──────────────────────────────┤ │ │ │
//                                  │ │ make_ready()             park()│ │ │ │
//                                  │ └───────────── parked ◀──────────┘ │ │ │
//                                  │                  └── claim_parked()┘ │ │
//                                  │ make_ready()                   keep()│ │
//                                  └─────────────── kept ◀────────────────┘ │
//                                                     └───── claim_kept() ──┘
//
// waiting: not started, because an argument is not ready.
//
// parked: suspended until something is ready: credits, an awaited value, a child.
//
// kept: a stream that is suspended behind a value although it has credits. Its reader claims it for the next value,
// resumes it on its own thread up to that value, and keeps it again. make_ready() queues it if the task must run
// without its reader: for another handle, for the closing pool, or for the pool's monitor when the reader has not
// consumed a value for some time (kept_streams.hpp). Only this word tells whether a stream is kept, so no thread acts
// on outdated information.
//
// Beside the phase the word has flags, which any thread may set at any time:
//   in_queue    an executor's queue has the task's link, and a reference on the task. A waiting thread may claim a
//               queued task and run it; the link then stays in the queue. Queueing the task again while the flag is
//               set only changes the phase. The thread that pops the link clears the flag and reads the phase in one
//               operation.
//   cancelled   a handle, a stop token or the host asked the task to stop
//   detached    no reader will consume what the task yields: it runs on, and its values are dropped
//   abandoned   its stream is gone: the thread that runs the task last destroys the values that were not consumed
//   waiting_for_turn  queued at its actor, for a turn there
//   charging    what the task yields is charged to a budget
//   unrunnable  queued, but its executor will never run it: it ends instead
//   replaying   an attempt repeats values that an earlier attempt has stored: they are dropped
//   thrown      an exception has left the task's code and no attempt follows: a cancellation comes too late
//   eager       its stream is never kept for its reader: a thread may wait for what the code does between two values
//   doomed      a dependency failed: the task will end without running
//   has_run     its code has run, and has returned control. While this is set, a queued call of an actor may be on its
//               way back to the actor, on the thread that ran it, and no thread may claim it. The actor clears the flag
//               when it hands the call to its base executor. Only actors read this flag.
//
// [T1] Acquire and release hand over the right to run the task: the next thread that runs it sees all that the previous
//      one did with it.
// [T2] One side is park() or keep(); the other side is a thread that adds credits or sets a flag. Each writes
//      (seq_cst), then reads what the other one writes (seq_cst). A flag is in this word itself.

#include <dyngen/detail/base/atomic.hpp>

#include <cstdint>

namespace dyngen::detail {

enum class phase : std::uint32_t { waiting = 0, queued = 1, running = 2, parked = 3, ended = 4, kept = 5 };

class state_word {
 public:
  static constexpr std::uint32_t phase_mask = 7;
  static constexpr std::uint32_t in_queue = 8;
  static constexpr std::uint32_t cancelled = 16;
  static constexpr std::uint32_t detached = 32;
  static constexpr std::uint32_t abandoned = 64;
  static constexpr std::uint32_t replaying = 128;
  static constexpr std::uint32_t waiting_for_turn = 256;
  static constexpr std::uint32_t charging = 512;
  static constexpr std::uint32_t unrunnable = 1024;
  static constexpr std::uint32_t eager = 2048;
  static constexpr std::uint32_t doomed = 4096;
  static constexpr std::uint32_t thrown = 8192;
  static constexpr std::uint32_t has_run = 16384;
  /// A running task checks for these flags before each value.
  static constexpr std::uint32_t attention = cancelled | detached | replaying | charging;
  /// With one of these flags a task does not park for credits.
  static constexpr std::uint32_t no_parking = cancelled | detached;
  /// With one of these flags a queued task only ends; any thread may do that.
  static constexpr std::uint32_t only_ends = cancelled | doomed;

  static constexpr phase phase_of(std::uint32_t word) noexcept { return static_cast<phase>(word & phase_mask); }
  /// True if make_ready() changes a task in this phase.
  static constexpr bool is_suspended(phase now) noexcept {
    return now == phase::waiting || now == phase::parked || now == phase::kept;
  }

  /// What the caller of make_ready() or requeue() must do: nothing, or push the link.
  enum class next { nothing, push };

  std::uint32_t load() const noexcept { return word_.load(seq_cst); }

  /// Fast check by the thread that runs the task: has any thread asked for something?
  bool wants_attention() const noexcept {
    // relaxed: a late read has the same effect as a later request.
    return (word_.load(relaxed) & attention) != 0;
  }
  /// The word, for code that makes the check of wants_attention() once for every value.
  const atomic<std::uint32_t>& flags() const noexcept { return word_; }

  /// waiting -> queued, with its link in the queue, while no other thread knows of the task. The push publishes it.
  void begin_queued(std::uint32_t flags) noexcept {
    // relaxed, both: no other thread reads it yet.
    word_.store(word_.load(relaxed) | static_cast<std::uint32_t>(phase::queued) | in_queue | flags, relaxed);
  }

  /// waiting, parked or kept -> queued, by a thread with a reason to run the task: its dependencies are ready, it has
  /// credits, it was cancelled, or its reader no longer asks. No effect in any other phase. If it returns `push`, the
  /// caller must push the link, with a reference of its own.
  next make_ready() noexcept {
    std::uint32_t word = word_.load(seq_cst);  // [T2]
    for (;;) {
      const phase now = phase_of(word);
      if (!is_suspended(now)) return next::nothing;
      if (change(word, phase::queued, in_queue)) return (word & in_queue) != 0 ? next::nothing : next::push;
    }
  }

  /// running -> queued, by the thread that runs the task.
  next requeue() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (!change(word, phase::queued, in_queue | has_run)) {
    }
    return (word & in_queue) != 0 ? next::nothing : next::push;
  }

  /// Called after the link was popped: clears in_queue. queued -> running, and returns true; in any other phase returns
  /// false.
  bool pop() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    for (;;) {
      const bool mine = phase_of(word) == phase::queued;
      const phase to = mine ? phase::running : phase_of(word);
      const std::uint32_t changed = (word & ~(phase_mask | in_queue)) | static_cast<std::uint32_t>(to);
      // seq_cst: if a reader of the stream registers [W1] and then sees that the stream does not run yet, the stream
      // will see the registration when it runs.
      if (word_.compare_exchange_weak(word, changed, seq_cst, relaxed)) return mine;  // [T1]
    }
  }

  /// Called after the link was removed from the queue by a thread that does not run tasks. Returns true if the task is
  /// not queued any more and the link is gone for good; false if the link must go back.
  bool drop_link() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (phase_of(word) != phase::queued)
      // release: all reads of the link come before its next use.
      if (word_.compare_exchange_weak(word, word & ~in_queue, release, relaxed)) return true;
    return false;
  }

  /// queued -> running, by a thread that waits for the task. The link stays in the queue.
  bool claim_queued() noexcept { return claim(phase::queued); }

  /// queued -> running, by a thread that only ends the task, for a call that its actor has handed to its base executor.
  bool claim_handed_on() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (phase_of(word) == phase::queued && (word & (has_run | waiting_for_turn)) == 0)
      if (change(word, phase::running, 0)) return true;  // [T1]
    return false;
  }
  /// Undoes claim_handed_on(): running -> queued; the call stays handed on. If it returns `push`, the link is no longer
  /// in a queue, and the caller must push it.
  next hand_back() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (!change(word, phase::queued, in_queue)) {
    }
    return (word & in_queue) != 0 ? next::nothing : next::push;
  }

  /// parked -> running: by the stream's consumer, or by the thread that parked the task and finds credits after all.
  bool claim_parked() noexcept { return claim(phase::parked); }

  /// running -> parked, unless one of the flags `unless` is set. After it the caller must check again for what the task
  /// parks for, and call claim_parked() if that is ready.
  bool park(std::uint32_t unless) noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    for (;;) {
      if ((word & unless) != 0) return false;
      if (change(word, phase::parked, has_run)) return true;  // [T1][T2]
    }
  }

  /// running -> kept, unless a flag asks for attention or makes the task eager.
  bool keep() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    for (;;) {
      if ((word & (attention | eager)) != 0) return false;
      if (change(word, phase::kept, 0)) return true;  // [T1][T2]
    }
  }
  /// kept -> running, by the stream's reader.
  bool claim_kept() noexcept { return claim(phase::kept); }

  /// running -> ended. Returns the word as it was.
  std::uint32_t end() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (!change(word, phase::ended, 0)) {
    }
    return word;
  }

  /// Sets flags; returns the word as it was.
  std::uint32_t set(std::uint32_t flags) noexcept { return word_.fetch_or(flags, seq_cst); }  // [T2]
  /// Clears flags that concern only the calling thread.
  // relaxed: publishes nothing; and as a read-modify-write it continues the release sequences of other threads [T1].
  void clear(std::uint32_t flags) noexcept { word_.fetch_and(~flags, relaxed); }

 private:
  bool change(std::uint32_t& word, phase to, std::uint32_t flags) noexcept {
    const std::uint32_t changed = (word & ~phase_mask) | static_cast<std::uint32_t>(to) | flags;
    // relaxed on failure: the value is only a guess for the next try.
    return word_.compare_exchange_weak(word, changed, seq_cst, relaxed);  // [T1]
  }

  bool claim(phase from) noexcept {
    // relaxed: verified by the exchange. At worst a stale value makes claim() fail; the caller then waits for the task
    // as if it were running.
    std::uint32_t word = word_.load(relaxed);
    while (phase_of(word) == from)
      if (change(word, phase::running, 0)) return true;  // [T1]
    return false;
  }

  static_assert(atomic<std::uint32_t>::is_always_lock_free);

  atomic<std::uint32_t> word_{0};
};

}  // namespace dyngen::detail
