// SPDX-License-Identifier: MIT
// The memory overhead beyond the values themselves: per value, per pending task, per suspended stream, per actor; and
// the peak of a hundred large values taken and dropped one by one (--megabytes sets the size of each in MiB).
//
// Every measurement runs in a process of its own, so that none reuses memory that an earlier one left in a cache.
// "Counted" is the memory from operator new that was not yet deleted, in the sizes that the allocator really spends
// (malloc_usable_size and its header); "resident" is the memory that the system reports, however it was allocated. The
// memory of the caller (vectors of refs and futures) is reserved before and not counted. Linux and glibc only.
//
//   g++ -std=c++20 -O3 -pthread -Iinclude benchmarks/memory.cpp -o memory && ./memory

#include "process.hpp"

#include <dyngen/dyngen.hpp>

#include <algorithm>
#include <atomic>
#include <deque>
#include <future>
#include <latch>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <malloc.h>
#include <sys/resource.h>

namespace dg = dyngen;

// ---- counting -------------------------------------------------------------------------------------------------------

namespace {

std::atomic<std::int64_t> live_bytes = 0;
std::atomic<std::int64_t> peak_bytes = 0;

std::int64_t spent_on(void* memory) {
  return static_cast<std::int64_t>(malloc_usable_size(memory) + sizeof(std::size_t));
}

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  const std::int64_t size = spent_on(memory);
  const std::int64_t now = live_bytes.fetch_add(size) + size;
  for (std::int64_t peak = peak_bytes; peak < now && !peak_bytes.compare_exchange_weak(peak, now);) {
  }
  return memory;
}

void release(void* memory) {
  if (memory != nullptr) live_bytes -= spent_on(memory);
  std::free(memory);
}

}  // namespace

// The other forms of new and delete end in these.
void* operator new(std::size_t size) { return counted(std::malloc(size)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(step, (size + step - 1) / step * step));
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

namespace {

double counted_bytes() { return static_cast<double>(live_bytes.load()); }

double peak_counted_bytes() { return static_cast<double>(peak_bytes.load()); }

double peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

std::uint64_t sum_below(std::uint64_t n) { return n * (n - 1) / 2; }

std::uint64_t unsigned_of(int value) { return static_cast<std::uint64_t>(value); }

std::uint64_t sum_of(const std::vector<dg::ref<int>>& refs) {
  std::uint64_t sum = 0;
  for (const dg::ref<int>& value : refs) sum += unsigned_of(value.get());
  return sum;
}

// ---- a value of a finished task -------------------------------------------------------------------------------------

using meter = double (*)();

dg::generator<int> integers(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}

// What was added since `before`, less the payload of n ints and `handles` of the caller's.
bench::outcome beyond_payload(std::uint64_t sum, double added, std::uint64_t n, std::size_t handles) {
  return {sum, std::max(0.0, added - static_cast<double>(n * sizeof(int)) - static_cast<double>(handles))};
}

bench::outcome ready_futures(std::uint64_t n, meter used) {
  std::vector<std::future<int>> futures;
  futures.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i) futures.emplace_back();  // the caller's memory is resident from here on
  futures.clear();
  const double before = used();
  for (std::uint64_t i = 0; i < n; ++i) {
    std::promise<int> promise;
    promise.set_value(static_cast<int>(i));
    futures.push_back(promise.get_future());
  }
  const double added = used() - before;
  std::uint64_t sum = 0;
  for (auto& future : futures) sum += unsigned_of(future.get());
  return beyond_payload(sum, added, n, 0);
}

bench::outcome values_of_a_list(std::uint64_t n, meter used) {
  dg::thread_pool pool(1);
  pool.submit([] {}).get();
  const double before = used();
  const dg::ref<dg::ref_list<int>> list = pool.options(dg::dynamic).submit(integers, static_cast<int>(n));
  list.completion().wait();
  std::uint64_t sum = 0;
  for (const int& value : list.get().values()) sum += unsigned_of(value);
  return beyond_payload(sum, used() - before, n, 0);
}

bench::outcome values_of_num_returns(std::uint64_t n, meter used) {
  dg::thread_pool pool(1);
  pool.submit([] {}).get();
  const double before = used();
  const std::vector<dg::ref<int>> refs = pool.options(dg::num_returns{n}).submit(integers, static_cast<int>(n));
  refs.back().completion().wait();
  std::uint64_t sum = 0;
  for (const dg::ref<int>& value : refs) sum += unsigned_of(value.get());
  return beyond_payload(sum, used() - before, n, refs.capacity() * sizeof(dg::ref<int>));
}

bench::outcome put_values(std::uint64_t n, meter used) {
  std::vector<dg::ref<int>> refs;
  refs.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i) refs.emplace_back();  // the caller's memory is resident from here on
  refs.clear();
  const double before = used();
  for (std::uint64_t i = 0; i < n; ++i) refs.push_back(dg::put(static_cast<int>(i)));
  const double added = used() - before;
  return beyond_payload(sum_of(refs), added, n, 0);
}

