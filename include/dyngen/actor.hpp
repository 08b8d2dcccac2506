// SPDX-License-Identifier: MIT
#pragma once
// actor<A>: an object whose methods run one at a time, each as a task. Methods may be plain functions, tasks and
// generators, with all options of submit. detail/actor/actor_executor.hpp describes the order in which they run.

#include <dyngen/detail/actor/actor_executor.hpp>
#include <dyngen/promise.hpp>
#include <dyngen/submit.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace dyngen {

template <class A>
class actor;

namespace detail {

/// The shared state of an actor: its object, whose constructor and destructor each run in a turn of their own.
template <class A>
class actor_state final : public actor_executor {
 public:
  actor_state(task_host& base, std::uint64_t limit, std::string name) : actor_executor(base, limit, std::move(name)) {}
  ~actor_state() override { destroy(); }  // the object is alive only if the task that ends the actor could not be made

  A& object() noexcept { return *std::launder(reinterpret_cast<A*>(storage_)); }

  template <class... Args>
  void build(Args&&... args) {
    ::new (static_cast<void*>(storage_)) A(std::forward<Args>(args)...);
    alive_ = true;
  }
  /// Destroys the object. Reports an exception of the destructor, and the constructor's exception unless it was seen or
  /// a call holds it.
  void destroy() noexcept {
    std::exception_ptr thrown;
    try {
      if (std::exchange(alive_, false)) object().~A();
    } catch (...) {
      thrown = std::current_exception();
    }
    if (thrown) report(std::move(thrown), "~actor");
    drop_builder();
  }
  void keep(const ref<void>& builder) noexcept {
    slot& s = *access::slot_of(builder);
    s.add_holder();
    keep_builder(s);
  }

  void add_handle() noexcept {
    // relaxed: the caller has a handle already.
    handles_.fetch_add(1, relaxed);
  }
  void drop_handle() noexcept {
    // relaxed: calls submitted through other handles are queued already, under the actor's mutex.
    if (handles_.fetch_sub(1, relaxed) == 1) end();
  }
  /// Makes the actor end after the calls that are queued.
  void end() noexcept {
    if (!ending_.exchange(true, relaxed)) over.set_value();  // relaxed: only decides which caller fulfils the promise
  }

  promise<void> over;  ///< fulfilled when the actor is to end

 private:
  atomic<std::uint32_t> handles_{1};
  atomic<bool> ending_{false};
  bool alive_ = false;  ///< changed only in turns
  alignas(A) std::byte storage_[sizeof(A)];
};

template <class A>
struct actor_builder {
  static constexpr auto call_kind = actor_call::kind::builder;
  actor_state<A>* state;
  template <class... Args>
    requires std::is_constructible_v<A, Args...>
  void operator()(Args&&... args) {
    state->build(std::forward<Args>(args)...);
  }
};

/// The callable of the last task of an actor. Its destructor destroys the actor's object, whether the task has run or
/// not; the task has the turn then.
template <class A>
class actor_ender {
 public:
  static constexpr auto call_kind = actor_call::kind::ender;
  explicit actor_ender(actor_state<A>& s) noexcept : state_(&s) {}
  actor_ender(actor_ender&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  actor_ender& operator=(actor_ender&&) = delete;
  ~actor_ender() {
    if (state_ != nullptr) state_->destroy();
  }
  void operator()() noexcept {}

 private:
  actor_state<A>* state_;
};

template <class A, class F>
class actor_method {
 public:
  static constexpr auto call_kind = actor_call::kind::method;
  template <class G>
  actor_method(actor_state<A>& s, G&& f) : state_(&s), callable_(std::forward<G>(f)) {}

  template <class... Args>
    requires std::is_invocable_v<F, A&, Args...>
  decltype(auto) operator()(Args&&... args) {
    return std::invoke(std::move(callable_), state_->object(), std::forward<Args>(args)...);
  }

