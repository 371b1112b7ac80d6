"""Servers that tasks and actors started, seen from outside."""

from __future__ import annotations

from pathlib import Path

from cluster import BINARY, FLAGS, MODEL, until

from ko_sentiment.embedded import Embedded

OWN = Embedded(str(BINARY), str(MODEL), FLAGS, idle_seconds=20)
LONG = "가" * 10_001


def command(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().split("\0")
    except OSError:
        return []


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def below(folder: Path) -> set[int]:
    """The running servers whose sockets lie in `folder`."""
    return {process for process in processes() if f"unix:{folder}" in " ".join(command(process)[:6])}


def all_end(folder: Path, seconds: float) -> None:
    until(lambda: not below(folder), seconds, "the servers' end")


def row(n: int) -> dict[str, object]:
    """One of many rows: a few comments under forty videos, and some that cannot be classified."""
    comment = [None, " ", LONG][n // 50 % 3] if n % 50 == 0 else f"{n % 6}번 봐도 좋네요"
    return {"id": n, "comment": comment, "video": f"v{n % 40}"}


def refused(n: int) -> bool:
    return n % 50 == 0
