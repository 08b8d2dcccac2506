// SPDX-License-Identifier: MIT
// Observer threads describe tasks, dump their pools and write their trace all the time, while many other threads run
// tasks: an observer reads nothing that another thread writes or frees meanwhile, and every task still ends.

#include "../catch.hpp"
#include "../support.hpp"

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_inspect {

namespace {

using support::count_to;

struct counter {
  int value = 0;
  int add(int n) { return value += n; }
  dg::generator<int> walk(int n) { return count_to(n); }
  dg::task<int> awaits(dg::ref<int> r) {
    const int n = co_await r;
    co_return value += n;
  }
};

struct pulling_mode_kept {
  const dg::detail::pulling before = dg::detail::pulling_mode.load();
  ~pulling_mode_kept() { dg::detail::pulling_mode = before; }
};

/// Refs that any thread may describe.
class board {
 public:
  void put_up(dg::ref<int> r) {
    std::lock_guard lock(mutex_);
    refs_[next_++ % refs_.size()] = std::move(r);
  }
  std::vector<dg::ref<int>> all() const {
    std::lock_guard lock(mutex_);
    return refs_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<dg::ref<int>> refs_ = std::vector<dg::ref<int>>(32);
  std::size_t next_ = 0;
};

/// One round of everything that a task can wait for. Returns the number of wrong results.
int work(dg::thread_pool& pool, const dg::actor<counter>& actor, board& seen, std::mt19937& random) {
  int wrong = 0;
  dg::promise<int> promise;
  dg::ref<int> value = promise.get_ref();
  const auto show = [&](const dg::ref<int>& r) { seen.put_up(r); };

  auto plain = pool.options(dg::name{"plain"}).submit([] { return 1; });
  auto waits = pool.options(dg::name{"waits"}).submit([](int a, int b) { return a + b; }, value, plain);
  auto awaits = pool.submit(
      [](dg::ref<int> a, dg::ref<int> b) -> dg::task<int> {
        const auto [x, y] = co_await dg::when_all(a, b);
        co_return x + y;
      },
      value, waits);
  auto blocks = pool.options(dg::name{"blocks"}).submit([waits, plain] { return waits.get() + plain.get(); });
  auto given_up = pool.submit([](dg::ref<int> r) -> dg::task<int> { co_return co_await r; }, dg::unresolved(value));
  auto called = actor.submit(&counter::awaits, dg::unresolved(value));
  auto call = actor.submit(&counter::add, 0);
  int attempts = 0;
  auto again = pool.options(dg::max_retries{3}).submit([&attempts] {
    if (++attempts < 3) throw support::boom();
    return attempts;
  });
  for (const auto& r : {plain, waits, awaits, blocks, given_up, called, call, again}) show(r);

  const int length = 1 + static_cast<int>(random() % 150);
  auto stream =
      pool.options(dg::backpressure{1 + static_cast<int>(random() % 20)}, dg::name{"stream"}).submit(count_to, length);
  auto method = actor.submit(&counter::walk, length);
  auto reader = pool.submit(
      [](dg::ref_stream<int> s) -> dg::task<int> {
        int n = 0;
        while (co_await s.async_value()) ++n;
        co_return n;
      },
      pool.options(dg::backpressure{2}).submit(count_to, length));
  show(reader);
  auto pair = pool.options(dg::num_returns{2}).submit(count_to, 2);
  show(pair[1]);

  int taken = 0;
  for (const int v : stream.values()) {
    if (v != taken++) ++wrong;
    if (taken % 10 == 0) wrong += dg::describe(stream).empty();
    if (taken == length / 2 && random() % 4 == 0) break;
  }
  if (random() % 2 == 0) given_up.cancel();
  if (random() % 2 == 0) std::this_thread::yield();
  promise.set_value(2);

  if (plain.get() != 1 || waits.get() != 3 || awaits.get() != 5 || blocks.get() != 4 || again.get() != 3) ++wrong;
  if (given_up.error() == nullptr && given_up.get() != 2) ++wrong;
  called.wait();
  call.wait();
  if (reader.get() != length || pair[1].get() != 1) ++wrong;
  int walked = 0;
  while (method.next()) ++walked;
  return walked == length ? wrong : wrong + 1;
}

}  // namespace

TEST_CASE("tasks are described and dumped all the time while they run", "[stress][describe][dump][trace]") {
  support::watchdog dog("stress: seeing", 300);
  const std::uint32_t seed = std::random_device{}();
  INFO("seed " << seed);
  const long before = support::pieces_alive();
  std::atomic<int> wrong{0}, bad_lines{0};
  std::atomic<long> lines{0}, written{0};
  struct setting {
    bool traced, pulled;
  };
  for (const auto [traced, pulled] : {setting{false, false}, setting{false, true}, setting{true, false}}) {
    const pulling_mode_kept kept;
    if (pulled) dg::detail::pulling_mode = dg::detail::pulling::whenever_possible;
    dg::trace trace(50'000);
    std::atomic<bool> over{false};
    board seen;
    dg::thread_pool pool({.threads = 3, .trace = traced ? &trace : nullptr});
    std::vector<std::thread> threads;
    // Observers.
    threads.emplace_back([&] {
      while (!over) {
        std::ostringstream os;
        pool.dump(os);
        std::istringstream is(os.str());
        for (std::string line; std::getline(is, line); ++lines)
          if (line.find("pool, 3 threads: ") != 0 && line.find("  task #") != 0 && line.find("  actor #") != 0 &&
              line.find("  constructor #") != 0 && line.find("  and ") != 0)
            ++bad_lines;
      }
    });
    threads.emplace_back([&] {
      while (!over)
        for (const dg::ref<int>& r : seen.all())
          if (r.valid() && dg::describe(r).find("task #") != 0) ++bad_lines;
    });
    threads.emplace_back([&] {
      while (!over) {
        std::ostringstream os;
        trace.write(os);
        if (os.str().size() < 100 || os.str().substr(os.str().size() - 4) != "\n]}\n") ++bad_lines;
        ++written;
        pool.stats();
        std::this_thread::yield();
      }
    });
    // Workers.
    std::vector<std::thread> workers;
    for (unsigned t = 0; t < 4; ++t)
      workers.emplace_back([&, t] {
        std::mt19937 random(seed + t);
        auto actor = pool.options(dg::name{"counter"}).make_actor<counter>();
        for (int round = 0; round < 25; ++round) wrong += work(pool, actor, seen, random);
      });
    for (std::thread& t : workers) t.join();
    over = true;
    for (std::thread& t : threads) t.join();
  }
  CHECK(wrong == 0);
  CHECK(bad_lines == 0);
  CHECK(lines > 0);
  CHECK(written > 0);
  CHECK(support::pieces_alive() == before);
}

}  // namespace test_inspect
