// SPDX-License-Identifier: MIT
// The buffer of a task whose number of values is known: its layout, and when it publishes values.

#include "../catch.hpp"
#include "../support.hpp"
#include "producers.hpp"

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace test_fixed_buffer {

using dg::detail::fixed_buffer;
using dg::detail::fixed_shape;
using dg::detail::slot_group;
using dg::detail::slot;
using dg::detail::stage;
using dg::detail::staging;

namespace {

constexpr std::uint64_t counts[] = {0, 1, 2, 62, 63, 64, 65, 126, 127, 128, 129, 1000};

template <std::size_t Alignment>
struct alignas(Alignment) aligned : support::tracked {
  using support::tracked::tracked;
};

/// A buffer with its memory and its owner, which counts all references that the slots drop.
template <class T>
struct buffer_of {
  explicit buffer_of(std::uint64_t count, staging staged = staging::none)
      : shape(fixed_shape::of<T>(count)),
        memory(shape.bytes(), shape.alignment_of_groups()),
        owner(static_cast<std::uint32_t>(count) + 1),
        buffer(owner, memory.begin(), shape, staged) {
    owner.set_results(buffer.results());
  }
  buffer_of(const buffer_of&) = delete;
  buffer_of& operator=(const buffer_of&) = delete;
  ~buffer_of() { buffer.destroy(); }

  void make(int value) {
    ::new (buffer.place()) T(value);
    buffer.template commit<T>();
  }
  bool seal(bool failed) {
    const auto [carried, leaves_values] = buffer.seal(failed);
    if (leaves_values) buffer.destroy_staged([this](slot& s) noexcept { owner.destroy_value(s); });
    return carried;
  }
  stage stage_at(std::uint64_t i) { return slot::stage_of(buffer.at(i).word.load()); }
  std::uint64_t holders_at(std::uint64_t i) { return slot::holders_of(buffer.at(i).word.load()); }
  T& value(std::uint64_t i) {
    slot& s = buffer.at(i);
    return *static_cast<T*>(slot_group::of(s).value_at(s.index()));
  }
  void drop(std::uint64_t i) { dg::detail::drop<T>(buffer.at(i)); }

  fixed_shape shape;
  unit::guarded_memory memory;
  unit::counting_producer<T> owner;
  fixed_buffer buffer;
};

template <class T>
void fill_and_drop() {
  for (const std::uint64_t count : counts) {
    INFO(count << " values of " << sizeof(T) << " bytes, aligned to " << alignof(T));
    support::tracked::reset();
    {
      buffer_of<T> b(count);
      CHECK(b.buffer.count() == count);
      CHECK(b.buffer.full() == (count == 0));
      CHECK(slot_group::of(b.owner.completion()).slot_array() == &b.owner.completion());
      bool right = true;
      for (std::uint64_t i = 0; i < count; ++i) {
        slot& s = b.buffer.at(i);
        const void* place = b.buffer.place();
        right = right && slot_group::of(s).number_of(s.index()) == i && slot_group::of(s).value_at(s.index()) == place &&
                b.memory.holds(place, sizeof(T)) && b.memory.holds(&s, sizeof(slot)) &&
                reinterpret_cast<std::uintptr_t>(place) % alignof(T) == 0 && slot_group::of(s).owner == &b.owner &&
                b.stage_at(i) == stage::empty && b.holders_at(i) == 2 && b.buffer.made() == i && !b.buffer.full();
        b.make(static_cast<int>(i));
        right = right && b.stage_at(i) == stage::value && b.holders_at(i) == 1;
      }
      CHECK(right);
      CHECK(b.buffer.full());
      CHECK(support::tracked::live == static_cast<long>(count));
      for (std::uint64_t i = 0; i < count; ++i) right = right && b.value(i).value == static_cast<int>(i);
      CHECK(right);
      CHECK_FALSE(b.seal(false));
      for (std::uint64_t i = count; i-- != 0;) b.drop(i);
      CHECK(support::tracked::live == 0);
      CHECK(support::tracked::copies + support::tracked::moves == 0);
      CHECK(b.owner.destroyed.size() == count);
      CHECK(b.owner.freed == 0);
      b.owner.drop_references(1);  // the reference of the completion
      CHECK(b.owner.freed == 1);
      CHECK(b.memory.intact());
    }
  }
}

}  // namespace

TEST_CASE("each value of a fixed buffer is stored once, in its own place", "[fixed_buffer]") {
  fill_and_drop<support::tracked>();
  fill_and_drop<aligned<8>>();
  fill_and_drop<aligned<64>>();
  fill_and_drop<aligned<128>>();
}

TEST_CASE("a fixed buffer needs one group for every 64 slots, the completion among them", "[fixed_buffer]") {
  for (const std::uint64_t count : counts) {
    const auto shape = fixed_shape::of<int>(count);
    CHECK(shape.groups() == count / 64 + 1);
    std::uint64_t slots = 0;
    for (std::uint64_t k = 0; k < shape.groups(); ++k) {
      slots += shape.slots_in_group(k);
      CHECK(shape.offset_of_group(k) % shape.alignment_of_groups() == 0);
      if (k != 0) CHECK(shape.offset_of_group(k) > shape.offset_of_group(k - 1));
    }
    CHECK(slots == count + 1);
  }
}

TEST_CASE("a fixed buffer takes no more bytes than groups, slots and values do", "[fixed_buffer]") {
  for (const std::uint64_t count : counts) {
    const auto bytes_of_ints = fixed_shape::of<int>(count).bytes();
    const std::uint64_t groups = count / 64 + 1;
    CHECK(bytes_of_ints >= groups * sizeof(slot_group) + (count + 1) * sizeof(slot) + count * sizeof(int));
    CHECK(bytes_of_ints <= groups * (sizeof(slot_group) + alignof(slot_group)) + (count + 1) * sizeof(slot) + count * sizeof(int));
  }
}

TEST_CASE("a value without refs is destroyed as it is stored", "[fixed_buffer]") {
  support::tracked::reset();
  buffer_of<support::tracked> b(130);
  for (std::uint64_t i = 0; i < 130; ++i) b.drop(i);  // the callers' references; those of the producer stay
  for (int i = 0; i < 130; ++i) {
    b.make(i);
    REQUIRE(support::tracked::live == 0);
  }
  CHECK(b.owner.destroyed.size() == 130);
  CHECK_FALSE(b.seal(false));
}

TEST_CASE("sealing fails the empty slots, and returns whether there were any", "[fixed_buffer]") {
  support::tracked::reset();
  buffer_of<support::tracked> b(129);
  for (int i = 0; i < 64; ++i) b.make(i);
  for (std::uint64_t i = 64; i < 129; ++i)
    if (i != 100) b.drop(i);
  CHECK(b.seal(true));
  for (std::uint64_t i = 0; i < 64; ++i) CHECK(b.stage_at(i) == stage::value);
  CHECK(b.stage_at(100) == stage::failed);
  CHECK(b.holders_at(100) == 1);

  buffer_of<support::tracked> unheld(3);
  for (std::uint64_t i = 0; i < 3; ++i) unheld.drop(i);
  CHECK(unheld.seal(true));
  for (std::uint64_t i = 0; i < 64; ++i) b.drop(i);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("all or nothing: values are kept until the end, and all fail if the task does", "[fixed_buffer]") {
  for (const bool failed : {false, true}) {
    support::tracked::reset();
    buffer_of<support::tracked> b(100, staging::all_or_nothing);
    for (std::uint64_t i = 0; i < 100; i += 2) b.drop(i);  // half of them have no refs
    for (int i = 0; i < 80; ++i) b.make(i);
    CHECK(support::tracked::live == 80);
    CHECK(b.holders_at(1) == 2);
    CHECK(b.holders_at(0) == 1);
    if (!failed)
      for (int i = 80; i < 100; ++i) b.make(i);
    CHECK(b.seal(failed) == failed);
    CHECK(support::tracked::live == (failed ? 0 : 50));
    for (std::uint64_t i = 1; i < 100; i += 2) {
      REQUIRE(b.stage_at(i) == (failed ? stage::failed : stage::value));
      REQUIRE(b.holders_at(i) == 1);
      b.drop(i);
    }
    CHECK(support::tracked::live == 0);
    b.owner.drop_references(1);
    CHECK(b.owner.freed == 1);
  }
}

}  // namespace test_fixed_buffer
