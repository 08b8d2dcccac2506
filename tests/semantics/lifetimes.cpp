// SPDX-License-Identifier: MIT
// The rules S-MEM-5, S-MEM-7 and S-MEM-8: values that outlive their pool, what a task keeps alive and until when, and
// the places where the last ref to a value may be dropped.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <array>
#include <atomic>
#include <exception>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_lifetimes {

using support::boom;
using support::error_log;
using support::eventually;
using support::gate;
using support::holds;
using support::reporting_to;
using support::tracked;
using support::tracked_to;
using support::witness;

namespace {

/// A list whose elements hold refs to the next element.
struct node {
  dg::ref<node> next;
};

}  // namespace

// ---------------------------------------------------------------------------------------------- 5

TEST_CASE("values outlive their pool", "[memory][S-MEM-5]") {
  support::watchdog dog("memory: values outlive the pool");
  tracked::reset();
  {
    dg::ref<tracked> plain;
    dg::ref_list<tracked> list;
    std::array<dg::ref<tracked>, 2> fixed;
    {
      dg::thread_pool pool(2);
      plain = pool.submit([] { return tracked(7); });
      fixed = pool.options(dg::num_returns<2>{}).submit(tracked_to, 2);
      list = pool.options(dg::dynamic).submit(tracked_to, 100).get();
    }
    CHECK(plain.get().value == 7);
    CHECK(fixed[1].get().value == 1);
    CHECK(list.size() == 100u);
    CHECK(list[99].get().value == 99);
    CHECK(plain.completion().ready());
  }
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("a stream outlives its pool: stored values are readable, then cancelled_error, then the end",
          "[memory][S-MEM-5]") {
  support::watchdog dog("memory: stream outlives the pool");
  tracked::reset();
  {
    dg::ref_stream<tracked> stream;
    std::atomic<int> yielded{0};
    {
      dg::thread_pool pool(2);
      auto f = [&]() -> dg::generator<tracked> {
        for (int i = 0; i < 1000; ++i) {
          ++yielded;
          co_yield i;
        }
      };
      stream = pool.options(dg::backpressure{4}).submit(f);
      REQUIRE(eventually([&] { return yielded.load() == 4; }));
    }
    int readable = 0;
    bool cancelled = false;
    while (auto r = stream.next()) {
      REQUIRE_FALSE(cancelled);
      if (r->failed()) {
        cancelled = holds<dg::cancelled_error>(*r);
      } else {
        REQUIRE(r->get().value == readable);
        ++readable;
      }
    }
    CHECK(readable == 4);
    CHECK(cancelled);
    CHECK(stream.finished());
    CHECK(holds<dg::cancelled_error>(stream.completion()));
  }
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("unfinished refs hold cancelled_error once the pool is gone", "[memory][S-MEM-5]") {
  support::watchdog dog("memory: unfinished refs");
  dg::manual_executor outside;
  auto never = dg::on(outside).submit([] { return 1; });
  dg::ref<int> waiting;
  {
    dg::thread_pool pool(2);
    waiting = pool.options(dg::name{"unfinished"}).submit([](int v) { return v; }, never);
  }
  REQUIRE(waiting.ready());
  CHECK(holds<dg::cancelled_error>(waiting));
  CHECK_FALSE(waiting.cancel());
  outside.run_all();
  CHECK(never.get() == 1);
}

// ---------------------------------------------------------------------------------------------- 7

TEST_CASE("callable and arguments are destroyed when the task has ended, however long its result is held",
          "[memory][S-MEM-7]") {
  support::watchdog dog("memory: callable and arguments");
  tracked::reset();
  std::atomic<int> captures{0};
  dg::thread_pool pool(2);
  {
    auto f = [w = witness(captures)](const tracked& t) { return t.value; };
    auto plain = pool.submit(std::move(f), tracked(5));
    plain.completion().wait();
    CHECK(tracked::live.load() == 0);
    CHECK(plain.get() == 5);
  }
  CHECK(captures.load() == 0);
  auto g = [w = witness(captures)](tracked a, const tracked& b) -> dg::generator<int> {
    co_yield a.value;
    co_yield b.value;
  };
  CHECK(captures.load() == 1);
  auto fixed = pool.options(dg::num_returns<2>{}).submit(g, tracked(1), tracked(2));
  fixed[0].completion().wait();
  CHECK(captures.load() == 1);
  CHECK(tracked::live.load() == 0);
  auto outer = pool.options(dg::dynamic).submit(g, tracked(1), tracked(2));
  outer.wait();
  CHECK(captures.load() == 1);
  CHECK(tracked::live.load() == 0);
  CHECK(fixed[1].get() == 2);
  CHECK(outer.get()[0].get() == 1);
}

TEST_CASE("the refs that a task depends on are dropped when it has ended", "[memory][S-MEM-7]") {
  tracked::reset();
  dg::inline_executor here;
  auto input = dg::put(tracked(9));
  auto result = dg::on(here).submit([](const tracked& t) { return t.value; }, input);
  CHECK(tracked::live.load() == 1);
  input = {};
  CHECK(tracked::live.load() == 0);
  CHECK(result.get() == 9);
}

TEST_CASE("a task keeps the refs it depends on alive until it has run", "[memory][S-MEM-7]") {
  tracked::reset();
  dg::manual_executor later;
  auto input = dg::put(tracked(9));
  auto result = dg::on(later).submit([](const tracked& t) { return t.value; }, input);
  input = {};
  CHECK(tracked::live.load() == 1);
  later.run_all();
  CHECK(tracked::live.load() == 0);
  CHECK(result.get() == 9);
}

TEST_CASE("arguments of a failed, of a surplus and of a cancelled task are destroyed too", "[memory][S-MEM-7]") {
  support::watchdog dog("memory: arguments of tasks that went wrong");
  tracked::reset();
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  auto failed = pool.submit([](const tracked&) -> int { throw boom(); }, tracked(1));
  failed.wait();
  auto f = [](const tracked& t) -> dg::generator<int> {
    co_yield t.value;
    co_yield t.value;
  };
  auto surplus = pool.options(dg::num_returns<1>{}).submit(f, tracked(2));
  surplus[0].completion().wait();
  CHECK(tracked::live.load() == 0);
  auto stream = pool.options(dg::backpressure{1}).submit(f, tracked(3));
  auto end = stream.completion();
  CHECK(stream.next_value() == std::optional<int>(3));
  stream = {};
  end.wait();
  CHECK(tracked::live.load() == 0);
}

// ---------------------------------------------------------------------------------------------- 8

TEST_CASE("the last ref may be dropped in a value's destructor", "[memory][S-MEM-8]") {
  tracked::reset();
  struct holder {
    dg::ref<tracked> inner;
  };
  dg::inline_executor here;
  auto outer = dg::on(here).submit([] { return holder{dg::put(tracked(1))}; });
  CHECK(tracked::live.load() == 1);
  CHECK(outer.get().inner.get().value == 1);
  outer = {};
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("a long list of values that hold one another is dropped without recursion", "[memory][S-MEM-8][L-14]") {
  dg::ref<node> head;
  for (int i = 0; i < 200'000; ++i) {
    node n;
    n.next = std::move(head);
    head = dg::put(std::move(n));
  }
  head = {};
  CHECK_FALSE(head.valid());
}

TEST_CASE("the last ref may be dropped on another thread", "[memory][S-MEM-8]") {
  support::watchdog dog("memory: dropped elsewhere");
  tracked::reset();
  {
    dg::thread_pool pool(2);
    for (int i = 0; i < 200; ++i) {
      auto refs = pool.options(dg::num_returns<2>{}).submit(tracked_to, 2);
      std::thread other([r = std::move(refs[1])]() mutable { r = {}; });
      refs[0].wait();
      other.join();
    }
  }
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("the last ref may be dropped inside a task, also its own", "[memory][S-MEM-8]") {
  support::watchdog dog("memory: dropped inside a task");
  tracked::reset();
  {
    gate handed;
    dg::thread_pool pool(2);
    auto other = pool.submit([] { return tracked(1); });
    other.wait();
    pool.submit([](dg::ref<tracked> r) { r = {}; }, dg::unresolved(std::move(other))).get();
    other = {};
    CHECK(tracked::live.load() == 0);

    std::vector<dg::ref<tracked>> own;
    auto f = [&]() -> dg::generator<tracked> {
      handed.pass();
      co_yield 1;
      own.clear();  // the first one's last ref, and the second one's before it is yielded
      co_yield 2;
    };
    auto refs = pool.options(dg::num_returns{2}).submit(f);
    auto end = refs[0].completion();
    own = std::move(refs);
    handed.open();
    end.get();
    CHECK(tracked::live.load() == 0);
  }
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("the last ref may be dropped in the hook", "[memory][S-MEM-8]") {
  support::watchdog dog("memory: dropped in the hook");
  tracked::reset();
  std::array<dg::ref<tracked>, 1> refs;
  gate handed;
  dg::thread_pool_options options;
  options.threads = 1;
  options.on_unhandled_error = [&](std::exception_ptr, std::string_view) { refs[0] = {}; };
  {
    dg::thread_pool pool(options);
    auto f = [&]() -> dg::generator<tracked> {
      handed.pass();
      co_yield 1;
      throw boom();
    };
    auto given = pool.options(dg::num_returns<1>{}).submit(f);
    auto end = given[0].completion();
    refs[0] = std::move(given[0]);
    handed.open();
    end.wait();
    CHECK_FALSE(refs[0].valid());
    CHECK(tracked::live.load() == 0);
  }
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("a stream may be dropped inside another task", "[memory][S-MEM-8]") {
  support::watchdog dog("memory: stream dropped in a task");
  tracked::reset();
  {
    dg::thread_pool pool(1);
    auto stream = pool.options(dg::backpressure{2}).submit(tracked_to, 100);
    auto end = stream.completion();
    const int first = pool.submit(
                              [](dg::ref_stream<tracked> s) {
                                const auto v = s.next_value();
                                return v ? v->value : -1;
                              },
                              std::move(stream))
                          .get();
    CHECK(first == 0);
    end.wait();
  }
  CHECK(tracked::live.load() == 0);
}

}  // namespace test_lifetimes
