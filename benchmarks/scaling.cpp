// SPDX-License-Identifier: MIT
// Scaling of costs per operation: one value among a thousand to a hundred million, one task among a thousand to ten
// million, one of up to a million streams that are suspended at once, and tasks and streams on 1 to 16 threads, however
// many cores there are. Ratios are to a size in the middle, or to one thread, and should be flat. Baselines show how
// the machine itself scales. Linux only.
//
//   g++ -std=c++20 -O3 -pthread -Iinclude benchmarks/scaling.cpp -o scaling && ./scaling

#include "baselines.hpp"
#include "process.hpp"

#include <dyngen/dyngen.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

using bench::fold;
using bench::from_worker;
using bench::number;
using bench::sum_of_work;
using bench::work;

// Created at the first use: not before the separate processes.
dg::thread_pool& usual() {
  static dg::thread_pool pool;
  return pool;
}

// ---- the same thing at several sizes --------------------------------------------------------------------------------

std::string power_of_ten(std::uint64_t n) {
  int exponent = 0;
  for (; n > 1; n /= 10) ++exponent;
  return "10^" + std::to_string(exponent);
}

// One group: ratios to the size of the middle.
class by_size {
 public:
  static constexpr std::uint64_t middle = 100'000;

  by_size(bench::suite& suite, const std::string& title, const std::string& own)
      : own_(own), group_(suite.add({title, "ns/op", name_of(own, middle), middle, sum_of_work})) {}

  /// Sizes 10^3 to `largest`. Small ones are run several times in a row, so that the clock sees them: what it costs to
  /// begin and to end is a part of each.
  void add(const std::string& name, std::uint64_t largest, const bench::runner& run) {
    for (std::uint64_t n = 1000; n <= largest; n *= 10) {
      bench::how how{.operations = n, .repeat = std::max<std::uint64_t>(1, middle / n)};
      if (name == own_) how.goals = {bench::at_most(1.3, name_of(own_, middle))};
      group_.add(name_of(name, n), run, std::move(how));
    }
  }

 private:
  static std::string name_of(const std::string& what, std::uint64_t n) { return what + ", " + power_of_ten(n); }

  const std::string own_;
  bench::group& group_;
};

// ---- values ---------------------------------------------------------------------------------------------------------

dg::generator<number> produce(number n) {
  for (number i = 0; i < n; ++i) co_yield work(i);
}

std::uint64_t take(dg::ref_stream<number> stream) {
  std::uint64_t sum = 0;
  for (const number value : stream.values()) sum = fold(sum, value);
  return sum;
}

dg::task<std::uint64_t> await(dg::ref_stream<number> stream) {
  std::uint64_t sum = 0;
  while (const std::optional<number> value = co_await stream.async_value()) sum = fold(sum, *value);
  co_return sum;
}

bench::outcome through_list(number n) {
  const dg::ref<dg::ref_list<number>> list = usual().options(dg::dynamic).submit(produce, n);
  std::uint64_t sum = 0;
  for (const number& value : list.get().values()) sum = fold(sum, value);
  return sum;
}

bench::outcome through_num_returns(number n) {
  std::uint64_t sum = 0;
  for (const dg::ref<number>& value : usual().options(dg::num_returns{n}).submit(produce, n))
    sum = fold(sum, value.get());
  return sum;
}

// A growing vector, returned by a function: what this many values cost on this machine in any case.
bench::outcome through_vector(number n) {
  std::vector<number> values;
  for (number i = 0; i < n; ++i) values.push_back(work(i));
  std::uint64_t sum = 0;
  for (const number value : values) sum = fold(sum, value);
  return sum;
}

bench::synchronous_generator<number> produce_synchronously(number n) {
  for (number i = 0; i < n; ++i) co_yield work(i);
}

bench::outcome through_synchronous_generator(number n) {
  std::uint64_t sum = 0;
  auto values = produce_synchronously(n);
  while (const number* value = values.next()) sum = fold(sum, *value);
  return sum;
}

