"""A real server in a process of its own."""

import http.client
import json
import os
import re
import subprocess
import threading
import time

from . import ROOT


def environment() -> dict:
    """This process's variables without those that would change a server."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("KO_SENTIMENT_", "OTEL_"))}
    # Which models were tried is no business of the user's cache folder.
    ours.setdefault("XDG_CACHE_HOME", str(ROOT / "target/harness-cache"))
    return ours


def wait_until(what: str, check, seconds: float = 30):
    """What `check` returns, as soon as that is something."""
    until = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
    return found


class Server:
    """`ko-sentiment serve` on a free port of the loopback interface, with its log and its metrics."""

    def __init__(self, binary, model, *flags, listen="127.0.0.1:0", prefix=(), env=None, patience=180, **popen):
        command = [*prefix, binary, "serve", "--model", model, "--log-format", "json"]
        command += ["--listen", listen, "--metrics-listen", "127.0.0.1:0", *flags]
        self.log, self.known, self.peak, self.watching = [], {}, 0.0, True
        ours = environment() | (env or {})
        self.process = subprocess.Popen(
            [str(part) for part in command], stderr=subprocess.PIPE, text=True, errors="replace", env=ours, **popen
        )
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        started = lambda: "serving" in self.known or self.process.poll() is not None
        try:
            wait_until("the server starts", started, patience)
            if "serving" not in self.known:
                self.reader.join(5)
                raise AssertionError(f"the server does not start: {''.join(self.log[-5:])}")
        except AssertionError:
            self.kill()
            raise

    def read(self):
        for line in self.process.stderr:
            self.log.append(line)
            if line.startswith("{"):
                entry = json.loads(line)
                if address := entry.get("address"):
                    self.known.setdefault(entry.get("message"), address)

    @property
    def target(self) -> str:
        """Where it serves, as clients write it."""
        return self.known["serving"]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.target.rsplit(":", 1)
        return host, int(port)

    def logged(self, text: str) -> bool:
        return any(text in line for line in list(self.log))

    def status(self, name: str) -> int:
        """A number of `/proc/PID/status`; memory in KiB."""
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(name + ":"))

    def rss(self) -> float:
        """Resident memory in MiB, the model's pages among it."""
        return self.status("VmRSS") / 1024

    def anonymous(self) -> float:
        """Resident memory in MiB without the pages of files."""
        return self.status("RssAnon") / 1024

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def watch(self, measure):
        """Keeps the peak of what `measure` gives, from now on."""
        self.peak = 0.0

        def look():
            while self.watching:
                try:
                    self.peak = max(self.peak, measure())
                except (OSError, StopIteration):
                    return
                time.sleep(0.05)

        threading.Thread(target=look, daemon=True).start()

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the metrics port."""
        connection = http.client.HTTPConnection(self.known["serving metrics"], timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            found = re.fullmatch(r"([a-z_]+)(\{.*\})? (\S+)", line)
            if found and found[1] == name and all(f'{k}="{v}"' in (found[2] or "") for k, v in labels.items()):
                total += float(found[3])
        return total

    def stop(self, seconds: float = 60) -> int:
        """Ends it as a supervisor does; the exit code."""
        self.watching = False
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server has not ended {seconds:g} s after SIGTERM") from None

    def kill(self):
        self.watching = False
        self.process.kill()
        self.process.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.stop()
