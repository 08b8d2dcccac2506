// SPDX-License-Identifier: MIT
#pragma once
// The names of dyngen/detail/base/{atomic, asymmetric_fence, park, spin}.hpp on top of Relacy: a model that puts this
// directory first on its include path checks the library's own headers. Orders are taken as written, but the one that
// mutants.py has weakened; each operation is a point where the scheduler may switch, and each carries the library's line
// into the trace. A thread asleep that no thread wakes is a deadlock, which Relacy reports; a timed sleep may end at any
// moment, and the clock then says so. Blind spots: see model.hpp.

#include <atomic>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cxxabi.h>
#include <memory>
#include <mutex>
#include <new>
#include <semaphore>    // relacy.hpp has macros that break what these two include
#include <source_location>
#include <stop_token>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include <relacy/relacy.hpp>
// Macros that would break the names of the standard library below and in the headers under test.
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free

namespace dyngen::detail {

inline constexpr auto relaxed = std::memory_order_relaxed;
inline constexpr auto acquire = std::memory_order_acquire;
inline constexpr auto release = std::memory_order_release;
inline constexpr auto acq_rel = std::memory_order_acq_rel;
inline constexpr auto seq_cst = std::memory_order_seq_cst;

inline constexpr std::size_t cache_line = alignof(std::max_align_t);

using deadline = std::chrono::steady_clock::time_point;
inline constexpr deadline never = deadline::max();

namespace model {

using where = std::source_location;

inline rl::debug_info at(const where& line) { return {line.function_name(), line.file_name(), line.line()}; }

/// Is called before each operation, and may make its orders weaker: `failure` is null but in a compare-exchange.
inline void (*watcher)(const where& line, std::memory_order& order, std::memory_order* failure) = nullptr;

/// Relacy tracks memory from `new`, and either uses freed memory again or does not. An exhaustive search would try both
/// for each string; the memory that matters comes from detail::allocate().
template <int rl::context::*Member>
struct opened {
  friend int& allocations_not_followed(rl::context& c) { return c.*Member; }
};
template struct opened<&rl::context::disable_alloc_>;
int& allocations_not_followed(rl::context& c);

/// Lives around each point where the scheduler may switch. Relacy's threads share one real thread, and with it the
/// exceptions that are being handled: here each keeps its own. A thread that spins while it waits for another one must
/// also let that one run now and then, which few schedulers ensure.
class switching_point {
 public:
  explicit switching_point(const where& line) : kept_(*exceptions()) {
    const unsigned thread = rl::thread_index();
    if (thread != last_) in_a_row_ = 0;
    last_ = thread;
    if (++in_a_row_ % 400 == 0) rl::yield(1, at(line));
  }
  switching_point(const switching_point&) = delete;
  switching_point& operator=(const switching_point&) = delete;
  ~switching_point() { *exceptions() = kept_; }

  /// A schedule begins.
  static void begin() {
    in_a_row_ = 0;
    if (!rl::ctx().is_random_sched()) ++allocations_not_followed(rl::ctx());
  }

 private:
  struct handled {
    void* caught;
    unsigned uncaught;
  };
  static handled* exceptions() { return reinterpret_cast<handled*>(abi::__cxa_get_globals()); }

