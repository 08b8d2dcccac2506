// SPDX-License-Identifier: MIT
#pragma once
// The source of a program's random choices: a seed, or the bytes of a fuzzer's input. Equal seeds or bytes give equal
// choices; after the last byte it is always the first choice.

#include <cstddef>
#include <cstdint>

namespace fuzz {

class choice_source {
 public:
  explicit choice_source(std::uint64_t seed) noexcept : state_(seed) {}
  choice_source(const std::uint8_t* bytes, std::size_t count) noexcept : bytes_(bytes), left_(count) {}

  /// 0 … n-1.
  unsigned below(unsigned n) noexcept {
    if (n <= 1) return 0;
    if (state_given()) return static_cast<unsigned>((next() >> 32) * n >> 32);
    unsigned value = take_byte();
    if (n > 256) value = value << 8 | take_byte();
    return value % n;
  }
  unsigned between(unsigned least, unsigned most) noexcept { return least + below(most - least + 1); }
  bool one_in(unsigned n) noexcept { return below(n) == n - 1; }

  /// An index into `weights`, with a probability in proportion to its weight.
  template <std::size_t N>
  unsigned weighted(const unsigned (&weights)[N]) noexcept {
    unsigned sum = 0;
    for (unsigned w : weights) sum += w;
    unsigned at = below(sum);
    for (unsigned i = 0; i < N; ++i) {
      if (at < weights[i]) return i;
      at -= weights[i];
    }
    return 0;
  }

  /// Steele, Lea and Flood's SplitMix64.
  static std::uint64_t mixed(std::uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

 private:
  bool state_given() const noexcept { return bytes_ == nullptr; }
  std::uint64_t next() noexcept { return mixed(state_ += 0x9e3779b97f4a7c15u); }
  unsigned take_byte() noexcept {
    if (left_ == 0) return 0;
    --left_;
    return *bytes_++;
  }

  std::uint64_t state_ = 0;
  const std::uint8_t* bytes_ = nullptr;
  std::size_t left_ = 0;
};

}  // namespace fuzz
