// SPDX-License-Identifier: MIT
// A million awaits, and a million tasks that end because another one has: in a row, nested, and in a chain. All run on
// a stack of 256 KiB, by an executor of the calling thread, so that recursion would overflow it (S-AWAIT, S-WAIT-6,
// L-14).

#include "../catch.hpp"
#include "probes.hpp"
#include "small_stack.hpp"

#include <atomic>
#include <cstddef>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace test_depth {

using support::million;
using support::on_small_stack;

namespace {

/// Fewer steps where each takes longer: still far more than that stack could hold.
constexpr int many = 200'000;

dg::task<int> one() { co_return 1; }

dg::task<long> chain(long n) {
  if (n == 0) co_return 0;
  co_return 1 + co_await chain(n - 1);
}

dg::task<long> chain_to(long n, dg::ref<int> end) {
  if (n == 0) co_return co_await end;
  co_return 1 + co_await chain_to(n - 1, end);
}

dg::task<long> failing_chain(long n) {
  if (n == 0) throw support::boom("the innermost");
  co_return 1 + co_await failing_chain(n - 1);
}

dg::task<long> after_one(dg::ref<long> before) { co_return 1 + co_await before; }

dg::generator<int> endless() {
  for (;;) co_yield 1;
}

}  // namespace

TEST_CASE("a million awaits in a row take constant stack", "[await][L-14]") {
  support::watchdog dog("a million awaits in a row", 300);
  dg::manual_executor manual;
  const auto run = dg::on(manual);
  SECTION("of tasks") {
    auto r = run.submit([]() -> dg::task<long> {
      long sum = 0;
      for (int i = 0; i < million; ++i) sum += co_await one();
      co_return sum;
    });
    on_small_stack([&] { manual.run_all(); });
    CHECK(r.get() == million);
  }
  SECTION("of refs that are ready") {
    auto r = run.submit(
        [](dg::ref<int> in) -> dg::task<long> {
          long sum = 0;
          for (int i = 0; i < million; ++i) sum += co_await in;
          co_return sum;
        },
        dg::unresolved(dg::put(2)));
    on_small_stack([&] { manual.run_all(); });
    CHECK(r.get() == 2 * million);
  }
  SECTION("of refs that are not ready, and yields") {
    auto r = run.submit([run]() -> dg::task<long> {
      long sum = 0;
      for (int i = 0; i < many; ++i) {
        sum += co_await run.submit(one);
        co_await dg::this_task::yield();
      }
      co_return sum;
    });
    on_small_stack([&] { manual.run_all(); });
    CHECK(r.get() == many);
  }
  SECTION("of values of a stream, one at a time") {
    auto r = run.submit(
        [](dg::ref_stream<int> in) -> dg::task<long> {
          long sum = 0;
          while (sum < many) {
            const std::optional<int> v = co_await in.async_value();
            sum += *v;
          }
          co_return sum;
        },
        run.options(dg::backpressure{1}).submit(endless));
    on_small_stack([&] { manual.run_all(); });
    CHECK(r.get() == many);
  }
  SECTION("of when_all and when_any") {
    auto r = run.submit(
        [](dg::ref<int> in) -> dg::task<long> {
          long sum = 0;
          for (int i = 0; i < many; ++i) {
            auto [a, b] = co_await dg::when_all(in, one());
            const std::size_t first = co_await dg::when_any(in);
            sum += a + b + static_cast<long>(first);
          }
          co_return sum;
        },
        dg::unresolved(dg::put(2)));
    on_small_stack([&] { manual.run_all(); });
    CHECK(r.get() == 3 * many);
  }
  SECTION("in a generator that is iterated in place") {
    const auto values = [](dg::ref<int> in) -> dg::generator<int> {
      for (int i = 0; i < million; ++i) co_yield co_await in + co_await one();
    };
    long sum = 0;
    const dg::ref<int> in = dg::put(1);
    on_small_stack([&] {
      for (int v : values(in)) sum += v;
    });
    CHECK(sum == 2 * million);
  }
}

TEST_CASE("a million tasks, each awaiting the next in its place, take constant stack", "[await][L-14]") {
  support::watchdog dog("a million nested tasks", 300);
  dg::manual_executor manual;
  const auto run = dg::on(manual);
  SECTION("to their end") {
    auto r = run.submit(chain, long{million});
    on_small_stack([&] { manual.run_all(); });
    CHECK(r.get() == million);
  }
  SECTION("when the innermost throws") {
    auto r = run.submit(failing_chain, long{million});
    on_small_stack([&] { manual.run_all(); });
    CHECK(support::message_of([&] { r.get(); }) == "the innermost");
  }
  SECTION("when the innermost waits") {
    dg::promise<int> later;
    auto r = run.submit(chain_to, long{million}, dg::unresolved(later.get_ref()));
    on_small_stack([&] { manual.run_all(); });
    later.set_value(5);
    on_small_stack([&] { manual.run_all(); });
    CHECK(r.get() == million + 5);
  }
  SECTION("when they are cancelled there") {
    dg::promise<int> never;
    auto r = run.submit(chain_to, long{million}, dg::unresolved(never.get_ref()));
    on_small_stack([&] {
      manual.run_all();
      r.cancel();
      manual.run_all();
    });
    CHECK(support::holds<dg::cancelled_error>(r));
  }
}

