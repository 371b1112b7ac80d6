#!/usr/bin/env python3
"""Ours against a labels-only encoder: ONNX Runtime's int8 of BERT-base's shape, alternating runs, medians and ratios.

    pip install torch transformers onnx onnxruntime onnxscript
    benches/peers/encoder.py --data comments.txt

The encoder's weights are random: its speed doesn't depend on them. It has 110 M parameters, as KoBERT and klue/bert-base,
products in int8 (`quantize_dynamic`), three labels, and no reasons. A comment has half as many tokens as characters, and
two more, which is about what klue/bert-base's tokeniser makes of Korean. Comments go one at a time and in batches of 16
of like length; the faster of the two counts. Ours scores the same comments in process, with 16 clients.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benches"))
from comments import different  # noqa: E402
from figures import output_of, ratios, spread  # noqa: E402

VOCABULARY = 32_000
BATCH = 16
WARM_UP = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="comments, one a line")
    parser.add_argument("--model", type=Path, default=ROOT / "models/ko-gemma3-270m-sentiment.gguf")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/ko-sentiment")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    rounds = different(args.data, args.rounds, args.requests)
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder(Path(folder), args.threads)
        figures: dict[str, list[float]] = {"ko-sentiment": [], "encoder, one at a time": [], f"encoder, {BATCH} at once": []}
        for i, items in enumerate(rounds):
            runs = [lambda: ours(args, items), lambda: encoder.rate(items, 1), lambda: encoder.rate(items, BATCH)]
            for (_, values), run in list(zip(figures.items(), runs))[:: 1 if i % 2 else -1]:
                values.append(run())
            print(f"round {i + 1}: " + ", ".join(f"{name} {values[-1]:.2f}" for name, values in figures.items()), flush=True)
    first, *others = figures.values()
    faster = [max(each) for each in zip(*others)]
    for name, values in figures.items():
        print(f"{name:24}{spread(values, '.2f')} comments/s")
    print(f"ours over the faster encoder, by rounds: {spread(ratios(first, faster), '.2f')}")


def ours(args: argparse.Namespace, comments: list[str]) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps({"comment": comment, "label": "중립"}, ensure_ascii=False) + "\n" for comment in comments)
        file.flush()
        command = [args.binary, "bench", "--json", "--data", file.name, "--model", args.model, "--threads", args.threads]
        command += ["--answer-cache-mib", 0, "--clients", 16, "--warmup", WARM_UP, "--requests", len(comments)]
        rate: float = output_of(command)["classifications_per_second"]
    return rate


class Encoder:
    """BERT-base with three labels, random weights, int8."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime
        import torch
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from transformers import BertConfig, BertForSequenceClassification

        torch.manual_seed(0)
        config = BertConfig(vocab_size=VOCABULARY, num_labels=3, attn_implementation="eager")
        model = BertForSequenceClassification(config).eval()
        example = (torch.ones(2, 16, dtype=torch.long), torch.ones(2, 16, dtype=torch.long))
        axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask")}
        full, small = folder / "bert.onnx", folder / "bert-int8.onnx"
        torch.onnx.export(
            model, example, str(full), input_names=list(axes), output_names=["logits"], dynamic_axes=axes, dynamo=False
        )
        quantize_dynamic(full, small, weight_type=QuantType.QInt8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(small), options, providers=["CPUExecutionProvider"])

    def rate(self, comments: list[str], batch: int) -> float:
        """Comments a second, after a warm-up."""
        lengths = sorted(min(len(comment) // 2 + 2, 512) for comment in comments)
        self._run(lengths[:WARM_UP], batch)
        begun = time.perf_counter()
        self._run(lengths, batch)
        return len(comments) / (time.perf_counter() - begun)

    def _run(self, lengths: list[int], batch: int) -> None:
        random = np.random.default_rng(0)
        for first in range(0, len(lengths), batch):
            part = lengths[first : first + batch]
            mask = (np.arange(max(part))[None, :] < np.array(part)[:, None]).astype(np.int64)
            ids = random.integers(5, VOCABULARY, mask.shape) * mask
            self._session.run(None, {"input_ids": ids, "attention_mask": mask})


if __name__ == "__main__":
    main()
