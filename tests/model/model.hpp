// SPDX-License-Identifier: MIT
#pragma once
// What the models share: each is a small program of a few threads over the library's own headers, and Relacy runs it
// under every schedule of at most two preemptions, where that ends in seconds, and under many random ones. A model fails
// by MODEL_CHECK, a data race on a `shared`, a deadlock, or an endless loop; Relacy then prints the whole trace.
//
// What a pass does not say. In Relacy, writes to one variable happen in the order of the schedule, the schedule is also
// the total order of the seq_cst operations, and no read returns a later write. A model therefore cannot miss memory
// orders that exclude only such executions: the release of [I3] in the injection queue, the acquire of [V4] in the
// deque, seq_cst on the first load of its steal(), and the release in taking a token of the idle workers [A5]. A
// release sequence goes on through plain stores of the same thread, as in C++17. A wake-up orders what comes before and
// after it, a return from sleep_on() without one does not.

#include "sampling.hpp"

#include <dyngen/detail/base/atomic.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <ostream>
#include <source_location>
#include <sstream>
#include <streambuf>
#include <string>
#include <string_view>
#include <utility>

namespace dyngen::model {

#define MODEL_CHECK(condition) RL_ASSERT(condition)

/// A variable that is no atomic: two unordered accesses, one of them a write, are a failure.
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

/// To be called in a loop that waits for another thread without sleeping: lets other threads run.
inline void yield(const std::source_location& line = std::source_location::current()) {
  const detail::model::switching_point here(line);
  rl::yield(1, detail::model::at(line));
}

/// Takes a trace and prints it if asked. Uses a file, since Relacy must not see the memory of a buffer.
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

/// Any model of `Threads` threads: Relacy's machinery is compiled once for all of them, not once for each.
template <rl::thread_id_t Threads, rl::thread_id_t Started>
class any_model : public rl::test_suite<any_model<Threads, Started>, Threads> {
 public:
  static constexpr rl::thread_id_t dynamic_thread_count = Started;

  template <class Model>
  static void becomes() {
    is_ = {sizeof(Model),
           [](void* p) { ::new (p) Model(); },
           [](void* p) { static_cast<Model*>(p)->~Model(); },
           [](void* p) { static_cast<Model*>(p)->before(); },
           [](void* p, unsigned index) { static_cast<Model*>(p)->thread(index); },
           [](void* p) { static_cast<Model*>(p)->after(); }};
  }

  any_model() : model_((std::malloc)(is_.size)) { is_.construct(model_); }
  ~any_model() {
    is_.destroy(model_);
    (std::free)(model_);
  }
  void before() { is_.before(model_); }
  void thread(unsigned index) { is_.thread(model_, index); }
  void after() { is_.after(model_); }

 private:
  struct kind {
    std::size_t size;
    void (*construct)(void*);
    void (*destroy)(void*);
    void (*before)(void*);
    void (*thread)(void*, unsigned);
    void (*after)(void*);
  };
  static inline kind is_;
  void* model_;
};

/// What mutants.py asks for: which places in the library a case executes, and whether it fails with one of them
/// weakened.
class places {
 public:
  /// `FILE:LINE:COLUMN:ORDER`, as the trace of a case names them; `FILE:LINE:COLUMN::ORDER` for what a compare-exchange
  /// does when it fails.
  static void weaken(const char* place) {
    const std::string_view all(place);
    const std::size_t end = all.rfind(':');
    const std::size_t column = all.find(':', all.find(':') + 1);
    weakened_.failure = all[end - 1] == ':';
    weakened_.file = all.substr(0, all.find(':'));
    weakened_.line = static_cast<unsigned>(std::strtoul(all.data() + all.find(':') + 1, nullptr, 10));
    weakened_.column = static_cast<unsigned>(std::strtoul(all.data() + column + 1, nullptr, 10));
    for (const auto& [name, order] : orders)
      if (all.substr(end + 1) == name) weakened_.order = order;
    detail::model::watcher = [](const std::source_location& at, std::memory_order& order, std::memory_order* failure) {
      if (at.line() != weakened_.line || at.column() != weakened_.column) return;
      if (!std::string_view(at.file_name()).ends_with(weakened_.file)) return;
      (weakened_.failure ? *failure : order) = weakened_.order;
    };
  }

  static void note() {
    detail::model::watcher = [](const std::source_location& at, std::memory_order&, std::memory_order*) {
      std::size_t i = (reinterpret_cast<std::uintptr_t>(at.file_name()) + at.line() * 64 + at.column()) % std::size(seen_);
      for (; seen_[i].file != nullptr; i = (i + 1) % std::size(seen_))
        if (seen_[i].line == at.line() && seen_[i].column == at.column() && seen_[i].file == at.file_name()) return;
      seen_[i] = {at.file_name(), at.line(), at.column()};
    };
  }
  /// The places that were executed since the last call.
  static void print(unsigned number) {
    for (place& each : seen_)
      if (each.file != nullptr) std::printf("place %u %s:%u:%u\n", number, each.file, each.line, each.column);
    for (place& each : seen_) each = {};
  }

