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
//            add(), by the reader                  give(): nothing taken for `reader_patience`          nothing taken since
//   unlisted ────────────────────▶ listed, active ─────────────────────────────────────▶ listed, idle ───────────▶ unlisted
//                                     ▲   │ ▲            values were taken                 │
//                                     └───┘ └──────────────────────────────────────────────┘
//
// The list is in the order of `since`, the oldest first. remove(), at the stream's end, and release_all() unlist as well.
//
// Invariant: a stream that is kept, or whose reader owes room, is listed, or a thread is about to call add().
//
// [K1] The reader keeps the stream (its state word, seq_cst), then looks at `listed` (seq_cst). The thread that unlists a
//      stream clears `listed` (seq_cst), then looks at the state word (seq_cst). At least one of the two sees the other's
//      write.
// [K2] any(): add() sets it (seq_cst), then rings the monitor; the monitor says that it sleeps, then looks at it: the pair
//      [D1] of doorbell.hpp.
// [K3] The reader says that it is to be listed (`known`, seq_cst), then looks in add() whether the task has ended (seq_cst); the
//      thread that ends the task writes that (seq_cst), then looks at `known` (seq_cst).
// [K4] Owed room: the reader writes the mark from which on it gives room back (seq_cst), then looks at `listed` (seq_cst); the
//      monitor clears the mark as it gives the room back, and unlists the stream (seq_cst) only if the mark is clear
//      afterwards (seq_cst). A take that has not seen the clear mark is visible by then: a stream is unlisted no sooner
//      than `reader_patience` after its mark was cleared.
//
// One mutex guards the list. Values pass without it: it is taken when a reader begins, comes back after a pause, and ends,
// and by the monitor. No code of the user's runs under it, not even the destructor of an exception: the list holds no reference
// on a stream, whose end waits for the mutex.

#include <dyngen/detail/task_record.hpp>

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
  kept_entry(task_record& t, room_giver& s, const atomic<std::uint64_t>& values_taken, const atomic<std::uint64_t>& m) noexcept
      : task(t), stream(s), taken(values_taken), mark(m) {}

  task_record& task;
  room_giver& stream;
  const atomic<std::uint64_t>& taken;  ///< how many values its reader has taken
  const atomic<std::uint64_t>& mark;   ///< from how many on it gives room back; 0: at the next one; no_limit: it owes none
  atomic<bool> known{false};           ///< it was to be listed once
  atomic<bool> listed{false};
  // Guarded by the list.
  bool idle = false;
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
    e.idle = false;
    e.listed.store(true, relaxed);  // relaxed: only the reader looks without the mutex, and it is the caller
    any_.store(true, seq_cst);      // [K2]
  }
  /// The stream's task has ended.
  void remove(kept_entry& e) noexcept {
    if (!e.known.load(seq_cst)) return;  // [K3]
    std::lock_guard lock(mutex_);
    if (e.listed.load(relaxed)) take_off(e);  // relaxed: the mutex
  }

  bool any() const noexcept { return any_.load(seq_cst); }  // [K2]

  /// By the monitor: looks after the streams from which nothing was taken for `reader_patience`. Returns when to call it again: `never`
  /// if none is listed.
  deadline release_unused(deadline now) noexcept {
    return for_each_due([now](const kept_entry& e) noexcept { return now - e.since >= patience(); },
                        [this, now](kept_entry& e) noexcept { return is_left(e, now); });
  }
  /// Looks after all of them, and unlists them.
  void release_all() noexcept {
    (void)for_each_due([](const kept_entry&) noexcept { return true; }, [this](kept_entry& e) noexcept {
      take_off(e);
      return true;
    });
  }

 private:
  // relaxed: see reader_patience.
  static std::chrono::milliseconds patience() noexcept { return std::chrono::milliseconds(reader_patience.load(relaxed)); }

  /// Under the mutex. Has the reader left the stream alone, so that its room is to be given back, and it is not to be kept?
  bool is_left(kept_entry& e, deadline now) noexcept {
    // relaxed: only whether it has changed is of interest.
    const bool used = e.taken.load(relaxed) != e.seen;
    if (!used && e.idle) {
      take_off(e);  // [K1]
      const std::uint64_t mark = e.mark.load(seq_cst);  // [K4]
      const bool owes = mark != 0 && mark != no_limit;
      if (state_word::phase_of(e.task.state().load()) != phase::kept && !owes) return false;  // [K1]
      e.listed.store(true, relaxed);  // relaxed: a reader that misses it calls add(), which finds it listed
      append(e, now);
      return true;
    }
    unlink(e);
    append(e, now);
    e.idle = !used;
    return e.idle;
  }

  /// Calls `is_left` for the streams at the front of the list, as long as `due` says so, and gives those back to their producers
  /// for which that is true. Under the mutex: until it is released no such stream can end, as remove() waits; and what it does,
  /// it only queues. Not for too many at once, as readers wait for the mutex as well.
  template <class Due, class Left>
  deadline for_each_due(Due due, Left is_left) noexcept {
    constexpr unsigned batch = 32;
    for (;;) {
      std::lock_guard lock(mutex_);
      unsigned count = 0;
      for (; first_ != nullptr && due(*first_) && count != batch; ++count) {
        kept_entry& e = *first_;
        if (is_left(e)) e.stream.give_back(true);
      }
      any_.store(first_ != nullptr, seq_cst);
      if (count != batch) return first_ != nullptr ? first_->since + patience() : never;
    }
  }

  void append(kept_entry& e, deadline now) noexcept {
    e.since = now;
    e.seen = e.taken.load(relaxed);  // relaxed: as in is_left()
    e.previous = last_;
    e.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &e;
    last_ = &e;
  }
  void unlink(kept_entry& e) noexcept {
    (e.previous != nullptr ? e.previous->next : first_) = e.next;
    (e.next != nullptr ? e.next->previous : last_) = e.previous;
  }
  void take_off(kept_entry& e) noexcept {
    unlink(e);
    e.listed.store(false, seq_cst);  // [K1]
  }

  mutex mutex_;
  kept_entry* first_ = nullptr;
  kept_entry* last_ = nullptr;
  atomic<bool> any_{false};
};

}  // namespace dyngen::detail
