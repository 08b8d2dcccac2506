// SPDX-License-Identifier: MIT
#pragma once
// One task, from submit to its end: its data, and how it starts, becomes ready and is cancelled. run_loop.hpp has how a
// thread runs it. Derived classes know what the task computes and where its values go. Its task_host decides where and
// when it runs.
//
// References on a record: one for the run (until its end is published), one for the link in an executor's queue, one
// for each slot that has a holder, and one for each dependency with which it is registered.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/work_item.hpp>
#include <dyngen/detail/task/actor_call.hpp>
#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/task/recorder.hpp>
#include <dyngen/detail/task/state_word.hpp>
#include <dyngen/detail/task/task_host.hpp>
#include <dyngen/detail/task/task_snapshot.hpp>
#include <dyngen/detail/value/slot_operations.hpp>
#include <dyngen/error.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace dyngen::detail {

/// Why a task's code returned control to the thread that runs it.
enum class step : unsigned char {
  paused,        ///< it stored the value at which it was to stop
  ended,         ///< it has reached its end or thrown
  too_many_values,       ///< it yielded more values than requested
  too_few,       ///< a new attempt ended with fewer values than an earlier one had stored
  out_of_order,  ///< it yielded a value of the wrong type
  cancelled,     ///< it found that it was cancelled
  awaiting,      ///< it waits for something: see awaited()
  rescheduled,   ///< other tasks are to run first
  hop            ///< it has entered or left a nested coroutine: the driver resumes it at once, and never returns this
};

/// For a cancelled task: the state of its children, the tasks that its code has started to run concurrently.
struct childrens_end {
  thread_wait* wait = nullptr;  ///< a wait for a child that has not ended, or null
  bool no_memory = false;       ///< there was no memory for that wait
};

/// Links of the host's list of suspended tasks.
struct suspended_links {
  task_record* previous = nullptr;
  task_record* next = nullptr;
};

/// Data that few tasks need.
struct task_extras {
  std::string name;
  suspended_links suspended;  ///< for a task without other links: one that never waits, but has asked for its token
  atomic<std::stop_source*> stop{nullptr};  ///< created when the task first asks for its token

  explicit task_extras(std::string n) noexcept : name(std::move(n)) {}
  // relaxed: the last reference on the task is gone.
  ~task_extras() { delete stop.load(relaxed); }
};

/// True for a cancelled_error, of this task or of one that it has waited for.
inline bool is_cancellation(const std::exception_ptr& failure) noexcept {
  try {
    std::rethrow_exception(failure);
  } catch (const cancelled_error&) {
    return true;
  } catch (...) {
    return false;
  }
}

class task_record : public shared_state, public work_item {
 public:
  /// Called last in submit(): starts the task, or lets its dependencies start it. Takes over one reference for the
  /// queue.
  void start(admission how) noexcept;
  /// start() for a task that has no dependencies and that no other thread can access yet.
  void start_at_once(admission how) noexcept {
    pending_.store(0, relaxed);  // relaxed: published by the push
    state_.begin_queued(how == admission::as_cancelled ? state_word::cancelled : 0);
    host_->push(*this, false);
  }

  /// Called by the thread that popped the link from a queue: runs the task if it is still queued. Takes over the
  /// queue's reference.
  void run_popped() noexcept;
  /// Called if no thread will ever run the popped link: ends the task as cancelled if it is still queued. Takes over
  /// the queue's reference. In inline_queue.hpp.
  void abandon_popped() noexcept;

  /// Called by a queue that has removed the link because it may be outdated. Drops the queue's reference and returns
  /// true if it is; returns false if the link must go back.
  bool drop_stale_link() noexcept {
    if (!state_.drop_link()) return false;
    drop_references(1);
    return true;
  }

  const char* noun() const noexcept override { return "task"; }
  void observe(task_snapshot& o) noexcept final;

