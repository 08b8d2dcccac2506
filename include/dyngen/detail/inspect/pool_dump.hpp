// SPDX-License-Identifier: MIT
#pragma once
// Text about all tasks of a pool that have not ended. There is no list of all of them, because it would cost a lock for
// each task. Tasks that wait, or have waited, are in the list that closing the pool uses (suspended_tasks.hpp). Running
// tasks are found through their threads (inspector.hpp). The others, which are queued and have never waited, are only
// counted.

#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/detail/inspect/describe_text.hpp>
#include <dyngen/detail/pool/pool_core.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dyngen::detail {

/// Use: construct one, call text(), destroy it.
class pool_dump {
 public:
  explicit pool_dump(pool_core& pool) noexcept : pool_(pool) {}

  /// Returns one line for the pool, one for each task, and one with the number of tasks that are only queued.
  std::string text() {
    if (pool_.is_inherited()) return head(0);
    const std::uint64_t others = collect();
    std::string lines;
    std::uint64_t described = 0;
    for (intrusive_ptr<shared_state>& p : tasks_) {
      const intrusive_ptr<shared_state> task = std::move(p);  // dropped at the end of this iteration
      const std::string line = description_of(*task);
      if (task->completed()) continue;
      lines += "  " + line + "\n";
      ++described;
    }
    if (others != 0) lines += "  and " + std::to_string(others) + " more, queued\n";
    return head(described + others) + lines;
  }

 private:
  std::string head(std::uint64_t alive) const {
    const pool_settings& s = pool_.settings_;
    const char* const state[] = {"", ", draining", ", cancelling", ", of the parent process"};
    // relaxed: the state at some recent moment.
    return "pool" + (s.name.empty() ? std::string() : " " + in_quotes(s.name)) + ", " +
           counted(s.width, "thread", "threads") + state[static_cast<unsigned>(pool_.closing_.load(relaxed))] + ": " +
           counted(alive, "task that has", "tasks that have") + " not ended\n";
  }

  /// Collects the running tasks, then those that wait or have waited. Returns how many others have not ended.
  std::uint64_t collect() {
    bool all = false;
    for (std::size_t room = 64; !all; room *= 2) {
      tasks_.clear();
      tasks_.reserve(room);  // allocates, so not while a thread is inspected
      inspector::look looking(global_inspector());
      all = true;
      looking.for_each_running([&](const running_task& entry, const running_task*) noexcept {
        shared_state& task = *entry.task;
        if (task.pool_id() != static_cast<const task_host*>(&pool_) || task.completed()) return;
        if (tasks_.size() == tasks_.capacity())
          all = false;
        else
          tasks_.emplace_back(task);
      });
    }
    std::vector<const shared_state*> running;
    for (const intrusive_ptr<shared_state>& p : tasks_) running.push_back(p.get());
    std::sort(running.begin(), running.end());
    std::vector<intrusive_ptr<shared_state>> suspended;
    pool_.suspended_.collect(suspended);
    for (intrusive_ptr<shared_state>& p : suspended)
      if (!std::binary_search(running.begin(), running.end(), p.get())) tasks_.push_back(std::move(p));
    const pool_counters::totals now = pool_.count();
    const std::uint64_t alive = now.started - now.ended;
    return alive > tasks_.size() ? alive - tasks_.size() : 0;
  }

  pool_core& pool_;
  std::vector<intrusive_ptr<shared_state>> tasks_;
};

}  // namespace dyngen::detail
