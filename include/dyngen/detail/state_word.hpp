// SPDX-License-Identifier: MIT
#pragma once
// The lifecycle of a task: one atomic word, and every transition it can make, each with a name. No other code touches
// the word. It knows nothing of queues or coroutines, only who may do what next.
//
//            make_ready(), begin_queued()     pop(), claim_queued()          end()
//        waiting ───────────────▶ queued ─────────────────────────▶ running ──────▶ ended
//                                   ▲ ▲            requeue()          │  ▲
//                                   │ └───────────────────────────────┤  │
//                                   │ make_ready()              park()│  │ claim_parked()
//                                   ├─────────────── parked ◀─────────┤  │
//                                   │                  └──────────────┼──┤
//                                   │ make_ready(), let_go()    hold()│  │ take_held()
//                                   └─────────────── held_by_consumer ┘  │
//                                                      └─────────────────┘
//
// Beside the phase stand flags that anybody may set at any time:
//   in_queue    an executor's queue holds the task's link, and a reference on it. A waiter may claim a queued task and
//               run it; its link then stays where it is, so queueing it again while the flag is set only changes the
//               phase, and whoever pops the link clears the flag and learns the phase in one operation.
//   cancelled   somebody asked the task to stop
//   detached    nobody will take what it yields any more: it runs on, and drops its values
//   abandoned   its stream is gone: who runs it last sweeps what was not taken
//   held        queued, but by its actor, for its turn there
//   charging    what the task yields is charged to a budget
//   unrunnable  queued, but its executor will never run it: it ends instead
//   replaying   an attempt repeats what an earlier one has stored already: its values are dropped
//   revoked     somebody else than its consumer wants a task that he holds to run
//   thrown      an exception has left the task's code, and no attempt follows: a cancellation comes too late
//   runs_ahead  its stream is never held by its consumer: somebody may wait for what it does between two values
//
// held_by_consumer: a stream whose producer is suspended although it has room. Its consumer, a thread, resumes it for one
// value after the other without a change of the word: he marks it as in use (detail/sequence_task.hpp) and looks whether
// the hold was revoked. Whoever else wants the task to run revokes it, and queues the task if it is not in use; if it is,
// the consumer does when he comes back. A revoker counts himself in the upper half of the word until he has looked: so
// long no new hold begins, lest what he saw of the old one be taken for the new one.
//
// [T1] running is handed over by acquire and release: who gets it sees all that the one before it did with the task.
// [T2] park() and whoever makes room or sets a flag: both write (seq_cst), then look at the other's word (seq_cst).
// [T3] holding and revoking: the consumer writes that it is in use, or not any more, then looks at this word (seq_cst);
//      who revokes writes this word (seq_cst), passes the heavy fence, then looks whether it is in use.

#include <dyngen/detail/atomic.hpp>

#include <cstdint>

namespace dyngen::detail {

enum class phase : std::uint32_t { waiting = 0, queued = 1, running = 2, parked = 3, ended = 4, held_by_consumer = 5 };

class state_word {
 public:
  static constexpr std::uint32_t phase_mask = 7;
  static constexpr std::uint32_t in_queue = 8;
  static constexpr std::uint32_t cancelled = 16;
  static constexpr std::uint32_t detached = 32;
  static constexpr std::uint32_t abandoned = 64;
  static constexpr std::uint32_t replaying = 128;
  static constexpr std::uint32_t held = 256;
  static constexpr std::uint32_t charging = 512;
  static constexpr std::uint32_t unrunnable = 1024;
  static constexpr std::uint32_t revoked = 2048;
  static constexpr std::uint32_t runs_ahead = 4096;
  static constexpr std::uint32_t thrown = 8192;
  static constexpr std::uint32_t one_revoker = 1u << 16;
  /// A running task looks at these before each value.
  static constexpr std::uint32_t attention = cancelled | detached | replaying | charging;
  /// With one of these a task does not park for room.
  static constexpr std::uint32_t no_parking = cancelled | detached;

  static constexpr phase phase_of(std::uint32_t word) noexcept { return static_cast<phase>(word & phase_mask); }

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

