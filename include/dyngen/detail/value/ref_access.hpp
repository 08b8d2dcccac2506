// SPDX-License-Identifier: MIT
#pragma once
// How the library gets at the slot behind a ref<T>, which itself is a public header: what stands here needs only its name.

#include <dyngen/detail/value/slot.hpp>

namespace dyngen {

template <class T>
class ref;

namespace detail {

/// Lets the library's own parts see the slot behind a handle.
struct access {
  template <class T>
  static slot* slot_of(const ref<T>& r) noexcept {
    return r.slot_;
  }
  /// A ref that takes over one hold.
  template <class T>
  static ref<T> adopt(slot& s) noexcept {
    return ref<T>(s);
  }
};

template <class T>
inline constexpr bool is_ref = false;
template <class T>
inline constexpr bool is_ref<ref<T>> = true;

}  // namespace detail

}  // namespace dyngen
