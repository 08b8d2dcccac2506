// SPDX-License-Identifier: MIT
// The cost of passing one value from a producer to a consumer: a 64-bit integer, a struct of 64 bytes, a string of
// 64 characters, and values that are expensive to make. Every producer makes each value by the same function make<T>,
// once; every consumer reads each value, in order. Producers are not inlined, so that none is folded into its
// consumer's loop.
//
//   g++ -std=c++20 -O3 -pthread -Iinclude benchmarks/stream.cpp -o stream && ./stream
//   with peers: add -DDYNGEN_PEERS and -ltbb

#include "baselines.hpp"

#include <dyngen/dyngen.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(DYNGEN_PEERS)
#  include <oneapi/tbb/concurrent_queue.h>
#  include <oneapi/tbb/parallel_pipeline.h>
#  include <boost/lockfree/spsc_queue.hpp>
#endif

namespace dg = dyngen;

namespace {

using bench::digest;
using bench::fold;
using bench::from_worker;
using bench::make;
using bench::number;
using bench::words;

// ---- without dyngen -------------------------------------------------------------------------------------------------

// The values are made in the loop that reads them: nothing is handed over.
template <class T>
bench::outcome through_nothing(std::uint64_t n) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) sum = fold(sum, digest(make<T>(i)));
  return sum;
}

template <class T>
[[gnu::noinline]] void produce_batches(bench::batch_queue<T>& queue, std::uint64_t n, std::size_t batch) {
  std::vector<T> filling;
  filling.reserve(batch);
  for (std::uint64_t i = 0; i < n; ++i) {
    filling.push_back(make<T>(i));
    if (filling.size() < batch && i + 1 < n) continue;
    queue.put(filling);
    filling.reserve(batch);
  }
}

// Vectors of 256 values are swapped between two threads.
template <class T>
bench::outcome through_batches(std::uint64_t n) {
  bench::batch_queue<T> queue;
  std::jthread producer([&] { produce_batches<T>(queue, n, 256); });
  std::uint64_t sum = 0;
  std::vector<T> taken;
  for (std::uint64_t i = 0; i < n; i += taken.size()) {
    taken.clear();
    queue.take(taken);
    for (const T& value : taken) sum = fold(sum, digest(value));
  }
  return sum;
}

template <class T, std::size_t Batch>
[[gnu::noinline]] void produce_into_ring(bench::ring<T, Batch>& queue, std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) queue.push(make<T>(i));
  queue.flush();
}

// Both threads spin; a value is moved out before its slot is given back, as from any queue.
template <class T, std::size_t Batch>
bench::outcome through_ring(std::uint64_t n) {
  bench::ring<T, Batch> queue;
  std::jthread producer([&] { produce_into_ring<T, Batch>(queue, n); });
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    const T taken = std::move(queue.front());
    queue.pop();
    sum = fold(sum, digest(taken));
  }
  return sum;
}

template <class T>
[[gnu::noinline]] void produce_into_promises(std::vector<std::promise<T>>& promises) {
  for (std::uint64_t i = 0; i < promises.size(); ++i) promises[i].set_value(make<T>(i));
}

// One shared state for each value; all of them are made before the producer starts, within the measured time.
template <class T>
bench::outcome through_futures(std::uint64_t n) {
  std::vector<std::promise<T>> promises(n);
  std::vector<std::future<T>> futures;
  futures.reserve(n);
  for (auto& promise : promises) futures.push_back(promise.get_future());
  std::jthread producer([&] { produce_into_promises<T>(promises); });
  std::uint64_t sum = 0;
  for (auto& future : futures) sum = fold(sum, digest(future.get()));
  return sum;
}

// ---- peers ----------------------------------------------------------------------------------------------------------

#if defined(DYNGEN_PEERS)

template <class T, std::size_t Batch>
[[gnu::noinline]] void produce_into_boost(boost::lockfree::spsc_queue<T>& queue, std::uint64_t n) {
  std::array<T, Batch> made;
  for (std::uint64_t i = 0; i < n;) {
    std::size_t size = 0;
    for (; size < Batch && i < n; ++size, ++i) made[size] = make<T>(i);
    for (std::size_t pushed = 0; pushed < size;)
      if (const std::size_t now = queue.push(made.data() + pushed, size - pushed); now > 0)
        pushed += now;
      else
        std::this_thread::yield();
  }
}

