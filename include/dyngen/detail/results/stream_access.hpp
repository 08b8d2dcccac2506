// SPDX-License-Identifier: MIT
#pragma once
// How the library reaches the task behind a ref_stream<T>, which is a public class: this header needs only its name.

#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/detail/results/sequence_task.hpp>

#include <optional>

namespace dyngen {

template <class T>
class ref;
template <class T>
class ref_stream;

namespace detail {

struct stream_access {
  template <class T>
  static ref_stream<T> adopt(sequence_task<T>& t) noexcept {
    return ref_stream<T>(t);
  }
  template <class T>
  static sequence_task<T>& task_of(const ref_stream<T>& s) {
    return s.checked();
  }
  /// Returns the first value, moved out; at the end throws the task's exception, or returns nothing. The value is
  /// ready, or the task has ended.
  template <class T>
  static std::optional<T> value_or_end(sequence_task<T>& t) {
    return t.has_value() ? ref_stream<T>::moved_out(t) : ref_stream<T>::final_value(t);
  }
  template <class T>
  static std::optional<ref<T>> item_or_end(sequence_task<T>& t) {
    return t.has_value() ? ref_stream<T>::handed_over(t) : ref_stream<T>::final_item(t);
  }
  /// Makes `kept` hold the task, after make_next() returned `made` and perhaps gave a reference with it.
  template <class T>
  static void hold(intrusive_ptr<sequence_task<T>>& kept, sequence_task<T>& t,
                   typename sequence_task<T>::made_here made) noexcept {
    using made_here = typename sequence_task<T>::made_here;
    if (made == made_here::something || made == made_here::behind)
      kept = intrusive_ptr(t, adopt_reference{});
    else if (!kept)
      kept = intrusive_ptr(t);
  }
};
template <class S>
inline constexpr bool is_stream = false;
template <class T>
inline constexpr bool is_stream<ref_stream<T>> = true;

}  // namespace detail

}  // namespace dyngen
