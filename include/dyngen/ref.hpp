// SPDX-License-Identifier: MIT
#pragma once
// ref<T>, the future of this library: a shared, copyable handle on one stored value. Any thread may use any copy of
// it; one ref object must not be used by two threads at once. The value lives until its last holder is gone, also
// after its pool. Here too: put, get, wait, wait_any, cancel.

#include <dyngen/detail/task/blocking_wait.hpp>
#include <dyngen/detail/value/ref_access.hpp>
#include <dyngen/error.hpp>
#include <dyngen/shutdown_mode.hpp>  // before `cancel` is declared, which its enumerator would shadow

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iosfwd>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace dyngen {

template <class T>
class ref;

/// May `get() &&` copy a value that is shared? By default: what can really be copied, looked at through ranges, pairs,
/// tuples and optionals (std::vector<std::unique_ptr<X>> only claims to be copyable). Specialise it for a class of
/// yours that claims too much.
template <class T>
inline constexpr bool enable_copy = std::copy_constructible<T>;
/// A range can be copied if its elements can.
template <class T>
  requires(std::ranges::range<T> && !std::same_as<std::ranges::range_value_t<T>, T>)
inline constexpr bool enable_copy<T> = std::copy_constructible<T> && enable_copy<std::ranges::range_value_t<T>>;
template <class A, class B>
inline constexpr bool enable_copy<std::pair<A, B>> = enable_copy<std::remove_cv_t<A>> && enable_copy<B>;
template <class... Ts>
inline constexpr bool enable_copy<std::tuple<Ts...>> = (enable_copy<Ts> && ...);
template <class T>
inline constexpr bool enable_copy<std::optional<T>> = enable_copy<T>;

namespace detail {

inline void throw_timeout(shared_state& owner) {
  throw timeout_error("dyngen: the time limit passed before task " + owner.label() +
                      " stored the value; nothing was consumed, the same call may be made again");
}

/// What is common to ref<T> and ref<void>.
template <class T>
class ref_base {
 public:
  ref_base() = default;
  ref_base(const ref_base& other) noexcept : slot_(other.slot_) {
    if (slot_ != nullptr) slot_->hold();
  }
  ref_base(ref_base&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  ref_base& operator=(ref_base other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~ref_base() {
    if (slot_ != nullptr) drop<T>(*slot_);
  }

  /// False for an empty handle, on which every other member throws empty_ref.
  bool valid() const noexcept { return slot_ != nullptr; }

  /// Is a value or an exception stored?
  bool ready() const { return slot_ready(checked()); }

  /// Is an exception stored? If so, it counts as seen, and is not reported to on_unhandled_error any more.
  bool failed() const {
    slot& s = checked();
    if (!slot_ready(s) || !slot_failed(s)) return false;
    owner().see();
    return true;
  }

  /// Blocks until ready. May run the task on this thread (waiters_help). Throws empty_ref; error, if the calling task
  /// would wait for itself; std::bad_alloc.
  void wait() const {
    slot& s = checked();
    if (!slot_ready(s)) wait_for_slot(s, never);
  }

  /// Blocks until ready, at most for `d`; returns whether it is. Never runs the task on this thread.
  template <class Rep, class Period>
  bool wait_for(const std::chrono::duration<Rep, Period>& d) const {
    slot& s = checked();
    return slot_ready(s) || wait_for_slot(s, deadline_after(d));
  }

  /// The same, until a point in time of any clock.
  template <class Clock, class Duration>
  bool wait_until(const std::chrono::time_point<Clock, Duration>& at) const {
    slot& s = checked();
    return slot_ready(s) || wait_for_slot(s, deadline_at(at));
  }

  /// The stored exception, null if a value is stored. Blocks until ready.
  std::exception_ptr error() const {
    wait();
    return slot_failed(*slot_) ? seen_failure(owner()) : nullptr;
  }

  /// A ref on the end of the whole task that stores this value: ready when the task has ended, holding its exception
  /// if it failed.
  ref<void> completion() const;

  /// Asks the task to stop, at its next co_yield. False if it had ended. Runs none of its code.
  bool cancel() const {
    checked();
    return owner().cancel();
  }

  /// Numbers of the task and of the value in it.
  struct identity {
    /// No other task of the program has the same; given when first asked for.
    std::uint64_t task;
    /// From 0, in the order of the yields.
    std::uint64_t value;
    friend bool operator==(const identity&, const identity&) = default;
    friend auto operator<=>(const identity&, const identity&) = default;
  };
  /// The numbers; 0 as that of the value for the end of a task. Throws empty_ref.
  identity id() const {
    slot& s = checked();
    const bool is_completion = &s == &owner().completion();
    return {owner().id(), is_completion ? 0 : owner().number_of(s)};
  }

  /// Do both refer to the same stored value, or are both empty?
  friend bool operator==(const ref_base& a, const ref_base& b) noexcept { return a.slot_ == b.slot_; }

 protected:
  explicit ref_base(slot& s) noexcept : slot_(&s) {}

  slot& checked() const {
    if (slot_ == nullptr) throw_empty("ref");
    return *slot_;
  }
  shared_state& owner() const noexcept { return *slot_group::of(*slot_).owner; }

  /// Waits until ready, or throws timeout_error; rethrows what is stored.
  void settle(deadline until) const {
    if (slot_ == nullptr || !slot_has_value(*slot_)) [[unlikely]]
      settle_slowly(until);
  }
  [[gnu::noinline]] void settle_slowly(deadline until) const {
    slot& s = checked();
    if (!slot_ready(s) && !wait_for_slot(s, until)) throw_timeout(owner());
    if (slot_failed(s)) std::rethrow_exception(seen_failure(owner()));
  }

  friend struct access;
  slot* slot_ = nullptr;
};

}  // namespace detail

/// A shared handle on one value of a task, or on one made by put(). Copying is cheap, as a shared_ptr's; 8 bytes.
template <class T>
class ref : public detail::ref_base<T> {
  using base = detail::ref_base<T>;

 public:
  using value_type = T;

  ref() = default;

  /// Blocks until ready; the value, or the stored exception rethrown. The reference is valid as long as some holder
  /// of the value lives. Throws also as wait().
  const T& get() const& {
    base::settle(detail::never);
    return stored();
  }

  /// The same for a ref that is not needed any more, which is empty afterwards: the value is moved out if this was
  /// its only holder, copied if it is shared and enable_copy<T>; otherwise throws shared_value, and the ref stays.
  T get() && {
    base::settle(detail::never);
    return give(true);
  }

  /// Blocks until ready and moves the value out; never copies. Throws shared_value if somebody else holds it too.
  T take() && {
    base::settle(detail::never);
    return give(false);
  }

  /// As get(), but throws timeout_error when nothing is stored after `d`. Never runs the task on this thread.
  template <class Rep, class Period>
  const T& get_for(const std::chrono::duration<Rep, Period>& d) const& {
    base::settle(detail::deadline_after(d));
    return stored();
  }
  /// The same, by the rules of `get() &&`.
  template <class Rep, class Period>
  T get_for(const std::chrono::duration<Rep, Period>& d) && {
    base::settle(detail::deadline_after(d));
    return give(true);
  }

  friend void swap(ref& a, ref& b) noexcept { std::swap(a.slot_, b.slot_); }

 private:
  friend struct detail::access;
  explicit ref(detail::slot& s) noexcept : base(s) {}

  T& stored() const noexcept {
    const std::uint32_t index = this->slot_->index();
    return *static_cast<T*>(detail::slot_group::of(*this->slot_, index).value_at(index));
  }

  T give(bool may_copy) {
    // [S2] acquire: a count of one is our own hold, and others' reads of the value came before their letting go.
    if (detail::slot::holders_of(this->slot_->word.load(detail::acquire)) == 1) return moved_out();
    if constexpr (enable_copy<T>) {
      if (may_copy) return copied_out();
    }
    throw_shared();
  }

  // Both: if the user's constructor throws, the ref is as it was.
  T moved_out() {
    T value = std::move(stored());
    *this = ref();
    return value;
  }
  // Not in an inner block: there g++ before 14 does not make `value` in the place of the result, but moves it there.
  T copied_out() {
    T value = std::as_const(stored());
    *this = ref();
    return value;
  }

  [[noreturn]] void throw_shared() const {
    throw shared_value("dyngen: the value of task " + this->owner().label() +
                       " is held by others too and cannot be moved out; read it by get() on an lvalue, or drop the other "
                       "refs, lists and pending tasks that hold it");
  }
};

/// A handle on an event: the end of a task.
template <>
class ref<void> : public detail::ref_base<void> {
 public:
  using value_type = void;

  ref() = default;

  /// Blocks until ready; rethrows the stored exception.
  void get() const { settle(detail::never); }
  /// The same; throws timeout_error after `d`.
  template <class Rep, class Period>
  void get_for(const std::chrono::duration<Rep, Period>& d) const {
    settle(detail::deadline_after(d));
  }

  friend void swap(ref& a, ref& b) noexcept { std::swap(a.slot_, b.slot_); }

 private:
  friend struct detail::access;
  explicit ref(detail::slot& s) noexcept : ref_base(s) {}
};

static_assert(sizeof(ref<int>) == sizeof(void*) && sizeof(ref<void>) == sizeof(void*));

namespace detail {

/// A ref on the completion of a producer that the caller keeps alive.
inline ref<void> completion_of(shared_state& owner) noexcept {
  owner.make_eager();
  slot& s = owner.completion();
  // relaxed: the caller's own reference keeps the record, and nothing is published by it.
  const std::uint64_t before = s.word.fetch_add(slot::one_holder, relaxed);
  if (slot::holders_of(before) == 0) {
    owner.add_references(1);
    if (slot::stage_of(before) != stage::value) owner.add_carriers(1);
  }
  return access::adopt<void>(s);
}

template <class T>
ref<void> ref_base<T>::completion() const {
  checked();
  return completion_of(owner());
}

/// A value that is there at once, with nobody to produce it.
template <class T>
class stored_value final : public shared_state {
 public:
  template <class... Args>
  explicit stored_value(Args&&... args) : shared_state(1), group_(this, 2, sizeof(T), alignof(T), -1, false, 1) {
    // The completion is published, and nobody holds it.
    ::new (group_.slot_array()) slot{slot::make(stage::value, 0, 0)};
    ::new (group_.slot_array() + 1) slot{slot::make(stage::value, 1, 1)};
    results_ = &group_;
    ::new (group_.value_at(1)) T(std::forward<Args>(args)...);
  }

  static constexpr std::size_t alignment = (std::max)(alignof(shared_state), slot_group::alignment_for(alignof(T)));
  static constexpr std::size_t bytes() noexcept {
    return sizeof(stored_value) - sizeof(slot_group) + slot_group::values_offset(2, alignof(T)) + sizeof(T);
  }

  slot& value() noexcept { return group_.slot_array()[1]; }
  void destroy_value(slot& s) noexcept override {
    destroy_reporting(*static_cast<T*>(slot_group::of(s).value_at(1)), *this);
  }

 private:
  void free_memory() noexcept override {
    this->~stored_value();
    deallocate(memory_kind::record, this, bytes(), alignment);
  }

  alignas(slot_group::alignment_for(alignof(T))) slot_group group_;
};

struct put_function {
  /// A ready ref on `value`, which is moved or copied into it. Throws what that throws, and std::bad_alloc.
  template <class T>
  ref<std::decay_t<T>> operator()(T&& value) const {
    using stored = stored_value<std::decay_t<T>>;
    void* memory = allocate(memory_kind::record, stored::bytes(), stored::alignment);
    try {
      return access::adopt<std::decay_t<T>>((::new (memory) stored(std::forward<T>(value)))->value());
    } catch (...) {
      deallocate(memory_kind::record, memory, stored::bytes(), stored::alignment);
      throw;
    }
  }
};

template <class R>
concept any_ref = is_ref<std::remove_cvref_t<R>>;

/// A sized or unsized range whose elements are refs.
template <class R>
concept range_of_refs = std::ranges::input_range<R> && any_ref<std::ranges::range_reference_t<R>>;

template <class T>
using not_void = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

struct get_function {
  /// Blocks until `r` is ready; r.get() by value category.
  template <any_ref R>
  decltype(auto) operator()(R&& r) const {
    return std::forward<R>(r).get();
  }

  /// Waits for all, then throws the first failure in argument order, or gives a tuple of the values: copies of those
  /// behind lvalues, moved out of rvalues; std::monostate for ref<void>.
  template <any_ref... Rs>
    requires(sizeof...(Rs) >= 2)
  auto operator()(Rs&&... refs) const {
    (refs.wait(), ...);
    std::exception_ptr failure;
    (note_failure(refs, failure), ...);
    if (failure) std::rethrow_exception(failure);
    return std::tuple<not_void<typename std::remove_cvref_t<Rs>::value_type>...>(value(std::forward<Rs>(refs))...);
  }

  /// The same for a range: a vector. `get(std::move(refs))` moves the values out.
  template <range_of_refs Range>
    requires(!any_ref<Range>)
  auto operator()(Range&& refs) const {
    using handle = std::remove_cvref_t<std::ranges::range_reference_t<Range>>;
    using result = not_void<typename handle::value_type>;
    constexpr bool moves = !std::is_lvalue_reference_v<Range> && !std::is_const_v<std::remove_reference_t<Range>>;
    std::vector<result> values;
    if constexpr (std::ranges::forward_range<Range>) {
      for (auto&& r : refs) r.wait();
      std::exception_ptr failure;
      for (auto&& r : refs) note_failure(r, failure);
      if (failure) std::rethrow_exception(failure);
      for (auto&& r : refs) {
        if constexpr (moves && std::is_lvalue_reference_v<decltype(r)> && !std::is_const_v<std::remove_reference_t<decltype(r)>>)
          values.push_back(value(std::move(r)));
        else
          values.push_back(value(r));
      }
    } else {
      for (auto&& r : refs) values.push_back(value(r));
    }
    return values;
  }

 private:
  /// All that failed count as seen; the first one is thrown.
  template <class R>
  static void note_failure(const R& r, std::exception_ptr& first) {
    if (std::exception_ptr e = r.error(); e && !first) first = std::move(e);
  }
  template <class R>
  static auto value(R&& r) -> not_void<typename std::remove_cvref_t<R>::value_type> {
    if constexpr (std::is_void_v<typename std::remove_cvref_t<R>::value_type>) {
      r.get();
      return std::monostate{};
    } else {
      return std::forward<R>(r).get();
    }
  }
};

struct cancel_function {
  /// Asks the task behind a ref, a stream or an actor's call to stop. False if it had ended.
  template <class Handle>
    requires requires(const Handle& h) {
      { h.cancel() } -> std::same_as<bool>;
    }
  bool operator()(const Handle& handle) const {
    return handle.cancel();
  }
};

}  // namespace detail

/// put(value): a ready ref on it.
inline constexpr detail::put_function put{};
/// get(r), get(r, …), get(range of refs): the values, once all are there.
inline constexpr detail::get_function get{};
/// cancel(handle): asks its task to stop.
inline constexpr detail::cancel_function cancel{};

/// Prints `ref(7:2)`: task 7, value 2; `ref(7)` for the end of task 7; `ref()` for an empty one.
template <class Char, class Traits, class T>
std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& os, const ref<T>& r) {
  if (!r.valid()) return os << "ref()";
  const auto id = r.id();
  if constexpr (std::is_void_v<T>)
    return os << "ref(" << id.task << ')';
  else
    return os << "ref(" << id.task << ':' << id.value << ')';
}

}  // namespace dyngen

template <class T>
struct std::hash<dyngen::ref<T>> {
  std::size_t operator()(const dyngen::ref<T>& r) const noexcept {
    return std::hash<const void*>()(dyngen::detail::access::slot_of(r));
  }
};
