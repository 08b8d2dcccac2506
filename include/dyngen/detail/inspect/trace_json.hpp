// SPDX-License-Identifier: MIT
#pragma once
// Writes a trace as JSON, in Chrome's trace-event format: complete events ("X") for stretches, instants ("i") for all
// other events, metadata ("M") for the names of rows. Times are microseconds since the trace began.

#include <dyngen/detail/inspect/trace_log.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace dyngen::detail {

/// Returns the length in bytes of the UTF-8 character at position `at`; 0 if there is no valid one.
inline std::size_t utf8_length(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                             : (first & 0xf0) == 0xe0         ? 3
                             : first >= 0xf0 && first <= 0xf4 ? 4
                                                              : 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  const unsigned second = byte(1);
  const bool too_long = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool no_character = (first == 0xed && second >= 0xa0) || (first == 0xf4 && second >= 0x90);
  return too_long || no_character ? 0 : length;
}

/// Appends `text` as a JSON string in valid UTF-8: each byte that belongs to no valid character becomes U+FFFD.
inline void append_json(std::string& to, std::string_view text) {
  to += '"';
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text, at);
    const char c = text[at];
    if (length == 0) {
      to += "\\ufffd";
    } else if (length == 1 && static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      to += escaped;
    } else {
      if (c == '"' || c == '\\') to += '\\';
      to += text.substr(at, length);
    }
    at += std::max<std::size_t>(length, 1);
  }
  to += '"';
}

/// Appends nanoseconds as microseconds.
inline void append_time(std::string& to, std::int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%lld.%03d", static_cast<long long>(ns / 1000), static_cast<int>(ns % 1000));
  to += text;
}

inline void append_row(std::string& to, const trace_row& row, std::size_t number) {
  std::string name = row.name.empty() ? "waiting thread " + std::to_string(number) : row.name;
  // relaxed: an independent number.
  if (const std::uint64_t dropped = row.dropped.load(relaxed); dropped != 0)
    name += " (" + std::to_string(dropped) + " events dropped)";
  const std::string id = std::to_string(number);
  to += ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":" + id + ",\"name\":\"thread_name\",\"args\":{\"name\":";
  append_json(to, name);
  to += "}},\n{\"ph\":\"M\",\"pid\":1,\"tid\":" + id +
        ",\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":" + id + "}}";
}

inline void append_event(std::string& to, const trace_event& e, std::size_t row, std::int64_t now) {
  static constexpr const char* names[] = {"", "park", "backpressure", "await", "cancelled", "error"};
  const bool is_stretch = e.kind == trace_kind::stretch;
  to += is_stretch ? ",\n{\"ph\":\"X\",\"cat\":\"task\",\"pid\":1,\"tid\":"
                   : ",\n{\"ph\":\"i\",\"s\":\"t\",\"cat\":\"event\",\"pid\":1,\"tid\":";
  to += std::to_string(row) + ",\"ts\":";
  append_time(to, e.at);
  // relaxed: an independent number. A stretch that ended after `now` is written as still running.
  const std::int64_t until = is_stretch ? e.until.load(relaxed) : 0;
  const bool runs = is_stretch && (until == 0 || until > now);
  if (is_stretch) {
    to += ",\"dur\":";
    append_time(to, (runs ? now : until) - e.at);
  }
  to += ",\"name\":";
  if (!is_stretch)
    append_json(to, names[static_cast<unsigned>(e.kind)]);
  else
    append_json(to, e.text != nullptr ? *e.text : "#" + std::to_string(e.task));
  to += ",\"args\":{";
  if (e.task != 0) to += "\"task\":" + std::to_string(e.task) + ",\"attempt\":" + std::to_string(e.attempt);
  if (runs) to += ",\"still_running\":true";
  // relaxed: an independent number.
  if (const std::uint32_t n = e.stretches.load(relaxed); n != 1) to += ",\"stretches\":" + std::to_string(n);
  if (e.kind == trace_kind::error) {
    to += e.task != 0 ? ",\"what\":" : "\"what\":";
    append_json(to, e.text != nullptr ? *e.text : std::string());
  }
  to += "}}";
}

/// Writes the whole trace: calls `out(const std::string&)` for each part of about 64 KiB.
template <class Out>
void write_trace(const trace_log& log, Out out) {
  std::vector<const trace_row*> rows;
  for (const trace_row* r = log.rows(); r != nullptr; r = r->next) rows.push_back(r);
  std::reverse(rows.begin(), rows.end());  // the oldest first

  std::string part =
      "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"recorder\":\"dyngen\",\"dropped_events\":" +
      std::to_string(log.dropped()) +
      "},\"traceEvents\":[\n{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"dyngen\"}}";
  for (std::size_t number = 0; number < rows.size(); ++number) {
    const trace_row& row = *rows[number];
    append_row(part, row, number + 1);
    std::uint64_t left = row.count.load(acquire);  // [R1]
    const std::int64_t now = log.now();
    for (const trace_chunk* c = left != 0 ? row.first : nullptr; left != 0; c = c->next) {
      const auto here = static_cast<std::uint32_t>(std::min<std::uint64_t>(left, c->capacity));
      for (std::uint32_t i = 0; i < here; ++i) {
        append_event(part, c->events[i], number + 1, now);
        if (part.size() < (std::size_t{1} << 16)) continue;
        out(part);
        part.clear();
      }
      left -= here;
      if (left == 0) break;
    }
  }
  part += "\n]}\n";
  out(part);
}

}  // namespace dyngen::detail
