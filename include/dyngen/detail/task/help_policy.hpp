// SPDX-License-Identifier: MIT
#pragma once
// Helping: a thread that waits for a task may run that task itself. If that task waits, too, the next one nests on the
// same stack; this header limits how deeply.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/task/inspector.hpp>

namespace dyngen::detail {

/// How many tasks may be nested on one stack on behalf of waits.
inline constexpr unsigned max_helping = 48;

/// True if the calling thread may run another task on behalf of a wait.
inline bool may_help(thread_context& here) noexcept { return here.helping < max_helping || global_inspector().register_thread(here); }

}  // namespace dyngen::detail
