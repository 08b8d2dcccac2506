// SPDX-License-Identifier: MIT
#pragma once
// The exceptions of the library. All derive from dyngen::error, and each message says what happened, to which task,
// and what to do about it. What a task itself throws is never wrapped: it is stored and rethrown as it is.

#include <dyngen/version.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace dyngen {

/// Base of all exceptions that the library throws of its own.
class [[gnu::visibility("default")]] error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A task produced fewer or more values than `num_returns` asked for.
class [[gnu::visibility("default")]] arity_error : public error {
 public:
  /// For the library.
  arity_error(const std::string& what, std::uint64_t expected, std::uint64_t yielded)
      : error(what), expected_(expected), yielded_(yielded) {}
  /// How many values the caller asked for.
  std::uint64_t expected() const noexcept { return expected_; }
  /// How many the task yielded; one more than expected() when the surplus yield stopped it.
  std::uint64_t yielded() const noexcept { return yielded_; }

 private:
  std::uint64_t expected_;
  std::uint64_t yielded_;
};

/// A `tuple_generator` yielded a value that does not convert to the type whose turn it was.
class [[gnu::visibility("default")]] type_order_error : public error {
 public:
  using error::error;
};

/// The task was cancelled, or its executor went away, before it stored this value. If an exception left the task's code
/// after the task was asked to stop, this nests it (std::rethrow_if_nested). Code of a task that throws one cancels its
/// own task with it.
class [[gnu::visibility("default")]] cancelled_error : public error {
 public:
  using error::error;
  /// For code that ends its own task as cancelled.
  cancelled_error() : error("dyngen: the task was cancelled") {}
};

/// A wait with a time limit reached it. Nothing was consumed: the same call may be made again.
class [[gnu::visibility("default")]] timeout_error : public error {
 public:
  using error::error;
};

/// A new attempt of a task produced fewer values than an earlier one had stored already.
class [[gnu::visibility("default")]] nondeterministic_error : public error {
 public:
  using error::error;
};

/// A call of an actor that is dead: it was killed, has lost its pool, or its constructor threw; in the last case this
/// nests that exception (std::rethrow_if_nested).
class [[gnu::visibility("default")]] actor_died : public error {
 public:
  using error::error;
};

/// A value was to be moved out of a ref while others hold it too, and it cannot be copied.
class [[gnu::visibility("default")]] shared_value : public error {
 public:
  using error::error;
};

/// A promise was destroyed before it was fulfilled.
class [[gnu::visibility("default")]] broken_promise : public error {
 public:
  using error::error;
};

/// A promise was fulfilled twice.
class [[gnu::visibility("default")]] promise_already_satisfied : public error {
 public:
  using error::error;
};

/// An empty handle (default-constructed, moved from, or already consumed) was used.
class [[gnu::visibility("default")]] empty_ref : public error {
 public:
  using error::error;
};

/// `submit` on a pool that has been shut down.
class [[gnu::visibility("default")]] pool_stopped : public error {
 public:
  using error::error;
};

}  // namespace dyngen
