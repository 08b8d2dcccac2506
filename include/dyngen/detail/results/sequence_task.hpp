// SPDX-License-Identifier: MIT
#pragma once
// Tasks that set the number of their values themselves: a stream, whose values are handed over one by one while it
// runs, and the dynamic list, whose values are there when it has ended. Beside the blocks of its buffer the record
// has up to three slots of its own: the completion, the final item (an exception, if there is one), and the outer
// value of dynamic, a ref_list.
//
// How far a producer runs ahead: a worker runs it until its room is full, and again as soon as half of that is free. But
// as long as its values seem to cost less than handing them between cores does (production_cost.hpp), a reader that has run the
// producer for a value, as it would have had to wait otherwise, keeps it (state_word.hpp): when it runs dry again, it
// claims the task, resumes it on its own thread up to the next value, and keeps it once more. Any other interest in the
// task queues it, and so does the pool's monitor when the reader has not come back for a while (kept_streams.hpp).
//
// What a reader does when it takes a value does not depend on who made it: it counts the value, and gives room back to the
// producer, whether that is kept, queued, running or parked.
//
//   reader, dry ── claim_kept() ──▶ runs the producer ── value stored ──▶ keep() ──▶ takes the value
//        │ not kept                       │ ended, cancelled, awaits, or wanted by another thread
//        ▼                                ▼
//   help(), or blocks                goes on as any task does, but no further than the value that the reader wants
//
// [T1] of state_word.hpp orders these steps: the reader's take of the value and the next step of the producer, on whatever
// thread, touch different sides of the buffer.
//
// How a stream ends early: its reader sets `abandoned`. If the task had ended, the reader sweeps what was not taken and
// leaves the buffer; otherwise the thread that ends the task does, when it sees the flag. One fetch_or against one exchange
// of the same word decides which.

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/spin.hpp>
#include <dyngen/detail/coroutine/sink.hpp>
#include <dyngen/detail/results/production_cost.hpp>
#include <dyngen/detail/task/kept_streams.hpp>
#include <dyngen/detail/task/run_loop.hpp>
#include <dyngen/detail/task/shared_budget.hpp>
#include <dyngen/detail/value/fixed_buffer.hpp>
#include <dyngen/detail/value/segmented_buffer.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace dyngen {
template <class T>
class ref_list;
}

namespace dyngen::detail {

template <class T>
class sequence_task : public task_record, public credited_stream {
 public:
  static constexpr std::uint32_t final_index = 1;
  static constexpr std::uint32_t outer_index = 2;
  /// Up to so many values waiting, room is given back with each value taken; above, when half of it is free.
  static constexpr std::uint64_t eager_up_to = 16;

  static constexpr std::size_t buffer_alignment = alignof(std::max_align_t);
  static constexpr std::uint64_t values_in_record() noexcept { return 0; }
  static constexpr std::size_t buffer_bytes() noexcept { return 0; }

  segmented_buffer<T>& buffer() noexcept { return buffer_; }
  bool is_stream() const noexcept { return backpressure_ != 0; }
  stream_budget<T>* budget() const noexcept { return budget_.get(); }

  // --- a stream's reader ---

  /// A value not taken yet is there.
  bool has_value() noexcept {
    return taken() < seen_ || sees_more();
  }

  /// has_value() for a reader that has taken all it has seen; inlined.
  DYNGEN_ALWAYS_INLINE bool looks_for_value() noexcept {
    if (left_) [[unlikely]]
      return false;
    seen_ = buffer_.published();
    return taken() < seen_;
  }

  /// How many values were taken.
  std::uint64_t taken() const noexcept { return buffer_.taken(); }

  /// The end is reached and holds an exception nobody has taken: hands its slot over.
  slot* take_final() noexcept {
    if (final_taken_ || left_ || !failure_) return nullptr;
    final_taken_ = true;
    return &final_slot();
  }
  slot& final_slot() noexcept { return results().slot_array()[final_index]; }
  bool final_pending() const noexcept { return !final_taken_ && failure_ != nullptr; }

