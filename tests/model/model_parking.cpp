// SPDX-License-Identifier: MIT
// A stream's task and its consumer: the library's own sequence_task, sink and ref_stream around a coroutine's stand-in.
// The producer parks when there is no room, the consumer gives room back and waits for the next item, for the end, or
// for something that the task does between two values: nobody sleeps for ever. And a stream that is dropped, or let
// run, at any moment: one party sweeps it, and nothing is left.

#include "records.hpp"

#include <dyngen/detail/sink.hpp>
#include <dyngen/ref_list.hpp>
#include <dyngen/ref_stream.hpp>

using namespace dyngen;
using detail::step;

namespace {

/// One value a block: a block goes whenever its value has gone.
using value = model::value<2500>;

/// An executor with one queue of one link, and a worker who is told to leave when the task has ended.
class worker_host final : public detail::task_host {
public:
  explicit worker_host(bool helps = false) : helps_(helps) {}

  void push(detail::task_record& task, bool) noexcept override {
    task_ = &task;
    MODEL_CHECK((word_.fetch_or(linked, detail::release) & linked) == 0);
    detail::wake_all(word_);
  }
  bool helps() const noexcept override { return helps_; }
  void ended(detail::task_record&) noexcept override {
    word_.fetch_or(over, detail::relaxed);
    detail::wake_all(word_);
  }
  void goes_dormant(detail::task_record&) noexcept override { settling_.fetch_add(1, detail::relaxed); }
  void dormancy_settled() noexcept override { MODEL_CHECK(settling_.fetch_sub(1, detail::relaxed) != 0); }
  void report(std::exception_ptr, std::string_view) noexcept override { ++reported; }

  unsigned reported = 0;  // exceptions that nobody got

  void work() {
    for (;;) {
      const std::uint32_t found = word_.fetch_and(~linked, detail::acquire);
      if ((found & linked) != 0)
        task_->run_popped();
      else if ((found & over) != 0)
        return;
      else
        detail::sleep_on(word_, 0);
    }
  }

private:
  static constexpr std::uint32_t linked = 1;
  static constexpr std::uint32_t over = 2;
  detail::atomic<std::uint32_t> word_{0};
  detail::task_record* task_ = nullptr;
  detail::atomic<std::uint32_t> settling_{0};
  const bool helps_;
};

/// What the code of a task does before its value `i`, of `values`, and at its end.
struct script {
  unsigned values = 0;
  unsigned* destroyed = nullptr;
  bool throws = false;          ///< after the last value
  bool value_throws = false;    ///< the constructor of the value after the last
  /// Set before value 1.
  detail::atomic<std::uint32_t>* passed = nullptr;
  bool* body_alive = nullptr;
};

class stream_task : public detail::sequence_task<value> {
public:
  static stream_task* create(worker_host& h, std::uint64_t backpressure, script s) {
    return ::new (detail::allocate(detail::memory_kind::record, sizeof(stream_task))) stream_task(h, backpressure, s);
  }
  std::string_view name() const noexcept override { return "scripted"; }

protected:
  stream_task(worker_host& h, std::uint64_t backpressure, script s)
    : sequence_task(h, nullptr, backpressure, false, nullptr), sink_(buffer(), *this, backpressure != 0, nullptr), script_(s) {
    if (script_.body_alive != nullptr) *script_.body_alive = true;
  }
  ~stream_task() = default;

private:
  step resume(std::uint64_t stop_at) noexcept override {
    sink_.stop_at = stop_at;
    started_ = true;
    if (next_ == 0) begins();
    for (; next_ != script_.values; ++next_) {
      if (next_ == 1 && script_.passed != nullptr && script_.passed->exchange(1, detail::release) == 0)
        detail::wake_all(*script_.passed);
      switch (sink_.ask()) {
        case detail::permission::skip: continue;
        case detail::permission::suspend: return sink_.refusal;
        case detail::permission::construct: break;
      }
      ::new (sink_.place()) value(static_cast<int>(next_), &script_.destroyed[next_]);
      if (sink_.commit()) return ++next_, step::paused;
    }
    if (script_.value_throws) (void)sink_.place();
    if (script_.throws || script_.value_throws) thrown_ = std::make_exception_ptr(0);
    return step::ended;
  }
  virtual void begins() noexcept {}
  std::exception_ptr close_body() noexcept override {
    if (script_.body_alive != nullptr) MODEL_CHECK(std::exchange(*script_.body_alive, false));
    return nullptr;
  }
  void free_memory() noexcept override {
    this->~stream_task();
    detail::deallocate(detail::memory_kind::record, this, sizeof(stream_task));
  }

