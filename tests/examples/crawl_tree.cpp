// SPDX-License-Identifier: MIT
// Finds the files of a directory tree that have the same contents.
//
//     crawl_tree [--threads N] DIR
//
//  - `walk` is a generator that yields the files of a directory and then, directory by directory, what the same
//    generator yields for those in it. As one task it walks the whole tree, no further ahead than the limit of its
//    stream.
//  - Each file is read by a generator of blocks, and hashed by a task that takes each block as soon as it is read. All
//    streams of blocks share one budget, in bytes: however many files are open, and however large they are, at most
//    that many bytes wait to be hashed, plus one block of each file.
//  - Files of the same size and hash are compared, block by block. A comparison that has seen a difference drops its
//    two streams, and their tasks stop. So a bad hash function would cost time, but give no wrong answer.
//
// Prints the groups of equal files and a summary. Symbolic links are not followed. Dangling links and everything that
// cannot be read are named on standard error; the rest is still processed. What is neither a file nor a directory is
// ignored. In names, control characters are printed as \xNN, and \ as \x5c.
//
// Exit status: 0; 1: not everything could be read; 2: wrong usage.

#include <dyngen/dyngen.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace dg = dyngen;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t block_size = std::size_t{1} << 16, most_waiting = 32 * block_size, most_open = 32;

/// A name that is safe to print on a terminal.
std::string printable(const std::string& name) {
  std::string text;
  for (const char c : name) {
    char escaped[5];
    const auto byte = static_cast<unsigned char>(c);
    std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(byte));
    if (byte < 0x20 || byte == 0x7f || c == '\\')
      text += escaped;
    else
      text += c;
  }
  return text;
}

std::system_error error_of(const std::string& path, std::error_code error) { return {error, printable(path)}; }

// ---- Walking --------------------------------------------------------------------------------------------------------

/// A file; or, with an error, a path that could not be read.
struct found {
  std::string path;
  std::error_code error;
};

dg::generator<found> walk(std::string directory) {
  std::vector<std::string> below;  // walked when this directory is closed: a deep tree does not need many open ones
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    found one{at->path().native(), {}};
    const fs::file_status status = at->symlink_status(one.error);
    if (fs::is_symlink(status)) (void)fs::status(at->path(), one.error);  // does its target exist?
    if (one.error || fs::is_regular_file(status))
      co_yield std::move(one);
    else if (fs::is_directory(status))
      below.push_back(std::move(one.path));
  }
  if (error) co_yield dg::emplace(directory, error);
  for (std::string& each : below) co_yield dg::elements_of(walk(std::move(each)));
}

// ---- Reading --------------------------------------------------------------------------------------------------------

struct file_closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

/// The blocks of a file; all but the last are of the same size.
dg::generator<std::string> read(std::string path) {
  const std::unique_ptr<std::FILE, file_closer> file(std::fopen(path.c_str(), "rb"));
  if (!file) throw error_of(path, {errno, std::generic_category()});
  for (;;) {
    std::string block(block_size, '\0');
    block.resize(std::fread(block.data(), 1, block_size, file.get()));
    if (std::ferror(file.get())) throw error_of(path, {errno, std::generic_category()});
    if (block.empty()) co_return;
    co_yield std::move(block);
  }
}

struct digest {
  std::uintmax_t size = 0;
  std::uint64_t hash = 14695981039346656037u;
  auto operator<=>(const digest&) const = default;
};

