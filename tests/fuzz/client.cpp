// SPDX-License-Identifier: MIT

#include "client.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace fuzz {

using namespace std::chrono_literals;

void settle() {
  dg::promise<void> never;
  static_cast<void>(never.get_ref().wait_for(0ns));
}

namespace {

template <class H>
inline constexpr bool is_ref = false;
template <class T>
inline constexpr bool is_ref<dg::ref<T>> = true;
template <class H>
inline constexpr bool is_value_ref = false;
template <class T>
inline constexpr bool is_value_ref<dg::ref<T>> = !std::is_void_v<T>;
template <class T>
inline constexpr bool is_value_ref<dg::ref<dg::ref_list<T>>> = false;
template <class H>
inline constexpr bool is_stream_of = false;
template <class T>
inline constexpr bool is_stream_of<dg::ref_stream<T>> = true;
template <class H>
inline constexpr bool is_list_of = false;
template <class T>
inline constexpr bool is_list_of<dg::ref_list<T>> = true;
template <class H>
inline constexpr bool is_outer = false;
template <class T>
inline constexpr bool is_outer<dg::ref<dg::ref_list<T>>> = true;

/// Longer than any schedule takes; the watchdog comes first.
constexpr auto long_time = 1000s;

class client {
 public:
  client(running& r, std::uint8_t number) : all_(r), self_(*r.clients[number]), number_(number) {}

  void play(const std::vector<bool>& left_out) {
    const program& p = *all_.plan;
    for (std::uint32_t i = 0; i < p.ops.size(); ++i) {
      const op& o = p.ops[i];
      if (o.client != number_) continue;
      self_.at.store(i);
      at_ = i;
      for (std::uint32_t k = 0; k < o.needs; ++k) wait_for_turn(p.needs[o.first_need + k]);
      if (left_out[i]) {
        if (o.what == verb::hand) hand(o);
        continue;
      }
      guarded(o);
    }
    self_.at.store(0xffffffff);
    settle();
  }

 private:
  // --- observations ---

  void note(seen what, index task, std::uint32_t at, outcome is) { self_.log.push_back({what, true, task, at, at_, is}); }
  void fault(const std::string& what) { all_.fault("operation " + std::to_string(at_) + ": " + what); }
  void count(std::uint64_t n = 1) noexcept { self_.operations += n; }

  slot_run& slot(index i) { return all_.slots[i]; }
  task_run& task(index i) { return all_.tasks[i]; }
  bool absent(index i) { return std::holds_alternative<std::monostate>(slot(i).handle); }

  void guarded(const op& o) {
    std::exception_ptr thrown;
    try {
      perform(o);
    } catch (...) {
      thrown = std::current_exception();
    }
    if (!thrown) return;
    const outcome what = outcome_of(thrown);
    std::string text = "threw what it should not: " + std::to_string(static_cast<unsigned>(what.what));
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      text += std::string(" ") + e.what();
    } catch (...) {
    }
    fault(text);
  }

  // --- order among clients ---

  /// Waits outside of the library: returns credits first, as the waits of the library do.
  template <class Condition>
  void until(Condition there) {
    if (there()) return;
    settle();
    while (!there()) std::this_thread::yield();
  }
  void wait_for_turn(const need& n) {
    until([&] { return all_.slots[n.slot].turn.load() >= n.turn; });
  }
  /// Waits until all operations before this one have ended.
  void wait_for_earlier() {
    for (const auto& other : all_.clients)
      if (other.get() != &self_) until([&] { return other->at.load() > at_; });
  }
  void hand(const op& o) { slot(o.slot).turn.fetch_add(1); }

  /// An operation that needs all its slots is skipped if one is empty.
  bool can_do(const op& o) {
    if (o.slot != none && o.what != verb::hand && absent(o.slot)) return false;
    for (unsigned k = 0; k < o.listed; ++k)
      if (absent(o.list[k])) return false;
    if (o.what != verb::submit) return true;
    const task_plan& p = all_.plan->tasks[o.task];
    for (const index i : p.in_slots)
      if (i != none && absent(i)) return false;
    for (unsigned k = 0; k < p.held; ++k)
      if (absent(p.held_slots[k])) return false;
    if (p.after_slot != none && absent(p.after_slot)) return false;
    if (p.where == place::pool && all_.pools[0] == nullptr) return false;
    if (p.where == place::second_pool && all_.pools[1] == nullptr) return false;
    return true;
  }

