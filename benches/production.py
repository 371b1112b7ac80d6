#!/usr/bin/env python3
"""What production's safeguards cost and what they keep, measured against a real server.

    benches/production.py                # TLS, tokens, metrics and traces against none of them, in alternating pairs
    benches/production.py --overload     # three times the capacity, with deadlines: goodput, refusals, late answers
    benches/production.py --fairness     # one principal's interactive calls beside another's 64 bulk streams

Needs grpcio in `.python` (make .python/.stamp) and openssl. Prints tables; --fairness also writes `fairness.svg` into --out.
Only figures of one run can be compared: run it on a machine that does nothing else.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent import futures
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from harness import BINARY, MODEL  # noqa: E402
from harness.calls import SERVICE, Caller, comment, grpc, item, parts  # noqa: E402
from harness.certificates import Authority  # noqa: E402
from harness.chart import Panel, write  # noqa: E402
from harness.server import Server, environment  # noqa: E402
from harness.tokens import new_token, put  # noqa: E402

WORDS = (
    "영상 정말 재미있게 봤어요 다음 편도 기다릴게요 편집이 깔끔해서 좋고 설명도 쉬워서 시간 가는 줄 몰랐네요 그런데 소리가 작아요"
).split()


def texts(count: int, seed: int = 1):
    """Comments of 4 to 20 words, each of its own."""
    source = random.Random(seed)
    return [f"{i} " + " ".join(source.choices(WORDS, k=source.randrange(4, 21))) for i in range(count)]


class Collector:
    """Takes traces over OTLP and counts their spans."""

    def __init__(self):
        self.spans = 0
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        take = grpc.unary_unary_rpc_method_handler(self.take)
        name = "opentelemetry.proto.collector.trace.v1.TraceService"
        service = grpc.method_handlers_generic_handler(name, {"Export": take})
        self.server.add_generic_rpc_handlers((service,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def take(self, request: bytes, _context) -> bytes:
        for resource in parts(request).get(1, []):
            for scope in parts(resource).get(2, []):
                self.spans += len(parts(scope).get(2, []))
        return b""


def principals(folder: Path, binary, *names: str) -> dict[str, str]:
    """Writes a tokens file; the tokens by name."""
    made = {name: new_token(binary, name) for name in names}
    put(folder / "tokens.toml", "\n".join(entry for _, entry in made.values()))
    return {name: token for name, (token, _) in made.items()}


def figures(rows: list[tuple[str, str]]) -> None:
    for name, value in rows:
        print(f"{name:<52}{value:>24}", flush=True)


def bench(args, endpoint: str, data: Path, *flags) -> float:
    """Classifications per second."""
    command = [args.binary, "bench", "--data", data, "--requests", args.requests, "--clients", args.clients, "--json"]
    command += ["--endpoint", endpoint, "--timeout", 300, *flags]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True, env=environment())
    return json.loads(done.stdout)["classifications_per_second"]


def scrape(server: Server, stopping: threading.Event) -> None:
    while not stopping.wait(5):
        server.get("/metrics")


def pairs(args, folder: Path) -> None:
    """TLS, tokens, metrics and traces against none of them."""
    authority, collector = Authority(folder), Collector()
    authority.sign("server")
    token = folder / "token"
    put(token, principals(folder, args.binary, "bench")["bench"])
    data = folder / "comments.txt"
    data.write_text("\n".join(texts(args.requests)) + "\n")
    safe = ["--tls-ca", authority.path("ca.pem"), "--token-file", token]
    flags = ("--answer-cache-mib", 0)
    guards = (*authority.flags(), "--tokens", folder / "tokens.toml")
    traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}"}
    stopping, rows = threading.Event(), []
    with (
        Server(args.binary, args.model, *flags, *guards, env=traces) as guarded,
        Server(args.binary, args.model, *flags) as bare,
    ):
        threading.Thread(target=scrape, args=(guarded, stopping), daemon=True).start()
        https = f"https://localhost:{guarded.address[1]}"
        arms = {"bare": lambda: bench(args, bare.target, data), "guarded": lambda: bench(args, https, data, *safe)}
        for arm in arms.values():
            arm()
        print(f"{'round':<8}{'none, per second':>18}{'all, per second':>18}{'all / none':>14}")
        for i in range(args.rounds):
            # Which comes first changes, so that a drift of the machine cancels out.
            order = list(arms) if i % 2 == 0 else list(reversed(arms))
            speed = {name: arms[name]() for name in order}
            rows.append((speed["bare"], speed["guarded"], speed["guarded"] / speed["bare"]))
            print(f"{i + 1:<8}{rows[-1][0]:>18.2f}{rows[-1][1]:>18.2f}{rows[-1][2]:>14.4f}", flush=True)
        stopping.set()
    bare, guarded, ratio = (statistics.median(column) for column in zip(*rows))
    print(f"{'median':<8}{bare:>18.2f}{guarded:>18.2f}{ratio:>14.4f}")
    low, high = min(row[2] for row in rows), max(row[2] for row in rows)
    print(f"ratio {ratio:.4f}, from {low:.4f} to {high:.4f}, in {len(rows)} pairs; {collector.spans} spans exported")


class Arrivals:
    """Calls that don't wait for each other, and how each ended."""

    def __init__(self, client: Caller):
        self.method, self.lock = client.channel.unary_unary(SERVICE + "Classify"), threading.Condition()
        self.ended, self.open = [], 0

    def call(self, text: str, timeout: float) -> None:
        with self.lock:
            self.open += 1
        begun = time.monotonic()
        call = self.method.future(comment(text), timeout=timeout)
        call.add_done_callback(lambda call: self.end(call.code().name, time.monotonic() - begun))

    def end(self, code: str, seconds: float) -> None:
        with self.lock:
            self.ended.append((code, seconds))
            self.open -= 1
            self.lock.notify_all()

    def wait(self, at_most: int) -> None:
        """Until so many are open."""
        with self.lock:
            self.lock.wait_for(lambda: self.open <= at_most)