  /// Hands over the first value's slot, with its hold. note_taken() follows.
  slot& take() noexcept { return buffer_.hand_out(); }

  /// A value where it is, and its block, which keeps the task until destroyed_in_place().
  struct place {
    T* value;
    segment* block;
  };
  /// Takes the first value where it is; destroyed_in_place() follows, once it is destroyed. On an executor that runs tasks
  /// at once, this may run the producer, which may drop the stream: the caller looks at nothing else of it. `InRow`: the
  /// caller continues by take_behind().
  template <bool InRow>
  place take_in_place() noexcept {
    T& value = buffer_.take_in_place();
    const place taken{std::addressof(value), buffer_.block_taken_from()};
    if constexpr (InRow) buffer_.set_row(seen_);
    note_taken();
    return taken;
  }
  /// Takes the next value if it stands right behind `last`, which the caller has taken in place and destroyed, and if no
  /// look at anything else is needed. Otherwise returns null and takes nothing; destroyed_in_place() follows.
  DYNGEN_ALWAYS_INLINE T* take_behind(const T* last) noexcept {
    std::uint64_t now = taken();
    T* const next = buffer_.take_behind(last, now);
    if (next != nullptr && now >= look_at_.load(seq_cst)) account_taken(now);  // [K4]
    return next;
  }
  /// The same for a value that is there, wherever the row ends; null if it is in another block.
  T* take_next_behind(const T* last) noexcept {
    T* const next = buffer_.take_next_behind(last);
    if (next == nullptr) return nullptr;
    buffer_.set_row(seen_);
    note_taken();
    return next;
  }
  void destroyed_in_place(segment& block) noexcept {
    if (left_)
      buffer_.release_slots(block, 1);  // the rest is the sweeper's
    else
      buffer_.destroyed_in_place(block);
  }

  /// One more value was taken: gives room back now, or sees to it that it will be.
  DYNGEN_ALWAYS_INLINE void note_taken() noexcept {
    const std::uint64_t now = taken();
    if (now >= look_at_.load(seq_cst)) account_taken(now);  // [K4]
  }

  /// Tells the producer how much was taken, and sees to it that it runs if it has room; if it is kept, only where its reader
  /// waits.
  void return_credits(bool reader_waits) noexcept override {
    look_at_.store(0, relaxed);  // relaxed: a reader that misses it owes room, and its stream is listed
    const bool grown = add_credits();
    const phase now = state_word::phase_of(state().load());  // [T2]
    if ((grown && now == phase::parked) || (reader_waits && now == phase::kept)) make_ready();
  }
  void drop_reference() noexcept override { drop_references(1); }

  /// Has the stream's handle gone? By the thread that dropped it, perhaps from the task's own code.
  bool is_left() const noexcept { return left_; }

  /// From now on it runs ahead as far as it can. From any thread.
  void make_eager() noexcept final {
    if (!is_stream() || (state().set(state_word::eager) & state_word::eager) != 0) return;
    if (state_word::phase_of(state().load()) == phase::kept) make_ready();
  }
  /// The reader wants to know more of it than its next value, or may not wait for that.
  void watch() noexcept {
    make_eager();
    return_credits(true);
  }

  /// What make_next() has come to.
  enum class made_here : unsigned char {
    nothing,   ///< another thread must bring the next value, and the reader waits for it
    value,     ///< the next value is there
    something, ///< the task has run, and may have dropped its own stream: the reader has one reference to give up, and looks again
    behind     ///< as something, but the task is queued behind other work, which is to come first: the reader waits
  };
  /// By a reader that has run dry, before it waits: runs the task on this thread up to its next value, where that may be
  /// done. `suspends`: the reader is a coroutine, which could run something else meanwhile.
  DYNGEN_NOINLINE made_here make_next(bool suspends) noexcept {
    thread_context& here = context();
    if (slice_is_over(here) || !may_help(here)) return made_here::nothing;
    const phase now = state_word::phase_of(state().load());
    if (now == phase::kept) [[likely]]
      return helps_ || is_at_home(here) ? make_kept(here) : made_here::nothing;
    return now == phase::queued || now == phase::parked ? make_claimed(here, suspends) : made_here::nothing;
  }

