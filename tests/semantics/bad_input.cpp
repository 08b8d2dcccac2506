// SPDX-License-Identifier: MIT
// Misuse: each gives a documented error, and nothing is lost, leaks or hangs.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <array>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace test_bad_input {

using namespace std::chrono_literals;
using support::boom;
using support::count_to;
using support::error_log;
using support::eventually;
using support::gate;
using support::holds;
using support::message_of;
using support::move_only;
using support::occurrences;
using support::reporting_to;
using support::tracked;
using support::tracked_to;

namespace {

/// Makes a pool of `threads` through the options.
template <class Number>
void pool_with(Number threads) {
  dg::thread_pool_options options;
  options.threads = threads;
  dg::thread_pool pool(options);
}

/// Copies and moves while `allowed` is true, else throws.
struct moody {
  static inline std::atomic<bool> allowed{true};
  static inline std::atomic<int> live{0};
  int value = 0;
  explicit moody(int v) : value(v) { ++live; }
  moody(const moody& other) : value(other.value) {
    check();
    ++live;
  }
  moody(moody&& other) : value(other.value) {
    check();
    ++live;
  }
  moody& operator=(const moody&) = delete;
  ~moody() { --live; }
  static void check() {
    if (!allowed) throw boom("moody");
  }
};

/// Throws from its destructor, unless it was moved from.
struct explosive {
  bool armed = true;
  explosive() = default;
  explosive(explosive&& other) noexcept : armed(std::exchange(other.armed, false)) {}
  explosive& operator=(explosive&&) = delete;
  ~explosive() noexcept(false) {
    if (armed) throw boom("destructor");
  }
};

}  // namespace

// ---------------------------------------------------------------------------------------- numbers

TEST_CASE("backpressure of 0 is refused", "[bad_input][S-STREAM-4]") {
  CHECK_THROWS_AS(dg::backpressure{0}, std::invalid_argument);
  CHECK_THROWS_AS(dg::backpressure{0u}, std::invalid_argument);
  CHECK_THROWS_AS(dg::backpressure{-1}, std::invalid_argument);
  CHECK_THROWS_AS(dg::backpressure{std::numeric_limits<long long>::min()}, std::invalid_argument);
  CHECK_THROWS_AS(dg::backpressure{(std::uint64_t{1} << 31) + 1}, std::invalid_argument);
  CHECK_NOTHROW(dg::backpressure{1});
}

TEST_CASE("a negative or enormous number of returns is refused", "[bad_input]") {
  CHECK_THROWS_AS(dg::num_returns{-1}, std::invalid_argument);
  CHECK_THROWS_AS(dg::num_returns{std::numeric_limits<int>::min()}, std::invalid_argument);
  CHECK_THROWS_AS(dg::num_returns{static_cast<signed char>(-1)}, std::invalid_argument);
  CHECK_THROWS_AS(dg::num_returns{(std::uint64_t{1} << 31) + 1}, std::invalid_argument);
  CHECK_THROWS_AS(dg::num_returns{std::numeric_limits<std::uint64_t>::max()}, std::invalid_argument);
  CHECK_NOTHROW(dg::num_returns{0});
}

TEST_CASE("a pool of 0, of fewer or of more than 4096 threads is refused", "[bad_input]") {
  CHECK_THROWS_AS(dg::thread_pool(0), std::invalid_argument);
  CHECK_THROWS_AS(dg::thread_pool(-1), std::invalid_argument);
  CHECK_THROWS_AS(dg::thread_pool(4097), std::invalid_argument);
  CHECK_THROWS_AS(dg::thread_pool(5000), std::invalid_argument);
  CHECK_THROWS_AS(dg::thread_pool(std::numeric_limits<long long>::max()), std::invalid_argument);
  CHECK_THROWS_AS(dg::thread_pool((std::uint64_t{1} << 32) + 1), std::invalid_argument);
  CHECK_THROWS_AS(pool_with(0), std::invalid_argument);
  CHECK_THROWS_AS(pool_with(-1), std::invalid_argument);
  CHECK_THROWS_AS(pool_with(5000u), std::invalid_argument);
  CHECK_NOTHROW(pool_with(std::size_t{1}));
}

