// SPDX-License-Identifier: MIT
#pragma once
// What the models of values and tasks share: a clean start for each schedule, a value that detects misuse, and an
// owner of slots and memory that is no task.

#include "model.hpp"

#include <dyngen/detail/value/fixed_buffer.hpp>

#include <functional>
#include <optional>
#include <utility>

namespace dyngen::model {

/// First member of a model: forgets what a failed schedule has left behind, and watches the places of values. A place
/// outlives the values in it, and the block around it: a thread that builds a value, reads it, destroys it or frees the
/// block must come after every earlier access.
class fresh_start {
public:
  fresh_start() {
    detail::model::arena::clear();
    detail::model::switching_point::begin();
    detail::model::fences_are_refused = rl::rand(2) == 0;
    detail::model::clock = detail::deadline(std::chrono::hours(1));
    ++detail::model::life::epoch;
    for (detail::thread_context& each : detail::model::things_of_fibers<detail::thread_context>) ::new (&each) detail::thread_context();
    current_ = this;
    detail::model::arena::freed = [](const std::byte* memory, std::size_t bytes) { current_->freed(memory, bytes); };
  }

  static shared<int>& place(const void* address) {
    for (auto& [at, contents] : current_->places_) {
      if (at == nullptr) {
        at = address;
        contents.emplace();
      }
      if (at == address) return *contents;
    }
    MODEL_CHECK(!"more places");
    return *current_->places_[0].second;
  }

private:
  void freed(const std::byte* memory, std::size_t bytes) {
    for (auto& [at, contents] : places_)
      if (at != nullptr && !std::less<>()(at, memory) && std::less<>()(at, memory + bytes)) contents->set(-2);
  }

  static inline fresh_start* current_ = nullptr;
  std::pair<const void*, std::optional<shared<int>>> places_[32] = {};
};

/// To be called in after(): checks that neither memory nor an owed operation of a thread is left.
inline void check_all_gone() {
  for (const long live : detail::model::arena::live) MODEL_CHECK(live == 0);
  for (const detail::thread_context& each : detail::model::things_of_fibers<detail::thread_context>)
    MODEL_CHECK(each.tasks == nullptr && each.last_taken == nullptr && each.deferred == nullptr &&
                each.destroying == 0 && each.publishing == 0 && each.after_publishing == nullptr &&
                each.inline_tasks.empty() && (each.helping == 0 || each.helping == detail::stranger));
}

/// The constructor of a value made from this throws.
struct not_built {};

/// A value that is constructed and destroyed once, and read only in between; its content is in its own memory. `Bytes`
/// is its size, for the size of blocks.
template <std::size_t Bytes = 0>
class value {
public:
  value(int number, unsigned* destroyed) : destroyed_(destroyed) { change(number); }
  explicit value(not_built) { throw 0; }
  // Built where it stays: movable, as a generator's values are, and never moved.
  value(value&&) { MODEL_CHECK(!"moved"); }
  value& operator=(value&&) {
    MODEL_CHECK(!"moved");
    return *this;
  }
  ~value() {
    change(-1);
    ++*destroyed_;
  }
  int number() const { return fresh_start::place(this).get(); }
  /// An access that only the sole owner may make.
  void change(int number) { fresh_start::place(this).set(number); }

private:
  unsigned* destroyed_;
  std::byte padding_[Bytes == 0 ? 1 : Bytes];
};

/// Behind a fixed buffer of `T`: no task, only the slots and the memory. One reference belongs to the completion, one
/// to the thread that runs the task.
template <class T>
class values final : public detail::shared_state {
public:
  static values* create(std::uint64_t count, detail::staging staged, std::uint64_t holders = 1) {
    const detail::fixed_shape shape = detail::fixed_shape::of<T>(count);
    return ::new (detail::allocate(detail::memory_kind::record, offset() + shape.bytes())) values(shape, staged, holders);
  }

  detail::fixed_buffer& buffer() { return buffer_; }

  template <class... Arguments>
  void store(Arguments... arguments) {
    ::new (buffer_.place()) T(arguments...);
    buffer_.template commit<T>();
  }

  /// What the end of a task does.
  void end(bool failed) {
    if (buffer_.seal(failed).leaves_values) buffer_.destroy_staged([this](detail::slot& s) noexcept { destroy_value(s); });
    const bool unheld = detail::slot::holders_of(
                            detail::publish(completion(), failed ? detail::stage::failed : detail::stage::value)) == 1;
    results().waiters.notify(results().ready());
    drop_references(unheld ? 2 : 1);
  }

  void destroy_value(detail::slot& s) noexcept override {
    static_cast<T*>(detail::slot_group::of(s).value_at(s.index()))->~T();
  }
  T& value_of(detail::slot& s) { return *static_cast<T*>(detail::slot_group::of(s).value_at(s.index())); }

private:
  values(detail::fixed_shape shape, detail::staging staged, std::uint64_t holders)
    : shared_state(static_cast<std::uint32_t>(shape.count) + 2),
      buffer_(*this, reinterpret_cast<std::byte*>(this) + offset(), shape, staged, holders) {
    results_ = &buffer_.results();
  }
  ~values() = default;

  void free_memory() noexcept override {
    const std::size_t bytes = offset() + buffer_.bytes();
    buffer_.destroy();
    this->~values();
    detail::deallocate(detail::memory_kind::record, this, bytes);
  }
  static constexpr std::size_t offset() { return (sizeof(values) + 15) / 16 * 16; }

  detail::fixed_buffer buffer_;
};

}  // namespace dyngen::model
