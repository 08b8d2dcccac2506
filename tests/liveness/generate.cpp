// SPDX-License-Identifier: MIT
// Generates a program. Operations are appended one by one, each to a strand that can execute it in the state after all
// operations before it, by the documented rules alone:
//
// - A task that was submitted begins; a strand resumes when the event that it waits for has happened. A method begins
// when all calls of
//   its actor that were submitted before it have ended.
// - The code after a yield runs while fewer values are stored than the limit, `room` (S-STREAM-4). With a limit up to
// 16,
//   each take returns a credit at once; above, the producer may stay suspended until half of the limit is free. So
//   after `taken` takes the code after value number `taken + room - 1`, or `taken + room / 2`, is certain to run,
//   whatever the consumer does meanwhile; the whole limit is certain only while the consumer waits in the library for
//   an effect of that code. Of a stream with a budget only a single value is certain.
// - Values can be taken once they are yielded. No operation of a generator is certain after its stream was dropped or
//   cancelled, so the consumer first waits for the operations on which other strands rely.
//
// The number of threads that block unseen at the same time is limited when the program runs (permits in machine.hpp).

#include "partial_program.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace liveness {

namespace {

class program_generator : partial_program {
 public:
  program_generator(std::uint64_t seed, const settings& s) : partial_program(seed, s) {
    p_.seed = seed;
    constexpr unsigned widths[] = {1, 2, 2, 2, 3, 4}, spares[] = {64, 64, 64, 0, 1};
    p_.threads = widths[below(6)];
    p_.spares = spares[below(5)];
    p_.helps = below(4) != 0;
    if (s.threads != 0) p_.threads = s.threads;
    if (s.spares != none) p_.spares = s.spares;
    if (s.no_help) p_.helps = false;
    p_.pools = below(4) == 0 ? 2 : 1;
    p_.sitters = below(3);
    p_.closing = below(8);
    p_.budget = 1 + below(20);
    for (index i = below(3); i != 0; --i) p_.actors.push_back(below(p_.pools));
    actors_.resize(p_.actors.size());
    for (index i = 2 + below(3); i != 0; --i) add_strand(kind::thread);
    for (strand_state& st : strands_) st.started = true;
  }

  program generated() {
    const index steps = settings_.steps / 3 + below(settings_.steps);
    for (index i = 0; i < steps; ++i) {
      const index x = below(count());
      if (can_run(x)) act(x);
    }
    for (int pass = 0; pass < 4; ++pass) end_streams();
    for (int pass = 0; pass < 2; ++pass)
      for (index x = count(); x-- != 0;)
        if (can_run(x)) finish(x);
    for (strand_plan& s : p_.strands)
      if (s.throws_at != none) s.throws_at = s.operations.empty() ? 1 : below(static_cast<index>(s.operations.size()));
    return std::move(p_);
  }

 private:
  // --- operations ---

  void wait_for(index x, index event, bool seen = false) {
    if (event == none || makers_[event] == x) return;
    append(x, deed::await, event, 0, awaiting(x, seen)).seen = seen;
  }

