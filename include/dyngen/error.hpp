// SPDX-License-Identifier: MIT
#pragma once
// The exceptions of the library. All derive from dyngen::error. Each message says what happened, to which task, and
// what to do about it. An exception that a task throws is never wrapped: the library stores that object and rethrows
// it.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/version.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace dyngen {

/// Base class of all exceptions that the library defines.
class DYNGEN_VISIBLE error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A task produced fewer or more values than `num_returns` asked for.
class DYNGEN_VISIBLE arity_error : public error {
 public:
  /// For the library.
  arity_error(const std::string& what, std::uint64_t expected, std::uint64_t yielded)
      : error(what), expected_(expected), yielded_(yielded) {}
  /// The number of values that the caller asked for.
  std::uint64_t expected() const noexcept { return expected_; }
  /// The number of values that the task yielded; expected() + 1 if a surplus yield stopped the task.
  std::uint64_t yielded() const noexcept { return yielded_; }

 private:
  std::uint64_t expected_;
  std::uint64_t yielded_;
};

/// A `tuple_generator` yielded a value that does not convert to the type at that position.
class DYNGEN_VISIBLE type_order_error : public error {
 public:
  using error::error;
};

/// The task was cancelled, or its executor was destroyed, before it stored the value. If the task's code threw an
/// exception after the task was asked to stop, the cancelled_error nests it (std::rethrow_if_nested). A task whose own
/// code throws a cancelled_error ends as cancelled.
class DYNGEN_VISIBLE cancelled_error : public error {
 public:
  using error::error;
  /// Constructs the error that a task's code throws to end the task as cancelled.
  cancelled_error() : error("dyngen: the task was cancelled") {}
};

/// A timed wait reached its time limit. Nothing was consumed: the call may be repeated.
class DYNGEN_VISIBLE timeout_error : public error {
 public:
  using error::error;
};

/// An attempt of a retried task (max_retries) produced fewer values than earlier attempts had stored.
class DYNGEN_VISIBLE nondeterministic_error : public error {
 public:
  using error::error;
};

/// A call did not run because its actor is dead: the actor was killed, its pool was destroyed, or its constructor
/// threw. In the last case the actor_died nests the constructor's exception (std::rethrow_if_nested).
class DYNGEN_VISIBLE actor_died : public error {
 public:
  using error::error;
};

/// The value cannot be moved out of a ref, because other handles share it, and it cannot be copied.
class DYNGEN_VISIBLE shared_value : public error {
 public:
  using error::error;
};

/// A promise was destroyed before it was fulfilled.
class DYNGEN_VISIBLE broken_promise : public error {
 public:
  using error::error;
};

/// A second value or exception was given to a promise.
class DYNGEN_VISIBLE promise_already_satisfied : public error {
 public:
  using error::error;
};

/// An empty handle (default-constructed, moved from, or already consumed) was used.
class DYNGEN_VISIBLE empty_ref : public error {
 public:
  using error::error;
};

/// A task was submitted to a pool that has been shut down.
class DYNGEN_VISIBLE pool_stopped : public error {
 public:
  using error::error;
};

}  // namespace dyngen
