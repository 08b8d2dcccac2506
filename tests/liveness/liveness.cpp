// SPDX-License-Identifier: MIT
// liveness: random programs that end by construction (program.hpp). A program that stops making progress is
// printed, with the dumps of its pools, and the exit status is 1.
//
//   liveness [--seed S] [--programs N] [--seconds T]
//        runs programs S, S + 1, … until N have run or the time is over (default: 10 seconds, a random seed)
//   liveness --seed S --show   prints program S
//
// Further: --threads K, --spares K, --no-help fix values that are random otherwise; --parallel J runs J programs at a
// time (2); --repeat R runs each program R times; --limit T: T seconds without progress are a hang (20); --without a,b
// leaves out ways to wait by their names, --no-full-room leaves out waits that rely on the credits which they return;
// --strands K, --steps K bound the size of a program; --keep-going continues after a wrong result; --hold does not exit
// after a hang, for a debugger. A schedule is not part of the seed: repeat it.

#include "machine.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using liveness::index;

struct options {
  liveness::settings draw{};
  std::uint64_t seed = std::uint64_t{std::random_device{}()};
  std::uint64_t programs = ~std::uint64_t{0};
  double seconds = 0, limit = 20;
  unsigned parallel = 2, repeat = 1;
  bool show = false, hold = false, keep_going = false;
};

class session {
 public:
  explicit session(const options& o) : options_(o), running_(o.parallel) {}

  int run() {
    std::thread watcher([this] { watch(); });
    std::vector<std::thread> runners;
    for (unsigned i = 0; i < options_.parallel; ++i) runners.emplace_back([this, i] { loop(running_[i]); });
    for (std::thread& t : runners) t.join();
    over_ = true;
    watcher.join();
    const double longest = static_cast<double>(longest_) * tick_seconds;
    std::printf("%" PRIu64 " programs, longest time without progress %.2f s\n", passed_ + failed_, longest);
    std::printf("cases: %" PRIu64 " passed, %" PRIu64 " failed\n", passed_.load(), failed_.load());
    std::fflush(stdout);
    return failed_ == 0 && passed_ != 0 ? 0 : 1;
  }

 private:
  struct running {
    std::mutex mutex{};
    liveness::machine* machine = nullptr;
    std::uint64_t number = 0;  ///< of programs that it has begun
    std::uint64_t seen = 0;    ///< number and progress at the last tick
    unsigned ticks = 0;        ///< without progress
  };
  static constexpr double tick_seconds = 0.05;

  bool time_is_over() const {
    return options_.seconds > 0 && std::chrono::duration<double>(clock_type::now() - begin_).count() > options_.seconds;
  }

  void loop(running& here) {
    while (!stop_ && !time_is_over()) {
      const std::uint64_t n = next_++;
      if (n >= options_.programs) return;
      const liveness::program p = liveness::generate(options_.seed + n, options_.draw);
      for (unsigned i = 0; i < options_.repeat && !stop_; ++i)
        if (!run_one(here, p)) break;
    }
  }
  bool run_one(running& here, const liveness::program& p) {
    std::string wrong;
    {
      liveness::machine m(p);
      set(here, &m);
      wrong = m.run();
      set(here, nullptr);
    }
    if (wrong.empty()) return ++passed_, true;
    ++failed_;
    std::lock_guard lock(print_);
    std::printf("FAILED program %" PRIu64 ": %s\n%s", p.seed, wrong.c_str(), text_of(p).c_str());
    std::fflush(stdout);
    if (!options_.keep_going) stop_ = true;
    return false;
  }
  void set(running& here, liveness::machine* m) {
    std::lock_guard lock(here.mutex);
    here.machine = m;
    ++here.number;
    here.ticks = 0;
  }