void add_values(bench::suite& suite, const std::string& how, meter used) {
  const std::string baseline = "std::future, ready";
  const std::string title = "one of many ints, beyond its payload, " + how;
  auto& group = suite.add({title, "bytes", baseline, suite.pick(1'000'000, 200'000), sum_below});
  group.add(baseline, bench::in_fresh_process([used](std::uint64_t n) { return ready_futures(n, used); }));
  const auto list = [used](std::uint64_t n) { return values_of_a_list(n, used); };
  const auto fixed = [used](std::uint64_t n) { return values_of_num_returns(n, used); };
  const auto put = [used](std::uint64_t n) { return put_values(n, used); };
  group.add("dyngen: put", bench::in_fresh_process(put));
  group.add("dyngen: dynamic, a list", bench::in_fresh_process(list), {.goals = {bench::must_not_exceed(16)}});
  group.add("dyngen: num_returns{n}", bench::in_fresh_process(fixed), {.goals = {bench::must_not_exceed(16)}});
}

// ---- a pending task -------------------------------------------------------------------------------------------------

bench::outcome pending_promises(std::uint64_t n) {
  std::vector<std::promise<int>> promises;
  std::vector<std::future<int>> futures;
  promises.reserve(n);
  futures.reserve(n);
  const double before = counted_bytes();
  for (std::uint64_t i = 0; i < n; ++i) futures.push_back(promises.emplace_back().get_future());
  const double added = counted_bytes() - before;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    promises[i].set_value(static_cast<int>(i));
    sum += unsigned_of(futures[i].get());
  }
  return {sum, added};
}

bench::outcome packaged_tasks(std::uint64_t n) {
  std::vector<std::future<int>> futures;
  futures.reserve(n);
  const double before = counted_bytes();
  std::deque<std::packaged_task<int()>> queue;
  for (int i = 0; i < static_cast<int>(n); ++i) futures.push_back(queue.emplace_back([i] { return i; }).get_future());
  const double added = counted_bytes() - before;
  std::uint64_t sum = 0;
  for (auto& task : queue) task();
  for (auto& future : futures) sum += unsigned_of(future.get());
  return {sum, added};
}

// The only worker is blocked, so that all submitted tasks stay queued.
bench::outcome queued_tasks(std::uint64_t n) {
  std::vector<dg::ref<int>> refs;
  refs.reserve(n);
  std::latch started(1);
  std::latch gate(1);
  dg::thread_pool pool(1);
  const dg::ref<void> blocker = pool.submit([&] {
    started.count_down();
    gate.wait();
  });
  started.wait();
  const double before = counted_bytes();
  for (int i = 0; i < static_cast<int>(n); ++i) refs.push_back(pool.submit([i] { return i; }));
  const double added = counted_bytes() - before;
  gate.count_down();
  return {sum_of(refs), added};
}

bench::outcome waiting_tasks(std::uint64_t n) {
  std::vector<dg::ref<int>> refs;
  refs.reserve(n);
  dg::thread_pool pool(1);
  pool.submit([] {}).get();
  dg::manual_executor later;
  const dg::ref<int> dependency = dg::on(later).submit([] { return 0; });
  const double before = counted_bytes();
  for (int i = 0; i < static_cast<int>(n); ++i) {
    refs.push_back(pool.submit([i](const int& other) { return i + other; }, dependency));
  }
  const double added = counted_bytes() - before;
  later.run_all();
  return {sum_of(refs), added};
}

dg::task<int> add_when_there(dg::ref<int> other, int i) { co_return co_await other + i; }

// All of them have run up to their co_await.
bench::outcome suspended_tasks(std::uint64_t n) {
  std::vector<dg::ref<int>> refs;
  refs.reserve(n);
  dg::manual_executor here;
  dg::promise<int> later;
  const double before = counted_bytes();
  for (int i = 0; i < static_cast<int>(n); ++i) refs.push_back(dg::on(here).submit(add_when_there, later.get_ref(), i));
  here.run_all();
  const double added = counted_bytes() - before;
  later.set_value(0);
  here.run_all();
  return {sum_of(refs), added};
}

// Each actor was constructed, and has answered one call.
class answering {
 public:
  explicit answering(int value) : value_(value) {}
  int answer() const { return value_; }

 private:
  int value_;
};

bench::outcome idle_actors(std::uint64_t n) {
  std::vector<dg::actor<answering>> actors;
  actors.reserve(n);
  dg::thread_pool pool(1);
  pool.submit([] {}).get();
  const double before = counted_bytes();
  std::uint64_t sum = 0;
  for (int i = 0; i < static_cast<int>(n); ++i) {
    actors.push_back(pool.make_actor<answering>(i));
    sum += unsigned_of(actors.back().submit(&answering::answer).get());
  }
  return {sum, counted_bytes() - before};
}

dg::generator<int> ever(int value) {
  while (true) co_yield value;
}

bench::outcome suspended_streams(std::uint64_t n) {
  std::vector<dg::ref_stream<int>> streams;
  streams.reserve(n);
  dg::thread_pool pool(1);
  pool.submit([] {}).get();
  const double before = counted_bytes();
  std::uint64_t sum = 0;
  for (int i = 0; i < static_cast<int>(n); ++i) {
    streams.push_back(pool.options(dg::backpressure{1}).submit(ever, i));
    sum += unsigned_of(streams.back().next_value().value());
  }
  return {sum, counted_bytes() - before};
}

void add_tasks(bench::suite& suite) {
  const std::string baseline = "std::packaged_task in a std::deque, std::future";
  auto& group = suite.add({"one pending task, counted", "bytes", baseline, suite.pick(1'000'000, 100'000), sum_below});
  group.add(baseline, bench::in_fresh_process(packaged_tasks));
  group.add("std::promise and std::future, no task", bench::in_fresh_process(pending_promises));
  group.add("dyngen: task, queued", bench::in_fresh_process(queued_tasks), {.goals = {bench::must_not_exceed(160)}});
  group.add("dyngen: task, waiting for a ref", bench::in_fresh_process(waiting_tasks));
  group.add("dyngen: task<R>, suspended in co_await", bench::in_fresh_process(suspended_tasks));
  group.add("dyngen: stream, suspended, backpressure{1}", bench::in_fresh_process(suspended_streams),
            {.divisor = 10, .goals = {bench::must_not_exceed(1024)}});
  group.add("dyngen: actor, idle", bench::in_fresh_process(idle_actors), {.divisor = 10});
}

// ---- a hundred large values, one at a time --------------------------------------------------------------------------

using large = std::vector<char>;

constexpr std::uint64_t large_values = 100;

dg::generator<large> large_one_by_one(std::size_t size) {
  for (std::uint64_t i = 0; i < large_values; ++i) {
    large value(size, static_cast<char>(i));
    co_yield std::move(value);
  }
}

std::vector<large> large_all_at_once(std::size_t size) {
  std::vector<large> values;
  for (std::uint64_t i = 0; i < large_values; ++i) values.emplace_back(size, static_cast<char>(i));
  return values;
}

std::uint64_t read_large(const large& value) { return unsigned_of(value.front()) + unsigned_of(value.back()); }

std::uint64_t expected_of_large(std::uint64_t) { return 2 * sum_below(large_values); }

// Large blocks are returned to the system at once: memory that the allocator caches is not measured here.
void return_large_blocks() { mallopt(M_MMAP_THRESHOLD, 128 * 1024); }

bench::outcome peak_of_vector(std::size_t size, meter used, meter peak) {
  return_large_blocks();
  const double before = used();
  std::uint64_t sum = 0;
  for (const large& value : large_all_at_once(size)) sum += read_large(value);
  return {sum, (peak() - before) / static_cast<double>(size)};
}

template <class Take>
bench::outcome peak_of_stream(std::size_t size, meter used, meter peak, Take take) {
  return_large_blocks();
  dg::thread_pool pool(2);
  const auto run = [&](std::size_t each) {
    std::uint64_t sum = 0;
    auto stream = pool.options(dg::backpressure{1}).submit(large_one_by_one, each);
    take(stream, sum);
    return sum;
  };
  run(1);  // stacks and code are resident from here on
  const double before = used();
  const std::uint64_t sum = run(size);
  return {sum, (peak() - before) / static_cast<double>(size)};
}

// `inexact`: by how many bytes the meter may be wrong; the system counts resident memory in batches per processor.
void add_peak(bench::suite& suite, const std::string& how, meter used, meter peak, double inexact) {
  const std::uint64_t asked_for = suite.number("--megabytes");
  const std::size_t size = (asked_for != 0 ? asked_for : suite.pick(4, 1)) * 1024 * 1024;
  const bench::how goal{.goals = {bench::must_not_exceed(2.1 + inexact / static_cast<double>(size))}};
  const std::string baseline = "a returned vector of them";
  const std::string title = "peak of 100 values of " + std::to_string(size >> 20) + " MiB, in values, " + how;
  auto& group = suite.add({title, "values", baseline, 1, expected_of_large});
  constexpr auto take_refs = [](dg::ref_stream<large>& stream, std::uint64_t& sum) {
    for (dg::ref<large> value : stream) sum += read_large(value.get());
  };
  constexpr auto take_values = [](dg::ref_stream<large>& stream, std::uint64_t& sum) {
    for (large&& value : stream.values()) sum += read_large(value);
  };
  group.add(baseline, bench::in_fresh_process([=](std::uint64_t) { return peak_of_vector(size, used, peak); }));
  group.add("dyngen: stream, refs, backpressure{1}",
            bench::in_fresh_process([=](std::uint64_t) { return peak_of_stream(size, used, peak, take_refs); }), goal);
  group.add("dyngen: stream, values(), backpressure{1}",
            bench::in_fresh_process([=](std::uint64_t) { return peak_of_stream(size, used, peak, take_values); }),
            goal);
}

static_assert(sizeof(dg::ref<int>) <= 16 && sizeof(dg::ref<std::string>) <= 16 && sizeof(dg::ref<void>) <= 16);

}  // namespace

int main(int argc, char** argv) {
  bench::suite suite("memory", argc, argv, {{"--megabytes", 0}});
  add_values(suite, "counted", counted_bytes);
  add_values(suite, "resident", bench::resident_bytes);
  add_tasks(suite);
  add_peak(suite, "counted", counted_bytes, peak_counted_bytes, 0);
  add_peak(suite, "resident", bench::resident_bytes, peak_resident_bytes, 400'000);
  return suite.run();
}
