// SPDX-License-Identifier: MIT
#pragma once
// The baselines of several benchmarks: values and work that are the same for all entries, and implementations that need
// only the standard library.

#include "harness.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace bench {

// ---- the values -----------------------------------------------------------------------------------------------------

using number = std::uint64_t;
using words = std::array<std::uint64_t, 8>;

template <class T>
T make(std::uint64_t i) {
  const std::uint64_t seed = i * 0x9E37'79B9'7F4A'7C15u;
  if constexpr (std::is_same_v<T, number>) {
    return seed;
  } else if constexpr (std::is_same_v<T, words>) {
    return {seed, seed + 1, seed + 2, seed + 3, seed + 4, seed + 5, seed + 6, seed + 7};
  } else {
    std::string text(64, static_cast<char>('a' + i % 26));
    std::memcpy(text.data(), &seed, sizeof seed);
    return text;
  }
}

inline std::uint64_t digest(const number& value) { return value; }

inline std::uint64_t digest(const words& value) {
  std::uint64_t sum = 0;
  for (const std::uint64_t word : value) sum += word;
  return sum;
}

inline std::uint64_t digest(const std::string& value) {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::memcpy(&first, value.data(), sizeof first);
  std::memcpy(&last, value.data() + value.size() - sizeof last, sizeof last);
  return first + last + value.size();
}

/// What a correct fold of the digests of the first n values gives.
template <class T>
std::uint64_t sum_of_values(std::uint64_t n) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) sum = fold(sum, digest(make<T>(i)));
  return sum;
}

// ---- the work -------------------------------------------------------------------------------------------------------

/// A few instructions, and a call.
[[gnu::noinline]] inline number work(number i) {
  i = (i ^ (i >> 30)) * 0xBF58'476D'1CE4'E5B9u;
  return i ^ (i >> 27);
}

inline std::uint64_t sum_of_work(std::uint64_t n) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) sum = fold(sum, work(i));
  return sum;
}

/// A chain of `steps` such calls.
[[gnu::noinline]] inline number work_long(number i, std::uint64_t steps) {
  for (std::uint64_t step = 0; step < steps; ++step) i = work(i + step);
  return i;
}

/// How many steps take that long on this machine. Benchmarks do a fixed amount of work, since threads that only watched
/// the clock would seem to run in parallel where they share one core.
inline std::uint64_t steps_for(std::chrono::duration<double> time) {
  static const double steps_per_second = [] {
    constexpr std::uint64_t steps = 1'000'000;
    double best = 1;
    for (int attempt = 0; attempt < 10; ++attempt) {
      const auto begin = std::chrono::steady_clock::now();
      opaque(work_long(1, opaque(steps)));
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      best = std::min(best, taken.count());
    }
    return static_cast<double>(steps) / best;
  }();
  return static_cast<std::uint64_t>(time.count() * steps_per_second);
}

// ---- a synchronous generator, written as in most libraries ----------------------------------------------------------

template <class T>
class synchronous_generator {
 public:
  struct promise_type {
    T* value = nullptr;
    synchronous_generator get_return_object() { return synchronous_generator(handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(T&& made) noexcept {
      value = std::addressof(made);
      return {};
    }
    void return_void() noexcept {}
    void unhandled_exception() { throw; }
  };

  synchronous_generator(synchronous_generator&&) = delete;
  ~synchronous_generator() { coroutine_.destroy(); }

  /// The next value, valid until the next call; null at the end.
  T* next() {
    coroutine_.resume();
    return coroutine_.done() ? nullptr : coroutine_.promise().value;
  }

 private:
  using handle = std::coroutine_handle<promise_type>;
  explicit synchronous_generator(handle coroutine) : coroutine_(coroutine) {}
  handle coroutine_;
};

template <class T>
[[gnu::noinline]] synchronous_generator<T> produce_synchronously(std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) co_yield make<T>(i);
}

template <class T>
outcome through_synchronous_generator(std::uint64_t n) {
  std::uint64_t sum = 0;
  auto values = produce_synchronously<T>(n);
  while (const T* value = values.next()) sum = fold(sum, digest(*value));
  return sum;
}

// ---- mutex, condition variable, batches -----------------------------------------------------------------------------

/// Holds a few full batches, so that neither side sleeps after each one; emptied vectors are returned and filled again.
template <class T>
class batch_queue {
 public:
  /// Hands a full batch over; leaves an empty one in its place.
  void put(std::vector<T>& full) {
    std::unique_lock lock(mutex_);
    not_full_.wait(lock, [&] { return count_ < room; });
    batches_[(first_ + count_) % room].swap(full);
    const bool was_empty = count_++ == 0;
    lock.unlock();
    if (was_empty) not_empty_.notify_one();
  }

