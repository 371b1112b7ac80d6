#!/usr/bin/env python3
"""`ko-sentiment annotate`: its rate against `bench`, and files of a million rows.

    benches/files.py rate --data comments.txt       # against `ko-sentiment bench` on the same comments
    benches/files.py large --rows 1000000           # CSV and Parquet; SIGKILL in the middle (needs pyarrow)

`rate` computes every comment: the file, one comment per line, needs rounds × comments different ones. `large` repeats a
few comments, whose answers the server has in memory. On a busy machine, the figures mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import filecmp
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benches"))
from comments import different  # noqa: E402
from figures import conditions, output_of, ratios, spread, table, verdict  # noqa: E402
from own_server import OwnServer  # noqa: E402

WARM_UP = 16
COLUMNS = ["id", "comment", "video_title", "published_at"]


@dataclass(frozen=True)
class Ended:
    """A run of `annotate` that ended well."""

    seconds: float
    peak_mib: float


class Annotating:
    """A running `annotate`."""

    def __init__(self, binary: Path, source: Path, out: Path, *flags: object) -> None:
        command = [binary, "annotate", source, "--out", out, *flags]
        self._journal = out.with_name(f".{out.name}.answers.jsonl")
        self._log = out.with_name(f"{out.name}.log")
        self._peak = 0
        self._began = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)

    def end(self) -> Ended:
        """Waits for its end.

        Raises:
            RuntimeError: It failed.
        """
        with self._ended_on_error():
            while self._runs():
                time.sleep(0.01)
        seconds = time.monotonic() - self._began
        if self._process.returncode:
            said = self._log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"annotate ended with {self._process.returncode}: {said}")
        return Ended(seconds, self._peak / 1024)

    def kill_at(self, answers: int) -> int:
        """Sends SIGKILL once so many answers are saved; returns how many were."""
        with self._ended_on_error():
            for saved in self._saved():
                if saved >= answers:
                    self._process.kill()
                    self._process.wait()
                    return saved
        raise RuntimeError(f"annotate ended before {answers} answers were saved; take more rows")

    @contextlib.contextmanager
    def _ended_on_error(self) -> Iterator[None]:
        """An interrupted measurement leaves no process."""
        try:
            yield
        except BaseException:
            self._process.kill()
            raise

    def _runs(self) -> bool:
        """Notes the peak of its memory, too."""
        if self._process.poll() is not None:
            return False
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            status = ""
        self._peak = max([self._peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
        return True

    def _saved(self) -> Iterator[int]:
        at, lines = 0, -1  # the first line says whose the answers are
        while self._runs():
            if self._journal.exists():
                with self._journal.open("rb") as file:
                    file.seek(at)
                    new = file.read()
                at, lines = at + len(new), lines + new.count(b"\n")
            yield lines
            time.sleep(0.005)


def rate(args: argparse.Namespace, folder: Path) -> None:
    """The rate without the start: a run of the first few rows is subtracted, as `bench` counts no warm-up."""
    rounds = different(args.data, args.rounds, args.comments)
    figures: dict[str, list[float]] = {"bench": [], "annotate": [], "whole": []}
    model = ["--model", args.model, *args.flags.split()]

    def annotate(data: Path, *flags: object) -> float:
        return Annotating(args.binary, data, folder / "out.csv", "--force", "--in-flight", args.clients, *model, *flags).end().seconds

    def bench(data: Path) -> None:
        command = [args.binary, "bench", "--json", "--data", data, "--requests", args.comments, "--clients", args.clients]
        found = output_of([*command, "--warmup", WARM_UP, *model])
        figures["bench"].append(found["classifications_per_second"])

    def both(data: Path) -> None:
        start, whole = annotate(data, "--limit", WARM_UP), annotate(data)
        figures["annotate"].append((args.comments - WARM_UP) / (whole - start))
        figures["whole"].append(args.comments / whole)

    for number, comments in enumerate(rounds):
        data = folder / f"{number}.txt"
        data.write_text("\n".join(comments) + "\n", encoding="utf-8")
        for run in [bench, both][:: -1 if number % 2 else 1]:
            run(data)
        print(f"round {number + 1}: " + ", ".join(f"{name} {found[-1]:.2f}" for name, found in figures.items()), file=sys.stderr)
    found = ratios(figures["annotate"], figures["bench"])
    print(f"{args.rounds} rounds of {args.comments:,} comments, {args.clients} in flight, flags `{args.flags}`; medians (least to most).\n")
    rows = [["", "comments/s", "to bench"], ["`bench`", spread(figures["bench"], ".2f"), "1"]]
    for name, title in (("annotate", "`annotate`"), ("whole", "`annotate` with its start and end")):
        rows.append([title, spread(figures[name], ".2f"), spread(ratios(figures[name], figures["bench"]), ".3f")])
    table(rows)
    print(f"\nMedian ratio {verdict(statistics.median(found), 0.95)}.")


def rows_of(count: int, distinct: int) -> Iterator[list[Any]]:
    """A few comments in turn, each under a video of its own."""
    for n in range(count):
        kind = n * 7919 % distinct
        day = f"2025-{1 + n % 12:02}-{1 + n % 28:02}"
        yield [n, f"{kind}번째로 보는데도, \"정말\" 재미있어요", f"제주 여행 {kind % 40}일차", day]


def write_csv(path: Path, rows: Iterable[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(COLUMNS)
        csv.writer(file).writerows(rows)


def write_parquet(path: Path, rows: Iterable[list[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = [pa.int64(), pa.string(), pa.string(), pa.string()]
    with pq.ParquetWriter(path, pa.schema(list(zip(COLUMNS, types, strict=True)))) as out:
        left = iter(rows)
        while part := list(islice(left, 100_000)):
            columns = [pa.array(values, kind) for values, kind in zip(zip(*part, strict=True), types, strict=True)]
            out.write_batch(pa.RecordBatch.from_arrays(columns, schema=out.schema))


WRITERS = {"csv": write_csv, "parquet": write_parquet}


def large(args: argparse.Namespace, folder: Path) -> None:
    """A whole run, and one that is killed in the middle and resumed."""
    known = folder / "known.csv"
    write_csv(known, rows_of(args.distinct, args.distinct))
    rows = [["", "rows/s", "peak memory, MiB", "killed after", "resumed: rows/s", "peak, MiB", "same bytes"]]
    with OwnServer(args.binary, args.model, *args.flags.split()) as server:
        endpoint = ["--endpoint", server.address]
        Annotating(args.binary, known, folder / "known.out.csv", *endpoint).end()
        from_memory(args, known, endpoint)
        for name in args.formats.split(","):
            source, whole, killed = (folder / f"{part}.{name}" for part in ("in", "whole", "killed"))
            WRITERS[name](source, rows_of(args.rows, args.distinct))
            ended = Annotating(args.binary, source, whole, *endpoint).end()
            saved = Annotating(args.binary, source, killed, *endpoint).kill_at(args.rows // 2)
            if killed.exists():
                raise RuntimeError(f"{killed.name} exists though the run was killed")
            resumed = Annotating(args.binary, source, killed, *endpoint).end()
            same = filecmp.cmp(whole, killed, shallow=False)
            left = (args.rows - saved) / resumed.seconds
            figures = [f"{args.rows / ended.seconds:,.0f}", f"{ended.peak_mib:,.0f}", f"{saved:,}", f"{left:,.0f}", f"{resumed.peak_mib:,.0f}"]
            rows.append([f"{name}, {os.path.getsize(source) / 1e6:,.0f} MB", *figures, "yes" if same else "NO"])
        from_memory(args, known, endpoint)
    print(f"{args.rows:,} rows, {args.distinct} different comments, answers from the server's memory; server and command share the")
    print("machine. Times are whole runs; a resumed run's rate counts the rows that were left.\n")
    table(rows)


def from_memory(args: argparse.Namespace, known: Path, endpoint: list[str]) -> None:
    """All answers are in the server's memory."""
    command = [args.binary, "bench", "--json", "--data", known, "--requests", args.distinct, "--warmup", 0, *endpoint]
    found = output_of(command)
    if found["from_cache"] != args.distinct:
        raise RuntimeError(f"only {found['from_cache']} of {args.distinct} answers came from memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["rate", "large"])
    parser.add_argument("--data", type=Path, help="rate: comments, one per line")
    parser.add_argument("--comments", type=int, default=400, help="rate: comments of a round")
    parser.add_argument("--clients", type=int, default=32, help="rate: comments in flight")
    parser.add_argument("--rounds", type=int, default=5, help="rate: rounds")
    parser.add_argument("--rows", type=int, default=1_000_000, help="large: rows")
    parser.add_argument("--distinct", type=int, default=200, help="large: different comments")
    parser.add_argument("--formats", default="csv,parquet", help="large: formats, between commas")
    parser.add_argument("--flags", default="--threads 2", help="flags of the model")
    parser.add_argument("--model", type=Path, default=ROOT / "models/ko-gemma3-270m-sentiment.gguf")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/ko-sentiment")
    args = parser.parse_args()
    if args.part == "rate" and not args.data:
        parser.error("rate needs --data")
    if args.part == "large" and "parquet" in args.formats and not importlib.util.find_spec("pyarrow"):
        parser.error("Parquet needs pyarrow; install it for this Python, or pass --formats csv")
    print(f"{conditions()}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        {"rate": rate, "large": large}[args.part](args, Path(folder))


if __name__ == "__main__":
    main()
