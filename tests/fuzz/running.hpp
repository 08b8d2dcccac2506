// SPDX-License-Identifier: MIT
#pragma once
// What a program consists of while it runs: its tasks, the slots that hold handles, the executors, and the
// observations. Clients and tasks only log their observations, each in its own log; the oracle checks these when the
// program has ended.

#include "values.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace fuzz {

/// The subject of a log entry.
enum class seen : std::uint8_t {
  item,        ///< taken from a stream: item `at`
  value,       ///< held by a ref on value `at`
  completion,
  outer,       ///< held by the ref of a list
  size         ///< of a list
};

struct entry {
  seen what;
  bool by_client;      ///< by operation `op`, not by the code of a task
  index task;
  std::uint32_t at;
  std::uint32_t op;
  outcome is;
};

/// How a task was disturbed.
enum mark : std::uint32_t { cancel_asked = 1, stream_dropped = 2, actor_killed = 4, stream_detached = 8 };

struct running;

struct task_run {
  const task_plan* plan = nullptr;
  running* all = nullptr;
  index self = none;
  bool submitted = false;
  bool refused = false;  ///< the pool was closed
  std::uint32_t calls = 0;       ///< of its callable
  std::uint32_t taken = 0;       ///< items, by the owner of the stream
  std::uint32_t given_from = 0;  ///< of the stream that is its argument: the first item not taken
  std::uint64_t operations = 0;  ///< of the library, by its code
  std::uint32_t disturbed_at = 0;  ///< the first operation that disturbed it
  std::array<target, 2> in{};
  std::array<target, max_held> held{};
  target after{};
  std::atomic<std::uint32_t> marks{0};
  std::atomic<std::uint32_t> takes_begun{0};
  std::atomic<std::uint32_t> reports{0};  ///< to the hook
  std::atomic<bool> gone{false};          ///< a cancel or drop of it has returned
  std::atomic<int> inside{0};
  std::stop_source stop{std::nostopstate};
  std::vector<entry> log;

  void reset(const task_plan& p, running& r, index number);
  void note(seen what, index task, std::uint32_t at, outcome is) { log.push_back({what, false, task, at, 0, is}); }
  void disturb(std::uint32_t by, std::uint32_t op) noexcept {
    if (marks.fetch_or(by) == 0) disturbed_at = op;
  }
  /// A stream for whose items no client waits any more.
  void no_room_needed() noexcept { takes_begun.store(0x40000000); }
};

/// The object of an actor.
struct box {
  box(running& r, index number);
  box(const box&) = delete;
  box& operator=(const box&) = delete;
  ~box();
  void enter(index call);

  running& all;
  index number;
  std::vector<index> calls;
  std::atomic<bool> busy{false};
};

using any_handle =
    std::variant<std::monostate, dg::ref<counted>, dg::ref<unique>, dg::ref<plain>, dg::ref<void>, dg::ref_stream<counted>,
                 dg::ref_stream<unique>, dg::ref_stream<plain>, dg::ref<dg::ref_list<counted>>, dg::ref<dg::ref_list<unique>>,
                 dg::ref<dg::ref_list<plain>>, dg::ref_list<counted>, dg::ref_list<unique>, dg::ref_list<plain>,
                 dg::promise<counted>, dg::promise<void>, dg::actor<box>>;

struct slot_run {
  any_handle handle;
  index task = none;
  std::uint32_t at = 0;
  std::atomic<std::uint32_t> turn{0};  ///< how often it was handed over
};

/// A user's executor: one thread that runs its work.
class lone_thread {
 public:
  lone_thread();
  ~lone_thread();
  void execute(dg::work w) noexcept;

 private:
  void loop() noexcept;
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<dg::work> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

struct alignas(64) client_run {
  std::vector<entry> log;
  std::uint64_t operations = 0;
  std::atomic<std::uint32_t> at{0};  ///< its current or next operation
};

/// How a program has ended a pool.
struct pool_end {
  enum class by : std::uint8_t { not_ended, drain, destructor, cancel };
  by how = by::not_ended;
  std::uint32_t op = 0;
  void happens(by what, std::uint32_t at) noexcept {
    static std::mutex one_at_a_time;  // several clients may shut one pool down
    const std::lock_guard lock(one_at_a_time);
    if (how == by::not_ended) op = at;
    if (what > how) how = what;
  }
};

struct running {
  explicit running(const program& what) noexcept : plan(&what) {}

  const program* plan;
  std::uint32_t salt = 1;
  std::deque<task_run> tasks;
  std::deque<slot_run> slots;
  std::vector<std::unique_ptr<client_run>> clients;
  std::array<dg::thread_pool*, 2> pools{};  ///< null from the moment they are ended
  std::array<dg::thread_pool*, 2> homes{};  ///< likewise for their tasks, which may run longer
  std::array<std::unique_ptr<dg::thread_pool>, 2> own_pools;
  std::array<pool_end, 2> pool_ends{};
  std::vector<std::vector<index>> actor_calls;  ///< as each actor has seen them
  std::vector<dg::budget> budgets;
  dg::manual_executor* manual = nullptr;
  dg::inline_executor* in_line = nullptr;
  lone_thread* lone = nullptr;
  std::atomic<int> frames{0};         ///< runs of tasks' code that are not over
  std::atomic<long> boxes{0};
  std::atomic<std::uint64_t> strange_reports{0};  ///< to the hook, of what is no task's

  std::mutex fault_mutex;
  std::vector<std::string> faults;
  void fault(const std::string& what) {
    std::lock_guard lock(fault_mutex);
    faults.push_back(what);
  }

  dg::executor_target target_of(place where);
  void submit(index t);
  template <class H>
  void put(index slot, H&& handle, index task, std::uint32_t at) {
    slots[slot].task = task;
    slots[slot].at = at;
    slots[slot].handle = std::forward<H>(handle);
  }
};

/// Checks the observations: the text of a fault, or "".
std::string check(running& r);

}  // namespace fuzz
