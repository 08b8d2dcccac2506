// SPDX-License-Identifier: MIT
// The latency of single operations on an idle machine: one result created, set and read on one thread; a task's round
// trip and a stream's first value while the pool sleeps; the wake-up of a sleeping reader; and the cost of an idle
// pool. Where operations are timed one by one, the result is the median, with the 99th percentile. Linux only.
//
//   g++ -std=c++20 -O3 -pthread -Iinclude benchmarks/latency.cpp -o latency && ./latency
//   with peers: add -DDYNGEN_PEERS and -ltbb

#include "baselines.hpp"
#include "process.hpp"

#include <dyngen/dyngen.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <future>
#include <iterator>
#include <mutex>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(DYNGEN_PEERS)
#  include <oneapi/tbb/task_group.h>
#endif

namespace dg = dyngen;

namespace {

using bench::fold;
using bench::number;
using bench::sum_of_work;
using bench::work;
using clock_type = std::chrono::steady_clock;

double nanoseconds_since(clock_type::time_point begin) {
  return std::chrono::duration<double, std::nano>(clock_type::now() - begin).count();
}

// Long enough for an idle pool to go to sleep, also if it searches for a while before.
void let_the_pool_sleep() { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }

// Times `operation(i)`, which returns a number, again and again while all other threads sleep.
template <class Operation>
bench::outcome each_from_rest(std::uint64_t n, Operation operation) {
  std::vector<double> times;
  std::uint64_t sum = 0;
  for (number i = 0; i < n; ++i) {
    let_the_pool_sleep();
    const auto begin = clock_type::now();
    const number result = operation(i);
    times.push_back(nanoseconds_since(begin));
    sum = fold(sum, result);
  }
  return {sum, times};
}

// ---- an idle pool ---------------------------------------------------------------------------------------------------

// Processor time of the whole process while this thread sleeps, per second slept.
bench::outcome while_asleep(number milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // activity that is still ending is not counted
  const auto used = [] {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
  };
  const double before = used();
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  return {milliseconds, 1000 * (used() - before)};
}

// Measured in processes of their own, so this group and the next come first: no pool may exist yet.
void add_idle(bench::suite& suite) {
  const std::string baseline = "no pool, only the thread that measures";
  const auto same = [](number n) { return n; };
  auto& group =
      suite.add({"processor time of an idle pool, per second", "us/s", baseline, suite.pick(1000, 100), same});
  group.add(baseline, bench::in_fresh_process(while_asleep));
  group.add("textbook pool of std::packaged_task", bench::in_fresh_process([](number n) {
              bench::textbook_pool pool;
              bench::all_then_read(1000, [&](number i) { return pool.submit([i] { return work(i); }); });
              return while_asleep(n);
            }));
  // A thousandth of one core: the thread that measures needs some of that itself.
  group.add("dyngen: thread_pool, after a thousand tasks", bench::in_fresh_process([](number n) {
              dg::thread_pool pool;
              bench::all_then_read(1000, [&](number i) { return pool.submit(work, i); });
              return while_asleep(n);
            }),
            {.goals = {bench::must_not_exceed(1000)}});
  group.add("dyngen: thread_pool, while a stream waits for its reader", bench::in_fresh_process([](number n) {
              dg::thread_pool pool;
              const auto ever = []() -> dg::generator<number> {
                for (number i = 0;; ++i) co_yield i;
              };
              dg::ref_stream<number> stream = pool.submit(ever);
              stream.next();
              return while_asleep(n);
            }),
            {.goals = {bench::must_not_exceed(1000)}});
}

// ---- one result, without a task -------------------------------------------------------------------------------------

bench::outcome through_promises(number n) {
  return bench::one_by_one(n, [](number i) {
    std::promise<number> promise;
    std::future<number> result = promise.get_future();
    promise.set_value(work(i));
    return result;
  });
}

bench::outcome through_own_promises(number n) {
  return bench::one_by_one(n, [](number i) {
    dg::promise<number> promise;
    dg::ref<number> result = promise.get_ref();
    promise.set_value(work(i));
    return result;
  });
}

bench::outcome through_put(number n) {
  return bench::one_by_one(n, [](number i) { return dg::put(work(i)); });
}

bench::outcome through_inline_tasks(number n) {
  dg::inline_executor here;
  return bench::one_by_one(n, [&](number i) { return dg::on(here).submit(work, i); });
}

// From now on this process dies at any system call but these: to read the clock, where that takes one, to write down
// the result, and to end.
void die_at_system_calls() {
  const auto number_of_call = static_cast<std::uint32_t>(offsetof(seccomp_data, nr));
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number_of_call),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
    throw std::runtime_error("this system cannot forbid system calls");
}

