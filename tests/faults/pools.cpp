// SPDX-License-Identifier: MIT
// Pools and actors from their beginning to their end: threads that do not start, allocations that fail in constructors, in
// the hook, between submit and shutdown; actors whose parts fail at every point.

#include "injection.hpp"

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace test_pools {

using faults::all_hosts;
using faults::count_to;
using faults::destructors;
using faults::drive_all;
using faults::host;
using faults::kind;
using faults::lone_scenario;
using faults::run;
using faults::scope;
using faults::target;
using faults::throwing;
using support::boom;

namespace {

constexpr std::initializer_list<kind> threads = {kind::thread, kind::all_threads};

void fulfil(dg::promise<int>& p) {
  try {
    p.set_value(7);
  } catch (const dg::promise_already_satisfied&) {
  }
}

/// Tasks that wait for each other, `n` deep.
int depth(dg::thread_pool& pool, int n) {
  if (n == 0) return 0;
  return pool.submit([&pool, n] { return depth(pool, n - 1); }).get() + 1;
}

/// An executor that drops its work.
struct keeps_none {
  void execute(dg::work w) noexcept { static_cast<void>(w); }
};

/// A hook that holds a value, and fails when that fails.
template <class V>
auto failing_hook(run& r) {
  return [&r, state = V(1)](std::exception_ptr error, std::string_view) {
    r.arrived(error);
    const V local(state.look());
    static_cast<void>(local);
  };
}

std::vector<lone_scenario> pools() {
  using V = faults::value;
  return {
      {"a pool of each kind",
       [](run& r) {
         r.armed([&] {
           dg::thread_pool first(2);
           dg::thread_pool_options o;
           o.threads = 3;
           o.name = "a name that is too long for a thread";
           o.waiters_help = false;
           o.max_spare_threads = 1;
           o.on_unhandled_error = failing_hook<V>(r);
           const dg::thread_pool_options copy = o;
           dg::thread_pool second(copy);
           r.check(second.threads() == 3, "a pool of another size");
           second.submit([] { return V(1); }).get();
         });
       }},
      {"a pool that lacks threads leaves nothing running",
       [](run& r) {
         std::optional<dg::thread_pool> pool;
         r.armed([&] { pool.emplace(r.pool_options(4)); });
         r.check(pool.has_value() != r.threw(), "a pool with too few threads");
         if (pool) r.check(pool->submit([] { return 3; }).get() == 3, "a pool that does not run");
       }},
      {"shutdown, draining",
       [](run& r) {
         r.expect<dg::pool_stopped>();
         dg::thread_pool pool(r.pool_options(2));
         std::vector<dg::ref<V>> refs(3);
         r.armed([&] {
           for (dg::ref<V>& ref : refs) ref = pool.submit([] { return V(1); });
           pool.shutdown(dg::shutdown_mode::drain);
           pool.submit([] { return V(2); });
         });
         for (const dg::ref<V>& ref : refs)
           if (ref.valid()) r.holds(ref, 1);
       }},
      {"shutdown, cancelling what waits",
       [](run& r) {
         r.expect<dg::cancelled_error>();
         r.need_not_arrive();  // it may hit the start of the thread that ends cancelled tasks, which is tried again
         dg::promise<V> never;
         dg::thread_pool pool(r.pool_options(2));
         dg::ref<V> waiting;
         dg::ref_stream<V> stream;
         r.armed([&] {
           waiting = pool.submit([](const V& v) { return v; }, never.get_ref());
           stream = pool.options(dg::backpressure{1}).submit(count_to<V>, 5);
           pool.shutdown(dg::shutdown_mode::cancel);
         });
         pool.shutdown(dg::shutdown_mode::cancel);
         if (waiting.valid()) r.outcome_of(waiting);
         if (stream.valid())
           while (auto item = stream.next()) r.outcome_of(*item);
       }},
      {"a pool that goes before its refs",
       [](run& r) {
         r.expect<dg::cancelled_error>();
         r.need_not_arrive();  // it may hit the start of the thread that ends cancelled tasks, which is tried again
         dg::promise<V> never;
         dg::ref<V> done, waiting;
         dg::ref_stream<V> stream;
         dg::ref<dg::ref_list<V>> list;
         r.armed([&] {
           dg::thread_pool pool(r.pool_options(2));
           done = pool.submit([](V v) { return v; }, V(1));
           waiting = pool.submit([](const V& v) { return v; }, never.get_ref());
           stream = pool.options(dg::backpressure{1}).submit(count_to<V>, 5);
           list = pool.options(dg::dynamic).submit(count_to<V>, 5);
         });
         if (done.valid()) r.holds(done, 1);
         if (waiting.valid()) r.outcome_of(waiting);
         if (list.valid()) {
           if (list.failed())
             r.arrived(list.error());
           else
             for (const dg::ref<V> item : list.get()) r.outcome_of(item);
         }
         if (!stream.valid()) return;
         while (auto item = stream.next()) r.outcome_of(*item);
       }},
      {"an exception that only the hook gets, and a hook that throws",
       [](run& r) {
         r.expect<boom>();
         dg::thread_pool_options o;
         o.threads = 1;
         o.on_unhandled_error = failing_hook<V>(r);
         dg::thread_pool pool(o);
         r.armed([&] {
           pool.submit([](const V&) { throw boom(); }, V(1));
           pool.submit([] { return 1; }).get();
         });
       }},
      {"a pool that goes in one of its own tasks",
       [](run& r) {
         const long before = faults::live_allocations();
         dg::ref<int> result;
         r.armed([&] {
           auto owner = std::make_shared<dg::thread_pool>(r.pool_options(2));
           dg::thread_pool& pool = *owner;
           auto f = [](std::shared_ptr<dg::thread_pool> last, V v) {
             const dg::ref<V> child = last->submit([](const V& a) { return V(a.look() + 1); }, v);
             last.reset();
             return child.get().look();
           };
           result = pool.submit(f, std::move(owner), V(1));
           result.wait();
         });
         if (result.valid()) r.holds(result, 2);
         result = {};
         // Its threads, which no thread joins, use the hook until they end.
         r.check(support::eventually([&] { return faults::live_allocations() <= before; }), "a pool without an owner stays");
       }},
      {"executors, and their tasks when they go",
       [](run& r) {
         r.expect<dg::cancelled_error>();
         dg::ref<int> done, dropped, inlined;
         r.armed([&] {
           dg::manual_executor later;
           const auto on = dg::on(later);
           const auto copy = on;
           const auto add = [](const V& v) { return v.look() + 1; };
           done = copy.submit(add, V(1));
           later.run_all();
           dropped = copy.options(dg::name{"a name that is too long to be stored in place"}).submit(add, V(2));
           dg::inline_executor here;
           inlined = dg::on(here).submit(add, V(3));
           keeps_none none;
           dg::on(none).submit(add, V(4));
         });
         if (done.valid()) {
           const auto number = r.outcome_of(done);
           r.check(r.fired() || number == 2, "another value");
         }
         if (dropped.valid()) r.check(!r.outcome_of(dropped), "a task has run whose executor is gone");
         if (inlined.valid()) r.holds(inlined, 4);
         r.need_not_arrive();  // it may hit the text of a cancellation that is not read
       }},
      {"statistics",
       [](run& r) {
         dg::thread_pool pool(r.pool_options(2));
         r.armed([&] {
           const auto ref = pool.submit([](V v) { return v; }, V(1));
           r.check(ref.get().look() == 1, "another value");
           r.check(pool.stats().submitted == 1, "a task is not counted");
         });
         pool.shutdown(dg::shutdown_mode::drain);
         const dg::pool_stats s = pool.stats();
         r.check(s.submitted == s.completed + s.failed + s.cancelled, "a task is counted that was not submitted");
       }},
  };
}

/// Tasks that block their worker, so that a spare takes its place.
std::vector<lone_scenario> spares() {
  return {
      {"a worker that waits, and that no spare thread replaces",
       [](run& r) {
         r.need_not_arrive();  // if no thread can be started, the waiting thread runs tasks itself
         dg::promise<int> p;
         std::mutex mutex;  // a promise has one user at a time
         const auto fulfil_once = [&] {
           const std::lock_guard lock(mutex);
           fulfil(p);
         };
         dg::thread_pool pool(r.pool_options(1, false));
         dg::ref<int> result;
         r.armed([&] {
           auto f = [&](dg::ref<int> later) {
             // Queued behind this task, on the only worker.
             const auto giver = pool.submit([&] { fulfil_once(); });
             return later.get() + 1;
           };
           result = pool.submit(f, dg::unresolved(p.get_ref()));
           result.wait();
         });
         fulfil_once();
         if (!result.valid()) return;
         r.holds(result, 8);
       }},
      {"waits that nest deeper than spares",
       [](run& r) {
         r.need_not_arrive();
         dg::thread_pool_options o = r.pool_options(1, false);
         o.max_spare_threads = 2;
         dg::thread_pool pool(o);
         dg::ref<int> result;
         r.armed([&] {
           result = pool.submit([&pool] { return depth(pool, 6); });
           result.wait();
         });
         if (result.valid()) r.holds(result, 6);
       }},
      {"a worker that waits for any of several",
       [](run& r) {
         r.need_not_arrive();
         dg::promise<int> never;
         dg::thread_pool pool(r.pool_options(1, false));
         dg::ref<int> result;
         r.armed([&] {
           auto f = [&pool](dg::ref<int> other) {
             const auto child = pool.submit([] { return 4; });
             return static_cast<int>(dg::wait_any(other, child));
           };
           result = pool.submit(f, dg::unresolved(never.get_ref()));
           result.wait();
         });
         if (result.valid()) r.holds(result, 1);
       }},
      {"waits in a pool that can have no more threads keep nothing",
       [](run& r) {
         r.need_not_arrive();
         dg::thread_pool pool(r.pool_options(1, false));
         dg::ref<long> result;
         r.armed([&] {
           auto f = [&pool] {
             const auto wait = [&pool] { pool.submit([] { return 1; }).get(); };
             wait();
             const long before = faults::live_allocations();
             for (int i = 0; i < 20; ++i) wait();
             return faults::live_allocations() - before;
           };
           result = pool.submit(f);
           result.wait();
         });
         if (!result.valid()) return;
         // Objects of a finished wait may not be freed yet.
         if (const auto kept = r.outcome_of(result)) r.check(*kept < 10, "each wait leaves something");
       }},
      {"many workers that wait at once",
       [](run& r) {
         r.need_not_arrive();
         dg::thread_pool pool(r.pool_options(2, false));
         std::vector<dg::ref<int>> results(8);
         r.armed([&] {
           for (dg::ref<int>& result : results) result = pool.submit([&pool] { return depth(pool, 3); });
           for (const dg::ref<int>& result : results) result.wait();
         });
         for (const dg::ref<int>& result : results)
           if (result.valid()) r.holds(result, 3);
       }},
  };
}

/// An actor whose constructor, methods and destructor may fail.
template <class V>
class tally {
 public:
  tally(run& r, V start, bool refuse = false) : run_(r), sum_(std::move(start)) {
    run_.enter();
    if (refuse) throw boom();
  }
  int add(const V& v) {
    sum_ = V(sum_.look() + v.look());
    return sum_.look();
  }
  V get() const { return sum_; }
  dg::generator<V> count(int n) {
    for (int i = 0; i < n; ++i) co_yield sum_.look() + i;
  }
  dg::task<V> wait_for(dg::ref<V> r) {
    const V& v = co_await r;
    co_return v.look() + sum_.look();
  }

 private:
  run& run_;
  V sum_;
};

/// Common to all scenarios of actors: an actor whose constructor failed is dead, and its calls report that. A call for
/// which a user's executor has no memory was cancelled; if that is the end of the actor, no handle is left to report
/// it.
void may_die(run& r, const target& t) {
  r.expect<dg::actor_died>();
  if (t.where == host::users_own) r.need_not_arrive();
}

template <class V>
std::vector<faults::scenario> actors() {
  return {
      {"an actor that is made and dropped",
       [](run& r, target& t) {
         may_die(r, t);
         dg::actor<tally<V>> a;
         r.armed(t, [&] {
           a = t.on.options().template make_actor<tally<V>>(std::ref(r), V(1));
           t.work();
         });
         r.check(a.valid() || r.entered() == 0, "make_actor has thrown, but the constructor has run");
         if (a.valid()) {
           const auto sum = a.submit(&tally<V>::add, V(1));
           t.work();
           r.holds(sum, 2);
         }
         a = {};
         t.work();
       }},
      {"calls of an actor, by method and by function",
       [](run& r, target& t) {
         may_die(r, t);
         auto a = t.on.options().template make_actor<tally<V>>(std::ref(r), V(1));
         t.work();
         dg::ref<int> sum, sum_of_function;
         r.armed(t, [&] {
           sum = a.submit(&tally<V>::add, V(2));
           auto f = [](tally<V>& self, const V& v) { return self.add(v); };
           sum_of_function = a.submit(faults::callable<V, decltype(f)>(V(0), f), V(3));
           t.work();
           sum_of_function.wait();
         });
         if (sum.valid()) r.outcome_of(sum);
         if (sum_of_function.valid()) r.outcome_of(sum_of_function);
         if (r.threw() || r.fired()) return;
         r.holds(sum, 3);
         r.holds(sum_of_function, 6);
       }},
      {"a generator and a task of an actor, with options",
       [](run& r, target& t) {
         may_die(r, t);
         dg::promise<V> p;
         auto a = t.on.options(dg::max_concurrency{2}, dg::name{"an actor whose name is too long to be stored in place"})
                      .template make_actor<tally<V>>(std::ref(r), V(1));
         t.work();
         dg::ref_stream<V> stream;
         std::array<dg::ref<V>, 2> refs;
         dg::ref<V> awaited;
         r.armed(t, [&] {
           awaited = a.submit(&tally<V>::wait_for, dg::unresolved(p.get_ref()));
           const auto pack = a.options(dg::name{"a call whose name is too long to be stored in place"});
           const auto copy = pack;
           stream = copy.submit(&tally<V>::count, 3);
           refs = a.options(dg::num_returns<2>{}, dg::max_retries{1}).submit(&tally<V>::count, 2);
           t.work();
           p.set_value(5);
           t.work();
           refs[1].completion().wait();
           awaited.wait();
         });
         try {
           p.set_value(5);
         } catch (const dg::promise_already_satisfied&) {
         }
         t.work();
         r.need_not_arrive();  // a retry succeeds
         if (awaited.valid()) r.holds(awaited, 6);
         if (refs[0].valid()) r.hold(refs, 1);
         int next = 1;
         while (stream.valid()) {
           t.work();
           auto item = t.submitted() ? stream.next() : stream.try_next();
           if (!item) break;
           const auto number = r.outcome_of(*item);
           if (number && *number != next++) r.problem("a stream is out of order");
         }
       }},
      {"an actor whose constructor throws",
       [](run& r, target& t) {
         r.expect<dg::actor_died>();
         r.expect<boom>();
         r.need_not_arrive();  // it may hit the report of the constructor's exception
         dg::ref<int> sum;
         r.armed(t, [&] {
           auto a = t.on.options(dg::name{"unborn"}).template make_actor<tally<V>>(std::ref(r), V(1), true);
           sum = a.submit(&tally<V>::add, V(2));
           t.work();
           sum.wait();
         });
         if (sum.valid()) r.check(!r.outcome_of(sum), "a call of an actor that was not built");
       }},
      {"an actor built from what is pending",
       [](run& r, target& t) {
         may_die(r, t);
         dg::promise<V> p;
         dg::ref<int> sum;
         r.armed(t, [&] {
           auto a = t.on.options().template make_actor<tally<V>>(std::ref(r), p.get_ref());
           sum = a.submit(&tally<V>::add, V(2));
           p.set_value(3);
           t.work();
           sum.wait();
         });
         try {
           p.set_value(3);
         } catch (const dg::promise_already_satisfied&) {
         }
         t.work();
         if (sum.valid()) r.holds(sum, 5);
       }},
      {"kill, with calls that run, wait and come later",
       [](run& r, target& t) {
         r.expect<dg::actor_died>();
         r.expect<dg::cancelled_error>();
         r.need_not_arrive();  // it may hit a call that is cancelled anyway
         dg::promise<V> never;
         auto a = t.on.options().template make_actor<tally<V>>(std::ref(r), V(1));
         t.work();
         dg::ref<V> awaited;
         dg::ref<int> queued, late;
         r.armed(t, [&] {
           awaited = a.submit(&tally<V>::wait_for, dg::unresolved(never.get_ref()));
           t.work();
           queued = a.submit(&tally<V>::add, V(2));
           a.kill();
           late = a.submit(&tally<V>::add, V(3));
           t.work();
           late.wait();
         });
         a.kill();
         t.work();
         if (awaited.valid()) r.check(!r.outcome_of(awaited), "a call that waits for ever has ended well");
         if (queued.valid()) r.outcome_of(queued);
         if (late.valid()) r.check(!r.outcome_of(late), "a dead actor has answered");
       }},
      {"the last handle goes before the calls",
       [](run& r, target& t) {
         may_die(r, t);
         dg::ref<int> sum;
         r.armed(t, [&] {
           {
             auto a = t.on.options().template make_actor<tally<V>>(std::ref(r), V(1));
             auto b = a;
             a = {};
             sum = b.submit(&tally<V>::add, V(2));
           }
           t.work();
           sum.wait();
         });
         if (sum.valid()) r.holds(sum, 3);
       }},
  };
}

std::vector<lone_scenario> actors_and_pools() {
  using V = faults::value;
  return {
      {"an actor that outlives its pool",
       [](run& r) {
         r.expect<dg::actor_died>();
         r.expect<dg::cancelled_error>();
         if (r.what() == kind::allocation) r.need_not_arrive();  // it may hit the message about the end of the actor
         dg::actor<tally<V>> a;
         dg::ref<int> during, after;
         r.armed([&] {
           {
             dg::thread_pool pool(r.pool_options(2));
             a = pool.make_actor<tally<V>>(std::ref(r), V(1));
             during = a.submit(&tally<V>::add, V(2));
           }
           after = a.submit(&tally<V>::add, V(2));
         });
         if (during.valid()) r.outcome_of(during);
         if (after.valid()) r.check(!r.outcome_of(after), "an actor has outlived its pool");
       }},
  };
}

}  // namespace

TEST_CASE("a pool fails as a whole, or works", "[faults][S-ERR-7][S-ERR-9][S-STOP-3]") { drive_all(pools(), throwing); }

TEST_CASE("a pool that gets fewer threads than it asks for throws, and leaves nothing running", "[faults]") {
  auto all = pools();
  all.resize(2);  // the other hosts create their pool before
  drive_all(all, threads);
}

TEST_CASE("if no thread can be started, a worker that waits runs tasks itself", "[faults][L-2]") {
  drive_all(spares(), threads);
  drive_all(spares(), {kind::allocation, kind::all_allocations});
}

TEST_CASE("an actor fails as a whole, or call by call", "[faults][S-ERR-7][S-ACTOR-3]") {
  drive_all(actors<faults::value>(), all_hosts, throwing);
  drive_all(actors_and_pools(), throwing);
}

TEST_CASE("destructors of actors and of their members may throw", "[faults][S-ERR-10]") {
  drive_all(actors<faults::explosive>(), all_hosts, destructors);
}

}  // namespace test_pools
