// SPDX-License-Identifier: MIT
#pragma once
// The owner of slots: a task, a promise or a plain value. It has the reference count, the failure, and a number or a
// name.
//
// A failure is one object: the exception, the shared state whose code threw it (the thrower), the number of its
// carriers, and whether it was seen. It is stored in the thrower. A carrier is a slot that has a holder and through
// which the failure can be read: a failed slot, or the completion. A shared state that ended with the failure of
// another one (a dependent) is also a carrier, as long as it has a carrier itself. Each shared state counts its own
// carriers. A dependent refers to the thrower, never to another dependent, so no chain of dependents has to be
// followed.
//
//   begin_failure()       the last carrier is dropped, or the task ends and no carrier has a holder
//   ───────────────▶ carried ────────────────────────────────────────────────────────────────────────▶ settled
//
// When a failure is settled, it is reported, unless it was seen or is silent. `settled` is final: a completion() that
// is requested later carries the failure, but does not cause another report.
//
// [F1] The holder of a carrier marks the failure as seen before it drops the carrier. The mark and the drop change the
//      same word, or the acq_rel of the slot's word orders them. So the thread that settles the failure reads the mark.
// [F2] begin_failure() releases exception and thrower to the thread that drops the last carrier (acq_rel).

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/memory.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/value/slot.hpp>
#include <dyngen/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace dyngen::detail {

/// Prints to stderr, in one line, an exception that reaches neither a handle nor the hook (on_unhandled_error).
inline void print_unhandled(std::exception_ptr e, std::string_view task, const char* noun = "task") noexcept {
  const char* what = "an exception that is not a std::exception";
  try {
    std::rethrow_exception(e);
  } catch (const std::exception& x) {
    std::fprintf(stderr, "dyngen: unhandled in %s %.*s: %s\n", noun, static_cast<int>(task.size()), task.data(), x.what());
    return;
  } catch (...) {
  }
  std::fprintf(stderr, "dyngen: unhandled in %s %.*s: %s\n", noun, static_cast<int>(task.size()), task.data(), what);
}

/// True if the exception only says that something was cancelled or no longer exists. Such a failure is never reported.
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

/// A task, a promise or a plain value. Reference-counted: each slot with holders counts as one reference, except in a
/// segmented buffer, where each block counts as one. `completion()` is slot 0 of its first group.
class shared_state {
 public:
  shared_state(const shared_state&) = delete;
  shared_state& operator=(const shared_state&) = delete;

  /// Destroys the value in `s`, which has no holders any more.
  virtual void destroy_value(slot& s) noexcept = 0;
  /// Counts released slots of the block that `g` heads; deallocates the block when all of them are released.
  virtual void release_segment_slots(slot_group&, std::uint32_t) noexcept {}
  /// Called when all values of a block are gone.
  virtual void segment_is_free(std::uint32_t /*values*/) noexcept {}
  /// Runs the task on this thread until value `wanted` is stored. Returns false if the task may not be run here.
  virtual bool help(std::uint64_t /*wanted*/) noexcept { return false; }
  /// Asks the task to stop. Returns false if that comes too late: the task has ended, or failed for good.
  virtual bool cancel() noexcept { return false; }
  /// Called when what the task awaits is ready.
  virtual void wake() noexcept {}
  /// Drops the reference of a waiter. May be called in a publication: if the reference is the last one of a task, the
  /// task is freed only after the publication, because freeing runs user code (destructors).
  virtual void drop_waiters_reference() noexcept { drop_references(1); }
  /// From now on a stream's task is never suspended to let its reader produce the next value (never `kept`,
  /// state_word.hpp). Called when a thread may wait for something other than the stream's next value, such as a side
  /// effect of the task or its completion.
  virtual void make_eager() noexcept {}
  /// Identifies the pool of a task; null for a plain value.
  virtual const void* pool_id() const noexcept { return nullptr; }
  /// Identifies the actor whose turn the task needs to run; null if the task is not a call of an actor.
  virtual const void* actor_id() const noexcept { return nullptr; }
  /// True if that actor begins a method only when the one before has ended. Then a method must not wait for another
  /// call of its own actor, not even a coroutine that suspends.
  virtual bool one_method_at_a_time() const noexcept { return false; }
  /// The number of the value in `s` among the values of the task.
  virtual std::uint64_t number_of(slot& s) const noexcept { return slot_group::of(s).number_of(s.index()); }
  /// The name that the user gave, or empty.
  virtual std::string_view name() const noexcept { return {}; }
  /// Called when the task's code blocks its thread in `wait`, and, with null, when the code continues.
  virtual void blocks(running_task& entry, const thread_wait* wait) noexcept { entry.wait = wait; }
  /// What messages call it, before its label: "task", "promise", "value".
  virtual const char* noun() const noexcept { return "value"; }
  /// Records what the task is doing. Any thread that keeps the task alive may call it.
  virtual void observe(task_snapshot&) noexcept {}
  /// Reports an exception that no handle carries, on this thread: passes it to the hook, or prints it.
  virtual void report(std::exception_ptr e) noexcept {
    number_text text;
    print_unhandled(std::move(e), name_or_number(text), noun());
  }

