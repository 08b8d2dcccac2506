// SPDX-License-Identifier: MIT
// What a coroutine awaits: refs, tasks, all or any of several, streams, its turn. The co_await throws a failure into
// the coroutine, and so it reaches the task's refs.

#include "submit_checks.hpp"

#include <array>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace test_coroutines {

using faults::all_hosts;
using faults::check_result;
using faults::count_to;
using faults::destructors;
using faults::drive_all;
using faults::kind;
using faults::run;
using faults::scenario;
using faults::target;
using faults::throwing;
using support::boom;

namespace {

/// Tries again, with nothing failing: the armed code may not have reached the promise.
template <class Promise, class... Value>
void fulfil(Promise& p, Value... value) {
  try {
    p.set_value(value...);
  } catch (const dg::promise_already_satisfied&) {
  }
}

template <class V>
dg::task<V> doubled(V number) {
  V sum(number.look() + number.look());
  co_return std::move(sum);
}

template <class V>
dg::task<void> looked_at(V number) {
  static_cast<void>(number.look());
  co_return;
}

/// Sets a flag when it is destroyed.
class leaves_word {
 public:
  explicit leaves_word(std::atomic<bool>& gone) noexcept : gone_(gone) {}
  leaves_word(const leaves_word&) = delete;
  leaves_word& operator=(const leaves_word&) = delete;
  ~leaves_word() { gone_ = true; }