  /// waiting or parked -> queued, for whoever finds a reason why the task should run: its dependencies are there, it
  /// has room, it was cancelled. Nothing to do in any other phase. On `push` the caller owes the executor the link,
  /// with a reference of its own.
  next make_ready() noexcept {
    std::uint32_t word = word_.load(seq_cst);  // [T2]
    for (;;) {
      const phase now = phase_of(word);
      if (now != phase::waiting && now != phase::parked) return next::nothing;
      if (change(word, phase::queued, in_queue)) return (word & in_queue) != 0 ? next::nothing : next::push;
    }
  }

  /// running -> queued, by the thread that runs it.
  next requeue() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (!change(word, phase::queued, in_queue)) {
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

  /// parked -> running: by its consumer, or by the thread that parked it and finds room after all.
  bool claim_parked() noexcept { return claim(phase::parked); }

  /// running -> parked, unless something asks for attention. After it the caller must look again at whatever it parks
  /// for, and claim_parked() if that has come.
  bool park(std::uint32_t unless) noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    for (;;) {
      if ((word & unless) != 0) return false;
      if (change(word, phase::parked, 0)) return true;  // [T1][T2]
    }
  }

  // --- a stream held by its consumer ---

  /// running -> held_by_consumer, by the consumer who runs it.
  bool hold() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    for (;;) {
      if ((word & (attention | runs_ahead)) != 0 || word >= one_revoker) return false;
      const std::uint32_t changed = (word & ~(phase_mask | revoked)) | static_cast<std::uint32_t>(phase::held_by_consumer);
      if (word_.compare_exchange_weak(word, changed, seq_cst, relaxed)) return true;  // [T1]
    }
  }
  /// For the consumer, having marked the task as in use, or not in use: is it still his?
  bool is_held() const noexcept {
    return (word_.load(seq_cst) & (phase_mask | revoked)) == static_cast<std::uint32_t>(phase::held_by_consumer);  // [T3]
  }
  /// held_by_consumer -> running, by the consumer while it is in use.
  void take_held() noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    while (!change(word, phase::running, 0)) {
    }
  }
  /// held_by_consumer -> queued, by the consumer while it is not in use. On `push` he owes the executor the link, with a
  /// reference of its own; otherwise somebody else has it already.
  next let_go() noexcept {
    std::uint32_t word = word_.load(seq_cst);
    while (phase_of(word) == phase::held_by_consumer)
      if (change(word, phase::queued, in_queue)) return (word & in_queue) != 0 ? next::nothing : next::push;
    return next::nothing;
  }
  /// Anybody else, first half: false if the task is not held. The heavy fence follows, then a look whether it is in use,
  /// then the second half with the answer.
  bool begin_to_revoke() noexcept {
    std::uint32_t word = word_.load(seq_cst);
    while (phase_of(word) == phase::held_by_consumer)
      // relaxed on failure: the value is only a guess for the next try.
      if (word_.compare_exchange_weak(word, (word | revoked) + one_revoker, seq_cst, relaxed)) return true;  // [T3]
    return false;
  }
  /// On `push` the caller owes the executor the link, with a reference of its own.
  next end_revoking(bool in_use) noexcept {
    std::uint32_t word = word_.load(relaxed);  // relaxed: verified by the exchange
    for (;;) {
      const bool mine = phase_of(word) == phase::held_by_consumer && !in_use;
      std::uint32_t changed = word - one_revoker;
      if (mine) changed = (changed & ~phase_mask) | static_cast<std::uint32_t>(phase::queued) | in_queue;
      if (word_.compare_exchange_weak(word, changed, seq_cst, relaxed))  // [T1]
        return mine && (word & in_queue) == 0 ? next::push : next::nothing;
    }
  }

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
    // relaxed: verified by the exchange; who misses the task by it waits for it as for one that runs.
    std::uint32_t word = word_.load(relaxed);
    while (phase_of(word) == from)
      if (change(word, phase::running, 0)) return true;  // [T1]
    return false;
  }

  static_assert(atomic<std::uint32_t>::is_always_lock_free);

  atomic<std::uint32_t> word_{0};
};

}  // namespace dyngen::detail
