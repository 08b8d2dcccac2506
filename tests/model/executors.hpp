// SPDX-License-Identifier: MIT
#pragma once
// What the models of whole tasks share: an executor whose workers are threads of the model, so that tasks are submitted
// and handles are used as users do; and values that may be moved and copied.

#include "records.hpp"

#include <dyngen/detail/task/kept_streams.hpp>
#include <dyngen/dyngen.hpp>

#include <deque>
#include <mutex>

namespace dyngen::model {

/// One queue, first in, first out. Its workers sleep while the queue is empty, and return after close().
class workers final : public detail::task_host {
 public:
  /// `waiters_help` means what it means for a thread_pool; if set, streams may also be kept for their readers.
  explicit workers(bool waiters_help = false) : helps_(waiters_help) {}

  void execute(work w) noexcept { push(w.release(), false); }
  detail::task_host& task_host_of() noexcept { return *this; }

  /// The loop of a worker.
  void work() {
    for (;;) {
      const std::uint32_t seen = changes_.load(detail::acquire);
      if (detail::task_record* const task = pop()) {
        task->run_popped();
        detail::return_all_credits();
      } else if ((seen & closed) != 0) {
        return;
      } else {
        detail::sleep_on(changes_, seen);
      }
    }
  }
  /// From now on only queued tasks push further tasks.
  void close() {
    changes_.fetch_or(closed, detail::release);
    detail::wake_all(changes_);
  }

  void push(detail::task_record& task, bool) noexcept override {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(&task);
    }
    changes_.fetch_add(1, detail::release);
    detail::wake_one(changes_);
  }
  bool helps() const noexcept override { return helps_; }
  bool keeps_streams() const noexcept override { return helps_; }
  void is_kept(detail::kept_entry& stream) noexcept override { kept_.add(stream); }
  void stream_ended(detail::kept_entry& stream) noexcept override { kept_.remove(stream); }
  /// What the monitor of a pool does when readers have not asked for a value for a long time.
  void release_kept() { kept_.release_all(); }
  /// What the monitor does to idle streams: called after `reader_patience` has passed, by one thread at a time.
  /// Releases what is unused, as the monitor does, again and again until `over` is set.
  template <class Event>
  void watch_until(const Event& over) {
    while (!over.is_set()) {
      release_unused();
      yield();
    }
  }
  void release_unused() {
    now_ += std::chrono::milliseconds(detail::reader_patience.load(detail::relaxed));
    (void)kept_.release_unused(now_);
  }
  void about_to_suspend(detail::task_record&) noexcept override { undecided_.fetch_add(1, detail::relaxed); }
  void suspension_decided() noexcept override { MODEL_CHECK(undecided_.fetch_sub(1, detail::relaxed) != 0); }
  void task_blocks(detail::running_task& entry, const detail::thread_wait* wait) noexcept override {
    if (wait != nullptr) ++blocked;
    detail::task_host::task_blocks(entry, wait);
  }
  void report(std::exception_ptr, std::string_view) noexcept override { ++reported; }

  unsigned reported = 0;  ///< exceptions that no handle holds
  unsigned blocked = 0;   ///< times that a task made its worker wait

 private:
  detail::task_record* pop() {
    std::lock_guard lock(mutex_);
    if (queue_.empty()) return nullptr;
    detail::task_record* const task = queue_.front();
    queue_.pop_front();
    return task;
  }

  static constexpr std::uint32_t closed = std::uint32_t{1} << 31;
  detail::mutex mutex_;
  std::deque<detail::task_record*> queue_;
  detail::atomic<std::uint32_t> changes_{0};
  detail::atomic<std::uint32_t> undecided_{0};
  detail::kept_streams kept_;
  detail::deadline now_ = detail::time_now();
  const bool helps_;
};

/// A model with `Workers` threads that run tasks, and `Others` that call `Model::other(number)`. When all of these have
/// returned, the workers run the remaining tasks and return.
template <class Model, unsigned Workers, unsigned Others>
struct tasks_model : rl::test_suite<Model, Workers + Others> {
  fresh_start fresh;
  std::optional<workers> executor;
  detail::atomic<unsigned> others{Others};

  void before() {
    executor.emplace();
    static_cast<Model*>(this)->begin();
  }
  void thread(unsigned index) {
    if (index < Workers) return executor->work();
    static_cast<Model*>(this)->other(index - Workers);
    detail::return_all_credits();  // as the end of a thread does
    if (others.fetch_sub(1, detail::acq_rel) == 1) executor->close();
  }
  void after() {
    static_cast<Model*>(this)->end();
    executor.reset();
    check_all_gone();
  }

  void begin() {}
  void end() {}
  executor_target on_workers() { return on(*executor); }
};

/// A number that may be moved and copied. A read or a move must happen after the write.
class movable {
 public:
  explicit movable(int number) { place().set(number); }
  movable(const movable& other) { place().set(other.number()); }
  movable(movable&& other) noexcept {
    place().set(other.number());
    other.place().set(moved);
  }
  movable& operator=(movable&& other) noexcept {
    place().set(other.number());
    other.place().set(moved);
    return *this;
  }
  ~movable() { place().set(gone); }

  int number() const { return place().get(); }

  static constexpr int moved = -3;
  static constexpr int gone = -1;

 private:
  shared<int>& place() const { return fresh_start::place(this); }
};

/// A flag that a thread sleeps on.
class event {
 public:
  void set() {
    word_.store(1, detail::release);
    detail::wake_all(word_);
  }
  void wait() {
    while (!is_set()) detail::sleep_on(word_, 0);
  }
  bool is_set() const { return word_.load(detail::acquire) != 0; }

 private:
  detail::atomic<std::uint32_t> word_{0};
};

/// Does `r`, which is ready, hold a cancelled_error?
template <class T>
bool was_cancelled(const ref<T>& r) {
  try {
    std::rethrow_exception(r.error());
  } catch (const cancelled_error&) {
    return true;
  } catch (...) {
  }
  return false;
}

}  // namespace dyngen::model
