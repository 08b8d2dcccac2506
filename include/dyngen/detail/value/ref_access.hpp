// SPDX-License-Identifier: MIT
#pragma once
// The library's access to the slot behind a ref<T>. This header only declares ref, because detail/ must not include the
// public header ref.hpp.

#include <dyngen/detail/value/slot.hpp>
#include <dyngen/error.hpp>

#include <string>
#include <type_traits>
#include <variant>

namespace dyngen {

template <class T>
class ref;
template <>
class ref<void>;

namespace detail {

/// Access to the private parts of handles, for the library itself.
struct access {
  template <class T>
  static slot* slot_of(const ref<T>& r) noexcept {
    return r.slot_;
  }
  /// Returns a ref that takes over from the caller as one of the slot's holders.
  template <class T>
  static ref<T> adopt(slot& s) noexcept {
    return ref<T>(s);
  }
};

template <class T>
inline constexpr bool is_ref = false;
template <class T>
inline constexpr bool is_ref<ref<T>> = true;
template <class R>
concept any_ref = is_ref<std::remove_cvref_t<R>>;

/// The type of the result where a ref<T> is one of several: T, or std::monostate if T is void.
template <class T>
using not_void = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// Throws empty_ref. `what` is the kind of the handle.
[[noreturn]] inline void throw_empty(const char* what) {
  throw empty_ref(std::string("dyngen: this ") + what +
                  " is empty (default-constructed, moved from, or its value was moved out): check valid() first");
}

/// Returns a ref on the completion of `owner`, which the caller keeps alive. Defined in ref.hpp.
inline ref<void> completion_of(shared_state& owner) noexcept;

}  // namespace detail

}  // namespace dyngen
