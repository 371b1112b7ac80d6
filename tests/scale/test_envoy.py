"""Routing by video, and what clients see while replicas fail: real replicas, real Envoy, TLS on both sides."""

from __future__ import annotations

import math
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, takewhile

import pytest
from cluster import COMMENTS, Cluster, Load, texts_in, until
from watch import Watch

from ko_sentiment import Item, Video

VIDEOS = [f"video-{n}" for n in range(24)]


def requests(cluster: Cluster) -> Counter[str]:
    return Counter({address: host["rq_total"] for address, host in cluster.envoy.hosts().items()})


def test_a_video_stays_on_its_replica(cluster: Cluster) -> None:
    routes = cluster.routes(VIDEOS)
    assert set(routes.values()) == cluster.addresses
    assert cluster.routes(VIDEOS) == routes
    before = requests(cluster)
    with cluster.client() as client:
        for id in VIDEOS:  # One after the other: streams side by side may overflow to a neighbour, as the bound says.
            assert all(result.classification for result in client.classify_many([Item(COMMENTS[0], Video(id=id))]))
    # Health checks are no requests of the cluster.
    assert requests(cluster) - before == Counter(routes.values())


def test_a_stream_a_video_whichever_replica_has_room(cluster: Cluster) -> None:
    before = requests(cluster)
    with cluster.client() as client:
        results = client.classify_many(Item(COMMENTS[0], Video(id=id)) for id in VIDEOS)
        assert all(result.classification for result in results)
    assert (requests(cluster) - before).total() == len(VIDEOS)


def test_a_killed_replica_costs_no_call(cluster: Cluster) -> None:
    many = [f"video-{n}" for n in range(200)]
    before = cluster.routes(many)
    lost = before[VIDEOS[0]]
    with Load(cluster, VIDEOS) as load:
        cluster.at(lost).kill()
        until(lambda: lost not in cluster.envoy.up(), 10, "the loss")
        load.goes_on()
    load.ended_well()
    after = cluster.routes(many)
    moved = [video for video, replica in before.items() if after[video] != replica != lost]
    assert lost not in after.values() and len(moved) <= 4, moved
    cluster.at(lost).start()
    cluster.at(lost).warm_up()
    cluster.all_up()
    assert cluster.routes(many) == before


def test_a_replica_that_hangs_is_ejected(cluster: Cluster) -> None:
    hung = cluster.routes(VIDEOS)[VIDEOS[0]]
    with Load(cluster, VIDEOS) as load:
        cluster.at(hung).signal(signal.SIGSTOP)
        try:
            seconds = until(lambda: hung not in cluster.envoy.up(), 8, "the ejection")
            assert hung not in cluster.routes(VIDEOS).values()
        finally:
            cluster.at(hung).signal(signal.SIGCONT)
        cluster.all_up()
    load.ended_well()
    print(f"ejected after {seconds:.1f} s")


def test_the_access_log_has_no_texts(cluster: Cluster) -> None:
    cluster.routes(VIDEOS[:1])
    until(lambda: "SentimentService/Classify" in cluster.envoy.log.read_text(errors="replace"), 15, "a line of the log")
    assert texts_in(cluster.envoy.log) == []
    assert VIDEOS[0] not in cluster.envoy.log.read_text(errors="replace")


@pytest.mark.long
def test_a_rolling_restart_costs_no_call(cluster: Cluster) -> None:
    ended = threading.Event()

    def many() -> list[str]:
        """One long `classify_many` over all of it."""
        items = (Item(comment, Video(id=id)) for comment, id in cycle(zip(COMMENTS * 8, VIDEOS)))
        paced = takewhile(lambda _: not ended.wait(0.005), items)
        with cluster.client() as client:
            results = list(client.classify_many(paced, window=64))
        assert [result.index for result in results] == list(range(len(results)))
        return [str(result.error) for result in results if result.error]

    with ThreadPoolExecutor(1) as pool, Load(cluster, VIDEOS) as load:
        stream = pool.submit(many)
        try:
            for replica in cluster.replicas:
                assert replica.stop() == 0
                replica.start()
                replica.warm_up()
                cluster.all_up()
        finally:
            ended.set()
        assert stream.result(timeout=120) == []
    load.ended_well()


@pytest.mark.long
def test_a_viral_video_does_not_drown_its_replica(cluster: Cluster) -> None:
    """Three calls of five are for one video, and none is answered from memory, so that calls pile up."""
    hot, at_once = VIDEOS[0], 24
    home = cluster.routes(VIDEOS)[hot]

    def call(n: int) -> None:
        video = hot if n % 5 < 3 else VIDEOS[1 + n % 23]
        client.classify(f"{n}번째 댓글", video=Video(id=video), timeout=120)

    with cluster.client() as client, ThreadPoolExecutor(at_once) as pool, Watch(cluster) as watch:
        list(pool.map(call, range(240)))
    # However the calls end, a replica gets one more only below the bound; without it, the hot one has three in five.
    bound = math.ceil(1.5 * at_once / 3) + 2
    peaks = [max(hosts) for hosts in watch.active]
    assert max(peaks) <= bound, f"over the bound {bound}: {sorted(peaks)[-10:]}"
    assert max(sum(hosts) for hosts in watch.active) >= 20, "the calls did not pile up"
    total = watch.calls
    assert total[home] <= 0.58 * sum(total.values()), total
    print(f"\nof 240 calls, 144 for one video, its replica took {total[home]}: {sorted(total.values())}")
