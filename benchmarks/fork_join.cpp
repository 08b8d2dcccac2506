// SPDX-License-Identifier: MIT
// The cost of one call when a recursion consists of tasks that wait for their children: Fibonacci numbers, a tree of
// unbalanced depth, and the solutions of the eight queens puzzle. Times are per call (node of the tree of calls); no
// entry has a cut-off, so that only calls and waits are measured.
//
//   g++ -std=c++20 -O3 -pthread -Iinclude benchmarks/fork_join.cpp -o fork_join && ./fork_join
//   with peers: add -DDYNGEN_PEERS and -ltbb

#include "baselines.hpp"

#include <dyngen/dyngen.hpp>

#include <array>
#include <cstdint>
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

using bench::from_worker;
using bench::number;

const std::string plain = "plain recursion, one thread";
const std::string tbb_group = "tbb::task_group";
const std::string fork_and_call = "dyngen: submit one, call the other, co_await";

// ---- Fibonacci numbers: two children each, almost no work -----------------------------------------------------------

[[gnu::noinline]] number fib(number n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

// How many calls fib(n) makes, and the n that makes so many.
number calls_of_fib(number n) { return 2 * fib(n + 1) - 1; }
number fib_of(number calls) {
  number n = 0;
  while (calls_of_fib(n) < calls) ++n;
  return n;
}

// A thread for each second call.
number fib_async(number n) {
  if (n < 2) return n;
  std::future<number> left = std::async(std::launch::async, fib_async, n - 1);
  const number right = fib_async(n - 2);
  return left.get() + right;
}

#if defined(DYNGEN_PEERS)
number fib_tbb(number n) {
  if (n < 2) return n;
  number left = 0;
  tbb::task_group children;
  children.run([&left, n] { left = fib_tbb(n - 1); });
  const number right = fib_tbb(n - 2);
  children.wait();
  return left + right;
}
#endif

// Both children in parallel, one of them on this thread.
dg::task<number> fib_when_all(number n) {
  if (n < 2) co_return n;
  const auto [left, right] = co_await dg::when_all(fib_when_all(n - 1), fib_when_all(n - 2));
  co_return left + right;
}

dg::task<number> fib_submit(dg::thread_pool& pool, number n) {
  if (n < 2) co_return n;
  dg::ref<number> left = pool.submit(fib_submit, std::ref(pool), n - 1);
  const number right = co_await fib_submit(pool, n - 2);
  co_return co_await std::move(left) + right;
}

// No child is a task of its own: the cost of coroutines that could run in parallel but do not.
dg::task<number> fib_sequential(number n) {
  if (n < 2) co_return n;
  const number left = co_await fib_sequential(n - 1);
  co_return left + co_await fib_sequential(n - 2);
}

// Plain functions that block in get(): every wait runs the child, or blocks its thread.
number fib_blocking(dg::thread_pool& pool, number n) {
  if (n < 2) return n;
  const dg::ref<number> left = pool.submit(fib_blocking, std::ref(pool), n - 1);
  const number right = fib_blocking(pool, n - 2);
  return left.get() + right;
}

void add_fib(bench::suite& suite, dg::thread_pool& pool) {
  const number n = suite.pick(27, 22);
  const auto expected = [](number calls) { return fib(fib_of(calls)); };
  auto& group = suite.add({"fib(" + std::to_string(n) + ")", "ns/call", plain, calls_of_fib(n), expected});
  const std::vector<bench::goal> goals = {bench::at_most(1, tbb_group), bench::at_most(28)};

  group.add(plain, expected);
  group.add("std::async(std::launch::async), fib(12)", [](number calls) { return fib_async(fib_of(calls)); },
            {.operations = calls_of_fib(12)});
#if defined(DYNGEN_PEERS)
  group.add(tbb_group, [](number calls) { return fib_tbb(fib_of(calls)); });
#endif
  group.add("dyngen: co_await of one child after the other, no parallel task",
            [&](number calls) { return from_worker(pool.submit(fib_sequential, fib_of(calls))); });
  group.add("dyngen: when_all of both children",
            [&](number calls) { return from_worker(pool.submit(fib_when_all, fib_of(calls))); }, {.goals = goals});
  group.add(fork_and_call,
            [&](number calls) { return from_worker(pool.submit(fib_submit, std::ref(pool), fib_of(calls))); },
            {.goals = goals});
  group.add("dyngen: submit one, call the other, get(), plain functions",
            [&](number calls) { return from_worker(pool.submit(fib_blocking, std::ref(pool), fib_of(calls))); });
}

// ---- a tree of unbalanced depth -------------------------------------------------------------------------------------

// A node has up to four children, each of which lies 1 to 4 levels nearer to the bottom: some branches end at once,
// others go all the way down, and no node knows how large its subtrees are. All follows from the seed.
struct node {
  std::uint64_t seed;
  int height;

  int children() const { return height <= 0 ? 0 : static_cast<int>(1 + bench::work(seed) % 4); }
  node child(int i) const {
    const std::uint64_t mixed = bench::work(seed * 31 + static_cast<std::uint64_t>(i) + 1);
    return {mixed, height - 1 - static_cast<int>(mixed % 4)};
  }
};

constexpr std::uint64_t root_seed = 0x9E37'79B9'7F4A'7C15u;

[[gnu::noinline]] number count(node at) {
  number nodes = 1;
  for (int i = 0; i < at.children(); ++i) nodes += count(at.child(i));
  return nodes;
}

#if defined(DYNGEN_PEERS)
number count_tbb(node at) {
  std::array<number, 4> below{};
  tbb::task_group children;
  const int n = at.children();
  for (int i = 0; i < n; ++i) {
    number& result = below[static_cast<unsigned>(i)];
    if (i + 1 < n)
      children.run([&result, next = at.child(i)] { result = count_tbb(next); });
    else
      result = count_tbb(at.child(i));
  }
  if (n > 0) children.wait();
  return 1 + below[0] + below[1] + below[2] + below[3];
}
#endif

dg::task<number> count_when_all(node at) {
  std::vector<dg::task<number>> children;
  for (int i = 0; i < at.children(); ++i) children.push_back(count_when_all(at.child(i)));
  number nodes = 1;
  if (children.empty()) co_return nodes;
  for (const number below : co_await dg::when_all(std::move(children))) nodes += below;
  co_return nodes;
}

// The last child is called, the others are tasks.
dg::task<number> count_submit(dg::thread_pool& pool, node at) {
  std::vector<dg::ref<number>> others;
  const int n = at.children();
  for (int i = 0; i + 1 < n; ++i) others.push_back(pool.submit(count_submit, std::ref(pool), at.child(i)));
  number nodes = 1;
  if (n > 0) nodes += co_await count_submit(pool, at.child(n - 1));
  for (dg::ref<number>& below : others) nodes += co_await std::move(below);
  co_return nodes;
}

void add_tree(bench::suite& suite, dg::thread_pool& pool) {
  const node root{root_seed, static_cast<int>(suite.pick(32, 24))};
  const number nodes = count(root);
  const auto expected = [root](number) { return count(root); };
  auto& group =
      suite.add({"a tree of unbalanced depth, " + std::to_string(nodes) + " nodes", "ns/call", plain, nodes, expected});
  group.add(plain, expected);
#if defined(DYNGEN_PEERS)
  group.add(tbb_group, [root](number) { return count_tbb(root); });
#endif
  group.add("dyngen: when_all of a range of children",
            [&pool, root](number) { return from_worker(pool.submit(count_when_all, root)); },
            {.goals = {bench::at_most(1, tbb_group)}});
  group.add(fork_and_call,
            [&pool, root](number) { return from_worker(pool.submit(count_submit, std::ref(pool), root)); },
            {.goals = {bench::at_most(1, tbb_group)}});
}

// ---- eight queens ---------------------------------------------------------------------------------------------------

// Bits of the columns and of both diagonals that are taken, seen from the next row.
struct board {
  static constexpr unsigned all = 0xFF;
  unsigned columns = 0, falling = 0, rising = 0;

  bool complete() const { return columns == all; }
  unsigned free() const { return ~(columns | falling | rising) & all; }
  board with(unsigned queen) const { return {columns | queen, ((falling | queen) << 1) & all, (rising | queen) >> 1}; }
};

// Calls `f` with the board for each place in the next row.
template <class F>
void for_each_place(board b, F f) {
  for (unsigned free = b.free(); free != 0; free &= free - 1) f(b.with(free & (0 - free)));
}

[[gnu::noinline]] number solutions(board b) {
  if (b.complete()) return 1;
  number sum = 0;
  for_each_place(b, [&](board next) { sum += solutions(next); });
  return sum;
}

number boards_below(board b) {
  number boards = 1;
  if (!b.complete()) for_each_place(b, [&](board next) { boards += boards_below(next); });
  return boards;
}

#if defined(DYNGEN_PEERS)
number solutions_tbb(board b) {
  if (b.complete()) return 1;
  std::array<number, 8> below{};
  std::size_t n = 0;
  tbb::task_group children;
  for_each_place(b, [&](board next) { children.run([&result = below[n++], next] { result = solutions_tbb(next); }); });
  if (n > 0) children.wait();
  number sum = 0;
  for (const number result : below) sum += result;
  return sum;
}
#endif

dg::task<number> solutions_when_all(board b) {
  if (b.complete()) co_return 1;
  std::vector<dg::task<number>> children;
  for_each_place(b, [&](board next) { children.push_back(solutions_when_all(next)); });
  number sum = 0;
  if (children.empty()) co_return sum;
  for (const number below : co_await dg::when_all(std::move(children))) sum += below;
  co_return sum;
}

dg::task<number> solutions_submit(dg::thread_pool& pool, board b) {
  if (b.complete()) co_return 1;
  std::vector<dg::ref<number>> children;
  for_each_place(b, [&](board next) { children.push_back(pool.submit(solutions_submit, std::ref(pool), next)); });
  number sum = 0;
  for (dg::ref<number>& below : children) sum += co_await std::move(below);
  co_return sum;
}

void add_queens(bench::suite& suite, dg::thread_pool& pool) {
  const number boards = boards_below({});
  const auto expected = [](number) { return number{92}; };
  auto& group = suite.add({"eight queens, " + std::to_string(boards) + " boards", "ns/call", plain, boards, expected});
  const auto repeat = suite.pick(100, 20);
  const std::vector<bench::goal> goals = {bench::at_most(1, tbb_group)};
  group.add(plain, [](number) { return solutions({}); }, {.repeat = repeat});
#if defined(DYNGEN_PEERS)
  group.add(tbb_group, [](number) { return solutions_tbb({}); }, {.repeat = repeat});
#endif
  group.add("dyngen: when_all of a range of children",
            [&pool](number) { return from_worker(pool.submit(solutions_when_all, board{})); },
            {.repeat = repeat, .goals = goals});
  group.add("dyngen: submit all, co_await each",
            [&pool](number) { return from_worker(pool.submit(solutions_submit, std::ref(pool), board{})); },
            {.repeat = repeat, .goals = goals});
}

}  // namespace

int main(int argc, char** argv) {
  bench::suite suite("fork_join", argc, argv);
  dg::thread_pool pool;
  add_fib(suite, pool);
  add_tree(suite, pool);
  add_queens(suite, pool);
  return suite.run();
}
