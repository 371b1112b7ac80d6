"""Sentiments of a log of comments, such as a Kafka topic: every message at least once, every result once.

`consume` is all of it. The sink must be idempotent: writing a key again replaces what is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ko_sentiment import Client, Item, Result, Video


@dataclass(frozen=True)
class Message:
    """A comment at its place in the log."""

    partition: int
    offset: int
    comment: str
    video: str


class Sink(Protocol):
    """Where the results go."""

    def upsert(self, rows: dict[tuple[int, int], Result]) -> None:
        """Writes the results by partition and offset, all or none, and durably."""


def consume(
    client: Client,
    messages: Iterable[Message],
    sink: Sink,
    commit: Callable[[dict[int, int]], None],
    *,
    batch: int = 500,
    window: int = 256,
) -> None:
    """Reads messages, writes their results, and only then commits how far it came.

    Results come in the messages' order, so whatever precedes a written one is written. After a crash the messages
    since the last commit come again, and their results replace themselves.
    """
    taken: deque[Message] = deque()

    def items() -> Iterator[Item]:
        # In the client's own thread, at most `window` ahead: a slow server slows the reading down.
        for message in messages:
            taken.append(message)
            yield Item(message.comment, Video(id=message.video))

    rows: dict[tuple[int, int], Result] = {}
    reached: dict[int, int] = {}
    for result in client.classify_many(items(), window=window):
        message = taken.popleft()
        rows[message.partition, message.offset] = result
        reached[message.partition] = message.offset + 1
        if len(rows) == batch:
            sink.upsert(rows)
            commit(reached)
            rows, reached = {}, {}
    if rows:
        sink.upsert(rows)
        commit(reached)
