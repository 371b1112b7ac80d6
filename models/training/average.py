"""Averages adapters.

    python average.py --out FOLDER RUN/adapter-00200 RUN/adapter-00400 ...

Checkpoints along one path lie around a common valley; their mean is steadier than any of
them. A and B are averaged apart, which is meaningful only for checkpoints that grew from one
another.

    python average.py --side-by-side --out FOLDER RUN-1/adapter RUN-2/adapter RUN-3/adapter

takes the mean of the products B A, which suits adapters of separate runs: the ranks add up, the
scale stays. `--rank 24` keeps of each mean the best approximation of that rank (Eckart and Young 1936).
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from model import whole_folder

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def average(adapters: list[Path], out: Path, *, side_by_side: bool = False, rank: int | None = None) -> None:
    """Writes the mean of `adapters`, with the first one's configuration, to `out`; `rank` is for `side_by_side`."""
    tensors = [load_file(folder / WEIGHTS) for folder in adapters]
    if any(other.keys() != tensors[0].keys() for other in tensors):
        raise SystemExit("the adapters have different tensors: they are not of one kind")
    mean = _side_by_side if side_by_side else _weight_by_weight
    with whole_folder(out) as part:
        means = {name: mean(name, [each[name] for each in tensors]).contiguous() for name in tensors[0]}
        if rank:
            means = cut(means, rank)
        save_file(means, part / WEIGHTS, metadata={"format": "pt"})
        shutil.copy(adapters[0] / CONFIG, part)
        if side_by_side:
            _set_rank(part / CONFIG, next(len(a) for name, a in means.items() if ".lora_A." in name))


def _weight_by_weight(_name: str, weights: list[torch.Tensor]) -> torch.Tensor:
    return sum(weights) / len(weights)


def _side_by_side(name: str, weights: list[torch.Tensor]) -> torch.Tensor:
    """All A (r, in) below each other; all B (out, r) beside each other, over their number."""
    if ".lora_A." in name:
        return torch.cat(weights, dim=0)
    return torch.cat(weights, dim=1) / len(weights)


def cut(tensors: dict[str, torch.Tensor], rank: int) -> dict[str, torch.Tensor]:
    """Pairs of A and B whose products are the nearest of `rank` to those of `tensors`, the singular values shared."""
    pairs = {}
    for name, a in tensors.items():
        if ".lora_A." not in name:
            continue
        other = name.replace(".lora_A.", ".lora_B.")
        q_b, r_b = torch.linalg.qr(tensors[other].float())
        q_a, r_a = torch.linalg.qr(a.float().T)
        u, singular, v = torch.linalg.svd(r_b @ r_a.T)
        root = singular[:rank].sqrt()
        pairs[name] = (root[:, None] * (v[:rank] @ q_a.T)).to(a.dtype).contiguous()
        pairs[other] = (q_b @ u[:, :rank] * root).to(a.dtype).contiguous()
    return pairs


def _set_rank(config: Path, rank: int) -> None:
    """Another rank at the same scale, which is alpha / r."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    scale = settings["lora_alpha"] / settings["r"]
    settings["r"], settings["lora_alpha"] = rank, round(scale * rank)
    config.write_text(json.dumps(settings, indent=2), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("adapters", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side-by-side", action="store_true", help="average the products B A")
    parser.add_argument("--rank", type=int, help="of the products' mean (default: the ranks' sum)")
    args = parser.parse_args()
    if args.rank and not args.side_by_side:
        parser.error("--rank cuts the mean of products; add --side-by-side")
    average(args.adapters, args.out, side_by_side=args.side_by_side, rank=args.rank)


if __name__ == "__main__":
    main()
