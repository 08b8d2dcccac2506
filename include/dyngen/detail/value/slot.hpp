// SPDX-License-Identifier: MIT
#pragma once
// Where one value lives, and who holds it. A `slot` is one 64-bit word per value; up to 64 of them stand in a
// `group`, followed by the values themselves; a `producer` is what stands behind them: a task, or a plain value.
//
//   [ group: owner, waiters, where the values are ][ slot 0 … slot n-1 ][ value 0 … value n-1 ]
//
// A slot's word: stage (2 bits) | at_end (1 bit) | index in its group (6 bits) | … | holders (upper 32 bits)
//
//            publish<value>()            last holder gone: the value is destroyed
//   empty ───────────────────────▶ value ────────────────────────────────────────▶ (gone)
//     └──────────────────────────▶ failed   the exception is the producer's
//            publish<failed>()
//
// The producer of a slot counts as one of its holders until it publishes; it gives that hold up in the very operation
// that publishes, so that a reader who sees a value with one holder is its only holder.
//
// One slot of a producer is its end: publishing it says that the task has ended. It is the completion, slot 0, or, where
// the one value there is becomes ready only then, that value's. A slot marked at_end becomes ready with it, whatever its
// own stage says before.
//
// A failure is one object: the exception, the producer whose code threw it, the number of its carriers, and whether it was
// seen. It stands in that producer. A carrier is a slot that is held and through which the failure can be looked at: a
// failed slot, and the completion; or a producer that ended with the failure of another one (a dependent), as long as it has
// a carrier itself. Each producer counts its own carriers; a dependent refers to the producer that threw, never to another
// dependent, so that no chain of them has to be followed.
//
//   begin_failure()            the last carrier goes, or the task ends with none that is held
//   carried ──────────────────▶ settled: reported, unless seen or silent
//
// Settled is final: a completion() that is asked for later carries the failure, but does not report it again.
//
// [F1] A carrier's holder marks the failure as seen before it drops its hold. Both are changes of one word, or follow each
//      other through the acq_rel of the slot's word: who settles the failure reads the mark.
// [F2] begin_failure() releases exception and thrower to who drops the last carrier (acq_rel).
//
// [S1] publish (acq_rel or stronger) makes the value visible to every acquire load of the word.
// [S2] the last holder's decrement acquires what the others did with the value before they let go.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/memory.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/value/waiter.hpp>
#include <dyngen/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

enum class stage : std::uint64_t { empty = 0, value = 1, failed = 2 };

struct slot {
  static constexpr std::uint64_t stage_mask = 3;
  static constexpr std::uint64_t at_end = 4;
  static constexpr std::uint64_t index_shift = 3;
  static constexpr std::uint64_t index_mask = 63;
  static constexpr std::uint64_t kept_bits = 9;  // stage, at_end and index
  static constexpr std::uint64_t one_holder = std::uint64_t{1} << 32;

  atomic<std::uint64_t> word;

  static constexpr stage stage_of(std::uint64_t word) noexcept { return static_cast<stage>(word & stage_mask); }
  static constexpr std::uint64_t holders_of(std::uint64_t word) noexcept { return word >> 32; }
  static constexpr std::uint32_t index_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>((word >> index_shift) & index_mask);
  }
  static constexpr std::uint64_t make(stage s, std::uint32_t index, std::uint64_t holders,
                                      std::uint64_t flags = 0) noexcept {
    return static_cast<std::uint64_t>(s) | flags | (std::uint64_t{index} << index_shift) | (holders << 32);
  }

  // A value without holders that waits to be destroyed: its slot's word also leads to another such slot. The index and
  // at_end stay where they are; the stage is known. That leaves 57 bits, enough for addresses below 2^60: also for those
  // that ARM's memory tagging (MTE) has marked in bits 56 to 59. Where an address has more (Intel's LAM, tools that use the
  // whole top byte), can_link() says so.
  static constexpr bool can_link(std::uint64_t address) noexcept { return address >> 60 == 0; }
  static constexpr std::uint64_t linked(std::uint64_t word, std::uint64_t address) noexcept {
    const std::uint64_t kept = word & (at_end | (index_mask << index_shift));
    return kept | (address >> 3 << kept_bits) | (address >> 58);
  }
  static constexpr std::uint64_t link_of(std::uint64_t word) noexcept {
    return word >> kept_bits << 3 | (word & stage_mask) << 58;
  }
  static constexpr std::uint64_t unlinked(std::uint64_t word) noexcept {
    return make(stage::value, index_of(word), 0, word & at_end);
  }

  std::uint32_t index() const noexcept {
    // relaxed: the index never changes while anybody holds the slot.
    return index_of(word.load(relaxed));
  }

  /// One more holder; the caller is one already.
  void hold() noexcept {
    // relaxed: nothing is published by it, and the caller's own hold keeps the value alive.
    word.fetch_add(one_holder, relaxed);
  }
};

