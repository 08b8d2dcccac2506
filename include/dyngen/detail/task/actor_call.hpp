// SPDX-License-Identifier: MIT
#pragma once
// What a call of an actor has beside its task: its place in the lists of actor_executor.hpp.

#include <cstdint>

namespace dyngen::detail {

class task_record;

/// What a call of an actor has beside its task; guarded by the actor.
struct actor_call {
  enum class kind : unsigned char { method, builder, ender };
  struct links {
    actor_call* previous = nullptr;
    actor_call* next = nullptr;
  };
  task_record* task = nullptr;
  links queued;         ///< among those that want the turn
  links others;         ///< among those that are not ready; later among those that had their turn, and have not ended
  std::uint64_t submitter = 0;
  std::uint64_t order = 0;  ///< of its submit among all
  kind is = kind::method;
  bool ready = false;   ///< it waits for nothing but its turn
  bool begun = false;   ///< it has had its turn
  bool taken_out = false;  ///< it ends without its turn
  bool told_to_stop = false; ///< since the actor is dead
  bool dead = false;    ///< the actor was dead before the call could begin: it fails with actor_died
  bool inlined = false; ///< it needs no turn: the submitting thread ends it
};

}  // namespace dyngen::detail