TEST_CASE("a pool has the requested number of threads", "[bad_input]") {
  support::watchdog dog("bad input: threads()");
  CHECK(dg::thread_pool(1).threads() == 1u);
  CHECK(dg::thread_pool(3).threads() == 3u);
  CHECK(dg::thread_pool().threads() >= 1u);
  CHECK(dg::thread_pool(static_cast<short>(2)).threads() == 2u);
}

// ---------------------------------------------------------------------------------- empty handles

TEST_CASE("an empty ref is refused as an argument, and nothing is submitted", "[bad_input]") {
  dg::manual_executor later;
  int ran = 0;
  const dg::ref<int> empty{};
  const dg::ref<void> nothing{};
  CHECK_THROWS_AS(dg::on(later).submit([&](int) { ++ran; }, empty), dg::empty_ref);
  CHECK_THROWS_AS(dg::on(later).submit([&] { ++ran; }, nothing), dg::empty_ref);
  CHECK_THROWS_AS(dg::on(later).submit([&](int) { ++ran; }, dg::consume(dg::ref<int>())), dg::empty_ref);
  CHECK_THROWS_AS(dg::on(later).options(dg::after(empty)).submit([&] { ++ran; }), dg::empty_ref);
  CHECK_THROWS_AS(dg::on(later).options(dg::num_returns<2>{}).submit(count_to, empty), dg::empty_ref);
  CHECK_THROWS_AS(dg::on(later).options(dg::dynamic).submit(count_to, empty), dg::empty_ref);
  CHECK_THROWS_AS(dg::on(later).submit(count_to, empty), dg::empty_ref);
  later.run_all();
  CHECK(ran == 0);
}

TEST_CASE("an empty ref is refused by every free function", "[bad_input]") {
  support::watchdog dog("bad input: empty refs");
  const dg::ref<int> empty{};
  const auto good = dg::put(1);
  const std::vector<dg::ref<int>> mixed{good, empty};
  CHECK_THROWS_AS(dg::get(empty), dg::empty_ref);
  CHECK_THROWS_AS(dg::get(good, empty), dg::empty_ref);
  CHECK_THROWS_AS(dg::get(mixed), dg::empty_ref);
  CHECK_THROWS_AS(dg::wait(mixed, 2), dg::empty_ref);
  CHECK_THROWS_AS(dg::wait(mixed, 2, 1ms), dg::empty_ref);
  CHECK_THROWS_AS(dg::wait_any(empty, good), dg::empty_ref);
  CHECK_THROWS_AS(dg::wait_any(mixed), dg::empty_ref);
  CHECK_THROWS_AS(dg::wait_any_for(1ms, empty), dg::empty_ref);
  dg::ref<int> mutable_empty;
  CHECK_THROWS_AS(dg::cancel(mutable_empty), dg::empty_ref);
}

TEST_CASE("an empty list or stream is refused in every call", "[bad_input][S-DETAIL-5]") {
  support::watchdog dog("bad input: empty lists and streams");
  const dg::ref_list<int> list{};
  CHECK_THROWS_AS(list.size(), dg::empty_ref);
  CHECK_THROWS_AS(list.at(0), dg::empty_ref);
  CHECK_THROWS_AS(list.begin(), dg::empty_ref);
  CHECK_THROWS_AS(dg::get(list), dg::empty_ref);
  dg::ref_stream<int> stream;
  CHECK_THROWS_AS(stream.next(), dg::empty_ref);
  CHECK_THROWS_AS(stream.values(), dg::empty_ref);
  CHECK_THROWS_AS(std::move(stream).detach(), dg::empty_ref);
  CHECK_THROWS_AS(dg::wait_any(stream), dg::empty_ref);
}

TEST_CASE("an empty handle is still copied, moved, assigned and destroyed", "[bad_input]") {
  dg::ref<int> a;
  dg::ref<int> b = a;
  dg::ref<int> c = std::move(b);
  a = c;
  CHECK_FALSE(a.valid());
  dg::ref_list<int> l;
  dg::ref_list<int> m = l;
  l = std::move(m);
  CHECK_FALSE(l.valid());
  dg::ref_stream<int> s;
  dg::ref_stream<int> t = std::move(s);
  s = std::move(t);
  CHECK_FALSE(s.valid());
}

// ---------------------------------------------------------------------------------- out of range

