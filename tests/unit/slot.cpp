// SPDX-License-Identifier: MIT
// The word of a slot, and the address computations between slots, values and their group.

#include "../catch.hpp"
#include "../support.hpp"
#include "producers.hpp"

#include <cstddef>
#include <cstdint>
#include <new>

namespace test_slot {

using dg::detail::slot_group;
using dg::detail::slot;
using dg::detail::stage;

TEST_CASE("the word of a slot has separate fields for stage, index, flag and references", "[slot]") {
  for (const stage s : {stage::empty, stage::value, stage::failed})
    for (const std::uint32_t index : {0u, 1u, 31u, 62u, 63u})
      for (const std::uint64_t holders : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{0xFFFFFFFF}})
        for (const std::uint64_t flags : {std::uint64_t{0}, slot::at_end}) {
          const std::uint64_t word = slot::make(s, index, holders, flags);
          CHECK(slot::stage_of(word) == s);
          CHECK(slot::index_of(word) == index);
          CHECK(slot::holders_of(word) == holders);
          CHECK((word & slot::at_end) == flags);
          CHECK((word & 0xFFFFFFFF) >> slot::kept_bits == 0);
        }
}

TEST_CASE("the word of a slot can hold the address of another slot, also a tagged one, and keeps index and flag",
          "[slot][L-14]") {
  for (const std::uint64_t flag : {std::uint64_t{0}, slot::at_end})
    for (const std::uint32_t index : {0u, 5u, 63u})
      for (const std::uint64_t address : {0x0ull, 0x8ull, 0x7fff'ffff'fff8ull, 0x00ff'ffff'ffff'fff8ull, 0x0300'ffff'1234'5678ull,
                                          0x0f0f'ffff'ffff'fff8ull, 0x0fff'ffff'ffff'fff8ull}) {
        REQUIRE(slot::can_link(address));
        const std::uint64_t word = slot::linked(slot::make(stage::value, index, 1, flag), address);
        CHECK(slot::link_of(word) == address);
        CHECK(slot::index_of(word) == index);
        CHECK((word & slot::at_end) == flag);
        CHECK(slot::unlinked(word) == slot::make(stage::value, index, 0, flag));
      }
  CHECK_FALSE(slot::can_link(0x1000'0000'0000'0000));
  CHECK_FALSE(slot::can_link(0x7e00'7fff'ffff'fff8));
}

TEST_CASE("adding a reference changes no other field of the word", "[slot]") {
  slot s{slot::make(stage::value, 63, 1, slot::at_end)};
  s.add_holder();
  CHECK(s.word.load() == slot::make(stage::value, 63, 2, slot::at_end));
  CHECK(s.index() == 63);
}

TEST_CASE("publish stores the stage, and drops the producer's reference, in one step", "[slot]") {
  for (const stage as : {stage::value, stage::failed}) {
    slot s{slot::make(stage::empty, 7, 3)};
    CHECK(dg::detail::publish(s, as) == slot::make(stage::empty, 7, 3));
    CHECK(s.word.load() == slot::make(as, 7, 2));
  }
}

TEST_CASE("each slot gives the address of its group, and of its value", "[slot]") {
  for (const std::size_t alignment : {1u, 2u, 4u, 8u, 16u, 32u, 64u, 128u}) {
    for (const std::uint32_t count : {1u, 2u, 7u, 63u, 64u}) {
      for (const std::uint32_t without : {0u, 1u}) {
        const std::size_t size = alignment * 3;
        const std::size_t bytes = slot_group::values_offset(count, alignment) + (count - without) * size;
        unit::guarded_memory memory(bytes, slot_group::alignment_for(alignment));
        auto* g = ::new (memory.begin()) slot_group(nullptr, count, size, alignment, 1000, false, without);
        for (std::uint32_t i = 0; i < count; ++i) ::new (g->slot_array() + i) slot{slot::make(stage::empty, i, 1)};
        bool right = true;
        const auto* end_of_slots = reinterpret_cast<const std::byte*>(g->slot_array() + count);
        for (std::uint32_t i = 0; i < count; ++i) {
          slot& s = g->slot_array()[i];
          right = right && &slot_group::of(s) == g && &slot_group::of(s, i) == g && g->number_of(i) == 1000 + i;
          right = right && memory.holds(&s, sizeof(s));
          if (i < without) continue;
          const void* value = g->value_at(i);
          right = right && reinterpret_cast<std::uintptr_t>(value) % alignment == 0 && memory.holds(value, size) &&
                  static_cast<const std::byte*>(value) >= end_of_slots;
          if (i > without)
            right = right && static_cast<const std::byte*>(value) - static_cast<const std::byte*>(g->value_at(i - 1)) ==
                                 static_cast<std::ptrdiff_t>(size);
        }
        INFO("alignment " << alignment << ", " << count << " slots, " << without << " without a value");
        CHECK(right);
        CHECK(memory.intact());
        g->~slot_group();
      }
    }
  }
}

TEST_CASE("the numbers of values count from the group's first, also before 0", "[slot]") {
  slot_group first(nullptr, 64, 4, 4, -1, false, 1);  // slot 0 is the completion
  CHECK(first.number_of(1) == 0);
  CHECK(first.number_of(63) == 62);
  CHECK_FALSE(first.is_segment());
  slot_group block(nullptr, 64, 4, 4, 1000, true);
  CHECK(block.number_of(0) == 1000);
  CHECK(block.number_of(63) == 1063);
  CHECK(block.is_segment());
  slot_group far(nullptr, 64, 4, 4, std::int64_t{1} << 40, true);
  CHECK(far.number_of(1) == (std::uint64_t{1} << 40) + 1);
}

TEST_CASE("dropping the last reference destroys the value, once, and drops the slot's reference", "[slot]") {
  support::tracked::reset();
  struct alignas(slot_group) place {
    std::byte bytes[512];
  } memory;
  unit::counting_producer<support::tracked> owner(2);
  auto* g = ::new (&memory) slot_group(&owner, 2, sizeof(support::tracked), alignof(support::tracked), 0, false);
  owner.set_results(*g);
  ::new (g->slot_array()) slot{slot::make(stage::value, 0, 2)};
  ::new (g->slot_array() + 1) slot{slot::make(stage::failed, 1, 1)};
  ::new (g->value_at(0)) support::tracked(7);

  dg::detail::drop<support::tracked>(g->slot_array()[0]);
  CHECK(support::tracked::live == 1);
  CHECK(owner.freed == 0);
  dg::detail::drop<support::tracked>(g->slot_array()[0]);
  CHECK(support::tracked::live == 0);
  CHECK(owner.destroyed.size() == 1);
  CHECK(owner.freed == 0);
  dg::detail::drop<support::tracked>(g->slot_array()[1]);  // has no value
  CHECK(owner.destroyed.size() == 1);
  CHECK(owner.freed == 1);
  g->~slot_group();
}

}  // namespace test_slot
