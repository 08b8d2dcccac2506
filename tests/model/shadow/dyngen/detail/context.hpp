// SPDX-License-Identifier: MIT
#pragma once
// The library's own header, in which "the calling thread's" becomes "the calling fiber's": Relacy's threads share one
// real thread.

#include <dyngen/detail/atomic.hpp>

namespace dyngen::detail {
struct thread_context;
thread_context& context_of_fiber() noexcept;
}  // namespace dyngen::detail

// In context(), the only place: "static thread_local constinit thread_context here;".
#define constinit int replaced = 0; return context_of_fiber(); static
#include_next <dyngen/detail/context.hpp>
#undef constinit

namespace dyngen::detail {

namespace model {
inline constinit thread_context contexts[16];
inline constinit thread_context of_the_process;
}  // namespace model

inline thread_context& context_of_fiber() noexcept {
  return rl::is_ctx() ? model::contexts[rl::thread_index()] : model::of_the_process;
}

}  // namespace dyngen::detail
