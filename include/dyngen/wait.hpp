// SPDX-License-Identifier: MIT
#pragma once
// Waiting for several handles at once: wait (k of n refs), wait_any and wait_any_for (one of n refs and streams). These
// functions consume nothing, and never run a task on the calling thread: a thread that waits for any of several tasks
// must not be occupied by one of them.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/ref.hpp>
#include <dyngen/ref_stream.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace dyngen {

/// The result of wait(). Both parts are in input order.
template <class Ref>
struct wait_result {
  /// The first `num_ready` ready refs (with a value or an exception); fewer if the time limit passed before.
  std::vector<Ref> ready;
  /// All other refs, ready or not.
  std::vector<Ref> pending;
};

namespace detail {

template <class H>
concept any_handle = any_ref<H> || is_stream<std::remove_cvref_t<H>>;

/// One handle of a wait for any of several. A stream at its end counts as ready only if all handles are streams at
/// their end.
struct watched {
  wait_point point;
  bool (*ended)(const void*) noexcept = nullptr;
  const void* stream = nullptr;
  shared_state* owner = nullptr;

  enum class seen { nothing, ready, ended };
  seen look() const noexcept {
    if (!point.ready()) return seen::nothing;
    return ended != nullptr && ended(stream) ? seen::ended : seen::ready;
  }

  template <class T>
  static watched of(const ref<T>& r) {
    if (!r.valid()) throw_empty("ref");
    slot& s = *access::slot_of(r);
    return {point_of(s), nullptr, nullptr, slot_group::of(s).owner};
  }
  template <class T>
  static watched of(const ref_stream<T>& s) {
    sequence_task<T>& t = stream_access::task_of(s);
    t.watch();
    return {t.next_item(),
            [](const void* self) noexcept {
              auto& task = *static_cast<sequence_task<T>*>(const_cast<void*>(self));
              return task.completed() && !task.has_value() && !task.final_pending();
            },
            static_cast<const sequence_task<T>*>(&t), &t};
  }
};

inline constexpr std::size_t none_ready = static_cast<std::size_t>(-1);

/// Returns a different number in each call on a thread, for fairness.
DYNGEN_NOINLINE inline std::size_t next_turn() noexcept {
  static thread_local constinit std::size_t turns = 0;
  return turns++;
}

/// Up to this number of handles, a call polls all of them in turn, starting at a different one in each call.
inline constexpr std::size_t most_polled_in_turn = 64;

/// For more handles, a call first polls a sample of positions. Each position is a step of the golden ratio after the
/// previous one (Knuth, The Art of Computer Programming 3, 6.4), so they are spread evenly over the range, also over
/// several calls. If a fixed share of the handles is ready, the expected number of polls does not depend on the number
/// of handles.
class spread_positions {
 public:
  explicit spread_positions(std::size_t count) noexcept : count_(count), at_(next_turn() * looks * step) {}
  static constexpr int looks = 32;
  std::size_t next() noexcept {
    at_ += step;
    return (at_ >> 32) * count_ >> 32;
  }

 private:
  static constexpr std::uint64_t step = 0x9E3779B97F4A7C15;
  std::uint64_t count_;
  std::uint64_t at_;
};

/// Polls all handles in turn, from index `start` on. Returns the index of the first ready one. If none is ready,
/// returns `start` if all are streams at their end, else none_ready; then `points` and `owners` are those of the other
/// handles.
inline std::size_t look_in_turn(std::span<const watched> handles, std::size_t start, std::vector<wait_point>& points,
                                std::vector<shared_state*>& owners) {
  points.clear();
  owners.clear();
  const std::size_t count = handles.size();
  std::size_t ended = 0;
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t i = k < count - start ? start + k : start + k - count;
    // Polls each handle once: an item published between two polls must not make the stream count as ended.
    switch (handles[i].look()) {
      case watched::seen::ready: return i;
      case watched::seen::ended: ++ended; break;
      case watched::seen::nothing:
        if (points.capacity() == 0) {
          points.reserve(count);
          owners.reserve(count);
        }
        points.push_back(handles[i].point);
        owners.push_back(handles[i].owner);
    }
  }
  return ended == count ? start : none_ready;
}

