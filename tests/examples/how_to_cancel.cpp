// SPDX-License-Identifier: MIT
// How do I cancel a task?
//
//  - `ref.cancel()`, `stream.cancel()`, `dyngen::cancel(handle)`: ask its task to stop. Returns false if it had ended.
//  - Dropping a stream cancels its task; dropping a ref does not.
//  - `stop_on(token)`: a std::stop_token of yours cancels all tasks that have it.
//  - `pool.shutdown(shutdown_mode::cancel)`: cancels all tasks of a pool.
//
// A coroutine stops at its next co_yield or co_await: its local variables are destroyed there, and no further code of
// it runs. A plain function is not interrupted: it polls `this_task::stop_requested()`. Refs without a value hold
// `cancelled_error`; values that were yielded before stay.

#include <dyngen/dyngen.hpp>

#include <atomic>
#include <cstdio>
#include <stop_token>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

dg::generator<int> count() {
  for (int i = 0;; ++i) co_yield i;
}

dg::task<int> wait_for(dg::ref<int> what) { co_return co_await what; }

int poll(std::atomic<bool>& started) {
  started = true;
  int rounds = 0;
  while (!dg::this_task::stop_requested()) ++rounds;
  return rounds > 0 ? 1 : 0;
}

template <class T>
const char* outcome(const dg::ref<T>& r) {
  try {
    r.get();
    return "a value";
  } catch (const dg::cancelled_error&) {
    return "cancelled";
  }
}

}  // namespace

int main() {
  dg::thread_pool pool(2);

  // A generator, after three values.
  dg::ref_stream<int> numbers = pool.submit(count);
  for (int i = 0; i < 3; ++i) std::printf("%d ", numbers.next_value().value());
  const dg::ref<void> end = numbers.completion();
  numbers = {};  // dropped
  std::printf("then dropped: %s\n", outcome(end));

  // A coroutine that waits for a promise that is never fulfilled.
  dg::promise<int> never;
  const dg::ref<int> waiting = pool.submit(wait_for, dg::unresolved(never.get_ref()));
  std::printf("asked: %s, ", waiting.cancel() ? "true" : "false");
  std::printf("%s\n", outcome(waiting));
  std::printf("asked again: %s\n", waiting.cancel() ? "true" : "false");

  // A plain function polls for the request, and may still return a value.
  std::atomic<bool> started{false};
  const dg::ref<int> polling = pool.submit(poll, std::ref(started));
  while (!started) {
  }
  dg::cancel(polling);
  std::printf("a function that polls: %s\n", outcome(polling));

  // Many at once, by your own token.
  std::stop_source stop;
  std::vector<dg::ref<int>> many;
  for (int i = 0; i < 100; ++i)
    many.push_back(pool.options(dg::stop_on(stop.get_token())).submit(wait_for, dg::unresolved(never.get_ref())));
  stop.request_stop();
  int cancelled = 0;
  for (const dg::ref<int>& each : many) cancelled += each.error() != nullptr;
  std::printf("by a token: %d cancelled\n", cancelled);
}
