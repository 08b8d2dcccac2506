#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breaks the library on purpose, in many small ways, and sees whether the models notice.

    tests/model/mutants.py [--only FILE[:LINE]] [--jobs N] [--build DIR] [--iterations N]

Two kinds of mutants. Weakened: every memory order in the headers that is stronger than relaxed is made weaker, one at a
time; nothing is built for that, the models' atomics do it while they run. Removed: each entry of mutations.txt (a
wake-up, a claim, a look that is made once more), by a switch compiled into a copy of the headers. A mutant is killed when
a model that executes its place fails, crashes or does not end; a removal also, when one of the ordinary test programs
does, which see what comes late where a model sees only what is lost. Those that survive are listed, and must be explained
in survivors.txt; the exit status is 1 if one is not, or if an explanation there fits nothing any more.

Takes about an hour on two cores. Needs g++, meson, Catch2 and Relacy.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INCLUDE = ROOT / 'include'
FLAGS = ['-std=c++20', '-O2', '-w', '-fno-sized-deallocation', '-fno-lifetime-dse']
QUICK = 3000  # schedules in the first look at a mutant, which kills most of them
TESTS = ('unit', 'semantics', 'faults', 'concurrency')  # programs, the quick ones first

# Headers whose stand-ins in shadow/ leave none of their operations to the models.
REPLACED = tuple(f'dyngen/detail/base/{name}.hpp' for name in ('atomic', 'asymmetric_fence', 'park', 'spin'))

ORDERS = ('relaxed', 'acquire', 'release', 'acq_rel', 'seq_cst')
# The weaker orders to try for an operation, in turn while the mutant survives. If one is killed, so are all weaker
# ones.
WEAKER = {
    'load': {'seq_cst': ['acquire'], 'acquire': ['relaxed']},
    'store': {'seq_cst': ['release'], 'release': ['relaxed']},
    'change': {'seq_cst': ['acq_rel'], 'acq_rel': ['acquire', 'release'], 'acquire': ['relaxed'], 'release': ['relaxed']},
}
OPERATIONS = {'load': 'load', 'store': 'store'}
for name in ('exchange', 'fetch_add', 'fetch_sub', 'fetch_and', 'fetch_or', 'compare_exchange_weak', 'compare_exchange_strong'):
    OPERATIONS[name] = 'change'


def blank_comments(text):
    """The same text with spaces for comments and strings, so that positions stay."""
    blank = lambda match: re.sub(r'[^\n]', ' ', match.group())
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.DOTALL)


class Site:
    """An order written in a header: the operation's parenthesis is what the models call its place."""

    def __init__(self, file, text, line, column, operation, order, failure):
        self.file, self.text, self.line, self.column = file, text, line, column
        self.operation, self.order, self.failure = operation, order, failure
        self.place = f'{file}:{line}:{column}'

    def arguments(self, order):
        return ['--weaken', self.place + (':' if self.failure else '') + ':' + order]


def sites_in(file, text):
    """The orders in a copy with switches. The text of a line is that of the original."""
    code = blank_comments(text)
    lines = (INCLUDE / file).read_text().splitlines()
    for call in re.finditer(r'\bstore_light(?:_as<\w+>)?\(', code):  # seq_cst, or release and a fence on the other side
        line, at = code.count('\n', 0, call.start()), call.end() - 1
        yield Site(file, lines[line].strip(), line + 1, at - code.rfind('\n', 0, at), 'store', 'seq_cst', False)
    for token in re.finditer(r'\b(?:acquire|release|acq_rel|seq_cst)\b(?!\s*\()', code):
        depth, at = 0, token.start()
        while depth >= 0:
            at -= 1
            depth += {')': 1, '(': -1}.get(code[at], 0)
        name = re.search(r'(\w+)\s*$', code[:at])
        if name is None or name.group(1) not in OPERATIONS:
            if 'inline constexpr' not in lines[code.count('\n', 0, at)]:
                sys.exit(f'{file}: an order that belongs to no operation: {lines[code.count(chr(10), 0, at)].strip()}')
            continue
        line = code.count('\n', 0, at) + 1
        column = at - code.rfind('\n', 0, at)
        earlier = re.search(r'\b(?:relaxed|acquire|release|acq_rel|seq_cst)\b', code[at:token.start()])
        kind = 'load' if earlier else OPERATIONS[name.group(1)]
        shown = lines[code.count('\n', 0, token.start())].strip()
        yield Site(file, shown, line, column, kind, token.group(), earlier is not None)


