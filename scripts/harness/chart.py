"""Small plots as SVG, written by hand: lines over a common axis, one panel below the other."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 190, 80, 20, 34, 30


@dataclass
class Panel:
    """A plot: what it shows, and its lines as points of x and y."""

    title: str
    lines: dict[str, list[tuple[float, float]]]
    # Dashed vertical lines, with their names.
    marks: dict[str, float] = field(default_factory=dict)
    x: str = ""


def nice(top: float) -> float:
    """A round step, for about four of them."""
    step = 10.0 ** -9
    while top / step > 5:
        for factor in (2, 2.5, 2):
            step *= factor
            if top / step <= 5:
                break
    return step


def number(value: float) -> str:
    # Not "-0".
    return f"{value + 0.0:,.6g}"


def text(x: float, y: float, words: str, anchor: str = "start", size: int = 12, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def draw(panel: Panel, offset: float, width: float = WIDTH, height: float = HEIGHT) -> list[str]:
    points = [point for line in panel.lines.values() for point in line] or [(0.0, 0.0)]
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    top = max(y for _, y in points) * 1.08 or 1.0
    wide, tall = width - LEFT - RIGHT, height - TOP - BOTTOM
    at_x = lambda x: LEFT + wide * (x - low) / ((high - low) or 1)
    at_y = lambda y: offset + TOP + tall * (1 - y / top)
    out = [text(LEFT, offset + 20, panel.title, size=14, colour="#000")]
    step, y = nice(top), 0.0
    while y <= top:
        out.append(f'<line x1="{LEFT}" x2="{width - RIGHT}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" stroke="#ddd"/>')
        out.append(text(LEFT - 6, at_y(y) + 4, number(y), "end", 11))
        y += step
    step = nice(high - low or 1)
    x = step * -(-low // step)
    while x <= high:
        out.append(text(at_x(x), offset + height - BOTTOM + 15, number(x), "middle", 11))
        x += step
    out.append(text(width - RIGHT, offset + height - 3, panel.x, "end", 11))
    for name, x in panel.marks.items():
        ends = f'x1="{at_x(x):.1f}" x2="{at_x(x):.1f}" y1="{offset + TOP}" y2="{offset + TOP + tall}"'
        out.append(f'<line {ends} stroke="#999" stroke-dasharray="4"/>')
        out.append(text(at_x(x) + 3, offset + TOP + 10, name, size=10, colour="#777"))
    legend, line_y, size, most = float(width - RIGHT), offset + 20, 12, 99
    if sum(9 * len(name) + 14 for name in panel.lines) >= wide - 8 * len(panel.title):
        # Below the axis, and as long as there is room for.
        legend, line_y, size = legend - 7 * len(panel.x) - 8, offset + height - 3, 10
        most = int((legend / len(panel.lines) - 14) / 6)
    for (name, line), colour in zip(reversed(panel.lines.items()), COLOURS[len(panel.lines) - 1 :: -1]):
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if len(panel.lines) > 1:
            name = name if len(name) <= most else name[: most - 1] + "…"
            out.append(text(legend, line_y, name, "end", size, colour))
            legend -= (9 if size == 12 else 6) * len(name) + 14
    return out


def write(path: Path, title: str, panels: list[Panel]) -> None:
    """Draws the panels into a file."""
    height = 30 + HEIGHT * len(panels)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif">']
    out += ['<rect width="100%" height="100%" fill="#fff"/>', text(LEFT, 20, title, size=16, colour="#000")]
    for i, panel in enumerate(panels):
        out += draw(panel, 30 + i * HEIGHT)
    path.write_text("\n".join([*out, "</svg>"]) + "\n")
