// SPDX-License-Identifier: MIT
#pragma once
// What a pool has done so far: a snapshot of its counters. Each is exact once the pool is at rest; while it runs, the
// counters are read one after the other.

#include <dyngen/version.hpp>

#include <cstdint>
#include <iosfwd>

namespace dyngen {

/// See thread_pool::stats().
struct pool_stats {
  std::uint64_t submitted = 0;      ///< tasks; also children of a when_all that ran as tasks of their own
  std::uint64_t completed = 0;      ///< tasks that ended well
  std::uint64_t failed = 0;         ///< tasks that ended with an exception
  std::uint64_t cancelled = 0;      ///< tasks that were cancelled
  std::uint64_t retried = 0;        ///< attempts after the first
  std::uint64_t values_stored = 0;  ///< counted when a task suspends or ends
  std::uint64_t values_live = 0;    ///< of those, the ones whose memory (their task's, or their block's) is still held
  std::uint64_t values_peak = 0;    ///< highest values_live seen by any call of stats()
  std::uint64_t steals = 0;         ///< tasks that one worker took from another
  std::uint64_t parks = 0;          ///< times a worker went to sleep
  std::uint64_t spare_threads = 0;  ///< threads started beyond the pool's width, to stand in for blocked ones
};

/// One line: `submitted 3, completed 2, …`.
template <class Char, class Traits>
std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& os, const pool_stats& s) {
  return os << "submitted " << s.submitted << ", completed " << s.completed << ", failed " << s.failed << ", cancelled "
            << s.cancelled << ", retried " << s.retried << ", values stored " << s.values_stored << ", live "
            << s.values_live << ", peak " << s.values_peak << ", steals " << s.steals << ", parks " << s.parks
            << ", spare threads " << s.spare_threads;
}

}  // namespace dyngen
