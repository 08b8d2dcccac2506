// SPDX-License-Identifier: MIT
#pragma once
// Catch2, whichever version the system has: every test includes this and no header of Catch2's own.

#ifdef DYNGEN_CATCH2_V2
#  include <catch2/catch.hpp>
#else
#  include <catch2/catch_message.hpp>
#  include <catch2/catch_template_test_macros.hpp>
#  include <catch2/catch_test_macros.hpp>
#  include <catch2/generators/catch_generators.hpp>
#  include <catch2/generators/catch_generators_range.hpp>
#  include <catch2/matchers/catch_matchers.hpp>
#endif

// Catch2 repeats the expression of a CHECK unevaluated, for a warning. A lambda in it would be a second type, and every
// template that it is given to would be instantiated twice.
#undef CATCH_INTERNAL_IGNORE_BUT_WARN
#define CATCH_INTERNAL_IGNORE_BUT_WARN(...) static_cast<void>(0)
