// SPDX-License-Identifier: MIT
#pragma once
// What is certain at a point of a program that is being generated: how many values a task will have stored and whether
// it will end, if no further operation follows. It never overestimates, so clients may wait for what it predicts.

#include "expected.hpp"

#include <algorithm>
#include <vector>

namespace fuzz {

struct reach {
  std::uint32_t values = 0;
  bool end = false;
};

class predictor {
 public:
  struct task_state {
    bool submitted = false;
    bool sure = true;        ///< it is submitted whatever happens before
    bool settled = false;    ///< a promise: fulfilled, failed or gone
    bool cancelled = false;  ///< it was asked to stop, or its stream dropped
    bool perhaps_cancelled = false;
    bool refused = false;    ///< a call of a dead actor: it fails, once its arguments are ready
    bool detached = false;
    bool ran = false;        ///< on a manual executor: something was run there since
    std::uint32_t taken = 0;      ///< at least
    std::uint32_t taken_most = 0; ///< at most: includes values that polls may have taken
    index consumer = none;
    index before = none;     ///< of an actor's call: the one before it
    reach quiet;             ///< on a manual executor: the state when everything had been run
    std::uint32_t actors = 0;  ///< the actors that it depends on, also indirectly
    std::uint32_t stamp[2] = {0, 0};
    std::uint32_t walk = 0;
    reach known[2];
  };

  explicit predictor(const program& p) noexcept : program_(p) {}

  task_state& of(index t) {
    if (t >= states_.size()) states_.resize(t + 1u);
    return states_[t];
  }
  const task_plan& plan(index t) const noexcept { return program_.tasks[t]; }

  /// An operation was added: cached predictions are no longer valid.
  void changed() noexcept { ++stamp_; }

  bool certain(const target& t) {
    if (t.known_ready) return true;
    const reach r = certain(t.task, false);
    return r.end || (t.at != whole && r.values > t.at);
  }

  /// `roomy`: a consumer takes all that the task yields.
  reach certain(index t, bool roomy) {
    task_state& s = of(t);
    if (s.stamp[roomy] == stamp_) return s.known[roomy];
    s.stamp[roomy] = stamp_;
    s.known[roomy] = {};
    const reach r = look(t, roomy);
    return of(t).known[roomy] = r;
  }

  /// Does the end of task `t` depend on that of `on`?
  bool depends(index t, index on) {
    ++walk_;
    return reaches(t, on);
  }

  /// The remaining part of the stream that is an argument of a task.
  reach left_for(const task_plan& p) {
    reach in = certain(p.in_targets[0].task, true);
    in.values -= std::min(in.values, of(p.in_targets[0].task).taken_most);
    return in;
  }

  /// Everything on the manual executor has been run.
  void all_was_run(index tasks) {
    // Twice: a task that reads another one's stream has a higher number, and yet determines its end.
    for (int round = 0; round < 2; ++round)
      for (index t = 0; t < tasks; ++t) {
        if (!of(t).submitted || plan(t).where != place::manual) continue;
        changed();
        const reach r = of(t).cancelled ? reach{0, true} : potential(t, false);
        of(t).quiet = r;
        of(t).ran = true;
      }
    changed();
  }

  /// Is it certain that the task's code has not even begun?
  bool blocked(index t) {
    const task_plan& p = plan(t);
    task_state& s = of(t);
    if (p.what == form::promised) return !s.settled;
    if (p.what == form::put || s.cancelled || s.perhaps_cancelled || s.refused || s.consumer != none) return false;
    if (p.where == place::manual && !s.ran) return true;
    bool one = false;
    for (const target& in : waits_for(p)) {
      if (in.task == none) continue;
      const task_plan& other = plan(in.task);
      if (other.what == form::put) continue;
      if (in.known_ready || other.what != form::promised || of(in.task).settled) return false;  // it might fail
      one = true;
    }
    return one;
  }

 private:
  reach look(index t, bool roomy) {
    const task_plan& p = plan(t);
    task_state& s = of(t);
    if (!s.submitted) return {};
    if (p.what == form::put) return {1, true};
    if (p.what == form::promised) return s.settled ? reach{1, true} : reach{};
    if (p.where == place::manual) return s.quiet;
    if (s.cancelled) return {0, true};
    return potential(t, roomy);
  }

  static std::array<target, 3> waits_for(const task_plan& p) {
    std::array<target, 3> all{};
    const bool first = p.given != input::nothing && p.given != input::unresolved && p.given != input::stream && p.given != input::list;
    if (first) all[0] = p.in_targets[0];
    if (p.given == input::two) all[1] = p.in_targets[1];
    all[2] = p.after_target;
    return all;
  }

  reach potential(index t, bool roomy) {
    const task_plan& p = plan(t);
    for (const target& in : waits_for(p))
      if (in.task != none && !certain(in)) return {};
    if (of(t).refused) return {0, true};
    for (index b = of(t).before; b != none; b = of(b).before)  // a cancelled call ends without its turn
      if (!certain(b, false).end) return {};

    const std::uint32_t total = expected_of(p, t).total;
    reach r{total, true};
    const auto stuck_at = [&r](std::uint32_t at) { r = {std::min(r.values, at), false}; };
    for (unsigned i = 0; i < p.steps; ++i) {
      const step& s = p.step_at[i];
      if (s.what >= deed::glance) continue;
      for (unsigned k = s.first; k < s.first + s.count; ++k)
        if (!certain(p.held_targets[k])) stuck_at(s.at);
    }
    if (p.given == input::stream) {
      const reach in = left_for(p);
      if (!in.end && (p.drains || in.values < p.attempts[0].length)) stuck_at(in.values);
    }
    if (is_one(p.what)) return r.end ? reach{1, true} : reach{};
    if ((is_list(p.what) || is_whole(p.what)) && !r.end) return {};
    return is_stream(p.what) && !roomy ? in_its_room(t, r) : r;
  }

  bool reaches(index t, index on) {
    if (t == none) return false;
    if (t == on) return true;
    if (of(t).walk == walk_) return false;
    of(t).walk = walk_;
    const task_plan& p = plan(t);
    bool found = reaches(p.in_targets[0].task, on) || reaches(p.in_targets[1].task, on) || reaches(p.after_target.task, on) ||
                 reaches(of(t).consumer, on) || reaches(of(t).before, on);
    for (unsigned k = 0; k < p.held && !found; ++k) found = reaches(p.held_targets[k].task, on);
    return found;
  }

  reach in_its_room(index t, reach r) {
    const task_plan& p = plan(t);
    const task_state& s = of(t);
    if (s.consumer != none) return {0, of(s.consumer).sure && certain(s.consumer, false).end};
    if (s.detached || p.what == form::stream_unbounded) return r;
    if (p.where == place::actor && p.what == form::stream) return r;
    const std::uint32_t room = is_budgeted(p.what) ? 1 : p.room;
    if (is_budgeted(p.what) ? r.values <= s.taken : r.values < s.taken + room) return r;
    return {std::min(r.values, s.taken + room), false};
  }

  const program& program_;
  std::vector<task_state> states_;
  std::uint32_t stamp_ = 1;
  std::uint32_t walk_ = 0;
};

}  // namespace fuzz
