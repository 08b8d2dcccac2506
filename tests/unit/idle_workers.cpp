// SPDX-License-Identifier: MIT
// The counts of running, searching and sleeping workers, on one thread: what each transition does to them. A thread
// that finds its token posted before it would sleep plays the part of a sleeper.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstdint>
#include <thread>

namespace test_idle_workers {

using dg::detail::park_result;
using dg::detail::idle_workers;

namespace {

struct counts {
  std::uint32_t active, searching, parked;
  bool operator==(const counts&) const = default;
};
counts of(const idle_workers& s) { return {s.active(), s.searching(), s.parked()}; }

const auto nothing_left = [] { return false; };
const auto work_left = [] { return true; };

}  // namespace

TEST_CASE("a new thread runs and searches, finds work, searches again", "[seats]") {
  idle_workers s(2);
  CHECK(s.width() == 2);
  CHECK(of(s) == counts{0, 0, 0});
  s.start_searching();
  CHECK(of(s) == counts{1, 1, 0});
  s.start_searching();
  CHECK(of(s) == counts{2, 2, 0});
  CHECK_FALSE(s.found_work());
  CHECK(of(s) == counts{2, 1, 0});
  CHECK(s.found_work());  // the last searcher
  CHECK(of(s) == counts{2, 0, 0});
  s.resume_searching();
  CHECK(of(s) == counts{2, 1, 0});
}

TEST_CASE("a thread that blocks is not counted as running, and is counted again without waiting", "[seats]") {
  idle_workers s(1);
  s.start_searching();
  CHECK(s.found_work());
  s.leave();
  CHECK(of(s) == counts{0, 0, 0});
  CHECK_FALSE(s.oversubscribed());
  s.start_searching();
  CHECK(s.found_work());
  s.enter();
  CHECK(of(s) == counts{2, 0, 0});
  CHECK(s.oversubscribed());
}

TEST_CASE("no thread is woken where none sleeps", "[seats]") {
  idle_workers s(2);
  CHECK_FALSE(s.notify());
  s.start_searching();
  CHECK_FALSE(s.notify());
  CHECK(s.found_work());
  CHECK_FALSE(s.notify());
  CHECK(of(s) == counts{1, 0, 0});
}

TEST_CASE("a thread that is about to sleep and sees work goes on searching", "[seats]") {
  idle_workers s(1);
  s.start_searching();
  int looks = 0;
  CHECK(s.park([&] {
    ++looks;
    CHECK(of(s) == counts{0, 0, 1});  // it looks after it has announced that it will sleep
    return true;
  }) == park_result::search);
  CHECK(looks == 1);
  CHECK(of(s) == counts{1, 1, 0});
}

TEST_CASE("a sleeper is woken by one notify, and only by that", "[seats]") {
  idle_workers s(1);
  s.start_searching();
  support::watchdog guard("a sleeper that was notified");
  // The notify happens between the look and the sleep.
  CHECK(s.park([&] {
    CHECK(s.notify());
    CHECK(of(s) == counts{1, 1, 0});  // claimed already
    CHECK_FALSE(s.notify());          // no thread is left to wake
    return false;
  }) == park_result::search);
  CHECK(of(s) == counts{1, 1, 0});
}

TEST_CASE("no thread is woken while another one searches, or while as many run as the pool is wide", "[seats]") {
  idle_workers s(2);
  s.start_searching();
  s.start_searching();
  support::watchdog guard("a sleeper beside a searcher");
  CHECK(s.park([&] {
    CHECK(of(s) == counts{1, 1, 1});
    CHECK_FALSE(s.notify());  // one searches
    CHECK(s.found_work());
    s.enter();
    CHECK(of(s) == counts{2, 0, 1});
    CHECK_FALSE(s.notify());  // as many run as the pool is wide
    s.leave();
    CHECK(s.notify());
    return false;
  }) == park_result::search);
  CHECK(of(s) == counts{2, 1, 0});
}

TEST_CASE("a spare thread begins asleep, and is woken when fewer threads run than the pool is wide", "[seats]") {
  idle_workers s(1);
  support::watchdog guard("a spare");
  CHECK(s.start_parked([&] {
    CHECK(of(s) == counts{0, 0, 1});
    return true;
  }) == park_result::search);
  CHECK(of(s) == counts{1, 1, 0});
}

TEST_CASE("a thread of an oversubscribed pool parks", "[seats]") {
  idle_workers s(1);
  s.start_searching();
  CHECK(s.found_work());
  s.enter();
  CHECK(s.oversubscribed());
  support::watchdog guard("a retiree");
  CHECK(s.park_surplus([&] {
    CHECK(of(s) == counts{1, 0, 1});
    CHECK_FALSE(s.oversubscribed());
    s.leave();
    CHECK(s.notify());
    return false;
  }) == park_result::search);
  CHECK(of(s) == counts{1, 1, 0});
}

TEST_CASE("after stop no thread sleeps any more", "[seats]") {
  idle_workers s(1);
  s.start_searching();
  s.stop();
  support::watchdog guard("a stopped pool");
  CHECK(s.park(nothing_left) == park_result::stopping);
  CHECK(of(s) == counts{1, 1, 0});
  CHECK(s.park(work_left) == park_result::stopping);
  CHECK(s.found_work());
  CHECK(s.park_surplus(nothing_left) == park_result::stopping);
  CHECK(of(s) == counts{1, 1, 0});
  s.stop();
  CHECK(s.start_parked(nothing_left) == park_result::stopping);
  CHECK(of(s) == counts{2, 2, 0});
}

TEST_CASE("stop wakes all sleeping threads", "[seats]") {
  idle_workers s(2);
  support::watchdog guard("sleepers at a stop");
  park_result first{}, second{};
  {
    std::jthread a([&] { first = s.start_parked(nothing_left); });
    std::jthread b([&] { second = s.start_parked(nothing_left); });
    REQUIRE(support::eventually([&] { return s.parked() == 2; }));
    s.stop();
  }
  CHECK(first == park_result::stopping);
  CHECK(second == park_result::stopping);
  CHECK(of(s) == counts{2, 2, 0});
}

}  // namespace test_idle_workers
