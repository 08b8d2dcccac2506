// SPDX-License-Identifier: MIT
#pragma once
// The code of a program's tasks: functions and coroutines that execute a plan, log their observations, and detect runs
// that the rules forbid.

#include "running.hpp"

#include <concepts>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace fuzz {

/// The callable of every task. `held`: refs that its code waits for.
struct script {
  task_run* run = nullptr;
  std::vector<dg::ref<counted>> held;
};

/// One run of a task's code. Lives in its frame.
class visit {
 public:
  explicit visit(task_run& t, bool in_task = true) : run_(t), in_task_(in_task) {
    t.all->frames.fetch_add(1);
    if (t.inside.fetch_add(1) != 0) fault("its code runs twice at once, or a new attempt begins before the last one is gone");
    attempt_ = t.calls++;
    const unsigned most = retries(plan().what) ? plan().max_retries : 0;
    if (attempt_ > most) fault("it is called too often");
    if (in_task && dg::this_task::attempt() != attempt_ + 1) fault("this_task::attempt() is wrong");
  }
  visit(const visit&) = delete;
  visit& operator=(const visit&) = delete;
  ~visit() {
    run_.inside.fetch_sub(1);
    run_.all->frames.fetch_sub(1);
  }

  task_run& run() const noexcept { return run_; }
  const task_plan& plan() const noexcept { return *run_.plan; }
  const attempt& part() const noexcept { return plan().attempts[attempt_ < max_attempts ? attempt_ : 0]; }
  identity id(std::uint32_t at) const noexcept { return identity::of(run_.all->salt, run_.self, at, attempt_); }
  outcome own_boom() const noexcept { return boom_of(run_.self, attempt_); }
  void fault(const std::string& what) const { run_.all->fault("task " + std::to_string(run_.self) + ": " + what); }

  /// Before a co_yield or co_await; after it, code runs only if no stop had been requested before.
  void going() noexcept {
    ++run_.operations;
    was_gone_ = run_.gone.load();
  }
  void came_back() const {
    if (was_gone_) fault("its code went on after cancel() had returned, or its stream was dropped");
  }
  void yielded(std::uint32_t at) const {
    came_back();
    const task_plan& p = plan();
    if (has_arity(p.what) && at >= p.count) fault("its code went on after one value too many");
    const bool bounded = in_task_ && is_stream(p.what) && p.what != form::stream_unbounded && !is_budgeted(p.what) &&
                         !(p.where == place::actor && p.what == form::stream);
    if (bounded && at + 1 >= run_.takes_begun.load() + p.room) fault("its code went on though its stream is full");
  }
  void leave() const {
    if (part().throws) throw boom(own_boom());
  }

  // Its arguments.
  void arrived(const counted& v) { note_input(id_of(v)); }
  void arrived(counted& v) { note_input(id_of(v)); }
  void arrived(counted&& v) {
    note_input(id_of(v));
    counted mine(std::move(v));
  }
  void arrived(const dg::ref<counted>& r) {
    ++run_.operations;
    if (!r.valid()) fault("an unresolved ref has arrived empty");
  }
  void arrived(const dg::ref_list<counted>& list) {
    const index of = run_.in[0].task;
    run_.note(seen::size, of, 0, {tag::value, list.size()});
    for (std::uint32_t i = 0; i < list.size(); ++i) {
      ++run_.operations;
      run_.note(seen::value, of, i, seen_by([&] { return id_of(list[i].get()); }));
    }
  }
  void arrived(box& b) { b.enter(run_.self); }

 private:
  void note_input(std::uint64_t id) {
    if (inputs_ < 2) run_.note(seen::value, run_.in[inputs_].task, run_.in[inputs_].at, {tag::value, id});
    ++inputs_;
  }

  task_run& run_;
  const bool in_task_;
  unsigned attempt_ = 0;
  unsigned inputs_ = 0;
  bool was_gone_ = false;
};

