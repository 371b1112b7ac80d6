"""Gemma 3's layers stacked, for training adapters of a small model on a GPU.

A 270M model's kernels are short, so that a step of the Trainer's costs mostly their launches. Here the weights of
all layers are one tensor a projection, `W + s B A` is computed once a step for all of them, and nothing is wrapped:
three to four times the steps. The static prompt, the same for all comments, is a batch's first row; the others attend
to it. The function is that of transformers' Gemma 3; smoke_test.py checks it.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import model as models
from packing import Block, fed, targets

PROJECTIONS = {
    "self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v", "self_attn.o_proj": "o",
    "mlp.gate_proj": "gate", "mlp.up_proj": "up", "mlp.down_proj": "down",
}  # fmt: skip
NORMS = (
    "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm",
    "self_attn.q_norm", "self_attn.k_norm",
)  # fmt: skip


class Stacked:
    """A frozen Gemma 3 base: `weights[name]` is (layers, out, in), in the model's type."""

    def __init__(self, model):
        config = model.config
        if config.model_type != "gemma3_text":
            raise SystemExit(f"{config.model_type} can't be stacked; use train.py, which takes any model")
        self.config, self.device, self.dtype = config, model.device, model.dtype
        layers = model.model.layers
        stack = lambda name: torch.stack([layer.get_parameter(f"{name}.weight").data for layer in layers])  # noqa: E731
        self.weights = {short: stack(name) for name, short in PROJECTIONS.items()}
        # Gemma's norms scale by 1 + weight.
        self.norms = {name: 1 + stack(name) for name in NORMS}
        self.last_norm = 1 + model.model.norm.weight.data
        self.embedding = model.get_input_embeddings().weight.data
        self.rotations: dict[tuple[str, int], tuple[torch.Tensor, torch.Tensor]] = {}
        self.rotary = model.model.rotary_emb

    def logits(self, weights: dict[str, "torch.Tensor | Beside"], ids: torch.Tensor, rows: torch.Tensor, prefix: int) -> torch.Tensor:
        """Float32 logits (R, vocabulary) at `rows`, flat positions of the right-padded ids (1 + B, T), whose first row
        starts with the `prefix` tokens that all others follow."""
        config, (batch, length) = self.config, ids.shape
        layout = _Layout(self, batch, length, prefix)
        x = F.embedding(ids, self.embedding) * torch.tensor(config.hidden_size**0.5, dtype=self.dtype)
        for layer, kind in enumerate(config.layer_types):
            norm = {name: stack[layer] for name, stack in self.norms.items()}
            attended = self._attention({n: w[layer] for n, w in weights.items()}, norm, x, layout, kind)
            x = x + self._norm(attended, norm["post_attention_layernorm"])
            h = self._norm(x, norm["pre_feedforward_layernorm"])
            gate = F.gelu(_linear(h, weights["gate"][layer]), approximate="tanh")
            h = _linear(gate * _linear(h, weights["up"][layer]), weights["down"][layer])
            x = x + self._norm(h, norm["post_feedforward_layernorm"])
        x = self._norm(x.flatten(0, 1)[rows], self.last_norm)
        return F.linear(x, self.embedding).float()

    def _attention(self, weights, norm, x, layout: "_Layout", kind: str) -> torch.Tensor:
        """The query heads that share a key head are stacked into one matrix product, as in packing.py."""
        config, (batch, length, _) = self.config, x.shape
        h = self._norm(x, norm["input_layernorm"])
        heads = lambda name: _linear(h, weights[name]).view(batch, length, -1, config.head_dim)  # noqa: E731
        cos, sin = layout.rotation(kind)
        q = _rotate(self._norm(heads("q"), norm["self_attn.q_norm"]).transpose(1, 2), cos, sin)
        k = _rotate(self._norm(heads("k"), norm["self_attn.k_norm"]).transpose(1, 2), cos, sin)
        k, v = layout.with_prefix(k), layout.with_prefix(heads("v").transpose(1, 2))
        stacked = q.reshape(batch, k.shape[1], -1, config.head_dim)
        scores = stacked @ k.transpose(2, 3) * config.query_pre_attn_scalar**-0.5
        shares = torch.softmax(scores.unflatten(2, (-1, length)) + layout.hidden, dim=-1).flatten(2, 3)
        attended = (shares @ v).view(batch, -1, length, config.head_dim)
        return _linear(attended.transpose(1, 2).reshape(batch, length, -1), weights["o"])

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)