[[noreturn]] inline void throw_nothing_to_wait_for(const char* function) {
  throw std::invalid_argument("dyngen: " + std::string(function) +
                              " without handles would never return: give it at least one ref or stream");
}

/// Blocks until a handle is ready, and returns its index; none_ready after the deadline `until`.
inline std::size_t wait_for_any(std::span<const watched> handles, deadline until) {
  if (handles.empty()) throw_nothing_to_wait_for("wait_any");
  const std::size_t start = next_turn() % handles.size();
  std::vector<wait_point> points;
  std::vector<shared_state*> owners;
  for (;;) {
    const std::size_t found = look_in_turn(handles, start, points, owners);
    if (found != none_ready) return found;
    if (until == never) {
      if (run_one_deferred(context())) continue;
      refuse_self_waits(owners.data(), owners.size(), 1);
    }
    if (until <= time_now() || !block(points.data(), points.size(), 1, until)) {
      for (std::size_t i = 0; i < handles.size(); ++i)
        if (handles[i].look() == watched::seen::ready) return i;
      return none_ready;
    }
  }
}

template <class Handle>
void refuse_empty(const Handle& handle) {
  if (!handle.valid()) throw_empty(any_ref<Handle> ? "ref" : "ref_stream");
}

/// Polls a range of `count` handles before a wait allocates anything. Returns what look_in_turn() returns. In a
/// random-access range of more than most_polled_in_turn handles, polls only a sample. Throws empty_ref for an empty
/// handle; in such a long range only if it polls that handle.
template <class Range>
std::size_t look_first(Range& range, std::size_t count) {
  if (count <= most_polled_in_turn) {
    for (const auto& handle : range) refuse_empty(handle);
  } else if constexpr (std::ranges::random_access_range<Range>) {
    const auto at = std::ranges::begin(range);
    spread_positions positions(count);
    for (int k = 0; k < spread_positions::looks; ++k) {
      const std::size_t i = positions.next();
      if (watched::of(at[static_cast<std::ranges::range_difference_t<Range>>(i)]).look() == watched::seen::ready) return i;
    }
    return none_ready;
  }
  const std::size_t start = next_turn() % count;
  std::size_t first = none_ready;
  std::size_t ended = 0;
  std::size_t i = 0;
  for (const auto& handle : range) {
    if (i >= start || first == none_ready) {
      const watched::seen seen = watched::of(handle).look();
      if (seen == watched::seen::ready) {
        if (i >= start) return i;
        first = i;
      }
      if (seen == watched::seen::ended) ++ended;
    }
    ++i;
  }
  return ended == count ? start : first;
}

/// Returns the number of elements of `range`. Throws std::invalid_argument if it is 0.
template <class Range>
std::size_t count_of(Range& range, const char* function) {
  const auto count = static_cast<std::size_t>(std::ranges::distance(range));
  if (count == 0) throw_nothing_to_wait_for(function);
  return count;
}
template <class Range>
std::vector<watched> watch_all(Range& range, std::size_t count) {
  std::vector<watched> all;
  all.reserve(count);
  for (const auto& handle : range) all.push_back(watched::of(handle));
  return all;
}

/// wait_for_any() for a range that may be read repeatedly.
template <class Range>
std::size_t wait_for_any_in(Range& range, deadline until) {
  const std::size_t count = count_of(range, "wait_any");
  const std::size_t found = look_first(range, count);
  return found != none_ready ? found : wait_for_any(watch_all(range, count), until);
}

template <class Range>
concept read_again = std::ranges::forward_range<Range> && std::is_lvalue_reference_v<std::ranges::range_reference_t<Range>>;

template <class Range>
concept any_handles = std::ranges::input_range<Range> && any_handle<std::ranges::range_reference_t<Range>>;

/// Copies or moves the handles out of a range that can be read only once, or whose elements are temporaries.
template <class Range>
auto held(Range& range) {
  using reference = std::ranges::range_reference_t<Range>;
  using handle = std::remove_cvref_t<reference>;
  constexpr bool can_be_held = std::constructible_from<handle, reference>;
  static_assert(can_be_held, "dyngen: these streams are in a range that can be read only once; put them into a container first");
  std::vector<handle> all;
  if constexpr (can_be_held)
    for (auto&& h : range) all.push_back(std::forward<decltype(h)>(h));
  return all;
}

