// SPDX-License-Identifier: MIT
#pragma once
// A slot: a 64-bit word with the stage of one value and the number of its holders. A holder is a handle (a ref, a list
// or a stream) or, until it publishes the slot, the producer.
//
// Up to 64 slots follow a `slot_group` in memory, and their values follow the slots. The group belongs to a
// `shared_state`: a task, a promise or a plain value.
//
//   [ slot_group: owner, waiters, where the values are ][ slot 0 … slot n-1 ][ value 0 … value n-1 ]
//
// A slot's word: stage (2 bits) | at_end (1 bit) | index in its group (6 bits) | … | holders (upper 32 bits)
//
//            publish<value>()            last holder gone: the value is destroyed
//   empty ───────────────────────▶ value ────────────────────────────────────────▶ (gone)
//     └──────────────────────────▶ failed   the exception is in the shared state
//            publish<failed>()
//
// One operation publishes the slot and drops the producer as a holder. So a holder that reads a published stage and a
// count of one is the only holder.
//
// Each shared state has one end slot; publishing it means that the task has ended. The end slot is slot 0 (the
// completion), except for a task with a single value that becomes ready only with the end: there it is the value's
// slot. A slot with the flag at_end (all_or_nothing) is not ready before the end slot is, even if it already has a
// value.
//
// [S1] publish (acq_rel or stronger) makes the value visible to every acquire load of the word.
// [S2] The last holder's decrement acquires what the other holders did with the value before their own decrements.
// The tags [W1] to [W4] are those of waiter.hpp.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/value/waiter.hpp>

#include <cstddef>
#include <cstdint>

namespace dyngen::detail {

enum class stage : std::uint64_t { empty = 0, value = 1, failed = 2 };

struct slot {
  static constexpr std::uint64_t stage_mask = 3;
  static constexpr std::uint64_t at_end = 4;
  static constexpr std::uint64_t index_shift = 3;
  static constexpr std::uint64_t index_mask = 63;
  static constexpr std::uint64_t kept_bits = 9;  // stage, at_end and index
  static constexpr std::uint64_t one_holder = std::uint64_t{1} << 32;

  atomic<std::uint64_t> word;

  static constexpr stage stage_of(std::uint64_t word) noexcept { return static_cast<stage>(word & stage_mask); }
  static constexpr std::uint64_t holders_of(std::uint64_t word) noexcept { return word >> 32; }
  static constexpr std::uint32_t index_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>((word >> index_shift) & index_mask);
  }
  static constexpr std::uint64_t make(stage s, std::uint32_t index, std::uint64_t holders,
                                      std::uint64_t flags = 0) noexcept {
    return static_cast<std::uint64_t>(s) | flags | (std::uint64_t{index} << index_shift) | (holders << 32);
  }

  // While a value without holders waits to be destroyed, its slot's word is also the link to another such slot. The
  // index and at_end stay in place; the stage is known to be `value`. That leaves 57 bits. Slots are aligned to 8
  // bytes, so this is enough for addresses below 2^60, which include those that ARM's memory tagging (MTE) has marked
  // in bits 56 to 59. can_link() returns false for larger addresses (Intel's LAM, tools that use the whole top byte).
  static constexpr bool can_link(std::uint64_t address) noexcept { return address >> 60 == 0; }
  static constexpr std::uint64_t linked(std::uint64_t word, std::uint64_t address) noexcept {
    const std::uint64_t kept = word & (at_end | (index_mask << index_shift));
    return kept | (address >> 3 << kept_bits) | (address >> 58);
  }
  static constexpr std::uint64_t link_of(std::uint64_t word) noexcept {
    return word >> kept_bits << 3 | (word & stage_mask) << 58;
  }
  static constexpr std::uint64_t unlinked(std::uint64_t word) noexcept {
    return make(stage::value, index_of(word), 0, word & at_end);
  }

  std::uint32_t index() const noexcept {
    // relaxed: the index never changes while the slot has a holder.
    return index_of(word.load(relaxed));
  }

  /// Adds a holder. The caller must be a holder.
  void add_holder() noexcept {
    // relaxed: it publishes nothing, and the caller's own reference keeps the value alive.
    word.fetch_add(one_holder, relaxed);
  }
};

