#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
#   benchmarks/instructions.sh [COMPILER]
#
# Counts the instructions of the library's smallest steps, exactly: the same on a busy machine as on a calm one. Each
# step is run some number of times and twice as often under callgrind; the difference is what it costs, without what is
# paid once. Fails if a step needs more than a tenth more than the table below says. If there is a good reason for that,
# write the new number into the table; do so too when a step has become cheaper.
set -euo pipefail

# Instructions per step, by g++ 12.2 -O3 with the C++ and C libraries of Debian 12, on x86-64. Other compilers are only
# compared with it. What the step works on (a few multiplications and shifts) is a part of the number.
declare -A recorded=(
  [yield]=67.9            # co_yield of an integer, room being there
  [take]=47.8             # one value taken by values()
  [take_ref]=91.8         # one ref taken from a stream, read and dropped
  [take_in_turn]=170.7    # the same under backpressure{64}, the producer run by the same thread in between
  [pull]=218.9            # a value of a cheap stream claimed, made and taken by values(), outside thread
  [await_value]=296.8     # a value of a cheap stream claimed, made and taken by co_await async_value()
  [submit_get]=1069.5     # submit and get on a pool, run by the thread that waits
  [submit_get_inline]=679 # submit and get on an inline_executor
  [await_child]=227       # co_await of a child task<int>
  [when_all]=1446         # co_await of two child tasks together, on one worker
  [await_ready]=98        # co_await of a ref that is ready
  [promise]=171           # a promise made, set and read by its ref
)

if ! command -v valgrind >/dev/null; then
  echo "valgrind was not found. On Debian: apt-get install valgrind"
  exit 77 # skipped
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
compiler=${1:-g++}
program=$(mktemp)
trap 'rm -f "$program"' EXIT
$compiler -std=c++20 -O3 -DNDEBUG -pthread -Iinclude benchmarks/instructions.cpp -o "$program"

# instructions STEP COUNT
instructions() {
  local log
  log=$(timeout 100 valgrind --tool=callgrind --toggle-collect=counted --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1) ||
    { echo "$log" >&2; return 1; }
  awk '/Collected : / { print $NF }' <<<"$log"
}

# More is a failure only where the table holds.
status_of_more=0
if [[ $($compiler -dumpversion) == 12* ]] && ! $compiler -dM -E -x c++ /dev/null | grep -q __clang__; then status_of_more=1; fi

times=20000
status=0
printf '%-20s %10s %10s\n' 'instructions per' now recorded
for step in yield take take_ref take_in_turn pull await_value submit_get submit_get_inline await_child when_all await_ready promise; do
  exec {other}< <(instructions "$step" "$times") # both at once
  twice=$(instructions "$step" $((2 * times)))
  read -r once <&"$other"
  exec {other}<&-
  now=$(awk -v a="$once" -v b="$twice" -v n="$times" 'BEGIN { printf "%.1f", (b - a) / n }')
  verdict=$(awk -v now="$now" -v old="${recorded[$step]}" 'BEGIN {
    if (now > 1.1 * old) print "MORE THAN A TENTH MORE"
    else if (now < 0.9 * old) print "less: lower the number in the table"
  }')
  printf '%-20s %10s %10s  %s\n' "$step" "$now" "${recorded[$step]}" "$verdict"
  if [[ $verdict == MORE* ]]; then status=$((status | status_of_more)); fi
  if [[ $now == 0.0 ]]; then exit 1; fi # nothing was counted
done
exit "$status"
