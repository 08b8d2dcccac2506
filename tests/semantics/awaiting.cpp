// SPDX-License-Identifier: MIT
// Coroutines that wait without a thread: task<R>, refs, streams, yield. S-AWAIT, S-WAIT-6, and S-CANCEL, S-STOP and
// S-ERR for a coroutine that is suspended in a co_await.

#include "../catch.hpp"
#include "probes.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_awaiting {

using namespace std::chrono_literals;
using support::awaits;
using support::count_to;
using support::gives;
using support::later;
using support::nothing;
using support::throws_boom;

TEST_CASE("a submitted task gives one ref, ready when it has ended", "[await][S-WAIT-7]") {
  support::watchdog dog("submitted tasks");
  dg::thread_pool pool(2);
  CHECK(pool.submit(gives, 3).get() == 3);
  pool.submit(nothing).get();
  CHECK(support::holds<support::boom>(pool.submit(throws_boom, "x")));
  auto text = pool.submit([]() -> dg::task<std::unique_ptr<std::string>> { co_return std::make_unique<std::string>("own"); });
  CHECK(*std::move(text).get() == "own");
  // Arguments by reference live as long as the task.
  auto length = [](const std::string& s) -> dg::task<std::size_t> {
    co_await dg::this_task::yield();
    co_return s.size();
  };
  CHECK(pool.submit(length, "a text").get() == 6);
  dg::ref<int> seven = dg::put(7);
  CHECK(pool.submit([](const int& i) -> dg::task<int> { co_return i + 1; }, seven).get() == 8);
}

