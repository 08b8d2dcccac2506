// SPDX-License-Identifier: MIT
// wait, wait_any and wait_any_for: what they return, which operands they refuse, and that they consume nothing.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace test_wait {

using namespace std::chrono_literals;
using support::boom;
using support::count_to;
using support::gate;

TEST_CASE("wait gives the ready and the pending, each in input order", "[handles][wait][S-WAIT-3]") {
  dg::manual_executor later;
  std::vector<dg::ref<int>> refs;
  refs.push_back(dg::on(later).submit([] { return 0; }));
  refs.push_back(dg::put(1));
  refs.push_back(dg::on(later).submit([] { return 2; }));
  dg::inline_executor here;
  refs.push_back(dg::on(here).submit([]() -> int { throw boom(); }));
  {
    auto [ready, pending] = dg::wait(refs, 2);
    REQUIRE(ready.size() == 2u);
    REQUIRE(pending.size() == 2u);
    CHECK(ready[0] == refs[1]);
    CHECK(ready[1] == refs[3]);  // a failed one is ready
    CHECK(pending[0] == refs[0]);
    CHECK(pending[1] == refs[2]);
  }
  {
    auto result = dg::wait(refs, 4, 5ms);
    CHECK(result.ready.size() == 2u);
    CHECK(result.pending.size() == 2u);
  }
  for (const auto& r : refs) CHECK(r.valid());
  later.run_all();
  {
    auto [ready, pending] = dg::wait(refs, 4);
    CHECK(ready == refs);
    CHECK(pending.empty());
  }
}

TEST_CASE("wait for nothing returns at once, wait asks for one by default", "[handles][wait][S-WAIT-3]") {
  dg::manual_executor later;
  std::vector<dg::ref<int>> refs{dg::on(later).submit([] { return 0; }), dg::put(1)};
  auto by_default = dg::wait(refs);
  REQUIRE(by_default.ready.size() == 1u);
  CHECK(by_default.ready[0] == refs[1]);
  const std::vector<dg::ref<int>> none;
  auto nothing = dg::wait(none, 0);
  CHECK(nothing.ready.empty());
  CHECK(nothing.pending.empty());
}

TEST_CASE("each occurrence of a duplicate counts in wait", "[handles][wait][S-DETAIL-9]") {
  dg::manual_executor later;
  auto one = dg::put(1);
  auto never = dg::on(later).submit([] { return 0; });
  const std::vector<dg::ref<int>> refs{one, never, one};
  auto [ready, pending] = dg::wait(refs, 2);
  CHECK(ready.size() == 2u);
  CHECK(pending.size() == 1u);
}

TEST_CASE("wait blocks until as many as asked are ready", "[handles][wait][S-WAIT-3]") {
  support::watchdog dog("handles: wait for k");
  gate last;
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<int> {
    for (int i = 0; i < 3; ++i) co_yield i;
    last.pass();
    co_yield 3;
  };
  auto refs = pool.options(dg::num_returns{4}).submit(f);
  auto [ready, pending] = dg::wait(refs, 3);
  REQUIRE(ready.size() == 3u);
  REQUIRE(pending.size() == 1u);
  CHECK(pending[0] == refs[3]);
  last.open();
  refs[3].wait();
}

TEST_CASE("wait_any gives the index of one that is ready", "[handles][wait_any]") {
  support::watchdog dog("handles: wait_any");
  dg::manual_executor later;
  auto never = dg::on(later).submit([] { return 0; });
  auto here = dg::put(std::string("now"));
  CHECK(dg::wait_any(never, here) == 1u);
  CHECK(dg::wait_any(here, never) == 0u);
  CHECK(dg::wait_any_for(1h, never, here, never) == 1u);
  const std::vector<dg::ref<int>> refs{never, never, dg::put(3), never};
  CHECK(dg::wait_any(refs) == 2u);
  CHECK(here.valid());  // nothing is consumed
  CHECK(here.get() == "now");
}

