// SPDX-License-Identifier: MIT
// The options of submit that determine how a task is run, and its arguments, on every kind of executor: each
// allocation, each function and each destructor of user code fails once.

#include "submit_checks.hpp"

#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

namespace test_options {

using faults::all_hosts;
using faults::check_nothing_submitted;
using faults::check_result;
using faults::counting;
using faults::destructors;
using faults::drive_all;
using faults::run;
using faults::scenario;
using faults::take_all;
using faults::target;
using faults::throwing;
using support::boom;

namespace {

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
         check_result(r, t, result, 4);
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
         check_result(r, t, result, 2);
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
         check_result(r, t, result, 2);
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

}  // namespace

TEST_CASE("every option: failures in submit are thrown, failures in the task are stored", "[faults][S-ERR-7]") {
  drive_all(run_options<faults::value>(), all_hosts, throwing);
}

TEST_CASE("every option: destructors that throw", "[faults][S-ERR-10]") {
  drive_all(run_options<faults::explosive>(), all_hosts, destructors);
}

}  // namespace test_options