/// Reads a stream inside a task.
class reader {
 public:
  reader(visit& v, dg::ref_stream<counted>&& s) : visit_(v), source_(v.run().all->tasks[v.run().in[0].task]), stream_(std::move(s)) {}
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;
  ~reader() {
    source_.disturb(stream_dropped, 0);
    source_.no_room_needed();
    stream_ = {};
    source_.gone.store(true);
  }
  dg::ref_stream<counted>& stream() noexcept { return stream_; }
  void begin_take() noexcept {
    ++visit_.run().operations;
    source_.takes_begun.fetch_add(1);
  }
  /// Logs an item; false at the end. Throws the item's exception if `rethrow`.
  bool note(const std::optional<dg::ref<counted>>& item, bool rethrow) {
    const outcome is = item ? seen_by([&] { return id_of(item->get()); }) : outcome{tag::end, 0};
    visit_.run().note(seen::item, source_.self, source_.taken++, is);
    if (item && rethrow) static_cast<void>(item->get());
    return item.has_value();
  }

 private:
  visit& visit_;
  task_run& source_;
  dg::ref_stream<counted> stream_;
};

// --- operations inside a task ---

/// A plain task inside a task.
struct child_call : script {
  counted operator()() const {
    visit v(*run);
    v.leave();
    return counted(v.id(0));
  }
};
struct child_task : script {
  dg::task<counted> operator()() const {
    visit v(*run);
    v.going();
    co_await dg::this_task::yield();
    v.came_back();
    v.leave();
    co_return counted(v.id(0));
  }
};
struct child_generator : script {
  dg::generator<counted> operator()() const {
    visit v(*run);
    const std::uint32_t length = v.part().length;
    for (std::uint32_t i = 0; i < length; ++i) {
      counted value(v.id(i));
      v.going();
      co_yield std::move(value);
      v.yielded(i);
    }
    v.leave();
  }
};

dg::ref<counted> start_child(task_run& child);
dg::ref_stream<counted> start_child_stream(task_run& child);

inline void note_held(visit& v, unsigned k, outcome is) {
  v.run().note(seen::value, v.run().held[k].task, v.run().held[k].at, is);
}
inline void rethrow_if(bool rethrow, const std::exception_ptr& e) {
  if (rethrow && e) std::rethrow_exception(e);
}

/// The deeds of a step that need no coroutine.
inline void act(script& s, visit& v, const step& what) {
  ++v.run().operations;
  std::exception_ptr thrown;
  outcome is;
  switch (what.what) {
    case deed::get:
      try {
        is = {tag::value, id_of(s.held[what.first].get())};
      } catch (...) {
        thrown = std::current_exception();
      }
      if (thrown) is = outcome_of(thrown);
      note_held(v, what.first, is);
      rethrow_if(what.rethrow, thrown);
      return;
    case deed::glance:
      for (unsigned k = what.first; k < what.first + what.count; ++k)
        if (s.held[k].ready()) note_held(v, k, seen_by([&] { return id_of(s.held[k].get()); }));
      return;
    case deed::child: {
      task_run& child = v.run().all->tasks[what.child];
      const dg::ref<counted> r = start_child(child);
      v.run().note(seen::value, what.child, 0, seen_by([&] { return id_of(r.get()); }));
      return;
    }
    case deed::child_stream: {
      task_run& child = v.run().all->tasks[what.child];
      dg::ref_stream<counted> stream = start_child_stream(child);
      for (std::uint32_t i = 0;; ++i) {
        child.takes_begun.fetch_add(1);
        const auto item = stream.next();
        v.run().note(seen::item, what.child, i, item ? seen_by([&] { return id_of(item->get()); }) : outcome{tag::end, 0});
        if (!item) break;
      }
      child.no_room_needed();
      return;
    }
    default: return;
  }
}

inline dg::task<void> await_one(script& s, visit& v, step what) {
  std::exception_ptr thrown;
  outcome is;
  v.going();
  try {
    if (what.what == deed::await_moved) {
      const counted value = co_await std::move(s.held[what.first]);
      is = {tag::value, id_of(value)};
    } else {
      const counted& value = co_await s.held[what.first];
      is = {tag::value, id_of(value)};
    }
  } catch (...) {
    thrown = std::current_exception();
  }
  v.came_back();
  if (thrown) is = outcome_of(thrown);
  note_held(v, what.first, is);
  rethrow_if(what.rethrow, thrown);
}

inline dg::task<counted> copy_of(dg::ref<counted> r) {
  const counted& value = co_await r;
  co_return value;
}