// boost::lockfree::spsc_queue with room for 1024; values are copied in and out of it `Batch` at a time.
template <class T, std::size_t Batch>
bench::outcome through_boost(std::uint64_t n) {
  boost::lockfree::spsc_queue<T> queue(1024);
  std::jthread producer([&] { produce_into_boost<T, Batch>(queue, n); });
  std::uint64_t sum = 0;
  std::array<T, Batch> taken;
  for (std::uint64_t i = 0; i < n;) {
    const std::size_t size = queue.pop(taken.data(), Batch);
    if (size == 0) std::this_thread::yield();
    for (std::size_t k = 0; k < size; ++k) sum = fold(sum, digest(taken[k]));
    i += size;
  }
  return sum;
}

template <class T>
[[gnu::noinline]] void produce_into_tbb(tbb::concurrent_bounded_queue<T>& queue, std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) queue.push(make<T>(i));
}

// A queue for many producers and consumers, used by one of each; both block.
template <class T>
bench::outcome through_tbb_queue(std::uint64_t n) {
  tbb::concurrent_bounded_queue<T> queue;
  queue.set_capacity(1024);
  std::jthread producer([&] { produce_into_tbb<T>(queue, n); });
  std::uint64_t sum = 0;
  T taken{};
  for (std::uint64_t i = 0; i < n; ++i) {
    queue.pop(taken);
    sum = fold(sum, digest(taken));
  }
  return sum;
}

// Two stages, each in order, with up to 64 values in between; this thread is one of those that work.
template <class T, class Make, class Read>
void through_tbb_pipeline(std::uint64_t n, Make produce_one, Read read_one) {
  std::uint64_t i = 0;
  const auto source = [&](tbb::flow_control& control) {
    if (i < n) return produce_one(i++);
    control.stop();
    return T();
  };
  tbb::parallel_pipeline(64, tbb::make_filter<void, T>(tbb::filter_mode::serial_in_order, source) &
                                 tbb::make_filter<T, void>(tbb::filter_mode::serial_in_order, read_one));
}

#endif

// ---- dyngen ---------------------------------------------------------------------------------------------------------

template <class T>
[[gnu::noinline]] dg::generator<T> produce(std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) co_yield make<T>(i);
}

struct pools {
  dg::thread_pool usual;
  dg::thread_pool without_help{dg::thread_pool_options{.waiters_help = false}};
};

constexpr std::uint64_t unlimited = 0;

template <class T>
dg::ref_stream<T> start(dg::thread_pool& pool, std::uint64_t room, std::uint64_t n) {
  if (room == unlimited) return pool.options(dg::unbounded).submit(produce<T>, n);
  return pool.options(dg::backpressure{room}).submit(produce<T>, n);
}

// Not submitted: the coroutine runs on the thread that reads it.
template <class T>
bench::outcome through_plain_range(std::uint64_t n) {
  std::uint64_t sum = 0;
  for (T& value : produce<T>(n)) sum = fold(sum, digest(value));
  return sum;
}

template <class T>
std::uint64_t take_values(dg::ref_stream<T> stream) {
  std::uint64_t sum = 0;
  for (T&& value : stream.values()) sum = fold(sum, digest(value));
  return sum;
}

template <class T>
std::uint64_t take_refs(dg::ref_stream<T> stream) {
  std::uint64_t sum = 0;
  for (dg::ref<T> value : stream) sum = fold(sum, digest(value.get()));
  return sum;
}

template <class T>
dg::task<std::uint64_t> await_values(dg::ref_stream<T> stream) {
  std::uint64_t sum = 0;
  while (std::optional<T> value = co_await stream.async_value()) sum = fold(sum, digest(*value));
  co_return sum;
}

template <class T>
dg::task<std::uint64_t> await_refs(dg::ref_stream<T> stream) {
  std::uint64_t sum = 0;
  while (std::optional<dg::ref<T>> value = co_await stream.async_next()) sum = fold(sum, digest(value->get()));
  co_return sum;
}

// The consumer: this thread, which is none of the pool's, or a task on `pool`.
template <class T>
struct consumer {
  std::string name;
  std::uint64_t (*take)(dg::thread_pool& pool, dg::ref_stream<T> stream);
};

