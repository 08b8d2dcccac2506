// SPDX-License-Identifier: MIT
// Adds up a large file, or one that never ends, in a pipeline of four stages.
//
//     pipeline [--progress N] FILE          pipeline [--progress N] --rows N
//
//     read ──blocks of lines──▶ parse ──batches of rows──▶ aggregate ──counts──▶ report
//
// Each stage reads the stream of the stage before it, and all run at once. A stage that is four items ahead of its
// reader is suspended (`backpressure`): so memory is bounded, except for the table of keys. An exception of a stage is
// the last item of its stream, and reaches the report after everything that was counted before.
//
// The first line of the file is `key,value`, each other one KEY,VALUE: a key of 1 to 64 bytes without commas, quotes
// and control characters, and a whole number from -1000000 to 1000000. Lines end in \n or \r\n, the last one may do
// without, and have at most 1024 bytes. Malformed lines are counted, and the first ten are named on standard error.
// FILE may be a pipe; --rows generates rows instead. Prints `key,rows,min,max,sum` for each key; with --progress, also
// the number of rows so far, on standard error, every N rows.
//
// Ctrl-C stops the first stage only (`stop_on`). The others process everything that it has read, so the output is the
// result of all rows up to some line. A second Ctrl-C kills the program.
//
// Exit status: 0; 1: the file could not be read, or not to its end; 2: wrong usage; 130: interrupted.

#include <dyngen/dyngen.hpp>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

constexpr std::size_t block_size = std::size_t{1} << 16, longest_line = 1024, longest_key = 64, most_named = 10;
constexpr int largest = 1'000'000;

// ---- Read: yields blocks of whole lines -----------------------------------------------------------------------------

struct descriptor {
  const int number;
  descriptor(int opened, const std::string& name) : number(opened) {
    if (opened < 0) throw std::system_error(errno, std::generic_category(), name);
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() { ::close(number); }
};

dg::generator<std::string> read(std::string path) {
  const descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC), path);
  // A pipe may have no data for a long time. When this task is asked to stop, it is woken by an event.
  const descriptor stop(::eventfd(0, EFD_CLOEXEC), "eventfd");
  const std::stop_callback on_stop(dg::this_task::get_stop_token(), [&] { ::eventfd_write(stop.number, 1); });

  std::string text;       // begins with the part already read of an unfinished line
  std::size_t lines = 0;  // before that
  for (ssize_t got = 1; got != 0;) {
    pollfd waited[2] = {{stop.number, POLLIN, 0}, {file.number, POLLIN, 0}};
    ::poll(waited, 2, -1);
    if (waited[0].revents != 0) co_await dg::this_task::yield();  // asked to stop, the task ends at its next co_await

    const std::size_t begun = text.size();
    text.resize(begun + block_size);
    got = ::read(file.number, text.data() + begun, block_size);
    if (got < 0 && errno != EAGAIN && errno != EINTR)
      throw std::system_error(errno, std::generic_category(), path + ":" + std::to_string(lines + 1));
    text.resize(begun + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));

    const std::size_t end = got == 0 ? text.size() : text.rfind('\n') + 1;
    std::string rest = text.substr(end, longest_line + 2);  // enough of a line to see that it is too long
    text.resize(end);
    lines += static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
    if (!text.empty()) co_yield std::move(text);
    text = std::move(rest);
  }
}

/// In place of a file: 100 keys in turn, and values from -1000 to 1000.
dg::generator<std::string> make_up(std::size_t rows) {
  std::string text = "key,value\n";
  for (std::size_t row = 0; row < rows; ++row) {
    const int value = static_cast<int>(row % 2001 * 7919 % 2001) - 1000;
    text += "k" + std::to_string(row % 100) + "," + std::to_string(value) + "\n";
    if (text.size() < block_size) continue;
    co_yield std::move(text);
    text.clear();
  }
  co_yield std::move(text);
}

// ---- Parse ----------------------------------------------------------------------------------------------------------

struct row {
  std::string_view key;
  int value;
};
struct bad_line {
  std::size_t number;
  const char* problem;
};
struct batch {
  dg::ref<std::string> text;  // owns the bytes of the keys
  std::vector<row> rows;
  std::vector<bad_line> bad;
};

/// The error of the line, or a null pointer.
const char* parse_line(std::string_view line, row& parsed) {
  if (line.size() > longest_line) return "the line is longer than 1024 bytes";
  const std::size_t comma = line.find(',');
  if (comma == line.npos) return "there is no comma";
  if (comma == 0 || comma > longest_key) return "the key is not 1 to 64 bytes long";
  parsed.key = line.substr(0, comma);
  for (const char c : parsed.key)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '"') return "a quote or control character in the key";

  const char *const from = line.data() + comma + 1, *const to = line.data() + line.size();
  const auto [end, error] = std::from_chars(from, to, parsed.value);
  if (error == std::errc::invalid_argument || end != to) return "the value is no whole number";
  if (error != std::errc() || parsed.value < -largest || parsed.value > largest)
    return "the value is not from -1000000 to 1000000";
  return nullptr;
}

