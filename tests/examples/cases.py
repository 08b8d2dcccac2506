# SPDX-License-Identifier: MIT
"""What the scripts that test one example each share: their cases, counted, and the line `cases: N passed, N failed`."""

import os
import subprocess

TIMEOUT = 300  # seconds, for one run of a program


class Failure(Exception):
    pass


def expect(condition, message):
    if not condition:
        raise Failure(message)


def expect_equal(actual, expected, what):
    at = len(os.path.commonprefix([str(actual), str(expected)]))
    shown = [str(text)[max(0, at - 200):at + 400] for text in (actual, expected)]
    expect(actual == expected, f'{what}: ...{shown[0]!r}... in place of ...{shown[1]!r}...')


def words_by_wc(path):
    environment = dict(os.environ, LC_ALL='C')
    done = subprocess.run(['wc', '-w', path], stdout=subprocess.PIPE, check=True, env=environment, timeout=TIMEOUT)
    return int(done.stdout.split()[0])


class Cases:
    def __init__(self):
        self.passed = self.failed = 0

    def case(self, name, test, *arguments):
        try:
            test(*arguments)
            self.passed += 1
        except (Failure, subprocess.SubprocessError, OSError) as error:
            self.failed += 1
            print(f'FAILED {name}: {error}', flush=True)

    def finish(self):
        """The exit status."""
        print(f'cases: {self.passed} passed, {self.failed} failed')
        return 1 if self.failed else 0
