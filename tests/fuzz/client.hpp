// SPDX-License-Identifier: MIT
#pragma once
// One client: executes its operations of a program, in order, and logs its observations.

#include "running.hpp"

#include <vector>

namespace fuzz {

/// Runs all operations of the client with this number; those marked in `left_out` are skipped.
void play(running& r, std::uint8_t number, const std::vector<bool>& left_out);

/// Returns the credits of the stream from which this thread took a value last.
void settle();

}  // namespace fuzz