TEST_CASE("at() out of range throws std::out_of_range", "[bad_input]") {
  dg::inline_executor here;
  for (int n : {0, 1, 64}) {
    const dg::ref_list<int> list = dg::on(here).options(dg::dynamic).submit(count_to, n).get();
    CHECK_THROWS_AS(list.at(static_cast<std::size_t>(n)), std::out_of_range);
    CHECK_THROWS_AS(list.at(static_cast<std::size_t>(n) + 1), std::out_of_range);
    CHECK_THROWS_AS(list.at(std::numeric_limits<std::size_t>::max()), std::out_of_range);
    if (n > 0) CHECK(list.at(static_cast<std::size_t>(n) - 1).get() == n - 1);
  }
}

TEST_CASE("a wait for more refs than are given throws std::invalid_argument", "[bad_input][S-WAIT-8]") {
  support::watchdog dog("bad input: wait for too many");
  const std::vector<dg::ref<int>> two{dg::put(1), dg::put(2)};
  const std::vector<dg::ref<int>> none;
  CHECK_THROWS_AS(dg::wait(two, 3), std::invalid_argument);
  CHECK_THROWS_AS(dg::wait(two, 3, 1ms), std::invalid_argument);
  CHECK_THROWS_AS(dg::wait(none), std::invalid_argument);
  CHECK_THROWS_AS(dg::wait(none, 1, 1ms), std::invalid_argument);
  CHECK(dg::wait(two, 2).ready.size() == 2u);
}

TEST_CASE("get of no refs is an empty vector", "[bad_input]") {
  std::vector<dg::ref<int>> none;
  CHECK(dg::get(none).empty());
  CHECK(dg::get(std::move(none)).empty());
}

TEST_CASE("wait_any of an empty range is refused instead of waiting for ever", "[bad_input]") {
  support::watchdog dog("bad input: wait_any of nothing");
  const std::vector<dg::ref<int>> none;
  CHECK_THROWS_AS(dg::wait_any(none), std::invalid_argument);
}

// --------------------------------------------------------------------------------- shared values

TEST_CASE("a move-only value read through two refs: one error, nothing lost", "[bad_input]") {
  support::watchdog dog("bad input: move-only value, two takers");
  tracked::reset();
  {
    dg::thread_pool pool(2);
    auto a = pool.submit([] { return move_only(1); });
    auto b = a;
    CHECK_THROWS_AS(std::move(a).get(), dg::shared_value);
    CHECK_THROWS_AS(std::move(b).take(), dg::shared_value);
    CHECK(a.get().value == 1);
    auto first = pool.submit([](const move_only& v) { return v.value; }, a);
    auto second = pool.submit([](const move_only& v) { return v.value; }, b);
    CHECK(first.get() + second.get() == 2);
    auto third = pool.submit([](move_only v) { return v.value; }, dg::consume(std::move(a)));
    CHECK(holds<dg::shared_value>(third));
    CHECK(b.get().value == 1);
    std::vector<dg::ref<move_only>> both{b, b};
    CHECK_THROWS_AS(dg::get(std::move(both)), dg::shared_value);
    CHECK(b.get().value == 1);
  }
  CHECK(tracked::live.load() == 0);
}

// -------------------------------------------------------------------------------------- callables

TEST_CASE("a null function pointer is an error, not a crash", "[bad_input]") {
  support::watchdog dog("bad input: null callable");
  dg::thread_pool pool(1);
  // Thrown from submit or stored in the ref: the caller sees it either way.
  const auto refused = [](auto submit) {
    try {
      auto r = submit();
      r.wait();
      return r.failed();
    } catch (const std::exception&) {
      return true;
    }
  };
  int (*plain)() = nullptr;
  CHECK(refused([&] { return pool.submit(plain); }));
  dg::generator<int> (*generator)(int) = nullptr;
  CHECK(refused([&] { return pool.options(dg::num_returns<1>{}).submit(generator, 1)[0]; }));
  CHECK(refused([&] { return pool.options(dg::dynamic).submit(generator, 1); }));
  int (std::string::*member)() const = nullptr;
  CHECK(refused([&] { return pool.submit(member, std::string("object")); }));
  CHECK(refused([&] { return pool.submit(std::function<int()>()); }));
  CHECK(pool.submit([] { return 1; }).get() == 1);
}

TEST_CASE("a null function pointer throws std::invalid_argument from submit", "[bad_input]") {
  dg::manual_executor later;
  int (*plain)() = nullptr;
  dg::generator<int> (*generator)(int) = nullptr;
  CHECK_THROWS_AS(dg::on(later).submit(plain), std::invalid_argument);
  CHECK_THROWS_AS(dg::on(later).submit(generator, 1), std::invalid_argument);
}