void add_values(bench::suite& suite) {
  const auto streamed = suite.pick(100'000'000, 100'000);
  const auto kept = suite.pick(10'000'000, 100'000);

  const std::string outside = "dyngen: values(), outside thread";
  by_size by_thread(suite, "one value of a stream, by its length", outside);
  by_thread.add("synchronous generator, one thread", streamed, through_synchronous_generator);
  by_thread.add(outside, streamed, [](number n) { return take(usual().submit(produce, n)); });

  const std::string coroutine = "dyngen: values, coroutine on the pool";
  by_size by_coroutine(suite, "one value of a stream that a coroutine takes, by its length", coroutine);
  by_coroutine.add("synchronous generator, one thread", streamed, through_synchronous_generator);
  by_coroutine.add(coroutine, streamed,
                   [](number n) { return from_worker(usual().submit(await, usual().submit(produce, n))); });

  const std::string list = "dyngen: dynamic, values()";
  by_size by_list(suite, "one value of a list, by its length", list);
  by_list.add("a std::vector that grows", kept, through_vector);
  by_list.add(list, kept, through_list);

  const std::string refs = "dyngen: num_returns{n}, refs";
  by_size by_refs(suite, "one value of num_returns{n}, by n", refs);
  by_refs.add("a std::vector that grows", kept, through_vector);
  by_refs.add(refs, kept, through_num_returns);
}

// ---- tasks ----------------------------------------------------------------------------------------------------------

bench::textbook_pool& textbook() {
  static bench::textbook_pool pool;
  return pool;
}

// One allocation of a small task's size each, all kept until the last is made.
bench::outcome allocations(number n) {
  struct block {
    explicit block(number v) : value(v) {}
    number value;
    std::array<std::byte, 120> rest{};
  };
  std::vector<std::unique_ptr<block>> blocks;
  blocks.reserve(n);
  for (number i = 0; i < n; ++i) blocks.push_back(std::make_unique<block>(work(i)));
  std::uint64_t sum = 0;
  for (const auto& b : blocks) sum = fold(sum, b->value);
  return sum;
}

void add_tasks(bench::suite& suite) {
  const std::string own = "dyngen: all submitted, then read";
  const auto most = suite.pick(10'000'000, 100'000);
  by_size all(suite, "one task, by how many there are at once", own);
  all.add("new of 128 bytes, all kept", most, allocations);
  all.add("textbook pool of std::packaged_task, all submitted, then read", most / 10, [](number n) {
    return bench::all_then_read(n, [](number i) { return textbook().submit([i] { return work(i); }); });
  });
  all.add(own, most,
          [](number n) { return bench::all_then_read(n, [](number i) { return usual().submit(work, i); }); });

  const std::string few = "dyngen: never more than a thousand";
  by_size windows(suite, "one task, by how many there are one after the other", few);
  windows.add("textbook pool of std::packaged_task, never more than a thousand", most / 10, [](number n) {
    return bench::in_a_window(n, [](number i) { return textbook().submit([i] { return work(i); }); });
  });
  windows.add(few, most,
              [](number n) { return bench::in_a_window(n, [](number i) { return usual().submit(work, i); }); });
}

// ---- suspended streams ----------------------------------------------------------------------------------------------

dg::generator<number> from(number i) {
  for (;; ++i) co_yield work(i);
}

bench::synchronous_generator<number> from_synchronously(number i) {
  for (;; ++i) co_yield work(i);
}

// Each has handed over its first value, and is suspended at its second, as it is full; all are dropped in the end.
std::vector<dg::ref_stream<number>> suspended_streams(number n, std::uint64_t& sum) {
  std::vector<dg::ref_stream<number>> streams;
  streams.reserve(n);
  for (number i = 0; i < n; ++i) streams.push_back(usual().options(dg::backpressure{1}).submit(from, i));
  for (auto& stream : streams) sum = fold(sum, stream.next_value().value());
  return streams;
}

bench::outcome make_and_drop_streams(number n) {
  std::uint64_t sum = 0;
  suspended_streams(n, sum).clear();
  return sum;
}

bench::outcome make_and_drop_generators(number n) {
  std::vector<std::unique_ptr<bench::synchronous_generator<number>>> generators;
  generators.reserve(n);
  for (number i = 0; i < n; ++i)
    generators.emplace_back(new bench::synchronous_generator<number>(from_synchronously(i)));
  std::uint64_t sum = 0;
  for (auto& values : generators) sum = fold(sum, *values->next());
  return sum;
}

// Resident memory, without the handles that the caller keeps.
bench::outcome bytes_of_streams(number n) {
  std::uint64_t sum = 0;
  suspended_streams(100, sum).clear();  // one-time costs
  sum = 0;
  const double before = bench::resident_bytes();
  const auto streams = suspended_streams(n, sum);
  const double handles = static_cast<double>(n * sizeof(dg::ref_stream<number>));
  return {sum, std::max(0.0, bench::resident_bytes() - before - handles)};
}

// In processes of their own: this comes first.
void add_stream_bytes(bench::suite& suite) {
  const std::string name = "dyngen: backpressure{1}, resident, ";
  const auto most = suite.pick(1'000'000, 100'000);
  auto& group = suite.add(
      {"bytes of one suspended stream, by how many there are", "bytes", name + power_of_ten(most), most, sum_of_work});
  for (std::uint64_t n = 10'000; n <= most; n *= 10) {  // with few, the one-time costs of the pool dominate
    const bench::goal goal = n == most ? bench::must_not_exceed(1024) : bench::at_most(1024);
    group.add(name + power_of_ten(n), bench::in_fresh_process(bytes_of_streams), {.operations = n, .goals = {goal}});
  }
}

void add_streams(bench::suite& suite) {
  const std::string own = "dyngen: backpressure{1}, made, first value taken, dropped";
  by_size streams(suite, "one suspended stream, by how many there are at once", own);
  const auto most = suite.pick(1'000'000, 100'000);
  streams.add("synchronous generator, made, first value taken, dropped", most, make_and_drop_generators);
  streams.add(own, most, make_and_drop_streams);
}

// ---- threads --------------------------------------------------------------------------------------------------------

// Created at the first run of the entry.
template <class Pool>
class lazy {
 public:
  explicit lazy(unsigned threads) : threads_(threads) {}
  Pool& get() {
    if (!pool_) pool_.emplace(threads_);
    return *pool_;
  }

 private:
  unsigned threads_;
  std::optional<Pool> pool_;
};

// Adds `run(pool, n)` for pools of 1 to 16 threads.
template <class Pool, class Run>
void add_threads(bench::group& group, const std::string& name, Run run) {
  for (const unsigned threads : {1u, 2u, 4u, 8u, 16u}) {
    const auto pool = std::make_shared<lazy<Pool>>(threads);
    group.add(name + ", " + std::to_string(threads), [pool, run](number n) { return run(pool->get(), n); });
  }
}

[[gnu::noinline]] number count_plainly(number leaves) {
  return leaves == 1 ? 1 : count_plainly(leaves / 2) + count_plainly(leaves - leaves / 2);
}

dg::task<number> count(dg::thread_pool& pool, number leaves) {
  if (leaves == 1) co_return 1;
  dg::ref<number> half = pool.submit(count, std::ref(pool), leaves / 2);
  const number other = co_await count(pool, leaves - leaves / 2);
  co_return co_await std::move(half) + other;
}

// As many streams as there may be threads, each taken by a coroutine; n values in all.
std::uint64_t sixteen_streams(dg::thread_pool& pool, number n) {
  std::vector<dg::ref<std::uint64_t>> sums;
  for (int i = 0; i < 16; ++i) sums.push_back(pool.submit(await, pool.submit(produce, n / 16)));
  std::uint64_t sum = 0;
  for (const dg::ref<std::uint64_t>& s : sums) sum += from_worker(s);
  return sum;
}

void add_by_threads(bench::suite& suite) {
  const std::string from_outside = "dyngen: from outside, all, then read";
  auto& tasks = suite.add(
      {"one task, by threads of the pool", "ns/op", from_outside + ", 1", suite.pick(500'000, 20'000), sum_of_work});
  tasks.add("a call, no task", sum_of_work);
  add_threads<bench::textbook_pool>(
      tasks, "textbook pool of std::packaged_task", [](bench::textbook_pool& pool, number n) {
        return bench::all_then_read(n, [&](number i) { return pool.submit([i] { return work(i); }); });
      });
  add_threads<dg::thread_pool>(tasks, from_outside, [](dg::thread_pool& pool, number n) {
    return bench::all_then_read(n, [&](number i) { return pool.submit(work, i); });
  });

  const std::string tree = "dyngen: a task for each second call";
  const auto itself = [](number n) { return n; };
  auto& trees = suite.add({"one leaf of a binary tree of tasks, by threads of the pool", "ns/op", tree + ", 1",
                           suite.pick(500'000, 20'000), itself});
  trees.add("plain recursion, one thread", count_plainly);
  add_threads<dg::thread_pool>(
      trees, tree, [](dg::thread_pool& pool, number n) { return from_worker(pool.submit(count, std::ref(pool), n)); });

  const std::string sixteen = "dyngen: 16 streams, each taken by a coroutine";
  const auto sixteen_sums = [](number n) { return 16 * sum_of_work(n / 16); };
  auto& streams = suite.add({"one value of sixteen streams at once, by threads of the pool", "ns/op", sixteen + ", 1",
                             suite.pick(1'600'000, 160'000), sixteen_sums});
  streams.add("synchronous generators, one after the other, one thread", [](number n) {
    std::uint64_t sum = 0;
    for (int i = 0; i < 16; ++i) sum += through_synchronous_generator(n / 16).checksum;
    return sum;
  });
  add_threads<dg::thread_pool>(streams, sixteen, sixteen_streams);
}

}  // namespace

int main(int argc, char** argv) {
  bench::suite suite("scaling", argc, argv);
  add_stream_bytes(suite);
  add_values(suite);
  add_tasks(suite);
  add_streams(suite);
  add_by_threads(suite);
  return suite.run();
}
