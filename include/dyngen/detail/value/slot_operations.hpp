// SPDX-License-Identifier: MIT
#pragma once
// Operations on a slot: publish it, read its stage, drop a holder, destroy its value when the last holder is gone.
// The tags are those of slot.hpp.

#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/value/shared_state.hpp>
#include <dyngen/detail/value/slot.hpp>

#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

/// The slot is nobody's any more: its share of memory goes back.
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

/// Values that destructors have dropped which were nested too deeply.
class dropped_values final : public put_off_work {
 public:
  explicit dropped_values(thread_context& here) noexcept
      : put_off_work(here), here_(here), outer_(std::exchange(here.dropped, this)) {}
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

/// How many destructors of values may be nested, each dropping the next value. The innermost of them empties a list of
/// what is dropped beyond that, so that a chain of any length takes constant stack; except on a system whose addresses
/// have no room in a slot's word, see slot::can_link(): there each is destroyed inside the one before it.
inline constexpr unsigned most_nested_destructors = 16;

/// Destroys a value whose destructor may drop further values, and may wait.
[[gnu::noinline]] inline void destroy_in_turn(slot& s, std::uint32_t index) noexcept {
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

/// The same for a slot without a value: a carrier of the failure, or a completion that is not the end itself, which counts
/// as one, whatever the end.
[[gnu::noinline]] inline void discard_without_value(slot& s, std::uint64_t word) noexcept {
  const std::uint32_t index = slot::index_of(word);
  if (slot::stage_of(word) == stage::failed || (index == 0 && (word & slot::at_end) != 0))
    slot_group::of(s, index).owner->drop_carriers(1);
  release_slot(s, index);
}

/// The last holder of a slot has let go; `word` is what it read.
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

/// One holder less. `T` is the type of the value.
template <class T>
void drop(slot& s) noexcept {
  // [S2] acquire: a count of one is this caller's own hold, and nobody can make another from it.
  std::uint64_t word = s.word.load(acquire);
  if (std::is_void_v<T> || slot::holders_of(word) != 1) {
    // [S2] release: what this holder did with the value comes before its destruction.
    word = s.word.fetch_sub(slot::one_holder, acq_rel);
    if (slot::holders_of(word) != 1) return;
  }
  discard<T>(s, word);
}

/// Destroys `object`; an exception that its destructor throws goes to the hook.
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

/// Publishes a slot of which the caller is the producer, and gives up its hold. Returns the word as it was before:
/// one holder means that nobody else is left, and that the caller must discard the slot.
inline std::uint64_t publish(slot& s, stage as) noexcept {
  // [S1][W1] seq_cst: also the publisher's half of the promise that no wake-up is lost.
  return s.word.fetch_add(static_cast<std::uint64_t>(as) - slot::one_holder, seq_cst);
}

/// Is it stored, and may it be read? By acquire [S1].
inline bool slot_ready(slot& s) noexcept {
  const std::uint64_t word = s.word.load(acquire);
  if ((word & slot::at_end) != 0) [[unlikely]]
    return slot_group::of(s, slot::index_of(word)).owner->completed();
  return slot::stage_of(word) != stage::empty;
}

/// The exception of a slot that is ready and failed, for who looks at it.
inline const std::exception_ptr& seen_failure(shared_state& owner) noexcept {
  owner.see();
  return owner.failure();
}

/// Is it ready, and holds a value? A glance, by acquire [S1]: no also of the end of a task.
inline bool slot_has_value(slot& s) noexcept {
  const std::uint64_t word = s.word.load(acquire);
  return (word & slot::at_end) == 0 && slot::stage_of(word) == stage::value;
}

/// Of a slot that is ready: does it hold an exception?
inline bool slot_failed(slot& s) noexcept {
  // relaxed: who knows that it is ready has acquired it.
  const std::uint64_t word = s.word.load(relaxed);
  if (slot::stage_of(word) != stage::empty) return slot::stage_of(word) == stage::failed;
  return slot_group::of(s, slot::index_of(word)).owner->failure() != nullptr;  // a completion that is not the end itself
}

}  // namespace dyngen::detail
