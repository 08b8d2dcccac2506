// SPDX-License-Identifier: MIT
// this_task: what a running task may ask about itself, and yield(). In every kind of task, in every function that it
// calls, and nowhere else.

#include "../catch.hpp"
#include "probes.hpp"

#include <atomic>
#include <cstdint>
#include <exception>
#include <latch>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace test_this_task {

using namespace std::chrono_literals;
using support::boom;

namespace {

/// All that this_task reports about the task whose code calls it.
struct seen {
  std::uint64_t id = 0;
  std::uint64_t attempt = 0;
  std::string name;
  bool stop_requested = false;
  friend bool operator==(const seen&, const seen&) = default;
};

seen look() {
  return {dg::this_task::id(), dg::this_task::attempt(), dg::this_task::name(), dg::this_task::stop_requested()};
}

/// A function several calls below the task's own.
seen look_from(int depth) { return depth == 0 ? look() : look_from(depth - 1); }

dg::task<seen> looks_nested() { co_return look_from(3); }
dg::generator<seen> looks_in_place() { co_yield look_from(3); }

}  // namespace

TEST_CASE("outside any task this_task throws", "[this_task][S-AWAIT-2]") {
  support::watchdog dog("this_task outside");
  CHECK_THROWS_AS(dg::this_task::stop_requested(), dg::error);
  CHECK_THROWS_AS(dg::this_task::get_stop_token(), dg::error);
  CHECK_THROWS_AS(dg::this_task::attempt(), dg::error);
  CHECK_THROWS_AS(dg::this_task::name(), dg::error);
  CHECK_THROWS_AS(dg::this_task::id(), dg::error);
  CHECK_THROWS_AS(dg::this_task::yield(), dg::error);
  CHECK(support::message_of([] { dg::this_task::id(); }).find("runs no task") != std::string::npos);
  // A generator that no task iterates is no task, nor is a thread that a task has started, nor one that has run tasks.
  CHECK_THROWS_AS(
      [] {
        for (const seen& s : looks_in_place()) static_cast<void>(s);
      }(),
      dg::error);
  dg::manual_executor manual;
  std::atomic<bool> threw{false};
  auto r = dg::on(manual).submit([&] {
    std::thread([&] {
      try {
        dg::this_task::id();
      } catch (const dg::error&) {
        threw = true;
      }
    }).join();
  });
  manual.run_all();
  r.get();
  CHECK(threw);
  CHECK_THROWS_AS(dg::this_task::id(), dg::error);
}

TEST_CASE("a co_await in a generator that is iterated in place blocks the iterating thread", "[generator][S-AWAIT-2]") {
  support::watchdog dog("co_await in place");
  struct body {
    static dg::task<int> doubled(dg::ref<int> r) { co_return 2 * co_await r; }
    static dg::generator<int> run(dg::ref<int> r, dg::ref_stream<int> s, std::thread::id* resumed_on) {
      co_yield co_await r;
      co_yield co_await doubled(r);
      while (auto v = co_await s.async_value()) co_yield *v;
      auto [a, b] = co_await dg::when_all(r, doubled(r));
      co_yield a + b;
      co_yield static_cast<int>(co_await dg::when_any(r, s));
      *resumed_on = std::this_thread::get_id();
    }
    static dg::generator<int> three() {
      for (int i = 0; i < 3; ++i) co_yield i;
    }
  };
  dg::promise<int> later;
  const dg::ref<int> stored_later = later.get_ref();
  dg::manual_executor manual;
  std::atomic<bool> over{false};
  std::thread elsewhere([&] {
    later.set_value(5);
    while (!over) {
      manual.run_all();
      std::this_thread::yield();
    }
  });
  std::thread::id resumed_on;
  std::vector<int> values;
  for (int v : body::run(stored_later, dg::on(manual).submit(body::three), &resumed_on)) values.push_back(v);
  over = true;
  elsewhere.join();
  CHECK(values == std::vector<int>{5, 10, 0, 1, 2, 15, 0});
  CHECK(resumed_on == std::this_thread::get_id());  // it ran only on this thread

  // A generator that a task iterates blocks too: the task's code waits, and on a pool of one thread other tasks run
  // meanwhile.
  dg::thread_pool pool(1);
  dg::promise<int> inside;
  auto waits = pool.submit(
      [](dg::ref<int> r, std::thread::id* on) {
        const auto before = std::this_thread::get_id();
        int sum = 0;
        for (int v : body::run(std::move(r), dg::ref_stream<int>(), on)) {
          sum += v;
          if (sum == 21) break;
        }
        return before == std::this_thread::get_id() ? sum : -1;
      },
      dg::unresolved(inside.get_ref()), &resumed_on);
  auto sets = pool.submit([&] { inside.set_value(7); });
  CHECK(waits.get() == 21);
  sets.get();
}

