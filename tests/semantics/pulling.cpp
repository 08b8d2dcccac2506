// SPDX-License-Identifier: MIT
// Pull mode: the consumer of a stream runs the producer for one value at a time. Tested are the other threads that may
// need the producer to run, and that only the speed differs.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace test_pulling {

namespace {

using namespace std::chrono_literals;
using dg::detail::pulling;
using support::boom;
using support::eventually;

/// Sets whether consumers pull, whatever values cost.
class pulling_as {
 public:
  explicit pulling_as(pulling mode) { dg::detail::pulling_mode = mode; }
  pulling_as(const pulling_as&) = delete;
  pulling_as& operator=(const pulling_as&) = delete;
  ~pulling_as() { dg::detail::pulling_mode = before_; }

 private:
  const pulling before_ = dg::detail::pulling_mode;
};

/// Makes the monitor treat no reader as idle, however long this thread is interrupted. To be created before any pool.
class patient_monitor {
 public:
  patient_monitor() { dg::detail::reader_patience = 3'600'000; }
  patient_monitor(const patient_monitor&) = delete;
  patient_monitor& operator=(const patient_monitor&) = delete;
  ~patient_monitor() { dg::detail::reader_patience = 10; }
};

/// A pool whose only worker is busy, so that a thread that waits for a task runs it, and queued tasks stay queued until
/// then.
class busy_pool {
 public:
  busy_pool() { started_.pass(); }
  ~busy_pool() { let_work(); }
  void let_work() { over_.open(); }
  dg::thread_pool& operator*() { return *pool_; }
  dg::thread_pool* operator->() { return pool_.get(); }
  void close() {
    let_work();
    pool_.reset();
  }

 private:
  support::gate started_, over_;
  std::unique_ptr<dg::thread_pool> pool_ = std::make_unique<dg::thread_pool>(1);
  dg::ref<void> busy_ = pool_->submit([this] {
    started_.open();
    over_.pass();
  });
};

/// Counts what a producer has done.
struct progress {
  std::atomic<int> begun{0};  // values
  std::atomic<int> alive{0};  // frames
  std::atomic<int> ended{0};
  std::thread::id thread;
};

dg::generator<int> count(progress& p, int n) {
  const support::witness frame(p.alive);
  for (int i = 0; i < n; ++i) {
    ++p.begun;
    p.thread = std::this_thread::get_id();
    co_yield i;
  }
  ++p.ended;
}

/// A stream of a busy pool, pulled by the calling thread, which has taken the first `taken` values.
dg::ref_stream<int> held(busy_pool& pool, progress& p, int taken, int n = 1000) {
  dg::ref_stream<int> s = pool->submit(count, std::ref(p), n);
  for (int i = 0; i < taken; ++i) CHECK(s.next_value() == i);
  CHECK(p.begun == taken);
  return s;
}

/// How many values the producer makes when it runs ahead after `taken` values were taken.
constexpr int ahead(int taken) { return taken + 64; }

}  // namespace

TEST_CASE("a consumer in pull mode makes each value when it asks for it, and no other", "[pulling][S-STREAM-4]") {
  support::watchdog dog("pulled one by one");
  const patient_monitor patient;
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  SECTION("by values") {
    int i = 0;
    for (const int value : pool->submit(count, std::ref(p), 1000).values()) {
      CHECK(value == i++);
      CHECK(p.begun == i);
      CHECK(p.thread == std::this_thread::get_id());
      if (i == 10) pool.let_work();  // the worker is idle: the stream is kept
    }
    CHECK(i == 1000);
  }
  SECTION("by refs") {
    int i = 0;
    for (dg::ref<int> value : pool->submit(count, std::ref(p), 1000)) {
      CHECK(value.get() == i++);
      CHECK(p.begun == i);
      if (i == 10) pool.let_work();
    }
    CHECK(i == 1000);
  }
  SECTION("by a coroutine of the same pool") {
    dg::thread_pool one({.threads = 1, .waiters_help = false});  // the two take turns
    auto take = [&p](dg::ref_stream<int> s) -> dg::task<bool> {
      bool one_by_one = true;
      for (int i = 0; i < 1000; ++i) {
        const std::optional<int> value = co_await s.async_value();
        one_by_one = one_by_one && value == i;
        if (i >= 64) one_by_one = one_by_one && p.begun == i + 1;  // it may have run ahead first
      }
      co_return one_by_one && !co_await s.async_value();
    };
    CHECK(one.submit(take, one.options(dg::backpressure{64}).submit(count, std::ref(p), 1000)).get());
  }
  CHECK(p.ended == 1);
  CHECK(eventually([&] { return p.alive == 0; }));
}

