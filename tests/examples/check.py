#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check.py [--status N] EXPECTATION PROGRAM [ARGUMENT...]

Runs PROGRAM in the current folder, without standard input, and compares what it did with

  EXPECTATION.expected   its standard output, byte for byte (not compared if there is no such file);
  EXPECTATION.stderr     its standard error: one regular expression a line, each to match one whole line, in order
                         (without such a file standard error must be empty);
  N                      its exit status, 0 if not given.

Ends with `cases: N passed, N failed` and exits 0 if all was as expected.
"""

import argparse
import difflib
import pathlib
import re
import subprocess
import sys


def lines_of(data):
    return data.decode('utf-8', 'backslashreplace').splitlines(keepends=True)


def differences(done, status, expectation):
    found = []
    if done.returncode != status:
        found.append(f'exit status {done.returncode}, expected {status}')

    output = pathlib.Path(expectation + '.expected')
    if output.exists():
        expected = output.read_bytes()
        if done.stdout != expected:
            found.append('standard output differs:\n' + ''.join(difflib.unified_diff(
                lines_of(expected), lines_of(done.stdout), str(output), 'standard output')))

    patterns_file = pathlib.Path(expectation + '.stderr')
    patterns = patterns_file.read_text(encoding='utf-8').splitlines() if patterns_file.exists() else []
    errors = [line.rstrip('\n') for line in lines_of(done.stderr)]
    if len(errors) != len(patterns):
        found.append(f'{len(errors)} lines on standard error, expected {len(patterns)}')
    for pattern, line in zip(patterns, errors):
        if not re.fullmatch(pattern, line):
            found.append(f'standard error says "{line}", expected /{pattern}/')
    return found


def main():
    options = argparse.ArgumentParser()
    options.add_argument('--status', type=int, default=0)
    options.add_argument('expectation')
    options.add_argument('command', nargs=argparse.REMAINDER)
    given = options.parse_args()

    done = subprocess.run(given.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = differences(done, given.status, given.expectation)
    if found:
        print('\n'.join(found))
        print('--- standard error was:\n' + ''.join(lines_of(done.stderr)))
    print('cases: 0 passed, 1 failed' if found else 'cases: 1 passed, 0 failed')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
