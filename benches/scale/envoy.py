#!/usr/bin/env python3
"""Envoy with deploy/envoy before real replicas, TLS on both sides: its cost, and what routing by video gives.

    scripts/bench-scale.sh envoy            # all of it: a quarter of an hour
    scripts/bench-scale.sh envoy cost       # Envoy's own cost per call
    scripts/bench-scale.sh envoy replicas   # calls per second of 1, 2 and 4 replicas
    scripts/bench-scale.sh envoy policies   # cache hits and balance by routing policy, beside the simulation
    scripts/bench-scale.sh envoy viral      # one video with 60 % of all calls

The calls of `cost` and `replicas` are made by `ko-sentiment bench`, and every answer comes from the answer cache.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benches"), str(ROOT / "tests/scale")]
from cluster import BINARY, Cluster, environment  # noqa: E402
from figures import conditions, output_of, ratios, spread, table, verdict  # noqa: E402
from policies import POLICIES, Found, calls, measured, simulated  # noqa: E402
from simulate import Traffic, arrivals, quantile  # noqa: E402
from watch import Watch  # noqa: E402

from ko_sentiment import Client, Video  # noqa: E402

COMMENTS = 64
OTHER_VIDEOS = 24
MICRO = 1e6


class Caller:
    """`ko-sentiment bench` with comments that the replicas know."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._data = folder / "comments.txt"
        self._data.write_text("".join(f"{n}번째로 보는데도 재미있어요\n" for n in range(COMMENTS)))
        self._tls = ["--tls-ca", cluster.certificates.ca, "--tls-server-name", "ko-sentiment"]
        for replica in cluster.replicas:
            self._bench(replica.port, COMMENTS, 4)

    def __call__(self, port: int, requests: int, clients: int) -> dict[str, Any]:
        found = self._bench(port, requests, clients)
        if found["from_cache"] != requests:
            raise RuntimeError(f"only {found['from_cache']} of {requests} answers came from memory")
        return found

    def _bench(self, port: int, requests: int, clients: int) -> dict[str, Any]:
        command = [BINARY, "bench", "--json", "--data", self._data, "--endpoint", f"https://127.0.0.1:{port}"]
        command += [*self._tls, "--requests", requests, "--clients", clients, "--warmup", clients]
        return output_of(command, environment())


def cost(args: argparse.Namespace, folder: Path) -> None:
    """One replica, called directly and through Envoy in turn."""
    rows = [["calls at once", "directly, calls/s", "through Envoy", "ratio", "added to the p50, µs", "Envoy's CPU per call, µs"]]
    with cluster_of(1, folder) as cluster:
        call = Caller(cluster, folder)
        for clients in (1, 16):
            direct: list[dict[str, Any]] = []
            through: list[dict[str, Any]] = []
            cpu: list[float] = []

            def directly() -> None:
                direct.append(call(cluster.replicas[0].port, args.calls, clients))

            def proxied() -> None:
                before = cpu_seconds(cluster.envoy.process.pid)
                through.append(call(cluster.envoy.port, args.calls, clients))
                cpu.append((cpu_seconds(cluster.envoy.process.pid) - before) / args.calls * MICRO)

            in_turn(args.rounds, [directly, proxied])
            rates = [[each["classifications_per_second"] for each in side] for side in (direct, through)]
            p50 = [[each["total_ms"]["p50"] * 1000 for each in side] for side in (direct, through)]
            added = [b - a for a, b in zip(*p50, strict=True)]
            ratio = spread(ratios(rates[1], rates[0]), ".2f")
            rows.append([str(clients), spread(rates[0]), spread(rates[1]), ratio, spread(added), spread(cpu)])
    print(f"### Envoy's cost per call\n\nMedians of {args.rounds} pairs of {args.calls:,} calls (least to most).")
    print("The p50 is measured to 10 µs. Caller, Envoy and replica share the cores.\n")
    table(rows)


def replicas(args: argparse.Namespace, folder: Path) -> None:
    """The same calls through Envoy to one replica, two and four."""
    sizes = (1, 2, 4)
    rates: dict[int, list[float]] = {size: [] for size in sizes}
    with cluster_of(max(sizes), folder) as cluster:
        call = Caller(cluster, folder)

        def through(size: int) -> Callable[[], None]:
            def run() -> None:
                cluster.use(folder / f"of-{size}-{len(rates[size])}", size=size)
                found = call(cluster.envoy.port, args.calls, 16)
                rates[size].append(found["classifications_per_second"])

            return run

        in_turn(args.rounds, [through(size) for size in sizes])
    print(f"### Replicas through Envoy\n\n16 calls at once, medians of {args.rounds} rounds of {args.calls:,} calls (least to most).")
    print(f"Caller, Envoy (one thread) and replicas share {os.cpu_count()} cores.", end=" ")
    if (os.cpu_count() or 1) < 2 * max(sizes):
        print("That is too few to show scaling: it shows only what more replicas cost.", end="")
    print("\n")
    rows = [["replicas", "calls/s", "to one replica"]]
    rows += [[str(size), spread(found), spread(ratios(found, rates[1]), ".2f")] for size, found in rates.items()]
    table(rows)


