// SPDX-License-Identifier: MIT
// The tasks of a generated program: where each of them runs, what it does, and its arguments.

#include "generator.hpp"

#include <algorithm>
#include <cstdint>

namespace fuzz {

// --- submit ---

bool program_generator::draw_submit() {
  task_plan p;
  if (!draw_place(p) || !draw_form(p)) return false;
  draw_attempts(p);
  if (!draw_inputs(p)) return false;
  if (may_await(p.what) || is_one(p.what)) draw_steps(p);
  op_.task = add_task(p);
  if (!blocks_for_certain(op_.task)) return take_back_task();
  take_inputs(op_.task);
  give_slots(op_.task);
  auto& state = ahead_.of(op_.task);
  state.submitted = true;
  state.sure = surely_submitted(program_.tasks[op_.task]);
  return true;
}

/// All its arguments are ready, and its executor does not refuse it.
bool program_generator::surely_submitted(const task_plan& p) {
  const auto fine = [&](index i) { return i == none || (slots_[i].sure && (slots_[i].to.task == none || ahead_.of(slots_[i].to.task).sure)); };
  bool all = fine(p.in_slots[0]) && fine(p.in_slots[1]) && fine(p.after_slot) && fine(p.actor_slot);
  for (unsigned k = 0; k < p.held; ++k) all = all && fine(p.held_slots[k]);
  return all && !(p.where == place::pool && pools_[0].closed) && !(p.where == place::second_pool && pools_[1].closed);
}

index program_generator::add_task(const task_plan& p) {
  program_.tasks.push_back(p);
  return static_cast<index>(program_.tasks.size() - 1);
}

bool program_generator::take_back_task() {
  program_.tasks.pop_back();
  return false;
}

bool program_generator::draw_place(task_plan& p) {
  if (program_.by_hand) {
    p.where = in_.below(3) == 0 ? place::in_line : place::manual;
    return true;
  }
  const unsigned weights[] = {80, program_.pool_count > 1 ? 30u : 0u, 5, 8, 14};
  static constexpr place places[] = {place::pool, place::second_pool, place::lone, place::in_line, place::actor};
  p.where = places[in_.weighted(weights)];
  if (p.where == place::actor) {
    op_.slot = some_slot(handle::actor);
    if (op_.slot == none) return false;
    p.actor = slots_[op_.slot].actor;
    p.actor_slot = op_.slot;
  }
  if (p.where == place::pool && pools_[0].gone) return false;
  if (p.where == place::second_pool && pools_[1].gone) return false;
  return true;
}

bool program_generator::draw_form(task_plan& p) {
  if (p.where == place::actor) {
    static constexpr form forms[] = {form::function, form::task, form::stream, form::fixed, form::list, form::stream_room};
    p.what = forms[in_.below(shared_actor(p) ? 5 : 6)];
    if (p.what == form::stream_room) draw_room(p);
    return true;
  }
  static constexpr unsigned weights[] = {5, 12, 3, 4, 5, 2, 2,  //
                                         4, 2, 3, 1,            //
                                         6, 3, 3, 2, 2,         //
                                         2, 2, 2,               //
                                         2, 1, 2, 1,            //
                                         12, 3, 2, 8, 2, 2, 0, 2};
  p.what = static_cast<form>(in_.weighted(weights));
  if (p.what == form::put && program_.by_hand && in_.one_in(2)) return false;
  draw_kind(p);
  if (is_stream(p.what)) draw_room(p);
  p.budget = static_cast<std::uint8_t>(in_.below(2));
  return true;
}

void program_generator::draw_kind(task_plan& p) {
  const bool number = p.what == form::stream || p.what == form::stream_room || p.what == form::stream_unbounded ||
                      p.what == form::list || p.what == form::list_retry || p.what == form::fixed ||
                      p.what == form::fixed_retry || p.what == form::function || p.what == form::task || p.what == form::put;
  const bool unique = p.what == form::stream || p.what == form::stream_room || p.what == form::stream_budget ||
                      p.what == form::stream_retry || p.what == form::list || p.what == form::fixed ||
                      p.what == form::fixed_whole || p.what == form::function || p.what == form::task || p.what == form::put ||
                      p.what == form::container_list;
  const bool nothing = p.what == form::function || p.what == form::task;
  const unsigned weights[] = {8, unique ? 3u : 0u, number ? 3u : 0u, nothing ? 2u : 0u};
  p.of = static_cast<kind>(in_.weighted(weights));
}

void program_generator::draw_room(task_plan& p) {
  if (p.what == form::stream) return;  // the default
  p.room = in_.below(3) == 0 ? 1 : in_.one_in(6) ? in_.between(17, 40) : in_.between(2, 8);
}

std::uint32_t program_generator::draw_length() {
  if (in_.one_in(40)) return in_.between(60, 140);
  return in_.one_in(12) ? in_.between(6, 30) : in_.below(6);
}

void program_generator::draw_attempts(task_plan& p) {
  p.max_retries = static_cast<std::uint8_t>(retries(p.what) ? in_.below(max_attempts) : 0);
  if (in_.one_in(5)) p.accepted = static_cast<std::uint8_t>(in_.below(8));
  const std::uint32_t length = draw_length();
  const bool generates = !is_one(p.what) && !is_container(p.what) && p.what != form::tuple_plain;
  for (unsigned a = 0; a <= p.max_retries; ++a) {
    attempt& run = p.attempts[a];
    run.length = is_one(p.what) ? 1 : is_tuple(p.what) ? (in_.one_in(4) ? in_.below(6) : 3) : length;
    if (a < p.max_retries ? in_.below(3) != 0 : in_.below(7) == 0) run.throws = true;
    if (generates && (run.throws || in_.one_in(8)) && in_.one_in(2)) run.length = in_.below(run.length + 2);
    if (is_tuple(p.what)) run.length = std::min(run.length, 5u);
    run.in_construction = run.throws && generates && !is_tuple(p.what) && in_.one_in(2);
  }
  p.count = p.what == form::fixed_three || is_tuple(p.what) ? 3 : length;
  if (is_fixed(p.what) && p.what != form::fixed_three && in_.one_in(3)) p.count = in_.one_in(2) ? length + 1 : length / 2;
  for (unsigned i = 0; i < p.order.size(); ++i)
    p.order[i] = static_cast<std::uint8_t>(in_.one_in(10) ? in_.below(3) : i % 3);
}

// --- arguments of a task ---

bool program_generator::draw_inputs(task_plan& p) {
  if (has_stop(p.what)) {
    p.after_slot = some_slot(handle::event);
    if (p.after_slot == none) return false;
    p.after_target = target{slots_[p.after_slot].to.task, whole, slots_[p.after_slot].to.known_ready};
    return true;
  }
  if (shared_actor(p) || p.of != kind::counted) return true;
  const bool any = p.what == form::stream_room || p.what == form::list || p.what == form::fixed || p.what == form::function ||
                   p.what == form::task;
  const bool one = p.what == form::stream_retry || p.what == form::function_retry;
  if (p.where == place::actor ? !(p.what == form::function || p.what == form::stream_room) : !any && !one) return true;
  if (in_.below(2) == 0) return true;
  const unsigned weights[] = {8, 3, 3, 2, 3, 5, 2};
  input given = one || p.where == place::actor ? input::resolved : static_cast<input>(1 + in_.weighted(weights));
  return draw_given(p, given);
}

bool program_generator::draw_given(task_plan& p, input given) {
  const auto pick_one = [&](unsigned i, auto fits) {
    const index s = some_slot(fits);
    if (s == none) return false;
    p.in_slots[i] = s;
    p.in_targets[i] = slots_[s].to;
    if (slots_[s].is == handle::event) p.in_targets[i].at = whole;
    return true;
  };
  bool found = false;
  switch (given) {
    case input::nothing: return true;
    case input::resolved:
    case input::consumed:
    case input::unresolved: found = pick_one(0, is_counted_ref); break;
    case input::two: found = pick_one(0, is_counted_ref) && pick_one(1, is_counted_ref); break;
    case input::event: found = pick_one(0, [](const slot_state& s) { return s.is == handle::event; }); break;
    case input::list:
      found = pick_one(0, [](const slot_state& s) { return s.is == handle::list && s.of == kind::counted; });
      break;
    case input::stream:
      // Code that blocks on a stream needs a thread of its own, or one that a pool replaces.
      if (p.what == form::function && !on_a_pool(p)) return true;
      if (p.what == form::task && in_.one_in(2)) return true;
      found = pick_one(0, [&](const slot_state& s) {
        return s.is == handle::stream && s.of == kind::counted && (p.where != place::in_line || ahead_.of(s.to.task).actors == 0);
      });
      p.drains = in_.one_in(2);
      if (found && is_one(p.what)) p.attempts[0].length = in_.below(6);
      break;
  }
  if (found) p.given = given;
  return found || in_.one_in(2);
}

void program_generator::draw_steps(task_plan& p) {
  if (shared_actor(p) || in_.below(3) != 0) return;
  const unsigned steps = in_.between(1, max_steps);
  std::uint32_t at = 0;
  for (unsigned i = 0; i < steps; ++i) {
    step s;
    at = is_one(p.what) ? 0 : at + in_.below(3);
    s.at = at;
    static constexpr unsigned weights[] = {5, 1, 2, 2, 3, 2, 3, 2, 2};
    s.what = static_cast<deed>(in_.weighted(weights));
    if (s.what <= deed::await_any && !may_await(p.what)) s.what = deed::get;
    if (s.what == deed::yield && !may_await(p.what)) continue;
    s.rethrow = !retries(p.what) && in_.one_in(3);
    if (s.what >= deed::child) {
      if (!on_a_pool(p) || retries(p.what)) continue;
      s.child = draw_child(p, s.what);
    } else if (s.what != deed::yield && !hold_for(p, s)) {
      continue;
    }
    p.step_at[p.steps++] = s;
  }
}

/// Chooses refs for which the step waits.
bool program_generator::hold_for(task_plan& p, step& s) {
  const bool blocks = s.what == deed::get;
  if (blocks && !on_a_pool(p) && p.where != place::actor) return false;
  const unsigned wanted = s.what == deed::await_all || s.what == deed::await_any ? in_.between(1, max_held) : 1;
  s.first = p.held;
  for (unsigned k = 0; k < wanted && p.held < max_held; ++k) {
    const index i = some_slot([&](const slot_state& slot) {
      const bool given_away = p.given == input::consumed && slot_number(slot) == p.in_slots[0];
      // A method must not wait for its own actor; inline code may run inside of one.
      const bool no_actors = p.where == place::actor || p.where == place::in_line;
      return is_counted_ref(slot) && !given_away && (!no_actors || ahead_.of(slot.to.task).actors == 0);
    });
    if (i == none || (blocks && !certain(i))) break;
    p.held_slots[p.held] = i;
    p.held_targets[p.held] = slots_[i].to;
    ++p.held;
    ++s.count;
  }
  return s.count != 0;
}

index program_generator::draw_child(const task_plan& parent, deed how) {
  task_plan c;
  c.is_child = true;
  c.where = parent.where;
  c.what = how == deed::child ? (in_.one_in(2) ? form::function : form::task) : form::stream_room;
  c.of = kind::counted;
  if (c.what == form::stream_room) draw_room(c);
  draw_attempts(c);
  return add_task(c);
}

/// Code that blocks its thread waits only for certain events.
bool program_generator::blocks_for_certain(index t) {
  const task_plan& p = program_.tasks[t];
  if (p.given == input::stream && p.what == form::function) {
    const reach in = ahead_.left_for(p);
    if (!in.end && (p.drains || in.values < p.attempts[0].length)) return false;
  }
  if (p.given != input::stream) return true;
  // The reader of a stream must not wait for a task that waits for that stream's end.
  for (unsigned k = 0; k < p.held; ++k)
    if (ahead_.depends(p.held_targets[k].task, p.in_targets[0].task)) return false;
  return true;
}

void program_generator::take_inputs(index t) {
  task_plan& p = program_.tasks[t];
  auto& state = ahead_.of(t);
  const auto related = [&](const target& to) {
    if (to.task != none) state.actors |= ahead_.of(to.task).actors;
  };
  for (unsigned i = 0; i < 2; ++i) {
    if (p.in_slots[i] == none) continue;
    use(p.in_slots[i]);
    related(p.in_targets[i]);
    slots_[p.in_slots[i]].sole = false;
    if (p.given == input::consumed || p.given == input::stream) kill_slot(p.in_slots[i]);
  }
  if (p.given == input::stream) ahead_.of(p.in_targets[0].task).consumer = t;
  if (p.after_slot != none) use(p.after_slot);
  related(p.after_target);
  for (unsigned i = 0; i < p.held; ++i) {
    use(p.held_slots[i]);
    slots_[p.held_slots[i]].sole = false;
    related(p.held_targets[i]);
  }
  if (op_.slot != none) use(op_.slot);
  if (p.actor != none) {
    state.actors |= 1u << (p.actor % 32);
    state.before = actors_[p.actor].last_call;
    actors_[p.actor].last_call = t;
    state.refused = actors_[p.actor].dead;
  }
}

void program_generator::give_slots(index t) {
  task_plan& p = program_.tasks[t];
  op_.other = p.first_slot = static_cast<index>(slots_.size());
  if (is_stream(p.what)) {
    add_slot(handle::stream, p.of, {t, 0, false});
  } else if (is_list(p.what)) {
    add_slot(handle::outer, p.of, {t, whole, false});
  } else if (p.what == form::put) {
    add_slot(handle::reference, p.of, {t, 0, true});
  } else if (is_one(p.what)) {
    add_slot(p.of == kind::nothing ? handle::event : handle::reference, p.of, {t, p.of == kind::nothing ? whole : 0, false});
  } else if (is_tuple(p.what)) {
    static constexpr kind kinds[] = {kind::counted, kind::number, kind::unique};
    for (std::uint32_t i = 0; i < 3; ++i) add_slot(handle::reference, kinds[i], {t, i, false});
  } else {
    for (std::uint32_t i = 0; i < p.count; ++i) add_slot(handle::reference, p.of, {t, i, false});
  }
  p.slots = static_cast<std::uint16_t>(slots_.size() - p.first_slot);
}

}  // namespace fuzz