static_assert(sizeof(slot) == sizeof(atomic<std::uint64_t>) && atomic<std::uint64_t>::is_always_lock_free);

inline constexpr std::uint32_t slots_per_group = 64;

class shared_state;
struct task_snapshot;

/// The head of up to 64 slots.
struct alignas(slot) slot_group {
  slot_group(shared_state* o, std::uint32_t slot_count, std::size_t value_size, std::size_t value_alignment,
        std::int64_t first_number, bool segment, std::uint32_t slots_without_value = 0) noexcept
      : owner(o),
        values(static_cast<std::int32_t>(values_offset(slot_count, value_alignment)) -
               static_cast<std::int32_t>(slots_without_value * value_size)),
        stride(static_cast<std::uint32_t>(value_size)),
        first(first_number * 2 + (segment ? 1 : 0)) {}

  shared_state* owner;
  waiter_list waiters;
  std::int32_t values;   ///< bytes from here to where the value of slot 0 is, or would be
  std::uint32_t stride;  ///< bytes from one value to the next
  std::int64_t first;    ///< 2 × the number of slot 0 among the task's values, + 1 if it is a block of a segmented buffer

  slot* slot_array() noexcept { return reinterpret_cast<slot*>(this + 1); }
  void* value_at(std::uint32_t index) noexcept {
    return reinterpret_cast<std::byte*>(this) + values + static_cast<std::ptrdiff_t>(index) * static_cast<std::ptrdiff_t>(stride);
  }
  bool is_segment() const noexcept { return (first & 1) != 0; }
  std::uint64_t number_of(std::uint32_t index) const noexcept { return static_cast<std::uint64_t>((first >> 1) + index); }

  static constexpr std::size_t values_offset(std::uint32_t slot_count, std::size_t value_alignment) noexcept {
    const std::size_t end = sizeof(slot_group) + slot_count * sizeof(slot);
    return (end + value_alignment - 1) / value_alignment * value_alignment;
  }
  static constexpr std::size_t alignment_for(std::size_t value_alignment) noexcept {
    return value_alignment > alignof(slot_group) ? value_alignment : alignof(slot_group);
  }

  static slot_group& of(slot& s) noexcept { return of(s, s.index()); }
  static slot_group& of(slot& s, std::uint32_t index) noexcept { return *(reinterpret_cast<slot_group*>(&s - index) - 1); }

  /// For waiter_list: is slot `index`, which is not at_end, published?
  static bool published(const void* self, std::uint32_t index) noexcept {
    auto& s = static_cast<slot_group*>(const_cast<void*>(self))->slot_array()[index];
    return slot::stage_of(s.word.load(seq_cst)) != stage::empty;  // [W1]
  }
  auto ready() noexcept {
    return [this](std::uint32_t index) noexcept { return published(this, index); };
  }
};

static_assert(sizeof(slot_group) % alignof(slot) == 0);

