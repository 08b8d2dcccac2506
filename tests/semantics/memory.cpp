// SPDX-License-Identifier: MIT
// The rules S-MEM-1 to S-MEM-4 and S-MEM-6: what keeps a value alive, how many values exist at once, and that nothing
// leaks.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <array>
#include <atomic>
#include <exception>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include <sys/resource.h>

namespace test_memory {

using support::error_log;
using support::eventually;
using support::gate;
using support::holds;
using support::reporting_to;
using support::tracked;
using support::tracked_to;
using support::witness;

namespace {

/// A large value: counts the instances that were not moved from, and their peak.
class load {
 public:
  static inline std::atomic<int> live{0};
  static inline std::atomic<int> peak{0};
  static void reset() { live = peak = 0; }

  explicit load(int v) : value(v) { add(); }
  load(const load& other) : value(other.value), owns_(other.owns_) {
    if (owns_) add();
  }
  load(load&& other) noexcept : value(other.value), owns_(std::exchange(other.owns_, false)) {}
  load& operator=(const load&) = delete;
  ~load() {
    if (owns_) --live;
  }
  int value;

 private:
  static void add() {
    const int now = ++live;
    int seen = peak.load();
    while (seen < now && !peak.compare_exchange_weak(seen, now)) {
    }
  }
  bool owns_ = true;
};

dg::generator<load> loads(int n) {
  for (int i = 0; i < n; ++i) {
    load value(i);
    co_yield std::move(value);
  }
}

long peak_resident_kib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

constexpr bool sanitized = !dg::detail::keeps_memory_by_default;

}  // namespace

// ---------------------------------------------------------------------------------------------- 1

TEST_CASE("a dropped ref frees its value at once, its siblings stay", "[memory][S-MEM-1]") {
  tracked::reset();
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns<3>{}).submit(tracked_to, 3);
  CHECK(tracked::live.load() == 3);
  refs[1] = {};
  CHECK(tracked::live.load() == 2);
  auto copy = refs[0];
  refs[0] = {};
  CHECK(tracked::live.load() == 2);
  CHECK(copy.get().value == 0);
  copy = {};
  CHECK(tracked::live.load() == 1);
  CHECK(refs[2].get().value == 2);
  refs[2] = {};
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("a dropped ref frees its value while the task still runs", "[memory][S-MEM-1]") {
  support::watchdog dog("memory: dropped while the task runs");
  tracked::reset();
  gate last;
  std::atomic<bool> stored{false};
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<tracked> {
    co_yield 1;
    co_yield 2;
    stored = true;
    last.pass();
  };
  auto refs = pool.options(dg::num_returns<2>{}).submit(f);
  auto end = refs[0].completion();
  REQUIRE(eventually([&] { return stored.load(); }));
  CHECK(tracked::live.load() == 2);
  refs[0] = {};
  CHECK(tracked::live.load() == 1);
  CHECK_FALSE(end.ready());
  CHECK(refs[1].get().value == 2);
  refs[1] = {};
  CHECK(tracked::live.load() == 0);
  last.open();
  end.get();
}

TEST_CASE("a list holds all of its values, a ref taken from it holds one", "[memory][S-MEM-1]") {
  tracked::reset();
  dg::inline_executor here;
  for (int n : {1, 3, 64, 65, 500}) {
    auto outer = dg::on(here).options(dg::dynamic).submit(tracked_to, n);
    CHECK(tracked::live.load() == n);
    dg::ref<tracked> one = outer.get()[static_cast<std::size_t>(n) / 2];
    CHECK(tracked::live.load() == n);
    dg::ref_list<tracked> list = outer.get();
    outer = {};
    CHECK(tracked::live.load() == n);
    list = {};
    CHECK(tracked::live.load() == 1);
    CHECK(one.get().value == n / 2);
    one = {};
    CHECK(tracked::live.load() == 0);
  }
}

TEST_CASE("a copy of a list shares its values", "[memory][S-MEM-1]") {
  tracked::reset();
  dg::inline_executor here;
  {
    auto outer = dg::on(here).options(dg::dynamic).submit(tracked_to, 10);
    const dg::ref_list<tracked> copy = outer.get();
    outer = {};
    CHECK(tracked::live.load() == 10);
    CHECK(tracked::copies.load() == 0);
    CHECK(copy[9].get().value == 9);
  }
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("a stream holds the values that were not yet taken", "[memory][S-MEM-1]") {
  tracked::reset();
  dg::manual_executor later;
  std::optional<dg::ref<tracked>> kept;
  {
    auto stream = dg::on(later).options(dg::unbounded).submit(tracked_to, 10);
    later.run_all();
    CHECK(tracked::live.load() == 10);
    for (int i = 0; i < 3; ++i) static_cast<void>(stream.try_next());
    CHECK(tracked::live.load() == 7);
    kept = stream.try_next();
    CHECK(tracked::live.load() == 7);
  }
  later.run_all();
  CHECK(tracked::live.load() == 1);
  CHECK(kept->get().value == 3);
  kept.reset();
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("completion() holds no value", "[memory][S-MEM-1]") {
  tracked::reset();
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns<2>{}).submit(tracked_to, 2);
  auto end = refs[0].completion();
  refs = {};
  CHECK(tracked::live.load() == 0);
  end.get();
}

// ---------------------------------------------------------------------------------------------- 2

TEST_CASE("the producer keeps no copy: one held and one produced is the peak under backpressure{1}",
          "[memory][S-MEM-2]") {
  support::watchdog dog("memory: two values at most");
  load::reset();
  dg::thread_pool pool(2);
  int expected = 0;
  for (dg::ref<load> r : pool.options(dg::backpressure{1}).submit(loads, 100)) {
    REQUIRE(r.get().value == expected);
    ++expected;
  }
  CHECK(expected == 100);
  CHECK(load::peak.load() <= 2);
  CHECK(load::live.load() == 0);
}

TEST_CASE("the peak under backpressure{1} is two values however they are taken", "[memory][S-MEM-2]") {
  support::watchdog dog("memory: two values at most, other ways");
  dg::thread_pool pool(2);
  load::reset();
  {
    auto stream = pool.options(dg::backpressure{1}).submit(loads, 100);
    int n = 0;
    while (std::optional<load> v = stream.next_value()) REQUIRE(v->value == n++);
    CHECK(n == 100);
  }
  CHECK(load::peak.load() <= 2);
  load::reset();
  int n = 0;
  for (load&& v : pool.options(dg::backpressure{1}).submit(loads, 100).values()) REQUIRE(v.value == n++);
  CHECK(n == 100);
  CHECK(load::peak.load() <= 2);
}

TEST_CASE("a yielded rvalue is moved once into its place, an lvalue copied once, a conversion is none",
          "[memory][S-MEM-2]") {
  dg::inline_executor here;
  tracked::reset();
  auto moves = []() -> dg::generator<tracked> {
    tracked t(1);
    co_yield std::move(t);
  };
  auto moved = dg::on(here).options(dg::num_returns<1>{}).submit(moves);
  CHECK(tracked::moves.load() == 1);
  CHECK(tracked::copies.load() == 0);
  tracked::reset();
  auto copies = []() -> dg::generator<tracked> {
    tracked t(2);
    co_yield t;
  };
  auto copied = dg::on(here).options(dg::num_returns<1>{}).submit(copies);
  CHECK(tracked::copies.load() == 1);
  CHECK(tracked::moves.load() == 0);
  tracked::reset();
  auto converted = dg::on(here).options(dg::num_returns<1>{}).submit(tracked_to, 1);
  CHECK(tracked::constructed.load() == 1);
  CHECK(tracked::copies.load() + tracked::moves.load() == 0);
}

// ---------------------------------------------------------------------------------------------- 3

TEST_CASE("a stream's values are bounded by its backpressure plus the refs still held", "[memory][S-MEM-3]") {
  support::watchdog dog("memory: bounded stream");
  dg::thread_pool pool(2);
  for (std::size_t room : {1u, 2u, 8u, 64u}) {
    load::reset();
    {
      std::vector<dg::ref<load>> kept;
      int n = 0;
      for (dg::ref<load> r : pool.options(dg::backpressure{room}).submit(loads, 3000)) {
        REQUIRE(r.get().value == n);
        if (n++ % 300 == 0) kept.push_back(std::move(r));
      }
      CHECK(n == 3000);
      CHECK(kept.size() == 10u);
      CHECK(load::live.load() == 10);
      CHECK(load::peak.load() <= static_cast<int>(room) + 10 + 2);
      CHECK(kept.back().get().value == 2700);
    }
    CHECK(load::live.load() == 0);
  }
}

TEST_CASE("a long stream runs in the space of its backpressure", "[memory][S-MEM-3]") {
  if (sanitized) return;  // a sanitizer keeps freed memory
  support::watchdog dog("memory: long stream", 120);
  using kilobyte = std::array<char, 1024>;
  auto f = [](int n) -> dg::generator<kilobyte> {
    kilobyte block{};
    for (int i = 0; i < n; ++i) {
      block[0] = static_cast<char>(i);
      co_yield block;
    }
  };
  dg::thread_pool pool(2);
  const long before = peak_resident_kib();
  int wrong = 0, n = 0;
  for (dg::ref<kilobyte> r : pool.submit(f, 200'000)) {
    if (r.get()[0] != static_cast<char>(n++)) ++wrong;
  }
  for (kilobyte&& block : pool.submit(f, 200'000).values()) {
    if (block[0] != static_cast<char>(n++ - 200'000)) ++wrong;
  }
  CHECK(n == 400'000);
  CHECK(wrong == 0);
  CHECK(peak_resident_kib() - before < 16 * 1024);  // of 200 MB that went through each
}

// ---------------------------------------------------------------------------------------------- 4

TEST_CASE("after everything was dropped no memory is left", "[memory][S-MEM-4]") {
  support::watchdog dog("memory: nothing left");
  tracked::reset();
  std::atomic<int> frames{0};
  error_log log;
  {
    dg::thread_pool pool(reporting_to(log));
    auto f = [&](const tracked& seed, int n) -> dg::generator<tracked> {
      const witness frame(frames);
      for (int i = 0; i < n; ++i) {
        tracked t(seed.value + i);
        co_yield std::move(t);
      }
    };
    for (int round = 0; round < 50; ++round) {
      auto fixed = pool.options(dg::num_returns<3>{}).submit(f, tracked(1), round % 5);
      auto vector = pool.options(dg::num_returns{round % 4}).submit(f, tracked(1), 3);
      auto outer = pool.options(dg::dynamic).submit(f, tracked(1), round);
      auto stream = pool.options(dg::backpressure{2}).submit(f, tracked(1), round);
      auto whole = pool.submit(f, tracked(1), round);
      auto dependent = pool.submit([](const tracked& t) { return tracked(t.value); }, fixed[0]);
      if (round % 3 == 0) fixed = {};
      if (round % 2 == 0) outer = {};
      static_cast<void>(stream.next());
      for (tracked&& t : whole.values()) static_cast<void>(t);
      if (round % 5 != 0) dependent.wait();
      if (round % 7 == 0) std::move(stream).detach();
    }
  }
  CHECK(tracked::live.load() == 0);
  CHECK(frames.load() == 0);
}

TEST_CASE("a task that never ran leaks nothing", "[memory][S-MEM-4]") {
  tracked::reset();
  dg::ref<int> result;
  {
    dg::manual_executor later;
    result = dg::on(later).submit([](const tracked& t) { return t.value; }, tracked(3));
    auto gone = dg::on(later).submit([](const tracked& t) { return t.value; }, tracked(4));
    auto dependent = dg::on(later).submit([](const tracked& t, int v) { return t.value + v; }, tracked(5), result);
    CHECK(tracked::live.load() == 3);
  }
  CHECK(tracked::live.load() == 0);
  CHECK(holds<dg::cancelled_error>(result));
}

// ---------------------------------------------------------------------------------------------- 8

TEST_CASE("a thread that took from a stream and has ended keeps nothing of it", "[memory][S-MEM-4][L-8]") {
  support::watchdog dog("a consumer's thread ends");
  const long before = dg::detail::memory_counter::live(dg::detail::memory_kind::record);
  {
    dg::thread_pool pool(1);
    auto stream = pool.submit(tracked_to, 1000);
    std::thread([&] { CHECK(stream.next().has_value()); }).join();
  }
  CHECK(dg::detail::memory_counter::live(dg::detail::memory_kind::record) == before);
}

TEST_CASE("a thread that ran a task which took from a stream keeps nothing of it", "[memory][S-MEM-4][L-8]") {
  support::watchdog dog("a task ends that has given its stream away");
  const long before = dg::detail::memory_counter::live(dg::detail::memory_kind::record);
  {
    dg::manual_executor manual;
    auto read_one = [](dg::ref_stream<tracked> s) {
      static_cast<void>(s.try_next());
      return s;
    };
    auto stream = dg::on(manual).options(dg::backpressure{40}).submit(tracked_to, 10);
    manual.run_all();
    auto rest = dg::on(manual).submit(read_one, std::move(stream));
    manual.run_all();
    std::thread([&] { rest = {}; }).join();  // the stream is dropped on a thread that did not read it
  }
  CHECK(dg::detail::memory_counter::live(dg::detail::memory_kind::record) == before);
}

TEST_CASE("a dependent that is submitted while its dependency fails frees its record", "[memory][S-MEM-4][S-ERR-3]") {
  support::watchdog dog("dependents of failing promises");
  constexpr int rounds = 3000;
  const long before = dg::detail::memory_counter::live(dg::detail::memory_kind::record);
  {
    dg::thread_pool pool(1);
    std::vector<dg::promise<int>> promises(rounds);
    std::vector<dg::ref<int>> given;
    for (auto& p : promises) given.push_back(p.get_ref());
    std::atomic<int> round{-1};
    std::thread fails([&] {
      for (int i = 0; i < rounds; ++i) {
        while (round.load() < i) {
        }
        promises[static_cast<std::size_t>(i)].set_exception(std::make_exception_ptr(std::runtime_error("failed")));
      }
    });
    int wrong = 0;
    for (int i = 0; i < rounds; ++i) {
      dg::ref<int> failing = std::move(given[static_cast<std::size_t>(i)]);
      round.store(i);
      const dg::ref<int> dependent = pool.submit([](int n) { return n; }, std::move(failing));
      if (support::message_of([&] { dependent.get(); }) != "failed") ++wrong;
    }
    fails.join();
    CHECK(wrong == 0);
  }
  CHECK(dg::detail::memory_counter::live(dg::detail::memory_kind::record) == before);
}

// ---------------------------------------------------------------------------------------------- 6

TEST_CASE("a value whose ref is already gone is destroyed when it is yielded", "[memory][S-MEM-6]") {
  load::reset();
  dg::manual_executor later;
  auto refs = dg::on(later).options(dg::num_returns<20>{}).submit(loads, 20);
  auto end = refs[0].completion();
  refs = {};
  later.run_all();
  end.get();
  CHECK(load::peak.load() == 1);
  CHECK(load::live.load() == 0);
}

TEST_CASE("only the refs that the caller holds keep memory", "[memory][S-MEM-6]") {
  load::reset();
  dg::manual_executor later;
  auto refs = dg::on(later).options(dg::num_returns{20}).submit(loads, 20);
  for (std::size_t i = 0; i < refs.size(); ++i) {
    if (i % 4 != 0) refs[i] = {};
  }
  later.run_all();
  CHECK(load::live.load() == 5);
  CHECK(load::peak.load() <= 6);
  for (std::size_t i = 0; i < refs.size(); i += 4) CHECK(refs[i].get().value == static_cast<int>(i));
}

TEST_CASE("under dynamic, a list without handles keeps no value", "[memory][S-MEM-6][S-MEM-4]") {
  load::reset();
  dg::manual_executor later;
  { auto outer = dg::on(later).options(dg::dynamic).submit(loads, 20); }
  later.run_all();
  CHECK(load::live.load() == 0);
}

}  // namespace test_memory
