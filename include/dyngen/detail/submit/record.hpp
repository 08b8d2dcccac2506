// SPDX-License-Identifier: MIT
#pragma once
// The concrete task, made of three parts: a base that stores the values, a bound call, and a body that runs the call
// (bodies.hpp). One allocation holds the record, the callable and its arguments, and, if the number of values is known,
// their slots.

#include <dyngen/detail/actor/actor_executor.hpp>
#include <dyngen/detail/base/memory.hpp>
#include <dyngen/detail/coroutine/sink.hpp>
#include <dyngen/detail/submit/dependency_waiters.hpp>
#include <dyngen/detail/task/task_record.hpp>
#include <dyngen/detail/value/slot_operations.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

namespace dyngen::detail {

template <class Base, class Bound, class Body>
class record final : public Base {
 public:
  using bound_type = Bound;

  /// Allocates and constructs a record for `host`, which has admitted the task. `bind` returns the call. Base is
  /// constructed from the address of its buffer, if it has one, and `base`. If create() throws, it has retracted the
  /// admission.
  template <class Bind, class... BaseArgs>
  static record* create(task_host& host, std::size_t buffer_bytes, const Bind& bind, BaseArgs&&... base) {
    void* memory = nullptr;
    try {
      memory = allocate(memory_kind::record, buffer_offset + buffer_bytes, alignment);
      record* r = nullptr;
      if constexpr (requires { record::initial_references(0); })
        r = ::new (memory) record(bind, static_cast<std::byte*>(memory) + buffer_offset, std::forward<BaseArgs>(base)...);
      else
        r = ::new (memory) record(bind, std::forward<BaseArgs>(base)...);
      r->host_token_ = host.add_record();
      return r;
    } catch (...) {
      if (memory != nullptr) deallocate(memory_kind::record, memory, buffer_offset + buffer_bytes, alignment);
      host.retract();
      throw;
    }
  }

  template <class Bind, class... BaseArgs>
  record(const Bind& bind, BaseArgs&&... base) : Base(std::forward<BaseArgs>(base)...), call_(bind()) {}
  ~record() {}  // call_ was destroyed when the task ended

  void start(admission how) noexcept {
    if constexpr (Bound::is_call) {
      actor_call_.is = Bound::callable_type::call_kind;
      static_cast<actor_executor&>(this->host()).enlist(actor_call_, *this, how);
    }
    if constexpr (Bound::stops) call_.stop().watch(*this);
    if constexpr (Bound::dependencies == 0 && !Bound::is_call && !Bound::stops)
      Base::start_at_once(how);
    else
      Base::start(how);
  }

  suspended_links& links_when_suspended() noexcept override {
    if constexpr (may_wait)
      return suspended_;
    else
      return Base::links_when_suspended();
  }

  const char* noun() const noexcept override {
    if constexpr (Bound::is_call) {
      if (actor_call_.is == actor_call::kind::ender) return "actor";
      if (actor_call_.is == actor_call::kind::builder) return "constructor";
    }
    return "task";
  }

  actor_call* as_actor_call() noexcept override {
    if constexpr (Bound::is_call)
      return &actor_call_;
    else
      return nullptr;
  }

  void note_started() noexcept {
    if constexpr (requires(record& r) { r.is_stream(); }) this->started_ = true;
  }
  void note_thrown(std::exception_ptr e) noexcept { this->failure_ = std::move(e); }
  /// Called at the beginning of an attempt. Returns how many values earlier attempts have stored.
  std::uint64_t stored_before() const noexcept {
    if constexpr (Bound::retries)
      return this->made();
    else
      return 0;
  }
  template <class Sink>
  void make_sink(std::optional<Sink>& sink) {
    if constexpr (requires(record& r) { r.is_stream(); })
      this->consumers_sink(&sink.emplace(this->buffer(), static_cast<task_record&>(*this), this->budget()));
    else if constexpr (std::is_same_v<Sink, sink_base>)
      sink.emplace(static_cast<task_record&>(*this));
    else
      sink.emplace(this->buffer(), static_cast<task_record&>(*this));
  }