TEST_CASE("a stream leaves pull mode and runs ahead whenever its consumer does anything but take a value",
          "[pulling][L-1]") {
  support::watchdog dog("other interest");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  dg::ref_stream<int> s = held(pool, p, 10);
  pool.let_work();
  SECTION("a look") { CHECK_FALSE(s.try_next()); }
  SECTION("the end") { CHECK_FALSE(s.finished()); }
  SECTION("a wait with a time limit") { CHECK(s.next_for(60s)->get() == 10); }
  SECTION("any of several") { CHECK(dg::wait_any(s) == 0); }
  SECTION("any of several, with a time limit") { CHECK(dg::wait_any_for(60s, s) == 0); }
  SECTION("its completion") { CHECK_FALSE(s.completion().ready()); }
  SECTION("a value's completion") {
    std::optional<dg::ref<int>> value = s.next();
    CHECK(p.begun == 11);
    CHECK_FALSE(value->completion().ready());
  }
  CHECK(eventually([&] { return p.begun >= ahead(10); }));
  s.detach();
  CHECK(eventually([&] { return p.ended == 1; }));
}

TEST_CASE("a stream that was told to run ahead is not pulled afterwards", "[pulling][L-1]") {
  support::watchdog dog("told before");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  dg::ref_stream<int> s = pool->submit(count, std::ref(p), 1000);
  SECTION("by a look at its end") { CHECK_FALSE(s.completion().ready()); }
  SECTION("by a wait with a time limit") { CHECK_THROWS_AS(s.next_for(1ms), dg::timeout_error); }
  for (int i = 0; i < 10; ++i) CHECK(s.next_value() == i);
  pool.let_work();
  CHECK(eventually([&] { return p.begun >= 20; }));
}

TEST_CASE("a consumer that is asked to leave pull mode while it runs the producer does so before it returns",
          "[pulling][L-1][L-7]") {
  support::watchdog dog("told meanwhile");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  dg::ref_stream<int> s;
  auto wants_its_end = [&](int n) -> dg::generator<int> {
    for (int i = 0; i < n; ++i) {
      ++p.begun;
      if (i == 10) CHECK_FALSE(s.completion().ready());
      co_yield i;
    }
  };
  s = pool->submit(wants_its_end, 1000);
  for (int i = 0; i <= 10; ++i) CHECK(s.next_value() == i);
  CHECK(p.begun == 11);
  pool.let_work();
  CHECK(eventually([&] { return p.begun >= ahead(10); }));
}

TEST_CASE("before a consumer waits for anything else, the stream runs ahead", "[pulling][L-1][L-8]") {
  support::watchdog dog("other waits");
  const pulling_as mode(pulling::whenever_possible);
  busy_pool pool;
  dg::promise<int> behind;
  dg::ref<int> wanted = behind.get_ref();
  auto yields_then_fulfils = [&behind]() -> dg::generator<int> {
    for (int i = 0; i < 5; ++i) co_yield i;
    behind.set_value(7);
    co_yield 5;
  };
  dg::ref_stream<int> s = pool->submit(yields_then_fulfils);
  for (int i = 0; i < 5; ++i) CHECK(s.next_value() == i);
  CHECK_FALSE(wanted.ready());
  pool.let_work();
  SECTION("a thread") { CHECK(wanted.get() == 7); }
  SECTION("another thread, to which the stream was moved") {
    int got = 0;
    std::jthread([&, mine = std::move(s)] { got = wanted.get(); }).join();
    CHECK(got == 7);
  }
  SECTION("another thread, which has taken values from it too") {
    int got = 0;
    auto six = [&wanted](dg::ref_stream<int>& from) -> int { return *from.next_value() + wanted.get(); };
    auto yields_later = [&behind]() -> dg::generator<int> {
      for (int i = 0; i < 6; ++i) co_yield i;
      behind.set_value(7);
    };
    s = {};
    behind = {};
    wanted = behind.get_ref();
    dg::ref_stream<int> t = pool->submit(yields_later);
    for (int i = 0; i < 5; ++i) CHECK(t.next_value() == i);
    std::jthread([&] { got = six(t); }).join();
    CHECK(got == 12);
  }
  SECTION("a thread that ends") {
    dg::ref_stream<int> other;
    std::jthread([&] {
      other = pool->submit(yields_then_fulfils);
      (void)other.next_value();
    }).join();
    other = {};
    CHECK(wanted.get() == 7);
  }
}