  void perform(const op& o) {
    if (!can_do(o)) return;
    switch (o.what) {
      case verb::submit: return submit(o);
      case verb::take: return take(o);
      case verb::read: return read(o);
      case verb::give_up: return give_up(o);
      case verb::copy: return copy(o);
      case verb::drop: return drop(o);
      case verb::open: return open(o);
      case verb::pick: return pick(o);
      case verb::scan: return scan(o);
      case verb::cancel: return cancel(o);
      case verb::stop: return stop(o);
      case verb::detach: return detach(o);
      case verb::completion: return completion(o);
      case verb::wait_some: return wait_some(o);
      case verb::wait_any: return wait_any(o);
      case verb::get_all: return get_all(o);
      case verb::make_promise: return make_promise(o);
      case verb::fulfil:
      case verb::fail: return settle_promise(o);
      case verb::run_manual: return run_manual(o);
      case verb::make_actor: return make_actor(o);
      case verb::kill: return kill(o);
      case verb::shutdown: return shutdown(o);
      case verb::destroy: return destroy(o);
      case verb::stats: return stats(o);
      case verb::hand: return hand(o);
      case verb::local: return local(o);
      case verb::probe: return probe(o);
    }
  }

  // --- tasks ---

  void submit(const op& o) {
    count();
    task_run& t = task(o.task);
    const task_plan& p = *t.plan;
    const auto target_in = [this](index i, const target& planned) {
      return i == none ? planned : target{slot(i).task, slot(i).at, false};
    };
    for (unsigned k = 0; k < 2; ++k) t.in[k] = target_in(p.in_slots[k], p.in_targets[k]);
    for (unsigned k = 0; k < p.held; ++k) t.held[k] = target_in(p.held_slots[k], p.held_targets[k]);
    t.after = target_in(p.after_slot, p.after_target);
    if (has_stop(p.what)) t.stop = std::stop_source();
    if (p.given == input::stream) t.given_from = task(t.in[0].task).taken;
    t.submitted = true;
    bool refused = false;
    try {
      all_.submit(o.task);
    } catch (const dg::pool_stopped&) {
      refused = true;
    }
    if (!refused) return;
    t.refused = true;
    t.submitted = false;
    if (p.given == input::stream) task(t.in[0].task).disturb(stream_dropped, at_);
    const unsigned pool = p.where == place::second_pool;
    const bool may_be = (p.where == place::pool || p.where == place::second_pool) && all_.plan->pools[pool].own;
    if (!may_be) fault("submit threw pool_stopped, though the pool was not shut down");
  }

  void local(const op& o) {
    count();
    task_run& t = task(o.task);
    switch (t.plan->of) {
      case kind::counted: return iterate_in_place<counted>(t);
      case kind::unique: return iterate_in_place<unique>(t);
      default: return iterate_in_place<plain>(t);
    }
  }
  template <class T>
  void iterate_in_place(task_run& t);

  // --- streams ---

  void take(const op& o) {
    std::visit(
        [&](auto& h) {
          if constexpr (is_stream_of<std::remove_cvref_t<decltype(h)>>) take_from(o, h);
        },
        slot(o.slot).handle);
  }

  void note_item(task_run& t, outcome is) { note(seen::item, t.self, t.taken++, is); }

  /// An item that was taken; false at the end.
  template <class T>
  bool note_ref(const op& o, task_run& t, std::uint32_t k, std::optional<dg::ref<T>>&& item) {
    if (!item) {
      note_item(t, {tag::end, 0});
      return false;
    }
    if (!item->ready()) fault("an item of a stream is not ready");
    const std::uint32_t at = t.taken;
    note_item(t, seen_by([&] { return id_of(item->get()); }));
    if (o.keep && k < 4) all_.put(static_cast<index>(o.other + k), std::move(*item), t.self, at);
    return true;
  }

