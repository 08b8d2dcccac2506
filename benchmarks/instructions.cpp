// SPDX-License-Identifier: MIT
// One step of the library, done `count` times, for instructions.sh to count the instructions of. Everything counted runs
// on one thread, and on deterministic executors, so that the numbers are exact.
//
//   g++ -std=c++20 -O3 -pthread -Iinclude benchmarks/instructions.cpp -o instructions && ./instructions yield 1000

#include "baselines.hpp"

#include <dyngen/dyngen.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dg = dyngen;

/// The instructions inside this function are counted. callgrind finds it by its name, so it is only called through a
/// pointer that is opaque to the compiler: a clone for one caller would have another name.
extern "C" void counted(void (*part)(void*), void* state) {
  part(state);
  __asm__ volatile("");  // no tail call: the function must return
}

namespace {

using bench::number;
using bench::work;

template <class F>
void count(F f) {
  void (*const volatile call)(void (*)(void*), void*) = counted;
  call([](void* state) { (*static_cast<F*>(state))(); }, &f);
}

dg::generator<number> produce(number n) {
  for (number i = 0; i < n; ++i) co_yield work(i);
}

// A stream of n values, all of them stored.
dg::ref_stream<number> produced(dg::manual_executor& producer, number n) {
  dg::ref_stream<number> stream = dg::on(producer).options(dg::unbounded).submit(produce, n);
  producer.run_all();
  return stream;
}

// A co_yield of a value into a stream that is not full, and its work.
number yield(number n) {
  dg::manual_executor producer;
  dg::ref_stream<number> stream = dg::on(producer).options(dg::unbounded).submit(produce, n);
  count([&] { producer.run_all(); });
  return stream.next_value().value();
}

// The same under num_returns{n}.
number yield_fixed(number n) {
  dg::manual_executor producer;
  const std::vector<dg::ref<number>> refs = dg::on(producer).options(dg::num_returns{n}).submit(produce, n);
  count([&] { producer.run_all(); });
  return refs.back().get();
}

// One step of a generator that is iterated in place, and its work.
number in_place(number n) {
  dg::generator<number> values = produce(n);
  number sum = 0;
  count([&] {
    for (const number value : values) sum += value;
  });
  return sum;
}

// One step of values(), the value being stored.
number take(number n) {
  dg::manual_executor producer;
  dg::ref_stream<number> stream = produced(producer, n);
  number sum = 0;
  count([&] {
    for (const number value : stream.values()) sum += value;
  });
  return sum;
}

// One ref taken from a stream, read and dropped, the value being stored.
number take_ref(number n) {
  dg::manual_executor producer;
  dg::ref_stream<number> stream = produced(producer, n);
  number sum = 0;
  count([&] {
    for (dg::ref<number> value : stream) sum += value.get();
  });
  return sum;
}

// One value of a cheap stream with a limit of 64, made and taken as a ref by one thread, which runs the producer in
// between.
number take_in_turn(number n) {
  dg::detail::pulling_mode = dg::detail::pulling::whenever_possible;
  dg::manual_executor here;
  dg::ref_stream<number> stream = dg::on(here).options(dg::backpressure{64}).submit(produce, n);
  number sum = 0;
  count([&] {
    while (!stream.finished()) {
      here.run_all();
      while (const std::optional<dg::ref<number>> value = stream.try_next()) sum += value->get();
    }
  });
  return sum;
}

// A pool whose only worker is blocked: the thread that waits for a task runs it.
class held_up_pool {
 public:
  held_up_pool() {
    pool_.submit([this] {
      busy_.count_down();
      gate_.wait();
    });
    busy_.wait();
  }
  held_up_pool(const held_up_pool&) = delete;
  held_up_pool& operator=(const held_up_pool&) = delete;
  ~held_up_pool() { gate_.count_down(); }

  dg::thread_pool& pool() { return pool_; }