static_assert(sizeof(slot) == sizeof(atomic<std::uint64_t>) && atomic<std::uint64_t>::is_always_lock_free);

inline constexpr std::uint32_t slots_per_group = 64;

class shared_state;
struct task_snapshot;

/// The head of up to 64 slots, which follow it in memory.
struct alignas(slot) slot_group {
  slot_group(shared_state* o, std::uint32_t slot_count, std::size_t value_size, std::size_t value_alignment,
        std::int64_t first_number, bool segment, std::uint32_t slots_without_value = 0) noexcept
      : owner(o),
        values(static_cast<std::int32_t>(values_offset(slot_count, value_alignment)) -
               static_cast<std::int32_t>(slots_without_value * value_size)),
        stride(static_cast<std::uint32_t>(value_size)),
        first(first_number * 2 + (segment ? 1 : 0)) {}

  shared_state* owner;
  waiter_list waiters;
  std::int32_t values;   ///< bytes from the group to the value of slot 0, or to where that would be
  std::uint32_t stride;  ///< bytes from one value to the next
  /// 2 × the number of slot 0 among the task's values, + 1 if the group is a block of a segmented buffer.
  std::int64_t first;

  slot* slot_array() noexcept { return reinterpret_cast<slot*>(this + 1); }
  void* value_at(std::uint32_t index) noexcept {
    return reinterpret_cast<std::byte*>(this) + values + static_cast<std::ptrdiff_t>(index) * static_cast<std::ptrdiff_t>(stride);
  }
  bool is_segment() const noexcept { return (first & 1) != 0; }
  std::uint64_t number_of(std::uint32_t index) const noexcept { return static_cast<std::uint64_t>((first >> 1) + index); }

  static constexpr std::size_t values_offset(std::uint32_t slot_count, std::size_t value_alignment) noexcept {
    const std::size_t end = sizeof(slot_group) + slot_count * sizeof(slot);
    return (end + value_alignment - 1) / value_alignment * value_alignment;
  }
  static constexpr std::size_t alignment_for(std::size_t value_alignment) noexcept {
    return value_alignment > alignof(slot_group) ? value_alignment : alignof(slot_group);
  }

  static slot_group& of(slot& s) noexcept { return of(s, s.index()); }
  static slot_group& of(slot& s, std::uint32_t index) noexcept { return *(reinterpret_cast<slot_group*>(&s - index) - 1); }

  /// For waiter_list: true if slot `index`, which does not have the flag at_end, is published.
  static bool published(const void* self, std::uint32_t index) noexcept {
    auto& s = static_cast<slot_group*>(const_cast<void*>(self))->slot_array()[index];
    return slot::stage_of(s.word.load(seq_cst)) != stage::empty;  // [W1]
  }
  auto ready() noexcept {
    return [this](std::uint32_t index) noexcept { return published(this, index); };
  }
};

static_assert(sizeof(slot_group) % alignof(slot) == 0);

/// Something to wait for: a slot, or the next value of a stream. It has the list of the waiters, and a function that
/// tells whether it is published.
struct wait_point {
  waiter_list* list = nullptr;
  bool (*published)(const void* object, std::uint32_t index) noexcept = nullptr;
  const void* object = nullptr;
  std::uint32_t index = 0;
  void (*fence)(const void* object) noexcept = nullptr;  ///< only for a stream's next value: the heavy side of [W1]
  shared_state* owner = nullptr;                             ///< the shared state that publishes it

  // Results of what() for the end of a task, and for the next value of a stream.
  static constexpr std::int64_t the_end = -1;
  static constexpr std::int64_t the_next = -2;
  /// The number of the value that is waited for, or one of these constants.
  std::int64_t what() const noexcept;

  bool ready() const noexcept { return published(object, index); }
  /// Registers `w`, whose index is set. Returns true if the wait point is ready already and this call has claimed `w`.
  bool add(waiter& w) const noexcept {
    const auto is_ready = [this](std::uint32_t i) noexcept { return published(object, i); };
    list->add(w, is_ready);
    if (fence != nullptr) fence(object);
    if (!ready() || !w.try_claim()) return false;  // [W1]
    list->note_left();
    return true;
  }
};

}  // namespace dyngen::detail
