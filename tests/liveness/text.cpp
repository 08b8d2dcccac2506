// SPDX-License-Identifier: MIT
// A program as text.

#include "program.hpp"

#include <sstream>

namespace liveness {

namespace {

const char* name_of(kind k) {
  constexpr const char* names[] = {"thread", "function", "coroutine", "generator", "method", "coroutine method", "generator method"};
  return names[static_cast<unsigned>(k)];
}
const char* name_of(deed d) {
  constexpr const char* names[] = {"begin with", "mark", "await", "submit", "take", "drain", "leave", "move", "offer", "accept",
                                   "drop", "detach", "cancel", "victim", "yield", "join", "look", "finish"};
  return names[static_cast<unsigned>(d)];
}
const char* name_of(tail t) {
  constexpr const char* names[] = {"ends", "yields for ever", "waits for ever", "relays an endless stream"};
  return names[static_cast<unsigned>(t)];
}

bool takes_stream(deed d) {
  return d == deed::begin || d == deed::take || d == deed::drain || (d >= deed::move && d <= deed::cancel);
}

void write(std::ostream& out, const operation& o) {
  out << '#' << o.event << ' ' << name_of(o.what);
  if (o.what == deed::take || o.what == deed::yield) out << ' ' << o.count;
  if (takes_stream(o.what)) out << (o.what == deed::take ? " from s" : " s") << o.target;
  if (o.what == deed::await) out << " #" << o.target;
  if (o.what == deed::submit || o.what == deed::join) out << ' ' << o.target;
  if (o.what == deed::submit && o.other != none) out << " with s" << o.other;
  if (o.how != way::nothing) out << " by " << name_of(o.how);
  if (o.seen) out << ", giving room";
}

}  // namespace

const char* name_of(way w) {
  constexpr const char* names[] = {
      "flag", "latch", "condition", "spin", "sleep", "get", "get_for", "wait_for", "wait_any", "wait_list", "dependent", "resubmit",
      "co_get", "co_when_any", "co_when_all", "co_yielding", "co_dependent", "co_resubmit", "next", "next_kept", "next_value",
      "values", "values_kept", "range", "next_for", "any_then_next", "try_next", "async_next", "async_kept", "async_value",
      "try_yielding", "when_any_then_next", "nothing"};
  return names[static_cast<unsigned>(w)];
}

std::string text_of(const program& p, const std::vector<index>* at, const std::vector<bool>* done) {
  std::ostringstream out;
  out << "program " << p.seed << ": " << p.pools << " pool(s) of " << p.threads << ", waiters_help " << p.helps
      << ", max_spare_threads " << p.spares << ", " << p.sitters << " sitter(s), closing " << p.closing << '\n';
  for (index i = 0; i < p.strands.size(); ++i) {
    const strand_plan& s = p.strands[i];
    out << "strand " << i << ", " << name_of(s.what);
    if (s.what != kind::thread) out << ", pool " << s.pool;
    if (s.actor != none) out << ", actor " << s.actor;
    if (s.stream != none) {
      const stream_plan& made = p.streams[s.stream];
      out << ", makes s" << s.stream;
      if (made.fixed) out << ", num_returns";
      else if (made.budgeted) out << ", budget " << p.budget;
      else if (made.room == 0) out << ", unbounded";
      else out << ", room " << made.room;
      out << ", cost " << made.cost << (made.heavy ? ", heavy" : "") << ", then " << name_of(s.then);
    }
    if (s.throws_at != none) out << ", throws once before operation " << s.throws_at;
    out << '\n';
    for (index j = 0; j < s.operations.size(); ++j) {
      const operation& o = s.operations[j];
      if (at != nullptr) out << ((*at)[i] == j ? " >" : "  ");
      if (done != nullptr) out << ((*done)[o.event] ? "  " : " -");
      out << "  ";
      write(out, o);
      if (done != nullptr && o.what == deed::await && (*done)[o.target]) out << " (done)";
      out << '\n';
    }
  }
  return out.str();
}

}  // namespace liveness
