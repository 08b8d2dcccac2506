// SPDX-License-Identifier: MIT
#pragma once
// The executors on which the same tests run: those of the library, and several that a user could write. Each fixture
// has an `executor`, which outlives the tasks that were submitted to it.

#include "../support.hpp"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <random>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#ifdef DYNGEN_WITH_TBB
#  include <tbb/task_arena.h>
#endif

namespace fixtures {

struct pooled {
  dg::thread_pool executor{2};
};

struct pooled_without_help {
  dg::thread_pool executor{{.threads = 1, .waiters_help = false}};
};

struct at_once {
  dg::inline_executor executor;
};

/// A manual executor and the thread that runs it.
struct by_hand {
  dg::manual_executor executor;
  std::atomic<bool> over{false};
  std::thread runner{[this] {
    while (!over) {
      executor.run_all();
      std::this_thread::yield();
    }
  }};
  ~by_hand() {
    over = true;
    runner.join();
  }
};

/// A user's executor: a single thread runs its work in order, several threads in any order.
class own_threads {
 public:
  explicit own_threads(int n) {
    for (int i = 0; i < n; ++i) threads_.emplace_back([this, n] { run(n == 1); });
  }
  own_threads(const own_threads&) = delete;
  own_threads& operator=(const own_threads&) = delete;
  /// Runs what is queued, then ends.
  ~own_threads() {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    more_.notify_all();
    for (std::thread& t : threads_) t.join();
  }
  void execute(dg::work w) noexcept {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(w));
    }
    more_.notify_one();
  }

 private:
  void run(bool in_order) {
    std::unique_lock lock(mutex_);
    for (;;) {
      more_.wait(lock, [&] { return over_ || !queue_.empty(); });
      if (queue_.empty()) return;
      if (!in_order) std::swap(queue_.front(), queue_[random_() % queue_.size()]);
      dg::work next = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      next();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<dg::work> queue_;
  std::minstd_rand random_;
  bool over_ = false;
  std::vector<std::thread> threads_;
};

struct looped {
  own_threads executor{1};
};

struct shuffled {
  own_threads executor{3};
};

#ifdef DYNGEN_WITH_TBB
/// A foreign pool: an arena of oneTBB.
class arena {
 public:
  arena() { arena_.initialize(1, 0); }
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;
  /// An arena does not wait for what was enqueued.
  ~arena() {
    while (left_ != 0) std::this_thread::yield();
  }
  void execute(dg::work w) noexcept {
    ++left_;
    arena_.enqueue(step{this, std::move(w)});
  }

 private:
  /// oneTBB calls an enqueued object as const.
  struct step {
    arena* of;
    mutable dg::work next;
    void operator()() const {
      next();
      --of->left_;
    }
  };

  tbb::task_arena arena_;
  std::atomic<long> left_{0};
};

struct in_arena {
  arena executor;
};

using all = std::tuple<pooled, pooled_without_help, at_once, by_hand, looped, shuffled, in_arena>;
#else
using all = std::tuple<pooled, pooled_without_help, at_once, by_hand, looped, shuffled>;
#endif
/// The executors on which a task may block in a wait for another one.
using pools = std::tuple<pooled, pooled_without_help>;

}  // namespace fixtures
