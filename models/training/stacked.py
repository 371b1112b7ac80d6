"""Gemma 3's layers stacked, for training adapters of a small model on a GPU.

A 270M model's kernels are short, so that a step of the Trainer's costs mostly their launches. Here the weights of
all layers are one tensor a projection, `W + s B A` is computed once a step for all of them, and nothing is wrapped:
three to four times the steps. The function is that of transformers' Gemma 3; smoke_test.py checks it.
"""

import math
from pathlib import Path

import torch
from peft import LoraConfig
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

    def logits(self, weights: dict[str, torch.Tensor], ids: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Float32 logits (R, vocabulary) at `rows`, flat positions of the right-padded ids (B, T)."""
        config = self.config
        x = F.embedding(ids, self.embedding) * torch.tensor(config.hidden_size**0.5, dtype=self.dtype)
        for layer, kind in enumerate(config.layer_types):
            norm = {name: stack[layer] for name, stack in self.norms.items()}
            attended = self._attention({n: w[layer] for n, w in weights.items()}, norm, x, kind)
            x = x + self._norm(attended, norm["post_attention_layernorm"])
            h = self._norm(x, norm["pre_feedforward_layernorm"])
            gate = F.gelu(F.linear(h, weights["gate"][layer]), approximate="tanh")
            h = F.linear(gate * F.linear(h, weights["up"][layer]), weights["down"][layer])
            x = x + self._norm(h, norm["post_feedforward_layernorm"])
        x = self._norm(x.flatten(0, 1)[rows], self.last_norm)
        return F.linear(x, self.embedding).float()

    def _attention(self, weights, norm, x, kind: str) -> torch.Tensor:
        config, (batch, length, _) = self.config, x.shape
        h = self._norm(x, norm["input_layernorm"])
        heads = lambda name: F.linear(h, weights[name]).view(batch, length, -1, config.head_dim)  # noqa: E731
        q = self._norm(heads("q"), norm["self_attn.q_norm"]).transpose(1, 2)
        k = self._norm(heads("k"), norm["self_attn.k_norm"]).transpose(1, 2)
        cos, sin = self._rotation(kind, length)
        attended = F.scaled_dot_product_attention(
            _rotate(q, cos, sin), _rotate(k, cos, sin), heads("v").transpose(1, 2),
            is_causal=True, scale=config.query_pre_attn_scalar**-0.5, enable_gqa=True,
        )  # fmt: skip
        return F.linear(attended.transpose(1, 2).reshape(batch, length, -1), weights["o"])

    def _rotation(self, kind: str, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        if kind == "sliding_attention" and length > self.config.sliding_window:
            raise ValueError(f"{length} tokens pass the sliding window; lower --max-length")
        if (kind, length) not in self.rotations:
            positions = torch.arange(length, device=self.device)[None]
            self.rotations[kind, length] = self.rotary(self.embedding[:1], positions, kind)
        return self.rotations[kind, length]

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)


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

    def parameters(self) -> list[torch.Tensor]:
        """All A and B."""
        return [*self.a.values(), *self.b.values()]

    def merged(self, *, rounded: bool = False) -> dict[str, torch.Tensor]:
        """The weights with the adapter on them; `rounded` to four bits, with the gradient of the unrounded."""
        merged, dtype = {}, self.base.dtype
        for name, weight in self.base.weights.items():
            change = self.b[name].to(dtype) @ self.a[name].to(dtype) * (self.alpha / self.rank)
            if rounded:
                whole = weight.float() + change.float()
                merged[name] = (whole + (four_bits(whole.detach()) - whole.detach())).to(dtype)
            else:
                merged[name] = weight + change
        return merged

    def save(self, folder: Path, base_name: str) -> None:
        """Writes the adapter in PEFT's format."""
        from safetensors.torch import save_file

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
    """One comment a row, behind the static prompt, padded on the right where causality hides it.

    ids (B, T); rows (R,), flat positions: one a block for the verdict, in block order, then those of the answers; answer
    (R - B,) token ids; verdict (B, 3).
    """
    prefix, longest = len(static), max(fed(block) for block in blocks)
    length = prefix + longest + -(prefix + longest) % 8
    ids = torch.zeros(len(blocks), length, dtype=torch.long)
    for row, block in zip(ids, blocks):
        row[: prefix + fed(block)] = torch.tensor(static + block.tokens[: fed(block)])
    rows, answer, verdict = targets(blocks, [number * length + prefix for number in range(len(blocks))])
    tensors = {"ids": ids, "rows": rows, "answer": answer, "verdict": verdict}
    return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