/// Where to wait for something: a list, and the question whether it has come.
struct wait_point {
  waiter_list* list = nullptr;
  bool (*published)(const void* object, std::uint32_t index) noexcept = nullptr;
  const void* object = nullptr;
  std::uint32_t index = 0;
  void (*fence)(const void* object) noexcept = nullptr;  ///< of a stream's next value: the heavy side of [W1]
  shared_state* owner = nullptr;                             ///< who brings it

  // What it is, of what the owner brings, if it is no value with a number.
  static constexpr std::int64_t the_end = -1;
  static constexpr std::int64_t the_next = -2;
  std::int64_t what() const noexcept;

  bool ready() const noexcept { return published(object, index); }
  /// The same for who has just begun to wait.
  bool ready_after_all() const noexcept {
    if (fence != nullptr) fence(object);
    return ready();
  }
};

/// Writes an exception that no handle and no hook gets to stderr, in one line.
inline void print_unhandled(std::exception_ptr e, std::string_view task, const char* noun = "task") noexcept {
  const char* what = "an exception that is no std::exception";
  try {
    std::rethrow_exception(e);
  } catch (const std::exception& x) {
    std::fprintf(stderr, "dyngen: unhandled in %s %.*s: %s\n", noun, static_cast<int>(task.size()), task.data(), x.what());
    return;
  } catch (...) {
  }
  std::fprintf(stderr, "dyngen: unhandled in %s %.*s: %s\n", noun, static_cast<int>(task.size()), task.data(), what);
}

/// Is it an exception that says only that something was cancelled, or is gone? A failure of this kind is never reported.
inline bool is_silent(const std::exception_ptr& failure) noexcept {
  try {
    std::rethrow_exception(failure);
  } catch (const cancelled_error&) {
    return true;
  } catch (const broken_promise&) {
    return true;
  } catch (const actor_died&) {
    return true;
  } catch (...) {
    return false;
  }
}

/// What stands behind a value. Reference-counted: each held slot of its own memory is one reference, each block of a
/// segmented buffer too. `completion()` is slot 0 of its first group.
class shared_state {
 public:
  shared_state(const shared_state&) = delete;
  shared_state& operator=(const shared_state&) = delete;

  /// Destroys the value in `s`, whose holders are all gone.
  virtual void destroy_value(slot& s) noexcept = 0;
  /// Gives back the memory of the block that `g` heads, once all its slots are released.
  virtual void release_segment_slots(slot_group&, std::uint32_t) noexcept {}
  /// All values of a block are gone.
  virtual void segment_is_free(std::uint32_t /*values*/) noexcept {}
  /// Runs the task on this thread up to the moment value `wanted` is stored, if that may be done. False if not.
  virtual bool help(std::uint64_t) noexcept { return false; }
  /// Asks the task to stop. False if it has ended.
  virtual bool cancel() noexcept { return false; }
  /// What the task awaits has come.
  virtual void wake() noexcept {}
  /// By a list of waiters, in a publication or not: it may be the last one, and what goes with the task the user's code.
  virtual void drop_waiters_reference() noexcept { drop_references(1); }
  /// Somebody may wait for what the task does, not only for its next value.
  virtual void make_eager() noexcept {}
  /// What runs it, for telling tasks of one pool from others; null for a plain value.
  virtual const void* pool_id() const noexcept { return nullptr; }
  /// The actor whose turn it needs to run; null for what is no call of an actor. One turn, one method in progress: not
  /// even a coroutine may wait for another call of its own actor then.
  virtual const void* actor_id() const noexcept { return nullptr; }
  virtual bool takes_whole_turn() const noexcept { return false; }
  /// What number the value in `s` has among the task's.
  virtual std::uint64_t number_of(slot& s) const noexcept { return slot_group::of(s).number_of(s.index()); }
  /// The name given by the user, or empty.
  virtual std::string_view name() const noexcept { return {}; }
  /// The task's code blocks its thread in `wait`, or, if that is null, goes on after it.
  virtual void blocks(running_task& entry, const thread_wait* wait) noexcept { entry.wait = wait; }
  /// What to call it in a description, before its label.
  virtual const char* noun() const noexcept { return "value"; }
  /// Writes down what it is doing. From any thread that keeps it alive.
  virtual void observe(task_snapshot&) noexcept {}
  /// Hands an exception that no handle carries to the hook, or prints it, on this thread.
  virtual void report(std::exception_ptr e) noexcept {
    number_text text;
    print_unhandled(std::move(e), name_or_number(text), noun());
  }

