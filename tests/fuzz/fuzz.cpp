// SPDX-License-Identifier: MIT
// fuzz: random programs over the whole library, each checked against a model of its rules.
//
//   fuzz [--seed S] [--programs N] [--seconds T] [--minutes M] [--threads K]
//        runs programs S, S + 1, … until N have run or the time is over; with at most K clients, and workers in a pool
//   fuzz --test FILE      what the test runs: the seeds in FILE, some fixed ones, and a random one that is printed
//   fuzz --seed S --show  prints program S
//
// Further: --repeat R runs each program R times; --without 3,7 leaves operations out; --keep-going goes on after a
// failure; --hold does not exit after a hang, for a debugger; --limit T is the time limit of one program.
//
// A program that fails is printed with its seed. A schedule is not part of the seed: repeat it.

#include "interpreter.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

// The function that sets a sanitizer's output; absent in other builds.
extern "C" void __sanitizer_set_report_fd(void*) __attribute__((weak));

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

struct settings {
  std::uint64_t seed = 0;
  bool seeded = false;
  std::uint64_t programs = ~std::uint64_t{0};
  double seconds = 0;
  unsigned threads = 8;
  unsigned repeat = 1;
  double limit = 120;
  bool show = false, keep_going = false, hold = false;
  std::string test_file;
  std::vector<std::uint32_t> without;
};

/// The library reports errors that no handle holds in lines on standard error; these are not checked.
std::FILE* silence_standard_error() {
  const int kept = dup(2);
  if (__sanitizer_set_report_fd != nullptr) __sanitizer_set_report_fd(reinterpret_cast<void*>(static_cast<std::intptr_t>(kept)));
  if (std::freopen("/dev/null", "w", stderr) == nullptr) std::abort();
  return fdopen(kept, "w");
}

class session {
 public:
  explicit session(const settings& s) : settings_(s), out_(silence_standard_error()), machine_(s.threads), watchdog_([this] { watch(); }) {}
  session(const session&) = delete;
  session& operator=(const session&) = delete;
  ~session() {
    over_.store(true);
    watchdog_.join();
  }

  /// False if it fails.
  bool run(std::uint64_t seed) {
    fuzz::choice_source choices(seed);
    fuzz::program p = fuzz::generate(choices, settings_.threads);
    p.seed = seed;
    for (unsigned i = 0; i < settings_.repeat; ++i) {
      began_.store(clock_type::now().time_since_epoch().count());
      const std::string wrong = machine_.run(p, settings_.without);
      began_.store(0);
      if (wrong.empty()) continue;
      std::printf("FAILED program %" PRIu64 ": %s\n%sreplay: fuzz --seed %" PRIu64 " --programs 1 --threads %u --repeat 1000\n", seed,
                  wrong.c_str(), text_of(p).c_str(), seed, settings_.threads);
      std::fflush(stdout);
      ++failed_;
      return false;
    }
    ++passed_;
    return true;
  }

  /// Programs from `seed` on.
  void run_from(std::uint64_t seed, std::uint64_t programs, double seconds) {
    const auto begin = clock_type::now();
    for (std::uint64_t i = 0; i < programs; ++i) {
      if (!run(seed + i) && !settings_.keep_going) break;
      if (seconds > 0 && std::chrono::duration<double>(clock_type::now() - begin).count() > seconds) break;
      if (i % 100'000 == 99'999) statistics(begin);
    }
    statistics(begin);
  }

  void statistics(clock_type::time_point begin) const {
    const double time = std::chrono::duration<double>(clock_type::now() - begin).count();
    const fuzz::totals& t = machine_.done();
    std::printf("%" PRIu64 " programs, %" PRIu64 " operations and %" PRIu64 " steps inside tasks, %.0f a second\n", t.programs,
                t.operations, t.steps, static_cast<double>(t.operations + t.steps) / time);
    std::fflush(stdout);
  }

  int finish() const {
    std::printf("cases: %" PRIu64 " passed, %" PRIu64 " failed\n", passed_, failed_);
    std::fflush(stdout);
    return failed_ == 0 && passed_ != 0 ? 0 : 1;
  }

