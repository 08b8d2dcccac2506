// SPDX-License-Identifier: MIT
// An error after every ref has already got its value: a surplus yield, or a throw after the last value.
//
// No ref can hold it, so all values can be read. The error is not lost: `completion()` holds it, and the pool reports
// it, here by the default of one line on stderr that names the task.

#include <dyngen/dyngen.hpp>

#include <array>
#include <atomic>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

#include <unistd.h>

namespace dg = dyngen;

namespace {

std::atomic<bool> went_on{false};

dg::generator<int> one_too_many() {
  co_yield 1;
  co_yield 2;
  co_yield 3;  // never returns: the frame is destroyed here
  went_on = true;
}

dg::generator<int> throws_at_the_end() {
  co_yield 1;
  co_yield 2;
  throw std::runtime_error("the lid does not fit");
}

void expect(bool condition, const std::string& what) {
  if (!condition) throw std::logic_error(what);
}

/// Captures stderr while it lives; then writes the captured text to stderr.
class stderr_capture {
 public:
  stderr_capture() : file_(std::tmpfile()), saved_(dup(STDERR_FILENO)) {
    expect(file_ != nullptr && saved_ >= 0, "no temporary file");
    std::fflush(stderr);
    dup2(fileno(file_), STDERR_FILENO);
  }
  stderr_capture(const stderr_capture&) = delete;
  stderr_capture& operator=(const stderr_capture&) = delete;
  ~stderr_capture() {
    const std::string written = text();
    dup2(saved_, STDERR_FILENO);
    close(saved_);
    std::fclose(file_);
    std::fputs(written.c_str(), stderr);
  }

  std::string text() const {
    std::fflush(stderr);
    std::rewind(file_);
    std::string result;
    for (int c; (c = std::fgetc(file_)) != EOF;) result += static_cast<char>(c);
    return result;
  }

 private:
  std::FILE* file_;
  int saved_;
};

/// Runs a task of two values, checks them and the line on stderr, and returns the outcome of the task.
template <class Task>
std::exception_ptr run(dg::thread_pool& pool, const std::string& name, Task task) {
  const stderr_capture capture;
  const std::array<dg::ref<int>, 2> refs = pool.options(dg::num_returns<2>{}, dg::name{name}).submit(task);
  expect(refs[0].get() == 1 && refs[1].get() == 2, name + ": a ref that does not read well");

  const dg::ref<void> completion = refs[0].completion();
  completion.wait();  // the error has been reported before this is ready
  const std::string line = capture.text();
  expect(line.find(name) != std::string::npos, name + ": no line on stderr names it");
  expect(line.find('\n') == line.size() - 1, name + ": not one line on stderr");
  std::printf("%s: 1, 2, and one line on stderr\n", name.c_str());
  expect(completion.error() != nullptr, name + ": completion() has no error");
  return completion.error();
}

}  // namespace

int main() {
  try {
    dg::thread_pool pool(2);
    try {
      std::rethrow_exception(run(pool, "one_too_many", one_too_many));
    } catch (const dg::arity_error& error) {
      std::printf("completion: %d values expected, %d yielded\n", static_cast<int>(error.expected()),
                  static_cast<int>(error.yielded()));
      expect(error.expected() == 2 && error.yielded() == 3, "the wrong numbers");
      expect(!went_on, "the task went on after its surplus yield");
    }
    try {
      std::rethrow_exception(run(pool, "throws_at_the_end", throws_at_the_end));
    } catch (const std::runtime_error& error) {
      std::printf("completion: %s\n", error.what());
      expect(error.what() == std::string("the lid does not fit"), "the wrong exception");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "already_filled: %s\n", error.what());
    return 1;
  }
}