inline dg::task<void> await_several(script& s, visit& v, step what) {
  const std::vector<dg::ref<counted>> refs(s.held.begin() + what.first, s.held.begin() + what.first + what.count);
  std::exception_ptr thrown;
  v.going();
  if (what.what == deed::await_any) {
    const std::size_t i = co_await dg::when_any(refs);
    v.came_back();
    if (!refs[i].ready()) v.fault("when_any gave the index of a ref that is not ready");
    note_held(v, what.first + static_cast<unsigned>(i), seen_by([&] { return id_of(refs[i].get()); }));
    co_return;
  }
  std::vector<counted> values;
  try {
    if ((what.first + what.at) % 2 == 0) {
      values = co_await dg::when_all(refs);
    } else {  // by tasks, which run here or elsewhere
      std::vector<dg::task<counted>> children;
      for (const dg::ref<counted>& r : refs) children.push_back(copy_of(r));
      values = co_await dg::when_all(std::move(children));
    }
  } catch (...) {
    thrown = std::current_exception();
  }
  v.came_back();
  for (unsigned k = 0; k < what.count; ++k) {
    if (!refs[k].ready()) v.fault("when_all came back before all were ready");
    note_held(v, what.first + k, seen_by([&] { return id_of(refs[k].get()); }));
    if (!thrown && values[k].id() != refs[k].get().id()) v.fault("when_all gave another value than the ref");
  }
  rethrow_if(what.rethrow, thrown);
}

inline dg::task<void> perform(script& s, visit& v, std::uint32_t at) {
  const task_plan& p = v.plan();
  for (unsigned i = 0; i < p.steps; ++i) {
    const step what = p.step_at[i];
    if (what.at != at) continue;
    if (what.what == deed::yield) {
      v.going();
      co_await dg::this_task::yield();
      v.came_back();
    } else if (what.what == deed::await || what.what == deed::await_moved) {
      co_await await_one(s, v, what);
    } else if (what.what == deed::await_all || what.what == deed::await_any) {
      co_await await_several(s, v, what);
    } else {
      act(s, v, what);
    }
  }
}
inline bool acts_at(const task_plan& p, std::uint32_t at) noexcept {
  for (unsigned i = 0; i < p.steps; ++i)
    if (p.step_at[i].at == at) return true;
  return false;
}

// --- sequences ---

enum class style : unsigned { moved, converted, emplaced, copied, nested, ranged };
inline style style_of(std::uint64_t id) noexcept {
  const auto s = static_cast<style>(choice_source::mixed(id) % 9);
  return s > style::ranged ? style::moved : s;
}
inline constexpr std::uint32_t together = 3;  ///< values that are yielded by one elements_of

template <class T>
dg::generator<T> several(visit& v, std::uint32_t from, std::uint32_t to) {
  for (std::uint32_t i = from; i < to; ++i) {
    v.going();
    co_yield dg::emplace(v.id(i));
    v.yielded(i);
  }
}

/// What is common to coroutines that yield `part().length` values.
template <class T, class... In>
dg::generator<T> produce(script& s, bool in_task, In&&... in) {
  visit v(*s.run, in_task);
  (v.arrived(std::forward<In>(in)), ...);
  const std::uint32_t length = v.part().length;
  for (std::uint32_t i = 0;; ++i) {
    if (acts_at(v.plan(), i)) co_await perform(s, v, i);
    if (i >= length) break;
    v.going();
    const style how = style_of(v.id(i).bits);
    if (how == style::converted) {
      conversion<T> value{v.id(i), {}};
      co_yield value;
    } else if (how == style::emplaced) {
      co_yield dg::emplace(v.id(i));
    } else if (how == style::nested || how == style::ranged) {
      std::uint32_t to = std::min(i + together, length);
      for (std::uint32_t k = i + 1; k < to; ++k)
        if (acts_at(v.plan(), k)) to = k;
      if (how == style::nested) {
        co_yield dg::elements_of(several<T>(v, i, to));
      } else {
        std::vector<T> values;
        for (std::uint32_t k = i; k < to; ++k) values.push_back(make<T>(v.id(k)));
        co_yield dg::elements_of(std::move(values));
      }
      i = to - 1;
    } else {
      T value = make<T>(v.id(i));
      if constexpr (std::copy_constructible<T>) {
        if (how == style::copied) {
          co_yield value;
          v.yielded(i);
          continue;
        }
      }
      co_yield std::move(value);
    }
    v.yielded(i);
  }
  if (v.part().throws && v.part().in_construction) {
    conversion<T> value{v.id(length), v.own_boom()};
    v.going();
    co_yield value;
  }
  v.leave();
}

