// SPDX-License-Identifier: MIT
// Cancelling a task that is queued, waits, runs or has ended, by a ref, by the free function, by dropping a stream.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_cancelling {

namespace {

using support::count_to;
using support::is_cancelled;
using namespace std::chrono_literals;

/// Records that it was destroyed, and on which thread; locks a mutex in its destructor if it has one.
struct witness {
  std::atomic<int>* gone;
  std::mutex* wanted = nullptr;
  std::thread::id* where = nullptr;
  witness(std::atomic<int>* g, std::mutex* m = nullptr, std::thread::id* w = nullptr) : gone(g), wanted(m), where(w) {}
  witness(witness&& other) noexcept
      : gone(std::exchange(other.gone, nullptr)), wanted(other.wanted), where(other.where) {}
  witness(const witness&) = delete;
  witness& operator=(const witness&) = delete;
  ~witness() {
    if (!gone) return;
    if (wanted) wanted->lock();
    if (where) *where = std::this_thread::get_id();
    if (wanted) wanted->unlock();
    ++*gone;
  }
};

}  // namespace

TEST_CASE("a queued task that is cancelled never runs", "[cancel][S-CANCEL-1]") {
  support::watchdog dog("cancel in the queue");
  dg::manual_executor manual;
  std::atomic<int> ran{0};
  dg::ref<int> plain = dg::on(manual).submit([&] { return ++ran; });
  dg::ref<int> by_function = dg::on(manual).submit([&] { return ++ran; });
  auto fixed = dg::on(manual).options(dg::num_returns<2>{}).submit([&]() -> dg::generator<int> {
    ++ran;
    co_yield 1;
    co_yield 2;
  });
  auto stream = dg::on(manual).submit([&]() -> dg::generator<int> {
    ++ran;
    co_yield 1;
  });
  CHECK(plain.cancel());
  CHECK(dg::cancel(by_function));
  CHECK(fixed[1].cancel());
  CHECK(stream.cancel());
  manual.run_all();

  CHECK(ran == 0);
  REQUIRE(plain.ready());
  CHECK(is_cancelled(plain.error()));
  CHECK(is_cancelled(plain.completion().error()));
  CHECK_THROWS_AS(by_function.get(), dg::cancelled_error);
  for (auto& each : fixed) {
    REQUIRE(each.ready());
    CHECK(is_cancelled(each.error()));
  }
  auto item = stream.next();
  REQUIRE(item.has_value());
  CHECK(is_cancelled(item->error()));
  CHECK_FALSE(stream.next().has_value());
  CHECK(stream.finished());
}

TEST_CASE("on a pool a queued task that is cancelled never runs", "[cancel][S-CANCEL-1]") {
  support::watchdog dog("cancel in a pool's queue");
  support::gate busy;
  std::atomic<int> ran{0};
  dg::thread_pool pool(1);
  dg::ref<void> keeps = pool.submit([&] { busy.pass(); });
  std::vector<dg::ref<void>> refs;
  // A task earlier in the queue is still cancelled when the worker reaches it; its neighbours run.
  for (int i = 0; i < 100; ++i) refs.push_back(pool.submit([&] { ++ran; }));
  for (std::size_t i = 0; i < refs.size(); i += 2) CHECK(refs[i].cancel());
  busy.open();
  for (std::size_t i = 0; i < refs.size(); ++i) {
    refs[i].wait();
    CHECK(is_cancelled(refs[i].error()) == (i % 2 == 0));
  }
  keeps.get();
  CHECK(ran == 50);
}

TEST_CASE("a task that waits for its arguments is cancelled before they are ready", "[cancel][S-CANCEL-1]") {
  support::watchdog dog("cancel while waiting for arguments");
  dg::manual_executor never, manual;
  support::tracked::reset();
  std::atomic<int> ran{0};
  dg::ref<int> outside = dg::on(never).submit([] { return 1; });
  dg::ref<int> waits = dg::on(manual).submit(
      [&ran, kept = support::tracked(1)](int value) { return ran += value + kept.value; }, outside);
  dg::ref<int> after = dg::on(manual).options(dg::after(outside)).submit([&ran] { return ++ran; });
  CHECK(waits.cancel());
  CHECK(after.cancel());
  manual.run_all();
  REQUIRE(waits.wait_for(10s));
  REQUIRE(after.wait_for(10s));
  CHECK(is_cancelled(waits.error()));
  CHECK(is_cancelled(after.error()));
  CHECK(support::tracked::live == 0);

  never.run_all();
  manual.run_all();
  CHECK(outside.get() == 1);
  CHECK(ran == 0);
  CHECK(is_cancelled(waits.error()));
}