  bool help(std::uint64_t wanted) noexcept override;
  /// Result of run_for_waiter(). behind: the task was run, and is queued again behind all other work, which is to come
  /// first.
  enum class has_run : unsigned char { no, yes, behind };
  /// help(), even if the task's host does not let waiters help.
  has_run run_for_waiter(std::uint64_t wanted) noexcept;
  bool cancel() noexcept override;
  const void* pool_id() const noexcept override { return host_->pool_id(); }
  const void* actor_id() const noexcept override { return host_->actor_id(); }
  bool one_method_at_a_time() const noexcept override { return host_->one_method_at_a_time(); }
  void blocks(running_task& entry, const thread_wait* wait) noexcept override { host_->task_blocks(entry, wait); }
  std::string_view name() const noexcept override {
    const task_extras* const extras = extras_.load(acquire);  // [X1]
    return extras != nullptr ? std::string_view(extras->name) : std::string_view();
  }
  void report(std::exception_ptr e) noexcept override {
    number_text text;
    host_->report(std::move(e), name_or_number(text));
  }

  task_host& host() noexcept { return *host_; }
  state_word& state() noexcept { return state_; }
  const state_word& state() const noexcept { return state_; }

  /// Ends a cancelled or doomed task on this thread if it is still queued. Of its code only destructors run. For
  /// threads that must not depend on the task's executor.
  void end_queued() noexcept;

  // For work that a publication defers; defined in deferred_tasks.hpp and inline_queue.hpp.
  /// Hands the link, which the caller has, to the executor.
  void hand_over() noexcept;
  void drop_waiters_reference() noexcept final;
  void free_unreferenced() noexcept { failure() ? free_in_turn() : free_memory(); }

  /// waiting, parked or kept -> queued; no effect in another phase.
  void wake() noexcept final { make_ready(); }
  void make_ready() noexcept {
    const phase now = state_word::phase_of(state_.load());
    if (!state_word::is_suspended(now)) return;
    if (now == phase::kept) leaves_reader();
    host_->wakes();
    push_if(state_.make_ready());
  }

  /// True if the task waits for something that tasks of its own host cannot bring. Called by a host that closes.
  virtual bool waits_for_outside() noexcept {
    // relaxed: if the task goes on in the meantime, the closing thread checks again.
    return (state_.load() & state_word::waiting_for_turn) == 0 && !awaits_own_host_.load(relaxed);
  }
  /// Called by the running task before it waits; `only`: it waits only for what tasks of its own host bring.
  // relaxed: as in waits_for_outside().
  void note_awaits_own_host(bool only) noexcept { awaits_own_host_.store(only, relaxed); }

  /// The task's token; the first call creates it. Called by the thread that runs the task. Throws std::bad_alloc.
  std::stop_token stop_token();
  /// True if its code has asked for a token: the code may run for long and poll the token.
  bool has_stop_token() const noexcept {
    const task_extras* const extras = extras_.load(acquire);  // [X1]
    return extras != nullptr && extras->stop.load(acquire) != nullptr;
  }
  /// True if a handle asked the task to stop.
  bool cancelled() const noexcept { return (state_.load() & state_word::cancelled) != 0; }
  /// True if a handle or its host asked the task to stop.
  bool stop_requested() const noexcept { return cancelled() || host_->cancelling(); }
  /// The call's state if the task is a call of an actor, else null.
  virtual actor_call* as_actor_call() noexcept { return nullptr; }
  /// How many times its callable was called: 1, 2, … Any thread may call this.
  virtual std::uint64_t attempt() const noexcept { return 1; }

  /// Its links in the host's list of suspended tasks, guarded by the host. Only for a task that may suspend or has
  /// asked for its token.
  // relaxed: this task has set it.
  virtual suspended_links& links_when_suspended() noexcept { return extras_.load(relaxed)->suspended; }

 protected:
  void lost() noexcept final { host_->report_later(*this); }

  task_record(task_host& host, std::uint32_t references, std::unique_ptr<task_extras> extras) noexcept
      : shared_state(references), host_(&host), extras_(extras.release()) {}
  // relaxed: the last reference is gone.
  ~task_record() { delete extras_.load(relaxed); }

