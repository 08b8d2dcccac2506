// SPDX-License-Identifier: MIT
#pragma once
// The class behind client.hpp: one function for each operation of a program.

#include "client.hpp"

#include <chrono>
#include <exception>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace fuzz {

using namespace std::chrono_literals;

template <class H>
inline constexpr bool is_ref = false;
template <class T>
inline constexpr bool is_ref<dg::ref<T>> = true;
template <class H>
inline constexpr bool is_value_ref = false;
template <class T>
inline constexpr bool is_value_ref<dg::ref<T>> = !std::is_void_v<T>;
template <class T>
inline constexpr bool is_value_ref<dg::ref<dg::ref_list<T>>> = false;
template <class H>
inline constexpr bool is_stream_of = false;
template <class T>
inline constexpr bool is_stream_of<dg::ref_stream<T>> = true;
template <class H>
inline constexpr bool is_list_of = false;
template <class T>
inline constexpr bool is_list_of<dg::ref_list<T>> = true;
template <class H>
inline constexpr bool is_outer = false;
template <class T>
inline constexpr bool is_outer<dg::ref<dg::ref_list<T>>> = true;

/// Longer than any schedule takes; the watchdog comes first.
inline constexpr auto long_time = 1000s;

class client {
 public:
  client(running& r, std::uint8_t number) : all_(r), self_(*r.clients[number]), number_(number) {}
  void play(const std::vector<bool>& left_out);

 private:
  // --- observations ---

  void note(seen what, index task, std::uint32_t at, outcome is) { self_.log.push_back({what, true, task, at, at_, is}); }
  void fault(const std::string& what) { all_.fault("operation " + std::to_string(at_) + ": " + what); }
  void count(std::uint64_t n = 1) noexcept { self_.operations += n; }
  slot_run& slot(index i) { return all_.slots[i]; }
  task_run& task(index i) { return all_.tasks[i]; }
  bool absent(index i) { return std::holds_alternative<std::monostate>(slot(i).handle); }
  void guarded(const op& o);

  // --- order among clients ---

  /// Waits outside of the library: returns credits first, as the waits of the library do.
  template <class Condition>
  void until(Condition there) {
    if (there()) return;
    settle();
    while (!there()) std::this_thread::yield();
  }
  void wait_for_turn(const need& n);
  void wait_for_earlier();
  void hand(const op& o);
  bool can_do(const op& o);
  void perform(const op& o);

  // --- tasks ---

  void submit(const op& o);
  void local(const op& o);
  template <class T>
  void iterate_in_place(task_run& t);

  // --- streams ---

  void take(const op& o);
  void note_item(task_run& t, outcome is) { note(seen::item, t.self, t.taken++, is); }
  /// An item that was taken; false at the end.
  template <class T>
  bool note_ref(const op& o, task_run& t, std::uint32_t k, std::optional<dg::ref<T>>&& item) {
    if (!item) {
      note_item(t, {tag::end, 0});
      return false;
    }
    if (!item->ready()) fault("an item of a stream is not ready");
    const std::uint32_t at = t.taken;
    note_item(t, seen_by([&] { return id_of(item->get()); }));
    if (o.keep && k < 4) all_.put(static_cast<index>(o.other + k), std::move(*item), t.self, at);
    return true;
  }
  template <class T>
  void take_from(const op& o, dg::ref_stream<T>& stream);
  template <class T>
  void check_end(dg::ref_stream<T>& stream);
  template <class T>
  std::optional<dg::ref<T>> polled(dg::ref_stream<T>& stream);
  template <class T>
  bool take_value(task_run& t, dg::ref_stream<T>& stream);
  template <class Range>
  void take_values(const op& o, task_run& t, Range&& range);
  void detach(const op& o);

  // --- refs ---

  template <class H>
  void note_content(const H& h, index of, std::uint32_t at) {
    if constexpr (is_outer<H>)
      note(seen::outer, of, 0, seen_by([&] { return std::uint64_t{h.get().size()}; }));
    else if constexpr (std::is_same_v<H, dg::ref<void>>)
      note_completion(h, of);
    else
      note(seen::value, of, at, seen_by([&] { return id_of(h.get()); }));
  }
  void note_completion(const dg::ref<void>& h, index of) {
    outcome is = seen_by([&] {
      h.get();
      return std::uint64_t{0};
    });
    if (is.what == tag::value) is.what = tag::well;
    note(seen::completion, of, 0, is);
  }
  void read(const op& o);
  template <class H>
  void read_ref(const op& o, H& h);
  void settle_if_certain(const op& o) {
    if (o.must == expect::yes) settle();
  }
  template <class H>
  void check_identity(const H& h);
  void give_up(const op& o);
  template <class T>
  void give_up_ref(const op& o, dg::ref<T>& h);
  void copy(const op& o);
  void drop(const op& o);
  void cancel(const op& o);
  void stop(const op& o);
  void completion(const op& o);

  // --- lists ---

  void open(const op& o);
  template <class T>
  void open_list(const op& o, dg::ref<dg::ref_list<T>>& h);
  void pick(const op& o);
  void scan(const op& o);
  template <class T>
  void scan_list(const op& o, const dg::ref_list<T>& list);

  // --- several at once ---

  std::vector<dg::ref<counted>> listed(const op& o);
  static bool in_order(const std::vector<dg::ref<counted>>& all, const std::vector<dg::ref<counted>>& ready,
                       const std::vector<dg::ref<counted>>& pending);
  void wait_some(const op& o);
  template <class... Handles>
  std::optional<std::size_t> any_of(const op& o, const Handles&... handles);
  void wait_any(const op& o);
  template <class First>
  void after_any(const op& o, std::optional<std::size_t> found, First& first, dg::ref_stream<counted>& stream,
                 const dg::ref<counted>* third = nullptr);
  void take_chosen(const op& o, unsigned k, dg::ref_stream<counted>& stream, bool others_over);
  void get_all(const op& o);

  // --- promises ---

  void make_promise(const op& o);
  void settle_promise(const op& o);
  template <class P>
  void settle_one(const op& o, task_run& t, P& p);
  void run_manual(const op& o);

  // --- actors and pools ---

  void make_actor(const op& o);
  void kill(const op& o);
  void shutdown(const op& o);
  void check_refusal(dg::thread_pool& pool);
  void destroy(const op& o);
  void stats(const op& o);

  // --- misuse ---

  template <class Error, class Action>
  void must_throw(const char* what, Action action);
  void probe(const op& o);

  running& all_;
  client_run& self_;
  std::uint8_t number_;
  std::uint32_t at_ = 0;
};

}  // namespace fuzz
