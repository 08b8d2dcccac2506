// SPDX-License-Identifier: MIT
// A shared object that uses a pool of another one: linked, or opened as a plugin.

#include "library.hpp"
#include "plain.hpp"

#include <chrono>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

#define EXPECT(condition) \
  if (!(condition)) return std::string(#condition) + " does not hold"

dg::generator<int> numbers(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}
int one_more(int n) { return n + 1; }
dg::task<int> coroutine(dg::ref<int> r) { co_return co_await r; }
dg::task<int> sum_of(dg::ref<int> a, dg::ref<int> b) {
  auto [x, y] = co_await dg::when_all(coroutine(a), coroutine(b));
  co_return x + y;
}

struct log {
  std::vector<int> seen;
  void add(int n) { seen.push_back(n); }
  std::vector<int> all() const { return seen; }
};

/// Blocks in a task until another task of the pool, however small that is, has fulfilled a promise.
int waits(dg::thread_pool& pool) {
  dg::promise<int> p;
  dg::ref<int> r = p.get_ref();
  pool.submit([q = std::move(p)]() mutable { q.set_value(41); });
  return one_more(r.get());
}

std::string use(dg::thread_pool& pool) {
  EXPECT(pool.submit(waits, std::ref(pool)).get() == 42);
  EXPECT(pool.options(dg::name{"named"}).submit([] { return dg::this_task::name(); }).get() == "named");
  EXPECT(pool.submit(sum_of, dg::put(1), pool.submit(one_more, 1)).get() == 3);

  long total = 0;
  for (int i = 0; i < 200; ++i) total += pool.submit(one_more, i).get();
  EXPECT(total == 20100);
  for (const int n : pool.submit(numbers, 20'000).values()) total += n;
  EXPECT(total == 20100 + 199'990'000);

  auto actor = pool.make_actor<log>();
  for (int i = 0; i < 50; ++i) actor.submit(&log::add, i);
  const std::vector<int> seen = actor.submit(&log::all).get();
  for (int i = 0; i < 50; ++i) EXPECT(seen.at(static_cast<std::size_t>(i)) == i);

  // An inline task that makes another one ready: that one runs behind it.
  dg::inline_executor here;
  dg::promise<int> p;
  dg::ref<int> later = dg::on(here).submit(one_more, p.get_ref());
  dg::on(here).submit([&p, &later] {
    p.set_value(1);
    if (later.ready()) throw std::logic_error("ran inside");
  }).get();
  EXPECT(later.get() == 2);

  dg::promise<void> gate;
  dg::ref<void> open = gate.get_ref();
  dg::ref<void> waiting = pool.options(dg::name{"waiting"}).submit([open] { open.wait(); });
  std::string seen_waiting;
  for (int i = 0; i < 5000 && seen_waiting.find("blocked") == std::string::npos; ++i) {
    seen_waiting = dg::describe(waiting);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::ostringstream dump;
  pool.dump(dump);
  gate.set_value();
  waiting.wait();
  EXPECT(seen_waiting.find("blocked until it has promise #") != std::string::npos);
  EXPECT(dump.str().find("'waiting', attempt 1: running, blocked until it has") != std::string::npos);
  return {};
}

std::string use_in_task(dg::thread_pool& pool) {
  EXPECT(dg::this_task::name() == "caller" && dg::this_task::attempt() == 1 && !dg::this_task::stop_requested());
  EXPECT(waits(pool) == 42);
  const std::uint64_t mine = dg::this_task::id();
  EXPECT(pool.submit([] { return dg::this_task::id(); }).get() != mine);
  return {};
}

void throw_cancelled() { throw dg::cancelled_error("thrown elsewhere"); }

dg::ref<std::string> text(dg::thread_pool& pool) {
  return pool.submit([] { return std::string(100, 'x'); });
}

std::uint64_t id(dg::thread_pool& pool) {
  return pool.submit([] { return dg::this_task::id(); }).get();
}

std::unique_ptr<dg::thread_pool> make_pool() { return std::make_unique<dg::thread_pool>(1); }

}  // namespace

const library_functions* library() {
  static const library_functions all{use, use_in_task, sum_of, throw_cancelled, text, id, make_pool};
  return &all;
}

const plain_functions* plain() {
  static std::string wrong;
  static const plain_functions all{
      [] { return static_cast<void*>(new dg::thread_pool(1)); },
      [](void* pool) {
        wrong = use(*static_cast<dg::thread_pool*>(pool));
        return wrong.c_str();
      },
      [](void* pool) { delete static_cast<dg::thread_pool*>(pool); },
  };
  return &all;
}
