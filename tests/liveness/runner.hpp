// SPDX-License-Identifier: MIT
#pragma once
// What a strand does: each operation, blocking or suspending.

#include "machine.hpp"

#include <chrono>
#include <exception>
#include <sstream>
#include <thread>

namespace liveness {

using namespace std::chrono_literals;

inline void compute(index steps) {
  for (volatile index i = 0; i < steps;) i = i + 1;
}
inline int one() { return 1; }
inline int same(int n) { return n; }
inline index position(const item& v) { return v.at; }
inline dg::task<int> awaits(dg::ref<int> r) { co_return co_await r; }
inline dg::generator<int> makes_nothing(dg::ref<int> never) {
  const int n = co_await never;
  co_yield n;
}

/// Polls by submitting itself again.
inline void poll_again(machine* m, index x, index e, std::shared_ptr<dg::promise<int>> reached) {
  if (m->is_done(e)) reached->set_value(1);
  else m->pool_of(x).submit(poll_again, m, x, e, std::move(reached));
}
inline dg::ref<int> polled(machine& m, index x, index e) {
  auto reached = std::make_shared<dg::promise<int>>();
  dg::ref<int> ready = reached->get_ref();
  poll_again(&m, x, e, std::move(reached));
  return ready;
}

/// A running strand: its handles, and its operations.
class runner {
 public:
  runner(machine& m, index x, item_stream carried) : m_(m), x_(x), carried_(std::move(carried)) {}
  runner(const runner&) = delete;
  runner& operator=(const runner&) = delete;
  ~runner() {
    if (m_.holds_reserve(x_)) m_.blocking.leave(false, true);
  }

  /// Executes the operation here, blocking if necessary. False, and nothing was done, if it needs a permit and gets
  /// none.
  bool try_do(const operation& o) {
    const kind k = m_.plan().strands[x_].what;
    const need n = need_of(o.how);
    const bool outside = k == kind::thread, reserved = m_.holds_reserve(x_);
    if (n == need::suspension) return false;
    if (outside || n == need::nothing || (n == need::seen && reserved)) return do_here(o, o.how), true;
    if (!m_.blocking.enter(n == need::unseen, !reserved)) return false;
    do_here(o, o.how);
    m_.blocking.leave(n == need::unseen, !reserved);
    return true;
  }
  /// Waits in a way that the library sees, on a thread that may block so.
  void do_seen(const operation& o) {
    if (!try_do(o)) do_here(o, o.what == deed::take ? way::next_value : way::get);
  }

  /// Executes the operation by suspending.
  dg::task<void> do_async(const operation& o) {
    try {
      switch (o.what) {
        case deed::await: {
          dg::task<void> step = await_async(o.target, o.how);
          co_await std::move(step);
          break;
        }
        case deed::take: {
          dg::task<void> step = take_async(o);
          co_await std::move(step);
          break;
        }
        case deed::drain: {
          dg::task<void> step = drain_async(o);
          co_await std::move(step);
          break;
        }
        case deed::victim: {
          dg::task<void> step = await_victim(victim(o.count), o.how);
          co_await std::move(step);
          break;
        }
        case deed::join: {
          dg::ref<int> r = m_.result(o.target);
          co_await r;
          break;
        }
        case deed::accept: {
          dg::ref<item_stream> r = std::exchange(m_.offer(o.other).ready, {});
          m_.stream(o.target).stream = co_await std::move(r);
          break;
        }
        default: break;
      }
    } catch (const std::exception& e) {
      report(o, e.what());
    }
  }

  void take_one(index s, const item& v) {
    machine::place& p = m_.stream(s);
    if (v.at != p.taken || (v.memory != nullptr && *v.memory != v.at))
      m_.wrong("value " + std::to_string(p.taken) + " of s" + std::to_string(s) + " is " + std::to_string(v.at));
    ++p.taken;
    m_.moves_on();
  }
  void take_end(index s) {
    m_.wrong("s" + std::to_string(s) + " has ended after " + std::to_string(m_.stream(s).taken) + " values");
  }
  void end() {
    iterator_.reset();
    kept_.clear();
  }