  void add_references(std::uint32_t n) noexcept {
    // relaxed: the caller holds a reference already.
    references_.fetch_add(n, relaxed);
  }
  /// Gives up one reference if it is not the last one. Returns whether it did. For a thread that may not run user code.
  bool drop_reference_unless_last() noexcept {
    // relaxed: verified by the exchange. [P1] release: as in drop_references().
    std::uint32_t count = references_.load(relaxed);
    while (count != 1)
      if (references_.compare_exchange_weak(count, count - 1, release, relaxed)) return true;
    return false;
  }
  void drop_references(std::uint32_t n = 1) noexcept {
    // [P1] acquire: pairs with the release below, so that the last one sees all that the others did.
    if (references_.load(acquire) == n || references_.fetch_sub(n, acq_rel) == n) failure_ ? free_in_turn() : free_memory();
  }

  slot_group& results() noexcept { return *results_; }
  slot& completion() noexcept { return results_->slot_array()[0]; }

  /// The task has ended, and everything about it may be read.
  bool completed() const noexcept {
    // [S1]
    return slot::stage_of(results_->slot_array()[end_index_].word.load(acquire)) != stage::empty;
  }
  slot& end_slot() noexcept { return results_->slot_array()[end_index_]; }
  /// Where to wait for that.
  wait_point end_point() noexcept { return {&results_->waiters, &slot_group::published, results_, end_index_, nullptr, this}; }

  /// Set once, before anything that failed with it is published.
  const std::exception_ptr& failure() const noexcept { return failure_; }

  // --- its failure ---

  /// Whose failure it is. For holders of a carrier, and for what this producer's own code does.
  shared_state& thrower() noexcept {
    // relaxed: set before the failure is published [F2].
    const std::uintptr_t other = thrower_.load(relaxed);
    return other == 0 || (other & linked) != 0 ? *this : *reinterpret_cast<shared_state*>(other);
  }
  /// By the holder of a carrier, which it drops only afterwards [F1]: the failure need not be reported.
  void see() noexcept {
    shared_state& t = thrower();
    // relaxed, both: see [F1].
    if ((t.carriers_.load(relaxed) & was_seen) == 0) t.carriers_.fetch_or(was_seen, relaxed);
  }
  /// A failure of its own is not reported, whether it has happened or not.
  void give_up() noexcept { carriers_.fetch_or(was_seen, relaxed); }  // relaxed: as in see()

  void add_carriers(std::uint64_t n) noexcept {
    // relaxed: the caller has another carrier, or has published none yet.
    carriers_.fetch_add(n * one_carrier, relaxed);
  }
  void drop_carriers(std::uint64_t n) noexcept {
    // [F1][F2] acq_rel.
    const std::uint64_t left = carriers_.fetch_sub(n * one_carrier, acq_rel) - n * one_carrier;
    if (left >= one_carrier || (left & has_failure) == 0 || (left & is_settled) != 0) return;
    const std::uint64_t before = carriers_.fetch_or(is_settled, acq_rel);  // [F1]
    if ((before & is_settled) != 0) return;
    shared_state& t = thrower();
    if (&t != this)
      t.drop_carriers(1);
    else if ((before & was_seen) == 0)
      lost();
  }

  /// One more carrier of the failure of who threw it, and a reference there. The caller sees to it that there is a carrier.
  shared_state& share_failure() noexcept {
    shared_state& t = thrower();
    t.add_references(1);
    t.add_carriers(1);
    return t;
  }
  /// By who has a share of its failure.
  void drop_share() noexcept {
    drop_carriers(1);
    drop_references(1);
  }

