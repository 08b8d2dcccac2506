// SPDX-License-Identifier: MIT
#pragma once
// ref_stream<T>: the values of a running task, each delivered once, in yield order. A stream has one consumer at a
// time, which may be a different thread each time. The producer runs ahead until its buffer is full. Destroying the
// stream cancels the task, runs none of its code, and destroys the values that were not consumed.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/detail/results/sequence_task.hpp>
#include <dyngen/detail/results/stream_access.hpp>
#include <dyngen/ref.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>

namespace dyngen {

namespace detail {

/// The operand of co_await returned by async_next() and async_value().
template <class T, bool Value>
struct stream_item {
  ref_stream<T>* stream;
};
}  // namespace detail

/// The values of a running task as an input range of `ref<T>&&`. If the task fails, the item after its last value is a
/// ref that holds the exception. After the last item every read reports the end. Move-only; one thread at a time may
/// use it. Default-constructed or moved from, it is empty: every member except valid() throws empty_ref. Its destructor
/// cancels the task and does not wait for it.
template <class T>
class [[nodiscard("losing a ref_stream cancels its task; keep it, or call detach() to let the task run")]] ref_stream {
 public:
  using value_type = ref<T>;
  class iterator;
  class values_range;
  class owning_values_range;

  ref_stream() = default;
  ref_stream(const ref_stream&) = delete;  // each value is delivered once: write std::move(stream)
  ref_stream& operator=(const ref_stream&) = delete;
  ref_stream(ref_stream&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
  ref_stream& operator=(ref_stream&& other) noexcept {
    ref_stream moved(std::move(other));
    std::swap(task_, moved.task_);
    return *this;
  }
  ~ref_stream() {
    if (task_ != nullptr) task_->abandon(false);
  }

  /// Returns false for an empty handle.
  bool valid() const noexcept { return task_ != nullptr; }

  /// Blocks until the next item is ready or the task has ended. Returns a ref to the next value, a ref that holds the
  /// task's exception after the last value, or nothing at the end. May run the task on this thread (option
  /// waiters_help). Throws empty_ref, std::bad_alloc, and error if the calling task would wait for itself.
  std::optional<ref<T>> next() { return next_until(detail::never); }

  /// Blocks until the next value is ready or the task has ended. Returns the value, moved out, or nothing at the end.
  /// After the last value it throws the task's exception once, if there is one. May run the task on this thread. Throws
  /// also as next().
  std::optional<T> next_value() {
    task& t = checked();
    keep kept;
    if (t.has_value() || arrives(t, detail::never, kept)) return moved_out(t);
    return final_value(t);
  }

  /// Returns the next item, as next() does, if it is ready. Returns nothing if no item is ready, and at the end;
  /// finished() distinguishes the two. Never blocks. Throws empty_ref.
  std::optional<ref<T>> try_next() {
    task& t = checked();
    if (t.has_value()) return handed_over(t);
    const keep kept(t);
    t.watch();
    if (t.has_value()) return handed_over(t);
    if (!t.completed()) return std::nullopt;
    if (t.has_value()) return handed_over(t);  // published before it completed
    return final_item(t);
  }

  /// Blocks until the next item is ready or the task has ended, at most for the duration `d`. Returns what next()
  /// returns. Throws timeout_error if no item is ready after `d`, empty_ref, std::bad_alloc. Never runs the task on
  /// this thread.
  template <class Rep, class Period>
  std::optional<ref<T>> next_for(const std::chrono::duration<Rep, Period>& d) {
    return next_until(detail::deadline_after(d));
  }

  /// `co_await s.async_next()` gives what next() returns, and throws as next(). The awaiting coroutine, a task or
  /// generator of this library, suspends instead of blocking. The stream must exist until the co_await has ended.
  /// Include <dyngen/await.hpp>.
  detail::stream_item<T, false> async_next() {
    checked();
    return {this};
  }
  /// `co_await s.async_value()` gives what next_value() returns, and throws as next_value(). The awaiting coroutine, a
  /// task or generator of this library, suspends instead of blocking. The stream must exist until the co_await has
  /// ended. Include <dyngen/await.hpp>.
  detail::stream_item<T, true> async_value() {
    checked();
    return {this};
  }

  /// Returns whether the stream is at its end: the task has ended, and all its values and its exception were consumed.
  /// Never blocks. Throws empty_ref.
  bool finished() const {
    task& t = checked();
    const keep kept(t);
    if (!t.completed()) t.watch();
    return t.completed() && !t.has_value() && !t.final_pending();
  }

  /// Returns a ref to the end of the task, with its exception if it failed. The ref becomes ready only when all values
  /// that do not fit the stream's buffer have been consumed or discarded. Throws empty_ref.
  ref<void> completion() const { return detail::completion_of(checked()); }

  /// Asks the task to stop: it ends at its next co_yield or co_await. Values stored before remain readable. Returns
  /// false if the task had ended. Runs no code of the task on the calling thread, except stop callbacks. Throws
  /// empty_ref.
  bool cancel() const { return checked().cancel(); }

  /// Lets the task run to its end without a consumer: its stored and later values are discarded. Returns at once; the
  /// handle is empty afterwards. Throws empty_ref.
  void detach() {
    checked();
    std::exchange(task_, nullptr)->abandon(true);
  }

  /// Returns an input range of `T&&`, the fastest way to read all values. The iterator blocks for each value, as
  /// next_value(). A value is consumed when the iterator reaches it, and is destroyed by the next increment. After the
  /// last value the increment throws the task's exception, if there is one, and the iterator is then at its end. A
  /// second iteration continues with the next value; at the end of the stream the range is empty. The stream must
  /// outlive the range.
  ///
  /// `values() | std::views::take(n)` shows n values but consumes n + 1, because the standard's `take` increments the
  /// iterator once more before it stops: it blocks until value n + 1 is ready or the task has ended, and destroys that
  /// value. To consume exactly n, call next_value() n times, or leave the loop by `break` while handling value n.
  values_range values() & {
    checked();
    return values_range(*this);
  }
  /// Returns an input range of `T&&` that owns the stream: the range may outlive this handle, which is empty
  /// afterwards. Each value is consumed when the iterator reaches it and is destroyed by the next increment. After the
  /// last value the increment throws the task's exception, if there is one.
  owning_values_range values() && {
    checked();
    return owning_values_range(std::move(*this));
  }

  /// Blocks until the next item is ready or the task has ended. Returns an iterator to the item; a second iteration
  /// continues with the next item that was not delivered. Throws as next().
  iterator begin() {
    checked();
    return iterator(*this);
  }
  /// The end: the task has ended and all items were delivered.
  std::default_sentinel_t end() const noexcept { return {}; }

  /// Returns the number of the task, unique in the program. Throws empty_ref.
  std::uint64_t id() const { return checked().id(); }

  friend void swap(ref_stream& a, ref_stream& b) noexcept { std::swap(a.task_, b.task_); }

 private:
  friend struct detail::stream_access;
  using task = detail::sequence_task<T>;

  explicit ref_stream(task& t) noexcept : task_(&t) {}  // takes over a reference and the consumer's share

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
  /// Moves the first value, which is ready, out of its slot. The slot keeps the task alive until it is released, even
  /// if T's code or the producer's code destroys the stream.
  static std::optional<T> moved_out(task& t) {
    struct taken {
      taken(task& from, typename task::place p) noexcept : t(from), at(p) {}
      taken(const taken&) = delete;
      taken& operator=(const taken&) = delete;
      ~taken() {
        detail::destroy_reporting(*at.value, t);
        t.destroyed_in_place(*at.block);
      }
      task& t;
      const typename task::place at;
    };
    const taken here(t, t.template take_in_place<false>());
    return std::optional<T>(std::in_place, std::move(*here.at.value));
  }
  static std::optional<ref<T>> final_item(task& t) {
    if (detail::slot* s = t.take_final()) return detail::access::adopt<T>(*s);
    return std::nullopt;
  }
  /// At the end: throws the task's exception, or returns nothing.
  static std::optional<T> final_value(task& t) {
    if (std::optional<ref<T>> last = final_item(t)) std::move(*last).get();
    return std::nullopt;
  }

  /// Holds the task while a member function runs the task's code or waits for the task: that code may destroy this
  /// stream.
  using keep = detail::intrusive_ptr<task>;

  /// Called if no value is ready: produces the next one on this thread, or blocks. Returns true if a value is ready,
  /// false at the end. Throws timeout_error. If it returns false or throws, `kept` holds a reference to the task.
  static bool arrives(task& t, detail::deadline until, keep& kept) {
    if (until != detail::never) return await_item(t, until, kept, task::made_here::nothing);
    const auto made = t.make_next(false);
    return made == task::made_here::value || await_item(t, until, kept, made);
  }
  DYNGEN_NOINLINE static bool await_item(task& t, detail::deadline until, keep& kept, typename task::made_here made) {
    using made_here = typename task::made_here;
    for (;;) {
      detail::stream_access::hold(kept, t, made);
      if (t.has_value()) return true;
      if (t.completed()) return t.has_value();  // published before it completed
      if (t.is_left()) return false;            // the task's own code has given the stream up
      if (until == detail::never) {
        if (made == made_here::something) {
          made = t.make_next(false);
          continue;
        }
        if (detail::run_one_deferred(detail::context())) {
          made = t.has_value() ? made_here::nothing : t.make_next(false);
          continue;
        }
        detail::refuse_self_wait(t);
        t.return_credits(true);
      } else {
        t.watch();
      }
      if (!t.item_comes_soon()) {
        const detail::wait_point point = t.next_item();
        if (!detail::block(&point, 1, 1, until)) detail::throw_timeout(t);
      }
      made = until == detail::never && !t.has_value() ? t.make_next(false) : made_here::nothing;
    }
  }

  std::optional<ref<T>> next_until(detail::deadline until) {
    task& t = checked();
    keep kept;
    if (t.has_value() || arrives(t, until, kept)) return handed_over(t);
    return final_item(t);
  }

  task* task_ = nullptr;
};

/// Input iterator of ref_stream: each increment blocks until the next item is ready or the task has ended. The stream
/// must outlive it.
template <class T>
class ref_stream<T>::iterator {
 public:
  using value_type = ref<T>;
  using difference_type = std::ptrdiff_t;

