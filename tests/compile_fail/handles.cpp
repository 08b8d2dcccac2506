// SPDX-License-Identifier: MIT
// What cannot be done with refs, streams and executors.
// expect 1: losing a ref_stream cancels its task; keep it, or call detach() to let the task run
// expect 2: losing a ref_stream cancels its task; keep it, or call detach() to let the task run
// expect 3: deleted
// expect 4: wait_any takes refs and streams, or one range of them
// expect 5: wait_any takes refs and streams, or one range of them
// expect 6: wait_any takes refs and streams, or one range of them
// expect 7: on(e): e is not an executor; it needs a member void execute(dyngen::work) noexcept
// expect 8: on(e): e is not an executor; it needs a member void execute(dyngen::work) noexcept
// expect 9: on(e) takes an executor that outlives its tasks; give it a name, and write on(name)
// expect 10: on(e) takes an executor that outlives its tasks; give it a name, and write on(name)
// expect 11: after takes refs; to wait for a whole stream, give its completion()
// expect 12: on(e): e is not an executor; it needs a member void execute(dyngen::work) noexcept
// expect 13: deleted
// expect 14: wait takes refs; for streams write wait_any(streams)
#include <dyngen/dyngen.hpp>

#include <chrono>
#include <utility>
#include <vector>

namespace dg = dyngen;

dg::generator<int> count() {
  co_yield 1;
}

struct runs_at_once {
  void execute(dg::work w) noexcept { w(); }
};
struct may_throw {
  void execute(dg::work w) { w(); }
};

void caller(dg::thread_pool& pool) {
#if CASE == 1
  pool.submit(count);
#elif CASE == 2
  pool.options(dg::backpressure{1}).submit(count);
#else
  pool.submit(count).detach();
#endif

  dg::ref_stream<int> stream = pool.submit(count);
#if CASE == 3
  dg::ref_stream<int> other = stream;
#elif CASE == 13
  dg::ref_stream<int> other;
  other = stream;
#else
  dg::ref_stream<int> other = std::move(stream);
#endif

  dg::ref<int> one = dg::put(1);
  std::vector<int> numbers{1, 2};
  std::vector<dg::ref<int>> refs{one, one};
#if CASE == 4
  (void)dg::wait_any(7);
#elif CASE == 5
  (void)dg::wait_any(numbers);
#elif CASE == 6
  (void)dg::wait_any_for(std::chrono::seconds(1), one, 7);
#else
  (void)dg::wait_any(one, other);
  (void)dg::wait_any(refs);
#endif

  std::vector<dg::ref_stream<int>> streams;
#if CASE == 14
  dg::wait(streams, 1);
#else
  (void)dg::wait_any(streams);
#endif

  runs_at_once executor;
  may_throw wrong_one;
  int no_executor = 7;
#if CASE == 7
  auto on_it = dg::on(no_executor).submit(count);
#elif CASE == 8
  auto on_it = dg::on(wrong_one).submit(count);
#elif CASE == 9
  auto on_it = dg::on(runs_at_once()).submit(count);
#elif CASE == 10
  auto on_it = dg::on(dg::inline_executor()).submit(count);
#elif CASE == 12
  const runs_at_once constant;
  auto on_it = dg::on(constant).submit(count);
#else
  auto on_it = dg::on(executor).submit(count);
#endif

#if CASE == 11
  auto after = pool.options(dg::after(one, other)).submit([] { return 1; });
#else
  auto after = pool.options(dg::after(one, other.completion())).submit([] { return 1; });
#endif
  (void)executor, (void)no_executor, (void)wrong_one;
}
