#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""readme.py COMPILER INCLUDE_DIR README.md

Compiles the C++ that a page shows, with warnings as errors:

  - a ```cpp block that contains `int main` is a program: it is compiled and run, and must exit with 0. If the next
    thing after it is a line that ends in `prints:` and a ```text block, its standard output must be that text.
  - a ```cpp block right after a line `<!-- compiles in: NAME -->` is compiled inside readme/NAME.txt beside this
    file, in place of its line `...`.

  - any other ```cpp block is named in the output as not checked.

COMPILER may hold options. Ends with `cases: N passed, N failed`; the exit status is 0 if there was at least one case
and none failed.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

FLAGS = ['-std=c++20', '-O1', '-pthread', '-Wall', '-Wextra', '-Wpedantic', '-Wshadow', '-Wconversion', '-Werror']
SECONDS = 60
SURROUNDINGS = pathlib.Path(__file__).with_name('readme')


class block:
    def __init__(self, language, line):
        self.language, self.line, self.text, self.before = language, line, '', []


def blocks_of(page):
    """The fenced blocks of a page; `before` is the text between a block and the one above it."""
    blocks, current, between = [], None, []
    for number, line in enumerate(page.splitlines(), 1):
        fence = re.match(r'```\s*(\S*)', line)
        if current is not None:
            if fence:
                blocks.append(current)
                current = None
            else:
                current.text += line + '\n'
        elif fence:
            current = block(fence.group(1), number)
            current.before, between = between, []
        elif line.strip():
            between.append(line.strip())
    return blocks


def compiled(compiler, text, more):
    done = subprocess.run([*compiler, *FLAGS, *more, '-x', 'c++', '-'], input=text, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode == 0, done.stdout


def program(compiler, shown, prints):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'program')
        good, said = compiled(compiler, shown.text, ['-o', path])
        if not good:
            return False, said
        try:
            done = subprocess.run([path], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return False, f'still running after {SECONDS} s'
    if done.returncode != 0:
        return False, f'exit status {done.returncode}\n{done.stdout}{done.stderr}'
    if prints is not None and done.stdout != prints:
        return False, f'prints\n{done.stdout}instead of\n{prints}{done.stderr}'
    return True, 'prints what is shown' if prints is not None else 'runs'


def part(compiler, shown, name):
    around = SURROUNDINGS / (name + '.txt')
    if not around.is_file():
        return False, f'there are no surroundings {around}'
    text, count = re.subn(r'^[ \t]*\.\.\.[ \t]*$', lambda _: f'#line {shown.line + 1}\n{shown.text}',
                          around.read_text(encoding='utf-8'),
                          flags=re.MULTILINE)
    if count != 1:
        return False, f'the surroundings "{name}" need exactly one line `...`'
    good, said = compiled(compiler, text, ['-fsyntax-only'])
    return good, f'compiles in: {name}' if good else said


def main():
    compiler = [*shlex.split(sys.argv[1]), '-I' + sys.argv[2]]
    page = pathlib.Path(sys.argv[3]).read_text(encoding='utf-8')
    blocks = blocks_of(page)
    passed = failed = 0
    for index, shown in enumerate(blocks):
        if shown.language != 'cpp':
            continue
        mark = re.fullmatch(r'<!-- compiles in: (\S+) -->', shown.before[-1]) if shown.before else None
        if re.search(r'\bint main\b', shown.text):
            after = blocks[index + 1] if index + 1 < len(blocks) else None
            told = after and after.language == 'text' and len(after.before) == 1 and after.before[0].endswith('prints:')
            good, said = program(compiler, shown, after.text if told else None)
        elif mark:
            good, said = part(compiler, shown, mark.group(1))
        else:
            print(f'       line {shown.line}: not checked')
            continue
        print(f'{"ok    " if good else "FAILED"} line {shown.line}: {said}')
        passed, failed = passed + good, failed + (not good)
    print(f'cases: {passed} passed, {failed} failed')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