 private:
  /// Prints a program that takes too long, with the current operation of each client.
  void watch() {
    while (!over_.load()) {
      std::this_thread::sleep_for(20ms);
      const auto began = began_.load();
      if (began == 0) continue;
      const auto now = clock_type::now().time_since_epoch().count();
      if (std::chrono::duration<double>(clock_type::duration(now - began)).count() < settings_.limit) continue;
      const auto g = machine_.look();
      std::printf("HANG in program %" PRIu64 "; of each client, the operation it is at is marked\n%s", g.plan == nullptr ? 0 : g.plan->seed,
                  g.plan == nullptr ? "" : text_of(*g.plan, &g.at).c_str());
      std::printf("cases: %" PRIu64 " passed, %" PRIu64 " failed\n", passed_, failed_ + 1);
      std::fflush(stdout);
      if (settings_.hold)
        for (;;) std::this_thread::sleep_for(1h);
      std::abort();
    }
  }

  const settings settings_;
  std::FILE* const out_;
  fuzz::interpreter machine_;
  std::uint64_t passed_ = 0, failed_ = 0;
  std::atomic<bool> over_{false};
  std::atomic<clock_type::rep> began_{0};
  std::thread watchdog_;
};

std::uint64_t random_seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

/// The seeds in a file: one on each line, followed by the fault that it has found.
std::vector<std::uint64_t> seeds_in(const std::string& file) {
  std::ifstream in(file);
  if (!in) {
    std::printf("cannot read %s\n", file.c_str());
    std::exit(2);
  }
  std::vector<std::uint64_t> seeds;
  for (std::string line; std::getline(in, line);)
    if (!line.empty() && line[0] >= '0' && line[0] <= '9') seeds.push_back(std::strtoull(line.c_str(), nullptr, 10));
  return seeds;
}

int test(settings s) {
  const std::uint64_t fresh = random_seed();
  session run(s);
  for (const std::uint64_t seed : seeds_in(s.test_file))
    for (int i = 0; i < 20; ++i)
      if (!run.run(seed)) break;
  const double seconds = s.seconds > 0 ? s.seconds : 3;
  run.run_from(1, ~std::uint64_t{0}, seconds);
  std::printf("seed %" PRIu64 "\n", fresh);
  std::fflush(stdout);
  run.run_from(fresh, ~std::uint64_t{0}, seconds);
  return run.finish();
}

std::vector<std::uint32_t> numbers_in(const char* text) {
  std::vector<std::uint32_t> all;
  std::istringstream in(text);
  for (std::string one; std::getline(in, one, ',');) all.push_back(static_cast<std::uint32_t>(std::strtoul(one.c_str(), nullptr, 10)));
  return all;
}

settings parse(int argc, char** argv) {
  settings s;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> const char* {
      if (++i < argc) return argv[i];
      std::printf("%s needs a value\n", option.c_str());
      std::exit(2);
    };
    if (option == "--seed") s.seed = std::strtoull(value(), nullptr, 10), s.seeded = true;
    else if (option == "--programs") s.programs = std::strtoull(value(), nullptr, 10);
    else if (option == "--seconds") s.seconds = std::atof(value());
    else if (option == "--minutes") s.seconds = 60 * std::atof(value());
    else if (option == "--threads") s.threads = std::min(64u, std::max(1u, static_cast<unsigned>(std::atoi(value()))));
    else if (option == "--repeat") s.repeat = static_cast<unsigned>(std::atoi(value()));
    else if (option == "--limit") s.limit = std::atof(value());
    else if (option == "--without") s.without = numbers_in(value());
    else if (option == "--test") s.test_file = value();
    else if (option == "--show") s.show = true;
    else if (option == "--keep-going") s.keep_going = true;
    else if (option == "--hold") s.hold = true;
    else {
      std::printf("no option %s; there are --seed --programs --seconds --minutes --threads --repeat --without --limit --test --show "
                  "--keep-going --hold\n", option.c_str());
      std::exit(2);
    }
  }
  return s;
}

}  // namespace

int main(int argc, char** argv) {
  settings s = parse(argc, argv);
  if (!s.test_file.empty()) return test(s);
  if (!s.seeded) s.seed = random_seed();
  if (s.show) {
    fuzz::choice_source choices(s.seed);
    fuzz::program p = fuzz::generate(choices, s.threads);
    p.seed = s.seed;
    std::fputs(text_of(p).c_str(), stdout);
    return 0;
  }
  if (s.seconds <= 0 && s.programs == ~std::uint64_t{0}) s.seconds = 10;
  std::printf("seed %" PRIu64 "\n", s.seed);
  std::fflush(stdout);
  session run(s);
  run.run_from(s.seed, s.programs, s.seconds);
  return run.finish();
}