  /// The reader goes: the task is cancelled or, detached, left to run, and what was not taken is dropped.
  DYNGEN_NOINLINE void abandon(bool detach) noexcept {
    if (!detach && !final_taken_) give_up();
    thread_context& here = context();
    if (here.last_taken == this) {
      here.last_taken = nullptr;
      drop_references(1);
    }
    // The task learns of it first: the destructors of its values may wait for its end.
    if (budget_) budget_->close();
    if (!detach) {
      cancel();
    } else {
      const phase was = state_word::phase_of(state().set(state_word::detached));
      close_window();  // [A1]
      if (was == phase::parked || was == phase::kept)  // one that waits for its arguments goes on waiting
        make_ready();
    }
    const std::uint64_t there = buffer_.published();
    buffer_.drop_front(there - taken());  // handed to the sweeper with the flag below
    buffer_.end_row();
    left_ = true;
    seen_ = 0;
    if (state_word::phase_of(state().set(state_word::abandoned)) == phase::ended) sweep();
    drop_references(1);
  }

  /// While the producer makes cheap values on another thread, the next one is there sooner than the consumer could fall
  /// asleep: is it, or the end?
  bool item_comes_soon() noexcept {
    return cost_.is_cheap() && state_word::phase_of(state().load()) == phase::running &&
           spin_until([this]() noexcept { return has_value() || completed(); });
  }

  wait_point next_item() noexcept {
    return {&buffer_.waiters, [](const void* self, std::uint32_t) noexcept {
              return static_cast<sequence_task*>(const_cast<void*>(self))->item_there();
            }, static_cast<const sequence_task*>(this), 0, [](const void* self) noexcept {
              auto& me = *const_cast<sequence_task*>(static_cast<const sequence_task*>(self));
              me.close_window();  // [A1][W1]
              // A producer that is not running yet sees the waiter when it is: its start comes after this look.
              if (state_word::phase_of(me.state().load()) == phase::running && !me.buffer_.producer_fences())
                asymmetric_fence_heavy();  // [W1]
            }, this};
  }

  // --- a list's holders ---

  void add_list() noexcept {
    // relaxed: the caller holds one already.
    lists_.fetch_add(1, relaxed);
  }
  void drop_list() noexcept {
    // acq_rel: the last one comes after all that the others did.
    if (lists_.fetch_sub(1, acq_rel) != 1) return;
    buffer_.drop_all();
    drop<void>(final_slot());
    drop_references(1);
  }
  std::uint64_t list_size() const noexcept { return buffer_.made() + (failure_ != nullptr ? 1 : 0); }
  slot& list_slot(std::uint64_t i) noexcept { return i < buffer_.made() ? buffer_.at(i) : final_slot(); }

  slot& outer() noexcept { return results().slot_array()[outer_index]; }

  /// The final item comes after the last value; a list is the only thing that its task has stored.
  std::uint64_t number_of(slot& s) const noexcept final {
    slot_group& g = slot_group::of(s);
    return g.is_segment() ? g.number_of(s.index()) : s.index() == final_index ? buffer_.made() : 0;
  }

  void destroy_value(slot& s) noexcept final {
    slot_group& g = slot_group::of(s);
    if (g.is_segment())
      destroy_reporting(*static_cast<T*>(g.value_at(s.index())), *this);
    else
      destroy_reporting(*static_cast<ref_list<T>*>(g.value_at(s.index())), *this);
  }
  void release_segment_slots(slot_group& g, std::uint32_t n) noexcept final { buffer_.release_slots(segment::of(g), n); }
  void segment_is_free(std::uint32_t values) noexcept final { host().count_values(0, values); }

 protected:
  // Slots, and one ref_list, which is one pointer: the shape of a fixed buffer of two values.
  static constexpr fixed_shape own_shape(bool stream) noexcept {
    return {sizeof(void*), alignof(void*), stream ? std::uint64_t{1} : std::uint64_t{2}};
  }