 private:
  void report(const operation& o, const char* what) {
    m_.wrong("operation #" + std::to_string(o.event) + " of strand " + std::to_string(x_) + " has thrown: " + what);
  }

  void do_here(const operation& o, way how) {
    try {
      switch (o.what) {
        case deed::begin: m_.stream(o.target).stream = std::move(carried_); break;
        case deed::mark: compute(o.count); break;
        case deed::await: await_here(o.target, how); break;
        case deed::submit: {
          item_stream with;
          if (o.other != none) with = std::move(m_.stream(o.other).stream);
          m_.submit(o.target, std::move(with));
          break;
        }
        case deed::take: take_here(o.target, how, o.count); break;
        case deed::drain: drain_here(o.target, how); break;
        case deed::leave: iterator_.reset(); break;
        case deed::move: {
          item_stream elsewhere = std::move(m_.stream(o.target).stream);
          m_.stream(o.target).stream = std::move(elsewhere);
          break;
        }
        case deed::offer: m_.offer(o.event).promise.set_value(std::move(m_.stream(o.target).stream)); break;
        case deed::accept: m_.stream(o.target).stream = std::exchange(m_.offer(o.other).ready, {}).take(); break;
        case deed::drop:
          m_.stream(o.target).stream = {};
          m_.stream(o.target).refs.clear();
          break;
        case deed::detach: m_.stream(o.target).stream.detach(); break;
        case deed::cancel: m_.stream(o.target).stream.cancel(); break;
        case deed::victim: {
          const dg::ref<int> r = victim(o.count);
          if (how == way::wait_for)
            while (!r.wait_for(1ms)) continue;
          else if (how == way::spin)
            while (!r.ready()) std::this_thread::yield();
          static_cast<void>(r.error());
          break;
        }
        case deed::yield: break;
        case deed::join: await_ref(m_.result(o.target), how); break;
        case deed::look: {
          std::ostringstream out;
          for (index x = 0; x < m_.plan().strands.size(); ++x)
            if (m_.plan().strands[x].what != kind::thread) {
              m_.pool_of(x).dump(out);
              out << m_.pool_of(x).stats();
              break;
            }
          break;
        }
        case deed::finish: end(); break;
      }
    } catch (const std::exception& e) {
      report(o, e.what());
    }
  }

  void await_here(index e, way how) {
    event& v = m_.of(e);
    switch (how) {
      case way::flag: v.done.wait(0); return;
      case way::latch: v.latch.wait(); return;
      case way::condition: {
        std::unique_lock lock(m_.mutex);
        m_.changed.wait(lock, [&] { return v.done.load() != 0; });
        return;
      }
      case way::spin:
        while (v.done.load() == 0) std::this_thread::yield();
        return;
      case way::sleep:
        while (v.done.load() == 0) std::this_thread::sleep_for(50us);
        return;
      case way::dependent: {
        dg::ref<int> r = v.ready;
        m_.pool_of(x_).options(dg::after(r)).submit(one).get();
        return;
      }
      case way::resubmit: polled(m_, x_, e).get(); return;
      default: return await_ref(v.ready, how);
    }
  }
  void await_ref(dg::ref<int> r, way how) {
    switch (how) {
      case way::get_for:
        for (;;) try {
            static_cast<void>(r.get_for(300us));
            return;
          } catch (const dg::timeout_error&) {
          }
      case way::wait_for:
        while (!r.wait_for(1ms)) continue;
        return;
      case way::wait_any: static_cast<void>(dg::wait_any(m_.never(), r)); return;
      case way::wait_list: static_cast<void>(dg::wait(std::vector<dg::ref<int>>{m_.never(), r})); return;
      default: static_cast<void>(r.get());
    }
  }

