// SPDX-License-Identifier: MIT
#pragma once
// Text about a task from its snapshot (task_snapshot.hpp): its name, what it does, what it waits for. Each text is one
// line, even if a name or a message has line breaks. Every function here may throw std::bad_alloc.

#include <dyngen/detail/task/task_record.hpp>
#include <dyngen/detail/task/task_snapshot.hpp>
#include <dyngen/error.hpp>

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

namespace dyngen::detail {

/// Escapes control characters as in a string literal, so that the text is one line.
inline std::string in_one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      line += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      constexpr char digits[] = "0123456789abcdef";
      line += "\\x";
      line += digits[byte >> 4];
      line += digits[byte & 15];
    } else {
      line += c;
    }
  }
  return line;
}

inline std::string in_quotes(std::string_view name) { return "'" + in_one_line(name) + "'"; }

inline std::string counted(std::uint64_t n, const char* one, const char* many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

/// For example `task #7 'split'`.
inline std::string called(shared_state& p) {
  std::string text = p.noun();
  text += " #" + std::to_string(p.id());
  if (const std::string_view name = p.name(); !name.empty()) text += " " + in_quotes(name);
  return text;
}

inline std::string words_for(const task_snapshot::awaited_item& t) {
  if (t.value == wait_point::the_end) return called(*t.from);
  if (t.value == wait_point::the_next) return "the next value of " + called(*t.from);
  return "value " + std::to_string(t.value) + " of " + called(*t.from);
}

/// Lists the recorded items: `words(item)` for each.
template <class Words>
std::string list_of(const task_snapshot& o, Words words) {
  std::string text;
  for (unsigned i = 0; i < o.count && i < task_snapshot::most; ++i) {
    if (i != 0) text += ", ";
    text += words(o.awaited_items[i]);
  }
  if (o.count > task_snapshot::most) text += " and " + counted(o.count - task_snapshot::most, "other", "others");
  return text;
}

inline std::string awaited_words(const task_snapshot& o) {
  if (o.count == 0 || o.needed <= 0) return "something that has just become ready";
  const std::string all = list_of(o, words_for);
  return o.needed < o.count ? std::to_string(o.needed) + " of " + all : all;
}

inline std::string backpressure_words(const task_snapshot& o) {
  if (o.budget_limit != 0)
    return ", its budget is used up (" + std::to_string(o.budget_used) + " of " + std::to_string(o.budget_limit) + ")";
  return o.is_stream ? ", " + counted(o.untaken, "value waits", "values wait") + " to be consumed" : std::string();
}

inline std::string state_words(const task_snapshot& o, bool with_turn);

/// Why a call that is queued at its actor does not run.
inline std::string turn_words(const task_snapshot& o) {
  using before_it = task_snapshot::before_it;
  std::string text = " for its turn at " + (o.actor.empty() ? std::string("its actor") : "actor " + in_quotes(o.actor));
  if (o.reason == before_it::nothing) return text;
  const std::string others = list_of(o, [](const task_snapshot::awaited_item& t) {
    task_snapshot its;
    t.from.get()->observe(its);
    return called(*t.from) + " (" + state_words(its, false) + ")";
  });
  switch (o.reason) {
    case before_it::nothing:
      break;
    case before_it::has_the_turn:
      return text + ", which " + others + " has";
    case before_it::is_in_progress:
      return text + ", where " + others + (o.count == 1 ? " is" : " are") + " in progress";
    case before_it::comes_first:
      return text + ", after " + others;
  }
  return text;
}

/// What a task that has not ended does. `with_turn`: also says why a call that is queued at its actor does not run.
inline std::string state_words(const task_snapshot& o, bool with_turn) {
  switch (state_word::phase_of(o.word)) {
    case phase::waiting:
      return o.is_actor ? "ends when its last handle is gone" : "waiting for " + awaited_words(o);
    case phase::queued:
      return (o.word & state_word::waiting_for_turn) != 0 && with_turn ? "queued" + turn_words(o) : "queued";
    case phase::running:
      if (o.helps) return "running, waits while its thread runs " + words_for(o.awaited_items[0]);
      return o.blocks ? "running, blocked until it has " + awaited_words(o) : "running";
    case phase::parked:
      if (o.awaits) return "awaiting " + awaited_words(o);
      return "suspended by backpressure" + backpressure_words(o);
    case phase::kept:
      return "suspended until its consumer asks for a value";
    case phase::ended:
      break;
  }
  return "ending";
}

/// How a task has ended, or whether a promise or value is ready.
inline std::string end_words(shared_state& p, const task_snapshot& o) {
  const std::exception_ptr& failure = p.failure();
  if (!failure) return o.is_task ? "completed" : "ready";
  try {
    std::rethrow_exception(failure);
  } catch (const cancelled_error& e) {
    if ((o.word & state_word::cancelled) != 0) return "cancelled";
    return std::string("failed: ") + in_one_line(e.what());
  } catch (const std::exception& e) {
    return std::string("failed: ") + in_one_line(e.what());
  } catch (...) {
    return "failed: an exception that is not a std::exception";
  }
}

/// For example `task #7 'split', attempt 1: waiting for value 2 of task #5 'load'`.
inline std::string description_of(shared_state& p) {
  task_snapshot o;
  p.observe(o);
  std::string text = called(p);
  if (o.is_actor && !o.actor.empty()) text += " " + in_quotes(o.actor);
  if (o.is_task && !o.is_actor) text += ", attempt " + std::to_string(o.attempt);
  text += ": ";
  if (p.completed())
    text += end_words(p, o);
  else if (!o.is_task)
    text += "not fulfilled";
  else
    text += state_words(o, true);
  if (o.is_task && !p.completed() && (o.word & state_word::cancelled) != 0) text += ", asked to stop";
  const bool said = state_word::phase_of(o.word) == phase::parked && !o.awaits && o.budget_limit == 0;
  if (o.is_stream && o.untaken != 0 && (p.completed() || !said))
    text += "; " + counted(o.untaken, "value waits", "values wait") + " to be consumed";
  return text;
}

}  // namespace dyngen::detail
