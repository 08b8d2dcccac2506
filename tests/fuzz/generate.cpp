// SPDX-License-Identifier: MIT
// Generates programs: draws the operations, their operands and the client of each. Models just enough to know what may
// be waited for.

#include "predictor.hpp"

#include <cstddef>
#include <vector>

namespace fuzz {
namespace {

enum class handle : std::uint8_t { reference, event, stream, outer, list, promise, actor };

struct slot_state {
  handle is = handle::reference;
  kind of = kind::counted;
  target to;
  std::uint8_t client = 0;
  bool alive = true;
  bool sole = true;  ///< the only reference to the value
  bool sure = true;  ///< it is there if its task was submitted
  index actor = none;
  std::uint16_t hands = 0;
};

struct pool_state {
  bool closed = false, gone = false;
};

struct actor_state {
  index last_call = none;
  bool dead = false;
};

class program_generator {
 public:
  program_generator(choice_source& choices, unsigned threads) : in_(choices), threads_(threads), ahead_(program_) {}

  program run() {
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

 private:
  // --- the frame ---

  void draw_frame() {
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
  unsigned& weight(verb v) { return weights_[static_cast<unsigned>(v)]; }

  // --- one operation ---

  bool draw_operation() {
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

  bool draw(verb v) {
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

  index add_slot(handle is, kind of, target to) {
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
  void kill_slot(index i) {
    slots_[i].alive = false;
    std::erase(mine_[slots_[i].client], i);
  }
  /// One of the client's own slots for which `fits(slot)`.
  template <class Fits>
  index some_slot(Fits fits) {
    const auto& all = mine_[client_];
    if (all.empty()) return none;
    const std::size_t start = in_.below(static_cast<unsigned>(all.size()));
    for (std::size_t k = 0; k < all.size(); ++k) {
      const index i = all[(start + k) % all.size()];
      if (fits(slots_[i])) return i;
    }
    return none;
  }
  index some_slot(handle is) {
    return some_slot([is](const slot_state& s) { return s.is == is; });
  }
  static bool is_counted_ref(const slot_state& s) { return s.is == handle::reference && s.of == kind::counted; }

  /// Makes the operation use the slot.
  index use(index i) {
    if (slots_[i].hands != 0) uses_.push_back({i, slots_[i].hands});
    return i;
  }

  bool certain(index i) {
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
  static constexpr std::uint32_t all_items = 1000;
  /// For how many items of a stream a client may wait; all_items: also for its end.
  std::uint32_t items_ahead(index i) {
    const index t = slots_[i].to.task;
    const reach r = ahead_.certain(t, true);
    if (r.end) return all_items;
    const std::uint32_t taken = ahead_.of(t).taken_most;
    return r.values > taken ? r.values - taken : 0;
  }
  expect readiness(index i) {
    if (program_.clients > 1) return expect::either;
    const slot_state& s = slots_[i];
    if (s.is == handle::stream) return expect::either;
    if (program_.by_hand && certain(i)) return expect::yes;
    return !s.to.known_ready && ahead_.blocked(s.to.task) ? expect::no : expect::either;
  }

  // --- submit ---

  bool draw_submit() {
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
  bool surely_submitted(const task_plan& p) {
    const auto fine = [&](index i) { return i == none || (slots_[i].sure && (slots_[i].to.task == none || ahead_.of(slots_[i].to.task).sure)); };
    bool all = fine(p.in_slots[0]) && fine(p.in_slots[1]) && fine(p.after_slot) && fine(p.actor_slot);
    for (unsigned k = 0; k < p.held; ++k) all = all && fine(p.held_slots[k]);
    return all && !(p.where == place::pool && pools_[0].closed) && !(p.where == place::second_pool && pools_[1].closed);
  }

  index add_task(const task_plan& p) {
    program_.tasks.push_back(p);
    return static_cast<index>(program_.tasks.size() - 1);
  }
  bool take_back_task() {
    program_.tasks.pop_back();
    return false;
  }

  bool draw_place(task_plan& p) {
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
  bool on_a_pool(const task_plan& p) const { return p.where == place::pool || p.where == place::second_pool; }
  bool shared_actor(const task_plan& p) const { return p.actor != none && program_.actors[p.actor].shared; }

  bool draw_form(task_plan& p) {
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

  void draw_kind(task_plan& p) {
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
  void draw_room(task_plan& p) {
    if (p.what == form::stream) return;  // the default
    p.room = in_.below(3) == 0 ? 1 : in_.one_in(6) ? in_.between(17, 40) : in_.between(2, 8);
  }

  std::uint32_t draw_length() {
    if (in_.one_in(40)) return in_.between(60, 140);
    return in_.one_in(12) ? in_.between(6, 30) : in_.below(6);
  }

  void draw_attempts(task_plan& p) {
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

  bool draw_inputs(task_plan& p) {
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

  bool draw_given(task_plan& p, input given) {
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

  void draw_steps(task_plan& p) {
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
  bool hold_for(task_plan& p, step& s) {
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

  index draw_child(const task_plan& parent, deed how) {
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
  bool blocks_for_certain(index t) {
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

  void take_inputs(index t) {
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

  void give_slots(index t) {
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

  // --- streams ---

  bool draw_take() {
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

  bool draw_detach() {
    const index i = some_slot(handle::stream);
    if (i == none) return false;
    op_.slot = use(i);
    op_.task = slots_[i].to.task;
    ahead_.of(op_.task).detached = true;
    kill_slot(i);
    return true;
  }

  // --- refs ---

  bool draw_read() {
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

  bool draw_give_up() {
    const index i = some_slot([](const slot_state& s) { return s.is == handle::reference; });
    if (i == none || !certain(i)) return false;
    op_.slot = use(i);
    op_.task = slots_[i].to.task;
    op_.how = static_cast<std::uint8_t>(in_.below(3));
    op_.must = slots_[i].sole ? expect::yes : expect::either;
    kill_slot(i);
    return true;
  }

  bool draw_copy() {
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

  bool draw_drop() {
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

  bool draw_cancel() {
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

  bool draw_stop() {
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
  unsigned ops_seed() const { return static_cast<unsigned>(program_.ops.size()); }

  bool draw_completion() {
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

  bool draw_open() {
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
  bool draw_pick() {
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
  bool draw_scan() {
    const index i = some_slot(handle::list);
    if (i == none) return false;
    op_.slot = use(i);
    op_.task = slots_[i].to.task;
    op_.how = static_cast<std::uint8_t>(in_.below(3));
    return true;
  }

  // --- several at once ---

  unsigned list_slots(unsigned most) {
    unsigned found = 0;
    for (unsigned k = 0; k < most; ++k) {
      const index i = some_slot(is_counted_ref);
      if (i == none) break;
      op_.list[op_.listed++] = use(i);
      if (certain(i)) ++found;
    }
    return found;
  }

  bool draw_wait_some() {
    const unsigned ready = list_slots(in_.between(1, 4));
    if (op_.listed == 0) return false;
    op_.how = static_cast<std::uint8_t>(in_.below(3));  // blocking, long limit, no time at all
    if (op_.how != 2 && ready == 0) op_.how = 2;
    op_.n = op_.how == 2 ? in_.between(0, op_.listed) : in_.between(0, ready);
    return true;
  }

  bool draw_wait_any() {
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
  index slot_number(const slot_state& s) const { return static_cast<index>(&s - slots_.data()); }
  bool has_values_ahead(index i) {
    const index t = slots_[i].to.task;
    const task_plan& p = program_.tasks[t];
    if (program_.clients > 1) return false;  // another client may cancel it
    if (p.given != input::nothing || p.steps != 0 || p.after_slot != none || p.actor != none) return false;  // it may fail before
    return ahead_.certain(t, false).values > ahead_.of(t).taken_most && !ahead_.of(t).perhaps_cancelled;
  }

  bool draw_get_all() {
    const unsigned wanted = in_.between(1, 4);
    if (list_slots(wanted) != op_.listed || op_.listed == 0) return false;
    op_.how = static_cast<std::uint8_t>(in_.below(2));
    return true;
  }

  // --- promises ---

  bool draw_make_promise() {
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
  bool draw_settle() {
    const index i = some_slot(handle::promise);
    if (i == none) return false;
    op_.slot = use(i);
    op_.task = slots_[i].to.task;
    op_.how = static_cast<std::uint8_t>(in_.below(3));
    ahead_.of(op_.task).settled = true;
    kill_slot(i);
    return true;
  }

  bool draw_run_manual() {
    op_.n = in_.one_in(3) ? in_.between(1, 4) : 0;
    const auto tasks = static_cast<index>(program_.tasks.size());
    if (op_.n == 0)
      ahead_.all_was_run(tasks);
    else
      for (index t = 0; t < tasks; ++t) ahead_.of(t).ran = true;
    return true;
  }

  // --- actors and pools ---

  bool draw_make_actor() {
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
  bool draw_kill() {
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

  pool_state& pool_of(place p) { return pools_[p == place::second_pool]; }
  /// Tasks that run on the pool, calls of its actors included.
  bool runs_on(const task_plan& p, unsigned pool) const {
    const place where = p.actor != none ? program_.actors[p.actor].on : p.where;
    return where == (pool == 0 ? place::pool : place::second_pool) && p.what != form::put && p.what != form::promised;
  }
  void everything_ends(unsigned pool) {
    for (index t = 0; t < program_.tasks.size(); ++t)
      if (runs_on(program_.tasks[t], pool) && !ahead_.of(t).refused) ahead_.of(t).cancelled = true;
    for (std::size_t a = 0; a < actors_.size(); ++a)
      if (program_.actors[a].on == (pool == 0 ? place::pool : place::second_pool)) actors_[a].dead = true;
  }

  bool draw_pool() {
    if (program_.pool_count == 0) return false;
    op_.n = in_.below(program_.pool_count);
    return !pools_[op_.n].gone;
  }
  bool draw_stats() { return draw_pool(); }

  bool draw_shutdown() {
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
  bool all_end(unsigned pool) {
    for (index t = 0; t < program_.tasks.size(); ++t)
      if (runs_on(program_.tasks[t], pool) && !program_.tasks[t].is_child && !ahead_.certain(t, false).end) return false;
    return true;
  }
  bool draw_destroy() {
    if (!draw_pool() || !program_.pools[op_.n].own) return false;
    if (program_.clients > 1) {
      if (client_ == 0) return false;
      finished_[client_] = true;
    }
    pools_[op_.n].closed = pools_[op_.n].gone = true;
    everything_ends(op_.n);
    return true;
  }

  bool draw_hand() {
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

  bool draw_local() {
    task_plan p;
    p.what = form::stream;
    p.where = place::in_line;
    draw_kind(p);
    draw_attempts(p);
    p.is_child = true;
    op_.task = add_task(p);
    return true;
  }

  static constexpr unsigned verbs = static_cast<unsigned>(verb::probe) + 1;

  choice_source& in_;
  const unsigned threads_;
  program program_;
  predictor ahead_;
  std::vector<slot_state> slots_;
  std::vector<std::vector<index>> mine_;  ///< of each client: its slots
  std::vector<bool> finished_;            ///< of each client: it does nothing more
  std::array<pool_state, 2> pools_{};
  std::vector<actor_state> actors_;
  unsigned weights_[verbs] = {};
  std::uint8_t client_ = 0;
  op op_;
  std::vector<need> uses_;
};

}  // namespace

program generate(choice_source& choices, unsigned threads) { return program_generator(choices, threads).run(); }

}  // namespace fuzz
