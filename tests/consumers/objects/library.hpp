// SPDX-License-Identifier: MIT
#pragma once
// What a shared object of a program offers, which contains the library as the program does.

#include <dyngen/dyngen.hpp>

#include <cstdint>
#include <memory>
#include <string>

struct library_functions {
  /// Submits tasks that wait for others, read streams, call actors and await children; returns what went wrong.
  std::string (*use)(dyngen::thread_pool&);
  /// Uses the pool from the code of a caller's task: waits, and asks about that task.
  std::string (*use_in_task)(dyngen::thread_pool&);
  /// A coroutine for a caller's task to await.
  dyngen::task<int> (*child)(dyngen::ref<int>, dyngen::ref<int>);
  /// Throws.
  void (*throw_cancelled)();
  /// Values of one object that another one drops.
  dyngen::ref<std::string> (*text)(dyngen::thread_pool&);
  /// The number of a new task.
  std::uint64_t (*id)(dyngen::thread_pool&);
  std::unique_ptr<dyngen::thread_pool> (*pool)();
};

extern "C" [[gnu::visibility("default")]] const library_functions* library();
