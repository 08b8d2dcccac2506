// SPDX-License-Identifier: MIT
#pragma once
// Stores the values of a tuple_generator<Ts...>: slot i takes a value of the type Ts[i] and of no other.

#include <dyngen/detail/coroutine/sink.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

/// Returns the layout of one slot for each type: all have the size and alignment of the largest.
template <class... Ts>
constexpr fixed_shape shape_of_tuple() noexcept {
  constexpr std::size_t alignment = (std::max)({alignof(Ts)...});
  constexpr std::size_t size = (std::max)({sizeof(Ts)...});
  return {(size + alignment - 1) / alignment * alignment, alignment, sizeof...(Ts)};
}

/// Calls action.operator()<T>() with the type at `position`.
template <class... Ts, class Action>
auto with_type_at(std::uint64_t position, Action action) {
  using result = decltype((action.template operator()<Ts>(), ...));
  if constexpr (std::is_void_v<result>) {
    std::uint64_t i = 0;
    (void)((i++ == position && (action.template operator()<Ts>(), true)) || ...);
  } else {
    result r{};
    std::uint64_t i = 0;
    (void)((i++ == position && (r = action.template operator()<Ts>(), true)) || ...);
    return r;
  }
}

template <class... Ts>
class tuple_sink : public sink_base {
 public:
  tuple_sink(fixed_buffer& b, task_record& t) noexcept : sink_base(t), buffer_(b) {}

  /// Stores the next value, by implicit conversion. Returns whether to suspend.
  template <class U>
  bool store(U&& value) {
    return put([&]<class T>(void* place) {
      if constexpr (std::convertible_to<U&&, T>) {
        construct<T>(place, std::forward<U>(value));
        return true;
      } else {
        return false;
      }
    });
  }

  /// Stores the next value, constructed from `args`. Returns whether to suspend.
  template <class... Args>
  bool emplace(Args&&... args) {
    return put([&]<class T>(void* place) {
      if constexpr (std::is_constructible_v<T, Args&&...>) {
        ::new (place) T(std::forward<Args>(args)...);
        return true;
      } else {
        return false;
      }
    });
  }

 private:
  template <class Construct>
  bool put(Construct make) {
    if (task->state().wants_attention()) [[unlikely]] {
      if (replay != 0 && !cancelled()) return pass_over(make);
      why = step::cancelled;
      return true;
    }
    if (buffer_.full()) {
      why = step::too_many_values;
      return true;
    }
    const bool stored = with_type_at<Ts...>(buffer_.made(), [&]<class T>() {
      if (!make.template operator()<T>(buffer_.place())) return false;
      buffer_.commit<T>();
      return true;
    });
    if (!stored) {
      why = step::out_of_order;
      return true;
    }
    return buffer_.made() >= stop_at || time_is_up();
  }

  /// Builds and destroys a value that an earlier attempt has stored. Returns whether to suspend.
  template <class Construct>
  bool pass_over(Construct make) {
    const bool built = with_type_at<Ts...>(buffer_.made() - replay, [&]<class T>() {
      scratch<T> dropped;
      if (!make.template operator()<T>(dropped.place())) return false;
      dropped.destroy(*task);
      return true;
    });
    if (built) return note_replayed();
    why = step::out_of_order;
    return true;
  }

  fixed_buffer& buffer_;
};

}  // namespace dyngen::detail
