#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
#   benchmarks/instructions.sh [COMPILER]
#
# Counts the instructions of the library's smallest steps, exactly: the same on a busy machine as on a calm one. Each
# step is run some number of times and twice as often under callgrind; the difference is what it costs, without what is
# paid once. Fails if a step needs more than three hundredths more than the table below says. If there is a good reason
# for that, write the new number into the table; do so too when a step has become cheaper.
set -euo pipefail

# Instructions per step, by g++ 12.2 and by clang 19.1, both -O3, with the C++ and C libraries of Debian 12, on x86-64.
# Other compilers are compared with the first. What the step works on (a few multiplications and shifts) is a part of the
# number.
declare -A recorded=(
  [yield]='61.8 55.3'               # co_yield of an integer into a stream, room being there
  [yield_fixed]='116.8 106.5'       # co_yield of an integer under num_returns{n}
  [in_place]='60 82'                # a value of a generator that is iterated in place
  [take]='29.4 30.3'                # one value taken by values()
  [take_ref]='89.1 161.1'           # one ref taken from a stream, read and dropped
  [take_in_turn]='161.9 185.9'      # the same under backpressure{64}, the producer run by the same thread in between
  [pull]='213 204.5'                # a value of a cheap stream claimed, made and taken by values(), outside thread
  [await_value]='291.2 278.9'       # a value of a cheap stream claimed, made and taken by co_await async_value()
  [submit_get]='1074.6 1118.5'      # submit and get on a pool, run by the thread that waits
  [submit_get_inline]='693 779'     # submit and get on an inline_executor
  [await_child]='168 180'           # co_await of a child task<int>
  [when_all]='540 482'              # co_await of two child tasks together, on one worker
  [fork_join]='239.6 212.5'         # a call in a tree of calls, two by two by when_all, on one worker
  [await_ready]='96 76'             # co_await of a ref that is ready
  [promise]='172 266'               # a promise made, set and read by its ref
)
steps=(yield yield_fixed in_place take take_ref take_in_turn pull await_value submit_get submit_get_inline await_child
  when_all fork_join await_ready promise)

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
column=1
if $compiler -dM -E -x c++ /dev/null | grep -q __clang__; then
  column=2
  if [[ $($compiler -dumpversion) == 19* ]]; then status_of_more=1; fi
elif [[ $($compiler -dumpversion) == 12* ]]; then
  status_of_more=1
fi

times=20000
status=0
printf '%-20s %10s %10s\n' 'instructions per' now recorded
for step in "${steps[@]}"; do
  exec {other}< <(instructions "$step" "$times") # both at once
  twice=$(instructions "$step" $((2 * times)))
  read -r once <&"$other"
  exec {other}<&-
  old=$(cut -d ' ' -f $column <<<"${recorded[$step]}")
  now=$(awk -v a="$once" -v b="$twice" -v n="$times" 'BEGIN { printf "%.1f", (b - a) / n }')
  verdict=$(awk -v now="$now" -v old="$old" 'BEGIN {
    if (now > 1.03 * old) print "MORE THAN 3 % MORE"
    else if (now < 0.97 * old) print "less: lower the number in the table"
  }')
  printf '%-20s %10s %10s  %s\n' "$step" "$now" "$old" "$verdict"
  if [[ $verdict == MORE* ]]; then status=$((status | status_of_more)); fi
  if [[ $now == 0.0 ]]; then exit 1; fi # nothing was counted
done
exit "$status"