  template <class T>
  void take_from(const op& o, dg::ref_stream<T>& stream) {
    task_run& t = task(slot(o.slot).task);
    const auto begin_take = [&] {
      count();
      t.takes_begun.fetch_add(1);
    };
    switch (static_cast<taking>(o.how)) {
      case taking::next:
        for (std::uint32_t k = 0; k < o.n; ++k) {
          begin_take();
          if (!note_ref(o, t, k, stream.next())) break;
        }
        break;
      case taking::next_for:
        for (std::uint32_t k = 0; k < o.n; ++k) {
          begin_take();
          if (!note_ref(o, t, k, stream.next_for(long_time))) break;
        }
        break;
      case taking::next_value:
        for (std::uint32_t k = 0; k < o.n; ++k) {
          begin_take();
          if (!take_value(t, stream)) break;
        }
        break;
      case taking::try_once: {
        begin_take();
        auto item = stream.try_next();
        if (item) note_ref(o, t, 0, std::move(item));
        break;
      }
      case taking::poll:
        for (std::uint32_t k = 0; k < o.n; ++k) {
          begin_take();
          if (!note_ref(o, t, k, polled(stream))) break;
        }
        break;
      case taking::values: {
        take_values(o, t, stream.values());
        break;
      }
      case taking::iterate: {
        std::uint32_t k = 0;
        if (o.n == 0) break;
        begin_take();
        bool ended = true;
        for (dg::ref<T> item : stream) {
          note_ref(o, t, k, std::optional<dg::ref<T>>(std::move(item)));
          ended = ++k == o.n;
          if (ended) break;
          begin_take();
        }
        if (!ended || k == 0) note_item(t, {tag::end, 0});
        break;
      }
      case taking::own_values: {
        t.disturb(stream_dropped, at_);
        t.no_room_needed();
        {
          auto owned = std::move(stream).values();
          slot(o.slot).handle = {};
          take_values(o, t, owned);
        }
        t.gone.store(true);
        return;
      }
    }
    count();
    if (stream.finished() && o.how != static_cast<std::uint8_t>(taking::try_once)) check_end(stream);
  }

  /// Checks that an ended stream reports its end repeatedly.
  template <class T>
  void check_end(dg::ref_stream<T>& stream) {
    count(3);
    if (stream.try_next()) fault("a finished stream gave an item");
    if (stream.next()) fault("a finished stream gave an item to next()");
    if (!stream.completion().ready()) fault("a stream is finished, but its task has not ended");
  }

  template <class T>
  std::optional<dg::ref<T>> polled(dg::ref_stream<T>& stream) {
    for (;;) {
      count();
      if (auto item = stream.try_next()) return item;
      if (stream.finished()) return std::nullopt;
      std::this_thread::yield();
    }
  }

  template <class T>
  bool take_value(task_run& t, dg::ref_stream<T>& stream) {
    std::optional<T> value;
    std::exception_ptr thrown;
    try {
      value = stream.next_value();
    } catch (...) {
      thrown = std::current_exception();
    }
    note_item(t, thrown ? outcome_of(thrown) : value ? outcome{tag::value, id_of(*value)} : outcome{tag::end, 0});
    return thrown || value;
  }

  template <class Range>
  void take_values(const op& o, task_run& t, Range&& range) {
    std::exception_ptr thrown;
    bool ended = true;
    std::uint32_t k = 0;
    t.takes_begun.fetch_add(1);
    try {
      for (auto&& value : range) {
        count();
        note_item(t, {tag::value, id_of(value)});
        if (++k == o.n) {
          ended = false;
          break;
        }
        t.takes_begun.fetch_add(1);
      }
    } catch (...) {
      thrown = std::current_exception();
    }
    if (thrown)
      note_item(t, outcome_of(thrown));
    else if (ended)
      note_item(t, {tag::end, 0});
  }

  void detach(const op& o) {
    count();
    std::visit(
        [&](auto& h) {
          if constexpr (is_stream_of<std::remove_cvref_t<decltype(h)>>) {
            task_run& t = task(slot(o.slot).task);
            t.disturb(stream_detached, at_);
            t.no_room_needed();
            h.detach();
            if (h.valid()) fault("a detached stream is still valid");
          }
        },
        slot(o.slot).handle);
    slot(o.slot).handle = {};
  }

  // --- refs ---

  template <class H>
  void note_content(const H& h, index of, std::uint32_t at) {
    if constexpr (is_outer<H>)
      note(seen::outer, of, 0, seen_by([&] { return std::uint64_t{h.get().size()}; }));
    else if constexpr (std::is_same_v<H, dg::ref<void>>)
      note_completion(h, of);
    else
      note(seen::value, of, at, seen_by([&] { return id_of(h.get()); }));
  }
  void note_completion(const dg::ref<void>& h, index of) {
    outcome is = seen_by([&] {
      h.get();
      return std::uint64_t{0};
    });
    if (is.what == tag::value) is.what = tag::well;
    note(seen::completion, of, 0, is);
  }

