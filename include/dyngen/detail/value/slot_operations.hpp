// SPDX-License-Identifier: MIT
#pragma once
// Operations on a slot: publish it, read its stage, drop a holder, destroy its value when the last holder is gone.
// The tags are those of slot.hpp and waiter.hpp.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/value/shared_state.hpp>
#include <dyngen/detail/value/slot.hpp>

#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

/// Drops a slot's reference on the memory that contains it. The slot has neither holders nor a value.
inline void release_slot(slot& s, std::uint32_t index) noexcept {
  slot_group& g = slot_group::of(s, index);
  if (g.is_segment())
    g.owner->release_segment_slots(g, 1);
  else
    g.owner->drop_references(1);
}

inline void destroy_now(slot& s, std::uint32_t index) noexcept {
  slot_group::of(s, index).owner->destroy_value(s);
  release_slot(s, index);
}

/// A list of values that were dropped when too many destructors were nested.
class dropped_values final : public deferred_work {
 public:
  explicit dropped_values(thread_context& here) noexcept
      : deferred_work(here), here_(here), outer_(std::exchange(here.dropped, this)) {}
  ~dropped_values() { here_.dropped = outer_; }

  bool may_add() const noexcept { return slot::can_link(reinterpret_cast<std::uint64_t>(first_)); }
  void add(slot& s) noexcept {
    // relaxed, both: no other thread has the slot.
    s.word.store(slot::linked(s.word.load(relaxed), reinterpret_cast<std::uint64_t>(first_)), relaxed);
    first_ = &s;
  }
  bool run_one() noexcept override {
    if (first_ == nullptr) return false;
    slot& s = *first_;
    // relaxed, both: no other thread has the slot.
    const std::uint64_t word = s.word.load(relaxed);
    s.word.store(slot::unlinked(word), relaxed);
    first_ = reinterpret_cast<slot*>(slot::link_of(word));
    destroy_now(s, slot::index_of(word));
    return true;
  }

 private:
  thread_context& here_;
  dropped_values* const outer_;
  slot* first_ = nullptr;
};

/// How many destructors of values may be nested, each of which drops the next value. Values that the innermost of these
/// destructors drops go to a list, which is emptied when that destructor has returned. So a chain of any length uses
/// constant stack. Exception: values at addresses for which slot::can_link() is false are destroyed recursively.
inline constexpr unsigned most_nested_destructors = 16;

/// Destroys a value whose destructor may drop further values, and may wait.
DYNGEN_NOINLINE inline void destroy_in_turn(slot& s, std::uint32_t index) noexcept {
  thread_context& here = context();
  if (here.destroying == most_nested_destructors && here.dropped->may_add()) return here.dropped->add(s);
  if (here.publishing != 0) [[unlikely]] {
    const interlude user_code(here);
    return destroy_in_turn(s, index);
  }
  if (here.destroying == most_nested_destructors) [[unlikely]]
    return destroy_now(s, index);
  if (++here.destroying < most_nested_destructors) {
    destroy_now(s, index);
  } else {
    dropped_values nested(here);
    destroy_now(s, index);
    while (nested.run_one()) {
    }
  }
  --here.destroying;
}

/// discard() for a slot without a value. The slot may be a carrier of the failure. A completion that is not the end
/// slot counts as a carrier, even if the task succeeded.
DYNGEN_NOINLINE inline void discard_without_value(slot& s, std::uint64_t word) noexcept {
  const std::uint32_t index = slot::index_of(word);
  if (slot::stage_of(word) == stage::failed || (index == 0 && (word & slot::at_end) != 0))
    slot_group::of(s, index).owner->drop_carriers(1);
  release_slot(s, index);
}

/// Destroys the value of a slot, if it has one, and releases the slot. Called after the last holder was dropped; `word`
/// is what the slot's word was then.
template <class T>
void discard(slot& s, std::uint64_t word) noexcept {
  if ((word & static_cast<std::uint64_t>(stage::value)) == 0) [[unlikely]]  // a bit that no other stage has
    return discard_without_value(s, word);
  const std::uint32_t index = slot::index_of(word);
  if constexpr (!std::is_void_v<T>) {
    if constexpr (!std::is_trivially_destructible_v<T>) return destroy_in_turn(s, index);
  }
  release_slot(s, index);
}

/// Drops a holder. `T` is the type of the value.
template <class T>
void drop(slot& s) noexcept {
  // [S2] acquire: if the count is one, the caller is the only holder, and no other thread can become one.
  std::uint64_t word = s.word.load(acquire);
  if (std::is_void_v<T> || slot::holders_of(word) != 1) {
    // [S2] release: the value is destroyed after what this holder did with it.
    word = s.word.fetch_sub(slot::one_holder, acq_rel);
    if (slot::holders_of(word) != 1) return;
  }
  discard<T>(s, word);
}

/// Destroys `object`; reports an exception of its destructor.
template <class T>
void destroy_reporting(T& object, shared_state& owner) noexcept {
  if constexpr (std::is_nothrow_destructible_v<T>) {
    object.~T();
  } else {
    std::exception_ptr thrown;
    try {
      object.~T();
    } catch (...) {
      thrown = std::current_exception();
    }
    if (thrown) owner.report(thrown);
  }
}

/// Publishes a slot and drops its producer, which is the caller, as a holder. Returns the word as it was before. If the
/// producer was the only holder in that word, the caller must discard the slot.
inline std::uint64_t publish(slot& s, stage as) noexcept {
  // [S1][W1] seq_cst: also the publisher's side of the pair by which no wake-up is lost.
  return s.word.fetch_add(static_cast<std::uint64_t>(as) - slot::one_holder, seq_cst);
}

/// True if the slot is published and may be read; acquire [S1].
inline bool slot_ready(slot& s) noexcept {
  const std::uint64_t word = s.word.load(acquire);
  if ((word & slot::at_end) != 0) [[unlikely]]
    return slot_group::of(s, slot::index_of(word)).owner->completed();
  return slot::stage_of(word) != stage::empty;
}

/// The exception of a slot that is ready and failed. Marks the failure as seen.
inline const std::exception_ptr& seen_failure(shared_state& owner) noexcept {
  owner.mark_seen();
  return owner.failure();
}

/// Fast check with acquire [S1]: true if the slot has a value. Also false for slots that become ready only with the end
/// of the task.
inline bool slot_has_value(slot& s) noexcept {
  const std::uint64_t word = s.word.load(acquire);
  return (word & slot::at_end) == 0 && slot::stage_of(word) == stage::value;
}

/// For a slot that is ready: true if it failed.
inline bool slot_failed(slot& s) noexcept {
  // relaxed: the caller knows that the slot is ready, and so has acquired it.
  const std::uint64_t word = s.word.load(relaxed);
  if (slot::stage_of(word) != stage::empty) return slot::stage_of(word) == stage::failed;
  return slot_group::of(s, slot::index_of(word)).owner->failure() != nullptr;  // a completion that is not the end slot
}

}  // namespace dyngen::detail
