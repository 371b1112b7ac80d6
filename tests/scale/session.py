"""Spark with two executors of two cores each."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession
from servers import command, processes


def start(tmp: Path, **more: str) -> SparkSession:
    """Starts a session that keeps its files in `tmp`; `more` are settings, with _ for each dot."""
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_WORKER_DIR": str(tmp / "work")}
    settings = {
        "spark.driver.memory": "1g",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.adaptive.enabled": "false",
        "spark.executorEnv.PYTHONPATH": os.environ["PYTHONPATH"],
        "spark.executorEnv.TMPDIR": str(tmp),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(tmp / "spark"),
        **{name.replace("_", "."): value for name, value in more.items()},
    }
    builder = SparkSession.builder.master("local-cluster[2,2,2048]").appName("scale")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def executors(session: SparkSession) -> list[int]:
    """The processes of this session's executors."""
    name = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
    app = session.sparkContext.applicationId
    return [each for each in processes() if name in (words := command(each)) and app in words]