 private:
  std::atomic<bool>& gone_;
};

template <class V>
std::vector<scenario> awaiting() {
  return {
      {"refs that are ready",
       [](run& r, target& t) {
         const dg::ref<V> a = dg::put(V(1));
         dg::ref<V> b = dg::put(V(2));
         dg::ref<V> result;
         r.armed(t, [&] {
           auto f = [&r](dg::ref<V> x, dg::ref<V> y, V) -> dg::task<V> {
             r.enter();
             const V& first = co_await x;
             const V second = co_await std::move(y);
             co_await x.completion();
             co_return first.look() + second.look();
           };
           result = t.on.submit(f, dg::unresolved(a), dg::unresolved(std::move(b)), V(0));
           t.work();
           result.wait();
         });
         check_result(r, t, result, 3);
       }},
      {"refs that are pending",
       [](run& r, target& t) {
         dg::promise<V> p, q;
         dg::promise<void> event;
         const dg::ref<V> x = p.get_ref();
         dg::ref<V> y = q.get_ref(), result;
         dg::ref<void> happened = event.get_ref();
         r.armed(t, [&] {
           auto f = [&](V) -> dg::task<V> {
             r.enter();
             co_await std::move(happened);
             const V& first = co_await x;
             const V second = co_await std::move(y);
             co_return first.look() + second.look();
           };
           result = t.on.submit(f, V(0));
           t.work();
           event.set_value();
           t.work();
           p.set_value(1);
           t.work();
           q.set_value(2);
           t.work();
           result.wait();
         });
         fulfil(event);
         fulfil(p, 1);
         fulfil(q, 2);
         t.work();
         check_result(r, t, result, 3);
       }},
      {"a ref that has failed",
       [](run& r, target& t) {
         r.expect<boom>();
         dg::promise<V> p;
         p.set_exception(std::make_exception_ptr(boom()));
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&r](dg::ref<V> x, V start) -> dg::task<int> {
             r.enter();
             int n = start.look();
             try {
               const V& got = co_await x;
               n += got.look();
             } catch (const boom&) {
               ++n;
             }
             co_return n;
           };
           result = t.on.submit(f, dg::unresolved(p.get_ref()), V(0));
           t.work();
           result.wait();
         });
         check_result(r, t, result, 1);
       }},
      {"tasks, one inside the other",
       [](run& r, target& t) {
         dg::ref<V> result;
         r.armed(t, [&] {
           auto inner = [](V n) -> dg::task<V> {
             const V twice = co_await doubled(V(n.look()));
             co_await looked_at(V(1));
             co_return twice.look() + 1;
           };
           auto f = [&r, inner](V n) -> dg::task<V> {
             r.enter();
             const V local(1);
             const V got = co_await inner(V(n.look()));
             co_return got.look() + local.look();
           };
           result = t.on.submit(f, V(3));
           t.work();
           result.wait();
         });
         check_result(r, t, result, 8);
       }},
      {"a task that throws",
       [](run& r, target& t) {
         dg::ref<int> result;
         r.armed(t, [&] {
           auto fail = [](V n) -> dg::task<V> {
             if (n.look() == 1) throw boom();
             co_return 1;
           };
           auto f = [&r, fail](V n) -> dg::task<int> {
             r.enter();
             try {
               co_await fail(V(n.look()));
             } catch (const boom&) {
               co_return 4;
             }
             co_return 5;
           };
           result = t.on.submit(f, V(1));
           t.work();
           result.wait();
         });
         check_result(r, t, result, 4);
       }},
      {"when_all of refs and tasks",
       [](run& r, target& t) {
         dg::promise<V> p;
         const dg::ref<V> kept = dg::put(V(1));
         dg::ref<V> given = dg::put(V(2));
         const dg::ref<V> later = p.get_ref();
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&](V) -> dg::task<int> {
             r.enter();
             auto all = dg::when_all(kept, std::move(given), later, doubled(V(2)), looked_at(V(1)), doubled(V(3)),
                                     kept.completion());
             const auto [a, b, c, d, e, g, h] = co_await std::move(all);
             static_cast<void>(e);
             static_cast<void>(h);
             co_return a.look() + b.look() + c.look() + d.look() + g.look();
           };
           result = t.on.submit(f, V(0));
           t.work();
           p.set_value(10);
           t.work();
           result.wait();
         });
         fulfil(p, 10);
         t.work();
         check_result(r, t, result, 23);
       }},
      {"when_all whose tasks throw",
       [](run& r, target& t) {
         r.expect<boom>();
         r.need_not_arrive();  // of two failures the first in argument order is thrown
         dg::ref<int> result;
         r.armed(t, [&] {
           auto fail = [](V n) -> dg::task<V> {
             if (n.look() == 1) throw boom();
             co_return 1;
           };
           auto f = [&r, fail](V n) -> dg::task<int> {
             r.enter();
             auto all = dg::when_all(doubled(V(1)), fail(V(n.look())), doubled(V(2)));
             co_await std::move(all);
             co_return 5;
           };
           result = t.on.submit(f, V(1));
           t.work();
           result.wait();
         });
         if (!result.valid()) return faults::check_nothing_submitted(r, t);
         r.check(!r.outcome_of(result), "an exception was lost");
       }},
      {"when_any of refs and streams",
       [](run& r, target& t) {
         dg::promise<V> p, never;
         const dg::ref<V> a = never.get_ref(), b = p.get_ref();
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&](V) -> dg::task<int> {
             r.enter();
             const dg::ref_stream<V> none;
             const std::size_t first = co_await dg::when_any(a, b);
             const std::vector<dg::ref<V>> both{a, b};
             const std::size_t second = co_await dg::when_any(both);
             co_return static_cast<int>(10 * first + second);
           };
           result = t.on.submit(f, V(0));
           t.work();
           p.set_value(1);
           t.work();
           result.wait();
         });
         fulfil(p, 1);
         t.work();
         check_result(r, t, result, 11);
       }},
      {"the items and values of a stream",
       [](run& r, target& t) {
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&r](dg::ref_stream<V> stream, V) -> dg::task<int> {
             r.enter();
             int sum = 0;
             for (int i = 0; i < 3; ++i) {
               const std::optional<dg::ref<V>> item = co_await stream.async_next();
               if (item) sum += item->get().look();
             }
             for (;;) {
               const std::optional<dg::ref<V>> item = co_await stream.async_next();
               if (!item) break;
               sum += item->get().look();
             }
             co_return sum;
           };
           auto stream = t.on.options(dg::backpressure{2}).submit(count_to<V>, 5);
           result = t.on.submit(f, std::move(stream), V(0));
           t.work();
           result.wait();
         });
         if (result.valid()) r.holds(result, 10);
         r.need_not_arrive();  // it may be in a stream whose reader was never created
       }},
      {"yield, and what a task knows of itself",
       [](run& r, target& t) {
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&r](V n) -> dg::task<int> {
             r.enter();
             const V local(1);
             co_await dg::this_task::yield();
             co_return n.look() + local.look() + static_cast<int>(dg::this_task::attempt());
           };
           result = t.on.submit(f, V(3));
           t.work();
           result.wait();
         });
         check_result(r, t, result, 5);
       }},
      {"a generator that awaits between its values",
       [](run& r, target& t) {
         dg::promise<V> p;
         const dg::ref<V> later = p.get_ref();
         std::array<dg::ref<V>, 3> refs;
         r.armed(t, [&] {
           auto f = [&](V start) -> dg::generator<V> {
             r.enter();
             co_yield start;
             const V& got = co_await later;
             co_yield got;
             co_yield co_await doubled(V(got.look()));
           };
           refs = t.on.options(dg::num_returns<3>{}).submit(f, V(1));
           t.work();
           p.set_value(2);
           t.work();
           refs[2].completion().wait();
         });
         fulfil(p, 2);
         t.work();
         if (!refs[0].valid()) return faults::check_nothing_submitted(r, t);
         r.holds(refs[0], 1);
         r.holds(refs[1], 2);
         r.holds(refs[2], 4);
       }},
      {"a tuple_generator that awaits",
       [](run& r, target& t) {
         std::tuple<dg::ref<V>, dg::ref<int>> refs;
         r.armed(t, [&] {
           auto f = [&r](V start) -> dg::tuple_generator<V, int> {
             r.enter();
             const V twice = co_await doubled(V(start.look()));
             co_yield twice;
             co_await dg::this_task::yield();
             co_yield twice.look() + 1;
           };
           refs = t.on.submit(f, V(1));
           t.work();
           std::get<1>(refs).completion().wait();
         });
         if (!std::get<0>(refs).valid()) return faults::check_nothing_submitted(r, t);
         r.holds(std::get<0>(refs), 2);
         r.holds(std::get<1>(refs), 3);
       }},
      {"a task that is cancelled while it awaits one inside it",
       [](run& r, target& t) {
         r.expect<dg::cancelled_error>();
         dg::promise<V> never;
         const dg::ref<V> later = never.get_ref();
         dg::ref<int> result;
         r.armed(t, [&] {
           auto inner = [&](V n) -> dg::task<int> {
             const V local(1);
             const V& got = co_await later;
             co_return got.look() + n.look() + local.look();
           };
           auto f = [&r, inner](V n) -> dg::task<int> {
             r.enter();
             const V local(1);
             const int got = co_await inner(V(n.look()));
             co_return got + local.look();
           };
           result = t.on.submit(f, V(1));
           t.work();
           result.cancel();
           t.work();
           result.wait();
         });
         if (!result.valid()) return faults::check_nothing_submitted(r, t);
         result.cancel();
         t.work();
         r.check(!r.outcome_of(result), "a cancelled task has given a value");
       }},
  };
}

