// SPDX-License-Identifier: MIT
// The oracle: for each task, all ways in which the rules let it end, given how it was disturbed and how the tasks that
// it waits for may have ended. All observations of a task, by any client or task, must fit one of these ways.

#include "running.hpp"

#include <algorithm>
#include <sstream>
#include <vector>

namespace fuzz {
namespace {

/// A way to end: after `least` to `most` values.
struct ending {
  std::uint32_t least = 0;
  std::uint32_t most = 0;
  outcome how{tag::well, 0};
  bool never_ran = false;  ///< its code was not called
  bool unseen = false;     ///< its stream was dropped before
};

struct possible {
  bool value = false;
  std::vector<outcome> errors;
  void add(const outcome& e) {
    if (std::find(errors.begin(), errors.end(), e) == errors.end()) errors.push_back(e);
  }
};

class oracle {
 public:
  explicit oracle(running& r) : all_(r), plan_(*r.plan) {}

  std::string check() {
    sort_entries();
    if (std::string wrong = check_too_early(); !wrong.empty()) return wrong;
    ends_.resize(plan_.tasks.size());
    for (index t = 0; t < plan_.tasks.size(); ++t) {
      if (!all_.tasks[t].submitted) continue;
      ends_[t] = endings_of(t);
      if (std::string wrong = narrow(t); !wrong.empty()) return wrong;
    }
    if (std::string wrong = check_reports(); !wrong.empty()) return wrong;
    return check_actors();
  }

 private:
  const task_plan& plan(index t) const { return plan_.tasks[t]; }
  task_run& run(index t) { return all_.tasks[t]; }

  // --- observations ---

  void sort_entries() {
    seen_.resize(plan_.tasks.size());
    const auto add = [this](const std::vector<entry>& log) {
      for (const entry& e : log)
        if (e.task < seen_.size()) seen_[e.task].push_back(e);
    };
    for (const auto& a : all_.clients) add(a->log);
    for (index t = 0; t < plan_.tasks.size(); ++t) add(all_.tasks[t].log);
  }

  /// With one client, no cancellation may be seen before the first cancelling operation.
  std::string check_too_early() {
    if (plan_.clients > 1) return "";
    std::uint32_t first = 0xffffffff;
    for (index t = 0; t < plan_.tasks.size(); ++t)
      if (run(t).marks.load() != 0) first = std::min(first, run(t).disturbed_at);
    for (const pool_end& e : all_.pool_ends)
      if (e.how != pool_end::by::not_ended) first = std::min(first, e.op);
    for (const auto& entries : seen_)
      for (const entry& e : entries)
        if (e.by_client && e.op < first && e.is.what == tag::cancelled)
          return "operation " + std::to_string(e.op) + " saw a cancellation of task " + std::to_string(e.task) + " before any";
    return "";
  }

  // --- how a task may end ---

  std::vector<ending> endings_of(index t) {
    const task_plan& p = plan(t);
    task_run& r = run(t);
    std::vector<ending> all;
    if (p.what == form::put) return {{1, 1, {tag::well, 0}}};
    if (p.what == form::promised) {
      if (r.calls == 1) return {{1, 1, {tag::well, 0}}};
      return {{0, 0, r.calls == 2 ? boom_of(t, 0) : outcome{tag::broken, 0}}};
    }
    if (begins(t, all)) add_script(t, all);
    add_disturbed(t, all);
    return all;
  }

  /// May all its dependencies be values? Adds the errors with which it would fail otherwise.
  bool begins(index t, std::vector<ending>& all) {
    const task_plan& p = plan(t);
    task_run& r = run(t);
    std::vector<target> waits;
    if (p.given == input::resolved || p.given == input::two || p.given == input::consumed || p.given == input::event)
      waits.push_back(r.in[0]);
    if (p.given == input::two) waits.push_back(r.in[1]);
    if (p.after_slot != none) waits.push_back(r.after);
    bool may = true;
    for (const target& w : waits) {
      const possible x = may_be(w);
      may = may && x.value;
      for (const outcome& e : x.errors) all.push_back({0, 0, e, true});
    }
    if (p.actor != none && plan_.actors[p.actor].throws) {
      all.push_back({0, 0, {tag::died, 0}, true});
      return false;
    }
    return may;
  }

