// SPDX-License-Identifier: MIT
// S-ARITY-4: a task that yields more values than its caller asked for.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <string>
#include <utility>

namespace test_surplus_yields {

using support::arity;
using support::arity_of;
using support::captured_stderr;
using support::count_to;
using support::error_log;
using support::first;
using support::gate;
using support::occurrences;
using support::progress;
using support::reporting_to;
using support::tracked;
using support::values_of;
using support::watched;
using support::witness;

TEST_CASE("a surplus yield never returns: the frame is destroyed, the refs keep their values", "[arity][S-ARITY-4]") {
  support::watchdog dog("arity: surplus");
  for (int n : {1, 2, 3, 64, 65}) {
    for (int more : {1, 2, 100}) {
      error_log log;
      progress p;
      dg::thread_pool pool(reporting_to(log));
      auto refs = pool.options(dg::num_returns{n}, dg::name{"generous"}).submit(watched, &p, n + more);
      auto end = refs[0].completion();
      end.wait();
      CHECK(p.passed.load() == n);
      CHECK_FALSE(p.ended.load());
      CHECK(p.frames->load() == 0);
      CHECK(values_of(refs) == first(n));
      CHECK(arity_of(end) == arity{n, n + 1});
      REQUIRE(log.count() == 1u);
      CHECK(log.count_of<dg::arity_error>() == 1u);
      CHECK(log.at(0).task == "generous");
    }
  }
}

TEST_CASE("a surplus yield under an arity in the type", "[arity][S-ARITY-4]") {
  support::watchdog dog("arity: surplus, static");
  error_log log;
  progress p;
  dg::thread_pool pool(reporting_to(log));
  auto refs = pool.options(dg::num_returns<2>{}).submit(watched, &p, 3);
  CHECK(arity_of(refs[1].completion()) == arity{2, 3});
  CHECK(values_of(refs) == first(2));
  CHECK(p.passed.load() == 2);
  CHECK(p.frames->load() == 0);
  CHECK(log.count_of<dg::arity_error>() == 1u);
}

TEST_CASE("no handler and no code behind a surplus yield runs, destructors do", "[arity][S-ARITY-4]") {
  support::watchdog dog("arity: surplus in a try block");
  error_log log;
  std::atomic<int> outer{0}, inner{0}, handled{0}, behind{0};
  dg::thread_pool pool(reporting_to(log));
  auto f = [&]() -> dg::generator<int> {
    const witness a(outer);
    try {
      const witness b(inner);
      co_yield 1;
      co_yield 2;
      ++behind;
    } catch (...) {
      ++handled;
    }
    ++behind;
    co_yield 3;
    ++behind;
  };
  auto refs = pool.options(dg::num_returns<1>{}).submit(f);
  refs[0].completion().wait();
  CHECK(refs[0].get() == 1);
  CHECK(handled.load() == 0);
  CHECK(behind.load() == 0);
  CHECK(outer.load() == 0);
  CHECK(inner.load() == 0);
}

TEST_CASE("a surplus yield inside a nested generator destroys every frame", "[arity][S-ARITY-4]") {
  support::watchdog dog("arity: surplus, nested");
  error_log log;
  std::atomic<int> outer{0};
  std::atomic<bool> behind{false};
  progress p;
  dg::thread_pool pool(reporting_to(log));
  auto f = [&]() -> dg::generator<int> {
    const witness frame(outer);
    co_yield dg::elements_of(watched(&p, 5));
    behind = true;
  };
  auto refs = pool.options(dg::num_returns<3>{}).submit(f);
  CHECK(arity_of(refs[0].completion()) == arity{3, 4});
  CHECK(p.passed.load() == 3);
  CHECK(p.frames->load() == 0);
  CHECK(outer.load() == 0);
  CHECK_FALSE(behind.load());
  CHECK(values_of(refs) == first(3));
}

TEST_CASE("the operand of a surplus yield is not stored, and is destroyed", "[arity][S-ARITY-4][S-DETAIL-2]") {
  dg::inline_executor here;
  captured_stderr quiet;
  {
    tracked::reset();
    auto f = []() -> dg::generator<tracked> {
      tracked a(1);
      co_yield std::move(a);
      tracked b(2);
      co_yield std::move(b);
    };
    auto refs = dg::on(here).options(dg::num_returns<1>{}).submit(f);
    refs[0].completion().wait();
    CHECK(tracked::moves.load() == 1);
    CHECK(tracked::copies.load() == 0);
    CHECK(tracked::live.load() == 1);
    CHECK(refs[0].get().value == 1);
  }
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("an endless generator under num_returns ends with its first surplus value", "[arity][S-ARITY-4]") {
  support::watchdog dog("arity: endless");
  error_log log;
  dg::thread_pool pool(reporting_to(log, 1));
  auto endless = []() -> dg::generator<int> {
    for (int i = 0;; ++i) co_yield i;
  };
  auto refs = pool.options(dg::num_returns<3>{}).submit(endless);
  CHECK(arity_of(refs[0].completion()) == arity{3, 4});
  CHECK(values_of(refs) == first(3));
}

TEST_CASE("a surplus yield is reported with every ref dropped, before or after the run", "[arity][S-ARITY-4]") {
  support::watchdog dog("arity: surplus, dropped");
  for (bool before : {true, false}) {
    error_log log;
    progress p;
    tracked::reset();
    {
      gate start;
      dg::thread_pool pool(reporting_to(log, 1));
      auto blocker = pool.submit([&] { start.pass(); });
      auto refs = pool.options(dg::num_returns<2>{}).submit(watched, &p, 3);
      auto end = refs[0].completion();
      if (before) refs = {};
      start.open();
      end.wait();
      refs = {};
    }
    CHECK(log.count_of<dg::arity_error>() == 1u);
    CHECK(p.passed.load() == 2);
    CHECK(p.frames->load() == 0);
  }
}

TEST_CASE("without a hook, a surplus yield writes exactly one line that names the task", "[arity][S-ARITY-4]") {
  support::watchdog dog("arity: surplus on stderr");
  captured_stderr file;
  std::string value;
  {
    dg::thread_pool pool(2);
    auto refs = pool.options(dg::num_returns<1>{}, dg::name{"talkative"}).submit(count_to, 2);
    refs[0].completion().wait();
    value = std::to_string(refs[0].get());
  }
  const std::string text = file.finish();
  CHECK(value == "0");
  CHECK(occurrences(text, "\n") == 1u);
  CHECK(occurrences(text, "talkative") >= 1u);
}

TEST_CASE("a tuple generator's surplus yield is a surplus yield", "[arity][S-ARITY-4]") {
  support::watchdog dog("arity: surplus in a tuple generator");
  error_log log;
  std::atomic<bool> behind{false};
  dg::thread_pool pool(reporting_to(log));
  auto f = [&]() -> dg::tuple_generator<int, std::string> {
    co_yield 1;
    co_yield "one";
    co_yield 2;
    behind = true;
  };
  auto [a, b] = pool.submit(f);
  CHECK(arity_of(a.completion()) == arity{2, 3});
  CHECK(a.get() == 1);
  CHECK(b.get() == "one");
  CHECK_FALSE(behind.load());
  CHECK(log.count_of<dg::arity_error>() == 1u);
}

}  // namespace test_surplus_yields