  /// Takes a full batch; leaves the empty one given.
  void take(std::vector<T>& empty) {
    std::unique_lock lock(mutex_);
    not_empty_.wait(lock, [&] { return count_ > 0; });
    batches_[first_].swap(empty);
    first_ = (first_ + 1) % room;
    const bool was_full = count_-- == room;
    lock.unlock();
    if (was_full) not_full_.notify_one();
  }

 private:
  static constexpr std::size_t room = 16;
  std::mutex mutex_;
  std::condition_variable not_empty_;
  std::condition_variable not_full_;
  std::array<std::vector<T>, room> batches_;
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

// ---- a ring between one producer and one consumer -------------------------------------------------------------------

/// Each side keeps a copy of the other's index and looks at the shared one only when the copy says full or empty.
/// `Batch` is how many values a side handles before it tells the other: 1 is the textbook ring.
template <class T, std::size_t Batch>
class ring {
 public:
  static constexpr std::size_t capacity = 1024;

  void push(T&& value) {
    while (made_ - taken_seen_ == capacity) taken_seen_ = wait_for_change(taken_, taken_seen_);
    slots_[made_ % capacity] = std::move(value);
    if (++made_ % Batch == 0) flush();
  }

  void flush() { published_.store(made_, std::memory_order_release); }  // [1] pairs with the acquire in wait_for_change

  /// The oldest value, valid until `pop`.
  T& front() {
    while (read_ == published_seen_) published_seen_ = wait_for_change(published_, published_seen_);
    return slots_[read_ % capacity];
  }

  void pop() {
    // [2] pairs with the acquire in wait_for_change
    if (++read_ % Batch == 0) taken_.store(read_, std::memory_order_release);
  }

 private:
  static std::size_t wait_for_change(const std::atomic<std::size_t>& index, std::size_t seen) {
    for (unsigned tries = 1;; ++tries) {
      const std::size_t now = index.load(std::memory_order_acquire);  // [1] [2]
      if (now != seen) return now;
      if (tries % 256 == 0) std::this_thread::yield();
    }
  }

  std::vector<T> slots_ = std::vector<T>(capacity);
  alignas(64) std::atomic<std::size_t> published_ = 0;
  alignas(64) std::atomic<std::size_t> taken_ = 0;
  alignas(64) std::size_t made_ = 0;  // this line: the producer's
  std::size_t taken_seen_ = 0;
  alignas(64) std::size_t read_ = 0;  // this line: the consumer's
  std::size_t published_seen_ = 0;
};

// ---- a pool of std::packaged_task -----------------------------------------------------------------------------------

class textbook_pool {
 public:
  explicit textbook_pool(unsigned threads = std::max(1u, std::thread::hardware_concurrency())) {
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this](std::stop_token stop) { run(stop); });
  }

  template <class F>
  std::future<number> submit(F f) {
    std::packaged_task<number()> task(std::move(f));
    std::future<number> result = task.get_future();
    {
      const std::scoped_lock lock(mutex_);
      queue_.push_back(std::move(task));
    }
    not_empty_.notify_one();
    return result;
  }

 private:
  void run(std::stop_token stop) {
    while (true) {
      std::unique_lock lock(mutex_);
      if (!not_empty_.wait(lock, stop, [this] { return !queue_.empty(); })) return;
      auto task = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any not_empty_;
  std::deque<std::packaged_task<number()>> queue_;
  std::vector<std::jthread> threads_;
};

// ---- reading results ------------------------------------------------------------------------------------------------

/// The result of a task of dyngen that only workers run: a wait with a time limit never runs it on the thread that waits.
template <class Ref>
auto from_worker(Ref result) {
  while (!result.wait_for(std::chrono::hours(1))) {
  }
  return result.get();
}

/// Submits one, reads its result, submits the next.
template <class Submit>
outcome one_by_one(std::uint64_t n, Submit submit) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) sum = fold(sum, submit(i).get());
  return sum;
}

/// Submits all, then reads all results, in order.
template <class Submit>
outcome all_then_read(std::uint64_t n, Submit submit) {
  std::vector<decltype(submit(n))> results;
  results.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i) results.push_back(submit(i));
  std::uint64_t sum = 0;
  for (auto& result : results) sum = fold(sum, result.get());
  return sum;
}

/// Has at most a thousand of them at once.
template <class Submit>
outcome in_a_window(std::uint64_t n, Submit submit) {
  constexpr std::size_t window = 1000;
  std::vector<decltype(submit(n))> results(window);
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n + window; ++i) {
    auto& place = results[i % window];
    if (i >= window && i - window < n) sum = fold(sum, place.get());
    if (i < n) place = submit(i);
  }
  return sum;
}

}  // namespace bench
