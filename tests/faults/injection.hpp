// SPDX-License-Identifier: MIT
#pragma once
// Fault injection: every allocation, every special member and function of user code, every destructor and every thread
// start of this program is a point that can be made to fail. A scenario is a function that uses the library; the driver
// runs it with the first point failing, then the second, the third, ... until none fails any more, and checks after
// each run that the failure arrived somewhere, that every ref is ready, and that nothing leaks.
//
// Points count only in the code that a scenario passes to run::armed(): code before it prepares, code after it checks.

#include "../catch.hpp"
#include "../support.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace faults {

// --- points ---

/// What fails, and whether once or from some moment on.
enum class kind { allocation, all_allocations, user_code, destructor, thread, all_threads };
const char* name_of(kind what) noexcept;

/// Whose points count.
enum class scope { this_thread, all_threads };

/// Thrown by operator new. (pthread_create fails with EAGAIN, which becomes a std::system_error.)
struct injected_allocation : std::bad_alloc {
  const char* what() const noexcept override { return "an injected failure of an allocation"; }
};
/// Thrown by a function or destructor of user code. Allocates nothing.
struct injected : std::exception {
  const char* what() const noexcept override { return "an injected failure of the user's code"; }
};

/// From now on the `nth` point of this kind fails, counted from 1; with 0 none does.
void arm(kind what, long nth, scope whose) noexcept;
/// No point fails any more.
void disarm() noexcept;
/// Has one failed since arm()?
bool has_fired() noexcept;
/// Has one failed that must be seen, that is, not one that the library can do without?
bool has_to_arrive() noexcept;
/// To be called before the next arm(): then none has failed.
void forget() noexcept;
/// The number of live allocations.
long live_allocations() noexcept;

/// A point in a function of user code that may throw.
void user_point();
/// A point at the end of a destructor that may throw; never during stack unwinding.
void destructor_point();

/// While it lives, no point of this thread counts: for code of the tests themselves.
class uncounted {
 public:
  uncounted() noexcept;
  uncounted(const uncounted&) = delete;
  uncounted& operator=(const uncounted&) = delete;
  ~uncounted();
};

// --- values ---

/// A number that fails to be constructed, copied, moved, assigned or compared, and reports uses after its destruction.
template <bool DestructorThrows>
class basic_value {
 public:
  static inline std::atomic<long> live{0};
  static inline std::atomic<long> misused{0};
  static constexpr int moved_from = -1;

  basic_value(int n) : number((user_point(), n)) { begin(); }
  basic_value(int a, int b) : basic_value(a + b) {}
  basic_value(const basic_value& other) : number((user_point(), other.look())) { begin(); }
  basic_value(basic_value&& other) : number((user_point(), std::exchange(other.look(), moved_from))) { begin(); }
  basic_value& operator=(const basic_value& other) {
    user_point();
    look() = other.look();
    return *this;
  }
  basic_value& operator=(basic_value&& other) {
    user_point();
    look() = std::exchange(other.look(), moved_from);
    return *this;
  }
  ~basic_value() noexcept(!DestructorThrows) {
    if (self_ != this) ++misused;
    self_ = nullptr;
    --live;
    if constexpr (DestructorThrows) destructor_point();
  }
  friend bool operator==(const basic_value& a, const basic_value& b) {
    user_point();
    return a.look() == b.look();
  }

  int& look() {
    if (self_ != this) ++misused;
    return number;
  }
  const int& look() const {
    if (self_ != this) ++misused;
    return number;
  }

  int number;

 private:
  void begin() noexcept {
    self_ = this;
    ++live;
  }
  const basic_value* self_ = nullptr;
};

using value = basic_value<false>;
using explosive = basic_value<true>;

/// A callable of user code: holds a value, so that copies and moves of it fail too.
template <class V, class F>
class callable {
 public:
  callable(V state, F f) : state_(std::move(state)), f_(std::move(f)) {}
  template <class... Args>
  decltype(auto) operator()(Args&&... args) {
    user_point();
    return f_(static_cast<Args&&>(args)...);
  }

 private:
  V state_;
  F f_;
};

