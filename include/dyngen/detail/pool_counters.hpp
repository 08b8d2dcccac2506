// SPDX-License-Identifier: MIT
#pragma once
// What a pool counts, each thread in a shard of its own: how many tasks were admitted and have ended, which says whether
// anything is alive, and statistics.
//
// Quiescence: each task is counted as started when it is admitted and as ended when all about it is published, by
// whatever thread. Reading all `ended` first and all `started` after it, equal sums mean that at the moment between
// nothing was alive.

#include <dyngen/detail/atomic.hpp>
#include <dyngen/detail/memory.hpp>
#include <dyngen/detail/task_record.hpp>
#include <dyngen/stats.hpp>

#include <algorithm>
#include <cstdint>

namespace dyngen::detail {

class pool_counters {
 public:
  struct alignas(cache_line) shard_type {
    atomic<std::uint64_t> started{0}, ended{0}, retracted{0};
    atomic<std::uint64_t> outcomes[3]{};
    atomic<std::uint64_t> retried{0}, values_stored{0}, values_gone{0}, steals{0}, parks{0};
  };

  /// The calling thread's.
  shard_type& here() noexcept { return shards_[thread_number() % shard_count]; }

  struct totals {
    std::uint64_t ended = 0;
    std::uint64_t started = 0;
    friend bool operator==(const totals&, const totals&) = default;
  };
  totals count() const noexcept {
    totals t;
    for (const shard_type& s : shards_) t.ended += s.ended.load(seq_cst);      // [C1] first these
    for (const shard_type& s : shards_) t.started += s.started.load(seq_cst);  // [C1] then those
    return t;
  }

  pool_stats snapshot() noexcept {
    pool_stats total;
    std::uint64_t gone = 0;
    // relaxed, all of them: statistics.
    for (const shard_type& s : shards_) {
      total.submitted += s.started.load(relaxed) - s.retracted.load(relaxed);
      total.completed += s.outcomes[static_cast<unsigned>(task_outcome::completed)].load(relaxed);
      total.failed += s.outcomes[static_cast<unsigned>(task_outcome::failed)].load(relaxed);
      total.cancelled += s.outcomes[static_cast<unsigned>(task_outcome::cancelled)].load(relaxed);
      total.retried += s.retried.load(relaxed);
      total.values_stored += s.values_stored.load(relaxed);
      gone += s.values_gone.load(relaxed);
      total.steals += s.steals.load(relaxed);
      total.parks += s.parks.load(relaxed);
    }
    total.values_live = total.values_stored > gone ? total.values_stored - gone : 0;
    std::uint64_t peak = values_peak_.load(relaxed);
    while (peak < total.values_live && !values_peak_.compare_exchange_weak(peak, total.values_live, relaxed, relaxed)) {
    }
    total.values_peak = std::max(peak, total.values_live);
    return total;
  }

 private:
  atomic<std::uint64_t> values_peak_{0};
  shard_type shards_[shard_count];
};

}  // namespace dyngen::detail
