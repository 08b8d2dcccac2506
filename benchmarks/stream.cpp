// SPDX-License-Identifier: MIT
// What it costs to bring one value from a producer to a consumer: a 64-bit integer, a struct of 64 bytes, a string of
// 64 characters. Every producer makes each value by the same function make<T>, once; every consumer reads each value,
// in order. Producers are not inlined, so that none is folded into its consumer's loop.
//
//   g++ -std=c++20 -O3 -pthread -Iinclude benchmarks/stream.cpp -o stream && ./stream

#include "harness.hpp"

#include <dyngen/dyngen.hpp>

#include <array>
#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace dg = dyngen;

namespace {

using number = std::uint64_t;
using words = std::array<std::uint64_t, 8>;

// ---- the values -----------------------------------------------------------------------------------------------------

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

std::uint64_t digest(const number& value) { return value; }

std::uint64_t digest(const words& value) {
  std::uint64_t sum = 0;
  for (const std::uint64_t word : value) sum += word;
  return sum;
}

std::uint64_t digest(const std::string& value) {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::memcpy(&first, value.data(), sizeof first);
  std::memcpy(&last, value.data() + value.size() - sizeof last, sizeof last);
  return first + last + value.size();
}

template <class T>
std::uint64_t expected(std::uint64_t n) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) sum = bench::fold(sum, digest(make<T>(i)));
  return sum;
}

// ---- baseline: a textbook synchronous generator ---------------------------------------------------------------------

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
bench::outcome through_synchronous_generator(std::uint64_t n) {
  std::uint64_t sum = 0;
  auto values = produce_synchronously<T>(n);
  while (const T* value = values.next()) sum = bench::fold(sum, digest(*value));
  return sum;
}

// ---- mutex, condition variable, batches of 256 ----------------------------------------------------------------------

// Room for a few full batches, so that neither side sleeps after each one; emptied vectors go back to be filled again.
template <class T>
class batch_queue {
 public:
  static constexpr std::size_t batch = 256;

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

template <class T>
[[gnu::noinline]] void produce_batches(batch_queue<T>& queue, std::uint64_t n) {
  std::vector<T> filling;
  filling.reserve(queue.batch);
  for (std::uint64_t i = 0; i < n; ++i) {
    filling.push_back(make<T>(i));
    if (filling.size() < queue.batch && i + 1 < n) continue;
    queue.put(filling);
    filling.reserve(queue.batch);
  }
}

template <class T>
bench::outcome through_batches(std::uint64_t n) {
  batch_queue<T> queue;
  std::jthread producer([&] { produce_batches<T>(queue, n); });
  std::uint64_t sum = 0;
  std::vector<T> taken;
  for (std::uint64_t i = 0; i < n; i += taken.size()) {
    taken.clear();
    queue.take(taken);
    for (const T& value : taken) sum = bench::fold(sum, digest(value));
  }
  return sum;
}

// ---- a ring between one producer and one consumer -------------------------------------------------------------------

// Each side keeps a copy of the other's index and looks at the shared one only when the copy says full or empty.
// `Batch` is how many values a side handles before it tells the other: 1 is the textbook ring.
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
    if (++read_ % Batch == 0) taken_.store(read_, std::memory_order_release);  // [2] pairs as [1]
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

template <class T, std::size_t Batch>
[[gnu::noinline]] void produce_into_ring(ring<T, Batch>& queue, std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) queue.push(make<T>(i));
  queue.flush();
}

template <class T, std::size_t Batch>
bench::outcome through_ring(std::uint64_t n) {
  ring<T, Batch> queue;
  std::jthread producer([&] { produce_into_ring<T, Batch>(queue, n); });
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    const T taken = std::move(queue.front());
    queue.pop();
    sum = bench::fold(sum, digest(taken));
  }
  return sum;
}

// ---- dyngen ---------------------------------------------------------------------------------------------------------

template <class T>
[[gnu::noinline]] dg::generator<T> produce(std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) co_yield make<T>(i);
}

template <class T>
bench::outcome through_plain_range(std::uint64_t n) {
  std::uint64_t sum = 0;
  for (T& value : produce<T>(n)) sum = bench::fold(sum, digest(value));
  return sum;
}

template <class T>
bench::outcome take_values(dg::ref_stream<T> stream) {
  std::uint64_t sum = 0;
  for (T&& value : stream.values()) sum = bench::fold(sum, digest(value));
  return sum;
}

template <class T>
bench::outcome take_refs(dg::ref_stream<T> stream) {
  std::uint64_t sum = 0;
  for (dg::ref<T> value : stream) sum = bench::fold(sum, digest(value.get()));
  return sum;
}

struct pools {
  dg::thread_pool usual;
  dg::thread_pool without_help{dg::thread_pool_options{.waiters_help = false}};
};

template <class T>
void add_group(bench::suite& suite, pools& p, const std::string& title) {
  const auto n = suite.pick(2'000'000, 100'000);
  auto& group = suite.add({title, "ns/op", "synchronous generator, one thread", n, expected<T>});

  group.add("synchronous generator, one thread", through_synchronous_generator<T>);
  group.add("mutex and condition variable, batches of 256", through_batches<T>);
  group.add("ring between two threads, one by one", through_ring<T, 1>);
  group.add("ring between two threads, batches of 64", through_ring<T, 64>);

  group.add("dyngen: generator as a plain range, one thread", through_plain_range<T>);
  group.add("dyngen: stream, values()", [&](std::uint64_t m) { return take_values(p.usual.submit(produce<T>, m)); });
  group.add("dyngen: stream, refs", [&](std::uint64_t m) { return take_refs(p.usual.submit(produce<T>, m)); });
  group.add("dyngen: stream, values() taken by a task on the pool", [&](std::uint64_t m) {
    const auto take = [](dg::ref_stream<T> stream) { return take_values(std::move(stream)).checksum; };
    return p.usual.submit(take, p.usual.submit(produce<T>, m)).get();
  });
  group.add("dyngen: stream, values(), waiters_help off",
            [&](std::uint64_t m) { return take_values(p.without_help.submit(produce<T>, m)); });
  group.add("dyngen: stream, refs, waiters_help off",
            [&](std::uint64_t m) { return take_refs(p.without_help.submit(produce<T>, m)); });
  group.add("dyngen: stream, values(), unbounded",
            [&](std::uint64_t m) { return take_values(p.usual.options(dg::unbounded).submit(produce<T>, m)); });

  // A small room may cost a hand-over between threads per value: fewer values will do.
  const auto with_room = [&](std::uint64_t room, std::uint64_t divisor) {
    const auto run = [&p, room](dg::thread_pool pools::*pool, std::uint64_t m) {
      return take_values((p.*pool).options(dg::backpressure{room}).submit(produce<T>, m));
    };
    const std::string name = "dyngen: stream, values(), backpressure " + std::to_string(room);
    group.add(name, [run](std::uint64_t m) { return run(&pools::usual, m); }, divisor);
    group.add(name + ", waiters_help off", [run](std::uint64_t m) { return run(&pools::without_help, m); }, divisor);
  };
  with_room(1, 50);
  with_room(16, 10);
  with_room(64, 1);
  with_room(1024, 1);
}

}  // namespace

int main(int argc, char** argv) {
  bench::suite suite("stream", argc, argv);
  pools p;
  add_group<number>(suite, p, "one 64-bit integer");
  add_group<words>(suite, p, "one struct of 64 bytes");
  add_group<std::string>(suite, p, "one string of 64 characters");
  return suite.run();
}
