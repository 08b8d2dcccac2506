// SPDX-License-Identifier: MIT
#pragma once
// The sizes of memory that memory.hpp caches, and the depot in which threads exchange batches of free pieces.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <utility>

namespace dyngen::detail {

/// A free piece in a list, whose end is a free_piece that is no memory: its `next` is null. A list that cannot take
/// another piece is a batch. In the depot, the first piece of a batch also links to the next batch.
struct free_piece {
  free_piece* next;
  free_piece* next_batch;
  std::uint32_t room;  ///< how many pieces may be added in front of this one
};

/// Compilers place over-aligned locals of a coroutine correctly only if its frame is aligned to at least the same
/// boundary, but they do not request such a frame. So all frames have this alignment: enough for the registers of every
/// x86-64 processor and for a cache line.
inline constexpr std::size_t frame_alignment = 64;

/// The sizes that are cached: first those in steps of 32 bytes, then, for pieces with the alignment of frames, those in
/// steps of 64 bytes. Each is smaller by the word that common allocators keep beside each piece.
struct size_class {
  static constexpr std::size_t step = 32;
  static constexpr std::size_t frame_step = frame_alignment;
  static constexpr std::size_t beside = sizeof(std::size_t);
  static constexpr std::size_t ordinary = 96;
  static constexpr std::size_t largest = step * ordinary - beside;
  static constexpr std::size_t count = ordinary + step * ordinary / frame_step;

  static constexpr std::size_t of(std::size_t bytes) noexcept { return (bytes + beside + step - 1) / step - 1; }
  static constexpr std::size_t of_frame(std::size_t bytes) noexcept {
    return ordinary + (bytes + beside + frame_step - 1) / frame_step - 1;
  }
  static constexpr std::size_t bytes(std::size_t index) noexcept {
    return (index < ordinary ? (index + 1) * step : (index - ordinary + 1) * frame_step) - beside;
  }
  /// Number of pieces in a batch: about 8 KiB of them.
  static constexpr std::uint32_t batch(std::size_t index) noexcept {
    return static_cast<std::uint32_t>(std::clamp<std::size_t>(8192 / bytes(index), 4, 64));
  }

  /// Allocates a piece with operator new. Throws std::bad_alloc.
  static void* make(std::size_t index) {
    return index < ordinary ? ::operator new(bytes(index)) : ::operator new(bytes(index), std::align_val_t(frame_alignment));
  }
  static void deallocate(void* piece, std::size_t index) noexcept {
    if (index < ordinary)
      ::operator delete(piece, bytes(index));
    else
      ::operator delete(piece, bytes(index), std::align_val_t(frame_alignment));
  }
};

/// Full batches of one size, for threads whose cache is empty.
class memory_depot {
 public:
  void put(free_piece* batch, std::size_t index) noexcept {
    if (const std::unique_lock lock(mutex_, std::try_to_lock); lock.owns_lock()) {
      if (count_ < most) {
        batch->next_batch = std::exchange(first_, batch);
        ++count_;
        return;
      }
    }
    release(batch, index);
  }
  free_piece* take() noexcept {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return nullptr;
    free_piece* const batch = first_;
    if (batch != nullptr) {
      first_ = batch->next_batch;
      --count_;
    }
    return batch;
  }
  static void release(free_piece* pieces, std::size_t index) noexcept {
    while (pieces->next != nullptr) size_class::deallocate(std::exchange(pieces, pieces->next), index);
  }
  static memory_depot& of(std::size_t index) noexcept { return all_[index]; }

 private:
  static constexpr unsigned most = 256;  // batches; about 2 MiB

  std::mutex mutex_;
  free_piece* first_ = nullptr;
  unsigned count_ = 0;
  static memory_depot all_[size_class::count];
};
inline constinit memory_depot memory_depot::all_[size_class::count];

}  // namespace dyngen::detail
