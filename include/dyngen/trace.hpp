// SPDX-License-Identifier: MIT
#pragma once
// trace: a timeline of what ran on which thread and when. https://ui.perfetto.dev and chrome://tracing open the file
// that write() writes. The timeline has a row for each worker, and for each other thread that has run a task for which
// it waited. On a row, a slice shows each run of a task's code, from its begin or resumption to its end or suspension.

#include <dyngen/detail/base/integer.hpp>
#include <dyngen/detail/inspect/trace_json.hpp>
#include <dyngen/detail/inspect/trace_log.hpp>
#include <dyngen/version.hpp>

#include <concepts>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace dyngen {

/// Records what the threads of its pools do:
///
///     dyngen::trace t;
///     dyngen::thread_pool pool({.trace = &t});
///     …
///     t.write(file);
///
/// The title of a slice is the name of its task, or its number if it has no name; the details show number and attempt.
/// The rows also show these events: `park`, a worker goes to sleep; `backpressure`, a producer suspends because its
/// buffer is full; `await`, a coroutine suspends in a co_await; `cancelled`, a task ends as cancelled; `error`, an
/// attempt has failed, with the exception's message. Tasks of other executors are not recorded.
///
/// Consecutive runs of one task on a thread that are less than 10 us apart form one slice, which shows their count.
/// Tracing changes scheduling: the readers of a traced pool do not resume the producers of cheap streams value by
/// value, so that each run of a producer is visible as a slice.
///
/// Recording takes no lock. The trace keeps the first events up to its capacity; dropped() counts the later ones, and
/// those for which there was no memory. The recorded events remain after the pool is destroyed. A trace may be
/// destroyed before the tasks of its pools: they go on recording, without effect, and the last of them frees the
/// memory.
class trace {
 public:
  /// A trace with a capacity of a million events. An event takes about 50 bytes, allocated when it happens. Throws
  /// std::bad_alloc.
  trace() : trace(1'000'000) {}
  /// A trace with a capacity of `max_events` events. Throws std::invalid_argument unless `max_events` is from 1 to
  /// 2^31, and std::bad_alloc.
  template <std::integral Integer>
  explicit trace(Integer max_events)
      : recorder_(std::make_shared<detail::trace_log>(detail::checked_integer(
            max_events, 1, std::uint64_t{1} << 31, "trace{", "}: give a number of events from 1 to 2^31"))) {}
  trace(const trace&) = delete;
  trace& operator=(const trace&) = delete;

  /// Writes the recorded events to `os` in Chrome's trace-event format (JSON). Any thread may call this at any time,
  /// also while the pools run: then each row ends at some moment during the call, and a slice that is still open is
  /// written as if it ended now. Bytes in names and messages that are not UTF-8 are replaced. Throws std::bad_alloc,
  /// and what `os` throws.
  template <class Traits>
  void write(std::basic_ostream<char, Traits>& os) const {
    detail::write_trace(
        log(), [&os](const std::string& part) { os.write(part.data(), static_cast<std::streamsize>(part.size())); });
  }

  /// Returns the number of events that were not recorded, because the capacity or the memory was exhausted.
  /// Thread-safe.
  std::uint64_t dropped() const noexcept { return log().dropped(); }

  /// For the library.
  detail::trace_log& log() const noexcept { return static_cast<detail::trace_log&>(*recorder_); }

 private:
  std::shared_ptr<detail::recorder> recorder_;  ///< for detail::recorder_of() the only member
};

static_assert(std::is_standard_layout_v<trace> && sizeof(trace) == sizeof(std::shared_ptr<detail::recorder>));

}  // namespace dyngen
