// SPDX-License-Identifier: MIT
#pragma once
// Measurements in a process of their own: no memory is reused from an earlier measurement, no thread of another
// entry runs beside them, and restrictions of the process do not affect later measurements. Linux only.

#include "harness.hpp"

#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bench {

/// The resident memory of this process as the system reports it.
inline double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

/// Runs `measurement(n)` in a new process that has no history. This process must have no threads.
template <class Measurement>
auto in_fresh_process(Measurement measurement) {
  return [measurement](std::uint64_t n) -> outcome {
    int ends[2];
    if (pipe(ends) != 0) throw std::runtime_error("no pipe");
    const pid_t child = fork();
    if (child == 0) {
      alarm(100);  // ends it should it hang
      int status = 1;
      try {
        const outcome result = measurement(n);
        status = write(ends[1], &result, sizeof result) == static_cast<ssize_t>(sizeof result) ? 0 : 1;
      } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
      }
      _exit(status);
    }
    close(ends[1]);
    outcome result(0);
    const bool complete = child > 0 && read(ends[0], &result, sizeof result) == static_cast<ssize_t>(sizeof result);
    close(ends[0]);
    int status = 0;
    if (child > 0) waitpid(child, &status, 0);
    if (!complete || status != 0) throw std::runtime_error("a measuring process failed");
    return result;
  };
}

}  // namespace bench
