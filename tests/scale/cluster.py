"""Replicas of the real server, and Envoy in front of them with the configuration that we ship."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import yaml  # type: ignore[import-untyped]

from ko_sentiment import ROUTING_HEADER, Client, KoSentimentError, Retry, Tls, Video
from ko_sentiment.v1 import sentiment_pb2 as pb
from ko_sentiment.v1 import sentiment_pb2_grpc as rpc

REPOSITORY = Path(__file__).parents[2]
BINARY = Path(os.environ.get("KO_SENTIMENT_BINARY", REPOSITORY / "target/release/ko-sentiment"))
MODEL = Path(os.environ.get("KO_SENTIMENT_MODEL", REPOSITORY / "models/ko-gemma3-270m-sentiment.gguf"))
ENVOY = Path(sys.executable).parent / "envoy"
COMMENTS = ["영상미가 정말 좋네요", "광고가 너무 많아요", "잘 봤습니다"]
START_SECONDS = 180
# Small, so that three fit beside a build, and one thread, so that they do not wait for each other.
FLAGS = ("--ctx-size", "4096", "--max-request-tokens", "2048", "--threads", "1")


# Below those that the system gives to outgoing connections: while a replica is down, one of them could take its port.
PORTS = range(15_000, 32_000)


def free_port() -> int:
    while True:
        port = random.choice(PORTS)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                return port


def until(happens: Callable[[], bool], seconds: float, what: str) -> float:
    """Waits for what must happen in the end; returns after how many seconds it did."""
    began = time.monotonic()
    while not happens():
        assert time.monotonic() < began + seconds, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.05)
    return time.monotonic() - began


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("KO_SENTIMENT_")}


class Certificates:
    """A certificate for both sides of Envoy, and the root that signed it."""

    def __init__(self, folder: Path) -> None:
        self.crt, self.key, self.ca = folder / "tls.crt", folder / "tls.key", folder / "ca.crt"
        folder.mkdir(parents=True)
        signing, request, names = folder / "ca.key", folder / "tls.csr", folder / "names"
        names.write_text("subjectAltName=DNS:ko-sentiment,DNS:localhost\nbasicConstraints=CA:FALSE\n")
        new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self._openssl(*new, "-x509", "-days", "2", "-subj", "/CN=root", "-keyout", signing, "-out", self.ca)
        self._openssl(*new, "-subj", "/CN=ko-sentiment", "-keyout", self.key, "-out", request)
        sign = ["-CA", self.ca, "-CAkey", signing, "-CAcreateserial", "-extfile", names]
        self._openssl("x509", "-req", "-days", "2", *sign, "-in", request, "-out", self.crt)

    @staticmethod
    def _openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    @property
    def tls(self) -> Tls:
        return Tls(ca=self.ca, server_name="ko-sentiment")


class Replica:
    """A server that can be killed, hung, stopped, and started again on the same port."""

    def __init__(self, certificates: Certificates, log: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._certificates = certificates
        self._log = log
        self.start()

    def start(self) -> None:
        command = [BINARY, "serve", "--model", MODEL, "--listen", self.address, *FLAGS]
        command += ["--tls-cert", self._certificates.crt, "--tls-key", self._certificates.key]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=environment())

    def warm_up(self) -> None:
        """Waits until it serves and knows the comments."""
        with Client(self.address, tls=self._certificates.tls, timeout=START_SECONDS, retry=Retry(attempts=500)) as client:
            for comment in COMMENTS:
                client.classify(comment)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=90)


class Envoy:
    """Envoy with deploy/envoy, but for ports, paths and the replicas' addresses. `policy` takes another's place."""

    def __init__(self, folder: Path, replicas: list[Replica], policy: dict[str, Any] | None = None) -> None:
        self.port, self._admin = free_port(), free_port()
        self.replicas, self._policy = replicas, policy
        for name in ("envoy.yaml", "downstream.yaml", "upstream.yaml"):
            text = (REPOSITORY / "deploy/envoy" / name).read_text().replace("/etc/envoy-tls", f"{folder}/tls")
            (folder / name).write_text(text.replace("/etc/envoy/", f"{folder}/"))
        config = yaml.safe_load((folder / "envoy.yaml").read_text())
        self._edit(config, [replica.port for replica in replicas])
        (folder / "envoy.yaml").write_text(yaml.safe_dump(config))
        log = (folder / "envoy.log").open("wb")
        command = [str(ENVOY), "--config-path", str(folder / "envoy.yaml"), "--concurrency", "1", "--log-level", "warn"]
        command += ["--disable-hot-restart"]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.log = folder / "envoy.log"

    def _edit(self, config: dict[str, Any], ports: list[int]) -> None:
        resources = config["static_resources"]
        listener, cluster = resources["listeners"][0], resources["clusters"][0]
        config["admin"]["address"]["socket_address"]["port_value"] = self._admin
        listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": self.port}
        endpoint = [{"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}} for port in ports]
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [{"endpoint": each} for each in endpoint]}]
        if self._policy is not None:
            cluster["load_balancing_policy"]["policies"] = [{"typed_extension_config": self._policy}]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        header = {"header": {"key": "x-replica", "value": "%UPSTREAM_HOST%"}}
        manager["route_config"]["virtual_hosts"][0]["response_headers_to_add"] = [header]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Each replica's state and counters."""
        url = f"http://127.0.0.1:{self._admin}/clusters?format=json"
        with urllib.request.urlopen(url, timeout=5) as response:
            statuses = json.load(response)["cluster_statuses"]
        hosts = {}
        for host in statuses[0].get("host_statuses", []):
            address = host["address"]["socket_address"]
            stats = {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
            down = any(value is True for key, value in host["health_status"].items() if key.startswith("failed_"))
            hosts[f"{address['address']}:{address['port_value']}"] = {"up": not down, **stats}
        return hosts

    def up(self) -> set[str]:
        try:
            return {address for address, host in self.hosts().items() if host["up"]}
        except OSError:
            return set()

    def stat(self, name: str) -> int:
        """A counter of the cluster."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/stats?filter={name}", timeout=5) as response:
            return int(response.read().split(b":")[-1])


class Cluster:
    """Three replicas behind Envoy."""

    def __init__(self, folder: Path, size: int = 3) -> None:
        self.certificates = Certificates(folder / "tls")
        self.replicas: list[Replica] = []
        try:
            for n in range(size):
                self.replicas.append(Replica(self.certificates, folder / f"replica-{n}.log"))
            for replica in self.replicas:
                replica.warm_up()
            self.envoy = Envoy(folder, self.replicas)
            self.all_up()
        except BaseException:
            self.close()
            raise

    @property
    def addresses(self) -> set[str]:
        """Of the replicas behind Envoy."""
        return {replica.address for replica in self.envoy.replicas}

    def all_up(self) -> None:
        until(lambda: self.envoy.up() == self.addresses, 60, "every replica's health")

    def use(self, folder: Path, policy: dict[str, Any] | None = None, size: int | None = None) -> None:
        """Puts another Envoy before the first `size` replicas."""
        folder.mkdir()
        shutil.copytree(self.certificates.crt.parent, folder / "tls")
        self.envoy.kill()
        self.envoy = Envoy(folder, self.replicas[:size], policy)
        self.all_up()

    def client(self) -> Client:
        return Client(f"localhost:{self.envoy.port}", tls=self.certificates.tls, timeout=60)

    def at(self, address: str) -> Replica:
        return next(replica for replica in self.replicas if replica.address == address)

    def routes(self, videos: list[str]) -> dict[str, str]:
        """Which replica answers for each video."""
        tls = self.certificates.tls
        options = (("grpc.ssl_target_name_override", tls.server_name),)
        with grpc.secure_channel(f"localhost:{self.envoy.port}", tls.credentials(), options) as channel:
            stub: Any = rpc.SentimentServiceStub(channel)  # type: ignore[no-untyped-call]
            routes = {}
            for video in videos:
                request = pb.ClassifyRequest(comment=COMMENTS[0])
                metadata = ((ROUTING_HEADER, str(Video(id=video).routing_key)),)
                _, call = stub.Classify.with_call(request, metadata=metadata, timeout=60)
                routes[video] = dict(call.initial_metadata())["x-replica"]
            return routes

    def close(self) -> None:
        if hasattr(self, "envoy"):
            self.envoy.kill()
        for replica in self.replicas:
            replica.kill()


class Load:
    """Calls from several threads until its block ends: videos in turn, comments that the replicas know."""

    def __init__(self, cluster: Cluster, videos: list[str], threads: int = 6, pause: float = 0.02) -> None:
        self._client = cluster.client()
        self._videos, self._pause = videos, pause
        self._end = threading.Event()
        self.done: Counter[str] = Counter()
        self.failed: list[KoSentimentError] = []
        self.slowest = 0.0
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def _run(self, first: int) -> None:
        count = first
        while not self._end.wait(self._pause):
            video = self._videos[count % len(self._videos)]
            began = time.monotonic()
            try:
                self._client.classify(COMMENTS[count % len(COMMENTS)], video=Video(id=video))
                self.done[video] += 1
            except KoSentimentError as error:
                self.failed.append(error)
            self.slowest = max(self.slowest, time.monotonic() - began)
            count += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        try:
            self.goes_on()
        except BaseException:
            self.__exit__()
            raise
        return self

    def goes_on(self) -> None:
        """Waits for some more calls' ends."""
        before = self.done.total()
        until(lambda: self.done.total() > before + 50, 60, "the end of 50 calls")

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def ended_well(self) -> None:
        """No call failed, and every video was answered."""
        assert not self.failed, f"{len(self.failed)} of {self.done.total()} failed: {self.failed[0]}"
        assert set(self.done) == set(self._videos)
        print(f"\n{self.done.total()} calls, 0 failed, the slowest {self.slowest:.1f} s")


def texts_in(log: Path) -> list[str]:
    """The comments, keys and tokens that a log names."""
    return re.findall("|".join(map(re.escape, COMMENTS)), log.read_text(errors="replace"))
