// SPDX-License-Identifier: MIT
// Whole tasks, submitted as users do: several threads wait for them and help, cancel them, fulfil what they depend on,
// copy and drop their values; the tasks fail, and are retried. In every order of events each ref becomes ready with a
// result that fits them, one thread at a time runs the code of a task, and nothing leaks.

#include "executors.hpp"

using namespace dyngen;
using model::movable;

namespace {

/// The code of a task touches this: two threads in it at once are a data race.
struct body {
  model::shared<int> steps;
  body() { steps.set(0); }
  void step() { steps.set(steps.get() + 1); }
};

/// A generator of the numbers from 10 on.
generator<movable> count_up(body& b, int values) {
  for (int i = 0; i != values; ++i) {
    b.step();
    co_yield movable(10 + i);
  }
  b.step();
}

/// Both threads may claim the queued task, run it up to the value they want, and leave it to the worker [L-3][L-6].
template <unsigned Workers, bool Cancelled>
struct helped : model::tasks_model<helped<Workers, Cancelled>, Workers, Cancelled ? 3 : 2> {
  body code;
  std::optional<std::array<ref<movable>, 2>> values;
  std::optional<ref<void>> end_of_it;

  void begin() {
    this->executor.emplace(true);
    values.emplace(this->on_workers().options(num_returns<2>{}).submit(count_up, std::ref(code), 2));
    end_of_it.emplace((*values)[0].completion());
  }
  void other(unsigned number) {
    if (number == 2) return (void)end_of_it->cancel();
    const ref<movable> mine = std::move((*values)[number]);
    mine.wait();
    if (Cancelled && mine.failed())
      MODEL_CHECK(model::was_cancelled(mine));
    else
      MODEL_CHECK(mine.get().number() == 10 + static_cast<int>(number));
  }
  void end() { values.reset(), end_of_it.reset(); }
};

/// A cancel races with the end of the task: one of the two wins, and a thread that has seen the result cannot cancel it
/// any more [S-CANCEL-4].
struct cancelled_at_its_end : model::tasks_model<cancelled_at_its_end, 1, 2> {
  model::shared<int> result;
  std::optional<ref<int>> value;
  std::optional<ref<int>> second;

  void begin() {
    value.emplace(on_workers().submit([this] {
      result.set(1);
      return 7;
    }));
    second.emplace(*value);
  }
  void other(unsigned number) {
    ref<int> mine = std::move(number == 0 ? *value : *second);
    if (number == 1) {
      mine.wait();
      MODEL_CHECK(!mine.cancel());
      MODEL_CHECK(mine.completion().ready());
    } else if (!mine.cancel()) {
      MODEL_CHECK(mine.get() == 7);
    }
    mine.wait();
    if (mine.failed())
      MODEL_CHECK(model::was_cancelled(mine));
    else
      MODEL_CHECK(mine.get() == 7 && result.get() == 1);
  }
  void end() { value.reset(), second.reset(); }
};

/// A cancel races with an exception that leaves the task: cancel() says whether it came in time [S-CANCEL-6].
struct cancelled_as_it_throws : model::tasks_model<cancelled_as_it_throws, 1, 2> {
  std::optional<ref<int>> value;
  std::optional<ref<int>> second;

  void begin() {
    value.emplace(on_workers().submit([]() -> int { throw 1; }));
    second.emplace(*value);
  }
  void other(unsigned number) {
    ref<int> mine = std::move(number == 0 ? *value : *second);
    if (number == 1) {
      mine.wait();
      MODEL_CHECK(!mine.cancel());
    } else {
      const bool in_time = mine.cancel();
      mine.wait();
      MODEL_CHECK(model::was_cancelled(mine) == in_time);
    }
  }
  void end() { value.reset(), second.reset(); }
};

enum class carrier { copy, completion, dependent, completion_of_a_value };

/// A task fails while the last two handles on its failure are dropped. It is reported once, unless one of their owners
/// reads it [S-ERR-9].
template <carrier Second, bool Looks>
struct unseen_failure : model::tasks_model<unseen_failure<Second, Looks>, 1, 2> {
  std::optional<ref<int>> first;
  std::optional<ref<int>> second;
  std::optional<ref<void>> end_of_it;

