// SPDX-License-Identifier: MIT
// Many more threads than cores over shared pools: producers, consumers, droppers and cancellers. Every value is
// accounted for by its own counters, so that a loss and a duplicate do not cancel each other.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace test_stress {

namespace {

using support::is_cancelled;
using namespace std::chrono_literals;

/// One entry per value of a run: how often it was built, seen by a reader, and destroyed.
class ledger {
 public:
  explicit ledger(std::size_t size) : entries_(size) {}

  struct entry {
    std::atomic<int> built{0}, seen{0}, destroyed{0};
  };
  entry& operator[](std::size_t id) { return entries_[id]; }
  std::size_t size() const { return entries_.size(); }

  /// Values that were not destroyed as often as built, or built or seen more than once.
  int faults() const {
    int count = 0;
    for (const entry& e : entries_)
      if (e.built > 1 || e.seen > 1 || e.destroyed != e.built || e.seen > e.built) ++count;
    return count;
  }
  int unseen() const {
    int count = 0;
    for (const entry& e : entries_) count += e.seen == 0 ? 1 : 0;
    return count;
  }

 private:
  std::vector<entry> entries_;
};

/// A move-only value that records itself in a ledger.
class entered {
 public:
  entered(ledger& book, std::size_t id) : book_(&book), id_(id) { ++(*book_)[id_].built; }
  entered(entered&& other) noexcept : book_(std::exchange(other.book_, nullptr)), id_(other.id_) {}
  entered& operator=(entered&& other) noexcept {
    std::swap(book_, other.book_);
    std::swap(id_, other.id_);
    return *this;
  }
  entered(const entered&) = delete;
  entered& operator=(const entered&) = delete;
  ~entered() {
    if (book_) ++(*book_)[id_].destroyed;
  }
  std::size_t id() const { return id_; }
  bool intact() const { return book_ != nullptr; }
  void see() const { ++(*book_)[id_].seen; }

 private:
  ledger* book_;
  std::size_t id_;
};

dg::generator<entered> produce(ledger* book, std::size_t first, std::size_t count, support::tracked local) {
  for (std::size_t i = 0; i < count; ++i) {
    entered value(*book, first + i);
    co_yield std::move(value);
  }
  local.value = 0;
}

std::uint32_t new_seed(const char* what) {
  const std::uint32_t seed = std::random_device{}();
  std::printf("%s: seed %u\n", what, static_cast<unsigned>(seed));
  std::fflush(stdout);
  return seed;
}

unsigned below(std::mt19937& random, unsigned limit) { return static_cast<unsigned>(random() % limit); }

/// Runs `body(index, random)` on many threads at once and joins them.
template <class Body>
void on_threads(unsigned count, std::uint32_t seed, Body body) {
  support::gate go;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < count; ++t)
    threads.emplace_back([&go, &body, t, seed] {
      std::mt19937 random(seed + t);
      go.pass();
      body(t, random);
    });
  go.open();
  for (auto& thread : threads) thread.join();
}

constexpr unsigned many = 12;

}  // namespace

