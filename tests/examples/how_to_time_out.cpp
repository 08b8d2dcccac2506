// SPDX-License-Identifier: MIT
// How do I wait with a time limit?
//
//  - `ref.get_for(d)`, `stream.next_for(d)`, `wait_any_for(d, ...)` throw `timeout_error`; nothing is consumed, and the
//    same call may be made again.
//  - `ref.wait_for(d)`, `ref.wait_until(t)` and `wait(refs, n, d)` return what is ready instead.
//  - The task keeps running. Cancel it if you do not need its result any more.
//
// A wait with a time limit never runs a task on the waiting thread, so it ends in time.

#include <dyngen/dyngen.hpp>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace dg = dyngen;
using namespace std::chrono_literals;

int main() {
  dg::thread_pool pool(2);
  dg::promise<std::string> answer;  // of a slow server
  const dg::ref<std::string> reply = answer.get_ref();

  try {
    reply.get_for(10ms);
  } catch (const dg::timeout_error&) {
    std::printf("no reply in time\n");
  }

  // Wait for two of three, for at most a minute.
  std::vector<dg::ref<std::string>> replies{dg::put(std::string("oslo")), reply, dg::put(std::string("rome"))};
  const auto [ready, pending] = dg::wait(replies, 2, 1min);
  std::printf("%zu are there, %zu pending\n", ready.size(), pending.size());

  // Its dependents are cancelled with it.
  const dg::ref<std::size_t> length = pool.submit([](const std::string& text) { return text.size(); }, reply);
  if (!length.wait_for(10ms)) length.cancel();
  try {
    length.get();
  } catch (const dg::cancelled_error&) {
    std::printf("not waited for any more\n");
  }

  answer.set_value("lima");
  std::printf("late: %s\n", reply.get_for(1min).c_str());
}