/// Coroutines that yield one value for each that they read from a stream.
template <class T>
dg::generator<T> relay(script& s, dg::ref_stream<counted>&& from) {
  visit v(*s.run);
  reader in(v, std::move(from));
  const std::uint32_t length = v.part().length;
  for (std::uint32_t i = 0;; ++i) {
    if (acts_at(v.plan(), i)) co_await perform(s, v, i);
    if (i >= length && !v.plan().drains) break;
    in.begin_take();
    v.going();
    std::optional<dg::ref<counted>> item = co_await in.stream().async_next();
    v.came_back();
    if (!in.note(item, true)) break;
    if (i >= length) continue;
    T value = make<T>(v.id(i));
    v.going();
    co_yield std::move(value);
    v.yielded(i);
  }
  v.leave();
}

template <class T>
struct sequence : script {
  template <class... In>
  dg::generator<T> operator()(In&&... in) {
    return produce<T>(*this, true, std::forward<In>(in)...);
  }
  dg::generator<T> operator()(dg::ref_stream<counted>&& in) { return relay<T>(*this, std::move(in)); }
};

template <class T>
struct container : script {
  template <class... In>
  std::vector<T> operator()(In&&... in) {
    visit v(*run);
    (v.arrived(std::forward<In>(in)), ...);
    v.leave();
    std::vector<T> values;
    for (std::uint32_t i = 0; i < v.part().length; ++i) values.push_back(make<T>(v.id(i)));
    return values;
  }
};

// --- one value, or one of each type ---

template <class R>
R result_of(visit& v) {
  if constexpr (!std::is_void_v<R>) return make<R>(v.id(0));
}

template <class R>
struct function : script {
  template <class... In>
  R operator()(In&&... in) {
    visit v(*run);
    (v.arrived(std::forward<In>(in)), ...);
    for (unsigned i = 0; i < v.plan().steps; ++i) act(*this, v, v.plan().step_at[i]);
    v.leave();
    return result_of<R>(v);
  }
  R operator()(dg::ref_stream<counted>&& from) {
    visit v(*run);
    reader in(v, std::move(from));
    for (std::uint32_t i = 0; i < v.part().length || v.plan().drains; ++i) {
      in.begin_take();
      if (!in.note(in.stream().next(), false)) break;
    }
    v.leave();
    return result_of<R>(v);
  }
};

template <class R, class... In>
dg::task<R> compute(script& s, In&&... in) {
  visit v(*s.run);
  (v.arrived(std::forward<In>(in)), ...);
  if (v.plan().steps != 0) co_await perform(s, v, 0);
  v.leave();
  if constexpr (!std::is_void_v<R>) co_return make<R>(v.id(0));
}
template <class R>
dg::task<R> consume_all(script& s, dg::ref_stream<counted>&& from) {
  visit v(*s.run);
  reader in(v, std::move(from));
  for (std::uint32_t i = 0; i < v.part().length || v.plan().drains; ++i) {
    in.begin_take();
    v.going();
    std::optional<dg::ref<counted>> item = co_await in.stream().async_next();
    v.came_back();
    if (!in.note(item, false)) break;
  }
  v.leave();
  if constexpr (!std::is_void_v<R>) co_return make<R>(v.id(0));
}

template <class R>
struct coroutine : script {
  template <class... In>
  dg::task<R> operator()(In&&... in) {
    return compute<R>(*this, std::forward<In>(in)...);
  }
  dg::task<R> operator()(dg::ref_stream<counted>&& in) { return consume_all<R>(*this, std::move(in)); }
};

/// Yields types in the order of the plan, which may be wrong.
struct mixed_sequence : script {
  dg::tuple_generator<counted, plain, unique> operator()() {
    return play(*this);
  }
  static dg::tuple_generator<counted, plain, unique> play(script& s) {
    visit v(*s.run);
    for (std::uint32_t i = 0; i < v.part().length; ++i) {
      v.going();
      switch (v.plan().order[i]) {
        case 0: {
          counted value(v.id(i));
          co_yield std::move(value);
          break;
        }
        case 1: {
          const plain value = v.id(i).bits;
          co_yield value;
          break;
        }
        default: {
          unique value(v.id(i));
          co_yield std::move(value);
        }
      }
      v.yielded(i);
    }
    v.leave();
  }
};
struct mixed_function : script {
  std::tuple<counted, plain, unique> operator()() {
    visit v(*run);
    v.leave();
    return {counted(v.id(0)), v.id(1).bits, unique(v.id(2))};
  }
};

}  // namespace fuzz
