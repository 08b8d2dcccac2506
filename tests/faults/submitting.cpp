// SPDX-License-Identifier: MIT
// Everything that submit accepts and returns, on every kind of executor: each allocation, each function and each
// destructor of user code fails once. submit throws its own failures, and then nothing was submitted; failures of the
// task are in its refs.

#include "injection.hpp"

#include <array>
#include <ranges>
#include <stop_token>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace test_submitting {

using faults::all_hosts;
using faults::check_nothing_submitted;
using faults::destructors;
using faults::drive_all;
using faults::kind;
using faults::run;
using faults::scenario;
using faults::target;
using faults::throwing;
using support::boom;

namespace {

/// Waits for one ref of a single task.
template <class T>
void settle(run& r, const target& t, const dg::ref<T>& result, int number) {
  if (!result.valid()) check_nothing_submitted(r, t);
  r.holds(result, number);
}

/// Takes all items of a stream: these count up from `next`, and the failure, if there is one, comes last. May be called
/// again after it has thrown: then no item was taken.
template <class V>
void take_all(run& r, target& t, dg::ref_stream<V>& stream, int& next) {
  bool failed = false;
  for (;;) {
    t.work();
    std::optional<dg::ref<V>> item = t.submitted() ? stream.next() : stream.try_next();
    if (!item) {
      if (t.submitted() || stream.finished()) return;
      continue;
    }
    if (failed) r.problem("an item after the exception");
    const auto number = r.outcome_of(*item);
    failed = !number;
    r.check(!failed || r.fired(), "an item failed, and nothing had");
    if (number && *number != next++) r.problem("a stream is out of order");
  }
}

/// Checks a stream of which no value was taken yet.
template <class V>
void take_whole(run& r, target& t, dg::ref_stream<V>& stream, int first) {
  if (!stream.valid()) return check_nothing_submitted(r, t);
  take_all(r, t, stream, first);
}

/// Checks the list of a `dynamic` task of `size` values.
template <class V>
void look_at_list(run& r, const target& t, const dg::ref<dg::ref_list<V>>& outer, int first, std::size_t size) {
  if (!outer.valid()) return check_nothing_submitted(r, t);
  outer.wait();
  if (outer.failed()) return r.arrived(outer.error());
  const dg::ref_list<V>& list = outer.get();
  bool failed = false;
  for (const dg::ref<V> item : list) {
    if (failed) r.problem("an item after the exception");
    const auto number = r.outcome_of(item);
    failed = !number;
    r.check(!failed || r.fired(), "an item failed, and nothing had");
    if (number && *number != first++) r.problem("a list is out of order");
  }
  if (!failed) r.check(list.size() == size, "a list without a failure is too short");
}

template <class V>
auto counting(run& r) {
  return [&r](V from, int n) -> dg::generator<V> {
    r.enter();
    for (int i = 0; i < n; ++i) {
      V next(from.look() + i);
      co_yield std::move(next);
    }
  };
}

/// The results of the tasks.
template <class V>
std::vector<scenario> task_types() {
  return {
      {"a plain function",
       [](run& r, target& t) {
         dg::ref<V> result;
         r.armed(t, [&] {
           auto f = [&r](const V& a, V b) {
             r.enter();
             return V(a.look() + b.look());
           };
           result = t.on.submit(f, V(1), V(2));
           t.work();
           result.wait();
         });
         settle(r, t, result, 3);
       }},
      {"a function for nothing",
       [](run& r, target& t) {
         dg::ref<void> result;
         r.armed(t, [&] {
           result = t.on.submit([&r](const V&) { r.enter(); }, V(1));
           t.work();
           result.wait();
         });
         settle(r, t, result, 0);
       }},
      {"a callable that is copied in, and an lvalue argument",
       [](run& r, target& t) {
         auto add = [&r](const V& a) {
           r.enter();
           return a.look() + 1;
         };
         faults::callable<V, decltype(add)> f(V(0), add);
         const V argument(4);
         dg::ref<int> result;
         r.armed(t, [&] {
           result = t.on.submit(f, argument);
           t.work();
           result.wait();
         });
         settle(r, t, result, 5);
       }},
      {"an argument that is converted at submit",
       [](run& r, target& t) {
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&r](const V& a) {
             r.enter();
             return a.look();
           };
           result = t.on.submit(f, 6);
           t.work();
           result.wait();
         });
         settle(r, t, result, 6);
       }},
      {"a task<R>",
       [](run& r, target& t) {
         dg::ref<V> result;
         r.armed(t, [&] {
           auto f = [&r](V a) -> dg::task<V> {
             r.enter();
             V sum(a.look() + 1);
             co_return std::move(sum);
           };
           result = t.on.submit(f, V(1));
           t.work();
           result.wait();
         });
         settle(r, t, result, 2);
       }},
      {"a task<void>",
       [](run& r, target& t) {
         dg::ref<void> result;
         r.armed(t, [&] {
           auto f = [&r](V a) -> dg::task<void> {
             r.enter();
             V local(a);
             co_return;
           };
           result = t.on.submit(f, V(1));
           t.work();
           result.wait();
         });
         settle(r, t, result, 0);
       }},
      {"a generator, streamed",
       [](run& r, target& t) {
         dg::ref_stream<V> stream;
         r.armed(t, [&] {
           auto f = counting<V>(r);
           stream = t.on.submit(f, V(3), 12);
           t.work();
           stream.completion().wait();
         });
         take_whole(r, t, stream, 3);
       }},
      {"a generator, streamed under backpressure",
       [](run& r, target& t) {
         dg::ref_stream<V> stream;
         int next = 3;
         r.armed(t, [&] {
           auto f = counting<V>(r);
           stream = t.on.options(dg::backpressure{2}).submit(f, V(3), 5);
           take_all(r, t, stream, next);
         });
         if (!stream.valid()) return check_nothing_submitted(r, t);
         take_all(r, t, stream, next);
       }},
      {"a generator, streamed without bounds",
       [](run& r, target& t) {
         dg::ref_stream<V> stream;
         r.armed(t, [&] {
           auto f = counting<V>(r);
           stream = t.on.options(dg::unbounded, dg::streaming).submit(f, V(3), 80);
           t.work();
           stream.completion().wait();
         });
         take_whole(r, t, stream, 3);
       }},
      {"a generator, dynamic",
       [](run& r, target& t) {
         dg::ref<dg::ref_list<V>> outer;
         r.armed(t, [&] {
           auto f = counting<V>(r);
           outer = t.on.options(dg::dynamic).submit(f, V(3), 20);
           t.work();
           outer.wait();
         });
         look_at_list(r, t, outer, 3, 20);
       }},
      {"a generator, dynamic, all or nothing",
       [](run& r, target& t) {
         dg::ref<dg::ref_list<V>> outer;
         r.armed(t, [&] {
           auto f = counting<V>(r);
           outer = t.on.options(dg::dynamic, dg::all_or_nothing).submit(f, V(3), 5);
           t.work();
           outer.wait();
         });
         look_at_list(r, t, outer, 3, 5);
         if (outer.valid() && !outer.failed())
           for (const dg::ref<V> item : outer.get()) r.check(!item.failed(), "all_or_nothing has given a part");
       }},
      {"a generator, num_returns<3>",
       [](run& r, target& t) {
         std::array<dg::ref<V>, 3> refs;
         r.armed(t, [&] {
           auto f = counting<V>(r);
           refs = t.on.options(dg::num_returns<3>{}).submit(f, V(3), 3);
           t.work();
           refs[2].completion().wait();
         });
         if (!refs[0].valid()) return check_nothing_submitted(r, t);
         r.hold(refs, 3);
       }},
      {"a generator, num_returns{70}",
       [](run& r, target& t) {
         std::vector<dg::ref<V>> refs;
         r.armed(t, [&] {
           auto f = counting<V>(r);
           refs = t.on.options(dg::num_returns{70}).submit(f, V(3), 70);
           t.work();
           refs[2].completion().wait();
         });
         if (refs.empty()) return check_nothing_submitted(r, t);
         r.hold(refs, 3);
       }},
      {"a generator, num_returns, all or nothing",
       [](run& r, target& t) {
         std::array<dg::ref<V>, 3> refs;
         r.armed(t, [&] {
           auto f = counting<V>(r);
           refs = t.on.options(dg::num_returns<3>{}, dg::all_or_nothing).submit(f, V(3), 3);
           t.work();
           refs[2].wait();
         });
         if (!refs[0].valid()) return check_nothing_submitted(r, t);
         r.hold(refs, 3);
         r.check(refs[0].failed() == refs[2].failed(), "all_or_nothing has given a part");
       }},
      {"a generator that yields too few",
       [](run& r, target& t) {
         r.expect<dg::arity_error>();
         if (r.what() == kind::allocation || r.what() == kind::all_allocations) r.stands_for_failure<std::bad_alloc>();
         std::array<dg::ref<V>, 3> refs;
         r.armed(t, [&] {
           auto f = counting<V>(r);
           refs = t.on.options(dg::num_returns<3>{}).submit(f, V(3), 2);
           t.work();
           refs[2].wait();
         });
         if (!refs[0].valid()) return check_nothing_submitted(r, t);
         r.holds(refs[0], 3);
         r.holds(refs[1], 4);
         r.check(!r.outcome_of(refs[2]), "a value that was never yielded");
       }},
      {"a generator that yields too many",
       [](run& r, target& t) {
         r.expect<dg::arity_error>();
         std::array<dg::ref<V>, 3> refs;
         dg::ref<void> end;
         r.armed(t, [&] {
           auto f = counting<V>(r);
           refs = t.on.options(dg::num_returns<3>{}).submit(f, V(3), 9);
           end = refs[0].completion();
           t.work();
           end.wait();
         });
         if (!refs[0].valid()) return check_nothing_submitted(r, t);
         r.hold(refs, 3);
         if (end.valid()) r.outcome_of(end);
       }},
      {"a generator that yields by emplace, and what converts",
       [](run& r, target& t) {
         std::array<dg::ref<V>, 3> refs;
         r.armed(t, [&] {
           auto f = [&r]() -> dg::generator<V> {
             r.enter();
             co_yield dg::emplace(1, 0);
             co_yield 2;
             const V third(3);
             co_yield third;
           };
           refs = t.on.options(dg::num_returns<3>{}).submit(f);
           t.work();
           refs[2].completion().wait();
         });
         if (!refs[0].valid()) return check_nothing_submitted(r, t);
         r.hold(refs, 1);
       }},
      {"a generator of elements of another one and of a range",
       [](run& r, target& t) {
         dg::ref_stream<V> stream;
         r.armed(t, [&] {
           auto f = [&r]() -> dg::generator<V> {
             r.enter();
             auto inner = counting<V>(r);
             co_yield dg::elements_of(inner(V(0), 2));
             const std::array<V, 2> more{V(2), V(3)};
             co_yield dg::elements_of(more);
           };
           stream = t.on.submit(f);
           t.work();
           stream.completion().wait();
         });
         take_whole(r, t, stream, 0);
       }},
      {"a generator that catches what its co_yield throws",
       [](run& r, target& t) {
         dg::ref<dg::ref_list<V>> outer;
         std::atomic<std::size_t> yielded{0};
         r.armed(t, [&] {
           auto f = [&](V) -> dg::generator<V> {
             r.enter();
             for (int i = 0; i < 10; ++i) {
               bool caught = false;
               try {
                 co_yield i;
               } catch (...) {
                 caught = true;
               }
               if (!caught) {
                 ++yielded;
               } else {
                 r.accounted_for();
                 if (r.what() == kind::all_allocations) co_return;  // it would fail again
                 --i;                                               // no position is used up
               }
             }
           };
           outer = t.on.options(dg::dynamic).submit(f, V(0));
           t.work();
           outer.wait();
         });
         if (outer.valid()) outer.wait();
         look_at_list(r, t, outer, 0, yielded.load());
         if (r.what() != kind::all_allocations && r.entered() != 0) r.check(yielded.load() == 10, "a position is used up");
       }},
      {"a tuple_generator",
       [](run& r, target& t) {
         std::tuple<dg::ref<V>, dg::ref<int>, dg::ref<V>> refs;
         r.armed(t, [&] {
           auto f = [&r]() -> dg::tuple_generator<V, int, V> {
             r.enter();
             co_yield dg::emplace(1, 0);
             co_yield 2;
             V third(3);
             co_yield std::move(third);
           };
           refs = t.on.submit(f);
           t.work();
           std::get<2>(refs).completion().wait();
         });
         if (!std::get<0>(refs).valid()) return check_nothing_submitted(r, t);
         r.holds(std::get<0>(refs), 1);
         r.holds(std::get<1>(refs), 2);
         r.holds(std::get<2>(refs), 3);
       }},
      {"a tuple_generator out of order, all or nothing",
       [](run& r, target& t) {
         r.expect<dg::type_order_error>();
         std::tuple<dg::ref<V>, dg::ref<std::string>> refs;
         r.armed(t, [&] {
           auto f = [&r]() -> dg::tuple_generator<V, std::string> {
             r.enter();
             co_yield 1;
             co_yield 2;
           };
           refs = t.on.options(dg::num_returns<2>{}, dg::all_or_nothing).submit(f);
           t.work();
           std::get<1>(refs).wait();
         });
         if (!std::get<0>(refs).valid()) return check_nothing_submitted(r, t);
         r.outcome_of(std::get<0>(refs));
         std::get<1>(refs).wait();
         r.check(std::get<0>(refs).failed() && std::get<1>(refs).failed(), "a value out of order was stored");
       }},
      {"a function of a tuple",
       [](run& r, target& t) {
         std::tuple<dg::ref<V>, dg::ref<V>> refs;
         r.armed(t, [&] {
           auto f = [&r] {
             r.enter();
             return std::tuple<V, V>(1, 2);
           };
           refs = t.on.options(dg::num_returns<2>{}).submit(f);
           t.work();
           std::get<1>(refs).completion().wait();
         });
         if (!std::get<0>(refs).valid()) return check_nothing_submitted(r, t);
         r.holds(std::get<0>(refs), 1);
         r.holds(std::get<1>(refs), 2);
       }},
      {"a function of a pair, all or nothing",
       [](run& r, target& t) {
         std::tuple<dg::ref<V>, dg::ref<V>> refs;
         r.armed(t, [&] {
           auto f = [&r] {
             r.enter();
             return std::pair<V, V>(1, 2);
           };
           refs = t.on.options(dg::num_returns<2>{}, dg::all_or_nothing).submit(f);
           t.work();
           std::get<1>(refs).wait();
         });
         if (!std::get<0>(refs).valid()) return check_nothing_submitted(r, t);
         r.holds(std::get<0>(refs), 1);
         r.holds(std::get<1>(refs), 2);
       }},
      {"a function of an array, as one value and element by element",
       [](run& r, target& t) {
         dg::ref<std::array<V, 2>> whole;
         dg::ref_stream<V> elements;
         r.armed(t, [&] {
           auto f = [] { return std::array<V, 2>{V(1), V(2)}; };
           whole = t.on.submit(f);
           elements = t.on.options(dg::streaming).submit(f);
           t.work();
           whole.wait();
           elements.completion().wait();
         });
         if (whole.valid()) {
           whole.wait();
           if (whole.failed())
             r.arrived(whole.error());
           else
             r.check(whole.get()[0].look() == 1 && whole.get()[1].look() == 2, "an array has other elements");
         }
         if (elements.valid()) take_whole(r, t, elements, 1);
       }},
      {"a function of a view",
       [](run& r, target& t) {
         std::vector<dg::ref<V>> refs;
         r.armed(t, [&] {
           auto f = [&r] {
             r.enter();
             return std::views::iota(1, 4) | std::views::transform([](int i) { return V(i); });
           };
           refs = t.on.options(dg::num_returns{3}).submit(f);
           t.work();
           refs[2].completion().wait();
         });
         if (refs.empty()) return check_nothing_submitted(r, t);
         r.hold(refs, 1);
       }},
      {"a task that throws",
       [](run& r, target& t) {
         r.expect<boom>();
         dg::ref<V> result;
         r.armed(t, [&] {
           auto f = [&r](const V& a) -> dg::task<V> {
             r.enter();
             if (a.look() == 1) throw boom();
             co_return 1;
           };
           result = t.on.submit(f, V(1));
           t.work();
           result.wait();
         });
         if (!result.valid()) return check_nothing_submitted(r, t);
         r.check(!r.outcome_of(result), "a task that throws has given a value");
       }},
  };
}

