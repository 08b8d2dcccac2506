// SPDX-License-Identifier: MIT
// Runs programs that are generated from the bytes of libFuzzer's inputs, not from a seed. A fault ends the process.

#include "interpreter.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  static fuzz::interpreter machine(4);
  fuzz::choice_source choices(bytes, count);
  const fuzz::program p = fuzz::generate(choices, 4);
  const std::string wrong = machine.run(p);
  if (wrong.empty()) return 0;
  std::printf("FAILED: %s\n%s", wrong.c_str(), text_of(p).c_str());
  std::fflush(stdout);
  std::abort();
}
