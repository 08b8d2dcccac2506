#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""warnings.py COMPILER INCLUDE_DIR PROGRAM

Compiles PROGRAM with the warnings of careful users as errors, without optimization and with -O3. The folder of the
headers is given by -I. COMPILER may hold options ("clang++-19 -stdlib=libstdc++"); the script asks it
whether it is g++ or clang++. Ends with `cases: N passed, N failed`; the exit status is 0 if none failed.
"""

import concurrent.futures
import os
import shlex
import subprocess
import sys

BOTH = ['-std=c++20', '-pthread', '-Wall', '-Wextra', '-Wpedantic', '-Wshadow', '-Wconversion', '-Wnull-dereference', '-Werror']
GCC = ['-Wuseless-cast', '-Wmaybe-uninitialized']
CLANG = ['-Wcomma']


def run(command):
    done = subprocess.run(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, 'LC_ALL': 'C'})
    return done.returncode == 0, done.stdout


def main():
    compiler, include, program = shlex.split(sys.argv[1]), sys.argv[2], sys.argv[3]
    good, macros = run([*compiler, '-dM', '-E', '-x', 'c++', os.devnull])
    if not good:
        sys.exit(macros)
    flags = BOTH + (CLANG if '__clang__' in macros else GCC)
    failed = 0
    levels = ['-O0', '-O3']
    with concurrent.futures.ThreadPoolExecutor(len(levels)) as threads:
        cases = [(level, threads.submit(run, [*compiler, *flags, level, '-I' + include, '-c', program, '-o', os.devnull]))
                 for level in levels]
        for level, case in cases:
            good, said = case.result()
            print('ok    ' if good else 'FAILED', level)
            if not good:
                failed += 1
                print(said)
    print(f'cases: {len(cases) - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
