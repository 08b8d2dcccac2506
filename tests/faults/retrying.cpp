// SPDX-License-Identifier: MIT
// Tasks with retries, on every kind of executor: each allocation, each function and each destructor of user code fails
// once, and the next attempt may succeed.

#include "submit_checks.hpp"

#include <array>
#include <atomic>
#include <exception>
#include <tuple>
#include <utility>
#include <vector>

namespace test_retrying {

using faults::all_hosts;
using faults::check_nothing_submitted;
using faults::destructors;
using faults::drive_all;
using faults::look_at_list;
using faults::run;
using faults::scenario;
using faults::target;
using faults::throwing;
using support::boom;

namespace {

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

TEST_CASE("retries succeed after a single failure, and end with a repeated one", "[faults][S-ERR-7][S-RETRY-3]") {
  drive_all(retries<faults::value>(), all_hosts, throwing);
}

TEST_CASE("retries and destructors that throw", "[faults][S-ERR-10]") {
  drive_all(retries<faults::explosive>(), all_hosts, destructors);
}

}  // namespace test_retrying
