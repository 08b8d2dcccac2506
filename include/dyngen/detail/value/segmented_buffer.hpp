// SPDX-License-Identifier: MIT
#pragma once
// The return buffer of a task that sets the number of its values itself: blocks of slots, which the producer appends.
// Each block is freed as soon as its values are gone. One producer at a time, one consumer at a time; any thread may
// drop the refs that the consumer has handed out.
//
// Every slot has one holder at first, the sequence. A stream hands this holder over with the ref, a list keeps it. A
// stream writes the word of a slot only when it hands the slot out: most values are consumed in place.
// References of a block: one for each of its slots (the producer has those of slots not stored yet) and one for the
// consumer's cursor. An emptied block waits in spare_ for the producer of the same buffer; only the producer takes
// blocks from there.
//
// [B1] `published` (release store by the producer) makes all slots below it, and the links to their blocks, visible to
//      the consumer's acquire load. It is also the publisher's write of [W1]: on the light side until the values have
//      proved expensive, which a waiting thread sees in `fences`.
//
// The producer fills its window, a part of the block, without a look at anything but the window's `limit`, one word.
// Any thread that wants the producer's attention closes the window.
// [A1] A thread sets a flag that asks for attention, or registers a waiter (seq_cst), then closes the window (seq_cst).
//      The producer opens the window (seq_cst), then looks at the flags and at the list of waiters (seq_cst). Either
//      the producer sees what was set, and closes the window itself, or the other thread closes it later.
//      For [W1] the producer reads `limit` in place of the list: after each value it has published.
//
// A slot begins with the stage `value`: no thread reads it before the value is published.
//
// The consumer's position is the number of values it has taken. Slots of the cursor's block count as released by it, all
// at once, when the consumer leaves the block, except those handed out and those of values that it still holds: values
// taken in place and not destroyed yet. A row is the part of the block that take_behind() may take from without a look
// at anything else.

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/base/compiler.hpp>
#include <dyngen/detail/base/integer.hpp>
#include <dyngen/detail/value/slot_operations.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace dyngen::detail {

/// A block. Its slots and values follow it in memory.
struct segment {
  segment(shared_state* owner, std::uint32_t slot_count, std::size_t value_size, std::size_t value_alignment,
          std::uint64_t first) noexcept
      : live(slot_count + 1),
        capacity(slot_count),
        head(owner, slot_count, value_size, value_alignment, static_cast<std::int64_t>(first), true) {}

  atomic<std::uint32_t> live;  ///< slots not released, plus one for the cursor
  std::uint32_t capacity;
  segment* next = nullptr;     ///< written by the producer before [B1]
  slot_group head;                  ///< last: its slots follow it

  static segment& of(slot_group& g) noexcept {
    return *reinterpret_cast<segment*>(reinterpret_cast<std::byte*>(&g) - offset_of_head());
  }
  static constexpr std::size_t offset_of_head() noexcept { return sizeof(segment) - sizeof(slot_group); }
};

static_assert(alignof(segment) == alignof(slot_group) && sizeof(segment) % alignof(slot_group) == 0);

/// The range of values that the producer may fill without further checks, and the publication of filled ones.
template <class T>
struct value_window {
  T* next = nullptr;
  /// Address of the end of the values that may be filled; 0: closed. A word without a type, so that code which does not
  /// know T can close the window.
  atomic<std::uintptr_t> limit{0};
  T* block_end = nullptr;   ///< end of the values in the block
  bool suspends = false;    ///< the producer suspends after it has filled the last one
  bool plain = false;       ///< commits are release stores: waiting threads execute the heavy fence
  atomic<bool> fences{false};  ///< commits use seq_cst from now on: waiting threads need no fence
  atomic<std::uint64_t> published{0};
  waiter_list* waiters = nullptr;
  const atomic<std::uint64_t>* taken = nullptr;  ///< number of values that the reader has consumed

