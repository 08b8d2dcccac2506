// SPDX-License-Identifier: MIT
#pragma once
// How a ref is passed to a task. By itself it is a dependency: the task waits for it and gets `const U&`. consume() gives the
// value up to the task, unresolved() passes the ref itself.

#include <dyngen/ref.hpp>

#include <type_traits>
#include <utility>

namespace dyngen {

/// A ref passed as itself: see unresolved().
template <class T>
struct unresolved_ref {
  /// The ref itself.
  ref<T> handle;
};
/// A ref passed as the value it gives up: see consume().
template <class T>
struct consumed_ref {
  /// The ref that is given up.
  ref<T> handle;
};

namespace detail {
struct unresolved_function {
  /// As an argument of submit: the task gets the ref itself, and does not wait for it.
  template <class T>
  unresolved_ref<T> operator()(ref<T> r) const {
    return {std::move(r)};
  }
};
struct consume_function {
  /// As an argument of submit: the task waits for the ref and gets `U&&`, by the rules of `get() &&`: moved out if nobody
  /// else holds it, copied where that is allowed, else it fails with shared_value.
  template <class T>
  auto operator()(ref<T>&& r) const {
    static_assert(!std::is_void_v<T>, "dyngen: consume: a ref<void> has no value to give up; pass it as it is");
    if constexpr (std::is_void_v<T>)
      return std::move(r);
    else
      return consumed_ref<T>{std::move(r)};
  }
  /// Does not compile: the ref must be given up.
  template <class T>
  auto operator()(const ref<T>& r) const {
    static_assert(!sizeof(ref<T>), "dyngen: consume takes a ref that is given up; write consume(std::move(r))");
    return (*this)(ref<T>(r));
  }
};
}  // namespace detail

/// unresolved(r), as an argument of submit: the task gets the ref itself, and does not wait for it.
inline constexpr detail::unresolved_function unresolved{};
/// consume(std::move(r)), as an argument of submit: the task waits for the ref and gets `U&&`, by the rules of
/// `get() &&`: moved out if nobody else holds it, copied where that is allowed, else it fails with shared_value.
inline constexpr detail::consume_function consume{};

}  // namespace dyngen
