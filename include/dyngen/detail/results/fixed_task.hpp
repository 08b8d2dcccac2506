// SPDX-License-Identifier: MIT
#pragma once
// Tasks whose number of values is known at submit. Their buffer stands behind the record, in one allocation. If there
// is at most one value, it becomes ready when the task has ended.

#include <dyngen/detail/coroutine/tuple_sink.hpp>
#include <dyngen/detail/task/run_loop.hpp>
#include <dyngen/detail/value/fixed_buffer.hpp>
#include <dyngen/detail/value/single_buffer.hpp>

#include <cstdint>
#include <string>

namespace dyngen::detail {

/// The base of tasks with any number of values. The derived classes know the types of the values.
class fixed_task : public task_record {
 public:
  fixed_buffer& buffer() noexcept { return buffer_; }
  std::uint64_t values_in_record() const noexcept { return buffer_.made(); }
  std::size_t buffer_bytes() const noexcept { return buffer_.bytes(); }

 protected:
  fixed_task(void* memory, task_host& host, std::uint32_t references, std::unique_ptr<task_extras> extras,
             fixed_shape shape, staging staged) noexcept
      : task_record(host, references, std::move(extras)), buffer_(*this, memory, shape, staged) {
    results_ = &buffer_.results();
  }
  ~fixed_task() { buffer_.destroy(); }

 public:
  /// One for the run, one for the queue, and one for each value.
  static constexpr std::uint32_t initial_references(std::uint64_t count) noexcept {
    return 2 + static_cast<std::uint32_t>(count);
  }

 protected:

  std::uint64_t made() const noexcept final { return buffer_.made(); }

  std::exception_ptr check_arity() final {
    if (buffer_.full()) return nullptr;
    return arity("yielded only " + std::to_string(made()), made(),
                 "; ask for fewer, or use dynamic if the task sets the number");
  }
  std::exception_ptr too_many_values_error() final {
    return arity("yielded one more and was stopped there", buffer_.count() + 1,
                 "; ask for more, or use dynamic if the task sets the number");
  }

  sealed seal(std::uint32_t) noexcept override {
    const auto [has_carrier, leaves_values] = buffer_.seal(failure_ != nullptr);
    return {has_carrier, leaves_values};
  }
  void destroy_left_values() noexcept final {
    const interlude user_code(context());
    buffer_.destroy_staged([this](slot& s) noexcept { destroy_value(s); });
  }

 private:
  std::exception_ptr arity(const std::string& what, std::uint64_t yielded, const char* advice) {
    return std::make_exception_ptr(arity_error("dyngen: task " + label() + " was asked for " +
                                                   std::to_string(buffer_.count()) + " value" +
                                                   (buffer_.count() == 1 ? "" : "s") + " (num_returns) and " + what + advice,
                                               buffer_.count(), yielded));
  }

  fixed_buffer buffer_;
};

/// A task without values. The caller holds its completion.
class void_task : public task_record {
 public:
  static constexpr std::size_t buffer_alignment = alignof(slot_group);
  static constexpr std::size_t buffer_bytes() noexcept { return slot_group::values_offset(1, 1); }
  /// One for the run, and one for the queue.
  static constexpr std::uint32_t initial_references(std::uint64_t) noexcept { return 2; }

  std::uint64_t values_in_record() const noexcept { return 0; }
  void destroy_value(slot&) noexcept final {}

 protected:
  void_task(void* memory, task_host& host, std::uint32_t references, std::unique_ptr<task_extras> extras) noexcept
      : task_record(host, references, std::move(extras)) {
    results_ = ::new (memory) slot_group(this, 1, 0, 1, -1, false, 1);
    ::new (results_->slot_array()) slot{slot::make(stage::empty, 0, 1)};
  }
  ~void_task() { results_->~slot_group(); }

  sealed seal(std::uint32_t) noexcept final { return {.has_carrier = true}; }
};

/// A task with one value, which becomes ready when the task has ended.
template <class T>
class single_task : public single_buffer<task_record> {
 public:
  static constexpr std::size_t buffer_alignment = slot_group::alignment_for(alignof(T));
  static constexpr std::size_t buffer_bytes() noexcept { return single_shape::bytes(sizeof(T), alignof(T)); }
  /// One for the run, one for the queue, and one for the value.
  static constexpr std::uint32_t initial_references(std::uint64_t) noexcept { return 3; }

  std::uint64_t values_in_record() const noexcept { return made(); }

  void destroy_value(slot& s) noexcept final {
    destroy_reporting(*static_cast<T*>(slot_group::of(s).value_at(s.index())), *this);
  }

 protected:
  single_task(void* memory, task_host& host, std::uint32_t references, std::unique_ptr<task_extras> extras) noexcept
      : single_buffer(memory, sizeof(T), alignof(T), host, references, std::move(extras)) {}
  ~single_task() = default;

  std::uint64_t made() const noexcept final { return is_stored() ? 1 : 0; }
  sealed seal(std::uint32_t) noexcept final { return {.has_carrier = !is_stored()}; }
  std::uint32_t publish_end() noexcept final {
    publish_single<T>();
    return 1;
  }
};

/// A task with several values of one type.
template <class T>
class uniform_task : public fixed_task {
 public:
  static constexpr std::size_t buffer_alignment = slot_group::alignment_for(alignof(T));
  using fixed_task::fixed_task;
  void destroy_value(slot& s) noexcept final {
    destroy_reporting(*static_cast<T*>(slot_group::of(s).value_at(s.index())), *this);
  }

 protected:
  ~uniform_task() = default;
};

/// A task with one value of each type.
template <class... Ts>
class tuple_task : public fixed_task {
 public:
  static constexpr std::size_t buffer_alignment = slot_group::alignment_for(shape_of_tuple<Ts...>().alignment);
  using fixed_task::fixed_task;
  void destroy_value(slot& s) noexcept final {
    void* place = slot_group::of(s).value_at(s.index());
    with_type_at<Ts...>(s.index() - 1,
                        [&]<class T>() { destroy_reporting(*static_cast<T*>(place), *this); });
  }

 protected:
  ~tuple_task() = default;
};

}  // namespace dyngen::detail
