// SPDX-License-Identifier: MIT
#pragma once
// How far a thread goes in running tasks for its own waits: not too deep on one stack, and not for too long while other
// work of a pool is queued.

#include <dyngen/detail/atomic.hpp>
#include <dyngen/detail/context.hpp>
#include <dyngen/detail/observer.hpp>
#include <dyngen/detail/task_host.hpp>

#include <chrono>
#include <cstdint>

namespace dyngen::detail {

/// How deep waits may nest tasks they run themselves on one stack.
inline constexpr unsigned max_helping = 48;

/// How long code may run without suspending while other work is queued.
inline constexpr std::chrono::nanoseconds time_slice = std::chrono::milliseconds(10);

/// Has this worker kept other work of `host` waiting for longer than that, without having slept?
inline bool outstays(const task_host& host) noexcept {
  if (context().role == nullptr || !host.pressed()) return false;
  const std::int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(time_now().time_since_epoch()).count();
  std::int64_t& since = context().busy_since;
  if (since == 0) since = now;
  return now - since > time_slice.count();
}

/// May this thread run another task for a wait on its stack?
inline bool may_help(thread_context& here) noexcept { return here.helping < max_helping || everybody().meet(here); }

}  // namespace dyngen::detail
