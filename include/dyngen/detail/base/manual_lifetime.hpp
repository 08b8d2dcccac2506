// SPDX-License-Identifier: MIT
#pragma once
// Storage for a value that is constructed later or never. Unlike std::optional, it lets an exception of the value's
// destructor propagate, and it constructs the value from the result of a function without a move.

#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

template <class T>
class manual_lifetime {
  static constexpr bool ends_well = std::is_nothrow_destructible_v<T>;

 public:
  manual_lifetime() noexcept {}
  manual_lifetime(const manual_lifetime&) = delete;
  manual_lifetime& operator=(const manual_lifetime&) = delete;
  ~manual_lifetime() noexcept(ends_well) { reset(); }

  bool has_value() const noexcept { return there_; }
  T& operator*() noexcept { return value_; }

  /// Constructs the value from the result of `make()`. There must be no value.
  template <class Make>
  T& make(Make&& make) {
    ::new (static_cast<void*>(std::addressof(value_))) T(std::forward<Make>(make)());
    there_ = true;
    return value_;
  }
  /// Constructs the value from `args`. There must be no value.
  template <class... Args>
  T& emplace(Args&&... args) {
    ::new (static_cast<void*>(std::addressof(value_))) T(std::forward<Args>(args)...);
    there_ = true;
    return value_;
  }
  void reset() noexcept(ends_well) {
    if (std::exchange(there_, false)) value_.~T();
  }

 private:
  bool there_ = false;
  union {
    T value_;
  };
};

}  // namespace dyngen::detail
