// SPDX-License-Identifier: MIT
#pragma once
// The limit for tasks that a thread runs, nested on its stack, on behalf of its own waits.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/task/inspector.hpp>

namespace dyngen::detail {

/// How many such tasks may be nested on one stack.
inline constexpr unsigned max_helping = 48;

/// True if the calling thread may run another task on behalf of a wait.
inline bool may_help(thread_context& here) noexcept { return here.helping < max_helping || global_inspector().register_thread(here); }

}  // namespace dyngen::detail
