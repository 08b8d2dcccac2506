// SPDX-License-Identifier: MIT
#pragma once
// ref<T>, the future of this library: a shared, copyable handle to one value. Different threads may use different
// copies at once, but not the same ref object. The value is destroyed with its last handle, and may outlive its pool.
// Also here: put, get, cancel.

#include <dyngen/detail/base/compiler.hpp>
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

/// Whether `get() &&` may copy a value that other handles share. Default: whether T is copy-constructible, and so are
/// the elements of a range, pair, tuple or optional (std::vector<std::unique_ptr<X>> declares a copy constructor that
/// doesn't compile). Specialise this for your own types whose copy constructor is declared but doesn't compile.
template <class T>
inline constexpr bool enable_copy = std::copy_constructible<T>;
/// A range can be copied if it and its elements are copy-constructible.
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
  throw timeout_error("dyngen: the time limit passed before " + std::string(owner.noun()) + " " + owner.label() +
                      " stored the value; nothing was consumed, and the call may be repeated");
}

/// The common part of ref<T> and ref<void>.
template <class T>
class ref_base {
 public:
  ref_base() = default;
  ref_base(const ref_base& other) noexcept : slot_(other.slot_) {
    if (slot_ != nullptr) slot_->add_holder();
  }
  ref_base(ref_base&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  ref_base& operator=(ref_base other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~ref_base() {
    if (slot_ != nullptr) drop<T>(*slot_);
  }

  /// Returns false for an empty handle (default-constructed or moved from). Every other member of an empty handle
  /// throws empty_ref.
  bool valid() const noexcept { return slot_ != nullptr; }

  /// Returns whether a value or an exception is stored. Never blocks. Throws empty_ref.
  bool ready() const { return slot_ready(checked()); }

  /// Returns whether an exception is stored. If so, the exception counts as seen: on_unhandled_error is not called for
  /// it any more. Never blocks. Throws empty_ref.
  bool failed() const {
    slot& s = checked();
    if (!slot_ready(s) || !slot_failed(s)) return false;
    owner().mark_seen();
    return true;
  }

  /// Blocks until ready. May run the task that it waits for on this thread (option waiters_help). Throws empty_ref,
  /// std::bad_alloc, and error if the calling task would wait for itself.
  void wait() const {
    slot& s = checked();
    if (!slot_ready(s)) wait_for_slot(s, never);
  }

  /// Blocks until ready, at most for the duration `d`. Returns whether the ref is ready. Never runs the task on this
  /// thread. Throws empty_ref and std::bad_alloc.
  template <class Rep, class Period>
  bool wait_for(const std::chrono::duration<Rep, Period>& d) const {
    slot& s = checked();
    return slot_ready(s) || wait_for_slot(s, deadline_after(d));
  }

  /// Blocks until ready, at most until the time point `at` of any clock. Returns whether the ref is ready. Never runs
  /// the task on this thread. Throws empty_ref and std::bad_alloc.
  template <class Clock, class Duration>
  bool wait_until(const std::chrono::time_point<Clock, Duration>& at) const {
    slot& s = checked();
    return slot_ready(s) || wait_for_slot(s, deadline_at(at));
  }

  /// Blocks until ready. Returns the stored exception, which then counts as seen, or null if a value is stored. Throws
  /// as wait().
  std::exception_ptr error() const {
    wait();
    return slot_failed(*slot_) ? seen_failure(owner()) : nullptr;
  }

  /// Returns a ref to the end of the task that stores this value: ready when the whole task has ended, with its
  /// exception if it failed. Throws empty_ref.
  ref<void> completion() const;

  /// Asks the task of this value to stop: a queued or suspended task does not go on, a running coroutine ends at its
  /// next co_yield or co_await, a plain function must poll this_task::stop_requested(). Values stored before remain.
  /// Returns false if the task had ended. Runs no code of the task on the calling thread, except stop callbacks. Throws
  /// empty_ref.
  bool cancel() const {
    checked();
    return owner().cancel();
  }

  /// The number of a task, and the number of a value within the task.
  struct identity {
    /// Unique among the tasks of the program. Assigned when first asked for.
    std::uint64_t task;
    /// The position of the value in the order of the yields, from 0.
    std::uint64_t value;
    friend bool operator==(const identity&, const identity&) = default;
    friend auto operator<=>(const identity&, const identity&) = default;
  };
  /// Returns the numbers of the task and of the value; the value number of a completion() ref is 0. Throws empty_ref.
  identity id() const {
    slot& s = checked();
    const bool is_completion = &s == &owner().completion();
    return {owner().id(), is_completion ? 0 : owner().number_of(s)};
  }

  /// Returns whether both refer to the same stored value, or both are empty.
  friend bool operator==(const ref_base& a, const ref_base& b) noexcept { return a.slot_ == b.slot_; }

 protected:
  explicit ref_base(slot& s) noexcept : slot_(&s) {}

  slot& checked() const {
    if (slot_ == nullptr) throw_empty("ref");
    return *slot_;
  }
  shared_state& owner() const noexcept { return *slot_group::of(*slot_).owner; }

  /// Blocks until ready; throws timeout_error at `until`. Rethrows a stored exception.
  void wait_and_throw(deadline until) const {
    if (slot_ == nullptr || !slot_has_value(*slot_)) [[unlikely]]
      wait_and_throw_slowly(until);
  }
  DYNGEN_NOINLINE void wait_and_throw_slowly(deadline until) const {
    slot& s = checked();
    if (!slot_ready(s) && !wait_for_slot(s, until)) throw_timeout(owner());
    if (slot_failed(s)) std::rethrow_exception(seen_failure(owner()));
  }

  friend struct access;
  slot* slot_ = nullptr;
};

}  // namespace detail

/// A shared handle to one value of a task, a promise or put(). A ref is one pointer; copying it increments a reference
/// count. Different threads may use different copies at once, but not the same object. Default-constructed or moved
/// from, it is empty: every member except valid() throws empty_ref.
template <class T>
class ref : public detail::ref_base<T> {
  using base = detail::ref_base<T>;

