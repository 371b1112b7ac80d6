"""Columns of sentiments for a run of Arrow record batches, as Spark and Ray hand them over."""

from __future__ import annotations

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


def added_fields(taken: list[str]) -> list[pa.Field]:
    """Our columns beside the caller's."""
    return [pa.field(title, TYPES.get(name, DEFAULT_TYPE)) for name, title in names_beside(taken).items()]


def annotated(
    batches: Iterable[pa.RecordBatch], client: Client, columns: Columns, *, window: int, reproducible: bool = False
) -> Iterator[pa.RecordBatch]:
    """Yields each batch with our columns behind its own, in their order.

    Rows without a sentiment have the reason in ``error``. Batches are read at most `window` rows ahead of the results.
    """
    labels = client.model_info().labels
    rows = _Rows(batches, columns, reproducible)
    for result in client.classify_many(rows.items(), ordered=False, window=window):
        rows.take(result, labels)
        yield from rows.done()
    yield from rows.done()


class _Batch:
    """A batch and what becomes of its rows."""

    def __init__(self, batch: pa.RecordBatch, columns: Columns) -> None:
        self._batch = batch
        self.comments = [cell_text(value) for value in _column(batch, columns.text)]
        parts = [
            [cell_text(value) or "" for value in _column(batch, name)] if name else [""] * batch.num_rows
            for name in (columns.title, columns.summary, columns.video_id)
        ]
        videos: dict[tuple[str, ...], Video | None] = {("", "", ""): None}
        self.videos = [videos.setdefault(row, Video(*row)) for row in zip(*parts, strict=True)]
        self.values: dict[str, list[Any]] = {name: [None] * batch.num_rows for name in ADDED}
        self.values["error"] = [EMPTY if comment is None else None for comment in self.comments]
        self.left = sum(comment is not None for comment in self.comments)

    def annotated(self) -> pa.RecordBatch:
        fields = added_fields(self._batch.schema.names)
        arrays = [pa.array(self.values[name], field.type) for name, field in zip(ADDED, fields, strict=True)]
        schema = pa.schema([*self._batch.schema, *fields])
        return pa.RecordBatch.from_arrays([*self._batch.columns, *arrays], schema=schema)


class _Rows:
    """Batches whose rows are on their way. `items` runs in the client's thread, the rest in the caller's."""

    def __init__(self, batches: Iterable[pa.RecordBatch], columns: Columns, reproducible: bool) -> None:
        self._batches = batches
        self._columns = columns
        self._reproducible = reproducible
        self._open: deque[_Batch] = deque()
        self._sent: dict[int, tuple[_Batch, int]] = {}

    def items(self) -> Iterator[Item]:
        index = 0
        for each in self._batches:
            batch = _Batch(each, self._columns)
            self._open.append(batch)
            for row, comment in enumerate(batch.comments):
                if comment is not None:
                    self._sent[index] = (batch, row)
                    index += 1
                    yield Item(comment, batch.videos[row], self._reproducible)

    def take(self, result: Result, labels: dict[Sentiment, str]) -> None:
        batch, row = self._sent.pop(result.index)
        batch.left -= 1
        for name, cell in cells(result, labels).items():
            batch.values[name][row] = cell

    def done(self) -> Iterator[pa.RecordBatch]:
        while self._open and not self._open[0].left:
            yield self._open.popleft().annotated()


def _column(batch: pa.RecordBatch, name: str) -> list[Any]:
    found: list[Any] = batch.column(name).to_pylist()
    return found
