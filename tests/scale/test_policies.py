"""How many answers come from memory by routing policy: Envoy and three replicas against benches/scale/simulate.py."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from cluster import Cluster
from policies import POLICIES, calls, measured, simulated

CALLS = 240


@pytest.mark.long
@pytest.mark.parametrize(
    ("policy", "tolerance"), [("maglev", 0.0), ("round_robin", 0.05), ("random", 0.07), ("least_request", 0.07)]
)
def test_the_simulators_hit_rate_is_the_real_one(
    cluster: Cluster, tmp_path: Path, policy: str, tolerance: float
) -> None:
    sent = calls(CALLS, random.Random(policy))
    cluster.use(tmp_path / "envoy", POLICIES[policy])
    real = measured(cluster, sent, policy).hits
    expect = [simulated(policy, sent, 3, seed).hits for seed in range(20)]
    mean = sum(expect) / len(expect)
    print(f"\n{policy}: {real:.1%} from memory, simulated {mean:.1%} ({min(expect):.1%} to {max(expect):.1%})")
    assert abs(real - mean) <= tolerance + 1e-9