 private:
  actor_state<A>* state_;
  F callable_;
};

template <class A>
inline constexpr bool is_actor_call<actor_builder<A>> = true;
template <class A>
inline constexpr bool is_actor_call<actor_ender<A>> = true;
template <class A, class F>
inline constexpr bool is_actor_call<actor_method<A, F>> = true;

/// The known parameters of the callable, without the first one, which is the actor's object.
template <class A, class F>
struct signature<actor_method<A, F>> : decltype(rest_of<1, signature<F>>()) {};
template <class A, class F, class... Q>
  requires(!signature<F>::known)
struct call_signature<actor_method<A, F>, std::tuple<Q...>>
    : decltype(rest_of<1, call_signature<F, std::tuple<A&, Q...>>>()) {};

/// Submits a call of the actor, which the actor runs as `f(object, args...)`.
template <class A, class... Os, class F, class... Args>
auto submit_call(actor_state<A>& state, const std::tuple<Os...>& os, F&& f, Args&&... args) {
  using callable = std::decay_t<F>;
  static_assert(std::is_constructible_v<callable, F>,
                "dyngen: the callable cannot be copied into the task; write submit(std::move(f), args...)");
  if constexpr (!std::is_constructible_v<callable, F>) {
    return nothing_submitted();
  } else {
    detail::reject_null(f);
    moved_from_guard method(state, [&] { return actor_method<A, callable>(state, std::forward<F>(f)); });
    return detail::submit_to(state, os, std::move(*method), std::forward<Args>(args)...);
  }
}

/// The result of actor.options(...). Holds a handle to the actor. Different threads may use it at once.
template <class A, class... Os>
class actor_options {
 public:
  /// For the library.
  actor_options(actor<A> a, option_pack<Os...> pack) : actor_(std::move(a)), pack_(std::move(pack)) {}

  /// Submits a call of the actor with these options: `f` is a member function of A, or a callable whose first parameter
  /// is an A&. Returns what thread_pool::submit returns for these options; a stream without a backpressure option is
  /// unbounded. Throws what copying or moving the callable and the arguments throws, std::bad_alloc,
  /// std::invalid_argument for a null callable, empty_ref for an empty ref; then nothing was submitted. Thread-safe.
  template <class F, class... Args>
  auto submit(F&& f, Args&&... args) const {
    return submit_call(actor_.state(), pack_.tuple(), std::forward<F>(f), std::forward<Args>(args)...);
  }

 private:
  actor<A> actor_;
  option_pack<Os...> pack_;
};

}  // namespace detail

/// A shared handle to an object of type A, made by make_actor. Calls of the object's methods are submitted as tasks,
/// and run one at a time on the executor on which the actor was made. Calls that one thread or task submits run in the
/// order of the submits. A call that waits for its arguments delays only later calls of the same submitter. While a
/// method is suspended, for example a generator whose stream is full, no other method runs, unless the option
/// max_concurrency allows several methods in progress.
///
/// A method may call other actors and wait for them. If such calls form a ring, the last call waits for the first
/// actor, which is still in its method, and all wait forever. So a method in a ring must wait by co_await, and its
/// actor must have max_concurrency.
///
/// When the last handle is destroyed, a worker destroys the object after all its calls. An actor does not outlive its
/// pool. Calls after the pool's end, after kill(), and after a constructor that threw, return refs that hold
/// actor_died.
///
/// Different threads may use different copies at once. Default-constructed or moved from, a handle is empty: every
/// member except valid() throws empty_ref.
template <class A>
class actor {
  static_assert(std::is_object_v<A> && std::is_same_v<A, std::remove_cv_t<A>> && !std::is_array_v<A>,
                "dyngen: actor<A> needs A to be an object type, neither const nor a reference nor an array");