// --- where tasks run ---

enum class host {
  inline_executor,  ///< on the thread that submits
  by_hand,          ///< on the same thread, when that calls run
  pool,             ///< on two workers, or on a thread that waits
  workers_only,     ///< on one worker
  users_own         ///< by an executor of user code, whose queue fails too
};
inline constexpr std::initializer_list<host> all_hosts = {host::inline_executor, host::by_hand, host::pool,
                                                          host::workers_only, host::users_own};
const char* name_of(host where) noexcept;
constexpr scope scope_of(host where) noexcept {
  return where == host::pool || where == host::workers_only ? scope::all_threads : scope::this_thread;
}

class target {
 public:
  target(host which, dg::executor_target executor) : where(which), on(std::move(executor)) {}
  virtual ~target() = default;
  /// Runs the queued tasks, if no other thread does.
  virtual void work() {}
  /// How many tasks were submitted; nothing where the executor does not count.
  virtual std::optional<std::uint64_t> submitted() const { return std::nullopt; }

  const host where;
  dg::executor_target on;
};

// --- one run of a scenario ---

/// One run: whether its failure occurred, and where it arrived.
class run {
 public:
  run(kind what, long nth, scope whose) noexcept : what_(what), nth_(nth), whose_(whose) { forget(); }

  kind what() const noexcept { return what_; }

  /// Runs `operation` with the failure armed, and keeps what it throws.
  template <class F>
  void armed(F&& operation) {
    arm(what_, nth_, whose_);
    std::exception_ptr thrown;
    try {
      operation();
    } catch (...) {
      thrown = std::current_exception();
    }
    disarm();
    thrown_ = thrown;
    if (thrown) arrived(thrown);
  }

  /// Runs one call with failures; afterwards the tasks that are still queued run, with nothing failing.
  template <class F>
  void armed(target& t, F&& operation) {
    armed(operation);
    t.work();
  }

  /// Did the armed code throw?
  bool threw() const noexcept { return thrown_ != nullptr; }
  bool fired() const noexcept { return has_fired(); }

  /// Called in the bodies of tasks, to check that a submit that throws has run none.
  void enter() noexcept { ++entered_; }
  int entered() const noexcept { return entered_.load(); }

  /// An exception has arrived, in a ref, in the hook, or here.
  void arrived(const std::exception_ptr& error) noexcept;

  /// An exception of this type belongs to the scenario, and says nothing about the failure.
  template <class E>
  void expect() noexcept {
    expected_[expected_count_++] = &is<E>;
  }
  /// An exception of this type, which comes only when something failed, stands for the failure.
  template <class E>
  void stands_for_failure() noexcept {
    standing_[standing_count_++] = &is<E>;
  }
  /// The failure was seen in a way that only the scenario knows; or, if there was one, it need not be seen.
  void accounted_for() noexcept { ++seen_; }
  void need_not_arrive() noexcept { ++seen_if_fired_; }

  void printed_something_else();

  /// Reports an error of the library.
  void problem(const std::string& text);
  void check(bool fine, const char* text) {
    if (!fine) problem(text);
  }

  /// Waits for `r`, unless it is empty since the armed code has thrown: it holds `number`, or the failure.
  template <class T>
  void holds(const dg::ref<T>& r, int number) {
    const auto seen = outcome_of(r);
    check(seen || fired(), "a ref failed, and nothing had");
    if (seen && *seen != number)
      problem("a ref holds " + std::to_string(*seen) + " in place of " + std::to_string(number));
  }
  template <class Refs>
  void hold(const Refs& refs, int first) {
    for (const auto& r : refs) holds(r, first++);
  }
  /// Waits for `r`, unless it is empty: its number, nothing if it failed. An event counts as 0.
  template <class T>
  std::optional<int> outcome_of(const dg::ref<T>& r) {
    if (!r.valid()) {
      check(threw(), "a submit that did not throw has given an empty ref");
      return std::nullopt;
    }
    r.wait();
    if (std::exception_ptr error = r.error()) {
      arrived(error);
      return std::nullopt;
    }
    if constexpr (std::is_void_v<T>) {
      return 0;
    } else {
      return number_of(r.get());
    }
  }
  template <class T>
  static int number_of(const T& v) {
    if constexpr (requires { v.look(); })
      return v.look();
    else
      return static_cast<int>(v);
  }

