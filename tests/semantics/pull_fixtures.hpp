// SPDX-License-Identifier: MIT
#pragma once
// What the tests of pull mode share: pull mode forced or forbidden, a pool whose workers are busy, and a producer that
// counts.

#include "../catch.hpp"
#include "probes.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

namespace pull {

using dg::detail::pulling;

/// Sets whether consumers pull, whatever values cost.
class pulling_as {
 public:
  explicit pulling_as(pulling mode) { dg::detail::pulling_mode = mode; }
  pulling_as(const pulling_as&) = delete;
  pulling_as& operator=(const pulling_as&) = delete;
  ~pulling_as() { dg::detail::pulling_mode = before_; }

 private:
  const pulling before_ = dg::detail::pulling_mode;
};

/// Makes the monitor treat no reader as idle, however long this thread is interrupted. To be created before any pool.
class patient_monitor {
 public:
  patient_monitor() { dg::detail::reader_patience = 3'600'000; }
  patient_monitor(const patient_monitor&) = delete;
  patient_monitor& operator=(const patient_monitor&) = delete;
  ~patient_monitor() { dg::detail::reader_patience = 10; }
};

/// A pool whose only worker is busy, so that a thread that waits for a task runs it, and queued tasks stay queued until
/// then.
class busy_pool {
 public:
  busy_pool() { started_.pass(); }
  ~busy_pool() { let_work(); }
  void let_work() { over_.open(); }
  dg::thread_pool& operator*() { return *pool_; }
  dg::thread_pool* operator->() { return pool_.get(); }
  void close() {
    let_work();
    pool_.reset();
  }

 private:
  support::gate started_, over_;
  std::unique_ptr<dg::thread_pool> pool_ = std::make_unique<dg::thread_pool>(1);
  dg::ref<void> busy_ = pool_->submit([this] {
    started_.open();
    over_.pass();
  });
};

/// Counts what a producer has done.
struct progress {
  std::atomic<int> begun{0};  // values
  std::atomic<int> alive{0};  // frames
  std::atomic<int> ended{0};
  std::thread::id thread;
};

/// Yields 0 … n-1.
inline dg::generator<int> count(progress& p, int n) {
  const support::witness frame(p.alive);
  for (int i = 0; i < n; ++i) {
    ++p.begun;
    p.thread = std::this_thread::get_id();
    co_yield i;
  }
  ++p.ended;
}

/// A stream of a busy pool, pulled by the calling thread, which has taken the first `taken` values.
inline dg::ref_stream<int> pulled_stream(busy_pool& pool, progress& p, int taken, int n = 1000) {
  dg::ref_stream<int> s = pool->submit(count, std::ref(p), n);
  for (int i = 0; i < taken; ++i) CHECK(s.next_value() == i);
  CHECK(p.begun == taken);
  return s;
}

/// How many values the producer makes when it runs ahead after `taken` values were taken.
constexpr int ahead(int taken) { return taken + 64; }

}  // namespace pull
