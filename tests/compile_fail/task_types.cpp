// SPDX-License-Identifier: MIT
// What a generator and a tuple_generator cannot be made of.
// expect 1: generator<T> needs T to be an object type, neither const nor a reference; to yield references, yield std::reference_wrapper
// expect 2: generator<T> needs T to be an object type, neither const nor a reference; to yield references, yield std::reference_wrapper
// expect 3: generator<T> needs T to be an object type, neither const nor a reference; to yield references, yield std::reference_wrapper
// expect 4: generator<T> needs a movable T; yield std::unique_ptr<T>
// expect 5: generator<T> cannot yield arrays; yield std::array
// expect 6: tuple_generator<Ts...> takes 1 to 63 types
// expect 7: tuple_generator<Ts...> takes 1 to 63 types
// expect 8: tuple_generator<Ts...> needs object types, neither const nor references
// expect 9: a generator does nothing until it is iterated; to run it as a task, submit the function itself
// expect 10: a tuple_generator does nothing by itself; submit the function that returns it
// expect 11: deleted
// expect 12: deleted
// expect 13: tuple_generator<Ts...> needs object types, neither const nor references
// expect 14: values of this type require an alignment above 64 bytes, and compilers cannot align them so in a coroutine; use a std::unique_ptr
// expect 15: a parameter of this coroutine requires an alignment above 64 bytes, and compilers cannot align it so in a coroutine; pass it by reference, or as a std::unique_ptr
#include <dyngen/dyngen.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <utility>

namespace dg = dyngen;

struct alignas(128) far_apart {
  int value = 0;
};
#if CASE == 14
dg::generator<far_apart> of_far_apart() { co_yield far_apart(); }
#else
dg::generator<int> of_far_apart() { co_yield 1; }
#endif
#if CASE == 15
dg::task<int> takes(far_apart a) { co_return a.value; }
#else
dg::task<int> takes(const far_apart& a) { co_return a.value; }
#endif

struct pinned {
  explicit pinned(int v) : value(v) {}
  pinned(pinned&&) = delete;
  int value;
};

template <std::size_t>
using number = int;

template <std::size_t... I>
dg::tuple_generator<number<I>...> numbers(std::index_sequence<I...>) {
  for (int i = 0; i < 63; ++i) co_yield i;
}
template <std::size_t Count>
auto so_many() {
  return numbers(std::make_index_sequence<Count>());
}

#if CASE == 1
dg::generator<int&> values(int& i) {
  co_yield i;
}
#else
dg::generator<std::reference_wrapper<int>> values(int& i) {
  co_yield std::ref(i);
}
#endif

#if CASE == 2
dg::generator<const int> constants() {
  co_yield 1;
}
#else
dg::generator<int> constants() {
  co_yield 1;
}
#endif

#if CASE == 3
dg::generator<void> nothing() {
  co_return;
}
#endif

#if CASE == 4
dg::generator<pinned> pins() {
  co_yield dg::emplace(1);
}
#else
dg::tuple_generator<pinned, int> pins() {
  co_yield dg::emplace(1);
  co_yield 2;
}
#endif

#if CASE == 5
dg::generator<int[2]> pairs() {
  co_return;
}
#else
dg::generator<std::array<int, 2>> pairs() {
  co_return;
}
#endif

#if CASE == 6
dg::tuple_generator<> none() {
  co_return;
}
#endif

#if CASE == 8
dg::tuple_generator<int, int&> mixed(int& i) {
  co_yield 1;
  co_yield i;
}
#elif CASE == 13
dg::tuple_generator<int, const long> mixed(int&) {
  co_yield 1;
  co_yield 2;
}
#else
dg::tuple_generator<int, std::reference_wrapper<int>> mixed(int& i) {
  co_yield 1;
  co_yield std::ref(i);
}
#endif

void caller(dg::thread_pool& pool) {
  int i = 0;
#if CASE == 7
  auto refs = pool.submit(so_many<64>);
#else
  auto refs = pool.submit(so_many<63>);
#endif
#if CASE == 9
  constants();
#else
  for (int& value : constants()) i += value;
#endif
#if CASE == 10
  mixed(i);
#else
  auto one_each = pool.submit(mixed, std::ref(i));
#endif
  auto first = constants();
#if CASE == 11
  auto second = first;
#else
  auto second = std::move(first);
#endif
  auto once = mixed(i);
#if CASE == 12
  auto again = once;
#else
  auto again = std::move(once);
#endif
  auto pinned_refs = pool.submit(pins);
  auto wrapped = values(i);
  auto arrays = pairs();
  auto of_aligned = pool.submit(of_far_apart);
  auto aligned = pool.submit(takes, far_apart());
}
