// SPDX-License-Identifier: MIT
// The threads that serve a pool beside its workers: how the monitor sleeps and is woken by a ring [D1], how it takes
// streams off the list of those that are kept for their readers [K1], and how tasks that only have to end reach the
// spare thread. No ring is lost,
// no stream stays kept unmonitored, and each task ends once, on whichever thread comes first.

#include "executors.hpp"

#include <dyngen/detail/pool/doorbell.hpp>
#include <dyngen/detail/pool/ending_tasks.hpp>

using namespace dyngen;

namespace {

/// Threads store a request and ring; the monitor serves it, sleeping with a time limit or without one, until it is
/// closed.
template <unsigned Ringers>
struct rung : rl::test_suite<rung<Ringers>, Ringers + 1> {
  model::fresh_start fresh;
  detail::doorbell bell;
  detail::atomic<unsigned> wanted{0};
  detail::atomic<unsigned> done{0};

  void thread(unsigned index) {
    if (index != 0) {
      wanted.fetch_add(1, detail::seq_cst);
      bell.ring();
      return;
    }
    unsigned seen = 0;
    while (seen != Ringers) {
      const unsigned now = wanted.load(detail::seq_cst);
      if (now != seen) {
        seen = now;
        continue;
      }
      MODEL_CHECK(bell.sleep([&]() noexcept { return wanted.load(detail::seq_cst) != seen; }));
    }
  }
};

/// close() ends every kind of sleep, before it begins or after.
struct closed : rl::test_suite<closed, 3> {
  model::fresh_start fresh;
  detail::doorbell bell;
  model::shared<int> written;

  void thread(unsigned index) {
    if (index == 0) {
      written.set(1);
      return bell.close();
    }
    if (index == 1) return bell.ring();
    while (bell.sleep([]() noexcept { return false; })) {
    }
    MODEL_CHECK(!bell.doze(detail::time_now() + std::chrono::seconds(1)));
    MODEL_CHECK(written.get() == 1);
  }
};

/// A queued task that was cancelled: a worker pops it, a waiter may run it, and the monitor hands it to the spare
/// thread. It ends once, and nothing leaks.
template <bool Helped>
struct ends_somewhere : model::tasks_model<ends_somewhere<Helped>, 1, 2> {
  detail::ending_tasks ending;
  std::optional<ref<int>> result;

  void begin() {
    this->executor.emplace(Helped);
    result.emplace(this->on_workers().submit([]() -> int {
      MODEL_CHECK(!"runs");
      return 0;
    }));
    result->cancel();
    ending.note(static_cast<detail::task_record&>(*detail::slot_group::of(*detail::access::slot_of(*result)).owner));
  }
  void other(unsigned number) {
    if (number == 1) {
      const ref<int> mine = *result;
      mine.wait();
      MODEL_CHECK(model::was_cancelled(mine));
      return;
    }
    detail::deadline now = detail::time_now();
    while (ending.sort(now) != detail::never) now += detail::ending_tasks::patience;
    while (ending.end_one_overdue()) {
    }
    (void)ending.forget();
  }
  void end() { result.reset(); }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<rung<1>>("rung");
  run.random<rung<2>>("rung by two");
  run.exhaustive<closed>("closed");
  run.random<closed>("closed");
  run.random<ends_somewhere<false>>("a cancelled task ends somewhere", 50);
  run.random<ends_somewhere<true>>("a cancelled task ends somewhere, or in a waiter", 50);
  return run.finish();
}
