#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pipeline.py PIPELINE

Runs the pipeline program on good and bad files, on pipes and on rows that it makes up, interrupts it, and compares what
it says with a few lines of Python. Ends with the line `cases: N passed, N failed`.
"""

import itertools
import os
import pathlib
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from cases import TIMEOUT, Cases, Failure, expect_equal
from peak import peak_of

# The third read of the file fails.
FAILING_READ = r'''
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>
extern "C" ssize_t read(int file, void* data, size_t size) {
  static int reads = 0;
  if (size == 65536 && ++reads == 3) {
    errno = EIO;
    return -1;
  }
  return reinterpret_cast<ssize_t (*)(int, void*, size_t)>(dlsym(RTLD_NEXT, "read"))(file, data, size);
}
'''

NO_COMMA = 'there is no comma'
KEY_SIZE = 'the key is not 1 to 64 bytes long'
KEY_BYTES = 'a quote or control character in the key'
NO_NUMBER = 'the value is no whole number'
RANGE = 'the value is not from -1000000 to 1000000'
TOO_LONG = 'the line is longer than 1024 bytes'

BAD_LINES = [
    ('', NO_COMMA), ('a', NO_COMMA), ('\r', NO_COMMA), (',', KEY_SIZE), (',1', KEY_SIZE), ('k' * 65 + ',1', KEY_SIZE),
    ('"a",1', KEY_BYTES), ('"a,b",1', KEY_BYTES), ('a\rb,1', KEY_BYTES), ('a\0,1', KEY_BYTES), ('\x7f,1', KEY_BYTES),
    ('a,', NO_NUMBER), ('a,x', NO_NUMBER), ('a,1x', NO_NUMBER), ('a, 1', NO_NUMBER), ('a,1 ', NO_NUMBER), ('a,1.5', NO_NUMBER),
    ('a,+1', NO_NUMBER), ('a,-', NO_NUMBER), ('a,1,2', NO_NUMBER), ('a,1\r\r', NO_NUMBER), ('a,0x1', NO_NUMBER),
    ('a,1000001', RANGE), ('a,-1000001', RANGE), ('a,99999999999999999999999', RANGE), ('a,-2147483649', RANGE),
    ('a,' + '0' * 1022 + '1', TOO_LONG), ('x' * 1025, TOO_LONG), ('x' * 1025 + '\r', TOO_LONG), ('x' * 65536, TOO_LONG),
    ('x' * 1_000_000, TOO_LONG),
]
GOOD_LINES = ['a,1', 'a,-1', 'a b,0', 'é,5', "'q',7", 'b,1000000', 'b,-1000000', 'k' * 64 + ',1', 'a,0001', 'a,-0', 'c,9\r',
              'a,' + '0' * 1021 + '1', 'a,' + '0' * 1021 + '1\r']


def table(lines):
    """The output for lines that are all well-formed."""
    keys = {}
    for line in lines:
        key, value = line.split(',')
        keys.setdefault(key.encode(), []).append(int(value))
    rows = [f'{key.decode()},{len(of)},{min(of)},{max(of)},{sum(of)}\n' for key, of in sorted(keys.items())]
    return 'key,rows,min,max,sum\n' + ''.join(rows)


def ended(rows, bad=0):
    return f'pipeline: {rows} rows, {bad} bad lines\n'


def endless_rows():
    return (f'k{i % 7},{i % 1000}' for i in itertools.count())


class Running:
    """The running program, which reads a pipe or generates rows."""

    def __init__(self, *command, stderr=subprocess.PIPE):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
        self.watchdog = threading.Timer(TIMEOUT, self.process.kill)
        self.watchdog.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.watchdog.cancel()
        self.process.communicate()

    def wait_for_progress(self):
        line = self.process.stderr.readline().decode()
        if not re.fullmatch(r'pipeline: \d+ rows so far\n', line):
            raise Failure(f'no line of progress: {line!r}')

    def wait_until_open(self, path):
        while self.process.poll() is None:
            for file in pathlib.Path(f'/proc/{self.process.pid}/fd').iterdir():
                try:
                    if os.readlink(file) == path:
                        return
                except FileNotFoundError:
                    pass  # closed meanwhile
        raise Failure(f'{path} was never opened')

    def interrupt(self):
        """Returns status, standard output and standard error without lines of progress."""
        self.process.send_signal(signal.SIGINT)
        output, errors = (text.decode() for text in self.process.communicate())
        return self.process.returncode, output, re.sub(r'.* so far\n', '', errors)


class Tests(Cases):
    def __init__(self, program, directory):
        super().__init__()
        self.program = program
        self.directory = pathlib.Path(directory).resolve()

    def run(self, *arguments, **more):
        done = subprocess.run([self.program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=TIMEOUT, **more)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def file(self, content):
        path = self.directory / 'data.csv'
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def expect(self, content, status, good_lines, errors):
        """Runs the program on a file; `errors` may name it as FILE."""
        path = self.file(content)
        expect_equal(self.run(path), (status, table(good_lines), errors.replace('FILE', path)), 'status and output')

    # -- files

    def files(self):
        self.case('empty file', self.expect, '', 1, [], 'pipeline: FILE:1: the file is empty: there is no header\n' + ended(0))
        for header in ('key,value', 'key,value\n', 'key,value\r\n'):
            self.case(f'only the header {header!r}', self.expect, header, 0, [], ended(0))
        for header in ('a,1\n', '\n', 'key,values\n', 'key,value' + ' ' * 1_000_000):
            self.case(f'no header, {header[:20]!r}', self.expect, header, 1, [],
                      'pipeline: FILE:1: the header is not key,value\n' + ended(0))
        self.case('no line end at the end', self.expect, 'key,value\na,1\nb,2', 0, ['a,1', 'b,2'], ended(2))
        self.case('CRLF', self.expect, 'key,value\r\na,1\r\nb,2\r\n', 0, ['a,1', 'b,2'], ended(2))
        self.case('every good line', self.expect, '\n'.join(['key,value'] + GOOD_LINES), 0, GOOD_LINES, ended(len(GOOD_LINES)))
        for line, problem in BAD_LINES:
            self.case(f'bad line {line[:20]!r}', self.expect, f'key,value\na,1\n{line}\nb,2\n', 0, ['a,1', 'b,2'],
                      f'FILE:3: {problem}\n' + ended(2, 1))
        long = GOOD_LINES[-1] + 'x' * (65536 - len('key,value\n' + GOOD_LINES[-1]))
        self.case('a long line that ends where a read ends', self.expect, f'key,value\n{long}\nb,2\n', 0, ['b,2'],
                  f'FILE:2: {TOO_LONG}\n' + ended(1, 1))
        self.case('many bad lines', self.expect, 'key,value\na,1\n' + 'a\n' * 200_000 + 'b,2\n', 0, ['a,1', 'b,2'],
                  ''.join(f'FILE:{i}: {NO_COMMA}\n' for i in range(3, 13)) + ended(2, 200_000))
        self.case('a large file of good and bad lines', self.large)
        self.case('rows made up', self.made_up)

    def large(self):
        choice = random.Random(3)
        bad = [line for line in BAD_LINES if len(line[0]) < 2000]
        lines = [choice.choice(bad) if choice.random() < 0.01 else (choice.choice(GOOD_LINES), None) for i in range(100_000)]
        problems = [f'FILE:{i}: {line[1]}\n' for i, line in enumerate(lines, 2) if line[1]]
        good = [line[0] for line in lines if not line[1]]
        self.expect('\n'.join(['key,value'] + [line[0] for line in lines]), 0, good,
                    ''.join(problems[:10]) + ended(len(good), len(problems)))

    def made_up(self):
        rows = [f'k{i % 100},{i * 7919 % 2001 - 1000}' for i in range(100_000)]
        expect_equal(self.run('--rows', '100000'), (0, table(rows), ended(100_000)), 'status and output')
        self.expect('\n'.join(['key,value'] + rows), 0, rows, ended(100_000))

    # -- errors

    def errors(self):
        missing, through = str(self.directory / 'missing'), self.file('') + '/x'
        self.case('missing file', self.unreadable, missing, f'{missing}: No such file or directory')
        self.case('path through a file', self.unreadable, through, f'{through}: Not a directory')
        self.case('directory', self.unreadable, str(self.directory), f'{self.directory}:1: Is a directory')
        self.case('read error', self.unreadable, '/proc/self/mem', '/proc/self/mem:1: Input/output error')
        self.case('read error in mid-file', self.read_error)
        self.case('nowhere to write', self.full)
        for arguments in ([], ['--rows'], ['--rows', '0'], ['--rows', '-1'], ['--rows', '1x'], ['--rows', '9' * 30],
                          ['--rows', '1', 'x'], ['--progress', '1'], ['--progress', '0', 'x'], ['--what', 'x'], ['x', 'y']):
            self.case(f'wrong usage {arguments}', self.usage, arguments)

    def unreadable(self, path, problem):
        expect_equal(self.run(path), (1, table([]), f'pipeline: {problem}\n' + ended(0)), 'status and output')

    def read_error(self):
        source, library = self.directory / 'failing.cpp', str(self.directory / 'failing.so')
        source.write_text(FAILING_READ)
        subprocess.run([os.environ.get('CXX', 'g++').split()[-1], '-shared', '-fPIC', '-o', library, source, '-ldl'],
                       check=True, timeout=TIMEOUT)
        asan = os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'
        line = 'key,1\n' * 30_000  # two reads are 21845 lines and two bytes
        path = self.file('key,value\n' + line)
        done = self.run(path, env=dict(os.environ, LD_PRELOAD=library, ASAN_OPTIONS=asan))
        rows = (2 * 65536 - len('key,value\n')) // len('key,1\n')
        expect_equal(done, (1, table(['key,1'] * rows), f'pipeline: {path}:{rows + 2}: Input/output error\n' + ended(rows)),
                     'status and output')

    def full(self):
        with open('/dev/full', 'wb') as full:
            done = subprocess.run([self.program, '--rows', '1'], stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT)
        expect_equal((done.returncode, done.stderr), (1, b'pipeline: standard output: No space left on device\n'), 'output')

    def usage(self, arguments):
        status, output, errors = self.run(*arguments)
        expect_equal((status, output, errors[:16]), (2, '', 'usage: pipeline '), 'status and output')

    # -- pipes, and Ctrl-C

    def pipes(self):
        self.case('a pipe that is fed in pieces', self.pieces)
        self.case('Ctrl-C while rows are made up', self.interrupt_made_up)
        self.case('Ctrl-C while an endless pipe is read', self.interrupt_endless)
        self.case('Ctrl-C while a pipe has no more data', self.interrupt_waiting, b'key,value\n' + b'a,2\n' * 10 + b'a,3', 10)
        self.case('Ctrl-C while a pipe has no data yet', self.interrupt_waiting, b'', 0)
        self.case('Ctrl-C while a pipe has no writer yet', self.interrupt_unwritten)
        self.case('Ctrl-C in a line without end', self.interrupt_line)
        self.case('a second Ctrl-C', self.interrupt_twice)

    def pipe(self):
        path = self.directory / 'pipe'
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        return str(path)

    def feed(self, path, pieces):
        """Writes to a pipe, in a thread, until its reader closes it."""
        def write():
            try:
                with open(path, 'wb', buffering=0) as pipe:
                    for piece in pieces:
                        pipe.write(piece)
            except BrokenPipeError:
                pass
        thread = threading.Thread(target=write)
        thread.start()
        return thread

    def pieces(self):
        lines, choice = GOOD_LINES * 300, random.Random(4)
        choice.shuffle(lines)
        content = '\n'.join(['key,value'] + lines).encode()
        cuts = [0, *sorted(choice.choices(range(len(content)), k=5000)), len(content)]
        path = self.pipe()
        feeder = self.feed(path, [content[a:b] for a, b in zip(cuts, cuts[1:])])
        expect_equal(self.run(path), (0, table(lines), ended(len(lines))), 'status and output')
        feeder.join()

    def expect_interrupted(self, done, lines):
        """`lines` are all lines that the program could have read; returns how many it has read."""
        found = re.search(r'(\d+) rows', done[2])
        rows = int(found[1]) if found else 0
        expect_equal(done, (130, table(itertools.islice(lines, rows)), 'pipeline: interrupted\n' + ended(rows)), 'status and output')
        return rows

    def interrupt_made_up(self):
        with Running(self.program, '--progress', '1000', '--rows', '9' * 18) as running:
            running.wait_for_progress()
            self.expect_interrupted(running.interrupt(), (f'k{i % 100},{i * 7919 % 2001 - 1000}' for i in itertools.count()))

    def interrupt_endless(self):
        path = self.pipe()
        with Running(self.program, '--progress', '1000', path) as running:
            feeder = self.feed(path, itertools.chain([b'key,value\n'], (f'{row}\n'.encode() for row in endless_rows())))
            running.wait_for_progress()
            rows = self.expect_interrupted(running.interrupt(), endless_rows())
        feeder.join()
        if rows < 1000:
            raise Failure(f'{rows} rows behind a line of progress that says more')

    def interrupt_waiting(self, content, rows):
        path = self.pipe()
        with Running(self.program, '--progress', '10', path) as running, open(path, 'wb', buffering=0) as pipe:
            if content:
                pipe.write(content)
                running.wait_for_progress()
            expect_equal(self.expect_interrupted(running.interrupt(), itertools.repeat('a,2')), rows, 'rows')

    def interrupt_unwritten(self):
        path = self.pipe()
        with Running(self.program, path) as running:
            running.wait_until_open(path)
            self.expect_interrupted(running.interrupt(), [])

    def interrupt_line(self):
        path, much_read = self.pipe(), threading.Event()

        def pieces():
            yield b'key,value\n'
            for i in itertools.count():
                yield b'x' * 65536
                if i == 100:  # all of it but what fits into the pipe was read
                    much_read.set()
        with Running(self.program, path) as running:
            feeder = self.feed(path, pieces())
            much_read.wait(TIMEOUT)
            expect_equal(self.expect_interrupted(running.interrupt(), []), 0, 'rows')
        feeder.join()

    def interrupt_twice(self):
        """The program cannot end by itself: it blocks on a full pipe at standard error."""
        path, (_, errors) = self.pipe(), full_pipe()
        with Running(self.program, '--progress', '1', path, stderr=errors) as running, open(path, 'wb', buffering=0) as pipe:
            pipe.write(b'key,value\na,1\n')
            while running.process.poll() is None:
                running.process.send_signal(signal.SIGINT)
                try:
                    running.process.wait(0.05)
                except subprocess.TimeoutExpired:
                    pass
            expect_equal(running.process.returncode, -signal.SIGINT, 'status')

    # -- memory

    def memory(self):
        self.case('all stages wait for the last one', self.stalled)
        self.case('memory for a line of 64 MB', self.long_line)

    def stalled(self):
        """The last stage blocks on a full pipe at standard error, so the first must stop reading. Then both continue."""
        rows = 2_000_000
        content = b'key,value\n' + b'key,1\n' * rows
        path, (reader, errors) = self.pipe(), full_pipe()
        with Running(self.program, '--progress', '1', path, stderr=errors) as running:
            os.close(errors)
            with open(path, 'wb', buffering=0) as pipe:
                os.set_blocking(pipe.fileno(), False)
                fed = 0
                while fed < len(content) and select.select([], [pipe], [], 2)[1]:
                    fed += pipe.write(content[fed:fed + 65536]) or 0
                if fed > 4_000_000:
                    raise Failure(f'{fed} bytes were read while nothing could be said of them')
                os.set_blocking(pipe.fileno(), True)
                threading.Thread(target=lambda: shutil.copyfileobj(open(reader, 'rb'), open(os.devnull, 'wb'))).start()
                pipe.write(content[fed:])
            output = running.process.stdout.read().decode()
            expect_equal((running.process.wait(), output), (0, f'key,rows,min,max,sum\nkey,{rows},1,1,{rows}\n'), 'output')

    def long_line(self):
        path = self.directory / 'long.csv'
        sizes = []
        for size in 64_000, 64_000_000:
            path.write_bytes(b'key,value\n' + b'x' * size)
            status, peak = peak_of([self.program, str(path)], TIMEOUT)
            expect_equal(status, 0, 'status')
            sizes.append(peak)
        if sizes[1] - sizes[0] > 16_000_000:
            raise Failure(f'a peak of {sizes[1] / 1e6:.1f} MB, and {sizes[0] / 1e6:.1f} MB for a short one')


def full_pipe():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b'x' * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored, which the program would inherit
    os.environ['TSAN_OPTIONS'] = os.environ.get('TSAN_OPTIONS', '') + ':atexit_sleep_ms=0'  # else 1 s in each run
    with tempfile.TemporaryDirectory() as directory:
        tests = Tests(os.path.abspath(sys.argv[1]), directory)
        tests.files()
        tests.errors()
        tests.pipes()
        tests.memory()
    return tests.finish()


if __name__ == '__main__':
    sys.exit(main())
