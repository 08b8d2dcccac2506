// SPDX-License-Identifier: MIT
// Options that do not fit the task.
// expect 1: backpressure, backpressure_by and unbounded are for streams; this task returns one value
// expect 2: backpressure, backpressure_by and unbounded are for streams; this task returns one value
// expect 3: num_returns, dynamic and streaming need a task that produces several values: a generator, a range or container, or (for num_returns) a tuple; remove the option for a plain function
// expect 4: num_returns, dynamic and streaming need a task that produces several values
// expect 5: num_returns, dynamic and streaming need a task that produces several values
// expect 6: num_returns, dynamic and streaming need a task that produces several values
// expect 7: the number of a tuple's values is known at compile time; write num_returns<N>{}, not num_returns{n}
// expect 8: the number of a tuple's values is known at compile time; write num_returns<N>{}, not num_returns{n}
// expect 9: num_returns<N>: N is not the number of elements of the tuple that the task returns; set N to that number
// expect 10: num_returns<N>: N is not the number of elements of the tuple that the task returns; set N to that number
// expect 11: num_returns<N>: N is not the number of elements of the tuple that the task returns; set N to that number
// expect 12: all_or_nothing is for num_returns and dynamic; this task returns one value
// expect 13: all_or_nothing is for num_returns and dynamic; add one of them
// expect 14: a tuple_generator's values have different types and a fixed number; dynamic, streaming, backpressure and unbounded do not apply; remove them
// expect 15: a tuple_generator's values have different types and a fixed number; dynamic, streaming, backpressure and unbounded do not apply; remove them
// expect 16: a tuple's or pair's values have different types; write num_returns<N>{} in place of dynamic or streaming
// expect 17: a tuple's or pair's values have different types; write num_returns<N>{} in place of dynamic or streaming
// expect 18: a task cannot return references; return values
// expect 19: a task's values are the range's elements, and these cannot be copied out of a view; return the container itself
#include <dyngen/dyngen.hpp>

#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace dg = dyngen;

dg::generator<int> count() {
  co_yield 1;
}
dg::tuple_generator<int, std::string> mixed() {
  co_yield 1;
  co_yield "two";
}
int one() { return 1; }
void nothing() {}
std::string text() { return "text"; }
std::tuple<int, std::string> tuple() { return {1, "two"}; }
std::pair<int, std::string> pair() { return {1, "two"}; }
std::tuple<int&, std::string> references(int& i) { return {i, "two"}; }
std::vector<std::unique_ptr<int>> owners() { return {}; }
std::span<std::unique_ptr<int>> borrowers() { return {}; }

template <class Pool>
void caller(Pool&& pool) {
  dg::ref<int> ready = dg::put(1);
  int number = 1;
  const auto twice = dg::options(dg::name{"inner"});

  auto list = pool.options(dg::dynamic, dg::all_or_nothing).submit(count);

  auto refs = pool.options(dg::num_returns{2}, dg::all_or_nothing).submit(count);

#if CASE == 13
  auto stream = pool.options(dg::all_or_nothing).submit(count);
#else
  auto stream = pool.options(dg::streaming, dg::backpressure{1}).submit(count);
  auto other = pool.options(dg::unbounded).submit(count);
#endif

#if CASE == 1
  auto result = pool.options(dg::backpressure{1}).submit(one);
#elif CASE == 2
  auto result = pool.options(dg::unbounded).submit(one);
#elif CASE == 3
  auto result = pool.options(dg::dynamic).submit(one);
#elif CASE == 4
  auto result = pool.options(dg::num_returns<1>{}).submit(one);
#elif CASE == 5
  auto result = pool.options(dg::streaming).submit(one);
#elif CASE == 6
  auto result = pool.options(dg::num_returns{1}).submit(nothing);
#elif CASE == 12
  auto result = pool.options(dg::all_or_nothing).submit(one);
#else
  auto result = pool.options(dg::name{"one"}, dg::after(ready, ready)).submit(one);
  auto again = pool.options(twice).submit(nothing);
  auto whole = pool.submit(tuple);
#endif

#if CASE == 7
  auto both = pool.options(dg::num_returns{2}).submit(tuple);
#elif CASE == 9
  auto both = pool.options(dg::num_returns<3>{}).submit(tuple);
#elif CASE == 10
  auto both = pool.options(dg::num_returns<1>{}).submit(pair);
#elif CASE == 16
  auto both = pool.options(dg::dynamic).submit(tuple);
#elif CASE == 17
  auto both = pool.options(dg::streaming, dg::backpressure{2}).submit(pair);
#elif CASE == 18
  auto both = pool.options(dg::num_returns<2>{}).submit(references, std::ref(number));
#else
  auto both = pool.options(dg::num_returns<2>{}).submit(tuple);
  auto two = pool.options(dg::num_returns<2>{}, dg::all_or_nothing).submit(pair);
#endif

#if CASE == 8
  auto each = pool.options(dg::num_returns{2}).submit(mixed);
#elif CASE == 11
  auto each = pool.options(dg::num_returns<3>{}).submit(mixed);
#elif CASE == 14
  auto each = pool.options(dg::dynamic).submit(mixed);
#elif CASE == 15
  auto each = pool.options(dg::backpressure{1}).submit(mixed);
#else
  auto each = pool.options(dg::num_returns<2>{}).submit(mixed);
#endif

#if CASE == 19
  auto pointers = pool.options(dg::dynamic).submit(borrowers);
#else
  auto pointers = pool.options(dg::dynamic).submit(owners);
#endif
  auto characters = pool.options(dg::dynamic).submit(text);
  (void)number;
}

void callers(dg::thread_pool& pool) {
  caller(pool);
}
