// SPDX-License-Identifier: MIT
// endurance [--minutes N | --seconds N]: keeps a mixed load going and watches memory. Streams are created, read and
// dropped, tasks depend on tasks, actors are created and dropped, tasks are cancelled and retried, whole pools are made
// and destroyed, all by several threads at once. Every few seconds all of them pause: then no object of the library may
// be alive but the shared pool, and the memory of the process must not grow any more after the warm-up.

#include "../support.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <cinttypes>
#include <cstdint>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using dg::detail::memory_counter;
using dg::detail::memory_kind;
using support::tracked;

// A sanitizer keeps freed memory, so the size of the process has no meaning.
constexpr bool keeps_freed_memory = !dg::detail::keeps_memory_by_default;

// --- the load ---

dg::generator<tracked> numbers(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}
dg::generator<tracked> fails_at_first(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
  if (dg::this_task::attempt() < 3) throw support::boom();
}
dg::generator<tracked> relayed(dg::ref_stream<tracked> from) {
  while (auto item = co_await from.async_next()) co_yield item->get().value + 1;
}
int sum(const tracked& a, const tracked& b) { return a.value + b.value; }
dg::task<int> awaits(dg::ref<int> a, dg::ref<int> b) {
  auto [x, y] = co_await dg::when_all(a, b);
  co_return x + y;
}
struct counter {
  tracked held;
  int add(int n) { return held.value += n; }
  dg::generator<tracked> count(int n) {
    for (int i = 0; i < n; ++i) co_yield i;
  }
};

void nobody_cares(std::exception_ptr, std::string_view) {}

class driver {
 public:
  driver(dg::thread_pool& pool, std::uint32_t seed) : shared_(pool), random_(seed) {}

  void round() {
    if (below(24) != 0) return act(shared_);
    dg::thread_pool own({.threads = 1 + below(3), .waiters_help = below(2) == 0, .on_unhandled_error = nobody_cares});
    for (int i = below(6); i >= 0; --i) act(own);
    if (below(4) == 0) own.shutdown(below(2) == 0 ? dg::shutdown_mode::drain : dg::shutdown_mode::cancel);
  }
  std::uint64_t wrong() const { return wrong_; }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  void expect(bool right) { wrong_ += right ? 0 : 1; }

  void act(dg::thread_pool& pool) {
    switch (below(9)) {
      case 0: return read_stream(pool);
      case 1: return drop_stream(pool);
      case 2: return fixed(pool);
      case 3: return list(pool);
      case 4: return graph(pool);
      case 5: return actor(pool);
      case 6: return cancel(pool);
      case 7: return retry(pool);
      default: return pipeline(pool);
    }
  }

  void read_stream(dg::thread_pool& pool) {
    const int n = below(300);
    int next = 0;
    for (tracked&& v : pool.options(dg::backpressure{1 + below(80)}).submit(numbers, n).values()) expect(v.value == next++);
    expect(next == n);
  }
  void drop_stream(dg::thread_pool& pool) {
    auto stream = pool.options(dg::backpressure{1 + below(40)}).submit(numbers, 1'000'000);
    std::vector<dg::ref<tracked>> kept;
    for (int i = below(60); i > 0; --i) {
      auto item = stream.next();
      expect(item.has_value());
      if (item && below(2) == 0) kept.push_back(std::move(*item));
    }
    if (below(3) == 0) stream.cancel();
    if (below(8) == 0) pool.submit(numbers, 200).detach();
  }
  void fixed(dg::thread_pool& pool) {
    const int n = 1 + below(100);
    auto refs = pool.options(dg::num_returns{n}).submit(numbers, n);
    const int i = below(n);
    expect(std::move(refs[static_cast<std::size_t>(i)]).get().value == i);
    if (below(2) == 0) expect(refs.back().valid() ? refs.back().get().value == n - 1 : true);
  }
  void list(dg::thread_pool& pool) {
    const int n = below(200);
    const dg::ref_list<tracked> all = pool.options(dg::dynamic).submit(numbers, n).get();
    int next = 0;
    for (const tracked& v : all.values()) expect(v.value == next++);
    expect(next == n);
  }
  void graph(dg::thread_pool& pool) {
    auto values = pool.options(dg::num_returns<4>{}).submit(numbers, 4);
    auto a = pool.submit(sum, values[0], values[1]), b = pool.submit(sum, values[2], values[3]);
    expect(pool.submit(awaits, dg::unresolved(a), dg::unresolved(b)).get() == 6);
    dg::promise<int> never;
    static_cast<void>(pool.submit(awaits, dg::unresolved(never.get_ref()), dg::unresolved(a)));
  }
  void actor(dg::thread_pool& pool) {
    auto a = pool.make_actor<counter>();
    int total = 0;
    dg::ref<int> last;
    for (int i = below(20); i >= 0; --i) last = a.submit(&counter::add, i), total += i;
    auto stream = a.submit(&counter::count, 10);
    if (below(3) == 0) return a.kill();
    expect(last.get() == total);
    expect(stream.next().has_value());
  }
  void cancel(dg::thread_pool& pool) {
    std::vector<dg::ref<int>> refs;
    auto values = pool.options(dg::num_returns<2>{}).submit(numbers, 2);
    for (int i = below(10); i >= 0; --i) refs.push_back(pool.submit(sum, values[0], values[1]));
    for (const auto& r : refs)
      if (below(2) == 0) r.cancel();
    for (const auto& r : refs) expect(r.error() != nullptr || r.get() == 1);
  }
  void retry(dg::thread_pool& pool) {
    const int n = below(100);
    auto stream = pool.options(dg::max_retries{3}, dg::backpressure{1 + below(30)}).submit(fails_at_first, n);
    int next = 0;
    while (auto value = stream.next_value()) expect(value->value == next++);
    expect(next == n);
  }
  void pipeline(dg::thread_pool& pool) {
    const dg::budget shared(1 + below(20));
    const auto bounded = dg::options(dg::backpressure_by(shared, [](const tracked&) { return 1; }));
    auto stream = pool.options(bounded).submit(relayed, pool.options(bounded).submit(numbers, 50));
    int next = 1;
    for (int i = below(70); i > 0; --i) {
      auto value = stream.next_value();
      if (!value) break;
      expect(value->value == next++);
    }
  }