  /// Fires the reader's waiter if it waits for a value that is there. A reader that has consumed everything published
  /// may have begun to wait for the next value; it is not woken before that value is there.
  void notify() noexcept {
    // relaxed: the reader wrote it before it entered the list, and this thread got the waiter from the list.
    waiters->notify([this](std::uint32_t) noexcept { return made() > taken->load(relaxed); });
  }
  // relaxed: only the producer writes it, and only the producer calls this.
  std::uint64_t made() const noexcept { return published.load(relaxed); }
  /// `asks`: does any flag ask for attention?
  template <class Asks>
  void open(std::uint64_t most, Asks asks) noexcept {
    const auto there = static_cast<std::uint64_t>(block_end - next);
    limit.store(address_of(next + (most < there ? most : there)), seq_cst);  // [A1]
    if (asks() || waiters->any()) close();                                  // [A1]
  }
  /// From any thread.
  void close() noexcept { limit.store(0, seq_cst); }  // [A1][W1]
  /// May the next value be filled?
  // relaxed: a late look is as good as the other thread having closed it later.
  bool is_open() const noexcept { return address_of(next) < limit.load(relaxed); }
  /// The same after a commit.
  bool goes_on() const noexcept { return address_of(next) < limit.load(seq_cst); }  // [W1]
  static std::uintptr_t address_of(const T* place) noexcept { return reinterpret_cast<std::uintptr_t>(place); }
  void commit() noexcept {
    ++next;
    if (plain) [[likely]]
      asymmetric_store_as<true>(published, made() + 1);  // [B1][W1]
    else
      asymmetric_store_as<false>(published, made() + 1);  // [B1][W1]
  }
  /// Called by the producer before it commits anything. Values that take long to make are waited for one by one, and
  /// then the waiting thread's fence, which interrupts all threads, costs more than a fence for each commit.
  void begin(bool expensive) noexcept {
    // [W1] release: a thread that sees it also sees what was committed without a fence before.
    if (expensive) fences.store(true, release);
    // relaxed: only the producer writes it.
    plain = has_membarrier() && !fences.load(relaxed);
  }
  /// commit() if the only thread that may wait for the value is the one that runs the producer now.
  void commit_unwatched() noexcept {
    ++next;
    published.store(made() + 1, release);  // [B1]
  }
};

template <class T>
class segmented_buffer {
 public:
  /// Slots in a block once a sequence is long; small for large values, and where only a few wait at a time.
  static constexpr std::uint32_t full_block = sizeof(T) <= 256 ? 64 : sizeof(T) <= 2048 ? 8 : 1;
  static constexpr std::uint32_t first_block = full_block < 8 ? full_block : 8;

  /// `room`: the most values that are stored and not consumed at a time; ignored with random access.
  explicit segmented_buffer(shared_state& owner, bool random_access, std::uint64_t room = full_block) noexcept
      : random_access_(random_access), largest_(random_access ? full_block : largest_for(room)), owner_(owner) {
    window_.waiters = &waiters;
    window_.taken = &taken_;
  }
  segmented_buffer(const segmented_buffer&) = delete;
  segmented_buffer& operator=(const segmented_buffer&) = delete;
  ~segmented_buffer() {
    // relaxed: the last reference on the owner is gone.
    if (segment* spare = spare_.load(relaxed)) free_segment(spare);
  }

  // --- called by the producer ---

  std::uint64_t made() const noexcept { return window_.made(); }
  value_window<T>& window() noexcept { return window_; }

  /// The storage of the next value. Throws std::bad_alloc.
  void* place() {
    if (window_.next == window_.block_end) append();
    return window_.next;
  }

  /// Publishes the value that the caller has constructed at place().
  void commit() noexcept { window_.commit(); }

  /// Called when no value will follow: releases the slots that were never used.
  void close() noexcept {
    const auto unused = static_cast<std::uint32_t>(window_.block_end - window_.next);
    if (unused != 0) release_slots(*tail_, unused);  // a full tail may be gone by now
  }

  // --- called by the consumer ---

  /// The number of values published so far; acquire [B1].
  std::uint64_t published() const noexcept { return window_.published.load(acquire); }
  std::uint64_t published_for_waiting() const noexcept { return window_.published.load(seq_cst); }  // [W1]
  bool producer_fences() const noexcept { return window_.fences.load(acquire); }                    // [W1]

  /// How many values were consumed. Any other thread that calls it says why a stale value is good enough.
  std::uint64_t taken() const noexcept { return taken_.load(relaxed); }
  const atomic<std::uint64_t>& taken_counter() const noexcept { return taken_; }

  /// Consumes the first value: hands its slot over, with its holder. Only if published() covers it.
  slot& hand_out() noexcept {
    const auto position = static_cast<std::uint32_t>(take() - cursor_first_);
    ++handed_out_;
    return *::new (cursor_->head.slot_array() + position) slot{slot::make(stage::value, position, 1)};
  }
  /// Consumes the first value in place. destroyed_in_place(), with block_taken_from(), releases its slot.
  T& take_in_place() noexcept {
    const std::uint64_t number = take();
    ++held_;
    return *place_of(number);
  }
  segment* block_taken_from() const noexcept { return cursor_; }
  /// Consumes the first value in place if it is in the row, right behind `last`, a value of the same block that was taken
  /// in place: then it takes over the slot that `last` held, and `count`, which is taken(), is counted up. Returns null if
  /// it is not, and consumes nothing.
  DYNGEN_ALWAYS_INLINE T* take_behind(const T* last, std::uint64_t& count) noexcept {
    T* const place = place_of(count);
    if (count >= row_end_ || place != last + 1) return nullptr;
    asymmetric_store(taken_, ++count);  // [K4]
    return place;
  }
  /// take_behind() for a value that is published, in the row or not.
  DYNGEN_ALWAYS_INLINE T* take_next_behind(const T* last) noexcept {
    const std::uint64_t number = taken();
    T* const place = place_of(number);
    if (place != last + 1 || number == cursor_end_) return nullptr;
    asymmetric_store(taken_, number + 1);  // [K4]
    return place;
  }
  /// The row ends before value `published`, or at the end of the block.
  void set_row(std::uint64_t published) noexcept { row_end_ = (std::min)(published, cursor_end_); }
  void end_row() noexcept { row_end_ = 0; }