  /// Runs the task's code until it has stored `stop_at` values, or something else happens.
  virtual step resume(std::uint64_t stop_at) noexcept = 0;
  /// Completes a step that the stream's reader has made itself, without resume(). Returns how the step ended.
  virtual step after(step last) noexcept { return last; }
  /// What its code awaits; null if nothing. Only for the thread that runs the task.
  virtual thread_wait* awaited() noexcept { return nullptr; }
  /// Called when the task is cancelled: asks its children to stop.
  virtual childrens_end end_children() noexcept { return {}; }
  /// How many values are stored. Only for the thread that runs the task.
  virtual std::uint64_t made() const noexcept { return 0; }
  /// How many values may be stored now, at most. Any thread may call this.
  virtual std::uint64_t credit_limit() const noexcept { return no_limit; }
  /// Spins for credits if they are expected soon. Returns whether some have come.
  virtual bool credits_come_soon(std::uint64_t /*made*/) noexcept { return false; }
  /// Destroys frame, callable, arguments and the refs in them. Returns an exception that one of the destructors threw,
  /// or null.
  virtual std::exception_ptr close_body() noexcept = 0;
  /// The error of a task whose code has reached its end, if it stored too few values; else null.
  virtual std::exception_ptr check_arity() { return nullptr; }
  virtual std::exception_ptr too_many_values_error() { return nullptr; }
  /// Called after its code has thrown `failure_`. If another attempt is allowed, resets everything but the stored
  /// values to the state before the first step, and returns true.
  virtual bool try_again() noexcept { return false; }
  /// Result of seal().
  struct sealed {
    bool has_carrier = false;    ///< a slot of a value carries the failure
    bool leaves_values = false;  ///< there are values to destroy that no handle refers to
  };
  /// Gives every slot that is still empty its final stage.
  virtual sealed seal(std::uint32_t flags) noexcept = 0;
  virtual void destroy_left_values() noexcept {}
  /// Publishes the end and wakes the waiters. Returns how many references the run gives up.
  virtual std::uint32_t publish_end() noexcept {
    const bool unheld = slot::holders_of(publish(completion(), failure_ ? stage::failed : stage::value)) == 1;
    results().waiters.notify(results().ready());
    if (unheld && failure_) drop_carriers(1);
    return unheld ? 1 : 0;
  }
  /// Returns how many stored values the host has not counted yet. If not `ended`, lets the host count them.
  virtual std::uint64_t uncounted(bool ended) noexcept { return ended ? made() : 0; }
  /// The exception of a dependency that failed, or null. Sets `whose` to its thrower, with a share of the failure.
  virtual std::exception_ptr failed_dependency(shared_state*& /*whose*/) noexcept { return nullptr; }
  /// Called by an inspecting thread, while the task waits for its dependencies: records those that are not ready.
  virtual void observe_dependencies(task_snapshot&) noexcept {}
  /// Called by an inspecting thread, in any phase.
  virtual void observe_stream(task_snapshot&) noexcept {}
  /// For a call of an actor: the reason not to run it, because the actor is dead, or null. `whose` as in
  /// failed_dependency().
  virtual std::exception_ptr refusal(shared_state*& /*whose*/) noexcept { return nullptr; }
  /// Registers with all dependencies that are not ready. Returns false if there are none; then the task is not
  /// suspended.
  virtual bool register_dependencies() noexcept { return false; }
  /// Called while the task registers: true if there is nothing to wait for.
  bool has_all_it_needs() const noexcept {
    // relaxed: a true result does not change any more, and start() reads again.
    const std::uint32_t pending = pending_.load(relaxed);
    return pending == registering || (pending & one_failed) != 0;
  }

  void dependency_done(bool failed) noexcept {
    if (failed) {
      state_.set(state_word::doomed);
      pending_.fetch_or(one_failed, relaxed);  // relaxed: the decrement below publishes it
    }
    // acq_rel: the thread that makes the task ready sees what the dependencies published.
    const std::uint32_t before = pending_.fetch_sub(1, acq_rel);
    if ((before & registering) != 0) return;  // start() still uses the arguments, and then makes the task ready
    if (failed || (before & ~one_failed) == 1) make_ready();
  }

  std::exception_ptr make_cancelled_error() noexcept {
    try {
      return std::make_exception_ptr(
          cancelled_error("dyngen: task " + label() + " was cancelled before it stored this value"));
    } catch (...) {
      return std::current_exception();
    }
  }

  /// The error of a tuple_generator that has yielded something other than a value of the next type.
  std::exception_ptr order_error(std::uint64_t position) {
    return std::make_exception_ptr(type_order_error(
        "dyngen: task " + label() + " yielded a value that does not convert to the type of its position " +
        std::to_string(position) + " (counted from 0) in the tuple_generator; yield one value of each type, in order"));
  }
  /// The error of an attempt that has stored fewer values than those before it.
  std::exception_ptr replay_error() {
    return std::make_exception_ptr(nondeterministic_error(
        "dyngen: attempt " + std::to_string(attempt()) + " of task " + label() + " ended with fewer values than the " +
        std::to_string(made()) + " that earlier attempts had stored; with max_retries a task must yield the same values each time"));
  }