  /// For on_unhandled_error.
  auto hook() {
    return [this](std::exception_ptr error, std::string_view) { arrived(error); };
  }
  dg::thread_pool_options pool_options(int threads, bool waiters_help = true) {
    dg::thread_pool_options o;
    o.threads = threads;
    o.waiters_help = waiters_help;
    o.on_unhandled_error = hook();
    return o;
  }

  /// Called after the scenario: the text of what is wrong, or nothing.
  std::string finish(bool may_be_absorbed);

 private:
  using matcher = bool(const std::exception_ptr&) noexcept;
  template <class E>
  static bool is(const std::exception_ptr& error) noexcept {
    try {
      std::rethrow_exception(error);
    } catch (const E&) {
      return true;
    } catch (...) {
      return false;
    }
  }

  const kind what_;
  const long nth_;
  const scope whose_;
  std::exception_ptr thrown_;
  std::atomic<int> entered_{0};
  std::atomic<int> seen_{0};  ///< how often the failure arrived
  std::atomic<int> seen_if_fired_{0};
  matcher* expected_[4] = {};
  matcher* standing_[4] = {};
  int expected_count_ = 0;
  int standing_count_ = 0;
  std::mutex mutex_;
  std::string problems_;
};

// --- the driver ---

/// The submit has thrown: then it has submitted nothing.
void check_nothing_submitted(run& r, const target& t);

struct scenario {
  const char* name;
  void (*body)(run&, target&);
  /// Kinds of failure that may stay unnoticed, since the library can do without the failed allocation.
  std::initializer_list<kind> absorbed = {};
};
/// A scenario without tasks, or with a pool of its own.
struct lone_scenario {
  const char* name;
  void (*body)(run&);
  std::initializer_list<kind> absorbed = {};
  scope whose = scope::all_threads;
};

/// Runs it on each of the hosts, or alone, with each kind of failure, at every point. Returns what was wrong.
std::vector<std::string> drive(const scenario& s, std::initializer_list<host> hosts, std::initializer_list<kind> kinds);
std::vector<std::string> drive(const lone_scenario& s, std::initializer_list<kind> kinds);

inline void expect_none(const std::vector<std::string>& wrong) {
  for (const std::string& text : wrong) FAIL_CHECK(text);
  CHECK(wrong.empty());
}
inline void drive_all(const std::vector<scenario>& all, std::initializer_list<host> hosts, std::initializer_list<kind> kinds) {
  for (const scenario& s : all) expect_none(drive(s, hosts, kinds));
}
inline void drive_all(const std::vector<lone_scenario>& all, std::initializer_list<kind> kinds) {
  for (const lone_scenario& s : all) expect_none(drive(s, kinds));
}

inline constexpr std::initializer_list<kind> throwing = {kind::allocation, kind::all_allocations, kind::user_code};
inline constexpr std::initializer_list<kind> destructors = {kind::destructor};

/// Runs an action on a thread of its own, once the armed code waits in the library, or has ended.
class while_it_waits {
 public:
  template <class Action>
  explicit while_it_waits(Action action)
      : thread_([this, action]() mutable {
          // A wait allocates before it blocks.
          support::eventually([this] { return over_.load() || waits() > before_; }, std::chrono::minutes(5));
          const uncounted own;
          action();
        }) {}
  while_it_waits(const while_it_waits&) = delete;
  while_it_waits& operator=(const while_it_waits&) = delete;
  ~while_it_waits() { finish(); }

  /// Called after the armed code: returns when the action is done.
  void finish() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  static long waits() noexcept { return dg::detail::memory_counter::live(dg::detail::memory_kind::waiter); }

  const long before_ = waits();
  std::atomic<bool> over_{false};
  std::thread thread_;
};

/// Yields 0 … n-1.
template <class V>
dg::generator<V> count_to(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}

}  // namespace faults
