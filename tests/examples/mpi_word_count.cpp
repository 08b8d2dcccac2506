// SPDX-License-Identifier: MIT
// Counts the words of files with the processes of an MPI job, on one machine or on many that see the same files.
//
//     mpirun -n 4 mpi_word_count FILE…
//
// Rank i % ranks gets file number i. Each rank counts its files on its own pool, with one task for each file, which
// yields the number of words of each block of 1 MiB. The rank sends these values to rank 0, where another generator
// yields them. So rank 0 has one ref_stream for each file, wherever it is counted: an exception at any rank is the last
// item of the stream at rank 0, like that of a local task. Rank 0 prints the words of each file and their total. For a
// file that cannot be read, it prints a message, and the exit status is 1; the others are still counted. Exit status 2:
// wrong usage.
//
// Which thread calls MPI: the main thread alone, at every rank, as MPI_THREAD_FUNNELED demands.
//   - At rank 0 MPI is called by receive() only, whose tasks are submitted to `network`, a manual_executor. That runs a
//     task where run_one() is called, and nowhere else: on the main thread. A wait for such a task never runs it.
//   - At the other ranks only send() calls it, in plain code on the main thread. The tasks of the pool, count_words(),
//     do not call MPI; the main thread may run them too, while it waits for one.
//
// No rank waits for a message that never comes: each stream ends with a message of its own, also when it fails. No send
// waits for ever, however little MPI buffers: each rank sends its files in the order in which rank 0 reads them. Where
// a process dies, or MPI itself fails, mpirun ends the others.

#include <dyngen/dyngen.hpp>

#include <mpi.h>

#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

constexpr std::size_t block_size = std::size_t{1} << 20;

// ---- Counting: on the pool of any rank ------------------------------------------------------------------------------

struct file_closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

/// Yields the number of words that begin in each block.
dg::generator<std::uint64_t> count_words(std::string path) {
  const std::unique_ptr<std::FILE, file_closer> file(std::fopen(path.c_str(), "rb"));
  if (!file) throw std::system_error(errno, std::generic_category(), path);
  std::string block(block_size, ' ');
  bool in_word = false;
  for (std::size_t got = block_size; got == block_size;) {
    got = std::fread(block.data(), 1, block_size, file.get());
    if (std::ferror(file.get())) throw std::system_error(errno, std::generic_category(), path);
    std::uint64_t words = 0;
    for (std::size_t i = 0; i < got; ++i) {
      const bool space = block[i] == ' ' || (block[i] >= '\t' && block[i] <= '\r');
      if (!space && !in_word) ++words;
      in_word = !space;
    }
    co_yield words;
  }
}

/// A task for each file. Numbers are small, so the streams are unbounded, and no task waits for its reader with its
/// file open.
dg::ref_stream<std::uint64_t> counted(dg::thread_pool& pool, const std::string& path) {
  return pool.options(dg::unbounded).submit(count_words, path);
}

// ---- Sending and receiving: on the main thread ----------------------------------------------------------------------

// A message is a text whose first character is its kind. Its tag is the number of the file.
constexpr char is_value = '=', is_end = '.', is_failure = '!';

void send(int file, char what, const std::string& text) {
  const std::string message = what + text;
  MPI_Send(message.data(), static_cast<int>(message.size()), MPI_CHAR, 0, file, MPI_COMM_WORLD);
}

/// Sends all items of a stream.
void send(int file, dg::ref_stream<std::uint64_t> counts) {
  try {
    for (const std::uint64_t words : counts.values()) send(file, is_value, std::to_string(words));
  } catch (const std::exception& error) {
    return send(file, is_failure, error.what());
  }
  send(file, is_end, "");
}

/// The next message about a file, if it has arrived.
std::optional<std::string> try_receive(int from, int file) {
  int arrived = 0, size = 0;
  MPI_Message message;
  MPI_Status status;
  MPI_Improbe(from, file, MPI_COMM_WORLD, &arrived, &message, &status);
  if (!arrived) return std::nullopt;
  MPI_Get_count(&status, MPI_CHAR, &size);
  std::string text(static_cast<std::size_t>(size), ' ');
  MPI_Mrecv(text.data(), size, MPI_CHAR, &message, &status);
  return text;
}

/// Yields the values of a stream at another rank, and throws its exception.
dg::generator<std::uint64_t> receive(int from, int file) {
  for (;;) {
    std::optional<std::string> message = try_receive(from, file);
    if (!message) {
      co_await dg::this_task::yield();  // looks for the messages of other files
      continue;
    }
    if (message->front() == is_end) co_return;
    if (message->front() == is_failure) throw std::runtime_error(message->substr(1));
    co_yield std::stoull(message->substr(1));
  }
}

// ---- The program ----------------------------------------------------------------------------------------------------

/// Prints the sums. Runs on the pool, while the main thread receives.
dg::task<int> add_up(std::vector<dg::ref_stream<std::uint64_t>> files, std::vector<std::string> paths) {
  std::uint64_t total = 0;
  int status = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    try {
      std::uint64_t sum = 0;
      while (std::optional<std::uint64_t> words = co_await files[i].async_value()) sum += *words;
      std::printf("%12" PRIu64 "  %s\n", sum, paths[i].c_str());
      total += sum;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "mpi_word_count: %s\n", error.what());
      status = 1;
    }
  }
  std::printf("%12" PRIu64 "  total\n", total);
  if (std::fflush(stdout) != 0) throw std::system_error(errno, std::generic_category(), "standard output");
  co_return status;
}

int run(const std::vector<std::string>& paths) {
  int rank = 0, ranks = 0, found = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const int* largest_tag = nullptr;
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &largest_tag, &found);
  if (paths.empty() || !found || paths.size() > static_cast<std::size_t>(*largest_tag)) {
    if (rank == 0) std::fprintf(stderr, "usage: mpi_word_count FILE...\n  at most as many as MPI has tags\n");
    return 2;
  }
  const auto owner = [ranks](std::size_t file) { return static_cast<int>(file % static_cast<std::size_t>(ranks)); };

  dg::manual_executor network;  // run by this thread only
  dg::thread_pool pool;
  std::vector<dg::ref_stream<std::uint64_t>> files(paths.size());
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (owner(i) == rank)
      files[i] = counted(pool, paths[i]);
    else if (rank == 0)
      files[i] = dg::on(network).submit(receive, owner(i), static_cast<int>(i));
  }
  if (rank != 0) {
    for (std::size_t i = 0; i < paths.size(); ++i)
      if (owner(i) == rank) send(static_cast<int>(i), std::move(files[i]));
    return 0;
  }
  dg::ref<int> status = pool.submit(add_up, std::move(files), paths);
  while (!status.ready())  // polls, as MPI's own waits do
    if (!network.run_one()) status.wait_for(std::chrono::milliseconds(1));
  return status.get();
}

}  // namespace

int main(int argc, char** argv) {
  int provided = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  try {
    if (provided < MPI_THREAD_FUNNELED) throw std::runtime_error("this MPI allows no threads");
    const int status = run({argv + 1, argv + argc});
    MPI_Finalize();
    return status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mpi_word_count: %s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);  // the other ranks may wait for this one
    return 1;
  }
}
