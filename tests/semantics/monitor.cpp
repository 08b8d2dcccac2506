// SPDX-License-Identifier: MIT
// What a pool guarantees however busy its workers are, and whatever its users wait for unseen by the library: streams
// whose readers no longer ask for values make progress, a long-running task yields to queued work, and cancelled tasks
// end.

#include "../catch.hpp"
#include "../support.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_monitor {

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using support::eventually;

/// Writes number i to `made` before it yields it.
dg::generator<int> numbers(std::atomic<int>& made, int count) {
  for (int i = 0; i < count; ++i) {
    made = i;
    made.notify_all();
    co_yield i;
  }
}

/// Waits, unseen by the library, until number `at` was made.
void wait_until_made(const std::atomic<int>& made, int at) {
  for (int now = made; now < at; now = made) made.wait(now);
}

/// Yields 0 … count-1, and opens a gate before number `at`.
dg::generator<int> opens(support::gate& gate, int at, int count) {
  for (int i = 0; i < count; ++i) {
    if (i == at) gate.open();
    co_yield i;
  }
}

void busy_for(std::chrono::milliseconds time) {
  const auto end = clock_type::now() + time;
  while (clock_type::now() < end) {
  }
}

/// Keeps all workers of a pool busy in user code until it is destroyed.
class busy_workers {
 public:
  busy_workers(dg::thread_pool& pool, int workers) {
    for (int i = 0; i < workers; ++i) {
      busy_.push_back(pool.submit([this] {
        ++started_;
        over_.pass();
      }));
    }
    while (started_ != workers) std::this_thread::yield();
  }
  busy_workers(const busy_workers&) = delete;
  busy_workers& operator=(const busy_workers&) = delete;
  ~busy_workers() {
    over_.open();
    for (const dg::ref<void>& each : busy_) each.wait();
  }

 private:
  std::atomic<int> started_{0};
  support::gate over_;
  std::vector<dg::ref<void>> busy_;
};

}  // namespace

// --- streams whose readers make the values ---

TEST_CASE("a taken value returns its credit, whichever thread made it and whatever interrupted the reader",
          "[stream][L-21][S-STREAM-4]") {
  support::watchdog dog("credits that were not returned");
  const int room = GENERATE(2, 8, 17, 64);
  const int interruption = GENERATE(0, 1, 2, 3);
  std::atomic<int> made{-1};
  dg::thread_pool pool(2);
  auto s = pool.options(dg::backpressure{room}).submit(numbers, std::ref(made), 1000);
  int taken = 0;
  auto take = [&](int count) {
    for (; count > 0; --count) CHECK(s.next_value() == taken++);
  };
  take(10);  // made by this thread
  if (interruption == 1 && s.try_next()) ++taken;
  if (interruption == 2) {
    (void)s.next_for(1h);
    ++taken;
  }
  if (interruption == 3) dg::wait_any(s);
  wait_until_made(made, room - 1);  // with a large capacity, a worker has filled most of it
  take(room - 1);
  wait_until_made(made, taken + 1);  // at least half of the capacity is free again
  SUCCEED();
}

TEST_CASE("threads that take turns at a stream each return the credits of the values that they took",
          "[stream][L-21][S-STREAM-8]") {
  support::watchdog dog("credits of a former reader");
  std::atomic<int> made{-1};
  dg::thread_pool pool(1);
  auto s = pool.options(dg::backpressure{32}).submit(numbers, std::ref(made), 400);
  for (int i = 0; i < 20; ++i) {
    std::jthread([&] {
      for (int k = 0; k < 20; ++k) {
        if (s.next_value() != i * 20 + k) made = 1'000'000;
      }
      dg::promise<int> here;
      here.set_value(1);
      here.get_ref().wait();
    }).join();
    CHECK(made < 400);
  }
  CHECK_FALSE(s.next_value());
}

