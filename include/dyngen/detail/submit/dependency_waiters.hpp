// SPDX-License-Identifier: MIT
#pragma once
// The waiters by which a record waits for its dependencies: the refs among its arguments and those given to after().
// Each is a node in the waiter list of one value. The publication of the last missing value makes the
// task ready.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/detail/base/memory.hpp>
#include <dyngen/detail/value/slot.hpp>
#include <dyngen/detail/value/waiter.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>

namespace dyngen::detail {

class task_record;

/// A waiter for a dependency that is not ready: a node in the waiter list of that value. While it is not claimed, it has
/// a reference to the record [W4].
struct dependency_waiter : waiter {
  void* all = nullptr;  ///< the waiters of which this is one
  task_record* task = nullptr;
  waiter_list* list = nullptr;
  slot* target = nullptr;
  bool from_outside = false;  ///< the value comes from no task of the same host

  dependency_waiter() noexcept { claimed.store(1, relaxed); }  // relaxed: not shared yet
};

/// The waiters of a record. They have memory of their own, because a list may have them longer than the record exists.
template <std::size_t Count>
class dependency_waiters {
 public:
  std::array<dependency_waiter, Count> all;

  /// Throws std::bad_alloc.
  static intrusive_ptr<dependency_waiters> create() {
    void* const memory = allocate(memory_kind::waiter, sizeof(dependency_waiters));
    return {*::new (memory) dependency_waiters(), adopt_reference{}};
  }
  // relaxed: the caller has a reference already.
  void add_references(std::uint32_t n) noexcept { references_.fetch_add(n, relaxed); }
  void drop_references() noexcept {
    // acq_rel: the last drop comes after all that the others did.
    if (references_.fetch_sub(1, acq_rel) != 1) return;
    this->~dependency_waiters();
    deallocate(memory_kind::waiter, this, sizeof(dependency_waiters));
  }

 private:
  dependency_waiters() = default;
  ~dependency_waiters() = default;
  atomic<std::uint32_t> references_{1};  ///< of the record, and of each list that has one of the waiters
};
/// A task without dependencies has none.
template <>
class dependency_waiters<0> {
 public:
  static dependency_waiters create() noexcept { return {}; }
};

}  // namespace dyngen::detail