  void read(const op& o) {
    std::visit(
        [&](auto& h) {
          if constexpr (is_ref<std::remove_cvref_t<decltype(h)>>) read_ref(o, h);
        },
        slot(o.slot).handle);
  }

  template <class H>
  void read_ref(const op& o, H& h) {
    count();
    const index of = slot(o.slot).task;
    const std::uint32_t at = slot(o.slot).at;
    switch (static_cast<reading>(o.how)) {
      case reading::get: break;
      case reading::get_for: {
        const outcome is = seen_by([&] {
          static_cast<void>(h.get_for(long_time));
          return std::uint64_t{0};
        });
        if (is.what == tag::timeout) fault("get_for has timed out");
        break;
      }
      case reading::wait:
        h.wait();
        if (!h.ready()) fault("a ref is not ready after wait()");
        break;
      case reading::wait_until:
        if (!h.wait_until(std::chrono::system_clock::now() + long_time)) fault("wait_until has timed out");
        break;
      case reading::glance:
        settle_if_certain(o);
        if (o.must == expect::yes && !h.ready()) return fault("a ref is not ready that must be");
        if (o.must == expect::no && h.ready()) return fault("a ref is ready that cannot be");
        if (!h.wait_for(0ns)) return;
        break;
      case reading::error: {
        const bool failed = h.error() != nullptr;
        if (failed != h.failed()) fault("error() and failed() do not agree");
        break;
      }
      case reading::poll:
        until([&] {
          count();
          return h.ready();
        });
        break;
      case reading::identity: return check_identity(h);
    }
    note_content(h, of, at);
  }
  void settle_if_certain(const op& o) {
    if (o.must == expect::yes) settle();
  }

  template <class H>
  void check_identity(const H& h) {
    const H copy = h;
    std::ostringstream text;
    text << copy;
    if (!(copy == h) || copy.id() != h.id() || std::hash<H>()(copy) != std::hash<H>()(h)) fault("a copy is not equal to its ref");
    if (text.str().rfind("ref(" + std::to_string(h.id().task), 0) != 0) fault("a ref prints as " + text.str());
  }

  void give_up(const op& o) {
    count();
    std::visit(
        [&](auto& h) {
          if constexpr (is_value_ref<std::remove_cvref_t<decltype(h)>>) give_up_ref(o, h);
        },
        slot(o.slot).handle);
  }
  template <class T>
  void give_up_ref(const op& o, dg::ref<T>& h) {
    const index of = slot(o.slot).task;
    const std::uint32_t at = slot(o.slot).at;
    const auto how = static_cast<giving>(o.how);
    const outcome is = seen_by([&] {
      const T value = how == giving::take ? std::move(h).take() : how == giving::get ? std::move(h).get() : std::move(h).get_for(long_time);
      return id_of(value);
    });
    if (is.what == tag::shared) {
      const bool never_copied = how == giving::take || std::is_same_v<T, unique>;
      if (o.must == expect::yes || !never_copied) {
        fault("shared_value, though this is the only reference, or the value can be copied");
      }
      if (!h.valid()) fault("a ref is empty after shared_value");
    } else if (is.what == tag::value && h.valid()) {
      fault("a ref is not empty after its value was taken");
    }
    if (is.what != tag::shared) note(seen::value, of, at, is);
    if (is.what != tag::value) slot(o.slot).handle = {};
  }

  void copy(const op& o) {
    count();
    std::visit(
        [&](auto& h) {
          using H = std::remove_cvref_t<decltype(h)>;
          if constexpr (std::is_copy_constructible_v<H> && !std::is_same_v<H, std::monostate>)
            all_.put(o.other, H(h), slot(o.slot).task, slot(o.slot).at);
        },
        slot(o.slot).handle);
  }

  void drop(const op& o) {
    count();
    any_handle& h = slot(o.slot).handle;
    const bool stream = std::visit([](auto& x) { return is_stream_of<std::remove_cvref_t<decltype(x)>>; }, h);
    task_run* const t = stream ? &task(slot(o.slot).task) : nullptr;
    if (t != nullptr) {
      t->disturb(stream_dropped, at_);
      t->no_room_needed();
    }
    if (o.how == 0) {
      h = {};
    } else {  // moved away first
      any_handle elsewhere = std::move(h);
      h = {};
    }
    if (t != nullptr) t->gone.store(true);
  }

