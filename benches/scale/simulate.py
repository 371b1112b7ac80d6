#!/usr/bin/env python3
"""Simulates replicas of ko-sentiment behind a proxy: how many, routed how, for how many comments a day.

A replica computes one comment after another at a rate in tokens. It keeps the answers of comments and the titles and
summaries of the videos that came last, as the server does. Videos' popularity follows Zipf's law; some comments repeat
an earlier one of their video. Arrivals are Poisson, at the day's peak.

    simulate.py policies --replicas 12          # hit rates, balance and tail by policy
    simulate.py plan --target-ms 2000           # replicas for 1, 100 and 1,000 million comments a day
    simulate.py faults --replicas 12            # a replica lost; a viral video
"""

from __future__ import annotations

import argparse
import bisect
import hashlib
import math
import random
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

sys.path.append(str(Path(__file__).resolve().parents[1]))
from figures import table  # noqa: E402

POLICIES = ("maglev", "ring_hash", "least_request", "round_robin", "random")
TABLE = 65_537
RING = 1024
BOUND = 1.5
SLICE = 60
"""Replicas beyond which a slice of the system is simulated."""


@dataclass(frozen=True)
class Traffic:
    """What arrives."""

    per_second: float
    videos: int
    zipf: float = 1.0
    """Exponent of the videos' popularity."""
    duplicates: float = 0.1
    """Share of comments that repeat one of their video's twenty common ones."""
    comment_tokens: float = 60
    """Tokens of a comment with its template and labels; the summary comes on top where it is not cached."""
    summary_tokens: float = 220
    viral: float = 0.0
    """Share of all comments that are the first video's."""


@dataclass(frozen=True)
class Machine:
    """What one replica is."""

    name: str
    tokens_per_second: float
    videos: int = 32
    answers: int = 60_000
    hit_seconds: float = 0.0005


@dataclass
class Replica:
    """A queue, and two caches that forget what is longest unused."""

    machine: Machine
    free_at: float = 0.0
    ends: list[float] = field(default_factory=list)
    done: int = 0
    busy: float = 0.0
    videos: OrderedDict[int, None] = field(default_factory=OrderedDict)
    answers: OrderedDict[tuple[int, int], None] = field(default_factory=OrderedDict)

    def active(self, now: float) -> int:
        """Calls in flight; they end in their order."""
        if self.done < len(self.ends) and self.ends[self.done] <= now:
            self.done = bisect.bisect_right(self.ends, now, self.done)
            if self.done > 4096:
                del self.ends[: self.done]
                self.done = 0
        return len(self.ends) - self.done

    def serve(self, now: float, video: int, comment: int, traffic: Traffic) -> tuple[float, bool, bool]:
        """Returns the seconds it takes, and whether the answer and the video were cached."""
        answered = _touch(self.answers, (video, comment), self.machine.answers)
        cached = True if answered else _touch(self.videos, video, self.machine.videos)
        tokens = traffic.comment_tokens + (0 if cached else traffic.summary_tokens)
        work = self.machine.hit_seconds if answered else tokens / self.machine.tokens_per_second
        self.busy += work
        if answered:  # from memory: it waits for no step
            return work, True, True
        self.free_at = max(now, self.free_at) + work
        self.ends.append(self.free_at)
        return self.free_at - now, False, cached


K = TypeVar("K")


def _touch(cache: OrderedDict[K, None], key: K, size: int) -> bool:
    if key in cache:
        cache.move_to_end(key)
        return True
    cache[key] = None
    if len(cache) > size:
        cache.popitem(last=False)
    return False


@lru_cache(maxsize=1 << 20)
def hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@lru_cache(maxsize=64)
def maglev(replicas: tuple[int, ...]) -> list[int]:
    """Envoy's table: each replica takes slots in turn, in an order of its own."""
    offsets = [hashed(f"offset {each}") % TABLE for each in replicas]
    skips = [hashed(f"skip {each}") % (TABLE - 1) + 1 for each in replicas]
    at = list(offsets)
    table = [-1] * TABLE
    filled = 0
    while True:
        for n, each in enumerate(replicas):
            while table[at[n]] >= 0:
                at[n] = (at[n] + skips[n]) % TABLE
            table[at[n]] = each
            filled += 1
            if filled == TABLE:
                return table


