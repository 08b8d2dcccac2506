// SPDX-License-Identifier: MIT
// The operations of a program one after the other, their slots, and those on actors and pools.

#include "generator.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace fuzz {

program program_generator::run() {
  draw_frame();
  const unsigned sizes[] = {3, 6, 3, 1};
  static constexpr unsigned limits[] = {12, 40, 90, 200};
  const unsigned size = in_.between(4, limits[in_.weighted(sizes)]);
  for (unsigned i = 0; i < size; ++i)
    for (unsigned tries = 0; tries < 6 && !draw_operation(); ++tries) {
    }
  program_.slots = static_cast<std::uint32_t>(slots_.size());
  return std::move(program_);
}

// --- the frame ---

void program_generator::draw_frame() {
  program_.by_hand = in_.below(10) < 3;
  if (!program_.by_hand && threads_ > 1 && in_.below(5) < 2)
    program_.clients = static_cast<std::uint8_t>(in_.between(2, in_.one_in(4) ? threads_ : std::min(threads_, 3u)));
  program_.pool_count = in_.one_in(6) ? 2 : 1;
  if (program_.by_hand) program_.pool_count = 0;
  for (unsigned i = 0; i < program_.pool_count; ++i) {
    pool_plan& p = program_.pools[i];
    p.threads = static_cast<std::uint8_t>(in_.between(1, in_.one_in(3) ? threads_ : std::min(threads_, 3u)));
    p.helps = in_.below(4) != 0;
    p.own = in_.one_in(8);
    static constexpr std::uint8_t spares[] = {64, 64, 1, 0};
    p.spares = p.own ? spares[in_.below(4)] : 64;
  }
  program_.pools_first = in_.one_in(2);
  for (auto& b : program_.budgets) b = in_.one_in(3) ? in_.between(1, 3) : in_.between(4, 24);
  mine_.resize(program_.clients);
  finished_.resize(program_.clients);
  static constexpr unsigned base[verbs] = {26, 22, 14, 6, 4, 6, 4, 3, 2, 4, 1, 1, 4, 3, 3, 2, 3, 4, 1, 5, 1, 1, 1, 1, 1, 6, 1, 1};
  static constexpr unsigned factors[] = {0, 1, 1, 2};
  for (unsigned i = 0; i < verbs; ++i) weights_[i] = base[i] * (i <= 2 ? 2 : 2 * factors[in_.below(4)]);
  if (!program_.by_hand) weight(verb::run_manual) = 0;
  if (program_.by_hand) weight(verb::run_manual) = 24;
  if (program_.clients == 1) weight(verb::hand) = 0;
}

// --- one operation ---

bool program_generator::draw_operation() {
  client_ = static_cast<std::uint8_t>(in_.below(program_.clients));
  if (finished_[client_]) return false;
  op_ = op{};
  op_.client = client_;
  op_.what = static_cast<verb>(in_.weighted(weights_));
  uses_.clear();
  if (!draw(op_.what)) return false;
  op_.first_need = static_cast<std::uint32_t>(program_.needs.size());
  for (const need& n : uses_) program_.needs.push_back(n);
  op_.needs = static_cast<std::uint32_t>(uses_.size());
  program_.ops.push_back(op_);
  ahead_.changed();
  return true;
}

bool program_generator::draw(verb v) {
  switch (v) {
    case verb::submit: return draw_submit();
    case verb::take: return draw_take();
    case verb::read: return draw_read();
    case verb::give_up: return draw_give_up();
    case verb::copy: return draw_copy();
    case verb::drop: return draw_drop();
    case verb::open: return draw_open();
    case verb::pick: return draw_pick();
    case verb::scan: return draw_scan();
    case verb::cancel: return draw_cancel();
    case verb::stop: return draw_stop();
    case verb::detach: return draw_detach();
    case verb::completion: return draw_completion();
    case verb::wait_some: return draw_wait_some();
    case verb::wait_any: return draw_wait_any();
    case verb::get_all: return draw_get_all();
    case verb::make_promise: return draw_make_promise();
    case verb::fulfil:
    case verb::fail: return draw_settle();
    case verb::run_manual: return draw_run_manual();
    case verb::make_actor: return draw_make_actor();
    case verb::kill: return draw_kill();
    case verb::shutdown: return draw_shutdown();
    case verb::destroy: return draw_destroy();
    case verb::stats: return draw_stats();
    case verb::hand: return draw_hand();
    case verb::local: return draw_local();
    case verb::probe: op_.n = in_.below(16); return true;
  }
  return false;
}

// --- slots ---

index program_generator::add_slot(handle is, kind of, target to) {
  slot_state s;
  s.is = is;
  s.of = of;
  s.to = to;
  s.client = client_;
  slots_.push_back(s);
  const auto i = static_cast<index>(slots_.size() - 1);
  mine_[client_].push_back(i);
  return i;
}

void program_generator::kill_slot(index i) {
  slots_[i].alive = false;
  std::erase(mine_[slots_[i].client], i);
}

index program_generator::some_slot(handle is) {
  return some_slot([is](const slot_state& s) { return s.is == is; });
}

/// Makes the operation use the slot.
index program_generator::use(index i) {
  if (slots_[i].hands != 0) uses_.push_back({i, slots_[i].hands});
  return i;
}

