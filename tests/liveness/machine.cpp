// SPDX-License-Identifier: MIT
// A running program: its pools, the tasks that are submitted to them, and its end.

#include "machine.hpp"

#include <sstream>
#include <thread>

namespace liveness {

namespace {

int waits_for_ever(int) { return 0; }
dg::task<int> awaits_for_ever(dg::ref<int> never) { co_return co_await never; }
dg::generator<item> makes_no_item(dg::ref<int> never) {
  co_await never;
  co_yield dg::emplace(0u, false);
}

void ignore(std::exception_ptr, std::string_view) {}

}  // namespace

machine::machine(const program& p)
    : blocking(p),
      plan_(p),
      events_(p.events),
      at_(p.strands.size()),
      reserved_(p.strands.size()),
      budget_(p.budget),
      results_(p.strands.size()),
      places_(p.streams.size()) {
  offers_.resize(p.events);
  for (const strand_plan& s : p.strands)
    for (const operation& o : s.operations)
      if (o.what == deed::offer) offers_[o.event] = std::make_unique<offered>();
  for (index i = 0; i < p.pools; ++i) {
    dg::thread_pool_options options;
    options.threads = p.threads;
    options.waiters_help = p.helps;
    options.max_spare_threads = p.spares;
    options.on_unhandled_error = ignore;
    pools_.push_back(new dg::thread_pool(options));
  }
  for (const index pool : p.actors) actors_.push_back(pools_[pool]->make_actor<host>());
}

machine::~machine() {
  for (dg::thread_pool* pool : pools_) delete pool;
}

std::string machine::run() {
  for (index n = 0; n < plan_.sitters; ++n) sit(n);
  std::vector<std::thread> threads;
  for (index x = 0; x < plan_.strands.size(); ++x)
    if (plan_.strands[x].what == kind::thread) threads.emplace_back([this, x] { run_thread(*this, x); });
  for (std::thread& t : threads) t.join();
  for (event& e : events_) e.done.wait(0);
  close();
  std::lock_guard lock(wrong_mutex_);
  return wrong_;
}

/// A thread that waits, when the pool is destroyed, for a promise that is never fulfilled.
void machine::sit(index n) {
  dg::thread_pool& pool = *pools_[n % plan_.pools];
  dg::ref<int> one = (plan_.closing + n) % 2 == 0 ? pool.submit(waits_for_ever, never_ready_)
                                                  : pool.submit(awaits_for_ever, dg::unresolved(never_ready_));
  item_stream other = pool.submit(makes_no_item, dg::unresolved(never_ready_));
  const index how = (static_cast<index>(plan_.seed) + n) % 4;
  sitters_.emplace_back([this, how, r = std::move(one), s = std::move(other)]() mutable {
    try {
      if (how == 0) r.get();
      else if (how == 1) static_cast<void>(s.next_value());
      else if (how == 2) static_cast<void>(dg::wait_any(r, s));
      else static_cast<void>(s.next_for(std::chrono::hours(1)));
      if (how < 2) wrong("a wait for what never comes has returned");
    } catch (const dg::timeout_error&) {
      wrong("a wait for an hour has timed out");
    } catch (const dg::error&) {
    }
  });
}

void machine::close() {
  phase_ = "closing";
  if ((plan_.closing & 1) != 0) places_.clear();
  if ((plan_.closing & 5) == 5)
    for (dg::actor<host>& a : actors_) a.kill();
  if ((plan_.closing & 2) != 0) actors_.clear();
  for (index i = 0; i < plan_.pools; ++i) {
    const index n = (plan_.closing & 4) != 0 ? plan_.pools - 1 - i : i;
    if ((plan_.closing & 3) == 3) pools_[n]->shutdown(dg::shutdown_mode::cancel);
    ++progress_;
    delete pools_[n];
    pools_[n] = nullptr;
    ++progress_;
  }
  pools_.clear();
  phase_ = "waking those that wait for what never comes";
  for (std::thread& t : sitters_) t.join();
  phase_ = "ending";
}

void machine::did(index e) {
  event& v = events_[e];
  if (v.done.load() != 0) return;  // by an earlier attempt
  if (e % 2 == 0) v.promise.set_value(1);
  {
    std::lock_guard lock(mutex);
    v.done.store(1);
  }
  v.done.notify_all();
  v.latch.count_down();
  changed.notify_all();
  if (e % 2 != 0) v.promise.set_value(1);
  ++progress_;
}

void machine::wrong(const std::string& what) {
  std::lock_guard lock(wrong_mutex_);
  if (wrong_.empty()) wrong_ = what;
}

std::string machine::describe() {
  std::vector<index> at;
  std::vector<bool> done;
  for (const auto& a : at_) at.push_back(a.load());
  for (const event& e : events_) done.push_back(e.done.load() != 0);
  std::ostringstream out;
  out << phase_.load() << '\n' << text_of(plan_, &at, &done);
  for (index i = 0; i < plan_.pools; ++i) {
    if (pools_[i] == nullptr) continue;
    out << "dump of pool " << i << '\n';
    pools_[i]->dump(out);
    out << pools_[i]->stats() << '\n';
  }
  return out.str();
}

// --- submitting ---

item_stream machine::submit_generator(index x, item_stream carried) {
  const strand_plan& s = plan_.strands[x];
  const stream_plan& made = plan_.streams[s.stream];
  const std::string named = "strand " + std::to_string(x);
  if (s.what == kind::generator_method) {
    dg::actor<host>& a = actors_[s.actor];
    if (made.room == 0) return a.options(dg::name{named}).submit(&host::generator, this, x);
    return a.options(dg::name{named}, dg::backpressure{made.room}).submit(&host::generator, this, x);
  }
  dg::thread_pool& pool = pool_of(x);
  const auto each = [](const item&) { return 1; };
  if (s.throws_at != none) {
    const auto with = dg::options(dg::name{named}, dg::max_retries{2});
    const auto bounded = dg::options(with, dg::backpressure_by(budget_, each));
    if (made.budgeted) return pool.options(bounded).submit(run_generator_again, this, x);
    if (made.room == 0) return pool.options(with, dg::unbounded).submit(run_generator_again, this, x);
    return pool.options(with, dg::backpressure{made.room}).submit(run_generator_again, this, x);
  }
  const auto with = dg::options(dg::name{named});
  const auto bounded = dg::options(with, dg::backpressure_by(budget_, each));
  if (made.budgeted) return pool.options(bounded).submit(run_generator, this, x, std::move(carried));
  if (made.room == 0) return pool.options(with, dg::unbounded).submit(run_generator, this, x, std::move(carried));
  return pool.options(with, dg::backpressure{made.room}).submit(run_generator, this, x, std::move(carried));
}

std::vector<dg::ref<item>> machine::submit_fixed(index x, item_stream carried) {
  const strand_plan& s = plan_.strands[x];
  index count = 0;
  for (const operation& o : s.operations) count += o.what == deed::yield ? o.count : 0;
  const auto with = dg::options(dg::name{"strand " + std::to_string(x)}, dg::num_returns{count});
  if (s.throws_at == none) return pool_of(x).options(with).submit(run_generator, this, x, std::move(carried));
  return pool_of(x).options(with, dg::max_retries{2}).submit(run_generator_again, this, x);
}

void machine::submit(index x, item_stream carried) {
  const strand_plan& s = plan_.strands[x];
  if (is_generator(s.what)) {
    if (plan_.streams[s.stream].fixed) stream(s.stream).refs = submit_fixed(x, std::move(carried));
    else stream(s.stream).stream = submit_generator(x, std::move(carried));
    return;
  }
  const std::string named = "strand " + std::to_string(x);
  const bool function = is_function(s.what) && blocking.reserve();
  reserved_[x].store(function);
  if (is_method(s.what)) {
    auto with = actors_[s.actor].options(dg::name{named});
    results_[x] = function ? with.submit(&host::function, this, x) : with.submit(&host::coroutine, this, x);
  } else {
    auto with = pool_of(x).options(dg::name{named});
    results_[x] = function ? with.submit(run_function, this, x, std::move(carried))
                           : with.submit(run_coroutine, this, x, std::move(carried));
  }
}

int host::function(machine* m, index x) { return run_function(m, x, {}); }
dg::task<int> host::coroutine(machine* m, index x) {
  dg::task<int> strand = run_coroutine(m, x, {});
  co_return co_await std::move(strand);
}
dg::generator<item> host::generator(machine* m, index x) {
  dg::generator<item> strand = run_generator(m, x, {});
  co_yield dg::elements_of(std::move(strand));
}

}  // namespace liveness