  /// Called when a value of `block` that was consumed in place is destroyed. Releases its slot, together with the
  /// others of its block if the consumer is still there.
  void destroyed_in_place(segment& block) noexcept {
    if (cursor_ == &block)
      --held_;
    else
      release_slots(block, 1);
  }

  /// Consumes the first `n` values and destroys them.
  void drop_front(std::uint64_t n) noexcept {
    while (n != 0) {
      if constexpr (std::is_trivially_destructible_v<T>) {
        if (taken() == cursor_end_) enter_next();
        const std::uint64_t here = (std::min)(n, cursor_end_ - taken());
        taken_.store(taken() + here, relaxed);  // relaxed: the reader has gone, or goes
        n -= here;
      } else {
        drop<T>(hand_out());
        --n;
      }
    }
  }

  /// Called when the consumer will not use the buffer again, all published values are popped, and none will be added.
  void leave() noexcept {
    segment* at = cursor_ == nullptr ? first_ : cursor_;
    std::uint32_t finished = cursor_ == nullptr ? 0 : leave_block();
    cursor_ = nullptr;
    first_ = nullptr;
    cursor_end_ = taken();
    // One more block may follow the last value's block: appended for a value whose constructor threw.
    while (at != nullptr) {
      segment* next = at->next;
      release_slots(*at, 1 + std::exchange(finished, 0u));
      at = next;
    }
  }

  // --- random access, after the producer has called close() ---

  slot& at(std::uint64_t i) noexcept {
    std::uint64_t block;
    std::uint64_t start;
    if constexpr (full_block == 64) {
      block = i < 8 ? 0 : i < 64 ? integer_as<std::uint64_t>(std::bit_width(i)) - 3 : 3 + i / 64;
      start = block == 0 ? 0 : block < 4 ? std::uint64_t{4} << block : (block - 3) * 64;
    } else {
      block = i / full_block;
      start = block * full_block;
    }
    return directory_[integer_as<std::size_t>(block)]->head.slot_array()[i - start];
  }
  static T& value_of(slot& s) noexcept { return *static_cast<T*>(slot_group::of(s).value_at(s.index())); }

  /// Drops the list's holders of all `made()` values and its references on all blocks.
  void drop_all() noexcept {
    const std::uint64_t count = made();
    for (std::uint64_t i = 0; i < count; ++i) drop<T>(at(i));
    for (segment* s : directory_) release_slots(*s, 1);
    directory_.clear();
  }

  // --- called by any thread ---

  void release_slots(segment& s, std::uint32_t n) noexcept {
    // [B2] acq_rel: the thread that brings the count to 0 sees all that was done with the block's values.
    if (s.live.load(acquire) != n && s.live.fetch_sub(n, acq_rel) != n) return;
    // Every block but the last is full.
    const auto first = static_cast<std::uint64_t>(s.head.first >> 1);
    const std::uint64_t stored = made() - first;  // relaxed: ordered by the count above
    owner_.segment_is_free(stored < s.capacity ? static_cast<std::uint32_t>(stored) : s.capacity);
    segment* old = &s;
    // [B3] acq_rel: hands the emptied block to the producer, or takes back one that it did not take.
    if (s.capacity == largest_ && !random_access_) old = spare_.exchange(&s, acq_rel);
    if (old != nullptr) free_segment(old);
    owner_.drop_references(1);
  }

 private:
  static constexpr std::size_t alignment = slot_group::alignment_for(alignof(T));

  static constexpr std::size_t bytes(std::uint32_t capacity) noexcept {
    return segment::offset_of_head() + slot_group::values_offset(capacity, alignof(T)) + alignment + capacity * sizeof(T);
  }