  /// `backpressure`: how many values may wait in a stream, no_limit for any number; 0: a list.
  /// With a budget, it is no_limit.
  sequence_task(task_host& host, std::unique_ptr<task_extras> extras, std::uint64_t backpressure,
                bool all_or_nothing, std::unique_ptr<stream_budget<T>> budget) noexcept
      // Run, queue, the stream or list, the final slot; the outer slot of a list.
      : task_record(host, backpressure != 0 ? 4 : 5, std::move(extras)),
        buffer_(*this, backpressure == 0, backpressure),
        backpressure_(backpressure),
        helps_(host.helps()),
        budget_(std::move(budget)),
        all_or_nothing_(all_or_nothing) {
    if (budget_) {
      budget_->belongs_to(*this);
      state().set(state_word::charging);
    }
    const bool stream = backpressure != 0;
    const fixed_shape shape = own_shape(stream);
    auto* g = ::new (own_slots_) slot_group(this, shape.slots_in_group(0), shape.stride, shape.alignment, -1, false, 1);
    ::new (g->slot_array()) slot{slot::make(stage::empty, 0, 1)};
    ::new (g->slot_array() + final_index) slot{slot::make(stage::empty, final_index, 2, slot::at_end)};
    if (!stream) ::new (g->slot_array() + outer_index) slot{slot::make(stage::empty, outer_index, 2, slot::at_end)};
    results_ = g;
  }
  ~sequence_task() { results_->~slot_group(); }

  std::uint64_t made() const noexcept final { return buffer_.made(); }

  void consumers_sink(sink<T>* to) noexcept { sink_ = to; }
  production_cost& cost() noexcept { return cost_; }
  /// The producer begins to run.
  void begin_to_publish() noexcept { buffer_.window().begin(cost_.is_expensive()); }

  bool keep_for_reader() noexcept final {
    if (!is_stream() || budget_ || actor_id() != nullptr || !cost_.seems_cheap() || !host().keeps_streams()) return false;
    host().about_to_suspend(*this);  // dump() finds it
    host().suspension_decided();
    sink_->begin_single_steps();
    look_after_ = cost_.begin_at_reader(made());
    return keep();
  }
  void close_window() noexcept final { buffer_.window().close(); }
  // The reader gives room back only now and then; any thread may do so, from what the reader has said that it took.
  void leaves_reader() noexcept final { (void)add_credits(); }

  std::uint64_t credit_limit() const noexcept final {
    if (budget_ && budget_->waits()) return 0;  // not even for what it has built
    if (backpressure_ == 0 || backpressure_ == no_limit) return no_limit;
    if ((state().load() & state_word::detached) != 0) return no_limit;
    return given_back_.load(seq_cst) + backpressure_;  // [T2]
  }

  /// Only on a worker of a pool: elsewhere it may be this very thread that takes the values.
  bool credits_come_soon(std::uint64_t made) noexcept final {
    return context().role != nullptr && cost_.is_cheap() && !host().has_pending_work() &&
           spin_until([this, made]() noexcept { return credit_limit() > made; });
  }

  sealed seal(std::uint32_t flags) noexcept final {
    buffer_.close();
    slot& last = final_slot();
    if (failure_) add_carriers(1);
    // [S1] acq_rel: as publish(); read once the completion is there.
    const std::uint64_t before =
        last.word.fetch_add((failure_ ? static_cast<std::uint64_t>(stage::failed) : 0) - slot::one_holder, acq_rel);
    if (slot::holders_of(before) == 1) {  // the consumer saw the end, and has swept
      if (failure_) drop_carriers(1);
      release_slot(last, final_index);
    }
    if (!is_stream()) publish_outer();
    return {.has_carrier = true, .leaves_values = is_stream() && (flags & state_word::abandoned) != 0};
  }
  void destroy_left_values() noexcept final { sweep(); }

