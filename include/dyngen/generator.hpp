// SPDX-License-Identifier: MIT
#pragma once
// generator<T>, a coroutine that co_yields any number of T, and tuple_generator<Ts...>, a coroutine that co_yields one
// value of each type, in order. If they run as a task, co_yield constructs each value in its final place, the return
// buffer of the task. Iterated in place, a generator<T> is an ordinary input range on the calling thread.

#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/coroutine/awaiting.hpp>
#include <dyngen/detail/coroutine/result_kinds.hpp>
#include <dyngen/detail/coroutine/sink.hpp>
#include <dyngen/detail/coroutine/tuple_sink.hpp>
#include <dyngen/error.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 warns about the frame of a coroutine template whose parameter's type is local to the user's file.
#  pragma GCC diagnostic push
#  pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace dyngen {

template <class T>
class generator;
template <class... Ts>
class tuple_generator;

/// The operand returned by emplace(args...): the arguments from which co_yield constructs a value in place.
template <class... Args>
struct emplace_arguments {
  /// References to the arguments, valid until the end of the co_yield expression.
  std::tuple<Args&&...> arguments;
  /// For the library: write emplace(args...).
  explicit emplace_arguments(Args&&... args) noexcept : arguments(std::forward<Args>(args)...) {}
};

namespace detail {
struct emplace_function {
  /// Returns an operand for co_yield, which constructs the value in place from `args`. Use it inside the co_yield
  /// expression: it stores only references to its arguments.
  template <class... Args>
  emplace_arguments<Args...> operator()(Args&&... args) const noexcept {
    return emplace_arguments<Args...>(std::forward<Args>(args)...);
  }
};
template <class Bound, class Generator>
class coroutine_body;
}  // namespace detail

/// `co_yield dyngen::emplace(args...)` constructs the value in place from `args`, also by an explicit constructor. Use
/// it inside the co_yield expression: it stores only references to its arguments.
inline constexpr detail::emplace_function emplace{};

/// `co_yield dyngen::elements_of(range)` yields every element of a range, or every value of another generator, one by
/// one. The elements of an rvalue container are moved; other ranges yield what their iterator returns. Throws what
/// iterating the range throws, also an exception of the other generator.
template <class Range>
struct elements_of {
  static_assert(std::ranges::input_range<Range>,
                "dyngen: elements_of(range): this is not a range that can be iterated; yield a single value by co_yield value");
  /// The range; a reference if the type was deduced.
  Range range;
};
/// Stores a reference to the range, which must exist until the co_yield has ended.
template <class Range>
elements_of(Range&&) -> elements_of<Range&&>;

namespace detail {

[[noreturn]] inline void throw_begun() {
  throw error("dyngen: this generator has been iterated, and has not ended: each of its values is delivered once; continue "
              "with the iterator that begin() returned");
}

/// The awaiter of a co_yield. It has a constructor, since g++ 12 destroys aggregate awaiters twice.
class suspend_if {
 public:
  explicit suspend_if(bool suspend) noexcept : suspend_(suspend) {}
  bool await_ready() const noexcept { return !suspend_; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  void await_resume() const noexcept {}

 private:
  bool suspend_;
};

/// What the promises of generator and tuple_generator share.
template <class Sink>
struct generator_promise_base : coroutine_promise {
  using sink_type = Sink;
  using outcome_type = coroutine_outcome;
  Sink& sink() const noexcept { return static_cast<Sink&>(*driver()); }
  void return_void() const noexcept {}
};

}  // namespace detail

/// A coroutine that yields any number of values of type `T`, a movable object type.
///
/// `co_yield x` takes anything that converts implicitly to T and constructs the stored T once, in its final place: one
/// copy of an lvalue, one move of an rvalue. If the construction throws, the exception leaves the co_yield expression,
/// and the position remains unused. `co_return;` ends the sequence.
///
/// Pass the function to submit() to run it as a task. Called directly, the function returns this object, an input range
/// whose coroutine runs on the iterating thread. Move-only. Its destructor destroys the coroutine in its current state.
/// Two threads must not use one generator object at once.
template <class T>
class [[nodiscard("a generator does nothing until it is iterated; to run it as a task, submit the function itself")]] generator {
  static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                "dyngen: generator<T> needs T to be an object type, neither const nor a reference; to yield references, "
                "yield std::reference_wrapper");
  static_assert(std::is_array_v<T> || std::is_move_constructible_v<T>,
                "dyngen: generator<T> needs a movable T; yield std::unique_ptr<T>");
  static_assert(!std::is_array_v<T>, "dyngen: generator<T> cannot yield arrays; yield std::array");
  static_assert(detail::check_values<T>());

