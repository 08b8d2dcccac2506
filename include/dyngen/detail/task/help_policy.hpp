// SPDX-License-Identifier: MIT
#pragma once
// How deep a thread nests tasks that it runs for its own waits.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/task/inspector.hpp>

namespace dyngen::detail {

/// How deep waits may nest tasks they run themselves on one stack.
inline constexpr unsigned max_helping = 48;

/// May this thread run another task for a wait on its stack?
inline bool may_help(thread_context& here) noexcept { return here.helping < max_helping || global_inspector().register_thread(here); }

}  // namespace dyngen::detail
