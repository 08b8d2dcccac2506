// SPDX-License-Identifier: MIT
// The deque of a worker and the injection queue, on one thread: order, capacity, and return values.

#include "../catch.hpp"
#include "../support.hpp"

#include <array>
#include <cstddef>
#include <vector>

namespace test_work_queues {

using dg::detail::basic_work_deque;
using dg::detail::injection_queue;
using dg::detail::pop_status;
using dg::detail::work_item;

namespace {

struct item : work_item {};

}  // namespace

TEST_CASE("the owner of a deque pops the newest item, a thief steals the oldest", "[work_deque]") {
  basic_work_deque<8> deque;
  std::array<item, 6> items;
  for (item& i : items) REQUIRE(deque.push(&i));
  CHECK(deque.size_hint() == 6);
  CHECK(deque.steal().item == &items[0]);
  CHECK(deque.pop() == &items[5]);
  CHECK(deque.steal().item == &items[1]);
  CHECK(deque.pop() == &items[4]);
  CHECK(deque.pop() == &items[3]);
  CHECK(deque.pop() == &items[2]);
  CHECK(deque.pop() == nullptr);
  CHECK(deque.steal().item == nullptr);
  CHECK(deque.steal().status == pop_status::empty);
}

TEST_CASE("a full deque refuses a push and stays as it is", "[work_deque]") {
  basic_work_deque<4> deque;
  std::array<item, 5> items;
  for (std::size_t i = 0; i < 4; ++i) REQUIRE(deque.push(&items[i]));
  CHECK_FALSE(deque.push(&items[4]));
  CHECK(deque.size_hint() == 4);
  CHECK(deque.steal().item == &items[0]);
  CHECK(deque.push(&items[4]));  // into the free cell
  CHECK_FALSE(deque.push(&items[0]));
  for (const std::size_t expected : {4u, 3u, 2u, 1u}) CHECK(deque.pop() == &items[expected]);
  CHECK(deque.pop() == nullptr);
}

TEST_CASE("the last item of a deque is taken once, and the deque stays usable", "[work_deque]") {
  basic_work_deque<2> deque;
  item one;
  for (int round = 0; round < 100; ++round) {
    CHECK_FALSE(deque.maybe_nonempty());
    REQUIRE(deque.push(&one));
    CHECK(deque.maybe_nonempty());
    if (round % 2 == 0) {
      REQUIRE(deque.pop() == &one);
    } else {
      const dg::detail::popped taken = deque.steal();
      REQUIRE(taken.status == pop_status::item);
      REQUIRE(taken.item == &one);
    }
    CHECK(deque.pop() == nullptr);
    CHECK(deque.steal().status == pop_status::empty);
    CHECK(deque.size_hint() == 0);
  }
}

TEST_CASE("a worker's deque holds 256 items", "[work_deque]") {
  dg::detail::work_deque deque;
  std::vector<item> items(257);
  for (std::size_t i = 0; i < 256; ++i) REQUIRE(deque.push(&items[i]));
  CHECK_FALSE(deque.push(&items[256]));
  CHECK(dg::detail::work_deque::capacity() == 256);
}

TEST_CASE("the injection queue is first in, first out, also across times when it is empty", "[injection_queue]") {
  injection_queue queue;
  std::array<item, 7> items;
  CHECK(queue.try_pop().status == pop_status::empty);
  CHECK_FALSE(queue.maybe_nonempty());
  for (int round = 0; round < 3; ++round) {
    for (std::size_t n = 1; n <= items.size(); ++n) {
      for (std::size_t i = 0; i < n; ++i) {
        queue.push(&items[i]);
        CHECK(queue.maybe_nonempty());
      }
      for (std::size_t i = 0; i < n; ++i) {
        const dg::detail::popped taken = queue.try_pop();
        REQUIRE(taken.status == pop_status::item);
        CHECK(taken.item == &items[i]);
      }
      CHECK(queue.try_pop().status == pop_status::empty);
      CHECK_FALSE(queue.maybe_nonempty());
    }
  }
}

TEST_CASE("pushes between pops keep their order", "[injection_queue]") {
  injection_queue queue;
  std::array<item, 4> items;
  queue.push(&items[0]);
  queue.push(&items[1]);
  CHECK(queue.try_pop().item == &items[0]);
  queue.push(&items[2]);
  CHECK(queue.try_pop().item == &items[1]);
  CHECK(queue.try_pop().item == &items[2]);
  queue.push(&items[3]);
  CHECK(queue.try_pop().item == &items[3]);
  CHECK(queue.try_pop().item == nullptr);
}

TEST_CASE("an item that was popped may be pushed again", "[injection_queue]") {
  injection_queue queue;
  item a, b;
  queue.push(&a);
  queue.push(&b);
  for (int i = 0; i < 10; ++i) {
    work_item* first = queue.try_pop().item;
    REQUIRE(first == (i % 2 == 0 ? &a : &b));
    queue.push(first);
  }
}

TEST_CASE("items that a half done push hides from poppers do not keep a thread awake", "[injection_queue][L-17]") {
  injection_queue queue;
  item a, b, c;
  CHECK_FALSE(queue.can_pop());
  work_item* const before_a = queue.begin_push(&a);
  CHECK(queue.maybe_nonempty());
  CHECK_FALSE(queue.can_pop());
  CHECK(queue.try_pop().status == pop_status::busy);
  queue.push(&b);  // behind it
  CHECK_FALSE(queue.can_pop());
  CHECK(queue.try_pop().status == pop_status::busy);
  queue.complete_push(before_a, &a);
  CHECK(queue.can_pop());
  work_item* const before_c = queue.begin_push(&c);
  CHECK(queue.can_pop());
  CHECK(queue.try_pop().item == &a);
  CHECK_FALSE(queue.can_pop());  // an item is not popped before the link to its successor is stored
  CHECK(queue.try_pop().status == pop_status::busy);
  queue.complete_push(before_c, &c);
  CHECK(queue.can_pop());
  CHECK(queue.try_pop().item == &b);
  CHECK(queue.can_pop());
  CHECK(queue.try_pop().item == &c);
  CHECK_FALSE(queue.can_pop());
  CHECK_FALSE(queue.maybe_nonempty());
}

TEST_CASE("a batch is the oldest items, at most as many as asked for", "[injection_queue]") {
  injection_queue queue;
  std::array<item, 10> items;
  std::array<work_item*, 16> out{};
  CHECK(queue.try_pop_batch(out.data(), 16) == 0);
  for (item& i : items) queue.push(&i);
  CHECK(queue.try_pop_batch(out.data(), 0) == 0);
  CHECK(queue.try_pop_batch(out.data(), 4) == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(out[i] == &items[i]);
  CHECK(out[4] == nullptr);
  CHECK(queue.try_pop_batch(out.data(), 16) == 6);
  for (std::size_t i = 0; i < 6; ++i) CHECK(out[i] == &items[i + 4]);
  CHECK(queue.try_pop_batch(out.data(), 16) == 0);
  CHECK_FALSE(queue.maybe_nonempty());
}

}  // namespace test_work_queues
