// SPDX-License-Identifier: MIT
#pragma once
// promise<T>: a ref fulfilled from outside, by a callback, by another library's thread. It is how anything that is not
// of this library is awaited, depended on, or waited for beside refs of tasks.

#include <dyngen/detail/value/single_buffer.hpp>
#include <dyngen/ref.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <type_traits>
#include <utility>

namespace dyngen {

namespace detail {

/// What stands behind a promise: a producer of one value, or of none, without a task. One reference is the promise's.
template <class T>
class promised final : public single_buffer<shared_state> {
 public:
  static promised* make() {
    void* memory = allocate(memory_kind::record, bytes(), alignment);
    return ::new (memory) promised(static_cast<std::byte*>(memory) + offset);
  }

  /// The hold that the value was born with.
  ref<T> adopt_ref() noexcept { return access::adopt<T>(value()); }
  /// Another one; before it is fulfilled, or by who holds it.
  ref<T> another_ref() noexcept {
    value().hold();
    return adopt_ref();
  }

  template <class... Args>
  void construct(Args&&... args) {
    ::new (place()) T(std::forward<Args>(args)...);
    commit<T>();
  }
  /// Its value was constructed, or it fails with `e`: ready from now on.
  void settle(std::exception_ptr e) noexcept {
    failure_ = std::move(e);
    if (failure_) begin_failure(false);
    publish_single<T>();
  }

  const char* noun() const noexcept override { return "promise"; }
  void destroy_value(slot& s) noexcept override {
    destroy_reporting(*static_cast<T*>(slot_group::of(s).value_at(1)), *this);
  }

 private:
  explicit promised(void* memory) noexcept : single_buffer(memory, sizeof(T), alignof(T), std::uint32_t{2}) {}

  static constexpr std::size_t alignment = (std::max)(alignof(shared_state), slot_group::alignment_for(alignof(T)));
  static const std::size_t offset;
  static std::size_t bytes() noexcept { return offset + single_shape::bytes(sizeof(T), alignof(T)); }
  void free_memory() noexcept override {
    this->~promised();
    deallocate(memory_kind::record, this, bytes(), alignment);
  }
};
template <class T>
inline constexpr std::size_t promised<T>::offset =
    (sizeof(promised) + slot_group::alignment_for(alignof(T)) - 1) / slot_group::alignment_for(alignof(T)) * slot_group::alignment_for(alignof(T));

/// Without a value: the completion is all there is.
template <>
class promised<void> final : public shared_state {
 public:
  static promised* make() { return ::new (allocate(memory_kind::record, sizeof(promised), alignof(promised))) promised(); }

  ref<void> adopt_ref() noexcept { return access::adopt<void>(completion()); }
  ref<void> another_ref() noexcept { return completion_of(*this); }

  void construct() noexcept {}
  void settle(std::exception_ptr e) noexcept {
    failure_ = std::move(e);
    if (failure_) begin_failure(false);
    const bool unheld = slot::holders_of(publish(completion(), failure_ ? stage::failed : stage::value)) == 1;
    group_.waiters.notify(group_.ready());
    if (!unheld) return;
    if (failure_) drop_carriers(1);
    drop_references(1);
  }

  const char* noun() const noexcept override { return "promise"; }
  void destroy_value(slot&) noexcept override {}

 private:
  promised() noexcept : shared_state(2), group_(this, 1, 0, 1, -1, false, 1) {
    ::new (group_.slot_array()) slot{slot::make(stage::empty, 0, 2)};
    results_ = &group_;
  }
  void free_memory() noexcept override {
    this->~promised();
    deallocate(memory_kind::record, this, sizeof(promised), alignof(promised));
  }

  slot_group group_;
  [[maybe_unused]] std::byte slot_[sizeof(slot)];  // where group_ has it
};

/// What promise<T> and promise<void> share.
template <class T>
class promise_base {
 public:
  promise_base() : state_(promised<T>::make()) {}
  promise_base(const promise_base&) = delete;
  promise_base& operator=(const promise_base&) = delete;
  promise_base(promise_base&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)),
        fulfilled_(std::exchange(other.fulfilled_, false)),
        given_(std::exchange(other.given_, false)) {}
  promise_base& operator=(promise_base&& other) noexcept {
    promise_base moved(std::move(other));
    std::swap(state_, moved.state_);
    std::swap(fulfilled_, moved.fulfilled_);
    std::swap(given_, moved.given_);
    return *this;
  }
  /// Unfulfilled, it leaves broken_promise in its ref.
  ~promise_base() {
    if (state_ == nullptr) return;
    if (!given_) state_->adopt_ref();  // and drops it
    if (!fulfilled_) state_->settle(broken());
    state_->drop_references(1);
  }

  /// The ref to be fulfilled. As often as wanted before that; afterwards only if it was never called before, since the
  /// promise then keeps no hold on the value. Throws error.
  ref<T> get_ref() {
    if (fulfilled_ && given_)
      throw error("dyngen: promise::get_ref: the promise was fulfilled, and its ref given away before: copy that one");
    promised<T>& state = checked();
    return std::exchange(given_, true) ? state.another_ref() : state.adopt_ref();
  }

  /// Stores an exception; if all refs go without having looked at it, it is written to stderr in one line. Throws promise_already_satisfied. Wakes who waits; runs none of their code, but under executors
  /// that run tasks inline.
  void set_exception(std::exception_ptr e) {
    if (!e) throw std::invalid_argument("dyngen: promise::set_exception: the exception_ptr is null");
    unfulfilled();
    publish(std::move(e));
  }

 protected:
  promised<T>& checked() const {
    if (state_ == nullptr) throw error("dyngen: this promise was moved from");
    return *state_;
  }
  promised<T>& unfulfilled() const {
    if (fulfilled_)
      throw promise_already_satisfied("dyngen: a promise is fulfilled once: it holds a value or an exception already");
    return checked();
  }
  /// Who waits may go on, and destroy this promise, before it returns: it is touched before that only.
  void publish(std::exception_ptr e) noexcept {
    fulfilled_ = true;
    if (!given_) return state_->settle(std::move(e));  // nobody waits
    promised<T>* const state = std::exchange(state_, nullptr);
    state->settle(std::move(e));
    state->drop_references(1);
  }

 private:
  static std::exception_ptr broken() noexcept {
    try {
      return std::make_exception_ptr(broken_promise("dyngen: the promise was destroyed before it was fulfilled"));
    } catch (...) {
      return std::current_exception();
    }
  }

  promised<T>* state_;  ///< until it is fulfilled and given away
  bool fulfilled_ = false;
  bool given_ = false;  ///< the hold that the value was born with
};

}  // namespace detail

/// Fulfilled once, by any thread; its ref is like a task's: awaited, waited for, passed as an argument. A pool that is
/// destroyed cancels what still waits for a promise. One promise object must not be used by two threads at once.
template <class T>
class promise : public detail::promise_base<T> {
  static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>> && !std::is_array_v<T>,
                "dyngen: promise<T> needs T to be void or an object type, neither const nor a reference nor an array");

 public:
  /// Constructs the value in place. Throws promise_already_satisfied, or what that throws, and then is unfulfilled.
  template <class U = T>
    requires std::convertible_to<U&&, T>
  void set_value(U&& value) {
    this->unfulfilled().construct(std::forward<U>(value));
    this->publish(nullptr);
  }
};

/// A promise without a value: of an event.
template <>
class promise<void> : public detail::promise_base<void> {
 public:
  /// Throws promise_already_satisfied.
  void set_value() {
    unfulfilled().construct();
    publish(nullptr);
  }
};

}  // namespace dyngen
