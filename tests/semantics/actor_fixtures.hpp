// SPDX-License-Identifier: MIT
#pragma once
// What the tests of actors share: two actors that detect two threads inside, and functions that check how a call has
// ended.

#include "probes.hpp"

#include <atomic>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// Detects two threads inside at once.
class alone {
 public:
  explicit alone(std::atomic<int>& inside) : inside_(inside) {
    if (++inside_ != 1) overlapped = true;
  }
  alone(const alone&) = delete;
  alone& operator=(const alone&) = delete;
  ~alone() { --inside_; }
  static inline std::atomic<bool> overlapped{false};

 private:
  std::atomic<int>& inside_;
};

/// An actor with a number and a text, and with methods of every kind. Counts its live instances.
struct account {
  static inline std::atomic<int> alive{0};
  std::string log;
  int value = 0;
  std::atomic<int> inside{0};

  account() { ++alive; }
  explicit account(int start) : value(start) {
    if (start < 0) throw boom("below zero");
    ++alive;
  }
  account(const std::string& text, const int& added) : log(text), value(added) { ++alive; }
  ~account() { --alive; }

  int add(int n) {
    alone here(inside);
    return value += n;
  }
  int get() const { return value; }
  void note(const std::string& text) { log += text; }
  std::string text() const { return log; }
  void fails() { throw boom("method"); }
  std::pair<int, std::string> both() { return {value, log}; }
  std::vector<int> some(int n) { return std::vector<int>(static_cast<std::size_t>(n), value); }
  dg::generator<int> count(int n) {
    for (int i = 0; i < n; ++i) {
      alone here(inside);
      co_yield ++value;
    }
  }
  dg::tuple_generator<int, std::string> two() {
    co_yield value;
    co_yield log;
  }
  dg::task<int> awaits(dg::ref<int> r) {
    log += "<";
    value += co_await r;
    log += ">";
    co_return value;
  }
};

/// The message of the exception that is nested in an actor_died.
inline std::string nested_message(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const dg::actor_died& died) {
    try {
      std::rethrow_if_nested(died);
    } catch (const std::exception& inner) {
      return inner.what();
    }
    return "nothing nested";
  } catch (...) {
  }
  return "not actor_died";
}

/// Records its calls in order, detects two threads inside, and counts its live instances.
class recorder {
 public:
  static inline std::atomic<int> alive{0};
  static inline std::atomic<bool> overlapped{false};

  recorder() { ++alive; }
  ~recorder() { --alive; }
  recorder(const recorder&) = delete;
  recorder& operator=(const recorder&) = delete;

  /// Occupies the actor for a moment.
  class here {
   public:
    explicit here(recorder& r) : inside_(r.inside_) {
      if (++inside_ != 1) overlapped = true;
    }
    here(const here&) = delete;
    here& operator=(const here&) = delete;
    ~here() { --inside_; }

   private:
    std::atomic<int>& inside_;
  };

  void note(const std::string& what) {
    const here only(*this);
    log += what;
  }
  std::string text() const { return log; }
  int add(int n) {
    const here only(*this);
    return sum += n;
  }
  dg::task<int> awaits(dg::ref<int> r, std::string before, std::string after) {
    note(before);
    const int v = co_await r;
    note(after);
    co_return v;
  }
  dg::task<int> spins() {
    int n = 0;
    while (!flag) {
      { const here only(*this); }
      ++n;
      co_await dg::this_task::yield();
    }
    co_return n;
  }
  void raise() { flag = true; }
  dg::generator<int> count(int n) {
    const witness frame(frames);
    for (int i = 0; i < n; ++i) {
      const int v = add(1);
      co_yield v;
    }
  }

  std::string log;
  int sum = 0;
  bool flag = false;
  std::atomic<int> frames{0};

 private:
  std::atomic<int> inside_{0};
};

/// Whether `e` is an actor_died.
inline bool actor_is_dead(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const dg::actor_died&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace support
