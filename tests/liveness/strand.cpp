// SPDX-License-Identifier: MIT
// The bodies of strands: a plain function, a coroutine, a generator.

#include "runner.hpp"

namespace liveness {

namespace {

struct attempt_failed {};

dg::generator<item> endless(bool heavy) {
  for (index i = 0;; ++i) co_yield dg::emplace(i, heavy);
}

}  // namespace

int run_function(machine* m, index x, item_stream carried) {
  runner here(*m, x, std::move(carried));
  const auto& all = m->plan().strands[x].operations;
  for (index i = 0; i < all.size(); ++i) {
    m->is_at(x, i);
    here.do_seen(all[i]);
    m->did(all[i].event);
  }
  return 1;
}

void run_thread(machine& m, index x) { run_function(&m, x, {}); }

dg::task<int> run_coroutine(machine* m, index x, item_stream carried) {
  runner here(*m, x, std::move(carried));
  const auto& all = m->plan().strands[x].operations;
  for (index i = 0; i < all.size(); ++i) {
    m->is_at(x, i);
    const operation& o = all[i];
    if (o.what == deed::take && o.how == way::async_value && !m->plan().streams[o.target].fixed) {
      for (index n = o.count; n != 0; --n) {
        std::optional<item> v = co_await m->stream(o.target).stream.async_value();
        v ? here.take_one(o.target, *v) : here.take_end(o.target);
      }
    } else if (!here.try_do(o)) {
      dg::task<void> step = here.do_async(o);
      co_await std::move(step);
    }
    m->did(o.event);
  }
  co_return 1;
}

dg::generator<item> run_generator(machine* m, index x, item_stream carried) {
  const strand_plan& s = m->plan().strands[x];
  const stream_plan& plan = m->plan().streams[s.stream];
  index made = 0;
  {
    runner here(*m, x, std::move(carried));
    const bool fails = s.throws_at != none && dg::this_task::attempt() == 1;
    for (index i = 0; i < s.operations.size(); ++i) {
      if (fails && i == s.throws_at) throw attempt_failed();
      const operation& o = s.operations[i];
      if (o.what == deed::yield) {
        for (index n = o.count; n != 0; --n) {
          m->is_at(x, i);
          compute(plan.cost);
          if (n == 1) m->did(o.event);
          co_yield dg::emplace(made++, plan.heavy);
        }
        continue;
      }
      if (m->is_done(o.event)) continue;  // by an earlier attempt
      m->is_at(x, i);
      if (o.what == deed::take && o.how == way::async_value && !m->plan().streams[o.target].fixed) {
        for (index n = o.count; n != 0; --n) {
          std::optional<item> v = co_await m->stream(o.target).stream.async_value();
          v ? here.take_one(o.target, *v) : here.take_end(o.target);
        }
      } else if (!here.try_do(o)) {
        dg::task<void> step = here.do_async(o);
        co_await std::move(step);
      }
      m->did(o.event);
    }
    m->is_at(x, static_cast<index>(s.operations.size()));
  }
  switch (s.then) {
    case tail::end: break;
    case tail::endless:
      for (;;) co_yield dg::emplace(made++, plan.heavy);
    case tail::never: {
      dg::ref<int> never = m->never();
      co_await never;
      break;
    }
    case tail::relay: {
      item_stream inner = m->pool_of(x).options(dg::backpressure{3}).submit(endless, plan.heavy);
      for (;;) {
        std::optional<item> v = co_await inner.async_value();
        if (!v) break;
        co_yield dg::emplace(made++, plan.heavy);
      }
    }
  }
}

dg::generator<item> run_generator_again(machine* m, index x) {
  dg::generator<item> strand = run_generator(m, x, {});
  co_yield dg::elements_of(std::move(strand));
}

}  // namespace liveness
