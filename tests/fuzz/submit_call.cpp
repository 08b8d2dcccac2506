// SPDX-License-Identifier: MIT
// Calls of actors.

#include "submitting.hpp"

namespace fuzz {

namespace {

void submit_with_input(running& r, task_run& t, const dg::actor<box>& to) {
  const auto& in = std::get<dg::ref<counted>>(r.slots[t.plan->in_slots[0]].handle);
  if (t.plan->what == form::function) return keep(r, t, to.submit(script_of<function<counted>>(r, t), in));
  keep(r, t, to.options(dg::backpressure{t.plan->room}).submit(script_of<sequence<counted>>(r, t), in));
}

}  // namespace

void submit_call(running& r, task_run& t, const dg::actor<box>& to) {
  if (t.plan->given == input::resolved) return submit_with_input(r, t, to);
  switch (t.plan->what) {
    case form::function: return keep(r, t, to.submit(script_of<function<counted>>(r, t)));
    case form::task: return keep(r, t, to.submit(script_of<coroutine<counted>>(r, t)));
    case form::stream: return keep(r, t, to.submit(script_of<sequence<counted>>(r, t)));
    default: return submit_common<counted>(r, t, to);
  }
}

box::box(running& r, index n) : all(r), number(n) {
  if (r.plan->actors[n].throws) throw boom(boom_of(n, 200));
  all.boxes.fetch_add(1);
}
box::~box() {
  all.actor_calls[number] = std::move(calls);
  all.boxes.fetch_sub(1);
}
void box::enter(index call) {
  if (busy.exchange(true)) all.fault("two threads are inside actor " + std::to_string(number));
  calls.push_back(call);
  busy.store(false);
}

}  // namespace fuzz