TEST_CASE("a million submitted tasks, each awaiting the one before, take constant stack", "[await][L-14][S-WAIT-6]") {
  support::watchdog dog("a million tasks in a chain", 300);
  dg::promise<long> first;
  dg::ref<long> last = first.get_ref();
  SECTION("on an executor of the thread that runs them") {
    dg::manual_executor manual;
    for (int i = 0; i < million; ++i) last = dg::on(manual).submit(after_one, dg::unresolved(last));
    on_small_stack([&] {
      manual.run_all();
      first.set_value(1);
      manual.run_all();
    });
    CHECK(last.get() == million + 1);
  }
  SECTION("on the thread that makes them ready") {
    dg::inline_executor here;
    on_small_stack([&] {
      for (int i = 0; i < many; ++i) last = dg::on(here).submit(after_one, dg::unresolved(last));
      first.set_value(1);
    });
    CHECK(last.get() == many + 1);
  }
  SECTION("on a pool") {
    dg::thread_pool pool(2);
    for (int i = 0; i < many; ++i) last = pool.submit(after_one, dg::unresolved(last));
    first.set_value(1);
    CHECK(last.get() == many + 1);
  }
  SECTION("when the first one fails") {
    dg::manual_executor manual;
    for (int i = 0; i < many; ++i) last = dg::on(manual).submit(after_one, dg::unresolved(last));
    on_small_stack([&] {
      manual.run_all();
      first.set_exception(std::make_exception_ptr(support::boom("the first")));
      manual.run_all();
    });
    CHECK(support::message_of([&] { last.get(); }) == "the first");
  }
}

TEST_CASE("a million tasks, each submitting the next and awaiting it, take constant stack", "[await][L-14]") {
  support::watchdog dog("a million descendants", 300);
  struct body {
    static dg::task<long> on_manual(dg::manual_executor* manual, long n) {
      if (n == 0) co_return 0;
      co_return 1 + co_await dg::on(*manual).submit(on_manual, manual, n - 1);
    }
    static dg::task<long> on_this_thread(dg::inline_executor* here, long n) {
      if (n == 0) co_return 0;
      co_return 1 + co_await dg::on(*here).submit(on_this_thread, here, n - 1);
    }
  };
  SECTION("on an executor of the thread that runs them") {
    dg::manual_executor manual;
    auto r = dg::on(manual).submit(body::on_manual, &manual, long{million});
    on_small_stack([&] { manual.run_all(); });
    CHECK(r.get() == million);
  }
  SECTION("on the thread that makes them ready") {
    dg::inline_executor here;
    dg::ref<long> r;
    on_small_stack([&] { r = dg::on(here).submit(body::on_this_thread, &here, long{many}); });
    CHECK(r.get() == many);
  }
}

TEST_CASE("tasks that can no longer run end one after the other, also when each depends on the one before",
          "[stop][L-14][S-STOP-5]") {
  support::watchdog dog("tasks thrown away", 300);
  dg::promise<int> first;
  SECTION("by an executor that throws its work away") {
    struct {
      void execute(dg::work unwanted) noexcept { dg::work gone = std::move(unwanted); }
    } discards;
    dg::ref<int> last = first.get_ref();
    for (int i = 0; i < many; ++i) last = dg::on(discards).submit([](int v) { return v; }, last);
    on_small_stack([&] { first.set_value(1); });
    REQUIRE(last.ready());
    CHECK(support::holds<dg::cancelled_error>(last));
  }
  SECTION("by an executor that is destroyed") {
    std::optional<dg::manual_executor> manual(std::in_place);
    dg::ref<int> last = first.get_ref();
    for (int i = 0; i < many; ++i) last = dg::on(*manual).submit([](int v) { return v; }, last);
    first.set_value(1);
    on_small_stack([&] { manual.reset(); });
    REQUIRE(last.ready());
    CHECK(support::holds<dg::cancelled_error>(last));
  }
  SECTION("by an actor whose pool is gone") {
    struct adder {
      int add(int n) { return n + 1; }
    };
    std::optional<dg::thread_pool> pool(std::in_place, 1);
    auto a = pool->make_actor<adder>();
    pool.reset();
    dg::ref<int> last = first.get_ref();
    for (int i = 0; i < many; ++i) last = a.submit(&adder::add, last);
    on_small_stack([&] { first.set_value(1); });
    REQUIRE(last.ready());
    CHECK(support::holds<dg::actor_died>(last));
  }
}

TEST_CASE("a task that is thrown away while waiters are fired ends after all of them are fired",
          "[stop][S-STOP-5][L-4]") {
  support::watchdog dog("thrown away between waiters");
  // Its callable waits, when it is destroyed, for a task that the same value makes ready.
  struct {
    void execute(dg::work unwanted) noexcept { dg::work gone = std::move(unwanted); }
  } discards;
  struct waits_at_end {
    dg::ref<int>* other;
    bool* saw;
    explicit waits_at_end(dg::ref<int>* o, bool* s) : other(o), saw(s) {}
    waits_at_end(waits_at_end&& o) noexcept : other(std::exchange(o.other, nullptr)), saw(o.saw) {}
    ~waits_at_end() {
      if (other != nullptr) *saw = other->get() == 3;
    }
    void operator()(int) const {}
  };
  dg::thread_pool pool(1);
  dg::promise<int> value;
  dg::ref<int> beside;
  bool saw = false;
  auto unwanted = dg::on(discards).submit(waits_at_end(&beside, &saw), value.get_ref());
  beside = pool.submit([](int v) { return v; }, value.get_ref());
  value.set_value(3);
  CHECK(unwanted.ready());
  CHECK(saw);
}

}  // namespace test_depth
