// SPDX-License-Identifier: MIT
// What it costs to start a task and to read its result: independent tasks from outside and from inside a task, tasks
// with a dependency, one future without a task, and the price of one value by how its task's arity was chosen.
// The work of a task is the same few instructions everywhere and is not inlined; every result is read, in order.
//
//   g++ -std=c++20 -O3 -pthread -Iinclude benchmarks/spawn.cpp -o spawn && ./spawn

#include "harness.hpp"

#include <dyngen/dyngen.hpp>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

using number = std::uint64_t;

[[gnu::noinline]] number work(number i) {
  i = (i ^ (i >> 30)) * 0xBF58'476D'1CE4'E5B9u;
  return i ^ (i >> 27);
}

std::uint64_t expected_of_work(std::uint64_t n) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) sum = bench::fold(sum, work(i));
  return sum;
}

// ---- baseline: a textbook pool of std::packaged_task ----------------------------------------------------------------

class textbook_pool {
 public:
  textbook_pool() {
    const unsigned count = std::max(1u, std::thread::hardware_concurrency());
    for (unsigned i = 0; i < count; ++i) threads_.emplace_back([this](std::stop_token stop) { run(stop); });
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

// ---- submitting one after the other, or all before the first result is read -----------------------------------------

template <class Submit>
bench::outcome one_by_one(std::uint64_t n, Submit submit) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) sum = bench::fold(sum, submit(i).get());
  return sum;
}

template <class Submit>
bench::outcome all_then_read(std::uint64_t n, Submit submit) {
  std::vector<decltype(submit(n))> results;
  results.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i) results.push_back(submit(i));
  std::uint64_t sum = 0;
  for (auto& result : results) sum = bench::fold(sum, result.get());
  return sum;
}

struct pools {
  textbook_pool textbook;
  dg::thread_pool usual;
  dg::thread_pool without_help{dg::thread_pool_options{.waiters_help = false}};
};