template <class T>
const std::array<consumer<T>, 5> consumers = {{
    {"values(), outside thread", [](dg::thread_pool&, dg::ref_stream<T> s) { return take_values(std::move(s)); }},
    {"refs, outside thread", [](dg::thread_pool&, dg::ref_stream<T> s) { return take_refs(std::move(s)); }},
    {"values, coroutine on the pool",
     [](dg::thread_pool& pool, dg::ref_stream<T> s) {
       return from_worker(pool.submit(await_values<T>, std::move(s)));
     }},
    {"refs, coroutine on the pool",
     [](dg::thread_pool& pool, dg::ref_stream<T> s) { return from_worker(pool.submit(await_refs<T>, std::move(s))); }},
    {"values(), plain function on the pool",
     [](dg::thread_pool& pool, dg::ref_stream<T> s) { return from_worker(pool.submit(take_values<T>, std::move(s))); }},
}};

template <class T>
constexpr double goal_outside = std::is_same_v<T, std::string> ? 1.5 : 2.5;

const std::string synchronous = "synchronous generator, one thread";
const std::string one_by_one = "ring between two threads, one by one";
const std::string in_batches = "ring between two threads, batches of 64";

template <class T>
void add_peers(bench::group& group) {
#if defined(DYNGEN_PEERS)
  group.add("boost::lockfree::spsc_queue, one by one", through_boost<T, 1>);
  group.add("boost::lockfree::spsc_queue, batches of 64", through_boost<T, 64>);
  group.add("tbb::concurrent_bounded_queue", through_tbb_queue<T>);
#else
  (void)group;
#endif
}

