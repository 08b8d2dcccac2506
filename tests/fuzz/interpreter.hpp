// SPDX-License-Identifier: MIT
#pragma once
// Runs programs, one after the other: keeps the threads of the clients and the pools that programs share.

#include "running.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace fuzz {

/// Totals of all programs.
struct totals {
  std::uint64_t programs = 0;
  std::uint64_t operations = 0;  ///< calls of the library by clients
  std::uint64_t steps = 0;       ///< co_yields, co_awaits and calls of the library in tasks
};

class interpreter {
 public:
  explicit interpreter(unsigned threads);
  ~interpreter();
  interpreter(const interpreter&) = delete;
  interpreter& operator=(const interpreter&) = delete;

  /// Runs a program; returns the text of a fault, or "". `without`: operations to skip.
  std::string run(const program& p, const std::vector<std::uint32_t>& without = {});

  const totals& done() const noexcept { return totals_; }

  /// For a watchdog: the running program, and the current operation of each client. Null between two programs.
  struct glimpse {
    const program* plan;
    std::vector<std::uint32_t> at;
  };
  glimpse look();

 private:
  struct client_thread;

  void build(const program& p);
  dg::thread_pool& shared_pool(const pool_plan& p);
  void on_all_clients(unsigned clients);
  void tear_down(const program& p);
  std::string left_over();

  totals totals_;
  running run_;
  std::vector<bool> left_out_;
  std::vector<std::unique_ptr<client_thread>> client_threads_;
  std::vector<std::unique_ptr<dg::thread_pool>> shared_pools_;
  std::uint32_t pool_uses_ = 0;
  std::unique_ptr<dg::manual_executor> manual_;
  dg::inline_executor in_line_;
  lone_thread lone_;
  std::atomic<const program*> current_{nullptr};
};

}  // namespace fuzz
