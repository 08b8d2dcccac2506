#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check.py [--strict] ROOT COMPILER[,COMPILER...] WAY...

Builds and runs the program in this folder as users of the library do, with every installed COMPILER, in each WAY:

  folder       include/dyngen is copied, and nothing else
  subproject   the tree at ROOT is a subproject of a meson project
  pkgconfig    it is installed, and found by pkgconf
  cmake        it is installed, moved to another place, and found by CMake
  objects      a program, shared objects and plugins contain it, and hand pools and handles to each other
  checkout     no way of use: checks the message where the tests cannot be built, and that all versions agree

Warnings are errors, and whatever reaches the program beside an include path and -pthread is one too. A COMPILER may hold
options. A case for which a program is missing is skipped, with --strict it fails. Ends with `cases: N passed, N failed`;
the exit status is 1 if one failed, 77 if all were skipped.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = ['main.cpp', 'words.cpp']
WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wshadow', '-Wconversion', '-Werror']
PRINTS = 'asmanyasthereare 5 5 as it was\n'
SECONDS = 300


class Failure(Exception):
    pass


class Missing(Exception):
    pass


def expect(good, what):
    if not good:
        raise Failure(what)


def needed(program):
    found = shutil.which(program)
    if found is None:
        raise Missing(f'{program} is not installed')
    return found


def run(*command, status=0, **more):
    """Runs a command that must exit with `status` (None: anything but 0). Returns its output."""
    environment = {**os.environ, 'LC_ALL': 'C', **more.pop('env', {})}
    done = subprocess.run([str(part) for part in command], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=environment, timeout=SECONDS, **more)
    as_expected = done.returncode != 0 if status is None else done.returncode == status
    last = '\n'.join(done.stdout.splitlines()[-30:])
    expect(as_expected, f'{shlex.join(map(str, command))}: exit status {done.returncode}\n{last}')
    return done.stdout


def runs(program):
    printed = run(program)
    expect(printed == PRINTS, f'the program printed {printed!r}, not {PRINTS!r}')


