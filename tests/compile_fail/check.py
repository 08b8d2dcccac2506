#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check.py COMPILER INCLUDE_DIR CASE.cpp...

Checks that mistakes do not compile, and that the compiler says the library's sentence about each.

A case file is one program with its mistakes under `#if CASE == N`. Every `// expect N: sentence` line names the
sentence for case N; a file with one case may write `// expect: sentence` for case 1. Skeleton:

    // SPDX-License-Identifier: MIT
    // expect 1: a generator's values must be objects: write generator<T>, or generator<std::reference_wrapper<T>>
    // expect 2: submit takes a callable, not a running coroutine
    #include <dyngen/dyngen.hpp>

    dyngen::generator<int> count();

    void caller(dyngen::thread_pool& pool) {
    #if CASE == 1
      dyngen::generator<int&> wrong = {};
    #elif CASE == 2
      auto wrong = pool.submit(count());
    #else
      auto right = pool.submit(count);
    #endif
    }

  - Case 0 must compile without a warning: it proves that the file is right but for its mistakes. So the mistake and
    what should have been written stand in the branches of one `#if`.
  - Every other case must fail, with its sentence in one of the first lines that the compiler marks as errors
    (FIRST_ERRORS below), since users often read only the top of the output. A sentence is compared as it is written,
    in one line; part of it will do.
  - Only templates that the file instantiates are checked: call the function, do not only name it.
  - An ignored [[nodiscard("...")]] value counts as an error here, its reason as the sentence.

COMPILER may hold options. Ends with `cases: N passed, N failed`; the exit status is 0 if every file has at least one
`expect` line and nothing failed.
"""

import concurrent.futures
import os
import re
import shlex
import subprocess
import sys
import tempfile

FLAGS = ['-std=c++20', '-fdiagnostics-color=never', '-Wall', '-Wextra', '-Werror']
FIRST_ERRORS = 3


def run(command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, 'LC_ALL': 'C'})
    return done.returncode, done.stdout.splitlines()


def precompiled(compiler, include, folder):
    """The options by which all cases share one look at the library."""
    header = os.path.join(folder, 'library.hpp')
    with open(header, 'w', encoding='utf-8') as file:
        file.write('#include <dyngen/dyngen.hpp>\n')
    status, output = run([*compiler, *FLAGS, '-I' + include, '-x', 'c++-header', header, '-o', header + '.gch'])
    if status != 0:
        sys.exit('\n'.join(output[:40]))
    return ['-include', header, *(['-Winvalid-pch'] if 'clang' not in compiler[0] else [])]


def compiled(compiler, include, path, case):
    return run([*compiler, *FLAGS, '-fsyntax-only', '-I' + include, f'-DCASE={case}', path])


def must_compile(compiler, include, path):
    status, output = compiled(compiler, include, path, 0)
    if status == 0:
        return True, 'compiles'
    return False, 'must compile, but does not:\n' + '\n'.join(output[:40])


def must_fail(compiler, include, path, case, sentence):
    status, output = compiled(compiler, include, path, case)
    if status == 0:
        return False, f'compiles, but should say "{sentence}"'
    errors = [(number, line) for number, line in enumerate(output, 1) if re.search(r'\berror: ', line)]
    for place, (number, line) in enumerate(errors, 1):
        if sentence in line:
            if place <= FIRST_ERRORS:
                return True, f'error {place} of {len(errors)}, line {number} of {len(output)}: {sentence}'
            return False, f'the sentence is only in error {place} of {len(errors)}:\n' + '\n'.join(output[:40])
    return False, f'fails, but no error says "{sentence}":\n' + '\n'.join(output[:40])


def expected_in(path):
    """The cases of a file with their sentences, and what is wrong with how it is written."""
    with open(path, encoding='utf-8') as file:
        text = file.read()
    expected = [(int(number or 1), sentence.strip())
                for number, sentence in re.findall(r'^// expect(?: (\d+))?:(.*)$', text, re.MULTILINE)]
    numbers = [number for number, _ in expected]
    used = {int(number) for number in re.findall(r'\bCASE == (\d+)', text)} - {0}
    wrong = []
    if not expected:
        wrong.append('no line `// expect N: sentence`')
    if any(not sentence for _, sentence in expected):
        wrong.append('an empty sentence')
    if 0 in numbers:
        wrong.append('case 0 is the one that compiles')
    if len(numbers) != len(set(numbers)):
        wrong.append('two sentences for one case')
    if used != set(numbers) - {0}:
        wrong.append(f'cases with a sentence: {sorted(set(numbers))}, cases in `#if CASE == N`: {sorted(used)}')
    return expected, wrong


def main():
    compiler, include, paths = shlex.split(sys.argv[1]), sys.argv[2], sys.argv[3:]
    cases = []  # (name, its result when it is there)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        compiler = [*compiler, *precompiled(compiler, include, folder)]
        for path in paths:
            name = os.path.basename(path)
            expected, wrong = expected_in(path)
            if wrong:
                cases.append((f'{name} file', threads.submit(lambda wrong: (False, '; '.join(wrong)), wrong)))
                continue
            cases.append((f'{name} case 0', threads.submit(must_compile, compiler, include, path)))
            for number, sentence in expected:
                cases.append((f'{name} case {number}', threads.submit(must_fail, compiler, include, path, number, sentence)))

    failed = 0
    for name, case in cases:
        good, said = case.result()
        failed += not good
        print(f'{"ok    " if good else "FAILED"} {name}: {said}')
    print(f'cases: {len(cases) - failed} passed, {failed} failed')
    return 1 if failed or not cases else 0


if __name__ == '__main__':
    sys.exit(main())
