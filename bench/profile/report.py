#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Where the instructions of a reading go, function by function.

usage: report.py COUNTS VMLINUX OPERATIONS [FUNCTION...]

COUNTS is what the plugin wrote. Each FUNCTION is shown instruction by
instruction.
"""

import bisect
import collections
import subprocess
import sys


def symbols(vmlinux):
    """The functions of the kernel, by address."""
    lines = subprocess.run(["nm", "-n", vmlinux], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    found = [line.split(maxsplit=2) for line in lines]
    found = [(int(at, 16), name) for at, kind, name in found if kind in "tTwW"]
    return [at for at, _ in found], [name for _, name in found]


def listing(vmlinux, name, counts, operations):
    lines = subprocess.run(["objdump", "-d", "--no-show-raw-insn",
                            f"--disassemble={name}", vmlinux], check=True,
                           text=True, stdout=subprocess.PIPE).stdout.splitlines()
    for line in lines:
        at = line.split(":")[0].strip()
        try:
            number = counts.get(int(at, 16), 0)
        except ValueError:
            continue
        if number:
            print(f"{number / operations:10.2f} {line}")


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        counts = {int(at, 16): int(number) for at, number in map(str.split, file)}
    vmlinux, operations = sys.argv[2], int(sys.argv[3])
    starts, names = symbols(vmlinux)
    functions = collections.Counter()
    for at, number in counts.items():
        functions[names[bisect.bisect_right(starts, at) - 1]] += number
    print(f"{sum(functions.values()) / operations:10.1f} instructions of the kernel for one operation")
    for name, number in functions.most_common():
        if number / operations >= 0.5:
            print(f"{number / operations:10.1f} {name}")
    for name in sys.argv[4:]:
        print(f"\n{name}")
        listing(vmlinux, name, counts, operations)


if __name__ == "__main__":
    main()
