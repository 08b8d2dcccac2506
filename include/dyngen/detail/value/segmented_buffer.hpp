// SPDX-License-Identifier: MIT
#pragma once
// The return buffer of a task that sets the number of its values itself: blocks of slots, appended by the producer,
// each given back as soon as its values are gone. One producer at a time, one consumer at a time; refs that the
// consumer has handed out are dropped by anybody.
//
// Every slot is born with one holder, the sequence: a stream hands that hold over with the ref, a list keeps it.
// A block is held by each of its slots (the producer stands for those not stored yet) and by the consumer's cursor.
// An emptied block waits in spare_ for the producer of the same buffer, who alone takes blocks from there.
//
// [B1] `published` (release store by the producer) makes all slots below it, and the links to their blocks, visible to
//      the consumer's acquire load. It is also the publisher's half of [W1]: the light side, until the values have proved
//      dear, and whoever waits sees that.
//
// A slot is born as one that has a value: nobody looks at it before `published` says that it has.

#include <dyngen/detail/base/asymmetric_fence.hpp>
#include <dyngen/detail/base/integer.hpp>
#include <dyngen/detail/value/slot_operations.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

namespace dyngen::detail {

/// A block: its slots and values follow.
struct segment {
  segment(shared_state* owner, std::uint32_t slot_count, std::size_t value_size, std::size_t value_alignment,
          std::uint64_t first) noexcept
      : live(slot_count + 1),
        capacity(slot_count),
        head(owner, slot_count, value_size, value_alignment, static_cast<std::int64_t>(first), true) {}

  atomic<std::uint32_t> live;  ///< slots not released, and one for the cursor
  std::uint32_t capacity;
  segment* next = nullptr;     ///< written before [B1] by the producer
  slot_group head;                  ///< last: its slots follow it

  static segment& of(slot_group& g) noexcept {
    return *reinterpret_cast<segment*>(reinterpret_cast<std::byte*>(&g) - offset_of_head());
  }
  static constexpr std::size_t offset_of_head() noexcept { return sizeof(segment) - sizeof(slot_group); }
};

static_assert(alignof(segment) == alignof(slot_group) && sizeof(segment) % alignof(slot_group) == 0);

/// Places that a producer may fill one after the other without asking, and how it says that it has filled one.
template <class T>
struct value_window {
  T* next = nullptr;
  T* end = nullptr;         ///< of those that may be filled
  T* block_end = nullptr;   ///< of those that there are
  bool suspends = false;    ///< who fills the last one suspends
  bool plain = false;       ///< who commits need not fence, for who looks does
  atomic<bool> fences{false};  ///< whoever commits does, from now on: so who looks need not
  atomic<std::uint64_t> published{0};
  waiter_list* waiters = nullptr;
  const atomic<std::uint64_t>* taken = nullptr;  ///< by the reader: how many values

  /// Fires the reader's waiter, if it waits for a value that is there. A reader that has taken all that was published before
  /// may have begun to wait for the next one: it is not woken for nothing.
  void notify() noexcept {
    // relaxed: the reader wrote it before it entered the list, from where this thread has the waiter.
    waiters->notify([this](std::uint32_t) noexcept { return made() > taken->load(relaxed); });
  }
  // relaxed: written by the producer only, who asks.
  std::uint64_t made() const noexcept { return published.load(relaxed); }
  void open(std::uint64_t most) noexcept {
    const auto there = static_cast<std::uint64_t>(block_end - next);
    end = next + (most < there ? most : there);
  }
  void commit() noexcept {
    ++next;
    if (plain) [[likely]]
      asymmetric_store_as<true>(published, made() + 1);  // [B1][W1]
    else
      asymmetric_store_as<false>(published, made() + 1);  // [B1][W1]
  }
  /// By the producer, before it commits anything: values that take long to make are waited for one by one, and the fence
  /// that the waiter would make for all threads costs more than one for each of them.
  void begin(bool dear) noexcept {
    // [W1] release: who sees it sees what was committed without a fence as well.
    if (dear) fences.store(true, release);
    // relaxed: the producer's own.
    plain = has_membarrier() && !fences.load(relaxed);
  }
  /// The same if whoever may wait for the value is who asked for it.
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