/// wait_for_any() for the arguments of wait_any: handles, or one range of handles.
template <class... Handles>
std::size_t wait_for_any_of(deadline until, Handles&... handles) {
  if constexpr (sizeof...(Handles) == 0) {
    throw_nothing_to_wait_for("wait_any");
  } else if constexpr ((any_handle<Handles> && ...)) {
    const watched all[] = {watched::of(handles)...};
    return wait_for_any(all, until);
  } else if constexpr (sizeof...(Handles) == 1 && (any_handles<Handles> && ...)) {
    return [until]<class Range>(Range& range) {
      if constexpr (read_again<Range>) {
        return wait_for_any_in(range, until);
      } else {
        auto all = held(range);
        return wait_for_any_in(all, until);
      }
    }(handles...);
  } else {
    static_assert(sizeof...(Handles) == static_cast<std::size_t>(-1), "dyngen: wait_any takes refs and streams, or one range of them");
    return none_ready;
  }
}

struct wait_any_function {
  /// Blocks until one of the given refs and streams, or of the handles in one given range, is ready. Returns its index.
  /// A ref is ready when it holds a value or an exception, a stream when its next item is ready; a stream at its end
  /// counts only if all given handles are streams at their end. Consumes nothing, and never runs a task on the calling
  /// thread.
  ///
  /// The search starts at a different place in each call, so no handle starves. If a fixed share of a random-access
  /// range is ready, the call takes constant time. Throws std::invalid_argument if there are no handles; empty_ref for
  /// an empty handle, in a range of more than 64 only if the call polls that handle; error in a task on which all the
  /// handles depend, as the wait would never end; std::bad_alloc.
  template <class... Handles>
  std::size_t operator()(Handles&&... handles) const {
    return wait_for_any_of(never, handles...);
  }
};

struct wait_any_for_function {
  /// Blocks until one of the given refs and streams, or of the handles in one given range, is ready, at most for the
  /// duration `d`. Returns its index. A stream at its end counts only if all given handles are streams at their end.
  /// Throws timeout_error if none is ready after `d`, std::invalid_argument if there are no handles, empty_ref,
  /// std::bad_alloc. Consumes nothing, and never runs a task on the calling thread.
  template <class Rep, class Period, class... Handles>
  std::size_t operator()(const std::chrono::duration<Rep, Period>& d, Handles&&... handles) const {
    const std::size_t i = wait_for_any_of(deadline_after(d), handles...);
    if (i == none_ready)
      throw timeout_error(
          "dyngen: wait_any_for: the time limit passed before any of the refs and streams was ready; nothing was "
          "consumed, and the call may be repeated");
    return i;
  }
};

struct wait_function {
  /// Blocks until `num_ready` of the refs are ready (with a value or an exception); each occurrence of a duplicate
  /// counts. Returns the first `num_ready` ready refs, never more, and all others as pending, each part in input order:
  /// a loop that handles `ready` and continues with `pending` loses no ref. Consumes no value, and never runs a task on
  /// the calling thread. The refs are copied once; if the container is given by std::move and the call does not throw,
  /// they are moved.
  ///
  /// The time is proportional to the number of refs. To find all ready refs without blocking, call
  /// `wait(refs, refs.size(), 0s)`.
  ///
  /// Throws std::invalid_argument if there are fewer than `num_ready` refs; empty_ref; error in a task on which so many
  /// of the refs depend that the wait would never end; std::bad_alloc.
  template <std::ranges::input_range Refs>
    requires any_ref<std::ranges::range_reference_t<Refs>>
  auto operator()(Refs&& refs, std::size_t num_ready = 1) const {
    return wait_until<Refs>(refs, num_ready, never);
  }

