// SPDX-License-Identifier: MIT
#pragma once
// What a trace records: for each thread a row of events, in the order in which they happened. A row is written by its
// thread alone, without a lock, and read by anybody at any time: events are only appended, and counted when they are whole.
// The one thing that changes later is when a stretch has ended. Nothing here throws: what there is no memory or no room
// for is counted as dropped.
//
// Stretches of one task that follow each other at once on a thread are one event: a reader who runs a stream's producer
// for one value after the other would fill the trace with them.
//
// [R1] `count` (release store by the thread) publishes all events below it, their texts, and the links between the chunks
//      they are in, to the reader's acquire load.
// [R2] a row is published whole: pushed on rows_ by release, found there by acquire.

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/memory.hpp>
#include <dyngen/detail/base/park.hpp>
#include <dyngen/detail/base/thread_context.hpp>
#include <dyngen/detail/task/recorder.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <new>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace dyngen::detail {

struct trace_event {
  std::int64_t at = 0;                ///< ns since the trace began
  atomic<std::int64_t> until{0};      ///< of a stretch that is over
  const std::string* text = nullptr;  ///< of a stretch the task's name, of an error what it says; null: none
  std::uint64_t task = 0;             ///< 0: none
  std::uint32_t attempt = 0;
  atomic<std::uint32_t> stretches{1};  ///< how many it stands for
  trace_kind kind = trace_kind::stretch;
};

struct trace_chunk {
  static constexpr std::uint32_t most = 256;
  explicit trace_chunk(std::uint32_t n) noexcept : room(n) {}
  const std::uint32_t room;
  trace_chunk* next = nullptr;  // [R1]
  trace_event events[most];
};

/// The events of one thread.
struct trace_row {
  explicit trace_row(std::uint64_t of) noexcept : thread(of) {}
  trace_row(const trace_row&) = delete;
  trace_row& operator=(const trace_row&) = delete;
  ~trace_row() {
    while (first != nullptr) delete std::exchange(first, first->next);
  }

  const std::uint64_t thread;  ///< its number among all threads
  std::string name;            ///< empty: a thread of another pool, or of none
  trace_row* next = nullptr;   // [R2]
  atomic<std::uint64_t> count{0};
  atomic<std::uint64_t> dropped{0};

  // The thread's own, but what [R1] publishes.
  trace_chunk* first = nullptr;
  trace_chunk* last = nullptr;
  std::uint32_t used = 0;       ///< of the last chunk
  trace_event* open = nullptr;  ///< the innermost stretch that is not over
  trace_event* over = nullptr;  ///< the one that was over last
  std::set<std::string, std::less<>> texts;
};

class trace_log final : public recorder {
 public:
  explicit trace_log(std::uint64_t most) noexcept : room_(most) {}
  ~trace_log() {
    // relaxed: nobody else is left.
    for (trace_row* r = rows_.load(relaxed); r != nullptr;) delete std::exchange(r, r->next);
  }

  trace_event* begin(std::string_view name, std::uint64_t task, std::uint64_t attempt) noexcept override {
    trace_row* const row = row_here();
    if (row == nullptr) return nullptr;
    if (trace_event* const e = go_on_with(*row, task, attempt)) return std::exchange(row->open, e);
    return std::exchange(row->open, append_stretch(*row, text_in(*row, name), task, attempt));
  }
  void end(trace_event* outer) noexcept override {
    trace_row* const row = row_here();
    if (row == nullptr) return;
    close(*row);
    row->open = outer;
  }
  void begin_attempt(const std::exception_ptr& failed, std::uint64_t attempt) noexcept override {
    note_error(failed);
    trace_row* const row = row_here();
    if (row == nullptr || row->open == nullptr) return;
    close(*row);
    row->open = append_stretch(*row, row->open->text, row->open->task, attempt);
  }

  void note(trace_kind what) noexcept override {
    if (trace_row* const row = row_here()) append_instant(*row, what, nullptr);
  }
  void note_error(const std::exception_ptr& e) noexcept override {
    const char* what = "an exception that is no std::exception";
    try {
      std::rethrow_exception(e);
    } catch (const std::exception& x) {
      what = x.what();  // lives as long as `e`
    } catch (...) {
    }
    if (trace_row* const row = row_here()) append_instant(*row, trace_kind::error, text_in(*row, what));
  }

  void name_row(std::string_view pool, std::uint32_t number) noexcept override {
    try {
      std::string name(pool.empty() ? std::string_view("worker") : pool);
      name += '-';
      name += std::to_string(number);
      row_here(&name);
    } catch (...) {  // no memory: it will be a row without a name
    }
  }

  // --- for who writes it out ---

