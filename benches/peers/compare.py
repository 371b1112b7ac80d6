#!/usr/bin/env python3
"""Ours against llama-server: the same model, the same prompts, alternating runs, medians and ratios.

    cargo build --release
    benches/peers/compare.py --llama-cpp BUILD/bin --data comments.txt

BUILD/bin holds llama-server and llama-bench (README.md beside this file tells how to build them).
llama-server answers with one scored token; ours scores all three labels whole, through gRPC. What the same
answer takes of llama-server, a request more for each further token of a label, is a row of its own.
All comments of a round are different, and our answer cache is off.

    benches/peers/compare.py --streams 8 --llama-cpp BUILD/bin --data comments.txt

sets the pace of so many explanations at once against llama-batched-bench's, with drafts and without, and

    benches/peers/compare.py --duplicates 10 --data comments.txt
    benches/peers/compare.py --drafts --streams 8 --requests 240 --data comments.txt

need no peer: ours, with a stream of so many percent repeats against one without, and with drafts against without.
--temperature 2 makes the text so random that drafts fail.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benches"))
from comments import different  # noqa: E402
from energy import Meter  # noqa: E402
from figures import ratios, spread  # noqa: E402
from own_server import OwnServer  # noqa: E402

BEST = ["--swa-full", "-kvu"]
# Name, flags, and whether it takes a request for each token of a label.
PEERS = {
    "best": ("llama-server, best flags", BEST, False),
    "no-repack": ("the same, --no-repack", [*BEST, "--no-repack"], False),
    "whole": ("the same, labels whole", [*BEST, "--no-repack"], True),
    "defaults": ("llama-server, defaults", [], False),
}
WARM_UP = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, help="folder with llama-server and llama-bench")
    parser.add_argument("--llama-cpp-blas", type=Path, help="the same, built with -DGGML_BLAS=ON: a row more")
    parser.add_argument("--peers", default="best,no-repack,whole,defaults", help=f"of {', '.join(PEERS)} (default: %(default)s)")
    parser.add_argument("--data", required=True, type=Path, help="comments, one a line")
    parser.add_argument("--model", type=Path, default=ROOT / "models/ko-gemma3-270m-sentiment.gguf")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/ko-sentiment")
    parser.add_argument("--profile", type=Path, default=ROOT / "models/ko-gemma3-270m-sentiment/profile.toml", help="prompt and labels of all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--videos", type=int, default=0, help="interleaved videos with summaries of about 200 tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--streams", type=int, default=0, metavar="N", help="explanations at once, against llama-batched-bench")
    parser.add_argument("--duplicates", type=int, default=0, metavar="PERCENT", help="ours alone: with so many repeats against without")
    parser.add_argument("--drafts", action="store_true", help="ours alone: with drafts against without; --requests explanations in --streams")
    parser.add_argument("--temperature", type=float, default=0, help="of explanations")
    args = parser.parse_args()
    if not args.llama_cpp and not args.duplicates and not args.drafts:
        parser.error("--llama-cpp is needed, but for --duplicates and --drafts")
    if args.drafts and not args.streams:
        parser.error("--drafts needs --streams")

    # Every round has comments of its own. Videos stay.
    comments = different(args.data, args.rounds, args.requests)
    summaries = make_summaries(args.videos, sum(comments, []))
    rounds = [make_items(each, summaries) for each in comments]
    if args.duplicates:
        repeats(args, rounds)
    elif args.drafts:
        drafts(args, rounds)
    elif args.streams:
        paces(args, rounds)
    else:
        peers(args, rounds)


def repeats(args: argparse.Namespace, rounds: list[list[dict]]) -> None:
    """With repeats against without, the order changing from round to round."""
    kinds = {"all different": [], f"{args.duplicates} % repeats": ["--duplicates", args.duplicates]}
    figures: dict[str, list[float]] = {name: [] for name in kinds}
    tokens: dict[str, list[float]] = {name: [] for name in kinds}
    for i, items in enumerate(rounds):
        for name, flags in list(kinds.items())[:: 1 if i % 2 else -1]:
            result = ours(args, items, [*in_process(args), "--grpc", *flags])
            if not flags and result["from_cache"]:
                raise RuntimeError("comments that are all different came from the cache")
            figures[name].append(result["classifications_per_second"])
            tokens[name].append(result["computed_tokens_per_second"] * result["seconds"])
            print(f"round {i + 1}: {name} {figures[name][-1]:.2f} a second, {result['from_cache']} of {len(items)} from the cache", flush=True)
    plain, repeated = figures.values()
    print_pairs(figures, ratios(repeated, plain))
    less = [a / b for a, b in zip(*tokens.values())]
    print(f"tokens computed without repeats, over those with them: median {statistics.median(less):.3f}")


NO_DRAFTS = ["--draft-max", 0]


def drafts(args: argparse.Namespace, rounds: list[list[dict]]) -> None:
    """With drafts against without, the order changing from round to round. Each run has all to learn."""
    kinds = {"drafts": [], "no drafts": NO_DRAFTS}
    figures: dict[str, list[float]] = {name: [] for name in kinds}
    for i, items in enumerate(rounds):
        for name, flags in list(kinds.items())[:: 1 if i % 2 else -1]:
            result = explain(args, items, flags)
            figures[name].append(result["written_tokens_per_second"])
            accepted = f"{result['drafted_tokens']} drafted, {100 * result['accepted_share']:.0f} % of them right"
            print(f"round {i + 1}: {name} {figures[name][-1]:.1f} tokens/s, prompts included; {accepted}", flush=True)
    with_drafts, without = figures.values()
    print_pairs(figures, ratios(with_drafts, without))


def print_pairs(figures: dict[str, list[float]], found: list[float]) -> None:
    """Two kinds of runs, and how they compare."""
    print("\nmedians a second: " + ", ".join(f"{name} {statistics.median(values):.2f}" for name, values in figures.items()))
    print(f"ratio by pairs: {spread(found, '.3f')}")


def explain(args: argparse.Namespace, items: list[dict], flags: list) -> dict:
    """Explanations of the items, in so many streams."""
    each = max(1, len(items) // args.streams)
    flags = [*in_process(args), "--streams", args.streams, "--per-stream", each, "--requests", 0, *flags]
    return ours(args, items, [*flags, "--temperature", args.temperature])


def paces(args: argparse.Namespace, rounds: list[list[dict]]) -> None:
    """Tokens a second of all streams together, between the first and the last of each text: ours, and as llama-batched-bench
    writes them."""
    kernels = {"as served": ["--no-repack"], "repacked": []}
    kinds = {"ko-sentiment": [], "ko-sentiment, no drafts": NO_DRAFTS}
    figures: dict[str, list[float]] = {**{name: [] for name in kinds}, **{f"llama-batched-bench, {name}": [] for name in kernels}}
    for i, items in enumerate(rounds):
        for name, flags in list(kinds.items())[:: 1 if i % 2 else -1]:
            figures[name].append(args.streams * explain(args, items, flags)["stream_tokens_per_second"])
        for name, kernel in kernels.items():
            figures[f"llama-batched-bench, {name}"].append(batched_bench(args, kernel))
    for name, values in figures.items():
        found = ratios(figures["ko-sentiment"], values)
        print(f"{name:32}{statistics.median(values):8.1f} tokens/s   ratio to it, by pairs: {spread(found, '.2f')}")


def batched_bench(args: argparse.Namespace, kernel: list[str]) -> float:
    """Tokens a second of writing: prompts of 100 tokens and 32 of text, which is what an explanation has."""
    command = [args.llama_cpp / "llama-batched-bench", "-m", args.model, "-t", args.threads, "-c", 4096, "-kvu", *kernel]
    command += ["-npp", 100, "-ntg", 32, "-npl", args.streams, "--output-format", "jsonl"]
    output = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("{"))
    return json.loads(line)["speed_tg"]


def peers(args: argparse.Namespace, rounds: list[list[dict]]) -> None:
    figures: dict[str, list[float]] = {"ko-sentiment, gRPC": [], "ko-sentiment, in process": []}
    servers = {}
    for peer in args.peers.split(","):
        name, flags, whole = PEERS[peer]
        servers[name] = LlamaServer(args, args.llama_cpp, flags, whole)
        if args.llama_cpp_blas:
            servers[f"{name}, OpenBLAS"] = LlamaServer(args, args.llama_cpp_blas, flags, whole)
    figures |= {name: [] for name in servers}
    figures["tokens/s: ko-sentiment"] = []
    figures["tokens/s: llama-bench pp512"] = []
    energy: dict[str, list[float]] = {}
    meter = Meter()
    flags = ["--profile", args.profile, "--threads", args.threads, "--parallel", args.clients, "--answer-cache-mib", 0]
    own = OwnServer(args.binary, args.model, *flags)
    kinds = {
        "ko-sentiment, gRPC": ["--endpoint", own.address],
        "ko-sentiment, in process": [*in_process(args), "--answer-cache-mib", 0],
    }
    try:
        for i, items in enumerate(rounds):
            # Who is first in a round changes.
            for name, flags in list(kinds.items())[:: 1 if i % 2 else -1]:
                meter.start()
                result = ours(args, items, flags)
                note_energy(energy, name, meter, len(items))
                figures[name].append(result["classifications_per_second"])
                if "computed_tokens_per_busy_second" in result:
                    figures["tokens/s: ko-sentiment"].append(result["computed_tokens_per_busy_second"])
            figures["tokens/s: llama-bench pp512"].append(llama_bench(args))
            for name, server in servers.items():
                meter.start()
                figures[name].append(server.run(items, args.clients))
                note_energy(energy, name, meter, len(items))
            print(f"round {i + 1}: " + ", ".join(f"{name} {values[-1]:.2f}" for name, values in figures.items()), flush=True)
    finally:
        for server in [own, *servers.values()]:
            server.stop()
    report(figures)
    for name, values in energy.items():
        print(f"joules a comment, the machine's idle share and the warm-up included: {name} {spread(values, '.2f')}")
    if not energy:
        print("energy: this machine doesn't let its RAPL counters be read")


def note_energy(energy: dict[str, list[float]], name: str, meter: Meter, comments: int) -> None:
    joules = meter.joules()
    if joules is not None:
        energy.setdefault(name, []).append(joules / comments)


def report(figures: dict[str, list[float]]) -> None:
    print(f"\n{'':32}{'median':>9}{'min':>9}{'max':>9}   ratio of gRPC to it, by pairs: median (min to max)")
    ours = figures["ko-sentiment, gRPC"]
    for name, values in figures.items():
        row = f"{name:32}{statistics.median(values):9.2f}{min(values):9.2f}{max(values):9.2f}"
        if not name.startswith("tokens/s"):
            row += f"   {spread(ratios(ours, values), '.2f')}"
        print(row)
    found = ratios(figures["tokens/s: ko-sentiment"], figures["tokens/s: llama-bench pp512"])
    print(f"computed tokens per second against pp512: {spread(found, '.2f')}")


def make_summaries(videos: int, comments: list[str]) -> list[str]:
    """Made-up summaries of about 200 tokens."""
    firsts = [video * 11 % len(comments) for video in range(videos)]
    return [" ".join((comments[first:] + comments[:first])[:20])[:350] for first in firsts]


def make_items(comments: list[str], summaries: list[str]) -> list[dict]:
    items = [{"comment": comment, "label": "중립"} for comment in comments]
    for i, item in enumerate(items if summaries else []):
        item["video_summary"] = summaries[i % len(summaries)]
    return items


def in_process(args: argparse.Namespace) -> list:
    return ["--model", args.model, "--profile", args.profile, "--threads", args.threads]


def ours(args: argparse.Namespace, items: list[dict], flags: list[str]) -> dict:
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        file.flush()
        command = [args.binary, "bench", "--json", "--data", file.name, *flags]
        command += ["--clients", args.clients, "--warmup", WARM_UP]
        if "--requests" not in flags:
            command += ["--requests", len(items)]
        output = subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return json.loads(output.stdout)


def llama_bench(args: argparse.Namespace) -> float:
    command = [args.llama_cpp / "llama-bench", "-m", args.model, "-t", args.threads, "-p", 512, "-n", 0, "-r", 2, "-o", "json", "--repack", 0]
    output = subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return json.loads(output.stdout)[0]["avg_ts"]


class LlamaServer:
    """A llama-server with a slot a client."""

    def __init__(self, args: argparse.Namespace, folder: Path, flags: list[str], whole: bool) -> None:
        self.profile = tomllib.loads(args.profile.read_text(encoding="utf-8"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [folder / "llama-server", "-m", args.model, "--port", self.port, "-t", args.threads]
        command += ["-np", args.clients, "-c", 16384, "-b", 2048, "-ub", 512, "--no-webui", *flags]
        quiet = subprocess.DEVNULL
        # Both slow OpenBLAS down where a machine sets them.
        environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        self.process = subprocess.Popen([str(part) for part in command], stdout=quiet, stderr=quiet, env=environment)
        for _ in range(600):
            try:
                beginnings = self.label_beginnings()
                self.ends = ["", *beginnings] if whole else [""]
                return
            except (OSError, ValueError):  # not listening, or still loading
                time.sleep(0.1)
        raise RuntimeError("llama-server does not start")

    def stop(self) -> None:
        self.process.terminate()

    def label_beginnings(self) -> list[str]:
        """What stands before each further token of the labels."""
        beginnings = []
        for label in self.profile["labels"].values():
            tokens = self.post("/tokenize", {"content": label, "with_pieces": True})["tokens"]
            pieces = [token["piece"] for token in tokens]
            beginnings += ["".join(pieces[:count]) for count in range(1, len(pieces))]
        return beginnings

    def prompt(self, item: dict) -> str:
        p = self.profile
        text = p["turn"]["user"] + p["instruction"]
        if item.get("video_summary"):
            text += p["video"]["summary"].replace("{summary}", item["video_summary"]) + p["video"]["end"]
        return text + p["comment"].replace("{comment}", item["comment"]) + p["turn"]["model"] + p["answer"]["prefix"]

    def run(self, items: list[dict], clients: int) -> float:
        """Classifications per second, after as many to warm up as our own bench makes."""
        self.classify([{"comment": f"({i}) {item['comment']}"} for i, item in enumerate(items[:WARM_UP])], clients)
        begun = time.perf_counter()
        self.classify(items, clients)
        return len(items) / (time.perf_counter() - begun)

    def classify(self, items: list[dict], clients: int) -> None:
        """Each of `clients` sends its next request when it has an answer."""
        left = iter(items)
        lock = threading.Lock()
        failures = []

        def client() -> None:
            while True:
                with lock:
                    item = next(left, None)
                if item is None:
                    return
                try:
                    prompt = self.prompt(item)
                    for end in self.ends:
                        body = {"prompt": prompt + end, "n_predict": 1, "n_probs": 3, "cache_prompt": True, "temperature": 0}
                        self.post("/completion", body)
                except (OSError, ValueError) as error:
                    failures.append(error)
                    return

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def post(self, path: str, body: dict) -> dict:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise OSError(f"llama-server answered {path} with {response.status}: {answer.decode(errors='replace')}")
            return json.loads(answer)
        finally:
            connection.close()


if __name__ == "__main__":
    main()
