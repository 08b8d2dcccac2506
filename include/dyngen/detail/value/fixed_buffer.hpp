// SPDX-License-Identifier: MIT
#pragma once
// The return buffer of a task whose number of values is known at submit. All slots follow the task's record, in groups
// of 64, in one allocation. Slot 0 is the task's completion, slot i + 1 its value i. One producer at a time stores the
// values in order; any number of threads read, wait and drop.
//
// Under all_or_nothing no slot is ready before the completion is, and a failure turns all stored values into failures.
// Until the task ends, the producer stays a holder of each slot. Then seal() drops the producer as a holder, except
// where the value is to be destroyed: everywhere if the task failed, else where no other holder is left. It gives these
// slots the stage `failed`. destroy_staged() destroys their values, and then drops the producer.

#include <dyngen/detail/base/integer.hpp>
#include <dyngen/detail/value/slot_operations.hpp>

#include <cstddef>
#include <cstdint>
#include <new>

namespace dyngen::detail {

/// The layout of a buffer: `count` values, `stride` bytes from one to the next.
struct fixed_shape {
  std::size_t stride;
  std::size_t alignment;
  std::uint64_t count;

  template <class T>
  static constexpr fixed_shape of(std::uint64_t count) noexcept {
    return {sizeof(T), alignof(T), count};
  }

  constexpr std::size_t alignment_of_groups() const noexcept { return slot_group::alignment_for(alignment); }
  constexpr std::uint64_t groups() const noexcept { return count / slots_per_group + 1; }

  /// Bytes from the beginning of a group to the beginning of the next one.
  constexpr std::size_t group_bytes(bool first) const noexcept {
    const std::size_t end = slot_group::values_offset(slots_per_group, alignment) + (slots_per_group - (first ? 1 : 0)) * stride;
    return (end + alignment_of_groups() - 1) / alignment_of_groups() * alignment_of_groups();
  }
  constexpr std::size_t offset_of_group(std::uint64_t k) const noexcept {
    return k == 0 ? 0 : group_bytes(true) + integer_as<std::size_t>(k - 1) * group_bytes(false);
  }
  constexpr std::uint32_t slots_in_group(std::uint64_t k) const noexcept {
    const std::uint64_t left = count + 1 - k * slots_per_group;
    return left < slots_per_group ? static_cast<std::uint32_t>(left) : slots_per_group;
  }
  constexpr std::size_t bytes() const noexcept {
    const std::uint64_t last = groups() - 1;
    const std::uint32_t slot_count = slots_in_group(last);
    return offset_of_group(last) + slot_group::values_offset(slot_count, alignment) +
           (slot_count - (last == 0 ? 1 : 0)) * stride;
  }
};

enum class staging { none, all_or_nothing };

class fixed_buffer {
 public:
  /// Constructs groups and slots in `memory`, which has shape.bytes() bytes. Each value slot has `holders` holders
  /// besides the producer.
  fixed_buffer(shared_state& owner, void* memory, fixed_shape shape, staging staged, std::uint64_t holders = 1) noexcept
      : shape_(shape), staged_(staged), memory_(static_cast<std::byte*>(memory)) {
    for (std::uint64_t k = 0; k < shape.groups(); ++k) {
      const std::uint32_t slot_count = shape.slots_in_group(k);
      auto* g = ::new (memory_ + shape.offset_of_group(k))
          slot_group(&owner, slot_count, shape.stride, shape.alignment, static_cast<std::int64_t>(k * slots_per_group) - 1,
                false, k == 0 ? 1 : 0);
      const std::uint64_t flags = staged == staging::none ? 0 : slot::at_end;
      for (std::uint32_t i = 0; i < slot_count; ++i) {
        const bool is_completion = k == 0 && i == 0;
        ::new (g->slot_array() + i)
            slot{slot::make(stage::empty, i, is_completion ? 1 : holders + 1, is_completion ? 0 : flags)};
      }
    }
    current_ = &results();
  }

  /// Destroys the groups. Called when all values are gone and the owner has no references.
  void destroy() noexcept {
    for (std::uint64_t k = 0; k < shape_.groups(); ++k) group_at(k).~slot_group();
  }

  slot_group& results() noexcept { return group_at(0); }
  std::size_t bytes() const noexcept { return shape_.bytes(); }
  std::uint64_t count() const noexcept { return shape_.count; }
  std::uint64_t made() const noexcept { return made_; }
  bool full() const noexcept { return made_ == shape_.count; }

