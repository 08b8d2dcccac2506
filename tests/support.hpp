// SPDX-License-Identifier: MIT
#pragma once
// What all tests share: values that count themselves, a watchdog that turns a hang into a failure,
// and a gate to make an order of events certain without sleeping.

#include <dyngen/dyngen.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace dg = dyngen;

namespace support {

/// Whether consumers pull streams (detail/results/production_cost.hpp): decided by measuring, or by the environment
/// variable DYNGEN_TEST_PULLING, `always` or `never`.
inline const bool pulling_is_forced = [] {
  const char* const mode = std::getenv("DYNGEN_TEST_PULLING");
  if (mode == nullptr) return false;
  using dg::detail::pulling;
  dg::detail::pulling_mode = std::string_view(mode) == "always" ? pulling::whenever_possible : pulling::not_at_all;
  return true;
}();

/// A copyable value that counts its live instances, copies and moves. `leak_check` resets and compares.
struct tracked {
  static inline std::atomic<long> live{0}, constructed{0}, copies{0}, moves{0};
  int value = 0;
  tracked() noexcept : tracked(0) {}
  tracked(int v) noexcept : value(v) { ++live, ++constructed; }
  tracked(const tracked& o) noexcept : value(o.value) { ++live, ++copies; }
  tracked(tracked&& o) noexcept : value(std::exchange(o.value, -1)) { ++live, ++moves; }
  tracked& operator=(const tracked& o) noexcept { value = o.value; ++copies; return *this; }
  tracked& operator=(tracked&& o) noexcept { value = std::exchange(o.value, -1); ++moves; return *this; }
  ~tracked() { --live; }
  static void reset() { live = constructed = copies = moves = 0; }
};

/// A move-only value that counts itself.
struct move_only : tracked {
  move_only(int v = 0) noexcept : tracked(v) {}
  move_only(move_only&&) noexcept = default;
  move_only& operator=(move_only&&) noexcept = default;
};

/// An exception that the library never throws.
struct boom : std::runtime_error {
  explicit boom(const std::string& what = "boom") : std::runtime_error(what) {}
};

/// Ends the program with a message if it lives longer than `seconds`, so that a hang becomes a failure with a name.
class watchdog {
 public:
  explicit watchdog(const char* what, int seconds = 60)
      : thread_([this, what, seconds] {
          std::unique_lock lock(mutex_);
          if (!done_.wait_for(lock, std::chrono::seconds(seconds), [&] { return over_; })) {
            std::fprintf(stderr, "HANG: %s\n", what);
            std::fflush(nullptr);
            std::abort();
          }
        }) {}
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
  ~watchdog() {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    done_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  bool over_ = false;
  std::thread thread_;
};

/// Blocks the threads that pass it until it is opened.
class gate {
 public:
  void open() noexcept {
    open_.store(true);
    open_.notify_all();
  }
  void pass() const noexcept { open_.wait(false); }
  bool is_open() const noexcept { return open_.load(); }

 private:
  std::atomic<bool> open_{false};
};

/// Waits, by yielding, until `condition()` holds; false after `limit`.
template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds limit = std::chrono::seconds(20)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

/// The number of live allocations of the library: records, frames, blocks and waiters.
inline long pieces_alive() noexcept {
  using dg::detail::memory_kind;
  long sum = 0;
  for (const memory_kind kind : {memory_kind::record, memory_kind::frame, memory_kind::block, memory_kind::waiter})
    sum += dg::detail::memory_counter::live(kind);
  return sum;
}

/// The text of an exception that `action` throws, or "" if it throws none.
template <class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

/// Whether `error` is a cancelled_error; false for null.
inline bool is_cancelled(const std::exception_ptr& error) {
  if (!error) return false;
  try {
    std::rethrow_exception(error);
  } catch (const dg::cancelled_error&) {
    return true;
  } catch (...) {
    return false;
  }
}

/// Yields 0 … n-1.
inline dg::generator<int> count_to(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}

}  // namespace support
