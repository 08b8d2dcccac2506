// SPDX-License-Identifier: MIT
#pragma once
// What the tests of the rules share: values that record the end of a frame, a log for the hook `on_unhandled_error`,
// standard error redirected to a file, generators, and functions that check the outcome of a ref.

#include "../support.hpp"

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <unistd.h>

namespace support {

/// Counts itself for as long as it lives: a local of a frame, a capture, an argument.
class witness {
 public:
  explicit witness(std::atomic<int>& count) noexcept : count_(&count) { ++*count_; }
  witness(const witness& other) noexcept : count_(other.count_) { ++*count_; }
  witness& operator=(const witness&) = delete;
  ~witness() { --*count_; }

 private:
  std::atomic<int>* count_;
};

/// Records that it was destroyed, and on which thread; locks a mutex in its destructor if it has one.
struct destruction_probe {
  std::atomic<int>* gone;
  std::mutex* wanted = nullptr;
  std::thread::id* where = nullptr;
  explicit destruction_probe(std::atomic<int>* g, std::mutex* m = nullptr, std::thread::id* w = nullptr)
      : gone(g), wanted(m), where(w) {}
  destruction_probe(destruction_probe&& other) noexcept
      : gone(std::exchange(other.gone, nullptr)), wanted(other.wanted), where(other.where) {}
  destruction_probe(const destruction_probe&) = delete;
  destruction_probe& operator=(const destruction_probe&) = delete;
  ~destruction_probe() {
    if (!gone) return;
    if (wanted) wanted->lock();
    if (where) *where = std::this_thread::get_id();
    if (wanted) wanted->unlock();
    ++*gone;
  }
};

/// Keeps the workers of a pool busy in user code until it is released or destroyed.
class busy_workers {
 public:
  explicit busy_workers(dg::thread_pool& pool) : busy_workers(pool, static_cast<int>(pool.threads())) {}
  busy_workers(dg::thread_pool& pool, int workers) {
    for (int i = 0; i < workers; ++i) {
      busy_.push_back(pool.submit([this] {
        ++started_;
        over_.pass();
      }));
    }
    while (started_ != workers) std::this_thread::yield();
  }
  busy_workers(const busy_workers&) = delete;
  busy_workers& operator=(const busy_workers&) = delete;
  ~busy_workers() {
    release();
    for (const dg::ref<void>& each : busy_) each.wait();
  }
  void release() { over_.open(); }

 private:
  std::atomic<int> started_{0};
  gate over_;
  std::vector<dg::ref<void>> busy_;
};

/// Records the errors that were reported to a pool's hook.
class error_log {
 public:
  struct entry {
    std::exception_ptr error;
    std::string task;
    std::thread::id thread;
  };

  auto hook() {
    return [this](std::exception_ptr error, std::string_view task) {
      std::lock_guard lock(mutex_);
      entries_.push_back(entry{std::move(error), std::string(task), std::this_thread::get_id()});
    };
  }
  std::size_t count() const {
    std::lock_guard lock(mutex_);
    return entries_.size();
  }
  entry at(std::size_t i) const {
    std::lock_guard lock(mutex_);
    return entries_.at(i);
  }
  /// How many of the errors are of type `Error`.
  template <class Error>
  std::size_t count_of() const {
    std::lock_guard lock(mutex_);
    std::size_t n = 0;
    for (const entry& e : entries_) {
      try {
        std::rethrow_exception(e.error);
      } catch (const Error&) {
        ++n;
      } catch (...) {
      }
    }
    return n;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<entry> entries_;
};

/// Options of a pool of `threads` that reports to `log`.
inline dg::thread_pool_options reporting_to(error_log& log, int threads = 2) {
  dg::thread_pool_options options;
  options.threads = threads;
  options.on_unhandled_error = log.hook();
  return options;
}

/// Redirects standard error to a file while it lives.
class captured_stderr {
 public:
  captured_stderr() : file_(std::tmpfile()) {
    std::fflush(stderr);
    old_ = ::dup(2);
    ::dup2(::fileno(file_), 2);
  }
  captured_stderr(const captured_stderr&) = delete;
  captured_stderr& operator=(const captured_stderr&) = delete;
  ~captured_stderr() {
    restore();
    std::fclose(file_);
  }
  /// Restores standard error and returns what was written to it.
  std::string finish() {
    restore();
    std::rewind(file_);
    std::string text;
    for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) text += static_cast<char>(c);
    return text;
  }

