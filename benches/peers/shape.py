#!/usr/bin/env python3
"""A model of Gemma 2 9B's shape in Q4_K_M, random weights, against llama.cpp on the same file in the same run.

    pip install gguf numpy
    benches/peers/shape.py --llama-cpp BUILD/bin --data comments.txt

Writes the file once (5.8 GB for 9b, 1.7 GB for 2b; `--work`), with the vocabulary of the default model cut to 256,000
tokens. Speed doesn't depend on the weights' values. Then, in turn: seconds until a server is ready (file in the page
cache), prompt tokens a second (ours with 16 clients, llama-bench's pp512), and generated tokens a second of 4 sequences
(ours without drafts, llama-batched-bench).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFWriter, TokenType

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benches"))
from figures import ratios, spread  # noqa: E402
from own_server import OwnServer  # noqa: E402

# Layers, width, feed-forward width, heads, heads of keys and values (google/gemma-2-9b and -2b, config.json).
SHAPES = {"9b": (42, 3584, 14336, 16, 8), "2b": (26, 2304, 9216, 8, 4), "tiny": (2, 256, 512, 2, 1)}
HEAD, TOKENS, SEQUENCES = 256, 256_000, 4
# Bytes of a block of 256 weights, and where its 16-bit scales stand (ggml-common.h).
BLOCKS = {Type.Q4_K: (144, (0, 2)), Type.Q6_K: (210, (208,))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", required=True, type=Path, help="folder with llama-server, llama-bench, llama-batched-bench")
    parser.add_argument("--data", required=True, type=Path, help="comments, one a line")
    parser.add_argument("--shape", choices=SHAPES, default="9b")
    parser.add_argument("--work", type=Path, default=ROOT / "target/shapes")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/ko-sentiment")
    parser.add_argument("--vocabulary", type=Path, default=ROOT / "models/ko-gemma3-270m-sentiment.gguf")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.model = args.work / f"gemma2-{args.shape}-random-q4_k_m.gguf"
    if not args.model.exists():
        write(args.model, args.vocabulary, *SHAPES[args.shape])
    figures: dict[str, list[tuple[float, float]]] = {}
    steps = {"seconds to be ready": ready, "prompt tokens/s": prefill, f"generated tokens/s, {SEQUENCES} sequences": decode}
    for i in range(args.rounds):
        for name, step in steps.items():
            figures.setdefault(name, []).append(step(args))
            print(f"round {i + 1}: {name}: ours {figures[name][-1][0]:.2f}, llama.cpp {figures[name][-1][1]:.2f}", flush=True)
    print(f"\n{'':36}{'ours':>9}{'llama.cpp':>11}   ratio by pairs: median (min to max)")
    for name, pairs in figures.items():
        ours, theirs = zip(*pairs)
        print(f"{name:36}{statistics.median(ours):9.2f}{statistics.median(theirs):11.2f}   {spread(ratios(ours, theirs), '.2f')}")


def ready(args: argparse.Namespace) -> tuple[float, float]:
    begun = time.perf_counter()
    with OwnServer(args.binary, args.model, "--profile", "default", "--threads", args.threads, "--no-warm-up"):
        ours = time.perf_counter() - begun
    begun = time.perf_counter()
    command = [args.llama_cpp / "llama-server", "-m", args.model, "--port", 18080, "-t", args.threads, "-c", 4096, "--no-warmup"]
    server = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                with urllib.request.urlopen("http://127.0.0.1:18080/health", timeout=5) as answer:
                    if answer.status == 200:
                        return ours, time.perf_counter() - begun
            except OSError:
                time.sleep(0.05)
    finally:
        server.kill()
        server.wait()


def prefill(args: argparse.Namespace) -> tuple[float, float]:
    ours = bench(args, "--requests", args.requests, "--warmup", 1)["computed_tokens_per_busy_second"]
    output = run(args.llama_cpp / "llama-bench", "-m", args.model, "-t", args.threads, "-p", 512, "-n", 0, "-r", 1, "-o", "json")
    return ours, json.loads(output)[0]["avg_ts"]


def decode(args: argparse.Namespace) -> tuple[float, float]:
    # Random weights repeat themselves, which drafts would guess.
    ours = bench(args, "--requests", 0, "--streams", SEQUENCES, "--max-tokens", 16, "--draft-max", 0)["stream_tokens_per_second"]
    command = [args.llama_cpp / "llama-batched-bench", "-m", args.model, "-t", args.threads, "-c", 2048, "-kvu"]
    output = run(*command, "-npp", 60, "-ntg", 16, "-npl", SEQUENCES, "--output-format", "jsonl")
    line = next(line for line in output.splitlines() if line.startswith("{"))
    return SEQUENCES * ours, json.loads(line)["speed_tg"]


def bench(args: argparse.Namespace, *flags: object) -> dict:
    command = [args.binary, "bench", "--json", "--model", args.model, "--profile", "default", "--data", args.data]
    command += ["--threads", args.threads, "--clients", 16, "--answer-cache-mib", 0, *flags]
    return json.loads(run(*command))


def run(*command: object) -> str:
    with tempfile.TemporaryFile() as errors:
        return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, stderr=errors, text=True).stdout


def write(path: Path, vocabulary: Path, layers: int, width: int, inner: int, heads: int, kv_heads: int) -> None:
    """Every tensor as `convert-model --quant Q4_K_M` types it, made of the same few random blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    writer = GGUFWriter(str(partial), "gemma2")
    writer.add_block_count(layers)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_context_length(8192)
    writer.add_sliding_window(4096)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_attn_logit_softcapping(50.0)
    writer.add_final_logit_softcapping(30.0)
    add_vocabulary(writer, vocabulary)
    q, kv = heads * HEAD, kv_heads * HEAD
    tensors: list[tuple[str, Type, tuple[int, ...]]] = [("token_embd.weight", Type.Q6_K, (TOKENS, width)), ("output_norm.weight", Type.F32, (width,))]
    for layer in range(layers):
        # llama.cpp's use_more_bits (llama-quant.cpp).
        more = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
        rich = Type.Q6_K if more else Type.Q4_K
        parts = [("attn_q", Type.Q4_K, (q, width)), ("attn_k", Type.Q4_K, (kv, width)), ("attn_v", rich, (kv, width))]
        parts += [("attn_output", Type.Q4_K, (width, q)), ("ffn_gate", Type.Q4_K, (inner, width))]
        parts += [("ffn_up", Type.Q4_K, (inner, width)), ("ffn_down", rich, (width, inner))]
        parts += [(norm, Type.F32, (width,)) for norm in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")]
        tensors += [(f"blk.{layer}.{name}.weight", kind, shape) for name, kind, shape in parts]
    for name, kind, shape in tensors:
        size, _ = BLOCKS.get(kind, (4, ()))
        stored = shape if kind == Type.F32 else (*shape[:-1], shape[-1] // 256 * size)
        dtype = np.float32 if kind == Type.F32 else np.uint8
        writer.add_tensor_info(name, stored, np.dtype(dtype), int(np.prod(stored)) * np.dtype(dtype).itemsize, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, kind, shape in tensors:
        writer.write_tensor_data(values(kind, shape))
    writer.close()
    partial.rename(path)


def values(kind: Type, shape: tuple[int, ...]) -> np.ndarray:
    if kind == Type.F32:
        return np.ones(shape, np.float32)
    size, scales = BLOCKS[kind]
    random = np.random.default_rng(len(shape))
    blocks = random.integers(0, 256, (4096, size), np.uint8)
    scale = np.frombuffer(np.float16(0.02 / np.sqrt(shape[-1])).tobytes(), np.uint8)
    for at in scales:
        blocks[:, at : at + 2] = scale
    return np.resize(blocks, (shape[0], shape[1] // 256 * size))


def add_vocabulary(writer: GGUFWriter, path: Path) -> None:
    fields = GGUFReader(str(path)).fields
    texts = fields["tokenizer.ggml.tokens"]
    types = fields["tokenizer.ggml.token_type"].contents()[:TOKENS]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([bytes(texts.parts[part]) for part in texts.data[:TOKENS]])
    writer.add_token_scores(fields["tokenizer.ggml.scores"].contents()[:TOKENS])
    writer.add_token_types([TokenType(kind) for kind in types])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_add_space_prefix(False)


if __name__ == "__main__":
    main()
