// SPDX-License-Identifier: MIT
// Tasks whose arguments are refs, streams and lists.

#include "submitting.hpp"

namespace fuzz {

namespace {

template <class... In>
void submit_any(running& r, task_run& t, const dg::executor_target& to, In&&... in) {
  switch (t.plan->what) {
    case form::function: return keep(r, t, to.submit(script_of<function<counted>>(r, t), std::forward<In>(in)...));
    case form::task: return keep(r, t, to.submit(script_of<coroutine<counted>>(r, t), std::forward<In>(in)...));
    default: return submit_common<counted>(r, t, to, std::forward<In>(in)...);
  }
}

void submit_resolved(running& r, task_run& t, const dg::executor_target& to, const dg::ref<counted>& in) {
  switch (t.plan->what) {
    case form::function_retry: return keep(r, t, to.options(retrying(t)).submit(script_of<function<counted>>(r, t), in));
    case form::stream_retry:
      return keep(r, t, to.options(dg::backpressure{t.plan->room}, retrying(t)).submit(script_of<sequence<counted>>(r, t), in));
    default: return submit_any(r, t, to, in);
  }
}

}  // namespace

void submit_given(running& r, task_run& t, const dg::executor_target& to) {
  any_handle& first = r.slots[t.plan->in_slots[0]].handle;
  switch (t.plan->given) {
    case input::nothing: return;
    case input::resolved: return submit_resolved(r, t, to, std::get<dg::ref<counted>>(first));
    case input::two:
      return submit_any(r, t, to, std::get<dg::ref<counted>>(first),
                        std::get<dg::ref<counted>>(r.slots[t.plan->in_slots[1]].handle));
    case input::consumed: {
      dg::ref<counted> taken = std::move(std::get<dg::ref<counted>>(first));
      first = {};
      return submit_any(r, t, to, dg::consume(std::move(taken)));
    }
    case input::unresolved: return submit_any(r, t, to, dg::unresolved(std::get<dg::ref<counted>>(first)));
    case input::event: return submit_any(r, t, to, std::get<dg::ref<void>>(first));
    case input::stream: {
      dg::ref_stream<counted> taken = std::move(std::get<dg::ref_stream<counted>>(first));
      first = {};
      return submit_any(r, t, to, std::move(taken));
    }
    case input::list: return submit_any(r, t, to, std::get<dg::ref_list<counted>>(first));
  }
}

}  // namespace fuzz