  static inline unsigned last_ = 0;
  static inline unsigned in_a_row_ = 0;
  handled kept_;
};

inline rl::memory_order order(std::memory_order value) {
  switch (value) {
    case relaxed: return rl::mo_relaxed;
    case acquire: return rl::mo_acquire;
    case release: return rl::mo_release;
    case acq_rel: return rl::mo_acq_rel;
    default: return rl::mo_seq_cst;
  }
}

/// The order of a failure that goes with `success` where none was given.
inline std::memory_order failure_of(std::memory_order success) {
  return success == acq_rel ? acquire : success == release ? relaxed : success;
}

/// Relacy wants a success order at least as strong as the failure's: makes it so.
inline std::memory_order at_least(std::memory_order success, std::memory_order failure) {
  if (failure == seq_cst) return seq_cst;
  if (failure == acquire && success == relaxed) return acquire;
  if (failure == acquire && success == release) return acq_rel;
  return success;
}

/// Marks the memory of a living atomic, so that deallocate() ends those that were not destroyed: the library does not
/// destroy objects that are trivially destructible in std, but Relacy counts its atomics.
class life {
 public:
  constexpr life() {
    // Built over an atomic that was not destroyed, in a block that is used again.
    if (!std::is_constant_evaluated() && epoch != 0 && is_living(this)) end_(this);
    mark_ = 0;
    end_ = nullptr;
  }
  life(const life&) = delete;
  life& operator=(const life&) = delete;
  ~life() { const_cast<volatile std::uintptr_t&>(mark_) = 0; }

  void begin(void (*end)(void* object)) {
    mark_ = mark_of(this);
    end_ = end;
  }
  static void end_all(std::byte* memory, std::size_t bytes) {
    for (std::size_t i = 0; i + sizeof(life) <= bytes; i += alignof(life)) {
      life* const found = reinterpret_cast<life*>(memory + i);
      if (is_living(found)) found->end_(found);
    }
  }

  /// Changes from schedule to schedule in models with such memory: so objects that a failed schedule has left behind
  /// are known to be dead.
  static inline std::uintptr_t epoch = 0;

 private:
  static std::uintptr_t mark_of(const void* object) {
    return reinterpret_cast<std::uintptr_t>(object) ^ (epoch << 20) ^ 0x5ca1ab1e00000000;
  }
  static bool is_living(const life* object) {
    return const_cast<const volatile std::uintptr_t&>(object->mark_) == mark_of(object);
  }

  std::uintptr_t mark_;
  void (*end_)(void* object);
};

/// Is there an object of static duration here? It outlives every schedule, and no model depends on its orders.
inline bool is_static(const void* object) {
  extern char first asm("__data_start");
  extern char end asm("_end");
  return object >= &first && object < &end;
}

template <class T, bool IsEnum = std::is_enum_v<T>>
struct printable {
  using type = T;
};
template <class T>
struct printable<T, true> {
  using type = long long;
};

}  // namespace model

template <class T>
class atomic {
  using raw = typename model::printable<T>::type;
  using where = model::where;

 public:
  using value_type = T;
  static constexpr bool is_always_lock_free = true;

  constexpr atomic() : atomic(T{}) {}
  constexpr atomic(T value) : plain_(static_cast<raw>(value)) {
    if (!std::is_constant_evaluated() && rl::is_ctx() && !model::is_static(this)) {
      life_.begin(&end);
      ::new (&value_) rl::atomic<raw>(static_cast<raw>(value));
      is_modelled_ = true;
    }
  }
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;
  ~atomic() {
    if (is_modelled_) std::destroy_at(&value_);
  }

