"""One cluster for the tests of a module; each leaves it as it found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster import Cluster


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: not in the short part that CI runs")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()
