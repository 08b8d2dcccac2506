// SPDX-License-Identifier: MIT
#pragma once
// What the models of a whole thread_pool share.

#include "executors.hpp"

#include <optional>
#include <utility>

namespace dyngen::model {

/// `Others` threads use a pool of one worker, or more, that may start up to `Threads`.
template <class Model, unsigned Others, unsigned Threads>
struct pool_model : rl::test_suite<Model, Others> {
  static constexpr rl::thread_id_t dynamic_thread_count = Threads + 1;  // and the monitor
  fresh_start fresh;
  std::optional<thread_pool> pool;
  detail::atomic<unsigned> others{Others};

  void before() {
    detail::model::threads_left = Threads;
    detail::model::services_left = 1;
    static_cast<Model*>(this)->begin();
  }
  void thread(unsigned index) {
    static_cast<Model*>(this)->other(index);
    detail::return_all_credits();  // as the end of a thread does
    if (others.fetch_sub(1, detail::acq_rel) == 1) static_cast<Model*>(this)->last();
  }
  void after() {
    static_cast<Model*>(this)->end();
    check_all_gone();
  }

  void make_pool(unsigned width = 1, bool waiters_help = true) {
    thread_pool_options o;
    o.threads = width;
    o.name = "p";
    o.waiters_help = waiters_help;
    pool.emplace(std::move(o));
  }
  void begin() { make_pool(); }
  void last() { pool.reset(); }  // joins the threads: not in after()
  void end() {}
};

}  // namespace dyngen::model
