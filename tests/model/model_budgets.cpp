// SPDX-License-Identifier: MIT
// Streams that share a budget: their producers are charged and wait in turn, their consumers take values in any order
// or drop the stream, and tasks are cancelled while one of their values waits. No producer waits for ever, at most the
// limit and one value for each stream are in flight, and each charge is returned.

#include "executors.hpp"

using namespace dyngen;
using model::movable;

namespace {

/// Two streams of two values each share a budget for one value.
template <class Model, unsigned Workers, unsigned Others>
struct budget_model : model::tasks_model<Model, Workers, Others> {
  static constexpr int values = 2;
  std::optional<budget> shared;
  std::optional<ref_stream<movable>> streams[2];
  model::shared<int> in_the_code[2];
  detail::atomic<int> in_flight{0};

  void begin() {
    shared.emplace(1);
    for (int i = 0; i != 2; ++i) streams[i].emplace(submit(i));
  }
  ref_stream<movable> submit(int number) {
    auto count = [](budget_model* m, int self) -> generator<movable> {
      for (int i = 0; i != values; ++i) {
        m->in_the_code[self].set(i);
        co_yield movable(10 + i);
      }
    };
    auto cost = [this](const movable&) {
      // The limit, one value for each stream, and the values that are built and wait to be charged.
      MODEL_CHECK(in_flight.fetch_add(1, detail::relaxed) < 5);
      return 1;
    };
    return this->on_workers().options(backpressure_by(*shared, cost)).submit(count, this, number);
  }
  bool take(ref_stream<movable>& from, int expected) {
    const std::optional<ref<movable>> item = from.next();
    if (!item || item->failed()) return false;
    in_flight.fetch_sub(1, detail::relaxed);
    MODEL_CHECK(item->get().number() == 10 + expected);
    return true;
  }
  void end() {
    for (auto& each : streams) each.reset();
    MODEL_CHECK(shared->used() == 0);
    shared.reset();
  }
};

/// Each stream has its own consumer.
template <unsigned Workers>
struct drained_by_two : budget_model<drained_by_two<Workers>, Workers, 2> {
  void other(unsigned number) {
    ref_stream<movable> mine = std::move(*this->streams[number]);
    for (int i = 0; i != this->values; ++i) MODEL_CHECK(this->take(mine, i));
    MODEL_CHECK(!mine.next());
  }
};

/// One consumer drains one stream after the other.
struct drained_in_turn : budget_model<drained_in_turn, 1, 1> {
  void other(unsigned) {
    for (const int number : {1, 0})
      for (int i = 0; i != values; ++i) MODEL_CHECK(take(*streams[number], i));
  }
};

/// One consumer takes a value and drops or detaches the stream; the other takes all values.
template <bool Detached>
struct dropped : budget_model<dropped<Detached>, 1, 2> {
  void other(unsigned number) {
    ref_stream<movable> mine = std::move(*this->streams[number]);
    for (int i = 0; i != (number == 0 ? 1 : this->values); ++i) MODEL_CHECK(this->take(mine, i));
    if (number == 0 && Detached) mine.detach();
  }
};

/// A third thread cancels one of the tasks, perhaps while its value waits to be charged.
struct cancelled : budget_model<cancelled, 1, 3> {
  std::optional<ref<void>> first;

  void begin() {
    budget_model::begin();
    first.emplace(streams[0]->completion());
  }
  void other(unsigned number) {
    if (number == 2) return (void)first->cancel();
    ref_stream<movable> mine = std::move(*streams[number]);
    for (int i = 0; i != values; ++i)
      if (!take(mine, i)) MODEL_CHECK(number == 0);
  }
  void end() {
    first.reset();
    budget_model::end();
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.random<drained_by_two<1>>("drained by two", 20);
  run.random<drained_by_two<2>>("drained by two, two workers", 20);
  run.random<drained_in_turn>("drained in turn", 20);
  run.random<dropped<false>>("one is dropped", 20);
  run.random<dropped<true>>("one is detached", 20);
  run.random<cancelled>("one is cancelled", 20);
  return run.finish();
}
