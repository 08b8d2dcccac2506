// SPDX-License-Identifier: MIT
#pragma once
// The names of dyngen/detail/base/park.hpp in a model: they stand with those of atomic.hpp.

#include <dyngen/detail/base/atomic.hpp>
