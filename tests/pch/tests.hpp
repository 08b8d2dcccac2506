// SPDX-License-Identifier: MIT
// Compiled once for each test program: what nearly all of its sources begin with.
#include "catch.hpp"
#include "support.hpp"
