// SPDX-License-Identifier: MIT
// A client's loop over its operations, and the operations on tasks, promises, executors, actors and pools.

#include "bodies.hpp"
#include "client_class.hpp"

#include <exception>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fuzz {

void settle() {
  dg::promise<void> never;
  static_cast<void>(never.get_ref().wait_for(0ns));
}

template <class T>
void client::iterate_in_place(task_run& t) {
  t.submitted = true;
  script s;
  s.run = &t;
  std::exception_ptr thrown;
  std::uint32_t i = 0;
  try {
    for (T& value : produce<T>(s, false)) note(seen::item, t.self, i++, {tag::value, id_of(value)});
  } catch (...) {
    thrown = std::current_exception();
  }
  note(seen::item, t.self, i, thrown ? outcome_of(thrown) : outcome{tag::end, 0});
  count(i);
}

void client::play(const std::vector<bool>& left_out) {
  const program& p = *all_.plan;
  for (std::uint32_t i = 0; i < p.ops.size(); ++i) {
    const op& o = p.ops[i];
    if (o.client != number_) continue;
    self_.at.store(i);
    at_ = i;
    for (std::uint32_t k = 0; k < o.needs; ++k) wait_for_turn(p.needs[o.first_need + k]);
    if (left_out[i]) {
      if (o.what == verb::hand) hand(o);
      continue;
    }
    guarded(o);
  }
  self_.at.store(0xffffffff);
  settle();
}

// --- observations ---

void client::guarded(const op& o) {
  std::exception_ptr thrown;
  try {
    perform(o);
  } catch (...) {
    thrown = std::current_exception();
  }
  if (!thrown) return;
  const outcome what = outcome_of(thrown);
  std::string text = "threw what it should not: " + std::to_string(static_cast<unsigned>(what.what));
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& e) {
    text += std::string(" ") + e.what();
  } catch (...) {
  }
  fault(text);
}

// --- order among clients ---

void client::wait_for_turn(const need& n) {
  until([&] { return all_.slots[n.slot].turn.load() >= n.turn; });
}

/// Waits until all operations before this one have ended.
void client::wait_for_earlier() {
  for (const auto& other : all_.clients)
    if (other.get() != &self_) until([&] { return other->at.load() > at_; });
}

void client::hand(const op& o) { slot(o.slot).turn.fetch_add(1); }

/// An operation that needs all its slots is skipped if one is empty.
bool client::can_do(const op& o) {
  if (o.slot != none && o.what != verb::hand && absent(o.slot)) return false;
  for (unsigned k = 0; k < o.listed; ++k)
    if (absent(o.list[k])) return false;
  if (o.what != verb::submit) return true;
  const task_plan& p = all_.plan->tasks[o.task];
  for (const index i : p.in_slots)
    if (i != none && absent(i)) return false;
  for (unsigned k = 0; k < p.held; ++k)
    if (absent(p.held_slots[k])) return false;
  if (p.after_slot != none && absent(p.after_slot)) return false;
  if (p.where == place::pool && all_.pools[0] == nullptr) return false;
  if (p.where == place::second_pool && all_.pools[1] == nullptr) return false;
  return true;
}

void client::perform(const op& o) {
  if (!can_do(o)) return;
  switch (o.what) {
    case verb::submit: return submit(o);
    case verb::take: return take(o);
    case verb::read: return read(o);
    case verb::give_up: return give_up(o);
    case verb::copy: return copy(o);
    case verb::drop: return drop(o);
    case verb::open: return open(o);
    case verb::pick: return pick(o);
    case verb::scan: return scan(o);
    case verb::cancel: return cancel(o);
    case verb::stop: return stop(o);
    case verb::detach: return detach(o);
    case verb::completion: return completion(o);
    case verb::wait_some: return wait_some(o);
    case verb::wait_any: return wait_any(o);
    case verb::get_all: return get_all(o);
    case verb::make_promise: return make_promise(o);
    case verb::fulfil:
    case verb::fail: return settle_promise(o);
    case verb::run_manual: return run_manual(o);
    case verb::make_actor: return make_actor(o);
    case verb::kill: return kill(o);
    case verb::shutdown: return shutdown(o);
    case verb::destroy: return destroy(o);
    case verb::stats: return stats(o);
    case verb::hand: return hand(o);
    case verb::local: return local(o);
    case verb::probe: return probe(o);
  }
}

