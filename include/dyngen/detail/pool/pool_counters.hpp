// SPDX-License-Identifier: MIT
#pragma once
// What a pool counts: how many tasks were admitted and have ended, which says whether anything is alive; statistics; and
// how many records it has. Each thread counts in a shard of its own, as long as there are enough; a number that only one
// thread writes costs no locked operation.
//
// Quiescence: each task is counted as started when it is admitted and as ended when all about it is published, by
// whatever thread. Reading all `ended` first and all `started` after it, equal sums mean that at the moment between
// nothing was alive: who sees an end sees, by acquire, all that was started before it, and who starts a task either
// is one that is alive, or counts it before he looks whether the pool is closed [C1].

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
  /// A number with one writer, or, in the last shard, with several.
  class counter {
   public:
    // relaxed: a statistic.
    void add(std::uint64_t n, bool shared) noexcept {
      if (shared)
        value_.fetch_add(n, relaxed);
      else
        value_.store(value_.load(relaxed) + n, relaxed);
    }
    /// The light side of [C1]: the caller then looks whether the pool is closing, by seq_cst.
    void add_and_look(std::uint64_t n, bool shared) noexcept {
      if (shared)
        value_.fetch_add(n, seq_cst);
      else
        asymmetric_store(value_, value_.load(relaxed) + n);  // relaxed: written by this thread only
    }
    std::uint64_t read() const noexcept { return value_.load(relaxed); }   // relaxed: a statistic
    // [C1] seq_cst: also the closer's look where there is no fence.
    std::uint64_t look() const noexcept { return value_.load(seq_cst); }

   private:
    atomic<std::uint64_t> value_{0};
  };

  struct alignas(cache_line) shard_type {
    counter started, ended;
    counter offered, withdrawn;  ///< children: alive between the two, tasks or not
    counter outcomes[3];
    counter values_stored, values_gone;
    counter retried, retracted, steals, parks;
    atomic<std::uint64_t> records{0};  ///< made here, and alive; written by every thread
  };

  struct place {
    shard_type& shard;
    std::uint8_t index;
    bool shared;
  };
  /// The calling thread's.
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
    for (const shard_type& s : shards_) t.ended += s.ended.look() + s.withdrawn.look();    // [C1] first these
    for (const shard_type& s : shards_) t.started += s.started.look() + s.offered.look();  // [C1] then those
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
