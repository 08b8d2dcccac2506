// SPDX-License-Identifier: MIT
#pragma once
// ref_stream<T>: the values of a running task, each handed over once, in yield order. One consumer at a time; it may
// move from thread to thread. The producer runs ahead until its backpressure stops it; destroying the stream cancels
// the task, runs none of its code, and drops what was not taken.

#include <dyngen/detail/sequence_task.hpp>
#include <dyngen/ref.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <optional>
#include <ranges>
#include <utility>

namespace dyngen {

template <class T>
class ref_stream;

namespace detail {
struct stream_access;

/// What async_next() and async_value() give, to be awaited at once.
template <class T, bool Value>
struct stream_item {
  ref_stream<T>* stream;
};
}  // namespace detail

/// A stream of refs; an input range of `ref<T>&&`. An exception of the task is the item after its last value, and then
/// comes the end, again and again. Move-only. Default-constructed or moved from it is empty: every member but valid()
/// throws empty_ref.
template <class T>
class [[nodiscard("losing a ref_stream cancels its task; keep it, or call detach() to let the task run")]] ref_stream {
 public:
  using value_type = ref<T>;
  class iterator;
  class values_range;
  class owning_values_range;

  ref_stream() = default;
  ref_stream(const ref_stream&) = delete;  // each value is handed over once: write std::move(stream)
  ref_stream& operator=(const ref_stream&) = delete;
  ref_stream(ref_stream&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {
    if (task_ != nullptr) task_->changes_hands();
  }
  ref_stream& operator=(ref_stream&& other) noexcept {
    ref_stream moved(std::move(other));
    std::swap(task_, moved.task_);
    return *this;
  }
  ~ref_stream() {
    if (task_ != nullptr) task_->abandon(false);
  }

  /// False for an empty handle.
  bool valid() const noexcept { return task_ != nullptr; }

  /// Blocks; the next item, or nothing at the end. May run the task on this thread (waiters_help). Throws error if the
  /// calling task would wait for itself, std::bad_alloc.
  std::optional<ref<T>> next() { return next_until(detail::never); }

  /// Blocks; the next value, moved out, or nothing at the end. Throws the task's exception where it stands.
  std::optional<T> next_value() {
    task& t = checked();
    return t.has_value() ? next_moved_out(t) : awaited_value(t);
  }

  /// Never blocks: the next item if it is there now. Nothing also at the end: finished() tells them apart.
  std::optional<ref<T>> try_next() {
    task& t = checked();
    if (t.has_value()) return handed_over(t);
    const keep guard(t);
    t.watch();
    if (t.completed()) {
      if (t.has_value()) return handed_over(t);
      return final_item(t);
    }
    return std::nullopt;
  }

  /// As next(), but throws timeout_error after `d`. Never runs the task on this thread.
  template <class Rep, class Period>
  std::optional<ref<T>> next_for(const std::chrono::duration<Rep, Period>& d) {
    return next_until(detail::deadline_after(d));
  }

  /// `co_await s.async_next()`: as next(), `co_await s.async_value()`: as next_value(), in a coroutine of this library,
  /// which suspends instead of blocking. The stream must live so long. Include <dyngen/await.hpp>.
  detail::stream_item<T, false> async_next() {
    checked();
    return {this};
  }
  /// See async_next().
  detail::stream_item<T, true> async_value() {
    checked();
    return {this};
  }

  /// The task has ended and everything was taken, its exception too.
  bool finished() const {
    task& t = checked();
    if (!t.completed()) t.watch();
    return t.completed() && !t.has_value() && !t.final_pending();
  }

  /// A ref on the end of the task. It comes only once what the task yields was taken or dropped, unless it fits the
  /// stream's room.
  ref<void> completion() const { return detail::completion_of(checked()); }

  /// Asks the task to stop, at its next co_yield; values stored before stay readable. False if it had ended.
  bool cancel() const { return checked().cancel(); }

  /// Drops all values, those to come too, and lets the task run to its end. The stream is empty afterwards.
  void detach() {
    checked();
    std::exchange(task_, nullptr)->abandon(true);
  }

  /// An input range of `T&&`: the fastest way through. Each value lives until the next increment, and counts as taken
  /// from the moment it is reached. Throws the task's exception where it stands, and is then at its end. Iterated again,
  /// the range goes on with the next value; at the end of the stream it is empty.
  ///
  /// `values() | std::views::take(n)` shows n values and takes n + 1: the standard's `take` increments the iterator once
  /// more before it stops. It blocks until value n + 1 or the end is there, and destroys that value. To take exactly n,
  /// call next_value() n times, or leave the loop by `break` in the body that handles value n.
  values_range values() & {
    checked();
    return values_range(*this);
  }
  /// The same, owning the stream.
  owning_values_range values() && {
    checked();
    return owning_values_range(std::move(*this));
  }

  /// Blocks for the first item that was not handed over yet: iterated again, the stream goes on where it was.
  iterator begin() {
    checked();
    return iterator(*this);
  }
  /// Reached when the task has ended and everything was taken.
  std::default_sentinel_t end() const noexcept { return {}; }

  /// The number of the task.
  std::uint64_t id() const { return checked().id(); }

  friend void swap(ref_stream& a, ref_stream& b) noexcept { std::swap(a.task_, b.task_); }

 private:
  friend struct detail::stream_access;
  using task = detail::sequence_task<T>;

  explicit ref_stream(task& t) noexcept : task_(&t) {}  // takes over one reference, and the sequence's holds

  task& checked() const {
    if (task_ == nullptr) detail::throw_empty("ref_stream");
    return *task_;
  }

  static std::optional<ref<T>> handed_over(task& t) {
    detail::slot& s = t.take();
    ref<T> r = detail::access::adopt<T>(s);
    t.note_taken();
    return r;
  }
  static std::optional<T> next_moved_out(task& t) { return moved_out(t, *t.take_next_in_place()); }
  /// A value that was taken is moved out where it is. Until its slot goes back, that keeps the task, whatever T's code does
  /// to the stream.
  static std::optional<T> moved_out(task& t, T& value) {
    struct taken {
      taken(task& from, T& v, detail::segment& b) noexcept : t(from), value(v), block(b) {}
      taken(const taken&) = delete;
      taken& operator=(const taken&) = delete;
      ~taken() {
        detail::destroy_reporting(value, t);
        t.destroyed_in_place(block);
      }
      task& t;
      T& value;
      detail::segment& block;
    };
    const taken here(t, value, *t.block_taken_from());
    return std::optional<T>(std::in_place, std::move(value));
  }
  static std::optional<ref<T>> final_item(task& t) {
    if (detail::slot* s = t.take_final()) return detail::access::adopt<T>(*s);
    return std::nullopt;
  }

  [[gnu::noinline]] static std::optional<T> awaited_value(task& t) {
    const keep guard(t);
    if (await_item(t, detail::never)) return next_moved_out(t);
    if (std::optional<ref<T>> last = final_item(t)) std::move(*last).get();  // throws
    return std::nullopt;
  }

  /// Blocks until a value is there (true) or the end is reached (false). Throws timeout_error.
  static bool await_item(task& t, detail::deadline until) {
    while (!t.has_value()) {
      if (until == detail::never && t.pull()) continue;
      if (t.completed()) return t.has_value();  // published before it completed
      if (until == detail::never) {
        if (detail::has_run_put_off(detail::context())) continue;
        detail::refuse_self_wait(t);
        detail::settle_streams();
        if (t.help(t.taken()) || (is_at_home(t) && t.pull_at_home())) continue;
      } else {
        t.watch();
      }
      if (t.item_comes_soon()) continue;
      const detail::wait_point point = t.next_item();
      if (!detail::block(&point, 1, 1, until)) detail::throw_timeout(t);
    }
    return true;
  }

  /// Is it a task of the same pool that waits here?
  static bool is_at_home(task& t) noexcept {
    const detail::running_task* const here = detail::context().tasks;
    return here != nullptr && here->task->home() == t.home();
  }

  std::optional<ref<T>> next_until(detail::deadline until) {
    task& t = checked();
    if (t.has_value()) return handed_over(t);
    const keep guard(t);
    if (await_item(t, until)) return handed_over(t);
    return final_item(t);
  }

  /// The task's code may drop this very stream while it runs in one of its members.
  struct keep {
    explicit keep(task& t) noexcept : task_(t) { t.add_references(1); }
    keep(const keep&) = delete;
    keep& operator=(const keep&) = delete;
    ~keep() { task_.drop_references(1); }
    task& task_;
  };

  task* task_ = nullptr;
};

/// Input iterator of ref_stream: blocks at each increment for the next item.
template <class T>
class ref_stream<T>::iterator {
 public:
  using value_type = ref<T>;
  using difference_type = std::ptrdiff_t;

