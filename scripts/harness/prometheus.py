"""A real Prometheus that scrapes a real server, and the dashboard's queries."""

import json
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

from . import ROOT

RULES = ROOT / "deploy/prometheus"


def installed() -> Path | None:
    """The folder of prometheus and promtool, installed below target/ if they are missing; none where that cannot be."""
    done = subprocess.run([ROOT / "scripts/install-prometheus.sh"], stdout=subprocess.PIPE, text=True)
    if done.returncode == 3:
        return None
    done.check_returncode()
    return Path(done.stdout.strip())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return answer.read().decode()


def dashboard() -> list[dict]:
    """The dashboard's panels and rows, in its order."""
    return json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())["panels"]


def filled(query: str, interval: str) -> str:
    """A panel's query as Grafana would ask it for all jobs and instances."""
    for variable, text in [("$job", ".*"), ("$instance", ".*"), ("$__rate_interval", interval)]:
        query = query.replace(variable, text)
    return query


class Prometheus:
    """A running Prometheus."""

    def __init__(self, bin: Path, folder: Path, target: str, seconds: int = 1):
        """Scrapes `target` and keeps what it finds in `folder`."""
        config = (RULES / "prometheus.yml").read_text()
        config = config.replace("localhost:9464", target).replace("rules.yml", str(RULES / "rules.yml"))
        config = re.sub(r"(scrape|evaluation)_interval: 15s", rf"\1_interval: {seconds}s", config)
        (folder / "prometheus.yml").write_text(config)
        self.base = f"http://127.0.0.1:{free_port()}"
        flags = ["--storage.tsdb.path", folder / "data", "--web.listen-address", self.base.removeprefix("http://")]
        flags = [f"--config.file={folder}/prometheus.yml", *map(str, flags)]
        self.process = subprocess.Popen([bin / "prometheus", *flags], stderr=(folder / "prometheus.log").open("w"))

    def get(self, path: str, **query: str):
        url = f"{self.base}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        return json.loads(fetch(url))["data"]

    def value(self, query: str) -> float | None:
        result = self.get("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None

    def range(self, query: str, begin: float, end: float, step: float) -> list[dict]:
        """The series of a query between two times of the clock, each with `metric` and `values`."""
        return self.get("query_range", query=query, start=begin, end=end, step=step)["result"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
