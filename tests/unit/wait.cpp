// SPDX-License-Identifier: MIT
// Deadlines from durations and points in time of any kind, and waits for several things at once.

#include "../catch.hpp"
#include "../support.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>

namespace test_wait {

using dg::detail::deadline;
using dg::detail::deadline_after;
using dg::detail::deadline_at;
using dg::detail::never;
using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace {

/// Is the deadline `d` from now, up to the time that this call takes?
bool is_after(deadline at, std::chrono::nanoseconds d) {
  const auto left = at - clock_type::now();
  return left < d + 1ms && left > d - 20s;
}
bool is_now(deadline at) { return is_after(at, 0s); }

/// A clock that stands still, ten seconds after its epoch.
struct stopped_clock {
  using duration = std::chrono::milliseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<stopped_clock>;
  static time_point now() noexcept { return time_point(10s); }
};

}  // namespace

TEST_CASE("a duration that is zero or negative has passed", "[wait]") {
  CHECK(is_now(deadline_after(0s)));
  CHECK(is_now(deadline_after(-1ns)));
  CHECK(is_now(deadline_after(-1h)));
  CHECK(is_now(deadline_after(std::chrono::nanoseconds::min())));
  CHECK(is_now(deadline_after(std::chrono::hours::min())));
  CHECK(is_now(deadline_after(std::chrono::duration<double>(-1e300))));
  CHECK(is_now(deadline_after(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN()))));
}

TEST_CASE("an ordinary duration ends when it should, in any unit", "[wait]") {
  CHECK(is_after(deadline_after(100s), 100s));
  CHECK(is_after(deadline_after(100'000ms), 100s));
  CHECK(is_after(deadline_after(std::chrono::duration<double>(100.5)), 100'500ms));
  CHECK(is_after(deadline_after(std::chrono::duration<float, std::ratio<60>>(2.5f)), 150s));
  CHECK(is_after(deadline_after(std::chrono::years(100)), std::chrono::years(100)));
}

TEST_CASE("a duration is never rounded to zero", "[wait]") {
  const auto before = clock_type::now();
  CHECK(deadline_after(std::chrono::duration<std::int64_t, std::pico>(1)) > before);
}

TEST_CASE("a duration beyond the clock's range is no deadline at all", "[wait]") {
  CHECK(deadline_after(std::chrono::nanoseconds::max()) == never);
  CHECK(deadline_after(std::chrono::microseconds::max()) == never);
  CHECK(deadline_after(std::chrono::seconds::max()) == never);
  CHECK(deadline_after(std::chrono::hours::max()) == never);
  CHECK(deadline_after(std::chrono::years::max()) == never);
  CHECK(deadline_after(std::chrono::years(1000)) == never);
  CHECK(deadline_after(std::chrono::duration<double>(1e300)) == never);
  CHECK(deadline_after(std::chrono::duration<double>(std::numeric_limits<double>::infinity())) == never);
  CHECK(deadline_after(std::chrono::duration<std::uint64_t>(std::numeric_limits<std::uint64_t>::max())) == never);
}

TEST_CASE("a time point of any clock becomes a deadline", "[wait]") {
  CHECK(is_after(deadline_at(clock_type::now() + 100s), 100s));
  CHECK(is_after(deadline_at(std::chrono::system_clock::now() + 100s), 100s));
  const auto in_two_days = std::chrono::time_point_cast<std::chrono::hours>(std::chrono::system_clock::now() + 48h);
  CHECK(deadline_at(in_two_days) < clock_type::now() + 48h);
  CHECK(deadline_at(in_two_days) > clock_type::now() + 46h);
  CHECK(is_after(deadline_at(stopped_clock::time_point(15s)), 5s));
}

TEST_CASE("a point in the past has passed, however far", "[wait]") {
  using std::chrono::system_clock;
  const auto passed = [](deadline at) { return at <= clock_type::now(); };
  CHECK(passed(deadline_at(clock_type::now() - 1s)));
  CHECK(passed(deadline_at(clock_type::time_point::min())));
  CHECK(passed(deadline_at(system_clock::now() - 1h)));
  CHECK(passed(deadline_at(system_clock::time_point())));
  CHECK(passed(deadline_at(system_clock::time_point::min())));
  CHECK(passed(deadline_at(std::chrono::sys_days::min())));
  CHECK(passed(deadline_at(std::chrono::sys_days(std::chrono::year(1066) / 10 / 14))));
  CHECK(passed(deadline_at(stopped_clock::time_point(9s))));
}

TEST_CASE("a point in the far future never comes", "[wait]") {
  using std::chrono::system_clock;
  CHECK(deadline_at(clock_type::time_point::max()) > clock_type::now() + std::chrono::years(100));
  CHECK(deadline_at(system_clock::time_point::max()) > clock_type::now() + std::chrono::years(100));
  CHECK(deadline_at(std::chrono::sys_days::max()) == never);
  CHECK(deadline_at(std::chrono::sys_days(std::chrono::year(9999) / 12 / 31)) == never);
  CHECK(deadline_at(std::chrono::time_point<system_clock, std::chrono::duration<double>>(1e300s)) == never);
  CHECK(deadline_at(stopped_clock::time_point::max()) == never);
}

}  // namespace test_wait
