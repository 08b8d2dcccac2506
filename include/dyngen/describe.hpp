// SPDX-License-Identifier: MIT
#pragma once
// describe: what a task is doing at the moment, in words, to be printed when something does not go on. All tasks of a
// pool at once: thread_pool::dump.

#include <dyngen/detail/inspect/describe_text.hpp>
#include <dyngen/ref.hpp>
#include <dyngen/ref_list.hpp>
#include <dyngen/ref_stream.hpp>

#include <cstdint>
#include <string>
#include <type_traits>

namespace dyngen {

namespace detail {

template <class H>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<ref_list<T>> = true;

struct describe_function {
  /// One line about the task behind a ref, a list or a stream, a call of an actor included:
  ///
  ///     task #7 'split', attempt 1: awaiting value 2 of task #5 'load', promise #6
  ///
  /// its number and name, which attempt it is, whether it is waiting (for its arguments), queued (perhaps for its turn at
  /// an actor, and who has that), running (perhaps blocked), suspended for room, awaiting, or has completed, failed or been
  /// cancelled; and what it waits for. The wording may change from version to version.
  ///
  /// Any thread may ask, at any time; nothing is stopped for it, so what it says was true a moment ago. A wait with a time
  /// limit looks like running code. Runs no code of the task. Throws empty_ref, std::bad_alloc.
  template <class Handle>
  std::string operator()(const Handle& handle) const {
    constexpr bool fits = any_ref<Handle> || is_list<Handle> || is_stream<Handle>;
    static_assert(
        fits,
        "dyngen: describe takes a ref, a ref_list or a ref_stream; for all tasks of a pool, pool.dump(std::cerr)");
    if constexpr (any_ref<Handle>) {
      return of(handle);
    } else if constexpr (is_list<Handle>) {
      const std::size_t size = handle.size();
      return of(handle.completion()) + "; " + counted(size, "value", "values");
    } else if constexpr (is_stream<Handle>) {
      return description_of(stream_access::task_of(handle));
    } else {
      return {};
    }
  }

 private:
  template <class T>
  static std::string of(const ref<T>& r) {
    if (!r.valid()) throw_empty("ref");
    slot& s = *access::slot_of(r);
    shared_state& owner = *slot_group::of(s).owner;
    std::string text = description_of(owner);
    if (const std::int64_t value = point_of(s).what(); value >= 0 && owner.pool_id() != nullptr)
      text += "; value " + std::to_string(value) + (slot_ready(s) ? " is there" : " is not there yet");
    return text;
  }
};

}  // namespace detail

/// describe(handle): what its task is doing, and what it waits for.
inline constexpr detail::describe_function describe{};

}  // namespace dyngen
