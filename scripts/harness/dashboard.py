"""The Grafana dashboard as a picture, without Grafana: its panels and queries, drawn from what a Prometheus holds."""

import re
from pathlib import Path

from .chart import Panel, draw, number, text
from .prometheus import Prometheus, dashboard, filled

# A unit of Grafana's grid in points: 24 are a row.
WIDE, TALL, MARGIN = 60, 26, 40
POINTS = 200
# What values of a unit are multiplied by, and how the result is called.
UNITS = {"percentunit": (100, "%"), "s": (1000, "ms"), "bytes": (1 / 2**20, "MiB"), "reqps": (1, "per second")}
UNITS |= {"ops": (1, "per second"), "d": (1, "days")}


def picture(prometheus: Prometheus, begin: float, end: float, path: Path) -> None:
    """Draws the panels as they were between two times of the clock into an SVG file."""
    panels = dashboard()
    height = MARGIN + TALL * max(at["y"] + at["h"] for at in (panel["gridPos"] for panel in panels))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{24 * WIDE}" height="{height}" font-family="sans-serif">']
    title = f"dashboard.json over {(end - begin) / 60:.0f} minutes, drawn from Prometheus"
    out += ['<rect width="100%" height="100%" fill="#fff"/>', text(12, 24, title, size=16, colour="#000")]
    for panel in panels:
        at = panel["gridPos"]
        out.append(f'<g transform="translate({at["x"] * WIDE},{MARGIN + at["y"] * TALL})">')
        out += content(panel, prometheus, begin, end)
        out.append("</g>")
    path.write_text("\n".join([*out, "</svg>"]) + "\n")


def content(panel: dict, prometheus: Prometheus, begin: float, end: float) -> list[str]:
    """A panel at the origin."""
    width, height = panel["gridPos"]["w"] * WIDE, panel["gridPos"]["h"] * TALL
    if panel["type"] == "row":
        return [text(12, TALL * 0.7, panel["title"], size=15, colour="#000")]
    factor, unit = UNITS.get(panel.get("fieldConfig", {}).get("defaults", {}).get("unit", ""), (1, ""))
    step = max(15.0, (end - begin) / POINTS)
    lines = {}
    for target in panel["targets"]:
        for series in prometheus.range(filled(target["expr"], "1m"), begin, end, step):
            lines[legend(target, series["metric"])] = points(series, begin, factor)
    title = panel["title"] + (f", {unit}" if unit else "")
    if panel["type"] != "stat":
        return draw(Panel(title, lines, x="minutes"), 0, width, height)
    out = [text(12, 20, title, size=14, colour="#000")]
    for i, (name, values) in enumerate(lines.items()):
        out.append(text(12, 50 + 24 * i, f"{name}: {number(round(values[-1][1], 1)) if values else '-'}", size=13))
    return out


def legend(target: dict, labels: dict[str, str]) -> str:
    """A series' name by the target's pattern of `{{label}}`."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), target.get("legendFormat", ""))


def points(series: dict, begin: float, factor: float) -> list[tuple[float, float]]:
    """Minutes since the beginning, and values that are numbers."""
    pairs = [((at - begin) / 60, float(value) * factor) for at, value in series["values"]]
    return [(x, y) for x, y in pairs if y == y and abs(y) != float("inf")]
