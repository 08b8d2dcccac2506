#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""count.py WORK STAGE...

Adds up the `cases: N passed, N failed` lines of the stages and ends with `N passed, N failed`.

Of a stage that ran `meson test`, the lines are those in meson's own logs, test by test; of another, those in its output.
No failure may be lost on the way, so these count as one failed case each:

  - a test whose result is not OK but none of whose cases failed (a crash, a timeout, a sanitizer's report, a skip);
  - a test that is OK but ran no case;
  - a stage that failed without a failed case, or succeeded without any case, or never ran.

Before the sums, what failed tests of meson's printed is printed once more, cut in its middle where it is long: whoever
sees only the end of the output sees the reasons.
"""

import json
import pathlib
import re
import sys

SHOWN = 60  # lines of what a failed test printed, from each end

CASES = re.compile(r'^cases: (\d+) passed, (\d+) failed\s*$', re.MULTILINE)


def count(text):
    found = [(int(passed), int(failed)) for passed, failed in CASES.findall(text)]
    return sum(passed for passed, _ in found), sum(failed for _, failed in found)


def count_test(result):
    passed, failed = count(result.get('stdout') or '')
    if failed == 0 and result['result'] != 'OK':
        return passed, 1, f'{result["name"]}: {result["result"]}, though no case failed'
    if passed + failed == 0:
        return 0, 1, f'{result["name"]}: ran no case'
    return passed, failed, None


def shorten(text):
    lines = text.splitlines()
    left_out = len(lines) - 2 * SHOWN
    if left_out <= 0:
        return lines
    return lines[:SHOWN] + [f'... {left_out} lines ...'] + lines[-SHOWN:]


def show(stage, result):
    print(f'\n======== {stage}: {result["name"]}: {result["result"]}')
    for stream in 'stdout', 'stderr':
        for line in shorten(result.get(stream) or ''):
            print(line)


def count_stage(work, stage):
    notes = []
    status_file = work / 'results' / f'{stage}.status'
    if not status_file.exists():
        return 0, 1, ['never ran']
    status = int(status_file.read_text())
    if stage == 'install':
        return (0, 0, []) if status == 0 else (0, 1, ['failed'])

    folder = work / 'source' if stage == 'readme' else work / stage
    logs = sorted(folder.glob('**/meson-logs/testlog*.json'))
    passed = failed = 0
    if logs:
        for line in (line for log in logs for line in log.read_text(encoding='utf-8', errors='replace').splitlines()):
            result = json.loads(line)
            more_passed, more_failed, note = count_test(result)
            if more_failed:
                show(stage, result)
            passed, failed = passed + more_passed, failed + more_failed
            notes += [note] if note else []
    else:
        passed, failed = count((work / 'results' / f'{stage}.log').read_text(encoding='utf-8', errors='replace'))
    if failed == 0 and status != 0:
        failed = 1
        notes.append(f'failed with status {status}, though no case failed')
    if passed + failed == 0:
        failed = 1
        notes.append('ran no case')
    return passed, failed, notes


def main():
    work = pathlib.Path(sys.argv[1])
    passed = failed = 0
    counted = [(stage, *count_stage(work, stage)) for stage in sys.argv[2:]]
    print('\n======== summary')
    for stage, stage_passed, stage_failed, notes in counted:
        passed, failed = passed + stage_passed, failed + stage_failed
        print(f'{stage:12} {stage_passed:6} passed {stage_failed:6} failed')
        for note in notes:
            print(f'{"":12} {note}')
    print(f'{passed} passed, {failed} failed')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
