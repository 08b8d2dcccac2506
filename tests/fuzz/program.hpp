// SPDX-License-Identifier: MIT
#pragma once
// A random program as data: tasks, the handles on them, and a sequence of operations, each done by one of a few clients
// (threads). Client 0 is the thread that runs the program. Operations of different clients overlap; but an operation may
// block only for effects of operations before it in the sequence. So every program ends under every schedule: the first
// operation in the sequence that is not done can always be done.

#include "choices.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace fuzz {

using index = std::uint16_t;
inline constexpr index none = 0xffff;

/// Kinds of values: copyable; move-only and large; without a destructor; no value at all.
enum class kind : std::uint8_t { counted, unique, number, nothing };

/// What is submitted, and with which options. One of them, with one kind and one input, is one instantiation.
enum class form : std::uint8_t {
  stream, stream_room, stream_unbounded, stream_budget, stream_retry, stream_budget_retry, stream_stop,
  list, list_whole, list_retry, list_whole_retry,
  fixed, fixed_whole, fixed_retry, fixed_whole_retry, fixed_three,
  container_stream, container_list, container_fixed,
  tuple, tuple_whole, tuple_retry, tuple_plain,
  function, function_retry, function_stop, task, task_retry, task_stop,
  promised, put
};

constexpr bool is_stream(form f) { return f <= form::stream_stop || f == form::container_stream; }
constexpr bool is_list(form f) { return (f >= form::list && f <= form::list_whole_retry) || f == form::container_list; }
constexpr bool is_fixed(form f) { return (f >= form::fixed && f <= form::fixed_three) || f == form::container_fixed; }
constexpr bool is_tuple(form f) { return f >= form::tuple && f <= form::tuple_plain; }
constexpr bool is_one(form f) { return f >= form::function && f <= form::task_stop; }
constexpr bool is_container(form f) { return f >= form::container_stream && f <= form::container_fixed; }
constexpr bool has_arity(form f) { return is_fixed(f) || is_tuple(f); }
constexpr bool is_whole(form f) {
  return f == form::list_whole || f == form::list_whole_retry || f == form::fixed_whole || f == form::fixed_whole_retry ||
         f == form::tuple_whole;
}
constexpr bool retries(form f) {
  return f == form::stream_retry || f == form::stream_budget_retry || f == form::list_retry || f == form::list_whole_retry ||
         f == form::fixed_retry || f == form::fixed_whole_retry || f == form::tuple_retry || f == form::function_retry ||
         f == form::task_retry;
}
constexpr bool is_budgeted(form f) { return f == form::stream_budget || f == form::stream_budget_retry; }
constexpr bool has_stop(form f) { return f == form::stream_stop || f == form::function_stop || f == form::task_stop; }
/// Whether its code is a coroutine of the program, which may co_await.
constexpr bool may_await(form f) {
  return (f <= form::fixed_three) || f == form::task || f == form::task_retry || f == form::task_stop;
}

/// The argument of the task beside its script.
enum class input : std::uint8_t { nothing, resolved, two, consumed, unresolved, event, stream, list };

enum class place : std::uint8_t { pool, second_pool, lone, in_line, manual, actor };

/// A value of a task; `whole`: its completion.
struct target {
  index task = none;
  std::uint32_t at = 0;
  bool known_ready = false;  ///< at the time of use; `at` may then be too high, by items that a poll did not find
};
inline constexpr std::uint32_t whole = 0xffffffff;

/// What a task's code does inside, before value `at` of each attempt.
enum class deed : std::uint8_t { await, await_moved, await_all, await_any, get, glance, yield, child, child_stream };
struct step {
  deed what = deed::yield;
  std::uint8_t first = 0;  ///< of `held`
  std::uint8_t count = 0;
  bool rethrow = false;    ///< a failure met there is the task's
  std::uint32_t at = 0;
  index child = none;
};

/// One run of a task's code: how many values it yields, and whether it throws after them.
struct attempt {
  std::uint32_t length = 1;
  bool throws = false;
  bool in_construction = false;  ///< the construction of one further value throws
};

