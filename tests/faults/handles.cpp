// SPDX-License-Identifier: MIT
// put, promises, and the refs and lists that submit returns: reading and waiting. A call that fails leaves its handle
// usable: it consumes no value that the caller did not get.

#include "read_checks.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

namespace test_handles {

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
dg::ref_list<V> list_of(dg::generator<V> (*f)(int), int n) {
  dg::inline_executor here;
  return dg::on(here).options(dg::dynamic).submit(f, n).get();
}

template <class V>
dg::ref<V> failed_ref() {
  dg::promise<V> p;
  dg::ref<V> r = p.get_ref();
  p.set_exception(std::make_exception_ptr(boom()));
  return r;
}

template <class V>
std::vector<lone_scenario> making() {
  return {
      {"put of an rvalue, an lvalue, and what is moved in",
       [](run& r) {
         const V kept(2);
         dg::ref<V> a, b;
         r.armed([&] {
           a = dg::put(V(1));
           b = dg::put(kept);
         });
         if (a.valid()) r.holds(a, 1);
         if (b.valid()) r.holds(b, 2);
         r.check(kept.look() == 2, "put has changed an lvalue");
       }},
      {"a promise, fulfilled by a move",
       [](run& r) {
         r.stands_for_failure<dg::broken_promise>();
         dg::ref<V> result;
         r.armed([&] {
           dg::promise<V> p;
           result = p.get_ref();
           p.set_value(V(1));
         });
         if (result.valid()) r.holds(result, 1);
       }},
      {"a promise of an exception, and one of nothing",
       [](run& r) {
         r.expect<boom>();
         r.expect<dg::broken_promise>();
         dg::ref<V> failed;
         dg::ref<void> done;
         r.armed([&] {
           dg::promise<V> p;
           failed = p.get_ref();
           p.set_exception(std::make_exception_ptr(boom()));
           dg::promise<void> q;
           done = q.get_ref();
           q.set_value();
           const V unused(1);
         });
         if (failed.valid()) r.check(!r.outcome_of(failed), "an exception has become a value");
         if (done.valid()) r.outcome_of(done);
       }},
  };
}

/// Operations on refs whose value is stored.
template <class V>
std::vector<lone_scenario> reading() {
  return {
      {"get of a ref, by its only holder",
       [](run& r) {
         dg::ref<V> ref = dg::put(V(1));
         int seen = 0;
         r.armed([&] {
           V taken = std::move(ref).get();
           seen = taken.look();
         });
         if (seen == 0 && ref.valid()) r.holds(ref, 1);
         r.check(seen == 1 || r.threw(), "another value");
       }},
      {"take, with the failure in a task's value",
       [](run& r) {
         dg::inline_executor here;
         dg::ref<V> ref = dg::on(here).submit([] { return V(1); });
         r.armed([&] {
           V taken = std::move(ref).take();
           r.check(taken.look() == 1, "another value");
         });
         if (ref.valid()) r.holds(ref, 1);
       }},
      {"get that blocks",
       [](run& r) {
         dg::promise<V> p;
         const dg::ref<V> ref = p.get_ref();
         while_it_waits other([&] { p.set_value(5); });
         r.armed([&] {
           r.check(ref.get() == V(5), "another value");
         });
         other.finish();
         r.holds(ref, 5);
       }, {}, scope::this_thread},
      {"get of two",
       [](run& r) {
         const dg::ref<V> a = dg::put(V(1));
         dg::ref<V> b = dg::put(V(2));
         const dg::ref<void> c = a.completion();
         r.armed([&] {
           const auto [x, y, z] = dg::get(a, std::move(b), c);
           static_cast<void>(z);
           r.check(x.look() == 1 && y.look() == 2, "other values");
         });
         r.holds(a, 1);
       }},
      {"printing, identity and hashing",
       [](run& r) {
         const dg::ref<V> ref = dg::put(V(1));
         const dg::ref<V> copy = ref;
         const dg::ref_list<V> list = list_of(count_to<V>, 3);
         bool whole = false;
         r.armed([&] {
           std::ostringstream text;
           text << ref << ' ' << ref.completion() << ' ' << list << ' ' << dg::pool_stats();
           whole = text.good();
           V unused(1);
           r.check(ref == copy && ref.id() == copy.id(), "two holders of one value differ");
           r.check(std::hash<dg::ref<V>>()(ref) == std::hash<dg::ref<V>>()(copy), "two holders of one value differ");
         });
         if (!whole) r.accounted_for();  // a stream of the standard library reports the failure in its state
       }},
  };
}

/// Calls that only throw: no destructor of theirs can throw as well.
std::vector<lone_scenario> failing() {
  using V = faults::value;
  return {
      {"a promise stays unfulfilled when its value throws",
       [](run& r) {
         dg::promise<V> p;
         const dg::ref<V> result = p.get_ref();
         const V kept(3);
         r.armed([&] { p.set_value(kept); });
         if (!result.ready()) {
           r.check(r.threw(), "set_value has come back, and nothing is there");
           p.set_value(3);  // the failure is over
         }
         r.holds(result, 3);
       }},
      {"a promise that is broken, one that was satisfied",
       [](run& r) {
         r.expect<dg::broken_promise>();
         r.expect<dg::promise_already_satisfied>();
         dg::ref<V> broken, satisfied;
         r.armed([&] {
           {
             dg::promise<V> p;
             broken = p.get_ref();
           }
           dg::promise<V> q;
           satisfied = q.get_ref();
           q.set_value(1);
           q.set_value(2);
         });
         if (broken.valid()) r.check(!r.outcome_of(broken), "a broken promise has given a value");
         if (satisfied.valid()) r.holds(satisfied, 1);
       }},
      {"take of a shared value",
       [](run& r) {
         r.expect<dg::shared_value>();
         dg::ref<V> ref = dg::put(V(1));
         const dg::ref<V> other = ref;
         r.armed([&] { std::move(ref).take(); });
         r.check(ref.valid() && r.threw(), "take has taken a shared value");
         r.holds(ref, 1);
         r.holds(other, 1);
         r.need_not_arrive();
         V unused(1);
       }},
      {"get and get_for of what failed",
       [](run& r) {
         r.expect<boom>();
         const dg::ref<V> ref = failed_ref<V>();
         dg::ref<V> copy = ref;
         r.armed([&] {
           V unused(1);
           try {
             ref.get();
           } catch (const boom&) {
           }
           try {
             ref.get_for(1s);
           } catch (const boom&) {
           }
           std::move(copy).get();
         });
         r.check(r.threw() && ref.failed() && ref.error() != nullptr, "an exception was lost");
       }},
      {"a time limit that passes",
       [](run& r) {
         r.expect<dg::timeout_error>();
         dg::promise<V> p;
         const dg::ref<V> ref = p.get_ref();
         r.armed([&] {
           r.check(!ref.wait_for(1us), "nothing is there");
           r.check(!ref.wait_until(std::chrono::system_clock::now() + 1us), "nothing is there");
           V unused(1);
           ref.get_for(1us);
         });
         p.set_value(4);
         r.holds(ref, 4);
       }, {}, scope::this_thread},
      {"wait, error and completion of what is pending",
       [](run& r) {
         r.expect<boom>();
         dg::promise<V> p, q;
         const dg::ref<V> good = p.get_ref();
         const dg::ref<V> bad = q.get_ref();
         while_it_waits other([&] {
           p.set_value(5);
           q.set_exception(std::make_exception_ptr(boom()));
         });
         r.armed([&] {
           good.wait();
           r.check(bad.error() != nullptr, "an exception was lost");
           good.completion().get();
           V unused(1);
           bad.completion().get();
         });
         other.finish();
         r.holds(good, 5);
         r.check(bad.failed(), "an exception was lost");
       }, {}, scope::this_thread},
      {"get of two that are pending, one of which fails",
       [](run& r) {
         r.expect<boom>();
         dg::promise<V> p, q;
         const dg::ref<V> a = p.get_ref(), b = q.get_ref();
         while_it_waits other([&] {
           p.set_value(5);
           q.set_exception(std::make_exception_ptr(boom()));
         });
         r.armed([&] {
           V unused(1);
           dg::get(a, b);
           r.problem("a failure was lost");
         });
         other.finish();
         r.holds(a, 5);
       }, {}, scope::this_thread},
      {"an empty handle",
       [](run& r) {
         r.expect<dg::empty_ref>();
         r.armed([&] {
           V unused(1);
           dg::ref<V>().get();
         });
         r.check(r.threw(), "an empty ref has given a value");
       }},
      {"a list: out of range, and its exception",
       [](run& r) {
         r.expect<std::out_of_range>();
         r.expect<boom>();
         const dg::ref_list<V> list = list_of(count_and_throw<V>, 2);
         r.armed([&] {
           V unused(1);
           try {
             for (const V& v : list.values()) static_cast<void>(v.look());
             r.problem("an exception was lost");
           } catch (const boom&) {
           }
           list.at(3);
         });
         r.check(r.threw(), "a list has more than it has");
       }},
      {"next_for past its time",
       [](run& r) {
         r.expect<dg::timeout_error>();
         dg::manual_executor later;
         dg::ref_stream<V> stream = dg::on(later).submit(count_to<V>, 1);
         r.armed([&] {
           V unused(1);
           stream.next_for(1us);
           r.problem("an item out of nothing");
         });
         later.run_all();
         take_rest(r, stream, 0, 1);
       }, {}, scope::this_thread},
  };
}

/// With containers of the standard library, which end the program when a destructor of their elements throws.
std::vector<lone_scenario> reading_into_containers() {
  using V = faults::value;
  return {
      {"get of a shared ref",
       [](run& r) {
         dg::ref<V> ref = dg::put(V(1));
         const dg::ref<V> other = ref;
         int seen = 0;
         r.armed([&] { seen = V(std::move(ref).get()).look(); });
         if (ref.valid()) {
           r.check(seen == 0, "a ref that gave its value is not empty");
           r.holds(ref, 1);
         }
         r.holds(other, 1);
       }},
      {"get of a range, copied",
       [](run& r) {
         std::vector<dg::ref<V>> refs{dg::put(V(0)), dg::put(V(1)), dg::put(V(2))};
         r.armed([&] {
           const std::vector<V> values = dg::get(refs);
           r.check(values.size() == 3 && values[2].look() == 2, "other values");
         });
         r.hold(refs, 0);
       }},
      {"get of a range, moved",
       [](run& r) {
         std::vector<dg::ref<V>> refs{dg::put(V(0)), dg::put(V(1)), dg::put(V(2))};
         r.armed([&] {
           const std::vector<V> values = dg::get(std::move(refs));
           r.check(values.size() == 3 && values[2].look() == 2, "other values");
         });
       }},
      {"get of a range that is read once, and of a list",
       [](run& r) {
         dg::ref_stream<V> stream = ended_stream(count_to<V>, 3);
         const dg::ref_list<V> list = list_of(count_to<V>, 3);
         r.armed([&] {
           r.check(dg::get(list).size() == 3, "values are lost");
           const std::vector<V> values = dg::get(stream);
           r.check(values.size() == 3 && values[2].look() == 2, "other values");
         });
       }},
      {"wait for some of several",
       [](run& r) {
         dg::promise<V> p;
         const std::vector<dg::ref<V>> refs{dg::put(V(0)), p.get_ref(), dg::put(V(2))};
         r.armed([&] {
           const auto some = dg::wait(refs, 2);
           r.check(some.ready.size() == 2 && some.pending.size() == 1, "another number is ready");
           const auto late = dg::wait(refs, 3, 1us);
           r.check(late.ready.size() == 2 && late.pending.size() == 1, "another number is ready");
           V unused(1);
         });
         p.set_value(1);
         r.hold(refs, 0);
       }, {}, scope::this_thread},
      {"wait that blocks",
       [](run& r) {
         dg::promise<V> p;
         const std::vector<dg::ref<V>> refs{dg::put(V(0)), p.get_ref()};
         while_it_waits other([&] { p.set_value(1); });
         r.armed([&] {
           const auto all = dg::wait(refs, 2);
           r.check(all.ready.size() == 2, "another number is ready");
           V unused(1);
         });
         other.finish();
         r.hold(refs, 0);
       }, {}, scope::this_thread},
      {"wait for more than there are",
       [](run& r) {
         r.expect<std::invalid_argument>();
         const std::vector<dg::ref<V>> refs{dg::put(V(0))};
         r.armed([&] {
           V unused(1);
           dg::wait(refs, 2);
         });
         r.check(r.threw(), "a wait that can never end has ended");
       }},
      {"wait_any of refs and streams",
       [](run& r) {
         dg::promise<V> p;
         const dg::ref<V> never = p.get_ref();
         const dg::ref<V> ready = dg::put(V(1));
         const dg::ref_stream<V> stream = ended_stream(count_to<V>, 2);
         r.armed([&] {
           V unused(1);
           r.check(dg::wait_any(never, ready) == 1, "another one is ready");
           r.check(dg::wait_any(never, stream) == 1, "another one is ready");
           r.check(dg::wait_any(std::vector{never, ready}) == 1, "another one is ready");
           r.check(dg::wait_any_for(1s, never, ready) == 1, "another one is ready");
         });
       }},
      {"wait_any that blocks",
       [](run& r) {
         dg::promise<V> p, q;
         const dg::ref<V> never = p.get_ref(), later = q.get_ref();
         while_it_waits other([&] { q.set_value(3); });
         r.armed([&] {
           r.check(dg::wait_any(never, later) == 1, "another one is ready");
           V unused(1);
         });
         other.finish();
         r.holds(later, 3);
       }, {}, scope::this_thread},
      {"wait_any_for past its time, and wait_any of nothing",
       [](run& r) {
         r.expect<dg::timeout_error>();
         r.expect<std::invalid_argument>();
         dg::promise<V> p;
         const dg::ref<V> never = p.get_ref();
         r.armed([&] {
           V unused(1);
           try {
             dg::wait_any_for(1us, never);
           } catch (const dg::timeout_error&) {
           }
           dg::wait_any(std::vector<dg::ref<V>>());
         });
         r.check(r.threw(), "a wait for nothing has ended");
       }, {}, scope::this_thread},
      {"next_value of a stream",
       [](run& r) {
         dg::ref_stream<V> stream = ended_stream(count_to<V>, 3);
         int taken = 0;
         r.armed([&] {
           while (std::optional<V> v = stream.next_value()) {
             r.check(v->look() == taken, "a stream is out of order");
             ++taken;
           }
         });
         // The value whose move threw is lost, the others follow.
         take_rest(r, stream, taken + (r.threw() && taken < 3 ? 1 : 0), 3);
       }},
  };
}

template <class V>
std::vector<lone_scenario> lists() {
  return {
      {"a list: elements, iteration, values",
       [](run& r) {
         const dg::ref_list<V> list = list_of(count_to<V>, 12);
         r.armed([&] {
           const dg::ref_list<V> copy = list;
           V unused(1);
           int next = 0;
           for (const dg::ref<V> item : copy) r.check(item.get().look() == next++, "a list is out of order");
           next = 0;
           for (const V& v : copy.values()) r.check(v.look() == next++, "a list is out of order");
           r.check(copy.at(11).get() == copy[11].get(), "two refs on one value differ");
           const V mine = list[3].get();
           r.check(mine.look() == 3, "another value");
         });
         r.check(list.size() == 12 && list[11].get().look() == 11, "a list has changed");
       }},
      {"a list that is dropped",
       [](run& r) {
         dg::ref_list<V> list = list_of(count_to<V>, 12);
         r.armed([&] {
           dg::ref<V> one = list[5];
           list = {};
           r.check(one.get().look() == 5, "a value went with its list");
           V unused(1);
         });
       }},
  };
}

}  // namespace

TEST_CASE("put and promises fail as a whole", "[faults][S-ERR-7]") { drive_all(making<faults::value>(), throwing); }

TEST_CASE("a failed read leaves the ref as it was", "[faults][S-DETAIL-3]") {
  drive_all(reading<faults::value>(), throwing);
  drive_all(reading_into_containers(), throwing);
  drive_all(failing(), throwing);
}

TEST_CASE("a list survives failures in its readers", "[faults]") { drive_all(lists<faults::value>(), throwing); }

TEST_CASE("destructors of values that throw are reported where they are dropped", "[faults][S-ERR-10]") {
  drive_all(making<faults::explosive>(), destructors);
  drive_all(reading<faults::explosive>(), destructors);
  drive_all(lists<faults::explosive>(), destructors);
}

}  // namespace test_handles