 private:
  std::latch busy_{1};
  std::latch gate_{1};
  dg::thread_pool pool_{1};
};

// One value of a cheap stream, made and taken by values() on the thread that reads it. Elsewhere the clock
// decides whether values are cheap; callgrind is too slow for that.
number pull(number n) {
  dg::detail::pulling_mode = dg::detail::pulling::whenever_possible;
  held_up_pool held_up;
  dg::ref_stream<number> stream = held_up.pool().submit(produce, n);
  number sum = 0;
  count([&] {
    for (const number value : stream.values()) sum += value;
  });
  return sum;
}

dg::task<number> await_values(dg::ref_stream<number> stream) {
  number sum = 0;
  while (const std::optional<number> value = co_await stream.async_value()) sum += *value;
  co_return sum;
}

// One value of a stream, taken by a coroutine on the pool of the producer.
number await_value(number n) {
  dg::detail::pulling_mode = dg::detail::pulling::whenever_possible;
  held_up_pool held_up;
  dg::ref<number> sum = held_up.pool().submit(await_values, held_up.pool().submit(produce, n));
  count([&] { sum.wait(); });
  return sum.get();
}

// submit and get on a pool, run by the thread that waits.
number submit_get(number n) {
  held_up_pool held_up;
  number sum = 0;
  count([&] {
    for (number i = 0; i < n; ++i) sum += held_up.pool().submit(work, i).get();
  });
  return sum;
}

// submit and get on an executor without a queue that threads share.
number submit_get_inline(number n) {
  dg::inline_executor here;
  number sum = 0;
  count([&] {
    for (number i = 0; i < n; ++i) sum += dg::on(here).submit(work, i).get();
  });
  return sum;
}

dg::task<number> gives(number i) { co_return work(i); }

dg::task<number> await_both(number n) {
  number sum = 0;
  for (number i = 0; i < n; ++i) {
    const auto [a, b] = co_await dg::when_all(gives(i), gives(i + n));
    sum += a + b;
  }
  co_return sum;
}

// co_await of two tasks together, on a worker from which no thread steals.
number when_all(number n) {
  dg::thread_pool pool(1);
  number sum = 0;
  std::latch done(1);
  const dg::ref<void> counted_there = pool.submit([&] {
    // callgrind is so slow that the coroutine would yield to its own children
    dg::detail::context().slice_over = &dg::detail::no_time_slice;
    count([&] { sum = pool.submit(await_both, n).get(); });
    done.count_down();
  });
  done.wait();  // and does not help
  return sum;
}

/// As fib: a tree of n calls.
dg::task<number> tree(number n) {
  if (n <= 2) co_return n;
  const auto [a, b] = co_await dg::when_all(tree((n - 1) / 2), tree(n - 1 - (n - 1) / 2));
  co_return a + b + 1;
}

// A call in a tree of calls, two by two by when_all, on a worker from which no thread steals. The last call of an even
// number has none below it.
number fork_join(number n) {
  dg::thread_pool pool(1);
  number calls = 0;
  std::latch done(1);
  const dg::ref<void> counted_there = pool.submit([&] {
    dg::detail::context().slice_over = &dg::detail::no_time_slice;  // as above
    count([&] { calls = pool.submit(tree, n).get(); });
    done.count_down();
  });
  done.wait();  // and does not help
  return calls;
}

dg::task<number> await_refs(dg::ref<number> value, number n) {
  number sum = 0;
  for (number i = 0; i < n; ++i) sum += co_await value;
  co_return sum;
}

// co_await of a ref that is ready.
number await_ready(number n) {
  dg::inline_executor here;
  const dg::ref<number> value = dg::put(number{1});
  number sum = 0;
  count([&] { sum = dg::on(here).submit(await_refs, value, n).get(); });
  return sum;
}

dg::task<number> child(number i) { co_return work(i); }

dg::task<number> await_children(number n) {
  number sum = 0;
  for (number i = 0; i < n; ++i) sum += co_await child(i);
  co_return sum;
}

// A child task created, run by co_await, and destroyed.
number await_child(number n) {
  dg::inline_executor here;
  number sum = 0;
  count([&] { sum = dg::on(here).submit(await_children, n).get(); });
  return sum;
}

// A promise made, its ref given out, set and read.
number promise(number n) {
  number sum = 0;
  count([&] {
    for (number i = 0; i < n; ++i) {
      dg::promise<number> p;
      dg::ref<number> result = p.get_ref();
      p.set_value(work(i));
      sum += std::move(result).get();
    }
  });
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  dg::detail::reader_patience = 3'600'000;  // callgrind is so slow that the monitor would treat readers as idle
  const std::map<std::string, number (*)(number)> steps = {
      {"yield", yield},
      {"yield_fixed", yield_fixed},
      {"in_place", in_place},
      {"take", take},
      {"take_ref", take_ref},
      {"take_in_turn", take_in_turn},
      {"pull", pull},
      {"await_value", await_value},
      {"submit_get", submit_get},
      {"submit_get_inline", submit_get_inline},
      {"await_child", await_child},
      {"when_all", when_all},
      {"fork_join", fork_join},
      {"await_ready", await_ready},
      {"promise", promise},
  };
  const auto step = argc == 3 ? steps.find(argv[1]) : steps.end();
  if (step == steps.end()) {
    std::fprintf(stderr, "usage: %s STEP COUNT; steps:", argv[0]);
    for (const auto& [name, run] : steps) std::fprintf(stderr, " %s", name.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  const number n = std::strtoull(argv[2], nullptr, 10);
  std::printf("%llu\n", static_cast<unsigned long long>(step->second(n)));
}
