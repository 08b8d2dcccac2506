// SPDX-License-Identifier: MIT
#pragma once
// How far a pool has closed. And the list of all pools of the process, for a child process after fork(): the child has
// none of their threads and must not wait for them, so it marks each pool as inherited.
//
// Another thread of the parent may be changing the list at the moment of the fork. The child gets a whole list anyway:
// a pool is added or removed by one store to a pointer, which the child sees or does not. A pool's memory is freed only
// after it was removed.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/base/process.hpp>
#include <dyngen/detail/base/thread_context.hpp>

#include <cstdint>
#include <mutex>
#include <new>
#include <string_view>

namespace dyngen::detail {

/// The states of a pool; it only moves forward. `inherited`: a pool of the parent process, which this one leaves alone.
enum class closing : std::uint32_t { open, draining, cancelling, inherited };

/// The part of a pool that the list uses.
class listed_pool {
 protected:
  listed_pool() = default;
  ~listed_pool() = default;
  atomic<closing> closing_{closing::open};

 private:
  friend class pool_list;
  atomic<listed_pool*> next_pool_{nullptr};
};

class pool_list {
 public:
  static constexpr std::string_view name_in_process = "pool_list";

  void add(listed_pool& pool) noexcept {
    std::lock_guard lock(mutex_);
    // relaxed, here and below: guarded by the mutex.
    pool.next_pool_.store(first_.load(relaxed), relaxed);
    first_.store(&pool, release);  // release: the child sees the links in order
  }
  void remove(listed_pool& pool) noexcept {
    std::lock_guard lock(mutex_);
    atomic<listed_pool*>* link = &first_;
    while (link->load(relaxed) != &pool) link = &link->load(relaxed)->next_pool_;
    link->store(pool.next_pool_.load(relaxed), release);  // release: as in add()
  }
  /// Called in the child process by its only thread, which is not a worker any more.
  void after_fork() noexcept {
    ::new (&mutex_) mutex;
    context().role = nullptr;
    context().queue = nullptr;
    for (listed_pool* p = first_.load(acquire); p != nullptr; p = p->next_pool_.load(acquire))
      p->closing_.store(closing::inherited, seq_cst);
  }

 private:
  mutex mutex_;
  atomic<listed_pool*> first_{nullptr};
};

}  // namespace dyngen::detail