  void cancel(const op& o) {
    count();
    task_run& t = task(slot(o.slot).task);
    const bool cancellable = t.plan->what != form::put && t.plan->what != form::promised;
    if (cancellable) t.disturb(cancel_asked, at_);
    const bool done = std::visit(
        [&](auto& h) {
          using H = std::remove_cvref_t<decltype(h)>;
          if constexpr (is_ref<H> || is_stream_of<H>) {
            const bool ended = o.how != 2 && h.completion().ready();
            const bool asked = o.how == 0 ? h.cancel() : o.how == 1 ? dg::cancel(h) : h.completion().cancel();
            if (ended && asked) fault("cancel() of a task that had ended said true");
            return asked;
          } else {
            return false;
          }
        },
        slot(o.slot).handle);
    if (o.must == expect::yes && !done) fault("cancel() of a task that cannot have ended said false");
    if (o.must == expect::no && done) fault("cancel() of what is no task said true");
    if (done) t.gone.store(true);
  }

  void stop(const op& o) {
    count();
    task_run& t = task(o.task);
    if (!t.submitted) return;
    t.disturb(cancel_asked, at_);
    t.stop.request_stop();
    t.gone.store(true);
  }

  void completion(const op& o) {
    count();
    std::visit(
        [&](auto& h) {
          using H = std::remove_cvref_t<decltype(h)>;
          if constexpr (is_ref<H> || is_stream_of<H> || is_list_of<H>)
            all_.put(o.other, h.completion(), slot(o.slot).task, whole);
        },
        slot(o.slot).handle);
  }

  // --- lists ---

  void open(const op& o) {
    count();
    std::visit(
        [&](auto& h) {
          if constexpr (is_outer<std::remove_cvref_t<decltype(h)>>) open_list(o, h);
        },
        slot(o.slot).handle);
  }
  template <class T>
  void open_list(const op& o, dg::ref<dg::ref_list<T>>& h) {
    const index of = slot(o.slot).task;
    note_content(h, of, 0);
    if (!h.completion().ready()) fault("a list is there before its task has ended");
    if (h.failed()) return;
    if (o.how == 0)
      all_.put(o.other, dg::ref_list<T>(h.get()), of, 0);
    else
      all_.put(o.other, std::move(h).get(), of, 0);
    if (o.how == 1) slot(o.slot).handle = {};
  }

  void pick(const op& o) {
    count();
    std::visit(
        [&](auto& h) {
          if constexpr (is_list_of<std::remove_cvref_t<decltype(h)>>) {
            if (h.empty()) return;
            const std::size_t i = o.n % h.size();
            const auto r = o.how == 0 ? h[i] : o.how == 1 ? h.at(i) : *(h.begin() + static_cast<std::ptrdiff_t>(i));
            if (!r.ready()) fault("an element of a list is not ready");
            all_.put(o.other, r, slot(o.slot).task, static_cast<std::uint32_t>(i));
          }
        },
        slot(o.slot).handle);
  }

  void scan(const op& o) {
    std::visit(
        [&](auto& h) {
          if constexpr (is_list_of<std::remove_cvref_t<decltype(h)>>) scan_list(o, h);
        },
        slot(o.slot).handle);
  }
  template <class T>
  void scan_list(const op& o, const dg::ref_list<T>& list) {
    const index of = slot(o.slot).task;
    note(seen::size, of, 0, {tag::value, list.size()});
    count(1 + list.size());
    std::uint32_t i = 0;
    if (o.how == 0) {
      for (const dg::ref<T> r : list) note(seen::value, of, i++, seen_by([&] { return id_of(r.get()); }));
      return;
    }
    if (o.how == 1) {
      for (; i < list.size(); ++i) note(seen::value, of, i, seen_by([&] { return id_of(list[i].get()); }));
      return;
    }
    std::exception_ptr thrown;
    try {
      for (const T& value : list.values()) note(seen::value, of, i++, {tag::value, id_of(value)});
    } catch (...) {
      thrown = std::current_exception();
    }
    if (thrown) note(seen::value, of, i, outcome_of(thrown));
  }

  // --- several at once ---

  std::vector<dg::ref<counted>> listed(const op& o) {
    std::vector<dg::ref<counted>> refs;
    for (unsigned k = 0; k < o.listed; ++k) refs.push_back(std::get<dg::ref<counted>>(slot(o.list[k]).handle));
    return refs;
  }