/// The options that determine how a task is run.
template <class V>
std::vector<scenario> run_options() {
  return {
      {"name, and packs that are kept, copied and nested",
       [](run& r, target& t) {
         dg::ref<int> first, second;
         r.armed(t, [&] {
           const auto pack = dg::options(dg::name{"a name that is too long to be stored in place"});
           const auto copy = pack;
           const auto bound = t.on.options(copy);
           const auto again = bound;
           auto f = [&r](const V& a) {
             r.enter();
             return a.look() + (dg::this_task::name().size() > 20 ? 1 : 0);
           };
           first = bound.submit(f, V(1));
           second = again.submit(f, V(2));
           t.work();
           first.wait();
           second.wait();
         });
         if (first.valid()) r.holds(first, 2);
         if (second.valid()) r.holds(second, 3);
       }},
      {"after",
       [](run& r, target& t) {
         dg::promise<V> before;
         dg::ref<int> result;
         r.armed(t, [&] {
           result = t.on.options(dg::after(before.get_ref(), dg::put(1))).submit([&r] {
             r.enter();
             return 5;
           });
           before.set_value(3);
           t.work();
           result.wait();
         });
         if (!result.valid()) return check_nothing_submitted(r, t);
         try {
           before.set_value(3);
         } catch (const dg::promise_already_satisfied&) {
         }
         t.work();
         r.holds(result, 5);
       }},
      {"refs as arguments: ready, pending, without a value, unresolved",
       [](run& r, target& t) {
         const dg::ref<V> ready = dg::put(V(1));
         dg::promise<V> later;
         dg::promise<void> event;
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&r](const V& a, const V& b, const dg::ref<V>& c) {
             r.enter();
             return a.look() + b.look() + c.get().look();
           };
           result = t.on.submit(f, ready, later.get_ref(), event.get_ref(), dg::unresolved(ready));
           event.set_value();
           later.set_value(5);
           t.work();
           result.wait();
         });
         const auto fulfil = [](auto action) {
           try {
             action();
           } catch (const dg::promise_already_satisfied&) {
           }
         };
         fulfil([&] { event.set_value(); });
         fulfil([&] { later.set_value(5); });
         t.work();
         if (!result.valid()) return check_nothing_submitted(r, t);
         r.holds(result, 7);
       }},
      {"a ref that is consumed, by its only holder",
       [](run& r, target& t) {
         dg::ref<V> given = dg::put(V(4));
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&r](V&& a) {
             r.enter();
             V mine(std::move(a));
             return mine.look();
           };
           result = t.on.submit(f, dg::consume(std::move(given)));
           t.work();
           result.wait();
         });
         settle(r, t, result, 4);
       }},
      {"a ref that is consumed while another one holds it",
       [](run& r, target& t) {
         dg::ref<V> given = dg::put(V(4));
         const dg::ref<V> other = given;
         dg::ref<int> result;
         if constexpr (!dg::enable_copy<V>) r.expect<dg::shared_value>();
         r.armed(t, [&] {
           auto f = [&r](V&& a, V) {
             r.enter();
             return a.look();
           };
           result = t.on.submit(f, dg::consume(std::move(given)), V(0));
           t.work();
           result.wait();
         });
         if (!result.valid()) return check_nothing_submitted(r, t);
         const auto number = r.outcome_of(result);
         r.check(!dg::enable_copy<V> || r.fired() || number == 4, "another value");
         r.holds(other, 4);
       }},
      {"a chain of dependents",
       [](run& r, target& t) {
         dg::ref<int> last;
         r.armed(t, [&] {
           auto f = [](const V& a) { return V(a.look() + 1); };
           last = t.on.submit([](const V& a) { return a.look(); }, t.on.submit(f, t.on.submit(f, V(1))));
           t.work();
           last.wait();
         });
         if (last.valid()) r.holds(last, 3);
       }},
      {"a failed dependency",
       [](run& r, target& t) {
         r.expect<boom>();
         dg::ref<int> last;
         r.armed(t, [&] {
           auto fail = [](const V& a) -> V {
             if (a.look() == 1) throw boom();
             return V(2);
           };
           last = t.on.submit([&r](const V& a) {
             r.enter();
             return a.look();
           }, t.on.submit(fail, V(1)));
           t.work();
           last.wait();
         });
         r.check(r.entered() == 0, "a task has run whose dependency failed");
         if (last.valid()) r.check(!r.outcome_of(last), "a value out of a failed dependency");
       }},
      {"stop_on a token that never stops",
       [](run& r, target& t) {
         std::stop_source source;
         dg::ref<int> result;
         r.armed(t, [&] {
           result = t.on.options(dg::stop_on(source.get_token())).submit([&r](const V& a) {
             r.enter();
             return a.look();
           }, V(2));
           t.work();
           result.wait();
         });
         settle(r, t, result, 2);
       }},
      {"stop_on a token that has stopped",
       [](run& r, target& t) {
         r.expect<dg::cancelled_error>();
         std::stop_source source;
         source.request_stop();
         dg::ref<int> result;
         r.armed(t, [&] {
           result = t.on.options(dg::stop_on(source.get_token())).submit([&r](const V& a) {
             r.enter();
             return a.look();
           }, V(2));
           t.work();
           result.wait();
         });
         if (!result.valid()) return check_nothing_submitted(r, t);
         r.check(!r.outcome_of(result), "a task that was cancelled has given a value");
         r.check(r.entered() == 0, "a task that was cancelled has run");
       }},
      {"backpressure_by a budget and a cost",
       [](run& r, target& t) {
         std::optional<dg::budget> budget;
         dg::ref_stream<V> stream;
         int next = 0;
         r.armed(t, [&] {
           budget.emplace(3);
           auto cost = [](const V& v) { return v.look() == 1 ? 2 : 1; };
           auto f = counting<V>(r);
           stream = t.on
                        .options(dg::backpressure_by(*budget, faults::callable<faults::value, decltype(cost)>(0, cost)))
                        .submit(f, V(0), 6);
           take_all(r, t, stream, next);
         });
         if (stream.valid()) {
           take_all(r, t, stream, next);
           r.check(budget->used() == 0, "what was taken still counts");
         } else {
           check_nothing_submitted(r, t);
         }
       }},
      {"two streams of one budget, one of which is dropped",
       [](run& r, target& t) {
         const dg::budget budget(2);
         dg::ref_stream<V> first, second;
         int next = 0;
         r.need_not_arrive();  // it may be in the stream that is dropped
         r.armed(t, [&] {
           auto cost = [](const V& v) { return v.look() == 1 ? 5 : 1; };
           const auto share = dg::backpressure_by(budget, faults::callable<faults::value, decltype(cost)>(0, cost));
           auto f = counting<V>(r);
           first = t.on.options(share).submit(f, V(0), 4);
           second = t.on.options(share).submit(f, V(0), 4);
           t.work();
           first = {};
           take_all(r, t, second, next);
         });
         first = {};
         if (second.valid()) take_all(r, t, second, next);
         second = {};
         t.work();
         r.check(budget.used() == 0, "what was taken still counts");
       }},
      {"a stop token in the task",
       [](run& r, target& t) {
         dg::ref<int> result;
         r.armed(t, [&] {
           result = t.on.submit([&r](const V& a) {
             r.enter();
             const std::stop_token token = dg::this_task::get_stop_token();
             return a.look() + (token.stop_requested() ? 100 : 0);
           }, V(2));
           t.work();
           result.wait();
         });
         settle(r, t, result, 2);
       }},
      {"cancel, with a token whose callback fails nothing",
       [](run& r, target& t) {
         r.expect<dg::cancelled_error>();
         dg::promise<V> never;
         dg::ref<int> result;
         r.armed(t, [&] {
           // The value last: when a parameter's destructor throws, g++ 12 leaks the parameters that follow.
           auto f = [](dg::ref<V> wanted, V) -> dg::task<int> {
             const std::stop_token token = dg::this_task::get_stop_token();
             const V& v = co_await wanted;
             co_return v.look();
           };
           result = t.on.submit(f, dg::unresolved(never.get_ref()), V(0));
           t.work();
           dg::cancel(result);
           t.work();
           result.wait();
         });
         if (!result.valid()) return check_nothing_submitted(r, t);
         result.cancel();
         t.work();
         r.check(!r.outcome_of(result), "a task that was cancelled has given a value");
       }},
  };
}

