// SPDX-License-Identifier: MIT
#pragma once
// What the library knows about the calling thread: its role in a pool, the tasks whose code is on its stack, the stream
// from which it last consumed a value, and its deferred work. All of it is reached through context(), which is not
// inlined, because a coroutine may change threads at each suspension.
//
// A publication is an operation that makes several waiters ready: a task's end, a value, freed budget, or an actor's
// turn that passes on. No user code runs between its first and its last waiter: such code might wait for something that
// a later waiter brings, and the publication, below it on the stack, could not continue before that wait has ended.
// `publishing` counts the nested publications of the thread.
//
// Deferred work. A thread defers each of these in one situation, until that situation ends:
//
// | work                             | deferred while the thread                       | header              |
// | destroy a value                  | is in sixteen nested destructors of values      | slot_operations.hpp |
// | cancel a task linked by stop_on  | is in sixteen nested cancellations of that kind | retry.hpp           |
// | hand a ready task to an executor | is in a publication (only a user's executor)    | deferred_tasks.hpp  |
// | free a task                      | is in a publication                             | deferred_tasks.hpp  |
// | run or end a task inline         | runs or ends another task inline                | inline_queue.hpp    |
// | publish a task's end             | destroys values that the task left behind       | run_loop.hpp        |
//
// Deferred work is in lists, on the stack or in the context. The function that began the situation empties its list
// when the situation ends. Until then user code, a destructor or a task, runs above that function on the stack, and may
// wait for a result of the deferred work. So every wait in the library first does the deferred work of its thread:
// run_one_deferred().

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
struct worker_queue;

/// What a pool provides for one of its threads. Called by the library's waits on that thread.
class worker_hooks {
 public:
  /// This thread is about to block, and the pool lets another thread run in its place. Returns false if there is no
  /// other thread; then the caller must not block for long, and calls run_one() again and again.
  virtual bool begin_blocking() noexcept = 0;
  /// Called when this thread continues after a begin_blocking() that has returned true. Never waits.
  virtual void end_blocking() noexcept = 0;
  /// Runs one queued task of the pool. Returns false if there is none.
  virtual bool run_one() noexcept = 0;
  /// True if run_one() only ends tasks and runs none of their code; then waits with a time limit call it too.
  virtual bool only_ends_tasks() const noexcept { return false; }

 protected:
  ~worker_hooks() = default;
};

class thread_wait;

/// A task whose code is on this thread's stack.
struct running_task {
  running_task(shared_state* t, running_task* o) noexcept : task(t), outer(o) {}

  shared_state* task;
  running_task* outer;
  /// The wait without a time limit in which the task's code blocks, or null. The host guards it and the links, and sets
  /// the links.
  const thread_wait* wait = nullptr;
  running_task* previous;
  running_task* next;
  running_task* shown_before;         ///< the next outer task that inspectors see; set by inspector.hpp
};

/// A stream from which this thread has consumed values, and may not have returned all their credits to the producer.
class credited_stream {
 public:
  /// Returns the credits. `reader_waits`: the reader is about to wait for something else, so the producer must run
  /// without the reader.
  virtual void return_credits(bool reader_waits) noexcept = 0;
  virtual void drop_reference() noexcept = 0;

 protected:
  ~credited_stream() = default;
};

/// A word that stays 0, for threads that run no pool's tasks. A pool's worker has a word of its own, which its pool
/// sets when the time slice of the running task is over.
inline atomic<std::uint32_t> no_time_slice{0};

struct thread_context;

/// A list of deferred work. The object is on the stack of its thread, so the lists of a thread form a stack, too.
class deferred_work {
 public:
  deferred_work(const deferred_work&) = delete;
  deferred_work& operator=(const deferred_work&) = delete;

  /// Does the next piece of work. Returns false if there is none.
  virtual bool run_one() noexcept = 0;
  deferred_work* outer() const noexcept { return outer_; }

 protected:
  explicit inline deferred_work(thread_context& here) noexcept;
  inline ~deferred_work();

 private:
  thread_context& here_;
  deferred_work* const outer_;
};

class dropped_values;
class deferred_cancels;

/// Initial value of `helping`. It is above max_helping (help_policy.hpp), so a thread's first attempt to help takes the
/// slow path, which registers the thread with the inspector.
inline constexpr unsigned stranger = 1u << 30;

struct thread_context {
  static constexpr std::string_view name_in_process = "thread_context";

