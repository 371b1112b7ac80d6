#!/usr/bin/env python3
"""Checks traces with a real collector (Rotel, from PyPI): a server exports a caller's trace, the collector prints it.

Where the collector cannot be installed, it says so and skips, unless CI_REQUIRE_COLLECTOR is set.
"""

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

from harness import BINARY, MODEL, ROOT
from harness.calls import Caller, batch
from harness.server import Server, wait_until

COLLECTOR = "rotel==0.0.1a15"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "비밀이에요"


def say(text: str) -> None:
    print(f"test-collector: {text}", flush=True)


def installed() -> Path:
    """The collector's binary."""
    folder = ROOT / "target/collector"
    binary = folder / "rotel/rotel-agent"
    if not binary.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run([*pip, "--target", folder, COLLECTOR], capture_output=True, text=True)
        if done.returncode != 0 and not os.environ.get("CI_REQUIRE_COLLECTOR"):
            say("SKIPPED: the collector cannot be installed here")
            sys.exit(0)
        assert done.returncode == 0, done.stderr
    binary.chmod(0o755)
    return binary


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Collector:
    """A running collector and what it printed."""

    def __init__(self):
        self.port, self.lines = free_port(), []
        listen = ["--otlp-grpc-endpoint", f"127.0.0.1:{self.port}", "--otlp-http-endpoint", f"127.0.0.1:{free_port()}"]
        command = [installed(), "start", *listen, "--exporter", "blackhole"]
        command += ["--debug-log", "traces", "--debug-log-verbosity", "detailed"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True).start()
        wait_until("the collector listens", self.listens)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def values(self, name: str) -> list[str]:
        """What it printed after a name and a colon."""
        found = (re.match(rf"\s*(?:-> )?{re.escape(name)}\s*: (.*)", line) for line in list(self.lines))
        return [match[1].strip() for match in found if match]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def check(collector: Collector) -> None:
    """A call of each shape, in one trace of the caller's."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_SERVICE_NAME": "comments",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    metadata = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
    with Server(BINARY, MODEL, env=variables) as server, Caller(server.target) as client:
        client.classify(SECRET, metadata=metadata)
        client.call("ClassifyBatch", batch([SECRET, "재미있어요"]), metadata=metadata)
        client.metadata = metadata
        assert sum(1 for _ in client.reason(SECRET, 8)) > 1
        wait_until("the spans are exported", lambda: server.metric("ko_sentiment_spans_exported_total") >= 10)
        exported = server.metric("ko_sentiment_spans_exported_total")
        assert server.metric("ko_sentiment_spans_dropped_total") == 0
        assert server.stop() == 0
    wait_until("the collector has them all", lambda: len(collector.values("Name")) >= exported)
    names = collector.values("Name")
    calls = {f"ko_sentiment.v1.SentimentService/{name}" for name in ("Classify", "ClassifyBatch", "StreamReason")}
    missing = calls | {"queue", "prefill", "decode", "comment"}
    missing -= set(names)
    assert not missing, f"no span is called {missing}; there are {sorted(set(names))}"
    assert set(collector.values("Trace ID")) == {TRACE}, "a span is of another trace"
    assert collector.values("Parent ID").count(PARENT) == 3, "each call's parent is the caller's span"
    assert "Str(comments)" in collector.values("service.name")
    assert not any(SECRET in line for line in collector.lines), "a comment is in a span"
    say(f"{len(names)} spans of one trace, {len(set(names))} names, arrived as they were sent")


def main() -> None:
    collector = Collector()
    try:
        check(collector)
    finally:
        collector.stop()
    say("passed")


if __name__ == "__main__":
    main()
