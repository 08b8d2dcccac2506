// SPDX-License-Identifier: MIT
#pragma once
// What the library knows about the thread it runs on: its role in a pool, the tasks whose code is on its stack, the
// stream it last took from, and the work list that keeps long chains of destructors from recursing.
// A coroutine may change threads at each suspension, so all of it is read through one function that is not inlined.
//
// Work that a thread puts off. Four things are not done at once, but somewhat later by the same thread:
//
//   values to destroy       when destructors nest deeply: after the destructor below them (slot_operations.hpp)
//   tasks to hand over      to executors of the user's, inside a publication: after it (put_off.hpp)
//   tasks to run inline     behind the inline task that runs already: after it (inline_queue.hpp)
//   the end of a task       while values that its stream leaves behind are destroyed: after them (task_record.hpp)
//
// Each of them stands in a list on the stack, or in the context, and the code below in the stack does what is in it. Code
// of the user that runs above that, a destructor or a task, may wait for something that only the work in such a list
// brings. So every wait in the library first does what its thread has put off: run_put_off().
//
// A publication: whatever makes several waiters ready, be it a task's end, a value, room in a budget or an actor's turn.
// No code of the user runs between the first and the last of them: it might wait for what a later one brings, while the
// publishing thread is below it on the stack. `publishing` counts the publications that a thread is in.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/process.hpp>
#include <dyngen/detail/base/work_item.hpp>

#include <cstdint>
#include <string_view>
#include <utility>

namespace dyngen::detail {

class shared_state;
class thread_memory;
struct slot;
struct trace_row;

/// What a pool knows about one of its threads, seen from a wait.
class worker_hooks {
 public:
  /// This thread is about to block: its place goes to another one. False if no other thread could be had; then the
  /// caller must not block for long, and calls run_one() meanwhile.
  virtual bool begin_blocking() noexcept = 0;
  /// It goes on. Never waits.
  virtual void end_blocking() noexcept = 0;
  /// Runs one queued task of the pool, if there is one.
  virtual bool run_one() noexcept = 0;
  /// Does run_one() only end tasks that will not run, so that it is called in waits with a time limit as well?
  virtual bool only_ends_tasks() const noexcept { return false; }

 protected:
  ~worker_hooks() = default;
};

class thread_wait;

/// A task whose code is on this thread's stack.
struct running_task {
  running_task(shared_state* t, running_task* o) noexcept : task(t), outer(o) {}  // the rest is set by who uses it

  shared_state* task;
  running_task* outer;
  const thread_wait* wait = nullptr;  ///< what it is blocked in, without a time limit; guarded by its host, as the links
  running_task* previous;
  running_task* next;
  running_task* shown_before;         ///< the next one outwards that observers see
};

/// A stream whose reader has not yet given back all the room it made.
class credited_stream {
 public:
  /// `reader_waits`: the reader is about to wait for something else, so the stream must run without it.
  virtual void return_credits(bool reader_waits) noexcept = 0;
  virtual void drop_reference() noexcept = 0;

 protected:
  ~credited_stream() = default;
};

/// The word by which a pool tells one of its threads that the time slice of the task it runs is over, and for all other
/// threads one that stays 0.
inline atomic<std::uint32_t> no_time_slice{0};

struct thread_context;

/// One list of work that a thread has put off. Stands on its stack; the lists of a thread end in the reverse order of
/// their beginnings.
class put_off_work {
 public:
  put_off_work(const put_off_work&) = delete;
  put_off_work& operator=(const put_off_work&) = delete;

  /// Does the next piece of it. False if there is none.
  virtual bool run_one() noexcept = 0;
  put_off_work* outer() const noexcept { return outer_; }

 protected:
  explicit inline put_off_work(thread_context& here) noexcept;
  inline ~put_off_work();

 private:
  thread_context& here_;
  put_off_work* const outer_;
};

class dropped_values;

/// What `helping` is before a thread runs its first task for a wait: see observers::meet().
inline constexpr unsigned stranger = 1u << 30;

struct thread_context {
  static constexpr std::string_view name_in_process = "thread_context";