TEST_CASE("this_task reports about every kind of task, from any function that the task calls", "[this_task]") {
  support::watchdog dog("kinds of tasks");
  dg::thread_pool pool(2);
  const auto named = pool.options(dg::name{"me"});
  const auto is_me = [](const seen& s, std::uint64_t id) { return s == seen{id, 1, "me", false}; };

  auto function = named.submit([] { return look_from(2); });
  CHECK(is_me(function.get(), function.id().task));
  auto task = named.submit([]() -> dg::task<std::vector<seen>> {
    std::vector<seen> all(1, look());
    all.push_back(co_await looks_nested());
    for (const seen& s : looks_in_place()) all.push_back(s);
    co_await dg::this_task::yield();
    all.push_back(look());
    const auto parts = co_await dg::when_all(looks_nested());  // the last child runs in its parent's place
    all.push_back(std::get<0>(parts));
    co_return all;
  });
  CHECK(task.get().size() == 5);
  for (const seen& s : task.get()) CHECK(is_me(s, task.id().task));
  auto stream = named.submit([]() -> dg::generator<seen> {
    co_yield look();
    co_yield dg::elements_of(looks_in_place());
    co_yield co_await looks_nested();
  });
  const std::uint64_t stream_id = stream.id();
  int n = 0;
  for (const seen& s : stream.values()) {
    ++n;
    CHECK(is_me(s, stream_id));
  }
  CHECK(n == 3);
  auto [first, second] = named.submit([]() -> dg::tuple_generator<seen, int> {
    co_await dg::this_task::yield();
    co_yield look();
    co_yield 2;
  });
  CHECK(is_me(first.get(), first.id().task));
  CHECK(second.id().task == first.id().task);
  // A child of when_all that runs elsewhere is a task of its own.
  std::latch begun(1);
  auto child = [&](int i) -> dg::task<seen> {
    if (i == 0) begun.count_down();
    if (i == 2) begun.wait();  // in its parent's place: so another thread has run the first
    co_return look();
  };
  auto parent = named.submit([&]() -> dg::task<std::vector<seen>> {
    std::vector<dg::task<seen>> children;
    for (int i = 0; i < 3; ++i) children.push_back(child(i));
    co_return co_await dg::when_all(std::move(children));
  });
  const auto children = parent.get();
  CHECK(children[0].id != parent.id().task);
  CHECK(children[0].name.empty());
  CHECK(children[0].id != children[1].id);
  CHECK((is_me(children[1], parent.id().task) || children[1].name.empty()));
  CHECK(is_me(children[2], parent.id().task));
}

