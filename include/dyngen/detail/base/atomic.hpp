// SPDX-License-Identifier: MIT
#pragma once
// The library's names for atomics and memory orders. Every header uses these names. The models (tests/model) replace
// this header, asymmetric_fence.hpp, park.hpp and spin.hpp by stand-ins, and so check the code that users run.

#include <atomic>
#include <cstddef>

namespace dyngen::detail {

template <class T>
using atomic = std::atomic<T>;

inline constexpr auto relaxed = std::memory_order_relaxed;
inline constexpr auto acquire = std::memory_order_acquire;
inline constexpr auto release = std::memory_order_release;
inline constexpr auto acq_rel = std::memory_order_acq_rel;
inline constexpr auto seq_cst = std::memory_order_seq_cst;

/// Alignment, in bytes, that keeps two objects written by different threads on different cache lines.
inline constexpr std::size_t cache_line = 64;

}  // namespace dyngen::detail
