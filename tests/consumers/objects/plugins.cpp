// SPDX-License-Identifier: MIT
//   plugins PLUGIN PLUGIN   a program without the library, whose plugins have it: the second one uses a pool of the first
// Then it unloads the first one, and the second one goes on. Prints `all is well`, or an error.

#include "plain.hpp"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

const plain_functions& functions_of(void* plugin) {
  if (plugin == nullptr) {
    std::printf("%s\n", dlerror());
    std::exit(1);
  }
  return *reinterpret_cast<const plain_functions* (*)()>(dlsym(plugin, "plain"))();
}

void check(const char* what, const char* wrong) {
  if (*wrong == '\0') return;
  std::printf("%s: %s\n", what, wrong);
  std::exit(1);
}

}  // namespace

int main(int, char** arguments) {
  // Another thread is the first to use the library, and has ended when the first plugin goes.
  std::thread([arguments] {
    void* const first = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    void* const second = dlopen(arguments[2], RTLD_NOW | RTLD_LOCAL);
    const plain_functions& one = functions_of(first);
    const plain_functions& other = functions_of(second);
    void* const pool = one.make_pool();
    check("a pool of the first plugin, in the second", other.use(pool));
    check("the same in the first", one.use(pool));
    one.end_pool(pool);
    dlclose(first);
  }).join();
  const plain_functions& left = functions_of(dlopen(arguments[2], RTLD_NOW | RTLD_LOCAL));
  void* const pool = left.make_pool();
  check("after the first one was unloaded", left.use(pool));
  left.end_pool(pool);
  std::puts("all is well");
}
