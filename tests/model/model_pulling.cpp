// SPDX-License-Identifier: MIT
// Pull mode: the reader claims the producer for one value after the other, and keeps it in between, until another
// thread needs it to run: a thread that cancels it, waits for its end or becomes the reader, the monitor, or the
// closing pool. One thread at a time runs its code, it does not stay kept once another thread needs it, and each value
// is made once [L-1][L-21][L-22].

#include "streams.hpp"

#include <dyngen/await.hpp>

using namespace dyngen;
using value = model::large_value;

namespace {

template <class Model, unsigned Others, unsigned Values, unsigned Room = 64>
struct pulled_model : model::stream_model<Model, Others, Values> {
  void begin() {
    this->executor.emplace(true);
    detail::pulling_mode.store(detail::pulling::whenever_possible);
    this->start(Room);
  }
};

/// The reader reads to the end, by refs or in place; the worker may have claimed the task first.
template <bool InPlace, unsigned Values>
struct all_taken : pulled_model<all_taken<InPlace, Values>, 1, Values> {
  void other(unsigned) {
    if (InPlace) {
      int expected = 0;
      for (value&& each : this->stream->values()) MODEL_CHECK(each.number() == expected++);
      MODEL_CHECK(expected == Values);
    } else {
      MODEL_CHECK(this->take(*this->stream, Values) == Values);
      MODEL_CHECK(!this->stream->next() && this->stream->finished());
    }
  }
};

/// Another thread cancels the task, or waits for its end, while it is pulled; or the consumer drops or detaches the
/// stream, or polls.
enum class disturbance { cancels, awaits_end, drops, detaches, polls };

template <disturbance What>
struct disturbed : pulled_model<disturbed<What>, 2, 3> {
  static constexpr bool to_its_end = What == disturbance::awaits_end || What == disturbance::polls;
  std::optional<ref<value>> first_for_other;
  std::optional<ref<void>> end_of_it;

  void begin() {
    pulled_model<disturbed, 2, 3>::begin();
    if (What == disturbance::cancels) end_of_it.emplace(this->stream->completion());
  }
  void other(unsigned number) {
    if (number == 1) {
      if (What == disturbance::cancels) end_of_it->cancel();
      if (What == disturbance::awaits_end) {
        const ref<void> end = this->stream_end();
        end.wait();
        MODEL_CHECK(!end.failed());
      }
      return;
    }
    ref_stream<value> mine = std::move(*this->stream);
    if (What == disturbance::awaits_end) end_given(mine);
    const unsigned before = What == disturbance::awaits_end ? 1 : 0;
    const unsigned taken = before + this->take(mine, What == disturbance::cancels ? 3 : 1, before);
    if (What == disturbance::drops) return;
    if (What == disturbance::detaches) return mine.detach();
    if (What == disturbance::polls)
      for (unsigned i = 1; !mine.finished();) {
        if (const std::optional<ref<value>> next = mine.try_next())
          MODEL_CHECK(next->get().number() == static_cast<int>(i++));
        else
          model::yield();
      }
    if (What == disturbance::awaits_end) {
      MODEL_CHECK(this->take(mine, 1, taken) == 1);
      MODEL_CHECK(!mine.next());
    }
  }
  void end() {
    end_of_it.reset();
    given.reset();
    if (to_its_end) MODEL_CHECK(this->in_the_code.get() == -1);
    this->end_early(to_its_end ? 3 : 0, 0);
  }

  // A thread asks for the end while the stream may be pulled already.
  std::optional<ref<value>> given;
  model::event is_given;
  void end_given(ref_stream<value>& mine) {
    given.emplace(*mine.next());
    is_given.set();
  }
  ref<void> stream_end() {
    is_given.wait();
    return given->completion();
  }
};

/// The thread that made a value hands the stream on; the next reader makes the next values, or waits.
struct changes_hands : pulled_model<changes_hands, 2, 3> {
  std::optional<ref_stream<value>> moved;
  model::event there;
  void other(unsigned number) {
    if (number == 0) {
      MODEL_CHECK(take(*stream, 1) == 1);
      moved.emplace(std::move(*stream));
      there.set();
    } else {
      there.wait();
      MODEL_CHECK(take(*moved, 2, 1) == 2);
      MODEL_CHECK(!moved->next());
    }
  }
  void end() {
    moved.reset();
    pulled_model::end();
  }
};

/// A coroutine pulls a stream, and a thread pulls that coroutine and waits for something else in between: then both
/// resume on a worker. The inner producer may run, and wait for capacity, before the outer one asks for its next value.
generator<int> count_four() {
  for (int i = 0; i != 4; ++i) co_yield i;
}
generator<int> relay(ref_stream<int> from) {
  while (const std::optional<ref<int>> next = co_await from.async_next()) co_yield next->get();
}

template <unsigned Workers>
struct relayed : model::tasks_model<relayed<Workers>, Workers, 1> {
  std::optional<ref_stream<int>> stream;

  void begin() {
    this->executor.emplace(true);
    detail::pulling_mode.store(detail::pulling::whenever_possible);
    const auto run = this->on_workers();
    stream.emplace(run.options(backpressure{2}).submit(relay, run.options(backpressure{2}).submit(count_four)));
  }
  void other(unsigned) {
    for (int i = 0; i != 4; ++i) {
      if (i == 1) detail::return_all_credits();
      MODEL_CHECK(stream->next()->get() == i);
    }
    MODEL_CHECK(!stream->next());
  }
  void end() { stream.reset(); }
};

/// Sets `passed` before value `at`, the last one.
generator<int> count_to(int at, model::event& passed) {
  for (int i = 0; i != at; ++i) co_yield i;
  passed.set();
  co_yield at;
}

/// The reader waits, unseen by the library, for what the code behind a yield does. The monitor runs at any moment, and
/// again until the end. The reader makes each value itself, or takes one from the buffer that a worker has filled and
/// then waits for the producer, which had parked: taking the value has returned a credit [L-21][L-22]. `Unused`: the
/// monitor releases only streams that it finds unused, as it does periodically; otherwise all of them, as a closing
/// pool does.
template <unsigned Room, bool Unused>
struct released_by_the_monitor : model::tasks_model<released_by_the_monitor<Room, Unused>, 1, 2> {
  std::optional<ref_stream<int>> stream;
  model::event passed;
  detail::atomic<bool> over{false};