  void observe_stream(task_snapshot& o) noexcept final {
    if (!is_stream()) return;
    o.is_stream = true;
    // What was true a moment ago. First what was taken: it is not more than what was published before.
    const std::uint64_t taken = buffer_.taken_counter().load(acquire);
    const std::uint64_t there = buffer_.published();
    o.untaken = there > taken ? there - taken : 0;
    if (budget_ && budget_->waits()) budget_->observe(o);
  }

  std::uint32_t publish_end() noexcept final {
    if (kept_.known.load(seq_cst)) host().stream_ended(kept_);  // [K3]
    const std::uint32_t given_up = task_record::publish_end();
    if (is_stream()) buffer_.waiters.notify([this](std::uint32_t) noexcept { return item_there(); });
    return given_up;
  }

  std::uint64_t uncounted(bool ended) noexcept final {
    const std::uint64_t fresh = buffer_.made() - std::exchange(counted_, buffer_.made());
    if (!ended && fresh != 0) host().count_values(fresh, 0);
    return fresh;
  }

 private:
  /// Returns whether there was any.
  bool add_credits() noexcept {
    // relaxed: verified by the exchange; the values themselves were released with their slots.
    const std::uint64_t all = taken();
    std::uint64_t given = given_back_.load(relaxed);
    while (given < all)
      if (given_back_.compare_exchange_weak(given, all, seq_cst, relaxed)) return true;  // [T2]
    return false;
  }

  DYNGEN_NOINLINE void account_taken(std::uint64_t taken) noexcept {
    if (budget_) return budget_->taken();
    // relaxed, here and below: only this reader's progress is compared; a stale value gives room back once too often.
    const std::uint64_t given = given_back_.load(relaxed);
    if (backpressure_ <= eager_up_to || (taken - given) * 2 >= backpressure_) return return_credits(false);
    remember_here(context());
    if (backpressure_ == no_limit) return look_at_.store(no_limit, relaxed);
    look_at_.store(given + (backpressure_ - backpressure_ / 2), seq_cst);  // [K5]
    if (!kept_.listed.load(seq_cst)) host().is_kept(kept_);                // [K5] another thread may read on
  }

  DYNGEN_NOINLINE bool sees_more() noexcept { return looks_for_value(); }

  /// Is the reader a task of the same pool?
  bool is_at_home(const thread_context& here) const noexcept {
    return here.tasks != nullptr && here.tasks->task->pool_id() == pool_id();
  }
  /// Queued, or parked for room, which the reader gives back first.
  DYNGEN_NOINLINE made_here make_claimed(const thread_context& here, bool suspends) noexcept {
    const bool is_new = taken() == 0 && !cost_.is_expensive();
    const bool at_home = actor_id() == nullptr && (cost_.is_cheap() || is_new) && host().trace() == nullptr && is_at_home(here);
    if (!at_home && (!helps_ || suspends)) return made_here::nothing;
    add_references(1);
    if (here.last_taken != this) return_all_credits();
    const bool grown = add_credits();
    switch (run_for_waiter(taken())) {
      case has_run::yes: return made_here::something;
      case has_run::behind: return made_here::behind;
      case has_run::no: break;
    }
    if (grown && state_word::phase_of(state().load()) == phase::parked) make_ready();  // [T2]
    drop_references(1);  // the stream holds another one: no code of the task's has run
    return made_here::nothing;
  }
  DYNGEN_ALWAYS_INLINE made_here make_kept(thread_context& here) noexcept {
    remember_here(here);
    if (!state().claim_kept()) return made_here::nothing;
    entry_.outer = std::exchange(here.tasks, &entry_);
    const unsigned destroying = std::exchange(here.destroying, 0u);
    ++here.helping;
    sink_->slice_over = here.slice_over;
    value_window<T>& window = buffer_.window();
    bool stored = false;
    if (window.next != window.block_end) [[likely]] {
      sink_->drive_to(window.next);
      // relaxed: a late look is as good as the other thread having asked later.
      stored = sink_->has_stored() && (state().flags().load(relaxed) & state_word::attention) == 0;
      if (stored) window.commit_unwatched();
    } else {
      stored = sink_->drive_into_next_block() && (state().flags().load(relaxed) & state_word::attention) == 0;
    }
    --here.helping;
    here.destroying = destroying;
    here.tasks = entry_.outer;
    if (!stored) [[unlikely]]
      return finish_step();
    if ((--look_after_ == 0 && !goes_on_at_reader()) || !keep()) [[unlikely]]
      requeue();
    return made_here::value;
  }
  /// Its code has come back for another reason than a value, or it is wanted by another thread: it goes on as any task, but
  /// no further than the value that the reader wants.
  DYNGEN_NOINLINE made_here finish_step() noexcept {
    add_references(1);
    std::uint32_t given_up = 0;
    {
      task_scope scope(*this);
      given_up = go_on(taken(), after(sink_->after_single_step()));
    }
    if (given_up != 0) drop_references(given_up);
    return made_here::something;
  }
  DYNGEN_NOINLINE bool goes_on_at_reader() noexcept {
    (void)uncounted(false);
    look_after_ = cost_.look(made());
    return look_after_ != 0;
  }
  /// running -> kept, by its reader.
  bool keep() noexcept {
    if (!state().keep()) return false;                       // [K1]
    if (!kept_.listed.load(seq_cst)) host().is_kept(kept_);  // [K1]
    return true;
  }