  void begin() {
    if constexpr (Second == carrier::completion_of_a_value) {
      auto both = this->on_workers().options(num_returns<2>{}).submit([]() -> generator<int> {
        co_yield 1;
        throw 1;
      });
      first.emplace(std::move(both[1]));
      second.emplace(std::move(both[0]));
      return;
    }
    first.emplace(this->on_workers().submit([]() -> int { throw 1; }));
    if (Second == carrier::copy) second.emplace(*first);
    if (Second == carrier::completion) end_of_it.emplace(first->completion());
    if (Second == carrier::dependent) second.emplace(this->on_workers().submit([](int n) { return n; }, *first));
  }
  void other(unsigned number) {
    if (number == 0) return first.reset();
    if (Second == carrier::completion_of_a_value) {
      end_of_it.emplace(second->completion());
      if (Looks) end_of_it->wait();
    }
    if (Looks) MODEL_CHECK((Second == carrier::copy || Second == carrier::dependent ? second->error() : end_of_it->error()) != nullptr);
    second.reset();
    end_of_it.reset();
  }
  void end() {
    // Asked for after the failure was reported, a completion still shows it.
    const bool once = this->executor->reported == (Looks ? 0u : 1u);
    MODEL_CHECK(once || (Looks && Second == carrier::completion_of_a_value && this->executor->reported == 1));
  }
};

/// A cancel races with a retry: one more attempt runs, or none, after the locals of the failed one are destroyed
/// [L-19]. With `Handshake` the first attempt fails only when it was cancelled: there must be no second.
template <bool Handshake>
struct cancelled_while_it_retries : model::tasks_model<cancelled_while_it_retries<Handshake>, 1, 2> {
  struct local {
    explicit local(int& n) : alive(n) { ++alive; }
    ~local() { --alive; }
    int& alive;
  };

  model::shared<int> attempts;
  int alive = 0;
  model::event was_asked;
  std::optional<ref<movable>> values[2];

  void begin() {
    attempts.set(0);
    auto code = [](cancelled_while_it_retries* m) -> generator<movable> {
      const local here(m->alive);
      m->attempts.set(m->attempts.get() + 1);
      const int attempt = m->attempts.get();
      co_yield movable(10);
      if (attempt == 1) {
        if (Handshake) m->was_asked.wait();
        throw 1;
      }
      co_yield movable(11);
    };
    auto accept = [this](const std::exception_ptr&) {
      MODEL_CHECK(alive == 0);
      return true;
    };
    std::array<ref<movable>, 2> both =
        this->on_workers().options(num_returns<2>{}, max_retries{1}, retry_if(accept)).submit(code, this);
    for (int i = 0; i != 2; ++i) values[i].emplace(std::move(both[i]));
  }
  void other(unsigned number) {
    const ref<movable> mine = std::move(*values[number]);
    if (number == 1) {
      if (Handshake) mine.completion().cancel(), was_asked.set();
      mine.wait();
      MODEL_CHECK(mine.failed() || (!Handshake && mine.get().number() == 11));
      return;
    }
    if (!Handshake) mine.cancel();
    mine.wait();
    MODEL_CHECK(mine.failed() || mine.get().number() == 10);
  }
  void end() {
    for (auto& each : values) each.reset();
    MODEL_CHECK(alive == 0 && attempts.get() <= (Handshake ? 1 : 2));
  }
};

/// The values of the first attempt stay while the second one runs; the reader sees every value once.
struct read_while_it_retries : model::tasks_model<read_while_it_retries, 1, 1> {
  model::shared<int> attempts;
  std::optional<ref_stream<movable>> values;

  void begin() {
    attempts.set(0);
    auto code = [](read_while_it_retries* m) -> generator<movable> {
      const int attempt = m->attempts.get() + 1;
      m->attempts.set(attempt);
      co_yield movable(10);
      if (attempt == 1) throw 1;
      co_yield movable(11);
    };
    values.emplace(on_workers().options(max_retries{1}, backpressure{1}).submit(code, this));
  }
  void other(unsigned) {
    ref_stream<movable> mine = std::move(*values);
    MODEL_CHECK(mine.next()->get().number() == 10);
    MODEL_CHECK(mine.next()->get().number() == 11);
    MODEL_CHECK(!mine.next());
  }
  void end() { values.reset(); }
};

/// Two dependencies become ready, or the first fails and the second becomes ready at any moment; or the task is
/// cancelled before.
enum class dependencies { come, fail, come_or_are_given_up };

template <dependencies How>
struct depends_on_two : model::tasks_model<depends_on_two<How>, 1, 3> {
  static constexpr bool cancelled = How == dependencies::come_or_are_given_up;
  std::optional<promise<movable>> promises[2];
  std::optional<ref<int>> sum;

