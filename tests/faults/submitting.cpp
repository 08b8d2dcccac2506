// SPDX-License-Identifier: MIT
// Everything that a submitted task may be and return, on every kind of executor: each allocation, each function and
// each destructor of user code fails once. submit throws its own failures, and then nothing was submitted; failures of
// the task are in its refs.

#include "submit_checks.hpp"

#include <array>
#include <atomic>
#include <ranges>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace test_submitting {

using faults::all_hosts;
using faults::check_nothing_submitted;
using faults::check_result;
using faults::counting;
using faults::destructors;
using faults::drive_all;
using faults::kind;
using faults::look_at_list;
using faults::run;
using faults::scenario;
using faults::take_all;
using faults::take_whole;
using faults::target;
using faults::throwing;
using support::boom;

namespace {

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
         check_result(r, t, result, 3);
       }},
      {"a function for nothing",
       [](run& r, target& t) {
         dg::ref<void> result;
         r.armed(t, [&] {
           result = t.on.submit([&r](const V&) { r.enter(); }, V(1));
           t.work();
           result.wait();
         });
         check_result(r, t, result, 0);
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
         check_result(r, t, result, 5);
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
         check_result(r, t, result, 6);
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
         check_result(r, t, result, 2);
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
         check_result(r, t, result, 0);
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

}  // namespace

TEST_CASE("every task type: failures in submit are thrown, failures in the task are stored", "[faults][S-ERR-7]") {
  drive_all(task_types<faults::value>(), all_hosts, throwing);
}

TEST_CASE("every task type: destructors that throw", "[faults][S-ERR-10]") {
  drive_all(task_types<faults::explosive>(), all_hosts, destructors);
}

}  // namespace test_submitting