 public:
  /// Makes an empty handle.
  actor() = default;
  actor(const actor& other) noexcept : state_(other.state_) {
    if (state_) state_->add_handle();
  }
  actor(actor&&) noexcept = default;
  actor& operator=(actor other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~actor() {
    if (state_) state_->drop_handle();
  }

  /// Returns false for an empty handle.
  bool valid() const noexcept { return static_cast<bool>(state_); }

  /// Submits a call: `f` is a member function of A, or a callable whose first parameter is an A&. Returns what
  /// thread_pool::submit returns, except that streams are unbounded by default. If a method waits for another call of
  /// its own actor, the wait throws error: it must call that method directly. Throws what copying or moving the
  /// callable and the arguments throws, std::bad_alloc, std::invalid_argument for a null callable, empty_ref for an
  /// empty ref or handle; never pool_stopped. Thread-safe.
  template <class F, class... Args>
  auto submit(F&& f, Args&&... args) const {
    return detail::submit_call(state(), std::tuple<>(), std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Returns an object whose submit() uses the options `os`. It may be stored, copied and reused; it keeps the actor
  /// alive. Throws empty_ref, and what copying or moving the options throws.
  template <class... Os>
  auto options(Os&&... os) const {
    state();
    return [&]<class... Flat>(option_pack<Flat...>&& pack) {
      return detail::actor_options<A, Flat...>(*this, std::move(pack));
    }(detail::make_pack(std::forward<Os>(os)...));
  }

  /// Ends the actor. Cancels the queued and suspended calls, and the construction if it has not begun. Asks a running
  /// method to stop: a coroutine ends at its next co_yield or co_await, a plain function sees stop_requested(). The
  /// refs of a stopped call hold cancelled_error; values stored before remain. A constructor that is running goes on;
  /// if it throws, its exception is not reported. When all calls have ended, a worker destroys the object. Later calls
  /// return refs that are ready at once and hold actor_died. Does not wait. Runs no code of the actor on the calling
  /// thread, except stop callbacks. Any thread may call it, any number of times, also a method, a stop callback or the
  /// destructor of the object. Throws empty_ref.
  void kill() const {
    state().kill();
    state().end();
  }

  /// Returns whether both refer to the same actor, or both are empty.
  friend bool operator==(const actor& a, const actor& b) noexcept { return a.state_.get() == b.state_.get(); }

 private:
  template <class>
  friend struct detail::actor_maker;
  template <class, class...>
  friend class detail::actor_options;

  // Takes over both counts.
  explicit actor(detail::actor_state<A>& state) noexcept : state_(state, detail::adopt_reference{}) {}

  detail::actor_state<A>& state() const {
    if (!state_) detail::throw_empty("actor");
    return *state_;
  }

  detail::intrusive_ptr<detail::actor_state<A>> state_;
};

namespace detail {

template <class A>
struct actor_maker {
  template <class... Os, class... Args>
  static actor<A> make(task_host& host, const std::tuple<Os...>& os, Args&&... args) {
    static_assert(((kind_of<Os> == option_kind::name || kind_of<Os> == option_kind::max_concurrency) && ...),
                  "dyngen: make_actor takes the options name and max_concurrency; others are for its methods: "
                  "actor.options(...).submit(...)");
    constexpr std::size_t name = place_of<option_kind::name, Os...>;
    constexpr std::size_t concurrency = place_of<option_kind::max_concurrency, Os...>;
    std::uint64_t limit = 1;
    if constexpr (concurrency < sizeof...(Os)) limit = std::get<concurrency>(os).count;
    std::string text;
    if constexpr (name < sizeof...(Os)) text = std::get<name>(os).text;

    host.admit();  // throws pool_stopped if the host is closed
    host.retract();
    actor<A> result(*new actor_state<A>(host, limit, text));
    actor_state<A>& state = *result.state_;
    // The task that ends the actor is submitted first: no code of the actor runs before everything that may throw is
    // done.
    detail::submit_to(state, std::tuple(after(state.over.get_ref())), actor_ender<A>(state));
    state.keep(
        detail::submit_to(state, std::tuple(dyngen::name(std::move(text))), actor_builder<A>{&state}, std::forward<Args>(args)...));
    return result;
  }
};

}  // namespace detail

}  // namespace dyngen
