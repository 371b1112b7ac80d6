#!/usr/bin/env python3
"""All that is to be known of a CUDA build, in one command, on a machine with a GPU, nvcc and cargo:

    pip install torch transformers safetensors
    benches/cuda/check.py --data comments.txt --llama-cpp LLAMA_CPP_BUILD/bin

Builds with `--features cuda`, then checks that every layer lies on the GPU, that it answers as the CPU
does, and that StreamReason streams; then measures a random model of the 9B shape against
llama-batched-bench (built with CUDA; benches/peers/README.md tells how, with -DGGML_CUDA=ON).
`--data` holds comments, one a line, at least 200.

`--cpu` takes the same steps without a GPU, on a tiny shape: it tries the script, not the card.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benches"))
from own_server import OwnServer  # noqa: E402

TINY = dict(num_hidden_layers=2, hidden_size=256, intermediate_size=512, num_attention_heads=2, num_key_value_heads=1)
COMMENTS = 200
STREAMS = 8
# Labels may differ only where two are this close (calibrated probabilities).
TIE = 0.02


class Check:
    """The steps, and the table of what they found."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.rows: list[tuple[str, str]] = []
        self.failures: list[str] = []
        self.layers = ["--n-gpu-layers", "0"] if args.cpu else []

    def note(self, what: str, found: str, right: bool = True) -> None:
        print(f"{what}: {found}{'' if right else '  <-- WRONG'}", flush=True)
        self.rows.append((what, found))
        if not right:
            self.failures.append(what)

    def run(self, *command: object, gpu: bool = True) -> str:
        environment = os.environ | ({} if gpu else {"CUDA_VISIBLE_DEVICES": ""})
        words = [str(word) for word in command]
        print("+", *words, flush=True)
        done = subprocess.run(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{words[0]} failed with code {done.returncode}")
        return done.stdout

    def ours(self, *command: object, gpu: bool = True) -> str:
        return self.run(self.binary, *command, gpu=gpu)

    def build(self) -> None:
        command = ["cargo", "build", "--release"]
        if not self.args.cpu:
            command += ["--features", "cuda", "--target-dir", "target/cuda"]
        self.run(*command)
        self.binary = ROOT / ("target" if self.args.cpu else "target/cuda") / "release/ko-sentiment"

    def devices(self) -> None:
        found = json.loads(self.ours("devices", "--json"))["devices"]
        names = ", ".join(f"{d['name']} ({d['description']})" for d in found)
        self.note("devices", names, self.args.cpu or any(d["backend"] == "CUDA" for d in found))

    def labels(self) -> None:
        """The same comments on the GPU and, with the GPU hidden, on the CPU."""
        data = self.args.work / "labels.jsonl"
        rows = [{"comment": comment, "label": "중립"} for comment in self.args.comments[:COMMENTS]]
        data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        answers = []
        for name, gpu in (("gpu", True), ("cpu", False)):
            file = self.args.work / f"answers.{name}.jsonl"
            file.unlink(missing_ok=True)
            layers = self.layers if gpu else ["--n-gpu-layers", "0"]
            flags = ["--reproducible", "--predictions", file, *layers]
            self.ours("eval", "--model", self.args.model, "--data", data, *flags, gpu=gpu)
            lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            answers.append({line["row"]: line for line in lines if "row" in line})
        pairs = [(answers[0][row], answers[1][row]) for row in range(len(rows))]
        moved = max(abs(a - b) for x, y in pairs for a, b in zip(x["probabilities"], y["probabilities"]))
        differ = [(x, y) for x, y in pairs if x["predicted"] != y["predicted"]]
        ties = sum(sorted(y["probabilities"])[-1] - sorted(y["probabilities"])[-2] < TIE for _, y in differ)
        found = f"{len(pairs) - len(differ)} of {len(pairs)} alike; {ties} of the rest are ties; Δp at most {moved:.4f}"
        self.note("labels against the CPU", found, len(differ) == ties)

    def reasons(self) -> None:
        flags = [*self.layers, "--log-level", "info,llama-cpp-2=info"]
        with OwnServer(self.binary, self.args.model, *flags) as server:
            offloaded = [line.split("offloaded ")[1].split(" layers")[0] for line in server.log if "offloaded " in line]
            counts = offloaded[0].split("/") if offloaded else ["0", "?"]
            self.note("layers on the GPU", "/".join(counts), self.args.cpu or counts[0] == counts[1])
            out = self.ours("reason", "--endpoint", server.address, "--json", "--max-tokens", 64, self.args.comments[0])
        events = [json.loads(line) for line in out.splitlines()]
        text = "".join(event.get("text", "") for event in events)
        right = "verdict" in events[0] and "done" in events[-1] and bool(text.strip())
        self.note("StreamReason", f"{len(events) - 2} pieces: {text.strip()[:60]}", right)

    def big_model(self) -> Path:
        """A random model of the shape, converted by us."""
        folder, gguf = self.args.work / self.args.shape, self.args.work / f"{self.args.shape}.gguf"
        if not folder.exists():
            spec = importlib.util.spec_from_file_location("convert", ROOT / "benches/convert/compare.py")
            convert = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(convert)
            convert.make_checkpoint(folder, TINY if self.args.shape == "tiny" else convert.SHAPES[self.args.shape])
        if not gguf.exists():
            self.ours("convert-model", "--base", folder, "--out", gguf)
        return gguf

    def bench(self) -> None:
        model, comments = self.big_model(), self.args.work / "comments.txt"
        comments.write_text("\n".join(self.args.comments) + "\n", encoding="utf-8")
        ours = lambda *flags: json.loads(
            self.ours("bench", "--json", "--model", model, "--data", comments, *self.layers, *flags)
        )
        classify = ours("--requests", 256, "--clients", 32, "--parallel", 32)
        write = ours("--requests", 0, "--streams", STREAMS, "--max-tokens", 128)
        self.note("classifications/s", f"{classify['classifications_per_second']:.1f}", classify["failed"] == 0)
        self.note("prompt tokens/s", f"{classify['computed_tokens_per_busy_second']:.0f}")
        self.note(f"written tokens/s, {STREAMS} streams", f"{write['written_tokens_per_second']:.1f}", write["failed"] == 0)
        if self.args.llama_cpp:
            command = [self.args.llama_cpp / "llama-batched-bench", "-m", model, "-c", 16384, "-b", 512, "-ub", 512]
            command += ["-ngl", 0 if self.args.cpu else 99, "-kvu", "--output-format", "jsonl"]
            command += ["-npp", 64, "-ntg", 128, "-npl", STREAMS]
            lines = [line for line in self.run(*command).splitlines() if line.startswith("{")]
            limit = json.loads(lines[-1])
            self.note("llama-batched-bench, prompt tokens/s", f"{limit['speed_pp']:.0f}")
            self.note(f"llama-batched-bench, written tokens/s, {STREAMS} streams", f"{limit['speed_tg']:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--llama-cpp", type=Path, help="folder with llama-batched-bench")
    parser.add_argument("--model", type=Path, default=ROOT / "models/ko-gemma3-270m-sentiment.gguf")
    parser.add_argument("--work", type=Path, default=ROOT / "target/cuda-check", help="for 25 GB of the 9B shape")
    parser.add_argument("--shape", choices=["2b", "9b", "tiny"], help="[default: 9b; tiny with --cpu]")
    parser.add_argument("--cpu", action="store_true", help="the same steps without a GPU")
    args = parser.parse_args()
    args.shape = args.shape or ("tiny" if args.cpu else "9b")
    args.comments = [line for line in args.data.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(args.comments) < COMMENTS:
        sys.exit(f"{args.data} has {len(args.comments)} comments; {COMMENTS} are needed")
    args.model, args.work = args.model.resolve(), args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    check = Check(args)
    for step in (check.build, check.devices, check.labels, check.reasons, check.bench):
        step()
    print(f"\n{'on the CPU: a trial of this script' if args.cpu else 'on the GPU'}; bench on the {args.shape} shape\n")
    for what, found in check.rows:
        print(f"{what:<46} {found}{'  <-- WRONG' if what in check.failures else ''}")
    sys.exit(1 if check.failures else 0)


if __name__ == "__main__":
    main()
