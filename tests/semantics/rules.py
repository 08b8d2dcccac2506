#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rules.py TESTS_DIR [--write]

Each rule of the library has a name, such as S-ARITY-4 or L-8, and a section in TESTS_DIR/rules.md: what the rule says, the
headers that implement it, and the files with its tests. A test case has the names of its rules as tags, and a model in
TESTS_DIR/model names them in its comments. This program prints the number of test cases of each rule. A case that runs for
several types counts once.

A rule fails if it has no text, no test case, or no header, if one of its headers does not exist, or if the line `Tests` of
its section is out of date; --write writes these lines anew. A name that is not that of a rule, in a test or on the page,
fails as well. Ends with `cases: N passed, N failed`: one case for each rule, and one for the unknown names.
"""

import collections
import pathlib
import re
import sys

# The number of rules of each kind.
RULES = {
    'S-ARITY': 9,     # how many values a task returns
    'S-ERR': 10,      # exceptions
    'S-MEM': 8,       # lifetime and memory
    'S-STREAM': 9,
    'S-CANCEL': 10,
    'S-RETRY': 7,
    'S-WAIT': 8,      # dependencies and waiting
    'S-ACTOR': 5,
    'S-AWAIT': 4,     # co_await, promises, budgets
    'S-STOP': 5,      # the end of a pool
    'S-DETAIL': 12,   # further details
    'L': 30,          # orders of events
}

CASE = re.compile(r'^(?:TEST_CASE|TEMPLATE_TEST_CASE|TEMPLATE_LIST_TEST_CASE|TEST_CASE_METHOD)\(\s*((?:"(?:[^"\\]|\\.)*"[\s,]*)+)',
                  re.MULTILINE)
TAG = re.compile(r'\[((?:S-[A-Z]+|L)-\d+)\]')
SECTION = re.compile(r'^### (.+)\n((?:(?!##).*\n)*)', re.MULTILINE)
HEADERS = re.compile(r'^Headers: (.*)$', re.MULTILINE)
TESTS = re.compile(r'^Tests:.*$', re.MULTILINE)


def tags_in(tests):
    """For each name of a rule: how many test cases of each file have it as a tag, 0 for a model."""
    found = collections.defaultdict(collections.Counter)
    for path in sorted(tests.rglob('*.cpp')):
        text, file = path.read_text(encoding='utf-8'), path.relative_to(tests).as_posix()
        if file.startswith('model/'):
            for rule in TAG.findall(text):
                found[rule][file] += 0
        for case in CASE.finditer(text):
            for rule in set(TAG.findall(case.group(1))):
                found[rule][file] += 1
    return found


def tests_line(files):
    return 'Tests: ' + ', '.join(f'`{file}` ({n})' if n else f'`{file}`' for file, n in sorted(files.items()))


def problems_of(section, files, include):
    """What is wrong with a rule whose section on the page has this text."""
    text = HEADERS.split(TESTS.sub('', section))[0].strip()
    headers = [name for line in HEADERS.findall(section) for name in re.findall('`(.+?)`', line)]
    if not text:
        yield 'rules.md has no text for it'
    if not sum(files.values()):
        yield 'it has no test case'
    if text and not headers:
        yield 'rules.md names no header'
    for name in headers:
        if not (include / name).is_file():
            yield f'rules.md names {name}, which does not exist'
    if text and TESTS.findall(section) != [tests_line(files)]:
        yield 'its tests in rules.md are out of date: call this program with --write'


def main():
    tests = pathlib.Path(sys.argv[1])
    page = tests / 'rules.md'
    found = tags_in(tests)
    if '--write' in sys.argv[2:]:
        text = page.read_text(encoding='utf-8')
        page.write_text(SECTION.sub(lambda s: TESTS.sub(lambda _: tests_line(found[s[1]]), s[0]), text), encoding='utf-8')
    sections = dict(SECTION.findall(page.read_text(encoding='utf-8')))

    rules = [f'{kind}-{i}' for kind, count in RULES.items() for i in range(1, count + 1)]
    failed = 0
    for rule in rules:
        problems = list(problems_of(sections.get(rule, ''), found[rule], tests.parent / 'include' / 'dyngen'))
        failed += bool(problems)
        print(f'{rule:<12}{sum(found[rule].values())}{"".join("   " + problem for problem in problems)}')
    unknown = [f'{", ".join(found[name])}: there is no rule {name}' for name in sorted(found.keys() - set(rules))]
    unknown += [f'rules.md: there is no rule {name}' for name in sorted(sections.keys() - set(rules))]
    print('\n'.join(unknown))
    failed += bool(unknown)
    print(f'cases: {len(rules) + 1 - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