  /// The slot of value `i`.
  slot& at(std::uint64_t i) noexcept {
    return group_at((i + 1) / slots_per_group).slot_array()[(i + 1) % slots_per_group];
  }

  /// The storage of the next value. Must not be called if full().
  void* place() noexcept { return current_->value_at(next_); }

  /// Publishes the value that the caller has constructed at place().
  template <class T>
  void commit() noexcept {
    slot_group& g = *current_;
    slot& s = g.slot_array()[next_];
    ++made_;
    if (++next_ == slots_per_group && made_ < shape_.count) {
      current_ = &group_at((made_ + 1) / slots_per_group);
      next_ = 0;
    }
    if (staged_ == staging::all_or_nothing) {
      // release: pairs with the acquire of a thread that reads the word after the completion is published [S1].
      s.word.fetch_add(static_cast<std::uint64_t>(stage::value), release);
      return;
    }
    const std::uint64_t before = publish(s, stage::value);
    if (slot::holders_of(before) == 1)
      discard<T>(s, before + static_cast<std::uint64_t>(stage::value));  // no handle refers to it any more
    else
      g.waiters.notify(g.ready());
  }

  struct sealed {
    bool has_carrier;    ///< a slot has failed
    bool leaves_values;  ///< the caller must call destroy_staged()
  };
  /// Called when the task has ended: fails the slots without a value; under all_or_nothing, if `failed`, all slots.
  sealed seal(bool failed) noexcept {
    const std::uint64_t failing = failed && staged_ == staging::all_or_nothing ? shape_.count : shape_.count - made_;
    shared_state& owner = *results().owner;
    if (failing != 0) owner.add_carriers(failing);
    std::uint64_t unheld_failed = 0;
    bool leaves_values = false;
    if (staged_ == staging::all_or_nothing) {
      constexpr std::uint64_t to_failed = static_cast<std::uint64_t>(stage::failed) - static_cast<std::uint64_t>(stage::value);
      for (std::uint64_t i = 0; i < made_; ++i) {
        slot& s = at(i);
        // [S1][S2] acq_rel: as in publish() and drop(); the slot becomes ready only with the completion.
        const std::uint64_t before = s.word.fetch_add(failed ? to_failed : 0 - slot::one_holder, acq_rel);
        const bool unheld = slot::holders_of(before) == 1;
        // relaxed: no other thread can reach the slot.
        if (unheld && !failed) s.word.fetch_add(to_failed + slot::one_holder, relaxed);
        leaves_values = leaves_values || failed || unheld;
      }
    }
    for (std::uint64_t i = made_; i < shape_.count; ++i) {
      slot& s = at(i);
      const std::uint64_t before = publish(s, stage::failed);
      if (slot::holders_of(before) == 1) {
        release_slot(s, slot::index_of(before));
        ++unheld_failed;
        continue;
      }
      if (staged_ == staging::none) {
        slot_group& g = slot_group::of(s, slot::index_of(before));
        g.waiters.notify(g.ready());
      }
    }
    if (unheld_failed != 0) owner.drop_carriers(unheld_failed);  // never the last ones: the end is a carrier, too
    return {failing != 0, leaves_values};
  }

  /// Called after seal() under all_or_nothing: calls `destroy(slot&)` for each value that no handle can reach.
  template <class Destroy>
  void destroy_staged(Destroy destroy) noexcept {
    shared_state& owner = *results().owner;
    for (std::uint64_t i = 0; i < made_; ++i) {
      slot& s = at(i);
      // relaxed: seal() set the stage; other threads change only the number of holders.
      if (slot::stage_of(s.word.load(relaxed)) != stage::failed) continue;
      destroy(s);
      // [S2] acq_rel: as in drop().
      const std::uint64_t before = s.word.fetch_sub(slot::one_holder, acq_rel);
      if (slot::holders_of(before) != 1) continue;
      if (owner.failure()) owner.drop_carriers(1);
      release_slot(s, slot::index_of(before));
    }
  }

 private:
  slot_group& group_at(std::uint64_t k) noexcept {
    return *std::launder(reinterpret_cast<slot_group*>(memory_ + shape_.offset_of_group(k)));
  }

  fixed_shape shape_;
  staging staged_;
  std::uint32_t next_ = 1;  ///< index in current_ of the next value's slot
  std::uint64_t made_ = 0;
  std::byte* memory_;
  slot_group* current_ = nullptr;
};

}  // namespace dyngen::detail
