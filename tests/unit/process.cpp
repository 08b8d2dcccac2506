// SPDX-License-Identifier: MIT
// Objects that exist once in a process, or in a thread. tests/consumers/objects tests several shared objects of one
// process.

#include "../catch.hpp"
#include "../support.hpp"

#include <array>
#include <latch>
#include <set>
#include <thread>
#include <vector>

namespace test_process {

using dg::detail::process_wide;
using dg::detail::thread_wide;

namespace {

struct things {
  static constexpr std::string_view name_in_process = "things of a test";
  int n = 7;
};
struct other_things {
  static constexpr std::string_view name_in_process = "other things of a test";
  int n = 8;
};

struct contended {
  static constexpr std::string_view name_in_process = "a thing that several threads make";
};

/// Uses the library after main() has returned, and the thread-local objects of its thread are destroyed.
struct at_exit {
  ~at_exit() {
    if (process_wide<things>().n != 7) std::abort();
    dg::thread_pool pool(2);
    auto numbers = pool.submit([]() -> dg::generator<int> { for (int i = 0; i < 1000; ++i) co_yield i; });
    int sum = 0;
    for (const int n : numbers.values()) sum += n;
    if (sum != 499'500) std::abort();
  }
} const last;

}  // namespace

TEST_CASE("a process-wide object is the same for all threads", "[process][L-27]") {
  things& here = process_wide<things>();
  CHECK(here.n == 7);
  things* there = nullptr;
  std::jthread([&] { there = &process_wide<things>(); }).join();
  CHECK(there == &here);
  CHECK(process_wide<other_things>().n == 8);
}

TEST_CASE("threads that request a process-wide object at the same time get the same one", "[process][L-27]") {
  std::array<contended*, 8> seen{};
  {
    std::latch all(seen.size());
    std::vector<std::jthread> threads;
    for (contended*& each : seen)
      threads.emplace_back([&all, &each] {
        all.arrive_and_wait();
        each = &process_wide<contended>();
      });
  }
  CHECK(std::set<contended*>(seen.begin(), seen.end()).size() == 1);
}

TEST_CASE("a thread-wide object exists once for each thread", "[process][L-27]") {
  things& here = thread_wide<things>();
  CHECK(&thread_wide<things>() == &here);
  things* there = nullptr;
  std::jthread([&] { there = &thread_wide<things>(); }).join();
  CHECK(there != &here);
}

TEST_CASE("two types have two objects, whatever their size", "[process][L-27]") {
  CHECK(static_cast<void*>(&process_wide<things>()) != static_cast<void*>(&process_wide<other_things>()));
  using dg::detail::shared_type;
  CHECK(shared_type::of("a", 8) != shared_type::of("a", 16));
  CHECK(shared_type::of("a", 8) != shared_type::of("b", 8));
}

TEST_CASE("the version in the two headers is the same", "[process]") {
  CHECK(dg::detail::library_version == std::array{DYNGEN_VERSION_MAJOR, DYNGEN_VERSION_MINOR, DYNGEN_VERSION_PATCH});
}

}  // namespace test_process