inline constexpr unsigned max_attempts = 3;
inline constexpr unsigned max_steps = 3;
inline constexpr unsigned max_held = 3;

struct task_plan {
  form what = form::function;
  kind of = kind::counted;
  input given = input::nothing;
  place where = place::pool;
  index actor = none;
  index actor_slot = none;
  std::uint32_t count = 1;   ///< num_returns
  std::uint32_t room = 64;   ///< backpressure
  std::uint8_t budget = 0;
  std::uint8_t max_retries = 0;
  std::uint8_t accepted = 0xff;  ///< bit a: retry_if accepts what attempt a throws
  bool drains = false;           ///< given a stream: reads it to its end, not only as far as it yields itself
  std::array<attempt, max_attempts> attempts{};
  std::array<std::uint8_t, 6> order{};  ///< of a tuple_generator: types yielded
  std::uint8_t steps = 0;
  std::uint8_t held = 0;
  std::array<step, max_steps> step_at{};
  std::array<index, max_held> held_slots{};
  std::array<target, max_held> held_targets{};
  std::array<index, 2> in_slots{none, none};
  std::array<target, 2> in_targets{};
  index after_slot = none;
  target after_target{};
  index first_slot = none;  ///< of the handles that submit returns
  std::uint16_t slots = 0;
  bool is_child = false;
};

enum class verb : std::uint8_t {
  submit, take, read, give_up, copy, drop, open, pick, scan, cancel, stop, detach, completion, wait_some, wait_any, get_all,
  make_promise, fulfil, fail, run_manual, make_actor, kill, shutdown, destroy, stats, hand, local, probe
};

// How take, read, give_up, cancel and others are done: see interpreter.cpp.
enum class taking : std::uint8_t { next, next_value, next_for, try_once, poll, values, iterate, own_values };
enum class reading : std::uint8_t { get, get_for, wait, glance, error, poll, identity, wait_until };
enum class giving : std::uint8_t { get, take, get_for };

enum class expect : std::uint8_t { either, yes, no };

struct op {
  verb what = verb::probe;
  std::uint8_t client = 0;
  std::uint8_t how = 0;
  expect must = expect::either;
  bool keep = false;
  std::uint8_t listed = 0;
  index slot = none;
  index other = none;  ///< the first slot for results
  index task = none;
  std::uint32_t n = 0;
  std::array<index, 4> list{};
  std::uint32_t first_need = 0;  ///< in program::needs
  std::uint32_t needs = 0;
};

/// A slot that was handed from client to client: used only after the `turn`-th time.
struct need {
  index slot;
  std::uint16_t turn;
};

struct pool_plan {
  std::uint8_t threads = 1;
  bool helps = true;
  bool own = false;  ///< made for this program; else one that programs share
  std::uint8_t spares = 64;
};

struct actor_plan {
  bool throws = false;  ///< its constructor
  std::uint8_t limit = 1;
  place on = place::pool;
  std::uint8_t maker = 0;
  bool shared = false;  ///< called by several clients
};

struct program {
  std::uint64_t seed = 0;
  bool by_hand = false;  ///< nothing but manual and inline executors, one client: everything is certain
  std::uint8_t clients = 1;
  std::uint8_t pool_count = 1;
  bool pools_first = false;  ///< at the end, its own pools are destroyed before the handles
  std::array<pool_plan, 2> pools{};
  std::array<std::uint32_t, 2> budgets{1, 1};
  std::vector<task_plan> tasks;
  std::vector<actor_plan> actors;
  std::vector<op> ops;
  std::vector<need> needs;
  std::uint32_t slots = 0;
};

/// Generates a program with at most `threads` clients, and at most as many workers in a pool.
program generate(choice_source& choices, unsigned threads);

/// The program as text, one line for each operation. `current`: the current operation of each client.
std::string text_of(const program& p, const std::vector<std::uint32_t>* current = nullptr);

}  // namespace fuzz