TEST_CASE("a consumer that waits, unseen, for an effect of the stream that it pulls gets it", "[pulling][L-1]") {
  support::watchdog dog("pull mode that expires");
  const pulling_as mode(pulling::whenever_possible);
  support::gate passed;
  const auto opens_at_ten = [&passed]() -> dg::generator<int> {
    for (int i = 0; i != 20; ++i) {
      if (i == 10) passed.open();
      co_yield i;
    }
  };
  SECTION("workers that sleep already, or not yet") {
    dg::thread_pool pool(2);
    if (GENERATE(false, true)) std::this_thread::sleep_for(5ms);  // likely; the models show that every order works
    int i = 0;
    for (const int value : pool.submit(opens_at_ten).values()) {
      CHECK(value == i++);
      if (i == 5) passed.pass();
    }
    CHECK(i == 20);
  }
  SECTION("more streams than one") {
    dg::thread_pool pool(2);
    std::vector<dg::ref_stream<int>> all;
    for (int i = 0; i != 100; ++i) all.push_back(pool.submit(opens_at_ten));
    for (dg::ref_stream<int>& s : all) CHECK(s.next_value() == 0);
    passed.pass();
    CHECK(eventually([&] { return pool.stats().values_stored == 2000; }));
  }
  SECTION("the worker that would find it runs a task that waits, unseen, for the same effect") {
    dg::thread_pool pool(2);
    dg::ref_stream<int> s = pool.submit(opens_at_ten);
    CHECK(s.next_value() == 0);
    std::this_thread::sleep_for(2ms);  // until a worker sleeps, and watches
    const dg::ref<void> other = pool.submit([&passed] { passed.pass(); });
    passed.pass();
    other.wait();
  }
  SECTION("the only worker waits, seen, and a spare one sleeps") {
    dg::thread_pool pool(1);
    {
      dg::promise<int> makes_a_spare;
      const dg::ref<int> blocked = pool.submit([r = makes_a_spare.get_ref()] { return r.get(); });
      CHECK(eventually([&] { return pool.stats().spare_threads == 1; }));
      makes_a_spare.set_value(1);
      CHECK(blocked.get() == 1);
    }
    support::gate begun, goes_on;
    dg::promise<int> given;
    const dg::ref<int> blocks = pool.submit([&, r = given.get_ref()] {
      begun.open();
      goes_on.pass();
      return r.get();
    });
    begun.pass();
    std::this_thread::sleep_for(5ms);  // until the other worker is asleep
    dg::ref_stream<int> s = pool.submit(opens_at_ten);
    CHECK(s.next_value() == 0);
    goes_on.open();
    passed.pass();
    given.set_value(1);
    CHECK(blocks.get() == 1);
  }
}

TEST_CASE("a pulled stream is cancelled by another thread", "[pulling][S-CANCEL-2][L-13]") {
  support::watchdog dog("cancelled from elsewhere");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  dg::ref_stream<int> s = held(pool, p, 10);
  std::optional<dg::ref<int>> value = s.next();
  pool.let_work();
  std::jthread([&] { CHECK_NOTHROW(value->cancel()); }).join();
  CHECK(eventually([&] { return p.alive == 0; }));
  CHECK(p.begun == 11);
  CHECK_THROWS_AS(s.next_value(), dg::cancelled_error);
  CHECK(s.finished());
  CHECK_FALSE(s.cancel());
}

