// SPDX-License-Identifier: MIT
// Details: the contents of handles in corner cases.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace test_details {

namespace {

using support::count_to;
using support::is_cancelled;
using namespace std::chrono_literals;

/// The operand from which a stored value is built, and the number of values built.
struct seed {
  int value;
};
struct grown {
  static inline std::atomic<int> built{0};
  int value;
  grown(seed s) noexcept : value(s.value) { ++built; }
  grown(const grown& other) noexcept : value(other.value) { ++built; }
  grown(grown&& other) noexcept : value(other.value) { ++built; }
  grown& operator=(const grown& other) noexcept = default;
  grown& operator=(grown&& other) noexcept = default;
  ~grown() = default;
};

}  // namespace

TEST_CASE("a dynamic task cancelled in the queue fails its outer ref", "[dynamic][S-DETAIL-1]") {
  support::watchdog dog("dynamic, cancelled in the queue");
  dg::manual_executor manual;
  auto list = dg::on(manual).options(dg::dynamic).submit(count_to, 3);
  CHECK(list.cancel());
  manual.run_all();
  REQUIRE(list.ready());
  CHECK(list.failed());
  CHECK_THROWS_AS(list.get(), dg::cancelled_error);
  CHECK(is_cancelled(list.completion().error()));
}

TEST_CASE("a dynamic task whose dependency failed fails its outer ref", "[dynamic][S-DETAIL-1][S-ERR-8]") {
  support::watchdog dog("dynamic, failed dependency");
  dg::thread_pool pool(1);
  dg::ref<int> fails = pool.submit([]() -> int { throw support::boom("dependency"); });
  auto list = pool.options(dg::dynamic).submit(count_to, fails);
  list.wait();
  CHECK(list.failed());
  CHECK_THROWS_AS(list.get(), support::boom);
}

TEST_CASE("a dynamic task that started and failed has a list whose last ref holds the exception",
          "[dynamic][S-DETAIL-1][S-ERR-3]") {
  support::watchdog dog("dynamic, started and failed");
  dg::thread_pool pool(1);
  auto fails = [](int n) -> dg::generator<int> {
    for (int i = 0; i < n; ++i) co_yield i;
    throw support::boom("inside");
  };
  for (int n : {0, 1, 5}) {
    auto outer = pool.options(dg::dynamic).submit(fails, n);
    dg::ref_list<int> list = outer.get();
    CHECK_FALSE(outer.failed());
    REQUIRE(list.size() == static_cast<std::size_t>(n) + 1);
    CHECK_THROWS_AS(list[static_cast<std::size_t>(n)].get(), support::boom);
    CHECK_THROWS_AS(list.completion().get(), support::boom);
  }
}

TEST_CASE("a dynamic task cancelled after its start has a list whose last ref holds cancelled_error",
          "[dynamic][S-DETAIL-1][S-CANCEL-2]") {
  support::watchdog dog("dynamic, cancelled while it runs");
  support::gate running, cancelled;
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  auto outer = pool.options(dg::dynamic).submit([&]() -> dg::generator<int> {
    co_yield 1;
    running.open();
    cancelled.pass();
    co_yield 2;
  });
  running.pass();
  CHECK(outer.cancel());
  cancelled.open();
  outer.wait();
  CHECK_FALSE(outer.failed());
  dg::ref_list<int> list = outer.get();
  REQUIRE(list.size() == 2);
  CHECK(list[0].get() == 1);
  CHECK(is_cancelled(list[1].error()));
}

TEST_CASE("the operand of a yield that sees a cancellation is dropped", "[cancel][S-DETAIL-2]") {
  support::watchdog dog("operand at a cancelled yield");
  support::tracked::reset();
  support::gate running, cancelled;
  dg::thread_pool pool({.threads = 1, .waiters_help = false});
  {
    auto refs = pool.options(dg::num_returns<2>{}).submit([&]() -> dg::generator<support::tracked> {
      running.open();
      cancelled.pass();
      support::tracked operand(7);
      co_yield std::move(operand);
      co_yield 8;
    });
    running.pass();
    CHECK(refs[0].cancel());
    cancelled.open();
    refs[0].completion().wait();
    CHECK(is_cancelled(refs[0].error()));
    CHECK(is_cancelled(refs[1].error()));
    CHECK(support::tracked::live == 0);
  }
}