bool program_generator::certain(index i) {
  const slot_state& s = slots_[i];
  switch (s.is) {
    case handle::reference: return ahead_.certain(s.to);
    case handle::event:
    case handle::outer: return ahead_.certain(target{s.to.task, whole, s.to.known_ready});
    case handle::list: return true;
    case handle::stream: return items_ahead(i) != 0;
    case handle::promise:
    case handle::actor: return false;
  }
  return false;
}

/// For how many items of a stream a client may wait; all_items: also for its end.
std::uint32_t program_generator::items_ahead(index i) {
  const index t = slots_[i].to.task;
  const reach r = ahead_.certain(t, true);
  if (r.end) return all_items;
  const std::uint32_t taken = ahead_.of(t).taken_most;
  return r.values > taken ? r.values - taken : 0;
}

expect program_generator::readiness(index i) {
  if (program_.clients > 1) return expect::either;
  const slot_state& s = slots_[i];
  if (s.is == handle::stream) return expect::either;
  if (program_.by_hand && certain(i)) return expect::yes;
  return !s.to.known_ready && ahead_.blocked(s.to.task) ? expect::no : expect::either;
}

// --- actors and pools ---

bool program_generator::draw_make_actor() {
  actor_plan a;
  a.on = program_.pool_count > 1 && in_.one_in(2) ? place::second_pool : place::pool;
  if (program_.pool_count == 0 || pool_of(a.on).gone || program_.actors.size() >= 30) return false;
  a.throws = in_.one_in(10);
  a.limit = static_cast<std::uint8_t>(in_.one_in(3) ? in_.between(2, 3) : 1);
  a.maker = client_;
  a.shared = program_.clients > 1 && in_.one_in(2);
  program_.actors.push_back(a);
  actors_.push_back({});
  const auto number = static_cast<index>(program_.actors.size() - 1);
  op_.n = number;
  op_.other = add_slot(handle::actor, kind::nothing, {});
  slots_[op_.other].actor = number;
  slots_[op_.other].sure = !pool_of(a.on).closed;
  return true;
}

bool program_generator::draw_kill() {
  const index i = some_slot(handle::actor);
  if (i == none) return false;
  op_.slot = use(i);
  const index a = slots_[i].actor;
  op_.n = a;
  actors_[a].dead = true;
  for (index t = 0; t < program_.tasks.size(); ++t)
    if (program_.tasks[t].actor == a && !ahead_.of(t).refused) ahead_.of(t).cancelled = true;
  return true;
}

/// Tasks that run on the pool, calls of its actors included.
bool program_generator::runs_on(const task_plan& p, unsigned pool) const {
  const place where = p.actor != none ? program_.actors[p.actor].on : p.where;
  return where == (pool == 0 ? place::pool : place::second_pool) && p.what != form::put && p.what != form::promised;
}

void program_generator::everything_ends(unsigned pool) {
  for (index t = 0; t < program_.tasks.size(); ++t)
    if (runs_on(program_.tasks[t], pool) && !ahead_.of(t).refused) ahead_.of(t).cancelled = true;
  for (std::size_t a = 0; a < actors_.size(); ++a)
    if (program_.actors[a].on == (pool == 0 ? place::pool : place::second_pool)) actors_[a].dead = true;
}

bool program_generator::draw_pool() {
  if (program_.pool_count == 0) return false;
  op_.n = in_.below(program_.pool_count);
  return !pools_[op_.n].gone;
}

bool program_generator::draw_shutdown() {
  if (!draw_pool() || !program_.pools[op_.n].own) return false;
  op_.how = static_cast<std::uint8_t>(in_.below(2));  // 0: drain, 1: cancel
  if (program_.clients > 1) {
    if (client_ == 0) return false;
    op_.how = 1;
    finished_[client_] = true;
  } else if (op_.how == 0 && !all_end(op_.n)) {
    op_.how = 1;
  }
  pools_[op_.n].closed = true;
  everything_ends(op_.n);
  return true;
}

bool program_generator::all_end(unsigned pool) {
  for (index t = 0; t < program_.tasks.size(); ++t)
    if (runs_on(program_.tasks[t], pool) && !program_.tasks[t].is_child && !ahead_.certain(t, false).end) return false;
  return true;
}

bool program_generator::draw_destroy() {
  if (!draw_pool() || !program_.pools[op_.n].own) return false;
  if (program_.clients > 1) {
    if (client_ == 0) return false;
    finished_[client_] = true;
  }
  pools_[op_.n].closed = pools_[op_.n].gone = true;
  everything_ends(op_.n);
  return true;
}

bool program_generator::draw_hand() {
  const auto to = static_cast<std::uint8_t>(in_.below(program_.clients));
  if (to == client_ || finished_[to]) return false;
  const index i = some_slot([&](const slot_state& s) {
    return s.is != handle::actor || program_.actors[s.actor].shared;
  });
  if (i == none) return false;
  op_.slot = use(i);
  op_.n = to;
  std::erase(mine_[client_], i);
  mine_[to].push_back(i);
  slots_[i].client = to;
  ++slots_[i].hands;
  return true;
}

bool program_generator::draw_local() {
  task_plan p;
  p.what = form::stream;
  p.where = place::in_line;
  draw_kind(p);
  draw_attempts(p);
  p.is_child = true;
  op_.task = add_task(p);
  return true;
}

program generate(choice_source& choices, unsigned threads) { return program_generator(choices, threads).run(); }

}  // namespace fuzz