  void add_references(std::uint32_t n) noexcept {
    // relaxed: the caller has a reference already.
    references_.fetch_add(n, relaxed);
  }
  /// Drops one reference unless it is the last one. Returns whether it did. For threads that must not run user code.
  bool drop_reference_unless_last() noexcept {
    // relaxed: verified by the exchange. [P1] release: as in subtract_references().
    std::uint32_t count = references_.load(relaxed);
    while (count != 1)
      if (references_.compare_exchange_weak(count, count - 1, release, relaxed)) return true;
    return false;
  }
  // Two functions: nearly all calls drop one reference, and a call that passes no number is shorter.
  void drop_references() noexcept { subtract_references(1); }
  void drop_references(std::uint32_t n) noexcept { n == 1 ? drop_references() : subtract_references(n); }

  slot_group& results() noexcept { return *results_; }
  slot& completion() noexcept { return results_->slot_array()[0]; }

  /// True if the task has ended; then everything about it may be read.
  bool completed() const noexcept {
    // [S1] acquire: sees everything that was published with the end.
    return slot::stage_of(results_->slot_array()[end_index_].word.load(acquire)) != stage::empty;
  }
  slot& end_slot() noexcept { return results_->slot_array()[end_index_]; }
  /// The wait point of the task's end.
  wait_point end_point() noexcept { return {&results_->waiters, &slot_group::published, results_, end_index_, nullptr, this}; }

  /// Null, or the exception with which the task ended. Set once, before anything that failed with it is published.
  const std::exception_ptr& failure() const noexcept { return failure_; }

  // --- the failure (see the top of this header) ---

  /// The shared state whose code threw the failure. For holders of a carrier, and for the task's own code.
  shared_state& thrower() noexcept {
    // relaxed: set before the failure is published [F2].
    const std::uintptr_t other = thrower_.load(relaxed);
    return other == 0 || (other & linked) != 0 ? *this : *reinterpret_cast<shared_state*>(other);
  }
  /// Marks the failure as seen, so that it need not be reported. The caller holds a carrier and drops it only later
  /// [F1].
  void mark_seen() noexcept {
    shared_state& t = thrower();
    // relaxed, both: see [F1].
    if ((t.carriers_.load(relaxed) & was_seen) == 0) t.carriers_.fetch_or(was_seen, relaxed);
  }
  /// Marks a failure of its own code as seen, whether it has happened already or not.
  void give_up() noexcept { carriers_.fetch_or(was_seen, relaxed); }  // relaxed: as in mark_seen()