// With the default options, beside the alternatives.
template <class T>
void add_defaults(bench::suite& suite, pools& p, const std::string& type) {
  auto& group = suite.add({type, "ns/op", synchronous, suite.pick(1'000'000, 50'000), bench::sum_of_values<T>});
  group.add(synchronous, bench::through_synchronous_generator<T>);
  group.add("made and read in one loop", through_nothing<T>);
  group.add(one_by_one, through_ring<T, 1>);
  group.add(in_batches, through_ring<T, 64>);
  group.add("mutex and condition variable, batches of 256", through_batches<T>);
  group.add("std::promise and std::future per value", through_futures<T>, {.divisor = 20});
  add_peers<T>(group);

  group.add("dyngen: generator as a plain range, one thread", through_plain_range<T>);
  const std::array<std::vector<bench::goal>, 5> goals = {{
      {bench::at_most(goal_outside<T>, synchronous)},
      {bench::at_most(3 * goal_outside<T>, synchronous)},
      {bench::at_most(1.5, synchronous)},
      {bench::at_most(3 * 1.5, synchronous)},
      {},
  }};
  for (std::size_t i = 0; i < goals.size(); ++i) {
    const auto take = consumers<T>[i].take;
    group.add("dyngen: " + consumers<T>[i].name,
              [&p, take](std::uint64_t n) { return take(p.usual, p.usual.submit(produce<T>, n)); },
              {.goals = goals[i]});
  }
}

// By the limit of stored values. With a small limit each value may cost a hand-over between threads: fewer values
// suffice.
template <class T>
void add_rooms(bench::suite& suite, pools& p, const std::string& type) {
  const auto n = suite.pick(500'000, 50'000);
  auto& group = suite.add({type + ", by room", "ns/op", synchronous, n, bench::sum_of_values<T>});
  group.add(synchronous, bench::through_synchronous_generator<T>);
  for (const consumer<T>& c : consumers<T>) {
    const auto add = [&](std::uint64_t room, const std::string& name, std::uint64_t divisor) {
      const auto take = c.take;
      const auto run = [&p, take, room](std::uint64_t m) { return take(p.usual, start<T>(p.usual, room, m)); };
      group.add("dyngen: " + c.name + ", " + name, run, {.divisor = divisor});
    };
    add(1, "room 1", 20);
    add(16, "room 16", 5);
    add(64, "room 64", 2);
    add(1024, "room 1024", 1);
    add(unlimited, "unbounded", 1);
  }
}

// The producer runs on another thread than the consumer, from the first value to the last: with waiters_help off an
// outside thread runs no task, and a coroutine only makes producers of its own pool run on its worker.
template <class T>
void add_two_threads(bench::suite& suite, pools& p, const std::string& type) {
  const auto n = suite.pick(500'000, 50'000);
  const std::string title = type + ", the producer on another thread";
  auto& group = suite.add({title, "ns/op", one_by_one, n, bench::sum_of_values<T>});
  group.add(one_by_one, through_ring<T, 1>);
  group.add(in_batches, through_ring<T, 64>);
  group.add("mutex and condition variable, batches of 256", through_batches<T>);
  add_peers<T>(group);
  for (const consumer<T>& c : consumers<T>) {
    const auto add = [&](std::uint64_t room, const std::string& name, std::vector<bench::goal> goals) {
      const auto take = c.take;
      const auto run = [&p, take, room](std::uint64_t m) { return take(p.usual, start<T>(p.without_help, room, m)); };
      group.add("dyngen: " + c.name + ", " + name, run, {.goals = std::move(goals)});
    };
    add(64, "room 64", {bench::at_most(0.5, one_by_one), bench::at_most(1, in_batches)});
    add(1024, "room 1024", {});
    add(unlimited, "unbounded", {});
  }
}

// ---- values that are expensive to make ------------------------------------------------------------------------------

// Stream `which` of `of`: values which, which + of, which + 2 * of, … below n.
[[gnu::noinline]] dg::generator<number> produce_slowly(number which, number of, number n, std::uint64_t steps) {
  for (number i = which; i < n; i += of) co_yield bench::work_long(i, steps);
}

std::uint64_t take_in_turn(dg::ref_stream<number> even, dg::ref_stream<number> odd, number n) {
  std::uint64_t sum = 0;
  for (number i = 0; i < n; ++i) sum = fold(sum, (i % 2 == 0 ? even : odd).next_value().value());
  return sum;
}

dg::task<std::uint64_t> await_in_turn(dg::ref_stream<number> even, dg::ref_stream<number> odd, number n) {
  std::uint64_t sum = 0;
  for (number i = 0; i < n; ++i) {
    dg::ref_stream<number>& stream = i % 2 == 0 ? even : odd;
    sum = fold(sum, (co_await stream.async_value()).value());
  }
  co_return sum;
}

// No value is handed over before all are made: shows the speed of two cores at this moment.
template <class F>
bench::outcome on_two_threads(number n, F value_of) {
  std::vector<number> values(n);
  const auto fill = [&](number from) {
    for (number i = from; i < n; i += 2) values[i] = value_of(i);
  };
  std::jthread other(fill, 0);
  fill(1);
  other.join();
  std::uint64_t sum = 0;
  for (const number value : values) sum = fold(sum, value);
  return sum;
}

// Two producers and one consumer, which only adds up what it takes from each in turn.
void add_heavy_pair(bench::suite& suite, pools& p, const std::string& how_heavy, std::uint64_t steps, number n) {
  const std::string baseline = "one thread does it all";
  const std::string title = "two streams, " + how_heavy + " of work per value, taken in turn";
  const auto expected = [steps](number m) {
    std::uint64_t sum = 0;
    for (number i = 0; i < m; ++i) sum = fold(sum, bench::work_long(i, steps));
    return sum;
  };
  auto& group = suite.add({title, "ns/op", baseline, n, expected});
  group.add(baseline, expected);
  group.add("two threads, half of the values each",
            [steps](number m) { return on_two_threads(m, [=](number i) { return bench::work_long(i, steps); }); });
  // A producing thread for each stream; this thread sleeps until the next value is there.
  group.add("mutex and condition variable, one by one", [steps](number m) {
    std::array<bench::batch_queue<number>, 2> queues;
    std::vector<std::jthread> producers;
    for (number which = 0; which < 2; ++which)
      producers.emplace_back([&, which] {
        for (number i = which; i < m; i += 2) {
          std::vector<number> one{bench::work_long(i, steps)};
          queues[which].put(one);
        }
      });
    std::uint64_t sum = 0;
    for (number i = 0; i < m; ++i) {
      std::vector<number> one;
      queues[i % 2].take(one);
      sum = fold(sum, one.front());
    }
    return sum;
  });
  const std::vector<bench::goal> goals = {bench::at_most(1 / 1.9, baseline)};
  const auto both = [steps](dg::thread_pool& pool, number m) {
    return std::pair(pool.submit(produce_slowly, 0, 2, m, steps), pool.submit(produce_slowly, 1, 2, m, steps));
  };
  const auto outside = [both](dg::thread_pool& pool, number m) {
    auto [even, odd] = both(pool, m);
    return take_in_turn(std::move(even), std::move(odd), m);
  };
  group.add("dyngen: outside thread", [&p, outside](number m) { return outside(p.usual, m); }, {.goals = goals});
  group.add("dyngen: outside thread, waiters_help off", [&p, outside](number m) { return outside(p.without_help, m); },
            {.goals = goals});
  const auto on_pool = [&p, both](auto take, number m) {
    auto [even, odd] = both(p.usual, m);
    return from_worker(p.usual.submit(take, std::move(even), std::move(odd), m));
  };
  group.add("dyngen: coroutine on the pool", [on_pool](number m) { return on_pool(await_in_turn, m); },
            {.goals = goals});
  group.add("dyngen: plain function on the pool", [on_pool](number m) { return on_pool(take_in_turn, m); },
            {.goals = goals});
}

dg::task<std::uint64_t> await_and_work(dg::ref_stream<number> stream, std::uint64_t steps) {
  std::uint64_t sum = 0;
  while (const std::optional<number> value = co_await stream.async_value())
    sum = fold(sum, bench::work_long(*value, steps));
  co_return sum;
}

// One producer, and a consumer that has as much to do with each value.
void add_heavy_chain(bench::suite& suite, pools& p, const std::string& how_heavy, std::uint64_t steps, number n) {
  const std::string baseline = "one thread does it all";
  const std::string title = "one stream, " + how_heavy + " of work per value on either side";
  const auto expected = [steps](number m) {
    std::uint64_t sum = 0;
    for (number i = 0; i < m; ++i) sum = fold(sum, bench::work_long(bench::work_long(i, steps), steps));
    return sum;
  };
  auto& group = suite.add({title, "ns/op", baseline, n, expected});
  group.add(baseline, expected);
  group.add("two threads, half of the values each", [steps](number m) {
    return on_two_threads(m, [=](number i) { return bench::work_long(bench::work_long(i, steps), steps); });
  });
  group.add(one_by_one, [steps](number m) {
    bench::ring<number, 1> queue;
    std::jthread producer([&] {
      for (number i = 0; i < m; ++i) queue.push(bench::work_long(i, steps));
    });
    std::uint64_t sum = 0;
    for (number i = 0; i < m; ++i) {
      sum = fold(sum, bench::work_long(queue.front(), steps));
      queue.pop();
    }
    return sum;
  });
#if defined(DYNGEN_PEERS)
  group.add("tbb::parallel_pipeline of two stages in order", [steps](number m) {
    std::uint64_t sum = 0;
    through_tbb_pipeline<number>(
        m, [=](number i) { return bench::work_long(i, steps); },
        [&](number value) { sum = fold(sum, bench::work_long(value, steps)); });
    return sum;
  });
#endif
  const auto outside = [steps](dg::thread_pool& pool, number m) {
    std::uint64_t sum = 0;
    for (const number value : pool.submit(produce_slowly, 0, 1, m, steps).values())
      sum = fold(sum, bench::work_long(value, steps));
    return sum;
  };
  group.add("dyngen: outside thread", [&p, outside](number m) { return outside(p.usual, m); });
  group.add("dyngen: outside thread, waiters_help off", [&p, outside](number m) { return outside(p.without_help, m); });
  group.add("dyngen: coroutine on the pool", [&p, steps](number m) {
    return from_worker(p.usual.submit(await_and_work, p.usual.submit(produce_slowly, 0, 1, m, steps), steps));
  });
}

template <class T>
void add_cheap(bench::suite& suite, pools& p, const std::string& type) {
  add_defaults<T>(suite, p, type);
  add_two_threads<T>(suite, p, type);
  add_rooms<T>(suite, p, type);
}

}  // namespace

int main(int argc, char** argv) {
  bench::suite suite("stream", argc, argv);
  pools p;
  add_cheap<number>(suite, p, "one 64-bit integer");
  add_cheap<words>(suite, p, "one struct of 64 bytes");
  add_cheap<std::string>(suite, p, "one string of 64 characters");
  const auto ten_us = bench::steps_for(std::chrono::microseconds(10));
  const auto one_ms = bench::steps_for(std::chrono::milliseconds(1));
  add_heavy_pair(suite, p, "10 us", ten_us, suite.pick(10'000, 1'000));
  add_heavy_pair(suite, p, "1 ms", one_ms, suite.pick(100, 10));
  add_heavy_chain(suite, p, "10 us", ten_us, suite.pick(5'000, 500));
  add_heavy_chain(suite, p, "1 ms", one_ms, suite.pick(50, 6));
  return suite.run();
}