@dataclass(frozen=True)
class Beside:
    """Weights (…, out, in) and, not merged with them, an adapter's A (…, r, in) and B (…, out, r)."""

    weight: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    scale: float

    def __getitem__(self, layer: int) -> "Beside":
        return Beside(self.weight[layer], self.a[layer], self.b[layer], self.scale)


class _Layout:
    """Where the tokens of a batch stand, and what each may see: itself and the prefix."""

    def __init__(self, base: Stacked, batch: int, length: int, prefix: int):
        sliding = "sliding_attention" in base.config.layer_types
        if sliding and prefix + length > base.config.sliding_window:
            raise ValueError(f"{prefix + length} tokens pass the sliding window; lower --max-length")
        self.base, self.prefix, self.batch, self.length = base, prefix, batch, length
        self.positions = torch.arange(length, device=base.device).repeat(batch, 1)
        self.positions[1:] += prefix
        seen = torch.ones(batch, 1, 1, length, prefix + length, dtype=torch.bool, device=base.device)
        seen[..., prefix:] = seen[..., prefix:].tril()
        seen[0, ..., :prefix] = False  # the prefix sees itself where it stands, in its own row
        # 0 where seen, else minus infinity: (1 + B, 1, 1, T, prefix + T).
        self.hidden = torch.zeros(seen.shape, dtype=base.dtype, device=base.device).masked_fill(~seen, float("-inf"))
        self.rotations: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def rotation(self, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine (1 + B, 1, T, head size) for layers of a kind."""
        if kind not in self.rotations:
            cos, sin = self.base.rotary(self.base.embedding[:1], self.positions, kind)
            self.rotations[kind] = cos[:, None], sin[:, None]
        return self.rotations[kind]

    def with_prefix(self, states: torch.Tensor) -> torch.Tensor:
        """The first row's keys or values (…, T, size) before those of each row."""
        shared = states[:1, :, : self.prefix].expand(self.batch, -1, -1, -1)
        return torch.cat([shared, states], dim=2)


class Lora:
    """Trainable A (layers, r, in) and B (layers, out, r) of each projection; the scale is alpha / r."""

    def __init__(self, base: Stacked, *, rank: int, alpha: int, seed: int):
        draw = torch.Generator().manual_seed(seed)
        self.base, self.rank, self.alpha, self.a, self.b = base, rank, alpha, {}, {}
        for name, weight in base.weights.items():
            layers, rows, columns = weight.shape
            bound = 1 / math.sqrt(columns)  # PEFT's Kaiming draw
            a = (torch.rand(layers, rank, columns, generator=draw) * 2 - 1) * bound
            self.a[name] = a.to(base.device).requires_grad_()
            self.b[name] = torch.zeros(layers, rows, rank, device=base.device, requires_grad=True)

    @classmethod
    def load(cls, base: Stacked, folder: Path) -> "Lora":
        """An adapter in PEFT's format, of any rank, on the seven projections; nothing to train yet."""
        tensors = load_file(folder / "adapter_model.safetensors")
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        lora = cls(base, rank=config["r"], alpha=config["lora_alpha"], seed=0)
        for long, name in PROJECTIONS.items():
            for pair, letter in ((lora.a, "A"), (lora.b, "B")):
                place = "base_model.model.model.layers.{}.{}.lora_{}.weight"
                layers = [tensors[place.format(layer, long, letter)] for layer in range(len(pair[name]))]
                pair[name] = torch.stack(layers).float().to(base.device)
        return lora

    def parameters(self) -> list[torch.Tensor]:
        """All A and B."""
        return [*self.a.values(), *self.b.values()]

    def merged(self, error: dict[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """The weights with the adapter on them; with the `error` of their rounding, if it is given."""
        merged, dtype = {}, self.base.dtype
        for name, weight in self.base.weights.items():
            change = self.b[name].to(dtype) @ self.a[name].to(dtype) * (self.alpha / self.rank)
            merged[name] = weight + change if error is None else weight + change + error[name]
        return merged

    def beside(self, error: dict[str, torch.Tensor] | None = None) -> dict[str, Beside]:
        """As `merged`, the adapter computed apart: more launches, but no gradient of whole weights, which is a third of a
        CPU's work."""
        scale, weights = self.alpha / self.rank, self.base.weights
        whole = {n: w if error is None else w + error[n] for n, w in weights.items()}
        return {n: Beside(w, self.a[n].to(w.dtype), self.b[n].to(w.dtype), scale) for n, w in whole.items()}

    @torch.no_grad()
    def rounding_error(self) -> dict[str, torch.Tensor]:
        """What Q4_K_M's types do to the merged weights, in their simplest form. `attn_v` and `ffn_down` keep six bits in half
        of the layers (llama-quant.cpp, use_more_bits), where nothing is done here."""
        errors, layers = {}, self.base.config.num_hidden_layers
        fine = [i < layers // 8 or i >= 7 * layers // 8 or (i - layers // 8) % 3 == 2 for i in range(layers)]
        for name, weight in self.merged().items():
            errors[name] = (four_bits(weight.float()) - weight.float()).to(weight.dtype)
            if name in ("v", "down"):
                errors[name][torch.tensor(fine, device=weight.device)] = 0
        return errors

    def save(self, folder: Path, base_name: str) -> None:
        """Writes the adapter in PEFT's format."""
        tensors = {}
        for long, name in PROJECTIONS.items():
            for layer in range(len(self.a[name])):
                place = f"base_model.model.model.layers.{layer}.{long}.lora"
                tensors[f"{place}_A.weight"] = self.a[name][layer].detach().bfloat16().cpu().contiguous()
                tensors[f"{place}_B.weight"] = self.b[name][layer].detach().bfloat16().cpu().contiguous()
        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, target_modules=models.TARGET_MODULES, bias="none",
            task_type="CAUSAL_LM", inference_mode=True, base_model_name_or_path=base_name,
        )  # fmt: skip
        with models.whole_folder(folder) as part:
            save_file(tensors, part / "adapter_model.safetensors", metadata={"format": "pt"})
            config.save_pretrained(part)


def four_bits(weight: torch.Tensor) -> torch.Tensor:
    """Float32 (…, in) rounded as Q4_K rounds in its simplest form: a minimum and a step for each 32 values, both in six
    bits under the scales of 256 (llama.cpp, ggml-quants.c, quantize_row_q4_K). Rows are padded to 256."""
    columns = weight.shape[-1]
    x = F.pad(weight, (0, -columns % 256)).unflatten(-1, (-1, 8, 32))
    low = -x.amin(-1).clamp(max=0)
    step = (x.amax(-1) + low).clamp(min=1e-8) / 15
    step_unit = step.amax(-1, keepdim=True) / 63
    low_unit = (low.amax(-1, keepdim=True) / 63).clamp(min=1e-8)
    step = (torch.round(step / step_unit).clamp(1, 63) * step_unit)[..., None]
    low = (torch.round(low / low_unit) * low_unit)[..., None]
    rounded = torch.round((x + low) / step).clamp(0, 15) * step - low
    return rounded.flatten(-3)[..., :columns]


def collate(static: list[int], blocks: list[Block], device) -> dict[str, torch.Tensor]:
    """The static prompt as the first row, then one comment a row, padded on the right where causality hides it.

    ids (1 + B, T); rows (R,), flat positions: one a block for the verdict, in block order, then those of the answers;
    answer (R - B,) token ids; verdict (B, 3).
    """
    longest = max(len(static), *(fed(block) for block in blocks))
    length = longest + -longest % 8
    ids = torch.zeros(1 + len(blocks), length, dtype=torch.long)
    for row, tokens in zip(ids, [static, *(block.tokens[: fed(block)] for block in blocks)]):
        row[: len(tokens)] = torch.tensor(tokens)
    rows, answer, verdict = targets(blocks, [number * length for number in range(1, 1 + len(blocks))])
    tensors = {"ids": ids, "rows": rows, "answer": answer, "verdict": verdict}
    return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}


def _linear(x: torch.Tensor, weight: "torch.Tensor | Beside") -> torch.Tensor:
    if isinstance(weight, Beside):
        return F.linear(x, weight.weight) + F.linear(F.linear(x, weight.a), weight.b) * weight.scale
    return F.linear(x, weight)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