TEST_CASE("this_task works in constructors, destructors, predicates and hooks that a task calls", "[this_task]") {
  support::watchdog dog("this_task in corners");
  std::atomic<std::uint64_t> callable{0}, predicate{0}, hook{0}, cost{0};
  struct notes_end {
    std::atomic<std::uint64_t>* id;
    explicit notes_end(std::atomic<std::uint64_t>* i) : id(i) {}
    notes_end(notes_end&& other) noexcept : id(std::exchange(other.id, nullptr)) {}
    notes_end(const notes_end& other) = default;
    ~notes_end() {
      if (id != nullptr) *id = dg::this_task::id();
    }
  };
  dg::manual_executor manual;
  {
    auto r = dg::on(manual).submit([kept = notes_end(&callable)] { return kept.id != nullptr; });
    manual.run_all();
    CHECK(callable == r.id().task);
  }
  {
    auto r = dg::on(manual)
                 .options(dg::max_retries{1}, dg::retry_if([&](std::exception_ptr) {
                            predicate = dg::this_task::id();
                            return false;
                          }))
                 .submit([] { throw boom(); });
    manual.run_all();
    CHECK(predicate == r.id().task);
  }
  {
    auto s = dg::on(manual)
                 .options(dg::backpressure_by(dg::budget(10),
                                              [&](int) {
                                                cost = dg::this_task::id();
                                                return 1;
                                              }))
                 .submit([]() -> dg::generator<int> { co_yield 1; });
    manual.run_all();
    CHECK(cost == s.id());
  }
  {
    std::atomic<std::uint64_t> id{0};
    support::gate dropped;
    dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) {
                            hook = dg::this_task::id();
                          }});
    pool.submit([&] {
      id = dg::this_task::id();
      dropped.pass();  // there must be no handle
      throw boom();
    });
    dropped.open();
    pool.shutdown(dg::shutdown_mode::drain);
    CHECK(hook == id);
  }
  struct actor_type {
    std::atomic<std::uint64_t>* made;
    std::atomic<std::uint64_t>* gone;
    actor_type(std::atomic<std::uint64_t>* m, std::atomic<std::uint64_t>* g) : made(m), gone(g) {
      *made = dg::this_task::id();
    }
    ~actor_type() { *gone = dg::this_task::id(); }
    std::uint64_t method() { return dg::this_task::id(); }
  };
  {
    std::atomic<std::uint64_t> made{0}, gone{0};
    dg::thread_pool pool(1);
    auto a = pool.make_actor<actor_type>(&made, &gone);
    auto call = a.submit(&actor_type::method);
    CHECK(call.get() == call.id().task);
    CHECK(made != 0);
    CHECK(made != call.get());
    a = {};
    CHECK(support::eventually([&] { return gone != 0; }));
    CHECK(gone != made);
  }
}

TEST_CASE("this_task reports a task that another task's wait runs, and afterwards the waiting task again",
          "[this_task][L-6]") {
  support::watchdog dog("this_task and helping");
  dg::thread_pool pool(1);
  auto outer = pool.options(dg::name{"outer"}, dg::max_retries{1}).submit([&pool] {
    if (dg::this_task::attempt() == 1) throw boom();
    const seen before = look();
    auto inner = pool.options(dg::name{"inner"}).submit([] { return look(); });
    const seen during = inner.get();
    if (during != seen{inner.id().task, 1, "inner", false}) return seen();
    auto failing = pool.submit([]() -> int { throw boom(); });
    if (failing.error() == nullptr) return seen();
    return before == look() ? before : seen();
  });
  CHECK(outer.get() == seen{outer.id().task, 2, "outer", false});
}

TEST_CASE("a cancelled coroutine that keeps running sees the request, and so does its token",
          "[this_task][S-CANCEL-2][S-CANCEL-3]") {
  support::watchdog dog("stop_requested in coroutines");
  dg::manual_executor manual;
  dg::ref<int> own;
  std::vector<bool> said;
  auto body = [&]() -> dg::task<int> {
    const std::stop_token token = dg::this_task::get_stop_token();
    said = {dg::this_task::stop_requested(), token.stop_requested()};
    own.cancel();
    said.push_back(dg::this_task::stop_requested());
    said.push_back(token.stop_requested());
    co_await dg::this_task::yield();
    said.push_back(false);  // not reached
    co_return 1;
  };
  own = dg::on(manual).submit(body);
  manual.run_all();
  CHECK(support::holds<dg::cancelled_error>(own));
  CHECK(said == std::vector<bool>{false, false, true, true});
  own = {};
}

