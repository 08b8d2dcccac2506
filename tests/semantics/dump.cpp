// SPDX-License-Identifier: MIT
// dump(): all tasks of a pool as text; and the text of stats().

#include "../catch.hpp"
#include "probes.hpp"
#include "task_texts.hpp"

#include <atomic>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace test_dump {

using support::awaited;
using support::awaits;
using support::count_to;
using support::counter;
using support::described;
using support::dumped;
using support::in_any_order;
using support::later;

TEST_CASE("a dump has a line for each task that has not ended, and counts those that are queued", "[dump]") {
  support::watchdog dog("dump: all");
  later x, y;
  dg::ref<int> waits, blocked, one, awaiting;
  std::vector<dg::ref<int>> queued;
  support::gate started, go;
  support::gate inside_started, inside_go;
  std::string from_inside;
  dg::thread_pool other(1);
  dg::thread_pool pool({.threads = 2, .name = "io"});
  CHECK(dumped(pool) == "pool 'io', 2 threads: 0 tasks that have not ended\n");
  auto stream = pool.options(dg::backpressure{1}, dg::name{"stream"}).submit(count_to, 3);
  awaiting = pool.options(dg::name{"awaiting"}).submit(awaits, x.ref);
  waits = pool.options(dg::name{"waiting"}).submit([](int n) { return n; }, awaiting);
  auto elsewhere = other.options(dg::name{"elsewhere"}).submit(awaits, x.ref);
  const std::string at_rest =
      "pool 'io', 2 threads: 3 tasks that have not ended\n"
      "  task # 'stream', attempt 1: suspended by backpressure, 1 value waits to be consumed\n"
      "  task # 'awaiting', attempt 1: awaiting promise #\n"
      "  task # 'waiting', attempt 1: waiting for task # 'awaiting'\n";
  CHECK(awaited([&] { return in_any_order(dumped(pool)); }, in_any_order(at_rest)) == in_any_order(at_rest));

  // Two tasks occupy both workers, one of them dumps its own pool, and others are queued.
  blocked = pool.options(dg::name{"busy"}).submit([&] {
    started.open();
    go.pass();
    return 1;
  });
  started.pass();
  one = pool.options(dg::name{"dumps"}).submit([&] {
    inside_started.open();
    inside_go.pass();
    from_inside = dumped(pool);
    return 2;
  });
  inside_started.pass();
  for (int i = 0; i < 3; ++i) queued.push_back(pool.submit([] { return 3; }));
  const std::string busy = in_any_order(
      "pool 'io', 2 threads: 8 tasks that have not ended\n"
      "  task # 'busy', attempt 1: running\n"
      "  task # 'dumps', attempt 1: running\n" +
      at_rest.substr(at_rest.find('\n') + 1) + "  and 3 more, queued\n");
  CHECK(in_any_order(dumped(pool)) == busy);
  inside_go.open();
  one.get();
  CHECK(in_any_order(from_inside) == busy);
  go.open();
  dg::get(queued);
  blocked.get();
  x.promise.set_value(1);
  waits.get();
  stream = {};
  elsewhere.get();
  const std::string empty = "pool 'io', 2 threads: 0 tasks that have not ended\n";
  CHECK(awaited([&] { return dumped(pool); }, empty) == empty);
}

TEST_CASE("a dump names a task that is run by the thread that waits for it", "[dump][S-WAIT-4]") {
  support::watchdog dog("dump: helped");
  support::gate worker_started, over, started, go;
  dg::thread_pool pool(1);
  auto busy = pool.options(dg::name{"busy"}).submit([&] {
    worker_started.open();
    over.pass();
  });
  worker_started.pass();
  std::thread outside([&] {
    pool.options(dg::name{"helped"})
        .submit([&] {
          started.open();
          go.pass();
        })
        .get();
  });
  started.pass();
  const std::string text = dumped(pool);
  CHECK(text.find("pool, 1 thread: 2 tasks that have not ended\n") == 0);
  CHECK(text.find("  task # 'busy', attempt 1: running\n") != std::string::npos);
  CHECK(text.find("  task # 'helped', attempt 1: running\n") != std::string::npos);
  go.open();
  outside.join();
  over.open();
  busy.get();
}

