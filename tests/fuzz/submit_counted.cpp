// SPDX-License-Identifier: MIT
// Sequences of copyable values without arguments, in all forms.

#include "submitting.hpp"

namespace fuzz {

namespace {

void submit_streams(running& r, task_run& t, const dg::executor_target& to) {
  auto f = script_of<sequence<counted>>(r, t);
  const task_plan& p = *t.plan;
  const dg::backpressure room{p.room};
  switch (p.what) {
    case form::stream: return keep(r, t, to.submit(std::move(f)));
    case form::stream_unbounded: return keep(r, t, to.options(dg::unbounded).submit(std::move(f)));
    case form::stream_budget:
      return keep(r, t, to.options(dg::backpressure_by(r.budgets[p.budget], cost_of())).submit(std::move(f)));
    case form::stream_retry: return keep(r, t, to.options(room, retrying(t)).submit(std::move(f)));
    case form::stream_budget_retry:
      return keep(r, t, to.options(dg::backpressure_by(r.budgets[p.budget], cost_of()), retrying(t)).submit(std::move(f)));
    case form::stream_stop: return keep(r, t, to.options(room, stopping(r, t)).submit(std::move(f)));
    default: return submit_common<counted>(r, t, to);
  }
}

void submit_fixed(running& r, task_run& t, const dg::executor_target& to) {
  auto f = script_of<sequence<counted>>(r, t);
  const dg::num_returns n{t.plan->count};
  switch (t.plan->what) {
    case form::list_whole: return keep(r, t, to.options(dg::dynamic, dg::all_or_nothing).submit(std::move(f)));
    case form::list_retry: return keep(r, t, to.options(dg::dynamic, retrying(t)).submit(std::move(f)));
    case form::list_whole_retry:
      return keep(r, t, to.options(dg::dynamic, dg::all_or_nothing, retrying(t)).submit(std::move(f)));
    case form::fixed_whole: return keep_all(r, t, to.options(n, dg::all_or_nothing).submit(std::move(f)));
    case form::fixed_retry: return keep_all(r, t, to.options(n, retrying(t)).submit(std::move(f)));
    case form::fixed_whole_retry:
      return keep_all(r, t, to.options(n, dg::all_or_nothing, retrying(t)).submit(std::move(f)));
    case form::fixed_three: return keep_all(r, t, to.options(dg::num_returns<3>{}).submit(std::move(f)));
    default: return submit_common<counted>(r, t, to);
  }
}

}  // namespace

void submit_counted(running& r, task_run& t, const dg::executor_target& to) {
  const task_plan& p = *t.plan;
  auto f = script_of<container<counted>>(r, t);
  switch (p.what) {
    case form::container_stream: return keep(r, t, to.options(dg::streaming, dg::backpressure{p.room}).submit(std::move(f)));
    case form::container_list: return keep(r, t, to.options(dg::dynamic).submit(std::move(f)));
    case form::container_fixed: return keep_all(r, t, to.options(dg::num_returns{p.count}).submit(std::move(f)));
    default: return is_stream(p.what) ? submit_streams(r, t, to) : submit_fixed(r, t, to);
  }
}

}  // namespace fuzz
