#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""layers.py INCLUDE_DIR CONTRIBUTING.md

Each folder of dyngen/detail/ is a room, and the table below says which other rooms its headers may include. A public
header may include any. A room includes no public header except those in EVERYWHERE, which include at most BY_ALL. The
table of rooms in CONTRIBUTING.md must say the same, and name the headers of each room.

Ends with `cases: N passed, N failed`, one for each header and one for each room; the exit status is 0 if there is one and none failed.
"""

import pathlib
import re
import sys

MAY_INCLUDE = {
    'base': '',
    'value': 'base',
    'task': 'base value',
    'coroutine': 'base value task',
    'results': 'base value task coroutine',
    'pool': 'base value task',
    'actor': 'base value task',
    'submit': 'base value task coroutine results actor',
    'await': 'base value task coroutine results pool submit',
    'inspect': 'base value task pool',
}
BY_ALL = ['version.hpp', 'detail/base/compiler.hpp']
EVERYWHERE = {'error.hpp', 'stats.hpp', 'shutdown_mode.hpp', 'version.hpp'}


def fault(header, include):
    """Why `header` may not include `include`, both relative to dyngen/; None if it may."""
    room = re.match(r'detail/(\w+)/', header)
    target = re.match(r'detail/(\w+)/', include)
    if header in EVERYWHERE:
        return None if include in BY_ALL else f'it may include nothing of dyngen but {", ".join(BY_ALL)}'
    if room is None:
        return None
    if target is None:
        return None if include in EVERYWHERE else 'that is a public header'
    if target[1] != room[1] and target[1] not in MAY_INCLUDE[room[1]].split():
        return f'a header of {room[1]} may include {MAY_INCLUDE[room[1]] or "nothing"}'
    return None


def row_of(room, root):
    """The start and the end of the row that the table must have."""
    headers = ', '.join(f'`{path.stem}`' for path in sorted((root / 'detail' / room).glob('*.hpp')))
    return f'| `{room}/` | ', f' | {", ".join(MAY_INCLUDE[room].split()) or "–"} | {headers} |'


def main():
    root = pathlib.Path(sys.argv[1]) / 'dyngen'
    passed = failed = 0
    for path in sorted(root.rglob('*.hpp')):
        header = path.relative_to(root).as_posix()
        folders = header.split('/')[:-1]
        faults = []
        if folders and (len(folders) != 2 or folders[0] != 'detail' or folders[1] not in MAY_INCLUDE):
            faults.append(f'stands in no room; there are: {", ".join(MAY_INCLUDE)}')
        else:
            for include in re.findall(r'^#\s*include <dyngen/([\w/.]+)>', path.read_text(encoding='utf-8'), re.MULTILINE):
                why = fault(header, include)
                if why:
                    faults.append(f'includes {include}: {why}')
        print('FAILED' if faults else 'ok    ', header, *faults, sep='  ')
        passed, failed = passed + (not faults), failed + bool(faults)
    rows = pathlib.Path(sys.argv[2]).read_text(encoding='utf-8').splitlines()
    for room in MAY_INCLUDE:
        start, end = row_of(room, root)
        good = any(row.startswith(start) and row.endswith(end) for row in rows)
        print('ok      ' if good else 'FAILED  ', f'the row of {room}' + ('' if good else f' must be: {start}…{end}'))
        passed, failed = passed + good, failed + (not good)
    print(f'cases: {passed} passed, {failed} failed')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
