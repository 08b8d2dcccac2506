// SPDX-License-Identifier: MIT
// How do I process values in parallel and keep their order, or ignore it?
//
// A stream gives values in the order in which they were yielded. Submit a task for each, keep the refs in a queue of
// bounded length, and take from its front: results come in order, and at most as many tasks are in flight as the queue
// is long. If the order does not matter, take whichever is ready with `wait_any`.

#include <dyngen/dyngen.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

dg::generator<int> numbers(int n) {
  for (int i = 1; i <= n; ++i) co_yield i;
}

long square(const int& i) { return static_cast<long>(i) * i; }

/// A generator too: its reader gets squares in order, computed in parallel. It occupies no thread while it waits.
dg::generator<long> squares_in_order(dg::thread_pool& pool, dg::ref_stream<int> in, std::size_t in_flight) {
  std::deque<dg::ref<long>> queue;
  while (auto next = co_await in.async_next()) {
    queue.push_back(pool.submit(square, *next));
    if (queue.size() < in_flight) continue;
    const long result = co_await std::move(queue.front());
    queue.pop_front();
    co_yield result;
  }
  for (dg::ref<long>& rest : queue) {
    const long result = co_await std::move(rest);
    co_yield result;
  }
}

}  // namespace

int main() {
  dg::thread_pool pool(2);

  std::vector<long> ordered;
  for (long result : pool.submit(squares_in_order, std::ref(pool), pool.submit(numbers, 1000), 16u).values())
    ordered.push_back(result);
  std::printf("%zu squares, %s\n", ordered.size(), std::ranges::is_sorted(ordered) ? "in order" : "out of order");

  std::vector<dg::ref<long>> pending;
  for (dg::ref<int> each : pool.submit(numbers, 1000)) pending.push_back(pool.submit(square, each));
  long sum = 0;
  while (!pending.empty()) {
    const std::size_t ready = dg::wait_any(pending);  // the first that is ready
    sum += pending[ready].get();
    std::swap(pending[ready], pending.back());
    pending.pop_back();
  }
  std::printf("their sum, as they came: %ld\n", sum);
}
