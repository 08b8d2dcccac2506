// SPDX-License-Identifier: MIT
#pragma once
// A run as one self-contained page: no script, nothing from the network, readable in light and dark. A bar begins at
// the baseline, 1, on a logarithmic scale: to the left is cheaper, to the right more expensive. The thin line across
// its end is the middle half of the rounds.

#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

namespace bench {

class page {
 public:
  page(std::ostream& out, const circumstances& c) : out_(out) {
    const std::string title = "dyngen: " + c.program + (c.quick ? " --quick" : "");
    out_ << R"(<!doctype html><html lang="en"><head><meta charset="utf-8"><title>)" << title << "</title>"
         << R"(<meta name="viewport" content="width=device-width, initial-scale=1">)"
         << "\n<style>" << style << "</style></head>\n<body><h1>" << title << "</h1>\n<p>" << text(c.machine()) << "; "
         << text(c.compiler()) << "; " << c.rounds << " rounds, in which each entry runs once.</p>\n"
         << legend << '\n';
  }
  page(const page&) = delete;
  page& operator=(const page&) = delete;
  ~page() { out_ << "</body></html>\n"; }

  void add(const table& t) {
    fit(t);
    out_ << "<h2>" << text(t.title) << "</h2>\n<div><table><tr><th></th><th class=\"chart\">" << axis() << "</th>"
         << "<th>ratio</th><th>median, " << text(t.unit) << "</th><th>spread</th>";
    if (t.has_tail()) out_ << "<th>99 %</th>";
    for (const row& r : t.rows) {
      out_ << "</tr>\n<tr" << (r.name.starts_with("dyngen") ? " class=\"own\"" : "") << "><td>" << text(r.name)
           << (r.name == t.baseline ? " <i>(baseline)</i>" : "") << goals(r) << "</td><td class=\"chart\">" << bar(r);
      for (const std::string& value : {shown(r.ratio), shown(r.median), std::to_string(std::lround(r.spread)) + " %"})
        out_ << "</td><td>" << value;
      if (t.has_tail()) out_ << "</td><td>" << (r.tail < 0 ? "" : shown(r.tail));
      out_ << "</td>";
    }
    out_ << "</tr></table></div>\n";
  }