 public:
  class promise_type : public detail::generator_promise_base<detail::sink<T>> {
   public:
    generator get_return_object() noexcept {
      this->self = std::coroutine_handle<promise_type>::from_promise(*this);
      return generator(*this);
    }

    template <class U = T>
      requires std::convertible_to<U&&, T>
    DYNGEN_ALWAYS_INLINE detail::suspend_if yield_value(U&& value) {
      return store([&](void* place) { detail::construct<T>(place, std::forward<U>(value)); });
    }

    template <class... Args>
    detail::suspend_if yield_value(emplace_arguments<Args...>&& made) {
      static_assert(std::is_constructible_v<T, Args&&...>,
                    "dyngen: co_yield emplace(args...): the generator's T has no constructor that takes these arguments");
      return store([&](void* place) {
        if constexpr (std::is_constructible_v<T, Args&&...>)
          std::apply([&](auto&&... args) { ::new (place) T(std::forward<decltype(args)>(args)...); },
                     std::move(made.arguments));
        else
          (void)place;
      });
    }

    template <class Range>
    auto yield_value(elements_of<Range>&& elements) {
      if constexpr (!std::ranges::input_range<Range>) {
        return std::suspend_never();  // elements_of has a static_assert for this
      } else if constexpr (std::is_same_v<std::remove_cvref_t<Range>, generator>) {
        return nested(*this, elements.range.give_up());
      } else {
        constexpr bool convertible = std::convertible_to<detail::element_of<Range>, T>;
        static_assert(convertible,
                      "dyngen: co_yield elements_of(range): the range's elements do not convert to the generator's T");
        if constexpr (convertible)
          return nested(*this, all_of<Range>(std::forward<Range>(elements.range)).give_up());
        else
          return std::suspend_never();
      }
    }

    template <class U>
      requires(!std::convertible_to<U &&, T>)
    std::suspend_never yield_value(U&&) {
      static_assert(!std::is_same_v<U, U>,
                    "dyngen: co_yield: this value does not convert implicitly to the generator's T; write "
                    "co_yield dyngen::emplace(args...) to construct it explicitly");
      return {};
    }

    /// Returns a generator of the elements of a range.
    template <class Range>
    static generator all_of(Range range) {
      for (auto&& element : range) co_yield static_cast<detail::element_of<Range>&&>(element);
    }

   private:
    template <class Construct>
    DYNGEN_ALWAYS_INLINE detail::suspend_if store(Construct construct) {
      detail::sink<T>& to = this->sink();
      if (void* const place = to.single_place) {
        construct(place);
        return detail::suspend_if(true);
      }
      if (to.is_open()) [[likely]] {
        construct(to.next_place());
        return detail::suspend_if(to.commit_next());
      }
      return detail::suspend_if(this->being_destroyed() || store_unusually(to, construct));
    }

    /// Called if the sink cannot take the next value at once: the value has no place yet, is charged to a budget, or
    /// must not be stored. Builds and destroys a value that repeats one of an earlier attempt. Returns whether to
    /// suspend.
    template <class Construct>
    DYNGEN_NOINLINE static bool store_unusually(detail::sink<T>& to, Construct construct) {
      const detail::permission may = to.ask();
      if (may == detail::permission::construct) {
        construct(to.place());
        return to.commit();
      }
      if (may == detail::permission::charge) {
        construct(to.place());
        return to.charge();
      }
      if (may != detail::permission::replay) return may == detail::permission::suspend;
      detail::scratch<T> dropped;
      construct(dropped.place());
      dropped.destroy(*to.task);
      return to.note_replayed();
    }

    class nested {
     public:
      nested(detail::frame_promise& outer, detail::frame_owner&& inner) noexcept : coroutine_(outer, std::move(inner)) {}
      bool await_ready() const noexcept { return !coroutine_.has_frame(); }
      void await_suspend(std::coroutine_handle<>) noexcept { coroutine_.enter(outcome_); }
      void await_resume() {
        coroutine_.leave();
        outcome_.rethrow();
      }

