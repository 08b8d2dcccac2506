// SPDX-License-Identifier: MIT
// Reading a stream, and iterating a generator in place, while each allocation, each function and each destructor of
// user code fails once. A call that fails leaves the stream usable: it consumes no value that the caller did not get.

#include "read_checks.hpp"

#include <array>
#include <chrono>
#include <utility>
#include <vector>

namespace test_streams {

using namespace std::chrono_literals;
using faults::count_and_throw;
using faults::count_to;
using faults::destructors;
using faults::drive_all;
using faults::ended_stream;
using faults::lone_scenario;
using faults::run;
using faults::scope;
using faults::take_rest;
using faults::throwing;
using faults::while_it_waits;
using support::boom;

namespace {

template <class V>
std::vector<lone_scenario> streams() {
  return {
      {"next and try_next of a stream",
       [](run& r) {
         dg::ref_stream<V> stream = ended_stream(count_to<V>, 4);
         int taken = 0;
         r.armed([&] {
           const V first(0);
           const auto a = stream.next();
           ++taken;
           r.check(a->get() == first, "a stream is out of order");
           const auto b = stream.try_next();
           ++taken;
           r.check(b->get() == V(1), "a stream is out of order");
           const auto c = stream.next_for(1s);
           ++taken;
           r.check(c->get() == V(2), "a stream is out of order");
         });
         take_rest(r, stream, taken, 4);
       }},
      {"next that blocks",
       [](run& r) {
         dg::manual_executor later;
         dg::ref_stream<V> stream = dg::on(later).submit(count_to<V>, 2);
         while_it_waits other([&] { later.run_all(); });
         int taken = 0;
         r.armed([&] {
           const auto item = stream.next();
           ++taken;
           r.check(item->get() == V(0), "a stream is out of order");
         });
         other.finish();
         take_rest(r, stream, taken, 2);
       }, {}, scope::this_thread},
      {"a range-for over refs",
       [](run& r) {
         dg::ref_stream<V> stream = ended_stream(count_to<V>, 12);
         int taken = 0;
         r.armed([&] {
           for (dg::ref<V> item : stream) r.check(item.get() == V(taken++), "a stream is out of order");
         });
         take_rest(r, stream, taken, 12);
       }},
      {"values of a stream",
       [](run& r) {
         r.expect<boom>();
         dg::ref_stream<V> stream = ended_stream(count_and_throw<V>, 12);
         int next = 0;
         r.armed([&] {
           for (V&& v : stream.values()) {
             const V mine = std::move(v);
             r.check(mine.look() == next++, "a stream is out of order");
           }
         });
         r.check(r.threw(), "an exception was lost");
       }},
      {"values of a stream that is given up, broken off",
       [](run& r) {
         dg::ref_stream<V> stream = ended_stream(count_to<V>, 12);
         r.armed([&] {
           for (V&& v : std::move(stream).values())
             if (v == V(3)) break;
         });
       }},
      {"a stream that is dropped, one that is detached, one that is cancelled",
       [](run& r) {
         r.expect<dg::cancelled_error>();
         r.need_not_arrive();  // it may be in the stream that is dropped
         dg::manual_executor later;
         dg::ref_stream<V> cancelled;
         r.armed([&] {
           auto dropped = dg::on(later).options(dg::backpressure{2}).submit(count_to<V>, 5);
           auto detached = dg::on(later).options(dg::backpressure{2}).submit(count_to<V>, 5);
           cancelled = dg::on(later).options(dg::backpressure{2}).submit(count_to<V>, 5);
           later.run_all();
           dropped = {};
           detached.detach();
           cancelled.cancel();
           later.run_all();
           V unused(1);
         });
         later.run_all();
         if (!cancelled.valid()) return;
         cancelled.cancel();
         later.run_all();
         while (auto item = cancelled.try_next()) r.outcome_of(*item);
         r.check(cancelled.finished(), "a cancelled stream goes on");
       }, {}, scope::this_thread},
      {"a stream that is read by another task",
       [](run& r) {
         dg::ref<int> sum;
         dg::inline_executor here;
         r.armed([&] {
           auto add = [](dg::ref_stream<V> stream) {
             int total = 0;
             for (const V& v : stream.values()) total += v.look();
             return total;
           };
           sum = dg::on(here).submit(add, dg::on(here).options(dg::unbounded).submit(count_to<V>, 4));
         });
         if (sum.valid()) r.holds(sum, 6);
       }, {}, scope::this_thread},
  };
}

template <class V>
std::vector<lone_scenario> in_place() {
  return {
      {"a generator that is iterated in place",
       [](run& r) {
         int next = 0;
         r.armed([&] {
           for (V& v : count_to<V>(4)) {
             const V mine = std::move(v);
             r.check(mine.look() == next++, "a generator is out of order");
           }
         });
         r.check(next == 4 || r.threw(), "a generator has ended early");
       }},
      {"a generator in place, with elements of others, that throws",
       [](run& r) {
         r.expect<boom>();
         r.armed([&] {
           auto f = []() -> dg::generator<V> {
             const std::array<V, 2> two{V(0), V(1)};
             co_yield dg::elements_of(two);
             co_yield dg::elements_of(count_to<V>(2));
             co_yield dg::elements_of(count_and_throw<V>(2));
           };
           int n = 0;
           for (V& v : f()) r.check(v.look() == n++ % 2, "a generator is out of order");
         });
         r.check(r.threw(), "an exception was lost");
       }},
      {"a generator in place that is broken off, with a local",
       [](run& r) {
         r.armed([&] {
           auto f = [](V start) -> dg::generator<V> {
             const V local(1);
             for (int i = 0;; ++i) co_yield start.look() + local.look() + i;
           };
           for (V& v : f(V(1)))
             if (v == V(4)) break;
         });
       }},
      {"a generator in place that awaits",
       [](run& r) {
         dg::promise<V> p;
         const dg::ref<V> later = p.get_ref();
         while_it_waits other([&] { p.set_value(7); });
         r.armed([&] {
           auto f = [&later]() -> dg::generator<V> {
             const V& seen = co_await later;
             co_yield seen;
           };
           for (V& v : f()) r.check(v.look() == 7, "another value");
         });
         other.finish();
         r.holds(later, 7);
       }, {}, scope::this_thread},
  };
}

}  // namespace

TEST_CASE("a stream hands over each value once, whatever fails in its reader", "[faults][S-STREAM-1]") {
  drive_all(streams<faults::value>(), throwing);
}

TEST_CASE("a generator in place throws the failures of its body", "[faults]") {
  drive_all(in_place<faults::value>(), throwing);
}

TEST_CASE("destructors of values in streams and generators that throw are reported where they are dropped",
          "[faults][S-ERR-10]") {
  drive_all(streams<faults::explosive>(), destructors);
  drive_all(in_place<faults::explosive>(), destructors);
}

}  // namespace test_streams
