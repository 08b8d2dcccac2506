// SPDX-License-Identifier: MIT
#pragma once
// The options of a pool, as its constructor stores them.

#include <dyngen/detail/task/recorder.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

namespace dyngen::detail {

/// The user's hook for failures that no handle holds any more. Copies of the options share it.
class error_hook {
 public:
  virtual ~error_hook() = default;
  virtual void operator()(std::exception_ptr e, std::string_view task) = 0;
};

struct pool_settings {
  std::uint32_t width = 1;
  std::uint32_t max_spare_threads = 64;
  bool waiters_help = true;
  std::string name;
  std::shared_ptr<error_hook> hook;
  std::shared_ptr<recorder> trace;
};

}  // namespace dyngen::detail
