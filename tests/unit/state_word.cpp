// SPDX-License-Identifier: MIT
// Every transition of a task's state word, from every phase, and the flags beside it.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstdint>
#include <memory>

namespace test_state_word {

using dg::detail::phase;
using dg::detail::state_word;
using next = state_word::next;

namespace {

/// A word in phase `p`, with its link in the queue if `queued_link`.
void bring_to(state_word& w, phase p, bool queued_link = false) {
  if (p == phase::waiting) {
    REQUIRE_FALSE(queued_link);  // nothing queues a task that waits
    return;
  }
  REQUIRE(w.make_ready() == next::push);
  if (p != phase::queued) {
    if (queued_link)
      REQUIRE(w.claim_queued());
    else
      REQUIRE(w.pop());
    if (p == phase::parked) REQUIRE(w.park(0));
    if (p == phase::ended) w.end();
  }
}

phase now(const state_word& w) { return state_word::phase_of(w.load()); }
bool linked(const state_word& w) { return (w.load() & state_word::in_queue) != 0; }

}  // namespace

TEST_CASE("a new task waits, without a flag", "[state_word]") {
  state_word w;
  CHECK(w.load() == 0);
  CHECK(now(w) == phase::waiting);
  CHECK_FALSE(w.wants_attention());
}

TEST_CASE("make_ready queues a waiting or parked task, and nothing else", "[state_word]") {
  for (const phase from : {phase::waiting, phase::parked}) {
    state_word w;
    bring_to(w, from);
    CHECK(w.make_ready() == next::push);
    CHECK(now(w) == phase::queued);
    CHECK(linked(w));
  }
  for (const phase from : {phase::queued, phase::running, phase::ended}) {
    state_word w;
    bring_to(w, from);
    const std::uint32_t before = w.load();
    CHECK(w.make_ready() == next::nothing);
    CHECK(w.load() == before);
  }
}

TEST_CASE("a second make_ready has nothing to push", "[state_word]") {
  state_word w;
  CHECK(w.make_ready() == next::push);
  CHECK(w.make_ready() == next::nothing);
  CHECK(now(w) == phase::queued);
}

TEST_CASE("a parked task whose link is still queued is queued again without a second link", "[state_word]") {
  state_word w;
  bring_to(w, phase::parked, true);
  CHECK(linked(w));
  CHECK(w.make_ready() == next::nothing);
  CHECK(now(w) == phase::queued);
  CHECK(w.pop());  // by the link that was there all the time
  CHECK(now(w) == phase::running);
  CHECK_FALSE(linked(w));
}

TEST_CASE("requeue asks for a push only when no link is queued", "[state_word]") {
  {
    state_word w;
    bring_to(w, phase::running);
    CHECK(w.requeue() == next::push);
    CHECK(now(w) == phase::queued);
    CHECK(linked(w));
  }
  {
    state_word w;
    bring_to(w, phase::running, true);
    CHECK(w.requeue() == next::nothing);
    CHECK(now(w) == phase::queued);
    CHECK(linked(w));
  }
}

TEST_CASE("pop runs a queued task, and otherwise only removes the link", "[state_word]") {
  state_word queued;
  bring_to(queued, phase::queued);
  CHECK(queued.pop());
  CHECK(now(queued) == phase::running);
  CHECK_FALSE(linked(queued));

  for (const phase from : {phase::running, phase::parked, phase::ended}) {
    state_word w;
    bring_to(w, from, true);
    CHECK(linked(w));
    CHECK_FALSE(w.pop());
    CHECK(now(w) == from);
    CHECK_FALSE(linked(w));
  }
}

TEST_CASE("drop_link keeps the link of a queued task", "[state_word]") {
  state_word queued;
  bring_to(queued, phase::queued);
  CHECK_FALSE(queued.drop_link());
  CHECK(now(queued) == phase::queued);
  CHECK(linked(queued));

  for (const phase from : {phase::running, phase::parked, phase::ended}) {
    state_word w;
    bring_to(w, from, true);
    CHECK(w.drop_link());
    CHECK(now(w) == from);
    CHECK_FALSE(linked(w));
  }
}

TEST_CASE("claim_queued and claim_parked each take a task from one phase only, once", "[state_word]") {
  for (const phase from : {phase::waiting, phase::queued, phase::running, phase::parked, phase::ended}) {
    state_word a;
    bring_to(a, from);
    CHECK(a.claim_queued() == (from == phase::queued));
    CHECK(now(a) == (from == phase::queued ? phase::running : from));
    CHECK(linked(a) == (from == phase::queued));  // its link stays in the queue
    CHECK_FALSE(a.claim_queued());

    state_word b;
    bring_to(b, from);
    CHECK(b.claim_parked() == (from == phase::parked));
    CHECK(now(b) == (from == phase::parked ? phase::running : from));
    CHECK_FALSE(b.claim_parked());
  }
}

TEST_CASE("park refuses when one of the given flags is set", "[state_word]") {
  for (const std::uint32_t flag : {state_word::cancelled, state_word::detached}) {
    state_word w;
    bring_to(w, phase::running);
    w.set(flag);
    CHECK(w.wants_attention());
    CHECK_FALSE(w.park(state_word::attention));
    CHECK(now(w) == phase::running);
    CHECK(w.park(state_word::attention & ~flag));
    CHECK(now(w) == phase::parked);
  }
}

TEST_CASE("an abandoned stream does not ask for attention", "[state_word]") {
  state_word w;
  bring_to(w, phase::running);
  w.set(state_word::abandoned);
  CHECK_FALSE(w.wants_attention());
  CHECK(w.park(state_word::attention));
}

TEST_CASE("set and end return the former word", "[state_word]") {
  state_word w;
  bring_to(w, phase::running);
  CHECK(w.set(state_word::cancelled) == static_cast<std::uint32_t>(phase::running));
  CHECK(w.set(state_word::cancelled) == (static_cast<std::uint32_t>(phase::running) | state_word::cancelled));
  CHECK(w.end() == (static_cast<std::uint32_t>(phase::running) | state_word::cancelled));
  CHECK(now(w) == phase::ended);
}

TEST_CASE("flags survive every transition", "[state_word]") {
  constexpr std::uint32_t flags = state_word::cancelled | state_word::detached | state_word::abandoned;
  state_word w;
  w.set(flags);
  const auto kept = [&] { return (w.load() & flags) == flags; };
  w.make_ready();
  CHECK(kept());
  CHECK(w.pop());
  CHECK(kept());
  CHECK(w.park(0));
  CHECK(kept());
  CHECK(w.claim_parked());
  CHECK(kept());
  CHECK(w.requeue() == next::push);
  CHECK(kept());
  CHECK(w.claim_queued());
  CHECK(kept());
  CHECK(w.drop_link());
  CHECK(kept());
  w.end();
  CHECK(kept());
}

TEST_CASE("a call of an actor is claimed to be ended only after its actor has handed it on",
          "[state_word][S-CANCEL-9]") {
  state_word w;
  w.begin_queued(0);
  CHECK(w.claim_handed_on());
  CHECK_FALSE(w.claim_handed_on());
  CHECK(w.hand_back() == next::nothing);  // its link is still in the queue
  CHECK(w.claim_handed_on());
  CHECK_FALSE(w.pop());  // the link is removed
  CHECK(w.hand_back() == next::push);
  for (const bool parks : {false, true}) {
    REQUIRE(w.claim_handed_on());
    if (parks) REQUIRE(w.park(0));
    CHECK((parks ? w.make_ready() : w.requeue()) == next::nothing);
    CHECK_FALSE(w.claim_handed_on());
    w.clear(state_word::has_run);
    w.set(state_word::waiting_for_turn);
    CHECK_FALSE(w.claim_handed_on());
    w.clear(state_word::waiting_for_turn);
  }
  CHECK(w.claim_handed_on());
}

}  // namespace test_state_word