  /// Blocks until `num_ready` of the refs are ready, at most for the duration `timeout`. Returns the first `num_ready`
  /// ready refs, or fewer after the timeout, and all others as pending, each part in input order. Throws
  /// std::invalid_argument if there are fewer than `num_ready` refs, empty_ref, std::bad_alloc. Never runs a task on
  /// the calling thread.
  template <std::ranges::input_range Refs, class Rep, class Period>
    requires any_ref<std::ranges::range_reference_t<Refs>>
  auto operator()(Refs&& refs, std::size_t num_ready, const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_until<Refs>(refs, num_ready, deadline_after(timeout));
  }

  /// Does not compile: use wait_any for streams.
  template <std::ranges::input_range Streams, class... More>
    requires is_stream<std::remove_cvref_t<std::ranges::range_reference_t<Streams>>>
  void operator()(Streams&&, More...) const {
    static_assert(sizeof...(More) == static_cast<std::size_t>(-1), "dyngen: wait takes refs; for streams write wait_any(streams)");
  }

 private:
  /// `Refs` is the type of the argument of wait(): the refs are moved out of an rvalue that owns them.
  template <class Refs, class Range>
  static auto wait_until(Range& refs, std::size_t num_ready, deadline until) {
    using handle = std::remove_cvref_t<std::ranges::range_reference_t<Range>>;
    constexpr bool owns_refs = !std::is_lvalue_reference_v<Refs> && !std::ranges::view<std::remove_cvref_t<Refs>> &&
                              !std::ranges::borrowed_range<Refs>;
    if constexpr (read_again<Range>) {
      return split<handle, owns_refs>(refs, num_ready, until);
    } else {
      std::vector<handle> all;
      if constexpr (std::ranges::sized_range<Range>) all.reserve(static_cast<std::size_t>(std::ranges::size(refs)));
      for (auto&& r : refs) all.push_back(std::forward<decltype(r)>(r));
      return split<handle, true>(all, num_ready, until);
    }
  }

  template <class Handle, bool Move, class Range>
  static wait_result<Handle> split(Range& refs, std::size_t num_ready, deadline until) {
    std::size_t count = 0;
    std::size_t there = 0;
    for (const auto& r : refs) {
      ++count;
      if (r.ready()) ++there;
    }
    if (num_ready > count)
      throw std::invalid_argument("dyngen: wait: " + std::to_string(num_ready) + " of " + std::to_string(count) +
                                  " refs can never be ready; give it more refs, or set num_ready to at most " +
                                  std::to_string(count));
    wait_result<Handle> result;
    result.ready.reserve(num_ready);
    result.pending.reserve(count - (there < num_ready ? 0 : num_ready));
    if (there < num_ready) wait_for(refs, count, num_ready, until);
    for (auto& r : refs) {
      std::vector<Handle>& part = result.ready.size() < num_ready && r.ready() ? result.ready : result.pending;
      if constexpr (Move)
        part.push_back(std::move(r));
      else
        part.push_back(r);
    }
    return result;
  }

  template <class Range>
  static void wait_for(Range& refs, std::size_t count, std::size_t num_ready, deadline until) {
    std::vector<wait_point> points;
    std::vector<shared_state*> owners;
    points.reserve(count);
    owners.reserve(count);
    for (const auto& r : refs) {
      if (r.ready()) continue;
      slot& s = *access::slot_of(r);
      points.push_back(point_of(s));
      owners.push_back(slot_group::of(s).owner);
    }
    const auto missing = static_cast<std::int64_t>(num_ready + points.size()) - static_cast<std::int64_t>(count);
    if (missing > 0 && until == never) {
      while (run_one_deferred(context())) {
      }
      refuse_self_waits(owners.data(), owners.size(), missing);
    }
    if (missing > 0 && until > time_now()) block(points.data(), points.size(), missing, until);
  }
};

}  // namespace detail

/// wait(refs, num_ready = 1[, timeout]): blocks until `num_ready` refs are ready, and returns them and the others.
inline constexpr detail::wait_function wait{};
/// wait_any(ref_or_stream…) or wait_any(range): blocks until one is ready, and returns its index.
inline constexpr detail::wait_any_function wait_any{};
/// wait_any_for(duration, ref_or_stream…) or wait_any_for(duration, range): blocks until one is ready, at most for the
/// duration, and returns its index.
inline constexpr detail::wait_any_for_function wait_any_for{};

}  // namespace dyngen
