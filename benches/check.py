#!/usr/bin/env python3
"""Did this branch get slower? Its binary against the merge base's, paired in one run.

    make bench-check
    benches/check.py --base v0.1.0 --rounds 9

Builds the base in `target/bench-base` (llama.cpp too, the first time) and this tree in `target`. Then both measure the same
comments in turn, and who is first changes. A figure has moved if nearly every pair agrees on the direction (a sign test,
p < 0.1) and the median ratio is off by more than `--least` percent. Both run this tree's default model, or `--model`.
Prints a table; exits 1 if something got slower.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benches"))
from figures import conditions, output_of, spread  # noqa: E402

# Name, flags of `bench`, and the figure, of which more is better.
RUNS = (
    ("plain comments", ["--requests", "96"], "classifications_per_second"),
    ("20 videos", ["--requests", "96", "--videos", "20"], "classifications_per_second"),
    ("8 streams of reasons", ["--requests", "0", "--streams", "8"], "written_tokens_per_second"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="a revision (default: the merge base with origin/main, else the commit before)")
    parser.add_argument("--model", type=Path, default=ROOT / "models/ko-gemma3-270m-sentiment.gguf")
    parser.add_argument("--data", type=Path, default=ROOT / "models/training/data/comments.tsv", help="comments, as `bench` reads them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--least", type=float, default=3.0, help="percent that count as a move (default: %(default)g)")
    args = parser.parse_args()
    base = args.base or merge_base()
    binaries = {"base": build_base(base), "here": build(ROOT)}
    ratios: dict[str, list[float]] = {name: [] for name, *_ in RUNS}
    for i in range(args.rounds):
        for name, flags, figure in RUNS:
            order = list(binaries.items())[:: 1 if i % 2 else -1]
            found = {who: measure(binary, args, flags, figure) for who, binary in order}
            ratios[name].append(found["here"] / found["base"])
            print(f"round {i + 1}: {name}: {found['base']:.2f} before, {found['here']:.2f} here", file=sys.stderr, flush=True)
    print(f"against {git('log', '-1', '--format=%h %s', base)}; {args.rounds} pairs; {conditions()}\n")
    slower = [name for name, values in ratios.items() if row(name, values, args.least) == "slower"]
    sys.exit(1 if slower else 0)


def row(name: str, values: list[float], least: float) -> str:
    """Prints what became of a figure, and returns it."""
    middle = statistics.median(values)
    off = abs(middle - 1) * 100 > least and sign_test(values) < 0.1
    verdict = ("faster" if middle > 1 else "slower") if off else "as before"
    print(f"{name:24}{spread(values, '.3f')} times as fast: {verdict}")
    return verdict


def sign_test(ratios: list[float]) -> float:
    """Two-sided p of so many pairs on one side of 1, if each side were as likely."""
    n, above = len(ratios), sum(ratio > 1 for ratio in ratios)
    tail = sum(math.comb(n, k) for k in range(min(above, n - above) + 1)) / 2**n
    return min(1.0, 2 * tail)


def merge_base() -> str:
    head = git("rev-parse", "HEAD")
    found = subprocess.run(["git", "merge-base", "HEAD", "origin/main"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return found if found and found != head else git("rev-parse", "HEAD~1")


def build_base(revision: str) -> Path:
    folder = ROOT / "target/bench-base"
    if folder.exists():
        git("-C", str(folder), "checkout", "--quiet", "--detach", revision)
    else:
        git("worktree", "prune")
        git("worktree", "add", "--quiet", "--detach", str(folder), revision)
    return build(folder)


def build(folder: Path) -> Path:
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    subprocess.run(["cargo", "build", "--release"], cwd=folder, env=environment, check=True)
    return folder / "target/release/ko-sentiment"


def measure(binary: Path, args: argparse.Namespace, flags: list[str], figure: str) -> float:
    command = [binary, "bench", "--json", "--model", args.model, "--data", args.data, "--clients", "16", "--answer-cache-mib", "0"]
    value: float = output_of([*command, *flags])[figure]
    return value


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
