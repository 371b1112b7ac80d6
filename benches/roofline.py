#!/usr/bin/env python3
"""Draws our products and llama.cpp's below the machine's limits, on one thread: a roofline (Williams, Waterman and
Patterson, 2009).

    benches/roofline.py [--out target/roofline.svg]     # runs `cargo bench --bench products`: some minutes
    benches/roofline.py --from OUTPUT                   # what an earlier run printed

The horizontal axis is how many operations are done with each byte of weights, which is what a step's rows decide; the
vertical one billions of operations per second. The sloping limit is for weights that come from memory: only the head's do,
and smaller matrices may lie above it.
"""

import argparse
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "scripts"))
from harness.chart import COLOURS, text  # noqa: E402

KINDS = {"Q4_K": 144 / 256, "Q5_K": 176 / 256, "Q6_K": 210 / 256, "Q8_0": 34 / 32}
PREFIXES = {"": 1e-9, "K": 1e-6, "M": 1e-3, "G": 1, "T": 1e3}
COLUMNS = 2048
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 900, 560, 70, 50, 40
X_AXIS, Y_AXIS = (2, 2048), (8, 2048)


class Point(NamedTuple):
    """A product's speed: its weights' type, whose it is, how many rows, whether weights come from memory; and GOP/s."""

    kind: str
    ours: bool
    rows: int
    head: bool
    speed: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="output", type=Path, help="what `cargo bench --bench products` printed")
    parser.add_argument("--out", type=Path, default=ROOT / "target/roofline.svg")
    args = parser.parse_args()
    if args.output:
        printed = args.output.read_text()
    else:
        printed = subprocess.run(["cargo", "bench", "--bench", "products"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    speeds = dict(medians(printed))
    peak, reading = speeds["peak_multiplications"], speeds["peak_reading"]
    found = list(points(speeds))
    args.out.write_text(picture(found, peak, reading))
    print(f"multiplying alone: {peak:.0f} GOP/s; reading memory: {reading:.1f} GB/s, one thread")
    for point in found:
        place = "head" if point.head else f"{COLUMNS} columns"
        who = "ours" if point.ours else "llama.cpp"
        print(f"{point.kind:5} {place:13} {point.rows:4} rows {who:10}{point.speed:7.1f} GOP/s, {point.speed / peak:4.0%} of the peak")
    print(args.out)


def medians(printed: str) -> Iterator[tuple[str, float]]:
    """The median of each bench, in billions a second, by its path in divan's tree, below the module that holds all."""
    path: list[str] = []
    for line in printed.splitlines():
        if found := re.match(r"([│ ]*)[├╰]─ (\([^)]*\)|\S+)", line):
            path = [*path[: len(found[1]) // 3], found[2]]
        speeds = re.findall(r"([\d.]+) ([KMGT]?)(?:item|B)/s", line)
        if len(speeds) == 4:
            value, prefix = speeds[2]
            yield "/".join(path[1:]), float(value) * PREFIXES[prefix]


def points(speeds: dict[str, float]) -> Iterator[Point]:
    for name, speed in speeds.items():
        parts = name.split("/")
        ours, head = parts[0].startswith("ours"), parts[0].endswith("_head")
        if head:
            yield Point(list(KINDS)[int(parts[1])], ours, int(parts[2]), True, speed)
        elif len(parts) == 3:
            rows, columns, _ = map(int, parts[2].strip("()").split(", "))
            if columns == COLUMNS:
                yield Point(list(KINDS)[int(parts[1])], ours, rows, False, speed)


def picture(found: list[Point], peak: float, reading: float) -> str:
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif">']
    out += ['<rect width="100%" height="100%" fill="#fff"/>', text(LEFT, 24, "Products on one thread", size=16, colour="#000")]
    out += axes()
    knee = peak / reading
    limits = [(X_AXIS[0], reading * X_AXIS[0]), (knee, peak), (X_AXIS[1], peak)]
    out.append(f'<polyline points="{" ".join(place(*at) for at in limits)}" fill="none" stroke="#000" stroke-width="1.6"/>')
    out.append(text(at_x(X_AXIS[1]), at_y(peak) - 6, f"multiplying alone: {peak:.0f} GOP/s", "end"))
    out.append(text(at_x(2.5), at_y(reading * 7), f"memory: {reading:.1f} GB/s"))
    for point in found:
        x, y = at_x(2 * point.rows / KINDS[point.kind]), at_y(point.speed)
        colour = COLOURS[list(KINDS).index(point.kind)]
        fill = colour if point.ours else "#fff"
        style = f'fill="{fill}" stroke="{colour}" stroke-width="1.6"'
        if point.head:
            out.append(f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {style}/>')
        else:
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {style}/>')
    names = dict(zip(KINDS, COLOURS))
    for i, (name, colour) in enumerate(names.items()):
        out.append(text(LEFT + 14, TOP + 26 + 18 * i, name, colour=colour))
    out.append(text(LEFT + 14, TOP + 26 + 18 * len(names), "filled: ours; hollow: llama.cpp's; squares: weights from memory"))
    return "\n".join([*out, "</svg>"]) + "\n"


def axes() -> list[str]:
    out = [text(WIDTH / 2, HEIGHT - 8, "operations per byte of weights", "middle"), text(LEFT, TOP - 4, "GOP/s")]
    for x in powers(*X_AXIS):
        out.append(f'<line x1="{at_x(x):.1f}" x2="{at_x(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>')
        out.append(text(at_x(x), HEIGHT - BOTTOM + 16, str(x), "middle", 11))
    for y in powers(*Y_AXIS):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" stroke="#eee"/>')
        out.append(text(LEFT - 6, at_y(y) + 4, str(y), "end", 11))
    return out


def powers(low: int, high: int) -> Iterator[int]:
    while low <= high:
        yield low
        low *= 2


def at_x(x: float) -> float:
    return LEFT + (WIDTH - LEFT - 20) * math.log(x / X_AXIS[0]) / math.log(X_AXIS[1] / X_AXIS[0])


def at_y(y: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - math.log(y / Y_AXIS[0]) / math.log(Y_AXIS[1] / Y_AXIS[0]))


def place(x: float, y: float) -> str:
    return f"{at_x(x):.1f},{at_y(y):.1f}"


if __name__ == "__main__":
    main()
