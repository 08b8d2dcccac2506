// SPDX-License-Identifier: MIT
#pragma once
// What the library knows about the thread it runs on: its role in a pool, the tasks whose code is on its stack, the
// stream it last took from, and the work list that keeps long chains of destructors from recursing.
// A coroutine may change threads at each suspension, so all of it is read through one function that is not inlined.

#include <dyngen/detail/atomic.hpp>
#include <dyngen/detail/process.hpp>
#include <dyngen/detail/work_item.hpp>

#include <cstdint>
#include <string_view>

namespace dyngen::detail {

class producer;
class thread_memory;
struct slot;
struct trace_row;

/// What a pool knows about one of its threads, seen from a wait.
class thread_role {
 public:
  /// This thread is about to block: its place goes to another one. False if no other thread could be had; then the
  /// caller must not block for long, and calls run_one() meanwhile.
  virtual bool leave_seat() noexcept = 0;
  /// It goes on. Never waits.
  virtual void enter_seat() noexcept = 0;
  /// Runs one queued task of the pool, if there is one.
  virtual bool run_one() noexcept = 0;

 protected:
  ~thread_role() = default;
};

class thread_wait;

/// A task whose code is on this thread's stack.
struct running_task {
  running_task(producer* t, running_task* o) noexcept : task(t), outer(o) {}  // the rest is set by who uses it

  producer* task;
  running_task* outer;
  const thread_wait* wait = nullptr;  ///< what it is blocked in, without a time limit; guarded by its host, as the links
  running_task* previous;
  running_task* next;
  running_task* shown_before;         ///< the next one outwards that observers see
};

/// A stream whose consumer has not yet given back all the room it made.
class room_giver {
 public:
  virtual void give_back() noexcept = 0;
  virtual void drop_reference() noexcept = 0;

 protected:
  ~room_giver() = default;
};

/// What `helping` is before a thread runs its first task for a wait: see observers::meet().
inline constexpr unsigned stranger = 1u << 30;

struct thread_context {
  static constexpr std::string_view name_in_process = "thread_context";

  thread_role* role = nullptr;
  running_task* tasks = nullptr;
  std::int64_t busy_since = 0;   ///< when it was first seen to keep others waiting since it last slept, in ns; 0: never
  unsigned helping = stranger;   ///< how many tasks this thread runs for waits on its stack
  room_giver* last_taken = nullptr;
  bool (*run_inline)() noexcept = nullptr;  ///< while a task runs inline: runs the next one that is queued behind it
  unsigned firing = 0;           ///< while waiters are fired, nothing is run inline
  void (*after_firing)() noexcept = nullptr;  ///< runs what became ready meanwhile
  slot** dropped = nullptr;      ///< while a value is destroyed: the list of others that wait for it, linked through their words
  void* freed_frame = nullptr;   ///< the coroutine frame whose memory went back last
  /// The innermost task of this thread that others may look at (observer.hpp).
  atomic<running_task*> shown{nullptr};
  thread_context* next_known = nullptr;  ///< of all threads that observers know; guarded by them
  work_list inline_tasks;        ///< what is to run inline on this thread (inline_queue.hpp)
  thread_memory* memory = nullptr;   ///< what it keeps (memory.hpp)
  bool memory_over = false;          ///< it has given that back, as it ends
  std::uint64_t identity = 0;        ///< see thread_identity()
  trace_row* row = nullptr;      ///< where this thread records, in the trace with the number `row_of`
  std::uint64_t row_of = 0;
};

/// The calling thread's, the same in all objects of the process (process.hpp). Valid until that thread ends; never keep it
/// over a suspension.
[[gnu::always_inline]] inline thread_context& context() noexcept { return thread_wide<thread_context>(); }

/// Is this task's code on the calling thread's stack?
inline bool runs_on_this_stack(const producer& task) noexcept {
  for (const running_task* t = context().tasks; t != nullptr; t = t->outer)
    if (t->task == &task) return true;
  return false;
}

/// Gives back the room of the stream that this thread last took from. Called before any wait, and between tasks.
inline void settle_streams() noexcept {
  thread_context& here = context();
  if (here.last_taken == nullptr) return;
  room_giver* stream = here.last_taken;
  here.last_taken = nullptr;
  stream->give_back();
  stream->drop_reference();
}

/// The same when the thread ends: it may not wait for anything after it has taken.
[[gnu::noinline]] inline void settle_streams_at_thread_end() noexcept {
  struct settler {
    ~settler() { settle_streams(); }
  };
  static thread_local settler at_end;
  (void)at_end;
}

}  // namespace dyngen::detail
