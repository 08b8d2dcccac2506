// SPDX-License-Identifier: MIT
#pragma once
// Which threads of a pool are awake: an event count whose sleepers hold no seat. A pool of width W has W seats; who
// runs tasks or searches for some sits on one, who sleeps or blocks in a task's wait does not. It knows no queues:
// `look` is the caller's question "may work be left?", to be answered by seq_cst looks at every queue.
// An idle pool burns no CPU, a push wakes at most one thread, and none while another one searches.
//
//                      resume_searching()                          park(): nothing found
//            running  ------------------->  searching  ------------------------------------------->  parked
//            seated   <-------------------  seated      <-----------------------------------------   asleep
//             |   ^        found_work()         ^         a token, posted by somebody's notify();       ^
//     leave() |   | enter()                     |         or claimed by itself, having looked           |
//             v   |                             +-- start_searching()                 start_parked() ---+
//            blocked                                                                  retire(), from running
//
// Counted in one word: seated, searching (all of them seated too), parked. A thread in park() is either counted as
// parked or has been claimed, that is counted as searching before it is awake; then a token for it is posted or about
// to be. Tokens have no names: any sleeper may take any token, the counts stay right.
//
// Dekker pairs [A1], seq_cst on all four operations of each; no light side, no fence:
//   a push changes its queue, then notify() reads the word
//     | park(), retire(), start_parked() change the word, then look at the queues    (no lost wake-up)
//     | found_work() changes the word, then the last searcher looks and notifies     (no lost parallelism)
//     | leave() changes the word, then the leaver looks and notifies                 (no empty seat beside queued work)
// Each makes a wake-up possible that a pusher, reading the word too early, had left out. Whoever lowers `searching` to
// zero or `seated` below the width looks after it: so a sleeper need not stay up for work that it sees while another
// thread searches, or while all seats are taken.

// No thread spins here. A notifier that loses its processor between its claim and its token keeps one sleeper asleep, and
// counts as a searcher meanwhile, so others wake none in its place; so does a searcher that loses its own. Threads that run
// tasks come to what is queued all the same, by their next pick; if all others sleep, the work waits for that one thread.
// A worker parks although work is queued that no thread can take yet: `look` then says no, and the thread that makes it
// possible to take calls notify() after that (injection_queue.hpp, [I1] and [I8]).

#include <dyngen/detail/base/atomic.hpp>
#include <dyngen/detail/base/park.hpp>

#include <cstdint>

namespace dyngen::detail {

/// Why park() has returned.
enum class park_result : unsigned char {
  search,   ///< there may be work
  stopping  ///< stop() was called; there may be work all the same
};

class idle_workers {
public:
  /// `width`: how many seats there are, at least 1. No more than 2^20 - 1 threads may be counted at a time.
  explicit idle_workers(std::uint32_t width) noexcept : width_(width) {}
  idle_workers(const idle_workers&) = delete;
  idle_workers& operator=(const idle_workers&) = delete;

  /// A new thread begins, seated and searching. May be called for it by the thread that starts it.
  void start_searching() noexcept {
    word_.fetch_add(one_seated + one_searching, relaxed);  // [A2]
  }

  /// A new thread begins, asleep: a spare. Returns, seated and searching, when it is wanted.
  template <class Look>
  park_result start_parked(Look work_may_be_left) noexcept {
    word_.fetch_add(one_parked, seq_cst);  // [A1]
    return sleep(work_may_be_left);
  }

  /// Whoever has just pushed an item, or has found that work may be left, calls this: wakes one thread if there is a
  /// seat and a sleeper for it, and nobody searches. Returns whether it did. From any thread.
  bool notify() noexcept {
    if (!claim_a_parked_thread()) return false;
    // [A4] release: who takes the token sees what its sender had pushed, so the search is not in vain.
    tokens_.fetch_add(1, release);
    wake_one(tokens_);
    return true;
  }

  /// A searcher has taken an item. True if it was the last searcher: then it looks, before it runs any code of the
  /// user, whether more work may be left, and calls notify() if so.
  [[nodiscard("the last searcher must look for more work and notify")]] bool found_work() noexcept {
    return searching_of(word_.fetch_sub(one_searching, seq_cst)) == 1;  // [A1]
  }

  /// A running thread whose own queue is empty starts to search.
  void resume_searching() noexcept { word_.fetch_add(one_searching, relaxed); }  // [A2]

  /// A searcher that has found nothing sleeps until it is wanted, unless `work_may_be_left()` by now. Returns seated
  /// and searching in any case. `work_may_be_left` is called once at most.
  template <class Look>
  park_result park(Look work_may_be_left) noexcept {
    word_.fetch_add(one_parked - one_seated - one_searching, seq_cst);  // [A1]
    return sleep(work_may_be_left);
  }

