// SPDX-License-Identifier: MIT
#pragma once
// The return buffer of a task with one value that becomes ready when the task has ended: the task of a plain function,
// a task<R>, or a promise. Value and end are one event: the value's slot, slot 1, is the end slot. The completion, slot
// 0, is ready when the end slot is.

#include <dyngen/detail/value/slot_operations.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace dyngen::detail {

/// The layout, which does not depend on the producer.
struct single_shape {
  static constexpr std::uint8_t end_index = 1;
  static constexpr std::size_t bytes(std::size_t size, std::size_t alignment) noexcept {
    return slot_group::values_offset(2, alignment) + size;
  }
};

/// Adds such a buffer to `Producer`, a class derived from shared_state. The buffer is in memory outside of this object.
template <class Producer>
class single_buffer : public Producer {
 public:
  single_buffer(const single_buffer&) = delete;
  single_buffer& operator=(const single_buffer&) = delete;

  single_buffer& buffer() noexcept { return *this; }
  slot& value() noexcept { return this->results_->slot_array()[single_shape::end_index]; }
  bool is_stored() const noexcept { return stored_; }

  /// The storage of the value, which is constructed at most once.
  void* place() noexcept { return this->results_->value_at(single_shape::end_index); }
  /// Called when the value is constructed. No other thread sees it before publish_single().
  template <class T>
  void commit() noexcept {
    stored_ = true;
  }

  /// Called when the task has ended: publishes the value, of type T, or the failure, and with it the completion. The
  /// caller must keep a reference on the producer.
  template <class T>
  void publish_single() noexcept {
    slot_group& results = *this->results_;
    const stage as = stored_ ? stage::value : stage::failed;
    const std::uint64_t before = publish(value(), as);
    results.waiters.notify(results.ready());
    if (slot::holders_of(before) == 1) discard<T>(value(), before + static_cast<std::uint64_t>(as));  // no handle
  }

 protected:
  /// Constructs the group in `memory`. The value has one holder besides its producer; the completion has none.
  template <class... Args>
  single_buffer(void* memory, std::size_t size, std::size_t alignment, Args&&... args) noexcept
      : Producer(std::forward<Args>(args)...) {
    auto* const results = ::new (memory) slot_group(this, 2, size, alignment, -1, false, 1);
    ::new (results->slot_array()) slot{slot::make(stage::empty, 0, 0, slot::at_end)};
    ::new (results->slot_array() + single_shape::end_index) slot{slot::make(stage::empty, single_shape::end_index, 2)};
    this->results_ = results;
    this->end_index_ = single_shape::end_index;
  }
  ~single_buffer() { this->results_->~slot_group(); }

 private:
  bool stored_ = false;
};

}  // namespace dyngen::detail