@lru_cache(maxsize=64)
def ring(replicas: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Envoy's ring: as many points a replica as fill it, so fewer replicas have more."""
    points = sorted(
        (hashed(f"{each}_{n}"), each) for each in replicas for n in range(math.ceil(RING / len(replicas)))
    )
    return [point for point, _ in points], [each for _, each in points]


def home(policy: str, replicas: tuple[int, ...], video: int) -> int:
    """Where a video's calls go if the load allows."""
    key = hashed(f"video {video}")
    if policy == "maglev":
        return maglev(replicas)[key % TABLE]
    points, owners = ring(replicas)
    return owners[bisect.bisect_left(points, key) % len(owners)]


class Proxy:
    """Chooses a replica for each call."""

    def __init__(self, policy: str, replicas: list[Replica], rng: random.Random, bound: float = BOUND) -> None:
        self.policy, self.replicas, self.rng, self.bound = policy, replicas, rng, bound
        self.alive = tuple(range(len(replicas)))
        self._next = 0
        self._total, self._seen = 0, -1.0

    def choose(self, now: float, video: int) -> int:
        if self.policy == "random":
            return self.rng.choice(self.alive)
        if self.policy == "round_robin":
            self._next = (self._next + 1) % len(self.alive)
            return self.alive[self._next]
        if self.policy == "least_request":  # Envoy's: the better of two at random
            pair = self.rng.choice(self.alive), self.rng.choice(self.alive)
            return min(pair, key=lambda each: self.replicas[each].active(now))
        return self._bounded(now, video)

    def _bounded(self, now: float, video: int) -> int:
        first = home(self.policy, self.alive, video)
        if self.replicas[first].active(now) == 0:
            return first
        if now - self._seen > 0.002:  # the proxy's workers count a little late too
            self._seen, self._total = now, sum(self.replicas[each].active(now) for each in self.alive)
        slots = max(1, math.ceil((self._total + 1) * self.bound / len(self.alive)))
        if self.replicas[first].active(now) <= slots:
            return first
        order = random.Random(video)
        for _ in range(len(self.alive)):
            other = self.alive[order.randrange(len(self.alive))]
            if self.replicas[other].active(now) <= slots:
                return other
        return first


def arrivals(traffic: Traffic, count: int, rng: random.Random) -> Iterator[tuple[float, int, int]]:
    """Yields when, for which video, and which comment of it."""
    rank = zipf(traffic.videos, traffic.zipf)
    now = 0.0
    for n in range(count):
        now += rng.expovariate(traffic.per_second)
        video = 0 if rng.random() < traffic.viral else rank(rng.random())
        comment = rng.randrange(20) if rng.random() < traffic.duplicates else 20 + n
        yield now, video, comment


def zipf(count: int, exponent: float) -> Callable[[float], int]:
    """Ranks from 0, by the continuous law."""
    if abs(exponent - 1) < 1e-9:
        return lambda u: min(count - 1, int((count + 1) ** u) - 1)
    power = 1 - exponent
    top = (count + 1) ** power - 1
    return lambda u: min(count - 1, int((1 + u * top) ** (1 / power)) - 1)


@dataclass
class Outcome:
    """What clients and replicas saw in the second half of a run."""

    answers: float
    videos: float
    balance: float
    p50: float
    p99: float
    others_p99: float
    load: float


def simulate(
    policy: str, machine: Machine, size: int, traffic: Traffic, *, count: int, seed: int = 1, bound: float = BOUND
) -> Outcome:
    """One run; its first half only fills the caches."""
    rng = random.Random(seed)
    replicas = [Replica(machine) for _ in range(size)]
    proxy = Proxy(policy, replicas, rng, bound)
    answered = cached = computed = 0
    waits: list[tuple[float, int]] = []
    began = now = 0.0
    before = [0.0] * size
    for n, (now, video, comment) in enumerate(arrivals(traffic, count, rng)):
        if n == count // 2:
            began, before = now, [each.busy for each in replicas]
        seconds, hit, known = replicas[proxy.choose(now, video)].serve(now, video, comment, traffic)
        if n >= count // 2:
            answered += hit
            computed += not hit
            cached += known and not hit
            waits.append((seconds, video))
    work = [each.busy - start for each, start in zip(replicas, before, strict=True)]
    return Outcome(
        answered / len(waits),
        cached / max(1, computed),
        max(work) * size / sum(work),
        quantile([seconds for seconds, _ in waits], 0.5),
        quantile([seconds for seconds, _ in waits], 0.99),
        quantile([seconds for seconds, video in waits if video], 0.99),
        sum(work) / size / (now - began),
    )


def quantile(values: list[float], at: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(at * len(ordered)))] if ordered else math.nan


def needed(policy: str, machine: Machine, traffic: Traffic, target: float, count: int) -> tuple[int, Outcome]:
    """Returns the fewest replicas whose p99 is at most `target` seconds. A large system is simulated as one slice of
    it, with as many fewer videos: its first ones are then more popular than they would be, which errs on the safe side.
    """
    work = traffic.comment_tokens + 0.6 * traffic.summary_tokens
    slices = max(1.0, work * traffic.per_second / machine.tokens_per_second / SLICE)
    traffic = replace(traffic, per_second=traffic.per_second / slices, videos=int(traffic.videos / slices))
    least = traffic.comment_tokens * (1 - traffic.duplicates) * traffic.per_second / machine.tokens_per_second
    low, high = max(1, math.floor(least * 0.6)), max(2, math.ceil(2 * least))

    def fits(size: int) -> Outcome | None:
        # Long enough that a queue which grows is seen: each replica gets its share of calls.
        outcome = simulate(policy, machine, size, traffic, count=max(count, 300 * size))
        return outcome if outcome.p99 <= target and outcome.load < 0.95 else None

    while fits(high) is None:
        low, high = high, math.ceil(high * 1.3) + 1
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    found = fits(high)
    assert found is not None
    return math.ceil(high * slices), found