     private:
      detail::coroutine_outcome outcome_;
      detail::nested_coroutine coroutine_;
    };
  };

  generator(const generator&) = delete;  // move-only: write std::move(generator)
  generator& operator=(const generator&) = delete;
  generator(generator&& other) noexcept
      : frame_(std::move(other.frame_)), local_(std::move(other.local_)) {}
  generator& operator=(generator&& other) noexcept {
    generator moved(std::move(other));
    std::swap(frame_, moved.frame_);
    std::swap(local_, moved.local_);
    return *this;
  }
  ~generator() {
    if (local_) local_->drop_value();
    if (frame_.get() != nullptr) frame_.destroy(local_ ? &local_->to : frame_.get()->driver_if_begun());
    if (local_) detail::report_destruction(std::move(local_->to.destroyed_with), nullptr);
  }

  class iterator;

  /// Starts the coroutine and runs it to its first value. Returns an iterator to the value. A generator that has ended,
  /// or was moved from, is an empty range. Throws what the coroutine throws, std::bad_alloc, and error if the coroutine
  /// has begun and has not ended, because each value is delivered once.
  iterator begin() {
    if (local_ != nullptr) {
      if (!local_->over) detail::throw_begun();
    } else {
      local_ = std::make_unique<local>(frame_.get());
      local_->advance();
    }
    return iterator(local_.get());
  }
  /// The end: the coroutine has ended.
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  template <class, class>
  friend class detail::coroutine_body;

  explicit generator(promise_type& promise) noexcept : frame_(promise) {}

  /// Is there a coroutine that has not begun? Throws error if it has begun and has not ended.
  bool can_start() const {
    if (local_ == nullptr) return frame_.get() != nullptr;
    if (!local_->over) detail::throw_begun();
    return false;
  }
  /// Gives the coroutine up, so that another coroutine runs it. Returns null if it has ended or was given up before.
  detail::frame_owner give_up() { return can_start() ? std::move(frame_) : detail::frame_owner(); }

  /// What iteration in place needs beside the frame: storage for one value. Iterators point to it, so that they stay
  /// valid when the generator is moved.
  struct local {
    explicit local(detail::frame_promise* f) noexcept : frame(f), over(f == nullptr) {
      if (over) return;
      to.leaf = frame->self;
      frame->run_by(to, outcome);
    }
    local(const local&) = delete;
    local& operator=(const local&) = delete;
    ~local() = default;  // the generator has cleared it

    /// Runs the coroutine to its next value. Does nothing at the end.
    void advance() {
      if (over) return;
      clear();
      full = to.drive_in_place(reinterpret_cast<T*>(storage)) == detail::step::paused;
      over = !full;
      if (over) outcome.rethrow();
    }
    void clear() noexcept(std::is_nothrow_destructible_v<T>) {
      if (std::exchange(full, false)) std::launder(reinterpret_cast<T*>(storage))->~T();
    }
    void drop_value() noexcept {
      std::exception_ptr thrown;
      try {
        clear();
      } catch (...) {
        thrown = std::current_exception();
      }
      detail::report_destruction(std::move(thrown), nullptr);
    }

    alignas(T) std::byte storage[sizeof(T)];
    detail::frame_promise* frame;
    bool full = false;
    bool over;
    detail::coroutine_outcome outcome;
    detail::sink<T> to;
  };

  detail::frame_owner frame_;
  std::unique_ptr<local> local_;
};

/// Input iterator of a generator that is iterated in place. The next increment destroys the value. The iterator is
/// valid as long as the coroutine exists, also after the generator was moved. Incrementing it at the end does nothing.
template <class T>
class generator<T>::iterator {
 public:
  using value_type = T;
  using difference_type = std::ptrdiff_t;

  iterator(iterator&&) noexcept = default;
  iterator& operator=(iterator&&) noexcept = default;

  /// Returns the value, which may be moved from; valid until the next increment.
  T& operator*() const noexcept { return *std::launder(reinterpret_cast<T*>(of_->storage)); }
  /// Returns a pointer to the value, valid until the next increment.
  T* operator->() const noexcept { return std::addressof(**this); }
  /// Destroys the value and runs the coroutine to the next one. Throws what the coroutine throws.
  iterator& operator++() {
    of_->advance();
    return *this;
  }
  /// Destroys the value and runs the coroutine to the next one. Throws what the coroutine throws.
  void operator++(int) { ++*this; }
  /// Returns whether the coroutine has ended.
  friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.at_end(); }

 private:
  friend class generator;
  explicit iterator(local* of) noexcept : of_(of) {}
  bool at_end() const noexcept { return of_->over; }
  local* of_;
};

