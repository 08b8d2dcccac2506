// SPDX-License-Identifier: MIT
#pragma once
// Counters of a pool, as a snapshot. Each counter is exact once no task of the pool runs. While tasks run, the counters
// are read one after the other, so they may differ by the events in between.

#include <dyngen/version.hpp>

#include <cstdint>
#include <iosfwd>

namespace dyngen {

/// A snapshot of a pool's counters since its construction, returned by thread_pool::stats().
struct pool_stats {
  std::uint64_t submitted = 0;      ///< tasks, including children of a when_all that ran as separate tasks
  std::uint64_t completed = 0;      ///< tasks that ended without an exception
  std::uint64_t failed = 0;         ///< tasks that ended with an exception
  std::uint64_t cancelled = 0;      ///< tasks that were cancelled
  std::uint64_t retried = 0;        ///< attempts after the first
  std::uint64_t values_stored = 0;  ///< values stored by tasks; counted when the task suspends or ends
  std::uint64_t values_live = 0;    ///< of those, values whose memory (the task's or a block's) is not yet freed
  std::uint64_t values_peak = 0;    ///< the highest values_live that any call of stats() has seen
  std::uint64_t steals = 0;         ///< tasks that a worker has taken from another worker's queue
  std::uint64_t parks = 0;          ///< how often a worker went to sleep
  std::uint64_t spare_threads = 0;  ///< threads started to replace blocked workers
};

/// Writes the counters to `os` as one line without a line feed: `submitted 3, completed 2, …`.
template <class Char, class Traits>
std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& os, const pool_stats& s) {
  return os << "submitted " << s.submitted << ", completed " << s.completed << ", failed " << s.failed << ", cancelled "
            << s.cancelled << ", retried " << s.retried << ", values stored " << s.values_stored << ", live "
            << s.values_live << ", peak " << s.values_peak << ", steals " << s.steals << ", parks " << s.parks
            << ", spare threads " << s.spare_threads;
}

}  // namespace dyngen
