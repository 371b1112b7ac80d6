"""Spark with two executors of two cores each: both modes, and an executor killed in the middle of a job."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import BINARY, FLAGS, MODEL, Certificates, Replica, until
from pyspark.sql import SparkSession
from servers import OWN, all_end, below, refused, row
from session import executors, start

from ko_sentiment import Tls
from ko_sentiment.spark import Embedded, annotate

ROWS = 4000
SCHEMA = "id long, comment string, video string"


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


@pytest.fixture(scope="module")
def spark(tmp: Path) -> Iterator[SparkSession]:
    session = start(tmp, spark_sql_execution_arrow_maxRecordsPerBatch="200")
    yield session
    session.stop()
    all_end(tmp, 60)


def frame(spark: SparkSession, rows: int = ROWS) -> Any:
    return spark.createDataFrame([tuple(row(n).values()) for n in range(rows)], SCHEMA)


def check(rows: list[Any], count: int = ROWS) -> dict[int, str]:
    """Every row once, those that cannot be classified with their error; returns the labels."""
    assert Counter(each.id for each in rows) == Counter(range(count))
    for each in rows:
        assert (each.error is not None) == refused(each.id) == (each.label is None), each
        assert each.comment == row(each.id)["comment"]
    return {each.id: each.label for each in rows if each.label}


def test_both_modes_give_every_row_the_same(spark: SparkSession, tmp: Path) -> None:
    certificates = Certificates(tmp / "tls")
    replica = Replica(certificates, tmp / "replica.log")
    try:
        replica.warm_up()
        tls = Tls(ca=str(certificates.ca), server_name="ko-sentiment")
        remote = annotate(frame(spark), text="comment", video_id="video", endpoint=replica.address, tls=tls)
        expect = check(remote.collect())
    finally:
        replica.kill()
    spark.sparkContext.addFile(str(BINARY))
    spark.sparkContext.addFile(str(MODEL))
    # By name, as the executors have them, and a partition a core.
    own = Embedded(BINARY.name, MODEL.name, FLAGS, idle_seconds=5)
    embedded = annotate(frame(spark), text="comment", video_id="video", endpoint=own)
    assert check(embedded.collect()) == expect
    assert len(below(tmp)) <= len(executors(spark)), "an executor has more than one server"
    all_end(tmp, 60)
    assert "Exchange hashpartitioning(video" in embedded._jdf.queryExecution().toString()


def test_an_executor_killed_in_the_middle_loses_no_row(spark: SparkSession, tmp: Path) -> None:
    rows = [(n, f"{n % 300}번째 이야기", f"v{n % 40}") for n in range(3000)]
    df = annotate(spark.createDataFrame(rows, SCHEMA), text="comment", video_id="video", endpoint=OWN, partitions=16)
    failed: list[BaseException] = []

    def write() -> None:
        try:
            df.write.parquet(str(tmp / "out"))
        except BaseException as error:
            failed.append(error)

    job = threading.Thread(target=write)
    job.start()
    tracker = spark.sparkContext.statusTracker()

    def finished() -> int:
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        return max((stage.numCompletedTasks for stage in stages if stage and stage.numTasks == 16), default=0)

    def midway() -> bool:
        """A task has ended, and whichever executor is killed has a server."""
        return finished() >= 1 and len(below(tmp)) == 2

    until(lambda: midway() or not job.is_alive(), 300, "the first task's end and two servers")
    assert job.is_alive(), failed or "the job was over before an executor could be killed"
    servers = below(tmp)
    os.kill(executors(spark)[0], signal.SIGKILL)
    until(lambda: not servers <= below(tmp), 60, "the end of the killed executor's server")
    job.join(400)
    assert not job.is_alive() and not failed, failed
    written = spark.read.parquet(str(tmp / "out")).collect()
    assert Counter(each.id for each in written) == Counter(range(3000))
    assert all(each.label and each.error is None for each in written)
