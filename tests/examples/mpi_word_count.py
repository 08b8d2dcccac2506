#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mpi_word_count.py MPIRUN MPI_WORD_COUNT SOURCE_ROOT

Runs the mpi_word_count program with some numbers of ranks, all on this machine, and compares what it prints with `wc -w`:
on sources, on files made up here, and on files that cannot be read, in places where each of the ranks meets them. Ends with
the line `cases: N passed, N failed`.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from cases import Cases, expect_equal, words_by_wc

MIB = 1 << 20
TIMEOUT = 120  # seconds, for one run of the program
PREFIX = 'mpi_word_count: '


class Tests(Cases):
    def __init__(self, mpirun, program, root, directory):
        super().__init__()
        self.command = [mpirun, '--oversubscribe', '--allow-run-as-root', '-n']
        self.program = program
        self.root = root
        self.directory = pathlib.Path(directory)

    def run(self, ranks, files):
        """Returns status, lines of standard output, the program's own lines of standard error, and all of the latter."""
        done = subprocess.run([*self.command, str(ranks), self.program, *files], stdin=subprocess.DEVNULL, encoding='utf-8',
                              errors='replace', stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT)
        own = [line for line in done.stderr.splitlines() if line.startswith((PREFIX, 'usage'))]
        return done.returncode, done.stdout.splitlines(), own, done.stderr

    def expect_counted(self, ranks, files, unreadable=()):
        """Checks that all files are counted, except the `unreadable` ones, which are pairs of path and reason."""
        paths = [path for path, _ in unreadable]
        words = {path: words_by_wc(path) for path in files if path not in paths}
        lines = [f'{words[path]:12}  {path}' for path in files if path in words]
        total = sum(words[path] for path in files if path in words)
        status, output, own, errors = self.run(ranks, files)
        expect_equal(own, [f'{PREFIX}{path}: {reason}' for path, reason in unreadable], f'errors (all: {errors!r})')
        expect_equal(status, 1 if unreadable else 0, f'exit status (errors: {errors!r})')
        expect_equal(output, lines + [f'{total:12}  total'], 'output')

    def file(self, name, content):
        path = self.directory / name
        path.write_bytes(content)
        return str(path)

    def sources(self):
        """Sources in ASCII only: wc treats other characters differently."""
        patterns = 'include/**/*.hpp', 'tests/**/*.cpp', 'tests/**/*.py'
        paths = sorted(path for pattern in patterns for path in self.root.glob(pattern))
        return [str(path) for path in paths if path.is_file() and path.read_bytes().isascii()]

    def all(self):
        sources = self.sources()
        if len(sources) < 20:
            raise SystemExit('too few sources found')
        for ranks in (1, 2, 4):
            self.case(f'sources, {ranks} ranks', self.expect_counted, ranks, sources)
        self.case('fewer files than ranks', self.expect_counted, 4, sources[:2])

        made_up = [self.file('empty', b''), self.file('word', b'word'), self.file('spaces', b' \t\n\v\f\r' * 1000),
                   self.file('across', b'x' * (MIB - 1) + b'yz ' + b'a' * (2 * MIB) + b' b'),
                   self.file('block', b'a ' * (MIB // 2)),
                   self.file('many', b'ab cde ' * (100 * MIB // 7))]  # more blocks than may wait in a stream
        self.case('files made up', self.expect_counted, 4, made_up)
        self.case('files made up, in the opposite order', self.expect_counted, 3, made_up[::-1])

        missing = str(self.directory / 'missing'), 'No such file or directory'
        folder = str(self.directory), 'Is a directory'
        for place in range(4):
            files = sources[:place] + [missing[0]] + sources[place:]
            self.case(f'a path that does not exist, at rank {place}', self.expect_counted, 4, files, [missing])
        files = [missing[0], sources[0], folder[0], sources[1], made_up[-1], missing[0]]
        self.case('all kinds at once', self.expect_counted, 4, files, [missing, folder, missing])
        self.case('nothing but failures', self.expect_counted, 4, [missing[0]] * 5, [missing] * 5)
        self.case('wrong usage', self.usage)

    def usage(self):
        status, output, own, errors = self.run(4, [])
        expect_equal((status, output), (2, []), f'status and output (errors: {errors!r})')
        expect_equal(own, ['usage: mpi_word_count FILE...'], 'errors')


def main():
    mpirun, program, root = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        tests = Tests(mpirun, os.path.abspath(program), pathlib.Path(root).resolve(), directory)
        tests.all()
    return tests.finish()


if __name__ == '__main__':
    sys.exit(main())