// One-time costs, above all memory, are paid before.
template <class Measurement>
auto without_system_calls(Measurement measurement) {
  return bench::in_fresh_process([measurement](number n) -> bench::outcome {
    measurement(1000);
    die_at_system_calls();
    const auto begin = clock_type::now();
    const number sum = measurement(n).checksum;
    return {sum, nanoseconds_since(begin)};
  });
}

void add_results(bench::suite& suite) {
  const std::string baseline = "std::promise and std::future";
  const auto n_results = suite.pick(1'000'000, 100'000);
  auto& group = suite.add({"one result made, set and read on one thread", "ns/op", baseline, n_results, sum_of_work});
  group.add(baseline, through_promises, {.divisor = 10});
  // The cost of an allocation that holds only the value.
  group.add("new and delete of the value", [](number n) {
    std::uint64_t sum = 0;
    for (number i = 0; i < n; ++i) {
      auto* value = new number(work(i));
      __asm__ volatile("" : "+r"(value));
      sum = fold(sum, *value);
      delete value;
    }
    return sum;
  });
  group.add("dyngen: put", through_put, {.goals = {bench::at_most(20)}});
  group.add("dyngen: promise", through_own_promises, {.goals = {bench::at_most(20)}});
  group.add("dyngen: promise, dies at a system call", without_system_calls(through_own_promises));
  group.add("dyngen: task on an inline_executor", through_inline_tasks);
  group.add("dyngen: task on an inline_executor, dies at a system call", without_system_calls(through_inline_tasks));
}

// ---- a task's round trip --------------------------------------------------------------------------------------------

// Created at the first use: not before the separate processes above.
bench::textbook_pool& textbook() {
  static bench::textbook_pool pool;
  return pool;
}
dg::thread_pool& usual() {
  static dg::thread_pool pool;
  return pool;
}
dg::thread_pool& without_help() {
  static dg::thread_pool pool(dg::thread_pool_options{.waiters_help = false});
  return pool;
}

void add_round_trip(bench::suite& suite) {
  const std::string baseline = "textbook pool of std::packaged_task";
  auto& group = suite.add({"submit and get, the pool asleep", "ns/op", baseline, suite.pick(300, 30), sum_of_work});
  group.add(baseline, [](number n) {
    return each_from_rest(n, [](number i) { return textbook().submit([i] { return work(i); }).get(); });
  });
  group.add("std::async(std::launch::async)", [](number n) {
    return each_from_rest(n, [](number i) { return std::async(std::launch::async, work, i).get(); });
  });
  std::vector<bench::goal> goals;
#if defined(DYNGEN_PEERS)
  // The thread that waits may run the task itself, as with waiters_help.
  const std::string tbb_group = "tbb::task_group: run and wait";
  group.add(tbb_group, [](number n) {
    return each_from_rest(n, [](number i) {
      number result = 0;
      tbb::task_group tasks;
      tasks.run([&result, i] { result = work(i); });
      tasks.wait();
      return result;
    });
  });
  goals.push_back(bench::at_most(0.5, tbb_group));
#endif
  const auto round_trip = [](dg::thread_pool& pool, number n) {
    return each_from_rest(n, [&](number i) { return pool.submit(work, i).get(); });
  };
  group.add("dyngen: submit and get", [round_trip](number n) { return round_trip(usual(), n); }, {.goals = goals});
  // A worker has to wake up and run it.
  group.add("dyngen: submit and get, waiters_help off",
            [round_trip](number n) { return round_trip(without_help(), n); }, {.goals = goals});
}

// ---- a stream's first value -----------------------------------------------------------------------------------------

dg::generator<number> one_more(number i) {
  for (;; ++i) co_yield work(i);
}

bench::synchronous_generator<number> one_more_synchronously(number i) {
  for (;; ++i) co_yield work(i);
}

// From submit to the first value; dropping the stream, which has many more, is not measured.
bench::outcome first_values(dg::thread_pool& pool, number n) {
  std::vector<double> times;
  std::uint64_t sum = 0;
  for (number i = 0; i < n; ++i) {
    let_the_pool_sleep();
    const auto begin = clock_type::now();
    dg::ref_stream<number> stream = pool.submit(one_more, i);
    const number first = stream.next_value().value();
    times.push_back(nanoseconds_since(begin));
    sum = fold(sum, first);
  }
  return {sum, times};
}

void add_first_value(bench::suite& suite) {
  const std::string baseline = "a thread that sets a std::promise";
  auto& group =
      suite.add({"first value of a stream, the pool asleep", "ns/op", baseline, suite.pick(300, 30), sum_of_work});
  group.add(baseline, [](number n) {
    return each_from_rest(n, [](number i) {
      std::promise<number> promise;
      std::future<number> first = promise.get_future();
      const std::jthread producer([&] { promise.set_value(work(i)); });
      return first.get();
    });
  });
  group.add("synchronous generator, one thread", [](number n) {
    return each_from_rest(n, [](number i) {
      auto values = one_more_synchronously(i);
      return *values.next();
    });
  });
  group.add("dyngen: next_value()", [](number n) { return first_values(usual(), n); });
  group.add("dyngen: next_value(), waiters_help off", [](number n) { return first_values(without_help(), n); });
}

// ---- waking a reader that sleeps ------------------------------------------------------------------------------------

// One slot, and a reader that sleeps until it is set. `Wake` has set(value) and get(), each called once.
//
// Timed from just before set() until the reader has the value, by the one clock that both threads read.
template <class Wake>
bench::outcome each_wake(std::uint64_t n) {
  std::vector<double> times;
  std::uint64_t sum = 0;
  std::optional<Wake> wake;
  std::binary_semaphore made(0), read(0);
  clock_type::time_point awake;
  number got = 0;
  std::jthread reader([&] {
    for (std::uint64_t i = 0; i < n; ++i) {
      made.acquire();
      got = wake->get();
      awake = clock_type::now();
      read.release();
    }
  });
  for (number i = 0; i < n; ++i) {
    wake.emplace();
    made.release();
    std::this_thread::sleep_for(std::chrono::microseconds(300));  // the reader is asleep then
    const auto begin = clock_type::now();
    wake->set(work(i));
    read.acquire();
    times.push_back(std::chrono::duration<double, std::nano>(awake - begin).count());
    sum = fold(sum, got);
  }
  return {sum, times};
}

// Only the system call: the least cost of waking a thread on this machine.
class raw_futex {
 public:
  void set(number value) {
    value_ = value;
    set_.store(1, std::memory_order_release);  // [1] the value comes before it
    syscall(SYS_futex, &set_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
  number get() {
    while (set_.load(std::memory_order_acquire) == 0)  // [1]
      syscall(SYS_futex, &set_, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
    return value_;
  }

 private:
  std::atomic<std::uint32_t> set_ = 0;
  number value_ = 0;
};

class with_condition_variable {
 public:
  void set(number value) {
    {
      const std::scoped_lock lock(mutex_);
      value_ = value;
    }
    changed_.notify_one();
  }
  number get() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return value_.has_value(); });
    return *value_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<number> value_;
};

class with_future {
 public:
  void set(number value) { promise_.set_value(value); }
  number get() { return result_.get(); }

 private:
  std::promise<number> promise_;
  std::future<number> result_ = promise_.get_future();
};

class with_ref {
 public:
  void set(number value) { promise_.set_value(value); }
  number get() { return result_.get(); }

 private:
  dg::promise<number> promise_;
  dg::ref<number> result_ = promise_.get_ref();
};

// A value yielded by a generator that has yielded one before, is suspended, and is resumed by this thread in set():
// no other thread can run it.
class with_yield {
 public:
  with_yield() {
    producer_.run_all();
    stream_.next_value();
  }
  void set(number value) {
    value_ = value;
    producer_.run_all();
  }
  number get() { return stream_.next_value().value(); }

 private:
  static dg::generator<number> yield_twice(const number* value) {
    co_yield 0u;
    co_yield *value;
  }

  dg::manual_executor producer_;
  number value_ = 0;
  dg::ref_stream<number> stream_ = dg::on(producer_).options(dg::backpressure{1}).submit(yield_twice, &value_);
};

void add_wakes(bench::suite& suite) {
  const std::string baseline = "raw futex";
  auto& group = suite.add({"waking a reader that sleeps", "ns/op", baseline, suite.pick(500, 100), sum_of_work});
  group.add(baseline, each_wake<raw_futex>);
  group.add("mutex and condition variable", each_wake<with_condition_variable>);
  group.add("std::promise and std::future", each_wake<with_future>);
  group.add("dyngen: promise, get()", each_wake<with_ref>, {.goals = {bench::at_most(1.1, baseline)}});
  group.add("dyngen: co_yield, next_value()", each_wake<with_yield>, {.goals = {bench::at_most(1.1, baseline)}});
}

}  // namespace

int main(int argc, char** argv) {
  bench::suite suite("latency", argc, argv);
  add_idle(suite);
  add_results(suite);
  add_round_trip(suite);
  add_first_value(suite);
  add_wakes(suite);
  return suite.run();
}
