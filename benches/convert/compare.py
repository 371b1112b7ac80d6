#!/usr/bin/env python3
"""convert-model against merge + convert + llama-quantize, on a synthetic Gemma 2 of a real shape.

    pip install torch transformers peft sentencepiece safetensors gguf
    compare.py --work FOLDER --binary target/release/ko-sentiment \
        --llama-cpp LLAMA_CPP_FOLDER --quantize PATH_TO/llama-quantize [--shape 2b] [--runs 3] [--only ours]

FOLDER gets random BF16 weights of the shape (5.2 GB for 2b, 18.5 GB for 9b) and an adapter like the
model card's (r = 8, alpha = 16, all seven projections), made once and kept. The sides are run in turns
and report seconds, the most anonymous memory that a process had (sampled every 20 ms; mapped files are
the page cache's), and the bytes written; then the medians of all runs. At the end the tensors of both
results are compared.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

SHAPES = {
    "2b": dict(num_hidden_layers=26, hidden_size=2304, intermediate_size=9216, num_attention_heads=8,
               num_key_value_heads=4),
    "9b": dict(num_hidden_layers=42, hidden_size=3584, intermediate_size=14336, num_attention_heads=16,
               num_key_value_heads=8),
}  # fmt: skip
TOKENIZER = Path(__file__).resolve().parents[2] / "tests/fixtures/convert/checkpoint"

MERGE = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)
"""


def make_checkpoint(folder: Path, shape: dict) -> None:
    import shutil

    import torch
    from safetensors.torch import save_file
    from transformers import Gemma2Config

    folder.mkdir(parents=True)
    config = Gemma2Config(**shape, architectures=["Gemma2ForCausalLM"], dtype="bfloat16")
    width, inner = config.hidden_size, config.intermediate_size
    heads, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    matrices = {
        "self_attn.q_proj": (heads, width),
        "self_attn.k_proj": (kv, width),
        "self_attn.v_proj": (kv, width),
        "self_attn.o_proj": (width, heads),
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
    }
    norms = ["input", "post_attention", "pre_feedforward", "post_feedforward"]
    torch.manual_seed(1)
    random = lambda *size, scale=0.02: (torch.randn(*size) * scale).to(torch.bfloat16)
    weight_map, adapter = {}, {}

    def save(tensors: dict, number: int) -> None:
        name = f"model-{number:05}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(tensors, name))

    save({"model.embed_tokens.weight": random(config.vocab_size, width), "model.norm.weight": random(width)}, 1)
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        tensors = {f"{prefix}{name}.weight": random(*size) for name, size in matrices.items()}
        tensors |= {f"{prefix}{name}_layernorm.weight": random(width) for name in norms}
        save(tensors, layer + 2)
        for name, (rows, columns) in matrices.items():
            module = f"base_model.model.{prefix}{name}"
            adapter[f"{module}.lora_A.weight"] = torch.randn(8, columns) * 0.01
            adapter[f"{module}.lora_B.weight"] = torch.randn(rows, 8) * 0.01
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    config.save_pretrained(folder)
    for file in ["tokenizer.model", "tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(TOKENIZER / file, folder)
    adapter_folder = folder.with_name(folder.name + "-adapter")
    adapter_folder.mkdir()
    save_file(adapter, adapter_folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = json.loads((TOKENIZER.parent / "lora/adapter_config.json").read_text())
    (adapter_folder / "adapter_config.json").write_text(json.dumps(settings))


def anonymous_memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Cost(NamedTuple):
    seconds: float
    memory: int
    written: int

    def __add__(self, later: "Cost") -> "Cost":
        """One process after the other."""
        seconds, written = self.seconds + later.seconds, self.written + later.written
        return Cost(seconds, max(self.memory, later.memory), written)

    def show(self, what: str) -> None:
        memory, written = f"{self.memory / 2**20:8.0f} MiB anonymous", f"{self.written / 1e9:7.2f} GB written"
        print(f"{what:<22} {self.seconds:7.1f} s {memory} {written}", flush=True)


def show_median(what: str, costs: list[Cost]) -> None:
    if costs:
        Cost(*(statistics.median(column) for column in zip(*costs))).show(f"median of {len(costs)}, {what}")


def run(what: str, command: list, wrote: Path) -> Cost:
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr))
    reader.start()
    started, peak = time.monotonic(), 0
    while process.poll() is None:
        peak = max(peak, anonymous_memory(process.pid))
        time.sleep(0.02)
    seconds = time.monotonic() - started
    reader.join()
    if process.returncode != 0:
        sys.exit(f"{what} failed:\n{''.join(errors[-20:])}")
    files = wrote.rglob("*") if wrote.is_dir() else [wrote]
    cost = Cost(seconds, peak, sum(file.stat().st_size for file in files if file.is_file()))
    cost.show(what)
    return cost


def compare(ours: Path, theirs: Path) -> None:
    from gguf import GGUFReader

    mine = {t.name: t for t in GGUFReader(ours).tensors}
    same, total = 0, 0
    for t in GGUFReader(theirs).tensors:
        a, b = mine[t.name].data.reshape(-1), t.data.reshape(-1)
        assert mine[t.name].tensor_type == t.tensor_type and a.shape == b.shape, t.name
        same, total = same + int((a == b).sum()), total + a.size
    print(f"the results share {same / total:.4%} of their bytes")


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--work", type=Path, required=True)
    args.add_argument("--binary", type=Path, required=True)
    args.add_argument("--llama-cpp", type=Path)
    args.add_argument("--quantize", type=Path)
    args.add_argument("--shape", choices=SHAPES, default="2b")
    args.add_argument("--runs", type=int, default=1)
    args.add_argument("--only", choices=["ours", "theirs"])
    args = args.parse_args()
    base = args.work / args.shape
    adapter = args.work / f"{args.shape}-adapter"
    if not base.exists():
        make_checkpoint(base, SHAPES[args.shape])
    ours, theirs = args.work / "ours.gguf", args.work / "theirs.gguf"
    our_costs, their_costs = [], []
    for _ in range(args.runs):
        if args.only != "theirs":
            command = [args.binary, "convert-model", "--base", base, "--adapter", adapter, "--out", ours, "--force"]
            our_costs.append(run("convert-model", command, ours))
        if args.only != "ours":
            their_costs.append(run_the_three(args, base, adapter, theirs))
    show_median("convert-model", our_costs)
    show_median("the three", their_costs)
    if args.only is None:
        compare(ours, theirs)


def run_the_three(args: argparse.Namespace, base: Path, adapter: Path, out: Path) -> Cost:
    merged, full = args.work / "merged", args.work / "full.gguf"
    merge = run("merge (PEFT)", [sys.executable, "-c", MERGE, base, adapter, merged], merged)
    for file in base.glob("tokenizer*"):
        (merged / file.name).write_bytes(file.read_bytes())
    script = args.llama_cpp / "convert_hf_to_gguf.py"
    convert = run("convert", [sys.executable, script, merged, "--outtype", "bf16", "--outfile", full], full)
    return merge + convert + run("llama-quantize", [args.quantize, full, out, "Q4_K_M"], out)


if __name__ == "__main__":
    main()
