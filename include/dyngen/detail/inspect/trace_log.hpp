// SPDX-License-Identifier: MIT
#pragma once
// What a trace records: a row of events for each thread, in the order in which they happened. A stretch is one run of a
// task's code, from its start to its return. Stretches of one task that follow each other at once on a thread share one
// event: a consumer that runs its producer for one value after the other would otherwise fill the trace.
//
// Only a row's own thread writes it, without a lock; any thread may read it at any time. Events are only appended, and
// become visible when they are complete. Later changes are only those of an event's end and of its number of stretches.
// Nothing here throws: an event for which there is no memory or no space is counted as dropped.
//
// [R1] `count` (release store by the row's thread) publishes the events below it, their texts, and the links between
//      their chunks, to the reader's acquire load.
// [R2] A row is complete when it is published: pushed on rows_ by release, found there by acquire.

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
  atomic<std::int64_t> until{0};      ///< end of a stretch, in ns; 0: not over
  const std::string* text = nullptr;  ///< a stretch: the task's name; an error: its message; null: none
  std::uint64_t task = 0;             ///< the task's number; 0: none
  std::uint32_t attempt = 0;
  atomic<std::uint32_t> stretches{1};  ///< how many stretches share the event
  trace_kind kind = trace_kind::stretch;
};

struct trace_chunk {
  static constexpr std::uint32_t most = 256;
  explicit trace_chunk(std::uint32_t n) noexcept : capacity(n) {}
  const std::uint32_t capacity;
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

  const std::uint64_t thread;  ///< the thread's thread_identity()
  std::string name;            ///< empty for a thread that is not a worker of a pool with this trace
  trace_row* next = nullptr;   // [R2]
  atomic<std::uint64_t> count{0};
  atomic<std::uint64_t> dropped{0};

  // Only the row's thread uses these, except for what [R1] publishes.
  trace_chunk* first = nullptr;
  trace_chunk* last = nullptr;
  std::uint32_t used = 0;       ///< events in the last chunk
  trace_event* open = nullptr;  ///< the innermost stretch that is not over
  trace_event* over = nullptr;  ///< the stretch that ended last
  std::set<std::string, std::less<>> texts;
};

class trace_log final : public recorder {
 public:
  explicit trace_log(std::uint64_t most) noexcept : remaining_(most) {}
  ~trace_log() {
    // relaxed: no other thread is left.
    for (trace_row* r = rows_.load(relaxed); r != nullptr;) delete std::exchange(r, r->next);
  }

  trace_event* begin(std::string_view name, std::uint64_t task, std::uint64_t attempt) noexcept override {
    trace_row* const row = row_here();
    if (row == nullptr) return nullptr;
    if (trace_event* const e = reopen_last(*row, task, attempt)) return std::exchange(row->open, e);
    return std::exchange(row->open, append_stretch(*row, intern(*row, name), task, attempt));
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
    const char* what = "an exception that is not a std::exception";
    try {
      std::rethrow_exception(e);
    } catch (const std::exception& x) {
      what = x.what();  // lives as long as `e`
    } catch (...) {
    }
    if (trace_row* const row = row_here()) append_instant(*row, trace_kind::error, intern(*row, what));
  }

  void name_row(std::string_view pool, std::uint32_t number) noexcept override {
    try {
      std::string name(pool.empty() ? std::string_view("worker") : pool);
      name += '-';
      name += std::to_string(number);
      row_here(&name);
    } catch (...) {  // no memory: the row stays without a name
    }
  }

  // --- for the thread that writes the trace out ---

  const trace_row* rows() const noexcept { return rows_.load(acquire); }  // [R2]
  std::int64_t now() const noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time_now() - began_).count();
  }
  std::uint64_t dropped() const noexcept {
    // relaxed, both: independent numbers.
    std::uint64_t all = without_row_.load(relaxed);
    for (const trace_row* r = rows(); r != nullptr; r = r->next) all += r->dropped.load(relaxed);
    return all;
  }

 private:
  /// Returns the calling thread's row. If it has none, creates one with this name; null if out of memory.
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
    // relaxed: verified by the exchange. [R2] release: publishes the complete row.
    row->next = rows_.load(relaxed);
    while (!rows_.compare_exchange_weak(row->next, row, release, relaxed)) {
    }
    return row;
  }

  static const std::string* intern(trace_row& row, std::string_view text) noexcept {
    if (text.empty()) return nullptr;
    if (row.open != nullptr && row.open->text != nullptr && *row.open->text == text) return row.open->text;
    try {
      const auto found = row.texts.find(text);
      return found != row.texts.end() ? &*found : &*row.texts.emplace(text).first;
    } catch (...) {
      return nullptr;
    }
  }

  /// If the last event of the row is a stretch of this attempt that has just ended, reopens that event and returns it;
  /// otherwise returns null. No other stretch has ended since, so the event is nested in the same stretches as before.
  trace_event* reopen_last(trace_row& row, std::uint64_t task, std::uint64_t attempt) const noexcept {
    trace_event* const e = row.over;
    if (e == nullptr || e->task != task || e->attempt != attempt || e != &row.last->events[row.used - 1])
      return nullptr;
    // relaxed, all: independent numbers that only this thread writes.
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
    // relaxed: an independent number. Never 0, which means "not over".
    if (row.open != nullptr) row.open->until.store(std::max<std::int64_t>(now(), 1), relaxed);
  }

  /// Returns the place for the next event. If there is no space, counts one more as dropped and returns null.
  trace_event* place_in(trace_row& row) noexcept {
    if ((row.last == nullptr || row.used == row.last->capacity) && !grow(row)) {
      // relaxed, both: only this thread writes the number; readers need only the number (dropped()).
      row.dropped.store(row.dropped.load(relaxed) + 1, relaxed);
      return nullptr;
    }
    return &row.last->events[row.used];
  }
  static void publish(trace_row& row) noexcept {
    ++row.used;
    row.count.store(row.count.load(relaxed) + 1, release);  // [R1]; relaxed: only this thread writes it
  }
  bool grow(trace_row& row) noexcept {
    // relaxed, here and below: an independent number.
    std::uint64_t remaining = remaining_.load(relaxed);
    std::uint32_t mine = 0;
    do {
      mine = static_cast<std::uint32_t>(std::min<std::uint64_t>(remaining, trace_chunk::most));
      if (mine == 0) return false;
    } while (!remaining_.compare_exchange_weak(remaining, remaining - mine, relaxed, relaxed));
    auto* const fresh = new (std::nothrow) trace_chunk(mine);
    if (fresh == nullptr) {
      remaining_.fetch_add(mine, relaxed);
      return false;
    }
    (row.last == nullptr ? row.first : row.last->next) = fresh;
    row.last = fresh;
    row.used = 0;
    return true;
  }

  static constexpr std::int64_t at_once = 10'000;  ///< most ns between two stretches that share an event

  const std::uint64_t number_ = fresh_trace_number();
  const deadline began_ = time_now();
  atomic<std::uint64_t> remaining_;       ///< how many more events may be recorded
  atomic<trace_row*> rows_{nullptr};      ///< newest first; only grows
  atomic<std::uint64_t> without_row_{0};  ///< number of events dropped because there was no memory for a row
};

}  // namespace dyngen::detail
