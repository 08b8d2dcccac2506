// SPDX-License-Identifier: MIT
// S-ARITY-5: all_or_nothing.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

namespace test_all_or_nothing {

using support::arity;
using support::arity_of;
using support::boom;
using support::count_to;
using support::error_log;
using support::eventually;
using support::first;
using support::gate;
using support::holds;
using support::reporting_to;
using support::throw_after;
using support::tracked;
using support::tracked_to;
using support::values_of;

TEST_CASE("all_or_nothing: no ref is ready before the task has ended", "[arity][S-ARITY-5]") {
  support::watchdog dog("arity: all or nothing, waiting");
  gate last;
  std::atomic<int> yielded{0};
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<int> {
    co_yield 0;
    ++yielded;
    co_yield 1;
    ++yielded;
    last.pass();
  };
  auto refs = pool.options(dg::num_returns<2>{}, dg::all_or_nothing).submit(f);
  REQUIRE(eventually([&] { return yielded.load() == 2; }));
  CHECK_FALSE(refs[0].ready());
  CHECK_FALSE(refs[1].ready());
  CHECK_FALSE(refs[0].wait_for(std::chrono::milliseconds(5)));
  last.open();
  CHECK(values_of(refs) == first(2));
  refs[0].completion().get();
}

TEST_CASE("all_or_nothing: too few, too many or a throw fails every ref", "[arity][S-ARITY-5]") {
  support::watchdog dog("arity: all or nothing, failures");
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  auto options = pool.options(dg::num_returns<3>{}, dg::all_or_nothing);
  auto few = options.submit(count_to, 2);
  auto none = options.submit(count_to, 0);
  auto many = options.submit(count_to, 4);
  auto thrown_early = options.submit(throw_after, 0);
  auto thrown_late = options.submit(throw_after, 2);
  auto thrown_last = options.submit(throw_after, 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(arity_of(few[i]) == arity{3, 2});
    CHECK(arity_of(none[i]) == arity{3, 0});
    CHECK(arity_of(many[i]) == arity{3, 4});
    CHECK(holds<boom>(thrown_early[i]));
    CHECK(holds<boom>(thrown_late[i]));
    CHECK(holds<boom>(thrown_last[i]));
  }
  CHECK(thrown_last[0].error() == thrown_last[2].error());
}

TEST_CASE("all_or_nothing: cancellation fails every ref", "[arity][S-ARITY-5]") {
  support::watchdog dog("arity: all or nothing, cancelled");
  gate go_on;
  std::atomic<bool> one{false}, behind{false};
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<int> {
    co_yield 0;
    one = true;
    go_on.pass();
    co_yield 1;
    behind = true;
  };
  auto refs = pool.options(dg::num_returns<2>{}, dg::all_or_nothing).submit(f);
  REQUIRE(eventually([&] { return one.load(); }));
  CHECK(refs[0].cancel());
  go_on.open();
  CHECK(holds<dg::cancelled_error>(refs[0]));
  CHECK(holds<dg::cancelled_error>(refs[1]));
  CHECK_FALSE(behind.load());
}

TEST_CASE("all_or_nothing: a value staged by a failed task is destroyed", "[arity][S-ARITY-5]") {
  tracked::reset();
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns<3>{}, dg::all_or_nothing).submit(tracked_to, 2);
  for (const auto& r : refs) CHECK(r.failed());
  refs = {};
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("all_or_nothing with dynamic: a failure fails the outer ref", "[arity][S-ARITY-5]") {
  support::watchdog dog("arity: all or nothing, dynamic");
  dg::thread_pool pool(2);
  auto options = pool.options(dg::dynamic, dg::all_or_nothing);
  auto good = options.submit(count_to, 3);
  auto empty = options.submit(count_to, 0);
  auto bad = options.submit(throw_after, 2);
  REQUIRE(good.get().size() == 3u);
  CHECK(values_of(good.get()) == first(3));
  CHECK(empty.get().empty());
  bad.wait();
  CHECK(bad.failed());
  CHECK(holds<boom>(bad));
}

}  // namespace test_all_or_nothing