  void act(index x) {
    const unsigned weights[] = {is_generator(of(x).what) ? 60u : 0u, 30, 30, 14, 8, 4, 4, 3, 5, 3, 4, 2};
    switch (random_.weighted(weights)) {
      case 0: return yield(x);
      case 1: return take(x);
      case 2: return wait(x);
      case 3: return submit(x);
      case 4: append(x, deed::mark, none, one_in(4) ? 20'000u : 10u); return;
      case 5: return end_one(x);
      case 6: return join(x);
      case 7: return move(x);
      case 8: return wait_giving_room(x);
      case 9: return end_strand(x);
      case 10: return cancel_victim(x);
      default:
        if (of(x).what == kind::thread) append(x, deed::look);
    }
  }

  void yield(index x) {
    strand_state& st = strands_[x];
    const index most = certain(of(x).stream) == unlimited ? 40 : std::min(70u, certain(of(x).stream) - st.yields + 1);
    yield(x, one_in(2) ? most : 1 + below(most));
    if (can_run(x) && one_in(2)) append(x, deed::mark, none, 10);
  }
  void yield(index x, index n) {
    append(x, deed::yield, none, n);
    strands_[x].yields += n;
  }

  /// A stream that the strand may read: preferably the one that it has read last.
  index some_stream(index x) {
    if (p_.streams.empty()) return none;
    index s = strands_[x].last_stream;
    if (s == none || one_in(4)) s = below(static_cast<index>(p_.streams.size()));
    return streams_[s].state == stream_state::open && streams_[s].last != none && p_.streams[s].producer != x ? s : none;
  }

  /// Makes the strand the stream's consumer.
  bool acquire(index x, index s) {
    stream_state& st = streams_[s];
    if (st.owner == x) return true;
    const index before = st.owner;
    if (strands_[before].iterates == s) {
      if (!can_run(before)) return false;
      leave(before);
    }
    if (can_run(before) && !p_.streams[s].fixed && one_in(4)) {
      const index offered = append(before, deed::offer, s).event;
      strands_[before].last_stream = none;
      append(x, deed::accept, s, 0, pick(x, {way::get}, {way::co_get})).other = offered;
    } else {
      wait_for(x, st.last);
    }
    used(x, s);
    return true;
  }
  void used(index x, index s) {
    streams_[s].owner = x;
    streams_[s].last = last_of(x);
    strands_[x].last_stream = s;
  }
  void leave(index x) {
    append(x, deed::leave);
    used(x, std::exchange(strands_[x].iterates, none));
  }

  void take(index x) {
    const index s = some_stream(x);
    if (s == none) return;
    const index y = p_.streams[s].producer;
    stream_state& st = streams_[s];
    if (st.taken == strands_[y].yields) {
      if (!can_run(y)) return;
      yield(y);
    }
    if (!acquire(x, s)) return;
    const index there = strands_[y].yields - st.taken;
    const index n = one_in(2) ? there : one_in(2) ? 1 : 1 + below(there);
    const way how = taking(x, p_.streams[s].fixed);
    if (strands_[x].iterates != none && strands_[x].iterates != s && how == way::values_kept) leave(x);
    append(x, deed::take, s, n, how);
    if (how == way::values_kept) strands_[x].iterates = s;
    st.taken += n;
    st.taker = x;
    used(x, s);
    if (one_in(2)) make_eager(x, s);
  }

  /// The consumer stops asking for values, and waits for the operations that the limit lets the producer reach.
  void make_eager(index x, index s) {
    const index y = p_.streams[s].producer;
    if (can_run(y)) yield(y);
    if (can_run(y)) append(y, deed::mark, none, 10);
    wait_for(x, last_of(y));
  }
  /// make_eager() by a wait that the library sees: then the whole capacity can be counted on.
  void wait_giving_room(index x) {
    const index s = strands_[x].last_stream;
    if (s == none || streams_[s].state != stream_state::open || p_.streams[s].producer == x) return;
    const index y = p_.streams[s].producer, room = p_.streams[s].room;
    stream_state& st = streams_[s];
    if (settings_.no_full_room || st.taker != x || room == 0 || p_.streams[s].budgeted || p_.streams[s].fixed || strands_[y].closed || is_method(of(y).what)) return;
    const index most = st.taken + room - 1;
    if (!strands_[y].started || strands_[y].yields > most) return;
    if (strands_[y].yields < most) yield(y, most - strands_[y].yields);
    const index event = append(y, deed::mark, none, 10).event;
    wait_for(x, event, true);
  }

  void wait(index x) {
    const index s = strands_[x].last_stream;
    if (s != none && one_in(2) && p_.streams[s].producer != x) return make_eager(x, s);
    if (p_.events != 0) wait_for(x, p_.events - 1 - below(std::min(p_.events, 30u)));
  }

  void submit(index x) {
    if (count() >= settings_.strands) return;
    kind k = static_cast<kind>(1 + random_.weighted({3, 5, 7, 2, 2, 2}));
    if (is_method(k) && p_.actors.empty()) k = kind::generator;
    const index actor = is_method(k) ? below(static_cast<index>(p_.actors.size())) : none;
    if (actor != none) wait_for(x, actors_[actor].submitted);
    const index y = add_strand(k);
    of(y).actor = actor;
    of(y).pool = actor != none ? p_.actors[actor] : below(p_.pools);
    const bool retries = k == kind::generator && one_in(6);
    const index carried = retries || actor != none || one_in(2) ? none : strands_[x].last_stream;
    const bool carries = carried != none && streams_[carried].state == stream_state::open && strands_[x].iterates != carried && !p_.streams[carried].fixed &&
                         p_.streams[carried].producer != x && streams_[carried].owner == x;
    const index event = append(x, deed::submit, y).event;
    if (carries) of(x).operations.back().other = carried;
    strands_[y].started = true;
    strands_[y].submitter = x;
    strands_[y].submitted = event;
    if (actor != none) {
      actors_[actor].queue.push_back(y);
      actors_[actor].submitted = event;
    }
    if (carries) {
      strands_[x].last_stream = none;
      append(y, deed::begin, carried);
      used(y, carried);
    }
    if (!is_generator(k)) return;
    of(y).stream = static_cast<index>(p_.streams.size());
    if (retries) of(y).throws_at = 0;
    constexpr index rooms[] = {1, 2, 3, 4, 6, 8, 12, 16, 17, 20, 33, 64, 64, 0};
    stream_plan& plan = p_.streams.emplace_back();
    plan.producer = y;
    plan.room = rooms[below(std::size(rooms))];
    plan.fixed = k == kind::generator && one_in(8);
    plan.budgeted = k == kind::generator && one_in(6);
    plan.heavy = one_in(2);
    plan.cost = one_in(2) ? 0 : one_in(2) ? 100 : 5'000;
    stream_state& st = streams_.emplace_back();
    st.owner = x;
    st.last = event;
    strands_[x].last_stream = of(y).stream;
  }

  void move(index x) {
    const index s = some_stream(x);
    if (s == none || streams_[s].owner != x || strands_[x].iterates == s || p_.streams[s].fixed) return;
    append(x, deed::move, s);
    used(x, s);
  }

  void cancel_victim(index x) {
    using enum way;
    append(x, deed::victim, none, below(4), pick(x, {get, wait_for, spin}, {co_get, co_yielding}));
  }

  void join(index x) {
    const index y = below(count());
    const kind k = of(y).what;
    if (y == x || !strands_[y].closed || k == kind::thread || is_generator(k) || of(y).operations.empty()) return;
    if (strands_[y].submitter != x) wait_for(x, strands_[y].submitted);
    append(x, deed::join, y, 0, pick(x, {way::get, way::wait_any, way::get_for}, {way::co_get}));
  }

  // --- ends ---

  void close(index x) {
    if (strands_[x].iterates != none) leave(x);  // the stream's next owner waits for that
    append(x, deed::finish);
    strands_[x].closed = true;
  }
  void finish(index x) {
    if (!is_generator(of(x).what)) close(x);
  }
  void end_strand(index x) {
    if (of(x).what != kind::thread && !is_generator(of(x).what) && of(x).operations.size() > 3) close(x);
  }

  /// A generator that is not bounded must not run on for ever.
  tail some_tail(index s) {
    if (p_.streams[s].fixed) return tail::end;
    const bool bounded = p_.streams[s].room != 0 || p_.streams[s].budgeted;
    if (!bounded || streams_[s].state == stream_state::detached) return one_in(2) ? tail::end : tail::never;
    return static_cast<tail>(below(4));
  }

  void end_one(index x) {
    const index s = some_stream(x);
    if (s == none || !acquire(x, s)) return;
    end_stream(x, s);
  }
  void end_stream(index x, index s) {
    const index y = p_.streams[s].producer;
    stream_state& st = streams_[s];
    if (strands_[x].iterates == s) leave(x);
    const index how = p_.streams[s].fixed ? 3 : below(4);
    wait_for(x, last_of(y));
    if (how == 0 && (!strands_[y].closed || of(y).then == tail::end)) {
      append(x, deed::detach, s);
      st.state = stream_state::detached;
      strands_[x].last_stream = none;
      return;
    }
    st.state = stream_state::gone;
    strands_[x].last_stream = none;
    if (!strands_[y].closed) {
      strands_[y].closed = true;
      of(y).then = some_tail(s);
    }
    if (how == 1) append(x, deed::cancel, s);
    // A method that has not begun may need the turn that this thread has: waiting for it is an error (L-12).
    if (is_method(of(y).what) && of(y).operations.empty()) {
      append(x, deed::drop, s);
      return;
    }
    if (how <= 2 && (how == 1 || of(y).then == tail::end))
      append(x, deed::drain, s, 0,
             pick(x, {way::next, way::next_value, way::values, way::next_for}, {way::async_next, way::async_value}));
    append(x, deed::drop, s);
  }

  /// The end: a thread ends some streams, others stay until the end of the program.
  void end_streams() {
    for (index s = 0; s < p_.streams.size(); ++s) {
      const index y = p_.streams[s].producer;
      stream_state& st = streams_[s];
      if (st.state == stream_state::gone) continue;
      if (st.state == stream_state::open && one_in(2)) {
        for (index x = 0; x < count(); ++x)
          if (of(x).what == kind::thread && one_in(2)) {
            if (acquire(x, s)) end_stream(x, s);
            break;
          }
      } else if (!strands_[y].closed && can_run(y) && one_in(2)) {
        of(y).then = is_method(of(y).what) ? tail::end : some_tail(s);
        close(y);
      }
    }
  }

};

}  // namespace

program generate(std::uint64_t seed, const settings& s) { return program_generator(seed, s).generated(); }

}  // namespace liveness