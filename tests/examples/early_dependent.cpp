// SPDX-License-Identifier: MIT
// A value can be used before the task that made it has ended.
//
// The producer yields a value and then waits until another task, which depends on that value, has run. If refs became
// ready only at the end of their task, this program would never end.

#include <dyngen/dyngen.hpp>

#include <array>
#include <atomic>
#include <cstdio>
#include <exception>
#include <latch>
#include <stdexcept>
#include <string>

namespace dg = dyngen;

namespace {

struct shared_state {
  std::latch dependent_has_run{1};
  std::atomic<bool> producer_is_running{true};
};

dg::generator<int> produce(shared_state* state) {
  co_yield 20;
  state->dependent_has_run.wait();  // blocks this thread: the pool has another one
  state->producer_is_running = false;
  co_yield 22;
}

int double_of(shared_state* state, const int& value) {
  const bool early = state->producer_is_running;
  state->dependent_has_run.count_down();
  if (!early) throw std::logic_error("the dependent ran after its producer");
  return 2 * value;
}

void expect(bool condition, const std::string& what) {
  if (!condition) throw std::logic_error(what);
}

void with_refs(dg::thread_pool& pool) {
  shared_state state;
  const std::array<dg::ref<int>, 2> values = pool.options(dg::num_returns<2>{}).submit(produce, &state);
  const dg::ref<int> doubled = pool.submit(double_of, &state, values[0]);
  expect(doubled.get() == 40, "the wrong result");
  std::printf("num_returns: the dependent of the first value ran before the producer had ended: %d\n", doubled.get());
  expect(values[1].get() == 22, "the wrong second value");
  std::printf("num_returns: the second value came after it: %d\n", values[1].get());
  values[1].completion().get();
}

void with_a_stream(dg::thread_pool& pool) {
  shared_state state;
  dg::ref_stream<int> values = pool.submit(produce, &state);
  const dg::ref<int> first = values.next().value();
  const dg::ref<int> doubled = pool.submit(double_of, &state, first);
  expect(doubled.get() == 40, "the wrong result");
  std::printf("stream: the dependent of the first value ran before the producer had ended: %d\n", doubled.get());
  const dg::ref<int> second = values.next().value();
  expect(second.get() == 22, "the wrong second value");
  std::printf("stream: the second value came after it: %d\n", second.get());
  expect(!values.next(), "a value too many");
  second.completion().get();
}

}  // namespace

int main() {
  try {
    dg::thread_pool pool(2);
    with_refs(pool);
    with_a_stream(pool);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "early_dependent: %s\n", error.what());
    return 1;
  }
}