  dg::thread_pool& shared_;
  std::mt19937 random_;
  std::uint64_t wrong_ = 0;
};

// --- what is watched ---

long resident_kib() {
  std::ifstream in("/proc/self/statm");
  long total = 0, resident = 0;
  in >> total >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

struct alive {
  long records = memory_counter::live(memory_kind::record), frames = memory_counter::live(memory_kind::frame),
       blocks = memory_counter::live(memory_kind::block), waiters = memory_counter::live(memory_kind::waiter),
       values = tracked::live.load();
  bool nothing() const { return records == 0 && frames == 0 && blocks == 0 && waiters == 0 && values == 0; }
};

/// The memory of the process at each pause: its maximum must not grow after the first third of the time.
class history {
 public:
  void add(double share_of_time, long kib) { (share_of_time < 1.0 / 3 ? warm_ : later_) = std::max(share_of_time < 1.0 / 3 ? warm_ : later_, kib); }
  bool flat() const { return keeps_freed_memory || warm_ == 0 || later_ <= warm_ + warm_ / 10 + 8 * 1024; }

 private:
  long warm_ = 0, later_ = 0;
};

constexpr unsigned drivers = 4;

/// Lets all drivers do rounds for a while, and waits until they are done with them.
class fleet {
 public:
  explicit fleet(dg::thread_pool& pool) {
    std::random_device device;
    for (unsigned i = 0; i < drivers; ++i) all_.push_back(driver(pool, device()));
    for (driver& d : all_) threads_.emplace_back([this, &d] { loop(d); });
  }
  fleet(const fleet&) = delete;
  fleet& operator=(const fleet&) = delete;
  ~fleet() {
    over_ = true;
    line_.arrive_and_wait();
    for (auto& t : threads_) t.join();
  }
  void work_for(clock_type::duration time) {
    pause_ = false;
    line_.arrive_and_wait();
    std::this_thread::sleep_for(time);
    pause_ = true;
    line_.arrive_and_wait();
  }
  std::uint64_t rounds() const { return rounds_.load(); }
  std::uint64_t wrong() const {
    std::uint64_t n = 0;
    for (const driver& d : all_) n += d.wrong();
    return n;
  }

 private:
  void loop(driver& d) {
    for (;;) {
      line_.arrive_and_wait();
      if (over_) return;
      while (!pause_) d.round(), ++rounds_;
      line_.arrive_and_wait();
    }
  }
  std::barrier<> line_{drivers + 1};
  std::atomic<bool> pause_{true}, over_{false};
  std::atomic<std::uint64_t> rounds_{0};
  std::vector<driver> all_{};
  std::vector<std::thread> threads_;
};

bool run(double seconds) {
  const double pause_every = std::min(5.0, seconds / 4);
  dg::thread_pool_options options;
  options.threads = 3;
  options.on_unhandled_error = nobody_cares;
  dg::thread_pool pool(options);
  fleet all(pool);
  history memory;
  const auto begin = clock_type::now();
  for (double past = 0; past < seconds;) {
    support::watchdog dog("endurance: a round does not end", 300);
    all.work_for(std::chrono::duration_cast<clock_type::duration>(std::chrono::duration<double>(pause_every)));
    past = std::chrono::duration<double>(clock_type::now() - begin).count();
    const bool clean = support::eventually([] { return alive().nothing(); }, 60s);
    const alive now;
    const long kib = resident_kib();
    memory.add(past / seconds, kib);
    std::printf("%7.1f s: %" PRIu64 " rounds, %ld KiB resident; alive: %ld records, %ld frames, %ld blocks, %ld waiters, %ld values; "
                "%" PRIu64 " spare threads\n", past, all.rounds(), kib, now.records, now.frames, now.blocks, now.waiters, now.values,
                pool.stats().spare_threads);
    std::fflush(stdout);
    if (!clean) return std::printf("something is left over\n"), false;
    if (all.wrong() != 0) return std::printf("%" PRIu64 " results were wrong\n", all.wrong()), false;
  }
  if (!memory.flat()) std::printf("memory has grown after it had warmed up\n");
  return memory.flat();
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 10;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--minutes") seconds = 60 * std::atof(argv[i + 1]);
    if (option == "--seconds") seconds = std::atof(argv[i + 1]);
  }
  const bool passed = run(seconds);
  std::printf("cases: %d passed, %d failed\n", passed ? 1 : 0, passed ? 0 : 1);
  return passed ? 0 : 1;
}
