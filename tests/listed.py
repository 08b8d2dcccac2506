#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""listed.py TESTS_DIR SOURCE...

A test file that meson.build does not list would never run, without a failure: every .cpp file in the folders of
TESTS_DIR below must be among the SOURCEs. One case: ends with `cases: 1 passed, 0 failed` or the other way round.
"""

import pathlib
import sys

FOLDERS = ['unit', 'semantics', 'concurrency', 'faults', 'fuzz', 'liveness', 'compile_fail', 'examples']


def main():
    tests = pathlib.Path(sys.argv[1])
    listed = {(tests / source).resolve() for source in sys.argv[2:]}
    found = [path for folder in FOLDERS for path in sorted((tests / folder).glob('*.cpp'))]
    missing = [path for path in found if path.resolve() not in listed]
    for path in missing:
        print(f'tests/meson.build does not list {path.relative_to(tests)}')
    print('cases: 0 passed, 1 failed' if missing else 'cases: 1 passed, 0 failed')
    return 1 if missing else 0


if __name__ == '__main__':
    sys.exit(main())
