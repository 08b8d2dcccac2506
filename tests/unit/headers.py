#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""headers.py COMPILER INCLUDE_DIR

Checks every header under INCLUDE_DIR, as a user's compiler would see it, with warnings as errors:

  - each one compiles alone, and included twice in a row;
  - two translation units that include all of them link into one program, and it runs;
  - all of them compile behind the macros of Qt, windows.h and complex.h, once the standard's headers have been included.

COMPILER may hold options ("clang++-19 -stdlib=libstdc++"). Headers are looked for each time, so a new one is covered
at once. Ends with `cases: N passed, N failed`; the exit status is 0 if there was at least one case and none failed.
"""

import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

FLAGS = ['-std=c++20', '-pthread', '-Wall', '-Wextra', '-Wpedantic', '-Wshadow', '-Wconversion', '-Werror']


def run(command, source=None):
    done = subprocess.run(command, input=source, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, 'LC_ALL': 'C'})
    return done.returncode == 0, done.stdout


def alone(compiler, header):
    line = f'#include <{header}>\n'
    return run([*compiler, *FLAGS, '-fsyntax-only', '-x', 'c++', '-'], line + line)


def twice_in_one_program(compiler, headers):
    everything = ''.join(f'#include <{header}>\n' for header in headers)
    with tempfile.TemporaryDirectory() as folder:
        first, second, program = (os.path.join(folder, name) for name in ('first.cpp', 'second.cpp', 'program'))
        pathlib.Path(first).write_text(everything + 'int second();\nint main() { return second(); }\n')
        pathlib.Path(second).write_text(everything + 'int second();\nint second() { return 0; }\n')
        good, said = run([*compiler, *FLAGS, first, second, '-o', program])
        return run([program]) if good else (good, said)


# Names that are macros in headers of others.
MACROS = r'''
#define slots
#define signals public
#define emit
#define foreach(a, b) for (a : b)
#define forever for (;;)
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define near
#define far
#define small char
#define interface struct
#define IN
#define OUT
#define ERROR 0
#define DELETE 0x10000L
#define I _Complex_I
'''


def behind_macros(compiler, include, headers):
    texts = [(include / header).read_text() for header in headers]
    used = sorted({line.strip() for text in texts for line in text.splitlines() if re.match(r'#include <(?!dyngen/)\w+>$', line)})
    everything = ''.join(f'#include <{header}>\n' for header in headers)
    return run([*compiler, *FLAGS, '-fsyntax-only', '-x', 'c++', '-'], '\n'.join(used) + MACROS + everything)


def main():
    compiler = [*shlex.split(sys.argv[1]), '-I' + sys.argv[2]]
    include = pathlib.Path(sys.argv[2])
    headers = sorted(path.relative_to(include).as_posix() for path in include.rglob('*.hpp'))
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as threads:
        cases = [(header, threads.submit(alone, compiler, header)) for header in headers]
        if headers:
            cases.append(('all of them in two translation units',
                          threads.submit(twice_in_one_program, compiler, headers)))
            cases.append(('all of them behind macros of others',
                          threads.submit(behind_macros, compiler, include, headers)))
        failed = 0
        for name, case in cases:
            good, said = case.result()
            print('ok    ' if good else 'FAILED', name)
            if not good:
                failed += 1
                print(said)
    print(f'cases: {len(cases) - failed} passed, {failed} failed')
    return 1 if failed or not cases else 0


if __name__ == '__main__':
    sys.exit(main())
