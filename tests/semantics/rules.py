#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rules.py TESTS_DIR

The rules of the library have names, which its tests carry as tags: S-ARITY-4 for what its users may rely on, L-8 for an
order of events that must not break it. This checks that every rule has a test case, and that no test case names a rule
that there is not; it prints how many there are for each. A case that runs for several types counts once.

Ends with `cases: N passed, N failed`, one for each rule and one for the tags; the exit status is 0 if none failed.
"""

import collections
import pathlib
import re
import sys

# How many rules there are of each kind.
RULES = {
    'S-ARITY': 9,     # how many values a task returns
    'S-ERR': 10,      # what becomes of its exceptions
    'S-MEM': 8,       # lifetime and memory
    'S-STREAM': 9,
    'S-CANCEL': 10,
    'S-RETRY': 7,
    'S-WAIT': 8,      # dependencies and waiting
    'S-ACTOR': 5,
    'S-AWAIT': 4,     # awaiting, promises, budgets
    'S-STOP': 5,      # how a pool ends
    'S-DETAIL': 12,   # settled details
    'L': 30,          # orders of events
}

# The library has no asymmetric fence whose model could be too strong.
EXEMPT = {'L-20'}

CASE = re.compile(r'^(?:TEST_CASE|TEMPLATE_TEST_CASE|TEMPLATE_LIST_TEST_CASE|TEST_CASE_METHOD)\(\s*((?:"(?:[^"\\]|\\.)*"[\s,]*)+)',
                  re.MULTILINE)
TAG = re.compile(r'\[((?:S-[A-Z]+|L)-\d+)\]')


def main():
    tests = pathlib.Path(sys.argv[1])
    rules = [f'{kind}-{i}' for kind, count in RULES.items() for i in range(1, count + 1)]
    cases = collections.Counter()
    unknown = []
    for source in sorted(tests.rglob('*.cpp')):
        text = source.read_text(encoding='utf-8')
        for case in CASE.finditer(text):
            for rule in set(TAG.findall(case.group(1))):
                cases[rule] += 1
                if rule not in rules:
                    unknown.append(f'{source.relative_to(tests)}:{text.count(chr(10), 0, case.start()) + 1}: there is no rule {rule}')

    failed = 0
    for rule in rules:
        exempt = rule in EXEMPT
        wrong = (cases[rule] == 0) != exempt
        failed += wrong
        note = '   NO TEST CASE' if wrong and not exempt else '   has a test: no longer exempt' if wrong else ''
        print(f'{rule:<12}{"exempt" if exempt and not wrong else cases[rule]}{note}')
    print('\n'.join(unknown))
    total = len(rules) + 1
    failed += bool(unknown)
    print(f'cases: {total - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
