// SPDX-License-Identifier: MIT
//   program [PLUGIN]   uses the functions of PLUGIN, or those that it is linked with, with pools of its own and theirs
// Prints `all is well`, or an error.

#include "library.hpp"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <thread>

namespace dg = dyngen;

namespace {

int one_more(int n) { return n + 1; }

dg::task<int> awaits(dg::task<int> (*child)(dg::ref<int>, dg::ref<int>), dg::ref<int> a, dg::ref<int> b) {
  const int first = co_await child(a, b);
  const int second = co_await child(b, b);
  co_return first * 100 + second;
}

void check(const char* what, const std::string& wrong) {
  if (wrong.empty()) return;
  std::printf("%s: %s\n", what, wrong.c_str());
  std::exit(1);
}

void check_with(dg::thread_pool& pool, const library_functions& other) {
  check("submitting", other.use(pool));
  check("in a task", pool.options(dg::name{"caller"}).submit(other.use_in_task, std::ref(pool)).get());
  const int awaited = pool.submit(awaits, other.child, pool.submit(one_more, 1), dg::put(20)).get();
  check("awaiting", awaited == 2240 ? "" : std::to_string(awaited));
  bool caught = false;
  try {
    other.throw_cancelled();
  } catch (const dg::cancelled_error&) {
    caught = true;
  }
  check("catching", caught ? "" : "another exception");
  dg::promise<int> p;
  dg::ref<int> cancelled = pool.submit(one_more, p.get_ref());
  cancelled.cancel();
  cancelled.wait();
  long size = 0;
  for (int i = 0; i < 500; ++i) size += static_cast<long>(other.text(pool).get().size());
  check("values of another object", size == 50'000 ? "" : std::to_string(size));
  std::set<std::uint64_t> ids;
  for (int i = 0; i < 100; ++i) {
    ids.insert(other.id(pool));
    ids.insert(pool.submit([] { return dg::this_task::id(); }).get());
  }
  check("numbers of tasks", ids.size() == 200 ? "" : "some are the same");
  const dg::pool_stats stats = pool.stats();
  check("counting", stats.submitted == stats.completed + stats.cancelled ? "" : "tasks are missing");
}

}  // namespace

extern "C" [[gnu::weak]] const library_functions* library();

int main(int count, char** arguments) {
  const library_functions* (*find)() = &library;
  if (count > 1) {
    void* const plugin = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (plugin == nullptr) return std::printf("%s\n", dlerror()), 1;
    find = reinterpret_cast<const library_functions* (*)()>(dlsym(plugin, "library"));
  }
  const library_functions& other = *find();
  {
    dg::thread_pool pool(1);
    check_with(pool, other);
  }
  check_with(*other.pool(), other);
  // Both at once, from a thread for each.
  dg::thread_pool mine(2);
  const std::unique_ptr<dg::thread_pool> its = other.pool();
  std::thread first([&] { for (int i = 0; i < 20; ++i) check("at once", other.use(mine)); });
  std::thread second([&] { for (int i = 0; i < 20; ++i) check("at once", other.use(*its)); });
  for (int i = 0; i < 20'000; ++i) check("at once", (i % 2 == 0 ? mine : *its).submit(one_more, i).get() == i + 1 ? "" : "sum");
  first.join();
  second.join();
  std::puts("all is well");
}
