"""The consumer of docs/scale.md over a log that replays, with a sink that fails before, in and after its writes."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import COMMENTS, REPOSITORY, Certificates, Replica

from ko_sentiment import Client, Result

sys.path.insert(0, str(REPOSITORY / "clients/python/examples"))
from consume import Message, consume  # noqa: E402

PARTITIONS, LENGTH = 3, 400


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("streams")
    certificates = Certificates(folder / "tls")
    replica = Replica(certificates, folder / "replica.log")
    try:
        replica.warm_up()
        with Client(replica.address, tls=certificates.tls) as made:
            yield made
    finally:
        replica.kill()


class Crash(Exception):
    """The process dies here."""


class Log:
    """Partitions of messages, and how far the consumer's group has committed."""

    def __init__(self, seed: int) -> None:
        self.committed = dict.fromkeys(range(PARTITIONS), 0)
        self.delivered: Counter[tuple[int, int]] = Counter()
        self.random = random.Random(seed)

    def poll(self) -> Iterator[Message]:
        """From the committed offsets on, partitions mixed as brokers answer."""
        at = dict(self.committed)
        while left := [partition for partition, offset in at.items() if offset < LENGTH]:
            partition = self.random.choice(left)
            for _ in range(min(self.random.randint(1, 40), LENGTH - at[partition])):
                offset = at[partition]
                at[partition] += 1
                self.delivered[partition, offset] += 1
                comment = " " if offset % 97 == 0 else COMMENTS[offset % 3]
                yield Message(partition, offset, comment, f"v{offset % 7}")

    def commit(self, reached: dict[int, int]) -> None:
        if self.random.random() < 0.3:
            raise Crash
        self.committed |= reached


class Table:
    """An idempotent sink that dies now and then."""

    def __init__(self, log: Log) -> None:
        self.rows: dict[tuple[int, int], Result] = {}
        self._log = log

    def upsert(self, rows: dict[tuple[int, int], Result]) -> None:
        if self._log.random.random() < 0.3:
            raise Crash
        self.rows |= rows


@pytest.mark.parametrize("seed", range(3))
def test_every_message_has_one_result_whatever_crashes(client: Client, seed: int) -> None:
    log = Log(seed)
    table = Table(log)
    crashes = 0
    while any(offset < LENGTH for offset in log.committed.values()):
        try:
            consume(client, log.poll(), table, log.commit, batch=50)
        except Crash:
            crashes += 1
            for (partition, offset) in table.rows:
                assert log.delivered[partition, offset]
            done = {(partition, n) for partition, offset in log.committed.items() for n in range(offset)}
            assert done <= set(table.rows), "committed, but not written"
    assert crashes and max(log.delivered.values()) > 1, "nothing was replayed"
    assert set(table.rows) == {(partition, n) for partition in range(PARTITIONS) for n in range(LENGTH)}
    for (_, offset), result in table.rows.items():
        expect = " " if offset % 97 == 0 else COMMENTS[offset % 3]
        assert result.item.comment == expect and (result.error is not None) == (expect == " ")
