"""How many answers come from memory by routing policy: Envoy and three replicas against benches/scale/simulate.py."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster import REPOSITORY, Cluster

from ko_sentiment import Video

sys.path.insert(0, str(REPOSITORY / "benches/scale"))
from simulate import Machine, Proxy, Replica, Traffic, zipf  # noqa: E402

CALLS = 240
TYPES = "type.googleapis.com/envoy.extensions.load_balancing_policies"


def named(name: str, version: str) -> dict[str, Any]:
    return {"name": f"envoy.load_balancing_policies.{name}", "typed_config": {"@type": f"{TYPES}.{name}.v3.{version}"}}


@pytest.mark.long
@pytest.mark.parametrize(
    ("policy", "config", "tolerance"),
    [
        ("maglev", None, 0.0),
        ("round_robin", named("round_robin", "RoundRobin"), 0.05),
        ("random", named("random", "Random"), 0.07),
        ("least_request", named("least_request", "LeastRequest"), 0.07),
    ],
)
def test_the_simulators_hit_rate_is_the_real_one(
    cluster: Cluster, tmp_path: Path, policy: str, config: dict[str, Any] | None, tolerance: float
) -> None:
    rng = random.Random(policy)
    rank = zipf(20, 1.0)
    calls = [(rank(rng.random()), rng.randrange(2)) for _ in range(CALLS)]
    cluster.use(tmp_path / "envoy", config)
    with cluster.client() as client:
        real = sum(
            client.classify(f"{comment}번 좋아요", video=Video(title=f"{policy} {video}번 영상")).from_cache
            for video, comment in calls
        )
    expect = [simulated(policy, calls, seed) for seed in range(20)]
    mean = sum(expect) / len(expect)
    print(f"\n{policy}: {real / CALLS:.1%} from memory, simulated {mean:.1%} ({min(expect):.1%} to {max(expect):.1%})")
    assert abs(real / CALLS - mean) <= tolerance + 1e-9


def simulated(policy: str, calls: list[tuple[int, int]], seed: int) -> float:
    """The same calls, one after the other."""
    replicas = [Replica(Machine("test", 1e9)) for _ in range(3)]
    proxy = Proxy(policy, replicas, random.Random(seed))
    traffic = Traffic(1, 20)
    hits = 0
    for now, (video, comment) in enumerate(calls):
        hits += replicas[proxy.choose(now, video)].serve(now, video, comment, traffic)[1]
    return hits / len(calls)