  T load(std::memory_order o = seq_cst, where line = where::current()) const {
    if (!is_modelled_) return static_cast<T>(plain_);
    const operation now(o, line);
    return static_cast<T>(value_.load(now.order, now.line));
  }
  void store(T value, std::memory_order o = seq_cst, where line = where::current()) {
    if (!is_modelled_) return (void)replace(static_cast<raw>(value));
    const operation now(o, line);
    value_.store(static_cast<raw>(value), now.order, now.line);
  }
  T exchange(T value, std::memory_order o = seq_cst, where line = where::current()) {
    if (!is_modelled_) return replace(static_cast<raw>(value));
    const operation now(o, line);
    return static_cast<T>(value_.exchange(static_cast<raw>(value), now.order, now.line));
  }
  T fetch_add(T value, std::memory_order o = seq_cst, where line = where::current()) {
    if (!is_modelled_) return replace(plain_ + value);
    const operation now(o, line);
    return value_.fetch_add(value, now.order, now.line);
  }
  T fetch_sub(T value, std::memory_order o = seq_cst, where line = where::current()) {
    if (!is_modelled_) return replace(plain_ - value);
    const operation now(o, line);
    return value_.fetch_sub(value, now.order, now.line);
  }
  T fetch_and(T value, std::memory_order o = seq_cst, where line = where::current()) {
    if (!is_modelled_) return replace(plain_ & value);
    const operation now(o, line);
    return value_.fetch_and(value, now.order, now.line);
  }
  T fetch_or(T value, std::memory_order o = seq_cst, where line = where::current()) {
    if (!is_modelled_) return replace(plain_ | value);
    const operation now(o, line);
    return value_.fetch_or(value, now.order, now.line);
  }
  bool compare_exchange_weak(T& expected, T value, std::memory_order success, std::memory_order failure,
                             where line = where::current()) {
    return exchange_if<true>(expected, value, success, failure, line);
  }
  bool compare_exchange_weak(T& expected, T value, std::memory_order o = seq_cst, where line = where::current()) {
    return exchange_if<true>(expected, value, o, model::failure_of(o), line);
  }
  bool compare_exchange_strong(T& expected, T value, std::memory_order success, std::memory_order failure,
                               where line = where::current()) {
    return exchange_if<false>(expected, value, success, failure, line);
  }
  bool compare_exchange_strong(T& expected, T value, std::memory_order o = seq_cst, where line = where::current()) {
    return exchange_if<false>(expected, value, o, model::failure_of(o), line);
  }

  /// Sleeps while the word holds `expected`, until woken or, if `timed`, until any moment. The comparison and falling
  /// asleep are one step, as in a futex, and order nothing. (A wake-up does, in Relacy.) True if its time has passed.
  bool sleep_while(T expected, bool timed, where line) {
    RL_ASSERT(is_modelled_);
    const model::switching_point here(line);
    rl::context& context = rl::ctx();
    context.sched();
    if (value_.debug_value() == expected)
      return value_.wait(context, timed, context.is_random_sched() && rl::rand(4) == 0, model::at(line)) ==
             rl::unpark_reason_timeout;
    // An exhaustive search would try to see the old value for ever in the caller's next load.
    if (!context.is_random_sched()) rl::yield(1, model::at(line));
    return false;
  }
  void wake(unsigned how_many, where line) {
    const model::switching_point here(line);
    rl::context& context = rl::ctx();
    context.sched();
    value_.wake(context, how_many, model::at(line));
  }

 private:
  struct operation {
    operation(std::memory_order o, const where& where) : point(where), line(model::at(where)) {
      if (model::watcher != nullptr) model::watcher(where, o, nullptr);
      order = model::order(o);
    }
    model::switching_point point;
    rl::debug_info line;
    rl::memory_order order;
  };

  template <bool MayFailForNoReason>
  bool exchange_if(T& expected, T value, std::memory_order success, std::memory_order failure, where line) {
    if (!is_modelled_) {
      const bool same = plain_ == static_cast<raw>(expected);
      expected = static_cast<T>(plain_);
      if (same) plain_ = static_cast<raw>(value);
      return same;
    }
    const model::switching_point here(line);
    if (model::watcher != nullptr) model::watcher(line, success, &failure);
    raw found = static_cast<raw>(expected);
    const bool done = value_.compare_exchange(rl::bool_t<MayFailForNoReason>{}, found, static_cast<raw>(value),
                                              model::order(model::at_least(success, failure)), model::order(failure),
                                              model::at(line));
    expected = static_cast<T>(found);
    return done;
  }

  T replace(raw value) { return static_cast<T>(std::exchange(plain_, value)); }
  static void end(void* life) { static_cast<atomic*>(life)->~atomic(); }