/// Updates an FNV-1a hash with one more block.
std::uint64_t hash_of(std::string_view block, std::uint64_t hash) {
  for (const char c : block) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

dg::task<digest> digest_of(dg::ref_stream<std::string> blocks) {
  digest sum;
  while (std::optional<std::string> block = co_await blocks.async_value()) {
    sum.size += block->size();
    sum.hash = hash_of(*block, sum.hash);
  }
  co_return sum;
}

dg::task<bool> equal(dg::ref_stream<std::string> a, dg::ref_stream<std::string> b) {
  for (;;) {
    const std::optional<std::string> from_a = co_await a.async_value();
    const std::optional<std::string> from_b = co_await b.async_value();
    if (from_a != from_b) co_return false;
    if (!from_a) co_return true;
  }
}

// ---- The program ----------------------------------------------------------------------------------------------------

/// Files with the same contents.
struct group {
  std::vector<std::string> paths;
  std::uintmax_t size;
};

class crawler {
 public:
  explicit crawler(std::size_t threads) : pool_(threads) {}

  void crawl(const std::string& root) {
    for (found&& one : pool_.submit(walk, root).values()) {
      if (one.error) {
        complain(error_of(one.path, one.error));
        continue;
      }
      if (in_flight_.size() == most_open) collect();
      in_flight_.push_back({one.path, pool_.submit(digest_of, blocks_of(one.path))});
    }
    while (!in_flight_.empty()) collect();
  }

  /// Returns whether everything could be read.
  bool report() {
    std::vector<group> groups;
    std::size_t files = 0, copies = 0;
    std::uintmax_t bytes = 0, saved = 0;
    for (auto& [sum, paths] : files_) {
      files += paths.size();
      bytes += paths.size() * sum.size;
      for (group& one : split(std::move(paths), sum.size)) {
        if (one.paths.size() < 2) continue;
        copies += one.paths.size() - 1;
        saved += (one.paths.size() - 1) * sum.size;
        groups.push_back(std::move(one));
      }
    }
    std::sort(groups.begin(), groups.end(), [](const group& a, const group& b) { return a.paths < b.paths; });
    for (const group& one : groups) {
      std::printf("%zu files of %ju bytes:\n", one.paths.size(), one.size);
      for (const std::string& path : one.paths) std::printf("  %s\n", printable(path).c_str());
    }
    std::printf("%zu files of %ju bytes; %zu copies of %ju bytes; %zu not read\n", files, bytes, copies, saved,
                unread_);
    if (std::fflush(stdout) != 0) throw std::system_error(errno, std::generic_category(), "standard output");
    return unread_ == 0;
  }

 private:
  struct file {
    std::string path;
    dg::ref<digest> sum;
  };

  dg::ref_stream<std::string> blocks_of(const std::string& path) {
    const auto cost = [](const std::string& block) { return block.capacity(); };
    return pool_.options(dg::backpressure_by(budget_, cost)).submit(read, path);
  }

  void complain(const std::exception& error) {
    std::fprintf(stderr, "crawl_tree: %s\n", error.what());
    ++unread_;
  }

  void collect() {
    const file oldest = std::move(in_flight_.front());
    in_flight_.pop_front();
    try {
      files_[oldest.sum.get()].push_back(oldest.path);
    } catch (const std::exception& error) {
      complain(error);
    }
  }

  /// Splits files of the same digest into groups of the same contents.
  std::vector<group> split(std::vector<std::string> paths, std::uintmax_t size) {
    std::sort(paths.begin(), paths.end());
    std::vector<group> groups;
    for (const std::string& path : paths) {
      const auto is_like = [&](const group& one) {
        return pool_.submit(equal, blocks_of(one.paths.front()), blocks_of(path)).get();
      };
      try {
        const auto like = std::find_if(groups.begin(), groups.end(), is_like);
        if (like == groups.end())
          groups.push_back({{path}, size});
        else
          like->paths.push_back(path);
      } catch (const std::exception& error) {
        complain(error);
      }
    }
    return groups;
  }

  dg::thread_pool pool_;
  dg::budget budget_{most_waiting};
  std::deque<file> in_flight_;
  std::map<digest, std::vector<std::string>> files_;
  std::size_t unread_ = 0;
};

int run(std::vector<std::string> words) {
  std::size_t threads = std::max(1u, std::thread::hardware_concurrency());
  if (words.size() == 3 && words[0] == "--threads") {
    const char* const last = words[1].data() + words[1].size();
    const auto [end, error] = std::from_chars(words[1].data(), last, threads);
    if (error == std::errc() && end == last && threads >= 1 && threads <= 4096)
      words.erase(words.begin(), words.begin() + 2);
  }
  if (words.size() != 1 || words[0].starts_with("--")) {
    std::fprintf(stderr, "usage: crawl_tree [--threads N] DIR\n");
    return 2;
  }
  crawler crawler(threads);
  crawler.crawl(words[0]);
  return crawler.report() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "crawl_tree: %s\n", error.what());
    return 1;
  }
}
