// SPDX-License-Identifier: MIT
#pragma once
// promise<T>: the source of a ref whose value comes from outside the library, for example from a callback or a thread
// of another library. Tasks can await, wait for and depend on that ref.

#include <dyngen/detail/value/single_buffer.hpp>
#include <dyngen/ref.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace dyngen {

namespace detail {

/// The shared state of a promise: one value, or none, without a task. The promise holds one reference.
template <class T>
class promised final : public single_buffer<shared_state> {
 public:
  static promised* make() {
    void* memory = allocate(memory_kind::record, bytes(), alignment);
    return ::new (memory) promised(static_cast<std::byte*>(memory) + offset);
  }

  /// Returns a ref that takes over the reference that the value starts with.
  ref<T> adopt_ref() noexcept { return access::adopt<T>(value()); }
  /// Returns a further ref. Call it only before the promise is fulfilled, or while the caller holds a ref.
  ref<T> another_ref() noexcept {
    value().add_holder();
    return adopt_ref();
  }

  template <class... Args>
  void construct(Args&&... args) {
    ::new (place()) T(std::forward<Args>(args)...);
    commit<T>();
  }
  /// Publishes the constructed value, or the failure `e`.
  void fulfil(std::exception_ptr e) noexcept {
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

/// The shared state of a promise<void>: only the completion.
template <>
class promised<void> final : public shared_state {
 public:
  static promised* make() { return ::new (allocate(memory_kind::record, sizeof(promised), alignof(promised))) promised(); }

  ref<void> adopt_ref() noexcept { return access::adopt<void>(completion()); }
  ref<void> another_ref() noexcept { return completion_of(*this); }

  void construct() noexcept {}
  void fulfil(std::exception_ptr e) noexcept {
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
  [[maybe_unused]] std::byte slot_[sizeof(slot)];  // the slot of group_
};

/// The common part of promise<T> and promise<void>.
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
  /// If the promise is not fulfilled, stores broken_promise in its refs.
  ~promise_base() {
    if (state_ == nullptr) return;
    if (!given_) state_->adopt_ref();  // and destroys the ref at once
    if (!fulfilled_) state_->fulfil(broken());
    state_->drop_references(1);
  }

  /// Returns a ref to the promised value. May be called repeatedly before the promise is fulfilled. After that, it may
  /// be called once if it was never called before; otherwise it throws error. Throws error if the promise was moved
  /// from.
  ref<T> get_ref() {
    if (fulfilled_ && given_)
      throw error("dyngen: promise::get_ref: the promise is fulfilled and has returned its ref before; copy that ref");
    promised<T>& state = checked();
    return std::exchange(given_, true) ? state.another_ref() : state.adopt_ref();
  }

  /// Stores the exception `e` and makes the refs ready. Wakes the waiting threads and tasks; runs none of their code,
  /// except under executors that run tasks inline. If all refs are destroyed before any has seen the exception, it is
  /// written to stderr as one line. Throws std::invalid_argument if `e` is null, promise_already_satisfied, and error
  /// if the promise was moved from.
  void set_exception(std::exception_ptr e) {
    if (!e) throw std::invalid_argument("dyngen: promise::set_exception: the exception_ptr is null; pass "
                                        "std::make_exception_ptr(e), or std::current_exception() in a catch block");
    unfulfilled();
    publish(std::move(e));
  }

 protected:
  promised<T>& checked() const {
    if (state_ == nullptr) throw error("dyngen: this promise was moved from; use the promise that it was moved to");
    return *state_;
  }
  promised<T>& unfulfilled() const {
    if (fulfilled_)
      throw promise_already_satisfied(
          "dyngen: a promise is fulfilled once, and this one has a value or an exception already; make a "
          "promise for each value");
    return checked();
  }
  /// Publishes the constructed value, or the failure `e`. A waiter may resume, and destroy this promise, before
  /// fulfil() returns; so nothing of the promise is touched after that.
  void publish(std::exception_ptr e) noexcept {
    fulfilled_ = true;
    if (!given_) return state_->fulfil(std::move(e));  // no ref was given away: nothing waits
    promised<T>* const state = std::exchange(state_, nullptr);
    state->fulfil(std::move(e));
    state->drop_references(1);
  }

 private:
  std::exception_ptr broken() const noexcept {
    try {
      return std::make_exception_ptr(
          broken_promise("dyngen: promise " + state_->label() +
                         " was destroyed before it was fulfilled; call set_value() or set_exception() before that"));
    } catch (...) {
      return std::current_exception();
    }
  }

  promised<T>* state_;  ///< null once the promise is fulfilled and its ref given away
  bool fulfilled_ = false;
  bool given_ = false;  ///< whether a ref has the reference that the value starts with
};

}  // namespace detail

/// The source of one value of type T. A promise is fulfilled once, by any thread. Its ref can be awaited, waited for
/// and passed to tasks, like the ref of a task. A promise that is destroyed unfulfilled stores broken_promise in its
/// refs. A pool that is destroyed cancels its tasks that still wait for a promise. Move-only. Two threads must not use
/// one promise object at once.
template <class T>
class promise : public detail::promise_base<T> {
  static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>> && !std::is_array_v<T>,
                "dyngen: promise<T> needs T to be void or an object type, neither const nor a reference nor an array");

 public:
  /// Constructs the value in place and makes the refs ready. Wakes the waiting threads and tasks; runs none of their
  /// code, except under executors that run tasks inline. Throws promise_already_satisfied, error if the promise was
  /// moved from, and what the construction throws; then the promise stays unfulfilled.
  template <class U = T>
    requires std::convertible_to<U&&, T>
  void set_value(U&& value) {
    this->unfulfilled().construct(std::forward<U>(value));
    this->publish(nullptr);
  }
};

/// The source of an event without a value. Fulfilled once, by any thread. A promise that is destroyed unfulfilled
/// stores broken_promise in its refs. Move-only. Two threads must not use one promise object at once.
template <>
class promise<void> : public detail::promise_base<void> {
 public:
  /// Makes the refs ready and wakes the waiting threads and tasks; runs none of their code, except under executors that
  /// run tasks inline. Throws promise_already_satisfied, and error if the promise was moved from.
  void set_value() {
    unfulfilled().construct();
    publish(nullptr);
  }
};

}  // namespace dyngen
