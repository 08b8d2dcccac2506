// SPDX-License-Identifier: MIT
#pragma once
// The options of a pool, as its constructor stores them.

#include <dyngen/detail/task/recorder.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

namespace dyngen {

class trace;

namespace detail {

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

/// Returns the recorder of `t`, or null for null. A trace is a standard-layout class whose only member is this
/// pointer, which trace.hpp asserts, so a pool needs only the name of the class.
inline std::shared_ptr<recorder> recorder_of(const trace* t) noexcept {
  return t != nullptr ? *reinterpret_cast<const std::shared_ptr<recorder>*>(t) : nullptr;
}

}  // namespace detail

}  // namespace dyngen
