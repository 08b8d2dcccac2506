// SPDX-License-Identifier: MIT
// The buffer of a task that knows the number of its values: one thread stores; others read, wait, copy
// references and drop them. A value is read whole and destroyed once, by its last holder; a holder that finds its
// reference to be the only one is right.

#include "records.hpp"

#include <dyngen/ref.hpp>

using namespace dyngen;
using detail::slot;
using detail::stage;
using detail::staging;

namespace {

using value = model::value<>;
using values = model::values<value>;

/// What the models of one buffer share. A thread's `ref`s are the library's own.
template <class Model, unsigned Threads, unsigned Count>
struct buffer_model : rl::test_suite<Model, Threads> {
  model::fresh_start fresh;
  values* producer;
  unsigned destroyed[Count] = {};

  slot& at(unsigned i) { return producer->buffer().at(i); }
  ref<value> adopt(unsigned i) { return detail::access::adopt<value>(at(i)); }
  void store(unsigned i) { producer->store(static_cast<int>(10 + i), &destroyed[i]); }

  void check_value(const ref<value>& r, unsigned i) { MODEL_CHECK(r.get().number() == static_cast<int>(10 + i)); }

  void after() {
    for (unsigned times : destroyed) MODEL_CHECK(times == 1);
    model::check_all_gone();
  }
};

/// The producer stores and ends; each value has two holders, one that waits for it and reads, one that drops it, with a
/// look before, at any moment.
template <unsigned Count, staging Staged>
struct stored_and_dropped : buffer_model<stored_and_dropped<Count, Staged>, 3, Count> {
  void before() { this->producer = values::create(Count, Staged, 2); }
  void thread(unsigned index) {
    if (index == 0) {
      for (unsigned i = 0; i != Count; ++i) this->store(i);
      this->producer->end(false);
    } else {
      for (unsigned i = 0; i != Count; ++i) {
        const ref<value> mine = this->adopt(i);
        if (index == 1 || mine.ready()) this->check_value(mine, i);
      }
    }
  }
};

/// A thread that finds its reference to be the only one may change the value, as `get() &&` does, also while the buffer
/// ends.
template <staging Staged>
struct sole_owner : buffer_model<sole_owner<Staged>, 3, 1> {
  void before() { this->producer = values::create(1, Staged, 2); }
  void thread(unsigned index) {
    if (index == 0) {
      this->store(0);
      this->producer->end(false);
      return;
    }
    ref<value> mine = this->adopt(0);
    if (!mine.ready()) return;
    // What ref::give() does.
    slot& s = *detail::access::slot_of(mine);
    value& v = this->producer->value_of(s);
    if (slot::holders_of(s.word.load(detail::acquire)) == 1) {
      v.change(20);
    } else {
      MODEL_CHECK(v.number() == 10 || v.number() == 20);
    }
  }
};

/// A failed buffer under all_or_nothing: the stored values are destroyed, and no reader ever sees one. One slot stays
/// empty.
struct nothing : buffer_model<nothing, 3, 2> {
  void before() {
    producer = values::create(2, staging::all_or_nothing, 2);
    destroyed[1] = 1;  // never built
  }
  void thread(unsigned index) {
    if (index == 0) {
      store(0);
      producer->end(true);
      return;
    }
    for (unsigned i = 0; i != 2; ++i) {
      const ref<value> mine = adopt(i);
      if (index == 1) {
        mine.wait();
        MODEL_CHECK(mine.failed());
      } else if (mine.ready()) {
        MODEL_CHECK(mine.failed());
      }
    }
  }
};

/// Where nothing is staged, the values that were not stored fail one by one.
struct ends_early : buffer_model<ends_early, 3, 2> {
  void before() {
    producer = values::create(2, staging::none, 2);
    destroyed[1] = 1;
  }
  void thread(unsigned index) {
    if (index == 0) {
      store(0);
      producer->end(true);
      return;
    }
    const ref<value> second = adopt(1);
    if (index == 1) {
      second.wait();
      MODEL_CHECK(second.failed());
    }
    const ref<value> first = adopt(0);
    if (first.ready()) check_value(first, 0);
  }
};

/// References to the completion are added and dropped, also from none to one again; the record is freed once, and last.
template <bool Ended>
struct completion_comes_back : buffer_model<completion_comes_back<Ended>, 3, 1> {
  void before() {
    this->producer = values::create(1, staging::none, Ended ? 3 : 2);
    if (!Ended) return;
    this->store(0);
    this->producer->end(false);
  }
  void thread(unsigned index) {
    if (!Ended && index == 0) {
      this->store(0);
      this->producer->end(false);
      return;
    }
    ref<value> mine = this->adopt(0);
    ref<void> end = mine.completion();
    if (index == 1) {
      mine = ref<value>();
      end.wait();
      MODEL_CHECK(!end.failed());
    } else {
      end = ref<void>();
      end = mine.completion();
      mine = ref<value>();
    }
  }
};

/// A wait for a value and for the end of its task: the first of the two wakes the waiter, and the other finds no
/// waiter.
struct any_of_two : buffer_model<any_of_two, 2, 1> {
  void before() { producer = values::create(1, staging::none, 1); }
  void thread(unsigned index) {
    if (index == 0) {
      store(0);
      producer->end(false);
      return;
    }
    const ref<value> mine = adopt(0);
    const ref<void> end = mine.completion();
    const detail::wait_point points[] = {detail::point_of(*detail::access::slot_of(end)),
                                         detail::point_of(*detail::access::slot_of(mine))};
    MODEL_CHECK(detail::block(points, 2, 1, detail::never));
    MODEL_CHECK(mine.ready());
    check_value(mine, 0);
    MODEL_CHECK(detail::block(points, 2, 2, detail::never));
    MODEL_CHECK(end.ready());
  }
};

/// A wait for two values: neither counts twice.
struct both_of_two : buffer_model<both_of_two, 2, 2> {
  void before() { producer = values::create(2, staging::none, 1); }
  void thread(unsigned index) {
    if (index == 0) {
      store(0);
      store(1);
      producer->end(false);
      return;
    }
    const ref<value> first = adopt(0);
    const ref<value> second = adopt(1);
    const detail::wait_point points[] = {detail::point_of(*detail::access::slot_of(first)),
                                         detail::point_of(*detail::access::slot_of(second))};
    MODEL_CHECK(detail::block(points, 2, 2, detail::never));
    MODEL_CHECK(second.ready());
    check_value(first, 0);
    check_value(second, 1);
  }
};

/// A wait that gives up at any moment.
struct given_up : buffer_model<given_up, 3, 1> {
  void before() { producer = values::create(1, staging::none, 2); }
  void thread(unsigned index) {
    if (index == 0) {
      store(0);
      producer->end(false);
      return;
    }
    const ref<value> mine = adopt(0);
    const detail::wait_point point = detail::point_of(*detail::access::slot_of(mine));
    detail::thread_wait* const wait = detail::thread_wait::start(&point, 1, 1);
    if (index == 1) {
      while (!wait->satisfied()) wait->sleep(detail::never);
      check_value(mine, 0);
    } else if (wait->satisfied()) {
      check_value(mine, 0);
    }
    wait->leave();
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<stored_and_dropped<1, staging::none>>("stored, read and dropped");
  run.random<stored_and_dropped<2, staging::none>>("two stored, read and dropped");
  run.exhaustive<stored_and_dropped<1, staging::all_or_nothing>>("all");
  run.random<stored_and_dropped<2, staging::all_or_nothing>>("all of two");
  run.exhaustive<sole_owner<staging::none>>("the only holder");
  run.exhaustive<sole_owner<staging::all_or_nothing>>("the only holder of all");
  run.exhaustive<nothing>("nothing", 1);
  run.random<nothing>("nothing");
  run.random<ends_early>("ends early");
  run.exhaustive<completion_comes_back<false>>("a completion comes back");
  run.exhaustive<completion_comes_back<true>>("a completion comes back after the end");
  run.random<completion_comes_back<false>>("a completion comes back");
  run.random<any_of_two>("any of two");
  run.random<both_of_two>("both of two");
  run.exhaustive<given_up>("given up", 1);
  run.random<given_up>("given up");
  return run.finish();
}
