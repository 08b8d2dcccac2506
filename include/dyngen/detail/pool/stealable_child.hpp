// SPDX-License-Identifier: MIT
#pragma once
// A coroutine that its parent, a task, will run in its own place unless a worker that has nothing better to do makes it a
// task of its own before. What a worker's deque holds for it, beside the links of tasks: making a task of each child, as
// other workers seldom come for it, would cost many times what the child does.
//
//     open ──take_back(): the parent──▶ taken_back                          what is in the deque is stale
//       └────leave(): who popped it────▶ leaving ───────────────▶ gone      a task, or could not become one
//                                           └──▶ awaited ──────────┘        the parent came meanwhile, and sleeps
//
// Who changes `open` has the child to itself. [O2] `gone` (release, acquire): the parent sees what the worker has made of
// it. The parent sleeps only for as long as that takes: a submit, which waits for nobody.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/memory.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/base/work_item.hpp>

#include <cstdint>
#include <new>

namespace dyngen::detail {

class task_host;

/// The child itself, where its parent keeps it.
class child_coroutine {
 public:
  /// Makes it a task of `host`; what that throws is the child's failure. By whoever has it to itself.
  virtual void become_task(task_host& host) noexcept = 0;

 protected:
  child_coroutine() = default;
  child_coroutine(const child_coroutine&) = default;
  ~child_coroutine() = default;
};

/// Lives until its parent has done with it and its link has been popped.
class stealable_child : public work_item {
 public:
  /// Throws std::bad_alloc.
  static stealable_child* create(child_coroutine& child, task_host& host) {
    return ::new (allocate(memory_kind::record, sizeof(stealable_child))) stealable_child(child, host);
  }
  stealable_child(const stealable_child&) = delete;
  stealable_child& operator=(const stealable_child&) = delete;

  /// How it stands in a deque.
  work_item* link() noexcept { return reinterpret_cast<work_item*>(reinterpret_cast<std::uintptr_t>(this) | tag); }
  /// What a link of a deque leads to, if that is an offered child; else null.
  static stealable_child* of(work_item* link) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(link);
    return (address & tag) != 0 ? reinterpret_cast<stealable_child*>(address & ~tag) : nullptr;
  }

  task_host& host() const noexcept { return host_; }

  /// By the parent: true if the child is his again. If not, it is a task, or has failed to become one.
  bool take_back() noexcept {
    // acquire: [O2], on failure.
    std::uint32_t was = open;
    if (state_.compare_exchange_strong(was, taken_back, acquire, acquire)) return true;
    while (was != gone) {
      // acquire: as above.
      if (was == awaited || state_.compare_exchange_strong(was, awaited, acquire, acquire)) {
        sleep_on(state_, awaited);
        was = state_.load(acquire);  // [O2]
      }
    }
    return false;
  }
  /// By the worker that popped the link: the child becomes a task, if it is still open. Returns whether it was.
  bool leave() noexcept {
    // relaxed: the deque has made visible what the parent wrote before it offered the child.
    std::uint32_t was = open;
    if (!state_.compare_exchange_strong(was, leaving, relaxed, relaxed)) return false;
    child_.become_task(host_);
    // [O2] From now on the child may be gone, but not this.
    if (state_.exchange(gone, release) == awaited) wake_all(state_);
    return true;
  }

  void drop_references(std::uint32_t n) noexcept {
    // acq_rel: the last one comes after all that the other did. acquire: as that one.
    if (references_.load(acquire) != n && references_.fetch_sub(n, acq_rel) != n) return;
    this->~stealable_child();
    deallocate(memory_kind::record, this, sizeof(stealable_child));
  }

 private:
  static constexpr std::uintptr_t tag = 1;
  static constexpr std::uint32_t open = 0, taken_back = 1, leaving = 2, awaited = 3, gone = 4;

  stealable_child(child_coroutine& child, task_host& host) noexcept : child_(child), host_(host) {}
  ~stealable_child() = default;

  child_coroutine& child_;
  task_host& host_;
  atomic<std::uint32_t> state_{open};
  atomic<std::uint32_t> references_{2};  ///< the link, and the parent
};

}  // namespace dyngen::detail
