// SPDX-License-Identifier: MIT
// How do I run tasks on threads that I have already?
//
// Anything with `void execute(dyngen::work) noexcept` is an executor. It runs each work once, at any time, on any
// thread. A work that is destroyed without having run cancels its task, so nothing hangs if a pool with queued work is
// destroyed. `on(executor)` submits to it, with all options; it must outlive its tasks. `get()` on such a thread blocks
// it: it is not replaced, as a thread_pool's would be, so prefer `co_await` there.

#include <dyngen/dyngen.hpp>

#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <numeric>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

/// A thread pool that your program already has.
class my_pool {
 public:
  explicit my_pool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this](std::stop_token stop) { work(stop); });
  }

  void execute(dg::work w) noexcept {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(w));
    }
    more_.notify_one();
  }

 private:
  void work(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    while (more_.wait(lock, stop, [this] { return !queue_.empty(); })) {
      dg::work next = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      next();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any more_;
  std::deque<dg::work> queue_;
  std::vector<std::jthread> threads_;  // last: they end before the other members are destroyed
};

dg::generator<int> numbers(int n) {
  for (int i = 1; i <= n; ++i) co_yield i;
}

dg::task<int> sum(dg::ref_stream<int> in) {
  int total = 0;
  while (auto value = co_await in.async_value()) total += *value;
  co_return total;
}

}  // namespace

int main() {
  my_pool threads(2);
  const auto mine = dg::on(threads);
  std::printf("a task: %d\n", mine.submit(sum, mine.submit(numbers, 1000)).get());

  const auto parts = mine.options(dg::num_returns{4}).submit(numbers, 4);
  std::printf("its values: %d %d %d %d\n", parts[0].get(), parts[1].get(), parts[2].get(), parts[3].get());

  // Between two executors: one produces, the other consumes.
  dg::thread_pool pool(1);
  std::printf("from there to here: %d\n", pool.submit(sum, mine.submit(numbers, 100)).get());
}