TEST_CASE("a surplus operand is not built into a stored value", "[arity][S-DETAIL-2]") {
  support::watchdog dog("surplus operand");
  std::atomic<int> reported{0};
  dg::thread_pool pool({.threads = 1, .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }});
  grown::built = 0;
  auto refs = pool.options(dg::num_returns<1>{}).submit([]() -> dg::generator<grown> {
    seed one{1}, two{2};
    co_yield one;
    co_yield two;
  });
  CHECK_THROWS_AS(refs[0].completion().get(), dg::arity_error);
  CHECK(refs[0].get().value == 1);
  CHECK(grown::built == 1);
  CHECK(reported == 1);
}

TEST_CASE("an operand out of order is not built into a stored value", "[arity][S-DETAIL-2]") {
  support::watchdog dog("operand out of order");
  dg::thread_pool pool({.threads = 1, .on_unhandled_error = [](std::exception_ptr, std::string_view) {}});
  grown::built = 0;
  auto [text, value] = pool.submit([]() -> dg::tuple_generator<std::string, grown> {
    seed early{1};
    co_yield early;
  });
  CHECK_THROWS_AS(text.get(), dg::type_order_error);
  CHECK_THROWS_AS(value.get(), dg::type_order_error);
  CHECK(grown::built == 0);
}

TEST_CASE("a ref is empty after get && and take &&", "[ref][S-DETAIL-3]") {
  support::watchdog dog("ref after get &&");
  auto number = dg::put(5);
  CHECK(std::move(number).get() == 5);
  CHECK_FALSE(number.valid());
  CHECK_THROWS_AS(number.get(), dg::empty_ref);

  auto owner = dg::put(std::make_unique<int>(6));
  CHECK(*std::move(owner).take() == 6);
  CHECK_FALSE(owner.valid());

  // A copy made because another handle exists empties this handle only.
  auto shared = dg::put(std::string("text"));
  auto other = shared;
  CHECK(std::move(shared).get() == "text");
  CHECK_FALSE(shared.valid());
  CHECK(other.get() == "text");
}

TEST_CASE("a ref is unchanged after shared_value", "[ref][S-DETAIL-3]") {
  support::watchdog dog("ref after shared_value");
  auto first = dg::put(std::make_unique<int>(7));
  auto second = first;
  CHECK_THROWS_AS(std::move(first).get(), dg::shared_value);
  REQUIRE(first.valid());
  CHECK(*first.get() == 7);
  CHECK_THROWS_AS(std::move(second).take(), dg::shared_value);
  REQUIRE(second.valid());
  CHECK(*second.get() == 7);

  // take never copies, not even a copyable value.
  auto copyable = dg::put(std::string("text"));
  auto holder = copyable;
  CHECK_THROWS_AS(std::move(copyable).take(), dg::shared_value);
  CHECK(copyable.get() == "text");
  holder = {};
  CHECK(std::move(copyable).take() == "text");
  CHECK_FALSE(copyable.valid());

  std::vector<std::unique_ptr<int>> many(3);
  auto range = dg::put(std::move(many));
  auto range_holder = range;
  CHECK_THROWS_AS(std::move(range).get(), dg::shared_value);
  range_holder = {};
  CHECK(std::move(range).get().size() == 3);
}

TEST_CASE("a ref is unchanged after it threw its task's exception by reference", "[ref][S-DETAIL-3][S-ERR-1]") {
  support::watchdog dog("ref after its exception");
  dg::inline_executor at_once;
  auto failed = dg::on(at_once).submit([]() -> int { throw support::boom(); });
  CHECK_THROWS_AS(failed.get(), support::boom);
  CHECK_THROWS_AS(failed.get(), support::boom);
  CHECK(failed.valid());
  CHECK_THROWS_AS(std::move(failed).get(), support::boom);
}

TEST_CASE("a ref of put is complete from the start", "[ref][put][S-DETAIL-4]") {
  support::watchdog dog("put");
  auto value = dg::put(std::string("stored"));
  CHECK(value.valid());
  CHECK(value.ready());
  CHECK_FALSE(value.failed());
  CHECK(value.error() == nullptr);
  CHECK(value.completion().ready());
  CHECK_NOTHROW(value.completion().get());
  CHECK_FALSE(value.cancel());
  CHECK_FALSE(dg::cancel(value));
  CHECK(value.get() == "stored");
  CHECK(value.wait_for(0ms));

  auto other = dg::put(std::string("stored"));
  CHECK(value.id() != other.id());
  CHECK_FALSE(value == other);
  auto copy = value;
  CHECK(copy.id() == value.id());
  CHECK(copy == value);
  CHECK(std::hash<dg::ref<std::string>>{}(copy) == std::hash<dg::ref<std::string>>{}(value));
}