  dg::task<void> await_async(index e, way how) {
    dg::ref<int> r = m_.of(e).ready;
    const dg::ref<int>& never = m_.never();
    switch (how) {
      case way::co_when_any: static_cast<void>(co_await dg::when_any(never, r)); break;
      case way::co_when_all: {
        dg::task<void> a = await_async(e, way::co_get), b = await_async(e, way::co_yielding);
        co_await dg::when_all(std::move(a), std::move(b));
        break;
      }
      case way::co_yielding:
      case way::spin:
        while (!m_.is_done(e)) co_await dg::this_task::yield();
        break;
      case way::co_dependent: {
        dg::ref<int> after = m_.pool_of(x_).options(dg::after(r)).submit(one);
        co_await after;
        break;
      }
      case way::co_resubmit: {
        dg::ref<int> reached = polled(m_, x_, e);
        co_await reached;
        break;
      }
      default: co_await r;
    }
  }

  /// A task that was cancelled before it has ended by itself.
  dg::ref<int> victim(index which) {
    dg::thread_pool& pool = m_.pool_of(x_);
    const dg::ref<int>& never = m_.never();
    dg::ref<int> r = which == 0   ? pool.submit(same, never)
                     : which == 1 ? pool.submit(awaits, dg::unresolved(never))
                     : which == 2 ? pool.submit(one)
                                  : pool.options(dg::num_returns<1>{}).submit(makes_nothing, dg::unresolved(never))[0];
    r.cancel();
    return r;
  }
  dg::task<void> await_victim(dg::ref<int> r, way how) {
    if (how == way::co_yielding || how == way::spin)
      while (!r.ready()) co_await dg::this_task::yield();
    try {
      co_await r;
    } catch (const dg::cancelled_error&) {
    }
  }

  // --- taking ---

  void take_fixed(index s, way how) {
    dg::ref<item>& next = m_.stream(s).refs[m_.stream(s).taken];
    switch (how) {
      case way::next_for:
        while (!next.wait_for(500us)) continue;
        break;
      case way::any_then_next: static_cast<void>(dg::wait_any(m_.never(), next)); break;
      case way::try_next:
        while (!next.ready()) std::this_thread::yield();
        break;
      case way::dependent:
        if (m_.pool_of(x_).submit(position, next).get() != m_.stream(s).taken) m_.wrong("a task was given another value");
        break;
      default: break;
    }
    take_one_fixed(s, next, how);
  }
  void take_one_fixed(index s, dg::ref<item>& next, way how) {
    if (how == way::next_value || how == way::async_value) return take_one(s, std::move(next).take());
    take_one(s, next.get());
    if (how == way::next_kept || how == way::async_kept) kept_.push_back(next);
  }
  dg::task<void> take_fixed_async(index s, way how) {
    dg::ref<item>& next = m_.stream(s).refs[m_.stream(s).taken];
    if (how == way::try_yielding || how == way::try_next) {
      while (!next.ready()) co_await dg::this_task::yield();
    } else if (how == way::when_any_then_next) {
      const dg::ref<int>& never = m_.never();
      static_cast<void>(co_await dg::when_any(never, next));
    } else if (how == way::co_dependent) {
      dg::ref<index> given = m_.pool_of(x_).submit(position, next);
      const index at = co_await given;
      if (at != m_.stream(s).taken) m_.wrong("a task was given another value");
    }
    static_cast<void>(co_await next);
    take_one_fixed(s, next, how);
  }

  void take_ref(index s, std::optional<dg::ref<item>> r, bool keep) {
    if (!r) return take_end(s);
    take_one(s, r->get());
    if (keep) kept_.push_back(std::move(*r));
  }
  void take_value(index s, std::optional<item> v) { v ? take_one(s, *v) : take_end(s); }

  std::optional<dg::ref<item>> next_in_time(item_stream& s) {
    for (;;) try {
        return s.next_for(500us);
      } catch (const dg::timeout_error&) {
      }
  }

