// SPDX-License-Identifier: MIT
#pragma once
// What the library knows about the calling thread: its role in a pool, the tasks whose code is on its stack, the stream
// from which it last took a value, and the work that it has put off. A coroutine may change threads at each suspension,
// so one function that is not inlined, context(), gives access to all of it.
//
// Put-off work. A thread does four things not at once but a little later:
//
//   destroys values        if destructors nest too deeply: when the destructor below on the stack returns
//                          (slot_operations.hpp)
//   hands tasks over       to a user's executor, if they became ready in a publication: after it (put_off.hpp)
//   runs inline tasks      if it already runs one: after that one (inline_queue.hpp)
//   publishes a task's end while it destroys the values that the task's stream leaves behind: after them (run_loop.hpp)
//
// Each kind of work is in a list, on the stack or in the context, and the code below on the stack empties it. User code
// above it on the stack, a destructor or a task, may wait for something that only this work brings. So every wait in
// the library first does what its thread has put off: run_put_off().
//
// A publication is an operation that makes several waiters ready: a task's end, a value, freed budget, or an actor's
// turn that passes on. No user code runs between its first and its last waiter: such code might wait for something that
// a later waiter brings, while the publishing thread is below it on the stack. `publishing` counts the publications
// that the thread is in.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/compiler.hpp>
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

/// The hooks of a pool for one of its threads; the library's waits call them.
class worker_hooks {
 public:
  /// This thread is about to block, and the pool lets another thread run in its place. Returns false if there is no
  /// other thread; then the caller must not block for long, and calls run_one() again and again.
  virtual bool begin_blocking() noexcept = 0;
  /// Called when this thread continues after a begin_blocking() that has returned true. Never waits.
  virtual void end_blocking() noexcept = 0;
  /// Runs one queued task of the pool. Returns false if there is none.
  virtual bool run_one() noexcept = 0;
  /// True if run_one() only ends tasks that will not run; then waits with a time limit call it too.
  virtual bool only_ends_tasks() const noexcept { return false; }

 protected:
  ~worker_hooks() = default;
};

class thread_wait;

/// A task whose code is on this thread's stack.
struct running_task {
  running_task(shared_state* t, running_task* o) noexcept : task(t), outer(o) {}  // others set the rest

  shared_state* task;
  running_task* outer;
  /// The wait that blocks it, if that has no time limit; guarded by its host, like the links.
  const thread_wait* wait = nullptr;
  running_task* previous;
  running_task* next;
  running_task* shown_before;         ///< the next outer task that inspectors see
};

/// A stream from which this thread has taken values without yet returning the credits to the producer.
class credited_stream {
 public:
  /// Returns the credits. `reader_waits`: the reader is about to wait for something else, so the stream must run
  /// without it.
  virtual void return_credits(bool reader_waits) noexcept = 0;
  virtual void drop_reference() noexcept = 0;

 protected:
  ~credited_stream() = default;
};

/// A word that stays 0, for threads that run no pool's tasks. A pool's worker has a word of its own, which its pool
/// sets when the time slice of the running task is over.
inline atomic<std::uint32_t> no_time_slice{0};

struct thread_context;

/// A list of work that a thread has put off. The object is on that thread's stack; the last one constructed is the
/// first one destroyed.
class put_off_work {
 public:
  put_off_work(const put_off_work&) = delete;
  put_off_work& operator=(const put_off_work&) = delete;

  /// Does the next piece of work. Returns false if there is none.
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
class put_off_cancels;

/// Initial value of `helping`. It is above max_helping, so the first attempt to help takes the slow path, which
/// registers this thread with the inspector.
inline constexpr unsigned stranger = 1u << 30;

struct thread_context {
  static constexpr std::string_view name_in_process = "thread_context";