TEST_CASE("a pulled stream is dropped", "[pulling][S-STREAM-6][L-13]") {
  support::watchdog dog("dropped");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  {
    dg::ref_stream<int> s = held(pool, p, 10);
    s = {};
    CHECK(p.alive == 1);  // none of its code runs here
  }
  pool.let_work();
  CHECK(eventually([&] { return p.alive == 0; }));
  CHECK(p.begun == 10);
  CHECK(p.ended == 0);
}

TEST_CASE("a pulled stream is detached, and runs to its end", "[pulling][S-STREAM-6]") {
  support::watchdog dog("detached while pulled");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  dg::ref_stream<int> s = held(pool, p, 3);
  s.detach();
  pool.let_work();
  CHECK(eventually([&] { return p.ended == 1; }));
  CHECK(p.begun == 1000);
}

TEST_CASE("the credit of the last pulled value is returned before the consumer waits", "[pulling][L-1][L-8]") {
  support::watchdog dog("pull mode that ends with a value");
  const pulling_as mode(pulling::whenever_possible);
  constexpr int room = 2, last = 40;
  struct stage {
    /// Reads another stream, which ends pull mode; fulfils the promise when its own stream is full again.
    static dg::generator<int> map(dg::ref_stream<int>& other, dg::promise<void>& full) {
      for (int i = 0; i < last + 20; ++i) {
        if (i == last) (void)other.next_value();
        co_yield i;
        if (i == last + room - 1) full.set_value();
      }
    }
    static dg::task<bool> read(dg::ref_stream<int> s, dg::ref<void> full) {
      bool right = true;
      for (int i = 0; i <= last; ++i) right = co_await s.async_value() == i && right;
      co_await full;
      co_return right;
    }
  };
  progress p;
  dg::inline_executor here;
  dg::ref_stream<int> other = dg::on(here).submit(count, std::ref(p), 30);
  dg::promise<void> full;
  dg::ref<void> filled = full.get_ref();
  dg::thread_pool pool(1);
  dg::ref_stream<int> s = pool.options(dg::backpressure{room}).submit(stage::map, std::ref(other), std::ref(full));
  SECTION("a coroutine") { CHECK(pool.submit(stage::read, std::move(s), dg::unresolved(filled)).get()); }
  SECTION("a thread") {
    int i = 0;
    for (const int value : s.values()) {
      CHECK(value == i++);
      if (value == last) break;
    }
    filled.get();
  }
}

TEST_CASE("a pool closes while a consumer pulls one of its streams", "[pulling][S-STOP-1][S-STOP-4][L-11]") {
  support::watchdog dog("closed while pulled");
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  busy_pool pool;
  SECTION("the values that fit the buffer are made") {
    dg::ref_stream<int> s = held(pool, p, 10, 20);
    pool.close();
    for (int i = 10; i < 20; ++i) CHECK(s.next_value() == i);
    CHECK_FALSE(s.next_value());
  }
  SECTION("a task that needs more than the buffer is cancelled") {
    dg::ref_stream<int> s = held(pool, p, 10, 1000);
    pool.close();
    CHECK(p.begun == ahead(10));
    for (int i = 10; i < ahead(10); ++i) CHECK(s.next_value() == i);
    CHECK_THROWS_AS(s.next_value(), dg::cancelled_error);
  }
  SECTION("by another thread, and the thread that pulled it does not return") {
    dg::ref_stream<int> s = held(pool, p, 10, 20);
    std::jthread([&] { pool.close(); }).join();
    CHECK(p.ended == 1);
    for (int i = 10; i < 20; ++i) CHECK(s.next_value() == i);
  }
  SECTION("all tasks are cancelled") {
    dg::ref_stream<int> s = held(pool, p, 10, 1000);
    pool.let_work();
    pool->shutdown(dg::shutdown_mode::cancel);
    CHECK_THROWS_AS(s.next_value(), dg::cancelled_error);
  }
  CHECK(p.alive == 0);
}

