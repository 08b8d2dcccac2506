// SPDX-License-Identifier: MIT
// The rules S-ERR: which ref holds an exception, which exceptions go to the hook on_unhandled_error, and that
// no exception of user code terminates the pool.

#include "../catch.hpp"
#include "../support.hpp"
#include "probes.hpp"

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test_errors {

using support::arity;
using support::arity_of;
using support::boom;
using support::captured_stderr;
using support::count_to;
using support::error_log;
using support::eventually;
using support::gate;
using support::holds;
using support::message_of;
using support::occurrences;
using support::reporting_to;
using support::tracked;
using support::witness;

namespace {

dg::generator<int> throw_after(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
  throw boom("after " + std::to_string(n));
}

int fail(const std::string& what) { throw boom(what); }

/// The address of the exception object that `r` throws, null if it throws no boom.
template <class Ref>
const void* thrown_by(const Ref& r) {
  try {
    static_cast<void>(r.get());
  } catch (const boom& b) {
    return &b;
  } catch (...) {
  }
  return nullptr;
}

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

// ---------------------------------------------------------------------------------------------- 1

TEST_CASE("get throws the very object that the task threw, every time", "[errors][S-ERR-1]") {
  support::watchdog dog("errors: same object");
  dg::thread_pool pool(2);
  auto r = pool.submit(fail, "it broke");
  const void* first = thrown_by(r);
  REQUIRE(first != nullptr);
  CHECK(thrown_by(r) == first);
  const dg::ref<int> copy = r;
  CHECK(thrown_by(copy) == first);
  CHECK(message_of([&] { r.get(); }) == "it broke");
  CHECK(r.failed());
  CHECK(r.ready());
}

TEST_CASE("the stored exception_ptr is the one of the throw", "[errors][S-ERR-1]") {
  support::watchdog dog("errors: same pointer");
  std::exception_ptr seen;
  dg::thread_pool pool(2);
  auto f = [&]() -> int {
    try {
      throw boom("seen");
    } catch (...) {
      seen = std::current_exception();
      throw;
    }
  };
  auto r = pool.submit(f);
  r.wait();
  CHECK(r.error() == seen);
  CHECK(pool.submit([] { return 1; }).error() == nullptr);
}

TEST_CASE("an exception of any type is kept", "[errors][S-ERR-1]") {
  dg::inline_executor here;
  auto number = dg::on(here).submit([]() -> int { throw 42; });
  CHECK_THROWS_AS(number.get(), int);
  auto text = dg::on(here).submit([]() { throw std::string("no exception type"); });
  CHECK_THROWS_AS(text.get(), std::string);
  auto derived = dg::on(here).submit([]() -> std::string { throw boom(); });
  CHECK_THROWS_AS(derived.get(), std::runtime_error);
}

TEST_CASE("get of an rvalue and get_for throw the stored exception too", "[errors][S-ERR-1]") {
  dg::inline_executor here;
  auto r = dg::on(here).submit(fail, "rvalue");
  CHECK_THROWS_AS(r.get_for(std::chrono::seconds(1)), boom);
  auto copy = r;
  CHECK_THROWS_AS(std::move(copy).get(), boom);
  CHECK_THROWS_AS(std::move(r).take(), boom);
}

// ---------------------------------------------------------------------------------------------- 2

TEST_CASE("static: the values before the throw are readable, later refs hold the exception", "[errors][S-ERR-2]") {
  support::watchdog dog("errors: static");
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  for (int n : {1, 2, 5, 65}) {
    for (int k : {0, 1, n - 1}) {
      if (k >= n) continue;
      auto refs = pool.options(dg::num_returns{n}).submit(throw_after, k);
      const void* object = thrown_by(refs.back());
      REQUIRE(object != nullptr);
      for (int i = 0; i < n; ++i) {
        const auto& r = refs[static_cast<std::size_t>(i)];
        if (i < k) {
          REQUIRE(r.get() == i);
        } else {
          REQUIRE(thrown_by(r) == object);
        }
      }
    }
  }
  CHECK(log.count() == 0u);
}

TEST_CASE("a tuple generator's throw fails the refs of what it had not yielded", "[errors][S-ERR-2]") {
  dg::inline_executor here;
  auto f = []() -> dg::tuple_generator<int, std::string, int> {
    co_yield 1;
    throw boom();
  };
  auto [a, b, c] = dg::on(here).submit(f);
  CHECK(a.get() == 1);
  CHECK(holds<boom>(b));
  CHECK(holds<boom>(c));
}

TEST_CASE("a plain function that throws under num_returns fails all of its refs", "[errors][S-ERR-2]") {
  dg::inline_executor here;
  auto f = []() -> std::vector<int> { throw boom(); };
  auto refs = dg::on(here).options(dg::num_returns<2>{}).submit(f);
  CHECK(holds<boom>(refs[0]));
  CHECK(thrown_by(refs[0]) == thrown_by(refs[1]));
  auto g = []() -> std::pair<int, std::string> { throw boom(); };
  auto [a, b] = dg::on(here).options(dg::num_returns<2>{}).submit(g);
  CHECK(holds<boom>(a));
  CHECK(holds<boom>(b));
}

// ---------------------------------------------------------------------------------------------- 3

TEST_CASE("dynamic: one more ref holds the exception, and the outer one is fine", "[errors][S-ERR-3]") {
  support::watchdog dog("errors: dynamic");
  error_log log;
  dg::thread_pool pool(reporting_to(log));
  for (int k : {0, 1, 2, 63, 64, 65, 1000}) {
    auto outer = pool.options(dg::dynamic).submit(throw_after, k);
    const auto& list = outer.get();
    CHECK_FALSE(outer.failed());
    REQUIRE(list.size() == static_cast<std::size_t>(k) + 1);
    for (int i = 0; i < k; ++i) REQUIRE(list[static_cast<std::size_t>(i)].get() == i);
    CHECK(list[static_cast<std::size_t>(k)].failed());
    CHECK(message_of([&] { list[static_cast<std::size_t>(k)].get(); }) == "after " + std::to_string(k));
    CHECK(holds<boom>(outer.completion()));
  }
  CHECK(log.count() == 0u);
}

TEST_CASE("dynamic: a function that throws gives a list of that one ref", "[errors][S-ERR-3]") {
  dg::inline_executor here;
  auto f = []() -> std::vector<int> { throw boom("no container"); };
  auto outer = dg::on(here).options(dg::dynamic).submit(f);
  REQUIRE(outer.get().size() == 1u);
  CHECK(holds<boom>(outer.get()[0]));
}

// ---------------------------------------------------------------------------------------------- 4

TEST_CASE("streaming: the exception is the next item, after it the end, again and again", "[errors][S-ERR-4]") {
  support::watchdog dog("errors: streaming, next");
  dg::thread_pool pool(2);
  for (int k : {0, 1, 63, 64, 65, 300}) {
    auto stream = pool.submit(throw_after, k);
    for (int i = 0; i < k; ++i) {
      auto r = stream.next();
      REQUIRE(r.has_value());
      REQUIRE(r->get() == i);
    }
    CHECK_FALSE(stream.finished());
    auto last = stream.next();
    REQUIRE(last.has_value());
    CHECK(holds<boom>(*last));
    for (int again = 0; again < 3; ++again) CHECK_FALSE(stream.next().has_value());
    CHECK_FALSE(stream.next_value().has_value());
    CHECK_FALSE(stream.try_next().has_value());
    CHECK(stream.finished());
  }
}

TEST_CASE("streaming: next_value throws the exception once, then is at the end", "[errors][S-ERR-4]") {
  support::watchdog dog("errors: streaming, next_value");
  dg::thread_pool pool(2);
  auto stream = pool.submit(throw_after, 2);
  CHECK(stream.next_value() == std::optional<int>(0));
  CHECK(stream.next_value() == std::optional<int>(1));
  CHECK_THROWS_AS(stream.next_value(), boom);
  CHECK_FALSE(stream.next_value().has_value());
  CHECK_FALSE(stream.next().has_value());
  CHECK(stream.finished());
}

TEST_CASE("streaming: values() throws at that point and then is at its end", "[errors][S-ERR-4]") {
  support::watchdog dog("errors: streaming, values");
  dg::thread_pool pool(2);
  for (int k : {0, 1, 64, 300}) {
    auto stream = pool.submit(throw_after, k);
    int seen = 0;
    std::string text;
    try {
      for (int&& v : stream.values()) {
        REQUIRE(v == seen);
        ++seen;
      }
    } catch (const boom& b) {
      text = b.what();
    }
    CHECK(seen == k);
    CHECK(text == "after " + std::to_string(k));
    CHECK(stream.finished());
    int more = 0;
    for (int&& v : stream.values()) more += 1 + v;
    CHECK(more == 0);
  }
}

TEST_CASE("streaming: a range-for over refs meets the exception as an item", "[errors][S-ERR-4]") {
  support::watchdog dog("errors: streaming, range-for");
  dg::thread_pool pool(2);
  int good = 0, bad = 0;
  for (dg::ref<int> r : pool.submit(throw_after, 5)) {
    r.wait();
    if (r.failed()) {
      ++bad;
    } else {
      REQUIRE(bad == 0);
      ++good;
    }
  }
  CHECK(good == 5);
  CHECK(bad == 1);
}

TEST_CASE("streaming: a stored value is visible before the exception, to any thread that polls", "[errors][S-ERR-4]") {
  dg::manual_executor later;
  auto stream = dg::on(later).submit(throw_after, 1);
  CHECK_FALSE(stream.try_next().has_value());
  later.run_all();
  CHECK_FALSE(stream.finished());
  auto value = stream.try_next();
  REQUIRE(value.has_value());
  CHECK(value->get() == 0);
  CHECK_FALSE(stream.finished());
  auto error = stream.try_next();
  REQUIRE(error.has_value());
  CHECK(holds<boom>(*error));
  CHECK(stream.finished());
}

// ---------------------------------------------------------------------------------------------- 5

TEST_CASE("an exception after the N-th value is stored in completion() and goes to the hook", "[errors][S-ERR-5]") {
  support::watchdog dog("errors: after the last value");
  for (int n : {1, 2, 64}) {
    error_log log;
    dg::thread_pool pool(reporting_to(log));
    auto refs = pool.options(dg::num_returns{n}, dg::name{"last words"}).submit(throw_after, n);
    auto end = refs[0].completion();
    CHECK(holds<boom>(end));
    for (int i = 0; i < n; ++i) CHECK(refs[static_cast<std::size_t>(i)].get() == i);
    REQUIRE(log.count() == 1u);
    CHECK(log.at(0).task == "last words");
    CHECK(log.at(0).error == end.error());
  }
}

TEST_CASE("an exception under num_returns<0> goes to the hook", "[errors][S-ERR-5]") {
  support::watchdog dog("errors: no ref at all");
  error_log log;
  {
    dg::thread_pool pool(reporting_to(log));
    [[maybe_unused]] auto refs = pool.options(dg::num_returns<0>{}).submit(throw_after, 0);
  }
  CHECK(log.count_of<boom>() == 1u);
}

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

TEST_CASE("without a hook, such an exception is one line on stderr that names the task", "[errors][S-ERR-5]") {
  support::watchdog dog("errors: on stderr");
  captured_stderr file;
  int value = -1;
  {
    dg::thread_pool pool(2);
    auto refs = pool.options(dg::num_returns<1>{}, dg::name{"posthumous"}).submit(throw_after, 1);
    refs[0].completion().wait();
    value = refs[0].get();
  }
  const std::string text = file.finish();
  CHECK(value == 0);
  CHECK(occurrences(text, "\n") == 1u);
  CHECK(occurrences(text, "posthumous") >= 1u);
  CHECK(occurrences(text, "after 1") == 1u);
}

// ---------------------------------------------------------------------------------------------- 6

TEST_CASE("completion() holds the outcome of the whole task", "[errors][S-ERR-6]") {
  support::watchdog dog("errors: completion");
  dg::thread_pool pool(2);
  auto good = pool.submit([] { return 1; });
  CHECK_NOTHROW(good.completion().get());
  CHECK(good.completion().error() == nullptr);
  auto bad = pool.submit(fail, "whole");
  CHECK(holds<boom>(bad.completion()));
  CHECK(thrown_by(bad.completion()) == thrown_by(bad));

  auto refs = pool.options(dg::num_returns<2>{}).submit(throw_after, 1);
  CHECK(holds<boom>(refs[0].completion()));
  CHECK(holds<boom>(refs[1].completion()));
  CHECK(refs[0].get() == 0);

  auto list = pool.options(dg::dynamic).submit(throw_after, 1);
  CHECK(holds<boom>(list.completion()));
  CHECK(holds<boom>(list.get().completion()));
  CHECK(holds<boom>(list.get()[0].completion()));

  auto fine = pool.options(dg::dynamic).submit(count_to, 3);
  CHECK_NOTHROW(fine.get().completion().get());

  auto stream = pool.submit(throw_after, 1);
  auto end = stream.completion();
  CHECK(holds<boom>(end));
  auto other = pool.submit(count_to, 1);
  CHECK_NOTHROW(other.completion().get());
}

TEST_CASE("completion() is not ready while the task runs", "[errors][S-ERR-6]") {
  support::watchdog dog("errors: completion, not before the end");
  gate last;
  std::atomic<bool> yielded{false};
  dg::thread_pool pool(2);
  auto f = [&]() -> dg::generator<int> {
    co_yield 1;
    yielded = true;
    last.pass();
    throw boom();
  };
  auto stream = pool.submit(f);
  auto end = stream.completion();
  REQUIRE(eventually([&] { return yielded.load(); }));
  CHECK_FALSE(end.ready());
  last.open();
  CHECK(holds<boom>(end));
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

// ---------------------------------------------------------------------------------------------- 8

TEST_CASE("a failed dependency fails the whole chain with the same object, running nothing", "[errors][S-ERR-8]") {
  support::watchdog dog("errors: chain");
  error_log log;
  std::atomic<int> ran{0};
  dg::thread_pool pool(reporting_to(log));
  auto first = pool.submit(fail, "origin");
  auto step = [&](int v) {
    ++ran;
    return v + 1;
  };
  std::vector<dg::ref<int>> chain{first};
  for (int i = 0; i < 50; ++i) chain.push_back(pool.submit(step, chain.back()));
  const void* object = thrown_by(chain.back());
  REQUIRE(object != nullptr);
  for (const auto& r : chain) CHECK(thrown_by(r) == object);
  CHECK(ran.load() == 0);
  CHECK(holds<boom>(chain.back().completion()));
  CHECK(log.count() == 0u);
}

TEST_CASE("one failed dependency among good ones is enough", "[errors][S-ERR-8]") {
  support::watchdog dog("errors: one among several");
  std::atomic<int> ran{0};
  dg::thread_pool pool(2);
  auto good = dg::put(1);
  auto bad = pool.submit(fail, "one of three");
  auto r = pool.submit([&](int, int, int) { ++ran; }, good, bad, good);
  CHECK(message_of([&] { r.get(); }) == "one of three");
  CHECK(ran.load() == 0);
}

TEST_CASE("a failed dependency fails every kind of task", "[errors][S-ERR-8][S-DETAIL-1]") {
  support::watchdog dog("errors: every kind of task");
  dg::thread_pool pool(2);
  auto bad = pool.submit(fail, "input");
  auto g = [](int n) -> dg::generator<int> {
    for (int i = 0; i < n; ++i) co_yield i;
  };
  auto fixed = pool.options(dg::num_returns<2>{}).submit(g, bad);
  CHECK(thrown_by(fixed[0]) == thrown_by(bad));
  CHECK(thrown_by(fixed[1]) == thrown_by(bad));
  auto outer = pool.options(dg::dynamic).submit(g, bad);
  CHECK(thrown_by(outer) == thrown_by(bad));
  auto stream = pool.submit(g, bad);
  auto item = stream.next();
  REQUIRE(item.has_value());
  CHECK(thrown_by(*item) == thrown_by(bad));
  CHECK_FALSE(stream.next().has_value());
  auto t = [](int) -> dg::tuple_generator<int, std::string> {
    co_yield 1;
    co_yield "one";
  };
  auto [a, b] = pool.submit(t, bad);
  CHECK(holds<boom>(a));
  CHECK(holds<boom>(b));
}

TEST_CASE("a dependency that failed long ago fails a new task", "[errors][S-ERR-8]") {
  dg::inline_executor here;
  auto bad = dg::on(here).submit(fail, "old");
  REQUIRE(bad.failed());
  int ran = 0;
  auto r = dg::on(here).submit([&](int) { ++ran; }, bad);
  CHECK(holds<boom>(r));
  CHECK(ran == 0);
}

TEST_CASE("the arguments of a task whose dependency failed are destroyed", "[errors][S-ERR-8][S-MEM-7]") {
  tracked::reset();
  dg::inline_executor here;
  auto bad = dg::on(here).submit(fail, "unused argument");
  auto r = dg::on(here).submit([](const tracked& t, int v) { return t.value + v; }, tracked(1), bad);
  CHECK(r.failed());
  CHECK(tracked::live.load() == 0);
}

TEST_CASE("a later value that fails does not fail a task that depends on an earlier one", "[errors][S-ERR-8]") {
  dg::inline_executor here;
  auto refs = dg::on(here).options(dg::num_returns<2>{}).submit(throw_after, 1);
  auto good = dg::on(here).submit([](int v) { return v + 1; }, refs[0]);
  auto bad = dg::on(here).submit([](int v) { return v + 1; }, refs[1]);
  CHECK(good.get() == 1);
  CHECK(holds<boom>(bad));
}

// ---------------------------------------------------------------------------------------------- 9

TEST_CASE("an exception without a handle goes to the hook", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: dropped refs");
  error_log log;
  std::atomic<int> ran{0};
  {
    gate start;
    dg::thread_pool pool(reporting_to(log, 1));
    auto blocker = pool.submit([&] { start.pass(); });
    auto work = [&]() -> int {
      ++ran;
      throw boom("unheard");
    };
    auto several = [&]() -> dg::generator<int> {
      ++ran;
      co_yield 1;
      throw boom("unheard too");
    };
    pool.options(dg::name{"lonely"}).submit(work);
    { [[maybe_unused]] auto refs = pool.options(dg::num_returns<2>{}, dg::name{"crowd"}).submit(several); }
    start.open();
  }
  CHECK(ran.load() == 2);  // dropping its refs does not cancel a task
  REQUIRE(log.count() == 2u);
  CHECK(log.count_of<boom>() == 2u);
  const std::string tasks = log.at(0).task + " " + log.at(1).task;
  CHECK((tasks == "lonely crowd" || tasks == "crowd lonely"));
}

TEST_CASE("an exception whose last handle is dropped unread goes to the hook", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: held refs");
  error_log log;
  {
    dg::thread_pool pool(reporting_to(log));
    auto r = pool.submit(fail, "held");
    r.wait();
    CHECK(log.count() == 0u);
  }
  CHECK(log.count() == 1u);
}

TEST_CASE("the cancellation of a task without handles is not reported", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: cancelled and dropped");
  error_log log;
  {
    gate start;
    std::atomic<int> ran{0};
    dg::thread_pool pool(reporting_to(log, 1));
    auto blocker = pool.submit([&] { start.pass(); });
    {
      auto r = pool.submit([&] { ++ran; });
      CHECK(r.cancel());
      auto refs = pool.options(dg::num_returns<2>{}).submit(count_to, 2);
      CHECK(refs[0].cancel());
      [[maybe_unused]] auto stream = pool.submit(count_to, 100'000);
    }
    start.open();
    blocker.get();
    pool.submit([] {}).get();
    CHECK(ran.load() == 0);
  }
  CHECK(log.count() == 0u);
}

TEST_CASE("a task without handles that fails with the cancellation of another task is not reported",
          "[errors][S-ERR-9][S-CANCEL-5]") {
  support::watchdog dog("errors: cancelled dependency");
  error_log log;
  {
    dg::thread_pool pool(reporting_to(log, 1));
    dg::manual_executor manual;
    auto cancelled = dg::on(manual).submit([] { return 1; });
    static_cast<void>(pool.submit([](int) {}, cancelled));
    static_cast<void>(pool.options(dg::after(cancelled)).submit([] {}));
    static_cast<void>(pool.options(dg::num_returns<2>{}).submit(count_to, cancelled));
    static_cast<void>(pool.submit([r = cancelled]() -> dg::task<void> { co_await r; }));
    CHECK(cancelled.cancel());
    manual.run_all();
    CHECK(holds<dg::cancelled_error>(cancelled));
  }
  CHECK(log.count() == 0u);
}

TEST_CASE("the hook returns before completion() is ready", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: hook before completion");
  gate leave;
  std::atomic<bool> inside{false};
  dg::thread_pool_options options;
  options.threads = 2;
  options.on_unhandled_error = [&](std::exception_ptr, std::string_view) {
    inside = true;
    leave.pass();
  };
  dg::thread_pool pool(options);
  auto refs = pool.options(dg::num_returns<1>{}).submit(throw_after, 1);
  auto end = refs[0].completion();
  REQUIRE(eventually([&] { return inside.load(); }));
  CHECK_FALSE(end.ready());
  CHECK(refs[0].get() == 0);
  leave.open();
  CHECK(holds<boom>(end));
}

TEST_CASE("the hook runs on the thread that ends the task", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: thread of the hook");
  error_log log;
  std::thread::id ran_on;
  {
    dg::thread_pool pool(reporting_to(log));
    auto f = [&]() -> dg::generator<int> {
      co_yield 0;
      ran_on = std::this_thread::get_id();
      throw boom();
    };
    auto refs = pool.options(dg::num_returns<1>{}).submit(f);
    refs[0].completion().wait();
  }
  REQUIRE(log.count() == 1u);
  CHECK(log.at(0).thread == ran_on);
}

TEST_CASE("a hook may use the pool that calls it", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: hook that submits");
  std::atomic<int> more{0};
  std::atomic<dg::thread_pool*> self{nullptr};
  dg::thread_pool_options options;
  options.threads = 1;
  options.on_unhandled_error = [&](std::exception_ptr, std::string_view) {
    self.load()->submit([&] { ++more; }).get();
  };
  dg::thread_pool pool(options);
  self = &pool;
  auto refs = pool.options(dg::num_returns<1>{}).submit(throw_after, 1);
  refs[0].completion().wait();
  CHECK(more.load() == 1);
}

TEST_CASE("a hook that throws: both errors are on stderr and the program goes on", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: throwing hook");
  captured_stderr file;
  int after = 0;
  bool held = false;
  {
    dg::thread_pool_options options;
    options.threads = 2;
    options.on_unhandled_error = [](std::exception_ptr, std::string_view) { throw boom("the hook's own"); };
    dg::thread_pool pool(options);
    auto refs = pool.options(dg::num_returns<1>{}).submit(throw_after, 1);
    held = holds<boom>(refs[0].completion());
    after = pool.submit([] { return 5; }).get();
  }
  const std::string text = file.finish();
  CHECK(held);
  CHECK(after == 5);
  CHECK(occurrences(text, "the hook's own") == 1u);
  CHECK(occurrences(text, "after 1") == 1u);
}

TEST_CASE("dropping the refs of a plain or static task does not cancel it", "[errors][S-ERR-9]") {
  support::watchdog dog("errors: dropping does not cancel");
  std::atomic<int> plain{0}, fixed{0};
  {
    dg::manual_executor later;
    dg::on(later).submit([&] { ++plain; });
    auto f = [&]() -> dg::generator<int> {
      for (int i = 0; i < 3; ++i) {
        co_yield i;
        ++fixed;
      }
    };
    { [[maybe_unused]] auto refs = dg::on(later).options(dg::num_returns<3>{}).submit(f); }
    later.run_all();
  }
  CHECK(plain.load() == 1);
  CHECK(fixed.load() == 3);
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

TEST_CASE("a dependency that has failed ends the task only when all its arguments are registered", "[error][S-ERR-8]") {
  support::watchdog dog("failed beside pending dependencies");
  dg::manual_executor never, busy;
  std::atomic<bool> stop{false};
  std::thread runner([&] {
    while (!stop) busy.run_one();
  });
  dg::ref<int> bad = dg::on(busy).submit([]() -> int { throw boom(); });
  for (int round = 0; round < 2000; ++round) {
    auto a = dg::on(never).submit([] { return 1; });
    auto b = dg::on(never).submit([] { return 2; });
    auto r = dg::on(busy).submit([](int, int, int) { return 3; }, bad, std::move(a), std::move(b));
    CHECK(holds<boom>(r));
    never.run_all();
  }
  stop = true;
  runner.join();
}

}  // namespace test_errors
