// SPDX-License-Identifier: MIT
#pragma once
// Where tasks and workers write down what they do, if their pool is traced. An interface, so that a program that traces
// nothing has nothing of trace_log.hpp compiled.

#include <cstdint>
#include <exception>
#include <string_view>

namespace dyngen::detail {

enum class trace_kind : std::uint8_t {
  stretch,       ///< a task's code ran
  parks,         ///< a worker goes to sleep
  backpressure,  ///< a producer parks for room
  awaits,        ///< a coroutine parks for what it awaits
  cancelled,     ///< a task has ended so
  error          ///< an attempt has failed
};

struct trace_event;

/// By the thread that does it.
class recorder {
 public:
  /// Begins to run a task. Returns what end() needs.
  virtual trace_event* begin(std::string_view name, std::uint64_t task, std::uint64_t attempt) noexcept = 0;
  virtual void end(trace_event* outer) noexcept = 0;
  /// The task that runs has failed, and is tried again.
  virtual void begin_attempt(const std::exception_ptr& failed, std::uint64_t attempt) noexcept = 0;
  /// Something happens in the stretch that is open on this thread, or in none.
  virtual void note(trace_kind what) noexcept = 0;
  virtual void note_error(const std::exception_ptr& e) noexcept = 0;
  /// Gives the thread a name, before it records anything.
  virtual void name_row(std::string_view pool, std::uint32_t number) noexcept = 0;

 protected:
  recorder() = default;
  recorder(const recorder&) = delete;
  recorder& operator=(const recorder&) = delete;
  ~recorder() = default;
};

}  // namespace dyngen::detail
