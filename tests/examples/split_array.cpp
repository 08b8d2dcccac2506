// SPDX-License-Identifier: MIT
// Splits a stored array into blocks. Only the task that makes the blocks knows their number: under `dynamic` the caller
// gets one ref, to the list of all blocks, which is ready when the task has ended.

#include <dyngen/dyngen.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <numeric>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

constexpr std::size_t block_length = 1000;

dg::generator<std::vector<double>> split(const std::vector<double>& array, std::size_t length) {
  for (std::span<const double> rest = array; !rest.empty();) {
    const std::span<const double> first = rest.first(std::min(length, rest.size()));
    std::vector<double> block(first.begin(), first.end());
    co_yield std::move(block);
    rest = rest.subspan(first.size());
  }
}

void expect(bool condition, const std::string& what) {
  if (!condition) throw std::logic_error(what);
}

/// Splits an array of this length, puts the blocks together again, and returns how many there were.
std::size_t split_and_check(dg::thread_pool& pool, std::size_t length) {
  std::vector<double> numbers(length);
  std::iota(numbers.begin(), numbers.end(), 1.0);
  const dg::ref<std::vector<double>> array = dg::put(numbers);

  // `array` is stored once: the task reads it in place.
  const dg::ref<dg::ref_list<std::vector<double>>> outer = pool.options(dg::dynamic).submit(split, array, block_length);
  const dg::ref_list<std::vector<double>> blocks = outer.get();

  const std::string where = "length " + std::to_string(length) + ": ";
  expect(blocks.size() == (length + block_length - 1) / block_length, where + "the wrong number of blocks");
  std::vector<double> joined;
  for (const dg::ref<std::vector<double>>& block : blocks) {
    const std::vector<double>& part = block.get();
    expect(!part.empty() && part.size() <= block_length, where + "a block of the wrong size");
    joined.insert(joined.end(), part.begin(), part.end());
  }
  expect(joined == numbers, where + "the blocks do not make up the array");
  return blocks.size();
}

}  // namespace

int main() {
  try {
    dg::thread_pool pool(2);
    for (const std::size_t length : {0u, 1u, 1000u, 63153u})
      std::printf("%zu numbers: %zu blocks\n", length, split_and_check(pool, length));
    std::random_device seed;
    split_and_check(pool, std::uniform_int_distribution<std::size_t>(0, 200'000)(seed));
    std::printf("a random number of numbers: as many blocks as it takes\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "split_array: %s\n", error.what());
    return 1;
  }
}