/// With containers of the standard library, whose elements' destructors must not throw.
std::vector<scenario> awaiting_containers() {
  using V = faults::value;
  return {
      {"when_all of a range of refs, of a range of tasks",
       [](run& r, target& t) {
         dg::promise<V> p;
         const dg::ref<V> later = p.get_ref();
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&](V) -> dg::task<int> {
             r.enter();
             std::vector<dg::ref<V>> refs{dg::put(V(1)), later};
             int sum = 0;
             for (const V& v : co_await dg::when_all(refs)) sum += v.look();
             for (const V& v : co_await dg::when_all(std::move(refs))) sum += v.look();
             std::vector<dg::task<V>> tasks;
             for (int i = 1; i <= 3; ++i) tasks.push_back(doubled(V(i)));
             for (const V& v : co_await dg::when_all(std::move(tasks))) sum += v.look();
             co_return sum;
           };
           result = t.on.submit(f, V(0));
           t.work();
           p.set_value(2);
           t.work();
           result.wait();
         });
         fulfil(p, 2);
         t.work();
         check_result(r, t, result, 18);
       }},
      {"the values of a stream",
       [](run& r, target& t) {
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&r](dg::ref_stream<V> stream, V) -> dg::task<int> {
             r.enter();
             int sum = 0;
             for (;;) {
               const std::optional<V> v = co_await stream.async_value();
               if (!v) break;
               sum += v->look();
             }
             co_return sum;
           };
           auto stream = t.on.options(dg::backpressure{2}).submit(count_to<V>, 5);
           result = t.on.submit(f, std::move(stream), V(0));
           t.work();
           result.wait();
         });
         if (result.valid()) r.holds(result, 10);
         r.need_not_arrive();  // it may be in a stream whose reader was never created
       }},
  };
}

