// SPDX-License-Identifier: MIT
#pragma once
// The streams of a pool whose readers the monitor watches. Two things that a reader does are right only as long as it goes on
// taking values:
//   - it keeps the stream (state_word.hpp): suspended although it has room, so that the reader makes each value itself;
//   - it owes room: it has taken values, and will give their room back only when half of all room is free.
// A reader that stops may be waiting for something that the library does not see, a latch or a flag, which the stream's own
// code would bring; or another thread reads on, and waits, which does not know of the room that the first one owes. So when
// nothing was taken for `reader_patience`, the monitor gives the room back, and queues a stream that is kept or waits for that room.
// Every guarantee that keeping a stream, or owing it room, changes no program's end rests on this list.
//
//            add(), by the reader
//   unlisted ────────────────────▶ listed ───┐ values were taken, or the reader owes room again
//       ▲                           │  ▲     │
//       │  nothing was taken        │  └─────┘
//       └───────────────────────────┘
//          for `reader_patience`: the monitor gives room back, and queues the stream
//
// The list is in the order of `since`, the oldest first. remove(), at the stream's end, unlists as well.
//
// Invariant: a stream that is kept, or whose reader owes room, is listed, or a thread is about to call add().
//
// [K1] The reader keeps the stream (its state word, seq_cst), then looks at `listed` (seq_cst). The thread that unlists a
//      stream clears `listed` (seq_cst), then looks at the state word (seq_cst), in return_credits(). At least one of the two sees
//      the other's write.
// [K2] any(): add() sets it (seq_cst), then rings the monitor; the monitor says that it sleeps, then looks at it: the pair
//      [D1] of doorbell.hpp.
// [K3] The reader says that it is to be listed (`known`, seq_cst), then looks in add() whether the task has ended (seq_cst); the
//      thread that ends the task writes that (seq_cst), then looks at `known` (seq_cst).
// [K4] Owed room, `mark`. The reader says that it has taken a value (`taken`, the light side), then looks at the mark from
//      which on it gives room back (seq_cst). The thread that unlists clears the mark (seq_cst), passes the heavy fence, then
//      looks at `taken` (seq_cst): it sees the take, and leaves the stream listed, or the reader sees that it is to give room back.
// [K5] A reader that goes on owing room writes the new mark (seq_cst), then looks at `listed` (seq_cst). The thread that unlists
//      clears `listed` (seq_cst), then looks at the mark (seq_cst), and lists the stream again if there is one.
//
// One mutex guards the list. Values pass without it: it is taken when a reader begins, comes back after a pause, and ends,
// and by the monitor. No code of the user's runs under it, not even the destructor of an exception: the list holds no reference
// on a stream, whose end waits for the mutex.

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/task/task_record.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace dyngen::detail {

/// A stream from which nothing is taken for so long, in ms, is not left to its reader. Written by tests and benchmarks only, before
/// there are pools.
inline atomic<std::int64_t> reader_patience{10};

/// A stream's place in the list of its pool.
struct kept_entry {
  kept_entry(task_record& t, credited_stream& s, const atomic<std::uint64_t>& values_taken, atomic<std::uint64_t>& m) noexcept
      : task(t), stream(s), taken(values_taken), mark(m) {}

  task_record& task;
  credited_stream& stream;
  const atomic<std::uint64_t>& taken;  ///< how many values its reader has taken
  atomic<std::uint64_t>& mark;         ///< from how many on it gives room back; 0: at the next one; no_limit: it owes none
  atomic<bool> known{false};           ///< it was to be listed once
  atomic<bool> listed{false};
  // Guarded by the list.
  kept_entry* previous = nullptr;
  kept_entry* next = nullptr;
  std::uint64_t seen = 0;  ///< what `taken` was at `since`
  deadline since{};
};

class kept_streams {
 public:
  kept_streams() = default;
  kept_streams(const kept_streams&) = delete;
  kept_streams& operator=(const kept_streams&) = delete;

  /// By the reader, which has found the stream unlisted.
  void add(kept_entry& e) noexcept {
    e.known.store(true, seq_cst);  // [K3]
    std::lock_guard lock(mutex_);
    if (e.listed.load(relaxed) || state_word::phase_of(e.task.state().load()) == phase::ended) return;  // relaxed: the mutex [K3]
    append(e, time_now());
    e.listed.store(true, relaxed);  // relaxed: only the reader looks without the mutex, and it is the caller
    any_.store(true, seq_cst);      // [K2]
  }
  /// The stream's task has ended.
  void remove(kept_entry& e) noexcept {
    if (!e.known.load(seq_cst)) return;  // [K3]
    std::lock_guard lock(mutex_);
    if (!e.listed.load(relaxed)) return;  // relaxed: the mutex
    unlink(e);
    e.listed.store(false, relaxed);
  }

  bool any() const noexcept { return any_.load(seq_cst); }  // [K2]

  /// By the monitor: looks after the streams from which nothing was taken for `reader_patience`. Returns when to call it again: `never`
  /// if none is listed.
  deadline release_unused(deadline now) noexcept {
    release(now - patience(), now, [](const kept_entry& e) noexcept { return e.taken.load(seq_cst) == e.seen; });  // [K4]
    std::lock_guard lock(mutex_);
    return first_ != nullptr ? first_->since + patience() : never;
  }
  /// By a thread that closes the pool: looks after all of them.
  void release_all() noexcept {
    const deadline now = time_now();
    // This ends: a stream is listed again only if its reader has taken a value meanwhile.
    release(now, now, [](const kept_entry&) noexcept { return true; });
  }

 private:
  // relaxed: see reader_patience.
  static std::chrono::milliseconds patience() noexcept { return std::chrono::milliseconds(reader_patience.load(relaxed)); }

  /// Gives those streams back to their producers that are listed since `until` or before, and `left_alone` by their readers.
  /// Under the mutex: no such stream can end meanwhile, as remove() waits; and what return_credits() does, it only queues. Not for too
  /// many at once, as readers wait for the mutex as well; and not for each alone, as the fence is dear.
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
          e.listed.store(true, relaxed);  // relaxed: a reader that misses it calls add(), which finds it listed
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
    e.seen = e.taken.load(relaxed);  // relaxed: an older one only makes the stream look as if it were used
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