  /// The error of a task that was asked to stop before `thrown` left its code.
  std::exception_ptr cancelled_error_around(const std::exception_ptr& thrown) {
    if (is_cancellation(thrown)) return thrown;
    const cancelled_error outer("dyngen: task " + label() + " was cancelled; the exception that its code threw is nested in this one");
    try {
      std::rethrow_exception(thrown);
    } catch (...) {
      try {
        std::throw_with_nested(outer);
      } catch (...) {
        return std::current_exception();
      }
    }
  }

  static constexpr std::uint32_t registering = std::uint32_t{1} << 31;
  static constexpr std::uint32_t one_failed = std::uint32_t{1} << 30;
  atomic<std::uint32_t> pending_{registering};  ///< number of dependencies that are not ready, and flags

  /// For a stream that its reader has run on this thread up to the wanted value: keeps it for the reader. Returns false
  /// if it may not be kept.
  virtual bool keep_for_reader() noexcept { return false; }
  /// Makes the producer of a stream or list look at its flags (segmented_buffer.hpp). From any thread.
  virtual void close_window() noexcept {}
  /// Called when a stream that is kept for its reader is about to run without the reader.
  virtual void leaves_reader() noexcept {}

  /// Continues after a step that a stream's reader has made itself, up to value `wanted`; a `task_scope` exists.
  /// Returns how many references the caller must drop.
  std::uint32_t go_on(std::uint64_t wanted, step last) noexcept { return go_on(wanted, &last).given_up; }
  /// Tells the host if the task is queued and only ends. Called if its link is not pushed, because the task is in
  /// another phase, or because the link is in the queue already.
  void note_queued() noexcept {
    const std::uint32_t word = state_.load();
    if (state_word::phase_of(word) == phase::queued && (word & state_word::only_ends) != 0) [[unlikely]]
      host_->queued_cancelled(*this);
  }
  /// Queues the running task again.
  void requeue() noexcept { (void)requeue_and_return(false); }
  void push_if(state_word::next next) noexcept {
    if (next == state_word::next::nothing) return note_queued();
    add_references(1);
    host_->push(*this, false);
  }

 private:
  struct run_result {
    std::uint32_t given_up = 0;  ///< number of references that the caller must drop
    bool behind = false;         ///< queued behind all other work, which is to come first
  };
  /// Runs the task until it ends or cannot go on; after value `wanted` is stored, only until it may be queued. Inlined,
  /// because it is only a few instructions around go_on(), for each task.
  DYNGEN_ALWAYS_INLINE inline run_result run(std::uint64_t wanted) noexcept;
  run_result run_traced(std::uint64_t wanted) noexcept;
  run_result go_on(std::uint64_t wanted, const step* made_already) noexcept;
  template <class Ready>
  bool park(std::uint32_t unless, Ready ready) noexcept;
  /// True if its suspended code waits for something that is not ready.
  bool awaits() noexcept;
  /// Called if awaits(). Returns true if the task is parked, or another thread runs it already; false if it may go on.
  bool park_awaiting() noexcept { return park_in(*awaited(), state_word::cancelled); }
  bool park_in(thread_wait& wait, std::uint32_t unless) noexcept;
  bool waits_for_children(run_result& left) noexcept;
  run_result requeue_and_return(bool behind) noexcept {
    task_host& host = *host_;
    if (state_.requeue() == state_word::next::push) {
      add_references(1);
      host.push(*this, behind);
    } else {
      note_queued();
    }
    host.left();
    return {.behind = behind};
  }
  /// Called when the value for which a waiting thread ran the task is stored: keeps the stream for its reader if
  /// possible, else queues the task again.
  run_result return_after_help() noexcept { return keep_for_reader() ? run_result() : requeue_and_return(false); }
  /// Returns false if the task is at its end; then `last` says how it ends.
  bool goes_on_after(step& last) noexcept {
    if (last == step::cancelled) state_.set(state_word::cancelled);  // it ends when its children have ended
    return last == step::paused || last == step::cancelled || (last == step::ended && failure_ && goes_on_after_exception(last));
  }
  bool goes_on_after_exception(step& last) noexcept;
  bool tries_again() noexcept;
  run_result return_parked(trace_kind why) const noexcept {
    if (recorder* const log = host_->trace()) [[unlikely]]
      log->note(why);
    return {};
  }
  run_result finish(step last) noexcept;
  enum class unheld_failure : unsigned char { is_silent, is_reported, is_reported_even_if_held };
  std::uint32_t publish_end_and_report(unheld_failure what) noexcept {
    if (what != unheld_failure::is_silent) [[unlikely]]
      report_if_unheld(what);
    return publish_end();
  }
  std::uint32_t destroy_left_values_and_publish(unheld_failure what) noexcept;
  void report_if_unheld(unheld_failure what) noexcept;
  DYNGEN_NOINLINE void trace_end(task_outcome how) const noexcept {
    if (how == task_outcome::cancelled) host_->trace()->note(trace_kind::cancelled);
    if (how == task_outcome::failed) host_->trace()->note_error(failure_);
  }
  std::exception_ptr error_of(step last) noexcept;