  worker_hooks* role = nullptr;
  running_task* tasks = nullptr;
  const atomic<std::uint32_t>* slice_over = &no_time_slice;  ///< not 0: code that runs here makes way for other tasks soon
  unsigned helping = stranger;   ///< how many tasks this thread runs for waits on its stack
  /// Holds a reference on that task's record until this thread next takes from another stream, waits, comes to the end of a
  /// task, or ends; also if another thread drops the stream meanwhile, which cannot reach this. Then only the record's own
  /// memory stays, and what every record holds: the exception with which its task has ended, and the core of its pool.
  /// Frame, arguments and values go with the stream, on whichever thread that is dropped. So it is one record for each
  /// thread, at most; a reference that another thread could take away would cost each take an atomic operation.
  credited_stream* last_taken = nullptr;
  put_off_work* put_off = nullptr;  ///< the innermost list of work that this thread has put off
  unsigned publishing = 0;       ///< how many publications it is in
  unsigned destroying = 0;       ///< how many destructors of values are nested here, in the code of one task
  dropped_values* dropped = nullptr;  ///< where values go that are dropped when these are too many
  void (*after_publishing)(thread_context&) noexcept = nullptr;  ///< hands over what was put off meanwhile, if there is any
  work_list to_hand_over;        ///< put off until the publication is over
  work_list to_free;             ///< tasks without references: the same
  work_list inline_tasks;        ///< to be run by this thread, one after the other
  bool runs_inline = false;      ///< it does so already
  shared_state** freed = nullptr;    ///< while a producer with a failure is freed: the list of others that wait for it
  void* freed_frame = nullptr;   ///< the coroutine frame whose memory went back last
  /// The innermost task of this thread that others may look at (inspector.hpp).
  atomic<running_task*> shown{nullptr};
  thread_context* next_known = nullptr;  ///< of all threads that observers know; guarded by them
  thread_memory* memory = nullptr;   ///< what it keeps (memory.hpp)
  bool memory_over = false;          ///< it has given that back, as it ends
  std::uint64_t identity = 0;        ///< see thread_identity()
  trace_row* row = nullptr;      ///< where this thread records, in the trace with the number `row_of`
  std::uint64_t row_of = 0;
};

/// The calling thread's, the same in all objects of the process (process.hpp). Valid until that thread ends; never keep it
/// over a suspension.
[[gnu::always_inline]] inline thread_context& context() noexcept { return thread_wide<thread_context>(); }

inline put_off_work::put_off_work(thread_context& here) noexcept : here_(here), outer_(here.put_off) { here.put_off = this; }
inline put_off_work::~put_off_work() { here_.put_off = outer_; }

/// While it lives, the calling thread is in a publication: what it makes ready is handed over to executors of the user's
/// when the outermost one is over.
class publication {
 public:
  publication() noexcept : here_(context()) { ++here_.publishing; }
  publication(const publication&) = delete;
  publication& operator=(const publication&) = delete;
  ~publication() {
    if (--here_.publishing == 0 && here_.after_publishing != nullptr) [[unlikely]]
      here_.after_publishing(here_);
  }

  /// Ends one that has no object, if there is one: that of a task's end, or of the end of its turn at an actor. It begins
  /// while the task runs, and is over with the task's scope, which began in no publication.
  static void leave_all(thread_context& here) noexcept {
    here.publishing = 0;
    if (here.after_publishing != nullptr) [[unlikely]]
      here.after_publishing(here);
  }

 private:
  thread_context& here_;
};

/// While it lives, code of the user runs on the calling thread. In a publication: what this code makes ready is handed over
/// as it expects, and what the publication has put off remains so, unless this code waits.
class interlude final : public put_off_work {
 public:
  explicit interlude(thread_context& here) noexcept
      : put_off_work(here),
        here_(here),
        publishing_(std::exchange(here.publishing, 0u)),
        to_hand_over_(std::exchange(here.to_hand_over, work_list())),
        to_free_(std::exchange(here.to_free, work_list())),
        after_publishing_(std::exchange(here.after_publishing, nullptr)) {}
  ~interlude() {
    here_.publishing = publishing_;
    if (after_publishing_ != nullptr) put_back();
  }

  bool run_one() noexcept override {
    if (after_publishing_ == nullptr) return false;
    put_back();
    here_.after_publishing(here_);
    return true;
  }

 private:
  // The context's own lists are empty: what this code has published meanwhile is handed over.
  void put_back() noexcept {
    here_.to_hand_over = std::exchange(to_hand_over_, work_list());
    here_.to_free = std::exchange(to_free_, work_list());
    here_.after_publishing = std::exchange(after_publishing_, nullptr);
  }

  thread_context& here_;
  const unsigned publishing_;
  work_list to_hand_over_;
  work_list to_free_;
  void (*after_publishing_)(thread_context&) noexcept;
};

/// For every wait: does a piece of what this thread has put off, the innermost first. False if there is none.
[[gnu::noinline]] inline bool run_put_off(thread_context& here) noexcept {
  const interlude user_code(here);
  for (put_off_work* list = here.put_off; list != nullptr; list = list->outer())
    if (list->run_one()) return true;
  return false;
}
/// The same, where there is seldom any.
inline bool has_run_put_off(thread_context& here) noexcept {
  return (here.put_off != nullptr || here.after_publishing != nullptr) && run_put_off(here);
}

/// Is the time slice over of the task that runs on this thread?
inline bool slice_is_over(const thread_context& here) noexcept {
  // relaxed: a late look only lets the task run on for a while.
  return here.slice_over->load(relaxed) != 0;
}

/// Is this task's code on the calling thread's stack?
inline bool runs_on_this_stack(const shared_state& task) noexcept {
  for (const running_task* t = context().tasks; t != nullptr; t = t->outer)
    if (t->task == &task) return true;
  return false;
}

/// This thread takes from another stream from now on, or from none: gives back the room of the one it last took from.
inline void leave_last_stream(thread_context& here, bool reader_waits) noexcept {
  if (here.last_taken == nullptr) return;
  credited_stream* stream = here.last_taken;
  here.last_taken = nullptr;
  stream->return_credits(reader_waits);
  stream->drop_reference();
}
/// Called before any wait, and between tasks.
inline void return_all_credits() noexcept { leave_last_stream(context(), true); }

/// The same when the thread ends: it may not wait for anything after it has taken.
[[gnu::noinline]] inline void return_credits_at_thread_end() noexcept {
  struct settler {
    ~settler() { return_all_credits(); }
  };
  static thread_local settler at_end;
  (void)at_end;
}

}  // namespace dyngen::detail
