// SPDX-License-Identifier: MIT
// Values of types with hostile operators and namespaces: a unary & that returns something else (as smart pointers of
// COM have), a comma operator, deleted operators new, and functions of their namespace that accept any arguments and
// are found by argument-dependent lookup.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <tuple>
#include <utility>
#include <vector>

namespace test_hostile_types {

namespace hostile {

struct handle {
  int v = 0;
  handle() = default;
  explicit handle(int n) : v(n) {}
  handle* operator&() = delete;
  const handle* operator&() const = delete;
  template <class T>
  friend void operator,(const handle&, T&&) = delete;
  template <class T>
  friend void operator,(T&&, const handle&) = delete;
  static void* operator new(std::size_t) = delete;
  static void* operator new(std::size_t, void*) = delete;
  static void operator delete(void*) = delete;
};

#define HOSTILE_TAKES_ANYTHING(NAME)   \
  template <class... T>                \
  void NAME(T&&...) = delete;          \
  template <class A, class... T>       \
  void NAME(T&&...) = delete;
HOSTILE_TAKES_ANYTHING(move)
HOSTILE_TAKES_ANYTHING(forward)
HOSTILE_TAKES_ANYTHING(exchange)
HOSTILE_TAKES_ANYTHING(addressof)
HOSTILE_TAKES_ANYTHING(invoke)
HOSTILE_TAKES_ANYTHING(apply)
HOSTILE_TAKES_ANYTHING(construct)
HOSTILE_TAKES_ANYTHING(construct_at)
HOSTILE_TAKES_ANYTHING(destroy)
HOSTILE_TAKES_ANYTHING(destroy_at)
HOSTILE_TAKES_ANYTHING(pass)
HOSTILE_TAKES_ANYTHING(drop)
HOSTILE_TAKES_ANYTHING(get)
HOSTILE_TAKES_ANYTHING(wait)
HOSTILE_TAKES_ANYTHING(next)
HOSTILE_TAKES_ANYTHING(submit_to)
HOSTILE_TAKES_ANYTHING(completion_of)
HOSTILE_TAKES_ANYTHING(reject_empty)
HOSTILE_TAKES_ANYTHING(reject_null)
HOSTILE_TAKES_ANYTHING(throw_empty)
HOSTILE_TAKES_ANYTHING(point_of)
HOSTILE_TAKES_ANYTHING(unwrap_unresolved)
HOSTILE_TAKES_ANYTHING(terms_from)
HOSTILE_TAKES_ANYTHING(extras_from)

}  // namespace hostile

namespace {

using hostile::handle;

dg::generator<handle> some(int n) {
  for (int i = 0; i < n; ++i) {
    handle h(i);
    co_yield h;
    co_yield std::move(h);
    co_yield dg::emplace(i);
  }
}

dg::tuple_generator<handle, int> with_number() {
  handle h(3);
  co_yield h;
  co_yield 4;
}

dg::task<handle> sum(dg::ref<handle> a, dg::ref_stream<handle> s) {
  handle result(co_await a);
  while (std::optional<handle> h = co_await s.async_value()) result.v += h->v;
  while (std::optional<dg::ref<handle>> r = co_await s.async_next()) result.v += r->get().v;
  co_return result;
}

struct owner {
  handle kept;
  explicit owner(handle h) : kept(std::move(h)) {}
  int add(const handle& h) { return kept.v += h.v; }
  dg::generator<handle> twice(const handle& h) {
    co_yield h;
    co_yield h;
  }
};

}  // namespace

TEST_CASE("values may have hostile operators and namespaces", "[types]") {
  support::watchdog dog("hostile types");
  dg::thread_pool pool(2);

  CHECK(dg::put(handle(1)).get().v == 1);
  CHECK(pool.submit([](const handle& h, handle g) { return handle(h.v + g.v); }, handle(1), dg::put(handle(2))).get().v == 3);
  CHECK(pool.submit([](handle&& h) { return h.v; }, dg::consume(dg::put(handle(2)))).get() == 2);
  CHECK(pool.submit([](dg::ref<handle> r) { return r.get().v; }, dg::unresolved(dg::put(handle(2)))).get() == 2);
  CHECK(pool.options(dg::max_retries{1}).submit([](const handle& h) { return h; }, handle(5)).get().v == 5);
  CHECK(std::move(pool.submit([] { return handle(6); })).take().v == 6);
  CHECK(pool.submit([] { return handle(6); }).get_for(std::chrono::hours(1)).v == 6);

  const auto list = pool.options(dg::dynamic).submit(some, 2);
  CHECK(list.get().size() == 6u);
  CHECK(list.get()[3].get().v == 1);
  CHECK(list.get().begin()->get().v == 0);
  CHECK(list.get().values().begin()->v == 0);
  int all = 0;
  for (const handle& h : list.get().values()) all += h.v;
  for (const dg::ref<handle> r : list.get()) all += r.get().v;
  CHECK(all == 6);

  auto [first, second, third] = pool.options(dg::num_returns<3>{}).submit(some, 1);
  CHECK(first.get().v + second.get().v + third.get().v == 0);
  CHECK(dg::get(pool.options(dg::num_returns{3}, dg::all_or_nothing).submit(some, 1)).size() == 3u);
  auto [h, n] = pool.submit(with_number);
  CHECK(h.get().v + n.get() == 7);
  auto [a, b] = pool.options(dg::num_returns<2>{}).submit([] { return std::pair(handle(1), handle(2)); });
  CHECK(a.get().v + b.get().v == 3);
  CHECK(pool.options(dg::num_returns{2}).submit([] { return std::vector<handle>(2); })[1].get().v == 0);

  int seen = 0;
  auto stream = pool.submit(some, 20);
  for (handle&& value : stream.values()) {
    seen += value.v;
    if (value.v == 3) break;
  }
  for (dg::ref<handle>&& r : stream) {
    seen += r.get().v;
    if (r.get().v == 5) break;
  }
  while (std::optional<handle> value = stream.next_value()) seen += value->v;
  CHECK(seen > 100);
  CHECK_FALSE(stream.try_next().has_value());
  dg::budget budget(10);
  auto charged = pool.options(dg::backpressure_by(budget, [](const handle&) { return 1; })).submit(some, 20);
  for (handle&& value : std::move(charged).values()) seen += value.v;
  auto in_place = some(2);
  for (handle& value : in_place) seen += value.v;
  for (auto it = (in_place = some(1)).begin(); it != in_place.end(); ++it) seen += it->v;

  CHECK(pool.submit(sum, dg::unresolved(dg::put(handle(1))), pool.submit(some, 4)).get().v == 1 + 3 * 6);
  const auto awaits = [](dg::thread_pool& p) -> dg::task<int> {
    auto pair = co_await dg::when_all(dg::put(handle(1)), p.submit([] { return handle(2); }));
    std::vector<dg::ref<handle>> refs(3, dg::put(handle(3)));
    std::vector<handle> values = co_await dg::when_all(refs);
    co_return std::get<0>(pair).v + std::get<1>(pair).v + values[2].v + static_cast<int>(co_await dg::when_any(refs[0]));
  };
  CHECK(pool.submit(awaits, std::ref(pool)).get() == 6);

  dg::promise<handle> promise;
  promise.set_value(handle(7));
  CHECK(promise.get_ref().get().v == 7);
  auto at = pool.make_actor<owner>(handle(1));
  CHECK(at.submit(&owner::add, handle(2)).get() == 3);
  CHECK(at.submit(&owner::twice, handle(2)).next_value()->v == 2);
  CHECK(dg::wait(std::vector<dg::ref<handle>>(2, dg::put(handle(1))), 1).pending.size() == 1u);
}

}  // namespace test_hostile_types