def capacity(server: Server, seconds: float, seed: int) -> float:
    """Answers per second to as many calls as the engine can compute at once."""
    with Caller(server.target) as client:
        arrivals, until = Arrivals(client), time.monotonic() + seconds
        for text in texts(1_000_000 if seconds > 600 else 100_000, seed):
            if time.monotonic() > until:
                break
            arrivals.call(text, 300)
            arrivals.wait(47)
        answered = len(arrivals.ended)
        arrivals.wait(0)
    return answered / seconds


def overload(args, _folder: Path) -> None:
    """Three times the capacity, with deadlines."""
    with Server(args.binary, args.model, "--answer-cache-mib", 0) as server:
        capacity(server, min(5, args.seconds), 2)
        able = capacity(server, args.seconds, 3)
        rate, source = 3 * able, random.Random(4)
        with Caller(server.target) as client:
            arrivals, begun = Arrivals(client), time.monotonic()
            at = begun
            for text in texts(int(rate * args.seconds), 5):
                at += source.expovariate(rate)
                time.sleep(max(0.0, at - time.monotonic()))
                arrivals.call(text, args.deadline)
            took = time.monotonic() - begun
            arrivals.wait(0)
        again = capacity(server, args.seconds, 6)
        expired = server.metric("ko_sentiment_jobs_ended_total", outcome="expired")
    by_code: dict[str, list[float]] = {}
    for code, seconds in arrivals.ended:
        by_code.setdefault(code, []).append(seconds)
    answered, able = by_code.get("OK", []), (able + again) / 2
    refused = by_code.get("RESOURCE_EXHAUSTED", [0.0])
    goodput = len(answered) / took
    figures([
        ("capacity before and after (mean), per second", f"{able:.1f}"),
        ("offered, per second", f"{len(arrivals.ended) / took:.1f}"),
        ("deadline, s", f"{args.deadline:g}"),
        ("goodput, per second", f"{goodput:.1f}"),
        ("goodput as a share of capacity", f"{goodput / able:.3f}"),
        ("wait for a refusal: median, 99 %, longest, ms", " ".join(f"{1000 * wait:.0f}" for wait in spread(refused))),
        ("time to an answer: median, 99 %, longest, ms", " ".join(f"{1000 * wait:.0f}" for wait in spread(answered))),
        ("answers after their deadline", str(sum(seconds > args.deadline for seconds in answered))),
        ("jobs that the engine gave up at their deadline", f"{expired:.0f}"),
        ("calls by code", ", ".join(f"{code} {len(all)}" for code, all in sorted(by_code.items()))),
    ])


