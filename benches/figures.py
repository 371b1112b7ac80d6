"""How the scripts in the folders beside this file print what they measured."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def conditions() -> str:
    """On which machine, when, and what was measured."""
    asked = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    commit = asked.stdout.strip() or "unknown"
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    load = os.getloadavg()[0]
    return f"{_cpu()}, {os.cpu_count()} cores, load {load:.1f} before; {day}; commit {commit}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table(rows: Sequence[Sequence[str]]) -> None:
    """Prints Markdown; the first row is the heading."""
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + " --- |" * len(rows[0]))
    for row in rows[1:]:
        print("| " + " | ".join(row) + " |", flush=True)


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The median, and the least and the most in parentheses."""
    ordered = sorted(values)
    return f"{statistics.median(ordered):{form}} ({ordered[0]:{form}} to {ordered[-1]:{form}})"


def ratios(values: Sequence[float], to: Sequence[float]) -> list[float]:
    """Pair by pair, because a machine's speed drifts between rounds."""
    return [value / other for value, other in zip(values, to, strict=True)]


def verdict(found: float, needed: float, most: bool = False) -> str:
    """Whether a figure is what it has to be."""
    met = found <= needed if most else found >= needed
    return f"{found:.2f}, needed {'at most' if most else 'at least'} {needed:g}: {'met' if met else 'MISSED'}"


def output_of(command: Sequence[object], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON that a command prints.

    Raises:
        RuntimeError: The command failed, with what it said.
    """
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{command[0]} {command[1]} failed: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
