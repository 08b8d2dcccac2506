// SPDX-License-Identifier: MIT
#pragma once
// Conversions between integer types that are the same type on some machines and different types on others, without
// warnings.

#include <concepts>

namespace dyngen::detail {

/// `n` as another integer type, which must be able to hold it. The type of `n` is a template parameter because g++
/// -Wuseless-cast warns of a plain static_cast wherever both types happen to be the same.
template <std::integral To, std::integral From>
constexpr To integer_as(From n) noexcept {
  return static_cast<To>(n);
}

}  // namespace dyngen::detail