  void add_carriers(std::uint64_t n) noexcept {
    // relaxed: the caller has another carrier, or has not published any yet.
    carriers_.fetch_add(n * one_carrier, relaxed);
  }
  void drop_carriers(std::uint64_t n) noexcept {
    // acq_rel: sees the mark [F1]; the last drop also sees exception and thrower [F2].
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

  /// Adds a carrier and a reference to the thrower, and returns the thrower. The caller must guarantee that the failure
  /// has a carrier.
  shared_state& share_failure() noexcept {
    shared_state& t = thrower();
    t.add_references(1);
    t.add_carriers(1);
    return t;
  }
  /// Drops what share_failure() has added. Called on the thrower.
  void drop_share() noexcept {
    drop_carriers(1);
    drop_references(1);
  }

  /// Reports its failure on this thread, unless the failure is silent. No carrier of it is left.
  void report_lost() noexcept {
    const interlude user_code(context());
    if (!is_silent(failure_)) report(failure_);
  }

  /// The link of a list of shared states whose own failures are to be reported.
  // relaxed: the list orders all accesses to it.
  void link(shared_state* next) noexcept { thrower_.store(reinterpret_cast<std::uintptr_t>(next) | linked, relaxed); }
  shared_state* unlink() noexcept {
    return reinterpret_cast<shared_state*>(thrower_.exchange(0, relaxed) & ~linked);  // relaxed: as in link()
  }

  /// Its number, unique in the process; assigned by the first call.
  std::uint64_t id() noexcept {
    // relaxed: only the number itself matters.
    std::uint64_t id = id_.load(relaxed);
    if (id != 0) return id;
    const std::uint64_t fresh = fresh_number();
    return id_.compare_exchange_strong(id, fresh, relaxed, relaxed) ? fresh : id;
  }

  /// How messages name the task: its name in quotes, or its number.
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
  /// Called when the last carrier of its own failure is dropped and the failure was not seen. Any thread may call it,
  /// also inside a user's destructor.
  virtual void lost() noexcept { report_lost(); }

  // Flags in the lower bits of `carriers_`; the bits above are the number of carriers.
  static constexpr std::uint64_t has_failure = 1;   ///< there is a failure
  static constexpr std::uint64_t was_seen = 2;
  static constexpr std::uint64_t is_settled = 4;    ///< reported, or found not to need a report
  static constexpr std::uint64_t one_carrier = 8;

  /// Lets it end with the failure of `shared`. Takes over a share of that failure, see share_failure().
  void fail_with(shared_state& shared) noexcept {
    thrower_.store(reinterpret_cast<std::uintptr_t>(&shared), relaxed);  // relaxed: [F2]
  }
  /// Makes the end slot a carrier. A silent failure counts as seen. Called when `failure_` is set, before anything of
  /// it is published.
  void begin_failure(bool silent) noexcept {
    add_carriers(1);
    carriers_.fetch_or(silent ? has_failure | was_seen : has_failure, acq_rel);  // [F2]
  }
  /// True if the end slot, not published yet, is the only carrier.
  bool only_end_carries_failure() noexcept { return carriers_.load(acquire) / one_carrier == 1; }
  /// Settles the failure, so that dropping carriers no longer reports it. Returns whether the caller must report it
  /// now. Called by the producer before it publishes the end.
  // acq_rel: reads the mark of holders that have dropped their carriers [F1].
  bool settle_failure() noexcept { return (carriers_.fetch_or(is_settled, acq_rel) & (is_settled | was_seen)) == 0; }

  struct number_text {
    char text[24];
  };
  /// How reports name it. `text` is the buffer for its number, used if it has no name.
  std::string_view name_or_number(number_text& text) noexcept {
    const std::string_view given = name();
    if (!given.empty()) return given;
    const int size = std::snprintf(text.text, sizeof text.text, "#%llu", static_cast<unsigned long long>(id()));
    return {text.text, static_cast<std::size_t>(size)};
  }

  static_assert(atomic<std::uint32_t>::is_always_lock_free && atomic<std::uint64_t>::is_always_lock_free);

  slot_group* results_ = nullptr;
  std::exception_ptr failure_;

  /// Frees a shared state that has a failure and no references.
  void free_in_turn() noexcept;

 private:
  DYNGEN_ALWAYS_INLINE void subtract_references(std::uint32_t n) noexcept {
    // [P1] acquire: pairs with the release of the other drops, so that the last one sees all that the others did.
    if (references_.load(acquire) == n || references_.fetch_sub(n, acq_rel) == n) failure_ ? free_in_turn() : free_memory();
  }
  static void free_with_failure(shared_state& p) noexcept {
    shared_state& t = p.thrower();
    const bool is_own = &t == &p;
    p.free_memory();
    if (!is_own) t.drop_references(1);
  }
  /// Flag in thrower_: the rest is not the thrower, but the link of a list.
  static constexpr std::uintptr_t linked = 1;
  /// The other shared state that threw its failure, or null. This state counts there as a reference and a carrier.
  atomic<std::uintptr_t> thrower_{0};
  atomic<std::uint64_t> carriers_{0};          ///< number of carriers of its failure, and the flags above

 protected:
  atomic<std::uint64_t> id_{0};
  atomic<std::uint32_t> references_;
  std::uint8_t end_index_ = 0;  ///< index in results_ of the end slot
};

/// Frees shared states that have failures. An exception may hold refs of other shared states, whose exceptions hold
/// refs in turn. Nested calls add to a list that the outermost call empties, so a chain of any length uses constant
/// stack.
DYNGEN_NOINLINE inline void shared_state::free_in_turn() noexcept {
  thread_context& here = context();
  if (here.freed != nullptr) {
    // relaxed, also below: no other thread has a reference.
    id_.store(reinterpret_cast<std::uint64_t>(*here.freed), relaxed);
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

}  // namespace dyngen::detail
