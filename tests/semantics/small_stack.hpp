// SPDX-License-Identifier: MIT
#pragma once
// A thread with a stack of 256 KiB: recursion a million levels deep overflows it, also unoptimised or instrumented.

#include <dyngen/detail/base/memory.hpp>

#include <pthread.h>

#include <system_error>

namespace support {

/// A twentieth without optimisation, and under sanitizers, which are slow: 50 000 levels overflow this stack too, as no
/// frame is as small as 5 bytes. Optimised builds run all levels.
#ifdef __OPTIMIZE__
inline constexpr int million = dyngen::detail::keeps_memory_by_default ? 1'000'000 : 50'000;
#else
inline constexpr int million = 50'000;
#endif

/// Runs `action`, which checks nothing itself, on that thread, and waits for its end.
template <class Action>
void on_small_stack(Action action) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  pthread_t thread;
  const auto run = [](void* argument) -> void* {
    (*static_cast<Action*>(argument))();
    return nullptr;
  };
  const int failure = pthread_create(&thread, &attributes, run, &action);
  pthread_attr_destroy(&attributes);
  if (failure != 0) throw std::system_error(failure, std::generic_category(), "pthread_create");
  pthread_join(thread, nullptr);
}

}  // namespace support
