// SPDX-License-Identifier: MIT
// The order in which calls of an actor run: by submitter, resumed calls against new ones, rings of actors, and the
// effects of options and cancellation. S-ACTOR, S-DETAIL-7, and the other rules as far as they apply to methods.

#include "../catch.hpp"
#include "actor_fixtures.hpp"
#include "probes.hpp"

#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_actor_calls {

using namespace std::chrono_literals;
using support::boom;
using support::later;
using support::recorder;

TEST_CASE("a method that only yields lets new calls begin and suspended ones resume", "[actor][S-ACTOR-2][L-18]") {
  support::watchdog dog("yielding methods");
  for (int threads : {1, 2}) {
    dg::thread_pool pool(threads);
    auto a = pool.options(dg::max_concurrency{2}).make_actor<recorder>();
    auto spins = a.submit(&recorder::spins);
    a.submit(&recorder::raise).get();
    CHECK(spins.get() >= 0);
    // Two calls that yield in a loop, and one that must resume between them.
    auto b = pool.options(dg::max_concurrency{3}).make_actor<recorder>();
    later value;
    auto waits = b.submit(&recorder::awaits, dg::unresolved(value.ref), "<", ">");
    auto one = b.submit(&recorder::spins);
    auto two = b.submit(&recorder::spins);
    value.promise.set_value(1);
    CHECK(waits.get() == 1);
    b.submit(&recorder::raise).get();
    one.get();
    two.get();
    // With one call at a time, a method that yields keeps its turn, and other tasks of the pool run.
    auto c = pool.make_actor<recorder>();
    auto keeps = c.submit([](recorder& self) -> dg::task<std::string> {
      for (int i = 0; i < 10; ++i) {
        self.note("y");
        co_await dg::this_task::yield();
      }
      co_return self.text();
    });
    c.submit(&recorder::note, "n");
    CHECK(pool.submit([] { return 7; }).get() == 7);
    CHECK(keeps.get() == "yyyyyyyyyy");
  }
  CHECK_FALSE(recorder::overlapped);
}