 private:
  static constexpr std::pair<std::string_view, std::memory_order> orders[] = {
      {"relaxed", detail::relaxed}, {"acquire", detail::acquire}, {"release", detail::release}, {"acq_rel", detail::acq_rel}};

  struct {
    std::string_view file;
    unsigned line, column;
    bool failure;
    std::memory_order order;
  } static inline weakened_;

  struct place {
    const char* file;
    unsigned line, column;
  };
  static inline place seen_[4096] = {};
};

/// Runs the cases of a program. Its arguments:
///   --iterations N       N random schedules for each case, instead of 60000
///   --only TEXT          only the cases with TEXT in their name
///   --cases N,N,…        only the cases with these numbers, counted from 0
///   --random-only        no exhaustive ones
///   --first-failure      stops at the first failure
///   --places, --weaken   see `places`
class runner {
 public:
  runner(int count, char** arguments) {
    for (int i = 1; i < count; ++i) {
      const std::string_view name = arguments[i];
      if (name == "--random-only") random_only_ = true;
      if (name == "--first-failure") first_failure_ = true;
      if (name == "--places") places_ = true;
      if (i + 1 == count) continue;
      if (name == "--iterations") iterations_ = std::strtoul(arguments[i + 1], nullptr, 10);
      if (name == "--only") only_ = arguments[i + 1];
      if (name == "--cases") cases_ = "," + std::string(arguments[i + 1]) + ",";
      if (name == "--weaken") places::weaken(arguments[i + 1]);
    }
    if (places_) places::note();
  }

  /// Every schedule with at most `preemptions` switches away from a thread that could continue.
  template <class Model>
  void exhaustive(const char* name, unsigned preemptions = 2) {
    rl::test_params params;
    params.search_type = rl::sched_bound;
    params.context_bound = preemptions;
    run<Model, rl::context_bound_scheduler>(name, params);
  }

  /// `share` per cent of the usual number of random schedules.
  template <class Model>
  void random(const char* name, unsigned share = 100) {
    rl::test_params params;
    params.search_type = rl::sched_random;
    params.iteration_count = iterations_ * share / 100 + 1;
    run<Model, sampling_scheduler>(name, params);
  }

  int finish() const {
    std::printf("cases: %u passed, %u failed\n", passed_, failed_);
    return failed_ == 0 && (passed_ != 0 || random_only_) ? 0 : 1;
  }

 private:
  bool is_wanted(const char* name, unsigned number, bool exhaustive) const {
    if (exhaustive && random_only_) return false;
    if (first_failure_ && failed_ != 0) return false;
    if (!cases_.empty() && cases_.find("," + std::to_string(number) + ",") == std::string::npos) return false;
    return only_ == nullptr || std::strstr(name, only_) != nullptr;
  }

  template <class Model, template <rl::thread_id_t> class Scheduler>
  void run(const char* name, rl::test_params& params) {
    const unsigned number = count_++;
    if (!is_wanted(name, number, params.search_type != rl::sched_random)) return;
    std::ostream nowhere(nullptr);
    kept_aside trace_kept;
    std::ostream trace(&trace_kept);
    params.progress_stream = &nowhere;
    params.output_stream = &trace;
    params.execution_depth_limit = 20000;
    const auto begin = std::chrono::steady_clock::now();
    using any = any_model<Model::params::static_thread_count, Model::params::dynamic_thread_count>;
    any::template becomes<Model>();
    const bool good = simulate<any, Scheduler<any::params::thread_count>>(params);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    ++(good ? passed_ : failed_);
    if (!good && !first_failure_) trace_kept.print();
    std::printf("%-6s %s: %s, %lu schedules, %.1f s: %s\n", good ? "ok" : "FAILED", name,
                params.search_type == rl::sched_random ? "random" : "exhaustive",
                static_cast<unsigned long>(params.stop_iteration), took.count(),
                rl::test_result_str(params.test_result));
    if (places_) places::print(number);
    std::fflush(stdout);
  }

  /// Replaces rl::simulate(), which accepts only its own schedulers. A schedule that fails is run once more, for the
  /// trace.
  template <class Model, class Scheduler>
  static bool simulate(rl::test_params& params) {
    // Never destroyed: Relacy allocates its memory, and would free it by other means.
    std::ostringstream& state = *::new ((std::malloc)(sizeof(std::ostringstream))) std::ostringstream();
    if (rl::run_test<Model, Scheduler>(params, state, false) == rl::test_result_success) return true;
    rl::test_params again = params;
    again.initial_state = state.str();
    again.collect_history = true;
    (void)rl::run_test<Model, Scheduler>(again, state, true);
    return false;
  }

  unsigned long iterations_ = 60000;
  const char* only_ = nullptr;
  std::string cases_;
  bool random_only_ = false;
  bool first_failure_ = false;
  bool places_ = false;
  unsigned count_ = 0;
  unsigned passed_ = 0;
  unsigned failed_ = 0;
};

}  // namespace dyngen::model
