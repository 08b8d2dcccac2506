// SPDX-License-Identifier: MIT
// Waiter lists, on one thread: which waiters are fired, in which order, and when leavers are discarded.

#include "../catch.hpp"
#include "../support.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

namespace test_waiter {

using dg::detail::waiter;
using dg::detail::waiter_list;

namespace {

struct noted : waiter {
  noted(int n, std::uint32_t slot, std::vector<std::pair<int, bool>>& to) : number(n), log(&to) {
    index = slot;
    on_removed = [](waiter& self, bool fired) noexcept {
      auto& me = static_cast<noted&>(self);
      ++me.removed;
      me.log->emplace_back(me.number, fired);
    };
  }
  int number;
  int removed = 0;
  std::vector<std::pair<int, bool>>* log;
};

/// Slots published, by bit.
struct published {
  std::uint64_t bits = 0;
  auto ready() {
    return [this](std::uint32_t index) noexcept { return (bits >> index & 1) != 0; };
  }
};

using log_type = std::vector<std::pair<int, bool>>;

}  // namespace

TEST_CASE("waiters are fired in the order of their registration", "[waiter]") {
  log_type log;
  published slots;
  std::deque<noted> waiters;
  {
    waiter_list list;
    for (int i = 0; i < 10; ++i) list.add(waiters.emplace_back(i, 0, log), slots.ready());
    CHECK(log.empty());
    slots.bits = 1;
    list.notify(slots.ready());
    REQUIRE(log.size() == 10);
    for (int i = 0; i < 10; ++i) CHECK(log[static_cast<std::size_t>(i)] == std::pair(i, true));
  }
  CHECK(log.size() == 10);
}

TEST_CASE("a thread that registers for something published claims its waiter, and fires no other", "[waiter]") {
  log_type log;
  published slots{1};
  noted before(0, 0, log), late(1, 0, log), other(2, 1, log);
  {
    waiter_list list;
    list.add(before, slots.ready());
    const auto is_published = [](const void* object, std::uint32_t index) noexcept {
      return (static_cast<const published*>(object)->bits >> index & 1) != 0;
    };
    CHECK(dg::detail::wait_point{&list, is_published, &slots, 0}.add(late));
    CHECK(late.is_claimed());
    CHECK_FALSE(dg::detail::wait_point{&list, is_published, &slots, 1}.add(other));
    CHECK(log.empty());
    list.notify(slots.ready());
    CHECK(log == log_type{{0, true}, {1, false}});
    log.clear();
  }
  CHECK(log == log_type{{2, false}});
}

TEST_CASE("waiters for other slots are put back, in order", "[waiter]") {
  log_type log;
  published slots;
  std::deque<noted> waiters;
  waiter_list list;
  for (int i = 0; i < 12; ++i)
    list.add(waiters.emplace_back(i, static_cast<std::uint32_t>(i % 3 == 2 ? 63 : i % 3), log), slots.ready());

  slots.bits = 2;
  list.notify(slots.ready());
  CHECK(log == log_type{{1, true}, {4, true}, {7, true}, {10, true}});
  log.clear();
  list.notify(slots.ready());
  CHECK(log.empty());
  slots.bits |= std::uint64_t{1} << 63;
  list.notify(slots.ready());
  CHECK(log == log_type{{2, true}, {5, true}, {8, true}, {11, true}});
  log.clear();
  slots.bits |= 1;
  list.notify(slots.ready());
  CHECK(log == log_type{{0, true}, {3, true}, {6, true}, {9, true}});
  for (const noted& w : waiters) CHECK(w.removed == 1);
}

TEST_CASE("only one thread claims a waiter", "[waiter]") {
  log_type log;
  noted w(0, 0, log);
  CHECK_FALSE(w.is_claimed());
  CHECK(w.try_claim());
  CHECK(w.is_claimed());
  CHECK_FALSE(w.try_claim());
}

TEST_CASE("a waiter that has left is discarded, not fired, by the next sweep", "[waiter]") {
  log_type log;
  published slots;
  noted first(0, 0, log), second(1, 0, log), other(2, 1, log);
  waiter_list list;
  for (noted* w : {&first, &second, &other}) list.add(*w, slots.ready());
  REQUIRE(first.try_claim());
  list.note_left();
  REQUIRE(other.try_claim());
  list.note_left();
  CHECK(log.empty());  // leaving never unlinks
  slots.bits = 1;
  list.notify(slots.ready());
  std::sort(log.begin(), log.end());
  CHECK(log == log_type{{0, false}, {1, true}, {2, false}});
}

TEST_CASE("a waiter that has left is removed after the other waiters are back in the list", "[waiter][L-4]") {
  struct watching : waiter {
    explicit watching(waiter_list& l) : list(&l) {
      on_removed = [](waiter& self, bool) noexcept {
        auto& me = static_cast<watching&>(self);
        me.others_were_there = me.list->any();  // code that runs here may wait for the same events
      };
    }
    waiter_list* list;
    bool others_were_there = false;
  };
  log_type log;
  published slots;
  noted stays(1, 1, log);
  waiter_list list;
  watching leaves(list);
  list.add(leaves, slots.ready());
  list.add(stays, slots.ready());
  REQUIRE(leaves.try_claim());
  list.note_left();
  list.notify(slots.ready());
  CHECK(leaves.others_were_there);
  CHECK(stays.removed == 0);
  slots.bits = 2;
  list.notify(slots.ready());
  CHECK(stays.removed == 1);
}

TEST_CASE("the end of a list discards all waiters, claimed or not", "[waiter]") {
  log_type log;
  published slots;
  noted first(0, 0, log), second(1, 0, log);
  {
    waiter_list list;
    list.add(first, slots.ready());
    list.add(second, slots.ready());
    REQUIRE(first.try_claim());
    list.note_left();
  }
  CHECK(first.removed == 1);
  CHECK(second.removed == 1);
  for (const auto& [number, fired] : log) CHECK_FALSE(fired);
}

TEST_CASE("a waiter may be added again once it is removed", "[waiter]") {
  log_type log;
  published slots;
  noted w(0, 0, log);
  waiter_list list;
  for (int i = 1; i <= 3; ++i) {
    slots.bits = 0;
    w.claimed.store(0);
    list.add(w, slots.ready());
    slots.bits = 1;
    list.notify(slots.ready());
    CHECK(w.removed == i);
  }
}

TEST_CASE("new waiters discard leavers once these outnumber the live ones", "[waiter]") {
  log_type log;
  published slots;
  std::deque<noted> waiters;
  waiter_list list;
  noted stays(-1, 5, log);
  list.add(stays, slots.ready());
  const auto discarded = [&] { return static_cast<long>(log.size()); };
  long most_linked = 0;
  for (int i = 0; i < 10000; ++i) {
    noted& w = waiters.emplace_back(i, 0, log);
    list.add(w, slots.ready());
    REQUIRE(w.try_claim());
    list.note_left();
    most_linked = std::max(most_linked, i + 1 - discarded());
  }
  CHECK(most_linked <= 40);
  CHECK(discarded() >= 10000 - 40);
  for (const auto& [number, fired] : log) CHECK_FALSE(fired);
  for (const noted& w : waiters) CHECK(w.removed <= 1);
  // The live waiter was put back each time.
  CHECK(stays.removed == 0);
  log.clear();
  slots.bits = 1u << 5;
  list.notify(slots.ready());
  CHECK(stays.removed == 1);
  CHECK(std::count(log.begin(), log.end(), std::pair(-1, true)) == 1);
}

TEST_CASE("few leavers among many live waiters stay in the list", "[waiter]") {
  log_type log;
  published slots;
  std::deque<noted> waiters;
  waiter_list list;
  for (int i = 0; i < 1000; ++i) {
    noted& w = waiters.emplace_back(i, 0, log);
    list.add(w, slots.ready());
    if (i % 4 == 0) {
      REQUIRE(w.try_claim());
      list.note_left();
    }
  }
  CHECK(log.empty());
}

TEST_CASE("a sweeper fires the waiters of a slot that is published while it puts waiters back", "[waiter]") {
  log_type log;
  noted a(0, 0, log), b(1, 1, log);
  waiter_list list;
  // Slot 1 is published right after the sweeper has looked at it.
  int looks = 0;
  const auto ready = [&](std::uint32_t index) noexcept { return index == 0 || ++looks > 1; };
  list.add(a, ready);
  list.add(b, ready);
  list.notify(ready);
  CHECK(log == log_type{{0, true}, {1, true}});
}

}  // namespace test_waiter
