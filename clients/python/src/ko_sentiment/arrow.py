"""Columns of sentiments for a run of Arrow record batches, as Spark and Ray hand them over."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from .client import Client
from .frames import ADDED, EMPTY, Columns, cell_text, cells, names_beside
from .results import Item, Result, Sentiment
from .video import Video

TYPES = {"label": pa.string(), "error": pa.string(), "abstained": pa.bool_()}
DEFAULT_TYPE = pa.float64()
READ_AHEAD = 20_000
"""Rows of open batches beyond which no further batch is read."""


def added_fields(taken: list[str]) -> list[pa.Field]:
    """Our columns beside the caller's."""
    return [pa.field(title, TYPES.get(name, DEFAULT_TYPE)) for name, title in names_beside(taken).items()]


def annotated(
    batches: Iterable[pa.RecordBatch], client: Client, columns: Columns, *, window: int, reproducible: bool = False
) -> Iterator[pa.RecordBatch]:
    """Yields each batch with our columns behind its own, in their order.

    Rows without a sentiment have the reason in ``error``. Rows of a batch with the same texts are asked for once.
    Batches are read ahead of the results while those that are open have fewer than `READ_AHEAD` rows.
    """
    labels = client.model_info().labels
    rows = _Rows(batches, columns, reproducible)
    try:
        for result in client.classify_many(rows.items(), ordered=False, window=window):
            rows.take(result, labels)
            yield from rows.done()
        yield from rows.done()
    finally:
        rows.close()


class _Batch:
    """A batch and what becomes of its rows."""

    def __init__(self, batch: pa.RecordBatch, columns: Columns) -> None:
        self._batch = batch
        texts = [
            [cell_text(value) for value in _column(batch, name)] if name else [None] * batch.num_rows
            for name in (columns.text, columns.title, columns.summary, columns.video_id)
        ]
        same: dict[tuple[str | None, ...], list[int]] = {}
        for row, key in enumerate(zip(*texts, strict=True)):
            same.setdefault(key, []).append(row)
        self._values: dict[str, list[Any]] = {name: [None] * batch.num_rows for name in ADDED}
        self.questions: list[tuple[str, Video | None, list[int]]] = []
        """Different comments with their videos, and the rows that have them."""
        for (comment, *video), rows in same.items():
            if comment is None:
                self.fill(rows, {"error": EMPTY})
            else:
                known = Video(*(text or "" for text in video)) if any(video) else None
                self.questions.append((comment, known, rows))
        self.left = len(self.questions)
        self.rows = batch.num_rows if self.left else 0

    def fill(self, rows: list[int], cells: dict[str, Any]) -> None:
        for name, cell in cells.items():
            values = self._values[name]
            for row in rows:
                values[row] = cell

    def annotated(self) -> pa.RecordBatch:
        fields = added_fields(self._batch.schema.names)
        arrays = [pa.array(self._values[name], field.type) for name, field in zip(ADDED, fields, strict=True)]
        schema = pa.schema([*self._batch.schema, *fields])
        return pa.RecordBatch.from_arrays([*self._batch.columns, *arrays], schema=schema)


class _Rows:
    """Batches whose rows are on their way. `items` runs in the client's thread, the rest in the caller's."""

    def __init__(self, batches: Iterable[pa.RecordBatch], columns: Columns, reproducible: bool) -> None:
        self._batches = batches
        self._columns = columns
        self._reproducible = reproducible
        self._open: deque[_Batch] = deque()
        self._sent: dict[int, tuple[_Batch, list[int]]] = {}
        self._room = threading.Condition()
        self._waiting = 0  # rows of batches that wait for results
        self._closed = False

    def items(self) -> Iterator[Item]:
        index = 0
        for each in self._batches:
            batch = _Batch(each, self._columns)
            with self._room:
                self._room.wait_for(lambda: self._closed or self._waiting < READ_AHEAD)
                if self._closed:
                    return
                self._waiting += batch.rows
            self._open.append(batch)
            for comment, video, rows in batch.questions:
                self._sent[index] = (batch, rows)
                index += 1
                yield Item(comment, video, self._reproducible)

    def take(self, result: Result, labels: dict[Sentiment, str]) -> None:
        batch, rows = self._sent.pop(result.index)
        batch.left -= 1
        batch.fill(rows, cells(result, labels))

    def done(self) -> Iterator[pa.RecordBatch]:
        while self._open and not self._open[0].left:
            batch = self._open.popleft()
            with self._room:
                self._waiting -= batch.rows
                self._room.notify()
            yield batch.annotated()

    def close(self) -> None:
        """Lets the client's thread go."""
        with self._room:
            self._closed = True
            self._room.notify()


def _column(batch: pa.RecordBatch, name: str) -> list[Any]:
    found: list[Any] = batch.column(name).to_pylist()
    return found