  iterator(iterator&&) noexcept = default;
  iterator& operator=(iterator&&) noexcept = default;

  /// Returns the item, which may be moved from or copied; valid until the next increment.
  ref<T>&& operator*() const noexcept { return std::move(*current_); }
  /// Releases the item and blocks for the next one. Throws as ref_stream::next().
  iterator& operator++() {
    current_.reset();
    current_ = stream_->next();
    return *this;
  }
  /// Releases the item and blocks for the next one. Throws as ref_stream::next().
  void operator++(int) { ++*this; }
  /// Returns whether the stream is at its end.
  friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return !i.current_.has_value(); }

 private:
  friend class ref_stream;
  explicit iterator(ref_stream& s) : stream_(&s), current_(s.next()) {}
  ref_stream* stream_;
  mutable std::optional<ref<T>> current_;
};

/// The range returned by `values() &`. The stream must outlive it.
template <class T>
class ref_stream<T>::values_range : public std::ranges::view_base {
 public:
  /// Input iterator of the values. Keeps the task's memory alive, not the stream.
  class iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;

    /// For the library.
    explicit iterator(task& t) : task_(t) { arrive(); }
    iterator(iterator&& other) noexcept : task_(std::move(other.task_)), at_(std::exchange(other.at_, {})) {}
    iterator& operator=(iterator&& other) noexcept {
      iterator moved(std::move(other));
      std::swap(task_, moved.task_);
      std::swap(at_, moved.at_);
      return *this;
    }
    ~iterator() { finish_value(); }

