// SPDX-License-Identifier: MIT
// Waits that can never end, because the code that would end them is below on the waiting thread's stack: a task that
// waits for itself, a method that waits for another call of its own actor. Every form of wait throws (L-7, L-12,
// S-ACTOR-4); similar waits that can end do not.

#include "../catch.hpp"
#include "probes.hpp"

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace test_self_waits {

using namespace std::chrono_literals;

namespace {

struct counter {
  int value = 0;
  int add(int n) { return value += n; }
  dg::generator<int> count(int n) {
    for (int i = 0; i < n; ++i) co_yield ++value;
  }
};

/// The first value of a generator that is iterated in place.
int first_of(dg::generator<int> values) {
  for (int v : values) return v;
  return -1;
}
dg::generator<int> awaited_in_place(dg::ref<int> r) { co_yield co_await r; }
dg::generator<int> all_in_place(dg::ref<int> r) { co_yield std::get<0>(co_await dg::when_all(r)); }
dg::generator<int> any_in_place(dg::ref<int> r) { co_yield static_cast<int>(co_await dg::when_any(r)); }

constexpr const char* of_itself = "a task cannot wait for itself";
constexpr const char* of_its_actor = "a method cannot wait for another call of its own actor";

template <class T>
bool says(const dg::ref<T>& r, const char* what) {
  return support::message_of([&] { r.get(); }).find(what) != std::string::npos;
}

/// A task on its own executor that is given its own ref.
template <class Body>
dg::ref<int> given_itself(dg::manual_executor& manual, Body body) {
  auto own = std::make_shared<dg::ref<int>>();
  *own = dg::on(manual).submit([own, body] { return body(*own); });
  dg::ref<int> r = *own;
  manual.run_all();
  *own = {};
  return r;
}

}  // namespace

TEST_CASE("a plain function that waits for its own end gets an error from every form of wait", "[wait][L-12]") {
  support::watchdog dog("plain self waits");
  dg::manual_executor manual;
  using body = std::function<int(dg::ref<int>&)>;
  const std::vector<std::pair<const char*, body>> forms{
      {"get", [](dg::ref<int>& own) { return own.get(); }},
      {"wait", [](dg::ref<int>& own) { return own.wait(), 0; }},
      {"error", [](dg::ref<int>& own) { return own.error() ? 1 : 0; }},
      {"completion", [](dg::ref<int>& own) { return own.completion().wait(), 0; }},
      {"free get", [](dg::ref<int>& own) { return std::get<1>(dg::get(dg::put(1), own)); }},
      {"free wait",
       [](dg::ref<int>& own) {
         return static_cast<int>(dg::wait(std::vector{dg::put(1), own}, 2).ready.size());
       }},
      {"wait_any", [](dg::ref<int>& own) { return static_cast<int>(dg::wait_any(own, own.completion())); }},
      {"co_await in place", [](dg::ref<int>& own) { return first_of(awaited_in_place(own)); }},
      {"when_all in place", [](dg::ref<int>& own) { return first_of(all_in_place(own)); }},
      {"when_any in place", [](dg::ref<int>& own) { return first_of(any_in_place(own)); }},
  };
  for (const auto& [name, form] : forms) {
    INFO(name);
    dg::ref<int> r = given_itself(manual, form);
    REQUIRE(r.ready());
    CHECK(says(r, of_itself));
  }
  // Timed waits end by themselves, and a wait that another task can satisfy does not throw.
  CHECK(given_itself(manual, [](dg::ref<int>& own) { return own.wait_for(1ms) ? 1 : 0; }).get() == 0);
  CHECK(given_itself(manual, [](dg::ref<int>& own) {
          return dg::wait(std::vector{own}, 1, 1ms).ready.empty() ? 7 : 0;
        }).get() == 7);
  CHECK(given_itself(manual, [](dg::ref<int>& own) { return static_cast<int>(dg::wait_any(own, dg::put(1))); }).get() ==
        1);
  CHECK(given_itself(manual, [](dg::ref<int>& own) {
          return static_cast<int>(dg::wait(std::vector{own, dg::put(1)}, 1).ready.size());
        }).get() == 1);
}

TEST_CASE("a coroutine that awaits its own end gets an error from every form of await", "[await][L-12]") {
  support::watchdog dog("awaiting self waits");
  dg::manual_executor manual;
  auto own = std::make_shared<dg::ref<int>>();
  struct bodies {
    static dg::task<int> plain(std::shared_ptr<dg::ref<int>> own) { co_return co_await *own; }
    static dg::task<int> nested(std::shared_ptr<dg::ref<int>> own) { co_return co_await plain(own); }
    static dg::task<int> moved(std::shared_ptr<dg::ref<int>> own) {
      dg::ref<int> copy = *own;
      co_return co_await std::move(copy);
    }
    static dg::task<int> all(std::shared_ptr<dg::ref<int>> own) {
      auto [a, b] = co_await dg::when_all(dg::put(1), *own);
      co_return a + b;
    }
    static dg::task<int> all_of_range(std::shared_ptr<dg::ref<int>> own) {
      std::vector<dg::ref<int>> refs{dg::put(1), *own};
      co_return (co_await dg::when_all(refs))[1];
    }
    static dg::task<int> any(std::shared_ptr<dg::ref<int>> own) {
      co_return static_cast<int>(co_await dg::when_any(*own, *own));
    }
    static dg::task<int> completion(std::shared_ptr<dg::ref<int>> own) {
      co_await own->completion();
      co_return 1;
    }
    static dg::task<int> blocks(std::shared_ptr<dg::ref<int>> own) { co_return own->get(); }
  };
  for (auto body : {&bodies::plain, &bodies::nested, &bodies::moved, &bodies::all, &bodies::all_of_range, &bodies::any,
                    &bodies::completion, &bodies::blocks}) {
    *own = dg::on(manual).submit(body, own);
    dg::ref<int> r = *own;
    manual.run_all();
    REQUIRE(r.ready());
    CHECK(says(r, of_itself));
    *own = {};
  }
}

TEST_CASE("a task that reads its own stream beyond the values that it has yielded gets an error", "[stream][L-7]") {
  support::watchdog dog("a stream read by its own task");
  using own_stream = std::shared_ptr<std::optional<dg::ref_stream<int>>>;
  struct bodies {
    static dg::generator<int> value(own_stream own) {
      co_yield 1;
      while ((*own)->next_value()) {
      }
    }
    static dg::generator<int> refs(own_stream own) {
      co_yield 1;
      for (dg::ref<int> r : **own) r.get();
    }
    static dg::generator<int> values(own_stream own) {
      co_yield 1;
      for (int v : (*own)->values()) static_cast<void>(v);
    }
    static dg::generator<int> awaits(own_stream own) {
      co_yield 1;
      while (auto v = co_await (*own)->async_value()) static_cast<void>(v);
    }
    static dg::generator<int> awaits_refs(own_stream own) {
      co_yield 1;
      while (auto r = co_await (*own)->async_next()) r->get();
    }
    static dg::generator<int> awaits_any(own_stream own) {
      co_yield 1;
      for (;;) {
        const std::size_t first = co_await dg::when_any(**own);
        if (first == 0) (*own)->next();
      }
    }
    static dg::generator<int> waits_any(own_stream own) {
      co_yield 1;
      while (dg::wait_any(**own) == 0) (*own)->next();
    }
    static dg::generator<int> in_place(own_stream own) {
      co_yield 1;
      const auto read = [](own_stream s) -> dg::generator<int> {
        while (auto v = co_await (*s)->async_value()) co_yield *v;
      };
      for (int v : read(own)) static_cast<void>(v);
    }
  };
  for (auto body : {&bodies::value, &bodies::refs, &bodies::values, &bodies::awaits, &bodies::awaits_refs,
                    &bodies::awaits_any, &bodies::waits_any, &bodies::in_place}) {
    dg::manual_executor manual;
    own_stream own = std::make_shared<std::optional<dg::ref_stream<int>>>();
    *own = dg::on(manual).submit(body, own);
    manual.run_all();
    REQUIRE((*own)->completion().ready());
    CHECK(says((*own)->completion(), of_itself));
    auto item = (*own)->try_next();  // the value was taken, the failure was not
    REQUIRE(item.has_value());
    CHECK(says(*item, of_itself));
    own->reset();
  }
}

TEST_CASE("a method that waits for another call of its actor gets an error from every form of wait",
          "[actor][S-ACTOR-4][L-12]") {
  support::watchdog dog("methods that wait for their own actor");
  dg::thread_pool pool(2);
  auto a = pool.make_actor<counter>();
  using body = std::function<int(dg::ref<int>)>;
  const std::vector<std::pair<const char*, body>> forms{
      {"get", [](dg::ref<int> r) { return r.get(); }},
      {"get &&", [](dg::ref<int> r) { return std::move(r).get(); }},
      {"wait", [](dg::ref<int> r) { return r.wait(), 0; }},
      {"completion", [](dg::ref<int> r) { return r.completion().wait(), 0; }},
      {"free get", [](dg::ref<int> r) { return dg::get(std::vector{std::move(r)})[0]; }},
      {"free wait", [](dg::ref<int> r) { return static_cast<int>(dg::wait(std::vector{std::move(r)}).ready.size()); }},
      {"wait_any", [](dg::ref<int> r) { return static_cast<int>(dg::wait_any(r)); }},
      {"co_await in place", [](dg::ref<int> r) { return first_of(awaited_in_place(std::move(r))); }},
      {"when_all in place", [](dg::ref<int> r) { return first_of(all_in_place(std::move(r))); }},
      {"when_any in place", [](dg::ref<int> r) { return first_of(any_in_place(std::move(r))); }},
  };
  for (const auto& [name, form] : forms) {
    INFO(name);
    auto r = a.submit([a, wait = form](counter&) { return wait(a.submit(&counter::add, 1)); });
    CHECK(says(r, of_its_actor));
  }
  struct bodies {
    static dg::task<int> awaits(counter&, dg::actor<counter> own) { co_return co_await own.submit(&counter::add, 1); }
    static dg::task<int> all(counter&, dg::actor<counter> own) {
      co_return std::get<0>(co_await dg::when_all(own.submit(&counter::add, 1)));
    }
    static dg::task<int> any(counter&, dg::actor<counter> own) {
      auto r = own.submit(&counter::add, 1);
      co_return static_cast<int>(co_await dg::when_any(r));
    }
    static dg::task<int> stream(counter&, dg::actor<counter> own) {
      auto values = own.submit(&counter::count, 3);
      co_return *co_await values.async_value();
    }
    static dg::task<int> list(counter&, dg::actor<counter> own) {
      co_return static_cast<int>((co_await own.options(dg::dynamic).submit(&counter::count, 3)).size());
    }
    static dg::task<int> outside(counter&, dg::actor<counter> own) {
      auto r = own.submit(&counter::add, 1);
      co_return static_cast<int>(co_await dg::when_any(r, dg::put(1)));
    }
  };
  for (auto method : {&bodies::awaits, &bodies::all, &bodies::any, &bodies::stream, &bodies::list})
    CHECK(says(a.submit(method, a), of_its_actor));
  // One of the two can become ready.
  CHECK(a.submit(&bodies::outside, a).get() == 1);
  // The actor still works: every call has run but that of the dropped stream.
  CHECK(a.submit(&counter::add, 0).get() == static_cast<int>(forms.size()) + 3 + 3 + 1);
}

TEST_CASE("under max_concurrency a coroutine may await its own actor, a function may not block on it",
          "[actor][S-ACTOR-4][L-12]") {
  support::watchdog dog("max_concurrency and self waits");
  dg::thread_pool pool(2);
  auto a = pool.options(dg::max_concurrency{2}).make_actor<counter>();
  struct bodies {
    static dg::task<int> awaits(counter&, dg::actor<counter> own) {
      int sum = co_await own.submit(&counter::add, 1);
      auto [x, y] = co_await dg::when_all(own.submit(&counter::add, 1), own.submit(&counter::add, 1));
      auto stream = own.submit(&counter::count, 2);
      while (auto v = co_await stream.async_value()) sum += *v;
      co_return sum + x + y;
    }
    static int blocks(counter&, dg::actor<counter> own) { return own.submit(&counter::add, 1).get(); }
    static dg::task<int> blocks_in_coroutine(counter&, dg::actor<counter> own) {
      co_return own.submit(&counter::add, 1).get();
    }
  };
  CHECK(a.submit(&bodies::awaits, a).get() == 1 + 2 + 3 + 4 + 5);
  CHECK(says(a.submit(&bodies::blocks, a), of_its_actor));
  CHECK(says(a.submit(&bodies::blocks_in_coroutine, a), of_its_actor));
}

TEST_CASE("a method may block on another task, which may not wait for the method's actor on the same stack",
          "[actor][L-12]") {
  support::watchdog dog("self waits through a helped task");
  // One worker: the method's wait runs the task on its own stack.
  dg::thread_pool pool(1);
  auto a = pool.make_actor<counter>();
  auto through = [&pool, a](auto inner) {
    return a.submit([&pool, a, inner](counter&) { return pool.submit(inner, a).get(); });
  };
  CHECK(says(through([](dg::actor<counter> own) { return own.submit(&counter::add, 1).get(); }), of_its_actor));
  CHECK(says(through([](dg::actor<counter> own) -> dg::task<int> { co_return co_await own.submit(&counter::add, 1); }),
             of_its_actor));
  CHECK(through([](dg::actor<counter> own) { return own.submit(&counter::add, 1).valid() ? 5 : 0; }).get() == 5);
}

}  // namespace test_self_waits
