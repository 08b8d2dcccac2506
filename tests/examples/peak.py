# SPDX-License-Identifier: MIT
"""Measures the memory of programs, for the scripts beside it."""

import os
import subprocess
import sys

# The kernel counts the memory of the process that starts a command as the command's own, so a small process starts it.
# It prints the command's exit status and its peak of resident memory, in units of 1024 bytes. Reports of a sanitizer
# are shown.
SMALL = r'''
import os, sys
silent = (os.POSIX_SPAWN_DUP2, os.open(os.devnull, os.O_WRONLY), 1)
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[silent])
status, usage = os.wait4(child, 0)[1:]
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
'''


def peak_of(command, timeout):
    """The exit status of a command and the peak of its resident memory, in bytes. Sanitizers keep almost no freed memory."""
    asan = os.environ.get('ASAN_OPTIONS', '') + ':quarantine_size_mb=1'
    done = subprocess.run([sys.executable, '-S', '-c', SMALL, *command], env=dict(os.environ, ASAN_OPTIONS=asan),
                          stdout=subprocess.PIPE, check=True, timeout=timeout)
    status, peak = map(int, done.stdout.split())
    return status, peak * 1024