 public:
  using value_type = T;

  ref() = default;

  /// Blocks until ready. Returns a reference to the value, or rethrows the stored exception. The reference is valid
  /// while any handle to the value exists. May run the task on this thread. Throws also as wait().
  const T& get() const& {
    base::wait_and_throw(detail::never);
    return stored();
  }

  /// Blocks until ready. Returns the value and leaves this ref empty, or rethrows the stored exception. Moves the value
  /// out if this is its only handle; copies it if other handles share it and enable_copy<T> is true; otherwise throws
  /// shared_value. If it throws, the ref stays as it was. May run the task on this thread. Throws also as wait(), and
  /// what moving or copying the value throws.
  T get() && {
    base::wait_and_throw(detail::never);
    return give(true);
  }

  /// Blocks until ready. Moves the value out and leaves this ref empty, or rethrows the stored exception. Never copies:
  /// throws shared_value if another handle shares the value. If it throws, the ref stays as it was. Throws also as
  /// wait(), and what moving the value throws.
  T take() && {
    base::wait_and_throw(detail::never);
    return give(false);
  }

  /// Blocks until ready, at most for the duration `d`. Returns a reference to the value, valid while any handle to the
  /// value exists, or rethrows the stored exception. Throws timeout_error if the ref is not ready after `d`, empty_ref,
  /// std::bad_alloc. Never runs the task on this thread.
  template <class Rep, class Period>
  const T& get_for(const std::chrono::duration<Rep, Period>& d) const& {
    base::wait_and_throw(detail::deadline_after(d));
    return stored();
  }
  /// Blocks until ready, at most for the duration `d`. Returns the value, moved or copied by the rules of `get() &&`,
  /// and leaves this ref empty. Throws timeout_error if the ref is not ready after `d`, and else as `get() &&`. Never
  /// runs the task on this thread.
  template <class Rep, class Period>
  T get_for(const std::chrono::duration<Rep, Period>& d) && {
    base::wait_and_throw(detail::deadline_after(d));
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
    // [S2] acquire: a count of one is this ref's own, and the other holders' reads came before they released theirs.
    if (detail::slot::holders_of(this->slot_->word.load(detail::acquire)) == 1) return moved_out();
    if constexpr (enable_copy<T>) {
      if (may_copy) return copied_out();
    }
    throw_shared();
  }

  // moved_out() and copied_out(): if the user's constructor throws, the ref stays as it was.
  T moved_out() {
    T value = std::move(stored());
    *this = ref();
    return value;
  }
  // No inner block: in one, g++ before 14 does not construct `value` in the result object, but moves it there.
  T copied_out() {
    T value = std::as_const(stored());
    *this = ref();
    return value;
  }

