// SPDX-License-Identifier: MIT
// What a task may await, how it is fulfilled from outside, and how it is run again.
// expect 1: a task does nothing until it is awaited; to run it by itself, submit the function that returns it
// expect 2: this cannot be awaited here: co_await takes refs, std::move(task), when_all, when_any, async_next, async_value and this_task::yield(); bridge anything else by a promise<T>
// expect 3: a task<R> has one result, by co_return; to co_yield values, return generator<T>
// expect 4: submit was given a coroutine object in place of a callable; write submit(split, array, 10), not submit(split(array, 10))
// expect 5: task<R> needs R to be void or an object type, neither const nor a reference nor an array
// expect 6: promise<T> needs T to be void or an object type, neither const nor a reference nor an array
// expect 7: when_all takes refs and tasks, or a range of them; a range of tasks by std::move(range)
// expect 8: when_all takes refs and tasks, or a range of them; a range of tasks by std::move(range)
// expect 9: deleted
// expect 10: retry_if does nothing by itself; add max_retries{n}
// expect 11: with max_retries each attempt has its own copy of the callable, and this one cannot be copied; keep its move-only members in a std::shared_ptr, or remove max_retries
// expect 12: with max_retries a task's arguments are passed as const lvalues, again for each attempt; f cannot be called with these; let f take them by value or by const reference
// expect 13: retry_if takes a predicate that can be called with a std::exception_ptr and returns bool
// expect 14: an option is given twice; give each option once (after takes several refs)
// expect 15: num_returns, dynamic and streaming need a task that produces several values
#include <dyngen/dyngen.hpp>

#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace dg = dyngen;

dg::task<int> one() { co_return 1; }
dg::task<std::string> text() {
#if CASE == 3
  co_yield "text";
#endif
  co_return "text";
}
#if CASE == 5
dg::task<const int> constant();
using constant_task = decltype(constant());
constexpr auto constant_size = sizeof(constant_task);
#endif
#if CASE == 6
dg::promise<int&> of_reference;
#else
dg::promise<int> of_value;
#endif

dg::task<int> awaits(dg::ref<int> ready) {
#if CASE == 1
  one();
#else
  co_await one();
#endif
  dg::task<int> named = one();
#if CASE == 2
  co_await named;
#elif CASE == 9
  dg::task<int> copy = named;
#else
  co_await std::move(named);
#endif
  std::vector<dg::task<int>> tasks;
#if CASE == 7
  co_await dg::when_all(1, ready);
#elif CASE == 8
  co_await dg::when_all(tasks);
#else
  co_await dg::when_all(one(), ready);
  co_await dg::when_all(std::move(tasks));
#endif
  co_return co_await ready;
}

void callers(dg::thread_pool& pool) {
#if CASE == 4
  auto r = pool.submit(one());
#elif CASE == 15
  auto r = pool.options(dg::streaming).submit(one);
#else
  auto r = pool.submit(one);
#endif
  auto predicate = [](std::exception_ptr) { return true; };
#if CASE == 10
  auto again = pool.options(dg::retry_if(predicate)).submit(one);
#elif CASE == 13
  auto again = pool.options(dg::max_retries{1}, dg::retry_if([](int) { return true; })).submit(one);
#elif CASE == 14
  auto again = pool.options(dg::max_retries{1}, dg::max_retries{2}).submit(one);
#else
  auto again = pool.options(dg::max_retries{1}, dg::retry_if(predicate), dg::stop_on(std::stop_token())).submit(one);
#endif
#if CASE == 11
  auto owned = pool.options(dg::max_retries{1}).submit([p = std::make_unique<int>(1)] { return *p; });
#elif CASE == 12
  auto owned = pool.options(dg::max_retries{1}).submit([](std::unique_ptr<int> p) { return *p; }, std::make_unique<int>(1));
#else
  auto owned = pool.options(dg::max_retries{1}).submit([](const std::unique_ptr<int>& p) { return *p; }, std::make_unique<int>(1));
#endif
}