// --------------------------------------------------------------------------------------- shutdown

TEST_CASE("submit after shutdown throws pool_stopped", "[bad_input][S-STOP-3]") {
  support::watchdog dog("bad input: submit after shutdown");
  for (auto mode : {dg::shutdown_mode::drain, dg::shutdown_mode::cancel}) {
    tracked::reset();
    dg::thread_pool pool(2);
    auto options = pool.options(dg::num_returns<2>{});
    auto before = pool.submit([] { return 1; });
    before.wait();
    pool.shutdown(mode);
    int ran = 0;
    CHECK_THROWS_AS(pool.submit([&](const tracked&) { ++ran; }, tracked(1)), dg::pool_stopped);
    CHECK_THROWS_AS(options.submit(count_to, 2), dg::pool_stopped);
    CHECK_THROWS_AS(pool.submit(count_to, 2), dg::pool_stopped);
    CHECK_THROWS_AS(pool.submit([](int v) { return v; }, before), dg::pool_stopped);
    CHECK(ran == 0);
    CHECK(before.get() == 1);
    CHECK(tracked::live.load() == 0);
    CHECK_NOTHROW(pool.shutdown(mode));
    CHECK_NOTHROW(pool.shutdown(dg::shutdown_mode::cancel));
  }
}

TEST_CASE("shutdown that drains runs everything that was submitted", "[bad_input][S-STOP-1]") {
  support::watchdog dog("bad input: drain");
  dg::thread_pool pool(2);
  std::vector<dg::ref<int>> refs;
  for (int i = 0; i < 200; ++i) refs.push_back(pool.submit([i] { return i; }));
  pool.shutdown(dg::shutdown_mode::drain);
  for (int i = 0; i < 200; ++i) {
    REQUIRE(refs[static_cast<std::size_t>(i)].ready());
    CHECK(refs[static_cast<std::size_t>(i)].get() == i);
  }
}

TEST_CASE("threads that wait while the pool is destroyed wake with a value or cancelled_error",
          "[bad_input][S-STOP-4]") {
  support::watchdog dog("bad input: destroyed under its waiters");
  for (int round = 0; round < 20; ++round) {
    dg::manual_executor outside;
    auto never = dg::on(outside).submit([] { return 1; });
    std::atomic<int> waiting{0}, cancelled{0}, woken{0};
    dg::ref<int> value;
    dg::ref<int> other;
    dg::ref_stream<int> stream;
    std::vector<std::thread> waiters;
    {
      dg::thread_pool pool(2);
      value = pool.submit([](int v) { return v; }, never);
      other = pool.submit([](int v) { return v; }, never);
      stream = pool.submit(count_to, never);
      waiters.emplace_back([&] {
        ++waiting;
        if (holds<dg::cancelled_error>(value)) ++cancelled;
        ++woken;
      });
      waiters.emplace_back([&] {
        ++waiting;
        try {
          static_cast<void>(stream.next_value());
        } catch (const dg::cancelled_error&) {
          ++cancelled;
        }
        ++woken;
      });
      waiters.emplace_back([&] {
        ++waiting;
        static_cast<void>(dg::wait_any(other, never));
        if (holds<dg::cancelled_error>(other)) ++cancelled;
        ++woken;
      });
      while (waiting.load() < 3) std::this_thread::yield();
    }
    for (auto& t : waiters) t.join();
    CHECK(woken.load() == 3);
    CHECK(cancelled.load() == 3);
    outside.run_all();
  }
}

TEST_CASE("handles and option sets of a pool that is gone may be destroyed", "[bad_input][S-MEM-5]") {
  support::watchdog dog("bad input: handles after the pool");
  tracked::reset();
  {
    std::vector<dg::ref<tracked>> refs;
    dg::ref_stream<tracked> stream;
    dg::ref<void> end;
    {
      dg::thread_pool pool(2);
      refs = pool.options(dg::num_returns{3}).submit(tracked_to, 3);
      stream = pool.options(dg::backpressure{1}).submit(tracked_to, 100);
      end = stream.completion();
    }
    CHECK(end.ready());
    CHECK_FALSE(refs[0].cancel());
    static_cast<void>(stream.cancel());
    CHECK(refs[2].get().value == 2);
  }
  CHECK(tracked::live.load() == 0);
}