TEST_CASE("a pulled task that closes its own pool makes the other streams leave pull mode, whatever it does next",
          "[pulling][S-STOP-1][L-11]") {
  support::watchdog dog("ends its pool while it is pulled");
  const patient_monitor patient;
  const pulling_as mode(pulling::whenever_possible);
  progress p;
  dg::ref_stream<int> s, ends;
  support::gate started, over, parked;
  bool let_go = false;
  std::jthread other;
  {
    auto pool = std::make_shared<dg::thread_pool>(1);
    pool->submit([&] {
      started.open();
      over.pass();
    });
    started.pass();
    s = pool->submit(count, std::ref(p), 20);
    for (int i = 0; i < 10; ++i) CHECK(s.next_value() == i);
    support::gate held;
    ends = pool->submit([&, owner = pool]() mutable -> dg::generator<int> {
      for (int i = 0; i < 10; ++i) co_yield i;
      owner.reset();
      let_go = eventually([&] { return p.ended == 1; }, 10s);
    });
    other = std::jthread([&] {
      for (int i = 0; i < 10; ++i) (void)ends.next_value();
      held.open();
      parked.pass();
      (void)ends.next_value();
    });
    held.pass();
    const std::uint64_t parks = pool->stats().parks;
    over.open();
    CHECK(eventually([&] { return pool->stats().parks != parks; }));
  }
  CHECK(p.begun == 10);
  parked.open();
  other.join();
  CHECK(let_go);
  for (int i = 10; i < 20; ++i) CHECK(s.next_value() == i);
}

TEST_CASE("an exception of a pulled task comes after the values before it, and then the end", "[pulling][S-ERR-4]") {
  support::watchdog dog("thrown while pulled");
  const pulling_as mode(pulling::whenever_possible);
  busy_pool pool;
  auto fails = []() -> dg::generator<int> {
    for (int i = 0; i < 100; ++i) co_yield i;
    throw boom("at 100");
  };
  dg::ref_stream<int> s = pool->submit(fails);
  for (int i = 0; i < 100; ++i) CHECK(s.next_value() == i);
  CHECK(support::message_of([&] { s.next_value(); }) == "at 100");
  CHECK_FALSE(s.next());
  CHECK(s.finished());
}

TEST_CASE("a pulled task that asks for its own next value, drops its stream, or cancels it", "[pulling][L-7]") {
  support::watchdog dog("its own stream");
  const pulling_as mode(pulling::whenever_possible);
  std::atomic<int> alive{0};
  busy_pool pool;
  dg::ref_stream<int> s;
  std::string told;
  int from = 0;
  auto own = [&](int what) -> dg::generator<int> {
    const support::witness frame(alive);
    for (int i = 0;; ++i) {
      if (i == 80 && what == 0) told = support::message_of([&] { s.next_value(); });
      if (i == 80 && what == 1) s = {};
      if (i == 80 && what == 2) s.cancel();
      from = i;
      co_yield i;
    }
  };
  SECTION("a value") {
    s = pool->submit(own, 0);
    for (int i = 0; i < 100; ++i) CHECK(s.next_value() == i);
    CHECK(told.find("cannot wait for itself") != std::string::npos);
    s = {};
  }
  SECTION("dropped") {
    s = pool->submit(own, 1);
    for (int i = 0; i < 80; ++i) CHECK(s.next_value() == i);
    CHECK_FALSE(s.next_value());
    CHECK_FALSE(s.valid());
    CHECK(from == 80);
  }
  SECTION("dropped while its values are read") {
    s = pool->submit(own, 1);
    int i = 0;
    for (const int value : s.values()) CHECK(value == i++);
    CHECK(i == 80);
    CHECK(from == 80);
  }
  SECTION("cancelled: the operand is dropped") {
    s = pool->submit(own, 2);
    for (int i = 0; i < 80; ++i) CHECK(s.next_value() == i);
    CHECK_THROWS_AS(s.next_value(), dg::cancelled_error);
    CHECK(from == 80);
  }
  pool.let_work();
  CHECK(eventually([&] { return alive == 0; }));
}

