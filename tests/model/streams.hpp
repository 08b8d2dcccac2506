// SPDX-License-Identifier: MIT
#pragma once
// What the models of streams share: a generator with a given behaviour, on a worker of the model, and its stream.

#include "executors.hpp"

#include <dyngen/detail/results/production_cost.hpp>

#include <array>

namespace dyngen::model {

/// One value in each block: a block is freed as soon as its value is destroyed.
using large_value = value<2500>;

/// The behaviour of a task.
struct script {
  unsigned values = 0;
  unsigned* destroyed = nullptr;  ///< how often, for each value
  bool throws = false;            ///< after the last value
  bool value_throws = false;      ///< the constructor of the value after the last
  event* passed = nullptr;        ///< set before value 1
  shared<int>* in_the_code = nullptr;
  bool* is_alive = nullptr;
};

inline generator<large_value> follow(script s) {
  struct local {
    explicit local(bool& a) : alive(a) { MODEL_CHECK(!std::exchange(alive, true)); }
    local(const local&) = delete;
    ~local() { MODEL_CHECK(std::exchange(alive, false)); }
    bool& alive;
  };
  const local here(*s.is_alive);
  for (unsigned i = 0; i != s.values; ++i) {
    if (i == 1) {
      s.passed->set();
      // It proves expensive; its producer publishes that when it runs the next time.
      if (detail::pulling_mode.load() == detail::pulling::by_cost) detail::pulling_mode.store(detail::pulling::not_at_all);
    }
    s.in_the_code->set(static_cast<int>(i));
    co_yield emplace(static_cast<int>(i), &s.destroyed[i]);
  }
  s.in_the_code->set(-1);
  if (s.value_throws) co_yield emplace(not_built{});
  if (s.throws) throw 0;
}

/// A stream of `Values` values.
template <class Model, unsigned Others, unsigned Values, unsigned Workers = 1>
struct stream_model : tasks_model<Model, Workers, Others> {
  std::array<unsigned, Values> destroyed{};
  bool is_alive = false;
  shared<int> in_the_code;
  event passed;
  std::optional<ref_stream<large_value>> stream;

  void before() {
    detail::pulling_mode.store(rl::rand(2) == 0 ? detail::pulling::not_at_all : detail::pulling::by_cost);
    tasks_model<Model, Workers, Others>::before();
  }
  script told(bool throws = false, bool value_throws = false) {
    return {Values, destroyed.data(), throws, value_throws, &passed, &in_the_code, &is_alive};
  }
  void start(unsigned backpressure, bool throws = false, bool value_throws = false) {
    stream.emplace(this->on_workers().options(dyngen::backpressure{backpressure}).submit(follow, told(throws, value_throws)));
  }

  /// Takes at most `count` values, of which the first is number `first`; returns how many there were.
  unsigned take(ref_stream<large_value>& from, unsigned count, unsigned first = 0) {
    for (unsigned i = 0; i != count; ++i) {
      const std::optional<ref<large_value>> item = from.next();
      if (!item || item->failed()) return i;
      MODEL_CHECK(item->get().number() == static_cast<int>(first + i));
    }
    return count;
  }

  /// Checks that all values were made, and are destroyed.
  void end() {
    stream.reset();
    for (const unsigned times : destroyed) MODEL_CHECK(times == 1);
    check_over(0);
  }
  /// Checks that at least the first `taken` values were made, and that all are destroyed. Up to `reported` exceptions
  /// were reported.
  void end_early(unsigned taken, unsigned reported) {
    stream.reset();
    for (unsigned i = 0; i != Values; ++i) MODEL_CHECK(destroyed[i] <= 1 && (i >= taken || destroyed[i] == 1));
    check_over(reported);
  }

 private:
  void check_over(unsigned reported) { MODEL_CHECK(!is_alive && this->executor->reported <= reported); }
};

}  // namespace dyngen::model
