"""Columns of sentiments for Spark DataFrames. Needs ``ko-sentiment[spark]`` on the driver and the executors.

    from ko_sentiment.spark import Embedded, annotate

    annotate(df, text="comment", video_id="video", endpoint="sentiment.example.com:443", tls=Tls())
    annotate(df, text="comment", video_id="video", endpoint=Embedded("/opt/ko-sentiment", "/models/model.gguf"))
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .client import DEFAULT_WINDOW, Client
from .connection import Tls, Token
from .embedded import Embedded, shared
from .frames import Columns
from .retry import Retry

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

__all__ = ["Embedded", "annotate"]

TASK_RETRY = Retry(attempts=12)
"""Outlasts a replica's restart; after that the task fails, and Spark tries it again."""
TASK_TIMEOUT = 600.0


def annotate(
    df: DataFrame,
    *,
    text: str,
    title: str | None = None,
    summary: str | None = None,
    video_id: str | None = None,
    endpoint: str | Embedded,
    tls: Tls | None = None,
    token: Token = None,
    allow_plaintext_token: bool = False,
    window: int = DEFAULT_WINDOW,
    partitions: int | None = None,
    reproducible: bool = False,
) -> DataFrame:
    """Returns `df` with the columns label, probability, positive, neutral, negative, abstained and error.

    Rows are partitioned and sorted by video, so that each video is computed once and its duplicates are answered
    from memory. A row that cannot be classified comes back with its `error`.

    Args:
        text: The column with the comments.
        title: The column with the videos' titles, if there is one; `summary` and `video_id` likewise.
        endpoint: A server, or how each executor starts one of its own.
        tls: As `Client` takes it, and `token` and `allow_plaintext_token` likewise; the files are the executors'.
        window: Maximum rows in flight per task; an executor has as many tasks as cores.
        partitions: Number of partitions; None leaves it to Spark.
        reproducible: Compute each row in isolation: a task that runs again gives the same bits. Slower.
    """
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StructType

    from .arrow import added_fields

    columns = Columns(text, title, summary, video_id)
    for name in filter(None, (text, title, summary, video_id)):
        if df.columns.count(name) != 1:
            raise KeyError(f"the DataFrame has not one column {name!r}; it has {', '.join(df.columns[:10])}")
    schema = StructType(list(df.schema.fields))
    for field in added_fields(df.columns):
        schema = schema.add(field.name, from_arrow_type(field.type), nullable=True)
    video = [video_id] if video_id else [name for name in (title, summary) if name]
    if video:
        df = df.repartition(partitions, *video) if partitions else df.repartition(*video)
        df = df.sortWithinPartitions(*video, text)
    elif partitions:
        df = df.repartition(partitions)
    task = _Task(columns, endpoint, tls, token, allow_plaintext_token, window, reproducible)
    return df.mapInArrow(task.run, schema)


@dataclass(frozen=True)
class _Task:
    """What an executor's Python worker does with a partition."""

    columns: Columns
    endpoint: str | Embedded
    tls: Tls | None
    token: Token
    allow_plaintext_token: bool
    window: int
    reproducible: bool

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from .arrow import annotated

        with self._reach() as endpoint, Client(
            endpoint,
            tls=self.tls,
            token=self.token,
            allow_plaintext_token=self.allow_plaintext_token,
            timeout=TASK_TIMEOUT,
            retry=TASK_RETRY,
        ) as client:
            yield from annotated(
                batches, client, self.columns, window=self.window, reproducible=self.reproducible
            )

    @contextlib.contextmanager
    def _reach(self) -> Iterator[str]:
        if isinstance(self.endpoint, str):
            yield self.endpoint
            return
        local = replace(self.endpoint, binary=_file(self.endpoint.binary), model=_file(self.endpoint.model))
        with shared(local, _executor()) as endpoint:
            yield endpoint


def _file(name: str) -> str:
    """A path as it is, or one that ``SparkContext.addFile`` brought."""
    from pyspark import SparkFiles

    return name if os.path.isabs(name) else str(SparkFiles.get(name))


def _executor() -> int:
    """The executor's JVM, the first ancestor that is one."""
    process = os.getpid()
    while process > 1:
        process, name = _parent(process)
        if name == "java":
            return process
    return os.getppid()


def _parent(process: int) -> tuple[int, str]:
    """A process's parent, and that one's name."""
    if sys.platform == "linux":
        parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        name = Path(f"/proc/{parent}/comm").read_text().strip() if parent else ""
        return parent, name
    asked = ["ps", "-o", "ppid=", "-p", str(process)]
    parent = int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    asked = ["ps", "-o", "comm=", "-p", str(parent)]
    return parent, os.path.basename(subprocess.run(asked, capture_output=True, text=True).stdout.strip())
