// SPDX-License-Identifier: MIT
// How do I use dyngen from a GUI's thread, which must never block?
//
// Make the event loop an executor: a class with `void execute(dyngen::work) noexcept` that posts the work to the loop.
// A coroutine submitted to it by `on(loop)` runs on the GUI's thread only, and waits there without blocking it: each
// `co_await` returns control to the loop, which resumes the coroutine when the awaited ref is ready. The heavy parts
// run on a pool. Here the loop is a queue; with a toolkit, `execute` posts an event that holds the work.

#include <dyngen/dyngen.hpp>

#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace dg = dyngen;

namespace {

class event_loop {
 public:
  /// From any thread.
  void execute(dg::work event) noexcept {
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
    }
    more_.notify_one();
  }

  /// The GUI's thread: handles events until `over`.
  void run(const bool& over) {
    while (!over) {
      std::unique_lock lock(mutex_);
      more_.wait(lock, [&] { return !events_.empty(); });
      dg::work next = std::move(events_.front());
      events_.pop_front();
      lock.unlock();
      next();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<dg::work> events_;
};

struct window {
  std::thread::id thread = std::this_thread::get_id();
  std::string text;
  bool closed = false;

  void show(std::string what) {
    text = std::move(what);
    std::printf("%s%s\n", text.c_str(), std::this_thread::get_id() == thread ? "" : " (from the wrong thread)");
  }
};

dg::generator<int> render(int steps) {
  for (int i = 1; i <= steps; ++i) co_yield 100 * i / steps;  // heavy work, on the pool
}

/// The handler of a click on a button.
dg::task<void> on_click(dg::thread_pool& pool, window& w) {
  w.show("rendering");
  dg::ref_stream<int> progress = pool.submit(render, 4);
  while (auto percent = co_await progress.async_value()) w.show(std::to_string(*percent) + " %");
  w.show("done");
  w.closed = true;
}

}  // namespace

int main() {
  event_loop gui;
  window w;
  dg::thread_pool pool(2);  // declared after the loop, so that it ends first
  dg::on(gui).submit(on_click, std::ref(pool), std::ref(w));
  gui.run(w.closed);
}
