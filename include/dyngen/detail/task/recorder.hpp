// SPDX-License-Identifier: MIT
#pragma once
// The interface by which tasks and workers of a traced pool record what they do. An interface, so that tasks and pools
// do not depend on how a trace stores its events (trace_log.hpp).

#include <cstdint>
#include <exception>
#include <string_view>

namespace dyngen::detail {

enum class trace_kind : std::uint8_t {
  stretch,       ///< a task's code ran, without a pause
  parks,         ///< a worker begins to sleep
  backpressure,  ///< a producer parks for credits
  awaits,        ///< a coroutine parks for what it awaits
  cancelled,     ///< a task has ended cancelled
  error          ///< an attempt has failed
};

struct trace_event;

/// Each function is called by the thread that does what it records.
class recorder {
 public:
  /// Records that the thread begins to run a task. Returns what end() needs.
  virtual trace_event* begin(std::string_view name, std::uint64_t task, std::uint64_t attempt) noexcept = 0;
  virtual void end(trace_event* outer) noexcept = 0;
  /// Records that the running task has failed and is tried again.
  virtual void begin_attempt(const std::exception_ptr& failed, std::uint64_t attempt) noexcept = 0;
  /// Records an event of the task that runs on this thread; without one, of the thread.
  virtual void note(trace_kind what) noexcept = 0;
  virtual void note_error(const std::exception_ptr& e) noexcept = 0;
  /// Names the thread's row. Called before the thread records anything.
  virtual void name_row(std::string_view pool, std::uint32_t number) noexcept = 0;

 protected:
  recorder() = default;
  recorder(const recorder&) = delete;
  recorder& operator=(const recorder&) = delete;
  ~recorder() = default;
};

}  // namespace dyngen::detail
