"""Ray Data over two nodes, an actor with a server on each, and an actor killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from cluster import BINARY, MODEL, REPOSITORY, until
from ray.cluster_utils import Cluster as RayCluster
from servers import OWN, all_end, below, refused, row

from ko_sentiment.ray import annotate

MEMORY = 150 << 20


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")


@pytest.fixture(scope="module")
def nodes(tmp: Path) -> Iterator[RayCluster]:
    os.environ |= {"TMPDIR": str(tmp), "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    node: dict[str, Any] = {"num_cpus": 2, "object_store_memory": MEMORY, "include_dashboard": False}
    made = RayCluster(initialize_head=True, head_node_args=node)
    try:
        del node["include_dashboard"]
        made.add_node(**node)
        ray.init(address=made.address, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield made
    finally:
        ray.shutdown()
        made.shutdown()  # type: ignore[no-untyped-call]
    all_end(tmp, 60)


def write(folder: Path, rows: list[dict[str, object]]) -> str:
    folder.mkdir()
    schema = pa.schema([("id", pa.int64()), ("comment", pa.string()), ("video", pa.string())])
    for part in range(4):
        pq.write_table(pa.Table.from_pylist(rows[part::4], schema), folder / f"{part}.parquet")
    return str(folder)


def test_rows_refused_are_rows(nodes: RayCluster, tmp: Path) -> None:
    source = write(tmp / "mixed", [row(n) for n in range(2000)])
    ds = annotate(ray.data.read_parquet(source), OWN, text="comment", video_id="video", actors=2, blocks=4)
    rows = ds.take_all()
    assert Counter(each["id"] for each in rows) == Counter(range(2000))
    for each in rows:
        assert (each["error"] is not None) == refused(each["id"]) == (each["label"] is None), each


def test_an_actor_killed_in_the_middle_loses_no_row(nodes: RayCluster, tmp: Path) -> None:
    all_end(tmp, 60)
    rows: list[dict[str, object]] = [
        {"id": n, "comment": f"{n % 300}번째 이야기", "video": f"v{n % 40}"} for n in range(3000)
    ]
    ds = ray.data.read_parquet(write(tmp / "in", rows))
    made = annotate(ds, OWN, text="comment", video_id="video", actors=2, batch_size=100, blocks=16)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            made.write_parquet(str(tmp / "out"))
        except BaseException as error:
            failed.append(error)

    job = threading.Thread(target=run)
    job.start()
    until(lambda: len(below(tmp)) == 2 or not job.is_alive(), 300, "two servers")
    assert job.is_alive(), failed or "the job was over before an actor could be killed"
    server = sorted(below(tmp))[0]
    os.kill(owner(server), signal.SIGKILL)
    until(lambda: server not in below(tmp), 60, "the end of the killed actor's server")
    job.join(400)
    assert not job.is_alive() and not failed, failed
    written = pq.read_table(str(tmp / "out")).to_pylist()
    assert Counter(each["id"] for each in written) == Counter(range(3000))
    assert all(each["label"] and each["error"] is None for each in written)


def owner(server: int) -> int:
    """The actor, as the server's guardian was told."""
    guardian = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1]
    return int(Path(f"/proc/{guardian}/cmdline").read_text().split("\0")[-3])


def test_the_example(nodes: RayCluster, tmp: Path) -> None:
    all_end(tmp, 60)
    source = write(tmp / "small", [row(n) for n in range(1, 40)])
    example = REPOSITORY / "clients/python/examples/ray_parquet.py"
    command = [sys.executable, example, "--binary", BINARY, "--model", MODEL, "--text", "comment", "--video", "video"]
    command += ["--actors", "1", source, tmp / "sentiments"]
    environment = {**os.environ, "RAY_ADDRESS": nodes.address}
    subprocess.run(list(map(str, command)), check=True, env=environment, timeout=300)
    assert Counter(pq.read_table(str(tmp / "sentiments"))["id"].to_pylist()) == Counter(range(1, 40))