  /// Are `ready` and `pending` each in input order? The same ref may be in both, if it became ready between the two
  /// checks.
  static bool in_order(const std::vector<dg::ref<counted>>& all, const std::vector<dg::ref<counted>>& ready,
                       const std::vector<dg::ref<counted>>& pending) {
    for (unsigned choice = 0; choice < 1u << all.size(); ++choice) {
      std::vector<dg::ref<counted>> parts[2];
      for (std::size_t i = 0; i < all.size(); ++i) parts[choice >> i & 1].push_back(all[i]);
      if (parts[0] == ready && parts[1] == pending) return true;
    }
    return false;
  }

  void wait_some(const op& o) {
    count();
    const std::vector<dg::ref<counted>> refs = listed(o);
    const auto [ready, pending] = o.how == 0   ? dg::wait(refs, o.n)
                                  : o.how == 1 ? dg::wait(refs, o.n, long_time)
                                               : dg::wait(refs, o.n, 0s);
    if (ready.size() + pending.size() != refs.size()) fault("wait() has lost or added refs");
    if (o.how != 2 && ready.size() < o.n) fault("wait() came back too early");
    if (ready.size() > o.n) fault("wait() gave more than were asked for");
    if (!in_order(refs, ready, pending)) fault("wait() does not keep the order");
    for (const auto& r : ready)
      if (!r.ready()) fault("wait() calls a ref ready that is not");
    for (unsigned k = 0; k < o.listed; ++k)
      if (refs[k].ready()) note_content(refs[k], slot(o.list[k]).task, slot(o.list[k]).at);
  }

  template <class... Handles>
  std::optional<std::size_t> any_of(const op& o, const Handles&... handles) {
    count();
    if (o.n == 1) return dg::wait_any(handles...);
    std::optional<std::size_t> found;
    bool late = false;
    try {
      found = o.must == expect::yes ? dg::wait_any_for(long_time, handles...) : dg::wait_any_for(0s, handles...);
    } catch (const dg::timeout_error&) {
      late = true;
    }
    if (late && o.must == expect::yes) fault("wait_any_for has timed out");
    return found;
  }

  void wait_any(const op& o) {
    if (o.how == 3) {
      const auto refs = listed(o);
      const auto found = any_of(o, refs);
      if (!found) return;
      if (!refs[*found].ready()) fault("wait_any gave the index of a ref that is not ready");
      note_content(refs[*found], slot(o.list[*found]).task, slot(o.list[*found]).at);
      return;
    }
    auto& stream = std::get<dg::ref_stream<counted>>(slot(o.list[1]).handle);
    if (o.how == 0) {
      const auto& ref = std::get<dg::ref<counted>>(slot(o.list[0]).handle);
      after_any(o, any_of(o, ref, stream), ref, stream);
    } else if (o.how == 1) {
      auto& other = std::get<dg::ref_stream<counted>>(slot(o.list[0]).handle);
      after_any(o, any_of(o, other, stream), other, stream);
    } else {
      const auto& event = std::get<dg::ref<void>>(slot(o.list[0]).handle);
      const auto& ref = std::get<dg::ref<counted>>(slot(o.list[2]).handle);
      const auto found = any_of(o, event, stream, ref);
      if (found == 2) {
        if (!ref.ready()) fault("wait_any gave the index of a ref that is not ready");
      } else {
        after_any(o, found, event, stream, &ref);
      }
    }
  }
  template <class First>
  void after_any(const op& o, std::optional<std::size_t> found, First& first, dg::ref_stream<counted>& stream,
                 const dg::ref<counted>* third = nullptr) {
    if (!found) return;
    if constexpr (is_stream_of<std::remove_const_t<First>>) {
      if (*found == 0) return take_chosen(o, 0, first, stream.finished());
      take_chosen(o, 1, stream, first.finished());
    } else {
      if (*found == 0) {
        if (!first.ready()) fault("wait_any gave the index of a ref that is not ready");
        return note_content(first, slot(o.list[0]).task, slot(o.list[0]).at);
      }
      take_chosen(o, 1, stream, first.ready() && (third == nullptr || third->ready()));
    }
  }
  /// wait_any has reported the stream as ready: its next item is there, or it has ended as all others have.
  void take_chosen(const op& o, unsigned k, dg::ref_stream<counted>& stream, bool others_over) {
    task_run& t = task(slot(o.list[k]).task);
    t.takes_begun.fetch_add(1);
    count();
    auto item = stream.try_next();
    if (item)
      note_ref(op{}, t, 0, std::move(item));
    else if (!stream.finished())
      fault("wait_any chose a stream that has nothing");
    else if (!others_over)
      fault("wait_any chose a stream that had ended, though not all had");
  }