  bool item_there() noexcept {
    // The thread that asks is the reader, or acts for it.
    return buffer_.published_for_waiting() > taken() || slot_group::published(&results(), 0);  // [W1]
  }

  void sweep() noexcept {
    buffer_.drop_front(buffer_.made() - taken());  // handed over with `abandoned`
    buffer_.leave();
    if (!final_taken_) drop<void>(final_slot());
  }

  void publish_outer() noexcept {
    lists_.store(1, relaxed);  // relaxed: published with the slot
    const bool failed = failure_ && (!started_ || all_or_nothing_);
    if (!failed) ::new (results().value_at(outer_index)) ref_list<T>(this);
    if (failed) add_carriers(1);
    const stage as = failed ? stage::failed : stage::value;
    const std::uint64_t before = publish(outer(), as);
    if (failed) drop_list();
    if (slot::holders_of(before) == 1) discard<ref_list<T>>(outer(), before + static_cast<std::uint64_t>(as));
  }

  /// The thread that took last gives its room back before it waits for anything else.
  void remember_here(thread_context& here) noexcept {
    if (here.last_taken != this) [[unlikely]]
      begin_to_remember(here);
  }
  DYNGEN_NOINLINE void begin_to_remember(thread_context& here) noexcept {
    leave_last_stream(here, false);
    return_credits_at_thread_end();
    add_references(1);
    here.last_taken = this;
  }

  segmented_buffer<T> buffer_;
  const std::uint64_t backpressure_;
  const bool helps_;                         ///< threads outside the pool may run its tasks while they wait
  const std::unique_ptr<stream_budget<T>> budget_;
  // Of the thread that runs the task, be it a worker or the reader.
  sink<T>* sink_ = nullptr;                  ///< while there is a coroutine
  production_cost cost_;
  std::uint64_t counted_ = 0;                ///< values the host's statistics know of
  running_task entry_{this, nullptr};        ///< while its reader runs it, having kept it
  std::uint64_t look_after_ = 0;             ///< so many values made by the reader until the next look at what they cost
  // The reader's. The atomics are also read, and `look_at_` written, by a thread that was the reader before.
  kept_entry kept_{*this, *this, buffer_.taken_counter(), look_at_};
  atomic<std::uint64_t> look_at_{0};         ///< from this `taken_` on it looks whether to give room back
  std::uint64_t seen_ = 0;                   ///< how many values it knows to be published
  atomic<std::uint64_t> given_back_{0};
  bool final_taken_ = false;
  bool left_ = false;                        ///< it has abandoned the stream
  const bool all_or_nothing_;

 protected:
  bool started_ = false;  ///< the callable has been called

 private:
  atomic<std::uint32_t> lists_{0};
  alignas(slot_group) std::byte own_slots_[fixed_shape{sizeof(void*), alignof(void*), 2}.bytes()];
};

}  // namespace dyngen::detail
