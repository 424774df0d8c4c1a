#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Draw the figures: plot.py FIGURES.json OUT.svg

One group a row, one bar a kernel; the bars of a group are to scale, the number
is the instructions for one operation.
"""

import json
import sys
from xml.sax.saxutils import escape

from figures import REFERENCE

COLOURS = {"base": "#9aa5b1", "series": "#1f77b4", "peer": "#e6994c"}
LABEL, BAR, HEIGHT, GAP = 260, 420, 13, 9


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        data = json.load(file)
    rows = [row for row in data["figures"] if (row["kind"], row["mib"]) == REFERENCE]
    svg, y = [], 30
    x = 10
    for kernel, colour in COLOURS.items():
        text = f"{kernel}: {data['kernels'][kernel]}"
        svg.append(f'<rect x="{x}" y="8" width="11" height="11" fill="{colour}"/>'
                   f'<text x="{x + 16}" y="18">{escape(text)}</text>')
        x += 240
    for row in rows:
        bars = [(kernel, row[kernel]["insn"]) for kernel in COLOURS if kernel in row]
        most = max(insn for _, insn in bars)
        middle = y + len(bars) * HEIGHT / 2 + 4
        svg.append(f'<text x="{LABEL - 8}" y="{middle:.0f}" text-anchor="end">'
                   f'{escape(row["row"])}</text>')
        for kernel, insn in bars:
            width = max(1, BAR * insn / most)
            svg.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{HEIGHT - 2}" '
                       f'fill="{COLOURS[kernel]}"/>'
                       f'<text x="{LABEL + width + 5:.1f}" y="{y + 10}">{insn:,.0f}</text>')
            y += HEIGHT
        y += GAP
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + BAR + 90}" '
                   f'height="{y}" font-family="sans-serif" font-size="11">\n'
                   '<rect width="100%" height="100%" fill="white"/>\n'
                   + "\n".join(svg) + "\n</svg>\n")


if __name__ == "__main__":
    main()
