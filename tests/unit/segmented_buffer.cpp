// SPDX-License-Identifier: MIT
// The buffer of a task that sets the number of its values itself: the allocation and reuse of its blocks.

#include "../catch.hpp"
#include "../support.hpp"
#include "producers.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace test_segmented_buffer {

using dg::detail::slot_group;
using dg::detail::memory_counter;
using dg::detail::memory_kind;
using dg::detail::segment;
using dg::detail::segmented_buffer;
using dg::detail::slot;

namespace {

template <std::size_t Bytes, std::size_t Alignment = alignof(int)>
struct alignas(Alignment) sized : support::tracked {
  sized(int v) noexcept : support::tracked(v) {}
  std::array<std::byte, Bytes - sizeof(support::tracked)> rest{};
};

using small = support::tracked;
using medium = sized<512>;
using large = sized<4096>;
using aligned = sized<128, 128>;

long blocks() { return memory_counter::live(memory_kind::block); }

template <class T>
void make(segmented_buffer<T>& b, int value) {
  ::new (b.place()) T(value);
  b.commit();
}

/// Calls release_slots() as the task does.
template <class T>
class buffer_owner : public unit::counting_producer<T> {
 public:
  explicit buffer_owner(bool random_access, std::uint64_t room = 64)
      : unit::counting_producer<T>(1), buffer(*this, random_access, room) {}
  void release_segment_slots(slot_group& g, std::uint32_t n) noexcept override { buffer.release_slots(segment::of(g), n); }
  segmented_buffer<T> buffer;
};

template <class T>
void random_access(std::vector<std::uint32_t> capacities) {
  for (const int count : {0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000}) {
    INFO(count << " values of " << sizeof(T) << " bytes");
    support::tracked::reset();
    const long before = blocks();
    {
      buffer_owner<T> owner(true);
      for (int i = 0; i < count; ++i) make(owner.buffer, i);
      owner.buffer.close();
      CHECK(owner.buffer.made() == static_cast<std::uint64_t>(count));
      CHECK(owner.buffer.published() == static_cast<std::uint64_t>(count));
      bool right = true;
      std::vector<std::uint32_t> found;
      for (int i = 0; i < count; ++i) {
        slot& s = owner.buffer.at(static_cast<std::uint64_t>(i));
        const T& value = segmented_buffer<T>::value_of(s);
        right = right && value.value == i && slot_group::of(s).number_of(s.index()) == static_cast<std::uint64_t>(i) &&
                reinterpret_cast<std::uintptr_t>(&value) % alignof(T) == 0 && slot_group::of(s).is_segment();
        if (s.index() == 0) found.push_back(segment::of(slot_group::of(s)).capacity);
      }
      CHECK(right);
      for (std::size_t k = 0; k < found.size(); ++k) {
        const std::uint32_t expected = k < capacities.size() ? capacities[k] : capacities.back();
        CHECK(found[k] == expected);
      }
      CHECK(blocks() - before == static_cast<long>(found.size()));
      owner.buffer.drop_all();
      CHECK(support::tracked::live == 0);
      CHECK(owner.values_freed == static_cast<std::uint64_t>(count));
      CHECK(owner.freed == 0);  // only our own reference is left
    }
    CHECK(blocks() == before);
  }
}

template <class T>
void stream(bool by_value, std::uint64_t lag) {
  INFO(sizeof(T) << " bytes, " << (by_value ? "emptied in place" : "handed over") << ", " << lag << " behind");
  support::tracked::reset();
  const long before = blocks();
  long most = 0;
  const int count = sizeof(T) > 2048 ? 10000 : 100000;
  {
    buffer_owner<T> owner(false);
    int taken = 0;
    bool right = true;
    const auto take = [&] {
      if (by_value) {
        T& value = owner.buffer.take_in_place();
        right = right && value.value == taken++;
        value.~T();
        owner.buffer.destroyed_in_place(*owner.buffer.block_taken_from());
      } else {
        slot& s = owner.buffer.hand_out();
        right = right && owner.buffer.value_of(s).value == taken++;
        dg::detail::drop<T>(s);
      }
    };
    for (int i = 0; i < count; ++i) {
      make(owner.buffer, i);
      if (owner.buffer.published() - static_cast<std::uint64_t>(taken) > lag) take();
      most = std::max(most, blocks() - before);
    }
    owner.buffer.close();
    while (taken < count) take();
    owner.buffer.leave();
    CHECK(right);
    CHECK(support::tracked::live == 0);
    CHECK(owner.values_freed == static_cast<std::uint64_t>(count));
  }
  CHECK(blocks() == before);
  const long full = static_cast<long>(segmented_buffer<T>::full_block);
  CHECK(most <= static_cast<long>(lag) / full + 6);  // the first ones are smaller
}

}  // namespace

TEST_CASE("blocks grow from 8 to 64 values, and hold fewer large ones", "[segmented_buffer]") {
  CHECK(segmented_buffer<small>::full_block == 64);
  CHECK(segmented_buffer<sized<256>>::full_block == 64);
  CHECK(segmented_buffer<sized<260>>::full_block == 8);
  CHECK(segmented_buffer<sized<2048>>::full_block == 8);
  CHECK(segmented_buffer<sized<2052>>::full_block == 1);
  random_access<small>({8, 8, 16, 32, 64});
  random_access<aligned>({8, 8, 16, 32, 64});
  random_access<medium>({8});
  random_access<large>({1});
}

