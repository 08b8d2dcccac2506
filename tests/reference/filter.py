#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""filter.py HEADER

Prints a header as its users see it, line by line in the same places, for Doxygen:

  - what is private or protected is left out;
  - so is namespace detail, but the classes below, whose members users call, stand in namespace dyngen;
  - a function object is shown as what it is called like: the operator() of `struct wait_function` as `wait`;
  - what copies, moves, swaps and compares has a comment, unless the header gives it a better one.
"""

import pathlib
import re
import sys

SHOWN = ['ref_base', 'promise_base', 'bound_options', 'actor_options']

OBJECT = re.compile(r'inline constexpr detail::(\w+)_function (\w+)\{\};')
FACE = re.compile(rf'(?:struct (\w+)_function|class (?:{"|".join(SHOWN)})) \{{')

USUAL = [(re.compile(pattern), comment) for pattern, comment in [
    (r'(\w+)\(const \1& \w+\)', 'Copies.'),
    (r'(\w+)\(\1&&( \w+)?\) noexcept', 'Moves.'),
    (r'(\w+)& operator=\((const )?\1&{0,2}( \w+)?\) ', 'Assigns.'),
    (r'friend void swap\(', 'Exchanges two.'),
    (r'friend \w+ operator(==|<=>)\(const (\w+)&( \w+)?, const \2&', 'Compares.'),
    (r'using (value_type|size_type|difference_type|iterator|const_iterator) = ', 'As of any range.'),
]]


def without_private(lines):
    closing = None
    for line in lines:
        access = re.fullmatch(r'( +)(private|protected):', line)
        if access and closing is None:
            closing = access.group(1)[1:] + '};'
        elif line == closing:
            closing = None
        yield '' if closing else line


def start_of(lines, i):
    """Where the declaration in line i begins, with its comment."""
    while i > 0 and re.match(r'///|template|  requires|inline constexpr', lines[i - 1]):
        i -= 1
    return i


def function_of(lines, name):
    """The members of a function object, as functions called `name`."""
    for line in lines:
        line = re.sub(r'\boperator\(\)', name, line)
        yield re.sub(r'\) const( noexcept)?(?= \{| ->)', r')\1', line)


def without_detail(lines):
    result = [''] * len(lines)
    outside, hidden = True, False
    i = 0
    while i < len(lines):
        line = lines[i]
        if re.fullmatch(r'namespace (dyngen::)?detail \{', line):
            outside, hidden = False, True
            result[i] = 'namespace dyngen {' if '::' in line else ''
        elif hidden and re.fullmatch(r'\}  // namespace (dyngen::)?detail', line):
            outside, hidden = '::' in line, False
            result[i] = '}' if outside else ''
        elif face := hidden and FACE.match(line):
            end = lines.index('};', i)
            if face.group(1):
                result[i + 1:end] = function_of(lines[i + 1:end], face.group(1))
            else:
                start = start_of(lines, i)
                result[start:end + 1] = lines[start:end + 1]
            i = end
        elif OBJECT.match(line):
            start = start_of(lines, i)
            result[start:i] = [''] * (i - start)
        elif re.match(r'namespace dyngen', line):
            outside = False
            result[i] = line
        elif re.match(r'\}  // namespace dyngen', line):
            outside = True
            result[i] = line
        elif not hidden and (not outside or line.startswith('#')):
            result[i] = line
        i += 1
    return [re.sub(rf'\bdetail::({"|".join(SHOWN)})\b', r'\1', line) for line in result]


def with_usual(lines):
    before = ''
    for line in lines:
        declared = line.strip()
        comment = next((comment for pattern, comment in USUAL if pattern.match(declared)), None)
        if comment and not re.match(' *(///|template)', before) and '= delete' not in line:
            line = f'/** {comment} */ {declared}'
        yield line
        before = line


def shown(lines):
    return list(with_usual(without_detail(list(without_private(lines)))))


def main():
    text = re.sub(r'\bDYNGEN_(VISIBLE|NOINLINE|ALWAYS_INLINE) ', '', pathlib.Path(sys.argv[1]).read_text(encoding='utf-8'))
    lines = text.splitlines()
    print('\n'.join(shown(lines)))


if __name__ == '__main__':
    sys.exit(main())
