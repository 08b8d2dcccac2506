// SPDX-License-Identifier: MIT
// The points themselves: this program's operator new and delete, its pthread_create, its stderr; and the driver.

#include "injection.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

namespace faults {
namespace {

// The armed failure. Written by the driver's thread only, while no other thread is at a point that would count.
std::atomic<int> armed_kind{-1};
std::atomic<long> armed_at{0};
std::atomic<const void*> armed_thread{nullptr};  // null: any
std::atomic<long> met{0};
std::atomic<bool> fired{false};
std::atomic<bool> must_arrive{false};  // false if the library can do without the failed allocation

std::atomic<long> allocations{0};  // live allocations

// Memory that is cached for the next allocation of its size would be no point, and would stay allocated.
[[maybe_unused]] const bool memory_goes_back = [] {
  dg::detail::keeps_memory = false;
  return true;
}();

thread_local int uncounted_depth = 0;
const void* this_thread() noexcept { return &uncounted_depth; }

kind lasting_form_of(kind once) noexcept {
  return once == kind::allocation ? kind::all_allocations : once == kind::thread ? kind::all_threads : once;
}

/// Called at each point: is this the one that fails?
bool fails(kind point, bool matters = true) noexcept {
  const int now = armed_kind.load();
  const bool lasting = now == static_cast<int>(lasting_form_of(point)) && now != static_cast<int>(point);
  if (now != static_cast<int>(point) && !lasting) return false;
  const void* const whose = armed_thread.load();
  if (uncounted_depth != 0 || (whose != nullptr && whose != this_thread())) return false;
  const long number = met.fetch_add(1) + 1;
  const long at = armed_at.load();
  if (at == 0 || (lasting ? number < at : number != at)) return false;
  fired = true;
  if (matters) must_arrive = true;
  return true;
}

void* allocate_or_null(std::size_t bytes, std::size_t alignment) noexcept {
  void* memory = nullptr;
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__)
    memory = std::malloc(bytes == 0 ? 1 : bytes);
  else
    memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory != nullptr) ++allocations;
  return memory;
}

void* allocate(std::size_t bytes, std::size_t alignment = 0) {
  if (fails(kind::allocation)) throw injected_allocation();
  if (void* memory = allocate_or_null(bytes, alignment)) return memory;
  throw std::bad_alloc();
}

/// Allocations that the library can do without: objects that threads keep for good, and notes of tasks that will only
/// end. They do not count as live, since their number depends on how many threads were alive at once.
void* allocate_quietly(std::size_t bytes, std::size_t alignment = 0) noexcept {
  if (fails(kind::allocation, false)) return nullptr;
  void* const memory = allocate_or_null(bytes, alignment);
  if (memory != nullptr) --allocations;
  return memory;
}

void deallocate(void* memory) noexcept {
  if (memory == nullptr) return;
  --allocations;
  std::free(memory);
}

}  // namespace
}  // namespace faults

// --- operator new and delete, all forms ---

