// SPDX-License-Identifier: MIT
// The return buffer of a task that sets the number of its values itself: the producer appends block after block; the
// consumer reads values in place, hands them over or drops them; other threads drop the values that were handed over.
// Each value exists once, each block is freed once, after all accesses to it, and only the producer refills it.

#include "records.hpp"

#include <dyngen/detail/value/segmented_buffer.hpp>

using namespace dyngen;
using detail::slot;

namespace {

/// Has one reference for the model itself; counts the values that blocks report as destroyed.
template <class T>
class sequence final : public detail::shared_state {
public:
  static sequence* create(bool random_access) {
    return ::new (detail::allocate(detail::memory_kind::record, sizeof(sequence))) sequence(random_access);
  }
  detail::segmented_buffer<T>& buffer() { return buffer_; }
  unsigned gone() const { return gone_.load(detail::relaxed); }

  void store(unsigned i, unsigned* destroyed) {
    ::new (buffer_.place()) T(static_cast<int>(i), &destroyed[i]);
    buffer_.commit();
  }

  void destroy_value(slot& s) noexcept override { buffer_.value_of(s).~T(); }
  void release_segment_slots(detail::slot_group& g, std::uint32_t n) noexcept override {
    buffer_.release_slots(detail::segment::of(g), n);
  }
  void segment_is_free(std::uint32_t values) noexcept override { gone_.fetch_add(values, detail::relaxed); }

private:
  explicit sequence(bool random_access) : shared_state(1), buffer_(*this, random_access) {}
  ~sequence() = default;
  void free_memory() noexcept override {
    this->~sequence();
    detail::deallocate(detail::memory_kind::record, this, sizeof(sequence));
  }

  detail::segmented_buffer<T> buffer_;
  detail::atomic<unsigned> gone_{0};
};

/// What the consumer does with value `i`: hand it over to the third thread, drop it, or destroy it in place.
enum class fate { handed_over, dropped, in_place };

template <std::size_t Bytes, unsigned Values, fate... Fates>
struct consumed : rl::test_suite<consumed<Bytes, Values, Fates...>, 3> {
  using value = model::value<Bytes>;
  static constexpr fate fates[] = {Fates...};

  model::fresh_start fresh;
  sequence<value>* owner;
  unsigned destroyed[Values] = {};
  detail::atomic<std::uint32_t> ended{0};
  detail::atomic<slot*> handed[Values];
  detail::atomic<bool> over{false};

  detail::segmented_buffer<value>& buffer() { return owner->buffer(); }

  void before() { owner = sequence<value>::create(false); }

  void produce() {
    for (unsigned i = 0; i != Values; ++i) owner->store(i, destroyed);
    buffer().close();
    ended.store(1, detail::release);
  }

  void consume() {
    unsigned handed_over = 0;
    for (unsigned i = 0; i != Values; ++i) {
      while (buffer().published() <= i) model::yield();
      switch (fates[i % sizeof...(Fates)]) {
        case fate::handed_over: {
          slot& s = buffer().hand_out();
          MODEL_CHECK(buffer().value_of(s).number() == static_cast<int>(i));
          handed[handed_over++].store(&s, detail::release);
          break;
        }
        case fate::dropped: buffer().drop_front(1); break;
        case fate::in_place: {
          value& v = buffer().take_in_place();
          MODEL_CHECK(v.number() == static_cast<int>(i));
          v.~value();
          buffer().destroyed_in_place(*buffer().block_taken_from());
        }
      }
    }
    over.store(true, detail::release);
    while (ended.load(detail::acquire) == 0) model::yield();
    MODEL_CHECK(buffer().published() == Values);
    buffer().leave();
  }

  /// The thread that was given the refs: reads and drops them.
  void drop_handed_over() {
    for (detail::atomic<slot*>& each : handed) {
      slot* s;
      while ((s = each.load(detail::acquire)) == nullptr) {
        if (over.load(detail::acquire) && (s = each.load(detail::acquire)) == nullptr) return;
        if (s != nullptr) break;
        model::yield();
      }
      MODEL_CHECK(buffer().value_of(*s).number() >= 0);
      detail::drop<value>(*s);
    }
  }