def policies(args: argparse.Namespace) -> None:
    """Policies at a load that keeps the replicas three quarters busy where one video in five is cached."""
    machine = machines(args)[0]
    rate = 0.75 * args.replicas * machine.tokens_per_second / (args.comment_tokens + 0.8 * args.summary_tokens)
    rows = [["policy", "answers from memory", "videos cached", "busiest / mean", "load", "p50", "p99"]]
    for policy in POLICIES:
        outcome = simulate(policy, machine, args.replicas, traffic(args, rate), count=args.count)
        rows.append(row(policy, outcome))
    table(rows)


def row(name: str, it: Outcome) -> list[str]:
    times = [f"{it.p50:.2f} s", f"{it.p99:.2f} s"]
    return [name, f"{it.answers:.1%}", f"{it.videos:.1%}", f"{it.balance:.2f}", f"{it.load:.0%}", *times]


def plan(args: argparse.Namespace) -> None:
    rows = [["comments a day", "at the peak", "machine", "replicas by Maglev", "by least request"]]
    for per_day in (1e6, 1e8, 1e9):
        rate = per_day / 86_400 * args.peak
        for machine in machines(args):
            each = replace(traffic(args, rate), videos=max(100, int(per_day / args.comments_a_video)))
            cells = []
            for policy in ("maglev", "least_request"):
                size, outcome = needed(policy, machine, each, args.target_ms / 1000, args.count)
                cells.append(f"{size} ({outcome.load:.0%} busy, p99 {outcome.p99:.2f} s)")
            rows.append([f"{per_day / 1e6:,.0f} M", f"{rate:,.0f}/s", machine.name, *cells])
    table(rows)


def faults(args: argparse.Namespace) -> None:
    machine = machines(args)[0]
    rate = 0.5 * args.replicas * machine.tokens_per_second / (args.comment_tokens + 0.3 * args.summary_tokens)
    rows = [["a replica of so many is lost", "others' videos that move, Maglev", "ring hash"]]
    for size in (3, args.replicas, 40):
        rows.append([str(size), *(f"{moved(policy, size):.1%}" for policy in ("maglev", "ring_hash"))])
    table(rows)
    print()
    rows = [["60 % of calls for one video", "busiest / mean", "p99 of all", "p99 of other videos", "videos cached"]]
    for name, policy, bound, viral in (
        ("nothing viral", "maglev", BOUND, 0.0),
        ("Maglev, bound 1.5", "maglev", BOUND, 0.6),
        ("Maglev, no bound", "maglev", math.inf, 0.6),
        ("least request", "least_request", BOUND, 0.6),
    ):
        each = replace(traffic(args, rate), viral=viral)
        it = simulate(policy, machine, args.replicas, each, count=args.count, bound=bound if bound < math.inf else 1e9)
        rows.append([name, f"{it.balance:.2f}", f"{it.p99:.2f} s", f"{it.others_p99:.2f} s", f"{it.videos:.1%}"])
    table(rows)


def moved(policy: str, size: int, videos: int = 20_000) -> float:
    """The share of the videos of the replicas that are left which move when one is lost."""
    everyone = tuple(range(size))
    stay = [video for video in range(videos) if home(policy, everyone, video) != 0]
    left = everyone[1:]
    return sum(home(policy, left, video) != home(policy, everyone, video) for video in stay) / len(stay)


def machines(args: argparse.Namespace) -> list[Machine]:
    return [
        Machine("CPU", args.cpu_tokens),
        Machine("GPU", args.gpu_tokens, videos=128, answers=240_000),
    ]


def traffic(args: argparse.Namespace, rate: float) -> Traffic:
    return Traffic(rate, args.videos, args.zipf, args.duplicates, args.comment_tokens, args.summary_tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["policies", "plan", "faults"])
    parser.add_argument("--replicas", type=int, default=12)
    parser.add_argument("--count", type=int, default=60_000, help="comments of a run")
    parser.add_argument("--cpu-tokens", type=float, default=1_800, help="tokens per second that a replica on CPUs computes")
    parser.add_argument("--gpu-tokens", type=float, default=100_000, help="tokens per second on a GPU")
    parser.add_argument("--comment-tokens", type=float, default=60)
    parser.add_argument("--summary-tokens", type=float, default=220)
    parser.add_argument("--videos", type=int, default=20_000)
    parser.add_argument("--comments-a-video", type=float, default=200, help="comments a video gets in a day, in the mean")
    parser.add_argument("--zipf", type=float, default=1.0)
    parser.add_argument("--duplicates", type=float, default=0.1)
    parser.add_argument("--peak", type=float, default=2.5, help="the peak's rate over the day's mean")
    parser.add_argument("--target-ms", type=float, default=2_000, help="p99 to hold")
    args = parser.parse_args()
    {"policies": policies, "plan": plan, "faults": faults}[args.command](args)


if __name__ == "__main__":
    main()
