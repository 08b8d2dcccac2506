// SPDX-License-Identifier: MIT
#pragma once
// The values and exceptions of a program. Each value knows which task has made it, at which place of its sequence, in
// which attempt and in which program; it counts itself while it lives, and detects a second destruction and uses after
// its destruction.

#include "expected.hpp"

#include <dyngen/dyngen.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

namespace fuzz {

namespace dg = dyngen;

/// The identity of a value. Never 0.
struct identity {
  std::uint64_t bits = 0;

  static identity of(std::uint32_t salt, index task, std::uint32_t at, unsigned attempt) noexcept {
    return {std::uint64_t{salt & 0xffff} << 48 | std::uint64_t{task} << 32 | std::uint64_t{at & 0xffffff} << 8 | attempt};
  }
  explicit operator std::uint64_t() const noexcept { return bits; }
};

/// Counts misuse of values.
struct ledger {
  static inline std::atomic<long> live{0};       ///< values
  static inline std::atomic<long> thrown{0};     ///< exceptions of the program's own that live
  static inline std::atomic<long> mistreated{0}; ///< uses and destructions of dead values
};

class living {
 public:
  explicit living(std::uint64_t id) noexcept : id_(id), mark_(id ^ alive) { ledger::live.fetch_add(1); }
  living(const living& o) noexcept : living(o.id()) {}
  living(living&& o) noexcept : living(o.id()) {
    o.id_ = 0;
    o.mark_ = alive;
  }
  living& operator=(living o) noexcept {
    id_ = std::exchange(o.id_, 0);
    mark_ = id_ ^ alive;
    o.mark_ = alive;
    return *this;
  }
  ~living() {
    id();
    mark_ = 0;
    ledger::live.fetch_sub(1);
  }
  /// 0 if it was moved from.
  std::uint64_t id() const noexcept {
    if (mark_ != (id_ ^ alive)) ledger::mistreated.fetch_add(1);
    return id_;
  }

 private:
  static constexpr std::uint64_t alive = 0x9d5e5a17c0ffee11u;
  std::uint64_t id_;
  volatile std::uint64_t mark_;  // volatile: the write of a destructor must not be optimised away
};

class counted {
 public:
  explicit counted(identity i) noexcept : it_(i.bits) {}
  std::uint64_t id() const noexcept { return it_.id(); }

 private:
  living it_;
};

/// Move-only, and so large that a block has only a few.
class unique {
 public:
  explicit unique(identity i) noexcept : it_(i.bits) {}
  unique(unique&&) noexcept = default;
  unique& operator=(unique&&) noexcept = default;
  std::uint64_t id() const noexcept { return it_.id(); }

 private:
  living it_;
  [[maybe_unused]] std::array<std::byte, 272> ballast_{};
};

using plain = std::uint64_t;

inline std::uint64_t id_of(const counted& v) noexcept { return v.id(); }
inline std::uint64_t id_of(const unique& v) noexcept { return v.id(); }
inline std::uint64_t id_of(plain v) noexcept { return v; }

template <class T>
T make(identity i) {
  return T(i);
}

/// The exception of a task.
class boom : public std::exception {
 public:
  explicit boom(outcome what) noexcept : what_(what) { ledger::thrown.fetch_add(1); }
  boom(const boom& o) noexcept : std::exception(o), what_(o.what_) { ledger::thrown.fetch_add(1); }
  boom& operator=(const boom&) = default;
  ~boom() override { ledger::thrown.fetch_sub(1); }
  const char* what() const noexcept override { return "boom"; }
  outcome kept() const noexcept { return what_; }

 private:
  outcome what_;
};

/// Converts to a T, or throws instead.
template <class T>
struct conversion {
  identity id;
  outcome thrown;  ///< `nothing`: it does not throw
  operator T() const {
    if (thrown.what != tag::nothing) throw boom(thrown);
    return T(id);
  }
};

/// The outcome that an exception stands for.
inline outcome outcome_of(const std::exception_ptr& e) noexcept {
  try {
    std::rethrow_exception(e);
  } catch (const boom& x) {
    return x.kept();
  } catch (const dg::arity_error& x) {
    return arity_of(x.expected(), x.yielded());
  } catch (const dg::type_order_error&) {
    return {tag::order, 0};
  } catch (const dg::cancelled_error&) {
    return {tag::cancelled, 0};
  } catch (const dg::nondeterministic_error&) {
    return {tag::nondeterministic, 0};
  } catch (const dg::shared_value&) {
    return {tag::shared, 0};
  } catch (const dg::actor_died&) {
    return {tag::died, 0};
  } catch (const dg::broken_promise&) {
    return {tag::broken, 0};
  } catch (const dg::pool_stopped&) {
    return {tag::stopped, 0};
  } catch (const dg::timeout_error&) {
    return {tag::timeout, 0};
  } catch (const dg::empty_ref&) {
    return {tag::empty, 0};
  } catch (const dg::error&) {
    return {tag::other_error, 0};
  } catch (...) {
    return {tag::unknown_error, 0};
  }
}

/// Reads by `look()`, which gives an identity; an exception is an outcome too.
template <class Look>
outcome seen_by(Look look) noexcept {
  std::exception_ptr thrown;
  try {
    return {tag::value, look()};
  } catch (...) {
    thrown = std::current_exception();
  }
  return outcome_of(thrown);
}

}  // namespace fuzz
