// SPDX-License-Identifier: MIT
// A generator that throws. The values that it has yielded before stay readable.
//
//  - `num_returns`: all refs without a value hold the exception;
//  - `dynamic`: the list has one more ref at its end, which holds the exception. The ref of the list itself does not
//    fail.
//
// Every read of a failed ref throws the original exception, of its original type.

#include <dyngen/dyngen.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

namespace dg = dyngen;

namespace {

struct out_of_paper : std::runtime_error {
  explicit out_of_paper(int after) : std::runtime_error("out of paper after page " + std::to_string(after)) {}
};

dg::generator<int> print_pages(int paper) {
  for (int page = 1; page <= paper; ++page) co_yield page;
  throw out_of_paper(paper);
}

void expect(bool condition, const std::string& what) {
  if (!condition) throw std::logic_error(what);
}

void print_and_expect(const dg::ref<int>& page, int value) {
  expect(page.get() == value, "the wrong value");
  std::printf("  value %d\n", value);
}

void print_and_expect_failure(const dg::ref<int>& page, const std::string& message) {
  for (int times = 0; times < 2; ++times) {
    try {
      page.get();
    } catch (const out_of_paper& error) {
      expect(error.what() == message, "another message: " + std::string(error.what()));
      continue;
    }
    throw std::logic_error("a value in place of an exception");
  }
  expect(page.failed(), "a ref that throws says that it has not failed");
  std::printf("  exception: %s\n", message.c_str());
}

void static_arity(dg::thread_pool& pool) {
  std::printf("num_returns<4>, a throw after two values:\n");
  const std::array<dg::ref<int>, 4> pages = pool.options(dg::num_returns<4>{}).submit(print_pages, 2);
  print_and_expect(pages[0], 1);
  print_and_expect(pages[1], 2);
  print_and_expect_failure(pages[2], "out of paper after page 2");
  print_and_expect_failure(pages[3], "out of paper after page 2");
}

void dynamic_arity(dg::thread_pool& pool) {
  std::printf("dynamic, a throw after two values:\n");
  const dg::ref_list<int> pages = pool.options(dg::dynamic).submit(print_pages, 2).get();
  expect(pages.size() == 3, std::to_string(pages.size()) + " refs in the list");
  print_and_expect(pages[0], 1);
  print_and_expect(pages[1], 2);
  print_and_expect_failure(pages[2], "out of paper after page 2");

  std::printf("dynamic, a throw before the first value:\n");
  const dg::ref_list<int> none = pool.options(dg::dynamic).submit(print_pages, 0).get();
  expect(none.size() == 1, std::to_string(none.size()) + " refs in the list");
  print_and_expect_failure(none[0], "out of paper after page 0");
}

}  // namespace

int main() {
  try {
    dg::thread_pool pool(2);
    static_arity(pool);
    dynamic_arity(pool);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "exceptions: %s\n", error.what());
    return 1;
  }
}