// ----------------------------------------------------------------------- values that do not behave

TEST_CASE("get throws the exception of a throwing copy, and the value stays", "[bad_input][S-ERR-10]") {
  moody::allowed = true;
  {
    auto r = dg::put(moody(4));
    auto other = r;
    moody::allowed = false;
    CHECK_THROWS_AS(std::move(other).get(), boom);
    CHECK(r.get().value == 4);
    const std::vector<dg::ref<moody>> refs{r, r};
    CHECK_THROWS_AS(dg::get(refs), boom);
    moody::allowed = true;
    CHECK(r.get().value == 4);
    CHECK(moody(r.get()).value == 4);
  }
  CHECK(moody::live.load() == 0);
}

TEST_CASE("take and next_value throw the exception of a throwing move", "[bad_input][S-ERR-10]") {
  moody::allowed = true;
  {
    auto r = dg::put(moody(4));
    moody::allowed = false;
    CHECK_THROWS_AS(std::move(r).take(), boom);
    moody::allowed = true;
    dg::inline_executor here;
    auto stream = dg::on(here).submit([]() -> dg::generator<moody> {
      co_yield dg::emplace(1);
      co_yield dg::emplace(2);
    });
    moody::allowed = false;
    CHECK_THROWS_AS(stream.next_value(), boom);
    moody::allowed = true;
    int rest = 0;
    while (auto v = stream.next()) ++rest;
    CHECK(rest <= 2);
    CHECK(stream.finished());
  }
  CHECK(moody::live.load() == 0);
}

TEST_CASE("put of a value that cannot be moved in throws, and leaks nothing", "[bad_input][S-ERR-7]") {
  moody::allowed = true;
  {
    moody local(1);
    moody::allowed = false;
    CHECK_THROWS_AS(dg::put(local), boom);
    CHECK_THROWS_AS(dg::put(std::move(local)), boom);
    moody::allowed = true;
  }
  CHECK(moody::live.load() == 0);
}

TEST_CASE("a value that throws when it is moved into its place fails its ref", "[bad_input][S-ERR-7]") {
  support::watchdog dog("bad input: throwing move of a result");
  moody::allowed = true;
  {
    dg::thread_pool pool(2);
    auto f = []() -> dg::generator<moody> {
      moody value(1);
      moody::allowed = false;
      co_yield std::move(value);
    };
    auto refs = pool.options(dg::num_returns<1>{}).submit(f);
    CHECK(holds<boom>(refs[0]));
    refs[0].completion().wait();
    moody::allowed = true;
  }
  CHECK(moody::live.load() == 0);
}

TEST_CASE("a value whose destructor throws does not terminate the thread that drops it", "[bad_input][S-ERR-10]") {
  support::watchdog dog("bad input: throwing destructor");
  error_log log;
  {
    dg::thread_pool pool(reporting_to(log));
    auto list = pool.options(dg::dynamic).submit([]() -> dg::generator<explosive> {
      for (int i = 0; i < 3; ++i) {
        explosive value;
        co_yield std::move(value);
      }
    });
    list.wait();
    CHECK(log.count() == 0u);
    list = {};
    CHECK(log.count_of<boom>() == 3u);
    auto stream = pool.submit([]() -> dg::generator<explosive> {
      for (int i = 0; i < 3; ++i) {
        explosive value;
        co_yield std::move(value);
      }
    });
    static_cast<void>(stream.next());
    stream.completion().wait();
    stream = {};
    CHECK(log.count_of<boom>() == 6u);
    CHECK(pool.submit([] { return 1; }).get() == 1);
  }
  CHECK(log.count() == 6u);
}

TEST_CASE("a container that throws while it is taken apart fails the refs from there on", "[bad_input][S-ERR-7]") {
  support::watchdog dog("bad input: throwing move of an element");
  moody::allowed = true;
  {
    dg::inline_executor here;
    auto f = [] {
      std::vector<moody> all;
      all.reserve(2);
      all.emplace_back(1);
      all.emplace_back(2);
      moody::allowed = false;
      return all;
    };
    auto refs = dg::on(here).options(dg::num_returns<2>{}).submit(f);
    moody::allowed = true;
    CHECK(holds<boom>(refs[0]));
    CHECK(holds<boom>(refs[1]));
  }
  CHECK(moody::live.load() == 0);
}

}  // namespace test_bad_input
