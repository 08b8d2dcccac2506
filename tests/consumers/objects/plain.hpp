// SPDX-License-Identifier: MIT
#pragma once
// What a shared object offers to a program that does not contain the library.

struct plain_functions {
  void* (*make_pool)();
  const char* (*use)(void* pool);  ///< what went wrong, or ""
  void (*end_pool)(void* pool);
};

extern "C" [[gnu::visibility("default")]] const plain_functions* plain();