TEST_CASE("a task's result is constructed once, and destroyed once", "[await][S-MEM-1]") {
  support::watchdog dog("results");
  support::tracked::reset();
  {
    dg::thread_pool pool(1);
    auto made = pool.submit([]() -> dg::task<support::tracked> { co_return 5; });
    CHECK(made.get().value == 5);
    CHECK(support::tracked::constructed == 1);
    CHECK(support::tracked::moves + support::tracked::copies == 0);
    auto awaited = pool.submit([]() -> dg::task<int> {
      auto inner = []() -> dg::task<support::tracked> { co_return 6; };
      co_return (co_await inner()).value;
    });
    CHECK(awaited.get() == 6);
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("a result that is replaced, or never taken, is not lost", "[await][S-ERR-10]") {
  support::watchdog dog("replaced results");
  support::tracked::reset();
  struct throws_once {
    bool& first;
    ~throws_once() noexcept(false) {
      if (std::exchange(first, false)) throw support::boom("local");
    }
  };
  dg::thread_pool pool(1);
  auto replaced = pool.submit([first = true]() mutable -> dg::task<support::tracked> {
    try {
      throws_once local{first};
      co_return 1;
    } catch (const support::boom&) {
    }
    co_return 2;
  });
  CHECK(replaced.get().value == 2);
  auto spoilt = pool.submit([first = true]() mutable -> dg::task<support::tracked> {
    throws_once local{first};
    co_return 1;
  });
  CHECK(support::holds<support::boom>(spoilt));
  replaced = {};
  pool.shutdown(dg::shutdown_mode::drain);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("frames are destroyed from the innermost outwards", "[await][S-CANCEL-2]") {
  support::watchdog dog("order of destruction");
  std::vector<int> log;
  struct logs {
    std::vector<int>& log;
    const int& number;  // of the frame around it: must still be there
    ~logs() { log.push_back(number); }
  };
  struct frames {
    static dg::task<void> inner(std::vector<int>& log, const int& outer, dg::ref<int> never) {
      logs here{log, outer};
      co_await never;
    }
    static dg::generator<int> values(std::vector<int>& log, const int& outer, dg::ref<int> never) {
      int mine = outer + 1;
      logs here{log, outer};
      co_await inner(log, mine, never);
      co_yield 1;
    }
    static dg::generator<int> all(std::vector<int>& log, dg::ref<int> never) {
      int mine = 1;
      int zero = 0;
      logs here{log, zero};
      co_yield dg::elements_of(values(log, mine, never));
    }
  };
  later never;
  {
    dg::manual_executor manual;
    auto stream = dg::on(manual).submit(frames::all, std::ref(log), dg::unresolved(never.ref));
    manual.run_all();
    CHECK(log.empty());
    stream.cancel();
    manual.run_all();
    CHECK(stream.completion().failed());
  }
  CHECK(log == std::vector<int>{2, 1, 0});
}

TEST_CASE("co_await of a ref gives what get() gives, by value category", "[await][S-AWAIT]") {
  support::watchdog dog("value categories");
  dg::thread_pool pool(2);
  auto body = [](dg::ref<std::string> text, dg::ref<std::unique_ptr<int>> own) -> dg::task<bool> {
    auto&& seen = co_await text;
    static_assert(std::is_same_v<decltype(seen), const std::string&>);
    const bool same = &seen == &text.get();
    auto&& mine = co_await std::move(own);
    static_assert(std::is_same_v<decltype(mine), std::unique_ptr<int>&&>);
    const bool emptied = !own.valid();
    co_return same && emptied && *mine == 4 && (co_await dg::put(5)) == 5;
  };
  CHECK(pool.submit(body, dg::unresolved(dg::put(std::string("t"))), dg::unresolved(dg::put(std::make_unique<int>(4)))).get());
  auto empty = [](dg::ref<int> r) -> dg::task<int> {
    r = {};
    co_return co_await r;
  };
  CHECK(support::holds<dg::empty_ref>(pool.submit(empty, dg::unresolved(dg::put(1)))));
  auto failing = [](dg::ref<int> r) -> dg::task<std::string> {
    try {
      co_await r;
    } catch (const support::boom& e) {
      co_return e.what();
    }
    co_return "";
  };
  CHECK(pool.submit(failing, dg::unresolved(pool.submit(throws_boom, "stored"))).get() == "stored");
  auto event = [](dg::ref<void> r) -> dg::task<int> {
    co_await r;
    co_await std::move(r);
    co_return 1;
  };
  CHECK(pool.submit(event, dg::unresolved(pool.submit([] {}))).get() == 1);
}

TEST_CASE("a ref that is awaited as an rvalue is left as get() && leaves it", "[await][S-DETAIL-3]") {
  support::watchdog dog("awaited rvalues");
  dg::thread_pool pool(1);
  struct body {
    static dg::task<std::string> run(dg::ref<std::unique_ptr<int>> shared, dg::ref<int> failed, dg::ref<std::string> copied) {
      std::string said;
      try {
        co_await std::move(shared);
      } catch (const dg::shared_value&) {
        said += shared.valid() && **&shared.get() == 3 ? "kept " : "lost ";
      }
      try {
        co_await std::move(failed);
      } catch (const support::boom&) {
        said += failed.valid() ? "kept " : "lost ";
      }
      said += co_await std::move(copied);
      said += copied.valid() ? " kept" : " given";
      co_return said;
    }
  };
  const auto owner = dg::put(std::make_unique<int>(3));
  const auto text = dg::put(std::string("text"));
  CHECK(pool.submit(body::run, dg::unresolved(owner), dg::unresolved(pool.submit(throws_boom, "x")), dg::unresolved(text)).get() ==
        "kept kept text given");
  CHECK(*owner.get() == 3);
  CHECK(text.get() == "text");
}

TEST_CASE("every expression that gives a ref may be awaited", "[await][S-AWAIT-1]") {
  support::watchdog dog("awaited expressions");
  dg::thread_pool pool(2);
  auto list = pool.options(dg::dynamic).submit([]() -> dg::generator<support::tracked> {
    for (int i = 0; i < 3; ++i) co_yield i;
  });
  support::tracked::reset();
  auto body = [&pool](dg::ref<dg::ref_list<support::tracked>> outer) -> dg::task<int> {
    const dg::ref_list<support::tracked>& values = co_await outer;
    int sum = 0;
    for (const auto& r : values) sum += (co_await r).value;
    sum += 10 * (co_await values[2]).value;  // a const ref: a reference into the list
    std::vector<dg::ref<int>> more = pool.options(dg::num_returns{2}).submit(count_to, 2);
    sum += 100 * co_await more.back();
    const auto [first, second] = pool.options(dg::num_returns<2>{}).submit(count_to, 2);
    sum += 1000 * co_await second;
    sum += 10'000 * co_await pool.submit(gives, 5);
    co_await pool.submit(gives, 6).completion();
    co_return sum;
  };
  CHECK(pool.submit(body, dg::unresolved(list)).get() == 3 + 20 + 100 + 1000 + 50'000);
  CHECK(support::tracked::copies + support::tracked::moves == 0);
  // A generator of one value of each type awaits as any other.
  auto [number, text] = pool.submit([](dg::ref<int> in) -> dg::tuple_generator<int, std::string> {
    co_yield co_await in;
    const int again = co_await gives(4);
    co_await dg::this_task::yield();
    co_yield std::to_string(again + co_await in);
  }, dg::unresolved(pool.submit(gives, 3)));
  CHECK(number.get() == 3);
  CHECK(text.get() == "7");
}

TEST_CASE("an over-aligned result is aligned", "[await][S-WAIT-7]") {
  support::watchdog dog("aligned results");
  struct alignas(64) wide {
    bool placed;
    explicit wide(int) : placed(reinterpret_cast<std::uintptr_t>(this) % 64 == 0) {}
    wide(const wide& o) : placed(o.placed) {}
  };
  struct body {
    static dg::task<wide> one(int i) { co_return wide(i); }
    static dg::task<wide> in_place(int i) {
      const std::optional<wide> none;
      if (i < 0) co_return *none;
      co_return from(i);
    }
    struct from_int {
      int i;
      operator wide() const { return wide(i); }
    };
    static from_int from(int i) { return from_int{i}; }
    static dg::task<int> all() {
      int good = 0;
      for (int i = 0; i < 50; ++i) good += (co_await in_place(i)).placed ? 1 : 0;
      co_return good;
    }
  };
  dg::thread_pool pool(1);
  for (int i = 0; i < 20; ++i) {
    const dg::ref<wide> r = pool.submit(body::one, i);
    CHECK(reinterpret_cast<std::uintptr_t>(&r.get()) % 64 == 0);
  }
  CHECK(pool.submit(body::all).get() == 50);
}

TEST_CASE("a coroutine resumes on its own executor", "[await][S-WAIT-6]") {
  support::watchdog dog("resumed on its executor");
  dg::manual_executor manual;
  later value;
  std::thread::id on;
  auto r = dg::on(manual).submit(
      [&on](dg::ref<int> in) -> dg::task<int> {
        const int i = co_await in;
        on = std::this_thread::get_id();
        co_return i;
      },
      dg::unresolved(value.ref));
  manual.run_all();
  std::thread([&] { value.promise.set_value(9); }).join();
  CHECK(value.ref.ready());
  CHECK_FALSE(r.ready());  // not inside the call that stored it
  manual.run_all();
  CHECK(r.get() == 9);
  CHECK(on == std::this_thread::get_id());
}

TEST_CASE("tasks that await occupy no thread", "[await][S-WAIT-1]") {
  support::watchdog dog("ten thousand waiting tasks");
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  later value;
  std::vector<dg::ref<int>> all;
  for (int i = 0; i < 10'000; ++i) all.push_back(pool.submit(awaits, dg::unresolved(value.ref)));
  CHECK(pool.submit([] { return 1; }).get() == 1);
  value.promise.set_value(3);
  long sum = 0;
  for (auto& r : all) sum += r.get();
  CHECK(sum == 30'000);
}

TEST_CASE("a cancelled coroutine wakes from a wait for a promise that is never fulfilled", "[await][S-CANCEL-7]") {
  support::watchdog dog("cancelled while it awaits");
  std::atomic<int> alive{0};
  later never;
  dg::thread_pool pool(2);
  for (int round = 0; round < 200; ++round) {
    std::atomic<bool> inside{false};
    auto r = pool.submit(
        [&](dg::ref<int> in) -> dg::task<int> {
          support::witness here(alive);
          inside = true;
          co_return co_await in;
        },
        dg::unresolved(never.ref));
    if (round % 2 == 0)
      while (!inside) std::this_thread::yield();
    REQUIRE(r.cancel());
    REQUIRE(support::holds<dg::cancelled_error>(r));
    REQUIRE(alive == 0);
  }
}

TEST_CASE("of a cancel and a wake-up that race exactly one takes effect", "[await][S-CANCEL-4]") {
  support::watchdog dog("cancel against wake");
  dg::thread_pool pool(2);
  int ended = 0, cancelled = 0;
  for (int round = 0; round < 3000; ++round) {
    later value;
    auto r = pool.submit(awaits, dg::unresolved(value.ref));
    if (round % 3 != 0) std::this_thread::yield();
    std::atomic<bool> go{false};
    auto c = pool.submit([&] {
      while (!go) std::this_thread::yield();
      return r.cancel();
    });
    go = true;
    value.promise.set_value(1);
    const bool asked = c.get();
    if (r.error()) {
      ++cancelled;
      REQUIRE(support::holds<dg::cancelled_error>(r));
      REQUIRE(asked);
    } else {
      ++ended;
    }
  }
  CHECK(ended + cancelled == 3000);
}

TEST_CASE("a pool that ends cancels the tasks that await something outside, and no others", "[await][S-STOP-1]") {
  support::watchdog dog("closing with awaiting tasks");
  later never;
  dg::ref<int> stuck, inside;
  {
    dg::thread_pool pool(2);
    stuck = pool.submit(awaits, dg::unresolved(never.ref));
    dg::ref<int> slow = pool.submit([]() -> dg::task<int> {
      for (int i = 0; i < 1000; ++i) co_await dg::this_task::yield();
      co_return 4;
    });
    inside = pool.submit(awaits, dg::unresolved(slow));
  }
  CHECK(support::holds<dg::cancelled_error>(stuck));
  CHECK(inside.get() == 4);
}

TEST_CASE("a task that awaits itself gets an error", "[await][L-12]") {
  support::watchdog dog("awaits itself");
  dg::manual_executor manual;
  dg::ref<int> own;
  own = dg::on(manual).submit([&]() -> dg::task<int> { co_return co_await own; });
  manual.run_all();
  REQUIRE(own.ready());
  CHECK(support::message_of([&] { own.get(); }).find("cannot wait for itself") != std::string::npos);
  own = {};
}

TEST_CASE("a task is awaited once", "[await]") {
  support::watchdog dog("awaited twice");
  dg::thread_pool pool(1);
  auto twice = []() -> dg::task<int> {
    dg::task<int> t = gives(1);
    const int first = co_await std::move(t);
    co_return first + co_await std::move(t);
  };
  CHECK(support::message_of([&] { pool.submit(twice).get(); }).find("awaited already") != std::string::npos);
  auto emptied = [] {
    dg::task<int> t = gives(1);
    dg::task<int> other = std::move(t);
    return t;
  };
  const std::string told = support::message_of([&] { pool.options(dg::name{"emptied"}).submit(emptied).get(); });
  CHECK(told.find("task 'emptied' returned a task<R> that was moved from") != std::string::npos);
}

TEST_CASE("generators may await between their values", "[await][S-STREAM]") {
  support::watchdog dog("awaiting generators");
  struct body {
    static dg::generator<int> run(std::vector<dg::ref<int>> in) {
      for (auto& r : in) co_yield co_await r + co_await gives(100);
    }
  };
  std::vector<int> expected(50);
  std::iota(expected.begin(), expected.end(), 100);
  for (int threads : {1, 2}) {
    std::vector<int> iterated;
    dg::thread_pool pool(threads);
    auto inputs = [&] {
      std::vector<dg::ref<int>> in;
      for (int i = 0; i < 50; ++i) in.push_back(pool.submit(gives, i));
      return in;
    };
    std::vector<int> streamed;
    for (int v : pool.options(dg::backpressure{2}).submit(body::run, inputs()).values()) streamed.push_back(v);
    CHECK(streamed == expected);
    std::vector<int> listed;
    for (const auto& r : pool.options(dg::dynamic).submit(body::run, inputs()).get()) listed.push_back(r.get());
    CHECK(listed == expected);
    auto fixed = pool.options(dg::num_returns{50}).submit(body::run, inputs());
    CHECK(dg::get(fixed) == expected);
    // Iterated in place, it blocks the iterating thread.
    for (int v : body::run(inputs())) iterated.push_back(v);
    CHECK(iterated == expected);
  }
}

TEST_CASE("a consumer of a stream sleeps while the producer awaits", "[await][S-WAIT-4]") {
  support::watchdog dog("helping an awaiting producer");
  dg::thread_pool pool(1);
  later value;
  auto stream = pool.submit(
      [](dg::ref<int> in) -> dg::generator<int> {
        co_yield 1;
        co_yield co_await in;
      },
      dg::unresolved(value.ref));
  CHECK(stream.next_value() == 1);
  CHECK_THROWS_AS(stream.next_for(1ms), dg::timeout_error);
  std::thread other([&] { value.promise.set_value(2); });
  CHECK(stream.next_value() == 2);
  CHECK_FALSE(stream.next().has_value());
  other.join();
}

TEST_CASE("streams are awaited value by value", "[await][S-STREAM]") {
  support::watchdog dog("awaited streams");
  struct body {
    static dg::task<long> values(dg::ref_stream<int> in) {
      long sum = 0;
      while (std::optional<int> v = co_await in.async_value()) sum += *v;
      co_return sum;
    }
    static dg::task<std::string> refs(dg::ref_stream<int> in) {
      std::string text;
      while (std::optional<dg::ref<int>> r = co_await in.async_next()) text += r->failed() ? "!" : std::to_string(r->get());
      co_return text;
    }
  };
  auto fails_after = [](int n) -> dg::generator<int> {
    for (int i = 0; i < n; ++i) co_yield i;
    throw support::boom();
  };
  for (int threads : {1, 2}) {
    dg::thread_pool pool(threads);
    for (int room : {1, 3, 64}) {
      auto in = [&] { return pool.options(dg::backpressure{room}).submit(count_to, 1000); };
      CHECK(pool.submit(body::values, in()).get() == 499'500);
    }
    CHECK(pool.submit(body::refs, pool.submit(fails_after, 3)).get() == "012!");
    CHECK(support::holds<support::boom>(pool.submit(body::values, pool.submit(fails_after, 3))));
  }
  dg::inline_executor here;
  CHECK(dg::on(here).submit(body::values, dg::on(here).submit(count_to, 100)).get() == 4950);
}

TEST_CASE("a producer that its reader runs may drop the stream that the reader reads", "[await][L-7]") {
  support::watchdog dog("a stream that is dropped under its reader");
  for (int round = 0; round < 50; ++round) {
    support::gate busy;
    std::atomic<bool> assigned{false};
    dg::thread_pool pool(1);
    auto blocker = pool.submit([&] { busy.pass(); });  // the reader has to run the producer itself, or wait for it
    std::optional<dg::ref_stream<int>> stream;
    stream = pool.submit([&]() -> dg::generator<int> {
      while (!assigned) std::this_thread::yield();
      stream.reset();
      co_yield 1;
    });
    assigned = true;
    if (round % 2 == 0) busy.open();
    if (round % 2 == 0) {
      pool.shutdown(dg::shutdown_mode::drain);
    } else {
      CHECK_FALSE(stream->next().has_value());
      busy.open();
    }
    CHECK_FALSE(stream.has_value());
    blocker.get();
  }
}

TEST_CASE("a reader that is cancelled while its producer stores ends, and its stream with it",
          "[await][L-7][S-CANCEL-4]") {
  support::watchdog dog("cancelled readers");
  support::tracked::reset();
  {
    std::atomic<int> seen{0};  // by the reader of this round
    dg::thread_pool pool(2);
    for (int round = 0; round < 1000; ++round) {
      auto produced = pool.options(dg::backpressure{1}).submit([]() -> dg::generator<support::tracked> {
        for (int i = 0;; ++i) co_yield i;
      });
      auto producer = produced.completion();
      auto reader = pool.submit(
          [&seen](dg::ref_stream<support::tracked> in) -> dg::task<int> {
            while (auto v = co_await in.async_value()) seen = v->value;
            co_return seen;
          },
          std::move(produced));
      while (seen < round % 50) std::this_thread::yield();
      REQUIRE(reader.cancel());
      REQUIRE(support::holds<dg::cancelled_error>(reader));
      REQUIRE(support::holds<dg::cancelled_error>(producer));
      seen = 0;
    }
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("yield lets other tasks run first", "[await][L-14]") {
  support::watchdog dog("yield");
  dg::manual_executor manual;
  std::string order;
  auto body = [&order](char name) -> dg::task<void> {
    for (int i = 0; i < 3; ++i) {
      order += name;
      co_await dg::this_task::yield();
    }
  };
  auto a = dg::on(manual).submit(body, 'a');
  auto b = dg::on(manual).submit(body, 'b');
  manual.run_all();
  CHECK(a.ready());
  CHECK(b.ready());
  CHECK(order == "ababab");
  CHECK_THROWS_AS(dg::this_task::yield(), dg::error);
}

}  // namespace test_awaiting
