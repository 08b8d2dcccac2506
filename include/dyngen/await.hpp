// SPDX-License-Identifier: MIT
#pragma once
// What a coroutine of this library can co_await, besides a task: a ref, all or any of several handles, the next item of
// a stream. The coroutine suspends, and its own executor resumes it; it blocks no thread meanwhile. A coroutine that is
// iterated in place, without a task, blocks its thread instead.

#include <dyngen/detail/await/all_of.hpp>
#include <dyngen/detail/await/children.hpp>
#include <dyngen/detail/await/handle_awaiters.hpp>
#include <dyngen/detail/await/parts.hpp>
#include <dyngen/detail/coroutine/awaiting.hpp>
#include <dyngen/detail/coroutine/result_kinds.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/ref.hpp>
#include <dyngen/ref_stream.hpp>
#include <dyngen/submit.hpp>
#include <dyngen/task.hpp>
#include <dyngen/wait.hpp>

#include <algorithm>
#include <cstddef>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace dyngen {
namespace detail {

// --- all of several ---

#define DYNGEN_DETAIL_WHEN_ALL "dyngen: when_all takes refs and tasks, or a range of them; a range of tasks by std::move(range)"

struct when_all_function {
  /// `co_await when_all(a, b, …)` suspends the coroutine until all operands are ready. Returns a tuple of the results,
  /// or rethrows the first failure in argument order. The operands are refs and tasks. An lvalue ref gives `const T&`,
  /// valid as long as that ref; an rvalue ref gives T, as `get() &&`; a task, given as an rvalue, gives its result;
  /// void gives std::monostate.
  ///
  /// The tasks run in parallel on the executor of the awaiting task. On a pool, a free worker may take any of them
  /// except the last as a task of its own; the awaiting thread runs the others, from the last to the first, as part of
  /// its own task. All of them have ended when the co_await returns or throws, so they may refer to objects of the
  /// awaiting coroutine. If the awaiting task is cancelled, they are cancelled too, and it ends after them. In a method
  /// of an actor, and in a generator that is iterated in place, they run one after the other. Throws empty_ref for an
  /// empty ref, std::bad_alloc, and error if the awaiting task would wait for itself.
  template <class... As>
    requires(sizeof...(As) > 0)
  auto operator()(As&&... as) const {
    static_assert((awaitable_in_all<operand_of<As>> && ...), DYNGEN_DETAIL_WHEN_ALL);
    if constexpr ((awaitable_in_all<operand_of<As>> && ...))
      return all_of<std::tuple<part_of<operand_of<As>>...>>(std::in_place, operand(std::forward<As>(as))...);
    else
      return yield_to_others();
  }

  /// `co_await when_all(range)` suspends the coroutine until all refs or tasks of the range are ready. Returns a
  /// std::vector of the results, or rethrows the first failure in the order of the range. From an lvalue range the
  /// values are copied, and the refs remain; from `std::move(range)` both are moved. Tasks run in parallel and have
  /// ended when the co_await returns or throws. Throws empty_ref for an empty ref, std::bad_alloc, and error if the
  /// awaiting task would wait for itself.
  template <std::ranges::input_range Range>
    requires(!awaitable_in_all<Range>)
  auto operator()(Range&& range) const {
    using reference = std::ranges::range_reference_t<Range>;
    using element = std::conditional_t<owns_elements<Range> && std::is_lvalue_reference_v<reference>,
                                       std::remove_reference_t<reference>, reference>;
    static_assert(awaitable_in_all<element>, DYNGEN_DETAIL_WHEN_ALL);
    if constexpr (awaitable_in_all<element>) {
      std::vector<part_of<element>> parts;
      for (auto&& e : range) parts.emplace_back(static_cast<element&&>(e));
      return all_of<std::vector<part_of<element>>>(std::in_place, std::move(parts));
    } else {
      return yield_to_others();
    }
  }
};
#undef DYNGEN_DETAIL_WHEN_ALL

// --- any of several ---

inline task<std::size_t> any_of(std::vector<watched> handles) {
  if (handles.empty()) throw_nothing_to_wait_for("when_any");
  const std::size_t start = next_turn() % handles.size();
  std::vector<wait_point> points;
  std::vector<shared_state*> owners;
  for (;;) {
    const std::size_t found = look_in_turn(handles, start, points, owners);
    if (found != none_ready) co_return found;
    const bool own_host = std::ranges::all_of(owners, is_at_home);
    co_await wait_for_points{points.data(), points.size(), 1, own_host, owners.data()};
  }
}

/// Waits for any of a range that exists as long as the coroutine.
template <class Range>
task<std::size_t> any_in(Range& range) {
  const std::size_t count = count_of(range, "when_any");
  std::size_t found = look_first(range, count);
  if (found == none_ready) found = co_await any_of(watch_all(range, count));
  co_return found;
}
/// Waits for any of the handles, which it keeps.
template <class Handle>
task<std::size_t> any_held(std::vector<Handle> handles) {
  co_return co_await any_in(handles);
}

struct when_any_function {
  /// `co_await when_any(a, b, …)` or `co_await when_any(range)` suspends the coroutine until one of the refs and
  /// streams is ready. Returns its index. A ref is ready when it holds a value or an exception, a stream when its next
  /// item is ready; a stream at its end counts only if all given handles are streams at their end. Consumes nothing and
  /// cancels no task. The handles, and a range given as an lvalue, must exist until the co_await has ended. Throws
  /// std::invalid_argument if there are no handles, empty_ref, std::bad_alloc, and error if the awaiting task would
  /// wait for itself.
  template <class... Handles>
  task<std::size_t> operator()(Handles&&... handles) const {
    if constexpr ((any_handle<Handles> && ...)) {
      return any_of({watched::of(handles)...});
    } else if constexpr (sizeof...(Handles) == 1 && (any_handles<Handles> && ...)) {
      return of_range<Handles...>(handles...);
    } else {
      static_assert(sizeof...(Handles) == static_cast<std::size_t>(-1),
                    "dyngen: when_any takes refs and streams, or one range of them");
      return any_of({});
    }
  }

 private:
  template <class Given, class Range>
  static task<std::size_t> of_range(Range& range) {
    if constexpr (!read_again<Range>)
      return any_held(held<Range>(range));
    else if constexpr (std::is_lvalue_reference_v<Given>)
      return any_in(range);
    else
      return any_of(watch_all(range, count_of(range, "when_any")));
  }
};

}  // namespace detail

/// co_await when_all(ref_or_task…) or when_all(range): suspends until all are ready, and returns their results.
inline constexpr detail::when_all_function when_all{};
/// co_await when_any(ref_or_stream…) or when_any(range): suspends until one is ready, and returns its index.
inline constexpr detail::when_any_function when_any{};

}  // namespace dyngen
