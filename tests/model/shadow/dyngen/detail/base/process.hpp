// SPDX-License-Identifier: MIT
#pragma once
// The names of dyngen/detail/base/process.hpp in a model: "once in each thread" becomes "once in each fiber", as Relacy's
// threads share one real thread.

#include <dyngen/detail/base/atomic.hpp>

namespace dyngen::detail {

template <class T>
T& process_wide() noexcept {
  static T thing;
  return thing;
}

namespace model {
template <class T>
inline constinit T things_of_fibers[16];
template <class T>
inline constinit T thing_of_the_process;
}  // namespace model

template <class T>
T& thread_wide() noexcept {
  return rl::is_ctx() ? model::things_of_fibers<T>[rl::thread_index()] : model::thing_of_the_process<T>;
}

}  // namespace dyngen::detail
