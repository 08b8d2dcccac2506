// SPDX-License-Identifier: MIT
// A child process after fork(): it has none of the parent's threads, and locks that these held stay locked.

#include "../catch.hpp"
#include "../support.hpp"

#if defined(__SANITIZE_THREAD__)
#  define FORKS_WITH_THREADS 0
#elif defined(__has_feature)
#  if __has_feature(thread_sanitizer)
#    define FORKS_WITH_THREADS 0
#  endif
#endif

// ThreadSanitizer ends a child that starts threads.
#if defined(__unix__) && !defined(FORKS_WITH_THREADS)

#  include <sys/wait.h>
#  include <unistd.h>

#  include <sstream>
#  include <thread>
#  include <vector>

namespace {

int one_more(int n) { return n + 1; }
dg::generator<int> numbers(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}

/// Runs `body` in a child process. Returns 0 if that returns true, 1 if false, or the signal that ended the process.
template <class Body>
int in_child(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    bool good = false;
    try {
      good = body();
    } catch (...) {
    }
    _exit(good ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

bool uses_a_new_pool() {
  dg::thread_pool pool(2);
  long sum = 0;
  for (int i = 0; i < 200; ++i) sum += pool.submit(one_more, i).get();
  for (const int n : pool.submit(numbers, 20'000).values()) sum += n;
  dg::promise<void> p;
  auto waiting = pool.options(dg::name{"waiting"}).submit([r = p.get_ref()] { r.wait(); });
  std::ostringstream dumped;
  while (dumped.str().find("'waiting', attempt 1: running, blocked") == std::string::npos) {
    pool.dump(dumped);
    std::this_thread::yield();
  }
  const bool described = dg::describe(waiting).find("blocked until it has") != std::string::npos;
  p.set_value();
  waiting.wait();
  return described && sum == 20'100 + 199'990'000;
}

}  // namespace

TEST_CASE("a forked child uses a pool of its own, whatever the parent's threads were doing", "[fork]") {
  support::watchdog dog("forking beside threads that run tasks, dump, allocate, and come and go");
  dg::thread_pool pool(2);
  std::atomic<bool> over{false};
  std::vector<std::jthread> busy;
  busy.emplace_back([&] {
    std::ostringstream text;
    while (!over) {
      text.str({});
      pool.dump(text);
    }
  });
  busy.emplace_back([&] {
    std::vector<dg::ref<int>> refs;
    while (!over) {
      for (int i = 0; i < 300; ++i) refs.push_back(pool.submit(one_more, i));
      refs.clear();
    }
  });
  busy.emplace_back([&] {
    while (!over) {
      dg::thread_pool other(1);
      (void)other.submit(one_more, 1).get();
    }
  });
  int bad = 0;
  for (int i = 0; i < 30 && bad == 0; ++i) bad = in_child(uses_a_new_pool);
  over = true;
  CHECK(bad == 0);
}

TEST_CASE("a forked child uses a pool of its own while the parent is idle", "[fork]") {
  dg::thread_pool pool(2);
  for (int i = 0; i < 100; ++i) (void)pool.submit(one_more, i).get();
  CHECK(in_child(uses_a_new_pool) == 0);
  CHECK(pool.submit(one_more, 1).get() == 2);
}

TEST_CASE("a forked child of a task uses a pool of its own", "[fork]") {
  dg::thread_pool pool(1);
  CHECK(pool.submit([] { return in_child(uses_a_new_pool); }).get() == 0);
}

TEST_CASE("a pool of the parent process may be destroyed in a forked child, and submit on it throws", "[fork]") {
  auto pool = std::make_unique<dg::thread_pool>(dg::thread_pool_options{.threads = 2, .name = "parents"});
  (void)pool->submit(one_more, 1).get();
  const int status = in_child([&] {
    bool refused = false;
    try {
      pool->submit(one_more, 1);
    } catch (const dg::pool_stopped& e) {
      refused = std::string(e.what()).find("of the parent process ('parents')") != std::string::npos;
    }
    std::ostringstream text;
    pool->dump(text);
    pool->shutdown(dg::shutdown_mode::drain);
    pool->shutdown(dg::shutdown_mode::cancel);
    pool.reset();
    return refused && text.str().find("of the parent process") != std::string::npos && uses_a_new_pool();
  });
  CHECK(status == 0);
  CHECK(pool->submit(one_more, 1).get() == 2);
}

TEST_CASE("a child of a forked child has a pool of its own as well", "[fork]") {
  CHECK(in_child([] {
          dg::thread_pool pool(1);
          return pool.submit(one_more, 1).get() == 2 && in_child(uses_a_new_pool) == 0;
        }) == 0);
}

#else

TEST_CASE("a forked child is not tried here", "[fork]") { SUCCEED(); }

#endif
