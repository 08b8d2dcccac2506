// SPDX-License-Identifier: MIT
// Tasks with one result, or none, and tuples.

#include "submitting.hpp"

namespace fuzz {

namespace {

template <class R>
void submit_result(running& r, task_run& t, const dg::executor_target& to) {
  if (t.plan->what == form::function)
    keep(r, t, to.submit(script_of<function<R>>(r, t)));
  else
    keep(r, t, to.submit(script_of<coroutine<R>>(r, t)));
}

void keep_tuple(running& r, const task_run& t, std::tuple<dg::ref<counted>, dg::ref<plain>, dg::ref<unique>>&& refs) {
  const index first = t.plan->first_slot;
  r.put(first, std::get<0>(std::move(refs)), t.self, 0);
  r.put(static_cast<index>(first + 1), std::get<1>(std::move(refs)), t.self, 1);
  r.put(static_cast<index>(first + 2), std::get<2>(std::move(refs)), t.self, 2);
}

template <class T>
void put_ready(running& r, const task_run& t) {
  keep(r, t, dg::put(T(identity::of(r.salt, t.self, 0, 0))));
}

}  // namespace

void submit_one(running& r, task_run& t, const dg::executor_target& to) {
  const task_plan& p = *t.plan;
  switch (p.what) {
    case form::tuple: return keep_tuple(r, t, to.submit(script_of<mixed_sequence>(r, t)));
    case form::tuple_whole: return keep_tuple(r, t, to.options(dg::all_or_nothing).submit(script_of<mixed_sequence>(r, t)));
    case form::tuple_retry: return keep_tuple(r, t, to.options(retrying(t)).submit(script_of<mixed_sequence>(r, t)));
    case form::tuple_plain: return keep_tuple(r, t, to.options(dg::num_returns<3>{}).submit(script_of<mixed_function>(r, t)));
    case form::function_retry: return keep(r, t, to.options(retrying(t)).submit(script_of<function<counted>>(r, t)));
    case form::task_retry: return keep(r, t, to.options(retrying(t)).submit(script_of<coroutine<counted>>(r, t)));
    case form::function_stop: return keep(r, t, to.options(stopping(r, t)).submit(script_of<function<counted>>(r, t)));
    case form::task_stop: return keep(r, t, to.options(stopping(r, t)).submit(script_of<coroutine<counted>>(r, t)));
    case form::put:
      if (p.of == kind::unique) return put_ready<unique>(r, t);
      return p.of == kind::number ? put_ready<plain>(r, t) : put_ready<counted>(r, t);
    default: break;
  }
  switch (p.of) {
    case kind::counted: return submit_result<counted>(r, t, to);
    case kind::unique: return submit_result<unique>(r, t, to);
    case kind::number: return submit_result<plain>(r, t, to);
    case kind::nothing: return submit_result<void>(r, t, to);
  }
}

dg::ref<counted> start_child(task_run& child) {
  child.submitted = true;
  const dg::executor_target to = child.all->target_of(child.plan->where);
  if (child.plan->what == form::function) {
    child_call call;
    call.run = &child;
    return to.submit(std::move(call));
  }
  child_task call;
  call.run = &child;
  return to.submit(std::move(call));
}
dg::ref_stream<counted> start_child_stream(task_run& child) {
  child.submitted = true;
  child_generator call;
  call.run = &child;
  return child.all->target_of(child.plan->where).options(dg::backpressure{child.plan->room}).submit(std::move(call));
}

}  // namespace fuzz
