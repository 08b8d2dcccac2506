// SPDX-License-Identifier: MIT
// How do I bound the memory that values take while they wait to be used?
//
//  - One stream: `backpressure{n}` stores at most n values. The task is suspended at the co_yield of value n, and
//    occupies no thread; it resumes when values are taken. The default is 64.
//  - Several streams together, in bytes or any other unit: `backpressure_by(budget, cost)`. All streams with the same
//    budget share its limit. One value of each stream may always be stored, so that the streams can be read in any
//    order.
//  - Drop what you do not need any more: each ref frees its own value, at once.

#include <dyngen/dyngen.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

/// A large object that counts the memory of all its kind.
class image {
 public:
  explicit image(std::size_t bytes) : pixels_(bytes) {
    const std::size_t now = alive_ += bytes;
    std::size_t before = most_;
    while (before < now && !most_.compare_exchange_weak(before, now)) {
    }
  }
  image(image&& other) noexcept : pixels_(std::move(other.pixels_)) { other.pixels_.clear(); }
  image& operator=(image&&) = delete;
  ~image() { alive_ -= pixels_.size(); }

  std::size_t bytes() const { return pixels_.size(); }
  static std::size_t most() { return most_.exchange(alive_.load()); }

 private:
  std::vector<char> pixels_;
  static inline std::atomic<std::size_t> alive_{0}, most_{0};
};

constexpr std::size_t million = 1'000'000;

dg::generator<image> load(int count, std::size_t bytes) {
  for (int i = 0; i < count; ++i) co_yield dg::emplace(bytes);
}

}  // namespace

int main() {
  dg::thread_pool pool(2);

  std::size_t total = 0;
  for (image&& one : pool.options(dg::backpressure{2}).submit(load, 100, million).values()) total += one.bytes();
  // Two are stored, and one is under the iterator.
  std::printf("100 images, %zu MB, at most %s\n", total / million, image::most() <= 3 * million ? "3 MB at once" : "too much");

  const dg::budget bytes{10 * million};
  const auto together = pool.options(dg::backpressure_by(bytes, [](const image& i) { return i.bytes(); }));
  dg::ref_stream<image> small = together.submit(load, 50, million);
  dg::ref_stream<image> large = together.submit(load, 10, 5 * million);
  total = 0;
  for (image&& one : large.values()) total += one.bytes();
  for (image&& one : small.values()) total += one.bytes();
  // The budget, the one value of each stream that is always allowed, the next value of each, and the one under the
  // iterator.
  std::printf("two streams, %zu MB, at most %s\n", total / million, image::most() <= 27 * million ? "27 MB at once" : "too much");
}
