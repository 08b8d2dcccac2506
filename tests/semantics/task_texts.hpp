// SPDX-License-Identifier: MIT
#pragma once
// What the tests of describe() and dump() share: texts that do not depend on the numbers and the order of tasks, and an
// actor.

#include "probes.hpp"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// The text with `#` in place of the number of each task.
inline std::string plain(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    result += text[i];
    if (text[i] == '#')
      while (i + 1 < text.size() && std::isdigit(static_cast<unsigned char>(text[i + 1]))) ++i;
  }
  return result;
}

/// What describe() shows of a handle, without numbers of tasks.
template <class Handle>
std::string described(const Handle& handle) {
  return plain(dg::describe(handle));
}

/// What dump() shows of a pool, without numbers of tasks.
inline std::string dumped(const dg::thread_pool& pool) {
  std::ostringstream os;
  pool.dump(os);
  return plain(os.str());
}

/// The text with its lines sorted: a dump lists tasks in the order in which they began to run or to wait.
inline std::string in_any_order(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream is(text);
  for (std::string line; std::getline(is, line);) lines.push_back(line);
  std::sort(lines.begin(), lines.end());
  std::string sorted;
  for (const std::string& line : lines) sorted += line + "\n";
  return sorted;
}

/// Waits until `look()` gives this text. Returns the last text.
template <class Look>
std::string awaited(Look look, const std::string& expected) {
  std::string last;
  eventually([&] { return (last = look()) == expected; });
  return last;
}

/// An actor with methods of several kinds.
struct counter {
  counter() = default;
  explicit counter(int) {}
  int get() const { return 1; }
  int add(int n) const { return n; }
  int waits(gate* started, gate* go) const {
    started->open();
    go->pass();
    return 2;
  }
  dg::generator<int> walk(int n) const { return count_to(n); }
  dg::task<int> awaits_it(dg::ref<int> r) const { return awaits(std::move(r)); }
};

}  // namespace support