  iterator(iterator&&) noexcept = default;
  iterator& operator=(iterator&&) noexcept = default;

  /// The item, to be moved from or copied; valid until the next increment.
  ref<T>&& operator*() const noexcept { return std::move(*current_); }
  /// Drops the item, and blocks for the next one, as ref_stream::next().
  iterator& operator++() {
    current_.reset();
    current_ = stream_->next();
    return *this;
  }
  /// The same.
  void operator++(int) { ++*this; }
  /// Is the stream at its end?
  friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return !i.current_.has_value(); }

 private:
  friend class ref_stream;
  explicit iterator(ref_stream& s) : stream_(&s), current_(s.next()) {}
  ref_stream* stream_;
  mutable std::optional<ref<T>> current_;
};

/// See ref_stream::values().
template <class T>
class ref_stream<T>::values_range : public std::ranges::view_base {
 public:
  /// Input iterator of the values. Holds the task.
  class iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;

    /// For the library.
    explicit iterator(task& t) : task_(&t) {
      t.add_references(1);
      try {
        arrive();
      } catch (...) {
        t.drop_references(1);
        throw;
      }
    }
    iterator(iterator&& other) noexcept
        : task_(std::exchange(other.task_, nullptr)),
          value_(std::exchange(other.value_, nullptr)),
          block_(other.block_) {}
    iterator& operator=(iterator&& other) noexcept {
      iterator moved(std::move(other));
      std::swap(task_, moved.task_);
      std::swap(value_, moved.value_);
      std::swap(block_, moved.block_);
      return *this;
    }
    ~iterator() {
      if (task_ == nullptr) return;
      finish_value();
      task_->drop_references(1);
    }

