// SPDX-License-Identifier: MIT
#pragma once
// The return buffer of a task with one value that becomes ready when the task has ended: that of a plain function, of a
// task<R>, of a promise. Value and end are one event, so the value's slot is the end; the completion, slot 0, follows it.

#include <dyngen/detail/slot.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace dyngen::detail {

class single_buffer {
 public:
  static constexpr std::uint8_t end_index = 1;
  static constexpr std::size_t bytes(std::size_t size, std::size_t alignment) noexcept {
    return group::values_offset(2, alignment) + size;
  }

  /// Builds the group in `memory`. The value has one holder beside its producer; the completion has none.
  single_buffer(producer& owner, void* memory, std::size_t size, std::size_t alignment) noexcept
      : results_(::new (memory) group(&owner, 2, size, alignment, -1, false, 1)) {
    ::new (results_->slots()) slot{slot::make(stage::empty, 0, 0, slot::at_end)};
    ::new (results_->slots() + 1) slot{slot::make(stage::empty, 1, 2)};
  }
  single_buffer(const single_buffer&) = delete;
  single_buffer& operator=(const single_buffer&) = delete;
  ~single_buffer() { results_->~group(); }

  group& results() noexcept { return *results_; }
  slot& value() noexcept { return results_->slots()[1]; }
  std::uint64_t made() const noexcept { return made_ ? 1 : 0; }

  /// Where the value is to be constructed, once.
  void* place() noexcept { return results_->value_at(1); }
  /// It is; nobody sees it before publish_end().
  template <class T>
  void commit() noexcept {
    made_ = true;
  }

  /// Will a handle carry what is published? A guess, unless the answer is no.
  bool is_held() noexcept {
    // relaxed: a count; whoever lets go at this moment might have done so a moment later.
    return slot::holders_of(value().word.load(relaxed)) > 1;
  }

  /// The task has ended: value, of type T, and completion become ready. The caller keeps a reference on the owner.
  template <class T>
  void publish_end() noexcept {
    const stage as = made_ ? stage::value : stage::failed;
    const std::uint64_t before = publish(value(), as);
    results_->waiters.notify(results_->ready());
    if (slot::holders_of(before) == 1) discard<T>(value(), before + static_cast<std::uint64_t>(as));  // nobody wants it
  }

 private:
  group* results_;
  bool made_ = false;
};

}  // namespace dyngen::detail
