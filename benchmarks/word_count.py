#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""word_count.py PROGRAM [--quick]: how long the example word_count takes for a file of 200 MB (quick: 20 MB) with
--threads 1 and --threads 2. Both run in turn, round by round; the results are compared."""
import random
import statistics
import subprocess
import sys
import tempfile
import time


def write_text(path, megabytes):
    words = [bytes(random.Random(i).choices(b"abcdefghijklmnopqrstuvwxyz", k=3 + i % 9)) for i in range(5000)]
    chooser = random.Random(1)
    block = b" ".join(chooser.choices(words, k=140_000))[: 1 << 20]
    with open(path, "wb") as file:
        for _ in range(megabytes):
            file.write(block[:-1] + b"\n")


def main():
    program, quick = sys.argv[1], "--quick" in sys.argv
    megabytes, rounds = (20, 7) if quick else (200, 7)
    seconds = {1: [], 2: []}
    outputs = set()
    with tempfile.NamedTemporaryFile() as file:
        write_text(file.name, megabytes)
        for _ in range(rounds):
            for threads in seconds:
                start = time.monotonic()
                run = subprocess.run([program, "--threads", str(threads), file.name], capture_output=True, check=True)
                seconds[threads].append(time.monotonic() - start)
                outputs.add(run.stdout)
    median = {threads: statistics.median(all_runs) for threads, all_runs in seconds.items()}
    ratio = statistics.median(two / one for one, two in zip(seconds[1], seconds[2]))
    times = ", ".join(f"--threads {threads} {median[threads]:.3f} s" for threads in median)
    print(f"word_count, {megabytes} MB, {rounds} rounds: {times}, ratio {ratio:.2f}")
    return 0 if len(outputs) == 1 else 1


sys.exit(main())