 private:
  step resume(std::uint64_t stop_at) noexcept override {
    if constexpr (requires(record& r) { r.cost(); }) {
      const std::uint64_t before = this->made();
      const deadline begin = time_now();
      this->begin_to_publish();
      const step last = run_body(stop_at);
      this->cost().add(this->made() - before, time_now() - begin);
      return last;
    } else {
      return run_body(stop_at);
    }
  }
  step run_body(std::uint64_t stop_at) noexcept {
    try {
      return explained(body_.resume(*this, call_, stop_at));
    } catch (...) {
      this->failure_ = std::current_exception();
    }
    return step::ended;
  }
  /// Completes a step in which a stream's consumer has resumed the coroutine. Stores the task's exception.
  step after(step last) noexcept final {
    try {
      if constexpr (requires { body_.after(*this, last); }) return explained(body_.after(*this, last));
    } catch (...) {
      this->failure_ = std::current_exception();
    }
    return step::ended;
  }
  /// Sets the task's failure if the step ended because the coroutine yielded the wrong values.
  step explained(step last) {
    if constexpr (requires { body_.replay(); }) {
      if (last == step::out_of_order) this->failure_ = this->order_error(this->made() - body_.replay());
      if (last == step::too_few) this->failure_ = this->replay_error();
    }
    return last;
  }

  std::exception_ptr close_body() noexcept override {
    std::exception_ptr thrown = body_.close();
    leave_dependencies();
    try {
      call_.~Bound();
    } catch (...) {
      if (!thrown) thrown = std::current_exception();
    }
    return thrown;
  }

  bool try_again() noexcept override {
    if constexpr (Bound::retries) {
      if (attempt() > call_.retry().most) return false;
      // The objects of the failed attempt are destroyed before the predicate decides about the next attempt.
      std::exception_ptr late = body_.close();
      try {
        call_.end_attempt();
      } catch (...) {
        if (!late) late = std::current_exception();
      }
      if (late) this->report(std::move(late));
      bool accepted = false;
      std::exception_ptr thrown;
      try {
        accepted = call_.retry().accept(std::as_const(this->failure_));
      } catch (...) {
        thrown = std::current_exception();
      }
      if (thrown) this->report(std::move(thrown));
      if (!accepted || (this->state().load() & state_word::cancelled) != 0 || !this->host().allows_retries()) return false;
      this->failure_ = nullptr;
      attempt_.store(attempt() + 1, relaxed);  // relaxed: readers use only the number itself
      if (this->made() != 0) this->state().set(state_word::replaying);
      this->host().count_retry();
      return true;
    } else {
      return false;
    }
  }

  std::uint64_t attempt() const noexcept override {
    if constexpr (Bound::retries)
      return attempt_.load(relaxed);  // relaxed: as in try_again()
    else
      return 1;
  }

  childrens_end end_children() noexcept override {
    if constexpr (requires { body_.end_children(); })
      return body_.end_children();
    else
      return {};
  }

  thread_wait* awaited() noexcept override {
    if constexpr (requires { body_.awaited(); })
      return body_.awaited();
    else
      return nullptr;
  }

  bool register_dependencies() noexcept override {
    if constexpr (Bound::dependencies != 0) {
      // relaxed: no other thread has the record yet; the exchanges of the waiter lists publish it.
      this->pending_.store(this->registering + Bound::dependencies, relaxed);
      std::size_t i = 0;
      call_.for_each_dependency([&](slot& s) { register_with(s, waiters_->all[i++]); });
      if (this->has_all_it_needs()) return false;
      this->host().about_to_suspend(*this);  // last: from now on a closing host may cancel the task, which may then run
    }
    return Bound::dependencies != 0;
  }

  void register_with(slot& s, dependency_waiter& w) noexcept {
    if (slot_ready(s)) return this->dependency_done(has_failed(s));
    const wait_point point = point_of(s);
    w.all = waiters_.get();
    w.task = this;
    w.list = point.list;
    w.target = &s;
    w.from_outside = slot_group::of(s).owner->pool_id() != this->pool_id();
    w.index = point.index;
    w.claimed.store(0, relaxed);  // relaxed: published by add()
    w.on_removed = [](waiter& self, bool fired) noexcept {
      auto& me = static_cast<dependency_waiter&>(self);
      if (fired) {
        record& r = static_cast<record&>(*me.task);
        // The publisher, which calls this, keeps the slot alive: another thread may be destroying the record's own refs.
        r.dependency_done(has_failed(*me.target));
        r.drop_waiters_reference();  // [W4]
      }
      static_cast<dependency_waiters<Bound::dependencies>*>(me.all)->drop_references();
    };
    this->add_references(1);
    waiters_->add_references(1);
    if (!point.add(w)) return;
    this->dependency_done(has_failed(s));
    this->drop_references();  // [W4]
  }

