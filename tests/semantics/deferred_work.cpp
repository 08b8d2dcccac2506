// SPDX-License-Identifier: MIT
// Work that a thread defers (detail/base/thread_context.hpp): tasks made ready together, on executors that run work at
// once, and destructors that wait.

#include "../catch.hpp"
#include "probes.hpp"

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace test_deferred_work {

using support::boom;
using support::holds;

namespace {

using namespace std::chrono_literals;

/// Runs each work inside execute().
struct at_once {
  void execute(dg::work w) noexcept { w(); }
};
/// Runs each work on another thread inside execute(), which waits for that thread.
struct elsewhere {
  void execute(dg::work w) noexcept { std::thread([&w] { w(); }).join(); }
};
/// Hands each work to a manual_executor, and runs that inside execute().
struct by_hand {
  dg::manual_executor inner;
  void execute(dg::work w) noexcept {
    inner.execute(std::move(w));
    inner.run_all();
  }
};
/// Discards each work.
struct thrower {
  void execute(dg::work) noexcept {}
};

/// Calls a function when it is destroyed, once, however often it is moved.
class on_destruction {
 public:
  on_destruction() = default;
  explicit on_destruction(std::function<void()> f) : f_(std::move(f)) {}
  on_destruction(on_destruction&& o) noexcept : f_(std::exchange(o.f_, nullptr)) {}
  on_destruction& operator=(on_destruction&&) = delete;
  ~on_destruction() {
    if (f_) f_();
  }

 private:
  std::function<void()> f_;
};

/// A thread that waits for `r` in the library, and then calls a function.
class waiting_thread {
 public:
  template <class Ref, class Then>
  waiting_thread(Ref r, Then then)
      : thread_([this, r = std::move(r), then = std::move(then)] {
          begun_.open();
          r.wait();
          then();
        }) {
    begun_.pass();
  }
  ~waiting_thread() { thread_.join(); }

 private:
  support::gate begun_;
  std::thread thread_;
};

}  // namespace

// --- executors that run work at once ---

TEMPLATE_TEST_CASE("a task that runs inside execute may wait for another one that the same value makes ready",
                   "[executor][L-25]", at_once, elsewhere, by_hand) {
  support::watchdog dog("a dependent waits for a dependent");
  dg::thread_pool pool(2);
  TestType mine;
  dg::promise<int> p;
  const auto in = p.get_ref();
  dg::ref<int> second;
  auto first = dg::on(mine).submit([&](int x) { return x + second.get(); }, in);
  second = pool.submit([](int x) { return x + 1; }, in);
  p.set_value(1);
  CHECK(first.get() == 3);
}

TEMPLATE_TEST_CASE("a task that runs inside execute may submit inline and wait", "[executor][L-25]", at_once, elsewhere,
                   by_hand) {
  support::watchdog dog("an inline task inside a publication");
  TestType mine;
  dg::inline_executor inl;
  thrower throws_away;
  dg::promise<int> p;
  auto r = dg::on(mine).submit(
      [&](int x) {
        auto lost = dg::on(throws_away).submit([] { return 1; });
        if (!holds<dg::cancelled_error>(lost)) return -1;
        return dg::on(inl).submit([x] { return x + 1; }).get();
      },
      p.get_ref());
  p.set_value(1);
  CHECK(r.get() == 2);
}

TEMPLATE_TEST_CASE("a thread that waits for a value is woken before a task runs that the value makes ready",
                   "[executor][L-25]", at_once, elsewhere, by_hand) {
  support::watchdog dog("a waiting thread behind a dependent");
  TestType mine;
  for (int round = 0; round < 20; ++round) {
    dg::promise<int> p;
    dg::promise<void> q;
    const auto in = p.get_ref();
    auto seen = q.get_ref();
    auto first = dg::on(mine).submit(
        [&](int x) {
          seen.wait();
          return x;
        },
        in);
    {
      const waiting_thread other(in, [&] { q.set_value(); });
      p.set_value(1);
      CHECK(first.get() == 1);
    }
  }
}

TEST_CASE("tasks that run inside execute may wait for each other, in the order in which they became ready",
          "[executor][L-25][L-28]") {
  support::watchdog dog("dependents on one executor");
  at_once mine, other;
  dg::promise<int> p;
  const auto in = p.get_ref();
  dg::ref<int> second, third;
  auto first = dg::on(mine).submit([&](int x) { return x + second.get() + third.get(); }, in);
  second = dg::on(mine).submit([](int x) { return x + 1; }, in);
  third = dg::on(other).submit([](int x) { return x + 2; }, in);
  p.set_value(1);
  CHECK(first.get() == 6);
}

TEST_CASE("a publication inside a task that runs inside execute hands its tasks over before it returns",
          "[executor][L-25]") {
  support::watchdog dog("nested publications");
  at_once mine;
  dg::promise<int> p;
  const auto in = p.get_ref();
  std::vector<int> order;
  auto first = dg::on(mine).submit(
      [&](int) {
        dg::promise<int> q;
        auto nested = dg::on(mine).submit([&](int) { order.push_back(1); }, q.get_ref());
        q.set_value(1);
        order.push_back(2);  // after the nested task, as the executor runs that at once
      },
      in);
  auto second = dg::on(mine).submit([&](int) { order.push_back(3); }, in);  // not inside the first task
  p.set_value(1);
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("a dependent on the end of a task sees all its results, on an executor that runs at once",
          "[executor][L-25]") {
  support::watchdog dog("dependents of a task's end");
  at_once mine;
  dg::thread_pool pool(2);
  {
    // Two refs fail one after the other.
    auto refs = pool.options(dg::num_returns<2>{}).submit([]() -> dg::generator<int> { throw boom(); co_yield 1; });
    auto one = dg::on(mine).submit(
        [&](dg::ref<int> r) -> dg::task<int> {
          bool failed = false;
          try {
            (void)co_await r;
          } catch (const boom&) {
            failed = true;
          }
          co_return failed && holds<boom>(refs[1]) && holds<boom>(refs[1].completion()) ? 1 : 0;
        },
        dg::unresolved(refs[0]));
    CHECK(one.get() == 1);
  }
  {
    // The end of a stream comes after that of its task.
    support::gate go;
    auto values = pool.submit([&]() -> dg::generator<int> {
      go.pass();
      co_return;
    });
    std::optional<std::thread> consumer;
    dg::promise<void> ended;
    auto over = ended.get_ref();
    auto dependent = dg::on(mine).options(dg::after(values.completion())).submit([&] { over.wait(); });
    consumer.emplace([&] {
      (void)values.next_for(30s);
      ended.set_value();
    });
    go.open();
    CHECK(dependent.wait_for(30s));
    consumer->join();
  }
}

TEST_CASE("freed units of a budget are granted to all waiting producers before any of them runs",
          "[executor][L-25][L-9]") {
  support::watchdog dog("a budget on an executor that runs at once");
  at_once mine;
  struct sized {
    int n;
  };
  // Two streams wait for the budget. Units for both are freed at once; the first stream waits for the second.
  dg::budget room(10);
  dg::ref_stream<int> second;
  std::atomic<bool> waits{false};
  auto cost = [](const int& n) { return static_cast<std::uint64_t>(n); };
  auto full = dg::on(mine).options(dg::backpressure_by(room, cost)).submit([]() -> dg::generator<int> { co_yield 10; });
  std::optional<int> seen;
  auto first = dg::on(mine).options(dg::backpressure_by(room, cost)).submit([&]() -> dg::generator<int> {
    co_yield 1;
    co_yield 2;  // waits for the budget
    if (waits) seen = second.next_value();
    co_yield 1;
  });
  second = dg::on(mine).options(dg::backpressure_by(room, cost)).submit([]() -> dg::generator<int> {
    co_yield 1;
    co_yield 3;  // waits for the budget
  });
  CHECK(second.next_value() == 1);
  waits = true;
  CHECK(full.next_value() == 10);
  if (!seen) CHECK(first.next_value() == 1);
  while (first.next_value()) {
  }
  CHECK(seen == 3);
}

TEST_CASE("an actor's turn is handed on before a method runs, on an executor that runs at once",
          "[executor][actor][L-25]") {
  support::watchdog dog("an actor on an executor that runs at once");
  struct subject {
    dg::generator<int> endless() {
      for (int i = 0;; ++i) co_yield i;
    }
    int two() { return 2; }
  };
  at_once mine;
  auto a = dg::on(mine).make_actor<subject>();
  auto b = dg::on(mine).make_actor<subject>();
  auto values = a.options(dg::backpressure{1}).submit(&subject::endless);
  CHECK(values.next_value() == 0);
  // It begins when the stream is dropped, inside the end of the other method, and calls an actor that calls the first.
  auto next = a.submit([&](subject& self) {
    return self.two() + b.submit([](subject& s) { return s.two(); }).get();
  });
  { auto gone = std::move(values); }
  CHECK(next.get() == 4);
}

TEST_CASE("a dependent that fails is destroyed after all that failed with it are scheduled", "[executor][L-25]") {
  support::watchdog dog("destructors of dependents");
  at_once mine;
  dg::thread_pool pool(2);
  dg::promise<int> p;
  const auto in = p.get_ref();
  dg::ref<int> second;
  auto first = dg::on(mine).submit([](int, const on_destruction&) { return 1; }, in,
                                   on_destruction([&] { (void)second.error(); }));
  second = pool.submit([](int x) { return x; }, in);
  p.set_exception(std::make_exception_ptr(boom()));
  CHECK(holds<boom>(first));
  CHECK(holds<boom>(second));
}

TEST_CASE("an exception whose destructor waits is destroyed after the waiters of the same publication are woken",
          "[executor][L-25]") {
  support::watchdog dog("an exception in a list of waiters");
  // The waiter list of p holds the last reference to a dependent that ended with an exception long ago.
  dg::promise<void> woken;
  const auto seen = woken.get_ref();  // outlives the pool, whose worker may drop the exception last
  dg::thread_pool pool(1);
  dg::promise<int> p, q;
  const auto in = p.get_ref();
  struct waits_at_end : std::runtime_error {
    explicit waits_at_end(std::shared_ptr<on_destruction> d) : std::runtime_error("waits"), at_end(std::move(d)) {}
    std::shared_ptr<on_destruction> at_end;
  };
  {
    auto dependent = pool.submit([](int, int) { return 1; }, in, q.get_ref());
    q.set_exception(std::make_exception_ptr(waits_at_end(std::make_shared<on_destruction>([&] { seen.wait(); }))));
    dependent.wait();
  }
  const waiting_thread other(in, [&] { woken.set_value(); });
  p.set_value(1);
  SUCCEED();
}

// --- destructors that wait ---

TEST_CASE("a value's destructor may wait for the destructor of a value that it has dropped",
          "[memory][L-28][S-MEM-1]") {
  support::watchdog dog("nested destructors that wait");
  for (const int depth : {1, 15, 16, 17, 40}) {
    for (const bool by_library : {true, false}) {
      if (!by_library && depth > 14) continue;  // beyond this depth, only a wait that the library sees helps
      dg::promise<void> done;
      auto gone = done.get_ref();
      std::atomic<bool> flag{false};
      auto chain = dg::put(on_destruction([&] {
        flag = true;
        done.set_value();
      }));
      for (int i = 0; i < depth; ++i) {
        chain = dg::put(on_destruction([&, by_library, inner = std::make_shared<dg::ref<on_destruction>>(std::move(chain))] {
          *inner = {};
          if (by_library)
            gone.wait();
          else
            while (!flag) std::this_thread::yield();
        }));
      }
      chain = {};
      CHECK(flag);
    }
  }
}

TEST_CASE("every wait first runs the work that its thread has deferred", "[memory][L-28]") {
  support::watchdog dog("every wait in a destructor");
  dg::thread_pool pool(2);
  // Runs `wait(ref)` in a destructor nested so deeply that the value dropped before is deferred; its destructor fulfils
  // the ref.
  const auto deep = [&](auto wait) {
    dg::promise<int> done;
    const dg::ref<int> gone = done.get_ref();
    auto dropped = std::make_shared<dg::ref<on_destruction>>(dg::put(on_destruction([&] { done.set_value(1); })));
    bool good = false;
    auto chain = dg::put(on_destruction([&, dropped] {
      *dropped = {};
      good = wait(gone);
    }));
    for (int i = 0; i < 20; ++i)
      chain = dg::put(on_destruction([inner = std::make_shared<dg::ref<on_destruction>>(std::move(chain))] { *inner = {}; }));
    chain = {};
    return good;
  };
  dg::promise<int> other;
  const auto never = other.get_ref();
  CHECK(deep([](const dg::ref<int>& r) { return r.get() == 1; }));
  CHECK(deep([](const dg::ref<int>& r) { return r.wait_for(30s); }));
  CHECK(deep([](const dg::ref<int>& r) { return r.get_for(30s) == 1; }));
  CHECK(deep([&](const dg::ref<int>& r) { return dg::wait_any(never, r) == 1; }));
  CHECK(deep([&](const dg::ref<int>& r) { return dg::wait_any_for(30s, r, never) == 0; }));
  CHECK(deep([&](const dg::ref<int>& r) { return dg::wait(std::vector{never, r}).ready.size() == 1; }));
  CHECK(deep([&](const dg::ref<int>& r) { return dg::get(r, dg::put(2)) == std::tuple(1, 2); }));
  CHECK(deep([&](const dg::ref<int>& r) { return pool.submit([](int x) { return x; }, r).get() == 1; }));
  CHECK(deep([&](const dg::ref<int>& r) {
    auto values = pool.submit([r]() -> dg::generator<int> { co_yield r.get(); });
    return values.next_value() == 1;
  }));
  CHECK(deep([&](const dg::ref<int>& r) {
    dg::inline_executor inl;
    auto values = dg::on(inl).submit([](int x) -> dg::generator<int> { co_yield x; }, r);
    return values.next_for(30s)->get() == 1;
  }));
  CHECK(deep([&](const dg::ref<int>& r) {
    dg::thread_pool own(1);
    own.submit([r] { r.wait(); });
    own.shutdown(dg::shutdown_mode::drain);
    return true;
  }));
}

TEST_CASE("dropping a stream asks its task to stop before its values are destroyed", "[stream][L-28][S-STREAM-6]") {
  support::watchdog dog("a value waits for the end of the task of its stream");
  for (const bool detached : {false, true}) {
    dg::thread_pool pool(2);
    dg::ref<void> end;
    int destroyed = 0;
    auto s = pool.options(dg::backpressure{2}).submit([&]() -> dg::generator<on_destruction> {
      for (int i = 0; i < 2; ++i) {
        co_yield dg::emplace(std::function<void()>([&] {
          end.wait();
          ++destroyed;
        }));
      }
    });
    end = s.completion();
    REQUIRE(support::eventually([&] { return pool.stats().values_stored == 2; }));  // the stream is full
    if (detached)
      s.detach();
    else
      s = {};
    CHECK(destroyed == 2);
    CHECK(end.ready());
  }
}

TEST_CASE("the destructor of a value that its task leaves behind may wait for the end of the task", "[stream][L-28]") {
  support::watchdog dog("values that are swept by the task");
  dg::thread_pool pool(1);
  support::gate inside, go;
  std::atomic<int> waited{0};
  dg::ref<void> end;
  auto s = pool.submit([&]() -> dg::generator<on_destruction> {
    inside.open();
    go.pass();
    // The task has been cancelled: this value is not stored any more, or is destroyed by the task itself.
    co_yield dg::emplace(std::function<void()>([&] {
      end.wait();
      ++waited;
    }));
  });
  end = s.completion();
  inside.pass();
  s.detach();  // nothing to drop yet
  go.open();
  CHECK(end.wait_for(30s));
}

TEST_CASE("destructors of the values of a failed all_or_nothing may wait for the end of their task",
          "[L-28][S-ARITY-5]") {
  support::watchdog dog("staged values that wait");
  dg::thread_pool pool(1);
  for (const bool fails : {true, false}) {
    support::gate go;
    std::atomic<int> waited{0};
    dg::ref<void> end;
    {
      auto refs = pool.options(dg::num_returns<2>{}, dg::all_or_nothing).submit([&, fails]() -> dg::generator<on_destruction> {
        go.pass();
        for (int i = 0; i < 2; ++i) {
          co_yield dg::emplace(std::function<void()>([&] {
            end.wait();
            ++waited;
          }));
        }
        if (fails) throw boom();
      });
      end = refs[0].completion();
    }
    go.open();
    end.wait();
    CHECK(support::eventually([&] { return waited == 2; }));
  }
}

TEST_CASE("the hook may wait for a task that failed with the reported exception", "[executor][L-28]") {
  support::watchdog dog("a hook that waits");
  at_once mine;
  dg::ref<int> dependent;
  std::atomic<int> told{0};
  support::gate go;
  dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) {
                          if (dependent.valid()) dependent.wait();
                          ++told;
                        }});
  auto refs = pool.options(dg::num_returns<1>{}).submit([&]() -> dg::generator<int> {
    go.pass();
    co_yield 1;
    throw boom();  // no ref can hold it
  });
  dependent = dg::on(mine).submit([](int x) { return x; }, refs[0]);
  go.open();
  refs[0].completion().wait();
  CHECK(told == 1);
}

TEST_CASE("inline tasks that are queued behind another task also run in its timed waits", "[executor][L-28]") {
  support::watchdog dog("timed waits of inline tasks");
  dg::inline_executor inl;
  bool good = false;
  dg::on(inl)
      .submit([&] {
        auto behind = dg::on(inl).submit([] { return 1; });
        good = behind.wait_for(30s);
      })
      .get();
  CHECK(good);
}

}  // namespace test_deferred_work
