// SPDX-License-Identifier: MIT
#pragma once
// A producer for tests of the parts of a task: it owns nothing and records its calls.

#include "../support.hpp"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <utility>
#include <vector>

namespace unit {

namespace detail = dg::detail;

/// Memory of a size and alignment, followed by bytes 0xAB that must not be written.
class guarded_memory {
 public:
  guarded_memory(std::size_t bytes, std::size_t alignment)
      : bytes_(bytes),
        alignment_(alignment),
        memory_(static_cast<std::byte*>(::operator new(bytes + guard, std::align_val_t(alignment)))) {
    for (std::size_t i = 0; i < guard; ++i) memory_[bytes + i] = mark;
  }
  guarded_memory(const guarded_memory&) = delete;
  guarded_memory& operator=(const guarded_memory&) = delete;
  ~guarded_memory() { ::operator delete(memory_, std::align_val_t(alignment_)); }

  void* begin() const noexcept { return memory_; }
  /// Is `[p, p + size)` inside?
  bool holds(const void* p, std::size_t size) const noexcept {
    const auto* at = static_cast<const std::byte*>(p);
    return at >= memory_ && at + size <= memory_ + bytes_;
  }
  bool intact() const noexcept {
    for (std::size_t i = 0; i < guard; ++i)
      if (memory_[bytes_ + i] != mark) return false;
    return true;
  }

 private:
  static constexpr std::size_t guard = 64;
  static constexpr std::byte mark{0xAB};
  std::size_t bytes_;
  std::size_t alignment_;
  std::byte* memory_;
};

/// Counts the calls of its functions; its values are of type T.
template <class T>
class counting_producer : public detail::shared_state {
 public:
  explicit counting_producer(std::uint32_t references) noexcept : shared_state(references) {}

  void set_results(detail::slot_group& g, std::uint8_t end_index = 0) noexcept {
    results_ = &g;
    end_index_ = end_index;
  }
  void fail(std::exception_ptr e) noexcept { failure_ = std::move(e); }
  void destroy_value(detail::slot& s) noexcept override {
    destroyed.push_back(detail::slot_group::of(s).number_of(s.index()));
    static_cast<T*>(detail::slot_group::of(s).value_at(s.index()))->~T();
  }
  void segment_is_free(std::uint32_t values) noexcept override {
    ++blocks_freed;
    values_freed += values;
  }

  int freed = 0;                         ///< how often the last reference was dropped
  int blocks_freed = 0;                  ///< segments released
  std::uint64_t values_freed = 0;        ///< values in them
  std::vector<std::uint64_t> destroyed;  ///< numbers of the values, in order

 protected:
  void free_memory() noexcept override { ++freed; }
};

}  // namespace unit
