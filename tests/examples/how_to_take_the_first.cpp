// SPDX-License-Identifier: MIT
// How do I take the first of many, and cancel the rest?
//
//  - The first few values of one generator: read its stream and drop it.
//  - The first of several tasks that is ready: `wait_any`, or `co_await when_any` in a coroutine, gives its index. It
//    cancels no task; cancel the others if they are not wanted.
//  - The first of several that succeeds: look whether it has failed, and wait for the rest if it has.

#include <dyngen/dyngen.hpp>

#include <cstddef>
#include <cstdio>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dg = dyngen;

namespace {

dg::generator<long> primes() {
  for (long n = 2;; ++n) {
    bool prime = true;
    for (long d = 2; d * d <= n && prime; ++d) prime = n % d != 0;
    if (prime) co_yield n;
  }
}

/// A mirror answers when its promise says so.
dg::task<std::string> fetch(dg::ref<std::string> mirror) { co_return co_await mirror; }

/// Returns the first that succeeds. Cancels the others, also when this task is cancelled.
dg::task<std::string> first_good(std::vector<dg::ref<std::string>> tries) {
  while (!tries.empty()) {
    const std::size_t i = co_await dg::when_any(tries);
    if (!tries[i].failed()) {
      std::string answer = co_await tries[i];
      for (const dg::ref<std::string>& each : tries) each.cancel();
      co_return answer;
    }
    tries.erase(tries.begin() + static_cast<std::ptrdiff_t>(i));
  }
  throw std::runtime_error("no mirror has it");
}

}  // namespace

int main() {
  dg::thread_pool pool(2);

  dg::ref_stream<long> stream = pool.submit(primes);
  for (int i = 0; i < 10; ++i) std::printf("%ld ", stream.next_value().value());
  std::printf("and no more\n");
  stream = {};

  std::vector<dg::promise<std::string>> mirrors(3);
  std::vector<dg::ref<std::string>> tries;
  for (dg::promise<std::string>& m : mirrors) tries.push_back(pool.submit(fetch, dg::unresolved(m.get_ref())));
  const dg::ref<std::string> answer = pool.submit(first_good, tries);
  mirrors[1].set_exception(std::make_exception_ptr(std::runtime_error("not found")));
  tries[1].wait();  // else it may be cancelled before it has read the failure, and an unread exception is reported
  mirrors[2].set_value("from the third");
  std::printf("%s\n", answer.get().c_str());
  dg::wait(tries, tries.size());
  try {
    tries[0].get();  // its mirror has never answered
  } catch (const dg::cancelled_error&) {
    std::printf("the first is not waited for any more\n");
  }
}
