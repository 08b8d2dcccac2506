// SPDX-License-Identifier: MIT
#pragma once
// How thread_pool::shutdown ends the tasks that were submitted.

#include <dyngen/version.hpp>

namespace dyngen {

/// The argument of thread_pool::shutdown().
enum class shutdown_mode {
  drain,  ///< waits for all tasks to end, including those that wait for a promise
  cancel  ///< cancels queued and suspended tasks, asks running tasks to stop, and waits for them
};

}  // namespace dyngen
