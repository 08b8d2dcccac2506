// SPDX-License-Identifier: MIT
#pragma once
// Integer conversions: between types that are the same type on some platforms only, without warnings; and the range
// check of a number that the user passes, of any integer type.

#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace dyngen::detail {

/// `n` as another integer type, which must be able to hold it. The type of `n` is a template parameter because g++
/// -Wuseless-cast warns of a plain static_cast wherever both types happen to be the same.
template <std::integral To, std::integral From>
constexpr To integer_as(From n) noexcept {
  return static_cast<To>(n);
}

/// Returns `n` if it is in [least, most]. Otherwise throws std::invalid_argument with the message
/// "dyngen: " + before + n + after.
template <std::integral From>
constexpr std::uint64_t checked_integer(From n, std::uint64_t least, std::uint64_t most, const char* before, const char* after) {
  const bool negative = std::is_signed_v<From> && n < From{0};
  if (negative || static_cast<std::uint64_t>(n) < least || static_cast<std::uint64_t>(n) > most)
    throw std::invalid_argument(std::string("dyngen: ") + before + std::to_string(n) + after);
  return static_cast<std::uint64_t>(n);
}

}  // namespace dyngen::detail
