// SPDX-License-Identifier: MIT
// Three servers get the same request; the program uses the first answer, and does not wait for the other two.
//
// `when_any` in a coroutine, and `wait_any` elsewhere, say which ref is ready first. They cancel no task: that is up to
// the caller. `cancel()` wakes a coroutine that waits for an answer that never comes. It ends at its co_await: its
// local variables are destroyed, and its ref holds `cancelled_error`.
//
// The servers are promises here, and the program decides which one answers: no timing is involved.

#include <dyngen/dyngen.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <functional>
#include <latch>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

constexpr std::array<const char*, 3> names{"oslo", "lima", "rome"};

/// A connection that is open as long as a task waits for an answer.
class connection {
 public:
  connection() { ++open; }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection() { --open; }
  static inline std::atomic<int> open{0};
};

/// Three servers and the tasks that ask them.
struct race {
  std::array<dg::promise<std::string>, 3> servers;
  std::latch all_asked{3};
  std::vector<dg::ref<std::string>> answers;

  explicit race(dg::thread_pool& pool) {
    for (std::size_t i = 0; i < servers.size(); ++i)
      answers.push_back(pool.options(dg::name{names[i]}).submit(ask, names[i], servers[i].get_ref(), std::ref(all_asked)));
  }

  /// A parameter of type ref<T> takes the ref itself: the task does not wait for it before it starts.
  static dg::task<std::string> ask(std::string name, dg::ref<std::string> answer, std::latch& asked) {
    const connection here;
    asked.count_down();
    co_return name + " says " + co_await answer;
  }
};

dg::task<std::size_t> first_of(std::vector<dg::ref<std::string>> answers) {
  const std::size_t first = co_await dg::when_any(answers);
  for (const dg::ref<std::string>& other : answers)
    if (other != answers[first]) other.cancel();
  co_return first;
}

void ask_three(dg::thread_pool& pool, std::size_t who_answers) {
  race three(pool);
  three.all_asked.wait();
  const dg::ref<std::size_t> first = pool.submit(first_of, three.answers);
  if (who_answers == 0)
    three.servers[0].set_exception(std::make_exception_ptr(std::runtime_error("not today")));
  else
    three.servers[who_answers].set_value("hello");

  std::printf("first: %s\n", names[first.get()]);
  for (std::size_t i = 0; i < names.size(); ++i) {
    try {
      std::printf("  %s\n", three.answers[i].get().c_str());
    } catch (const dg::cancelled_error&) {
      std::printf("  %s was cancelled\n", names[i]);
    } catch (const std::exception& error) {
      std::printf("  %s failed: %s\n", names[i], error.what());  // a failure is an answer too
    }
  }
  std::printf("  open connections: %d\n", connection::open.load());
}

}  // namespace

int main() {
  try {
    dg::thread_pool pool(2);
    ask_three(pool, 1);
    ask_three(pool, 0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "first_of_three: %s\n", error.what());
    return 1;
  }
}
