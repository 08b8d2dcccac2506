// SPDX-License-Identifier: MIT
// The result of a task under `dynamic` as an argument of other tasks, in three forms:
//
//  - the ref of the list: the other task starts when the list is complete, and gets it as `const ref_list<T>&`;
//  - the list itself: passed as it is;
//  - one ref of the list: the other task gets that one value, as `const T&`.

#include <dyngen/dyngen.hpp>

#include <cstddef>
#include <cstdio>
#include <exception>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

using block = std::vector<int>;

/// Blocks of 1, 2, … n ones.
dg::generator<block> staircase(std::size_t n) {
  for (std::size_t i = 1; i <= n; ++i) {
    block step(i, 1);
    co_yield std::move(step);
  }
}

int sum(const block& values) { return std::accumulate(values.begin(), values.end(), 0); }

int sum_of_all(const dg::ref_list<block>& blocks) {
  int total = 0;
  for (const block& values : blocks.values()) total += sum(values);
  return total;
}

void expect(bool condition, const std::string& what) {
  if (!condition) throw std::logic_error(what);
}

}  // namespace

int main() {
  try {
    dg::thread_pool pool(2);
    const dg::ref<dg::ref_list<block>> blocks = pool.options(dg::dynamic).submit(staircase, 10u);

    // The ref is passed at once: no thread waits until the list is ready.
    const int by_ref = pool.submit(sum_of_all, blocks).get();
    std::printf("by the ref of the list: %d\n", by_ref);
    expect(by_ref == 55, "the ref as an argument");

    const dg::ref_list<block> list = blocks.get();
    const int by_list = pool.submit(sum_of_all, list).get();
    std::printf("by the list: %d\n", by_list);
    expect(by_list == 55, "the list as an argument");

    std::vector<dg::ref<int>> sums;
    for (const dg::ref<block>& one : list) sums.push_back(pool.submit(sum, one));
    int by_blocks = 0;
    for (const dg::ref<int>& one : sums) by_blocks += one.get();
    std::printf("by a task for each of %zu blocks: %d\n", sums.size(), by_blocks);
    expect(sums.size() == 10 && by_blocks == 55, "each block as an argument");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "dynamic_as_argument: %s\n", error.what());
    return 1;
  }
}
