#!/usr/bin/env python3
"""Spark's embedded mode against the plain command on the same file, with answers from memory.

    scripts/bench-scale.sh spark --rows 1000000

The rows repeat a few comments, so that all but the first of each are answered from memory. Spark has two executors of
two cores, `local-cluster[2,2,2048]`, each with a server of its own; the plain command has one process. Both start their
models in each round. Spark's own start is not counted, as a cluster runs already.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benches"), str(ROOT / "tests/scale")]
from cluster import BINARY, MODEL, environment  # noqa: E402
from figures import conditions, ratios, spread, table, verdict  # noqa: E402
from servers import all_end  # noqa: E402
from session import start  # noqa: E402

from ko_sentiment.spark import Embedded, annotate  # noqa: E402

VIDEOS = 40
IDLE_SECONDS = 3


def write(path: Path, rows: int, distinct: int) -> None:
    """Rows under forty videos, in row groups that Spark can split."""
    with pq.ParquetWriter(path, pa.schema([("id", pa.int64()), ("comment", pa.string()), ("video_title", pa.string())])) as out:
        for first in range(0, rows, 50_000):
            ids = range(first, min(first + 50_000, rows))
            # A comment is always under the same video, so there are `distinct` answers.
            kinds = [n * 7919 % distinct for n in ids]
            comments = [f"{kind}번째로 보는데도 재미있어요" for kind in kinds]
            titles = [f"제주 여행 {kind % VIDEOS}일차" for kind in kinds]
            out.write_batch(pa.RecordBatch.from_arrays([pa.array(ids), pa.array(comments), pa.array(titles)], schema=out.schema))


def plain(source: Path, out: Path, flags: list[str]) -> float:
    """Seconds of the plain command."""
    began = time.monotonic()
    command = [BINARY, "annotate", source, "--model", MODEL, "--out", out, "--force", *flags]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, env=environment())
    return time.monotonic() - began


def annotated(spark: SparkSession, source: Path, flags: list[str]) -> DataFrame:
    server = Embedded(str(BINARY), str(MODEL), tuple(flags), idle_seconds=IDLE_SECONDS)
    return annotate(spark.read.parquet(str(source)), text="comment", title="video_title", endpoint=server)


def spark_job(df: DataFrame, out: Path, tmp: Path) -> float:
    """Seconds of the job. The servers end after it, so that the next one starts its own."""
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    df.write.parquet(str(out))
    seconds = time.monotonic() - began
    all_end(tmp, 60)
    return seconds


def answers(path: Path) -> dict[int, Any]:
    """Each row's label, by its id."""
    found = pq.read_table(path, columns=["id", "label"])
    ids = found["id"].to_pylist()
    if len(set(ids)) != len(ids):
        raise RuntimeError(f"{path} has rows twice")
    return dict(zip(ids, found["label"].to_pylist(), strict=True))


def measure(args: argparse.Namespace, tmp: Path) -> None:
    source, plain_out, spark_out = tmp / "comments.parquet", tmp / "plain.parquet", tmp / "spark.parquet"
    write(source, args.rows, args.distinct)
    spark = start(tmp, spark_sql_shuffle_partitions=str(args.partitions))
    seconds: dict[str, list[float]] = {"plain": [], "spark": []}
    try:
        df = annotated(spark, source, args.flags.split())
        spark.range(8).repartition(4).count()  # the executors are up
        for number in range(args.rounds):
            for kind in list(seconds)[:: -1 if number % 2 else 1]:
                took = plain(source, plain_out, args.flags.split()) if kind == "plain" else spark_job(df, spark_out, tmp)
                seconds[kind].append(took)
                print(f"round {number + 1}: {kind} {took:.1f} s", file=sys.stderr, flush=True)
        report(args, seconds)
        compare(answers(plain_out), answers(spark_out), args.rows)
        print("\n```")
        df.explain()
        print("```")
    finally:
        spark.stop()


def report(args: argparse.Namespace, seconds: dict[str, list[float]]) -> None:
    rates = {kind: [args.rows / each for each in found] for kind, found in seconds.items()}
    print(f"\n{args.rows:,} rows, {args.distinct} different comments, flags `{args.flags}`, {args.partitions} partitions; medians of")
    print(f"{args.rounds} rounds (least to most).\n")
    table(
        [
            ["", "rows/s"],
            ["`ko-sentiment annotate`, one process", spread(rates["plain"])],
            ["Spark, two executors with a server each", spread(rates["spark"])],
        ]
    )
    found = ratios(rates["spark"], rates["plain"])
    print(f"\nSpark's rate over the plain command's: {spread(found, '.2f')}. Median {verdict(statistics.median(found), 0.7)}.")


def compare(plain_labels: dict[int, Any], spark_labels: dict[int, Any], rows: int) -> None:
    if not plain_labels.keys() == spark_labels.keys() == set(range(rows)):
        raise RuntimeError(f"of {rows} rows, plain has {len(plain_labels)} and Spark {len(spark_labels)}")
    same = sum(label == spark_labels[row] for row, label in plain_labels.items())
    print(f"Both outputs have all {rows:,} rows once; {same:,} labels are equal.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--distinct", type=int, default=200, help="different comments")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--flags", default="--threads 1", help="flags of the model, for both")
    args = parser.parse_args()
    print(f"{conditions()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))


if __name__ == "__main__":
    main()