/// A coroutine that yields exactly one value of each type of `Ts`, in this order; each becomes ready when it is
/// yielded. Pass the function to submit(), which returns a std::tuple<ref<Ts>...>: the coroutine cannot be iterated in
/// place. A value that does not convert to the next type fails the task with type_order_error; too few values fail it
/// with arity_error. Move-only.
template <class... Ts>
class [[nodiscard("a tuple_generator does nothing by itself; submit the function that returns it")]] tuple_generator {
  static_assert(sizeof...(Ts) > 0 && sizeof...(Ts) < detail::slots_per_group,
                "dyngen: tuple_generator<Ts...> takes 1 to 63 types");
  static_assert(((std::is_object_v<Ts> && std::is_same_v<Ts, std::remove_cv_t<Ts>>)&&...),
                "dyngen: tuple_generator<Ts...> needs object types, neither const nor references");
  static_assert((detail::check_values<Ts>() && ...));

 public:
  class promise_type : public detail::generator_promise_base<detail::tuple_sink<Ts...>> {
   public:
    tuple_generator get_return_object() noexcept {
      this->self = std::coroutine_handle<promise_type>::from_promise(*this);
      return tuple_generator(*this);
    }

    template <class U>
    detail::suspend_if yield_value(U&& value) {
      static_assert((std::convertible_to<U&&, Ts> || ...),
                    "dyngen: co_yield: this value converts to none of the tuple_generator's types");
      if (this->being_destroyed()) return detail::suspend_if(true);
      return detail::suspend_if(this->sink().store(std::forward<U>(value)));
    }

    template <class Range>
    std::suspend_never yield_value(elements_of<Range>&&) {
      static_assert(!sizeof(elements_of<Range>),
                    "dyngen: a tuple_generator yields one value of each type; elements_of is for generator<T>");
      return {};
    }

    template <class... Args>
    detail::suspend_if yield_value(emplace_arguments<Args...>&& made) {
      static_assert((std::is_constructible_v<Ts, Args&&...> || ...),
                    "dyngen: co_yield emplace(args...): none of the tuple_generator's types can be constructed from these arguments");
      if (this->being_destroyed()) return detail::suspend_if(true);
      return detail::suspend_if(std::apply(
          [&](auto&&... args) { return this->sink().emplace(std::forward<decltype(args)>(args)...); },
          std::move(made.arguments)));
    }
  };

  tuple_generator(const tuple_generator&) = delete;  // move-only: write std::move(generator)
  tuple_generator& operator=(const tuple_generator&) = delete;
  tuple_generator(tuple_generator&&) noexcept = default;
  tuple_generator& operator=(tuple_generator&&) noexcept = default;
  ~tuple_generator() {
    if (frame_.get() != nullptr) frame_.destroy(frame_.get()->driver_if_begun());
  }

 private:
  template <class, class>
  friend class detail::coroutine_body;

  explicit tuple_generator(promise_type& promise) noexcept : frame_(promise) {}
  bool can_start() const noexcept { return frame_.get() != nullptr; }

  detail::frame_owner frame_;
};

}  // namespace dyngen

template <class T>
inline constexpr bool std::ranges::enable_view<dyngen::generator<T>> = true;

// Checks the parameters of each coroutine of these types.
template <class T, class... Parameters>
struct std::coroutine_traits<dyngen::generator<T>, Parameters...> {
  static_assert(dyngen::detail::check_parameters<Parameters...>());
  using promise_type = typename dyngen::generator<T>::promise_type;
};
template <class... Ts, class... Parameters>
struct std::coroutine_traits<dyngen::tuple_generator<Ts...>, Parameters...> {
  static_assert(dyngen::detail::check_parameters<Parameters...>());
  using promise_type = typename dyngen::tuple_generator<Ts...>::promise_type;
};

#if defined(__GNUC__) && !defined(__clang__)
#  pragma GCC diagnostic pop
#endif