// --- tasks ---

void client::submit(const op& o) {
  count();
  task_run& t = task(o.task);
  const task_plan& p = *t.plan;
  const auto target_in = [this](index i, const target& planned) {
    return i == none ? planned : target{slot(i).task, slot(i).at, false};
  };
  for (unsigned k = 0; k < 2; ++k) t.in[k] = target_in(p.in_slots[k], p.in_targets[k]);
  for (unsigned k = 0; k < p.held; ++k) t.held[k] = target_in(p.held_slots[k], p.held_targets[k]);
  t.after = target_in(p.after_slot, p.after_target);
  if (has_stop(p.what)) t.stop = std::stop_source();
  if (p.given == input::stream) t.given_from = task(t.in[0].task).taken;
  t.submitted = true;
  bool refused = false;
  try {
    all_.submit(o.task);
  } catch (const dg::pool_stopped&) {
    refused = true;
  }
  if (!refused) return;
  t.refused = true;
  t.submitted = false;
  if (p.given == input::stream) task(t.in[0].task).disturb(stream_dropped, at_);
  const unsigned pool = p.where == place::second_pool;
  const bool may_be = (p.where == place::pool || p.where == place::second_pool) && all_.plan->pools[pool].own;
  if (!may_be) fault("submit threw pool_stopped, though the pool was not shut down");
}

void client::local(const op& o) {
  count();
  task_run& t = task(o.task);
  switch (t.plan->of) {
    case kind::counted: return iterate_in_place<counted>(t);
    case kind::unique: return iterate_in_place<unique>(t);
    default: return iterate_in_place<plain>(t);
  }
}

// --- promises ---

void client::make_promise(const op& o) {
  count(2);
  task_run& t = task(o.task);
  t.submitted = true;
  const auto two = static_cast<index>(o.other + 1);
  if (t.plan->of == kind::nothing) {
    dg::promise<void> p;
    all_.put(two, p.get_ref(), o.task, whole);
    all_.put(o.other, std::move(p), o.task, 0);
  } else {
    dg::promise<counted> p;
    all_.put(two, p.get_ref(), o.task, 0);
    all_.put(o.other, std::move(p), o.task, 0);
  }
}

void client::settle_promise(const op& o) {
  count();
  task_run& t = task(slot(o.slot).task);
  std::visit(
      [&](auto& h) {
        using H = std::remove_cvref_t<decltype(h)>;
        if constexpr (std::is_same_v<H, dg::promise<counted>> || std::is_same_v<H, dg::promise<void>>) settle_one(o, t, h);
      },
      slot(o.slot).handle);
  slot(o.slot).handle = {};
}

template <class P>
void client::settle_one(const op& o, task_run& t, P& p) {
  const auto set = [&] {
    if constexpr (std::is_same_v<P, dg::promise<void>>)
      p.set_value();
    else
      p.set_value(counted(identity::of(all_.salt, t.self, 0, 0)));
  };
  // Written before, since other clients may see the result at once: 1 fulfilled, 2 failed.
  t.calls = o.what == verb::fulfil ? 1 : 2;
  if (o.what == verb::fulfil)
    set();
  else
    p.set_exception(std::make_exception_ptr(boom(boom_of(t.self, 0))));
  if (o.how != 0) return;
  count();
  bool refused = false;
  try {
    set();
  } catch (const dg::promise_already_satisfied&) {
    refused = true;
  }
  if (!refused) fault("a promise was fulfilled twice");
}

void client::run_manual(const op& o) {
  if (o.n == 0) {
    settle();
    count(1 + all_.manual->run_all());
    if (!all_.manual->empty()) fault("something is queued after run_all()");
    return;
  }
  for (std::uint32_t k = 0; k < o.n; ++k) {
    count();
    if (!all_.manual->run_one()) break;
  }
}

// --- actors and pools ---