void add_independent(bench::suite& suite, pools& p) {
  const std::string baseline = "textbook pool of std::packaged_task, all, then read";
  const auto n_tasks = suite.pick(1'000'000, 20'000);
  auto& group = suite.add({"one independent task, its result read", "ns/op", baseline, n_tasks, expected_of_work});
  const auto to_textbook = [&](number i) { return p.textbook.submit([i] { return work(i); }); };
  const auto to_async = [](number i) { return std::async(std::launch::async, work, i); };
  const auto to_usual = [&](number i) { return p.usual.submit(work, i); };
  const auto to_helpless = [&](number i) { return p.without_help.submit(work, i); };

  group.add(baseline, [=](std::uint64_t n) { return all_then_read(n, to_textbook); });
  group.add("textbook pool of std::packaged_task, one by one",
            [=](std::uint64_t n) { return one_by_one(n, to_textbook); }, 50);
  group.add("std::async(std::launch::async), one by one",
            [=](std::uint64_t n) { return one_by_one(n, to_async); }, 100);

  group.add("dyngen: from outside, all, then read", [=](std::uint64_t n) { return all_then_read(n, to_usual); });
  group.add("dyngen: the same, waiters_help off", [=](std::uint64_t n) { return all_then_read(n, to_helpless); });
  group.add("dyngen: from outside, one by one", [=](std::uint64_t n) { return one_by_one(n, to_usual); }, 10);
  group.add("dyngen: the same, waiters_help off", [=](std::uint64_t n) { return one_by_one(n, to_helpless); }, 50);
  group.add("dyngen: from inside a task, all, then get()", [=, &p](std::uint64_t n) {
    return p.usual.submit([=] { return all_then_read(n, to_usual).checksum; }).get();
  });
}

// ---- tasks with a dependency ----------------------------------------------------------------------------------------

void add_dependent(bench::suite& suite, pools& p) {
  const std::string baseline = "no dependency";
  const auto n_tasks = suite.pick(1'000'000, 20'000);
  const std::string title = "one task with a dependency, its result read";
  auto& group = suite.add({title, "ns/op", baseline, n_tasks, expected_of_work});
  static constexpr auto work_on_sum = [](number i, const number& other) { return work(i + other); };

  group.add(baseline, [&p](std::uint64_t n) {
    return all_then_read(n, [&](number i) { return p.usual.submit(work_on_sum, i, number{0}); });
  });
  group.add("on a value already there", [&p](std::uint64_t n) {
    const dg::ref<number> zero = dg::put(number{0});
    return all_then_read(n, [&](number i) { return p.usual.submit(work_on_sum, i, zero); });
  });
  group.add("on one task that ends when all are submitted", [&p](std::uint64_t n) {
    dg::manual_executor later;
    const dg::ref<number> zero = dg::on(later).submit([] { return number{0}; });
    return all_then_read(n, [&](number i) {
      auto result = p.usual.submit(work_on_sum, i, zero);
      if (i + 1 == n) later.run_all();
      return result;
    });
  });
  group.add("on a task of its own (two tasks in all)", [&p](std::uint64_t n) {
    static constexpr auto nothing = [] { return number{0}; };
    return all_then_read(n, [&](number i) { return p.usual.submit(work_on_sum, i, p.usual.submit(nothing)); });
  });
}

// ---- one future, without a task -------------------------------------------------------------------------------------

void add_futures(bench::suite& suite) {
  const std::string baseline = "std::promise and std::future";
  const auto n_results = suite.pick(1'000'000, 100'000);
  const std::string title = "one result made, set and read on one thread";
  auto& group = suite.add({title, "ns/op", baseline, n_results, expected_of_work});
  group.add(baseline, [](std::uint64_t n) {
    return one_by_one(n, [](number i) {
      std::promise<number> promise;
      std::future<number> result = promise.get_future();
      promise.set_value(work(i));
      return result;
    });
  });
  group.add("dyngen: put", [](std::uint64_t n) { return one_by_one(n, [](number i) { return dg::put(work(i)); }); });
}

// ---- the price of a value, by how the arity is chosen ---------------------------------------------------------------

dg::generator<number> several(number first, number count) {
  for (number i = first; i < first + count; ++i) co_yield work(i);
}

// Tasks of `count` values each, n values in all; a window of tasks is submitted before the first of them is read.
template <class Submit, class Read>
bench::outcome in_windows(std::uint64_t n, number count, Submit submit, Read read) {
  constexpr std::size_t window = 64;
  std::vector<decltype(submit(n))> submitted;
  submitted.reserve(window);
  std::uint64_t sum = 0;
  for (number next = 0; next < n;) {
    for (; submitted.size() < window && next < n; next += count) submitted.push_back(submit(next));
    for (auto& values : submitted) sum = read(sum, values);
    submitted.clear();
  }
  return sum;
}

constexpr auto read_refs = [](std::uint64_t sum, const auto& refs) {
  for (const dg::ref<number>& value : refs) sum = bench::fold(sum, value.get());
  return sum;
};
constexpr auto read_list_refs = [](std::uint64_t sum, const dg::ref<dg::ref_list<number>>& list) {
  return read_refs(sum, list.get());
};
constexpr auto read_list_values = [](std::uint64_t sum, const dg::ref<dg::ref_list<number>>& list) {
  for (const number& value : list.get().values()) sum = bench::fold(sum, value);
  return sum;
};
constexpr auto read_stream = [](std::uint64_t sum, dg::ref_stream<number>& stream) {
  for (dg::ref<number> value : stream) sum = bench::fold(sum, value.get());
  return sum;
};

template <number Count, class Executor>
void add_arity(bench::suite& suite, Executor& executor, const std::string& where) {
  const std::uint64_t n = suite.pick(1'000'000, 40'000) / Count * Count;
  const std::string title = "one value of a task that makes " + std::to_string(Count) + ", " + where;
  auto& group = suite.add({title, "ns/op", "fixed: num_returns<N>{}", n, expected_of_work});

  const auto add = [&](const std::string& name, auto read, auto... option) {
    group.add(name, [&executor, read, option...](std::uint64_t m) {
      const auto submit = [&](number first) {
        return dg::on(executor).options(option...).submit(several, first, Count);
      };
      return in_windows(m, Count, submit, read);
    });
  };
  add("fixed: num_returns<N>{}", read_refs, dg::num_returns<Count>{});
  add("run-time: num_returns{n}", read_refs, dg::num_returns{bench::opaque(Count)});
  add("dynamic, refs", read_list_refs, dg::dynamic);
  add("dynamic, values()", read_list_values, dg::dynamic);
  // A full stream waits for its reader; room for all of a task's values lets it end as the others do.
  add("streaming, refs", read_stream, dg::streaming, dg::backpressure{bench::opaque(Count + 1)});
}

}  // namespace

int main(int argc, char** argv) {
  bench::suite suite("spawn", argc, argv);
  pools p;
  dg::inline_executor here;
  add_independent(suite, p);
  add_dependent(suite, p);
  add_futures(suite);
  add_arity<1>(suite, here, "run in place");
  add_arity<3>(suite, here, "run in place");
  add_arity<100>(suite, here, "run in place");
  add_arity<1>(suite, p.usual, "on a pool");
  add_arity<3>(suite, p.usual, "on a pool");
  add_arity<100>(suite, p.usual, "on a pool");
  return suite.run();
}
