// SPDX-License-Identifier: MIT
#pragma once
// The streams of a pool whose readers the monitor watches. Two things that a reader does are correct only while it goes
// on consuming values:
//   - it keeps the stream (state_word.hpp): the stream is suspended although it has credits, because the reader
//     produces each value itself;
//   - it owes credits: it has consumed values, and returns their credits only when half of all credits are owed.
//
// A reader that stops consuming may wait for something that the library does not see, such as a latch or a flag, and
// that only the stream's own code would set. Or another thread becomes the reader and waits for the next value, and
// does not know of the credits that the first reader owes. So if no value was consumed for `reader_patience`, the
// monitor returns the credits, and queues the stream if it is kept or waits for these credits. Without this list a kept
// stream, or owed credits, could make a program hang.
//
//            add(), by the reader
//   unlisted ────────────────────▶ listed ───┐ values were consumed, or the reader owes credits again
//       ▲                           │  ▲     │
//       │  no value was consumed    │  └─────┘
//       └───────────────────────────┘
//          for `reader_patience`: the monitor returns credits, and queues the stream
//
// The list is ordered by `since`, oldest first. remove(), called at the stream's end, unlists the stream, too.
//
// Invariant: a stream that is kept, or whose reader owes credits, is listed, or a thread is about to call add().
//
// [K1] The reader keeps the stream (its state word, seq_cst), then reads `listed` (seq_cst). The thread that unlists a
//      stream clears `listed` (seq_cst), then reads the state word (seq_cst), in return_credits(). At least one of the
//      two sees the other's write.
// [K2] add() makes any() true (seq_cst), then rings the monitor. The monitor announces that it will sleep, then calls
//      any(). This is the pair [D1] of doorbell.hpp.
// [K3] The reader announces that the stream is to be listed (`known`, seq_cst), then reads in add() whether the task
//      has ended (seq_cst). The thread that ends the task writes that (seq_cst), then reads `known` (seq_cst).
// [K4] Owed credits, `mark`. The reader counts a value as consumed (`taken`, the light side), then reads the mark, the
//      count from which on it returns credits (seq_cst). The thread that unlists clears the mark (seq_cst), executes
//      the heavy fence, then reads `taken` (seq_cst). Either it sees the new count and leaves the stream listed, or the
//      reader sees that it must return credits.
// [K5] A reader that goes on owing credits writes the new mark (seq_cst), then reads `listed` (seq_cst). The thread
//      that unlists clears `listed` (seq_cst), then reads the mark (seq_cst), and lists the stream again if there is a
//      mark.
//
// One mutex guards the list. It is not locked for each value: a reader locks it when it begins and when it comes back
// after a pause, the end of the stream locks it, and the monitor does. No user code runs under it, not even the
// destructor of an exception: the list has no reference on a stream, and the stream's end waits for the mutex.

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/task/task_record.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace dyngen::detail {

/// In ms: if no value of a stream is consumed for this time, the stream runs without its reader. Written only by tests
/// and benchmarks, before they create pools.
inline atomic<std::int64_t> reader_patience{10};

/// A stream's entry in the list of its pool.
struct kept_entry {
  kept_entry(task_record& t, credited_stream& s, const atomic<std::uint64_t>& values_taken, atomic<std::uint64_t>& m) noexcept
      : task(t), stream(s), taken(values_taken), mark(m) {}

  task_record& task;
  credited_stream& stream;
  const atomic<std::uint64_t>& taken;  ///< number of values that its reader has consumed
  /// The count of consumed values at which the reader returns credits; 0: at the next value; no_limit: it owes none.
  atomic<std::uint64_t>& mark;
  atomic<bool> known{false};           ///< add() was called for it
  atomic<bool> listed{false};
  // Guarded by the list's mutex.
  kept_entry* previous = nullptr;
  kept_entry* next = nullptr;
  std::uint64_t seen = 0;  ///< value of `taken` at `since`
  deadline since{};
};

class kept_streams {
 public:
  kept_streams() = default;
  kept_streams(const kept_streams&) = delete;
  kept_streams& operator=(const kept_streams&) = delete;

  /// Called by the reader, which has found the stream unlisted.
  void add(kept_entry& e) noexcept {
    e.known.store(true, seq_cst);  // [K3]
    std::lock_guard lock(mutex_);
    // relaxed: guarded by the mutex. [K3]
    if (e.listed.load(relaxed) || state_word::phase_of(e.task.state().load()) == phase::ended) return;
    append(e, time_now());
    e.listed.store(true, relaxed);  // relaxed: only the reader, which is the caller, reads it without the mutex
    any_.store(true, seq_cst);      // [K2]
  }
  /// Called when the stream's task has ended.
  void remove(kept_entry& e) noexcept {
    if (!e.known.load(seq_cst)) return;  // [K3]
    std::lock_guard lock(mutex_);
    if (!e.listed.load(relaxed)) return;  // relaxed: guarded by the mutex
    unlink(e);
    e.listed.store(false, relaxed);
  }

  bool any() const noexcept { return any_.load(seq_cst); }  // [K2]

  /// Called by the monitor: releases the streams from which no value was consumed for `reader_patience`. Returns when
  /// to call it again; `never` if no stream is listed.
  deadline release_unused(deadline now) noexcept {
    // [K4] seq_cst: the read of `taken`.
    release(now - patience(), now, [](const kept_entry& e) noexcept { return e.taken.load(seq_cst) == e.seen; });
    std::lock_guard lock(mutex_);
    return first_ != nullptr ? first_->since + patience() : never;
  }
  /// Called by a thread that closes the pool: releases all streams.
  void release_all() noexcept {
    const deadline now = time_now();
    // This terminates: a stream is listed again only if its reader has consumed a value since.
    release(now, now, [](const kept_entry&) noexcept { return true; });
  }

 private:
  // relaxed: not written any more when there are pools.
  static std::chrono::milliseconds patience() noexcept { return std::chrono::milliseconds(reader_patience.load(relaxed)); }

  /// Returns the credits of the streams that are listed since `until` or earlier and for which `left_alone` is true,
  /// and queues them. Does so under the mutex: no such stream can end in the meantime, because remove() waits;
  /// return_credits() only queues. Does so in batches: not too many streams at once, because readers wait for the
  /// mutex; not one by one, because the fence is expensive.
  template <class LeftAlone>
  void release(deadline until, deadline now, LeftAlone left_alone) noexcept {
    constexpr unsigned batch = 32;
    for (unsigned count = batch; count == batch;) {
      std::lock_guard lock(mutex_);
      count = 0;
      bool fenced = false;
      for (kept_entry* e = first_; e != nullptr && e->since <= until && count != batch; e = e->next, ++count) {
        if (!left_alone(*e)) continue;
        e->mark.store(0, seq_cst);  // [K4]
        fenced = true;
      }
      if (fenced) asymmetric_fence_heavy();  // [K4]
      for (unsigned left = count; left != 0; --left) {
        kept_entry& e = *first_;
        unlink(e);
        if (left_alone(e) && !owes_after_unlisting(e)) {
          e.stream.return_credits(true);  // [K1]
        } else {
          // relaxed: a reader that does not see it calls add(), which reads it under the mutex.
          e.listed.store(true, relaxed);
          append(e, now);
        }
      }
      any_.store(first_ != nullptr, seq_cst);
    }
  }
  bool owes_after_unlisting(kept_entry& e) noexcept {
    e.listed.store(false, seq_cst);                   // [K1][K5]
    const std::uint64_t mark = e.mark.load(seq_cst);  // [K5]
    return mark != 0 && mark != no_limit;
  }

  void append(kept_entry& e, deadline now) noexcept {
    e.since = now;
    e.seen = e.taken.load(relaxed);  // relaxed: an older value only makes the stream look used
    e.previous = last_;
    e.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &e;
    last_ = &e;
  }
  void unlink(kept_entry& e) noexcept {
    (e.previous != nullptr ? e.previous->next : first_) = e.next;
    (e.next != nullptr ? e.next->previous : last_) = e.previous;
  }
  mutex mutex_;
  kept_entry* first_ = nullptr;
  kept_entry* last_ = nullptr;
  atomic<bool> any_{false};
};

}  // namespace dyngen::detail