  /// The refs are about to be destroyed: removes the waiters that are still registered with them.
  void leave_dependencies() noexcept {
    if constexpr (Bound::dependencies != 0)
      for (dependency_waiter& w : waiters_->all) {
        if (!w.try_claim()) continue;
        w.list->note_left();
        this->drop_references();  // [W4] not the last one: this thread runs the task
      }
  }

  void observe_dependencies(task_snapshot& o) noexcept override {
    if constexpr (Bound::dependencies != 0) {
      for (const dependency_waiter& w : waiters_->all)
        if (!w.is_claimed()) o.add(*slot_group::of(*w.target).owner, point_of(*w.target).what());
      o.needed = o.count;
    }
  }

  static bool has_failed(slot& s) noexcept { return slot_ready(s) && slot_failed(s); }

  std::exception_ptr failed_dependency(shared_state*& whose) noexcept override {
    std::exception_ptr failure;
    if constexpr (Bound::is_call) {
      if (actor_call_.is == actor_call::kind::method) failure = why_not(whose);
      if (failure) return failure;
    }
    if constexpr (Bound::dependencies != 0) {
      call_.for_each_dependency([&](slot& s) {
        if (failure || !has_failed(s)) return;
        failure = slot_group::of(s).owner->failure();
        whose = &slot_group::of(s).owner->share_failure();
      });
    }
    return failure;
  }

  /// Called when a method gets its turn: returns the reason not to run it, or null. After kill(), a method that was
  /// submitted before ends as cancelled, even if it gets its turn before the killing thread has reached it.
  std::exception_ptr why_not(shared_state*& whose) noexcept {
    auto& actor = static_cast<actor_executor&>(this->host());
    std::exception_ptr why = actor.death(false, whose);
    if (!why || actor.allows_retries()) return why;
    if (whose != nullptr) std::exchange(whose, nullptr)->drop_share();
    this->state().set(state_word::cancelled);
    return this->make_cancelled_error();
  }

  std::exception_ptr refusal([[maybe_unused]] shared_state*& whose) noexcept override {
    if constexpr (Bound::is_call)
      return actor_call_.dead ? static_cast<actor_executor&>(this->host()).death(true, whose) : nullptr;
    else
      return nullptr;
  }

  bool waits_for_outside() noexcept override {
    if constexpr (Bound::dependencies != 0) {
      if (state_word::phase_of(this->state().load()) == phase::waiting) {
        for (const dependency_waiter& w : waiters_->all)
          if (!w.is_claimed() && w.from_outside) return true;
        return false;
      }
    }
    return Base::waits_for_outside();
  }

  void free_memory() noexcept override {
    task_host& host = this->host();
    const std::size_t bytes = buffer_offset + this->buffer_bytes();
    const std::uint64_t values = this->values_in_record();
    const std::uint8_t token = host_token_;
    this->~record();
    deallocate(memory_kind::record, this, bytes, alignment);
    host.drop_record(token, values);
  }

  static constexpr auto first_attempt() noexcept {
    if constexpr (Bound::retries)
      return std::uint64_t{1};
    else
      return once();
  }

  static constexpr std::size_t alignment = (std::max)(alignof(Base), alignof(Bound)) > Base::buffer_alignment
                                               ? (std::max)(alignof(Base), alignof(Bound))
                                               : Base::buffer_alignment;
  static const std::size_t buffer_offset;

  using waiters = decltype(dependency_waiters<Bound::dependencies>::create());
  struct once {};
  struct no_actor_call {};
  struct no_links {};
  /// Only coroutines, calls of actors, and tasks with dependencies can wait.
  static constexpr bool may_wait = Bound::dependencies != 0 || Bound::is_call || requires(Body& b) { b.awaited(); };

  std::uint8_t host_token_ = 0;
  [[no_unique_address]] Body body_;
  [[no_unique_address]] std::conditional_t<may_wait, suspended_links, no_links> suspended_;
  [[no_unique_address]] std::conditional_t<Bound::is_call, actor_call, no_actor_call> actor_call_;
  [[no_unique_address]] std::conditional_t<Bound::retries, atomic<std::uint64_t>, once> attempt_{first_attempt()};
  [[no_unique_address]] waiters waiters_ = dependency_waiters<Bound::dependencies>::create();
  union {
    Bound call_;
  };
};

template <class Base, class Bound, class Body>
inline constexpr std::size_t record<Base, Bound, Body>::buffer_offset =
    (sizeof(record) + Base::buffer_alignment - 1) / Base::buffer_alignment * Base::buffer_alignment;

}  // namespace dyngen::detail