  /// Reports its failure, which no carrier is left for, on this thread; unless it is of a kind that is not reported.
  void report_lost() noexcept {
    const interlude user_code(context());
    if (!is_silent(failure_)) report(failure_);
  }

  /// For a list of producers, each with a failure of its own that is to be reported: the next one.
  void link(shared_state* next) noexcept { thrower_.store(reinterpret_cast<std::uintptr_t>(next) | linked, relaxed); }  // relaxed: the list orders it
  shared_state* unlink() noexcept {
    return reinterpret_cast<shared_state*>(thrower_.exchange(0, relaxed) & ~linked);  // relaxed: as in link()
  }

  /// A number of its own, given when first asked for.
  std::uint64_t id() noexcept {
    // relaxed: the number stands for itself.
    std::uint64_t id = id_.load(relaxed);
    if (id != 0) return id;
    const std::uint64_t fresh = fresh_number();
    return id_.compare_exchange_strong(id, fresh, relaxed, relaxed) ? fresh : id;
  }

  /// The name in quotes, or the number: how messages call the task.
  std::string label() {
    const std::string_view given = name();
    std::string text;
    if (given.empty()) {
      text += '#';
      text += std::to_string(id());
    } else {
      text += '\'';
      text += given;
      text += '\'';
    }
    return text;
  }

 protected:
  explicit shared_state(std::uint32_t references) noexcept : references_(references) {}
  ~shared_state() = default;

  virtual void free_memory() noexcept = 0;
  /// The last carrier of its own failure has gone unseen. It may be called on any thread, inside a destructor of the user's.
  virtual void lost() noexcept { report_lost(); }

  // Of `carriers_`; above them, their number.
  static constexpr std::uint64_t has_failure = 1;   ///< there is a failure
  static constexpr std::uint64_t was_seen = 2;
  static constexpr std::uint64_t is_settled = 4;    ///< reported, or found not to be
  static constexpr std::uint64_t one_carrier = 8;

  /// It ends with the failure of `shared`, of which the caller has a share.
  void fail_with(shared_state& shared) noexcept {
    thrower_.store(reinterpret_cast<std::uintptr_t>(&shared), relaxed);  // relaxed: [F2]
  }
  /// `failure_` is set, and nothing of it is published: its end is a carrier. A silent failure is treated as seen.
  void begin_failure(bool silent) noexcept {
    add_carriers(1);
    carriers_.fetch_or(silent ? has_failure | was_seen : has_failure, acq_rel);  // [F2]
  }
  /// Does nothing hold the failure but the end, which is not published yet?
  bool only_end_carries_failure() noexcept { return carriers_.load(acquire) / one_carrier == 1; }
  /// By the producer, before it publishes its end: nobody is to report its failure later. Is it to be reported now?
  bool settle_failure() noexcept { return (carriers_.fetch_or(is_settled, acq_rel) & (is_settled | was_seen)) == 0; }  // [F1]

  struct number_text {
    char text[24];
  };
  /// How reports call it. `text` is where its number stands, if it has no name.
  std::string_view name_or_number(number_text& text) noexcept {
    const std::string_view given = name();
    if (!given.empty()) return given;
    const int size = std::snprintf(text.text, sizeof text.text, "#%llu", static_cast<unsigned long long>(id()));
    return {text.text, static_cast<std::size_t>(size)};
  }

  static_assert(atomic<std::uint32_t>::is_always_lock_free && atomic<std::uint64_t>::is_always_lock_free);

  slot_group* results_ = nullptr;
  std::exception_ptr failure_;

  /// Its last reference is gone, and it has a failure.
  void free_in_turn() noexcept;

 private:
  static void free_with_failure(shared_state& p) noexcept {
    shared_state& t = p.thrower();
    const bool is_own = &t == &p;
    p.free_memory();
    if (!is_own) t.drop_references(1);
  }
  static constexpr std::uintptr_t linked = 1;  ///< of thrower_: it is no thrower, but the next in a list
  atomic<std::uintptr_t> thrower_{0};          ///< of the failure, if that is another one: this holds a reference and a carrier
  atomic<std::uint64_t> carriers_{0};          ///< of its failure, and those flags

