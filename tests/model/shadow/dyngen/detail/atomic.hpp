// SPDX-License-Identifier: MIT
#pragma once
// The names of dyngen/detail/atomic.hpp on top of Relacy: a model that puts this directory first on its include path
// checks the library's own headers. Orders are taken as written, each operation is a point where the scheduler may
// switch, and each carries the library's line into the trace. A thread asleep that nobody wakes is a deadlock, which
// Relacy reports; a timed sleep may end at any moment. Blind spots: see model.hpp.

#include <atomic>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <semaphore>    // relacy.hpp has macros that break what these two include
#include <source_location>
#include <stop_token>
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

/// What the memory of a living atomic can be told by, so that deallocate() ends those that nobody destroyed: the
/// library does not destroy what is trivially destructible in std, but Relacy counts its atomics.
class life {
public:
  explicit life(void (*end)(void* object)) {
    // Built where one was that nobody destroyed: in a block that is used again.
    if (epoch != 0 && is_living(this)) end_(this);
    mark_ = mark_of(this);
    end_ = end;
  }
  life(const life&) = delete;
  life& operator=(const life&) = delete;
  ~life() { const_cast<volatile std::uintptr_t&>(mark_) = 0; }

  static void end_all(std::byte* memory, std::size_t bytes) {
    for (std::size_t i = 0; i + sizeof(life) <= bytes; i += alignof(life)) {
      life* const found = reinterpret_cast<life*>(memory + i);
      if (is_living(found)) found->end_(found);
    }
  }

  /// Changes from schedule to schedule in models with such memory: what one that failed has left behind is dead.
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

  atomic() : atomic(T{}) {}
  atomic(T value) : value_(static_cast<raw>(value)) {}
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(std::memory_order o = seq_cst, where line = where::current()) const {
    return static_cast<T>(value_.load(model::order(o), model::at(line)));
  }
  void store(T value, std::memory_order o = seq_cst, where line = where::current()) {
    value_.store(static_cast<raw>(value), model::order(o), model::at(line));
  }
  T exchange(T value, std::memory_order o = seq_cst, where line = where::current()) {
    return static_cast<T>(value_.exchange(static_cast<raw>(value), model::order(o), model::at(line)));
  }
  T fetch_add(T value, std::memory_order o = seq_cst, where line = where::current()) {
    return value_.fetch_add(value, model::order(o), model::at(line));
  }
  T fetch_sub(T value, std::memory_order o = seq_cst, where line = where::current()) {
    return value_.fetch_sub(value, model::order(o), model::at(line));
  }
  T fetch_and(T value, std::memory_order o = seq_cst, where line = where::current()) {
    return value_.fetch_and(value, model::order(o), model::at(line));
  }
  T fetch_or(T value, std::memory_order o = seq_cst, where line = where::current()) {
    return value_.fetch_or(value, model::order(o), model::at(line));
  }
  T fetch_xor(T value, std::memory_order o = seq_cst, where line = where::current()) {
    return value_.fetch_xor(value, model::order(o), model::at(line));
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
  /// asleep are one step, as in a futex, and order nothing. (A wake-up does, in Relacy.)
  void sleep_while(T expected, bool timed, where line) {
    rl::context& context = rl::ctx();
    context.sched();
    if (value_.debug_value() == expected) {
      value_.wait(context, timed, context.is_random_sched() && rl::rand(4) == 0, model::at(line));
    } else if (!context.is_random_sched()) {
      // An exhaustive search would try to see the old value for ever in the caller's next load.
      rl::yield(1, model::at(line));
    }
  }
  void wake(unsigned how_many, where line) {
    rl::context& context = rl::ctx();
    context.sched();
    value_.wake(context, how_many, model::at(line));
  }

private:
  template <bool MayFailForNoReason>
  bool exchange_if(T& expected, T value, std::memory_order success, std::memory_order failure, where line) {
    raw found = static_cast<raw>(expected);
    const bool done = value_.compare_exchange(rl::bool_t<MayFailForNoReason>{}, found, static_cast<raw>(value),
                                              model::order(model::at_least(success, failure)), model::order(failure),
                                              model::at(line));
    expected = static_cast<T>(found);
    return done;
  }

  static void end(void* life) { static_cast<atomic*>(life)->~atomic(); }

  model::life life_{&end};  // first
  rl::atomic<raw> value_;
};

inline void sleep_on(atomic<std::uint32_t>& word, std::uint32_t expected, deadline until = never,
                     model::where line = model::where::current()) {
  word.sleep_while(expected, until != never, line);
}

inline void wake_one(atomic<std::uint32_t>& word, model::where line = model::where::current()) { word.wake(1, line); }

inline void wake_all(atomic<std::uint32_t>& word, model::where line = model::where::current()) {
  word.wake(INT_MAX, line);
}

}  // namespace dyngen::detail
