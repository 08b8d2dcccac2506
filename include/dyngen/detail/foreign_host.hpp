// SPDX-License-Identifier: MIT
#pragma once
// Executors of the user's, as tasks see them.

#include <dyngen/detail/put_off.hpp>
#include <dyngen/executor.hpp>

#include <cstdint>
#include <utility>

namespace dyngen::detail {

/// Any executor of the user's as a host of tasks. Counted: it lives as long as a task of it.
template <class E>
class foreign_host final : public task_host {
 public:
  explicit foreign_host(E& e) noexcept : executor_(e) {}
  // execute() may run the work at once: never in a publication.
  void push(task_record& task, bool) noexcept override {
    if (!put_off_tasks::put_off(task)) executor_.execute(work(task));
  }
  void add_host_reference() noexcept override {
    // relaxed: whoever retains it has it from somebody who keeps it alive.
    references_.fetch_add(1, relaxed);
  }
  void drop_host_reference() noexcept override {
    // acq_rel: the last one comes after all that the others did.
    if (references_.fetch_sub(1, acq_rel) == 1) delete this;
  }

 private:
  E& executor_;
  atomic<std::uint32_t> references_{1};
};

/// A counted pointer to a host.
class host_pointer {
 public:
  explicit host_pointer(task_host& host) noexcept : host_(&host) {}  // takes over one reference
  host_pointer(const host_pointer& other) noexcept : host_(other.host_) { host_->add_host_reference(); }
  host_pointer& operator=(host_pointer other) noexcept {
    std::swap(host_, other.host_);
    return *this;
  }
  ~host_pointer() { host_->drop_host_reference(); }
  task_host& host() const noexcept { return *host_; }

 private:
  task_host* host_;
};

}  // namespace dyngen::detail
