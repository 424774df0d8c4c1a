#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compare the two runs of each kernel, print the table and the limits.

usage: table.py FOLDER OUT.json VERSION-OF-BASE VERSION-OF-PEER

FOLDER has bench-KERNEL.RUN.TOPIC.json. Exit code 1: two runs do not agree. A limit
that is not kept is said in the table and does not fail the run.
"""

import json
import sys

import figures as fig


def collect(folder):
    """All figures, {key: {kernel: figure}}, and the lines that do not agree."""
    figures, bad = {}, []
    for kernel in ("series", "peer", "base"):
        first, second = (fig.load(folder, kernel, run) for run in (1, 2))
        bad += [f"{kernel}: {key}: the runs do not agree: {one} and {other}"
                for key, one, other in fig.disagreement(first, second)
                + fig.disagreement(*(fig.load_truth(folder, kernel, run) for run in (1, 2)))]
        # What a later kernel cannot do is not our fault: n/a, and said.
        for key in fig.failed(first):
            if kernel != "peer":
                bad.append(f"{kernel}: {key}: failed")
            else:
                print(f"note: {kernel}: {key} failed in both runs")
        smp, locks = (fig.load(folder, kernel, run) for run in ("smp", "locks"))
        for key, line in first.items():
            if "insn" in line:
                figures.setdefault(key, {})[kernel] = fig.figure(
                    line, smp.get(key), locks.get(key))
    kinds = list(dict.fromkeys(key[1] for key in figures))
    order = sorted(figures, key=lambda key: (kinds.index(key[1]), key[2]))
    return {key: figures[key] for key in order}, bad


def number(figure):
    if not figure:
        return "n/a"
    return f"{figure['insn']:,.{1 if figure['insn'] < 1000 else 0}f}"


def ratio(one, other):
    return f"{one['insn'] / other['insn']:.2f}" if one and other else ""


def print_table(figures):
    place = None
    for key, at in figures.items():
        if key[1:] != place:
            place = key[1:]
            print(f"\n{place[0]}, {place[1]} MiB: instructions for one operation")
            print(f"{'':40}{'base':>11}{'series':>11}{'peer':>11}"
                  f"{'/base':>7}{'/peer':>7}{'spread':>8}{'flushes':>9}{'IPIs':>7}{'faults':>8}"
                  f"{'lock r':>9}{'lock w':>9}")
        base, series, peer = map(at.get, fig.KERNELS)
        print(f"{key[0]:40}{number(base):>11}{number(series):>11}"
              f"{number(peer):>11}{ratio(series, base):>7}{ratio(series, peer):>7}", end="")
        if series:
            print(f"{series['spread']:8.1%}{series['flushes']:9.3f}"
                  f"{series.get('shootdowns', 0):7.3f}{series['faults']:8.2f}"
                  f"{series.get('held_read', 0):9,}{series.get('held_write', 0):9,}", end="")
        print()


def print_truth(lines):
    print(f"\n{'what the methods find (series)':34}{'precision':>10}{'recall':>8}"
          "   million instructions a GiB and interval")
    for line in lines:
        precision = "n/a" if line["precision"] is None else f"{line['precision']:.3f}"
        print(f"{line['workload'] + ': ' + line['method']:34}{precision:>10}"
              f"{line['recall']:8.3f}{line['insn'] / 1e6:10,.1f}")


def print_limits(figures):
    """The worst ratio of 4K anonymous memory, of all, and all that are missed."""
    print(f"\n{'limit':62}{'at most':>8}{'anon 8':>8}{'worst':>8}")
    for title, limit, found in fig.check_limits(figures):
        if not found:
            print(f"{title:62}{limit:8.2f}{'n/a':>8}{'n/a':>8}")
            continue
        worst = found[0]
        first = next((f"{one[0]:.3f}" for one in found if one[2:] == fig.REFERENCE), "")
        word = "kept" if worst[0] <= limit else "MISSED"
        print(f"{title:62}{limit:8.2f}{first:>8}{worst[0]:8.3f}  {word:6}  {named(worst)}")
        for other in found[1:]:
            if other[0] > limit:
                print(f"{'':78}{other[0]:8.3f}          {named(other)}")


def named(ratio):
    return f"({ratio[1]}; {ratio[2]}, {ratio[3]} MiB)"


def write(out, data):
    """JSON with one figure a line."""
    lists = (f' "{name}": [\n' + ",\n".join(f"  {json.dumps(line)}" for line in data[name])
             + "\n ]" for name in ("figures", "truth", "limits"))
    with open(out, "w", encoding="utf-8") as file:
        file.write(f'{{\n "kernels": {json.dumps(data["kernels"])},\n'
                   + ",\n".join(lists) + "\n}\n")


def main():
    folder, out, base, peer = sys.argv[1:]
    figures, bad = collect(folder)
    print_table(figures)
    print_limits(figures)
    truth = fig.truth(fig.load_truth(folder, "series", 1))
    if truth:
        print_truth(truth)
    write(out, {
        "kernels": {"base": base, "series": f"{base} and the series", "peer": peer},
        "figures": [dict(zip(("row", "kind", "mib"), key), **at)
                    for key, at in figures.items()],
        "truth": truth,
        "limits": [{"title": title, "limit": limit, "worst": found[0][0] if found else None}
                   for title, limit, found in fig.check_limits(figures)],
    })
    for line in bad:
        print(f"error: {line}", file=sys.stderr)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
