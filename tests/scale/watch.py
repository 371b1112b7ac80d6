"""Calls in flight on each replica, as Envoy counts them."""

from __future__ import annotations

import threading

from cluster import Cluster


class Watch:
    """Looks at Envoy's counters until its block ends."""

    def __init__(self, cluster: Cluster, every: float = 0.05) -> None:
        self._cluster, self._every = cluster, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._before = self._calls()
        self.active: list[list[int]] = []
        self.calls: dict[str, int] = {}
        """Calls of each replica in the block; known after it."""

    def _calls(self) -> dict[str, int]:
        return {address: host["rq_total"] for address, host in self._cluster.envoy.hosts().items()}

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            self.active.append([host["rq_active"] for host in self._cluster.envoy.hosts().values()])

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.calls = {address: calls - self._before[address] for address, calls in self._calls().items()}

    def imbalance(self) -> float:
        """Calls in flight on the busiest replica over the mean of all, weighted by how many there were."""
        total = sum(map(sum, self.active))
        return sum(max(hosts) * len(hosts) for hosts in self.active) / total if total else 1.0