TEST_CASE("on a pool a waiting task is cancelled without its arguments", "[cancel][S-CANCEL-1]") {
  support::watchdog dog("cancel while waiting on a pool");
  dg::manual_executor never;
  dg::thread_pool pool(1);
  dg::ref<int> outside = dg::on(never).submit([] { return 1; });
  dg::ref<int> waits = pool.submit([](int value) { return value; }, outside);
  CHECK(waits.cancel());
  CHECK_THROWS_AS(waits.get(), dg::cancelled_error);
}

TEST_CASE("a running generator is cancelled at its next yield", "[cancel][S-CANCEL-2]") {
  support::watchdog dog("cancel while running");
  support::gate running, cancelled;
  std::atomic<int> steps{0}, gone{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto refs = pool.options(dg::num_returns<3>{}).submit([&]() -> dg::generator<int> {
    witness local(&gone);
    co_yield 1;
    running.open();
    cancelled.pass();
    ++steps;
    co_yield 2;
    ++steps;
    co_yield 3;
    ++steps;
  });
  running.pass();
  CHECK(refs[2].cancel());
  CHECK(gone == 0);
  cancelled.open();
  refs[2].wait();
  refs[2].completion().wait();
  CHECK(steps == 1);
  CHECK(gone == 1);
  // What was stored before stays readable.
  CHECK(refs[0].get() == 1);
  CHECK(is_cancelled(refs[1].error()));
  CHECK(is_cancelled(refs[2].error()));
  CHECK(is_cancelled(refs[0].completion().error()));
}

TEST_CASE("a running coroutine is cancelled at its next co_await, whatever it awaits", "[cancel][await][S-CANCEL-2]") {
  support::watchdog dog("cancel before each kind of co_await");
  struct bodies {
    struct given {
      std::atomic<int>* steps;
      dg::ref<void>* own;
      dg::ref<int> ready;
      dg::ref_stream<int>* stream;
    };
    static dg::task<int> counts(std::atomic<int>* steps) {
      ++*steps;
      co_return 1;
    }
    static dg::task<void> lvalue(given g) {
      g.own->cancel();
      co_await g.ready;
      ++*g.steps;
    }
    static dg::task<void> rvalue(given g) {
      g.own->cancel();
      co_await std::move(g.ready);
      ++*g.steps;
    }
    static dg::task<void> task(given g) {
      g.own->cancel();
      *g.steps += co_await counts(g.steps);
    }
    static dg::task<void> all(given g) {
      g.own->cancel();
      co_await dg::when_all(g.ready, counts(g.steps));
      ++*g.steps;
    }
    static dg::task<void> any(given g) {
      g.own->cancel();
      co_await dg::when_any(g.ready);
      ++*g.steps;
    }
    static dg::task<void> value(given g) {
      g.own->cancel();
      co_await g.stream->async_value();
      ++*g.steps;
    }
    static dg::task<void> item(given g) {
      g.own->cancel();
      co_await g.stream->async_next();
      ++*g.steps;
    }
    static dg::task<void> yields(given g) {
      g.own->cancel();
      co_await dg::this_task::yield();
      ++*g.steps;
    }
    static dg::task<void> nested(given g) {
      co_await lvalue(g);
      ++*g.steps;
    }
    static dg::task<void> catches(given g) {
      try {
        co_await nested(g);
      } catch (...) {
        ++*g.steps;  // a cancelled frame is destroyed, nothing is thrown into it
      }
      ++*g.steps;
    }
  };
  for (auto body : {&bodies::lvalue, &bodies::rvalue, &bodies::task, &bodies::all, &bodies::any, &bodies::value, &bodies::item,
                    &bodies::yields, &bodies::nested, &bodies::catches}) {
    dg::manual_executor manual;
    auto stream = dg::on(manual).submit(count_to, 3);
    manual.run_all();
    std::atomic<int> steps{0};
    dg::ref<void> own;
    own = dg::on(manual).submit(body, bodies::given{&steps, &own, dg::put(1), &stream});
    manual.run_all();
    REQUIRE(own.ready());
    CHECK(is_cancelled(own.error()));
    CHECK(steps == 0);
    CHECK(stream.next_value() == 0);  // nothing was taken
  }
}

TEST_CASE("a cancelled stream keeps its stored values, then holds cancelled_error", "[cancel][S-CANCEL-2]") {
  support::watchdog dog("cancel a stream");
  dg::manual_executor manual;
  std::atomic<int> gone{0};
  auto stream = dg::on(manual).options(dg::backpressure{3}).submit([&]() -> dg::generator<int> {
    witness local(&gone);
    for (int i = 0;; ++i) co_yield i;
  });
  manual.run_all();
  CHECK(stream.next_value() == std::optional<int>(0));
  CHECK(stream.cancel());
  manual.run_all();
  CHECK(gone == 1);
  CHECK(stream.next_value() == std::optional<int>(1));
  CHECK(stream.next_value() == std::optional<int>(2));
  CHECK_FALSE(stream.finished());
  CHECK_THROWS_AS(stream.next_value(), dg::cancelled_error);
  CHECK_FALSE(stream.next_value().has_value());
  CHECK(stream.finished());
  CHECK_FALSE(stream.cancel());
}

TEST_CASE("all_or_nothing fails every ref of a cancelled task", "[cancel][S-CANCEL-2][S-ARITY-5]") {
  support::watchdog dog("cancel all_or_nothing");
  support::gate running, cancelled;
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto refs = pool.options(dg::num_returns<2>{}, dg::all_or_nothing).submit([&]() -> dg::generator<int> {
    co_yield 1;
    running.open();
    cancelled.pass();
    co_yield 2;
  });
  running.pass();
  CHECK_FALSE(refs[0].ready());
  CHECK(refs[0].cancel());
  cancelled.open();
  CHECK_THROWS_AS(refs[0].get(), dg::cancelled_error);
  CHECK_THROWS_AS(refs[1].get(), dg::cancelled_error);
}

TEST_CASE("a plain function is not interrupted", "[cancel][S-CANCEL-3]") {
  support::watchdog dog("cancel a plain function");
  support::gate running, cancelled;
  std::atomic<bool> ended{false};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::ref<int> value = pool.submit([&] {
    running.open();
    cancelled.pass();
    ended = true;
    return 4;
  });
  running.pass();
  CHECK(value.cancel());
  CHECK_FALSE(value.ready());
  cancelled.open();
  value.wait();
  CHECK(ended);
}

TEST_CASE("a plain function may ask whether it should stop", "[cancel][S-CANCEL-3]") {
  support::watchdog dog("polling the stop request");
  support::gate running;
  std::atomic<bool> asked_too_early{false};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::ref<void> loops = pool.submit([&] {
    asked_too_early = dg::this_task::stop_requested();
    running.open();
    while (!dg::this_task::stop_requested()) std::this_thread::yield();
  });
  running.pass();
  CHECK(loops.cancel());
  loops.wait();
  CHECK_FALSE(asked_too_early);
}

TEST_CASE("cancelling an ended task has no effect", "[cancel][S-CANCEL-4]") {
  support::watchdog dog("cancel after the end");
  dg::thread_pool pool(1);
  dg::ref<int> value = pool.submit([] { return 1; });
  value.wait();
  CHECK_FALSE(value.cancel());
  CHECK_FALSE(dg::cancel(value));
  CHECK(value.get() == 1);

  dg::ref<int> failed = pool.submit([]() -> int { throw support::boom(); });
  failed.wait();
  CHECK_FALSE(failed.cancel());
  CHECK_THROWS_AS(failed.get(), support::boom);

  dg::manual_executor manual;
  dg::ref<int> twice = dg::on(manual).submit([] { return 1; });
  CHECK(twice.cancel());
  manual.run_all();
  CHECK_FALSE(twice.cancel());
}

TEST_CASE("of a cancel and the end of a task that race exactly one takes effect", "[cancel][S-CANCEL-4]") {
  support::watchdog dog("cancel against the end");
  dg::thread_pool pool(2);
  int wrong = 0;
  for (int round = 0; round < 3000; ++round) {
    std::atomic<bool> ran{false};
    dg::ref<int> value = pool.submit([&] {
      ran = true;
      return round;
    });
    for (int i = 0; i < round % 50; ++i) (void)value.ready();
    const bool asked = value.cancel();
    value.wait();
    if (is_cancelled(value.error())) {
      if (!asked) ++wrong;
      if (!is_cancelled(value.completion().error())) ++wrong;
    } else if (value.failed() || value.get() != round || !ran) {
      ++wrong;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("cancelling a generator that ends at the same time leaves a prefix of its values and one outcome",
          "[cancel][S-CANCEL-4][S-CANCEL-2]") {
  support::watchdog dog("cancel against a generator's end");
  dg::thread_pool pool(2);
  int wrong = 0;
  for (int round = 0; round < 1500; ++round) {
    auto stream = pool.submit(count_to, 20);
    if (round % 3 == 0) (void)stream.completion().wait_for(std::chrono::microseconds(round % 40));
    const bool asked = stream.cancel();
    int expected = 0;
    bool cancelled = false;
    while (auto item = stream.next()) {
      if (is_cancelled(item->error())) {
        cancelled = true;
        continue;
      }
      if (cancelled || item->get() != expected++) ++wrong;
    }
    if (cancelled && !asked) ++wrong;
    if (!cancelled && expected != 20) ++wrong;
    if (is_cancelled(stream.completion().error()) != cancelled) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("several threads that cancel one task agree", "[cancel][S-CANCEL-4]") {
  support::watchdog dog("many cancellers");
  dg::thread_pool pool(1);
  for (int round = 0; round < 200; ++round) {
    dg::ref<int> value = pool.submit([] { return 1; });
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([copy = value]() mutable { copy.cancel(); });
    for (auto& thread : threads) thread.join();
    value.wait();
    const bool one_or_the_other = is_cancelled(value.error()) || (!value.failed() && value.get() == 1);
    REQUIRE(one_or_the_other);
  }
}

TEST_CASE("cancelling a task fails its dependents", "[cancel][S-CANCEL-5]") {
  support::watchdog dog("cancel and dependents");
  dg::manual_executor manual;
  std::atomic<int> ran{0};
  dg::thread_pool pool(1);
  dg::ref<int> source = dg::on(manual).submit([] { return 1; });
  std::vector<dg::ref<int>> chain{source};
  for (int i = 0; i < 20; ++i)
    chain.push_back(pool.submit(
        [&](int value) {
          ++ran;
          return value;
        },
        chain.back()));
  auto list = pool.options(dg::dynamic).submit(count_to, source);
  CHECK(source.cancel());
  manual.run_all();
  for (auto& each : chain) CHECK_THROWS_AS(each.get(), dg::cancelled_error);
  CHECK_THROWS_AS(list.get(), dg::cancelled_error);
  CHECK(ran == 0);
}

TEST_CASE("cancelling a dependent does not affect the task that it depends on", "[cancel][S-CANCEL-5]") {
  support::watchdog dog("cancel of a dependent");
  dg::manual_executor manual;
  dg::ref<int> source = dg::on(manual).submit([] { return 1; });
  dg::ref<int> cancelled = dg::on(manual).submit([](int value) { return value; }, source);
  dg::ref<int> other = dg::on(manual).submit([](int value) { return value + 1; }, source);
  CHECK(cancelled.cancel());
  manual.run_all();
  CHECK(source.get() == 1);
  CHECK(other.get() == 2);
  CHECK_THROWS_AS(cancelled.get(), dg::cancelled_error);
}

TEST_CASE("dropping a stream runs no code of its task on the caller", "[cancel][S-CANCEL-8][L-13]") {
  support::watchdog dog("dropping under a mutex");
  dg::thread_pool pool(1);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> gone{0};
    std::atomic<bool> full{false};
    std::mutex mutex;
    std::thread::id where;
    std::optional<dg::ref_stream<int>> stream = pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
      witness local(&gone, &mutex, &where);
      full = true;
      co_yield 1;
      co_yield 2;
    });
    while (!full) std::this_thread::yield();
    dg::ref<void> completion = stream->completion();
    {
      // The local's destructor locks this mutex: run here, it would deadlock.
      std::lock_guard lock(mutex);
      stream.reset();
    }
    while (gone == 0) std::this_thread::yield();
    CHECK(where != std::this_thread::get_id());
    CHECK(support::eventually([&] { return completion.ready(); }));
    CHECK(is_cancelled(completion.error()));
  }
}

TEST_CASE("cancel runs no code of the task on the caller", "[cancel][S-CANCEL-8][L-13]") {
  support::watchdog dog("cancel under a mutex");
  dg::thread_pool pool(1);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> gone{0};
    std::atomic<bool> full{false};
    std::mutex mutex;
    std::thread::id where;
    auto stream = pool.options(dg::backpressure{1}).submit([&]() -> dg::generator<int> {
      witness local(&gone, &mutex, &where);
      full = true;
      co_yield 1;
      co_yield 2;
    });
    while (!full) std::this_thread::yield();
    {
      std::lock_guard lock(mutex);
      stream.cancel();
    }
    while (gone == 0) std::this_thread::yield();
    CHECK(where != std::this_thread::get_id());
  }
}

TEST_CASE("whatever a task waits for, the thread that cancels it runs none of its destructors",
          "[cancel][S-CANCEL-8][L-13]") {
  support::watchdog dog("cancel of everything under a mutex");
  dg::thread_pool pool(1);
  dg::promise<int> never;
  const dg::ref<int> outside = never.get_ref();
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> gone{0};
    std::mutex mutex;
    std::stop_source source;
    support::gate busy;
    auto blocker = pool.submit([&] { busy.pass(); });
    const auto with = pool.options(dg::stop_on(source.get_token()));
    const auto local = [&] { return witness(&gone, &mutex); };
    auto waiting = pool.submit([w = local()](int) {}, outside);
    auto after = pool.options(dg::after(outside)).submit([w = local()] {});
    struct bodies {
      static dg::task<int> awaits(dg::ref<int> r, witness) { co_return co_await r; }
      static dg::task<int> any(dg::ref<int> r, witness) { co_return static_cast<int>(co_await dg::when_any(r)); }
      static dg::task<int> all(dg::ref<int> r, witness) { co_return std::get<0>(co_await dg::when_all(r)); }
      static dg::generator<int> yields(dg::ref<int> r, witness) {
        co_yield 1;
        co_yield co_await r;
      }
    };
    auto awaiting = pool.submit(bodies::awaits, dg::unresolved(outside), local());
    auto any = pool.submit(bodies::any, dg::unresolved(outside), local());
    auto all = pool.submit(bodies::all, dg::unresolved(outside), local());
    auto stream = pool.submit(bodies::yields, dg::unresolved(outside), local());
    auto by_token = with.submit(bodies::awaits, dg::unresolved(outside), local());
    if (round % 2 == 0) {  // let them begin
      busy.open();
      CHECK(stream.next_value() == 1);
      blocker.get();
    }
    auto still_busy = pool.submit([&] { busy.pass(); });
    auto queued = pool.submit([w = local()] {});
    {
      std::lock_guard lock(mutex);
      waiting.cancel();
      after.cancel();
      awaiting.cancel();
      any.cancel();
      all.cancel();
      stream = {};
      queued.cancel();
      source.request_stop();
    }
    busy.open();
    CHECK(support::eventually([&] { return gone == 8; }));
    CHECK_THROWS_AS(awaiting.get(), dg::cancelled_error);
    CHECK_THROWS_AS(by_token.get(), dg::cancelled_error);
    // `queued` may have run already.
    still_busy.get();
  }
}

TEST_CASE("a suspended frame is destroyed on its executor, stored values at once", "[cancel][S-CANCEL-8][L-13]") {
  support::watchdog dog("threads that destroy");
  support::tracked::reset();
  dg::manual_executor manual;
  std::atomic<int> gone{0};
  std::optional<dg::ref_stream<support::tracked>> stream =
      dg::on(manual).options(dg::backpressure{5}).submit([&]() -> dg::generator<support::tracked> {
        witness local(&gone);
        for (int i = 0;; ++i) co_yield i;
      });
  manual.run_all();
  REQUIRE(support::tracked::live == 5);
  stream.reset();
  CHECK(support::tracked::live == 0);
  CHECK(gone == 0);
  manual.run_all();
  CHECK(gone == 1);
}

TEST_CASE("a suspended task whose executor is gone is ended by the thread that cancels or wakes it",
          "[cancel][L-13][S-STOP-5]") {
  support::watchdog dog("tasks without an executor");
  struct bodies {
    static dg::task<int> awaits(dg::ref<int> r, witness) { co_return co_await r; }
    static dg::generator<int> yields(dg::ref<int> r, witness) {
      co_yield 1;
      co_yield co_await r;
    }
  };
  dg::promise<int> later;
  std::atomic<int> gone{0};
  std::thread::id where;
  std::optional<dg::manual_executor> manual(std::in_place);
  const auto submit = [&] {
    return dg::on(*manual).submit(bodies::awaits, dg::unresolved(later.get_ref()), witness(&gone, nullptr, &where));
  };
  auto cancelled = submit();
  auto woken = submit();
  auto dropped = dg::on(*manual).submit(bodies::yields, dg::unresolved(later.get_ref()), witness(&gone, nullptr, &where));
  manual->run_all();
  manual.reset();
  CHECK_FALSE(cancelled.ready());  // it waits for something else
  CHECK(gone == 0);
  CHECK(cancelled.cancel());
  REQUIRE(cancelled.ready());
  CHECK(is_cancelled(cancelled.error()));
  CHECK(gone == 1);
  CHECK(where == std::this_thread::get_id());
  auto end = dropped.completion();
  dropped = {};
  REQUIRE(end.ready());
  CHECK(gone == 2);
  later.set_value(1);
  REQUIRE(woken.ready());
  CHECK(is_cancelled(woken.error()));
  CHECK(gone == 3);
}

TEST_CASE("the callable of a cancelled task is destroyed before completion is ready", "[cancel][S-CANCEL-1][S-MEM-7]") {
  support::watchdog dog("callable of a cancelled task");
  dg::manual_executor manual;
  support::tracked::reset();
  dg::ref<int> value = dg::on(manual).submit(
      [kept = support::tracked(1)](const support::tracked& a) { return kept.value + a.value; }, support::tracked(2));
  dg::ref<void> completion = value.completion();
  CHECK(support::tracked::live == 2);
  CHECK(value.cancel());
  manual.run_all();
  REQUIRE(completion.ready());
  CHECK(support::tracked::live == 0);
}

namespace {

struct disk_full : std::runtime_error {
  disk_full() : std::runtime_error("disk full") {}
};

/// The text of `error`: "disk full", "cancelled", "cancelled[disk full]", …, from the outer to the nested exception.
std::string layers(std::exception_ptr error) {
  if (!error) return "nothing";
  try {
    std::rethrow_exception(error);
  } catch (const dg::cancelled_error& e) {
    try {
      std::rethrow_if_nested(e);
    } catch (...) {
      return "cancelled[" + layers(std::current_exception()) + "]";
    }
    return "cancelled";
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "?";
  }
}

/// Opens `running`, waits until it may continue, and throws.
struct thrower {
  support::gate& running;
  support::gate& go;
  void operator()() const {
    running.open();
    go.pass();
    throw disk_full();
  }
};

dg::task<int> throws_inside(thrower t) {
  t();
  co_return 1;
}
dg::task<int> awaits_one_that_throws(thrower t) { co_return co_await throws_inside(t); }

dg::generator<int> yields_then_throws(thrower t) {
  co_yield 1;
  t();
  co_yield 2;
}

class broken_actor {
 public:
  int plain(thrower t) {
    t();
    return 1;
  }
  dg::task<int> coroutine(thrower t) {
    t();
    co_return 1;
  }
  dg::generator<int> values(thrower t) {
    co_yield 1;
    t();
  }
};

/// Submits by `submit(thrower)`, and cancels by `cancel(handle)` while the task runs and before it throws. Returns the
/// error of its completion.
template <class Submit, class Cancel>
std::string thrown_after_cancel(Submit submit, Cancel cancel) {
  support::gate running, go;
  auto handle = submit(thrower{running, go});
  running.pass();
  const dg::ref<void> end = cancel(handle);
  go.open();
  return layers(end.error());
}

}  // namespace

TEST_CASE("an exception that leaves a task after the request to stop is nested in cancelled_error",
          "[cancel][S-CANCEL-6][S-ERR-9]") {
  support::watchdog dog("exceptions after a cancel");
  std::atomic<int> reported{0};
  dg::thread_pool pool({.threads = 2, .waiters_help = false,
                        .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
  const auto by_handle = [](auto& handle) {
    CHECK(handle.cancel());
    return handle.completion();
  };
  const std::string expected = "cancelled[disk full]";
  const auto plain = [](thrower t) {
    t();
    return 1;
  };
  CHECK(thrown_after_cancel([&](thrower t) { return pool.submit(plain, t); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return pool.submit([t] { t(); }); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return pool.submit(awaits_one_that_throws, t); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return pool.submit(yields_then_throws, t); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return pool.options(dg::dynamic).submit(yields_then_throws, t); }, by_handle) ==
        expected);
  CHECK(thrown_after_cancel([&](thrower t) { return pool.options(dg::max_retries{9}).submit(plain, t); }, by_handle) ==
        expected);
  const auto first_of_array = [](auto& refs) {
    CHECK(refs[0].cancel());
    CHECK(refs[1].completion() == refs[0].completion());
    return refs[0].completion();
  };
  CHECK(thrown_after_cancel([&](thrower t) { return pool.options(dg::num_returns<2>{}).submit(yields_then_throws, t); },
                            first_of_array) == expected);
  CHECK(thrown_after_cancel(
            [&](thrower t) {
              return pool.options(dg::num_returns<2>{}).submit([t] {
                t();
                return std::pair(1, 2);
              });
            },
            [](auto& refs) {
              CHECK(std::get<0>(refs).cancel());
              return std::get<0>(refs).completion();
            }) == expected);
  const dg::actor<broken_actor> actor = pool.make_actor<broken_actor>();
  CHECK(thrown_after_cancel([&](thrower t) { return actor.submit(&broken_actor::plain, t); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return actor.submit(&broken_actor::coroutine, t); }, by_handle) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return actor.submit(&broken_actor::values, t); }, by_handle) == expected);
  // A stream that is dropped, and a stop token.
  const auto by_dropping = [](auto& stream) {
    dg::ref<void> end = stream.completion();
    { auto dropped = std::move(stream); }
    return end;
  };
  CHECK(thrown_after_cancel([&](thrower t) { return pool.submit(yields_then_throws, t); }, by_dropping) == expected);
  CHECK(thrown_after_cancel([&](thrower t) { return actor.submit(&broken_actor::values, t); }, by_dropping) == expected);
  std::stop_source source;
  CHECK(thrown_after_cancel([&](thrower t) { return pool.options(dg::stop_on(source.get_token())).submit(plain, t); },
                            [&](auto& ref) {
                              source.request_stop();
                              return ref.completion();
                            }) == expected);
  CHECK(reported == 0);
  const dg::pool_stats stats = pool.stats();
  CHECK(stats.failed == 0);
  CHECK(stats.cancelled == 14);
}

TEST_CASE("shutdown(cancel) asks running tasks to stop: an exception of one is nested in cancelled_error",
          "[cancel][S-CANCEL-6][S-STOP-2]") {
  support::watchdog dog("an exception after shutdown(cancel)");
  std::atomic<int> reported{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false,
                        .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
  support::gate running;
  const dg::ref<void> r = pool.submit([&] {
    running.open();
    while (!dg::this_task::stop_requested()) std::this_thread::yield();
    throw disk_full();
  });
  running.pass();
  pool.shutdown(dg::shutdown_mode::cancel);
  CHECK(layers(r.error()) == "cancelled[disk full]");
}

TEST_CASE("a task that returns after a request to stop keeps its values", "[cancel][S-CANCEL-6]") {
  support::watchdog dog("values after a cancel");
  dg::manual_executor manual;
  dg::ref<int> r;
  r = dg::on(manual).submit([&] {
    CHECK(r.cancel());
    return 4;
  });
  manual.run_all();
  CHECK(r.get() == 4);
  r = {};
}

TEST_CASE("a cancel after the exception has left the task says that it is too late",
          "[cancel][S-CANCEL-4][S-CANCEL-6]") {
  support::watchdog dog("a cancel after the exception");
  dg::manual_executor manual;
  dg::ref<int> r;
  std::atomic<int> cancels{0};
  struct cancels_at_its_end {
    dg::ref<int>* r;
    std::atomic<int>* cancels;
    bool armed = true;
    cancels_at_its_end(dg::ref<int>* ref, std::atomic<int>* count) : r(ref), cancels(count) {}
    cancels_at_its_end(cancels_at_its_end&& other) noexcept
        : r(other.r), cancels(other.cancels), armed(std::exchange(other.armed, false)) {}
    ~cancels_at_its_end() {
      if (armed) *cancels += r->cancel() ? 1 : 100;
    }
  };
  // Its argument is destroyed after the exception has left the task, and before its end is ready.
  r = dg::on(manual).submit([](const cancels_at_its_end&) -> int { throw disk_full(); }, cancels_at_its_end(&r, &cancels));
  manual.run_all();
  CHECK(cancels == 100);
  CHECK(layers(r.error()) == "disk full");
  r = {};
}

TEST_CASE("an exception and a cancel that race end in one of the two, and cancel() says which",
          "[cancel][S-CANCEL-4][S-CANCEL-6]") {
  support::watchdog dog("a cancel against an exception");
  dg::thread_pool pool(2);
  for (int round = 0; round < 2000; ++round) {
    std::atomic<bool> running{false};
    const dg::ref<void> r = pool.submit([&] {
      running = true;
      throw disk_full();
    });
    if (round % 2 != 0)
      while (!running) std::this_thread::yield();
    const bool in_time = r.cancel();
    const std::string outcome = layers(r.error());
    if (in_time)
      REQUIRE((outcome == "cancelled" || outcome == "cancelled[disk full]"));
    else
      REQUIRE(outcome == "disk full");
  }
}

TEST_CASE("a cancelled_error that leaves a task cancels it, whatever made the task throw it",
          "[cancel][S-CANCEL-6][S-RETRY-7]") {
  support::watchdog dog("a task that cancels itself");
  std::atomic<int> reported{0}, attempts{0};
  dg::thread_pool pool({.threads = 2, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
  const dg::ref<void> r = pool.options(dg::max_retries{5}).submit([&] {
    ++attempts;
    throw dg::cancelled_error();
  });
  CHECK(layers(r.error()) == "cancelled");
  CHECK(attempts == 1);
  (void)pool.submit([] { throw dg::cancelled_error("of its own"); });
  const dg::ref<int> coroutine = pool.submit([]() -> dg::task<int> {
    throw dg::cancelled_error("of its own");
    co_return 1;
  });
  coroutine.wait();
  CHECK(support::message_of([&] { coroutine.get(); }) == "of its own");
  pool.shutdown(dg::shutdown_mode::drain);
  CHECK(reported == 0);
  CHECK(pool.stats().cancelled == 3);
  CHECK(pool.stats().failed == 0);
}

TEST_CASE("throw_if_stop_requested throws once the task is asked to stop; outside a task it throws error",
          "[cancel][this_task][S-CANCEL-6][S-AWAIT-2]") {
  support::watchdog dog("throw_if_stop_requested");
  CHECK_THROWS_AS(dg::this_task::throw_if_stop_requested(), dg::error);
  CHECK(support::message_of([] { dg::this_task::throw_if_stop_requested(); }).find("runs no task") != std::string::npos);
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  support::gate running;
  std::atomic<bool> came_by{false};
  const dg::ref<void> r = pool.options(dg::name{"poller"}).submit([&] {
    dg::this_task::throw_if_stop_requested();
    came_by = true;
    running.open();
    for (;;) dg::this_task::throw_if_stop_requested();
  });
  running.pass();
  CHECK(r.cancel());
  CHECK(layers(r.error()) == "cancelled");
  CHECK(support::message_of([&] { r.get(); }).find("'poller'") != std::string::npos);
  CHECK(came_by);
  // In a generator the earlier values stay.
  dg::ref_stream<int> stream = pool.submit([]() -> dg::generator<int> {
    co_yield 1;
    for (;;) dg::this_task::throw_if_stop_requested();
  });
  CHECK(stream.next()->get() == 1);
  CHECK(stream.cancel());
  CHECK_THROWS_AS(stream.next_value(), dg::cancelled_error);
}

TEST_CASE("cancelling a task does not affect tasks that it has submitted, unless its stop token links them",
          "[cancel][S-CANCEL-10]") {
  support::watchdog dog("children of a cancelled task");
  dg::thread_pool pool(2);
  support::gate submitted, over;
  dg::promise<int> given;
  std::optional<dg::ref<int>> linked, free;
  auto parent = [&] {
    free = pool.submit([](int n) { return n; }, given.get_ref());
    linked = pool.options(dg::stop_on(dg::this_task::get_stop_token())).submit([](int n) { return n; }, given.get_ref());
    submitted.open();
    over.pass();
  };
  const dg::ref<void> r = pool.submit(parent);
  submitted.pass();
  CHECK(r.cancel());
  CHECK_THROWS_AS(linked->get(), dg::cancelled_error);
  CHECK_FALSE(free->ready());
  given.set_value(7);
  CHECK(free->get() == 7);
  over.open();
  r.get();
}

}  // namespace test_cancelling