  void begin() {
    this->executor.emplace(true);
    detail::pulling_mode.store(detail::pulling::whenever_possible);
    stream.emplace(this->on_workers().options(backpressure{Room}).submit(count_to, 2, std::ref(passed)));
  }
  void other(unsigned number) {
    if (number == 1) {
      while (!over.load(detail::acquire)) {
        Unused ? this->executor->release_unused() : this->executor->release_kept();
        model::yield();
      }
      return;
    }
    MODEL_CHECK(stream->next()->get() == 0);
    MODEL_CHECK(stream->next()->get() == 1);
    passed.wait();
    MODEL_CHECK(stream->next()->get() == 2);
    MODEL_CHECK(!stream->next());
    over.store(true, detail::release);
  }
  void end() { stream.reset(); }
};

/// The reader takes fewer values than the batch for which it returns credits, and waits, unseen by the library, for
/// what the producer does with those credits; or another thread reads on and waits like that [K4].
template <unsigned Taken, bool HandsOver>
struct owes_room : model::tasks_model<owes_room<Taken, HandsOver>, 1, HandsOver ? 3 : 2> {
  static constexpr int room = 17;  // the smallest capacity whose credits are returned half at a time
  static constexpr int last = room + static_cast<int>(Taken) - 1;
  std::optional<ref_stream<int>> stream;
  model::event handed_over;
  model::event over;
  model::event passed;

  void begin() {
    this->executor.emplace(true);
    detail::pulling_mode.store(detail::pulling::not_at_all);
    stream.emplace(this->on_workers().options(backpressure{room}).submit(count_to, last, std::ref(passed)));
  }
  void other(unsigned number) {
    if (number == 1) return this->executor->watch_until(over);
    if (number == 0) {
      for (int i = 0; i != static_cast<int>(Taken); ++i) MODEL_CHECK(stream->next()->get() == i);
      handed_over.set();
      if (HandsOver) return over.wait();  // and has still not returned the credits
    }
    handed_over.wait();
    passed.wait();
    for (int i = static_cast<int>(Taken); i <= last; ++i) MODEL_CHECK(stream->next()->get() == i);
    MODEL_CHECK(!stream->next());
    over.set();
  }
  void end() { stream.reset(); }
};

/// Before the reader waits for anything else, it lets the stream leave pull mode: here it waits for the next effect of
/// the producer's code.
struct waits_for_something_else : pulled_model<waits_for_something_else, 1, 2> {
  void other(unsigned) {
    MODEL_CHECK(take(*stream, 1) == 1);
    detail::return_all_credits();
    passed.wait();
    MODEL_CHECK(take(*stream, 1, 1) == 1);
  }
};

/// A pool ends while a reader makes the values of one of its streams.
struct pool_ends : rl::test_suite<pool_ends, 2> {
  static constexpr rl::thread_id_t dynamic_thread_count = 2;
  model::fresh_start fresh;
  std::optional<thread_pool> pool;
  std::optional<ref_stream<int>> stream;

  static generator<int> count() {
    for (int i = 0; i != 3; ++i) co_yield i;
  }
  void before() {
    detail::pulling_mode.store(detail::pulling::whenever_possible);
    detail::model::threads_left = 1;
    detail::model::services_left = 1;
    pool.emplace(1);
    stream.emplace(pool->submit(count));
  }
  void thread(unsigned index) {
    if (index == 0) return pool.reset();
    int expected = 0;
    while (const std::optional<ref<int>> next = stream->next()) MODEL_CHECK(next->get() == expected++);
    MODEL_CHECK(expected == 3);
    stream.reset();
    detail::return_all_credits();
  }
  void after() { model::check_all_gone(); }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<all_taken<false, 1>>("one taken", 1);
  run.random<all_taken<false, 3>>("taken", 50);
  run.random<all_taken<true, 3>>("taken in place", 50);
  run.random<disturbed<disturbance::cancels>>("cancelled", 50);
  run.random<disturbed<disturbance::awaits_end>>("its end is awaited", 50);
  run.random<disturbed<disturbance::drops>>("dropped", 30);
  run.random<disturbed<disturbance::detaches>>("detached", 30);
  run.random<disturbed<disturbance::polls>>("polled", 30);
  run.random<changes_hands>("changes hands", 50);
  run.random<relayed<1>>("relayed", 50);
  run.random<relayed<2>>("relayed, two workers", 50);
  run.random<released_by_the_monitor<1, false>>("released by the monitor, room for one", 50);
  run.random<released_by_the_monitor<64, false>>("released by the monitor", 50);
  run.random<released_by_the_monitor<64, true>>("released by the monitor as unused", 50);
  run.random<owes_room<1, false>>("owes room for one", 10);
  run.random<owes_room<2, false>>("owes room for two", 10);
  run.random<owes_room<1, true>>("owes room, and another thread reads on", 10);
  run.random<waits_for_something_else>("waits for something else", 30);
  run.random<pool_ends>("a pool ends", 50);
  return run.finish();
}
