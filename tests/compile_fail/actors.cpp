// SPDX-License-Identifier: MIT
// Actors and budgets.
// expect 1: max_concurrency is for make_actor; a task has no methods; remove the option
// expect 2: make_actor takes the options name and max_concurrency; others are for its methods: actor.options(...).submit(...)
// expect 3: f cannot be called with these arguments
// expect 4: f cannot be called with these arguments
// expect 5: a task cannot return a reference; return a value, or std::reference_wrapper
// expect 6: actor<A> needs A to be an object type, neither const nor a reference nor an array
// expect 7: the callable cannot be copied into the task; write submit(std::move(f), args...)
// expect 8: A cannot be constructed from these arguments
// expect 9: backpressure, backpressure_by and unbounded exclude each other; give one of them
// expect 10: backpressure, backpressure_by and unbounded are for streams; remove them
// expect 11: backpressure_by(budget, cost): cost must be callable with a const T& of the stream, and return an integer
// expect 12: backpressure, backpressure_by and unbounded are for streams; this task returns one value
#include <dyngen/dyngen.hpp>

#include <memory>
#include <string>
#include <utility>

namespace dg = dyngen;

struct account {
  explicit account(int);
  int add(int);
  const std::string& name() const;
};

dg::generator<int> numbers() { co_yield 1; }
int one();

void callers(dg::thread_pool& pool) {
#if CASE == 1
  auto r = pool.options(dg::max_concurrency{2}).submit(one);
#elif CASE == 12
  auto r = pool.options(dg::backpressure_by(dg::budget(1), [](int) { return 1; })).submit(one);
#else
  auto r = pool.submit(one);
#endif
#if CASE == 2
  auto a = pool.options(dg::max_retries{2}).make_actor<account>(1);
#elif CASE == 8
  auto a = pool.make_actor<account>("text");
#else
  auto a = pool.options(dg::max_concurrency{2}, dg::name{"a"}).make_actor<account>(1);
#endif
#if CASE == 6
  dg::actor<const account> constant;
#endif
#if CASE == 3
  auto sum = a.submit(&account::add, "text");
#elif CASE == 4
  auto sum = a.submit([](std::string&) {});
#elif CASE == 5
  auto sum = a.submit(&account::name);
#else
  auto sum = a.submit(&account::add, 1);
#endif
  auto owner = [p = std::make_unique<int>(1)](account&) { return *p; };
#if CASE == 7
  auto owned = a.submit(owner);
#else
  auto owned = a.submit(std::move(owner));
#endif
  dg::budget bytes(100);
  auto cost = [](int) { return 1; };
#if CASE == 9
  auto stream = pool.options(dg::unbounded, dg::backpressure_by(bytes, cost)).submit(numbers);
#elif CASE == 10
  auto list = pool.options(dg::dynamic, dg::backpressure_by(bytes, cost)).submit(numbers);
#elif CASE == 11
  auto stream = pool.options(dg::backpressure_by(bytes, [](std::string) { return 1; })).submit(numbers);
#else
  auto stream = pool.options(dg::backpressure_by(bytes, cost)).submit(numbers);
#endif
}
