// SPDX-License-Identifier: MIT
#pragma once
// What the models share: each is a small program of a few threads over the library's own headers, and Relacy runs it
// under every schedule of at most two preemptions, where that ends in seconds, and under many random ones. A model fails
// by MODEL_CHECK, a data race on a `shared`, a deadlock, or an endless loop; Relacy then prints the whole trace.
//
// What a pass does not say. Relacy's writes to one variable happen in the order of its schedule, a schedule is also the
// one order of its seq_cst operations, and nothing is read from the future. Orders that are there against just that
// cannot be missed here: the release of [I3] in the injection queue, the acquire of [W4] in the deque, seq_cst on the
// first load of its steal(), and the release in taking a token in the seats [S5]. A release sequence goes on through plain stores of the same thread, as in C++17. A
// wake-up orders what comes before and after it, a return from sleep_on() without one does not.

#include <dyngen/detail/atomic.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ostream>
#include <streambuf>

namespace dyngen::model {

#define MODEL_CHECK(condition) RL_ASSERT(condition)

/// A variable that is no atomic: two threads at it at once, one of them writing, is a failure.
template <class T>
class shared {
public:
  void set(T value, std::source_location line = std::source_location::current()) {
    value_(detail::model::at(line)) = value;
  }
  T get(std::source_location line = std::source_location::current()) const { return value_(detail::model::at(line)); }

private:
  mutable rl::var<T> value_;
};

/// In a loop that waits for another thread without sleeping: lets the others go on.
inline void yield() { rl::yield(1, RL_INFO); }

/// Takes a trace and prints it if asked. In a file: Relacy must not see memory that comes and goes.
class kept_aside : public std::streambuf {
public:
  ~kept_aside() { std::fclose(file_); }

  void print() {
    std::rewind(file_);
    for (int c; (c = std::fgetc(file_)) != EOF;) std::putchar(c);
  }

private:
  int_type overflow(int_type c) override { return std::fputc(c, file_); }
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    return static_cast<std::streamsize>(std::fwrite(text, 1, static_cast<std::size_t>(size), file_));
  }

  std::FILE* file_ = std::tmpfile();
};

class runner {
public:
  runner(int count, char** arguments) {
    for (int i = 1; i + 1 < count; i += 2) {
      if (std::strcmp(arguments[i], "--iterations") == 0) iterations_ = std::strtoul(arguments[i + 1], nullptr, 10);
      if (std::strcmp(arguments[i], "--only") == 0) only_ = arguments[i + 1];
    }
  }

  /// Every schedule with at most `preemptions` switches away from a thread that could go on.
  template <class Model>
  void exhaustive(const char* name, unsigned preemptions = 2) {
    rl::test_params params;
    params.search_type = rl::sched_bound;
    params.context_bound = preemptions;
    run<Model>(name, params);
  }

  /// `share` per cent of the usual number of random schedules.
  template <class Model>
  void random(const char* name, unsigned share = 100) {
    rl::test_params params;
    params.search_type = rl::sched_random;
    params.iteration_count = iterations_ * share / 100 + 1;
    run<Model>(name, params);
  }

  int finish() const {
    std::printf("cases: %u passed, %u failed\n", passed_, failed_);
    return failed_ == 0 && passed_ != 0 ? 0 : 1;
  }

private:
  template <class Model>
  void run(const char* name, rl::test_params& params) {
    if (only_ != nullptr && std::strstr(name, only_) == nullptr) return;
    std::ostream nowhere(nullptr);
    kept_aside trace_kept;
    std::ostream trace(&trace_kept);
    params.progress_stream = &nowhere;
    params.output_stream = &trace;
    params.execution_depth_limit = 5000;
    const auto begin = std::chrono::steady_clock::now();
    const bool good = rl::simulate<Model>(params);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    ++(good ? passed_ : failed_);
    if (!good) trace_kept.print();
    std::printf("%-6s %s: %s, %lu schedules, %.1f s: %s\n", good ? "ok" : "FAILED", name,
                params.search_type == rl::sched_random ? "random" : "exhaustive",
                static_cast<unsigned long>(params.stop_iteration), took.count(),
                rl::test_result_str(params.test_result));
    std::fflush(stdout);
  }

  unsigned long iterations_ = 100000;
  const char* only_ = nullptr;
  unsigned passed_ = 0;
  unsigned failed_ = 0;
};

}  // namespace dyngen::model