TEST_CASE("a pulled task that detaches its own stream continues and stores nothing", "[pulling][L-7][S-STREAM-6]") {
  support::watchdog dog("detaches itself");
  const pulling_as mode(pulling::whenever_possible);
  for (int last = 56; last != 72; ++last) {  // one of these values is the last of a block
    std::atomic<int> alive{0}, made{0};
    busy_pool pool;
    dg::ref_stream<support::tracked> s;
    s = pool->submit([&]() -> dg::generator<support::tracked> {
      const support::witness frame(alive);
      for (int i = 0; i < 200; ++i) {
        if (i == last) s.detach();
        ++made;
        co_yield support::tracked(i);
      }
    });
    const long before = support::tracked::live;
    int taken = 0;
    for (const support::tracked& value : s.values()) CHECK(value.value == taken++);
    CHECK(taken == last);
    pool.let_work();
    CHECK(eventually([&] { return alive == 0 && support::tracked::live == before; }));
    CHECK(made == 200);
  }
}

TEST_CASE("a pulled task that waits occupies no thread, and is pulled again", "[pulling][S-AWAIT]") {
  support::watchdog dog("awaits while pulled");
  const pulling_as mode(pulling::whenever_possible);
  busy_pool pool;
  std::vector<dg::promise<int>> promises(3);
  std::vector<dg::ref<int>> refs;
  for (dg::promise<int>& each : promises) refs.push_back(each.get_ref());
  auto awaits = [&]() -> dg::generator<int> {
    for (dg::ref<int>& each : refs) {
      for (int i = 0; i < 10; ++i) co_yield i;
      const int got = co_await std::move(each);
      co_yield got;
    }
  };
  dg::ref_stream<int> s = pool->options(dg::backpressure{1}).submit(awaits);
  pool.let_work();
  for (int k = 0; k < 3; ++k) {
    for (int i = 0; i < 10; ++i) CHECK(s.next_value() == i);
    CHECK_THROWS_AS(s.next_for(0s), dg::timeout_error);
    promises[static_cast<std::size_t>(k)].set_value(100 + k);
    CHECK(s.next_value() == 100 + k);
  }
  CHECK_FALSE(s.next_value());
}

TEST_CASE("two streams are drained in turns by one thread, and by threads that take turns",
          "[pulling][S-STREAM-5][S-STREAM-8]") {
  support::watchdog dog("in turns");
  const pulling_as mode(pulling::whenever_possible);
  progress left, right;
  busy_pool pool;
  dg::ref_stream<int> a = held(pool, left, 5), b = held(pool, right, 5);
  pool.let_work();
  for (int i = 5; i < 500; ++i) {
    CHECK(a.next_value() == i);
    CHECK(b.next_value() == i);
  }
  for (int i = 500; i < 510; i += 2) {
    std::optional<int> got;
    std::jthread([&] { got = a.next_value(); }).join();
    CHECK(got == i);
    CHECK(a.next_value().has_value() == true);
  }
}

TEST_CASE("blocks are recycled under a consumer that pulls, and every value is destroyed once",
          "[pulling][S-MEM-3][S-MEM-4]") {
  support::watchdog dog("memory while pulled");
  const pulling_as mode(pulling::whenever_possible);
  support::tracked::reset();
  const long blocks = dg::detail::memory_counter::live(dg::detail::memory_kind::block);
  {
    busy_pool pool;
    auto make = [](int n) -> dg::generator<support::tracked> {
      for (int i = 0; i < n; ++i) co_yield support::tracked(i);
    };
    dg::ref_stream<support::tracked> s = pool->submit(make, 10000);
    std::vector<dg::ref<support::tracked>> kept;
    long most = 0;
    for (int i = 0; i < 10000; ++i) {
      std::optional<dg::ref<support::tracked>> r = s.next();
      CHECK(r->get().value == i);
      if (i % 1000 == 0) kept.push_back(std::move(*r));
      most = std::max(most, support::tracked::live.load());
    }
    CHECK(most <= 12);
    CHECK(dg::detail::memory_counter::live(dg::detail::memory_kind::block) - blocks <= 14);
    CHECK_FALSE(s.next());
    CHECK(support::tracked::live == 10);
    CHECK(kept[3].get().value == 3000);
  }
  CHECK(support::tracked::live == 0);
  CHECK(eventually([&] { return dg::detail::memory_counter::live(dg::detail::memory_kind::block) == blocks; }));
}

