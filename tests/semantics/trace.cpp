// SPDX-License-Identifier: MIT
// The events of a trace, read back from the JSON that it writes.

#include "../catch.hpp"
#include "json.hpp"
#include "probes.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_trace {

namespace {

using support::boom;
using support::count_to;
using support::eventually;
using support::json;

/// An event of a timeline: a slice, or an instant at `begin`. Times in nanoseconds.
struct event {
  std::int64_t begin = 0, end = 0;
  int row = 0;
  std::string name, what;
  std::uint64_t task = 0, attempt = 0, stretches = 1;
  bool runs = false;
};

struct timeline {
  std::vector<event> slices, instants;
  std::map<int, std::string> rows;
  std::uint64_t dropped = 0;

  std::vector<event> slices_of(std::uint64_t task) const {
    return of(slices, [=](const event& e) { return e.task == task; });
  }
  std::vector<event> instants_of(const std::string& name, std::uint64_t task) const {
    return of(instants, [&](const event& e) { return e.name == name && e.task == task; });
  }
  std::size_t count(const std::string& instant) const {
    return of(instants, [&](const event& e) { return e.name == instant; }).size();
  }
  int row_named(const std::string& name) const {
    for (const auto& [row, its] : rows)
      if (its == name) return row;
    return 0;
  }

