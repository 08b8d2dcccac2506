// SPDX-License-Identifier: MIT
// The operations of a client on one handle: a stream, a ref or a list.

#include "client_class.hpp"

#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace fuzz {

// --- streams ---

void client::take(const op& o) {
  std::visit(
      [&](auto& h) {
        if constexpr (is_stream_of<std::remove_cvref_t<decltype(h)>>) take_from(o, h);
      },
      slot(o.slot).handle);
}

template <class T>
void client::take_from(const op& o, dg::ref_stream<T>& stream) {
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
void client::check_end(dg::ref_stream<T>& stream) {
  count(3);
  if (stream.try_next()) fault("a finished stream gave an item");
  if (stream.next()) fault("a finished stream gave an item to next()");
  if (!stream.completion().ready()) fault("a stream is finished, but its task has not ended");
}

template <class T>
std::optional<dg::ref<T>> client::polled(dg::ref_stream<T>& stream) {
  for (;;) {
    count();
    if (auto item = stream.try_next()) return item;
    if (stream.finished()) return std::nullopt;
    std::this_thread::yield();
  }
}

template <class T>
bool client::take_value(task_run& t, dg::ref_stream<T>& stream) {
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
void client::take_values(const op& o, task_run& t, Range&& range) {
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

void client::detach(const op& o) {
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

void client::read(const op& o) {
  std::visit(
      [&](auto& h) {
        if constexpr (is_ref<std::remove_cvref_t<decltype(h)>>) read_ref(o, h);
      },
      slot(o.slot).handle);
}

template <class H>
void client::read_ref(const op& o, H& h) {
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

template <class H>
void client::check_identity(const H& h) {
  const H copy = h;
  std::ostringstream text;
  text << copy;
  if (!(copy == h) || copy.id() != h.id() || std::hash<H>()(copy) != std::hash<H>()(h)) fault("a copy is not equal to its ref");
  if (text.str().rfind("ref(" + std::to_string(h.id().task), 0) != 0) fault("a ref prints as " + text.str());
}

void client::give_up(const op& o) {
  count();
  std::visit(
      [&](auto& h) {
        if constexpr (is_value_ref<std::remove_cvref_t<decltype(h)>>) give_up_ref(o, h);
      },
      slot(o.slot).handle);
}

template <class T>
void client::give_up_ref(const op& o, dg::ref<T>& h) {
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

void client::copy(const op& o) {
  count();
  std::visit(
      [&](auto& h) {
        using H = std::remove_cvref_t<decltype(h)>;
        if constexpr (std::is_copy_constructible_v<H> && !std::is_same_v<H, std::monostate>)
          all_.put(o.other, H(h), slot(o.slot).task, slot(o.slot).at);
      },
      slot(o.slot).handle);
}

void client::drop(const op& o) {
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

void client::cancel(const op& o) {
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

void client::stop(const op& o) {
  count();
  task_run& t = task(o.task);
  if (!t.submitted) return;
  t.disturb(cancel_asked, at_);
  t.stop.request_stop();
  t.gone.store(true);
}

void client::completion(const op& o) {
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

void client::open(const op& o) {
  count();
  std::visit(
      [&](auto& h) {
        if constexpr (is_outer<std::remove_cvref_t<decltype(h)>>) open_list(o, h);
      },
      slot(o.slot).handle);
}

template <class T>
void client::open_list(const op& o, dg::ref<dg::ref_list<T>>& h) {
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

void client::pick(const op& o) {
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

void client::scan(const op& o) {
  std::visit(
      [&](auto& h) {
        if constexpr (is_list_of<std::remove_cvref_t<decltype(h)>>) scan_list(o, h);
      },
      slot(o.slot).handle);
}

template <class T>
void client::scan_list(const op& o, const dg::ref_list<T>& list) {
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

}  // namespace fuzz
