// SPDX-License-Identifier: MIT
// The asymmetric fence of detail/base/asymmetric_fence.hpp when the kernel refuses membarrier after it has registered the process: a
// seccomp filter is installed late, or there is no memory. Each case runs in a child process.

#include "../catch.hpp"
#include "../support.hpp"

#if defined(__SANITIZE_THREAD__)
#  define FILTERS_MEMBARRIER 0
#elif defined(__has_feature)
#  if __has_feature(thread_sanitizer)
#    define FILTERS_MEMBARRIER 0
#  endif
#endif

// ThreadSanitizer ends a child that starts threads.
#if defined(__linux__) && !defined(FILTERS_MEMBARRIER)

#  include <cerrno>
#  include <chrono>
#  include <cstddef>
#  include <linux/filter.h>
#  include <linux/seccomp.h>
#  include <memory>
#  include <sstream>
#  include <sys/prctl.h>
#  include <sys/syscall.h>
#  include <sys/wait.h>
#  include <thread>
#  include <unistd.h>
#  include <vector>

namespace {

using dg::detail::atomic;

/// Makes membarrier, or only its private commands, fail with `error` on all threads of this process from now on.
bool refuse_membarrier(int error, bool only_private = false) {
  const auto number = static_cast<std::uint32_t>(offsetof(seccomp_data, nr));
  const auto command = static_cast<std::uint32_t>(offsetof(seccomp_data, args));
  const auto refused = static_cast<std::uint32_t>(SECCOMP_RET_ERRNO) | static_cast<std::uint32_t>(error);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(SYS_membarrier), 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, command),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, only_private ? 1u : ~0u, 1, 0),  // MEMBARRIER_CMD_GLOBAL
      BPF_STMT(BPF_RET | BPF_K, refused),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
}

constexpr int cannot_be_tried = 77;  // no membarrier here, or no seccomp

/// Runs `body` in a child process. Returns its result, or the signal that ended the process.
template <class Body>
int in_child(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(100);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

dg::generator<int> numbers(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}

/// Streams, waits, dumps and the end of a pool, all of which have a heavy side.
bool uses(dg::thread_pool& pool) {
  long sum = 0;
  for (int round = 0; round < 5; ++round) {
    auto stream = pool.submit(numbers, 300);
    stream.completion().wait_for(std::chrono::milliseconds(1));
    for (const int n : stream.values()) sum += n;
  }
  std::ostringstream text;
  pool.dump(text);
  pool.shutdown(dg::shutdown_mode::drain);
  return sum == 5 * 44'850;
}

/// Two threads, one on each side: counts how often neither saw the store of the other. The light side's store stays in
/// the store buffer for long, behind many stores that miss the cache.
int misses(int rounds) {
  struct alignas(64) line {
    atomic<int> value{0};
  };
  line x, y, round, done, behind[48];
  atomic<int> seen_by_light{0};
  std::thread light([&] {
    for (int i = 1; i <= rounds; ++i) {
#  if defined(__x86_64__)
      for (line& each : behind) __builtin_ia32_clflush(&each);
      __builtin_ia32_mfence();
#  endif
      done.value.store(i);
      while (round.value.load() != i) std::this_thread::yield();
      for (line& each : behind) each.value.store(i, dg::detail::relaxed);
      dg::detail::asymmetric_store(x.value, i);
      seen_by_light.store(y.value.load(dg::detail::seq_cst), dg::detail::relaxed);
    }
    done.value.store(rounds + 1);
  });
  int missed = 0;
  for (int i = 1; i <= rounds; ++i) {
    while (done.value.load() != i) std::this_thread::yield();
    round.value.store(i);
    for (int pause = 0; pause < i % 200; ++pause) asm volatile("");
    y.value.store(i, dg::detail::seq_cst);
    dg::detail::asymmetric_fence_heavy();
    const int seen = x.value.load(dg::detail::seq_cst);
    while (done.value.load() != i + 1) std::this_thread::yield();
    if (seen != i && seen_by_light.load() != i) ++missed;
  }
  light.join();
  return missed;
}

int with_membarrier_refused(int error, bool only_private) {
  dg::thread_pool pool(2);
  if (!dg::detail::has_membarrier()) return cannot_be_tried;  // it was refused from the start
  if (!uses(*std::make_unique<dg::thread_pool>(1))) return 2;
  if (!refuse_membarrier(error, only_private)) return cannot_be_tried;
  if (!dg::detail::has_membarrier()) return 3;
  const auto before = std::chrono::steady_clock::now();
  dg::detail::asymmetric_fence_heavy();
  if (!only_private && std::chrono::steady_clock::now() - before < std::chrono::milliseconds(1)) return 4;
  if (misses(only_private ? 10 : 100) != 0) return 5;
  return uses(pool) ? 0 : 6;
}

}  // namespace

TEST_CASE("the heavy side is a fence also when membarrier is refused after it was registered", "[fences][L-20]") {
  support::watchdog dog("a late seccomp filter");
  for (const int error : {EPERM, ENOSYS, ENOMEM}) {
    CAPTURE(error);
    const int status = in_child([error] { return with_membarrier_refused(error, false); });
    if (status != cannot_be_tried) CHECK(status == 0);
  }
}

TEST_CASE("without its expedited kind, the heavy side uses the system-wide membarrier", "[fences][L-20]") {
  support::watchdog dog("a late seccomp filter for some commands");
  const int status = in_child([] { return with_membarrier_refused(ENOMEM, true); });
  if (status != cannot_be_tried) CHECK(status == 0);
}

#else

TEST_CASE("membarrier is not refused here", "[fences]") { SUCCEED(); }

#endif
