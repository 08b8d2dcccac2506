// SPDX-License-Identifier: MIT
#pragma once
// One client: does its operations of a program, in order, and writes down what it sees.

#include "running.hpp"

#include <vector>

namespace fuzz {

/// Runs all operations of client `who`; those marked in `left_out` are skipped.
void play(running& r, std::uint8_t who, const std::vector<bool>& left_out);

/// Gives back the room of the stream that this thread took from last.
void settle();

}  // namespace fuzz
