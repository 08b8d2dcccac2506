// SPDX-License-Identifier: MIT
#pragma once
// A host: an executor as a task sees it. It has three interfaces: it queues the task (task_scheduling.hpp); it counts
// the task, and can find it when everything is shut down (task_accounting.hpp); it reports errors of the task, and
// records what the task does (here). Each interface extends the one before, so that a host has one table of virtual
// functions. Everything but push() has a default. Hosts are the pool, actors, which wrap another host, and the adapter
// behind on().

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/task/recorder.hpp>
#include <dyngen/detail/task/task_accounting.hpp>
#include <dyngen/detail/task/task_snapshot.hpp>
#include <dyngen/detail/value/shared_state.hpp>

#include <cstdint>
#include <exception>
#include <string_view>
#include <utility>

namespace dyngen::detail {

inline constexpr std::uint64_t no_limit = ~std::uint64_t{0};

class task_host : public task_accounting {
 public:
  /// Reports an exception to the hook on this thread.
  virtual void report(std::exception_ptr e, std::string_view task) noexcept { print_unhandled(e, task); }
  /// Called when the failure of `task`, which has ended, has lost its last carrier. The failure must be reported, but
  /// not on this thread, which may be in the middle of any user code. The caller keeps the task alive during the call.
  virtual void report_later(task_record& task) noexcept;
  /// Records what only the host knows of one of its tasks: which calls the task waits for at its actor, or the wait in
  /// which its thread is blocked.
  virtual void observe(task_record&, task_snapshot&) noexcept {}

  /// The recorder of its tasks; null if they are not traced.
  recorder* trace() const noexcept { return trace_; }

 protected:
  constexpr explicit task_host(recorder* trace = nullptr) noexcept : trace_(trace) {}
  ~task_host() = default;
  recorder* const trace_;
};

/// A host that deletes itself when the last reference to it is dropped; its maker has the first one. `Host` is the
/// class itself, `Base` the one that it extends.
template <class Host, class Base = task_host>
class counted_host : public Base {
 public:
  void add_host_reference() noexcept final {
    // relaxed: the caller has a reference, or an object that has one.
    references_.fetch_add(1, relaxed);
  }
  void drop_host_reference() noexcept final {
    // acq_rel: the deletion comes after everything that the other holders did.
    if (references_.fetch_sub(1, acq_rel) == 1) delete static_cast<Host*>(this);
  }

 protected:
  using Base::Base;
  ~counted_host() = default;

 private:
  atomic<std::uint32_t> references_{1};
};

inline task_host* task_scheduling::for_children() noexcept { return static_cast<task_host*>(this); }
inline task_host& task_scheduling::runs_on() noexcept { return static_cast<task_host&>(*this); }

}  // namespace dyngen::detail
