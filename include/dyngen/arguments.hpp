// SPDX-License-Identifier: MIT
#pragma once
// How a ref is passed to a task. A plain ref argument is a dependency: the task waits for it and gets `const U&`.
// consume() moves the value into the call, unresolved() passes the ref itself.

#include <dyngen/ref.hpp>

#include <type_traits>
#include <utility>

namespace dyngen {

/// An argument of submit, made by unresolved(): the task gets the ref itself.
template <class T>
struct unresolved_ref {
  /// The ref that is passed.
  ref<T> handle;
};
/// An argument of submit, made by consume(): the task gets the ref's value as an rvalue.
template <class T>
struct consumed_ref {
  /// The ref whose value is passed.
  ref<T> handle;
};

namespace detail {
struct unresolved_function {
  /// Wraps `r` as an argument of submit: the task gets the ref<T> itself, and does not wait for it.
  template <class T>
  unresolved_ref<T> operator()(ref<T> r) const {
    return {std::move(r)};
  }
};
struct consume_function {
  /// Wraps `r` as an argument of submit: the task waits for the ref and gets its value as `T&&`. The value is moved out
  /// if no other handle shares it, else copied if enable_copy<T> is true; otherwise the task fails with shared_value.
  /// Leaves `r` empty.
  template <class T>
  auto operator()(ref<T>&& r) const {
    static_assert(!std::is_void_v<T>, "dyngen: consume: a ref<void> has no value to consume; pass the ref itself");
    if constexpr (std::is_void_v<T>)
      return std::move(r);
    else
      return consumed_ref<T>{std::move(r)};
  }
  /// Does not compile: write consume(std::move(r)).
  template <class T>
  auto operator()(const ref<T>& r) const {
    static_assert(!sizeof(ref<T>), "dyngen: consume takes an rvalue ref; write consume(std::move(r))");
    return (*this)(ref<T>(r));
  }
};
}  // namespace detail

/// unresolved(r), as an argument of submit: the task gets the ref itself and does not wait for it.
inline constexpr detail::unresolved_function unresolved{};
/// consume(std::move(r)), as an argument of submit: the task waits for the ref and gets its value as an rvalue, moved
/// out if no other handle shares it, else copied if enable_copy allows it; otherwise the task fails with shared_value.
inline constexpr detail::consume_function consume{};

}  // namespace dyngen
