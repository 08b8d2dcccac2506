// SPDX-License-Identifier: MIT
#pragma once
// How far a pool is on its way down, and the list of all pools of the process, for a child process after fork(): it has
// none of their threads, and must not wait for them. There each of them is marked as inherited.
//
// The child takes the list as the other threads left it. A pool is added and taken out by one store of a pointer, which
// either was made before the fork or not; the pool's memory goes only after that.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/base/process.hpp>
#include <dyngen/detail/base/thread_context.hpp>

#include <cstdint>
#include <mutex>
#include <new>
#include <string_view>

namespace dyngen::detail {

/// In this order. Inherited: it belongs to the parent process, and nothing is done with it here.
enum class closing : std::uint32_t { open, draining, cancelling, inherited };

/// What the list knows of a pool.
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
    first_.store(&pool, release);  // release: the links in order, for the child
  }
  void remove(listed_pool& pool) noexcept {
    std::lock_guard lock(mutex_);
    atomic<listed_pool*>* link = &first_;
    while (link->load(relaxed) != &pool) link = &link->load(relaxed)->next_pool_;
    link->store(pool.next_pool_.load(relaxed), release);  // release: as above
  }
  /// In the child, whose only thread calls it. That thread is no worker any more.
  void after_fork() noexcept {
    ::new (&mutex_) mutex;
    context().role = nullptr;
    for (listed_pool* p = first_.load(acquire); p != nullptr; p = p->next_pool_.load(acquire))
      p->closing_.store(closing::inherited, seq_cst);
  }

 private:
  mutex mutex_;
  atomic<listed_pool*> first_{nullptr};
};

}  // namespace dyngen::detail
