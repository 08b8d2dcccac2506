// SPDX-License-Identifier: MIT
// A program that uses the library. Its other half is words.cpp; both include everything, and instantiate the same
// templates, so that two definitions where there must be one do not link.

#include <dyngen/dyngen.hpp>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

dyngen::generator<std::string> words(const std::string& text);
dyngen::ref<std::size_t> count(dyngen::thread_pool& pool, dyngen::ref_stream<std::string> stream);

int main() {
  dyngen::thread_pool pool(2);
  const std::string text = "as many as there are";

  std::string joined;
  for (const std::string& word : pool.submit(words, text).values()) joined += word;
  const std::size_t number = count(pool, pool.submit(words, text)).get();
  const auto list = pool.options(dyngen::dynamic).submit(words, text);

  std::string thrown;
  try {
    pool.submit([]() -> int { throw std::runtime_error("as it was"); }).get();
  } catch (const std::runtime_error& error) {
    thrown = error.what();
  }
  std::printf("%s %zu %zu %s\n", joined.c_str(), number, list.get().size(), thrown.c_str());
}