  worker_hooks* role = nullptr;
  running_task* tasks = nullptr;
  /// Not 0: the code that runs here should soon let other tasks run.
  const atomic<std::uint32_t>* slice_over = &no_time_slice;
  unsigned helping = stranger;   ///< how many tasks run on this stack on behalf of waits
  /// The thread holds a reference on that task's record until it takes a value from another stream, waits, reaches the
  /// end of a task, or ends. If another thread destroys the stream in the meantime, it cannot clear this pointer, so
  /// the record stays: its own memory, the exception with which its task ended, and the core of its pool. Frame,
  /// arguments and values go when the stream is destroyed. So each thread keeps at most one such record. A reference
  /// that another thread could take away would cost an atomic operation for each value.
  credited_stream* last_taken = nullptr;
  put_off_work* put_off = nullptr;  ///< the innermost list of work that this thread has put off
  unsigned publishing = 0;       ///< how many publications it is in
  unsigned destroying = 0;       ///< how many destructors of values are nested here, in the code of one task
  dropped_values* dropped = nullptr;  ///< takes values that are dropped when the limit of nested destructors is reached
  put_off_cancels* cancels = nullptr;  ///< where cancellations go that come inside another one
  void (*after_publishing)(thread_context&) noexcept = nullptr;  ///< hands over what was put off, if there is anything
  work_list to_hand_over;        ///< tasks, put off until the publication is over
  work_list to_free;             ///< tasks without references, put off until the publication is over
  work_list inline_tasks;        ///< tasks that this thread is to run one after the other
  bool runs_inline = false;      ///< it is running one of `inline_tasks`
  /// While a shared state with a failure is freed: the list of those that are to be freed next.
  shared_state** freed = nullptr;
  void* freed_frame = nullptr;   ///< the coroutine frame that was deallocated last
  /// The innermost task of this thread that inspectors may read (inspector.hpp).
  atomic<running_task*> shown{nullptr};
  thread_context* next_known = nullptr;  ///< in the inspector's list of threads; guarded by the inspector
  thread_memory* memory = nullptr;   ///< its memory cache (memory.hpp)
  bool memory_over = false;          ///< the cache was given back, because the thread is ending
  std::uint64_t identity = 0;        ///< see thread_identity()
  trace_row* row = nullptr;      ///< where this thread records the trace with the number `row_of`
  std::uint64_t row_of = 0;
};

/// The context of the calling thread; all objects of the process share it (process.hpp). The reference is valid until
/// the thread ends. Never keep it across a suspension.
DYNGEN_ALWAYS_INLINE inline thread_context& context() noexcept { return thread_wide<thread_context>(); }

inline put_off_work::put_off_work(thread_context& here) noexcept : here_(here), outer_(here.put_off) { here.put_off = this; }
inline put_off_work::~put_off_work() { here_.put_off = outer_; }

/// While it exists, the calling thread is in a publication. Tasks that become ready for a user's executor are handed
/// over when the outermost publication is over.
class publication {
 public:
  publication() noexcept : here_(context()) { ++here_.publishing; }
  publication(const publication&) = delete;
  publication& operator=(const publication&) = delete;
  ~publication() {
    if (--here_.publishing == 0 && here_.after_publishing != nullptr) [[unlikely]]
      here_.after_publishing(here_);
  }

  /// Ends all publications of the thread. For the one of a task's end, or of the end of its turn at an actor: it begins
  /// while the task runs, has no object, and ends with the task's scope, which began outside of any publication.
  static void leave_all(thread_context& here) noexcept {
    here.publishing = 0;
    if (here.after_publishing != nullptr) [[unlikely]]
      here.after_publishing(here);
  }

 private:
  thread_context& here_;
};

/// While it exists, user code runs on the calling thread, possibly inside a publication. What the user code makes ready
/// is handed over at once. What the outer publication has put off stays put off, unless the user code waits.
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
  // The context's own lists are empty now: what the user code published has been handed over.
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

/// Does one piece of the work that this thread has put off, innermost list first. Returns false if there is none. Every
/// wait calls it.
DYNGEN_NOINLINE inline bool run_put_off(thread_context& here) noexcept {
  const interlude user_code(here);
  for (put_off_work* list = here.put_off; list != nullptr; list = list->outer())
    if (list->run_one()) return true;
  return false;
}
/// run_put_off() for callers that seldom have any: the check is inlined.
inline bool has_run_put_off(thread_context& here) noexcept {
  return (here.put_off != nullptr || here.after_publishing != nullptr) && run_put_off(here);
}

/// True if the time slice of the task that runs on this thread is over.
inline bool slice_is_over(const thread_context& here) noexcept {
  // relaxed: a stale value only lets the task run a little longer.
  return here.slice_over->load(relaxed) != 0;
}

/// True if the task's code is on the calling thread's stack.
inline bool runs_on_this_stack(const shared_state& task) noexcept {
  for (const running_task* t = context().tasks; t != nullptr; t = t->outer)
    if (t->task == &task) return true;
  return false;
}

/// Returns the credits of the stream from which this thread last took a value, because it takes from another stream
/// from now on, or from none.
inline void leave_last_stream(thread_context& here, bool reader_waits) noexcept {
  if (here.last_taken == nullptr) return;
  credited_stream* stream = here.last_taken;
  here.last_taken = nullptr;
  stream->return_credits(reader_waits);
  stream->drop_reference();
}
/// Returns the credits of the last stream. Called before every wait, and between tasks.
inline void return_all_credits() noexcept { leave_last_stream(context(), true); }

/// Makes the thread return the credits of its last stream when it ends: it may end without another wait.
DYNGEN_NOINLINE inline void return_credits_at_thread_end() noexcept {
  struct settler {
    ~settler() { return_all_credits(); }
  };
  static thread_local settler at_end;
  (void)at_end;
}

}  // namespace dyngen::detail
