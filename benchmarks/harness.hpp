// SPDX-License-Identifier: MIT
#pragma once
// The harness that the benchmarks share. A suite holds groups; a group holds entries that do the same job, one of
// which is the baseline. Every round runs each entry once, and each round begins with another one, so that other
// load of the machine affects all of them equally. Every run returns a checksum that must be right. Reported: median
// and minimum over the rounds, the median of the ratios to the baseline's run of the same round, and the spread (the
// middle half of the runs, in per cent of the median). Absolute times mean little elsewhere, ratios more.

#include "page.hpp"
#include "report.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
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

inline double quantile(std::vector<double> values, double which) {
  std::ranges::sort(values);
  const double place = which * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const auto above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

/// The result of one run: its checksum and, if the entry measures something itself, the sum of that.
struct outcome {
  outcome(std::uint64_t sum, double measured = -1) : checksum(sum), amount(measured) {}

  /// For operations that were timed one by one: the median is the result per operation, with the 99th percentile.
  outcome(std::uint64_t sum, const std::vector<double>& each)
      : checksum(sum), amount(quantile(each, 0.5) * static_cast<double>(each.size())), tail(quantile(each, 0.99)) {}

  std::uint64_t checksum;
  double amount;     // negative: the harness's clock decides, in nanoseconds
  double tail = -1;  // per operation; negative: unknown
};

using runner = std::function<outcome(std::uint64_t)>;  // does that many operations

/// The goal of an entry.
struct goal {
  double limit;
  std::string than;  // an entry: the limit is a ratio to it; empty: the limit is in units
  bool binding;
};

/// In the group's unit; the program fails if it is more. For values that do not depend on the load of the machine.
inline goal must_not_exceed(double units) { return {units, "", true}; }
/// In the group's unit; only reported.
inline goal at_most(double units) { return {units, "", false}; }
/// A goal as a ratio to the named entry of the same group: reported, never enforced, and only if that entry took part.
inline goal at_most(double ratio, std::string than) { return {ratio, std::move(than), false}; }

/// How an entry runs, if not like the others. Results are still per operation.
struct how {
  std::uint64_t divisor = 1;     // a slow entry does this many times fewer operations
  std::uint64_t operations = 0;  // or exactly this many
  std::uint64_t repeat = 1;      // this many runs make one sample, if one run is too short for the clock
  std::vector<goal> goals = {};
};

class group {
 public:
  /// `expected` gives the right checksum for a number of operations; it is computed outside the measured time.
  group(std::string title, std::string unit, std::string baseline, std::uint64_t operations,
        std::function<std::uint64_t(std::uint64_t)> expected)
      : title_(std::move(title)),
        unit_(std::move(unit)),
        baseline_(std::move(baseline)),
        operations_(operations),
        expected_(std::move(expected)) {}

  void add(std::string name, runner run, how h = {}) {
    const std::uint64_t operations = h.operations != 0 ? h.operations : operations_ / h.divisor;
    entries_.push_back({std::move(name), std::move(run), operations, h.repeat, std::move(h.goals), {}, {}});
  }

  /// Leaves only what contains `text` in "group: entry", and the baseline to compare it with.
  void keep_only(const std::string& text) {
    const auto matches = [&](const auto& c) { return (title_ + ": " + c.name).find(text) != std::string::npos; };
    if (std::ranges::none_of(entries_, matches)) entries_.clear();
    std::erase_if(entries_, [&](const entry& c) { return !matches(c) && c.name != baseline_; });
  }

  std::size_t size() const { return entries_.size(); }

  void list() const {
    for (const entry& c : entries_) std::printf("%s: %s\n", title_.c_str(), c.name.c_str());
  }

  /// Calls `progress` with the name of the next step, size() times for each round and once more for the warm-up round.
  template <class Progress>
  table measure(std::size_t rounds, Progress progress) {
    if (std::ranges::find(entries_, baseline_, &entry::name) == entries_.end())
      throw std::logic_error(title_ + ": there is no entry called " + baseline_);
    std::map<std::uint64_t, std::uint64_t> expected;  // by the number of operations
    for (const entry& c : entries_)
      if (!expected.contains(c.operations)) expected[c.operations] = expected_(c.operations);
    for (std::size_t round = 0; round <= rounds; ++round)
      for (std::size_t i = 0; i < entries_.size(); ++i) {
        const std::size_t which = (round + i) % entries_.size();
        progress(title_ + ": " + entries_[which].name);
        run_once(entries_[which], expected[entries_[which].operations], round > 0);
      }
    return results();
  }

 private:
  struct entry {
    std::string name;
    runner run;
    std::uint64_t operations, repeat;
    std::vector<goal> goals;
    std::vector<double> samples;  // per operation, one for each round
    std::vector<double> tails;
  };

  void run_once(entry& c, std::uint64_t expected, bool counts) const {
    double amount = 0;
    double tail = -1;
    for (std::uint64_t i = 0; i < c.repeat; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      const outcome result = c.run(opaque(c.operations));
      const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - begin;
      if (result.checksum != expected)
        throw std::runtime_error(title_ + ": " + c.name + ": wrong result " + std::to_string(result.checksum) +
                                 ", expected " + std::to_string(expected));
      amount += result.amount >= 0 ? result.amount : time.count();
      tail = std::max(tail, result.tail);
    }
    if (!counts) return;
    c.samples.push_back(amount / static_cast<double>(c.operations * c.repeat));
    if (tail >= 0) c.tails.push_back(tail);
  }

  table results() const {
    table t{title_, unit_, baseline_, {}};
    for (const entry& c : entries_) {
      const double median = quantile(c.samples, 0.5);
      const std::vector<double> to_baseline = ratios(c, baseline_);
      t.rows.push_back(
          {.name = c.name,
           .operations = c.operations,
           .median = median,
           .minimum = quantile(c.samples, 0),
           .spread = 100 * (quantile(c.samples, 0.75) - quantile(c.samples, 0.25)) / std::max(median, 1e-9),
           .ratio = quantile(to_baseline, 0.5),
           .ratio_low = quantile(to_baseline, 0.25),
           .ratio_high = quantile(to_baseline, 0.75),
           .tail = c.tails.empty() ? -1 : quantile(c.tails, 0.5),
           .verdicts = verdicts(c),
           .samples = c.samples});
    }
    return t;
  }

  std::vector<double> ratios(const entry& c, const std::string& than) const {
    const auto base = std::ranges::find(entries_, than, &entry::name);
    if (base == entries_.end()) return {};
    std::vector<double> result = c.samples;
    for (std::size_t i = 0; i < result.size(); ++i) result[i] /= std::max(base->samples[i], 1e-9);
    return result;
  }

  std::vector<verdict> verdicts(const entry& c) const {
    std::vector<verdict> result;
    for (const goal& g : c.goals) {
      const std::vector<double> reached = g.than.empty() ? c.samples : ratios(c, g.than);
      if (reached.empty()) continue;
      char limit[32];
      std::snprintf(limit, sizeof limit, "at most %.4g ", g.limit);
      const double median = quantile(reached, 0.5);
      result.push_back({limit + (g.than.empty() ? unit_ : "x " + g.than), median, median <= g.limit, g.binding});
    }
    return result;
  }

  std::string title_, unit_, baseline_;
  std::uint64_t operations_;
  std::function<std::uint64_t(std::uint64_t)> expected_;
  std::vector<entry> entries_;
};

/// One line on a terminal that overwrites itself; nothing where standard error is no terminal.
class progress_bar {
 public:
  explicit progress_bar(std::size_t steps) : steps_(steps) {}
  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;
  ~progress_bar() { clear(); }

  void clear() const {
    if (on_terminal_) std::fprintf(stderr, "\r\033[K");
  }

  /// One step is done, and `what` is the name of the next one.
  void next(const std::string& what) {
    constexpr std::size_t width = 20;
    const std::size_t done = done_++;
    if (!on_terminal_) return;
    const std::string bar = std::string(width * done / steps_, '#') + std::string(width - width * done / steps_, '.');
    std::fprintf(stderr, "\r\033[K[%s] %3zu%% %.50s", bar.c_str(), 100 * done / steps_, what.c_str());
  }

 private:
  const bool on_terminal_ = isatty(STDERR_FILENO) != 0;
  const std::size_t steps_;
  std::size_t done_ = 0;
};

/// One program: reads the command line, runs the groups one after the other, reports, and returns whether all results
/// were right.
class suite {
 public:
  /// `numbers`: further options that take a number, each with its default.
  suite(std::string name, int argc, char** argv, std::map<std::string, std::uint64_t> numbers = {})
      : name_(std::move(name)), numbers_(std::move(numbers)) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const std::map<std::string, bool*> flags = {{"--quick", &quick_}, {"--list", &list_}};
    const std::map<std::string, std::string*> texts = {{"--json", &json_}, {"--html", &html_}, {"--filter", &filter_}};
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const std::string& option = arguments[i];
      if (flags.contains(option))
        *flags.at(option) = true;
      else if (i + 1 == arguments.size())
        usage();
      else if (texts.contains(option))
        *texts.at(option) = arguments[++i];
      else if (numbers_.contains(option))
        numbers_.at(option) = positive(arguments[++i]);
      else
        usage();
    }
  }

  /// How many operations: the first in a full run, the second under --quick.
  std::uint64_t pick(std::uint64_t full, std::uint64_t quick) const { return quick_ ? quick : full; }

  std::uint64_t number(const std::string& option) const { return numbers_.at(option); }

  group& add(group g) { return groups_.emplace_back(std::move(g)); }

  /// What main returns: 0 if every result was right and every binding goal was met, 1 otherwise, 2 if nothing was to be run.
  int run() try {
    for (group& g : groups_) g.keep_only(filter_);
    std::erase_if(groups_, [](const group& g) { return g.size() == 0; });
    if (groups_.empty()) return std::fprintf(stderr, "%s: nothing is called %s\n", name_.c_str(), filter_.c_str()), 2;
    if (list_) return std::ranges::for_each(groups_, &group::list), 0;
    const circumstances c{name_, quick_, quick_ ? 7u : 11u};
    std::printf("%s%s, %zu rounds; ", name_.c_str(), quick_ ? " --quick" : "", c.rounds);
    std::printf("%s; %s; load before: %s\n", c.machine().c_str(), c.compiler().c_str(), c.load().c_str());
    const std::vector<table> tables = measure(c.rounds);
    write(json_, [&](std::ostream& out) { write_json(out, c, tables); });
    write(html_, [&](std::ostream& out) { write_page(out, c, tables); });
    return std::ranges::any_of(tables, fails) ? 1 : 0;
  } catch (const std::exception& e) {
    return std::fprintf(stderr, "\n%s: FAILED: %s\n", name_.c_str(), e.what()), 1;
  }

 private:
  std::vector<table> measure(std::size_t rounds) {
    std::size_t steps = 0;
    for (const group& g : groups_) steps += g.size() * (rounds + 1);
    progress_bar bar(steps);
    std::vector<table> tables;
    for (group& g : groups_) {
      tables.push_back(g.measure(rounds, [&](const std::string& what) { bar.next(what); }));
      bar.clear();
      print(tables.back());
    }
    return tables;
  }

  static bool fails(const table& t) {
    return std::ranges::any_of(t.rows, [](const row& r) {
      return std::ranges::any_of(r.verdicts, [](const verdict& v) { return v.binding && !v.met; });
    });
  }

  template <class Write>
  static void write(const std::string& file, Write to) {
    if (file.empty()) return;
    std::ofstream out(file);
    to(out);
    if (!out.flush()) throw std::runtime_error("cannot write " + file);
  }

  std::uint64_t positive(const std::string& text) const {
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(text.c_str(), &end, 10);
    if (value == 0 || *end != '\0' || text.front() == '-') usage();
    return value;
  }

  [[noreturn]] void usage() const {
    std::fprintf(stderr, "usage: %s [--quick] [--list] [--filter TEXT] [--json FILE] [--html FILE]", name_.c_str());
    for (const auto& [option, number] : numbers_) std::fprintf(stderr, " [%s NUMBER]", option.c_str());
    std::fprintf(stderr, "\n");
    std::exit(2);
  }

  std::string name_, json_, html_, filter_;
  std::map<std::string, std::uint64_t> numbers_;
  bool quick_ = false, list_ = false;
  std::deque<group> groups_;
};

}  // namespace bench
