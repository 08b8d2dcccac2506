// SPDX-License-Identifier: MIT
// What cannot stand behind co_yield and co_await.
// expect 1: co_yield: this value does not convert implicitly to the generator's T; write co_yield dyngen::emplace(args...) to construct it explicitly
// expect 2: co_yield: this value does not convert implicitly to the generator's T; write co_yield dyngen::emplace(args...) to construct it explicitly
// expect 3: co_yield emplace(args...): the generator's T has no constructor that takes these arguments
// expect 4: co_yield emplace(args...): the generator's T has no constructor that takes these arguments
// expect 5: co_yield elements_of(range): the range's elements do not convert to the generator's T
// expect 6: co_yield elements_of(range): the range's elements do not convert to the generator's T
// expect 7: elements_of(range): this is not a range that can be iterated; yield a single value by co_yield value
// expect 8: co_yield: this value converts to none of the tuple_generator's types
// expect 9: co_yield emplace(args...): none of the tuple_generator's types can be constructed from these arguments
// expect 10: co_yield emplace(args...): none of the tuple_generator's types can be constructed from these arguments
// expect 11: this cannot be awaited here: co_await takes refs, std::move(task), when_all, when_any, async_next, async_value and this_task::yield(); bridge anything else by a promise<T>
// expect 12: this cannot be awaited here: co_await takes refs, std::move(task), when_all, when_any, async_next, async_value and this_task::yield(); bridge anything else by a promise<T>
// expect 13: a tuple_generator yields one value of each type; elements_of is for generator<T>
// expect 14: co_yield elements_of(range): the range's elements do not convert to the generator's T
// expect 15: this cannot be awaited here: co_await takes refs, std::move(task), when_all, when_any, async_next, async_value and this_task::yield(); bridge anything else by a promise<T>
// expect 16: elements_of(range): this is not a range that can be iterated; yield a single value by co_yield value
#include <dyngen/dyngen.hpp>

#include <coroutine>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace dg = dyngen;

struct two_ints {
  two_ints(int a, int b) : sum(a + b) {}
  int sum;
};
struct explicitly {
  explicit explicitly(int v) : value(v) {}
  int value;
};

struct throws_at_its_end {
  explicit throws_at_its_end(int) {}
  ~throws_at_its_end() noexcept(false) {}
};

dg::generator<throws_at_its_end> emplaced() {
  co_yield dg::emplace(7);
}

dg::generator<int> count() {
  co_yield 1;
}

dg::generator<std::string> no_words() { co_return; }
dg::generator<explicitly> no_explicits() { co_return; }

dg::generator<std::string> words() {
  const std::vector<int> numbers{1, 2, 3};
  const std::vector<const char*> texts{"a", "b"};
#if CASE == 1
  co_yield 7;
#elif CASE == 3
  co_yield dg::emplace(1, 2, 3, 4);
#elif CASE == 5
  co_yield dg::elements_of(numbers);
#elif CASE == 6
  co_yield dg::elements_of(count());
#elif CASE == 7
  co_yield dg::elements_of(7);
#else
  co_yield "text";
  co_yield dg::emplace(3u, 'c');
  co_yield dg::elements_of(texts);
  co_yield dg::elements_of(no_words());
#endif
}

dg::generator<explicitly> explicits() {
  const dg::generator<explicitly> other = no_explicits();
#if CASE == 2
  co_yield 7;
#elif CASE == 16
  co_yield dg::elements_of(other);
#else
  co_yield dg::emplace(7);
#endif
}

dg::generator<two_ints> sums() {
#if CASE == 4
  co_yield dg::emplace();
#else
  co_yield dg::emplace(1, 2);
#endif
}

dg::generator<std::unique_ptr<int>> pointers() {
  std::vector<std::unique_ptr<int>> owned;
#if CASE == 14
  co_yield dg::elements_of(owned);
#else
  co_yield dg::elements_of(std::move(owned));
#endif
}

dg::tuple_generator<std::string, two_ints> mixed() {
#if CASE == 8
  co_yield 7;
#elif CASE == 9
  co_yield dg::emplace(std::vector<int>());
#elif CASE == 13
  co_yield dg::elements_of(no_words());
#else
  co_yield "text";
#endif
  co_yield dg::emplace(1, 2);
}

dg::tuple_generator<two_ints, explicitly> explicit_ones() {
#if CASE == 10
  co_yield dg::emplace();
#else
  co_yield dg::emplace(1, 2);
#endif
  co_yield dg::emplace(1);
}

dg::generator<int> waits() {
#if CASE == 11
  co_await std::suspend_never();
#elif CASE == 12
  const int i = co_await 5;
  co_yield i;
#else
  co_yield 1;
#endif
}

dg::tuple_generator<int> waits_too() {
#if CASE == 15
  co_await std::suspend_always();
#endif
  co_yield 1;
}

void caller(dg::thread_pool& pool) {
  auto a = pool.submit(words);
  auto b = pool.submit(explicits);
  auto c = pool.submit(sums);
  auto d = pool.submit(pointers);
  auto e = pool.submit(mixed);
  auto f = pool.submit(explicit_ones);
  auto g = pool.submit(waits);
  auto h = pool.submit(waits_too);
  auto i = pool.submit(emplaced);
}