  [[noreturn]] void throw_shared() const {
    detail::shared_state& owner = this->owner();
    throw shared_value("dyngen: this value (" + std::string(owner.noun()) + " " + owner.label() +
                       ") is shared by other handles and cannot be moved out; read it by get() on an lvalue, or "
                       "destroy the other refs, lists and pending tasks that hold it");
  }
};

/// A shared handle to an event without a value: the end of a task, or the fulfilment of a promise<void>. Different
/// threads may use different copies at once, but not the same object. Default-constructed or moved from, it is empty:
/// every member except valid() throws empty_ref.
template <>
class ref<void> : public detail::ref_base<void> {
 public:
  using value_type = void;

  ref() = default;

  /// Blocks until ready. Rethrows the stored exception, if there is one. May run the task on this thread. Throws also
  /// as wait().
  void get() const { wait_and_throw(detail::never); }
  /// Blocks until ready, at most for the duration `d`. Rethrows the stored exception, if there is one. Throws
  /// timeout_error if the ref is not ready after `d`, empty_ref, std::bad_alloc. Never runs the task on this thread.
  template <class Rep, class Period>
  void get_for(const std::chrono::duration<Rep, Period>& d) const {
    wait_and_throw(detail::deadline_after(d));
  }

  friend void swap(ref& a, ref& b) noexcept { std::swap(a.slot_, b.slot_); }

 private:
  friend struct detail::access;
  explicit ref(detail::slot& s) noexcept : ref_base(s) {}
};

static_assert(sizeof(ref<int>) == sizeof(void*) && sizeof(ref<void>) == sizeof(void*));

namespace detail {

/// Returns a ref to the completion of `owner`, which the caller keeps alive.
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

/// The shared state behind put(): a value that is ready from the start, without a task.
template <class T>
class stored_value final : public shared_state {
 public:
  template <class... Args>
  explicit stored_value(Args&&... args) : shared_state(1), group_(this, 2, sizeof(T), alignof(T), -1, false, 1) {
    // The completion is published, and no ref holds it.
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
  /// Returns a ready ref to a new value, copied or moved from `value`. Throws what that copy or move throws, and
  /// std::bad_alloc.
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

/// A range whose elements are refs.
template <class R>
concept range_of_refs = std::ranges::input_range<R> && any_ref<std::ranges::range_reference_t<R>>;

struct get_function {
  /// Blocks until the ref is ready. Returns `r.get()`, a `const T&`, for an lvalue, and `std::move(r).get()`, a T, for
  /// an rvalue. Throws as ref<T>::get(). May run the task on this thread.
  template <any_ref R>
  decltype(auto) operator()(R&& r) const {
    return std::forward<R>(r).get();
  }

  /// Blocks until all refs are ready. Returns a tuple of the values: copies for lvalue refs, moved out of rvalue refs,
  /// std::monostate for ref<void>. If refs failed, throws the first failure in argument order, and all their failures
  /// count as seen. May run the tasks on this thread. Throws also as ref<T>::get().
  template <any_ref... Rs>
    requires(sizeof...(Rs) >= 2)
  auto operator()(Rs&&... refs) const {
    (refs.wait(), ...);
    std::exception_ptr failure;
    (note_failure(refs, failure), ...);
    if (failure) std::rethrow_exception(failure);
    return std::tuple<not_void<typename std::remove_cvref_t<Rs>::value_type>...>(value(std::forward<Rs>(refs))...);
  }

  /// Blocks until all refs of the range are ready. Returns a std::vector of the values, copied, or moved out for
  /// `get(std::move(refs))`. If refs failed, throws the first failure in the order of the range, and all their failures
  /// count as seen. A range that can be read only once is read ref by ref, up to the first failure. May run the tasks
  /// on this thread. Throws also as ref<T>::get().
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
  /// Marks the failure of `r` as seen, and keeps the first failure.
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
  /// Returns `handle.cancel()`: asks the task behind a ref or a stream to stop, and returns false if it had ended.
  /// Throws empty_ref.
  template <class Handle>
    requires requires(const Handle& h) {
      { h.cancel() } -> std::same_as<bool>;
    }
  bool operator()(const Handle& handle) const {
    return handle.cancel();
  }
};

}  // namespace detail

/// put(value): a ready ref to a new value, copied or moved from `value`.
inline constexpr detail::put_function put{};
/// get(ref), get(ref, …), get(range of refs): blocks until all are ready, and returns the values.
inline constexpr detail::get_function get{};
/// cancel(handle): asks the handle's task to stop.
inline constexpr detail::cancel_function cancel{};

/// Writes `ref(7:2)` for value 2 of task 7, `ref(7)` for a ref<void> of task 7, `ref()` for an empty ref.
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