  detail::sink<value> sink_;
  script script_;
  unsigned next_ = 0;
};

template <class Model, unsigned Threads, unsigned Values>
struct stream_model : rl::test_suite<Model, Threads> {
  model::fresh_start fresh;
  unsigned destroyed[Values] = {};
  bool body_alive = false;
  detail::atomic<std::uint32_t> passed{0};
  std::optional<worker_host> executor;
  std::optional<ref_stream<value>> stream;

  void start(std::uint64_t backpressure, bool helps = false, bool throws = false, bool value_throws = false) {
    executor.emplace(helps);
    stream_task* const task =
      stream_task::create(*executor, backpressure, {Values, destroyed, throws, value_throws, &passed, &body_alive});
    stream.emplace(detail::stream_access::adopt<value>(*task));
    task->start(detail::admission::granted);
  }

  /// Takes what comes up to `count` values; returns how many came.
  unsigned take(ref_stream<value>& from, unsigned count) {
    for (unsigned i = 0; i != count; ++i) {
      const std::optional<ref<value>> item = from.next();
      if (!item) return i;
      MODEL_CHECK(item->get().number() == static_cast<int>(i));
    }
    return count;
  }

  void check_end(unsigned reported = 0) {
    MODEL_CHECK(executor->reported <= reported);
    executor.reset();
    MODEL_CHECK(!body_alive);
    model::check_all_gone();
  }
  void after() {
    stream.reset();
    for (const unsigned times : destroyed) MODEL_CHECK(times == 1);
    check_end();
  }
};

/// All values and the end.
template <unsigned Backpressure, unsigned Values, bool Helps>
struct all_taken : stream_model<all_taken<Backpressure, Values, Helps>, 2, Values> {
  void before() { this->start(Backpressure, Helps); }
  void thread(unsigned index) {
    if (index == 0) return this->executor->work();
    MODEL_CHECK(this->take(*this->stream, Values) == Values);
    MODEL_CHECK(!this->stream->next());
    MODEL_CHECK(this->stream->finished());
  }
};

/// values() takes in place.
template <unsigned Backpressure, unsigned Values>
struct taken_in_place : stream_model<taken_in_place<Backpressure, Values>, 2, Values> {
  void before() { this->start(Backpressure); }
  void thread(unsigned index) {
    if (index == 0) return this->executor->work();
    int expected = 0;
    for (value&& each : this->stream->values()) MODEL_CHECK(each.number() == expected++);
    MODEL_CHECK(expected == Values);
  }
};

/// The exception is the item after the last value.
struct exception_last : stream_model<exception_last, 2, 1> {
  void before() { start(1, false, true); }
  void thread(unsigned index) {
    if (index == 0) return executor->work();
    MODEL_CHECK(take(*stream, 1) == 1);
    const std::optional<ref<value>> last = stream->next();
    MODEL_CHECK(last && last->failed());
    MODEL_CHECK(!stream->next());
  }
};

/// The same where a constructor throws for which a block was appended: the block goes too.
struct constructor_throws : stream_model<constructor_throws, 2, 1> {
  void before() { start(2, false, false, true); }
  void thread(unsigned index) {
    if (index == 0) return executor->work();
    MODEL_CHECK(take(*stream, 1) == 1);
    MODEL_CHECK(stream->next()->failed());
    stream.reset();
  }
};

/// Having taken one value, the consumer waits for what the code behind the yield does: through the library, which gives
/// the room back first, whatever half-room rule holds.
template <unsigned Backpressure>
struct waits_for_something_else : stream_model<waits_for_something_else<Backpressure>, 2, Backpressure + 1> {
  static constexpr unsigned values = Backpressure + 1;
  void before() { this->start(Backpressure); }
  void thread(unsigned index) {
    if (index == 0) return this->executor->work();
    MODEL_CHECK(this->take(*this->stream, 1) == 1);
    detail::settle_streams();
    while (this->passed.load(detail::acquire) == 0) detail::sleep_on(this->passed, 0);
    for (unsigned i = 1; i != values; ++i) MODEL_CHECK(this->stream->next()->get().number() == static_cast<int>(i));
    MODEL_CHECK(!this->stream->next());
  }
};

/// It polls, then waits for the end of the task, which the room left lets it reach.
struct polled : stream_model<polled, 2, 2> {
  void before() { start(2); }
  void thread(unsigned index) {
    if (index == 0) return executor->work();
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

/// The stream moves to another thread after a value. The first thread, who still owes room, gives it back when it
/// likes. A backpressure of 17, of which one value waits, would take too long: give_back() is called as if by half.
struct changes_hands : stream_model<changes_hands, 3, 3> {
  detail::atomic<std::uint32_t> moved{0};
  void before() { start(2); }
  void thread(unsigned index) {
    if (index == 0) return executor->work();
    if (index == 1) {
      detail::sequence_task<value>& task = detail::stream_access::task_of(*stream);
      MODEL_CHECK(take(*stream, 1) == 1);
      task.add_references(1);
      moved.store(1, detail::release);
      detail::wake_all(moved);
      task.give_back();
      task.drop_references(1);
    } else {
      while (moved.load(detail::acquire) == 0) detail::sleep_on(moved, 0);
      ref_stream<value> mine = std::move(*stream);
      for (int i = 1; i != 3; ++i) MODEL_CHECK(mine.next()->get().number() == i);
      MODEL_CHECK(!mine.next());
    }
  }
};

/// Dropped, or let run, after `Take` values, at any moment: each value that was built is destroyed once, by whoever
/// sweeps, and nothing is left.
enum class how { dropped, detached };

template <how How, unsigned Backpressure, unsigned Values, unsigned Take, bool Throws>
struct abandoned : stream_model<abandoned<How, Backpressure, Values, Take, Throws>, 2, Values> {
  void before() { this->start(Backpressure, false, Throws); }
  void thread(unsigned index) {
    if (index == 0) return this->executor->work();
    ref_stream<value> mine = std::move(*this->stream);
    MODEL_CHECK(this->take(mine, Take) == Take);
    if (How == how::detached) {
      mine.detach();
    } else {
      ref_stream<value> dying = std::move(mine);
    }
  }
  void after() {
    this->stream.reset();
    for (unsigned i = 0; i != Values; ++i) MODEL_CHECK(this->destroyed[i] <= 1 && (i >= Take || this->destroyed[i] == 1));
    this->check_end(Throws ? 1 : 0);
  }
};

/// The same, while a ref it handed out and one on the end live on in a third thread.
template <how How>
struct outlived : stream_model<outlived<How>, 3, 2> {
  std::optional<ref<void>> end;
  std::optional<ref<value>> first;
  detail::atomic<std::uint32_t> there{0};
  void before() {
    this->start(1);
    end.emplace(this->stream->completion());
  }
  void thread(unsigned index) {
    if (index == 0) return this->executor->work();
    if (index == 1) {
      first.emplace(*this->stream->next());
      there.store(1, detail::release);
      detail::wake_all(there);
      if (How == how::detached)
        this->stream->detach();
      else
        this->stream.reset();
      return;
    }
    end->wait();
    while (there.load(detail::acquire) == 0) detail::sleep_on(there, 0);
    MODEL_CHECK(first->get().number() == 0);
    first.reset();
    end.reset();
  }
  void after() {
    this->stream.reset();
    for (const unsigned times : this->destroyed) MODEL_CHECK(times <= 1);
    this->check_end();
  }
};

/// A task that waits for two others, each of which has written something; with a failure it need not wait for both.
class dependent_task final : public stream_task {
public:
  static dependent_task* create(worker_host& h, script s) {
    return ::new (detail::allocate(detail::memory_kind::record, sizeof(dependent_task))) dependent_task(h, s);
  }
  /// What a dependency's settle does; `number` is 0 or 1.
  void done(int number, bool failed) {
    written_[number].set(number);
    dependency_done(failed);
    drop_references(1);
  }
  bool registered() const { return registered_.load(detail::relaxed); }

private:
  dependent_task(worker_host& h, script s) : stream_task(h, detail::no_limit, s) { add_references(2); }
  ~dependent_task() = default;

  bool register_dependencies() noexcept override {
    pending_.store(registering + 2, detail::relaxed);
    registered_.store(true, detail::release);
    host().goes_dormant(*this);
    return true;
  }
  std::exception_ptr failed_dependency() noexcept override { return nullptr; }
  void begins() noexcept override {
    for (int i = 0; i != 2; ++i) MODEL_CHECK(written_[i].get() == i);
  }
  void free_memory() noexcept override {
    this->~dependent_task();
    detail::deallocate(detail::memory_kind::record, this, sizeof(dependent_task));
  }

  model::shared<int> written_[2];
  detail::atomic<bool> registered_{false};
};

/// Submitted by the worker, while its dependencies come.
struct started_by_dependencies : stream_model<started_by_dependencies, 3, 1> {
  dependent_task* task;
  void before() {
    executor.emplace();
    task = dependent_task::create(*executor, {1, destroyed});
    stream.emplace(detail::stream_access::adopt<value>(*task));
  }
  void thread(unsigned index) {
    if (index == 0) {
      task->start(detail::admission::granted);
      return executor->work();
    }
    while (!task->registered()) model::yield();
    task->done(static_cast<int>(index) - 1, false);
  }
};

/// A list, which comes when its task ends; two threads copy it, take a ref out of it, and let go of the one or the other.
template <bool Throws>
struct list_shared : stream_model<list_shared<Throws>, 3, 2> {
  using list = ref_list<value>;
  std::optional<ref<list>> result[2];

  void before() {
    this->executor.emplace();
    stream_task* const task = stream_task::create(*this->executor, 0, {2, this->destroyed, Throws});
    result[0].emplace(detail::access::adopt<list>(task->outer()));
    result[1].emplace(*result[0]);
    task->start(detail::admission::granted);
  }
  void thread(unsigned index) {
    if (index == 0) return this->executor->work();
    ref<list> mine = *std::exchange(result[index - 1], std::nullopt);
    mine.wait();
    list all = index == 1 ? mine.get() : std::move(mine).get();
    if (index == 1) mine = ref<list>();
    MODEL_CHECK(all.size() == (Throws ? 3 : 2));
    const ref<value> last = all[1];
    if (Throws) MODEL_CHECK(all[2].failed());
    all = list();
    MODEL_CHECK(last.get().number() == 1);
  }
};

/// A list that nobody wants.
struct list_dropped : stream_model<list_dropped, 2, 1> {
  std::optional<ref<ref_list<value>>> result;

  void before() {
    executor.emplace();
    stream_task* const task = stream_task::create(*executor, 0, {1, destroyed});
    result.emplace(detail::access::adopt<ref_list<value>>(task->outer()));
    task->start(detail::admission::granted);
  }
  void thread(unsigned index) { index == 0 ? executor->work() : result.reset(); }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<all_taken<1, 1, false>>("one taken", 1);
  run.random<all_taken<1, 3, false>>("one waits at most", 50);
  run.random<all_taken<2, 4, false>>("two wait at most", 50);
  run.random<all_taken<1, 2, true>>("one waits at most, the consumer helps", 50);
  run.random<taken_in_place<1, 3>>("taken in place", 50);
  run.random<exception_last>("an exception at the end", 50);
  run.random<constructor_throws>("a constructor that throws", 50);
  run.random<waits_for_something_else<1>>("waits for something else", 50);
  run.random<waits_for_something_else<17>>("waits for something else, room given back by half", 5);
  run.random<polled>("polled", 50);
  run.random<changes_hands>("changes hands", 50);
  run.exhaustive<abandoned<how::detached, 1, 1, 0, false>>("detached before it ends");
  run.exhaustive<abandoned<how::detached, 2, 1, 0, false>>("detached");
  run.random<abandoned<how::detached, 1, 2, 1, false>>("detached after a value", 50);
  run.random<abandoned<how::detached, 2, 1, 0, false>>("detached", 50);
  run.exhaustive<abandoned<how::dropped, 2, 1, 0, false>>("dropped", 1);
  run.random<abandoned<how::dropped, 2, 1, 0, false>>("dropped", 50);
  run.random<abandoned<how::dropped, 1, 2, 1, false>>("dropped after a value", 50);
  run.random<abandoned<how::dropped, 2, 1, 1, true>>("dropped with its exception", 50);
  run.random<outlived<how::detached>>("detached, and outlived by refs", 50);
  run.random<outlived<how::dropped>>("dropped, and outlived by refs", 50);
  run.random<started_by_dependencies>("started by its dependencies", 50);
  run.random<list_shared<false>>("a list", 50);
  run.random<list_shared<true>>("a list with an exception", 20);
  run.exhaustive<list_dropped>("a list that nobody wants");
  return run.finish();
}