  const trace_row* rows() const noexcept { return rows_.load(acquire); }  // [R2]
  std::int64_t now() const noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time_now() - began_).count();
  }
  std::uint64_t dropped() const noexcept {
    // relaxed, both: numbers that stand for themselves.
    std::uint64_t all = without_row_.load(relaxed);
    for (const trace_row* r = rows(); r != nullptr; r = r->next) all += r->dropped.load(relaxed);
    return all;
  }

 private:
  /// The calling thread's row; a new one, if it has none, gets the name. Null if there is no memory for it.
  trace_row* row_here(std::string* name = nullptr) noexcept {
    thread_context& here = context();
    if (here.row_of == number_) [[likely]]
      return here.row;
    trace_row* const row = find_row(name);
    if (row == nullptr) {
      without_row_.fetch_add(1, relaxed);  // relaxed: as in dropped()
      return nullptr;
    }
    here.row = row;
    here.row_of = number_;
    return row;
  }
  trace_row* find_row(std::string* name) noexcept {
    const std::uint64_t mine = thread_identity();
    for (trace_row* r = rows_.load(acquire); r != nullptr; r = r->next)  // [R2]
      if (r->thread == mine) return r;
    auto* const row = new (std::nothrow) trace_row(mine);
    if (row == nullptr) return nullptr;
    if (name != nullptr) row->name = std::move(*name);
    // relaxed: verified by the exchange. [R2] release: publishes it whole.
    row->next = rows_.load(relaxed);
    while (!rows_.compare_exchange_weak(row->next, row, release, relaxed)) {
    }
    return row;
  }

  static const std::string* text_in(trace_row& row, std::string_view text) noexcept {
    if (text.empty()) return nullptr;
    if (row.open != nullptr && row.open->text != nullptr && *row.open->text == text) return row.open->text;
    try {
      const auto found = row.texts.find(text);
      return found != row.texts.end() ? &*found : &*row.texts.emplace(text).first;
    } catch (...) {
      return nullptr;
    }
  }

  /// The last event of the row, if it is a stretch of the same attempt and has just been over; it goes on then. As no
  /// other one has been over since, it is inside the same ones as before.
  trace_event* go_on_with(trace_row& row, std::uint64_t task, std::uint64_t attempt) const noexcept {
    trace_event* const e = row.over;
    if (e == nullptr || e->task != task || e->attempt != attempt || e != &row.last->events[row.used - 1])
      return nullptr;
    // relaxed, all: numbers that stand for themselves, written by this thread only.
    if (now() - e->until.load(relaxed) > at_once) return nullptr;
    e->until.store(0, relaxed);
    e->stretches.store(e->stretches.load(relaxed) + 1, relaxed);
    return e;
  }
  trace_event* append_stretch(trace_row& row, const std::string* name, std::uint64_t task,
                              std::uint64_t attempt) noexcept {
    trace_event* const e = place_in(row);
    if (e == nullptr) return nullptr;
    e->at = now();
    e->text = name;
    e->task = task;
    e->attempt = static_cast<std::uint32_t>(std::min<std::uint64_t>(attempt, ~std::uint32_t{0}));
    publish(row);
    return e;
  }
  void append_instant(trace_row& row, trace_kind kind, const std::string* text) noexcept {
    trace_event* const e = place_in(row);
    if (e == nullptr) return;
    e->at = now();
    e->kind = kind;
    e->text = text;
    if (row.open != nullptr) {
      e->task = row.open->task;
      e->attempt = row.open->attempt;
    }
    publish(row);
  }
  void close(trace_row& row) noexcept {
    row.over = row.open;
    // relaxed: a number that stands for itself. Never 0, which says that it is not over.
    if (row.open != nullptr) row.open->until.store(std::max<std::int64_t>(now(), 1), relaxed);
  }

  /// Where the next event goes; null, and one more dropped, if there is no room.
  trace_event* place_in(trace_row& row) noexcept {
    if ((row.last == nullptr || row.used == row.last->room) && !grow(row)) {
      // relaxed, both: written by this thread only; as in dropped().
      row.dropped.store(row.dropped.load(relaxed) + 1, relaxed);
      return nullptr;
    }
    return &row.last->events[row.used];
  }
  static void publish(trace_row& row) noexcept {
    ++row.used;
    row.count.store(row.count.load(relaxed) + 1, release);  // [R1]; relaxed: written by this thread only
  }
  bool grow(trace_row& row) noexcept {
    // relaxed, here and below: a number that stands for itself.
    std::uint64_t room = room_.load(relaxed);
    std::uint32_t mine = 0;
    do {
      mine = static_cast<std::uint32_t>(std::min<std::uint64_t>(room, trace_chunk::most));
      if (mine == 0) return false;
    } while (!room_.compare_exchange_weak(room, room - mine, relaxed, relaxed));
    auto* const fresh = new (std::nothrow) trace_chunk(mine);
    if (fresh == nullptr) {
      room_.fetch_add(mine, relaxed);
      return false;
    }
    (row.last == nullptr ? row.first : row.last->next) = fresh;
    row.last = fresh;
    row.used = 0;
    return true;
  }

  static constexpr std::int64_t at_once = 10'000;  ///< ns between two stretches that are one event

  const std::uint64_t number_ = fresh_trace_number();
  const deadline began_ = time_now();
  atomic<std::uint64_t> room_;            ///< for so many more events
  atomic<trace_row*> rows_{nullptr};      ///< the newest first; only grows
  atomic<std::uint64_t> without_row_{0};  ///< events of threads for which there was no memory
};

}  // namespace dyngen::detail
