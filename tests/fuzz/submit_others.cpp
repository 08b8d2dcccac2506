// SPDX-License-Identifier: MIT
// Sequences of move-only values and of numbers, and tuples.

#include "submitting.hpp"

namespace fuzz {

void submit_unique(running& r, task_run& t, const dg::executor_target& to) {
  const task_plan& p = *t.plan;
  auto f = script_of<sequence<unique>>(r, t);
  switch (p.what) {
    case form::stream: return keep(r, t, to.submit(std::move(f)));
    case form::stream_budget:
      return keep(r, t, to.options(dg::backpressure_by(r.budgets[p.budget], cost_of())).submit(std::move(f)));
    case form::stream_retry: return keep(r, t, to.options(dg::backpressure{p.room}, retrying(t)).submit(std::move(f)));
    case form::fixed_whole: return keep_all(r, t, to.options(dg::num_returns{p.count}, dg::all_or_nothing).submit(std::move(f)));
    case form::container_list: return keep(r, t, to.options(dg::dynamic).submit(script_of<container<unique>>(r, t)));
    default: return submit_common<unique>(r, t, to);
  }
}

void submit_number(running& r, task_run& t, const dg::executor_target& to) {
  const task_plan& p = *t.plan;
  auto f = script_of<sequence<plain>>(r, t);
  switch (p.what) {
    case form::stream: return keep(r, t, to.submit(std::move(f)));
    case form::stream_unbounded: return keep(r, t, to.options(dg::unbounded).submit(std::move(f)));
    case form::list_retry: return keep(r, t, to.options(dg::dynamic, retrying(t)).submit(std::move(f)));
    case form::fixed_retry: return keep_all(r, t, to.options(dg::num_returns{p.count}, retrying(t)).submit(std::move(f)));
    default: return submit_common<plain>(r, t, to);
  }
}

}  // namespace fuzz