TEST_CASE("wait_any takes streams: ready when the next value is there", "[handles][wait_any][S-STREAM-2]") {
  support::watchdog dog("handles: wait_any of streams");
  dg::manual_executor later;
  dg::inline_executor here;
  auto idle = dg::on(later).submit(count_to, 1);
  auto full = dg::on(here).submit(count_to, 1);
  auto empty = dg::on(here).submit(count_to, 0);
  auto never = dg::on(later).submit([] { return 0; });
  CHECK(dg::wait_any(idle, full) == 1u);
  CHECK(dg::wait_any(empty, full) == 1u);  // an ended one counts only when all have ended
  CHECK(dg::wait_any(empty) == 0u);
  CHECK(dg::wait_any(never, full) == 1u);
  CHECK(full.next_value() == std::optional<int>(0));
  const std::size_t ended = dg::wait_any(empty, full);
  CHECK(ended < 2u);
}

TEST_CASE("wait_any starves none of those that are ready", "[handles][wait_any]") {
  auto a = dg::put(1);
  auto b = dg::put(2);
  auto c = dg::put(3);
  std::array<int, 3> chosen{};
  for (int i = 0; i < 300; ++i) ++chosen[dg::wait_any(a, b, c)];
  for (int n : chosen) CHECK(n > 0);
}

TEST_CASE("the free functions are objects that argument-dependent lookup does not find", "[handles]") {
  static_assert(std::is_object_v<decltype(dg::put)>);
  static_assert(std::is_object_v<decltype(dg::get)>);
  static_assert(std::is_object_v<decltype(dg::wait)>);
  static_assert(std::is_object_v<decltype(dg::wait_any)>);
  static_assert(std::is_object_v<decltype(dg::wait_any_for)>);
  static_assert(std::is_object_v<decltype(dg::cancel)>);
  auto put = dg::put;
  CHECK(put(3).get() == 3);
}

namespace {

}  // namespace

TEST_CASE("wait returns the ready and the pending refs, each in input order", "[wait][S-WAIT-3]") {
  support::watchdog dog("wait");
  dg::manual_executor one, two;
  std::vector<dg::ref<int>> refs;
  for (int i = 0; i < 6; ++i) {
    dg::manual_executor& chosen = i % 2 == 0 ? one : two;
    refs.push_back(dg::on(chosen).submit([i] {
      if (i == 3) throw support::boom();
      return i;
    }));
  }
  two.run_all();

  auto result = dg::wait(refs, 3);
  CHECK(result.ready == std::vector<dg::ref<int>>{refs[1], refs[3], refs[5]});
  CHECK(result.pending == std::vector<dg::ref<int>>{refs[0], refs[2], refs[4]});
  CHECK(result.ready[1].failed());

  // Nothing was consumed.
  CHECK(refs.size() == 6);
  CHECK(refs[1].get() == 1);
  CHECK(refs[5].get() == 5);

  auto none = dg::wait(refs, 0);
  CHECK(none.ready.size() + none.pending.size() == 6);

  auto late = dg::wait(refs, 6, 1ms);
  CHECK(late.ready.size() == 3);
  CHECK(late.pending.size() == 3);

  one.run_all();
  auto all = dg::wait(refs, 6);
  CHECK(all.ready == refs);
  CHECK(all.pending.empty());
}

TEST_CASE("wait returns at most the requested number as ready, and the others as pending", "[wait][S-WAIT-3]") {
  support::watchdog dog("wait for some of those that are ready");
  dg::manual_executor manual;
  std::vector<dg::ref<int>> refs;
  for (int i = 0; i < 6; ++i) refs.push_back(i == 1 || i == 4 ? dg::on(manual).submit([i] { return i; }) : dg::put(i));
  for (const bool timed : {false, true}) {
    auto some = timed ? dg::wait(refs, 2, 1h) : dg::wait(refs, 2);
    CHECK(some.ready == std::vector<dg::ref<int>>{refs[0], refs[2]});
    CHECK(some.pending == std::vector<dg::ref<int>>{refs[1], refs[3], refs[4], refs[5]});
    auto none = timed ? dg::wait(refs, 0, 0s) : dg::wait(refs, 0);
    CHECK(none.ready.empty());
    CHECK(none.pending == refs);
  }
  auto all_there = dg::wait(refs, refs.size(), 0s);
  CHECK(all_there.ready == std::vector<dg::ref<int>>{refs[0], refs[2], refs[3], refs[5]});
  CHECK(all_there.pending == std::vector<dg::ref<int>>{refs[1], refs[4]});
  const std::vector<dg::ref<int>> twice{refs[1], refs[0], refs[0], refs[0]};
  auto two = dg::wait(twice, 2);
  CHECK(two.ready == std::vector<dg::ref<int>>{refs[0], refs[0]});
  CHECK(two.pending == std::vector<dg::ref<int>>{refs[1], refs[0]});
  manual.run_all();
}

