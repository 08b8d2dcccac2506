// SPDX-License-Identifier: MIT
// The rules S-ERR for user types that throw: copies, moves, conversions and constructions of arguments and values
// (S-ERR-7), destructors and uncopyable exceptions (S-ERR-10), and destructors of locals.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

namespace test_throwing_types {

using support::arity;
using support::arity_of;
using support::boom;
using support::captured_stderr;
using support::error_log;
using support::eventually;
using support::fail;
using support::gate;
using support::holds;
using support::occurrences;
using support::reporting_to;
using support::witness;

namespace {

/// A local whose destructor throws. Counts itself, so that a double destruction shows.
struct bomb {
  std::atomic<int>* alive;
  explicit bomb(std::atomic<int>& count) : alive(&count) { ++*alive; }
  bomb(const bomb&) = delete;
  bomb& operator=(const bomb&) = delete;
  ~bomb() noexcept(false) {
    --*alive;
    throw boom("destructor");
  }
};

/// A value whose destructor throws where it was not moved from.
struct explosive {
  bool armed = true;
  explosive() = default;
  explosive(explosive&& other) noexcept : armed(std::exchange(other.armed, false)) {}
  explosive& operator=(explosive&&) = delete;
  ~explosive() noexcept(false) {
    if (armed) throw boom("value's destructor");
  }
};

/// Counts its live instances, and throws from the copy or move that makes `budget` negative.
struct brittle {
  static inline std::atomic<int> live{0};
  static inline std::atomic<int> budget{0};
  brittle() { ++live; }
  brittle(const brittle&) {
    spend("copy");
    ++live;
  }
  brittle(brittle&&) {
    spend("move");
    ++live;
  }
  brittle& operator=(const brittle&) = delete;
  ~brittle() { --live; }
  static void spend(const char* what) {
    if (--budget < 0) throw boom(what);
  }
};

/// Converts from int, and refuses negative ones.
struct picky {
  int value;
  picky(int v) : value(v) {
    if (v < 0) throw boom("negative");
  }
};

/// An exception that throws when it is copied.
struct uncopyable_error {
  int number;
  explicit uncopyable_error(int n) : number(n) {}
  uncopyable_error(const uncopyable_error& other) : number(other.number) { throw boom("copied an exception"); }
};

}  // namespace

TEST_CASE("a local's destructor that throws at the end of a frame is the task's exception", "[errors][S-ERR-5]") {
  support::watchdog dog("errors: destructor at the end");
  error_log log;
  std::atomic<int> alive{0};
  dg::thread_pool pool(reporting_to(log));
  auto f = [&](int n) -> dg::generator<int> {
    const bomb local(alive);
    for (int i = 0; i < n; ++i) co_yield i;
  };
  auto refs = pool.options(dg::num_returns<2>{}).submit(f, 2);
  auto end = refs[0].completion();
  CHECK(holds<boom>(end));
  CHECK(refs[1].get() == 1);
  CHECK(alive.load() == 0);
  CHECK(log.count_of<boom>() == 1u);

  // Where the number of values is open, a ref can hold it: it is the last item.
  auto outer = pool.options(dg::dynamic).submit(f, 2);
  REQUIRE(outer.get().size() == 3u);
  CHECK(holds<boom>(outer.get()[2]));
  CHECK(log.count() == 1u);
}

// ---------------------------------------------------------------------------------------------- 7

TEST_CASE("an exception of copying an argument inside submit is thrown from submit", "[errors][S-ERR-7]") {
  dg::manual_executor later;
  std::atomic<int> ran{0};
  brittle argument;
  const int before = brittle::live.load();
  brittle::budget = 0;
  CHECK_THROWS_AS(dg::on(later).submit([&](const brittle&) { ++ran; }, argument), boom);
  later.run_all();
  CHECK(ran.load() == 0);
  CHECK(brittle::live.load() == before);
}

TEST_CASE("whichever copy or move of an argument throws, the exception is thrown or stored, and nothing leaks",
          "[errors][S-ERR-7]") {
  support::watchdog dog("errors: k-th copy or move of an argument");
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  const auto try_all = [&](auto callable, auto options) {
    bool done = false;
    int k = 0;
    for (; k < 64 && !done; ++k) {
      brittle::budget = k;
      std::atomic<int> ran{0};
      const int before = brittle::live.load();
      {
        const brittle argument;
        try {
          auto r = options.submit(callable, &ran, argument);
          try {
            const int result = r.get();
            CHECK(result == 1);
            CHECK(ran.load() == 1);
            done = true;
          } catch (const boom&) {
            CHECK(ran.load() == 0);
            CHECK(r.failed());
          }
        } catch (const boom&) {
          CHECK(ran.load() == 0);
        }
      }
      CHECK(brittle::live.load() == before);
    }
    CHECK(done);
    CHECK(k > 1);  // the first round failed: the check can fail
  };
  const auto by_value = [](std::atomic<int>* ran, brittle) { return ++*ran; };
  const auto by_reference = [](std::atomic<int>* ran, const brittle&) { return ++*ran; };
  try_all(by_value, pool.options());
  try_all(by_reference, pool.options());
}

TEST_CASE("whichever copy or move of a generator's argument throws, its refs hold it", "[errors][S-ERR-7]") {
  support::watchdog dog("errors: k-th copy or move of a generator's argument");
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  auto f = [](brittle) -> dg::generator<int> { co_yield 1; };
  bool done = false;
  int in_task = 0, k = 0;
  for (; k < 64 && !done; ++k) {
    brittle::budget = k;
    const int before = brittle::live.load();
    {
      const brittle argument;
      try {
        auto refs = pool.options(dg::num_returns<2>{}).submit(f, argument);
        refs[0].wait();
        if (refs[0].failed()) {
          ++in_task;
          CHECK(holds<boom>(refs[0]));
          CHECK(holds<boom>(refs[1]));
        } else {
          done = true;
          CHECK(arity_of(refs[1]) == arity{2, 1});
        }
        refs[1].completion().wait();
      } catch (const boom&) {
      }
    }
    CHECK(brittle::live.load() == before);
  }
  CHECK(done);
  CHECK(in_task > 0);  // moving it into the frame happens in the task
}

TEST_CASE("an exception of copying the callable is thrown from submit", "[errors][S-ERR-7]") {
  dg::manual_executor later;
  brittle::budget = 1000;
  const int before = brittle::live.load();
  {
    auto f = [b = brittle()] { return sizeof(b); };
    brittle::budget = 0;
    CHECK_THROWS_AS(dg::on(later).submit(f), boom);
    later.run_all();
  }
  CHECK(brittle::live.load() == before);
}

TEST_CASE("a conversion of an argument that throws is thrown from submit", "[errors][S-ERR-7]") {
  dg::manual_executor later;
  int ran = 0;
  auto f = [&](const picky& p) { ran += p.value; };
  CHECK_THROWS_AS(dg::on(later).submit(f, -1), boom);
  auto good = dg::on(later).submit(f, 5);
  later.run_all();
  CHECK(good.ready());
  CHECK(ran == 5);
}

TEST_CASE("co_yield throws the exception of the construction of a stored value", "[errors][S-ERR-7]") {
  dg::inline_executor here;
  int caught = 0;
  auto f = [&]() -> dg::generator<picky> {
    co_yield 1;
    try {
      co_yield -1;
    } catch (const boom&) {
      ++caught;
    }
    co_yield 2;  // the failed value used no position
  };
  auto refs = dg::on(here).options(dg::num_returns<2>{}).submit(f);
  CHECK(caught == 1);
  CHECK(refs[0].get().value == 1);
  CHECK(refs[1].get().value == 2);
  CHECK_NOTHROW(refs[0].completion().get());
}

TEST_CASE("an uncaught exception from the construction of a stored value is the task's exception",
          "[errors][S-ERR-7]") {
  support::watchdog dog("errors: construction of a value");
  dg::thread_pool pool(2);
  auto f = []() -> dg::generator<picky> {
    co_yield 1;
    co_yield -1;
    co_yield 2;
  };
  auto refs = pool.options(dg::num_returns<3>{}).submit(f);
  CHECK(refs[0].get().value == 1);
  CHECK(holds<boom>(refs[1]));
  CHECK(holds<boom>(refs[2]));
  auto list = pool.options(dg::dynamic).submit(f);
  REQUIRE(list.get().size() == 2u);
  CHECK(holds<boom>(list.get()[1]));
  auto stream = pool.submit(f);
  CHECK(stream.next_value()->value == 1);
  CHECK_THROWS_AS(stream.next_value(), boom);
  CHECK_FALSE(stream.next_value().has_value());
}

TEST_CASE("whichever copy or move of a result throws, its ref holds it", "[errors][S-ERR-7]") {
  support::watchdog dog("errors: k-th move of a result");
  dg::thread_pool pool(2);
  const int before = brittle::live.load();
  const auto source = std::make_shared<std::optional<brittle>>();
  source->emplace();
  bool done = false;
  int failed = 0;
  for (int k = 0; k < 64 && !done; ++k) {
    brittle::budget = k;
    auto r = pool.submit([source] { return brittle(**source); });
    auto range = pool.options(dg::num_returns<1>{}).submit([source]() -> dg::generator<brittle> { co_yield **source; });
    r.wait();
    range[0].wait();
    if (r.failed() || range[0].failed()) {
      ++failed;
    } else {
      done = true;
    }
    if (r.failed()) CHECK(holds<boom>(r));
    if (range[0].failed()) CHECK(holds<boom>(range[0]));
    range[0].completion().wait();
  }
  source->reset();
  CHECK(done);
  CHECK(failed > 0);
  CHECK(brittle::live.load() == before);
}

// --------------------------------------------------------------------------------------------- 10

TEST_CASE("an exception that cannot be copied is stored, passed on and thrown", "[errors][S-ERR-10]") {
  support::watchdog dog("errors: uncopyable exception");
  dg::thread_pool pool(2);
  auto r = pool.submit([]() -> int { throw uncopyable_error(7); });
  for (int again = 0; again < 2; ++again) {
    int number = 0;
    try {
      r.get();
    } catch (const uncopyable_error& e) {
      number = e.number;
    }
    CHECK(number == 7);
  }
  auto dependent = pool.submit([](int) {}, r);
  CHECK(holds<uncopyable_error>(dependent));
  auto list = pool.options(dg::dynamic).submit([]() -> dg::generator<int> {
    co_yield 1;
    throw uncopyable_error(8);
  });
  CHECK(holds<uncopyable_error>(list.get()[1]));
}

TEST_CASE("a value whose destructor throws is caught where it is dropped and reported", "[errors][S-ERR-10]") {
  support::watchdog dog("errors: value's destructor");
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  std::size_t expected = 0;
  {
    auto refs = pool.options(dg::num_returns<2>{}).submit([]() -> dg::generator<explosive> {
      explosive a;
      co_yield std::move(a);
      explosive b;
      co_yield std::move(b);
    });
    refs[1].completion().wait();
    CHECK(log.count() == 0u);
    refs[0] = {};
    ++expected;
    CHECK(log.count_of<boom>() == expected);
  }
  ++expected;
  CHECK(log.count_of<boom>() == expected);
  {
    auto r = pool.submit([] { return explosive(); });
    r.wait();
  }
  ++expected;
  CHECK(log.count_of<boom>() == expected);
  CHECK(pool.submit([] { return 3; }).get() == 3);
}

TEST_CASE("a value with a throwing destructor whose ref is gone when it is yielded", "[errors][S-ERR-10][S-MEM-6]") {
  support::watchdog dog("errors: value's destructor, dropped early");
  error_log log;
  std::atomic<bool> behind{false};
  {
    gate start;
    dg::thread_pool pool(reporting_to(log, 1));
    auto blocker = pool.submit([&] { start.pass(); });
    auto f = [&]() -> dg::generator<explosive> {
      explosive a;
      co_yield std::move(a);
      behind = true;
    };
    { [[maybe_unused]] auto refs = pool.options(dg::num_returns<1>{}).submit(f); }
    start.open();
  }
  CHECK(log.count_of<boom>() == 1u);
  CHECK(behind.load());
}

TEST_CASE("a throwing destructor of a frame that a surplus yield destroys", "[errors][S-ERR-10][L-5]") {
  support::watchdog dog("errors: destructor in a surplus yield");
  error_log log;
  std::atomic<int> alive{0}, outer{0};
  dg::thread_pool pool(reporting_to(log));
  auto f = [&]() -> dg::generator<int> {
    const witness frame(outer);
    const bomb local(alive);
    co_yield 1;
    co_yield 2;
  };
  auto refs = pool.options(dg::num_returns<1>{}).submit(f);
  auto end = refs[0].completion();
  end.wait();
  CHECK(end.failed());
  CHECK(refs[0].get() == 1);
  CHECK(alive.load() == 0);
  CHECK(outer.load() == 0);
  CHECK(log.count() >= 1u);
  CHECK(pool.submit([] { return 3; }).get() == 3);
}

TEST_CASE("a throwing destructor of a frame that a dropped stream destroys", "[errors][S-ERR-10][L-5]") {
  support::watchdog dog("errors: destructor in a dropped stream");
  error_log log;
  std::atomic<int> alive{0}, outer{0};
  std::atomic<bool> behind{false};
  {
    dg::thread_pool pool(reporting_to(log));
    auto f = [&]() -> dg::generator<int> {
      const witness frame(outer);
      const bomb local(alive);
      for (int i = 0; i < 1000; ++i) co_yield i;
      behind = true;
    };
    {
      auto stream = pool.options(dg::backpressure{2}).submit(f);
      CHECK(stream.next_value() == std::optional<int>(0));
    }
    CHECK(eventually([&] { return outer.load() == 0; }));
  }
  CHECK(alive.load() == 0);
  CHECK(outer.load() == 0);
  CHECK_FALSE(behind.load());
  CHECK(log.count_of<boom>() == 1u);
}

TEST_CASE("several throwing destructors in one destroyed frame", "[errors][S-ERR-10][L-5]") {
  support::watchdog dog("errors: several destructors");
  error_log log;
  std::atomic<int> alive{0}, outer{0};
  dg::thread_pool pool(reporting_to(log));
  auto f = [&]() -> dg::generator<int> {
    const witness frame(outer);
    try {
      const bomb first(alive);
      co_yield 1;
      co_yield 2;
    } catch (const boom&) {
      const bomb second(alive);
    }
  };
  auto refs = pool.options(dg::num_returns<1>{}).submit(f);
  refs[0].completion().wait();
  CHECK(refs[0].completion().failed());
  CHECK(alive.load() == 0);
  CHECK(outer.load() == 0);
}

TEST_CASE("a body that catches its own local's exception gets no further than its next suspension",
          "[errors][S-ERR-10][S-ARITY-4][L-5]") {
  support::watchdog dog("errors: body that survives its destruction");
  error_log log;
  std::atomic<int> alive{0}, outer{0}, behind{0};
  dg::thread_pool pool(reporting_to(log));
  auto f = [&]() -> dg::generator<int> {
    const witness frame(outer);
    for (int i = 0; i < 100; ++i) {
      try {
        const bomb local(alive);
        co_yield 2 * i;
        co_yield 2 * i + 1;
        ++behind;
      } catch (const boom&) {
      }
    }
  };
  auto refs = pool.options(dg::num_returns<1>{}).submit(f);
  refs[0].completion().wait();
  CHECK(refs[0].get() == 0);
  CHECK(behind.load() == 0);
  CHECK(alive.load() == 0);
  CHECK(outer.load() == 0);
  CHECK(pool.submit([] { return 3; }).get() == 3);
}

TEST_CASE("a throwing destructor of an argument does not terminate the pool", "[errors][S-ERR-10]") {
  support::watchdog dog("errors: argument's destructor");
  error_log log;
  {
    dg::thread_pool pool(reporting_to(log));
    auto r = pool.submit([](const explosive&) { return 1; }, explosive());
    r.completion().wait();
    CHECK((r.failed() || log.count_of<boom>() >= 1u));
    CHECK(pool.submit([] { return 3; }).get() == 3);
  }
}

TEST_CASE("a throwing local of a generator that is left in mid-iteration is reported, nested or not",
          "[error][generator][S-ERR-10]") {
  struct thrower {
    ~thrower() noexcept(false) { throw boom("of a local"); }
  };
  auto inner = []() -> dg::generator<int> {
    thrower local;
    for (int i = 0;; ++i) co_yield i;
  };
  auto outer = [&]() -> dg::generator<int> { co_yield dg::elements_of(inner()); };
  captured_stderr text;
  for (int value : inner())
    if (value == 2) break;
  for (int value : outer())
    if (value == 2) break;
  CHECK(occurrences(text.finish(), "of a local") == 2);
}

TEST_CASE("a generator used by the destructor of another one's local is destroyed in its own scope",
          "[generator][L-14]") {
  auto counts_down = [](int* count) -> dg::generator<int> {
    struct at_end {
      int* count;
      ~at_end() { --*count; }
    } const local{count};
    co_yield 1;
    co_yield 2;
  };
  int alive_after = -1;
  struct user {
    decltype(counts_down)& make;
    int& alive_after;
    ~user() {
      int alive = 1;
      {
        auto g = make(&alive);
        (void)*g.begin();
      }
      alive_after = alive;
    }
  };
  auto f = [&]() -> dg::generator<int> {
    const user local{counts_down, alive_after};
    co_yield 1;
    co_yield 2;
  };
  for (int value : f())
    if (value == 1) break;
  CHECK(alive_after == 0);
}

}  // namespace test_throwing_types
