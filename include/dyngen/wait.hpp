// SPDX-License-Identifier: MIT
#pragma once
// Waiting for several handles at once: wait (k of n), wait_any and wait_any_for (one of n, refs and streams). They
// consume nothing, and never run a task on the calling thread: who waits for any of several must not be kept by one.

#include <dyngen/ref.hpp>
#include <dyngen/ref_stream.hpp>

#include <chrono>
#include <cstddef>
#include <ranges>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace dyngen {

/// What wait() gives: the refs that are ready (failed ones are), and the others, each in input order.
template <class Ref>
struct wait_result {
  /// Holding a value or an exception.
  std::vector<Ref> ready;
  /// Holding nothing when they were looked at.
  std::vector<Ref> pending;
};

namespace detail {

template <class H>
concept any_handle = any_ref<H> || is_stream<std::remove_cvref_t<H>>;

/// One handle of a wait for any of several. A stream at its end counts only when all others have ended too.
struct watched {
  wait_point point;
  bool (*ended)(const void*) noexcept = nullptr;
  const void* stream = nullptr;
  producer* owner = nullptr;

  enum class seen { nothing, ready, ended };
  seen look() const noexcept {
    if (!point.ready()) return seen::nothing;
    return ended != nullptr && ended(stream) ? seen::ended : seen::ready;
  }

  template <class T>
  static watched of(const ref<T>& r) {
    if (!r.valid()) throw_empty("ref");
    slot& s = *access::slot_of(r);
    return {point_of(s), nullptr, nullptr, group::of(s).owner};
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

[[gnu::noinline]] inline std::size_t rotating_start(std::size_t count) noexcept {
  static thread_local constinit std::size_t next = 0;
  return next++ % count;
}

inline constexpr std::size_t none_ready = static_cast<std::size_t>(-1);

/// The index of one that is ready, none_ready past the deadline.
inline std::size_t wait_for_any(const std::vector<watched>& handles, deadline until) {
  if (handles.empty())
    throw std::invalid_argument("dyngen: wait_any of nothing would never return: give it at least one ref or stream");
  const std::size_t start = rotating_start(handles.size());
  for (;;) {
    std::vector<wait_point> points;
    std::vector<producer*> owners;
    std::size_t ended = 0;
    for (std::size_t k = 0; k < handles.size(); ++k) {
      const std::size_t i = (start + k) % handles.size();
      // One look each: what is published between two looks must not be taken for a stream that has ended.
      switch (handles[i].look()) {
        case watched::seen::ready: return i;
        case watched::seen::ended: ++ended; break;
        case watched::seen::nothing:
          points.push_back(handles[i].point);
          owners.push_back(handles[i].owner);
      }
    }
    if (ended == handles.size()) return start;
    if (until == never) refuse_self_waits(owners.data(), owners.size(), 1);
    if (until <= time_now() || !block(points.data(), points.size(), 1, until)) {
      for (std::size_t i = 0; i < handles.size(); ++i)
        if (handles[i].look() == watched::seen::ready) return i;
      return none_ready;
    }
  }
}

template <class Handle>
void watch_one(std::vector<watched>& all, const Handle& handle) {
  static_assert(any_handle<Handle>, "dyngen: wait_any takes refs and streams, or one range of them");
  if constexpr (any_handle<Handle>) all.push_back(watched::of(handle));
}

template <class... Handles>
std::vector<watched> watch(const Handles&... handles) {
  std::vector<watched> all;
  if constexpr (sizeof...(Handles) == 1 && (std::ranges::range<Handles> && ...) && !(any_handle<Handles> && ...)) {
    (
        [&](const auto& range) {
          for (auto&& h : range) watch_one(all, h);
        }(handles),
        ...);
  } else {
    all.reserve(sizeof...(Handles));
    (watch_one(all, handles), ...);
  }
  return all;
}

struct wait_any_function {
  /// Blocks until one of the refs and streams (or of one range of them) is ready; its index. A stream is ready when
  /// its next item is there; one that has ended counts only when all given have ended. The search starts at a
  /// rotating place, so that none starves. Consumes nothing. Throws std::invalid_argument if nothing is given; error, in
  /// a task that none of them could come before.
  template <class... Handles>
  std::size_t operator()(const Handles&... handles) const {
    return wait_for_any(watch(handles...), never);
  }
};

struct wait_any_for_function {
  /// The same, at most for `d`; throws timeout_error.
  template <class Rep, class Period, class... Handles>
  std::size_t operator()(const std::chrono::duration<Rep, Period>& d, const Handles&... handles) const {
    const std::size_t i = wait_for_any(watch(handles...), deadline_after(d));
    if (i == none_ready)
      throw timeout_error("dyngen: wait_any_for: the time limit passed before any of the refs and streams was ready");
    return i;
  }
};

struct wait_function {
  /// Blocks until `num_ready` of the refs are ready, failed ones included; each occurrence of a duplicate counts.
  /// Throws std::invalid_argument if there are fewer.
  template <std::ranges::input_range Refs>
    requires any_ref<std::ranges::range_reference_t<Refs>>
  auto operator()(const Refs& refs, std::size_t num_ready = 1) const {
    return wait_until(refs, num_ready, never);
  }

  /// The same, at most for `timeout`: returns what is ready by then.
  template <std::ranges::input_range Refs, class Rep, class Period>
    requires any_ref<std::ranges::range_reference_t<Refs>>
  auto operator()(const Refs& refs, std::size_t num_ready, const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_until(refs, num_ready, deadline_after(timeout));
  }

 private:
  template <class Refs>
  auto wait_until(const Refs& refs, std::size_t num_ready, deadline until) const {
    using handle = std::remove_cvref_t<std::ranges::range_reference_t<const Refs>>;
    std::vector<handle> all;
    for (auto&& r : refs) all.push_back(r);
    if (num_ready > all.size())
      throw std::invalid_argument("dyngen: wait: " + std::to_string(num_ready) + " of " + std::to_string(all.size()) +
                                  " refs can never be ready");
    std::vector<wait_point> points;
    std::vector<producer*> owners;
    for (const handle& r : all) {
      if (r.ready()) continue;
      slot& s = *access::slot_of(r);
      points.push_back(point_of(s));
      owners.push_back(group::of(s).owner);
    }
    const std::size_t there = all.size() - points.size();
    const auto missing = static_cast<std::int64_t>(num_ready) - static_cast<std::int64_t>(there);
    if (missing > 0 && until == never) refuse_self_waits(owners.data(), owners.size(), missing);
    if (missing > 0 && until > time_now()) block(points.data(), points.size(), missing, until);
    wait_result<handle> result;
    for (handle& r : all) (r.ready() ? result.ready : result.pending).push_back(std::move(r));
    return result;
  }
};

}  // namespace detail

/// wait(refs, num_ready = 1[, timeout]): which of them are ready.
inline constexpr detail::wait_function wait{};
/// wait_any(ref_or_stream…) or wait_any(range): the index of one that is ready.
inline constexpr detail::wait_any_function wait_any{};
/// wait_any_for(duration, ref_or_stream…): the same, with a time limit.
inline constexpr detail::wait_any_for_function wait_any_for{};

}  // namespace dyngen
