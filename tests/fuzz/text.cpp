// SPDX-License-Identifier: MIT
// Programs as readable text.

#include "program.hpp"

#include <sstream>

namespace fuzz {
namespace {

constexpr const char* form_names[] = {
    "stream", "stream room", "stream unbounded", "stream budget", "stream retry", "stream budget retry", "stream stop",
    "list", "list whole", "list retry", "list whole retry",
    "fixed", "fixed whole", "fixed retry", "fixed whole retry", "fixed<3>",
    "container stream", "container list", "container fixed",
    "tuple", "tuple whole", "tuple retry", "tuple plain",
    "function", "function retry", "function stop", "task", "task retry", "task stop", "promise", "put"};
constexpr const char* kind_names[] = {"counted", "unique", "number", "nothing"};
constexpr const char* input_names[] = {"nothing", "resolved", "two", "consumed", "unresolved", "event", "stream", "list"};
constexpr const char* place_names[] = {"pool", "second pool", "lone thread", "inline", "manual", "actor"};
constexpr const char* deed_names[] = {"await", "await moved", "await all", "await any", "get", "glance", "yield", "child", "child stream"};
constexpr const char* verb_names[] = {"submit", "take", "read", "give up", "copy", "drop", "open", "pick", "scan", "cancel", "stop",
                                      "detach", "completion", "wait some", "wait any", "get all", "make promise", "fulfil", "fail",
                                      "run manual", "make actor", "kill", "shutdown", "destroy", "stats", "hand", "local", "probe"};
constexpr const char* taking_names[] = {"next", "next_value", "next_for", "try_next", "poll", "values", "iterate", "values &&"};
constexpr const char* reading_names[] = {"get", "get_for", "wait", "glance", "error", "poll", "identity", "wait_until"};
constexpr const char* giving_names[] = {"get &&", "take", "get_for &&"};

template <class E>
unsigned number_of(E e) {
  return static_cast<unsigned>(e);
}

void write(std::ostream& s, const target& t) {
  s << t.task;
  if (t.at == whole)
    s << ":end";
  else
    s << ':' << t.at;
}

void write(std::ostream& s, const program& p, index number) {
  const task_plan& t = p.tasks[number];
  s << "task " << number << ' ' << form_names[number_of(t.what)] << ' ' << kind_names[number_of(t.of)] << " on " << place_names[number_of(t.where)];
  if (t.actor != none) s << ' ' << t.actor;
  if (has_arity(t.what)) s << " n=" << t.count;
  if (is_stream(t.what)) s << " room=" << t.room;
  s << " attempts";
  for (unsigned a = 0; a <= t.max_retries; ++a)
    s << ' ' << t.attempts[a].length << (t.attempts[a].throws ? t.attempts[a].in_construction ? "!c" : "!" : "");
  if (retries(t.what)) s << " accepts=" << (t.accepted & 7);
  if (is_tuple(t.what)) {
    s << " order=";
    for (const auto i : t.order) s << number_of(i);
  }
  if (t.given != input::nothing) {
    s << " given " << input_names[number_of(t.given)];
    for (unsigned i = 0; i < 2; ++i)
      if (t.in_slots[i] != none) {
        s << " s" << t.in_slots[i] << '=';
        write(s, t.in_targets[i]);
      }
    if (t.drains) s << " drains";
  }
  if (t.after_slot != none) {
    s << " after s" << t.after_slot << '=';
    write(s, t.after_target);
  }
  for (unsigned i = 0; i < t.steps; ++i) {
    const step& d = t.step_at[i];
    s << " [" << d.at << ": " << deed_names[number_of(d.what)];
    for (unsigned k = d.first; k < d.first + d.count; ++k) {
      s << " s" << t.held_slots[k] << '=';
      write(s, t.held_targets[k]);
    }
    if (d.child != none) {
      s << ' ';
      write(s, p, d.child);
    }
    s << (d.rethrow ? " rethrow]" : "]");
  }
}

void write(std::ostream& s, const program& p, const op& o) {
  s << 'a' << number_of(o.client) << ' ' << verb_names[number_of(o.what)];
  switch (o.what) {
    case verb::take: s << ' ' << taking_names[o.how] << " n=" << o.n; break;
    case verb::read: s << ' ' << reading_names[o.how]; break;
    case verb::give_up: s << ' ' << giving_names[o.how]; break;
    default:
      if (o.how != 0 || o.n != 0) s << " how=" << number_of(o.how) << " n=" << o.n;
  }
  if (o.slot != none) s << " s" << o.slot;
  for (unsigned k = 0; k < o.listed; ++k) s << " s" << o.list[k];
  if (o.must != expect::either) s << (o.must == expect::yes ? " must" : " must not");
  if (o.other != none) s << " -> s" << o.other << (o.keep ? " keep" : "");
  if (o.what == verb::submit || o.what == verb::make_promise || o.what == verb::local) {
    s << "  ";
    write(s, p, o.task);
  } else if (o.task != none) {
    s << "  of task " << o.task;
  }
}

}  // namespace

std::string text_of(const program& p, const std::vector<std::uint32_t>* current) {
  std::ostringstream s;
  s << "program " << p.seed << ": " << number_of(p.clients) << " clients" << (p.by_hand ? ", by hand" : "")
    << (p.pools_first ? ", pools end first" : "") << ", budgets " << p.budgets[0] << ' ' << p.budgets[1] << '\n';
  for (unsigned i = 0; i < p.pool_count; ++i)
    s << "  pool " << i << ": " << number_of(p.pools[i].threads) << " threads" << (p.pools[i].helps ? "" : ", waiters do not help")
      << (p.pools[i].own ? ", its own, spares " : ", shared, spares ") << number_of(p.pools[i].spares) << '\n';
  for (std::size_t a = 0; a < p.actors.size(); ++a)
    s << "  actor " << a << ": limit " << number_of(p.actors[a].limit) << (p.actors[a].throws ? ", throws" : "")
      << (p.actors[a].shared ? ", shared" : "") << '\n';
  for (std::uint32_t i = 0; i < p.ops.size(); ++i) {
    bool here = false;
    if (current != nullptr)
      for (std::size_t a = 0; a < current->size(); ++a) here = here || ((*current)[a] == i && p.ops[i].client == a);
    s << (here ? "=>" : "  ") << i << ' ';
    write(s, p, p.ops[i]);
    s << '\n';
  }
  return s.str();
}

}  // namespace fuzz