  /// `room`: so many values wait at most; of no account with random access.
  explicit segmented_buffer(shared_state& owner, bool random_access, std::uint64_t room = full_block) noexcept
      : random_access_(random_access), largest_(random_access ? full_block : largest_for(room)), owner_(owner) {
    window_.waiters = &waiters;
  }
  segmented_buffer(const segmented_buffer&) = delete;
  segmented_buffer& operator=(const segmented_buffer&) = delete;
  ~segmented_buffer() {
    // relaxed: the last reference on the owner is gone.
    if (segment* spare = spare_.load(relaxed)) free_segment(spare);
  }

  // --- the producer's side ---

  std::uint64_t made() const noexcept { return window_.made(); }
  value_window<T>& window() noexcept { return window_; }

  /// Where the next value is to be constructed. Throws std::bad_alloc.
  void* place() {
    if (window_.next == window_.block_end) append();
    return window_.next;
  }

  /// The value at place() is constructed: publishes it.
  void commit() noexcept { window_.commit(); }

  /// No value will follow: the slots that were never used go back.
  void close() noexcept {
    const auto unused = static_cast<std::uint32_t>(window_.block_end - window_.next);
    if (unused != 0) release_slots(*tail_, unused);  // a full tail may be gone by now
  }

  // --- the consumer's side ---

  /// How many values are there, or were: by acquire [B1].
  std::uint64_t published() const noexcept { return window_.published.load(acquire); }
  std::uint64_t published_for_waiting() const noexcept { return window_.published.load(seq_cst); }  // [W1]
  bool producer_fences() const noexcept { return window_.fences.load(acquire); }                    // [W1]

  /// The first value not taken yet. Only when published() says that it is there.
  slot& front() noexcept {
    if (position_ == cursor_end_) [[unlikely]]
      enter_next();
    return cursor_->head.slot_array()[position_];
  }
  /// Takes front()'s value where it is; its slot goes back by destroyed_in_place(), with block_taken_from().
  T& take_in_place() noexcept {
    if (position_ == cursor_end_) [[unlikely]]
      enter_next();
    return cursor_values_[position_++];
  }
  segment* block_taken_from() const noexcept { return cursor_; }

  /// front() was handed over, with its hold.
  void pop_handed_over() noexcept { ++position_; }
  /// A value of `block` that was taken in place is destroyed: its slot goes back, with the others of its block if the
  /// consumer is still there.
  void destroyed_in_place(segment& block) noexcept {
    if (cursor_ == &block)
      ++finished_;
    else
      release_slots(block, 1);
  }

  /// Destroys `n` values from front() on.
  void drop_front(std::uint64_t n) noexcept {
    for (; n != 0; --n) {
      slot& s = front();
      pop_handed_over();
      drop<T>(s);
    }
  }

  /// The consumer will not look at the buffer again, all that was published is popped, and nothing will be added.
  void leave() noexcept {
    segment* at = cursor_ == nullptr ? first_ : cursor_;
    cursor_ = nullptr;
    first_ = nullptr;
    position_ = cursor_end_ = 0;
    std::uint32_t finished = std::exchange(finished_, 0u);
    // Behind the last value's block may stand one more: appended for a value whose constructor threw.
    while (at != nullptr) {
      segment* next = at->next;
      release_slots(*at, 1 + std::exchange(finished, 0u));
      at = next;
    }
  }

  // --- random access, once the producer has closed ---

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

