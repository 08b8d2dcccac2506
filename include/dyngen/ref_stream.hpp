// SPDX-License-Identifier: MIT
#pragma once
// ref_stream<T>: the values of a running task, each handed over once, in yield order. One consumer at a time; it may
// move from thread to thread. The producer runs ahead until its backpressure stops it; destroying the stream cancels
// the task, runs none of its code, and drops what was not taken.

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
#include <utility>

namespace dyngen {

namespace detail {

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
  ref_stream(ref_stream&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
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
    keep kept;
    if (t.has_value() || arrives(t, detail::never, kept)) return moved_out(t);
    return final_value(t);
  }

  /// Never blocks: the next item if it is there now. Nothing also at the end: finished() tells them apart.
  std::optional<ref<T>> try_next() {
    task& t = checked();
    if (t.has_value()) return handed_over(t);
    keep kept;
    kept.hold(t);
    t.watch();
    if (t.has_value()) return handed_over(t);
    if (!t.completed()) return std::nullopt;
    if (t.has_value()) return handed_over(t);  // published before it completed
    return final_item(t);
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
    keep kept;
    kept.hold(t);
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
  /// The first value, which is there, is moved out where it is. Until its slot goes back, that keeps the task, whatever T's
  /// code, or the producer's, does to the stream.
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
    const taken here(t, t.take_in_place());
    return std::optional<T>(std::in_place, std::move(*here.at.value));
  }
  static std::optional<ref<T>> final_item(task& t) {
    if (detail::slot* s = t.take_final()) return detail::access::adopt<T>(*s);
    return std::nullopt;
  }
  /// At the end: nothing, or the task's exception, which is thrown.
  static std::optional<T> final_value(task& t) {
    if (std::optional<ref<T>> last = final_item(t)) std::move(*last).get();
    return std::nullopt;
  }

  /// Holds the task for a member that runs its code, or waits for it: that code may drop this very stream.
  struct keep {
    keep() = default;
    keep(const keep&) = delete;
    keep& operator=(const keep&) = delete;
    ~keep() {
      if (task_ != nullptr) task_->drop_references(1);
    }
    /// Takes a reference.
    void hold(task& t) noexcept {
      t.add_references(1);
      adopt(t);
    }
    /// Takes over a reference.
    void adopt(task& t) noexcept {
      if (task_ != nullptr)
        t.drop_references(1);  // one is enough
      else
        task_ = &t;
    }
    bool holds() const noexcept { return task_ != nullptr; }

   private:
    task* task_ = nullptr;
  };

  /// No value is there: makes the next one on this thread, or blocks until it is there (true) or the end is reached (false).
  /// Throws timeout_error. `kept` holds the task afterwards, unless a value is there.
  static bool arrives(task& t, detail::deadline until, keep& kept) {
    if (until != detail::never) return await_item(t, until, kept, task::made_here::nothing);
    const auto made = t.make_next(false);
    return made == task::made_here::value || await_item(t, until, kept, made);
  }
  [[gnu::noinline]] static bool await_item(task& t, detail::deadline until, keep& kept, typename task::made_here made) {
    using made_here = typename task::made_here;
    for (;;) {
      if (made == made_here::something || made == made_here::behind)
        kept.adopt(t);
      else if (!kept.holds())
        kept.hold(t);
      if (t.has_value()) return true;
      if (t.completed()) return t.has_value();  // published before it completed
      if (t.is_left()) return false;            // by its own code
      if (until == detail::never) {
        if (made == made_here::something) {
          made = t.make_next(false);
          continue;
        }
        if (detail::has_run_put_off(detail::context())) {
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
          at_(std::exchange(other.at_, {})) {}
    iterator& operator=(iterator&& other) noexcept {
      iterator moved(std::move(other));
      std::swap(task_, moved.task_);
      std::swap(at_, moved.at_);
      return *this;
    }
    ~iterator() {
      if (task_ == nullptr) return;
      finish_value();
      task_->drop_references(1);
    }

    /// The value, to be moved from or read; destroyed by the next increment.
    T&& operator*() const noexcept { return std::move(*at_.value); }
    /// Blocks for the next value, as ref_stream::next_value(). Throws the task's exception where it stands.
    iterator& operator++() {
      finish_value();
      arrive();
      return *this;
    }
    /// The same.
    void operator++(int) { ++*this; }
    /// Is the stream at its end?
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.at_.value == nullptr; }

   private:
    void arrive() {
      keep kept;
      if (!task_->has_value() && !arrives(*task_, detail::never, kept)) return end();
      at_ = task_->take_in_place();
    }
    void end() {
      if (task_->take_final() == nullptr) return;
      std::exception_ptr failure = detail::seen_failure(*task_);
      detail::drop<void>(task_->final_slot());
      std::rethrow_exception(std::move(failure));
    }
    /// The value under the iterator is the consumer's: it is destroyed in place, its slot goes back with its block's.
    void finish_value() noexcept {
      if (at_.value == nullptr) return;
      const typename task::place at = std::exchange(at_, {});
      detail::destroy_reporting(*at.value, *task_);
      task_->destroyed_in_place(*at.block);
    }

    task* task_;
    typename task::place at_{};  ///< of the current value
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

}  // namespace dyngen
