// SPDX-License-Identifier: MIT

#include "interpreter.hpp"

#include "client.hpp"
#include "submitting.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <utility>

namespace fuzz {

// --- the parts of a program ---

void task_run::reset(const task_plan& p, running& r, index own) {
  plan = &p;
  all = &r;
  self = own;
  submitted = refused = false;
  calls = taken = given_from = disturbed_at = 0;
  operations = 0;
  in = {};
  held = {};
  after = {};
  marks.store(0);
  takes_begun.store(0);
  reports.store(0);
  gone.store(false);
  inside.store(0);
  stop = std::stop_source(std::nostopstate);
  log.clear();
}

lone_thread::lone_thread() : thread_([this] { loop(); }) {}
lone_thread::~lone_thread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  more_.notify_one();
  thread_.join();
}
void lone_thread::execute(dg::work w) noexcept {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(w));
  }
  more_.notify_one();
}
void lone_thread::loop() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    more_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    dg::work next = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    next();
    lock.lock();
  }
}

dg::executor_target running::target_of(place where) {
  switch (where) {
    case place::second_pool: return dg::on(*homes[1]);
    case place::lone: return dg::on(*lone);
    case place::in_line: return dg::on(*in_line);
    case place::manual: return dg::on(*manual);
    default: return dg::on(*homes[0]);
  }
}

void running::submit(index which) {
  task_run& t = tasks[which];
  const task_plan& p = *t.plan;
  if (p.where == place::actor) return submit_call(*this, t, std::get<dg::actor<box>>(slots[p.actor_slot].handle));
  const dg::executor_target to = target_of(p.where);
  if (p.given != input::nothing) return submit_given(*this, t, to);
  if (is_one(p.what) || is_tuple(p.what) || p.what == form::put) return submit_one(*this, t, to);
  if (p.of == kind::unique) return submit_unique(*this, t, to);
  if (p.of == kind::number) return submit_number(*this, t, to);
  submit_counted(*this, t, to);
}

// --- the clients' threads ---

struct interpreter::client_thread {
  client_thread(running& r, std::uint8_t number, const std::vector<bool>& left_out)
      : thread([this, &r, number, &left_out] { loop(r, number, left_out); }) {}
  client_thread(const client_thread&) = delete;
  client_thread& operator=(const client_thread&) = delete;
  ~client_thread() {
    set(state::stop);
    thread.join();
  }
  void start() { set(state::play); }
  void wait() {
    for (state s = now.load(); s != state::rest; s = now.load()) now.wait(s);
  }

 private:
  enum class state : int { rest, play, stop };
  void set(state s) {
    now.store(s);
    now.notify_all();
  }
  void loop(running& r, std::uint8_t number, const std::vector<bool>& left_out) {
    for (;;) {
      now.wait(state::rest);
      if (now.load() == state::stop) return;
      play(r, number, left_out);
      set(state::rest);
    }
  }
  std::atomic<state> now{state::rest};
  std::thread thread;
};

// --- shared by all programs ---

namespace {

/// The program that runs now, for the hook of the shared pools.
std::atomic<running*> in_progress{nullptr};

void note_report(const std::exception_ptr& e, std::string_view) {
  running* const r = in_progress.load();
  if (r == nullptr) return;
  const outcome what = outcome_of(e);
  if (what.what == tag::boom && (what.data & 0xff) < max_attempts && (what.data >> 8) < r->tasks.size())
    r->tasks[what.data >> 8].reports.fetch_add(1);
  else if (what.what != tag::arity && what.what != tag::order && what.what != tag::nondeterministic)
    r->strange_reports.fetch_or(std::uint64_t{1} << static_cast<unsigned>(what.what));
}

dg::thread_pool_options options_of(const pool_plan& p) {
  dg::thread_pool_options o;
  o.threads = static_cast<int>(p.threads);
  o.waiters_help = p.helps;
  o.max_spare_threads = p.spares;
  o.on_unhandled_error = note_report;
  return o;
}

constexpr std::uint32_t uses_of_a_pool = 20'000;

}  // namespace

interpreter::interpreter(unsigned threads) : run_(program()), shared_pools_(2 * threads) {
  run_.in_line = &in_line_;
  run_.lone = &lone_;
  for (unsigned i = 0; i < threads; ++i) run_.clients.push_back(std::make_unique<client_run>());
  for (unsigned i = 1; i < threads; ++i)
    client_threads_.push_back(std::make_unique<client_thread>(run_, static_cast<std::uint8_t>(i), left_out_));
}
interpreter::~interpreter() = default;

dg::thread_pool& interpreter::shared_pool(const pool_plan& p) {
  auto& pool = shared_pools_[2 * (p.threads - 1u) + p.helps];
  if (!pool) pool = std::make_unique<dg::thread_pool>(options_of(p));
  return *pool;
}

// --- one program ---