TEST_CASE("a stream whose reader waits unseen makes progress, however busy the workers are", "[stream][L-22][L-1]") {
  support::watchdog dog("a stream whose reader waits unseen");
  const int workers = GENERATE(1, 2, 3);
  const bool coroutines = GENERATE(false, true);
  support::gate opened, over;
  {
    dg::thread_pool pool(workers);
    auto s = pool.submit(opens, std::ref(opened), 60, 1000);
    int taken = 0;
    for (; taken < 50; ++taken) CHECK(s.next_value() == taken);
    // Each worker polls, and never runs out of work.
    std::function<void()> again = [&] {
      if (!over.is_open()) pool.submit(again);
    };
    auto polls = [&over]() -> dg::task<void> {
      while (!over.is_open()) co_await dg::this_task::yield();
    };
    for (int i = 0; i < workers; ++i) {
      if (coroutines)
        (void)pool.submit(polls);
      else
        pool.submit(again);
    }
    opened.pass();
    while (s.next_value()) ++taken;
    CHECK(taken == 1000);
    over.open();
    pool.shutdown(dg::shutdown_mode::drain);
  }
}

TEST_CASE("a reader on a worker waits unseen while other workers poll", "[stream][L-22][L-1]") {
  support::watchdog dog("a reader on a worker");
  support::gate opened;
  dg::thread_pool pool(2);
  auto s = pool.submit(opens, std::ref(opened), 60, 1000);
  auto reads = [&opened](dg::ref_stream<int> from) {
    int n = 0;
    for (; n < 50; ++n) from.next_value();
    opened.pass();
    while (from.next_value()) ++n;
    return n;
  };
  auto polls = [&opened]() -> dg::task<void> {
    while (!opened.is_open()) co_await dg::this_task::yield();
  };
  const dg::ref<int> read = pool.submit(reads, std::move(s));
  const dg::ref<void> polled = pool.submit(polls);
  while (!read.wait_for(1ms)) {
  }
  CHECK(read.get() == 1000);
  polled.get();
}

TEST_CASE("a stream that its reader no longer asks is released as soon in a wide pool as in a narrow one",
          "[stream][L-23]") {
  support::watchdog dog("a wide pool");
  support::gate opened;
  dg::thread_pool pool(256);
  auto s = pool.submit(opens, std::ref(opened), 60, 1000);
  for (int i = 0; i < 50; ++i) (void)s.next_value();
  const auto since = clock_type::now();
  opened.pass();
  CHECK(clock_type::now() - since < 1s);
}

TEST_CASE("many streams that are kept for their readers all make progress, and end with their pool",
          "[stream][L-22][S-MEM-4]") {
  support::watchdog dog("many kept streams");
  constexpr std::size_t streams = 300;
  const long before = support::pieces_alive();
  {
    std::atomic<int> opened{0};
    auto counts = [&opened]() -> dg::generator<int> {
      co_yield 0;
      co_yield 1;
      ++opened;
      opened.notify_all();
      co_yield 2;
    };
    dg::thread_pool pool(2);
    std::vector<dg::ref_stream<int>> all;
    for (std::size_t i = 0; i < streams; ++i) all.push_back(pool.submit(counts));
    for (auto& each : all) CHECK(each.next_value() == 0);
    for (auto& each : all) CHECK(each.next_value() == 1);
    for (int now = opened; now < static_cast<int>(streams); now = opened) opened.wait(now);
    for (std::size_t i = 0; i < streams; i += 2) CHECK(all[i].next_value() == 2);
  }
  CHECK(support::pieces_alive() == before);
}

// --- streams that their own code drops ---

namespace {

using text_stream = dg::ref_stream<std::string>;

/// Drops the stream `where`, or detaches it, before number `at`, in the code that the reader runs on its own stack.
dg::generator<std::string> drops_itself(text_stream& where, int at, bool detaches, const bool& reading, int count) {
  bool done = false;
  for (int i = 0; i < count; ++i) {
    if (!done && i >= at && reading) {
      done = true;
      if (detaches)
        where.detach();
      else
        where = text_stream();
    }
    co_yield std::string(40, static_cast<char>('a' + i % 26));
  }
}

}  // namespace

