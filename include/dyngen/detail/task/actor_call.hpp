// SPDX-License-Identifier: MIT
#pragma once
// The part of an actor's call that other tasks do not need: its place in the lists of actor_executor.hpp.

#include <cstdint>

namespace dyngen::detail {

class task_record;

/// State of an actor's call; guarded by the actor.
struct actor_call {
  /// A builder constructs the actor's object. An ender is the end of the actor.
  enum class kind : unsigned char { method, builder, ender };
  struct links {
    actor_call* previous = nullptr;
    actor_call* next = nullptr;
  };
  task_record* task = nullptr;
  links queued;         ///< in the list of calls that want the turn
  /// Before its first turn: in the list of calls that are not ready. From its first turn on: in the list of calls that
  /// have not ended.
  links others;
  std::uint64_t submitter = 0;
  std::uint64_t order = 0;  ///< position of its submit among all submits
  kind is = kind::method;
  bool ready = false;   ///< it needs only the turn
  bool begun = false;   ///< it got its turn
  bool removed = false; ///< from the queue: it ends without a turn
  bool cancelled_by_actor = false;  ///< because the actor is dead
  bool dead = false;    ///< the actor died before the call began: the call fails with actor_died
  bool inlined = false; ///< it needs no turn: the submitting thread ends it
};

}  // namespace dyngen::detail