  possible may_be(const target& w) {
    possible x;
    if (w.task == none) return x;
    const task_plan& p = plan(w.task);
    for (const ending& e : ends_[w.task]) {
      if (w.at == whole) {
        if (e.how.what == tag::well)
          x.value = true;
        else
          x.add(e.how);
        continue;
      }
      const bool all_fail = is_whole(p.what) && e.how.is_error();
      if (e.most > w.at && !all_fail) x.value = true;
      if (e.how.is_error() && !e.unseen && (all_fail || e.least <= w.at)) x.add(e.how);
    }
    return x;
  }

  void add_script(index t, std::vector<ending>& all) {
    const task_plan& p = plan(t);
    const expected_run s = expected_of(p, t);
    if (p.given == input::stream) return add_relay(t, s, all);
    bool goes_through = true;
    for (unsigned i = 0; i < p.steps; ++i) {
      const step& what = p.step_at[i];
      if (!what.rethrow || what.what > deed::get || what.what == deed::await_any) continue;
      if (!is_one(p.what) && what.at > p.attempts[0].length) continue;
      if (has_arity(p.what) && what.at > p.count) continue;
      for (unsigned k = what.first; k < what.first + what.count; ++k) {
        const possible x = may_be(run(t).held[k]);
        for (const outcome& e : x.errors) all.push_back({what.at, what.at, e});
        if (!x.value) goes_through = false;
      }
      if (!goes_through) break;
    }
    if (goes_through) all.push_back({s.total, s.total, s.end});
  }

  /// A task whose values depend on the stream that is its argument.
  void add_relay(index t, const expected_run& s, std::vector<ending>& all) {
    const task_plan& p = plan(t);
    const std::uint32_t length = p.attempts[0].length;
    const outcome own = p.attempts[0].throws ? boom_of(t, 0) : outcome{tag::well, 0};
    if (is_one(p.what)) return all.push_back({s.total, s.total, s.end});
    for (unsigned i = 0; i < p.steps; ++i)  // before that it may fail with an error of the refs that it holds
      if (p.step_at[i].rethrow && p.step_at[i].what <= deed::get && p.step_at[i].what != deed::await_any)
        for (unsigned k = p.step_at[i].first; k < p.step_at[i].first + p.step_at[i].count; ++k)
          for (const outcome& e : may_be(run(t).held[k]).errors) add_with_arity(p, std::min(p.step_at[i].at, length), e, all);
    for (const ending& e : ends_[run(t).in[0].task]) {
      for (std::uint32_t there = e.least; there <= e.most; ++there) {
        const std::uint32_t k = there - std::min(there, run(t).given_from);
        const bool sees_end = p.drains || k < length;
        // It dropped the stream: it had read enough, or was stopped itself.
        if (e.unseen && sees_end && !(has_arity(p.what) && std::min(k, length) > p.count)) continue;
        const bool error_left = e.how.is_error() && run(t).given_from <= there;
        add_with_arity(p, std::min(k, length), sees_end && error_left ? e.how : own, all);
      }
    }
  }
  static void add_with_arity(const task_plan& p, std::uint32_t made, outcome how, std::vector<ending>& all) {
    if (has_arity(p.what) && made > p.count) {
      made = p.count;
      how = arity_of(p.count, p.count + 1u);
    } else if (has_arity(p.what) && made < p.count && how.what == tag::well) {
      how = arity_of(p.count, made);
    }
    for (const ending& e : all)
      if (e.least == made && e.most == made && e.how == how) return;
    all.push_back({made, made, how});
  }