void interpreter::build(const program& p) {
  run_.plan = &p;
  run_.salt = static_cast<std::uint32_t>(totals_.programs % 0xfffe + 1);
  while (run_.tasks.size() < p.tasks.size()) run_.tasks.emplace_back();
  for (index t = 0; t < p.tasks.size(); ++t) run_.tasks[t].reset(p.tasks[t], run_, t);
  while (run_.slots.size() < p.slots) run_.slots.emplace_back();
  for (auto& s : run_.slots) s.turn.store(0);
  for (auto& a : run_.clients) {
    a->log.clear();
    a->at.store(0);
  }
  for (std::size_t i = p.clients; i < run_.clients.size(); ++i) run_.clients[i]->at.store(0xffffffff);
  run_.budgets.clear();
  for (const std::uint32_t limit : p.budgets) run_.budgets.emplace_back(limit);
  run_.actor_calls.assign(p.actors.size(), {});
  run_.faults.clear();
  run_.strange_reports.store(0);
  run_.pools = {};
  run_.pool_ends = {};
  if (++pool_uses_ % uses_of_a_pool == 0)
    for (auto& pool : shared_pools_) pool = nullptr;
  for (unsigned i = 0; i < p.pool_count; ++i) {
    if (p.pools[i].own) run_.own_pools[i] = std::make_unique<dg::thread_pool>(options_of(p.pools[i]));
    run_.pools[i] = p.pools[i].own ? run_.own_pools[i].get() : &shared_pool(p.pools[i]);
    run_.homes[i] = run_.pools[i];
  }
  if (p.by_hand) manual_ = std::make_unique<dg::manual_executor>();
  run_.manual = manual_.get();
  in_progress.store(&run_);
}

void interpreter::on_all_clients(unsigned clients) {
  for (unsigned i = 1; i < clients; ++i) client_threads_[i - 1]->start();
  play(run_, 0, left_out_);
  for (unsigned i = 1; i < clients; ++i) client_threads_[i - 1]->wait();
}

/// Drops all handles, beginning with some slot, and ends the program's own executors.
void interpreter::tear_down(const program& p) {
  const auto end_of_pools = [&](std::uint32_t at) {
    for (unsigned i = 0; i < p.pool_count; ++i) {
      if (run_.own_pools[i]) run_.pool_ends[i].happens(pool_end::by::destructor, at);
      run_.own_pools[i] = nullptr;
    }
  };
  const auto last = static_cast<std::uint32_t>(p.ops.size());
  if (p.pools_first) {
    end_of_pools(last);
    manual_ = nullptr;
  }
  const std::uint32_t start = p.slots == 0 ? 0 : static_cast<std::uint32_t>(choice_source::mixed(p.seed) % p.slots);
  for (std::uint32_t k = 0; k < p.slots; ++k) {
    slot_run& s = run_.slots[(start + k) % p.slots];
    std::visit(
        [&](auto& h) {
          if constexpr (requires { h.detach(); }) {
            run_.tasks[s.task].disturb(stream_dropped, last);
            run_.tasks[s.task].no_room_needed();
          }
        },
        s.handle);
    s.handle = {};
  }
  manual_ = nullptr;
  end_of_pools(last);
  settle();
}

/// Waits until no object of the program is alive. The watchdog limits the time.
std::string interpreter::left_over() {
  using dg::detail::memory_counter;
  using dg::detail::memory_kind;
  const auto all = [] {
    long sum = ledger::live.load() + ledger::thrown.load();
    for (const memory_kind k : {memory_kind::record, memory_kind::frame, memory_kind::block, memory_kind::waiter})
      sum += memory_counter::live(k) < 0 ? -memory_counter::live(k) : memory_counter::live(k);
    return sum;
  };
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (all() != 0 || run_.frames.load() != 0 || run_.boxes.load() != 0) {
    if (std::chrono::steady_clock::now() > limit) break;
    std::this_thread::yield();
  }
  if (all() == 0 && run_.frames.load() == 0 && run_.boxes.load() == 0) return "";
  return "left over: " + std::to_string(ledger::live.load()) + " values, " + std::to_string(ledger::thrown.load()) +
         " exceptions, " + std::to_string(memory_counter::live(memory_kind::record)) + " records, " +
         std::to_string(memory_counter::live(memory_kind::frame)) + " frames, " +
         std::to_string(memory_counter::live(memory_kind::block)) + " blocks, " +
         std::to_string(memory_counter::live(memory_kind::waiter)) + " waiters, " + std::to_string(run_.frames.load()) +
         " runs of code, " + std::to_string(run_.boxes.load()) + " actors";
}

std::string interpreter::run(const program& p, const std::vector<std::uint32_t>& without) {
  build(p);
  left_out_.assign(p.ops.size(), false);
  for (const std::uint32_t i : without)
    if (i < left_out_.size()) left_out_[i] = true;
  current_.store(&p);
  on_all_clients(p.clients);
  tear_down(p);
  std::string wrong = left_over();
  current_.store(nullptr);
  in_progress.store(nullptr);
  ++totals_.programs;
  for (const auto& a : run_.clients) totals_.operations += std::exchange(a->operations, 0);
  for (std::size_t t = 0; t < p.tasks.size(); ++t) totals_.steps += run_.tasks[t].operations;
  if (ledger::mistreated.exchange(0) != 0) wrong += " values were used or destroyed when they were gone";
  for (const auto& b : run_.budgets)
    if (b.used() != 0) wrong += " a budget was not given back: " + std::to_string(b.used());
  if (!run_.faults.empty()) wrong += (wrong.empty() ? "" : "; ") + run_.faults.front();
  return wrong.empty() ? check(run_) : wrong;
}

interpreter::glimpse interpreter::look() {
  glimpse g{current_.load(), {}};
  if (g.plan == nullptr) return g;
  for (unsigned i = 0; i < g.plan->clients; ++i) g.at.push_back(run_.clients[i]->at.load());
  return g;
}

}  // namespace fuzz
