// SPDX-License-Identifier: MIT
#pragma once
// The parts of a running program, and the interface of its strands.

#include "../support.hpp"
#include "program.hpp"

#include <condition_variable>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace liveness {

/// A value of a stream: its position, and in some streams memory of its own.
struct item {
  item(index n, bool heavy) : at(n), memory(heavy ? std::make_unique<index>(n) : nullptr) {}
  index at;
  std::unique_ptr<index> memory;
};
using item_stream = dg::ref_stream<item>;
using item_iterator = decltype(std::declval<item_stream&>().values().begin());

/// The completion of an operation, for strands that wait for it.
struct event {
  event() : ready(promise.get_ref()) {}
  std::atomic<std::uint32_t> done{0};
  std::latch latch{1};
  dg::promise<int> promise{};
  dg::ref<int> ready;
};

/// How many strands may block threads of a pool at the same time. The library replaces a thread that blocks in one of
/// its own waits, as long as there are spare threads; it cannot replace one that blocks unseen. So at least one thread
/// must stay free. Code of tasks takes a permit before it blocks, also when it happens to run on an outside thread;
/// where it gets none, it suspends, or waits in a way that the library sees.
class permits {
 public:
  permits(const program& p) : unseen_(p.threads - 1), all_(unseen_ + p.spares) {}
  /// A plain task has a permit from its submission on, since it can only block.
  bool reserve() { return enter(false, true); }
  bool enter(bool unseen, bool counted) {
    std::lock_guard lock(mutex_);
    if ((unseen && unseen_ == 0) || (counted && all_ == 0)) return false;
    unseen_ -= unseen ? 1 : 0;
    all_ -= counted ? 1 : 0;
    return true;
  }
  void leave(bool unseen, bool counted) {
    std::lock_guard lock(mutex_);
    unseen_ += unseen ? 1 : 0;
    all_ += counted ? 1 : 0;
  }

 private:
  std::mutex mutex_{};
  unsigned unseen_, all_;
};

/// The object of an actor: its methods are strands.
class machine;
struct host {
  int function(machine* m, index x);
  dg::task<int> coroutine(machine* m, index x);
  dg::generator<item> generator(machine* m, index x);
};

class machine {
 public:
  explicit machine(const program& p);
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;
  ~machine();

  /// Runs the program to its end; returns the first fault, or nothing.
  std::string run();

  // For the watcher, at any time.
  std::uint64_t progress() const { return progress_.load(); }
  std::string describe();

  // For strands.
  const program& plan() const { return plan_; }
  event& of(index e) { return events_[e]; }
  bool is_done(index e) { return events_[e].done.load() != 0; }
  void did(index e);
  void is_at(index x, index operation) { at_[x].store(operation); }
  void moves_on() { ++progress_; }
  void wrong(const std::string& what);
  dg::thread_pool& pool_of(index x) { return *pools_[plan_.strands[x].pool]; }
  const dg::ref<int>& never() const { return never_ready_; }
  void submit(index x, item_stream carried);
  bool holds_reserve(index x) const { return reserved_[x].load(); }

  struct place {
    item_stream stream{};
    std::vector<dg::ref<item>> refs{};  ///< of a producer that is no stream
    index taken = 0;
  };
  struct offered {
    dg::promise<item_stream> promise{};
    dg::ref<item_stream> ready{promise.get_ref()};
  };
  place& stream(index s) { return places_[s]; }
  offered& offer(index e) { return *offers_[e]; }
  dg::ref<int> result(index x) const { return results_[x]; }

  std::mutex mutex{};
  std::condition_variable changed{};
  permits blocking;

 private:
  item_stream submit_generator(index x, item_stream carried);
  std::vector<dg::ref<item>> submit_fixed(index x, item_stream carried);
  void sit(index n);
  void close();

  const program& plan_;
  std::atomic<std::uint64_t> progress_{0};
  std::atomic<const char*> phase_{"running"};
  std::vector<event> events_;
  std::vector<std::atomic<index>> at_;
  std::vector<std::atomic<bool>> reserved_;
  std::vector<std::unique_ptr<offered>> offers_{};
  std::mutex wrong_mutex_{};
  std::string wrong_{};
  dg::promise<int> never_{};
  dg::ref<int> never_ready_{never_.get_ref()};
  dg::budget budget_;
  std::vector<dg::thread_pool*> pools_{};
  std::vector<dg::actor<host>> actors_{};
  std::vector<dg::ref<int>> results_;
  std::vector<place> places_;
  std::vector<std::thread> sitters_{};
};

int run_function(machine* m, index x, item_stream carried);
dg::task<int> run_coroutine(machine* m, index x, item_stream carried);
dg::generator<item> run_generator(machine* m, index x, item_stream carried);
dg::generator<item> run_generator_again(machine* m, index x);
void run_thread(machine& m, index x);

}  // namespace liveness
