// SPDX-License-Identifier: MIT
// A producer with a window of several values, and a reader that takes several values in a row. The producer looks at one
// word after each value, the reader at one: a thread that waits for a value, or that gives back the reader's credits,
// changes that word, at any moment.

#include "streams.hpp"

using namespace dyngen;
using small = model::value<>;

namespace {

constexpr int most_values = 40;

/// What the code of a stream and its reader share.
struct meeting {
  unsigned destroyed[most_values] = {};
  model::event read[most_values];  ///< the reader has value i
  model::event passed;             ///< set before the last value
};

/// After value i, below `waits`, the code waits, unseen by the library, until the reader has that value.
generator<small> meets(meeting* m, int values, int waits) {
  for (int i = 0; i != values; ++i) {
    if (i == values - 1) m->passed.set();
    co_yield emplace(i, &m->destroyed[i]);
    if (i < waits) m->read[i].wait();
  }
}

/// Values without a destructor, which a reader takes in a row.
generator<int> counts(meeting* m, int values) {
  for (int i = 0; i != values; ++i) {
    if (i == values - 1) m->passed.set();
    co_yield i;
  }
}

template <class Model, unsigned Others>
struct window_model : model::tasks_model<Model, 1, Others> {
  meeting shared;
  std::optional<ref_stream<small>> stream;

  /// The values are cheap or expensive: the producer's commits are without a fence, or with one.
  void start(std::uint64_t room, int values, int waits) {
    detail::pulling_mode.store(rl::rand(2) == 0 ? detail::pulling::not_at_all : detail::pulling::by_cost);
    stream.emplace(this->on_workers().options(backpressure{room}).submit(meets, &shared, values, waits));
  }
  void all_destroyed(int values) {
    for (int i = 0; i != values; ++i) MODEL_CHECK(shared.destroyed[i] == 1);
  }
};

/// The reader sleeps until a value is there, which the producer stores in the middle of its window.
template <int Values, bool InRow>
struct reader_is_woken : window_model<reader_is_woken<Values, InRow>, 1> {
  void begin() { this->start(4, Values, Values); }
  void other(unsigned) {
    int expected = 0;
    if (InRow) {
      for (small&& each : this->stream->values()) {
        MODEL_CHECK(each.number() == expected);
        this->shared.read[expected++].set();
      }
    } else {
      while (const std::optional<ref<small>> next = this->stream->next()) {
        MODEL_CHECK(next->get().number() == expected);
        this->shared.read[expected++].set();
      }
    }
    MODEL_CHECK(expected == Values);
    this->stream.reset();
  }
  void end() { this->all_destroyed(Values); }
};

/// The reader takes `Taken` values in a row, and then waits, unseen by the library, for what the code does before its
/// last value. The monitor gives back the credits that the reader owes, at any moment [K4].
template <int Taken>
struct owes_room_in_a_row : model::tasks_model<owes_room_in_a_row<Taken>, 1, 2> {
  static constexpr int room = 17;  // the smallest capacity whose credits are returned half at a time
  static constexpr int values = room + Taken;  // behind the last but one, the code runs when all credits are given back
  meeting shared;
  std::optional<ref_stream<int>> stream;
  model::event over;

  void begin() {
    detail::pulling_mode.store(detail::pulling::not_at_all);
    stream.emplace(this->on_workers().options(backpressure{room}).submit(counts, &shared, values));
  }
  void other(unsigned number) {
    if (number == 1) return this->executor->watch_until(over);
    int expected = 0;
    for (const int each : stream->values()) {
      MODEL_CHECK(each == expected++);
      if (expected == Taken) shared.passed.wait();
    }
    MODEL_CHECK(expected == values);
    over.set();
    stream.reset();
  }
};

/// The constructor of a value throws, and the code goes on. The value would have been the first in a block that is used
/// again, behind one at a higher address.
struct throws_in_a_used_block : window_model<throws_in_a_used_block, 1> {
  static constexpr int room = 4, block = 8, values = 4 * block;

  static generator<small> goes_on(meeting* m) {
    for (int i = 0; i != values; ++i) {
      if (i != 0 && i % block == 0) {
        try {
          co_yield emplace(model::not_built());
        } catch (int) {
        }
      }
      co_yield emplace(i, &m->destroyed[i]);
    }
  }
  void begin() { stream.emplace(on_workers().options(backpressure{room}).submit(goes_on, &shared)); }
  void other(unsigned) {
    int expected = 0;
    for (small&& each : stream->values()) MODEL_CHECK(each.number() == expected++);
    MODEL_CHECK(expected == values);
    stream.reset();
  }
  void end() { all_destroyed(values); }
};

/// Another thread cancels the task while its producer fills a window; the reader reads what there is.
struct cancelled_in_a_window : window_model<cancelled_in_a_window, 2> {
  static constexpr int values = 6;
  std::optional<ref<void>> completion;
  void begin() {
    start(16, values, 0);
    completion.emplace(stream->completion());
  }
  void other(unsigned number) {
    if (number == 1) return void(std::exchange(completion, std::nullopt)->cancel());
    int expected = 0;
    try {
      for (small&& each : stream->values()) MODEL_CHECK(each.number() == expected++);
    } catch (const cancelled_error&) {
    }
    for (int i = 0; i != values; ++i) MODEL_CHECK(shared.destroyed[i] == (i < expected ? 1u : 0u));
    stream.reset();
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<reader_is_woken<1, false>>("a reader is woken", 1);
  run.random<reader_is_woken<2, false>>("a reader is woken", 30);
  run.random<reader_is_woken<3, true>>("a reader is woken, in a row", 30);
  run.random<owes_room_in_a_row<2>>("owes room for two", 100);
  run.random<owes_room_in_a_row<3>>("owes room for three", 30);
  run.random<throws_in_a_used_block>("a constructor throws in a block that is used again", 20);
  run.random<cancelled_in_a_window>("cancelled in a window", 30);
  return run.finish();
}
