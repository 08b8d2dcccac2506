// SPDX-License-Identifier: MIT
// Counted memory: the live objects of each kind, whichever thread allocated and freed them.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace test_memory {

using dg::detail::allocate;
using dg::detail::deallocate;
using dg::detail::memory_counter;
using dg::detail::memory_kind;

namespace {

constexpr memory_kind kinds[] = {memory_kind::record, memory_kind::frame, memory_kind::block, memory_kind::waiter};

dg::generator<int> one() { co_yield 1; }

}  // namespace

TEST_CASE("each kind of memory is counted by itself", "[memory]") {
  for (const memory_kind kind : kinds) {
    std::vector<long> before;
    for (const memory_kind k : kinds) before.push_back(memory_counter::live(k));
    void* a = allocate(kind, 10);
    void* b = allocate(kind, 1000);
    for (std::size_t k = 0; k < 4; ++k)
      CHECK(memory_counter::live(kinds[k]) - before[k] == (kinds[k] == kind ? 2 : 0));
    deallocate(kind, a, 10);
    CHECK(memory_counter::live(kind) - before[static_cast<std::size_t>(kind)] == 1);
    deallocate(kind, b, 1000);
    CHECK(memory_counter::live(kind) == before[static_cast<std::size_t>(kind)]);
  }
}

TEST_CASE("memory has the requested alignment", "[memory]") {
  const long before = memory_counter::live(memory_kind::block);
  for (const std::size_t alignment : {1u, 2u, 4u, 8u, 16u, 32u, 64u, 128u, 256u, 4096u}) {
    std::vector<void*> pieces;
    for (int i = 0; i < 20; ++i) {
      void* p = allocate(memory_kind::block, 3 * alignment, alignment);
      CHECK(reinterpret_cast<std::uintptr_t>(p) % alignment == 0);
      std::memset(p, 0xAB, 3 * alignment);
      pieces.push_back(p);
    }
    for (void* p : pieces) deallocate(memory_kind::block, p, 3 * alignment, alignment);
  }
  CHECK(memory_counter::live(memory_kind::block) == before);
}

TEST_CASE("every byte of an allocation may be written, whatever its size", "[memory]") {
  const long before = memory_counter::live(memory_kind::frame);
  std::vector<unsigned char*> pieces;
  constexpr std::size_t most = 3200;  // beyond the largest size that is cached
  for (std::size_t bytes = 1; bytes <= most; ++bytes) {
    pieces.push_back(static_cast<unsigned char*>(allocate(memory_kind::frame, bytes)));
    std::memset(pieces.back(), static_cast<int>(bytes % 251), bytes);
  }
  bool intact = true;
  for (std::size_t bytes = 1; bytes <= most; ++bytes) {
    unsigned char* const piece = pieces[bytes - 1];
    for (std::size_t i = 0; i < bytes; ++i) intact = intact && piece[i] == bytes % 251;
    deallocate(memory_kind::frame, piece, bytes);
  }
  CHECK(intact);
  CHECK(memory_counter::live(memory_kind::frame) == before);
}

TEST_CASE("a frame is aligned to 64 bytes, whatever its size, and every byte may be written", "[memory]") {
  const long before = memory_counter::live(memory_kind::frame);
  for (int round = 0; round < 2; ++round) {  // new memory, and cached memory
    std::vector<unsigned char*> frames;
    bool aligned = true;
    constexpr std::size_t most = 3200;
    for (std::size_t bytes = 1; bytes <= most; ++bytes) {
      frames.push_back(static_cast<unsigned char*>(dg::detail::allocate_frame(bytes)));
      aligned = aligned && reinterpret_cast<std::uintptr_t>(frames.back()) % 64 == 0;
      std::memset(frames.back(), static_cast<int>(bytes % 251), bytes);
    }
    bool intact = true;
    for (std::size_t bytes = 1; bytes <= most; ++bytes) {
      unsigned char* const frame = frames[bytes - 1];
      for (std::size_t i = 0; i < bytes; ++i) intact = intact && frame[i] == bytes % 251;
      dg::detail::deallocate_frame(frame, bytes);
    }
    CHECK(aligned);
    CHECK(intact);
  }
  dg::detail::free_frame(dg::detail::allocate_frame(200));
  CHECK(memory_counter::live(memory_kind::frame) == before);
}

TEST_CASE("memory may be freed by another thread than the one that allocated it", "[memory]") {
  const long before = memory_counter::live(memory_kind::record);
  std::vector<void*> pieces(100);
  for (int threads = 0; threads < 20; ++threads) {
    std::jthread([&] {
      for (void*& p : pieces) p = allocate(memory_kind::record, 64);
    }).join();
    CHECK(memory_counter::live(memory_kind::record) - before == 100);
    std::jthread([&] {
      for (void* p : pieces) deallocate(memory_kind::record, p, 64);
    }).join();
    CHECK(memory_counter::live(memory_kind::record) == before);
  }
}

TEST_CASE("each thread has its own number, which does not change", "[memory]") {
  const unsigned mine = dg::detail::thread_number();
  CHECK(dg::detail::thread_number() == mine);
  unsigned other = mine;
  std::jthread([&] { other = dg::detail::thread_number(); }).join();
  CHECK(other != mine);
}

TEST_CASE("frames and records are counted while they live", "[memory]") {
  const long frames = memory_counter::live(memory_kind::frame);
  const long records = memory_counter::live(memory_kind::record);
  {
    const dg::generator<int> g = one();
    CHECK(memory_counter::live(memory_kind::frame) - frames == 1);
    const dg::ref<int> r = dg::put(1);
    CHECK(memory_counter::live(memory_kind::record) - records == 1);
  }
  CHECK(memory_counter::live(memory_kind::frame) == frames);
  CHECK(memory_counter::live(memory_kind::record) == records);
}

}  // namespace test_memory
