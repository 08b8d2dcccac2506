// SPDX-License-Identifier: MIT
#pragma once
// What describe() and dump() read of a task (inspector.hpp): numbers, and counted pointers to what the task waits for.
// Taking a snapshot does not allocate; describe_text.hpp turns it into words later.

#include <dyngen/detail/base/intrusive_ptr.hpp>
#include <dyngen/detail/value/shared_state.hpp>

#include <cstdint>
#include <string_view>

namespace dyngen::detail {

struct task_snapshot {
  /// Something awaited: the value of `from` with that number, or one of the constants of wait_point.
  struct awaited_item {
    intrusive_ptr<shared_state> from;
    std::int64_t value = wait_point::the_end;
  };
  /// Why a call does not have its actor's turn: the calls in `awaited_items` have the turn, are in progress, or come
  /// first.
  enum class before_it : unsigned char { nothing, has_the_turn, is_in_progress, comes_first };

  bool is_task = false;
  std::uint32_t word = 0;  ///< its state word
  std::uint64_t attempt = 1;

  static constexpr unsigned most = 8;
  /// What it waits for (for its turn: the calls before it), the first `most` of them.
  awaited_item awaited_items[most];
  unsigned count = 0;       ///< how many there are, which may exceed `most`
  std::int64_t needed = 0;  ///< how many of them must become ready
  bool awaits = false;      ///< its coroutine has suspended for them
  bool blocks = false;      ///< its thread is blocked in a wait for them
  bool helps = false;       ///< its thread runs the first of them itself

  bool is_stream = false;
  std::uint64_t untaken = 0;  ///< values of a stream that are stored and not consumed
  std::uint64_t budget_used = 0;
  std::uint64_t budget_limit = 0;  ///< limit of the budget for which it waits; 0: it waits for none

  std::string_view actor;  ///< the name of its actor; lives as long as the task
  bool is_actor = false;   ///< it is the end of its actor, and waits until the last handle is dropped
  before_it reason = before_it::nothing;

  void add(shared_state& from, std::int64_t value) noexcept {
    if (count < most) awaited_items[count] = {intrusive_ptr(from), value};
    ++count;
  }
};

}  // namespace dyngen::detail
