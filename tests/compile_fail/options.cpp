// SPDX-License-Identifier: MIT
// Options that do not fit each other.
// expect 1: backpressure, backpressure_by and unbounded are for streams; remove them, or write streaming in place of num_returns or dynamic
// expect 2: backpressure, backpressure_by and unbounded are for streams; remove them, or write streaming in place of num_returns or dynamic
// expect 3: all_or_nothing is for num_returns and dynamic; a stream delivers each value when it is yielded
// expect 4: num_returns, dynamic and streaming exclude each other; give one of them
// expect 5: num_returns, dynamic and streaming exclude each other; give one of them
// expect 6: backpressure, backpressure_by and unbounded exclude each other; give one of them
// expect 7: an option is given twice; give each option once (after takes several refs)
// expect 8: an option is given twice; give each option once (after takes several refs)
// expect 9: an option is given twice; give each option once (after takes several refs)
// expect 10: an option is given twice; give each option once (after takes several refs)
// expect 11: an option is given twice; give each option once (after takes several refs)
// expect 12: an option is given twice; give each option once (after takes several refs)
// expect 13: an option is given twice; give each option once (after takes several refs)
// expect 14: an option is given twice; give each option once (after takes several refs)
// expect 15: this is not an option; options are num_returns, dynamic, streaming, backpressure{n}, backpressure_by(budget, cost), unbounded, all_or_nothing, max_retries{n}, retry_if(predicate), stop_on(token), max_concurrency{n}, after(refs...), name{"..."} and packs made by options(...)
// expect 16: this is not an option; options are num_returns, dynamic, streaming, backpressure{n}, backpressure_by(budget, cost), unbounded, all_or_nothing, max_retries{n}, retry_if(predicate), stop_on(token), max_concurrency{n}, after(refs...), name{"..."} and packs made by options(...)
// expect 17: num_returns<N>: at most 2^31 values
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

#if CASE == 1
  auto list = pool.options(dg::dynamic, dg::backpressure{1}).submit(count);
#elif CASE == 5
  auto list = pool.options(dg::dynamic, dg::streaming).submit(count);
#elif CASE == 8
  auto list = pool.options(dg::dynamic, dg::dynamic).submit(count);
#else
  auto list = pool.options(dg::dynamic, dg::all_or_nothing).submit(count);
#endif

#if CASE == 2
  auto refs = pool.options(dg::num_returns{2}, dg::backpressure{1}).submit(count);
#elif CASE == 4
  auto refs = pool.options(dg::num_returns{2}, dg::streaming).submit(count);
#elif CASE == 7
  auto refs = pool.options(dg::num_returns{2}, dg::num_returns<2>{}).submit(count);
#elif CASE == 13
  auto refs = pool.options(dg::num_returns{2}, dg::all_or_nothing, dg::all_or_nothing).submit(count);
#elif CASE == 17
  auto refs = pool.options(dg::num_returns<(std::size_t{1} << 31) + 1>{}).submit(count);
#else
  auto refs = pool.options(dg::num_returns{2}, dg::all_or_nothing).submit(count);
#endif

#if CASE == 3
  auto stream = pool.options(dg::streaming, dg::all_or_nothing).submit(count);
#elif CASE == 6
  auto stream = pool.options(dg::unbounded, dg::backpressure{1}).submit(count);
#elif CASE == 9
  auto stream = pool.options(dg::streaming, dg::streaming).submit(count);
#elif CASE == 10
  auto stream = pool.options(dg::backpressure{1}, dg::backpressure{2}).submit(count);
#elif CASE == 11
  auto stream = pool.options(dg::unbounded, dg::unbounded).submit(count);
#else
  auto stream = pool.options(dg::streaming, dg::backpressure{1}).submit(count);
  auto other = pool.options(dg::unbounded).submit(count);
#endif

#if CASE == 12
  auto result = pool.options(dg::name{"one"}, twice).submit(one);
#elif CASE == 14
  auto result = pool.options(dg::after(ready), dg::after(ready)).submit(one);
#elif CASE == 15
  auto result = pool.options(2).submit(one);
#elif CASE == 16
  auto result = pool.options("one").submit(one);
#else
  auto result = pool.options(dg::name{"one"}, dg::after(ready, ready)).submit(one);
  auto again = pool.options(twice).submit(nothing);
  auto whole = pool.submit(tuple);
#endif

  auto both = pool.options(dg::num_returns<2>{}).submit(tuple);
  auto two = pool.options(dg::num_returns<2>{}, dg::all_or_nothing).submit(pair);

  auto each = pool.options(dg::num_returns<2>{}).submit(mixed);

  auto pointers = pool.options(dg::dynamic).submit(owners);
  auto characters = pool.options(dg::dynamic).submit(text);
  (void)number;
}

void callers(dg::thread_pool& pool) {
  caller(pool);
}
