// SPDX-License-Identifier: MIT
#pragma once
// A pointer that holds a reference to an object with a reference count of its own: to a shared state (add_references(),
// drop_references()), or to a host (add_host_reference(), drop_host_reference()).

#include <utility>

namespace dyngen::detail {

/// Marks a constructor that takes over a reference of its caller instead of adding one.
struct adopt_reference {};

template <class T>
class intrusive_ptr {
 public:
  intrusive_ptr() = default;
  explicit intrusive_ptr(T& object) noexcept : object_(&object) { add(); }
  intrusive_ptr(T& object, adopt_reference) noexcept : object_(&object) {}
  intrusive_ptr(const intrusive_ptr& other) noexcept : object_(other.object_) { add(); }
  intrusive_ptr(intrusive_ptr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  intrusive_ptr& operator=(const intrusive_ptr& other) noexcept { return *this = intrusive_ptr(other); }
  intrusive_ptr& operator=(intrusive_ptr&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~intrusive_ptr() {
    if (object_ == nullptr) return;
    if constexpr (requires { object_->drop_host_reference(); })
      object_->drop_host_reference();
    else
      object_->drop_references();
  }

  T* get() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  T* operator->() const noexcept { return object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  void add() noexcept {
    if (object_ == nullptr) return;
    if constexpr (requires { object_->add_host_reference(); })
      object_->add_host_reference();
    else
      object_->add_references(1);
  }

  T* object_ = nullptr;
};

}  // namespace dyngen::detail
