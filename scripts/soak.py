#!/usr/bin/env python3
"""Keeps a real server under mixed load with faults, and watches whether it grows.

    scripts/soak.py [--minutes N] [--rate R] [--dashboard] [--binary FILE] [--model FILE] [--out FOLDER]

--dashboard also has a Prometheus watch it, and draws deploy/grafana/dashboard.json as `dashboard.svg`.

Classifications, batches, streams, reasons, cancelled calls, bad requests, clients that vanish, and a new certificate
and token every few minutes. Each minute is a row of `soak.csv`; `soak.svg` is its picture. Fails if a call fails that
should not, or if the last third of the run has more memory, descriptors or threads than the second by more than the
margins.
"""

import argparse
import contextlib
import csv
import random
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import BINARY, MODEL, ROOT
from harness.calls import Caller, batch, comment, grpc, item, part
from harness.certificates import Authority
from harness.chart import Panel, write
from harness.dashboard import picture as draw_dashboard
from harness.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, call_headers, frame, message
from harness.prometheus import Prometheus, installed
from harness.server import Server
from harness.tokens import new_token, put

# How much more the last third's median may be than the second's.
MARGINS = {"memory_mib": 24.0, "descriptors": 8, "threads": 2}
HELD = ("minute", "memory_mib", "descriptors", "threads")
COLUMNS = (*HELD, "calls_per_second", "p50_ms", "p99_ms", "failed", "faults", "rotations")
# Shares of calls. A good one must be answered.
KINDS = {"classify": 60, "video": 10, "batch": 5, "stream": 5, "reason": 5, "cancel": 7, "bad": 6, "vanish": 2}


class Callers:
    """Calls at random times, of random kinds; their times and failures until they are taken."""

    def __init__(self, server, access, rate: float):
        self.address, self.access, self.rate = server.address, access, rate
        self.target = server.target.replace("127.0.0.1", "localhost")
        self.lock, self.times, self.failed, self.faults = threading.Lock(), [], [], 0
        self.stopping = threading.Event()

    def make(self) -> Caller:
        return Caller(self.target, self.access.token, self.access.authority.credentials())

    def start(self, threads: int = 8) -> None:
        self.threads = [threading.Thread(target=self.run, args=(i, threads), daemon=True) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, number: int, threads: int) -> None:
        source, client = random.Random(number), self.make()
        while not self.stopping.wait(source.expovariate(self.rate / threads)):
            kind = source.choices(list(KINDS), KINDS.values())[0]
            if source.random() < 0.02:
                client.channel.close()
                client = self.make()
            client.metadata = (("authorization", f"Bearer {self.access.token}"),)
            begun = time.monotonic()
            try:
                getattr(self, kind)(client, source)
            except (grpc.RpcError, AssertionError, OSError) as error:
                code = error.code().name if isinstance(error, grpc.RpcError) else str(error)
                with self.lock:
                    self.failed.append(f"{kind}: {code}")
            with self.lock:
                if kind in ("classify", "video"):
                    self.times.append((time.monotonic() - begun) * 1000)
                self.faults += kind in ("cancel", "bad", "vanish")
        client.channel.close()

    def text(self, source) -> str:
        return f"{source.randrange(10**9)}번째 시청자예요. " + "영상 정말 잘 봤어요. " * source.randrange(1, 6)

    def classify(self, client, source):
        client.classify(self.text(source))

    def video(self, client, source):
        title = f"제주 여행 {source.randrange(60)}화"
        client.call("Classify", comment(self.text(source)) + part(2, part(2, title) + part(3, "먹고 걷는 이야기. " * 20)))

    def batch(self, client, source):
        client.call("ClassifyBatch", batch(self.text(source) for _ in range(8)))

    def stream(self, client, source):
        requests = [item(str(i), self.text(source)) for i in range(8)]
        assert sum(1 for _ in client.stream(iter(requests))) == 8, "results are missing"

    def reason(self, client, source):
        assert sum(1 for _ in client.reason(self.text(source), 24)) > 1, "no text"

    def cancel(self, client, source):
        events = client.reason(self.text(source), 200)
        next(events)
        events.cancel()

    def bad(self, client, source):
        wrong = (comment(" "), comment("가" * 10_001), comment(b"\xff\xfe"), b"\xff")
        client.refusal("Classify", source.choice(wrong))

    def vanish(self, _client, source):
        """A call over TLS whose client is gone, with a reset, before the answer."""
        with self.access.authority.connect(self.address) as peer:
            token = (b"authorization", b"Bearer " + self.access.token.encode())
            head = frame(HEADERS, END_HEADERS, 1, call_headers(b"Classify", token))
            peer.sendall(PREFACE + frame(SETTINGS, 0, 0) + head + frame(DATA, END_STREAM, 1, message(self.text(source))))
            time.sleep(source.random() * 0.1)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def take(self):
        with self.lock:
            taken = self.times, self.failed, self.faults
            self.times, self.failed, self.faults = [], [], 0
            return taken


