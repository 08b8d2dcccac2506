// SPDX-License-Identifier: MIT
#pragma once
// From a plan to a submit: every form, kind and input of program.hpp is one call of the library here. Split into
// several files, since each call takes long to compile.

#include "bodies.hpp"

#include <cstdint>
#include <exception>
#include <utility>
#include <vector>

namespace fuzz {

void submit_counted(running& r, task_run& t, const dg::executor_target& to);
void submit_unique(running& r, task_run& t, const dg::executor_target& to);
void submit_number(running& r, task_run& t, const dg::executor_target& to);
void submit_given(running& r, task_run& t, const dg::executor_target& to);
void submit_one(running& r, task_run& t, const dg::executor_target& to);
void submit_call(running& r, task_run& t, const dg::actor<box>& to);

struct retry_predicate {
  task_run* run;
  bool operator()(const std::exception_ptr& e) const {
    const outcome what = outcome_of(e);
    return what.what != tag::boom || (run->plan->accepted >> (what.data & 0xff) & 1) != 0;
  }
};
struct cost_of {
  template <class T>
  std::uint64_t operator()(const T& value) const {
    return choice_source::mixed(id_of(value)) % 5;
  }
};

template <class Script>
Script script_of(running& r, task_run& t) {
  Script s;
  s.run = &t;
  for (unsigned k = 0; k < t.plan->held; ++k) s.held.push_back(std::get<dg::ref<counted>>(r.slots[t.plan->held_slots[k]].handle));
  return s;
}
inline auto retrying(const task_run& t) {
  return dg::options(dg::max_retries{t.plan->max_retries}, dg::retry_if(retry_predicate{const_cast<task_run*>(&t)}));
}
inline auto stopping(running& r, task_run& t) {
  return dg::options(dg::after(std::get<dg::ref<void>>(r.slots[t.plan->after_slot].handle)), dg::stop_on(t.stop.get_token()),
                     dg::name("stopped from outside"));
}

template <class H>
void keep(running& r, const task_run& t, H&& handle) {
  const bool event = std::is_same_v<std::remove_cvref_t<H>, dg::ref<void>>;
  r.put(t.plan->first_slot, std::forward<H>(handle), t.self, event || is_list(t.plan->what) ? whole : 0);
}
template <class Refs>
void keep_all(running& r, const task_run& t, Refs&& refs) {
  std::uint32_t i = 0;
  for (auto& one : refs) {
    r.put(static_cast<index>(t.plan->first_slot + i), std::move(one), t.self, i);
    ++i;
  }
}

/// The forms that a task may have with any argument.
template <class T, class Target, class... In>
void submit_common(running& r, task_run& t, const Target& to, In&&... in) {
  auto f = script_of<sequence<T>>(r, t);
  switch (t.plan->what) {
    case form::stream_room:
      return keep(r, t, to.options(dg::backpressure{t.plan->room}).submit(std::move(f), std::forward<In>(in)...));
    case form::list: return keep(r, t, to.options(dg::dynamic).submit(std::move(f), std::forward<In>(in)...));
    case form::fixed:
      return keep_all(r, t, to.options(dg::num_returns{t.plan->count}).submit(std::move(f), std::forward<In>(in)...));
    default: r.fault("no such form");
  }
}

}  // namespace fuzz