  /// A tick counts only if this thread was on time for it: a machine that stands still is not a hang.
  void watch() {
    const auto tick = std::chrono::duration_cast<clock_type::duration>(std::chrono::duration<double>(tick_seconds));
    for (auto before = clock_type::now(); !over_;) {
      std::this_thread::sleep_for(tick);
      const auto now = clock_type::now();
      const bool on_time = now - before < 2 * tick;
      before = now;
      if (!on_time) continue;
      for (running& r : running_) look(r);
    }
  }
  void look(running& r) {
    std::lock_guard lock(r.mutex);
    if (r.machine == nullptr) return;
    const std::uint64_t now = (r.number << 32) + r.machine->progress();
    r.ticks = now == std::exchange(r.seen, now) ? r.ticks + 1 : 0;
    longest_ = std::max<std::uint64_t>(longest_, r.ticks);
    if (r.ticks * tick_seconds < options_.limit) return;
    std::lock_guard print(print_);
    std::printf("HANG in program %" PRIu64 " after %.1f s; '>' marks where a strand is, '-' what is not done\n",
                r.machine->plan().seed, std::chrono::duration<double>(clock_type::now() - begin_).count());
    std::fflush(stdout);
    std::fputs(r.machine->describe().c_str(), stdout);
    std::printf("replay: liveness --seed %" PRIu64 " --programs 1 --repeat 1000, and the same options\n", r.machine->plan().seed);
    std::printf("cases: %" PRIu64 " passed, %" PRIu64 " failed\n", passed_.load(), failed_.load() + 1);
    std::fflush(stdout);
    if (options_.hold)
      for (;;) std::this_thread::sleep_for(1h);
    std::_Exit(1);
  }

  const options options_;
  const clock_type::time_point begin_ = clock_type::now();
  std::vector<running> running_;
  std::mutex print_{};
  std::atomic<std::uint64_t> next_{0}, passed_{0}, failed_{0};
  std::atomic<std::uint64_t> longest_{0};
  std::atomic<bool> over_{false}, stop_{false};
};

std::uint64_t ways_named(const std::string& names) {
  std::uint64_t all = 0;
  for (unsigned w = 0; w <= static_cast<unsigned>(liveness::way::nothing); ++w)
    if (("," + names + ",").find("," + std::string(liveness::name_of(static_cast<liveness::way>(w))) + ",") != std::string::npos)
      all |= std::uint64_t{1} << w;
  return all;
}

options parse(int argc, char** argv) {
  options o;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> const char* {
      if (++i < argc) return argv[i];
      std::printf("%s needs a value\n", option.c_str());
      std::exit(2);
    };
    const auto number = [&] { return static_cast<unsigned>(std::strtoul(value(), nullptr, 10)); };
    if (option == "--seed") o.seed = std::strtoull(value(), nullptr, 10);
    else if (option == "--programs") o.programs = std::strtoull(value(), nullptr, 10);
    else if (option == "--seconds") o.seconds = std::atof(value());
    else if (option == "--limit") o.limit = std::atof(value());
    else if (option == "--threads") o.draw.threads = number();
    else if (option == "--spares") o.draw.spares = number();
    else if (option == "--strands") o.draw.strands = number();
    else if (option == "--steps") o.draw.steps = std::max(3u, number());
    else if (option == "--parallel") o.parallel = std::max(1u, number());
    else if (option == "--repeat") o.repeat = number();
    else if (option == "--without") o.draw.without = ways_named(value());
    else if (option == "--no-help") o.draw.no_help = true;
    else if (option == "--no-full-room") o.draw.no_full_room = true;
    else if (option == "--show") o.show = true;
    else if (option == "--hold") o.hold = true;
    else if (option == "--keep-going") o.keep_going = true;
    else {
      std::printf("no option %s; the head of liveness.cpp lists them\n", option.c_str());
      std::exit(2);
    }
  }
  if (o.seconds <= 0 && o.programs == ~std::uint64_t{0}) o.seconds = 10;
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const options o = parse(argc, argv);
  if (o.show) {
    std::fputs(text_of(liveness::generate(o.seed, o.draw)).c_str(), stdout);
    return 0;
  }
  std::printf("seed %" PRIu64 "\n", o.seed);
  std::fflush(stdout);
  return session(o).run();
}
