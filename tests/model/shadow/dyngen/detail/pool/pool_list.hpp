// SPDX-License-Identifier: MIT
#pragma once
// The library's own header, with a list that keeps nothing: a model does not fork, and Relacy's atomics live no longer
// than a schedule.

#define pool_list pool_list_of_the_library
#include_next <dyngen/detail/pool/pool_list.hpp>
#undef pool_list

namespace dyngen::detail {

struct pool_list {
  void add(listed_pool&) noexcept {}
  void remove(listed_pool&) noexcept {}
};

}  // namespace dyngen::detail