TEST_CASE("a loop that uses the ready refs and continues with the pending ones loses none", "[wait][S-WAIT-3]") {
  support::watchdog dog("the loop over wait");
  dg::thread_pool pool(2);
  std::vector<dg::ref<int>> rest;
  for (int i = 0; i < 300; ++i) rest.push_back(pool.submit([i] { return i; }));
  std::vector<int> seen;
  for (std::size_t many = 1; !rest.empty(); many = many % 3 + 1) {
    auto [ready, pending] = dg::wait(std::move(rest), many < rest.size() ? many : 1);
    for (const dg::ref<int>& r : ready) seen.push_back(r.get());
    rest = std::move(pending);
  }
  std::sort(seen.begin(), seen.end());
  REQUIRE(seen.size() == 300);
  for (int i = 0; i < 300; ++i) REQUIRE(seen[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("wait moves the refs out of an rvalue container, unless it throws", "[wait][S-WAIT-3]") {
  std::vector<dg::ref<std::unique_ptr<int>>> refs;
  for (int i = 0; i < 3; ++i) refs.push_back(dg::put(std::make_unique<int>(i)));
  CHECK_THROWS_AS(dg::wait(std::move(refs), 4), std::invalid_argument);
  refs.emplace_back();
  CHECK_THROWS_AS(dg::wait(std::move(refs), 1), dg::empty_ref);
  refs.pop_back();
  REQUIRE(refs.size() == 3);
  for (const auto& r : refs) REQUIRE(r.valid());
  auto [ready, pending] = dg::wait(std::move(refs), 2);
  REQUIRE(ready.size() == 2);
  REQUIRE(pending.size() == 1);
  CHECK(*std::move(ready[0]).take() == 0);  // the only ref to its value
  CHECK(*std::move(pending[0]).take() == 2);

  std::vector<dg::ref<std::unique_ptr<int>>> kept;
  for (int i = 0; i < 3; ++i) kept.push_back(dg::put(std::make_unique<int>(i)));
  auto of_view = dg::wait(std::span(kept), 1);  // a view owns nothing
  for (const auto& r : kept) CHECK(r.valid());
  CHECK(of_view.ready.front() == kept[0]);
}

TEST_CASE("wait reads a range that computes its refs only once", "[wait][S-WAIT-3]") {
  support::watchdog dog("ranges that make their refs");
  dg::thread_pool pool(2);
  int made = 0;
  auto tasks = std::views::iota(0, 5) | std::views::transform([&](int i) { return ++made, pool.submit([i] { return i; }); });
  auto [ready, pending] = dg::wait(tasks, 5);
  CHECK(made == 5);
  REQUIRE(ready.size() == 5);
  for (int i = 0; i < 5; ++i) CHECK(ready[static_cast<std::size_t>(i)].get() == i);
  CHECK(dg::wait_any(tasks) < 5u);
  CHECK(made == 10);

  const auto refs = [&]() -> dg::generator<dg::ref<int>> {
    for (int i = 0; i < 3; ++i) {
      auto r = pool.submit([i] { return i; });
      co_yield std::move(r);
    }
  };
  auto generated = refs();
  CHECK(dg::wait(generated, 2).ready.size() == 2);
  auto any = refs();
  CHECK(dg::wait_any(any) < 3u);

  std::vector<dg::ref<int>> some{dg::put(1), dg::put(2), dg::put(3)};
  auto odd = some | std::views::filter([](const dg::ref<int>& r) { return r.get() % 2 == 1; });
  CHECK(dg::wait(odd, 2).ready == std::vector<dg::ref<int>>{some[0], some[2]});
  CHECK(dg::wait_any(odd) < 2u);
  std::list<dg::ref<int>> list(some.begin(), some.end());
  CHECK(dg::wait(list, 3).ready == some);
  CHECK(dg::wait_any(list) < 3u);
}

TEST_CASE("wait waits for one ref by default", "[wait][S-WAIT-3]") {
  support::watchdog dog("wait for one");
  dg::manual_executor manual;
  std::vector<dg::ref<int>> refs;
  for (int i = 0; i < 3; ++i) refs.push_back(dg::on(manual).submit([i] { return i; }));
  manual.run_one();
  auto result = dg::wait(refs);
  CHECK(result.ready.size() == 1);
  CHECK(result.ready.front() == refs[0]);
  CHECK(result.pending.size() == 2);
}

TEST_CASE("wait blocks until the requested number of refs is ready", "[wait][S-WAIT-3]") {
  support::watchdog dog("wait blocks");
  for (int round = 0; round < 50; ++round) {
    dg::manual_executor manual;
    std::vector<dg::ref<int>> refs;
    for (int i = 0; i < 8; ++i) refs.push_back(dg::on(manual).submit([i] { return i; }));
    std::atomic<bool> waiting{false}, returned{false};
    std::atomic<std::size_t> ready{0};
    std::thread waiter([&] {
      waiting = true;
      ready = dg::wait(refs, 5).ready.size();
      returned = true;
    });
    while (!waiting) std::this_thread::yield();
    for (int i = 0; i < 4; ++i) manual.run_one();
    CHECK_FALSE(returned);
    manual.run_one();
    waiter.join();
    CHECK(ready == 5);
    manual.run_all();
  }
}

TEST_CASE("a wait for more refs than are given is refused", "[wait][S-WAIT-8]") {
  support::watchdog dog("too many asked for");
  dg::manual_executor manual;
  std::vector<dg::ref<int>> refs{dg::put(1), dg::put(2)};
  CHECK_THROWS_AS(dg::wait(refs, 3), std::invalid_argument);
  CHECK_THROWS_AS(dg::wait(refs, 3, 1ms), std::invalid_argument);
  CHECK_THROWS_AS(dg::wait(std::vector<dg::ref<int>>{}, 1), std::invalid_argument);
  CHECK(dg::wait(refs, 2).ready.size() == 2);
}

TEST_CASE("wait_any starts its scan at a rotating position, so that no operand starves", "[wait][wait_any]") {
  support::watchdog dog("wait_any rotates");
  auto a = dg::put(1);
  auto b = dg::put(2);
  auto c = dg::put(3);
  std::vector<int> hits(3);
  for (int i = 0; i < 300; ++i) ++hits[dg::wait_any(a, b, c)];
  for (int hit : hits) CHECK(hit >= 30);

  std::vector<dg::ref<int>> range{a, b, c};
  std::vector<int> range_hits(3);
  for (int i = 0; i < 300; ++i) ++range_hits[dg::wait_any(range)];
  for (int hit : range_hits) CHECK(hit >= 30);
}

TEST_CASE("wait_any checks few of many operands if a fixed share of them is ready", "[wait][wait_any][S-WAIT-3]") {
  support::watchdog dog("wait_any of many");
  dg::manual_executor never_run;
  const dg::ref<int> there = dg::put(1);
  const dg::ref<int> not_there = dg::on(never_run).submit([] { return 0; });
  constexpr int count = 100'000;
  for (const int share : {1, 2, 10}) {
    for (const bool at_the_end : {true, false}) {
      long looks = 0;
      const auto refs = std::views::iota(0, count) | std::views::transform([&](int i) -> const dg::ref<int>& {
                          ++looks;
                          const int from_there = at_the_end ? count - 1 - i : i;
                          return from_there < count / share ? there : not_there;
                        });
      constexpr int calls = 1000;
      for (int call = 0; call < calls; ++call) {
        const std::size_t found = dg::wait_any(refs);
        REQUIRE(found < static_cast<std::size_t>(count));
        REQUIRE(refs[static_cast<int>(found)].ready());
      }
      INFO("one of " << share << " is ready, " << (at_the_end ? "the last" : "the first"));
      CHECK(looks <= calls * (2 * share + 2));
    }
  }
  // None but one: found nevertheless, in each place.
  for (int place = 0; place < 200; place += 7) {
    std::vector<dg::ref<int>> refs(200, not_there);
    refs[static_cast<std::size_t>(place)] = there;
    REQUIRE(dg::wait_any(refs) == static_cast<std::size_t>(place));
    REQUIRE(dg::wait_any_for(1h, refs) == static_cast<std::size_t>(place));
  }
  // All: none is starved.
  const std::vector<dg::ref<int>> refs(100, there);
  std::vector<int> hits(100);
  for (int i = 0; i < 10'000; ++i) ++hits[dg::wait_any(refs)];
  for (int hit : hits) CHECK(hit >= 50);
  const std::vector<dg::ref<int>> none(200, not_there);
  CHECK_THROWS_AS(dg::wait_any_for(1ms, none), dg::timeout_error);
  never_run.run_all();
}

TEST_CASE("wait_any and when_any refuse the empty handles that they scan", "[wait][wait_any]") {
  const dg::ref<int> there = dg::put(1);
  std::vector<dg::ref<int>> few(64, there);
  few[63] = dg::ref<int>();
  for (int i = 0; i < 70; ++i) CHECK_THROWS_AS(dg::wait_any(few), dg::empty_ref);
  std::vector<dg::ref<int>> many(1000);
  CHECK_THROWS_AS(dg::wait_any(many), dg::empty_ref);
  dg::inline_executor here;
  CHECK_THROWS_AS(dg::on(here).submit([&]() -> dg::task<std::size_t> { co_return co_await dg::when_any(few); }).get(), dg::empty_ref);
  std::vector<dg::ref<int>> nothing;
  CHECK_THROWS_AS(dg::on(here).submit([&]() -> dg::task<std::size_t> { co_return co_await dg::when_any(nothing); }).get(), std::invalid_argument);
}

TEST_CASE("when_any takes ranges of each kind", "[wait][await]") {
  support::watchdog dog("when_any of ranges");
  dg::thread_pool pool(2);
  const auto body = [&]() -> dg::task<int> {
    int found = 0;
    std::vector<dg::ref<int>> many(1000, dg::put(1));
    found += co_await dg::when_any(many) < 1000u;
    std::vector<dg::ref<int>> few(3, dg::put(1));
    found += co_await dg::when_any(std::move(few)) < 3u;
    auto made = std::views::iota(0, 3) | std::views::transform([&](int i) { return pool.submit([i] { return i; }); });
    found += co_await dg::when_any(made) < 3u;
    auto later = pool.submit([] { return 1; });
    std::vector<dg::ref<int>> one(200, later);
    found += co_await dg::when_any(one) < 200u;
    co_return found;
  };
  CHECK(pool.submit(body).get() == 4);
}

TEST_CASE("wait_any finds the one that is ready and consumes nothing", "[wait][wait_any]") {
  support::watchdog dog("wait_any");
  dg::manual_executor never_run;
  dg::thread_pool pool(2);
  dg::ref<int> never = dg::on(never_run).submit([] { return 0; });
  for (int round = 0; round < 500; ++round) {
    dg::ref<int> soon = pool.submit([round] { return round; });
    REQUIRE(dg::wait_any(never, soon) == 1);
    REQUIRE(soon.get() == round);
  }
  dg::ref<int> fails = pool.submit([]() -> int { throw support::boom(); });
  CHECK(dg::wait_any(fails, never) == 0);
  CHECK(fails.failed());
  CHECK_THROWS_AS(dg::wait_any_for(1ms, never), dg::timeout_error);
  CHECK(dg::wait_any_for(1h, never, fails) == 1u);
}

TEST_CASE("wait_any on a worker of a small pool does not keep the others from running", "[wait][wait_any][L-2]") {
  support::watchdog dog("wait_any on a worker");
  for (bool helping : {true, false}) {
    dg::thread_pool pool({.threads = 1, .waiters_help = helping});
    dg::ref<std::size_t> index = pool.submit([&pool] {
      dg::ref<int> a = pool.submit([] { return 1; });
      dg::ref<int> b = pool.submit([] { return 2; });
      return static_cast<std::size_t>(dg::wait_any(a, b));
    });
    CHECK(index.get() < 2);
  }
}

}  // namespace test_wait
