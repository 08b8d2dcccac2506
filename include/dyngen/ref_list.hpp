// SPDX-License-Identifier: MIT
#pragma once
// ref_list<T>: all values of a `dynamic` task that has ended. A shared handle of one pointer, which keeps all the
// values alive. Refs to single values are made only when asked for. Any thread may read it.

#include <dyngen/detail/results/sequence_task.hpp>
#include <dyngen/ref.hpp>

#include <compare>
#include <cstddef>
#include <iterator>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace dyngen {

/// The values of a finished task, in yield order. If the task failed after it had started, the last ref holds its
/// exception. Default-constructed or moved from, the handle is empty, and every member except valid() throws empty_ref.
/// Several threads may read one list; the values live as long as any copy of the list, or a ref to them.
template <class T>
class ref_list {
  template <class Reference>
  class basic_iterator;

 public:
  using value_type = ref<T>;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using iterator = basic_iterator<const ref<T>>;
  using const_iterator = iterator;
  class values_view;

  ref_list() = default;
  ref_list(const ref_list& other) noexcept : task_(other.task_) {
    if (task_ != nullptr) task_->add_list();
  }
  ref_list(ref_list&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
  ref_list& operator=(ref_list other) noexcept {
    std::swap(task_, other.task_);
    return *this;
  }
  ~ref_list() {
    if (task_ != nullptr) task_->drop_list();
  }

  /// Returns false for an empty handle.
  bool valid() const noexcept { return task_ != nullptr; }

  /// Returns the number of refs, including the last one that holds the exception of a failed task.
  std::size_t size() const { return static_cast<std::size_t>(checked().list_size()); }
  /// Returns whether size() is 0: the task yielded nothing and did not fail.
  [[nodiscard]] bool empty() const { return size() == 0; }

  /// Returns a ref to value `i`; the behaviour is undefined unless `i` < size(). The reference from `list[i].get()` is
  /// valid as long as the list.
  const ref<T> operator[](std::size_t i) const {
    detail::slot& s = checked().list_slot(i);
    s.add_holder();
    return detail::access::adopt<T>(s);
  }
  /// Returns a ref to value `i`. Throws std::out_of_range unless `i` < size().
  const ref<T> at(std::size_t i) const {
    if (i >= size())
      throw std::out_of_range("dyngen: ref_list::at(" + std::to_string(i) + "): the list of task " + checked().label() +
                              " has " + std::to_string(size()) + " values");
    return (*this)[i];
  }

  /// Returns a random-access iterator to the first ref. Each dereference makes a ref. Iterators are valid while any
  /// copy of the list exists.
  iterator begin() const { return iterator(&checked(), 0); }
  /// Returns the iterator behind the last ref.
  iterator end() const { return iterator(&checked(), static_cast<difference_type>(size())); }

  /// Returns a random-access range of `const T&`, which holds a copy of the list. The references are valid while any
  /// copy of the list exists. If the task failed, reading the last element throws its exception.
  values_view values() const& {
    checked();
    return values_view(*this);
  }
  /// Returns a random-access range of `const T&`, which takes over this list. The references are valid while any copy
  /// of the list exists. If the task failed, reading the last element throws its exception.
  values_view values() && {
    checked();
    return values_view(std::move(*this));
  }

  /// Returns a ref to the end of the task, with its exception if it failed.
  ref<void> completion() const { return detail::completion_of(checked()); }

  /// Returns the number of the task, unique in the program.
  std::uint64_t id() const { return checked().id(); }

  /// Returns whether both refer to the same list, or both are empty.
  friend bool operator==(const ref_list& a, const ref_list& b) noexcept { return a.task_ == b.task_; }
  friend void swap(ref_list& a, ref_list& b) noexcept { std::swap(a.task_, b.task_); }

 private:
  friend class detail::sequence_task<T>;
  using task = detail::sequence_task<T>;

  explicit ref_list(task* t) noexcept : task_(t) {}  // takes over one reference to the list

  task& checked() const {
    if (task_ == nullptr) detail::throw_empty("ref_list");
    return *task_;
  }

  static const T& value_in(task& t, std::size_t i) {
    if (i >= t.buffer().made()) std::rethrow_exception(detail::seen_failure(t));
    return t.buffer().value_of(t.buffer().at(i));
  }

  task* task_ = nullptr;
};

/// Random-access iterator of ref_list. Each dereference makes the ref, or finds the value, anew. Valid while any copy
/// of the list exists.
template <class T>
template <class Reference>
class ref_list<T>::basic_iterator {
 public:
  using value_type = std::conditional_t<std::is_reference_v<Reference>, T, ref<T>>;
  using difference_type = std::ptrdiff_t;
  using reference = Reference;
  using pointer = void;
  using iterator_category = std::input_iterator_tag;
  using iterator_concept = std::random_access_iterator_tag;