  void get_all(const op& o) {
    count(2);
    std::vector<dg::ref<counted>> refs = listed(o);
    std::exception_ptr thrown;
    std::vector<counted> values;
    try {
      if (o.how == 1 && refs.size() == 2) {
        auto [a, b] = dg::get(refs[0], refs[1]);
        values.push_back(std::move(a));
        values.push_back(std::move(b));
      } else {
        values = o.how == 0 ? dg::get(refs) : dg::get(std::vector(refs));
      }
    } catch (...) {
      thrown = std::current_exception();
    }
    for (unsigned k = 0; k < o.listed; ++k) {
      if (!refs[k].ready()) fault("get() came back before all were ready");
      note_content(refs[k], slot(o.list[k]).task, slot(o.list[k]).at);
      if (!thrown && values[k].id() != refs[k].get().id()) fault("get() gave another value than the ref");
    }
    if (!thrown) return;
    for (const auto& r : refs)
      if (r.failed()) {
        if (outcome_of(r.error()) != outcome_of(thrown)) fault("get() threw another failure than the first one");
        return;
      }
    fault("get() threw, though no ref had failed");
  }

  // --- promises ---

  void make_promise(const op& o) {
    count(2);
    task_run& t = task(o.task);
    t.submitted = true;
    const auto two = static_cast<index>(o.other + 1);
    if (t.plan->of == kind::nothing) {
      dg::promise<void> p;
      all_.put(two, p.get_ref(), o.task, whole);
      all_.put(o.other, std::move(p), o.task, 0);
    } else {
      dg::promise<counted> p;
      all_.put(two, p.get_ref(), o.task, 0);
      all_.put(o.other, std::move(p), o.task, 0);
    }
  }

  void settle_promise(const op& o) {
    count();
    task_run& t = task(slot(o.slot).task);
    std::visit(
        [&](auto& h) {
          using H = std::remove_cvref_t<decltype(h)>;
          if constexpr (std::is_same_v<H, dg::promise<counted>> || std::is_same_v<H, dg::promise<void>>) settle_one(o, t, h);
        },
        slot(o.slot).handle);
    slot(o.slot).handle = {};
  }
  template <class P>
  void settle_one(const op& o, task_run& t, P& p) {
    const auto set = [&] {
      if constexpr (std::is_same_v<P, dg::promise<void>>)
        p.set_value();
      else
        p.set_value(counted(identity::of(all_.salt, t.self, 0, 0)));
    };
    // Written before, since other clients may see the result at once: 1 fulfilled, 2 failed.
    t.calls = o.what == verb::fulfil ? 1 : 2;
    if (o.what == verb::fulfil)
      set();
    else
      p.set_exception(std::make_exception_ptr(boom(boom_of(t.self, 0))));
    if (o.how != 0) return;
    count();
    bool refused = false;
    try {
      set();
    } catch (const dg::promise_already_satisfied&) {
      refused = true;
    }
    if (!refused) fault("a promise was fulfilled twice");
  }

  void run_manual(const op& o) {
    if (o.n == 0) {
      settle();
      count(1 + all_.manual->run_all());
      if (!all_.manual->empty()) fault("something is queued after run_all()");
      return;
    }
    for (std::uint32_t k = 0; k < o.n; ++k) {
      count();
      if (!all_.manual->run_one()) break;
    }
  }

  // --- actors and pools ---

  void make_actor(const op& o) {
    count();
    const actor_plan& a = all_.plan->actors[o.n];
    dg::thread_pool* const pool = all_.pools[a.on == place::second_pool];
    if (pool == nullptr) return;
    try {
      const auto made = a.limit == 1 ? pool->make_actor<box>(std::ref(all_), static_cast<index>(o.n))
                                     : pool->options(dg::max_concurrency{a.limit}, dg::name("box"))
                                           .make_actor<box>(std::ref(all_), static_cast<index>(o.n));
      all_.put(o.other, made, none, 0);
    } catch (const dg::pool_stopped&) {
      if (!all_.plan->pools[a.on == place::second_pool].own) fault("make_actor threw pool_stopped");
    }
  }
  void kill(const op& o) {
    count();
    for (index t = 0; t < all_.plan->tasks.size(); ++t)
      if (all_.plan->tasks[t].actor == o.n) task(t).disturb(actor_killed, at_);
    std::get<dg::actor<box>>(slot(o.slot).handle).kill();
  }

