// SPDX-License-Identifier: MIT
// A library that answers by callbacks, made awaitable with promises.
//
// Each request has a promise. The caller gets its ref, which behaves like any other: a coroutine awaits it, alone or
// with others, a task depends on it, a plain function calls `get()`. The callback fulfils the promise by a
// value or an exception. A callback that never comes blocks no caller for ever: when the bridge is closed, the
// remaining promises are destroyed, and their refs hold `broken_promise`.

#include <dyngen/dyngen.hpp>

#include <condition_variable>
#include <cstdio>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dg = dyngen;

// ---- A library in the style of C, with a thread of its own, on which it calls back ----------------------------------

namespace {

struct job {
  std::string url;
  void (*done)(void* user, int status, const char* body);
  void* user;
};

std::mutex jobs_mutex;
std::condition_variable_any more_jobs;
std::deque<job> jobs;

void serve(std::stop_token stop) {
  const std::map<std::string, const char*> pages{{"/answer", "42"}, {"/hello", "hello, "}, {"/world", "world"}};
  std::unique_lock lock(jobs_mutex);
  while (more_jobs.wait(lock, stop, [] { return !jobs.empty(); })) {
    const job next = std::move(jobs.front());
    jobs.pop_front();
    lock.unlock();
    if (const auto page = pages.find(next.url); page != pages.end())
      next.done(next.user, 200, page->second);
    else if (next.url != "/lost")  // that request gets no answer
      next.done(next.user, 404, "not found");
    lock.lock();
  }
}

std::jthread library_thread(serve);
void fetch_async(const char* url, void (*done)(void* user, int status, const char* body), void* user) {
  const std::lock_guard lock(jobs_mutex);
  jobs.push_back({url, done, user});
  more_jobs.notify_one();
}
void fetch_stop() { library_thread = {}; }  // no callback comes after this

// ---- The bridge -----------------------------------------------------------------------------------------------------

class fetcher {
 public:
  ~fetcher() { close(); }

  dg::ref<std::string> fetch(const char* url) {
    auto owned = std::make_unique<request>(this);
    request* const asked = owned.get();
    dg::ref<std::string> page = asked->page.get_ref();  // now: the callback may come before fetch_async returns
    std::unique_lock lock(mutex_);
    pending_.emplace(asked, std::move(owned));
    lock.unlock();
    fetch_async(url, done, asked);
    return page;
  }

  /// Requests without an answer fail with broken_promise.
  void close() {
    fetch_stop();
    pending_.clear();
  }

 private:
  struct request {
    fetcher* owner;
    dg::promise<std::string> page;
  };

  /// Called by C, so nothing may be thrown out of it. A task that waits for the page is woken, but never runs in here.
  static void done(void* user, int status, const char* body) noexcept {
    fetcher& self = *static_cast<request*>(user)->owner;
    std::unique_lock lock(self.mutex_);
    const std::unique_ptr<request> answered = std::move(self.pending_.extract(user).mapped());
    lock.unlock();
    try {
      if (status != 200) throw std::runtime_error(std::to_string(status) + " " + body);
      answered->page.set_value(body);
    } catch (...) {
      answered->page.set_exception(std::current_exception());  // also if the string of the page could not be allocated
    }
  }

  std::mutex mutex_;
  std::map<void*, std::unique_ptr<request>> pending_;
};

dg::task<int> number_on(fetcher& web, const char* url) { co_return std::stoi(co_await web.fetch(url)); }

dg::task<std::string> joined(std::vector<dg::ref<std::string>> pages) {
  const std::vector<std::string> texts = co_await dg::when_all(std::move(pages));
  co_return std::accumulate(texts.begin(), texts.end(), std::string());
}

void print(const char* what, const dg::ref<std::string>& text) {
  try {
    std::printf("%s: %s\n", what, text.get().c_str());
  } catch (const dg::broken_promise&) {
    std::printf("%s: broken_promise\n", what);
  } catch (const std::runtime_error& error) {
    std::printf("%s: %s\n", what, error.what());
  }
}

}  // namespace

int main() {
  try {
    fetcher web;
    dg::thread_pool pool(2);
    std::printf("one page: %d\n", pool.submit(number_on, std::ref(web), "/answer").get());
    print("two pages", pool.submit(joined, std::vector{web.fetch("/hello"), web.fetch("/world")}));
    print("one of them fails", pool.submit(joined, std::vector{web.fetch("/hello"), web.fetch("/nowhere")}));

    const dg::ref<std::string> lost = web.fetch("/lost");
    const dg::ref<std::string> awaiting = pool.submit(joined, std::vector{web.fetch("/hello"), lost});
    web.close();
    print("no callback", lost);
    print("a task that awaits it", awaiting);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "callback_bridge: %s\n", error.what());
    return 1;
  }
}
