// SPDX-License-Identifier: MIT
// One value that is ready together with the end: a promise's, which is all of the single buffer without a task around
// it. One thread fulfils it, others read, wait, and drop the value and the completion, in any order.

#include "records.hpp"

#include <dyngen/promise.hpp>
#include <dyngen/ref.hpp>

#include <exception>

using namespace dyngen;
using detail::slot;

namespace {

using value = model::value<>;
using promised = detail::promised<value>;

/// Thread 0 fulfils; `held` says which of the others begin with a ref on the value.
template <class Model, unsigned Threads>
struct single_model : rl::test_suite<Model, Threads> {
  model::fresh_start fresh;
  promised* state;
  std::exception_ptr failure;
  std::optional<ref<value>> held[Threads];
  unsigned destroyed = 0;

  void before() {
    state = promised::make();
    held[1] = state->adopt_ref();
    for (unsigned i = 2; i != Threads; ++i) held[i] = state->another_ref();
  }
  ref<value> mine(unsigned index) {
    ref<value> r = std::move(*held[index]);
    held[index].reset();
    return r;
  }
  void fulfil() {
    state->construct(10, &destroyed);
    state->fulfil(nullptr);
    state->drop_references(1);
  }
  void fail() {
    state->fulfil(failure);
    state->drop_references(1);
  }
  void after() {
    MODEL_CHECK(destroyed == 1);
    model::check_all_gone();
  }
};

/// One thread waits and reads, one drops its ref at any moment.
struct fulfilled : single_model<fulfilled, 3> {
  void thread(unsigned index) {
    if (index == 0) return fulfil();
    const ref<value> r = mine(index);
    if (index == 1 || r.ready()) MODEL_CHECK(r.get().number() == 10);
  }
};

/// One thread waits for the completion, to which refs may be added and dropped, and which may outlive the value; when
/// it is ready, so is the value.
struct completed : single_model<completed, 3> {
  void thread(unsigned index) {
    if (index == 0) return fulfil();
    ref<value> r = mine(index);
    ref<void> end = r.completion();
    if (index == 1) {
      end.wait();
      MODEL_CHECK(!end.failed());
      MODEL_CHECK(r.ready());
      MODEL_CHECK(r.get().number() == 10);
    } else {
      r = ref<value>();
      if (end.ready()) MODEL_CHECK(!end.failed());
    }
  }
};

/// A thread that finds its reference to be the only one may change the value.
struct sole_owner : single_model<sole_owner, 3> {
  void thread(unsigned index) {
    if (index == 0) return fulfil();
    const ref<value> r = mine(index);
    if (!r.ready()) return;
    slot& s = *detail::access::slot_of(r);
    value& v = *static_cast<value*>(detail::slot_group::of(s).value_at(1));
    if (slot::holders_of(s.word.load(detail::acquire)) == 1)
      v.change(20);
    else
      MODEL_CHECK(v.number() == 10 || v.number() == 20);
  }
};

/// Without a value: both fail, and nothing is destroyed.
struct failed : single_model<failed, 3> {
  void before() {
    single_model::before();
    failure = std::make_exception_ptr(1);
    destroyed = 1;
  }
  void thread(unsigned index) {
    if (index == 0) return fail();
    const ref<value> r = mine(index);
    const ref<void> end = r.completion();
    if (index == 1) r.wait();
    if (index == 2) end.wait();
    MODEL_CHECK(end.failed());
    MODEL_CHECK(r.failed());
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<fulfilled>("fulfilled");
  run.random<fulfilled>("fulfilled");
  run.exhaustive<completed>("completed", 1);
  run.random<completed>("completed");
  run.exhaustive<sole_owner>("the only holder");
  run.exhaustive<failed>("failed", 1);
  run.random<failed>("failed");
  return run.finish();
}
