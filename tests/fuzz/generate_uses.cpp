// SPDX-License-Identifier: MIT
// The operations of a generated program on streams, refs, lists and promises.

#include "generator.hpp"

#include <algorithm>
#include <cstdint>

namespace fuzz {

// --- streams ---

bool program_generator::draw_take() {
  const index i = some_slot(handle::stream);
  if (i == none) return false;
  op_.slot = use(i);
  op_.task = slots_[i].to.task;
  auto& state = ahead_.of(op_.task);
  const std::uint32_t most = items_ahead(i);
  static constexpr unsigned weights[] = {6, 4, 2, 3, 3, 5, 2, 1};
  op_.how = static_cast<std::uint8_t>(most == 0 ? static_cast<unsigned>(taking::try_once) : in_.weighted(weights));
  const auto how = static_cast<taking>(op_.how);
  if (how == taking::try_once) {
    op_.n = 1;
    ++state.taken_most;
  } else {
    op_.n = most == all_items && in_.one_in(4) ? all_items : in_.between(1, std::min(most, 6u));
    state.taken = std::min(state.taken + op_.n, expected_of(program_.tasks[op_.task], op_.task).total);
    state.taken_most += op_.n;
  }
  const bool gives_refs = how == taking::next || how == taking::next_for || how == taking::poll || how == taking::iterate ||
                          how == taking::try_once;
  if (gives_refs && in_.one_in(2)) {
    op_.keep = true;
    op_.other = static_cast<index>(slots_.size());
    const std::uint32_t kept = std::min(op_.n, 4u);
    for (std::uint32_t k = 0; k < kept; ++k) slots_[add_slot(handle::reference, slots_[i].of, {op_.task, k, true})].sure = false;
  }
  if (how == taking::own_values) {
    state.cancelled = true;
    kill_slot(i);
  }
  return true;
}

bool program_generator::draw_detach() {
  const index i = some_slot(handle::stream);
  if (i == none) return false;
  op_.slot = use(i);
  op_.task = slots_[i].to.task;
  ahead_.of(op_.task).detached = true;
  kill_slot(i);
  return true;
}

// --- refs ---

bool program_generator::draw_read() {
  const index i = some_slot([](const slot_state& s) {
    return s.is == handle::reference || s.is == handle::event || s.is == handle::outer;
  });
  if (i == none) return false;
  op_.slot = use(i);
  op_.task = slots_[i].to.task;
  static constexpr unsigned weights[] = {6, 2, 2, 4, 2, 2, 1, 1};
  op_.how = static_cast<std::uint8_t>(in_.weighted(weights));
  const auto how = static_cast<reading>(op_.how);
  if (how != reading::glance && how != reading::identity && !certain(i)) op_.how = static_cast<std::uint8_t>(reading::glance);
  op_.must = readiness(i);
  return true;
}

bool program_generator::draw_give_up() {
  const index i = some_slot([](const slot_state& s) { return s.is == handle::reference; });
  if (i == none || !certain(i)) return false;
  op_.slot = use(i);
  op_.task = slots_[i].to.task;
  op_.how = static_cast<std::uint8_t>(in_.below(3));
  op_.must = slots_[i].sole ? expect::yes : expect::either;
  kill_slot(i);
  return true;
}

bool program_generator::draw_copy() {
  const index i = some_slot([](const slot_state& s) { return s.is != handle::stream && s.is != handle::promise; });
  if (i == none) return false;
  op_.slot = use(i);
  slots_[i].sole = false;
  const slot_state from = slots_[i];
  op_.other = add_slot(from.is, from.of, from.to);
  slots_[op_.other].sole = false;
  slots_[op_.other].sure = from.sure;
  slots_[op_.other].actor = from.actor;
  return true;
}

bool program_generator::draw_drop() {
  const index i = some_slot([](const slot_state&) { return true; });
  if (i == none) return false;
  op_.slot = use(i);
  op_.how = static_cast<std::uint8_t>(in_.below(3));
  const slot_state& s = slots_[i];
  if (s.is == handle::stream) ahead_.of(s.to.task).cancelled = true;
  if (s.is == handle::promise) ahead_.of(s.to.task).settled = true;
  op_.task = s.to.task;
  kill_slot(i);
  return true;
}

bool program_generator::draw_cancel() {
  const index i = some_slot([](const slot_state& s) { return s.is <= handle::outer; });
  if (i == none) return false;
  op_.slot = use(i);
  op_.task = slots_[i].to.task;
  op_.how = static_cast<std::uint8_t>(in_.below(3));
  const form what = program_.tasks[op_.task].what;
  if (what == form::put || what == form::promised) {
    op_.must = expect::no;
    return true;
  }
  if (program_.clients == 1 && ahead_.blocked(op_.task)) op_.must = expect::yes;
  (slots_[i].sure ? ahead_.of(op_.task).cancelled : ahead_.of(op_.task).perhaps_cancelled) = true;
  return true;
}

bool program_generator::draw_stop() {
  for (index t = 0; t < program_.tasks.size(); ++t) {
    const index candidate = static_cast<index>((t + ops_seed()) % program_.tasks.size());
    const task_plan& p = program_.tasks[candidate];
    if (!has_stop(p.what) || slots_[p.first_slot].client != client_ || slots_[p.first_slot].hands != 0) continue;
    op_.task = candidate;
    ahead_.of(candidate).cancelled = true;
    return true;
  }
  return false;
}

bool program_generator::draw_completion() {
  const index i = some_slot([](const slot_state& s) { return s.is <= handle::list && s.is != handle::event; });
  if (i == none) return false;
  op_.slot = use(i);
  op_.task = slots_[i].to.task;
  const bool ended = slots_[i].is == handle::list;
  const bool sure = slots_[i].sure;
  op_.other = add_slot(handle::event, kind::nothing, {op_.task, whole, ended});
  slots_[op_.other].sure = sure;
  return true;
}

// --- lists ---

bool program_generator::draw_open() {
  const index i = some_slot(handle::outer);
  if (i == none || !certain(i)) return false;
  op_.slot = use(i);
  op_.task = slots_[i].to.task;
  op_.how = static_cast<std::uint8_t>(in_.below(2));
  const kind of = slots_[i].of;
  if (op_.how == 1) kill_slot(i);
  op_.other = add_slot(handle::list, of, {op_.task, whole, true});
  slots_[op_.other].sure = false;
  return true;
}

bool program_generator::draw_pick() {
  const index i = some_slot(handle::list);
  if (i == none) return false;
  op_.slot = use(i);
  op_.task = slots_[i].to.task;
  op_.n = in_.below(100);
  op_.how = static_cast<std::uint8_t>(in_.below(3));
  op_.other = add_slot(handle::reference, slots_[i].of, {op_.task, 0, true});
  slots_[op_.other].sole = slots_[op_.other].sure = false;
  return true;
}

bool program_generator::draw_scan() {
  const index i = some_slot(handle::list);
  if (i == none) return false;
  op_.slot = use(i);
  op_.task = slots_[i].to.task;
  op_.how = static_cast<std::uint8_t>(in_.below(3));
  return true;
}

// --- several at once ---

unsigned program_generator::list_slots(unsigned most) {
  unsigned found = 0;
  for (unsigned k = 0; k < most; ++k) {
    const index i = some_slot(is_counted_ref);
    if (i == none) break;
    op_.list[op_.listed++] = use(i);
    if (certain(i)) ++found;
  }
  return found;
}

bool program_generator::draw_wait_some() {
  const unsigned ready = list_slots(in_.between(1, 4));
  if (op_.listed == 0) return false;
  op_.how = static_cast<std::uint8_t>(in_.below(3));  // blocking, long limit, no time at all
  if (op_.how != 2 && ready == 0) op_.how = 2;
  op_.n = op_.how == 2 ? in_.between(0, op_.listed) : in_.between(0, ready);
  return true;
}

bool program_generator::draw_wait_any() {
  static constexpr handle shapes[3][3] = {{handle::reference, handle::stream, handle::actor},
                                          {handle::stream, handle::stream, handle::actor},
                                          {handle::event, handle::stream, handle::reference}};
  op_.how = static_cast<std::uint8_t>(in_.below(4));
  bool some = false, all = true;
  if (op_.how == 3) {
    const unsigned ready = list_slots(in_.between(1, 4));
    some = ready != 0;
    all = false;
    if (op_.listed == 0) return false;
  } else {
    for (handle h : shapes[op_.how]) {
      if (h == handle::actor) break;
      const index i = some_slot([&](const slot_state& s) {
        return s.is == h && (h == handle::event || s.of == kind::counted) && (op_.listed == 0 || op_.list[0] != slot_number(s));
      });
      if (i == none) return false;
      op_.list[op_.listed++] = use(i);
      const bool there = certain(i);
      const bool has_values = h != handle::stream || has_values_ahead(i);
      if (h == handle::stream) ++ahead_.of(slots_[i].to.task).taken_most;
      all = all && there;
      some = some || (there && has_values);
    }
  }
  op_.n = some || all ? in_.below(2) : 0;  // 1: without a limit
  op_.must = some || all ? expect::yes : expect::either;
  return true;
}

bool program_generator::has_values_ahead(index i) {
  const index t = slots_[i].to.task;
  const task_plan& p = program_.tasks[t];
  if (program_.clients > 1) return false;  // another client may cancel it
  if (p.given != input::nothing || p.steps != 0 || p.after_slot != none || p.actor != none) return false;  // it may fail before
  return ahead_.certain(t, false).values > ahead_.of(t).taken_most && !ahead_.of(t).perhaps_cancelled;
}

bool program_generator::draw_get_all() {
  const unsigned wanted = in_.between(1, 4);
  if (list_slots(wanted) != op_.listed || op_.listed == 0) return false;
  op_.how = static_cast<std::uint8_t>(in_.below(2));
  return true;
}

// --- promises ---

bool program_generator::draw_make_promise() {
  task_plan p;
  p.what = form::promised;
  p.of = in_.one_in(3) ? kind::nothing : kind::counted;
  op_.task = add_task(p);
  op_.other = add_slot(handle::promise, p.of, {op_.task, 0, false});
  if (p.of == kind::nothing)
    add_slot(handle::event, p.of, {op_.task, whole, false});
  else
    add_slot(handle::reference, p.of, {op_.task, 0, false});
  program_.tasks[op_.task].first_slot = op_.other;
  program_.tasks[op_.task].slots = 2;
  ahead_.of(op_.task).submitted = true;
  return true;
}

bool program_generator::draw_settle() {
  const index i = some_slot(handle::promise);
  if (i == none) return false;
  op_.slot = use(i);
  op_.task = slots_[i].to.task;
  op_.how = static_cast<std::uint8_t>(in_.below(3));
  ahead_.of(op_.task).settled = true;
  kill_slot(i);
  return true;
}

bool program_generator::draw_run_manual() {
  op_.n = in_.one_in(3) ? in_.between(1, 4) : 0;
  const auto tasks = static_cast<index>(program_.tasks.size());
  if (op_.n == 0)
    ahead_.all_was_run(tasks);
  else
    for (index t = 0; t < tasks; ++t) ahead_.of(t).ran = true;
  return true;
}

}  // namespace fuzz