  /// A running thread for which there is no seat, between two tasks: as park().
  template <class Look>
  park_result park_surplus(Look work_may_be_left) noexcept {
    word_.fetch_add(one_parked - one_seated, seq_cst);  // [A1]
    return sleep(work_may_be_left);
  }

  /// Whether more threads sit than there are seats, so that a running one should retire() after its task.
  // relaxed: a hint; whoever retires looks again.
  bool oversubscribed() const noexcept { return seated_of(word_.load(relaxed)) > width_; }

  /// A running thread is about to block. It then looks whether work may be left, and calls notify() if so.
  void leave() noexcept { word_.fetch_sub(one_seated, seq_cst); }  // [A1]

  /// It goes on running. Never waits for a seat: see surplus().
  void enter() noexcept { word_.fetch_add(one_seated, relaxed); }  // [A2]

  /// Wakes all sleepers for good: from now on park() and its like return `stopping` without sleeping, and who is told so
  /// sees what was written before stop(). Wakes no one who runs or blocks. May be called again.
  void stop() noexcept {
    // [A5] release: publishes what was written before. Being a read-modify-write, it also hands on what the takers of
    // tokens before it have published.
    tokens_.fetch_or(stop_bit, release);
    wake_all(tokens_);
  }

  // relaxed: the counts at some recent moment.
  std::uint32_t parked() const noexcept { return parked_of(word_.load(relaxed)); }
  std::uint32_t seated() const noexcept { return seated_of(word_.load(relaxed)); }
  std::uint32_t searching() const noexcept { return searching_of(word_.load(relaxed)); }
  std::uint32_t width() const noexcept { return width_; }

private:
  static constexpr unsigned field_bits = 20;
  static constexpr std::uint64_t field_mask = (std::uint64_t{1} << field_bits) - 1;
  static constexpr std::uint64_t one_parked = 1;
  static constexpr std::uint64_t one_searching = one_parked << field_bits;
  static constexpr std::uint64_t one_seated = one_searching << field_bits;
  static constexpr std::uint32_t stop_bit = std::uint32_t{1} << 31;  // in tokens_, above the count

  static std::uint32_t parked_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word & field_mask); }
  static std::uint32_t searching_of(std::uint64_t word) noexcept { return parked_of(word >> field_bits); }
  static std::uint32_t seated_of(std::uint64_t word) noexcept { return parked_of(word >> 2 * field_bits); }

  /// Turns one parked thread, no matter which, into a searching one if `wanted(word)` and there is one.
  template <class Wanted>
  bool claim(Wanted wanted) noexcept {
    std::uint64_t word = word_.load(seq_cst);  // [A1]
    while (parked_of(word) != 0 && wanted(word)) {
      // [A2] relaxed, as every change that makes a wake-up less likely: whoever does not see it yet claims one too
      // many, and fails right here; who sees it needs nothing that was written before. Whatever a failure reads is
      // newer than what the load above has read, and that one already came after the push.
      if (word_.compare_exchange_weak(word, word + one_seated + one_searching - one_parked, relaxed, relaxed))
        return true;
    }
    return false;
  }

  bool claim_a_parked_thread() noexcept {
    return claim([this](std::uint64_t word) { return searching_of(word) == 0 && seated_of(word) < width_; });
  }

  /// The caller is counted as parked, or was claimed meanwhile. Returns when it is counted as searching.
  template <class Look>
  park_result sleep(Look& work_may_be_left) noexcept {
    // [A5] acquire, here and below: who sees the stop bit sees what was written before stop(), and the counts as those
    // left them who took a token before it.
    std::uint32_t tokens = tokens_.load(acquire);
    // If the claim fails for lack of parked threads, this one was claimed by another and a token is on its way.
    if ((tokens & stop_bit) == 0 && work_may_be_left() && claim_a_parked_thread()) return park_result::search;
    for (;;) {
      if ((tokens & stop_bit) != 0) {
        // Its own count first: a token taken instead might be the one that a thread without a count waits for.
        if (claim([](std::uint64_t) { return true; })) return park_result::stopping;
      }
      if ((tokens & ~stop_bit) == 0) {
        sleep_on(tokens_, tokens);
        tokens = tokens_.load(acquire);
        continue;
      }
      // [A4] acquire: sees what the sender of the token had pushed. [A5] As a release it lets whoever finds the stop
      // bit see that this thread's count stands for the one whose token it took. On failure as the load above.
      if (tokens_.compare_exchange_weak(tokens, tokens - 1, acq_rel, acquire))
        return (tokens & stop_bit) != 0 ? park_result::stopping : park_result::search;
    }
  }

  const std::uint32_t width_;
  alignas(cache_line) atomic<std::uint64_t> word_{0};    // seated, searching, parked
  alignas(cache_line) atomic<std::uint32_t> tokens_{0};  // for sleepers that were claimed; and the stop bit
};

}  // namespace dyngen::detail