    /// Returns the value, which may be moved from; destroyed by the next increment.
    T&& operator*() const noexcept { return std::move(*at_.value); }
    /// Destroys the value and blocks for the next one. After the last value throws the task's exception, if there is
    /// one. Throws also as ref_stream::next_value().
    DYNGEN_ALWAYS_INLINE iterator& operator++() {
      if constexpr (!std::is_trivially_destructible_v<T>) {
        if (at_.value != nullptr) [[likely]]
          destroy_value();
      }
      if (T* const next = task_->take_behind(at_.value)) [[likely]]
        at_.value = next;
      else
        advance();
      return *this;
    }
    /// Destroys the value and blocks for the next one. Throws as ref_stream::next_value().
    void operator++(int) { ++*this; }
    /// Returns whether the stream is at its end.
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.at_.value == nullptr; }

   private:
    /// The current value, if there is one, is destroyed, and the next one is not in the row.
    DYNGEN_NOINLINE void advance() {
      if (at_.value == nullptr) return arrive();
      task& t = *task_;
      keep kept;
      struct release_unless_kept {
        iterator* self;
        ~release_unless_kept() {
          if (self != nullptr) self->release_value();
        }
      };
      {
        release_unless_kept last{this};  // also if arrives() throws
        if (t.looks_for_value() || arrives(t, detail::never, kept)) [[likely]] {
          if (T* const next = t.take_next_behind(at_.value)) [[likely]] {
            last.self = nullptr;
            at_.value = next;
            return;
          }
        }
      }
      if (t.has_value())
        at_ = t.template take_in_place<true>();
      else
        end();
    }
    void arrive() {
      keep kept;
      if (!task_->has_value() && !arrives(*task_, detail::never, kept)) return end();
      at_ = task_->template take_in_place<true>();
    }
    void end() {
      if (task_->take_final() == nullptr) return;
      std::exception_ptr failure = detail::seen_failure(*task_);
      detail::drop<void>(task_->final_slot());
      std::rethrow_exception(std::move(failure));
    }
    void finish_value() noexcept {
      if (at_.value == nullptr) return;
      destroy_value();
      release_value();
    }
    void destroy_value() noexcept { detail::destroy_reporting(*at_.value, *task_); }
    /// The value is destroyed: its slot is released with the slots of its block.
    void release_value() noexcept { task_->destroyed_in_place(*std::exchange(at_, {}).block); }

    keep task_;
    typename task::place at_{};  ///< of the current value
  };

  /// Blocks for the next value of the stream. Returns an iterator to it. Throws as ref_stream::next_value().
  iterator begin() { return iterator(stream_->checked()); }
  /// The end: the task has ended and all values were consumed.
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend class ref_stream;
  friend class owning_values_range;
  explicit values_range(ref_stream& s) noexcept : stream_(&s) {}
  ref_stream* stream_;
};

/// The range returned by `values() &&`. Owns the stream.
template <class T>
class ref_stream<T>::owning_values_range : public std::ranges::view_base {
 public:
  /// Blocks for the next value of the stream. Returns an iterator to it. Throws as ref_stream::next_value().
  typename values_range::iterator begin() { return typename values_range::iterator(stream_.checked()); }
  /// The end: the task has ended and all values were consumed.
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend class ref_stream;
  explicit owning_values_range(ref_stream&& s) noexcept : stream_(std::move(s)) {}
  ref_stream stream_;
};

}  // namespace dyngen
