// SPDX-License-Identifier: MIT
// A stream's task and its consumer, on two threads. The producer parks when its buffer is full; the consumer returns
// credits and waits for the next item, for the end, or for something that the task does between two values. Neither
// sleeps for ever. A stream that is dropped, detached or cancelled at any moment is drained by one of the two, and
// nothing leaks.

#include "streams.hpp"

using namespace dyngen;
using model::stream_model;
using value = model::large_value;

namespace {

/// The consumer reads all values and the end.
template <unsigned Backpressure, unsigned Values, bool Helps>
struct all_taken : stream_model<all_taken<Backpressure, Values, Helps>, 1, Values> {
  void begin() {
    this->executor.emplace(Helps);
    this->start(Backpressure);
  }
  void other(unsigned) {
    MODEL_CHECK(this->take(*this->stream, Values) == Values);
    MODEL_CHECK(!this->stream->next());
    MODEL_CHECK(this->stream->finished());
  }
};

/// values() reads the values in place.
template <unsigned Backpressure, unsigned Values>
struct taken_in_place : stream_model<taken_in_place<Backpressure, Values>, 1, Values> {
  void begin() { this->start(Backpressure); }
  void other(unsigned) {
    int expected = 0;
    for (value&& each : this->stream->values()) MODEL_CHECK(each.number() == expected++);
    MODEL_CHECK(expected == Values);
  }
};

/// The exception is the item after the last value.
struct exception_last : stream_model<exception_last, 1, 1> {
  void begin() { start(1, true); }
  void other(unsigned) {
    MODEL_CHECK(take(*stream, 1) == 1);
    const std::optional<ref<value>> last = stream->next();
    MODEL_CHECK(last && last->failed());
    MODEL_CHECK(!stream->next());
  }
};

/// A constructor throws after a block was appended for its value: the block is freed too.
struct constructor_throws : stream_model<constructor_throws, 1, 1> {
  void begin() { start(2, false, true); }
  void other(unsigned) {
    MODEL_CHECK(take(*stream, 1) == 1);
    MODEL_CHECK(stream->next()->failed());
    stream.reset();
  }
};

/// After taking one value, the consumer waits for an effect of the code behind the yield, in a wait of the library,
/// which returns all credits first [L-8].
template <unsigned Backpressure>
struct waits_for_something_else : stream_model<waits_for_something_else<Backpressure>, 1, Backpressure + 1> {
  static constexpr unsigned values = Backpressure + 1;
  void begin() { this->start(Backpressure); }
  void other(unsigned) {
    MODEL_CHECK(this->take(*this->stream, 1) == 1);
    detail::return_all_credits();
    this->passed.wait();
    MODEL_CHECK(this->take(*this->stream, values - 1, 1) == values - 1);
    MODEL_CHECK(!this->stream->next());
  }
};

/// The consumer polls, then waits for the end of the task, which the remaining capacity lets it reach.
struct polled : stream_model<polled, 1, 2> {
  void begin() { start(2); }
  void other(unsigned) {
    const ref<void> end = stream->completion();
    std::optional<ref<value>> first = stream->try_next();
    if (!first) first = stream->next();
    MODEL_CHECK(first->get().number() == 0);
    first.reset();
    end.wait();
    MODEL_CHECK(stream->try_next()->get().number() == 1);
    MODEL_CHECK(!stream->try_next() && stream->finished());
  }
};

/// The consumer only polls: it gets each value, then the exception, then nothing.
template <unsigned Backpressure, unsigned Values, bool Throws>
struct only_polled : stream_model<only_polled<Backpressure, Values, Throws>, 1, Values> {
  void begin() { this->start(Backpressure, Throws); }
  void other(unsigned) {
    unsigned taken = 0;
    while (!this->stream->finished()) {
      if (const std::optional<ref<value>> next = this->stream->try_next()) {
        MODEL_CHECK(next->failed() ? Throws && taken == Values : next->get().number() == static_cast<int>(taken));
        ++taken;
      } else {
        model::yield();
      }
    }
    MODEL_CHECK(taken == Values + (Throws ? 1 : 0));
  }
};

/// The stream moves to another thread after a value. The first thread still owes credits, and returns them at any
/// moment. A backpressure of 17 with one value waiting would take too long: return_credits() is called as if half were
/// consumed.
struct changes_hands : stream_model<changes_hands, 2, 3> {
  model::event moved;
  void begin() { start(2); }
  void other(unsigned number) {
    if (number == 0) {
      detail::sequence_task<value>& task = detail::stream_access::task_of(*stream);
      MODEL_CHECK(take(*stream, 1) == 1);
      task.add_references(1);
      moved.set();
      task.return_credits(false);
      task.drop_references(1);
    } else {
      moved.wait();
      ref_stream<value> mine = std::move(*stream);
      MODEL_CHECK(take(mine, 2, 1) == 2);
      MODEL_CHECK(!mine.next());
    }
  }
};

/// The stream is dropped or detached after `Take` values, at any moment: each value that was built is destroyed once,
/// by the thread that drains the buffer, and nothing leaks [L-16].
enum class how { dropped, detached };

template <how How, unsigned Backpressure, unsigned Values, unsigned Take, bool Throws>
struct abandoned : stream_model<abandoned<How, Backpressure, Values, Take, Throws>, 1, Values> {
  void begin() { this->start(Backpressure, Throws); }
  void other(unsigned) {
    ref_stream<value> mine = std::move(*this->stream);
    MODEL_CHECK(this->take(mine, Take) == Take);
    if (How == how::detached) mine.detach();
  }
  void end() {
    if (How == how::detached && !Throws) MODEL_CHECK(this->in_the_code.get() == -1);  // it ran to its end
    this->end_early(Take, Throws ? 1 : 0);
  }
};

/// A third thread cancels the task while the consumer takes values and waits for more: it gets values in order, then
/// perhaps the exception, then the end.
template <unsigned Backpressure, unsigned Values>
struct cancelled : stream_model<cancelled<Backpressure, Values>, 2, Values> {
  std::optional<ref<void>> end_of_it;
  void begin() {
    this->start(Backpressure);
    end_of_it.emplace(this->stream->completion());
  }
  void other(unsigned number) {
    if (number == 1) return (void)std::exchange(end_of_it, std::nullopt)->cancel();
    ref_stream<value> mine = std::move(*this->stream);
    unsigned taken = 0;
    for (bool failed = false; std::optional<ref<value>> item = mine.next(); failed = item->failed()) {
      MODEL_CHECK(!failed);
      if (!item->failed()) MODEL_CHECK(item->get().number() == static_cast<int>(taken++));
    }
    MODEL_CHECK(mine.finished());
  }
  void end() { this->end_early(0, 0); }
};

/// A consumer that waits for a while, gives up, and tries again.
struct gives_up : stream_model<gives_up, 1, 2> {
  void begin() { start(1); }
  void other(unsigned) {
    for (int taken = 0; taken != 2;) {
      try {
        MODEL_CHECK(stream->next_for(std::chrono::seconds(1))->get().number() == taken);
        ++taken;
      } catch (const timeout_error&) {
        model::yield();
      }
    }
    MODEL_CHECK(!stream->next());
  }
};

/// A stream is dropped or detached while a third thread still holds a ref to one of its values and one to its end.
template <how How>
struct outlived : stream_model<outlived<How>, 2, 2> {
  std::optional<ref<void>> end_of_it;
  std::optional<ref<value>> first;
  model::event there;
  void begin() {
    this->start(1);
    end_of_it.emplace(this->stream->completion());
  }
  void other(unsigned number) {
    if (number == 0) {
      first.emplace(*this->stream->next());
      there.set();
      if (How == how::detached)
        this->stream->detach();
      else
        this->stream.reset();
      return;
    }
    end_of_it->wait();
    there.wait();
    MODEL_CHECK(first->get().number() == 0);
    first.reset();
    end_of_it.reset();
  }
  void end() { this->end_early(1, 0); }
};

/// A list, which becomes ready when its task ends; two threads copy it, take a ref out of it, and drop the list or the
/// ref.
template <bool Throws>
struct list_shared : stream_model<list_shared<Throws>, 2, 2> {
  using list = ref_list<value>;
  std::optional<ref<list>> result[2];

