# SPDX-License-Identifier: GPL-2.0
"""The readings of the runs, as figures, and the limits they have to keep."""

import glob
import json
import statistics

KERNELS = ("base", "series", "peer")
AGREE = 0.005
REFERENCE = ("anon-4K", 8)


def lines_of(folder, kernel, run):
    """All lines of the boots of one run; each has measured one topic."""
    for name in sorted(glob.glob(f"{folder}/bench-{kernel}.{run}.*.json")):
        with open(name, encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def load(folder, kernel, run):
    """The rows of one run: {(row, kind, MiB): line}."""
    return {(line["row"], line["kind"], line["mib"]): line
            for line in lines_of(folder, kernel, run) if "row" in line}


def load_truth(folder, kernel, run):
    """What each method found: {(method, workload): line}."""
    return {(line["method"], line["workload"]): line
            for line in lines_of(folder, kernel, run) if "method" in line}


def truth(lines):
    """[{method, workload, precision, recall, insn}], of a tracked GiB an interval."""
    found = []
    for (method, workload), line in lines.items():
        none = lines.get(("none", workload))
        if method == "none" or not none:
            continue
        right, wrong, missed = (line[key] for key in ("right", "wrong", "missed"))
        found.append({
            "method": method, "workload": workload,
            "precision": right / (right + wrong) if right + wrong else None,
            "recall": right / (right + missed),
            "insn": (line["insn"] - none["insn"]) / line["intervals"]
                    * (1 << 30) / (line["pages"] << 12),
        })
    return sorted(found, key=lambda line: line["workload"])


def figure(line, smp, locks):
    """The middle reading of a row, for one operation, and what is beside it.

    The interrupts that flush the TLB of another processor are those of a run
    that has one; the lock hold times are those of a run that traces them.
    """
    insn = [reading / line["operations"] for reading in line["insn"]]
    found = {
        "insn": statistics.median_low(insn),
        "least": min(insn),
        "spread": (max(insn) - min(insn)) / min(insn),
        "readings": len(insn),
        "flushes": line["flushes"] / line["operations"],
        "faults": line["faults"] / line["operations"],
    }
    if smp and "insn" in smp:
        found["shootdowns"] = smp["shootdowns"] / smp["operations"]
    if locks and "held_read" in locks:
        found["held_read"] = locks["held_read"]
        found["held_write"] = locks["held_write"]
    return found


def disagreement(first, second):
    """The lines of two runs that do not agree: [(key, one, other)]."""
    bad = []
    for key in sorted(first.keys() | second.keys()):
        one, other = (middle(run.get(key, {})) for run in (first, second))
        if one is None or other is None:
            if one != other or "failed" not in first[key]:
                bad.append((key, one, other))
        elif abs(one - other) > AGREE * max(one, other):
            bad.append((key, one, other))
    return bad


def middle(line):
    """The middle reading of a row, or what a method of the table of truth took."""
    insn = line.get("insn")
    return statistics.median_low(insn) if isinstance(insn, list) else insn


def failed(lines):
    return [key for key, line in lines.items() if "failed" in line]


# What a limit compares: rows of the series with rows of a kernel. A row that
# is named in one of these is not an "other" row below.
SAME = "series"
LIMITS = (
    ("async fault against WP async fault, same kernel", 0.90, SAME,
     [(["async fault, read"], ["WP async fault"]),
      (["async fault, write"], ["WP async fault"])]),
    ("sync fault against WP sync fault, same kernel", 1.00, SAME,
     [(["sync fault, read"], ["WP sync fault"]),
      (["sync fault, write"], ["WP sync fault"])]),
    ("arm against UFFDIO_WRITEPROTECT, same kernel", 1.00, SAME,
     [(["arm"], ["WP protect"])]),
    ("arm, resolve, against the peer's", 0.55, "peer",
     [(["arm"], ["arm"]), (["resolve"], ["resolve"])]),
    ("scan, nothing hot or 1% hot, against the peer's", 0.45, "peer",
     [(["scan, none hot"], ["scan, none hot"]),
      (["scan, 1% hot"], ["scan, 1% hot"])]),
    ("scan, all hot, against the peer's", 0.40, "peer",
     [(["scan, all hot"], ["scan, all hot"])]),
    ("scan, every second page, against the peer's", 0.70, "peer",
     [(["scan, every second"], ["scan, every second"])]),
    ("SET_MODE, 40,000 foreign VMAs, against the peer's", 0.02, "peer",
     [(["SET_MODE, 40000 foreign"], ["SET_MODE, 40000 foreign"])]),
    ("SET_MODE, 60,000 own VMAs, against unregister and register", 0.10, SAME,
     [(["SET_MODE, 60000 own"], ["unregister and register, 60000 own"])]),
    ("arm and scan against clear_refs and smaps_rollup, same kernel", 0.70,
     SAME, [(["scan and arm all, all hot"], ["clear_refs 1", "smaps_rollup"]),
            (["scan and arm all, 1% hot"], ["clear_refs 1", "smaps_rollup"])]),
)
OTHER = ("every other row of RWP against the peer's", 1.00)
UNUSED = ("those who do not use it, any row, against the base", 1.01)


def total(figures, kernel, rows, place):
    """The sum of the rows of a kernel in one place, None if one is missing."""
    found = [figures.get((row, *place), {}).get(kernel) for row in rows]
    return sum(one["insn"] for one in found) if all(found) else None


def ratios(figures, pairs, against):
    """[(ratio, row, kind, MiB)] of all places where both sides were measured."""
    found = []
    for place in sorted({key[1:] for key in figures}):
        for ours, theirs in pairs:
            mine = total(figures, "series", ours, place)
            other = total(figures, against, theirs, place)
            if mine and other:
                found.append((mine / other, ours[0], *place))
    return found


def check_limits(figures):
    """[(title, limit, [(ratio, row, kind, MiB)])], the worst ratio first."""
    result = []
    named = set()
    for title, limit, against, pairs in LIMITS:
        result.append((title, limit, ratios(figures, pairs, against)))
        if against == "peer":
            named |= {ours[0] for ours, _ in pairs}
    rows = {key[0] for key in figures}
    unused = {key[0] for key, at in figures.items() if "base" in at}
    for (title, limit), against, which in (
            (OTHER, "peer", rows - named - unused), (UNUSED, "base", unused)):
        pairs = [([row], [row]) for row in sorted(which)]
        result.append((title, limit, ratios(figures, pairs, against)))
    return [(title, limit, sorted(found, reverse=True))
            for title, limit, found in result]