dg::generator<batch> parse(dg::ref_stream<std::string> blocks, std::string path) {
  std::size_t number = 0;
  while (std::optional<dg::ref<std::string>> next = co_await blocks.async_next()) {
    batch made{std::move(*next), {}, {}};
    std::string_view rest = made.text.get();  // throws the exception of the reader, after everything that it had read
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      row parsed{};
      if (++number == 1) {
        if (line != "key,value") throw std::runtime_error(path + ":1: the header is not key,value");
      } else if (const char* const problem = parse_line(line, parsed)) {
        made.bad.push_back({number, problem});
      } else {
        made.rows.push_back(parsed);
      }
    }
    co_yield std::move(made);
  }
  if (number == 0) throw std::runtime_error(path + ":1: the file is empty: there is no header");
}

// ---- Aggregate: yields after every batch how far it is, and at the end, also at a bad one, what was counted ----------

struct summary {
  std::size_t rows = 0;
  int min = largest, max = -largest;
  std::int64_t sum = 0;
};

struct counts {
  std::size_t rows = 0;
  std::vector<bad_line> bad{};            // the rows of the last batch
  std::map<std::string, summary> keys{};  // at the end only
};

dg::generator<counts> aggregate(dg::ref_stream<batch> batches) {
  std::size_t rows = 0;
  std::map<std::string, summary> keys;
  std::exception_ptr failure;
  try {
    while (std::optional<batch> next = co_await batches.async_value()) {
      for (const row& one : next->rows) {
        summary& key = keys[std::string(one.key)];
        ++key.rows;
        key.min = std::min(key.min, one.value);
        key.max = std::max(key.max, one.value);
        key.sum += one.value;
      }
      rows += next->rows.size();
      co_yield dg::emplace(rows, std::move(next->bad));
    }
  } catch (...) {
    failure = std::current_exception();  // nothing can be yielded in here
  }
  co_yield dg::emplace(rows, std::vector<bad_line>(), std::move(keys));
  if (failure) std::rethrow_exception(failure);
}

// ---- Report: on the main thread -------------------------------------------------------------------------------------

int report(dg::ref_stream<counts> stream, const std::string& path, std::optional<std::size_t> progress) {
  counts last;
  std::size_t bad_lines = 0;
  int status = 0;
  try {
    for (counts&& now : stream.values()) {
      for (const bad_line& bad : now.bad)
        if (bad_lines++ < most_named) std::fprintf(stderr, "%s:%zu: %s\n", path.c_str(), bad.number, bad.problem);
      if (progress && now.rows / *progress != last.rows / *progress)
        std::fprintf(stderr, "pipeline: %zu rows so far\n", now.rows);
      last = std::move(now);
    }
  } catch (const dg::cancelled_error&) {
    std::fprintf(stderr, "pipeline: interrupted\n");
    status = 130;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pipeline: %s\n", error.what());
    status = 1;
  }
  std::printf("key,rows,min,max,sum\n");
  for (const auto& [key, sum] : last.keys)
    std::printf("%s,%zu,%d,%d,%lld\n", key.c_str(), sum.rows, sum.min, sum.max, static_cast<long long>(sum.sum));
  if (std::fflush(stdout) != 0) throw std::system_error(errno, std::generic_category(), "standard output");
  std::fprintf(stderr, "pipeline: %zu rows, %zu bad lines\n", last.rows, bad_lines);
  return status;
}

// ---- The program ----------------------------------------------------------------------------------------------------

/// A token whose stop is requested by Ctrl-C: a thread waits for the signal, so no handler interrupts anything. To be
/// called before other threads are made, which inherit that the signal is blocked.
std::stop_token on_ctrl_c() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::stop_source source;
  std::thread([signals, source]() mutable {
    int received;
    sigwait(&signals, &received);
    source.request_stop();
    pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);  // the second one kills the program, in this thread
    for (;;) pause();
  }).detach();
  return source.get_token();
}

/// Removes the option `name` and its number from the front of the words.
std::optional<std::size_t> take_option(std::vector<std::string>& words, const char* name) {
  if (words.size() < 2 || words[0] != name) return std::nullopt;
  std::size_t number = 0;
  const char* const last = words[1].data() + words[1].size();
  const auto [end, error] = std::from_chars(words[1].data(), last, number);
  if (error != std::errc() || end != last || number == 0) return std::nullopt;
  words.erase(words.begin(), words.begin() + 2);
  return number;
}

int run(std::vector<std::string> words) {
  const std::optional<std::size_t> progress = take_option(words, "--progress"), rows = take_option(words, "--rows");
  if (words.size() != (rows ? 0 : 1) || (!rows && words[0].starts_with("--"))) {
    std::fprintf(stderr, "usage: pipeline [--progress N] FILE\n       pipeline [--progress N] --rows N\n");
    return 2;
  }
  const std::string path = rows ? "--rows" : words[0];

  const std::stop_token interrupted = on_ctrl_c();
  dg::thread_pool reading(1);  // a thread of it may wait for data without delaying the other stages
  dg::thread_pool pool(2);
  auto source = reading.options(dg::backpressure{4}, dg::stop_on(interrupted));
  auto stage = pool.options(dg::backpressure{4});
  dg::ref_stream<std::string> blocks = rows ? source.submit(make_up, *rows) : source.submit(read, path);
  dg::ref_stream<batch> batches = stage.submit(parse, std::move(blocks), path);
  return report(stage.submit(aggregate, std::move(batches)), path, progress);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pipeline: %s\n", error.what());
    return 1;
  }
}