TEST_CASE("the dump of a closing pool says that it is closing", "[dump][S-STOP-2]") {
  support::watchdog dog("dump: closing");
  later x;
  dg::thread_pool pool(1);
  auto r = pool.options(dg::name{"last"}).submit(awaits, x.ref);
  const std::string open =
      "pool, 1 thread: 1 task that has not ended\n  task # 'last', attempt 1: awaiting promise #\n";
  CHECK(awaited([&] { return dumped(pool); }, open) == open);
  std::thread closes([&] { pool.shutdown(dg::shutdown_mode::drain); });
  const std::string draining =
      "pool, 1 thread, draining: 1 task that has not ended\n  task # 'last', attempt 1: awaiting promise #\n";
  CHECK(awaited([&] { return dumped(pool); }, draining) == draining);
  x.promise.set_value(1);
  closes.join();
  pool.shutdown(dg::shutdown_mode::cancel);
  CHECK(dumped(pool) == "pool, 1 thread, cancelling: 0 tasks that have not ended\n");
}

TEST_CASE("describe and dump keep nothing alive", "[describe][dump][S-MEM-4]") {
  support::watchdog dog("describe: memory");
  const long before = support::pieces_alive();
  {
    dg::thread_pool pool(1);
    later x;
    auto a = pool.make_actor<counter>();
    auto walk = a.options(dg::backpressure{1}).submit(&counter::walk, 5);
    auto call = a.submit(&counter::get);
    auto waiting = pool.submit([](int n) { return n; }, x.ref);
    auto awaiting = pool.submit(awaits, x.ref);
    auto blocked = pool.submit([r = x.ref] { return r.get(); });
    for (int i = 0; i < 10; ++i) {
      dumped(pool);
      described(walk), described(call), described(waiting), described(awaiting), described(blocked);
    }
    x.promise.set_value(1);
    dg::get(waiting, awaiting, blocked);
  }
  CHECK(support::pieces_alive() == before);
}

TEST_CASE("statistics are printed in one line, whose form is fixed", "[stats]") {
  support::watchdog dog("stats: text");
  const dg::pool_stats s{.submitted = 1,
                         .completed = 2,
                         .failed = 3,
                         .cancelled = 4,
                         .retried = 5,
                         .values_stored = 6,
                         .values_live = 7,
                         .values_peak = 8,
                         .steals = 9,
                         .parks = 10,
                         .spare_threads = 11};
  std::ostringstream os;
  os << s;
  CHECK(os.str() ==
        "submitted 1, completed 2, failed 3, cancelled 4, retried 5, values stored 6, live 7, peak 8, steals 9, "
        "parks 10, spare threads 11");
  std::wostringstream wide;
  wide << dg::pool_stats{};
  CHECK(wide.str() ==
        L"submitted 0, completed 0, failed 0, cancelled 0, retried 0, values stored 0, live 0, peak 0, "
        L"steals 0, parks 0, spare threads 0");
}

TEST_CASE("an observer that stops in the middle of its look delays no thread that needs other tasks", "[dump]") {
  support::watchdog dog("workers beside an observer that has stopped");
  dg::thread_pool pool(1);
  std::atomic<int> ran{0};
  const int watched = 0;
  {
    dg::detail::inspector::look looking(dg::detail::global_inspector());
    looking.at(&watched, [&]() noexcept {
      // None of these may wait for the observer: tasks that begin and end, and a thread that replaces a blocked one.
      for (int i = 0; i < 100; ++i) (void)pool.submit([&ran] { ++ran; });
      dg::promise<void> gate;
      auto waits = pool.submit([&ran, r = gate.get_ref()] {
        r.wait();
        ++ran;
      });
      auto opens = pool.submit([&gate] { gate.set_value(); });
      while (!waits.ready() || ran != 101) std::this_thread::yield();
    });
  }
  CHECK(ran == 101);
}

}  // namespace test_dump
