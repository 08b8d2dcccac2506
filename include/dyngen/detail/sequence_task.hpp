// SPDX-License-Identifier: MIT
#pragma once
// Tasks that set the number of their values themselves: a stream, whose values are handed over one by one while it
// runs, and the dynamic list, whose values are there when it has ended. Beside the blocks of its buffer the record
// has up to three slots of its own: the completion, the final item (an exception, if there is one), and the outer
// value of dynamic, a ref_list.
//
// How far a producer runs ahead: a worker runs it until its room is full, and again as soon as half of that is free. But as
// long as its values seem to cost less than handing them between cores does (value_cost.hpp), a consumer who has run it
// for one, since he would have had to wait, keeps it to himself: he resumes it for one value after the other, on his own
// thread, until anybody else wants it to run (state_word.hpp), until he waits for anything else or leaves it alone for long
// (held_streams.hpp), or until values are dear. Where two threads share a stream of cheap values all the same, each of them
// spins for some microseconds before it goes to sleep for the other.
//
// Who ends a stream: its consumer sets `abandoned`. If the task had ended, the consumer sweeps what was not taken and
// leaves the buffer; otherwise whoever ends the task does, when it sees the flag. One fetch_or against one exchange of
// the same word decides which.

#include <dyngen/detail/budget.hpp>
#include <dyngen/detail/fixed_buffer.hpp>
#include <dyngen/detail/segmented_buffer.hpp>
#include <dyngen/detail/sink.hpp>
#include <dyngen/detail/task_record.hpp>
#include <dyngen/detail/value_cost.hpp>

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
class sequence_task : public task_record, public room_giver {
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

  // --- a stream's consumer ---

  /// A value not taken yet is there.
  bool has_value() noexcept {
    // relaxed: the consumer's own. In use, it is still less than the next one.
    return taken_.load(relaxed) < seen_ || sees_more();
  }

  /// How many values were taken.
  std::uint64_t taken() const noexcept {
    // relaxed: the consumer's own; who else asks says why it is enough for him.
    return taken_.load(relaxed) / one_taken;
  }

  /// The end is reached and holds an exception nobody has taken: hands its slot over.
  slot* take_final() noexcept {
    if (final_taken_ || left_ || !failure_) return nullptr;
    final_taken_ = true;
    return &final_slot();
  }
  slot& final_slot() noexcept { return results().slot_array()[final_index]; }
  bool final_pending() const noexcept { return !final_taken_ && failure_ != nullptr; }

  /// Hands over the first value's slot, with its hold. note_taken() follows.
  slot& take() noexcept {
    slot& s = buffer_.front();
    buffer_.pop_handed_over();
    return s;
  }

  /// The first value where it is, taken; destroyed_in_place() with block_taken_from() follows, once it is destroyed.
  T* take_next_in_place() noexcept {
    T& value = buffer_.take_in_place();
    note_taken();
    return std::addressof(value);
  }
  /// Of the value taken last.
  segment* block_taken_from() const noexcept { return buffer_.block_taken_from(); }
  void destroyed_in_place(segment& block) noexcept {
    if (left_)
      buffer_.release_slots(block, 1);  // the rest is the sweeper's
    else
      buffer_.destroyed_in_place(block);
  }

  /// One more value counts as taken: gives room back now, or sees to it that it will be.
  void note_taken() noexcept {
    // relaxed: read by give_back(), which may run on a thread that took from this stream before.
    const std::uint64_t now = taken_.load(relaxed) + one_taken;
    taken_.store(now, relaxed);
    // relaxed: written by this consumer, or by give_back() on such a thread, to make him look.
    if (now >= look_at_.load(relaxed)) settle_taken(now / one_taken);
  }

  /// Tells the producer how much was taken, and sees to it that it runs if it has room.
  void give_back() noexcept override {
    look_at_.store(0, relaxed);  // relaxed: as above
    if (give_room() == phase::held_by_consumer) make_ready();
  }
  void drop_reference() noexcept override { drop_references(1); }