/// Children that run on one worker while the coroutine that awaits them fails on another.
std::vector<scenario> lending() {
  using V = faults::value;
  return {
      {"when_all whose tasks use what the awaiting one has",
       [](run& r, target& t) {
         using namespace std::chrono_literals;
         std::atomic<bool> started{false}, gone{false};
         dg::ref<int> result;
         r.armed(t, [&] {
           auto borrow = [&](const V& lent, int n) -> dg::task<V> {
             if (n == 1) {
               started = true;
               support::eventually([&] { return gone.load(); }, 3ms);
             } else {
               support::eventually([&] { return started.load(); }, 100ms);
             }
             r.check(!gone.load(), "a task has outlived what awaits it");
             co_return lent.look() + n;
           };
           auto f = [&, borrow](V start) -> dg::task<int> {
             r.enter();
             const leaves_word last(gone);
             const V local(start.look());
             auto all = dg::when_all(borrow(local, 1), borrow(local, 2), borrow(local, 3));
             const auto [a, b, c] = co_await std::move(all);
             co_return a.look() + b.look() + c.look();
           };
           result = t.on.submit(f, V(1));
           result.wait();
         });
         check_result(r, t, result, 9);
       }},
      {"when_all of a range whose tasks use what the awaiting one has",
       [](run& r, target& t) {
         using namespace std::chrono_literals;
         std::atomic<bool> started{false}, gone{false};
         dg::ref<int> result;
         r.armed(t, [&] {
           auto borrow = [&](const V& lent, int n) -> dg::task<void> {
             if (n == 1) {
               started = true;
               support::eventually([&] { return gone.load(); }, 3ms);
             } else {
               support::eventually([&] { return started.load(); }, 100ms);
             }
             r.check(!gone.load(), "a task has outlived what awaits it");
             static_cast<void>(lent.look());
             co_return;
           };
           auto f = [&, borrow](V start) -> dg::task<int> {
             r.enter();
             const leaves_word last(gone);
             const V local(start.look());
             std::vector<dg::task<void>> tasks;
             for (int i = 1; i <= 2; ++i) tasks.push_back(borrow(local, i));
             auto all = dg::when_all(std::move(tasks));
             co_await std::move(all);
             co_return local.look();
           };
           result = t.on.submit(f, V(1));
           result.wait();
         });
         check_result(r, t, result, 1);
       }},
  };
}

}  // namespace

TEST_CASE("a co_await throws its failure", "[faults][S-ERR-7][S-AWAIT-1]") {
  drive_all(awaiting<faults::value>(), all_hosts, throwing);
  drive_all(awaiting_containers(), all_hosts, throwing);
}

TEST_CASE("a when_all that fails itself still waits for its children", "[faults][S-AWAIT-1]") {
  drive_all(lending(), {faults::host::pool}, throwing);
}

TEST_CASE("destructors of objects in coroutine frames may throw", "[faults][S-ERR-10][L-5]") {
  drive_all(awaiting<faults::explosive>(), all_hosts, destructors);
}

}  // namespace test_coroutines
