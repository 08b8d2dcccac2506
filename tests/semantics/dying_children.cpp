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

// clang 19 without optimisation uses a coroutine's frame after it has freed it when a parameter's destructor throws.
#if !defined(__clang__) || defined(__OPTIMIZE__)
TEST_CASE("a child that throws as it is destroyed is reported to the pool, wherever it ran", "[when_all][S-ERR-10]") {
  support::watchdog dog("children with throwing destructors");
  struct thrower {
    bool armed = true;
    thrower() = default;
    thrower(thrower&& other) noexcept : armed(std::exchange(other.armed, false)) {}
    ~thrower() noexcept(false) {
      if (armed) throw boom("of a parameter");
    }
  };
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
#endif

}  // namespace test_dying_children