TEST_CASE("attempts count from 1, in every kind of task", "[this_task][S-RETRY-1]") {
  support::watchdog dog("attempt");
  dg::thread_pool pool(1);
  const auto twice = pool.options(dg::max_retries{1});
  CHECK(twice
            .submit([] {
              if (dg::this_task::attempt() < 2) throw boom();
              return dg::this_task::attempt();
            })
            .get() == 2);
  CHECK(twice
            .submit([]() -> dg::task<std::uint64_t> {
              if (dg::this_task::attempt() < 2) throw boom();
              co_await dg::this_task::yield();
              co_return dg::this_task::attempt();
            })
            .get() == 2);
  CHECK(pool.submit([] { return dg::this_task::attempt(); }).get() == 1);
}

TEST_CASE("a task that yields lets other tasks run, whichever thread runs it", "[this_task][L-18]") {
  support::watchdog dog("yield in all places");
  struct body {
    static dg::task<int> until(std::atomic<bool>* flag) {
      int n = 0;
      while (!*flag) {
        ++n;
        co_await dg::this_task::yield();
      }
      co_return n;
    }
    static dg::task<int> nested(std::atomic<bool>* flag) { co_return co_await until(flag); }
    static dg::generator<int> values(std::atomic<bool>* flag) {
      co_yield 1;
      co_yield co_await until(flag);
    }
  };
  SECTION("on a pool of one thread") {
    dg::thread_pool pool({.threads = 1, .waiters_help = false});
    for (int round = 0; round < 20; ++round) {
      std::atomic<bool> flag{false};
      auto a = pool.submit(body::until, &flag);
      auto b = pool.submit(body::nested, &flag);
      auto c = pool.options(dg::num_returns<2>{}).submit(body::values, &flag);
      pool.submit([&] { flag = true; });
      CHECK(a.get() >= 0);
      CHECK(b.get() >= 0);
      CHECK(c[1].get() >= 0);
    }
  }
  SECTION("run by the wait of the only worker") {
    dg::thread_pool pool(1);
    auto outer = pool.submit([&pool] {
      std::atomic<bool> flag{false};
      auto spins = pool.submit(body::until, &flag);
      auto sets = pool.submit([&] { flag = true; });
      spins.get();
      sets.get();
      return flag.load();
    });
    REQUIRE(outer.wait_for(60s));  // a timed wait does not run it here: the worker does
    CHECK(outer.get());
  }
  SECTION("run by a wait inside an inline task") {
    dg::inline_executor here;
    auto outer = dg::on(here).submit([&here] {
      std::atomic<bool> flag{false};
      auto spins = dg::on(here).submit(body::until, &flag);
      auto sets = dg::on(here).submit([&] { flag = true; });
      spins.get();
      sets.get();
      return flag.load();
    });
    CHECK(outer.get());
  }
}

TEST_CASE("an endless generator yields to work in the queue of a blocked worker", "[this_task][L-18]") {
  support::watchdog dog("work behind a blocked worker", 120);
  dg::thread_pool pool(1);
  auto outer = pool.submit([&pool] {
    std::atomic<bool> flag{false};
    auto endless = pool.options(dg::unbounded)
                       .submit(
                           [](std::atomic<bool>* f) -> dg::generator<int> {
                             while (!*f) co_yield 1;
                           },
                           &flag);
    auto end = endless.completion();
    std::move(endless).detach();
    auto sets = pool.submit([&] { flag = true; });
    // Timed waits run no task on this thread: a spare thread steals the tasks that this worker has queued, the
    // generator first.
    return sets.wait_for(30s) && end.wait_for(30s);
  });
  REQUIRE(outer.wait_for(60s));  // nor does this wait
  CHECK(outer.get());
}

}  // namespace test_this_task