TEST_CASE("put moves its value in and destroys it with the last handle", "[ref][put][S-DETAIL-4][S-MEM-1]") {
  support::watchdog dog("put and lifetime");
  support::tracked::reset();
  {
    auto value = dg::put(support::tracked(3));
    CHECK(support::tracked::copies == 0);
    CHECK(support::tracked::live == 1);
    auto copy = value;
    value = {};
    CHECK(support::tracked::live == 1);
    CHECK(copy.get().value == 3);
  }
  CHECK(support::tracked::live == 0);
}

TEST_CASE("default-constructed lists and streams are empty, and report that", "[handles][S-DETAIL-5]") {
  support::watchdog dog("empty handles");
  dg::ref<int> ref;
  dg::ref<void> nothing;
  dg::ref_list<int> list;
  dg::ref_stream<int> stream;
  CHECK_FALSE(ref.valid());
  CHECK_FALSE(nothing.valid());
  CHECK_FALSE(list.valid());
  CHECK_FALSE(stream.valid());

  CHECK_THROWS_AS(ref.ready(), dg::empty_ref);
  CHECK_THROWS_AS(ref.failed(), dg::empty_ref);
  CHECK_THROWS_AS(ref.wait(), dg::empty_ref);
  CHECK_THROWS_AS(ref.wait_for(1ms), dg::empty_ref);
  CHECK_THROWS_AS(ref.get(), dg::empty_ref);
  CHECK_THROWS_AS(ref.get_for(1ms), dg::empty_ref);
  CHECK_THROWS_AS(std::move(ref).get(), dg::empty_ref);
  CHECK_THROWS_AS(std::move(ref).take(), dg::empty_ref);
  CHECK_THROWS_AS(ref.error(), dg::empty_ref);
  CHECK_THROWS_AS(ref.completion(), dg::empty_ref);
  CHECK_THROWS_AS(ref.cancel(), dg::empty_ref);
  CHECK_THROWS_AS(nothing.get(), dg::empty_ref);

  CHECK_THROWS_AS(list.size(), dg::empty_ref);
  CHECK_THROWS_AS(list.at(0), dg::empty_ref);
  CHECK_THROWS_AS(list.completion(), dg::empty_ref);

  CHECK_THROWS_AS(stream.next(), dg::empty_ref);
  CHECK_THROWS_AS(stream.next_value(), dg::empty_ref);
  CHECK_THROWS_AS(stream.try_next(), dg::empty_ref);
  CHECK_THROWS_AS(stream.next_for(1ms), dg::empty_ref);
  CHECK_THROWS_AS(stream.finished(), dg::empty_ref);
  CHECK_THROWS_AS(stream.completion(), dg::empty_ref);
  CHECK_THROWS_AS(stream.cancel(), dg::empty_ref);
  CHECK_THROWS_AS(stream.detach(), dg::empty_ref);

  CHECK_THROWS_AS(dg::wait_any(ref, nothing), dg::empty_ref);
  CHECK_THROWS_AS(dg::get(dg::put(1), ref), dg::empty_ref);
}

TEST_CASE("a handle that was moved from is empty", "[handles][S-DETAIL-5]") {
  support::watchdog dog("moved-from handles");
  dg::thread_pool pool(1);
  auto ref = dg::put(1);
  auto ref_two = std::move(ref);
  CHECK_FALSE(ref.valid());
  CHECK(ref_two.get() == 1);

  auto list = pool.options(dg::dynamic).submit(count_to, 2).get();
  auto list_two = std::move(list);
  CHECK_FALSE(list.valid());
  CHECK(list_two.size() == 2);

  auto stream = pool.submit(count_to, 2);
  auto stream_two = std::move(stream);
  CHECK_FALSE(stream.valid());
  CHECK_THROWS_AS(stream.next(), dg::empty_ref);
  CHECK(stream_two.next_value() == std::optional<int>(0));
}

TEST_CASE("handles have the documented properties", "[handles][S-DETAIL-5]") {
  STATIC_REQUIRE(sizeof(dg::ref<int>) <= 16);
  STATIC_REQUIRE(sizeof(dg::ref<std::string>) <= 16);
  STATIC_REQUIRE(std::is_copy_constructible_v<dg::ref<std::unique_ptr<int>>>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<dg::ref<int>>);
  STATIC_REQUIRE(std::is_copy_constructible_v<dg::ref_list<int>>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<dg::ref_stream<int>>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<dg::ref_stream<int>>);
  STATIC_REQUIRE(std::ranges::random_access_range<dg::ref_list<int>>);
  STATIC_REQUIRE(std::ranges::input_range<dg::ref_stream<int>>);
  STATIC_REQUIRE(std::is_same_v<std::ranges::range_reference_t<dg::ref_stream<int>>, dg::ref<int>&&>);
  STATIC_REQUIRE(std::is_same_v<decltype(std::declval<const dg::ref<int>&>().get()), const int&>);
  STATIC_REQUIRE(std::is_same_v<decltype(std::declval<dg::ref<int>&&>().get()), int>);
  STATIC_REQUIRE(std::is_same_v<decltype(std::declval<const dg::ref_list<int>&>()[0]), const dg::ref<int>>);
}

