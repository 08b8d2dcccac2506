// SPDX-License-Identifier: MIT
#pragma once
// The harness that the benchmarks share. A suite holds groups; a group holds contestants that do the same job, one of
// which is the baseline. Every round runs each contestant once, and each round begins with another one, so that what
// the machine does meanwhile hits all of them alike. Every run returns a checksum that must be right. Reported: median
// and minimum over the rounds, the median of the ratios to the baseline's run of the same round, and the spread (the
// middle half of the runs, in per cent of the median). Absolute times mean little elsewhere, ratios more.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

namespace bench {

/// Hides where a number came from, so that no compiler computes with it before the program runs.
inline std::uint64_t opaque(std::uint64_t value) {
  __asm__ volatile("" : "+r"(value));
  return value;
}

/// Adds one value to a checksum that depends on the order too: a loss and a duplicate do not cancel.
constexpr std::uint64_t fold(std::uint64_t sum, std::uint64_t value) { return ((sum << 5) | (sum >> 59)) + value; }

/// What one run gives back: its checksum and, where the contestant measures something itself, how much in all.
struct outcome {
  outcome(std::uint64_t sum, double measured = -1) : checksum(sum), amount(measured) {}
  std::uint64_t checksum;
  double amount;  // negative: the harness's clock decides, in nanoseconds
};

using runner = std::function<outcome(std::uint64_t)>;  // does that many operations

struct contestant {
  std::string name;
  runner run;
  std::uint64_t operations;
  double at_most;  // a bound on the median that must hold; 0: none
  std::vector<double> samples = {};  // per operation, one for each round
};

inline double quantile(std::vector<double> values, double which) {
  std::ranges::sort(values);
  const double place = which * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const auto above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

class group {
 public:
  /// `expected` gives the right checksum for a number of operations; it is computed outside the measured time.
  group(std::string title, std::string unit, std::string baseline, std::uint64_t operations,
        std::function<std::uint64_t(std::uint64_t)> expected)
      : title_(std::move(title)), unit_(std::move(unit)), baseline_(std::move(baseline)), operations_(operations),
        expected_(std::move(expected)) {}

  /// `divisor`: slow contestants do that many times fewer operations; results are per operation all the same.
  void add(std::string name, runner run, std::uint64_t divisor = 1, double at_most = 0) {
    contestants_.push_back({std::move(name), std::move(run), operations_ / divisor, at_most});
  }

  /// Leaves only what contains `text` in "group: contestant", and the baseline to compare it with.
  void keep_only(const std::string& text) {
    const auto matches = [&](const auto& c) { return (title_ + ": " + c.name).find(text) != std::string::npos; };
    if (std::ranges::none_of(contestants_, matches)) contestants_.clear();
    std::erase_if(contestants_, [&](const contestant& c) { return !matches(c) && c.name != baseline_; });
  }

  bool empty() const { return contestants_.empty(); }

  void list() const {
    for (const contestant& c : contestants_) std::printf("%s: %s\n", title_.c_str(), c.name.c_str());
  }

  template <class Progress>
  void measure(std::size_t rounds, Progress progress) {
    std::vector<std::uint64_t> expected;
    for (const contestant& c : contestants_) expected.push_back(expected_(c.operations));
    for (std::size_t round = 0; round <= rounds; ++round)  // round 0 warms up and is not counted
      for (std::size_t i = 0; i < contestants_.size(); ++i) {
        const std::size_t which = (round + i) % contestants_.size();
        progress(title_ + ": " + contestants_[which].name, round, rounds);
        const double sample = run_once(contestants_[which], expected[which]);
        if (round > 0) contestants_[which].samples.push_back(sample);
      }
    progress("", rounds, rounds);
  }

  /// Prints the table; false if a bound does not hold.
  bool print() const {
    bool within = true;
    std::printf("\n%-64s %12s %10s %9s %8s\n", title_.c_str(), ("median " + unit_).c_str(), "min", "ratio", "spread");
    for (const contestant& c : contestants_) {
      const double median = quantile(c.samples, 0.5);
      std::printf("  %-62s %12.2f %10.2f", c.name.c_str(), median, quantile(c.samples, 0));
      std::printf(" %9.2f %7.0f%%", ratio(c), spread(c));
      const bool over = c.at_most > 0 && median > c.at_most;
      if (c.at_most > 0) std::printf("  %s %.4g", over ? "MORE THAN" : "at most", c.at_most);
      std::puts(c.name == baseline_ ? "  (baseline)" : "");
      within = within && !over;
    }
    std::fflush(stdout);
    return within;
  }

  void write_json(std::ostream& out) const {
    out << "    {\"title\": " << quoted(title_) << ", \"unit\": " << quoted(unit_)
        << ", \"baseline\": " << quoted(baseline_) << ", \"contestants\": [";
    for (const char* separator = "\n"; const contestant& c : contestants_) {
      out << std::exchange(separator, ",\n") << "      {\"name\": " << quoted(c.name)
          << ", \"operations\": " << c.operations << ", \"median\": " << quantile(c.samples, 0.5)
          << ", \"min\": " << quantile(c.samples, 0) << ", \"ratio\": " << ratio(c)
          << ", \"spread_percent\": " << spread(c) << ", \"samples\": [";
      for (const char* comma = ""; const double sample : c.samples) out << std::exchange(comma, ", ") << sample;
      out << "]}";
    }
    out << "\n    ]}";
  }

  static std::string quoted(const std::string& text) {
    std::string result;
    for (const char c : text) result += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    return '"' + result + '"';
  }

 private:
  double run_once(const contestant& c, std::uint64_t expected) const {
    const auto begin = std::chrono::steady_clock::now();
    const outcome result = c.run(opaque(c.operations));
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - begin;
    if (result.checksum != expected)
      throw std::runtime_error(title_ + ": " + c.name + ": wrong result " + std::to_string(result.checksum) +
                               ", expected " + std::to_string(expected));
    return (result.amount >= 0 ? result.amount : time.count()) / static_cast<double>(c.operations);
  }

  double ratio(const contestant& c) const {
    const auto base = std::ranges::find(contestants_, baseline_, &contestant::name);
    std::vector<double> ratios = c.samples;
    for (std::size_t i = 0; i < ratios.size(); ++i) ratios[i] /= std::max(base->samples[i], 1e-9);
    return quantile(std::move(ratios), 0.5);
  }

  static double spread(const contestant& c) {
    return 100 * (quantile(c.samples, 0.75) - quantile(c.samples, 0.25)) / std::max(quantile(c.samples, 0.5), 1e-9);
  }

  std::string title_, unit_, baseline_;
  std::uint64_t operations_;
  std::function<std::uint64_t(std::uint64_t)> expected_;
  std::vector<contestant> contestants_;
};

/// One program: reads the command line, runs the groups one after the other, prints, and says whether all was right.
class suite {
 public:
  suite(std::string name, int argc, char** argv) : name_(std::move(name)) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const bool operand = i + 1 < arguments.size();
      if (arguments[i] == "--quick") quick_ = true;
      else if (arguments[i] == "--list") list_ = true;
      else if (arguments[i] == "--json" && operand) json_ = arguments[++i];
      else if (arguments[i] == "--filter" && operand) filter_ = arguments[++i];
      else usage();
    }
  }

