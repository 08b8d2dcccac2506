// SPDX-License-Identifier: MIT
#pragma once
// A random program as data: strands (outside threads, plain tasks, coroutines, generators, methods of actors), each
// with a list of operations. All operations have a number, and an operation waits only for operations with a smaller
// number: those before it in its own strand, and those that it names. By the rules of the library, the operation with
// the smallest number that is not done can always be done (generate.cpp). So the program ends under every schedule; if
// it does not, the library has a fault.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace liveness {

using index = std::uint32_t;
inline constexpr index none = 0xffffffff;

enum class kind : std::uint8_t { thread, function, coroutine, generator, method, coroutine_method, generator_method };

constexpr bool is_generator(kind k) { return k == kind::generator || k == kind::generator_method; }
constexpr bool is_method(kind k) { return k >= kind::method; }
constexpr bool is_function(kind k) { return k == kind::function || k == kind::method; }
constexpr bool is_coroutine(kind k) { return k != kind::thread && !is_function(k); }

enum class deed : std::uint8_t {
  begin,    ///< a stream that came as an argument: moves it to its place
  mark,     ///< computes for a moment
  await,    ///< until operation `target` is done
  submit,   ///< strand `target`; moves stream `other` into its arguments
  take,     ///< `count` values of stream `target`
  drain,    ///< takes stream `target` to its end
  leave,    ///< destroys the iterator that an earlier `take` has kept
  move,     ///< moves stream `target` to another object and back
  offer,    ///< moves stream `target` into a promise
  accept,   ///< moves it out of the promise's ref
  drop,     ///< destroys stream `target`
  detach,
  cancel,
  victim,   ///< submits a task that never becomes ready or is only queued, cancels it, and waits for its end
  yield,    ///< `count` values; done before the last one is stored
  join,     ///< waits for the result of strand `target`
  look,     ///< describe, dump, stats
  finish    ///< the last operation of its strand
};

/// How an operation waits.
enum class way : std::uint8_t {
  // Ways of await. The library does not see the first five; it sees the others.
  flag, latch, condition, spin, sleep,
  get, get_for, wait_for, wait_any, wait_list, dependent, resubmit,
  co_get, co_when_any, co_when_all, co_yielding, co_dependent, co_resubmit,
  // Ways of take, drain, join, accept and victim, beside some of those above.
  next, next_kept, next_value, values, values_kept, range, next_for, any_then_next, try_next,
  async_next, async_kept, async_value, try_yielding, when_any_then_next,
  nothing
};

/// What a way to wait requires of the thread that runs it.
enum class need : std::uint8_t { nothing, seen, unseen, suspension };
constexpr need need_of(way w) {
  if (w <= way::sleep || w == way::try_next) return need::unseen;
  if (w <= way::resubmit || (w >= way::next && w < way::try_next)) return need::seen;
  return w == way::nothing ? need::nothing : need::suspension;
}

/// What a generator does after its last operation.
enum class tail : std::uint8_t { end, endless, never, relay };

struct operation {
  deed what = deed::mark;
  way how = way::nothing;
  bool seen = false;     ///< the library must see the wait: the awaited operation needs the credits that it returns
  index event = none;    ///< its number
  index target = none;
  index other = none;
  index count = 0;
};

struct strand_plan {
  kind what = kind::thread;
  index pool = 0;
  index actor = none;
  index stream = none;   ///< that a generator makes
  index throws_at = none;  ///< index of the operation before which its first attempt throws
  tail then = tail::end;
  std::vector<operation> operations{};
};

struct stream_plan {
  index producer = none;
  index room = 0;        ///< 0: unbounded
  bool budgeted = false;
  bool fixed = false;    ///< submitted with num_returns, not as a stream: a ref for each value
  bool heavy = false;    ///< its values own memory
  index cost = 0;        ///< steps of computation before each value
};

struct program {
  std::uint64_t seed = 0;
  unsigned threads = 1, spares = 64;
  bool helps = true;
  std::vector<index> actors{};  ///< the pool of each
  std::vector<strand_plan> strands{};
  std::vector<stream_plan> streams{};
  index pools = 1, events = 0, sitters = 0, closing = 0;
  index budget = 1;
};

struct settings {
  unsigned threads = 0, spares = none;  ///< 0, none: drawn
  bool no_help = false;
  bool no_full_room = false;  ///< operations rely only on what is certain whatever a consumer does
  index strands = 14, steps = 120;
  std::uint64_t without = 0;  ///< a bit for each `way` that is left out
};

program generate(std::uint64_t seed, const settings& s);

/// The program as text. If `at` is given, the current operation of each strand and all open operations are marked.
std::string text_of(const program& p, const std::vector<index>* at = nullptr, const std::vector<bool>* done = nullptr);
const char* name_of(way w);

}  // namespace liveness