TEST_CASE("a stream keeps few blocks, however long it is", "[segmented_buffer]") {
  for (const bool by_value : {false, true}) {
    for (const std::uint64_t lag : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{200}}) {
      stream<small>(by_value, lag);
      stream<aligned>(by_value, lag);
    }
    stream<medium>(by_value, 20);
    stream<large>(by_value, 3);
  }
}

TEST_CASE("a stream of few values at a time has small blocks, which are used again", "[segmented_buffer]") {
  struct expected {
    std::uint64_t room;
    std::vector<std::uint32_t> capacities;
  };
  for (const auto& [room, capacities] : {expected{1, {4, 4, 4}}, expected{2, {4, 4, 4}}, expected{3, {8, 8, 8}},
                                         expected{16, {8, 8, 16, 32, 32}}, expected{33, {8, 8, 16, 32, 64, 64}},
                                         expected{~std::uint64_t{0}, {8, 8, 16, 32, 64, 64}}}) {
    INFO("room for " << room);
    const long before = blocks();
    buffer_owner<small> owner(false, room);
    std::vector<std::uint32_t> found;
    std::vector<const void*> places;
    for (int i = 0; found.size() <= capacities.size() + 3; ++i) {
      make(owner.buffer, i);
      slot& s = owner.buffer.hand_out();
      segment& block = segment::of(slot_group::of(s));
      if (s.index() == 0) found.push_back(block.capacity);
      if (s.index() == 0 && found.size() > capacities.size()) places.push_back(&block);
      dg::detail::drop<small>(s);
      REQUIRE(blocks() - before <= 3);  // one is read, one is written, one waits
    }
    for (std::size_t k = 0; k < found.size(); ++k) CHECK(found[k] == (k < capacities.size() ? capacities[k] : capacities.back()));
    std::sort(places.begin(), places.end());
    CHECK(std::unique(places.begin(), places.end()) - places.begin() <= 2);
    owner.buffer.close();
    owner.buffer.leave();
  }
}

TEST_CASE("an emptied block is used again, not allocated again", "[segmented_buffer]") {
  buffer_owner<small> owner(false);
  std::vector<const void*> places;
  for (int i = 0; i < 64 * 8; ++i) {
    if (i >= 64 && i % 64 == 0) places.push_back(owner.buffer.place());
    make(owner.buffer, i);
    slot& s = owner.buffer.hand_out();
    dg::detail::drop<small>(s);
  }
  std::sort(places.begin(), places.end());
  CHECK(std::unique(places.begin(), places.end()) - places.begin() <= 2);
  owner.buffer.close();
  owner.buffer.leave();
}

TEST_CASE("a block lives as long as a ref to one of its values", "[segmented_buffer]") {
  support::tracked::reset();
  const long before = blocks();
  buffer_owner<small> owner(false);
  for (int i = 0; i < 1000; ++i) make(owner.buffer, i);
  owner.buffer.close();
  slot* kept = nullptr;
  for (int i = 0; i < 1000; ++i) {
    slot& s = owner.buffer.hand_out();
    if (i == 500)
      kept = &s;
    else
      dg::detail::drop<small>(s);
  }
  owner.buffer.leave();
  CHECK(support::tracked::live == 1);
  CHECK(blocks() - before <= 2);  // its own, and a spare one
  CHECK(segmented_buffer<small>::value_of(*kept).value == 500);
  CHECK(owner.values_freed == 1000 - 64);
  dg::detail::drop<small>(*kept);
  CHECK(support::tracked::live == 0);
  CHECK(owner.values_freed == 1000);
}

TEST_CASE("a value that is read in place keeps its block while the consumer takes later ones", "[segmented_buffer]") {
  support::tracked::reset();
  const long before = blocks();
  buffer_owner<small> owner(false);
  for (int i = 0; i < 9; ++i) make(owner.buffer, i);
  const auto destroy = [&owner](small& value, segment& of) {
    value.~small();
    owner.buffer.destroyed_in_place(of);
  };
  for (int i = 0; i < 7; ++i) {
    small& value = owner.buffer.take_in_place();
    destroy(value, *owner.buffer.block_taken_from());
  }
  small& eighth = owner.buffer.take_in_place();
  segment* const block = owner.buffer.block_taken_from();
  small& ninth = owner.buffer.take_in_place();
  segment* const next_block = owner.buffer.block_taken_from();
  CHECK(block != next_block);
  CHECK(blocks() - before == 2);
  CHECK(eighth.value == 7);
  destroy(eighth, *block);
  CHECK(blocks() - before == 1);
  CHECK(ninth.value == 8);
  destroy(ninth, *next_block);
  owner.buffer.close();
  owner.buffer.leave();
  CHECK(blocks() == before);
  CHECK(owner.values_freed == 9);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("values that were not taken are destroyed with the buffer's consumer", "[segmented_buffer]") {
  for (const int taken : {0, 1, 8, 9, 64, 100}) {
    support::tracked::reset();
    const long before = blocks();
    {
      buffer_owner<small> owner(false);
      for (int i = 0; i < 100; ++i) make(owner.buffer, i);
      owner.buffer.drop_front(static_cast<std::uint64_t>(taken));
      CHECK(support::tracked::live == 100 - taken);
      owner.buffer.drop_front(static_cast<std::uint64_t>(100 - taken));
      owner.buffer.close();
      owner.buffer.leave();
      CHECK(support::tracked::live == 0);
    }
    CHECK(blocks() == before);
  }
}

}  // namespace test_segmented_buffer