  void begin() {
    std::optional<ref<movable>> arguments[2];
    for (int i = 0; i != 2; ++i) {
      promises[i].emplace();
      arguments[i].emplace(promises[i]->get_ref());
    }
    sum.emplace(this->on_workers().submit(
        [](const movable& a, const movable& b) { return a.number() + b.number(); }, *arguments[0], *arguments[1]));
  }
  void other(unsigned number) {
    if (number == 2) {
      const ref<int> mine = std::move(*sum);
      if (cancelled) mine.cancel();
      mine.wait();
      if (How == dependencies::fail)
        MODEL_CHECK(mine.failed());
      else if (mine.failed())
        MODEL_CHECK(cancelled && model::was_cancelled(mine));
      else
        MODEL_CHECK(mine.get() == 3);
      return;
    }
    promise<movable> mine = std::move(*promises[number]);
    if (How == dependencies::fail && number == 0)
      mine.set_exception(std::make_exception_ptr(0));
    else
      mine.set_value(movable(1 + static_cast<int>(number)));
  }
  void end() {
    for (auto& each : promises) each.reset();
    sum.reset();
  }
};

/// A task asks for its stop token, or for its name, while it is cancelled.
struct asks_for_its_token : model::tasks_model<asks_for_its_token, 1, 2> {
  std::optional<ref<int>> value;
  std::optional<ref<int>> second;

  void begin() {
    value.emplace(on_workers().submit([] {
      const std::stop_token token = this_task::get_stop_token();
      while (!token.stop_requested()) model::yield();
      return 1;
    }));
    second.emplace(*value);
  }
  void other(unsigned number) {
    const ref<int> mine = std::move(number == 0 ? *value : *second);
    if (number == 0)
      mine.cancel();
    else
      try {
        (void)mine.get_for(std::chrono::seconds(0));
      } catch (const timeout_error&) {  // says what the task is called
      } catch (const cancelled_error&) {
      }
    mine.wait();
    MODEL_CHECK(mine.failed() ? model::was_cancelled(mine) : mine.get() == 1);
  }
  void end() { value.reset(), second.reset(); }
};

/// Copies of a list give refs and are dropped; only the holder of the last reference moves a value out [L-15].
struct taken_out_of_a_list : model::tasks_model<taken_out_of_a_list, 0, 3> {
  std::optional<ref_list<movable>> lists[3];

  void begin() {
    ref<ref_list<movable>> all = on_workers().options(dynamic).submit(count_up, std::ref(code), 1);
    executor->close();
    executor->work();
    for (auto& each : lists) each.emplace(all.get());
  }
  void other(unsigned number) {
    ref_list<movable> mine = *std::exchange(lists[number], std::nullopt);
    ref<movable> first = mine[0];
    if (number != 2) mine = ref_list<movable>();
    if (number == 1)
      MODEL_CHECK(first.get().number() == 10);
    else
      MODEL_CHECK(std::move(first).get().number() == 10);
  }

  body code;
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.random<helped<1, false>>("helped by two", 50);
  run.random<helped<1, true>>("helped by two, and cancelled", 50);
  run.exhaustive<cancelled_at_its_end>("cancelled at its end", 0);
  run.random<cancelled_at_its_end>("cancelled at its end", 50);
  run.exhaustive<cancelled_as_it_throws>("cancelled as it throws", 0);
  run.random<cancelled_as_it_throws>("cancelled as it throws", 50);
  run.random<unseen_failure<carrier::copy, false>>("two refs go unseen", 50);
  run.random<unseen_failure<carrier::copy, true>>("one ref is looked at, one goes", 50);
  run.random<unseen_failure<carrier::completion, false>>("a ref and a completion go unseen", 50);
  run.random<unseen_failure<carrier::completion, true>>("a completion is looked at, a ref goes", 50);
  run.random<unseen_failure<carrier::dependent, false>>("a ref and a dependent go unseen", 50);
  run.random<unseen_failure<carrier::dependent, true>>("a dependent is looked at, a ref goes", 50);
  run.random<unseen_failure<carrier::completion_of_a_value, false>>("a completion is asked for as a ref goes unseen", 50);
  run.random<unseen_failure<carrier::completion_of_a_value, true>>("a completion is asked for and looked at as a ref goes", 50);
  run.random<cancelled_while_it_retries<false>>("cancelled while it retries", 50);
  run.random<cancelled_while_it_retries<true>>("cancelled before it would retry", 30);
  run.random<read_while_it_retries>("read while it retries", 50);
  run.random<depends_on_two<dependencies::come>>("depends on two", 30);
  run.random<depends_on_two<dependencies::fail>>("depends on two, of which one fails", 50);
  run.random<depends_on_two<dependencies::come_or_are_given_up>>("depends on two, and is cancelled", 50);
  run.random<asks_for_its_token>("asks for its token", 50);
  run.exhaustive<taken_out_of_a_list>("taken out of a list");
  run.random<taken_out_of_a_list>("taken out of a list", 50);
  return run.finish();
}