class Checks:
    def __init__(self, root, compilers, work):
        self.root, self.compilers, self.work = root, compilers, work
        self.prefix = None

    def folder(self, name):
        """A new folder, with a space in its name."""
        path = self.work / f'a {name}'
        path.mkdir()
        return path

    def consumer(self, name):
        """A copy of the program and its build files in a new folder."""
        path = self.folder(name)
        for file in SOURCES + ['CMakeLists.txt', 'meson.build']:
            shutil.copy(HERE / file, path)
        return path

    def installed(self):
        if self.prefix is None:
            meson = needed('meson')
            prefix = self.folder('prefix')
            build = self.folder('build of the library')
            run(meson, 'setup', build, self.root, f'--prefix={prefix}', '-Dtests=disabled', '-Dbenchmarks=disabled')
            run(meson, 'install', '-C', build)
            self.prefix = prefix
        return self.prefix

    # -- ways: each gives (name of a case, function, arguments...)

    def ways_folder(self):
        for compiler in self.compilers:
            yield f'{compiler}', self.copied, compiler, []
            yield f'{compiler} -fno-rtti', self.copied, compiler, ['-fno-rtti']
        for compiler in self.compilers:
            yield f'{compiler}: macros', self.macros, compiler
            for flags, sentence in [('-std=c++20 -fno-exceptions', 'exceptions'), ('-std=c++17', 'C++20')]:
                yield f'{compiler} {flags}', self.refused, compiler, flags, sentence

    def ways_subproject(self):
        for compiler in self.compilers:
            yield f'{compiler}', self.meson_subproject, compiler

    def ways_pkgconfig(self):
        yield 'what is said', self.pkgconf_says
        for compiler in self.compilers:
            yield f'{compiler}', self.pkgconf, compiler
        yield 'found by meson', self.meson_installed, self.compilers[0]

    def ways_cmake(self):
        for compiler in self.compilers:
            yield f'{compiler}', self.cmake, compiler
        yield 'versions', self.cmake_versions
        yield 'other folders', self.cmake_other_folders

    def ways_objects(self):
        for compiler in self.compilers:
            yield f'{compiler}', self.objects, compiler

    def ways_checkout(self):
        yield 'versions', self.versions
        yield 'without Catch2', self.without_catch2

    # -- the copied folder

    def copied(self, compiler, flags):
        needed(shlex.split(compiler)[0])
        folder = self.consumer(f'copy for {compiler} {len(flags)}')
        shutil.copytree(self.root / 'include' / 'dyngen', folder / 'dyngen')
        objects = []
        for source in SOURCES:
            objects.append(folder / f'{source}.o')
            run(*shlex.split(compiler), '-std=c++20', '-pthread', *WARNINGS, *flags, '-I', folder, '-c', folder / source,
                '-o', objects[-1])
        run(*shlex.split(compiler), '-pthread', *objects, '-o', folder / 'program')
        runs(folder / 'program')

    def macros(self, compiler):
        """Checks that only the macros of the version are defined, and those of compiler.hpp."""
        needed(shlex.split(compiler)[0])
        source = self.root / 'tests' / 'consumers' / 'main.cpp'
        text = run(*shlex.split(compiler), '-std=c++20', '-E', '-dD', '-I', self.root / 'include', source)
        ours, left = False, set()
        for line in text.splitlines():
            if place := re.match(r'# \d+ "([^"]*)"', line):
                ours = '/include/dyngen/' in place.group(1)
            elif ours and (macro := re.match(r'#(define|undef) (\w+)', line)):
                (left.add if macro.group(1) == 'define' else left.discard)(macro.group(2))
        expected = {f'DYNGEN_VERSION_{part}' for part in ('MAJOR', 'MINOR', 'PATCH')}
        expected |= {f'DYNGEN_{word}' for word in ('NOINLINE', 'ALWAYS_INLINE', 'VISIBLE')}
        expect(left == expected, f'macros that the headers leave: {sorted(left)}, expected {sorted(expected)}')

    # -- several objects of one process

    def objects(self, compiler):
        """In these cases the objects share all, some or none of the library's variables."""
        needed(shlex.split(compiler)[0])
        folder = self.folder(f'objects for {compiler}')
        compiled = [*shlex.split(compiler), '-std=c++20', '-pthread', '-fPIC', *WARNINGS, '-I', self.root / 'include', '-c']
        made = {}
        for name, flags in [('program', []), ('plugins', []), ('library', []), ('hidden library', ['-fvisibility=hidden'])]:
            made[name] = folder / f'{name}.o'
            run(*compiled, *flags, HERE / 'objects' / f'{name.split()[-1]}.cpp', '-o', made[name])
        linked = [*shlex.split(compiler), '-pthread', '-o']
        shared = {}
        for name, source, flags in [('default', 'library', []), ('hidden', 'hidden library', []),
                                    ('symbolic', 'library', ['-Wl,-Bsymbolic'])]:
            shared[name] = folder / f'lib{name}.so'
            run(*linked, shared[name], '-shared', *flags, made[source])
        for name, flags in [('program', []), ('exporting program', ['-rdynamic']), ('plugins', [])]:
            run(*linked, folder / name, made[name.split()[-1]], *flags, '-ldl')
        for name, path in shared.items():
            run(*linked, folder / f'program with {name}', made['program'], '-Wl,--no-as-needed', path, f'-Wl,-rpath,{folder}')
            self.is_well(f'linked with {name}', folder / f'program with {name}')
            self.is_well(f'plugin {name}', folder / 'program', path)
            self.is_well(f'plugin {name} of an exporting program', folder / 'exporting program', path)
            self.is_well(f'two plugins, {name} and hidden', folder / 'plugins', path,
                         shutil.copy(shared['hidden'], folder / f'other-{name}.so'))

    @staticmethod
    def is_well(what, *command):
        try:
            printed = run(*command)
        except (Failure, subprocess.SubprocessError) as reason:
            raise Failure(f'{what}: {reason}') from None
        expect(printed == 'all is well\n', f'{what}: printed {printed!r}')

    def refused(self, compiler, flags, sentence):
        needed(shlex.split(compiler)[0])
        said = run(*shlex.split(compiler), *flags.split(), '-fsyntax-only', '-I', self.root / 'include', HERE / 'main.cpp',
                   status=None)
        first = next((line for line in said.splitlines() if 'error' in line), said)
        expect('dyngen: ' in first and sentence in first, f'the first error does not say what is missing: {first}')

    # -- meson and pkgconf

    def meson_built(self, folder, compiler, environment=None):
        environment = {'CXX': compiler, **(environment or {})}
        meson, build = needed('meson'), folder / 'build'
        said = run(meson, 'setup', build, folder, '-Dcpp_args=-Wshadow -Wconversion', env=environment)
        expect(not re.search(r'catch2|warning|doxygen|mpi\b', said, re.IGNORECASE), 'meson said too much:\n' + said)
        run(meson, 'compile', '-C', build, env=environment)
        runs(build / 'consumer')
        for command in json.loads((build / 'compile_commands.json').read_text()):
            self.nothing_given(shlex.split(command['command']), set(
                WARNINGS) | {'-Winvalid-pch', '-D_FILE_OFFSET_BITS=64', '-D_GLIBCXX_ASSERTIONS=1'})

    @staticmethod
    def nothing_given(flags, own):
        given = [flag for flag in flags if flag[:2] in ('-D', '-U', '-W', '-f') and flag not in own
                 and flag not in ('-fdiagnostics-color=always', '-fcolor-diagnostics')]
        expect(not given, f'flags that the program did not ask for: {given}')

    def meson_subproject(self, compiler):
        needed(shlex.split(compiler)[0])
        folder = self.consumer(f'super project for {compiler}')
        (folder / 'subprojects').mkdir()
        (folder / 'subprojects' / 'dyngen').symlink_to(self.root)
        self.meson_built(folder, compiler)

    def meson_installed(self, compiler):
        needed('pkgconf')
        path = self.installed() / 'share' / 'pkgconfig'
        self.meson_built(self.consumer('finding project'), compiler, {'PKG_CONFIG_PATH': str(path)})

    def pkgconf_flags(self):
        pkgconf = needed('pkgconf')
        path = self.installed() / 'share' / 'pkgconfig'
        return shlex.split(run(pkgconf, '--cflags', '--libs', 'dyngen', env={'PKG_CONFIG_PATH': str(path)}))

    def pkgconf_says(self):
        flags = self.pkgconf_flags()
        expect(set(flags) == {f'-I{self.prefix}/include', '-pthread'}, f'pkgconf gives {flags}')

    def pkgconf(self, compiler):
        needed(shlex.split(compiler)[0])
        folder = self.consumer(f'pkgconf for {compiler}')
        run(*shlex.split(compiler), '-std=c++20', *WARNINGS, *[folder / source for source in SOURCES], *self.pkgconf_flags(),
            '-o', folder / 'program')
        runs(folder / 'program')

    # -- CMake

    def cmake_setup(self, folder, prefix, *more, **how):
        return run(needed('cmake'), '-S', folder, '-B', folder / 'build', f'-DCMAKE_PREFIX_PATH={prefix}',
                   f'-DCMAKE_CXX_FLAGS={" ".join(WARNINGS)}', '-DCMAKE_EXPORT_COMPILE_COMMANDS=ON',
                   '-DCMAKE_CXX_EXTENSIONS=OFF', *more, **how)

    def cmake_built(self, folder, prefix, compiler):
        words = shlex.split(compiler)
        needed(words[0])
        # An option behind the compiler, or a ccache before it, is no path.
        self.cmake_setup(folder, prefix, env={'CXX': compiler} if len(words) > 1 else {'CXX': needed(words[0])})
        run(needed('cmake'), '--build', folder / 'build')
        runs(folder / 'build' / 'consumer')
        for command in json.loads((folder / 'build' / 'compile_commands.json').read_text()):
            flags = shlex.split(command['command'])
            expect('-std=c++20' in flags, f'CMake does not ask for C++20: {flags}')
            self.nothing_given(flags, set(WARNINGS))

    def cmake(self, compiler):
        needed('cmake')
        moved = self.folder(f'moved prefix for {compiler}')
        shutil.copytree(self.installed(), moved, dirs_exist_ok=True)
        hidden = self.prefix.with_name('hidden')
        self.prefix.rename(hidden)  # nothing may refer to where it was
        try:
            self.cmake_built(self.consumer(f'CMake for {compiler}'), moved, compiler)
        finally:
            hidden.rename(self.prefix)

    def cmake_versions(self):
        needed('cmake')
        prefix = self.installed()
        major, minor, patch = version_of(self.root)
        mine, same = f'{major}.{minor}.{patch}', f'{major}.{minor}' if major == 0 else f'{major}'
        next_minor, next_major = f'{major}.{minor + 1}', f'{major + 1}'
        good = ['', mine, same, f'{mine};EXACT', f'{same}...{next_major}', f'0.0.1...{mine}']
        bad = [f'{major}.{minor}.{patch + 1}', next_minor, next_major, f'{next_minor};EXACT', f'{next_minor}...{next_major}',
               f'0.0.1...<{mine}']
        if major == 0 and minor > 0:
            bad.append(f'0.{minor - 1}')
        for number, asked in enumerate(good + bad):
            folder = self.consumer(f'version {number}')
            said = self.cmake_setup(folder, prefix, f'-DDYNGEN_ASKED={asked}', status=0 if asked in good else None)
            expect(asked in good or f'version: {mine}' in said, f'{asked} was refused for another reason:\n{said}')

    def cmake_other_folders(self):
        """Wherever the headers and the package file are installed, one inside the prefix and one outside of it too."""
        needed('cmake')
        meson = needed('meson')
        outside = self.work / 'an outside'
        for number, folders in enumerate([
                ['--includedir=include/dyngen-0', '--datadir=lib/x/share'],
                [f'--includedir={outside}/include', '--datadir=share'],
                ['--includedir=include', f'--datadir={outside}/share'],
        ]):
            prefix = self.folder(f'other prefix {number}')
            build = self.folder(f'other build {number}')
            run(meson, 'setup', build, self.root, f'--prefix={prefix}', '-Dtests=disabled', '-Dbenchmarks=disabled', *folders)
            run(meson, 'install', '-C', build)
            [file] = [*prefix.rglob('dyngenConfig.cmake'), *outside.rglob('dyngenConfig.cmake')]
            folder = self.consumer(f'other consumer {number}')
            self.cmake_setup(folder, prefix, f'-Ddyngen_DIR={file.parent}', env={'CXX': self.compilers[0]})
            run(needed('cmake'), '--build', folder / 'build')
            runs(folder / 'build' / 'consumer')
            shutil.rmtree(outside, ignore_errors=True)

    # -- the tree itself

    def versions(self):
        version = version_of(self.root)
        header = (self.root / 'include' / 'dyngen' / 'version.hpp').read_text()
        macros = tuple(int(re.search(rf'^#define DYNGEN_VERSION_{part} (\d+)$', header, re.MULTILINE).group(1))
                       for part in ('MAJOR', 'MINOR', 'PATCH'))
        changes = (self.root / 'CHANGELOG.md').read_text()
        newest = tuple(map(int, re.search(r'^## \[(\d+)\.(\d+)\.(\d+)\]', changes, re.MULTILINE).groups()))
        expect(version == macros == newest, f'versions: meson.build {version}, version.hpp {macros}, CHANGELOG.md {newest}')

    def without_catch2(self):
        """Without Catch2, the configuration fails with a message if the tests are enabled; otherwise it omits them."""
        meson = needed('meson')
        nothing = self.work / 'nothing.ini'
        nothing.write_text("[binaries]\npkgconfig = 'false'\ncmake = 'false'\n")
        for asked, status in [('enabled', None), ('auto', 0)]:
            said = run(meson, 'setup', self.folder(f'no Catch2, tests {asked}'), self.root, f'--native-file={nothing}',
                       f'-Dtests={asked}', '-Dbenchmarks=disabled', status=status)
            expect('Catch2 was not found' in said, f'Catch2 is missing, and meson says:\n{said}')


