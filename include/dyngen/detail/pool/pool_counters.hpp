// SPDX-License-Identifier: MIT
#pragma once
// What a pool counts: tasks that were admitted and that have ended, statistics, and live records. Each thread whose
// number is below `threads_apart` counts in a shard of its own, by loads and stores; all other threads share the last
// shard, by atomic additions.
//
// Quiescence: a task counts as started when it is admitted, and as ended when all its results are published, on
// whatever thread. The closer sums all `ended` first, then all `started`. If the sums are equal, no task was alive at
// the moment between the two. For a thread that reads an end sees, by acquire, all starts before it; and a new task is
// started either by a live task, or by a thread that counts it before it checks whether the pool is closing [C1].

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/memory.hpp>
#include <dyngen/detail/task/task_record.hpp>
#include <dyngen/stats.hpp>

#include <algorithm>
#include <cstdint>

namespace dyngen::detail {

class pool_counters {
 public:
  /// A number that one thread writes, or, in the last shard (`shared`), several.
  class counter {
   public:
    // relaxed: a statistic.
    void add(std::uint64_t n, bool shared) noexcept {
      if (shared)
        value_.fetch_add(n, relaxed);
      else
        value_.store(value_.load(relaxed) + n, relaxed);
    }
    /// Adds; the light side of [C1]: the caller then reads, by seq_cst, whether the pool is closing.
    void add_and_look(std::uint64_t n, bool shared) noexcept {
      if (shared)
        value_.fetch_add(n, seq_cst);
      else
        asymmetric_store(value_, value_.load(relaxed) + n);  // relaxed: only this thread writes it
    }
    std::uint64_t read() const noexcept { return value_.load(relaxed); }   // relaxed: a statistic
    // [C1] seq_cst: without membarrier, this is the closer's side of the pair.
    std::uint64_t look() const noexcept { return value_.load(seq_cst); }

   private:
    atomic<std::uint64_t> value_{0};
  };

  struct alignas(cache_line) shard_type {
    counter started, ended;
    counter pending, settled;  ///< reports, and children that become tasks: alive between the two
    counter outcomes[3];
    counter values_stored, values_gone;
    counter retried, retracted, steals, parks;
    atomic<std::uint64_t> records{0};  ///< live records that were made in this shard; any thread writes it
  };

  struct place {
    shard_type& shard;
    std::uint8_t index;
    bool shared;
  };
  /// Returns the calling thread's shard.
  place here() noexcept {
    const unsigned number = thread_number();
    const auto index = static_cast<std::uint8_t>((std::min)(number, threads_apart));
    return {shards_[index], index, index == threads_apart};
  }
  shard_type& at(std::uint8_t index) noexcept { return shards_[index]; }

  struct totals {
    std::uint64_t ended = 0;
    std::uint64_t started = 0;
    friend bool operator==(const totals&, const totals&) = default;
  };
  totals count() const noexcept {
    totals t;
    for (const shard_type& s : shards_) t.ended += s.ended.look() + s.settled.look();  // [C1] first
    for (const shard_type& s : shards_) t.started += s.started.look() + s.pending.look();  // [C1] second
    return t;
  }

  pool_stats snapshot() noexcept {
    pool_stats total;
    std::uint64_t gone = 0;
    for (const shard_type& s : shards_) {
      total.submitted += s.started.read() - s.retracted.read();
      total.completed += s.outcomes[static_cast<unsigned>(task_outcome::completed)].read();
      total.failed += s.outcomes[static_cast<unsigned>(task_outcome::failed)].read();
      total.cancelled += s.outcomes[static_cast<unsigned>(task_outcome::cancelled)].read();
      total.retried += s.retried.read();
      total.values_stored += s.values_stored.read();
      gone += s.values_gone.read();
      total.steals += s.steals.read();
      total.parks += s.parks.read();
    }
    total.values_live = total.values_stored > gone ? total.values_stored - gone : 0;
    // relaxed: a statistic.
    std::uint64_t peak = values_peak_.load(relaxed);
    while (peak < total.values_live && !values_peak_.compare_exchange_weak(peak, total.values_live, relaxed, relaxed)) {
    }
    total.values_peak = (std::max)(peak, total.values_live);
    return total;
  }

 private:
  atomic<std::uint64_t> values_peak_{0};
  shard_type shards_[threads_apart + 1];
};

}  // namespace dyngen::detail
