// SPDX-License-Identifier: MIT
#pragma once
// promise<T>: a ref fulfilled from outside, by a callback, by another library's thread. It is how anything that is not
// of this library is awaited, depended on, or waited for beside refs of tasks.

#include <dyngen/detail/fixed_buffer.hpp>
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

/// What stands behind a promise: a producer of one value, or of none, without a task.
template <class T>
class promised final : public producer {
  static constexpr bool has_value = !std::is_void_v<T>;
  using stored = not_void<T>;
  static constexpr std::uint32_t slots = has_value ? 2 : 1;

 public:
  static promised* make() {
    void* memory = allocate(memory_kind::record, bytes(), alignment);
    return ::new (memory) promised();
  }

  ref<T> adopt_ref() noexcept {
    if constexpr (has_value)
      return access::adopt<T>(group_.slots()[1]);
    else
      return completion_of(*this);
  }

  /// True for the first who fulfils it; he then calls one of the two below, or gives the right back.
  bool claim() noexcept { return !claimed_.exchange(true, acq_rel); }  // acq_rel: pairs with unclaim()
  // release: who claims it next sees the place as it was left.
  void unclaim() noexcept { claimed_.store(false, release); }
  // relaxed: only the promise's own thread asks.
  bool is_claimed() const noexcept { return claimed_.load(relaxed); }

  /// Constructs the value; then, when nothing can throw any more, calls `before` and publishes.
  template <class Before, class... Args>
  void fulfil_with(Before before, Args&&... args) {
    if constexpr (has_value) ::new (group_.value_at(1)) T(std::forward<Args>(args)...);
    before();
    settle(stage::value);
  }
  void fail(std::exception_ptr e) noexcept {
    failure_ = std::move(e);
    settle(stage::failed);
  }

  void destroy_value(slot& s) noexcept override {
    if constexpr (has_value)
      destroy_reporting(*static_cast<T*>(group::of(s).value_at(1)), *this);
    else
      (void)s;
  }

 private:
  // One reference for the completion, and one for the value's slot.
  promised() noexcept : producer(slots), group_(this, slots, value_size(), alignof(stored), -1, false, 1) {
    ::new (group_.slots()) slot{slot::make(stage::empty, 0, 1)};
    if constexpr (has_value) ::new (group_.slots() + 1) slot{slot::make(stage::empty, 1, 2, slot::at_end)};
    results_ = &group_;
  }

  /// Value and completion become ready in one event: the second.
  void settle(stage as) noexcept {
    if constexpr (has_value) {
      slot& s = group_.slots()[1];
      // [S1][S2] acq_rel: as publish() and drop(); ready only with the completion.
      const std::uint64_t before = s.word.fetch_add(static_cast<std::uint64_t>(as) - slot::one_holder, acq_rel);
      if (slot::holders_of(before) == 1) discard<T>(s, before + static_cast<std::uint64_t>(as));
    }
    const bool unheld = slot::holders_of(publish(completion(), as)) == 1;
    group_.waiters.notify(group_.ready());
    if (unheld) drop_references(1);
  }

  static constexpr std::size_t value_size() noexcept { return has_value ? sizeof(stored) : 0; }
  static constexpr std::size_t alignment = std::max(alignof(producer), group::alignment_for(alignof(stored)));
  static constexpr std::size_t bytes() noexcept {
    return sizeof(promised) - sizeof(group) + group::values_offset(slots, alignof(stored)) + value_size();
  }
  void free_memory() noexcept override {
    this->~promised();
    deallocate(memory_kind::record, this, bytes(), alignment);
  }

  atomic<bool> claimed_{false};
  alignas(group::alignment_for(alignof(stored))) group group_;  // last: slots and value follow it
};

/// What promise<T> and promise<void> share.
template <class T>
class promise_base {
 public:
  promise_base() : state_(promised<T>::make()), ref_(state_->adopt_ref()) { state_->add_references(1); }
  promise_base(const promise_base&) = delete;
  promise_base& operator=(const promise_base&) = delete;
  promise_base(promise_base&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)), ref_(std::move(other.ref_)), asked_(other.asked_) {}
  promise_base& operator=(promise_base&& other) noexcept {
    promise_base moved(std::move(other));
    std::swap(state_, moved.state_);
    std::swap(ref_, moved.ref_);
    std::swap(asked_, moved.asked_);
    return *this;
  }
  /// Unfulfilled, it leaves broken_promise in its ref.
  ~promise_base() {
    if (state_ == nullptr) return;
    if (state_->claim()) state_->fail(broken());
    ref_ = {};
    state_->drop_references(1);
  }

  /// The ref to be fulfilled. As often as wanted before that; afterwards only if it was never called before, since the
  /// promise then keeps no hold on the value. Throws error.
  ref<T> get_ref() {
    checked();
    if (!ref_.valid())
      throw error("dyngen: promise::get_ref: the promise was fulfilled, and its ref given away before: copy that one");
    asked_ = true;
    return state_->is_claimed() ? std::move(ref_) : ref_;
  }

  /// Stores an exception. Throws promise_already_satisfied. Wakes who waits; runs none of their code, but under executors
  /// that run tasks inline.
  void set_exception(std::exception_ptr e) {
    if (!e) throw std::invalid_argument("dyngen: promise::set_exception: the exception_ptr is null");
    claim();
    give_up_ref();
    state_->fail(std::move(e));
  }

 protected:
  promised<T>& checked() const {
    if (state_ == nullptr) throw error("dyngen: this promise was moved from");
    return *state_;
  }
  void claim() const {
    if (!checked().claim())
      throw promise_already_satisfied("dyngen: a promise is fulfilled once: it holds a value or an exception already");
  }
  /// The value's reader is to be its only holder.
  void give_up_ref() noexcept {
    if (asked_) ref_ = {};
  }

  promised<T>* state_;

 private:
  static std::exception_ptr broken() noexcept {
    try {
      return std::make_exception_ptr(broken_promise("dyngen: the promise was destroyed before it was fulfilled"));
    } catch (...) {
      return std::current_exception();
    }
  }

  ref<T> ref_;
  bool asked_ = false;
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
    this->claim();
    // The fulfilled value may be read, moved from and gone at once: what is needed of this object comes first.
    try {
      this->state_->fulfil_with([this] { this->give_up_ref(); }, std::forward<U>(value));
    } catch (...) {
      this->state_->unclaim();
      throw;
    }
  }
};

template <>
class promise<void> : public detail::promise_base<void> {
 public:
  /// Throws promise_already_satisfied.
  void set_value() {
    claim();
    give_up_ref();
    state_->fulfil_with([] {});
  }
};

}  // namespace dyngen
