#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check.py COMPILER INCLUDE_DIR

Builds callables.cpp, beside this file, as C++23 and runs it, under the address sanitizer where there is one. A compiler
that does not know static operator() and explicit object parameters (g++ before 14) skips it: exit status 77.

COMPILER may hold options. Ends with `cases: N passed, N failed`, as the program does.
"""

import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

NEEDED = '''
struct first { static int operator()() { return 0; } };
struct second { int operator()(this second) { return first()(); } };
int main() { return second()(); }
'''
SANITIZER = ['-fsanitize=address', '-fno-omit-frame-pointer']


def run(command, source=None):
    done = subprocess.run(command, input=source, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, 'LC_ALL': 'C'})
    return done.returncode, done.stdout


def main():
    compiler = [*shlex.split(sys.argv[1]), '-std=c++23']
    if run([*compiler, '-fsyntax-only', '-x', 'c++', '-'], NEEDED)[0] != 0:
        print(f'{sys.argv[1]} does not know these parts of C++23')
        return 77
    source = pathlib.Path(__file__).with_name('callables.cpp')
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, 'program')
        empty = run([*compiler, *SANITIZER, '-x', 'c++', '-', '-o', program], 'int main() {}\n')
        command = [*compiler, '-Wall', '-Wextra', '-Werror', '-pthread', '-I' + sys.argv[2], str(source), '-o', program]
        status, said = run(command + SANITIZER if empty[0] == 0 else command)
        if status != 0:
            print(said, '\ncases: 0 passed, 1 failed', sep='')
            return 1
        status, said = run([program])
        print(said, end='')
        if status != 0 and 'cases:' not in said:
            print('cases: 0 passed, 1 failed')
        return 1 if status != 0 else 0


if __name__ == '__main__':
    sys.exit(main())
