// SPDX-License-Identifier: MIT
// Counts the words of files, in parallel and in little memory.
//
//     word_count [--threads N] FILE…
//
// One generator task reads a file and yields blocks of about 1 MiB. Each block is counted by a task of its own, which
// starts as soon as its block is there, while the file is still being read. The main thread adds up the results as they
// become ready, and prints the number of words of each file, their total, and the ten most frequent words.
//
// A word is a maximal run of bytes other than space, \t, \n, \v, \f and \r. No word is cut: a block ends at the end of a
// word, and a word longer than a block makes its block grow, up to 64 MiB. For a file that cannot be read, the program
// prints a message, and the exit status is 1; the other files are still counted. Exit status 2: wrong usage.
//
// Memory beside the table of words is bounded, however large the files are: the stream stores at most two blocks
// (`backpressure{2}`), and the main thread has at most `most_in_flight` bytes of blocks counted at any time.
// Freed memory must also be reused by other threads: see main().

#include <dyngen/dyngen.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <memory_resource>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#ifdef __GLIBC__
#  include <malloc.h>
#endif

namespace dg = dyngen;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;
constexpr std::size_t block_size = mebibyte;
constexpr std::size_t longest_word = 64 * mebibyte;
constexpr std::size_t most_in_flight = 8 * mebibyte;

constexpr bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// ---- Reading ----------------------------------------------------------------------------------------------------------

struct file_closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

/// Yields the bytes of a file in blocks that end between two words. Runs no further ahead than the limit of its stream.
dg::generator<std::string> read_blocks(std::string path) {
  const std::unique_ptr<std::FILE, file_closer> file(std::fopen(path.c_str(), "rb"));
  if (!file) throw std::system_error(errno, std::generic_category(), path);

  std::string block;         // begins with the unfinished word at the end of the block before
  std::uint64_t offset = 0;  // where that is in the file
  for (;;) {
    const std::size_t begun = block.size();
    block.resize(std::clamp(2 * begun, block_size, longest_word + 1));
    const std::size_t asked = block.size() - begun;
    const std::size_t got = std::fread(block.data() + begun, 1, asked, file.get());
    if (std::ferror(file.get())) throw std::system_error(errno, std::generic_category(), path);
    block.resize(begun + got);

    if (got < asked) {  // the end of the file
      if (!block.empty()) co_yield std::move(block);
      co_return;
    }
    const auto last_space = std::find_if(block.rbegin(), block.rend() - static_cast<std::ptrdiff_t>(begun), is_space);
    const auto end = static_cast<std::size_t>(block.rend() - last_space);
    if (end == begun) {  // still the same word: read more of it
      if (block.size() <= longest_word) continue;
      throw std::runtime_error(path + ": the word at offset " + std::to_string(offset) + " is longer than 64 MiB");
    }
    std::string rest = block.substr(end);
    block.resize(end);
    offset += end;
    co_yield std::move(block);
    block = std::move(rest);
  }
}

// ---- Counting ---------------------------------------------------------------------------------------------------------

/// A word and its count. The bytes belong to a block or a table.
struct word_count {
  const char* data;
  std::uint32_t size;
  std::uint32_t hash;
  std::uint64_t count;

  std::string_view word() const { return {data, size}; }
};

/// A hash table of words, by open addressing. Its entries are in one vector, in the order in which they were added.
class word_table {
 public:
  /// The entry of a word, added with count 0 if it was not there. Valid until the next call.
  word_count& entry(std::string_view word, std::uint32_t hash) {
    if (2 * entries_.size() >= slots_.size()) grow();
    std::size_t slot = hash & (slots_.size() - 1);
    for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
      word_count& found = entries_[slots_[slot] - 1];
      if (found.hash == hash && found.word() == word) return found;
    }
    entries_.push_back({word.data(), static_cast<std::uint32_t>(word.size()), hash, 0});
    slots_[slot] = static_cast<std::uint32_t>(entries_.size());
    return entries_.back();
  }

  const std::vector<word_count>& entries() const { return entries_; }
  std::vector<word_count> release() && { return std::move(entries_); }

 private:
  void grow() {
    slots_.assign(std::max<std::size_t>(1024, 2 * slots_.size()), 0);
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      std::size_t slot = entries_[i].hash & (slots_.size() - 1);
      while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = static_cast<std::uint32_t>(i + 1);
    }
  }

  std::vector<word_count> entries_;
  std::vector<std::uint32_t> slots_;  // 1 + the index of an entry, or 0; a power of two of them, at most half in use
};

/// The words of one block. Their bytes stay in the block, which must live as long as the result.
std::vector<word_count> count_words(const std::string& block) {
  word_table table;
  const char* const end = block.data() + block.size();
  for (const char* at = block.data();;) {
    const char* const first = std::find_if_not(at, end, is_space);
    if (first == end) return std::move(table).release();
    at = std::find_if(first, end, is_space);
    const std::string_view word(first, static_cast<std::size_t>(at - first));
    ++table.entry(word, static_cast<std::uint32_t>(std::hash<std::string_view>()(word))).count;
  }
}

// ---- Adding up --------------------------------------------------------------------------------------------------------

/// The words of all files, with a copy of the bytes of each.
class totals {
 public:
  /// Adds the words of one block; returns how many there were.
  std::uint64_t add(const std::vector<word_count>& block) {
    std::uint64_t words = 0;
    for (const word_count& one : block) {
      word_count& sum = table_.entry(one.word(), one.hash);
      if (sum.count == 0) sum.data = keep(one.word());
      sum.count += one.count;
      words += one.count;
    }
    return words;
  }

