"""Runs of Arrow record batches, as Spark and Ray hand them over."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from conftest import Server, until

from ko_sentiment import Client, Item, Result
from ko_sentiment.arrow import READ_AHEAD, annotated
from ko_sentiment.frames import ADDED, EMPTY, Columns

COLUMNS = Columns("comment", "title", None, None)


class Counting(Client):
    """Keeps what it is asked."""

    asked: list[Item | str] = []

    def classify_many(self, items: Iterable[Item | str], **options: Any) -> Iterator[Result]:
        self.asked = []

        def counted() -> Iterator[Item | str]:
            for item in items:
                self.asked.append(item)
                yield item

        return super().classify_many(counted(), **options)


@pytest.fixture
def counting(server: Server) -> Iterator[Counting]:
    made = Counting(server.address)
    yield made
    made.close()


def batch(*rows: tuple[str | None, str | None]) -> pa.RecordBatch:
    comments, titles = zip(*rows, strict=True)
    return pa.record_batch({"comment": pa.array(comments, pa.string()), "title": pa.array(titles, pa.string())})


def test_equal_rows_are_asked_once_a_batch(counting: Counting) -> None:
    same, other = ("영상미가 정말 좋네요", "제주 여행"), ("영상미가 정말 좋네요", "먹방")
    batches = [
        batch(same, (None, "제주 여행"), other, same, (" ", None), (" ", None)),
        batch((None, None)),
        batch(same, same),
    ]
    out = list(annotated(batches, counting, COLUMNS, window=8))
    assert len(counting.asked) == 4
    assert [each.num_rows for each in out] == [6, 1, 2]
    rows = [row for each in out for row in each.to_pylist()]
    answers = [tuple(row[name] for name in ADDED) for row in rows]
    assert answers[0] == answers[3] and answers[7] == answers[8] and answers[4] == answers[5]
    assert answers[0][1] != answers[2][1], "another title, another answer"
    errors = [row["error"] for row in rows]
    assert [error is None for error in errors] == [True, False, True, True, False, False, False, True, True]
    assert errors[1] == errors[6] == EMPTY and "blank" in errors[4]


def test_few_batches_are_open_however_few_comments_they_have(counting: Counting) -> None:
    size, read = READ_AHEAD // 4, 0

    def source() -> Iterator[pa.RecordBatch]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield batch(*[("영상미가 정말 좋네요", None)] * size)

    out = annotated(source(), counting, COLUMNS, window=256)
    for given in range(1, 11):
        assert next(out)["label"].to_pylist() == ["긍정"] * size
        assert read <= given + 6
    out.close()  # type: ignore[attr-defined]
    until(lambda: all(thread.name != "ko-sentiment-take" for thread in threading.enumerate()))
