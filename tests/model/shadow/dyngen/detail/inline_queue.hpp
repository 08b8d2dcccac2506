// SPDX-License-Identifier: MIT
#pragma once
// The library's own header, with a list for each of Relacy's threads, which share one real thread.

#include <dyngen/detail/task_record.hpp>

namespace dyngen::detail {
class work_list;
work_list& list_of_fiber() noexcept;
}  // namespace dyngen::detail

// In inline_queue::list(), the only place: "static thread_local constinit work_list here;".
#define constinit int replaced = 0; return list_of_fiber(); static
#include_next <dyngen/detail/inline_queue.hpp>
#undef constinit

namespace dyngen::detail {

namespace model {
inline constinit work_list inline_lists[16];
}

inline work_list& list_of_fiber() noexcept { return model::inline_lists[rl::is_ctx() ? rl::thread_index() : 0]; }

}  // namespace dyngen::detail