/// Retries: after a failure in one attempt the next may succeed.
template <class V>
std::vector<scenario> retries() {
  return {
      {"max_retries of a plain function",
       [](run& r, target& t) {
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&r](const V& a) {
             r.enter();
             const V sum(a.look() + 1);
             return sum.look();
           };
           result = t.on.options(dg::max_retries{1}).submit(faults::callable<V, decltype(f)>(V(0), f), V(1));
           t.work();
           result.wait();
         });
         if (!result.valid()) return check_nothing_submitted(r, t);
         r.holds(result, 2);
         r.need_not_arrive();
       }},
      {"max_retries of a generator, with a predicate",
       [](run& r, target& t) {
         r.expect<boom>();
         dg::ref<dg::ref_list<V>> outer;
         std::atomic<int> attempts{0};
         r.armed(t, [&] {
           auto f = [&](const V& a) -> dg::generator<V> {
             r.enter();
             ++attempts;
             const int last = dg::this_task::attempt() == 1 ? 10 : 12;
             for (int i = 0; i < last; ++i) co_yield a.look() + i;
             if (dg::this_task::attempt() == 1) throw boom();
           };
           auto accept = [](const std::exception_ptr& e) { return e != nullptr; };
           outer = t.on.options(dg::dynamic, dg::max_retries{2}, dg::retry_if(faults::callable<V, decltype(accept)>(V(0), accept)))
                       .submit(f, V(1));
           t.work();
           outer.wait();
         });
         if (!outer.valid()) return check_nothing_submitted(r, t);
         look_at_list(r, t, outer, 1, 12);
         r.need_not_arrive();
       }},
      {"max_retries of num_returns, with a predicate that says no",
       [](run& r, target& t) {
         r.expect<boom>();
         std::array<dg::ref<V>, 2> refs;
         r.armed(t, [&] {
           auto f = [&r](const V& a) -> dg::generator<V> {
             r.enter();
             co_yield a.look();
             throw boom();
           };
           auto refuse = [](const std::exception_ptr&) { return false; };
           refs = t.on.options(dg::num_returns<2>{}, dg::max_retries{2}, dg::retry_if(faults::callable<V, decltype(refuse)>(V(0), refuse)))
                      .submit(f, V(1));
           t.work();
           refs[1].wait();
         });
         if (!refs[0].valid()) return check_nothing_submitted(r, t);
         r.holds(refs[0], 1);
         r.check(!r.outcome_of(refs[1]), "a value that was never yielded");
         r.check(r.entered() <= 1, "the predicate says no, and the task was run again");
       }},
      {"max_retries, all or nothing",
       [](run& r, target& t) {
         r.expect<boom>();
         std::array<dg::ref<V>, 3> refs;
         r.armed(t, [&] {
           auto f = [&r](const V& a) -> dg::generator<V> {
             r.enter();
             for (int i = 0; i < 3; ++i) {
               co_yield a.look() + i;
               if (i == 1 && dg::this_task::attempt() == 1) throw boom();
             }
           };
           refs = t.on.options(dg::num_returns<3>{}, dg::all_or_nothing, dg::max_retries{2}).submit(f, V(1));
           t.work();
           refs[2].wait();
         });
         if (!refs[0].valid()) return check_nothing_submitted(r, t);
         r.hold(refs, 1);
         r.check(refs[0].failed() == refs[2].failed(), "all_or_nothing has given a part");
         r.need_not_arrive();
       }},
      {"max_retries of a tuple_generator",
       [](run& r, target& t) {
         r.expect<boom>();
         std::tuple<dg::ref<V>, dg::ref<int>> refs;
         r.armed(t, [&] {
           auto f = [&r](const V& a) -> dg::tuple_generator<V, int> {
             r.enter();
             co_yield a.look();
             if (dg::this_task::attempt() == 1) throw boom();
             co_yield 2;
           };
           refs = t.on.options(dg::max_retries{2}).submit(f, V(1));
           t.work();
           std::get<1>(refs).wait();
         });
         if (!std::get<0>(refs).valid()) return check_nothing_submitted(r, t);
         r.holds(std::get<0>(refs), 1);
         r.holds(std::get<1>(refs), 2);
         r.need_not_arrive();
       }},
      {"max_retries with a ref that is consumed",
       [](run& r, target& t) {
         r.expect<boom>();
         dg::ref<V> given = dg::put(V(4));
         dg::ref<int> result;
         r.armed(t, [&] {
           auto f = [&r](const V& a) {
             r.enter();
             if (dg::this_task::attempt() == 1) throw boom();
             return a.look();
           };
           result = t.on.options(dg::max_retries{2}).submit(f, dg::consume(std::move(given)));
           t.work();
           result.wait();
         });
         if (!result.valid()) return check_nothing_submitted(r, t);
         r.holds(result, 4);
         r.need_not_arrive();
       }},
  };
}

}  // namespace

TEST_CASE("every task type: failures in submit are thrown, failures in the task are stored", "[faults][S-ERR-7]") {
  drive_all(task_types<faults::value>(), all_hosts, throwing);
}

TEST_CASE("every task type: destructors that throw", "[faults][S-ERR-10]") {
  drive_all(task_types<faults::explosive>(), all_hosts, destructors);
}

TEST_CASE("every option: failures in submit are thrown, failures in the task are stored", "[faults][S-ERR-7]") {
  drive_all(run_options<faults::value>(), all_hosts, throwing);
}

TEST_CASE("every option: destructors that throw", "[faults][S-ERR-10]") {
  drive_all(run_options<faults::explosive>(), all_hosts, destructors);
}

TEST_CASE("retries succeed after a single failure, and end with a repeated one", "[faults][S-ERR-7][S-RETRY-3]") {
  drive_all(retries<faults::value>(), all_hosts, throwing);
}

TEST_CASE("retries and destructors that throw", "[faults][S-ERR-10]") {
  drive_all(retries<faults::explosive>(), all_hosts, destructors);
}

}  // namespace test_submitting