 protected:
  atomic<std::uint64_t> id_{0};
  atomic<std::uint32_t> references_;
  std::uint8_t end_index_ = 0;  ///< in results_, of the slot that is its end
};

/// Frees producers with failures. An exception may hold refs on others, whose exceptions hold refs again: nested ones wait
/// in a list that the outermost call empties, so that a chain of any length takes constant stack.
[[gnu::noinline]] inline void shared_state::free_in_turn() noexcept {
  thread_context& here = context();
  if (here.freed != nullptr) {
    id_.store(reinterpret_cast<std::uint64_t>(*here.freed), relaxed);  // relaxed, here and below: nobody else has it
    *here.freed = this;
    return;
  }
  shared_state* nested = nullptr;
  here.freed = &nested;
  free_with_failure(*this);
  while (nested != nullptr) {
    shared_state& next = *nested;
    nested = reinterpret_cast<shared_state*>(next.id_.load(relaxed));
    free_with_failure(next);
  }
  here.freed = nullptr;
}

inline std::int64_t wait_point::what() const noexcept {
  if (fence != nullptr) return the_next;
  slot_group& g = *static_cast<slot_group*>(const_cast<void*>(object));
  return &g.slot_array()[index] == &owner->end_slot() ? the_end : static_cast<std::int64_t>(g.number_of(index));
}

/// The slot is nobody's any more: its share of memory goes back.
inline void release_slot(slot& s, std::uint32_t index) noexcept {
  slot_group& g = slot_group::of(s, index);
  if (g.is_segment())
    g.owner->release_segment_slots(g, 1);
  else
    g.owner->drop_references(1);
}

inline void destroy_now(slot& s, std::uint32_t index) noexcept {
  slot_group::of(s, index).owner->destroy_value(s);
  release_slot(s, index);
}

/// Values that destructors have dropped which were nested too deeply.
class dropped_values final : public put_off_work {
 public:
  explicit dropped_values(thread_context& here) noexcept
      : put_off_work(here), here_(here), outer_(std::exchange(here.dropped, this)) {}
  ~dropped_values() { here_.dropped = outer_; }

  bool may_add() const noexcept { return slot::can_link(reinterpret_cast<std::uint64_t>(first_)); }
  void add(slot& s) noexcept {
    // relaxed, both: no other thread has the slot.
    s.word.store(slot::linked(s.word.load(relaxed), reinterpret_cast<std::uint64_t>(first_)), relaxed);
    first_ = &s;
  }
  bool run_one() noexcept override {
    if (first_ == nullptr) return false;
    slot& s = *first_;
    // relaxed, both: no other thread has the slot.
    const std::uint64_t word = s.word.load(relaxed);
    s.word.store(slot::unlinked(word), relaxed);
    first_ = reinterpret_cast<slot*>(slot::link_of(word));
    destroy_now(s, slot::index_of(word));
    return true;
  }

 private:
  thread_context& here_;
  dropped_values* const outer_;
  slot* first_ = nullptr;
};

/// How many destructors of values may be nested, each dropping the next value. The innermost of them empties a list of
/// what is dropped beyond that, so that a chain of any length takes constant stack; except on a system whose addresses
/// have no room in a slot's word, see slot::can_link(): there each is destroyed inside the one before it.
inline constexpr unsigned most_nested_destructors = 16;

/// Destroys a value whose destructor may drop further values, and may wait.
[[gnu::noinline]] inline void destroy_in_turn(slot& s, std::uint32_t index) noexcept {
  thread_context& here = context();
  if (here.destroying == most_nested_destructors && here.dropped->may_add()) return here.dropped->add(s);
  if (here.publishing != 0) [[unlikely]] {
    const interlude user_code(here);
    return destroy_in_turn(s, index);
  }
  if (here.destroying == most_nested_destructors) [[unlikely]]
    return destroy_now(s, index);
  if (++here.destroying < most_nested_destructors) {
    destroy_now(s, index);
  } else {
    dropped_values nested(here);
    destroy_now(s, index);
    while (nested.run_one()) {
    }
  }
  --here.destroying;
}