  void add_disturbed(index t, std::vector<ending>& all) {
    const task_plan& p = plan(t);
    const std::uint32_t marks = run(t).marks.load();
    const std::uint32_t most = most_values(p, t);
    const pool_end::by pool = end_of_its_pool(p);
    const bool pool_cancelled = pool == pool_end::by::cancel || (pool == pool_end::by::destructor && !runs_by_itself(t)) ||
                                (plan_.by_hand && p.where == place::manual);
    if ((marks & (cancel_asked | actor_killed)) != 0 || pool_cancelled) {
      all.push_back({0, most, {tag::cancelled, 0}});
      all.push_back({0, 0, {tag::cancelled, 0}, true});
    }
    if ((marks & actor_killed) != 0 || (p.actor != none && pool != pool_end::by::not_ended))
      all.push_back({0, 0, {tag::died, 0}, true});
    if ((marks & stream_dropped) != 0 || is_given_away(t)) {
      all.push_back({0, most, {tag::cancelled, 0}, false, true});
    }
    // Values of a detached stream are not counted: a shorter attempt is not noticed.
    if ((marks & stream_detached) != 0)
      for (std::size_t i = all.size(); i-- > 0;)
        if (all[i].how.what == tag::nondeterministic) all.push_back({0, most, {tag::well, 0}, false, true});
  }
  static std::uint32_t most_values(const task_plan& p, index t) {
    return p.given == input::stream && !is_one(p.what) ? std::min(p.attempts[0].length, has_arity(p.what) ? p.count : 0xffffffff)
                                                       : expected_of(p, t).total;
  }
  pool_end::by end_of_its_pool(const task_plan& p) const {
    const place where = p.actor != none ? plan_.actors[p.actor].on : p.where;
    if (where == place::pool) return all_.pool_ends[0].how;
    if (where == place::second_pool) return all_.pool_ends[1].how;
    return pool_end::by::not_ended;
  }
  /// Does the destructor of its pool have to run it to its end?
  bool runs_by_itself(index t) {
    const task_plan& p = plan(t);
    if (p.what == form::put) return true;
    if (p.what == form::promised || p.actor != none || p.given == input::stream) return false;
    if (is_stream(p.what) && p.what != form::stream_unbounded) return false;
    const auto fine = [&](const target& w) {
      return w.task == none || plan(w.task).what == form::put || (plan(w.task).where == p.where && runs_by_itself(w.task));
    };
    return fine(run(t).in[0]) && fine(run(t).in[1]) && fine(run(t).after) && fine(run(t).held[0]) && fine(run(t).held[1]) &&
           fine(run(t).held[2]);
  }
  bool is_given_away(index t) const {
    for (index c = static_cast<index>(t + 1); c < plan_.tasks.size(); ++c)
      if (plan(c).given == input::stream && plan(c).in_targets[0].task == t && all_.tasks[c].submitted) return true;
    return false;
  }

  /// Does another task hold its handle?
  bool is_passed_on(index t) {
    for (index c = 0; c < plan_.tasks.size(); ++c) {
      const auto is_it = [&](const target& w) { return w.task == t; };
      if (c != t && all_.tasks[c].submitted &&
          (is_it(run(c).in[0]) || is_it(run(c).in[1]) || is_it(run(c).after) || is_it(run(c).held[0]) || is_it(run(c).held[1]) ||
           is_it(run(c).held[2])))
        return true;
    }
    return false;
  }

  // --- does it fit? ---

  std::string narrow(index t) {
    std::vector<ending> left;
    for (ending e : ends_[t])
      if (fits(t, e)) left.push_back(e);
    if (left.empty()) return complaint(t);
    ends_[t] = std::move(left);
    return "";
  }

  bool fits(index t, ending& e) {
    for (const entry& x : seen_[t])
      if (!fits(t, x, e)) return false;
    return true;
  }

  bool fits(index t, const entry& x, ending& e) {
    const task_plan& p = plan(t);
    const bool error = e.how.is_error();
    const bool nothing = error && (e.never_ran || is_whole(p.what));  // of a list
    switch (x.what) {
      case seen::item:
        if (x.is.what == tag::value) return is_value(t, x) && more_than(e, x.at);
        if (e.unseen) return false;
        if (x.is.what == tag::end) return at_most(e, x.at, error ? 1 : 0);
        return x.is == e.how && exactly(e, x.at);
      case seen::value:
        if (x.is.what == tag::value) return is_value(t, x) && more_than(e, x.at) && !(is_whole(p.what) && error);
        if (x.is != e.how || e.unseen) return false;
        if (is_whole(p.what) && !is_list(p.what)) return true;
        return has_arity(p.what) ? at_most(e, x.at, 0) : exactly(e, x.at);
      case seen::completion: return x.is == e.how;
      case seen::outer:
        if (x.is.what != tag::value) return nothing && x.is == e.how;
        [[fallthrough]];
      case seen::size: return !nothing && x.is.data >= (error ? 1 : 0) && exactly(e, static_cast<std::uint32_t>(x.is.data) - (error ? 1 : 0));
    }
    return false;
  }
  static bool more_than(ending& e, std::uint32_t at) {
    e.least = std::max(e.least, at + 1);
    return e.least <= e.most;
  }
  static bool at_most(ending& e, std::uint32_t at, std::uint32_t items_more) {
    if (at < items_more) return false;
    e.most = std::min(e.most, at - items_more);
    return e.least <= e.most;
  }
  static bool exactly(ending& e, std::uint32_t at) {
    e.least = std::max(e.least, at);
    e.most = std::min(e.most, at);
    return e.least <= e.most;
  }
  bool is_value(index t, const entry& x) {
    const unsigned attempt = plan(t).what == form::put || plan(t).what == form::promised ? 0 : expected_of(plan(t), t).origin(x.at);
    return x.is.data == identity::of(all_.salt, t, x.at, attempt).bits;
  }