void* operator new(std::size_t n) { return faults::allocate(n); }
void* operator new[](std::size_t n) { return faults::allocate(n); }
void* operator new(std::size_t n, std::align_val_t a) { return faults::allocate(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return faults::allocate(n, static_cast<std::size_t>(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return faults::allocate_quietly(n); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return faults::allocate_quietly(n); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return faults::allocate_quietly(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return faults::allocate_quietly(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { faults::deallocate(p); }
void operator delete[](void* p) noexcept { faults::deallocate(p); }
void operator delete(void* p, std::size_t) noexcept { faults::deallocate(p); }
void operator delete[](void* p, std::size_t) noexcept { faults::deallocate(p); }
void operator delete(void* p, std::align_val_t) noexcept { faults::deallocate(p); }
void operator delete[](void* p, std::align_val_t) noexcept { faults::deallocate(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { faults::deallocate(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { faults::deallocate(p); }
// Memory from a nothrow operator new that does not stay for good is freed without counting, too.
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { faults::deallocate(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { faults::deallocate(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { faults::deallocate(p); }

// --- pthread_create ---

// The sanitizer's function, if there is one: with a statically linked runtime it is no next symbol.
extern "C" int __interceptor_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)
    __attribute__((weak));

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  using function = int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static function* const next = __interceptor_pthread_create != nullptr
                                    ? __interceptor_pthread_create
                                    : reinterpret_cast<function*>(dlsym(RTLD_NEXT, "pthread_create"));
  if (faults::fails(faults::kind::thread)) return EAGAIN;
  return next(thread, attributes, start, argument);
}

namespace faults {

void arm(kind what, long nth, scope whose) noexcept {
  armed_at = nth;
  armed_thread = whose == scope::this_thread ? this_thread() : nullptr;
  met = 0;
  forget();
  armed_kind = static_cast<int>(what);
}

void disarm() noexcept { armed_kind = -1; }
bool has_fired() noexcept { return fired.load(); }
bool has_to_arrive() noexcept { return must_arrive.load(); }
void forget() noexcept { fired = must_arrive = false; }

long live_allocations() noexcept { return allocations.load(); }

void user_point() {
  if (fails(kind::user_code)) throw injected();
}
void destructor_point() {
  if (std::uncaught_exceptions() == 0 && fails(kind::destructor)) throw injected();
}

uncounted::uncounted() noexcept { ++uncounted_depth; }
uncounted::~uncounted() { --uncounted_depth; }

const char* name_of(kind what) noexcept {
  switch (what) {
    case kind::allocation: return "one allocation";
    case kind::all_allocations: return "all allocations from one on";
    case kind::user_code: return "one function of the user's";
    case kind::destructor: return "one destructor";
    case kind::thread: return "one thread start";
    case kind::all_threads: return "all thread starts from one on";
  }
  return "?";
}

const char* name_of(host where) noexcept {
  switch (where) {
    case host::inline_executor: return "inline_executor";
    case host::by_hand: return "manual_executor";
    case host::pool: return "a pool";
    case host::workers_only: return "a pool of one worker, without helping";
    case host::users_own: return "a user's executor";
  }
  return "?";
}

namespace {

// --- stderr ---

/// Records what the library prints about exceptions without hook and handle. All other output to stderr passes through.
std::atomic<long> printed_failures{0}, printed_others{0};

ssize_t write_to_stderr(void*, const char* text, std::size_t size) {
  const std::string_view line(text, size);
  if (line.find("dyngen: unhandled") == std::string_view::npos) return ::write(2, text, size);
  ++(line.find("an injected failure") != std::string_view::npos ? printed_failures : printed_others);
  return static_cast<ssize_t>(size);
}

void watch_stderr() {
  static const bool done = [] {
    // Of stdio only: what sanitizers write to the descriptor must stay visible.
    cookie_io_functions_t functions{};
    functions.write = &write_to_stderr;
    std::FILE* const watched = fopencookie(nullptr, "w", functions);
    std::setvbuf(watched, nullptr, _IONBF, 0);
    stderr = watched;
    return true;
  }();
  static_cast<void>(done);
}

// --- where tasks run ---

class inline_target final : public target {
 public:
  inline_target() : target(host::inline_executor, dg::on(executor_)) {}

 private:
  static inline dg::inline_executor executor_;
};

class manual_target final : public target {
 public:
  explicit manual_target(std::unique_ptr<dg::manual_executor> executor)
      : target(host::by_hand, dg::on(*executor)), executor_(std::move(executor)) {}
  void work() override { executor_->run_all(); }

 private:
  std::unique_ptr<dg::manual_executor> executor_;
};

class pool_target final : public target {
 public:
  pool_target(host which, std::unique_ptr<dg::thread_pool> pool) : target(which, dg::on(*pool)), pool_(std::move(pool)) {}
  std::optional<std::uint64_t> submitted() const override { return pool_->stats().submitted; }

 private:
  std::unique_ptr<dg::thread_pool> pool_;
};

/// A queue that drops work for which it has no memory.
class users_executor {
 public:
  void execute(dg::work w) noexcept {
    try {
      queue_.push_back(std::move(w));
    } catch (...) {
    }
  }
  void run_all() {
    while (!queue_.empty()) {
      std::vector<dg::work> now;
      now.swap(queue_);
      for (dg::work& w : now) w();
    }
  }

 private:
  std::vector<dg::work> queue_;
};

class users_target final : public target {
 public:
  explicit users_target(std::unique_ptr<users_executor> executor)
      : target(host::users_own, dg::on(*executor)), executor_(std::move(executor)) {}
  void work() override { executor_->run_all(); }

 private:
  std::unique_ptr<users_executor> executor_;
};

std::unique_ptr<target> make_target(host where, run& r) {
  switch (where) {
    case host::inline_executor: return std::make_unique<inline_target>();
    case host::by_hand: return std::make_unique<manual_target>(std::make_unique<dg::manual_executor>());
    case host::pool: return std::make_unique<pool_target>(where, std::make_unique<dg::thread_pool>(r.pool_options(2)));
    case host::workers_only:
      return std::make_unique<pool_target>(where, std::make_unique<dg::thread_pool>(r.pool_options(1, false)));
    case host::users_own:
      r.stands_for_failure<dg::cancelled_error>();  // S-STOP-5
      return std::make_unique<users_target>(std::make_unique<users_executor>());
  }
  return nullptr;
}

// --- counters that a run must leave unchanged ---

struct snapshot {
  long values = value::live + explosive::live;
  long misused = value::misused + explosive::misused;
  long records = dg::detail::memory_counter::live(dg::detail::memory_kind::record);
  long frames = dg::detail::memory_counter::live(dg::detail::memory_kind::frame);
  long blocks = dg::detail::memory_counter::live(dg::detail::memory_kind::block);
  long waiters = dg::detail::memory_counter::live(dg::detail::memory_kind::waiter);
  long allocated = allocations.load();
  bool operator==(const snapshot&) const = default;
};

std::string difference(const snapshot& before, const snapshot& after, kind what) {
  std::ostringstream text;
  // When the destructor of a temporary or a local throws, compilers may leak objects that the same expression, or the
  // function, has just constructed, also outside of coroutines: g++ 12 a value or two; clang 19 all that a call has
  // returned when the destructor of its argument throws, also a coroutine with all its objects.
#ifdef __clang__
  const bool leaves_anything = what == kind::destructor;
#else
  const bool leaves_anything = false;
#endif
  const long left_by_compilers = what == kind::destructor ? 2 : 0;
  const auto tell = [&](long b, long a, const char* of) {
    if (a < b || (a > b && !leaves_anything)) text << of << (a > b ? " +" : " ") << a - b << "; ";
  };
  if (after.values < before.values || after.values > before.values + left_by_compilers)
    tell(before.values, after.values, "live values");
  tell(before.misused, after.misused, "dead values used");
  tell(before.records, after.records, "records");
  tell(before.frames, after.frames, "frames");
  tell(before.blocks, after.blocks, "blocks");
  tell(before.waiters, after.waiters, "waiters");
  tell(before.allocated, after.allocated, "allocations");
  return text.str();
}

bool contains(std::initializer_list<kind> kinds, kind what) {
  for (kind k : kinds)
    if (k == what) return true;
  return false;
}

/// Prints where the program hangs, if it does.
char current_run[300];

/// `once(run&)` is one run of the scenario. Runs it with every point failing; returns how many there are.
template <class Once>
long drive_kind(const std::string& name, kind what, scope whose, bool absorbed, std::vector<std::string>& wrong, Once once) {
  constexpr long limit = 3000;
  std::string problems;
  const auto one_run = [&](long nth) {
    std::snprintf(current_run, sizeof current_run, "faults: %s, %s, number %ld", name.c_str(), name_of(what), nth);
    const snapshot before;
    bool failed = false;
    {
      run r(what, nth, whose);
      const long failures = printed_failures.load();
      const long others = printed_others.load();
      once(r);
      if (printed_failures.load() != failures) r.accounted_for();
      if (printed_others.load() != others) r.printed_something_else();
      failed = r.fired();
      problems = r.finish(absorbed);
    }
    if (problems.empty()) problems = difference(before, snapshot(), what);
    if (!problems.empty()) wrong.push_back(std::string(current_run) + ": " + problems);
    return failed;
  };

  const support::watchdog dog(current_run, 300);
  problems.reserve(1000);
  {
    run first(what, 0, whose);  // objects that exist once in a program are constructed here
    once(first);
  }
  for (long nth = 0; nth <= limit; ++nth)
    if (!one_run(nth) && nth != 0) return nth - 1;
  wrong.push_back(name + ": it fails for ever");
  return limit;
}

}  // namespace

void run::arrived(const std::exception_ptr& error) noexcept {
  const uncounted own;
  std::exception_ptr cause;
  try {
    std::rethrow_exception(error);
  } catch (const std::nested_exception& outer) {
    cause = outer.nested_ptr();
  } catch (...) {
  }
  if (cause) arrived(cause);
  const bool expected = std::any_of(expected_, expected_ + expected_count_, [&](matcher* m) { return m(error); });
  const bool standing = std::any_of(standing_, standing_ + standing_count_, [&](matcher* m) { return m(error); });
  if (expected || standing) {
    if (standing) ++(expected ? seen_if_fired_ : seen_);
    return;
  }
  try {
    std::rethrow_exception(error);
  } catch (const injected_allocation&) {
    ++seen_;
  } catch (const injected&) {
    ++seen_;
  } catch (const std::system_error&) {
    ++seen_;
  } catch (const std::exception& e) {
    problem(std::string("an unexpected exception: ") + e.what());
  } catch (...) {
    problem("an unexpected exception of another type");
  }
}

void run::problem(const std::string& text) {
  std::lock_guard lock(mutex_);
  if (problems_.size() < 500) problems_ += text + "; ";
}

void run::printed_something_else() {
  if (expected_count_ == 0) problem("an exception was printed that is not the failure");
}

std::string run::finish(bool may_be_absorbed) {
  if (fired()) seen_ += seen_if_fired_.load();
  if (has_to_arrive() && seen_.load() == 0 && !may_be_absorbed) problem("the failure arrived nowhere");
  if (!fired() && seen_.load() != 0) problem("a failure arrived that was not injected");
  return problems_;
}

void check_nothing_submitted(run& r, const target& t) {
  r.check(r.threw(), "an empty handle from a submit that did not throw");
  r.check(r.entered() == 0, "submit has thrown, but the task has run");
  if (const auto n = t.submitted()) r.check(*n == 0, "submit has thrown, but the task is counted");
}

std::vector<std::string> drive(const scenario& s, std::initializer_list<host> hosts, std::initializer_list<kind> kinds) {
  watch_stderr();
  std::vector<std::string> wrong;
  for (host where : hosts) {
    const std::string name = std::string(s.name) + ", on " + name_of(where);
    long points = 0;
    for (kind what : kinds)
      points += drive_kind(name, what, scope_of(where), contains(s.absorbed, what), wrong, [&](run& r) {
        const std::unique_ptr<target> t = make_target(where, r);
        s.body(r, *t);
      });
    if (points == 0) wrong.push_back(name + ": nothing of it can fail");
  }
  return wrong;
}

std::vector<std::string> drive(const lone_scenario& s, std::initializer_list<kind> kinds) {
  watch_stderr();
  std::vector<std::string> wrong;
  long points = 0;
  for (kind what : kinds)
    points += drive_kind(s.name, what, s.whose, contains(s.absorbed, what), wrong, [&](run& r) { s.body(r); });
  if (points == 0) wrong.push_back(std::string(s.name) + ": nothing of it can fail");
  return wrong;
}

}  // namespace faults
