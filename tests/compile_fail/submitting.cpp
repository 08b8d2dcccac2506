// SPDX-License-Identifier: MIT
// What cannot be submitted, and arguments that do not fit.
// expect 1: submit was given a coroutine object in place of a callable; write submit(split, array, 10), not submit(split(array, 10))
// expect 2: submit was given a coroutine object in place of a callable; write submit(split, array, 10), not submit(split(array, 10))
// expect 3: submit was given a coroutine object in place of a callable; write submit(split, array, 10), not submit(split(array, 10))
// expect 4: a task cannot return a reference; return a value, or std::reference_wrapper
// expect 5: a task cannot return a reference; return a value, or std::reference_wrapper
// expect 6: f cannot be called with these arguments
// expect 7: f cannot be called with these arguments
// expect 8: (to pass a reference, use std::ref; to pass a ref itself, unresolved(r))
// expect 9: f cannot be called with these arguments
// expect 10: f cannot be called with these arguments
// expect 11: f cannot be called with these arguments
// expect 12: consume takes an rvalue ref; write consume(std::move(r))
// expect 13: consume takes an rvalue ref; write consume(std::move(r))
// expect 14: consume: a ref<void> has no value to consume; pass the ref itself
// expect 15: an argument cannot be copied into the task; write std::move(argument), or std::ref(argument) if it outlives the task
// expect 16: an argument cannot be copied into the task; write std::move(argument), or std::ref(argument) if it outlives the task
// expect 17: the callable cannot be copied into the task; write submit(std::move(f), args...)
// expect 18: an argument cannot be copied into the task; write std::move(argument), or std::ref(argument) if it outlives the task
// expect 19: f cannot be called with these arguments
// expect 20: submit was given a coroutine object in place of a callable; write submit(split, array, 10), not submit(split(array, 10))
// expect 21: f cannot be called with these arguments
#include <dyngen/dyngen.hpp>

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace dg = dyngen;

dg::generator<int> count(int to) {
  for (int i = 0; i < to; ++i) co_yield i;
}
dg::tuple_generator<int, long> pair_of() {
  co_yield 1;
  co_yield 2L;
}
int global = 0;
int& by_reference() { return global; }
int by_value() { return global; }
int length(const std::string& text) { return static_cast<int>(text.size()); }
void increment(int& i) { ++i; }
void takes_ref(dg::ref<int>) {}
void takes_mutable(std::string& text) { text.clear(); }
int owned(std::unique_ptr<int> p) { return *p; }
int borrowed(const std::unique_ptr<int>& p) { return *p; }
dg::generator<std::string> lines(const std::string& text) { co_yield text; }
struct counter {
  int value = 0;
  int get() const { return value; }
};

template <class Pool>
void caller(Pool&& pool) {
  int number = 1;
  auto pointer = std::make_unique<int>(1);
  dg::ref<std::string> text = dg::put(std::string("text"));
  dg::ref<void> done = text.completion();
  auto call = [p = std::make_unique<int>(1)](int i) { return *p + i; };
  auto generator = count(3);
#if CASE == 1
  auto stream = pool.submit(count(3));
#elif CASE == 2
  auto stream = pool.submit(generator);
#elif CASE == 20
  auto stream = pool.options(dg::num_returns<2>{}).submit(count(3));
#elif CASE == 6
  auto stream = pool.submit(count);
#elif CASE == 21
  auto stream = pool.options(dg::num_returns<2>{}).submit(count, "two");
#else
  auto stream = pool.submit(count, 3);
#endif
#if CASE == 3
  auto tuple = pool.submit(pair_of());
#else
  auto tuple = pool.submit(pair_of);
#endif
#if CASE == 4
  auto result = pool.submit(by_reference);
#elif CASE == 5
  auto result = pool.submit([&]() -> int& { return number; });
#else
  auto result = pool.submit(by_value);
#endif
#if CASE == 7
  auto size = pool.submit(length, 7);
#elif CASE == 9
  auto size = pool.submit(length, "text", 7);
#elif CASE == 19
  auto size = pool.submit(7);
#else
  auto size = pool.submit(length, "text");
#endif
#if CASE == 8
  auto incremented = pool.submit(increment, number);
#else
  auto incremented = pool.submit(increment, std::ref(number));
#endif
#if CASE == 10
  auto cleared = pool.submit(takes_mutable, text);
#elif CASE == 12
  auto moved = pool.submit([](std::string&&) {}, dg::consume(text));
#elif CASE == 13
  const dg::ref<std::string> constant = text;
  auto moved = pool.submit([](std::string&&) {}, dg::consume(constant));
#elif CASE == 14
  auto moved = pool.submit([] {}, dg::consume(std::move(done)));
#else
  auto moved = pool.submit([](std::string&&) {}, dg::consume(std::move(text)));
#endif
#if CASE == 11
  auto passed = pool.submit(takes_ref, 7);
#else
  auto passed = pool.submit(takes_ref, dg::put(7));
#endif
#if CASE == 15
  auto taken = pool.submit(owned, pointer);
#elif CASE == 16
  auto taken = pool.submit(borrowed, pointer);
#else
  auto taken = pool.submit(owned, std::move(pointer));
#endif
#if CASE == 17
  auto called = pool.submit(call, 1);
#else
  auto called = pool.submit(std::move(call), 1);
#endif
#if CASE == 18
  auto counted = pool.submit([](auto) { return 1; }, generator);
#else
  auto counted = pool.submit([](auto) { return 1; }, std::move(generator));
#endif
  counter object;
  auto member = pool.submit(&counter::get, object);
  auto waits = pool.submit(by_value, done);
}

void callers(dg::thread_pool& pool) {
  caller(pool);
}
