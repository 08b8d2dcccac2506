// SPDX-License-Identifier: MIT
// Catch2's main, and a last line for every run that says how many test cases passed and failed.

#ifdef DYNGEN_CATCH2_V2
#  define CATCH_CONFIG_MAIN
#  include <catch2/catch.hpp>
using listener_base = Catch::TestEventListenerBase;
#else
#  include <catch2/catch_totals.hpp>
#  include <catch2/interfaces/catch_interfaces_reporter.hpp>
#  include <catch2/reporters/catch_reporter_event_listener.hpp>
#  include <catch2/reporters/catch_reporter_registrars.hpp>
using listener_base = Catch::EventListenerBase;
#endif

#include <cstdio>

namespace {

struct closing_line : listener_base {
  using listener_base::listener_base;

  void testRunEnded(const Catch::TestRunStats& run) override {
    const auto& cases = run.totals.testCases;
    std::printf("cases: %llu passed, %llu failed\n", static_cast<unsigned long long>(cases.passed),
                static_cast<unsigned long long>(cases.failed));
    std::fflush(stdout);
  }
};

CATCH_REGISTER_LISTENER(closing_line)

}  // namespace
