// SPDX-License-Identifier: MIT
// The cost of starting a task and reading its result: independent tasks from outside and from inside a task, tasks
// with a dependency, and the price of one value by how its task's arity was chosen. The work of a task is the same few
// instructions everywhere and is not inlined; every result is read, in order.
//
//   g++ -std=c++20 -O3 -pthread -Iinclude benchmarks/spawn.cpp -o spawn && ./spawn
//   with peers: add -DDYNGEN_PEERS and -ltbb

#include "baselines.hpp"

#include <dyngen/dyngen.hpp>

#include <cstddef>
#include <functional>
#include <future>
#include <string>
#include <utility>
#include <vector>

#if defined(DYNGEN_PEERS)
#  include <oneapi/tbb/task_group.h>
#endif

namespace dg = dyngen;

namespace {

using bench::all_then_read;
using bench::fold;
using bench::from_worker;
using bench::number;
using bench::one_by_one;
using bench::sum_of_work;
using bench::work;

struct pools {
  bench::textbook_pool textbook;
  dg::thread_pool usual;
  dg::thread_pool without_help{dg::thread_pool_options{.waiters_help = false}};
};

// ---- independent tasks ----------------------------------------------------------------------------------------------

// Asks for as many tasks as there are results before the first of them is awaited, by suspending.
dg::task<std::uint64_t> submit_and_await(dg::thread_pool& pool, number n) {
  std::vector<dg::ref<number>> results;
  results.reserve(n);
  for (number i = 0; i < n; ++i) results.push_back(pool.submit(work, i));
  std::uint64_t sum = 0;
  for (dg::ref<number>& result : results) sum = fold(sum, co_await result);
  co_return sum;
}

dg::task<number> work_as_task(number i) { co_return work(i); }

dg::task<std::uint64_t> await_all(number n) {
  std::vector<dg::task<number>> tasks;
  tasks.reserve(n);
  for (number i = 0; i < n; ++i) tasks.push_back(work_as_task(i));
  std::uint64_t sum = 0;
  for (const number result : co_await dg::when_all(std::move(tasks))) sum = fold(sum, result);
  co_return sum;
}

#if defined(DYNGEN_PEERS)
// No futures: each task writes into its place in an array, which is read when all have ended. The thread that waits
// works too.
bench::outcome into_array(std::uint64_t n) {
  std::vector<number> results(n);
  tbb::task_group group;
  for (std::uint64_t i = 0; i < n; ++i) group.run([&results, i] { results[i] = work(i); });
  group.wait();
  std::uint64_t sum = 0;
  for (const number result : results) sum = fold(sum, result);
  return sum;
}
#endif

void add_independent(bench::suite& suite, pools& p) {
  const std::string baseline = "textbook pool of std::packaged_task, all, then read";
  const auto n_tasks = suite.pick(1'000'000, 20'000);
  auto& group = suite.add({"one independent task, its result read", "ns/op", baseline, n_tasks, sum_of_work});
  const auto to_textbook = [&](number i) { return p.textbook.submit([i] { return work(i); }); };
  const auto to_async = [](number i) { return std::async(std::launch::async, work, i); };
  const auto to_usual = [&](number i) { return p.usual.submit(work, i); };
  const auto to_helpless = [&](number i) { return p.without_help.submit(work, i); };

  group.add("a call, no task", sum_of_work);
  group.add(baseline, [=](std::uint64_t n) { return all_then_read(n, to_textbook); });
  group.add("textbook pool of std::packaged_task, one by one",
            [=](std::uint64_t n) { return one_by_one(n, to_textbook); }, {.divisor = 50});
  group.add("std::async(std::launch::async), one by one", [=](std::uint64_t n) { return one_by_one(n, to_async); },
            {.divisor = 100});
#if defined(DYNGEN_PEERS)
  group.add("tbb::task_group into an array, from outside", into_array);
#endif

  const std::vector<bench::goal> goals = {bench::at_most(200),
                                          bench::at_most(0.5, "tbb::task_group into an array, from outside")};
  group.add("dyngen: from outside, all, then read", [=](std::uint64_t n) { return all_then_read(n, to_usual); },
            {.goals = goals});
  group.add("dyngen: the same, waiters_help off", [=](std::uint64_t n) { return all_then_read(n, to_helpless); },
            {.goals = goals});
  group.add("dyngen: from outside, one by one", [=](std::uint64_t n) { return one_by_one(n, to_usual); },
            {.divisor = 10});
  group.add("dyngen: from outside, one by one, waiters_help off",
            [=](std::uint64_t n) { return one_by_one(n, to_helpless); }, {.divisor = 50});
  // These submit from a worker.
  group.add("dyngen: from inside a plain task, all, then get()", [=, &p](std::uint64_t n) {
    return from_worker(p.usual.submit([=] { return all_then_read(n, to_usual).checksum; }));
  });
  group.add("dyngen: from inside a coroutine, all, then co_await each",
            [&p](std::uint64_t n) { return from_worker(p.usual.submit(submit_and_await, std::ref(p.usual), n)); });
  group.add("dyngen: from inside a coroutine, when_all of task<R>",
            [&p](std::uint64_t n) { return from_worker(p.usual.submit(await_all, n)); });
}

// ---- tasks with a dependency ----------------------------------------------------------------------------------------

number work_on_sum(number i, const number& other) { return work(i + other); }

void add_dependent(bench::suite& suite, pools& p) {
  const std::string baseline = "dyngen: no dependency";
  const auto n_tasks = suite.pick(1'000'000, 20'000);
  const std::string title = "one task with a dependency, its result read";
  auto& group = suite.add({title, "ns/op", baseline, n_tasks, sum_of_work});

  group.add(baseline, [&p](std::uint64_t n) {
    return all_then_read(n, [&](number i) { return p.usual.submit(work_on_sum, i, number{0}); });
  });
  group.add("textbook pool of std::packaged_task, on a std::shared_future", [&p](std::uint64_t n) {
    std::promise<number> promise;
    const std::shared_future<number> zero = promise.get_future().share();
    promise.set_value(0);
    return all_then_read(n,
                         [&](number i) { return p.textbook.submit([i, zero] { return work_on_sum(i, zero.get()); }); });
  });
  group.add("dyngen: on a value already there", [&p](std::uint64_t n) {
    const dg::ref<number> zero = dg::put(number{0});
    return all_then_read(n, [&](number i) { return p.usual.submit(work_on_sum, i, zero); });
  });
  // All of them wait, and are queued in one burst.
  group.add("dyngen: on one task that ends when all are submitted", [&p](std::uint64_t n) {
    dg::manual_executor later;
    const dg::ref<number> zero = dg::on(later).submit([] { return number{0}; });
    return all_then_read(n, [&](number i) {
      auto result = p.usual.submit(work_on_sum, i, zero);
      if (i + 1 == n) later.run_all();
      return result;
    });
  });
  group.add("dyngen: on a task of its own (two tasks in all)", [&p](std::uint64_t n) {
    static constexpr auto nothing = [] { return number{0}; };
    return all_then_read(n, [&](number i) { return p.usual.submit(work_on_sum, i, p.usual.submit(nothing)); });
  });
  // No two of them can run at once.
  group.add("dyngen: each on the one before it", [&p](std::uint64_t n) {
    static constexpr auto after = [](number i, const number& before) { return work(i + (before & 0)); };
    dg::ref<number> last = dg::put(number{0});
    return all_then_read(n, [&](number i) { return last = p.usual.submit(after, i, last); });
  });
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
  for (const dg::ref<number>& value : refs) sum = fold(sum, value.get());
  return sum;
};
constexpr auto read_list_refs = [](std::uint64_t sum, const dg::ref<dg::ref_list<number>>& list) {
  return read_refs(sum, list.get());
};
constexpr auto read_list_values = [](std::uint64_t sum, const dg::ref<dg::ref_list<number>>& list) {
  for (const number& value : list.get().values()) sum = fold(sum, value);
  return sum;
};
constexpr auto read_stream = [](std::uint64_t sum, dg::ref_stream<number>& stream) {
  for (dg::ref<number> value : stream) sum = fold(sum, value.get());
  return sum;
};

template <number Count, class Executor>
void add_arity(bench::suite& suite, Executor& executor, const std::string& where) {
  const std::uint64_t n = suite.pick(1'000'000, 20'000) / Count * Count;
  const std::string title = "one value of a task that makes " + std::to_string(Count) + ", " + where;
  const std::string fixed = "dyngen: num_returns<N>{}";
  const std::string run_time = "dyngen: num_returns{n}";
  auto& group = suite.add({title, "ns/op", fixed, n, sum_of_work});

  // No task: a vector that a function returns.
  group.add("a returned std::vector", [](std::uint64_t m) {
    const auto call = [](number first) {
      std::vector<number> values;
      values.reserve(Count);
      for (number i = first; i < first + Count; ++i) values.push_back(work(i));
      return values;
    };
    return in_windows(m, Count, call, [](std::uint64_t sum, const std::vector<number>& values) {
      for (const number value : values) sum = fold(sum, value);
      return sum;
    });
  });
  const auto add = [&](const std::string& name, std::vector<bench::goal> goals, auto read, auto... option) {
    const auto run = [&executor, read, option...](std::uint64_t m) {
      const auto submit = [&](number first) {
        return dg::on(executor).options(option...).submit(several, first, Count);
      };
      return in_windows(m, Count, submit, read);
    };
    group.add(name, run, {.goals = std::move(goals)});
  };
  add(fixed, {bench::at_most(1, run_time)}, read_refs, dg::num_returns<Count>{});
  add(run_time, {bench::at_most(1, "dyngen: dynamic, refs")}, read_refs, dg::num_returns{bench::opaque(Count)});
  add("dyngen: dynamic, refs", {}, read_list_refs, dg::dynamic);
  add("dyngen: dynamic, values()", {}, read_list_values, dg::dynamic);
  // A full stream waits for its reader; a limit of all values of a task lets it end as the others do.
  add("dyngen: streaming, refs", {}, read_stream, dg::streaming, dg::backpressure{bench::opaque(Count + 1)});
}

}  // namespace

int main(int argc, char** argv) {
  bench::suite suite("spawn", argc, argv);
  pools p;
  dg::inline_executor here;
  add_independent(suite, p);
  add_dependent(suite, p);
  add_arity<1>(suite, here, "run in place");
  add_arity<3>(suite, here, "run in place");
  add_arity<100>(suite, here, "run in place");
  add_arity<1>(suite, p.usual, "on a pool");
  add_arity<3>(suite, p.usual, "on a pool");
  add_arity<100>(suite, p.usual, "on a pool");
  return suite.run();
}
