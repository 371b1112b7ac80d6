"""Arrow files of `ko-sentiment annotate` in pyarrow, pandas and polars, and theirs in it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pytest
from conftest import BINARY, Server

from ko_sentiment.frames import ADDED

IDS = [1, 2, 9007199254740993, 4]
TEXTS = ["영상미가 정말 좋네요", " ", "광고가 너무 많아서\n짜증나요", "영상미가 정말 좋네요"]
LABELS = ["긍정", None, "부정", "긍정"]
DAYS = [date(2025, 3, 1), None, date(2025, 3, 2), date(1969, 12, 31)]


def annotate(server: Server, source: Path, out: Path) -> None:
    """One row of four is blank, so the exit code is 3."""
    command = [BINARY, "annotate", source, "--out", out, "--endpoint", server.address]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KO_SENTIMENT_")}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert done.returncode == 3, done.stderr


def check(table: pa.Table) -> None:
    assert table.column_names == ["id", "comment", "day", *ADDED]
    assert table["id"].to_pylist() == IDS and table["comment"].to_pylist() == TEXTS
    assert table["label"].to_pylist() == LABELS
    for name in ("probability", "positive", "neutral", "negative"):
        assert table.schema.field(name).type == pa.float64()
    assert table.schema.field("abstained").type == pa.bool_()
    scores = [sum(filter(None, row)) for row in zip(*(table[name].to_pylist() for name in ADDED[2:5]), strict=True)]
    assert scores == pytest.approx([1, 0, 1, 1], abs=1e-5)
    assert [error is None for error in table["error"].to_pylist()] == [True, False, True, True]


def own() -> pa.Table:
    return pa.table({"id": IDS, "comment": TEXTS, "day": pa.array(DAYS, pa.date32())})


def test_ours_is_read_by_each(server: Server, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.feather"
    days = [day and day.isoformat() for day in DAYS]
    rows = [dict(zip(("id", "comment", "day"), row, strict=True)) for row in zip(IDS, TEXTS, days, strict=True)]
    source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    annotate(server, source, out)
    table = feather.read_table(out)
    check(table)
    assert pl.read_ipc(out).equals(pl.DataFrame(pl.from_arrow(table)))
    pd.testing.assert_frame_equal(pd.read_feather(out), table.to_pandas())


def stream(path: Path) -> None:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, own().schema, options=options) as out:
        out.write_table(own(), max_chunksize=2)


def categories(path: Path) -> None:
    table = own().set_column(1, "comment", own()["comment"].dictionary_encode())
    feather.write_feather(table, path, compression="lz4", chunksize=3)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("plain.feather", lambda path: feather.write_feather(own(), path, compression="uncompressed")),
        ("lz4.feather", lambda path: feather.write_feather(own(), path, compression="lz4", chunksize=1)),
        ("zstd.arrow", lambda path: feather.write_feather(own(), path, compression="zstd")),
        ("categories.arrow", categories),
        ("stream.arrows", stream),
        ("pandas.feather", lambda path: own().to_pandas(types_mapper=pd.ArrowDtype).to_feather(path)),
        ("polars.arrow", lambda path: pl.DataFrame(pl.from_arrow(own())).write_ipc(path, compression="zstd")),
        ("polars.arrows", lambda path: pl.DataFrame(pl.from_arrow(own())).write_ipc_stream(path, compression="zstd")),
    ],
)
def test_theirs_are_read(server: Server, tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    annotate(server, tmp_path / name, tmp_path / "out.arrow")
    table = feather.read_table(tmp_path / "out.arrow")
    check(table)
    # A date is written as a time.
    assert [day and str(day)[:10] for day in table["day"].to_pylist()] == [day and str(day) for day in DAYS]
