// SPDX-License-Identifier: MIT
// The buffer of one value that is ready together with the end of its task.

#include "../catch.hpp"
#include "../support.hpp"
#include "producers.hpp"

#include <dyngen/detail/value/single_buffer.hpp>

#include <cstddef>
#include <exception>
#include <new>
#include <stdexcept>

namespace test_single_buffer {

using dg::detail::slot_group;
using dg::detail::single_shape;
using dg::detail::slot;
using dg::detail::slot_failed;
using dg::detail::slot_ready;

namespace {

template <std::size_t Alignment>
struct alignas(Alignment) aligned : support::tracked {
  using support::tracked::tracked;
};

/// A buffer with its memory and its owner, whose references are that of the run, that of the value, and those of the
/// completion.
template <class T>
struct single_of {
  slot& value() { return owner.value(); }
  slot& completion() { return owner.completion(); }
  void make(int number) {
    ::new (owner.place()) T(number);
    owner.template commit<T>();
  }
  T& made() { return *static_cast<T*>(slot_group::of(value()).value_at(1)); }

  unit::guarded_memory memory{single_shape::bytes(sizeof(T), alignof(T)), slot_group::alignment_for(alignof(T))};
  struct counted : dg::detail::single_buffer<unit::counting_producer<T>> {
    explicit counted(void* place)
        : dg::detail::single_buffer<unit::counting_producer<T>>(place, sizeof(T), alignof(T), std::uint32_t{2}) {}
  } owner{memory.begin()};
};

template <class T>
void store_and_drop() {
  INFO(sizeof(T) << " bytes, aligned to " << alignof(T));
  support::tracked::reset();
  {
    single_of<T> b;
    CHECK(b.memory.holds(b.owner.place(), sizeof(T)));
    CHECK(reinterpret_cast<std::uintptr_t>(b.owner.place()) % alignof(T) == 0);
    b.make(7);
    b.owner.template publish_single<T>();
    CHECK(b.made().value == 7);
    dg::detail::drop<T>(b.value());
    CHECK(support::tracked::live == 0);
    CHECK(b.owner.freed == 0);
    b.owner.drop_references(1);
    CHECK(b.owner.freed == 1);
    CHECK(b.memory.intact());
  }
}

}  // namespace

TEST_CASE("a single value is stored in its place, whatever its size and alignment", "[single_buffer]") {
  store_and_drop<support::tracked>();
  store_and_drop<aligned<32>>();
  store_and_drop<aligned<256>>();
}

TEST_CASE("a single value and the completion are ready together, and not before", "[single_buffer][S-WAIT-7]") {
  single_of<support::tracked> b;
  b.make(7);
  CHECK(b.owner.is_stored());
  CHECK_FALSE(slot_ready(b.value()));
  CHECK_FALSE(slot_ready(b.completion()));
  CHECK_FALSE(b.owner.completed());
  b.owner.template publish_single<support::tracked>();
  CHECK(slot_ready(b.value()));
  CHECK(slot_ready(b.completion()));
  CHECK(b.owner.completed());
  CHECK_FALSE(slot_failed(b.value()));
  CHECK_FALSE(slot_failed(b.completion()));
  CHECK(slot::holders_of(b.value().word.load()) == 1);
  dg::detail::drop<support::tracked>(b.value());
}

TEST_CASE("without a value, the value and the completion fail", "[single_buffer]") {
  single_of<support::tracked> b;
  b.owner.fail(std::make_exception_ptr(std::runtime_error("no value")));
  b.owner.template publish_single<support::tracked>();
  CHECK(slot_failed(b.value()));
  CHECK(slot_failed(b.completion()));
}

TEST_CASE("a failure after the value is only in the completion", "[single_buffer][S-ERR-5]") {
  single_of<support::tracked> b;
  b.make(7);
  b.owner.fail(std::make_exception_ptr(std::runtime_error("too late")));
  b.owner.template publish_single<support::tracked>();
  CHECK_FALSE(slot_failed(b.value()));
  CHECK(slot_failed(b.completion()));
  dg::detail::drop<support::tracked>(b.value());
}

TEST_CASE("a single value without refs is destroyed as it is published", "[single_buffer]") {
  support::tracked::reset();
  single_of<support::tracked> b;
  dg::detail::drop<support::tracked>(b.value());
  b.make(7);
  CHECK(support::tracked::live == 1);
  b.owner.template publish_single<support::tracked>();
  CHECK(support::tracked::live == 0);
  b.owner.drop_references(1);
  CHECK(b.owner.freed == 1);
}

}  // namespace test_single_buffer
