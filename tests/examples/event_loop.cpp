// SPDX-License-Identifier: MIT
// An executor of your own. Here it is an event loop, as in a user interface, a game or a server: one thread handles one
// event after the other, and owns the objects that only it may touch.
//
//  - `event_loop` is all that the library asks of an executor: a member `void execute(dyngen::work) noexcept`.
//  - The heavy work runs on a pool. Whatever the loop's tasks await, they resume on the loop's own thread, and occupy
//    it only for their own steps: in between it handles other events.
//  - When the loop closes, work that it has not run is destroyed: its tasks end with cancelled_error, so every
//    wait for one of them ends too.

#include <dyngen/dyngen.hpp>

#include <condition_variable>
#include <cstdio>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

class event_loop {
 public:
  /// Any thread may call it, also the loop's own.
  void execute(dg::work step) noexcept {
    try {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      steps_.push_back(std::move(step));
    } catch (const std::bad_alloc&) {
      return;  // `step` is destroyed without having run: its task fails, the program does not
    }
    more_.notify_one();
  }

  /// Runs one work after the other, until it is closed.
  void run() {
    std::unique_lock lock(mutex_);
    while (more_.wait(lock, [&] { return closed_ || !steps_.empty(); }), !closed_) {
      dg::work step = std::move(steps_.front());
      steps_.pop_front();
      lock.unlock();  // running or destroying a step may call execute()
      step();
      lock.lock();
    }
  }

  void close() {
    std::deque<dg::work> unwanted;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      unwanted.swap(steps_);
    }
    more_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<dg::work> steps_;
  bool closed_ = false;
};

static_assert(dg::executor<event_loop>);

// ---- A program with a window that only the loop's thread may touch ---------------------------------------------------

struct window {
  std::thread::id owner = std::this_thread::get_id();
  std::vector<std::string> lines;

  void show(const std::string& line) {
    if (std::this_thread::get_id() != owner) throw std::logic_error("the window was touched by another thread");
    lines.push_back(line);
  }
};

std::string load(int page) { return "page " + std::to_string(page); }  // long, and on a worker of the pool

dg::generator<int> progress(int percent) {
  for (int done = percent; done <= 100; done += percent) co_yield done;
}

/// A task of the loop: it awaits tasks of the pool, and shows their results.
dg::task<void> open_pages(window& shown, dg::thread_pool& pool, int first) {
  const std::string text = co_await pool.submit(load, first);
  shown.show(text + " is there");
  dg::ref_stream<int> percents = pool.submit(progress, 50);
  while (const auto percent = co_await percents.async_value())
    shown.show(text + " at " + std::to_string(*percent) + " %");
  const auto [left, right] = co_await dg::when_all(pool.submit(load, first + 1), pool.submit(load, first + 2));
  shown.show(left + " and " + right);
}

}  // namespace

int main() {
  try {
    dg::thread_pool pool(2);
    event_loop loop;
    window shown;  // this thread is the loop's
    const dg::executor_target on_loop = dg::on(loop);

    // Two at once: their steps alternate on the one thread, so nothing needs a lock.
    const dg::ref<void> one = on_loop.submit(open_pages, std::ref(shown), std::ref(pool), 1);
    const dg::ref<void> ten = on_loop.submit(open_pages, std::ref(shown), std::ref(pool), 10);
    const dg::ref<void> last = on_loop.options(dg::after(one, ten)).submit([&loop] { loop.close(); });
    loop.run();

    last.get();
    for (const std::string& line : shown.lines)
      if (line.find("page 1 ") == 0 || line.find("page 2 ") == 0) std::printf("%s\n", line.c_str());
    std::printf("%zu lines, all of them shown by the loop's own thread\n", shown.lines.size());

    const dg::ref<int> late = on_loop.submit([] { return 1; });
    try {
      late.get();
    } catch (const dg::cancelled_error&) {
      std::printf("what comes after the loop has closed is cancelled\n");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "event_loop: %s\n", error.what());
    return 1;
  }
}
