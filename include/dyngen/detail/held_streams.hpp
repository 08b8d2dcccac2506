// SPDX-License-Identifier: MIT
#pragma once
// The streams of a pool that their consumers hold, to make each value themselves (sequence_task.hpp). A consumer who takes
// from none of them for a while may wait for something that the library does not see, a latch or a flag, and that the
// stream's code is to bring: so a hold that is not used lapses, and the stream runs ahead on a worker again. That pulling
// never changes which programs end, hangs on this list.
//
// A worker that has nothing to do looks through it, now and then while there is any; the more of them there are, the less
// often each. Of all workers that sleep, one at least does so:
//
//   a hold begins: it enters the list, sets any()       | a worker is counted as parked, and reads any() before it sleeps
//   if nobody watches, wakes a worker that is parked    | the last one that searches, if it finds work, or one that blocks
//                                                       | in a wait, wakes another if nobody watches
//
// all of it seq_cst: that is [S1] of seats.hpp, with the list in place of a queue.
//
// One mutex guards the list; it is taken when a hold begins, when a held task ends, and by who looks.

#include <dyngen/detail/task_record.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace dyngen::detail {

class held_streams {
 public:
  /// A hold that is not used for so long, or somewhat longer, lapses. Who is in the middle of a value for so long makes
  /// dear ones: he stops as well.
  static constexpr std::chrono::milliseconds patience{10};

  /// Its consumer holds it from now on, and is not done with what began to hold it.
  void add(task_record& task) noexcept {
    std::lock_guard lock(mutex_);
    if (task.hold()->listed()) remove_locked(task);
    append(task, task.hold_mark());
    any_.store(true, seq_cst);
  }
  /// It has ended. If it was the last one, any() says so once somebody has looked.
  void remove(task_record& task) noexcept {
    std::lock_guard lock(mutex_);
    if (task.hold()->listed()) remove_locked(task);
  }

  bool any() const noexcept { return any_.load(seq_cst); }
  /// Is somebody needed to look through them?
  bool unwatched() const noexcept { return any() && watchers_.load(seq_cst) == 0; }

  /// Sleeps while `word` holds `expected`, by one of so many workers that do, and looks through the list in between.
  void sleep_beside(atomic<std::uint32_t>& word, std::uint32_t expected, std::uint32_t sleepers) noexcept {
    if (!any()) return sleep_on(word, expected);
    watchers_.fetch_add(1, seq_cst);
    const deadline until = time_now() + patience * static_cast<int>(sleepers != 0 ? sleepers : 1);
    sleep_on(word, expected, until);
    watchers_.fetch_sub(1, seq_cst);
    if (time_now() >= until) let_lapse();
  }

  /// Ends the holds that were not used since this was last called.
  void let_lapse() noexcept {
    for (std::size_t left = size(); left != 0; --left) {
      task_record* unused = nullptr;
      {
        std::lock_guard lock(mutex_);
        task_record* const task = first_;
        if (task == nullptr) return;
        const std::uint64_t before = task->hold()->mark;
        const std::uint64_t now = task->hold_mark();
        remove_locked(*task);
        if (task->state().is_held()) {
          if (now != before)
            append(*task, now);
          else
            (unused = task)->add_references(1);
        }
        any_.store(first_ != nullptr, seq_cst);
      }
      if (unused == nullptr) continue;
      unused->make_ready();
      unused->drop_references(1);
    }
  }

 private:
  std::size_t size() noexcept {
    std::lock_guard lock(mutex_);
    return size_;
  }
  void append(task_record& task, std::uint64_t mark) noexcept {
    *task.hold() = {last_, nullptr, mark};
    (last_ != nullptr ? last_->hold()->next : first_) = &task;
    last_ = &task;
    ++size_;
  }
  void remove_locked(task_record& task) noexcept {
    const auto [previous, next, mark] = *task.hold();
    *task.hold() = {};
    (previous != nullptr ? previous->hold()->next : first_) = next;
    (next != nullptr ? next->hold()->previous : last_) = previous;
    --size_;
  }

  mutex mutex_;
  task_record* first_ = nullptr;
  task_record* last_ = nullptr;
  std::size_t size_ = 0;
  atomic<bool> any_{false};
  atomic<std::uint32_t> watchers_{0};  ///< workers that sleep for a while only
};

}  // namespace dyngen::detail