  static std::string text_of(const outcome& o) {
    static constexpr const char* names[] = {"nothing", "value", "well", "end", "boom", "arity", "order", "cancelled",
                                            "nondeterministic", "shared", "died", "broken", "stopped", "timeout", "empty",
                                            "another error", "an unknown error"};
    std::ostringstream s;
    s << names[static_cast<unsigned>(o.what)];
    if (o.what == tag::value)
      s << " task " << (o.data >> 32 & 0xffff) << " at " << (o.data >> 8 & 0xffffff) << " attempt " << (o.data & 0xff) << " salt "
        << (o.data >> 48);
    else if (o.what == tag::boom)
      s << " of task " << (o.data >> 8) << " attempt " << (o.data & 0xff);
    else if (o.what == tag::arity)
      s << ' ' << (o.data >> 32) << ' ' << (o.data & 0xffffffff);
    return s.str();
  }

  std::string complaint(index t) {
    static constexpr const char* kinds[] = {"item", "value", "completion", "list", "size"};
    std::ostringstream s;
    s << "task " << t << " was seen as it cannot be. Possible (salt " << all_.salt << ", marks " << run(t).marks.load() << "):";
    for (const ending& e : ends_[t])
      s << "\n    " << e.least << " to " << e.most << " values, then " << text_of(e.how) << (e.never_ran ? ", never called" : "")
        << (e.unseen ? ", dropped" : "");
    s << "\n  seen:";
    for (const entry& x : seen_[t]) {
      s << "\n    " << kinds[static_cast<unsigned>(x.what)] << ' ' << x.at << ": " << text_of(x.is);
      if (x.by_client) s << " (operation " << x.op << ')';
    }
    return s.str();
  }

  // --- the hook, and actors ---

  std::string check_reports() {
    for (index t = 0; t < plan_.tasks.size(); ++t) {
      const task_plan& p = plan(t);
      const std::uint32_t reports = run(t).reports.load();
      bool throws = false;
      for (unsigned a = 0; a <= p.max_retries; ++a) throws = throws || p.attempts[a].throws;
      if (p.what == form::promised) throws = run(t).calls == 2;
      if (reports != 0 && !throws && p.what != form::put) return "the hook was told of what task " + std::to_string(t) + " did not throw";
      // Each failure is reported once; a task with a handle on this one may have rethrown the same exception.
      if (reports > 1 && !is_passed_on(t)) return "the hook was told " + std::to_string(reports) + " times of what task " + std::to_string(t) + " threw";
      // No ref can hold an exception that is thrown after the last value.
      const bool on_pool = p.where == place::pool || p.where == place::second_pool;
      if (!on_pool || !run(t).submitted || !has_arity(p.what) || is_whole(p.what)) continue;
      bool late = !ends_[t].empty();
      for (const ending& e : ends_[t]) late = late && e.how == boom_of(t, static_cast<unsigned>(e.how.data & 0xff)) && e.least == p.count;
      if (late && reports == 0) return "the hook was not told of what task " + std::to_string(t) + " threw after its last value";
    }
    if ((all_.strange_reports.load() >> static_cast<unsigned>(tag::cancelled) & 1) != 0) return "a cancellation was reported to the hook";
    return "";
  }

  std::string check_actors() {
    std::vector<std::uint8_t> by(plan_.tasks.size(), 0);
    for (const op& o : plan_.ops)
      if (o.what == verb::submit) by[o.task] = o.client;
    for (std::size_t a = 0; a < all_.actor_calls.size(); ++a) {
      std::array<int, 256> last;
      last.fill(-1);
      for (const index call : all_.actor_calls[a]) {
        if (static_cast<int>(call) <= last[by[call]]) return "actor " + std::to_string(a) + " ran call " + std::to_string(call) + " after a later one";
        last[by[call]] = call;
      }
    }
    return "";
  }

  running& all_;
  const program& plan_;
  std::vector<std::vector<entry>> seen_;
  std::vector<std::vector<ending>> ends_;
};

}  // namespace

std::string check(running& r) { return oracle(r).check(); }

}  // namespace fuzz
