// SPDX-License-Identifier: MIT
#pragma once
// How thread_pool::shutdown ends what has been submitted.

#include <dyngen/version.hpp>

namespace dyngen {

/// See thread_pool::shutdown().
enum class shutdown_mode {
  drain,  ///< everything runs to its end, also what waits for something that only the outside can bring
  cancel  ///< what is queued or suspended is cancelled; what runs is waited for
};

}  // namespace dyngen
