#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check.py DOXYGEN DOXYFILE INCLUDE_DIR

Every public name has a comment, and Doxygen understands it: one case for each name. Ends with
`cases: N passed, M failed`. So that nothing is missed because the filter has lost it, every function object of the headers
must be among the names.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

sys.dont_write_bytecode = True
import filter as header_filter  # noqa: E402: the one beside this file


def names_in(directory):
    """Each name, and whether it has a comment. Doxygen reports names without one, but not enumerators."""
    for path in sorted(directory.glob('*.xml')):
        for node in xml.parse(path).getroot().iter():
            if node.tag in ('compounddef', 'memberdef', 'enumvalue') and node.get('kind') not in ('file', 'dir', 'page'):
                name = node.find('compoundname' if node.tag == 'compounddef' else 'name').text
                comments = [node.find('briefdescription'), node.find('detaileddescription')]
                yield node.tag, name, any(''.join(comment.itertext()).strip() for comment in comments)


def function_objects(include_dir):
    for path in sorted(include_dir.glob('dyngen/**/*.hpp')):
        yield from (name for _, name in header_filter.OBJECT.findall(path.read_text(encoding='utf-8')))


def main():
    doxygen, doxyfile, include_dir = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    with tempfile.TemporaryDirectory() as directory:
        settings = doxyfile.read_text(encoding='utf-8')
        settings += f'\nOUTPUT_DIRECTORY = "{directory}"\nGENERATE_HTML = NO\nGENERATE_XML = YES\n'
        done = subprocess.run([doxygen, '-'], input=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
                              encoding='utf-8', errors='replace')
        found = list(names_in(pathlib.Path(directory, 'xml')))
    names = [name for _, name, commented in found if commented]
    problems = sorted(set(done.stdout.splitlines()))
    problems += [f'{name} is not documented' for tag, name, commented in found if tag == 'enumvalue' and not commented]
    problems += [f'{name} is not in the reference' for name in function_objects(include_dir) if name not in names]
    if done.returncode != 0 and not problems:
        problems = [f'{doxygen} ended with status {done.returncode}']
    print('\n'.join(problems))
    print(f'cases: {len(names)} passed, {len(problems)} failed')
    return 1 if problems or not names else 0


if __name__ == '__main__':
    sys.exit(main())
