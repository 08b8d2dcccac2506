// SPDX-License-Identifier: MIT
#pragma once
// The names of dyngen/detail/base/asymmetric_fence.hpp in a model: they stand with those of atomic.hpp.

#include <dyngen/detail/base/atomic.hpp>
