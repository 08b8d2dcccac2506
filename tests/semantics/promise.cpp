// SPDX-License-Identifier: MIT
// promise<T>: fulfilled once, by any thread, or broken; its ref behaves like any other. S-AWAIT-3, S-DETAIL-4.

#include "../catch.hpp"
#include "probes.hpp"

#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_promise {

using namespace std::chrono_literals;

namespace {

using support::awaits;
using support::later;

}  // namespace

TEST_CASE("a promise is fulfilled once", "[await][S-AWAIT-3]") {
  support::watchdog dog("promises");
  {
    dg::promise<int> p;
    dg::ref<int> r = p.get_ref();
    CHECK(p.get_ref() == r);
    CHECK_FALSE(r.ready());
    p.set_value(4);
    CHECK(r.get() == 4);
    CHECK(r.completion().ready());
    CHECK_FALSE(r.cancel());
    CHECK_THROWS_AS(p.set_value(5), dg::promise_already_satisfied);
    CHECK_THROWS_AS(p.set_exception(std::make_exception_ptr(support::boom())), dg::promise_already_satisfied);
    CHECK_THROWS_AS(p.get_ref(), dg::error);
  }
  {
    dg::promise<std::unique_ptr<int>> p;
    p.set_value(std::make_unique<int>(6));
    CHECK(*p.get_ref().take() == 6);  // the reader has the only ref
  }
  {
    dg::ref<int> r;
    {
      dg::promise<int> p;
      r = p.get_ref();
      dg::promise<int> moved = std::move(p);
      CHECK_THROWS_AS(p.set_value(1), dg::error);
    }
    CHECK(support::holds<dg::broken_promise>(r));
    CHECK(support::message_of([&] { r.get(); }).find("promise #") != std::string::npos);
  }
  {
    dg::promise<int> p;
    dg::ref<int> r = p.get_ref();
    CHECK_THROWS_AS(p.set_exception(nullptr), std::invalid_argument);
    p.set_exception(std::make_exception_ptr(support::boom()));
    CHECK(support::holds<support::boom>(r));
  }
  {
    dg::promise<void> p;
    dg::ref<void> r = p.get_ref();
    p.set_value();
    r.get();
    CHECK_THROWS_AS(p.set_value(), dg::promise_already_satisfied);
  }
}

TEST_CASE("a value whose constructor throws leaves its promise unfulfilled", "[await][S-AWAIT-3]") {
  support::watchdog dog("throwing value");
  struct fussy {
    fussy(int i) {
      if (i < 0) throw support::boom();
    }
  };
  dg::promise<fussy> p;
  dg::ref<fussy> r = p.get_ref();
  CHECK_THROWS_AS(p.set_value(-1), support::boom);
  CHECK_FALSE(r.ready());
  p.set_value(1);
  CHECK_FALSE(r.failed());
}