  worker_hooks* role = nullptr;
  worker_queue* queue = nullptr;  ///< where tasks offer their children to other workers; null if the thread is no worker
  running_task* tasks = nullptr;
  /// The word is not 0 when the code that runs here should soon let other tasks run.
  const atomic<std::uint32_t>* slice_over = &no_time_slice;
  unsigned helping = stranger;   ///< how many tasks run on this stack on behalf of waits
  /// The stream from which this thread last consumed a value, or null. The thread holds a reference on the stream's
  /// record until it consumes a value of another stream, waits, reaches the end of a task, or ends. A thread that
  /// destroys the stream in the meantime cannot clear this pointer: it destroys frame, arguments and values, but the
  /// record, the exception with which its task ended, and the core of its pool stay. So each thread keeps at most one
  /// such record. If another thread could take the reference away, each value would cost an atomic operation.
  credited_stream* last_taken = nullptr;
  deferred_work* deferred = nullptr;  ///< the innermost list of deferred work
  unsigned publishing = 0;       ///< number of nested publications
  unsigned destroying = 0;       ///< number of nested destructors of values, in the code of the innermost task
  dropped_values* dropped = nullptr;  ///< list for values that are dropped at the limit of nested destructors, or null
  deferred_cancels* cancels = nullptr;  ///< list of the innermost cancellation passed down by stop_on, or null
  /// Does the work that a publication has deferred; null if there is none.
  void (*after_publishing)(thread_context&) noexcept = nullptr;
  work_list to_hand_over;        ///< tasks to hand to their executors when the publication is over
  work_list to_free;             ///< tasks without references, to free when the publication is over
  work_list inline_tasks;        ///< tasks that this thread runs or ends itself, one after the other
  bool runs_inline = false;      ///< the thread is emptying `inline_tasks`
  /// While a shared state with a failure is freed: the list of the shared states to free next.
  shared_state** freed = nullptr;
  void* freed_frame = nullptr;   ///< the coroutine frame that was deallocated last
  unsigned direct_calls = 0;     ///< coroutines that other ones run on this thread's stack (awaiting.hpp)
  /// The innermost task of this thread that inspectors may read (inspector.hpp).
  atomic<running_task*> shown{nullptr};
  thread_context* next_known = nullptr;  ///< the next one in the inspector's list; guarded by the inspector
  thread_memory* memory = nullptr;   ///< the thread's memory cache (memory.hpp)
  bool memory_over = false;          ///< the cache was released, because the thread is ending
  std::uint64_t identity = 0;        ///< the thread's number (thread_identity() in memory.hpp); 0: none yet
  trace_row* row = nullptr;      ///< this thread's row in the trace with the number `row_of`
  std::uint64_t row_of = 0;
};

/// The context of the calling thread; all loaded objects of the process share it (process.hpp). The reference is valid
/// until the thread ends. Never keep it across a suspension.
DYNGEN_ALWAYS_INLINE inline thread_context& context() noexcept { return thread_wide<thread_context>(); }

inline deferred_work::deferred_work(thread_context& here) noexcept : here_(here), outer_(here.deferred) {
  here.deferred = this;
}
inline deferred_work::~deferred_work() { here_.deferred = outer_; }

/// While it exists, the calling thread is in a publication. The deferred work is done when the outermost publication is
/// over.
class publication {
 public:
  publication() noexcept : here_(context()) { ++here_.publishing; }
  publication(const publication&) = delete;
  publication& operator=(const publication&) = delete;
  ~publication() {
    if (--here_.publishing == 0 && here_.after_publishing != nullptr) [[unlikely]]
      here_.after_publishing(here_);
  }

  /// Ends all publications of the thread. Called at the end of a task's scope, which began outside of any publication.
  /// The task may have begun publications without an object in it: of its own end, and of the end of its turn at an
  /// actor.
  static void leave_all(thread_context& here) noexcept {
    here.publishing = 0;
    if (here.after_publishing != nullptr) [[unlikely]]
      here.after_publishing(here);
  }

 private:
  thread_context& here_;
};

/// While it exists, user code runs on the calling thread, possibly inside a publication. Tasks that the user code makes
/// ready are handed over at once. The work that the outer publication has deferred stays deferred, unless the user code
/// waits.
class interlude final : public deferred_work {
 public:
  explicit interlude(thread_context& here) noexcept
      : deferred_work(here),
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
  // The context's own lists are empty now: the work of publications inside the user code is done.
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

/// run_one_deferred() for a thread that may have deferred work.
DYNGEN_NOINLINE inline bool run_one_deferred_slowly(thread_context& here) noexcept {
  const interlude user_code(here);
  for (deferred_work* list = here.deferred; list != nullptr; list = list->outer())
    if (list->run_one()) return true;
  return false;
}
/// Does one piece of this thread's deferred work, from the innermost list that has any. Returns false if there is none.
/// Every wait calls it.
inline bool run_one_deferred(thread_context& here) noexcept {
  return (here.deferred != nullptr || here.after_publishing != nullptr) && run_one_deferred_slowly(here);
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

/// Returns the credits of the stream from which this thread last consumed a value. Called when the thread turns to
/// another stream, or to none.
inline void leave_last_stream(thread_context& here, bool reader_waits) noexcept {
  if (here.last_taken == nullptr) return;
  credited_stream* stream = here.last_taken;
  here.last_taken = nullptr;
  stream->return_credits(reader_waits);
  stream->drop_reference();
}
/// Returns the credits of the last stream. Called before every wait, and between tasks.
inline void return_all_credits() noexcept { leave_last_stream(context(), true); }

/// Makes the calling thread return the credits of its last stream when it ends. It may end without another wait.
DYNGEN_NOINLINE inline void return_credits_at_thread_end() noexcept {
  struct at_end_of_thread {
    ~at_end_of_thread() { return_all_credits(); }
  };
  static thread_local at_end_of_thread at_end;
  (void)at_end;
}

}  // namespace dyngen::detail
