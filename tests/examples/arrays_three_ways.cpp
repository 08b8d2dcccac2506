// SPDX-License-Identifier: MIT
// Twenty large arrays, returned three ways. How many of them are in memory at once?
//
//  - a plain function that returns a vector makes all of them before the first can be used: 20;
//  - a generator under num_returns{20} publishes each array as it is made. The caller writes the same line of code. An
//    array without a ref is freed: if every ref is dropped, at most 1;
//  - a stream under backpressure{1} makes one array while the reader uses another: at most 2.

#include <dyngen/dyngen.hpp>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <latch>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

constexpr int how_many = 20;

/// A large array that counts how many of its kind are in memory. A move transfers the count with the data.
class large_array {
 public:
  static inline std::atomic<int> live{0}, peak{0}, made{0};
  static void reset() { peak = live.load(), made = 0; }

  explicit large_array(int number) : data_(100'000, number) {
    ++made;
    const int now = ++live;
    for (int seen = peak; seen < now && !peak.compare_exchange_weak(seen, now);) {
    }
  }
  large_array(large_array&& other) noexcept : data_(std::exchange(other.data_, {})) {}
  large_array& operator=(large_array&& other) noexcept {
    data_.swap(other.data_);
    return *this;
  }
  ~large_array() {
    if (!data_.empty()) --live;
  }

  long sum() const {
    long result = 0;
    for (const int value : data_) result += value;
    return result;
  }

 private:
  std::vector<int> data_;
};

void expect(bool condition, const std::string& what) {
  if (!condition) throw std::logic_error(what);
}

std::vector<large_array> list_of_arrays(int n) {
  std::vector<large_array> arrays;
  arrays.reserve(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) arrays.emplace_back(i);
  return arrays;
}

dg::generator<large_array> generate_arrays(int n) {
  for (int i = 0; i < n; ++i) {
    large_array array(i);
    co_yield std::move(array);
  }
}

dg::generator<large_array> generate_arrays_after(std::latch* start, int n) {
  start->wait();
  for (int i = 0; i < n; ++i) {
    large_array array(i);
    co_yield std::move(array);
  }
}

/// The caller's code, the same for a list and for a generator.
template <class Task>
void sum_of_twenty(dg::thread_pool& pool, const char* name, Task task) {
  long sum = 0;
  for (const dg::ref<large_array>& array : pool.options(dg::num_returns{how_many}).submit(task, how_many))
    sum += array.get().sum();
  std::printf("%s: sum of all elements %ld\n", name, sum);
  expect(sum == 19'000'000, "the wrong sum");
}

void expect_all_freed() {
  expect(large_array::made == how_many, std::to_string(large_array::made) + " arrays made");
  expect(large_array::live == 0, std::to_string(large_array::live) + " arrays left over");
}

void list(dg::thread_pool& pool) {
  large_array::reset();
  sum_of_twenty(pool, "list", list_of_arrays);
  expect(large_array::peak == how_many, "list: peak of " + std::to_string(large_array::peak));
  expect_all_freed();
  std::printf("list: %d arrays in memory at once\n", how_many);
}

void generator(dg::thread_pool& pool) {
  sum_of_twenty(pool, "generator", generate_arrays);

  large_array::reset();
  std::latch refs_are_dropped(1);
  auto refs = pool.options(dg::num_returns{how_many}).submit(generate_arrays_after, &refs_are_dropped, how_many);
  const dg::ref<void> completion = refs.front().completion();
  refs.clear();
  refs_are_dropped.count_down();
  completion.get();
  expect(large_array::peak <= 1, "generator: peak of " + std::to_string(large_array::peak));
  expect_all_freed();
  std::printf("generator, every ref dropped: at most 1 array in memory at once\n");
}

void stream(dg::thread_pool& pool) {
  large_array::reset();
  long sum = 0;
  for (dg::ref<large_array> array : pool.options(dg::backpressure{1}).submit(generate_arrays, how_many))
    sum += array.get().sum();
  expect(sum == 19'000'000, "stream: the wrong sum");
  expect(large_array::peak <= 2, "stream: peak of " + std::to_string(large_array::peak));
  expect_all_freed();
  std::printf("stream: sum of all elements %ld\n", sum);
  std::printf("stream under backpressure{1}: at most 2 arrays in memory at once\n");
}

}  // namespace

int main() {
  try {
    dg::thread_pool pool(2);
    list(pool);
    generator(pool);
    stream(pool);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "arrays_three_ways: %s\n", error.what());
    return 1;
  }
}
