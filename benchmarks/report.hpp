// SPDX-License-Identifier: MIT
#pragma once
// The results of the harness, and two ways to write them: as text and as JSON. page.hpp has a third one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <stdlib.h>

namespace bench {

/// A goal, and whether it was reached.
struct verdict {
  std::string text;  // "at most 0.5 x mutex and condition variable"
  double reached;
  bool met;
  bool binding;  // missing it is an error; never for times, which depend on the load of the machine
};

/// One entry's results. Times (or bytes) are per operation; ratios are to the baseline's run of the same round.
struct row {
  std::string name;
  std::uint64_t operations;
  double median, minimum, spread;       // spread: the middle half of the rounds, in per cent of the median
  double ratio, ratio_low, ratio_high;  // median and quartiles
  double tail;  // 99th percentile within a round, median over the rounds; negative: not measured
  std::vector<verdict> verdicts;
  std::vector<double> samples;
};

/// One group's results.
struct table {
  std::string title, unit, baseline;
  std::vector<row> rows;

  bool has_tail() const {
    return std::ranges::any_of(rows, [](const row& r) { return r.tail >= 0; });
  }
};

/// The data needed to repeat a run.
struct circumstances {
  std::string program;
  bool quick;
  std::size_t rounds;

  static std::string machine() {
    std::string model = "unknown processor";
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);)
      if (line.starts_with("model name")) model = line.substr(line.find(':') + 2);
    return model + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores";
  }

  /// The load average of the last minute: much more than 1 before a run means that the run is disturbed.
  static std::string load() {
    double average = 0;
    char text[32];
    if (getloadavg(&average, 1) != 1) return "unknown";
    std::snprintf(text, sizeof text, "%.1f", average);
    return text;
  }

  static std::string compiler() {
    const std::string version = __VERSION__;  // names itself only if it is clang
#if !defined(__OPTIMIZE__)
    return version + ", NOT OPTIMISED";
#endif
    return version.find("lang") == std::string::npos ? "g++ " + version : version;
  }
};

/// With a sensible number of digits.
inline std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", value >= 100 ? 0 : value >= 0.1 || value <= 0 ? 2 : 4, value);
  return text;
}

inline void print(const table& t) {
  std::printf("\n%-70s %13s %10s %9s %8s", t.title.c_str(), ("median " + t.unit).c_str(), "min", "ratio", "spread");
  std::puts(t.has_tail() ? "       99%" : "");
  for (const row& r : t.rows) {
    std::printf("  %-68s %13s %10s %9s %7.0f%%", r.name.c_str(), shown(r.median).c_str(), shown(r.minimum).c_str(),
                shown(r.ratio).c_str(), r.spread);
    if (r.tail >= 0) std::printf("%10s", shown(r.tail).c_str());
    std::puts(r.name == t.baseline ? "  (baseline)" : "");
    for (const verdict& v : r.verdicts)
      std::printf("      goal: %s: %s, %s\n", v.text.c_str(), shown(v.reached).c_str(), v.met ? "reached" : "MISSED");
  }
  std::fflush(stdout);
}

inline std::string quoted(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return '"' + result + '"';
}

inline void write_json(std::ostream& out, const table& t) {
  out << "    {\"title\": " << quoted(t.title) << ", \"unit\": " << quoted(t.unit)
      << ", \"baseline\": " << quoted(t.baseline) << ", \"entries\": [";
  for (const char* separator = "\n"; const row& r : t.rows) {
    out << std::exchange(separator, ",\n") << "      {\"name\": " << quoted(r.name)
        << ", \"operations\": " << r.operations << ", \"median\": " << r.median << ", \"min\": " << r.minimum
        << ", \"ratio\": " << r.ratio << ", \"ratio_quartiles\": [" << r.ratio_low << ", " << r.ratio_high
        << "], \"spread_percent\": " << r.spread;
    if (r.tail >= 0) out << ", \"percentile_99\": " << r.tail;
    out << ", \"goals\": [";
    for (const char* comma = ""; const verdict& v : r.verdicts)
      out << std::exchange(comma, ", ") << "{\"goal\": " << quoted(v.text) << ", \"reached\": " << v.reached
          << ", \"met\": " << v.met << "}";
    out << "], \"samples\": [";
    for (const char* comma = ""; const double sample : r.samples) out << std::exchange(comma, ", ") << sample;
    out << "]}";
  }
  out << "\n    ]}";
}

inline void write_json(std::ostream& out, const circumstances& c, const std::vector<table>& tables) {
  out << std::boolalpha << "{\"program\": " << quoted(c.program) << ", \"quick\": " << c.quick
      << ", \"rounds\": " << c.rounds << ", \"machine\": " << quoted(c.machine())
      << ", \"compiler\": " << quoted(c.compiler()) << ", \"groups\": [";
  for (const char* separator = "\n"; const table& t : tables) write_json(out << std::exchange(separator, ",\n"), t);
  out << "\n  ]}\n";
}

}  // namespace bench