  /// Gives up the hold of a list on all `made()` values and on every block.
  void drop_all() noexcept {
    const std::uint64_t count = made();
    for (std::uint64_t i = 0; i < count; ++i) drop<T>(at(i));
    for (segment* s : directory_) release_slots(*s, 1);
    directory_.clear();
  }

  // --- anybody's ---

  void release_slots(segment& s, std::uint32_t n) noexcept {
    // [B2] acq_rel: who brings the count to 0 comes after all that was done with the block's values.
    if (s.live.load(acquire) != n && s.live.fetch_sub(n, acq_rel) != n) return;
    // Every block but the last is full.
    const auto first = static_cast<std::uint64_t>(s.head.first >> 1);
    const std::uint64_t stored = made() - first;  // relaxed: ordered by the count above
    owner_.segment_is_free(stored < s.capacity ? static_cast<std::uint32_t>(stored) : s.capacity);
    segment* old = &s;
    // [B3] acq_rel: hands the emptied block to the producer, or gets back one it did not fetch.
    if (s.capacity == largest_ && !random_access_) old = spare_.exchange(&s, acq_rel);
    if (old != nullptr) free_segment(old);
    owner_.drop_references(1);
  }

 private:
  static constexpr std::size_t alignment = slot_group::alignment_for(alignof(T));

  static constexpr std::size_t bytes(std::uint32_t capacity) noexcept {
    return segment::offset_of_head() + slot_group::values_offset(capacity, alignof(T)) + alignment + capacity * sizeof(T);
  }

  void enter_next() noexcept {
    if (cursor_ == nullptr) {
      cursor_ = first_;
    } else {
      segment* const next = cursor_->next;
      release_slots(*cursor_, 1 + std::exchange(finished_, 0u));
      cursor_ = next;
    }
    position_ = 0;
    cursor_end_ = cursor_->capacity;
    cursor_values_ = static_cast<T*>(cursor_->head.value_at(0));
  }

  void append() {
    const std::uint32_t capacity = next_capacity();
    if (random_access_ && directory_.size() == directory_.capacity()) directory_.reserve(directory_.size() * 2 + 4);
    // [B3] acquire: what was done with the block's former values comes before the new ones. A block that was emptied is
    // one of the largest, and so are all that follow it.
    segment* const fresh = spare_.exchange(nullptr, acquire);
    void* memory = fresh != nullptr ? end_segment(fresh) : allocate(memory_kind::block, bytes(capacity), alignment);
    owner_.add_references(1);
    auto* s = ::new (static_cast<std::byte*>(memory) + lead) segment(&owner_, capacity, sizeof(T), alignof(T), made());
    for (std::uint32_t i = 0; i < capacity; ++i) ::new (s->head.slot_array() + i) slot{slot::make(stage::value, i, 1)};
    if (random_access_) directory_.push_back(s);
    (tail_ == nullptr ? first_ : tail_->next) = s;
    tail_ = s;
    capacity_ = capacity;
    window_.next = window_.end = static_cast<T*>(s->head.value_at(0));
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

  // The producer's.
  segment* tail_ = nullptr;
  std::uint32_t capacity_ = 0;  ///< of the tail
  const bool random_access_;
  const std::uint8_t largest_;  ///< slots in a block
  value_window<T> window_;

  // Rarely written, both sides': they keep apart what each of them writes with each value, a cache line at least, at no
  // alignment of the whole.
  shared_state& owner_;
  segment* first_ = nullptr;  ///< written by the producer once, before [B1]; then the consumer's
  std::vector<segment*> directory_;
  atomic<segment*> spare_{nullptr};

 public:
  waiter_list waiters;  ///< of the consumer: for the next value or the end

 private:
  // The consumer's.
  segment* cursor_ = nullptr;
  T* cursor_values_ = nullptr;
  std::uint32_t position_ = 0;
  std::uint32_t cursor_end_ = 0;
  std::uint32_t finished_ = 0;  ///< slots of the cursor's block that were emptied in place
};

}  // namespace dyngen::detail