  void take_here(index s, way how, index n) {
    item_stream& from = m_.stream(s).stream;
    if (m_.plan().streams[s].fixed) {
      for (; n != 0; --n) take_fixed(s, how);
      return;
    }
    if (how == way::values || how == way::range) {
      index left = n;
      if (how == way::values) {
        for (item&& v : from.values()) {
          take_one(s, v);
          if (--left == 0) return;
        }
      } else {
        for (dg::ref<item>&& r : from) {
          take_one(s, r.get());
          if (--left == 0) return;
        }
      }
      return take_end(s);
    }
    for (; n != 0; --n) {
      switch (how) {
        case way::next: take_ref(s, from.next(), false); break;
        case way::next_kept: take_ref(s, from.next(), true); break;
        case way::values_kept:
          if (iterator_) ++*iterator_;
          else iterator_.emplace(from.values().begin());
          if (*iterator_ == std::default_sentinel) return take_end(s);
          take_one(s, **iterator_);
          break;
        case way::next_for: take_ref(s, next_in_time(from), false); break;
        case way::any_then_next:
          static_cast<void>(dg::wait_any(from, m_.never()));
          take_value(s, from.next_value());
          break;
        case way::try_next: {
          std::optional<dg::ref<item>> r;
          while (!(r = from.try_next())) {
            if (from.finished()) return take_end(s);
            std::this_thread::yield();
          }
          take_ref(s, std::move(r), false);
          break;
        }
        default: take_value(s, from.next_value());
      }
    }
  }
  dg::task<void> take_async(const operation& o) {
    const index s = o.target;
    item_stream& from = m_.stream(s).stream;
    for (index n = o.count; n != 0; --n) {
      if (m_.plan().streams[s].fixed) {
        dg::task<void> step = take_fixed_async(s, o.how);
        co_await std::move(step);
        continue;
      }
      if (o.how == way::async_next || o.how == way::async_kept) {
        std::optional<dg::ref<item>> r = co_await from.async_next();
        take_ref(s, std::move(r), o.how == way::async_kept);
        continue;
      }
      if (o.how == way::try_yielding || o.how == way::try_next) {
        std::optional<dg::ref<item>> r;
        while (!(r = from.try_next())) co_await dg::this_task::yield();
        take_ref(s, std::move(r), false);
        continue;
      }
      if (o.how == way::when_any_then_next) {
        const dg::ref<int>& never = m_.never();
        static_cast<void>(co_await dg::when_any(from, never));
      }
      std::optional<item> v = co_await from.async_value();
      take_value(s, std::move(v));
    }
  }

  void drain_here(index s, way how) {
    item_stream& from = m_.stream(s).stream;
    try {
      if (how == way::values) {
        for (item&& v : from.values()) take_one(s, v);
      } else if (how == way::next || how == way::next_for) {
        while (std::optional<dg::ref<item>> r = how == way::next ? from.next() : next_in_time(from)) take_one(s, r->get());
      } else {
        while (std::optional<item> v = from.next_value()) take_one(s, *v);
      }
    } catch (const dg::cancelled_error&) {
    }
    if (!from.finished()) m_.wrong("s" + std::to_string(s) + " is not finished at its end");
  }
  dg::task<void> drain_async(const operation& o) {
    item_stream& from = m_.stream(o.target).stream;
    try {
      for (;;) {
        if (o.how == way::async_next) {
          std::optional<dg::ref<item>> r = co_await from.async_next();
          if (!r) break;
          take_one(o.target, r->get());
        } else {
          std::optional<item> v = co_await from.async_value();
          if (!v) break;
          take_one(o.target, *v);
        }
      }
    } catch (const dg::cancelled_error&) {
    }
    if (!from.finished()) m_.wrong("s" + std::to_string(o.target) + " is not finished at its end");
  }

  machine& m_;
  const index x_;
  item_stream carried_;
  std::optional<item_iterator> iterator_{};
  std::vector<dg::ref<item>> kept_{};
};

}  // namespace liveness