def version_of(root):
    build = (root / 'meson.build').read_text()
    return tuple(map(int, re.search(r"^  version: '(\d+)\.(\d+)\.(\d+)'", build, re.MULTILINE).groups()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--strict', action='store_true', help='what is missing is a failure')
    parser.add_argument('root', type=pathlib.Path)
    parser.add_argument('compilers', type=lambda text: text.split(','))
    parser.add_argument('ways', nargs='+', choices=[name[5:] for name in dir(Checks) if name.startswith('ways_')])
    given = parser.parse_args()

    passed = failed = 0
    with tempfile.TemporaryDirectory() as work:
        checks = Checks(given.root.resolve(), list(dict.fromkeys(given.compilers)), pathlib.Path(work).resolve())
        for way in given.ways:
            for name, check, *arguments in getattr(checks, 'ways_' + way)():
                try:
                    check(*arguments)
                    passed += 1
                    print(f'ok      {way}, {name}', flush=True)
                except Missing as reason:
                    failed += given.strict
                    print(f'{"FAILED " if given.strict else "skipped"} {way}, {name}: {reason}', flush=True)
                except (Failure, subprocess.SubprocessError, OSError) as reason:
                    failed += 1
                    print(f'FAILED  {way}, {name}: {reason}', flush=True)
    print(f'cases: {passed} passed, {failed} failed')
    return 1 if failed else 0 if passed else 77


if __name__ == '__main__':
    sys.exit(main())