  /// The most frequent words, at most n; those of the same count in the order of their bytes.
  std::vector<word_count> most_frequent(std::size_t n) const {
    std::vector<word_count> top(std::min(n, table_.entries().size()));
    std::partial_sort_copy(table_.entries().begin(), table_.entries().end(), top.begin(), top.end(),
                           [](const word_count& a, const word_count& b) {
                             return a.count != b.count ? a.count > b.count : a.word() < b.word();
                           });
    return top;
  }

 private:
  const char* keep(std::string_view word) {
    return static_cast<char*>(std::memcpy(bytes_.allocate(word.size(), 1), word.data(), word.size()));
  }

  word_table table_;
  std::pmr::monotonic_buffer_resource bytes_;
};

struct file_result {
  std::string path;
  std::uint64_t words = 0;
  bool failed = false;
};

/// Counts all files on the pool: reading, counting and adding up overlap, also from one file to the next.
class counter {
 public:
  explicit counter(dg::thread_pool& pool) : pool_(pool) {}

  void count(file_result& file) {
    for (dg::ref<std::string> block : pool_.options(dg::backpressure{2}).submit(read_blocks, file.path)) {
      // The reader's exception, if any, is the last item of its stream. The task that depends on it fails with it.
      const std::size_t bytes = block.failed() ? 0 : block.get().capacity();
      dg::ref<std::vector<word_count>> words = pool_.submit(count_words, block);
      in_flight_.push_back({&file, std::move(block), std::move(words), bytes});
      bytes_in_flight_ += bytes;
      while (!in_flight_.empty() && (bytes_in_flight_ > most_in_flight || in_flight_.front().words.ready()))
        add_oldest();
    }
  }

  const totals& finish() {
    while (!in_flight_.empty()) add_oldest();
    return totals_;
  }

 private:
  struct counted_block {
    file_result* file;
    dg::ref<std::string> block;  // keeps the bytes that `words` points to
    dg::ref<std::vector<word_count>> words;
    std::size_t bytes;
  };

  void add_oldest() {
    const counted_block oldest = std::move(in_flight_.front());
    in_flight_.pop_front();
    bytes_in_flight_ -= oldest.bytes;
    try {
      oldest.file->words += totals_.add(oldest.words.get());
    } catch (const std::exception& error) {
      std::fprintf(stderr, "word_count: %s\n", error.what());
      oldest.file->failed = true;
    }
  }

  dg::thread_pool& pool_;
  totals totals_;
  std::deque<counted_block> in_flight_;
  std::size_t bytes_in_flight_ = 0;
};

// ---- The program ------------------------------------------------------------------------------------------------------

struct arguments {
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  std::vector<file_result> files;
};

std::optional<arguments> parse(int argc, char** argv) {
  arguments result;
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; ++i) {
    const std::string_view option = argv[i];
    if (option == "--") {
      ++i;
      break;
    }
    if (option != "--threads" || ++i == argc) return std::nullopt;
    const std::string_view number = argv[i];
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), result.threads);
    if (error != std::errc() || end != number.data() + number.size()) return std::nullopt;
    if (result.threads < 1 || result.threads > 4096) return std::nullopt;
  }
  for (; i < argc; ++i) result.files.push_back({.path = argv[i]});
  if (result.files.empty()) return std::nullopt;
  return result;
}

/// A word that is safe to print on a terminal: control characters as \xNN, and only the beginning of a very long one.
std::string printable(std::string_view word) {
  constexpr std::size_t longest = 80;
  std::string text;
  for (const char c : word.substr(0, longest)) {
    char escape[5];
    const auto byte = static_cast<unsigned char>(c);
    std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned>(byte));
    if (byte < 0x20 || byte == 0x7f)
      text += escape;
    else
      text += c;
  }
  if (word.size() > longest) text += "... (" + std::to_string(word.size()) + " bytes)";
  return text;
}

void print_line(std::uint64_t count, const std::string& text) {
  std::printf("%12" PRIu64 "  %s\n", count, text.c_str());
}

int run(arguments arguments) {
  // `waiters_help` is off so that --threads says how many threads read and count; the main thread only adds up.
  dg::thread_pool pool({.threads = arguments.threads, .waiters_help = false});
  counter counter(pool);
  for (file_result& file : arguments.files) counter.count(file);
  const totals& totals = counter.finish();

  std::uint64_t words = 0;
  bool failed = false;
  for (const file_result& file : arguments.files) {
    // If reading a file fails, the blocks before the failure are counted.
    if (!file.failed)
      print_line(file.words, file.path);
    else if (file.words != 0)
      print_line(file.words, file.path + " (incomplete)");
    words += file.words;
    failed = failed || file.failed;
  }
  print_line(words, "total");
  std::printf("\nmost frequent words:\n");
  for (const word_count& entry : totals.most_frequent(10)) print_line(entry.count, printable(entry.word()));
  if (std::fflush(stdout) != 0) throw std::system_error(errno, std::generic_category(), "standard output");
  return failed ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
#ifdef __GLIBC__
  // One heap for all threads. By default each has one of its own, which keeps some of the large blocks that were freed in
  // it: the more threads, the more unused memory.
  mallopt(M_ARENA_MAX, 1);
#endif
  std::optional<arguments> arguments = parse(argc, argv);
  if (!arguments) {
    std::fprintf(stderr, "usage: word_count [--threads N] FILE...\n  N: 1 to 4096, default: one per processor\n");
    return 2;
  }
  try {
    return run(std::move(*arguments));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "word_count: %s\n", error.what());
    return 1;
  }
}
