// SPDX-License-Identifier: MIT
// How do I run a task again when it fails?
//
//  - `max_retries{n}`: after an exception at most n more attempts, with the same arguments, which the callable gets as
//    const lvalues, and with a fresh copy of the callable.
//  - `retry_if(predicate)`: only after exceptions for which `predicate(std::exception_ptr)` is true.
//  - Readers do not see a retry: a generator that fails after three values continues with the fourth in its next
//    attempt, which makes and drops the first three again. So a generator must yield the same values each time.
//  - `this_task::attempt()` is 1, 2, 3, ...

#include <dyngen/dyngen.hpp>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

namespace dg = dyngen;

namespace {

struct connection_lost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

bool is_worth_another_try(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const connection_lost&) {
    return true;
  } catch (...) {
    return false;
  }
}

/// Loses its connection after `good` lines, in its first two attempts.
dg::generator<std::string> download(int lines, int good) {
  for (int i = 1; i <= lines; ++i) {
    if (dg::this_task::attempt() <= 2 && i > good * static_cast<int>(dg::this_task::attempt()))
      throw connection_lost("lost after " + std::to_string(i - 1) + " lines");
    co_yield "line " + std::to_string(i);
  }
}

int parse(const std::string& text) { return std::stoi(text); }

}  // namespace

int main() {
  dg::thread_pool pool(2);
  const auto persistent = pool.options(dg::max_retries{2}, dg::retry_if(is_worth_another_try));

  std::string all;
  for (const std::string& line : persistent.submit(download, 5, 2).values()) all += line + "; ";
  std::printf("%s\n", all.c_str());

  // Two attempts are not enough here: the stored values stay, followed by the last exception.
  try {
    for (const std::string& line : pool.options(dg::max_retries{1}).submit(download, 5, 2).values())
      std::printf("%s\n", line.c_str());
  } catch (const connection_lost& error) {
    std::printf("%s\n", error.what());
  }

  // A permanent error is not retried.
  try {
    persistent.submit(parse, "twelve").get();
  } catch (const std::invalid_argument&) {
    std::printf("no number; attempts in all: %llu\n", static_cast<unsigned long long>(pool.stats().retried + 3));
  }
}
