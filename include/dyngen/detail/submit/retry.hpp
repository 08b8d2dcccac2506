// SPDX-License-Identifier: MIT
#pragma once
// The parts of a bound call besides callable and arguments: whether it may be repeated (max_retries), and the token
// that cancels its task (stop_on).

#include <dyngen/detail/base/manual_lifetime.hpp>
#include <dyngen/detail/task/task_record.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

/// The policy of a task without retries.
struct no_retry {
  static constexpr bool enabled = false;
};

struct any_exception {
  bool operator()(const std::exception_ptr&) const noexcept { return true; }
};

/// At most `most` attempts after the first, each only if `accept(exception)` returns true.
template <class Predicate>
struct retry_policy {
  static constexpr bool enabled = true;
  std::uint64_t most;
  [[no_unique_address]] Predicate accept;
};

/// The callable of a task without retries.
template <class F, bool Again>
class kept_callable {
 public:
  template <class G>
  explicit kept_callable(G&& callable) : callable_(std::forward<G>(callable)) {}
  F&& for_attempt() noexcept { return std::move(callable_); }

 private:
  F callable_;
};

/// The callable of a task with retries. Each attempt has its own copy, to which its coroutine may refer.
template <class F>
class kept_callable<F, true> {
 public:
  template <class G>
  explicit kept_callable(G&& callable) : original_(std::forward<G>(callable)) {}

  F&& for_attempt() {
    return std::move(current_.make([this]() -> F { return original_; }));
  }
  /// Destroys the copy of this attempt. Throws what the callable's destructor throws.
  void end_attempt() noexcept(std::is_nothrow_destructible_v<F>) { current_.reset(); }

 private:
  const F original_;
  manual_lifetime<F> current_;
};

struct no_stop_link {
  static constexpr bool enabled = false;
};

/// Cancels the task when stop is requested of the token.
class stop_link {
 public:
  static constexpr bool enabled = true;
  explicit stop_link(std::stop_token token) noexcept : token_(std::move(token)) {}
  stop_link(stop_link&& other) noexcept : token_(std::move(other.token_)) {}  // only before watch()

  void watch(task_record& task) noexcept { callback_.emplace(token_, canceller{&task}); }

 private:
  struct canceller {
    task_record* task;
    void operator()() const noexcept {
      task_record& t = *task;  // this object may be destroyed before cancel() returns
      t.add_references(1);
      t.cancel();
      t.drop_references(1);
    }
  };
  std::stop_token token_;
  std::optional<std::stop_callback<canceller>> callback_;
};

}  // namespace dyngen::detail
