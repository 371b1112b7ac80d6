"""What every class of faults stands on: the list of them, servers, and what must hold whatever happens."""

import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from harness.calls import Caller
from harness.http2 import Good
from harness.server import Server, environment, wait_until

# Short times, so that what takes half a minute by default takes seconds.
IMPATIENT = ("--handshake-seconds", 1, "--keepalive-seconds", 1, "--keepalive-timeout-seconds", 1)
FAULTS = []


class Skip(Exception):
    """This machine cannot bring the fault about; says why."""


@dataclass
class Fault:
    name: str
    must: str
    run: object


def fault(name: str, must: str):
    """Adds a function to the list. It returns what it saw, in a few words, or raises AssertionError."""

    def add(run):
        FAULTS.append(Fault(name, must, run))
        return run

    return add


class Ground:
    """Binary, model, a folder, and one server that most faults share."""

    def __init__(self, binary: Path, model: Path, short: bool):
        self.binary, self.model, self.short = Path(binary).resolve(), Path(model).resolve(), short
        self.temporary = tempfile.TemporaryDirectory(prefix="ko-sentiment-faults-")
        self.folder = Path(self.temporary.name)
        self.shared_server = None

    def serve(self, *flags, model=None, **more) -> Server:
        return Server(self.binary, model or self.model, "--answer-cache-mib", 0, "--no-warm-up", *flags, **more)

    @property
    def server(self) -> Server:
        """The shared one. A fault that ends it has failed, and the next gets a new one."""
        if self.shared_server is None or self.shared_server.process.poll() is not None:
            self.shared_server = self.serve(*IMPATIENT)
        return self.shared_server

    def command(self, *arguments, timeout=120, **popen) -> subprocess.CompletedProcess:
        """Runs the binary; its output as text."""
        command = [str(part) for part in (self.binary, *arguments)]
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("env", environment())
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, **popen)

    def close(self):
        if self.shared_server is not None and self.shared_server.process.poll() is None:
            self.shared_server.stop()
        self.temporary.cleanup()


def is_fine(server: Server, others: int = 0) -> None:
    """A new client is answered, nothing is left running, no connection but those of `others`, and the probes say so."""
    assert server.process.poll() is None, f"the server ended with {server.process.poll()}: {''.join(server.log[-3:])}"
    good = Good(server.address)
    good.call()
    good.connection.close()
    wait_until("all jobs end", lambda: running(server) == 0)
    wait_until("all connections end", lambda: server.metric("ko_sentiment_connections") <= others)
    assert server.get("/readyz")[0] == 200, "not ready"


def answers_meanwhile(server: Server, run):
    """Runs something while a good caller is answered without a pause."""
    done, failures = threading.Event(), []

    def call():
        try:
            good = Good(server.address)
            while not done.is_set():
                good.call()
            good.connection.close()
        except (AssertionError, OSError) as error:
            failures.append(str(error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        return run()
    finally:
        done.set()
        thread.join(90)
        assert not failures, f"meanwhile {failures[0]}"


def running(server: Server) -> float:
    """Jobs that run or wait."""
    return server.metric("ko_sentiment_jobs_running") + server.metric("ko_sentiment_jobs_waiting")


def growth(before: float, now: float, most: float) -> str:
    """How much memory grew, in words; less than `most` MiB."""
    grown = now - before
    assert grown < most, f"memory grew by {grown:.0f} MiB"
    return f"memory {grown:+.0f} MiB"


def handled(server: Server, code: str) -> float:
    """Calls that ended with a code."""
    return server.metric("grpc_server_handled_total", grpc_code=code)


def caller(server: Server, **more) -> Caller:
    return Caller(server.target, **more)