TEST_CASE("thread_pool_options can be copied with their hook, and check the number of threads", "[pool][S-DETAIL-5]") {
  support::watchdog dog("thread_pool_options");
  std::atomic<int> reported{0};
  dg::thread_pool_options options{
      .threads = 2, .name = "twice", .on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; }};
  dg::thread_pool_options copy = options;
  {
    support::gate dropped;
    dg::thread_pool first(options), second(copy);
    CHECK(first.threads() == 2);
    CHECK(second.threads() == 2);
    const auto fail = [&] {
      dropped.pass();
      throw support::boom();
    };
    first.submit(fail);
    second.submit(fail);
    dropped.open();
    first.shutdown(dg::shutdown_mode::drain);
    second.shutdown(dg::shutdown_mode::drain);
  }
  CHECK(reported == 2);

  CHECK_THROWS_AS(dg::thread_pool(0), std::invalid_argument);
  CHECK_THROWS_AS(dg::thread_pool(4097), std::invalid_argument);
  CHECK_THROWS_AS(dg::thread_pool(-1), std::invalid_argument);
  CHECK_THROWS_AS(dg::thread_pool({.threads = 0}), std::invalid_argument);
  CHECK_THROWS_AS(dg::thread_pool({.threads = -3}), std::invalid_argument);
  const long long three = 3;
  CHECK(dg::thread_pool({.threads = three}).threads() == 3);
  CHECK(dg::thread_pool().threads() >= 1);
}

TEST_CASE("the outer ref of a dynamic task agrees with its completion", "[dynamic][S-DETAIL-6]") {
  support::watchdog dog("outer ref and completion");
  dg::thread_pool pool(2);
  bool agree = true;
  for (int round = 0; round < 1000; ++round) {
    auto outer = pool.options(dg::dynamic).submit(count_to, round % 3);
    dg::ref<void> completion = outer.completion();
    if (round % 2 == 0) {
      while (!outer.ready()) std::this_thread::yield();
      agree = agree && completion.ready() && !outer.cancel();
    } else {
      while (!completion.ready()) std::this_thread::yield();
      agree = agree && outer.ready() && !outer.cancel();
    }
    if (!agree) break;
  }
  CHECK(agree);
}

TEST_CASE("the end of a stream agrees with its completion", "[stream][S-DETAIL-6]") {
  support::watchdog dog("end and completion");
  dg::thread_pool pool(2);
  bool agree = true;
  for (int round = 0; round < 1000; ++round) {
    auto stream = pool.submit(count_to, 2);
    dg::ref<void> completion = stream.completion();
    if (round % 2 == 0) {
      while (stream.next()) {
      }
      agree = agree && stream.finished() && completion.ready() && !stream.cancel();
    } else {
      (void)stream.next();
      (void)stream.next();
      while (!completion.ready()) std::this_thread::yield();
      agree = agree && stream.finished() && !stream.try_next() && !stream.cancel();
    }
    if (!agree) break;
  }
  CHECK(agree);
}

TEST_CASE("in wait each occurrence of a duplicate counts", "[wait][S-DETAIL-9]") {
  support::watchdog dog("duplicates");
  dg::manual_executor manual;
  dg::ref<int> done = dg::put(1);
  dg::ref<int> pending = dg::on(manual).submit([] { return 2; });
  std::vector<dg::ref<int>> refs{done, pending, done, pending};
  auto first = dg::wait(refs, 2);
  CHECK(first.ready == std::vector<dg::ref<int>>{done, done});
  CHECK(first.pending == std::vector<dg::ref<int>>{pending, pending});

  auto too_few = dg::wait(refs, 3, 1ms);
  CHECK(too_few.ready.size() == 2);
  manual.run_all();
  auto all = dg::wait(refs, 4);
  CHECK(all.ready == refs);
  CHECK(all.pending.empty());
}

TEST_CASE("a generator that was moved from has no values", "[generator]") {
  auto three = []() -> dg::generator<int> {
    for (int i = 0; i < 3; ++i) co_yield i;
  };
  dg::generator<int> from = three();
  dg::generator<int> to = std::move(from);
  int sum = 0;
  for (int v : from) sum += 100 + v;  // NOLINT: tests the moved-from object
  CHECK(sum == 0);
  for (int v : to) sum += v;
  CHECK(sum == 3);
}

}  // namespace test_details