def spread(times: list[float]) -> tuple[float, float, float]:
    times = sorted(times) or [0.0]
    return statistics.median(times), times[int(len(times) * 0.99)], times[-1]


class Bulk:
    """Streams of comments that never end."""

    def __init__(self, target: str, token: str, streams: int):
        self.stopping, self.answered, self.caller = threading.Event(), 0, Caller(target, token)
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(streams)]
        for thread in self.threads:
            thread.start()

    def run(self, number: int) -> None:
        def items():
            source = texts(200, number)
            count = 0
            while not self.stopping.is_set():
                yield item(str(count), f"{count} {source[count % 200]}")
                count += 1

        for _ in self.caller.stream(items(), timeout=None):
            self.answered += 1

    def end(self) -> None:
        self.stopping.set()
        self.caller.channel.close()


def interactive(client: Caller, seconds: float, seed: int) -> list[float]:
    """Milliseconds of calls that one person makes, a tenth of a second after each answer."""
    times, until = [], time.monotonic() + seconds
    for text in texts(100_000, seed):
        if time.monotonic() > until:
            break
        begun = time.monotonic()
        client.classify(text, timeout=300)
        times.append((time.monotonic() - begun) * 1000)
        time.sleep(0.1)
    return times


def quiet_end(bulk: Bulk) -> None:
    """Ends the streams; that their channel closes under them is no fault."""
    threading.excepthook = lambda _: None
    bulk.end()
    for thread in bulk.threads:
        thread.join(30)


def fairness(args, folder: Path) -> None:
    """One principal's interactive calls, with and without another's bulk streams."""
    tokens = principals(folder, args.binary, "person", "bulk")
    alone, beside, rates = [], [], []
    flags = ("--answer-cache-mib", 0, "--tokens", folder / "tokens.toml")
    with Server(args.binary, args.model, *flags) as server, Caller(server.target, tokens["person"]) as client:
        interactive(client, 2, 9)
        for i in range(args.rounds):
            alone += interactive(client, args.seconds, 10 + i)
            bulk = Bulk(server.target, tokens["bulk"], args.streams)
            time.sleep(min(3, args.seconds))
            before, begun = bulk.answered, time.monotonic()
            beside += interactive(client, args.seconds, 50 + i)
            rates.append((bulk.answered - before) / (time.monotonic() - begun))
            quiet_end(bulk)
    show = lambda times: "{:.0f} / {:.0f} / {:.0f}".format(*spread(times))
    figures([
        ("interactive alone: p50 / p99 / longest, ms", show(alone)),
        (f"beside {args.streams} bulk streams: p50 / p99 / longest, ms", show(beside)),
        ("bulk comments per second meanwhile", f"{statistics.median(rates):.1f}"),
        ("interactive calls measured", f"{len(alone)} and {len(beside)}"),
    ])
    shares = lambda times: [(time, 100 * (i + 1) / len(times)) for i, time in enumerate(sorted(times))]
    lines = {"alone": shares(alone), f"beside {args.streams} bulk streams": shares(beside)}
    args.out.mkdir(parents=True, exist_ok=True)
    panel = Panel("share of calls answered within, %", lines, x="milliseconds")
    write(args.out / "fairness.svg", "Interactive calls of one principal", [panel])
    print(f"{args.out}/fairness.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--overload", action="store_true")
    parser.add_argument("--fairness", action="store_true")
    parser.add_argument("--binary", default=BINARY)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--rounds", type=int, default=0, help="pairs [default: 9; of --fairness 3]")
    parser.add_argument("--requests", type=int, default=400, help="classifications of each half of a pair")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60, help="length of a window of --overload and --fairness")
    parser.add_argument("--deadline", type=float, default=2, help="seconds, with --overload")
    parser.add_argument("--streams", type=int, default=64, help="bulk streams of --fairness")
    parser.add_argument("--out", type=Path, default=ROOT / "target/production")
    args = parser.parse_args()
    args.rounds = args.rounds or (3 if args.fairness else 9)
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f} at the start")
    measure = overload if args.overload else fairness if args.fairness else pairs
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))


if __name__ == "__main__":
    main()