TEST_CASE("a promise without waiters leaks nothing", "[await][S-MEM-3]") {
  support::tracked::reset();
  {
    dg::promise<support::tracked> unasked;
    unasked.set_value(1);
    dg::promise<support::tracked> dropped;
    { auto r = dropped.get_ref(); }
    dropped.set_value(2);
    CHECK(support::tracked::live == 1);
    dg::promise<support::tracked> never_set;
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("promises are dependencies, and wake every kind of waiter", "[await][S-AWAIT-3]") {
  support::watchdog dog("promises as dependencies");
  dg::thread_pool pool(2);
  for (int round = 0; round < 500; ++round) {
    later value;
    auto depends = pool.submit([](const int& i) { return i + 1; }, value.ref);
    auto suspended = pool.submit(awaits, dg::unresolved(value.ref));
    std::thread sets([&] { value.promise.set_value(round); });
    REQUIRE(dg::wait_any(value.ref) == 0);
    REQUIRE(depends.get() == round + 1);
    REQUIRE(suspended.get() == round);
    sets.join();
  }
}

TEST_CASE("a promise that is moved, assigned or dropped breaks only its own ref", "[promise][S-AWAIT-3]") {
  support::watchdog dog("moved promises");
  dg::promise<int> a, b;
  auto first = a.get_ref();
  auto second = b.get_ref();
  a = std::move(b);  // the former promise of `a` is dropped
  CHECK(support::holds<dg::broken_promise>(first));
  CHECK_FALSE(second.ready());
  a.set_value(2);
  CHECK(second.get() == 2);
  CHECK_THROWS_AS(b.set_value(3), dg::error);
  CHECK_THROWS_AS(b.set_exception(std::make_exception_ptr(support::boom())), dg::error);
  CHECK_THROWS_AS(b.get_ref(), dg::error);
  std::vector<dg::promise<std::string>> many;
  std::vector<dg::ref<std::string>> refs;
  for (int i = 0; i < 50; ++i) {
    many.emplace_back();
    refs.push_back(many.back().get_ref());
  }
  for (std::size_t i = 0; i < 50; i += 2) many[i].set_value("value " + std::to_string(i));
  many.clear();
  for (std::size_t i = 0; i < 50; ++i) {
    if (i % 2 == 0)
      CHECK(refs[i].get() == "value " + std::to_string(i));
    else
      CHECK(support::holds<dg::broken_promise>(refs[i]));
  }
  dg::promise<int> self;
  auto& alias = self;
  self = std::move(alias);
  CHECK(self.get_ref().valid());
}

TEST_CASE("a promise<void> is fulfilled, failed or broken like others", "[promise][S-AWAIT-3]") {
  support::watchdog dog("promises of nothing");
  dg::thread_pool pool(1);
  const auto wait_for = [&pool](dg::ref<void> r) {
    return pool.submit(
        [](dg::ref<void> event) -> dg::task<std::string> {
          std::string said = "nothing";
          try {
            co_await event;
          } catch (const dg::broken_promise&) {
            said = "broken";
          } catch (const support::boom& e) {
            said = e.what();
          }
          co_return said;
        },
        dg::unresolved(std::move(r)));
  };
  std::vector<dg::ref<std::string>> said;
  {
    dg::promise<void> set, failed, broken;
    said = {wait_for(set.get_ref()), wait_for(failed.get_ref()), wait_for(broken.get_ref())};
    CHECK(set.get_ref() == set.get_ref());
    CHECK_FALSE(set.get_ref().ready());
    set.set_value();
    failed.set_exception(std::make_exception_ptr(support::boom("failed")));
    CHECK_THROWS_AS(set.set_exception(std::make_exception_ptr(support::boom())), dg::promise_already_satisfied);
    CHECK_THROWS_AS(failed.set_value(), dg::promise_already_satisfied);
  }
  CHECK(said[0].get() == "nothing");
  CHECK(said[1].get() == "failed");
  CHECK(said[2].get() == "broken");
  dg::promise<void> unasked;
  unasked.set_value();
  unasked.get_ref().get();
}

TEST_CASE("the ref of a promise behaves like that of a task, but has no task", "[promise][S-DETAIL-4]") {
  support::watchdog dog("refs of promises");
  later value;
  const auto end = value.ref.completion();
  CHECK_FALSE(value.ref.ready());
  CHECK_FALSE(value.ref.failed());
  CHECK_FALSE(end.ready());
  CHECK_FALSE(value.ref.wait_for(1ms));
  CHECK_THROWS_AS(value.ref.get_for(1ms), dg::timeout_error);
  CHECK_FALSE(value.ref.cancel());
  CHECK_FALSE(dg::cancel(value.ref));
  CHECK_FALSE(value.ref.ready());  // no task was cancelled
  CHECK(value.ref.id() != later().ref.id());
  value.promise.set_value(1);
  CHECK(end.ready());
  CHECK_FALSE(end.failed());
  CHECK_FALSE(value.ref.cancel());
  CHECK(std::move(value.ref).take() == 1);  // the promise keeps no reference
  later failing;
  failing.promise.set_exception(std::make_exception_ptr(support::boom("stored")));
  CHECK(support::message_of([&] { failing.ref.completion().get(); }) == "stored");
  CHECK(failing.ref.error() == failing.ref.completion().error());
}

TEST_CASE("every kind of wait for a promise ends with its value, its exception, or its destruction",
          "[promise][S-AWAIT-3][S-CANCEL-7]") {
  support::watchdog dog("waiters of promises");
  dg::thread_pool pool(2);
  for (int how = 0; how < 3; ++how) {
    for (int round = 0; round < 100; ++round) {
      std::optional<later> value(std::in_place);
      const dg::ref<int> r = value->ref;
      auto depends = pool.submit([](int v) { return v; }, r);
      auto suspended = pool.submit(awaits, dg::unresolved(r));
      auto any = pool.submit(
          [](dg::ref<int> in) -> dg::task<int> {
            co_await dg::when_any(in);
            co_return in.failed() ? -1 : in.get();
          },
          dg::unresolved(r));
      auto stream = pool.submit(
          [](dg::ref<int> in) -> dg::generator<int> {
            co_yield 5;
            co_yield co_await in;
          },
          dg::unresolved(r));
      std::atomic<int> blocked{-2};
      std::thread blocks([&] { blocked = r.error() ? -1 : r.get(); });
      std::thread sets([&] {
        if (how == 0) value->promise.set_value(7);
        if (how == 1) value->promise.set_exception(std::make_exception_ptr(support::boom()));
        if (how == 2) value.reset();
      });
      REQUIRE(r.wait_for(60s));
      sets.join();
      blocks.join();
      REQUIRE(blocked == (how == 0 ? 7 : -1));
      REQUIRE(any.get() == (how == 0 ? 7 : -1));
      REQUIRE(stream.next_value() == 5);
      if (how == 0) {
        REQUIRE(depends.get() == 7);
        REQUIRE(suspended.get() == 7);
        REQUIRE(stream.next_value() == 7);
      } else if (how == 1) {
        REQUIRE(support::holds<support::boom>(depends));
        REQUIRE(support::holds<support::boom>(suspended));
        REQUIRE_THROWS_AS(stream.next_value(), support::boom);
      } else {
        REQUIRE(support::holds<dg::broken_promise>(depends));
        REQUIRE(support::holds<dg::broken_promise>(suspended));
        REQUIRE_THROWS_AS(stream.next_value(), dg::broken_promise);
      }
    }
  }
}

TEST_CASE("a promise may be fulfilled by a task, and be destroyed by the task that it wakes", "[promise][S-MEM-8]") {
  support::watchdog dog("promises inside tasks");
  support::tracked::reset();
  {
    dg::thread_pool pool(2);
    for (int round = 0; round < 200; ++round) {
      // The promise lives in the frame of a task that awaits the task which the promise releases.
      struct body {
        static dg::task<int> fulfils(dg::promise<support::tracked> p, int v) {
          p.set_value(v);
          co_return v;
        }
        static dg::task<int> run(dg::thread_pool* pool, int v) {
          dg::promise<support::tracked> p;
          dg::ref<support::tracked> r = p.get_ref();
          auto other = pool->submit(fulfils, std::move(p), v);
          const support::tracked got = co_await std::move(r);
          co_return got.value - co_await other;
        }
      };
      REQUIRE(pool.submit(body::run, &pool, round).get() == 0);
    }
  }
  CHECK(support::tracked::live == 0);
}

}  // namespace test_promise