TEST_CASE("streams read to their end by many threads lose and repeat nothing", "[stress][S-STREAM-1][S-MEM-4]") {
  support::watchdog dog("stress: readers");
  const std::uint32_t seed = new_seed("readers");
  INFO("seed " << seed);
  support::tracked::reset();
  constexpr std::size_t length = 400, rounds = 12;
  ledger book(many * rounds * length);
  std::atomic<int> out_of_order{0};
  {
    dg::thread_pool pool(3);
    on_threads(many, seed, [&](unsigned t, std::mt19937& random) {
      for (std::size_t round = 0; round < rounds; ++round) {
        const std::size_t first = (t * rounds + round) * length;
        const int room = 1 + static_cast<int>(below(random, 80));
        auto stream = pool.options(dg::backpressure{room}).submit(produce, &book, first, length, support::tracked(1));
        std::size_t expected = first;
        std::vector<dg::ref<entered>> kept;
        for (;;) {
          const unsigned way = below(random, 5);
          if (way == 0) {
            auto value = stream.next_value();
            if (!value) break;
            if (value->id() != expected++) ++out_of_order;
            value->see();
            continue;
          }
          if (way == 1) {
            int left = 10;
            bool ended = true;
            for (entered&& value : stream.values()) {
              if (value.id() != expected++) ++out_of_order;
              value.see();
              if (--left == 0) {
                ended = false;
                break;
              }
            }
            if (ended) break;
            continue;
          }
          std::optional<dg::ref<entered>> item;
          if (way == 2) {
            while (!(item = stream.try_next()) && !stream.finished()) std::this_thread::yield();
          } else if (way == 3) {
            item = stream.next_for(60s);
          } else {
            item = stream.next();
          }
          if (!item) break;
          if (item->get().id() != expected++) ++out_of_order;
          item->get().see();
          if (below(random, 3) == 0) kept.push_back(std::move(*item));
        }
        for (const auto& ref : kept)
          if (!ref.get().intact()) ++out_of_order;
      }
    });
  }
  CHECK(out_of_order == 0);
  CHECK(book.faults() == 0);
  CHECK(book.unseen() == 0);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("streams that are dropped, cancelled and detached at any moment leak and repeat nothing",
          "[stress][S-STREAM-6][S-CANCEL-4][S-MEM-4]") {
  support::watchdog dog("stress: droppers");
  const std::uint32_t seed = new_seed("droppers");
  INFO("seed " << seed);
  support::tracked::reset();
  constexpr std::size_t length = 150, rounds = 60;
  ledger book(many * rounds * length);
  std::atomic<int> wrong{0};
  {
    dg::thread_pool pool(3);
    on_threads(many, seed, [&](unsigned t, std::mt19937& random) {
      for (std::size_t round = 0; round < rounds; ++round) {
        const std::size_t first = (t * rounds + round) * length;
        const int room = 1 + static_cast<int>(below(random, 70));
        auto stream = pool.options(dg::backpressure{room}).submit(produce, &book, first, length, support::tracked(1));
        dg::ref<void> completion = stream.completion();
        const unsigned reads = below(random, static_cast<unsigned>(length) + 20);
        std::size_t expected = first;
        std::vector<dg::ref<entered>> kept;
        bool ended = false;
        for (unsigned i = 0; i < reads && !ended; ++i) {
          auto item = stream.next();
          if (!item) {
            ended = true;
          } else {
            if (item->get().id() != expected++) ++wrong;
            item->get().see();
            if (below(random, 2) == 0) kept.push_back(std::move(*item));
          }
        }
        switch (below(random, 4)) {
          case 0:
            break;
          case 1:
            stream.detach();
            completion.wait();
            if (completion.failed()) ++wrong;
            break;
          case 2:
            stream.cancel();
            for (;;) {
              auto item = stream.next();
              if (!item) break;
              if (item->failed()) {
                if (!is_cancelled(item->error())) ++wrong;
                continue;
              }
              if (item->get().id() != expected++) ++wrong;
              item->get().see();
            }
            break;
          default: {
            dg::ref_stream<entered> elsewhere = std::move(stream);
            break;
          }
        }
        for (const auto& ref : kept)
          if (!ref.get().intact()) ++wrong;
      }
    });
  }
  CHECK(wrong == 0);
  CHECK(book.faults() == 0);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("fixed returns whose refs go to other threads are each read once", "[stress][S-ARITY-1][S-MEM-1]") {
  support::watchdog dog("stress: fixed returns");
  const std::uint32_t seed = new_seed("fixed returns");
  INFO("seed " << seed);
  support::tracked::reset();
  constexpr std::size_t width = 16, rounds = 60;
  ledger book(many * rounds * width);
  std::atomic<int> wrong{0};
  {
    dg::thread_pool pool(3);
    on_threads(many, seed, [&](unsigned t, std::mt19937& random) {
      for (std::size_t round = 0; round < rounds; ++round) {
        const std::size_t first = (t * rounds + round) * width;
        auto refs = pool.options(dg::num_returns{width}).submit(produce, &book, first, width, support::tracked(1));
        // Half of them are read by tasks, the others here, in a random order; some dropped unread.
        std::vector<dg::ref<std::size_t>> sums;
        std::vector<std::size_t> order;
        for (std::size_t i = 0; i < width; ++i) order.push_back(i);
        for (std::size_t i = width; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
        std::vector<std::size_t> read_by_task;
        for (std::size_t i : order) {
          switch (below(random, 4)) {
            case 0:
              refs[i] = {};
              break;
            case 1:
              read_by_task.push_back(first + i);
              sums.push_back(pool.submit(
                  [](const entered& value) {
                    value.see();
                    return value.id();
                  },
                  std::move(refs[i])));
              break;
            case 2: {
              entered value = std::move(refs[i]).get();
              if (value.id() != first + i) ++wrong;
              value.see();
              break;
            }
            default:
              if (refs[i].get().id() != first + i) ++wrong;
              refs[i].get().see();
          }
        }
        for (std::size_t i = 0; i < sums.size(); ++i)
          if (sums[i].get() != read_by_task[i]) ++wrong;
      }
    });
  }
  CHECK(wrong == 0);
  CHECK(book.faults() == 0);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("a task cancelled while its fixed returns are read leaves a prefix of them", "[stress][S-CANCEL-2]") {
  support::watchdog dog("stress: cancelled fixed returns");
  const std::uint32_t seed = new_seed("cancelled fixed returns");
  INFO("seed " << seed);
  support::tracked::reset();
  constexpr std::size_t width = 40, rounds = 60;
  ledger book(many * rounds * width);
  std::atomic<int> wrong{0};
  {
    dg::thread_pool pool(3);
    on_threads(many, seed, [&](unsigned t, std::mt19937& random) {
      for (std::size_t round = 0; round < rounds; ++round) {
        const std::size_t first = (t * rounds + round) * width;
        auto refs = pool.options(dg::num_returns{width}).submit(produce, &book, first, width, support::tracked(1));
        const std::size_t reads = below(random, static_cast<unsigned>(width));
        for (std::size_t i = 0; i < reads; ++i)
          if (refs[i].get().id() != first + i) ++wrong;
        refs[below(random, static_cast<unsigned>(width))].cancel();
        bool after_end = false;
        for (std::size_t i = 0; i < width; ++i) {
          refs[i].wait();
          if (refs[i].failed()) {
            if (!is_cancelled(refs[i].error()) || i < reads) ++wrong;
            after_end = true;
          } else {
            if (after_end || refs[i].get().id() != first + i) ++wrong;
            refs[i].get().see();
          }
        }
      }
    });
  }
  CHECK(wrong == 0);
  CHECK(book.faults() == 0);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("lists shared by many threads are read whole by each", "[stress][S-MEM-1][L-15]") {
  support::watchdog dog("stress: lists");
  const std::uint32_t seed = new_seed("lists");
  INFO("seed " << seed);
  support::tracked::reset();
  constexpr std::size_t length = 500, lists = 20;
  ledger book(lists * length);
  std::atomic<int> wrong{0};
  std::vector<std::atomic<int>> reads(lists * length);
  {
    dg::thread_pool pool(3);
    std::vector<dg::ref<dg::ref_list<entered>>> outer;
    for (std::size_t i = 0; i < lists; ++i)
      outer.push_back(pool.options(dg::dynamic).submit(produce, &book, i * length, length, support::tracked(1)));
    on_threads(many, seed, [&](unsigned t, std::mt19937& random) {
      for (std::size_t i = 0; i < lists; ++i) {
        const std::size_t index = (i + t) % lists;
        dg::ref_list<entered> list = outer[index].get();
        if (list.size() != length) {
          ++wrong;
          continue;
        }
        std::vector<dg::ref<entered>> kept;
        for (std::size_t k = 0; k < length; ++k) {
          dg::ref<entered> ref = list[k];
          if (ref.get().id() != index * length + k) ++wrong;
          ++reads[index * length + k];
          if (below(random, 8) == 0) kept.push_back(std::move(ref));
        }
        list = {};
        for (const auto& ref : kept)
          if (!ref.get().intact()) ++wrong;
      }
    });
    int miscounted = 0;
    for (auto& count : reads) miscounted += count != static_cast<int>(many) ? 1 : 0;
    CHECK(miscounted == 0);
  }
  CHECK(wrong == 0);
  CHECK(book.faults() == 0);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("tasks submitted, awaited, chained, dropped and cancelled by many threads each run as specified",
          "[stress][S-CANCEL-1][S-ERR-9]") {
  support::watchdog dog("stress: plain tasks");
  const std::uint32_t seed = new_seed("plain tasks");
  INFO("seed " << seed);
  constexpr std::size_t per_thread = 1500;
  std::vector<std::atomic<int>> ran(many * per_thread);
  std::atomic<int> wrong{0};
  std::vector<std::atomic<int>> must_run(many * per_thread);
  {
    dg::thread_pool pool(3);
    on_threads(many, seed, [&](unsigned t, std::mt19937& random) {
      dg::ref<std::size_t> last = dg::put(std::size_t{0});
      for (std::size_t i = 0; i < per_thread; ++i) {
        const std::size_t id = t * per_thread + i;
        switch (below(random, 4)) {
          case 0: {  // awaited
            dg::ref<std::size_t> value = pool.submit([&ran, id] {
              ++ran[id];
              return id;
            });
            if (value.get() != id) ++wrong;
            ++must_run[id];
            break;
          }
          case 1:  // dropped: dropping does not cancel
            pool.submit([&ran, id] { ++ran[id]; });
            ++must_run[id];
            break;
          case 2: {  // cancelled
            dg::ref<std::size_t> value = pool.submit([&ran, id] {
              ++ran[id];
              return id;
            });
            const bool asked = value.cancel();
            value.wait();
            if (value.failed()) {
              if (!asked || !is_cancelled(value.error())) ++wrong;
            } else {
              ++must_run[id];
              if (value.get() != id) ++wrong;
            }
            break;
          }
          default:  // chained to the one before
            last = pool.submit(
                [&ran, id](std::size_t before) {
                  ++ran[id];
                  return before + 1;
                },
                last);
            ++must_run[id];
        }
      }
      last.wait();
      if (last.failed()) ++wrong;
    });
  }
  int missing = 0, repeated = 0;
  for (std::size_t id = 0; id < ran.size(); ++id) {
    missing += must_run[id] != 0 && ran[id] == 0 ? 1 : 0;
    repeated += ran[id] > 1 ? 1 : 0;
  }
  CHECK(wrong == 0);
  CHECK(missing == 0);
  CHECK(repeated == 0);
}

TEST_CASE("pipelines of streams across pools carry every value once", "[stress][S-STREAM-7]") {
  support::watchdog dog("stress: pipelines");
  const std::uint32_t seed = new_seed("pipelines");
  INFO("seed " << seed);
  support::tracked::reset();
  constexpr std::size_t length = 300, rounds = 4;
  constexpr unsigned readers = 8;
  ledger book(readers * rounds * length);
  std::atomic<int> wrong{0};
  {
    dg::thread_pool left(2), right(2);
    auto pass = [](dg::ref_stream<entered> in) -> dg::generator<entered> {
      while (std::optional<entered> value = in.next_value()) {
        entered local = std::move(*value);
        co_yield std::move(local);
      }
    };
    on_threads(readers, seed, [&](unsigned t, std::mt19937& random) {
      for (std::size_t round = 0; round < rounds; ++round) {
        const std::size_t first = (t * rounds + round) * length;
        auto stream = left.options(dg::backpressure{1 + below(random, 40)})
                          .submit(produce, &book, first, length, support::tracked(1));
        const unsigned stages = 1 + below(random, 4);
        for (unsigned i = 0; i < stages; ++i) {
          dg::thread_pool& pool = below(random, 2) == 0 ? left : right;
          stream = pool.options(dg::backpressure{1 + below(random, 40)}).submit(pass, std::move(stream));
        }
        std::size_t expected = first;
        while (auto value = stream.next_value()) {
          if (value->id() != expected++) ++wrong;
          value->see();
        }
      }
    });
  }
  CHECK(wrong == 0);
  CHECK(book.faults() == 0);
  CHECK(book.unseen() == 0);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("one task of many merges streams by wait_any without losing a value", "[stress][wait_any]") {
  support::watchdog dog("stress: merging");
  const std::uint32_t seed = new_seed("merging");
  INFO("seed " << seed);
  support::tracked::reset();
  constexpr std::size_t length = 120, streams_each = 5, rounds = 3;
  constexpr unsigned mergers = 8;
  ledger book(mergers * rounds * streams_each * length);
  std::atomic<int> wrong{0};
  {
    dg::thread_pool pool(3);
    on_threads(mergers, seed, [&](unsigned t, std::mt19937& random) {
      for (std::size_t round = 0; round < rounds; ++round) {
        const std::size_t first = (t * rounds + round) * streams_each * length;
        std::vector<dg::ref_stream<entered>> streams;
        std::vector<std::size_t> expected;
        for (std::size_t i = 0; i < streams_each; ++i) {
          streams.push_back(pool.options(dg::backpressure{1 + below(random, 20)})
                                .submit(produce, &book, first + i * length, length, support::tracked(1)));
          expected.push_back(first + i * length);
        }
        for (;;) {
          const auto index = static_cast<std::size_t>(dg::wait_any(streams));
          auto item = streams[index].try_next();
          if (!item) {
            for (auto& stream : streams)
              if (!stream.finished()) ++wrong;
            break;
          }
          if (item->get().id() != expected[index]++) ++wrong;
          item->get().see();
        }
      }
    });
  }
  CHECK(wrong == 0);
  CHECK(book.faults() == 0);
  CHECK(book.unseen() == 0);
  CHECK(support::tracked::live == 0);
}

TEST_CASE("pools destroyed under readers, with values still referenced, leak nothing", "[stress][S-STOP-4][S-MEM-5]") {
  support::watchdog dog("stress: pools under readers");
  const std::uint32_t seed = new_seed("pools under readers");
  INFO("seed " << seed);
  support::tracked::reset();
  constexpr std::size_t length = 200, rounds = 60;
  constexpr unsigned readers = 4;
  ledger book(rounds * readers * length);
  std::atomic<int> wrong{0};
  for (std::size_t round = 0; round < rounds; ++round) {
    auto pool = std::make_unique<dg::thread_pool>(2);
    std::vector<dg::ref_stream<entered>> streams;
    for (unsigned t = 0; t < readers; ++t)
      streams.push_back(pool->options(dg::backpressure{1 + 5 * t})
                            .submit(produce, &book, (round * readers + t) * length, length, support::tracked(1)));
    std::atomic<unsigned> reading{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < readers; ++t)
      threads.emplace_back([&, t] {
        std::mt19937 random(seed + static_cast<std::uint32_t>(round) * readers + t);
        ++reading;
        std::size_t expected = (round * readers + t) * length;
        std::vector<dg::ref<entered>> kept;
        bool ended = false;
        while (auto item = streams[t].next()) {
          if (ended) ++wrong;
          if (item->failed()) {
            if (!is_cancelled(item->error())) ++wrong;
            ended = true;
            continue;
          }
          if (item->get().id() != expected++) ++wrong;
          item->get().see();
          if (below(random, 4) == 0) kept.push_back(std::move(*item));
        }
        for (const auto& ref : kept)
          if (!ref.get().intact()) ++wrong;
      });
    while (reading != readers) std::this_thread::yield();
    pool.reset();
    for (auto& thread : threads) thread.join();
  }
  CHECK(wrong == 0);
  CHECK(book.faults() == 0);
  CHECK(support::tracked::live == 0);
}

}  // namespace test_stress
