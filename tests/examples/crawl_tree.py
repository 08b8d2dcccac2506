#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""crawl_tree.py CRAWL_TREE DIR

Runs the crawl_tree program on DIR and on trees made up here, with some numbers of threads, and compares what it says with a
plain walk in Python, which groups the files by their SHA-256. Ends with the line `cases: N passed, N failed`.
"""

import collections
import hashlib
import os
import pathlib
import random
import re
import resource
import subprocess
import sys
import tempfile

from cases import TIMEOUT, Cases, Failure, expect_equal
from peak import peak_of

BLOCK = 65536
OPEN_FILES = 64  # the program may have so many, the walk here too

# A file whose name begins with "closed" cannot be opened, and one that begins with "broken" cannot be read. For one thread.
FAILING_FILES = r'''
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
static FILE* broken = nullptr;
static FILE* opened(const char* function, const char* path, const char* mode) {
  if (strstr(path, "/closed") != nullptr) {
    errno = EACCES;
    return nullptr;
  }
  FILE* const file = reinterpret_cast<FILE* (*)(const char*, const char*)>(dlsym(RTLD_NEXT, function))(path, mode);
  if (file == broken) broken = nullptr;  // it was closed
  if (strstr(path, "/broken") != nullptr) broken = file;
  return file;
}
extern "C" FILE* fopen(const char* path, const char* mode) { return opened("fopen", path, mode); }
extern "C" FILE* fopen64(const char* path, const char* mode) { return opened("fopen64", path, mode); }
extern "C" int ferror(FILE* file) noexcept {
  if (file != broken) return 0;
  errno = EIO;
  return 1;
}
'''


def printable(path):
    return re.sub(rb'[\x00-\x1f\x7f\\]', lambda byte: b'\\x%02x' % ord(byte[0]), path)


def same_hash(before):
    """Two contents that begin with `before`, and have the same FNV-1a hash, of 64 bits.

    It adds a number from 0 to 255 to the state with its last byte set to 0, and multiplies by a prime. If the numbers
    differ by these, the states are the same in the end."""
    differences = [-1, -8, 2, 4, 10, 6, -14, -2, -18, -13, 15, -17]
    state = 14695981039346656037
    for byte in before:
        state = (state ^ byte) * 1099511628211 % 2**64
    choice = random.Random(7)
    while True:
        states, contents = [state, state], [bytearray(before), bytearray(before)]
        for difference in differences:
            lasts = [each % 256 for each in states]
            between = lasts[1] - lasts[0] + difference
            if abs(between) > 255:
                break
            number = choice.randrange(max(0, -between), min(255, 255 - between) + 1)
            for i, added in (0, number), (1, number + between):
                contents[i].append(added ^ lasts[i])
                states[i] = (states[i] - lasts[i] + added) * 1099511628211 % 2**64
        else:
            assert states[0] == states[1] and contents[0] != contents[1]
            return [bytes(content) for content in contents]


def walk(directory, files, errors):
    """Adds the files below, with their digests and sizes, and the unreadable paths, with the reason."""
    try:
        entries = list(os.scandir(directory))
    except OSError as error:
        errors.append((directory, error))
        return
    for entry in entries:
        try:
            if entry.is_symlink():
                os.stat(entry.path)
            elif entry.is_file():
                with open(entry.path, 'rb') as file:
                    content = file.read()
                files.append((hashlib.sha256(content).digest(), len(content), entry.path))
            elif entry.is_dir():
                walk(entry.path, files, errors)
        except OSError as error:
            errors.append((entry.path, error))


def expected(root):
    """Exit status, standard output, and the sorted lines of standard error."""
    files, errors, groups = [], [], collections.defaultdict(list)
    walk(os.fsencode(root), files, errors)
    for digest, size, path in files:
        groups[digest, size].append(path)
    equal = sorted((sorted(paths), size) for (digest, size), paths in groups.items() if len(paths) > 1)
    copies = sum(len(paths) - 1 for paths, size in equal)
    saved = sum((len(paths) - 1) * size for paths, size in equal)
    lines = []
    for paths, size in equal:
        lines += [b'%d files of %d bytes:\n' % (len(paths), size), *(b'  %s\n' % printable(path) for path in paths)]
    lines.append(b'%d files of %d bytes; %d copies of %d bytes; %d not read\n'
                 % (len(files), sum(file[1] for file in files), copies, saved, len(errors)))
    complaints = sorted(b'crawl_tree: %s: %s' % (printable(path), os.strerror(error.errno).encode()) for path, error in errors)
    return 1 if errors else 0, b''.join(lines), complaints


class Tests(Cases):
    def __init__(self, program, directory):
        super().__init__()
        self.program = program
        self.directory = pathlib.Path(directory)

    def run(self, *arguments, **more):
        done = subprocess.run([self.program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=TIMEOUT, **more)
        return done.returncode, done.stdout, sorted(done.stderr.splitlines())

    def compare(self, root, complaints=0):
        """Runs the program on a tree with so many unreadable paths; returns how many files are copies of others."""
        what = expected(root)
        if complaints is not None:
            expect_equal(len(what[2]), complaints, 'number of things that cannot be read')
        for threads in ('1', '4'):
            expect_equal(self.run('--threads', threads, root), what, f'with {threads} threads')
        expect_equal(self.run(root), what, 'without a number of threads')
        return int(re.search(rb'; (\d+) copies', what[1])[1])

    def tree(self, name, files):
        root = self.directory / name
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return root

    def trees(self):
        self.case('an empty directory', self.empty)
        self.case('sizes around those of blocks', self.sizes)
        self.case('differences in one byte', self.differences)
        self.case('different contents with the same hash', self.collisions)
        self.case('a random tree', self.random_tree)
        self.case('hundreds of directories', self.wide)
        self.case('a path of 300 directories', self.deep)
        self.case('names', self.names)
        self.case('links and pipes', self.links)
        self.case('loops, and paths through a file', self.loops)
        self.case('paths that are too long', self.too_long)
        self.case('files that cannot be opened or read', self.unreadable)
        self.case('memory for a large file', self.memory)

    def empty(self):
        root = self.directory / 'empty'
        root.mkdir()
        self.compare(str(root))

    def sizes(self):
        contents = [bytes(size) for size in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 10 * BLOCK + 1)]
        files = {f'{folder}/{i}': content for folder in 'abc' for i, content in enumerate(contents)}
        expect_equal(self.compare(str(self.tree('sizes', files))), 2 * len(contents), 'copies')

    def differences(self):
        """Two equal files, and others that differ from them in one byte of each block in turn."""
        content = bytearray(random.Random(5).randbytes(3 * BLOCK + 10))
        files = {'same': bytes(content), 'again': bytes(content)}
        for at in (0, BLOCK - 1, BLOCK, 2 * BLOCK + 7, len(content) - 1):
            content[at] ^= 1
            files[f'other {at}'] = bytes(content)
            content[at] ^= 1
        expect_equal(self.compare(str(self.tree('differences', files))), 1, 'copies')

    def collisions(self):
        for before in b'', bytes(BLOCK), bytes(BLOCK - 5):
            files = {f'{name}{i}': content for i in '12' for name, content in zip('ab', same_hash(before))}
            expect_equal(self.compare(str(self.tree(f'same_hash_{len(before)}', files))), 2, 'copies')

    def random_tree(self):
        choice = random.Random(6)
        contents = [choice.randbytes(int(choice.paretovariate(0.4)) % 200_000) for i in range(100)]
        files = {'/'.join(choice.choices('abcd', k=choice.randrange(1, 6))) + f'/{i}': choice.choice(contents)
                 for i in range(300)}
        self.compare(str(self.tree('random', files)))

    def wide(self):
        self.compare(str(self.tree('wide', {f'{i}/{i % 7}': b'%d' % (i % 50) for i in range(300)})))

    def deep(self):
        """A tree that is deeper than the limit of open files."""
        path = str(self.directory / 'deep')
        for level in range(300):
            os.mkdir(path)
            path += '/d'
        pathlib.Path(path[:-2], 'file').write_bytes(b'')
        try:
            self.compare(str(self.directory / 'deep'))
        finally:
            subprocess.run(['rm', '-r', str(self.directory / 'deep')], check=True)

    def too_long(self):
        """In the last directory whose path is not too long, neither the file nor the directory can be opened."""
        root, name = self.directory / 'too_long', 'n' * 200
        root.mkdir()
        at = os.open(root, os.O_RDONLY)
        for level in range(25):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=at))
            os.mkdir(name + 'd', dir_fd=at)
            below = os.open(name + 'd', os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
        os.close(at)
        try:
            self.compare(str(root), complaints=2)
        finally:
            subprocess.run(['rm', '-r', str(root)], check=True)

    def names(self):
        names = [b'new\nline', b'back\\slash', b'\\x0a', b'\x1b[31m', b'not \xff UTF-8', 'é'.encode(), b'\x7f', b'-rf', b' ', b'n' * 255]
        root = self.tree('names', {os.fsdecode(name): b'same' for name in names})
        expect_equal(self.compare(str(root)), len(names) - 1, 'copies')

    def links(self):
        """Links are not files and are not followed, unless one is the argument. The program never waits for a pipe."""
        root = self.tree('links', {'a/file': b'1', 'b/file': b'1', 'c': b'2'})
        for name, to in ('to_file', 'c'), ('a/to_directory', '../b'), ('b/up', '..'), ('b/root', '/'):
            (root / name).symlink_to(to)
        os.mkfifo(root / 'a' / 'pipe')
        expect_equal(self.compare(str(root)), 1, 'copies')
        link = self.directory / 'link'
        link.symlink_to(root)
        expect_equal(self.compare(str(link)), 1, 'copies')

    def loops(self):
        root = self.tree('loops', {'file': b'1', 'again': b'1'})
        for name, to in ('a', 'b'), ('b', 'a'), ('self', 'self'), ('nowhere', 'x'), ('through', 'file/x'), ('below', 'self/x'):
            (root / name).symlink_to(to)
        expect_equal(self.compare(str(root), complaints=6), 1, 'copies')
        for name in 'a', 'self', 'nowhere', 'missing', 'file', 'file/x', 'through':
            self.compare(str(root / name), complaints=1)

    def unreadable(self):
        source, library = self.directory / 'failing.cpp', str(self.directory / 'failing.so')
        source.write_text(FAILING_FILES)
        subprocess.run([os.environ.get('CXX', 'g++').split()[-1], '-shared', '-fPIC', '-o', library, source, '-ldl'],
                       check=True, timeout=TIMEOUT)
        asan = os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'
        root = self.tree('unreadable', {'broken': b'1', 'closed': b'1', 'good/1': b'1', 'good/2': b'1'})
        done = self.run('--threads', '1', root, env=dict(os.environ, LD_PRELOAD=library, ASAN_OPTIONS=asan))
        what = expected(root / 'good')[1].replace(b'; 0 not read', b'; 2 not read')
        expect_equal(done, (1, what, [b'crawl_tree: %s/broken: Input/output error' % os.fsencode(root),
                                      b'crawl_tree: %s/closed: Permission denied' % os.fsencode(root)]), 'status and output')

    def memory(self):
        """A large sparse file, which occupies no disk space."""
        peaks = []
        for size in 1, 128 << 20:
            root = self.tree('memory', {'file': b''})
            os.truncate(root / 'file', size)
            status, peak = peak_of([self.program, '--threads', '4', root], TIMEOUT)
            expect_equal(status, 0, 'status')
            peaks.append(peak)
        if peaks[1] - peaks[0] > 40_000_000:
            raise Failure(f'a peak of {peaks[1] / 1e6:.1f} MB, and {peaks[0] / 1e6:.1f} MB for a file of one byte')

    def usage(self, arguments):
        status, output, errors = self.run(*arguments)
        expect_equal((status, output, errors), (2, b'', [b'usage: crawl_tree [--threads N] DIR']), 'status and output')

    def full(self):
        with open('/dev/full', 'wb') as full:
            done = subprocess.run([self.program, str(self.tree('full', {'file': b''}))], stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT)
        expect_equal((done.returncode, done.stderr), (1, b'crawl_tree: standard output: No space left on device\n'), 'output')


def main():
    sys.setrecursionlimit(2000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory() as directory:
        tests = Tests(os.path.abspath(sys.argv[1]), directory)
        tests.case(f'all of {sys.argv[2]}', tests.compare, sys.argv[2], None)
        tests.trees()
        for arguments in ([], ['--threads', '2'], ['--threads', '0', '.'], ['--threads', '-1', '.'], ['--threads', '1x', '.'],
                          ['--threads', '4097', '.'], ['--threads', '9' * 30, '.'], ['--what', '.'], ['.', '.']):
            tests.case(f'wrong usage {arguments}', tests.usage, arguments)
        tests.case('nowhere to write', tests.full)
    return tests.finish()


if __name__ == '__main__':
    sys.exit(main())