  /// From now on it runs ahead as far as it can. From any thread.
  void run_ahead() noexcept final {
    if (!is_stream() || (state().set(state_word::runs_ahead) & state_word::runs_ahead) != 0) return;
    if (state_word::phase_of(state().load()) == phase::held_by_consumer) make_ready();
  }
  /// The consumer wants to know more of it than its next value, or may not wait for that.
  void watch() noexcept {
    run_ahead();
    give_back();
  }

  /// The stream may go to another consumer, who may wait for something before he takes from it.
  void changes_hands() noexcept {
    if (pulls()) give_back();
  }

  /// The consumer has run dry: one more value, made on this thread, if he may. Afterwards he looks again. False: he waits.
  bool pull() noexcept { return pulls() && pull_held(); }
  /// The consumer wants the next value where it is: if he holds the task, it is made, and taken. Null: he looks elsewhere.
  T* pull_in_place() noexcept { return pulls() ? pull_(*this) : nullptr; }
  /// The same for a consumer that runs on the task's own host.
  bool pull_at_home() noexcept { return pulls() ? pull_held() : run_at_home(); }

  /// The consumer goes: what was not taken is dropped, and the task cancelled or, detached, left to run.
  [[gnu::noinline]] void abandon(bool detach) noexcept {
    pull_ = nullptr;
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
      if (was == phase::parked || was == phase::held_by_consumer)  // one that waits for its arguments goes on waiting
        make_ready();
    }
    const std::uint64_t there = buffer_.published();
    buffer_.drop_front(there - taken());
    // relaxed: handed to the sweeper with the flag below. Perhaps it is its own code, in use, that abandons it.
    taken_.store(there * one_taken | (taken_.load(relaxed) & in_use), relaxed);
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
              // A producer that is not running yet sees the waiter when it is: its start comes after this look.
              const auto& me = *static_cast<const sequence_task*>(self);
              if (state_word::phase_of(me.state().load()) == phase::running && !me.buffer_.producer_fences())
                heavy_fence();  // [W1]
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
    group& g = group::of(s);
    return g.is_segment() ? g.number_of(s.index()) : s.index() == final_index ? buffer_.made() : 0;
  }

  void destroy_value(slot& s) noexcept final {
    group& g = group::of(s);
    if (g.is_segment())
      destroy_reporting(*static_cast<T*>(g.value_at(s.index())), *this);
    else
      destroy_reporting(*static_cast<ref_list<T>*>(g.value_at(s.index())), *this);
  }
  void release_segment_slots(group& g, std::uint32_t n) noexcept final { buffer_.release_slots(segment::of(g), n); }
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
        budget_(std::move(budget)),
        all_or_nothing_(all_or_nothing) {
    if (budget_) {
      budget_->belongs_to(*this);
      state().set(state_word::charging);
    }
    const bool stream = backpressure != 0;
    const fixed_shape shape = own_shape(stream);
    auto* g = ::new (own_slots_) group(this, shape.slots_in_group(0), shape.stride, shape.alignment, -1, false, 1);
    ::new (g->slot_array()) slot{slot::make(stage::empty, 0, 1)};
    ::new (g->slot_array() + final_index) slot{slot::make(stage::empty, final_index, 2, slot::at_end)};
    if (!stream) ::new (g->slot_array() + outer_index) slot{slot::make(stage::empty, outer_index, 2, slot::at_end)};
    results_ = g;
  }
  ~sequence_task() { results_->~group(); }

  std::uint64_t made() const noexcept final { return buffer_.made(); }

  void consumers_sink(sink<T>* to) noexcept { sink_ = to; }
  value_cost& cost() noexcept { return cost_; }
  /// The producer begins to run.
  void begin_to_publish() noexcept { buffer_.window().begin(cost_.is_dear()); }

  bool hold_for_consumer() noexcept final {
    if (!is_stream() || budget_ || turn() != nullptr || !cost_.seems_cheap() || taken() < hold_from_) return false;
    host().goes_dormant(*this);  // so that closing finds it
    const std::uint64_t taken_before = taken_.load(relaxed);  // relaxed: the consumer's own
    store_light(taken_, taken_before | in_use);               // [T3]
    if (host().lets_hold() && state().hold()) {
      pull_ = light_stores_are_plain() ? pull_and_take<true> : pull_and_take<false>;
      hold_from_ = taken();
      cost_.begin_to_pull(taken());
      sink_->begin_single_steps();
      look_at_.store(0, relaxed);  // relaxed: the consumer's own; as he takes the value for which he ran it, he remembers it
      host().is_held(*this);
    }
    store_light(taken_, taken_before);  // [T3]
    host().dormancy_settled();
    if (!pulls()) return false;
    if (!state().is_held() || !host().lets_hold()) stop_pulling();  // it may close without having seen this
    return true;
  }
  hold_links* hold() noexcept final { return &hold_; }
  std::uint64_t hold_mark() const noexcept final {
    // relaxed: only that it changes is of interest.
    return taken_.load(relaxed);
  }
  bool in_use_by_consumer() noexcept final {
    if ((taken_.load(seq_cst) & in_use) != 0) return true;  // [T3] and as an acquire: what he did with it
    give_room();
    return false;
  }

  std::uint64_t room_end() const noexcept final {
    if (budget_ && budget_->waits()) return 0;  // not even for what it has built
    if (backpressure_ == 0 || backpressure_ == no_limit) return no_limit;
    if ((state().load() & state_word::detached) != 0) return no_limit;
    return given_back_.load(seq_cst) + backpressure_;  // [T2]
  }

  /// Only on a worker of a pool: elsewhere it may be this very thread that takes the values.
  bool room_comes_soon(std::uint64_t made) noexcept final {
    return context().role != nullptr && cost_.is_cheap() && !host().pressed() &&
           spin_until([this, made]() noexcept { return room_end() > made; });
  }

  sealed seal(std::uint32_t flags) noexcept final {
    buffer_.close();
    slot& last = final_slot();
    // [S1] acq_rel: as publish(); read once the completion is there.
    const std::uint64_t before =
        last.word.fetch_add((failure_ ? static_cast<std::uint64_t>(stage::failed) : 0) - slot::one_holder, acq_rel);
    if (slot::holders_of(before) == 1) release_slot(last, final_index);  // the consumer saw the end, and has swept
    if (!is_stream()) return {.carries_failure = publish_outer()};
    const bool abandoned = (flags & state_word::abandoned) != 0;
    return {.carries_failure = !abandoned, .leaves_values = abandoned};
  }
  void destroy_left_values() noexcept final { sweep(); }

  void observe_stream(observation& o) noexcept final {
    if (!is_stream()) return;
    o.is_stream = true;
    // What was true a moment ago. First what was taken: it is not more than what was published before.
    const std::uint64_t taken = taken_.load(acquire);
    const std::uint64_t there = buffer_.published();
    o.in_use = (taken & in_use) != 0;
    o.untaken = there > taken / one_taken ? there - taken / one_taken : 0;
    if (budget_ && budget_->waits()) budget_->observe(o);
  }

  std::uint32_t publish_end() noexcept final {
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
  static constexpr std::uint64_t in_use = 1;
  static constexpr std::uint64_t one_taken = 2;
  bool pulls() const noexcept { return pull_ != nullptr; }

  /// Gives room back for what was taken; a producer that waits for it goes on. Returns its phase. Whoever adds room looks
  /// for one that waits: that the hold which he had in mind is over, and the task run and parked since, he cannot know.
  phase give_room() noexcept {
    const bool grown = add_room();
    const phase now = state_word::phase_of(state().load());  // [T2]
    if (grown && now == phase::parked) make_ready();
    return now;
  }
  /// Returns whether there was any.
  bool add_room() noexcept {
    // relaxed: verified by the exchange; the values themselves were released with their slots.
    const std::uint64_t all = taken();
    std::uint64_t given = given_back_.load(relaxed);
    while (given < all)
      if (given_back_.compare_exchange_weak(given, all, seq_cst, relaxed)) return true;  // [T2]
    return false;
  }

  [[gnu::noinline]] void settle_taken(std::uint64_t taken) noexcept {
    if (budget_) return budget_->taken();
    if (pulls()) {  // room is added when the hold ends, at the latest before this thread waits for anything else
      // relaxed, both: the consumer's own
      if (look_at_.load(relaxed) == 0) look_at_.store((taken + 1) * one_taken, relaxed);
      return remember_here();
    }
    // relaxed, here and below: only this consumer's progress is compared; a stale value gives room back once too often.
    const std::uint64_t given = given_back_.load(relaxed);
    if (backpressure_ <= eager_up_to || (taken - given) * 2 >= backpressure_) return give_back();
    remember_here();
    const std::uint64_t half = backpressure_ - backpressure_ / 2;
    look_at_.store(half < no_limit / 4 ? (given + half) * one_taken : no_limit, relaxed);
  }

  [[gnu::noinline]] bool run_at_home() noexcept {
    const bool is_new = taken() == 0 && !cost_.is_dear();
    if (!(cost_.is_cheap() || is_new) || turn() != nullptr || !may_help(context()) || outstays(host())) return false;
    if (host().trace() != nullptr) return false;  // as it is not held: see lets_hold()
    ++context().helping;
    const bool ran = run_for_consumer(taken());
    --context().helping;
    return ran;
  }
  enum class pulled { nothing, value, something_else };

  [[gnu::noinline]] bool sees_more() noexcept {
    if (left_) return false;
    seen_ = buffer_.published() * one_taken;
    return taken_.load(relaxed) < seen_;  // relaxed: as in has_value()
  }
  [[gnu::noinline]] bool pull_held() noexcept {
    const pulled what = light_stores_are_plain() ? make_one<true>() : make_one<false>();
    if (what == pulled::value) leave_with<false>(0);
    return what != pulled::nothing;
  }
  template <bool Plain>
  static T* pull_and_take(sequence_task& me) noexcept {
    const pulled what = me.make_one<Plain>();
    if (what != pulled::value) [[unlikely]]
      return what == pulled::something_else && me.has_value() ? me.take_next_in_place() : nullptr;
    T& value = me.buffer_.take_in_place();
    me.leave_with<Plain>(one_taken);
    return std::addressof(value);
  }
  /// By the consumer, who holds it: one more value, if there is none. Everything but that is left to others. If it is a
  /// value, leave_with() follows.
  template <bool Plain>
  [[gnu::always_inline]] pulled make_one() noexcept {
    value_window<T>& window = buffer_.window();
    const std::uint64_t before = taken_.load(relaxed);  // relaxed: the consumer's own
    if (before != window.made() * one_taken) [[unlikely]]
      return pulled::nothing;  // there is one; or it is in use, and its own code wants one
    store_light_as<Plain>(taken_, before | in_use);  // [T3]
    thread_context& here = context();
    // Its code must not add to what is being destroyed below on this stack.
    if (!state().is_held() || here.destroying != 0) [[unlikely]]
      return stop_pulling(), pulled::nothing;
    if (here.last_taken != this) [[unlikely]]
      remember_here();  // another thread than before, or it has taken elsewhere
    entry_.outer = std::exchange(here.tasks, &entry_);
    if (window.next == window.block_end) [[unlikely]] {
      if (!sink_->drive_into_next_block()) return end_of_pulling(), pulled::something_else;
    } else {
      sink_->drive_to(window.next);
      // relaxed: a late look is as good as the other thread having asked later.
      if (!sink_->has_stored() || (state().flags().load(relaxed) & state_word::attention) != 0) [[unlikely]]
        return end_of_pulling(), pulled::something_else;
      window.commit_unwatched();
    }
    here.tasks = entry_.outer;
    return pulled::value;
  }
  /// He goes on holding it, unless somebody wants it or its values have become dear; so many more are taken.
  template <bool Plain>
  [[gnu::always_inline]] void leave_with(std::uint64_t newly_taken) noexcept {
    // relaxed: the consumer's own.
    const std::uint64_t now = taken_.load(relaxed) - in_use + newly_taken;
    if (now >= look_at_.load(relaxed)) [[unlikely]]
      return leave_after_look(now);
    store_light_as<Plain>(taken_, now);  // [T3]
    if (!state().is_held()) [[unlikely]]
      stop_pulling();
  }
  [[gnu::noinline]] void leave_after_look(std::uint64_t now) noexcept {
    (void)uncounted(false);
    const std::uint64_t more = outstays(host()) ? 0 : cost_.look(now / one_taken, now / one_taken - hold_from_);
    look_at_.store(now + more * one_taken, relaxed);  // relaxed: the consumer's own
    store_light(taken_, now);                         // [T3]
    if (!state().is_held() || more == 0) stop_pulling();
  }
  /// Its code has come back for another reason: it is run on as any task.
  [[gnu::noinline]] void end_of_pulling() noexcept {
    context().tasks = entry_.outer;
    state().take_held();
    forget_hold();
    std::uint32_t given_up = 0;
    {
      task_scope scope(*this);
      given_up = go_on(after(sink_->after_single_step()));
    }
    if (given_up != 0) drop_references(given_up);
  }
  /// He does not hold it any more: if nobody else has it, it is queued.
  [[gnu::noinline]] void stop_pulling() noexcept {
    // Who was interrupted so soon, by his own waits or by others, is not worth another try before long.
    if (taken() - hold_from_ < 4 * value_cost::between_looks) hold_from_ = taken() + value_cost::sample;
    forget_hold();
    push_if(state().let_go());
  }
  void forget_hold() noexcept {
    pull_ = nullptr;
    // relaxed: the consumer's own. [T3] release: what he did with it
    taken_.store(taken_.load(relaxed) & ~in_use, release);
    look_at_.store(0, relaxed);  // relaxed: the consumer's own
    give_room();
  }

  bool item_there() noexcept {
    // It is the consumer who waits.
    return buffer_.published_for_waiting() > taken() || group::published(&results(), 0);  // [W1]
  }

  void sweep() noexcept {
    buffer_.drop_front(buffer_.made() - taken());  // handed over with `abandoned`
    buffer_.leave();
    if (!final_taken_) drop<void>(final_slot());
  }

  bool publish_outer() noexcept {
    lists_.store(1, relaxed);  // relaxed: published with the slot
    const bool failed = failure_ && (!started_ || all_or_nothing_);
    if (!failed) ::new (results().value_at(outer_index)) ref_list<T>(this);
    const std::uint64_t before = publish(outer(), failed ? stage::failed : stage::value);
    const bool held = slot::holders_of(before) != 1;
    if (failed) drop_list();
    if (!held) {
      if (failed)
        release_slot(outer(), outer_index);
      else
        destroy_in_turn(outer(), outer_index);
    }
    return held;
  }

  /// Under a large backpressure the thread that took last gives its room back before it waits for anything.
  void remember_here() noexcept {
    thread_context& here = context();
    if (here.last_taken == this) return;
    settle_streams();
    settle_streams_at_thread_end();
    add_references(1);
    here.last_taken = this;
  }

  segmented_buffer<T> buffer_;
  const std::uint64_t backpressure_;
  const std::unique_ptr<stream_budget<T>> budget_;
  sink<T>* sink_ = nullptr;                  ///< while there is a coroutine
  value_cost cost_;
  std::uint64_t counted_ = 0;                ///< values the host's statistics know of
  running_task entry_{this, nullptr};        ///< while its consumer runs it
  std::uint64_t hold_from_ = 0;              ///< the consumer's: he does not hold it before he has taken so many
  hold_links hold_;
  atomic<std::uint64_t> look_at_{0};         ///< the consumer's: from this `taken_` on he looks whether to give room back, or to hold on
  std::uint64_t seen_ = 0;                   ///< the consumer's: what `taken_` is with all values he knows to be published
  atomic<std::uint64_t> taken_{0};           ///< by the consumer, times one_taken; and whether he runs its code
  atomic<std::uint64_t> given_back_{0};
  T* (*pull_)(sequence_task&) noexcept = nullptr;  ///< the consumer's: he holds the task, and makes its values so
  bool final_taken_ = false;                 ///< the consumer's
  bool left_ = false;                        ///< the consumer's: it has abandoned the stream
  const bool all_or_nothing_;

 protected:
  bool started_ = false;  ///< the callable has been called

 private:
  atomic<std::uint32_t> lists_{0};
  alignas(group) std::byte own_slots_[fixed_shape{sizeof(void*), alignof(void*), 2}.bytes()];
};

}  // namespace dyngen::detail