  void thread(unsigned index) { index == 0 ? produce() : index == 1 ? consume() : drop_handed_over(); }

  void after() {
    MODEL_CHECK(owner->gone() == Values);
    owner->drop_references(1);
    for (const unsigned times : destroyed) MODEL_CHECK(times == 1);
    model::check_all_gone();
  }
};

/// Only the blocks themselves order the accesses to their values: two threads empty a block, and it is used again.
struct used_again : rl::test_suite<used_again, 3> {
  using value = model::value<2500>;
  model::fresh_start fresh;
  sequence<value>* owner;
  unsigned destroyed[4] = {};
  slot* first = nullptr;

  void before() {
    owner = sequence<value>::create(false);
    owner->store(0, destroyed);
    owner->store(1, destroyed);
    first = &owner->buffer().hand_out();
    owner->add_references(2);
  }
  void thread(unsigned index) {
    if (index == 0) {
      owner->store(2, destroyed);
      owner->store(3, destroyed);
      owner->buffer().close();
    } else if (index == 1) {
      MODEL_CHECK(owner->buffer().value_of(*first).number() == 0);
      detail::drop<value>(*first);
    } else {
      owner->buffer().drop_front(1);  // releases the first block
    }
    owner->drop_references(1);
  }
  void after() {
    for (const unsigned i : {2u, 3u}) MODEL_CHECK(destroyed[i] == 0);
    // All references are dropped but those of the blocks, which keep it alive.
    owner->buffer().drop_front(2);
    owner->add_references(1);
    owner->buffer().leave();
    MODEL_CHECK(owner->gone() == 4);
    owner->drop_references(1);
    for (const unsigned times : destroyed) MODEL_CHECK(times == 1);
    model::check_all_gone();
  }
};

/// A closed list: read at random by one thread, its reference dropped by another thread that does not know
/// of the first thread's ref.
template <unsigned Values>
struct list : rl::test_suite<list<Values>, 2> {
  using value = model::value<2500>;
  model::fresh_start fresh;
  sequence<value>* owner;
  unsigned destroyed[Values] = {};
  slot* last = nullptr;

  void before() {
    owner = sequence<value>::create(true);
    for (unsigned i = 0; i != Values; ++i) owner->store(i, destroyed);
    owner->buffer().close();
    last = &owner->buffer().at(Values - 1);
    last->add_holder();
  }
  void thread(unsigned index) {
    if (index == 0) {
      for (unsigned i = 0; i != Values; ++i)
        MODEL_CHECK(owner->buffer().value_of(owner->buffer().at(i)).number() == static_cast<int>(i));
      owner->buffer().drop_all();
      owner->drop_references(1);
    } else {
      slot& mine = *last;
      MODEL_CHECK(detail::segmented_buffer<value>::value_of(mine).number() == static_cast<int>(Values - 1));
      detail::drop<value>(mine);
    }
  }
  void after() {
    for (const unsigned times : destroyed) MODEL_CHECK(times == 1);
    model::check_all_gone();
  }
};

}  // namespace

int main(int count, char** arguments) {
  model::runner run(count, arguments);
  run.exhaustive<consumed<2500, 2, fate::handed_over>>("blocks of one, handed over", 1);
  run.random<consumed<2500, 4, fate::handed_over>>("blocks of one, handed over");
  run.random<consumed<2500, 4, fate::handed_over, fate::dropped>>("blocks of one, every other one dropped");
  run.random<consumed<2500, 3, fate::in_place>>("blocks of one, destroyed in place");
  run.random<consumed<300, 10, fate::in_place, fate::handed_over, fate::dropped>>("blocks of eight, of all kinds", 30);
  run.exhaustive<used_again>("a block is used again");
  run.random<used_again>("a block is used again");
  run.exhaustive<list<2>>("a list");
  return run.finish();
}
