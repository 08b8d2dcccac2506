// SPDX-License-Identifier: MIT
#pragma once
// The streams of a pool that are kept for their readers (state_word.hpp): suspended although they have room, so that the
// reader makes each value on its own thread. A reader that stops asking may be waiting for something that the library
// does not see, a latch or a flag, which the stream's own code would bring. So the pool's monitor looks through this list
// and queues each stream whose reader has taken nothing for `patience`; a worker then runs it ahead. Every guarantee that
// keeping a stream changes no program's end rests on this list.
//
//            add(), by the reader that kept it                      release_unused(), release_all(), remove()
//   unlisted ─────────────────────────────────▶ listed, oldest `since` first ─────────────────────────────────▶ unlisted
//                                                  │   ▲
//                                                  └───┘ release_unused(): values were taken meanwhile, `since` = now
//
// Invariant: a stream that is kept is listed, or the thread that kept it is about to call add().
//
// [K1] The reader keeps the stream (its state word, seq_cst), then looks at `listed` (seq_cst). The thread that takes a
//      stream off the list clears `listed` (seq_cst), then looks at the state word (seq_cst), and queues the stream if it
//      is kept. At least one of the two sees the other's write.
// [K2] any(): add() sets it (seq_cst), then rings the monitor; the monitor says that it sleeps, then looks at it: the pair
//      [D1] of doorbell.hpp.
//
// One mutex guards the list. A stream's values pass without it: it is taken when a stream is first kept, when its reader
// comes back after a pause, when it ends, and by the monitor.

#include <dyngen/detail/task_record.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace dyngen::detail {

/// A stream's place in the list of its pool.
struct kept_entry {
  kept_entry(task_record& t, const atomic<std::uint64_t>& values_taken) noexcept : task(t), taken(values_taken) {}

  task_record& task;
  const atomic<std::uint64_t>& taken;  ///< how many values its reader has taken
  atomic<bool> listed{false};
  // Guarded by the list.
  kept_entry* previous = nullptr;
  kept_entry* next = nullptr;
  std::uint64_t seen = 0;  ///< what `taken` was at `since`
  deadline since{};
};

class kept_streams {
 public:
  /// A stream whose reader has taken nothing for so long is queued.
  static constexpr std::chrono::milliseconds patience{10};

  kept_streams() = default;
  kept_streams(const kept_streams&) = delete;
  kept_streams& operator=(const kept_streams&) = delete;

  /// By the reader, which has kept the stream and found it unlisted.
  void add(kept_entry& e) noexcept {
    std::lock_guard lock(mutex_);
    // Another thread may have run it to its end already: then remove() has been called, or comes after this.
    if (e.listed.load(relaxed) || state_word::phase_of(e.task.state().load()) != phase::kept) return;  // relaxed: the mutex
    append(e, time_now());
    e.listed.store(true, relaxed);  // relaxed: only the reader looks without the mutex, and it is the caller
    any_.store(true, seq_cst);      // [K2]
  }
  /// The stream has ended.
  void remove(kept_entry& e) noexcept {
    std::lock_guard lock(mutex_);
    if (e.listed.load(relaxed)) take_off(e);  // relaxed: the mutex
  }

  bool any() const noexcept { return any_.load(seq_cst); }  // [K2]

  /// Queues the streams that were not used for `patience`. Returns when to call it again: `never` if none is listed.
  deadline release_unused(deadline now) noexcept {
    return release([now](const kept_entry& e) noexcept { return now - e.since >= patience; }, now, true);
  }
  /// Queues all of them.
  void release_all() noexcept {
    (void)release([](const kept_entry&) noexcept { return true; }, deadline(), false);
  }

 private:
  /// Takes streams off the front of the list for as long as `due` says so, and queues those that are kept.
  template <class Due>
  deadline release(Due due, deadline now, bool spare_used) noexcept {
    constexpr std::size_t batch = 32;
    task_record* unused[batch];
    for (;;) {
      std::size_t count = 0;
      deadline next = never;
      {
        std::lock_guard lock(mutex_);
        for (; first_ != nullptr && due(*first_) && count != batch;) {
          kept_entry& e = *first_;
          // relaxed: only whether it has changed is of interest.
          if (spare_used && e.taken.load(relaxed) != e.seen) {
            unlink(e);
            append(e, now);
            continue;
          }
          take_off(e);                                                            // [K1]
          if (state_word::phase_of(e.task.state().load()) == phase::kept) {  // [K1]
            e.task.add_references(1);
            unused[count++] = &e.task;
          }
        }
        if (first_ != nullptr) next = first_->since + patience;
        any_.store(first_ != nullptr, seq_cst);
      }
      for (std::size_t i = 0; i != count; ++i) {
        unused[i]->make_ready();
        unused[i]->drop_references(1);
      }
      if (count != batch) return next;
    }
  }

  void append(kept_entry& e, deadline now) noexcept {
    e.since = now;
    e.seen = e.taken.load(relaxed);  // relaxed: as in release()
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
