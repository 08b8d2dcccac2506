// SPDX-License-Identifier: MIT
#pragma once
// The state of a program after the operations generated so far, and what is certain in it.

#include "../fuzz/choices.hpp"
#include "program.hpp"

#include <initializer_list>
#include <vector>

namespace liveness {

inline constexpr index unlimited = none;

class partial_program {
 protected:
  partial_program(std::uint64_t seed, const settings& s) : random_(fuzz::choice_source::mixed(seed)), settings_(s) {}

  struct strand_state {
    bool started = false, closed = false;
    index submitter = none, submitted = none, yields = 0, iterates = none, last_stream = none;
  };
  struct stream_state {
    enum { open, detached, gone } state = open;
    index owner = none, last = none, taken = 0, taker = none;
  };
  struct actor_state {
    std::vector<index> queue{};
    index submitter = none, submitted = none;
  };

  index below(index n) { return random_.below(n); }
  bool one_in(index n) { return random_.one_in(n); }
  index count() const { return static_cast<index>(p_.strands.size()); }
  strand_plan& of(index x) { return p_.strands[x]; }

  index add_strand(kind k) {
    p_.strands.emplace_back().what = k;
    strands_.emplace_back();
    return count() - 1;
  }
  operation& append(index x, deed what, index target = none, index n = 0, way how = way::nothing) {
    operation o;
    o.what = what;
    o.target = target;
    o.count = n;
    o.how = how;
    o.event = p_.events++;
    makers_.push_back(x);
    of(x).operations.push_back(o);
    return of(x).operations.back();
  }
  index last_of(index x) const {
    const auto& all = p_.strands[x].operations;
    return all.empty() ? none : all.back().event;
  }

  // --- what is certain ---

  /// The number of values of the stream after which the producer's code is certain to run.
  index certain(index s) const {
    const stream_state& st = streams_[s];
    const stream_plan& plan = p_.streams[s];
    if (st.state == stream_state::detached || plan.fixed) return unlimited;
    if (plan.budgeted) return st.taken;
    if (plan.room == 0) return unlimited;
    return st.taken + (plan.room <= 16 ? plan.room - 1 : plan.room / 2);
  }
  bool can_run(index x) const {
    const strand_state& st = strands_[x];
    if (!st.started || st.closed) return false;
    const strand_plan& plan = p_.strands[x];
    if (plan.actor != none)
      for (const index earlier : actors_[plan.actor].queue) {
        if (earlier == x) break;
        if (!strands_[earlier].closed) return false;
      }
    return plan.stream == none || st.yields <= certain(plan.stream);
  }

  // --- ways ---

  way pick(index x, std::initializer_list<way> blocking, std::initializer_list<way> suspending) {
    std::vector<way> all(blocking);
    if (is_coroutine(of(x).what)) {
      if (!one_in(4)) all.clear();
      all.insert(all.end(), suspending);
    }
    std::erase_if(all, [&](way w) { return (settings_.without >> static_cast<unsigned>(w) & 1) != 0; });
    if (all.empty()) return is_coroutine(of(x).what) ? *suspending.begin() : *blocking.begin();
    return all[below(static_cast<index>(all.size()))];
  }
  way awaiting(index x, bool seen) {
    using enum way;
    if (seen) return pick(x, {get, wait_any, wait_list, get}, {co_get, co_when_any, co_get});
    if (one_in(2)) return pick(x, {flag, latch, condition, spin, sleep}, {flag, latch, condition, spin, sleep});
    return pick(x, {get, get_for, wait_for, wait_any, wait_list, dependent, resubmit},
                {co_get, co_when_any, co_when_all, co_yielding, co_dependent, co_resubmit});
  }
  way taking(index x, bool fixed) {
    using enum way;
    if (fixed)
      return pick(x, {next, next_kept, next_value, next_for, any_then_next, try_next, dependent},
                  {async_next, async_kept, async_value, try_yielding, when_any_then_next, co_dependent});
    if (!is_generator(of(x).what) && one_in(6)) return values_kept;
    return pick(x, {next, next_kept, next_value, next_value, values, range, next_for, any_then_next, try_next},
                {async_next, async_kept, async_value, async_value, try_yielding, when_any_then_next});
  }

  fuzz::choice_source random_;
  const settings& settings_;
  program p_{};
  std::vector<strand_state> strands_{};
  std::vector<stream_state> streams_{};
  std::vector<actor_state> actors_{};
  std::vector<index> makers_{};  ///< the strand of each operation
};

}  // namespace liveness