TEST_CASE("a stream that proves cheap is pulled, one that proves expensive is not", "[pulling]") {
  support::watchdog dog("by cost");
  const pulling_as not_forced(pulling::by_cost);
  dg::detail::production_cost cost;
  constexpr std::uint64_t sample = dg::detail::production_cost::sample;
  CHECK_FALSE(cost.is_cheap());
  CHECK_FALSE(cost.is_dear());
  cost.add(sample - 1, 1us);
  CHECK_FALSE(cost.is_cheap());  // too few to decide
  cost.add(1, 1us);
  CHECK(cost.is_cheap());
  cost.add(1000, 1ms);  // a microsecond for each
  CHECK_FALSE(cost.is_cheap());
  CHECK(cost.is_dear());
  cost.add(1000, 100us);
  CHECK(cost.is_cheap());
}

TEST_CASE("a new stream is pulled unless its values prove expensive", "[pulling]") {
  support::watchdog dog("on trial");
  const pulling_as not_forced(pulling::by_cost);
  constexpr std::uint64_t pulled = 2 * dg::detail::production_cost::between_looks;
  SECTION("its first value decides whether it is tried") {
    dg::detail::production_cost cost, expensive;
    CHECK(cost.seems_cheap());
    cost.add(1, 2us);
    CHECK(cost.seems_cheap());
    CHECK_FALSE(cost.is_cheap());
    expensive.add(1, 20us);
    CHECK_FALSE(expensive.seems_cheap());
    CHECK_FALSE(expensive.is_dear());
  }
  SECTION("one expensive value ends the trial") {
    dg::detail::production_cost cost;
    CHECK(cost.begin_at_reader(1) == 1);
    std::this_thread::sleep_for(1ms);
    CHECK(cost.look(2) == 0);
    CHECK(cost.is_dear());
    CHECK_FALSE(cost.seems_cheap());
    cost.add(dg::detail::production_cost::sample, 1us);  // but later values may prove it cheap
    CHECK(cost.is_cheap());
  }
  SECTION("many cheap values prove it; then one look may find them expensive") {
    dg::detail::production_cost cost;
    CHECK(eventually([&] {  // this thread may be interrupted between the two
      (void)cost.begin_at_reader(1);
      return cost.look(1 + pulled) == dg::detail::production_cost::between_looks;
    }));
    CHECK(cost.is_cheap());
    std::this_thread::sleep_for(1ms);
    CHECK(cost.look(2 + pulled) != 0);
    std::this_thread::sleep_for(1ms);
    CHECK(cost.look(3 + pulled) == 0);
    CHECK(cost.is_dear());
  }
  SECTION("the consumer makes the first of the expensive values, other threads the rest") {
    busy_pool pool;  // no other thread can make the first one
    std::atomic<int> by_consumer{0}, made{0};
    const std::thread::id consumer = std::this_thread::get_id();
    dg::ref_stream<int> s = pool->submit([&]() -> dg::generator<int> {
      for (int i = 0; i != 200; ++i) {
        const auto until = std::chrono::steady_clock::now() + 300us;
        while (std::chrono::steady_clock::now() < until) {
        }
        if (std::this_thread::get_id() == consumer) ++by_consumer;
        ++made;
        co_yield i;
      }
    });
    CHECK(s.next_value() == 0);
    pool.let_work();
    CHECK(eventually([&] { return made >= 64; }));  // its whole capacity
    CHECK(by_consumer == 1);
    for (int i = 1; i != 200; ++i) CHECK(s.next_value() == i);
    CHECK_FALSE(s.next_value());
  }
}

TEST_CASE("a consumer looks whether values are cheap while they are being made", "[pulling]") {
  support::watchdog dog("a look at the cost");
  const pulling_as not_forced(pulling::by_cost);
  dg::detail::production_cost cost;
  std::thread maker([&cost] { cost.add(dg::detail::production_cost::sample, 1us); });
  const bool seen = cost.is_cheap();  // before or after: unordered either way, for ThreadSanitizer to judge
  maker.join();
  CHECK((cost.is_cheap() || seen));
}

}  // namespace test_pulling