TEST_CASE("a producer that an executor runs at once may drop its stream inside any member",
          "[stream][executor][L-24]") {
  support::watchdog dog("a stream dropped inside its own member");
  const bool detaches = GENERATE(false, true);
  const int member = GENERATE(0, 1, 2, 3, 4, 5);
  const int room = member == 4 ? 64 : 1;
  dg::inline_executor at_once;
  text_stream s;
  const bool reading = true;
  auto bound = dg::on(at_once).options(dg::backpressure{room});
  // The stream object exists before the code that drops it runs: that code runs when a value is taken, below.
  text_stream made = bound.submit(drops_itself, std::ref(s), room, detaches, std::cref(reading), 200);
  s = std::move(made);
  const std::string first(40, 'a');
  switch (member) {
    case 0: CHECK(s.next_value() == first); break;
    case 1:
      for (std::string&& each : s.values()) {
        CHECK(each == first);
        break;
      }
      break;
    case 2: CHECK(s.next()->get() == first); break;
    case 3: CHECK(s.try_next()->get() == first); break;
    case 4:
      for (int i = 0; i < 10; ++i) (void)s.next_value();
      (void)s.finished();
      break;
    default:
      for (dg::ref<std::string>&& each : s) {
        CHECK(each.get() == first);
        break;
      }
  }
  SUCCEED();
}

namespace {

struct shared_stream {
  text_stream s;
  std::atomic<std::thread::id> reader{};
};
/// Drops or detaches the stream where the thread that runs this code is inside the reader's co_await.
dg::generator<std::string> drops_shared(std::shared_ptr<shared_stream> b, int at, bool detaches) {
  bool done = false;
  for (int i = 0; i < 100'000; ++i) {
    if (!done && i >= at && b->reader.load() == std::this_thread::get_id()) {
      done = true;
      if (detaches)
        b->s.detach();
      else
        b->s = text_stream();
    }
    co_yield std::string(40, 'x');
  }
}
template <bool Value>
dg::task<int> reads_shared(std::shared_ptr<shared_stream> b) {
  int n = 0;
  while (b->s.valid()) {
    bool more = false;
    b->reader = std::this_thread::get_id();
    if constexpr (Value) {
      const std::optional<std::string> next = co_await b->s.async_value();
      more = next.has_value();
    } else {
      const std::optional<dg::ref<std::string>> next = co_await b->s.async_next();
      more = next.has_value();
    }
    b->reader = std::thread::id();
    if (!more) break;
    ++n;
  }
  co_return n;
}

}  // namespace

