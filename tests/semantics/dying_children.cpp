// SPDX-License-Identifier: MIT
// A child whose parameter throws from its destructor: S-ERR-10.

#include "../catch.hpp"
#include "probes.hpp"

#include <atomic>
#include <exception>
#include <string_view>
#include <utility>

namespace test_dying_children {

using support::boom;

namespace {

/// Its destructor throws, unless it was moved from.
struct thrower {
  bool armed = true;
  thrower() = default;
  thrower(thrower&& other) noexcept : armed(std::exchange(other.armed, false)) {}
  ~thrower() noexcept(false) {
    if (armed) throw boom("of a parameter");
  }
};

[[maybe_unused]] dg::task<int> with_parameter(thrower, dg::ref<int> r) { co_return co_await r; }
[[maybe_unused]] dg::task<int> awaits_with_parameter(dg::ref<int> r) { co_return co_await with_parameter(thrower(), r) + 1; }

}  // namespace

// clang 19 without optimisation uses a coroutine's frame after it has freed it when a parameter's destructor throws.
#if !defined(__clang__) || defined(__OPTIMIZE__)
TEST_CASE("a child that throws as it is destroyed is reported to the pool, wherever it ran", "[when_all][S-ERR-10]") {
  support::watchdog dog("children with throwing destructors");
  std::atomic<int> reported{0};
  dg::thread_pool_options o;
  o.threads = 1;
  o.waiters_help = false;
  o.on_unhandled_error = [&](std::exception_ptr, std::string_view) { ++reported; };
  dg::thread_pool pool(std::move(o));
  auto child = [](thrower) -> dg::task<int> { co_return 1; };
  auto two = [&]() -> dg::task<int> {
    auto [a, b] = co_await dg::when_all(child(thrower()), child(thrower()));
    co_return a + b;
  };
  CHECK(pool.submit(two).get() == 2);
  CHECK(reported == 2);
  auto one = [&]() -> dg::task<int> { co_return co_await child(thrower()); };
  CHECK(pool.submit(one).get() == 1);
  CHECK(reported == 3);
}

TEST_CASE("a child whose parameter throws from its destructor frees its frame, wherever the child ends", "[S-ERR-10][L-5]") {
  using dg::detail::memory_counter;
  using dg::detail::memory_kind;
  const long frames = memory_counter::live(memory_kind::frame);
  const bool is_ready_before = GENERATE(true, false);
  const bool is_cancelled = GENERATE(true, false);
  support::captured_stderr reports;
  {
    dg::manual_executor manual;
    dg::promise<int> given;
    const dg::ref<int> result = dg::on(manual).submit(awaits_with_parameter, dg::unresolved(given.get_ref()));
    if (is_ready_before) given.set_value(20);
    if (!is_ready_before) manual.run_all();
    if (is_cancelled) result.cancel();
    if (!is_ready_before) given.set_value(20);
    manual.run_all();
    REQUIRE(result.ready());
    if (is_cancelled)
      CHECK(support::holds<dg::cancelled_error>(result));
    else
      CHECK(result.get() == 21);
  }
  CHECK(memory_counter::live(memory_kind::frame) == frames);
}
#endif

}  // namespace test_dying_children