 private:
  template <class Filter>
  static std::vector<event> of(const std::vector<event>& all, Filter filter) {
    std::vector<event> some;
    std::copy_if(all.begin(), all.end(), std::back_inserter(some), filter);
    return some;
  }
};

std::int64_t nanoseconds(const json& microseconds) {
  if (microseconds.is != json::kind::number || microseconds.number < 0) throw std::runtime_error("no time");
  return std::llround(microseconds.number * 1000);
}

/// Reads the output of a trace. Throws if it is not JSON, or not in the form that viewers expect.
timeline written_by(const dg::trace& t) {
  std::ostringstream os;
  t.write(os);
  const json all = support::json_reader::read(os.str());
  timeline result;
  result.dropped = static_cast<std::uint64_t>(all["otherData"]["dropped_events"].number);
  for (const json& e : all["traceEvents"].items) {
    const std::string& phase = e["ph"].text;
    if (e["pid"].number != 1) throw std::runtime_error("another process");
    if (phase == "M") {
      if (e["name"].text == "thread_name") result.rows[static_cast<int>(e["tid"].number)] = e["args"]["name"].text;
      continue;
    }
    event seen;
    seen.begin = seen.end = nanoseconds(e["ts"]);
    seen.row = static_cast<int>(e["tid"].number);
    seen.name = e["name"].text;
    if (e["args"].has("task")) {
      seen.task = static_cast<std::uint64_t>(e["args"]["task"].number);
      seen.attempt = static_cast<std::uint64_t>(e["args"]["attempt"].number);
    }
    if (result.rows.count(seen.row) == 0) throw std::runtime_error("a row without a name");
    if (phase == "X") {
      seen.end += nanoseconds(e["dur"]);
      seen.runs = e["args"].has("still_running");
      if (e["args"].has("stretches")) seen.stretches = static_cast<std::uint64_t>(e["args"]["stretches"].number);
      result.slices.push_back(seen);
    } else if (phase == "i") {
      if (e["s"].text != "t") throw std::runtime_error("an instant that is not its thread's");
      if (e["args"].has("what")) seen.what = e["args"]["what"].text;
      result.instants.push_back(seen);
    } else {
      throw std::runtime_error("another kind of event");
    }
  }
  return result;
}

/// Is each slice of a row either inside another slice or disjoint from it?
bool is_nested(const timeline& t) {
  std::vector<event> all = t.slices;
  // An outer slice comes before its inner ones; the file has this order, except for slices that begin in the same
  // nanosecond.
  std::stable_sort(all.begin(), all.end(), [](const event& a, const event& b) {
    return a.row != b.row ? a.row < b.row : a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  std::vector<event> open;
  for (const event& e : all) {
    if (!open.empty() && open.back().row != e.row) open.clear();
    while (!open.empty() && open.back().end <= e.begin && open.back().end < e.end) open.pop_back();
    if (!open.empty() && e.end > open.back().end) return false;
    if (e.end < e.begin) return false;
    open.push_back(e);
  }
  return true;
}

bool holds(const event& outer, const event& inner) {
  return outer.row == inner.row && outer.begin <= inner.begin && inner.end <= outer.end;
}

template <class Handle>
bool becomes(const Handle& handle, const char* state) {
  return eventually([&] { return dg::describe(handle).find(state) != std::string::npos; });
}

/// A thread pool whose only worker is busy until it is released.
struct busy_worker {
  explicit busy_worker(dg::thread_pool& pool)
      : busy(pool.options(dg::name{"busy"}).submit([this] {
          started.open();
          over.pass();
        })) {
    started.pass();
  }
  ~busy_worker() {
    over.open();
    busy.wait();  // it uses the gates
  }
  support::gate started, over;
  dg::ref<void> busy;
};

}  // namespace

TEST_CASE("a trace has a row for each worker, and a slice for each run of a task", "[trace]") {
  support::watchdog dog("trace: stretches");
  dg::trace t;
  std::uint64_t plain = 0, waits = 0, stream = 0;
  {
    dg::thread_pool pool({.threads = 2, .name = "io", .waiters_help = false, .trace = &t});
    auto one = pool.submit([] { return 1; });
    plain = one.id().task;
    one.get();

    dg::promise<int> p[3];
    auto three =
        pool.options(dg::name{"waits"})
            .submit(
                [](dg::ref<int> a, dg::ref<int> b, dg::ref<int> c) -> dg::task<int> {
                  const int x = co_await a;
                  const int y = co_await b;
                  co_return x + y + co_await c;
                },
                dg::unresolved(p[0].get_ref()), dg::unresolved(p[1].get_ref()), dg::unresolved(p[2].get_ref()));
    waits = three.id().task;
    for (auto& promise : p) {
      REQUIRE(becomes(three, "awaiting"));
      promise.set_value(1);
    }
    CHECK(three.get() == 3);

    auto values = pool.options(dg::backpressure{1}, dg::name{"values"}).submit(count_to, 4);
    stream = values.id();
    for (int i = 0; i < 4; ++i) {
      REQUIRE(becomes(values, "suspended by backpressure"));
      CHECK(values.next_value() == i);
    }
    values.completion().get();
    CHECK(eventually([&] { return pool.stats().parks >= 2; }));
  }
  const timeline seen = written_by(t);
  CHECK(seen.dropped == 0);
  CHECK(t.dropped() == 0);
  REQUIRE(seen.rows.size() == 2);
  CHECK(seen.row_named("io-0") != 0);
  CHECK(seen.row_named("io-1") != 0);
  CHECK(is_nested(seen));
  CHECK(seen.slices.size() == 1 + 4 + 5);
  REQUIRE(seen.slices_of(plain).size() == 1);
  CHECK(seen.slices_of(plain)[0].name == "#" + std::to_string(plain));
  CHECK(seen.slices_of(waits).size() == 4);
  CHECK(seen.instants_of("await", waits).size() == 3);
  CHECK(seen.slices_of(stream).size() == 5);
  CHECK(seen.instants_of("backpressure", stream).size() == 4);
  CHECK(seen.count("park") >= 2);
  CHECK(seen.instants_of("park", 0).size() == seen.count("park"));
  CHECK(seen.count("error") + seen.count("cancelled") == 0);
  for (const event& e : seen.slices) {
    CHECK(e.attempt == 1);
    CHECK_FALSE(e.runs);
    CHECK(e.name == (e.task == waits ? "waits" : e.task == stream ? "values" : "#" + std::to_string(plain)));
  }
}

TEST_CASE("a task that a waiting thread runs is a slice inside that of the waiting task, or on a row of that thread",
          "[trace][S-WAIT-4]") {
  support::watchdog dog("trace: helping");
  dg::trace t;
  std::uint64_t outer = 0, inner = 0, helped = 0;
  {
    dg::thread_pool pool({.threads = 1, .trace = &t});
    auto r = pool.options(dg::name{"outer"}).submit([&] {
      auto child = pool.options(dg::name{"inner"}).submit([] { return 1; });
      inner = child.id().task;
      return child.get();
    });
    outer = r.id().task;
    REQUIRE(r.wait_for(std::chrono::seconds(60)));  // so that no other thread runs it
    const busy_worker busy(pool);
    auto mine = pool.submit([] { return 2; });
    helped = mine.id().task;
    CHECK(mine.get() == 2);
  }
  const timeline seen = written_by(t);
  CHECK(is_nested(seen));
  REQUIRE(seen.slices_of(outer).size() == 1);
  REQUIRE(seen.slices_of(inner).size() == 1);
  CHECK(holds(seen.slices_of(outer)[0], seen.slices_of(inner)[0]));
  CHECK(seen.rows.at(seen.slices_of(outer)[0].row) == "worker-0");
  REQUIRE(seen.slices_of(helped).size() == 1);
  const int row = seen.slices_of(helped)[0].row;
  CHECK(row != seen.row_named("worker-0"));
  CHECK(seen.rows.at(row).find("waiting thread") == 0);
  CHECK(seen.rows.size() == 2);
}

TEST_CASE("a trace shows each attempt, its exception, and the cancelled tasks", "[trace][S-RETRY-1]") {
  support::watchdog dog("trace: attempts");
  dg::trace t;
  std::uint64_t again = 0, strange = 0, cancelled = 0, well = 0;
  {
    dg::thread_pool pool({.threads = 1, .waiters_help = false, .trace = &t});
    int attempts = 0;
    auto r = pool.options(dg::max_retries{3}, dg::name{"again"}).submit([&] {
      if (++attempts < 3) throw boom("attempt " + std::to_string(attempts));
      return attempts;
    });
    again = r.id().task;
    CHECK(r.get() == 3);
    auto s = pool.submit([]() -> int { throw 1; });
    strange = s.id().task;
    CHECK(s.error() != nullptr);
    {
      const busy_worker busy(pool);
      auto c = pool.submit([] { return 1; });
      cancelled = c.id().task;
      c.cancel();
    }
    auto w = pool.submit([] { return 1; });
    well = w.id().task;
    CHECK(w.get() == 1);
  }
  const timeline seen = written_by(t);
  CHECK(is_nested(seen));
  const std::vector<event> its = seen.slices_of(again);
  REQUIRE(its.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(its[i].attempt == i + 1);
    CHECK(its[i].name == "again");
    if (i != 0) CHECK(its[i].begin >= its[i - 1].end);
  }
  const std::vector<event> errors = seen.instants_of("error", again);
  REQUIRE(errors.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(errors[i].attempt == i + 1);
    CHECK(errors[i].what == "attempt " + std::to_string(i + 1));
    CHECK(holds(its[i], errors[i]));
  }
  REQUIRE(seen.instants_of("error", strange).size() == 1);
  CHECK(seen.instants_of("error", strange)[0].what == "an exception that is not a std::exception");
  CHECK(seen.instants_of("cancelled", cancelled).size() == 1);
  CHECK(seen.instants_of("error", cancelled).empty());
  CHECK(seen.instants_of("error", well).size() + seen.instants_of("cancelled", well).size() == 0);
  CHECK(seen.count("error") == 3);
  CHECK(seen.count("cancelled") == 1);
}

TEST_CASE("names and messages in a trace may be any bytes", "[trace]") {
  support::watchdog dog("trace: names");
  const std::pair<std::string, std::string> names[] = {
      {"\"quoted\" \\ / ", "\"quoted\" \\ / "},
      {std::string("a\nb\t\x01\x1f\x7f") + std::string(1, '\0') + "c",
       std::string("a\nb\t\x01\x1f\x7f") + std::string(1, '\0') + "c"},
      {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},  // é€ and a face
      {"\xff", "\xef\xbf\xbd"},
      {"x\xc3", "x\xef\xbf\xbd"},  // cut off
      {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},  // an overlong encoding
      {"\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},                  // a surrogate
      {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},  // beyond the last character
      {"\xf0\x8f\xbf\xbf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"},
  };
  dg::trace t;
  std::vector<std::uint64_t> ids;
  {
    dg::thread_pool pool({.threads = 1, .name = "a \"pool\"\xff", .waiters_help = false, .trace = &t});
    for (const auto& [given, shown] : names) {
      auto r = pool.options(dg::name{given}).submit([what = given]() -> int { throw boom(what); });
      ids.push_back(r.id().task);
      CHECK(r.error() != nullptr);
    }
    auto r = pool.options(dg::name{""}).submit([] {});
    ids.push_back(r.id().task);
    r.get();
  }
  const timeline seen = written_by(t);
  CHECK(seen.row_named("a \"pool\"\xef\xbf\xbd-0") != 0);
  for (std::size_t i = 0; i < std::size(names); ++i) {
    REQUIRE(seen.slices_of(ids[i]).size() == 1);
    CHECK(seen.slices_of(ids[i])[0].name == names[i].second);
    REQUIRE(seen.instants_of("error", ids[i]).size() == 1);
    // what() ends at a null character.
    CHECK(seen.instants_of("error", ids[i])[0].what == names[i].second.substr(0, names[i].second.find('\0')));
  }
  REQUIRE(seen.slices_of(ids.back()).size() == 1);
  CHECK(seen.slices_of(ids.back())[0].name == "#" + std::to_string(ids.back()));
}

TEST_CASE("a trace keeps at most its configured number of events, and counts the rest", "[trace]") {
  support::watchdog dog("trace: bounds");
  for (const int most : {1, 2, 255, 256, 257, 600}) {
    dg::trace t(most);
    constexpr int tasks = 700;
    {
      dg::thread_pool pool({.threads = 1, .waiters_help = false, .trace = &t});
      for (int i = 0; i < tasks; ++i) pool.submit([]() -> int { throw boom(); }).wait();  // a slice and an instant each
    }
    const timeline seen = written_by(t);
    CHECK(is_nested(seen));
    CHECK(seen.slices.size() + seen.instants.size() == static_cast<std::size_t>(most));
    CHECK(seen.dropped >= static_cast<std::uint64_t>(2 * tasks - most));
    CHECK(seen.dropped == t.dropped());
    CHECK(seen.rows.begin()->second == "worker-0 (" + std::to_string(seen.dropped) + " events dropped)");
  }
  CHECK_THROWS_AS(dg::trace(0), std::invalid_argument);
  CHECK_THROWS_AS(dg::trace(-1), std::invalid_argument);
  CHECK_THROWS_AS(dg::trace(std::numeric_limits<std::uint64_t>::max()), std::invalid_argument);
  CHECK(support::message_of([] { dg::trace t(-5); }).find("trace{-5}") != std::string::npos);
}

TEST_CASE("a trace can be written while its pool runs, with the running tasks", "[trace]") {
  support::watchdog dog("trace: meanwhile");
  dg::trace t;
  const timeline nothing = written_by(t);
  CHECK(nothing.slices.empty());
  CHECK(nothing.rows.empty());
  support::gate started, go;
  std::string from_inside;
  dg::thread_pool pool({.threads = 1, .trace = &t});
  std::uint64_t inner = 0;
  auto r = pool.options(dg::name{"long"}).submit([&] {
    auto done = pool.submit([] { return 1; });
    inner = done.id().task;
    done.get();
    written_by(t);  // from a task of the same pool
    started.open();
    go.pass();
  });
  const std::uint64_t outer = r.id().task;
  started.pass();
  const timeline now = written_by(t);
  CHECK(is_nested(now));
  REQUIRE(now.slices_of(outer).size() == 1);
  CHECK(now.slices_of(outer)[0].runs);
  REQUIRE(now.slices_of(inner).size() == 1);
  CHECK_FALSE(now.slices_of(inner)[0].runs);
  CHECK(holds(now.slices_of(outer)[0], now.slices_of(inner)[0]));
  go.open();
  r.get();
  CHECK(eventually([&] { return !written_by(t).slices_of(outer)[0].runs; }));
  CHECK(written_by(t).slices_of(outer)[0].end >= now.slices_of(outer)[0].end);
}

TEST_CASE("a trace may be destroyed before its pool", "[trace]") {
  support::watchdog dog("trace: gone");
  auto t = std::make_unique<dg::trace>();
  support::gate started, go;
  dg::thread_pool pool({.threads = 1, .trace = t.get()});
  auto r = pool.submit([&] {
    started.open();
    go.pass();
    return 1;
  });
  started.pass();
  t.reset();
  go.open();
  CHECK(r.get() == 1);
  for (int i = 0; i < 1000; ++i) CHECK(pool.submit([i] { return i; }).get() == i);
}

TEST_CASE("several pools may share a trace, and a thread may record in several", "[trace]") {
  support::watchdog dog("trace: shared");
  dg::trace both, other;
  std::vector<std::uint64_t> in_both, in_other;
  {
    dg::thread_pool a({.threads = 1, .name = "a", .trace = &both});
    dg::thread_pool b({.threads = 1, .name = "b", .trace = &both});
    dg::thread_pool c({.threads = 1, .name = "c", .trace = &other});
    dg::thread_pool none(1);
    const busy_worker busy_a(a), busy_b(b), busy_c(c), busy_none(none);
    for (int i = 0; i < 5; ++i) {
      for (dg::thread_pool* pool : {&a, &c, &none, &b}) {
        auto r = pool->submit([] { return 1; });
        const std::uint64_t id = r.id().task;
        if (pool == &c) in_other.push_back(id);
        if (pool == &a || pool == &b) in_both.push_back(id);
        CHECK(r.get() == 1);  // run by this thread
      }
    }
  }
  const timeline two = written_by(both), one = written_by(other);
  CHECK(two.rows.size() == 3);
  CHECK(one.rows.size() == 2);
  CHECK(two.row_named("a-0") != 0);
  CHECK(two.row_named("b-0") != 0);
  CHECK(one.row_named("c-0") != 0);
  CHECK(two.slices.size() == 2 + 10);
  CHECK(one.slices.size() == 1 + 5);
  const int mine = two.slices_of(in_both[0]).at(0).row;
  for (const std::uint64_t id : in_both) CHECK(two.slices_of(id).at(0).row == mine);
  for (const std::uint64_t id : in_other) CHECK(one.slices_of(id).size() == 1);
}

TEST_CASE("a stream of cheap values is read in full, and in order, from a pool that is traced", "[trace][pulling]") {
  support::watchdog dog("trace: cheap values");
  struct forced {
    dg::detail::pulling before = dg::detail::pulling_mode.exchange(dg::detail::pulling::whenever_possible);
    ~forced() { dg::detail::pulling_mode = before; }
  } const mode;
  constexpr std::uint64_t values = 2'000;
  dg::trace t;
  std::uint64_t id = 0, read_by_task = 0;
  {
    dg::thread_pool pool({.threads = 1, .trace = &t});
    {
      // Run by this thread, for one value after the other, as the worker is busy.
      const busy_worker busy(pool);
      auto stream = pool.options(dg::name{"cheap"}).submit(count_to, int{values});
      id = stream.id();
      int expected = 0;
      for (const int value : stream.values()) expected = value == expected ? expected + 1 : -1;
      CHECK(expected == int{values});
    }
  }
  {
    // One thread for both: they take turns.
    dg::thread_pool pool({.threads = 1, .waiters_help = false, .trace = &t});
    auto stream = pool.options(dg::backpressure{64}).submit(count_to, int{values});
    read_by_task = stream.id();
    auto sum = pool.submit(
        [](dg::ref_stream<int> s) -> dg::task<int> {
          int n = 0;
          while (co_await s.async_value()) ++n;
          co_return n;
        },
        std::move(stream));
    CHECK(sum.get() == int{values});
  }
  const timeline seen = written_by(t);
  CHECK(is_nested(seen));
  CHECK(seen.dropped == 0);
  std::uint64_t stretches = 0;
  for (const event& e : seen.slices_of(id)) stretches += e.stretches;
  CHECK(stretches == values + 1);
  // Each turn fills the buffer, and the stream is never pulled.
  stretches = 0;
  for (const event& e : seen.slices_of(read_by_task)) stretches += e.stretches;
  CHECK(stretches >= values / 64);
  CHECK(stretches <= values / 32 + 1);
}

TEST_CASE("runs of a task that follow each other immediately are one slice of a trace", "[trace]") {
  support::watchdog dog("trace: together");
  dg::trace t;
  dg::detail::trace_log& log = t.log();
  using dg::detail::trace_kind;

  SECTION("however many there are") {
    constexpr std::uint64_t rounds = 100'000;
    dg::detail::trace_event* const outer = log.begin("outer", 1, 1);
    for (std::uint64_t i = 0; i < rounds; ++i) log.end(log.begin("inner", 2, 1));
    log.end(outer);
    const timeline seen = written_by(t);
    CHECK(is_nested(seen));
    std::uint64_t stretches = 0;
    for (const event& e : seen.slices_of(2)) {
      stretches += e.stretches;
      CHECK(e.name == "inner");
      CHECK_FALSE(e.runs);
      CHECK(holds(seen.slices_of(1).at(0), e));
    }
    CHECK(stretches == rounds);
    CHECK(seen.slices_of(2).size() < rounds);
  }
  SECTION("and one still runs") {
    for (int i = 0; i < 1000; ++i) log.end(log.begin("", 2, 1));
    log.begin("", 2, 1);
    const timeline seen = written_by(t);
    CHECK(seen.slices_of(2).back().runs);
  }
  SECTION("but not if another event is between them") {
    log.end(log.begin("", 1, 1));
    log.end(log.begin("", 2, 1));  // another task
    log.end(log.begin("", 1, 1));
    log.end(log.begin("", 1, 2));  // another attempt
    log.note(trace_kind::parks);
    log.end(log.begin("", 1, 2));
    dg::detail::trace_event* const outer = log.begin("", 3, 1);
    log.end(log.begin("", 1, 2));
    log.end(outer);
    log.end(log.begin("", 1, 2));  // the outer slice is over
    const timeline seen = written_by(t);
    CHECK(is_nested(seen));
    CHECK(seen.slices.size() == 8);
    for (const event& e : seen.slices) CHECK(e.stretches == 1);
  }
}

TEST_CASE("calls of an actor are recorded like other tasks", "[trace][S-ACTOR]") {
  support::watchdog dog("trace: actors");
  struct counter {
    int value = 0;
    int add(int n) { return value += n; }
  };
  dg::trace t;
  std::uint64_t id = 0;
  {
    dg::thread_pool pool({.threads = 2, .trace = &t});
    auto a = pool.options(dg::name{"counter"}).make_actor<counter>();
    auto r = a.options(dg::name{"add"}).submit(&counter::add, 2);
    id = r.id().task;
    CHECK(r.get() == 2);
  }
  const timeline seen = written_by(t);
  CHECK(is_nested(seen));
  REQUIRE(seen.slices_of(id).size() == 1);
  CHECK(seen.slices_of(id)[0].name == "add");
  CHECK(seen.slices.size() == 3);  // its constructor and its end too
}

}  // namespace test_trace