void client::make_actor(const op& o) {
  count();
  const actor_plan& a = all_.plan->actors[o.n];
  dg::thread_pool* const pool = all_.pools[a.on == place::second_pool];
  if (pool == nullptr) return;
  try {
    const auto made = a.limit == 1 ? pool->make_actor<box>(std::ref(all_), static_cast<index>(o.n))
                                   : pool->options(dg::max_concurrency{a.limit}, dg::name("box"))
                                         .make_actor<box>(std::ref(all_), static_cast<index>(o.n));
    all_.put(o.other, made, none, 0);
  } catch (const dg::pool_stopped&) {
    if (!all_.plan->pools[a.on == place::second_pool].own) fault("make_actor threw pool_stopped");
  }
}

void client::kill(const op& o) {
  count();
  for (index t = 0; t < all_.plan->tasks.size(); ++t)
    if (all_.plan->tasks[t].actor == o.n) task(t).disturb(actor_killed, at_);
  std::get<dg::actor<box>>(slot(o.slot).handle).kill();
}

void client::shutdown(const op& o) {
  if (all_.pools[o.n] == nullptr) return;
  count();
  all_.pool_ends[o.n].happens(o.how == 1 ? pool_end::by::cancel : pool_end::by::drain, at_);
  all_.pools[o.n]->shutdown(o.how == 1 ? dg::shutdown_mode::cancel : dg::shutdown_mode::drain);
  if (all_.plan->clients == 1) check_refusal(*all_.pools[o.n]);
}

void client::check_refusal(dg::thread_pool& pool) {
  count();
  bool refused = false;
  try {
    static_cast<void>(pool.submit([] {}));
  } catch (const dg::pool_stopped&) {
    refused = true;
  }
  if (!refused) fault("a pool that was shut down takes tasks");
}

void client::destroy(const op& o) {
  if (all_.pools[o.n] == nullptr) return;
  wait_for_earlier();
  count();
  all_.pool_ends[o.n].happens(pool_end::by::destructor, at_);
  all_.own_pools[o.n] = nullptr;
  all_.pools[o.n] = nullptr;
}

void client::stats(const op& o) {
  if (all_.pools[o.n] == nullptr || all_.plan->clients > 1) return;
  count();
  const dg::pool_stats s = all_.pools[o.n]->stats();
  std::ostringstream text;
  text << s;
  if (s.completed + s.failed + s.cancelled > s.submitted) fault("more tasks have ended than were submitted: " + text.str());
}

// --- misuse ---

template <class Error, class Action>
void client::must_throw(const char* what, Action action) {
  count();
  bool thrown = false;
  try {
    action();
  } catch (const Error&) {
    thrown = true;
  }
  if (!thrown) fault(std::string("did not throw: ") + what);
}

void client::probe(const op& o) {
  switch (o.n % 8) {
    case 0: return must_throw<dg::empty_ref>("get of an empty ref", [] { static_cast<void>(dg::ref<counted>().get()); });
    case 1: return must_throw<dg::empty_ref>("next of an empty stream", [] { static_cast<void>(dg::ref_stream<plain>().next()); });
    case 2: return must_throw<std::invalid_argument>("wait for more than there are", [] {
      static_cast<void>(dg::wait(std::vector<dg::ref<plain>>{dg::put(plain{1})}, 2));
    });
    case 3: return must_throw<std::invalid_argument>("backpressure{0}", [] { dg::backpressure{0}; });
    case 4: return must_throw<dg::error>("this_task outside of a task", [] { static_cast<void>(dg::this_task::id()); });
    case 5: return must_throw<dg::broken_promise>("a broken promise", [] {
      dg::ref<plain> r = dg::promise<plain>().get_ref();
      static_cast<void>(r.get());
    });
    case 6: return must_throw<dg::timeout_error>("get_for", [] {
      dg::promise<plain> never;
      static_cast<void>(never.get_ref().get_for(0ns));
    });
    default: return must_throw<std::invalid_argument>("wait_any of nothing", [] {
      static_cast<void>(dg::wait_any(std::vector<dg::ref<plain>>()));
    });
  }
}

void play(running& r, std::uint8_t number, const std::vector<bool>& left_out) { client(r, number).play(left_out); }

}  // namespace fuzz
