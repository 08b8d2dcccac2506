#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
#   benchmarks/compile_time.sh [COMPILER]
#
# What the library costs at compile time: its one header, syntax only, and a program with one generator at -O2. The
# baseline is a program that includes the standard headers which users of threads include anyway. The three take turns.
# Shows the median and the minimum of seven rounds, in seconds of processor time, which other programs disturb less than
# wall-clock time.
set -euo pipefail

compiler=${1:-g++}
export CCACHE_DISABLE=1
rounds=7
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/standard.cpp" <<'END'
#include <condition_variable>
#include <coroutine>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
END
echo '#include <dyngen/dyngen.hpp>' >"$work/header.cpp"
cat >"$work/program.cpp" <<'END'
#include <dyngen/dyngen.hpp>
#include <cstdio>

dyngen::generator<int> squares(int n) {
  for (int i = 0; i < n; ++i) co_yield i * i;
}

int main() {
  dyngen::thread_pool pool;
  int sum = 0;
  for (dyngen::ref<int> square : pool.submit(squares, 10)) sum += square.get();
  std::printf("%d\n", sum);
}
END

# measured NAME ARGUMENT...: appends the seconds of one run to the file NAME.
measured() {
  local name=$1 TIMEFORMAT='%U %S'
  shift
  # shellcheck disable=SC2086
  { time $compiler -std=c++20 -pthread -Iinclude "$@" 2>"$work/errors" || { cat "$work/errors"; exit 1; }; } 2>"$work/time"
  awk '{ print $1 + $2 }' "$work/time" >>"$work/$name.seconds"
}

shown() { # NAME GOAL TEXT
  sort -n "$work/$1.seconds" | awk -v goal="$2" -v text="$3" '
    { seconds[NR] = $1 }
    END {
      median = seconds[int((NR + 1) / 2)]
      printf "%-48s %8.2f %8.2f", text, median, seconds[1]
      if (goal != "") printf "  goal: at most %s s: %s", goal, median <= goal ? "reached" : "MISSED"
      print ""
    }'
}

for ((round = 0; round < rounds; ++round)); do
  measured standard -fsyntax-only "$work/standard.cpp"
  measured header -fsyntax-only "$work/header.cpp"
  measured program -O2 "$work/program.cpp" -o "$work/program"
done
[[ $("$work/program") == 285 ]] || { echo "the program is wrong"; exit 1; }

$compiler --version | head -n 1
printf '%-48s %8s %8s\n' "seconds of processor time, $rounds rounds" median min
shown standard '' 'standard headers, syntax only'
shown header 1.0 '#include <dyngen/dyngen.hpp>, syntax only'
shown program 2.5 'a program with one generator, -O2'