 private:
  static constexpr double smallest = 1e-3;  // a ratio of 0 has no place on the scale
  static constexpr const char* legend =
      R"(<p class="note">A bar is the median of the ratios to the baseline, on a logarithmic scale: to the left of 1
is cheaper, to the right dearer; the thin line is the middle half of the rounds. Spread: the middle half of the rounds,
in per cent of the median.</p>)";
  static constexpr const char* style = R"(
:root { color-scheme: light dark; --page: #fcfcfb; --ink: #0b0b0b; --quiet: #6b6a66; --line: #dddcd5;
        --cheaper: #2a78d6; --dearer: #eb6834; --good: #0a7a3b; --bad: #c0392b; }
@media (prefers-color-scheme: dark) {
  :root { --page: #1a1a19; --ink: #f2f2ef; --quiet: #a3a29c; --line: #3a3a37; --cheaper: #4f98ee; --dearer: #e2733f;
          --good: #4cc38a; --bad: #ff8a7a; } }
body { background: var(--page); color: var(--ink); font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto;
       max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .3rem; } p { margin: .3rem 0; }
div { overflow-x: auto; } table { border-collapse: collapse; width: 100%; min-width: 56rem; }
th, td { padding: .2rem .6rem; text-align: right; vertical-align: top; white-space: nowrap;
         font-variant-numeric: tabular-nums; }
th { color: var(--quiet); font-weight: 500; } tr + tr td { border-top: 1px solid var(--line); }
td:first-child { text-align: left; white-space: normal; width: 29rem; padding-left: 0; }
.own td:first-child { font-weight: 600; } i, small, .note { color: var(--quiet); font-weight: 400; }
small { display: block; } .met { color: var(--good); } .missed { color: var(--bad); }
.chart { width: 22rem; padding-left: 1.5rem; padding-right: 1.5rem; }
svg { display: block; width: 100%; height: 20px; overflow: visible; }
text { fill: var(--quiet); font-size: 12px; text-anchor: middle; }
.tick { stroke: var(--line); } .one { stroke: var(--quiet); } .rounds { stroke: var(--ink); stroke-width: 1.5; }
.cheaper { fill: var(--cheaper); } .dearer { fill: var(--dearer); }
)";

  static std::string text(const std::string& plain) {
    std::string result;
    for (const char c : plain) result += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
    return result;
  }

  static double scaled(double ratio) { return std::log10(std::max(ratio, smallest)); }

  /// Sets the scale so that the whole table fits, and its ticks: 1, 2, 5 for few decades, powers of ten for many.
  void fit(const table& t) {
    low_ = scaled(0.5);
    high_ = scaled(2);
    for (const row& r : t.rows) {
      low_ = std::min(low_, scaled(r.ratio_low));
      high_ = std::max(high_, scaled(r.ratio_high));
    }
    ticks_.clear();
    for (double decade = std::floor(low_); decade <= high_; ++decade)
      for (const double step : {1.0, 2.0, 5.0}) {
        const double at = decade + std::log10(step);
        if (at >= low_ && at <= high_ && (step == 1 || high_ - low_ < 2)) ticks_.push_back(at);
      }
  }

  std::string percent(double from, double to) const { return shown(std::max(0.0, 100 * (to - from) / (high_ - low_))); }
  std::string place(double at) const { return percent(low_, at); }

  std::string line(const std::string& kind, double from, double to, const std::string& vertical) const {
    return "<line class=\"" + kind + "\" x1=\"" + place(from) + "%\" x2=\"" + place(to) + "%\" " + vertical + "/>";
  }

  std::string axis() const {
    std::string result = "<svg>";
    for (const double tick : ticks_) {
      std::ostringstream label;
      label << std::pow(10, tick);
      result += "<text x=\"" + place(tick) + "%\" y=\"15\">" + label.str() + "</text>";
    }
    return result + "</svg>";
  }

  std::string bar(const row& r) const {
    const double at = scaled(r.ratio);
    const std::string whole_row = R"(y1="-3" y2=")" + std::to_string(23 + 18 * r.verdicts.size()) + '"';
    std::string result = "<svg role=\"img\"><title>" + text(r.name) + ": " + shown(r.ratio) + ", half of the rounds " +
                         shown(r.ratio_low) + " to " + shown(r.ratio_high) + "</title>";
    for (const double tick : ticks_) result += line("tick", tick, tick, whole_row);
    result += std::string("<rect class=\"") + (at < 0 ? "cheaper" : "dearer") + "\" x=\"" + place(std::min(at, 0.0)) +
              "%\" width=\"" + percent(std::min(at, 0.0), std::max(at, 0.0)) + R"(%" y="4" height="12"/>)";
    return result + line("one", 0, 0, whole_row) +
           line("rounds", scaled(r.ratio_low), scaled(r.ratio_high), R"(y1="10" y2="10")") + "</svg>";
  }

  static std::string goals(const row& r) {
    std::string result;
    for (const verdict& v : r.verdicts)
      result += "<small>" + text(v.text) + ": " + shown(v.reached) + (v.met ? good : bad) + "</span></small>";
    return result;
  }
  static constexpr const char* good = " <span class=\"met\">✓ reached";
  static constexpr const char* bad = " <span class=\"missed\">✗ missed";

  std::ostream& out_;
  double low_ = 0, high_ = 0;
  std::vector<double> ticks_;
};

inline void write_page(std::ostream& out, const circumstances& c, const std::vector<table>& tables) {
  page p(out, c);
  for (const table& t : tables) p.add(t);
}

}  // namespace bench