  state_word state_;
  task_host* host_;
  // [X1] release, acquire: a thread that sees the extras, or the stop source in them, sees the whole object.
  // [X2] cancel() and stop_token(): each writes its word (seq_cst), then reads the other's word (seq_cst).
  atomic<task_extras*> extras_;
  bool begun_ = false;
  atomic<bool> awaits_own_host_{false};

 public:
  /// Whether the task is in the host's list of suspended tasks. Placed last: flags of derived classes share its word.
  bool listed = false;
};

inline void task_record::start(admission how) noexcept {
  if (how == admission::as_cancelled) state_.set(state_word::cancelled);
  const bool registered = register_dependencies();
  task_host& host = *host_;
  // seq_cst: acquires as in dependency_done(). Also pairs with cancel(), which sets its flag, then reads `pending_`,
  // and lets start() make ready a task that is still registering. Here `pending_` is written first, then the flag is
  // read.
  const std::uint32_t before = pending_.fetch_sub(registering, seq_cst);
  const bool ready = before == registering || (before & one_failed) != 0 || (state_.load() & state_word::cancelled) != 0;
  if (ready && registered) host.wakes();
  if (ready && state_.make_ready() == state_word::next::push) {
    host.push(*this, false);  // with the queue's reference
    if (registered) host.suspension_decided();
    return;
  }
  if (registered) host.suspension_decided();
  drop_references(1);
}

inline bool task_record::cancel() noexcept {
  const std::uint32_t before = state_.set(state_word::cancelled);
  close_window();  // [A1]
  if (state_word::phase_of(before) == phase::ended || (before & state_word::thrown) != 0) return false;
  // [X2] seq_cst, both; [X1] makes the whole source visible.
  if (task_extras* const extras = extras_.load(seq_cst))
    if (std::stop_source* const source = extras->stop.load(seq_cst)) {
      const interlude user_code(context());
      source->request_stop();
    }
  if ((pending_.load(seq_cst) & registering) == 0) make_ready();  // else start() sees the flag
  if ((before & state_word::waiting_for_turn) != 0)
    host_->cancelled_while_waiting_for_turn(*this);  // [M1]
  else if ((before & state_word::cancelled) == 0 && state_word::phase_of(before) == phase::queued)
    host_->queued_cancelled(*this);
  return true;
}

inline std::stop_token task_record::stop_token() {
  // relaxed, both: only the thread that runs the task writes them.
  task_extras* extras = extras_.load(relaxed);
  if (extras == nullptr) {
    extras = new task_extras(std::string());
    extras_.store(extras, seq_cst);  // [X1][X2]
  }
  std::stop_source* source = extras->stop.load(relaxed);
  if (source == nullptr) {
    source = new std::stop_source;
    extras->stop.store(source, seq_cst);  // [X1][X2]
    host_->about_to_suspend(*this);  // lets a host that cancels everything find the task
    host_->suspension_decided();
    if (stop_requested()) source->request_stop();
  }
  return source->get_token();
}

inline bool task_scheduling::claim_to_end(task_record& task) noexcept { return task.state().claim_queued(); }
inline void task_host::report_later(task_record& task) noexcept { task.report_lost(); }

}  // namespace dyngen::detail
