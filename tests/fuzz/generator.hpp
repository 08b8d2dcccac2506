// SPDX-License-Identifier: MIT
#pragma once
// Generates programs: draws the operations, their operands and the client of each. Models just enough to know what may
// be waited for.

#include "predictor.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fuzz {

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
  program run();

 private:
  // --- the frame ---

  void draw_frame();
  unsigned& weight(verb v) { return weights_[static_cast<unsigned>(v)]; }

  // --- one operation ---

  bool draw_operation();
  bool draw(verb v);

  // --- slots ---

  index add_slot(handle is, kind of, target to);
  void kill_slot(index i);
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
  index some_slot(handle is);
  static bool is_counted_ref(const slot_state& s) { return s.is == handle::reference && s.of == kind::counted; }
  index use(index i);
  bool certain(index i);
  std::uint32_t items_ahead(index i);
  expect readiness(index i);

  // --- submit ---

  bool draw_submit();
  bool surely_submitted(const task_plan& p);
  index add_task(const task_plan& p);
  bool take_back_task();
  bool draw_place(task_plan& p);
  bool on_a_pool(const task_plan& p) const { return p.where == place::pool || p.where == place::second_pool; }
  bool shared_actor(const task_plan& p) const { return p.actor != none && program_.actors[p.actor].shared; }
  bool draw_form(task_plan& p);
  void draw_kind(task_plan& p);
  void draw_room(task_plan& p);
  std::uint32_t draw_length();
  void draw_attempts(task_plan& p);

  // --- arguments of a task ---

  bool draw_inputs(task_plan& p);
  bool draw_given(task_plan& p, input given);
  void draw_steps(task_plan& p);
  bool hold_for(task_plan& p, step& s);
  index draw_child(const task_plan& parent, deed how);
  bool blocks_for_certain(index t);
  void take_inputs(index t);
  void give_slots(index t);

  // --- streams ---

  bool draw_take();
  bool draw_detach();

  // --- refs ---

  bool draw_read();
  bool draw_give_up();
  bool draw_copy();
  bool draw_drop();
  bool draw_cancel();
  bool draw_stop();
  unsigned ops_seed() const { return static_cast<unsigned>(program_.ops.size()); }
  bool draw_completion();

  // --- lists ---

  bool draw_open();
  bool draw_pick();
  bool draw_scan();

  // --- several at once ---

  unsigned list_slots(unsigned most);
  bool draw_wait_some();
  bool draw_wait_any();
  index slot_number(const slot_state& s) const { return static_cast<index>(&s - slots_.data()); }
  bool has_values_ahead(index i);
  bool draw_get_all();

  // --- promises ---

  bool draw_make_promise();
  bool draw_settle();
  bool draw_run_manual();

  // --- actors and pools ---

  bool draw_make_actor();
  bool draw_kill();
  pool_state& pool_of(place p) { return pools_[p == place::second_pool]; }
  bool runs_on(const task_plan& p, unsigned pool) const;
  void everything_ends(unsigned pool);
  bool draw_pool();
  bool draw_stats() { return draw_pool(); }
  bool draw_shutdown();
  bool all_end(unsigned pool);
  bool draw_destroy();
  bool draw_hand();
  bool draw_local();

  static constexpr std::uint32_t all_items = 1000;

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

}  // namespace fuzz
