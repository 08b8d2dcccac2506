// SPDX-License-Identifier: MIT
// The operations of a client on several handles at once: wait, wait_any and get.

#include "client_class.hpp"

#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace fuzz {

// --- several at once ---

std::vector<dg::ref<counted>> client::listed(const op& o) {
  std::vector<dg::ref<counted>> refs;
  for (unsigned k = 0; k < o.listed; ++k) refs.push_back(std::get<dg::ref<counted>>(slot(o.list[k]).handle));
  return refs;
}

/// Are `ready` and `pending` each in input order? The same ref may be in both, if it became ready between the two
/// checks.
bool client::in_order(const std::vector<dg::ref<counted>>& all, const std::vector<dg::ref<counted>>& ready,
                      const std::vector<dg::ref<counted>>& pending) {
  for (unsigned choice = 0; choice < 1u << all.size(); ++choice) {
    std::vector<dg::ref<counted>> parts[2];
    for (std::size_t i = 0; i < all.size(); ++i) parts[choice >> i & 1].push_back(all[i]);
    if (parts[0] == ready && parts[1] == pending) return true;
  }
  return false;
}

void client::wait_some(const op& o) {
  count();
  const std::vector<dg::ref<counted>> refs = listed(o);
  const auto [ready, pending] = o.how == 0   ? dg::wait(refs, o.n)
                                : o.how == 1 ? dg::wait(refs, o.n, long_time)
                                             : dg::wait(refs, o.n, 0s);
  if (ready.size() + pending.size() != refs.size()) fault("wait() has lost or added refs");
  if (o.how != 2 && ready.size() < o.n) fault("wait() came back too early");
  if (ready.size() > o.n) fault("wait() gave more than were asked for");
  if (!in_order(refs, ready, pending)) fault("wait() does not keep the order");
  for (const auto& r : ready)
    if (!r.ready()) fault("wait() calls a ref ready that is not");
  for (unsigned k = 0; k < o.listed; ++k)
    if (refs[k].ready()) note_content(refs[k], slot(o.list[k]).task, slot(o.list[k]).at);
}

template <class... Handles>
std::optional<std::size_t> client::any_of(const op& o, const Handles&... handles) {
  count();
  if (o.n == 1) return dg::wait_any(handles...);
  std::optional<std::size_t> found;
  bool late = false;
  try {
    found = o.must == expect::yes ? dg::wait_any_for(long_time, handles...) : dg::wait_any_for(0s, handles...);
  } catch (const dg::timeout_error&) {
    late = true;
  }
  if (late && o.must == expect::yes) fault("wait_any_for has timed out");
  return found;
}

void client::wait_any(const op& o) {
  if (o.how == 3) {
    const auto refs = listed(o);
    const auto found = any_of(o, refs);
    if (!found) return;
    if (!refs[*found].ready()) fault("wait_any gave the index of a ref that is not ready");
    note_content(refs[*found], slot(o.list[*found]).task, slot(o.list[*found]).at);
    return;
  }
  auto& stream = std::get<dg::ref_stream<counted>>(slot(o.list[1]).handle);
  if (o.how == 0) {
    const auto& ref = std::get<dg::ref<counted>>(slot(o.list[0]).handle);
    after_any(o, any_of(o, ref, stream), ref, stream);
  } else if (o.how == 1) {
    auto& other = std::get<dg::ref_stream<counted>>(slot(o.list[0]).handle);
    after_any(o, any_of(o, other, stream), other, stream);
  } else {
    const auto& event = std::get<dg::ref<void>>(slot(o.list[0]).handle);
    const auto& ref = std::get<dg::ref<counted>>(slot(o.list[2]).handle);
    const auto found = any_of(o, event, stream, ref);
    if (found == 2) {
      if (!ref.ready()) fault("wait_any gave the index of a ref that is not ready");
    } else {
      after_any(o, found, event, stream, &ref);
    }
  }
}

template <class First>
void client::after_any(const op& o, std::optional<std::size_t> found, First& first, dg::ref_stream<counted>& stream,
                       const dg::ref<counted>* third) {
  if (!found) return;
  if constexpr (is_stream_of<std::remove_const_t<First>>) {
    if (*found == 0) return take_chosen(o, 0, first, stream.finished());
    take_chosen(o, 1, stream, first.finished());
  } else {
    if (*found == 0) {
      if (!first.ready()) fault("wait_any gave the index of a ref that is not ready");
      return note_content(first, slot(o.list[0]).task, slot(o.list[0]).at);
    }
    take_chosen(o, 1, stream, first.ready() && (third == nullptr || third->ready()));
  }
}

/// wait_any has reported the stream as ready: its next item is there, or it has ended as all others have.
void client::take_chosen(const op& o, unsigned k, dg::ref_stream<counted>& stream, bool others_over) {
  task_run& t = task(slot(o.list[k]).task);
  t.takes_begun.fetch_add(1);
  count();
  auto item = stream.try_next();
  if (item)
    note_ref(op{}, t, 0, std::move(item));
  else if (!stream.finished())
    fault("wait_any chose a stream that has nothing");
  else if (!others_over)
    fault("wait_any chose a stream that had ended, though not all had");
}

void client::get_all(const op& o) {
  count(2);
  std::vector<dg::ref<counted>> refs = listed(o);
  std::exception_ptr thrown;
  std::vector<counted> values;
  try {
    if (o.how == 1 && refs.size() == 2) {
      auto [a, b] = dg::get(refs[0], refs[1]);
      values.push_back(std::move(a));
      values.push_back(std::move(b));
    } else {
      values = o.how == 0 ? dg::get(refs) : dg::get(std::vector(refs));
    }
  } catch (...) {
    thrown = std::current_exception();
  }
  for (unsigned k = 0; k < o.listed; ++k) {
    if (!refs[k].ready()) fault("get() came back before all were ready");
    note_content(refs[k], slot(o.list[k]).task, slot(o.list[k]).at);
    if (!thrown && values[k].id() != refs[k].get().id()) fault("get() gave another value than the ref");
  }
  if (!thrown) return;
  for (const auto& r : refs)
    if (r.failed()) {
      if (outcome_of(r.error()) != outcome_of(thrown)) fault("get() threw another failure than the first one");
      return;
    }
  fault("get() threw, though no ref had failed");
}

}  // namespace fuzz
