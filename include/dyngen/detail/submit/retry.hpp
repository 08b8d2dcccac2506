// SPDX-License-Identifier: MIT
#pragma once
// The parts of a bound call beside its callable and arguments: whether the call may be repeated (max_retries), and the
// token that cancels its task (stop_on).

#include <dyngen/detail/base/manual_lifetime.hpp>
#include <dyngen/detail/base/thread_context.hpp>
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

/// After the first attempt, at most `most` further ones, each only if `accept(exception)` returns true.
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

/// The callable of a task with retries. Each attempt calls its own copy, to which the attempt's coroutine may refer.
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

/// How many cancellations that stop_on passes down may be nested on one thread.
inline constexpr unsigned most_nested_cancels = 16;

/// A cancellation that stop_on passes down, on the stack of the thread that cancels. Its stop callbacks may cancel
/// further tasks: those cancellations are nested in it, and happen at once, since a user's stop callback may wait for
/// their effect. A cancellation at the depth `most_nested_cancels` puts further ones into its list, to be done when it
/// has returned. So a chain of linked tasks of any length uses constant stack.
class deferred_cancels final : public deferred_work {
 public:
  explicit deferred_cancels(thread_context& here) noexcept
      : deferred_work(here),
        here_(here),
        outer_(std::exchange(here.cancels, this)),
        depth_(outer_ != nullptr ? outer_->depth_ + 1 : 1) {}
  ~deferred_cancels() { here_.cancels = outer_; }

  bool at_limit() const noexcept { return depth_ == most_nested_cancels; }

  /// Defers the cancellation of a task. Takes over a reference to the task. Returns false if there is no memory.
  bool add(task_record& task) noexcept {
    void* const memory = ::operator new(sizeof(node), std::nothrow);
    if (memory == nullptr) return false;
    node* const n = ::new (memory) node{&task, nullptr};
    (last_ != nullptr ? last_->next : first_) = n;
    last_ = n;
    return true;
  }
  bool run_one() noexcept override {
    if (first_ == nullptr) return false;
    node* const n = std::exchange(first_, first_->next);
    if (first_ == nullptr) last_ = nullptr;
    task_record& task = *n->task;
    ::operator delete(static_cast<void*>(n), std::nothrow);
    task.cancel();
    task.drop_references(1);
    return true;
  }

 private:
  struct node {
    task_record* task;
    node* next;
  };
  thread_context& here_;
  deferred_cancels* const outer_;
  const unsigned depth_;
  node* first_ = nullptr;
  node* last_ = nullptr;
};

/// Cancels the task when stop is requested through its token.
class stop_link {
 public:
  static constexpr bool enabled = true;
  explicit stop_link(std::stop_token token) noexcept : token_(std::move(token)) {}
  stop_link(stop_link&& other) noexcept : token_(std::move(other.token_)) {}  // only before watch()

  /// Begins to watch the token. If stop was requested already, cancels the task before it returns.
  void watch(task_record& task) noexcept {
    thread_context& here = context();
    deferred_cancels* const outer = std::exchange(here.cancels, nullptr);
    callback_.emplace(token_, canceller{&task});
    here.cancels = outer;
  }

 private:
  struct canceller {
    task_record* task;
    void operator()() const noexcept {
      task_record& t = *task;  // this object may be destroyed before cancel() returns
      t.add_references(1);
      thread_context& here = context();
      if (here.cancels != nullptr && here.cancels->at_limit() && here.cancels->add(t)) return;
      deferred_cancels nested(here);
      t.cancel();
      t.drop_references(1);
      while (nested.run_one()) {
      }
    }
  };
  std::stop_token token_;
  std::optional<std::stop_callback<canceller>> callback_;
};

}  // namespace dyngen::detail
