// SPDX-License-Identifier: MIT
// Compiled once for each program without Catch2 that has several sources.
#include <dyngen/dyngen.hpp>

#include <algorithm>
#include <string>
#include <vector>
