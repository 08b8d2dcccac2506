// SPDX-License-Identifier: MIT
#pragma once
// describe: the current state of a task as text, to print when a program makes no progress. thread_pool::dump writes
// the states of all tasks of a pool.

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
  /// Returns one line about the task behind a ref, a ref_list or a ref_stream (a call of an actor is a task):
  ///
  ///     task #7 'split', attempt 1: awaiting value 2 of task #5 'load', promise #6
  ///
  /// The line has the task's number and name, its attempt, its state and what it waits for. States: waiting for
  /// arguments; queued (for a call of an actor, also which call has the turn); running, perhaps blocked; suspended
  /// because its buffer is full; awaiting; completed, failed or cancelled. The wording may change between versions.
  ///
  /// Any thread may call this at any time. The task does not stop meanwhile, so the text describes a moment during the
  /// call. A task in a timed wait is described as running. Runs no code of the task. Throws empty_ref and
  /// std::bad_alloc.
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

/// describe(handle): the state of the handle's task, and what the task waits for, as one line of text.
inline constexpr detail::describe_function describe{};

}  // namespace dyngen