class Access:
    """Certificates and tokens that are renewed. Of two tokens both are valid, so that calls under way are not cut off."""

    def __init__(self, folder: Path, binary):
        self.binary, self.path, self.rounds, self.entries = binary, folder / "tokens.toml", 0, []
        self.authority = Authority(folder)
        self.token = self.renew()

    def renew(self) -> str:
        """Puts a new certificate and a new token in place; the token, which the server knows a little later."""
        token, entry = new_token(self.binary, "soak")
        self.entries, self.rounds = [*self.entries[-1:], entry], self.rounds + 1
        put(self.path, "\n".join(self.entries))
        self.authority.sign("server")
        return token

    def rotate(self) -> None:
        token = self.renew()
        time.sleep(3)
        self.token = token

    def flags(self) -> list:
        return [*self.authority.flags(), "--tokens", self.path]


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(int(len(times) * share), len(times) - 1)] if times else 0.0


def measure(server: Server, callers: Callers, minute: float, seconds: float, rotations: int) -> dict:
    """A row: what the server holds now, and how the calls of the last minute went."""
    times, failed, faults = callers.take()
    for text in failed[:5]:
        print(f"minute {minute:g}: {text}", file=sys.stderr)
    held = (minute, server.anonymous(), server.descriptors(), server.status("Threads"))
    went = (len(times) / seconds, percentile(times, 0.5), percentile(times, 0.99), len(failed), faults, rotations)
    return dict(zip(COLUMNS, (*held, *went)))


def picture(rows: list[dict], path: Path) -> None:
    line = lambda name: [(row["minute"], row[name]) for row in rows]
    panels = [
        Panel("memory without the model's pages, MiB", {"": line("memory_mib")}),
        Panel("descriptors and threads", {name: line(name) for name in ("descriptors", "threads")}),
        Panel("classifications per second", {"": line("calls_per_second")}),
        Panel("latency of a classification, ms", {name[:3]: line(name) for name in ("p50_ms", "p99_ms")}),
        Panel("faults", {"": line("faults")}, x="minutes"),
    ]
    write(path, f"soak: {rows[-1]['minute']:g} minutes, {rows[-1]['rotations']} certificates", panels)


def growth(rows: list[dict]) -> list[str]:
    """What the last third of the run has more of than the second."""
    third, found = len(rows) // 3, []
    if third == 0:
        return found
    for name, margin in MARGINS.items():
        second, last = (statistics.median(r[name] for r in part) for part in (rows[third : 2 * third], rows[-third:]))
        print(f"{name}: {second:.1f} in the second third, {last:.1f} in the last; margin {margin:g}")
        if last > second + margin:
            found.append(f"{name} grew from {second:.1f} to {last:.1f}")
    return found


def run(args, server: Server, access: Access) -> list[dict]:
    callers, rows = Callers(server, access, args.rate), []
    callers.start()
    args.out.mkdir(parents=True, exist_ok=True)
    interval = min(60.0, args.minutes * 60 / 12)
    begun, rotated = time.monotonic(), 0
    with (args.out / "soak.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        while (now := time.monotonic() - begun) < args.minutes * 60:
            if int(now / args.rotate) > rotated:
                rotated += 1
                access.rotate()
            time.sleep(max(0.0, interval * (len(rows) + 1) - (time.monotonic() - begun)))
            minute = round((time.monotonic() - begun) / 60, 2)
            rows.append(measure(server, callers, minute, interval, access.rounds - 1))
            table.writerow({name: round(value, 2) for name, value in rows[-1].items()})
            file.flush()
            picture(rows, args.out / "soak.svg")
            print(" ".join(f"{name}={value:.5g}" for name, value in rows[-1].items()), flush=True)
    callers.stopping.set()
    for thread in callers.threads:
        thread.join(120)
    return rows


@contextlib.contextmanager
def watched(args, server: Server, folder: Path):
    """With --dashboard, a Prometheus beside the block, and the dashboard's picture after it."""
    if not args.dashboard:
        yield
        return
    if (tools := installed()) is None:
        sys.exit("Prometheus cannot be installed here; leave out --dashboard")
    prometheus, begun = Prometheus(tools, folder, server.known["serving metrics"], 15), time.time()
    try:
        yield
        draw_dashboard(prometheus, begun, time.time(), args.out / "dashboard.svg")
        print(f"{args.out}/dashboard.svg")
    finally:
        prometheus.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=4, help="calls per second; the default leaves a machine mostly idle")
    parser.add_argument("--rotate", type=float, default=180, help="seconds between two certificates")
    parser.add_argument("--dashboard", action="store_true", help="draw the dashboard; needs Prometheus")
    parser.add_argument("--binary", default=BINARY)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--out", type=Path, default=ROOT / "target/soak")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        access = Access(Path(folder), args.binary)
        with Server(args.binary, args.model, *access.flags(), "--answer-cache-mib", 4) as server:
            with watched(args, server, Path(folder)):
                rows = run(args, server, access)
            failed = server.metric("ko_sentiment_steps_failed_total")
            reloads = server.metric("ko_sentiment_reloads_total", kind="certificates", outcome="done")
            code = server.stop()
    faults = growth(rows)
    if count := sum(row["failed"] for row in rows):
        faults.append(f"{count} calls failed")
    if failed or code != 0:
        faults.append(f"{failed:.0f} steps failed; exit code {code}")
    if reloads < rows[-1]["rotations"]:
        faults.append(f"{rows[-1]['rotations']} new certificates, {reloads:.0f} taken")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    print(f"{args.out}/soak.csv, {args.out}/soak.svg: {'FAILED' if faults else 'flat'}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
