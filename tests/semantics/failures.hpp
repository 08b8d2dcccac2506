// SPDX-License-Identifier: MIT
#pragma once
// What the tests of exceptions share: an exception of the user, a function that throws it, and the number of reports of
// it to the hook of a pool.

#include "../catch.hpp"
#include "probes.hpp"

#include <cstddef>
#include <exception>
#include <stdexcept>

namespace support {

struct disk_full : std::runtime_error {
  disk_full() : std::runtime_error("disk full") {}
};

inline int fails() { throw disk_full(); }

/// Runs `use(pool)`, destroys the pool, and returns what was reported to its hook.
template <class Use>
std::size_t reports_of(Use use, int threads = 2) {
  error_log log;
  {
    dg::thread_pool pool(reporting_to(log, threads));
    use(pool);
  }
  for (std::size_t i = 0; i < log.count(); ++i)
    CHECK(message_of([&] { std::rethrow_exception(log.at(i).error); }) == "disk full");
  return log.count();
}

}  // namespace support