  void begin() {
    result[0].emplace(this->on_workers().options(dynamic).submit(model::follow, this->told(Throws)));
    result[1].emplace(*result[0]);
  }
  void other(unsigned number) {
    ref<list> mine = *std::exchange(result[number], std::nullopt);
    mine.wait();
    list all = number == 0 ? mine.get() : std::move(mine).get();
    if (number == 0) mine = ref<list>();
    MODEL_CHECK(all.size() == (Throws ? 3 : 2));
    const ref<value> last = all[1];
    if (Throws) MODEL_CHECK(all[2].failed());
    all = list();
    MODEL_CHECK(last.get().number() == 1);
  }
};

/// A list whose handle is dropped.
struct list_dropped : stream_model<list_dropped, 1, 1> {
  std::optional<ref<ref_list<value>>> result;

  void begin() { result.emplace(on_workers().options(dynamic).submit(model::follow, told())); }
  void other(unsigned) { result.reset(); }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<all_taken<1, 1, false>>("one taken", 1);
  run.random<all_taken<1, 3, false>>("one waits at most", 30);
  run.random<all_taken<2, 4, false>>("two wait at most", 30);
  run.random<all_taken<1, 2, true>>("one waits at most, the consumer helps", 30);
  run.random<taken_in_place<1, 3>>("taken in place", 30);
  run.random<exception_last>("an exception at the end", 30);
  run.random<constructor_throws>("a constructor that throws", 30);
  run.random<waits_for_something_else<1>>("waits for something else", 30);
  run.random<waits_for_something_else<17>>("waits for something else, room given back by half", 5);
  run.random<polled>("polled", 30);
  run.random<only_polled<1, 2, false>>("only polled", 30);
  run.exhaustive<only_polled<2, 1, true>>("only polled, with an exception", 1);
  run.random<only_polled<2, 1, true>>("only polled, with an exception", 30);
  run.random<changes_hands>("changes hands", 30);
  run.exhaustive<abandoned<how::detached, 1, 1, 0, false>>("detached before it ends", 1);
  run.exhaustive<abandoned<how::detached, 2, 1, 0, false>>("detached", 1);
  run.random<abandoned<how::detached, 1, 2, 1, false>>("detached after a value", 30);
  run.random<abandoned<how::detached, 2, 1, 0, false>>("detached", 30);
  run.exhaustive<abandoned<how::dropped, 2, 1, 0, false>>("dropped", 1);
  run.random<abandoned<how::dropped, 2, 1, 0, false>>("dropped", 30);
  run.random<abandoned<how::dropped, 1, 2, 1, false>>("dropped after a value", 30);
  run.random<abandoned<how::dropped, 2, 1, 1, true>>("dropped with its exception", 30);
  run.random<cancelled<1, 2>>("cancelled", 30);
  run.random<gives_up>("gives up", 30);
  run.random<outlived<how::detached>>("detached, and outlived by refs", 30);
  run.random<outlived<how::dropped>>("dropped, and outlived by refs", 30);
  run.random<list_shared<false>>("a list", 30);
  run.random<list_shared<true>>("a list with an exception", 20);
  run.exhaustive<list_dropped>("a list whose handle is dropped", 1);
  return run.finish();
}