  /// Counts the first value as consumed. Returns its number.
  std::uint64_t take() noexcept {
    const std::uint64_t number = taken();
    if (number == cursor_end_) [[unlikely]]
      enter_next();
    asymmetric_store(taken_, number + 1);  // [K4]
    return number;
  }
  T* place_of(std::uint64_t number) const noexcept {
    return reinterpret_cast<T*>(cursor_origin_ + number * sizeof(T));
  }
  void enter_next() noexcept {
    if (cursor_ == nullptr) {
      cursor_ = first_;
    } else {
      segment* const next = cursor_->next;
      release_slots(*cursor_, 1 + leave_block());
      cursor_ = next;
    }
    cursor_first_ = taken();
    cursor_end_ = cursor_first_ + cursor_->capacity;
    cursor_origin_ = reinterpret_cast<std::uintptr_t>(cursor_->head.value_at(0)) - cursor_first_ * sizeof(T);
  }
  /// Returns how many slots of the cursor's block the consumer releases itself.
  std::uint32_t leave_block() noexcept {
    const auto consumed = static_cast<std::uint32_t>(taken() - cursor_first_);
    return consumed - std::exchange(handed_out_, 0u) - std::exchange(held_, 0u);
  }

  void append() {
    const std::uint32_t capacity = next_capacity();
    if (random_access_ && directory_.size() == directory_.capacity()) directory_.reserve(directory_.size() * 2 + 4);
    // [B3] acquire: what was done with the block's former values comes before the new ones. A block in spare_ has the
    // largest size, and so have all blocks that follow it.
    segment* const fresh = spare_.exchange(nullptr, acquire);
    void* memory = fresh != nullptr ? end_segment(fresh) : allocate(memory_kind::block, bytes(capacity), alignment);
    owner_.add_references(1);
    auto* s = ::new (static_cast<std::byte*>(memory) + lead) segment(&owner_, capacity, sizeof(T), alignof(T), made());
    if (random_access_) {
      for (std::uint32_t i = 0; i < capacity; ++i) ::new (s->head.slot_array() + i) slot{slot::make(stage::value, i, 1)};
      directory_.push_back(s);
    }
    (tail_ == nullptr ? first_ : tail_->next) = s;
    tail_ = s;
    capacity_ = capacity;
    window_.close();  // its limit is an address in the block before
    window_.next = static_cast<T*>(s->head.value_at(0));
    window_.block_end = window_.next + capacity;
  }

  std::uint32_t next_capacity() const noexcept {
    if (tail_ == nullptr || made() == first_block) return first_block < largest_ ? first_block : largest_;
    return capacity_ < largest_ ? capacity_ * 2 : largest_;
  }
  static constexpr std::uint8_t largest_for(std::uint64_t room) noexcept {
    std::uint32_t slot_count = full_block < 4 ? full_block : 4;
    while (slot_count < full_block && slot_count / 2 < room) slot_count *= 2;
    return static_cast<std::uint8_t>(slot_count);
  }

  /// So that `head`, and with it the values, stand on the alignment that group expects.
  static constexpr std::size_t lead =
      (alignment - segment::offset_of_head() % alignment) % alignment;

  void* end_segment(segment* s) noexcept {
    s->~segment();
    return reinterpret_cast<std::byte*>(s) - lead;
  }
  void free_segment(segment* s) noexcept {
    const std::uint32_t capacity = s->capacity;
    deallocate(memory_kind::block, end_segment(s), bytes(capacity), alignment);
  }

  static_assert(atomic<segment*>::is_always_lock_free);

  // Used by the producer.
  segment* tail_ = nullptr;
  std::uint32_t capacity_ = 0;  ///< of the tail
  const bool random_access_;
  const std::uint8_t largest_;  ///< slots in a block
  value_window<T> window_;

  // Rarely written, and used by both sides. They separate what each side writes with each value by at least a cache
  // line, whatever the alignment of the object.
  shared_state& owner_;
  segment* first_ = nullptr;  ///< written once by the producer, before [B1]; then used by the consumer
  std::vector<segment*> directory_;
  atomic<segment*> spare_{nullptr};

 public:
  waiter_list waiters;  ///< of the consumer: for the next value or the end

 private:
  // Used by the consumer.
  atomic<std::uint64_t> taken_{0};
  std::uint64_t row_end_ = 0;         ///< number of the first value behind the row
  std::uintptr_t cursor_origin_ = 0;  ///< where value 0 would be if the cursor's block began with it
  segment* cursor_ = nullptr;
  std::uint64_t cursor_first_ = 0;    ///< number of the first value of the cursor's block
  std::uint64_t cursor_end_ = 0;      ///< number of the first value behind that block
  std::uint32_t handed_out_ = 0;      ///< slots of the block that were handed out
  std::uint32_t held_ = 0;            ///< values of the block that were taken in place and are not destroyed
};

}  // namespace dyngen::detail
