"""The same calls through Envoy to real replicas and through benches/scale/simulate.py, by routing policy."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import Any

from cluster import REPOSITORY, Cluster
from watch import Watch

from ko_sentiment import Video

sys.path.append(str(REPOSITORY / "benches/scale"))
from simulate import Machine, Proxy, Replica, Traffic, zipf  # noqa: E402

TYPES = "type.googleapis.com/envoy.extensions.load_balancing_policies"
VIDEOS = 20


def _named(name: str, version: str) -> dict[str, Any]:
    return {"name": f"envoy.load_balancing_policies.{name}", "typed_config": {"@type": f"{TYPES}.{name}.v3.{version}"}}


POLICIES = {
    "maglev": None,
    "round_robin": _named("round_robin", "RoundRobin"),
    "random": _named("random", "Random"),
    "least_request": _named("least_request", "LeastRequest"),
}
"""What takes the place of deploy/envoy's own policy, which is Maglev."""


@dataclass(frozen=True)
class Found:
    """What came of the calls."""

    hits: float
    """The share that was answered from memory."""
    balance: float
    """Calls of the busiest replica over the mean."""


def calls(count: int, rng: random.Random) -> list[tuple[int, int]]:
    """Which video, and which comment of it."""
    rank = zipf(VIDEOS, 1.0)
    return [(rank(rng.random()), rng.randrange(2)) for _ in range(count)]


def measured(cluster: Cluster, sent: list[tuple[int, int]], series: str) -> Found:
    """The calls, one after the other. `series` tells these videos from those of other measurements."""
    with cluster.client() as client, Watch(cluster) as watch:
        hits = sum(
            client.classify(f"{comment}번 좋아요", video=Video(title=f"{series} {video}번 영상")).from_cache
            for video, comment in sent
        )
    return _found(hits, list(watch.calls.values()))


def simulated(policy: str, sent: list[tuple[int, int]], size: int, seed: int) -> Found:
    """The same by `size` replicas of the simulation."""
    replicas = [Replica(Machine("test", 1e9)) for _ in range(size)]
    proxy = Proxy(policy, replicas, random.Random(seed))
    traffic = Traffic(1, VIDEOS)
    hits, served = 0, [0] * size
    for now, (video, comment) in enumerate(sent):
        chosen = proxy.choose(now, video + seed * VIDEOS)  # other homes with each seed
        served[chosen] += 1
        hits += replicas[chosen].serve(now, video, comment, traffic)[1]
    return _found(hits, served)


def _found(hits: int, served: list[int]) -> Found:
    return Found(hits / sum(served), max(served) * len(served) / sum(served))