  /// How many operations: the first in a full run, the second under --quick.
  std::uint64_t pick(std::uint64_t full, std::uint64_t quick) const { return quick_ ? quick : full; }

  group& add(group g) { return groups_.emplace_back(std::move(g)); }

  /// What main returns: 0 if every result was right and every bound held, 1 otherwise, 2 if nothing was to be run.
  int run() try {
    for (group& g : groups_) g.keep_only(filter_);
    std::erase_if(groups_, [](const group& g) { return g.empty(); });
    if (groups_.empty()) return std::fprintf(stderr, "%s: nothing is called %s\n", name_.c_str(), filter_.c_str()), 2;
    if (list_) return std::ranges::for_each(groups_, &group::list), 0;
    const std::size_t rounds = quick_ ? 7 : 11;
    std::printf("%s%s, %zu rounds; ", name_.c_str(), quick_ ? " --quick" : "", rounds);
    std::printf("%s; %s\n", machine().c_str(), compiler().c_str());
    int status = 0;
    for (group& g : groups_) {
      g.measure(rounds, progress);
      if (!g.print()) status = 1;
    }
    if (!json_.empty()) write_json(rounds);
    return status;
  } catch (const std::exception& e) {
    return std::fprintf(stderr, "\n%s: FAILED: %s\n", name_.c_str(), e.what()), 1;
  }

 private:
  [[noreturn]] void usage() const {
    std::fprintf(stderr, "usage: %s [--quick] [--list] [--filter TEXT] [--json FILE]\n", name_.c_str());
    std::exit(2);
  }

  // One line that overwrites itself; nothing when nobody looks.
  static void progress(const std::string& what, std::size_t round, std::size_t rounds) {
    static const bool on_terminal = isatty(STDERR_FILENO) != 0;
    if (on_terminal && what.empty()) std::fprintf(stderr, "\r\033[K");
    else if (on_terminal) std::fprintf(stderr, "\r\033[K%zu/%zu %s", round, rounds, what.c_str());
  }

  static std::string machine() {
    std::string model = "unknown processor";
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);)
      if (line.starts_with("model name")) model = line.substr(line.find(':') + 2);
    return model + ", " + std::to_string(std::thread::hardware_concurrency()) + " threads";
  }

  static std::string compiler() {
    const std::string version = __VERSION__;  // names itself only if it is clang
#if !defined(__OPTIMIZE__)
    return version + ", NOT OPTIMISED";
#endif
    return version.find("lang") == std::string::npos ? "g++ " + version : version;
  }

  void write_json(std::size_t rounds) const {
    std::ofstream out(json_);
    out << std::boolalpha << "{\"program\": " << group::quoted(name_) << ", \"quick\": " << quick_
        << ", \"rounds\": " << rounds << ", \"machine\": " << group::quoted(machine())
        << ", \"compiler\": " << group::quoted(compiler()) << ", \"groups\": [";
    for (const char* separator = "\n"; const group& g : groups_) g.write_json(out << std::exchange(separator, ",\n"));
    out << "\n  ]}\n";
    if (!out.flush()) throw std::runtime_error("cannot write " + json_);
  }

  std::string name_, json_, filter_;
  bool quick_ = false, list_ = false;
  std::deque<group> groups_;
};

}  // namespace bench
