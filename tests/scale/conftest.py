"""One cluster for the tests of a module; each leaves it as it found it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from cluster import Cluster


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: not in the short part that CI runs")
    # Whoever ends the run early, by a time limit say, ends the servers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()