 private:
  void restore() {
    if (old_ < 0) return;
    std::fflush(stderr);
    ::dup2(old_, 2);
    ::close(old_);
    old_ = -1;
  }
  std::FILE* file_;
  int old_ = -1;
};

/// How often `part` occurs in `text`.
inline std::size_t occurrences(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

/// What `value` prints to a stream.
template <class T>
std::string printed(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

/// The message of the exception that `r` holds, or "" if it holds a value. Blocks.
template <class Ref>
std::string message_in(const Ref& r) {
  return message_of([&] { r.get(); });
}

/// The numbers of an `arity_error`; {-1, -1} for any other outcome.
struct arity {
  long expected = -1, yielded = -1;
  bool operator==(const arity&) const = default;
};

template <class Ref>
arity arity_of(const Ref& r) {
  try {
    static_cast<void>(r.get());
  } catch (const dg::arity_error& e) {
    return arity{static_cast<long>(e.expected()), static_cast<long>(e.yielded())};
  } catch (...) {
  }
  return arity{};
}

/// Whether `r` holds an exception of type `Error`. Blocks.
template <class Error, class Ref>
bool holds(const Ref& r) {
  try {
    static_cast<void>(r.get());
  } catch (const Error&) {
    return true;
  } catch (...) {
  }
  return false;
}

/// A ref that becomes ready when the test fulfils its promise.
struct later {
  dg::promise<int> promise;
  dg::ref<int> ref = promise.get_ref();
};

inline dg::task<int> awaits(dg::ref<int> r) { co_return co_await r; }
inline dg::task<int> gives(int i) { co_return i; }
inline dg::task<int> gives_slowly(int i, int yields) {
  for (int k = 0; k < yields; ++k) co_await dg::this_task::yield();
  co_return i;
}
inline dg::task<int> throws_boom(std::string what) {
  throw boom(what);
  co_return 0;
}
inline dg::task<void> nothing() { co_return; }

/// Runs a coroutine on a pool of its own, and returns its result.
template <class F>
auto run_on_pool(F f, int threads = 2) {
  dg::thread_pool pool(threads);
  return pool.submit(std::move(f)).get();
}

/// Yields 0 … n-1, as values that count themselves.
inline dg::generator<tracked> tracked_to(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}

/// Copies of the values of all refs. Blocks.
template <class Refs>
auto values_of(const Refs& refs) {
  std::vector<std::remove_cvref_t<decltype(refs.begin()->get())>> values;
  for (const auto& r : refs) values.push_back(r.get());
  return values;
}

/// Copies of all values that `stream` still gives. Blocks.
template <class Stream>
std::vector<int> rest_of(Stream& stream) {
  std::vector<int> all;
  while (auto item = stream.next()) all.push_back(item->get());
  return all;
}

/// 0 … n-1.
inline std::vector<int> first(int n) {
  std::vector<int> values;
  for (int i = 0; i < n; ++i) values.push_back(i);
  return values;
}

/// Yields 0 … n-1, then throws.
inline dg::generator<int> throw_after(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
  throw boom("after " + std::to_string(n));
}

/// The progress of a producer: yields begun, yields that have returned, and frames alive.
struct progress {
  std::atomic<int> begun{0}, passed{0};
  const std::shared_ptr<std::atomic<int>> frames = std::make_shared<std::atomic<int>>(0);
  std::atomic<bool> ended{false};
};

/// Yields 0 … n-1, and records its progress. Its frame counts itself, and may outlive `seen`.
inline dg::generator<int> watched(progress* seen, int n) {
  const std::shared_ptr<std::atomic<int>> frames = seen->frames;
  const witness frame(*frames);
  for (int i = 0; i < n; ++i) {
    ++seen->begun;
    co_yield i;
    ++seen->passed;
  }
  seen->ended = true;
}

/// Whether `pool` accepts no more tasks.
inline bool is_stopped(dg::thread_pool& pool) {
  try {
    pool.submit([] {});
    return false;
  } catch (const dg::pool_stopped&) {
    return true;
  }
}

inline int fail(const std::string& what) { throw boom(what); }

}  // namespace support
