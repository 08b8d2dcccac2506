// SPDX-License-Identifier: MIT
// How do I test my generators and tasks without threads?
//
//  - A generator is an input range: called directly, it runs on the calling thread.
//  - `inline_executor` runs a task right where it is submitted, so that its refs are ready when submit returns.
//  - `manual_executor` queues ready tasks until the test runs them: `run_one()` runs one step, `run_all()` all of them.
//    So a test determines the order of events, and can check each intermediate state: half of the values stored, a task
//    suspended at a full stream, a stream dropped at exactly that moment.

#include <dyngen/dyngen.hpp>

#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace dg = dyngen;

namespace {

dg::generator<int> until_bad(std::vector<int> in) {
  for (const int i : in) {
    if (i < 0) throw std::invalid_argument("negative: " + std::to_string(i));
    co_yield i * i;
  }
}

int failures = 0;
void check(bool good, const char* what) {
  std::printf("%s: %s\n", what, good ? "ok" : "FAILED");
  if (!good) ++failures;
}

}  // namespace

int main() {
  std::vector<int> seen;
  for (const int square : until_bad({1, 2, 3})) seen.push_back(square);
  check(seen == std::vector{1, 4, 9}, "as a range");

  dg::inline_executor here;
  auto [a, b] = dg::on(here).options(dg::num_returns<2>{}).submit(until_bad, std::vector{4, -5});
  check(a.ready() && a.get() == 16, "the first value is there at once");
  check(b.failed(), "the second holds the exception");

  dg::manual_executor steps;
  dg::ref_stream<int> stream =
      dg::on(steps).options(dg::backpressure{2}).submit(until_bad, std::vector{1, 2, 3, 4});
  check(!stream.try_next(), "nothing runs by itself");
  steps.run_all();
  check(stream.try_next()->get() == 1 && stream.try_next()->get() == 4 && !stream.try_next(),
        "two values, then it waits for room");
  steps.run_one();
  stream = {};  // a reader that drops the stream in the middle
  check(steps.run_all() > 0, "the task ends");
  return failures;
}
