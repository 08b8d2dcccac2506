// SPDX-License-Identifier: MIT
#pragma once
// The lifecycle of a task: one atomic word, and every transition it can make, each with a name. No other code touches
// the word. It knows nothing of queues or coroutines, only who may do what next.
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
// parked: suspended until something comes: room, an awaited value, a child.
// kept:   a stream suspended behind a value although it has room. Its reader claims it for its next value, resumes it on
//         its own thread up to that value, and keeps it again. Any other interest in the task queues it by make_ready():
//         a handle, the closing pool, or the pool's monitor when the reader has not asked for some time
//         (kept_streams.hpp). Whether a stream is kept is in this word alone, so no thread acts on an outdated belief.
//
// Beside the phase stand flags that any thread may set at any time:
//   in_queue    an executor's queue holds the task's link, and a reference on it. A waiter may claim a queued task and
//               run it; its link then stays where it is, so queueing it again while the flag is set only changes the
//               phase, and the thread that pops the link clears the flag and learns the phase in one operation.
//   cancelled   a handle, a stop token or the host asked the task to stop
//   detached    no reader will take what the task yields any more: it runs on, and drops its values
//   abandoned   its stream is gone: the thread that runs it last sweeps what was not taken
//   waiting_for_turn  queued, but by its actor, for its turn there
//   charging    what the task yields is charged to a budget
//   unrunnable  queued, but its executor will never run it: it ends instead
//   replaying   an attempt repeats what an earlier one has stored already: its values are dropped
//   thrown      an exception has left the task's code, and no attempt follows: a cancellation comes too late
//   eager  its stream is never kept for its reader: another thread may wait for what it does between two values
//   doomed      a dependency failed: it will end without running
//   has_run     its code has run, and was left. An actor clears it when it hands the call on: until then a queued call may
//               be on its way back to the actor, on the thread that ran it, and no thread may claim it. No other host looks
//               at it
//
// [T1] running is handed over by acquire and release: the thread that gets it sees all that the one before it did with
//      the task.
// [T2] park() or keep(), and a thread that makes room or sets a flag: both write (seq_cst), then look at the other's word
//      (seq_cst). A flag stands in this very word.

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
  /// A running task looks at these before each value.
  static constexpr std::uint32_t attention = cancelled | detached | replaying | charging;
  /// With one of these a task does not park for room.
  static constexpr std::uint32_t no_parking = cancelled | detached;
  /// With one of these a queued task only ends, on whatever thread comes first.
  static constexpr std::uint32_t only_ends = cancelled | doomed;

  static constexpr phase phase_of(std::uint32_t word) noexcept { return static_cast<phase>(word & phase_mask); }
  /// Does make_ready() change a task in this phase?
  static constexpr bool is_suspended(phase now) noexcept {
    return now == phase::waiting || now == phase::parked || now == phase::kept;
  }

  /// What make_ready() and requeue() leave to their caller.
  enum class next { nothing, push };

  std::uint32_t load() const noexcept { return word_.load(seq_cst); }

  /// A glance, by the thread that runs the task: has anybody asked for something?
  bool wants_attention() const noexcept {
    // relaxed: a late look is as good as the other thread having asked later.
    return (word_.load(relaxed) & attention) != 0;
  }
  /// For such glances at once for every value.
  const atomic<std::uint32_t>& flags() const noexcept { return word_; }

  /// waiting -> queued, with its link in the queue, while nobody else knows of the task. The push publishes it.
  void begin_queued(std::uint32_t flags) noexcept {
    // relaxed, both: nobody else looks yet.
    word_.store(word_.load(relaxed) | static_cast<std::uint32_t>(phase::queued) | in_queue | flags, relaxed);
  }

  /// waiting, parked or kept -> queued, for a thread that finds a reason why the task should run: its dependencies are
  /// there, it has room, it was cancelled, its reader no longer asks. Nothing to do in any other phase. On `push` the
  /// caller owes the executor the link, with a reference of its own.
  next make_ready() noexcept {
    std::uint32_t word = word_.load(seq_cst);  // [T2]
    for (;;) {
      const phase now = phase_of(word);
      if (!is_suspended(now)) return next::nothing;
      if (change(word, phase::queued, in_queue)) return (word & in_queue) != 0 ? next::nothing : next::push;
    }
  }

  /// running -> queued, by the thread that runs it.
  next requeue() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (!change(word, phase::queued, in_queue | has_run)) {
    }
    return (word & in_queue) != 0 ? next::nothing : next::push;
  }

  /// The link was taken out of the queue: true, and running, if the task was still queued.
  bool pop() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    for (;;) {
      const bool mine = phase_of(word) == phase::queued;
      const phase to = mine ? phase::running : phase_of(word);
      const std::uint32_t changed = (word & ~(phase_mask | in_queue)) | static_cast<std::uint32_t>(to);
      // seq_cst: a stream's reader who sees it not running yet has shown himself before it runs [W1].
      if (word_.compare_exchange_weak(word, changed, seq_cst, relaxed)) return mine;  // [T1]
    }
  }

  /// The link was taken out of the queue by somebody who does not run tasks: true if that was its end, because the task
  /// is not queued any more; false if it has to go back.
  bool drop_link() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (phase_of(word) != phase::queued)
      // release: the link was read before it is used again.
      if (word_.compare_exchange_weak(word, word & ~in_queue, release, relaxed)) return true;
    return false;
  }

  /// queued -> running, by a thread that waits for the task. Its link stays in the queue.
  bool claim_queued() noexcept { return claim(phase::queued); }

  /// queued -> running, of a call that its actor has handed on, by a thread that ends it.
  bool claim_handed_on() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (phase_of(word) == phase::queued && (word & (has_run | waiting_for_turn)) == 0)
      if (change(word, phase::running, 0)) return true;  // [T1]
    return false;
  }
  /// The reverse, by that thread: the call stays handed on. On `push` its link is in no queue any more.
  next hand_back() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (!change(word, phase::queued, in_queue)) {
    }
    return (word & in_queue) != 0 ? next::nothing : next::push;
  }

  /// parked -> running: by its consumer, or by the thread that parked it and finds room after all.
  bool claim_parked() noexcept { return claim(phase::parked); }

  /// running -> parked, unless something asks for attention. After it the caller must look again at whatever it parks
  /// for, and claim_parked() if that has come.
  bool park(std::uint32_t unless) noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    for (;;) {
      if ((word & unless) != 0) return false;
      if (change(word, phase::parked, has_run)) return true;  // [T1][T2]
    }
  }

  /// running -> kept, unless something asks for attention or for the task to run ahead.
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
  /// Takes flags back that concern only who does so.
  // relaxed: publishes nothing, and as a read-modify-write lets through what others have published [T1].
  void clear(std::uint32_t flags) noexcept { word_.fetch_and(~flags, relaxed); }

 private:
  bool change(std::uint32_t& word, phase to, std::uint32_t flags) noexcept {
    const std::uint32_t changed = (word & ~phase_mask) | static_cast<std::uint32_t>(to) | flags;
    // relaxed on failure: the value is only a guess for the next try.
    return word_.compare_exchange_weak(word, changed, seq_cst, relaxed);  // [T1]
  }

  bool claim(phase from) noexcept {
    // relaxed: verified by the exchange. A stale value makes claim() fail at worst; the caller then waits for the task as
    // for one that runs.
    std::uint32_t word = word_.load(relaxed);
    while (phase_of(word) == from)
      if (change(word, phase::running, 0)) return true;  // [T1]
    return false;
  }

  static_assert(atomic<std::uint32_t>::is_always_lock_free);

  atomic<std::uint32_t> word_{0};
};

}  // namespace dyngen::detail
