#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""word_count.py WORD_COUNT SOURCE_ROOT [--slow]

Runs the word_count program on texts, sources, binary and made-up files, and compares what it prints with `tr | grep`,
with `wc -w`, and with a count made here. With --slow also on a file of 200 MB, whose peak of resident memory may exceed
that of a small file with the same words by at most 64 MB. Ends with the line `cases: N passed, N failed`.
"""

import argparse
import collections
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

from cases import TIMEOUT, Cases, expect, words_by_wc

MIB = 1 << 20
SPACES = b' \t\n\v\f\r'

# Lets the first read of a file through and makes all later ones fail.
FAILING_FREAD = r'''
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
extern "C" size_t fread(void* data, size_t size, size_t n, FILE* file) {
  using function = size_t (*)(void*, size_t, size_t, FILE*);
  const size_t got = reinterpret_cast<function>(dlsym(RTLD_NEXT, "fread"))(data, size, n, file);
  close(fileno(file));
  return got;
}
'''

# Runs a command, and writes the peak of its resident memory to stderr, and that of a command that does nothing, in
# bytes. The kernel counts the memory of the process that starts a command as the command's own, so this is a small
# process, and the command must need more memory than that.
MEASURE = r'''
import os, sys
def peak(command):
    child = os.posix_spawnp(command[0], command, os.environ)
    status, usage = os.wait4(child, 0)[1:]
    if status != 0:
        sys.exit(f'{command[0]}: status {status}')
    return usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024)
floor = peak(['true'])
print(peak(sys.argv[1:]), floor, file=sys.stderr)
'''

Output = collections.namedtuple('Output', 'status files total top stderr')


def expect_equal(actual, expected, what):
    expect(actual == expected, f'{what}: {shown(actual)} in place of {shown(expected)}')


def shown(value):
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + '...'


def parse(text):
    """The lines of files as a list of (count, name), the total, the most frequent words as a list of (count, word)."""
    head, mark, tail = text.partition(b'\nmost frequent words:\n')
    expect(mark, f'no list of words in {shown(text)}')
    lines = []
    for part in (head, tail):
        rows = [re.fullmatch(rb' *(\d+)  (.*)', line, re.DOTALL) for line in part.split(b'\n')[:-1]]
        expect(all(rows), f'a line that is not a count and a name in {shown(part)}')
        lines.append([(int(row[1]), row[2]) for row in rows])
    files, top = lines
    expect(files and files[-1][1] == b'total', f'no total in {shown(head)}')
    return files[:-1], files[-1][0], top


def printable(word):
    """A word as the program prints it."""
    text = b''.join(b'\\x%02x' % c if c < 0x20 or c == 0x7f else bytes([c]) for c in word[:80])
    return text + (b'... (%d bytes)' % len(word) if len(word) > 80 else b'')


def top_ten(words):
    order = sorted(collections.Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return [(count, printable(word)) for word, count in order[:10]]


def words_by_tr_and_grep(path):
    """How many words `tr` and `grep` count in a file."""
    pipe = r"LC_ALL=C tr -s ' \t\n\v\f\r' '\n' < " + '"$1" | LC_ALL=C grep -ac .'
    done = subprocess.run(['sh', '-c', pipe, 'sh', path], stdout=subprocess.PIPE, timeout=TIMEOUT)
    expect(done.returncode <= 1, f'tr | grep failed on {path}')  # 1: no line
    return int(done.stdout)


class Tests(Cases):
    def __init__(self, program, root, directory):
        super().__init__()
        self.program = program
        self.root = root
        self.directory = directory
        self.random = random.Random(20)

    # -- tools

    def run(self, *arguments, environment=None):
        return subprocess.run([self.program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=TIMEOUT, env=environment)

    def count(self, *files, threads=(1, 4), environment=None):
        """Runs the program with each number of threads; all must print the same."""
        outputs = []
        for number in threads:
            done = self.run('--threads', str(number), *files, environment=environment)
            expect(done.returncode in (0, 1), f'exit status {done.returncode}: {shown(done.stderr)}')
            outputs.append(Output(done.returncode, *parse(done.stdout), done.stderr.decode(errors='replace')))
        for output in outputs[1:]:
            expect_equal(output, outputs[0], f'another output with {threads[1]} threads')
        return outputs[0]

    def file(self, name, content):
        path = os.path.join(self.directory, name)
        with open(path, 'wb') as file:
            for part in [content] if isinstance(content, bytes) else content:
                file.write(part)
        return path

    def expect_counted(self, path, words=None):
        """Compares one file with `tr | grep`, and with `words` if they are known."""
        output = self.count(path)
        expect_equal(output.status, 0, 'exit status')
        expect_equal(output.stderr, '', 'stderr')
        number = words_by_tr_and_grep(path)
        expect_equal(output.files, [(number, os.fsencode(path))], 'line of the file')
        expect_equal(output.total, number, 'total')
        if words is not None:
            expect_equal(number, len(words), 'number of words')
            expect_equal(output.top, top_ten(words), 'most frequent words')

    # -- existing files

    def sources(self):
        return sorted(str(path) for pattern in ('include/**/*.hpp', 'tests/examples/*') for path in self.root.glob(pattern)
                      if path.is_file())

    def real_files(self):
        for path in filter(os.path.exists, [str(self.root / 'LICENSE'), str(self.root / 'README.md')]):
            self.case(f'words of {os.path.basename(path)}', self.real_text, path)
        self.case('words of every source at once', self.real_sources)
        self.case('words of a binary program', lambda: self.expect_counted(self.program))
        self.case('words of the interpreter', lambda: self.expect_counted(sys.executable))

    def real_text(self, path):
        content = pathlib.Path(path).read_bytes()
        self.expect_counted(path, split(content) if content.isascii() else None)
        if content.isascii():
            expect_equal(words_by_wc(path), words_by_tr_and_grep(path), 'wc -w')

    def real_sources(self):
        files = self.sources()
        expect(len(files) > 10, 'no sources found')
        output = self.count(*files)
        expect_equal(output.status, 0, 'exit status')
        expected = [(words_by_tr_and_grep(path), os.fsencode(path)) for path in files]
        expect_equal(output.files, expected, 'lines of the files')
        expect_equal(output.total, sum(number for number, path in expected), 'total')

    # -- generated files

    def made_up_files(self):
        words = [b'w%d' % int(self.random.paretovariate(0.5)) for i in range(400_000)]
        text = b''.join(word + self.random.choice([b' ', b'\n', b'\t', b' \r\n', b'\v', b'\f']) for word in words)
        self.case('text of several blocks', self.text, text, words)
        self.case('no space at the end', lambda: self.expect_counted(self.file('open', b'one two two'), [b'one', b'two', b'two']))
        self.case('words of the same count', self.ties)
        self.case('one byte', lambda: self.expect_counted(self.file('byte', b'x'), [b'x']))
        self.case('one space', lambda: self.expect_counted(self.file('space', b' '), []))
        self.case('nothing but spaces', lambda: self.expect_counted(self.file('spaces', SPACES * 400_000), []))
        self.case('an empty file', self.empty_file)
        self.case('random bytes', self.random_bytes)
        self.case('every byte but spaces', self.every_byte)
        for shift in (-2, -1, 0, 1, 2):
            self.case(f'words across every block boundary, {shift}', self.straddling, shift)
        for size in (MIB - 1, MIB, MIB + 1, 3 * MIB, 64 * MIB):
            self.case(f'a word of {size} bytes', self.long_word, size)
        self.case('long words one after the other', self.long_words)

    def text(self, text, words):
        path = self.file('text', text)
        self.expect_counted(path, words)
        expect_equal(words_by_wc(path), len(words), 'wc -w')

    def ties(self):
        words = [bytes([c]) for c in range(0x21, 0x100) if c not in (0x7f, 0x85, 0xa0)] + [b'aa', b'a\xff', b'!!', b'!!']
        self.random.shuffle(words)
        self.expect_counted(self.file('ties', b'\n'.join(words)), words)

    def empty_file(self):
        empty, other = self.file('empty', b''), self.file('other', b'a b')
        output = self.count(empty, other, empty)
        expected = [(0, os.fsencode(empty)), (2, os.fsencode(other)), (0, os.fsencode(empty))]
        expect_equal(output, Output(0, expected, 2, [(1, b'a'), (1, b'b')], ''), 'output')
        self.expect_counted(empty, [])

    def random_bytes(self):
        content = self.random.randbytes(5 * MIB + 12345)
        self.expect_counted(self.file('random', content), split(content))

    def every_byte(self):
        word = bytes(c for c in range(256) if c not in SPACES)
        self.expect_counted(self.file('bytes', word + b' ' + word), [word, word])

    def straddling(self, shift):
        """A word across every multiple of 1 MiB, or (shift) one that ends or begins there."""
        content = bytearray(b'ab cde ' * (5 * MIB // 7))
        for boundary in range(MIB, len(content) - MIB, MIB):
            word = b'%d' % boundary
            at = boundary - (len(word) // 2) if shift == 0 else boundary - len(word) + shift
            content[at - 1:at + len(word) + 1] = b' ' + word + b' '
        self.expect_counted(self.file('straddling', bytes(content)), split(bytes(content)))

    def long_word(self, size):
        for i, (before, after) in enumerate([(b'', b''), (b'a b ', b' a b'), (b' ' * (MIB - 1), b'\n')]):
            words = before.split() + [b'x' * size] + after.split()
            self.expect_counted(self.file('long', [before, b'x' * size, after]), words)

    def long_words(self):
        words = [b'y' * self.random.randrange(1, 3 * MIB) for i in range(12)] + [b'z'] * 1000
        self.random.shuffle(words)
        self.expect_counted(self.file('longs', b' '.join(words)), words)

    # -- errors

    def errors(self):
        self.case('a word that is too long', self.too_long)
        self.case('a word that is too long by one', self.too_long_by_one)
        self.case('a missing file among others', self.unreadable, os.path.join(self.directory, 'missing'), 'No such file')
        self.case('a directory among others', self.unreadable, self.directory, 'Is a directory')
        self.case('all kinds at once', self.all_unreadable)
        self.case('a read error in mid-file', self.read_error)
        for arguments in [[], ['--threads'], ['--threads', '2'], ['--threads', '0', 'FILE'], ['--threads', 'x', 'FILE'],
                          ['--threads', '2x', 'FILE'], ['--threads', '-1', 'FILE'], ['--threads', '', 'FILE'],
                          ['--threads', '99999999999999999999', 'FILE'], ['--what', 'FILE']]:
            self.case(f'usage: {arguments}', self.usage, arguments)
        self.case('a file behind --', self.dashes)

    def too_long(self):
        good = self.file('good', b'b c')
        path = self.file('too_long', [b'a b ' * 300_000, b'x' * (65 * MIB), b' c'])
        output = self.count(path, good)
        expect_equal(output.status, 1, 'exit status')
        expect(path in output.stderr and 'offset 1200000 ' in output.stderr, f'file or offset not in {output.stderr!r}')
        expect_equal(output.files[-1], (2, os.fsencode(good)), 'line of the other file')
        expect_equal(output.total, 600_002, 'total')

    def too_long_by_one(self):
        path = self.file('too_long', b'x' * (64 * MIB + 1))
        output = self.count(path)
        expect_equal(output[:4], (1, [], 0, []), 'output')
        expect(path in output.stderr and 'offset 0 ' in output.stderr, f'file or offset not in {output.stderr!r}')

    def unreadable(self, path, message):
        first, last = self.file('first', b'a b'), self.file('last', b'b c d')
        output = self.count(first, path, last)
        expected = [(2, os.fsencode(first)), (3, os.fsencode(last))]
        expect_equal(output[:4], (1, expected, 5, [(2, b'b'), (1, b'a'), (1, b'c'), (1, b'd')]), 'output')
        expect(path in output.stderr and message in output.stderr, f'file or reason not in {output.stderr!r}')
        expect_equal(output.stderr.count('\n'), 1, 'lines on stderr')
        expect_equal(self.count(path)[:4], (1, [], 0, []), 'output without other files')

    def all_unreadable(self):
        missing = os.path.join(self.directory, 'missing')
        output = self.count(missing, self.directory, missing, self.directory)
        expect_equal(output[:4], (1, [], 0, []), 'output')
        expect_equal(output.stderr.count('\n'), 4, 'lines on stderr')

    def read_error(self):
        library = os.path.join(self.directory, 'failing_fread.so')
        source = self.file('failing_fread.cpp', FAILING_FREAD.encode())
        subprocess.run([os.environ.get('CXX', 'g++').split()[-1], '-shared', '-fPIC', '-o', library, source, '-ldl'],
                       check=True, timeout=TIMEOUT)
        asan = os.environ.get('ASAN_OPTIONS', '')
        environment = dict(os.environ, LD_PRELOAD=library, ASAN_OPTIONS=f'{asan}:verify_asan_link_order=0')
        path, good = self.file('three_blocks', b'abc ' * (3 * MIB // 4)), self.file('good', b'x')
        output = self.count(path, good, environment=environment)
        expected = [(MIB // 4, os.fsencode(path) + b' (incomplete)'), (1, os.fsencode(good))]
        expect_equal(output[:4], (1, expected, MIB // 4 + 1, [(MIB // 4, b'abc'), (1, b'x')]), 'output')
        expect(path in output.stderr and output.stderr.count('\n') == 1, f'not one line naming the file: {output.stderr!r}')

    def usage(self, arguments):
        done = self.run(*[self.file('good', b'x') if a == 'FILE' else a for a in arguments])
        expect_equal(done.returncode, 2, 'exit status')
        expect_equal(done.stdout, b'', 'stdout')
        expect(done.stderr.startswith(b'usage: '), f'no usage message: {done.stderr!r}')

    def dashes(self):
        self.file('--threads', b'a')
        done = subprocess.run([self.program, '--', '--threads'], stdout=subprocess.PIPE, cwd=self.directory, timeout=TIMEOUT)
        expect_equal((done.returncode, parse(done.stdout)), (0, ([(1, b'--threads')], 1, [(1, b'a')])), 'output')

    # -- memory

    def slow(self):
        words = [b'word%d' % i for i in range(200_000)]
        part = b' '.join(self.random.choices(words, k=120_000)) + b'\n'
        self.case('memory for 200 MB of text', self.memory, b' '.join(words) + b'\n', part)
        numbers = b''.join(b'%07d\n' % i for i in range(2_000_000))
        self.case('memory for 200 MB of numbers, each new to its block', self.memory, numbers, numbers)

    def memory(self, every_word, part):
        """A small file that has every word once, and a large one that also repeats `part`."""
        repeats = (200_000_000 - len(every_word)) // len(part) + 1
        small = self.file('small', every_word)
        large = self.file('large', (every_word if i == 0 else part for i in range(repeats + 1)))
        expected = len(every_word.split()) + repeats * len(part.split())
        try:
            for threads in (1, 2, 4, 16):
                base = self.peak(small, threads, len(every_word.split()))
                peak = self.peak(large, threads, expected)
                print(f'{threads} threads: peak of {peak / 1e6:.1f} MB, {base / 1e6:.1f} MB for the same words in a small file')
                expect(peak - base <= 64_000_000, f'{threads} threads: {(peak - base) / 1e6:.1f} MB beyond the word table')
        finally:
            os.remove(large)

    def peak(self, path, threads, words):
        """The peak of resident memory of one run, in bytes."""
        command = [self.program, '--threads', str(threads), path]
        done = subprocess.run([sys.executable, '-c', MEASURE, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=True, timeout=TIMEOUT)
        expect_equal(parse(done.stdout)[1], words, 'total')
        peak, floor = map(int, done.stderr.split())
        expect(peak > floor, 'the program takes less memory than what measures it: the peak is not known')
        return peak


def split(content):
    """The words of bytes. (bytes.split() splits at the same characters.)"""
    return content.split()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('program', help='path of the word_count program')
    parser.add_argument('root', type=pathlib.Path, help='root of the source tree')
    parser.add_argument('--slow', action='store_true', help='also the file of 200 MB')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        tests = Tests(os.path.abspath(arguments.program), arguments.root.resolve(), directory)
        tests.real_files()
        tests.made_up_files()
        tests.errors()
        if arguments.slow:
            tests.slow()
    return tests.finish()


if __name__ == '__main__':
    sys.exit(main())