TEST_CASE("a producer drops its stream from the stack of the coroutine that reads it", "[stream][await][L-24]") {
  support::watchdog dog("a stream dropped inside co_await");
  const bool detaches = GENERATE(false, true);
  const bool values = GENERATE(false, true);
  const int at = GENERATE(0, 3, 3000);
  // One worker, so that the producer runs on the reader's stack or not beside it.
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  for (int round = 0; round < 5; ++round) {
    const auto started = pool.submit([&] {
      auto b = std::make_shared<shared_stream>();
      b->s = pool.submit(drops_shared, b, at, detaches);
      return values ? pool.submit(reads_shared<true>, b) : pool.submit(reads_shared<false>, b);
    });
    CHECK(started.get().get() <= 100'000);
  }
}

// --- time slices ---

TEST_CASE("a queued task waits for no more than a time slice of a stream", "[stream][L-30][L-18]") {
  support::watchdog dog("a time slice");
  const bool cheap_at_first = GENERATE(false, true);
  const bool unbounded = GENERATE(false, true);
  std::atomic<int> made{0};
  std::atomic<bool> slow{!cheap_at_first};
  auto frames = [&]() -> dg::generator<int> {
    for (int i = 0;; ++i) {
      if (slow) busy_for(20ms);
      ++made;
      co_yield i;
    }
  };
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto s = unbounded ? pool.options(dg::unbounded).submit(frames) : pool.options(dg::backpressure{100'000}).submit(frames);
  CHECK(eventually([&] { return made > (cheap_at_first ? 2000 : 0); }));
  slow = true;
  const int before = made;
  pool.submit([] {}).get();
  CHECK(made - before < 20);
}

TEST_CASE("coroutines whose awaits are always ready yield to queued work", "[await][L-18][L-30]") {
  support::watchdog dog("awaits that are always ready");
  const int kind = GENERATE(0, 1, 2, 3);
  support::gate ran;
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto child = []() -> dg::task<int> { co_return 1; };
  auto numbers_for_ever = []() -> dg::generator<int> {
    for (int i = 0;; ++i) co_yield i;
  };
  auto loops = [&]() -> dg::task<void> {
    const dg::ref<int> one = dg::put(1);
    auto s = pool.submit(numbers_for_ever);
    while (!ran.is_open()) {
      if (kind == 0) (void)co_await one;
      if (kind == 1) (void)co_await child();
      if (kind == 2) (void)co_await dg::when_all(child(), child());
      if (kind == 3) (void)co_await s.async_value();
    }
  };
  auto looping = pool.submit(loops);
  auto opening = pool.submit([&] { ran.open(); });
  looping.get();
  opening.get();
  CHECK(ran.is_open());
}

TEST_CASE("tasks with num_returns, tuples and skipped values stop at the end of the time slice as well",
          "[arity][L-30]") {
  support::watchdog dog("slices without a stream");
  support::gate ran;
  std::atomic<int> steps{0};
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto slow = [&]() -> dg::generator<int> {
    for (int i = 0; i < 300; ++i) {
      if (!ran.is_open()) {
        busy_for(20ms);
        ++steps;
      }
      co_yield i;
    }
  };
  const int kind = GENERATE(0, 1, 2);
  std::vector<dg::ref<int>> fixed;
  dg::ref<dg::ref_list<int>> list;
  if (kind == 0) fixed = pool.options(dg::num_returns{300}).submit(slow);
  if (kind == 1) list = pool.options(dg::dynamic).submit(slow);
  if (kind == 2) pool.submit(slow).detach();
  CHECK(eventually([&] { return steps > 0; }));
  const int before = steps;
  pool.submit([&] { ran.open(); }).get();
  CHECK(steps - before < 20);
  for (const auto& each : fixed) each.wait();
  if (list.valid()) CHECK(list.get().size() == 300);
}

// --- cancelled tasks end ---

TEST_CASE("refs of cancelled tasks are ready although no worker becomes free", "[cancel][S-CANCEL-9][L-29]") {
  support::watchdog dog("cancelled while all workers are busy");
  const bool helps = GENERATE(false, true);
  const int workers = GENERATE(1, 2);
  dg::thread_pool pool({.threads = workers, .waiters_help = helps});
  dg::promise<int> never;
  support::gate destroyed;
  std::vector<dg::ref<int>> refs;
  dg::ref_stream<int> stream;
  auto yields = []() -> dg::generator<int> { co_yield 1; };
  auto awaits = [&never]() -> dg::task<int> { co_return co_await never.get_ref(); };
  dg::ref<int> suspended = pool.submit(awaits);
  pool.submit([] {}).get();  // it is suspended now, or soon
  const busy_workers busy(pool, workers);
  for (int i = 0; i < 100; ++i) refs.push_back(pool.submit([i] { return i; }));
  refs.push_back(pool.submit([](int x) { return x; }, never.get_ref()));
  struct opens_when_gone {
    explicit opens_when_gone(support::gate& g) : gate(&g, [](support::gate* o) { o->open(); }) {}
    std::shared_ptr<support::gate> gate;
  };
  refs.push_back(pool.submit([held = opens_when_gone(destroyed)] { return 1; }));
  refs.push_back(suspended);
  stream = pool.submit(yields);
  for (const auto& each : refs) CHECK(each.cancel());
  CHECK(stream.cancel());
  const auto result = dg::wait(refs, refs.size(), 20s);
  CHECK(result.ready.size() == refs.size());
  for (const auto& each : refs) CHECK(support::is_cancelled(each.error()));
  destroyed.pass();
  CHECK(support::is_cancelled(stream.next_for(20s)->error()));
}

TEST_CASE("a task whose argument fails ends although no worker becomes free", "[cancel][S-CANCEL-9][S-ERR-8]") {
  support::watchdog dog("doomed while all workers are busy");
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::promise<int> fails;
  const busy_workers busy(pool, 1);
  auto r = pool.submit([](int x) { return x; }, fails.get_ref());
  auto after = pool.submit([](int x) { return x; }, r);
  fails.set_exception(std::make_exception_ptr(support::boom()));
  CHECK(after.wait_for(20s));
  CHECK_THROWS_AS(after.get(), support::boom);
}

TEST_CASE("all queued tasks end when a pool cancels them, although its workers are busy",
          "[cancel][S-CANCEL-9][S-STOP-2]") {
  support::watchdog dog("shutdown(cancel) while all workers are busy");
  dg::thread_pool pool({.threads = 2, .waiters_help = false});
  std::vector<dg::ref<int>> refs;
  std::jthread closer;
  {
    const busy_workers busy(pool, 2);
    for (int i = 0; i < 100; ++i) refs.push_back(pool.submit([i] { return i; }));
    closer = std::jthread([&] { pool.shutdown(dg::shutdown_mode::cancel); });
    CHECK(dg::wait(refs, refs.size(), 20s).ready.size() == refs.size());
  }
  closer.join();
}

TEST_CASE("calls of an actor end when they are cancelled, although no worker becomes free", "[actor][S-CANCEL-9]") {
  support::watchdog dog("cancelled calls");
  struct counter {
    int add(int n) { return total += n; }
    int total = 0;
  };
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  dg::promise<int> never, fails;
  auto a = pool.make_actor<counter>();
  CHECK(a.submit(&counter::add, 1).get() == 1);
  const busy_workers busy(pool, 1);
  auto has_the_turn = a.submit(&counter::add, 1);  // handed to the pool, and queued there
  auto waits_for_it = a.submit(&counter::add, 1);
  auto waits_for_argument = a.submit(&counter::add, never.get_ref());
  auto doomed = a.submit(&counter::add, fails.get_ref());
  for (const auto* each : {&waits_for_argument, &waits_for_it}) {
    CHECK(each->cancel());
    CHECK(each->wait_for(20s));
    CHECK(support::is_cancelled(each->error()));
  }
  fails.set_exception(std::make_exception_ptr(support::boom()));
  CHECK(doomed.wait_for(20s));
  CHECK_THROWS_AS(doomed.get(), support::boom);
  CHECK(has_the_turn.cancel());
  CHECK(has_the_turn.wait_for(20s));
  CHECK(support::is_cancelled(has_the_turn.error()));
}

TEST_CASE("calls of an actor that have begun end when they are cancelled, although no worker becomes free",
          "[actor][S-CANCEL-9]") {
  support::watchdog dog("cancelled calls that have begun");
  struct counter {
    std::atomic<int> inside{0};
    dg::task<int> add(dg::ref<int> n) {
      enter();
      const int got = co_await n;
      enter();
      co_return got;
    }
    dg::task<int> add_both(dg::ref<int> a, dg::ref<int> b) {
      const auto wait = [](dg::ref<int> r) -> dg::task<int> { co_return co_await r; };
      const auto [x, y] = co_await dg::when_all(wait(a), wait(b));
      enter();
      co_return x + y;
    }
    int nothing() {
      enter();
      return 0;
    }
    void enter() {
      CHECK(++inside == 1);
      --inside;
    }
  };
  for (const bool by_kill : {false, true}) {
    CAPTURE(by_kill);
    dg::thread_pool pool({.threads = 1, .waiters_help = false});
    dg::promise<int> never, comes, first, second;
    auto a = pool.options(dg::max_concurrency{8}).make_actor<counter>();
    const std::vector<dg::ref<int>> calls{a.submit(&counter::add, dg::unresolved(comes.get_ref())),
                                          a.submit(&counter::add, dg::unresolved(never.get_ref())),
                                          a.submit(&counter::add_both, dg::unresolved(first.get_ref()), dg::unresolved(second.get_ref()))};
    a.submit(&counter::nothing).wait();  // all have begun, and wait
    dg::ref<int> later;
    {
      const busy_workers busy(pool, 1);
      comes.set_value(1);  // that call now has the turn, and is queued in the pool
      if (by_kill)
        a.kill();
      else
        for (const dg::ref<int>& call : calls) CHECK(call.cancel());
      for (const dg::ref<int>& call : calls) {
        CHECK(call.wait_for(20s));
        CHECK(support::is_cancelled(call.error()));
      }
      later = a.submit(&counter::nothing);
      CHECK(later.wait_for(0s) == by_kill);
    }
    if (by_kill)
      CHECK_THROWS_AS(later.get(), dg::actor_died);
    else
      CHECK(later.get() == 0);
  }
}

TEST_CASE("a pool that has cancelled tasks waits for nothing when it is destroyed", "[cancel][S-CANCEL-9][S-STOP-1]") {
  support::watchdog dog("cancelled, then destroyed");
  const long before = support::pieces_alive();
  for (int round = 0; round < 50; ++round) {
    dg::thread_pool pool(1);
    std::vector<dg::ref<int>> refs;
    for (int i = 0; i < 20; ++i) refs.push_back(pool.submit([i] { return i; }));
    for (const auto& each : refs) each.cancel();
  }
  CHECK(support::pieces_alive() == before);
}

TEST_CASE("an idle pool uses no processor time, whatever it did before", "[pool][L-22]") {
  support::watchdog dog("an idle pool");
  dg::thread_pool pool(2);
  std::atomic<int> made{-1};
  auto s = pool.submit(numbers, std::ref(made), 1000);
  for (int i = 0; i < 100; ++i) (void)s.next_value();
  pool.submit([] { return 1; }).cancel();
  wait_until_made(made, 150);  // the stream is full, and no stream is kept any more
  // The pool's service threads and its workers sleep without a time limit: the number of sleeps stays the same.
  CHECK(eventually([&] {
    const auto before = pool.stats().parks;
    busy_for(30ms);
    return pool.stats().parks == before;
  }));
}

TEST_CASE("a thread that reads on gets the credits that the reader before it owes", "[stream][L-21][L-8][S-STREAM-8]") {
  support::watchdog dog("credits owed by another thread");
  const bool moved = GENERATE(false, true);
  const int by_first = GENERATE(1, 22, 31);
  std::atomic<int> made{-1};
  support::gate first_has_read, over;
  dg::promise<int> reached;
  const dg::ref<int> is_reached = reached.get_ref();
  auto fulfils = [&](int at) -> dg::generator<int> {
    for (int i = 0; i < 1000; ++i) {
      made = i;
      if (i == at) reached.set_value(i);
      co_yield i;
    }
  };
  {
    dg::thread_pool pool({.threads = 1, .waiters_help = false});
    const int at = by_first + 64;  // after the value that fills the buffer when two more are taken
    auto s = pool.submit(fulfils, at);
    CHECK(eventually([&] { return made >= 63; }));
    std::optional<dg::ref_stream<int>> other;
    int wrong = 0;
    std::jthread first([&] {
      for (int i = 0; i < by_first; ++i) wrong += s.next_value() != i;
      if (moved) other.emplace(std::move(s));
      first_has_read.open();
      over.pass();  // unseen by the library: it returns no credits here
    });
    first_has_read.pass();
    dg::ref_stream<int>& mine = moved ? *other : s;
    CHECK(mine.next_value() == by_first);
    CHECK(is_reached.get() == at);  // a wait that the library sees
    over.open();
    first.join();
    CHECK(wrong == 0);
  }
}

TEST_CASE("a task that a waiter has run, and that is suspended, ends when it is cancelled",
          "[cancel][S-CANCEL-9][L-3]") {
  support::watchdog dog("cancelled with a link left in the queue");
  dg::thread_pool pool(1);
  const busy_workers busy(pool, 1);
  dg::promise<int> never;
  support::gate begun;
  auto awaits = [&]() -> dg::task<int> {
    begun.open();
    co_return co_await never.get_ref();
  };
  const dg::ref<int> r = pool.submit(awaits);
  std::jthread helper([&] { r.wait(); });
  begun.pass();
  CHECK(r.cancel());
  CHECK(r.wait_for(20s));
  CHECK(support::is_cancelled(r.error()));
}

TEST_CASE("a destructor of a cancelled task may wait for another cancelled task", "[cancel][S-CANCEL-9][L-28]") {
  support::watchdog dog("cancelled tasks that wait for each other");
  const bool timed = GENERATE(false, true);
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  const busy_workers busy(pool, 1);
  struct waits {
    waits(dg::ref<int> r, bool t) : other(std::move(r)), timed_wait(t) {}
    waits(waits&& o) noexcept : other(std::move(o.other)), timed_wait(o.timed_wait) {}
    ~waits() {
      if (!other.valid()) return;
      if (timed_wait)
        (void)other.wait_for(20s);
      else
        other.wait();
    }
    dg::ref<int> other;
    bool timed_wait;
  };
  const dg::ref<int> second = pool.submit([] { return 2; });
  const dg::ref<int> first = pool.submit([held = waits(second, timed)] { return 1; });
  CHECK(first.cancel());
  CHECK(second.cancel());
  CHECK(first.wait_for(10s));
  CHECK(second.ready());
}

}  // namespace test_monitor