Removal = collections.namedtuple('Removal', 'number file name line')


def copy_with_switches(to):
    """Copies the headers, with the switches of all entries of mutations.txt. Returns the entries that fit, and the
    errors of the others."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(INCLUDE, to)
    found, unfit = [], []
    for entry in re.findall(r'(?:^== .*\n)+(?:^[-+] .*\n)+', (HERE / 'mutations.txt').read_text(), flags=re.MULTILINE):
        lines = entry.splitlines()
        heads = [line[3:].split(': ', 1) for line in lines if line.startswith('== ')]
        old, new = ('\n'.join(line[2:] for line in lines if line.startswith(sign + ' ')) for sign in '-+')
        where = f'mutations.txt: "{heads[-1][1]}"'
        header = to / 'dyngen' / heads[0][0]
        text = header.read_text()
        if text.count(old) != 1 or old.count('\n') != new.count('\n'):
            unfit.append(f'{where}: in {heads[0][0]} its text is found {text.count(old)} times, or its new text has other lines')
            continue
        for i, (file, name) in enumerate(heads):
            switch = f'MUTANT{i + 1}' if len(heads) > 1 else 'MUTANT'
            if not re.search(rf'\b{switch}\b', new):
                unfit.append(f'{where}: there is no {switch}')
            found.append(Removal(len(found) + 1, f'dyngen/{file}', name, text[:text.index(old)].count('\n') + 1))
            new = re.sub(rf'\b{switch}\b', f'::dyngen_mutant({len(found)})', new)
        header.write_text(text.replace(old, new))
    (to / 'mutant.hpp').write_text(
        '#pragma once\n#include <cstdlib>\n'
        'inline const int dyngen_mutant_chosen = std::getenv("DYNGEN_MUTANT") ? std::atoi(std::getenv("DYNGEN_MUTANT")) : 0;\n'
        'inline bool dyngen_mutant(int number) { return number == dyngen_mutant_chosen; }\n')
    return found, unfit


class Model:
    def __init__(self, source, build):
        self.name = source.stem.removeprefix('model_')
        self.source = source
        self.program = build / self.name
        self.cases_at = collections.defaultdict(set)  # place -> numbers of cases
        self.seconds = 0.0

    def compile(self, include):
        """Compiles the model, unless a program from the same sources exists already."""
        depends = pathlib.Path(f'{self.program}.d')
        stamp = pathlib.Path(f'{self.program}.stamp')
        if not (stamp.exists() and stamp.read_text() == self.digest(depends)):
            command = ['g++', *FLAGS, f'-I{HERE}', f'-I{HERE / "shadow"}', f'-I{include}', '-include',
                       str(include / 'mutant.hpp'), f'-DOBSERVER_UNDER_TEST="{include}/dyngen/detail/task/inspector.hpp"',
                       str(self.source), '-MMD', '-MF', str(depends), '-o', str(self.program)]
            subprocess.run(command, check=True)
            stamp.write_text(self.digest(depends))
        self.headers = {word.split(f'{include}/')[1] for word in depends.read_text().split() if f'{include}/' in word}

    @staticmethod
    def digest(depends):
        files = [word for word in depends.read_text().split() if word not in ('\\', ) and not word.endswith(':')]
        digest = hashlib.sha256()
        for file in files:
            path = pathlib.Path(file)
            digest.update(path.read_bytes() if path.exists() else b'gone')
        return digest.hexdigest()

    def survey(self, include, iterations):
        """Runs the unchanged model, and records which cases execute which place."""
        began = time.monotonic()
        result = subprocess.run([self.program, '--places', '--iterations', str(iterations)], capture_output=True, text=True)
        self.seconds = time.monotonic() - began
        if result.returncode != 0:
            sys.exit(f'model_{self.name} fails without any mutation:\n' + result.stdout[-3000:])
        for number, path, at in re.findall(r'^place (\d+) (\S+?):(\d+:\d+)$', result.stdout, flags=re.MULTILINE):
            if path.startswith(f'{include}/'):
                self.cases_at[f'{path.removeprefix(f"{include}/")}:{at}'].add(int(number))

    def survives(self, arguments, environment, limit):
        command = [self.program, '--first-failure', *arguments]
        try:
            result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=limit,
                                    env={**os.environ, **environment})
        except subprocess.TimeoutExpired:
            return False
        return result.returncode == 0


class Tests:
    """The ordinary test programs, built with the copy of the headers."""

    def __init__(self, build, include):
        self.build, self.include, self.source = build / 'tests', include, build / 'project'
        self.seconds = {}

    def compile(self):
        shutil.rmtree(self.source, ignore_errors=True)
        self.source.mkdir()
        for name in ('meson.build', 'meson_options.txt', 'README.md', 'tests', 'benchmarks'):
            (self.source / name).symlink_to(ROOT / name)
        (self.source / 'include').symlink_to(self.include)
        again = ['--reconfigure'] if self.build.exists() else []
        commands = [['meson', 'setup', self.build, self.source, *again, '-Dtests=enabled', '-Dthorough=enabled', '-Dbenchmarks=disabled',
                     '-Dwerror=false', '-Ddebug=false', '-Doptimization=0', f'-Dcpp_args=-w -include {self.include}/mutant.hpp'],
                    ['meson', 'compile', '-C', self.build, *(f'test_{name}' for name in TESTS)]]
        for command in commands:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def run(self, name, environment, limit):
        began = time.monotonic()
        try:
            result = subprocess.run([self.build / 'tests' / f'test_{name}', '--abort'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    env={**os.environ, **environment}, timeout=limit)
        except subprocess.TimeoutExpired:
            return 'no end', ''
        self.seconds.setdefault(name, time.monotonic() - began)
        return result.returncode, result.stdout.decode(errors='replace')

    def survey(self):
        for name in TESTS:
            status, output = self.run(name, {}, 1000)
            if status != 0:
                sys.exit(f'test_{name} fails without any mutation ({status}):\n{output[-3000:]}')

    def killer(self, environment):
        for name in TESTS:
            status, _ = self.run(name, environment, 60 + 10 * self.seconds[name])
            if status != 0:
                return f'test_{name}'
        return None


class Hunt:
    def __init__(self, options, build):
        self.options = options
        self.build = build
        self.include = build / 'include'
        self.killed, self.survivors = [], []
        self.done = 0

    def prepare(self):
        self.entries, self.unfit = copy_with_switches(self.include)
        print('\n'.join(self.unfit), flush=True)
        self.models = [Model(source, self.build) for source in sorted(HERE.glob('model_*.cpp'))]
        self.sites = []
        for header in sorted(self.include.rglob('*.hpp')):
            name = str(header.relative_to(self.include))
            if name not in REPLACED and name != 'mutant.hpp':
                self.sites += sites_in(name, header.read_text())
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            print(f'building {len(self.models)} models', flush=True)
            list(pool.map(lambda model: model.compile(self.include), self.models))
            print('running them as they are', flush=True)
            list(pool.map(lambda model: model.survey(self.include, self.options.iterations), self.models))
        self.tests = Tests(self.build, self.include)
        print('building the tests', flush=True)
        self.tests.compile()
        print('running them as they are', flush=True)
        self.tests.survey()

    def wanted(self, file, line):
        if self.options.only is None:
            return True
        name, _, at = self.options.only.partition(':')
        return ('dyngen/' + file).endswith('/' + name) and (not at or line is None or line == int(at))

    def survives_all(self, models, arguments, environment):
        """`models`: each with the cases to run, or None for all cases."""
        for iterations, more in ((QUICK, ['--random-only']), (self.options.iterations, [])):
            for model, cases in models:
                chosen = ['--cases', ','.join(map(str, sorted(cases)))] if cases is not None else []
                run = [*arguments, *chosen, *more, '--iterations', str(min(iterations, self.options.iterations))]
                if not model.survives(run, environment, 120 + 10 * model.seconds):
                    return model.name
        return None

    def note(self, what, killer, looked_at=True):
        (self.survivors if killer is None else self.killed).append(what)
        self.done += 1
        print(f'{self.done:4} {"SURVIVES" if killer is None else "killed  "} {what[0]}: {what[1]}' +
              (f'  [{killer}]' if killer else '' if looked_at else '  [no model executes it]'), flush=True)

    def weaken(self, site):
        models = [(model, model.cases_at[site.place]) for model in self.models if model.cases_at.get(site.place)]
        models.sort(key=lambda each: -len(each[1]) / len(each[0].cases_at))
        tries = list(WEAKER[site.operation].get(site.order, []))
        for order in tries:
            what = (f'{site.file}:{site.line}', f'{site.text}  {"on failure " if site.failure else ""}{site.order} -> {order}',
                    site, order)
            killer = self.survives_all(models, site.arguments(order), {}) if models else None
            self.note(what, killer, bool(models))
            if killer is None:
                tries += [each for each in WEAKER[site.operation].get(order, []) if each not in tries]

    def remove(self, entry):
        models = [(model, None) for model in self.models if entry.file in model.headers]
        models.sort(key=lambda each: -sum(place.startswith(entry.file + ':') for place in each[0].cases_at) / len(each[0].cases_at))
        environment = {'DYNGEN_MUTANT': str(entry.number)}
        killer = self.survives_all(models, [], environment) or self.tests.killer(environment)
        self.note((f'{entry.file}:{entry.line}', entry.name, entry, None), killer)

    def run(self):
        sites = [site for site in self.sites if self.wanted(site.file, site.line) and not self.options.removals]
        entries = [entry for entry in self.entries if self.wanted(entry.file, None)]
        print(f'{len(sites)} orders, {len(entries)} removals', flush=True)
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            jobs = [pool.submit(self.weaken, site) for site in sites] + [pool.submit(self.remove, entry) for entry in entries]
            for job in concurrent.futures.as_completed(jobs):
                job.result()


def explanations():
    """survivors.txt: `FILE: text of the line -> ORDER`, `-> weaker` for any order, or `FILE: name of the removal`; the
    indented lines below one or several of them give the reason."""
    found, heads = [], []  # of those without a reason so far
    for line in (HERE / 'survivors.txt').read_text().splitlines():
        if not line.startswith((' ', '#')) and line:
            heads.append(line)
        elif line.strip() and heads:
            found += [(*head.split(': ', 1), head) for head in heads]
            heads = []
    if heads:
        sys.exit(f'survivors.txt: no reason is given for: {heads[-1]}')
    return found


def explains(explanation, what):
    file, text, _ = explanation
    if not what[0].startswith(f'dyngen/{file}:'):
        return False
    if what[3] is None:
        return text == what[1]
    pattern, _, order = text.rpartition(' -> ')
    return order in (what[3], 'weaker') and pattern in what[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', metavar='FILE[:LINE]', help='only the mutants in this header, as detail/value/slot.hpp')
    parser.add_argument('--jobs', type=int, default=os.cpu_count())
    parser.add_argument('--build', type=pathlib.Path, help='where to build; kept, and used again the next time')
    parser.add_argument('--iterations', type=int, default=100000, help='random schedules for each case of a model')
    parser.add_argument('--removals', action='store_true', help='no memory orders')
    options = parser.parse_args()

    began = time.monotonic()
    build = (options.build or pathlib.Path(tempfile.mkdtemp(prefix='mutants-'))).resolve()
    build.mkdir(parents=True, exist_ok=True)
    hunt = Hunt(options, build)
    try:
        hunt.prepare()
        hunt.run()
    finally:
        if options.build is None:
            shutil.rmtree(build)

    known = explanations()
    unknown = [what for what in hunt.survivors if not any(explains(each, what) for each in known)]
    everything = hunt.killed + hunt.survivors
    stale = [] if options.only or options.removals else [each[2] for each in known if not any(explains(each, what) for what in hunt.survivors)]
    print(f'\n{len(everything)} mutants in {time.monotonic() - began:.0f} s: {len(hunt.killed)} killed, {len(hunt.survivors)} '
          f'survived, {len(hunt.survivors) - len(unknown)} of them explained in survivors.txt\n')
    table = collections.defaultdict(lambda: [0, 0])
    for what in everything:
        table[what[0].split(':')[0]][what in hunt.survivors] += 1
    for file, (killed, survived) in sorted(table.items()):
        print(f'{file:40} {killed:4} killed {survived:4} survived')
    for what in sorted(unknown, key=lambda each: each[0]):
        print(f'not explained: {what[0]}: {what[1]}')
    for head in stale:
        print(f'survivors.txt explains what does not survive: {head}')
    for problem in hunt.unfit:
        print(problem)
    return 1 if unknown or stale or hunt.unfit else 0


if __name__ == '__main__':
    sys.exit(main())
