// SPDX-License-Identifier: MIT

#include <dyngen/dyngen.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

dyngen::generator<std::string> words(const std::string& text);
dyngen::ref<std::size_t> count(dyngen::thread_pool& pool, dyngen::ref_stream<std::string> stream);

dyngen::generator<std::string> words(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    co_yield text.substr(at, end - at);
    at = end + 1;
  }
}

static dyngen::task<std::size_t> number_of(dyngen::ref_stream<std::string> stream) {
  std::size_t n = 0;
  while (co_await stream.async_value()) ++n;
  co_return n;
}

dyngen::ref<std::size_t> count(dyngen::thread_pool& pool, dyngen::ref_stream<std::string> stream) {
  return pool.submit(number_of, std::move(stream));
}