def policies(args: argparse.Namespace, folder: Path) -> None:
    """The same calls, one after the other, through Envoy to three replicas and through the simulation."""
    count = max(60, args.calls // 10)
    rows = [["policy", "from memory", "simulated", "busiest / mean", "simulated"]]
    with cluster_of(3, folder) as cluster:
        for policy, config in POLICIES.items():
            cluster.use(folder / policy, config)
            sent = [calls(count, random.Random(f"{policy} {n}")) for n in range(args.rounds)]
            real = [measured(cluster, each, f"{policy} {n}") for n, each in enumerate(sent)]
            expect = [simulated(policy, each, 3, seed) for each in sent for seed in range(20)]
            rows.append([policy, *both(real, expect, "hits", ".1%"), *both(real, expect, "balance", ".2f")])
    print(f"### Routing policies\n\nThree replicas, {args.rounds} series of {count} calls, each of 40 comments under 20 videos (Zipf's")
    print("law, exponent 1). Medians (least to most).\n")
    table(rows)


def both(real: list[Found], expect: list[Found], name: str, form: str) -> list[str]:
    return [spread([getattr(each, name) for each in side], form) for side in (real, expect)]


def viral(args: argparse.Namespace, folder: Path) -> None:
    """Calls at half of what the replicas can do, all comments new: with one video's share at 60 %, and evenly spread."""
    names = {0.0: "evenly spread", 0.6: "60 % for one video"}
    p50: dict[float, list[float]] = {share: [] for share in names}
    p99: dict[float, list[float]] = {share: [] for share in names}
    balance: dict[float, list[float]] = {share: [] for share in names}
    count = max(100, args.calls // 5)
    with cluster_of(3, folder) as cluster, cluster.client() as client:
        rate = 0.5 * capacity(client)

        def calls_with(share: float) -> Callable[[], None]:
            def run() -> None:
                series = f"{share} {len(p99[share])}"
                with Watch(cluster) as watch:
                    others = open_loop(client, Traffic(rate, OTHER_VIDEOS, zipf=0, duplicates=0, viral=share), count, series)
                p50[share].append(quantile(others, 0.5))
                p99[share].append(quantile(others, 0.99))
                balance[share].append(watch.imbalance())

            return run

        in_turn(args.rounds, [calls_with(share) for share in names])
    print(f"### A viral video\n\nThree replicas, {rate:.0f} calls/s (half of what they can do here), none from memory; medians of")
    print(f"{args.rounds} rounds of {count} calls (least to most). Arrivals are Poisson, and times count from the arrival.\n")
    rows = [["calls", "p50 of other videos, ms", "p99 of other videos, ms", "in flight, busiest / mean"]]
    for share, name in names.items():
        times = [spread([1000 * seconds for seconds in found[share]]) for found in (p50, p99)]
        rows.append([name, *times, spread(balance[share], ".2f")])
    table(rows)
    found = ratios(p99[0.6], p99[0.0])
    print(f"\nThe p99 of other videos with the viral one, over that without: {spread(found, '.2f')}.")
    print(f"Median {verdict(statistics.median(found), 1.5, most=True)}.")


def capacity(client: Client) -> float:
    """Calls per second of a closed loop, each for a comment of its own."""
    count = 120
    began = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda n: client.classify(f"먼저 {n}번", video=Video(id=f"v{n % OTHER_VIDEOS}")), range(count)))
    return count / (time.monotonic() - began)


def open_loop(client: Client, traffic: Traffic, count: int, series: str) -> list[float]:
    """Seconds from arrival to answer for each call that is not for video 0."""

    def call(arrival: float, video: int, n: int) -> float | None:
        client.classify(f"{series} {n}번째 댓글입니다", video=Video(id=f"v{video}"), timeout=120)
        return time.monotonic() - arrival if video else None

    began = time.monotonic()
    waiting = []
    with ThreadPoolExecutor(256) as pool:
        for n, (at, video, _) in enumerate(arrivals(traffic, count, random.Random(series))):
            time.sleep(max(0.0, began + at - time.monotonic()))
            waiting.append(pool.submit(call, began + at, video, n))
    return [seconds for each in waiting if (seconds := each.result()) is not None]


class cluster_of:
    """So many replicas behind Envoy, for a block."""

    def __init__(self, size: int, folder: Path) -> None:
        self._made = Cluster(folder / f"cluster-{size}", size)

    def __enter__(self) -> Cluster:
        return self._made

    def __exit__(self, *_: object) -> None:
        self._made.close()


def in_turn(rounds: int, kinds: list[Callable[[], None]]) -> None:
    """Who is first changes from round to round."""
    for number in range(rounds):
        for run in kinds[:: -1 if number % 2 else 1]:
            run()


def cpu_seconds(process: int) -> float:
    """Of all its threads so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parts = {"cost": cost, "replicas": replicas, "policies": policies, "viral": viral}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=4000, help="calls of a round; policies and viral make fewer")
    args = parser.parse_args()
    unknown = [part for part in args.parts if part not in parts]
    if unknown:
        parser.error(f"no part is called {unknown[0]}; choose from {', '.join(parts)}")
    print(f"{conditions()}\n", flush=True)
    for name in args.parts or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](args, Path(folder))
        print(flush=True)


if __name__ == "__main__":
    main()
