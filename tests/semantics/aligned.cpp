// SPDX-License-Identifier: MIT
// Over-aligned parameters, locals and results of coroutines: compilers place them right if the frame is aligned to 64.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace test_aligned {

namespace {

template <std::size_t Alignment>
struct alignas(Alignment) over_aligned {
  double d[Alignment / sizeof(double)] = {};
};

std::atomic<long> misplaced{0};

// Through volatile: a compiler assumes the alignment of the objects that it has placed.
template <class T>
[[gnu::noinline]] void look_at(const T& value) {
  volatile auto address = reinterpret_cast<std::uintptr_t>(&value);
  if (address % alignof(T) != 0) ++misplaced;
}

template <class T>
dg::generator<T> values(T parameter, int n) {
  T local = parameter;
  T array[2];
  for (int i = 0; i < n; ++i) {
    T inner = local;
    look_at(parameter);
    look_at(local);
    look_at(array[1]);
    look_at(inner);
    co_yield local;
    look_at(local);
    look_at(inner);
    local.d[0] += 1;
  }
}

template <class T>
dg::task<T> one(T parameter, dg::ref<int> later) {
  T local = parameter;
  local.d[0] += co_await later;
  look_at(parameter);
  look_at(local);
  co_return local;
}

template <class T>
dg::task<double> sum(T parameter, dg::ref<int> later) {
  T first = co_await one<T>(parameter, later);
  T second = co_await one<T>(first, later);
  look_at(first);
  look_at(second);
  co_return first.d[0] + second.d[0];
}

dg::generator<int> without_a_sign(dg::ref<int> later) {  // neither its parameters nor its values show it
  over_aligned<64> local;
  local.d[0] = co_await later;
  look_at(local);
  co_yield static_cast<int>(local.d[0]);
  look_at(local);
}

template <class T>
void run() {
  misplaced = 0;
  dg::thread_pool pool(2);
  std::vector<std::unique_ptr<int[]>> between;  // so that frames are not adjacent
  std::vector<dg::ref_stream<T>> streams;
  for (int i = 0; i < 50; ++i) {
    between.push_back(std::make_unique<int[]>(static_cast<std::size_t>(10 + i % 7)));
    streams.push_back(pool.submit(values<T>, T(), 3));
    for (T&& value : streams.back().values()) look_at(value);
    dg::promise<int> later;
    auto total = pool.submit(sum<T>, T(), dg::unresolved(later.get_ref()));
    auto hidden = pool.submit(without_a_sign, dg::unresolved(later.get_ref()));
    later.set_value(1);
    CHECK(total.get() == 3);
    CHECK(hidden.next_value() == 1);
    auto in_place = values<T>(T(), 2);
    for (T& value : in_place) look_at(value);
  }
  CHECK(misplaced == 0);
}

}  // namespace

TEST_CASE("over-aligned parameters, locals and results of coroutines are where they should be", "[coroutines]") {
  support::watchdog dog("over-aligned coroutines");
  run<over_aligned<32>>();
  run<over_aligned<64>>();
}

}  // namespace test_aligned