TEST_CASE("calls behind one that is not ready cost no more than others", "[actor][S-DETAIL-7]") {
  support::watchdog dog("ten thousand calls behind one that is not ready", 120);
  dg::thread_pool pool(1);
  auto a = pool.make_actor<recorder>();
  a.submit(&recorder::add, 0).get();  // it is built
  later first;
  std::vector<dg::ref<int>> own;
  own.push_back(a.submit(&recorder::add, first.ref));
  for (int i = 0; i < 20'000; ++i) own.push_back(a.submit(&recorder::add, 1));
  // Calls of other submitters overtake them; each submitter also has a call that waits.
  std::vector<later> waits(500);
  std::vector<dg::ref<int>> others;
  for (std::size_t i = 0; i < waits.size(); ++i)
    pool.submit([&, i] {
          others.push_back(a.submit(&recorder::add, waits[i].ref));
          a.submit(&recorder::note, ".");
        })
        .get();
  CHECK(a.submit([](recorder& self) { return self.sum; }).cancel());
  dg::ref<int> sum;
  std::thread([&] { sum = a.submit([](recorder& self) { return self.sum; }); }).join();
  CHECK(sum.get() == 0);  // none of them has begun
  for (std::size_t i = waits.size(); i-- > 0;) waits[i].promise.set_value(0);
  for (auto& r : others) CHECK(r.get() == 0);
  first.promise.set_value(0);
  CHECK(own.back().get() == 20'000);
  CHECK(a.submit(&recorder::text).get() == std::string(500, '.'));
}

TEST_CASE("calls become ready in any order, and run in the order of their submits", "[actor][S-ACTOR-1][S-DETAIL-7]") {
  support::watchdog dog("orders of readiness");
  dg::thread_pool pool(2);
  for (int order = 0; order < 3; ++order) {
    auto a = pool.make_actor<recorder>();
    std::vector<later> inputs(8);
    std::vector<dg::ref<void>> calls;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      calls.push_back(a.submit([i](recorder& self, int) { self.note(std::to_string(i)); }, inputs[i].ref));
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      const std::size_t i = order == 0 ? k : order == 1 ? inputs.size() - 1 - k : (k * 3) % 8;
      inputs[i].promise.set_value(0);
    }
    calls.back().get();
    CHECK(a.submit(&recorder::text).get() == "01234567");
  }
  // A call that has failed or was cancelled delays no later call.
  auto a = pool.make_actor<recorder>();
  later never, failing;
  auto cancelled = a.submit(&recorder::add, never.ref);
  auto failed = a.submit(&recorder::add, failing.ref);
  auto behind = a.submit(&recorder::add, 5);
  CHECK(cancelled.cancel());
  failing.promise.set_exception(std::make_exception_ptr(boom()));
  CHECK(behind.get() == 5);
  CHECK(support::holds<dg::cancelled_error>(cancelled));
  CHECK(support::holds<boom>(failed));
}

TEST_CASE("calls of tasks keep the order in which each task submits them, whichever thread runs it",
          "[actor][S-ACTOR-1]") {
  support::watchdog dog("order of a task's calls");
  dg::thread_pool pool(3);
  auto a = pool.make_actor<recorder>();
  struct body {
    static dg::task<bool> run(dg::actor<recorder> to, char name, int n) {
      std::vector<dg::ref<void>> calls;
      for (int i = 0; i < n; ++i) {
        calls.push_back(to.submit(&recorder::note, std::string(1, static_cast<char>(name + i % 3))));
        if (i % 2 == 0) co_await dg::this_task::yield();
      }
      for (auto& c : calls) co_await c;
      co_return true;
    }
  };
  std::vector<dg::ref<bool>> all;
  for (char name : {'a', 'h', 'p'}) all.push_back(pool.submit(body::run, a, name, 300));
  for (auto& r : all) CHECK(r.get());
  const std::string log = a.submit(&recorder::text).get();
  for (char name : {'a', 'h', 'p'}) {
    std::string mine, expected;
    for (char c : log)
      if (c >= name && c < name + 3) mine += c;
    for (int i = 0; i < 300; ++i) expected += static_cast<char>(name + i % 3);
    CHECK(mine == expected);
  }
  // Calls that one task submits before another task begins come first, too.
  later input;
  auto first = pool.submit([a](int) { a.submit(&recorder::note, "1"); }, input.ref);
  auto second = pool.options(dg::after(first)).submit([a] { a.submit(&recorder::note, "2"); });
  input.promise.set_value(0);
  second.get();
  CHECK(a.submit(&recorder::text).get().ends_with("12"));
}

TEST_CASE("an awaiting method resumes in its actor's turn, whichever thread stores what it awaits",
          "[actor][S-WAIT-6][S-ACTOR-2]") {
  support::watchdog dog("resumed in turn");
  recorder::overlapped = false;
  dg::thread_pool pool(2);
  auto a = pool.options(dg::max_concurrency{16}).make_actor<recorder>();
  std::vector<later> values(200);
  std::vector<dg::ref<int>> calls;
  for (auto& v : values) calls.push_back(a.submit(&recorder::awaits, dg::unresolved(v.ref), "", "."));
  std::thread other([&] {
    for (std::size_t i = 0; i < values.size(); i += 2) values[i].promise.set_value(1);
  });
  for (std::size_t i = 1; i < values.size(); i += 2) values[i].promise.set_value(1);
  other.join();
  int sum = 0;
  for (auto& c : calls) sum += c.get();
  CHECK(sum == 200);
  CHECK(a.submit(&recorder::text).get() == std::string(200, '.'));
  CHECK_FALSE(recorder::overlapped);
}

TEST_CASE("a closed ring of actors that await each other works where each runs two calls at a time",
          "[actor][S-WAIT-5]") {
  support::watchdog dog("closed rings");
  struct link {
    dg::actor<link> next;
    void set(dg::actor<link> to) { next = std::move(to); }
    void cut() { next = {}; }
    dg::task<int> pass(int hops) {
      if (hops == 0) co_return 0;
      co_return 1 + co_await next.submit(&link::pass, hops - 1);
    }
  };
  for (int threads : {1, 2}) {
    dg::thread_pool pool(threads);
    std::vector<dg::actor<link>> ring;
    for (int i = 0; i < 5; ++i) ring.push_back(pool.options(dg::max_concurrency{201}).make_actor<link>());
    for (std::size_t i = 0; i < ring.size(); ++i) ring[i].submit(&link::set, ring[(i + 1) % ring.size()]);
    CHECK(ring[0].submit(&link::pass, 1000).get() == 1000);  // two hundred rounds
    for (auto& a : ring) a.submit(&link::cut).get();
  }
}

TEST_CASE("a closed ring of actors that wait for each other is ended by a cancel, a kill, or the end of the pool",
          "[actor][S-WAIT-5][S-STOP-1]") {
  support::watchdog dog("rings of one call each");
  struct link {
    dg::actor<link> next;
    void set(dg::actor<link> to) { next = std::move(to); }
    dg::task<int> pass(int hops) {
      if (hops == 0) co_return 0;
      co_return 1 + co_await next.submit(&link::pass, hops - 1);
    }
  };
  for (int how = 0; how < 3; ++how) {
    dg::ref<int> stuck;
    {
      dg::thread_pool pool(2);
      auto a = pool.make_actor<link>();
      auto b = pool.make_actor<link>();
      a.submit(&link::set, b);
      b.submit(&link::set, a);
      stuck = a.submit(&link::pass, 2);  // the third call is one of actor a again, whose turn the first call keeps
      CHECK_FALSE(stuck.wait_for(20ms));
      if (how == 0) CHECK(stuck.cancel());
      if (how == 1) b.kill();
      if (how < 2) CHECK(support::holds<dg::cancelled_error>(stuck));
      if (how == 0) a.submit(&link::set, dg::actor<link>()).get();
    }
    CHECK(support::holds<dg::cancelled_error>(stuck));
  }
}

TEST_CASE("methods of every kind that are dropped half-way free their actor", "[actor][S-ACTOR-5][S-CANCEL-7]") {
  support::watchdog dog("dropped methods");
  struct bodies {
    static dg::generator<int> full(recorder& self, dg::ref<int>) {
      const support::witness here(self.frames);
      for (int i = 0;; ++i) co_yield i;
    }
    static dg::generator<int> awaiting(recorder& self, dg::ref<int> never) {
      const support::witness here(self.frames);
      co_yield 1;
      co_yield co_await never;
    }
    static dg::generator<int> nested(recorder& self, dg::ref<int> never) {
      const support::witness here(self.frames);
      co_yield dg::elements_of(awaiting(self, never));
    }
    static dg::generator<int> retried(recorder& self, dg::ref<int> never) {
      const support::witness here(self.frames);
      co_yield 1;
      if (dg::this_task::attempt() == 1) throw boom();
      co_yield co_await never;
    }
  };
  for (int threads : {1, 2}) {
    for (int limit : {1, 3}) {
      support::error_log log;  // an attempt may fail just when its stream is dropped
      dg::thread_pool pool(support::reporting_to(log, threads));
      auto a = pool.options(dg::max_concurrency{limit}).make_actor<recorder>();
      later never;
      for (auto body : {&bodies::full, &bodies::awaiting, &bodies::nested, &bodies::retried}) {
        for (int taken = 0; taken < 2; ++taken) {
          auto stream = a.options(dg::backpressure{2}, dg::max_retries{1}).submit(body, dg::unresolved(never.ref));
          if (taken == 1) CHECK(stream.next_value().has_value());
          auto behind = a.submit([](recorder& self) { return self.frames.load(); });
          stream = {};
          behind.get();
          // Its frame was destroyed in the actor's turn, or will be before the next call.
          CHECK(support::eventually(
              [&] { return a.submit([](recorder& self) { return self.frames.load(); }).get() == 0; }));
        }
      }
    }
  }
}

TEST_CASE("a frame of a method is destroyed in the actor's turn only", "[actor][L-12]") {
  support::watchdog dog("frames of methods");
  recorder::overlapped = false;
  struct bodies {
    struct leaves {
      recorder& self;
      explicit leaves(recorder& s) : self(s) {}
      leaves(const leaves&) = delete;
      leaves& operator=(const leaves&) = delete;
      ~leaves() {
        const recorder::here only(self);
        for (int i = 0; i < 50; ++i) std::this_thread::yield();
        self.log += 'x';
      }
    };
    static dg::task<void> awaits(recorder& self, dg::ref<int> never) {
      const leaves local(self);
      co_await never;
    }
    static dg::generator<int> yields(recorder& self) {
      const leaves local(self);
      for (;;) co_yield 1;
    }
    static void works(recorder& self) {
      const recorder::here only(self);
      for (int i = 0; i < 50; ++i) std::this_thread::yield();
    }
  };
  dg::thread_pool pool(3);
  auto a = pool.options(dg::max_concurrency{8}).make_actor<recorder>();
  later never;
  int expected = 0;
  for (int round = 0; round < 100; ++round) {
    auto task = a.submit(&bodies::awaits, dg::unresolved(never.ref));
    auto stream = a.options(dg::backpressure{1}).submit(&bodies::yields);
    (void)stream.next();  // both have begun: the order of the submits
    auto work = a.submit(&bodies::works);
    task.cancel();
    stream = {};
    work.get();
    CHECK(support::holds<dg::cancelled_error>(task));
    expected += 2;
  }
  CHECK(support::eventually(
      [&] { return a.submit(&recorder::text).get().size() == static_cast<std::size_t>(expected); }));
  CHECK_FALSE(recorder::overlapped);
}

TEST_CASE("calls take every option of submit", "[actor][S-ACTOR]") {
  support::watchdog dog("options of calls");
  std::atomic<int> steps{0};
  std::atomic<int> asked{0};
  std::vector<int> seen;
  dg::thread_pool pool(2);
  auto a = pool.make_actor<recorder>();
  // Retries: static, dynamic, streaming; a function, a task, a generator, with exact steps.
  struct bodies {
    static dg::generator<int> values(recorder& self, std::atomic<int>* steps) {
      for (int i = 0; i < 5; ++i) {
        if (i == 3 && dg::this_task::attempt() <= 3) throw boom();
        ++*steps;
        self.add(1);
        co_yield i;
      }
    }
    static int function(recorder& self, std::atomic<int>* steps) {
      self.add(1);
      ++*steps;
      if (dg::this_task::attempt() <= 3) throw boom();
      return 7;
    }
    static dg::task<int> task(recorder& self, std::atomic<int>* steps) {
      self.add(1);
      ++*steps;
      co_await dg::this_task::yield();
      if (dg::this_task::attempt() <= 3) throw boom();
      co_return 8;
    }
  };
  const auto thrice = a.options(dg::max_retries{3});
  CHECK(thrice.submit(&bodies::function, &steps).get() == 7);
  CHECK(steps == 4);
  CHECK(thrice.submit(&bodies::task, &steps).get() == 8);
  CHECK(steps == 8);
  steps = 0;
  for (int v : a.options(dg::max_retries{3}, dg::backpressure{1}).submit(&bodies::values, &steps).values())
    seen.push_back(v);
  CHECK(seen == std::vector<int>{0, 1, 2, 3, 4});
  CHECK(steps == 3 * 3 + 5);
  CHECK(a.options(dg::max_retries{3}, dg::dynamic).submit(&bodies::values, &steps).get().size() == 5);
  CHECK(dg::get(a.options(dg::max_retries{3}, dg::num_returns{5}).submit(&bodies::values, &steps)) == seen);
  auto few = a.options(dg::max_retries{2}, dg::num_returns{5}, dg::all_or_nothing).submit(&bodies::values, &steps);
  CHECK(support::holds<boom>(few[0]));
  a.submit(&recorder::text).get();
  CHECK(steps == 3 * 14 + 3 * 3);
  CHECK(a.submit([](recorder& self) { return self.sum; }).get() == 8 + 3 * 14 + 3 * 3);
  auto refused = a.options(dg::max_retries{3}, dg::retry_if([&asked](std::exception_ptr) { return ++asked < 2; }))
                     .submit(&bodies::function, &steps);
  CHECK(support::holds<boom>(refused));
  CHECK(asked == 2);

  // A budget, a token, after, a name, unresolved and consumed refs.
  dg::budget units(2);
  auto bounded = a.options(dg::backpressure_by(units, [](int) { return 1; })).submit(&recorder::count, 5);
  auto behind = a.submit(&recorder::text);
  int n = 0;
  for (int v : bounded.values()) n += v > 0 ? 1 : 0;
  CHECK(n == 5);
  CHECK(units.used() == 0);
  behind.get();
  std::stop_source source;
  later never;
  const auto stoppable = a.options(dg::stop_on(source.get_token()), dg::name{"stoppable"});
  auto suspended = stoppable.submit(&recorder::awaits, dg::unresolved(never.ref), "", "");
  auto queued = stoppable.submit(&recorder::text);
  source.request_stop();
  CHECK(support::holds<dg::cancelled_error>(suspended));
  CHECK(support::holds<dg::cancelled_error>(queued));
  later gate;
  auto after = a.options(dg::after(gate.ref)).submit([](recorder&) { return dg::this_task::name(); });
  CHECK_FALSE(after.wait_for(5ms));
  gate.promise.set_value(1);
  CHECK(after.get().empty());
  CHECK(a.options(dg::name{"n"}).submit([](recorder&) { return dg::this_task::name(); }).get() == "n");
  auto owned = a.submit(
      [](recorder& self, std::unique_ptr<int>&& p, const dg::ref<int>& r) { return self.add(0) * 0 + *p + r.get(); },
      dg::consume(dg::put(std::make_unique<int>(3))), dg::put(4));
  CHECK(owned.get() == 7);
}

TEST_CASE("calls are cancelled at every stage", "[actor][S-CANCEL-1][S-CANCEL-2][S-CANCEL-4][S-CANCEL-7]") {
  support::watchdog dog("cancelled calls");
  for (int limit : {1, 4}) {
    dg::thread_pool pool(2);
    later never;
    auto a = pool.options(dg::max_concurrency{limit}).make_actor<recorder>();
    auto suspended = a.submit(&recorder::awaits, dg::unresolved(never.ref), "<", ">");
    CHECK(support::eventually([&] { return limit == 1 || a.submit(&recorder::text).get() == "<"; }));
    auto full = a.options(dg::backpressure{1}).submit(&recorder::count, 100);
    auto queued = a.submit(&recorder::note, "queued");
    auto unready = a.submit(&recorder::add, never.ref);
    CHECK((dg::cancel(queued) || (limit != 1 && queued.ready())));  // what had ended cannot be cancelled, and only that
    CHECK(dg::cancel(unready));
    CHECK(full.cancel());
    CHECK(support::holds<dg::cancelled_error>(unready));
    CHECK(suspended.cancel());
    CHECK(support::holds<dg::cancelled_error>(suspended));
    CHECK(support::holds<dg::cancelled_error>(full.completion()));
    CHECK_FALSE(suspended.cancel());
    CHECK_FALSE(full.cancel());
    CHECK(a.submit(&recorder::text).get().find('>') == std::string::npos);
  }
}

TEST_CASE("cancelling a call runs none of its code, nor its actor's, on the canceller", "[actor][L-13][S-CANCEL-8]") {
  support::watchdog dog("cancelled under a mutex");
  std::mutex mutex;
  std::atomic<int> gone{0};
  struct wants {
    std::mutex* mutex;
    std::atomic<int>* gone;
    wants(std::mutex* m, std::atomic<int>* g) : mutex(m), gone(g) {}
    wants(wants&& o) noexcept : mutex(std::exchange(o.mutex, nullptr)), gone(o.gone) {}
    ~wants() {
      if (mutex == nullptr) return;
      std::lock_guard lock(*mutex);
      ++*gone;
    }
  };
  struct holder {
    wants end;
    explicit holder(wants w) : end(std::move(w)) {}
    dg::task<void> awaits(dg::ref<int> never, wants local) {
      co_await never;
      (void)local;
    }
    void takes(const wants&) {}
  };
  dg::thread_pool pool(1);
  for (int round = 0; round < 30; ++round) {
    gone = 0;
    later never;
    std::optional<dg::actor<holder>> a = pool.make_actor<holder>(wants(&mutex, &gone));
    auto suspended = a->submit(&holder::awaits, dg::unresolved(never.ref), wants(&mutex, &gone));
    auto queued = a->submit(&holder::takes, wants(&mutex, &gone));
    {
      std::lock_guard lock(mutex);
      if (round % 2 == 0) {
        queued.cancel();
        suspended.cancel();
        a.reset();
      } else {
        a->kill();
      }
    }
    CHECK(support::eventually([&] { return gone == 3; }));
  }
}

}  // namespace test_actor_calls