  void shutdown(const op& o) {
    if (all_.pools[o.n] == nullptr) return;
    count();
    all_.pool_ends[o.n].happens(o.how == 1 ? pool_end::by::cancel : pool_end::by::drain, at_);
    all_.pools[o.n]->shutdown(o.how == 1 ? dg::shutdown_mode::cancel : dg::shutdown_mode::drain);
    if (all_.plan->clients == 1) check_refusal(*all_.pools[o.n]);
  }
  void check_refusal(dg::thread_pool& pool) {
    count();
    bool refused = false;
    try {
      static_cast<void>(pool.submit([] {}));
    } catch (const dg::pool_stopped&) {
      refused = true;
    }
    if (!refused) fault("a pool that was shut down takes tasks");
  }
  void destroy(const op& o) {
    if (all_.pools[o.n] == nullptr) return;
    wait_for_earlier();
    count();
    all_.pool_ends[o.n].happens(pool_end::by::destructor, at_);
    all_.own_pools[o.n] = nullptr;
    all_.pools[o.n] = nullptr;
  }
  void stats(const op& o) {
    if (all_.pools[o.n] == nullptr || all_.plan->clients > 1) return;
    count();
    const dg::pool_stats s = all_.pools[o.n]->stats();
    std::ostringstream text;
    text << s;
    if (s.completed + s.failed + s.cancelled > s.submitted) fault("more tasks have ended than were submitted: " + text.str());
  }

  // --- misuse ---

  template <class Error, class Action>
  void must_throw(const char* what, Action action) {
    count();
    bool thrown = false;
    try {
      action();
    } catch (const Error&) {
      thrown = true;
    }
    if (!thrown) fault(std::string("did not throw: ") + what);
  }

  void probe(const op& o) {
    switch (o.n % 8) {
      case 0: return must_throw<dg::empty_ref>("get of an empty ref", [] { static_cast<void>(dg::ref<counted>().get()); });
      case 1: return must_throw<dg::empty_ref>("next of an empty stream", [] { static_cast<void>(dg::ref_stream<plain>().next()); });
      case 2: return must_throw<std::invalid_argument>("wait for more than there are", [] {
        static_cast<void>(dg::wait(std::vector<dg::ref<plain>>{dg::put(plain{1})}, 2));
      });
      case 3: return must_throw<std::invalid_argument>("backpressure{0}", [] { dg::backpressure{0}; });
      case 4: return must_throw<dg::error>("this_task outside of a task", [] { static_cast<void>(dg::this_task::id()); });
      case 5: return must_throw<dg::broken_promise>("a broken promise", [] {
        dg::ref<plain> r = dg::promise<plain>().get_ref();
        static_cast<void>(r.get());
      });
      case 6: return must_throw<dg::timeout_error>("get_for", [] {
        dg::promise<plain> never;
        static_cast<void>(never.get_ref().get_for(0ns));
      });
      default: return must_throw<std::invalid_argument>("wait_any of nothing", [] {
        static_cast<void>(dg::wait_any(std::vector<dg::ref<plain>>()));
      });
    }
  }

  running& all_;
  client_run& self_;
  std::uint8_t number_;
  std::uint32_t at_ = 0;
};

}  // namespace

}  // namespace fuzz

#include "bodies.hpp"

namespace fuzz {
namespace {

template <class T>
void client::iterate_in_place(task_run& t) {
  t.submitted = true;
  script s;
  s.run = &t;
  std::exception_ptr thrown;
  std::uint32_t i = 0;
  try {
    for (T& value : produce<T>(s, false)) note(seen::item, t.self, i++, {tag::value, id_of(value)});
  } catch (...) {
    thrown = std::current_exception();
  }
  note(seen::item, t.self, i, thrown ? outcome_of(thrown) : outcome{tag::end, 0});
  count(i);
}

}  // namespace

void play(running& r, std::uint8_t number, const std::vector<bool>& left_out) { client(r, number).play(left_out); }

}  // namespace fuzz