/// The same for a slot without a value: a carrier of the failure, or a completion that is not the end itself, which counts
/// as one, whatever the end.
[[gnu::noinline]] inline void discard_without_value(slot& s, std::uint64_t word) noexcept {
  const std::uint32_t index = slot::index_of(word);
  if (slot::stage_of(word) == stage::failed || (index == 0 && (word & slot::at_end) != 0))
    slot_group::of(s, index).owner->drop_carriers(1);
  release_slot(s, index);
}

/// The last holder of a slot has let go; `word` is what it read.
template <class T>
void discard(slot& s, std::uint64_t word) noexcept {
  if ((word & static_cast<std::uint64_t>(stage::value)) == 0) [[unlikely]]  // a bit that no other stage has
    return discard_without_value(s, word);
  const std::uint32_t index = slot::index_of(word);
  if constexpr (!std::is_void_v<T>) {
    if constexpr (!std::is_trivially_destructible_v<T>) return destroy_in_turn(s, index);
  }
  release_slot(s, index);
}

/// One holder less. `T` is the type of the value.
template <class T>
void drop(slot& s) noexcept {
  // [S2] acquire: a count of one is this caller's own hold, and nobody can make another from it.
  std::uint64_t word = s.word.load(acquire);
  if (std::is_void_v<T> || slot::holders_of(word) != 1) {
    // [S2] release: what this holder did with the value comes before its destruction.
    word = s.word.fetch_sub(slot::one_holder, acq_rel);
    if (slot::holders_of(word) != 1) return;
  }
  discard<T>(s, word);
}

/// Destroys `object`; an exception that its destructor throws goes to the hook.
template <class T>
void destroy_reporting(T& object, shared_state& owner) noexcept {
  if constexpr (std::is_nothrow_destructible_v<T>) {
    object.~T();
  } else {
    std::exception_ptr thrown;
    try {
      object.~T();
    } catch (...) {
      thrown = std::current_exception();
    }
    if (thrown) owner.report(thrown);
  }
}

/// Publishes a slot of which the caller is the producer, and gives up its hold. Returns the word as it was before:
/// one holder means that nobody else is left, and that the caller must discard the slot.
inline std::uint64_t publish(slot& s, stage as) noexcept {
  // [S1][W1] seq_cst: also the publisher's half of the promise that no wake-up is lost.
  return s.word.fetch_add(static_cast<std::uint64_t>(as) - slot::one_holder, seq_cst);
}

/// Is it stored, and may it be read? By acquire [S1].
inline bool slot_ready(slot& s) noexcept {
  const std::uint64_t word = s.word.load(acquire);
  if ((word & slot::at_end) != 0) [[unlikely]]
    return slot_group::of(s, slot::index_of(word)).owner->completed();
  return slot::stage_of(word) != stage::empty;
}

/// The exception of a slot that is ready and failed, for who looks at it.
inline const std::exception_ptr& seen_failure(shared_state& owner) noexcept {
  owner.see();
  return owner.failure();
}

/// Is it ready, and holds a value? A glance, by acquire [S1]: no also of the end of a task.
inline bool slot_has_value(slot& s) noexcept {
  const std::uint64_t word = s.word.load(acquire);
  return (word & slot::at_end) == 0 && slot::stage_of(word) == stage::value;
}

/// Of a slot that is ready: does it hold an exception?
inline bool slot_failed(slot& s) noexcept {
  // relaxed: who knows that it is ready has acquired it.
  const std::uint64_t word = s.word.load(relaxed);
  if (slot::stage_of(word) != stage::empty) return slot::stage_of(word) == stage::failed;
  return slot_group::of(s, slot::index_of(word)).owner->failure() != nullptr;  // a completion that is not the end itself
}

}  // namespace dyngen::detail