    /// The value, to be moved from or read; destroyed by the next increment.
    T&& operator*() const noexcept { return std::move(*value_); }
    /// Blocks for the next value, as ref_stream::next_value(). Throws the task's exception where it stands.
    iterator& operator++() {
      finish_value();
      arrive();
      return *this;
    }
    /// The same.
    void operator++(int) { ++*this; }
    /// Is the stream at its end?
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.value_ == nullptr; }

   private:
    void arrive() {
      value_ = task_->pull_in_place();
      if (value_ == nullptr) {
        if (!task_->has_value() && !await_item(*task_, detail::never)) return end();
        value_ = task_->take_next_in_place();
      }
      block_ = task_->block_taken_from();
    }
    void end() {
      if (task_->take_final() == nullptr) return;
      std::exception_ptr failure = task_->failure();
      detail::drop<void>(task_->final_slot());
      std::rethrow_exception(std::move(failure));
    }
    /// The value under the iterator is the consumer's: it is destroyed in place, its slot goes back with its block's.
    void finish_value() noexcept {
      if (value_ == nullptr) return;
      T* value = std::exchange(value_, nullptr);
      detail::destroy_reporting(*value, *task_);
      task_->destroyed_in_place(*block_);
    }

    task* task_;
    T* value_ = nullptr;
    detail::segment* block_ = nullptr;  ///< of value_
  };

  /// Blocks for the first value.
  iterator begin() { return iterator(stream_->checked()); }
  /// As of any range.
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend class ref_stream;
  friend class owning_values_range;
  explicit values_range(ref_stream& s) noexcept : stream_(&s) {}
  ref_stream* stream_;
};

/// See ref_stream::values() &&.
template <class T>
class ref_stream<T>::owning_values_range : public std::ranges::view_base {
 public:
  /// Blocks for the first value.
  typename values_range::iterator begin() { return typename values_range::iterator(stream_.checked()); }
  /// As of any range.
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend class ref_stream;
  explicit owning_values_range(ref_stream&& s) noexcept : stream_(std::move(s)) {}
  ref_stream stream_;
};

namespace detail {
struct stream_access {
  template <class T>
  static ref_stream<T> adopt(sequence_task<T>& t) noexcept {
    return ref_stream<T>(t);
  }
  template <class T>
  static sequence_task<T>& task_of(const ref_stream<T>& s) {
    return s.checked();
  }
  template <class T>
  static std::optional<T> moved_out(sequence_task<T>& t, T& value) {
    return ref_stream<T>::moved_out(t, value);
  }
};
template <class S>
inline constexpr bool is_stream = false;
template <class T>
inline constexpr bool is_stream<ref_stream<T>> = true;
}  // namespace detail

}  // namespace dyngen