  model::life life_;  // first
  bool is_modelled_ = false;
  union {
    raw plain_;
    rl::atomic<raw> value_;
  };
};

// --- Dekker pairs with a cheap side: with the system call, and where it is refused ---

namespace model {
/// Chosen anew for each schedule.
inline bool fences_are_refused = false;
}  // namespace model

inline bool register_membarrier() noexcept { return !model::fences_are_refused; }

inline bool has_membarrier() noexcept { return !model::fences_are_refused; }

template <bool Plain, class T>
void asymmetric_store_as(atomic<T>& word, T value, model::where line = model::where::current()) {
  word.store(value, Plain ? release : seq_cst, line);
}
template <class T>
void asymmetric_store(atomic<T>& word, T value, model::where line = model::where::current()) {
  word.store(value, model::fences_are_refused ? seq_cst : release, line);
}

/// The system call makes all threads pass a fence. It would hide what a weak publication leaves unseen. Models that
/// never call it show that, and all other models where it is refused.
inline void asymmetric_fence_heavy(model::where line = model::where::current()) {
  if (model::fences_are_refused) return;
  const model::switching_point here(line);
  rl::ctx().sched();
  rl::systemwide_fence(model::at(line));
}

namespace model {
/// Stands still, but jumps to the end of a timed sleep that no thread has ended.
inline deadline clock;
}  // namespace model

inline deadline time_now() { return model::clock; }

/// After spinning in vain a thread does what it would have done at once, so only that is checked.
template <class Ready>
bool spin_until(Ready) noexcept {
  return false;
}

inline void sleep_on(atomic<std::uint32_t>& word, std::uint32_t expected, deadline until = never,
                     model::where line = model::where::current()) {
  if (word.sleep_while(expected, until != never, line) && model::clock < until) model::clock = until;
}

inline void wake_one(atomic<std::uint32_t>& word, model::where line = model::where::current()) { word.wake(1, line); }

inline void wake_all(atomic<std::uint32_t>& word, model::where line = model::where::current()) {
  word.wake(INT_MAX, line);
}

class mutex {
 public:
  void lock(model::where line = model::where::current()) {
    const model::switching_point here(line);
    mutex_.lock(model::at(line));
  }
  void unlock(model::where line = model::where::current()) {
    const model::switching_point here(line);
    mutex_.unlock(model::at(line));
  }

 private:
  rl::mutex mutex_;
};

namespace model {
/// How many threads may still be started: no more than the model's dynamic_thread_count.
inline unsigned threads_left = 0;
}  // namespace model

class thread {
 public:
  thread() = default;
  template <class F>
  explicit thread(F run) {
    if (model::threads_left == 0) throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
    --model::threads_left;
    handle_ = rl::ctx().create_thread(&start<F>, ::new ((std::malloc)(sizeof(F))) F(std::move(run)));
  }
  thread(thread&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  thread& operator=(thread&& other) noexcept {
    RL_ASSERT(!joinable());
    handle_ = std::exchange(other.handle_, nullptr);
    return *this;
  }
  ~thread() { RL_ASSERT(!joinable()); }
  bool joinable() const noexcept { return handle_ != nullptr; }
  void join(model::where line = model::where::current()) {
    const model::switching_point here(line);
    std::exchange(handle_, nullptr)->wait(false, false, model::at(line));
  }
  void detach() noexcept { handle_ = nullptr; }

 private:
  template <class F>
  static void* start(void* memory) {
    F* const given = static_cast<F*>(memory);
    F run = std::move(*given);
    given->~F();
    (std::free)(memory);
    run();
    return nullptr;
  }

  rl::win_waitable_object* handle_ = nullptr;
};

namespace model {
/// threads_left for the threads that serve a pool beside its workers: the first is the monitor.
inline unsigned services_left = 0;
}  // namespace model

template <class F>
thread start_service_thread(F run) {
  if (model::services_left == 0) throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  --model::services_left;
  ++model::threads_left;
  return thread(std::move(run));
}

}  // namespace dyngen::detail