  basic_iterator() = default;

  Reference operator*() const { return (*this)[0]; }
  auto operator->() const {
    if constexpr (std::is_reference_v<Reference>) {
      return std::addressof(**this);
    } else {
      struct arrow {
        ref<T> made;
        const ref<T>* operator->() const noexcept { return &made; }
      };
      return arrow{**this};
    }
  }
  Reference operator[](difference_type n) const {
    const auto i = static_cast<std::size_t>(at_ + n);
    if constexpr (std::is_reference_v<Reference>) {
      return value_in(*task_, i);
    } else {
      detail::slot& s = task_->list_slot(i);
      s.add_holder();
      return detail::access::adopt<T>(s);
    }
  }
  basic_iterator& operator++() noexcept { return *this += 1; }
  basic_iterator operator++(int) noexcept { return std::exchange(*this, *this + 1); }
  basic_iterator& operator--() noexcept { return *this -= 1; }
  basic_iterator operator--(int) noexcept { return std::exchange(*this, *this - 1); }
  basic_iterator& operator+=(difference_type n) noexcept {
    at_ += n;
    return *this;
  }
  basic_iterator& operator-=(difference_type n) noexcept { return *this += -n; }
  friend basic_iterator operator+(basic_iterator i, difference_type n) noexcept { return i += n; }
  friend basic_iterator operator+(difference_type n, basic_iterator i) noexcept { return i += n; }
  friend basic_iterator operator-(basic_iterator i, difference_type n) noexcept { return i -= n; }
  friend difference_type operator-(const basic_iterator& a, const basic_iterator& b) noexcept { return a.at_ - b.at_; }
  friend bool operator==(const basic_iterator& a, const basic_iterator& b) noexcept { return a.at_ == b.at_; }
  friend std::strong_ordering operator<=>(const basic_iterator& a, const basic_iterator& b) noexcept {
    return a.at_ <=> b.at_;
  }

 private:
  friend class ref_list;
  friend class ref_list::values_view;
  basic_iterator(task* t, difference_type at) noexcept : task_(t), at_(at) {}

  task* task_ = nullptr;
  difference_type at_ = 0;
};

/// The range returned by ref_list::values(). Holds the list.
template <class T>
class ref_list<T>::values_view : public std::ranges::view_base {
 public:
  using iterator = basic_iterator<const T&>;

  values_view() = default;
  /// Returns the number of elements, including the one whose reading throws the exception of a failed task.
  std::size_t size() const { return list_.size(); }
  /// Returns whether size() is 0.
  [[nodiscard]] bool empty() const { return size() == 0; }
  /// Returns value `i`; the behaviour is undefined unless `i` < size(). Throws the task's exception if the task failed
  /// and `i` is the last position.
  const T& operator[](std::size_t i) const { return begin()[static_cast<std::ptrdiff_t>(i)]; }
  /// Returns a random-access iterator to the first value. Iterators are valid while any copy of the list exists.
  iterator begin() const { return iterator(&list_.checked(), 0); }
  /// Returns the iterator behind the last value.
  iterator end() const { return iterator(&list_.checked(), static_cast<std::ptrdiff_t>(size())); }

 private:
  friend class ref_list;
  explicit values_view(ref_list list) noexcept : list_(std::move(list)) {}
  ref_list list_;
};

/// Writes `ref_list(7: 64 values)` for the list of task 7, `ref_list()` for an empty handle.
template <class Char, class Traits, class T>
std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& os, const ref_list<T>& list) {
  if (!list.valid()) return os << "ref_list()";
  return os << "ref_list(" << list.id() << ": " << list.size() << (list.size() == 1 ? " value)" : " values)");
}

}  // namespace dyngen
