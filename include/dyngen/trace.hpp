// SPDX-License-Identifier: MIT
#pragma once
// trace: what ran where and when, as a timeline to look at: https://ui.perfetto.dev or chrome://tracing open what write()
// writes. A row for each worker, and for each other thread that has run a task while it waited for it; on it a slice for
// each stretch of a task's code, from where it begins or goes on to where it ends or suspends.

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

/// Records what the pools do that are given it:
///
///     dyngen::trace t;
///     dyngen::thread_pool pool({.trace = &t});
///     …
///     t.write(file);
///
/// A slice bears the name of its task, or its number, and tells number and attempt. On the rows stand too: `park`, a worker
/// goes to sleep; `backpressure`, a producer suspends for room; `await`, a coroutine suspends for what it awaits;
/// `cancelled`, a task ends so; `error`, an attempt has failed, and with what. Tasks of other executors are not recorded.
///
/// Stretches of one task that follow each other on a thread within 10 us are one slice, which tells how many they are.
/// In a pool that is traced, no reader keeps a stream's producer to himself, however cheap its values are: it runs in
/// stretches that can be seen.
///
/// Recording takes no lock. It keeps as many events as it was told to, the first ones; later ones are counted as dropped,
/// as are those for which there is no memory. What is recorded stays when the pool is gone. A trace should outlive the
/// tasks of its pools, for who wants to see them; if it does not, they go on recording, unseen, and the last of them frees
/// the memory.
class trace {
 public:
  /// For a million events, about 50 bytes each, allocated as they come. Throws std::bad_alloc.
  trace() : trace(1'000'000) {}
  /// For at most `max_events`, 1 to 2^31; throws std::invalid_argument for any other number.
  template <std::integral Integer>
  explicit trace(Integer max_events) : log_(std::make_shared<detail::trace_log>(checked(max_events))) {}
  trace(const trace&) = delete;
  trace& operator=(const trace&) = delete;

  /// Writes what was recorded so far, in Chrome's trace-event format (JSON). At any time, from any thread, also while the
  /// pools run: then the first events of each row up to some moment, in which what still runs ends now. Names and messages
  /// may be any bytes; what is not UTF-8 is replaced. Throws std::bad_alloc, and what the stream throws.
  template <class Traits>
  void write(std::basic_ostream<char, Traits>& os) const {
    detail::write_trace(
        *log_, [&os](const std::string& part) { os.write(part.data(), static_cast<std::streamsize>(part.size())); });
  }

  /// How many events were not kept.
  std::uint64_t dropped() const noexcept { return log_->dropped(); }

  /// For the library.
  const std::shared_ptr<detail::trace_log>& log() const noexcept { return log_; }

 private:
  template <class Integer>
  static std::uint64_t checked(Integer n) {
    if (n < Integer{1} || static_cast<std::uint64_t>(n) > (std::uint64_t{1} << 31))
      throw std::invalid_argument("dyngen: trace{" + std::to_string(n) + "}: give a number of events from 1 to 2^31");
    return static_cast<std::uint64_t>(n);
  }

  std::shared_ptr<detail::trace_log> log_;
};

}  // namespace dyngen
